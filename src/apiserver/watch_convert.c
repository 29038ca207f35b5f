#include "apiserver/watch_convert.h"
#include <stdlib.h>
#include <string.h>
#include "apiserver/custom_conversion.h"
#include "base/fiber.h"

enum { BATCH_EVENTS = 256 };

struct convert_queue {
    struct api_request *r;
    const struct convert_queue_events *events;
    void *arg;
    struct store_event **waiting;
    size_t len, cap;
    bool started, running, stopped;
};

struct convert_queue *convert_queue_new(struct api_request *r, const struct convert_queue_events *events, void *arg) {
    struct convert_queue *q = ARENA_NEW(r->arena, struct convert_queue);
    *q = (struct convert_queue){.r = r, .events = events, .arg = arg};
    return q;
}

static void drop_waiting(struct convert_queue *q) {
    for (size_t i = 0; i < q->len; i++) store_event_unref(q->waiting[i]);
    free(q->waiting);
    q->waiting = NULL;
    q->len = q->cap = 0;
}

static struct object *decode(struct arena *a, const struct strategy *st, const struct shared *bytes, uint64_t revision) {
    if (!bytes) return NULL;
    const struct store_view v = {.value = shared_data(bytes), .value_len = shared_len(bytes), .mod_revision = revision};
    return registry_decode(a, st, &v);
}

/* An event's objects; what cannot be decoded is NULL, as for any watch. */
struct pair { struct object *now, *before; };

static void add_item(struct conversion_item *items, size_t *n, const struct store_event *e, uint64_t revision, struct object *obj) {
    if (obj) items[(*n)++] = (struct conversion_item){e->key, revision, obj};
}

static void work_on(struct convert_queue *q, struct store_event **batch, size_t len) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct api_request scratch = *q->r; /* a watch may last: what one batch needs goes with it */
    scratch.arena = a;
    const struct strategy *st = q->r->strategy;
    struct pair *pairs = arena_calloc(a, len, sizeof(*pairs));
    struct conversion_item *items = arena_calloc(a, 2 * len, sizeof(*items));
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        struct store_event *e = batch[i];
        pairs[i] = (struct pair){decode(a, st, e->value, e->revision), decode(a, st, e->prev, e->prev_mod_revision)};
        add_item(items, &n, e, e->revision, pairs[i].now);
        add_item(items, &n, e, e->prev_mod_revision, pairs[i].before);
    }
    int failed = custom_convert_shared(&scratch, st, items, n, &err);
    for (size_t i = 0; i < len && !failed && !q->stopped; i++) q->events->deliver(q->arg, a, batch[i], pairs[i].now, pairs[i].before);
    if (failed && !q->stopped) q->events->failed(q->arg, &err);
}

static void run(void *arg) {
    struct convert_queue *q = arg;
    struct http_request *http = q->r->http;
    while (!q->stopped && q->len) {
        struct store_event *batch[BATCH_EVENTS];
        size_t n = MIN(q->len, (size_t)BATCH_EVENTS);
        memcpy(batch, q->waiting, n * sizeof(*batch));
        q->len -= n;
        memmove(q->waiting, q->waiting + n, q->len * sizeof(*batch));
        work_on(q, batch, n);
        for (size_t i = 0; i < n; i++) store_event_unref(batch[i]);
    }
    q->running = false;
    http_request_unref(http); /* and with it, perhaps, the queue */
}

static void wake(struct convert_queue *q) {
    if (!q->started || q->running || q->stopped || !q->len) return;
    q->running = true;
    http_request_ref(q->r->http);
    fiber_spawn(run, q);
}

void convert_queue_add(struct convert_queue *q, struct store_event *e) {
    if (q->stopped) return;
    if (q->len == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 16;
        q->waiting = realloc(q->waiting, q->cap * sizeof(struct store_event *));
        CHECK(q->waiting);
    }
    q->waiting[q->len++] = store_event_ref(e);
    wake(q);
}

void convert_queue_start(struct convert_queue *q) {
    q->started = true;
    wake(q);
}

void convert_queue_stop(struct convert_queue *q) {
    if (!q || q->stopped) return;
    q->stopped = true;
    drop_waiting(q);
}

bool convert_queue_idle(const struct convert_queue *q) { return q->started && !q->running && !q->len; }
