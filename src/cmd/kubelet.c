/* `ckube kubelet`: the node agent alone. Starts a container runtime of its own unless --container-runtime-endpoint names one. */
#include "base/log.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/harden.h"
#include "cmd/node.h"

int cmd_kubelet(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *kubeconfig = NULL, *endpoint = NULL, *servers = NULL, *bootstrap = NULL, *cert_dir = NULL;
    bool token_webhook = true, rotate = true, rotate_server = true;
    int verbosity = 0;
    struct kubelet_options o = {0};
    const struct flag flags[] = {
        {.name = "kubeconfig", .text = &kubeconfig, .help = "server and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {.name = "bootstrap-kubeconfig", .text = &bootstrap, .help = "kubeconfig with a bootstrap token, by which a client certificate is asked for and --kubeconfig is written"},
        {.name = "cert-dir", .text = &cert_dir, .help = "where certificates live that were asked for (default: DATA_DIR/agent/pki)"},
        {.name = "rotate-certificates", .on = &rotate, .help = "with --bootstrap-kubeconfig: a new client certificate is asked for before the old one expires (default true)"},
        {.name = "rotate-server-certificates", .on = &rotate_server, .help = "the serving certificate is asked for too, unless one is given (default true)"},
        {.name = "apiserver-endpoints", .text = &servers, .help = "further servers of the cluster, https://HOST:PORT, commas; those of the Service kubernetes are learnt"},
        {.name = "data-dir", .text = &data_dir, .help = "where the container runtime of our own keeps its things"},
        {.name = "container-runtime-endpoint", .text = &endpoint, .help = "socket of a runtime that runs already"},
        {.name = "hostname-override", .text = &o.node_name, .help = "name of the node (default: the host's)"},
        {.name = "node-ip", .text = &o.node_ip, .help = "address of the node (default: of the default route)"},
        {.name = "root-dir", .text = &o.root_dir, .help = "where volumes live (default: /var/lib/kubelet)"},
        {.name = "pod-logs-dir", .text = &o.pod_logs_dir, .help = "where logs live (default: /var/log/pods)"},
        {.name = "pod-manifest-path", .text = &o.static_pod_dir, .help = "folder of static Pods"},
        {.name = "cluster-dns", .text = &o.cluster_dns, .help = "address of the cluster's DNS"},
        {.name = "cluster-domain", .text = &o.cluster_domain, .help = "domain of the cluster (default: cluster.local)"},
        {.name = "node-labels", .text = &o.node_labels, .help = "labels to register with: k=v,..."},
        {.name = "register-with-taints", .text = &o.register_taints, .help = "taints to register with: key=value:effect,..."},
        {.name = "address", .text = &o.bind_address, .help = "address to serve on"},
        {.name = "port", .number = &o.port, .help = "port to serve on (default: 10250)"},
        {.name = "tls-cert-file", .text = &o.tls_cert_file, .help = "serving certificate (default: our own)"},
        {.name = "tls-private-key-file", .text = &o.tls_key_file, .help = "its key"},
        {.name = "client-ca-file", .text = &o.client_ca_file, .help = "authority of those who may ask"},
        {.name = "anonymous-auth", .on = &o.anonymous_auth, .help = "who shows no credentials is system:anonymous (default false)"},
        {.name = "authentication-token-webhook", .on = &token_webhook, .help = "callers' tokens are reviewed by the API server (default true)"},
        {.name = "authorization-mode", .text = &o.authorization_mode, .help = "Webhook: the API server is asked whether callers may (default); AlwaysAllow"},
        {.name = "cgroup-root", .text = &o.cgroup_root, .help = "cgroup to make kubepods in"},
        {.name = "max-pods", .number = &o.max_pods, .help = "most Pods at once (default: 110)"},
        {.name = "pod-cidr", .text = &o.pod_cidr, .help = "Pod network of this node, instead of the Node's podCIDR"},
        {.name = "cni-bridge", .text = &o.cni_bridge, .help = "name of the bridge (default: cni0)"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
        {0},
    };
    int parsed = flags_parse("kubelet", flags, argc, argv);
    if (parsed != 0) return parsed < 0 ? 2 : 0;
    log_set_verbosity(verbosity);
    _cleanup_status_ struct status err = STATUS_INIT;
    harden_secrets();
    command_block_signals();
    o.no_token_webhook = !token_webhook;
    o.no_node_ipam = o.pod_cidr != NULL;
    struct node_options no = {.data_dir = data_dir, .runtime_endpoint = endpoint, .kubeconfig = kubeconfig, .bootstrap_kubeconfig = bootstrap, .cert_dir = cert_dir,
        .no_rotate_certificates = !rotate, .no_rotate_server_certificates = !rotate_server, .servers = servers, .kubelet = o};
    struct node *node = node_start(&no, &err);
    if (!node) {
        log_error("%s", status_message(&err));
        return 1;
    }
    log_info("stopping on signal %d", command_wait_signal());
    node_stop(node);
    return 0;
}
