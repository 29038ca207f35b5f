/* What changed in a Pod or a node: see events.h. Upstream: framework/events.go. */
#include <stdio.h>
#include "scheduler/events.h"
#include "base/str.h"

static bool scaled_down(const struct pod_info *old, const struct pod_info *new) {
    LIST_FOREACH(r, &old->amounts)
        if (new->requests.v[r->index] < r->value) return true;
    return false;
}

unsigned pod_change_actions(const struct pod_info *old, const struct pod_info *new) {
    const struct corev1_PodSpec *a = &old->pod->spec, *b = &new->pod->spec;
    unsigned actions = 0;
    if (!str_eq(old->class_key, new->class_key)) actions |= ACTION_POD_LABEL;
    if (scaled_down(old, new)) actions |= ACTION_POD_SCALE_DOWN;
    if (a->schedulingGates.len && !b->schedulingGates.len) actions |= ACTION_POD_GATES_ELIMINATED;
    bool same = a->tolerations.len == b->tolerations.len;
    for (size_t i = 0; same && i < a->tolerations.len; i++) same = object_equal(&corev1_Toleration_desc, &a->tolerations.items[i], &b->tolerations.items[i]);
    if (!same) actions |= ACTION_POD_TOLERATION;
    if (old->pod->status.resourceClaimStatuses.len != new->pod->status.resourceClaimStatuses.len) actions |= ACTION_POD_CLAIM;
    return actions;
}

static bool taints_equal(const struct corev1_Node *a, const struct corev1_Node *b) {
    if (a->spec.unschedulable != b->spec.unschedulable || a->spec.taints.len != b->spec.taints.len) return false;
    for (size_t i = 0; i < a->spec.taints.len; i++)
        if (!object_equal(&corev1_Taint_desc, &a->spec.taints.items[i], &b->spec.taints.items[i])) return false;
    return true;
}

static bool conditions_equal(const struct corev1_Node *a, const struct corev1_Node *b) {
    if (a->status.conditions.len != b->status.conditions.len) return false;
    LIST_FOREACH(c, &a->status.conditions) {
        bool found = false;
        LIST_FOREACH(d, &b->status.conditions) found |= str_eq(c->type, d->type) && str_eq(c->status, d->status);
        if (!found) return false;
    }
    return true;
}

static bool strings_equal(const struct string_list *a, const struct string_list *b) {
    if (a->len != b->len) return false;
    for (size_t i = 0; i < a->len; i++)
        if (!str_eq(a->items[i], b->items[i])) return false;
    return true;
}

unsigned node_change_actions(const struct corev1_Node *old, const struct corev1_Node *new) {
    unsigned actions = 0;
    if (!string_map_equal(&old->status.allocatable, &new->status.allocatable)) actions |= ACTION_NODE_ALLOCATABLE;
    if (!string_map_equal(&old->metadata.labels, &new->metadata.labels)) actions |= ACTION_NODE_LABEL;
    if (!taints_equal(old, new)) actions |= ACTION_NODE_TAINT;
    if (!conditions_equal(old, new)) actions |= ACTION_NODE_CONDITION;
    if (!strings_equal(&old->status.declaredFeatures, &new->status.declaredFeatures)) actions |= ACTION_NODE_FEATURES;
    return actions;
}

const char *event_label(const struct cluster_event *e, char *room, size_t size) {
    static const char *const resources[EVENT_RESOURCES] = {"AssignedPod", "TargetPod", "Node", "PersistentVolume", "PersistentVolumeClaim", "StorageClass", "CSINode", "CSIDriver",
        "CSIStorageCapacity", "VolumeAttachment", "ResourceClaim", "ResourceSlice", "DeviceClass"};
    static const char *const actions[] = {"Add", "Delete", "Update", "UpdateNodeAllocatable", "UpdateNodeLabel", "UpdateNodeTaint", "UpdateNodeCondition", "UpdateNodeDeclaredFeature", "UpdatePodLabel",
        "UpdatePodScaleDown", "UpdatePodToleration", "UpdatePodSchedulingGatesEliminated", "UpdatePodGeneratedResourceClaim"};
    size_t i = 0;
    while (i + 1 < sizeof(actions) / sizeof(*actions) && !(e->actions >> i & 1)) i++;
    snprintf(room, size, "%s%s", resources[e->resource], actions[i]);
    return room;
}
