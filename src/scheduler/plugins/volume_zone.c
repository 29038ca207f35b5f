/* VolumeZone: a bound volume's zone and region labels must be the node's. Upstream: plugins/volumezone. */
#include "base/str.h"
#include "scheduler/plugins/volumes.h"

static const struct { const char *key, *now; } labels[] = {{"failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"},
    {"failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"}, {"topology.kubernetes.io/zone", NULL}, {"topology.kubernetes.io/region", NULL}};

struct need { const char *key, *now, *values; }; /* values: one or more, between "__" */
struct need_list { struct need *items; size_t len; };

static void needs_of(struct arena *a, const struct corev1_PersistentVolume *pv, struct need_list *needs) {
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        const char *values = string_map_get(&pv->metadata.labels, labels[i].key);
        if (!str_empty(values)) *LIST_PUSH(a, needs) = (struct need){labels[i].key, labels[i].now, values};
    }
}

static bool values_have(const char *values, const char *v) {
    size_t len = strlen(v);
    for (const char *p = values; p; p = strstr(p, "__"), p = p ? p + 2 : NULL)
        if (strncmp(p, v, len) == 0 && (p[len] == '\0' || strncmp(p + len, "__", 2) == 0)) return true;
    return false;
}

/* A claim without a volume is another plugin's matter if the volume will be made when the Pod has a node. */
static enum code unbound(struct cycle *cycle, const struct corev1_PersistentVolumeClaim *pvc, struct reasons *why) {
    const char *name = claim_class(pvc);
    if (str_empty(name)) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "PersistentVolumeClaim had no pv name and storageClass name");
    const struct storagev1_StorageClass *class = cache_get(cycle->cache, &storagev1_StorageClass_desc, NULL, name);
    if (!class) return reasons_not_found(cycle, why, "storageclass.storage.k8s.io", name);
    if (str_empty(class->volumeBindingMode))
        return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, arena_printf(cycle->arena, "VolumeBindingMode not set for StorageClass \"%s\"", name));
    if (str_eq(class->volumeBindingMode, "WaitForFirstConsumer")) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "PersistentVolume had no name");
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    const struct corev1_Pod *pod = cycle->pod->pod;
    if (!cycle->pod->has_claims) return CODE_SKIP;
    struct need_list *needs = cycle->state[PLUGIN_VOLUME_ZONE] = ARENA_NEW(cycle->arena, struct need_list);
    LIST_FOREACH(v, &pod->spec.volumes) {
        if (!v->persistentVolumeClaim) continue;
        const char *name = v->persistentVolumeClaim->claimName;
        if (str_empty(name)) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "PersistentVolumeClaim had no name");
        const struct corev1_PersistentVolumeClaim *pvc = claim_get(cycle->cache, pod->metadata.namespace, name);
        if (!pvc) return reasons_not_found(cycle, why, "persistentvolumeclaim", name);
        if (str_empty(pvc->spec.volumeName)) {
            enum code code = unbound(cycle, pvc, why);
            if (code != CODE_SUCCESS) return code;
            continue;
        }
        const struct corev1_PersistentVolume *pv = cache_get(cycle->cache, &corev1_PersistentVolume_desc, NULL, pvc->spec.volumeName);
        if (!pv) return reasons_not_found(cycle, why, "persistentvolume", pvc->spec.volumeName);
        needs_of(cycle->arena, pv, needs);
    }
    return needs->len ? CODE_SUCCESS : CODE_SKIP;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct need_list *needs = cycle->state[PLUGIN_VOLUME_ZONE];
    const struct string_map *has = &node->node->metadata.labels;
    bool any = false; /* nodes without any such label are in the only zone there is */
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) any |= string_map_has(has, labels[i].key);
    if (!any) return CODE_SUCCESS;
    LIST_FOREACH(n, needs) {
        const char *value = string_map_get(has, n->key);
        if (!value && n->now) value = string_map_get(has, n->now);
        if (!value || !values_have(n->values, value)) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) had no available volume zone");
    }
    return CODE_SUCCESS;
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    if (e->resource == EVENT_PERSISTENT_VOLUME_CLAIM) return pod_uses_claim(pod->pod, e->new_obj);
    if (e->resource == EVENT_STORAGE_CLASS) return str_eq(((const struct storagev1_StorageClass *)e->new_obj)->volumeBindingMode, "WaitForFirstConsumer");
    if (e->resource != EVENT_PERSISTENT_VOLUME || !e->old_obj) return true;
    const struct corev1_PersistentVolume *was = e->old_obj, *is = e->new_obj;
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        if (!str_eq(string_map_get(&was->metadata.labels, labels[i].key), string_map_get(&is->metadata.labels, labels[i].key))) return true;
    return false;
}

const struct plugin plugin_volume_zone = {.name = "VolumeZone", .id = PLUGIN_VOLUME_ZONE, .pre_filter = pre_filter, .filter = filter, .hint = hint,
    .events = {[EVENT_STORAGE_CLASS] = ACTION_ADD, [EVENT_NODE] = ACTION_ADD | ACTION_NODE_LABEL,
               [EVENT_PERSISTENT_VOLUME_CLAIM] = ACTION_ADD | ACTION_UPDATE, [EVENT_PERSISTENT_VOLUME] = ACTION_ADD | ACTION_UPDATE}};
