#include "api/time.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/str.h"

static bool digits(const char **p, size_t n, int *ret) {
    int v = 0;
    for (size_t i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9') return false;
        v = v * 10 + (**p - '0');
    }
    *ret = v;
    return true;
}

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)));
}

static bool parse_offset(const char **p, int *ret_s) {
    int sign = **p == '-' ? -1 : 1, h, m;
    if (**p == 'Z') {
        (*p)++;
        *ret_s = 0;
        return true;
    }
    if (**p != '+' && **p != '-') return false;
    (*p)++;
    if (!digits(p, 2, &h) || *(*p)++ != ':' || !digits(p, 2, &m) || h > 24 || m > 60) return false;
    *ret_s = sign * (h * 3600 + m * 60);
    return true;
}

bool date_parse(const char *p, int64_t *ret_s) {
    int year, month, day;
    if (!p || !digits(&p, 4, &year) || *p++ != '-' || !digits(&p, 2, &month) || *p++ != '-' || !digits(&p, 2, &day) || *p) return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in(year, month)) return false;
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    *ret_s = (int64_t)timegm(&tm);
    return true;
}

char *date_string(struct arena *a, int64_t sec) {
    time_t t = (time_t)sec;
    struct tm tm;
    gmtime_r(&t, &tm);
    return arena_printf(a, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}

static bool parse(const char *p, struct api_time *ret) {
    int year, month, day, h, m, s, offset;
    int32_t nsec = 0;
    if (!digits(&p, 4, &year) || *p++ != '-' || !digits(&p, 2, &month) || *p++ != '-' || !digits(&p, 2, &day) || *p++ != 'T') return false;
    if (!digits(&p, 2, &h) || *p++ != ':' || !digits(&p, 2, &m) || *p++ != ':' || !digits(&p, 2, &s)) return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in(year, month) || h > 23 || m > 59 || s > 59) return false;
    if (*p == '.' || *p == ',') {
        int32_t unit = 100000000;
        p++;
        if (*p < '0' || *p > '9') return false;
        for (; *p >= '0' && *p <= '9'; p++, unit /= 10) nsec += (*p - '0') * unit;
    }
    if (!parse_offset(&p, &offset) || *p) return false;
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = h, .tm_min = m, .tm_sec = s};
    *ret = (struct api_time){true, nsec, (int64_t)timegm(&tm) - offset};
    return true;
}

static int parse_or_fail(const char *text, struct api_time *ret, struct status *reterr) {
    if (parse(text, ret)) return 0;
    return status_bad_request(reterr, "parsing time \"%s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"%s\" as \"2006\"", text, text);
}

int time_parse(const char *text, struct api_time *ret, struct status *reterr) {
    struct api_time t;
    if (parse_or_fail(text, &t, reterr) != 0) return -1;
    *ret = (struct api_time){true, 0, t.sec};
    return 0;
}

int micro_time_parse(const char *text, struct api_time *ret, struct status *reterr) {
    struct api_time t;
    if (parse_or_fail(text, &t, reterr) != 0) return -1;
    *ret = (struct api_time){true, t.nsec / 1000 * 1000, t.sec};
    return 0;
}

int micro_time_decode(const char *text, struct api_time *ret, struct status *reterr) {
    enum { MICRO_DIGITS = 6 };
    const char *dot = strchr(text, '.');
    if (micro_time_parse(text, ret, reterr) != 0) return -1;
    if (dot && strspn(dot + 1, "0123456789") == MICRO_DIGITS) return 0;
    return status_bad_request(reterr, "parsing time \"%s\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse the fraction as \".000000\"", text);
}

static char *two_digits(char *at, int n) {
    *at++ = (char)('0' + n / 10);
    *at++ = (char)('0' + n % 10);
    return at;
}

/* Every object has several of them, so that printf would be seen in a profile. */
static void date_time(const struct api_time *t, struct buf *out) {
    struct tm tm;
    time_t sec = (time_t)t->sec;
    gmtime_r(&sec, &tm);
    int year = tm.tm_year + 1900;
    char text[sizeof("00-00T00:00:00")], *at = text;
    if (year >= 0 && year <= 9999) {
        at = two_digits(two_digits(at, year / 100), year % 100);
        buf_append(out, text, 4);
    } else buf_printf(out, "%04d", year);
    at = two_digits(text, tm.tm_mon + 1);
    *at++ = '-';
    at = two_digits(at, tm.tm_mday);
    *at++ = 'T';
    at = two_digits(at, tm.tm_hour);
    *at++ = ':';
    at = two_digits(at, tm.tm_min);
    *at++ = ':';
    two_digits(at, tm.tm_sec);
    buf_append_char(out, '-');
    buf_append(out, text, sizeof(text) - 1);
}

void time_format(const struct api_time *t, struct buf *out) {
    date_time(t, out);
    buf_append_char(out, 'Z');
}

void micro_time_format(const struct api_time *t, struct buf *out) {
    date_time(t, out);
    buf_printf(out, ".%06dZ", t->nsec / 1000);
}

/* Two units at most, the second only while the first is small. */
static char *two(struct arena *a, int64_t n, const char *unit, int64_t m, const char *unit2) {
    return m ? arena_printf(a, "%lld%s%lld%s", (long long)n, unit, (long long)m, unit2) : arena_printf(a, "%lld%s", (long long)n, unit);
}

char *human_duration(struct arena *a, int64_t s) {
    if (s < -1) return arena_strdup(a, "<invalid>");
    if (s < 0) return arena_strdup(a, "0s");
    int64_t m = s / 60, h = s / 3600, d = h / 24;
    if (s < 60 * 2) return two(a, s, "s", 0, "");
    if (m < 10) return two(a, m, "m", s % 60, "s");
    if (m < 60 * 3) return two(a, m, "m", 0, "");
    if (h < 8) return two(a, h, "h", m % 60, "m");
    if (h < 48) return two(a, h, "h", 0, "");
    if (h < 24 * 8) return two(a, d, "d", h % 24, "h");
    if (h < 24 * 365 * 2) return two(a, d, "d", 0, "");
    if (h < 24 * 365 * 8) return two(a, d / 365, "y", d % 365, "d");
    return two(a, d / 365, "y", 0, "");
}

bool duration_parse(const char *s, int64_t *ret) {
    static const struct { const char *unit; double ns; } units[] = {{"ns", 1}, {"us", 1e3}, {"\xC2\xB5s", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 6e10}, {"h", 3.6e12}};
    bool negative = *s == '-';
    double total = 0;
    if (*s == '-' || *s == '+') s++;
    if (strcmp(s, "0") == 0) {
        *ret = 0;
        return true;
    }
    if (!*s) return false;
    while (*s) {
        char *end;
        size_t u = 0, digits = strspn(s, "0123456789.");
        if (!digits) return false;
        double v = strtod(s, &end);
        if (end != s + digits) return false;
        s = end;
        while (u < ARRAY_LEN(units) && !(str_has_prefix(s, units[u].unit) && !(u == 5 && s[1] == 's'))) u++;
        if (u == ARRAY_LEN(units)) return false;
        total += v * units[u].ns;
        s += strlen(units[u].unit);
    }
    if (total >= 9.2e18) return false;
    *ret = (int64_t)(negative ? -total : total);
    return true;
}

char *duration_string(struct arena *a, int64_t ns) {
    const char *sign = ns < 0 ? "-" : "";
    double s = (double)(ns < 0 ? -ns : ns) / 1e9;
    int64_t minutes = (int64_t)(s / 60);
    if (ns == 0) return arena_strdup(a, "0s");
    if (s < 1e-6) return arena_printf(a, "%s%gns", sign, s * 1e9);
    if (s < 1e-3) return arena_printf(a, "%s%g\xC2\xB5s", sign, s * 1e6);
    if (s < 1) return arena_printf(a, "%s%.10gms", sign, s * 1e3);
    double rest = s - (double)minutes * 60;
    if (minutes >= 60) return arena_printf(a, "%s%lldh%lldm%.10gs", sign, (long long)(minutes / 60), (long long)(minutes % 60), rest);
    return minutes ? arena_printf(a, "%s%lldm%.10gs", sign, (long long)minutes, rest) : arena_printf(a, "%s%.10gs", sign, rest);
}
