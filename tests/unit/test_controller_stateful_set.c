/* StatefulSets against a real apiserver. */
#include "controller_test.h"
#include "api/pod_util.h"

#define SET "/apis/apps/v1/namespaces/default/statefulsets/web"
#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define REVISIONS "/apis/apps/v1/namespaces/default/controllerrevisions"
#define MINE "statefulset-controller"

static void make(struct cluster *k, const char *more_spec) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'apps/v1','kind':'StatefulSet','metadata':{'name':'web','namespace':'default'},'spec':{%s'serviceName':'web',"
        "'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}", more_spec));
}

#define CLAIM "'volumeClaimTemplates':[{'metadata':{'name':'data'},'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1Gi'}}}}],"

static void set_image(struct cluster *k, const char *image) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(k, SET, arena_printf(a, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}", image));
}

static void they_come_and_go_in_order(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_OFF);
    make(k, "'replicas':3," CLAIM);
    cluster_expect_count(k, PODS, 1);
    cluster_expect_still(k, PODS, "#items", "1"); /* the first is not ready yet */
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_expect(k, SET, "status.availableReplicas", "3");
    cluster_expect(k, SET, "status.currentReplicas", "3");
    cluster_expect(k, SET, "status.collisionCount", "0");
    cluster_expect(k, PODS "/web-2", "spec.hostname", "web-2");
    cluster_expect(k, PODS "/web-2", "spec.subdomain", "web");
    cluster_expect(k, PODS "/web-2", "metadata.labels.apps|kubernetes|io/pod-index", "2");
    cluster_expect(k, PODS "/web-2", "metadata.labels.statefulset|kubernetes|io/pod-name", "web-2");
    cluster_expect(k, PODS "/web-2", "spec.volumes[name=data].persistentVolumeClaim.claimName", "data-web-2");
    cluster_expect(k, CLAIMS "/data-web-2", "metadata.labels.app", "web");
    cluster_expect_event(k, "StatefulSet", "SuccessfulCreate", "Create Pod web-0 in StatefulSet web successful");
    cluster_expect_event(k, "StatefulSet", "SuccessfulCreate", "Create Claim data-web-1 Pod web-1 in StatefulSet web success");
    cluster_kubelet(k, KUBELET_HOLDS);
    cluster_patch(k, SET, "{'spec':{'replicas':1}}");
    cluster_expect(k, PODS "/web-2", "metadata.deletionGracePeriodSeconds", "1");
    cluster_expect_still(k, PODS "/web-1", "metadata.deletionGracePeriodSeconds", ""); /* one after the other, the last first */
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_expect_count(k, PODS, 1);
    cluster_expect_count(k, CLAIMS, 3);
    cluster_patch(k, SET, "{'spec':{'ordinals':{'start':5},'replicas':2}}");
    cluster_expect_gone(k, PODS "/web-0");
    cluster_expect(k, PODS "/web-6", "status.phase", "Running");
    cluster_expect_event(k, "StatefulSet", "SuccessfulDelete", "Delete Pod web-0 in StatefulSet web successful");
    cluster_stop(k);
}

static void updates_go_down_to_the_partition(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':3,'updateStrategy':{'rollingUpdate':{'partition':2}},");
    cluster_expect(k, SET, "status.availableReplicas", "3");
    char *first = cluster_get(k, a, SET, "status.currentRevision");
    set_image(k, "b");
    cluster_expect(k, PODS "/web-2", "spec.containers[0].image", "b");
    cluster_expect(k, SET, "status.updatedReplicas", "1");
    cluster_expect(k, SET, "status.currentReplicas", "2");
    cluster_expect(k, SET, "status.availableReplicas", "3");
    cluster_expect_still(k, PODS "/web-1", "spec.containers[0].image", "a");
    cluster_delete(k, PODS "/web-0", NULL); /* comes back as what it was */
    cluster_expect(k, SET, "status.availableReplicas", "3");
    cluster_expect(k, PODS "/web-0", "spec.containers[0].image", "a");
    cluster_expect(k, SET, "status.currentRevision", first);
    cluster_patch(k, SET, "{'spec':{'updateStrategy':{'rollingUpdate':{'partition':0}}}}");
    cluster_expect(k, PODS "/web-0", "spec.containers[0].image", "b");
    cluster_expect(k, SET, "status.currentReplicas", "3");
    cluster_expect(k, SET, "status.currentRevision", cluster_get(k, a, SET, "status.updateRevision"));
    /* back to the first: the same revision with a new number */
    set_image(k, "a");
    cluster_expect(k, SET, "status.updateRevision", first);
    cluster_expect_count(k, REVISIONS, 2);
    cluster_expect(k, arena_printf(a, REVISIONS "/%s", first), "revision", "3");
    cluster_expect(k, SET, "status.currentRevision", first);
    cluster_patch(k, SET, "{'spec':{'updateStrategy':{'type':'OnDelete','rollingUpdate':null}}}");
    set_image(k, "c");
    cluster_expect_count(k, REVISIONS, 3);
    cluster_expect_still(k, PODS "/web-2", "spec.containers[0].image", "a");
    cluster_delete(k, PODS "/web-2", NULL);
    cluster_expect(k, PODS "/web-2", "spec.containers[0].image", "c");
    cluster_stop(k);
}

static void parallel_ones_do_not_wait(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    make(k, "'replicas':5,'podManagementPolicy':'Parallel',");
    cluster_expect_count(k, PODS, 5);
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_expect(k, SET, "status.readyReplicas", "5");
    cluster_kubelet(k, KUBELET_HOLDS);
    cluster_patch(k, SET, "{'spec':{'replicas':1}}");
    cluster_expect(k, PODS "/web-1", "metadata.deletionGracePeriodSeconds", "1");
    cluster_expect(k, PODS "/web-4", "metadata.deletionGracePeriodSeconds", "1");
    cluster_stop(k);
}

static void claims_go_as_the_policy_says(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE ",garbage-collector-controller");
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':2,'persistentVolumeClaimRetentionPolicy':{'whenScaled':'Delete','whenDeleted':'Retain'}," CLAIM);
    cluster_expect(k, SET, "status.availableReplicas", "2");
    cluster_expect(k, CLAIMS "/data-web-1", "#metadata.ownerReferences", "0");
    /* the claim belongs to the Pod that is scaled away, and goes with it; its protection is another controller's */
    cluster_patch(k, SET, "{'spec':{'replicas':1}}");
    cluster_expect_gone(k, PODS "/web-1");
    cluster_expect(k, CLAIMS "/data-web-1", "metadata.ownerReferences[0].kind", "Pod");
    cluster_patch(k, CLAIMS "/data-web-1", "{'metadata':{'finalizers':null}}");
    cluster_expect_gone(k, CLAIMS "/data-web-1");
    cluster_patch(k, SET, "{'spec':{'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'Delete'}}}");
    cluster_expect(k, CLAIMS "/data-web-0", "metadata.ownerReferences[0].kind", "StatefulSet");
    cluster_stop(k);
}

static void min_ready_seconds_hold_the_next(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':2,'minReadySeconds':30,");
    cluster_expect(k, SET, "status.readyReplicas", "1");
    cluster_expect_still(k, PODS, "#items", "1");
    cluster_advance(k, 31000);
    cluster_expect(k, SET, "status.readyReplicas", "2");
    cluster_advance(k, 31000);
    cluster_expect(k, SET, "status.availableReplicas", "2");
    cluster_stop(k);
}

static void faults_do_not_matter(void **state UNUSED) {
    const char *only = getenv("SEED");
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':3," CLAIM);
    cluster_expect(k, SET, "status.availableReplicas", "3");
    k->faults.refused = k->faults.lost = k->faults.conflict = 100;
    for (int i = 1; i <= 3; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *image = arena_printf(a, "image-%d", i);
        k->faults.seed = only ? strtoull(only, NULL, 0) : (uint64_t)i * 15485863;
        k->faults.writes_left = i;
        set_image(k, image);
        for (int lives = 0; lives < 12; lives++) {
            for (int j = 0; j < 5; j++) {
                struct corev1_PodList l;
                int ready = 0;
                assert_int_equal(client_list(k->admin, a, &corev1_Pod_desc, "default", NULL, &l, NULL), 0);
                LIST_FOREACH(p, &l.items) ready += pod_is_ready(p) && !p->metadata.deletionTimestamp.set;
                if (ready < 2) fail_msg("seed %d: %d Pods are ready", i, ready); /* one at a time */
                env_sleep_ms(env_real(), 4);
            }
            cluster_restart_controllers(k);
            k->faults.writes_left = 3;
        }
        k->faults.writes_left = -1;
        cluster_expect(k, SET, "status.observedGeneration", arena_printf(a, "%d", i + 1));
        for (int n = 0; n < 3; n++) cluster_expect(k, arena_printf(a, PODS "/web-%d", n), "spec.containers[0].image", image);
        cluster_expect(k, SET, "status.availableReplicas", "3");
        cluster_expect(k, SET, "status.currentRevision", cluster_get(k, a, SET, "status.updateRevision"));
    }
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_come_and_go_in_order), cmocka_unit_test(updates_go_down_to_the_partition), cmocka_unit_test(parallel_ones_do_not_wait), cmocka_unit_test(claims_go_as_the_policy_says),
        cmocka_unit_test(min_ready_seconds_hold_the_next), cmocka_unit_test(faults_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
