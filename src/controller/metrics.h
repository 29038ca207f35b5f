/* What single controllers count of their own work, in upstream's names, labels and buckets; of the process, and told at /metrics by whoever serves it
 * (controller_metrics_put). What names objects is forgotten with them. Upstream: each controller's metrics.go. Tests: tests/unit/test_controller_*.c, tests/integration/test_metrics.py. */
#ifndef CKUBE_CONTROLLER_METRICS_H
#define CKUBE_CONTROLLER_METRICS_H
#include "base/macros.h"
#include "base/metric_family.h"

/* COUNTER and GAUGE: id, name, help; EXPONENTIAL: and the first bound, the factor, how many; BOUNDS: and the bounds. */
#define CONTROLLER_METRICS(COUNTER, GAUGE, EXPONENTIAL, BOUNDS) \
    COUNTER(root_ca_syncs, "root_ca_cert_publisher_sync_total", "[ALPHA] Namespaces that were looked at for their ConfigMap with the root authority, by what came of it.") \
    EXPONENTIAL(root_ca_sync_duration, "root_ca_cert_publisher_sync_duration_seconds", "[ALPHA] How long that took, by what came of it.", .001, 2, 15) \
    EXPONENTIAL(cronjob_skew, "cronjob_controller_job_creation_skew_duration_seconds", "[STABLE] Time from when a CronJob is due to when its Job was created.", 1, 2, 10) \
    COUNTER(job_syncs, "job_controller_job_syncs_total", "[STABLE] Looks at Jobs, by completion mode, what came of it, and what was done.") \
    EXPONENTIAL(job_sync_duration, "job_controller_job_sync_duration_seconds", "[STABLE] How long a look at a Job took.", .004, 2, 15) \
    COUNTER(jobs_finished, "job_controller_jobs_finished_total", "[STABLE] Jobs that have ended, by completion mode, how they ended, and why.") \
    COUNTER(jobs_elsewhere, "job_controller_jobs_by_external_controller_total", "[ALPHA] Jobs that another controller manages, by its name.") \
    COUNTER(job_pods_finished, "job_controller_job_pods_finished_total", "[STABLE] Pods of Jobs that have ended and were counted.") \
    COUNTER(job_failure_policy, "job_controller_pod_failures_handled_by_failure_policy_total", "[BETA] Failed Pods of Jobs that a rule of the failure policy applied to, by its action.") \
    COUNTER(job_tracking, "job_controller_terminated_pods_tracking_finalizer_total", "[BETA] Pods that have ended and have come to have, or lost, the finalizer by which Jobs count them.") \
    COUNTER(job_indexes, "job_controller_job_finished_indexes_total", "[ALPHA] Indexes of Jobs that have ended, by how, and by whether back-off is limited for each index.") \
    COUNTER(job_pods_created, "job_controller_job_pods_creation_total", "[ALPHA] Pods that were created for Jobs, by why and whether that worked.") \
    COUNTER(job_stale, "job_controller_stale_sync_skips_total", "[ALPHA] Looks at Jobs that were put off because the cache had not the controller's own writes yet.") \
    COUNTER(slice_changes, "endpoint_slice_controller_changes", "[ALPHA] EndpointSlices that were written, by operation.") \
    COUNTER(slice_syncs, "endpoint_slice_controller_syncs", "[ALPHA] Looks at Services for their EndpointSlices, by what came of it.") \
    BOUNDS(slices_changed, "endpoint_slice_controller_endpointslices_changed_per_sync", "[ALPHA] EndpointSlices that one look at a Service changed.", .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10) \
    EXPONENTIAL(ttl_deletion, "ttl_after_finished_controller_job_deletion_duration_seconds", "[ALPHA] Time from when a finished Job was to go to when it was deleted.", .1, 2, 14) \
    COUNTER(ephemeral_creates, "ephemeral_volume_controller_create_total", "[ALPHA] Claims for ephemeral volumes that were to be created.") \
    COUNTER(ephemeral_failures, "ephemeral_volume_controller_create_failures_total", "[ALPHA] Claims for ephemeral volumes that could not be created.") \
    COUNTER(claim_creates, "resourceclaim_controller_creates_total", "[ALPHA] ResourceClaims that were to be created, by whether that worked and whether they ask for admin access.") \
    COUNTER(taint_deletions, "taint_eviction_controller_pod_deletions_total", "[ALPHA] Pods that were deleted because of their Node's taints.") \
    BOUNDS(taint_deletion_duration, "taint_eviction_controller_pod_deletion_duration_seconds", "[ALPHA] Time from when a taint had its effect on a Pod to the Pod's deletion.", EVICTION_BOUNDS) \
    COUNTER(device_taint_deletions, "device_taint_eviction_controller_pod_deletions_total", "[ALPHA] Pods that were deleted because of taints of their devices.") \
    BOUNDS(device_taint_deletion_duration, "device_taint_eviction_controller_pod_deletion_duration_seconds", "[ALPHA] Time from when a device's taint had its effect on a Pod to the Pod's deletion.", EVICTION_BOUNDS) \
    COUNTER(pod_gc_deletions, "pod_gc_collector_force_delete_pods_total", "[ALPHA] Pods that were deleted by force, by namespace and why.") \
    COUNTER(pod_gc_errors, "pod_gc_collector_force_delete_pod_errors_total", "[ALPHA] Pods that could not be deleted by force, by namespace and why they should have been.") \
    GAUGE(zone_health, "node_collector_zone_health", "[ALPHA] Share of a zone's Nodes that are ready, in percent.") \
    GAUGE(zone_size, "node_collector_zone_size", "[ALPHA] Nodes of a zone.") \
    GAUGE(zone_unhealthy, "node_collector_unhealthy_nodes_in_zone", "[ALPHA] Nodes of a zone that are not ready.") \
    COUNTER(node_evictions, "node_collector_evictions_total", "[STABLE] Nodes whose Pods were to leave, by zone.") \
    EXPONENTIAL(node_health, "node_collector_update_node_health_duration_seconds", "[ALPHA] How long a look at one Node's health took.", .001, 4, 8) \
    EXPONENTIAL(nodes_health, "node_collector_update_all_nodes_health_duration_seconds", "[ALPHA] How long a look at all Nodes' health took.", .01, 4, 8) \
    COUNTER(cidr_allocations, "node_ipam_controller_cidrset_cidrs_allocations_total", "[ALPHA] Parts of the cluster's range that were given to Nodes.") \
    COUNTER(cidr_releases, "node_ipam_controller_cidrset_cidrs_releases_total", "[ALPHA] Parts of the cluster's range that were given back.") \
    GAUGE(cidr_max, "node_ipam_controller_cirdset_max_cidrs", "[ALPHA] Parts that the cluster's range has.") \
    GAUGE(cidr_usage, "node_ipam_controller_cidrset_usage_cidrs", "[ALPHA] Share of the cluster's range that is given away.") \
    EXPONENTIAL(cidr_tries, "node_ipam_controller_cidrset_allocation_tries_per_request", "[ALPHA] Parts that were taken already before a free one was found.", 1, 5, 5) \
    COUNTER(hpa_syncs, "horizontal_pod_autoscaler_controller_reconciliations_total", "[BETA] Looks at autoscalers, by what was done and what was wrong.") \
    EXPONENTIAL(hpa_sync_duration, "horizontal_pod_autoscaler_controller_reconciliation_duration_seconds", "[BETA] How long a look at an autoscaler took.", .001, 2, 15) \
    COUNTER(hpa_computations, "horizontal_pod_autoscaler_controller_metric_computation_total", "[BETA] Replica counts that were computed from one metric, by what it asks for, what was wrong, and the metric's type.") \
    EXPONENTIAL(hpa_computation_duration, "horizontal_pod_autoscaler_controller_metric_computation_duration_seconds", "[BETA] How long computing a replica count from one metric took.", .001, 2, 15) \
    GAUGE(hpa_number, "horizontal_pod_autoscaler_controller_num_horizontal_pod_autoscalers", "[ALPHA] Autoscalers that are looked after.") \
    GAUGE(hpa_desired, "horizontal_pod_autoscaler_controller_desired_replicas", "[ALPHA] Replicas that an autoscaler wants.") \
    EXPONENTIAL(deletion_age_ratio, "replicaset_controller_sorting_deletion_age_ratio", "[ALPHA] Age of ready Pods that were chosen to go, as a multiple of the youngest ready Pod's; good choices are below 2.", .25, 2, 6) \
    GAUGE(stateful_max_unavailable, "statefulset_controller_statefulset_max_unavailable", "[ALPHA] Pods that may be unavailable while a StatefulSet is updated.") \
    GAUGE(stateful_unavailable, "statefulset_controller_statefulset_unavailable_replicas", "[ALPHA] Pods of a StatefulSet that are missing or not available.") \
    COUNTER(garbage_sync_errors, "garbagecollector_controller_resources_sync_error_total", "[ALPHA] Times that the garbage collector could not find out which resources there are.") \
    GAUGE(running, "running_managed_controllers", "[BETA] Which controllers run here.")

#define CONTROLLER_METRIC(id, ...) extern struct metric_family metrics_##id;
CONTROLLER_METRICS(CONTROLLER_METRIC, CONTROLLER_METRIC, CONTROLLER_METRIC, CONTROLLER_METRIC)
#undef CONTROLLER_METRIC

/* Labels as for printf: `zone="%s"`; "%s" and "" for none. */
void controller_metric_add(struct metric_family *f, double value, const char *labels, ...) PRINTF_LIKE(3, 4);
void controller_metric_set(struct metric_family *f, double value, const char *labels, ...) PRINTF_LIKE(3, 4);
void controller_metric_observe(struct metric_family *f, double value, const char *labels, ...) PRINTF_LIKE(3, 4);
void controller_metric_drop(struct metric_family *f, const char *labels, ...) PRINTF_LIKE(2, 3);
void controller_metrics_put(void *data, struct buf *out); /* for metrics_source_add; data is not looked at */
#endif
