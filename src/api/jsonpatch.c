/* JSON patch and JSON merge patch. */
#include <stdio.h>
#include <string.h>
#include "api/json_edit.h"
#include "api/patch.h"
#include "base/str.h"
#include "wire/json.h"

enum { OPERATIONS_MAX = 10000 };

struct pointer { char **parts; size_t len; };

static int malformed(struct status *reterr, const char *why) { return status_bad_request(reterr, "%s", why); }

/* Why an operation failed stays in the log of upstream's server: the client gets the one sentence. */
static int failed_op(struct status *reterr, const char *why UNUSED, const char *path UNUSED) {
    return status_set(reterr, 422, REASON_INVALID, "the server rejected our request due to an error in our request");
}

static struct pointer parse_pointer(struct arena *a, const char *path) {
    struct pointer p = {0};
    struct { char **items; size_t len; } parts = {0};
    const char *from = strchr(path, '/'); /* what stands before the first one is not looked at */
    if (!from) return p;
    for (const char *s = from + 1;; s++) {
        size_t len = strcspn(s, "/");
        char *part = arena_strndup(a, s, len), *o = part;
        for (char *c = part; *c; c++) *o++ = c[0] == '~' && c[1] == '1' ? (c++, '/') : c[0] == '~' && c[1] == '0' ? (c++, '~') : *c;
        *o = 0;
        *LIST_PUSH(a, &parts) = part;
        s += len;
        if (!*s) break;
    }
    return (struct pointer){parts.items, parts.len};
}

static bool array_index(const char *text, size_t len, bool allow_end, size_t *ret) {
    int64_t n;
    if (allow_end && strcmp(text, "-") == 0) {
        *ret = len;
        return true;
    }
    if (!str_to_i64(text, &n)) return false;
    if (n < 0) n += (int64_t)len + (allow_end ? 1 : 0);
    if (n < 0 || (size_t)n > len || (!allow_end && (size_t)n == len)) return false;
    *ret = (size_t)n;
    return true;
}

static yyjson_mut_val *step(yyjson_mut_val *at, const char *part) {
    size_t i;
    if (yyjson_mut_is_obj(at)) return yyjson_mut_obj_get(at, part);
    if (yyjson_mut_is_arr(at) && array_index(part, yyjson_mut_arr_size(at), false, &i)) return yyjson_mut_arr_get(at, i);
    return NULL;
}

static yyjson_mut_val *walk(yyjson_mut_val *at, const struct pointer *p, size_t len) {
    for (size_t i = 0; at && i < len; i++) at = step(at, p->parts[i]);
    return at;
}

static int add(yyjson_mut_doc *doc, const struct pointer *p, const char *path, yyjson_mut_val *value, struct status *reterr) {
    size_t i;
    if (p->len == 0) return failed_op(reterr, "add operation does not apply: doc is missing path", path);
    yyjson_mut_val *parent = walk(yyjson_mut_doc_get_root(doc), p, p->len - 1);
    const char *last = p->parts[p->len - 1];
    if (yyjson_mut_is_obj(parent)) {
        yyjson_mut_obj_remove_key(parent, last);
        yyjson_mut_obj_add(parent, yyjson_mut_strcpy(doc, last), value);
        return 0;
    }
    if (yyjson_mut_is_arr(parent) && array_index(last, yyjson_mut_arr_size(parent), true, &i)) {
        yyjson_mut_arr_insert(parent, value, i);
        return 0;
    }
    return failed_op(reterr, "add operation does not apply: doc is missing path", path);
}

static int take_out(yyjson_mut_doc *doc, const struct pointer *p, const char *path, const char *op, yyjson_mut_val **ret, struct status *reterr) {
    size_t i;
    yyjson_mut_val *parent = p->len ? walk(yyjson_mut_doc_get_root(doc), p, p->len - 1) : NULL, *out = NULL;
    const char *last = p->len ? p->parts[p->len - 1] : "";
    if (yyjson_mut_is_obj(parent)) out = yyjson_mut_obj_remove_key(parent, last);
    else if (yyjson_mut_is_arr(parent) && array_index(last, yyjson_mut_arr_size(parent), false, &i)) out = yyjson_mut_arr_remove(parent, i);
    if (!out) return failed_op(reterr, op, path);
    if (ret) *ret = out;
    return 0;
}

static int replace(struct arena *a, yyjson_mut_doc *doc, const struct pointer *p, const char *path, yyjson_mut_val *value, struct status *reterr) {
    size_t i;
    (void)a;
    yyjson_mut_val *parent = p->len ? walk(yyjson_mut_doc_get_root(doc), p, p->len - 1) : NULL;
    if (p->len == 0 && !yyjson_mut_is_ctn(value)) return failed_op(reterr, "replace operation hit impossible case", path);
    if (p->len == 0) {
        yyjson_mut_doc_set_root(doc, value);
        return 0;
    }
    if (yyjson_mut_is_obj(parent)) return add(doc, p, path, value, reterr); /* of a missing key too, as upstream */
    if (yyjson_mut_is_arr(parent) && array_index(p->parts[p->len - 1], yyjson_mut_arr_size(parent), false, &i)) {
        yyjson_mut_arr_replace(parent, i, value);
        return 0;
    }
    return failed_op(reterr, "replace operation does not apply: doc is missing path", path);
}

static int test(yyjson_mut_doc *doc, const struct pointer *p, const char *path, yyjson_val *value, struct status *reterr) {
    yyjson_mut_val *at = walk(yyjson_mut_doc_get_root(doc), p, p->len), *want = value ? yyjson_val_mut_copy(doc, value) : NULL;
    bool null_want = !want || yyjson_mut_is_null(want), null_at = !at || yyjson_mut_is_null(at);
    if ((null_want && null_at) || (at && want && yyjson_mut_equals(at, want))) return 0;
    return failed_op(reterr, "testing value failed", path);
}

/* The last of that name. */
static yyjson_val *member(yyjson_val *op, const char *name) {
    size_t i, n;
    yyjson_val *key, *value, *found = NULL;
    yyjson_obj_foreach(op, i, n, key, value) if (yyjson_equals_str(key, name)) found = value;
    return found;
}

static int run_op(struct arena *a, yyjson_mut_doc *doc, yyjson_val *op, struct status *reterr) {
    const char *name = yyjson_get_str(member(op, "op")), *path = yyjson_get_str(member(op, "path")), *from = yyjson_get_str(member(op, "from"));
    yyjson_val *value = member(op, "value");
    if (!path) return failed_op(reterr, "missing path", str_or(name, ""));
    struct pointer p = parse_pointer(a, path);
    if (*path && !strchr(path, '/')) return failed_op(reterr, "doc is missing path", path);
    if (str_eq(name, "add")) return add(doc, &p, path, value ? yyjson_val_mut_copy(doc, value) : yyjson_mut_null(doc), reterr);
    if (str_eq(name, "remove")) return take_out(doc, &p, path, "remove operation does not apply: doc is missing path", NULL, reterr);
    if (str_eq(name, "replace")) return replace(a, doc, &p, path, value ? yyjson_val_mut_copy(doc, value) : yyjson_mut_null(doc), reterr);
    if (str_eq(name, "test")) return test(doc, &p, path, value, reterr);
    if (str_eq(name, "move") || str_eq(name, "copy")) {
        yyjson_mut_val *moved;
        struct pointer f = parse_pointer(a, str_or(from, ""));
        if (!from) return failed_op(reterr, "missing from", path);
        if (str_eq(name, "copy")) {
            yyjson_mut_val *parent = f.len ? walk(yyjson_mut_doc_get_root(doc), &f, f.len - 1) : NULL;
            moved = parent ? step(parent, f.parts[f.len - 1]) : NULL;
            if (!moved && yyjson_mut_is_obj(parent)) moved = yyjson_mut_null(doc); /* a member that is not there is copied as null, as upstream */
            if (!moved) return failed_op(reterr, "copy operation does not apply: doc is missing from path", from);
            moved = yyjson_mut_val_mut_copy(doc, moved);
        } else if (take_out(doc, &f, from, "move operation does not apply: doc is missing from path", &moved, reterr) != 0) return -1;
        return add(doc, &p, path, moved, reterr);
    }
    return failed_op(reterr, "Unexpected kind", str_or(name, "unknown"));
}

/* An operation is a map whose members are strings, but for the value. */
static int check_op(yyjson_val *op, struct status *reterr) {
    static const char *const members[] = {"op", "path", "from", NULL};
    if (yyjson_is_null(op)) return 0;
    if (!yyjson_is_obj(op)) return malformed(reterr, "error decoding patch: json: cannot unmarshal into Go value of type handlers.jsonPatchOp");
    for (size_t i = 0; members[i]; i++) {
        yyjson_val *v = yyjson_obj_get(op, members[i]);
        if (v && !yyjson_is_str(v) && !yyjson_is_null(v)) return status_bad_request(reterr, "error decoding patch: json: cannot unmarshal %s into Go struct field jsonPatchOp.%s of type string",
                                                                                    yyjson_is_obj(v) ? "object" : yyjson_is_arr(v) ? "array" : yyjson_is_bool(v) ? "bool" : "number", members[i]);
    }
    return 0;
}

int json_patch_apply(struct arena *a, yyjson_mut_doc *doc, yyjson_val *patch, struct status *reterr) {
    size_t i, n;
    yyjson_val *op;
    if (yyjson_is_null(patch)) return 0; /* no operations */
    if (!yyjson_is_arr(patch)) return malformed(reterr, "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
    if (yyjson_arr_size(patch) > OPERATIONS_MAX)
        return status_set(reterr, 413, REASON_REQUEST_ENTITY_TOO_LARGE, "Request entity too large: The allowed maximum operations in a JSON patch is %d, got %zu", OPERATIONS_MAX, yyjson_arr_size(patch));
    yyjson_arr_foreach(patch, i, n, op) if (check_op(op, reterr) != 0) return -1;
    yyjson_arr_foreach(patch, i, n, op) if (run_op(a, doc, op, reterr) != 0) return -1;
    return 0;
}

static yyjson_mut_val *merge(struct arena *a, yyjson_mut_doc *doc, yyjson_mut_val *into, yyjson_val *patch) {
    size_t i, n;
    yyjson_val *key, *value;
    if (!yyjson_is_obj(patch)) return yyjson_val_mut_copy(doc, patch);
    if (!yyjson_mut_is_obj(into)) into = yyjson_mut_obj(doc);
    struct json_edit edit;
    json_edit_open(&edit, a, doc, into);
    yyjson_obj_foreach(patch, i, n, key, value) {
        const char *k = yyjson_get_str(key);
        yyjson_mut_val *old = json_edit_get(&edit, k), *merged = yyjson_is_null(value) ? NULL : merge(a, doc, old, value);
        if (merged != old) json_edit_set(&edit, k, merged);
    }
    json_edit_close(&edit);
    return into;
}

int merge_patch_apply(struct arena *a, yyjson_mut_doc *doc, yyjson_val *patch, struct status *reterr) {
    if (!yyjson_is_obj(patch)) return malformed(reterr, "Invalid JSON Patch");
    yyjson_mut_doc_set_root(doc, merge(a, doc, yyjson_mut_doc_get_root(doc), patch));
    return 0;
}
