/* Pods that wait for a node. Upstream: scheduler/backend/queue.
 *
 *   active         a heap by priority, then age; queue_pop takes from here
 *   backoff        failed lately, but something has changed since: wait 1 s, 2 s, ... 10 s from the attempt. When active is empty they need not wait
 *                  (upstream: SchedulerPopFromBackoffQ), except those that failed with an error
 *   unschedulable  fit nowhere: until an event that one of the plugins which refused them thinks may help (queue_event), or five minutes have passed
 *   gated          a PreEnqueue plugin holds it; only an update of the Pod itself helps
 *   in flight      popped and not yet given back or done; events in the meantime are judged at once and remembered
 * Thread-safe; functions that take the cache are called with its lock held. The queue owns its entries and a reference to each pod_info. Time comes from
 * env, so that tests move it. Tests: test_scheduler.c. */
#ifndef CKUBE_SCHEDULER_SCHEDULING_QUEUE_H
#define CKUBE_SCHEDULER_SCHEDULING_QUEUE_H
#include "scheduler/framework.h"

#define QUEUE_BACKOFF_INITIAL_MS 1000
#define QUEUE_BACKOFF_MAX_MS 10000
#define QUEUE_UNSCHEDULABLE_MAX_MS (5 * 60 * 1000)

struct scheduling_queue;
struct queue_lengths { size_t active, backoff, unschedulable, gated, in_flight; };
struct queue_options {
    int64_t backoff_initial_ms, backoff_max_ms; /* 0: upstream's */
    const struct profile *profiles;             /* outlive the queue, as does metrics */
    size_t profiles_len;
    struct scheduler_metrics *metrics;          /* NULL: nothing is counted */
};

struct scheduling_queue *queue_new(struct env *env, const struct queue_options *options);
void queue_free(struct scheduling_queue *q);
/* A Pod without a node appeared or changed: takes its own reference. An update of a waiting Pod may make it schedulable. */
void queue_set(struct scheduling_queue *q, struct scheduler_cache *cache, struct pod_info *pod);
/* Deleted or bound; also ends its flight. uid: only that Pod, not a later one of the name; NULL: any. */
void queue_delete(struct scheduling_queue *q, const char *key, const char *uid);
bool queue_has(struct scheduling_queue *q, const char *key);
/* The next Pod, in flight now, with a reference for the caller; NULL after timeout_ms (< 0: none) or queue_close. *ret_profile may be NULL. */
struct pod_info *queue_pop(struct scheduling_queue *q, int64_t timeout_ms, const struct profile **ret_profile);
/* Of a Pod in flight: how often it has been popped, and when for the first time (monotonic); 0 if it is not there. */
void queue_flight(struct scheduling_queue *q, const char *key, int *ret_attempts, int64_t *ret_first_ns);
/* It has a node, and only binding can still fail: events do not matter to it any more. */
void queue_binds(struct scheduling_queue *q, const char *key);
/* It failed. rejectors: who said no; 0: nobody, so there is nothing to wait for but the back-off. preempting: it waits for queue_preempted too. */
void queue_put_back(struct scheduling_queue *q, const char *key, uint32_t rejectors, bool preempting);
/* The evictions for it have been asked for (failed: not all, so that it is to be tried again). */
void queue_preempted(struct scheduling_queue *q, const char *key, bool failed);
/* Something happened: wakes those whom it may help, except (NULL: nobody) one. */
void queue_event(struct scheduling_queue *q, struct scheduler_cache *cache, const struct cluster_event *e, const char *except);
void queue_close(struct scheduling_queue *q);    /* wakes all who pop */
struct queue_lengths queue_lengths(struct scheduling_queue *q);
/* Adds to counts[profile][plugin] the Pods that each plugin keeps unschedulable. */
void queue_count_rejected(struct scheduling_queue *q, size_t (*counts)[PLUGINS_LEN]);
#endif
