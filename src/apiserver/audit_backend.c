#include "apiserver/audit_backend.h"
#include <stdio.h>
#include <string.h>
#include "base/metric_family.h"
#include "base/env.h"
#include "base/fiber.h"
#include "base/log.h"

static const char truncated[] = "\"audit.k8s.io/truncated\":\"true\"";

/* ---- records ---- */

struct audit_record *audit_record_new(void) {
    struct audit_record *r = calloc(1, sizeof(*r));
    CHECK(r);
    r->refs = 1;
    return r;
}

struct audit_record *audit_record_ref(struct audit_record *r) {
    atomic_fetch_add(&r->refs, 1);
    return r;
}

void audit_record_unref(struct audit_record *r) {
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1) return;
    buf_release(&r->json);
    buf_release(&r->line);
    free(r);
}

struct audit_record *audit_record_truncate(const struct audit_record *r) {
    struct audit_record *t = audit_record_new();
    size_t after = r->bodies_at + r->bodies_len, notes = r->annotations_at ? r->annotations_at : r->json.len - 1; /* before the last brace */
    buf_append(&t->json, r->json.data, r->bodies_at);
    buf_append(&t->json, r->json.data + after, notes - after);
    if (r->annotations_at) buf_printf(&t->json, "%s,", truncated);
    else buf_printf(&t->json, ",\"annotations\":{%s}", truncated);
    buf_append(&t->json, r->json.data + notes, r->json.len - notes);
    if (r->line.len) buf_append(&t->line, r->line.data, r->line.len);
    t->bodies_at = r->bodies_at;
    return t;
}

/* ---- metrics ---- */

static struct metric_family errors = METRIC_FAMILY("apiserver_audit_error_total", "counter", "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.");

void audit_count_error(const char *plugin, size_t events, const char *why) {
    char labels[64];
    snprintf(labels, sizeof(labels), "plugin=\"%s\"", plugin);
    metric_add(&errors, labels, (double)events);
    static _Atomic int64_t said_ns; /* of a flood one line a second is enough: the metric has the number */
    int64_t now = env_mono_ns(env_real()), last = atomic_load(&said_ns);
    if ((!last || now - last >= 1000000000) && atomic_compare_exchange_strong(&said_ns, &last, now)) log_error("Error in audit plugin '%s' affecting %zu audit events: %s", plugin, events, why);
}

void audit_backend_put_metrics(struct buf *out) { metric_put(&errors, out); }

/* ---- backends ---- */

struct audit_backend {
    struct audit_backend_options options;
    struct audit_log *log;             /* one of these */
    struct audit_webhook *webhook;
    struct audit_buffer *buffer;       /* mode batch */
};

static void send_batch(void *arg, struct audit_record *const *records, size_t n) {
    struct audit_backend *b = arg;
    if (b->webhook) audit_webhook_send(b->webhook, records, n);
    else
        for (size_t i = 0; i < n; i++) audit_log_write(b->log, records[i]);
}

static struct audit_backend *backend_new(const struct audit_backend_options *o, struct audit_log *log, struct audit_webhook *webhook) {
    struct audit_backend *b = calloc(1, sizeof(*b));
    CHECK(b);
    *b = (struct audit_backend){.options = *o, .log = log, .webhook = webhook};
    if (o->mode == AUDIT_BATCH) b->buffer = audit_buffer_new(o, send_batch, b);
    return b;
}

struct audit_backend *audit_log_backend_new(const struct audit_log_options *o, struct status *reterr) {
    struct audit_log *l = audit_log_new(o, reterr);
    return l ? backend_new(&o->backend, l, NULL) : NULL;
}

struct audit_backend *audit_webhook_backend_new(const struct audit_webhook_options *o, struct status *reterr) {
    struct audit_webhook *w = audit_webhook_new(o, reterr);
    return w ? backend_new(&o->backend, NULL, w) : NULL;
}

void audit_backend_free(struct audit_backend *b) {
    if (!b) return;
    audit_buffer_free(b->buffer);
    if (b->log) audit_log_free(b->log);
    if (b->webhook) audit_webhook_free(b->webhook);
    free(b);
}

bool audit_backend_may_wait(const struct audit_backend *b) { return b->webhook && !b->buffer; }

/* As it is, cut (then the caller's), or NULL when it is still too large. */
static struct audit_record *fit(const struct audit_backend *b, struct audit_record *r, struct audit_record **ret_cut) {
    if (!b->options.truncate || (int64_t)r->json.len <= b->options.event_bytes_max) return r;
    if (r->bodies_len) *ret_cut = audit_record_truncate(r);
    if (*ret_cut && (int64_t)(*ret_cut)->json.len <= b->options.event_bytes_max) return *ret_cut;
    audit_count_error("truncate", 1, "event is too large even after truncating");
    return NULL;
}

static bool deliver(struct audit_backend *b, struct audit_record *r) {
    if (b->buffer) audit_buffer_put(b->buffer, r);
    else if (b->log) return audit_log_write(b->log, r);
    else if (fiber_current()) return audit_webhook_send_wait(b->webhook, r);
    else audit_webhook_send(b->webhook, &r, 1); /* the end of a stream: nobody is there to wait */
    return true;
}

bool audit_backend_process(struct audit_backend *b, struct audit_record *r) {
    struct audit_record *cut = NULL, *fits = fit(b, r, &cut);
    bool stored = !fits || deliver(b, fits); /* as upstream, what is too large is no failure */
    audit_record_unref(cut);
    return stored || b->options.mode != AUDIT_BLOCKING_STRICT;
}
