#include "cmd/audit_flags.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/time.h"
#include "base/macros.h"
#include "base/str.h"

static const char *const modes[] = {"batch", "blocking", "blocking-strict"};

void audit_flags_init(struct audit_flags *f, struct audit_options *o) {
    *f = (struct audit_flags){.log = {.mode = "blocking", .batch_wait = "0s"}, .webhook = {.mode = "batch", .batch_wait = "30s"}, .format = "json", .log_version = "audit.k8s.io/v1", .webhook_version = "audit.k8s.io/v1",
        .initial_backoff = "10s"};
    *o = (struct audit_options){.log = {.max_size_mb = 100, .backups_max = 100, .age_days_max = 366, .backend = {.buffer_size = 10000, .batch_size_max = 1}},
        .webhook = {.backend = {.buffer_size = 10000, .batch_size_max = 400, .throttle = true, .throttle_qps = 10, .throttle_burst = 15}}};
}

/* ---- rows ---- */

#define BACKEND(what, f, b)                                                                                                                                                       \
    {.name = "audit-" what "-mode", .text = &(f)->mode, .help = "how events are sent: batch, blocking or blocking-strict"},                                                        \
    {.name = "audit-" what "-batch-buffer-size", .number = &(b)->buffer_size, .help = "events that may wait for their batch (default 10000)"},                                     \
    {.name = "audit-" what "-batch-max-size", .number = &(b)->batch_size_max, .help = "events of a batch"},                                                                        \
    {.name = "audit-" what "-batch-max-wait", .text = &(f)->batch_wait, .help = "how long a batch is gathered at most"},                                                           \
    {.name = "audit-" what "-batch-throttle-enable", .on = &(b)->throttle, .help = "whether batches are limited in number"},                                                       \
    {.name = "audit-" what "-batch-throttle-qps", .text = &(f)->qps, .help = "batches a second on average"},                                                                       \
    {.name = "audit-" what "-batch-throttle-burst", .number = &(b)->throttle_burst, .help = "batches at once after a quiet time"},                                                 \
    {.name = "audit-" what "-truncate-enabled", .on = &(b)->truncate, .help = "whether events that are too large lose their bodies, or are dropped (default false)"},              \
    {.name = "audit-" what "-truncate-max-batch-size", .text = &(f)->batch_bytes_max, .help = "bytes of a batch (default 10485760)"},                                              \
    {.name = "audit-" what "-truncate-max-event-size", .text = &(f)->event_bytes_max, .help = "bytes of an event (default 102400)"}

size_t audit_flags_rows(struct audit_flags *f, struct audit_options *o, struct flag *out) {
    const struct flag flags[] = {
        {.name = "audit-policy-file", .text = &o->policy_file, .help = "which requests are audited, audit.k8s.io/v1 Policy (default: none)"},
        {.name = "audit-log-path", .text = &o->log.path, .help = "where they are logged; - is standard output (default: -, or with a webhook nowhere)"},
        {.name = "audit-log-maxsize", .number = &o->log.max_size_mb, .help = "megabytes after which the audit log is begun anew, the old one set aside (default 100; 0: never)"},
        {.name = "audit-log-maxbackup", .number = &o->log.backups_max, .help = "how many of the files set aside are kept (default 100; 0: all)"},
        {.name = "audit-log-maxage", .number = &o->log.age_days_max, .help = "for how many days they are kept (default 366; 0: for ever)"},
        {.name = "audit-log-compress", .on = &o->log.compress, .help = "files that were set aside are compressed by gzip (default false)"},
        {.name = "audit-log-format", .text = &f->format, .help = "json, or legacy: a line of text an event (default json)"},
        {.name = "audit-log-version", .text = &f->log_version, .help = "version of the events: audit.k8s.io/v1"},
        {.name = "audit-webhook-config-file", .text = &o->webhook.config_file, .help = "kubeconfig of a server that events are posted to"},
        {.name = "audit-webhook-initial-backoff", .text = &f->initial_backoff, .help = "how long to wait before a failed request is tried again (default 10s)"},
        {.name = "audit-webhook-batch-initial-backoff", .text = &f->initial_backoff, .help = "deprecated: --audit-webhook-initial-backoff"},
        {.name = "audit-webhook-version", .text = &f->webhook_version, .help = "version of the events: audit.k8s.io/v1"},
        BACKEND("log", &f->log, &o->log.backend),
        BACKEND("webhook", &f->webhook, &o->webhook.backend),
    };
    static_assert(ARRAY_LEN(flags) <= AUDIT_FLAGS_MAX, "room for all flags");
    memcpy(out, flags, sizeof(flags));
    return ARRAY_LEN(flags);
}

/* ---- checks, in upstream's words ---- */

#define WRONG(...) (fprintf(stderr, "ckube %s: ", command), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), 2)

static int check_mode(const char *what, const char *mode, enum audit_mode *ret, const char *command) {
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (!str_eq(modes[i], mode)) continue;
        *ret = (enum audit_mode)i;
        return 0;
    }
    return WRONG("invalid audit %s mode %s, allowed modes are \"batch,blocking,blocking-strict\"", what, mode);
}

static int check_batch(const char *what, const struct audit_backend_flags *f, struct audit_backend_options *b, const char *command) {
    if (f->qps) {
        char *end;
        b->throttle_qps = strtod(f->qps, &end);
        if (*end || end == f->qps) return WRONG("invalid argument \"%s\" for \"--audit-%s-batch-throttle-qps\" flag", f->qps, what);
    }
    if (!duration_parse(f->batch_wait, &b->batch_wait_ns)) return WRONG("invalid argument \"%s\" for \"--audit-%s-batch-max-wait\" flag: time: invalid duration \"%s\"", f->batch_wait, what, f->batch_wait);
    if (b->mode != AUDIT_BATCH) return 0;
    if (b->buffer_size <= 0) return WRONG("invalid audit batch %s buffer size %d, must be a positive number", what, b->buffer_size);
    if (b->batch_size_max <= 0) return WRONG("invalid audit batch %s max batch size %d, must be a positive number", what, b->batch_size_max);
    if (b->throttle && b->throttle_qps <= 0) return WRONG("invalid audit batch %s throttle QPS %g, must be a positive number", what, b->throttle_qps);
    if (b->throttle && b->throttle_burst <= 0) return WRONG("invalid audit batch %s throttle burst %d, must be a positive number", what, b->throttle_burst);
    return 0;
}

static int check_truncate(const char *what, const struct audit_backend_flags *f, struct audit_backend_options *b, const char *command) {
    int64_t batch = 10 << 20, event = 100 << 10;
    if (f->batch_bytes_max && !str_to_i64(f->batch_bytes_max, &batch)) return WRONG("invalid argument \"%s\" for \"--audit-%s-truncate-max-batch-size\" flag", f->batch_bytes_max, what);
    if (f->event_bytes_max && !str_to_i64(f->event_bytes_max, &event)) return WRONG("invalid argument \"%s\" for \"--audit-%s-truncate-max-event-size\" flag", f->event_bytes_max, what);
    if (event <= 0) return WRONG("invalid audit truncate %s max event size %lld, must be a positive number", what, (long long)event);
    if (batch < event) return WRONG("invalid audit truncate %s max batch size %lld, must be greater than max event size (%lld)", what, (long long)batch, (long long)event);
    b->event_bytes_max = event; /* events come one by one: a batch is never above its size */
    return 0;
}

static int check_backend(const char *what, const struct audit_backend_flags *f, const char *version, struct audit_backend_options *b, const char *command) {
    if (check_mode(what, f->mode, &b->mode, command) != 0 || check_batch(what, f, b, command) != 0 || check_truncate(what, f, b, command) != 0) return 2;
    return str_eq(version, "audit.k8s.io/v1") ? 0 : WRONG("invalid group version, allowed versions are [\"audit.k8s.io/v1\"]");
}

static int check_log(const struct audit_flags *f, struct audit_options *o, const char *command) {
    const struct { const char *flag; int value; } limits[] = {{"maxage", o->log.age_days_max}, {"maxbackup", o->log.backups_max}, {"maxsize", o->log.max_size_mb}};
    if (check_backend("log", &f->log, f->log_version, &o->log.backend, command) != 0) return 2;
    if (!str_in(f->format, (const char *const[]){"legacy", "json", NULL})) return WRONG("invalid audit log format %s, allowed formats are \"legacy,json\"", f->format);
    o->log.legacy = str_eq(f->format, "legacy");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i].value < 0) return WRONG("--audit-log-%s %d can't be a negative number", limits[i].flag, limits[i].value);
    return 0;
}

int audit_flags_check(const struct audit_flags *f, struct audit_options *o, const char *command) {
    if (check_log(f, o, command) != 0) return 2;
    if (!duration_parse(f->initial_backoff, &o->webhook.initial_backoff_ns) || o->webhook.initial_backoff_ns < 0)
        return WRONG("invalid argument \"%s\" for \"--audit-webhook-initial-backoff\" flag: time: invalid duration \"%s\"", f->initial_backoff, f->initial_backoff);
    return o->webhook.config_file ? check_backend("webhook", &f->webhook, f->webhook_version, &o->webhook.backend, command) : 0;
}
