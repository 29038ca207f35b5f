#include "base/str.h"
#include <strings.h>

static const char *nonnull(const char *s) { return s ? s : ""; }

bool str_empty(const char *s) { return !s || !*s; }
bool str_eq(const char *a, const char *b) { return a == b || strcmp(nonnull(a), nonnull(b)) == 0; }
bool str_eq_nocase(const char *a, const char *b) { return strcasecmp(nonnull(a), nonnull(b)) == 0; }
int str_cmp(const char *a, const char *b) { return strcmp(nonnull(a), nonnull(b)); }

bool str_in(const char *s, const char *const *set) {
    for (; *set; set++)
        if (str_eq(s, *set)) return true;
    return false;
}

bool str_has_prefix(const char *s, const char *prefix) { return strncmp(nonnull(s), prefix, strlen(prefix)) == 0; }

bool str_has_suffix(const char *s, const char *suffix) {
    size_t n = strlen(nonnull(s)), m = strlen(suffix);
    return n >= m && memcmp(nonnull(s) + n - m, suffix, m) == 0;
}

const char *str_or(const char *s, const char *fallback) { return str_empty(s) ? fallback : s; }

size_t str_from_u64(uint64_t v, char ret[STR_U64_MAX]) {
    char digits[STR_U64_MAX];
    size_t n = sizeof(digits);
    do digits[--n] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    memcpy(ret, digits + n, sizeof(digits) - n);
    return sizeof(digits) - n;
}

bool str_to_u64(const char *s, uint64_t *ret) {
    uint64_t v = 0;
    if (str_empty(s)) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v)) return false;
    }
    *ret = v;
    return true;
}

bool str_to_i64(const char *s, int64_t *ret) {
    if (!s) return false;
    bool negative = *s == '-';
    uint64_t v;
    if (!str_to_u64(s + (*s == '-' || *s == '+'), &v)) return false;
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0)) return false;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool str_to_bool(const char *s, bool *ret) {
    static const char *const on[] = {"1", "t", "T", "true", "TRUE", "True", NULL}, *const off[] = {"0", "f", "F", "false", "FALSE", "False", NULL};
    if (str_empty(s) || (!str_in(s, on) && !str_in(s, off))) return false;
    *ret = str_in(s, on);
    return true;
}
