/* Pods leave Nodes with NoExecute taints that they do not tolerate, at once or when the time that they tolerate it is over. Upstream: pkg/controller/tainteviction.
 *
 * Keys: "NODE" (its taints changed), "NAMESPACE/NAME" (a Pod came or its tolerations changed) and "evict:NAMESPACE/NAME" (its time has come). What is scheduled is kept here;
 * the queue only wakes. A toleration's time counts from the moment this process saw the taint. Tests: tests/unit/test_controller_node.c. */
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"
#include "controller/node_util.h"
#include "controller/pod_condition.h"

#define EVICT "evict:"
enum { DELETE_TRIES = 5 };

/* Kept after it fired, until the Pod is gone or nothing is wrong any more: it is not to be evicted twice. */
struct eviction { int64_t created_ns, fire_ns; bool fired; };

struct taint_eviction {
    struct controller *c;
    struct informer *nodes, *pods;
    int pods_by_node;
    pthread_mutex_t mutex;
    struct map *evictions; /* "NAMESPACE/NAME" -> struct eviction * */
};

/* ---- the schedule ---- */

static void pod_event(struct taint_eviction *te, const char *key, const char *what) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    struct corev1_Pod pod = {0};
    object_key_split(a, key, &pod.metadata.namespace, &pod.metadata.name);
    event_record(te->c->events, &corev1_Pod_desc, &pod, EVENT_NORMAL, "TaintManagerEviction", "%s Pod %s", what, key);
}

static void cancel(struct taint_eviction *te, const char *key) {
    pthread_mutex_lock(&te->mutex);
    struct eviction *e = map_del(te->evictions, key);
    pthread_mutex_unlock(&te->mutex);
    if (e && !e->fired) pod_event(te, key, "Cancelling deletion of");
    free(e);
}

static void schedule(struct taint_eviction *te, const char *key, int64_t created_ns, int64_t fire_ns) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    pthread_mutex_lock(&te->mutex);
    bool known = map_has(te->evictions, key);
    if (!known) {
        struct eviction *e = calloc(1, sizeof(*e));
        CHECK(e);
        *e = (struct eviction){created_ns, fire_ns, false};
        map_put(te->evictions, key, e);
    }
    pthread_mutex_unlock(&te->mutex);
    if (!known) work_queue_add_after(te->c->queue, arena_printf(a, EVICT "%s", key), (fire_ns - env_mono_ns(te->c->env) + 999999) / 1000000);
}

/* False: nothing is scheduled, or it has fired. */
static bool scheduled(struct taint_eviction *te, const char *key, int64_t *ret_created_ns) {
    pthread_mutex_lock(&te->mutex);
    const struct eviction *e = map_get(te->evictions, key);
    bool waits = e && !e->fired;
    if (waits) *ret_created_ns = e->created_ns;
    pthread_mutex_unlock(&te->mutex);
    return waits;
}

/* ---- Pods and taints ---- */

/* How long the Pod tolerates all taints: 0: not at all, -1: forever. */
static int64_t tolerated_s(const struct corev1_Pod *pod, const struct corev1_Taint_list *taints) {
    int64_t min = -1;
    LIST_FOREACH(taint, taints) {
        const struct corev1_Toleration *by = NULL;
        LIST_FOREACH(t, &pod->spec.tolerations)
            if (!by && taint_tolerated(t, taint)) by = t;
        if (!by) return 0;
        if (!by->tolerationSeconds.has) continue;
        if (by->tolerationSeconds.value <= 0) return 0;
        if (min < 0 || by->tolerationSeconds.value < min) min = by->tolerationSeconds.value;
    }
    return min;
}

static void process_pod(struct taint_eviction *te, const struct corev1_Pod *pod, const struct corev1_Taint_list *taints) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    const char *key = object_key(a, pod);
    int64_t seconds = tolerated_s(pod, taints), now = env_mono_ns(te->c->env), created = now;
    if (taints->len == 0 || seconds < 0) {
        cancel(te, key);
        return;
    }
    if (seconds == 0) {
        cancel(te, key);
        schedule(te, key, now, now);
        return;
    }
    if (scheduled(te, key, &created)) {
        if (created < now) return; /* it goes at the time that was set first */
        cancel(te, key);
    }
    schedule(te, key, created, created + seconds * 1000000000);
}

static void no_execute_taints(struct arena *a, const struct corev1_Node *node, struct corev1_Taint_list *ret) {
    LIST_FOREACH(t, &node->spec.taints)
        if (str_eq(t->effect, "NoExecute")) *LIST_PUSH(a, ret) = *t;
}

/* ---- sync ---- */

static int sync_node(struct taint_eviction *te, struct arena *a, const char *name) {
    _cleanup_cached_ struct cached *node = informer_get(te->nodes, NULL, name);
    _cleanup_cached_list_ struct cached_list pods = {0};
    struct corev1_Taint_list taints = {0};
    if (!node) return 0;
    no_execute_taints(a, CACHED(node, corev1_Node), &taints);
    informer_by_index(te->pods, te->pods_by_node, name, &pods);
    CACHED_FOREACH(pod, corev1_Pod, &pods) process_pod(te, pod, &taints);
    return 0;
}

static int sync_pod(struct taint_eviction *te, struct arena *a, const char *key) {
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(te->pods, ns, name);
    if (!cached) {
        cancel(te, key);
        return 0;
    }
    const struct corev1_Pod *pod = CACHED(cached, corev1_Pod);
    _cleanup_cached_ struct cached *node = str_empty(pod->spec.nodeName) ? NULL : informer_get(te->nodes, NULL, pod->spec.nodeName);
    struct corev1_Taint_list taints = {0};
    if (node) no_execute_taints(a, CACHED(node, corev1_Node), &taints);
    if (taints.len) process_pod(te, pod, &taints);
    return 0;
}

static int delete_pod(struct taint_eviction *te, struct arena *a, const char *ns, const char *name, struct status *reterr) {
    struct corev1_Pod pod;
    if (client_get(te->c->client, a, &corev1_Pod_desc, ns, name, &pod, reterr) != 0) return -1;
    if (pod_condition_set(a, &pod, "DisruptionTarget", "True", "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", env_now_s(te->c->env)) &&
        pod_condition_patch(te->c->client, a, &pod, "DisruptionTarget", NULL, reterr) != 0)
        return -1;
    return client_delete(te->c->client, &corev1_Pod_desc, ns, name, NULL, reterr);
}

static int evict(struct taint_eviction *te, struct arena *a, const char *key, struct status *reterr) {
    const char *ns, *name;
    pthread_mutex_lock(&te->mutex);
    struct eviction *e = map_get(te->evictions, key);
    int64_t fire_ns = e ? e->fire_ns : 0, left_ns = e ? fire_ns - env_mono_ns(te->c->env) : 0;
    bool due = e && !e->fired && left_ns <= 0;
    if (due) e->fired = true;
    bool early = e && !e->fired;
    pthread_mutex_unlock(&te->mutex);
    if (early) work_queue_add_after(te->c->queue, arena_printf(a, EVICT "%s", key), (left_ns + 999999) / 1000000);
    if (!due) return 0;
    pod_event(te, key, "Marking for deletion");
    object_key_split(a, key, &ns, &name);
    _cleanup_status_ struct status err = STATUS_INIT;
    for (int tries = 0; tries < DELETE_TRIES; tries++) {
        int rc = delete_pod(te, a, ns, name, &err);
        if (rc == 0) {
            metric_add(&metrics_taint_deletions, "", 1);
            metric_observe(&metrics_taint_deletion_duration, "", (double)(env_mono_ns(te->c->env) - fire_ns) / 1e9);
        }
        if (rc == 0 || status_is(&err, 404)) return 0;
        controller_sleep_ms(te->c, 10);
    }
    /* Once more, by way of the Pod's key. */
    pthread_mutex_lock(&te->mutex);
    free(map_del(te->evictions, key));
    pthread_mutex_unlock(&te->mutex);
    work_queue_add_after(te->c->queue, key, 1000);
    status_copy(reterr, &err);
    log_warning("taint-eviction-controller: %s is not deleted yet: %s", key, status_message(&err));
    return 0;
}

static int sync_key(void *self, struct arena *a, const char *key, struct status *reterr) {
    if (str_has_prefix(key, EVICT)) return evict(self, a, key + strlen(EVICT), reterr);
    return strchr(key, '/') ? sync_pod(self, a, key) : sync_node(self, a, key);
}

/* ---- events and life ---- */

static bool same_taints(const struct corev1_Node *x, const struct corev1_Node *y) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    struct corev1_NodeSpec sx = {0}, sy = {0};
    no_execute_taints(a, x, &sx.taints);
    no_execute_taints(a, y, &sy.taints);
    return object_equal(&corev1_NodeSpec_desc, &sx, &sy);
}

static void on_node_update(void *data, struct cached *old, struct cached *now) {
    struct taint_eviction *te = data;
    if (!same_taints(CACHED(old, corev1_Node), CACHED(now, corev1_Node))) controller_enqueue(te->c, now->obj);
}
static void on_node_add(void *data, struct cached *now) { controller_enqueue(((struct taint_eviction *)data)->c, now->obj); }

static void on_pod_add(void *data, struct cached *now) { controller_enqueue(((struct taint_eviction *)data)->c, now->obj); }
static void on_pod_delete(void *data, struct cached *old) { controller_enqueue(((struct taint_eviction *)data)->c, old->obj); }

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_Pod *was = CACHED(old, corev1_Pod), *is = CACHED(now, corev1_Pod);
    struct corev1_PodSpec sx = {.tolerations = was->spec.tolerations, .nodeName = was->spec.nodeName}, sy = {.tolerations = is->spec.tolerations, .nodeName = is->spec.nodeName};
    if (!object_equal(&corev1_PodSpec_desc, &sx, &sy)) on_pod_add(data, now);
}

static void free_self(void *self) {
    struct taint_eviction *te = self;
    map_free_with(te->evictions, free);
    pthread_mutex_destroy(&te->mutex);
    free(te);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct taint_eviction *te = calloc(1, sizeof(*te));
    CHECK(te);
    te->c = c;
    te->evictions = map_new();
    pthread_mutex_init(&te->mutex, NULL);
    te->nodes = informers_get(c->context->informers, &corev1_Node_desc);
    te->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    te->pods_by_node = informer_add_index(te->pods, "spec.nodeName", index_by_node_name);
    informer_add_handler(te->nodes, &(struct informer_handler){te, on_node_add, on_node_update, NULL});
    informer_add_handler(te->pods, &(struct informer_handler){te, on_pod_add, on_pod_update, on_pod_delete});
    return te;
}

const struct controller_desc controller_taint_eviction = {
    .name = "taint-eviction-controller", .queue = "noexec_taint_pod", .account = "node-controller", .workers = 8, .new = new, .sync = sync_key, .free = free_self};
