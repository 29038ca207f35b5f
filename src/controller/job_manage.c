/* Which Pods of a Job are made and which are deleted: see job.h. Upstream: pkg/controller/job job_controller.go manageJob. */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/str.h"
#include "client/parallel.h"
#include "controller/job.h"
#include "controller/metrics.h"

/* ---- many at once ---- */

struct batch {
    struct job_sync *s;
    const struct job_pods *pods;        /* to delete */
    bool untrack;                       /* take the finalizer away first: they are not counted */
    const struct corev1_PodTemplateSpec *template;
    const int *indexes;                 /* to create; NULL: without */
    pthread_mutex_t mutex;
    struct status err;
    bool failed;
    atomic_int deleted, deleted_ready, created;
};

static void fail(struct batch *b, const struct status *err) {
    pthread_mutex_lock(&b->mutex);
    if (!b->failed) status_copy(&b->err, err);
    b->failed = true;
    pthread_mutex_unlock(&b->mutex);
}

static int finish(struct batch *b, struct status *reterr) {
    if (b->failed && reterr) status_copy(reterr, &b->err);
    status_release(&b->err);
    pthread_mutex_destroy(&b->mutex);
    return b->failed ? -1 : 0;
}

int job_remove_finalizer(struct job_controller *jc, job_pod *p, struct status *reterr) {
    if (!job_pod_tracked(p)) return 0;
    _cleanup_arena_ struct arena *a = arena_new();
    return client_patch(jc->c->client, a, &corev1_Pod_desc, p->metadata.namespace, p->metadata.name, NULL, PATCH_STRATEGIC,
                        "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"" JOB_FINALIZER "\"]}}", NULL, reterr);
}

static void delete_one(void *arg, size_t i) {
    struct batch *b = arg;
    job_pod *p = b->pods->items[i];
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    int rc = b->untrack ? job_remove_finalizer(b->s->jc, p, &err) : 0;
    if (rc == 0) rc = pod_control_delete(b->s->jc->c, &batchv1_Job_desc, b->s->job, p, &err);
    if (rc != 0 && b->untrack) expectations_deletion_observed(b->s->jc->expectations, b->s->job->metadata.uid, object_key(a, p));
    if (rc == 0 || status_is(&err, 404)) b->deleted++;
    else fail(b, &err);
    if (pod_is_ready(p)) b->deleted_ready++;
}

/* Counts what it deleted as terminating and no more ready. */
static int delete_pods(struct job_sync *s, const struct job_pods *pods, bool untrack, int32_t *ret_deleted, struct status *reterr) {
    struct batch b = {.s = s, .pods = pods, .untrack = untrack};
    pthread_mutex_init(&b.mutex, NULL);
    if (untrack) {
        struct string_list keys = {0};
        JOB_PODS_FOREACH(p, pods) string_list_push(s->a, &keys, object_key(s->a, p));
        expectations_expect_deletions(s->jc->expectations, s->job->metadata.uid, &keys);
    }
    parallel_run(pods->len, delete_one, &b);
    *ret_deleted = b.deleted;
    s->terminating += b.deleted;
    s->ready -= b.deleted_ready;
    return finish(&b, reterr);
}

int job_delete_active(struct job_sync *s, int32_t *ret_deleted, struct status *reterr) { return delete_pods(s, &s->active, false, ret_deleted, reterr); }

/* ---- which go ---- */

static int by_index(const void *x, const void *y) {
    int a = job_pod_index(*(job_pod *const *)x), b = job_pod_index(*(job_pod *const *)y);
    return (a > b) - (a < b);
}

static int by_deletion_order(const void *x, const void *y) {
    job_pod *p = *(job_pod *const *)x, *q = *(job_pod *const *)y;
    return pod_deletion_order(p, 0, q, 0, env_now_s(env_real())); /* ages are compared: any clock serves */
}

/* Of those with the same index all but one; those without a valid index. The rest stays in *left. */
static struct job_pods duplicates(struct job_sync *s, struct job_pods *left) {
    struct job_pods sorted = {arena_memdup(s->a, s->active.items, s->active.len * sizeof(*s->active.items)), s->active.len}, rm = {arena_calloc(s->a, s->active.len + 1, sizeof(*rm.items)), 0};
    if (sorted.len) qsort(sorted.items, sorted.len, sizeof(*sorted.items), by_index);
    for (size_t i = 0, end; i < sorted.len; i = end) {
        int index = job_pod_index(sorted.items[i]);
        for (end = i + 1; end < sorted.len && job_pod_index(sorted.items[end]) == index;) end++;
        bool valid = index != JOB_NO_INDEX && index < s->job->spec.completions.value;
        if (end - i > 1) qsort(sorted.items + i, end - i, sizeof(*sorted.items), by_deletion_order);
        for (size_t j = i; j < end; j++) {
            struct job_pods *to = valid && j == end - 1 ? left : &rm;
            to->items[to->len++] = sorted.items[j];
        }
    }
    return rm;
}

static struct job_pods to_remove(struct job_sync *s, size_t at_least) {
    struct job_pods left = {arena_calloc(s->a, s->active.len + 1, sizeof(*left.items)), 0}, rm = {arena_calloc(s->a, s->active.len + 1, sizeof(*rm.items)), 0};
    if (s->indexed) {
        struct job_pods doubles = duplicates(s, &left);
        JOB_PODS_FOREACH(p, &doubles) rm.items[rm.len++] = p;
    } else {
        JOB_PODS_FOREACH(p, &s->active) left.items[left.len++] = p;
    }
    if (rm.len < at_least) {
        qsort(left.items, left.len, sizeof(*left.items), by_deletion_order);
        for (size_t i = 0; rm.len < at_least && i < left.len; i++) rm.items[rm.len++] = left.items[i];
    }
    rm.len = MIN(rm.len, MAX(at_least, (size_t)JOB_PODS_PER_SYNC));
    return rm;
}

/* ---- which come ---- */

static job_pod *delayed_of(const struct job_sync *s, int index) {
    for (size_t i = 0; i < s->delayed.len; i++)
        if (s->delayed.items[i].index == index) return s->delayed.items[i].pod;
    return NULL;
}

static void push_indexes(struct job_sync *s, const struct job_pods *pods, bool terminating, struct int32_list *to) {
    JOB_PODS_FOREACH(p, pods)
        if (job_pod_index(p) != JOB_NO_INDEX && (!terminating || (p->metadata.deletionTimestamp.set && !pod_is_terminal(p)))) *LIST_PUSH(s->a, to) = job_pod_index(p);
}

/* The first indexes that have not succeeded, failed, or a Pod at work. */
static int *pending_indexes(struct job_sync *s, size_t max, size_t *ret_len) {
    struct int32_list busy = {0};
    push_indexes(s, &s->active, false, &busy);
    if (job_only_replaces_failed(s->job)) push_indexes(s, &s->pods, true, &busy);
    struct job_indexes taken = job_indexes_with(s->a, &s->done, &busy);
    if (s->per_index) taken = job_indexes_merge(s->a, &taken, &s->failed_indexes);
    int *ret = arena_calloc(s->a, max + 1, sizeof(*ret)), candidate = 0;
    *ret_len = 0;
    for (size_t i = 0; i <= taken.len; i++) {
        int until = i < taken.len ? MIN(taken.items[i].first, s->job->spec.completions.value) : s->job->spec.completions.value;
        for (; candidate < until && *ret_len < max; candidate++) ret[(*ret_len)++] = candidate;
        if (i < taken.len) candidate = MAX(candidate, taken.items[i].last + 1);
    }
    return ret;
}

/* Each index has a back-off of its own. *ret_wait_ms: when none may begin now, how long until one may. */
static size_t indexes_now(struct job_sync *s, int *indexes, size_t len, int64_t *ret_wait_ms) {
    size_t kept = 0;
    int64_t wait = 0, now = env_now_ns(s->jc->c->env);
    for (size_t i = 0; i < len; i++) {
        job_pod *last = delayed_of(s, indexes[i]);
        struct job_backoff b = {0};
        if (last) b = (struct job_backoff){job_index_failures(last) + job_index_ignored(last) + 1, job_finished_at(last)};
        int64_t left = job_backoff_wait_ms(&b, now);
        if (left == 0) indexes[kept++] = indexes[i];
        else if (wait == 0 || left < wait) wait = left;
    }
    *ret_wait_ms = kept ? 0 : wait;
    return kept;
}

static void add_index_env(struct arena *a, struct corev1_Container_list *containers) {
    LIST_FOREACH(c, containers) {
        bool there = false;
        LIST_FOREACH(e, &c->env) there |= str_eq(e->name, "JOB_COMPLETION_INDEX");
        if (there) continue;
        struct corev1_EnvVar *e = LIST_PUSH(a, &c->env);
        e->name = "JOB_COMPLETION_INDEX";
        e->valueFrom = ARENA_NEW(a, struct corev1_EnvVarSource);
        e->valueFrom->fieldRef = ARENA_NEW(a, struct corev1_ObjectFieldSelector);
        e->valueFrom->fieldRef->fieldPath = "metadata.labels['" ANNOTATION_JOB_INDEX "']";
    }
}

static const struct corev1_PodTemplateSpec *template_of(struct job_sync *s) {
    struct corev1_PodTemplateSpec *t = object_copy(s->a, &corev1_PodTemplateSpec_desc, &s->job->spec.template);
    if (!string_list_has(&t->metadata.finalizers, JOB_FINALIZER)) string_list_push(s->a, &t->metadata.finalizers, JOB_FINALIZER);
    if (!s->indexed) return t;
    add_index_env(s->a, &t->spec.initContainers);
    add_index_env(s->a, &t->spec.containers);
    return t;
}

static void number_pod(struct job_sync *s, struct arena *a, struct corev1_Pod *p, int index) {
    const char *text = arena_printf(a, "%d", index), *tail = arena_printf(a, "-%d-", index);
    string_map_set(a, &p->metadata.annotations, ANNOTATION_JOB_INDEX, text);
    string_map_set(a, &p->metadata.labels, ANNOTATION_JOB_INDEX, text);
    p->spec.hostname = arena_printf(a, "%s-%d", s->job->metadata.name, index);
    p->metadata.generateName = arena_printf(a, "%.*s%s", (int)(58 - strlen(tail)), s->job->metadata.name, tail);
    if (!s->per_index) return;
    job_pod *last = delayed_of(s, index);
    int32_t failures = last ? job_index_failures(last) : 0, ignored = last ? job_index_ignored(last) : 0;
    if (last && job_failure_action(s->job, last, a, NULL) == JOB_IGNORE) ignored++;
    else if (last) failures++;
    string_map_set(a, &p->metadata.annotations, ANNOTATION_INDEX_FAILURES, arena_printf(a, "%d", failures));
    if (ignored > 0) string_map_set(a, &p->metadata.annotations, ANNOTATION_INDEX_IGNORED, arena_printf(a, "%d", ignored));
}

static int create_one(void *arg, size_t i) {
    struct batch *b = arg;
    struct job_sync *s = b->s;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod *p = pod_from_template(a, &batchv1_Job_desc, s->job, b->template);
    if (b->indexes) number_pod(s, a, p, b->indexes[i]);
    if (pod_control_create_pod(s->jc->c, &batchv1_Job_desc, s->job, p, &err) == 0 || status_has_cause(&err, "NamespaceTerminating")) return 0;
    if (write_is_in_doubt(&err)) expectations_doubt(s->jc->expectations, s->job->metadata.uid);
    fail(b, &err);
    return -1;
}

static void tell_created(const struct job_sync *s, size_t made, size_t failed) {
    bool only_failed = str_eq(s->job->spec.podReplacementPolicy, "Failed");
    const char *why = only_failed && s->failed > 0 ? "recreate_failed" : s->failed > 0 || s->terminating > 0 ? "recreate_terminating_or_failed" : "new";
    if (made) controller_metric_add(&metrics_job_pods_created, (double)made, "reason=\"%s\",status=\"succeeded\"", why);
    if (failed) controller_metric_add(&metrics_job_pods_created, (double)failed, "reason=\"%s\",status=\"failed\"", why);
}

static int create_pods(struct job_sync *s, size_t n, const int *indexes, int32_t *active, struct status *reterr) {
    struct batch b = {.s = s, .template = template_of(s), .indexes = indexes};
    pthread_mutex_init(&b.mutex, NULL);
    expectations_expect_creations(s->jc->expectations, s->job->metadata.uid, (int)n);
    size_t made = parallel_slow_start(n, create_one, &b);
    for (size_t i = made; i < n; i++) expectations_creation_observed(s->jc->expectations, s->job->metadata.uid);
    *active += (int32_t)made;
    tell_created(s, made, n - made);
    return finish(&b, reterr);
}

/* ---- manage ---- */

static int32_t wanted(const struct job_sync *s, int32_t active) {
    int32_t parallelism = s->job->spec.parallelism.value;
    if (!s->job->spec.completions.has) return s->succeeded > 0 ? active : parallelism; /* a queue of work: who is at it may end, nobody new begins */
    return MAX(MIN(s->job->spec.completions.value - s->succeeded, parallelism), 0);
}

static void come_back(struct job_sync *s, int64_t ms) { controller_enqueue_after(s->jc->c, s->job, MAX(ms, (int64_t)JOB_BATCH_MS)); }

int job_manage(struct job_sync *s, int32_t *active, struct status *reterr) {
    int32_t have = (int32_t)s->active.len, deleted, want = job_is_suspended(s->job) ? 0 : wanted(s, have);
    int64_t wait_ms = 0;
    *active = have;
    struct job_pods rm = to_remove(s, (size_t)MAX(have - want, 0));
    if (rm.len || job_is_suspended(s->job)) {
        s->action = "pods_deleted";
        int rc = delete_pods(s, &rm, true, &deleted, reterr);
        *active -= deleted;
        return rc;
    }
    s->action = "tracking";
    int32_t missing = want - have - (job_only_replaces_failed(s->job) ? s->terminating : 0);
    if (missing <= 0) return 0;
    if (!s->per_index) wait_ms = job_backoff_wait_ms(&s->backoff, env_now_ns(s->jc->c->env));
    size_t n = (size_t)MIN(missing, (int32_t)JOB_PODS_PER_SYNC);
    int *indexes = NULL;
    if (wait_ms == 0 && s->indexed) {
        indexes = pending_indexes(s, n, &n);
        if (s->per_index) n = indexes_now(s, indexes, n, &wait_ms);
    }
    if (wait_ms > 0) {
        come_back(s, wait_ms);
        *active = 0; /* as upstream reports it: there are none */
        return 0;
    }
    s->action = "pods_created";
    return create_pods(s, n, indexes, active, reterr);
}
