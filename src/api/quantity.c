#include "api/quantity.h"
#include <stdio.h>
#include <string.h>
#include "base/str.h"

#define NANO ((int128)1000000000)
#define MAX_NANOS ((int128)INT64_MAX * NANO)

static int bad(struct status *reterr) {
    return status_bad_request(reterr, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

static int bad_suffix(struct status *reterr) { return status_bad_request(reterr, "unable to parse quantity's suffix"); }

/* Decimal suffixes by their power of ten; binary ones by their power of 1024. */
static const struct { const char *suffix; int ten, k; } suffixes[] = {
    {"", 0, 0}, {"n", -9, 0}, {"u", -6, 0}, {"m", -3, 0}, {"k", 3, 0}, {"M", 6, 0}, {"G", 9, 0}, {"T", 12, 0}, {"P", 15, 0}, {"E", 18, 0},
    {"Ki", 0, 1}, {"Mi", 0, 2}, {"Gi", 0, 3}, {"Ti", 0, 4}, {"Pi", 0, 5}, {"Ei", 0, 6},
};

static bool parse_suffix(const char *s, int *ten, int *k, enum quantity_format *format) {
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        if (strcmp(s, suffixes[i].suffix) != 0) continue;
        *ten = suffixes[i].ten;
        *k = suffixes[i].k;
        *format = *k ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI;
        return true;
    }
    int64_t e;
    if ((s[0] != 'e' && s[0] != 'E') || !str_to_i64(s + 1, &e) || e < INT32_MIN || e > INT32_MAX) return false;
    *ten = (int)(e > 1000 ? 1000 : e < -1000 ? -1000 : e);
    *k = 0;
    *format = QUANTITY_DECIMAL_EXPONENT;
    return true;
}

/* The digits of the mantissa; exact up to 30 of them, the rest only says whether something was cut off. */
struct mantissa { int128 v; int scale, extra; bool tail; };

/* Upstream takes no digits at all for 0: "Ki", "." and "+" are quantities. */
static void parse_digits(const char **p, struct mantissa *m) {
    bool dot = false;
    *m = (struct mantissa){0};
    for (;; (*p)++) {
        if (**p == '.' && !dot) dot = true;
        else if (**p >= '0' && **p <= '9') {
            if (m->v < (int128)1000000000000000000 * 100000000000) {
                m->v = m->v * 10 + (**p - '0');
                if (dot) m->scale++;
            } else {
                m->tail |= **p != '0';
                if (!dot) m->extra++;
            }
        } else return;
    }
}

/* Whether the rest has the form of a suffix at all, known or not. */
static bool suffix_form(const char *p) {
    p += strspn(p, "eEinumkKMGTP");
    if (*p == '-' || *p == '+') p++;
    return p[strspn(p, "0123456789")] == 0;
}

int quantity_parse(const char *text, struct quantity *ret, struct status *reterr) {
    const char *p = text;
    struct mantissa m;
    struct quantity q = {0};
    int ten, k;
    if (!*p) return bad(reterr);
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    parse_digits(&p, &m);
    if (!suffix_form(p)) return bad(reterr);
    if (!parse_suffix(p, &ten, &k, &q.format)) return bad_suffix(reterr);
    /* Cutting a remainder in steps would round more than once, so what is cut is collected first. */
    int shift = ten + m.extra - m.scale + 9;
    bool cut = m.tail;
    if (k) {
        int128 v = m.v;
        int scale = m.scale;
        for (int i = 0; i < k; i++) {
            while (v > MAX_NANOS * 1000 && scale > 0) {
                cut |= v % 10 != 0;
                v /= 10;
                scale--;
            }
            if (v > MAX_NANOS * 1000) break;
            v *= 1024;
        }
        m.v = v;
        shift = 9 - scale + m.extra;
    }
    for (; shift < 0 && m.v; shift++) {
        cut |= m.v % 10 != 0;
        m.v /= 10;
    }
    if (cut) m.v++;
    for (; shift > 0 && m.v && m.v <= MAX_NANOS; shift--) m.v *= 10;
    q.nanos = m.v;
    if (q.nanos > MAX_NANOS) q.nanos = MAX_NANOS;
    if (negative) q.nanos = -q.nanos;
    *ret = q;
    return 0;
}

static char *print_int(struct arena *a, int128 v, const char *suffix) {
    char digits[48];
    size_t n = sizeof(digits);
    bool negative = v < 0;
    digits[--n] = 0;
    if (negative) v = -v;
    do digits[--n] = (char)('0' + (int)(v % 10));
    while ((v /= 10) != 0);
    return arena_printf(a, "%s%s%s", negative ? "-" : "", digits + n, suffix);
}

char *quantity_format(struct arena *a, const struct quantity *q) {
    int128 v = q->nanos;
    if (v == 0) return arena_strdup(a, "0");
    enum quantity_format format = q->format;
    /* Small and fractional amounts have no exact binary form. */
    if (format == QUANTITY_BINARY_SI && ((v > -1024 * NANO && v < 1024 * NANO) || v % NANO != 0)) format = QUANTITY_DECIMAL_SI;
    if (format == QUANTITY_BINARY_SI) {
        static const char *const names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
        size_t k = 0;
        v /= NANO;
        while (k < 6 && v % 1024 == 0) {
            v /= 1024;
            k++;
        }
        return print_int(a, v, names[k]);
    }
    static const char *const names[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
    size_t step = 0;
    while (step < 9 && v % 1000 == 0) {
        v /= 1000;
        step++;
    }
    if (format == QUANTITY_DECIMAL_SI) return print_int(a, v, names[step]);
    char suffix[8];
    snprintf(suffix, sizeof(suffix), "e%d", (int)step * 3 - 9);
    return print_int(a, v, step == 3 ? "" : suffix);
}

char *quantity_canonicalize(struct arena *a, const char *text, struct status *reterr) {
    struct quantity q;
    size_t len = strlen(text), from = 0;
    while (from < len && strchr(" \t\r\n", text[from])) from++;
    while (len > from && strchr(" \t\r\n", text[len - 1])) len--;
    if (quantity_parse(arena_strndup(a, text + from, len - from), &q, reterr) != 0) return NULL;
    return quantity_format(a, &q);
}

struct quantity quantity_of(const char *text) {
    struct quantity q;
    return str_empty(text) || quantity_parse(text, &q, NULL) != 0 ? (struct quantity){0} : q;
}

int quantity_cmp(const struct quantity *a, const struct quantity *b) { return (a->nanos > b->nanos) - (a->nanos < b->nanos); }

int quantity_text_cmp(const char *a, const char *b) {
    struct quantity x = quantity_of(a), y = quantity_of(b);
    return quantity_cmp(&x, &y);
}

static int64_t divide_up(int128 v, int128 by) {
    int128 r = v / by + (v % by != 0 ? (v < 0 ? -1 : 1) : 0);
    return r > INT64_MAX ? INT64_MAX : r < INT64_MIN ? INT64_MIN : (int64_t)r;
}

int64_t quantity_value(const struct quantity *q) { return divide_up(q->nanos, NANO); }
int64_t quantity_milli_value(const struct quantity *q) { return divide_up(q->nanos, 1000000); }

void quantity_add(struct quantity *q, const struct quantity *more) {
    if (q->nanos == 0) q->format = more->format;
    q->nanos += more->nanos;
}

void quantity_sub(struct quantity *q, const struct quantity *less) {
    if (q->nanos == 0) q->format = less->format;
    q->nanos -= less->nanos;
}

struct quantity quantity_from_value(int64_t value, enum quantity_format format) { return (struct quantity){(int128)value * NANO, format}; }
struct quantity quantity_from_milli(int64_t milli, enum quantity_format format) { return (struct quantity){(int128)milli * 1000000, format}; }
void quantity_round_up_milli(struct quantity *q) { q->nanos = (q->nanos / 1000000 + (q->nanos % 1000000 != 0 ? (q->nanos < 0 ? -1 : 1) : 0)) * 1000000; }
bool quantity_is_integer(const struct quantity *q) { return q->nanos % NANO == 0; }
