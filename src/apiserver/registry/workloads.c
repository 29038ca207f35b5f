/* The list of all strategies with rules of their own. core/v1 is in core.c, pod.c and service.c, apps/v1 in apps.c, batch/v1 in batch.c; the list of the other groups is in groups.c. */
#include "apiserver/registry/strategies.h"

const struct strategy *const special_strategies[] = {
    &configmap_strategy, &secret_strategy, &namespace_strategy, &node_strategy, &pod_strategy, &service_strategy, &endpoints_strategy, &event_strategy, &serviceaccount_strategy, &replicationcontroller_strategy,
    &podtemplate_strategy, &limitrange_strategy, &resourcequota_strategy, &persistentvolume_strategy, &persistentvolumeclaim_strategy, &deployment_strategy, &replicaset_strategy, &statefulset_strategy,
    &daemonset_strategy, &controllerrevision_strategy, &job_strategy, &cronjob_strategy, &role_strategy, &clusterrole_strategy,
    &rolebinding_strategy, &clusterrolebinding_strategy, &csr_strategy, &customresourcedefinition_strategy};
const size_t special_strategies_len = ARRAY_LEN(special_strategies);
