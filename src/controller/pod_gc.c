/* Pods that nobody ends any more: of Nodes that are gone, terminating without ever having had a Node, on Nodes out of service, and finished ones beyond a threshold.
 * Upstream: pkg/controller/podgc. A pass every 20 s; a Node must be missing for 40 s, and the server must say so too. Tests: tests/unit/test_controller_misc.c. */
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "client/parallel.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"
#include "controller/node_util.h"
#include "controller/pod_condition.h"

enum { PERIOD_MS = 20000, QUARANTINE_S = 40 };

struct pod_gc {
    struct controller *c;
    struct informer *pods, *nodes;
    struct map *missing; /* Node's name -> since when (monotonic seconds + 1, as an integer) */
};

/* Failed first, since no kubelet will ever say so; then gone at once. */
static void fail_and_delete(struct pod_gc *gc, const struct corev1_Pod *cached, bool node_gone, const char *why) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod *pod = object_copy(a, &corev1_Pod_desc, cached);
    struct metav1_DeleteOptions *now = client_delete_options(a, NULL, NULL);
    now->gracePeriodSeconds = (struct opt_int64)OPT(0);
    int rc = 0;
    if (!pod_is_terminal(pod)) {
        if (node_gone) pod_condition_set(a, pod, "DisruptionTarget", "True", "DeletionByPodGC", "PodGC: node no longer exists", env_now_s(gc->c->env));
        rc = pod_condition_patch(gc->c->client, a, pod, "DisruptionTarget", "Failed", &err);
    }
    if (rc == 0) rc = client_delete(gc->c->client, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, now, &err);
    controller_metric_add(&metrics_pod_gc_deletions, 1, "namespace=\"%s\",reason=\"%s\"", pod->metadata.namespace, why);
    if (rc == 0 || status_is(&err, 404)) return;
    controller_metric_add(&metrics_pod_gc_errors, 1, "namespace=\"%s\",reason=\"%s\"", pod->metadata.namespace, why);
    log_warning("pod-garbage-collector: %s/%s stays for now: %s", pod->metadata.namespace, pod->metadata.name, status_message(&err));
}

/* ---- finished ones ---- */

static int oldest_first(const void *x, const void *y) {
    const struct corev1_Pod *a = CACHED(*(struct cached *const *)x, corev1_Pod), *b = CACHED(*(struct cached *const *)y, corev1_Pod);
    bool ea = str_eq(a->status.phase, "Failed") && str_eq(a->status.reason, "Evicted"), eb = str_eq(b->status.phase, "Failed") && str_eq(b->status.reason, "Evicted");
    if (ea != eb) return ea ? -1 : 1;
    int64_t ta = a->metadata.creationTimestamp.sec, tb = b->metadata.creationTimestamp.sec;
    return ta != tb ? (ta < tb ? -1 : 1) : str_cmp(a->metadata.name, b->metadata.name);
}

struct doomed { struct pod_gc *gc; struct cached **pods; };
static void delete_one(void *arg, size_t i) { fail_and_delete(((struct doomed *)arg)->gc, CACHED(((struct doomed *)arg)->pods[i], corev1_Pod), false, "terminated"); }

static void collect_finished(struct pod_gc *gc, struct arena *a, const struct cached_list *pods) {
    size_t threshold = (size_t)MAX(gc->c->context->options->terminated_pod_gc_threshold, 0), n = 0;
    struct cached **finished = arena_calloc(a, pods->len, sizeof(*finished));
    for (size_t i = 0; i < pods->len; i++) {
        const char *phase = CACHED(pods->items[i], corev1_Pod)->status.phase;
        if (!str_empty(phase) && !str_eq(phase, "Pending") && !str_eq(phase, "Running") && !str_eq(phase, "Unknown")) finished[n++] = pods->items[i];
    }
    if (!threshold || n <= threshold) return;
    log_info("pod-garbage-collector: %zu finished Pods are too many", n - threshold);
    qsort(finished, n, sizeof(*finished), oldest_first);
    parallel_run(n - threshold, delete_one, &(struct doomed){gc, finished});
}

/* ---- of Nodes that are gone ---- */

static bool node_is_gone(struct pod_gc *gc, struct arena *a, const char *name) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Node node;
    int64_t now_s = env_mono_ns(gc->c->env) / 1000000000 + 1, since = (intptr_t)map_get(gc->missing, name);
    if (!since) map_put(gc->missing, name, (void *)(intptr_t)now_s);
    if (!since || now_s - since < QUARANTINE_S) return false;
    if (client_get(gc->c->client, a, &corev1_Node_desc, NULL, name, &node, &err) != 0 && status_is(&err, 404)) return true;
    map_del(gc->missing, name);
    return false;
}

static void collect_orphans(struct pod_gc *gc, struct arena *a, const struct cached_list *pods) {
    struct map *verdicts = map_new(), *seen = map_new();
    CACHED_FOREACH(pod, corev1_Pod, pods) {
        if (str_empty(pod->spec.nodeName)) continue;
        _cleanup_cached_ struct cached *node = informer_get(gc->nodes, NULL, pod->spec.nodeName);
        if (node) continue;
        map_put(seen, pod->spec.nodeName, gc);
        if (!map_has(verdicts, pod->spec.nodeName)) map_put(verdicts, pod->spec.nodeName, node_is_gone(gc, a, pod->spec.nodeName) ? gc : NULL);
        if (map_get(verdicts, pod->spec.nodeName)) fail_and_delete(gc, pod, true, "orphaned");
    }
    const char *name;
    void *value;
    for (size_t i = 0; map_next(gc->missing, &i, &name, &value);)
        if (!map_has(seen, name)) map_del(gc->missing, name);
    map_free(verdicts);
    map_free(seen);
}

/* ---- terminating ones that nobody ends ---- */

static bool node_out_of_service(struct pod_gc *gc, const char *name) {
    _cleanup_cached_ struct cached *cached = informer_get(gc->nodes, NULL, name);
    if (!cached) return false;
    const struct corev1_Node *node = CACHED(cached, corev1_Node);
    const struct corev1_NodeCondition *ready = node_condition(node, "Ready");
    if (ready && str_eq(ready->status, "True")) return false;
    LIST_FOREACH(t, &node->spec.taints)
        if (str_eq(t->key, "node.kubernetes.io/out-of-service")) return true;
    return false;
}

static void collect_terminating(struct pod_gc *gc, const struct cached_list *pods) {
    CACHED_FOREACH(pod, corev1_Pod, pods) {
        if (!pod->metadata.deletionTimestamp.set) continue;
        bool unscheduled = str_empty(pod->spec.nodeName);
        if (unscheduled || node_out_of_service(gc, pod->spec.nodeName)) fail_and_delete(gc, pod, false, unscheduled ? "unscheduled" : "out-of-service");
    }
}

static void run(void *self) {
    struct pod_gc *gc = self;
    do {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_cached_list_ struct cached_list pods = {0};
        informer_list(gc->pods, NULL, &pods);
        collect_finished(gc, a, &pods);
        collect_terminating(gc, &pods);
        collect_orphans(gc, a, &pods);
    } while (controller_sleep_ms(gc->c, PERIOD_MS));
}

static int sync_nothing(void *self UNUSED, struct arena *a UNUSED, const char *key UNUSED, struct status *reterr UNUSED) { return 0; }

static void free_self(void *self) {
    struct pod_gc *gc = self;
    map_free(gc->missing);
    free(gc);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct pod_gc *gc = calloc(1, sizeof(*gc));
    CHECK(gc);
    gc->c = c;
    gc->missing = map_new();
    gc->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    gc->nodes = informers_get(c->context->informers, &corev1_Node_desc);
    return gc;
}

const struct controller_desc controller_pod_gc = {
    .name = "pod-garbage-collector-controller", .queue = "orphaned_pods_nodes", .account = "pod-garbage-collector", .workers = 1, .new = new, .sync = sync_nothing, .run = run, .free = free_self};
