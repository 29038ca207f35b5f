/* Every controller, in the order in which they start. A new one is a file with a struct controller_desc and a line here. */
#ifndef CKUBE_CONTROLLER_CONTROLLERS_H
#define CKUBE_CONTROLLER_CONTROLLERS_H
#include "controller/controller.h"

#define CONTROLLERS_ALL \
    CONTROLLER(serviceaccount) \
    CONTROLLER(root_ca_publisher) \
    CONTROLLER(service_account_tokens) \
    CONTROLLER(namespace) \
    CONTROLLER(node_ipam) \
    CONTROLLER(node_lifecycle) \
    CONTROLLER(taint_eviction) \
    CONTROLLER(endpoint_slice) \
    CONTROLLER(endpoints) \
    CONTROLLER(endpoint_slice_mirroring) \
    CONTROLLER(pvc_protection) \
    CONTROLLER(pv_protection) \
    CONTROLLER(vac_protection) \
    CONTROLLER(cluster_role_aggregation) \
    CONTROLLER(pod_gc) \
    CONTROLLER(ttl_after_finished) \
    CONTROLLER(ttl) \
    CONTROLLER(resource_quota) \
    CONTROLLER(persistent_volume_binder) \
    CONTROLLER(attach_detach) \
    CONTROLLER(ephemeral_volume) \
    CONTROLLER(resource_claim) \
    CONTROLLER(device_taint_eviction) \
    CONTROLLER(csr_approving) \
    CONTROLLER(csr_serving_approving) \
    CONTROLLER(csr_signing) \
    CONTROLLER(csr_cleaner) \
    CONTROLLER(service_cidr) \
    CONTROLLER(admission_policy_status) \
    CONTROLLER(volume_expand) \
    CONTROLLER(token_cleaner) \
    CONTROLLER(legacy_token_cleaner) \
    CONTROLLER(bootstrap_signer) \
    CONTROLLER(replicaset) \
    CONTROLLER(replication) \
    CONTROLLER(deployment) \
    CONTROLLER(daemon_set) \
    CONTROLLER(stateful_set) \
    CONTROLLER(job) \
    CONTROLLER(cronjob) \
    CONTROLLER(disruption) \
    CONTROLLER(horizontal) \
    CONTROLLER(garbage_collector)

#define CONTROLLER(id) extern const struct controller_desc controller_##id;
CONTROLLERS_ALL
#undef CONTROLLER
#endif
