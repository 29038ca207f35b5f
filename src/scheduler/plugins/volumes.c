/* What the volume plugins share: see volumes.h. Upstream: component-helpers/storage. */
#include "scheduler/plugins/volumes.h"
#include "base/str.h"

const char *volume_claim_name(struct arena *a, const struct corev1_Pod *pod, const struct corev1_Volume *v) {
    if (v->persistentVolumeClaim) return str_or(v->persistentVolumeClaim->claimName, "");
    return v->ephemeral ? arena_printf(a, "%s-%s", pod->metadata.name, v->name) : NULL;
}

bool volume_claim_is(const struct corev1_Pod *pod, const struct corev1_Volume *v, const char *name) {
    if (v->persistentVolumeClaim) return str_eq(v->persistentVolumeClaim->claimName, name);
    if (!v->ephemeral) return false;
    size_t len = strlen(str_or(pod->metadata.name, ""));
    return strncmp(name, str_or(pod->metadata.name, ""), len) == 0 && name[len] == '-' && str_eq(name + len + 1, v->name);
}

bool pod_uses_claim(const struct corev1_Pod *pod, const struct corev1_PersistentVolumeClaim *pvc) {
    if (!str_eq(pod->metadata.namespace, pvc->metadata.namespace)) return false;
    LIST_FOREACH(v, &pod->spec.volumes)
        if (volume_claim_is(pod, v, str_or(pvc->metadata.name, ""))) return true;
    return false;
}

const struct corev1_PersistentVolumeClaim *claim_get(struct scheduler_cache *c, const char *namespace, const char *name) {
    return cache_get(c, &corev1_PersistentVolumeClaim_desc, namespace, name);
}

const char *claim_class(const struct corev1_PersistentVolumeClaim *pvc) {
    const char *old = string_map_get(&pvc->metadata.annotations, "volume.beta.kubernetes.io/storage-class");
    return str_or(old, str_or(pvc->spec.storageClassName, ""));
}

const char *volume_class(const struct corev1_PersistentVolume *pv) {
    const char *old = string_map_get(&pv->metadata.annotations, "volume.beta.kubernetes.io/storage-class");
    return str_or(old, str_or(pv->spec.storageClassName, ""));
}

bool volume_node_matches(const struct corev1_PersistentVolume *pv, const struct corev1_Node *node) {
    return !pv->spec.nodeAffinity || !pv->spec.nodeAffinity->required || node_match_selector(pv->spec.nodeAffinity->required, node);
}

enum code reasons_not_found(struct cycle *cycle, struct reasons *why, const char *what, const char *name) {
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, arena_printf(cycle->arena, "%s \"%s\" not found", what, name));
}
