/* Counters, gauges and histograms with labels. A family is static; its series come to be as they are counted, up to a number (more are dropped: labels come from
 * configurations and from our own names, never from requests; where they name objects, the family says how many it holds).
 *
 * Where much is counted, the series is looked up once (metric_series) and then counted without a lock. Any thread. Upstream: component-base/metrics.
 * Tests: tests/unit/test_metrics.c. */
#ifndef CKUBE_BASE_METRIC_FAMILY_H
#define CKUBE_BASE_METRIC_FAMILY_H
#include <pthread.h>
#include "base/buf.h"

enum { METRIC_SERIES_MAX = 256, METRIC_BOUNDS_MAX = 24 };
struct map;
struct metric_series;
struct metric_family {
    const char *name, *kind, *help;           /* kind: counter, gauge, histogram */
    double bounds[METRIC_BOUNDS_MAX];         /* of a histogram, ascending, ends with 0; or, made of these at the first use: */
    double first, factor; int bounds_len;     /* so many bounds, each factor times the one before */
    size_t series_max;                        /* 0: METRIC_SERIES_MAX */
    pthread_mutex_t mutex;                    /* of what follows */
    struct map *by_labels;
    struct metric_series **items;             /* in the order in which they came */
    size_t len, cap;
};
#define METRIC_FAMILY(n, k, h) {.name = (n), .kind = (k), .help = (h), .mutex = PTHREAD_MUTEX_INITIALIZER}
#define METRIC_HISTOGRAM(n, h, ...) {.name = (n), .kind = "histogram", .help = (h), .bounds = {__VA_ARGS__}, .mutex = PTHREAD_MUTEX_INITIALIZER}
#define METRIC_EXPONENTIAL(n, h, start, times, count) \
    {.name = (n), .kind = "histogram", .help = (h), .first = (start), .factor = (times), .bounds_len = (count), .mutex = PTHREAD_MUTEX_INITIALIZER}

/* labels: `a="x",b="y"`, or "" for none. */
void metric_add(struct metric_family *f, const char *labels, double value);
void metric_set(struct metric_family *f, const char *labels, double value);     /* a gauge */
void metric_observe(struct metric_family *f, const char *labels, double value); /* a histogram */
/* Forgets the series whose labels hold this text; of those that metric_series gave out, only until they are counted by labels again. */
void metric_drop(struct metric_family *f, const char *part);
/* A series that is hot: looked up once, then counted without a lock. It lives as long as the process. NULL, no room, is fine for what follows. */
struct metric_series *metric_series(struct metric_family *f, const char *labels);
void metric_series_count(struct metric_series *s);                   /* adds one */
void metric_series_add(struct metric_series *s, double value);       /* a gauge or a counter */
void metric_series_observe(struct metric_series *s, double value);   /* a histogram */
/* The two comment lines before a metric. kind: "counter", "gauge", "histogram". */
void metrics_head(struct buf *out, const char *name, const char *kind, const char *help);
/* The text for /metrics; nothing while nothing was counted. */
void metric_put(struct metric_family *f, struct buf *out);

/* What has a text of its own: put is called each time /metrics is asked for, not any more once metrics_source_remove has returned. */
void metrics_source_add(void (*put)(void *data, struct buf *out), void *data);
void metrics_source_remove(void *data);
void metrics_sources_put(struct buf *out);
#endif
