/* Server-side apply over documents: merge, prune, conflicts. See managedfields.h; upstream: structured-merge-diff's merge.Updater.Apply and the managers that
 * apimachinery wraps around it. Any thread. Tests: tests/unit/test_apply.c, tests/integration/test_apply.py. */
#include <stdlib.h>
#include <string.h>
#include "api/field_error.h"
#include "api/managed_entries.h"
#include "api/time.h"
#include "base/str.h"
#include "wire/json.h"

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
enum { ANNOTATIONS_MAX = 256 * 1024 };

struct conflict { const struct managed_entry *entry; const char *id; struct field_set set; };
struct conflicts { struct conflict *items; size_t len; };

const char *managed_kind_text(const struct field_manager *m) {
    const char *slash = strchr(m->api_version, '/');
    return arena_printf(m->arena, "%s%s, Kind=%s", slash ? "" : "/", m->api_version, m->kind);
}

const char *managed_object_text(const struct field_manager *m, const struct value *config) {
    return arena_printf(m->arena, "%s/%s; %s", str_or(value_text(value_at(config, "metadata", "namespace")), ""), str_or(value_text(value_at(config, "metadata", "name")), ""), managed_kind_text(m));
}

/* ---- merging and pruning ---- */

/* An object before and after pruning, both in one version. */
struct pruning { const char *version; struct schema_ref schema; struct value merged, pruned; };

static bool pruning_to_version(const struct field_manager *m, struct pruning *p, const char *version) {
    struct pruning in = {.version = version};
    if (str_eq(p->version, version)) return true;
    if (!managed_schema(m, version, &in.schema) || !managed_convert(m, &p->merged, p->version, version, &in.merged) || !managed_convert(m, &p->pruned, p->version, version, &in.pruned)) return false;
    *p = in;
    return true;
}

static struct field_set named_fields(const struct field_manager *m, struct schema_ref schema, const struct value *v) {
    struct field_set s = typed_field_set(m->arena, schema, v);
    return typed_set_with_named(m->arena, schema, &s);
}

/* Brings back what pruning took although somebody owns it in that version. */
static void add_back_owned_at(const struct field_manager *m, struct pruning *p, const struct managed *managed, const char *version) {
    struct field_set owned = {0};
    if (!pruning_to_version(m, p, version)) return;
    LIST_FOREACH(e, managed) if (str_eq(e->version, version)) owned = field_set_union(m->arena, &owned, &e->set);
    owned = typed_set_with_named(m->arena, p->schema, &owned);
    struct field_set all = named_fields(m, p->schema, &p->merged), left = named_fields(m, p->schema, &p->pruned);
    left = field_set_union(m->arena, &left, &owned);
    struct field_set gone = field_set_difference(m->arena, &all, &left);
    p->pruned = typed_remove(m->arena, p->schema, &p->merged, &gone);
}

/* The version of what is pruned first, then the others, each once. */
static void add_back_owned(const struct field_manager *m, struct pruning *p, const struct managed *managed) {
    const char *first = p->version;
    add_back_owned_at(m, p, managed, first);
    for (size_t i = 0; i < managed->len; i++) {
        bool done = str_eq(managed->items[i].version, first);
        for (size_t j = 0; j < i && !done; j++) done = str_eq(managed->items[j].version, managed->items[i].version);
        if (!done) add_back_owned_at(m, p, managed, managed->items[i].version);
    }
}

/* What the manager did not own before cannot go with it: items below it that others set by updates. */
static struct value add_back_dangling(const struct field_manager *m, struct schema_ref schema, const struct value *merged, const struct value *pruned, const struct field_set *last) {
    struct field_set all = named_fields(m, schema, merged), left = named_fields(m, schema, pruned), named = typed_set_with_named(m->arena, schema, last);
    struct field_set gone = field_set_difference(m->arena, &all, &left);
    gone = field_set_intersection(m->arena, &gone, &named);
    return typed_remove(m->arena, schema, merged, &gone);
}

/* Removes what the manager applied before and does not apply now, unless another owns it. */
static struct value prune(const struct field_manager *m, const struct value *merged, const struct managed *managed, const struct managed_entry *last) {
    struct pruning p = {.version = last->version};
    if (field_set_empty(&last->set) || !managed_schema(m, last->version, &p.schema) || !managed_convert(m, merged, m->api_version, last->version, &p.merged)) return *merged;
    struct value at_last = p.merged, out;
    struct schema_ref schema = p.schema;
    struct field_set named = typed_set_with_named(m->arena, schema, &last->set);
    p.pruned = typed_remove(m->arena, schema, &p.merged, &named);
    add_back_owned(m, &p, managed);
    if (!pruning_to_version(m, &p, last->version)) return *merged;
    out = add_back_dangling(m, schema, &at_last, &p.pruned, &last->set);
    return managed_convert(m, &out, last->version, m->api_version, &out) ? out : *merged;
}

static int compare_conflicts(const void *x, const void *y) { return strcmp(((const struct conflict *)x)->id, ((const struct conflict *)y)->id); }

/* What other managers lose by the change from live to now; -1 when the values cannot be compared. */
static int take_from_others(const struct field_manager *m, const struct value *live, const struct value *now, const struct managed_entry *self, struct managed *managed, struct conflicts *ret,
                            struct status *reterr) {
    struct version_diffs diffs = {0};
    if (!managed_diff(m, &diffs, m->api_version, live, now, reterr)) return -1;
    LIST_FOREACH(e, managed) {
        if (managed_same(e, self)) continue;
        const struct version_diff *d = managed_diff(m, &diffs, e->version, live, now, NULL);
        if (!d) { /* a version that the object cannot be had in */
            managed_set(e, (struct field_set){0});
            continue;
        }
        struct field_set lost = field_set_intersection(m->arena, &e->set, &d->changed);
        if (!field_set_empty(&lost)) {
            *LIST_PUSH(m->arena, ret) = (struct conflict){arena_memdup(m->arena, e, sizeof(*e)), managed_id(m->arena, e), lost};
            managed_set(e, field_set_difference(m->arena, &e->set, &lost));
        }
        managed_set(e, field_set_difference(m->arena, &e->set, &d->diff.removed));
    }
    if (ret->len > 1) qsort(ret->items, ret->len, sizeof(*ret->items), compare_conflicts);
    return 0;
}

/* One apply; conflicts are listed, and have been decided in the manager's favour. */
static int apply_once(const struct field_manager *m, const struct value *live, const struct value *config, struct managed *managed, struct value *ret, bool *ret_changed, struct conflicts *conflicts,
                      struct status *reterr) {
    struct string_list errs = {0};
    managed_reconcile(m, managed);
    struct value merged = typed_merge(m->arena, m->schema, live, config, &errs);
    if (errs.len) return status_set(reterr, 500, NULL, "failed to merge config: %s", typed_error_text(m->arena, &errs));
    struct managed_entry self = managed_self(m, OPERATION_APPLY);
    const struct managed_entry *before = managed_find(managed, &self);
    const struct managed_entry last = before ? *before : self;
    self.time = last.time;
    self.set = typed_field_set(m->arena, m->schema, config);
    self.set = managed_filter(m, &self.set);
    managed_put(m->arena, managed, &self);
    *ret = prune(m, &merged, managed, &last);
    if (take_from_others(m, live, ret, &self, managed, conflicts, reterr) != 0) return -1;
    *ret_changed = !value_equal(live, ret);
    if (!*ret_changed) *ret = *live;
    struct managed_entry *mine = managed_find(managed, &self);
    managed_set(mine, managed_strip(m->arena, &mine->set));
    if (*ret_changed) mine->time = time_from_s(m->now_s);
    managed_remove_empty(managed);
    return 0;
}

/* ---- conflicts ---- */

static const char *conflict_manager(struct arena *a, const struct managed_entry *e) {
    const char *text = go_quote(a, str_or(e->manager, ""));
    if (!str_empty(e->subresource)) text = arena_printf(a, "%s with subresource %s", text, go_quote(a, e->subresource));
    return e->applied ? text : arena_printf(a, "%s using %s", text, str_or(e->id_version, ""));
}

struct path_list { struct arena *arena; struct string_list list; };
static void take_path(void *arg, const char *path) {
    struct path_list *p = arg;
    string_list_push(p->arena, &p->list, path);
}

static int refuse(const struct field_manager *m, const struct conflicts *conflicts, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct path_list *paths = arena_calloc(m->arena, conflicts->len, sizeof(*paths));
    size_t total = 0;
    for (size_t i = 0; i < conflicts->len; i++) {
        paths[i].arena = m->arena;
        field_set_each(m->arena, &conflicts->items[i].set, take_path, &paths[i]);
        total += paths[i].list.len;
        if (paths[i].list.len == 0) continue;
        buf_printf(&text, "%sconflicts with %s:", text.len ? "\n" : "", conflict_manager(m->arena, conflicts->items[i].entry));
        LIST_FOREACH(p, &paths[i].list) buf_printf(&text, "\n- %s", *p);
    }
    if (total == 1)
        for (size_t i = 0; i < conflicts->len; i++)
            if (paths[i].list.len) status_set(reterr, 409, REASON_CONFLICT, "Apply failed with 1 conflict: conflict with %s: %s", conflict_manager(m->arena, conflicts->items[i].entry), paths[i].list.items[0]);
    if (total != 1) status_set(reterr, 409, REASON_CONFLICT, "Apply failed with %zu conflicts: %s", total, buf_cstr(&text));
    for (size_t i = 0; i < conflicts->len; i++)
        LIST_FOREACH(p, &paths[i].list) status_add_cause(reterr, "FieldManagerConflict", *p, "conflict with %s", conflict_manager(m->arena, conflicts->items[i].entry));
    return -1;
}

/* ---- coming from client-side apply: what kubectl's annotation says was applied is kubectl's ---- */

static const char *last_applied(const struct value *obj) {
    const struct value *annotations = value_at(obj, "metadata", "annotations");
    return value_text(value_get(annotations, LAST_APPLIED));
}

static struct field_set allowed_by_last_applied(const struct field_manager *m, const struct value *live) {
    struct field_set none = {0};
    struct string_list errs = {0};
    const char *text = last_applied(live);
    yyjson_doc *doc = str_empty(text) ? NULL : json_parse_in(m->arena, text, strlen(text), 0, NULL);
    if (!doc) return none;
    struct value last = value_from_json(m->arena, yyjson_doc_get_root(doc));
    if (last.kind != VALUE_MAP || !str_eq(value_text(value_get(&last, "apiVersion")), m->api_version)) return none;
    typed_validate(m->arena, m->schema, live, false, &errs);
    typed_validate(m->arena, m->schema, &last, false, &errs);
    if (errs.len) return none;
    struct comparison diff;
    typed_compare(m->arena, m->schema, &last, live, &diff, &errs);
    if (errs.len) return none;
    struct field_set s = typed_field_set(m->arena, m->schema, &last);
    s = field_set_difference(m->arena, &s, &diff.modified);
    s = field_set_difference(m->arena, &s, &diff.added);
    return field_set_difference(m->arena, &s, &diff.removed);
}

/* Leaves out the conflicts that are allowed; false when none is left. */
static bool drop_allowed(const struct field_manager *m, const struct value *live, struct conflicts *conflicts) {
    struct field_set allowed = allowed_by_last_applied(m, live);
    bool left = false;
    for (size_t i = 0; i < conflicts->len; i++) {
        conflicts->items[i].set = field_set_difference(m->arena, &conflicts->items[i].set, &allowed);
        left |= !field_set_empty(&conflicts->items[i].set);
    }
    return left;
}

static struct value with_member(struct arena *a, const struct value *map, const char *name, struct value v) {
    uint32_t n = value_is(map, VALUE_MAP) ? map->len : 0, i = 0, at = 0;
    struct value_member *m = arena_calloc(a, (size_t)n + 1, sizeof(*m));
    for (; i < n && strcmp(map->members[i].name, name) < 0; i++) m[at++] = map->members[i];
    m[at++] = (struct value_member){name, v};
    if (i < n && strcmp(map->members[i].name, name) == 0) i++;
    for (; i < n; i++) m[at++] = map->members[i];
    return (struct value){.kind = VALUE_MAP, .len = at, .members = m};
}

static struct value without_member(struct arena *a, const struct value *map, const char *name) {
    struct value out = *map;
    struct value_member *m = arena_calloc(a, map->len, sizeof(*m));
    out.len = 0;
    for (uint32_t i = 0; i < map->len; i++)
        if (strcmp(map->members[i].name, name) != 0) m[out.len++] = map->members[i];
    out.members = m;
    return out;
}

static size_t annotations_size(const struct value *annotations) {
    size_t n = 0;
    for (uint32_t i = 0; i < annotations->len; i++) n += strlen(annotations->members[i].name) + annotations->members[i].value.len;
    return n;
}

/* Keeps the annotation of an object that kubectl applied client-side before, so that its users may go back. */
static void sync_last_applied(const struct field_manager *m, const struct value *config, struct value *obj) {
    struct arena *a = m->arena;
    if (str_empty(last_applied(obj))) return;
    const struct value *metadata = value_get(config, "metadata"), *annotations = value_get(metadata, "annotations");
    struct value applied = *config, meta;
    if (annotations) {
        meta = annotations->kind == VALUE_MAP ? with_member(a, metadata, "annotations", without_member(a, annotations, LAST_APPLIED)) : without_member(a, metadata, "annotations");
        applied = with_member(a, config, "metadata", meta);
    }
    _cleanup_buf_ struct buf text = BUF_INIT;
    value_write_json(&text, &applied);
    buf_append_char(&text, '\n');
    const struct value *live_meta = value_get(obj, "metadata"), *live_annotations = value_get(live_meta, "annotations");
    struct value grown = with_member(a, live_annotations, LAST_APPLIED, value_string(arena_strndup(a, text.data, text.len)));
    if (annotations_size(&grown) > ANNOTATIONS_MAX) grown = without_member(a, &grown, LAST_APPLIED);
    *obj = with_member(a, obj, "metadata", with_member(a, live_meta, "annotations", grown));
}

/* ---- the whole ---- */

static int check_config(const struct field_manager *m, const struct value *config, struct status *reterr) {
    const char *version = str_or(value_text(value_get(config, "apiVersion")), ""), *kind = str_or(value_text(value_get(config, "kind")), ""), *slash = strchr(version, '/');
    if (slash && strchr(slash + 1, '/')) version = kind = "";
    if (!str_eq(version, m->api_version) || !str_eq(kind, m->kind))
        return status_bad_request(reterr, "invalid object type: %s%s, Kind=%s", strchr(version, '/') ? "" : "/", version, kind);
    const struct value *sent = value_at(config, "metadata", "managedFields");
    if (value_is(sent, VALUE_LIST)) return status_bad_request(reterr, "metadata.managedFields must be nil");
    struct string_list errs = {0};
    typed_validate(m->arena, m->schema, config, false, &errs);
    if (errs.len) return status_set(reterr, 500, NULL, "failed to create typed patch object (%s): %s", managed_object_text(m, config), typed_error_text(m->arena, &errs));
    return 0;
}

int managed_apply(const struct field_manager *m, const struct value *live, const struct value *config, bool force, struct managed *managed, struct value *ret, bool *ret_changed, struct status *reterr) {
    struct conflicts conflicts = {0};
    if (check_config(m, config, reterr) != 0) return -1;
    if (managed->len == 0) { /* the first apply: what is there belongs to somebody of before */
        struct field_manager before = *m;
        before.manager = "before-first-apply";
        struct value *empty = ARENA_NEW(m->arena, struct value);
        *empty = m->empty ? *m->empty : (struct value){.kind = VALUE_MAP};
        if (managed_update(&before, empty, true, live, managed, reterr) != 0) return -1;
    }
    struct managed start = managed_copy(m->arena, managed);
    if (apply_once(m, live, config, managed, ret, ret_changed, &conflicts, reterr) != 0) return -1;
    if (conflicts.len && !force) {
        bool kubectl = str_eq(m->manager, "kubectl");
        if (!kubectl || drop_allowed(m, live, &conflicts)) {
            *managed = start;
            return refuse(m, &conflicts, reterr);
        }
    }
    if (str_eq(m->manager, "kubectl")) sync_last_applied(m, config, ret);
    return 0;
}
