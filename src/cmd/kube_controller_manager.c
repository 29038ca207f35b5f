/* `ckube kube-controller-manager`: the controllers alone, over HTTPS. Upstream: cmd/kube-controller-manager. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "api/time.h"
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "client/lease_candidate.h"
#include "client/server_list.h"
#include "cmd/commands.h"
#include "cmd/harden.h"
#include "cmd/leader_flags.h"
#include "cmd/secure_serving.h"
#include "controller/controller.h"
#include "controller/metrics.h"

struct context {
    struct client *client;
    struct controller_options options;
    const char *controllers;
    struct controller_context cc;
    struct controller_manager *manager;
};

static struct client *same_client(struct controller_context *cc, const char *name UNUSED) { return cc->client_for_data; }

static void lead(void *arg) {
    struct context *x = arg;
    _cleanup_status_ struct status st = STATUS_INIT;
    x->cc = (struct controller_context){.env = env_real(), .informers = informers_new(x->client, env_real()), .options = &x->options, .client_for = same_client, .client_for_data = x->client};
    x->manager = controller_manager_new(&x->cc, x->controllers, &st);
    CHECK(x->manager); /* the list was checked at the start */
    controller_manager_start(x->manager);
    metrics_source_add(controller_metrics_put, x->manager);
}

static void lost(void *arg) {
    struct context *x = arg;
    metrics_source_remove(x->manager);
    controller_manager_stop(x->manager);
    informers_free(x->cc.informers);
    x->manager = NULL;
}

static int manager_run(struct context *x, const char *kubeconfig, bool elect, struct leader_election_config *election, const char *node, const char *servers,
    const struct secure_serving_flags *serving_flags) {
    _cleanup_status_ struct status st = STATUS_INIT;
    harden_control_plane(&(struct harden_options){0});
    command_block_signals();
    struct transport *t = transport_from_kubeconfig(kubeconfig, &st);
    if (!t) {
        log_error("%s", status_message(&st));
        return 1;
    }
    struct lease_fence *fence = lease_fence_new(env_real());
    struct client *elector = client_new(t); /* what elects is not fenced; both know which server is well */
    x->client = elect ? client_new(lease_fence_transport_over(fence, t)) : elector;
    struct server_list *list = server_list_start(elector, env_real(), kubeconfig, servers, t, &st);
    if (!list) {
        log_error("%s", status_message(&st));
        return 1;
    }
    struct secure_serving *serving = NULL;
    if (secure_serving_start(serving_flags, "kube-controller-manager", kubeconfig, servers, &serving, &st) != 0) {
        log_error("%s", status_message(&st));
        return 1;
    }
    char host[256] = "localhost", uuid[37], identity[300];
    gethostname(host, sizeof(host) - 1);
    env_uuid(env_real(), uuid);
    snprintf(identity, sizeof(identity), "%s_%s", host, uuid);
    struct leader_election *e = NULL;
    election->identity = identity;
    election->fence = fence;
    election->on_leading = lead;
    election->on_lost = lost;
    election->arg = x;
    struct lease_candidate *candidate = NULL;
    if (elect) candidate = lease_candidate_start(elector, env_real(), &(struct lease_candidate_config){.ns = election->ns, .lease = election->name, .identity = identity, .node = str_or(node, host)});
    if (elect) e = leader_election_start(elector, env_real(), election);
    else lead(x);
    log_info("stopping on signal %d", command_wait_signal());
    lease_candidate_stop(candidate);
    if (elect) leader_election_stop(e);
    else lost(x);
    secure_serving_stop(serving);
    server_list_stop(list);
    if (elect) client_free(x->client);
    client_free(elector);
    lease_fence_free(fence);
    return 0;
}

/* "a,b": one range of each family. */
static void split_pair(char *text, const char *ret[2]) {
    char *comma = text ? strchr(text, ',') : NULL;
    if (comma) *comma = 0;
    ret[0] = str_empty(text) ? NULL : text;
    ret[1] = comma ? comma + 1 : NULL;
}

/* 0, or -1 with a message. A text that is NULL leaves *ret_ms. */
static int take_duration(const char *option, const char *text, int64_t *ret_ms) {
    int64_t ns;
    if (!text) return 0;
    if (duration_parse(text, &ns)) {
        *ret_ms = ns / 1000000;
        return 0;
    }
    fprintf(stderr, "ckube kube-controller-manager: --%s: \"%s\" is no duration\n", option, text);
    return -1;
}

static int take_attach_detach_period(const char *text, struct controller_options *o) {
    int64_t ms = o->attach_detach_reconcile_sync_period_ms;
    if (take_duration("attach-detach-reconcile-sync-period", text, &ms) != 0) return -1;
    if (ms < 1000 || ms > INT32_MAX) {
        fprintf(stderr, "ckube kube-controller-manager: duration time must be greater than one second as set via command line option reconcile-sync-loop-period\n");
        return -1;
    }
    o->attach_detach_reconcile_sync_period_ms = (int)ms;
    return 0;
}

int cmd_kube_controller_manager(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *kubeconfig = NULL, *cidr = NULL, *services = NULL, *servers = NULL, *attach_detach_period = NULL, *clean_up_period = NULL;
    struct context x = {.options = controller_options_default()};
    struct controller_options *o = &x.options;
    struct leader_flags leader;
    struct leader_election_config election = {0};
    struct secure_serving_flags serving;
    secure_serving_flags_init(&serving, 10257);
    leader_flags_init(&leader, "kube-controller-manager");
    int verbosity = 0;
    const struct flag own[] = {
        {.name = "kubeconfig", .text = &kubeconfig, .help = "server and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {.name = "apiserver-endpoints", .text = &servers, .help = "further servers of the cluster, https://HOST:PORT, commas; those of the Service kubernetes are learnt"},
        {.name = "data-dir", .text = &data_dir, .help = "where admin.kubeconfig is"},
        {.name = "controllers", .text = &x.controllers, .help = "which: \"*\", \"foo\", \"-foo\", by comma"},
        {.name = "allocate-node-cidrs", .on = &o->allocate_node_cidrs, .help = "give each Node a part of --cluster-cidr"},
        {.name = "cluster-cidr", .text = &cidr, .help = "range of Pods' addresses; one of each family, by comma"},
        {.name = "node-cidr-mask-size", .number = &o->node_cidr_mask_size_ipv4, .help = "size of a Node's part (default: 24)"},
        {.name = "service-cluster-ip-range", .text = &services, .help = "range of Services' cluster IPs, kept out of the Nodes' parts"},
        {.name = "root-ca-file", .text = &o->root_ca_file, .help = "authority to publish in every namespace"},
        {.name = "service-account-private-key-file", .text = &o->service_account_private_key_file, .help = "key that signs the tokens that Secrets hold"},
        {.name = "cluster-signing-cert-file", .text = &o->cluster_signing_cert_file, .help = "authority that signs CertificateSigningRequests"},
        {.name = "cluster-signing-key-file", .text = &o->cluster_signing_key_file, .help = "its key"},
        {.name = "terminated-pod-gc-threshold", .number = &o->terminated_pod_gc_threshold, .help = "finished Pods that are kept (default: 12500)"},
        {.name = "attach-detach-reconcile-sync-period", .text = &attach_detach_period, .help = "how often it is looked whether volumes are still attached, a second at least (default: 1m0s)"},
        {.name = "disable-attach-detach-reconcile-sync", .on = &o->disable_attach_detach_reconcile_sync, .help = "never look whether volumes are still attached"},
        {.name = "disable-force-detach-on-timeout", .on = &o->disable_force_detach_on_timeout, .help = "leave a lost node's mounted volumes attached until it is tainted as out of service"},
        {.name = "legacy-service-account-token-clean-up-period", .text = &clean_up_period, .help = "how long a generated token in a Secret stays without being used (default: 8760h0m0s)"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
    };
    struct flag flags[ARRAY_LEN(own) + LEADER_FLAGS + SECURE_SERVING_FLAGS + 1] = {0};
    memcpy(flags, own, sizeof(own));
    leader_flags_rows(&leader, flags + ARRAY_LEN(own));
    secure_serving_flags_rows(&serving, flags + ARRAY_LEN(own) + LEADER_FLAGS);
    int parsed = flags_parse("kube-controller-manager", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    if (leader_flags_take(&leader, "kube-controller-manager", false, &election) != 0) return 2;
    if (take_attach_detach_period(attach_detach_period, o) != 0 || take_duration("legacy-service-account-token-clean-up-period", clean_up_period, &o->legacy_service_account_token_clean_up_period_ms) != 0) return 2;
    log_set_verbosity(verbosity);
    _cleanup_free_ char *cidr_text = cidr ? strdup(cidr) : NULL, *services_text = services ? strdup(services) : NULL;
    split_pair(cidr_text, o->cluster_cidr);
    split_pair(services_text, o->service_cluster_ip_range);
    char path[4096];
    snprintf(path, sizeof(path), "%s/admin.kubeconfig", data_dir);
    return manager_run(&x, kubeconfig ? kubeconfig : path, leader.elect, &election, leader.node, servers, &serving);
}
