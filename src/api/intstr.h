/* Numbers that may be given as a part of a whole: 3, "25%". Upstream: apimachinery util/intstr. */
#ifndef CKUBE_API_INTSTR_H
#define CKUBE_API_INTSTR_H
#include <stdbool.h>
#include "api/schema.h"

/* The number itself, or the percentage of total, rounded up or down. False: it is neither a number nor a percentage, or is not set. */
bool intstr_scaled(const struct int_or_string *v, int total, bool round_up, int32_t *ret);
/* The same; what is not set or is nonsense counts as fallback. */
int32_t intstr_scaled_or(const struct int_or_string *v, int total, bool round_up, int32_t fallback);
#endif
