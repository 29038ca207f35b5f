/* Comparing, field sets, removal: see typed_value.h. Merging: typed_merge.c; validation: typed_validate.c. Any thread. Tests: tests/unit/test_apply.c. */
#include "api/typed_value.h"
#include <stdlib.h>
#include <string.h>
#include "api/typed_walk.h"

/* ---- what the walks share ---- */

struct atom typed_deduce(struct schema_ref type, const struct value *v) {
    struct atom a = schema_resolve(type);
    if (!v) return a;
    if (v->kind == VALUE_MAP && a.map) return (struct atom){.map = a.map, .map_item = a.map_item};
    if (v->kind == VALUE_LIST && a.list) return (struct atom){.list = a.list, .keys = a.keys, .list_item = a.list_item};
    if (v->kind != VALUE_MAP && v->kind != VALUE_LIST && v->kind != VALUE_NULL && a.scalar) return (struct atom){.scalar = a.scalar};
    return a;
}

static bool same_forms(const struct atom *a, const struct atom *b) { return !a->map == !b->map && !a->list == !b->list && !a->scalar == !b->scalar; }

static const char *keyed_element(struct arena *a, const struct atom *list, const struct value *item, struct path_element *ret) {
    if (item->kind == VALUE_NULL) return "associative list with keys may not have a null element";
    if (item->kind != VALUE_MAP) return "associative list with keys may not have non-map elements";
    size_t max = 0, n = 0;
    while (list->keys[max]) max++;
    struct value_member *m = arena_calloc(a, max, sizeof(*m));
    for (size_t i = 0; i < max; i++) {
        const struct value *v = value_get(item, list->keys[i]);
        struct value other;
        if (!v && schema_key_default(a, list->list_item, list->keys[i], &other)) v = &other;
        if (!v) continue;
        size_t at = n++;
        for (; at > 0 && strcmp(m[at - 1].name, list->keys[i]) > 0; at--) m[at] = m[at - 1];
        m[at] = (struct value_member){list->keys[i], *v};
    }
    if (n == 0) {
        _cleanup_buf_ struct buf keys = BUF_INIT;
        for (size_t i = 0; i < max; i++) buf_printf(&keys, "%s\"%s\"", i ? " " : "", list->keys[i]);
        return arena_printf(a, "associative list with keys has an element that omits all key fields [%s] (and doesn't have default values for any key fields)", buf_cstr(&keys));
    }
    struct value *key = ARENA_NEW(a, struct value);
    *key = (struct value){.kind = VALUE_MAP, .len = (uint32_t)n, .members = m};
    *ret = (struct path_element){PATH_KEY, {.value = key}};
    return NULL;
}

const char *typed_item_element(struct arena *a, const struct atom *list, const struct value *item, struct path_element *ret) {
    if (list->keys) return keyed_element(a, list, item, ret);
    if (item->kind == VALUE_MAP) return "associative list without keys has an element that's a map type";
    if (item->kind == VALUE_LIST) return "not supported: associative list with lists as elements";
    if (item->kind == VALUE_NULL) return "associative list without keys has an element that's an explicit null";
    *ret = (struct path_element){PATH_VALUE, {.value = item}};
    return NULL;
}

static int compare_places(const void *x, const void *y) {
    const struct item_place *p = x, *q = y;
    int c = path_element_compare(&p->pe, &q->pe);
    return c ? c : (p->at > q->at) - (p->at < q->at);
}

struct item_places typed_places(struct arena *a, const struct atom *list, const struct value *v, const struct type_path *at, struct string_list *errs) {
    struct item_places places = {0};
    if (!v || v->kind != VALUE_LIST) return places;
    places.items = arena_calloc(a, v->len, sizeof(*places.items));
    for (uint32_t i = 0; i < v->len; i++) {
        struct item_place *p = &places.items[places.len];
        const char *wrong = typed_item_element(a, list, &v->items[i], &p->pe);
        if (wrong) {
            if (errs) typed_error(a, errs, at, "element %u: %s", i, wrong);
            continue;
        }
        p->at = i;
        places.len++;
    }
    if (places.len > 1) qsort(places.items, places.len, sizeof(*places.items), compare_places);
    return places;
}

const struct item_place *typed_place(const struct item_places *places, const struct path_element *pe) {
    size_t lo = 0, hi = places->len;
    while (lo < hi) { /* the first of equals */
        size_t mid = (lo + hi) / 2;
        if (path_element_compare(&places->items[mid].pe, pe) < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo < places->len && path_element_compare(&places->items[lo].pe, pe) == 0 ? &places->items[lo] : NULL;
}

/* ---- comparing ---- */

enum { REMOVED, MODIFIED, ADDED, SETS };
struct difference { struct field_set sets[SETS]; bool self[SETS]; };
struct compare { struct arena *a; struct string_list *errs; };

static void compare_value(struct compare *c, struct schema_ref type, const struct value *old, const struct value *now, const struct type_path *at, struct difference *out);

static void add_difference(struct compare *c, const struct path_element *pe, const struct difference *d, struct difference *out) {
    for (int i = 0; i < SETS; i++) {
        if (!d->self[i] && d->sets[i].len == 0) continue;
        struct set_node n = {*pe, d->self[i], d->sets[i]};
        field_set_add(c->a, &out->sets[i], &n);
    }
}

static void compare_leaf(const struct value *old, const struct value *now, struct difference *out) {
    if (!old) out->self[ADDED] = true;
    else if (!now) out->self[REMOVED] = true;
    else if (!value_equal(old, now)) out->self[MODIFIED] = true;
}

static void compare_item(struct compare *c, const struct atom *list, const struct path_element *pe, const struct value *old, const struct value *now, const struct type_path *at, struct difference *out) {
    struct difference d = {0};
    compare_value(c, list->list_item, old, now, &(struct type_path){at, pe}, &d);
    add_difference(c, pe, &d, out);
}

static size_t run_length(const struct item_places *p, size_t i) {
    size_t n = 1;
    while (i + n < p->len && path_element_compare(&p->items[i].pe, &p->items[i + n].pe) == 0) n++;
    return n;
}

static bool runs_equal(const struct value *old, const struct item_place *x, size_t nx, const struct value *now, const struct item_place *y, size_t ny) {
    if (nx != ny) return false;
    for (size_t i = 0; i < nx; i++)
        if (!value_equal(&old->items[x[i].at], &now->items[y[i].at])) return false;
    return true;
}

/* Items of one key: usually one on either side; duplicates are taken together. */
static void compare_run(struct compare *c, const struct atom *list, const struct value *old, const struct item_place *x, size_t nx, const struct value *now, const struct item_place *y, size_t ny,
                        const struct type_path *at, struct difference *out) {
    const struct path_element *pe = nx ? &x->pe : &y->pe;
    if (nx >= 2 || ny >= 2) {
        struct difference d = {0};
        if (nx >= 2 && ny >= 2) d.self[MODIFIED] = !runs_equal(old, x, nx, now, y, ny);
        else if (nx >= 2) {
            if (ny) compare_item(c, list, pe, NULL, &now->items[y->at], at, out);
            d.self[REMOVED] = true;
        } else {
            if (nx) compare_item(c, list, pe, &old->items[x->at], NULL, at, out);
            d.self[ADDED] = true;
        }
        add_difference(c, pe, &d, out);
    } else compare_item(c, list, pe, nx ? &old->items[x->at] : NULL, ny ? &now->items[y->at] : NULL, at, out);
}

static void compare_lists(struct compare *c, const struct atom *list, const struct value *old, const struct value *now, const struct type_path *at, struct difference *out) {
    struct item_places p = typed_places(c->a, list, old, at, c->errs), q = typed_places(c->a, list, now, at, c->errs);
    size_t i = 0, j = 0;
    while (i < p.len || j < q.len) {
        int order = i == p.len ? 1 : j == q.len ? -1 : path_element_compare(&p.items[i].pe, &q.items[j].pe);
        size_t nx = order <= 0 ? run_length(&p, i) : 0, ny = order >= 0 ? run_length(&q, j) : 0;
        compare_run(c, list, old, nx ? &p.items[i] : NULL, nx, now, ny ? &q.items[j] : NULL, ny, at, out);
        i += nx;
        j += ny;
    }
}

static void compare_maps(struct compare *c, struct schema_ref type, const struct atom *atom, const struct value *old, const struct value *now, const struct type_path *at, struct difference *out) {
    uint32_t i = 0, j = 0, n = old ? old->len : 0, m = now ? now->len : 0;
    while (i < n || j < m) {
        int order = i == n ? 1 : j == m ? -1 : strcmp(old->members[i].name, now->members[j].name);
        const struct value_member *x = order <= 0 ? &old->members[i++] : NULL, *y = order >= 0 ? &now->members[j++] : NULL;
        bool declared;
        struct path_element pe = path_field(x ? x->name : y->name);
        struct difference d = {0};
        compare_value(c, schema_member(type, atom, pe.name, &declared), x ? &x->value : NULL, y ? &y->value : NULL, &(struct type_path){at, &pe}, &d);
        add_difference(c, &pe, &d, out);
    }
}

static const struct value *as_kind(const struct value *v, enum value_kind kind) { return value_is(v, kind) ? v : NULL; }

/* True when the place is compared whole. */
static bool compare_form(struct compare *c, struct schema_ref type, const struct atom *a, const struct value *old, const struct value *now, const struct type_path *at, struct difference *out) {
    enum value_kind kind = a->map ? VALUE_MAP : VALUE_LIST;
    if (a->scalar && !a->map) {
        struct string_list wrong = {0};
        bool left = typed_check_scalar(c->a, a->scalar, old, "lhs: ", at, &wrong), right = typed_check_scalar(c->a, a->scalar, now, "rhs: ", at, &wrong);
        if (!left && !right) {
            LIST_FOREACH(e, &wrong) string_list_push(c->a, c->errs, *e);
            return false;
        }
    } else if (a->map || a->list) {
        const struct value *x = as_kind(old, kind), *y = as_kind(now, kind);
        bool empty = (!x || x->len == 0) && (!y || y->len == 0);
        if (!empty && (a->map ? a->map : a->list) != RELATION_ATOMIC) {
            if (a->map) compare_maps(c, type, a, x, y, at, out);
            else compare_lists(c, a, x, y, at, out);
            return false;
        }
    } else {
        typed_error(c->a, c->errs, at, "schema error: invalid atom: inlined");
        return false;
    }
    compare_leaf(old, now, out);
    return true;
}

static void compare_value(struct compare *c, struct schema_ref type, const struct value *old, const struct value *now, const struct type_path *at, struct difference *out) {
    struct atom x = typed_deduce(type, old), y = typed_deduce(type, now);
    if (old && now && !same_forms(&x, &y)) compare_form(c, type, &x, old, now, at, out);
    if (compare_form(c, type, now ? &y : &x, old, now, at, out)) return;
    if (!old) out->self[ADDED] = true;
    else if (!now) out->self[REMOVED] = true;
}

void typed_compare(struct arena *a, struct schema_ref type, const struct value *old, const struct value *now, struct comparison *ret, struct string_list *errs) {
    struct compare c = {a, errs};
    struct difference d = {0};
    compare_value(&c, type, old, now, NULL, &d);
    *ret = (struct comparison){d.sets[REMOVED], d.sets[MODIFIED], d.sets[ADDED]};
}

/* ---- field sets ---- */

static void collect(struct arena *a, struct schema_ref type, const struct value *v, struct set_node *out);

static void collect_list(struct arena *a, const struct atom *list, const struct value *v, struct set_node *out) {
    struct item_places p = typed_places(a, list, v, NULL, NULL);
    for (size_t i = 0, n; i < p.len; i += n) {
        n = run_length(&p, i);
        struct set_node item = {.pe = p.items[i].pe, .member = true};
        if (n == 1) collect(a, list->list_item, &v->items[p.items[i].at], &item);
        item.member = true;
        field_set_add(a, &out->children, &item);
    }
}

static void collect_map(struct arena *a, struct schema_ref type, const struct atom *atom, const struct value *v, struct set_node *out) {
    for (uint32_t i = 0; i < v->len; i++) {
        const struct value *item = &v->members[i].value;
        bool declared;
        struct schema_ref t = schema_member(type, atom, v->members[i].name, &declared);
        struct set_node n = {.pe = path_field(v->members[i].name)};
        collect(a, t, item, &n);
        if (!declared || item->kind == VALUE_NULL || (item->kind == VALUE_MAP && item->len == 0)) n.member = true;
        if (n.member || n.children.len) field_set_add(a, &out->children, &n);
    }
}

static void collect(struct arena *a, struct schema_ref type, const struct value *v, struct set_node *out) {
    struct atom atom = typed_deduce(type, v);
    if (atom.map) {
        if (atom.map == RELATION_ATOMIC) out->member = true;
        else if (v->kind == VALUE_MAP) collect_map(a, type, &atom, v, out);
    } else if (atom.scalar) out->member = true;
    else if (atom.list == RELATION_ATOMIC) out->member = true;
    else if (atom.list && v->kind == VALUE_LIST) collect_list(a, &atom, v, out);
}

struct field_set typed_field_set(struct arena *a, struct schema_ref type, const struct value *v) {
    struct set_node root = {0};
    collect(a, type, v, &root);
    return root.children;
}

/* ---- removal ---- */

static struct value remove_from_list(struct arena *a, const struct atom *list, const struct value *v, const struct field_set *items) {
    struct value *kept = arena_calloc(a, v->len, sizeof(*kept));
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->len; i++) {
        struct path_element pe;
        const struct set_node *node = typed_item_element(a, list, &v->items[i], &pe) ? NULL : field_set_find(items, &pe);
        if (node && node->member) continue;
        kept[n++] = node && !field_set_empty(&node->children) ? typed_remove(a, list->list_item, &v->items[i], &node->children) : v->items[i];
    }
    return n ? (struct value){.kind = VALUE_LIST, .len = n, .items = kept} : (struct value){.kind = VALUE_NULL};
}

static struct value remove_from_map(struct arena *a, struct schema_ref type, const struct atom *atom, const struct value *v, const struct field_set *items) {
    struct value_member *kept = arena_calloc(a, v->len, sizeof(*kept));
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->len; i++) {
        struct path_element pe = path_field(v->members[i].name);
        const struct set_node *node = field_set_find(items, &pe);
        bool declared;
        if (node && node->member) continue;
        kept[n] = v->members[i];
        if (node && !field_set_empty(&node->children)) kept[n].value = typed_remove(a, schema_member(type, atom, pe.name, &declared), &v->members[i].value, &node->children);
        n++;
    }
    return n ? (struct value){.kind = VALUE_MAP, .len = n, .members = kept} : (struct value){.kind = VALUE_NULL};
}

struct value typed_remove(struct arena *a, struct schema_ref type, const struct value *v, const struct field_set *items) {
    struct atom atom = typed_deduce(type, v);
    struct value nothing = {.kind = VALUE_NULL};
    if (atom.map) return v->kind != VALUE_MAP || v->len == 0 || atom.map == RELATION_ATOMIC ? nothing : remove_from_map(a, type, &atom, v, items);
    if (atom.scalar) return *v;
    if (atom.list) return v->kind != VALUE_LIST || v->len == 0 || atom.list == RELATION_ATOMIC ? nothing : remove_from_list(a, &atom, v, items);
    return nothing;
}

/* ---- sets by type ---- */

static struct schema_ref below(struct schema_ref type, const struct atom *atom, const struct path_element *pe, bool *declared) {
    *declared = false;
    if (pe->kind == PATH_FIELD && atom->map) return schema_member(type, atom, pe->name, declared);
    if (pe->kind == PATH_KEY && atom->list) return atom->list_item;
    return (struct schema_ref){0};
}

struct field_set typed_set_with_named(struct arena *a, struct schema_ref type, const struct field_set *s) {
    struct atom atom = schema_resolve(type);
    struct field_set out = {0};
    if (s->len) out.items = arena_list_alloc(a, s->len, sizeof(*out.items));
    for (size_t i = 0; i < s->len; i++) {
        struct set_node n = s->items[i];
        bool declared;
        if (n.children.len) {
            struct schema_ref t = below(type, &atom, &n.pe, &declared);
            if (declared) n.member = true;
            n.children = typed_set_with_named(a, t, &n.children);
        }
        out.items[out.len++] = n;
    }
    return out;
}

static bool needs_reconcile(struct schema_ref type, const struct field_set *s, bool whole);

static bool atomic_with_parts(const struct atom *atom, const struct field_set *s, bool whole) {
    if (atom->map) return !whole && atom->map == RELATION_ATOMIC && s->len;
    return !whole && !atom->scalar && atom->list == RELATION_ATOMIC;
}

static bool needs_reconcile(struct schema_ref type, const struct field_set *s, bool whole) {
    struct atom atom = schema_resolve(type);
    if (type.kind == REF_NONE || type.kind == REF_DEDUCED || type.kind == REF_UNTYPED_ATOMIC) return false;
    if (atomic_with_parts(&atom, s, whole)) return true;
    for (size_t i = 0; i < s->len; i++) {
        bool declared;
        const struct set_node *n = &s->items[i];
        if (n->children.len && needs_reconcile(below(type, &atom, &n->pe, &declared), &n->children, false)) return true;
    }
    return false;
}

static struct field_set reconcile(struct arena *a, struct schema_ref type, const struct field_set *s, bool *whole) {
    struct atom atom = schema_resolve(type);
    if (type.kind == REF_NONE || type.kind == REF_DEDUCED || type.kind == REF_UNTYPED_ATOMIC) return *s;
    struct field_set out = {0};
    if (atomic_with_parts(&atom, s, *whole)) {
        *whole = true;
        return out;
    }
    for (size_t i = 0; i < s->len; i++) {
        struct set_node n = s->items[i];
        bool declared, all = false;
        if (n.children.len) n.children = reconcile(a, below(type, &atom, &n.pe, &declared), &n.children, &all);
        n.member |= all;
        *LIST_PUSH(a, &out) = n;
    }
    return out;
}

struct field_set typed_set_reconcile(struct arena *a, struct schema_ref type, const struct field_set *s) {
    bool whole = false;
    return needs_reconcile(type, s, false) ? reconcile(a, type, s, &whole) : *s;
}
