/* The scheduler's threads: one that chooses, some that bind and evict. What happens on news is in event_handlers.c. Upstream: scheduler.go, schedule_one.go. */
#include "scheduler/scheduler_internal.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "scheduler/metrics.h"

#define BINDERS_DEFAULT 4
#define NOTE_BYTES_MAX 1024               /* of an Event; upstream: NoteLengthLimit */
#define VOLUMES_POLL_NS INT64_C(1000000000)

struct scheduler *scheduler_new(struct env *env, const struct scheduler_client *client, const struct scheduler_config *config) {
    struct scheduler *s = calloc(1, sizeof(*s));
    size_t n = config->profiles_len ? config->profiles_len : 1;
    CHECK(s && (s->name = strdup(str_or(config->name, "default-scheduler"))) && (s->profiles = calloc(n, sizeof(*s->profiles))));
    if (config->profiles_len) memcpy(s->profiles, config->profiles, n * sizeof(*s->profiles));
    else profile_init_default(s->profiles, s->name);
    s->profiles_len = n;
    s->env = env;
    s->client = *client;
    s->cache = cache_new();
    s->metrics = scheduler_metrics_new(s->profiles, n);
    s->framework = (struct framework){.handle = {env, s->cache, &s->client}, .extenders = config->extenders, .metrics = s->metrics};
    s->queue = queue_new(env, &(struct queue_options){config->backoff_initial_ms, config->backoff_max_ms, s->profiles, n, s->metrics});
    s->arena = arena_new();
    s->binders = MIN(config->binders > 0 ? config->binders : BINDERS_DEFAULT, BINDERS_MAX);
    s->last = &s->first;
    s->waiting_last = &s->waiting;
    pthread_mutex_init(&s->mutex, NULL);
    env_cond_init(&s->cond);
    return s;
}

static void binding_free(struct binding *b) {
    for (size_t i = 0; i < b->victims_len; i++) pod_info_unref(b->victims[i]);
    pod_info_unref(b->pod);
    arena_free(b->arena);
}

void scheduler_free(struct scheduler *s) {
    if (!s) return;
    CHECK(!s->started && !s->first);
    while (s->waiting) {
        struct binding *b = s->waiting;
        s->waiting = b->next;
        binding_free(b);
    }
    queue_free(s->queue);
    cache_free(s->cache);
    scheduler_metrics_free(s->metrics);
    arena_free(s->arena);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    free(s->profiles);
    free(s->name);
    free(s);
}

/* ---- failures ---- */

static const char *note_of(const char *message, char room[NOTE_BYTES_MAX + 1]) {
    size_t len = strlen(message);
    if (len <= NOTE_BYTES_MAX) return message;
    memcpy(room, message, NOTE_BYTES_MAX - 4);
    memcpy(room + NOTE_BYTES_MAX - 4, " ...", 5);
    return room;
}

/* The nomination as the cycle decided, in the cache and, if it differs from what the Pod says, in the API. */
static void pod_nominate(struct scheduler *s, struct pod_info *pod, const char *node) {
    if (!node) return;
    _cleanup_status_ struct status st = STATUS_INIT;
    cache_lock(s->cache);
    if (queue_has(s->queue, pod->key)) cache_nominate(s->cache, pod, node);
    cache_unlock(s->cache);
    if (str_eq(pod->pod->status.nominatedNodeName, node) || !s->client.nominate) return;
    if (s->client.nominate(s->client.data, pod->pod, node, &st) && !status_is(&st, 404)) log_warning("scheduler: nominated node of Pod %s: %s", pod->key, status_message(&st));
}

struct failure { const char *message, *nominated; uint32_t rejectors; bool error, preempting; const struct profile *profile; int64_t begun_ns; };

static void pod_failed(struct scheduler *s, struct pod_info *pod, const struct failure *f) {
    _cleanup_status_ struct status st = STATUS_INIT;
    char room[NOTE_BYTES_MAX + 1];
    atomic_fetch_add(f->error ? &s->errors : &s->unschedulable, 1);
    metrics_attempt(s->metrics, f->profile, f->error ? ATTEMPT_ERROR : ATTEMPT_UNSCHEDULABLE, env_mono_ns(s->env) - f->begun_ns);
    queue_put_back(s->queue, pod->key, f->error ? 0 : f->rejectors, f->preempting);
    pod_nominate(s, pod, f->nominated);
    s->client.record(s->client.data, pod->pod, "Warning", "FailedScheduling", "Scheduling", note_of(f->message, room));
    if (s->client.set_unscheduled(s->client.data, pod->pod, f->error ? "SchedulerError" : "Unschedulable", f->message, &st) && !status_is(&st, 404))
        log_warning("scheduler: condition of Pod %s: %s", pod->key, status_message(&st));
}

/* ---- binding ---- */

/* The assumed Pod leaves its node again, which may help others. */
static void pod_forget(struct scheduler *s, struct binding *b) {
    framework_unreserve(&s->framework.handle, b);
    cache_lock(s->cache);
    if (cache_pod_assumed(s->cache, b->pod->key)) {
        struct pod_info *old = cache_delete_pod(s->cache, b->pod->key);
        struct cluster_event e = {.resource = EVENT_ASSIGNED_POD, .actions = ACTION_DELETE, .old_pod = old, .node = cache_node(s->cache, b->node)};
        queue_event(s->queue, s->cache, &e, NULL);
        pod_info_unref(old);
    }
    cache_unlock(s->cache);
}

/* Does PreBind and Bind. False: it waits for its volumes. */
static bool pod_bind(struct scheduler *s, struct binding *b) {
    _cleanup_status_ struct status st = STATUS_INIT;
    int r = framework_bind(&s->framework, b, &st);
    if (r > 0) return false;
    if (r < 0) {
        pod_forget(s, b);
        if (status_is(&st, 404)) { /* it was deleted meanwhile; its delete event clears the queue */
            queue_delete(s->queue, b->pod->key, b->pod->pod->metadata.uid);
            return true;
        }
        pod_failed(s, b->pod, &(struct failure){.message = status_message(&st), .nominated = "", .error = true, .profile = b->profile, .begun_ns = b->begun_ns});
        return true;
    }
    queue_delete(s->queue, b->pod->key, b->pod->pod->metadata.uid);
    atomic_fetch_add(&s->scheduled, 1);
    int64_t now = env_mono_ns(s->env);
    metrics_attempt(s->metrics, b->profile, ATTEMPT_SCHEDULED, now - b->begun_ns);
    metrics_scheduled(s->metrics, b->attempts, now - b->first_ns);
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_printf(&text, "Successfully assigned %s to %s", b->pod->key, b->node);
    s->client.record(s->client.data, b->pod->pod, "Normal", "Scheduled", "Binding", buf_cstr(&text));
    return true;
}

/* ---- evictions ---- */

/* Lower Pods that wait for room on the same node may not get it now: they look elsewhere. */
static void nominations_clear(struct scheduler *s, const struct binding *b) {
    struct pod_info *lower[32];
    size_t n = 0;
    cache_lock(s->cache);
    const struct node_info *node = cache_node(s->cache, b->node);
    for (size_t i = 0; node && i < node->nominated_len && n < ARRAY_LEN(lower); i++)
        if (node->nominated[i]->priority < b->pod->priority) lower[n++] = pod_info_ref(node->nominated[i]);
    for (size_t i = 0; i < n; i++) cache_nominate_none(s->cache, lower[i]->key);
    cache_unlock(s->cache);
    for (size_t i = 0; i < n; i++) {
        _cleanup_status_ struct status st = STATUS_INIT;
        if (s->client.nominate && s->client.nominate(s->client.data, lower[i]->pod, "", &st) && !status_is(&st, 404))
            log_warning("scheduler: nominated node of Pod %s: %s", lower[i]->key, status_message(&st));
        pod_info_unref(lower[i]);
    }
}

static bool victim_evict(struct scheduler *s, const struct binding *b, const struct pod_info *victim) {
    _cleanup_status_ struct status st = STATUS_INIT;
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (victim->pod->metadata.deletionTimestamp.set) return true; /* on its way already */
    if (!s->client.evict) {
        log_warning("scheduler: Pod %s is not evicted for %s: the client cannot", victim->key, b->pod->key);
        return false;
    }
    buf_printf(&text, "%s: preempting to accommodate a higher priority pod", str_or(b->pod->pod->spec.schedulerName, "default-scheduler"));
    if (s->client.evict(s->client.data, victim->pod, buf_cstr(&text), &st) && !status_is(&st, 404)) {
        log_warning("scheduler: Pod %s is not evicted for %s: %s", victim->key, b->pod->key, status_message(&st));
        return false;
    }
    buf_clear(&text);
    buf_printf(&text, "Preempted by pod %s on node %s", b->pod->pod->metadata.uid, b->node);
    if (s->client.record_related) s->client.record_related(s->client.data, victim->pod, b->pod->pod, "Normal", "Preempted", "Preempting", buf_cstr(&text));
    else s->client.record(s->client.data, victim->pod, "Normal", "Preempted", "Preempting", buf_cstr(&text));
    return true;
}

/* The claim's devices are free again, for this very Pod as for others; its update wakes them. */
static bool claim_deallocate(struct scheduler *s, const struct binding *b) {
    _cleanup_status_ struct status st = STATUS_INIT;
    if (!s->client.put_resource_claim) return false;
    if (s->client.put_resource_claim(s->client.data, b->arena, b->deallocate, true, NULL, &st) == 0) return true;
    log_warning("scheduler: deallocation of ResourceClaim %s/%s: %s", b->deallocate->metadata.namespace, b->deallocate->metadata.name, status_message(&st));
    return false;
}

static void victims_evict(struct scheduler *s, struct binding *b) {
    if (b->victims_len) nominations_clear(s, b);
    bool all = !b->deallocate || claim_deallocate(s, b);
    for (size_t i = 0; i < b->victims_len && all; i++) all = victim_evict(s, b, b->victims[i]);
    if (b->victims_len) {
        atomic_fetch_add(&s->preemptions, 1);
        metrics_preemption(s->metrics, b->victims_len);
    }
    queue_preempted(s->queue, b->pod->key, !all);
}

/* ---- one cycle ---- */

static struct binding *binding_new(const struct profile *profile, struct pod_info *pod, const char *node) {
    struct arena *a = arena_new();
    struct binding *b = ARENA_NEW(a, struct binding);
    b->arena = a;
    b->profile = profile;
    b->pod = pod_info_ref(pod);
    b->node = arena_strdup(a, node);
    return b;
}

/* Chooses a node and assumes the Pod to be there: a binding. If it fits nowhere, a binding with victims, or NULL. */
static struct binding *pod_choose(struct scheduler *s, const struct profile *profile, struct pod_info *pod, struct schedule_result *ret) {
    struct cycle *cycle;
    struct binding *b = NULL;
    cache_lock(s->cache);
    framework_schedule(&s->framework, profile, s->arena, pod, ret, &cycle);
    if (ret->node) {
        struct node_info *node = ret->node;
        b = binding_new(profile, pod, node->name);
        if (!cache_assume(s->cache, pod, node->name)) {
            ret->node = NULL;
            ret->error = true;
            ret->message = "the Pod is already on a node";
        } else if (!framework_reserve(cycle, node, b, ret)) {
            cache_unlock(s->cache);
            pod_forget(s, b);
            cache_lock(s->cache);
        } else {
            cache_nominate_none(s->cache, pod->key);
            queue_binds(s->queue, pod->key);
        }
        if (!ret->node) {
            binding_free(b);
            b = NULL;
        }
    } else if (ret->victims_len || ret->deallocate) {
        b = binding_new(profile, pod, ret->victims_len ? ret->nominated : "");
        if (ret->deallocate) b->deallocate = object_copy(b->arena, &resourcev1_ResourceClaim_desc, ret->deallocate);
        b->victims = arena_calloc(b->arena, ret->victims_len, sizeof(*b->victims));
        for (size_t i = 0; i < ret->victims_len; i++) b->victims[b->victims_len++] = pod_info_ref(ret->victims[i]);
        ret->nominated = ret->victims_len ? b->node : ret->nominated ? arena_strdup(s->arena, ret->nominated) : NULL;
    } else if (ret->nominated) {
        ret->nominated = arena_strdup(s->arena, ret->nominated);
    }
    cache_unlock(s->cache);
    return b;
}

static void binding_add(struct scheduler *s, struct binding *b) {
    pthread_mutex_lock(&s->mutex);
    *s->last = b;
    s->last = &b->next;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

static void waiting_add(struct scheduler *s, struct binding *b) {
    b->next = NULL;
    pthread_mutex_lock(&s->mutex);
    if (!s->waiting) s->waiting_ns = env_mono_ns(s->env) + VOLUMES_POLL_NS;
    *s->waiting_last = b;
    s->waiting_last = &b->next;
    pthread_mutex_unlock(&s->mutex);
}

static void binding_run(struct scheduler *s, struct binding *b) {
    if (b->victims_len || b->deallocate) victims_evict(s, b);
    else if (!pod_bind(s, b)) return waiting_add(s, b);
    binding_free(b);
}

/* Upstream: skipPodSchedule. */
static bool pod_skipped(struct scheduler *s, const struct pod_info *pod) {
    cache_lock(s->cache);
    bool assumed = cache_pod_assumed(s->cache, pod->key);
    cache_unlock(s->cache);
    return assumed || pod->terminating;
}

bool scheduler_schedule_one(struct scheduler *s, int64_t timeout_ms) {
    const struct profile *profile;
    struct pod_info *pod = queue_pop(s->queue, timeout_ms, &profile);
    if (!pod) return false;
    if (pod_skipped(s, pod)) {
        queue_delete(s->queue, pod->key, pod->pod->metadata.uid);
        pod_info_unref(pod);
        return true;
    }
    arena_reset(s->arena);
    int attempts;
    int64_t first_ns, begun_ns = env_mono_ns(s->env);
    queue_flight(s->queue, pod->key, &attempts, &first_ns);
    struct schedule_result result;
    struct binding *b = pod_choose(s, profile, pod, &result);
    metrics_algorithm(s->metrics, env_mono_ns(s->env) - begun_ns);
    if (b) {
        b->attempts = attempts;
        b->first_ns = first_ns;
        b->begun_ns = begun_ns;
    }
    if (!result.node)
        pod_failed(s, pod, &(struct failure){result.message, result.nominated, result.rejectors, result.error, b != NULL, profile, begun_ns});
    if (b && s->started) binding_add(s, b);
    else if (b) binding_run(s, b);
    pod_info_unref(pod);
    return true;
}

size_t scheduler_bind_waiting(struct scheduler *s) {
    pthread_mutex_lock(&s->mutex);
    struct binding *b = s->waiting;
    s->waiting = NULL;
    s->waiting_last = &s->waiting;
    pthread_mutex_unlock(&s->mutex);
    for (struct binding *next; b; b = next) {
        next = b->next;
        binding_run(s, b);
    }
    size_t n = 0;
    pthread_mutex_lock(&s->mutex);
    for (b = s->waiting; b; b = b->next) n++;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

/* ---- threads ---- */

static bool scheduler_stopping(struct scheduler *s) {
    pthread_mutex_lock(&s->mutex);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return stopping;
}

static void *scheduling_thread(void *arg) {
    struct scheduler *s = arg;
    while (!scheduler_stopping(s)) scheduler_schedule_one(s, -1);
    return NULL;
}

static void *binding_thread(void *arg) {
    struct scheduler *s = arg;
    for (;;) {
        pthread_mutex_lock(&s->mutex);
        bool poll = false;
        while (!s->first && !s->draining && !poll) {
            env_cond_wait(s->env, &s->cond, &s->mutex, s->waiting ? s->waiting_ns : -1);
            poll = s->waiting && env_mono_ns(s->env) >= s->waiting_ns;
        }
        struct binding *b = s->first;
        if (b && !(s->first = b->next)) s->last = &s->first;
        bool end = !b && s->draining;
        pthread_mutex_unlock(&s->mutex);
        if (end) return NULL;
        if (b) binding_run(s, b);
        else if (poll) scheduler_bind_waiting(s);
    }
}

void scheduler_start(struct scheduler *s) {
    CHECK(!s->started);
    s->started = true;
    for (int i = 0; i < s->binders; i++) CHECK(pthread_create(&s->binder_threads[i], NULL, binding_thread, s) == 0);
    CHECK(pthread_create(&s->thread, NULL, scheduling_thread, s) == 0);
}

void scheduler_stop(struct scheduler *s) {
    if (!s->started) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_mutex_unlock(&s->mutex);
    queue_close(s->queue);
    pthread_join(s->thread, NULL); /* before the binders, so that nothing is left for them */
    pthread_mutex_lock(&s->mutex);
    s->draining = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    for (int i = 0; i < s->binders; i++) pthread_join(s->binder_threads[i], NULL);
    s->started = false;
}

struct queue_lengths scheduler_queue_lengths(struct scheduler *s) { return queue_lengths(s->queue); }
struct scheduler_stats scheduler_stats(struct scheduler *s) {
    return (struct scheduler_stats){atomic_load(&s->scheduled), atomic_load(&s->unschedulable), atomic_load(&s->errors), atomic_load(&s->preemptions)};
}

void scheduler_put_metrics(struct scheduler *s, struct buf *out) {
    struct queue_lengths l = queue_lengths(s->queue);
    struct metrics_state state = {.queues = {l.active, l.backoff, l.unschedulable, l.gated}, .unschedulable = calloc(s->profiles_len, sizeof(*state.unschedulable))};
    CHECK(state.unschedulable);
    queue_count_rejected(s->queue, state.unschedulable);
    cache_lock(s->cache);
    (void)cache_nodes(s->cache, &state.nodes);
    state.pods = cache_pods_len(s->cache, &state.assumed);
    cache_unlock(s->cache);
    scheduler_metrics_put(s->metrics, &state, out);
    free(state.unschedulable);
}
