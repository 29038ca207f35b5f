/* Fibers: coroutines on a loop's thread, so that a request handler reads from top to bottom though it waits for a commit or another server.
 *
 * A fiber runs until it suspends or returns; nothing else on its loop runs meanwhile. For each fiber_suspend there must be exactly one fiber_wake,
 * which may come first. Stacks are small (1 MiB, guarded): no large locals. Tests: tests/unit/test_fiber.c. */
#ifndef CKUBE_BASE_FIBER_H
#define CKUBE_BASE_FIBER_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct fiber;
/* Starts fn(arg) in a fiber of the calling loop thread, at once; returns when it first suspends or ends. Called from a fiber, the new one starts
 * at the end of the turn. */
void fiber_spawn(void (*fn)(void *arg), void *arg);
struct fiber *fiber_current(void);      /* NULL outside of fibers */
void fiber_suspend(void);               /* until somebody calls fiber_wake on this fiber */
void fiber_wake(struct fiber *f);       /* from any thread; the fiber runs later, from its loop */
void fiber_sleep_ms(uint64_t ms);       /* a fiber_wake meanwhile is kept for the next fiber_suspend */
void fiber_pool_drain(void);            /* frees this thread's spare stacks */

/* Runs fn(arg) on a thread of its own while this fiber is suspended: for calls that block. False: no thread could be started, fn has not run. */
bool fiber_run_blocking(void (*fn)(void *arg), void *arg);

/* A lock that fibers of any loops may hold while they are suspended; who waits for it is suspended too, and gets it in the order of asking. */
struct fiber_mutex_waiter;
struct fiber_mutex {
    pthread_mutex_t guard;              /* of what follows; held for moments only */
    bool held;
    struct fiber_mutex_waiter *first, *last;
};
void fiber_mutex_init(struct fiber_mutex *m);
void fiber_mutex_destroy(struct fiber_mutex *m); /* nobody holds it or waits for it */
void fiber_mutex_lock(struct fiber_mutex *m);    /* in a fiber */
void fiber_mutex_unlock(struct fiber_mutex *m);
#endif
