/* Finished Jobs are deleted spec.ttlSecondsAfterFinished later. Upstream: pkg/controller/ttlafterfinished. Tests: tests/unit/test_controller_misc.c. */
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

struct ttl_after_finished { struct controller *c; struct informer *jobs; };

/* When it finished; false: it has not, or shall stay, or is leaving already. */
static bool finished_at(const struct batchv1_Job *job, int64_t *ret_s) {
    if (job->metadata.deletionTimestamp.set || !job->spec.ttlSecondsAfterFinished.has) return false;
    LIST_FOREACH(c, &job->status.conditions) {
        if (!str_eq(c->status, "True") || !(str_eq(c->type, "Complete") || str_eq(c->type, "Failed"))) continue;
        *ret_s = c->lastTransitionTime.sec;
        return c->lastTransitionTime.set;
    }
    return false;
}

/* True: its time is over; otherwise it is looked at again when it will be. */
static bool expired(struct ttl_after_finished *tf, const char *key, const struct batchv1_Job *job) {
    int64_t at;
    if (!finished_at(job, &at)) return false;
    int64_t left_ms = (at + job->spec.ttlSecondsAfterFinished.value) * 1000 - env_now_ns(tf->c->env) / 1000000;
    if (left_ms > 0) work_queue_add_after(tf->c->queue, key, left_ms);
    return left_ms <= 0;
}

static int sync_job(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct ttl_after_finished *tf = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(tf->jobs, ns, name);
    _cleanup_status_ struct status err = STATUS_INIT;
    struct batchv1_Job fresh;
    if (!cached || !expired(tf, key, CACHED(cached, batchv1_Job))) return 0;
    /* The cached TTL may be an old one: the server has the last word. */
    int rc = client_get(tf->c->client, a, &batchv1_Job_desc, ns, name, &fresh, &err);
    if (rc == 0 && !expired(tf, key, &fresh)) return 0;
    if (rc == 0) rc = client_delete(tf->c->client, &batchv1_Job_desc, ns, name, client_delete_options(a, fresh.metadata.uid, "Foreground"), &err);
    int64_t at;
    if (rc == 0 && finished_at(&fresh, &at))
        metric_observe(&metrics_ttl_deletion, "", (double)env_now_ns(tf->c->env) / 1e9 - (double)(at + fresh.spec.ttlSecondsAfterFinished.value));
    if (rc == 0 || status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}

static void on_add(void *data, struct cached *now) {
    int64_t at;
    if (finished_at(CACHED(now, batchv1_Job), &at)) controller_enqueue(data, now->obj);
}
static void on_update(void *data, struct cached *old UNUSED, struct cached *now) { on_add(data, now); }

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct ttl_after_finished *tf = calloc(1, sizeof(*tf));
    CHECK(tf);
    tf->c = c;
    tf->jobs = informers_get(c->context->informers, &batchv1_Job_desc);
    informer_add_handler(tf->jobs, &(struct informer_handler){c, on_add, on_update, NULL});
    return tf;
}

const struct controller_desc controller_ttl_after_finished = {.name = "ttl-after-finished-controller", .queue = "ttl_jobs_to_delete", .workers = 5, .new = new, .sync = sync_job, .free = free};
