/* CronJobs: a Job at each time of a schedule. Upstream: pkg/controller/cronjob.
 *
 * A Job's name follows from its time, so that no time is served twice. Of several times that were missed only the last is made up for.
 * Tests: tests/unit/test_controller_cronjob.c, test_time_zone.c. */
#include <stdio.h>
#include <stdlib.h>
#include "api/cron_schedule.h"
#include "api/time.h"
#include "api/time_zone.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

enum { NEXT_DELTA_MS = 100, LOOK_AGAIN_MS = 50, MANY_MISSED = 100 };
#define ANNOTATION_SCHEDULED "batch.kubernetes.io/cronjob-scheduled-timestamp"

struct cron_controller {
    struct controller *c;
    struct informer *cron_jobs, *jobs;
    int by_controller;
    struct own_writes *statuses, *made; /* of CronJobs and of Jobs, by the CronJob's UID: before both were seen it is not known what runs */
};

struct cron_sync {
    struct cron_controller *cc;
    struct arena *a;
    const char *key;
    struct batchv1_CronJob *cj;      /* a copy */
    struct cached_list jobs;
    struct cron_schedule schedule;
    struct time_zone *zone;
    int64_t now_ns;
    bool changed;                    /* the status */
};

#define RECORD(s, type, reason, ...) event_record((s)->cc->c->events, &batchv1_CronJob_desc, (s)->cj, type, reason, __VA_ARGS__)

/* ---- events ---- */

static void enqueue_owner(struct cron_controller *cc, const struct object *job, const struct metav1_OwnerReference *ref) {
    if (!ref || !str_eq(ref->kind, "CronJob")) return;
    _cleanup_cached_ struct cached *cj = informer_get(cc->cron_jobs, job->metadata.namespace, ref->name);
    if (cj && str_eq(cj->obj->metadata.uid, ref->uid)) controller_enqueue(cc->c, cj->obj);
}

static void on_job_add(void *data, struct cached *now) { enqueue_owner(data, now->obj, controller_of(now->obj)); }

static void on_job_update(void *data, struct cached *old, struct cached *now) {
    const struct metav1_OwnerReference *was = controller_of(old->obj), *is = controller_of(now->obj);
    if (was && !(is && str_eq(is->uid, was->uid))) enqueue_owner(data, old->obj, was);
    on_job_add(data, now);
}

/* ---- Jobs ---- */

static const char *finished(const struct batchv1_Job *j) {
    LIST_FOREACH(c, &j->status.conditions)
        if ((str_eq(c->type, "Complete") || str_eq(c->type, "Failed")) && str_eq(c->status, "True")) return c->type;
    return NULL;
}

static bool is_active(const struct batchv1_CronJob *cj, const char *uid) {
    LIST_FOREACH(r, &cj->status.active)
        if (str_eq(r->uid, uid)) return true;
    return false;
}

static void drop_active(struct cron_sync *s, const char *uid) {
    size_t kept = 0;
    struct corev1_ObjectReference_list *l = &s->cj->status.active;
    for (size_t i = 0; i < l->len; i++)
        if (!str_eq(l->items[i].uid, uid)) l->items[kept++] = l->items[i];
    l->len = kept;
}

static bool delete_job(struct cron_sync *s, const char *name, const char *uid) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_delete(s->cc->c->client, &batchv1_Job_desc, s->cj->metadata.namespace, name, client_delete_options(s->a, NULL, "Background"), &err) != 0) {
        RECORD(s, EVENT_WARNING, "FailedDelete", "Deleted job: %s", status_message(&err));
        return false;
    }
    drop_active(s, uid);
    RECORD(s, EVENT_NORMAL, "SuccessfulDelete", "Deleted job %s", name);
    s->changed = true;
    return true;
}

static int by_start(const void *x, const void *y) {
    const struct batchv1_Job *a = *(const struct batchv1_Job *const *)x, *b = *(const struct batchv1_Job *const *)y;
    const struct api_time *ta = &a->status.startTime, *tb = &b->status.startTime;
    if (ta->set != tb->set) return ta->set ? -1 : 1;
    return ta->sec != tb->sec ? (ta->sec < tb->sec ? -1 : 1) : str_cmp(a->metadata.name, b->metadata.name);
}

static void clean_up(struct cron_sync *s, const char *type, const struct opt_int32 *limit) {
    struct { const struct batchv1_Job **items; size_t len; } done = {0};
    if (!limit->has) return;
    CACHED_FOREACH(j, batchv1_Job, &s->jobs)
        if (str_eq(finished(j), type)) *LIST_PUSH(s->a, &done) = j;
    if (done.len) qsort(done.items, done.len, sizeof(*done.items), by_start);
    for (size_t i = 0; i + (size_t)limit->value < done.len; i++) delete_job(s, done.items[i]->metadata.name, done.items[i]->metadata.uid);
}

/* One that is at work and is not in the list: somebody else's, or the cache is behind our own status. */
static int look_at_stranger(struct cron_sync *s, const struct batchv1_Job *j, struct status *reterr) {
    struct batchv1_CronJob *live = arena_alloc(s->a, sizeof(*live));
    if (client_get(s->cc->c->client, s->a, &batchv1_CronJob_desc, s->cj->metadata.namespace, s->cj->metadata.name, live, reterr) != 0) return -1;
    if (is_active(live, j->metadata.uid)) s->cj = live;
    else RECORD(s, EVENT_WARNING, "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", j->metadata.name);
    return 0;
}

static int look_at(struct cron_sync *s, const struct batchv1_Job *j, struct status *reterr) {
    const char *end = finished(j);
    bool active = is_active(s->cj, j->metadata.uid);
    if (!end) return active ? 0 : look_at_stranger(s, j, reterr);
    if (active) {
        drop_active(s, j->metadata.uid);
        RECORD(s, EVENT_NORMAL, "SawCompletedJob", "Saw completed job: %s, condition: %s", j->metadata.name, end);
        s->changed = true;
    }
    struct api_time *last = &s->cj->status.lastSuccessfulTime;
    if (str_eq(end, "Complete") && j->status.completionTime.set && (!last->set || j->status.completionTime.sec > last->sec)) {
        *last = j->status.completionTime;
        s->changed = true;
    }
    return 0;
}

static int look_for_missing(struct cron_sync *s, struct status *reterr) {
    for (size_t i = s->cj->status.active.len; i > 0; i--) {
        struct corev1_ObjectReference r = s->cj->status.active.items[i - 1];
        struct batchv1_Job job;
        _cleanup_status_ struct status err = STATUS_INIT;
        bool known = false;
        CACHED_FOREACH(j, batchv1_Job, &s->jobs) known |= str_eq(j->metadata.uid, r.uid);
        if (known || client_get(s->cc->c->client, s->a, &batchv1_Job_desc, r.namespace, r.name, &job, &err) == 0) continue;
        if (!status_is(&err, 404)) {
            if (reterr) status_copy(reterr, &err);
            return -1;
        }
        RECORD(s, EVENT_NORMAL, "MissingJob", "Active job went missing: %s", r.name);
        drop_active(s, r.uid);
        s->changed = true;
    }
    return 0;
}

/* ---- times ---- */

static int64_t next_after(const struct cron_sync *s, int64_t t) {
    int64_t next = cron_schedule_next(&s->schedule, s->zone, t);
    return next < 0 ? INT64_MAX / 4000000000LL : next; /* never: as Go's zero time is long past, nothing would come of it either */
}

enum missed { MISSED_NONE, MISSED_FEW, MISSED_MANY };

/* The last time that has come and was not served; -1: none. *ret_from: since when was looked. */
static int64_t most_recent(const struct cron_sync *s, bool with_deadline, int64_t *ret_from, enum missed *ret_missed) {
    const struct batchv1_CronJob *cj = s->cj;
    int64_t now = s->now_ns / 1000000000, from = cj->status.lastScheduleTime.set ? cj->status.lastScheduleTime.sec : cj->metadata.creationTimestamp.sec, recent = -1;
    if (with_deadline && cj->spec.startingDeadlineSeconds.has) from = MAX(from, now - cj->spec.startingDeadlineSeconds.value);
    *ret_from = from;
    *ret_missed = MISSED_NONE;
    int64_t first = next_after(s, from), second = next_after(s, first);
    if (now < first) return -1;
    if (now < second) return first;
    int64_t between = second - first;
    if (between < 1) return -1;
    int64_t missed = (now - first) / between + 1; /* an estimate: the times need not be evenly spaced */
    for (int64_t t = next_after(s, first + (missed - 2) * between); t <= now; t = next_after(s, t)) recent = t;
    *ret_missed = missed > MANY_MISSED ? MISSED_MANY : MISSED_FEW;
    return recent;
}

static void come_back(struct cron_sync *s) {
    int64_t from;
    enum missed missed;
    int64_t recent = most_recent(s, false, &from, &missed);
    if (recent < 0) recent = missed == MISSED_NONE ? from : s->now_ns / 1000000000;
    work_queue_add_after(s->cc->c->queue, s->key, MAX(next_after(s, recent) * 1000 + NEXT_DELTA_MS - env_now_ns(s->cc->c->env) / 1000000, (int64_t)0));
}

static char *rfc3339(struct arena *a, const struct time_zone *z, int64_t t) {
    struct civil_time c = civil_time_of(z, t);
    int offset = time_zone_offset(z, t) / 60;
    char *stamp = arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02d", c.year, c.month, c.day, c.hour, c.minute, c.second);
    return offset ? arena_printf(a, "%s%c%02d:%02d", stamp, offset < 0 ? '-' : '+', abs(offset) / 60, abs(offset) % 60) : arena_printf(a, "%sZ", stamp);
}

static char *rfc1123(struct arena *a, int64_t t) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil_time c = civil_time_of(time_zone_load(a, "UTC"), t);
    return arena_printf(a, "%s, %02d %s %d %02d:%02d:%02d +0000", days[c.weekday], c.day, months[c.month - 1], c.year, c.hour, c.minute, c.second);
}

/* ---- starting ---- */

static int replace_active(struct cron_sync *s, struct status *reterr) {
    struct corev1_ObjectReference_list active = {arena_memdup(s->a, s->cj->status.active.items, s->cj->status.active.len * sizeof(*s->cj->status.active.items)), s->cj->status.active.len};
    LIST_FOREACH(r, &active) {
        struct batchv1_Job job;
        if (client_get(s->cc->c->client, s->a, &batchv1_Job_desc, r->namespace, r->name, &job, reterr) != 0) {
            RECORD(s, EVENT_WARNING, "FailedGet", "Get job: %s", status_message(reterr));
            return -1;
        }
        if (!delete_job(s, job.metadata.name, job.metadata.uid)) return status_internal(reterr, "could not replace job %s/%s", job.metadata.namespace, job.metadata.name);
    }
    return 0;
}

static struct batchv1_Job *job_of(struct cron_sync *s, int64_t at) {
    struct arena *a = s->a;
    const struct batchv1_CronJob *cj = s->cj;
    struct batchv1_Job *j = object_new(a, &batchv1_Job_desc);
    j->metadata.name = arena_printf(a, "%s-%lld", cj->metadata.name, (long long)(at / 60));
    j->metadata.namespace = cj->metadata.namespace;
    j->metadata.labels = string_map_copy(a, &cj->spec.jobTemplate.metadata.labels);
    j->metadata.annotations = string_map_copy(a, &cj->spec.jobTemplate.metadata.annotations);
    string_map_set(a, &j->metadata.annotations, ANNOTATION_SCHEDULED, rfc3339(a, time_zone_load(a, str_or(cj->spec.timeZone, "UTC")), at));
    *LIST_PUSH(a, &j->metadata.ownerReferences) = controller_ref(a, &batchv1_CronJob_desc, cj);
    object_copy_into(a, &batchv1_JobSpec_desc, &j->spec, &cj->spec.jobTemplate.spec);
    return j;
}

static int start(struct cron_sync *s, int64_t at, struct status *reterr) {
    struct batchv1_Job *j = job_of(s, at), made;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_create(s->cc->c->client, s->a, &batchv1_Job_desc, j, &made, &err) == 0) {
        own_writes_note(s->cc->made, s->cj->metadata.uid, &made);
        metric_observe(&metrics_cronjob_skew, "", (double)(made.metadata.creationTimestamp.sec - at));
        RECORD(s, EVENT_NORMAL, "SuccessfulCreate", "Created job %s", made.metadata.name);
    } else if (str_eq(err.reason, REASON_ALREADY_EXISTS)) {
        /* Made before, but the status that says so was not written. */
        if (client_get(s->cc->c->client, s->a, &batchv1_Job_desc, j->metadata.namespace, j->metadata.name, &made, reterr) != 0) return -1;
        if (!controlled_by(&made, s->cj) || is_active(s->cj, made.metadata.uid)) return 0;
    } else {
        if (write_is_in_doubt(&err)) own_writes_doubt(s->cc->made, s->cj->metadata.uid);
        if (!status_has_cause(&err, "NamespaceTerminating")) RECORD(s, EVENT_WARNING, "FailedCreate", "Error creating job: %s", status_message(&err));
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    *LIST_PUSH(s->a, &s->cj->status.active) = (struct corev1_ObjectReference){.kind = "Job", .namespace = made.metadata.namespace, .name = made.metadata.name, .uid = made.metadata.uid,
        .apiVersion = "batch/v1", .resourceVersion = made.metadata.resourceVersion};
    s->cj->status.lastScheduleTime = time_from_s(at);
    s->changed = true;
    come_back(s);
    return 0;
}

static bool served(const struct cron_sync *s, int64_t at) {
    char name[320];
    snprintf(name, sizeof(name), "%s-%lld", s->cj->metadata.name, (long long)(at / 60));
    LIST_FOREACH(r, &s->cj->status.active)
        if (str_eq(r->name, name)) return true;
    return s->cj->status.lastScheduleTime.set && s->cj->status.lastScheduleTime.sec == at;
}

/* One that runs and is not in the status, since whoever made it ended before it wrote that down, runs all the same. (Upstream counts the status alone.) */
static bool runs_another(const struct cron_sync *s, int64_t at) {
    char name[320];
    snprintf(name, sizeof(name), "%s-%lld", s->cj->metadata.name, (long long)(at / 60));
    CACHED_FOREACH(j, batchv1_Job, &s->jobs)
        if (!finished(j) && !str_eq(j->metadata.name, name)) return true;
    return s->cj->status.active.len > 0;
}

static int keep_schedule(struct cron_sync *s, struct status *reterr) {
    const struct batchv1_CronJob *cj = s->cj;
    int64_t from, at;
    enum missed missed;
    at = most_recent(s, true, &from, &missed);
    if (at < 0) {
        come_back(s);
        return 0;
    }
    if (missed == MISSED_MANY) RECORD(s, EVENT_WARNING, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
    bool late = cj->spec.startingDeadlineSeconds.has && (at + cj->spec.startingDeadlineSeconds.value) * 1000000000LL < s->now_ns;
    bool forbidden = str_eq(cj->spec.concurrencyPolicy, "Forbid") && runs_another(s, at);
    if (late) RECORD(s, EVENT_WARNING, "MissSchedule", "Missed scheduled time to start a job: %s", rfc1123(s->a, at));
    else if (!served(s, at)) {
        if (!forbidden) return str_eq(cj->spec.concurrencyPolicy, "Replace") && replace_active(s, reterr) != 0 ? -1 : start(s, at, reterr);
        RECORD(s, EVENT_NORMAL, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
    }
    come_back(s);
    return 0;
}

/* ---- sync ---- */

static bool parse_schedule(struct cron_sync *s) {
    const struct batchv1_CronJob *cj = s->cj;
    const char *why = NULL;
    if (cj->spec.timeZone && !(s->zone = time_zone_load(s->a, cj->spec.timeZone))) {
        RECORD(s, EVENT_WARNING, "UnknownTimeZone", "invalid timeZone: \"%s\": unknown time zone %s", cj->spec.timeZone, cj->spec.timeZone);
        return false;
    }
    if (cj->spec.suspend.has && cj->spec.suspend.value) return false;
    if (strstr(str_or(cj->spec.schedule, ""), "TZ"))
        RECORD(s, EVENT_WARNING, "UnsupportedSchedule",
               "CRON_TZ or TZ used in schedule \"%s\" is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details", cj->spec.schedule);
    if (cron_schedule_parse(s->a, cj->spec.schedule, &s->schedule, &why) != 0) {
        RECORD(s, EVENT_WARNING, "UnparseableSchedule", "unparseable schedule: \"%s\" : %s", str_or(cj->spec.schedule, ""), why);
        return false;
    }
    if (s->schedule.time_zone) s->zone = time_zone_load(s->a, s->schedule.time_zone);
    else if (!s->zone) s->zone = time_zone_load(s->a, NULL);
    return s->zone;
}

static int sync_one(struct cron_sync *s, struct status *reterr) {
    clean_up(s, "Complete", &s->cj->spec.successfulJobsHistoryLimit);
    clean_up(s, "Failed", &s->cj->spec.failedJobsHistoryLimit);
    CACHED_FOREACH(j, batchv1_Job, &s->jobs)
        if (look_at(s, j, reterr) != 0) return -1;
    if (look_for_missing(s, reterr) != 0) return -1;
    if (s->cj->metadata.deletionTimestamp.set || !parse_schedule(s)) return 0;
    return keep_schedule(s, reterr);
}

/* Whether the caches have all that was written for it. What may have been written is read from the server first. */
static bool is_up_to_date(struct cron_sync *s) {
    struct cron_controller *cc = s->cc;
    const struct metav1_ObjectMeta *meta = &s->cj->metadata;
    struct batchv1_CronJob live;
    struct batchv1_JobList jobs;
    if (own_writes_in_doubt(cc->statuses, meta->uid) && client_get(cc->c->client, s->a, &batchv1_CronJob_desc, meta->namespace, meta->name, &live, NULL) == 0) {
        own_writes_note(cc->statuses, meta->uid, &live);
        own_writes_settle(cc->statuses, meta->uid);
    }
    if (own_writes_in_doubt(cc->made, meta->uid) && client_list(cc->c->client, s->a, &batchv1_Job_desc, meta->namespace, NULL, &jobs, NULL) == 0) {
        LIST_FOREACH(j, &jobs.items)
            if (controlled_by(j, s->cj)) own_writes_note(cc->made, meta->uid, j);
        own_writes_settle(cc->made, meta->uid);
    }
    return own_writes_seen(cc->statuses, meta->uid, cc->cron_jobs) && own_writes_seen(cc->made, meta->uid, cc->jobs);
}

static int write_status(struct cron_sync *s, struct status *reterr) {
    struct cron_controller *cc = s->cc;
    struct batchv1_CronJob now;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_update_status(cc->c->client, s->a, &batchv1_CronJob_desc, s->cj, &now, &err) == 0) own_writes_note(cc->statuses, now.metadata.uid, &now);
    else if (!status_is(&err, 404)) {
        if (write_is_in_doubt(&err)) own_writes_doubt(cc->statuses, s->cj->metadata.uid);
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    return 0;
}

static int sync_cron_job(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct cron_controller *cc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(cc->cron_jobs, ns, name);
    if (!cached) return 0;
    struct cron_sync s = {.cc = cc, .a = a, .key = key, .cj = object_copy(a, &batchv1_CronJob_desc, cached->obj), .now_ns = env_now_ns(cc->c->env)};
    if (!is_up_to_date(&s)) {
        work_queue_add_after(cc->c->queue, key, LOOK_AGAIN_MS);
        return 0;
    }
    informer_by_index(cc->jobs, cc->by_controller, cached->obj->metadata.uid, &s.jobs);
    int rc = sync_one(&s, reterr);
    cached_list_release(&s.jobs);
    if (s.changed && write_status(&s, reterr) != 0) return -1;
    return rc;
}

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct cron_controller *cc = calloc(1, sizeof(*cc));
    CHECK(cc);
    cc->c = c;
    cc->cron_jobs = informers_get(c->context->informers, &batchv1_CronJob_desc);
    cc->jobs = informers_get(c->context->informers, &batchv1_Job_desc);
    cc->statuses = own_writes_new();
    cc->made = own_writes_new();
    cc->by_controller = pods_index_by_controller(cc->jobs);
    informer_add_handler(cc->cron_jobs, &(struct informer_handler){c, controller_on_add, controller_on_update, controller_on_delete});
    informer_add_handler(cc->jobs, &(struct informer_handler){cc, on_job_add, on_job_update, on_job_add});
    return cc;
}

static void free_self(void *self) {
    struct cron_controller *cc = self;
    own_writes_free(cc->statuses);
    own_writes_free(cc->made);
    free(cc);
}

const struct controller_desc controller_cronjob = {.name = "cronjob-controller", .queue = "cronjob", .workers = 5, .new = new, .sync = sync_cron_job, .free = free_self};
