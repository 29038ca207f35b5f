/* Jobs and CronJobs against a real apiserver. */
#include "controller_test.h"

#define JOB "/apis/batch/v1/namespaces/default/jobs/j"
#define MINE "job-controller"

static void make(struct cluster *k, const char *spec, const char *annotations, const char *pod_spec) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'j','namespace':'default'},'spec':{%s'template':{'metadata':{'annotations':{%s}},"
        "'spec':{%s'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}", spec, annotations, *pod_spec ? pod_spec : "'restartPolicy':'Never',"));
}

#define SUCCEEDS "'test/phase':'Succeeded'"
#define FAILS "'test/phase':'Failed','test/exit-code':'3'"

static void remove_job(struct cluster *k) {
    cluster_delete(k, JOB, "{'propagationPolicy':'Background'}");
    cluster_expect_gone(k, JOB);
    for (int i = 0; i < 400; i++) { /* without a garbage collector */
        _cleanup_arena_ struct arena *a = arena_new();
        cluster_delete(k, PODS, "{'gracePeriodSeconds':0}");
        if (str_eq(cluster_get(k, a, PODS, "#items"), "0")) return;
        env_sleep_ms(env_real(), 5);
    }
    fail_msg("Pods stay");
}

static void they_complete(void **state UNUSED) {
    static const struct { const char *spec, *succeeded; } cases[] = {
        {"", "1"}, {"'completions':3,'parallelism':2,", "3"}, {"'parallelism':2,'completions':null,", "2"}, {"'completions':4,'parallelism':4,'completionMode':'Indexed',", "4"},
    };
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        make(k, cases[i].spec, SUCCEEDS, "");
        cluster_expect(k, JOB, "status.conditions[type=Complete].status", "True");
        cluster_expect(k, JOB, "status.conditions[type=SuccessCriteriaMet].reason", "CompletionsReached");
        cluster_expect(k, JOB, "status.conditions[type=Complete].message", "Reached expected number of succeeded pods");
        cluster_expect(k, JOB, "status.succeeded", cases[i].succeeded);
        cluster_expect(k, JOB, "status.active", "");
        cluster_expect(k, JOB, "status.ready", "0");
        cluster_expect(k, JOB, "status.terminating", "0");
        cluster_expect(k, JOB, "#status.uncountedTerminatedPods.succeeded", "0");
        cluster_expect(k, PODS, "items[0].metadata.finalizers", "");
        if (i == 3) {
            cluster_expect(k, JOB, "status.completedIndexes", "0-3");
            cluster_expect(k, PODS "?labelSelector=batch.kubernetes.io/job-completion-index=2", "items[0].spec.hostname", "j-2");
            cluster_expect(k, PODS "?labelSelector=batch.kubernetes.io/job-completion-index=2", "items[0].spec.containers[0].env[name=JOB_COMPLETION_INDEX].valueFrom.fieldRef.fieldPath",
                           "metadata.labels['batch.kubernetes.io/job-completion-index']");
        }
        cluster_expect_event(k, "Job", "Completed", "Job completed");
        remove_job(k);
    }
    cluster_stop(k);
}

static void they_fail(void **state UNUSED) {
    static const struct { const char *spec, *reason, *message; int advance_s; } cases[] = {
        {"'backoffLimit':0,", "BackoffLimitExceeded", "Job has reached the specified backoff limit", 0},
        {"'backoffLimit':2,", "BackoffLimitExceeded", "Job has reached the specified backoff limit", 60},
        {"'podFailurePolicy':{'rules':[{'action':'FailJob','onExitCodes':{'operator':'In','values':[3]}}]},", "PodFailurePolicy", "", 0},
        {"'completions':2,'parallelism':2,'completionMode':'Indexed','backoffLimitPerIndex':0,", "FailedIndexes", "Job has failed indexes", 0},
        {"'completions':3,'parallelism':3,'completionMode':'Indexed','backoffLimitPerIndex':0,'maxFailedIndexes':1,", "MaxFailedIndexesExceeded",
         "Job has exceeded the specified maximal number of failed indexes", 0},
    };
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        make(k, cases[i].spec, FAILS, "");
        for (int j = 0; j < 3 && cases[i].advance_s; j++) {
            _cleanup_arena_ struct arena *a = arena_new();
            cluster_expect(k, JOB, "status.failed", arena_printf(a, "%d", j + 1));
            if (j < 2) cluster_expect_still(k, PODS, "#items", arena_printf(a, "%d", j + 1)); /* backs off */
            cluster_advance(k, cases[i].advance_s * 1000);
        }
        cluster_expect(k, JOB, "status.conditions[type=Failed].reason", cases[i].reason);
        cluster_expect(k, JOB, "status.conditions[type=FailureTarget].reason", cases[i].reason);
        if (*cases[i].message) cluster_expect(k, JOB, "status.conditions[type=Failed].message", cases[i].message);
        cluster_expect_event(k, "Job", cases[i].reason, cases[i].message);
        cluster_expect(k, JOB, "status.completionTime", "");
        remove_job(k);
    }
    make(k, "'activeDeadlineSeconds':60,", "", "");
    cluster_expect(k, JOB, "status.ready", "1");
    cluster_advance(k, 61000);
    cluster_expect(k, JOB, "status.conditions[type=Failed].reason", "DeadlineExceeded");
    cluster_expect_count(k, PODS, 0);
    cluster_stop(k);
}

static void policies_decide(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    /* ignored failures do not count */
    make(k, "'backoffLimit':0,'podFailurePolicy':{'rules':[{'action':'Ignore','onExitCodes':{'operator':'In','values':[3]}}]},", FAILS, "");
    cluster_expect_count(k, PODS, 1);
    cluster_advance(k, 30000);
    cluster_expect_count(k, PODS, 2);
    cluster_expect(k, JOB, "status.failed", "");
    remove_job(k);
    /* enough indexes have succeeded: the others are stopped */
    make(k, "'completions':3,'parallelism':3,'completionMode':'Indexed','successPolicy':{'rules':[{'succeededIndexes':'0,2','succeededCount':1}]},", "", "");
    cluster_expect(k, JOB, "status.ready", "3");
    _cleanup_arena_ struct arena *a = arena_new();
    char *pod = cluster_get(k, a, PODS "?labelSelector=batch.kubernetes.io/job-completion-index=2", "items[0].metadata.name");
    cluster_patch(k, arena_printf(a, PODS "/%s/status", pod), "{'status':{'phase':'Succeeded'}}");
    cluster_expect(k, JOB, "status.conditions[type=Complete].reason", "SuccessPolicy");
    cluster_expect(k, JOB, "status.conditions[type=Complete].message", "Matched rules at index 0");
    cluster_expect(k, JOB, "status.completedIndexes", "2");
    cluster_stop(k);
}

static void a_suspended_one_has_no_pods(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'suspend':true,'parallelism':2,'completions':2,", "", "");
    cluster_expect(k, JOB, "status.conditions[type=Suspended].reason", "JobSuspended");
    cluster_expect(k, JOB, "status.startTime", "");
    cluster_patch(k, JOB, "{'spec':{'suspend':false}}");
    cluster_expect(k, JOB, "status.ready", "2");
    cluster_expect(k, JOB, "status.conditions[type=Suspended].reason", "JobResumed");
    cluster_patch(k, JOB, "{'spec':{'suspend':true}}");
    cluster_expect_count(k, PODS, 0);
    cluster_expect(k, JOB, "status.active", "");
    cluster_expect(k, JOB, "status.failed", ""); /* they do not count */
    cluster_expect_event(k, "Job", "Resumed", "Job resumed");
    cluster_stop(k);
}

static void each_index_backs_off_alone(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    make(k, "'completions':2,'parallelism':2,'completionMode':'Indexed','backoffLimitPerIndex':1,'backoffLimit':null,", FAILS, "");
    cluster_expect_count(k, PODS, 2);
    cluster_expect_still(k, PODS, "#items", "2");
    cluster_advance(k, 15000);
    cluster_expect_count(k, PODS, 4);
    cluster_expect(k, JOB, "status.conditions[type=Failed].reason", "FailedIndexes");
    cluster_expect(k, JOB, "status.failedIndexes", "0,1");
    cluster_expect(k, JOB, "status.failed", "4");
    cluster_stop(k);
}

/* Every Pod that ever was, by name: none of a finished index may come again. */
static void faults_do_not_matter(void **state UNUSED) {
    const char *only = getenv("SEED");
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    for (int i = 1; i <= 4; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        bool indexed = i % 2;
        k->faults.seed = only ? strtoull(only, NULL, 0) : (uint64_t)i * 32452843;
        k->faults.refused = k->faults.lost = k->faults.conflict = 100;
        k->faults.writes_left = i;
        make(k, arena_printf(a, "'completions':6,'parallelism':3,%s", indexed ? "'completionMode':'Indexed'," : ""), SUCCEEDS, "");
        for (int lives = 0; lives < 12; lives++) {
            struct corev1_PodList l;
            env_sleep_ms(env_real(), 25);
            assert_int_equal(client_list(k->admin, a, &corev1_Pod_desc, "default", NULL, &l, NULL), 0);
            if (l.items.len > 6) fail_msg("seed %d: %zu Pods", i, l.items.len);
            cluster_restart_controllers(k);
            k->faults.writes_left = 4;
        }
        k->faults.writes_left = -1;
        cluster_expect(k, JOB, "status.conditions[type=Complete].status", "True");
        cluster_expect(k, JOB, "status.succeeded", "6");
        cluster_expect(k, JOB, "status.failed", "");
        cluster_expect_count(k, PODS, 6);
        if (indexed) cluster_expect(k, JOB, "status.completedIndexes", "0-5");
        cluster_restart_controllers(k);
        cluster_expect_still(k, PODS, "#items", "6"); /* it is not run again */
        k->faults.refused = k->faults.lost = k->faults.conflict = 0;
        remove_job(k);
    }
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_complete), cmocka_unit_test(they_fail), cmocka_unit_test(policies_decide), cmocka_unit_test(a_suspended_one_has_no_pods), cmocka_unit_test(each_index_backs_off_alone),
        cmocka_unit_test(faults_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
