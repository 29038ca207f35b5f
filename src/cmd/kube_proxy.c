/* `ckube kube-proxy`: Services into nftables, over HTTPS. Upstream: cmd/kube-proxy. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "client/server_list.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "proxy/server.h"

static int fail(const struct status *st) {
    log_error("%s", status_message(st));
    return 1;
}

static int proxy_run(const char *kubeconfig, const char *servers, const struct proxier_config *config) {
    _cleanup_status_ struct status st = STATUS_INIT;
    command_block_signals();
    struct transport *t = transport_from_kubeconfig(kubeconfig, &st);
    if (!t) return fail(&st);
    struct client *client = client_new(t);
    struct server_list *list = server_list_start(client, env_real(), kubeconfig, servers, t, &st);
    if (!list) {
        client_free(client);
        return fail(&st);
    }
    struct proxy_server *s = proxy_server_start(client, env_real(), config, &st);
    if (s) log_info("stopping on signal %d", command_wait_signal());
    proxy_server_stop(s);
    server_list_stop(list);
    client_free(client);
    return s ? 0 : fail(&st);
}

static int proxy_cleanup(const struct proxier_config *config) {
    _cleanup_status_ struct status st = STATUS_INIT;
    struct rules *r = rules_new(&config->rules, &st);
    int rc = r ? rules_cleanup(r, &st) : -1;
    rules_free(r);
    return rc ? fail(&st) : 0;
}

/* "a,b" into a list that ends with NULL; cuts the text in place. */
static const char **comma_split(char *text, const char **out, size_t max) {
    size_t n = 0;
    char *save = NULL;
    for (char *part = strtok_r(text, ",", &save); part && n + 1 < max; part = strtok_r(NULL, ",", &save)) out[n++] = part;
    out[n] = NULL;
    return out;
}

int cmd_kube_proxy(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *kubeconfig = NULL, *config = NULL, *mode = "nftables", *cidr = NULL, *addresses = NULL, *node = NULL, *servers = NULL;
    bool masquerade_all = false, cleanup = false, masquerade_pods = false;
    int verbosity = 0;
    const struct flag flags[] = {
        {.name = "kubeconfig", .text = &kubeconfig, .help = "server and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {.name = "apiserver-endpoints", .text = &servers, .help = "further servers of the cluster, https://HOST:PORT, commas; those of the Service kubernetes are learnt"},
        {.name = "data-dir", .text = &data_dir, .help = "where admin.kubeconfig is"},
        {.name = "cluster-cidr", .text = &cidr, .help = "Pod addresses: traffic to Services from elsewhere is masqueraded; one of each family, by comma"},
        {.name = "nodeport-addresses", .text = &addresses, .help = "CIDRs whose addresses serve node ports (default: all local ones but loopback)"},
        {.name = "hostname-override", .text = &node, .help = "name of the node (default: the host's)"},
        {.name = "masquerade-all", .on = &masquerade_all, .help = "masquerade all traffic to Services"},
        {.name = "masquerade-pods", .on = &masquerade_pods, .help = "masquerade what leaves the cluster CIDR"},
        {.name = "proxy-mode", .text = &mode, .help = "nftables, the only one there is"},
        {.name = "cleanup", .on = &cleanup, .help = "remove the rules and exit"},
        {.name = "config", .text = &config, .help = "not available: use flags"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
        {0},
    };
    int parsed = flags_parse("kube-proxy", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    log_set_verbosity(verbosity);
    if (config || !str_eq(mode, "nftables")) {
        fprintf(stderr, config ? "kube-proxy: --config is not available: use flags\n" : "kube-proxy: --proxy-mode: only nftables is available\n");
        return 2;
    }
    char host[256] = "", path[4096];
    if (!node && gethostname(host, sizeof(host) - 1) == 0) node = host;
    snprintf(path, sizeof(path), "%s/admin.kubeconfig", data_dir);
    _cleanup_free_ char *cidr_text = strdup(str_or(cidr, "")), *addresses_text = strdup(str_or(addresses, ""));
    const char *cidrs[3], *lists[65];
    comma_split(cidr_text, cidrs, ARRAY_LEN(cidrs));
    struct proxier_config pc = {
        .rules = {.ipv4 = true, .ipv6 = true, .cluster_cidr = {cidrs[0], cidrs[0] ? cidrs[1] : NULL}, .masquerade_all = masquerade_all, .masquerade_pods = masquerade_pods,
                  .nodeport_addresses = addresses ? comma_split(addresses_text, lists, ARRAY_LEN(lists)) : NULL},
        .node_name = node,
    };
    return cleanup ? proxy_cleanup(&pc) : proxy_run(kubeconfig ? kubeconfig : path, servers, &pc);
}
