/* What is wrong with Jobs and CronJobs, in upstream's words and order. */
#include "api/validation/batch.h"
#include "validation_testing.h"

#define TEMPLATE "'template':{'metadata':{'labels':{'a':'b'}},'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'i'}]}}"
#define JOB(spec) "{'metadata':{'name':'j','namespace':'n'},'spec':{'manualSelector':true,'selector':{'matchLabels':{'a':'b'}},'completionMode':'NonIndexed','suspend':false," TEMPLATE spec "}}"
#define INDEXED(spec) "{'metadata':{'name':'j','namespace':'n'},'spec':{'manualSelector':true,'selector':{'matchLabels':{'a':'b'}},'completionMode':'Indexed','completions':3,'suspend':false," TEMPLATE spec "}}"
#define CRON(spec) "{'metadata':{'name':'c','namespace':'n'},'spec':{'jobTemplate':{'spec':{" TEMPLATE "}}" spec "}}"

static void jobs(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {JOB(""), ""},
        {JOB(",'parallelism':-1,'completions':-2,'activeDeadlineSeconds':-3,'backoffLimit':-4,'ttlSecondsAfterFinished':-5"), "spec.parallelism: Invalid value: -1: must be greater than or equal to 0 | spec.completions: Invalid value: -2: must be greater than or equal to 0 | spec.activeDeadlineSeconds: Invalid value: -3: must be greater than or equal to 0 | spec.backoffLimit: Invalid value: -4: must be greater than or equal to 0 | spec.ttlSecondsAfterFinished: Invalid value: -5: must be greater than or equal to 0"},
        {JOB(",'completionMode':'Odd'"), "spec.completionMode: Unsupported value: \"Odd\": supported values: \"NonIndexed\", \"Indexed\""},
        {JOB(",'backoffLimitPerIndex':1"), "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"},
        {INDEXED(",'maxFailedIndexes':2"), "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"},
        {INDEXED(",'backoffLimitPerIndex':1,'maxFailedIndexes':200000"), "spec.maxFailedIndexes: Invalid value: 200000: must be less than or equal to completions | spec.maxFailedIndexes: Invalid value: 200000: must be less than or equal to 100000"},
        {JOB(",'podReplacementPolicy':'Never'"), "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\""},
        {JOB(",'managedBy':'nope'"), "spec.managedBy: Invalid value: \"nope\": must be a domain-prefixed path (such as \"acme.io/foo\")"},
        {JOB(",'podFailurePolicy':{'rules':[{'action':'Ignore'}]}"), "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"},
        {JOB(",'podFailurePolicy':{'rules':[{'action':'FailJob','onExitCodes':{'operator':'In','values':[0]}}]}"), "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"},
        {JOB(",'podFailurePolicy':{'rules':[{'action':'FailJob','onExitCodes':{'containerName':'x','operator':'In','values':[2,1]}}]}"), "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template | spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered"},
        {INDEXED(",'successPolicy':{'rules':[{'succeededIndexes':'0-5'}]}"), "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-5\": error parsing succeededIndexes: too large index: \"5\""},
        {INDEXED(",'successPolicy':{'rules':[{}]}"), "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified"},
        {JOB(",'successPolicy':{'rules':[{'succeededCount':1}]}"), "spec.successPolicy: Invalid value: {\"Rules\":[{\"SucceededIndexes\":null,\"SucceededCount\":1}]}: requires indexed completion mode"},
    };
    CHECK_CREATIONS(batchv1_Job_desc, validate_job, cases);
}

static void jobs_change(void **state UNUSED) {
    static const struct update_case cases[] = {
        {JOB(",'completions':1"), JOB(",'completions':1,'parallelism':5"), ""},
        {JOB(""), JOB(",'parallelism':5"), "spec.completions: Invalid value: null: field is immutable"}, /* without parallelism, completions were 1 by default */
        {JOB(",'completions':1"), JOB(",'completions':2"), "spec.completions: Invalid value: 2: field is immutable"},
        {INDEXED(""), INDEXED(",'completions':4,'parallelism':4"), ""},
        {INDEXED(",'backoffLimitPerIndex':1"), INDEXED(",'backoffLimitPerIndex':2"), "spec.backoffLimitPerIndex: Invalid value: 2: field is immutable"},
        {JOB(""), JOB(",'managedBy':'a.example/b'"), "spec.managedBy: Invalid value: \"a.example/b\": field is immutable"},
    };
    CHECK_UPDATES(batchv1_Job_desc, validate_job_update, cases);
}

static void cron_jobs(void **state UNUSED) {
    static const struct validation_case cases[] = {
        {CRON(",'schedule':'* * * * *'"), ""},
        {CRON(""), "spec.schedule: Required value"},
        {CRON(",'schedule':'* * *'"), "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"},
        {CRON(",'schedule':'61 * * * *'"), "spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"},
        {CRON(",'schedule':'TZ=UTC * * * * *'"), "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"},
        {CRON(",'schedule':'@daily','timeZone':'Europe/Nowhere'"), "spec.timeZone: Invalid value: \"Europe/Nowhere\": unknown time zone Europe/Nowhere"},
        {CRON(",'schedule':'@daily','timeZone':'Local'"), "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"},
        {CRON(",'schedule':'@daily','concurrencyPolicy':'Maybe','startingDeadlineSeconds':-1,'successfulJobsHistoryLimit':-1"), "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0 | spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\" | spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0"},
    };
    CHECK_CREATIONS(batchv1_CronJob_desc, validate_cronjob, cases);
}

static void indexes(void **state UNUSED) {
    static const struct { const char *text; int32_t completions, want; } cases[] = {{"", 5, 0}, {"0", 1, 1}, {"0,2-4", 5, 4}, {"2-1", 5, -1}, {"1,1", 5, -1}, {"0-5", 5, -1}, {"x", 5, -1}, {"1-2-3", 5, -1}, {"1,", 5, -1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *why = NULL;
        int32_t got = job_indexes_count(a, cases[i].text, cases[i].completions, &why);
        if (got != cases[i].want) fail_msg("\"%s\": wanted %d, got %d (%s)", cases[i].text, cases[i].want, got, str_or(why, ""));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(jobs), cmocka_unit_test(jobs_change), cmocka_unit_test(cron_jobs), cmocka_unit_test(indexes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
