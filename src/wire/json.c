#include "wire/json.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void *alc_malloc(void *ctx, size_t size) { return arena_alloc(ctx, size); }

static void *alc_realloc(void *ctx, void *p, size_t old_size, size_t size) {
    if (size <= old_size) return p;
    void *grown = arena_alloc(ctx, size);
    memcpy(grown, p, old_size);
    return grown;
}

static void alc_free(void *ctx UNUSED, void *p UNUSED) {}

const yyjson_alc *json_arena_alc(struct arena *a) {
    yyjson_alc *alc = ARENA_NEW(a, yyjson_alc);
    *alc = (yyjson_alc){alc_malloc, alc_realloc, alc_free, a};
    return alc;
}

/* ---- sixteen bytes at a time: most of what passes here are strings in which there is nothing to do ---- */

typedef signed char bytes16 __attribute__((vector_size(16)));

static bytes16 load16(const char *p) {
    bytes16 v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static bool any16(bytes16 v) {
    uint64_t half[2];
    memcpy(half, &v, sizeof(half));
    return (half[0] | half[1]) != 0;
}

/* How many of the first bytes, in sixteens, certainly are no quote and no backslash. */
static size_t span_within_string(const char *p, size_t len) {
    size_t n = 0;
    for (; len - n >= 16; n += 16) {
        bytes16 v = load16(p + n);
        if (any16((v == '"') | (v == '\\'))) break;
    }
    return n;
}

/* The same, of what is written as it is: no control character, none of HTML's, nothing beyond ASCII. */
static size_t span_unescaped(const char *p, size_t len) {
    size_t n = 0;
    for (; len - n >= 16; n += 16) {
        bytes16 v = load16(p + n); /* signed: what is beyond ASCII is below the blank, too */
        if (any16((v < ' ') | (v == '"') | (v == '\\') | (v == '<') | (v == '>') | (v == '&'))) break;
    }
    return n;
}

/* yyjson parses without recursion, but what reads its documents recurses: the depth is checked on the text first. */
static bool too_deep(const char *text, size_t len) {
    size_t depth = 0, look = 0; /* look: where sixteens may be worth a try again */
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        if (in_string && i >= look) {
            i += span_within_string(text + i, len - i);
            look = i + 16;
            if (i == len) break;
        }
        char c = text[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = false;
        } else if (c == '"') in_string = true;
        else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX) return true;
        } else if ((c == '}' || c == ']') && depth) depth--;
    }
    return false;
}

/* Go's words for the two commonest faults; other syntax errors name the character. */
static void syntax_error(const char *text, size_t len, const yyjson_read_err *e, struct status *reterr) {
    if (e->pos >= len || e->code == YYJSON_READ_ERROR_EMPTY_CONTENT) {
        status_bad_request(reterr, "unexpected end of JSON input");
        return;
    }
    unsigned char c = (unsigned char)text[e->pos];
    if (c >= 0x20 && c < 0x7f) status_bad_request(reterr, "invalid character '%s%c' looking for beginning of value", c == '\'' || c == '\\' ? "\\" : "", c);
    else status_bad_request(reterr, "invalid character '\\x%02x' looking for beginning of value", c);
}

static size_t utf8_sequence(const unsigned char *p, const unsigned char *end) {
    size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    if (!n || (size_t)(end - p) < n) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))) return 0;
    if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))) return 0;
    return n;
}

/* The code unit of a \uXXXX at p, or -1. */
static int escaped_unit(const unsigned char *p, const unsigned char *end) {
    int v = 0;
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        const char *digits = "0123456789abcdef", *at = p[i] ? strchr(digits, p[i] >= 'A' && p[i] <= 'F' ? p[i] + 32 : p[i]) : NULL;
        if (!at) return -1;
        v = v << 4 | (int)(at - digits);
    }
    return v;
}

static bool is_high(int unit) { return unit >= 0xd800 && unit < 0xdc00; }
static bool is_low(int unit) { return unit >= 0xdc00 && unit < 0xe000; }

/* Replaces what is not UTF-8, and surrogates that stand alone, by U+FFFD, as Go does. */
static void repair_utf8(const char *text, size_t len, struct buf *out) {
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    while (p < end) {
        int unit = *p == '\\' ? escaped_unit(p, end) : -1;
        size_t n = utf8_sequence(p, end);
        if (is_high(unit) && is_low(escaped_unit(p + 6, end))) n = 12;
        else if (is_high(unit) || is_low(unit)) {
            buf_append_str(out, "\xef\xbf\xbd");
            p += 6;
            continue;
        } else if (*p == '\\' && end - p > 1) n = 2; /* whatever is escaped is no beginning of an escape */
        if (n) buf_append(out, p, n);
        else buf_append_str(out, "\xef\xbf\xbd");
        p += n ? n : 1;
    }
}

static yyjson_doc *parse(const char *text, size_t len, unsigned flags, const yyjson_alc *alc, struct status *reterr) {
    yyjson_read_flag f = flags & JSON_NUMBERS_RAW ? YYJSON_READ_NUMBER_AS_RAW : YYJSON_READ_NOFLAG;
    yyjson_read_err e = {0};
    if (too_deep(text, len)) {
        status_bad_request(reterr, "exceeded max depth");
        return NULL;
    }
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text, len, f, alc, &e);
    if (!doc && e.code == YYJSON_READ_ERROR_INVALID_STRING) {
        _cleanup_buf_ struct buf fixed = BUF_INIT;
        repair_utf8(text, len, &fixed);
        doc = yyjson_read_opts(fixed.data, fixed.len, f, alc, &e);
    }
    if (!doc) syntax_error(text, len, &e, reterr);
    return doc;
}

yyjson_doc *json_parse(const char *text, size_t len, unsigned flags, struct status *reterr) { return parse(text, len, flags, NULL, reterr); }

yyjson_doc *json_parse_in(struct arena *a, const char *text, size_t len, unsigned flags, struct status *reterr) {
    return parse(text, len, flags, json_arena_alc(a), reterr);
}

yyjson_mut_doc *json_mut_new(struct arena *a, yyjson_val *root) {
    yyjson_mut_doc *doc = yyjson_mut_doc_new(json_arena_alc(a));
    CHECK(doc);
    if (root) yyjson_mut_doc_set_root(doc, yyjson_val_mut_copy(doc, root));
    return doc;
}

/* 0: as it is; 1: \u00xx; 2: look closer; otherwise the letter after the backslash. */
static const unsigned char escape_of[256] = {
    [0] = 1, 1, 1, 1, 1, 1, 1, 1, 'b', 't', 'n', 1, 'f', 'r', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ['"'] = '"', ['\\'] = '\\', ['<'] = 1, ['>'] = 1, ['&'] = 1, [0xc0] = 2, [0xe2] = 2,
};

/* The escaped form of what begins at p into text (at most 7 bytes); *used is how many bytes it stands for, 0 when nothing need be escaped. */
static size_t escape(const unsigned char *p, const unsigned char *end, char text[8], size_t *used) {
    unsigned char e = escape_of[*p];
    *used = 1;
    if (e == 1) return (size_t)snprintf(text, 8, "\\u%04x", *p);
    if (e != 2) {
        text[0] = '\\';
        text[1] = (char)e;
        return 2;
    }
    if (p[0] == 0xe2 && end - p >= 3 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
        *used = 3;
        return (size_t)snprintf(text, 8, "\\u202%x", p[2] & 0xf);
    }
    if (p[0] == 0xc0 && end - p >= 2 && p[1] == 0x80) {
        *used = 2;
        return (size_t)snprintf(text, 8, "\\u0000");
    }
    *used = 0;
    return 0;
}

void json_write_string_n(struct buf *out, const char *s, size_t len) {
    const unsigned char *p = (const unsigned char *)s, *end = p + len, *from = p;
    buf_reserve(out, len + 2);
    buf_append_char(out, '"');
    while (p < end) {
        p += span_unescaped((const char *)p, (size_t)(end - p));
        for (const unsigned char *next = end - p > 16 ? p + 16 : end; p < next;) {
            char text[8];
            size_t used = 0, n = escape_of[*p] ? escape(p, end, text, &used) : 0;
            if (!used) {
                p++;
                continue;
            }
            buf_append(out, from, (size_t)(p - from));
            buf_append(out, text, n);
            from = p += used;
        }
    }
    buf_append(out, from, (size_t)(end - from));
    buf_append_char(out, '"');
}

void json_write_string(struct buf *out, const char *s) { json_write_string_n(out, s ? s : "", s ? strlen(s) : 0); }

/* As Go: the shortest digits that read back the same, an exponent below 1e-6 and from 1e21 on, written without a leading zero. */
void json_write_double(struct buf *out, double v) {
    char text[40];
    double a = fabs(v);
    if (v == 0) {
        buf_append_str(out, signbit(v) ? "-0" : "0");
        return;
    }
    int digits = 1;
    for (; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, v);
        if (strtod(text, NULL) == v) break;
    }
    char *e = strchr(text, 'e');
    int exp = (int)strtol(e + 1, NULL, 10);
    if (a < 1e-6 || a >= 1e21) buf_printf(out, "%.*se%c%d", (int)(e - text), text, exp < 0 ? '-' : '+', abs(exp));
    else buf_printf(out, "%.*f", MAX(0, digits - 1 - exp), v);
}

static const char base64_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *out, const unsigned char *p, size_t len, const char *chars, bool pad) {
    buf_reserve(out, len * 4 / 3 + 4);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < len ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < len ? p[i + 2] : 0);
        char four[4] = {chars[v >> 18], chars[v >> 12 & 63], chars[v >> 6 & 63], chars[v & 63]};
        size_t n = MIN(len - i, (size_t)3) + 1;
        buf_append(out, four, n);
        if (pad) buf_append(out, "==", 4 - n);
    }
}

void base64_encode(struct buf *out, const unsigned char *data, size_t len) { encode(out, data, len, base64_chars, true); }
void base64url_encode(struct buf *out, const unsigned char *data, size_t len) { encode(out, data, len, base64url_chars, false); }

void json_write_base64(struct buf *out, const unsigned char *data, size_t len) {
    buf_append_char(out, '"');
    base64_encode(out, data, len);
    buf_append_char(out, '"');
}

static int decode(struct arena *a, const char *text, size_t len, const char *chars, bool pad, unsigned char **ret, size_t *ret_len, struct status *reterr) {
    unsigned char *out = arena_alloc(a, len / 4 * 3 + 4);
    size_t n = 0, quantum = 0, padding = 0;
    uint32_t v = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '\n' || c == '\r') continue;
        const char *at = c && !padding ? strchr(chars, c) : NULL;
        if (c == '=' && pad && quantum >= 2 && padding + quantum < 4) {
            padding++;
            continue;
        }
        if (!at) return status_bad_request(reterr, "illegal base64 data at input byte %zu", i);
        v = v << 6 | (uint32_t)(at - chars);
        if (++quantum < 4) continue;
        out[n++] = (unsigned char)(v >> 16);
        out[n++] = (unsigned char)(v >> 8);
        out[n++] = (unsigned char)v;
        quantum = 0;
        v = 0;
    }
    if (quantum == 1 || (pad && quantum && quantum + padding != 4)) return status_bad_request(reterr, "illegal base64 data at input byte %zu", len);
    if (quantum == 2) out[n++] = (unsigned char)(v >> 4);
    if (quantum == 3) {
        out[n++] = (unsigned char)(v >> 10);
        out[n++] = (unsigned char)(v >> 2);
    }
    *ret = out;
    *ret_len = n;
    return 0;
}

int base64_decode(struct arena *a, const char *text, size_t len, unsigned char **ret, size_t *ret_len, struct status *reterr) {
    return decode(a, text, len, base64_chars, true, ret, ret_len, reterr);
}

int base64url_decode(struct arena *a, const char *text, size_t len, unsigned char **ret, size_t *ret_len, struct status *reterr) {
    return decode(a, text, len, base64url_chars, false, ret, ret_len, reterr);
}

void json_write_value(struct buf *out, yyjson_val *v) {
    size_t i, max;
    yyjson_val *key, *item;
    switch (yyjson_get_type(v)) {
        case YYJSON_TYPE_RAW: buf_append(out, yyjson_get_raw(v), yyjson_get_len(v)); break;
        case YYJSON_TYPE_BOOL: buf_append_str(out, yyjson_get_bool(v) ? "true" : "false"); break;
        case YYJSON_TYPE_NUM:
            if (yyjson_is_uint(v)) buf_append_u64(out, yyjson_get_uint(v));
            else if (yyjson_is_sint(v)) buf_append_i64(out, yyjson_get_sint(v));
            else json_write_double(out, yyjson_get_real(v));
            break;
        case YYJSON_TYPE_STR: json_write_string_n(out, yyjson_get_str(v), yyjson_get_len(v)); break;
        case YYJSON_TYPE_ARR:
            buf_append_char(out, '[');
            yyjson_arr_foreach(v, i, max, item) {
                if (i) buf_append_char(out, ',');
                json_write_value(out, item);
            }
            buf_append_char(out, ']');
            break;
        case YYJSON_TYPE_OBJ:
            buf_append_char(out, '{');
            yyjson_obj_foreach(v, i, max, key, item) {
                if (i) buf_append_char(out, ',');
                json_write_string_n(out, yyjson_get_str(key), yyjson_get_len(key));
                buf_append_char(out, ':');
                json_write_value(out, item);
            }
            buf_append_char(out, '}');
            break;
        default: buf_append_str(out, "null");
    }
}

/* The two kinds of value differ in type only; going through an immutable copy costs less than it looks, since bodies are small. */
void json_write_mut(struct buf *out, yyjson_mut_val *v) {
    yyjson_doc *doc = yyjson_mut_val_imut_copy(v, NULL);
    CHECK(doc || !v);
    json_write_value(out, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
}

static int by_key(const void *x, const void *y) { return strcmp(yyjson_get_str(*(yyjson_val *const *)x), yyjson_get_str(*(yyjson_val *const *)y)); }

void json_print_go(struct arena *a, yyjson_val *v, struct buf *out) {
    size_t i, max;
    yyjson_val *key, *val;
    if (yyjson_is_obj(v)) {
        yyjson_val **keys = arena_calloc(a, yyjson_obj_size(v) + 1, sizeof(*keys));
        yyjson_obj_foreach(v, i, max, key, val) keys[i] = key;
        qsort(keys, yyjson_obj_size(v), sizeof(*keys), by_key);
        buf_append_str(out, "map[");
        for (i = 0; i < yyjson_obj_size(v); i++) {
            buf_printf(out, "%s%s:", i ? " " : "", yyjson_get_str(keys[i]));
            json_print_go(a, unsafe_yyjson_get_next(keys[i]), out);
        }
        buf_append_char(out, ']');
    } else if (yyjson_is_arr(v)) {
        buf_append_char(out, '[');
        yyjson_arr_foreach(v, i, max, val) {
            if (i) buf_append_char(out, ' ');
            json_print_go(a, val, out);
        }
        buf_append_char(out, ']');
    } else if (yyjson_is_null(v)) buf_append_str(out, "<nil>");
    else if (yyjson_is_str(v)) buf_append_str(out, yyjson_get_str(v));
    else json_write_value(out, v);
}
