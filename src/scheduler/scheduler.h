/* The scheduler: Pods without a node in, bindings out. Upstream: pkg/scheduler.
 *
 * Whoever watches the API (cmd, through client/) calls scheduler_set_pod and its siblings from any thread; one thread schedules, a few bind. What
 * leaves goes through struct scheduler_client (framework.h), so that the core does not know how the API is reached and tests need none. */
#ifndef CKUBE_SCHEDULER_SCHEDULER_H
#define CKUBE_SCHEDULER_SCHEDULER_H
#include "scheduler/cache.h"
#include "scheduler/scheduling_queue.h"

struct scheduler_config {
    const char *name;                     /* of the only profile, with upstream's defaults, if there are no profiles; NULL: default-scheduler */
    const struct profile *profiles;       /* copied but for what they point to, which must outlive the scheduler */
    size_t profiles_len;
    const struct extender_list *extenders; /* outlives the scheduler; NULL: none */
    int64_t backoff_initial_ms, backoff_max_ms; /* 0: upstream's */
    int binders;                          /* threads; 0: 4 */
};
struct scheduler_stats { uint64_t scheduled, unschedulable, errors, preemptions; };

struct buf;
struct scheduler;
struct scheduler *scheduler_new(struct env *env, const struct scheduler_client *client, const struct scheduler_config *config);
void scheduler_free(struct scheduler *s); /* stopped */
void scheduler_start(struct scheduler *s);
void scheduler_stop(struct scheduler *s); /* returns when its threads have ended; bindings under way are finished, but not those that wait for volumes */

/* What the scheduler wants to be told of: Pods and Nodes (without them it must not start), and for plugins the others; what is not told is taken not to
 * exist. scheduler_set_object takes each of them. NULL-terminated. */
extern const struct type_desc *const scheduler_wanted[];

/* News from the API, copied. An object that is new or changed; each call says all there is to know of it. */
void scheduler_set_object(struct scheduler *s, const struct type_desc *type, const void *obj);
void scheduler_delete_object(struct scheduler *s, const struct type_desc *type, const char *namespace, const char *name);
void scheduler_set_pod(struct scheduler *s, const struct corev1_Pod *pod);
void scheduler_delete_pod(struct scheduler *s, const char *namespace, const char *name);
void scheduler_set_node(struct scheduler *s, const struct corev1_Node *node);
void scheduler_delete_node(struct scheduler *s, const char *name);

/* One Pod on the caller's thread, binding and evictions included: for tests and simulation. False: none was waiting. */
bool scheduler_schedule_one(struct scheduler *s, int64_t timeout_ms);
/* Bindings that wait for volumes are looked at again, on the caller's thread; how many are left. For tests and simulation. */
size_t scheduler_bind_waiting(struct scheduler *s);
struct queue_lengths scheduler_queue_lengths(struct scheduler *s);
struct scheduler_stats scheduler_stats(struct scheduler *s);
void scheduler_put_metrics(struct scheduler *s, struct buf *out); /* the text for /metrics; any thread */
#endif
