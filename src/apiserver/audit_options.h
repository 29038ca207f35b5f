/* What the --audit-* flags say. Upstream: apiserver/pkg/server/options AuditOptions. */
#ifndef CKUBE_APISERVER_AUDIT_OPTIONS_H
#define CKUBE_APISERVER_AUDIT_OPTIONS_H
#include <stdbool.h>
#include <stdint.h>

/* batch: events wait in memory and requests for nothing; blocking: a request waits until its events are delivered, or given up; strict: and fails when the first one is not. */
enum audit_mode { AUDIT_BATCH, AUDIT_BLOCKING, AUDIT_BLOCKING_STRICT };
struct audit_backend_options {
    enum audit_mode mode;
    int buffer_size, batch_size_max;   /* events, of mode batch; both at least 1 */
    int64_t batch_wait_ns;             /* how long a batch is gathered at most */
    bool throttle;
    double throttle_qps;               /* batches a second */
    int throttle_burst;
    bool truncate;                     /* larger events lose their bodies; if that does not help, they are dropped */
    int64_t event_bytes_max;
};
struct audit_log_options {
    const char *path;                  /* "-": standard output; a file is set aside above max_size_mb, and so many of those are kept, for so many days (0: no limit) */
    int max_size_mb, backups_max, age_days_max;
    bool legacy, compress;             /* legacy: a line of text an event; compress: files that were set aside become .gz */
    struct audit_backend_options backend;
};
struct audit_webhook_options {
    const char *config_file;           /* a kubeconfig; NULL: there is no webhook */
    int64_t initial_backoff_ns;        /* before the second try; each further pause is half as long again */
    int64_t blocking_ns_max;           /* modes that block: how long a request waits at most, tries and pauses together; 0: no limit */
    struct audit_backend_options backend;
};
struct audit_options {
    const char *policy_file;           /* NULL: no audit */
    struct audit_log_options log;      /* path NULL: no log, or without a webhook standard output */
    struct audit_webhook_options webhook;
};
#endif
