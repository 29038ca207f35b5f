/* Values for apply: see value.h. Touches nothing but its arguments; any thread. Tests: tests/unit/test_apply.c. */
#include "api/value.h"
#include <stdlib.h>
#include <string.h>
#include "api/object.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

struct value value_string(const char *s) {
    s = s ? s : "";
    return (struct value){.kind = VALUE_STRING, .len = (uint32_t)strlen(s), .s = s};
}

static struct value value_int(int64_t i) { return (struct value){.kind = VALUE_INT, .i = i}; }

/* ---- from JSON ---- */

static int compare_members(const void *x, const void *y) { return strcmp(((const struct value_member *)x)->name, ((const struct value_member *)y)->name); }

/* In order already is the common case; a merge sort keeps duplicates in their order (glibc's qsort is one for small arrays, but does not promise it). */
static size_t sort_members(struct value_member *m, size_t n) {
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++) sorted = strcmp(m[i - 1].name, m[i].name) < 0;
    if (sorted) return n;
    qsort(m, n, sizeof(*m), compare_members);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept && strcmp(m[kept - 1].name, m[i].name) == 0) kept--;
        m[kept++] = m[i];
    }
    return kept;
}

static struct value map_from_json(struct arena *a, yyjson_val *v) {
    size_t n = yyjson_obj_size(v), i, max, at = 0;
    struct value_member *m = arena_calloc(a, n, sizeof(*m));
    yyjson_val *k, *e;
    yyjson_obj_foreach(v, i, max, k, e) m[at++] = (struct value_member){yyjson_get_str(k), value_from_json(a, e)};
    return (struct value){.kind = VALUE_MAP, .len = (uint32_t)sort_members(m, n), .members = m};
}

static struct value list_from_json(struct arena *a, yyjson_val *v) {
    size_t n = yyjson_arr_size(v), i, max;
    struct value *items = arena_calloc(a, n, sizeof(*items));
    yyjson_val *e;
    yyjson_arr_foreach(v, i, max, e) items[i] = value_from_json(a, e);
    return (struct value){.kind = VALUE_LIST, .len = (uint32_t)n, .items = items};
}

struct value value_from_json(struct arena *a, yyjson_val *v) {
    switch (yyjson_get_type(v)) {
        case YYJSON_TYPE_BOOL: return (struct value){.kind = VALUE_BOOL, .b = yyjson_get_bool(v)};
        case YYJSON_TYPE_STR: return (struct value){.kind = VALUE_STRING, .len = (uint32_t)yyjson_get_len(v), .s = yyjson_get_str(v)};
        case YYJSON_TYPE_ARR: return list_from_json(a, v);
        case YYJSON_TYPE_OBJ: return map_from_json(a, v);
        case YYJSON_TYPE_NUM:
            if (yyjson_is_real(v)) return (struct value){.kind = VALUE_FLOAT, .f = yyjson_get_real(v)};
            if (yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX) return (struct value){.kind = VALUE_FLOAT, .f = (double)yyjson_get_uint(v)};
            return value_int(yyjson_get_sint(v));
        default: return (struct value){.kind = VALUE_NULL};
    }
}

/* ---- from typed objects ---- */

static struct value value_from_bytes(struct arena *a, const struct bytes *b) {
    if (!b->data) return (struct value){.kind = VALUE_NULL};
    _cleanup_buf_ struct buf text = BUF_INIT;
    base64_encode(&text, b->data, b->len);
    return value_string(arena_strndup(a, buf_cstr(&text), text.len));
}

static struct value value_from_time(struct arena *a, const struct field_desc *f, const struct api_time *t) {
    if (!t->set) return (struct value){.kind = VALUE_NULL};
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (f->kind == FK_TIME) time_format(t, &text);
    else micro_time_format(t, &text);
    return value_string(arena_strndup(a, text.data, text.len));
}

static struct value value_from_raw(struct arena *a, const struct raw_json *r) {
    yyjson_doc *doc = r->data ? json_parse_in(a, r->data, r->len, 0, NULL) : NULL;
    return value_from_json(a, yyjson_doc_get_root(doc));
}

static struct value value_from_strings(struct arena *a, const struct string_list *list) {
    if (!list->items) return (struct value){.kind = VALUE_NULL};
    struct value *items = arena_calloc(a, list->len, sizeof(*items));
    for (size_t i = 0; i < list->len; i++) items[i] = value_string(list->items[i]);
    return (struct value){.kind = VALUE_LIST, .len = (uint32_t)list->len, .items = items};
}

static struct value from_plain(struct arena *a, const struct field_desc *f, const void *at) {
    switch ((enum field_kind)f->kind) {
        case FK_STRING: return value_string(*(const char *const *)at);
        case FK_BOOL: return (struct value){.kind = VALUE_BOOL, .b = *(const bool *)at};
        case FK_INT32: return value_int(*(const int32_t *)at);
        case FK_INT64: return value_int(*(const int64_t *)at);
        case FK_DOUBLE: return (struct value){.kind = VALUE_FLOAT, .f = *(const double *)at};
        case FK_BYTES: return value_from_bytes(a, at);
        case FK_TIME: case FK_MICROTIME: return value_from_time(a, f, at);
        case FK_QUANTITY: return value_string(str_or(*(const char *const *)at, "0"));
        case FK_INTORSTRING: {
            const struct int_or_string *v = at;
            return v->kind == INTSTR_STRING ? value_string(v->s) : value_int(v->i);
        }
        case FK_RAW: return value_from_raw(a, at);
        case FK_STRUCT: return value_from_object(a, f->type, at);
        case FK_STRING_LIST: return value_from_strings(a, at);
    }
    return (struct value){.kind = VALUE_NULL};
}

static struct value from_pointer(struct arena *a, const struct field_desc *f, const void *at) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: return from_plain(a, f, &((const struct opt_bool *)at)->value);
        case FK_INT32: return from_plain(a, f, &((const struct opt_int32 *)at)->value);
        case FK_INT64: return from_plain(a, f, &((const struct opt_int64 *)at)->value);
        case FK_DOUBLE: return from_plain(a, f, &((const struct opt_double *)at)->value);
        case FK_STRUCT: return from_plain(a, f, *(const void *const *)at);
        default: return from_plain(a, f, at);
    }
}

static struct value from_list(struct arena *a, const struct field_desc *f, const struct any_list *list) {
    if (!list->items) return (struct value){.kind = VALUE_NULL};
    struct value *items = arena_calloc(a, list->len, sizeof(*items));
    for (size_t i = 0; i < list->len; i++) items[i] = from_plain(a, f, (const char *)list->items + i * f->item_size);
    return (struct value){.kind = VALUE_LIST, .len = (uint32_t)list->len, .items = items};
}

static struct value from_map(struct arena *a, const struct field_desc *f, const struct any_list *map) {
    if (!map->items) return (struct value){.kind = VALUE_NULL};
    struct value_member *m = arena_calloc(a, map->len, sizeof(*m));
    for (size_t i = 0; i < map->len; i++) {
        const char *entry = (const char *)map->items + i * f->item_size;
        m[i] = (struct value_member){*(const char *const *)(const void *)entry, from_plain(a, f, entry + sizeof(char *))};
    }
    return (struct value){.kind = VALUE_MAP, .len = (uint32_t)map->len, .members = m};
}

struct value value_from_object(struct arena *a, const struct type_desc *type, const void *obj) {
    uint32_t there = 0, n = 0;
    for (size_t i = 0; i < type->fields_len; i++) there += !object_field_left_out(&type->fields[i], (const char *)obj + type->fields[i].offset);
    struct value_member *m = arena_calloc(a, there, sizeof(*m));
    for (size_t i = 0; i < type->fields_len && n < there; i++) {
        const struct field_desc *f = &type->fields[type->by_name[i]];
        const void *at = (const char *)obj + f->offset;
        if (object_field_left_out(f, at)) continue;
        m[n++].name = f->name;
        struct value *v = &m[n - 1].value;
        switch ((enum field_shape)f->shape) {
            case SHAPE_PLAIN: *v = from_plain(a, f, at); break;
            case SHAPE_POINTER: *v = object_field_is_nil(f, at) ? (struct value){.kind = VALUE_NULL} : from_pointer(a, f, at); break;
            case SHAPE_LIST: *v = from_list(a, f, at); break;
            case SHAPE_MAP: *v = from_map(a, f, at); break;
        }
    }
    return (struct value){.kind = VALUE_MAP, .len = n, .members = m};
}

/* ---- out again ---- */

void value_write_json(struct buf *out, const struct value *v) {
    switch ((enum value_kind)v->kind) {
        case VALUE_NULL: buf_append_str(out, "null"); break;
        case VALUE_BOOL: buf_append_str(out, v->b ? "true" : "false"); break;
        case VALUE_INT: buf_append_i64(out, v->i); break;
        case VALUE_FLOAT: json_write_double(out, v->f); break;
        case VALUE_STRING: json_write_string_n(out, v->s, v->len); break;
        case VALUE_LIST:
            buf_append_char(out, '[');
            for (uint32_t i = 0; i < v->len; i++) {
                if (i) buf_append_char(out, ',');
                value_write_json(out, &v->items[i]);
            }
            buf_append_char(out, ']');
            break;
        case VALUE_MAP:
            buf_append_char(out, '{');
            for (uint32_t i = 0; i < v->len; i++) {
                if (i) buf_append_char(out, ',');
                json_write_string(out, v->members[i].name);
                buf_append_char(out, ':');
                value_write_json(out, &v->members[i].value);
            }
            buf_append_char(out, '}');
            break;
    }
}

/* ---- comparing ---- */

static bool is_number(const struct value *v) { return v->kind == VALUE_INT || v->kind == VALUE_FLOAT; }
static double as_double(const struct value *v) { return v->kind == VALUE_FLOAT ? v->f : (double)v->i; }

bool value_equal(const struct value *a, const struct value *b) {
    if (a->kind != b->kind) return is_number(a) && is_number(b) && as_double(a) == as_double(b);
    switch ((enum value_kind)a->kind) {
        case VALUE_NULL: return true;
        case VALUE_BOOL: return a->b == b->b;
        case VALUE_INT: return a->i == b->i;
        case VALUE_FLOAT: return a->f == b->f;
        case VALUE_STRING: return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
        case VALUE_LIST:
            if (a->len != b->len) return false;
            for (uint32_t i = 0; i < a->len; i++)
                if (!value_equal(&a->items[i], &b->items[i])) return false;
            return true;
        case VALUE_MAP:
            if (a->len != b->len) return false;
            for (uint32_t i = 0; i < a->len; i++)
                if (strcmp(a->members[i].name, b->members[i].name) != 0 || !value_equal(&a->members[i].value, &b->members[i].value)) return false;
            return true;
    }
    return false;
}

static int order(const struct value *v) {
    static const int orders[] = {[VALUE_INT] = 0, [VALUE_FLOAT] = 0, [VALUE_STRING] = 1, [VALUE_BOOL] = 2, [VALUE_LIST] = 3, [VALUE_MAP] = 4, [VALUE_NULL] = 5};
    return orders[v->kind];
}

static int compare_maps(const struct value *a, const struct value *b) {
    for (uint32_t i = 0; i < a->len && i < b->len; i++) {
        int c = strcmp(a->members[i].name, b->members[i].name);
        if (c == 0) c = value_compare(&a->members[i].value, &b->members[i].value);
        if (c) return c;
    }
    return (a->len > b->len) - (a->len < b->len);
}

int value_compare(const struct value *a, const struct value *b) {
    int x = order(a), y = order(b);
    if (x != y) return x < y ? -1 : 1;
    if (is_number(a)) {
        if (a->kind == VALUE_INT && b->kind == VALUE_INT) return (a->i > b->i) - (a->i < b->i);
        double p = as_double(a), q = as_double(b);
        return (p > q) - (p < q);
    }
    if (a->kind == VALUE_STRING) {
        int c = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);
        return c ? c : (a->len > b->len) - (a->len < b->len);
    }
    if (a->kind == VALUE_BOOL) return (int)a->b - (int)b->b;
    if (a->kind == VALUE_MAP) return compare_maps(a, b);
    if (a->kind != VALUE_LIST) return 0;
    for (uint32_t i = 0; i < a->len && i < b->len; i++) {
        int c = value_compare(&a->items[i], &b->items[i]);
        if (c) return c;
    }
    return (a->len > b->len) - (a->len < b->len);
}

const struct value *value_get(const struct value *map, const char *name) {
    if (!value_is(map, VALUE_MAP)) return NULL;
    uint32_t lo = 0, hi = map->len;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int c = strcmp(map->members[mid].name, name);
        if (c == 0) return &map->members[mid].value;
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

/* ---- in Go's words ---- */

const char *value_go_type(const struct value *v) {
    switch ((enum value_kind)v->kind) {
        case VALUE_BOOL: return "bool";
        case VALUE_INT: return "int64";
        case VALUE_FLOAT: return "float64";
        case VALUE_STRING: return "string";
        case VALUE_LIST: return "[]interface {}";
        case VALUE_MAP: return "map[string]interface {}";
        default: return "<nil>";
    }
}

static void print_go_items(struct buf *out, const struct value *v, bool sharp) {
    buf_append_str(out, sharp ? "[]interface {}{" : "[");
    for (uint32_t i = 0; i < v->len; i++) {
        if (i) buf_append_str(out, sharp ? ", " : " ");
        value_print_go(out, &v->items[i], sharp);
    }
    buf_append_char(out, sharp ? '}' : ']');
}

static void print_go_members(struct buf *out, const struct value *v, bool sharp) {
    buf_append_str(out, sharp ? "map[string]interface {}{" : "map[");
    for (uint32_t i = 0; i < v->len; i++) {
        if (i) buf_append_str(out, sharp ? ", " : " ");
        if (sharp) json_write_string(out, v->members[i].name);
        else buf_append_str(out, v->members[i].name);
        buf_append_char(out, ':');
        value_print_go(out, &v->members[i].value, sharp);
    }
    buf_append_char(out, sharp ? '}' : ']');
}

void value_print_go(struct buf *out, const struct value *v, bool sharp) {
    switch ((enum value_kind)v->kind) {
        case VALUE_NULL: buf_append_str(out, sharp ? "interface {}(nil)" : "<nil>"); break;
        case VALUE_BOOL: buf_append_str(out, v->b ? "true" : "false"); break;
        case VALUE_INT: buf_append_i64(out, v->i); break;
        case VALUE_FLOAT: json_write_double(out, v->f); break;
        case VALUE_STRING:
            if (sharp) json_write_string_n(out, v->s, v->len);
            else buf_append(out, v->s, v->len);
            break;
        case VALUE_LIST: print_go_items(out, v, sharp); break;
        case VALUE_MAP: print_go_members(out, v, sharp); break;
    }
}
