#include "api/structural.h"
#include <string.h>
#include "base/str.h"
#include "wire/json.h"

const struct structural *structural_property(const struct structural *s, const char *name) {
    size_t lo = 0, hi = s ? s->properties.len : 0;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(s->properties.names[mid], name);
        if (c == 0) return s->properties.items[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

const struct structural *structural_member(const struct structural *s, const char *name) {
    const struct structural *p = structural_property(s, name);
    return p ? p : s ? s->additional : NULL;
}

/* ---- making ---- */

static yyjson_val *parse_raw(struct arena *a, const struct raw_json *raw) {
    yyjson_doc *doc = raw->data ? json_parse_in(a, raw->data, raw->len, 0, NULL) : NULL;
    return yyjson_doc_get_root(doc);
}

static int from_value(struct arena *a, yyjson_val *v, struct structural **ret, struct status *reterr) {
    struct apiextensionsv1_JSONSchemaProps *p = ARENA_NEW(a, struct apiextensionsv1_JSONSchemaProps);
    if (object_decode_value(a, &apiextensionsv1_JSONSchemaProps_desc, p, v, NULL, reterr) != 0) return -1;
    return structural_new(a, p, ret, reterr);
}

static int make_list(struct arena *a, const struct apiextensionsv1_JSONSchemaProps_list *from, struct structural_list *to, struct status *reterr) {
    for (size_t i = 0; i < from->len; i++) {
        struct structural *s;
        if (structural_new(a, &from->items[i], &s, reterr) != 0) return -1;
        *LIST_PUSH(a, to) = s;
    }
    return 0;
}

static int make_items(struct arena *a, struct structural *s, struct status *reterr) {
    yyjson_val *v = parse_raw(a, &s->props->items), *item;
    size_t i, n;
    if (!v) return 0;
    s->has_items = true;
    if (yyjson_is_null(v)) return 0; /* given, but as nothing that it could be */
    if (yyjson_is_obj(v)) return from_value(a, v, &s->items, reterr);
    if (!yyjson_is_arr(v)) return status_bad_request(reterr, "items is neither a schema nor an array of schemas");
    yyjson_arr_foreach(v, i, n, item) {
        struct structural *one;
        if (from_value(a, item, &one, reterr) != 0) return -1;
        *LIST_PUSH(a, &s->items_list) = one;
    }
    return 0;
}

static int make_additional(struct arena *a, struct structural *s, struct status *reterr) {
    yyjson_val *v = parse_raw(a, &s->props->additionalProperties);
    if (!v || yyjson_is_null(v)) return 0;
    s->has_additional = true;
    s->additional_allowed = !yyjson_is_false(v);
    if (yyjson_is_obj(v)) return from_value(a, v, &s->additional, reterr);
    if (!yyjson_is_bool(v)) return status_bad_request(reterr, "additionalProperties is neither a schema nor a boolean");
    return 0;
}

/* Formats that do not go with the type are ignored. */
static const char *usable_format(const struct apiextensionsv1_JSONSchemaProps *p) {
    static const char *const ints[] = {"int32", "int64", NULL}, *const numbers[] = {"float", "double", NULL};
    if (str_empty(p->format)) return NULL;
    bool fits = str_empty(p->type) || str_eq(p->type, "string") || p->x_kubernetes_int_or_string ? format_known(p->format) : str_eq(p->type, "integer") ? str_in(p->format, ints) : str_eq(p->type, "number") ? str_in(p->format, numbers) : false;
    return fits ? p->format : NULL;
}

static void make_marks(struct arena *a, struct structural *s) {
    const struct apiextensionsv1_JSONSchemaProps *p = s->props;
    s->preserve = p->x_kubernetes_preserve_unknown_fields.has && p->x_kubernetes_preserve_unknown_fields.value;
    s->embedded = p->x_kubernetes_embedded_resource;
    s->int_or_string = p->x_kubernetes_int_or_string;
    s->nullable = p->nullable;
    s->list_type = str_eq(p->x_kubernetes_list_type, "map") ? LIST_MAP : str_eq(p->x_kubernetes_list_type, "set") ? LIST_SET : str_eq(p->x_kubernetes_list_type, "atomic") ? LIST_ATOMIC : LIST_ATOMIC_DEFAULT;
    s->map_atomic = str_eq(p->x_kubernetes_map_type, "atomic");
    s->format = usable_format(p);
    s->default_ = parse_raw(a, &p->default_);
    if (yyjson_is_null(s->default_)) s->default_ = NULL;
    for (size_t i = 0; i < p->enum_.len; i++) *LIST_PUSH(a, &s->enums) = parse_raw(a, &p->enum_.items[i]);
    if (!str_empty(p->pattern)) s->pattern = regex_compile(a, p->pattern, NULL);
    s->has_rules = p->x_kubernetes_validations.len > 0;
}

static void gather_rules(struct structural *s) {
    if (s->items) s->has_rules |= s->items->has_rules;
    if (s->additional) s->has_rules |= s->additional->has_rules;
    for (size_t i = 0; i < s->properties.len; i++) s->has_rules |= s->properties.items[i]->has_rules;
}

int structural_new(struct arena *a, const struct apiextensionsv1_JSONSchemaProps *props, struct structural **ret, struct status *reterr) {
    struct structural *s = ARENA_NEW(a, struct structural);
    s->props = props;
    make_marks(a, s);
    s->properties.len = props->properties.len;
    s->properties.names = arena_calloc(a, s->properties.len, sizeof(char *));
    s->properties.items = arena_calloc(a, s->properties.len, sizeof(struct structural *));
    for (size_t i = 0; i < props->properties.len; i++) {
        s->properties.names[i] = props->properties.items[i].key;
        if (structural_new(a, &props->properties.items[i].value, &s->properties.items[i], reterr) != 0) return -1;
    }
    if (make_items(a, s, reterr) != 0 || make_additional(a, s, reterr) != 0 || make_list(a, &props->allOf, &s->all_of, reterr) != 0 || make_list(a, &props->anyOf, &s->any_of, reterr) != 0 ||
        make_list(a, &props->oneOf, &s->one_of, reterr) != 0 || (props->not && structural_new(a, props->not, &s->not_, reterr) != 0))
        return -1;
    gather_rules(s);
    *ret = s;
    return 0;
}

/* ---- what a structural schema cannot say ---- */

static const char *unsupported_fields(const struct apiextensionsv1_JSONSchemaProps *p) {
    if (!str_empty(p->id)) return "OpenAPIV3Schema 'id' is not supported";
    if (!str_empty(p->_schema)) return "OpenAPIV3Schema 'schema' is not supported";
    if (!str_empty(p->_ref)) return "OpenAPIV3Schema '$ref' is not supported";
    if (p->patternProperties.len) return "OpenAPIV3Schema 'patternProperties' is not supported";
    if (p->dependencies.len) return "OpenAPIV3Schema 'dependencies' is not supported";
    if (p->additionalItems.data) return "OpenAPIV3Schema 'additionalItems' is not supported";
    return p->definitions.len ? "OpenAPIV3Schema 'definitions' is not supported" : NULL;
}

static const char *unsupported_in(const struct structural_list *list) {
    const char *why = NULL;
    for (size_t i = 0; i < list->len && !why; i++) why = structural_unsupported(list->items[i]);
    return why;
}

const char *structural_unsupported(const struct structural *s) {
    const char *why;
    if (!s) return NULL;
    if ((why = unsupported_fields(s->props)) || (why = structural_unsupported(s->not_)) || (why = unsupported_in(&s->all_of)) || (why = unsupported_in(&s->any_of)) || (why = unsupported_in(&s->one_of))) return why;
    if (s->props->x_kubernetes_preserve_unknown_fields.has && !s->preserve) return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
    if (s->items_list.len) return "OpenAPIV3Schema 'items' must be a schema, but is an array";
    if ((why = structural_unsupported(s->items))) return why;
    for (size_t i = 0; i < s->properties.len && !why; i++) why = structural_unsupported(s->properties.items[i]);
    return why ? why : structural_unsupported(s->additional);
}

/* ---- JSON values ---- */

static bool numbers_equal(yyjson_val *a, yyjson_val *b) {
    if (yyjson_is_int(a) && yyjson_is_int(b)) return yyjson_get_sint(a) == yyjson_get_sint(b) && yyjson_is_uint(a) == yyjson_is_uint(b);
    return yyjson_get_num(a) == yyjson_get_num(b);
}

bool json_equal(yyjson_val *a, yyjson_val *b) {
    size_t i, n;
    yyjson_val *k, *v;
    if (!a || !b) return a == b;
    if (yyjson_is_num(a) && yyjson_is_num(b)) return numbers_equal(a, b);
    if (yyjson_get_type(a) != yyjson_get_type(b)) return false;
    if (yyjson_is_arr(a)) {
        if (yyjson_arr_size(a) != yyjson_arr_size(b)) return false;
        yyjson_arr_iter it = yyjson_arr_iter_with(b);
        yyjson_arr_foreach(a, i, n, v) if (!json_equal(v, yyjson_arr_iter_next(&it))) return false;
        return true;
    }
    if (yyjson_is_obj(a)) {
        if (yyjson_obj_size(a) != yyjson_obj_size(b)) return false;
        yyjson_obj_iter it = yyjson_obj_iter_with(b);
        yyjson_obj_foreach(a, i, n, k, v) if (!json_equal(v, yyjson_obj_iter_getn(&it, yyjson_get_str(k), yyjson_get_len(k)))) return false;
        return true;
    }
    return yyjson_equals(a, b);
}

struct member { yyjson_mut_val *key, *value; size_t place; };

static int compare_members(const void *x, const void *y) {
    const struct member *a = x, *b = y;
    size_t la = yyjson_mut_get_len(a->key), lb = yyjson_mut_get_len(b->key);
    int c = memcmp(yyjson_mut_get_str(a->key), yyjson_mut_get_str(b->key), MIN(la, lb));
    if (c == 0) c = (la > lb) - (la < lb);
    return c ? c : (a->place > b->place) - (a->place < b->place);
}

static void write_object(struct buf *out, yyjson_mut_val *v) {
    size_t i, n, len = yyjson_mut_obj_size(v);
    yyjson_mut_val *key, *value;
    struct member few[16], *all = len <= ARRAY_LEN(few) ? few : malloc(len * sizeof(*all));
    CHECK(all);
    yyjson_mut_obj_foreach(v, i, n, key, value) all[i] = (struct member){key, value, i};
    qsort(all, len, sizeof(*all), compare_members);
    buf_append_char(out, '{');
    bool first = true;
    for (i = 0; i < len; i++) {
        if (i + 1 < len && yyjson_mut_equals(all[i].key, all[i + 1].key)) continue; /* the last of equals counts */
        if (!first) buf_append_char(out, ',');
        first = false;
        json_write_string_n(out, yyjson_mut_get_str(all[i].key), yyjson_mut_get_len(all[i].key));
        buf_append_char(out, ':');
        json_write_sorted(out, all[i].value);
    }
    buf_append_char(out, '}');
    if (all != few) free(all);
}

void json_write_sorted(struct buf *out, yyjson_mut_val *v) {
    size_t i, n;
    yyjson_mut_val *item;
    if (yyjson_mut_is_obj(v)) write_object(out, v);
    else if (yyjson_mut_is_arr(v)) {
        buf_append_char(out, '[');
        yyjson_mut_arr_foreach(v, i, n, item) {
            if (i) buf_append_char(out, ',');
            json_write_sorted(out, item);
        }
        buf_append_char(out, ']');
    } else if (yyjson_mut_is_uint(v) && yyjson_mut_get_uint(v) > INT64_MAX) json_write_double(out, (double)yyjson_mut_get_uint(v));
    else json_write_mut(out, v);
}

const char *json_text(struct arena *a, yyjson_val *v) {
    struct buf out = BUF_INIT;
    yyjson_mut_doc *doc = json_mut_new(a, v);
    if (v) json_write_sorted(&out, yyjson_mut_doc_get_root(doc));
    const char *text = arena_strdup(a, v ? out.data : "null");
    buf_release(&out);
    return text;
}
