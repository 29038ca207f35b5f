/* Work queues: see work_queue.h. */
#include "client/work_queue.h"
#include <string.h>
#include "base/map.h"
#include "client/metrics.h"

struct item {
    struct item *next;     /* in the line */
    char *key;
    bool queued, processing, again; /* again: to be queued when done */
    int requeues;
    int64_t ready_ns;      /* 0: not waiting */
    int64_t added_ns, began_ns; /* for the metrics: since when it is to be worked on, and is being so */
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
    const char *name;      /* NULL: no metrics */
    struct queue_metrics metrics;
    size_t depth;          /* keys that are to be worked on: in the line, or again */
    struct work_queue *next, **link; /* in the list of those with names */
};
static struct work_queue *named;
static pthread_mutex_t named_mutex = PTHREAD_MUTEX_INITIALIZER; /* taken before a queue's */

static void name_queue(struct work_queue *q, const char *name) {
    q->name = name;
    queue_metrics_of(name, &q->metrics);
    pthread_mutex_lock(&named_mutex);
    if ((q->next = named)) named->link = &q->next;
    named = q;
    q->link = &named;
    pthread_mutex_unlock(&named_mutex);
}

static void unname_queue(struct work_queue *q) {
    pthread_mutex_lock(&named_mutex);
    if ((*q->link = q->next)) q->next->link = q->link;
    pthread_mutex_unlock(&named_mutex);
    queue_metrics_set_unfinished(q->name, 0, 0);
    metric_series_add(q->metrics.depth, -(double)q->depth);
}

struct work_queue *work_queue_new(struct env *env, const char *name) {
    struct work_queue *q = calloc(1, sizeof(*q));
    CHECK(q);
    q->env = env;
    q->items = map_new();
    q->tail = &q->head;
    pthread_mutex_init(&q->mutex, NULL);
    env_cond_init(&q->cond);
    if (name) name_queue(q, name);
    return q;
}

static void item_free(void *p) {
    free(((struct item *)p)->key);
    free(p);
}

void work_queue_free(struct work_queue *q) {
    if (!q) return;
    if (q->name) unname_queue(q);
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

static void count_add(struct work_queue *q, struct item *it) {
    if (!q->name) return;
    q->depth++;
    it->added_ns = env_mono_ns(q->env);
    metric_series_count(q->metrics.adds);
    metric_series_add(q->metrics.depth, 1);
}

static void count_get(struct work_queue *q, struct item *it) {
    if (!q->name) return;
    q->depth--;
    it->began_ns = env_mono_ns(q->env);
    metric_series_add(q->metrics.depth, -1);
    metric_series_observe(q->metrics.latency, (double)(it->began_ns - it->added_ns) / 1e9);
}

static void count_done(struct work_queue *q, struct item *it) {
    if (q->name) metric_series_observe(q->metrics.work, (double)(env_mono_ns(q->env) - it->began_ns) / 1e9);
}

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
static bool line_up(struct work_queue *q, struct item *it) {
    it->queued = true;
    it->next = NULL;
    *q->tail = it;
    q->tail = &it->next;
    q->len++;
    pthread_cond_signal(&q->cond);
    return q->len > q->idle;
}

static bool enqueue(struct work_queue *q, struct item *it) {
    if (it->queued || it->again || q->shut) return false;
    count_add(q, it);
    if (!it->processing) return line_up(q, it);
    it->again = true;
    return false;
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
        metric_series_count(q->metrics.retries);
        work_queue_add(q, key);
        return;
    }
    pthread_mutex_lock(&q->mutex);
    bool backlog = !q->shut && wait_until(q, item_of(q, key), env_mono_ns(q->env) + ms * 1000000);
    metric_series_count(q->shut ? NULL : q->metrics.retries);
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
        metric_series_count(q->metrics.retries);
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
        count_get(q, it);
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
    count_done(q, it);
    if (it->again) {
        it->again = false;
        backlog = !q->shut && line_up(q, it);
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

/* ---- metrics ---- */

static void look(struct work_queue *q, double *unfinished, double *longest) {
    const char *key;
    void *value;
    pthread_mutex_lock(&q->mutex);
    int64_t now = q->busy ? env_mono_ns(q->env) : 0;
    for (size_t i = 0; q->busy && map_next(q->items, &i, &key, &value);) {
        const struct item *it = value;
        double age = it->processing ? (double)(now - it->began_ns) / 1e9 : 0;
        *unfinished += age;
        *longest = MAX(*longest, age);
    }
    pthread_mutex_unlock(&q->mutex);
}

/* Queues of one name are told as one. */
void work_queues_look(void) {
    pthread_mutex_lock(&named_mutex);
    for (struct work_queue *q = named; q; q = q->next) {
        double unfinished = 0, longest = 0;
        for (struct work_queue *other = named; other; other = other->next)
            if (strcmp(other->name, q->name) == 0) look(other, &unfinished, &longest);
        queue_metrics_set_unfinished(q->name, unfinished, longest);
    }
    pthread_mutex_unlock(&named_mutex);
}
