#include "base/loop.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/fiber.h"
#include "base/macros.h"

enum { AT_EXIT_MAX = 8, POSTS_KEPT_MAX = 4096 };

struct post {
    void (*fn)(void *);
    void *arg;
};

struct posts {
    struct post *items;
    size_t len, cap;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wakeup;
    uv_prepare_t prepare; /* both end a turn: before the wait and after it */
    uv_check_t check;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards remote */
    struct posts remote;   /* from other threads */
    struct posts local;    /* from the loop's own: needs neither lock nor system call */
    struct posts running;  /* emptied and kept for the next exchange */
    struct loop_deferred *deferred, **deferred_last;
    void (*at_exit[AT_EXIT_MAX])(void);
    size_t at_exit_len;
};

static _Thread_local struct loop *current;

struct loop *loop_current(void) { return current; }
uv_loop_t *loop_uv(struct loop *l) { return &l->uv; }

static void posts_push(struct posts *p, void (*fn)(void *), void *arg) {
    if (p->len == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->items = realloc(p->items, p->cap * sizeof(*p->items));
        CHECK(p->items);
    }
    p->items[p->len++] = (struct post){fn, arg};
}

/* Runs what was there when it was called; what these post themselves comes in the next round. */
static void posts_run(struct loop *l, struct posts *from, bool lock) {
    if (lock) pthread_mutex_lock(&l->mutex);
    struct posts batch = *from;
    *from = l->running;
    if (lock) pthread_mutex_unlock(&l->mutex);
    l->running = (struct posts){0};
    for (size_t i = 0; i < batch.len; i++) batch.items[i].fn(batch.items[i].arg);
    batch.len = 0;
    if (batch.cap > POSTS_KEPT_MAX || l->running.items) free(batch.items);
    else l->running = batch;
}

static void on_wakeup(uv_async_t *wakeup) {
    struct loop *l = wakeup->data;
    posts_run(l, &l->remote, true);
}

static void end_turn(struct loop *l) {
    if (l->local.len) posts_run(l, &l->local, false);
    while (l->deferred) {
        struct loop_deferred *d = l->deferred;
        loop_defer_cancel(d);
        d->fn(d);
    }
    if (l->local.len) uv_async_send(&l->wakeup); /* more has come up: do not wait */
}

static void on_prepare(uv_prepare_t *h) { end_turn(h->data); }
static void on_check(uv_check_t *h) { end_turn(h->data); }

struct loop *loop_new(void) {
    struct loop *l = calloc(1, sizeof(*l));
    CHECK(l);
    CHECK(uv_loop_init(&l->uv) == 0);
    CHECK(uv_async_init(&l->uv, &l->wakeup, on_wakeup) == 0);
    uv_prepare_init(&l->uv, &l->prepare);
    uv_check_init(&l->uv, &l->check);
    l->wakeup.data = l->prepare.data = l->check.data = l;
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    l->deferred_last = &l->deferred;
    pthread_mutex_init(&l->mutex, NULL);
    return l;
}

static void *thread_main(void *arg) {
    struct loop *l = arg;
    current = l;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    for (int i = 0; i < 3 && uv_run(&l->uv, UV_RUN_NOWAIT); i++) {} /* lets close callbacks run */
    for (size_t i = 0; i < l->at_exit_len; i++) l->at_exit[i]();
    fiber_pool_drain();
    current = NULL;
    return NULL;
}

void loop_start(struct loop *l) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 1 << 20);
    CHECK(pthread_create(&l->thread, &attr, thread_main, l) == 0);
    pthread_attr_destroy(&attr);
}

void loop_post(struct loop *l, void (*fn)(void *), void *arg) {
    if (l == current) {
        posts_push(&l->local, fn, arg);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    bool first = l->remote.len == 0;
    posts_push(&l->remote, fn, arg);
    pthread_mutex_unlock(&l->mutex);
    if (first) uv_async_send(&l->wakeup);
}

void loop_at_exit(void (*fn)(void)) {
    struct loop *l = current;
    CHECK(l);
    for (size_t i = 0; i < l->at_exit_len; i++)
        if (l->at_exit[i] == fn) return;
    CHECK(l->at_exit_len < AT_EXIT_MAX);
    l->at_exit[l->at_exit_len++] = fn;
}

static void stop_here(void *arg) {
    struct loop *l = arg;
    for (int i = 0; i < 3; i++) end_turn(l);
    uv_close((uv_handle_t *)&l->wakeup, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_stop(&l->uv);
}

void loop_stop(struct loop *l) {
    loop_post(l, stop_here, l);
    pthread_join(l->thread, NULL);
}

void loop_free(struct loop *l) {
    uv_loop_close(&l->uv);
    pthread_mutex_destroy(&l->mutex);
    free(l->remote.items);
    free(l->local.items);
    free(l->running.items);
    free(l);
}

/* ---- deferred work ---- */

void loop_defer(struct loop_deferred *d) {
    struct loop *l = current;
    if (d->at) return;
    CHECK(l);
    d->next = NULL;
    d->at = l->deferred_last;
    *l->deferred_last = d;
    l->deferred_last = &d->next;
}

void loop_defer_cancel(struct loop_deferred *d) {
    if (!d->at) return;
    *d->at = d->next;
    if (d->next) d->next->at = d->at;
    else current->deferred_last = d->at;
    d->at = NULL;
}

/* ---- timers ---- */

struct loop_timer {
    uv_timer_t uv;
    void (*fn)(void *);
    void *arg;
};

struct loop_timer *loop_timer_new(void (*fn)(void *), void *arg) {
    struct loop_timer *t = calloc(1, sizeof(*t));
    CHECK(t && current);
    uv_timer_init(&current->uv, &t->uv);
    t->uv.data = t;
    t->fn = fn;
    t->arg = arg;
    return t;
}

static void timer_fired(uv_timer_t *uv) {
    struct loop_timer *t = uv->data;
    t->fn(t->arg);
}

void loop_timer_start(struct loop_timer *t, uint64_t ms, uint64_t repeat_ms) {
    uv_update_time(t->uv.loop); /* a long turn must not shorten the wait */
    uv_timer_start(&t->uv, timer_fired, ms, repeat_ms);
}

void loop_timer_stop(struct loop_timer *t) { uv_timer_stop(&t->uv); }

static void timer_closed(uv_handle_t *h) { free(h->data); }

void loop_timer_free(struct loop_timer *t) {
    if (t) uv_close((uv_handle_t *)&t->uv, timer_closed);
}

/* ---- calls from other threads ---- */

struct call {
    void (*fn)(void *);
    void *arg;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
};

static void call_in_fiber(void *arg) {
    struct call *c = arg;
    c->fn(c->arg);
    pthread_mutex_lock(&c->mutex);
    c->done = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mutex);
}

static void call_on_loop(void *arg) { fiber_spawn(call_in_fiber, arg); }

void loop_call(struct loop *l, void (*fn)(void *), void *arg) {
    CHECK(current == NULL);
    struct call c = {fn, arg, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    loop_post(l, call_on_loop, &c);
    pthread_mutex_lock(&c.mutex);
    while (!c.done) pthread_cond_wait(&c.cond, &c.mutex);
    pthread_mutex_unlock(&c.mutex);
    pthread_mutex_destroy(&c.mutex);
    pthread_cond_destroy(&c.cond);
}
