/* `ckube kube-scheduler`: the scheduler alone, over HTTPS. Upstream: cmd/kube-scheduler. */
#include <stdio.h>
#include <unistd.h>
#include "base/env.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "client/leader_election.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
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
}

static void lost(void *arg) {
    struct context *x = arg;
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

static int scheduler_run(const char *kubeconfig, const struct scheduler_configuration *config, bool elect) {
    _cleanup_status_ struct status st = STATUS_INIT;
    struct context x = {.config = {.profiles = config->profiles, .profiles_len = config->profiles_len, .extenders = &config->extenders, .binders = BINDERS,
        .backoff_initial_ms = config->backoff_initial_seconds * 1000, .backoff_max_ms = config->backoff_max_seconds * 1000}};
    command_block_signals();
    struct transport *t = transport_from_kubeconfig(kubeconfig, &st);
    if (!t) {
        log_error("%s", status_message(&st));
        return 1;
    }
    x.client = client_new(t);
    if (gethostname(x.host, sizeof(x.host) - 1)) snprintf(x.host, sizeof(x.host), "localhost");
    char uuid[37], identity[300];
    env_uuid(env_real(), uuid);
    snprintf(identity, sizeof(identity), "%s_%s", x.host, uuid);
    struct leader_election *e = NULL;
    if (elect) e = leader_election_start(x.client, env_real(), &(struct leader_election_config){.ns = config->resource_namespace, .name = config->resource_name,
        .identity = identity, .lease_duration_ms = (int)config->lease_duration_ms, .renew_deadline_ms = (int)config->renew_deadline_ms,
        .retry_period_ms = (int)config->retry_period_ms, .on_leading = lead, .on_lost = lost, .arg = &x});
    else lead(&x);
    log_info("stopping on signal %d", command_wait_signal());
    if (elect) leader_election_stop(e);
    else lost(&x);
    client_free(x.client);
    return 0;
}

int cmd_kube_scheduler(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *kubeconfig = NULL, *name = NULL, *config = NULL;
    bool elect = true;
    int verbosity = 0;
    const struct flag flags[] = {
        {.name = "kubeconfig", .text = &kubeconfig, .help = "server and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {.name = "data-dir", .text = &data_dir, .help = "where admin.kubeconfig is"},
        {.name = "scheduler-name", .text = &name, .help = "spec.schedulerName to serve (default: default-scheduler)"},
        {.name = "leader-elect", .on = &elect, .help = "act only while holding the Lease kube-system/kube-scheduler (default: true)"},
        {.name = "config", .text = &config, .help = "file with a KubeSchedulerConfiguration: profiles, plugins' arguments, extenders"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
        {0},
    };
    int parsed = flags_parse("kube-scheduler", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    log_set_verbosity(verbosity);
    _cleanup_arena_ struct arena *a = arena_new();
    struct scheduler_configuration c;
    if (!config_load(a, config, &c)) return 1;
    if (name && !config) c.profiles[0].name = name;
    char path[4096];
    snprintf(path, sizeof(path), "%s/admin.kubeconfig", data_dir);
    return scheduler_run(kubeconfig ? kubeconfig : str_or(c.kubeconfig, path), &c, elect && c.leader_elect);
}
