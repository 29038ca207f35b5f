/* What the scheduler tells of itself, in upstream's names: scheduler_schedule_attempts_total and its kin. Upstream: pkg/scheduler/metrics.
 *
 * One struct a scheduler. Counting is a few atomic additions, from any thread; what has a length of its own (queues, cache) is looked at when asked for. */
#ifndef CKUBE_SCHEDULER_METRICS_H
#define CKUBE_SCHEDULER_METRICS_H
#include "base/buf.h"
#include "scheduler/framework.h"

enum attempt_result { ATTEMPT_SCHEDULED, ATTEMPT_UNSCHEDULABLE, ATTEMPT_ERROR, ATTEMPT_RESULTS };
enum metrics_queue { METRICS_QUEUE_ACTIVE, METRICS_QUEUE_BACKOFF, METRICS_QUEUE_UNSCHEDULABLE, METRICS_QUEUE_GATED, METRICS_QUEUES };

struct scheduler_metrics;
/* profiles outlive it; profiles given to the functions below are among them. */
struct scheduler_metrics *scheduler_metrics_new(const struct profile *profiles, size_t profiles_len);
void scheduler_metrics_free(struct scheduler_metrics *m); /* NULL is fine */

/* m NULL: nothing is counted. Times are in nanoseconds. */
void metrics_point(struct scheduler_metrics *m, const struct profile *profile, enum point point, enum code code, int64_t ns);
void metrics_algorithm(struct scheduler_metrics *m, int64_t ns);
void metrics_attempt(struct scheduler_metrics *m, const struct profile *profile, enum attempt_result result, int64_t ns);
/* A Pod was bound: in so many attempts, so long after the first began. */
void metrics_scheduled(struct scheduler_metrics *m, int attempts, int64_t since_first_ns);
void metrics_preemption(struct scheduler_metrics *m, size_t victims);
/* A Pod came into a queue because of this event, whose text is copied. */
void metrics_incoming(struct scheduler_metrics *m, enum metrics_queue queue, const char *event);

/* The text for /metrics of all that was counted, then the states given. unschedulable: of each profile, of each plugin, how many Pods it refuses. */
struct metrics_state {
    size_t queues[METRICS_QUEUES], nodes, pods, assumed;
    size_t (*unschedulable)[PLUGINS_LEN];
};
void scheduler_metrics_put(struct scheduler_metrics *m, const struct metrics_state *state, struct buf *out);
#endif
