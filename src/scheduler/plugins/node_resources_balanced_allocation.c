/* NodeResourcesBalancedAllocation: nodes whose resources would be used to like shares score higher; Pods without requests are not scored.
 * Upstream: plugins/noderesources/balanced_allocation.go. */
#include <math.h>
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

static enum code pre_score(struct cycle *cycle, struct node_info *const *nodes, size_t len) {
    (void)nodes, (void)len;
    const struct node_resources_balanced_args *args = cycle->use->args;
    LIST_FOREACH(r, &args->resources)
        if (cycle->pod->requests.v[r->index]) return CODE_SUCCESS;
    return CODE_SKIP;
}

static int64_t score(struct cycle *cycle, struct node_info *node) {
    const struct node_resources_balanced_args *args = cycle->use->args;
    double shares[16], total = 0, deviation = 0;
    size_t n = 0;
    LIST_FOREACH(r, &args->resources) {
        int64_t allocatable = node->allocatable.v[r->index];
        if (!allocatable || n == ARRAY_LEN(shares) || (r->index >= RESOURCE_FIRST_SCALAR && !cycle->pod->requests.v[r->index])) continue;
        double f = (double)(node->requested.v[r->index] + cycle->pod->requests.v[r->index]) / (double)allocatable;
        total += shares[n++] = f > 1 ? 1 : f;
    }
    if (n == 2) deviation = fabs((shares[0] - shares[1]) / 2);
    if (n > 2) {
        for (size_t i = 0; i < n; i++) deviation += (shares[i] - total / (double)n) * (shares[i] - total / (double)n);
        deviation = sqrt(deviation / (double)n);
    }
    return (int64_t)((1 - deviation) * NODE_SCORE_MAX);
}

const struct plugin plugin_node_resources_balanced_allocation = {.name = "NodeResourcesBalancedAllocation", .id = PLUGIN_NODE_RESOURCES_BALANCED_ALLOCATION,
    .weight = 1, .pre_score = pre_score, .score = score};
