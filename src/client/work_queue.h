/* Keys to be worked on. Upstream: client-go util/workqueue.
 *
 * The rule that makes reconciling safe: a key is never worked on by two workers at once, and a key that is added while it is worked on is worked on
 * once more afterwards. Adding a key that already waits changes nothing.
 *   dirty       waits, or will wait again when `done` is called
 *   processing  taken by a worker and not yet done
 *   waiting     to be added at a later time (add_after); a key waits once, at the earliest time asked for
 * Thread-safe. Keys are copied. Tests: tests/unit/test_metrics.c, and every controller's. */
#ifndef CKUBE_CLIENT_WORK_QUEUE_H
#define CKUBE_CLIENT_WORK_QUEUE_H
#include "base/env.h"
#include "base/macros.h"

enum { WORK_QUEUE_BACKOFF_MS_MIN = 5, WORK_QUEUE_BACKOFF_MS_MAX = 1000 * 1000 };

struct work_queue;
/* name: upstream's of the same queue, under which its metrics are told (workqueue_*); NULL: none are kept. It outlives the queue. */
struct work_queue *work_queue_new(struct env *env, const char *name);
void work_queue_free(struct work_queue *q);                       /* nobody may wait in it; NULL is fine */
void work_queue_add(struct work_queue *q, const char *key);
void work_queue_add_after(struct work_queue *q, const char *key, int64_t ms);
/* After a back-off that doubles with each call for the key (5 ms, 10 ms, ... 1000 s) until work_queue_forget. */
void work_queue_add_rate_limited(struct work_queue *q, const char *key);
void work_queue_forget(struct work_queue *q, const char *key);
int work_queue_requeues(struct work_queue *q, const char *key);
/* The next key, the caller's to work on and to give to work_queue_done, which ends its life; NULL after work_queue_shut_down. */
char *work_queue_get(struct work_queue *q);
void work_queue_done(struct work_queue *q, char *key);
void work_queue_shut_down(struct work_queue *q);
size_t work_queue_len(struct work_queue *q);                      /* that wait now */
bool work_queue_empty(struct work_queue *q);                      /* nor does any wait for a later time */
/* Called (without locks held) when a key waits and nobody is in work_queue_get, or waits for a time and there is no worker at all: whoever runs the workers may start one more. */
void work_queue_on_backlog(struct work_queue *q, void (*fn)(void *arg), void *arg);
/* For the metrics: notes of every queue that has a name how long the keys have been worked on that are being so. */
void work_queues_look(void);
#endif
