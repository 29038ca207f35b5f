#include "apiserver/metric_family.h"
#include <stdatomic.h>
#include <string.h>
#include "apiserver/metrics.h"

struct metric_series {
    char *labels;
    atomic_ullong hot;                              /* what metric_series_count counted */
    double value;                                   /* of a histogram: the sum */
    unsigned long long count, buckets[METRIC_BOUNDS_MAX];
    bool dropped;
};

/* Under the mutex. */
static struct metric_series *find(struct metric_family *f, const char *labels) {
    for (size_t i = 0; i < f->len; i++)
        if (strcmp(f->items[i]->labels, labels) == 0) return f->items[i];
    if (f->len == METRIC_SERIES_MAX) return NULL;
    struct metric_series *s = calloc(1, sizeof(*s));
    CHECK(s && (s->labels = strdup(labels)));
    return f->items[f->len++] = s;
}

static struct metric_series *take(struct metric_family *f, const char *labels) {
    pthread_mutex_lock(&f->mutex);
    struct metric_series *s = find(f, labels);
    if (s) s->dropped = false;
    return s;
}

void metric_add(struct metric_family *f, const char *labels, double value) {
    struct metric_series *s = take(f, labels);
    if (s) s->value += value;
    pthread_mutex_unlock(&f->mutex);
}

void metric_set(struct metric_family *f, const char *labels, double value) {
    struct metric_series *s = take(f, labels);
    if (s) s->value = value;
    pthread_mutex_unlock(&f->mutex);
}

void metric_observe(struct metric_family *f, const char *labels, double value) {
    struct metric_series *s = take(f, labels);
    if (s) {
        s->value += value;
        s->count++;
        for (size_t i = 0; i < METRIC_BOUNDS_MAX && f->bounds[i] > 0; i++) s->buckets[i] += value <= f->bounds[i];
    }
    pthread_mutex_unlock(&f->mutex);
}

void metric_drop(struct metric_family *f, const char *part) {
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->len; i++)
        if (strstr(f->items[i]->labels, part)) f->items[i]->dropped = true;
    pthread_mutex_unlock(&f->mutex);
}

struct metric_series *metric_series(struct metric_family *f, const char *labels) {
    struct metric_series *s = take(f, labels);
    pthread_mutex_unlock(&f->mutex);
    return s;
}

void metric_series_count(struct metric_series *s) {
    if (s) atomic_fetch_add_explicit(&s->hot, 1, memory_order_relaxed);
}

static void put_histogram(const struct metric_family *f, const struct metric_series *s, struct buf *out) {
    const char *comma = *s->labels ? "," : "";
    for (size_t i = 0; i < METRIC_BOUNDS_MAX && f->bounds[i] > 0; i++) buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", f->name, s->labels, comma, f->bounds[i], s->buckets[i]);
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n%s_sum{%s} %.9g\n%s_count{%s} %llu\n", f->name, s->labels, comma, s->count, f->name, s->labels, s->value, f->name, s->labels, s->count);
}

void metric_put(struct metric_family *f, struct buf *out) {
    bool headed = false;
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->len; i++) {
        const struct metric_series *s = f->items[i];
        unsigned long long hot = atomic_load(&f->items[i]->hot);
        bool histogram = strcmp(f->kind, "histogram") == 0;
        if (s->dropped) continue;
        if (!headed) metrics_head(out, f->name, f->kind, f->help);
        headed = true;
        if (histogram) put_histogram(f, s, out);
        else if (*s->labels) buf_printf(out, "%s{%s} %.15g\n", f->name, s->labels, s->value + (double)hot);
        else buf_printf(out, "%s %.15g\n", f->name, s->value + (double)hot);
    }
    pthread_mutex_unlock(&f->mutex);
}
