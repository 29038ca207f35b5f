/* Watches: one subscription to the store, fanned out to the clients' streams. Upstream: the cacher.
 *
 * The store's dispatcher gives each event once. The hub finds the loops that have watchers of its prefixes and queues it there, once a loop however many
 * they are; each loop hands it to its own watchers, where it is filtered, encoded once per representation (kept with the event, for all loops) and written.
 * A watcher whose client does not drain its socket is cut, never waited for.
 *
 * What a wide fan-out costs is the write to each socket, not the events. So a loop that has just written to many watchers rests for a time in
 * proportion to their number (never more than WATCH_REST_MS_MAX), and what came meanwhile goes out in one write each. With few watchers it never rests.
 * Tests: tests/unit/test_watch_hub.c; figures: tests/bench/watch_bench.c. */
#ifndef CKUBE_APISERVER_WATCH_HUB_H
#define CKUBE_APISERVER_WATCH_HUB_H
#include "base/loop.h"
#include "store/store.h"

enum { WATCH_REST_MS_MAX = 30 };

struct watch_hub;
struct hub_channel;
struct hub_frame;
struct object;
struct type_desc;
struct hub_event {
    struct store_event *store;
    struct hub_frame *frames;   /* made by the first who needed each; with decoded under the hub's frame lock */
    struct { const struct type_desc *type; struct arena *arena; struct object *now, *before; } decoded;
};
/* Which encoding of an event: of two watchers with the same form each event has the same bytes. */
struct hub_form { const void *type; unsigned how; };

struct hub_watcher {
    struct hub_watcher *next, *prev; /* of its channel; its loop's */
    struct loop *loop;
    struct hub_channel *channel;
    const char *prefix;         /* ends with '/'; outlives the watcher */
    uint64_t from;              /* events up to this revision are not for it */
    bool (*fn)(struct hub_watcher *w, struct hub_event *e); /* on its loop; whether it wrote something. Must not remove a watcher but later. e NULL: a gap (store_on_gap) */
    void (*flush)(struct hub_watcher *w); /* on its loop, when it wrote something and there is no more for now */
    void (*free)(struct hub_watcher *w); /* on its loop, when it has been removed */
};

struct watch_hub *watch_hub_new(struct store *store, struct status *reterr);
void watch_hub_free(struct watch_hub *h); /* after the loops have ended */
/* From the watcher's loop. Returns the revision from which on live events will be delivered (those up to it come from the log or a snapshot). */
uint64_t watch_hub_add(struct watch_hub *h, struct hub_watcher *w);
void watch_hub_remove(struct watch_hub *h, struct hub_watcher *w); /* from its loop; frees it */
/* The event in this form, made by `make` if nobody has yet; NULL when that gives NULL. The reference is the event's. */
struct shared *watch_hub_frame(struct watch_hub *h, struct hub_event *e, struct hub_form form, struct shared *(*make)(void *arg, struct hub_event *e), void *arg);
/* The event's object as it is now and as it was, NULL where there is none, of this type: decoded once for all. Not to be changed; they live as long as
 * the event or, when `a` had to be used because another type was asked for first, as that. */
void watch_hub_decode(struct watch_hub *h, struct hub_event *e, const struct type_desc *type, struct arena *a, struct object **ret_now, struct object **ret_before);
void watch_hub_event_release(struct hub_event *e); /* what it holds but the store's event: of one that was not the hub's own */
/* From the watcher's loop: it has been given every event of its prefix up to this revision. 0: some are still on their way. What a bookmark may promise. */
uint64_t watch_hub_progress(struct watch_hub *h, struct hub_watcher *w);
size_t watch_hub_watchers(struct watch_hub *h);
#endif
