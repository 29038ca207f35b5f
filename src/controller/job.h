/* What the files of the Job controller share; nobody else includes it. job.c: events and one sync; job_manage.c: which Pods are made and deleted; job_tracking.c: how
 * finished Pods are counted once and only once; job_policy.c: failure and success policies, back-off; job_indexes.c: sets of indexes. */
#ifndef CKUBE_CONTROLLER_JOB_H
#define CKUBE_CONTROLLER_JOB_H
#include "base/map.h"
#include "controller/controller_utils.h"

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define ANNOTATION_JOB_INDEX "batch.kubernetes.io/job-completion-index"
#define ANNOTATION_INDEX_FAILURES "batch.kubernetes.io/job-index-failure-count"
#define ANNOTATION_INDEX_IGNORED "batch.kubernetes.io/job-index-ignored-failure-count"
enum { JOB_NO_INDEX = -1, JOB_PODS_PER_SYNC = 500, JOB_BATCH_MS = 100 /* upstream waits a second for more Pods' news; there is no need to */ };

/* ---- job_indexes.c: ordered, disjoint, not adjacent ---- */
struct job_interval { int first, last; };
struct job_indexes { struct job_interval *items; size_t len; };
struct job_indexes job_indexes_parse(struct arena *a, const char *text, int completions); /* "1,3-5,7" */
char *job_indexes_string(struct arena *a, const struct job_indexes *x);
int job_indexes_total(const struct job_indexes *x);
bool job_indexes_has(const struct job_indexes *x, int index);
struct job_indexes job_indexes_merge(struct arena *a, const struct job_indexes *x, const struct job_indexes *y);
struct job_indexes job_indexes_with(struct arena *a, const struct job_indexes *x, const struct int32_list *more); /* in any order */
int job_indexes_overlap(const struct job_indexes *x, const struct job_indexes *y);          /* how many are in both */

typedef const struct corev1_Pod job_pod;
struct job_pods { job_pod **items; size_t len; };
#define JOB_PODS_FOREACH(p, l) for (size_t p##_i = 0; p##_i < (l)->len; p##_i++) for (job_pod *p = (l)->items[p##_i], *p##_once = p; p##_once; p##_once = NULL)

/* Failures since the last success: the next Pod waits 10 s, 20 s, ... 10 min after the last. */
struct job_backoff { int32_t failures; int64_t last_s; };

struct job_controller {
    struct controller *c;
    struct informer *jobs, *pods;
    int by_controller;
    struct expectations *expectations;
    struct own_writes *statuses;        /* by UID: with an older status than its Pods' finalizers are, what was counted would be missing, and run again */
    pthread_mutex_t mutex;              /* of what follows */
    struct map *removing;               /* job key -> struct map * of UIDs whose finalizer was taken away, which the cache does not show */
    struct map *backoffs;               /* job key -> struct job_backoff * */
    struct map *finished;               /* UIDs of Jobs that were finished, which the cache does not show */
};

struct job_delayed { int index; job_pod *pod; };
struct job_sync {
    struct job_controller *jc;
    struct arena *a;
    const char *key;
    struct batchv1_Job *job;            /* a copy */
    struct selector selector;
    struct cached_list hold;
    struct job_pods pods, active;
    struct string_list uncounted_succeeded, uncounted_failed; /* as they were */
    struct map *removing;               /* UIDs */
    int32_t ready, terminating, succeeded, failed;
    struct job_backoff backoff;
    const char *action;                 /* what was done, for the metrics */
    struct { int32_t succeeded, failed; int failed_indexes; } told; /* what the status that was written last says */
    struct batchv1_JobCondition *finished; /* it is, or is about to be */
    bool indexed, per_index;            /* Indexed; with a back-off limit per index */
    struct job_indexes before, done, failed_indexes;
    struct { struct job_delayed *items; size_t len; } delayed; /* failed Pods that are kept until their successor is made: they know the index's failures */
};

/* ---- job.c ---- */
struct batchv1_JobCondition *job_condition_new(struct job_sync *s, const char *type, const char *status, const char *reason, const char *message);
struct batchv1_JobCondition *job_condition(const struct batchv1_JobStatus *s, const char *type);
bool job_set_condition(struct job_sync *s, const char *type, const char *status, const char *reason, const char *message); /* true: it changed */
bool job_pod_failed(const struct job_sync *s, job_pod *p);
bool job_pod_tracked(job_pod *p);       /* has the finalizer */
bool job_only_replaces_failed(const struct batchv1_Job *j);
bool job_is_suspended(const struct batchv1_Job *j);
int job_pod_index(job_pod *p);
bool job_pod_index_valid(const struct job_sync *s, job_pod *p);
static inline const char *job_mode(const struct job_sync *s) { return s->indexed ? "Indexed" : "NonIndexed"; }
bool job_write_status(struct job_sync *s, struct status *reterr); /* false: failed */

/* ---- job_manage.c ---- */
int job_manage(struct job_sync *s, int32_t *active, struct status *reterr);
int job_delete_active(struct job_sync *s, int32_t *ret_deleted, struct status *reterr); /* for a Job that is finished */
int job_remove_finalizer(struct job_controller *jc, job_pod *p, struct status *reterr);

/* ---- job_tracking.c ---- */
int job_track(struct job_sync *s, bool flush, struct status *reterr);

/* ---- job_policy.c ---- */
enum job_action { JOB_NO_ACTION, JOB_IGNORE, JOB_COUNT, JOB_FAIL_INDEX, JOB_FAIL_JOB };
/* What the policy's first rule that fits says of a failed Pod; *ret_message for JOB_FAIL_JOB. */
enum job_action job_failure_action(const struct batchv1_Job *j, job_pod *p, struct arena *a, const char **ret_message);
const char *job_success_message(struct job_sync *s); /* NULL: no rule holds */
int64_t job_finished_at(job_pod *p);                 /* seconds */
struct job_backoff job_backoff_after(const struct job_backoff *was, struct job_pods *succeeded, struct job_pods *failed);
int64_t job_backoff_wait_ms(const struct job_backoff *b, int64_t now_ns);
int32_t job_index_failures(job_pod *p);
int32_t job_index_ignored(job_pod *p);
#endif
