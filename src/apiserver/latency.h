/* Histograms of how long things took, and the metrics made of them. Upstream: component-base/metrics, of which this is what a few fixed series need.
 *
 * Counting takes no lock: a few atomic additions. Tests: tests/integration/test_health.py. */
#ifndef CKUBE_APISERVER_LATENCY_H
#define CKUBE_APISERVER_LATENCY_H
#include <stdatomic.h>
#include <stdint.h>
#include "base/buf.h"

enum { LATENCY_BUCKETS_MAX = 15 };
struct latency_bounds { size_t len; double s[LATENCY_BUCKETS_MAX]; }; /* upper ends, rising */
struct latency { _Atomic uint64_t count, ns, buckets[LATENCY_BUCKETS_MAX + 1]; }; /* the last one: longer than all bounds */

void latency_observe(struct latency *l, const struct latency_bounds *bounds, int64_t ns);
/* The lines of one series; labels: `a="b",c="d"` or "". Nothing when it has never been observed. */
void latency_put(struct buf *out, const char *name, const char *labels, const struct latency *l, const struct latency_bounds *bounds);
#endif
