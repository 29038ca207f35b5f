/* Strategies of the smaller groups, and the list of all that have rules of their own. apps/v1 is in apps.c, batch/v1 in batch.c. */
#include <stdio.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

#define SPLIT_STATUS(name, T)                                                                                                                                        \
    static void name##_create(struct api_request *r UNUSED, void *obj) { memset(&((struct T *)obj)->status, 0, sizeof(((struct T *)obj)->status)); }                  \
    static void name##_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->status = ((const struct T *)old)->status; }              \
    static void name##_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->spec = ((const struct T *)old)->spec; }

const struct strategy lease_strategy = {.group = "coordination.k8s.io", .version = "v1", .resource = "leases", .type = &coordinationv1_Lease_desc, .flags = NO_UNCONDITIONAL_UPDATE};
const struct strategy endpointslice_strategy = {.group = "discovery.k8s.io", .version = "v1", .resource = "endpointslices", .type = &discoveryv1_EndpointSlice_desc, .flags = HAS_GENERATION};
SPLIT_STATUS(ingress, networkingv1_Ingress)
const struct strategy ingress_strategy = {.group = "networking.k8s.io", .version = "v1", .resource = "ingresses", .type = &networkingv1_Ingress_desc, .storage_prefix = "/registry/ingress", .flags = HAS_GENERATION,
    .prepare_create = ingress_create, .prepare_update = ingress_update, .prepare_status_update = ingress_status};
const struct strategy priorityclass_strategy = {.group = "scheduling.k8s.io", .version = "v1", .resource = "priorityclasses", .type = &schedulingv1_PriorityClass_desc, .flags = HAS_GENERATION};

const struct strategy *const special_strategies[] = {
    &configmap_strategy, &secret_strategy, &namespace_strategy, &node_strategy, &pod_strategy, &service_strategy, &endpoints_strategy, &event_strategy, &serviceaccount_strategy, &replicationcontroller_strategy,
    &podtemplate_strategy, &limitrange_strategy, &resourcequota_strategy, &persistentvolume_strategy, &persistentvolumeclaim_strategy, &deployment_strategy, &replicaset_strategy, &statefulset_strategy,
    &daemonset_strategy, &controllerrevision_strategy, &job_strategy, &cronjob_strategy, &lease_strategy, &endpointslice_strategy, &ingress_strategy, &priorityclass_strategy, &role_strategy, &clusterrole_strategy,
    &rolebinding_strategy, &clusterrolebinding_strategy, &csr_strategy};
const size_t special_strategies_len = ARRAY_LEN(special_strategies);
