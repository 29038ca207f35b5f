/* The scheduling queue: see its header for the states. One mutex, one condition; entries are found by key. */
#include "scheduler/scheduling_queue.h"
#include "base/map.h"
#include "base/str.h"

enum place { IN_ACTIVE, IN_BACKOFF, IN_UNSCHEDULABLE, IN_GATED, IN_FLIGHT, PLACES };

struct entry {
    struct pod_info *pod;
    enum place place;
    size_t heap_index;     /* active and backoff */
    int attempts;
    uint64_t seq;          /* for order */
    int64_t ready_ns, since_ns; /* end of back-off; when it became unschedulable */
    uint64_t flight_moves; /* q->moves when it was popped */
    bool updated;          /* changed while in flight */
};

struct heap {
    struct entry **items;
    size_t len, cap;
    bool (*before)(const struct entry *a, const struct entry *b);
};

struct scheduling_queue {
    struct env *env;
    const struct plugin *const *plugins;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct map *entries;
    struct heap active, backoff;
    size_t lengths[PLACES];
    uint64_t moves, seq;
    int64_t next_flush_ns; /* of those who have been unschedulable for long */
    bool closed;
};

static bool active_before(const struct entry *a, const struct entry *b) {
    return a->pod->priority != b->pod->priority ? a->pod->priority > b->pod->priority : a->seq < b->seq;
}
static bool backoff_before(const struct entry *a, const struct entry *b) { return a->ready_ns < b->ready_ns; }

static void heap_set(struct heap *h, size_t i, struct entry *e) {
    h->items[i] = e;
    e->heap_index = i;
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
    heap_fix(h, h->len - 1);
}

static void heap_remove(struct heap *h, struct entry *e) {
    size_t i = e->heap_index;
    CHECK(i < h->len && h->items[i] == e);
    struct entry *last = h->items[--h->len];
    if (last == e) return;
    heap_set(h, i, last);
    heap_fix(h, i);
}

struct scheduling_queue *queue_new(struct env *env, const struct plugin *const *plugins) {
    struct scheduling_queue *q = calloc(1, sizeof(*q));
    CHECK(q);
    q->env = env;
    q->plugins = plugins;
    q->entries = map_new();
    q->active.before = active_before;
    q->backoff.before = backoff_before;
    pthread_mutex_init(&q->mutex, NULL);
    env_cond_init(&q->cond);
    return q;
}

static void entry_free(void *p) {
    struct entry *e = p;
    pod_info_unref(e->pod);
    free(e);
}

void queue_free(struct scheduling_queue *q) {
    if (!q) return;
    map_free_with(q->entries, entry_free);
    free(q->active.items);
    free(q->backoff.items);
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

static void entry_leave(struct scheduling_queue *q, struct entry *e) {
    if (e->place == IN_ACTIVE) heap_remove(&q->active, e);
    if (e->place == IN_BACKOFF) heap_remove(&q->backoff, e);
    q->lengths[e->place]--;
}

static void entry_enter(struct scheduling_queue *q, struct entry *e, enum place place) {
    e->place = place;
    q->lengths[place]++;
    if (place == IN_BACKOFF) heap_push(&q->backoff, e);
    if (place == IN_UNSCHEDULABLE) e->since_ns = env_mono_ns(q->env);
    if (place == IN_ACTIVE) heap_push(&q->active, e);
    if (place == IN_ACTIVE || place == IN_BACKOFF) pthread_cond_broadcast(&q->cond);
}

static bool gated(const struct scheduling_queue *q, const struct pod_info *pod) {
    struct reasons why = {0};
    for (int i = 0; q->plugins[i]; i++)
        if (q->plugins[i]->pre_enqueue && q->plugins[i]->pre_enqueue(pod, &why) != CODE_SUCCESS) return true;
    return false;
}

/* To where it may go now: its back-off may still run. */
static void entry_retry(struct scheduling_queue *q, struct entry *e) {
    if (gated(q, e->pod)) entry_enter(q, e, IN_GATED);
    else entry_enter(q, e, e->ready_ns > env_mono_ns(q->env) ? IN_BACKOFF : IN_ACTIVE);
}

/* What plugins read; our own condition in the status is no reason to try again. Upstream: isPodUpdated. */
static bool pod_changed(const struct corev1_Pod *a, const struct corev1_Pod *b) {
    return a->metadata.deletionTimestamp.set != b->metadata.deletionTimestamp.set || !object_equal(&corev1_PodSpec_desc, &a->spec, &b->spec) ||
           !string_map_equal(&a->metadata.labels, &b->metadata.labels) || !string_map_equal(&a->metadata.annotations, &b->metadata.annotations);
}

void queue_set(struct scheduling_queue *q, struct pod_info *pod) {
    pthread_mutex_lock(&q->mutex);
    struct entry *e = map_get(q->entries, pod->key);
    if (e && !str_eq(e->pod->pod->metadata.uid, pod->pod->metadata.uid)) { /* another Pod of that name */
        entry_leave(q, e);
        map_del(q->entries, pod->key);
        entry_free(e);
        e = NULL;
    }
    bool changed = !e || pod_changed(e->pod->pod, pod->pod), waits = e && e->place != IN_FLIGHT;
    if (!e) {
        CHECK(e = calloc(1, sizeof(*e)));
        e->seq = ++q->seq;
        map_put(q->entries, pod->key, e);
        waits = true;
    } else if (waits && changed) {
        entry_leave(q, e);
    }
    pod_info_unref(e->pod);
    e->pod = pod_info_ref(pod);
    if (changed && waits) entry_retry(q, e);
    else if (changed) e->updated = true;
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

/* Back-offs that have ended, and Pods that have been unschedulable for too long. */
static void queue_flush(struct scheduling_queue *q, int64_t now) {
    while (q->backoff.len && q->backoff.items[0]->ready_ns <= now) {
        struct entry *e = q->backoff.items[0];
        entry_leave(q, e);
        entry_enter(q, e, IN_ACTIVE);
    }
    if (now < q->next_flush_ns) return;
    q->next_flush_ns = now + 30 * INT64_C(1000000000);
    const char *key;
    void *value;
    for (size_t pos = 0; map_next(q->entries, &pos, &key, &value);) {
        struct entry *e = value;
        if (e->place != IN_UNSCHEDULABLE || now - e->since_ns < QUEUE_UNSCHEDULABLE_MAX_MS * INT64_C(1000000)) continue;
        entry_leave(q, e);
        entry_enter(q, e, IN_ACTIVE);
    }
}

static int64_t queue_wake_ns(const struct scheduling_queue *q, int64_t deadline) {
    int64_t at = q->lengths[IN_UNSCHEDULABLE] ? q->next_flush_ns : -1;
    if (q->backoff.len && (at < 0 || q->backoff.items[0]->ready_ns < at)) at = q->backoff.items[0]->ready_ns;
    return deadline >= 0 && (at < 0 || deadline < at) ? deadline : at;
}

struct pod_info *queue_pop(struct scheduling_queue *q, int64_t timeout_ms) {
    struct pod_info *pod = NULL;
    pthread_mutex_lock(&q->mutex);
    int64_t deadline = timeout_ms < 0 ? -1 : env_mono_ns(q->env) + timeout_ms * 1000000;
    while (!q->closed) {
        int64_t now = env_mono_ns(q->env);
        queue_flush(q, now);
        if (q->active.len) {
            struct entry *e = q->active.items[0];
            entry_leave(q, e);
            entry_enter(q, e, IN_FLIGHT);
            e->attempts++;
            e->flight_moves = q->moves;
            e->updated = false;
            pod = pod_info_ref(e->pod);
            break;
        }
        if (deadline >= 0 && now >= deadline) break;
        env_cond_wait(q->env, &q->cond, &q->mutex, queue_wake_ns(q, deadline));
    }
    pthread_mutex_unlock(&q->mutex);
    return pod;
}

static int64_t backoff_ns(int attempts) {
    int64_t ms = QUEUE_BACKOFF_INITIAL_MS;
    for (int i = 1; i < attempts && ms < QUEUE_BACKOFF_MAX_MS; i++) ms *= 2;
    return MIN(ms, (int64_t)QUEUE_BACKOFF_MAX_MS) * 1000000;
}

void queue_put_back(struct scheduling_queue *q, const char *key, bool error) {
    pthread_mutex_lock(&q->mutex);
    struct entry *e = map_get(q->entries, key);
    if (e && e->place == IN_FLIGHT) {
        bool stale = error || e->updated || q->moves != e->flight_moves;
        entry_leave(q, e);
        e->updated = false;
        e->seq = ++q->seq;
        e->ready_ns = env_mono_ns(q->env) + backoff_ns(e->attempts);
        if (stale) entry_retry(q, e);
        else entry_enter(q, e, IN_UNSCHEDULABLE);
    }
    pthread_mutex_unlock(&q->mutex);
}

void queue_move_all(struct scheduling_queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->moves++;
    const char *key;
    void *value;
    for (size_t pos = 0; q->lengths[IN_UNSCHEDULABLE] && map_next(q->entries, &pos, &key, &value);) {
        struct entry *e = value;
        if (e->place != IN_UNSCHEDULABLE) continue;
        entry_leave(q, e);
        entry_retry(q, e);
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
    struct queue_lengths l = {q->lengths[IN_ACTIVE], q->lengths[IN_BACKOFF], q->lengths[IN_UNSCHEDULABLE], q->lengths[IN_GATED], q->lengths[IN_FLIGHT]};
    pthread_mutex_unlock(&q->mutex);
    return l;
}
