/* `ckube kubelet`: the node agent alone. Starts a container runtime of its own unless --container-runtime-endpoint names one. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/node.h"
#include "wire/json.h"
#include "wire/yaml.h"

/* ---- kubeconfig ---- */

/* The entry of that name in one of the three lists, its inner object. */
static yyjson_val *named(yyjson_val *root, const char *list, const char *name, const char *inner) {
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(yyjson_obj_get(root, list), i, max, item)
        if (str_eq(yyjson_get_str(yyjson_obj_get(item, "name")), name)) return yyjson_obj_get(item, inner);
    return NULL;
}

static const char *pem(struct arena *a, yyjson_val *from, const char *key) {
    const char *text = yyjson_get_str(yyjson_obj_get(from, key));
    unsigned char *data;
    size_t len;
    if (!text || base64_decode(a, text, strlen(text), &data, &len, NULL) != 0) return NULL;
    return arena_strndup(a, (char *)data, len);
}

/* Server and credentials of the current context. */
static int kubeconfig_read(struct arena *a, const char *path, struct kubelet_options *o, struct status *reterr) {
    FILE *f = fopen(path, "re");
    if (!f) return status_errno(reterr, path);
    _cleanup_buf_ struct buf text = BUF_INIT, json = BUF_INIT;
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), f)) > 0;) buf_append(&text, chunk, n);
    fclose(f);
    if (yaml_to_json(buf_cstr(&text), text.len, &json, NULL, reterr) != 0) return -1;
    yyjson_doc *doc = json_parse_in(a, json.data, json.len, 0, reterr);
    if (!doc) return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *context = named(root, "contexts", yyjson_get_str(yyjson_obj_get(root, "current-context")), "context");
    yyjson_val *cluster = named(root, "clusters", yyjson_get_str(yyjson_obj_get(context, "cluster")), "cluster");
    yyjson_val *user = named(root, "users", yyjson_get_str(yyjson_obj_get(context, "user")), "user");
    const char *server = yyjson_get_str(yyjson_obj_get(cluster, "server"));
    if (!server || !strstr(server, "://")) return status_bad_request(reterr, "%s names no server", path);
    o->api_plain = str_has_prefix(server, "http://");
    char *host = arena_strdup(a, strstr(server, "://") + 3);
    host[strcspn(host, "/")] = 0;
    char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
    o->api_port = o->api_plain ? 80 : 443;
    if (colon && colon > bracket) {
        o->api_port = atoi(colon + 1);
        *colon = 0;
    }
    if (*host == '[') {
        host++;
        host[strcspn(host, "]")] = 0;
    }
    o->api_host = host;
    o->api_ca_pem = pem(a, cluster, "certificate-authority-data");
    o->api_ca_file = arena_strdup(a, yyjson_get_str(yyjson_obj_get(cluster, "certificate-authority")));
    o->api_cert_pem = pem(a, user, "client-certificate-data");
    o->api_cert_file = arena_strdup(a, yyjson_get_str(yyjson_obj_get(user, "client-certificate")));
    o->api_key_pem = pem(a, user, "client-key-data");
    o->api_key_file = arena_strdup(a, yyjson_get_str(yyjson_obj_get(user, "client-key")));
    o->api_token = arena_strdup(a, yyjson_get_str(yyjson_obj_get(user, "token")));
    return 0;
}

int cmd_kubelet(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *kubeconfig = NULL, *endpoint = NULL;
    int verbosity = 0;
    struct kubelet_options o = {0};
    const struct flag flags[] = {
        {.name = "kubeconfig", .text = &kubeconfig, .help = "server and credentials (default: DATA_DIR/admin.kubeconfig)"},
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
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    o.no_node_ipam = o.pod_cidr != NULL;
    struct node *node = NULL;
    if (kubeconfig_read(a, kubeconfig ? kubeconfig : arena_printf(a, "%s/admin.kubeconfig", data_dir), &o, &err) == 0) {
        struct node_options no = {.data_dir = data_dir, .runtime_endpoint = endpoint, .kubelet = o};
        node = node_start(&no, &err);
    }
    if (!node) {
        log_error("%s", status_message(&err));
        return 1;
    }
    int sig = 0;
    sigwait(&signals, &sig);
    log_info("stopping on signal %d", sig);
    node_stop(node);
    return 0;
}
