/* Subresources of Pods: eviction, and log, exec, attach and portforward as far as they go without a node.
 * ephemeralcontainers and resize are ordinary updates with strategies of their own (registry/pod.c). */
#include "apiserver/pod_subresources.h"
#include <string.h>
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/handlers.h"
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
    if (!e || registry_get(r, pods, r->namespace, r->name, &pod, NULL, &err) != 0 || (!unbudgeted(pod) && spend_budget(r, pod, &err) != 0) ||
        registry_delete(r, pods, r->namespace, r->name, &o, o.dryRun.len > 0, &pod, &done, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    struct metav1_Status ok = {.kind = "Status", .apiVersion = "v1", .status = "Success", .code = 201};
    respond_object(r, 201, &metav1_Status_desc, &ok);
}

/* ---- log, exec, attach, portforward ---- */

static void number_option(struct api_request *r, const char *name, int64_t least, struct field_errors *errs) {
    const char *text = url_query_get(&r->query, name);
    int64_t n;
    if (str_empty(text) || !str_to_i64(text, &n) || n >= least) return;
    field_invalid_int(errs, FIELD(NULL, name), n, least ? "must be greater than 0" : "must be greater than or equal to 0");
}

static int log_options(struct api_request *r, struct status *reterr) {
    struct field_errors errs = field_errors_in(r->arena);
    number_option(r, "tailLines", 0, &errs);
    number_option(r, "limitBytes", 1, &errs);
    if (url_query_has(&r->query, "sinceSeconds") && url_query_has(&r->query, "sinceTime")) field_forbidden(&errs, FIELD(NULL, "[]"), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    else number_option(r, "sinceSeconds", 1, &errs);
    return errs.len ? field_errors_status(&errs, "", "PodLogOptions", r->name, reterr) : 0;
}

static bool has_container(const struct corev1_PodSpec *s, const char *name) {
    LIST_FOREACH(c, &s->containers)
        if (str_eq(c->name, name)) return true;
    LIST_FOREACH(c, &s->initContainers)
        if (str_eq(c->name, name)) return true;
    LIST_FOREACH(c, &s->ephemeralContainers)
        if (str_eq(c->name, name)) return true;
    return false;
}

static int check_container(struct api_request *r, const struct corev1_Pod *pod, struct status *reterr) {
    const char *name = url_query_get(&r->query, "container"), *preset = string_map_get(&pod->metadata.annotations, "kubectl.kubernetes.io/default-container");
    if (!str_empty(name)) return has_container(&pod->spec, name) ? 0 : status_bad_request(reterr, "container %s is not valid for pod %s", name, r->name);
    if (pod->spec.containers.len == 1 || (preset && has_container(&pod->spec, preset))) return 0;
    struct buf names = BUF_INIT;
    LIST_FOREACH(c, &pod->spec.containers) buf_printf(&names, "%s%s", names.len ? " " : "", c->name);
    status_bad_request(reterr, "a container name must be specified for pod %s, choose one of: [%s]", r->name, buf_cstr(&names));
    buf_release(&names);
    return -1;
}

static void on_node(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    void *found;
    bool log = str_eq(r->subresource, "log");
    int failed = (log && log_options(r, &err) != 0) || registry_get(r, strategy_find("", "pods"), r->namespace, r->name, &found, NULL, &err) != 0;
    const struct corev1_Pod *pod = failed ? NULL : found;
    if (!failed && !str_eq(r->subresource, "portforward")) failed = check_container(r, pod, &err);
    if (!failed && !str_empty(pod->spec.nodeName)) failed = status_set(&err, 501, "NotImplemented", "pods/%s of a pod on a node is not implemented by this server yet", r->subresource);
    else if (!failed && log) {
        respond_bytes(r, 204, NULL, NULL, 0); /* nothing has run yet */
        return;
    } else if (!failed) failed = status_bad_request(&err, "pod %s does not have a host assigned", r->name);
    if (failed) respond_status(r, &err);
}

bool handle_pod_subresource(struct api_request *r) {
    static const char *const node_side[] = {"log", "exec", "attach", "portforward", NULL};
    if (str_eq(r->subresource, "eviction")) evict(r);
    else if (str_in(r->subresource, node_side)) on_node(r);
    else return false;
    return true;
}
