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

static void make_volume(struct cluster *k, const char *name, const char *size, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolume','metadata':{'name':'%s','labels':{'size':'%s'}},'spec':{'capacity':{'storage':'%s'},'accessModes':['ReadWriteOnce','ReadOnlyMany'],"
        "'hostPath':{'path':'/tmp/x'}%s}}", name, size, size, more));
}

static void make_claim(struct cluster *k, const char *name, const char *size, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'%s','namespace':'default'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'%s'}}%s}}",
        name, size, more));
}

#define BINDER "persistentvolume-binder-controller,persistentvolumeclaim-protection-controller,persistentvolume-protection-controller"

static void a_claim_gets_the_smallest_volume_that_suits(void **state UNUSED) {
    struct cluster *k = cluster_start(BINDER);
    make_claim(k, "c", "2Gi", ",'storageClassName':''");
    cluster_expect(k, CLAIMS "/c", "status.phase", "Pending");
    cluster_expect_event(k, "PersistentVolumeClaim", "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
    make_volume(k, "small", "1Gi", "");
    cluster_expect(k, VOLUMES "/small", "status.phase", "Available");
    make_volume(k, "big", "10Gi", ",'claimRef':{'namespace':'default','name':'other'}");
    make_volume(k, "fits", "3Gi", "");
    cluster_expect(k, CLAIMS "/c", "status.phase", "Bound");
    cluster_expect(k, CLAIMS "/c", "spec.volumeName", "fits");
    cluster_expect(k, CLAIMS "/c", "status.capacity.storage", "3Gi");
    cluster_expect(k, CLAIMS "/c", "status.accessModes", "[\"ReadWriteOnce\",\"ReadOnlyMany\"]");
    cluster_expect(k, CLAIMS "/c", "metadata.annotations", "{\"pv.kubernetes.io/bind-completed\":\"yes\",\"pv.kubernetes.io/bound-by-controller\":\"yes\"}");
    cluster_expect(k, VOLUMES "/fits", "status.phase", "Bound");
    cluster_expect(k, VOLUMES "/fits", "spec.claimRef.name", "c");
    cluster_expect(k, VOLUMES "/fits", "metadata.annotations", "{\"pv.kubernetes.io/bound-by-controller\":\"yes\"}");
    cluster_delete(k, CLAIMS "/c", NULL);
    cluster_expect_gone(k, CLAIMS "/c");
    cluster_expect(k, VOLUMES "/fits", "status.phase", "Released");
    make_claim(k, "other", "1Gi", ",'storageClassName':''"); /* the one that was kept for it, though another is smaller */
    cluster_expect(k, CLAIMS "/other", "spec.volumeName", "big");
    make_claim(k, "named", "1Gi", ",'storageClassName':'','volumeName':'small'");
    cluster_expect(k, CLAIMS "/named", "status.phase", "Bound");
    cluster_expect(k, CLAIMS "/named", "metadata.annotations", "{\"pv.kubernetes.io/bind-completed\":\"yes\"}");
    cluster_stop(k);
}

static void claims_wait_or_are_lost_with_a_reason(void **state UNUSED) {
    struct cluster *k = cluster_start(BINDER);
    cluster_create(k, "{'apiVersion':'storage.k8s.io/v1','kind':'StorageClass','metadata':{'name':'wait'},'provisioner':'example.com/p','volumeBindingMode':'WaitForFirstConsumer'}");
    cluster_create(k, "{'apiVersion':'storage.k8s.io/v1','kind':'StorageClass','metadata':{'name':'now'},'provisioner':'example.com/p'}");
    make_claim(k, "w", "1Gi", ",'storageClassName':'wait'");
    make_claim(k, "n", "1Gi", ",'storageClassName':'now'");
    make_claim(k, "m", "1Gi", ",'storageClassName':'missing'");
    cluster_expect_event(k, "PersistentVolumeClaim", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    cluster_expect_event(k, "PersistentVolumeClaim", "ExternalProvisioning", "Waiting for a volume to be created either by the external provisioner 'example.com/p'");
    cluster_expect_event(k, "PersistentVolumeClaim", "ProvisioningFailed", "storageclass.storage.k8s.io \"missing\" not found");
    cluster_expect(k, CLAIMS "/n", "metadata.annotations.volume|kubernetes|io/storage-provisioner", "example.com/p");
    cluster_expect(k, CLAIMS "/w", "status.phase", "Pending");
    make_volume(k, "v", "1Gi", ",'storageClassName':'now'"); /* by hand, or by the provisioner */
    cluster_expect(k, CLAIMS "/n", "status.phase", "Bound");
    cluster_expect(k, VOLUMES "/v", "status.phase", "Bound");
    cluster_delete(k, VOLUMES "/v", NULL);
    cluster_patch(k, VOLUMES "/v", "{'metadata':{'finalizers':null}}");
    cluster_expect(k, CLAIMS "/n", "status.phase", "Lost");
    cluster_expect_event(k, "PersistentVolumeClaim", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    cluster_stop(k);
}

static void ephemeral_volumes_have_claims_of_their_own(void **state UNUSED) {
    struct cluster *k = cluster_start("ephemeral-volume-controller");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v','ephemeral':{'volumeClaimTemplate':"
        "{'metadata':{'labels':{'a':'b'}},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}}}]}}");
    cluster_expect(k, CLAIMS "/p-v", "metadata.labels.a", "b");
    cluster_expect(k, CLAIMS "/p-v", "metadata.ownerReferences[0].name", "p");
    make_claim(k, "q-v", "1Gi", "");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'q','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v','ephemeral':{'volumeClaimTemplate':"
        "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}}}]}}");
    cluster_expect_event(k, "Pod", "FailedBinding", "ephemeral volume v: ");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_that_a_pod_uses_stays),
        cmocka_unit_test(a_bound_volume_stays),
        cmocka_unit_test(a_claim_gets_the_smallest_volume_that_suits),
        cmocka_unit_test(claims_wait_or_are_lost_with_a_reason),
        cmocka_unit_test(ephemeral_volumes_have_claims_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
