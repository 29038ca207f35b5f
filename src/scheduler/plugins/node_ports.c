/* NodePorts: a host port is given to one Pod of a node. Upstream: plugins/nodeports. */
#include "base/str.h"
#include "scheduler/plugins/plugins.h"

static bool wildcard(const char *ip) { return str_eq(ip, "0.0.0.0") || str_eq(ip, "::"); }

static bool conflicts(const struct host_port *a, const struct host_port *b) {
    return a->port == b->port && str_eq(a->protocol, b->protocol) && (wildcard(a->ip) || wildcard(b->ip) || str_eq(a->ip, b->ip));
}

static bool pods_conflict(const struct pod_info *a, const struct pod_info *b) {
    LIST_FOREACH(used, &a->ports)
        LIST_FOREACH(wanted, &b->ports)
            if (conflicts(used, wanted)) return true;
    return false;
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    return cycle->pod->ports.len ? CODE_SUCCESS : CODE_SKIP;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    for (size_t i = 0; node->ports && i < node->pods_len; i++)
        if (pods_conflict(node->pods[i], cycle->pod)) return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) didn't have free ports for the requested pod ports");
    return CODE_SUCCESS;
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    return e->resource != EVENT_ASSIGNED_POD || pods_conflict(e->old_pod, pod);
}

const struct plugin plugin_node_ports = {.name = "NodePorts", .id = PLUGIN_NODE_PORTS, .pre_filter = pre_filter, .filter = filter, .hint = hint,
    .events = {[EVENT_ASSIGNED_POD] = ACTION_DELETE, [EVENT_NODE] = ACTION_ADD}};
