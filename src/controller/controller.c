/* A controller's workers: see controller.h. */
#include "controller/controller.h"
#include "base/log.h"
#include "base/str.h"

enum { WORKERS_MAX = 64 };

struct runner {
    struct controller c; /* first */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_t workers[WORKERS_MAX], run_thread;
    int workers_len;
    bool started, stopping, running;
};

static struct runner *runner_of(struct controller *c) { return (struct runner *)c; }

/* ---- workers ---- */

static void handle(struct controller *c, const char *key) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    if (c->desc->sync(c->self, a, key, &err) == 0) {
        work_queue_forget(c->queue, key);
        return;
    }
    int tries = work_queue_requeues(c->queue, key), max = c->desc->retries_max;
    if (max && tries >= max) {
        log_warning("%s: %s is dropped after %d tries: %s", c->desc->name, key, tries, status_message(&err));
        work_queue_forget(c->queue, key);
        return;
    }
    /* Conflicts are the ordinary way to learn that a cache is behind. */
    if (status_is(&err, 409) || !err.code) log_debug("%s: %s: %s", c->desc->name, key, status_message(&err));
    else log_info("%s: error syncing %s, requeuing: %s", c->desc->name, key, status_message(&err));
    work_queue_add_rate_limited(c->queue, key);
}

static void *work(void *arg) {
    struct controller *c = arg;
    for (char *key; (key = work_queue_get(c->queue)); work_queue_done(c->queue, key)) handle(c, key);
    return NULL;
}

/* A key waits and all workers are busy. */
static void more_workers(void *arg) {
    struct runner *r = arg;
    pthread_mutex_lock(&r->mutex);
    if (r->started && !r->stopping && r->workers_len < MIN(MAX(r->c.desc->workers, 1), (int)WORKERS_MAX) &&
        pthread_create(&r->workers[r->workers_len], NULL, work, &r->c) == 0)
        r->workers_len++;
    pthread_mutex_unlock(&r->mutex);
}

static void *run(void *arg) {
    struct runner *r = arg;
    r->c.desc->run(r->c.self);
    return NULL;
}

/* ---- life ---- */

struct controller *controller_new(struct controller_context *cc, const struct controller_desc *desc, struct status *reterr) {
    struct runner *r = calloc(1, sizeof(*r));
    CHECK(r);
    struct client *client = cc->client_for(cc, desc->account ? desc->account : desc->name);
    r->c = (struct controller){.desc = desc, .context = cc, .env = cc->env, .client = client, .queue = work_queue_new(cc->env, desc->queue),
                               .events = event_recorder_new(client, cc->env, desc->component ? desc->component : desc->name, NULL)};
    pthread_mutex_init(&r->mutex, NULL);
    env_cond_init(&r->cond);
    work_queue_on_backlog(r->c.queue, more_workers, r);
    r->c.self = desc->new(&r->c, reterr);
    if (r->c.self) return &r->c;
    controller_free(&r->c);
    return NULL;
}

void controller_start(struct controller *c) {
    struct runner *r = runner_of(c);
    pthread_mutex_lock(&r->mutex);
    r->started = true;
    if (c->desc->run) r->running = pthread_create(&r->run_thread, NULL, run, r) == 0;
    pthread_mutex_unlock(&r->mutex);
    if (!work_queue_empty(c->queue)) more_workers(r);
}

void controller_stop(struct controller *c) {
    struct runner *r = runner_of(c);
    pthread_mutex_lock(&r->mutex);
    r->stopping = true;
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->mutex);
    work_queue_shut_down(c->queue);
    for (int i = 0; i < r->workers_len; i++) pthread_join(r->workers[i], NULL);
    if (r->running) pthread_join(r->run_thread, NULL);
    r->workers_len = 0;
    r->running = false;
}

void controller_free(struct controller *c) {
    if (!c) return;
    struct runner *r = runner_of(c);
    if (c->self && c->desc->free) c->desc->free(c->self);
    event_recorder_free(c->events);
    work_queue_free(c->queue);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->mutex);
    free(r);
}

bool controller_stopping(struct controller *c) {
    struct runner *r = runner_of(c);
    pthread_mutex_lock(&r->mutex);
    bool s = r->stopping;
    pthread_mutex_unlock(&r->mutex);
    return s;
}

bool controller_sleep_ms(struct controller *c, int64_t ms) {
    struct runner *r = runner_of(c);
    int64_t until = env_mono_ns(c->env) + ms * 1000000;
    pthread_mutex_lock(&r->mutex);
    while (!r->stopping && env_cond_wait(c->env, &r->cond, &r->mutex, until)) {}
    bool stopping = r->stopping;
    pthread_mutex_unlock(&r->mutex);
    return !stopping;
}

/* ---- handlers ---- */

void controller_enqueue(struct controller *c, const void *obj) {
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    work_queue_add(c->queue, object_key(a, obj));
}

void controller_enqueue_after(struct controller *c, const void *obj, int64_t ms) {
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    work_queue_add_after(c->queue, object_key(a, obj), ms);
}

void controller_on_add(void *data, struct cached *now) { controller_enqueue(data, now->obj); }
void controller_on_update(void *data, struct cached *old UNUSED, struct cached *now) { controller_enqueue(data, now->obj); }
void controller_on_delete(void *data, struct cached *old) { controller_enqueue(data, old->obj); }
