/* Lists, sets and optionals: apiserver's Lists library, cel-go's Sets and optional types. */
#include <string.h>
#include "api/cel/internal.h"
#include "base/str.h"

static bool fold(struct call *c, struct cel_value *ret) {
    struct cel_value v, best = {.kind = CEL_DYN};
    bool ok, sum = strcmp(c->name, "sum") == 0, min = strcmp(c->name, "min") == 0;
    for (size_t i = 0; cel_list_at(c->arena, &c->args[0], i, &v); i++, c->cost++) {
        if (best.kind == CEL_DYN) best = v;
        else if (sum) {
            const struct cel_value two[] = {best, v};
            struct call add = {c->arena, "_+_", false, two, 2, 0, c->now_s};
            if (!cel_call_standard(&add, &best)) return false;
            if (best.kind == CEL_ERROR) break;
        } else {
            int order = cel_compare(&v, &best, &ok);
            if (!ok) return false;
            if (min ? order < 0 : order > 0) best = v;
        }
    }
    if (best.kind != CEL_DYN) *ret = best;
    else *ret = sum ? CEL_INT_VALUE(0) : cel_error(c->arena, "%s called on empty list", c->name);
    return true;
}

static bool is_sorted(struct call *c, struct cel_value *ret) {
    struct cel_value v, before;
    bool ok;
    *ret = CEL_BOOL_VALUE(true);
    for (size_t i = 0; cel_list_at(c->arena, &c->args[0], i, &v); i++, c->cost++) {
        if (i && cel_compare(&before, &v, &ok) > 0) ret->b = false;
        if (i && !ok) return false;
        before = v;
    }
    return true;
}

static bool index_of(struct call *c, struct cel_value *ret, bool last) {
    struct cel_value v;
    *ret = CEL_INT_VALUE(-1);
    for (size_t i = 0; cel_list_at(c->arena, &c->args[0], i, &v); i++, c->cost++)
        if (cel_equal(c->arena, &v, &c->args[1])) {
            ret->i = (int64_t)i;
            if (!last) break;
        }
    return true;
}

static bool has_item(struct call *c, const struct cel_value *list, const struct cel_value *item) {
    struct cel_value v;
    for (size_t i = 0; cel_list_at(c->arena, list, i, &v); i++, c->cost++)
        if (cel_equal(c->arena, &v, item)) return true;
    return false;
}

static bool has_all(struct call *c, const struct cel_value *list, const struct cel_value *items) {
    struct cel_value v;
    for (size_t i = 0; cel_list_at(c->arena, items, i, &v); i++)
        if (!has_item(c, list, &v)) return false;
    return true;
}

static bool sets(struct call *c, struct cel_value *ret) {
    const struct cel_value *x = &c->args[1], *y = &c->args[2];
    struct cel_value v;
    if (c->len != 3 || x->kind != CEL_LIST || y->kind != CEL_LIST) return false;
    *ret = CEL_BOOL_VALUE(false);
    if (strcmp(c->name, "contains") == 0) ret->b = has_all(c, x, y);
    else if (strcmp(c->name, "equivalent") == 0) ret->b = has_all(c, x, y) && has_all(c, y, x);
    else if (strcmp(c->name, "intersects") == 0) for (size_t i = 0; !ret->b && cel_list_at(c->arena, x, i, &v); i++) ret->b = has_item(c, y, &v);
    else return false;
    return true;
}

static bool is_zero(const struct cel_value *v) {
    switch (v->kind) {
        case CEL_NULL: return true;
        case CEL_BOOL: return !v->b;
        case CEL_INT: case CEL_UINT: case CEL_DURATION: return v->i == 0;
        case CEL_DOUBLE: return v->d == 0;
        case CEL_STRING: case CEL_BYTES: return v->str.len == 0;
        case CEL_LIST: case CEL_MAP: return cel_size(v) == 0;
        default: return false;
    }
}

static bool make_optional(struct call *c, struct cel_value *ret) {
    *ret = (struct cel_value){.kind = CEL_OPTIONAL};
    if (strcmp(c->name, "none") == 0) return c->len == 1;
    if (c->len != 2 || (strcmp(c->name, "of") != 0 && strcmp(c->name, "ofNonZeroValue") != 0)) return false;
    if (c->name[2] && is_zero(&c->args[1])) return true;
    ret->opt = arena_memdup(c->arena, &c->args[1], sizeof(*ret->opt));
    return true;
}

static bool optionals(struct call *c, struct cel_value *ret) {
    const struct cel_value *o = c->args[0].opt;
    if (strcmp(c->name, "hasValue") == 0 && c->len == 1) *ret = CEL_BOOL_VALUE(o != NULL);
    else if (strcmp(c->name, "value") == 0 && c->len == 1) *ret = o ? *o : cel_error(c->arena, "optional.none() dereference");
    else if (strcmp(c->name, "orValue") == 0 && c->len == 2) *ret = o ? *o : c->args[1];
    else if (strcmp(c->name, "or") == 0 && c->len == 2) *ret = o ? c->args[0] : c->args[1];
    else return false;
    return true;
}

bool cel_call_lists(struct call *c, struct cel_value *ret) {
    if (!c->method || !c->len) return false;
    const struct cel_value *x = &c->args[0];
    if (x->kind == CEL_TYPE && x->str.len == 4 && memcmp(x->str.s, "sets", 4) == 0) return sets(c, ret);
    if (x->kind == CEL_TYPE && x->str.len == 8 && memcmp(x->str.s, "optional", 8) == 0) return make_optional(c, ret);
    if (x->kind == CEL_OPTIONAL) return optionals(c, ret);
    if (x->kind != CEL_LIST) return false;
    if (c->len == 2) return (strcmp(c->name, "indexOf") == 0 || strcmp(c->name, "lastIndexOf") == 0) && index_of(c, ret, *c->name == 'l');
    if (strcmp(c->name, "isSorted") == 0) return is_sorted(c, ret);
    return (strcmp(c->name, "sum") == 0 || strcmp(c->name, "min") == 0 || strcmp(c->name, "max") == 0) && fold(c, ret);
}
