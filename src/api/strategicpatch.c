/* Strategic merge patch: maps merge field by field, lists by the key that the schema declares, directives steer. Upstream: util/strategicpatch.
 *
 * A directive is a member of the patch: $patch (replace, delete) in a map or a list's item, $retainKeys, $setElementOrder/LIST and
 * $deleteFromPrimitiveList/LIST. The order of a merged list: items that the patch (or $setElementOrder) names stand in its order; the others keep
 * theirs; between the two, the list's old order decides where it knows both, and the patch's item comes first where it does not. */
#include <string.h>
#include "api/json_edit.h"
#include "api/patch.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

struct merger { struct arena *a; yyjson_mut_doc *doc; struct status *err; };
struct values { yyjson_mut_val **items; size_t len; };

static int merge_map(struct merger *m, const struct type_desc *type, yyjson_mut_val *into, yyjson_mut_val *patch);

static const char delete_prefix[] = "$deleteFromPrimitiveList/", order_prefix[] = "$setElementOrder/";

static int fail(struct merger *m, const char *why) { return status_set(m->err, 500, NULL, "%s", why); }
static int bad_order(struct merger *m) { return status_bad_request(m->err, "invalid patch format of setElementOrder list"); }

static const char *go_text(struct merger *m, yyjson_mut_val *v) {
    _cleanup_buf_ struct buf json = BUF_INIT, out = BUF_INIT;
    json_write_mut(&json, v);
    yyjson_doc *doc = json_parse_in(m->a, buf_cstr(&json), json.len, JSON_NUMBERS_RAW, NULL);
    json_print_go(m->a, yyjson_doc_get_root(doc), &out);
    return arena_strdup(m->a, buf_cstr(&out));
}

static int no_key(struct merger *m, yyjson_mut_val *in, const char *key) { return status_set(m->err, 500, NULL, "map: %s does not contain declared merge key: %s", go_text(m, in), key); }

static int bad_directive(struct merger *m, yyjson_mut_val *d, yyjson_mut_val *in) {
    const char *what = yyjson_mut_is_null(d) ? "%!s(<nil>)" : yyjson_mut_is_str(d) ? yyjson_mut_get_str(d) : NULL;
    if (!what) what = arena_printf(m->a, "%%!s(%s=%s)", yyjson_mut_is_bool(d) ? "bool" : yyjson_mut_is_int(d) || yyjson_mut_is_raw(d) ? "int64" : yyjson_mut_is_real(d) ? "float64" : yyjson_mut_is_arr(d) ? "[]interface {}" : "map[string]interface {}", go_text(m, d));
    return status_set(m->err, 500, NULL, "unknown patch type: %s in map: %s", what, go_text(m, in));
}

/* A type by its own name, as its documentation has it: without the group and version that ours begin with. */
static int no_field(struct merger *m, const struct type_desc *type, const char *name) {
    if (!type) return status_set(m->err, 500, NULL, "merging an object in json but data type is not struct, instead is: map");
    const char *dot = strrchr(type->name, '.');
    return status_set(m->err, 500, NULL, "unable to find api field in struct %s for the json field \"%s\"", dot ? dot + 1 : type->name, name);
}

/* A copy, since a value can hang in one place only. */
static yyjson_mut_val *copy(struct merger *m, yyjson_mut_val *v) { return yyjson_mut_val_mut_copy(m->doc, v); }

static void put(struct merger *m, yyjson_mut_val *into, const char *key, yyjson_mut_val *v) { yyjson_mut_obj_put(into, yyjson_mut_strcpy(m->doc, key), v); }

static struct values list_values(struct merger *m, yyjson_mut_val *list) {
    struct values out = {arena_list_alloc(m->a, yyjson_mut_arr_size(list), sizeof(yyjson_mut_val *)), 0}; /* it may be pushed to */
    size_t i, n;
    yyjson_mut_val *v;
    yyjson_mut_arr_foreach(list, i, n, v) out.items[out.len++] = v;
    return out;
}

static void push(struct merger *m, struct values *list, yyjson_mut_val *v) { *LIST_PUSH(m->a, list) = v; }

/* What an item is told apart by: itself, or the value of its merge key, as JSON text; NULL when it has none. */
static const char *identity(struct merger *m, yyjson_mut_val *item, const char *key) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    yyjson_mut_val *v = key ? yyjson_mut_obj_get(item, key) : item;
    if (!v) return NULL;
    json_write_mut(&out, v);
    return arena_strdup(m->a, buf_cstr(&out));
}

/* Where identities stand in a list: the first place of each, counted from 1; 0 means absent. */
struct places { struct map *map; };
static void places_release(struct places *p) { map_free(p->map); }
#define _cleanup_places_ __attribute__((cleanup(places_release)))

static size_t place_of(const struct places *p, const char *id) { return id ? (size_t)(uintptr_t)map_get(p->map, id) : 0; }

static struct places places_of(struct merger *m, const struct values *list, const char *key) {
    struct places p = {map_new()};
    for (size_t i = 0; i < list->len; i++) {
        const char *id = identity(m, list->items[i], key);
        if (id && !map_has(p.map, id)) map_put(p.map, id, (void *)(uintptr_t)(i + 1));
    }
    return p;
}

struct ranked { yyjson_mut_val *value; size_t rank, at, old_place; };

static int by_rank(const void *x, const void *y) {
    const struct ranked *a = x, *b = y;
    return a->rank != b->rank ? (a->rank > b->rank) - (a->rank < b->rank) : (a->at > b->at) - (a->at < b->at);
}

/* The merged list in its final order (see the head of this file); written into list, a JSON array. */
static void write_in_order(struct merger *m, yyjson_mut_val *list, const struct values *merged, const struct values *named, const struct values *old, const char *key) {
    _cleanup_places_ struct places name_places = places_of(m, named, key);
    _cleanup_places_ struct places old_places = places_of(m, old, key);
    struct ranked *ours = arena_calloc(m->a, merged->len + 1, sizeof(*ours)), *rest = arena_calloc(m->a, merged->len + 1, sizeof(*rest));
    size_t ours_len = 0, rest_len = 0, i = 0, j = 0;
    for (size_t k = 0; k < merged->len; k++) {
        const char *id = identity(m, merged->items[k], key);
        size_t named_at = place_of(&name_places, id), old_at = place_of(&old_places, id);
        if (named_at) ours[ours_len++] = (struct ranked){merged->items[k], named_at, k, old_at};
        else rest[rest_len++] = (struct ranked){merged->items[k], old_at ? old_at : SIZE_MAX, k, old_at};
    }
    qsort(ours, ours_len, sizeof(*ours), by_rank);
    qsort(rest, rest_len, sizeof(*rest), by_rank);
    yyjson_mut_arr_clear(list);
    while (i < rest_len || j < ours_len) {
        bool rest_first = j == ours_len || (i < rest_len && rest[i].old_place && ours[j].old_place && rest[i].old_place < ours[j].old_place);
        yyjson_mut_arr_append(list, rest_first ? rest[i++].value : ours[j++].value);
    }
}

/* ---- what is taken from the patch as it is ---- */

/* The value without nulls in maps and without anything that carries a $patch; NULL when nothing is left. */
static yyjson_mut_val *clean(struct merger *m, yyjson_mut_val *v) {
    size_t i, n;
    yyjson_mut_val *key, *item, *kept;
    if (yyjson_mut_is_obj(v)) {
        yyjson_mut_val *out = yyjson_mut_obj(m->doc);
        if (yyjson_mut_obj_get(v, "$patch")) return NULL;
        yyjson_mut_obj_foreach(v, i, n, key, item)
            if (!yyjson_mut_is_null(item) && (kept = clean(m, item))) yyjson_mut_obj_add(out, copy(m, key), kept);
        return out;
    }
    if (yyjson_mut_is_arr(v)) {
        yyjson_mut_val *out = yyjson_mut_arr(m->doc);
        yyjson_mut_arr_foreach(v, i, n, item)
            if ((kept = clean(m, item))) yyjson_mut_arr_append(out, kept);
        return out;
    }
    return copy(m, v);
}

/* ---- lists ---- */

/* Items are all maps or all scalars; *ret_maps says which. */
static int check_items(struct merger *m, const struct values *list, bool *ret_maps) {
    for (size_t i = 0; i < list->len; i++) {
        bool is_map = yyjson_mut_is_obj(list->items[i]);
        if (yyjson_mut_is_arr(list->items[i])) return status_set(m->err, 422, NULL, "lists of lists are not supported");
        if (yyjson_mut_is_null(list->items[i]) || (i && is_map != *ret_maps)) return fail(m, "expected a map, but received another kind");
        *ret_maps = is_map;
    }
    return 0;
}

static void merge_scalars(struct merger *m, yyjson_mut_val *list, const struct values *patch) {
    struct values old = list_values(m, list), merged = {0};
    struct map *seen = map_new();
    for (size_t i = 0; i < old.len + patch->len; i++) {
        yyjson_mut_val *v = i < old.len ? old.items[i] : copy(m, patch->items[i - old.len]);
        if (!map_put(seen, identity(m, v, NULL), seen)) push(m, &merged, v);
    }
    map_free(seen);
    write_in_order(m, list, &merged, patch, &old, NULL);
}

static void delete_scalars(struct merger *m, yyjson_mut_val *list, yyjson_mut_val *gone) {
    struct values old = list_values(m, list), drop = list_values(m, gone);
    _cleanup_places_ struct places places = places_of(m, &drop, NULL);
    yyjson_mut_arr_clear(list);
    for (size_t i = 0; i < old.len; i++)
        if (!place_of(&places, identity(m, old.items[i], NULL))) yyjson_mut_arr_append(list, old.items[i]);
}

/* Carries out the items that are directives and leaves the others in *ret_plain; *ret_replace when the list is to be replaced by them. */
static int item_directives(struct merger *m, struct values *merged, const struct values *patch, const char *key, struct values *ret_plain, bool *ret_replace) {
    for (size_t i = 0; i < patch->len; i++) {
        yyjson_mut_val *item = patch->items[i], *d = yyjson_mut_obj_get(item, "$patch");
        const char *id;
        if (!d) push(m, ret_plain, item);
        else if (yyjson_mut_equals_str(d, "replace")) *ret_replace = true;
        else if (yyjson_mut_equals_str(d, "merge")) return fail(m, "merging lists cannot yet be specified in the patch");
        else if (!yyjson_mut_equals_str(d, "delete")) return bad_directive(m, d, item);
        else if (!(id = identity(m, item, key))) return no_key(m, item, key);
        else {
            struct values kept = {0};
            for (size_t j = 0; j < merged->len; j++)
                if (!str_eq(identity(m, merged->items[j], key), id)) push(m, &kept, merged->items[j]);
            *merged = kept;
        }
    }
    return 0;
}

static int merge_items(struct merger *m, const struct field_desc *f, struct values *merged, const struct values *patch) {
    struct values grown = {0};
    for (size_t i = 0; i < merged->len; i++) push(m, &grown, merged->items[i]);
    _cleanup_places_ struct places places = places_of(m, &grown, f->patch_key);
    for (size_t i = 0; i < patch->len; i++) {
        const char *id = identity(m, patch->items[i], f->patch_key);
        if (!id) return no_key(m, patch->items[i], f->patch_key);
        size_t at = place_of(&places, id);
        if (!at) {
            push(m, &grown, copy(m, patch->items[i]));
            map_put(places.map, id, (void *)(uintptr_t)grown.len);
        } else if (yyjson_mut_obj_get(patch->items[i], "$patch") == NULL && merge_map(m, f->type, grown.items[at - 1], patch->items[i]) != 0) return -1;
    }
    *merged = grown;
    return 0;
}

static int merge_objects(struct merger *m, const struct field_desc *f, yyjson_mut_val *list, const struct values *patch) {
    struct values old = list_values(m, list), merged = old, plain = {0}, none = {0};
    bool replace = false;
    if (!f->patch_key) return fail(m, "cannot merge lists without merge key for struct");
    if (item_directives(m, &merged, patch, f->patch_key, &plain, &replace) != 0) return -1;
    if (replace) {
        merged = (struct values){0};
        for (size_t i = 0; i < plain.len; i++) push(m, &merged, copy(m, plain.items[i]));
        for (size_t i = 0; i < merged.len; i++)
            if (!yyjson_mut_obj_get(merged.items[i], f->patch_key)) return no_key(m, merged.items[i], f->patch_key);
        old = merged;
        plain = none;
    } else if (merge_items(m, f, &merged, &plain) != 0) return -1;
    write_in_order(m, list, &merged, &plain, &old, f->patch_key);
    return 0;
}

/* *list becomes what the patch makes of it: changed in place, or replaced. */
static int merge_list(struct merger *m, const struct field_desc *f, yyjson_mut_val **list, yyjson_mut_val *patch_list) {
    bool maps = false;
    if (!f || f->shape != SHAPE_LIST || !(f->flags & FIELD_PATCH_MERGE)) {
        *list = copy(m, patch_list);
        return 0;
    }
    struct values patch = list_values(m, patch_list), all = list_values(m, *list);
    if (all.len + patch.len == 0) return 0;
    for (size_t i = 0; i < patch.len; i++) push(m, &all, patch.items[i]);
    if (check_items(m, &all, &maps) != 0) return -1;
    if (maps) return merge_objects(m, f, *list, &patch);
    if (f->patch_key) return fail(m, arena_printf(m->a, "expected a map, but received a %s", "string"));
    merge_scalars(m, *list, &patch);
    return 0;
}

/* ---- directives of a map ---- */

static int retain_keys(struct merger *m, yyjson_mut_val *into, yyjson_mut_val *patch) {
    yyjson_mut_val *keep = yyjson_mut_obj_remove_key(patch, "$retainKeys"), *key, *value;
    size_t i, n;
    if (!keep) return 0;
    struct values keep_values = list_values(m, keep);
    _cleanup_places_ struct places kept = places_of(m, &keep_values, NULL);
    if (!yyjson_mut_is_arr(keep)) return status_bad_request(m->err, "invalid patch format of retainKeys");
    yyjson_mut_obj_foreach(patch, i, n, key, value) {
        const char *k = yyjson_mut_get_str(key);
        if (!yyjson_mut_is_null(value) && !str_has_prefix(k, delete_prefix) && !str_has_prefix(k, order_prefix) && !place_of(&kept, identity(m, key, NULL)))
            return status_bad_request(m->err, "invalid patch format of retainKeys");
    }
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(into);
    while ((key = yyjson_mut_obj_iter_next(&it)))
        if (!place_of(&kept, identity(m, key, NULL))) yyjson_mut_obj_iter_remove(&it);
    return 0;
}

/* Every item of the patch stands in the order list, in the same order. */
static int check_order(struct merger *m, const struct values *patch, const struct values *order, const char *key) {
    size_t at = 0;
    if (patch->len == 0 || order->len == 0) return 0;
    for (size_t i = 0; i < patch->len; i++) {
        if (yyjson_mut_is_obj(patch->items[i]) && yyjson_mut_obj_get(patch->items[i], "$patch")) continue;
        const char *id = identity(m, patch->items[i], key), *other = NULL;
        if (!id) return no_key(m, patch->items[i], key);
        for (; at < order->len; at++) {
            other = identity(m, order->items[at], key);
            if (!other) return no_key(m, order->items[at], key);
            if (strcmp(id, other) == 0) break;
        }
        if (at++ == order->len) return fail(m, "The order in patch list doesn't match $setElementOrder list");
    }
    return 0;
}

/* Merges the list that the directive names, and puts it in order. */
static int set_element_order(struct merger *m, const struct type_desc *type, yyjson_mut_val *into, yyjson_mut_val *patch, const char *name, yyjson_mut_val *order_list) {
    yyjson_mut_val *list = yyjson_mut_obj_get(into, name), *patch_list = yyjson_mut_obj_remove_key(patch, name);
    const struct field_desc *f = type ? type_field(type, name, strlen(name)) : NULL;
    if (!yyjson_mut_is_arr(order_list) || (list && !yyjson_mut_is_arr(list)) || (patch_list && !yyjson_mut_is_arr(patch_list)))
        return fail(m, "expected a []interface {}, but received another type");
    if (!f || f->shape != SHAPE_LIST) return no_field(m, type, name);
    struct values order = list_values(m, order_list), wanted = list_values(m, patch_list), old = list_values(m, list);
    if (check_order(m, &wanted, &order, f->patch_key) != 0) return -1;
    if (!list && !patch_list) return 0;
    if (!list) list = clean(m, patch_list);
    else if (patch_list && merge_list(m, f, &list, patch_list) != 0) return -1;
    if (list != yyjson_mut_obj_get(into, name)) put(m, into, name, list);
    struct values merged = list_values(m, list);
    for (size_t i = 0; f->patch_key && i < merged.len; i++)
        if (!yyjson_mut_obj_get(merged.items[i], f->patch_key)) return no_key(m, merged.items[i], f->patch_key);
    write_in_order(m, list, &merged, &order, &old, f->patch_key);
    return 0;
}

static int element_orders(struct merger *m, const struct type_desc *type, yyjson_mut_val *into, yyjson_mut_val *patch) {
    struct string_list keys = {0};
    size_t i, n;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(patch, i, n, key, value) if (str_has_prefix(yyjson_mut_get_str(key), "$setElementOrder")) *LIST_PUSH(m->a, &keys) = yyjson_mut_get_str(key);
    for (i = 0; i < keys.len; i++) {
        if (!str_has_prefix(keys.items[i], order_prefix)) return bad_order(m);
        yyjson_mut_val *order = yyjson_mut_obj_remove_key(patch, keys.items[i]);
        if (set_element_order(m, type, into, patch, keys.items[i] + strlen(order_prefix), order) != 0) return -1;
    }
    return 0;
}

static int delete_from_list(struct merger *m, const struct type_desc *type, struct json_edit *into, const char *directive, yyjson_mut_val *gone) {
    if (!str_has_prefix(directive, delete_prefix)) return status_bad_request(m->err, "invalid patch format of primitive list");
    const char *name = directive + strlen(delete_prefix);
    yyjson_mut_val *list = json_edit_get(into, name);
    if (yyjson_mut_is_null(gone)) json_edit_set(into, name, NULL);
    else if (yyjson_mut_is_arr(list) && yyjson_mut_is_arr(gone)) {
        const struct field_desc *f = type ? type_field(type, name, strlen(name)) : NULL;
        if (!f || f->shape != SHAPE_LIST) return no_field(m, type, name);
        struct values all = list_values(m, list), drop = list_values(m, gone);
        bool maps = false;
        if (all.len + drop.len == 0) return 0;
        for (size_t i = 0; i < drop.len; i++) push(m, &all, drop.items[i]);
        if (check_items(m, &all, &maps) != 0) return -1;
        if (maps && !f->patch_key) return fail(m, "cannot merge lists without merge key for struct");
        if (!maps) delete_scalars(m, list, gone);
    }
    return 0;
}

/* ---- maps ---- */

static int merge_field(struct merger *m, const struct type_desc *type, struct json_edit *into, const char *key, yyjson_mut_val *value) {
    yyjson_mut_val *old = json_edit_get(into, key), *now = old;
    const struct field_desc *f = type ? type_field(type, key, strlen(key)) : NULL;
    if (yyjson_mut_is_obj(old) && yyjson_mut_is_obj(value)) {
        if (!f || !(f->flags & FIELD_PATCH_REPLACE)) return merge_map(m, f && f->kind == FK_STRUCT && f->shape != SHAPE_MAP ? f->type : NULL, old, value);
        now = copy(m, value);
    } else if (yyjson_mut_is_arr(old) && yyjson_mut_is_arr(value)) {
        if (merge_list(m, f, &now, value) != 0) return -1;
    } else now = clean(m, value);
    if (now != old) json_edit_set(into, key, now);
    return 0;
}

static int whole_map(struct merger *m, yyjson_mut_val *directive, yyjson_mut_val *into, yyjson_mut_val *patch) {
    size_t i, n;
    yyjson_mut_val *key, *value;
    bool replace = yyjson_mut_equals_str(directive, "replace");
    if (!replace && !yyjson_mut_equals_str(directive, "delete")) return bad_directive(m, directive, patch);
    yyjson_mut_obj_clear(into);
    if (!replace) return 0;
    yyjson_mut_obj_foreach(patch, i, n, key, value) if (!yyjson_mut_equals_str(key, "$patch")) yyjson_mut_obj_add(into, copy(m, key), copy(m, value));
    return 0;
}

static int merge_map(struct merger *m, const struct type_desc *type, yyjson_mut_val *into, yyjson_mut_val *patch) {
    size_t i, n;
    yyjson_mut_val *key, *value, *directive = yyjson_mut_obj_get(patch, "$patch");
    if (directive) return whole_map(m, directive, into, patch);
    if (retain_keys(m, into, patch) != 0 || element_orders(m, type, into, patch) != 0) return -1;
    struct json_edit edit;
    int r = 0;
    json_edit_open(&edit, m->a, m->doc, into);
    yyjson_mut_obj_foreach(patch, i, n, key, value) {
        const char *k = yyjson_mut_get_str(key);
        if (r != 0) break;
        if (str_has_prefix(k, "$deleteFromPrimitiveList")) r = delete_from_list(m, type, &edit, k, value);
        else if (yyjson_mut_is_null(value)) json_edit_set(&edit, k, NULL);
        else r = merge_field(m, type, &edit, k, value);
    }
    json_edit_close(&edit);
    return r;
}

int strategic_patch_apply(struct arena *a, const struct type_desc *type, yyjson_mut_doc *doc, yyjson_val *patch, struct status *reterr) {
    struct merger m = {a, doc, reterr};
    if (yyjson_is_null(patch)) return 0;
    if (!yyjson_is_obj(patch)) return status_bad_request(reterr, "json: cannot unmarshal into Go value of type map[string]interface {}");
    return merge_map(&m, type, yyjson_mut_doc_get_root(doc), yyjson_val_mut_copy(doc, patch));
}
