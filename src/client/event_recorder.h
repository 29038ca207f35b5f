/* Events about objects, written by one thread of their own. Upstream: client-go tools/record (broadcaster, correlator).
 *
 * event_record never waits: it queues. The same event again raises the count of the first; more than ten different messages of one kind within ten minutes
 * are combined; an object may have 25 events at once and then one every five minutes. What does not fit the queue (1,000) is dropped.
 * Tests: tests/unit/test_event_recorder.c. */
#ifndef CKUBE_CLIENT_EVENT_RECORDER_H
#define CKUBE_CLIENT_EVENT_RECORDER_H
#include "base/env.h"
#include "client/client.h"

#define EVENT_NORMAL "Normal"
#define EVENT_WARNING "Warning"

struct event_recorder;
/* component: "deployment-controller"; host may be NULL. */
struct event_recorder *event_recorder_new(struct client *c, struct env *env, const char *component, const char *host);
void event_recorder_free(struct event_recorder *r); /* gives what is queued one second to be written; NULL is fine */
/* An event about an object of a resource's type. Recorders that are NULL record nothing. */
void event_record(struct event_recorder *r, const struct type_desc *type, const void *obj, const char *event_type, const char *reason, const char *format, ...) PRINTF_LIKE(6, 7);
/* The same about a reference; ns: where the Event is kept ("default" for cluster-scoped objects). source_component NULL: the recorder's. */
void event_record_ref(struct event_recorder *r, const struct corev1_ObjectReference *ref, const char *source_component, const char *event_type, const char *reason, const char *format,
                      va_list args) PRINTF_LIKE(6, 0);
#endif
