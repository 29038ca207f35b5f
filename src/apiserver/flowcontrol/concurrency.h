/* Sharing out seats among priority levels. Upstream: flowcontrol/conc_alloc.go. Pure. */
#ifndef CKUBE_APISERVER_FLOWCONTROL_CONCURRENCY_H
#define CKUBE_APISERVER_FLOWCONTROL_CONCURRENCY_H
#include <stdbool.h>
#include <stddef.h>

struct concurrency_class { double target, lower, upper; /* lower <= target, lower <= upper */ double allotted; /* the result */ };
/* Sets `allotted` of each so that they sum to `sum`: the one proportion of the targets for which they do, each kept within its bounds. False, with
 * nothing set: the bounds do not allow that. *ret_fair: the proportion. */
bool concurrency_allot(double sum, struct concurrency_class *classes, size_t len, double *ret_fair);
#endif
