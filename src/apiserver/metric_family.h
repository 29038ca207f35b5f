/* Counters, gauges and histograms with labels, for what few things are counted of: reloads of files, webhooks, decisions. A family is static; its series come to be as
 * they are counted, up to METRIC_SERIES_MAX (more are dropped: labels come from configurations, never from requests). Any thread.
 * Upstream: component-base/metrics. Tests: tests/unit/test_structured_auth.c. */
#ifndef CKUBE_APISERVER_METRIC_FAMILY_H
#define CKUBE_APISERVER_METRIC_FAMILY_H
#include <pthread.h>
#include "base/buf.h"

enum { METRIC_SERIES_MAX = 256, METRIC_BOUNDS_MAX = 16 };
struct metric_series;
struct metric_family {
    const char *name, *kind, *help;           /* kind: counter, gauge, histogram */
    double bounds[METRIC_BOUNDS_MAX];         /* of a histogram, ascending, ends with 0 */
    pthread_mutex_t mutex;
    struct metric_series *items[METRIC_SERIES_MAX];
    size_t len;
};
#define METRIC_FAMILY(n, k, h) {.name = (n), .kind = (k), .help = (h), .mutex = PTHREAD_MUTEX_INITIALIZER}

/* labels: `a="x",b="y"`, or "" for none. */
void metric_add(struct metric_family *f, const char *labels, double value);
void metric_set(struct metric_family *f, const char *labels, double value);     /* a gauge */
void metric_observe(struct metric_family *f, const char *labels, double value); /* a histogram */
/* Forgets the series whose labels hold this text. */
void metric_drop(struct metric_family *f, const char *part);
/* A counter that is hot: looked up once, then counted without a lock. It lives as long as the process. NULL: no room. */
struct metric_series *metric_series(struct metric_family *f, const char *labels);
void metric_series_count(struct metric_series *s); /* NULL is fine */
/* The text for /metrics; nothing while nothing was counted. */
void metric_put(struct metric_family *f, struct buf *out);
#endif
