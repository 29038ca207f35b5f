/* SchedulingGates: a Pod with gates does not enter the queue. Upstream: plugins/schedulinggates. */
#include "scheduler/plugins/plugins.h"

static enum code pre_enqueue(struct scheduler_cache *cache, const struct pod_info *pod, struct reasons *why) {
    (void)cache;
    if (!pod->pod->spec.schedulingGates.len) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "Scheduling is blocked due to non-empty scheduling gates");
}

const struct plugin plugin_scheduling_gates = {.name = "SchedulingGates", .id = PLUGIN_SCHEDULING_GATES, .pre_enqueue = pre_enqueue,
    .events = {[EVENT_TARGET_POD] = ACTION_POD_GATES_ELIMINATED}};
