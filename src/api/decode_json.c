/* JSON to structs, driven by the descriptors. Fed by the apiserver's request bodies, the store's values and the client's answers; runs on any thread.
 * Tests: tests/unit/test_object.c. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>
#include "api/custom_object.h"
#include "api/object.h"
#include "api/quantity.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

/* The way down to the value at hand, for error texts; printed only when something is wrong. */
struct path {
    const struct path *up;
    const char *name; /* NULL: an index */
    size_t index;
    const struct type_desc *of; /* the struct whose field this is; NULL: an item or a map's entry */
};

struct decoder {
    struct arena *arena;
    struct string_list *strict;
    struct status *err;
    int schemas; /* how many schemas the one at hand lies in as a form */
};

enum { STRICT_ERRORS_MAX = 100, SCHEMA_FORMS_MAX = 64 };

static void path_print(const struct path *p, struct buf *out) {
    if (!p) return;
    path_print(p->up, out);
    if (p->name) buf_printf(out, "%s%s", out->len ? "." : "", p->name);
    else buf_printf(out, "[%zu]", p->index);
}

static void strict_error(struct decoder *d, const char *what, const struct path *up, const char *name) {
    if (!d->strict || d->strict->len >= STRICT_ERRORS_MAX) return;
    _cleanup_buf_ struct buf at = BUF_INIT;
    path_print(&(struct path){up, name, 0, NULL}, &at);
    string_list_push(d->arena, d->strict, arena_printf(d->arena, "%s field \"%s\"", what, at.data));
}

static const char *json_type_name(yyjson_val *v) {
    switch (yyjson_get_type(v)) {
        case YYJSON_TYPE_STR: return "string";
        case YYJSON_TYPE_BOOL: return "bool";
        case YYJSON_TYPE_NUM: case YYJSON_TYPE_RAW: return "number";
        case YYJSON_TYPE_ARR: return "array";
        case YYJSON_TYPE_OBJ: return "object";
        default: return "value";
    }
}

/* "core.v1.PodSpec" as Go prints the type: "v1.PodSpec"; and without its package. */
static const char *go_type(const struct type_desc *type) { return strchr(type->name, '.') + 1; }
static const char *go_name(const struct type_desc *type) { return strrchr(type->name, '.') + 1; }

/* Go names fields only, neither indexes nor keys. */
static void fields_print(const struct path *p, struct buf *out) {
    if (!p) return;
    fields_print(p->up, out);
    if (p->of) buf_printf(out, "%s%s", out->len ? "." : "", p->name);
}

/* Upstream: json.UnmarshalTypeError, with the struct that the innermost field belongs to. */
static int wrong_value(struct decoder *d, const char *value, const struct path *p, const char *want) {
    _cleanup_buf_ struct buf at = BUF_INIT;
    const struct path *field = p;
    while (field && !field->of) field = field->up;
    if (!field) return status_bad_request(d->err, "json: cannot unmarshal %s into Go value of type %s", value, want);
    fields_print(field, &at);
    return status_bad_request(d->err, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", value, go_name(field->of), buf_cstr(&at), want);
}

static int wrong_type(struct decoder *d, yyjson_val *v, const struct path *p, const char *want) { return wrong_value(d, json_type_name(v), p, want); }

/* A string value into the arena; a NUL inside becomes C0 80. */
static const char *take_string(struct decoder *d, yyjson_val *v) {
    const char *s = yyjson_get_str(v);
    size_t len = yyjson_get_len(v);
    if (!memchr(s, 0, len)) return arena_strndup(d->arena, s, len);
    char *out = arena_alloc(d->arena, len * 2 + 1), *o = out;
    for (size_t i = 0; i < len; i++) {
        if (s[i]) *o++ = s[i];
        else {
            *o++ = (char)0xc0;
            *o++ = (char)0x80;
        }
    }
    return out;
}

/* The text of a number token, whether it was kept raw or parsed. */
static bool number_text(yyjson_val *v, char *out, size_t size) {
    if (yyjson_is_raw(v)) return snprintf(out, size, "%.*s", (int)MIN(yyjson_get_len(v), size), yyjson_get_raw(v)) < (int)size;
    if (yyjson_is_sint(v)) return snprintf(out, size, "%lld", (long long)yyjson_get_sint(v)) > 0;
    if (yyjson_is_uint(v)) return snprintf(out, size, "%llu", (unsigned long long)yyjson_get_uint(v)) > 0;
    if (yyjson_is_real(v)) return snprintf(out, size, "%.17g", yyjson_get_real(v)) > 0;
    return false;
}

static int take_int(struct decoder *d, yyjson_val *v, const struct path *p, bool is32, int64_t *ret) {
    char text[64];
    int64_t n;
    if (!(yyjson_is_num(v) || yyjson_is_raw(v))) return wrong_type(d, v, p, is32 ? "int32" : "int64");
    if (!number_text(v, text, sizeof(text)) || text[0] == '+' || !str_to_i64(text, &n) || (is32 && (n < INT32_MIN || n > INT32_MAX)))
        return wrong_value(d, arena_printf(d->arena, "number %s", text), p, is32 ? "int32" : "int64");
    *ret = n;
    return 0;
}

static int take_double(struct decoder *d, yyjson_val *v, const struct path *p, double *ret) {
    char text[512], *end;
    if (!(yyjson_is_num(v) || yyjson_is_raw(v)) || !number_text(v, text, sizeof(text))) return wrong_type(d, v, p, "float64");
    double n = strtod(text, &end);
    if (*end || !isfinite(n)) return wrong_type(d, v, p, "float64");
    *ret = n;
    return 0;
}

static int take_quantity(struct decoder *d, yyjson_val *v, const char **ret) {
    char text[128];
    const char *s;
    if (yyjson_is_str(v)) s = take_string(d, v);
    else if ((yyjson_is_num(v) || yyjson_is_raw(v)) && number_text(v, text, sizeof(text))) s = text;
    else s = yyjson_get_type_desc(v); /* its text is no quantity either */
    const char *canonical = quantity_canonicalize(d->arena, s, d->err);
    if (!canonical) return -1;
    *ret = canonical;
    return 0;
}

static int take_time(struct decoder *d, yyjson_val *v, const struct path *p, bool micro, struct api_time *ret) {
    if (!yyjson_is_str(v)) return wrong_type(d, v, p, "string");
    return micro ? micro_time_decode(yyjson_get_str(v), ret, d->err) : time_parse(yyjson_get_str(v), ret, d->err);
}

static int take_int_or_string(struct decoder *d, yyjson_val *v, const struct path *p, struct int_or_string *ret) {
    if (yyjson_is_str(v)) {
        *ret = (struct int_or_string){INTSTR_STRING, 0, take_string(d, v)};
        return 0;
    }
    int64_t n;
    if (take_int(d, v, p, true, &n) != 0) return -1;
    *ret = (struct int_or_string){INTSTR_INT, (int32_t)n, NULL};
    return 0;
}

static int take_bytes(struct decoder *d, yyjson_val *v, const struct path *p, struct bytes *ret) {
    if (!yyjson_is_str(v)) return wrong_type(d, v, p, "[]uint8");
    return base64_decode(d->arena, yyjson_get_str(v), yyjson_get_len(v), (unsigned char **)(void *)&ret->data, &ret->len, d->err);
}

static void take_raw(struct decoder *d, yyjson_val *v, struct raw_json *ret) {
    struct buf text = BUF_INIT;
    json_write_value(&text, v);
    *ret = (struct raw_json){arena_strndup(d->arena, buf_cstr(&text), text.len), text.len};
    buf_release(&text);
}

static int take_struct(struct decoder *d, const struct type_desc *type, void *obj, yyjson_val *v, const struct path *path);

/* A schema within a schema's form: read as one and written again, so that nothing is left of what a schema does not have. Unknown fields there are told to nobody. */
static int append_schema(struct decoder *d, yyjson_val *v, struct buf *out) {
    struct decoder inner = {d->arena, NULL, d->err, d->schemas + 1};
    struct apiextensionsv1_JSONSchemaProps *schema = ARENA_NEW(d->arena, struct apiextensionsv1_JSONSchemaProps);
    if (d->schemas >= SCHEMA_FORMS_MAX) {
        json_write_value(out, v);
        return 0;
    }
    if (take_struct(&inner, &apiextensionsv1_JSONSchemaProps_desc, schema, v, NULL) != 0) return -1;
    object_encode_json(&apiextensionsv1_JSONSchemaProps_desc, schema, out);
    return 0;
}

static int append_schemas(struct decoder *d, yyjson_val *list, struct buf *out) {
    size_t i, n;
    yyjson_val *v;
    buf_append_char(out, '[');
    yyjson_arr_foreach(list, i, n, v) {
        if (i) buf_append_char(out, ',');
        if (append_schema(d, v, out) != 0) return -1;
    }
    buf_append_char(out, ']');
    return 0;
}

/* Fields of a schema that are a schema or something else: upstream's JSONSchemaPropsOrArray, OrBool and OrStringArray with their own UnmarshalJSON. */
static int take_schema_form(struct decoder *d, const struct field_desc *f, yyjson_val *v, struct raw_json *ret) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    bool items = strcmp(f->name, "items") == 0, list = items || strcmp(f->name, "dependencies") == 0;
    int failed = 0;
    if (yyjson_is_obj(v)) failed = append_schema(d, v, &text);
    else if (items && yyjson_is_arr(v)) failed = append_schemas(d, v, &text);
    else if (list && !yyjson_is_arr(v)) buf_append_str(&text, "null"); /* what is neither is nothing, but it was given */
    else if (list || yyjson_is_bool(v)) json_write_value(&text, v);
    else failed = status_bad_request(d->err, "boolean or JSON schema expected");
    if (failed) return -1;
    *ret = (struct raw_json){arena_strndup(d->arena, buf_cstr(&text), text.len), text.len};
    return 0;
}

static bool is_schema_form(const struct field_desc *f, const struct path *p) {
    static const char *const forms[] = {"items", "additionalProperties", "additionalItems", "dependencies", NULL};
    while (p && !p->of) p = p->up;
    return p && p->of == &apiextensionsv1_JSONSchemaProps_desc && str_in(f->name, forms);
}

static int take_string_list(struct decoder *d, yyjson_val *v, const struct path *path, struct string_list *ret) {
    if (!yyjson_is_arr(v)) return wrong_type(d, v, path, "[]string");
    size_t i, n;
    yyjson_val *item;
    struct string_list list = {arena_list_alloc(d->arena, yyjson_arr_size(v), sizeof(char *)), 0};
    yyjson_arr_foreach(v, i, n, item) {
        if (yyjson_is_str(item)) list.items[list.len++] = take_string(d, item);
        else if (yyjson_is_null(item)) list.items[list.len++] = "";
        else return wrong_type(d, item, path, "string");
    }
    *ret = list;
    return 0;
}

/* One value of the field's kind into its plain form at `at`. */
static int take_plain(struct decoder *d, const struct field_desc *f, void *at, yyjson_val *v, const struct path *p) {
    int64_t n;
    if (yyjson_is_null(v) && f->kind != FK_RAW) return 0;
    switch ((enum field_kind)f->kind) {
        case FK_STRING:
            if (!yyjson_is_str(v)) return wrong_type(d, v, p, "string");
            *(const char **)at = take_string(d, v);
            return 0;
        case FK_BOOL:
            if (!yyjson_is_bool(v)) return wrong_type(d, v, p, "bool");
            *(bool *)at = yyjson_get_bool(v);
            return 0;
        case FK_INT32:
            if (take_int(d, v, p, true, &n) != 0) return -1;
            *(int32_t *)at = (int32_t)n;
            return 0;
        case FK_INT64: return take_int(d, v, p, false, at);
        case FK_DOUBLE: return take_double(d, v, p, at);
        case FK_BYTES: return take_bytes(d, v, p, at);
        case FK_TIME: return take_time(d, v, p, false, at);
        case FK_MICROTIME: return take_time(d, v, p, true, at);
        case FK_QUANTITY: return take_quantity(d, v, at);
        case FK_INTORSTRING: return take_int_or_string(d, v, p, at);
        case FK_RAW:
            if (is_schema_form(f, p)) return take_schema_form(d, f, v, at);
            take_raw(d, v, at);
            return 0;
        case FK_STRUCT: return take_struct(d, f->type, at, v, p);
        case FK_STRING_LIST: return take_string_list(d, v, p, at);
    }
    return 0;
}

static int take_pointer(struct decoder *d, const struct field_desc *f, char *at, yyjson_val *v, const struct path *p) {
    switch ((enum field_kind)f->kind) {
        case FK_BOOL: ((struct opt_bool *)(void *)at)->has = true; return take_plain(d, f, &((struct opt_bool *)(void *)at)->value, v, p);
        case FK_INT32: ((struct opt_int32 *)(void *)at)->has = true; return take_plain(d, f, &((struct opt_int32 *)(void *)at)->value, v, p);
        case FK_INT64: ((struct opt_int64 *)(void *)at)->has = true; return take_plain(d, f, &((struct opt_int64 *)(void *)at)->value, v, p);
        case FK_DOUBLE: ((struct opt_double *)(void *)at)->has = true; return take_plain(d, f, &((struct opt_double *)(void *)at)->value, v, p);
        case FK_STRUCT: {
            void **slot = (void **)(void *)at;
            if (!*slot) *slot = arena_alloc(d->arena, f->type->size);
            return take_struct(d, f->type, *slot, v, p);
        }
        default: return take_plain(d, f, at, v, p);
    }
}

static const char *go_item_type(const struct field_desc *f) {
    static const char *const names[] = {[FK_STRING] = "string", [FK_BOOL] = "bool", [FK_INT32] = "int32", [FK_INT64] = "int64", [FK_DOUBLE] = "float64", [FK_BYTES] = "[]uint8", [FK_TIME] = "v1.Time",
                                        [FK_MICROTIME] = "v1.MicroTime", [FK_QUANTITY] = "resource.Quantity", [FK_INTORSTRING] = "intstr.IntOrString", [FK_RAW] = "runtime.RawExtension",
                                        [FK_STRING_LIST] = "[]string"};
    return f->kind == FK_STRUCT ? go_type(f->type) : names[f->kind];
}

/* What is null among the items of a list or the values of a map is that type's zero, which no reader need tell from a value that is there. */
static int take_item(struct decoder *d, const struct field_desc *f, void *at, yyjson_val *v, const struct path *p) {
    if (yyjson_is_null(v) && f->kind == FK_STRING) *(const char **)at = "";
    else if (yyjson_is_null(v) && f->kind == FK_QUANTITY) *(const char **)at = "0";
    else return take_plain(d, f, at, v, p);
    return 0;
}

static int take_list(struct decoder *d, const struct field_desc *f, struct any_list *list, yyjson_val *v, const struct path *path) {
    if (!yyjson_is_arr(v)) return wrong_type(d, v, path, arena_printf(d->arena, "[]%s", go_item_type(f)));
    size_t i, n = yyjson_arr_size(v);
    yyjson_val *item;
    char *items = arena_list_alloc(d->arena, n, f->item_size);
    size_t max;
    yyjson_arr_foreach(v, i, max, item) {
        struct path p = {path, NULL, i, NULL};
        if (take_item(d, f, items + i * f->item_size, item, &p) != 0) return -1;
    }
    *list = (struct any_list){items, n};
    return 0;
}

/* Entries are {const char *key; T value}: the value follows the key at once, since no T is aligned to more than a pointer. */
enum { MAP_VALUE_OFFSET = sizeof(char *) };

static int compare_entries(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Of a key that is there several times the last one counts; sorting has lost which that was, so the document is asked again. */
static int take_last(struct decoder *d, const struct field_desc *f, char *entry, yyjson_val *v, const struct path *path) {
    size_t i, max;
    yyjson_val *key, *value, *last = NULL;
    yyjson_obj_foreach(v, i, max, key, value) if (strcmp(take_string(d, key), *(const char **)(void *)entry) == 0) last = value;
    memset(entry + MAP_VALUE_OFFSET, 0, f->item_size - MAP_VALUE_OFFSET);
    struct path p = {path, *(const char **)(void *)entry, 0, NULL};
    return last ? take_item(d, f, entry + MAP_VALUE_OFFSET, last, &p) : 0;
}

/* Adds the entries of `before` whose keys `map` lacks. */
static void join_maps(struct decoder *d, const struct field_desc *f, struct any_list *map, const struct any_list *before) {
    size_t n = map->len;
    char *items = arena_calloc(d->arena, n + before->len, f->item_size);
    if (n) memcpy(items, map->items, n * f->item_size);
    for (size_t i = 0; i < before->len; i++) {
        const char *entry = (const char *)before->items + i * f->item_size;
        if (map->len && bsearch(entry, map->items, map->len, f->item_size, compare_entries)) continue;
        memcpy(items + n++ * f->item_size, entry, f->item_size);
    }
    qsort(items, n, f->item_size, compare_entries);
    *map = (struct any_list){items, n};
}

static int take_map(struct decoder *d, const struct field_desc *f, struct any_list *map, yyjson_val *v, const struct path *path) {
    if (!yyjson_is_obj(v)) return wrong_type(d, v, path, f->kind == FK_QUANTITY ? "v1.ResourceList" : arena_printf(d->arena, "map[string]%s", go_item_type(f)));
    size_t i, max, n = 0;
    yyjson_val *key, *value;
    struct any_list before = *map; /* of a field that is there twice: its maps are joined */
    char *items = arena_calloc(d->arena, yyjson_obj_size(v), f->item_size);
    yyjson_obj_foreach(v, i, max, key, value) {
        char *entry = items + n++ * f->item_size;
        *(const char **)(void *)entry = take_string(d, key);
        struct path p = {path, *(const char **)(void *)entry, 0, NULL};
        if (take_item(d, f, entry + MAP_VALUE_OFFSET, value, &p) != 0) return -1;
    }
    qsort(items, n, f->item_size, compare_entries);
    size_t kept = 0;
    for (size_t j = 0; j < n; j++) {
        char *entry = items + j * f->item_size;
        if (kept && compare_entries(items + (kept - 1) * f->item_size, entry) == 0) {
            strict_error(d, "duplicate", path, *(const char **)(void *)entry);
            if (take_last(d, f, items + (kept - 1) * f->item_size, v, path) != 0) return -1;
            continue;
        }
        if (kept != j) memcpy(items + kept * f->item_size, entry, f->item_size);
        kept++;
    }
    *map = (struct any_list){items, kept};
    if (before.len) join_maps(d, f, map, &before);
    return 0;
}

static int take_field(struct decoder *d, const struct field_desc *f, void *obj, yyjson_val *v, const struct path *p) {
    if (yyjson_is_null(v) && !(f->kind == FK_RAW && f->shape == SHAPE_PLAIN)) return 0;
    char *at = (char *)obj + f->offset;
    switch ((enum field_shape)f->shape) {
        case SHAPE_PLAIN: return take_plain(d, f, at, v, p);
        case SHAPE_POINTER: return take_pointer(d, f, at, v, p);
        case SHAPE_LIST: return take_list(d, f, (struct any_list *)(void *)at, v, p);
        case SHAPE_MAP: return take_map(d, f, (struct any_list *)(void *)at, v, p);
    }
    return 0;
}

static int take_struct(struct decoder *d, const struct type_desc *type, void *obj, yyjson_val *v, const struct path *path) {
    if (yyjson_is_null(v)) return 0;
    if (!yyjson_is_obj(v)) return wrong_type(d, v, path, go_type(type));
    uint64_t seen[4] = {0}; /* a bit a field, for duplicates; types with more than 256 fields do not exist */
    size_t i, max;
    yyjson_val *key, *value;
    CHECK(type->fields_len <= 256);
    yyjson_obj_foreach(v, i, max, key, value) {
        const struct field_desc *f = type_field(type, yyjson_get_str(key), yyjson_get_len(key));
        if (!f) {
            strict_error(d, "unknown", path, yyjson_get_str(key));
            continue;
        }
        size_t bit = (size_t)(f - type->fields);
        if (seen[bit / 64] & (1ull << (bit % 64))) strict_error(d, "duplicate", path, f->name);
        seen[bit / 64] |= 1ull << (bit % 64);
        struct path p = {path, f->name, 0, type};
        if (take_field(d, f, obj, value, &p) != 0) return -1;
    }
    return 0;
}

int object_decode_value(struct arena *a, const struct type_desc *type, void *obj, yyjson_val *value, struct string_list *strict, struct status *reterr) {
    if (type->flags & TYPE_DOCUMENT) return custom_object_decode(a, custom_type_of(type), obj, value, strict, reterr);
    struct decoder d = {a, strict, reterr};
    return take_struct(&d, type, obj, value, NULL);
}

int object_decode_json(struct arena *a, const struct type_desc *type, void *obj, const char *json, size_t len, struct string_list *strict, struct status *reterr) {
    yyjson_doc *doc = json_parse(json, len, type->flags & TYPE_DOCUMENT ? 0 : JSON_NUMBERS_RAW, reterr);
    if (!doc) return -1;
    int r = object_decode_value(a, type, obj, yyjson_doc_get_root(doc), strict, reterr);
    yyjson_doc_free(doc);
    return r;
}
