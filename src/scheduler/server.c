/* The scheduler over the API: see server.h. */
#include "scheduler/server.h"
#include <inttypes.h>
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"
#include "client/reflector.h"
#include "wire/json.h"

struct scheduler_server {
    struct client *client;
    struct env *env;
    struct scheduler *scheduler;
    char *host;
    struct feed *nodes, *pods;
    bool started;
};

/* ---- out ---- */

static int pod_bind(void *data, const struct corev1_Pod *pod, const char *node, struct status *reterr) {
    struct scheduler_server *s = data;
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Binding *b = object_new(a, &corev1_Binding_desc);
    b->metadata.name = pod->metadata.name;
    b->metadata.namespace = pod->metadata.namespace;
    b->metadata.uid = pod->metadata.uid;
    b->target.kind = "Node";
    b->target.name = node;
    return client_create_subresource(s->client, a, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, "binding", &corev1_Binding_desc, b, NULL, reterr);
}

static void member(struct buf *b, const char *name, const char *value) {
    buf_printf(b, ",\"%s\":", name);
    json_write_string(b, str_or(value, ""));
}

static int pod_unscheduled(void *data, const struct corev1_Pod *pod, const char *reason, const char *message, struct status *reterr) {
    struct scheduler_server *s = data;
    LIST_FOREACH(c, &pod->status.conditions)
        if (str_eq(c->type, "PodScheduled") && str_eq(c->status, "False") && str_eq(c->reason, reason) && str_eq(c->message, message)) return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    struct api_time now = time_from_s(env_now_s(s->env));
    buf_append_str(&b, "{\"metadata\":{\"uid\":");
    json_write_string(&b, str_or(pod->metadata.uid, ""));
    buf_append_str(&b, "},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\"");
    member(&b, "reason", reason);
    member(&b, "message", message);
    buf_append_str(&b, ",\"lastProbeTime\":null,\"lastTransitionTime\":\"");
    time_format(&now, &b);
    buf_append_str(&b, "\"}]}}");
    return client_patch(s->client, a, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, "status", PATCH_STRATEGIC, buf_cstr(&b), NULL, reterr);
}

/* As upstream's scheduler, which writes events.k8s.io/v1: an eventTime, an action, and who reports. */
static void pod_record(void *data, const struct corev1_Pod *pod, const char *type, const char *reason, const char *action, const char *note) {
    struct scheduler_server *s = data;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t now = env_now_ns(s->env);
    struct corev1_Event *e = object_new(a, &corev1_Event_desc);
    e->metadata.name = arena_printf(a, "%s.%" PRIx64, pod->metadata.name, (uint64_t)now);
    e->metadata.namespace = pod->metadata.namespace;
    e->involvedObject = (struct corev1_ObjectReference){.kind = "Pod", .apiVersion = "v1", .namespace = pod->metadata.namespace, .name = pod->metadata.name, .uid = pod->metadata.uid,
        .resourceVersion = pod->metadata.resourceVersion};
    e->eventTime = micro_time_from_ns(now);
    e->type = type;
    e->reason = reason;
    e->action = action;
    e->message = note;
    e->reportingComponent = "default-scheduler";
    e->reportingInstance = arena_printf(a, "default-scheduler-%s", s->host);
    if (client_create(s->client, a, &corev1_Event_desc, e, NULL, &err) != 0) log_debug("scheduler: event: %s", status_message(&err));
}

/* ---- in ---- */

static void set_pod(void *data, const void *obj) { scheduler_set_pod(((struct scheduler_server *)data)->scheduler, obj); }
static void delete_pod(void *data, const char *ns, const char *name) { scheduler_delete_pod(((struct scheduler_server *)data)->scheduler, ns, name); }
static void set_node(void *data, const void *obj) { scheduler_set_node(((struct scheduler_server *)data)->scheduler, obj); }
static void delete_node(void *data, const char *ns UNUSED, const char *name) { scheduler_delete_node(((struct scheduler_server *)data)->scheduler, name); }

/* It starts when the Pods are known too: before that, nodes look emptier than they are. */
static void pods_synced(void *data) {
    struct scheduler_server *s = data;
    if (s->started) return;
    s->started = true;
    scheduler_start(s->scheduler);
    log_info("scheduler: started");
}

struct scheduler_server *scheduler_server_start(struct client *c, struct env *env, const struct scheduler_config *config, const char *host) {
    struct scheduler_server *s = calloc(1, sizeof(*s));
    CHECK(s && (s->host = strdup(host)));
    s->client = c;
    s->env = env;
    s->scheduler = scheduler_new(env, &(struct scheduler_client){s, pod_bind, pod_unscheduled, pod_record}, config);
    s->nodes = feed_start(c, env, &(struct reflector_source){.type = &corev1_Node_desc}, &(struct feed_handler){s, set_node, delete_node, NULL});
    s->pods = feed_start(c, env, &(struct reflector_source){.type = &corev1_Pod_desc}, &(struct feed_handler){s, set_pod, delete_pod, pods_synced});
    return s;
}

void scheduler_server_stop(struct scheduler_server *s) {
    if (!s) return;
    feed_stop(s->pods);
    feed_stop(s->nodes);
    if (s->started) scheduler_stop(s->scheduler);
    scheduler_free(s->scheduler);
    free(s->host);
    free(s);
}
