/* Fixed-point amounts of resources ("100m", "1Gi", "1e3"). Upstream: apimachinery api/resource.Quantity.
 *
 * A value is held in billionths in 128 bits: upstream rounds away from zero to billionths and caps at 2^63-1 whole units, so nothing is lost. */
#ifndef CKUBE_API_QUANTITY_H
#define CKUBE_API_QUANTITY_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/status.h"

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };
__extension__ typedef __int128 int128;
struct quantity {
    int128 nanos;
    enum quantity_format format;
};

/* Parses any spelling upstream takes; 400 with upstream's words otherwise. */
int quantity_parse(const char *text, struct quantity *ret, struct status *reterr) WARN_UNUSED;
/* The one canonical spelling: no fraction, the largest suffix that keeps it whole. */
char *quantity_format(struct arena *a, const struct quantity *q);
/* The canonical spelling of a text, in the arena; NULL and a 400 if it is no quantity. */
char *quantity_canonicalize(struct arena *a, const char *text, struct status *reterr);
/* For texts known to be valid (decoded objects hold only those); NULL, "" and anything else count as 0. */
struct quantity quantity_of(const char *text);
int quantity_text_cmp(const char *a, const char *b);       /* -1, 0, 1 by value */
int quantity_cmp(const struct quantity *a, const struct quantity *b);
/* Whole units and thousandths, rounded up (away from zero), capped at the range of int64. */
int64_t quantity_value(const struct quantity *q);
int64_t quantity_milli_value(const struct quantity *q);
void quantity_add(struct quantity *q, const struct quantity *more);  /* keeps q's format unless q is zero */
void quantity_sub(struct quantity *q, const struct quantity *less);
struct quantity quantity_from_value(int64_t value, enum quantity_format format);
struct quantity quantity_from_milli(int64_t milli, enum quantity_format format);
void quantity_round_up_milli(struct quantity *q);
bool quantity_is_integer(const struct quantity *q);
#endif
