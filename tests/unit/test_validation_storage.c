/* What is wrong with PersistentVolumes and claims, in upstream's words and order. */
#include "api/validation/core.h"
#include "validation_testing.h"

#define PV(spec) "{'metadata':{'name':'v'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce']" spec "}}"
#define PVC(spec) "{'metadata':{'name':'c','namespace':'n'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}" spec "}}"

static void volumes(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {PV(",'hostPath':{'path':'/x'}"), ""},
        {PV(""), "spec: Required value: must specify a volume type"},
        {PV(",'hostPath':{'path':'/x'},'nfs':{'server':'s','path':'/p'}"), "spec.nfs: Forbidden: may not specify more than 1 volume type"},
        {PV(",'hostPath':{'path':'/..'}"), "spec.hostPath.path: Invalid value: \"/..\": must not contain '..'"},
        {PV(",'hostPath':{'path':'/'},'persistentVolumeReclaimPolicy':'Recycle'"), "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"},
        {PV(",'nfs':{'server':'','path':'p'}"), "spec.nfs.server: Required value | spec.nfs.path: Invalid value: \"p\": must be an absolute path"},
        {PV(",'csi':{'driver':'','volumeHandle':''}"), "spec.csi.driver: Required value | spec.csi.volumeHandle: Required value"},
        {PV(",'local':{'path':'/x'}"), "spec.nodeAffinity: Required value: Local volume requires node affinity"},
        {PV(",'hostPath':{'path':'/x'},'volumeMode':'Odd','persistentVolumeReclaimPolicy':'Keep'"), "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Keep\": supported values: \"Delete\", \"Recycle\", \"Retain\" | spec.volumeMode: Unsupported value: \"Odd\": supported values: \"Block\", \"Filesystem\""},
        {"{'metadata':{'name':'v'},'spec':{'hostPath':{'path':'/x'}}}", "spec.accessModes: Required value | spec.capacity: Required value | spec.capacity: Unsupported value: null: supported values: \"storage\""},
        {"{'metadata':{'name':'v'},'spec':{'capacity':{'storage':'0','cpu':'1'},'accessModes':['Odd'],'hostPath':{'path':'/x'}}}", "spec.accessModes: Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\" | spec.capacity: Unsupported value: {\"cpu\":\"1\",\"storage\":\"0\"}: supported values: \"storage\" | spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"},
        {"{'metadata':{'name':'v'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOncePod','ReadWriteOnce'],'hostPath':{'path':'/x'}}}", "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"},
    };
    CHECK_CREATIONS(corev1_PersistentVolume_desc, validate_persistent_volume, cases);
}

static void volumes_change(void **state UNUSED) {
    static const struct update_case cases[] = {
        {PV(",'hostPath':{'path':'/x'}"), PV(",'hostPath':{'path':'/x'},'persistentVolumeReclaimPolicy':'Delete'"), ""},
        {PV(",'nfs':{'server':'s','path':'/x'}"), PV(",'nfs':{'server':'s','path':'/x'},'volumeMode':'Block'"), "volumeMode: Invalid value: \"Block\": field is immutable"},
    };
    CHECK_UPDATES(corev1_PersistentVolume_desc, validate_persistent_volume_update, cases);
}

static void claims(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {PVC(""), ""},
        {PVC(",'storageClassName':'A','volumeMode':'Odd'"), "spec.storageClassName: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*') | spec.volumeMode: Unsupported value: \"Odd\": supported values: \"Block\", \"Filesystem\""},
        {PVC(",'dataSource':{'kind':'PersistentVolumeClaim','name':''}"), "spec.dataSource.name: Required value"},
        {PVC(",'dataSource':{'kind':'PersistentVolumeClaim','name':'x'},'dataSourceRef':{'kind':'PersistentVolumeClaim','name':'y'}"), "spec: Invalid value: {}: must match dataSourceRef"},
        {PVC(",'selector':{'matchExpressions':[{'key':'a','operator':'Odd'}]}"), "spec.selector.matchExpressions[0].operator: Invalid value: \"Odd\": not a valid selector operator"},
        {"{'metadata':{'name':'c','namespace':'n'},'spec':{}}", "spec.accessModes: Required value: at least 1 access mode is required | spec.resources[storage]: Required value"},
        {"{'metadata':{'name':'c','namespace':'n'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'-1'}}}}", "spec.resources[storage]: Invalid value: \"-1\": must be greater than zero"},
    };
    CHECK_CREATIONS(corev1_PersistentVolumeClaim_desc, validate_persistent_volume_claim, cases);
}

static void claims_change(void **state UNUSED) {
    static const struct update_case cases[] = {
        {PVC(""), PVC(",'volumeName':'v'"), ""},
        {PVC(",'dataSource':{'apiGroup':'a','kind':'K','name':'n'}"), PVC(",'dataSource':{'apiGroup':'a b','kind':'K','name':'n'}"), "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"},
        {PVC(",'volumeName':'v'"), PVC(",'volumeName':'w'"), "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"},
    };
    CHECK_UPDATES(corev1_PersistentVolumeClaim_desc, validate_persistent_volume_claim_update, cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(volumes), cmocka_unit_test(volumes_change), cmocka_unit_test(claims), cmocka_unit_test(claims_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
