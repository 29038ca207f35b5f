/* libfyaml parses; which scalar is a number, a boolean or null is decided here, since clients rely on YAML 1.1's rules. */
#include "wire/yaml.h"
#include <errno.h>
#include <libfyaml.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "base/str.h"
#include "wire/json.h"

enum { DEPTH_MAX = 200, NODES_MAX = 200000 };

struct converter {
    struct fy_document *doc;
    struct buf *out;
    char **duplicate;
    struct status *err;
    size_t nodes;
    int depth;
    bool bad_key; /* a key that JSON cannot have: null, a list, a map */
};

static bool is_word(const char *s, const char *const *words) {
    for (; *words; words++)
        if (strcmp(s, *words) == 0) return true;
    return false;
}

/* YAML 1.1 integers: decimal, 0x, 0b, 0o and plain leading 0 for octal, with underscores. */
static bool as_integer(const char *s, struct buf *out) {
    char digits[80];
    size_t n = 0;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    if (*s < '0' || *s > '9') return false;
    for (const char *p = s; *p; p++) {
        if (*p == '_') continue;
        if (n + 1 >= sizeof(digits)) return false;
        digits[n++] = *p;
    }
    digits[n] = 0;
    int base = 10;
    const char *from = digits;
    if (digits[0] == '0' && n > 1) {
        base = digits[1] == 'x' || digits[1] == 'X' ? 16 : digits[1] == 'b' || digits[1] == 'B' ? 2 : 8;
        from += base != 8 ? 2 : digits[1] == 'o' || digits[1] == 'O' ? 2 : 1;
    }
    char *end;
    errno = 0;
    unsigned long long v = strtoull(from, &end, base);
    if (!*from || *end || errno) return false;
    buf_printf(out, "%s%llu", negative ? "-" : "", v);
    return true;
}

static bool as_float(const char *s, struct buf *out) {
    char text[80];
    size_t n = 0;
    bool digit = false, mark = false;
    for (const char *p = s; *p; p++) {
        if (*p == '_') continue;
        if (!strchr("0123456789.eE+-", *p) || n + 1 >= sizeof(text)) return false;
        digit |= *p >= '0' && *p <= '9';
        mark |= *p == '.' || *p == 'e' || *p == 'E';
        text[n++] = *p;
    }
    text[n] = 0;
    char *end;
    double v = strtod(text, &end);
    if (!digit || !mark || *end || strchr("eE", text[0]) || !isfinite(v)) return false; /* beyond the range: a string, as in Go */
    json_write_double(out, v);
    return true;
}

static void put_plain_scalar(struct converter *c, const char *s) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL};
    static const char *const falses[] = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", NULL};
    if (is_word(s, nulls)) buf_append_str(c->out, "null");
    else if (is_word(s, trues)) buf_append_str(c->out, "true");
    else if (is_word(s, falses)) buf_append_str(c->out, "false");
    else if (!as_integer(s, c->out) && !as_float(s, c->out)) json_write_string(c->out, s);
}

/* Piece by piece: where libfyaml 0.7 makes a text of its own of many pieces (lines, quotes) it loses the list of them, a kilobyte and more each time (fuzz_yaml found it). */
static char *scalar_text(struct fy_node *n) {
    struct fy_token *token = fy_node_get_scalar_token(n);
    struct fy_token_iter *it = token ? fy_token_iter_create(token) : NULL;
    const struct fy_iter_chunk *chunk = NULL;
    struct buf text = BUF_INIT;
    int err = 0;
    while (it && (chunk = fy_token_iter_chunk_next(it, chunk, &err))) buf_append(&text, chunk->str, chunk->len);
    if (it) fy_token_iter_destroy(it);
    return buf_steal(&text);
}

static bool is_quoted(struct fy_node *n) {
    enum fy_node_style style = fy_node_get_style(n);
    return style == FYNS_SINGLE_QUOTED || style == FYNS_DOUBLE_QUOTED || style == FYNS_LITERAL || style == FYNS_FOLDED;
}

static int put_node(struct converter *c, struct fy_node *n);

/* A key's text: JSON keys are strings, so `yes: 1` has the key "true", as upstream's conversion makes it. */
static char *key_text(struct converter *c, struct fy_node *key) {
    char *text = scalar_text(key);
    if (is_quoted(key)) return text;
    struct buf plain = BUF_INIT;
    struct converter inner = *c;
    inner.out = &plain;
    put_plain_scalar(&inner, text);
    if (plain.data && plain.data[0] != '"') {
        free(text);
        return buf_steal(&plain);
    }
    buf_release(&plain);
    return text;
}

struct entry { char *key; struct fy_node *value; };
struct entries { struct entry *items; size_t len; };

/* The line that a node's first scalar is on, from 1; 0 when there is none to tell. */
static int line_of(struct fy_node *n) {
    for (int depth = 0; n && depth < DEPTH_MAX && fy_node_get_type(n) != FYNT_SCALAR; depth++)
        n = fy_node_get_type(n) == FYNT_SEQUENCE ? fy_node_sequence_get_by_index(n, 0) : fy_node_pair_key(fy_node_mapping_get_by_index(n, 0));
    struct fy_token *token = n ? fy_node_get_scalar_token(n) : NULL;
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    return mark ? mark->line + 1 : 0;
}

/* A duplicate key, in the words of upstream's YAML reader: strings are quoted, other keys are not. */
static void report_duplicate(struct converter *c, const char *key, struct fy_node *key_node, struct fy_node *value) {
    if (!c->duplicate) return;
    struct buf out = BUF_INIT;
    if (*c->duplicate) buf_printf(&out, "%s\n  ", *c->duplicate);
    free(*c->duplicate);
    int line = line_of(value);
    char *raw = scalar_text(key_node);
    bool string = is_quoted(key_node) || strcmp(raw, key) == 0;
    if (string && !is_quoted(key_node) && strspn(key, "0123456789.+-") == strlen(key)) string = false;
    if (string && (strcmp(key, "true") == 0 || strcmp(key, "false") == 0) && !is_quoted(key_node)) string = false;
    buf_printf(&out, "line %d: key %s%s%s already set in map", line ? line : line_of(key_node), string ? "\"" : "", key, string ? "\"" : "");
    free(raw);
    *c->duplicate = buf_steal(&out);
}

static void add_entry(struct converter *c, struct entries *e, char *key, struct fy_node *key_node, struct fy_node *value, bool merged) {
    for (size_t i = 0; i < e->len; i++) {
        if (strcmp(e->items[i].key, key) != 0) continue;
        if (!merged) {
            report_duplicate(c, key, key_node, value);
            e->items[i].value = value;
        }
        free(key);
        return;
    }
    e->items = realloc(e->items, (e->len + 1) * sizeof(*e->items));
    CHECK(e->items);
    e->items[e->len++] = (struct entry){key, value};
}

static struct fy_node *follow(struct converter *c, struct fy_node *n) {
    for (int i = 0; n && fy_node_is_alias(n) && i < 32; i++) n = fy_node_resolve_alias(n);
    (void)c;
    return n;
}

static void gather(struct converter *c, struct fy_node *map, struct entries *e, bool merged, int depth) {
    void *it = NULL;
    struct fy_node_pair *pair;
    struct fy_node *merge = NULL;
    if (!map || depth > 20 || fy_node_get_type(map) != FYNT_MAPPING) return;
    while ((pair = fy_node_mapping_iterate(map, &it)) && ++c->nodes < NODES_MAX) {
        struct fy_node *key = follow(c, fy_node_pair_key(pair)), *value = fy_node_pair_value(pair);
        char *raw = key ? scalar_text(key) : strdup("");
        if (key && strcmp(raw, "<<") == 0 && !is_quoted(key)) merge = value;
        else {
            char *text = key && fy_node_get_type(key) == FYNT_SCALAR ? key_text(c, key) : NULL;
            if (text && !(strcmp(text, "null") == 0 && !is_quoted(key))) add_entry(c, e, text, key, value, merged);
            else {
                c->bad_key = true;
                free(text);
            }
        }
        free(raw);
    }
    merge = follow(c, merge);
    if (!merge) return;
    if (fy_node_get_type(merge) == FYNT_SEQUENCE) {
        it = NULL;
        for (struct fy_node *item; (item = fy_node_sequence_iterate(merge, &it));) gather(c, follow(c, item), e, true, depth + 1);
    } else gather(c, merge, e, true, depth + 1);
}

static int put_mapping(struct converter *c, struct fy_node *n) {
    struct entries e = {0};
    int r = 0;
    gather(c, n, &e, false, 0);
    buf_append_char(c->out, '{');
    for (size_t i = 0; i < e.len; i++) {
        if (i) buf_append_char(c->out, ',');
        json_write_string(c->out, e.items[i].key);
        buf_append_char(c->out, ':');
        if (r == 0) r = put_node(c, e.items[i].value);
        free(e.items[i].key);
    }
    free(e.items);
    buf_append_char(c->out, '}');
    return r;
}

static int put_sequence(struct converter *c, struct fy_node *n) {
    void *it = NULL;
    bool first = true;
    buf_append_char(c->out, '[');
    for (struct fy_node *item; (item = fy_node_sequence_iterate(n, &it));) {
        if (!first) buf_append_char(c->out, ',');
        first = false;
        if (put_node(c, item) != 0) return -1;
    }
    buf_append_char(c->out, ']');
    return 0;
}

/* !!binary: the text that its base64 stands for. */
static int put_binary(struct converter *c, const char *text) {
    _cleanup_arena_ struct arena *a = arena_new();
    size_t len = strlen(text), n = 0, bytes_len;
    char *packed = arena_alloc(a, len + 1);
    unsigned char *bytes;
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r\n", text[i])) packed[n++] = text[i];
    if (base64_decode(a, packed, n, &bytes, &bytes_len, NULL) != 0) return status_bad_request(c->err, "error converting YAML to JSON: yaml: !!binary value contains invalid base64 data");
    json_write_string_n(c->out, (const char *)bytes, bytes_len);
    return 0;
}

static const char *const not_finite[] = {".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", NULL};

static int put_node(struct converter *c, struct fy_node *n) {
    bool named = n && fy_node_is_alias(n);
    n = follow(c, n);
    if (!n) {
        if (named) return status_bad_request(c->err, "error converting YAML to JSON: yaml: unknown anchor referenced");
        buf_append_str(c->out, "null");
        return 0;
    }
    if (++c->nodes > NODES_MAX || c->depth > DEPTH_MAX) return status_bad_request(c->err, "yaml: document contains excessive aliasing");
    int r = 0;
    c->depth++;
    switch (fy_node_get_type(n)) {
        case FYNT_MAPPING: r = put_mapping(c, n); break;
        case FYNT_SEQUENCE: r = put_sequence(c, n); break;
        case FYNT_SCALAR: {
            char *text = scalar_text(n);
            size_t tag_len = 0;
            const char *tag = fy_node_get_tag(n, &tag_len);
            bool str_tag = tag && tag_len >= 4 && memcmp(tag + tag_len - 4, ":str", 4) == 0, binary = tag && tag_len >= 7 && memcmp(tag + tag_len - 7, ":binary", 7) == 0;
            if (binary) r = put_binary(c, text);
            else if (is_quoted(n) || str_tag) json_write_string(c->out, text);
            else if (is_word(text, not_finite)) r = status_bad_request(c->err, "error converting YAML to JSON: json: unsupported value: %s", strcasestr(text, "nan") ? "NaN" : *text == '-' ? "-Inf" : "+Inf");
            else put_plain_scalar(c, text);
            free(text);
            break;
        }
    }
    c->depth--;
    return r;
}

/* Length of the UTF-8 sequence at p, or 0 if it is none. */
static size_t utf8_len(const unsigned char *p, size_t left) {
    size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;
    if (n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n;
}

/* What must not reach the parser: it loops for ever on some of it. Upstream's reader refuses the same, in these words. */
static int check_characters(const char *text, size_t len, struct status *reterr) {
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    bool before = true; /* the document: only there is a line that begins with % a directive */
    for (size_t n; p < end; p += n) {
        if (!(n = utf8_len(p, (size_t)(end - p)))) return status_bad_request(reterr, "error converting YAML to JSON: yaml: invalid leading UTF-8 octet");
        if ((*p < 0x20 && *p != '\t' && *p != '\n' && *p != '\r') || *p == 0x7f) return status_bad_request(reterr, "error converting YAML to JSON: yaml: control characters are not allowed");
        bool at_line = p == (const unsigned char *)text || p[-1] == '\n' || p[-1] == '\r';
        before = before && (!at_line || strchr("%#\r\n", *p));
        if (before && at_line && *p == '%' && (end - p < 5 || (memcmp(p, "%YAML", 5) != 0 && memcmp(p, "%TAG ", 5) != 0)))
            return status_bad_request(reterr, "error converting YAML to JSON: yaml: found unknown directive name");
    }
    return 0;
}

/* The parser would print its errors with the text that they are about, which may be a secret. */
static void discard(struct fy_diag *diag UNUSED, void *user UNUSED, const char *text UNUSED, size_t len UNUSED) {}

int yaml_to_json(const char *text, size_t len, struct buf *out, char **ret_duplicate, struct status *reterr) {
    if (check_characters(text, len, reterr) != 0) return -1;
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = discard;
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    fy_diag_set_collect_errors(diag, true); /* to show an error where it is, libfyaml 0.7 reads beside the text (fuzz_audit_policy found it): collected ones are not shown */
    struct fy_parse_cfg cfg = {.diag = diag, .flags = FYPCF_QUIET | FYPCF_ALLOW_DUPLICATE_KEYS | FYPCF_DEFAULT_VERSION_1_1 | FYPCF_SLOPPY_FLOW_INDENTATION};
    struct fy_parser *p = fy_parser_create(&cfg);
    CHECK(p);
    struct fy_document *doc = NULL;
    if (fy_parser_set_string(p, text, len) == 0) doc = fy_parse_load_document(p);
    int r = 0;
    if (!doc) {
        bool failed = fy_parser_get_stream_error(p);
        r = failed ? status_bad_request(reterr, "error converting YAML to JSON: yaml: could not parse the document") : 0;
        if (!failed) buf_append_str(out, "null");
    } else {
        struct converter c = {.doc = doc, .out = out, .duplicate = ret_duplicate, .err = reterr};
        r = put_node(&c, fy_document_root(doc));
        if (r == 0 && c.bad_key) r = status_bad_request(reterr, "error converting YAML to JSON: unsupported map key");
        fy_parse_document_destroy(p, doc);
    }
    fy_diag_reset_error(diag); /* lets the collected go: they hold on to the parser's tokens */
    fy_parser_destroy(p);
    fy_diag_unref(diag);
    return r;
}

/* ---- for the writer ---- */

static bool all_in(const char *s, size_t len, const char *set) { return strspn(s, set) >= len; }

/* 2026-11-27, also with one digit for month or day, and with a time behind it. */
static bool is_date(const char *s) {
    size_t year = strspn(s, "0123456789");
    if (year != 4 || s[4] != '-') return false;
    const char *p = s + 5;
    size_t month = strspn(p, "0123456789");
    if (month < 1 || month > 2 || p[month] != '-') return false;
    p += month + 1;
    size_t day = strspn(p, "0123456789");
    if (day < 1 || day > 2) return false;
    p += day;
    if (!*p) return true;
    return strchr("Tt ", *p) && strchr(p, ':') && p[1] >= '0' && p[1] <= '9' && all_in(p + 1, strlen(p + 1), "0123456789:.Z+-");
}

/* YAML 1.1's 190:20:30. */
static bool is_base_60(const char *s) {
    if (*s == '-' || *s == '+') s++;
    if (*s < '0' || *s > '9' || !strchr(s, ':')) return false;
    s += strspn(s, "0123456789_");
    while (*s == ':') {
        size_t n = strspn(s + 1, "0123456789");
        if (n < 1 || n > 2 || (n == 2 && s[1] > '5')) return false;
        s += 1 + n;
    }
    if (*s == '.') s += 1 + strspn(s + 1, "0123456789_");
    return !*s;
}

bool yaml_is_string(const char *s) {
    _cleanup_buf_ struct buf json = BUF_INIT;
    struct converter c = {.out = &json};
    if (is_word(s, not_finite) || is_date(s) || is_base_60(s)) return false;
    put_plain_scalar(&c, s);
    return json.len && json.data[0] == '"';
}
