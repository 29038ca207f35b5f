/* Values as YAML, in the style of upstream's writer (libyaml's emitter at 80 columns): maps by key, lists not indented below their key, strings plain where they read back
 * as themselves, single-quoted where plain text would be taken for something of YAML's own, double-quoted where it would be another type or holds what cannot be
 * shown, and as a literal block where they have several lines. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

enum { WIDTH = 80, SIMPLE_KEY_MAX = 128, INDENT = 2 };
enum style { STYLE_PLAIN, STYLE_SINGLE, STYLE_DOUBLE, STYLE_LITERAL };

struct writer { struct buf *out; int column; };

/* A code point and its length in bytes; a byte that belongs to none stands for itself. */
static uint32_t point(const char *s, size_t len, size_t i, size_t *ret_len) {
    unsigned char c = (unsigned char)s[i];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 1;
    if (i + n > len) n = 1;
    *ret_len = n;
    uint32_t v = n == 1 ? c : n == 2 ? c & 0x1fu : n == 3 ? c & 0xfu : c & 7u;
    for (size_t k = 1; k < n; k++) v = v << 6 | ((unsigned char)s[i + k] & 0x3fu);
    return v;
}

static bool printable(uint32_t v) { return v == '\n' || (v >= 0x20 && v <= 0x7e) || (v >= 0xa0 && v < 0xd800) || (v >= 0xe000 && v <= 0xfffd && v != 0xfeff); }
static bool is_break(uint32_t v) { return v == '\n' || v == '\r' || v == 0x85 || v == 0x2028 || v == 0x2029; }
static bool is_blank(const char *s, size_t len, size_t i) { return i >= len || s[i] == ' ' || s[i] == '\t'; }

struct analysis { bool multiline, plain, single, block; };

/* Which styles a string can be written in (in block context). Upstream: yaml_emitter_analyze_scalar. */
static struct analysis analyze(const char *s, size_t len) {
    struct analysis a = {false, true, true, true};
    bool previous_space = false, previous_break = false, blank_before = true, special = false, space_break = false, break_space = false, indicator = false;
    if (len == 0) return (struct analysis){false, true, true, false};
    if (len >= 3 && (memcmp(s, "---", 3) == 0 || memcmp(s, "...", 3) == 0)) indicator = true;
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t v = point(s, len, i, &n);
        bool blank_after = is_blank(s, len, i + n), line = is_break(v);
        if (i == 0 && v < 0x80 && strchr("#,[]{}&*!|>'\"%@`", (int)v) && v) indicator = true;
        else if (i == 0 && (v == '?' || v == ':' || v == '-') && blank_after) indicator = true;
        else if (i && ((v == ':' && blank_after) || (v == '#' && blank_before))) indicator = true;
        if (!printable(v)) special = true;
        if (line) a.multiline = true;
        if (v == ' ') {
            if (i == 0 || i + 1 == len) a.plain = false;
            if (i + 1 == len) a.block = false;
            break_space |= previous_break;
        } else if (line) {
            if (i == 0 || i + n == len) a.plain = false;
            space_break |= previous_space;
        }
        previous_space = v == ' ';
        previous_break = line;
        blank_before = v == ' ' || v == '\t' || line;
    }
    if (break_space) a.plain = a.single = false;
    if (space_break || special) a.plain = a.single = a.block = false;
    if (a.multiline || indicator) a.plain = false;
    return a;
}

static enum style style_of(const char *s, size_t len, bool key) {
    struct analysis a = analyze(s, len);
    enum style style = memchr(s, '\n', len) ? STYLE_LITERAL : strlen(s) == len && yaml_is_string(s) ? STYLE_PLAIN : STYLE_DOUBLE;
    if (key && a.multiline) return STYLE_DOUBLE;
    if (style == STYLE_PLAIN && !a.plain) style = STYLE_SINGLE;
    if (style == STYLE_SINGLE && !a.single) style = STYLE_DOUBLE;
    if (style == STYLE_LITERAL && (!a.block || key)) style = STYLE_DOUBLE;
    return style;
}

static void put(struct writer *w, const char *text, size_t len, int columns) {
    buf_append(w->out, text, len);
    w->column += columns;
}

static void new_line(struct writer *w, int indent) {
    buf_append_char(w->out, '\n');
    for (int i = 0; i < indent; i++) buf_append_char(w->out, ' ');
    w->column = indent;
}

/* A plain or single-quoted string: a blank beyond the width becomes a line break, a line break two. */
static void put_flowing(struct writer *w, const char *s, size_t len, int indent, bool key, bool quoted) {
    bool spaces = false, breaks = false;
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t v = point(s, len, i, &n);
        if (v == ' ') {
            bool inside = !quoted || (i > 0 && i + 1 < len);
            if (!key && !spaces && w->column > WIDTH && inside && s[i + 1] != ' ') new_line(w, indent);
            else put(w, " ", 1, 1);
            spaces = true;
            continue;
        }
        if (is_break(v)) {
            if (!breaks && v == '\n') buf_append_char(w->out, '\n');
            buf_append(w->out, s + i, n);
            w->column = 0;
            breaks = true;
            continue;
        }
        if (breaks) {
            for (int k = 0; k < indent; k++) buf_append_char(w->out, ' ');
            w->column = indent;
        }
        if (quoted && v == '\'') put(w, "'", 1, 1);
        put(w, s + i, n, 1);
        spaces = breaks = false;
    }
}

static void put_escaped(struct writer *w, uint32_t v) {
    static const struct { uint32_t v; const char *text; } known[] = {{0, "\\0"}, {7, "\\a"}, {8, "\\b"}, {9, "\\t"}, {10, "\\n"}, {11, "\\v"}, {12, "\\f"}, {13, "\\r"}, {27, "\\e"}, {'"', "\\\""},
        {'\\', "\\\\"}, {0x85, "\\N"}, {0xa0, "\\_"}, {0x2028, "\\L"}, {0x2029, "\\P"}};
    size_t before = w->out->len;
    const char *text = NULL;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].v == v) text = known[i].text;
    if (text) buf_append_str(w->out, text);
    else if (v <= 0xff) buf_printf(w->out, "\\x%02X", v);
    else if (v <= 0xffff) buf_printf(w->out, "\\u%04X", v);
    else buf_printf(w->out, "\\U%08X", v);
    w->column += (int)(w->out->len - before);
}

static void put_double(struct writer *w, const char *s, size_t len, int indent, bool key) {
    bool spaces = false;
    put(w, "\"", 1, 1);
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t v = point(s, len, i, &n);
        if (v == ' ') {
            if (!key && !spaces && w->column > WIDTH && i > 0 && i + 1 < len) {
                new_line(w, indent);
                if (s[i + 1] == ' ') put(w, "\\", 1, 1);
            } else put(w, " ", 1, 1);
            spaces = true;
            continue;
        }
        if (!printable(v) || is_break(v) || v == '"' || v == '\\') put_escaped(w, v);
        else put(w, s + i, n, 1);
        spaces = false;
    }
    put(w, "\"", 1, 1);
}

/* The head says how far in the text stands when it begins with a blank, and what becomes of the line breaks at its end. */
static void put_literal(struct writer *w, const char *s, size_t len, int indent) {
    buf_append_char(w->out, '|');
    if (*s == ' ' || *s == '\n') buf_printf(w->out, "%d", INDENT);
    if (s[len - 1] != '\n') buf_append_char(w->out, '-');
    else if (len == 1 || s[len - 2] == '\n') buf_append_char(w->out, '+');
    for (const char *p = s, *end = s + len; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);
        buf_append_char(w->out, '\n');
        if (n) buf_printf(w->out, "%*s", indent, "");
        buf_append(w->out, p, n);
        p += n + 1;
    }
    w->column = 0;
}

/* `indent` is that of the lines that follow the first. */
static void put_string(struct writer *w, const char *s, size_t len, int indent, bool key) {
    switch (style_of(s, len, key)) {
        case STYLE_PLAIN: put_flowing(w, s, len, indent, key, false); break;
        case STYLE_SINGLE:
            put(w, "'", 1, 1);
            put_flowing(w, s, len, indent, key, true);
            put(w, "'", 1, 1);
            break;
        case STYLE_DOUBLE: put_double(w, s, len, indent, key); break;
        case STYLE_LITERAL: put_literal(w, s, len, indent); break;
    }
}

static int compare_keys(const void *a, const void *b) { return strcmp(yyjson_get_str(*(yyjson_val *const *)a), yyjson_get_str(*(yyjson_val *const *)b)); }

static void put_value(struct writer *w, yyjson_val *v, int indent, bool in_list);

static bool is_block(yyjson_val *v) { return (yyjson_is_obj(v) && yyjson_obj_size(v)) || (yyjson_is_arr(v) && yyjson_arr_size(v)); }

static void begin_line(struct writer *w, int indent) {
    buf_printf(w->out, "%*s", indent, "");
    w->column = indent;
}

static void put_entry(struct writer *w, yyjson_val *key, int indent) {
    yyjson_val *item = yyjson_obj_iter_get_val(key);
    bool simple = yyjson_get_len(key) <= SIMPLE_KEY_MAX;
    if (!simple) put(w, "? ", 2, 2);
    put_string(w, yyjson_get_str(key), yyjson_get_len(key), indent + INDENT, simple);
    if (!simple) new_line(w, indent);
    put(w, ":", 1, 1);
    if (is_block(item) && simple) buf_append_char(w->out, '\n');
    else put(w, " ", 1, 1);
    put_value(w, item, yyjson_is_arr(item) && simple ? indent : indent + INDENT, is_block(item) && !simple);
}

static void put_object(struct writer *w, yyjson_val *v, int indent, bool in_list) {
    size_t n = yyjson_obj_size(v), i, max;
    yyjson_val **keys = malloc(n * sizeof(*keys)), *key, *item;
    CHECK(keys);
    yyjson_obj_foreach(v, i, max, key, item) keys[i] = key;
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (i = 0; i < n; i++) {
        if (i || !in_list) begin_line(w, indent);
        put_entry(w, keys[i], indent);
    }
    free(keys);
}

/* `indent`: where a block begins; the lines of a string stand there too. `in_list`: the first line has begun. */
static void put_value(struct writer *w, yyjson_val *v, int indent, bool in_list) {
    size_t i, max;
    yyjson_val *item;
    if (yyjson_is_obj(v) && yyjson_obj_size(v)) {
        put_object(w, v, indent, in_list);
        return;
    }
    if (yyjson_is_arr(v) && yyjson_arr_size(v)) {
        yyjson_arr_foreach(v, i, max, item) {
            if (i || !in_list) begin_line(w, indent);
            put(w, "- ", 2, 2);
            put_value(w, item, indent + INDENT, true);
        }
        return;
    }
    if (yyjson_is_obj(v)) buf_append_str(w->out, "{}");
    else if (yyjson_is_str(v)) put_string(w, yyjson_get_str(v), yyjson_get_len(v), indent, false);
    else json_write_value(w->out, v);
    buf_append_char(w->out, '\n');
    w->column = 0;
}

void yaml_write(struct buf *out, yyjson_val *root) {
    struct writer w = {out, 0};
    put_value(&w, root, 0, false);
}
