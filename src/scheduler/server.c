/* The scheduler over the API: see server.h. */
#include "scheduler/server.h"
#include <inttypes.h>
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"
#include "client/reflector.h"
#include "wire/json.h"

#define FEEDS_MAX 24

struct source { struct scheduler_server *server; const struct type_desc *type; struct feed *feed; bool synced; };
struct scheduler_server {
    struct client *client;
    struct env *env;
    struct scheduler *scheduler;
    char *host;
    struct source sources[FEEDS_MAX];
    size_t sources_len;
    pthread_mutex_t mutex; /* of what follows, and of synced */
    size_t synced;
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
        if (str_eq(c->type, "PodScheduled") && str_eq(c->status, "False") && str_eq(c->reason, reason) && str_eq(c->message, message) &&
            c->observedGeneration == pod->metadata.generation) return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    struct api_time now = time_from_s(env_now_s(s->env));
    buf_append_str(&b, "{\"metadata\":{\"uid\":");
    json_write_string(&b, str_or(pod->metadata.uid, ""));
    buf_append_str(&b, "},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\"");
    if (pod->metadata.generation) buf_printf(&b, ",\"observedGeneration\":%" PRId64, pod->metadata.generation);
    member(&b, "reason", reason);
    member(&b, "message", message);
    buf_append_str(&b, ",\"lastProbeTime\":null,\"lastTransitionTime\":\"");
    time_format(&now, &b);
    buf_append_str(&b, "\"}]}}");
    return client_patch(s->client, a, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, "status", PATCH_STRATEGIC, buf_cstr(&b), NULL, reterr);
}

static int pod_nominate(void *data, const struct corev1_Pod *pod, const char *node, struct status *reterr) {
    struct scheduler_server *s = data;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"metadata\":{\"uid\":");
    json_write_string(&b, str_or(pod->metadata.uid, ""));
    buf_append_str(&b, "},\"status\":{\"nominatedNodeName\":");
    if (str_empty(node)) buf_append_str(&b, "null");
    else json_write_string(&b, node);
    buf_append_str(&b, "}}");
    return client_patch(s->client, a, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, "status", PATCH_STRATEGIC, buf_cstr(&b), NULL, reterr);
}

static int pod_evict(void *data, const struct corev1_Pod *victim, const char *message, struct status *reterr) {
    struct scheduler_server *s = data;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    struct api_time now = time_from_s(env_now_s(s->env));
    buf_append_str(&b, "{\"metadata\":{\"uid\":");
    json_write_string(&b, str_or(victim->metadata.uid, ""));
    buf_append_str(&b, "},\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"PreemptionByScheduler\"");
    if (victim->metadata.generation) buf_printf(&b, ",\"observedGeneration\":%" PRId64, victim->metadata.generation);
    member(&b, "message", message);
    buf_append_str(&b, ",\"lastProbeTime\":null,\"lastTransitionTime\":\"");
    time_format(&now, &b);
    buf_append_str(&b, "\"}]}}");
    const char *ns = victim->metadata.namespace, *name = victim->metadata.name;
    if (client_patch(s->client, a, &corev1_Pod_desc, ns, name, "status", PATCH_STRATEGIC, buf_cstr(&b), NULL, reterr)) return -1;
    return client_delete(s->client, &corev1_Pod_desc, ns, name, client_delete_options(a, victim->metadata.uid, NULL), reterr);
}

static int update_volume(void *data, const struct corev1_PersistentVolume *pv, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    return client_update(((struct scheduler_server *)data)->client, a, &corev1_PersistentVolume_desc, pv, NULL, reterr);
}

static int update_claim(void *data, const struct corev1_PersistentVolumeClaim *pvc, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    return client_update(((struct scheduler_server *)data)->client, a, &corev1_PersistentVolumeClaim_desc, pvc, NULL, reterr);
}

static int get_resource_claim(void *data, struct arena *a, const char *ns, const char *name, struct resourcev1_ResourceClaim *ret, struct status *reterr) {
    return client_get(((struct scheduler_server *)data)->client, a, &resourcev1_ResourceClaim_desc, ns, name, ret, reterr);
}

static int put_resource_claim(void *data, struct arena *a, const struct resourcev1_ResourceClaim *claim, bool status, struct resourcev1_ResourceClaim *ret, struct status *reterr) {
    struct client *c = ((struct scheduler_server *)data)->client;
    return status ? client_update_status(c, a, &resourcev1_ResourceClaim_desc, claim, ret, reterr) : client_update(c, a, &resourcev1_ResourceClaim_desc, claim, ret, reterr);
}

static int unreserve_resource_claim(void *data, const struct resourcev1_ResourceClaim *claim, const struct corev1_Pod *pod, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"metadata\":{\"uid\":");
    json_write_string(&b, str_or(claim->metadata.uid, ""));
    buf_append_str(&b, "},\"status\":{\"reservedFor\":[{\"$patch\":\"delete\",\"uid\":");
    json_write_string(&b, str_or(pod->metadata.uid, ""));
    buf_append_str(&b, "}]}}");
    return client_patch(((struct scheduler_server *)data)->client, a, &resourcev1_ResourceClaim_desc, claim->metadata.namespace, claim->metadata.name, "status", PATCH_STRATEGIC, buf_cstr(&b),
                        NULL, reterr);
}

static struct corev1_ObjectReference pod_reference(const struct corev1_Pod *pod) {
    return (struct corev1_ObjectReference){.kind = "Pod", .apiVersion = "v1", .namespace = pod->metadata.namespace, .name = pod->metadata.name, .uid = pod->metadata.uid,
        .resourceVersion = pod->metadata.resourceVersion};
}

/* As upstream's scheduler, which writes events.k8s.io/v1: an eventTime, an action, and who reports. */
static void pod_record_related(void *data, const struct corev1_Pod *pod, const struct corev1_Pod *related, const char *type, const char *reason, const char *action, const char *note) {
    struct scheduler_server *s = data;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t now = env_now_ns(s->env);
    struct corev1_Event *e = object_new(a, &corev1_Event_desc);
    e->metadata.name = arena_printf(a, "%s.%" PRIx64, pod->metadata.name, (uint64_t)now);
    e->metadata.namespace = pod->metadata.namespace;
    e->involvedObject = pod_reference(pod);
    if (related) {
        e->related = ARENA_NEW(a, struct corev1_ObjectReference);
        *e->related = pod_reference(related);
    }
    e->eventTime = micro_time_from_ns(now);
    e->type = type;
    e->reason = reason;
    e->action = action;
    e->message = note;
    e->reportingComponent = str_or((related ? related : pod)->spec.schedulerName, "default-scheduler");
    e->reportingInstance = arena_printf(a, "%s-%s", e->reportingComponent, s->host);
    if (client_create(s->client, a, &corev1_Event_desc, e, NULL, &err) != 0) log_debug("scheduler: event: %s", status_message(&err));
}

static void pod_record(void *data, const struct corev1_Pod *pod, const char *type, const char *reason, const char *action, const char *note) {
    pod_record_related(data, pod, NULL, type, reason, action, note);
}

/* ---- in ---- */

static void set_object(void *data, const void *obj) {
    const struct source *src = data;
    scheduler_set_object(src->server->scheduler, src->type, obj);
}

static void delete_object(void *data, const char *ns, const char *name) {
    const struct source *src = data;
    scheduler_delete_object(src->server->scheduler, src->type, ns, name);
}

/* It starts when all is known: before that, nodes look emptier than they are, and claims seem not to exist. */
static void object_synced(void *data) {
    struct source *src = data;
    struct scheduler_server *s = src->server;
    pthread_mutex_lock(&s->mutex);
    s->synced += !src->synced;
    src->synced = true;
    bool start = !s->started && s->synced == s->sources_len;
    s->started |= start;
    pthread_mutex_unlock(&s->mutex);
    if (!start) return;
    scheduler_start(s->scheduler);
    log_info("scheduler: started");
}

struct scheduler_server *scheduler_server_start(struct client *c, struct env *env, const struct scheduler_config *config, const char *host) {
    struct scheduler_server *s = calloc(1, sizeof(*s));
    CHECK(s && (s->host = strdup(host)));
    s->client = c;
    s->env = env;
    pthread_mutex_init(&s->mutex, NULL);
    s->scheduler = scheduler_new(env, &(struct scheduler_client){.data = s, .bind = pod_bind, .set_unscheduled = pod_unscheduled, .record = pod_record,
        .nominate = pod_nominate, .evict = pod_evict, .record_related = pod_record_related, .update_volume = update_volume, .update_claim = update_claim,
        .get_resource_claim = get_resource_claim, .put_resource_claim = put_resource_claim, .unreserve_resource_claim = unreserve_resource_claim}, config);
    while (scheduler_wanted[s->sources_len]) s->sources_len++;
    CHECK(s->sources_len <= FEEDS_MAX);
    for (size_t i = 0; i < s->sources_len; i++) s->sources[i] = (struct source){.server = s, .type = scheduler_wanted[i]};
    for (size_t i = 0; i < s->sources_len; i++)
        s->sources[i].feed = feed_start(c, env, &(struct reflector_source){.type = s->sources[i].type},
                                        &(struct feed_handler){&s->sources[i], set_object, delete_object, object_synced});
    return s;
}

void scheduler_server_put_metrics(void *scheduler_server, struct buf *out) { scheduler_put_metrics(((struct scheduler_server *)scheduler_server)->scheduler, out); }

void scheduler_server_stop(struct scheduler_server *s) {
    if (!s) return;
    for (size_t i = 0; i < s->sources_len; i++) feed_stop(s->sources[i].feed);
    if (s->started) scheduler_stop(s->scheduler);
    scheduler_free(s->scheduler);
    pthread_mutex_destroy(&s->mutex);
    free(s->host);
    free(s);
}
