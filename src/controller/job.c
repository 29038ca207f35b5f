/* Jobs: Pods that run to their end, each counted once. Upstream: pkg/controller/job.
 *
 * Here are events and one sync; job.h says where the rest is. Keys of the queue: "NAMESPACE/NAME" of a Job, "orphan/NAMESPACE/NAME" of a Pod that keeps the
 * tracking finalizer though no Job will take it away. Tests: tests/unit/test_controller_job.c, test_job_indexes.c. */
#include "controller/job.h"
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

enum { DOUBT_PERIOD_MS = 20 };
#define ORPHAN "orphan/"

/* ---- small questions ---- */

bool job_pod_tracked(job_pod *p) { return string_list_has(&p->metadata.finalizers, JOB_FINALIZER); }
bool job_only_replaces_failed(const struct batchv1_Job *j) { return str_eq(j->spec.podReplacementPolicy, "Failed") || j->spec.podFailurePolicy; }
bool job_is_suspended(const struct batchv1_Job *j) { return j->spec.suspend.has && j->spec.suspend.value; }

int job_pod_index(job_pod *p) {
    int64_t n;
    const char *text = string_map_get(&p->metadata.annotations, ANNOTATION_JOB_INDEX);
    return text && str_to_i64(text, &n) && n >= 0 && n <= INT32_MAX ? (int)n : JOB_NO_INDEX;
}

bool job_pod_index_valid(const struct job_sync *s, job_pod *p) { return job_pod_index(p) != JOB_NO_INDEX && job_pod_index(p) < s->job->spec.completions.value; }

bool job_pod_failed(const struct job_sync *s, job_pod *p) {
    if (str_eq(p->status.phase, "Failed")) return true;
    return !job_only_replaces_failed(s->job) && p->metadata.deletionTimestamp.set && !str_eq(p->status.phase, "Succeeded");
}

struct batchv1_JobCondition *job_condition(const struct batchv1_JobStatus *s, const char *type) {
    LIST_FOREACH(c, &s->conditions)
        if (str_eq(c->type, type)) return c;
    return NULL;
}

static bool has_condition(const struct batchv1_Job *j, const char *type) {
    const struct batchv1_JobCondition *c = job_condition(&j->status, type);
    return c && str_eq(c->status, "True");
}

static bool is_finished(const struct batchv1_Job *j) { return has_condition(j, "Complete") || has_condition(j, "Failed"); }
static bool managed_elsewhere(const struct batchv1_Job *j) { return j->spec.managedBy && !str_eq(j->spec.managedBy, "kubernetes.io/job-controller"); }

struct batchv1_JobCondition *job_condition_new(struct job_sync *s, const char *type, const char *status, const char *reason, const char *message) {
    struct batchv1_JobCondition *c = ARENA_NEW(s->a, struct batchv1_JobCondition);
    struct api_time now = {.set = true, .sec = env_now_s(s->jc->c->env)};
    *c = (struct batchv1_JobCondition){.type = type, .status = status, .lastProbeTime = now, .lastTransitionTime = now, .reason = reason, .message = message};
    return c;
}

bool job_set_condition(struct job_sync *s, const char *type, const char *status, const char *reason, const char *message) {
    struct batchv1_JobCondition *c = job_condition(&s->job->status, type);
    if (c && str_eq(c->status, status) && str_eq(c->reason, reason) && str_eq(c->message, message)) return false;
    if (!c && str_eq(status, "False")) return false;
    if (!c) c = LIST_PUSH(s->a, &s->job->status.conditions);
    *c = *job_condition_new(s, type, status, reason, message);
    return true;
}

static void tell_more(struct metric_family *f, int32_t more, const char *labels) {
    if (more > 0) metric_add(f, labels, more);
}

/* What the status that was just written counts and the one before did not. */
static void tell_counted(struct job_sync *s) {
    const struct batchv1_JobStatus *st = &s->job->status;
    int32_t succeeded = st->succeeded - s->told.succeeded, failed = st->failed - s->told.failed;
    int failed_indexes = s->per_index ? job_indexes_total(&s->failed_indexes) : 0;
    const char *limit = s->per_index ? "perIndex" : "global";
    tell_more(&metrics_job_pods_finished, succeeded, arena_printf(s->a, "completion_mode=\"%s\",result=\"succeeded\"", job_mode(s)));
    tell_more(&metrics_job_pods_finished, failed, arena_printf(s->a, "completion_mode=\"%s\",result=\"failed\"", job_mode(s)));
    if (s->indexed) tell_more(&metrics_job_indexes, succeeded, arena_printf(s->a, "backoffLimit=\"%s\",status=\"succeeded\"", limit));
    tell_more(&metrics_job_indexes, failed_indexes - s->told.failed_indexes, arena_printf(s->a, "backoffLimit=\"%s\",status=\"failed\"", limit));
    s->told.succeeded = st->succeeded;
    s->told.failed = st->failed;
    s->told.failed_indexes = failed_indexes;
}

bool job_write_status(struct job_sync *s, struct status *reterr) {
    struct batchv1_Job *fresh = arena_alloc(s->a, sizeof(*fresh));
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_update_status(s->jc->c->client, s->a, &batchv1_Job_desc, s->job, fresh, &err) != 0) {
        if (write_is_in_doubt(&err)) own_writes_doubt(s->jc->statuses, s->job->metadata.uid);
        if (reterr) status_copy(reterr, &err);
        return false;
    }
    own_writes_note(s->jc->statuses, fresh->metadata.uid, fresh);
    s->job->metadata.resourceVersion = fresh->metadata.resourceVersion;
    tell_counted(s);
    return true;
}

/* ---- events ---- */

static struct cached *resolve(struct job_controller *jc, const char *ns, const struct metav1_OwnerReference *ref) {
    if (!ref || !str_eq(ref->kind, "Job")) return NULL;
    struct cached *job = informer_get(jc->jobs, ns, ref->name);
    if (job && str_eq(job->obj->metadata.uid, ref->uid)) return job;
    cached_unref(job);
    return NULL;
}

static void enqueue_batched(struct job_controller *jc, const struct object *job) { controller_enqueue_after(jc->c, job, JOB_BATCH_MS); }

static void enqueue_orphan(struct job_controller *jc, const struct object *pod) {
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    work_queue_add(jc->c->queue, arena_printf(a, ORPHAN "%s/%s", pod->metadata.namespace, pod->metadata.name));
}

static void enqueue_adopters(struct job_controller *jc, const struct object *pod) {
    _cleanup_cached_list_ struct cached_list jobs = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    informer_list(jc->jobs, pod->metadata.namespace, &jobs);
    CACHED_FOREACH(j, batchv1_Job, &jobs) {
        struct selector s;
        if (label_selector_from(a, j->spec.selector, &s, NULL) == 0 && s.len && selector_matches(&s, &pod->metadata.labels)) enqueue_batched(jc, (const struct object *)(const void *)j);
    }
}

static void removal_seen(struct job_controller *jc, const struct object *job, const char *uid) {
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    pthread_mutex_lock(&jc->mutex);
    struct map *m = map_get(jc->removing, object_key(a, job));
    if (m) map_del(m, uid);
    pthread_mutex_unlock(&jc->mutex);
}

/* final: it is not there any more; else it is on its way out. */
static void on_pod_gone(struct job_controller *jc, const struct object *pod, bool final) {
    const struct metav1_OwnerReference *ref = controller_of(pod);
    bool tracked = string_list_has(&pod->metadata.finalizers, JOB_FINALIZER);
    _cleanup_cached_ struct cached *job = resolve(jc, pod->metadata.namespace, ref);
    if (!job || is_finished(CACHED(job, batchv1_Job))) {
        if (tracked && (!ref || str_eq(ref->kind, "Job"))) enqueue_orphan(jc, pod);
        return;
    }
    _cleanup_arena_ struct arena *a = arena_new();
    expectations_deletion_observed(jc->expectations, job->obj->metadata.uid, object_key(a, pod));
    if (final || !tracked) removal_seen(jc, job->obj, pod->metadata.uid);
    enqueue_batched(jc, job->obj);
}

static bool ended_and_tracked(const struct cached *pod) { return pod && pod_is_terminal(CACHED(pod, corev1_Pod)) && job_pod_tracked(CACHED(pod, corev1_Pod)); }

static void tell_tracking(const struct cached *old, const struct cached *now) {
    bool was = ended_and_tracked(old), is = ended_and_tracked(now);
    if (was != is) metric_add(&metrics_job_tracking, is ? "event=\"add\"" : "event=\"delete\"", 1);
}

static void on_pod_add(void *data, struct cached *now) {
    struct job_controller *jc = data;
    const struct object *pod = now->obj;
    tell_tracking(NULL, now);
    const struct metav1_OwnerReference *ref = controller_of(pod);
    if (pod->metadata.deletionTimestamp.set) {
        on_pod_gone(jc, pod, false);
        return;
    }
    if (!ref) {
        if (string_list_has(&pod->metadata.finalizers, JOB_FINALIZER)) enqueue_orphan(jc, pod);
        enqueue_adopters(jc, pod);
        return;
    }
    _cleanup_cached_ struct cached *job = resolve(jc, pod->metadata.namespace, ref);
    if (!job) return;
    expectations_creation_observed(jc->expectations, job->obj->metadata.uid);
    enqueue_batched(jc, job->obj);
}

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    struct job_controller *jc = data;
    const struct object *pod = now->obj;
    tell_tracking(old, now);
    if (pod->metadata.deletionTimestamp.set) {
        on_pod_gone(jc, pod, false);
        return;
    }
    const struct metav1_OwnerReference *was = controller_of(old->obj), *is = controller_of(pod);
    bool moved = !str_eq(was ? was->uid : NULL, is ? is->uid : NULL), tracked = string_list_has(&pod->metadata.finalizers, JOB_FINALIZER);
    _cleanup_cached_ struct cached *former = moved ? resolve(jc, pod->metadata.namespace, was) : NULL, *job = resolve(jc, pod->metadata.namespace, is);
    if (former && !tracked) removal_seen(jc, former->obj, pod->metadata.uid);
    if (former) enqueue_batched(jc, former->obj);
    if (job && !tracked) removal_seen(jc, job->obj, pod->metadata.uid);
    if (job) enqueue_batched(jc, job->obj);
    if (is) return;
    if (tracked) enqueue_orphan(jc, pod);
    if (moved || !string_map_equal(&old->obj->metadata.labels, &pod->metadata.labels)) enqueue_adopters(jc, pod);
}

static void on_pod_delete(void *data, struct cached *old) {
    tell_tracking(old, NULL);
    on_pod_gone(data, old->obj, true);
}

/* A Job that is finished or gone leaves its Pods' finalizers to whoever looks at orphans. */
static void enqueue_pods_as_orphans(struct job_controller *jc, const struct object *job) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    informer_by_index(jc->pods, jc->by_controller, job->metadata.uid, &pods);
    CACHED_FOREACH(p, corev1_Pod, &pods)
        if (job_pod_tracked(p)) enqueue_orphan(jc, (const struct object *)(const void *)p);
}

static void forget(struct job_controller *jc, const char *key, const char *uid) {
    pthread_mutex_lock(&jc->mutex);
    free(map_del(jc->backoffs, key));
    if (uid) map_del(jc->finished, uid);
    if (!uid) map_free(map_del(jc->removing, key));
    pthread_mutex_unlock(&jc->mutex);
}

static void on_job_add(void *data, struct cached *now) {
    controller_enqueue(((struct job_controller *)data)->c, now->obj);
    if (managed_elsewhere(CACHED(now, batchv1_Job))) controller_metric_add(&metrics_jobs_elsewhere, 1, "controller_name=\"%s\"", CACHED(now, batchv1_Job)->spec.managedBy);
}

static void on_job_update(void *data, struct cached *old, struct cached *now) {
    struct job_controller *jc = data;
    const struct batchv1_Job *was = CACHED(old, batchv1_Job), *j = CACHED(now, batchv1_Job);
    if (is_finished(j)) {
        enqueue_pods_as_orphans(jc, now->obj);
        controller_enqueue(jc->c, j); /* to forget what was remembered of it */
        return;
    }
    if (was->metadata.generation == j->metadata.generation) enqueue_batched(jc, now->obj);
    else controller_enqueue(jc->c, j);
}

static void on_job_delete(void *data, struct cached *old) {
    struct job_controller *jc = data;
    _cleanup_arena_ struct arena *a = arena_new();
    expectations_delete(jc->expectations, old->obj->metadata.uid);
    forget(jc, object_key(a, old->obj), old->obj->metadata.uid);
    enqueue_pods_as_orphans(jc, old->obj);
    controller_enqueue(jc->c, old->obj);
}

/* ---- orphans ---- */

static int sync_orphan(struct job_controller *jc, struct arena *a, const char *key, struct status *reterr) {
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *pod = informer_get(jc->pods, ns, name);
    if (!pod) return 0;
    const struct metav1_OwnerReference *ref = controller_of(pod->obj);
    if (ref && (!str_eq(ref->kind, "Job") || !str_eq(ref->apiVersion, "batch/v1"))) return 0;
    _cleanup_cached_ struct cached *job = resolve(jc, ns, ref);
    if (job && (managed_elsewhere(CACHED(job, batchv1_Job)) || !is_finished(CACHED(job, batchv1_Job)))) return 0;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (job_remove_finalizer(jc, CACHED(pod, corev1_Pod), &err) == 0 || status_is(&err, 404)) return 0;
    if (reterr) status_copy(reterr, &err);
    return -1;
}

/* ---- sync ---- */

static int find_pods(struct job_sync *s, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list all = {0};
    pods_owned_or_orphaned(s->jc->pods, s->jc->by_controller, s->job, &all);
    if (controller_claim_with(s->jc->c, s->a, &batchv1_Job_desc, s->job, &s->selector, &corev1_Pod_desc, &all, JOB_FINALIZER, &s->hold, reterr) != 0) return -1;
    s->pods.items = arena_calloc(s->a, s->hold.len + 1, sizeof(*s->pods.items));
    s->active.items = arena_calloc(s->a, s->hold.len + 1, sizeof(*s->active.items));
    CACHED_FOREACH(p, corev1_Pod, &s->hold) {
        s->pods.items[s->pods.len++] = p;
        if (pod_is_active(p)) {
            s->active.items[s->active.len++] = p;
            s->ready += pod_is_ready(p);
        } else if (!pod_is_terminal(p)) s->terminating++;
    }
    return 0;
}

/* Tracked, not told yet, and of an index that counts. */
static struct job_pods newly(struct job_sync *s, bool failed) {
    struct job_pods ret = {arena_calloc(s->a, s->pods.len + 1, sizeof(*ret.items)), 0};
    const struct string_list *uncounted = failed ? &s->uncounted_failed : &s->uncounted_succeeded;
    JOB_PODS_FOREACH(p, &s->pods) {
        if (!job_pod_tracked(p) || string_list_has(uncounted, p->metadata.uid) || map_has(s->removing, p->metadata.uid) || (s->indexed && !job_pod_index_valid(s, p))) continue;
        if (failed ? job_pod_failed(s, p) : str_eq(p->status.phase, "Succeeded")) ret.items[ret.len++] = p;
    }
    return ret;
}

static void count(struct job_sync *s) {
    struct job_pods succeeded = newly(s, false), failed = newly(s, true);
    const struct batchv1_JobStatus *st = &s->job->status;
    int32_t ignored = 0;
    JOB_PODS_FOREACH(p, &failed) ignored += job_failure_action(s->job, p, s->a, NULL) == JOB_IGNORE;
    s->succeeded = st->succeeded + (int32_t)(succeeded.len + s->uncounted_succeeded.len);
    s->failed = st->failed + (int32_t)(failed.len + s->uncounted_failed.len) - ignored;
    pthread_mutex_lock(&s->jc->mutex);
    const struct job_backoff *b = map_get(s->jc->backoffs, s->key);
    s->backoff = b ? *b : (struct job_backoff){0};
    pthread_mutex_unlock(&s->jc->mutex);
    s->backoff = job_backoff_after(&s->backoff, &succeeded, &failed);
}

/* ---- is it at its end? ---- */

static bool restarts_too_often(const struct job_sync *s) {
    if (!str_eq(s->job->spec.template.spec.restartPolicy, "OnFailure")) return false;
    int32_t n = 0, limit = s->job->spec.backoffLimit.value;
    JOB_PODS_FOREACH(p, &s->pods) {
        if (!str_eq(p->status.phase, "Running") && !str_eq(p->status.phase, "Pending")) continue;
        LIST_FOREACH(c, &p->status.initContainerStatuses) n += c->restartCount;
        LIST_FOREACH(c, &p->status.containerStatuses) n += c->restartCount;
    }
    return limit == 0 ? n > 0 : n >= limit;
}

static void end(struct job_sync *s, const char *type, const char *reason, const char *message) { s->finished = job_condition_new(s, type, "True", reason, message); }

static void judge_deadline(struct job_sync *s) {
    const struct batchv1_Job *j = s->job;
    if (!j->spec.activeDeadlineSeconds.has || job_is_suspended(j) || !j->status.startTime.set) return;
    int64_t left_ms = (j->status.startTime.sec + j->spec.activeDeadlineSeconds.value) * 1000 - env_now_ns(s->jc->c->env) / 1000000;
    if (left_ms <= 0) end(s, "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline");
    else work_queue_add_after(s->jc->c->queue, s->key, left_ms);
}

static void judge(struct job_sync *s) {
    const struct batchv1_JobStatus *st = &s->job->status;
    struct batchv1_JobCondition *met = job_condition(st, "SuccessCriteriaMet"), *target = job_condition(st, "FailureTarget");
    if (met && str_eq(met->status, "True")) {
        s->finished = met;
        return;
    }
    if (target && str_eq(target->status, "True")) {
        end(s, "Failed", target->reason, target->message);
        return;
    }
    for (size_t i = 0; i < s->pods.len && s->job->spec.podFailurePolicy; i++) {
        const char *message;
        if (!job_pod_failed(s, s->pods.items[i]) || job_failure_action(s->job, s->pods.items[i], s->a, &message) != JOB_FAIL_JOB) continue;
        end(s, "FailureTarget", "PodFailurePolicy", message);
        return;
    }
    if (s->failed > s->job->spec.backoffLimit.value || restarts_too_often(s)) end(s, "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    else judge_deadline(s);
}

/* ---- indexes ---- */

static void delay(struct job_sync *s, job_pod *p, const struct int32_list *active) {
    int index = job_pod_index(p);
    if (job_indexes_has(&s->done, index) || job_indexes_has(&s->failed_indexes, index)) return;
    LIST_FOREACH(a, active)
        if (*a == index) return;
    for (size_t i = 0; i < s->delayed.len; i++) {
        struct job_delayed *d = &s->delayed.items[i];
        if (d->index != index) continue;
        if (job_index_failures(d->pod) + job_index_ignored(d->pod) <= job_index_failures(p) + job_index_ignored(p) && job_finished_at(p) >= job_finished_at(d->pod)) d->pod = p;
        return;
    }
    *LIST_PUSH(s->a, &s->delayed) = (struct job_delayed){index, p};
}

static bool index_failed(struct job_sync *s, job_pod *p) {
    if (!job_pod_failed(s, p)) return false;
    enum job_action action = job_failure_action(s->job, p, s->a, NULL);
    return action == JOB_FAIL_INDEX || (action != JOB_IGNORE && job_index_failures(p) >= s->job->spec.backoffLimitPerIndex.value);
}

static void judge_indexes(struct job_sync *s) {
    const struct batchv1_Job *j = s->job;
    int completions = j->spec.completions.value;
    struct int32_list succeeded = {0}, failed = {0}, active = {0};
    s->before = job_indexes_parse(s->a, j->status.completedIndexes, completions);
    JOB_PODS_FOREACH(p, &s->pods) {
        if (!job_pod_index_valid(s, p)) continue;
        if (job_pod_tracked(p) && str_eq(p->status.phase, "Succeeded")) *LIST_PUSH(s->a, &succeeded) = job_pod_index(p);
        if (job_pod_tracked(p) && s->per_index && index_failed(s, p)) *LIST_PUSH(s->a, &failed) = job_pod_index(p);
        if (pod_is_active(p)) *LIST_PUSH(s->a, &active) = job_pod_index(p);
    }
    s->done = job_indexes_with(s->a, &s->before, &succeeded);
    s->succeeded = job_indexes_total(&s->done);
    if (!s->per_index) return;
    struct job_indexes former = job_indexes_parse(s->a, j->status.failedIndexes, completions);
    s->failed_indexes = job_indexes_with(s->a, &former, &failed);
    int lost = job_indexes_total(&s->failed_indexes);
    if (!s->finished && j->spec.maxFailedIndexes.has && lost > j->spec.maxFailedIndexes.value)
        end(s, "FailureTarget", "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
    else if (!s->finished && lost > 0 && lost + s->succeeded >= completions) end(s, "FailureTarget", "FailedIndexes", "Job has failed indexes");
    JOB_PODS_FOREACH(p, &s->pods)
        if (job_pod_tracked(p) && !map_has(s->removing, p->metadata.uid) && job_pod_index_valid(s, p) && job_pod_failed(s, p)) delay(s, p, &active);
}

/* ---- the rest of a sync ---- */

/* True: the status must be written for it. */
static bool suspend_or_resume(struct job_sync *s) {
    struct batchv1_JobStatus *st = &s->job->status;
    struct event_recorder *events = s->jc->c->events;
    if (job_is_suspended(s->job)) {
        if (!job_set_condition(s, "Suspended", "True", "JobSuspended", "Job suspended")) return false;
        event_record(events, &batchv1_Job_desc, s->job, EVENT_NORMAL, "Suspended", "Job suspended");
        st->startTime.set = false;
        return true;
    }
    if (!job_set_condition(s, "Suspended", "False", "JobResumed", "Job resumed")) return false;
    event_record(events, &batchv1_Job_desc, s->job, EVENT_NORMAL, "Resumed", "Job resumed");
    st->startTime = (struct api_time){.set = true, .sec = env_now_s(s->jc->c->env)};
    return true;
}

static int act(struct job_sync *s, bool satisfied, int32_t *active, bool *ret_flush, struct status *reterr) {
    const struct batchv1_Job *j = s->job;
    int32_t deleted;
    *active = (int32_t)s->active.len;
    if (s->finished) {
        int rc = job_delete_active(s, &deleted, reterr);
        if (deleted != *active || !satisfied) s->finished = NULL; /* it is not told before it is true */
        *active -= deleted;
        return rc;
    }
    bool managed = satisfied && !j->metadata.deletionTimestamp.set;
    int rc = managed ? job_manage(s, active, reterr) : 0;
    bool complete = j->spec.completions.has ? s->succeeded >= j->spec.completions.value && *active == 0 : s->succeeded > 0 && *active == 0;
    if (complete) end(s, "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods");
    else if (managed && suspend_or_resume(s)) *ret_flush = true;
    return rc;
}

static int sync_one(struct job_sync *s, struct status *reterr) {
    struct job_controller *jc = s->jc;
    struct batchv1_JobStatus *st = &s->job->status;
    if (!st->uncountedTerminatedPods) st->uncountedTerminatedPods = ARENA_NEW(s->a, struct batchv1_UncountedTerminatedPods);
    LIST_FOREACH(u, &st->uncountedTerminatedPods->succeeded) string_list_push(s->a, &s->uncounted_succeeded, *u);
    LIST_FOREACH(u, &st->uncountedTerminatedPods->failed) string_list_push(s->a, &s->uncounted_failed, *u);
    bool satisfied = expectations_satisfied(jc->expectations, s->job->metadata.uid);
    if (!expectations_settle(jc->expectations, s->job->metadata.uid, jc->c, s->a, jc->pods, jc->by_controller, s->job, &s->selector)) {
        satisfied = false;
        work_queue_add_after(jc->c->queue, s->key, DOUBT_PERIOD_MS);
    }
    if (find_pods(s, reterr) != 0) return -1;
    count(s);
    if (!st->startTime.set && !job_is_suspended(s->job)) st->startTime = (struct api_time){.set = true, .sec = env_now_s(jc->c->env)};
    judge(s);
    if (s->indexed) judge_indexes(s);
    const char *message = s->indexed && !s->finished ? job_success_message(s) : NULL;
    if (message) end(s, "SuccessCriteriaMet", "SuccessPolicy", message);
    int32_t active;
    bool flush = false;
    _cleanup_status_ struct status err = STATUS_INIT;
    int rc = act(s, satisfied, &active, &flush, &err);
    flush = flush || active != st->active || !st->ready.has || st->ready.value != s->ready || !st->terminating.has || st->terminating.value != s->terminating;
    st->active = active;
    st->ready = (struct opt_int32)OPT(s->ready);
    st->terminating = (struct opt_int32)OPT(s->terminating);
    if (job_track(s, flush, reterr) != 0) return -1;
    if (rc != 0 && reterr) status_copy(reterr, &err);
    return rc;
}

static int sync_and_tell(struct job_sync *s, struct status *reterr) {
    const struct batchv1_JobStatus *st = &s->job->status;
    int64_t began_ns = env_mono_ns(s->jc->c->env);
    s->action = "reconciling";
    s->told.succeeded = st->succeeded;
    s->told.failed = st->failed;
    if (s->per_index) {
        struct job_indexes failed = job_indexes_parse(s->a, st->failedIndexes, s->job->spec.completions.value);
        s->told.failed_indexes = job_indexes_total(&failed);
    }
    int rc = sync_one(s, reterr);
    const char *labels = arena_printf(s->a, "action=\"%s\",completion_mode=\"%s\",result=\"%s\"", s->action, job_mode(s), rc ? "error" : "success");
    metric_observe(&metrics_job_sync_duration, labels, (double)(env_mono_ns(s->jc->c->env) - began_ns) / 1e9);
    metric_add(&metrics_job_syncs, labels, 1);
    return rc;
}

static bool finished_already(struct job_controller *jc, const char *key, const char *uid, struct map *removing) {
    pthread_mutex_lock(&jc->mutex);
    bool yes = map_has(jc->finished, uid);
    const struct map *m = map_get(jc->removing, key);
    const char *k;
    void *v;
    for (size_t i = 0; m && map_next(m, &i, &k, &v);) map_put(removing, k, jc);
    pthread_mutex_unlock(&jc->mutex);
    return yes;
}

/* Whether the cache has the status that was written last. One that may have been written is read from the server first. */
static bool is_up_to_date(struct job_sync *s) {
    struct job_controller *jc = s->jc;
    const struct metav1_ObjectMeta *meta = &s->job->metadata;
    struct batchv1_Job live;
    if (own_writes_in_doubt(jc->statuses, meta->uid) && client_get(jc->c->client, s->a, &batchv1_Job_desc, meta->namespace, meta->name, &live, NULL) == 0) {
        own_writes_note(jc->statuses, meta->uid, &live);
        own_writes_settle(jc->statuses, meta->uid);
    }
    return own_writes_seen(jc->statuses, meta->uid, jc->jobs);
}

static int sync_job(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct job_controller *jc = self;
    const char *ns, *name;
    if (str_has_prefix(key, ORPHAN)) return sync_orphan(jc, a, key + strlen(ORPHAN), reterr);
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(jc->jobs, ns, name);
    if (!cached) {
        forget(jc, key, NULL);
        return 0;
    }
    if (managed_elsewhere(CACHED(cached, batchv1_Job))) return 0;
    if (is_finished(CACHED(cached, batchv1_Job))) {
        forget(jc, key, cached->obj->metadata.uid);
        return 0;
    }
    struct job_sync s = {.jc = jc, .a = a, .key = key, .job = object_copy(a, &batchv1_Job_desc, cached->obj), .removing = map_new()};
    const char *mode = s.job->spec.completionMode;
    s.indexed = str_eq(mode, "Indexed");
    s.per_index = s.indexed && s.job->spec.backoffLimitPerIndex.has;
    int rc = 0;
    if (finished_already(jc, key, s.job->metadata.uid, s.removing)) rc = 0;
    else if (!is_up_to_date(&s)) {
        work_queue_add_after(jc->c->queue, key, DOUBT_PERIOD_MS);
        metric_add(&metrics_job_stale, "group=\"batch\",resource=\"jobs\"", 1);
    }
    else if (mode && !s.indexed && !str_eq(mode, "NonIndexed"))
        event_record(jc->c->events, &batchv1_Job_desc, s.job, EVENT_WARNING, "UnknownCompletionMode", "Skipped Job sync because completion mode is unknown");
    else if ((rc = label_selector_from(a, s.job->spec.selector, &s.selector, reterr)) == 0) rc = sync_and_tell(&s, reterr);
    map_free(s.removing);
    cached_list_release(&s.hold);
    return rc;
}

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct job_controller *jc = calloc(1, sizeof(*jc));
    CHECK(jc);
    jc->c = c;
    jc->expectations = expectations_new(c->env);
    jc->statuses = own_writes_new();
    jc->removing = map_new();
    jc->backoffs = map_new();
    jc->finished = map_new();
    pthread_mutex_init(&jc->mutex, NULL);
    jc->jobs = informers_get(c->context->informers, &batchv1_Job_desc);
    jc->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    jc->by_controller = pods_index_by_controller(jc->pods);
    informer_add_handler(jc->jobs, &(struct informer_handler){jc, on_job_add, on_job_update, on_job_delete});
    informer_add_handler(jc->pods, &(struct informer_handler){jc, on_pod_add, on_pod_update, on_pod_delete});
    return jc;
}

static void free_map(void *m) { map_free(m); }

static void free_self(void *self) {
    struct job_controller *jc = self;
    expectations_free(jc->expectations);
    own_writes_free(jc->statuses);
    map_free_with(jc->removing, free_map);
    map_free_with(jc->backoffs, free);
    map_free(jc->finished);
    pthread_mutex_destroy(&jc->mutex);
    free(jc);
}

const struct controller_desc controller_job = {.name = "job-controller", .queue = "job", .workers = 5, .new = new, .sync = sync_job, .free = free_self};
