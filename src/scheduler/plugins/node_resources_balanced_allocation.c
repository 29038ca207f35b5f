/* NodeResourcesBalancedAllocation: nodes whose cpu and memory would be used to like shares score higher; Pods without requests are not scored.
 * Upstream: plugins/noderesources/balanced_allocation.go. */
#include "scheduler/framework.h"

static enum code pre_score(struct cycle *cycle, const struct node_info *const *nodes, size_t len) {
    (void)nodes, (void)len;
    return cycle->pod->requests.v[RESOURCE_CPU] || cycle->pod->requests.v[RESOURCE_MEMORY] ? CODE_SUCCESS : CODE_SKIP;
}

static double share(const struct cycle *cycle, const struct node_info *node, int i) {
    double f = (double)(node->requested.v[i] + cycle->pod->requests.v[i]) / (double)node->allocatable.v[i];
    return f > 1 ? 1 : f;
}

static int64_t score(struct cycle *cycle, const struct node_info *node) {
    double deviation = 0;
    if (node->allocatable.v[RESOURCE_CPU] > 0 && node->allocatable.v[RESOURCE_MEMORY] > 0) {
        deviation = (share(cycle, node, RESOURCE_CPU) - share(cycle, node, RESOURCE_MEMORY)) / 2;
        if (deviation < 0) deviation = -deviation;
    }
    return (int64_t)((1 - deviation) * NODE_SCORE_MAX);
}

const struct plugin plugin_node_resources_balanced_allocation = {.name = "NodeResourcesBalancedAllocation", .weight = 1, .pre_score = pre_score, .score = score};
