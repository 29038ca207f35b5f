/* The --audit-* flags. Upstream: apiserver/pkg/server/options AuditOptions. */
#ifndef CKUBE_CMD_AUDIT_FLAGS_H
#define CKUBE_CMD_AUDIT_FLAGS_H
#include "apiserver/audit_options.h"
#include "cmd/flags.h"

enum { AUDIT_FLAGS_MAX = 40 };
struct audit_backend_flags { const char *mode, *batch_wait, *qps, *batch_bytes_max, *event_bytes_max; };
struct audit_flags {
    struct audit_backend_flags log, webhook;
    const char *format, *log_version, *webhook_version, *initial_backoff;
};
void audit_flags_init(struct audit_flags *f, struct audit_options *o); /* upstream's defaults */
/* Appends the flags that fill f and o; returns how many, AUDIT_FLAGS_MAX at most. */
size_t audit_flags_rows(struct audit_flags *f, struct audit_options *o, struct flag *out);
/* Completes o. 2 after saying on stderr what is wrong; else 0. */
int audit_flags_check(const struct audit_flags *f, struct audit_options *o, const char *command);
#endif
