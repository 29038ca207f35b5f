/* A configuration laid over a live object: see typed_value.h. Any thread. Tests: tests/unit/test_apply.c. */
#include <string.h>
#include "api/typed_walk.h"

struct merge { struct arena *a; struct string_list *errs; };

/* NULL: nothing comes of it. */
static const struct value *merge_value(struct merge *m, struct schema_ref type, const struct value *live, const struct value *config, const struct type_path *at);

static const struct value *boxed(struct merge *m, struct value v) { return arena_memdup(m->a, &v, sizeof(v)); }

static const struct value *merge_maps(struct merge *m, struct schema_ref type, const struct atom *atom, const struct value *live, const struct value *config, const struct type_path *at) {
    uint32_t i = 0, j = 0, n = live ? live->len : 0, k = config ? config->len : 0, len = 0;
    struct value_member *out = arena_calloc(m->a, (size_t)n + k, sizeof(*out));
    while (i < n || j < k) {
        int order = i == n ? 1 : j == k ? -1 : strcmp(live->members[i].name, config->members[j].name);
        const struct value_member *x = order <= 0 ? &live->members[i++] : NULL, *y = order >= 0 ? &config->members[j++] : NULL;
        bool declared;
        struct path_element pe = path_field(x ? x->name : y->name);
        const struct value *v = merge_value(m, schema_member(type, atom, pe.name, &declared), x ? &x->value : NULL, y ? &y->value : NULL, &(struct type_path){at, &pe});
        if (v) out[len++] = (struct value_member){pe.name, *v};
    }
    return len ? boxed(m, (struct value){.kind = VALUE_MAP, .len = len, .members = out}) : NULL;
}

/* One list on its way into the other: what its items are known by, in list order and sorted. */
struct side {
    const struct value *list;
    struct path_element *pes;
    uint32_t *at; /* the item's index in the list */
    uint32_t len;
    struct item_places sorted;
};

static struct side side_of(struct merge *m, const struct atom *list, const struct value *v, bool allow_duplicates, const struct type_path *at) {
    struct side s = {.list = v, .sorted = typed_places(m->a, list, v, at, m->errs)};
    if (!v) return s;
    s.pes = arena_calloc(m->a, v->len, sizeof(*s.pes));
    s.at = arena_calloc(m->a, v->len, sizeof(*s.at));
    for (uint32_t i = 0; i < v->len; i++) {
        struct path_element pe;
        if (typed_item_element(m->a, list, &v->items[i], &pe)) continue;
        if (!allow_duplicates && typed_place(&s.sorted, &pe)->at != i) {
            _cleanup_buf_ struct buf key = BUF_INIT;
            path_element_print(m->a, &key, &pe);
            typed_error(m->a, m->errs, at, "duplicate entries for key %s", buf_cstr(&key));
            continue;
        }
        s.pes[s.len] = pe;
        s.at[s.len++] = i;
    }
    return s;
}

static bool duplicated(const struct side *s, const struct item_place *p) {
    return p + 1 < s->sorted.items + s->sorted.len && path_element_compare(&p->pe, &p[1].pe) == 0;
}

/* The item known by pe; null if there are several, NULL if there is none. */
static const struct value *observed(const struct side *s, const struct path_element *pe) {
    static const struct value null_value = {.kind = VALUE_NULL};
    const struct item_place *p = typed_place(&s->sorted, pe);
    if (!p) return NULL;
    return duplicated(s, p) ? &null_value : &s->list->items[p->at];
}

struct list_merge {
    struct merge *m;
    const struct atom *list;
    const struct type_path *at;
    struct side live, config;
    bool *merged;          /* by place in the config's list */
    uint32_t next_shared;  /* index into config.pes of the next item that live has too; config.len: none */
    struct value *out;
    uint32_t len;
};

static void advance_shared(struct list_merge *l, uint32_t from) {
    l->next_shared = from;
    while (l->next_shared < l->config.len && !typed_place(&l->live.sorted, &l->config.pes[l->next_shared])) l->next_shared++;
}

static void take(struct list_merge *l, const struct path_element *pe, const struct value *live, const struct value *config) {
    struct string_list ignored = {0}; /* upstream loses these */
    struct merge inner = {l->m->a, &ignored};
    const struct value *v = merge_value(&inner, l->list->list_item, live, config, &(struct type_path){l->at, pe});
    if (v) l->out[l->len++] = *v;
}

static void take_config(struct list_merge *l, uint32_t r) {
    const struct path_element *pe = &l->config.pes[r];
    l->merged[l->config.at[r]] = true;
    take(l, pe, observed(&l->live, pe), &l->config.list->items[l->config.at[r]]);
    if (l->next_shared == r) advance_shared(l, r + 1);
}

/* Items of live only stay where they are between the shared ones; the shared and the new ones come in config's order. */
static void merge_items(struct list_merge *l) {
    uint32_t i = 0, r = 0;
    advance_shared(l, 0);
    while (i < l->live.len || r < l->config.len) {
        const struct path_element *pe = i < l->live.len ? &l->live.pes[i] : NULL;
        const struct item_place *other = pe ? typed_place(&l->config.sorted, pe) : NULL;
        if (pe && r < l->config.len) {
            if (path_element_compare(pe, &l->config.pes[r]) == 0) {
                i++;
                l->next_shared = r; /* whatever was waited for, it goes on behind this one */
                take_config(l, r++);
                continue;
            }
            if (other && l->next_shared < l->config.len && path_element_compare(&l->config.pes[l->next_shared], pe) != 0) {
                i++; /* shared, but not the one whose turn it is */
                continue;
            }
        }
        if (pe && !other) {
            take(l, pe, &l->live.list->items[l->live.at[i++]], NULL);
            continue;
        }
        if (pe && l->merged[other->at]) i++;
        if (r < l->config.len) take_config(l, r++);
    }
}

static const struct value *merge_lists(struct merge *m, const struct atom *list, const struct value *live, const struct value *config, const struct type_path *at) {
    size_t errors = m->errs->len;
    struct list_merge l = {.m = m, .list = list, .at = at, .config = side_of(m, list, config, false, at), .live = side_of(m, list, live, true, at)};
    if (m->errs->len != errors) return NULL;
    l.merged = arena_calloc(m->a, config ? config->len : 0, sizeof(bool));
    l.out = arena_calloc(m->a, (size_t)l.live.len + l.config.len, sizeof(*l.out));
    merge_items(&l);
    return l.len ? boxed(m, (struct value){.kind = VALUE_LIST, .len = l.len, .items = l.out}) : NULL;
}

static const struct value *as_kind(const struct value *v, enum value_kind kind) { return value_is(v, kind) ? v : NULL; }

static const struct value *merge_form(struct merge *m, struct schema_ref type, const struct atom *a, const struct value *live, const struct value *config, const struct type_path *at) {
    if (a->scalar && !a->map) {
        struct string_list wrong = {0};
        bool left = typed_check_scalar(m->a, a->scalar, live, "lhs: ", at, &wrong), right = typed_check_scalar(m->a, a->scalar, config, "rhs: ", at, &wrong);
        if (!left && !right) {
            LIST_FOREACH(e, &wrong) string_list_push(m->a, m->errs, *e);
            return NULL;
        }
    } else if (a->map || a->list) {
        enum value_kind kind = a->map ? VALUE_MAP : VALUE_LIST;
        const struct value *x = as_kind(live, kind), *y = as_kind(config, kind);
        bool empty = (!x || x->len == 0) && (!y || y->len == 0);
        if (!empty && (a->map ? a->map : a->list) != RELATION_ATOMIC) return a->map ? merge_maps(m, type, a, x, y, at) : merge_lists(m, a, x, y, at);
    } else {
        typed_error(m->a, m->errs, at, "schema error: invalid atom: inlined");
        return NULL;
    }
    return config ? config : live;
}

static const struct value *merge_value(struct merge *m, struct schema_ref type, const struct value *live, const struct value *config, const struct type_path *at) {
    struct atom x = typed_deduce(type, live), y = typed_deduce(type, config);
    return merge_form(m, type, config ? &y : &x, live, config, at);
}

struct value typed_merge(struct arena *a, struct schema_ref type, const struct value *live, const struct value *config, struct string_list *errs) {
    struct merge m = {a, errs};
    const struct value *v = merge_value(&m, type, live, config, NULL);
    return v ? *v : (struct value){.kind = VALUE_NULL};
}
