/* Field sets are kept as trees: a path element ("f:name", `k:{"name":"c"}`, `v:"x"`) with children; `self` marks the element itself as a member (written
 * "." when it has children too). Elements are sorted, as FieldsV1 has them. */
#include "api/managedfields.h"
#include <stdio.h>
#include <string.h>
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

struct node;
struct nodes { struct node *items; size_t len; };
struct node {
    const char *key;
    bool self;
    struct nodes children;
};

/* The child of that key, made if missing, in sorted order. */
static struct node *child(struct arena *a, struct node *n, const char *key) {
    size_t i = 0;
    while (i < n->children.len && strcmp(n->children.items[i].key, key) < 0) i++;
    if (i < n->children.len && strcmp(n->children.items[i].key, key) == 0) return &n->children.items[i];
    LIST_PUSH(a, &n->children);
    memmove(&n->children.items[i + 1], &n->children.items[i], (n->children.len - 1 - i) * sizeof(struct node));
    n->children.items[i] = (struct node){.key = key};
    return &n->children.items[i];
}

static const struct node *find(const struct node *n, const char *key) {
    for (size_t i = 0; n && i < n->children.len; i++)
        if (strcmp(n->children.items[i].key, key) == 0) return &n->children.items[i];
    return NULL;
}

static bool empty(const struct node *n) { return !n->self && n->children.len == 0; }

/* ---- comparing two documents by schema: what was set, and what is in the new one at all ---- */

struct walk {
    struct arena *a;
    struct node *changed; /* what differs from old */
    struct node *present; /* everything in new */
};

static bool values_equal(yyjson_val *x, yyjson_val *y) { return x && y && yyjson_equals(x, y); }

static void mark(struct arena *a, struct node *parent, const char *key) { child(a, parent, key)->self = true; }

static void walk_struct(struct walk *w, const struct type_desc *type, yyjson_val *old, yyjson_val *now, struct node *changed, struct node *present);
static void walk_value(struct walk *w, const struct field_desc *f, yyjson_val *old, yyjson_val *now, const char *key, struct node *changed, struct node *present);

static int compare_strings(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

static const char *map_item_key(struct arena *a, const struct field_desc *f, yyjson_val *item) {
    struct buf out = BUF_INIT;
    struct string_list keys = {0};
    for (size_t i = 0; f->list_keys[i]; i++) string_list_push(a, &keys, f->list_keys[i]);
    qsort(keys.items, keys.len, sizeof(char *), compare_strings);
    buf_append_str(&out, "k:{");
    bool first = true;
    for (size_t i = 0; i < keys.len; i++) {
        yyjson_val *v = yyjson_obj_get(item, keys.items[i]);
        const struct field_desc *kf = type_field(f->type, keys.items[i], strlen(keys.items[i]));
        if (!v && !(kf && kf->default_json)) continue;
        buf_printf(&out, "%s\"%s\":", first ? "" : ",", keys.items[i]);
        first = false;
        if (v) json_write_value(&out, v);
        else buf_append_str(&out, kf->default_json);
    }
    buf_append_char(&out, '}');
    const char *key = arena_strdup(a, out.data);
    buf_release(&out);
    return key;
}

static yyjson_val *find_item(struct arena *a, const struct field_desc *f, yyjson_val *list, const char *key) {
    size_t i, n;
    yyjson_val *item;
    yyjson_arr_foreach(list, i, n, item) if (strcmp(map_item_key(a, f, item), key) == 0) return item;
    return NULL;
}

static void walk_map_list(struct walk *w, const struct field_desc *f, yyjson_val *old, yyjson_val *now, struct node *changed, struct node *present) {
    size_t i, n;
    yyjson_val *item;
    yyjson_arr_foreach(now, i, n, item) {
        const char *key = map_item_key(w->a, f, item);
        yyjson_val *before = find_item(w->a, f, old, key);
        struct node c = {0}, p = {0};
        if (f->type->flags & TYPE_MAP_ATOMIC) c.self = !values_equal(before, item);
        else walk_struct(w, f->type, before, item, &c, &p);
        if (!before) c.self = true;
        p.self = true;
        struct node *slot = child(w->a, present, key);
        *slot = (struct node){key, true, p.children};
        if (!empty(&c)) *child(w->a, changed, key) = (struct node){key, c.self, c.children};
    }
}

static void walk_set_list(struct walk *w, yyjson_val *old, yyjson_val *now, struct node *changed, struct node *present) {
    size_t i, n, j, m;
    yyjson_val *item, *other;
    yyjson_arr_foreach(now, i, n, item) {
        struct buf out = BUF_INIT;
        buf_append_str(&out, "v:");
        json_write_value(&out, item);
        const char *key = arena_strdup(w->a, out.data);
        buf_release(&out);
        bool there = false;
        yyjson_arr_foreach(old, j, m, other) there |= yyjson_equals(item, other);
        mark(w->a, present, key);
        if (!there) mark(w->a, changed, key);
    }
}

static void walk_map(struct walk *w, yyjson_val *old, yyjson_val *now, struct node *changed, struct node *present) {
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(now, i, n, k, v) {
        const char *key = arena_printf(w->a, "f:%s", yyjson_get_str(k));
        mark(w->a, present, key);
        if (!values_equal(yyjson_obj_getn(old, yyjson_get_str(k), yyjson_get_len(k)), v)) mark(w->a, changed, key);
    }
}

/* Whether a field's inside is owned piece by piece. */
static bool granular(const struct field_desc *f, yyjson_val *v) {
    if (f->flags & FIELD_MAP_ATOMIC) return false;
    if (f->shape == SHAPE_LIST) return yyjson_is_arr(v) && ((f->list_type == LIST_MAP && f->list_keys) || f->list_type == LIST_SET);
    if (f->shape == SHAPE_MAP) return yyjson_is_obj(v);
    return f->kind == FK_STRUCT && yyjson_is_obj(v) && !(f->type->flags & TYPE_MAP_ATOMIC);
}

static void walk_value(struct walk *w, const struct field_desc *f, yyjson_val *old, yyjson_val *now, const char *key, struct node *changed, struct node *present) {
    struct node c = {.key = key}, p = {.key = key};
    if (!granular(f, now)) {
        mark(w->a, present, key);
        if (!values_equal(old, now)) mark(w->a, changed, key);
        return;
    }
    if (f->shape == SHAPE_MAP) walk_map(w, old, now, &c, &p);
    else if (f->shape == SHAPE_LIST && f->list_type == LIST_SET) walk_set_list(w, old, now, &c, &p);
    else if (f->shape == SHAPE_LIST) walk_map_list(w, f, old, now, &c, &p);
    else walk_struct(w, f->type, old, now, &c, &p);
    p.self = true;
    c.self = !old; /* a container belongs to who made it */
    *child(w->a, present, key) = p;
    if (!empty(&c)) *child(w->a, changed, key) = c;
}

static void walk_struct(struct walk *w, const struct type_desc *type, yyjson_val *old, yyjson_val *now, struct node *changed, struct node *present) {
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        yyjson_val *v = yyjson_obj_getn(now, f->name, f->name_len);
        if (!v) continue;
        walk_value(w, f, yyjson_obj_getn(old, f->name, f->name_len), v, arena_printf(w->a, "f:%s", f->name), changed, present);
    }
}

/* ---- FieldsV1 ---- */

static void write_node(struct buf *out, const struct node *n) {
    bool first = true;
    buf_append_char(out, '{');
    if (n->self && n->children.len) {
        buf_append_str(out, "\".\":{}");
        first = false;
    }
    for (size_t i = 0; i < n->children.len; i++) {
        if (!first) buf_append_char(out, ',');
        first = false;
        json_write_string(out, n->children.items[i].key);
        buf_append_char(out, ':');
        write_node(out, &n->children.items[i]);
    }
    buf_append_char(out, '}');
}

static struct node read_node(struct arena *a, const char *key, yyjson_val *v) {
    struct node n = {.key = key, .self = yyjson_obj_size(v) == 0};
    size_t i, max;
    yyjson_val *k, *c;
    yyjson_obj_foreach(v, i, max, k, c) {
        if (yyjson_equals_str(k, ".")) n.self = true;
        else {
            const char *name = arena_strdup(a, yyjson_get_str(k));
            *child(a, &n, name) = read_node(a, name, c);
        }
    }
    return n;
}

static void merge(struct arena *a, struct node *into, const struct node *from) {
    into->self |= from->self;
    for (size_t i = 0; i < from->children.len; i++) merge(a, child(a, into, from->children.items[i].key), &from->children.items[i]);
}

/* n without what is in `without`; members only. */
static struct node subtract(struct arena *a, const struct node *n, const struct node *without) {
    struct node out = {.key = n->key, .self = n->self && !(without && without->self)};
    for (size_t i = 0; i < n->children.len; i++) {
        struct node c = subtract(a, &n->children.items[i], find(without, n->children.items[i].key));
        if (!empty(&c)) *LIST_PUSH(a, &out.children) = c;
    }
    return out;
}

/* n's members that are also in `with`. */
static struct node intersect(struct arena *a, const struct node *n, const struct node *with) {
    struct node out = {.key = n->key, .self = n->self && with && with->self};
    for (size_t i = 0; i < n->children.len; i++) {
        const struct node *other = find(with, n->children.items[i].key);
        if (!other) continue;
        struct node c = intersect(a, &n->children.items[i], other);
        if (!empty(&c)) *LIST_PUSH(a, &out.children) = c;
    }
    return out;
}

static void remove_child(struct node *n, const char *key) {
    for (size_t i = 0; n && i < n->children.len; i++)
        if (strcmp(n->children.items[i].key, key) == 0) {
            memmove(&n->children.items[i], &n->children.items[i + 1], (n->children.len - i - 1) * sizeof(struct node));
            n->children.len--;
            return;
        }
}

/* Nobody manages these. */
static void strip(struct node *n) {
    static const char *const meta[] = {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:resourceVersion", "f:generation", "f:managedFields", "f:deletionTimestamp", "f:deletionGracePeriodSeconds", "f:clusterName"};
    remove_child(n, "f:apiVersion");
    remove_child(n, "f:kind");
    for (size_t i = 0; i < n->children.len; i++) {
        struct node *c = &n->children.items[i];
        if (strcmp(c->key, "f:metadata") != 0) continue;
        for (size_t j = 0; j < ARRAY_LEN(meta); j++) remove_child(c, meta[j]);
        c->self = false;
        if (c->children.len == 0) remove_child(n, "f:metadata");
        break;
    }
}

/* ---- entries ---- */

static struct node entry_set(struct arena *a, const struct metav1_ManagedFieldsEntry *e) {
    yyjson_doc *doc = e->fieldsV1.data ? json_parse_in(a, e->fieldsV1.data, e->fieldsV1.len, 0, NULL) : NULL;
    struct node n = doc ? read_node(a, "", yyjson_doc_get_root(doc)) : (struct node){0};
    n.self = false;
    return n;
}

static void set_entry(struct arena *a, struct metav1_ManagedFieldsEntry *e, const struct node *set) {
    struct buf out = BUF_INIT;
    write_node(&out, set);
    e->fieldsType = "FieldsV1";
    e->fieldsV1 = (struct raw_json){arena_strndup(a, out.data, out.len), out.len};
    buf_release(&out);
}

void managed_fields_reset(struct object *obj) { obj->metadata.managedFields = (struct metav1_ManagedFieldsEntry_list){0}; }

static yyjson_val *as_document(struct arena *a, const struct type_desc *type, const void *obj) {
    struct buf out = BUF_INIT;
    /* At creation everything is compared to the empty object, in which what cannot be left out (spec, containers) is there already. */
    object_encode_json(type, obj ? obj : arena_alloc(a, type->size), &out);
    yyjson_doc *doc = json_parse_in(a, out.data, out.len, 0, NULL);
    buf_release(&out);
    return yyjson_doc_get_root(doc);
}

static bool same_set(const struct node *x, const struct node *y) {
    if (x->self != y->self || x->children.len != y->children.len) return false;
    for (size_t i = 0; i < x->children.len; i++)
        if (strcmp(x->children.items[i].key, y->children.items[i].key) != 0 || !same_set(&x->children.items[i], &y->children.items[i])) return false;
    return true;
}

/* Kinds whose status is a subresource of its own. */
static bool has_status(const struct type_desc *type) {
    const struct resource_desc *d = api_resource_of_type(type);
    return d && api_resource_find(d->group, d->version, d->resource, "status");
}

void managed_fields_update(struct arena *a, const struct type_desc *type, const void *old, void *object, const char *manager, const char *subresource, int64_t now_s) {
    struct object *obj = object;
    struct node changed = {0}, present = {0};
    struct walk w = {a, &changed, &present};
    struct metav1_ManagedFieldsEntry_list before = obj->metadata.managedFields, after = {0};
    obj->metadata.managedFields = (struct metav1_ManagedFieldsEntry_list){0};
    if (old && ((const struct object *)old)->metadata.managedFields.len == 0) return; /* what nobody manages stays so until an apply */
    walk_struct(&w, type, as_document(a, type, old), as_document(a, type, obj), &changed, &present);
    strip(&changed);
    strip(&present);
    /* Upstream's reset fields: a write to the object cannot own its status, a write to its status nothing else. */
    if (type == &certificatesv1_CertificateSigningRequest_desc) remove_child(&changed, "f:spec"); /* a spec that cannot be updated is nobody's */
    if (str_eq(subresource, "status")) {
        for (size_t i = changed.children.len; i-- > 0;)
            if (strcmp(changed.children.items[i].key, "f:status") != 0 && strcmp(changed.children.items[i].key, "f:metadata") != 0) remove_child(&changed, changed.children.items[i].key);
    } else if (str_empty(subresource) && has_status(type)) remove_child(&changed, "f:status");
    bool found = false;
    const char *version = type_api_version(a, type);
    LIST_FOREACH(e, &before) {
        struct node set = entry_set(a, e), kept = intersect(a, &set, &present);
        bool mine = str_eq(e->operation, "Update") && str_eq(e->manager, manager) && str_eq(e->subresource, subresource) && str_eq(e->apiVersion, version);
        struct metav1_ManagedFieldsEntry entry = *e;
        if (mine) {
            struct node mineset = kept;
            merge(a, &mineset, &changed);
            found = true;
            if (empty(&mineset)) continue;
            if (!same_set(&mineset, &set) || !empty(&changed)) entry.time = time_from_s(now_s);
            set_entry(a, &entry, &mineset);
        } else {
            struct node others = subtract(a, &kept, &changed);
            if (empty(&others)) continue;
            if (!same_set(&others, &set)) set_entry(a, &entry, &others);
        }
        *LIST_PUSH(a, &after) = entry;
    }
    if (!found && !empty(&changed)) {
        struct metav1_ManagedFieldsEntry *e = LIST_PUSH(a, &after);
        *e = (struct metav1_ManagedFieldsEntry){.manager = manager, .operation = "Update", .apiVersion = version, .time = time_from_s(now_s), .subresource = subresource};
        set_entry(a, e, &changed);
    }
    obj->metadata.managedFields = after;
}
