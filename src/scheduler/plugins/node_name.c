/* NodeName: a Pod that names its node fits there alone. Upstream: plugins/nodename. */
#include "base/str.h"
#include "scheduler/plugins/plugins.h"

static bool fits(const struct pod_info *pod, const char *node) { return str_empty(pod->pod->spec.nodeName) || str_eq(pod->pod->spec.nodeName, node); }

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    if (fits(cycle->pod, node->name)) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match the requested node name");
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    return fits(pod, e->new_node->metadata.name);
}

const struct plugin plugin_node_name = {.name = "NodeName", .id = PLUGIN_NODE_NAME, .filter = filter, .hint = hint, .events = {[EVENT_NODE] = ACTION_ADD}};
