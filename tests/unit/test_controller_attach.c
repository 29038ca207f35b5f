/* CSI volumes are attached to the nodes of their Pods, and detached when it is safe. The tests play the driver's external attacher and the kubelet. */
#include "controller_test.h"

#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define NODES "/api/v1/nodes"
#define ATTACHMENTS "/apis/storage.k8s.io/v1/volumeattachments"
#define CONTROLLER "persistentvolume-attach-detach-controller"
/* Upstream's names: csi- and the SHA-256 of handle, driver and node. */
#define H1_N1 ATTACHMENTS "/csi-b078b22d1096952a15ef3207f7f853696502bd1e6a5ae841d5eb413fc87f8ee8"
#define H1_N2 ATTACHMENTS "/csi-ce1a6848c0d1beb3dd581b4f745ec4d32be424f5592808de22df520a173da893"
#define H2_N1 ATTACHMENTS "/csi-12a8fdffc4e6f078278060b19850391ae25a52e2b3f66c120f2dc0c67ec1ab92"
#define H1 "kubernetes.io/csi/d.example.com^h1"
#define IN_USE "{'status':{'volumesInUse':['" H1 "']}}"
#define UNUSED_NOW "{'status':{'volumesInUse':null}}"

static void make_node(struct cluster *k, const char *name, const char *annotations) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'%s','annotations':{%s}}}", name, annotations));
    cluster_patch(k, arena_printf(a, NODES "/%s/status", name), "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}");
}

/* A claim and its volume, bound to each other: handle "h1" for claim "c1". */
static void make_volume(struct cluster *k, const char *number, const char *mode) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *claim = arena_printf(a, CLAIMS "/c%s", number);
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':'c%s','namespace':'default'},'spec':{'accessModes':['%s'],'volumeName':'pv%s',"
        "'resources':{'requests':{'storage':'1Gi'}}}}", number, mode, number));
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'PersistentVolume','metadata':{'name':'pv%s'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['%s'],'csi':{'driver':'d.example.com',"
        "'volumeHandle':'h%s'},'claimRef':{'namespace':'default','name':'c%s','uid':'%s'}}}", number, mode, number, number, cluster_get(k, a, claim, "metadata.uid")));
    cluster_patch(k, arena_printf(a, "%s/status", claim), "{'status':{'phase':'Bound'}}");
}

static void make_pod(struct cluster *k, const char *name, const char *node, const char *claim) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default'},'spec':{'nodeName':'%s','containers':[{'name':'c','image':'i'}],"
        "'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'%s'}}]}}", name, node, claim));
}

static void delete_now(struct cluster *k, const char *target) { cluster_delete(k, target, "{'gracePeriodSeconds':0}"); }

static void attacher_attaches(struct cluster *k, const char *target) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_expect(k, target, "spec.attacher", "d.example.com");
    cluster_patch(k, target, "{'metadata':{'finalizers':['external-attacher/d']}}");
    cluster_patch(k, arena_printf(a, "%s/status", target), "{'status':{'attached':true}}");
}

static bool is_set(struct cluster *k, const char *target, const char *path) {
    _cleanup_arena_ struct arena *a = arena_new();
    return *cluster_get(k, a, target, path) != 0;
}

static void wait_until_set(struct cluster *k, const char *target, const char *path) {
    for (int waited = 0; !is_set(k, target, path); waited += 5) {
        if (waited > CLUSTER_WAIT_MS) fail_msg("%s of %s is not set", path, target);
        env_sleep_ms(env_real(), 5);
    }
}

static void attacher_detaches(struct cluster *k, const char *target) {
    wait_until_set(k, target, "metadata.deletionTimestamp");
    cluster_patch(k, target, "{'metadata':{'finalizers':null}}");
    cluster_expect_gone(k, target);
}

/* What happened to Pods before this is dealt with: the controller takes one thing after the other. */
static void controller_is_through(struct cluster *k) {
    make_volume(k, "2", "ReadWriteOnce");
    make_pod(k, "later", "n1", "c2");
    cluster_expect(k, H2_N1, "spec.nodeName", "n1");
}

static void node_uses(struct cluster *k, const char *patch) {
    cluster_patch(k, NODES "/n1/status", patch);
    cluster_expect_seen(k, &corev1_Node_desc, NODES "/n1");
}

#define MANAGED "'volumes.kubernetes.io/controller-managed-attach-detach':'true'"

/* One node, one volume, one Pod on it. */
static struct cluster *start(const char *mode) {
    struct cluster *k = cluster_start(NULL);
    cluster_create(k, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'default','namespace':'default'}}");
    k->controllers = arena_strdup(k->arena, CONTROLLER);
    make_node(k, "n1", MANAGED);
    make_node(k, "n2", MANAGED);
    make_volume(k, "1", mode);
    cluster_start_controllers(k);
    return k;
}

static void a_volume_is_attached_and_detached_again(void **state UNUSED) {
    struct cluster *k = start("ReadWriteOnce");
    make_pod(k, "p", "n1", "c1");
    cluster_expect(k, H1_N1, "spec.nodeName", "n1");
    cluster_expect(k, H1_N1, "spec.source.persistentVolumeName", "pv1");
    cluster_expect_still(k, NODES "/n1", "status.volumesAttached", "");
    attacher_attaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached", "[{\"name\":\"" H1 "\",\"devicePath\":\"\"}]");
    cluster_expect_event(k, "Pod", "SuccessfulAttachVolume", "AttachVolume.Attach succeeded for volume \"pv1\" ");
    make_pod(k, "q", "n1", "c1"); /* another on the same node: it is there already */
    node_uses(k, IN_USE);
    delete_now(k, PODS "/p");
    cluster_expect_still(k, H1_N1, "metadata.deletionTimestamp", "");
    cluster_patch(k, PODS "/q/status", "{'status':{'phase':'Succeeded'}}");
    cluster_expect_still(k, H1_N1, "metadata.deletionTimestamp", ""); /* the node has it mounted */
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    cluster_patch(k, NODES "/n1/status", UNUSED_NOW);
    wait_until_set(k, H1_N1, "metadata.deletionTimestamp");
    cluster_expect(k, NODES "/n1", "status.volumesAttached", ""); /* said before it was deleted */
    attacher_detaches(k, H1_N1);
    cluster_expect_count(k, ATTACHMENTS, 0);
    cluster_stop(k);
}

static void others_are_left_alone(void **state UNUSED) {
    struct cluster *k = start("ReadWriteOnce");
    cluster_create(k, "{'apiVersion':'storage.k8s.io/v1','kind':'CSIDriver','metadata':{'name':'d.example.com'},'spec':{'attachRequired':false}}");
    cluster_expect_seen(k, &storagev1_CSIDriver_desc, "/apis/storage.k8s.io/v1/csidrivers/d.example.com");
    make_node(k, "own", "'a':'b'");
    cluster_patch(k, NODES "/own/status", "{'status':{'volumesAttached':[{'name':'kubernetes.io/other/x','devicePath':'/dev/x'}]}}");
    make_pod(k, "p", "n1", "c1");
    make_volume(k, "2", "ReadWriteMany");
    make_pod(k, "q", "own", "c2");
    cluster_expect_seen(k, &corev1_Pod_desc, PODS "/q");
    cluster_expect_count(k, ATTACHMENTS, 0);
    cluster_expect(k, NODES "/own", "status.volumesAttached[0].devicePath", "/dev/x");
    cluster_delete(k, "/apis/storage.k8s.io/v1/csidrivers/d.example.com", NULL); /* without one, it is attached */
    attacher_attaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    cluster_patch(k, NODES "/own", "{'metadata':{'annotations':{" MANAGED "}}}"); /* from now on it is looked after */
    cluster_expect_count(k, ATTACHMENTS, 2);
    cluster_stop(k);
}

static void an_exclusive_volume_is_on_one_node_alone(void **state UNUSED) {
    struct cluster *k = start("ReadWriteOnce");
    make_pod(k, "p", "n1", "c1");
    attacher_attaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    make_pod(k, "q", "n2", "c1");
    cluster_expect_event(k, "Pod", "FailedAttachVolume", "Multi-Attach error for volume \"pv1\" Volume is already used by pod(s) p");
    cluster_expect_count(k, ATTACHMENTS, 1);
    node_uses(k, IN_USE);
    delete_now(k, PODS "/p");
    delete_now(k, PODS "/q");
    controller_is_through(k);
    make_pod(k, "r", "n2", "c1");
    cluster_expect_event(k, "Pod", "FailedAttachVolume", "Multi-Attach error for volume \"pv1\" Volume is already exclusively attached to one node and can't be attached to another");
    cluster_patch(k, NODES "/n1/status", UNUSED_NOW);
    wait_until_set(k, H1_N1, "metadata.deletionTimestamp");
    cluster_expect_still(k, H1_N2, "metadata.name", ""); /* not before it is off the other */
    attacher_detaches(k, H1_N1);
    attacher_attaches(k, H1_N2);
    cluster_expect(k, NODES "/n2", "status.volumesAttached[0].name", H1);
    cluster_stop(k);
}

static void a_shared_volume_is_on_many(void **state UNUSED) {
    struct cluster *k = start("ReadWriteMany");
    make_pod(k, "p", "n1", "c1");
    make_pod(k, "q", "n2", "c1");
    attacher_attaches(k, H1_N2);
    attacher_attaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    cluster_expect(k, NODES "/n2", "status.volumesAttached[0].name", H1);
    cluster_stop(k);
}

static void errors_are_told_and_tried_again(void **state UNUSED) {
    struct cluster *k = start("ReadWriteOnce");
    make_pod(k, "p", "n1", "c1");
    cluster_expect(k, H1_N1, "spec.nodeName", "n1");
    cluster_patch(k, H1_N1 "/status", "{'status':{'attachError':{'message':'no such disk'}}}");
    cluster_expect_event(k, "Pod", "FailedAttachVolume", "AttachVolume.Attach failed for volume \"pv1\" : no such disk");
    cluster_patch(k, H1_N1 "/status", "{'status':{'attached':true,'attachError':null}}");
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1); /* after the pause */
    controller_is_through(k);
    cluster_advance(k, 121 * 1000);
    cluster_expect_event(k, "Pod", "FailedAttachVolume", "AttachVolume.Attach failed for volume \"pv2\" : timed out waiting for external-attacher of d.example.com CSI driver to attach volume h2");
    cluster_stop(k);
}

static void what_was_attached_is_looked_after(void **state UNUSED) {
    struct cluster *k = start("ReadWriteOnce");
    make_pod(k, "p", "n1", "c1");
    attacher_attaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    cluster_delete(k, H1_N1, NULL); /* by somebody */
    cluster_patch(k, H1_N1, "{'metadata':{'finalizers':null}}");
    for (struct cached *c; (c = informer_get(informers_get(k->cc.informers, &storagev1_VolumeAttachment_desc), NULL, strrchr(H1_N1, '/') + 1)); cached_unref(c)) env_sleep_ms(env_real(), 5);
    cluster_expect_still(k, H1_N1, "metadata.name", "");
    cluster_advance(k, 61 * 1000); /* --attach-detach-reconcile-sync-period */
    attacher_attaches(k, H1_N1);
    cluster_patch(k, NODES "/n1/status", "{'status':{'volumesAttached':null}}"); /* by somebody */
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    cluster_stop(k);
}

static void what_was_there_before_a_restart_is_not_forgotten(void **state UNUSED) {
    struct cluster *k = start("ReadWriteOnce");
    make_pod(k, "p", "n1", "c1");
    attacher_attaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    cluster_stop_controllers(k);
    delete_now(k, PODS "/p");
    make_pod(k, "q", "n2", "c1");
    cluster_start_controllers(k);
    attacher_detaches(k, H1_N1); /* though no Pod and no memory is left of it; and first */
    attacher_attaches(k, H1_N2);
    cluster_expect(k, NODES "/n1", "status.volumesAttached", "");
    cluster_stop_controllers(k);
    cluster_patch(k, NODES "/n2/status", "{'status':{'volumesAttached':null}}"); /* it had died before it said so */
    delete_now(k, PODS "/q");
    cluster_start_controllers(k);
    attacher_detaches(k, H1_N2);
    cluster_expect_count(k, ATTACHMENTS, 0);
    cluster_stop(k);
}

/* The volume is attached to n1, which has it mounted, and no Pod wants it there any more. */
static struct cluster *start_stuck(bool no_force) {
    struct cluster *k = start("ReadWriteOnce");
    cluster_stop_controllers(k);
    k->options.disable_force_detach_on_timeout = no_force;
    cluster_start_controllers(k);
    make_pod(k, "p", "n1", "c1");
    attacher_attaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached[0].name", H1);
    node_uses(k, "{'status':{'volumesInUse':['" H1 "'],'conditions':[{'type':'Ready','status':'Unknown'}]}}");
    delete_now(k, PODS "/p");
    controller_is_through(k);
    return k;
}

static void a_lost_node_loses_its_volumes_after_six_minutes(void **state UNUSED) {
    struct cluster *k = start_stuck(false);
    cluster_advance(k, 361 * 1000);
    attacher_detaches(k, H1_N1);
    cluster_expect(k, NODES "/n1", "status.volumesAttached", "");
    cluster_stop(k);
}

static void a_node_out_of_service_loses_them_at_once(void **state UNUSED) {
    struct cluster *k = start_stuck(true);
    cluster_advance(k, 361 * 1000);
    cluster_expect_still(k, H1_N1, "metadata.deletionTimestamp", ""); /* --disable-force-detach-on-timeout */
    cluster_patch(k, NODES "/n1", "{'spec':{'taints':[{'key':'node.kubernetes.io/out-of-service','effect':'NoExecute'}]}}");
    attacher_detaches(k, H1_N1);
    cluster_stop(k);
}

static void a_node_that_is_gone_keeps_what_it_had_mounted_for_a_while(void **state UNUSED) {
    struct cluster *k = start_stuck(false);
    cluster_delete(k, NODES "/n1", NULL);
    cluster_expect_still(k, H1_N1, "metadata.deletionTimestamp", "");
    cluster_advance(k, 361 * 1000);
    attacher_detaches(k, H1_N1);
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_volume_is_attached_and_detached_again),
        cmocka_unit_test(others_are_left_alone),
        cmocka_unit_test(an_exclusive_volume_is_on_one_node_alone),
        cmocka_unit_test(a_shared_volume_is_on_many),
        cmocka_unit_test(errors_are_told_and_tried_again),
        cmocka_unit_test(what_was_attached_is_looked_after),
        cmocka_unit_test(what_was_there_before_a_restart_is_not_forgotten),
        cmocka_unit_test(a_lost_node_loses_its_volumes_after_six_minutes),
        cmocka_unit_test(a_node_out_of_service_loses_them_at_once),
        cmocka_unit_test(a_node_that_is_gone_keeps_what_it_had_mounted_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
