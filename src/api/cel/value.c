/* Values: those of documents are read where they lie. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "api/cel/internal.h"
#include "api/quantity.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

struct cel_value cel_str(const char *s, size_t len) { return (struct cel_value){.kind = CEL_STRING, .str = {s, len}}; }
struct cel_value cel_string_value(struct arena *a, const char *s) { return cel_str(arena_strdup(a, str_or(s, "")), strlen(str_or(s, ""))); }

struct cel_value cel_error(struct arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct cel_value v = cel_string_value(a, arena_vprintf(a, format, args));
    va_end(args);
    v.kind = CEL_ERROR;
    return v;
}

struct cel_value cel_list_new(struct arena *a) { return CEL_VALUE(CEL_LIST, list, ARENA_NEW(a, struct cel_list)); }
void cel_list_push(struct arena *a, struct cel_value *list, const struct cel_value *v) { *LIST_PUSH(a, list->list) = *v; }

/* ---- documents ---- */

static struct cel_value string_from_json(struct arena *a, yyjson_val *v, const struct structural *schema) {
    const char *s = yyjson_get_str(v), *format = schema ? schema->props->format : NULL;
    if (str_eq(format, "date-time") || str_eq(format, "date")) {
        struct api_time t;
        char full[40];
        snprintf(full, sizeof(full), "%.20sT00:00:00Z", s);
        if (micro_time_parse(str_eq(format, "date") ? full : s, &t, NULL) == 0) return (struct cel_value){.kind = CEL_TIMESTAMP, .time = {t.sec, t.nsec}};
    } else if (str_eq(format, "duration")) {
        int64_t d;
        if (duration_parse(s, &d)) return CEL_VALUE(CEL_DURATION, i, d);
    } else if (str_eq(format, "byte")) {
        unsigned char *data;
        size_t len;
        if (base64_decode(a, s, yyjson_get_len(v), &data, &len, NULL) == 0) return (struct cel_value){.kind = CEL_BYTES, .str = {(char *)data, len}};
    }
    return cel_str(s, yyjson_get_len(v));
}

struct cel_value cel_from_json(struct arena *a, yyjson_val *v, const struct structural *schema) {
    switch (yyjson_get_type(v)) {
        case YYJSON_TYPE_BOOL: return CEL_BOOL_VALUE(yyjson_get_bool(v));
        case YYJSON_TYPE_NUM:
            if (schema && str_eq(schema->props->type, "integer") && !schema->int_or_string && (yyjson_is_real(v) || (yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX)))
                return cel_error(a, "invalid data, expected int, got float64");
            if (yyjson_is_real(v) || (schema && str_eq(schema->props->type, "number"))) return CEL_VALUE(CEL_DOUBLE, d, yyjson_get_num(v));
            if (yyjson_is_uint(v) && yyjson_get_uint(v) > INT64_MAX) return CEL_VALUE(CEL_DOUBLE, d, (double)yyjson_get_uint(v));
            return CEL_INT_VALUE(yyjson_get_sint(v));
        case YYJSON_TYPE_STR: return string_from_json(a, v, schema);
        case YYJSON_TYPE_ARR: return (struct cel_value){.kind = CEL_LIST, .json = v, .schema = schema};
        case YYJSON_TYPE_OBJ: return (struct cel_value){.kind = CEL_MAP, .json = v, .schema = schema};
        default: return (struct cel_value){.kind = CEL_NULL};
    }
}

static yyjson_mut_val *time_json(yyjson_mut_doc *doc, const struct cel_value *v) {
    struct buf out = BUF_INIT;
    time_format(&(struct api_time){true, 0, v->time.sec}, &out);
    if (v->time.nsec) {
        char digits[16];
        int n = snprintf(digits, sizeof(digits), ".%09d", v->time.nsec);
        while (digits[n - 1] == '0') n--;
        out.len--; /* the Z */
        buf_append(&out, digits, (size_t)n);
        buf_append_char(&out, 'Z');
    }
    yyjson_mut_val *s = yyjson_mut_strncpy(doc, out.data, out.len);
    buf_release(&out);
    return s;
}

static const char *duration_text(struct arena *a, int64_t ns) {
    struct buf out = BUF_INIT;
    json_write_double(&out, (double)ns / 1e9);
    const char *text = arena_printf(a, "%ss", out.data);
    buf_release(&out);
    return text;
}

static yyjson_mut_val *map_json(struct arena *a, yyjson_mut_doc *doc, const struct cel_value *v) {
    yyjson_mut_val *o = yyjson_mut_obj(doc);
    for (size_t i = 0; i < v->map->len; i++) {
        const struct cel_value *k = v->map->items[i].key;
        yyjson_mut_val *item = cel_to_json(a, doc, v->map->items[i].value);
        if (k->kind != CEL_STRING || !item) return NULL;
        yyjson_mut_obj_add(o, yyjson_mut_strncpy(doc, k->str.s, k->str.len), item);
    }
    return o;
}

yyjson_mut_val *cel_to_json(struct arena *a, yyjson_mut_doc *doc, const struct cel_value *v) {
    yyjson_mut_val *list;
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (v->json) return yyjson_val_mut_copy(doc, v->json);
    switch (v->kind) {
        case CEL_NULL: return yyjson_mut_null(doc);
        case CEL_BOOL: return yyjson_mut_bool(doc, v->b);
        case CEL_INT: return yyjson_mut_sint(doc, v->i);
        case CEL_UINT: return yyjson_mut_uint(doc, v->u);
        case CEL_DOUBLE: return isfinite(v->d) ? yyjson_mut_real(doc, v->d) : NULL;
        case CEL_STRING: case CEL_URL: case CEL_SEMVER: return yyjson_mut_strncpy(doc, v->str.s, v->str.len);
        case CEL_BYTES:
            base64_encode(&out, (const unsigned char *)v->str.s, v->str.len);
            return yyjson_mut_strcpy(doc, buf_cstr(&out));
        case CEL_TIMESTAMP: return time_json(doc, v);
        case CEL_DURATION: return yyjson_mut_strcpy(doc, duration_text(a, v->i));
        case CEL_QUANTITY: return yyjson_mut_strcpy(doc, quantity_format(a, v->quantity));
        case CEL_MAP: case CEL_OBJECT: return map_json(a, doc, v);
        case CEL_LIST:
            list = yyjson_mut_arr(doc);
            for (size_t i = 0; i < v->list->len; i++) {
                yyjson_mut_val *item = cel_to_json(a, doc, &v->list->items[i]);
                if (!item) return NULL;
                yyjson_mut_arr_append(list, item);
            }
            return list;
        default: return NULL;
    }
}

/* ---- lists and maps ---- */

size_t cel_size(const struct cel_value *v) {
    if (v->kind == CEL_LIST) return v->json ? yyjson_arr_size(v->json) : v->list->len;
    return v->json ? yyjson_obj_size(v->json) : v->map->len;
}

bool cel_list_at(struct arena *a, const struct cel_value *list, size_t i, struct cel_value *ret) {
    if (i >= cel_size(list)) return false;
    *ret = list->json ? cel_from_json(a, yyjson_arr_get(list->json, i), list->schema ? list->schema->items : NULL) : list->list->items[i];
    return true;
}

/* Fields of objects are written escaped where they are no identifiers; keys of maps as they are. */
static yyjson_val *json_member(struct arena *a, const struct cel_value *map, const char *key, size_t len, const struct structural **schema) {
    yyjson_val *v = yyjson_obj_getn(map->json, key, len);
    const char *name = arena_strndup(a, key, len);
    if (!v && strstr(name, "__")) {
        name = cel_unescape_name(a, name);
        v = yyjson_obj_get(map->json, name);
    }
    *schema = structural_member(map->schema, name);
    return v;
}

bool cel_map_find(struct arena *a, const struct cel_value *map, const struct cel_value *key, struct cel_value *ret) {
    if (map->json) {
        const struct structural *schema;
        yyjson_val *v = key->kind == CEL_STRING ? json_member(a, map, key->str.s, key->str.len, &schema) : NULL;
        if (v) *ret = cel_from_json(a, v, schema);
        return v != NULL;
    }
    for (size_t i = 0; i < map->map->len; i++)
        if (cel_equal(a, map->map->items[i].key, key)) {
            *ret = *map->map->items[i].value;
            return true;
        }
    return false;
}

bool cel_map_get(struct arena *a, const struct cel_value *map, const struct cel_value *key, struct cel_value *ret) {
    if (cel_map_find(a, map, key, ret)) return true;
    const struct cel_value *missing = map->json ? NULL : map->map->missing;
    if (missing) *ret = *missing;
    return missing != NULL;
}

bool cel_map_entry(struct arena *a, const struct cel_value *map, size_t i, struct cel_value *key, struct cel_value *ret) {
    if (i >= cel_size(map)) return false;
    if (!map->json) {
        *key = *map->map->items[i].key;
        *ret = *map->map->items[i].value;
        return true;
    }
    yyjson_obj_iter it = yyjson_obj_iter_with(map->json);
    yyjson_val *k = NULL;
    for (size_t j = 0; j <= i; j++) k = yyjson_obj_iter_next(&it);
    *key = cel_str(yyjson_get_str(k), yyjson_get_len(k));
    *ret = cel_from_json(a, yyjson_obj_iter_get_val(k), structural_member(map->schema, yyjson_get_str(k)));
    return true;
}

/* ---- equality and order ---- */

static bool is_number(const struct cel_value *v) { return v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_DOUBLE; }

static int compare_numbers(const struct cel_value *x, const struct cel_value *y) {
    if (x->kind == CEL_INT && y->kind == CEL_INT) return (x->i > y->i) - (x->i < y->i);
    if (x->kind == CEL_UINT && y->kind == CEL_UINT) return (x->u > y->u) - (x->u < y->u);
    if (x->kind == CEL_INT && y->kind == CEL_UINT) return x->i < 0 ? -1 : ((uint64_t)x->i > y->u) - ((uint64_t)x->i < y->u);
    if (x->kind == CEL_UINT && y->kind == CEL_INT) return -compare_numbers(y, x);
    long double a = x->kind == CEL_INT ? (long double)x->i : x->kind == CEL_UINT ? (long double)x->u : (long double)x->d;
    long double b = y->kind == CEL_INT ? (long double)y->i : y->kind == CEL_UINT ? (long double)y->u : (long double)y->d;
    return (a > b) - (a < b);
}

static int compare_bytes(const struct cel_value *x, const struct cel_value *y) {
    int c = memcmp(x->str.s, y->str.s, MIN(x->str.len, y->str.len));
    return c ? (c > 0) - (c < 0) : (x->str.len > y->str.len) - (x->str.len < y->str.len);
}

int cel_compare(const struct cel_value *x, const struct cel_value *y, bool *ok) {
    *ok = true;
    if (is_number(x) && is_number(y)) return compare_numbers(x, y);
    *ok = x->kind == y->kind;
    if (!*ok) return 0;
    switch (x->kind) {
        case CEL_BOOL: return x->b - y->b;
        case CEL_STRING: case CEL_BYTES: return compare_bytes(x, y);
        case CEL_DURATION: return (x->i > y->i) - (x->i < y->i);
        case CEL_TIMESTAMP: return x->time.sec != y->time.sec ? (x->time.sec > y->time.sec ? 1 : -1) : (x->time.nsec > y->time.nsec) - (x->time.nsec < y->time.nsec);
        default: *ok = false; return 0;
    }
}

/* Lists that are sets are equal in any order, those that are maps by their keys. */
static bool lists_equal(struct arena *a, const struct cel_value *x, const struct cel_value *y) {
    struct cel_value v, w;
    bool any_order = x->schema && (x->schema->list_type == LIST_SET || x->schema->list_type == LIST_MAP);
    if (cel_size(x) != cel_size(y)) return false;
    for (size_t i = 0; cel_list_at(a, x, i, &v); i++) {
        bool found = false;
        if (!any_order) found = cel_list_at(a, y, i, &w) && cel_equal(a, &v, &w);
        for (size_t j = 0; any_order && !found && cel_list_at(a, y, j, &w); j++) found = cel_equal(a, &v, &w);
        if (!found) return false;
    }
    return true;
}

static bool maps_equal(struct arena *a, const struct cel_value *x, const struct cel_value *y) {
    struct cel_value k, v, w;
    if (cel_size(x) != cel_size(y)) return false;
    for (size_t i = 0; cel_map_entry(a, x, i, &k, &v); i++)
        if (!cel_map_get(a, y, &k, &w) || !cel_equal(a, &v, &w)) return false;
    return true;
}

bool cel_equal(struct arena *a, const struct cel_value *x, const struct cel_value *y) {
    bool ok;
    if (is_number(x) && is_number(y)) return !(x->kind == CEL_DOUBLE && isnan(x->d)) && !(y->kind == CEL_DOUBLE && isnan(y->d)) && compare_numbers(x, y) == 0;
    if (x->kind != y->kind) return false;
    switch (x->kind) {
        case CEL_NULL: return true;
        case CEL_LIST: return lists_equal(a, x, y);
        case CEL_MAP: return maps_equal(a, x, y);
        case CEL_TYPE: case CEL_URL: case CEL_FORMAT: case CEL_SEMVER: return compare_bytes(x, y) == 0;
        case CEL_QUANTITY: return quantity_cmp(x->quantity, y->quantity) == 0;
        case CEL_IP: case CEL_CIDR: return memcmp(&x->ip, &y->ip, sizeof(x->ip)) == 0;
        case CEL_OPTIONAL: return x->opt && y->opt ? cel_equal(a, x->opt, y->opt) : x->opt == y->opt;
        default: return cel_compare(x, y, &ok) == 0 && ok;
    }
}

const char *cel_kind_name(const struct cel_value *v) {
    static const char *const names[] = {[CEL_DYN] = "dyn", [CEL_NULL] = "null_type", [CEL_BOOL] = "bool", [CEL_INT] = "int", [CEL_UINT] = "uint", [CEL_DOUBLE] = "double", [CEL_STRING] = "string", [CEL_BYTES] = "bytes",
        [CEL_TIMESTAMP] = "google.protobuf.Timestamp", [CEL_DURATION] = "google.protobuf.Duration", [CEL_LIST] = "list", [CEL_MAP] = "map", [CEL_OBJECT] = "object", [CEL_TYPE] = "type", [CEL_OPTIONAL] = "optional_type",
        [CEL_QUANTITY] = "kubernetes.Quantity", [CEL_URL] = "kubernetes.URL", [CEL_IP] = "net.IP", [CEL_CIDR] = "net.CIDR", [CEL_FORMAT] = "kubernetes.NamedFormat", [CEL_SEMVER] = "kubernetes.Semver",
        [CEL_AUTHORIZER] = "kubernetes.authorization.Authorizer", [CEL_AUTHZ_PATH] = "kubernetes.authorization.PathCheck", [CEL_AUTHZ_GROUP] = "kubernetes.authorization.GroupCheck",
        [CEL_AUTHZ_RESOURCE] = "kubernetes.authorization.ResourceCheck", [CEL_AUTHZ_DECISION] = "kubernetes.authorization.Decision", [CEL_ERROR] = "error"};
    return v->kind == CEL_MAP && v->name ? v->name : names[v->kind];
}

const char *cel_value_type(const struct cel_value *v) { return cel_kind_name(v); }
