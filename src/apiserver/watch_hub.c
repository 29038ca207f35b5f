#include "apiserver/watch_hub.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/macros.h"

struct counted { struct hub_event event; atomic_int refs; };

struct watch_hub {
    struct store *store;
    struct store_watch *subscription;
    pthread_mutex_t mutex; /* the list of watchers, their refs, and seen */
    pthread_mutex_t frames;
    struct hub_watcher *watchers;
    size_t watchers_len;
    uint64_t seen;         /* revision of the last event handed out */
};

struct delivery {
    struct watch_hub *hub;
    struct hub_watcher *watcher;
    struct counted *event;
};

static void event_unref(struct counted *e) {
    if (atomic_fetch_sub(&e->refs, 1) != 1) return;
    store_event_unref(e->event.store);
    shared_unref(e->event.frame[0]);
    shared_unref(e->event.frame[1]);
    free(e);
}

static void watcher_unref(struct watch_hub *h, struct hub_watcher *w) {
    pthread_mutex_lock(&h->mutex);
    bool last = --w->refs == 0;
    pthread_mutex_unlock(&h->mutex);
    if (last) w->free(w);
}

static void deliver(void *arg) {
    struct delivery *d = arg;
    if (!d->watcher->removed) d->watcher->fn(d->watcher, &d->event->event);
    watcher_unref(d->hub, d->watcher);
    event_unref(d->event);
    free(d);
}

/* On the store's writer thread, under its watch lock: post and go. */
static void on_event(void *arg, struct store_event *se) {
    struct watch_hub *h = arg;
    struct counted *e = NULL;
    pthread_mutex_lock(&h->mutex);
    h->seen = se->revision;
    for (struct hub_watcher *w = h->watchers; w; w = w->next) {
        if (se->revision <= w->from || strncmp(se->key, w->prefix, strlen(w->prefix)) != 0) continue;
        if (!e) {
            e = calloc(1, sizeof(*e));
            CHECK(e);
            e->event.store = store_event_ref(se);
            atomic_init(&e->refs, 1);
        }
        struct delivery *d = malloc(sizeof(*d));
        CHECK(d);
        *d = (struct delivery){h, w, e};
        atomic_fetch_add(&e->refs, 1);
        w->refs++;
        loop_post(w->loop, deliver, d);
    }
    pthread_mutex_unlock(&h->mutex);
    if (e) event_unref(e);
}

struct watch_hub *watch_hub_new(struct store *store, struct status *reterr) {
    struct watch_hub *h = calloc(1, sizeof(*h));
    CHECK(h);
    h->store = store;
    pthread_mutex_init(&h->mutex, NULL);
    pthread_mutex_init(&h->frames, NULL);
    h->seen = store_revision(store);
    if (store_watch_start(store, "/registry/", h->seen, on_event, h, &h->subscription, reterr) == 0) return h;
    free(h);
    return NULL;
}

void watch_hub_free(struct watch_hub *h) {
    if (!h) return;
    store_watch_stop(h->subscription);
    CHECK(!h->watchers);
    pthread_mutex_destroy(&h->mutex);
    pthread_mutex_destroy(&h->frames);
    free(h);
}

uint64_t watch_hub_add(struct watch_hub *h, struct hub_watcher *w) {
    pthread_mutex_lock(&h->mutex);
    w->refs = 1;
    w->from = h->seen;
    w->prev = NULL;
    w->next = h->watchers;
    if (h->watchers) h->watchers->prev = w;
    h->watchers = w;
    h->watchers_len++;
    uint64_t from = w->from;
    pthread_mutex_unlock(&h->mutex);
    return from;
}

void watch_hub_remove(struct watch_hub *h, struct hub_watcher *w) {
    if (w->removed) return;
    pthread_mutex_lock(&h->mutex);
    w->removed = true;
    if (w->prev) w->prev->next = w->next;
    else h->watchers = w->next;
    if (w->next) w->next->prev = w->prev;
    h->watchers_len--;
    pthread_mutex_unlock(&h->mutex);
    watcher_unref(h, w);
}

struct shared *watch_hub_frame(struct watch_hub *h, struct hub_event *e, int which, struct shared *(*make)(void *, struct hub_event *), void *arg) {
    pthread_mutex_lock(&h->frames);
    if (!e->frame[which]) e->frame[which] = make(arg, e);
    struct shared *s = e->frame[which];
    pthread_mutex_unlock(&h->frames);
    return s;
}

uint64_t watch_hub_progress(struct watch_hub *h, struct hub_watcher *w) {
    uint64_t revision = store_dispatched_revision(h->store); /* first: all that it covers has then been posted */
    pthread_mutex_lock(&h->mutex);
    bool behind = w->refs > 1;
    pthread_mutex_unlock(&h->mutex);
    return behind ? 0 : revision;
}

size_t watch_hub_watchers(struct watch_hub *h) {
    pthread_mutex_lock(&h->mutex);
    size_t n = h->watchers_len;
    pthread_mutex_unlock(&h->mutex);
    return n;
}
