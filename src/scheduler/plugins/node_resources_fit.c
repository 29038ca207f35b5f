/* NodeResourcesFit: requests within what is left of the node; emptier nodes score higher (LeastAllocated over cpu and memory, upstream's default).
 * Upstream: plugins/noderesources/fit.go and least_allocated.go. */
#include "scheduler/framework.h"

static enum code filter(struct cycle *cycle, const struct node_info *node, struct reasons *why) {
    const struct pod_info *p = cycle->pod;
    enum code code = CODE_SUCCESS;
    if ((int64_t)node->pods_len + 1 > node->pods_max) code = reasons_add(why, CODE_UNSCHEDULABLE, "Too many pods");
    if (p->unknown_resources) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "Insufficient resources of a kind that the scheduler has no room to count");
    bool never = false;
    for (int i = 0, n = resource_count(); i < n; i++) {
        int64_t asked = p->requests.v[i];
        if (asked <= 0 || asked <= node->allocatable.v[i] - node->requested.v[i]) continue;
        code = reasons_add(why, CODE_UNSCHEDULABLE, resource_insufficient_reason(i));
        never |= asked > node->allocatable.v[i]; /* not even on an empty node: preemption would not help */
    }
    return never ? CODE_UNSCHEDULABLE_AND_UNRESOLVABLE : code;
}

static int64_t least(int64_t requested, int64_t capacity) {
    return capacity <= 0 || requested > capacity ? 0 : (int64_t)((double)(capacity - requested) * NODE_SCORE_MAX / (double)capacity);
}

static int64_t score(struct cycle *cycle, const struct node_info *node) {
    int64_t cpu = node->allocatable.v[RESOURCE_CPU], memory = node->allocatable.v[RESOURCE_MEMORY], sum = 0, n = 0;
    if (cpu > 0) sum += least(node->nonzero_cpu + cycle->pod->nonzero_cpu, cpu), n++;
    if (memory > 0) sum += least(node->nonzero_memory + cycle->pod->nonzero_memory, memory), n++;
    return n ? sum / n : 0;
}

const struct plugin plugin_node_resources_fit = {.name = "NodeResourcesFit", .weight = 1, .filter = filter, .score = score};
