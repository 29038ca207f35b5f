/* Time zones: see time_zone.h. The format: RFC 9636 (TZif), with the POSIX TZ string at its end for the years after the last transition. */
#include "api/time_zone.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

#define DATABASE "/usr/share/zoneinfo"
#define OWN_ZONE "/etc/localtime"
enum { FILE_BYTES_MAX = 1 << 20, HEADER = 44, DAY_S = 86400 };

struct rule { char kind; int month, week, day, time_s; }; /* 'M': day of week; 'J': day 1-365 without 29 February; '0': day 0-365 */
struct time_zone {
    const unsigned char *times, *types, *infos; /* big-endian int64; index into infos; 6 bytes each */
    size_t times_len, infos_len;
    bool has_footer, has_dst;
    int std_offset, dst_offset;
    struct rule begin, end;                     /* of daylight saving, in local time */
};

/* ---- days ---- */

static int64_t days_of(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1, doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static void date_of(int64_t days, int *y, int *m, int *d) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

/* ---- the TZ string ---- */

static bool skip_name(const char **p) {
    if (**p == '<') {
        const char *end = strchr(*p, '>');
        if (!end) return false;
        *p = end + 1;
        return true;
    }
    const char *start = *p;
    while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z')) ++*p;
    return *p - start >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(const char **p, int *ret_s) {
    int sign = 1, total = 0, unit = 3600;
    if (**p == '+' || **p == '-') sign = *(*p)++ == '-' ? -1 : 1;
    if (**p < '0' || **p > '9') return false;
    for (; unit; unit /= 60) {
        char *end;
        long v = strtol(*p, &end, 10);
        if (end == *p || v < 0 || v > 167) return false;
        total += (int)v * unit;
        *p = end;
        if (**p != ':') break;
        ++*p;
    }
    *ret_s = sign * total;
    return true;
}

static bool take_rule(const char **p, struct rule *r) {
    int used = 0;
    *r = (struct rule){.time_s = 7200};
    if (sscanf(*p, ",M%d.%d.%d%n", &r->month, &r->week, &r->day, &used) == 3 && used) r->kind = 'M';
    else if (sscanf(*p, ",J%d%n", &r->day, &used) == 1 && used) r->kind = 'J';
    else if (sscanf(*p, ",%d%n", &r->day, &used) == 1 && used) r->kind = '0';
    else return false;
    if (r->kind == 'M' && (r->month < 1 || r->month > 12 || r->week < 1 || r->week > 5 || r->day < 0 || r->day > 6)) return false;
    *p += used;
    if (**p != '/') return true;
    ++*p;
    return take_time(p, &r->time_s);
}

static void parse_footer(struct time_zone *z, const char *p) {
    int offset;
    if (!skip_name(&p) || !take_time(&p, &offset)) return;
    z->std_offset = -offset;
    z->dst_offset = z->std_offset + 3600;
    if (*p == 0) {
        z->has_footer = true;
        return;
    }
    if (!skip_name(&p)) return;
    if (*p != ',' && *p) {
        if (!take_time(&p, &offset)) return;
        z->dst_offset = -offset;
    }
    z->has_footer = z->has_dst = take_rule(&p, &z->begin) && take_rule(&p, &z->end);
}

/* When the rule strikes in a year, in local seconds. */
static int64_t rule_at(const struct rule *r, int year) {
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int64_t day;
    if (r->kind == 'M') {
        int64_t first = days_of(year, r->month, 1), next = days_of(year + r->month / 12, r->month % 12 + 1, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7);
        day = first + (r->day - weekday + 7) % 7 + (r->week - 1) * 7;
        while (day >= next) day -= 7;
    } else day = days_of(year, 1, 1) + (r->kind == 'J' ? r->day - 1 + (leap && r->day >= 60) : r->day);
    return day * DAY_S + r->time_s;
}

static int footer_offset(const struct time_zone *z, int64_t t, int64_t *ret_from, int64_t *ret_to) {
    *ret_from = INT64_MIN;
    *ret_to = INT64_MAX;
    if (!z->has_dst) return z->std_offset;
    int y, m, d;
    date_of(floor_div(t + z->std_offset, DAY_S), &y, &m, &d);
    int offset = z->std_offset;
    for (int year = y - 1; year <= y + 1; year++) {
        int64_t on = rule_at(&z->begin, year) - z->std_offset, off = rule_at(&z->end, year) - z->dst_offset;
        int64_t at[2] = {on, off};
        for (int i = 0; i < 2; i++) {
            if (at[i] <= t && at[i] >= *ret_from) {
                *ret_from = at[i];
                offset = i == 0 ? z->dst_offset : z->std_offset;
            }
            if (at[i] > t && at[i] < *ret_to) *ret_to = at[i];
        }
    }
    return offset;
}

/* ---- the file ---- */

static int64_t be(const unsigned char *p, int bytes) {
    uint64_t v = bytes == 8 ? 0 : p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < bytes; i++) v = v << 8 | p[i];
    return (int64_t)v;
}

static bool parse(struct arena *a, struct time_zone *z, const unsigned char *data, size_t len) {
    if (len < HEADER || memcmp(data, "TZif", 4) != 0 || data[4] < '2') return false;
    size_t counts[6], skip = HEADER;
    for (int i = 0; i < 6; i++) counts[i] = (size_t)be(data + 20 + i * 4, 4); /* isutc, isstd, leap, time, type, char */
    skip += counts[3] * 5 + counts[4] * 6 + counts[5] + counts[2] * 8 + counts[1] + counts[0];
    if (skip + HEADER > len || memcmp(data + skip, "TZif", 4) != 0) return false;
    const unsigned char *h = data + skip, *body = h + HEADER;
    for (int i = 0; i < 6; i++) counts[i] = (size_t)be(h + 20 + i * 4, 4);
    size_t need = counts[3] * 9 + counts[4] * 6 + counts[5] + counts[2] * 12 + counts[1] + counts[0];
    if (counts[3] > FILE_BYTES_MAX || counts[4] > 256 || counts[4] == 0 || need > (size_t)(data + len - body)) return false;
    z->times = body;
    z->times_len = counts[3];
    z->types = body + counts[3] * 8;
    z->infos = z->types + counts[3];
    z->infos_len = counts[4];
    for (size_t i = 0; i < z->times_len; i++)
        if (z->types[i] >= z->infos_len) return false;
    const unsigned char *footer = body + need;
    size_t left = (size_t)(data + len - footer);
    if (left > 2 && *footer == '\n') parse_footer(z, arena_strndup(a, (const char *)footer + 1, strcspn(arena_strndup(a, (const char *)footer + 1, left - 1), "\n")));
    return true;
}

struct time_zone *time_zone_load(struct arena *a, const char *name) {
    struct time_zone *z = ARENA_NEW(a, struct time_zone);
    if (name && (!*name || str_eq(name, "UTC"))) return z;
    if (name && (strstr(name, "..") || *name == '/')) return NULL;
    FILE *f = fopen(name && !str_eq(name, "Local") ? arena_printf(a, DATABASE "/%s", name) : OWN_ZONE, "re");
    if (!f) return name && !str_eq(name, "Local") ? NULL : z;
    unsigned char *data = malloc(FILE_BYTES_MAX);
    CHECK(data);
    size_t len = fread(data, 1, FILE_BYTES_MAX, f);
    fclose(f);
    bool ok = parse(a, z, arena_memdup(a, data, len), len);
    free(data);
    return ok ? z : NULL;
}

/* ---- looking up ---- */

static int info_offset(const struct time_zone *z, size_t type) { return (int)be(z->infos + type * 6, 4); }

/* Before the first transition: the first type that is no daylight saving. */
static int first_offset(const struct time_zone *z) {
    for (size_t i = 0; i < z->infos_len; i++)
        if (!z->infos[i * 6 + 4]) return info_offset(z, i);
    return z->infos_len ? info_offset(z, 0) : 0;
}

static int lookup(const struct time_zone *z, int64_t t, int64_t *ret_from, int64_t *ret_to) {
    size_t low = 0, high = z->times_len; /* the first transition after t */
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (be(z->times + mid * 8, 8) <= t) low = mid + 1;
        else high = mid;
    }
    if (low == z->times_len && z->has_footer) return footer_offset(z, t, ret_from, ret_to);
    *ret_from = low ? be(z->times + (low - 1) * 8, 8) : INT64_MIN;
    *ret_to = low < z->times_len ? be(z->times + low * 8, 8) : INT64_MAX;
    return low ? info_offset(z, z->types[low - 1]) : first_offset(z);
}

int time_zone_offset(const struct time_zone *z, int64_t t) {
    int64_t from, to;
    return lookup(z, t, &from, &to);
}

struct civil_time civil_time_of(const struct time_zone *z, int64_t t) {
    struct civil_time c;
    t += time_zone_offset(z, t);
    int64_t days = floor_div(t, DAY_S), rest = t - days * DAY_S;
    date_of(days, &c.year, &c.month, &c.day);
    c.hour = (int)(rest / 3600);
    c.minute = (int)(rest % 3600 / 60);
    c.second = (int)(rest % 60);
    c.weekday = (int)(((days + 4) % 7 + 7) % 7);
    return c;
}

int64_t civil_time_to(const struct time_zone *z, int year, int month, int day, int hour, int minute, int second) {
    int64_t months = (int64_t)year * 12 + month - 1, from, to;
    int64_t local = (days_of(floor_div(months, 12), (int)(months - floor_div(months, 12) * 12) + 1, 1) + day - 1) * DAY_S + (int64_t)hour * 3600 + minute * 60 + second;
    int offset = lookup(z, local, &from, &to);
    int64_t t = local - offset;
    if (t < from || t >= to) t = local - time_zone_offset(z, t);
    return t;
}
