/* The one binary: `ckube COMMAND`, or a command's name through a link. */
#include <stdio.h>
#include <string.h>
#include "base/macros.h"
#include "cmd/commands.h"

static const struct { const char *name; int (*run)(int, char **); const char *help; } commands[] = {
    {"server", cmd_server, "a whole cluster in one process: apiserver, controllers, scheduler, and this machine as a node"},
    {"agent", cmd_agent, "a further node of a cluster: kubelet, kube-proxy and a container runtime, with the token that a server keeps"},
    {"status", cmd_status, "a cluster at a glance: etcd's members, apiservers, who leads, nodes"},
    {"cluster", cmd_cluster, "a cluster's servers: members, token, leave, remove"},
    {"certificate", cmd_certificate, "a data folder's certificates: list, check, rotate"},
    {"datastore", cmd_datastore, "snapshots of the database: save, restore, check, compact, list"},
    {"kubelet", cmd_kubelet, "the node agent, with a container runtime of its own unless one is given"},
    {"kube-apiserver", cmd_kube_apiserver, "the apiserver, on its embedded store or on etcd"},
    {"kube-controller-manager", cmd_kube_controller_manager, "makes what is missing: Deployment -> ReplicaSet -> Pods, and all the other loops"},
    {"kube-scheduler", cmd_kube_scheduler, "Pods without a node -> a node"},
    {"kube-proxy", cmd_kube_proxy, "each node: Services -> nftables"},
};

static int usage(FILE *to) {
    fprintf(to, "usage: ckube COMMAND [flags]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) fprintf(to, "  %-24s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "  %-24s print the version\n", "version");
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv) {
    const char *slash = strrchr(argv[0], '/'), *self = slash ? slash + 1 : argv[0];
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(self, commands[i].name) == 0) return commands[i].run(argc, argv);
    if (argc < 2) return usage(stderr);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    if (strcmp(argv[1], "version") == 0) {
        printf("ckube %s (Kubernetes v1.36.2)\n", CKUBE_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return usage(stdout);
    fprintf(stderr, "ckube: unknown command: %s\n", argv[1]);
    return usage(stderr);
}
