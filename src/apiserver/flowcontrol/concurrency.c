#include "apiserver/flowcontrol/concurrency.h"
#include <math.h>
#include <stdlib.h>
#include "base/macros.h"

static const double TARGET_MIN = 0.001, EPSILON = 0.0000001;

static double bounded(const struct concurrency_class *c, double fair) { return fmax(c->lower, fmin(c->upper, fair * fmax(c->target, TARGET_MIN))); }

static double sum_at(const struct concurrency_class *c, size_t len, double fair) {
    double sum = 0;
    for (size_t i = 0; i < len; i++) sum += bounded(&c[i], fair);
    return sum;
}

static int by_value(const void *x, const void *y) { return (*(const double *)x > *(const double *)y) - (*(const double *)x < *(const double *)y); }

/* The sum grows with the proportion, in straight pieces between those at which a bound begins or ceases to hold: find the piece, then the place in it. */
static double find_fair(double sum, const struct concurrency_class *c, size_t len) {
    double *turns = calloc(2 * len, sizeof(double)), fair;
    size_t i = 0;
    CHECK(turns);
    for (size_t k = 0; k < len; k++) {
        turns[2 * k] = c[k].lower / fmax(c[k].target, TARGET_MIN);
        turns[2 * k + 1] = c[k].upper / fmax(c[k].target, TARGET_MIN);
    }
    qsort(turns, 2 * len, sizeof(double), by_value);
    while (i + 1 < 2 * len && sum_at(c, len, turns[i + 1]) < sum) i++;
    double from = turns[i], to = turns[MIN(i + 1, 2 * len - 1)], low = sum_at(c, len, from), high = sum_at(c, len, to);
    fair = high > low ? from + (to - from) * (sum - low) / (high - low) : from;
    free(turns);
    return fair;
}

bool concurrency_allot(double sum, struct concurrency_class *classes, size_t len, double *ret_fair) {
    double low = 0, high = 0;
    for (size_t i = 0; i < len; i++) {
        const struct concurrency_class *c = &classes[i];
        if (c->lower < 0 || c->target < c->lower || c->upper < c->lower) return false;
        low += c->lower;
        high += c->upper;
    }
    if (sum < 0 || low - sum > EPSILON || sum - high > EPSILON) return false;
    double fair = len && sum > 0 ? find_fair(sum, classes, len) : 0;
    for (size_t i = 0; i < len; i++) classes[i].allotted = sum > 0 ? bounded(&classes[i], fair) : 0;
    *ret_fair = fair;
    return true;
}
