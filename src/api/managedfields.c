/* Managers' entries and what updates do to them: see managedfields.h. Applying: managed_apply.c. Any thread; touches nothing but its arguments.
 * Tests: tests/unit/test_managedfields.c. */
#include "api/managedfields.h"
#include <stdlib.h>
#include <string.h>
#include "api/convert.h"
#include "api/custom_object.h"
#include "api/managed_entries.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

enum { UPDATE_MANAGERS_MAX = 10 };

/* ---- entries ---- */

bool managed_same(const struct managed_entry *a, const struct managed_entry *b) {
    return str_eq(a->manager, b->manager) && str_eq(a->operation, b->operation) && str_eq(a->id_version, b->id_version) && str_eq(a->subresource, b->subresource);
}

const char *managed_id(struct arena *a, const struct managed_entry *e) {
    struct metav1_ManagedFieldsEntry id = {.manager = e->manager, .operation = e->operation, .apiVersion = e->id_version, .subresource = e->subresource};
    _cleanup_buf_ struct buf out = BUF_INIT;
    object_encode_json(&metav1_ManagedFieldsEntry_desc, &id, &out);
    return arena_strndup(a, out.data, out.len);
}

struct managed_entry *managed_find(const struct managed *m, const struct managed_entry *like) {
    LIST_FOREACH(e, m) if (managed_same(e, like)) return e;
    return NULL;
}

struct managed_entry *managed_put(struct arena *a, struct managed *m, const struct managed_entry *e) {
    struct managed_entry *slot = managed_find(m, e);
    if (!slot) slot = LIST_PUSH(a, m);
    *slot = *e;
    return slot;
}

void managed_remove_empty(struct managed *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->len; i++)
        if (!field_set_empty(&m->items[i].set)) m->items[n++] = m->items[i];
    m->len = n;
}

struct managed managed_copy(struct arena *a, const struct managed *m) {
    struct managed out = {arena_list_alloc(a, m->len, sizeof(*out.items)), m->len};
    if (m->len) memcpy(out.items, m->items, m->len * sizeof(*out.items));
    return out;
}

void managed_set(struct managed_entry *e, struct field_set set) {
    e->set = set;
    e->text.data = NULL;
}

struct managed_entry managed_self(const struct field_manager *m, const char *operation) {
    bool apply = str_eq(operation, OPERATION_APPLY);
    return (struct managed_entry){.manager = str_or(m->manager, "unknown"), .operation = operation, .id_version = apply ? NULL : m->api_version, .subresource = m->subresource, .version = m->api_version, .applied = apply};
}

static int decode_entry(struct arena *a, const struct metav1_ManagedFieldsEntry *in, size_t i, struct managed_entry *ret, struct status *reterr) {
    bool apply = str_eq(in->operation, OPERATION_APPLY);
    if (!apply && !str_eq(in->operation, OPERATION_UPDATE)) return status_bad_request(reterr, "operation must be `Apply` or `Update`");
    if (str_empty(in->apiVersion)) return status_bad_request(reterr, "apiVersion must not be empty");
    if (str_empty(in->fieldsType)) return status_bad_request(reterr, "missing fieldsType in managed fields entry %zu", i);
    if (!str_eq(in->fieldsType, "FieldsV1")) return status_bad_request(reterr, "invalid fieldsType \"%s\" in managed fields entry %zu", in->fieldsType, i);
    *ret = (struct managed_entry){.manager = in->manager, .operation = in->operation, .id_version = apply ? NULL : in->apiVersion, .subresource = in->subresource, .version = in->apiVersion, .time = in->time, .applied = apply};
    if (!in->fieldsV1.data) return 0;
    return field_set_parse(a, in->fieldsV1.data, in->fieldsV1.len, &ret->set, reterr);
}

int managed_decode(struct arena *a, const struct metav1_ManagedFieldsEntry_list *entries, struct managed *ret, struct status *reterr) {
    struct managed m = {0};
    for (size_t i = 0; i < entries->len; i++) {
        struct managed_entry e;
        if (decode_entry(a, &entries->items[i], i, &e, reterr) != 0) return -1;
        managed_put(a, &m, &e);
    }
    *ret = m;
    return 0;
}

static int compare_entries(const void *x, const void *y) {
    const struct metav1_ManagedFieldsEntry *p = x, *q = y;
    int64_t s = p->time.set ? p->time.sec : 0, t = q->time.set ? q->time.sec : 0;
    int c = str_cmp(p->operation, q->operation);
    if (!c) c = (s > t) - (s < t);
    if (!c) c = str_cmp(p->manager, q->manager);
    if (!c) c = str_cmp(p->apiVersion, q->apiVersion);
    return c ? c : str_cmp(p->subresource, q->subresource);
}

struct metav1_ManagedFieldsEntry_list managed_encode(struct arena *a, const struct managed *managed) {
    struct metav1_ManagedFieldsEntry_list out = {0};
    if (managed->len == 0) return out;
    out.items = arena_list_alloc(a, managed->len, sizeof(*out.items));
    _cleanup_buf_ struct buf text = BUF_INIT;
    LIST_FOREACH(e, managed) {
        struct metav1_ManagedFieldsEntry *o = &out.items[out.len++];
        *o = (struct metav1_ManagedFieldsEntry){.manager = e->manager, .operation = e->operation, .apiVersion = e->version, .time = e->time, .fieldsType = "FieldsV1", .fieldsV1 = e->text, .subresource = e->subresource};
        if (o->fieldsV1.data) continue;
        buf_clear(&text);
        field_set_write(&text, &e->set);
        o->fieldsV1 = (struct raw_json){arena_strndup(a, text.data, text.len), text.len};
    }
    if (out.len > 1) qsort(out.items, out.len, sizeof(*out.items), compare_entries);
    return out;
}

/* The server's own entries are written as they should be: what does not change needs no writing again. */
static struct managed decode_live(struct arena *a, const struct metav1_ManagedFieldsEntry_list *live) {
    struct managed m = {0};
    if (managed_decode(a, live, &m, NULL) != 0) return (struct managed){0};
    if (m.len == live->len)
        for (size_t i = 0; i < m.len; i++) m.items[i].text = live->items[i].fieldsV1;
    return m;
}

static bool is_reset(const struct metav1_ManagedFieldsEntry_list *sent) {
    if (sent->len == 0) return sent->items != NULL;
    return sent->len == 1 && object_is_zero(&metav1_ManagedFieldsEntry_desc, &sent->items[0]);
}

struct managed managed_of_update(const struct field_manager *m, const struct metav1_ManagedFieldsEntry_list *live, const struct metav1_ManagedFieldsEntry_list *sent) {
    struct managed managed = {0};
    if (str_empty(m->subresource)) {
        if (is_reset(sent)) return managed;
        if (sent->len && managed_decode(m->arena, sent, &managed, NULL) == 0 && managed.len) return managed;
    }
    return decode_live(m->arena, live);
}

/* ---- sets ---- */

struct field_set managed_filter(const struct field_manager *m, const struct field_set *s) {
    if (!m->reset || !m->reset->exclude || s->len == 0) return *s;
    struct field_set exclude = field_set_of(m->arena, m->reset->exclude);
    return field_set_recursive_difference(m->arena, s, &exclude);
}

struct field_set managed_strip(struct arena *a, const struct field_set *s) {
#define OWNED_BY_NOBODY(field) {.pe = {PATH_FIELD, {.name = field}}, .member = true}
    static struct set_node metadata[] = {OWNED_BY_NOBODY("clusterName"), OWNED_BY_NOBODY("creationTimestamp"), OWNED_BY_NOBODY("generation"), OWNED_BY_NOBODY("managedFields"), OWNED_BY_NOBODY("name"),
                                         OWNED_BY_NOBODY("namespace"), OWNED_BY_NOBODY("resourceVersion"), OWNED_BY_NOBODY("selfLink"), OWNED_BY_NOBODY("uid")};
    static struct set_node root[] = {OWNED_BY_NOBODY("apiVersion"), OWNED_BY_NOBODY("kind"), {.pe = {PATH_FIELD, {.name = "metadata"}}, .member = true, .children = {metadata, ARRAY_LEN(metadata)}}};
    static const struct field_set strip = {root, ARRAY_LEN(root)};
#undef OWNED_BY_NOBODY
    return field_set_difference(a, s, &strip);
}

bool managed_schema(const struct field_manager *m, const char *api_version, struct schema_ref *ret) {
    if (!str_eq(api_version, m->api_version)) return m->version_schema && m->version_schema(m, api_version, ret);
    *ret = m->schema;
    return true;
}

bool managed_convert(const struct field_manager *m, const struct value *v, const char *from, const char *to, struct value *ret) {
    if (!str_eq(from, to)) return m->convert && m->convert(m, v, from, to, ret);
    *ret = *v;
    return true;
}

void managed_reconcile(const struct field_manager *m, struct managed *managed) {
    size_t n = 0;
    LIST_FOREACH(e, managed) {
        struct schema_ref schema;
        if (!managed_schema(m, e->version, &schema)) continue;
        struct field_set set = typed_set_reconcile(m->arena, schema, &e->set);
        if (set.items != e->set.items) managed_set(e, set);
        managed->items[n++] = *e;
    }
    managed->len = n;
}

const struct version_diff *managed_diff(const struct field_manager *m, struct version_diffs *diffs, const char *version, const struct value *live, const struct value *now, struct status *reterr) {
    LIST_FOREACH(d, diffs) if (str_eq(d->version, version)) return d;
    struct schema_ref schema;
    struct value *pair = arena_calloc(m->arena, 2, sizeof(*pair));
    if (!managed_schema(m, version, &schema) || !managed_convert(m, live, m->api_version, version, &pair[0]) || !managed_convert(m, now, m->api_version, version, &pair[1])) return NULL;
    struct string_list errs = {0};
    struct version_diff d = {.version = version};
    typed_compare(m->arena, schema, &pair[0], &pair[1], &d.diff, &errs);
    if (errs.len) {
        status_set(reterr, 500, NULL, "failed to compare objects: %s", typed_error_text(m->arena, &errs));
        return NULL;
    }
    d.diff.removed = managed_filter(m, &d.diff.removed);
    d.changed = field_set_union(m->arena, &d.diff.modified, &d.diff.added);
    d.changed = managed_filter(m, &d.changed);
    struct version_diff *slot = LIST_PUSH(m->arena, diffs);
    *slot = d;
    return slot;
}

/* ---- updates ---- */

struct old_manager { const struct managed_entry *entry; const char *id; };

static int compare_ages(const void *x, const void *y) {
    const struct old_manager *p = x, *q = y;
    int64_t s = p->entry->time.set ? p->entry->time.sec : 0, t = q->entry->time.set ? q->entry->time.sec : 0;
    return s != t ? (s > t) - (s < t) : strcmp(p->id, q->id);
}

/* Too many managers of updates: the oldest of a version become one. */
static void cap_managers(const struct field_manager *m, struct managed *managed) {
    struct { struct old_manager *items; size_t len; } updates = {0};
    LIST_FOREACH(e, managed) if (!e->applied) *LIST_PUSH(m->arena, &updates) = (struct old_manager){arena_memdup(m->arena, e, sizeof(*e)), managed_id(m->arena, e)};
    if (updates.len <= UPDATE_MANAGERS_MAX) return;
    qsort(updates.items, updates.len, sizeof(*updates.items), compare_ages);
    size_t left = updates.len;
    for (size_t i = 0; i < updates.len && left > UPDATE_MANAGERS_MAX; i++) {
        const struct managed_entry *e = updates.items[i].entry, *first = NULL;
        for (size_t j = 0; j < i && !first; j++)
            if (str_eq(updates.items[j].entry->version, e->version)) first = updates.items[j].entry;
        if (!first) continue;
        struct managed_entry bucket = {.manager = "ancient-changes", .operation = OPERATION_UPDATE, .id_version = e->version, .version = e->version, .time = e->time};
        struct managed_entry *old = managed_find(managed, &bucket), *one = managed_find(managed, first);
        bucket.set = old ? old->set : one ? one->set : bucket.set;
        bucket.set = field_set_union(m->arena, &bucket.set, &e->set);
        if (!old && one) managed_set(one, (struct field_set){0});
        one = managed_find(managed, e);
        if (one) managed_set(one, (struct field_set){0});
        managed_put(m->arena, managed, &bucket);
        left--;
    }
    managed_remove_empty(managed);
}

int managed_update(const struct field_manager *m, const struct value *live, bool create, const struct value *now, struct managed *managed, struct status *reterr) {
    struct version_diffs diffs = {0};
    if (managed->len == 0 && !create) return 0; /* what nobody manages stays so until an apply */
    const struct version_diff *own = managed_diff(m, &diffs, m->api_version, live, now, reterr);
    if (!own) return -1;
    const struct field_set taken = own->changed;
    managed_reconcile(m, managed);
    LIST_FOREACH(e, managed) {
        struct schema_ref schema;
        const struct version_diff *d = managed_diff(m, &diffs, e->version, live, now, reterr);
        if (!d && managed_schema(m, e->version, &schema)) return -1; /* what does not fit that version's schema */
        struct field_set lost = d ? field_set_union(m->arena, &d->changed, &d->diff.removed) : e->set; /* a version that the object cannot be had in */
        lost = field_set_intersection(m->arena, &e->set, &lost);
        if (lost.len) managed_set(e, field_set_difference(m->arena, &e->set, &lost));
    }
    managed_remove_empty(managed);
    struct managed_entry self = managed_self(m, OPERATION_UPDATE);
    self.set = managed_strip(m->arena, &taken);
    if (!field_set_empty(&self.set)) {
        const struct managed_entry *before = managed_find(managed, &self);
        if (before) self.set = field_set_union(m->arena, &self.set, &before->set);
        self.time = time_from_s(m->now_s);
        managed_put(m->arena, managed, &self);
    }
    cap_managers(m, managed);
    return 0;
}

/* ---- typed objects ---- */

static const struct type_desc *builtin_version(const struct field_manager *m, const char *api_version) {
    const char *slash = strchr(api_version, '/');
    const char *group = slash ? arena_strndup(m->arena, api_version, (size_t)(slash - api_version)) : "";
    return api_kind_find(group, slash ? slash + 1 : api_version, m->kind);
}

static bool builtin_version_schema(const struct field_manager *m, const char *api_version, struct schema_ref *ret) {
    const struct type_desc *type = builtin_version(m, api_version);
    if (!type) return false;
    *ret = schema_of_type(type);
    return true;
}

/* A document as an object of its type; NULL with an error. */
static struct object *object_of(struct arena *a, const struct type_desc *type, const struct value *v, struct status *reterr) {
    struct object *obj = arena_alloc(a, type->size);
    _cleanup_buf_ struct buf text = BUF_INIT;
    value_write_json(&text, v);
    return object_decode_json(a, type, obj, text.data, text.len, NULL, reterr) == 0 ? obj : NULL;
}

static bool builtin_convert(const struct field_manager *m, const struct value *v, const char *from, const char *to, struct value *ret) {
    const struct type_desc *old_type = builtin_version(m, from), *new_type = builtin_version(m, to);
    struct object *obj = old_type && new_type ? object_of(m->arena, old_type, v, NULL) : NULL;
    if (!obj) return false;
    *ret = value_from_object(m->arena, new_type, object_convert(m->arena, old_type, obj, new_type));
    return true;
}

/* ---- custom objects: versions differ in their schema and in nothing else ---- */

static const struct custom_type *custom_version(const struct field_manager *m, const char *api_version) {
    const struct custom_type *t = m->arg;
    for (size_t i = 0; t->versions[i]; i++)
        if (str_eq(t->versions[i]->api_version, api_version)) return t->versions[i];
    return NULL;
}

static bool custom_version_schema(const struct field_manager *m, const char *api_version, struct schema_ref *ret) {
    const struct custom_type *t = custom_version(m, api_version);
    if (!t) return false;
    *ret = schema_of_node(t->merge_schema);
    return true;
}

static bool custom_convert(const struct field_manager *m, const struct value *v, const char *from, const char *to, struct value *ret) {
    if (!custom_version(m, from) || !custom_version(m, to) || v->kind != VALUE_MAP) return false;
    if (m->convert_custom) return m->convert_custom(m->convert_arg, v, from, to, ret);
    struct value_member *members = arena_memdup(m->arena, v->members, v->len * sizeof(*members));
    for (size_t i = 0; i < v->len; i++)
        if (strcmp(members[i].name, "apiVersion") == 0) members[i].value = value_string(to);
    *ret = (struct value){.kind = VALUE_MAP, .len = v->len, .members = members};
    return true;
}

static struct value custom_document(struct arena *a, const struct type_desc *type, const struct object *obj, bool exists) {
    if (exists) return value_from_json(a, custom_object_document(a, (const struct custom_object *)obj));
    struct value_member *members = arena_calloc(a, 2, sizeof(*members));
    members[0] = (struct value_member){"apiVersion", value_string(custom_type_of(type)->api_version)};
    members[1] = (struct value_member){"kind", value_string(type->kind)};
    return (struct value){.kind = VALUE_MAP, .len = 2, .members = members};
}

static void for_type(struct field_manager *m, const struct type_desc *type) {
    const struct custom_type *custom = custom_type_of(type);
    if (custom) {
        m->schema = schema_of_node(custom->merge_schema);
        m->api_version = custom->api_version;
        m->kind = type->kind;
        m->version_schema = custom_version_schema;
        m->convert = custom_convert;
        m->arg = custom;
        return;
    }
    m->schema = schema_of_type(type);
    m->api_version = type_api_version(m->arena, type);
    m->kind = type->kind;
    m->version_schema = builtin_version_schema;
    m->convert = builtin_convert;
}

static struct value *document(struct arena *a, const struct type_desc *type, const void *obj) {
    struct value *v = ARENA_NEW(a, struct value);
    struct object *o;
    if (obj) { /* a shallow copy without its managed fields */
        o = arena_memdup(a, obj, type->size);
        o->metadata.managedFields = (struct metav1_ManagedFieldsEntry_list){0};
    } else o = arena_alloc(a, type->size);
    object_set_type_meta(a, type, o);
    *v = type->flags & TYPE_DOCUMENT ? custom_document(a, type, o, obj != NULL) : value_from_object(a, type, o);
    return v;
}

void managed_fields_update(struct field_manager *m, const struct type_desc *type, const void *old, void *object) {
    struct object *obj = object;
    const struct object *live = old;
    struct metav1_ManagedFieldsEntry_list none = {0}, before = live ? live->metadata.managedFields : none;
    for_type(m, type);
    struct managed managed = managed_of_update(m, &before, &obj->metadata.managedFields);
    if (managed.len == 0 && old) obj->metadata.managedFields = none;
    else if (managed_update(m, document(m->arena, type, old), !old, document(m->arena, type, obj), &managed, NULL) != 0) obj->metadata.managedFields = none; /* as upstream: a failure removes them */
    else obj->metadata.managedFields = managed_encode(m->arena, &managed);
}

void *managed_fields_apply(struct field_manager *m, const struct type_desc *type, const void *live, const struct value *config, bool force, struct status *reterr) {
    struct managed managed = {0};
    struct value merged;
    bool changed;
    for_type(m, type);
    if (live && managed_decode(m->arena, &((const struct object *)live)->metadata.managedFields, &managed, reterr) != 0) {
        if (reterr) status_set(reterr, 500, NULL, "failed to decode managed fields: %s", arena_strdup(m->arena, status_message(reterr)));
        return NULL;
    }
    m->empty = document(m->arena, type, NULL);
    if (managed_apply(m, live ? document(m->arena, type, live) : m->empty, config, force, &managed, &merged, &changed, reterr) != 0) return NULL;
    _cleanup_status_ struct status why = STATUS_INIT;
    struct object *obj = object_of(m->arena, type, &merged, &why);
    if (!obj) {
        status_set(reterr, 500, NULL, "failed to convert new object (%s) to proper version: unable to convert unstructured object to %s: %s", managed_object_text(m, config), managed_kind_text(m), why.message);
        return NULL;
    }
    object_set_type_meta(m->arena, type, obj);
    obj->metadata.managedFields = managed_encode(m->arena, &managed);
    return obj;
}

static bool times_only(const struct metav1_ManagedFieldsEntry_list *old, const struct metav1_ManagedFieldsEntry_list *now) {
    bool moved = false;
    if (old->len != now->len || now->len == 0) return false;
    for (size_t i = 0; i < now->len; i++) moved |= !object_equal(&metav1_ManagedFieldsEntry_desc, &old->items[i], &now->items[i]);
    for (size_t i = 0; i < now->len && moved; i++) {
        struct metav1_ManagedFieldsEntry e = now->items[i];
        e.time = old->items[i].time;
        if (!object_equal(&metav1_ManagedFieldsEntry_desc, &old->items[i], &e)) return false;
    }
    return moved;
}

void managed_fields_ignore_times(const struct type_desc *type, const void *old, void *object) {
    struct object *obj = object;
    const struct metav1_ManagedFieldsEntry_list before = ((const struct object *)old)->metadata.managedFields, now = obj->metadata.managedFields;
    if (!times_only(&before, &now)) return;
    obj->metadata.managedFields = before;
    if (!object_equal(type, obj, old)) obj->metadata.managedFields = now;
}
