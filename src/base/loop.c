#include "base/loop.h"
#include <pthread.h>
#include <stdlib.h>
#include "base/fiber.h"
#include "base/macros.h"

struct post {
    struct post *next;
    void (*fn)(void *);
    void *arg;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wakeup;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the queue */
    struct post *first, **last;
};

static _Thread_local struct loop *current;

struct loop *loop_current(void) { return current; }
uv_loop_t *loop_uv(struct loop *l) { return &l->uv; }

static void run_posts(uv_async_t *wakeup) {
    struct loop *l = wakeup->data;
    pthread_mutex_lock(&l->mutex);
    struct post *p = l->first;
    l->first = NULL;
    l->last = &l->first;
    pthread_mutex_unlock(&l->mutex);
    while (p) {
        struct post *next = p->next;
        p->fn(p->arg);
        free(p);
        p = next;
    }
}

struct loop *loop_new(void) {
    struct loop *l = calloc(1, sizeof(*l));
    CHECK(l);
    CHECK(uv_loop_init(&l->uv) == 0);
    CHECK(uv_async_init(&l->uv, &l->wakeup, run_posts) == 0);
    l->wakeup.data = l;
    l->last = &l->first;
    pthread_mutex_init(&l->mutex, NULL);
    return l;
}

static void *thread_main(void *arg) {
    struct loop *l = arg;
    current = l;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    fiber_pool_drain();
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
    struct post *p = malloc(sizeof(*p));
    CHECK(p);
    *p = (struct post){NULL, fn, arg};
    pthread_mutex_lock(&l->mutex);
    *l->last = p;
    l->last = &p->next;
    pthread_mutex_unlock(&l->mutex);
    uv_async_send(&l->wakeup);
}

static void stop_here(void *arg) {
    struct loop *l = arg;
    uv_close((uv_handle_t *)&l->wakeup, NULL);
    uv_stop(&l->uv);
}

void loop_stop(struct loop *l) {
    loop_post(l, stop_here, l);
    pthread_join(l->thread, NULL);
}

void loop_free(struct loop *l) {
    uv_run(&l->uv, UV_RUN_NOWAIT); /* lets close callbacks run */
    for (struct post *p = l->first, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    uv_loop_close(&l->uv);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

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
