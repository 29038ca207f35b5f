/* Event loops: one libuv loop on one thread each. A loop's things (connections, fibers, timers) are touched on its thread alone; other threads post. */
#ifndef CKUBE_BASE_LOOP_H
#define CKUBE_BASE_LOOP_H
#include <uv.h>

struct loop;
struct loop *loop_new(void);
void loop_start(struct loop *l);                 /* its thread runs until loop_stop */
void loop_stop(struct loop *l);                  /* from any other thread: ends and joins it; what was posted before has run */
void loop_free(struct loop *l);                  /* after loop_stop; every handle on it must have been closed */
uv_loop_t *loop_uv(struct loop *l);
struct loop *loop_current(void);                 /* the loop whose thread this is, or NULL */
/* Runs fn(arg) on the loop's thread, soon, in the order posted. From any thread. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* Runs fn(arg) in a fiber on the loop and waits until it has returned. From a thread that is no loop's. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);
#endif
