/* The plugins' arguments when the configuration says nothing. Upstream: apis/config/v1/defaults.go. */
#include "scheduler/args.h"
#include "scheduler/framework.h"

static const struct default_preemption_args preemption = {10, 100};
static const struct inter_pod_affinity_args affinity = {.hard_pod_affinity_weight = 1};
static const struct node_affinity_args node_affinity;
static struct resource_weight cpu_and_memory[] = {{"cpu", 1, RESOURCE_CPU}, {"memory", 1, RESOURCE_MEMORY}};
static const struct node_resources_fit_args fit = {.strategy = LEAST_ALLOCATED, .resources = {cpu_and_memory, 2}};
static const struct node_resources_balanced_args balanced = {{cpu_and_memory, 2}};
static struct corev1_TopologySpreadConstraint system_defaults[] = {
    {.topologyKey = "kubernetes.io/hostname", .whenUnsatisfiable = "ScheduleAnyway", .maxSkew = 3},
    {.topologyKey = "topology.kubernetes.io/zone", .whenUnsatisfiable = "ScheduleAnyway", .maxSkew = 5},
};
static const struct pod_topology_spread_args spread = {{system_defaults, 2}, true};
static const struct volume_binding_args volumes = {600};
static const struct dynamic_resources_args claims = {10000, 600000};

const void *plugin_default_args(int id) {
    switch (id) {
    case PLUGIN_DEFAULT_PREEMPTION: return &preemption;
    case PLUGIN_INTER_POD_AFFINITY: return &affinity;
    case PLUGIN_NODE_AFFINITY: return &node_affinity;
    case PLUGIN_NODE_RESOURCES_FIT: return &fit;
    case PLUGIN_NODE_RESOURCES_BALANCED_ALLOCATION: return &balanced;
    case PLUGIN_POD_TOPOLOGY_SPREAD: return &spread;
    case PLUGIN_VOLUME_BINDING: return &volumes;
    case PLUGIN_DYNAMIC_RESOURCES: return &claims;
    default: return NULL;
    }
}
