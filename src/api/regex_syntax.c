/* What Go says of a regular expression that it cannot parse, in the order in which its parser meets it. Upstream: Go's regexp/syntax. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "api/structural.h"
#include "base/str.h"

enum { REPEAT_MAX = 1000 };

struct parser {
    struct arena *a;
    const char *whole, *error; /* error NULL: none yet */
};

static const char *fail(struct parser *p, const char *what, const char *from, const char *to) {
    p->error = arena_printf(p->a, "%s: `%.*s`", what, (int)(to - from), from);
    return NULL;
}

static const char *rune_end(const char *s) {
    for (s++; ((unsigned char)*s & 0xC0) == 0x80;) s++;
    return s;
}

static const char *hex_escape(struct parser *p, const char *start, const char *s) {
    const char *end = s + 1;
    if (*s == '{') {
        end += strspn(end, "0123456789abcdefABCDEF");
        return *end == '}' && end > s + 1 && end - s - 1 <= 6 ? end + 1 : fail(p, "invalid escape sequence", start, *end ? end + 1 : end);
    }
    if (isxdigit((unsigned char)s[0]) && isxdigit((unsigned char)s[1])) return s + 2;
    return fail(p, "invalid escape sequence", start, !*s ? s : isxdigit((unsigned char)*s) && s[1] ? s + 2 : s + 1);
}

/* After a backslash: what stands for one character. */
static const char *escape(struct parser *p, const char *s) {
    const char *c = s + 1;
    if (!*c) return fail(p, "trailing backslash at end of expression", c, c);
    if (*c >= '1' && *c <= '7' && c[1] >= '0' && c[1] <= '7') return c + 2 + (c[2] >= '0' && c[2] <= '7');
    if (*c == '0') return c + 1 + strspn(c + 1, "01234567");
    if (*c == 'x') return hex_escape(p, s, c + 1);
    if (strchr("afnrtv", *c) || ((unsigned char)*c < 0x80 && !isalnum((unsigned char)*c))) return c + 1;
    return fail(p, "invalid escape sequence", s, rune_end(c));
}

static bool is_class_escape(const char *s) { return s[0] == '\\' && s[1] && strchr("dDsSwW", s[1]); }

/* \pL, \p{Greek}: which names there are is left to who compiles it. */
static const char *unicode_class(struct parser *p, const char *s) {
    if (!s[2]) return fail(p, "invalid character class range", s, s + 2);
    if (s[2] != '{') return rune_end(s + 2);
    const char *end = strchr(s, '}');
    return end ? end + 1 : fail(p, "invalid character class range", s, s + strlen(s));
}

static const char *class_char(struct parser *p, const char *s, const char *whole) {
    if (!*s) return fail(p, "missing closing ]", whole, s);
    return *s == '\\' ? escape(p, s) : rune_end(s);
}

static const char *posix_class(struct parser *p, const char *s) {
    static const char *const names[] = {"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit", NULL};
    const char *end = strstr(s + 2, ":]"), *name = s + 2 + (s[2] == '^');
    if (!end) return s;
    if (!str_in(arena_strndup(p->a, name, end > name ? (size_t)(end - name) : 0), names)) return fail(p, "invalid character class range", s, end + 2);
    return end + 2;
}

static const char *class(struct parser *p, const char *s) {
    const char *t = s + 1;
    if (*t == '^') t++;
    for (bool first = true; first || *t != ']'; first = false) {
        if (t[0] == '[' && t[1] == ':') {
            const char *after = posix_class(p, t);
            if (!after) return NULL;
            if (after != t) {
                t = after;
                continue;
            }
        }
        if (t[0] == '\\' && (t[1] == 'p' || t[1] == 'P')) {
            if (!(t = unicode_class(p, t))) return NULL;
            continue;
        }
        if (is_class_escape(t)) {
            t += 2;
            continue;
        }
        const char *low = t, *high;
        if (!(t = class_char(p, t, s))) return NULL;
        if (t[0] != '-' || !t[1] || t[1] == ']') continue;
        high = t + 1;
        if (!(t = class_char(p, high, s))) return NULL;
        if (*low != '\\' && *high != '\\' && (unsigned char)*high < (unsigned char)*low) return fail(p, "invalid character class range", low, t);
    }
    return t + 1;
}

/* (?i), (?i:, (?:, (?P<name>, (?<name>. */
static const char *group_flags(struct parser *p, const char *s) {
    const char *t = s + 2, *name = str_has_prefix(t, "P<") ? t + 2 : *t == '<' ? t + 1 : NULL;
    bool negated = false, any = false;
    if (name) {
        const char *end = strchr(name, '>');
        if (!end) return fail(p, "invalid named capture", s, s + strlen(s));
        if (end == name || isdigit((unsigned char)*name)) return fail(p, "invalid named capture", s, end + 1);
        for (const char *c = name; c < end; c++)
            if (!isalnum((unsigned char)*c) && *c != '_') return fail(p, "invalid named capture", s, end + 1);
        return end + 1;
    }
    for (; *t; t++) {
        if (strchr("imsU", *t)) any = true;
        else if (*t == '-' && !negated) {
            negated = true;
            any = false;
        } else if ((*t == ':' || *t == ')') && !(negated && !any)) return t;
        else break;
    }
    return fail(p, "invalid or unsupported Perl syntax", s, *t ? rune_end(t) : t);
}

/* {2}, {2,}, {2,3}: the end, or NULL when it is no such thing and stands for itself. */
static const char *repeat_count(const char *s, long *min, long *max) {
    char *end;
    if (!isdigit((unsigned char)s[1]) || (s[1] == '0' && isdigit((unsigned char)s[2]))) return NULL;
    *min = *max = strtol(s + 1, &end, 10);
    if (*end == ',') {
        end++;
        *max = -1;
        if (isdigit((unsigned char)*end)) *max = strtol(end, &end, 10);
    }
    return *end == '}' ? end + 1 : NULL;
}

struct state { const char *last_repeat; bool operand; size_t depth; }; /* operand: there is something to repeat */

static const char *repetition(struct parser *p, struct state *st, const char *s, const char *after) {
    if (*after == '?') after++;
    if (st->last_repeat) return fail(p, "invalid nested repetition operator", st->last_repeat, after);
    if (!st->operand) return fail(p, "missing argument to repetition operator", s, after);
    st->last_repeat = s;
    return after;
}

static const char *left_paren(struct parser *p, struct state *st, const char *s) {
    const char *t = s + 1;
    if (s[1] == '?') {
        if (!(t = group_flags(p, s))) return NULL;
        if (*t == ')') return t + 1; /* flags alone */
        if (*t == ':') t++;
    }
    st->depth++;
    st->operand = false;
    return t;
}

static const char *backslash(struct parser *p, const char *s) {
    if (s[1] == 'p' || s[1] == 'P') return unicode_class(p, s);
    if (is_class_escape(s) || (s[1] && strchr("AbBz", s[1]))) return s + 2;
    if (s[1] == 'Q') {
        const char *end = strstr(s + 2, "\\E");
        return end ? end + 2 : s + strlen(s);
    }
    return escape(p, s);
}

static const char *step(struct parser *p, struct state *st, const char *s) {
    const char *last = st->last_repeat, *after;
    long min, max;
    st->last_repeat = NULL;
    switch (*s) {
        case '(': return left_paren(p, st, s);
        case '|': st->operand = false; return s + 1;
        case ')':
            if (!st->depth) return fail(p, "unexpected )", p->whole, p->whole + strlen(p->whole));
            st->depth--;
            st->operand = true;
            return s + 1;
        case '*': case '+': case '?': st->last_repeat = last; return repetition(p, st, s, s + 1);
        case '{':
            if (!(after = repeat_count(s, &min, &max))) break;
            if (min > REPEAT_MAX || max > REPEAT_MAX || (max >= 0 && min > max)) return fail(p, "invalid repeat count", s, after);
            st->last_repeat = last;
            return repetition(p, st, s, after);
        case '[': st->operand = true; return class(p, s);
        case '\\': st->operand = true; return backslash(p, s);
    }
    st->operand = true;
    return rune_end(s);
}

const char *regex_syntax_error(struct arena *a, const char *pattern) {
    struct parser p = {a, pattern, NULL};
    struct state st = {0};
    for (const char *s = pattern; s && *s;) s = step(&p, &st, s);
    if (!p.error && st.depth) fail(&p, "missing closing )", pattern, pattern + strlen(pattern));
    return p.error;
}
