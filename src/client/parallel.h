/* Many calls at once, by a few threads that all share. Upstream: client-go workqueue.ParallelizeUntil, and the goroutines of a controller's slow start.
 *
 * It makes a batch of creates as quick as the server's group commit allows, over any transport. Tests: tests/unit/test_work_queue.c. */
#ifndef CKUBE_CLIENT_PARALLEL_H
#define CKUBE_CLIENT_PARALLEL_H
#include <stddef.h>

enum { PARALLEL_THREADS_MAX = 32 }; /* as many as are committed by one sync of the store; they come as they are needed */
/* Calls fn(arg, i) for each i < n, on the calling thread and the shared ones, in no order; returns when all have returned. fn may not call it again. */
void parallel_run(size_t n, void (*fn)(void *arg, size_t i), void *arg);
/* In batches of 1, 2, 4, ... while fn returns 0; after a batch with a failure no further one begins. Returns how many succeeded. Upstream: slowStartBatch. */
size_t parallel_slow_start(size_t n, int (*fn)(void *arg, size_t i), void *arg);
#endif
