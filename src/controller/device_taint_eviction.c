/* Pods leave devices with NoExecute taints that their requests do not tolerate, at once or when the time that they tolerate it is over. Upstream:
 * pkg/controller/devicetainteviction, without DeviceTaintRules (off by default).
 *
 * Keys are "NAMESPACE/NAME" of Pods. When a Pod is to go follows from its claims' allocations and the ResourceSlices alone, counted from the taint's timeAdded, so
 * nothing needs to be remembered but which Pods wait, to say when they no longer do. Tests: tests/unit/test_controller_node.c. */
#include "api/resource_claim.h"
#include "base/map.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"
#include "controller/pod_condition.h"

#define SECOND_NS INT64_C(1000000000)

struct device_taints {
    struct controller *c;
    struct informer *pods, *claims, *slices;
    int claims_by_pool, slices_by_pool;
    pthread_mutex_t mutex;
    struct map *waiting; /* keys of Pods whose eviction has been put off */
};

/* ---- indexes ---- */

static void index_slice_pool(struct arena *a, const void *obj, struct string_list *ret) {
    const struct resourcev1_ResourceSliceSpec *s = &((const struct resourcev1_ResourceSlice *)obj)->spec;
    string_list_push(a, ret, arena_printf(a, "%s/%s", s->driver, s->pool.name));
}

static void index_claim_pools(struct arena *a, const void *obj, struct string_list *ret) {
    const struct resourcev1_AllocationResult *got = ((const struct resourcev1_ResourceClaim *)obj)->status.allocation;
    for (size_t i = 0; got && i < got->devices.results.len; i++) {
        const char *pool = arena_printf(a, "%s/%s", got->devices.results.items[i].driver, got->devices.results.items[i].pool);
        if (!string_list_has(ret, pool)) string_list_push(a, ret, pool);
    }
}

/* ---- when ---- */

/* -1: never. Several tolerations: the shortest of those with a time, unless one has none. */
static int64_t tolerated_until(const struct resourcev1_DeviceToleration_list *tolerations, const struct resourcev1_DeviceTaint *taint) {
    int64_t seconds = -1;
    LIST_FOREACH(t, tolerations) {
        if (!str_eq(t->effect, "NoExecute") || !device_toleration_tolerates(t, taint)) continue;
        if (!t->tolerationSeconds.has) return -1;
        int64_t s = MAX(t->tolerationSeconds.value, (int64_t)0);
        if (seconds < 0 || s < seconds) seconds = s;
    }
    return (taint->timeAdded.sec + MAX(seconds, (int64_t)0)) * SECOND_NS;
}

static int64_t earlier(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : MIN(a, b); }

/* Out-dated slices do not count. */
static int64_t device_time(struct device_taints *dt, struct arena *a, const struct resourcev1_DeviceRequestAllocationResult *r) {
    _cleanup_cached_list_ struct cached_list list = {0};
    int64_t newest = INT64_MIN, when = -1;
    informer_by_index(dt->slices, dt->slices_by_pool, arena_printf(a, "%s/%s", r->driver, r->pool), &list);
    CACHED_FOREACH(s, resourcev1_ResourceSlice, &list) newest = MAX(newest, s->spec.pool.generation);
    CACHED_FOREACH(s, resourcev1_ResourceSlice, &list) {
        if (s->spec.pool.generation != newest) continue;
        LIST_FOREACH(d, &s->spec.devices) {
            if (!str_eq(d->name, r->device)) continue;
            LIST_FOREACH(taint, &d->taints)
                if (str_eq(taint->effect, "NoExecute")) when = earlier(when, tolerated_until(&r->tolerations, taint));
        }
    }
    return when;
}

/* In nanoseconds since 1970; -1: it may stay. */
static int64_t eviction_time(struct device_taints *dt, struct arena *a, const struct corev1_Pod *pod) {
    int64_t when = -1;
    if (str_empty(pod->spec.nodeName)) return -1;
    LIST_FOREACH(e, &pod->spec.resourceClaims) {
        _cleanup_status_ struct status st = STATUS_INIT;
        const char *name;
        bool check;
        if (pod_claim_name(pod, e, &name, &check, &st) || !name) continue;
        _cleanup_cached_ struct cached *cached = informer_get(dt->claims, pod->metadata.namespace, name);
        if (!cached) continue;
        const struct resourcev1_ResourceClaim *claim = CACHED(cached, resourcev1_ResourceClaim);
        if (!claim->status.allocation || !claim_is_reserved_for(pod, claim) || (check && claim_is_for_pod(pod, claim, &st))) continue;
        LIST_FOREACH(r, &claim->status.allocation->devices.results) when = earlier(when, device_time(dt, a, r));
    }
    return when;
}

/* ---- eviction ---- */

static bool waiting_set(struct device_taints *dt, const char *key, bool waits) {
    pthread_mutex_lock(&dt->mutex);
    bool did = waits ? map_put(dt->waiting, key, dt) != NULL : map_del(dt->waiting, key) != NULL;
    pthread_mutex_unlock(&dt->mutex);
    return did;
}

static int evict(struct device_taints *dt, struct arena *a, const struct corev1_Pod *cached, int64_t when_ns, struct status *reterr) {
    struct corev1_Pod *pod = object_new(a, &corev1_Pod_desc);
    if (client_get(dt->c->client, a, &corev1_Pod_desc, cached->metadata.namespace, cached->metadata.name, pod, reterr)) return status_is(reterr, 404) ? 0 : -1;
    if (!str_eq(pod->metadata.uid, cached->metadata.uid) || pod->metadata.deletionTimestamp.set) return 0;
    event_record(dt->c->events, &corev1_Pod_desc, pod, EVENT_NORMAL, "DeviceTaintManagerEviction", "Marking for deletion");
    if (pod_condition_set(a, pod, "DisruptionTarget", "True", "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint", env_now_s(dt->c->env)) &&
        pod_condition_patch(dt->c->client, a, pod, "DisruptionTarget", NULL, reterr))
        return status_is(reterr, 404) ? 0 : -1;
    int r = client_delete(dt->c->client, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, client_delete_options(a, pod->metadata.uid, NULL), reterr);
    if (r == 0) {
        metric_add(&metrics_device_taint_deletions, "", 1);
        metric_observe(&metrics_device_taint_deletion_duration, "", (double)(env_now_ns(dt->c->env) - when_ns) / 1e9);
    }
    return r == 0 || status_is(reterr, 404) ? 0 : -1;
}

static int sync_pod(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct device_taints *dt = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(dt->pods, ns, name);
    if (!cached || cached->obj->metadata.deletionTimestamp.set) {
        waiting_set(dt, key, false);
        return 0;
    }
    const struct corev1_Pod *pod = CACHED(cached, corev1_Pod);
    int64_t when = eviction_time(dt, a, pod), now = env_now_ns(dt->c->env);
    if (when < 0) {
        if (waiting_set(dt, key, false)) event_record(dt->c->events, &corev1_Pod_desc, pod, EVENT_NORMAL, "DeviceTaintManagerEviction", "Cancelling deletion");
        return 0;
    }
    if (when > now) {
        waiting_set(dt, key, true);
        work_queue_add_after(dt->c->queue, key, (when - now + 999999) / 1000000);
        return 0;
    }
    if (evict(dt, a, pod, when, reterr)) return -1;
    waiting_set(dt, key, false);
    return 0;
}

/* ---- handlers ---- */

static void enqueue_users(struct device_taints *dt, const struct resourcev1_ResourceClaim *claim) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    LIST_FOREACH(r, &claim->status.reservedFor)
        if (str_empty(r->apiGroup) && str_eq(r->resource, "pods")) work_queue_add(dt->c->queue, arena_printf(a, "%s/%s", claim->metadata.namespace, r->name));
}

static void enqueue_pool(struct device_taints *dt, const struct resourcev1_ResourceSlice *s) {
    _cleanup_cached_list_ struct cached_list list = {0};
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    informer_by_index(dt->claims, dt->claims_by_pool, arena_printf(a, "%s/%s", s->spec.driver, s->spec.pool.name), &list);
    CACHED_FOREACH(claim, resourcev1_ResourceClaim, &list) enqueue_users(dt, claim);
}

static void on_pod(void *data, struct cached *now) {
    if (CACHED(now, corev1_Pod)->spec.resourceClaims.len) controller_enqueue(((struct device_taints *)data)->c, now->obj);
}
static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_Pod *was = CACHED(old, corev1_Pod), *is = CACHED(now, corev1_Pod);
    if (!str_eq(was->spec.nodeName, is->spec.nodeName) || was->status.resourceClaimStatuses.len != is->status.resourceClaimStatuses.len) on_pod(data, now);
}
static void on_claim(void *data, struct cached *now) { enqueue_users(data, CACHED(now, resourcev1_ResourceClaim)); }
static void on_claim_update(void *data, struct cached *old, struct cached *now) {
    on_claim(data, old);
    on_claim(data, now);
}
static void on_slice(void *data, struct cached *now) { enqueue_pool(data, CACHED(now, resourcev1_ResourceSlice)); }
static void on_slice_update(void *data, struct cached *old, struct cached *now) {
    on_slice(data, old);
    on_slice(data, now);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct device_taints *dt = calloc(1, sizeof(*dt));
    CHECK(dt);
    dt->c = c;
    dt->waiting = map_new();
    pthread_mutex_init(&dt->mutex, NULL);
    dt->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    dt->claims = informers_get(c->context->informers, &resourcev1_ResourceClaim_desc);
    dt->slices = informers_get(c->context->informers, &resourcev1_ResourceSlice_desc);
    dt->claims_by_pool = informer_add_index(dt->claims, "devicePools", index_claim_pools);
    dt->slices_by_pool = informer_add_index(dt->slices, "pool", index_slice_pool);
    informer_add_handler(dt->pods, &(struct informer_handler){dt, on_pod, on_pod_update, on_pod});
    informer_add_handler(dt->claims, &(struct informer_handler){dt, on_claim, on_claim_update, on_claim});
    informer_add_handler(dt->slices, &(struct informer_handler){dt, on_slice, on_slice_update, on_slice});
    return dt;
}

static void free_self(void *self) {
    struct device_taints *dt = self;
    map_free(dt->waiting);
    pthread_mutex_destroy(&dt->mutex);
    free(dt);
}

const struct controller_desc controller_device_taint_eviction = {.name = "device-taint-eviction-controller", .queue = "device-taint-eviction-controller", .workers = 8, .new = new, .sync = sync_pod, .free = free_self};
