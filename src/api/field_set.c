/* Sets of fields: see field_set.h. Any thread; touches nothing but its arguments. Depth is bounded by JSON_DEPTH_MAX, as what sets are made from is.
 * Tests: tests/unit/test_managedfields.c; fuzzed by tests/fuzz/fuzz_fieldset.c. */
#include "api/field_set.h"
#include <stdlib.h>
#include <string.h>
#include "api/field_error.h"
#include "base/str.h"
#include "wire/json.h"

/* ---- path elements ---- */

int path_element_compare(const struct path_element *a, const struct path_element *b) {
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    if (a->kind == PATH_FIELD) return a->name == b->name ? 0 : strcmp(a->name, b->name);
    if (a->kind == PATH_INDEX) return (a->index > b->index) - (a->index < b->index);
    return value_compare(a->value, b->value);
}

/* %q for strings, %v for the rest. */
static void print_value(struct arena *a, struct buf *out, const struct value *v) {
    if (v->kind == VALUE_STRING) buf_append_str(out, go_quote(a, v->s));
    else if (v->kind == VALUE_NULL) buf_append_str(out, "null");
    else if (v->kind == VALUE_LIST || v->kind == VALUE_MAP) value_write_json(out, v);
    else value_print_go(out, v, false);
}

void path_element_print(struct arena *a, struct buf *out, const struct path_element *pe) {
    switch ((enum path_kind)pe->kind) {
        case PATH_FIELD: buf_printf(out, ".%s", pe->name); break;
        case PATH_KEY:
            buf_append_char(out, '[');
            for (uint32_t i = 0; i < pe->value->len; i++) {
                buf_printf(out, "%s%s=", i ? "," : "", pe->value->members[i].name);
                print_value(a, out, &pe->value->members[i].value);
            }
            buf_append_char(out, ']');
            break;
        case PATH_VALUE:
            buf_append_str(out, "[=");
            print_value(a, out, pe->value);
            buf_append_char(out, ']');
            break;
        case PATH_INDEX: buf_printf(out, "[%lld]", (long long)pe->index); break;
    }
}

/* ---- nodes ---- */

/* Where pe is or belongs. */
static size_t place(const struct field_set *s, const struct path_element *pe, bool *found) {
    size_t lo = 0, hi = s->len;
    *found = false;
    if (s->len) { /* most sets are built in order */
        int c = path_element_compare(&s->items[s->len - 1].pe, pe);
        if (c < 0) return s->len;
        if (c == 0) {
            *found = true;
            return s->len - 1;
        }
    }
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = path_element_compare(&s->items[mid].pe, pe);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

struct set_node *field_set_find(const struct field_set *s, const struct path_element *pe) {
    bool found;
    size_t i = place(s, pe, &found);
    return found ? &s->items[i] : NULL;
}

static struct set_node *insert_at(struct arena *a, struct field_set *s, size_t i) {
    LIST_PUSH(a, s);
    memmove(&s->items[i + 1], &s->items[i], (s->len - 1 - i) * sizeof(*s->items));
    return &s->items[i];
}

struct set_node *field_set_descend(struct arena *a, struct field_set *s, const struct path_element *pe) {
    bool found;
    size_t i = place(s, pe, &found);
    if (found) return &s->items[i];
    struct set_node *n = insert_at(a, s, i);
    *n = (struct set_node){.pe = *pe};
    return n;
}

void field_set_add(struct arena *a, struct field_set *s, const struct set_node *node) {
    bool found;
    size_t i = place(s, &node->pe, &found);
    if (!found) *insert_at(a, s, i) = *node;
    else { /* the same item twice in a list */
        s->items[i].member |= node->member;
        s->items[i].children = field_set_union(a, &s->items[i].children, &node->children);
    }
}

void field_set_insert_dotted(struct arena *a, struct field_set *s, const char *path) {
    for (;;) {
        size_t n = strcspn(path, ".");
        struct path_element pe = path_field(arena_strndup(a, path, n));
        struct set_node *node = field_set_descend(a, s, &pe);
        if (!path[n]) {
            node->member = true;
            return;
        }
        s = &node->children;
        path += n + 1;
    }
}

struct field_set field_set_of(struct arena *a, const char *const *paths) {
    struct field_set s = {0};
    for (; paths && *paths; paths++) field_set_insert_dotted(a, &s, *paths);
    return s;
}

bool field_set_has_dotted(const struct field_set *s, const char *path) {
    for (;;) {
        size_t n = strcspn(path, "."), i = 0;
        while (i < s->len && !(s->items[i].pe.kind == PATH_FIELD && strncmp(s->items[i].pe.name, path, n) == 0 && !s->items[i].pe.name[n])) i++;
        if (i == s->len) return false;
        if (!path[n]) return s->items[i].member;
        s = &s->items[i].children;
        path += n + 1;
    }
}

/* ---- operations ---- */

static bool node_empty(const struct set_node *n) { return !n->member && field_set_empty(&n->children); }

bool field_set_empty(const struct field_set *s) {
    for (size_t i = 0; i < s->len; i++)
        if (!node_empty(&s->items[i])) return false;
    return true;
}

bool field_set_equal(const struct field_set *a, const struct field_set *b) {
    if (a->items == b->items && a->len == b->len) return true;
    if (a->len != b->len) return false;
    for (size_t i = 0; i < a->len; i++) {
        const struct set_node *x = &a->items[i], *y = &b->items[i];
        if (x->member != y->member || path_element_compare(&x->pe, &y->pe) != 0 || !field_set_equal(&x->children, &y->children)) return false;
    }
    return true;
}

static void keep(struct arena *a, struct field_set *out, const struct set_node *n) {
    if (!node_empty(n)) *LIST_PUSH(a, out) = *n;
}

enum operation { UNION, INTERSECTION, DIFFERENCE, RECURSIVE_DIFFERENCE };

static struct field_set combine(struct arena *a, const struct field_set *x, const struct field_set *y, enum operation op);

static struct set_node combine_nodes(struct arena *a, const struct set_node *x, const struct set_node *y, enum operation op) {
    struct set_node n = {.pe = x->pe};
    switch (op) {
        case UNION: n.member = x->member || y->member; break;
        case INTERSECTION: n.member = x->member && y->member; break;
        case DIFFERENCE: n.member = x->member && !y->member; break;
        case RECURSIVE_DIFFERENCE:
            if (y->member) return n;
            n.member = x->member;
            break;
    }
    n.children = combine(a, &x->children, &y->children, op);
    return n;
}

static struct field_set combine(struct arena *a, const struct field_set *x, const struct field_set *y, enum operation op) {
    struct field_set out = {0};
    size_t i = 0, j = 0;
    if (y->len == 0) return op == INTERSECTION ? out : *x;
    if (x->len == 0) return op == UNION ? *y : out;
    while (i < x->len || j < y->len) {
        int c = i == x->len ? 1 : j == y->len ? -1 : path_element_compare(&x->items[i].pe, &y->items[j].pe);
        if (c < 0) {
            if (op != INTERSECTION) keep(a, &out, &x->items[i]);
            i++;
        } else if (c > 0) {
            if (op == UNION) keep(a, &out, &y->items[j]);
            j++;
        } else {
            struct set_node n = combine_nodes(a, &x->items[i++], &y->items[j++], op);
            keep(a, &out, &n);
        }
    }
    return out;
}

struct field_set field_set_union(struct arena *a, const struct field_set *x, const struct field_set *y) { return combine(a, x, y, UNION); }
struct field_set field_set_intersection(struct arena *a, const struct field_set *x, const struct field_set *y) { return combine(a, x, y, INTERSECTION); }
struct field_set field_set_difference(struct arena *a, const struct field_set *x, const struct field_set *y) { return combine(a, x, y, DIFFERENCE); }
struct field_set field_set_recursive_difference(struct arena *a, const struct field_set *x, const struct field_set *y) { return combine(a, x, y, RECURSIVE_DIFFERENCE); }

/* ---- walking ---- */

struct walk { struct arena *arena; struct buf path; void (*fn)(void *, const char *); void *arg; };

static void each(struct walk *w, const struct field_set *s) {
    size_t len = w->path.len;
    for (int below = 0; below < 2; below++)
        for (size_t i = 0; i < s->len; i++) {
            const struct set_node *n = &s->items[i];
            if (below ? n->children.len == 0 : !n->member) continue;
            path_element_print(w->arena, &w->path, &n->pe);
            if (below) each(w, &n->children);
            else w->fn(w->arg, arena_strndup(w->arena, buf_cstr(&w->path), w->path.len));
            w->path.len = len;
        }
}

void field_set_each(struct arena *a, const struct field_set *s, void (*fn)(void *arg, const char *path), void *arg) {
    struct walk w = {a, BUF_INIT, fn, arg};
    each(&w, s);
    buf_release(&w.path);
}

/* ---- FieldsV1 ---- */

static void write_key(struct buf *out, const struct path_element *pe, struct buf *scratch) {
    buf_clear(scratch);
    switch ((enum path_kind)pe->kind) {
        case PATH_FIELD: buf_append_str(scratch, "f:"); buf_append_str(scratch, pe->name); break;
        case PATH_KEY: buf_append_str(scratch, "k:"); value_write_json(scratch, pe->value); break;
        case PATH_VALUE: buf_append_str(scratch, "v:"); value_write_json(scratch, pe->value); break;
        case PATH_INDEX: buf_printf(scratch, "i:%lld", (long long)pe->index); break;
    }
    json_write_string_n(out, scratch->data, scratch->len);
    buf_append_char(out, ':');
}

static void write_set(struct buf *out, const struct field_set *s, bool self, struct buf *scratch) {
    bool first = true;
    buf_append_char(out, '{');
    if (self && s->len) {
        buf_append_str(out, "\".\":{}");
        first = false;
    }
    for (size_t i = 0; i < s->len; i++) {
        if (!first) buf_append_char(out, ',');
        first = false;
        write_key(out, &s->items[i].pe, scratch);
        write_set(out, &s->items[i].children, s->items[i].member, scratch);
    }
    buf_append_char(out, '}');
}

void field_set_write(struct buf *out, const struct field_set *s) {
    _cleanup_buf_ struct buf scratch = BUF_INIT;
    write_set(out, s, false, &scratch);
}

static int bad_element(struct status *reterr, const char *key, const char *why) { return status_bad_request(reterr, "parsing key as path element: %s: %s", why, key); }

/* 1: of a kind this version does not know, to be left out. */
static int parse_element(struct arena *a, const char *s, size_t len, struct path_element *ret, struct status *reterr) {
    if (len < 2) return bad_element(reterr, s, "key must be 2 characters long:");
    if (s[1] != ':') return bad_element(reterr, s, "missing colon");
    if (s[0] == 'f') {
        *ret = path_field(s + 2);
        return 0;
    }
    if (s[0] == 'i') {
        int64_t n;
        if (!str_to_i64(s + 2, &n)) return bad_element(reterr, s, "not an index");
        *ret = (struct path_element){PATH_INDEX, {.index = n}};
        return 0;
    }
    if (s[0] != 'k' && s[0] != 'v') return 1;
    yyjson_doc *doc = json_parse_in(a, s + 2, len - 2, 0, NULL);
    if (!doc) return bad_element(reterr, s, "not JSON");
    if (s[0] == 'k' && !yyjson_is_obj(yyjson_doc_get_root(doc))) return bad_element(reterr, s, "not an object");
    struct value *v = ARENA_NEW(a, struct value);
    *v = value_from_json(a, yyjson_doc_get_root(doc));
    *ret = (struct path_element){s[0] == 'k' ? PATH_KEY : PATH_VALUE, {.value = v}};
    return 0;
}

/* Fills the set below a key; *self says whether the key itself is a member. */
static int parse_set(struct arena *a, yyjson_val *v, struct field_set *ret, bool *self, struct status *reterr) {
    size_t i, max;
    yyjson_val *k, *below;
    *self = false;
    if (!yyjson_is_obj(v) && !yyjson_is_null(v)) return status_bad_request(reterr, "expect { or n, in managed fields");
    yyjson_obj_foreach(v, i, max, k, below) {
        const char *key = yyjson_get_str(k);
        struct set_node n = {0};
        if (strcmp(key, ".") == 0) {
            *self = true;
            continue;
        }
        int r = parse_element(a, key, yyjson_get_len(k), &n.pe, reterr);
        if (r < 0) return -1;
        if (r > 0) continue;
        if (parse_set(a, below, &n.children, &n.member, reterr) != 0) return -1;
        field_set_add(a, ret, &n);
    }
    if (ret->len == 0) *self = true;
    return 0;
}

int field_set_parse(struct arena *a, const char *json, size_t len, struct field_set *ret, struct status *reterr) {
    bool self;
    struct field_set s = {0};
    yyjson_doc *doc = json_parse_in(a, json, len, 0, reterr);
    if (!doc || parse_set(a, yyjson_doc_get_root(doc), &s, &self, reterr) != 0) return -1;
    *ret = s;
    return 0;
}
