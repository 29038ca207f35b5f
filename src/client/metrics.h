/* What clients, work queues and elections tell of themselves, in upstream's names: rest_client_*, workqueue_*, leader_election_*. Of the process, whatever components it
 * holds. Counting is a few atomic additions. Upstream: component-base/metrics/prometheus (restclient, workqueue, clientgo). Tests: tests/unit/test_metrics.c. */
#ifndef CKUBE_CLIENT_METRICS_H
#define CKUBE_CLIENT_METRICS_H
#include "base/metric_family.h"
#include "base/status.h"

/* The text for /metrics of all of them. */
void client_metrics_put(struct buf *out);

/* ---- requests ---- */
struct rest_metrics;
/* Of all clients of that host ("10.0.0.1:6443"; calls within the process: REST_HOST_LOCAL). Lives as long as the process. NULL when there are too many hosts: then nothing is counted. */
struct rest_metrics *rest_metrics_of(const char *host);
#define REST_HOST_LOCAL "in-process"
/* One try of one request: the answer's code; 0: none came. m NULL is fine, here and below. */
void rest_metrics_result(struct rest_metrics *m, const char *method, int code);
/* What a whole call took (not a watch), and how many bytes went to and fro. */
void rest_metrics_call(struct rest_metrics *m, const char *method, int64_t ns, size_t request_bytes, size_t response_bytes);

/* ---- work queues ---- */
/* Of all queues of that name. Lives as long as the process. */
struct queue_metrics { struct metric_series *adds, *depth, *latency, *work, *retries; };
void queue_metrics_of(const char *name, struct queue_metrics *ret);
void queue_metrics_set_unfinished(const char *name, double unfinished_s, double longest_s); /* as of now */

/* ---- elections ---- */
void leader_metrics_set(const char *lease, bool leading);
/* A leader had to read its Lease before it could renew it. */
void leader_metrics_slow_path(const char *lease);
#endif
