#include "api/printers.h"
#include "api/custom_object.h"
#include <string.h>
#include "api/convert.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

static const char name_description[] =
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name "
    "automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
static const char created_description[] =
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. "
    "Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

static void push_raw(struct row *row, const char *json) {
    *LIST_PUSH(row->arena, &row->cells) = (struct raw_json){json, strlen(json)};
}

void cell_str(struct row *row, const char *s) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    json_write_string(&out, s);
    push_raw(row, arena_strdup(row->arena, out.data));
}

void cell_int(struct row *row, int64_t v) { push_raw(row, arena_printf(row->arena, "%lld", (long long)v)); }

void cell_printf(struct row *row, const char *format, ...) {
    va_list args;
    va_start(args, format);
    cell_str(row, arena_vprintf(row->arena, format, args));
    va_end(args);
}

void cell_age(struct row *row, const struct api_time *since) {
    if (!since->set) cell_str(row, "<unknown>");
    else cell_str(row, human_duration(row->arena, row->now_s - since->sec));
}

static void print_name_and_created(struct row *row, const void *obj) {
    const struct object *o = obj;
    struct buf out = BUF_INIT;
    cell_str(row, o->metadata.name);
    if (o->metadata.creationTimestamp.set) time_format(&o->metadata.creationTimestamp, &out);
    cell_str(row, buf_cstr(&out));
    buf_release(&out);
}

static const struct column default_columns[] = {{"Name", "string", "name", name_description, 0}, {"Created At", "date", "", created_description, 0}};

static struct raw_json encode_raw(struct arena *a, const struct type_desc *type, const void *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    object_encode_json(type, obj, &out);
    return (struct raw_json){arena_strndup(a, out.data, out.len), out.len};
}

static struct string_map without_key(struct arena *a, const struct string_map *map, const char *key) {
    struct string_map rest = {0};
    LIST_FOREACH(e, map)
        if (strcmp(e->key, key) != 0) string_map_set(a, &rest, e->key, e->value);
    return rest;
}

static struct raw_json row_object(struct arena *a, const struct type_desc *type, const void *obj, const char *include, const struct type_desc *as) {
    const struct object *o = obj;
    if (str_eq(include, "None")) return (struct raw_json){"null", 4};
    if (str_eq(include, "Object")) {
        struct object *copy = arena_memdup(a, object_convert(a, type, obj, as), as->size);
        object_set_type_meta(a, as, copy);
        return encode_raw(a, as, copy);
    }
    struct metav1_PartialObjectMetadata m = {.kind = "PartialObjectMetadata", .apiVersion = "meta.k8s.io/v1", .metadata = o->metadata};
    if (type == &appsv1_DaemonSet_desc) m.metadata.annotations = without_key(a, &m.metadata.annotations, "deprecated.daemonset.template.generation"); /* rows are of the internal version, which has none */
    return encode_raw(a, &metav1_PartialObjectMetadata_desc, &m);
}

static void add_row(struct arena *a, struct metav1_Table *t, const struct type_desc *type, const void *obj, const struct printer *p, const char *include, int64_t now_s, const struct type_desc *as) {
    struct row row = {.arena = a, .now_s = now_s};
    if (type->flags & TYPE_DOCUMENT) {
        cell_str(&row, ((const struct object *)obj)->metadata.name);
        struct raw_json_list cells = custom_table_cells(a, obj, now_s);
        for (size_t i = 0; i < cells.len; i++) *LIST_PUSH(a, &row.cells) = cells.items[i];
    } else if (p) p->print(&row, obj);
    else print_name_and_created(&row, obj);
    struct metav1_TableRow *r = LIST_PUSH(a, &t->rows);
    r->cells = row.cells;
    r->object = row_object(a, type, obj, include, as);
    if (type == &corev1_Pod_desc) {
        const char *phase = ((const struct corev1_Pod *)obj)->status.phase;
        if (str_eq(phase, "Succeeded") || str_eq(phase, "Failed")) {
            bool ok = str_eq(phase, "Succeeded");
            *LIST_PUSH(a, &r->conditions) = (struct metav1_TableRowCondition){.type = "Completed", .status = "True", .reason = phase,
                .message = ok ? "The pod has completed successfully." : "The pod failed."};
        }
    }
}

struct metav1_Table *printers_table(struct arena *a, const struct type_desc *type, const void *obj, const char *include, int64_t now_s) {
    return printers_table_as(a, type, obj, include, now_s, type->item_type ? type->item_type : type);
}

struct metav1_Table *printers_table_as(struct arena *a, const struct type_desc *type, const void *obj, const char *include, int64_t now_s, const struct type_desc *as) {
    struct metav1_Table *t = ARENA_NEW(a, struct metav1_Table);
    const struct type_desc *item = type->item_type ? type->item_type : type;
    const struct printer *p = printer_find(item);
    const struct column *columns = p ? p->columns : default_columns;
    size_t columns_len = item->flags & TYPE_DOCUMENT ? 1 : p ? *p->columns_len : ARRAY_LEN(default_columns); /* a custom object's begin with its name */
    t->kind = "Table";
    t->apiVersion = "meta.k8s.io/v1";
    for (size_t i = 0; i < columns_len; i++) {
        const char *d = columns[i].description;
        d = d ? d : strcmp(columns[i].name, "Name") == 0 ? name_description : strcmp(columns[i].name, "Age") == 0 ? created_description : "";
        *LIST_PUSH(a, &t->columnDefinitions) = (struct metav1_TableColumnDefinition){.name = columns[i].name, .type = columns[i].type, .format = columns[i].format, .description = d, .priority = columns[i].priority};
    }
    if (item->flags & TYPE_DOCUMENT) custom_table_columns(a, custom_type_of(item), t);
    t->rows.items = arena_list_alloc(a, 0, sizeof(*t->rows.items));
    if (!type->item_type) {
        t->metadata.resourceVersion = ((const struct object *)obj)->metadata.resourceVersion;
        add_row(a, t, type, obj, p, include, now_s, as);
        return t;
    }
    const struct object_list *list = obj;
    t->metadata = list->metadata;
    for (size_t i = 0; i < list->items.len; i++) add_row(a, t, item, (const char *)list->items.items + i * item->size, p, include, now_s, as);
    return t;
}

void *printers_partial_metadata(struct arena *a, const struct type_desc *type, const void *obj, const struct type_desc **ret_type) {
    if (!type->item_type) {
        struct metav1_PartialObjectMetadata *m = ARENA_NEW(a, struct metav1_PartialObjectMetadata);
        *m = (struct metav1_PartialObjectMetadata){.kind = "PartialObjectMetadata", .apiVersion = "meta.k8s.io/v1", .metadata = ((const struct object *)obj)->metadata};
        *ret_type = &metav1_PartialObjectMetadata_desc;
        return m;
    }
    const struct object_list *list = obj;
    struct metav1_PartialObjectMetadataList *m = ARENA_NEW(a, struct metav1_PartialObjectMetadataList);
    m->kind = "PartialObjectMetadataList";
    m->apiVersion = "meta.k8s.io/v1";
    m->metadata = list->metadata;
    for (size_t i = 0; i < list->items.len; i++)
        *LIST_PUSH(a, &m->items) = (struct metav1_PartialObjectMetadata){.kind = "PartialObjectMetadata", .apiVersion = "meta.k8s.io/v1",
            .metadata = ((const struct object *)(const void *)((const char *)list->items.items + i * type->item_type->size))->metadata};
    *ret_type = &metav1_PartialObjectMetadataList_desc;
    return m;
}
