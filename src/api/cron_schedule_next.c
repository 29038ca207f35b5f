/* The next time of a cron schedule, as robfig/cron's SpecSchedule.Next finds it: see cron_schedule.h. */
#include "api/cron_schedule.h"
#include "api/time_zone.h"

enum { YEARS_MAX = 5 };

static bool bit(const struct cron_schedule *s, int field, int v) { return s->bits[field] >> v & 1; }

/* With a star in one of the day fields both must fit, otherwise one of them. */
static bool day_fits(const struct cron_schedule *s, const struct civil_time *c) {
    bool dom = bit(s, CRON_DAY_OF_MONTH, c->day), dow = bit(s, CRON_DAY_OF_WEEK, c->weekday);
    return (s->bits[CRON_DAY_OF_MONTH] & CRON_STAR_BIT) || (s->bits[CRON_DAY_OF_WEEK] & CRON_STAR_BIT) ? dom && dow : dom || dow;
}

/* Midnight of that day, or what comes nearest where a clock change takes it away. */
static int64_t day_start(const struct time_zone *z, int64_t t) {
    struct civil_time c = civil_time_of(z, t);
    if (c.hour == 0) return t;
    return c.hour > 12 ? t + (24 - c.hour) * 3600 : t - c.hour * 3600;
}

int64_t cron_schedule_next(const struct cron_schedule *s, const struct time_zone *z, int64_t after) {
    if (s->every_s > 0) return after + s->every_s;
    int64_t t = after + 1;
    struct civil_time c = civil_time_of(z, t);
    int last_year = c.year + YEARS_MAX;
    bool moved = false; /* the smaller fields have been set to their beginning */
    while (c.year <= last_year) {
        if (!bit(s, CRON_MONTH, c.month)) {
            t = civil_time_to(z, c.year, c.month + 1, moved ? c.day : 1, moved ? c.hour : 0, moved ? c.minute : 0, moved ? c.second : 0);
            moved = true;
        } else if (!day_fits(s, &c)) {
            t = day_start(z, civil_time_to(z, c.year, c.month, c.day + 1, moved ? c.hour : 0, moved ? c.minute : 0, moved ? c.second : 0));
            moved = true;
        } else if (!bit(s, CRON_HOUR, c.hour)) {
            t = (moved ? t : civil_time_to(z, c.year, c.month, c.day, c.hour, 0, 0)) + 3600;
            moved = true;
        } else if (!bit(s, CRON_MINUTE, c.minute)) {
            t = (moved ? t : t - c.second) + 60;
            moved = true;
        } else if (c.second != 0) {
            t += 60 - c.second; /* schedules know whole minutes */
            moved = true;
        } else {
            return t;
        }
        c = civil_time_of(z, t);
    }
    return -1;
}
