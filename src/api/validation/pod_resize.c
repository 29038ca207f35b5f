/* pods/resize: CPU and memory of containers and of the whole Pod, nothing else, and never the QOS class. Upstream: ValidatePodResize.
 * Tests: tests/unit/test_validation_pods.c. */
#include <string.h>
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

static bool removed(const struct string_map *now, const struct string_map *old) {
    if (old->len > now->len) return true;
    LIST_FOREACH(e, old)
        if (!string_map_has(now, e->key)) return true;
    return false;
}

static void kept_amounts(const struct corev1_ResourceRequirements *now, const struct corev1_ResourceRequirements *old, const char *prefix, const struct field_path *at, struct field_errors *errs) {
    if (removed(&now->requests, &old->requests)) field_forbidden(errs, FIELD(at, "requests"), "%s requests cannot be removed", prefix);
    if (removed(&now->limits, &old->limits)) field_forbidden(errs, FIELD(at, "limits"), "%s limits cannot be removed", prefix);
}

/* The amounts with the old CPU and memory: what is left to compare. */
static struct string_map with_old_cpu_and_memory(struct arena *a, const struct string_map *now, const struct string_map *old) {
    struct string_map map = {0};
    LIST_FOREACH(e, now)
        if (!str_eq(e->key, "cpu") && !str_eq(e->key, "memory")) string_map_set(a, &map, e->key, e->value);
    if (string_map_has(old, "cpu")) string_map_set(a, &map, "cpu", string_map_get(old, "cpu"));
    if (string_map_has(old, "memory")) string_map_set(a, &map, "memory", string_map_get(old, "memory"));
    return map;
}

static void forget_cpu_and_memory(struct arena *a, struct corev1_Container *c, const struct corev1_Container *old) {
    c->resources = (struct corev1_ResourceRequirements){.limits = with_old_cpu_and_memory(a, &c->resources.limits, &old->resources.limits),
                                                        .requests = with_old_cpu_and_memory(a, &c->resources.requests, &old->resources.requests)};
}

static bool same_container(const struct corev1_Container *a, const struct corev1_Container *b) { return object_equal(&corev1_Container_desc, a, b); }

static bool same_order(const struct corev1_Container_list *now, const struct corev1_Container_list *old, const char *list, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), list);
    size_t before = errs->len;
    if (now->len != old->len) field_forbidden(errs, at, "%s may not be added or removed on resize", list);
    else
        for (size_t i = 0; i < now->len; i++)
            if (!str_eq(now->items[i].name, old->items[i].name)) field_forbidden(errs, FIELD(FIELD_INDEX(at, i), "name"), "%s may not be renamed or reordered on resize", list);
    return errs->len == before;
}

/* A kubelet that reports a running container without its resources cannot resize. */
static bool node_can(const struct corev1_Pod *pod) {
    LIST_FOREACH(c, &pod->status.containerStatuses)
        if (c->state.running) return c->resources != NULL;
    return true;
}

static bool has_amounts(const struct corev1_ResourceRequirements *r) { return r && (r->requests.len || r->limits.len); }

static void pod_level(const struct corev1_PodSpec *now, const struct corev1_PodSpec *old, struct corev1_PodSpec *rest, struct field_errors *errs) {
    static const struct corev1_ResourceRequirements none;
    const struct field_path *at = FIELD(NULL, "spec");
    if (!has_amounts(now->resources) && !has_amounts(old->resources)) return;
    if (old->resources && !now->resources) {
        field_forbidden(errs, FIELD(at, "resources"), "pod-level resources cannot be removed");
        return;
    }
    const struct corev1_ResourceRequirements *before = old->resources ? old->resources : &none;
    if (old->resources) kept_amounts(now->resources, before, "pod-level resource", FIELD(at, "resources"), errs);
    struct corev1_ResourceRequirements *left = ARENA_NEW(errs->arena, struct corev1_ResourceRequirements);
    left->limits = with_old_cpu_and_memory(errs->arena, &now->resources->limits, &before->limits);
    left->requests = with_old_cpu_and_memory(errs->arena, &now->resources->requests, &before->requests);
    bool same = object_equal(&corev1_ResourceRequirements_desc, left, before);
    rest->resources = old->resources && same ? old->resources : left;
    if (!old->resources && same) rest->resources = NULL;
    if (!same) field_forbidden(errs, at, "only cpu and memory resources are mutable at pod-level");
}

static void init_container(struct corev1_Container *c, const struct corev1_Container *old, const struct field_path *at, struct field_errors *errs) {
    bool changed = !same_container(c, old), sidecar = str_eq(c->restartPolicy, "Always");
    forget_cpu_and_memory(errs->arena, c, old);
    if (!same_container(c, old)) field_forbidden(errs, at, "only cpu and memory resources for init or sidecar containers are mutable");
    if (!changed || sidecar) return;
    LIST_FOREACH(p, &c->resizePolicy)
        if (str_eq(p->restartPolicy, "RestartContainer")) field_forbidden(errs, at, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
}

static void containers(const struct corev1_PodSpec *now, const struct corev1_PodSpec *old, struct corev1_PodSpec *rest, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    bool ordered = same_order(&now->containers, &old->containers, "containers", errs);
    ordered &= same_order(&now->initContainers, &old->initContainers, "initContainers", errs);
    if (!ordered) return;
    for (size_t i = 0; i < old->initContainers.len; i++)
        kept_amounts(&now->initContainers.items[i].resources, &old->initContainers.items[i].resources, "resource", FIELD(FIELD_INDEX(FIELD(at, "initContainers"), i), "resources"), errs);
    for (size_t i = 0; i < old->containers.len; i++)
        kept_amounts(&now->containers.items[i].resources, &old->containers.items[i].resources, "resource", FIELD(FIELD_INDEX(FIELD(at, "containers"), i), "resources"), errs);
    for (size_t i = 0; i < old->containers.len; i++) {
        forget_cpu_and_memory(errs->arena, &rest->containers.items[i], &old->containers.items[i]);
        if (!same_container(&rest->containers.items[i], &old->containers.items[i])) field_forbidden(errs, at, "only cpu and memory resources are mutable");
    }
    for (size_t i = 0; i < old->initContainers.len; i++) init_container(&rest->initContainers.items[i], &old->initContainers.items[i], FIELD_INDEX(FIELD(at, "initContainers"), i), errs);
    if (!errs->len && !object_equal(&corev1_PodSpec_desc, rest, old)) field_forbidden(errs, at, "only cpu and memory resources are mutable");
}

static void only(struct field_errors *errs, size_t from, const char *detail) {
    errs->len = from;
    field_forbidden(errs, FIELD(NULL, "[]"), "%s", detail);
}

void validate_pod_resize(const void *obj, const void *old_obj, const char *qos_before, const char *qos_after, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "spec");
    size_t before = errs->len;
    validate_changed_pod(pod, errs);
    if (string_map_has(&old->metadata.annotations, "kubernetes.io/config.mirror")) {
        only(errs, before, "static pods cannot be resized");
        return;
    }
    if (old->spec.os && str_eq(old->spec.os->name, "windows")) {
        only(errs, before, "windows pods cannot be resized");
        return;
    }
    if (!str_eq(qos_before, qos_after)) field_invalid(errs, at, pod->status.qosClass, "Pod QOS Class may not change as a result of resizing");
    if (!node_can(old)) field_forbidden(errs, at, "Pod running on node without support for resize");
    struct corev1_PodSpec *rest = object_copy(errs->arena, &corev1_PodSpec_desc, &pod->spec);
    pod_level(&pod->spec, &old->spec, rest, errs);
    if (old->status.nodeAllocatableResourceClaimStatuses.len) field_forbidden(errs, at, "pods with node allocatable resource claims cannot be resized");
    containers(&pod->spec, &old->spec, rest, errs);
}
