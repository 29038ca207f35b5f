/* Work queues: see work_queue.h. */
#include "client/work_queue.h"
#include <string.h>
#include "base/map.h"

struct item {
    struct item *next;     /* in the line */
    char *key;
    bool queued, processing, again; /* again: to be queued when done */
    int requeues;
    int64_t ready_ns;      /* 0: not waiting */
    size_t at;             /* its place in the heap */
};

struct work_queue {
    struct env *env;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct map *items;     /* key -> struct item *; kept while queued, processing, waiting or with requeues */
    struct item *head, **tail;
    size_t len, idle, busy; /* idle: workers in work_queue_get; busy: keys that are worked on */
    struct item **heap;    /* waiting ones, the earliest first */
    size_t heap_len, heap_cap;
    bool shut;
    void (*on_backlog)(void *);
    void *on_backlog_arg;
};

struct work_queue *work_queue_new(struct env *env) {
    struct work_queue *q = calloc(1, sizeof(*q));
    CHECK(q);
    q->env = env;
    q->items = map_new();
    q->tail = &q->head;
    pthread_mutex_init(&q->mutex, NULL);
    env_cond_init(&q->cond);
    return q;
}

static void item_free(void *p) {
    free(((struct item *)p)->key);
    free(p);
}

void work_queue_free(struct work_queue *q) {
    if (!q) return;
    map_free_with(q->items, item_free);
    free(q->heap);
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

/* ---- the heap of waiting items ---- */

static void heap_set(struct work_queue *q, size_t i, struct item *it) {
    q->heap[i] = it;
    it->at = i;
}

static void heap_up(struct work_queue *q, size_t i) {
    struct item *it = q->heap[i];
    for (; i && q->heap[(i - 1) / 2]->ready_ns > it->ready_ns; i = (i - 1) / 2) heap_set(q, i, q->heap[(i - 1) / 2]);
    heap_set(q, i, it);
}

static void heap_down(struct work_queue *q, size_t i) {
    struct item *it = q->heap[i];
    for (size_t child; (child = 2 * i + 1) < q->heap_len; i = child) {
        if (child + 1 < q->heap_len && q->heap[child + 1]->ready_ns < q->heap[child]->ready_ns) child++;
        if (q->heap[child]->ready_ns >= it->ready_ns) break;
        heap_set(q, i, q->heap[child]);
    }
    heap_set(q, i, it);
}

static void heap_remove(struct work_queue *q, struct item *it) {
    size_t i = it->at;
    it->ready_ns = 0;
    struct item *last = q->heap[--q->heap_len];
    if (last == it) return;
    heap_set(q, i, last);
    heap_up(q, i);
    heap_down(q, last->at);
}

/* ---- with the mutex ---- */

static struct item *item_of(struct work_queue *q, const char *key) {
    struct item *it = map_get(q->items, key);
    if (it) return it;
    it = calloc(1, sizeof(*it));
    CHECK(it && (it->key = strdup(key)));
    map_put(q->items, key, it);
    return it;
}

static void item_settle(struct work_queue *q, struct item *it) {
    if (it->queued || it->processing || it->ready_ns || it->requeues) return;
    map_del(q->items, it->key);
    item_free(it);
}

/* True if nobody waits for it. */
static bool enqueue(struct work_queue *q, struct item *it) {
    if (it->queued || q->shut) return false;
    if (it->processing) {
        it->again = true;
        return false;
    }
    it->queued = true;
    it->next = NULL;
    *q->tail = it;
    q->tail = &it->next;
    q->len++;
    pthread_cond_signal(&q->cond);
    return q->len > q->idle;
}

static bool take_ready(struct work_queue *q) {
    bool backlog = false;
    int64_t now = q->heap_len ? env_mono_ns(q->env) : 0;
    while (q->heap_len && q->heap[0]->ready_ns <= now) {
        struct item *it = q->heap[0];
        heap_remove(q, it);
        backlog |= enqueue(q, it);
    }
    return backlog;
}

/* True if there is no worker at all who would see that the time has come. */
static bool wait_until(struct work_queue *q, struct item *it, int64_t ready_ns) {
    if (it->ready_ns && it->ready_ns <= ready_ns) return false;
    if (it->ready_ns) heap_remove(q, it);
    if (q->heap_len == q->heap_cap) {
        q->heap_cap = q->heap_cap ? q->heap_cap * 2 : 16;
        CHECK(q->heap = realloc(q->heap, q->heap_cap * sizeof(*q->heap)));
    }
    it->ready_ns = ready_ns;
    heap_set(q, q->heap_len++, it);
    heap_up(q, it->at);
    if (it->at == 0) pthread_cond_signal(&q->cond); /* who waits must wait less */
    return !q->idle && !q->busy;
}

/* ---- for those who add ---- */

static void tell_backlog(struct work_queue *q, bool backlog) {
    if (backlog && q->on_backlog) q->on_backlog(q->on_backlog_arg);
}

void work_queue_add(struct work_queue *q, const char *key) {
    pthread_mutex_lock(&q->mutex);
    bool backlog = !q->shut && enqueue(q, item_of(q, key));
    pthread_mutex_unlock(&q->mutex);
    tell_backlog(q, backlog);
}

void work_queue_add_after(struct work_queue *q, const char *key, int64_t ms) {
    if (ms <= 0) {
        work_queue_add(q, key);
        return;
    }
    pthread_mutex_lock(&q->mutex);
    bool backlog = !q->shut && wait_until(q, item_of(q, key), env_mono_ns(q->env) + ms * 1000000);
    pthread_mutex_unlock(&q->mutex);
    tell_backlog(q, backlog);
}

void work_queue_add_rate_limited(struct work_queue *q, const char *key) {
    bool backlog = false;
    pthread_mutex_lock(&q->mutex);
    if (!q->shut) {
        struct item *it = item_of(q, key);
        int64_t ms = WORK_QUEUE_BACKOFF_MS_MAX;
        if (it->requeues < 24) ms = MIN((int64_t)WORK_QUEUE_BACKOFF_MS_MIN << it->requeues, (int64_t)WORK_QUEUE_BACKOFF_MS_MAX);
        it->requeues++;
        backlog = wait_until(q, it, env_mono_ns(q->env) + ms * 1000000);
    }
    pthread_mutex_unlock(&q->mutex);
    tell_backlog(q, backlog);
}

void work_queue_forget(struct work_queue *q, const char *key) {
    pthread_mutex_lock(&q->mutex);
    struct item *it = map_get(q->items, key);
    if (it) {
        it->requeues = 0;
        item_settle(q, it);
    }
    pthread_mutex_unlock(&q->mutex);
}

int work_queue_requeues(struct work_queue *q, const char *key) {
    pthread_mutex_lock(&q->mutex);
    struct item *it = map_get(q->items, key);
    int n = it ? it->requeues : 0;
    pthread_mutex_unlock(&q->mutex);
    return n;
}

size_t work_queue_len(struct work_queue *q) {
    pthread_mutex_lock(&q->mutex);
    size_t n = q->len;
    pthread_mutex_unlock(&q->mutex);
    return n;
}

bool work_queue_empty(struct work_queue *q) {
    pthread_mutex_lock(&q->mutex);
    bool empty = !q->len && !q->heap_len;
    pthread_mutex_unlock(&q->mutex);
    return empty;
}

void work_queue_on_backlog(struct work_queue *q, void (*fn)(void *), void *arg) {
    pthread_mutex_lock(&q->mutex);
    q->on_backlog = fn;
    q->on_backlog_arg = arg;
    pthread_mutex_unlock(&q->mutex);
}

/* ---- for workers ---- */

char *work_queue_get(struct work_queue *q) {
    struct item *it = NULL;
    bool backlog = false;
    pthread_mutex_lock(&q->mutex);
    for (;;) {
        backlog |= take_ready(q);
        if (q->shut || q->head) break;
        q->idle++;
        env_cond_wait(q->env, &q->cond, &q->mutex, q->heap_len ? q->heap[0]->ready_ns : -1);
        q->idle--;
    }
    if (!q->shut) {
        it = q->head;
        if (!(q->head = it->next)) q->tail = &q->head;
        q->len--;
        it->queued = false;
        it->processing = true;
        q->busy++;
        if (q->head) pthread_cond_signal(&q->cond); /* one signal may have stood for several keys */
        backlog = backlog && q->len > q->idle;
    }
    char *key = it ? strdup(it->key) : NULL;
    pthread_mutex_unlock(&q->mutex);
    tell_backlog(q, backlog && it);
    return key;
}

void work_queue_done(struct work_queue *q, char *key) {
    bool backlog = false;
    pthread_mutex_lock(&q->mutex);
    struct item *it = map_get(q->items, key);
    CHECK(it && it->processing);
    it->processing = false;
    q->busy--;
    if (it->again) {
        it->again = false;
        backlog = enqueue(q, it);
    }
    item_settle(q, it);
    pthread_mutex_unlock(&q->mutex);
    free(key);
    tell_backlog(q, backlog);
}

void work_queue_shut_down(struct work_queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->shut = true;
    pthread_cond_broadcast(&q->cond);
    pthread_mutex_unlock(&q->mutex);
}
