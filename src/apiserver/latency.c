#include "apiserver/latency.h"
#include "base/status.h"

void latency_observe(struct latency *l, const struct latency_bounds *bounds, int64_t ns) {
    size_t i = 0;
    double s = (double)ns / 1e9;
    while (i < bounds->len && s > bounds->s[i]) i++;
    atomic_fetch_add_explicit(&l->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->ns, (uint64_t)MAX(ns, (int64_t)0), memory_order_relaxed);
    atomic_fetch_add_explicit(&l->count, 1, memory_order_relaxed);
}

void latency_put(struct buf *out, const char *name, const char *labels, const struct latency *l, const struct latency_bounds *bounds) {
    unsigned long long below = 0, count = 0;
    for (size_t i = 0; i <= bounds->len; i++) count += atomic_load_explicit(&l->buckets[i], memory_order_relaxed);
    if (!count) return;
    const char *comma = *labels ? "," : "";
    for (size_t i = 0; i < bounds->len; i++) {
        below += atomic_load_explicit(&l->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, bounds->s[i], below);
    }
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n%s_sum{%s} %.9g\n%s_count{%s} %llu\n", name, labels, comma, count, name, labels, (double)atomic_load_explicit(&l->ns, memory_order_relaxed) / 1e9, name, labels, count);
}
