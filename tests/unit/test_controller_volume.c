/* Volumes: what is used is not deleted. */
#include "controller_test.h"

#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define VOLUMES "/api/v1/persistentvolumes"

static void a_claim_that_a_pod_uses_stays(void **state UNUSED) {
    struct cluster *k = cluster_start("persistentvolumeclaim-protection-controller");
    cluster_create(k, "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'c','namespace':'default'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}");
    cluster_expect(k, CLAIMS "/c", "metadata.finalizers", "[\"kubernetes.io/pvc-protection\"]");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i'}],"
        "'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'c'}}]}}");
    cluster_delete(k, CLAIMS "/c", NULL);
    cluster_expect_still(k, CLAIMS "/c", "metadata.name", "c");
    cluster_delete(k, PODS "/p", "{'gracePeriodSeconds':0}");
    cluster_expect_gone(k, CLAIMS "/c");
    cluster_stop(k);
}

static void a_bound_volume_stays(void **state UNUSED) {
    struct cluster *k = cluster_start("persistentvolume-protection-controller");
    cluster_create(k, "{'apiVersion':'v1','kind':'PersistentVolume','metadata':{'name':'v'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['ReadWriteOnce'],'hostPath':{'path':'/tmp'}}}");
    cluster_expect(k, VOLUMES "/v", "metadata.finalizers", "[\"kubernetes.io/pv-protection\"]");
    cluster_patch(k, VOLUMES "/v/status", "{'status':{'phase':'Bound'}}");
    cluster_delete(k, VOLUMES "/v", NULL);
    cluster_expect_still(k, VOLUMES "/v", "metadata.name", "v");
    cluster_patch(k, VOLUMES "/v/status", "{'status':{'phase':'Released'}}");
    cluster_expect_gone(k, VOLUMES "/v");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_that_a_pod_uses_stays),
        cmocka_unit_test(a_bound_volume_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
