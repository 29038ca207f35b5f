/* The files that a log was set aside in: their names, and which of them go. Upstream: lumberjack, under plugin/pkg/audit/log. Tests: tests/unit/test_audit.c. */
#ifndef CKUBE_APISERVER_AUDIT_BACKUPS_H
#define CKUBE_APISERVER_AUDIT_BACKUPS_H
#include <stddef.h>
#include <stdint.h>

/* "/var/log/audit.log" set aside at that time: "/var/log/audit-2026-11-27T17-07-48.123.log" */
void audit_backup_name(const char *path, int64_t now_ns, char *ret, size_t size);
/* Removes all but the newest `count_max` (0: any number), and those set aside more than so many days ago (0: never). Files of other names are left alone. */
void audit_backups_prune(const char *path, int count_max, int age_days_max, int64_t now_ns);
#endif
