/* StatefulSets: Pods with names, claims and an order. Upstream: pkg/controller/statefulset.
 *
 * Here are events and one sync; stateful_set.h says where the rest is. Names are fixed, so no Pod can be made twice, and a Pod is deleted by its UID: a cache that
 * is behind does no harm. Tests: tests/unit/test_controller_stateful_set.c. */
#include "controller/stateful_set.h"
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

/* ---- events ---- */

static struct cached *resolve(struct stateful_set_controller *sc, const char *ns, const struct metav1_OwnerReference *ref) {
    if (!ref || !str_eq(ref->kind, "StatefulSet")) return NULL;
    struct cached *set = informer_get(sc->sets, ns, ref->name);
    if (set && str_eq(set->obj->metadata.uid, ref->uid)) return set;
    cached_unref(set);
    return NULL;
}

static void enqueue_adopters(struct stateful_set_controller *sc, const struct object *pod) {
    _cleanup_cached_list_ struct cached_list sets = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    informer_list(sc->sets, pod->metadata.namespace, &sets);
    CACHED_FOREACH(set, appsv1_StatefulSet, &sets) {
        struct selector s;
        if (label_selector_from(a, set->spec.selector, &s, NULL) == 0 && s.len && selector_matches(&s, &pod->metadata.labels)) controller_enqueue(sc->c, set);
    }
}

static void enqueue_owner(struct stateful_set_controller *sc, const struct object *pod, const struct metav1_OwnerReference *ref) {
    _cleanup_cached_ struct cached *set = resolve(sc, pod->metadata.namespace, ref);
    if (set) controller_enqueue(sc->c, set->obj);
}

static void on_pod_delete(void *data, struct cached *old) { enqueue_owner(data, old->obj, controller_of(old->obj)); }

static void on_pod_add(void *data, struct cached *now) {
    if (controller_of(now->obj) || now->obj->metadata.deletionTimestamp.set) on_pod_delete(data, now);
    else enqueue_adopters(data, now->obj);
}

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    struct stateful_set_controller *sc = data;
    const struct metav1_OwnerReference *was = controller_of(old->obj), *is = controller_of(now->obj);
    bool moved = !str_eq(was ? was->uid : NULL, is ? is->uid : NULL);
    if (moved && was) enqueue_owner(sc, old->obj, was);
    if (!is) {
        if (moved || !string_map_equal(&old->obj->metadata.labels, &now->obj->metadata.labels)) enqueue_adopters(sc, now->obj);
        return;
    }
    _cleanup_cached_ struct cached *set = resolve(sc, now->obj->metadata.namespace, is);
    if (!set) return;
    controller_enqueue(sc->c, set->obj);
    int32_t min_ready = CACHED(set, appsv1_StatefulSet)->spec.minReadySeconds;
    if (min_ready > 0 && !pod_is_ready(CACHED(old, corev1_Pod)) && pod_is_ready(CACHED(now, corev1_Pod))) controller_enqueue_after(sc->c, set->obj, (min_ready + 1) * 1000LL);
}

/* ---- sync ---- */

static int by_ordinal(const void *x, const void *y) {
    const char *p = (*(stateful_pod *const *)x)->metadata.name, *q = (*(stateful_pod *const *)y)->metadata.name;
    size_t lp = strlen(p), lq = strlen(q); /* the same prefix, digits without leading zeros */
    return lp != lq ? (lp < lq ? -1 : 1) : strcmp(p, q);
}

static int find_pods(struct stateful_sync *s, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list all = {0};
    struct cached_list claimed = {0};
    pods_owned_or_orphaned(s->sc->pods, s->sc->pods_by_controller, s->set, &all);
    struct cached_list members = {arena_calloc(s->a, all.len + 1, sizeof(*members.items)), 0, 0};
    for (size_t i = 0; i < all.len; i++)
        if (stateful_ordinal(s->set->metadata.name, all.items[i]->obj->metadata.name) >= 0) members.items[members.len++] = all.items[i];
    int rc = controller_claim(s->sc->c, s->a, &appsv1_StatefulSet_desc, s->set, &s->selector, &corev1_Pod_desc, &members, &claimed, reterr);
    s->pods.items = arena_calloc(s->a, claimed.len + 1, sizeof(*s->pods.items));
    CACHED_FOREACH(p, corev1_Pod, &claimed) s->pods.items[s->pods.len++] = p;
    qsort(s->pods.items, s->pods.len, sizeof(*s->pods.items), by_ordinal);
    cached_list_take(&s->hold, &claimed);
    return rc;
}

static void look_again(struct stateful_sync *s) {
    int64_t next = 0, wait_ms;
    for (size_t i = 0; i < s->pods.len; i++)
        if (!pod_is_available(s->pods.items[i], s->set->spec.minReadySeconds, s->now_ns, &wait_ms) && wait_ms > 0 && (next == 0 || wait_ms < next)) next = wait_ms;
    work_queue_add_after(s->sc->c->queue, s->key, next > 0 ? next : s->set->spec.minReadySeconds * 1000LL);
}

static int sync_set(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct stateful_set_controller *sc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(sc->sets, ns, name);
    if (!cached) {
        const char *part = arena_printf(a, "statefulset_name=\"%s\",statefulset_namespace=\"%s\"", name, ns);
        metric_drop(&metrics_stateful_unavailable, part);
        metric_drop(&metrics_stateful_max_unavailable, part);
        return 0;
    }
    const struct appsv1_StatefulSet *set = CACHED(cached, appsv1_StatefulSet);
    struct stateful_sync s = {.sc = sc, .a = a, .key = key, .set = set, .now_ns = env_now_ns(sc->c->env), .start = set->spec.ordinals ? set->spec.ordinals->start : 0,
        .replicas = MAX(set->spec.replicas.value, 0), .monotonic = !str_eq(set->spec.podManagementPolicy, "Parallel")};
    if (label_selector_from(a, set->spec.selector, &s.selector, NULL) != 0) return 0; /* trying again would not make it better */
    int rc = find_pods(&s, reterr);
    if (rc == 0) rc = stateful_set_update(&s, reterr);
    if (rc == 0 && set->spec.minReadySeconds > 0 && s.status.readyReplicas != s.status.availableReplicas) look_again(&s);
    cached_list_release(&s.hold);
    return rc;
}

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct stateful_set_controller *sc = calloc(1, sizeof(*sc));
    CHECK(sc);
    struct informers *f = c->context->informers;
    sc->c = c;
    sc->sets = informers_get(f, &appsv1_StatefulSet_desc);
    sc->pods = informers_get(f, &corev1_Pod_desc);
    sc->claims = informers_get(f, &corev1_PersistentVolumeClaim_desc);
    sc->revisions = informers_get(f, &appsv1_ControllerRevision_desc);
    sc->pods_by_controller = pods_index_by_controller(sc->pods);
    sc->revisions_by_controller = pods_index_by_controller(sc->revisions);
    informer_add_handler(sc->sets, &(struct informer_handler){c, controller_on_add, controller_on_update, controller_on_delete});
    informer_add_handler(sc->pods, &(struct informer_handler){sc, on_pod_add, on_pod_update, on_pod_delete});
    return sc;
}

const struct controller_desc controller_stateful_set = {.name = "statefulset-controller", .queue = "statefulset", .workers = 5, .new = new, .sync = sync_set, .free = free};
