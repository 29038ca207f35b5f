/* NodePorts: a host port is given to one Pod of a node. Upstream: plugins/nodeports. */
#include "base/str.h"
#include "scheduler/framework.h"

static bool wildcard(const char *ip) { return str_eq(ip, "0.0.0.0") || str_eq(ip, "::"); }

static bool conflicts(const struct host_port *a, const struct host_port *b) {
    return a->port == b->port && str_eq(a->protocol, b->protocol) && (wildcard(a->ip) || wildcard(b->ip) || str_eq(a->ip, b->ip));
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    return cycle->pod->ports.len ? CODE_SUCCESS : CODE_SKIP;
}

static enum code filter(struct cycle *cycle, const struct node_info *node, struct reasons *why) {
    for (size_t i = 0; i < node->pods_len; i++)
        LIST_FOREACH(used, &node->pods[i]->ports)
            LIST_FOREACH(wanted, &cycle->pod->ports)
                if (conflicts(used, wanted)) return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) didn't have free ports for the requested pod ports");
    return CODE_SUCCESS;
}

const struct plugin plugin_node_ports = {.name = "NodePorts", .pre_filter = pre_filter, .filter = filter};
