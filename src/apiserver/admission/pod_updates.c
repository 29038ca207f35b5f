/* Updates of Pods that their node must be able to follow: PodResizeValidator, NodeDeclaredFeatureValidator. Upstream: plugin/pkg/admission/{podresize,nodedeclaredfeatures}. */
#include <inttypes.h>
#include "api/quantity.h"
#include "api/quota.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission_quota.h"
#include "base/str.h"

/* The node of a Pod whose spec changes; *ret NULL: it has none yet, or nothing changes. */
static int get_node(struct admission_attributes *a, const struct corev1_Node **ret, struct status *reterr) {
    const struct corev1_Pod *pod = a->obj;
    void *found;
    *ret = NULL;
    if (str_empty(pod->spec.nodeName) || pod->metadata.generation == ((const struct object *)a->old)->metadata.generation) return 0;
    int there = registry_find(a->r, strategy_find("", "nodes"), NULL, pod->spec.nodeName, &found, reterr);
    if (there < 0) return -1;
    if (!there) return ADMISSION_FORBID(a, reterr, "node \"%s\" not found", pod->spec.nodeName);
    *ret = found;
    return 0;
}

/* ---- PodResizeValidator ---- */

static int refuse(struct admission_attributes *a, const char *cause, const char *why, struct status *reterr) {
    admission_forbid(a, why, reterr);
    status_add_cause(reterr, cause, NULL, "%s", "");
    return -1;
}

int pod_resize_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct arena *arena = a->r->arena;
    const struct corev1_Node *node;
    if (!str_eq(a->o->subresource, "resize")) return 0;
    if (get_node(a, &node, reterr) != 0) return -1;
    if (!node) return 0;
    const char *os = string_map_get(&node->metadata.labels, "kubernetes.io/os"), *text = "";
    if (string_map_has(&node->metadata.labels, "kubernetes.io/os") && !str_eq(os, "linux"))
        return refuse(a, "UnsupportedPlatform", arena_printf(arena, "pod resize is only supported on linux nodes, node \"%s\" is \"%s\"", node->metadata.name, str_or(os, "")), reterr);
    struct string_map requests = quota_pod_resources(arena, &((const struct corev1_Pod *)a->obj)->spec, false, true);
    struct quantity cpu = quantity_of(string_map_get(&requests, "cpu")), memory = quantity_of(string_map_get(&requests, "memory")), cpu_there = quantity_of(string_map_get(&node->status.allocatable, "cpu")),
                    memory_there = quantity_of(string_map_get(&node->status.allocatable, "memory"));
    if (quantity_cmp(&cpu, &cpu_there) > 0) text = arena_printf(arena, "cpu, requested: %" PRId64 ", allocatable: %" PRId64, quantity_milli_value(&cpu), quantity_milli_value(&cpu_there));
    if (quantity_cmp(&memory, &memory_there) > 0)
        text = arena_printf(arena, "%s%smemory, requested: %" PRId64 ", allocatable: %" PRId64, text, *text ? "; " : "", quantity_value(&memory), quantity_value(&memory_there));
    return *text ? refuse(a, "NodeCapacity", arena_printf(arena, "node didn't have enough allocatable resources: %s", text), reterr) : 0;
}

/* ---- NodeDeclaredFeatureValidator ---- */

static bool resizes_init_containers(const struct corev1_PodSpec *now, const struct corev1_PodSpec *old) {
    for (size_t i = 0; i < old->initContainers.len && i < now->initContainers.len; i++) {
        const struct corev1_Container *o = &old->initContainers.items[i];
        if (!str_eq(o->restartPolicy, "Always") && !object_equal(&corev1_ResourceRequirements_desc, &o->resources, &now->initContainers.items[i].resources)) return true;
    }
    return false;
}

static bool resizes_pod(const struct corev1_PodSpec *now, const struct corev1_PodSpec *old) {
    if (!now->resources || !old->resources) return now->resources != old->resources;
    return !object_equal(&corev1_ResourceRequirements_desc, now->resources, old->resources);
}

int node_declared_features_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct corev1_PodSpec *now = &((const struct corev1_Pod *)a->obj)->spec, *old = &((const struct corev1_Pod *)a->old)->spec;
    const struct corev1_Node *node;
    if (!str_empty(a->o->subresource) && !str_eq(a->o->subresource, "resize")) return 0;
    const char *const wanted[] = {resizes_pod(now, old) ? "InPlacePodLevelResourcesVerticalScaling" : NULL, resizes_init_containers(now, old) ? "InPlacePodVerticalScalingInitContainers" : NULL};
    if (!wanted[0] && !wanted[1]) return 0;
    if (get_node(a, &node, reterr) != 0) return -1;
    if (!node) return 0;
    const char *missing = "";
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (wanted[i] && !string_list_has(&node->status.declaredFeatures, wanted[i])) missing = arena_printf(a->r->arena, "%s%s%s", missing, *missing ? ", " : "", wanted[i]);
    return *missing ? ADMISSION_FORBID(a, reterr, "pod update requires features %s which are not available on node \"%s\"", missing, node->metadata.name) : 0;
}
