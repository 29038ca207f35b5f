/* `ckube kube-scheduler`: the scheduler alone, over HTTPS. Upstream: cmd/kube-scheduler. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "client/rest_client.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "scheduler/scheduler.h"
#include "wire/json.h"

#define BINDERS 8

struct context {
    struct rest_client *client;
    struct scheduler *scheduler;
    char host[256];
    bool started;
};

static void field(struct buf *b, const char *name, const char *value) {
    buf_printf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", name);
    json_write_string(b, str_or(value, ""));
}

static int pod_bind(void *data, const struct corev1_Pod *pod, const char *node, struct status *reterr) {
    struct context *x = data;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{");
    field(&b, "name", pod->metadata.name);
    field(&b, "namespace", pod->metadata.namespace);
    field(&b, "uid", pod->metadata.uid);
    buf_append_str(&b, "},\"target\":{\"kind\":\"Node\"");
    field(&b, "name", node);
    buf_append_str(&b, "}}");
    const char *target = arena_printf(a, "/api/v1/namespaces/%s/pods/%s/binding", pod->metadata.namespace, pod->metadata.name);
    return rest_client_request(x->client, a, "POST", target, NULL, &b, NULL, NULL, reterr);
}

static void time_text(char out[40], bool micro) {
    int64_t ns = env_now_ns(env_real());
    time_t s = (time_t)(ns / 1000000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    if (micro) n += (size_t)snprintf(out + n, 40 - n, ".%06" PRId64, ns % 1000000000 / 1000);
    snprintf(out + n, 40 - n, "Z");
}

static int pod_unscheduled(void *data, const struct corev1_Pod *pod, const char *reason, const char *message, struct status *reterr) {
    struct context *x = data;
    LIST_FOREACH(c, &pod->status.conditions)
        if (str_eq(c->type, "PodScheduled") && str_eq(c->status, "False") && str_eq(c->reason, reason) && str_eq(c->message, message)) return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    char now[40];
    time_text(now, false);
    buf_append_str(&b, "{\"metadata\":{");
    field(&b, "uid", pod->metadata.uid);
    buf_append_str(&b, "},\"status\":{\"conditions\":[{");
    field(&b, "type", "PodScheduled");
    field(&b, "status", "False");
    field(&b, "reason", reason);
    field(&b, "message", message);
    field(&b, "lastTransitionTime", now);
    buf_append_str(&b, ",\"lastProbeTime\":null}]}}");
    const char *target = arena_printf(a, "/api/v1/namespaces/%s/pods/%s/status", pod->metadata.namespace, pod->metadata.name);
    return rest_client_request(x->client, a, "PATCH", target, "application/strategic-merge-patch+json", &b, NULL, NULL, reterr);
}

/* As upstream's scheduler, which writes events.k8s.io/v1: an eventTime, an action, and who reports. */
static void pod_record(void *data, const struct corev1_Pod *pod, const char *type, const char *reason, const char *action, const char *note) {
    struct context *x = data;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    _cleanup_status_ struct status st = STATUS_INIT;
    char now[40];
    time_text(now, true);
    buf_append_str(&b, "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{");
    field(&b, "name", arena_printf(a, "%s.%" PRIx64, pod->metadata.name, (uint64_t)env_now_ns(env_real())));
    field(&b, "namespace", pod->metadata.namespace);
    buf_append_str(&b, "},\"involvedObject\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\"");
    field(&b, "namespace", pod->metadata.namespace);
    field(&b, "name", pod->metadata.name);
    field(&b, "uid", pod->metadata.uid);
    field(&b, "resourceVersion", pod->metadata.resourceVersion);
    buf_append_str(&b, "},\"source\":{},\"firstTimestamp\":null,\"lastTimestamp\":null");
    field(&b, "eventTime", now);
    field(&b, "type", type);
    field(&b, "reason", reason);
    field(&b, "action", action);
    field(&b, "message", note);
    field(&b, "reportingComponent", "default-scheduler");
    field(&b, "reportingInstance", arena_printf(a, "default-scheduler-%s", x->host));
    buf_append_str(&b, "}");
    if (rest_client_request(x->client, a, "POST", arena_printf(a, "/api/v1/namespaces/%s/events", pod->metadata.namespace), NULL, &b, NULL, NULL, &st))
        log_debug("scheduler: event: %s", status_message(&st));
}

static void set_pod(void *data, const void *obj) { scheduler_set_pod(((struct context *)data)->scheduler, obj); }
static void delete_pod(void *data, const char *ns, const char *name) { scheduler_delete_pod(((struct context *)data)->scheduler, ns, name); }
static void set_node(void *data, const void *obj) { scheduler_set_node(((struct context *)data)->scheduler, obj); }
static void delete_node(void *data, const char *ns, const char *name) { (void)ns, scheduler_delete_node(((struct context *)data)->scheduler, name); }

/* Starts when the Pods are known too: before that, nodes look emptier than they are. */
static void pods_synced(void *data) {
    struct context *x = data;
    if (x->started) return;
    x->started = true;
    scheduler_start(x->scheduler);
    log_info("scheduler: started");
}

static int scheduler_run(const char *kubeconfig, const char *name) {
    _cleanup_status_ struct status st = STATUS_INIT;
    struct context x = {0};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    x.client = rest_client_from_kubeconfig(kubeconfig, &st);
    if (!x.client) {
        log_error("%s", status_message(&st));
        return 1;
    }
    if (gethostname(x.host, sizeof(x.host) - 1)) snprintf(x.host, sizeof(x.host), "localhost");
    x.scheduler = scheduler_new(env_real(), &(struct scheduler_client){&x, pod_bind, pod_unscheduled, pod_record},
                                &(struct scheduler_config){.name = name, .binders = BINDERS});
    struct reflector *nodes = reflector_start(x.client, "/api/v1/nodes", &corev1_Node_desc, &corev1_NodeList_desc, &(struct reflector_handler){&x, set_node, delete_node, NULL});
    struct reflector *pods = reflector_start(x.client, "/api/v1/pods", &corev1_Pod_desc, &corev1_PodList_desc, &(struct reflector_handler){&x, set_pod, delete_pod, pods_synced});
    int sig = 0;
    sigwait(&signals, &sig);
    log_info("stopping on signal %d", sig);
    reflector_stop(pods);
    reflector_stop(nodes);
    scheduler_stop(x.scheduler);
    scheduler_free(x.scheduler);
    rest_client_free(x.client);
    return 0;
}

int cmd_kube_scheduler(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *kubeconfig = NULL, *name = NULL, *config = NULL, *elect = "false";
    int verbosity = 0;
    const struct flag flags[] = {
        {.name = "kubeconfig", .text = &kubeconfig, .help = "server and credentials (default: DATA_DIR/admin.kubeconfig)"},
        {.name = "data-dir", .text = &data_dir, .help = "where admin.kubeconfig is"},
        {.name = "scheduler-name", .text = &name, .help = "spec.schedulerName to serve (default: default-scheduler)"},
        {.name = "leader-elect", .text = &elect, .help = "not available yet: run one scheduler, with false"},
        {.name = "config", .text = &config, .help = "not available yet"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
        {0},
    };
    int parsed = flags_parse("kube-scheduler", flags, argc, argv);
    if (parsed) return parsed < 0 ? 2 : 0;
    log_set_verbosity(verbosity);
    if (config || !str_eq(elect, "false")) {
        fprintf(stderr, "kube-scheduler: %s is not available yet\n", config ? "--config" : "--leader-elect");
        return 2;
    }
    char path[4096];
    snprintf(path, sizeof(path), "%s/admin.kubeconfig", data_dir);
    return scheduler_run(kubeconfig ? kubeconfig : path, name);
}
