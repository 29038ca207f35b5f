/* The plugins' arguments, as the configuration gives them. Upstream: scheduler/apis/config types_pluginargs.go; defaults.go there. */
#ifndef CKUBE_SCHEDULER_ARGS_H
#define CKUBE_SCHEDULER_ARGS_H
#include "api/object.h"

struct default_preemption_args { int32_t min_candidate_nodes_percentage, min_candidate_nodes_absolute; };
struct inter_pod_affinity_args { int32_t hard_pod_affinity_weight; bool ignore_preferred_terms_of_existing_pods; };
struct node_affinity_args { const struct corev1_NodeAffinity *added; };

enum scoring_strategy { LEAST_ALLOCATED, MOST_ALLOCATED, REQUESTED_TO_CAPACITY_RATIO };
struct resource_weight { const char *name; int64_t weight; int index; };
struct resource_weight_list { struct resource_weight *items; size_t len; };
struct shape_point { int32_t utilization, score; };
struct shape { struct shape_point *items; size_t len; };
struct node_resources_fit_args {
    struct string_list ignored_resources, ignored_resource_groups;
    enum scoring_strategy strategy;
    struct resource_weight_list resources;
    struct shape shape; /* scores 0..10 as configured */
};
struct node_resources_balanced_args { struct resource_weight_list resources; };
struct pod_topology_spread_args { struct corev1_TopologySpreadConstraint_list defaults; bool system_defaulted; };
struct volume_binding_args { int64_t bind_timeout_seconds; };
struct dynamic_resources_args { int64_t filter_timeout_ms, binding_timeout_ms; }; /* filter_timeout_ms 0: none */

/* Upstream's defaults; NULL for plugins without arguments. By plugin id (framework.h). */
const void *plugin_default_args(int id);
#endif
