#include "api/cron_schedule.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "base/str.h"

struct bounds { unsigned min, max; const char *const *names; unsigned names_from; };

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const struct bounds field_bounds[CRON_FIELDS] = {{0, 59, NULL, 0}, {0, 23, NULL, 0}, {1, 31, NULL, 0}, {1, 12, month_names, 1}, {0, 6, day_names, 0}};

static int fail(const char **ret_error, const char *text) {
    *ret_error = text;
    return -1;
}

/* strconv.Atoi and the library's own words around it. */
static int parse_number(struct arena *a, const char *s, const struct bounds *b, unsigned *ret, const char **ret_error) {
    int64_t v;
    if (b && b->names)
        for (unsigned i = 0; b->names[i]; i++)
            if (strcasecmp(b->names[i], s) == 0) {
                *ret = b->names_from + i;
                return 0;
            }
    const char *digits = *s == '+' ? s + 1 : s;
    if (!str_to_i64(digits, &v) || (*s == '+' && !isdigit((unsigned char)*digits)))
        return fail(ret_error, arena_printf(a, "failed to parse int from %s: strconv.Atoi: parsing \"%s\": invalid syntax", s, s));
    if (v < 0) return fail(ret_error, arena_printf(a, "negative number (%lld) not allowed: %s", (long long)v, s));
    *ret = v > UINT32_MAX ? UINT32_MAX : (unsigned)v;
    return 0;
}

static size_t split(struct arena *a, const char *s, char by, const char **parts, size_t max) {
    size_t n = 0;
    for (const char *p = s;; p++) {
        const char *end = strchr(p, by);
        if (n < max) parts[n] = end ? arena_strndup(a, p, (size_t)(end - p)) : p;
        n++;
        if (!end) return n;
        p = end;
    }
}

static int parse_range(struct arena *a, const char *expr, const struct bounds *b, uint64_t *bits, const char **ret_error) {
    const char *steps[3], *ends[3];
    size_t steps_len = split(a, expr, '/', steps, 3), ends_len = split(a, steps[0], '-', ends, 3);
    unsigned start = b->min, end = b->max, step = 1;
    uint64_t extra = 0;
    if (str_eq(ends[0], "*") || str_eq(ends[0], "?")) extra = CRON_STAR_BIT;
    else {
        if (parse_number(a, ends[0], b, &start, ret_error) != 0) return -1;
        if (ends_len == 1) end = start;
        else if (ends_len == 2) {
            if (parse_number(a, ends[1], b, &end, ret_error) != 0) return -1;
        } else return fail(ret_error, arena_printf(a, "too many hyphens: %s", expr));
    }
    if (steps_len == 2) {
        if (parse_number(a, steps[1], NULL, &step, ret_error) != 0) return -1;
        if (ends_len == 1) end = b->max; /* "N/step" means "N-max/step" */
        if (step > 1) extra = 0;
    } else if (steps_len > 2) return fail(ret_error, arena_printf(a, "too many slashes: %s", expr));
    if (start < b->min) return fail(ret_error, arena_printf(a, "beginning of range (%u) below minimum (%u): %s", start, b->min, expr));
    if (end > b->max) return fail(ret_error, arena_printf(a, "end of range (%u) above maximum (%u): %s", end, b->max, expr));
    if (start > end) return fail(ret_error, arena_printf(a, "beginning of range (%u) beyond end of range (%u): %s", start, end, expr));
    if (step == 0) return fail(ret_error, arena_printf(a, "step of range should be a positive number: %s", expr));
    for (uint64_t i = start; i <= end; i += step) *bits |= UINT64_C(1) << i;
    *bits |= extra;
    return 0;
}

static int parse_field(struct arena *a, const char *field, const struct bounds *b, uint64_t *bits, const char **ret_error) {
    char *copy = arena_strdup(a, field), *save = NULL;
    for (char *expr = strtok_r(copy, ",", &save); expr; expr = strtok_r(NULL, ",", &save))
        if (parse_range(a, expr, b, bits, ret_error) != 0) return -1;
    return 0;
}

/* time.ParseDuration, to whole seconds (shorter ones count as one, as the library rounds them up). */
static int parse_duration(struct arena *a, const char *text, int64_t *ret_s, const char **ret_error) {
    static const struct { const char *unit; double seconds; } units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"\xc2\xb5s", 1e-6}, {"\xce\xbcs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    const char *p = text;
    double total = 0;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    if (strcmp(p, "0") == 0) p++;
    else if (!*p) return fail(ret_error, arena_printf(a, "time: invalid duration \"%s\"", text));
    while (*p) {
        size_t digits = strspn(p, "0123456789."), len;
        if (digits == 0 || (digits == 1 && *p == '.')) return fail(ret_error, arena_printf(a, "time: invalid duration \"%s\"", text));
        double v = strtod(arena_strndup(a, p, digits), NULL), unit = 0;
        p += digits;
        len = strcspn(p, "0123456789.");
        if (len == 0) return fail(ret_error, arena_printf(a, "time: missing unit in duration \"%s\"", text));
        const char *name = arena_strndup(a, p, len);
        for (size_t i = 0; i < ARRAY_LEN(units); i++)
            if (strcmp(units[i].unit, name) == 0) unit = units[i].seconds;
        if (unit == 0) return fail(ret_error, arena_printf(a, "time: unknown unit \"%s\" in duration \"%s\"", name, text));
        total += v * unit;
        p += len;
    }
    if (total > 9.2e9) return fail(ret_error, arena_printf(a, "time: invalid duration \"%s\"", text));
    *ret_s = negative || total < 1 ? 1 : (int64_t)total;
    return 0;
}

static int parse_descriptor(struct arena *a, const char *d, struct cron_schedule *ret, const char **ret_error) {
    static const struct { const char *name, *fields; } known[] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
                                                                  {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i].name, d) == 0) {
            const char *zone = ret->time_zone;
            int r = cron_schedule_parse(a, known[i].fields, ret, ret_error);
            ret->time_zone = zone;
            return r;
        }
    if (str_has_prefix(d, "@every ")) {
        const char *why;
        if (parse_duration(a, d + 7, &ret->every_s, &why) == 0) return 0;
        return fail(ret_error, arena_printf(a, "failed to parse duration %s: %s", d, why));
    }
    return fail(ret_error, arena_printf(a, "unrecognized descriptor: %s", d));
}

int cron_schedule_parse(struct arena *a, const char *spec, struct cron_schedule *ret, const char **ret_error) {
    *ret = (struct cron_schedule){0};
    if (str_empty(spec)) return fail(ret_error, "empty spec string");
    if (str_has_prefix(spec, "TZ=") || str_has_prefix(spec, "CRON_TZ=")) {
        const char *eq = strchr(spec, '='), *space = strchr(spec, ' ');
        if (!space) return fail(ret_error, "invalid schedule format: runtime error: slice bounds out of range [:-1]");
        ret->time_zone = arena_strndup(a, eq + 1, (size_t)(space - eq - 1));
        if (!time_zone_is_known(ret->time_zone)) return fail(ret_error, arena_printf(a, "provided bad location %s: unknown time zone %s", ret->time_zone, ret->time_zone));
        spec = space + strspn(space, " \t\r\n");
    }
    if (*spec == '@') return parse_descriptor(a, spec, ret, ret_error);
    const char *fields[CRON_FIELDS], *joined = "";
    size_t n = 0;
    char *copy = arena_strdup(a, spec), *save = NULL;
    for (char *f = strtok_r(copy, " \t\r\n\v\f", &save); f; f = strtok_r(NULL, " \t\r\n\v\f", &save)) {
        if (n < CRON_FIELDS) fields[n] = f;
        joined = arena_printf(a, "%s%s%s", joined, n++ ? " " : "", f);
    }
    if (n != CRON_FIELDS) return fail(ret_error, arena_printf(a, "expected exactly 5 fields, found %zu: [%s]", n, joined));
    for (size_t i = 0; i < CRON_FIELDS; i++)
        if (parse_field(a, fields[i], &field_bounds[i], &ret->bits[i], ret_error) != 0) return -1;
    return 0;
}

bool time_zone_is_known(const char *name) {
    static const char database[] = "/usr/share/zoneinfo";
    struct stat st;
    char path[512];
    if (str_empty(name) || str_eq(name, "UTC") || str_eq(name, "Local")) return true;
    if (strstr(name, "..") || name[0] == '/' || strchr(name, '\\')) return false;
    if (stat(database, &st) != 0) return true;
    int n = snprintf(path, sizeof(path), "%s/%s", database, name);
    return n > 0 && (size_t)n < sizeof(path) && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}
