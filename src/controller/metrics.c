/* See metrics.h. */
#include "controller/metrics.h"
#include <stdarg.h>
#include <stdio.h>

enum { OBJECTS_MAX = 65536, LABELS_LEN_MAX = 1024 };

#define EVICTION_BOUNDS .005, .025, .1, .5, 1, 2.5, 10, 30, 60, 120, 180, 240
#define COUNTER(id, n, h) struct metric_family metrics_##id = {.name = (n), .kind = "counter", .help = (h), .series_max = OBJECTS_MAX, .mutex = PTHREAD_MUTEX_INITIALIZER};
#define GAUGE(id, n, h) struct metric_family metrics_##id = {.name = (n), .kind = "gauge", .help = (h), .series_max = OBJECTS_MAX, .mutex = PTHREAD_MUTEX_INITIALIZER};
#define EXPONENTIAL(id, n, h, first, factor, count) struct metric_family metrics_##id = METRIC_EXPONENTIAL(n, h, first, factor, count);
#define BOUNDS(id, n, h, ...) struct metric_family metrics_##id = METRIC_HISTOGRAM(n, h, __VA_ARGS__);
CONTROLLER_METRICS(COUNTER, GAUGE, EXPONENTIAL, BOUNDS)

static struct metric_family *const all[] = {
#define EACH(id, ...) &metrics_##id,
    CONTROLLER_METRICS(EACH, EACH, EACH, EACH)
};

#define WITH_LABELS(call) \
    char text[LABELS_LEN_MAX]; \
    va_list args; \
    va_start(args, labels); \
    int len = vsnprintf(text, sizeof(text), labels, args); \
    va_end(args); \
    if (len >= 0 && len < LABELS_LEN_MAX) call

void controller_metric_add(struct metric_family *f, double value, const char *labels, ...) { WITH_LABELS(metric_add(f, text, value)); }
void controller_metric_set(struct metric_family *f, double value, const char *labels, ...) { WITH_LABELS(metric_set(f, text, value)); }
void controller_metric_observe(struct metric_family *f, double value, const char *labels, ...) { WITH_LABELS(metric_observe(f, text, value)); }
void controller_metric_drop(struct metric_family *f, const char *labels, ...) { WITH_LABELS(metric_drop(f, text)); }

void controller_metrics_put(void *data UNUSED, struct buf *out) {
    for (size_t i = 0; i < ARRAY_LEN(all); i++) metric_put(all[i], out);
}
