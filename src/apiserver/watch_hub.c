#include "apiserver/watch_hub.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/object.h"
#include "base/macros.h"
#include "base/map.h"

enum {
    REST_US_PER_WATCHER = 60, /* several times what writing to one costs */
    REST_MS_MIN = 3,          /* shorter ones are not taken: a timer is no finer */
    QUEUE_KEPT_MAX = 4096,
};

struct counted { struct hub_event event; atomic_int refs; };
struct hub_frame { struct hub_frame *next; struct hub_form form; struct shared *bytes; };

/* The watchers of one prefix on one loop. */
struct hub_channel {
    struct hub_channel *next;      /* of the same prefix */
    struct topic *topic;
    struct hub_loop *at;
    struct hub_watcher *watchers;  /* the loop's thread's */
    size_t len, queued;            /* watchers; events on their way to them */
    struct item *first, *last;     /* of the batch that is being handed out */
    struct hub_channel *next_due;
};
/* A prefix that is watched. */
struct topic { struct hub_channel *channels; char prefix[]; };

struct item { struct counted *event; /* NULL: a gap */ struct hub_channel *channel; struct item *next; };
struct queue { struct item *items; size_t len, cap; };

struct hub_loop {
    struct hub_loop *next;
    struct watch_hub *hub;
    struct loop *loop;
    struct queue waiting;          /* under the hub's mutex, as are busy and watchers */
    struct queue spare;            /* the loop's thread's, as is rest */
    struct loop_timer *rest;       /* while it has watchers */
    size_t watchers;
    bool busy;                     /* a drain has been posted or it rests: nothing is to be posted */
};

struct watch_hub {
    struct store *store;
    struct store_watch *subscription;
    pthread_mutex_t mutex; /* topics, channels' counts and loops' queues, and seen */
    pthread_mutex_t frames;
    struct map *topics;    /* by prefix */
    struct hub_loop *loops;
    size_t watchers;
    uint64_t seen;         /* revision of the last event handed out */
};

void watch_hub_event_release(struct hub_event *e) {
    for (struct hub_frame *f = e->frames; f;) {
        struct hub_frame *next = f->next;
        shared_unref(f->bytes);
        free(f);
        f = next;
    }
    e->frames = NULL;
    arena_free(e->decoded.arena);
    e->decoded.arena = NULL;
}

static void event_unref(struct counted *e) {
    if (atomic_fetch_sub(&e->refs, 1) != 1) return;
    watch_hub_event_release(&e->event);
    store_event_unref(e->event.store);
    free(e);
}

/* ---- channels; all under the hub's mutex ---- */

static struct hub_loop *loop_of(struct watch_hub *h, struct loop *loop) {
    struct hub_loop *l = h->loops;
    while (l && l->loop != loop) l = l->next;
    if (l) return l;
    l = calloc(1, sizeof(*l));
    CHECK(l);
    *l = (struct hub_loop){.next = h->loops, .hub = h, .loop = loop};
    return h->loops = l;
}

static struct hub_channel *channel_of(struct watch_hub *h, const char *prefix, struct hub_loop *at) {
    struct topic *t = map_get(h->topics, prefix);
    if (!t) {
        t = calloc(1, sizeof(*t) + strlen(prefix) + 1);
        CHECK(t);
        strcpy(t->prefix, prefix);
        map_put(h->topics, prefix, t);
    }
    struct hub_channel *c = t->channels;
    while (c && c->at != at) c = c->next;
    if (c) return c;
    c = calloc(1, sizeof(*c));
    CHECK(c);
    *c = (struct hub_channel){.next = t->channels, .topic = t, .at = at};
    return t->channels = c;
}

static void release_channel(struct watch_hub *h, struct hub_channel *c) {
    struct topic *t = c->topic;
    struct hub_channel **at = &t->channels;
    if (c->len || c->queued) return;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    free(c);
    if (t->channels) return;
    map_del(h->topics, t->prefix);
    free(t);
}

/* ---- from the store to the loops ---- */

static void drain(void *arg);

static void queue_push(struct queue *q, struct item item) {
    if (q->len == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 64;
        q->items = realloc(q->items, q->cap * sizeof(*q->items));
        CHECK(q->items);
    }
    q->items[q->len++] = item;
}

static struct counted *counted_new(struct store_event *se) {
    struct counted *e = calloc(1, sizeof(*e));
    CHECK(e);
    e->event.store = store_event_ref(se);
    atomic_init(&e->refs, 1);
    return e;
}

static void enqueue(struct counted *e, struct hub_channel *c) {
    struct hub_loop *l = c->at;
    if (!c->len) return;
    if (e) atomic_fetch_add(&e->refs, 1);
    c->queued++;
    queue_push(&l->waiting, (struct item){e, c, NULL});
    if (!l->busy) loop_post(l->loop, drain, l);
    l->busy = true;
}

/* On the store's writer thread, under its watch lock: post and go. Every part of the key that ends with '/' may be watched. */
static void on_event(void *arg, struct store_event *se) {
    struct watch_hub *h = arg;
    struct counted *e = NULL;
    char prefix[512];
    pthread_mutex_lock(&h->mutex);
    h->seen = se->revision;
    for (const char *slash = strchr(se->key + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t len = (size_t)(slash - se->key) + 1;
        if (len >= sizeof(prefix)) break;
        memcpy(prefix, se->key, len);
        prefix[len] = 0;
        struct topic *t = map_get(h->topics, prefix);
        if (t && !e) e = counted_new(se);
        for (struct hub_channel *c = t ? t->channels : NULL; c; c = c->next) enqueue(e, c);
    }
    pthread_mutex_unlock(&h->mutex);
    if (e) event_unref(e);
}

/* The same thread: every watcher, in its place among the events. */
static void on_gap(void *arg) {
    struct watch_hub *h = arg;
    const char *prefix;
    void *topic;
    pthread_mutex_lock(&h->mutex);
    for (size_t i = 0; map_next(h->topics, &i, &prefix, &topic);)
        for (struct hub_channel *c = ((struct topic *)topic)->channels; c; c = c->next) enqueue(NULL, c);
    pthread_mutex_unlock(&h->mutex);
}

/* ---- on a loop ---- */

/* The channels that the batch is for, each with its events. */
static struct hub_channel *sort_by_channel(struct queue *batch) {
    struct hub_channel *due = NULL, **end = &due;
    for (size_t i = 0; i < batch->len; i++) {
        struct item *item = &batch->items[i];
        struct hub_channel *c = item->channel;
        if (c->first) c->last->next = item;
        else {
            c->first = item;
            *end = c;
            end = &c->next_due;
            *end = NULL;
        }
        c->last = item;
    }
    return due;
}

static bool give(struct hub_watcher *w, struct item *items) {
    bool wrote = false;
    for (struct item *i = items; i; i = i->next)
        if (i->event ? i->event->event.store->revision > w->from && w->fn(w, &i->event->event) : w->fn(w, NULL)) wrote = true;
    if (wrote) w->flush(w);
    return wrote;
}

/* One watcher after the other: what it is written is still in the cache when it goes out. Returns how many got something. */
static size_t hand_out(struct hub_channel *c) {
    size_t wrote = 0;
    for (struct hub_watcher *w = c->watchers, *next; w; w = next) {
        next = w->next;
        if (give(w, c->first)) wrote++;
    }
    c->first = c->last = NULL;
    return wrote;
}

static void forget(struct watch_hub *h, struct queue *q) {
    pthread_mutex_lock(&h->mutex);
    for (size_t i = 0; i < q->len; i++) {
        q->items[i].channel->queued--;
        release_channel(h, q->items[i].channel);
    }
    pthread_mutex_unlock(&h->mutex);
    for (size_t i = 0; i < q->len; i++)
        if (q->items[i].event) event_unref(q->items[i].event);
    q->len = 0;
}

static size_t rest_ms(size_t watchers) {
    size_t ms = watchers * REST_US_PER_WATCHER / 1000;
    return ms < REST_MS_MIN ? 0 : MIN(ms, (size_t)WATCH_REST_MS_MAX);
}

/* Goes on at once, later or when there is something again. */
static void after(struct hub_loop *l, size_t ms) {
    pthread_mutex_lock(&l->hub->mutex);
    bool more = l->waiting.len;
    l->busy = more || (ms && l->rest);
    pthread_mutex_unlock(&l->hub->mutex);
    if (ms && l->rest) loop_timer_start(l->rest, ms, 0);
    else if (more) loop_post(l->loop, drain, l);
}

static void drain(void *arg) {
    struct hub_loop *l = arg;
    size_t wrote = 0;
    pthread_mutex_lock(&l->hub->mutex);
    struct queue batch = l->waiting;
    l->waiting = l->spare;
    pthread_mutex_unlock(&l->hub->mutex);
    l->spare = (struct queue){0};
    for (struct hub_channel *c = sort_by_channel(&batch); c; c = c->next_due) wrote += hand_out(c);
    forget(l->hub, &batch);
    if (batch.cap > QUEUE_KEPT_MAX) free(batch.items);
    else l->spare = batch;
    after(l, rest_ms(wrote));
}

uint64_t watch_hub_add(struct watch_hub *h, struct hub_watcher *w) {
    size_t len = strlen(w->prefix);
    CHECK(len && w->prefix[len - 1] == '/');
    pthread_mutex_lock(&h->mutex);
    struct hub_loop *l = loop_of(h, w->loop);
    w->channel = channel_of(h, w->prefix, l);
    w->channel->len++;
    h->watchers++;
    l->watchers++;
    w->from = h->seen;
    uint64_t from = w->from;
    pthread_mutex_unlock(&h->mutex);
    if (!l->rest) l->rest = loop_timer_new(drain, l);
    w->prev = NULL;
    w->next = w->channel->watchers;
    if (w->next) w->next->prev = w;
    w->channel->watchers = w;
    return from;
}

void watch_hub_remove(struct watch_hub *h, struct hub_watcher *w) {
    struct hub_channel *c = w->channel;
    struct hub_loop *l = c->at;
    if (w->prev) w->prev->next = w->next;
    else c->watchers = w->next;
    if (w->next) w->next->prev = w->prev;
    pthread_mutex_lock(&h->mutex);
    c->len--;
    h->watchers--;
    bool last = --l->watchers == 0;
    release_channel(h, c);
    if (last) l->busy = true;
    pthread_mutex_unlock(&h->mutex);
    if (last) { /* a loop that may end now: no timer of ours, and what still waits is let go of */
        loop_timer_free(l->rest);
        l->rest = NULL;
        loop_post(l->loop, drain, l);
    }
    w->free(w);
}

/* ---- the hub ---- */

struct watch_hub *watch_hub_new(struct store *store, struct status *reterr) {
    struct watch_hub *h = calloc(1, sizeof(*h));
    CHECK(h);
    h->store = store;
    h->topics = map_new();
    pthread_mutex_init(&h->mutex, NULL);
    pthread_mutex_init(&h->frames, NULL);
    h->seen = store_revision(store);
    if (store_watch_start(store, "/registry/", h->seen, on_event, h, &h->subscription, reterr) == 0) {
        store_on_gap(store, on_gap, h);
        return h;
    }
    map_free(h->topics);
    free(h);
    return NULL;
}

void watch_hub_free(struct watch_hub *h) {
    if (!h) return;
    store_on_gap(h->store, NULL, NULL);
    store_watch_stop(h->subscription);
    CHECK(!h->watchers);
    while (h->loops) {
        struct hub_loop *l = h->loops;
        h->loops = l->next;
        forget(h, &l->waiting);
        free(l->waiting.items);
        free(l->spare.items);
        free(l);
    }
    map_free(h->topics);
    pthread_mutex_destroy(&h->mutex);
    pthread_mutex_destroy(&h->frames);
    free(h);
}

static struct hub_frame *find_frame(struct hub_event *e, struct hub_form form) {
    for (struct hub_frame *f = e->frames; f; f = f->next)
        if (f->form.type == form.type && f->form.how == form.how) return f;
    return NULL;
}

struct shared *watch_hub_frame(struct watch_hub *h, struct hub_event *e, struct hub_form form, struct shared *(*make)(void *, struct hub_event *), void *arg) {
    pthread_mutex_lock(&h->frames);
    struct hub_frame *f = find_frame(e, form);
    if (!f) {
        f = malloc(sizeof(*f));
        CHECK(f);
        *f = (struct hub_frame){e->frames, form, make(arg, e)};
        e->frames = f;
    }
    struct shared *s = f->bytes;
    pthread_mutex_unlock(&h->frames);
    return s;
}

static struct object *decode_one(struct arena *a, const struct type_desc *type, const struct shared *bytes, uint64_t revision) {
    if (!bytes) return NULL;
    struct object *obj = arena_alloc(a, type->size);
    if (object_decode_json(a, type, obj, shared_data(bytes), shared_len(bytes), NULL, NULL) != 0) return NULL;
    obj->metadata.resourceVersion = arena_printf(a, "%llu", (unsigned long long)revision);
    return obj;
}

void watch_hub_decode(struct watch_hub *h, struct hub_event *e, const struct type_desc *type, struct arena *a, struct object **ret_now, struct object **ret_before) {
    struct store_event *s = e->store;
    pthread_mutex_lock(&h->frames);
    if (!e->decoded.arena) {
        e->decoded.arena = arena_new();
        e->decoded.type = type;
        e->decoded.now = decode_one(e->decoded.arena, type, s->value, s->revision);
        e->decoded.before = decode_one(e->decoded.arena, type, s->prev, s->revision);
    }
    bool shared = e->decoded.type == type;
    *ret_now = e->decoded.now;
    *ret_before = e->decoded.before;
    pthread_mutex_unlock(&h->frames);
    if (shared) return;
    *ret_now = decode_one(a, type, s->value, s->revision);
    *ret_before = decode_one(a, type, s->prev, s->revision);
}

uint64_t watch_hub_progress(struct watch_hub *h, struct hub_watcher *w) {
    uint64_t revision = store_dispatched_revision(h->store); /* first: all that it covers has then been queued */
    pthread_mutex_lock(&h->mutex);
    bool behind = w->channel->queued > 0;
    pthread_mutex_unlock(&h->mutex);
    return behind ? 0 : revision;
}

size_t watch_hub_watchers(struct watch_hub *h) {
    pthread_mutex_lock(&h->mutex);
    size_t n = h->watchers;
    pthread_mutex_unlock(&h->mutex);
    return n;
}
