/* DaemonSets against a real apiserver. */
#include "controller_test.h"

#define SET "/apis/apps/v1/namespaces/default/daemonsets/ds"
#define REVISIONS "/apis/apps/v1/namespaces/default/controllerrevisions"
#define MINE "daemonset-controller"

static void make_node(struct cluster *k, const char *name, const char *spec) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'%s','labels':{'disk':'%s'}},'spec':{%s}}", name, name, spec));
    cluster_patch(k, arena_printf(a, "/api/v1/nodes/%s", name), arena_printf(a, "{'spec':{'taints':null,%s}}", *spec ? spec : "'unschedulable':false"));
}

static void make_set(struct cluster *k, const char *more_spec, const char *pod_spec) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'apps/v1','kind':'DaemonSet','metadata':{'name':'ds','namespace':'default'},'spec':{%s'selector':{'matchLabels':{'app':'ds'}},"
        "'template':{'metadata':{'labels':{'app':'ds'}},'spec':{'terminationGracePeriodSeconds':1,%s'containers':[{'name':'c','image':'a'}]}}}}", more_spec, pod_spec));
}

static void set_image(struct cluster *k, const char *image) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(k, SET, arena_printf(a, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}", image));
}

static void it_is_on_every_node_that_suits(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make_node(k, "n1", "");
    make_node(k, "n2", "");
    make_node(k, "tainted", "'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]");
    make_node(k, "cordoned", "'unschedulable':true,'taints':[{'key':'node.kubernetes.io/unschedulable','effect':'NoSchedule'}]");
    make_set(k, "", "");
    cluster_expect(k, SET, "status.numberAvailable", "3");
    cluster_expect(k, SET, "status.desiredNumberScheduled", "3");
    cluster_expect(k, SET, "status.updatedNumberScheduled", "3");
    cluster_expect(k, SET, "status.observedGeneration", "1");
    cluster_expect_count(k, PODS "?fieldSelector=spec.nodeName=tainted", 0);
    cluster_expect_count(k, PODS "?fieldSelector=spec.nodeName=cordoned", 1);
    cluster_expect(k, PODS "?fieldSelector=spec.nodeName=n1", "items[0].metadata.labels.pod-template-generation", "1");
    cluster_expect(k, PODS "?fieldSelector=spec.nodeName=n1", "items[0].spec.tolerations[key=node.kubernetes.io/pid-pressure].operator", "Exists");
    make_node(k, "n3", ""); /* a new node gets one */
    cluster_expect(k, SET, "status.numberAvailable", "4");
    cluster_patch(k, "/api/v1/nodes/n2", "{'spec':{'taints':[{'key':'k','effect':'NoSchedule'}]}}"); /* stays, though it would not be put there */
    cluster_patch(k, SET, "{'metadata':{'annotations':{'look':'again'}}}"); /* the node's change alone is no reason to count */
    cluster_expect(k, SET, "status.numberMisscheduled", "1");
    cluster_patch(k, "/api/v1/nodes/n2", "{'spec':{'taints':[{'key':'k','effect':'NoExecute'}]}}");
    cluster_expect_count(k, PODS, 3);
    cluster_patch(k, SET, "{'spec':{'template':{'spec':{'nodeSelector':{'disk':'n1'}}}}}");
    cluster_expect(k, SET, "status.desiredNumberScheduled", "1");
    cluster_expect_count(k, PODS, 1);
    cluster_stop(k);
}

static void failed_ones_are_replaced_with_back_off(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make_node(k, "n1", "");
    make_set(k, "", "");
    cluster_expect(k, SET, "status.numberReady", "1");
    cluster_patch(k, SET, "{'spec':{'template':{'metadata':{'annotations':{'test/phase':'Failed','test/exit-code':'1'}}}}}");
    cluster_expect_event(k, "DaemonSet", "FailedDaemonPod", "Found failed daemon pod default/ds-");
    cluster_patch(k, SET, "{'spec':{'template':{'metadata':{'annotations':null}}}}");
    cluster_advance(k, 60000);
    cluster_expect(k, SET, "status.numberReady", "1");
    cluster_stop(k);
}

static void updates_roll(void **state UNUSED) {
    static const struct { const char *strategy, *old_stay; } cases[] = {
        /* with new Pods that never get ready: how many old ones stay on 4 nodes */
        {"'updateStrategy':{'rollingUpdate':{'maxUnavailable':1}},", "3"},
        {"'updateStrategy':{'rollingUpdate':{'maxUnavailable':'50%'}},", "2"},
        {"'updateStrategy':{'rollingUpdate':{'maxUnavailable':0,'maxSurge':2}},", "4"},
        {"'updateStrategy':{'type':'OnDelete'},", "4"},
    };
    struct cluster *k = cluster_start(MINE ",garbage-collector-controller");
    cluster_kubelet(k, KUBELET_RUNS);
    make_node(k, "n1", "");
    make_node(k, "n2", "");
    make_node(k, "n3", "");
    make_node(k, "n4", "");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        make_set(k, cases[i].strategy, "");
        cluster_expect(k, SET, "status.numberAvailable", "4");
        char *old = arena_printf(a, PODS "?labelSelector=controller-revision-hash=%s", cluster_get(k, a, REVISIONS, "items[0].metadata.labels.controller-revision-hash"));
        cluster_patch(k, SET, "{'spec':{'template':{'metadata':{'annotations':{'test/phase':'Running'}}}}}");
        cluster_expect(k, old, "#items", cases[i].old_stay);
        cluster_expect_count(k, REVISIONS, 2);
        cluster_expect_still(k, old, "#items", cases[i].old_stay);
        if (i == 2) cluster_expect_count(k, PODS, 6);
        cluster_patch(k, SET, "{'spec':{'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1,'maxSurge':0}},'template':{'metadata':{'annotations':null}}}}");
        cluster_expect(k, SET, "status.numberAvailable", "4");
        cluster_expect(k, SET, "status.updatedNumberScheduled", "4");
        cluster_expect(k, old, "#items", "4");              /* back at the first revision, ... */
        cluster_expect(k, REVISIONS, "#items", "2");
        cluster_expect_count(k, arena_printf(a, "%s", PODS), 4);
        cluster_delete(k, SET, NULL);
        cluster_expect_count(k, PODS, 0);
        cluster_expect_count(k, REVISIONS, 0);
    }
    cluster_stop(k);
}

static void history_is_kept_and_limited(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make_node(k, "n1", "");
    make_set(k, "'revisionHistoryLimit':1,", "");
    for (int i = 0; i < 4; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        if (i) set_image(k, arena_printf(a, "image-%d", i));
        cluster_expect(k, SET, "status.observedGeneration", arena_printf(a, "%d", i + 1));
        cluster_expect(k, SET, "status.updatedNumberScheduled", "1");
        cluster_expect(k, SET, "status.numberAvailable", "1");
    }
    cluster_expect_count(k, REVISIONS, 2);
    _cleanup_arena_ struct arena *a = arena_new();
    char *data = cluster_get(k, a, REVISIONS, "items[0].data.spec.template");
    if (!str_has_prefix(data, "{\"$patch\":\"replace\",\"metadata\":{\"labels\":{\"app\":\"ds\"}},\"spec\":{\"containers\":[{\"image\":")) fail_msg("%s", data);
    cluster_stop(k);
}

static void faults_do_not_matter(void **state UNUSED) {
    const char *only = getenv("SEED");
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    for (int i = 1; i <= 4; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        make_node(k, arena_printf(a, "n%d", i), "");
    }
    k->faults.refused = k->faults.lost = k->faults.conflict = 100;
    make_set(k, "", "");
    for (int i = 1; i <= 3; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        k->faults.seed = only ? strtoull(only, NULL, 0) : (uint64_t)i * 104729;
        k->faults.writes_left = i;
        set_image(k, arena_printf(a, "image-%d", i));
        for (int lives = 0; lives < 8; lives++) {
            for (int n = 1; n <= 4; n++) {
                struct corev1_PodList l;
                int active = 0;
                assert_int_equal(client_list(k->admin, a, &corev1_Pod_desc, "default", arena_printf(a, "fieldSelector=spec.nodeName%%3Dn%d", n), &l, NULL), 0);
                LIST_FOREACH(p, &l.items) active += !p->metadata.deletionTimestamp.set;
                if (active > 1) fail_msg("seed %d: %d Pods on n%d", i, active, n);
            }
            env_sleep_ms(env_real(), 20);
            cluster_restart_controllers(k);
            k->faults.writes_left = 4;
        }
        k->faults.writes_left = -1;
        cluster_expect(k, SET, "status.observedGeneration", arena_printf(a, "%d", i + 1));
        cluster_expect(k, SET, "status.updatedNumberScheduled", "4");
        cluster_expect(k, SET, "status.numberAvailable", "4");
        cluster_expect_count(k, PODS, 4);
    }
    cluster_stop(k);
}

/* What was still expected of the deleted one must not hold up its successor. */
static void a_set_made_anew_under_its_name_begins_at_once(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE ",garbage-collector-controller");
    cluster_kubelet(k, KUBELET_RUNS);
    for (int i = 1; i <= 4; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        make_node(k, arena_printf(a, "n%d", i), "");
    }
    make_set(k, "", "");
    for (int i = 0; i < 30; i++) {
        env_sleep_ms(env_real(), i % 6 * 3);
        cluster_delete(k, SET, "{'propagationPolicy':'Background'}");
        make_set(k, "", "");
    }
    cluster_expect(k, SET, "status.numberAvailable", "4");
    cluster_expect_count(k, PODS, 4);
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_on_every_node_that_suits), cmocka_unit_test(failed_ones_are_replaced_with_back_off), cmocka_unit_test(updates_roll), cmocka_unit_test(history_is_kept_and_limited),
        cmocka_unit_test(faults_do_not_matter), cmocka_unit_test(a_set_made_anew_under_its_name_begins_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
