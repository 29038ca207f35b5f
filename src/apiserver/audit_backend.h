/* Where audit events go: a log, a webhook, or both; at once or in batches. Upstream: plugin/pkg/audit/{log,webhook,buffered,truncate}.
 *
 * An event is made once and shared. What cannot be delivered is counted (apiserver_audit_error_total, by the part that failed) and dropped: memory is bounded by the buffer's size.
 * Any thread. Tests: tests/unit/test_audit.c, tests/integration/test_audit.py. */
#ifndef CKUBE_APISERVER_AUDIT_BACKEND_H
#define CKUBE_APISERVER_AUDIT_BACKEND_H
#include <stdatomic.h>
#include "apiserver/audit_options.h"
#include "base/buf.h"
#include "base/status.h"

/* One event, counted, never changed. */
struct audit_record {
    atomic_int refs;
    struct buf json;                   /* {"kind":"Event","apiVersion":"audit.k8s.io/v1",...} without a line end */
    struct buf line;                   /* the same as a line of text; empty when nobody wants it */
    size_t bodies_at, bodies_len;      /* requestObject and responseObject in json, with the comma before them */
    size_t annotations_at;             /* behind the brace of "annotations":{; 0: there are none */
};
struct audit_record *audit_record_new(void);
struct audit_record *audit_record_ref(struct audit_record *r);
void audit_record_unref(struct audit_record *r); /* NULL is fine */
/* Without bodies, and marked with upstream's annotation. */
struct audit_record *audit_record_truncate(const struct audit_record *r);

struct audit_backend;
struct audit_backend *audit_log_backend_new(const struct audit_log_options *o, struct status *reterr);
struct audit_backend *audit_webhook_backend_new(const struct audit_webhook_options *o, struct status *reterr);
/* Delivers what is waiting, for some seconds at most, and frees it. NULL is fine. */
void audit_backend_free(struct audit_backend *b);
/* Whether taking an event may wait for others, so that it is to be done in a fiber that holds nothing. */
bool audit_backend_may_wait(const struct audit_backend *b);
/* Takes a reference. False: mode blocking-strict, and the event could not be stored. */
bool audit_backend_process(struct audit_backend *b, struct audit_record *r);

void audit_count_error(const char *plugin, size_t events, const char *why); /* plugin: log, webhook, buffered, truncate */
void audit_backend_put_metrics(struct buf *out);

/* ---- audit_buffer.c: mode batch ---- */
struct audit_buffer;
/* send(arg, records, n) on the buffer's thread; the records are the buffer's. */
struct audit_buffer *audit_buffer_new(const struct audit_backend_options *o, void (*send)(void *arg, struct audit_record *const *records, size_t n), void *arg);
void audit_buffer_put(struct audit_buffer *b, struct audit_record *r); /* never waits: a full buffer drops it */
void audit_buffer_free(struct audit_buffer *b); /* sends all that waits first, without throttling; NULL is fine */

/* ---- audit_log.c, audit_webhook.c ---- */
struct audit_log;
struct audit_log *audit_log_new(const struct audit_log_options *o, struct status *reterr);
void audit_log_free(struct audit_log *l);
bool audit_log_write(struct audit_log *l, const struct audit_record *r);
struct audit_webhook;
struct audit_webhook *audit_webhook_new(const struct audit_webhook_options *o, struct status *reterr);
void audit_webhook_free(struct audit_webhook *w); /* waits a little for what is on its way */
/* On its own loop, in a fiber each: the records are referenced and it returns at once. */
void audit_webhook_send(struct audit_webhook *w, struct audit_record *const *records, size_t n);
/* In the calling fiber. */
bool audit_webhook_send_wait(struct audit_webhook *w, struct audit_record *r);
#endif
