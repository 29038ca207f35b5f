/* Validation of core/v1 kinds. Upstream: pkg/apis/core/validation. Each appends what is wrong, in upstream's words. */
#ifndef CKUBE_API_VALIDATION_CORE_H
#define CKUBE_API_VALIDATION_CORE_H
#include "api/field_error.h"
#include "api/object.h"

void validate_configmap(const void *obj, struct field_errors *errs);
void validate_configmap_update(const void *obj, const void *old, struct field_errors *errs);
void validate_secret(const void *obj, struct field_errors *errs);
void validate_secret_update(const void *obj, const void *old, struct field_errors *errs);
void validate_node(const void *obj, struct field_errors *errs);
void validate_node_update(const void *obj, const void *old, struct field_errors *errs);
void validate_node_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_namespace(const void *obj, struct field_errors *errs);
void validate_namespace_update(const void *obj, const void *old, struct field_errors *errs);
void validate_namespace_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_namespace_finalize_update(const void *obj, const void *old, struct field_errors *errs);
void validate_endpoints(const void *obj, struct field_errors *errs);
void validate_endpoints_update(const void *obj, const void *old, struct field_errors *errs);
/* core/v1's, and the strict ones of events.k8s.io/v1; all of the stored form, which is core's. */
void validate_event(const void *obj, struct field_errors *errs);
void validate_event_update(const void *obj, const void *old, struct field_errors *errs);
void validate_events_event(const void *obj, struct field_errors *errs);
void validate_events_event_update(const void *obj, const void *old, struct field_errors *errs);
void validate_service(const void *obj, struct field_errors *errs);
void validate_service_update(const void *obj, const void *old, struct field_errors *errs);
void validate_pod(const void *obj, struct field_errors *errs);
void validate_pod_update(const void *obj, const void *old, struct field_errors *errs);
void validate_pod_status_update(const void *obj, const void *old, struct field_errors *errs);
/* qos_*: the QOS classes of both. */
void validate_pod_resize(const void *obj, const void *old, const char *qos_before, const char *qos_after, struct field_errors *errs);
void validate_pod_ephemeral_update(const void *obj, const void *old, struct field_errors *errs);
/* A Pod's spec wherever it stands: in Pods and in templates. */
void validate_pod_spec(const struct corev1_PodSpec *spec, const struct metav1_ObjectMeta *meta, const struct field_path *at, bool is_template, struct field_errors *errs);
void validate_pod_template(const struct corev1_PodTemplateSpec *t, const struct field_path *at, struct field_errors *errs);
void validate_persistent_volume(const void *obj, struct field_errors *errs);
void validate_persistent_volume_update(const void *obj, const void *old, struct field_errors *errs);
void validate_persistent_volume_claim(const void *obj, struct field_errors *errs);
void validate_persistent_volume_claim_update(const void *obj, const void *old, struct field_errors *errs);
void validate_persistent_volume_claim_status_update(const void *obj, const void *old, struct field_errors *errs);
/* A claim's spec wherever it stands: in claims, in templates of StatefulSets and of ephemeral volumes. */
void validate_claim_spec(const struct corev1_PersistentVolumeClaimSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_service_status_update(const void *obj, const void *old, struct field_errors *errs);
/* A Service's addresses and families against each other: the allocator asks before it gives any out. */
void validate_service_cluster_ips(const struct corev1_Service *s, const struct corev1_Service *old, struct field_errors *errs);
/* An address that Endpoints may have: none of the machine's own. */
void validate_endpoint_ip(const char *ip, const struct field_path *at, struct field_errors *errs);
/* The volume that a VolumeAttachment carries itself. */
void validate_inline_volume_spec(const struct corev1_PersistentVolumeSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_resource_quota(const void *obj, struct field_errors *errs);
void validate_resource_quota_update(const void *obj, const void *old, struct field_errors *errs);
void validate_resource_quota_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_limit_range(const void *obj, struct field_errors *errs);
void validate_limit_range_update(const void *obj, const void *old, struct field_errors *errs);
#endif
