/* `ckube agent`: a further node of a cluster, with one command. Kubelet, kube-proxy and a container runtime of its own.
 *
 *   1. the authority of the server that is named, whose hash must be the token's     -> DATA_DIR/agent/bootstrap.kubeconfig
 *   2. a client certificate for this node, for the token, by CertificateSigningRequest -> DATA_DIR/agent/pki, DATA_DIR/agent/kubelet.kubeconfig
 *   3. what the cluster wants of its nodes (/ckube/agent)                             -> DATA_DIR/agent/settings.json, DATA_DIR/agent/client-ca.crt
 * Later starts need no flags: 1 and 2 are done when their files are there and good, and 3 falls back on its file while no server answers. kube-proxy has the node's own certificate. Servers beside the one
 * that is named are learnt (client/server_list.h). Tests: tests/integration/test_agent.py. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "client/kubeconfig.h"
#include "client/server_list.h"
#include "cmd/cluster_files.h"
#include "cmd/cluster_token.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/harden.h"
#include "cmd/join.h"
#include "cmd/node.h"
#include "proxy/server.h"
#include "wire/json.h"

enum { RETRY_MS = 1000, STEP_MS = 100, SETTINGS_TRIES = 20 };

struct agent {
    struct arena *arena;
    const char *data_dir, *dir; /* DATA_DIR/agent */
    const char *server, *token, *token_file, *cluster_cidr, *cluster_dns, *servers;
    struct node_options node;
};

static const char *in_dir(struct agent *g, const char *name) { return arena_printf(g->arena, "%s/%s", g->dir, name); }

static bool pause_ms(int ms) {
    for (int slept = 0; slept < ms && !command_signal_pending(); slept += STEP_MS) env_sleep_ms(env_real(), STEP_MS);
    return !command_signal_pending();
}

/* ---- the cluster, by the token ---- */

static int write_bootstrap(struct agent *g, const char *path, struct status *reterr) {
    struct cluster_token token;
    struct join_place place;
    const char *text = g->token, *pem;
    if (g->token_file && !(text = cluster_file_read(g->arena, g->token_file, reterr))) return -1;
    if (!g->server || !text) return status_bad_request(reterr, "--server and --token (or --token-file) are needed for the first start: see DATA_DIR/server/node-token on a server");
    if (node_token_parse(g->arena, text, &token, reterr) != 0 || join_parse_url(g->server, &place, reterr) != 0 || !(pem = join_authority(g->arena, g->server, &place, token.hash, reterr))) return -1;
    bool v6 = strchr(place.host, ':') != NULL;
    return kubeconfig_write(path, arena_printf(g->arena, "https://%s%s%s:%d", v6 ? "[" : "", place.host, v6 ? "]" : "", place.port), pem, token.secret, NULL, reterr);
}

/* The token that is given counts, also when the node has joined before. */
static int join(struct agent *g, struct status *reterr) {
    const char *path = in_dir(g, "bootstrap.kubeconfig");
    if (make_dirs(g->dir, 0700, reterr) != 0) return -1;
    if ((access(path, F_OK) != 0 || g->token || g->token_file) && write_bootstrap(g, path, reterr) != 0) return -1;
    g->node.bootstrap_kubeconfig = path;
    g->node.kubeconfig = in_dir(g, "kubelet.kubeconfig");
    return node_bootstrap(&g->node, reterr);
}

/* ---- what the cluster wants of its nodes ---- */

static int fetch_settings(struct agent *g, struct buf *ret, struct status *reterr) {
    struct transport *t = transport_from_kubeconfig(g->node.kubeconfig, reterr);
    struct client *c = t ? client_new(t) : NULL;
    struct server_list *l = c ? server_list_start(c, env_real(), g->node.kubeconfig, g->servers, t, reterr) : NULL;
    int rc = l ? client_raw(c, "GET", "/ckube/agent", NULL, NULL, 0, ret, reterr) : -1;
    server_list_stop(l);
    client_free(c);
    return rc;
}

static int take_settings(struct agent *g, const char *text, size_t len, struct status *reterr) {
    yyjson_doc *doc = json_parse_in(g->arena, text, len, 0, reterr);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *ca = yyjson_get_str(yyjson_obj_get(root, "clientCA")), *file = in_dir(g, "client-ca.crt");
    if (!doc) return -1;
    if (str_empty(ca)) return status_bad_request(reterr, "the cluster does not say who may ask its kubelets");
    if (!g->cluster_cidr) g->cluster_cidr = arena_strdup(g->arena, str_or(yyjson_get_str(yyjson_obj_get(root, "clusterCIDR")), ""));
    if (!g->cluster_dns) g->cluster_dns = arena_strdup(g->arena, str_or(yyjson_get_str(yyjson_obj_get(root, "clusterDNS")), ""));
    g->node.kubelet.client_ca_file = file;
    return cluster_file_write(file, arena_printf(g->arena, "%s\n", ca), reterr);
}

/* As the cluster says now; while it does not answer, as it said last. A node that was just admitted may have to wait until the server has given out the right to ask. */
static int settings(struct agent *g, struct status *reterr) {
    const char *path = in_dir(g, "settings.json");
    bool known = access(path, F_OK) == 0;
    for (int i = 0;; i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        _cleanup_buf_ struct buf text = BUF_INIT;
        if (fetch_settings(g, &text, &err) == 0) return cluster_file_write(path, buf_cstr(&text), reterr) != 0 ? -1 : take_settings(g, buf_cstr(&text), text.len, reterr);
        if (known && file_read(path, FILE_OPTION_MAX, &text, NULL) == 0) {
            log_warning("the cluster cannot be asked, what it said last counts: %s", status_message(&err));
            return take_settings(g, buf_cstr(&text), text.len, reterr);
        }
        if (i < SETTINGS_TRIES && pause_ms(RETRY_MS)) continue;
        status_copy(reterr, &err);
        return -1;
    }
}

/* ---- life ---- */

static int serve(struct agent *g, struct status *reterr) {
    const char *name = g->node.kubelet.node_name;
    g->node.kubelet.cluster_dns = str_empty(g->cluster_dns) ? NULL : g->cluster_dns;
    g->node.servers = g->servers;
    struct node *node = node_start(&g->node, reterr);
    if (!node) return -1;
    struct proxier_config pc = {.node_name = name, .rules = {.ipv4 = true, .ipv6 = true, .cluster_cidr = {str_empty(g->cluster_cidr) ? NULL : g->cluster_cidr}, .masquerade_pods = !str_empty(g->cluster_cidr)}};
    struct proxy_server *proxy = proxy_server_start(node_client(node), env_real(), &pc, reterr);
    if (proxy) log_info("stopping on signal %d", command_wait_signal());
    proxy_server_stop(proxy);
    node_stop(node);
    return proxy ? 0 : -1;
}

int cmd_agent(int argc, char **argv) {
    struct agent g = {.data_dir = "/var/lib/ckube"};
    struct kubelet_options *o = &g.node.kubelet;
    int verbosity = 0;
    const struct flag flags[] = {
        {.name = "server", .text = &g.server, .help = "a server of the cluster, https://HOST:PORT (for the first start)"},
        {.name = "token", .text = &g.token, .help = "the token of nodes, in DATA_DIR/server/node-token there (for the first start)"},
        {.name = "token-file", .text = &g.token_file, .help = "file with the token"},
        {.name = "data-dir", .text = &g.data_dir, .help = "where the node keeps its things (default: /var/lib/ckube)"},
        {.name = "apiserver-endpoints", .text = &g.servers, .help = "further servers of the cluster, https://HOST:PORT, commas; those of the Service kubernetes are learnt"},
        {.name = "node-name", .text = &o->node_name, .help = "name of this node (default: the host's)"},
        {.name = "node-ip", .text = &o->node_ip, .help = "address of this node (default: of the default route)"},
        {.name = "node-labels", .text = &o->node_labels, .help = "labels to register with: k=v,..."},
        {.name = "register-with-taints", .text = &o->register_taints, .help = "taints to register with: key=value:effect,..."},
        {.name = "container-runtime-endpoint", .text = &g.node.runtime_endpoint, .help = "socket of a runtime that runs already (default: a containerd of our own)"},
        {.name = "cluster-cidr", .text = &g.cluster_cidr, .help = "range of Pods' addresses (default: as the server says)"},
        {.name = "cluster-dns", .text = &g.cluster_dns, .help = "address of the cluster's DNS (default: as the server says)"},
        {.name = "kubelet-port", .number = &o->port, .help = "port of the kubelet here (default: 10250)"},
        {.name = "root-dir", .text = &o->root_dir, .help = "where volumes live (default: /var/lib/kubelet)"},
        {.name = "pod-logs-dir", .text = &o->pod_logs_dir, .help = "where logs live (default: /var/log/pods)"},
        {.name = "cgroup-root", .text = &o->cgroup_root, .help = "cgroup to make kubepods in"},
        {.name = "cni-bridge", .text = &o->cni_bridge, .help = "name of the Pods' bridge (default: cni0)"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
        {0},
    };
    int parsed = flags_parse("agent", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    log_set_verbosity(verbosity);
    harden_secrets();
    command_block_signals();
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_arena_ struct arena *a = g.arena = arena_new();
    g.dir = arena_printf(a, "%s/agent", g.data_dir);
    g.node.data_dir = g.data_dir;
    if (!o->node_name) o->node_name = node_default_name(a);
    if (join(&g, &err) == 0 && settings(&g, &err) == 0 && serve(&g, &err) == 0) return 0;
    log_error("%s", status_message(&err));
    return command_signal_pending() ? 0 : 1; /* stopped while it waited for a server */
}
