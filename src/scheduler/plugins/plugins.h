/* The plugins that are built in, one file each. */
#ifndef CKUBE_SCHEDULER_PLUGINS_H
#define CKUBE_SCHEDULER_PLUGINS_H
#include "scheduler/framework.h"

extern const struct plugin plugin_scheduling_gates, plugin_priority_sort, plugin_node_unschedulable, plugin_node_name, plugin_taint_toleration,
    plugin_node_affinity, plugin_node_ports, plugin_node_resources_fit, plugin_volume_restrictions, plugin_node_volume_limits, plugin_volume_binding,
    plugin_volume_zone, plugin_pod_topology_spread, plugin_inter_pod_affinity, plugin_dynamic_resources, plugin_default_preemption,
    plugin_node_resources_balanced_allocation, plugin_image_locality, plugin_default_binder, plugin_node_declared_features;
#endif
