/* Profiles: which plugins are used where, and which events wake whom. Upstream: scheduler/profile, apis/config/v1/default_plugins.go. */
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

const struct plugin *const all_plugins[PLUGINS_LEN] = {
    [PLUGIN_SCHEDULING_GATES] = &plugin_scheduling_gates,
    [PLUGIN_PRIORITY_SORT] = &plugin_priority_sort,
    [PLUGIN_NODE_UNSCHEDULABLE] = &plugin_node_unschedulable,
    [PLUGIN_NODE_NAME] = &plugin_node_name,
    [PLUGIN_TAINT_TOLERATION] = &plugin_taint_toleration,
    [PLUGIN_NODE_AFFINITY] = &plugin_node_affinity,
    [PLUGIN_NODE_PORTS] = &plugin_node_ports,
    [PLUGIN_NODE_RESOURCES_FIT] = &plugin_node_resources_fit,
    [PLUGIN_VOLUME_RESTRICTIONS] = &plugin_volume_restrictions,
    [PLUGIN_NODE_VOLUME_LIMITS] = &plugin_node_volume_limits,
    [PLUGIN_VOLUME_BINDING] = &plugin_volume_binding,
    [PLUGIN_VOLUME_ZONE] = &plugin_volume_zone,
    [PLUGIN_POD_TOPOLOGY_SPREAD] = &plugin_pod_topology_spread,
    [PLUGIN_INTER_POD_AFFINITY] = &plugin_inter_pod_affinity,
    [PLUGIN_DYNAMIC_RESOURCES] = &plugin_dynamic_resources,
    [PLUGIN_DEFAULT_PREEMPTION] = &plugin_default_preemption,
    [PLUGIN_NODE_RESOURCES_BALANCED_ALLOCATION] = &plugin_node_resources_balanced_allocation,
    [PLUGIN_IMAGE_LOCALITY] = &plugin_image_locality,
    [PLUGIN_DEFAULT_BINDER] = &plugin_default_binder,
    [PLUGIN_NODE_DECLARED_FEATURES] = &plugin_node_declared_features,
};

const struct plugin *plugin_find(const char *name) {
    for (int i = 0; i < PLUGINS_LEN; i++)
        if (str_eq(all_plugins[i]->name, name)) return all_plugins[i];
    return NULL;
}

bool plugin_has_point(const struct plugin *p, enum point point) {
    switch (point) {
    case POINT_PRE_ENQUEUE: return p->pre_enqueue;
    case POINT_QUEUE_SORT: return p->queue_sort;
    case POINT_PRE_FILTER: return p->pre_filter;
    case POINT_FILTER: return p->filter;
    case POINT_POST_FILTER: return p->post_filter;
    case POINT_PRE_SCORE: return p->pre_score;
    case POINT_SCORE: return p->score;
    case POINT_RESERVE: return p->reserve;
    case POINT_PERMIT: return p->permit;
    case POINT_PRE_BIND: return p->pre_bind;
    case POINT_BIND: return p->bind;
    case POINT_POST_BIND: return p->post_bind;
    default: return false;
    }
}

void profile_init_default(struct profile *p, const char *name) {
    *p = (struct profile){.name = name};
    for (int i = 0; i < PLUGINS_LEN; i++) {
        p->args[i] = plugin_default_args(i);
        for (int point = 0; point < POINTS_LEN; point++) {
            struct plugin_uses *uses = &p->points[point];
            if (plugin_has_point(all_plugins[i], point)) uses->items[uses->len++] = (struct plugin_use){all_plugins[i], p->args[i], MAX(all_plugins[i]->weight, 1)};
        }
    }
}

uint32_t profile_event_mask(const struct cluster_event *e) {
    uint32_t mask = 0;
    for (int i = 0; i < PLUGINS_LEN; i++)
        if (all_plugins[i]->events[e->resource] & e->actions) mask |= UINT32_C(1) << i;
    return mask;
}

uint32_t profile_hints(const struct profile *p, struct scheduler_cache *c, const struct cluster_event *e, struct pod_info *pod, uint32_t mask) {
    uint32_t hints = 0;
    for (int i = 0; i < PLUGINS_LEN && mask >> i; i++) {
        if (!(mask >> i & 1)) continue;
        if (!all_plugins[i]->hint || all_plugins[i]->hint(c, p->args[i], e, pod)) hints |= UINT32_C(1) << i;
    }
    return hints;
}
