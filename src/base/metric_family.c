#include "base/metric_family.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/macros.h"
#include "base/map.h"

struct metric_series {
    const struct metric_family *family;
    char *labels;
    _Atomic double value;               /* of a histogram: the sum */
    bool given_out, dropped;            /* under the family's mutex */
    atomic_uint_least64_t buckets[];    /* of a histogram: what fell between two bounds, the last above all */
};

/* ---- series, with the family's mutex ---- */

static size_t bounds_of(const struct metric_family *f) {
    size_t n = 0;
    while (n < METRIC_BOUNDS_MAX && f->bounds[n] > 0) n++;
    return n;
}

/* By multiplying on and on, as upstream makes them, so that they are written with the same digits. */
static void make_bounds(struct metric_family *f) {
    CHECK(f->bounds_len <= METRIC_BOUNDS_MAX);
    double bound = f->first;
    for (int i = 0; i < f->bounds_len; i++, bound *= f->factor) f->bounds[i] = bound;
}

static struct metric_series *series_new(struct metric_family *f, const char *labels) {
    if (f->len == (f->series_max ? f->series_max : METRIC_SERIES_MAX)) return NULL;
    if (!f->by_labels) {
        f->by_labels = map_new();
        if (f->bounds_len) make_bounds(f);
    }
    if (f->len == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 4;
        CHECK(f->items = realloc(f->items, f->cap * sizeof(struct metric_series *)));
    }
    struct metric_series *s = calloc(1, sizeof(*s) + (bounds_of(f) + 1) * sizeof(s->buckets[0]));
    CHECK(s && (s->labels = strdup(labels)));
    s->family = f;
    map_put(f->by_labels, labels, s);
    return f->items[f->len++] = s;
}

static struct metric_series *take(struct metric_family *f, const char *labels) {
    pthread_mutex_lock(&f->mutex);
    struct metric_series *s = f->by_labels ? map_get(f->by_labels, labels) : NULL;
    if (!s) s = series_new(f, labels);
    if (s) s->dropped = false;
    return s;
}

static void series_free(struct metric_family *f, struct metric_series *s) {
    map_del(f->by_labels, s->labels);
    free(s->labels);
    free(s);
}

/* ---- counting ---- */

void metric_series_add(struct metric_series *s, double value) {
    if (!s) return;
    double was = atomic_load_explicit(&s->value, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&s->value, &was, was + value, memory_order_relaxed, memory_order_relaxed)) {}
}

void metric_series_count(struct metric_series *s) { metric_series_add(s, 1); }

void metric_series_observe(struct metric_series *s, double value) {
    if (!s) return;
    size_t i = 0;
    while (i < METRIC_BOUNDS_MAX && s->family->bounds[i] > 0 && value > s->family->bounds[i]) i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    metric_series_add(s, value);
}

void metric_add(struct metric_family *f, const char *labels, double value) {
    metric_series_add(take(f, labels), value);
    pthread_mutex_unlock(&f->mutex);
}

void metric_set(struct metric_family *f, const char *labels, double value) {
    struct metric_series *s = take(f, labels);
    if (s) atomic_store_explicit(&s->value, value, memory_order_relaxed);
    pthread_mutex_unlock(&f->mutex);
}

void metric_observe(struct metric_family *f, const char *labels, double value) {
    metric_series_observe(take(f, labels), value);
    pthread_mutex_unlock(&f->mutex);
}

void metric_drop(struct metric_family *f, const char *part) {
    size_t kept = 0;
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->len; i++) {
        struct metric_series *s = f->items[i];
        bool drop = strstr(s->labels, part);
        if (drop && !s->given_out) {
            series_free(f, s);
            continue;
        }
        s->dropped |= drop;
        f->items[kept++] = s;
    }
    f->len = kept;
    pthread_mutex_unlock(&f->mutex);
}

struct metric_series *metric_series(struct metric_family *f, const char *labels) {
    struct metric_series *s = take(f, labels);
    if (s) s->given_out = true;
    pthread_mutex_unlock(&f->mutex);
    return s;
}

/* ---- the text ---- */

void metrics_head(struct buf *out, const char *name, const char *kind, const char *help) { buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind); }

/* The fewest digits that are this very number, in the form in which Go writes it: 0.005, 1.048576e+06, 9.999999999999999e-06. */
static void put_bound(struct buf *out, double v) {
    char text[40];
    int digits = 0;
    do snprintf(text, sizeof(text), "%.*e", digits, v);
    while (strtod(text, NULL) != v && ++digits < 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent >= -4 && exponent < 6) snprintf(text, sizeof(text), "%.*f", MAX(digits - exponent, 0), v);
    buf_append_str(out, text);
}

static void put_histogram(const struct metric_family *f, const struct metric_series *s, struct buf *out) {
    const char *comma = *s->labels ? "," : "";
    unsigned long long count = 0;
    for (size_t i = 0;; i++) {
        bool last = i == METRIC_BOUNDS_MAX || !(f->bounds[i] > 0);
        count += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", f->name, s->labels, comma);
        if (last) buf_append_str(out, "+Inf");
        else put_bound(out, f->bounds[i]);
        buf_printf(out, "\"} %llu\n", count);
        if (last) break;
    }
    const char *open = *s->labels ? "{" : "", *close = *s->labels ? "}" : "";
    buf_printf(out, "%s_sum%s%s%s %.9g\n%s_count%s%s%s %llu\n", f->name, open, s->labels, close, atomic_load_explicit(&s->value, memory_order_relaxed), f->name, open, s->labels, close, count);
}

void metric_put(struct metric_family *f, struct buf *out) {
    bool headed = false, histogram = strcmp(f->kind, "histogram") == 0;
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->len; i++) {
        const struct metric_series *s = f->items[i];
        if (s->dropped) continue;
        if (!headed) metrics_head(out, f->name, f->kind, f->help);
        headed = true;
        if (histogram) put_histogram(f, s, out);
        else if (*s->labels) buf_printf(out, "%s{%s} %.15g\n", f->name, s->labels, atomic_load_explicit(&s->value, memory_order_relaxed));
        else buf_printf(out, "%s %.15g\n", f->name, atomic_load_explicit(&s->value, memory_order_relaxed));
    }
    pthread_mutex_unlock(&f->mutex);
}

/* ---- what else there is to tell ---- */

enum { SOURCES_MAX = 8 };
static struct { void (*put)(void *data, struct buf *out); void *data; } sources[SOURCES_MAX];
static pthread_mutex_t sources_mutex = PTHREAD_MUTEX_INITIALIZER;

void metrics_source_add(void (*put)(void *data, struct buf *out), void *data) {
    pthread_mutex_lock(&sources_mutex);
    size_t i = 0;
    while (i < ARRAY_LEN(sources) && sources[i].put) i++;
    CHECK(i < ARRAY_LEN(sources));
    sources[i].put = put;
    sources[i].data = data;
    pthread_mutex_unlock(&sources_mutex);
}

void metrics_source_remove(void *data) {
    pthread_mutex_lock(&sources_mutex);
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        if (sources[i].data == data) sources[i].put = NULL, sources[i].data = NULL;
    pthread_mutex_unlock(&sources_mutex);
}

void metrics_sources_put(struct buf *out) {
    pthread_mutex_lock(&sources_mutex);
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        if (sources[i].put) sources[i].put(sources[i].data, out);
    pthread_mutex_unlock(&sources_mutex);
}
