/* What the files of flow control share. */
#ifndef CKUBE_APISERVER_FLOWCONTROL_FLOW_INTERNAL_H
#define CKUBE_APISERVER_FLOWCONTROL_FLOW_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include "apiserver/flowcontrol/flow_control.h"
#include "apiserver/flowcontrol/queue_set.h"
#include "base/map.h"

enum { RETRY_AFTER_MAX_S = 32, FLOW_LIMIT_READING = 400, FLOW_LIMIT_MUTATING = 200, FLOW_REQUEST_TIMEOUT_MS = 60000, FLOW_UID_LEN = 40 };
/* How soon those who were refused should come again: longer while many are. Upstream: dropped_requests_tracker.go. */
struct dropped { int64_t second, count, retry_after, updated; struct { int64_t second, count; } history[RETRY_AFTER_MAX_S * 2 + 2]; size_t history_len; };

struct level {
    atomic_int refs;                /* the configuration's, and one of each request */
    char *name;
    char uid[FLOW_UID_LEN];         /* "" while only imagined */
    struct queue_set *queues;
    /* under the configuration's lock */
    bool exempt, quiescing;
    struct queuing queuing;
    int shares, lendable_percent, borrowing_percent; /* borrowing_percent -1: no limit */
    int nominal, min, max, current, max_seats;
    struct { double average, deviation, smoothed, target; int high; } demand;
    pthread_mutex_t dropped_mutex;
    struct dropped dropped;
};
void level_unref(struct level *l);

struct client;
struct schema { const struct flowcontrolv1_FlowSchema *fs; struct level *level; struct flow_stats *stats; char uid[FLOW_UID_LEN]; };

struct flow_control {
    struct apiserver *server;
    int limit_reading, limit_mutating;  /* their sum is what there is to share; without fairness each limits its kind */
    int request_timeout_ms;
    bool fair;
    atomic_int running[2];              /* without fairness: reading, mutating */
    /* the configuration */
    pthread_rwlock_t lock;
    struct arena *arena;                /* of the schemas */
    struct { struct schema *items; size_t len; } schemas; /* in the order in which they are tried; the last one always matches */
    struct map *levels;                 /* struct level by name */
    int nominal_sum;
    double fair_fraction;
    /* the thread */
    struct store_watch *watches[2];
    struct client *client;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop, changed;
    /* requests that are over and whose seats are still taken */
    atomic_int lingering;
    atomic_bool stopping;               /* seats do not linger any more */
    /* what requests' costs are estimated from */
    pthread_mutex_t costs_mutex;
    struct map *watchers;               /* number of watches by key */
    struct map *objects;                /* struct object_cost by GROUP/RESOURCE */
};
struct object_cost { atomic_llong objects, average_bytes; atomic_bool wanted; };

/* Makes the objects the configuration. The schemas and what they hold stay in use until the next call: arena becomes the configuration's. Pure but for f. */
struct flow_schema_list { struct flowcontrolv1_FlowSchema **items; size_t len; };
struct priority_level_list { struct flowcontrolv1_PriorityLevelConfiguration **items; size_t len; };
void flow_digest(struct flow_control *f, struct arena *arena, const struct flow_schema_list *schemas, const struct priority_level_list *levels, int64_t now_ns);
void flow_adjust(struct flow_control *f, int64_t now_ns); /* lends and takes back */
void flow_config_init(struct flow_control *f, int64_t now_ns);
void flow_config_free(struct flow_control *f);
const struct schema *flow_match(const struct flow_control *f, const struct api_request *r); /* under the lock */
bool flow_has_dangling_level(const struct flow_control *f, const struct flowcontrolv1_FlowSchema *fs); /* under the lock */
bool flow_has_quiescing(struct flow_control *f); /* levels that are gone but for requests in them */
/* Of one who waits or runs, for dumps; under its queue set's lock. */
const struct api_request *flow_request_of(const struct flow_request *q);
void flow_lingering_end(struct flow_control *f); /* returns when no seats linger; none will afterwards */

/* flow_costs.c */
void flow_costs_init(struct flow_control *f);
void flow_costs_free(struct flow_control *f);
void flow_costs_refresh(struct flow_control *f); /* counts what has been listed */
struct work_estimate flow_estimate(struct flow_control *f, const struct api_request *r, int max_seats, int *ret_watches /* -1: does not matter */);

/* The seconds to say to one who is refused now; counts the refusal. */
int64_t dropped_note(struct dropped *d, int64_t second);
#endif
