/* Strategic merge patch: lists merge by key, directives steer. The schema says which lists merge and by what. */
#include <string.h>
#include "api/patch.h"
#include "base/str.h"
#include "wire/json.h"

struct merger { struct arena *a; yyjson_mut_doc *doc; struct status *err; };

static int merge_map(struct merger *m, const struct type_desc *type, yyjson_mut_val *into, yyjson_val *patch);

static const char *directive(yyjson_val *patch) { return yyjson_get_str(yyjson_obj_get(patch, "$patch")); }

static bool is_directive_key(const char *k) {
    return strcmp(k, "$patch") == 0 || strcmp(k, "$retainKeys") == 0 || str_has_prefix(k, "$deleteFromPrimitiveList/") || str_has_prefix(k, "$setElementOrder/");
}

static void clear(yyjson_mut_val *obj) { yyjson_mut_obj_clear(obj); }

/* What a value is when nothing is there to merge with: directives inside it are dropped. */
static yyjson_mut_val *clean_copy(struct merger *m, yyjson_val *v) {
    size_t i, n;
    yyjson_val *key, *item;
    if (yyjson_is_obj(v)) {
        yyjson_mut_val *out = yyjson_mut_obj(m->doc);
        yyjson_obj_foreach(v, i, n, key, item) {
            if (is_directive_key(yyjson_get_str(key)) || yyjson_is_null(item)) continue;
            yyjson_mut_obj_add(out, yyjson_mut_strcpy(m->doc, yyjson_get_str(key)), clean_copy(m, item));
        }
        return out;
    }
    if (yyjson_is_arr(v)) {
        yyjson_mut_val *out = yyjson_mut_arr(m->doc);
        yyjson_arr_foreach(v, i, n, item) {
            if (yyjson_is_obj(item) && directive(item)) continue;
            yyjson_mut_arr_append(out, clean_copy(m, item));
        }
        return out;
    }
    return yyjson_val_mut_copy(m->doc, v);
}

static bool scalar_equal(yyjson_mut_val *x, yyjson_val *y) {
    if (yyjson_mut_is_str(x) && yyjson_is_str(y)) return yyjson_mut_equals_str(x, yyjson_get_str(y));
    _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
    json_write_mut(&a, x);
    json_write_value(&b, y);
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static size_t find_by_key(yyjson_mut_val *list, const char *key, yyjson_val *value) {
    size_t i, n;
    yyjson_mut_val *item;
    yyjson_mut_arr_foreach(list, i, n, item) {
        yyjson_mut_val *k = yyjson_mut_obj_get(item, key);
        if (k && scalar_equal(k, value)) return i;
    }
    return SIZE_MAX;
}

static int no_key(struct merger *m, const char *key) {
    return status_set(m->err, 500, NULL, "map: map[] does not contain declared merge key: %s", key);
}

/* The order of $setElementOrder for what it names; the rest keep their places relative to what they followed. */
static void order_list(struct merger *m, yyjson_mut_val *list, yyjson_val *order, const char *key) {
    size_t n = yyjson_mut_arr_size(list), i, max;
    yyjson_mut_val **items = arena_calloc(m->a, n + 1, sizeof(*items)), *item;
    size_t *rank = arena_calloc(m->a, n + 1, sizeof(*rank));
    yyjson_mut_arr_foreach(list, i, max, item) items[i] = item;
    for (i = 0; i < n; i++) {
        size_t j, k;
        yyjson_val *o;
        rank[i] = SIZE_MAX;
        yyjson_arr_foreach(order, j, k, o) {
            yyjson_mut_val *v = key ? yyjson_mut_obj_get(items[i], key) : items[i];
            yyjson_val *w = key ? yyjson_obj_get(o, key) : o;
            if (v && w && scalar_equal(v, w)) rank[i] = j;
        }
    }
    yyjson_mut_val **out = arena_calloc(m->a, n + 1, sizeof(*out));
    size_t len = 0, next_server = 0;
    /* Named items in the given order; an unnamed one goes before the first named one that stood behind it. */
    size_t *named = arena_calloc(m->a, n + 1, sizeof(*named)), named_len = 0;
    for (size_t r = 0; r < yyjson_arr_size(order); r++)
        for (i = 0; i < n; i++)
            if (rank[i] == r) named[named_len++] = i;
    for (size_t k = 0; k < named_len; k++) {
        for (; next_server < n && next_server <= named[k]; next_server++)
            if (rank[next_server] == SIZE_MAX) out[len++] = items[next_server];
        out[len++] = items[named[k]];
    }
    for (; next_server < n; next_server++)
        if (rank[next_server] == SIZE_MAX) out[len++] = items[next_server];
    yyjson_mut_arr_clear(list);
    for (i = 0; i < len; i++) yyjson_mut_arr_append(list, out[i]);
}

static int merge_object_list(struct merger *m, const struct field_desc *f, yyjson_mut_val *list, yyjson_val *patch, yyjson_val *order) {
    size_t i, n, added = 0;
    yyjson_val *item;
    yyjson_arr_foreach(patch, i, n, item) { /* a replace directive anywhere replaces all */
        if (!str_eq(directive(item), "replace")) continue;
        yyjson_mut_arr_clear(list);
        size_t j, k;
        yyjson_val *other;
        yyjson_arr_foreach(patch, j, k, other) if (!directive(other)) yyjson_mut_arr_append(list, clean_copy(m, other));
        return 0;
    }
    yyjson_arr_foreach(patch, i, n, item) {
        const char *d = directive(item);
        yyjson_val *key = yyjson_obj_get(item, f->patch_key);
        if (!yyjson_is_obj(item) || !key) return no_key(m, f->patch_key);
        size_t at = find_by_key(list, f->patch_key, key);
        if (str_eq(d, "delete")) {
            while (at != SIZE_MAX) {
                yyjson_mut_arr_remove(list, at);
                at = find_by_key(list, f->patch_key, key);
            }
        } else if (d && !str_eq(d, "merge")) return status_set(m->err, 500, NULL, "Unknown patch type found: %s", d);
        else if (at == SIZE_MAX) {
            if (order) yyjson_mut_arr_append(list, clean_copy(m, item));
            else yyjson_mut_arr_insert(list, clean_copy(m, item), added++);
        } else if (merge_map(m, f->type, yyjson_mut_arr_get(list, at), item) != 0) return -1;
    }
    return 0;
}

static void merge_primitive_list(struct merger *m, yyjson_mut_val *list, yyjson_val *patch) {
    size_t i, n, j, k;
    yyjson_val *item;
    yyjson_mut_val *have;
    yyjson_arr_foreach(patch, i, n, item) {
        bool there = false;
        yyjson_mut_arr_foreach(list, j, k, have) there |= scalar_equal(have, item);
        if (!there) yyjson_mut_arr_append(list, yyjson_val_mut_copy(m->doc, item));
    }
}

static void delete_primitives(yyjson_mut_val *list, yyjson_val *gone) {
    size_t i, n;
    yyjson_val *item;
    yyjson_arr_foreach(gone, i, n, item)
        for (size_t j = yyjson_mut_arr_size(list); j-- > 0;)
            if (scalar_equal(yyjson_mut_arr_get(list, j), item)) yyjson_mut_arr_remove(list, j);
}

static int retain_keys(struct merger *m, yyjson_mut_val *into, yyjson_val *patch) {
    yyjson_val *keep = yyjson_obj_get(patch, "$retainKeys"), *name;
    size_t i, n;
    if (!keep) return 0;
    if (!yyjson_is_arr(keep)) return status_set(m->err, 500, NULL, "invalid patch format of retainKeys directive");
    yyjson_val *key, *value;
    yyjson_obj_foreach(patch, i, n, key, value) {
        size_t j, k;
        bool named = is_directive_key(yyjson_get_str(key)) || yyjson_is_null(value);
        yyjson_arr_foreach(keep, j, k, name) named |= yyjson_equals_str(name, yyjson_get_str(key));
        if (!named) return status_set(m->err, 500, NULL, "the server could not find the requested resource: retainKeys list doesn't contain %s", yyjson_get_str(key));
    }
    struct string_list drop = {0};
    yyjson_mut_val *mk, *mv;
    yyjson_mut_obj_foreach(into, i, n, mk, mv) {
        size_t j, k;
        bool named = false;
        yyjson_arr_foreach(keep, j, k, name) named |= yyjson_equals_str(name, yyjson_mut_get_str(mk));
        if (!named) *LIST_PUSH(m->a, &drop) = yyjson_mut_get_str(mk);
    }
    for (i = 0; i < drop.len; i++) yyjson_mut_obj_remove_key(into, drop.items[i]);
    return 0;
}

/* Directives that name a list beside them: the list may itself be absent from the patch. */
static int list_directives(struct merger *m, const struct type_desc *type, yyjson_mut_val *into, yyjson_val *patch, bool before) {
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(patch, i, n, key, value) {
        const char *k = yyjson_get_str(key), *name = strchr(k, '/');
        bool order = str_has_prefix(k, "$setElementOrder/");
        if (!name || !is_directive_key(k) || order == before) continue;
        if (!yyjson_is_arr(value)) return status_set(m->err, 500, NULL, "unable to find list for %s", k);
        yyjson_mut_val *list = yyjson_mut_obj_get(into, name + 1);
        const struct field_desc *f = type ? type_field(type, name + 1, strlen(name + 1)) : NULL;
        if (!yyjson_mut_is_arr(list)) continue;
        if (!order) delete_primitives(list, value);
        else order_list(m, list, value, f && f->kind == FK_STRUCT ? f->patch_key : NULL);
    }
    return 0;
}

static int merge_value(struct merger *m, const struct type_desc *type, const struct field_desc *f, yyjson_mut_val *into, const char *k, yyjson_val *value, yyjson_val *patch) {
    yyjson_mut_val *old = yyjson_mut_obj_get(into, k);
    if (yyjson_is_obj(value)) {
        if (!yyjson_mut_is_obj(old)) {
            if (directive(value) && str_eq(directive(value), "delete")) {
                yyjson_mut_obj_remove_key(into, k);
                return 0;
            }
            old = yyjson_mut_obj(m->doc);
            yyjson_mut_obj_put(into, yyjson_mut_strcpy(m->doc, k), old);
        }
        return merge_map(m, f && f->kind == FK_STRUCT && f->shape != SHAPE_MAP ? f->type : NULL, old, value);
    }
    (void)type;
    if (yyjson_is_arr(value) && f && f->shape == SHAPE_LIST && (f->flags & FIELD_PATCH_MERGE)) {
        if (!yyjson_mut_is_arr(old)) {
            old = yyjson_mut_arr(m->doc);
            yyjson_mut_obj_put(into, yyjson_mut_strcpy(m->doc, k), old);
        }
        if (f->kind != FK_STRUCT) merge_primitive_list(m, old, value);
        else if (merge_object_list(m, f, old, value, yyjson_obj_get(patch, arena_printf(m->a, "$setElementOrder/%s", k))) != 0) return -1;
        return 0;
    }
    yyjson_mut_obj_put(into, yyjson_mut_strcpy(m->doc, k), clean_copy(m, value));
    return 0;
}

static int merge_map(struct merger *m, const struct type_desc *type, yyjson_mut_val *into, yyjson_val *patch) {
    const char *d = directive(patch);
    size_t i, n;
    yyjson_val *key, *value;
    if (yyjson_obj_get(patch, "$patch")) {
        if (str_eq(d, "replace")) {
            yyjson_mut_val *fresh = clean_copy(m, patch);
            clear(into);
            yyjson_mut_val *k, *v;
            yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(fresh);
            while ((k = yyjson_mut_obj_iter_next(&it))) {
                v = yyjson_mut_obj_iter_get_val(k);
                yyjson_mut_obj_add(into, yyjson_mut_strcpy(m->doc, yyjson_mut_get_str(k)), yyjson_mut_val_mut_copy(m->doc, v));
            }
            return 0;
        }
        if (str_eq(d, "delete")) {
            clear(into);
            return 0;
        }
        if (!str_eq(d, "merge")) return status_set(m->err, 500, NULL, "Unknown patch type found: %s", str_or(d, ""));
    }
    if (retain_keys(m, into, patch) != 0 || list_directives(m, type, into, patch, true) != 0) return -1;
    yyjson_obj_foreach(patch, i, n, key, value) {
        const char *k = yyjson_get_str(key);
        if (is_directive_key(k)) continue;
        if (yyjson_is_null(value)) {
            yyjson_mut_obj_remove_key(into, k);
            continue;
        }
        const struct field_desc *f = type ? type_field(type, k, strlen(k)) : NULL;
        if (merge_value(m, type, f, into, k, value, patch) != 0) return -1;
    }
    return list_directives(m, type, into, patch, false);
}

int strategic_patch_apply(struct arena *a, const struct type_desc *type, yyjson_mut_doc *doc, yyjson_val *patch, struct status *reterr) {
    struct merger m = {a, doc, reterr};
    if (!yyjson_is_obj(patch)) return status_bad_request(reterr, "json: cannot unmarshal into Go value of type map[string]interface {}");
    return merge_map(&m, type, yyjson_mut_doc_get_root(doc), patch);
}
