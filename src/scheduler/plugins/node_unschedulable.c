/* NodeUnschedulable: cordoned nodes take no Pods but those that tolerate it. Upstream: plugins/nodeunschedulable. */
#include "scheduler/framework.h"

static enum code filter(struct cycle *cycle, const struct node_info *node, struct reasons *why) {
    static const struct corev1_Taint cordon = {.key = "node.kubernetes.io/unschedulable", .effect = "NoSchedule"};
    if (!node->node->spec.unschedulable || tolerations_tolerate(&cycle->pod->pod->spec.tolerations, &cordon)) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) were unschedulable");
}

const struct plugin plugin_node_unschedulable = {.name = "NodeUnschedulable", .filter = filter};
