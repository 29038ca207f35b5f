/* The scheduling queue: see its header for the states. One mutex, one condition; entries are found by key. */
#include "scheduler/scheduling_queue.h"
#include "scheduler/metrics.h"
#include "base/map.h"
#include "base/str.h"

#define SECOND_NS INT64_C(1000000000)

enum place { IN_ACTIVE, IN_BACKOFF, IN_UNSCHEDULABLE, IN_GATED, IN_FLIGHT, IN_BINDING, PLACES };

struct entry {
    struct pod_info *pod;
    const struct profile *profile;
    enum place place;
    size_t index;          /* in its heap, or in the list of the unschedulable */
    int attempts, unschedulable_count, error_count;
    uint64_t seq;          /* for order */
    int64_t first_ns;      /* when it was popped for the first time */
    int64_t ready_ns, since_ns; /* end of back-off; when it became unschedulable */
    uint32_t rejectors;
    uint32_t flight_hints; /* of plugins that think that an event since it was popped may help */
    bool preempting, woken; /* woken: an event helped while preempting */
    bool held;             /* among the unschedulable, but a gate holds it: it has not been tried */
    struct entry *next_flight;
};

struct heap {
    struct entry **items;
    size_t len, cap;
    bool (*before)(const struct entry *a, const struct entry *b);
};

struct scheduling_queue {
    struct env *env;
    struct queue_options options;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct map *entries;
    struct heap active, backoff, error_backoff;
    struct entry **unschedulable;
    size_t unschedulable_cap;
    struct entry *flights;
    size_t lengths[PLACES], held; /* held: of those in IN_UNSCHEDULABLE */
    uint64_t seq;
    int64_t next_flush_ns; /* of those who have been unschedulable for long */
    size_t poppers;
    const char *event;     /* why Pods come into queues just now, for metrics */
    bool closed;
};

static bool active_before(const struct entry *a, const struct entry *b) {
    return a->pod->priority != b->pod->priority ? a->pod->priority > b->pod->priority : a->seq < b->seq;
}
/* Whole seconds apart (see queue_put_back); those of the same second by priority and age. */
static bool backoff_before(const struct entry *a, const struct entry *b) { return a->ready_ns != b->ready_ns ? a->ready_ns < b->ready_ns : active_before(a, b); }

/* ---- heaps ---- */

static void heap_set(struct heap *h, size_t i, struct entry *e) {
    h->items[i] = e;
    e->index = i;
}

static void heap_fix(struct heap *h, size_t i) {
    struct entry *e = h->items[i];
    for (; i > 0 && h->before(e, h->items[(i - 1) / 2]); i = (i - 1) / 2) heap_set(h, i, h->items[(i - 1) / 2]);
    for (size_t child; (child = 2 * i + 1) < h->len; i = child) {
        if (child + 1 < h->len && h->before(h->items[child + 1], h->items[child])) child++;
        if (!h->before(h->items[child], e)) break;
        heap_set(h, i, h->items[child]);
    }
    heap_set(h, i, e);
}

static void heap_push(struct heap *h, struct entry *e) {
    if (h->len == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 64;
        CHECK(h->items = realloc(h->items, h->cap * sizeof(struct entry *)));
    }
    heap_set(h, h->len++, e);
    heap_fix(h, e->index);
}

static void heap_remove(struct heap *h, struct entry *e) {
    size_t i = e->index;
    struct entry *last = h->items[--h->len];
    if (last == e) return;
    heap_set(h, i, last);
    heap_fix(h, i);
}

/* ---- places ---- */

struct scheduling_queue *queue_new(struct env *env, const struct queue_options *options) {
    struct scheduling_queue *q = calloc(1, sizeof(*q));
    CHECK(q && options->profiles_len);
    q->env = env;
    q->options = *options;
    if (!q->options.backoff_initial_ms) q->options.backoff_initial_ms = QUEUE_BACKOFF_INITIAL_MS;
    if (!q->options.backoff_max_ms) q->options.backoff_max_ms = QUEUE_BACKOFF_MAX_MS;
    pthread_mutex_init(&q->mutex, NULL);
    env_cond_init(&q->cond);
    q->entries = map_new();
    q->active.before = active_before;
    q->backoff.before = q->error_backoff.before = backoff_before;
    return q;
}

static void entry_free(void *p) {
    pod_info_unref(((struct entry *)p)->pod);
    free(p);
}

void queue_free(struct scheduling_queue *q) {
    if (!q) return;
    map_free_with(q->entries, entry_free);
    free(q->active.items);
    free(q->backoff.items);
    free(q->error_backoff.items);
    free(q->unschedulable);
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

/* Those who failed with an error are kept apart: they are not popped before their time. */
static struct heap *backoff_of(struct scheduling_queue *q, const struct entry *e) { return e->rejectors ? &q->backoff : &q->error_backoff; }

static void entry_leave(struct scheduling_queue *q, struct entry *e) {
    q->lengths[e->place]--;
    q->held -= e->place == IN_UNSCHEDULABLE && e->held;
    if (e->place == IN_ACTIVE) heap_remove(&q->active, e);
    if (e->place == IN_BACKOFF) heap_remove(backoff_of(q, e), e);
    if (e->place == IN_UNSCHEDULABLE) {
        struct entry *last = q->unschedulable[q->lengths[IN_UNSCHEDULABLE]];
        q->unschedulable[e->index] = last;
        last->index = e->index;
    }
    if (e->place == IN_FLIGHT)
        for (struct entry **at = &q->flights; *at; at = &(*at)->next_flight)
            if (*at == e) {
                *at = e->next_flight;
                break;
            }
}

static void unschedulable_push(struct scheduling_queue *q, struct entry *e) {
    if (q->lengths[IN_UNSCHEDULABLE] == q->unschedulable_cap) {
        q->unschedulable_cap = q->unschedulable_cap ? q->unschedulable_cap * 2 : 64;
        CHECK(q->unschedulable = realloc(q->unschedulable, q->unschedulable_cap * sizeof(struct entry *)));
    }
    e->index = q->lengths[IN_UNSCHEDULABLE];
    q->unschedulable[e->index] = e;
    e->since_ns = env_mono_ns(q->env);
}

static void entry_enter(struct scheduling_queue *q, struct entry *e, enum place place) {
    e->place = place;
    if (place == IN_BACKOFF) heap_push(backoff_of(q, e), e);
    if (place == IN_UNSCHEDULABLE) unschedulable_push(q, e);
    if (place == IN_ACTIVE) heap_push(&q->active, e);
    if (place == IN_FLIGHT) {
        e->next_flight = q->flights;
        q->flights = e;
        e->flight_hints = 0;
    }
    if (place != IN_UNSCHEDULABLE) e->held = false;
    static const enum metrics_queue queues[] = {[IN_ACTIVE] = METRICS_QUEUE_ACTIVE, [IN_BACKOFF] = METRICS_QUEUE_BACKOFF, [IN_UNSCHEDULABLE] = METRICS_QUEUE_UNSCHEDULABLE,
                                                [IN_GATED] = METRICS_QUEUE_GATED};
    if (place <= IN_GATED && q->event) metrics_incoming(q->options.metrics, e->held ? METRICS_QUEUE_GATED : queues[place], q->event);
    q->held += e->held;
    q->lengths[place]++;
    if ((place == IN_ACTIVE || place == IN_BACKOFF) && q->poppers) pthread_cond_broadcast(&q->cond);
}

/* The PreEnqueue plugin that holds it, or NULL. cache NULL: its lock is not held. */
static const struct plugin *gate_of(const struct entry *e, struct scheduler_cache *cache) {
    struct reasons why = {0};
    const struct plugin_uses *uses = &e->profile->points[POINT_PRE_ENQUEUE];
    for (int i = 0; i < uses->len; i++)
        if (uses->items[i].plugin->pre_enqueue(cache, e->pod, &why) != CODE_SUCCESS) return uses->items[i].plugin;
    return NULL;
}

/* A gate that other events than an update of the Pod may open: the Pod waits for those as if it had been refused. */
static bool gate_waits(const struct plugin *gate) {
    for (int i = 0; i < EVENT_RESOURCES; i++)
        if (i != EVENT_TARGET_POD && gate->events[i]) return true;
    return false;
}

/* To where it may go now: its back-off may still run. */
static void entry_retry(struct scheduling_queue *q, struct scheduler_cache *cache, struct entry *e) {
    const struct plugin *gate = gate_of(e, cache);
    e->held = gate && gate_waits(gate);
    if (e->held) {
        e->rejectors = UINT32_C(1) << gate->id;
        entry_enter(q, e, IN_UNSCHEDULABLE);
    } else if (gate) entry_enter(q, e, IN_GATED);
    else entry_enter(q, e, e->ready_ns > env_mono_ns(q->env) ? IN_BACKOFF : IN_ACTIVE);
}

/* ---- what comes from outside ---- */

static const struct profile *profile_of(const struct scheduling_queue *q, const struct pod_info *p) {
    for (size_t i = 0; i < q->options.profiles_len; i++)
        if (str_eq(q->options.profiles[i].name, p->pod->spec.schedulerName)) return &q->options.profiles[i];
    return &q->options.profiles[0];
}

/* What a change of the Pod itself may have helped: the plugins' opinion. */
static uint32_t update_hints(struct scheduler_cache *cache, struct entry *e, struct pod_info *pod) {
    struct cluster_event event = {.resource = EVENT_TARGET_POD, .actions = pod_change_actions(e->pod, pod), .old_pod = e->pod, .new_pod = pod};
    uint32_t mask = event.actions ? profile_event_mask(&event) : 0;
    return mask ? profile_hints(e->profile, cache, &event, pod, mask) : 0;
}

static void entry_update(struct scheduling_queue *q, struct scheduler_cache *cache, struct entry *e, struct pod_info *pod) {
    uint32_t hints = e->place == IN_FLIGHT || e->place == IN_UNSCHEDULABLE ? update_hints(cache, e, pod) : 0;
    bool reorder = e->place == IN_ACTIVE && e->pod->priority != pod->priority;
    struct pod_info *old = e->pod;
    e->pod = pod_info_ref(pod);
    if (e->place == IN_FLIGHT) e->flight_hints |= hints;
    if (reorder) heap_fix(&q->active, e->index);
    bool moves = e->place == IN_GATED ? !gate_of(e, cache) : e->place == IN_UNSCHEDULABLE && (hints & e->rejectors) && !e->preempting;
    if (moves) {
        entry_leave(q, e);
        entry_retry(q, cache, e);
    }
    pod_info_unref(old);
}

void queue_set(struct scheduling_queue *q, struct scheduler_cache *cache, struct pod_info *pod) {
    pthread_mutex_lock(&q->mutex);
    struct entry *e = map_get(q->entries, pod->key);
    q->event = e ? "PodUpdate" : "PodAdd";
    if (e && !str_eq(e->pod->pod->metadata.uid, pod->pod->metadata.uid)) { /* another Pod of that name */
        entry_leave(q, e);
        map_del(q->entries, pod->key);
        entry_free(e);
        e = NULL;
    }
    if (e) {
        entry_update(q, cache, e, pod);
    } else {
        CHECK(e = calloc(1, sizeof(*e)));
        e->seq = ++q->seq;
        e->pod = pod_info_ref(pod);
        e->profile = profile_of(q, pod);
        map_put(q->entries, pod->key, e);
        entry_retry(q, cache, e);
    }
    pthread_mutex_unlock(&q->mutex);
}

void queue_delete(struct scheduling_queue *q, const char *key, const char *uid) {
    pthread_mutex_lock(&q->mutex);
    struct entry *e = map_get(q->entries, key);
    if (e && (!uid || str_eq(uid, e->pod->pod->metadata.uid))) {
        map_del(q->entries, key);
        entry_leave(q, e);
        entry_free(e);
    }
    pthread_mutex_unlock(&q->mutex);
}

bool queue_has(struct scheduling_queue *q, const char *key) {
    pthread_mutex_lock(&q->mutex);
    bool has = map_has(q->entries, key);
    pthread_mutex_unlock(&q->mutex);
    return has;
}

void queue_event(struct scheduling_queue *q, struct scheduler_cache *cache, const struct cluster_event *e, const char *except) {
    pthread_mutex_lock(&q->mutex);
    uint32_t mask = profile_event_mask(e);
    char label[48];
    q->event = event_label(e, label, sizeof(label));
    for (struct entry *f = q->flights; f && mask; f = f->next_flight) f->flight_hints |= profile_hints(f->profile, cache, e, f->pod, mask & ~f->flight_hints);
    for (size_t i = q->lengths[IN_UNSCHEDULABLE]; i > 0; i--) {
        struct entry *u = q->unschedulable[i - 1];
        bool any = u->rejectors >> PLUGIN_EXTENDER & 1; /* extenders do not say what they wait for */
        uint32_t asked = u->rejectors & mask;
        if (u->woken || (!any && !asked) || (except && str_eq(except, u->pod->key))) continue;
        if (!any && !profile_hints(u->profile, cache, e, u->pod, asked)) continue;
        if (u->preempting) {
            u->woken = true;
            continue;
        }
        entry_leave(q, u);
        entry_retry(q, cache, u);
    }
    q->event = NULL; /* label is gone */
    pthread_mutex_unlock(&q->mutex);
}

/* ---- the scheduler's side ---- */

/* Back-offs that have ended, and Pods that have been unschedulable for too long. */
static void queue_flush(struct scheduling_queue *q, int64_t now) {
    struct heap *heaps[] = {&q->backoff, &q->error_backoff};
    q->event = "BackoffComplete";
    for (size_t h = 0; h < 2; h++)
        while (heaps[h]->len && heaps[h]->items[0]->ready_ns <= now) {
            struct entry *e = heaps[h]->items[0];
            entry_leave(q, e);
            entry_enter(q, e, IN_ACTIVE);
        }
    if (now < q->next_flush_ns) return;
    q->next_flush_ns = now + 30 * SECOND_NS;
    q->event = "UnschedulableTimeout";
    for (size_t i = q->lengths[IN_UNSCHEDULABLE]; i > 0; i--) {
        struct entry *e = q->unschedulable[i - 1];
        if (e->preempting || e->held || now - e->since_ns < QUEUE_UNSCHEDULABLE_MAX_MS * INT64_C(1000000)) continue;
        entry_leave(q, e);
        entry_retry(q, NULL, e);
    }
}

static int64_t queue_wake_ns(const struct scheduling_queue *q, int64_t deadline) {
    int64_t at = q->lengths[IN_UNSCHEDULABLE] ? q->next_flush_ns : -1;
    if (q->error_backoff.len && (at < 0 || q->error_backoff.items[0]->ready_ns < at)) at = q->error_backoff.items[0]->ready_ns;
    return deadline >= 0 && (at < 0 || deadline < at) ? deadline : at;
}

struct pod_info *queue_pop(struct scheduling_queue *q, int64_t timeout_ms, const struct profile **ret_profile) {
    struct pod_info *pod = NULL;
    pthread_mutex_lock(&q->mutex);
    int64_t deadline = timeout_ms < 0 ? -1 : env_mono_ns(q->env) + timeout_ms * 1000000;
    while (!q->closed) {
        int64_t now = env_mono_ns(q->env);
        queue_flush(q, now);
        struct heap *from = q->active.len ? &q->active : &q->backoff;
        if (from->len) {
            struct entry *e = from->items[0];
            entry_leave(q, e);
            entry_enter(q, e, IN_FLIGHT);
            if (!e->attempts++) e->first_ns = now;
            pod = pod_info_ref(e->pod);
            if (ret_profile) *ret_profile = e->profile;
            break;
        }
        if (deadline >= 0 && now >= deadline) break;
        q->poppers++;
        env_cond_wait(q->env, &q->cond, &q->mutex, queue_wake_ns(q, deadline));
        q->poppers--;
    }
    pthread_mutex_unlock(&q->mutex);
    return pod;
}

static int64_t backoff_ns(const struct scheduling_queue *q, const struct entry *e) {
    int64_t ms = q->options.backoff_initial_ms;
    int count = e->error_count ? e->error_count : e->unschedulable_count;
    for (int i = 1; i < count && ms < q->options.backoff_max_ms; i++) ms *= 2;
    return MIN(ms, q->options.backoff_max_ms) * 1000000;
}

void queue_flight(struct scheduling_queue *q, const char *key, int *ret_attempts, int64_t *ret_first_ns) {
    pthread_mutex_lock(&q->mutex);
    const struct entry *e = map_get(q->entries, key);
    *ret_attempts = e ? e->attempts : 0;
    *ret_first_ns = e ? e->first_ns : 0;
    pthread_mutex_unlock(&q->mutex);
}

void queue_count_rejected(struct scheduling_queue *q, size_t (*counts)[PLUGINS_LEN]) {
    pthread_mutex_lock(&q->mutex);
    for (size_t i = 0; i < q->lengths[IN_UNSCHEDULABLE]; i++) {
        const struct entry *e = q->unschedulable[i];
        for (int p = 0; p < PLUGINS_LEN; p++) counts[e->profile - q->options.profiles][p] += e->rejectors >> p & 1;
    }
    pthread_mutex_unlock(&q->mutex);
}

void queue_binds(struct scheduling_queue *q, const char *key) {
    pthread_mutex_lock(&q->mutex);
    struct entry *e = map_get(q->entries, key);
    if (e && e->place == IN_FLIGHT) {
        entry_leave(q, e);
        entry_enter(q, e, IN_BINDING);
    }
    pthread_mutex_unlock(&q->mutex);
}

void queue_put_back(struct scheduling_queue *q, const char *key, uint32_t rejectors, bool preempting) {
    pthread_mutex_lock(&q->mutex);
    struct entry *e = map_get(q->entries, key);
    q->event = "ScheduleAttemptFailure";
    if (e && (e->place == IN_FLIGHT || e->place == IN_BINDING)) {
        entry_leave(q, e);
        e->rejectors = rejectors;
        if (rejectors) e->unschedulable_count++, e->error_count = 0;
        else e->error_count++;
        e->seq = ++q->seq;
        int64_t now = env_mono_ns(q->env);
        e->ready_ns = now - now % SECOND_NS + backoff_ns(q, e); /* upstream: backoffQOrderingWindowDuration */
        bool helped = !rejectors || (e->flight_hints & rejectors) || (rejectors >> PLUGIN_EXTENDER & 1 && e->flight_hints);
        e->preempting = preempting;
        e->woken = preempting && helped;
        if (helped && !preempting) entry_retry(q, NULL, e);
        else entry_enter(q, e, IN_UNSCHEDULABLE);
    }
    pthread_mutex_unlock(&q->mutex);
}

void queue_preempted(struct scheduling_queue *q, const char *key, bool failed) {
    pthread_mutex_lock(&q->mutex);
    struct entry *e = map_get(q->entries, key);
    q->event = "ForceActivate";
    if (e && e->preempting) {
        e->preempting = false;
        if (e->place == IN_UNSCHEDULABLE && (e->woken || failed)) {
            entry_leave(q, e);
            entry_retry(q, NULL, e);
        }
        e->woken = false;
    }
    pthread_mutex_unlock(&q->mutex);
}

void queue_close(struct scheduling_queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_cond_broadcast(&q->cond);
    pthread_mutex_unlock(&q->mutex);
}

struct queue_lengths queue_lengths(struct scheduling_queue *q) {
    pthread_mutex_lock(&q->mutex);
    struct queue_lengths l = {q->lengths[IN_ACTIVE], q->lengths[IN_BACKOFF], q->lengths[IN_UNSCHEDULABLE] - q->held, q->lengths[IN_GATED] + q->held, q->lengths[IN_FLIGHT] + q->lengths[IN_BINDING]};
    pthread_mutex_unlock(&q->mutex);
    return l;
}
