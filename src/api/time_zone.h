/* Clocks on walls: the machine's time zone database (TZif files), without the C library's process-wide zone. Upstream: Go's time.Location.
 *
 * A zone is read once for each use and lives in an arena. Pure after loading. Tests: tests/unit/test_time_zone.c. */
#ifndef CKUBE_API_TIME_ZONE_H
#define CKUBE_API_TIME_ZONE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"

struct time_zone;
/* name: "Europe/Berlin"; "UTC" and "" are UTC; NULL is this machine's own. NULL: there is no such zone. */
struct time_zone *time_zone_load(struct arena *a, const char *name);

struct civil_time { int year, month, day, hour, minute, second, weekday; /* 1-12, 1-31, 0 is Sunday */ };
struct civil_time civil_time_of(const struct time_zone *z, int64_t t);
/* Seconds since 1970; days and months out of range carry over. Of a time that a clock change skips or repeats: as Go's time.Date chooses. */
int64_t civil_time_to(const struct time_zone *z, int year, int month, int day, int hour, int minute, int second);
int time_zone_offset(const struct time_zone *z, int64_t t); /* seconds east of UTC */
#endif
