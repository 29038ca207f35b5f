/* Counts by topology domain: see the header. Invariant: every counter equals what a walk over the added nodes' Pods would give (index tests do so). */
#include "scheduler/topology_index.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"

#define COUNTERS_MAX 2048
#define HOLDINGS_MAX 8192
#define CLASSES_MAX 16384 /* or twice as many as are in use */

struct topology_index {
    namespace_labels_fn namespace_labels;
    void *namespace_data;
    struct topology_key **keys;
    size_t keys_len;
    struct arena *arena; /* of the epoch: classes and selections */
    struct map *classes, *counters, *holdings; /* by class_key; by key and selections; by kind, weight, key and selection */
    struct pod_class *first_class;
    struct node_info **nodes; /* added */
    size_t nodes_len, nodes_cap;
    int32_t *free_slots;
    size_t free_slots_len, free_slots_cap;
    int32_t slots;
    uint64_t epoch;
    size_t classes_max, holdings_max;
    bool stale;
};

struct topology_index *index_new(namespace_labels_fn namespace_labels, void *data) {
    struct topology_index *x = calloc(1, sizeof(*x));
    CHECK(x);
    x->namespace_labels = namespace_labels;
    x->namespace_data = data;
    x->arena = arena_new();
    x->classes = map_new();
    x->counters = map_new();
    x->holdings = map_new();
    x->epoch = 1;
    x->classes_max = CLASSES_MAX;
    x->holdings_max = HOLDINGS_MAX;
    return x;
}

static void counter_free(void *p) {
    struct counter *c = p;
    free(c->counts);
    free(c);
}

static void holding_free(void *p) {
    struct holding *h = p;
    free(h->counts);
    free(h);
}

static void class_free(void *p) {
    struct pod_class *c = p;
    free(c->counters);
    free(c->holdings);
    arena_free(c->default_arena);
}

static void key_free(struct topology_key *k) {
    for (int32_t i = 0; i < k->len; i++) free(k->texts[i]);
    map_free(k->values);
    free(k->texts);
    free(k->nodes);
    free(k->free);
    free(k->name);
    free(k);
}

static void forget(struct topology_index *x) {
    map_free_with(x->counters, counter_free);
    map_free_with(x->holdings, holding_free);
    map_free_with(x->classes, class_free);
    arena_free(x->arena);
}

void index_free(struct topology_index *x) {
    if (!x) return;
    forget(x);
    for (size_t i = 0; i < x->keys_len; i++) key_free(x->keys[i]);
    free(x->keys);
    free(x->nodes);
    free(x->free_slots);
    free(x);
}

uint64_t index_epoch(const struct topology_index *x) { return x->epoch; }

/* ---- who means whom ---- */

bool selection_means(const struct topology_index *x, const struct selection *s, const struct pod_class *c) {
    bool in = string_list_has(&s->namespaces, c->namespace);
    if (!in && s->by_namespace_selector) {
        static const struct string_map none = {0};
        const struct string_map *labels = x->namespace_labels(x->namespace_data, c->namespace);
        in = selector_matches(&s->namespace_selector, labels ? labels : &none);
    }
    return in && selector_matches(&s->selector, &c->labels);
}

static bool counter_means(const struct topology_index *x, const struct counter *k, const struct pod_class *c) {
    if (k->living && c->terminating) return false;
    for (size_t i = 0; i < k->all_len; i++)
        if (!selection_means(x, &k->all[i], c)) return false;
    return true;
}

static void pointers_push(void *array, size_t *len, void *item) {
    void ***items = array;
    if (!(*len & (*len - 1))) CHECK(*items = realloc(*items, (*len ? *len * 2 : 1) * sizeof(void *)));
    (*items)[(*len)++] = item;
}

struct pod_class *index_class(struct topology_index *x, struct pod_info *p) {
    if (p->class_epoch == x->epoch) return p->class;
    struct pod_class *c = map_get(x->classes, p->class_key);
    if (!c) {
        struct arena *a = x->arena;
        c = ARENA_NEW(a, struct pod_class);
        c->namespace = arena_strdup(a, str_or(p->pod->metadata.namespace, ""));
        const struct string_map *labels = &p->pod->metadata.labels;
        c->labels = (struct string_map){arena_calloc(a, labels->len, sizeof(*labels->items)), labels->len};
        for (size_t i = 0; i < labels->len; i++)
            c->labels.items[i] = (struct string_map_entry){arena_strdup(a, labels->items[i].key), arena_strdup(a, labels->items[i].value)};
        c->terminating = p->terminating;
        c->next = x->first_class;
        x->first_class = c;
        map_put(x->classes, p->class_key, c);
        const char *text;
        void *value;
        for (size_t pos = 0; map_next(x->counters, &pos, &text, &value);)
            if (counter_means(x, value, c)) pointers_push(&c->counters, &c->counters_len, value);
        for (size_t pos = 0; map_next(x->holdings, &pos, &text, &value);)
            if (selection_means(x, &((struct holding *)value)->selection, c)) pointers_push(&c->holdings, &c->holdings_len, value);
    }
    p->class = c;
    p->class_epoch = x->epoch;
    return c;
}

/* ---- keys and values ---- */

static void counts_add(int32_t **counts, int32_t *cap, int32_t value, int amount) {
    if (value >= *cap) {
        int32_t more = MAX(value + 1, *cap * 2);
        CHECK(*counts = realloc(*counts, (size_t)more * sizeof(int32_t)));
        memset(*counts + *cap, 0, (size_t)(more - *cap) * sizeof(int32_t));
        *cap = more;
    }
    (*counts)[value] += amount;
}

static int32_t value_new(struct topology_key *k) {
    if (k->free_len) return k->free[--k->free_len];
    if (k->len == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 16;
        CHECK((k->texts = realloc(k->texts, (size_t)k->cap * sizeof(char *))) && (k->nodes = realloc(k->nodes, (size_t)k->cap * sizeof(int32_t))) &&
              (k->free = realloc(k->free, (size_t)k->cap * sizeof(int32_t))));
    }
    return k->len++;
}

static int32_t value_take(struct topology_key *k, const char *text) {
    int32_t v = (int32_t)(uintptr_t)map_get(k->values, text) - 1;
    if (v < 0) {
        v = value_new(k);
        CHECK(k->texts[v] = strdup(text));
        k->nodes[v] = 0;
        map_put(k->values, text, (void *)(uintptr_t)(v + 1));
    }
    k->nodes[v]++;
    k->nodes_with++;
    return v;
}

static void value_give(struct topology_key *k, int32_t v) {
    if (v < 0) return;
    k->nodes_with--;
    if (--k->nodes[v]) return;
    map_del(k->values, k->texts[v]);
    free(k->texts[v]);
    k->texts[v] = NULL;
    k->free[k->free_len++] = v;
}

static void node_value(struct topology_key *k, struct node_info *n) {
    const char *text = string_map_get(&n->node->metadata.labels, k->name);
    bool has = text || string_map_has(&n->node->metadata.labels, k->name);
    n->topology[k->number] = has ? value_take(k, str_or(text, "")) : -1;
}

const struct topology_key *index_topology_key(struct topology_index *x, const char *name) {
    for (size_t i = 0; i < x->keys_len; i++)
        if (str_eq(x->keys[i]->name, name)) return x->keys[i];
    struct topology_key *k = calloc(1, sizeof(*k));
    CHECK(k && (k->name = strdup(str_or(name, ""))));
    k->values = map_new();
    k->number = (int)x->keys_len;
    pointers_push(&x->keys, &x->keys_len, k);
    for (size_t i = 0; i < x->nodes_len; i++) {
        CHECK(x->nodes[i]->topology = realloc(x->nodes[i]->topology, x->keys_len * sizeof(int32_t)));
        node_value(k, x->nodes[i]);
    }
    return k;
}

/* ---- counters and holdings ---- */

static void counter_fill(struct topology_index *x, struct counter *c) {
    for (struct pod_class *k = x->first_class; k; k = k->next) {
        k->mark = counter_means(x, c, k);
        if (k->mark) pointers_push(&k->counters, &k->counters_len, c);
    }
    for (size_t i = 0; i < x->nodes_len; i++) {
        const struct node_info *n = x->nodes[i];
        int32_t v = topology_value(c->key, n);
        for (size_t p = 0; v >= 0 && p < n->pods_len; p++) {
            if (!n->pods[p]->class->mark) continue;
            counts_add(&c->counts, &c->cap, v, 1);
            c->total++;
        }
    }
}

struct counter *index_counter(struct topology_index *x, const struct selection *all, size_t len, const char *topology_key, bool living) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_printf(&text, "%s%c", str_or(topology_key, ""), living ? '+' : '-');
    for (size_t i = 0; i < len; i++) buf_printf(&text, "\n%s", all[i].text);
    struct counter *c = map_get(x->counters, buf_cstr(&text));
    if (c) return c;
    CHECK(c = calloc(1, sizeof(*c)));
    c->living = living;
    if (topology_key) c->key = index_topology_key(x, topology_key);
    c->all = arena_calloc(x->arena, len, sizeof(*c->all));
    c->all_len = len;
    for (size_t i = 0; i < len; i++) c->all[i] = selection_copy(x->arena, &all[i]);
    map_put(x->counters, buf_cstr(&text), c);
    counter_fill(x, c);
    return c;
}

static struct holding *term_holding(struct topology_index *x, enum term_kind kind, struct pod_term *t) {
    if (t->epoch == x->epoch && t->holding) return t->holding;
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_printf(&text, "%d %d %s\n%s", kind, t->weight, str_or(t->topology_key, ""), t->selection.text);
    struct holding *h = map_get(x->holdings, buf_cstr(&text));
    if (!h) {
        CHECK(h = calloc(1, sizeof(*h)));
        h->kind = kind;
        h->weight = t->weight;
        h->key = index_topology_key(x, t->topology_key);
        h->selection = selection_copy(x->arena, &t->selection);
        map_put(x->holdings, buf_cstr(&text), h);
        for (struct pod_class *c = x->first_class; c; c = c->next)
            if (selection_means(x, &h->selection, c)) pointers_push(&c->holdings, &c->holdings_len, h);
    }
    if (t->epoch != x->epoch) t->counter = NULL;
    t->epoch = x->epoch;
    return t->holding = h;
}

static void holdings_count(struct topology_index *x, const struct node_info *n, struct pod_info *p, int sign) {
    for (int kind = 0; kind < TERM_KINDS; kind++)
        LIST_FOREACH(t, &p->terms[kind]) {
            struct holding *h = term_holding(x, kind, t);
            int32_t v = topology_value(h->key, n);
            if (v < 0) continue;
            counts_add(&h->counts, &h->cap, v, sign);
            h->total += sign;
        }
}

void index_count_pod(struct topology_index *x, const struct node_info *n, struct pod_info *p, int sign) {
    struct pod_class *c = index_class(x, p);
    for (size_t i = 0; i < c->counters_len; i++) {
        struct counter *k = c->counters[i];
        int32_t v = topology_value(k->key, n);
        if (v < 0) continue;
        counts_add(&k->counts, &k->cap, v, sign);
        k->total += sign;
        k->version++;
    }
    holdings_count(x, n, p, sign);
}

/* ---- nodes ---- */

static int32_t slot_take(struct topology_index *x) { return x->free_slots_len ? x->free_slots[--x->free_slots_len] : x->slots++; }

static void slot_give(struct topology_index *x, int32_t slot) {
    if (x->free_slots_len == x->free_slots_cap) {
        x->free_slots_cap = x->free_slots_cap ? x->free_slots_cap * 2 : 16;
        CHECK(x->free_slots = realloc(x->free_slots, x->free_slots_cap * sizeof(int32_t)));
    }
    x->free_slots[x->free_slots_len++] = slot;
}

void index_add_node(struct topology_index *x, struct node_info *n) {
    CHECK(n->slot < 0 && n->node);
    n->slot = slot_take(x);
    CHECK(n->topology = realloc(n->topology, MAX(x->keys_len, (size_t)1) * sizeof(int32_t)));
    for (size_t i = 0; i < x->keys_len; i++) node_value(x->keys[i], n);
    if (x->nodes_len == x->nodes_cap) {
        x->nodes_cap = x->nodes_cap ? x->nodes_cap * 2 : 16;
        CHECK(x->nodes = realloc(x->nodes, x->nodes_cap * sizeof(struct node_info *)));
    }
    n->index_position = x->nodes_len;
    x->nodes[x->nodes_len++] = n;
    for (size_t i = 0; i < n->pods_len; i++) index_count_pod(x, n, n->pods[i], 1);
}

void index_remove_node(struct topology_index *x, struct node_info *n) {
    if (n->slot < 0) return;
    for (size_t i = 0; i < n->pods_len; i++) index_count_pod(x, n, n->pods[i], -1);
    for (size_t i = 0; i < x->keys_len; i++) value_give(x->keys[i], n->topology[i]);
    x->nodes[n->index_position] = x->nodes[--x->nodes_len];
    x->nodes[n->index_position]->index_position = n->index_position;
    slot_give(x, n->slot);
    n->slot = -1;
}

/* ---- keeping it small ---- */

void index_namespaces_changed(struct topology_index *x) { x->stale = true; }

void index_maintain(struct topology_index *x) {
    if (!x->stale && map_len(x->counters) <= COUNTERS_MAX && map_len(x->holdings) <= x->holdings_max && map_len(x->classes) <= x->classes_max) return;
    forget(x);
    x->arena = arena_new();
    x->classes = map_new();
    x->counters = map_new();
    x->holdings = map_new();
    x->first_class = NULL;
    x->epoch++;
    x->stale = false;
    for (size_t i = 0; i < x->nodes_len; i++)
        for (size_t p = 0; p < x->nodes[i]->pods_len; p++) index_count_pod(x, x->nodes[i], x->nodes[i]->pods[p], 1);
    x->classes_max = MAX((size_t)CLASSES_MAX, map_len(x->classes) * 2);
    x->holdings_max = MAX((size_t)HOLDINGS_MAX, map_len(x->holdings) * 2);
}
