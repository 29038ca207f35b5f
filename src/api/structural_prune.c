/* Documents made to fit a schema: pruning, nulls, defaults, embedded resources' metadata. */
#include <string.h>
#include "api/structural.h"
#include "base/str.h"
#include "wire/json.h"

static bool is_meta(const char *k) { return strcmp(k, "apiVersion") == 0 || strcmp(k, "kind") == 0 || strcmp(k, "metadata") == 0; }

/* ---- paths of unknown fields: a.b[0].c ---- */

struct pruner {
    struct arena *arena;
    struct string_list *unknown; /* NULL: not wanted */
    struct buf path;
};

static size_t push_key(struct pruner *p, const char *key) {
    size_t len = p->path.len;
    if (p->unknown) {
        if (len) buf_append_char(&p->path, '.');
        buf_append_str(&p->path, key);
    }
    return len;
}

static size_t push_index(struct pruner *p, size_t i) {
    size_t len = p->path.len;
    if (p->unknown) buf_printf(&p->path, "[%zu]", i);
    return len;
}

static void pop(struct pruner *p, size_t len) {
    p->path.len = len;
    if (p->path.data) p->path.data[len] = 0;
}

static void record(struct pruner *p, const char *key) {
    if (!p->unknown) return;
    size_t len = push_key(p, key);
    string_list_push(p->arena, p->unknown, arena_strdup(p->arena, p->path.data));
    pop(p, len);
}

static int compare_strings(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void finish(struct pruner *p) {
    buf_release(&p->path);
    if (p->unknown && p->unknown->len) qsort(p->unknown->items, p->unknown->len, sizeof(char *), compare_strings);
}

/* ---- pruning ---- */

static void prune(struct pruner *p, const struct structural *s, yyjson_mut_val *x, bool embedded);

static void prune_item(struct pruner *p, const struct structural *s, yyjson_mut_val *x, size_t i) {
    size_t len = push_index(p, i);
    prune(p, s, x, s && s->embedded);
    pop(p, len);
}

/* Where unknown fields are preserved, only what is specified below is looked into. */
static void skip(struct pruner *p, const struct structural *s, yyjson_mut_val *x, bool embedded) {
    size_t i, n;
    yyjson_mut_val *key, *value;
    if (yyjson_mut_is_arr(x) && s->items) {
        yyjson_mut_arr_foreach(x, i, n, value) {
            size_t len = push_index(p, i);
            skip(p, s->items, value, s->items->embedded);
            pop(p, len);
        }
    } else if (yyjson_mut_is_obj(x)) yyjson_mut_obj_foreach(x, i, n, key, value) {
        const char *k = yyjson_mut_get_str(key);
        const struct structural *sub = structural_property(s, k);
        if ((embedded && is_meta(k)) || (!sub && !s->has_additional)) continue;
        size_t len = push_key(p, k);
        if (!sub) sub = s->additional;
        prune(p, sub, value, sub && sub->embedded);
        pop(p, len);
    }
}

static void prune_object(struct pruner *p, const struct structural *s, yyjson_mut_val *x, bool embedded) {
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(x);
    yyjson_mut_val *key;
    while ((key = yyjson_mut_obj_iter_next(&it))) {
        const char *k = yyjson_mut_get_str(key);
        if (embedded && is_meta(k)) continue;
        const struct structural *sub = structural_property(s, k);
        if (!s || (!sub && !s->has_additional)) {
            if (!s || !is_meta(k) || p->path.len || !p->unknown) record(p, k);
            yyjson_mut_obj_iter_remove(&it);
            continue;
        }
        size_t len = push_key(p, k);
        if (!sub) sub = s->additional;
        prune(p, sub, yyjson_mut_obj_iter_get_val(key), sub && sub->embedded);
        pop(p, len);
    }
}

static void prune(struct pruner *p, const struct structural *s, yyjson_mut_val *x, bool embedded) {
    size_t i, n;
    yyjson_mut_val *value;
    if (s && s->preserve) skip(p, s, x, embedded);
    else if (yyjson_mut_is_obj(x)) prune_object(p, s, x, embedded);
    else if (yyjson_mut_is_arr(x)) yyjson_mut_arr_foreach(x, i, n, value) prune_item(p, s ? s->items : NULL, value, i);
}

void structural_prune(struct arena *a, const struct structural *s, yyjson_mut_val *x, bool root, struct string_list *unknown) {
    struct pruner p = {.arena = a, .unknown = unknown};
    prune(&p, s, x, root || (s && s->embedded));
    finish(&p);
}

/* ---- nulls and defaults ---- */

static bool wrong_null(yyjson_mut_val *v, const struct structural *s) { return yyjson_mut_is_null(v) && !(s && s->nullable); }

void structural_prune_nulls(const struct structural *s, yyjson_mut_val *x) {
    size_t i, n;
    yyjson_mut_val *item, *key;
    if (!s) return;
    if (yyjson_mut_is_arr(x)) yyjson_mut_arr_foreach(x, i, n, item) structural_prune_nulls(s->items, item);
    if (!yyjson_mut_is_obj(x)) return;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(x);
    while ((key = yyjson_mut_obj_iter_next(&it))) {
        const struct structural *sub = structural_property(s, yyjson_mut_get_str(key));
        yyjson_mut_val *v = yyjson_mut_obj_iter_get_val(key);
        if (sub && wrong_null(v, sub) && !sub->default_) yyjson_mut_obj_iter_remove(&it);
        else structural_prune_nulls(sub ? sub : s->additional, v);
    }
}

/* Nulls in lists and maps whose schema has a default become that default; without one they stay for validation to refuse. */
static void replace_null(yyjson_mut_doc *doc, const struct structural *s, yyjson_mut_val *v) {
    if (!s || !wrong_null(v, s) || !s->default_) return;
    yyjson_mut_val *next = v->next, *copy = yyjson_val_mut_copy(doc, s->default_);
    *v = *copy;
    v->next = next;
}

void structural_default(yyjson_mut_doc *doc, const struct structural *s, yyjson_mut_val *x) {
    size_t i, n;
    yyjson_mut_val *key, *value;
    if (!s) return;
    if (yyjson_mut_is_arr(x)) yyjson_mut_arr_foreach(x, i, n, value) {
        replace_null(doc, s->items, value);
        structural_default(doc, s->items, value);
    }
    if (!yyjson_mut_is_obj(x)) return;
    for (i = 0; i < s->properties.len; i++) {
        const struct structural *p = s->properties.items[i];
        yyjson_mut_val *there = p->default_ ? yyjson_mut_obj_get(x, s->properties.names[i]) : NULL;
        if (!p->default_) continue;
        if (there) replace_null(doc, p, there);
        else yyjson_mut_obj_add(x, yyjson_mut_strcpy(doc, s->properties.names[i]), yyjson_val_mut_copy(doc, p->default_));
    }
    yyjson_mut_obj_foreach(x, i, n, key, value) {
        const struct structural *p = structural_property(s, yyjson_mut_get_str(key));
        if (!p) replace_null(doc, s->additional, value);
        structural_default(doc, p ? p : s->additional, value);
    }
}

/* ---- embedded resources ---- */

static int coerce_meta(struct pruner *p, yyjson_mut_doc *doc, yyjson_mut_val *object, yyjson_mut_val *meta, struct status *reterr) {
    struct buf text = BUF_INIT;
    struct metav1_ObjectMeta m = {0};
    struct string_list strict = {0};
    json_write_mut(&text, meta);
    int failed = object_decode_json(p->arena, &metav1_ObjectMeta_desc, &m, text.data, text.len, &strict, reterr);
    buf_clear(&text);
    if (!failed) {
        for (size_t i = 0; p->unknown && i < strict.len; i++) {
            const char *field = strict.items[i], *quote = strchr(field, '"');
            if (!str_has_prefix(field, "unknown field ") || !quote) continue;
            size_t len = push_key(p, "metadata");
            record(p, arena_strndup(p->arena, quote + 1, strlen(quote + 1) - 1));
            pop(p, len);
        }
        object_encode_json(&metav1_ObjectMeta_desc, &m, &text);
        yyjson_doc *fresh = json_parse_in(p->arena, text.data, text.len, 0, NULL);
        yyjson_mut_val *copy = yyjson_val_mut_copy(doc, yyjson_doc_get_root(fresh));
        if (!m.creationTimestamp.set) yyjson_mut_obj_remove_key(copy, "creationTimestamp");
        yyjson_mut_obj_put(object, yyjson_mut_str(doc, "metadata"), copy);
    }
    buf_release(&text);
    return failed;
}

static int coerce(struct pruner *p, yyjson_mut_doc *doc, const struct structural *s, yyjson_mut_val *x, bool embedded, struct status *reterr) {
    size_t i, n;
    yyjson_mut_val *key, *value;
    if (!s && !embedded) return 0;
    if (yyjson_mut_is_arr(x) && s) {
        yyjson_mut_arr_foreach(x, i, n, value) {
            size_t len = push_index(p, i);
            if (coerce(p, doc, s->items, value, s->items && s->items->embedded, reterr) != 0) return -1;
            pop(p, len);
        }
    }
    if (!yyjson_mut_is_obj(x)) return 0;
    yyjson_mut_val *meta = embedded ? yyjson_mut_obj_get(x, "metadata") : NULL;
    static const char *const type_meta[] = {"apiVersion", "kind"};
    for (size_t j = 0; embedded && j < 2; j++) {
        yyjson_mut_val *v = yyjson_mut_obj_get(x, type_meta[j]);
        if (v && !yyjson_mut_is_str(v)) return status_bad_request(reterr, "%s%s%s: Invalid value: must be a string", buf_cstr(&p->path), p->path.len ? "." : "", type_meta[j]);
    }
    if (meta && coerce_meta(p, doc, x, meta, reterr) != 0) return -1;
    yyjson_mut_obj_foreach(x, i, n, key, value) {
        const struct structural *sub = structural_member(s, yyjson_mut_get_str(key));
        if (!sub) continue;
        size_t len = push_key(p, yyjson_mut_get_str(key));
        if (coerce(p, doc, sub, value, sub->embedded, reterr) != 0) return -1;
        pop(p, len);
    }
    return 0;
}

int structural_coerce(struct arena *a, yyjson_mut_doc *doc, const struct structural *s, yyjson_mut_val *x, bool root, struct string_list *unknown, struct status *reterr) {
    struct pruner p = {.arena = a, .unknown = unknown};
    int failed = coerce(&p, doc, s, x, root || (s && s->embedded), reterr);
    finish(&p);
    return failed;
}
