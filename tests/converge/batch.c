/* Jobs, CronJobs, and finished Jobs that go. */
#include "api/pod_util.h"
#include "api/time.h"
#include "converge.h"

#define JOBS "/apis/batch/v1/namespaces/default/jobs"
#define CRON "/apis/batch/v1/namespaces/default/cronjobs/c"

/* ---- Job: 6 completions, 3 at once; it is suspended and goes on ---- */

static void make_job(struct world *w, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'j','namespace':'default'},'spec':{'completions':6,'parallelism':3,%s'template':{'metadata':{'annotations':"
        "{'test/phase':'Succeeded'}},'spec':{'restartPolicy':'Never','terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}", more));
}

static void job_begin(struct world *w) { make_job(w, ""); }
static void indexed_job_begin(struct world *w) { make_job(w, "'completionMode':'Indexed',"); }
static void job_act(struct world *w, int step) { cluster_patch(w->k, JOBS "/j", step % 2 ? "{'metadata':{'annotations':{'look':'b'}}}" : "{'metadata':{'annotations':{'look':'a'}}}"); }

/* Pods are deleted by nobody here: each completion, or index, is run once. */
static const char *job_holds(struct world *w, struct arena *a) {
    struct corev1_PodList pods;
    world_list(w, a, &corev1_Pod_desc, "default", &pods);
    int active = 0;
    LIST_FOREACH(p, &pods.items) {
        const char *index = string_map_get(&p->metadata.annotations, "batch.kubernetes.io/job-completion-index");
        active += !pod_is_terminal(p);
        if (index && !world_same(w, index, p->metadata.uid)) return arena_printf(a, "index %s is run twice", index);
    }
    if (active > 3) return arena_printf(a, "%d Pods are active, 3 may be", active);
    return pods.items.len > 6 ? arena_printf(a, "there were %zu Pods for 6 completions", pods.items.len) : NULL;
}

static const char *job_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{JOBS "/j", "status.conditions[type=Complete].status", "True"}, {JOBS "/j", "status.succeeded", "6"}, {JOBS "/j", "status.failed", ""}, {PODS, "#items", "6"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_job = {.name = "job", .controllers = "job-controller", .kubelet = KUBELET_RUNS, .steps = 4, .begin = job_begin, .act = job_act, .holds = job_holds, .done = job_done,
    .state = (const char *const[]){PODS, JOBS, NULL}};
const struct scenario scenario_indexed_job = {.name = "indexed-job", .controllers = "job-controller", .kubelet = KUBELET_RUNS, .steps = 4, .begin = indexed_job_begin, .act = job_act, .holds = job_holds, .done = job_done,
    .state = (const char *const[]){PODS, JOBS, NULL}};

/* ---- CronJob: each minute, never two at once, the last one is kept; at the end it is suspended ---- */

static void cron_begin(struct world *w) {
    cluster_create(w->k, "{'apiVersion':'batch/v1','kind':'CronJob','metadata':{'name':'c','namespace':'default'},'spec':{'schedule':'* * * * *','concurrencyPolicy':'Forbid','successfulJobsHistoryLimit':1,'jobTemplate':"
        "{'spec':{'template':{'metadata':{'annotations':{'test/phase':'Succeeded'}},'spec':{'restartPolicy':'Never','terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}}}");
}

static const char *cron_ready(struct world *w, struct arena *a) { return *cluster_get(w->k, a, CRON, "status.lastScheduleTime") ? NULL : "no Job yet"; }

static void cron_act(struct world *w, int step) {
    if (step == 3) cluster_patch(w->k, CRON, "{'spec':{'suspend':true}}");
    else cluster_advance(w->k, 50000);
}

static const char *cron_holds(struct world *w, struct arena *a) {
    struct batchv1_JobList jobs;
    int active = 0;
    world_list(w, a, &batchv1_Job_desc, "default", &jobs);
    LIST_FOREACH(j, &jobs.items) {
        bool finished = false;
        LIST_FOREACH(c, &j->status.conditions) finished |= (str_eq(c->type, "Complete") || str_eq(c->type, "Failed")) && str_eq(c->status, "True");
        active += !finished;
        if (!world_same(w, j->metadata.name, j->metadata.uid)) return arena_printf(a, "%s is run again", j->metadata.name);
    }
    return active > 1 ? arena_printf(a, "%d Jobs are active, one may be", active) : NULL;
}

static const char *cron_done(struct world *w, struct arena *a) {
    static const char *const wants[][3] = {{CRON, "#status.active", "0"}, {JOBS, "#items", "1"}, {JOBS, "items[0].status.conditions[type=Complete].status", "True"}, {CRON, "spec.suspend", "true"}, {NULL}};
    return world_want_all(w, a, wants);
}

const struct scenario scenario_cronjob = {.name = "cronjob", .controllers = "cronjob-controller,job-controller", .kubelet = KUBELET_RUNS, .steps = 4, .pace_ms = 1000, .begin = cron_begin, .ready = cron_ready, .act = cron_act,
    .holds = cron_holds, .done = cron_done, .state = (const char *const[]){"/apis/batch/v1/namespaces/default/cronjobs", NULL}};

/* ---- finished Jobs go when their time is over, not before; others stay ---- */

static void make_plain_job(struct world *w, const char *name, const char *ttl) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(w->k, arena_printf(a, "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'%s','namespace':'default'},'spec':{%s'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'i'}]}}}}",
        name, ttl));
}

static void finish_job(struct world *w, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf b = BUF_INIT;
    struct api_time t = {.set = true, .sec = env_now_s(&w->k->env)};
    time_format(&t, &b);
    const char *now = buf_cstr(&b);
    cluster_patch(w->k, arena_printf(a, JOBS "/%s/status", name), arena_printf(a, "{'status':{'startTime':'%s','completionTime':'%s','conditions':[{'type':'SuccessCriteriaMet','status':'True','lastTransitionTime':'%s'},"
        "{'type':'Complete','status':'True','lastTransitionTime':'%s'}],'succeeded':1,'uncountedTerminatedPods':{}}}", now, now, now, now));
}

static void ttl_begin(struct world *w) {
    make_plain_job(w, "short", "'ttlSecondsAfterFinished':20,");
    make_plain_job(w, "long", "'ttlSecondsAfterFinished':60,");
    make_plain_job(w, "changed", "'ttlSecondsAfterFinished':20,");
    make_plain_job(w, "kept", "");
    make_plain_job(w, "running", "'ttlSecondsAfterFinished':0,");
}

static void ttl_act(struct world *w, int step) {
    static const char *const names[] = {"short", "long", "kept"};
    if (step < 3) finish_job(w, names[step]);
    if (step == 3) cluster_patch(w->k, JOBS "/changed", "{'spec':{'ttlSecondsAfterFinished':100000}}");
    if (step == 4) finish_job(w, "changed");
}

static const char *ttl_holds(struct world *w, struct arena *a) {
    struct batchv1_JobList jobs;
    world_list(w, a, &batchv1_Job_desc, "default", &jobs);
    LIST_FOREACH(j, &jobs.items) {
        if (!j->metadata.deletionTimestamp.set) continue;
        if (!j->status.completionTime.set || !j->spec.ttlSecondsAfterFinished.has) return arena_printf(a, "%s is deleted, and has not finished or no time to live", j->metadata.name);
        if (j->status.completionTime.sec + j->spec.ttlSecondsAfterFinished.value > env_now_s(&w->k->env)) return arena_printf(a, "%s is deleted before its time", j->metadata.name);
    }
    return jobs.items.len < 5 ? "a Job is gone at once" : NULL; /* without a garbage collector the foreground waits */
}

static const char *ttl_done(struct world *w, struct arena *a) {
    static const char *const names[] = {"short", "long"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(cluster_get(w->k, a, arena_printf(a, JOBS "/%s", names[i]), "metadata.deletionTimestamp"), "")) return arena_printf(a, "%s is not deleted", names[i]);
    return NULL;
}

const struct scenario scenario_ttl_after_finished = {.name = "ttl-after-finished", .controllers = "ttl-after-finished-controller", .steps = 5, .pace_ms = 1000, .begin = ttl_begin, .act = ttl_act, .holds = ttl_holds,
    .done = ttl_done, .state = (const char *const[]){JOBS, NULL}};
