#include "api/custom_object.h"
#include <pthread.h>
#include <string.h>
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

/* ---- descriptors ---- */

/* Upstream's custom objects are maps, written with sorted keys: the metadata's descriptors with their fields in that order. */
static struct type_desc sorted_meta, sorted_owner, sorted_managed, list_meta;
static struct field_desc meta_fields[32], owner_fields[16], managed_fields[16], list_meta_fields[8];
static const uint16_t identity[32] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void sort_fields(struct type_desc *to, struct field_desc *fields, size_t max, const struct type_desc *from) {
    CHECK(from->fields_len <= max && from->fields_len <= ARRAY_LEN(identity));
    *to = *from;
    for (size_t i = 0; i < from->fields_len; i++) fields[i] = from->fields[from->by_name[i]];
    to->fields = fields;
    to->by_name = identity;
}

static void make_descs(void) {
    sort_fields(&sorted_owner, owner_fields, ARRAY_LEN(owner_fields), &metav1_OwnerReference_desc);
    sort_fields(&sorted_managed, managed_fields, ARRAY_LEN(managed_fields), &metav1_ManagedFieldsEntry_desc);
    sort_fields(&sorted_meta, meta_fields, ARRAY_LEN(meta_fields), &metav1_ObjectMeta_desc);
    sorted_meta.flags |= TYPE_SORTED_META;
    for (size_t i = 0; i < sorted_meta.fields_len; i++) {
        if (meta_fields[i].type == &metav1_OwnerReference_desc) meta_fields[i].type = &sorted_owner;
        if (meta_fields[i].type == &metav1_ManagedFieldsEntry_desc) meta_fields[i].type = &sorted_managed;
    }
    sort_fields(&list_meta, list_meta_fields, ARRAY_LEN(list_meta_fields), &metav1_ListMeta_desc);
    for (size_t i = 0; i < list_meta.fields_len; i++)
        if (strcmp(list_meta_fields[i].name, "continue") == 0) list_meta_fields[i].flags &= (uint8_t)~FIELD_OMITEMPTY; /* upstream writes "" */
}

/* The descriptors' own fields serve copying and comparing; writing and reading know the form. */
static const struct field_desc object_fields[] = {
    {.name = "apiVersion", .name_len = 10, .kind = FK_STRING, .offset = offsetof(struct custom_object, apiVersion)},
    {.name = "body", .name_len = 4, .kind = FK_RAW, .offset = offsetof(struct custom_object, body)},
    {.name = "kind", .name_len = 4, .kind = FK_STRING, .offset = offsetof(struct custom_object, kind)},
    {.name = "metadata", .name_len = 8, .kind = FK_STRUCT, .type = &metav1_ObjectMeta_desc, .offset = offsetof(struct custom_object, metadata)},
};

void custom_type_init(struct arena *a, struct custom_type *t, const char *group, const char *version, const char *kind, const char *list_kind) {
    pthread_once(&once, make_descs);
    t->api_version = arena_printf(a, "%s/%s", group, version);
    const char *name = arena_printf(a, "%s.%s.%s", group, version, kind);
    t->desc = (struct type_desc){.name = name, .group = group, .version = version, .kind = kind, .fields = object_fields, .by_name = identity, .size = sizeof(struct custom_object),
                                 .fields_len = ARRAY_LEN(object_fields), .flags = TYPE_HAS_TYPE_META | TYPE_HAS_OBJECT_META | TYPE_DOCUMENT};
    const struct field_desc fields[] = {
        {.name = "apiVersion", .name_len = 10, .kind = FK_STRING, .offset = offsetof(struct object_list, apiVersion)},
        {.name = "items", .name_len = 5, .kind = FK_STRUCT, .shape = SHAPE_LIST, .type = &t->desc, .offset = offsetof(struct object_list, items), .item_size = sizeof(struct custom_object), .flags = FIELD_REQUIRED},
        {.name = "kind", .name_len = 4, .kind = FK_STRING, .offset = offsetof(struct object_list, kind)},
        {.name = "metadata", .name_len = 8, .kind = FK_STRUCT, .type = &list_meta, .offset = offsetof(struct object_list, metadata)},
    };
    memcpy(t->list_fields, fields, sizeof(fields));
    t->list_desc = (struct type_desc){.name = arena_printf(a, "%s.%s.%s", group, version, list_kind), .group = group, .version = version, .kind = list_kind, .fields = t->list_fields, .by_name = identity,
                                      .item_type = &t->desc, .size = sizeof(struct object_list), .fields_len = ARRAY_LEN(fields), .flags = TYPE_HAS_TYPE_META | TYPE_HAS_LIST_META};
}

/* ---- decoding ---- */

struct reader { struct arena *arena; struct string_list *strict; struct buf path; };

static void duplicate(struct reader *r, const char *key) {
    string_list_push(r->arena, r->strict, arena_printf(r->arena, "duplicate field \"%s%s%s\"", buf_cstr(&r->path), r->path.len ? "." : "", key));
}

static int compare_keys(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Keys given twice, anywhere. */
static void find_duplicates(struct reader *r, yyjson_val *v) {
    size_t i, n, len = r->path.len, size = yyjson_obj_size(v);
    yyjson_val *key, *item;
    yyjson_arr_foreach(v, i, n, item) {
        buf_printf(&r->path, "[%zu]", i);
        find_duplicates(r, item);
        r->path.len = len;
    }
    if (size == 0) return;
    const char **keys = arena_calloc(r->arena, size, sizeof(char *));
    yyjson_obj_foreach(v, i, n, key, item) {
        keys[i] = yyjson_get_str(key);
        if (!yyjson_is_ctn(item)) continue;
        buf_printf(&r->path, "%s%s", len ? "." : "", yyjson_get_str(key));
        find_duplicates(r, item);
        r->path.len = len;
        if (r->path.data) r->path.data[len] = 0;
    }
    qsort(keys, size, sizeof(char *), compare_keys);
    for (i = 1; i < size; i++)
        if (strcmp(keys[i], keys[i - 1]) == 0) duplicate(r, keys[i]);
}

static int take_string(yyjson_val *v, const char *name, struct arena *a, const char **ret, struct status *reterr) {
    if (!v || yyjson_is_null(v)) return 0;
    if (!yyjson_is_str(v)) return status_bad_request(reterr, "json: cannot unmarshal %s into Go struct field .%s of type string", yyjson_get_type_desc(v), name);
    *ret = arena_strdup(a, yyjson_get_str(v));
    return 0;
}

static int take_meta(struct arena *a, struct custom_object *obj, yyjson_val *v, struct string_list *strict, struct status *reterr) {
    struct string_list found = {0};
    if (!v) return 0;
    if (object_decode_value(a, &metav1_ObjectMeta_desc, &obj->metadata, v, strict ? &found : NULL, reterr) != 0) return -1;
    for (size_t i = 0; i < found.len; i++) { /* their paths begin below metadata */
        const char *quote = strchr(found.items[i], '"');
        if (str_has_prefix(found.items[i], "unknown field ") && quote) string_list_push(a, strict, arena_printf(a, "unknown field \"metadata.%s", quote + 1));
    }
    return 0;
}

static const struct custom_type *version_of(const struct custom_type *t, const char *api_version) {
    for (size_t i = 0; t->versions && t->versions[i]; i++)
        if (str_eq(t->versions[i]->api_version, api_version)) return t->versions[i];
    return t;
}

static int fit_schema(struct arena *a, const struct structural *schema, bool preserve_unknown, yyjson_mut_doc *doc, struct string_list *unknown, struct status *reterr) {
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (!preserve_unknown) {
        structural_prune(a, schema, root, true, unknown);
        structural_prune_nulls(schema, root);
    }
    struct string_list more = {0};
    int failed = structural_coerce(a, doc, schema, root, false, unknown ? &more : NULL, reterr);
    for (size_t i = 0; i < more.len; i++) string_list_push(a, unknown, more.items[i]);
    return failed;
}

static int fit(struct arena *a, const struct custom_type *t, yyjson_mut_doc *doc, struct string_list *unknown, struct status *reterr) {
    return fit_schema(a, t->schema, t->preserve_unknown, doc, unknown, reterr);
}

/* Of a version that the kind does not have nothing is known: all its fields are unknown. It is refused for its version later, with these warnings. */
static bool is_of_no_version(const struct custom_type *t, const struct custom_object *obj) {
    size_t group = strlen(t->desc.group);
    return !str_eq(version_of(t, obj->apiVersion)->api_version, obj->apiVersion) && str_eq(obj->kind, t->desc.kind) && str_has_prefix(str_or(obj->apiVersion, ""), t->desc.group) && obj->apiVersion[group] == '/';
}

static void take_body(struct arena *a, struct custom_object *obj, yyjson_mut_val *root) {
    yyjson_mut_obj_remove_key(root, "kind");
    yyjson_mut_obj_remove_key(root, "apiVersion");
    yyjson_mut_obj_remove_key(root, "metadata");
    custom_object_set_body(a, obj, root);
}

void custom_object_set_body(struct arena *a, struct custom_object *obj, yyjson_mut_val *body) {
    struct buf out = BUF_INIT;
    json_write_sorted(&out, body);
    obj->body = (struct raw_json){arena_strndup(a, out.data, out.len), out.len};
    buf_release(&out);
}

int custom_object_decode(struct arena *a, const struct custom_type *t, struct custom_object *obj, yyjson_val *value, struct string_list *strict, struct status *reterr) {
    struct string_list unknown = {0};
    obj->type = t;
    if (!yyjson_is_obj(value)) return status_bad_request(reterr, "couldn't get version/kind; json parse error: json: cannot unmarshal %s into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }", yyjson_get_type_desc(value));
    if (strict) {
        struct reader r = {a, strict, BUF_INIT};
        find_duplicates(&r, value);
        buf_release(&r.path);
    }
    yyjson_mut_doc *doc = json_mut_new(a, value);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (take_string(yyjson_obj_get(value, "kind"), "kind", a, &obj->kind, reterr) != 0 || take_string(yyjson_obj_get(value, "apiVersion"), "apiVersion", a, &obj->apiVersion, reterr) != 0 ||
        take_meta(a, obj, yyjson_obj_get(value, "metadata"), strict, reterr) != 0)
        return -1;
    const struct custom_type *as = version_of(t, obj->apiVersion); /* as it was stored: its own schema first, then the one asked for */
    const struct structural *schema = strict && is_of_no_version(t, obj) ? NULL : as->schema;
    if (fit_schema(a, schema, t->preserve_unknown, doc, strict ? &unknown : NULL, reterr) != 0) return -1;
    structural_default(doc, schema, root);
    if (t->converts) obj->type = as;
    else if (as != t && fit(a, t, doc, NULL, reterr) != 0) return -1;
    for (size_t i = 0; i < unknown.len; i++) string_list_push(a, strict, arena_printf(a, "unknown field \"%s\"", unknown.items[i]));
    take_body(a, obj, root);
    return 0;
}

int custom_object_become(struct arena *a, struct custom_object *obj, const struct custom_type *t, yyjson_val *value, struct status *reterr) {
    yyjson_mut_doc *doc = json_mut_new(a, value);
    if (fit(a, t, doc, NULL, reterr) != 0) return -1;
    obj->type = t;
    obj->kind = t->desc.kind;
    obj->apiVersion = t->api_version;
    take_body(a, obj, yyjson_mut_doc_get_root(doc));
    return 0;
}

int custom_object_round_trip(struct arena *a, struct custom_object *obj, struct status *reterr) {
    const struct custom_type *t = obj->type, *steps[] = {t->storage, t};
    if (t->storage == t) return 0;
    for (size_t i = 0; i < 2; i++) {
        yyjson_mut_doc *doc = json_mut_new(a, custom_object_body(a, obj));
        if (fit(a, steps[i], doc, NULL, reterr) != 0) return -1;
        if (i == 0) structural_default(doc, steps[i]->schema, yyjson_mut_doc_get_root(doc)); /* as what is read from the store is: by the stored version's defaults */
        custom_object_set_body(a, obj, yyjson_mut_doc_get_root(doc));
    }
    return 0;
}

/* ---- encoding ---- */

static void put_member(struct buf *out, const char *name, const char *value) {
    buf_append_char(out, out->data[out->len - 1] == '{' ? ' ' : ',');
    if (out->data[out->len - 1] == ' ') out->len--;
    json_write_string(out, name);
    buf_append_char(out, ':');
    if (value) json_write_string(out, value);
}

static void put_metadata(const struct custom_object *obj, struct buf *out, size_t *rv_offset) {
    put_member(out, "metadata", NULL);
    if (!rv_offset) object_encode_json(&sorted_meta, &obj->metadata, out);
    else {
        size_t base = out->len, offset;
        object_encode_stored(&sorted_meta, &obj->metadata, out, &offset);
        *rv_offset = base + offset;
    }
}

void custom_object_encode(const struct custom_object *obj, const char *api_version, struct buf *out, size_t *rv_offset) {
    static const char *const own[] = {"apiVersion", "kind", "metadata"};
    yyjson_doc *doc = json_parse(obj->body.data ? obj->body.data : "{}", obj->body.data ? obj->body.len : 2, 0, NULL);
    size_t next = 0, i, n;
    yyjson_val *key, *value;
    CHECK(doc);
    buf_append_char(out, '{');
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, n, key, value) {
        for (; next < 3 && strcmp(own[next], yyjson_get_str(key)) < 0; next++) {
            if (next == 2) put_metadata(obj, out, rv_offset);
            else put_member(out, own[next], next == 0 ? api_version : obj->type->desc.kind);
        }
        put_member(out, yyjson_get_str(key), NULL);
        json_write_value(out, value);
    }
    for (; next < 3; next++) {
        if (next == 2) put_metadata(obj, out, rv_offset);
        else put_member(out, own[next], next == 0 ? api_version : obj->type->desc.kind);
    }
    buf_append_char(out, '}');
    yyjson_doc_free(doc);
}

yyjson_val *custom_object_body(struct arena *a, const struct custom_object *obj) {
    yyjson_doc *doc = json_parse_in(a, obj->body.data ? obj->body.data : "{}", obj->body.data ? obj->body.len : 2, 0, NULL);
    return yyjson_doc_get_root(doc);
}

yyjson_val *custom_object_document(struct arena *a, const struct custom_object *obj) {
    struct buf out = BUF_INIT;
    custom_object_encode(obj, obj->type->api_version, &out, NULL);
    yyjson_doc *doc = json_parse_in(a, out.data, out.len, 0, NULL);
    buf_release(&out);
    return yyjson_doc_get_root(doc);
}

yyjson_val *json_at(yyjson_val *root, const char *path) {
    if (*path == '.') path++;
    while (root && *path) {
        size_t len = strcspn(path, ".");
        root = yyjson_obj_getn(root, path, len);
        path += len;
        if (*path) path++;
    }
    return root;
}

/* ---- tables ---- */

void custom_table_columns(struct arena *a, const struct custom_type *t, struct metav1_Table *table) {
    for (size_t i = 0; i < t->columns.len; i++) {
        const struct apiextensionsv1_CustomResourceColumnDefinition *c = t->columns.items[i].column;
        *LIST_PUSH(a, &table->columnDefinitions) = (struct metav1_TableColumnDefinition){.name = c->name, .type = c->type, .format = str_or(c->format, ""), .priority = c->priority,
            .description = str_empty(c->description) ? arena_printf(a, "Custom resource definition column (in JSONPath format): %s", c->jsonPath) : c->description};
    }
}

static const char *string_cell(struct arena *a, yyjson_val *v) {
    struct buf out = BUF_INIT;
    json_write_string(&out, yyjson_is_str(v) ? yyjson_get_str(v) : json_text(a, v));
    const char *text = arena_strdup(a, out.data);
    buf_release(&out);
    return text;
}

static const char *date_cell(struct arena *a, yyjson_val *v, int64_t now_s) {
    struct api_time t;
    if (!yyjson_is_str(v)) return "null";
    if (time_parse(yyjson_get_str(v), &t, NULL) != 0) return "\"<invalid>\"";
    return arena_printf(a, "\"%s\"", human_duration(a, now_s - t.sec));
}

static const char *cell(struct arena *a, const char *type, yyjson_val *v, int64_t now_s) {
    if (strcmp(type, "string") == 0) return string_cell(a, v);
    if (strcmp(type, "date") == 0) return date_cell(a, v, now_s);
    if (strcmp(type, "boolean") == 0 && yyjson_is_bool(v)) return yyjson_get_bool(v) ? "true" : "false";
    if (strcmp(type, "integer") == 0 && yyjson_is_num(v)) return arena_printf(a, "%lld", yyjson_is_int(v) ? (long long)yyjson_get_sint(v) : (long long)yyjson_get_real(v));
    if (strcmp(type, "number") == 0 && yyjson_is_num(v)) return json_text(a, v);
    return "null";
}

struct raw_json_list custom_table_cells(struct arena *a, const struct custom_object *obj, int64_t now_s) {
    struct raw_json_list cells = {0};
    yyjson_val *doc = custom_object_document(a, obj);
    for (size_t i = 0; i < obj->type->columns.len; i++) {
        const struct custom_column *c = &obj->type->columns.items[i];
        struct jsonpath_found found = {0};
        if (c->path) jsonpath_find(a, c->path, doc, &found);
        const char *text = found.len ? cell(a, c->column->type, found.items[0], now_s) : "null";
        *LIST_PUSH(a, &cells) = (struct raw_json){text, strlen(text)};
    }
    return cells;
}
