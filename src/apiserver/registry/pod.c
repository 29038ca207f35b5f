/* The Pod strategy. Upstream: pkg/registry/core/pod/strategy.go. */
#include <string.h>
#include "api/names.h"
#include "api/quantity.h"
#include "api/time.h"
#include "api/validation/core.h"
#include "api/warnings.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

/* ---- QoS class: pkg/apis/core/v1/helper/qos ---- */

static bool positive(const char *value) {
    struct quantity q = quantity_of(value);
    return q.nanos > 0;
}

struct totals { bool any_request, any_limit, all_limited, equal; };

static void container_totals(const struct corev1_ResourceRequirements *res, struct totals *t) {
    static const char *const names[] = {"cpu", "memory"};
    for (size_t i = 0; i < 2; i++) {
        const char *request = string_map_get(&res->requests, names[i]), *limit = string_map_get(&res->limits, names[i]);
        bool r = request && positive(request), l = limit && positive(limit);
        t->any_request |= r;
        t->any_limit |= l;
        t->all_limited &= l;
        t->equal &= l && r && quantity_text_cmp(request, limit) == 0;
    }
}

const char *compute_pod_qos(const struct corev1_PodSpec *s) {
    struct totals t = {.all_limited = true, .equal = true};
    if (s->resources) container_totals(s->resources, &t);
    else {
        LIST_FOREACH(c, &s->containers) container_totals(&c->resources, &t);
        LIST_FOREACH(c, &s->initContainers) container_totals(&c->resources, &t);
    }
    if (!t.any_request && !t.any_limit) return "BestEffort";
    return t.all_limited && t.equal ? "Guaranteed" : "Burstable";
}

/* Upstream merges matchLabelKeys and mismatchLabelKeys of affinity terms and spread constraints into their selectors when the Pod is made. */
static void merge_keys(struct arena *a, const struct corev1_Pod *pod, struct metav1_LabelSelector *ls, const struct string_list *keys, const char *operator) {
    for (size_t i = 0; ls && i < keys->len; i++) {
        const char *key = keys->items[i], *value = string_map_get(&pod->metadata.labels, key);
        if (!value) continue;
        struct metav1_LabelSelectorRequirement *e = LIST_PUSH(a, &ls->matchExpressions);
        *e = (struct metav1_LabelSelectorRequirement){.key = key, .operator = operator};
        string_list_push(a, &e->values, value);
    }
}

static void merge_label_keys(struct arena *a, const struct corev1_Pod *pod, struct corev1_PodAffinityTerm *t) {
    merge_keys(a, pod, t->labelSelector, &t->matchLabelKeys, "In");
    merge_keys(a, pod, t->labelSelector, &t->mismatchLabelKeys, "NotIn");
}

static void apply_label_keys(struct arena *a, struct corev1_Pod *pod) {
    struct corev1_Affinity *f = pod->spec.affinity;
    LIST_FOREACH(c, &pod->spec.topologySpreadConstraints) merge_keys(a, pod, c->labelSelector, &c->matchLabelKeys, "In");
    if (!f) return;
    if (f->podAffinity) {
        LIST_FOREACH(t, &f->podAffinity->requiredDuringSchedulingIgnoredDuringExecution) merge_label_keys(a, pod, t);
        LIST_FOREACH(t, &f->podAffinity->preferredDuringSchedulingIgnoredDuringExecution) merge_label_keys(a, pod, &t->podAffinityTerm);
    }
    if (f->podAntiAffinity) {
        LIST_FOREACH(t, &f->podAntiAffinity->requiredDuringSchedulingIgnoredDuringExecution) merge_label_keys(a, pod, t);
        LIST_FOREACH(t, &f->podAntiAffinity->preferredDuringSchedulingIgnoredDuringExecution) merge_label_keys(a, pod, &t->podAffinityTerm);
    }
}

static void pod_prepare_create(struct api_request *r, void *obj) {
    struct corev1_Pod *pod = obj;
    pod_spec_drop_disabled(&pod->spec, NULL);
    apply_label_keys(r->arena, pod);
    pod_apply_app_armor(r, pod);
    pod->status = (struct corev1_PodStatus){.phase = "Pending", .qosClass = compute_pod_qos(&pod->spec)};
    if (pod->spec.schedulingGates.len)
        *LIST_PUSH(r->arena, &pod->status.conditions) = (struct corev1_PodCondition){.type = "PodScheduled", .status = "False", .lastTransitionTime = time_from_s(env_now_s(apiserver_env(r->server))), .reason = "SchedulingGated", .message = "Scheduling is blocked due to non-empty scheduling gates"};
}

static void pod_prepare_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct corev1_Pod *pod = obj;
    const struct corev1_Pod *old = old_obj;
    pod->status = old->status;
    pod_spec_drop_disabled(&pod->spec, &old->spec);
}

/* What a client leaves out of observedGeneration stays as it was, in the status and in each condition. */
static void keep_observed_generations(struct corev1_PodStatus *s, const struct corev1_PodStatus *old) {
    if (!s->observedGeneration) s->observedGeneration = old->observedGeneration;
    for (size_t i = 0; i < s->conditions.len; i++) {
        struct corev1_PodCondition *c = &s->conditions.items[i];
        size_t nth = 0;
        if (c->observedGeneration) continue;
        for (size_t k = 0; k < i; k++) nth += str_eq(s->conditions.items[k].type, c->type);
        LIST_FOREACH(o, &old->conditions)
            if (str_eq(o->type, c->type) && nth-- == 0) {
                c->observedGeneration = o->observedGeneration;
                break;
            }
    }
}

static void pod_prepare_status(struct api_request *r UNUSED, void *object, const void *old_object) {
    struct corev1_Pod *pod = object;
    const struct corev1_Pod *old = old_object;
    pod->spec = old->spec;
    pod->metadata.deletionTimestamp = old->metadata.deletionTimestamp;
    pod->metadata.ownerReferences = old->metadata.ownerReferences; /* the first kubelets lost some */
    if (str_empty(pod->status.qosClass)) pod->status.qosClass = old->status.qosClass;
    keep_observed_generations(&pod->status, &old->status);
    pod_status_drop_disabled(&pod->status, &old->status);
}

/* spec.host is what the first clients called the node. */
static const char *pod_field(struct arena *a UNUSED, const void *obj, const char *name) {
    const struct corev1_Pod *p = obj;
    const struct { const char *name, *value; } fields[] = {
        {"spec.nodeName", p->spec.nodeName}, {"spec.host", p->spec.nodeName}, {"spec.restartPolicy", p->spec.restartPolicy}, {"spec.schedulerName", p->spec.schedulerName}, {"spec.serviceAccountName", p->spec.serviceAccountName},
        {"spec.hostNetwork", p->spec.hostNetwork ? "true" : "false"}, {"status.phase", p->status.phase},
        {"status.podIP", p->status.podIPs.len ? p->status.podIPs.items[0].ip : p->status.podIP}, {"status.nominatedNodeName", p->status.nominatedNodeName}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].name, name) == 0) return fields[i].value;
    return NULL;
}

/* A Pod that no kubelet has is gone at once; others get the grace that was asked for, or their own. */
static bool pod_graceful(struct api_request *r UNUSED, const void *obj, int64_t *grace) {
    const struct corev1_Pod *p = obj;
    if (*grace < 0) *grace = p->spec.terminationGracePeriodSeconds.has ? p->spec.terminationGracePeriodSeconds.value : 30;
    if (*grace < 0) *grace = 1;
    if (str_empty(p->spec.nodeName) || str_eq(p->status.phase, "Failed") || str_eq(p->status.phase, "Succeeded")) *grace = 0;
    return true;
}

static void warn_of_pod(struct api_request *r, const void *obj, const void *old) {
    const struct corev1_Pod *pod = obj;
    if (old) return;
    pod_name_warnings(r->arena, pod->metadata.name, true, &r->warnings);
    pod_warnings(r->arena, &pod->spec, &pod->metadata, NULL, &r->warnings);
}

static void warn_of_pod_status(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct corev1_PodStatus *s = &((const struct corev1_Pod *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    for (size_t i = 0; i < s->podIPs.len; i++) ip_warnings(r->arena, s->podIPs.items[i].ip, FIELD(FIELD_INDEX(FIELD(at, "podIPs"), i), "ip"), &r->warnings);
    for (size_t i = 0; i < s->hostIPs.len; i++) ip_warnings(r->arena, s->hostIPs.items[i].ip, FIELD(FIELD_INDEX(FIELD(at, "hostIPs"), i), "ip"), &r->warnings);
}

static const char *const pod_fields[] = {"spec.nodeName", "spec.host", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP", "status.podIPs",
    "status.nominatedNodeName", NULL};
const struct strategy pod_strategy = {.group = "", .version = "v1", .resource = "pods", .type = &corev1_Pod_desc, .flags = RETURN_DELETED_OBJECT | HAS_GENERATION | META_TWICE, .prepare_create = pod_prepare_create,
    .prepare_update = pod_prepare_update, .prepare_status_update = pod_prepare_status, .validate = validate_pod, .validate_update = validate_pod_update, .validate_status_update = validate_pod_status_update, .selectable_fields = pod_fields, .field = pod_field,
    .warnings = warn_of_pod, .status_warnings = warn_of_pod_status, .check_graceful_delete = pod_graceful};

/* ---- ephemeralcontainers: only they change; resize: only the containers' resources ---- */

/* Nothing of the metadata changes by these. Upstream: ResetObjectMetaForStatus. */
static void keep_metadata(struct metav1_ObjectMeta *m, const struct metav1_ObjectMeta *old) {
    m->deletionTimestamp = old->deletionTimestamp;
    m->labels = old->labels;
    m->annotations = old->annotations;
    m->finalizers = old->finalizers;
    m->ownerReferences = old->ownerReferences;
}

static void ephemeral_prepare(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct corev1_Pod *pod = obj;
    const struct corev1_Pod *old = old_obj;
    struct corev1_EphemeralContainer_list kept = pod->spec.ephemeralContainers;
    pod->spec = old->spec;
    pod->spec.ephemeralContainers = kept;
    pod_spec_drop_disabled(&pod->spec, &old->spec);
    pod->status = old->status;
    keep_metadata(&pod->metadata, &old->metadata);
}

/* The old containers with the new resources; the new ones as they are where they differ otherwise, for validation to refuse. */
static struct corev1_Container_list resized(struct arena *a, const struct corev1_Container_list *now, const struct corev1_Container_list *old) {
    struct corev1_Container_list list = {0};
    for (size_t i = 0; i < old->len; i++) {
        if (!str_eq(now->items[i].name, old->items[i].name)) return *now;
        struct corev1_Container *c = LIST_PUSH(a, &list);
        *c = old->items[i];
        c->resources = now->items[i].resources;
        c->resizePolicy = now->items[i].resizePolicy;
    }
    return list;
}

static void resize_prepare(struct api_request *r, void *obj, const void *old_obj) {
    struct corev1_Pod *pod = obj;
    const struct corev1_Pod *old = old_obj;
    if (pod->spec.containers.len != old->spec.containers.len || pod->spec.initContainers.len != old->spec.initContainers.len) return;
    struct corev1_PodSpec spec = old->spec;
    spec.resources = pod->spec.resources;
    spec.containers = resized(r->arena, &pod->spec.containers, &old->spec.containers);
    spec.initContainers = resized(r->arena, &pod->spec.initContainers, &old->spec.initContainers);
    pod->spec = spec;
    pod->status = old->status;
    keep_metadata(&pod->metadata, &old->metadata);
}

static void resize_validate(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *old = old_obj;
    validate_pod_resize(obj, old, str_or(old->status.qosClass, compute_pod_qos(&old->spec)), compute_pod_qos(&((const struct corev1_Pod *)obj)->spec), errs);
}

/* pods/binding: the one write that sets spec.nodeName; the handler has checked it, and no rule for updates applies. */
const struct strategy pod_binding_strategy = {.group = "", .version = "v1", .resource = "pods", .type = &corev1_Pod_desc, .flags = RETURN_DELETED_OBJECT};
const struct strategy pod_ephemeral_strategy = {.group = "", .version = "v1", .resource = "pods", .type = &corev1_Pod_desc, .flags = RETURN_DELETED_OBJECT | HAS_GENERATION, .prepare_update = ephemeral_prepare,
    .validate_update = validate_pod_ephemeral_update};
const struct strategy pod_resize_strategy = {.group = "", .version = "v1", .resource = "pods", .type = &corev1_Pod_desc, .flags = RETURN_DELETED_OBJECT | HAS_GENERATION, .prepare_update = resize_prepare,
    .validate_update = resize_validate};
