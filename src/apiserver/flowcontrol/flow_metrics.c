#include "apiserver/flowcontrol/flow_metrics.h"

static const double lengths[] = {0, 10, 25, 50, 100, 250, 500, 1000}, seconds[] = {0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}, watches[] = {0, 1, 10, 100, 1000, 10000}, seats[] = {1, 2, 4, 8, 16, 32, 64, 100};
const struct flow_buckets flow_buckets_length = {lengths, 8}, flow_buckets_seconds = {seconds, 13}, flow_buckets_watches = {watches, 6}, flow_buckets_seats = {seats, 8};

void flow_observe(struct flow_histogram *h, const struct flow_buckets *b, double value) {
    int i = 0;
    while (i < b->len && value > b->bounds[i]) i++;
    if (i < b->len) h->buckets[i]++;
    h->count++;
    h->sum += value;
}
