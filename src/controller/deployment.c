/* Deployments: ReplicaSets for each version of a template, and the way from one to the next. Upstream: pkg/controller/deployment.
 *
 * Here are events and the way through one sync; deployment.h says where the rest is. Tests: tests/unit/test_controller_deployment.c, tests/integration/test_controllers.py. */
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/deployment.h"

enum { RETRIES_MAX = 15, LOOK_AGAIN_MS = 10 };

/* ---- events ---- */

static struct cached *resolve(struct deployment_controller *dc, const char *ns, const struct metav1_OwnerReference *ref) {
    if (!ref || !str_eq(ref->kind, "Deployment")) return NULL;
    struct cached *d = informer_get(dc->deployments, ns, ref->name);
    if (d && str_eq(d->obj->metadata.uid, ref->uid)) return d;
    cached_unref(d);
    return NULL;
}

static void enqueue_owner(struct deployment_controller *dc, const char *ns, const struct metav1_OwnerReference *ref) {
    _cleanup_cached_ struct cached *d = resolve(dc, ns, ref);
    if (d) controller_enqueue(dc->c, d->obj);
}

static void enqueue_adopters(struct deployment_controller *dc, replica_set *set) {
    _cleanup_cached_list_ struct cached_list all = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (set->metadata.labels.len == 0) return;
    informer_list(dc->deployments, set->metadata.namespace, &all);
    CACHED_FOREACH(d, appsv1_Deployment, &all) {
        struct selector s;
        if (label_selector_from(a, d->spec.selector, &s, NULL) == 0 && s.len && selector_matches(&s, &set->metadata.labels)) controller_enqueue(dc->c, d);
    }
}

static void on_set_delete(void *data, struct cached *old) { enqueue_owner(data, old->obj->metadata.namespace, controller_of(old->obj)); }

static void on_set_add(void *data, struct cached *now) {
    if (now->obj->metadata.deletionTimestamp.set || controller_of(now->obj)) on_set_delete(data, now);
    else enqueue_adopters(data, CACHED(now, appsv1_ReplicaSet));
}

static void on_set_update(void *data, struct cached *old, struct cached *now) {
    const struct metav1_OwnerReference *was = controller_of(old->obj), *is = controller_of(now->obj);
    bool moved = !str_eq(was ? was->uid : NULL, is ? is->uid : NULL);
    if (moved && was) enqueue_owner(data, old->obj->metadata.namespace, was);
    if (is) enqueue_owner(data, now->obj->metadata.namespace, is);
    else if (moved || !string_map_equal(&old->obj->metadata.labels, &now->obj->metadata.labels)) enqueue_adopters(data, CACHED(now, appsv1_ReplicaSet));
}

static bool has_pods(struct deployment_controller *dc, const void *d) {
    _cleanup_cached_list_ struct cached_list sets = {0};
    informer_by_index(dc->sets, dc->sets_by_controller, ((const struct object *)d)->metadata.uid, &sets);
    for (size_t i = 0; i < sets.len; i++)
        if (informer_index_has(dc->pods, dc->pods_by_controller, sets.items[i]->obj->metadata.uid)) return true;
    return false;
}

/* "Recreate" begins anew when the last Pod has gone; a rolling Deployment hears of Pods by its ReplicaSets' statuses. */
static void on_pod_delete(void *data, struct cached *old) {
    struct deployment_controller *dc = data;
    const struct metav1_OwnerReference *ref = controller_of(old->obj);
    if (!ref || !str_eq(ref->kind, "ReplicaSet")) return;
    _cleanup_cached_ struct cached *set = informer_get(dc->sets, old->obj->metadata.namespace, ref->name);
    if (!set || !str_eq(set->obj->metadata.uid, ref->uid)) return;
    _cleanup_cached_ struct cached *d = resolve(dc, set->obj->metadata.namespace, controller_of(set->obj));
    if (d && str_eq(CACHED(d, appsv1_Deployment)->spec.strategy.type, "Recreate") && !has_pods(dc, d->obj)) controller_enqueue(dc->c, d->obj);
}

/* ---- sync ---- */

/* Whether the cache has all that was written for it. What may have been written is read from the server first. */
static bool is_up_to_date(struct rollout *ro) {
    struct deployment_controller *dc = ro->dc;
    const struct metav1_ObjectMeta *meta = &ro->d->metadata;
    struct appsv1_ReplicaSetList live;
    if (own_writes_in_doubt(dc->writes, meta->uid) && client_list(dc->c->client, ro->a, &appsv1_ReplicaSet_desc, meta->namespace, NULL, &live, NULL) == 0) {
        LIST_FOREACH(s, &live.items)
            if (controlled_by(s, ro->d)) own_writes_note(dc->writes, meta->uid, s);
        own_writes_settle(dc->writes, meta->uid);
    }
    return own_writes_seen(dc->writes, meta->uid, dc->sets);
}

static int selects_all(struct rollout *ro) {
    event_record(ro->dc->c->events, &appsv1_Deployment_desc, ro->d, EVENT_WARNING, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.");
    if (ro->d->status.observedGeneration < ro->d->metadata.generation) {
        ro->d->status.observedGeneration = ro->d->metadata.generation;
        rollout_write_status(ro, NULL);
    }
    return 0;
}

static int claim_sets(struct rollout *ro, struct cached_list *ret, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list all = {0};
    struct selector selector;
    if (label_selector_from(ro->a, ro->d->spec.selector, &selector, reterr) != 0) return -1;
    pods_owned_or_orphaned(ro->dc->sets, ro->dc->sets_by_controller, ro->d, &all);
    if (controller_claim(ro->dc->c, ro->a, &appsv1_Deployment_desc, ro->d, &selector, &appsv1_ReplicaSet_desc, &all, ret, reterr) != 0) return -1;
    ro->all.items = arena_calloc(ro->a, ret->len + 1, sizeof(*ro->all.items));
    CACHED_FOREACH(s, appsv1_ReplicaSet, ret) ro->all.items[ro->all.len++] = s;
    return 0;
}

static bool wants_rollback(const struct rollout *ro) {
    int64_t revision;
    const char *text = string_map_get(&ro->d->metadata.annotations, ANNOTATION_ROLLBACK_TO);
    return !str_empty(text) && str_to_i64(text, &revision);
}

static int scale(struct rollout *ro, struct status *reterr) {
    if (rollout_scale(ro, reterr) != 0) return -1;
    if (ro->d->spec.paused && !wants_rollback(ro) && rollout_clean_up(ro, reterr) != 0) return -1;
    return rollout_sync_status(ro, reterr);
}

static int sync_rollout(struct rollout *ro, struct status *reterr) {
    const char *strategy = ro->d->spec.strategy.type;
    bool leaving = ro->d->metadata.deletionTimestamp.set;
    if (!leaving && rollout_check_paused(ro, reterr) != 0) return -1;
    if (rollout_find_new(ro, false, reterr) != 0) return -1;
    if (leaving) return rollout_sync_status(ro, reterr);
    if (ro->d->spec.paused) return scale(ro, reterr);
    if (wants_rollback(ro)) return rollout_roll_back(ro, reterr);
    if (rollout_is_scaling_event(ro)) return scale(ro, reterr);
    if (str_eq(strategy, "Recreate")) return rollout_recreate(ro, reterr);
    if (str_eq(strategy, "RollingUpdate")) return rollout_rolling(ro, reterr);
    return status_internal(reterr, "unexpected deployment strategy type: %s", str_or(strategy, ""));
}

static int sync_deployment(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct deployment_controller *dc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(dc->deployments, ns, name);
    if (!cached) return 0;
    struct rollout ro = {.dc = dc, .a = a, .d = object_copy(a, &appsv1_Deployment_desc, cached->obj)};
    const struct metav1_LabelSelector *selector = ro.d->spec.selector;
    if (selector && selector->matchLabels.len == 0 && selector->matchExpressions.len == 0) return selects_all(&ro);
    if (!is_up_to_date(&ro)) {
        work_queue_add_after(dc->c->queue, key, LOOK_AGAIN_MS);
        return 0;
    }
    _cleanup_cached_list_ struct cached_list sets = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (claim_sets(&ro, &sets, &err) == 0 && sync_rollout(&ro, &err) == 0) return 0;
    if (status_has_cause(&err, "NamespaceTerminating")) return 0; /* nothing can be made there any more */
    if (reterr) status_copy(reterr, &err);
    return -1;
}

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct deployment_controller *dc = calloc(1, sizeof(*dc));
    CHECK(dc);
    dc->c = c;
    dc->deployments = informers_get(c->context->informers, &appsv1_Deployment_desc);
    dc->sets = informers_get(c->context->informers, &appsv1_ReplicaSet_desc);
    dc->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    dc->writes = own_writes_new();
    dc->sets_by_controller = pods_index_by_controller(dc->sets);
    dc->pods_by_controller = pods_index_by_controller(dc->pods);
    informer_add_handler(dc->deployments, &(struct informer_handler){c, controller_on_add, controller_on_update, controller_on_delete});
    informer_add_handler(dc->sets, &(struct informer_handler){dc, on_set_add, on_set_update, on_set_delete});
    informer_add_handler(dc->pods, &(struct informer_handler){dc, NULL, NULL, on_pod_delete});
    return dc;
}

static void free_self(void *self) {
    own_writes_free(((struct deployment_controller *)self)->writes);
    free(self);
}

const struct controller_desc controller_deployment = {
    .name = "deployment-controller", .queue = "deployment", .workers = 5, .retries_max = RETRIES_MAX, .new = new, .sync = sync_deployment, .free = free_self};
