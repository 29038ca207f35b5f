/* The scheduler's own struct, shared by scheduler.c (threads) and event_handlers.c (news). */
#ifndef CKUBE_SCHEDULER_SCHEDULER_INTERNAL_H
#define CKUBE_SCHEDULER_SCHEDULER_INTERNAL_H
#include "scheduler/scheduler.h"

#define BINDERS_MAX 64

struct scheduler {
    struct env *env;
    struct scheduler_client client;
    char *name;
    struct profile *profiles;
    size_t profiles_len;
    struct framework framework;  /* the scheduling thread's, but for its handle */
    struct scheduling_queue *queue;
    struct scheduler_metrics *metrics;
    struct scheduler_cache *cache;
    struct arena *arena;         /* of the cycle; the scheduling thread's */
    pthread_t thread, binder_threads[BINDERS_MAX];
    int binders;
    bool started;
    pthread_mutex_t mutex;       /* of what follows */
    pthread_cond_t cond;
    struct binding *first, **last;           /* for the binders */
    struct binding *waiting, **waiting_last; /* until their volumes are bound */
    int64_t waiting_ns;          /* when they are looked at again */
    bool stopping, draining;     /* the scheduling thread ends; then the binders, when all is bound */
    atomic_uint_least64_t scheduled, unschedulable, errors, preemptions;
};
#endif
