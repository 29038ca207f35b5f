/* The finisher thread: makes durable what the writer has committed, in order, and tells everybody.
 *
 * One sync serves all batches that were committed before it began. While it waits for the disk the writer works at the next batch; how the two fit together stands in lmdb.h. When a sync
 * fails, nobody can say what the file holds, and the kernel tells of it only once: what it was for is answered as failed, and so is every later write until the process starts anew. */
#include "store/lmdb.h"

static void fail_all(struct submission *batch, int rc) {
    for (struct submission *sub = batch; sub; sub = sub->next) {
        for (size_t i = 0; i < sub->events_len; i++) store_event_unref(sub->events[i]);
        sub->events_len = 0;
        status_release(&sub->result.error);
        sub->result = (struct store_result){.outcome = STORE_FAILED};
        store_lmdb_error(&sub->result.error, rc, "write");
    }
}

static void note(struct store *s, const struct committed *c) {
    uint64_t n = 0;
    size_t bucket = 0;
    int64_t ns = env_mono_ns(s->clock) - c->begun_ns;
    for (int64_t bound = 125000; bucket < STORE_COMMIT_BUCKETS - 1 && ns > bound; bound *= 2) bucket++;
    pthread_mutex_lock(&s->metrics_mutex);
    for (struct submission *sub = c->batch; sub; sub = sub->next, n++) {
        s->metrics.writes += sub->result.outcome == STORE_OK;
        s->metrics.conflicts += sub->result.outcome == STORE_CONFLICT;
        s->metrics.failures += sub->result.outcome == STORE_FAILED;
    }
    s->metrics.commit_ns_total += (uint64_t)ns;
    s->metrics.commit_bucket[bucket]++;
    s->metrics.batch_max = MAX(s->metrics.batch_max, n);
    pthread_mutex_unlock(&s->metrics_mutex);
}

static void finish(struct store *s, struct committed *c) {
    if (!c->rc) c->rc = s->broken;
    if (c->rc) fail_all(c->batch, c->rc);
    note(s, c);
    store_watch_dispatch(s, c->batch);
    for (struct submission *sub = c->batch, *next; sub; sub = next) {
        next = sub->next;
        sub->done(sub->arg, &sub->result);
        store_submission_free(sub);
    }
    free(c);
}

static struct committed *take_committed(struct store *s) {
    pthread_mutex_lock(&s->finish_mutex);
    while (!s->committed && !s->finish_stopping) pthread_cond_wait(&s->finish_cond, &s->finish_mutex);
    struct committed *first = s->committed;
    s->committed = NULL;
    s->committed_last = &s->committed;
    pthread_mutex_unlock(&s->finish_mutex);
    return first;
}

static void make_durable(struct store *s, const struct committed *first) {
    bool to_sync = false;
    for (const struct committed *c = first; c; c = c->next) to_sync |= c->to_sync;
    if (!to_sync || s->no_sync || s->broken) return;
    int rc = mdb_env_sync(s->file.env, 1);
    if (rc) s->broken = rc;
}

/* The writer may wait for this (take_batch). */
static void tell_finished(struct store *s, size_t batches) {
    pthread_mutex_lock(&s->mutex);
    s->unfinished -= batches;
    if (!s->unfinished) pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

static void *finisher_main(void *arg) {
    struct store *s = arg;
    for (struct committed *c; (c = take_committed(s));) {
        size_t n = 0;
        make_durable(s, c);
        for (struct committed *each = c; each; each = each->next) n++;
        tell_finished(s, n);
        for (struct committed *next; c; c = next) {
            next = c->next;
            finish(s, c);
        }
    }
    return NULL;
}

void store_finish(struct store *s, struct committed *c) {
    pthread_mutex_lock(&s->mutex);
    s->unfinished++;
    pthread_mutex_unlock(&s->mutex);
    pthread_mutex_lock(&s->finish_mutex);
    bool was_empty = s->committed == NULL;
    *s->committed_last = c;
    s->committed_last = &c->next;
    if (was_empty) pthread_cond_signal(&s->finish_cond);
    pthread_mutex_unlock(&s->finish_mutex);
}

void store_finisher_start(struct store *s) {
    s->committed_last = &s->committed;
    pthread_mutex_init(&s->finish_mutex, NULL);
    pthread_cond_init(&s->finish_cond, NULL);
    CHECK(pthread_create(&s->finisher, NULL, finisher_main, s) == 0);
}

void store_finisher_stop(struct store *s) {
    pthread_mutex_lock(&s->finish_mutex);
    s->finish_stopping = true;
    pthread_cond_signal(&s->finish_cond);
    pthread_mutex_unlock(&s->finish_mutex);
    pthread_join(s->finisher, NULL);
    pthread_mutex_destroy(&s->finish_mutex);
    pthread_cond_destroy(&s->finish_cond);
}
