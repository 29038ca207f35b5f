/* ReplicaSets, and what else keeps a number of Pods (replica_set.h): as many Pods as spec.replicas says. Upstream: pkg/controller/replicaset.
 *
 * A Pod's event wakes the ReplicaSet that controls it, or, for a Pod without a controller, those that could adopt it. While creations or deletions that were asked
 * for have not been seen in the cache (expectations), only the status is brought up to date. Tests: tests/unit/test_controller_deployment.c. */
#include "controller/replica_set.h"
#include "base/map.h"
#include "base/str.h"
#include "client/parallel.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

enum { BURST_REPLICAS = 500, DOUBT_PERIOD_MS = 20, LARGE_SET = 50, GATHER_MS = 15 };

struct replica_set_controller {
    struct controller *c;
    const struct replica_set_kind *kind;
    struct informer *sets, *pods;
    int by_controller;            /* index of Pods: the controller's UID, or "orphans/NAMESPACE" */
    struct expectations *expectations;
};

/* ---- events ---- */

/* The ReplicaSet that the reference names, if it is the same one by UID. */
static struct cached *resolve(struct replica_set_controller *rc, const char *ns, const struct metav1_OwnerReference *ref) {
    if (!str_eq(ref->kind, rc->kind->type->kind)) return NULL;
    struct cached *set = informer_get(rc->sets, ns, ref->name);
    if (set && !str_eq(set->obj->metadata.uid, ref->uid)) {
        cached_unref(set);
        set = NULL;
    }
    return set;
}

static void enqueue_adopters(struct replica_set_controller *rc, const struct corev1_Pod *pod) {
    _cleanup_cached_list_ struct cached_list sets = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    informer_list(rc->sets, pod->metadata.namespace, &sets);
    for (size_t i = 0; i < sets.len; i++) {
        struct selector s;
        const struct appsv1_ReplicaSet *set = rc->kind->view(a, sets.items[i]->obj);
        if (label_selector_from(a, set->spec.selector, &s, NULL) == 0 && s.len && selector_matches(&s, &pod->metadata.labels)) controller_enqueue(rc->c, set);
    }
}

/* News of one Pod of many waits a moment for more: a sync looks at all of them. */
static void enqueue_for_pod(struct replica_set_controller *rc, struct arena *a, const struct cached *set) {
    if (rc->kind->view(a, set->obj)->spec.replicas.value > LARGE_SET) controller_enqueue_after(rc->c, set->obj, GATHER_MS);
    else controller_enqueue(rc->c, set->obj);
}

static void on_pod_gone(struct replica_set_controller *rc, const struct corev1_Pod *pod) {
    const struct metav1_OwnerReference *ref = controller_of(pod);
    if (!ref) return;
    _cleanup_cached_ struct cached *set = resolve(rc, pod->metadata.namespace, ref);
    if (!set) return;
    _cleanup_arena_ struct arena *a = arena_new();
    expectations_deletion_observed(rc->expectations, set->obj->metadata.uid, object_key(a, pod));
    enqueue_for_pod(rc, a, set);
}

static void on_pod_add(void *data, struct cached *now) {
    struct replica_set_controller *rc = data;
    const struct corev1_Pod *pod = CACHED(now, corev1_Pod);
    if (pod->metadata.deletionTimestamp.set) { /* seen for the first time when it is already on its way out: after a restart */
        on_pod_gone(rc, pod);
        return;
    }
    const struct metav1_OwnerReference *ref = controller_of(pod);
    if (!ref) {
        enqueue_adopters(rc, pod);
        return;
    }
    _cleanup_cached_ struct cached *set = resolve(rc, pod->metadata.namespace, ref);
    if (!set) return;
    _cleanup_arena_ struct arena *a = arena_new();
    expectations_creation_observed(rc->expectations, set->obj->metadata.uid);
    enqueue_for_pod(rc, a, set);
}

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    struct replica_set_controller *rc = data;
    const struct corev1_Pod *before = CACHED(old, corev1_Pod), *pod = CACHED(now, corev1_Pod);
    bool relabelled = !string_map_equal(&before->metadata.labels, &pod->metadata.labels);
    if (pod->metadata.deletionTimestamp.set) {
        on_pod_gone(rc, pod);
        if (relabelled) on_pod_gone(rc, before);
        return;
    }
    const struct metav1_OwnerReference *was = controller_of(before), *is = controller_of(pod);
    bool moved = !str_eq(was ? was->uid : NULL, is ? is->uid : NULL);
    if (moved && was) {
        _cleanup_cached_ struct cached *set = resolve(rc, pod->metadata.namespace, was);
        if (set) controller_enqueue(rc->c, set->obj);
    }
    if (!is) {
        if (relabelled || moved) enqueue_adopters(rc, pod);
        return;
    }
    _cleanup_cached_ struct cached *set = resolve(rc, pod->metadata.namespace, is);
    if (!set) return;
    _cleanup_arena_ struct arena *a = arena_new();
    enqueue_for_pod(rc, a, set);
    int32_t min_ready = rc->kind->view(a, set->obj)->spec.minReadySeconds;
    /* It becomes available by time alone; one second more, since clocks differ and times are whole seconds. */
    if (!pod_is_ready(before) && pod_is_ready(pod) && min_ready > 0) controller_enqueue_after(rc->c, set->obj, (min_ready + 1) * 1000LL);
}

static void on_pod_delete(void *data, struct cached *old) { on_pod_gone(data, CACHED(old, corev1_Pod)); }

static void on_set_add(void *data, struct cached *now) { controller_enqueue(((struct replica_set_controller *)data)->c, now->obj); }
static void on_set_update(void *data, struct cached *old UNUSED, struct cached *now) { on_set_add(data, now); }

static void on_set_delete(void *data, struct cached *old) {
    struct replica_set_controller *rc = data;
    expectations_delete(rc->expectations, old->obj->metadata.uid);
    controller_enqueue(rc->c, old->obj);
}

/* ---- replicas ---- */

struct batch {
    struct replica_set_controller *rc;
    const struct appsv1_ReplicaSet *set;
    const char *key;
    const struct corev1_Pod *const *pods; /* to delete */
    pthread_mutex_t mutex;
    struct status *err;                   /* of the first that failed */
    bool failed;
};

static void batch_fail(struct batch *b, struct status *err) {
    pthread_mutex_lock(&b->mutex);
    if (write_is_in_doubt(err)) expectations_doubt(b->rc->expectations, b->set->metadata.uid);
    if (!b->failed && b->err) status_copy(b->err, err);
    b->failed = true;
    pthread_mutex_unlock(&b->mutex);
}

static int create_one(void *arg, size_t i UNUSED) {
    struct batch *b = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (pod_control_create(b->rc->c, b->rc->kind->type, b->set, &b->set->spec.template, NULL, &err) == 0) return 0;
    if (status_has_cause(&err, "NamespaceTerminating")) return 0; /* nothing can be made there any more: neither an error nor a reason to try again */
    batch_fail(b, &err);
    return -1;
}

static void delete_one(void *arg, size_t i) {
    struct batch *b = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (pod_control_delete(b->rc->c, b->rc->kind->type, b->set, b->pods[i], &err) == 0) return;
    _cleanup_arena_ struct arena *a = arena_new();
    expectations_deletion_observed(b->rc->expectations, b->set->metadata.uid, object_key(a, b->pods[i])); /* its event will not come */
    if (!status_is(&err, 404)) batch_fail(b, &err);
}

static int create_pods(struct batch *b, size_t n) {
    n = MIN(n, (size_t)BURST_REPLICAS);
    expectations_expect_creations(b->rc->expectations, b->set->metadata.uid, (int)n);
    /* One, then two, four, ...: a template that is always refused costs one request, not all. */
    size_t made = parallel_slow_start(n, create_one, b);
    for (size_t i = made; i < n; i++) expectations_creation_observed(b->rc->expectations, b->set->metadata.uid);
    return b->failed ? -1 : 0;
}

struct ranked { const struct corev1_Pod *pod; int rank; int64_t now_s; };

static int by_deletion_order(const void *x, const void *y) {
    const struct ranked *a = x, *b = y;
    return pod_deletion_order(a->pod, a->rank, b->pod, b->rank, a->now_s);
}

/* How many Pods of the same owner (all ReplicaSets of one Deployment) run on each Pod's node: the fullest nodes give first. */
static void count_neighbours(struct replica_set_controller *rc, const struct appsv1_ReplicaSet *set, struct ranked *pods, size_t len) {
    _cleanup_cached_list_ struct cached_list sets = {0}, related = {0};
    const struct metav1_OwnerReference *owner = controller_of(set);
    if (owner) informer_list(rc->sets, set->metadata.namespace, &sets);
    for (size_t i = 0; i < sets.len; i++) {
        const struct metav1_OwnerReference *o = controller_of(sets.items[i]->obj);
        if (o && str_eq(o->uid, owner->uid)) informer_by_index(rc->pods, rc->by_controller, sets.items[i]->obj->metadata.uid, &related);
    }
    if (!owner) informer_by_index(rc->pods, rc->by_controller, set->metadata.uid, &related);
    struct map *per_node = map_new();
    CACHED_FOREACH(p, corev1_Pod, &related)
        if (pod_is_active(p) && !str_empty(p->spec.nodeName)) map_put(per_node, p->spec.nodeName, (void *)((intptr_t)map_get(per_node, p->spec.nodeName) + 1));
    for (size_t i = 0; i < len; i++) pods[i].rank = (int)(intptr_t)map_get(per_node, str_or(pods[i].pod->spec.nodeName, ""));
    map_free(per_node);
}

/* Whole multiples, as upstream tells them. */
static void tell_ages(const struct ranked *pods, size_t len, size_t chosen) {
    int64_t youngest_s = 0;
    for (size_t i = 0; i < len; i++)
        if (pod_is_ready(pods[i].pod)) youngest_s = MAX(youngest_s, pods[i].pod->metadata.creationTimestamp.sec);
    for (size_t i = 0; i < chosen; i++) {
        int64_t age = pods[i].now_s - pods[i].pod->metadata.creationTimestamp.sec, least = MAX(pods[i].now_s - youngest_s, (int64_t)1);
        if (pod_is_ready(pods[i].pod)) metric_observe(&metrics_deletion_age_ratio, "", (double)(age / least));
    }
}

static int delete_pods(struct batch *b, struct arena *a, const struct corev1_Pod *const *pods, size_t len, size_t n) {
    struct replica_set_controller *rc = b->rc;
    n = MIN(n, (size_t)BURST_REPLICAS);
    struct ranked *ranked = arena_calloc(a, len, sizeof(*ranked));
    for (size_t i = 0; i < len; i++) ranked[i] = (struct ranked){pods[i], 0, env_now_s(rc->c->env)};
    if (n < len) {
        count_neighbours(rc, b->set, ranked, len);
        qsort(ranked, len, sizeof(*ranked), by_deletion_order);
        tell_ages(ranked, len, n);
    }
    const struct corev1_Pod **chosen = arena_calloc(a, n, sizeof(*chosen));
    struct string_list keys = {0};
    for (size_t i = 0; i < n; i++) {
        chosen[i] = ranked[i].pod;
        string_list_push(a, &keys, object_key(a, chosen[i]));
    }
    expectations_expect_deletions(rc->expectations, b->set->metadata.uid, &keys);
    b->pods = chosen;
    parallel_run(n, delete_one, b);
    return b->failed ? -1 : 0;
}

static int manage_replicas(struct replica_set_controller *rc, struct arena *a, const char *key, const struct appsv1_ReplicaSet *set, const struct corev1_Pod *const *pods, size_t len,
                           struct status *reterr) {
    struct batch b = {.rc = rc, .set = set, .key = key, .err = reterr};
    size_t want = (size_t)MAX(set->spec.replicas.value, 0);
    if (len == want) return 0;
    pthread_mutex_init(&b.mutex, NULL);
    int rc2 = len < want ? create_pods(&b, want - len) : delete_pods(&b, a, pods, len, len - want);
    pthread_mutex_destroy(&b.mutex);
    return rc2;
}

/* ---- status ---- */

static void set_failure(struct arena *a, struct appsv1_ReplicaSetStatus *s, const char *reason, const char *message, int64_t now_s) {
    LIST_FOREACH(c, &s->conditions)
        if (str_eq(c->type, "ReplicaFailure")) return;
    *LIST_PUSH(a, &s->conditions) = (struct appsv1_ReplicaSetCondition){.type = "ReplicaFailure", .status = "True", .lastTransitionTime = {.set = true, .sec = now_s}, .reason = reason, .message = message};
}

static void clear_failure(struct appsv1_ReplicaSetStatus *s) {
    size_t kept = 0;
    for (size_t i = 0; i < s->conditions.len; i++)
        if (!str_eq(s->conditions.items[i].type, "ReplicaFailure")) s->conditions.items[kept++] = s->conditions.items[i];
    s->conditions.len = kept;
}

struct tally { const struct corev1_Pod **active; size_t active_len; int32_t terminating; };

/* Without those whose deletion the cache does not show yet: what is counted as available is what a Deployment goes by when it takes away more. (Upstream counts them once more.) */
static void leave_out_deleted(struct replica_set_controller *rc, struct arena *a, const struct appsv1_ReplicaSet *set, struct tally *t) {
    size_t kept = 0;
    if (expectations_satisfied(rc->expectations, set->metadata.uid)) return;
    for (size_t i = 0; i < t->active_len; i++)
        if (!expectations_deletes(rc->expectations, set->metadata.uid, object_key(a, t->active[i]))) t->active[kept++] = t->active[i];
    t->active_len = kept;
}

/* *ret_wait_ms: when the next Pod becomes available by time alone; 0: none does. */
static struct appsv1_ReplicaSetStatus status_of(struct replica_set_controller *rc, struct arena *a, const struct appsv1_ReplicaSet *set, const struct tally *t, const struct status *failure,
                                                int64_t *ret_wait_ms) {
    struct appsv1_ReplicaSetStatus s;
    object_copy_into(a, &appsv1_ReplicaSetStatus_desc, &s, &set->status);
    struct selector template = selector_from_map(a, &set->spec.template.metadata.labels);
    int64_t now = env_now_ns(rc->c->env);
    s.replicas = (int32_t)t->active_len;
    s.fullyLabeledReplicas = s.readyReplicas = s.availableReplicas = 0;
    for (size_t i = 0; i < t->active_len; i++) {
        const struct corev1_Pod *p = t->active[i];
        s.fullyLabeledReplicas += selector_matches(&template, &p->metadata.labels);
        s.readyReplicas += pod_is_ready(p);
        int64_t wait_ms;
        if (pod_is_available(p, set->spec.minReadySeconds, now, &wait_ms)) s.availableReplicas++;
        else if (wait_ms > 0 && (*ret_wait_ms == 0 || wait_ms < *ret_wait_ms)) *ret_wait_ms = wait_ms;
    }
    s.terminatingReplicas = (struct opt_int32){rc->kind->counts_terminating, rc->kind->counts_terminating ? t->terminating : 0};
    s.observedGeneration = set->metadata.generation;
    int64_t diff = (int64_t)t->active_len - set->spec.replicas.value;
    if (failure && diff != 0) set_failure(a, &s, diff < 0 ? "FailedCreate" : "FailedDelete", arena_strdup(a, status_message(failure)), now / 1000000000);
    else if (!failure) clear_failure(&s);
    return s;
}

static int write_status(struct replica_set_controller *rc, struct arena *a, const void *original, const struct appsv1_ReplicaSet *set, const struct appsv1_ReplicaSetStatus *s, struct status *reterr) {
    if (object_equal(&appsv1_ReplicaSetStatus_desc, s, &set->status)) return 0;
    struct status err = STATUS_INIT;
    int rc2 = client_update_status(rc->c->client, a, rc->kind->type, rc->kind->with_status(a, original, s), NULL, &err);
    if (rc2 != 0 && !status_is(&err, 404) && reterr) status_copy(reterr, &err);
    if (status_is(&err, 404)) rc2 = 0;
    status_release(&err);
    return rc2;
}

/* ---- sync ---- */

/* Of its Pods and of orphans: the active ones that it has or takes, and how many of its own are on their way out. */
static int find_pods(struct replica_set_controller *rc, struct arena *a, const struct appsv1_ReplicaSet *set, const struct selector *selector, struct cached_list *ret, struct tally *ret_tally,
                     struct status *reterr) {
    _cleanup_cached_list_ struct cached_list all = {0};
    pods_owned_or_orphaned(rc->pods, rc->by_controller, set, &all);
    struct cached_list active = {arena_calloc(a, all.len + 1, sizeof(*active.items)), 0, 0}; /* without references of its own */
    for (size_t i = 0; i < all.len; i++) {
        const struct corev1_Pod *p = CACHED(all.items[i], corev1_Pod);
        if (pod_is_active(p)) active.items[active.len++] = all.items[i];
        else if (!pod_is_terminal(p) && controlled_by(p, set) && selector_matches(selector, &p->metadata.labels)) ret_tally->terminating++;
    }
    if (controller_claim(rc->c, a, rc->kind->type, set, selector, &corev1_Pod_desc, &active, ret, reterr) != 0) return -1;
    ret_tally->active = arena_calloc(a, ret->len + 1, sizeof(*ret_tally->active));
    CACHED_FOREACH(p, corev1_Pod, ret) ret_tally->active[ret_tally->active_len++] = p;
    return 0;
}

int replica_set_sync(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct replica_set_controller *rc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(rc->sets, ns, name);
    if (!cached) return 0;
    const struct appsv1_ReplicaSet *set = rc->kind->view(a, cached->obj);
    struct selector selector;
    if (label_selector_from(a, set->spec.selector, &selector, NULL) != 0) return 0; /* trying again would not make it better */
    bool needs_sync = expectations_satisfied(rc->expectations, set->metadata.uid);
    if (!expectations_settle(rc->expectations, set->metadata.uid, rc->c, a, rc->pods, rc->by_controller, set, &selector)) {
        needs_sync = false;
        work_queue_add_after(rc->c->queue, key, DOUBT_PERIOD_MS);
    }
    _cleanup_cached_list_ struct cached_list pods = {0};
    struct tally t = {0};
    if (find_pods(rc, a, set, &selector, &pods, &t, reterr) != 0) return -1;
    _cleanup_status_ struct status err = STATUS_INIT;
    int failed = 0;
    int64_t wait_ms = 0;
    if (needs_sync && !set->metadata.deletionTimestamp.set) failed = manage_replicas(rc, a, key, set, t.active, t.active_len, &err);
    leave_out_deleted(rc, a, set, &t);
    struct appsv1_ReplicaSetStatus s = status_of(rc, a, set, &t, failed ? &err : NULL, &wait_ms);
    if (write_status(rc, a, cached->obj, set, &s, reterr) != 0) return -1;
    if (failed) {
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    if (set->spec.minReadySeconds > 0 && s.readyReplicas != s.availableReplicas) work_queue_add_after(rc->c->queue, key, wait_ms > 0 ? wait_ms : set->spec.minReadySeconds * 1000LL);
    return 0;
}

/* ---- life ---- */

void *replica_set_new(struct controller *c, const struct replica_set_kind *kind) {
    struct replica_set_controller *rc = calloc(1, sizeof(*rc));
    CHECK(rc);
    rc->c = c;
    rc->kind = kind;
    rc->expectations = expectations_new(c->env);
    rc->sets = informers_get(c->context->informers, kind->type);
    rc->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    rc->by_controller = pods_index_by_controller(rc->pods);
    informer_add_handler(rc->sets, &(struct informer_handler){rc, on_set_add, on_set_update, on_set_delete});
    informer_add_handler(rc->pods, &(struct informer_handler){rc, on_pod_add, on_pod_update, on_pod_delete});
    return rc;
}

void replica_set_free(void *self) {
    struct replica_set_controller *rc = self;
    expectations_free(rc->expectations);
    free(rc);
}

static const struct appsv1_ReplicaSet *view(struct arena *a UNUSED, const void *obj) { return obj; }

static void *with_status(struct arena *a, const void *obj, const struct appsv1_ReplicaSetStatus *s) {
    struct appsv1_ReplicaSet *o = arena_memdup(a, obj, sizeof(*o));
    o->status = *s;
    return o;
}

static const struct replica_set_kind kind = {&appsv1_ReplicaSet_desc, true, view, with_status};
static void *new(struct controller *c, struct status *reterr UNUSED) { return replica_set_new(c, &kind); }

const struct controller_desc controller_replicaset = {
    .name = "replicaset-controller", .queue = "replicaset", .workers = 5, .new = new, .sync = replica_set_sync, .free = replica_set_free};
