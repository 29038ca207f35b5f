/* Watches: one subscription to the store, fanned out to the clients' streams. Upstream: the cacher.
 *
 * The store's dispatcher gives each event once; the hub finds the watchers whose prefix it has and posts it to their loops, where it is filtered, encoded
 * once per representation (in the shared hub_event) and written. A watcher whose client does not drain its socket is cut, never waited for. */
#ifndef CKUBE_APISERVER_WATCH_HUB_H
#define CKUBE_APISERVER_WATCH_HUB_H
#include "base/loop.h"
#include "store/store.h"

struct watch_hub;
struct hub_event {
    struct store_event *store;
    struct shared *frame[2]; /* JSON frames made by the first who needed them: [0] ADDED or MODIFIED, [1] DELETED; under the hub's frame lock */
};
struct hub_watcher {
    struct hub_watcher *next, *prev;
    struct loop *loop;
    char *prefix;
    uint64_t from;              /* events up to this revision are not for it */
    void (*fn)(struct hub_watcher *w, struct hub_event *e); /* on its loop */
    bool removed;
    int refs;                   /* hub's own and queued deliveries; under the hub's lock */
    void (*free)(struct hub_watcher *w); /* on its loop, when the last reference has gone */
};

struct watch_hub *watch_hub_new(struct store *store, struct status *reterr);
void watch_hub_free(struct watch_hub *h);
/* From the watcher's loop. Returns the revision from which on live events will be delivered (those up to it come from the log or a snapshot). */
uint64_t watch_hub_add(struct watch_hub *h, struct hub_watcher *w);
void watch_hub_remove(struct watch_hub *h, struct hub_watcher *w); /* from its loop; fn is not called after it */
/* The frame of the event, made by `make` if nobody has yet. The reference is the event's. */
struct shared *watch_hub_frame(struct watch_hub *h, struct hub_event *e, int which, struct shared *(*make)(void *arg, struct hub_event *e), void *arg);
/* From the watcher's loop: it has been given every event of its prefix up to this revision. 0: some are still on their way. What a bookmark may promise. */
uint64_t watch_hub_progress(struct watch_hub *h, struct hub_watcher *w);
size_t watch_hub_watchers(struct watch_hub *h);
#endif
