/* The table of admission plugins. Upstream: pkg/kubeapiserver/options/plugins.go, AllOrderedPlugins and DefaultOffAdmissionPlugins. */
#include "apiserver/admission/plugins.h"
#include "base/str.h"

#define TYPES(...) (const struct type_desc *const[]){__VA_ARGS__, NULL}
#define PODS TYPES(&corev1_Pod_desc)
#define WRITES (ON_CREATE | ON_UPDATE)

/* Rows without functions: AlwaysAdmit, and upstream's plugins whose feature gate is off by default (GenericWorkload, WorkloadWithJob). */
const struct admission_plugin admission_plugins[] = {
    {.name = "AlwaysAdmit"},
    {.name = "NamespaceAutoProvision", .operations = ON_CREATE, .mutate = namespace_auto_provision},
    {.name = "NamespaceLifecycle", .on = true, .operations = WRITES | ON_DELETE, .mutate = namespace_lifecycle},
    {.name = "NamespaceExists", .operations = WRITES | ON_DELETE, .validate = namespace_exists},
    {.name = "LimitPodHardAntiAffinityTopology", .operations = WRITES, .types = PODS, .validate = limit_hard_anti_affinity},
    {.name = "LimitRanger", .on = true, .operations = WRITES, .types = TYPES(&corev1_Pod_desc, &corev1_PersistentVolumeClaim_desc), .mutate = limit_range_mutate, .validate = limit_range_validate},
    {.name = "ServiceAccount", .on = true, .operations = WRITES, .types = PODS, .mutate = service_account_mutate, .validate = service_account_validate},
    /* On here, as the Node authorizer is: it decides whom a kubelet may ask for, this what it may write. */
    {.name = "NodeRestriction", .on = true, .operations = WRITES | ON_DELETE, .mutate = node_restriction,
     .types = TYPES(&corev1_Pod_desc, &corev1_Node_desc, &corev1_PersistentVolumeClaim_desc, &coordinationv1_Lease_desc, &storagev1_CSINode_desc, &resourcev1_ResourceSlice_desc, &policyv1_Eviction_desc,
                    &authenticationv1_TokenRequest_desc, &certificatesv1_CertificateSigningRequest_desc, &certificatesv1beta1_PodCertificateRequest_desc)},
    {.name = "TaintNodesByCondition", .on = true, .operations = ON_CREATE, .types = TYPES(&corev1_Node_desc), .mutate = taint_nodes_by_condition},
    {.name = "AlwaysPullImages", .operations = WRITES, .types = PODS, .mutate = always_pull_images_mutate, .validate = always_pull_images_validate},
    {.name = "ImagePolicyWebhook", .operations = WRITES, .types = PODS, .validate = image_policy, .setup = image_policy_setup, .release = image_policy_release},
    {.name = "PodSecurity", .on = true, .operations = WRITES, .validate = pod_security, .setup = pod_security_setup,
     .types = TYPES(&corev1_Pod_desc, &corev1_Namespace_desc, &corev1_ReplicationController_desc, &corev1_PodTemplate_desc, &appsv1_ReplicaSet_desc, &appsv1_Deployment_desc, &appsv1_StatefulSet_desc,
                    &appsv1_DaemonSet_desc, &batchv1_Job_desc, &batchv1_CronJob_desc)},
    {.name = "PodNodeSelector", .operations = ON_CREATE, .types = PODS, .mutate = pod_node_selector_mutate, .validate = pod_node_selector_validate, .setup = pod_node_selector_setup},
    {.name = "Priority", .on = true, .operations = WRITES | ON_DELETE, .types = TYPES(&corev1_Pod_desc, &schedulingv1_PriorityClass_desc), .mutate = priority_mutate, .validate = priority_validate},
    {.name = "DefaultTolerationSeconds", .on = true, .operations = WRITES, .types = PODS, .mutate = default_tolerations, .setup = default_tolerations_setup},
    {.name = "PodTolerationRestriction", .operations = WRITES, .types = PODS, .mutate = pod_toleration_restriction_mutate, .validate = pod_toleration_restriction_validate, .setup = pod_toleration_restriction_setup},
    {.name = "EventRateLimit", .operations = WRITES, .types = TYPES(&corev1_Event_desc, &eventsv1_Event_desc), .validate = event_rate_limit, .setup = event_rate_limit_setup, .release = event_rate_limit_release},
    {.name = "ExtendedResourceToleration", .operations = WRITES, .types = PODS, .mutate = extended_resource_toleration},
    {.name = "DefaultStorageClass", .on = true, .operations = ON_CREATE, .types = TYPES(&corev1_PersistentVolumeClaim_desc), .mutate = default_storage_class},
    {.name = "StorageObjectInUseProtection", .on = true, .operations = ON_CREATE, .mutate = storage_object_in_use_protection,
     .types = TYPES(&corev1_PersistentVolumeClaim_desc, &corev1_PersistentVolume_desc, &storagev1_VolumeAttributesClass_desc)},
    {.name = "PodGroupProtection", .on = true},
    {.name = "OwnerReferencesPermissionEnforcement", .operations = WRITES, .validate = owner_references_validate},
    {.name = "PersistentVolumeClaimResize", .on = true, .operations = ON_UPDATE, .types = TYPES(&corev1_PersistentVolumeClaim_desc), .validate = claim_resize},
    {.name = "RuntimeClass", .on = true, .operations = ON_CREATE, .types = PODS, .mutate = runtime_class_mutate, .validate = runtime_class_validate},
    {.name = "CertificateApproval", .on = true, .operations = ON_UPDATE, .types = TYPES(&certificatesv1_CertificateSigningRequest_desc), .validate = certificate_approval},
    {.name = "CertificateSigning", .on = true, .operations = ON_UPDATE, .types = TYPES(&certificatesv1_CertificateSigningRequest_desc), .validate = certificate_signing},
    {.name = "ClusterTrustBundleAttest", .on = true, .operations = WRITES, .types = TYPES(&certificatesv1beta1_ClusterTrustBundle_desc), .validate = cluster_trust_bundle_attest},
    {.name = "CertificateSubjectRestriction", .on = true, .operations = ON_CREATE, .types = TYPES(&certificatesv1_CertificateSigningRequest_desc), .validate = certificate_subject_restriction},
    {.name = "DefaultIngressClass", .on = true, .operations = ON_CREATE, .types = TYPES(&networkingv1_Ingress_desc), .mutate = default_ingress_class},
    {.name = "DenyServiceExternalIPs", .operations = WRITES, .types = TYPES(&corev1_Service_desc), .validate = deny_service_external_ips},
    {.name = "PodTopologyLabels", .on = true, .operations = ON_CREATE, .types = TYPES(&corev1_Pod_desc, &corev1_Binding_desc), .mutate = pod_topology_labels},
    {.name = "PodGroupWorkloadExists", .on = true},
    {.name = "NodeDeclaredFeatureValidator", .on = true, .operations = ON_UPDATE, .types = PODS, .validate = node_declared_features_validate},
    {.name = "JobValidation", .on = true},
    {.name = "PodResizeValidator", .on = true, .operations = ON_UPDATE, .types = PODS, .validate = pod_resize_validate},
    /* What users configure, then what counts and denies, at the end. */
    {.name = "MutatingAdmissionPolicy", .on = true, .operations = WRITES | ON_DELETE | ON_CONNECT, .mutate = mutating_policies, .setup = registrations_setup},
    {.name = "MutatingAdmissionWebhook", .on = true, .operations = WRITES | ON_DELETE | ON_CONNECT, .mutate = mutating_webhooks, .setup = registrations_setup},
    {.name = "ValidatingAdmissionPolicy", .on = true, .operations = WRITES | ON_DELETE | ON_CONNECT, .validate = validating_policies, .setup = registrations_setup},
    {.name = "ValidatingAdmissionWebhook", .on = true, .operations = WRITES | ON_DELETE | ON_CONNECT, .validate = validating_webhooks, .setup = registrations_setup},
    {.name = "ResourceQuota", .on = true, .operations = WRITES, .validate = quota_admit},
    {.name = "AlwaysDeny", .operations = WRITES | ON_DELETE | ON_CONNECT, .mutate = always_deny, .validate = always_deny},
    {.name = NULL},
};

const struct admission_plugin *admission_plugin_find(const char *name) {
    for (const struct admission_plugin *p = admission_plugins; p->name; p++)
        if (str_eq(p->name, name)) return p;
    return NULL;
}
