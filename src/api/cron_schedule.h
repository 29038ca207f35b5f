/* Schedules of CronJobs: five fields or a descriptor, as the cron library reads them that upstream uses (robfig/cron ParseStandard), with its errors.
 *
 * A parsed schedule is five sets of bits, or an interval for "@every". Pure; no memory beyond the arena that error texts are made in.
 * Tests: tests/unit/test_validation_batch.c. */
#ifndef CKUBE_API_CRON_SCHEDULE_H
#define CKUBE_API_CRON_SCHEDULE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"

enum { CRON_MINUTE, CRON_HOUR, CRON_DAY_OF_MONTH, CRON_MONTH, CRON_DAY_OF_WEEK, CRON_FIELDS };
#define CRON_STAR_BIT (UINT64_C(1) << 63) /* the field was "*" or "?": matters for the two day fields */

struct cron_schedule {
    uint64_t bits[CRON_FIELDS];
    int64_t every_s;       /* > 0: "@every", and bits are unused */
    const char *time_zone; /* of a TZ= or CRON_TZ= prefix, or NULL */
};

/* 0, or -1 with what is wrong in *ret_error. */
int cron_schedule_parse(struct arena *a, const char *spec, struct cron_schedule *ret, const char **ret_error);
/* Whether the time zone is one that the machine's database has ("UTC" always is); where there is no database every well-formed name is. */
bool time_zone_is_known(const char *name);
struct time_zone;
/* The first time after `after` (seconds) on the clocks of a zone; -1: none within five years. */
int64_t cron_schedule_next(const struct cron_schedule *s, const struct time_zone *z, int64_t after);
#endif
