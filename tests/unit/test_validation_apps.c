/* What is wrong with workloads, in upstream's words and order. */
#include "api/validation/apps.h"
#include "validation_testing.h"

#define TEMPLATE "'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}}"
#define WORKLOAD(spec) "{'metadata':{'name':'w','namespace':'n'},'spec':{'selector':{'matchLabels':{'a':'b'}}," TEMPLATE spec "}}"
#define STATUS(status) "{'metadata':{'name':'w','namespace':'n'},'spec':{'selector':{'matchLabels':{'a':'b'}}," TEMPLATE "},'status':{" status "}}"

static void deployments(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {WORKLOAD(""), ""},
        {WORKLOAD(",'replicas':-1,'minReadySeconds':-1,'revisionHistoryLimit':-1,'progressDeadlineSeconds':0"), "spec.replicas: Invalid value: -1: must be greater than or equal to 0 | spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0 | spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"},
        {WORKLOAD(",'progressDeadlineSeconds':5,'minReadySeconds':5"), "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"},
        {WORKLOAD(",'strategy':{'type':'Odd'}"), "spec.strategy: Unsupported value: {\"Type\":\"Odd\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\""},
        {WORKLOAD(",'strategy':{'type':'Recreate','rollingUpdate':{'maxSurge':1}}"), "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"},
        {WORKLOAD(",'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':0}}"), "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"},
        {WORKLOAD(",'strategy':{'rollingUpdate':{'maxSurge':'x%','maxUnavailable':'101%'}}"), "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x%\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%') | spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"},
        {"{'metadata':{'name':'w','namespace':'n'},'spec':{'selector':{'matchLabels':{'x':'y'}}," TEMPLATE "}}", "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
        {WORKLOAD(",'strategy':{'type':'Odd','rollingUpdate':{'maxSurge':1}}"), "spec.strategy: Unsupported value: {\"Type\":\"Odd\",\"RollingUpdate\":{\"MaxUnavailable\":0,\"MaxSurge\":1}}: supported values: \"Recreate\", \"RollingUpdate\""},
        {"{'metadata':{'name':'w','namespace':'n'},'spec':{'selector':{'matchLabels':{'a':'b b'}}," TEMPLATE "}}", "spec.selector.matchLabels: Invalid value: \"b b\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?') | spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b b\"}}: invalid label selector"},
        {"{'metadata':{'name':'w','namespace':'n'},'spec':{'selector':{}," TEMPLATE "}}", "spec.selector: Invalid value: {}: empty selector is invalid for deployment"},
        {"{'metadata':{'name':'w','namespace':'n'},'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'restartPolicy':'Never','activeDeadlineSeconds':5,'containers':[{'name':'c','image':'i'}]}}}}", "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\" | spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"},
    };
    CHECK_CREATIONS(appsv1_Deployment_desc, validate_deployment, cases);
}

static void selectors_stay(void **state UNUSED) {
    static const struct update_case cases[] = {
        {WORKLOAD(""), WORKLOAD(",'replicas':3"), ""},
        {WORKLOAD(""), "{'metadata':{'name':'w','namespace':'n'},'spec':{'selector':{'matchLabels':{'a':'b','c':'d'}},'template':{'metadata':{'labels':{'a':'b','c':'d'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}", "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable"},
    };
    CHECK_UPDATES(appsv1_Deployment_desc, validate_deployment_update, cases);
    CHECK_UPDATES(appsv1_ReplicaSet_desc, validate_replicaset_update, cases);
    CHECK_UPDATES(appsv1_DaemonSet_desc, validate_daemonset_update, cases);
}

static void stateful_sets(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {WORKLOAD(""), ""},
        {WORKLOAD(",'podManagementPolicy':'Odd','replicas':-2,'minReadySeconds':-1"), "spec.podManagementPolicy: Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel' | spec.replicas: Invalid value: -2: must be greater than or equal to 0 | spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"},
        {WORKLOAD(",'updateStrategy':{'type':'OnDelete','rollingUpdate':{'partition':1}}"), "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'"},
        {WORKLOAD(",'updateStrategy':{'rollingUpdate':{'partition':-1,'maxUnavailable':0}}"), "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0 | spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"},
        {WORKLOAD(",'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'Keep'}"), "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"Keep\": supported values: \"Retain\", \"Delete\""},
        {WORKLOAD(",'ordinals':{'start':-1}"), "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"},
    };
    CHECK_CREATIONS(appsv1_StatefulSet_desc, validate_statefulset, cases);
}

static void stateful_sets_change(void **state UNUSED) {
    static const struct update_case cases[] = {
        {WORKLOAD(""), WORKLOAD(",'replicas':5,'minReadySeconds':3,'ordinals':{'start':2}"), ""},
        {WORKLOAD(""), WORKLOAD(",'serviceName':'s'"), "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"},
        {WORKLOAD(""), WORKLOAD(",'podManagementPolicy':'Parallel'"), "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"},
    };
    CHECK_UPDATES(appsv1_StatefulSet_desc, validate_statefulset_update, cases);
}

static void daemon_sets(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {WORKLOAD(""), ""},
        {WORKLOAD(",'updateStrategy':{'type':'Odd'}"), "spec.updateStrategy: Unsupported value: {\"Type\":\"Odd\",\"RollingUpdate\":null}: supported values: \"RollingUpdate\", \"OnDelete\""},
        {WORKLOAD(",'updateStrategy':{'rollingUpdate':{'maxSurge':1,'maxUnavailable':1}}"), "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"},
        {WORKLOAD(",'updateStrategy':{'rollingUpdate':{'maxUnavailable':0}}"), "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"},
    };
    CHECK_CREATIONS(appsv1_DaemonSet_desc, validate_daemonset, cases);
}

static void statuses(void **state UNUSED) {
    static const struct update_case cases[] = {
        {STATUS(""), STATUS("'replicas':2,'updatedReplicas':1,'readyReplicas':1,'availableReplicas':1"), ""},
        {STATUS(""), STATUS("'replicas':1,'updatedReplicas':2,'readyReplicas':3,'availableReplicas':4"), "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas | status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas | status.availableReplicas: Invalid value: 4: cannot be greater than status.replicas | status.availableReplicas: Invalid value: 4: cannot be greater than readyReplicas"},
        {STATUS("'collisionCount':2"), STATUS("'collisionCount':1"), "status.collisionCount: Invalid value: 1: cannot be decremented"},
        {STATUS(""), STATUS("'replicas':-1,'unavailableReplicas':-1,'observedGeneration':-1"), "status.observedGeneration: Invalid value: -1: must be greater than or equal to 0 | status.replicas: Invalid value: -1: must be greater than or equal to 0 | status.unavailableReplicas: Invalid value: -1: must be greater than or equal to 0 | status.updatedReplicas: Invalid value: 0: cannot be greater than status.replicas | status.readyReplicas: Invalid value: 0: cannot be greater than status.replicas | status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas"},
    };
    CHECK_UPDATES(appsv1_Deployment_desc, validate_deployment_status_update, cases);
}

static void replication_controllers(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {"{'metadata':{'name':'r','namespace':'n'},'spec':{" TEMPLATE "}}", ""},
        {"{'metadata':{'name':'r','namespace':'n'},'spec':{}}", "spec.selector: Required value | spec.template: Required value"},
        {"{'metadata':{'name':'r','namespace':'n'},'spec':{'replicas':-1,'selector':{'x':'y'}," TEMPLATE "}}", "spec.replicas: Invalid value: -1: must be greater than or equal to 0 | spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
    };
    CHECK_CREATIONS(corev1_ReplicationController_desc, validate_replicationcontroller, cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(deployments), cmocka_unit_test(selectors_stay), cmocka_unit_test(stateful_sets), cmocka_unit_test(stateful_sets_change), cmocka_unit_test(daemon_sets),
                                       cmocka_unit_test(statuses), cmocka_unit_test(replication_controllers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
