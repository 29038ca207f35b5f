/* Event loops: one libuv loop on one thread each. A loop's things (connections, fibers, timers) are touched on its thread alone; other threads post.
 *
 * A turn of the loop: timers, posted functions and sockets run, then what was deferred (the flushing of connections), then it waits for more.
 * Used by the HTTP server, the upstream client and everything in a request's way. Tests: tests/unit/test_fiber.c. */
#ifndef CKUBE_BASE_LOOP_H
#define CKUBE_BASE_LOOP_H
#include <stdbool.h>
#include <uv.h>

struct loop;
struct loop *loop_new(void);
void loop_start(struct loop *l);                 /* its thread runs until loop_stop */
void loop_stop(struct loop *l);                  /* from any other thread: ends and joins it; what was posted before has run */
void loop_free(struct loop *l);                  /* after loop_stop; every handle on it must have been closed */
uv_loop_t *loop_uv(struct loop *l);
struct loop *loop_current(void);                 /* the loop whose thread this is, or NULL */
/* Runs fn(arg) on the loop's thread, soon, in the order posted by the calling thread. From any thread. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* Runs fn(arg) in a fiber on the loop and waits until it has returned. From a thread that is no loop's. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);
/* fn runs once on the calling loop's thread when its loop ends: frees what the thread keeps for reuse. The same fn twice counts once. */
void loop_at_exit(void (*fn)(void));

/* Work put off to the end of the turn, done once however often it was asked for. Lives in its owner; zeroed means not queued. */
struct loop_deferred {
    struct loop_deferred *next, **at;            /* at: NULL while not queued */
    void (*fn)(struct loop_deferred *d);
};
void loop_defer(struct loop_deferred *d);        /* on the loop's thread; nothing if it is queued already */
void loop_defer_cancel(struct loop_deferred *d); /* nothing if it is not queued */

/* A timer on the calling loop's thread. */
struct loop_timer;
struct loop_timer *loop_timer_new(void (*fn)(void *arg), void *arg);
void loop_timer_start(struct loop_timer *t, uint64_t ms, uint64_t repeat_ms); /* repeat_ms 0: once; starts anew if it runs */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);      /* NULL is fine; also from its own fn */
#endif
