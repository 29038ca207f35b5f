/* The scheduler: Pods without a node in, bindings out. Upstream: pkg/scheduler.
 *
 * Whoever watches the API (cmd, through client/) calls scheduler_set_pod and its siblings from any thread; one thread schedules, a few bind. What
 * leaves goes through struct scheduler_client, so that the core does not know how the API is reached and tests need none. */
#ifndef CKUBE_SCHEDULER_SCHEDULER_H
#define CKUBE_SCHEDULER_SCHEDULER_H
#include "scheduler/cache.h"
#include "scheduler/scheduling_queue.h"

/* Called without locks, from the scheduling thread (condition, event) and from binding threads (all three). */
struct scheduler_client {
    void *data;
    /* POST pods/NAME/binding. */
    int (*bind)(void *data, const struct corev1_Pod *pod, const char *node, struct status *reterr);
    /* The Pod's condition PodScheduled := False with the reason (Unschedulable, SchedulerError) and message; skip if it says so already. */
    int (*set_unscheduled)(void *data, const struct corev1_Pod *pod, const char *reason, const char *message, struct status *reterr);
    /* An Event about the Pod; type Normal or Warning. */
    void (*record)(void *data, const struct corev1_Pod *pod, const char *type, const char *reason, const char *action, const char *note);
};

struct scheduler_config {
    const char *name;                     /* spec.schedulerName we serve; NULL: default-scheduler */
    const struct plugin *const *plugins;  /* NULL: default_plugins */
    int binders;                          /* threads; 0: 4 */
};
struct scheduler_stats { uint64_t scheduled, unschedulable, errors; };

struct scheduler;
struct scheduler *scheduler_new(struct env *env, const struct scheduler_client *client, const struct scheduler_config *config);
void scheduler_free(struct scheduler *s); /* stopped */
void scheduler_start(struct scheduler *s);
void scheduler_stop(struct scheduler *s); /* returns when its threads have ended; bindings under way are finished */

/* News from the API, copied. A Pod that is new, changed, bound or finished; each call says all there is to know of it. */
void scheduler_set_pod(struct scheduler *s, const struct corev1_Pod *pod);
void scheduler_delete_pod(struct scheduler *s, const char *namespace, const char *name);
void scheduler_set_node(struct scheduler *s, const struct corev1_Node *node);
void scheduler_delete_node(struct scheduler *s, const char *name);

/* One Pod on the caller's thread, binding included: for tests and simulation. False: none was waiting. */
bool scheduler_schedule_one(struct scheduler *s, int64_t timeout_ms);
struct queue_lengths scheduler_queue_lengths(struct scheduler *s);
struct scheduler_stats scheduler_stats(struct scheduler *s);
#endif
