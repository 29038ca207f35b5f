/* Fair queuing of one priority level's requests. Upstream: apiserver/pkg/util/flowcontrol/fairqueuing.
 *
 * Seats are what requests occupy while they run; a level has `limit` of them. A flow's requests go into one of the few queues that its hash deals it
 * (shuffle sharding); the queue whose head would be done first, had every queue an equal share of the seats, is served next. That is kept account of
 * in R: seat-seconds given to each busy queue so far, in fixed point (SEAT_SECOND is one).
 *
 * Pure bookkeeping behind one short lock: it neither sleeps nor reads a clock. Times are monotonic nanoseconds given by the caller; a waiting request's
 * `wake` tells that it may run. Without contention everything here takes a fixed number of steps, however many queues there are.
 * Tests: tests/unit/test_flow_control.c. */
#ifndef CKUBE_APISERVER_FLOWCONTROL_QUEUE_SET_H
#define CKUBE_APISERVER_FLOWCONTROL_QUEUE_SET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "apiserver/flowcontrol/flow_metrics.h"
#include "apiserver/flowcontrol/integrator.h"

enum { FLOW_HAND_MAX = 15 };
static const int64_t SEAT_SECOND = 100000000;

/* What a request will cost: seats while it runs, then (for what its watchers are sent) final_seats for so long. */
struct work_estimate {
    int initial_seats, final_seats;
    int64_t additional_ns;
};

struct queuing {
    int queues;             /* -1: no limit at all (exempt); 0: what finds no seat is refused; else their number */
    int queue_length_limit, hand_size;
};

enum flow_state { FLOW_WAITING, FLOW_EXECUTING, FLOW_CANCELLED, FLOW_OVER };

/* The caller's, from queue_set_start until queue_set_finish has returned 0 or queue_set_release was called; between these two it may move. */
struct flow_request {
    /* given by the caller */
    struct work_estimate work;
    uint64_t hash;                          /* of the flow: flow_hash */
    struct flow_stats *stats;               /* of the flow schema in this level */
    const char *distinguisher;              /* for dumps; may be NULL */
    void (*wake)(struct flow_request *r);   /* with the lock held: it waited and may run now */
    void *data;                             /* the caller's */
    bool is_watch;
    int watches;                            /* that its write wakes; -1: it is no write */
    /* the queue set's */
    enum flow_state state;
    struct flow_queue *queue;               /* NULL: none */
    struct flow_request *next, *prev;       /* in its queue while it waits, among the executing afterwards */
    int64_t arrival_r, total_work, arrival_ns, start_ns;
    bool waited;
};

enum flow_outcome { FLOW_RUN, FLOW_WAIT, FLOW_REJECT };

struct queue_set;
struct queue_set *queue_set_new(int64_t now_ns);
void queue_set_free(struct queue_set *s); /* nothing runs or waits in it */
/* From now on so many queues and seats; what may run because of it does. */
void queue_set_configure(struct queue_set *s, const struct queuing *q, int limit, int64_t now_ns);
/* FLOW_RUN: it runs until queue_set_finish. FLOW_WAIT: until wake, or until queue_set_cancel says true. FLOW_REJECT: it does neither. */
enum flow_outcome queue_set_start(struct queue_set *s, struct flow_request *r, int64_t now_ns);
/* Takes it out of its queue; false: too late, it runs (and wake was called). */
bool queue_set_cancel(struct queue_set *s, struct flow_request *r, int64_t now_ns);
/* It has run. Returns for how long its seats stay taken: then, if that is not 0, queue_set_release. */
int64_t queue_set_finish(struct queue_set *s, struct flow_request *r, int64_t now_ns);
void queue_set_release(struct queue_set *s, struct flow_request *r, int64_t now_ns);
bool queue_set_is_idle(struct queue_set *s);
/* What was demanded since the last call. */
struct integral queue_set_take_demand(struct queue_set *s, int64_t now_ns);

/* The flow schema's counters in this level, made when they are not there yet; they live as long as the set. */
struct flow_stats *queue_set_stats(struct queue_set *s, const char *flow_schema);
/* Calls fn under the lock, so that it may read all of it. */
void queue_set_visit_stats(struct queue_set *s, void (*fn)(void *arg, const struct flow_stats *stats), void *arg);

struct queue_set_dump { int queues, active_queues, waiting, executing, seats_in_use, seats_waiting; unsigned long long dispatched, rejected, timed_out, cancelled; double current_r, dispatch_r, latest_s; };
void queue_set_dump(struct queue_set *s, struct queue_set_dump *ret);
struct queue_dump { int index, waiting, executing, seats_in_use, initial_seats, max_seats; int64_t next_dispatch_r, total_work; };
void queue_set_visit_queues(struct queue_set *s, void (*fn)(void *arg, const struct queue_dump *q), void *arg);
/* Of each request that waits or runs: its queue's index (-1: none) and its place in it (-1: it runs). */
void queue_set_visit_requests(struct queue_set *s, void (*fn)(void *arg, int queue, int place, const struct flow_request *r), void *arg);

/* ---- parts, for tests ---- */
int64_t seat_seconds(double seats, int64_t ns);
/* The hand that a hash is dealt from a deck of so many queues: hand_size different indices. Upstream: shufflesharding.Dealer. */
void flow_deal(uint64_t hash, int deck_size, int hand_size, int *hand);
int work_max_seats(const struct work_estimate *w);
#endif
