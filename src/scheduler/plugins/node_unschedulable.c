/* NodeUnschedulable: cordoned nodes take no Pods but those that tolerate it. Upstream: plugins/nodeunschedulable. */
#include "scheduler/plugins/plugins.h"

static const struct corev1_Taint cordon = {.key = "node.kubernetes.io/unschedulable", .effect = "NoSchedule"};

static bool takes(const struct pod_info *pod, const struct corev1_Node *node) {
    return !node->spec.unschedulable || node_match_tolerates(&pod->pod->spec.tolerations, &cordon);
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    if (!node->unschedulable || takes(cycle->pod, node->node)) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) were unschedulable");
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    if (e->resource == EVENT_TARGET_POD) return node_match_tolerates(&pod->pod->spec.tolerations, &cordon);
    return takes(pod, e->new_node) && (!e->old_node || !takes(pod, e->old_node));
}

const struct plugin plugin_node_unschedulable = {.name = "NodeUnschedulable", .id = PLUGIN_NODE_UNSCHEDULABLE, .filter = filter, .hint = hint,
    .events = {[EVENT_NODE] = ACTION_ADD | ACTION_NODE_TAINT, [EVENT_TARGET_POD] = ACTION_POD_TOLERATION}};
