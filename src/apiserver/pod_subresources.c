/* Subresources of Pods: eviction. log, exec, attach, portforward and proxy: connect.c.
 * ephemeralcontainers and resize are ordinary updates with strategies of their own (registry/pod.c). */
#include "apiserver/pod_subresources.h"
#include <string.h>
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/handlers.h"
#include "apiserver/node_restriction.h"
#include "base/str.h"

/* ---- eviction ---- */

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

/* Takes one disruption from the budget, or says why there is none. */
static void *spend(struct api_request *r, void *current, void *arg, struct status *reterr) {
    struct policyv1_PodDisruptionBudget *b = current;
    const char *pod = arg;
    if (!b) {
        status_not_found(reterr, "policy", "poddisruptionbudgets", "");
        return NULL;
    }
    struct policyv1_PodDisruptionBudgetStatus *s = &b->status;
    if (s->observedGeneration < b->metadata.generation) {
        refuse_eviction(reterr, 10, arena_printf(r->arena, "The disruption budget %s is still being processed by the server.", b->metadata.name));
        return NULL;
    }
    if (s->disruptionsAllowed <= 0) {
        refuse_eviction(reterr, 0, arena_printf(r->arena, "The disruption budget %s needs %d healthy pods and has %d currently", b->metadata.name, s->desiredHealthy, s->currentHealthy));
        return NULL;
    }
    s->disruptionsAllowed--;
    struct api_time_map_entry *grown = arena_calloc(r->arena, s->disruptedPods.len + 1, sizeof(*grown));
    size_t i = 0;
    while (i < s->disruptedPods.len && strcmp(s->disruptedPods.items[i].key, pod) < 0) i++;
    if (i) memcpy(grown, s->disruptedPods.items, i * sizeof(*grown));
    grown[i] = (struct api_time_map_entry){pod, time_from_s(env_now_s(apiserver_env(r->server)))};
    if (i < s->disruptedPods.len) memcpy(grown + i + 1, s->disruptedPods.items + i, (s->disruptedPods.len - i) * sizeof(*grown));
    s->disruptedPods.items = grown;
    s->disruptedPods.len++;
    return b;
}

static int spend_budget(struct api_request *r, const struct corev1_Pod *pod, struct status *reterr) {
    struct budgets b = {.r = r, .pod = pod};
    struct store_txn *t;
    const struct strategy *st = strategy_find("policy", "poddisruptionbudgets");
    void *stored;
    bool created;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(r->arena, st, r->namespace, NULL), NULL, take_budget, &b);
    store_read_end(t);
    if (b.found.len > 1) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
    if (b.found.len == 0) return 0;
    struct write_options o = {.subresource = "status"};
    return registry_update(r, st, r->namespace, b.found.items[0]->metadata.name, spend, (void *)(uintptr_t)pod->metadata.name, &o, &stored, &created, reterr);
}

static bool unbudgeted(const struct corev1_Pod *pod) {
    const char *phase = pod->status.phase;
    return str_eq(phase, "Succeeded") || str_eq(phase, "Failed") || str_eq(phase, "Pending") || pod->metadata.deletionTimestamp.set;
}

static void evict(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    void *pod;
    bool done;
    struct policyv1_Eviction *e = NULL;
    if (negotiate(r, false, false, &err) == 0) e = body_decode(r, &policyv1_Eviction_desc, &err);
    if (e && !str_empty(e->metadata.name) && !str_eq(e->metadata.name, r->name)) {
        status_bad_request(&err, "name in URL does not match name in Eviction object");
        e = NULL;
    }
    const struct strategy *pods = strategy_find("", "pods");
    struct metav1_DeleteOptions o = e && e->deleteOptions ? *e->deleteOptions : (struct metav1_DeleteOptions){0};
    if (!e || registry_get(r, pods, r->namespace, r->name, &pod, NULL, &err) != 0 || node_restriction_eviction(r, pod, &err) != 0 || (!unbudgeted(pod) && spend_budget(r, pod, &err) != 0) ||
        registry_delete(r, pods, r->namespace, r->name, &o, o.dryRun.len > 0, &pod, &done, &err) != 0) {
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
