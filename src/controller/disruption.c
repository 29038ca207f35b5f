/* PodDisruptionBudgets: how many Pods may be evicted now. Upstream: pkg/controller/disruption.
 *
 * Keys of the queue: "NAMESPACE/NAME" of a budget, "pod/NAMESPACE/NAME" of a Pod that was to be disrupted and perhaps never was.
 * Tests: tests/unit/test_controller_disruption.c. */
#include "api/intstr.h"
#include "api/time.h"
#include "base/map.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/garbage_discovery.h"

enum { DELETION_TIMEOUT_S = 120, STALE_DISRUPTION_S = 120 };
#define POD "pod/"

struct disruption_controller {
    struct controller *c;
    struct informer *budgets, *pods, *sets, *deployments, *stateful_sets, *replication_controllers;
};

typedef const struct policyv1_PodDisruptionBudget budget;
struct budget_sync {
    struct disruption_controller *dc;
    struct arena *a;
    const char *key;
    budget *b;
    struct cached_list pods;
    int64_t now_s;
    int32_t healthy, desired, expected;
    struct api_time_map disrupted;
};

/* ---- events ---- */

static void enqueue_budgets(struct disruption_controller *dc, const struct object *pod) {
    _cleanup_cached_list_ struct cached_list all = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    const char *first = NULL;
    size_t matching = 0;
    informer_list(dc->budgets, pod->metadata.namespace, &all);
    CACHED_FOREACH(b, policyv1_PodDisruptionBudget, &all) {
        struct selector s;
        if (label_selector_from(a, b->spec.selector, &s, NULL) != 0 || !selector_matches(&s, &pod->metadata.labels)) continue;
        if (matching++ == 0) first = b->metadata.name;
        controller_enqueue(dc->c, b);
    }
    if (matching > 1)
        event_record(dc->c->events, &corev1_Pod_desc, pod, EVENT_WARNING, "MultiplePodDisruptionBudgets", "Pod \"%s\"/\"%s\" matches multiple PodDisruptionBudgets.  Chose \"%s\" arbitrarily.",
                     pod->metadata.namespace, pod->metadata.name, first);
}

/* 0: it has no such condition; else how long until it is stale, at least 1. */
static int64_t stale_in_ms(const struct corev1_Pod *p, int64_t now_s) {
    const struct corev1_PodCondition *c = pod_condition(p, "DisruptionTarget");
    if (p->metadata.deletionTimestamp.set || !c || !str_eq(c->status, "True") || str_eq(c->reason, "TerminationByKubelet") || pod_is_terminal(p)) return 0;
    return MAX((c->lastTransitionTime.sec + STALE_DISRUPTION_S - now_s) * 1000, (int64_t)1);
}

static void on_pod_change(void *data, struct cached *now) {
    struct disruption_controller *dc = data;
    enqueue_budgets(dc, now->obj);
    int64_t ms = stale_in_ms(CACHED(now, corev1_Pod), env_now_s(dc->c->env));
    if (ms == 0) return;
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    work_queue_add_after(dc->c->queue, arena_printf(a, POD "%s/%s", now->obj->metadata.namespace, now->obj->metadata.name), ms);
}

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    if (!string_map_equal(&old->obj->metadata.labels, &now->obj->metadata.labels)) enqueue_budgets(data, old->obj);
    on_pod_change(data, now);
}

static void on_pod_delete(void *data, struct cached *old) { enqueue_budgets(data, old->obj); }

/* ---- how many there should be ---- */

struct scale { const char *uid; int32_t replicas; };

static struct cached *same(struct informer *inf, const char *ns, const struct metav1_OwnerReference *ref) {
    struct cached *o = informer_get(inf, ns, ref->name);
    if (o && str_eq(o->obj->metadata.uid, ref->uid)) return o;
    cached_unref(o);
    return NULL;
}

/* A ReplicaSet's Deployment counts instead of it. */
static bool scale_of_set(struct budget_sync *s, const struct metav1_OwnerReference *ref, struct scale *ret) {
    _cleanup_cached_ struct cached *set = same(s->dc->sets, s->b->metadata.namespace, ref);
    const struct metav1_OwnerReference *owner = set ? controller_of(set->obj) : NULL;
    if (!set) return false;
    if (!owner || !str_eq(owner->kind, "Deployment")) {
        *ret = (struct scale){arena_strdup(s->a, set->obj->metadata.uid), CACHED(set, appsv1_ReplicaSet)->spec.replicas.value};
        return true;
    }
    _cleanup_cached_ struct cached *d = same(s->dc->deployments, s->b->metadata.namespace, owner);
    if (d) *ret = (struct scale){arena_strdup(s->a, d->obj->metadata.uid), CACHED(d, appsv1_Deployment)->spec.replicas.value};
    return d;
}

/* Anything that has a scale subresource, a custom resource too. */
static int scale_of_any(struct budget_sync *s, const struct metav1_OwnerReference *ref, struct scale *ret, bool *ret_found, struct status *reterr) {
    struct gc_resources *all = gc_resources_discover(s->dc->c->client, NULL, reterr);
    const struct gc_resource *r = all ? gc_resources_find(all, ref->apiVersion, ref->kind) : NULL;
    char *path = r ? arena_printf(s->a, "%s/namespaces/%s/%s/%s/scale", r->path, s->b->metadata.namespace, r->resource, ref->name) : NULL;
    const char *name = r ? arena_printf(s->a, "%s%s%s", r->resource, *r->group ? "." : "", r->group) : NULL;
    gc_resources_free(all);
    if (!all) return -1;
    if (!path) return status_set(reterr, 0, NULL, "no matches for kind \"%s\" in version \"%s\"", ref->kind, str_or(ref->apiVersion, ""));
    _cleanup_buf_ struct buf body = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct autoscalingv1_Scale scale = {0};
    if (client_raw(s->dc->c->client, "GET", path, NULL, NULL, 0, &body, &err) != 0) {
        if (status_is(&err, 404) && err.name && str_eq(err.name, ref->name)) return 0;
        if (status_is(&err, 404)) return status_set(reterr, 0, NULL, "%s does not implement the scale subresource", name);
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    if (object_decode_json(s->a, &autoscalingv1_Scale_desc, &scale, buf_cstr(&body), body.len, NULL, reterr) != 0) return -1;
    if ((*ret_found = str_eq(scale.metadata.uid, ref->uid))) *ret = (struct scale){scale.metadata.uid, scale.spec.replicas};
    return 0;
}

static int scale_of(struct budget_sync *s, const struct metav1_OwnerReference *ref, struct scale *ret, bool *ret_found, struct status *reterr) {
    const char *ns = s->b->metadata.namespace, *version = str_or(ref->apiVersion, "");
    struct disruption_controller *dc = s->dc;
    *ret_found = false;
    if (str_has_prefix(version, "apps/") && str_eq(ref->kind, "ReplicaSet") && (*ret_found = scale_of_set(s, ref, ret))) return 0;
    bool stateful = str_has_prefix(version, "apps/") && str_eq(ref->kind, "StatefulSet"), rc = str_eq(version, "v1") && str_eq(ref->kind, "ReplicationController");
    _cleanup_cached_ struct cached *o = stateful ? same(dc->stateful_sets, ns, ref) : rc ? same(dc->replication_controllers, ns, ref) : NULL;
    if (!o) return scale_of_any(s, ref, ret, ret_found, reterr);
    *ret_found = true;
    *ret = (struct scale){arena_strdup(s->a, o->obj->metadata.uid), stateful ? CACHED(o, appsv1_StatefulSet)->spec.replicas.value : CACHED(o, corev1_ReplicationController)->spec.replicas.value};
    return 0;
}

static int expected_scale(struct budget_sync *s, bool *ret_unmanaged, struct status *reterr) {
    struct map *seen = map_new(), *counted = map_new();
    int rc = 0;
    CACHED_FOREACH(p, corev1_Pod, &s->pods) {
        const struct metav1_OwnerReference *ref = controller_of(p);
        struct scale scale;
        bool found;
        if (!ref) *ret_unmanaged = true;
        if (rc != 0 || !ref || map_has(seen, ref->uid)) continue;
        map_put(seen, ref->uid, s);
        if ((rc = scale_of(s, ref, &scale, &found, reterr)) != 0) continue;
        if (!found) rc = status_set(reterr, 0, NULL, "found no controllers for pod \"%s\"", p->metadata.name);
        else if (!map_has(counted, scale.uid)) {
            map_put(counted, scale.uid, s);
            s->expected += scale.replicas;
        }
    }
    map_free(seen);
    map_free(counted);
    return rc;
}

static int expect(struct budget_sync *s, bool *ret_unmanaged, struct status *reterr) {
    const struct int_or_string *max = &s->b->spec.maxUnavailable, *min = &s->b->spec.minAvailable;
    if (max->kind != INTSTR_NONE) {
        if (expected_scale(s, ret_unmanaged, reterr) != 0) return -1;
        s->desired = MAX(s->expected - intstr_scaled_or(max, s->expected, true, 0), 0);
    } else if (min->kind == INTSTR_INT) {
        s->desired = min->i;
        s->expected = (int32_t)s->pods.len;
    } else if (min->kind == INTSTR_STRING) {
        if (expected_scale(s, ret_unmanaged, reterr) != 0) return -1;
        s->desired = intstr_scaled_or(min, s->expected, true, 0);
    }
    return 0;
}

/* ---- how many there are ---- */

static const struct api_time *disrupted_at(const struct api_time_map *m, const char *pod) {
    LIST_FOREACH(e, m)
        if (str_eq(e->key, pod)) return &e->value;
    return NULL;
}

static int by_key(const void *x, const void *y) { return str_cmp(((const struct api_time_map_entry *)x)->key, ((const struct api_time_map_entry *)y)->key); }

/* Pods that were let go and whose deletion is still to come do not count as healthy; not for ever, though. Returns when to look again, in seconds; 0: no need. */
static int64_t find_disrupted(struct budget_sync *s) {
    int64_t recheck = 0;
    CACHED_FOREACH(p, corev1_Pod, &s->pods) {
        const struct api_time *at = disrupted_at(&s->b->status.disruptedPods, p->metadata.name);
        if (p->metadata.deletionTimestamp.set || !at) continue;
        int64_t until = at->sec + DELETION_TIMEOUT_S;
        if (until < s->now_s) {
            event_record(s->dc->c->events, &corev1_Pod_desc, p, EVENT_WARNING, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", s->b->metadata.namespace, s->b->metadata.namespace);
            continue;
        }
        if (recheck == 0 || until < recheck) recheck = until;
        *LIST_PUSH(s->a, &s->disrupted) = (struct api_time_map_entry){p->metadata.name, *at};
    }
    if (s->disrupted.len) qsort(s->disrupted.items, s->disrupted.len, sizeof(*s->disrupted.items), by_key);
    return recheck;
}

static void count_healthy(struct budget_sync *s) {
    CACHED_FOREACH(p, corev1_Pod, &s->pods) {
        const struct api_time *at = disrupted_at(&s->disrupted, p->metadata.name);
        if (!p->metadata.deletionTimestamp.set && !(at && at->sec + DELETION_TIMEOUT_S > s->now_s)) s->healthy += pod_is_ready(p);
    }
}

/* ---- status ---- */

static void set_condition(struct budget_sync *s, struct policyv1_PodDisruptionBudgetStatus *st, const char *status, const char *reason, const char *message) {
    struct metav1_Condition *c = NULL;
    LIST_FOREACH(o, &st->conditions)
        if (str_eq(o->type, "DisruptionAllowed")) c = o;
    if (!c) {
        c = LIST_PUSH(s->a, &st->conditions);
        c->type = "DisruptionAllowed";
    }
    if (!str_eq(c->status, status) || !c->lastTransitionTime.set) c->lastTransitionTime = time_from_s(s->now_s);
    c->status = status;
    c->reason = reason;
    c->message = message;
    c->observedGeneration = st->observedGeneration;
}

static int put_status(struct budget_sync *s, const struct policyv1_PodDisruptionBudgetStatus *st, struct status *reterr) {
    if (object_equal(&policyv1_PodDisruptionBudgetStatus_desc, st, &s->b->status)) return 0;
    struct policyv1_PodDisruptionBudget *copy = arena_memdup(s->a, s->b, sizeof(*s->b));
    _cleanup_status_ struct status err = STATUS_INIT;
    copy->status = *st;
    if (client_update_status(s->dc->c->client, s->a, &policyv1_PodDisruptionBudget_desc, copy, NULL, &err) == 0 || status_is(&err, 404)) return 0;
    if (reterr) status_copy(reterr, &err);
    return -1;
}

static int write_status(struct budget_sync *s, struct status *reterr) {
    struct policyv1_PodDisruptionBudgetStatus st;
    int32_t allowed = s->healthy - s->desired;
    object_copy_into(s->a, &policyv1_PodDisruptionBudgetStatus_desc, &st, &s->b->status);
    st.currentHealthy = s->healthy;
    st.desiredHealthy = s->desired;
    st.expectedPods = s->expected;
    st.disruptionsAllowed = s->expected <= 0 || allowed <= 0 ? 0 : allowed;
    st.disruptedPods = s->disrupted;
    st.observedGeneration = s->b->metadata.generation;
    bool some = st.disruptionsAllowed > 0;
    set_condition(s, &st, some ? "True" : "False", some ? "SufficientPods" : "InsufficientPods", "");
    return put_status(s, &st, reterr);
}

/* When nothing can be computed nothing may be evicted. */
static int fail_safe(struct budget_sync *s, const struct status *why, struct status *reterr) {
    struct policyv1_PodDisruptionBudgetStatus st;
    object_copy_into(s->a, &policyv1_PodDisruptionBudgetStatus_desc, &st, &s->b->status);
    st.disruptionsAllowed = 0;
    set_condition(s, &st, "False", "SyncFailed", arena_strdup(s->a, status_message(why)));
    return put_status(s, &st, reterr);
}

/* ---- sync ---- */

/* As Go prints the structure. */
static const char *selector_text(struct arena *a, const struct metav1_LabelSelector *ls) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    if (!ls) return "nil";
    buf_append_str(&b, "&LabelSelector{MatchLabels:map[string]string{");
    LIST_FOREACH(e, &ls->matchLabels) buf_printf(&b, "%s: %s,", e->key, str_or(e->value, ""));
    buf_append_str(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
    LIST_FOREACH(r, &ls->matchExpressions) {
        buf_printf(&b, "LabelSelectorRequirement{Key:%s,Operator:%s,Values:[", r->key, r->operator);
        LIST_FOREACH(v, &r->values) buf_printf(&b, "%s%s", v == r->values.items ? "" : " ", *v);
        buf_append_str(&b, "],},");
    }
    buf_append_str(&b, "},}");
    return arena_strdup(a, b.data);
}

static void find_pods(struct budget_sync *s) {
    _cleanup_cached_list_ struct cached_list all = {0};
    struct selector selector;
    if (label_selector_from(s->a, s->b->spec.selector, &selector, NULL) != 0) return;
    informer_list(s->dc->pods, s->b->metadata.namespace, &all);
    for (size_t i = 0; i < all.len; i++)
        if (selector_matches(&selector, &all.items[i]->obj->metadata.labels)) cached_list_push(&s->pods, all.items[i]);
}

static int try_sync(struct budget_sync *s, struct status *reterr) {
    struct event_recorder *events = s->dc->c->events;
    bool unmanaged = false;
    find_pods(s);
    if (s->pods.len == 0) event_record(events, &policyv1_PodDisruptionBudget_desc, s->b, EVENT_NORMAL, "NoPods", "No matching pods found");
    if (expect(s, &unmanaged, reterr) != 0) {
        event_record(events, &policyv1_PodDisruptionBudget_desc, s->b, EVENT_WARNING, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %s", status_message(reterr));
        return -1;
    }
    if (unmanaged)
        event_record(events, &policyv1_PodDisruptionBudget_desc, s->b, EVENT_WARNING, "UnmanagedPods",
                     "Pods selected by this PodDisruptionBudget (selector: %s) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in "
                     "undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.", selector_text(s->a, s->b->spec.selector));
    int64_t recheck_s = find_disrupted(s);
    count_healthy(s);
    if (write_status(s, reterr) != 0) return -1;
    if (recheck_s) work_queue_add_after(s->dc->c->queue, s->key, MAX(recheck_s - s->now_s + 1, (int64_t)1) * 1000);
    return 0;
}

/* A Pod that was marked for disruption and lives on for two minutes is marked no more. */
static int sync_pod(struct disruption_controller *dc, struct arena *a, const char *key, struct status *reterr) {
    const char *ns, *name;
    object_key_split(a, key + strlen(POD), &ns, &name);
    _cleanup_cached_ struct cached *pod = informer_get(dc->pods, ns, name);
    int64_t ms = pod ? stale_in_ms(CACHED(pod, corev1_Pod), env_now_s(dc->c->env)) : 0;
    if (ms > 1) work_queue_add_after(dc->c->queue, key, ms);
    if (ms != 1) return 0;
    struct corev1_Pod *copy = object_copy(a, &corev1_Pod_desc, pod->obj);
    LIST_FOREACH(c, &copy->status.conditions)
        if (str_eq(c->type, "DisruptionTarget"))
            *c = (struct corev1_PodCondition){.type = c->type, .status = "False", .observedGeneration = copy->metadata.generation, .lastTransitionTime = time_from_s(env_now_s(dc->c->env))};
    return client_update_status(dc->c->client, a, &corev1_Pod_desc, copy, NULL, reterr);
}

static int sync_budget(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct disruption_controller *dc = self;
    const char *ns, *name;
    if (str_has_prefix(key, POD)) return sync_pod(dc, a, key, reterr);
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(dc->budgets, ns, name);
    if (!cached) return 0;
    struct budget_sync s = {.dc = dc, .a = a, .key = key, .b = CACHED(cached, policyv1_PodDisruptionBudget), .now_s = env_now_s(dc->c->env)};
    _cleanup_status_ struct status err = STATUS_INIT;
    int rc = try_sync(&s, &err);
    cached_list_release(&s.pods);
    if (rc == 0) return 0;
    if (!status_is(&err, 409)) return fail_safe(&s, &err, reterr);
    if (reterr) status_copy(reterr, &err);
    return -1;
}

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct disruption_controller *dc = calloc(1, sizeof(*dc));
    CHECK(dc);
    struct informers *f = c->context->informers;
    dc->c = c;
    dc->budgets = informers_get(f, &policyv1_PodDisruptionBudget_desc);
    dc->pods = informers_get(f, &corev1_Pod_desc);
    dc->sets = informers_get(f, &appsv1_ReplicaSet_desc);
    dc->deployments = informers_get(f, &appsv1_Deployment_desc);
    dc->stateful_sets = informers_get(f, &appsv1_StatefulSet_desc);
    dc->replication_controllers = informers_get(f, &corev1_ReplicationController_desc);
    informer_add_handler(dc->budgets, &(struct informer_handler){c, controller_on_add, controller_on_update, controller_on_delete});
    informer_add_handler(dc->pods, &(struct informer_handler){dc, on_pod_change, on_pod_update, on_pod_delete});
    return dc;
}

const struct controller_desc controller_disruption = {.name = "disruption-controller", .queue = "disruption", .component = "controllermanager", .workers = 1, .new = new, .sync = sync_budget, .free = free};
