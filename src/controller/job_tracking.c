/* Finished Pods are counted once: their UIDs go to status.uncountedTerminatedPods, then their finalizers go, then the counts go up: see job.h.
 * Upstream: pkg/controller/job job_controller.go trackJobStatusAndRemoveFinalizers.
 *
 * Whoever dies in between finds in the status what was not counted yet, and in the Pods who still has to be. */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/str.h"
#include "client/parallel.h"
#include "controller/job.h"
#include "controller/metrics.h"

enum { UNCOUNTED_MAX = 500 };

struct tracking {
    struct job_sync *s;
    struct map *tracked;               /* UIDs of Pods that have the finalizer */
    struct job_pods release;           /* lose it now */
    struct int32_list succeeded;       /* new indexes */
    bool full, flush;
    int32_t actions[JOB_FAIL_JOB + 1]; /* of the failure policy, for the metrics */
};

/* ---- finalizers ---- */

struct release { struct job_sync *s; const struct job_pods *pods; bool *gone; pthread_mutex_t mutex; struct status err; bool failed; };

static void removal_expected(struct job_sync *s, const char *uid, bool expected) {
    struct job_controller *jc = s->jc;
    pthread_mutex_lock(&jc->mutex);
    struct map *m = map_get(jc->removing, s->key);
    if (!m && expected) map_put(jc->removing, s->key, m = map_new());
    if (m && expected) map_put(m, uid, jc);
    else if (m) map_del(m, uid);
    pthread_mutex_unlock(&jc->mutex);
}

static void release_one(void *arg, size_t i) {
    struct release *r = arg;
    job_pod *p = r->pods->items[i];
    _cleanup_status_ struct status err = STATUS_INIT;
    int rc = job_remove_finalizer(r->s->jc, p, &err);
    if (rc != 0) removal_expected(r->s, p->metadata.uid, false);
    if (rc == 0 || status_is(&err, 404)) {
        r->gone[i] = true;
        return;
    }
    pthread_mutex_lock(&r->mutex);
    if (!r->failed) status_copy(&r->err, &err);
    r->failed = true;
    pthread_mutex_unlock(&r->mutex);
}

static int release_pods(struct tracking *t, struct status *reterr) {
    struct job_sync *s = t->s;
    struct release r = {.s = s, .pods = &t->release, .gone = arena_calloc(s->a, t->release.len + 1, sizeof(*r.gone))};
    pthread_mutex_init(&r.mutex, NULL);
    JOB_PODS_FOREACH(p, &t->release) removal_expected(s, p->metadata.uid, true);
    parallel_run(t->release.len, release_one, &r);
    for (size_t i = 0; i < t->release.len; i++)
        if (r.gone[i]) map_del(t->tracked, t->release.items[i]->metadata.uid);
    if (r.failed && reterr) status_copy(reterr, &r.err);
    status_release(&r.err);
    pthread_mutex_destroy(&r.mutex);
    return r.failed ? -1 : 0;
}

/* ---- counting ---- */

/* Those that have lost their finalizer are counted now. True: there were any. */
static bool count_released(struct tracking *t, struct string_list *uncounted, int32_t *count) {
    size_t kept = 0, was = uncounted->len;
    for (size_t i = 0; i < was; i++)
        if (map_has(t->tracked, uncounted->items[i])) uncounted->items[kept++] = uncounted->items[i];
    uncounted->len = kept;
    *count += (int32_t)(was - kept);
    return kept != was;
}

static bool count_all(struct tracking *t) {
    struct batchv1_JobStatus *st = &t->s->job->status;
    bool succeeded = count_released(t, &st->uncountedTerminatedPods->succeeded, &st->succeeded);
    return count_released(t, &st->uncountedTerminatedPods->failed, &st->failed) || succeeded;
}

static bool is_met(const struct batchv1_JobCondition *c) { return c && str_eq(c->type, "SuccessCriteriaMet") && str_eq(c->status, "True"); }

static bool may_release(const struct job_sync *s, job_pod *p, bool failed) {
    if (s->job->metadata.deletionTimestamp.set || s->finished || str_eq(p->status.phase, "Succeeded")) return true;
    if (!failed) return false;
    for (size_t i = 0; s->per_index && i < s->delayed.len; i++)
        if (s->delayed.items[i].pod == p) return false;
    return true;
}

static void push_uid(struct tracking *t, struct string_list *to, job_pod *p) {
    string_list_push(t->s->a, to, p->metadata.uid);
    t->flush = true;
}

static void count_pod(struct tracking *t, job_pod *p, bool failed) {
    struct job_sync *s = t->s;
    struct batchv1_UncountedTerminatedPods *u = s->job->status.uncountedTerminatedPods;
    const char *uid = p->metadata.uid;
    if (str_eq(p->status.phase, "Succeeded") && !string_list_has(&s->uncounted_failed, uid)) {
        if (!s->indexed) {
            if (!string_list_has(&s->uncounted_succeeded, uid)) push_uid(t, &u->succeeded, p);
        } else if (job_pod_index_valid(s, p) && !job_indexes_has(&s->before, job_pod_index(p))) {
            *LIST_PUSH(s->a, &t->succeeded) = job_pod_index(p);
            t->flush = true;
        }
    } else if (failed || (s->finished && !is_met(s->finished))) {
        if (string_list_has(&s->uncounted_failed, uid) || (s->indexed && !job_pod_index_valid(s, p))) return;
        enum job_action action = job_failure_action(s->job, p, s->a, NULL);
        t->actions[action]++;
        if (action != JOB_IGNORE) push_uid(t, &u->failed, p);
    }
}

static int by_index(const void *x, const void *y) {
    int a = job_pod_index(*(job_pod *const *)x), b = job_pod_index(*(job_pod *const *)y);
    return (a > b) - (a < b);
}

static void count_pods(struct tracking *t) {
    struct job_sync *s = t->s;
    const struct batchv1_UncountedTerminatedPods *u = s->job->status.uncountedTerminatedPods;
    t->release.items = arena_calloc(s->a, s->pods.len + 1, sizeof(*t->release.items));
    if (s->indexed && s->pods.len) qsort(s->pods.items, s->pods.len, sizeof(*s->pods.items), by_index);
    JOB_PODS_FOREACH(p, &s->pods) {
        bool failed = job_pod_failed(s, p);
        if (t->full || !map_has(t->tracked, p->metadata.uid) || !may_release(s, p, failed)) continue;
        t->release.items[t->release.len++] = p;
        count_pod(t, p, failed);
        t->full = t->succeeded.len + u->succeeded.len + u->failed.len >= UNCOUNTED_MAX;
    }
}

static void write_indexes(struct tracking *t) {
    struct job_sync *s = t->s;
    struct batchv1_JobStatus *st = &s->job->status;
    s->done = job_indexes_with(s->a, &s->done, &t->succeeded);
    char *text = job_indexes_string(s->a, &s->done);
    if (!str_eq(text, st->completedIndexes)) t->flush = true;
    st->succeeded = job_indexes_total(&s->done);
    st->completedIndexes = text;
    if (!s->per_index) return;
    char *failed = job_indexes_string(s->a, &s->failed_indexes);
    if (!st->failedIndexes || !str_eq(failed, st->failedIndexes)) t->flush = true;
    st->failedIndexes = failed;
}

/* ---- the end ---- */

/* First it is told that the Job will end, then that it has. */
static void announce(struct tracking *t) {
    struct job_sync *s = t->s;
    struct batchv1_JobCondition *c = s->finished;
    if (!c) return;
    if (str_eq(c->type, "FailureTarget")) {
        *LIST_PUSH(s->a, &s->job->status.conditions) = *c;
        t->flush = true;
        s->finished = job_condition_new(s, "Failed", "True", c->reason, c->message);
    } else if (is_met(c)) {
        const struct batchv1_JobCondition *there = job_condition(&s->job->status, "SuccessCriteriaMet");
        if (!there || !str_eq(there->status, "True")) {
            *LIST_PUSH(s->a, &s->job->status.conditions) = *c;
            t->flush = true;
        }
        s->finished = job_condition_new(s, "Complete", "True", c->reason, c->message);
    }
}

static bool enact(struct tracking *t) {
    struct job_sync *s = t->s;
    const struct batchv1_UncountedTerminatedPods *u = s->job->status.uncountedTerminatedPods;
    if (!s->finished || t->full || u->succeeded.len || u->failed.len || s->terminating > 0) return false;
    const struct batchv1_JobCondition *c = s->finished;
    job_set_condition(s, c->type, c->status, c->reason, c->message);
    if (str_eq(c->type, "Complete")) s->job->status.completionTime = c->lastTransitionTime;
    return true;
}

static void record_finish(struct job_sync *s) {
    struct event_recorder *events = s->jc->c->events;
    const struct batchv1_JobCondition *c = s->finished;
    bool complete = str_eq(c->type, "Complete");
    controller_metric_add(&metrics_jobs_finished, 1, "completion_mode=\"%s\",reason=\"%s\",result=\"%s\"", job_mode(s), str_or(c->reason, ""), complete ? "succeeded" : "failed");
    if (!complete) {
        event_record(events, &batchv1_Job_desc, s->job, EVENT_WARNING, c->reason, "%s", str_or(c->message, ""));
        return;
    }
    if (s->job->spec.completions.has && s->job->status.succeeded > s->job->spec.completions.value)
        event_record(events, &batchv1_Job_desc, s->job, EVENT_WARNING, "TooManySucceededPods", "Too many succeeded pods running after completion count reached");
    event_record(events, &batchv1_Job_desc, s->job, EVENT_NORMAL, "Completed", "Job completed");
}

static void remember(struct job_sync *s, bool finished) {
    struct job_controller *jc = s->jc;
    pthread_mutex_lock(&jc->mutex);
    if (finished) map_put(jc->finished, s->job->metadata.uid, jc);
    else {
        struct job_backoff *b = map_get(jc->backoffs, s->key);
        if (!b) {
            CHECK(b = calloc(1, sizeof(*b)));
            map_put(jc->backoffs, s->key, b);
        }
        *b = s->backoff;
    }
    pthread_mutex_unlock(&jc->mutex);
}

/* The status with the new UIDs, then the Pods; what was released is counted, to be written with what follows. */
static int flush_and_release(struct tracking *t, struct status *reterr) {
    struct job_sync *s = t->s;
    if (t->flush) {
        if (!job_write_status(s, reterr)) return -1;
        remember(s, false);
        t->flush = false;
    }
    int rc = t->release.len ? release_pods(t, reterr) : 0;
    if (count_all(t)) t->flush = true;
    if (rc != 0 && t->flush) job_write_status(s, NULL);
    return rc;
}

static void tell_actions(const struct tracking *t) {
    static const char *const names[] = {[JOB_IGNORE] = "Ignore", [JOB_COUNT] = "Count", [JOB_FAIL_INDEX] = "FailIndex", [JOB_FAIL_JOB] = "FailJob"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i] && t->actions[i]) controller_metric_add(&metrics_job_failure_policy, t->actions[i], "action=\"%s\"", names[i]);
}

int job_track(struct job_sync *s, bool flush, struct status *reterr) {
    struct tracking t = {.s = s, .tracked = map_new(), .flush = flush};
    JOB_PODS_FOREACH(p, &s->pods)
        if (job_pod_tracked(p) && !map_has(s->removing, p->metadata.uid)) map_put(t.tracked, p->metadata.uid, s);
    if (count_all(&t)) t.flush = true;
    count_pods(&t);
    if (s->indexed) write_indexes(&t);
    announce(&t);
    int rc = flush_and_release(&t, reterr);
    if (rc == 0) {
        tell_actions(&t);
        bool finished = enact(&t);
        if ((finished || t.flush) && !job_write_status(s, reterr)) rc = -1;
        else if (finished) {
            record_finish(s);
            remember(s, true);
        }
    }
    map_free(t.tracked);
    return rc;
}
