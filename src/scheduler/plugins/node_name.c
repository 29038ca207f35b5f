/* NodeName: a Pod that names its node fits there alone. Upstream: plugins/nodename. */
#include "base/str.h"
#include "scheduler/framework.h"

static enum code filter(struct cycle *cycle, const struct node_info *node, struct reasons *why) {
    const char *wanted = cycle->pod->pod->spec.nodeName;
    if (str_empty(wanted) || str_eq(wanted, node->name)) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match the requested node name");
}

const struct plugin plugin_node_name = {.name = "NodeName", .filter = filter};
