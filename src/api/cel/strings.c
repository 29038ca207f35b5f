/* Functions on strings: CEL's own, those of cel-go's ext.Strings and of the API (find, findAll). Places are counted in characters, not bytes. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <math.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"
#include "wire/json.h"

enum { PRECISION_MAX = 100 };

static size_t runes(const char *s, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

/* The byte at which a character begins; len past the end. */
static size_t byte_of(const struct cel_value *v, size_t rune) {
    for (size_t i = 0; i < v->str.len; i++)
        if (((unsigned char)v->str.s[i] & 0xC0) != 0x80 && rune-- == 0) return i;
    return v->str.len;
}

static const char *find_bytes(const char *s, size_t len, const struct cel_value *what) { return what->str.len ? memmem(s, len, what->str.s, what->str.len) : s; }

static bool is_str(const struct call *c, size_t i) { return i < c->len && c->args[i].kind == CEL_STRING; }
static bool is_int(const struct call *c, size_t i) { return i < c->len && c->args[i].kind == CEL_INT; }

static bool index_of(struct call *c, struct cel_value *ret, bool last) {
    const struct cel_value *s = &c->args[0], *what = &c->args[1];
    size_t total = runes(s->str.s, s->str.len);
    if (c->len == 3 && (!is_int(c, 2) || c->args[2].i < 0 || (size_t)c->args[2].i > total)) {
        *ret = cel_error(c->arena, "index out of range: %lld", (long long)c->args[2].i);
        return true;
    }
    size_t from = c->len == 3 ? byte_of(s, (size_t)c->args[2].i) : last ? s->str.len : 0;
    *ret = CEL_INT_VALUE(-1);
    if (!last) {
        const char *at = find_bytes(s->str.s + from, s->str.len - from, what);
        if (at) ret->i = (int64_t)runes(s->str.s, (size_t)(at - s->str.s));
        return true;
    }
    for (size_t i = MIN(from, s->str.len >= what->str.len ? s->str.len - what->str.len : 0) + 1; i-- > 0;)
        if (s->str.len >= what->str.len && memcmp(s->str.s + i, what->str.s, what->str.len) == 0) {
            ret->i = (int64_t)runes(s->str.s, i);
            return true;
        }
    return true;
}

static bool substring(struct call *c, struct cel_value *ret) {
    const struct cel_value *s = &c->args[0];
    int64_t total = (int64_t)runes(s->str.s, s->str.len), from = c->args[1].i, to = c->len == 3 ? c->args[2].i : total;
    if (from < 0 || from > total || to < 0 || to > total) *ret = cel_error(c->arena, "index out of range: %lld", (long long)(from < 0 || from > total ? from : to));
    else if (from > to) *ret = cel_error(c->arena, "invalid substring range. start: %lld, end: %lld", (long long)from, (long long)to);
    else {
        size_t a = byte_of(s, (size_t)from), b = byte_of(s, (size_t)to);
        *ret = cel_str(s->str.s + a, b - a);
    }
    return true;
}

static bool char_at(struct call *c, struct cel_value *ret) {
    const struct cel_value *s = &c->args[0];
    int64_t total = (int64_t)runes(s->str.s, s->str.len), i = c->args[1].i;
    if (i < 0 || i > total) *ret = cel_error(c->arena, "index out of range: %lld", (long long)i);
    else *ret = cel_str(s->str.s + byte_of(s, (size_t)i), byte_of(s, (size_t)i + 1) - byte_of(s, (size_t)i));
    return true;
}

static struct cel_value from_buf(struct arena *a, struct buf *out) {
    struct cel_value v = cel_str(arena_strndup(a, buf_cstr(out), out->len), out->len);
    buf_release(out);
    return v;
}

static bool replace(struct call *c, struct cel_value *ret) {
    const struct cel_value *s = &c->args[0], *from = &c->args[1], *to = &c->args[2];
    int64_t left = c->len == 4 ? c->args[3].i : -1;
    struct buf out = BUF_INIT;
    size_t i = 0;
    while (i <= s->str.len && left != 0) {
        const char *at = find_bytes(s->str.s + i, s->str.len - i, from);
        if (!at) break;
        size_t p = (size_t)(at - s->str.s), step = from->str.len;
        buf_append(&out, s->str.s + i, p - i);
        buf_append(&out, to->str.s, to->str.len);
        if (!step && p < s->str.len) {
            step = byte_of(&(const struct cel_value){.str = {s->str.s + p, s->str.len - p}}, 1);
            buf_append(&out, s->str.s + p, step);
        }
        i = p + step;
        left--;
        if (!from->str.len && p >= s->str.len) break;
    }
    if (i < s->str.len) buf_append(&out, s->str.s + i, s->str.len - i);
    c->cost += (s->str.len + out.len) / 10;
    *ret = from_buf(c->arena, &out);
    return true;
}

static bool split(struct call *c, struct cel_value *ret) {
    const struct cel_value *s = &c->args[0], *by = &c->args[1];
    int64_t left = c->len == 3 ? c->args[2].i : -1;
    size_t i = 0;
    *ret = cel_list_new(c->arena);
    if (left == 0) return true;
    for (;;) {
        const char *at = left == 1 ? NULL : find_bytes(s->str.s + i, s->str.len - i, by);
        if (at && !by->str.len) at = i < s->str.len ? s->str.s + i + byte_of(&(const struct cel_value){.str = {s->str.s + i, s->str.len - i}}, 1) : NULL;
        if (at && !by->str.len && at == s->str.s + s->str.len) at = NULL;
        size_t p = at ? (size_t)(at - s->str.s) : s->str.len;
        struct cel_value piece = cel_str(s->str.s + i, p - i);
        cel_list_push(c->arena, ret, &piece);
        c->cost++;
        if (!at) return true;
        i = p + by->str.len;
        left--;
    }
}

static bool join(struct call *c, struct cel_value *ret) {
    struct buf out = BUF_INIT;
    struct cel_value v;
    for (size_t i = 0; cel_list_at(c->arena, &c->args[0], i, &v); i++) {
        if (v.kind != CEL_STRING) {
            buf_release(&out);
            return false;
        }
        if (i && c->len == 2) buf_append(&out, c->args[1].str.s, c->args[1].str.len);
        buf_append(&out, v.str.s, v.str.len);
    }
    c->cost += out.len / 10;
    *ret = from_buf(c->arena, &out);
    return true;
}

static struct cel_value mapped(struct call *c, int (*fn)(int)) {
    const struct cel_value *s = &c->args[0];
    char *t = arena_strndup(c->arena, s->str.s, s->str.len);
    for (size_t i = 0; i < s->str.len; i++)
        if (!((unsigned char)t[i] & 0x80)) t[i] = (char)fn((unsigned char)t[i]);
    c->cost += s->str.len / 10;
    return cel_str(t, s->str.len);
}

static struct cel_value trim(const struct cel_value *s) {
    size_t a = 0, b = s->str.len;
    while (a < b && strchr(" \t\n\v\f\r", s->str.s[a])) a++;
    while (b > a && strchr(" \t\n\v\f\r", s->str.s[b - 1])) b--;
    return cel_str(s->str.s + a, b - a);
}

static struct cel_value reverse(struct call *c) {
    const struct cel_value *s = &c->args[0];
    char *t = arena_alloc(c->arena, s->str.len + 1);
    for (size_t i = 0, end = s->str.len; i < s->str.len;) {
        size_t n = byte_of(&(const struct cel_value){.str = {s->str.s + i, s->str.len - i}}, 1);
        memcpy(t + end - n, s->str.s + i, n);
        end -= n;
        i += n;
    }
    return cel_str(t, s->str.len);
}

/* ---- patterns ---- */

static struct cel_value bad_pattern(struct call *c, const char *why) { return cel_error(c->arena, "%s", why); }

static bool matches(struct call *c, struct cel_value *ret) {
    const char *why = "";
    struct regex *r = regex_compile(c->arena, arena_strndup(c->arena, c->args[1].str.s, c->args[1].str.len), &why);
    *ret = r ? CEL_BOOL_VALUE(regex_matches(r, c->args[0].str.s, c->args[0].str.len)) : bad_pattern(c, why);
    c->cost += (c->args[0].str.len / 10 + 1) * (c->args[1].str.len / 4 + 1);
    return true;
}

static bool find_all(struct call *c, struct cel_value *ret, bool all) {
    const struct cel_value *s = &c->args[0];
    const char *why = "", *pattern = arena_strndup(c->arena, c->args[1].str.s, c->args[1].str.len);
    int64_t left = c->len == 3 ? c->args[2].i : -1;
    int code;
    PCRE2_SIZE at, offset = 0;
    *ret = all ? cel_list_new(c->arena) : cel_str("", 0);
    c->cost += (s->str.len / 10 + 1) * (c->args[1].str.len / 4 + 1);
    if (!regex_compile(c->arena, pattern, &why)) {
        *ret = bad_pattern(c, why);
        return true;
    }
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    while (left != 0 && offset <= s->str.len && pcre2_match(re, (PCRE2_SPTR)s->str.s, s->str.len, offset, 0, data, NULL) >= 0) {
        PCRE2_SIZE *o = pcre2_get_ovector_pointer(data);
        struct cel_value found = cel_str(s->str.s + o[0], o[1] - o[0]);
        if (!all) *ret = found;
        else cel_list_push(c->arena, ret, &found);
        offset = o[1] > o[0] ? o[1] : o[1] + 1;
        if (!all) break;
        left--;
    }
    pcre2_match_data_free(data);
    pcre2_code_free(re);
    return true;
}

/* ---- format ---- */

static void put_value(struct call *c, struct buf *out, const struct cel_value *v, bool quoted) {
    struct cel_value k, item;
    if (v->kind == CEL_LIST) {
        buf_append_char(out, '[');
        for (size_t i = 0; cel_list_at(c->arena, v, i, &item); i++) {
            if (i) buf_append_str(out, ", ");
            put_value(c, out, &item, true);
        }
        buf_append_char(out, ']');
    } else if (v->kind == CEL_MAP) {
        buf_append_char(out, '{');
        for (size_t i = 0; cel_map_entry(c->arena, v, i, &k, &item); i++) {
            if (i) buf_append_str(out, ", ");
            put_value(c, out, &k, true);
            buf_append_str(out, ": ");
            put_value(c, out, &item, true);
        }
        buf_append_char(out, '}');
    } else if (v->kind == CEL_STRING && quoted) buf_append_str(out, go_quote(c->arena, arena_strndup(c->arena, v->str.s, v->str.len)));
    else if (v->kind == CEL_NULL) buf_append_str(out, "null");
    else {
        struct call inner = {c->arena, "string", false, v, 1, 0, c->now_s};
        struct cel_value text;
        if (v->kind == CEL_TYPE) buf_append(out, v->str.s, v->str.len);
        else if (cel_call_standard(&inner, &text) && text.kind == CEL_STRING) buf_append(out, text.str.s, text.str.len);
    }
}

static bool put_clause(struct call *c, struct buf *out, char verb, int precision, const struct cel_value *v) {
    double d = v->kind == CEL_DOUBLE ? v->d : v->kind == CEL_INT ? (double)v->i : (double)v->u;
    bool number = v->kind == CEL_DOUBLE || v->kind == CEL_INT || v->kind == CEL_UINT;
    uint64_t u = v->kind == CEL_INT && v->i < 0 ? (uint64_t)-v->i : v->kind == CEL_BOOL ? v->b : v->u;
    if (verb == 's') put_value(c, out, v, false);
    else if (verb == 'd' && number && v->kind != CEL_DOUBLE) put_value(c, out, v, false);
    else if (verb == 'd' && number && floor(v->d) == v->d) buf_printf(out, "%.0f", v->d);
    else if (verb == 'f' && number) buf_printf(out, "%.*f", precision < 0 ? 6 : precision, d);
    else if (verb == 'e' && number) buf_printf(out, "%.*e", precision < 0 ? 6 : precision, d);
    else if ((verb == 'x' || verb == 'X') && (v->kind == CEL_STRING || v->kind == CEL_BYTES)) {
        for (size_t i = 0; i < v->str.len; i++) buf_printf(out, verb == 'x' ? "%02x" : "%02X", (unsigned char)v->str.s[i]);
    } else if ((verb == 'x' || verb == 'X' || verb == 'o') && (v->kind == CEL_INT || v->kind == CEL_UINT)) {
        if (v->kind == CEL_INT && v->i < 0) buf_append_char(out, '-');
        buf_printf(out, verb == 'x' ? "%llx" : verb == 'X' ? "%llX" : "%llo", (unsigned long long)u);
    } else if (verb == 'b' && (v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_BOOL)) {
        char bits[65];
        int n = 0;
        do bits[n++] = (char)('0' + (u & 1));
        while (u >>= 1);
        if (v->kind == CEL_INT && v->i < 0) buf_append_char(out, '-');
        while (n) buf_append_char(out, bits[--n]);
    } else return false;
    return true;
}

static bool format(struct call *c, struct cel_value *ret) {
    struct buf out = BUF_INIT;
    struct cel_value v;
    size_t arg = 0;
    const char *p = c->args[0].str.s, *end = p + c->args[0].str.len;
    for (; p < end; p++) {
        if (*p != '%') {
            buf_append_char(&out, *p);
            continue;
        }
        if (++p < end && *p == '%') {
            buf_append_char(&out, '%');
            continue;
        }
        int precision = -1;
        if (p < end && *p == '.') {
            char *after;
            long n = strtol(p + 1, &after, 10);
            precision = n < 0 || n > PRECISION_MAX ? PRECISION_MAX : (int)n;
            p = after;
        }
        if (p >= end || !cel_list_at(c->arena, &c->args[1], arg++, &v)) {
            *ret = cel_error(c->arena, "index %zu out of range", arg ? arg - 1 : 0);
            buf_release(&out);
            return true;
        }
        if (!put_clause(c, &out, *p, precision, &v)) {
            *ret = cel_error(c->arena, "error during formatting: unrecognized formatting clause \"%c\" or unfit argument of type %s", *p, cel_kind_name(&v));
            buf_release(&out);
            return true;
        }
    }
    c->cost += out.len / 10;
    *ret = from_buf(c->arena, &out);
    return true;
}

static bool quote(struct call *c, struct cel_value *ret) {
    *ret = cel_string_value(c->arena, go_quote(c->arena, arena_strndup(c->arena, c->args[1].str.s, c->args[1].str.len)));
    return true;
}

bool cel_call_strings(struct call *c, struct cel_value *ret) {
    const char *n = c->name;
    if (c->method && c->len == 2 && c->args[0].kind == CEL_TYPE && strcmp(n, "quote") == 0 && is_str(c, 1)) return quote(c, ret);
    if (c->method && strcmp(n, "join") == 0 && c->args[0].kind == CEL_LIST && (c->len == 1 || is_str(c, 1))) return join(c, ret);
    if (!is_str(c, 0)) return false;
    if (c->len == 2 && strcmp(n, "matches") == 0 && is_str(c, 1)) return matches(c, ret);
    if (!c->method) return false;
    const struct cel_value *s = &c->args[0], *x = c->len > 1 ? &c->args[1] : NULL;
    if (c->len == 2 && is_str(c, 1)) {
        *ret = CEL_BOOL_VALUE(false);
        c->cost += s->str.len / 10;
        if (strcmp(n, "contains") == 0) ret->b = find_bytes(s->str.s, s->str.len, x) != NULL;
        else if (strcmp(n, "startsWith") == 0) ret->b = s->str.len >= x->str.len && memcmp(s->str.s, x->str.s, x->str.len) == 0;
        else if (strcmp(n, "endsWith") == 0) ret->b = s->str.len >= x->str.len && memcmp(s->str.s + s->str.len - x->str.len, x->str.s, x->str.len) == 0;
        else goto others;
        return true;
    }
others:
    if (c->len >= 2 && is_str(c, 1)) {
        if (strcmp(n, "indexOf") == 0) return index_of(c, ret, false);
        if (strcmp(n, "lastIndexOf") == 0) return index_of(c, ret, true);
        if (strcmp(n, "split") == 0 && (c->len == 2 || is_int(c, 2))) return split(c, ret);
        if (strcmp(n, "replace") == 0 && is_str(c, 2) && (c->len == 3 || is_int(c, 3))) return replace(c, ret);
        if (strcmp(n, "find") == 0) return find_all(c, ret, false);
        if (strcmp(n, "findAll") == 0 && (c->len == 2 || is_int(c, 2))) return find_all(c, ret, true);
        return false;
    }
    if (c->len >= 2 && is_int(c, 1)) {
        if (strcmp(n, "substring") == 0 && (c->len == 2 || is_int(c, 2))) return substring(c, ret);
        return strcmp(n, "charAt") == 0 && char_at(c, ret);
    }
    if (c->len == 2) return strcmp(n, "format") == 0 && x->kind == CEL_LIST && format(c, ret);
    if (strcmp(n, "lowerAscii") == 0) *ret = mapped(c, tolower);
    else if (strcmp(n, "upperAscii") == 0) *ret = mapped(c, toupper);
    else if (strcmp(n, "trim") == 0) *ret = trim(s);
    else if (strcmp(n, "reverse") == 0) *ret = reverse(c);
    else return false;
    return true;
}
