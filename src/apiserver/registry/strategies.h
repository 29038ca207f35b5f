/* The strategies that have rules of their own, one array a file of this folder. */
#ifndef CKUBE_APISERVER_REGISTRY_STRATEGIES_H
#define CKUBE_APISERVER_REGISTRY_STRATEGIES_H
#include "apiserver/registry.h"

extern const struct strategy *const special_strategies[];
extern const size_t special_strategies_len;
/* Those outside core, apps, batch and rbac: groups.c. */
extern const struct strategy *const group_strategies[];
extern const size_t group_strategies_len;

extern const struct strategy configmap_strategy, secret_strategy, namespace_strategy, namespace_finalize_strategy, node_strategy, pod_strategy, pod_ephemeral_strategy, pod_binding_strategy, pod_resize_strategy,
    service_strategy, endpoints_strategy, event_strategy,
    serviceaccount_strategy, replicationcontroller_strategy, podtemplate_strategy, limitrange_strategy, resourcequota_strategy, persistentvolume_strategy, persistentvolumeclaim_strategy;
extern const struct strategy deployment_strategy, replicaset_strategy, statefulset_strategy, daemonset_strategy, controllerrevision_strategy;
extern const struct strategy job_strategy, cronjob_strategy;
extern const struct strategy csr_strategy, csr_approval_strategy;
extern const struct strategy role_strategy, clusterrole_strategy, rolebinding_strategy, clusterrolebinding_strategy;
extern const struct strategy customresourcedefinition_strategy;
/* A Pod's status.qosClass, by what its containers request and are limited to. Upstream: helper/qos ComputePodQOS. */
const char *compute_pod_qos(const struct corev1_PodSpec *s);

/* ---- pod_fields.c: `old` is what is written over, NULL at creation ---- */

/* Fields whose gates are off, of Pods and of templates (NULL: there is none). */
void pod_spec_drop_disabled(struct corev1_PodSpec *s, const struct corev1_PodSpec *old);
void pod_status_drop_disabled(struct corev1_PodStatus *s, const struct corev1_PodStatus *old);
/* Makes fields of AppArmor's old annotations, and warns of them. */
void pod_apply_app_armor(struct api_request *r, struct corev1_Pod *pod);
#endif
