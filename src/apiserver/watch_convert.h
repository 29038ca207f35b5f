/* A watch's events on their way through a conversion webhook: a queue in front of the watcher, emptied by a fiber that converts what has gathered, many at once, and hands it on
 * in order. Nothing is kept waiting but this watcher: neither its loop nor other watchers nor the store. What watchers of one version want alike is asked for once
 * (custom_convert_shared). Upstream: the cacher's reflector, whose codec calls the webhook. Tests: tests/integration/test_conversion.py. */
#ifndef CKUBE_APISERVER_WATCH_CONVERT_H
#define CKUBE_APISERVER_WATCH_CONVERT_H
#include "apiserver/request.h"
#include "store/store.h"

struct convert_queue;
struct convert_queue_events {
    /* In the queue's fiber: the event with its object as it is now and as it was, in the version of the watch, NULL where there is none; they die with `a`. */
    void (*deliver)(void *arg, struct arena *a, struct store_event *e, struct object *now, struct object *before);
    void (*failed)(void *arg, struct status *err); /* nothing will be delivered any more */
};
/* Lives in the request's arena and is used on its loop. Nothing is delivered before it is started. */
struct convert_queue *convert_queue_new(struct api_request *r, const struct convert_queue_events *events, void *arg);
void convert_queue_add(struct convert_queue *q, struct store_event *e);
void convert_queue_start(struct convert_queue *q);
void convert_queue_stop(struct convert_queue *q); /* nothing is delivered any more; to be called before the request is let go of. NULL is fine */
bool convert_queue_idle(const struct convert_queue *q); /* all that was added has been delivered */
#endif
