/* CronJobs against a real apiserver and a clock that is moved. */
#include "controller_test.h"

#define CRON "/apis/batch/v1/namespaces/default/cronjobs/c"
#define JOBS "/apis/batch/v1/namespaces/default/jobs"
#define MINE "cronjob-controller,job-controller"
enum { MINUTE_MS = 60 * 1000 };

/* Always in the first seconds of a minute, so that a test's few real seconds never cross into the next. */
static struct cluster *begin(void) {
    struct cluster *k = cluster_start(MINE);
    int64_t into_ms = env_now_ns(&k->env) / 1000000 % MINUTE_MS;
    cluster_advance(k, MINUTE_MS - into_ms + 1000);
    cluster_kubelet(k, KUBELET_RUNS);
    return k;
}

static void make(struct cluster *k, const char *spec, const char *annotations) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'batch/v1','kind':'CronJob','metadata':{'name':'c','namespace':'default'},'spec':{%s'jobTemplate':{'metadata':{'labels':{'of':'c'}},'spec':{'template':"
        "{'metadata':{'annotations':{%s}},'spec':{'restartPolicy':'Never','terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}}}", spec, annotations));
}

#define SUCCEEDS "'test/phase':'Succeeded'"
#define EVERY_MINUTE "'schedule':'* * * * *',"

static void each_time_makes_a_job(void **state UNUSED) {
    struct cluster *k = begin();
    _cleanup_arena_ struct arena *a = arena_new();
    make(k, EVERY_MINUTE "'timeZone':'Asia/Kolkata','successfulJobsHistoryLimit':2,", SUCCEEDS);
    cluster_expect_still(k, JOBS, "#items", "0");
    int64_t minute = env_now_s(&k->env) / 60;
    for (int i = 1; i <= 4; i++) {
        cluster_advance(k, MINUTE_MS);
        char *job = arena_printf(a, JOBS "/c-%lld", (long long)minute + i);
        cluster_expect(k, job, "status.conditions[type=Complete].status", "True");
        cluster_expect(k, job, "metadata.labels.of", "c");
        cluster_expect(k, job, "metadata.ownerReferences[0].kind", "CronJob");
        cluster_expect(k, CRON, "#status.active", "0");
        cluster_expect(k, CRON, "status.lastSuccessfulTime", cluster_get(k, a, job, "status.completionTime"));
        if (!str_has_suffix(cluster_get(k, a, job, "metadata.annotations.batch|kubernetes|io/cronjob-scheduled-timestamp"), "+05:30")) fail_msg("the annotation is not in the zone");
    }
    cluster_expect_count(k, JOBS, 2);
    cluster_expect_event(k, "CronJob", "SuccessfulCreate", "Created job c-");
    cluster_expect_event(k, "CronJob", "SawCompletedJob", "condition: Complete");
    cluster_expect_event(k, "CronJob", "SuccessfulDelete", "Deleted job c-");
    cluster_stop(k);
}

static void policies_hold(void **state UNUSED) {
    struct cluster *k = begin();
    _cleanup_arena_ struct arena *a = arena_new();
    make(k, EVERY_MINUTE "'concurrencyPolicy':'Forbid',", "");
    cluster_expect_seen(k, &batchv1_CronJob_desc, CRON);
    cluster_advance(k, MINUTE_MS);
    cluster_expect(k, CRON, "#status.active", "1");
    cluster_advance(k, MINUTE_MS);
    cluster_expect_event(k, "CronJob", "JobAlreadyActive", "Not starting job because prior execution is running");
    cluster_expect_count(k, JOBS, 1);
    char *first = cluster_get(k, a, CRON, "status.active[0].name");
    cluster_patch(k, CRON, "{'spec':{'concurrencyPolicy':'Replace'}}");
    cluster_expect_seen(k, &batchv1_CronJob_desc, CRON);
    cluster_advance(k, MINUTE_MS);
    cluster_expect_gone(k, arena_printf(a, JOBS "/%s", first));
    cluster_expect(k, CRON, "status.active[0].name", arena_printf(a, "c-%lld", (long long)env_now_s(&k->env) / 60));
    cluster_expect(k, CRON, "#status.active", "1");
    cluster_patch(k, CRON, "{'spec':{'concurrencyPolicy':'Allow'}}");
    cluster_expect_seen(k, &batchv1_CronJob_desc, CRON);
    cluster_advance(k, MINUTE_MS);
    cluster_expect(k, CRON, "#status.active", "2");
    cluster_patch(k, CRON, "{'spec':{'suspend':true}}");
    cluster_expect_seen(k, &batchv1_CronJob_desc, CRON);
    cluster_advance(k, 5 * MINUTE_MS);
    cluster_expect_still(k, JOBS, "#items", "2");
    cluster_delete(k, arena_printf(a, JOBS "/%s", cluster_get(k, a, CRON, "status.active[0].name")), "{'propagationPolicy':'Background'}");
    cluster_expect_event(k, "CronJob", "MissingJob", "Active job went missing: c-");
    cluster_expect(k, CRON, "#status.active", "1");
    cluster_stop(k);
}

static void missed_times_are_made_up_once(void **state UNUSED) {
    struct cluster *k = begin();
    make(k, EVERY_MINUTE, SUCCEEDS);
    cluster_expect_seen(k, &batchv1_CronJob_desc, CRON);
    cluster_advance(k, MINUTE_MS);
    cluster_expect_count(k, JOBS, 1);
    cluster_stop_controllers(k);
    cluster_advance(k, 10 * MINUTE_MS);
    cluster_start_controllers(k);
    cluster_expect_count(k, JOBS, 2);
    cluster_expect_still(k, JOBS, "#items", "2");
    cluster_stop_controllers(k);
    cluster_advance(k, 200 * MINUTE_MS);
    cluster_patch(k, CRON, "{'spec':{'schedule':'0 0 1 1 *','startingDeadlineSeconds':5}}"); /* far away: nothing to make up for */
    cluster_start_controllers(k);
    cluster_expect_still(k, JOBS, "#items", "2");
    cluster_stop(k);
}

static void faults_do_not_matter(void **state UNUSED) {
    struct cluster *k = begin();
    _cleanup_arena_ struct arena *a = arena_new();
    make(k, EVERY_MINUTE "'successfulJobsHistoryLimit':100,", SUCCEEDS);
    k->faults.refused = k->faults.lost = k->faults.conflict = 150;
    for (int i = 1; i <= 3; i++) {
        k->faults.seed = (uint64_t)i * 49979687;
        k->faults.writes_left = i;
        cluster_advance(k, MINUTE_MS);
        for (int lives = 0; lives < 6; lives++) {
            env_sleep_ms(env_real(), 20);
            cluster_restart_controllers(k);
            k->faults.writes_left = 3;
        }
        k->faults.writes_left = -1;
        cluster_expect(k, arena_printf(a, JOBS "/c-%lld", (long long)env_now_s(&k->env) / 60), "status.conditions[type=Complete].status", "True");
        cluster_expect_count(k, JOBS, i);
        cluster_expect(k, CRON, "#status.active", "0");
        cluster_expect_count(k, PODS, i);
    }
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_time_makes_a_job), cmocka_unit_test(policies_hold), cmocka_unit_test(missed_times_are_made_up_once), cmocka_unit_test(faults_do_not_matter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
