/* Subresources of Pods: eviction. log, exec, attach, portforward and proxy: connect.c.
 * ephemeralcontainers and resize are ordinary updates with strategies of their own (registry/pod.c). */
#include "apiserver/pod_subresources.h"
#include <string.h>
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/handlers.h"
#include "apiserver/admission.h"
#include "base/str.h"

/* ---- eviction ---- */

enum { DISRUPTED_PODS_MAX = 2000, EVICTION_TRIES = 20 };

struct budgets { struct api_request *r; const struct corev1_Pod *pod; struct { struct policyv1_PodDisruptionBudget **items; size_t len; } found; };

static bool take_budget(void *arg, const struct store_view *v) {
    struct budgets *b = arg;
    struct policyv1_PodDisruptionBudget *pdb = registry_decode(b->r->arena, strategy_find("policy", "poddisruptionbudgets"), v);
    struct selector s;
    if (pdb && pdb->spec.selector && label_selector_from(b->r->arena, pdb->spec.selector, &s, NULL) == 0 && selector_matches(&s, &b->pod->metadata.labels)) *LIST_PUSH(b->r->arena, &b->found) = pdb;
    return true;
}

static int refuse_eviction(struct status *reterr, int retry_s, const char *cause) {
    status_set(reterr, 429, REASON_TOO_MANY_REQUESTS, "Cannot evict pod as it would violate the pod's disruption budget.");
    status_add_cause(reterr, "DisruptionBudget", NULL, "%s", cause);
    reterr->retry_after_seconds = retry_s;
    return -1;
}

static void still_processed(struct api_request *r, const char *budget, struct status *reterr) {
    refuse_eviction(reterr, 10, arena_printf(r->arena, "The disruption budget %s is still being processed by the server.", budget));
}

static const struct metav1_Condition *disruption_allowed(const struct policyv1_PodDisruptionBudget *b) {
    LIST_FOREACH(c, &b->status.conditions)
        if (str_eq(c->type, "DisruptionAllowed")) return c;
    return NULL;
}

static char *why_none_is_left(struct arena *a, const struct policyv1_PodDisruptionBudget *b) {
    const struct metav1_Condition *c = disruption_allowed(b);
    bool told = c && str_eq(c->status, "False") && !str_empty(c->message);
    const char *name = b->metadata.name;
    if (told && str_eq(c->reason, "SyncFailed")) return arena_printf(a, "The disruption budget %s does not allow evicting pods currently because it failed sync: %s", name, c->message);
    if (b->status.currentHealthy <= b->status.desiredHealthy)
        return arena_printf(a, "The disruption budget %s needs %d healthy pods and has %d currently", name, b->status.desiredHealthy, b->status.currentHealthy);
    if (told) return arena_printf(a, "The disruption budget %s does not allow evicting pods currently (%s): %s", name, str_or(c->reason, ""), c->message);
    return arena_printf(a, "The disruption budget %s does not allow evicting pods currently", name);
}

static void no_more_disruptions(struct api_request *r, struct policyv1_PodDisruptionBudget *b) {
    struct metav1_Condition *c = (struct metav1_Condition *)disruption_allowed(b);
    if (!c) c = LIST_PUSH(r->arena, &b->status.conditions);
    struct api_time since = str_eq(c->status, "False") ? c->lastTransitionTime : time_from_s(env_now_s(apiserver_env(r->server)));
    *c = (struct metav1_Condition){.type = "DisruptionAllowed", .status = "False", .observedGeneration = b->status.observedGeneration, .lastTransitionTime = since, .reason = "InsufficientPods", .message = ""};
}

static void write_down_disruption(struct api_request *r, struct policyv1_PodDisruptionBudgetStatus *s, const char *pod) {
    struct api_time_map_entry *grown = arena_calloc(r->arena, s->disruptedPods.len + 1, sizeof(*grown));
    struct api_time now = time_from_s(env_now_s(apiserver_env(r->server)));
    size_t i = 0, len = s->disruptedPods.len;
    while (i < len && strcmp(s->disruptedPods.items[i].key, pod) < 0) i++;
    bool there = i < len && strcmp(s->disruptedPods.items[i].key, pod) == 0;
    if (i) memcpy(grown, s->disruptedPods.items, i * sizeof(*grown));
    grown[i] = (struct api_time_map_entry){pod, now};
    if (i + there < len) memcpy(grown + i + 1, s->disruptedPods.items + i + there, (len - i - there) * sizeof(*grown));
    s->disruptedPods.items = grown;
    s->disruptedPods.len = len + !there;
}

/* Takes one disruption from the budget, or says why there is none. */
static void *spend(struct api_request *r, void *current, void *arg, struct status *reterr) {
    struct policyv1_PodDisruptionBudget *b = current;
    if (!b) {
        status_not_found(reterr, "policy", "poddisruptionbudgets", "");
        return NULL;
    }
    struct policyv1_PodDisruptionBudgetStatus *s = &b->status;
    if (s->observedGeneration < b->metadata.generation) {
        still_processed(r, b->metadata.name, reterr);
        return NULL;
    }
    if (s->disruptionsAllowed < 0 || s->disruptedPods.len > DISRUPTED_PODS_MAX) {
        status_forbidden(reterr, "policy", "poddisruptionbudget", b->metadata.name, s->disruptionsAllowed < 0 ? "pdb disruptions allowed is negative" : "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
        return NULL;
    }
    if (s->disruptionsAllowed == 0) {
        refuse_eviction(reterr, 0, why_none_is_left(r->arena, b));
        return NULL;
    }
    if (--s->disruptionsAllowed == 0) no_more_disruptions(r, b);
    write_down_disruption(r, s, arg);
    return b;
}

static bool is_ready(const struct corev1_Pod *pod) {
    LIST_FOREACH(c, &pod->status.conditions)
        if (str_eq(c->type, "Ready")) return str_eq(c->status, "True");
    return false;
}

/* A Pod that is not ready may go without spending anything, where the budget says so or is met without it. */
static bool free_of_charge(const struct corev1_Pod *pod, const struct policyv1_PodDisruptionBudget *b) {
    if (is_ready(pod)) return false;
    return str_eq(b->spec.unhealthyPodEvictionPolicy, "AlwaysAllow") || (b->status.currentHealthy >= b->status.desiredHealthy && b->status.desiredHealthy > 0);
}

/* *ret_free is the budget that lets the Pod go for nothing, or NULL. */
static int spend_budget(struct api_request *r, const struct corev1_Pod *pod, bool dry_run, const char **ret_free, struct status *reterr) {
    struct budgets b = {.r = r, .pod = pod};
    struct store_txn *t;
    const struct strategy *st = strategy_find("policy", "poddisruptionbudgets");
    void *stored;
    bool created;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(r->arena, st, r->namespace, NULL), NULL, take_budget, &b);
    store_read_end(t);
    if (b.found.len > 1) return status_set(reterr, 500, NULL, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    if (b.found.len == 0) return 0;
    const char *name = b.found.items[0]->metadata.name;
    if (free_of_charge(pod, b.found.items[0])) {
        *ret_free = name;
        return 0;
    }
    struct write_options o = {.subresource = "status", .dry_run = dry_run, .no_admission = true};
    return registry_update(r, st, r->namespace, name, spend, (void *)(uintptr_t)pod->metadata.name, &o, &stored, &created, reterr);
}

static bool unbudgeted(const struct corev1_Pod *pod) {
    const char *phase = pod->status.phase;
    return str_eq(phase, "Succeeded") || str_eq(phase, "Failed") || str_eq(phase, "Pending") || pod->metadata.deletionTimestamp.set;
}

/* ---- what happens to the Pod: a condition that says why, then it is deleted ---- */

struct removal { const struct metav1_DeleteOptions *options; };

static void *mark_as_target(struct api_request *r, void *current, void *arg, struct status *reterr) {
    struct corev1_Pod *pod = current;
    const struct metav1_Preconditions *p = ((const struct removal *)arg)->options->preconditions;
    if (!pod) {
        status_not_found(reterr, "", "pods", r->name);
        return NULL;
    }
    if (p && !str_empty(p->uid) && !str_eq(p->uid, pod->metadata.uid)) {
        status_conflict(reterr, "", "Pod", pod->metadata.name, arena_printf(r->arena, "the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", p->uid, pod->metadata.uid));
        return NULL;
    }
    if (p && !str_empty(p->resourceVersion) && !str_eq(p->resourceVersion, pod->metadata.resourceVersion)) {
        status_conflict(reterr, "", "Pod", pod->metadata.name, arena_printf(r->arena, "the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", p->resourceVersion, pod->metadata.resourceVersion));
        return NULL;
    }
    struct corev1_PodCondition *c = NULL;
    LIST_FOREACH(each, &pod->status.conditions)
        if (str_eq(each->type, "DisruptionTarget")) c = each;
    if (!c) c = LIST_PUSH(r->arena, &pod->status.conditions);
    struct api_time since = str_eq(c->status, "True") ? c->lastTransitionTime : time_from_s(env_now_s(apiserver_env(r->server)));
    *c = (struct corev1_PodCondition){.type = "DisruptionTarget", .status = "True", .reason = "EvictionByEvictionAPI", .message = "Eviction API: evicting", .lastTransitionTime = since};
    return pod;
}

static bool is_dry(const struct metav1_DeleteOptions *o) { return o->dryRun.len == 1 && str_eq(o->dryRun.items[0], "All"); }

static int mark_and_delete(struct api_request *r, struct metav1_DeleteOptions o, struct status *reterr) {
    const struct strategy *pods = strategy_find("", "pods");
    struct removal removal = {&o};
    struct metav1_Preconditions p;
    void *pod;
    bool unused;
    if (!is_dry(&o)) {
        struct write_options w = {.subresource = "status", .no_admission = true};
        if (registry_update(r, pods, r->namespace, r->name, mark_as_target, &removal, &w, &pod, &unused, reterr) != 0) return -1;
        if (o.preconditions && o.preconditions->resourceVersion) { /* it is ours now */
            p = *o.preconditions;
            p.resourceVersion = ((const struct object *)pod)->metadata.resourceVersion;
            o.preconditions = &p;
        }
    }
    if (check_delete_options(r, &o, reterr) != 0) return -1; /* upstream's order: the Pod is marked by now */
    return registry_delete(r, pods, r->namespace, r->name, &o, &(struct write_options){.dry_run = is_dry(&o), .no_admission = true}, &pod, &unused, reterr);
}

/* ---- the request ---- */

/* dryRun stands in the query, in the body, or alike in both. */
static int eviction_options(struct api_request *r, const struct policyv1_Eviction *e, struct metav1_DeleteOptions *ret, struct status *reterr) {
    struct string_list query = {0};
    *ret = e->deleteOptions ? *e->deleteOptions : (struct metav1_DeleteOptions){0};
    for (size_t i = 0; i < r->query.len; i++)
        if (str_eq(r->query.items[i].key, "dryRun")) string_list_push(r->arena, &query, r->query.items[i].value);
    if (!str_empty(e->metadata.namespace) && !str_eq(e->metadata.namespace, r->namespace)) return status_bad_request(reterr, "the namespace of the provided object does not match the namespace sent on the request");
    if (!str_eq(e->metadata.name, r->name)) return status_bad_request(reterr, "name in URL does not match name in Eviction object");
    if (ret->ignoreStoreReadErrorWithClusterBreakingPotential.has && ret->ignoreStoreReadErrorWithClusterBreakingPotential.value) {
        struct field_errors errs = field_errors_in(r->arena);
        field_invalid_bool(&errs, FIELD(FIELD(NULL, "deleteOptions"), "ignoreStoreReadErrorWithClusterBreakingPotential"), true, "can not be set for pod eviction, try after removing the option");
        return field_errors_status(&errs, "policy", "Eviction", r->name, reterr);
    }
    if (!ret->dryRun.len) ret->dryRun = query;
    else if (query.len && !(query.len == ret->dryRun.len && str_eq(query.items[0], ret->dryRun.items[0])))
        return status_set(reterr, 500, NULL, "Non-matching dry-run options in request and content: [%s] and [%s]", query.items[0], ret->dryRun.items[0]);
    return 0;
}

/* What is decided on a Pod as it was read must not be done to one that changed since. */
static void only_as_read(struct metav1_DeleteOptions *o, struct metav1_Preconditions *space, const struct object *pod) {
    if (o->preconditions && o->preconditions->resourceVersion) return;
    *space = o->preconditions ? *o->preconditions : (struct metav1_Preconditions){0};
    space->resourceVersion = pod->metadata.resourceVersion;
    o->preconditions = space;
}

static int evict_once(struct api_request *r, struct metav1_DeleteOptions o, struct status *reterr) {
    void *pod;
    const char *free_budget = NULL, *phase;
    struct metav1_Preconditions p;
    if (registry_get(r, strategy_find("", "pods"), r->namespace, r->name, &pod, NULL, reterr) != 0) return -1;
    const struct corev1_Pod *read = pod;
    phase = read->status.phase;
    bool asked = o.preconditions && o.preconditions->resourceVersion, lively = !str_eq(phase, "Succeeded") && !str_eq(phase, "Failed") && !read->metadata.deletionTimestamp.set;
    if (unbudgeted(read)) {
        if (lively) only_as_read(&o, &p, pod);
        return mark_and_delete(r, o, reterr);
    }
    if (spend_budget(r, read, is_dry(&o), &free_budget, reterr) != 0) return -1;
    if (free_budget) only_as_read(&o, &p, pod);
    if (mark_and_delete(r, o, reterr) == 0) return 0;
    if (free_budget && !asked && reterr->code == 409) {
        status_release(reterr);
        *reterr = (struct status)STATUS_INIT;
        still_processed(r, free_budget, reterr);
    }
    return -1;
}

/* The Eviction is admitted; what the server then does to the Pod and its budget is not asked about again. */
static int admit_eviction(struct api_request *r, struct policyv1_Eviction *e, bool dry_run, struct status *reterr) {
    return admission_run(r, &policyv1_Eviction_desc, ADMIT_CREATE, e, NULL, &(struct write_options){.dry_run = dry_run, .subresource = "eviction"}, reterr);
}

static void evict(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct metav1_DeleteOptions o;
    struct policyv1_Eviction *e = NULL;
    if (negotiate(r, false, false, &err) == 0) e = body_decode(r, &policyv1_Eviction_desc, &err);
    int result = e && body_check_namespace(r, (const struct object *)(const void *)e, &err) == 0 && eviction_options(r, e, &o, &err) == 0 && admit_eviction(r, e, is_dry(&o), &err) == 0 ? evict_once(r, o, &err) : -1;
    for (int tries = 0; result != 0 && err.code == 409 && !(o.preconditions && o.preconditions->resourceVersion) && tries < EVICTION_TRIES; tries++) {
        status_release(&err);
        err = (struct status)STATUS_INIT;
        result = evict_once(r, o, &err);
    }
    if (result != 0) {
        respond_status(r, &err);
        return;
    }
    struct metav1_Status ok = {.kind = "Status", .apiVersion = "v1", .status = "Success", .code = 201};
    respond_object(r, 201, &metav1_Status_desc, &ok);
}

bool handle_pod_subresource(struct api_request *r) {
    if (!str_eq(r->subresource, "eviction")) return false;
    evict(r);
    return true;
}
