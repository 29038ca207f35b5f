/* What is counted of requests by priority level and flow schema. Upstream: flowcontrol/metrics. */
#ifndef CKUBE_APISERVER_FLOWCONTROL_FLOW_METRICS_H
#define CKUBE_APISERVER_FLOWCONTROL_FLOW_METRICS_H
#include <stdint.h>

enum { FLOW_BUCKETS_MAX = 13 };
struct flow_histogram { unsigned long long count, buckets[FLOW_BUCKETS_MAX]; double sum; }; /* buckets: not cumulative */
struct flow_buckets { const double *bounds; int len; };
extern const struct flow_buckets flow_buckets_length, flow_buckets_seconds, flow_buckets_watches, flow_buckets_seats;
void flow_observe(struct flow_histogram *h, const struct flow_buckets *b, double value);

enum flow_reject { FLOW_REJECT_QUEUE_FULL, FLOW_REJECT_CONCURRENCY_LIMIT, FLOW_REJECT_TIME_OUT, FLOW_REJECTS };
/* Of one flow schema in one level; guarded by its queue set's lock. */
struct flow_stats {
    struct flow_stats *next;
    char *flow_schema;
    unsigned long long rejected[FLOW_REJECTS], dispatched, no_accommodation;
    int queued_requests, queued_seats, executing_requests, executing_seats;
    struct flow_histogram queue_length, waited[2] /* [1]: and ran */, executed[2] /* [1]: watches */, watch_count, seats;
};
#endif
