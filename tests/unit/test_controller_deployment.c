/* Deployments and ReplicaSets against a real apiserver: see controller_test.h. */
#include "controller_test.h"

#define DEPLOYMENT "/apis/apps/v1/namespaces/default/deployments/web"
#define SETS "/apis/apps/v1/namespaces/default/replicasets"
#define MINE "deployment-controller,replicaset-controller"

static void make(struct cluster *k, const char *more_spec, const char *image) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'default','annotations':{'note':'first'}},'spec':{%s"
        "'selector':{'matchLabels':{'app':'web'}},'template':{'metadata':{'labels':{'app':'web'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'%s'}]}}}}", more_spec, image));
}

static void set_image(struct cluster *k, const char *image) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(k, DEPLOYMENT, arena_printf(a, "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}", image));
}

/* The one set whose template has the image. */
static char *set_of(struct cluster *k, struct arena *a, const char *image) {
    struct appsv1_ReplicaSetList l;
    _cleanup_status_ struct status err = STATUS_INIT;
    assert_int_equal(client_list(k->admin, a, &appsv1_ReplicaSet_desc, "default", NULL, &l, &err), 0);
    LIST_FOREACH(s, &l.items)
        if (str_eq(s->spec.template.spec.containers.items[0].image, image)) return arena_printf(a, "%s/%s", SETS, s->metadata.name);
    fail_msg("no set with %s", image);
    return NULL;
}

static void expect_set(struct cluster *k, const char *image, const char *path, const char *want) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_expect(k, set_of(k, a, image), path, want);
}

static void it_rolls_out_and_back(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':3,", "a");
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Progressing].reason", "NewReplicaSetAvailable");
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Available].reason", "MinimumReplicasAvailable");
    cluster_expect(k, DEPLOYMENT, "status.availableReplicas", "3");
    cluster_expect(k, DEPLOYMENT, "status.unavailableReplicas", "");
    cluster_expect(k, DEPLOYMENT, "status.terminatingReplicas", "0");
    cluster_expect(k, DEPLOYMENT, "metadata.annotations.deployment|kubernetes|io/revision", "1");
    expect_set(k, "a", "metadata.annotations.deployment|kubernetes|io/desired-replicas", "3");
    expect_set(k, "a", "metadata.annotations.deployment|kubernetes|io/max-replicas", "4");
    expect_set(k, "a", "metadata.annotations.note", "first");
    cluster_expect_event(k, "Deployment", "ScalingReplicaSet", "Scaled up replica set web-");
    set_image(k, "b");
    cluster_expect(k, DEPLOYMENT, "metadata.annotations.deployment|kubernetes|io/revision", "2");
    expect_set(k, "a", "status.replicas", "0");
    expect_set(k, "b", "status.availableReplicas", "3");
    cluster_expect(k, DEPLOYMENT, "status.updatedReplicas", "3");
    cluster_expect(k, DEPLOYMENT, "status.replicas", "3");
    cluster_expect_event(k, "Deployment", "ScalingReplicaSet", "from 1 to 0");
    /* "kubectl rollout undo" puts the old template back */
    set_image(k, "a");
    cluster_expect(k, DEPLOYMENT, "metadata.annotations.deployment|kubernetes|io/revision", "3");
    expect_set(k, "a", "metadata.annotations.deployment|kubernetes|io/revision-history", "1");
    cluster_expect_count(k, SETS, 2);
    expect_set(k, "a", "status.availableReplicas", "3");
    expect_set(k, "b", "status.replicas", "0");
    cluster_stop(k);
}

static void surge_and_unavailability_bound_it(void **state UNUSED) {
    /* replicas, surge, unavailable; then, with new Pods that never become ready: how many of each set */
    static const struct { const char *spec, *old, *fresh; } cases[] = {
        {"'replicas':4,'strategy':{'rollingUpdate':{'maxSurge':1,'maxUnavailable':0}},", "4", "1"},
        {"'replicas':4,'strategy':{'rollingUpdate':{'maxSurge':'50%','maxUnavailable':'25%'}},", "3", "3"},
        {"'replicas':3,'strategy':{'rollingUpdate':{'maxSurge':0,'maxUnavailable':'10%'}},", "2", "1"},
        {"'replicas':3,'strategy':{'rollingUpdate':{'maxSurge':'1%','maxUnavailable':0}},", "3", "1"},
    };
    struct cluster *k = cluster_start(MINE ",garbage-collector-controller");
    cluster_kubelet(k, KUBELET_RUNS);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        make(k, cases[i].spec, "a");
        cluster_expect(k, DEPLOYMENT, "status.conditions[type=Progressing].reason", "NewReplicaSetAvailable");
        cluster_patch(k, DEPLOYMENT, "{'spec':{'template':{'metadata':{'annotations':{'test/phase':'Running'}},'spec':{'containers':[{'name':'c','image':'b'}]}}}}");
        cluster_expect_count(k, SETS, 2);
        expect_set(k, "b", "status.replicas", cases[i].fresh);
        expect_set(k, "a", "status.replicas", cases[i].old);
        _cleanup_arena_ struct arena *a = arena_new();
        cluster_expect_still(k, set_of(k, a, "b"), "status.replicas", cases[i].fresh);
        cluster_delete(k, DEPLOYMENT, NULL);
        cluster_expect_count(k, SETS, 0);
        cluster_expect_count(k, PODS, 0);
    }
    cluster_stop(k);
}

static void recreate_waits_for_the_last_pod(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_HOLDS);
    make(k, "'replicas':2,'strategy':{'type':'Recreate'},", "a");
    cluster_expect(k, DEPLOYMENT, "status.availableReplicas", "2");
    set_image(k, "b");
    expect_set(k, "a", "status.terminatingReplicas", "2");
    cluster_expect(k, DEPLOYMENT, "status.terminatingReplicas", "2");
    cluster_expect_still(k, SETS, "#items", "1");
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_expect_count(k, SETS, 2);
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Progressing].reason", "NewReplicaSetAvailable");
    expect_set(k, "b", "status.availableReplicas", "2");
    cluster_stop(k);
}

static void a_pause_holds_and_scales_in_proportion(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':10,'strategy':{'rollingUpdate':{'maxSurge':3,'maxUnavailable':2}},", "a");
    cluster_expect(k, DEPLOYMENT, "status.availableReplicas", "10");
    cluster_patch(k, DEPLOYMENT, "{'spec':{'template':{'metadata':{'annotations':{'test/phase':'Running'}},'spec':{'containers':[{'name':'c','image':'b'}]}}}}");
    cluster_expect_count(k, SETS, 2);
    expect_set(k, "b", "status.replicas", "5");
    expect_set(k, "a", "status.replicas", "8");
    cluster_patch(k, DEPLOYMENT, "{'spec':{'paused':true}}");
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Progressing].reason", "DeploymentPaused");
    cluster_patch(k, DEPLOYMENT, "{'spec':{'replicas':15}}"); /* upstream's own example: 18 Pods, 8 and 5 become 11 and 7 */
    expect_set(k, "a", "spec.replicas", "11");
    expect_set(k, "b", "spec.replicas", "7");
    set_image(k, "c");
    cluster_expect_still(k, SETS, "#items", "2");
    cluster_patch(k, DEPLOYMENT, "{'spec':{'paused':false,'template':{'metadata':{'annotations':null}}}}");
    cluster_expect_count(k, SETS, 3);
    expect_set(k, "c", "status.availableReplicas", "15");
    cluster_expect(k, DEPLOYMENT, "status.replicas", "15");
    cluster_stop(k);
}

static void it_reports_what_does_not_progress(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':1,'progressDeadlineSeconds':60,'minReadySeconds':5,", "a");
    cluster_expect(k, DEPLOYMENT, "status.readyReplicas", "1");
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Available].status", "False");
    cluster_advance(k, 7000);
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Available].status", "True"); /* by time alone */
    cluster_patch(k, DEPLOYMENT, "{'spec':{'template':{'metadata':{'annotations':{'test/phase':'Running'}}}}}");
    cluster_expect(k, DEPLOYMENT, "status.unavailableReplicas", "1");
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Progressing].reason", "ReplicaSetUpdated");
    cluster_advance(k, 63000);
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Progressing].reason", "ProgressDeadlineExceeded");
    cluster_expect(k, DEPLOYMENT, "status.conditions[type=Progressing].status", "False");
    cluster_stop(k);
}

static void old_revisions_go(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':1,'revisionHistoryLimit':1,", "v0");
    for (int i = 0; i < 4; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        if (i) set_image(k, arena_printf(a, "v%d", i));
        cluster_expect(k, DEPLOYMENT, "metadata.annotations.deployment|kubernetes|io/revision", arena_printf(a, "%d", i + 1));
        expect_set(k, arena_printf(a, "v%d", i), "status.availableReplicas", "1");
        cluster_expect(k, DEPLOYMENT, "status.replicas", "1");
    }
    cluster_expect_count(k, SETS, 2);
    expect_set(k, "v2", "spec.replicas", "0");
    cluster_stop(k);
}

static void a_taken_name_is_avoided(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    _cleanup_arena_ struct arena *a = arena_new();
    make(k, "'replicas':0,", "a");
    cluster_expect_count(k, SETS, 1);
    char *name = cluster_get(k, a, SETS, "items[0].metadata.name");
    cluster_delete(k, DEPLOYMENT, "{'propagationPolicy':'Orphan'}");
    cluster_patch(k, DEPLOYMENT, "{'metadata':{'finalizers':null}}");
    cluster_delete(k, arena_printf(a, SETS "/%s", name), NULL);
    cluster_create(k, arena_printf(a, "{'apiVersion':'apps/v1','kind':'ReplicaSet','metadata':{'name':'%s','namespace':'default'},'spec':{'replicas':0,'selector':{'matchLabels':{'x':'y'}},"
        "'template':{'metadata':{'labels':{'x':'y'}},'spec':{'containers':[{'name':'c','image':'z'}]}}}}", name));
    make(k, "'replicas':0,", "a");
    cluster_expect(k, DEPLOYMENT, "status.collisionCount", "1");
    cluster_expect_count(k, SETS, 2);
    cluster_stop(k);
}

/* ---- whatever fails, it comes to the same, and never makes too many ---- */

/* The sets together may have replicas + surge, and no set has more Pods than it may: 4 of 4 + 2. */
static void check_bounds(struct cluster *k, uint64_t seed) {
    struct appsv1_ReplicaSetList sets;
    struct corev1_PodList pods;
    _cleanup_arena_ struct arena *a = arena_new();
    int32_t sum = 0;
    assert_int_equal(client_list(k->admin, a, &appsv1_ReplicaSet_desc, "default", NULL, &sets, NULL), 0);
    LIST_FOREACH(s, &sets.items) sum += s->spec.replicas.value;
    if (sum > 6) fail_msg("seed %llu: the sets have %d replicas", (unsigned long long)seed, sum);
    assert_int_equal(client_list(k->admin, a, &corev1_Pod_desc, "default", NULL, &pods, NULL), 0);
    LIST_FOREACH(s, &sets.items) {
        int32_t active = 0;
        LIST_FOREACH(p, &pods.items) active += !p->metadata.deletionTimestamp.set && str_eq(p->metadata.ownerReferences.items[0].uid, s->metadata.uid);
        if (active > 4) fail_msg("seed %llu: %s has %d Pods", (unsigned long long)seed, s->metadata.name, active);
    }
}

static void it_converges(struct cluster *k, uint64_t seed, int step) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *revision = arena_printf(a, "%d", step + 1);
    k->faults.seed = seed;
    k->faults.refused = k->faults.lost = k->faults.conflict = 60;
    k->faults.delay_ms = 3;
    k->faults.writes_left = (int64_t)(seed % 7);
    set_image(k, arena_printf(a, "image-%d", step));
    for (int lives = 0;; lives++) {
        for (int i = 0; i < 40; i++) {
            check_bounds(k, seed);
            env_sleep_ms(env_real(), 2);
        }
        char *progress = cluster_get(k, a, DEPLOYMENT, "status.conditions[type=Progressing].reason");
        if (str_eq(progress, "NewReplicaSetAvailable") && str_eq(cluster_get(k, a, DEPLOYMENT, "metadata.annotations.deployment|kubernetes|io/revision"), revision)) break;
        if (lives > 60) fail_msg("seed %llu: does not converge", (unsigned long long)seed);
        if (k->faults.writes_left == 0) {
            cluster_restart_controllers(k);
            k->faults.writes_left = lives < 20 ? (int64_t)((seed >> (lives % 16)) % 9 + 1) : -1;
        }
    }
    k->faults.refused = k->faults.lost = k->faults.conflict = 0;
    k->faults.writes_left = -1;
    expect_set(k, arena_printf(a, "image-%d", step), "status.availableReplicas", "4");
    cluster_expect(k, DEPLOYMENT, "status.replicas", "4");
}

static void faults_do_not_matter(void **state UNUSED) {
    const char *only = getenv("SEED");
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'replicas':4,'strategy':{'rollingUpdate':{'maxSurge':2,'maxUnavailable':1}},", "image");
    cluster_expect(k, DEPLOYMENT, "status.availableReplicas", "4");
    for (int i = 1; i <= 4; i++) it_converges(k, only ? strtoull(only, NULL, 0) : (uint64_t)i * 0x51ed27, i);
    cluster_stop(k);
}

static void replication_controllers_do_the_same(void **state UNUSED) {
    struct cluster *k = cluster_start("replicationcontroller-controller");
    const char *rc = "/api/v1/namespaces/default/replicationcontrollers/rc";
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'alone','namespace':'default','labels':{'app':'rc'}},'spec':{'containers':[{'name':'c','image':'a'}]}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'ReplicationController','metadata':{'name':'rc','namespace':'default'},'spec':{'replicas':3,'selector':{'app':'rc'},"
                      "'template':{'metadata':{'labels':{'app':'rc'}},'spec':{'containers':[{'name':'c','image':'a'}]}}}}");
    cluster_expect(k, rc, "status.availableReplicas", "3");
    cluster_expect(k, rc, "status.fullyLabeledReplicas", "3");
    cluster_expect(k, PODS "/alone", "metadata.ownerReferences[0].kind", "ReplicationController"); /* adopted */
    cluster_expect_event(k, "ReplicationController", "SuccessfulCreate", "Created pod: rc-");
    cluster_patch(k, PODS "/alone", "{'metadata':{'labels':{'app':'other'}}}");
    cluster_expect(k, PODS "/alone", "#metadata.ownerReferences", "0"); /* released, and replaced */
    cluster_expect_count(k, PODS, 4);
    cluster_patch(k, rc, "{'spec':{'replicas':1}}");
    cluster_expect_count(k, PODS, 2);
    cluster_expect(k, rc, "status.replicas", "1");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rolls_out_and_back), cmocka_unit_test(surge_and_unavailability_bound_it), cmocka_unit_test(recreate_waits_for_the_last_pod),
        cmocka_unit_test(a_pause_holds_and_scales_in_proportion), cmocka_unit_test(it_reports_what_does_not_progress), cmocka_unit_test(old_revisions_go),
        cmocka_unit_test(a_taken_name_is_avoided), cmocka_unit_test(faults_do_not_matter),
        cmocka_unit_test(replication_controllers_do_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
