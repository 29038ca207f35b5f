/* `ckube kube-scheduler`: the scheduler alone, over HTTPS. Upstream: cmd/kube-scheduler. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metric_family.h"
#include "base/str.h"
#include "client/lease_candidate.h"
#include "client/server_list.h"
#include "cmd/commands.h"
#include "cmd/harden.h"
#include "cmd/leader_flags.h"
#include "cmd/secure_serving.h"
#include "scheduler/config.h"
#include "scheduler/server.h"

enum { BINDERS = 8 };

struct context {
    struct client *client;
    struct scheduler_config config;
    char host[256];
    struct scheduler_server *server;
};

static void lead(void *arg) {
    struct context *x = arg;
    x->server = scheduler_server_start(x->client, env_real(), &x->config, x->host);
    metrics_source_add(scheduler_server_put_metrics, x->server);
}

static void lost(void *arg) {
    struct context *x = arg;
    metrics_source_remove(x->server);
    scheduler_server_stop(x->server);
    x->server = NULL;
}

/* --config; what it does not say, and all without it, is upstream's default. */
static bool config_load(struct arena *a, const char *path, struct scheduler_configuration *ret) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    _cleanup_status_ struct status st = STATUS_INIT;
    scheduler_configuration_default(a, ret);
    if (!path) return true;
    if (file_read(path, FILE_OPTION_MAX, &text, &st) != 0) {
        fprintf(stderr, "kube-scheduler: open %s\n", status_message(&st));
        return false;
    }
    if (!scheduler_configuration_load(a, buf_cstr(&text), text.len, ret, &st)) return true;
    fprintf(stderr, "kube-scheduler: %s\n", status_message(&st));
    return false;
}

static int scheduler_run(const char *kubeconfig, const struct scheduler_configuration *config, bool elect, struct leader_election_config *election, const char *node, const char *servers,
    const struct secure_serving_flags *serving_flags) {
    _cleanup_status_ struct status st = STATUS_INIT;
    struct context x = {.config = {.profiles = config->profiles, .profiles_len = config->profiles_len, .extenders = &config->extenders, .binders = BINDERS,
        .backoff_initial_ms = config->backoff_initial_seconds * 1000, .backoff_max_ms = config->backoff_max_seconds * 1000}};
    harden_control_plane(&(struct harden_options){0});
    command_block_signals();
    struct transport *t = transport_from_kubeconfig(kubeconfig, &st);
    if (!t) {
        log_error("%s", status_message(&st));
        return 1;
    }
    struct lease_fence *fence = lease_fence_new(env_real());
    struct client *elector = client_new(t); /* what elects is not fenced; both know which server is well */
    x.client = elect ? client_new(lease_fence_transport_over(fence, t)) : elector;
    struct server_list *list = server_list_start(elector, env_real(), kubeconfig, servers, t, &st);
    if (!list) {
        log_error("%s", status_message(&st));
        return 1;
    }
    struct secure_serving *serving = NULL;
    if (secure_serving_start(serving_flags, "kube-scheduler", kubeconfig, servers, &serving, &st) != 0) {
        log_error("%s", status_message(&st));
        return 1;
    }
    if (gethostname(x.host, sizeof(x.host) - 1)) snprintf(x.host, sizeof(x.host), "localhost");
    char uuid[37], identity[300];
    env_uuid(env_real(), uuid);
    snprintf(identity, sizeof(identity), "%s_%s", x.host, uuid);
    struct leader_election *e = NULL;
    election->identity = identity;
    election->fence = fence;
    election->on_leading = lead;
    election->on_lost = lost;
    election->arg = &x;
    struct lease_candidate *candidate = NULL;
    if (elect) candidate = lease_candidate_start(elector, env_real(), &(struct lease_candidate_config){.ns = election->ns, .lease = election->name, .identity = identity, .node = str_or(node, x.host)});
    if (elect) e = leader_election_start(elector, env_real(), election);
    else lead(&x);
    log_info("stopping on signal %d", command_wait_signal());
    lease_candidate_stop(candidate);
    if (elect) leader_election_stop(e);
    else lost(&x);
    secure_serving_stop(serving);
    server_list_stop(list);
    if (elect) client_free(x.client);
    client_free(elector);
    lease_fence_free(fence);
    return 0;
}

int cmd_kube_scheduler(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *kubeconfig = NULL, *name = NULL, *config = NULL, *servers = NULL;
    struct leader_flags leader;
    struct leader_election_config election = {0};
    struct secure_serving_flags serving;
    secure_serving_flags_init(&serving, 10259);
    leader_flags_init(&leader, "kube-scheduler");
    int verbosity = 0;
    const struct flag own[] = {
        {.name = "kubeconfig", .text = &kubeconfig, .help = "server and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {.name = "apiserver-endpoints", .text = &servers, .help = "further servers of the cluster, https://HOST:PORT, commas; those of the Service kubernetes are learnt"},
        {.name = "data-dir", .text = &data_dir, .help = "where admin.kubeconfig is"},
        {.name = "scheduler-name", .text = &name, .help = "spec.schedulerName to serve (default: default-scheduler)"},
        {.name = "config", .text = &config, .help = "file with a KubeSchedulerConfiguration: profiles, plugins' arguments, extenders"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
    };
    struct flag flags[ARRAY_LEN(own) + LEADER_FLAGS + SECURE_SERVING_FLAGS + 1] = {0};
    memcpy(flags, own, sizeof(own));
    leader_flags_rows(&leader, flags + ARRAY_LEN(own));
    secure_serving_flags_rows(&serving, flags + ARRAY_LEN(own) + LEADER_FLAGS);
    int parsed = flags_parse("kube-scheduler", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    if (leader_flags_take(&leader, "kube-scheduler", false, &election) != 0) return 2;
    log_set_verbosity(verbosity);
    _cleanup_arena_ struct arena *a = arena_new();
    struct scheduler_configuration c;
    if (!config_load(a, config, &c)) return 1;
    if (name && !config) c.profiles[0].name = name;
    if (config) { /* as upstream: a file says all of it */
        election.ns = c.resource_namespace;
        election.name = c.resource_name;
        election.lease_duration_ms = (int)c.lease_duration_ms;
        election.renew_deadline_ms = (int)c.renew_deadline_ms;
        election.retry_period_ms = (int)c.retry_period_ms;
    }
    char path[4096];
    snprintf(path, sizeof(path), "%s/admin.kubeconfig", data_dir);
    return scheduler_run(kubeconfig ? kubeconfig : str_or(c.kubeconfig, path), &c, config ? leader.elect && c.leader_elect : leader.elect, &election, leader.node, servers, &serving);
}
