/* Pods that wait for a node. Upstream: scheduler/internal/queue.
 *
 *   active         a heap by priority, then age; queue_pop takes from here
 *   backoff        failed lately: wait 1 s, 2 s, ... 10 s from the attempt, then active
 *   unschedulable  fit nowhere: until something changes that may help (queue_move_all), or five minutes have passed
 *   gated          a PreEnqueue plugin holds it; only an update of the Pod itself helps
 *   in flight      popped and not yet given back or done
 * If something changed while a Pod was in flight, its failure may be out of date: it goes to backoff rather than unschedulable.
 * Thread-safe. The queue owns its entries and a reference to each pod_info. Time comes from env, so that tests move it. Tests: test_scheduler.c. */
#ifndef CKUBE_SCHEDULER_SCHEDULING_QUEUE_H
#define CKUBE_SCHEDULER_SCHEDULING_QUEUE_H
#include "base/env.h"
#include "scheduler/framework.h"

#define QUEUE_BACKOFF_INITIAL_MS 1000
#define QUEUE_BACKOFF_MAX_MS 10000
#define QUEUE_UNSCHEDULABLE_MAX_MS (5 * 60 * 1000)

struct scheduling_queue;
struct queue_lengths { size_t active, backoff, unschedulable, gated, in_flight; };

struct scheduling_queue *queue_new(struct env *env, const struct plugin *const *plugins);
void queue_free(struct scheduling_queue *q);
/* A Pod without a node appeared or changed: takes its own reference. An update of a waiting Pod may make it schedulable, so it is tried again. */
void queue_set(struct scheduling_queue *q, struct pod_info *pod);
/* Deleted or bound; also ends its flight. uid: only that Pod, not a later one of the name; NULL: any. */
void queue_delete(struct scheduling_queue *q, const char *key, const char *uid);
/* The next Pod, in flight now, with a reference for the caller; NULL after timeout_ms (< 0: none) or queue_close. */
struct pod_info *queue_pop(struct scheduling_queue *q, int64_t timeout_ms);
/* It failed. error: not for want of room, so there is nothing to wait for but the back-off. */
void queue_put_back(struct scheduling_queue *q, const char *key, bool error);
void queue_move_all(struct scheduling_queue *q); /* something changed that may help: a node, a Pod that is gone */
void queue_close(struct scheduling_queue *q);    /* wakes all who pop */
struct queue_lengths queue_lengths(struct scheduling_queue *q);
#endif
