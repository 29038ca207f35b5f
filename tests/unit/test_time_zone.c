/* Time zones and the times of cron schedules: zones against known clocks, schedules against robfig/cron's own cases (spec_test.go) with their clock changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "api/cron_schedule.h"
#include "api/time.h"
#include "api/time_zone.h"
#include "base/str.h"

static int64_t at(const char *text) {
    struct api_time t;
    assert_int_equal(time_parse(text, &t, NULL), 0);
    return t.sec;
}

static const char *text_of(struct arena *a, int64_t sec) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    struct api_time t = time_from_s(sec);
    time_format(&t, &b);
    return arena_strdup(a, b.data);
}

static void zones_know_their_offsets(void **state UNUSED) {
    static const struct { const char *zone, *utc; int minutes; } cases[] = {
        {"UTC", "2026-07-01T00:00:00Z", 0}, {"Europe/Berlin", "2026-01-01T00:00:00Z", 60}, {"Europe/Berlin", "2026-07-01T00:00:00Z", 120}, {"Europe/Berlin", "2026-03-29T00:59:59Z", 60},
        {"Europe/Berlin", "2026-03-29T01:00:00Z", 120}, {"Europe/Berlin", "2026-10-25T00:59:59Z", 120}, {"Europe/Berlin", "2026-10-25T01:00:00Z", 60}, {"America/New_York", "2012-07-01T00:00:00Z", -240},
        {"Asia/Kolkata", "2026-07-01T00:00:00Z", 330}, {"Australia/Sydney", "2026-01-01T00:00:00Z", 660}, {"Australia/Sydney", "2060-07-01T00:00:00Z", 600}, {"Europe/Berlin", "2061-07-01T00:00:00Z", 120},
        {"Europe/Berlin", "2061-01-01T00:00:00Z", 60}, {"America/Sao_Paulo", "2026-01-01T00:00:00Z", -180},
    };
    struct arena *a = arena_new();
    assert_null(time_zone_load(a, "Mars/Olympus"));
    assert_null(time_zone_load(a, "../../etc/passwd"));
    if (!time_zone_load(a, "Europe/Berlin")) {
        print_message("skipped: this machine has no time zones\n");
        arena_free(a);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int got = time_zone_offset(time_zone_load(a, cases[i].zone), at(cases[i].utc)) / 60;
        if (got != cases[i].minutes) fail_msg("%s at %s: wanted %d, got %d", cases[i].zone, cases[i].utc, cases[i].minutes, got);
    }
    arena_free(a);
}

static void schedules_find_their_next_time(void **state UNUSED) {
    static const struct { const char *spec, *zone, *from, *next; } cases[] = {
        {"* * * * *", "UTC", "2012-07-09T14:45:00Z", "2012-07-09T14:46:00Z"},
        {"* * * * *", "UTC", "2012-07-09T14:59:59Z", "2012-07-09T15:00:00Z"},
        {"20-35/15 * * * *", "UTC", "2012-07-09T15:45:00Z", "2012-07-09T16:20:00Z"},
        {"*/15 * * * *", "UTC", "2012-12-31T23:59:45Z", "2013-01-01T00:00:00Z"},
        {"0 0 * * Mon", "UTC", "2012-07-09T23:35:51Z", "2012-07-16T00:00:00Z"},
        {"0 0 9 * *", "UTC", "2012-07-09T23:35:51Z", "2012-08-09T00:00:00Z"},
        {"0 0 1 * Tue", "UTC", "2012-07-09T00:00:00Z", "2012-07-10T00:00:00Z"}, /* either day */
        {"0 0 */5 * Tue", "UTC", "2012-07-09T00:00:00Z", "2012-07-10T00:00:00Z"}, /* a step takes the star's meaning away */
        {"0 0 * * Tue", "UTC", "2012-07-10T00:00:00Z", "2012-07-17T00:00:00Z"}, /* with a star: both */
        {"0 0 29 Feb ?", "UTC", "2013-01-01T00:00:00Z", "2016-02-29T00:00:00Z"},
        {"0 0 31 2 *", "UTC", "2013-01-01T00:00:00Z", NULL},
        {"@daily", "UTC", "2012-07-09T14:45:00Z", "2012-07-10T00:00:00Z"},
        {"@every 5m", "UTC", "2012-07-09T14:45:10Z", "2012-07-09T14:50:10Z"},
        /* New York: 2012-03-11 2:00 becomes 3:00, 2012-11-04 2:00 becomes 1:00 */
        {"0 * * * *", "America/New_York", "2012-03-11T06:00:00Z", "2012-03-11T07:00:00Z"},
        {"30 2 * * *", "America/New_York", "2012-03-11T05:00:00Z", "2012-03-12T06:30:00Z"},
        {"0 1 * * *", "America/New_York", "2012-11-04T04:00:00Z", "2012-11-04T05:00:00Z"},
        {"0 2 * * *", "America/New_York", "2012-11-04T04:00:00Z", "2012-11-04T07:00:00Z"},
        {"0 3 * * *", "America/New_York", "2012-11-04T04:00:00Z", "2012-11-04T08:00:00Z"},
        {"30 9 * * 1-5", "Asia/Kolkata", "2026-11-27T04:00:00Z", "2026-11-30T04:00:00Z"},
    };
    struct arena *a = arena_new();
    bool zones = time_zone_load(a, "Europe/Berlin");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cron_schedule s;
        const char *why;
        if (!zones && !str_eq(cases[i].zone, "UTC")) continue;
        if (cron_schedule_parse(a, cases[i].spec, &s, &why) != 0) fail_msg("%s: %s", cases[i].spec, why);
        int64_t next = cron_schedule_next(&s, time_zone_load(a, cases[i].zone), at(cases[i].from));
        if (cases[i].next ? next != at(cases[i].next) : next != -1) fail_msg("%s in %s after %s: wanted %s, got %s", cases[i].spec, cases[i].zone, cases[i].from, cases[i].next, text_of(a, next));
    }
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(zones_know_their_offsets), cmocka_unit_test(schedules_find_their_next_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
