/* See merge_schema.h. Any thread; descriptors are constants. Tests: tests/unit/test_apply.c. */
#include "api/merge_schema.h"
#include <stdlib.h>
#include <string.h>
#include "api/object.h"
#include "base/str.h"
#include "wire/json.h"

struct schema_ref schema_of_type(const struct type_desc *type) { return (struct schema_ref){REF_TYPE, type, NULL}; }
struct schema_ref schema_deduced(void) { return (struct schema_ref){.kind = REF_DEDUCED}; }

struct schema_ref schema_of_node(const struct schema_node *node) {
    if (!node) return schema_deduced();
    return node->builtin ? schema_of_type(node->builtin) : (struct schema_ref){REF_NODE, NULL, node};
}

static struct schema_ref untyped_atomic(void) { return (struct schema_ref){.kind = REF_UNTYPED_ATOMIC}; }

/* ---- built-in types ---- */

static struct atom resolve_type(const struct type_desc *type) {
    return (struct atom){.map = type->flags & TYPE_MAP_ATOMIC ? RELATION_ATOMIC : RELATION_GRANULAR};
}

static struct atom resolve_scalar(const struct field_desc *f) {
    switch ((enum field_kind)f->kind) {
        case FK_STRING: case FK_BYTES: return (struct atom){.scalar = SCALAR_STRING};
        case FK_BOOL: return (struct atom){.scalar = SCALAR_BOOLEAN};
        case FK_INT32: case FK_INT64: case FK_DOUBLE: return (struct atom){.scalar = SCALAR_NUMERIC};
        case FK_TIME: case FK_MICROTIME: case FK_QUANTITY: case FK_INTORSTRING: return (struct atom){.scalar = SCALAR_UNTYPED};
        case FK_RAW: return schema_resolve(untyped_atomic());
        case FK_STRUCT: return resolve_type(f->type);
        case FK_STRING_LIST: return (struct atom){.list = RELATION_ATOMIC};
    }
    return (struct atom){0};
}

static struct atom resolve_list(struct schema_ref ref, const struct field_desc *f) {
    struct atom a = {.list = RELATION_ATOMIC, .list_item = {REF_ITEM, ref.type, f}};
    if (f->list_type == LIST_SET) a.list = RELATION_ASSOCIATIVE;
    else if (f->list_type == LIST_MAP && f->list_keys) {
        a.list = RELATION_ASSOCIATIVE;
        a.keys = f->list_keys;
    }
    return a;
}

static struct atom resolve_field(struct schema_ref ref) {
    const struct field_desc *f = ref.p;
    if (f->shape == SHAPE_LIST) return resolve_list(ref, f);
    struct atom a;
    if (f->shape == SHAPE_MAP) a = (struct atom){.map = RELATION_GRANULAR, .map_item = {REF_ITEM, ref.type, f}};
    else a = resolve_scalar(f);
    if ((f->flags & FIELD_MAP_ATOMIC) && a.map) a.map = RELATION_ATOMIC;
    if ((f->flags & FIELD_MAP_GRANULAR) && a.map) a.map = RELATION_GRANULAR;
    return a;
}

struct atom schema_resolve(struct schema_ref ref) {
    switch (ref.kind) {
        case REF_TYPE: return resolve_type(ref.type);
        case REF_FIELD: return resolve_field(ref);
        case REF_ITEM: return resolve_scalar(ref.p);
        case REF_NODE: return ((const struct schema_node *)ref.p)->atom;
        case REF_DEDUCED:
            return (struct atom){SCALAR_UNTYPED, RELATION_ATOMIC, RELATION_GRANULAR, NULL, untyped_atomic(), schema_deduced()};
        case REF_UNTYPED_ATOMIC:
            return (struct atom){SCALAR_UNTYPED, RELATION_ATOMIC, RELATION_ATOMIC, NULL, untyped_atomic(), untyped_atomic()};
        case REF_NONE: break;
    }
    return (struct atom){0};
}

/* The struct type behind a reference, if it is one. */
static const struct type_desc *struct_of(struct schema_ref ref) {
    if (ref.kind == REF_TYPE) return ref.type;
    if (ref.kind != REF_FIELD && ref.kind != REF_ITEM) return NULL;
    const struct field_desc *f = ref.p;
    if (ref.kind == REF_FIELD && f->shape != SHAPE_PLAIN && f->shape != SHAPE_POINTER) return NULL;
    return f->kind == FK_STRUCT ? f->type : NULL;
}

static const struct schema_node_field *node_field(const struct schema_node *n, const char *name) {
    size_t lo = 0, hi = n->fields_len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(n->fields[mid].name, name);
        if (c == 0) return &n->fields[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

struct schema_ref schema_member(struct schema_ref ref, const struct atom *atom, const char *name, bool *declared) {
    *declared = false;
    const struct type_desc *type = struct_of(ref);
    if (type) {
        const struct field_desc *f = type_field(type, name, strlen(name));
        *declared = f != NULL;
        return f ? (struct schema_ref){REF_FIELD, type, f} : (struct schema_ref){0};
    }
    const struct schema_node_field *f = ref.kind == REF_NODE ? node_field(ref.p, name) : NULL;
    if (f) {
        *declared = true;
        return schema_of_node(f->node);
    }
    return atom->map_item;
}

/* The generator of upstream's schema gives plain fields that are always written their zero value as default. */
static bool zero_default(const struct field_desc *f, struct value *ret) {
    if (f->shape != SHAPE_PLAIN || (f->flags & FIELD_OMITEMPTY)) return false;
    if (f->kind == FK_STRING) *ret = value_string("");
    else if (f->kind == FK_INT32 || f->kind == FK_INT64) *ret = (struct value){.kind = VALUE_INT};
    else if (f->kind == FK_BOOL) *ret = (struct value){.kind = VALUE_BOOL};
    else return false;
    return true;
}

bool schema_key_default(struct arena *a, struct schema_ref item, const char *name, struct value *ret) {
    const struct type_desc *type = struct_of(item);
    if (type) {
        const struct field_desc *f = type_field(type, name, strlen(name));
        if (!f) return false;
        if (!f->default_json) return zero_default(f, ret);
        yyjson_doc *doc = json_parse_in(a, f->default_json, strlen(f->default_json), 0, NULL);
        if (!doc) return false;
        *ret = value_from_json(a, yyjson_doc_get_root(doc));
        return true;
    }
    const struct schema_node_field *f = item.kind == REF_NODE ? node_field(item.p, name) : NULL;
    if (!f || !f->default_value) return false;
    *ret = *f->default_value;
    return true;
}

/* ---- custom resources ---- */

static const struct schema_node *convert(struct arena *a, yyjson_val *s);

static bool flag(yyjson_val *s, const char *name) { return yyjson_get_bool(yyjson_obj_get(s, name)); }
static const char *text(yyjson_val *s, const char *name) { return yyjson_get_str(yyjson_obj_get(s, name)); }

static int compare_fields(const void *x, const void *y) { return strcmp(((const struct schema_node_field *)x)->name, ((const struct schema_node_field *)y)->name); }

static void convert_fields(struct arena *a, yyjson_val *properties, struct schema_node *n) {
    size_t i, max;
    yyjson_val *k, *v;
    struct { struct schema_node_field *items; size_t len; } fields = {0};
    if (!properties) return;
    yyjson_obj_foreach(properties, i, max, k, v) {
        struct schema_node_field *f = LIST_PUSH(a, &fields);
        f->name = arena_strdup(a, yyjson_get_str(k));
        f->node = convert(a, v);
        yyjson_val *d = yyjson_obj_get(v, "default");
        if (d && !yyjson_is_null(d)) {
            f->default_value = ARENA_NEW(a, struct value);
            *f->default_value = value_from_json(a, d);
        }
    }
    if (fields.len) qsort(fields.items, fields.len, sizeof(*fields.items), compare_fields);
    n->fields = fields.items;
    n->fields_len = fields.len;
}

static void convert_map(struct arena *a, yyjson_val *s, struct schema_node *n) {
    yyjson_val *additional = yyjson_obj_get(s, "additionalProperties");
    n->atom.map = str_eq(text(s, "x-kubernetes-map-type"), "atomic") ? RELATION_ATOMIC : RELATION_GRANULAR;
    convert_fields(a, yyjson_obj_get(s, "properties"), n);
    if (yyjson_is_obj(additional)) n->atom.map_item = schema_of_node(convert(a, additional));
    else if (flag(s, "x-kubernetes-preserve-unknown-fields") || yyjson_get_bool(additional)) n->atom.map_item = schema_deduced();
    if (flag(s, "x-kubernetes-embedded-resource") && !yyjson_obj_get(yyjson_obj_get(s, "properties"), "metadata") && n->atom.map_item.kind == REF_NONE) n->atom.map_item = schema_deduced();
}

static void convert_list(struct arena *a, yyjson_val *s, struct schema_node *n) {
    const char *type = text(s, "x-kubernetes-list-type");
    yyjson_val *items = yyjson_obj_get(s, "items"), *keys = yyjson_obj_get(s, "x-kubernetes-list-map-keys");
    n->atom.list = str_eq(type, "set") || str_eq(type, "map") ? RELATION_ASSOCIATIVE : RELATION_ATOMIC;
    n->atom.list_item = yyjson_is_obj(items) ? schema_of_node(convert(a, items)) : untyped_atomic();
    if (!str_eq(type, "map") || yyjson_arr_size(keys) == 0) return;
    const char **list = arena_calloc(a, yyjson_arr_size(keys) + 1, sizeof(char *));
    for (size_t i = 0; i < yyjson_arr_size(keys); i++) list[i] = arena_strdup(a, str_or(yyjson_get_str(yyjson_arr_get(keys, i)), ""));
    n->atom.keys = list;
}

/* NULL: nothing is known of the type. */
static const struct schema_node *convert(struct arena *a, yyjson_val *s) {
    const char *type = text(s, "type");
    struct schema_node *n = ARENA_NEW(a, struct schema_node);
    if (flag(s, "x-kubernetes-int-or-string")) n->atom.scalar = SCALAR_UNTYPED;
    else if (str_eq(type, "string")) n->atom.scalar = SCALAR_STRING;
    else if (str_eq(type, "integer") || str_eq(type, "number")) n->atom.scalar = SCALAR_NUMERIC;
    else if (str_eq(type, "boolean")) n->atom.scalar = SCALAR_BOOLEAN;
    else if (str_eq(type, "array")) convert_list(a, s, n);
    else if (str_eq(type, "object") || yyjson_obj_get(s, "properties")) convert_map(a, s, n);
    else return NULL;
    return n;
}

static void set_root_field(struct arena *a, struct schema_node *n, const char *name, const struct schema_node *node) {
    size_t i = 0;
    while (i < n->fields_len && strcmp(n->fields[i].name, name) < 0) i++;
    if (i == n->fields_len || strcmp(n->fields[i].name, name) != 0) {
        struct schema_node_field *grown = arena_calloc(a, n->fields_len + 1, sizeof(*grown));
        if (i) memcpy(grown, n->fields, i * sizeof(*grown));
        if (i < n->fields_len) memcpy(grown + i + 1, n->fields + i, (n->fields_len - i) * sizeof(*grown));
        n->fields = grown;
        n->fields_len++;
    }
    n->fields[i] = (struct schema_node_field){.name = name, .node = node};
}

const struct schema_node *schema_from_openapi(struct arena *a, yyjson_val *schema) {
    const struct schema_node *converted = schema ? convert(a, schema) : NULL;
    struct schema_node *root = ARENA_NEW(a, struct schema_node), *string = ARENA_NEW(a, struct schema_node), *meta = ARENA_NEW(a, struct schema_node);
    if (converted && converted->atom.map) *root = *converted;
    else root->atom = (struct atom){.map = RELATION_GRANULAR, .map_item = schema_deduced()};
    string->atom.scalar = SCALAR_STRING;
    meta->builtin = &metav1_ObjectMeta_desc;
    set_root_field(a, root, "apiVersion", string);
    set_root_field(a, root, "kind", string);
    set_root_field(a, root, "metadata", meta);
    return root;
}
