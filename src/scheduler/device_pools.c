/* What devices there are, and which pools a node can use: see devices.h. Upstream: structured/internal/incubating/pools_incubating.go. */
#include "api/cel/device.h"
#include "api/node_match.h"
#include "base/str.h"
#include "scheduler/devices_internal.h"

struct slice_set { struct device_slice **items; size_t len, cap; };
struct node_devices {
    struct slice_set slices;      /* of this node alone */
    struct device_pool_list pools;
    struct arena *arena;          /* of pools; NULL: they are to be gathered */
    uint64_t shared_epoch;
};

void devices_pools_init(struct devices *d) {
    d->slices = map_new();
    d->pools = map_new();
    d->nodes = map_new();
    d->programs_arena = arena_new();
    d->programs_epoch = d->shared_epoch = 1;
    CHECK(d->shared = calloc(1, sizeof(*d->shared)));
}

/* ---- sets of slices ---- */

static void set_add(struct slice_set *s, struct device_slice *slice) {
    if (s->len == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 2;
        CHECK(s->items = realloc(s->items, s->cap * sizeof(struct device_slice *)));
    }
    s->items[s->len++] = slice;
}

static void set_remove(struct slice_set *s, const struct device_slice *slice) {
    for (size_t i = 0; i < s->len; i++)
        if (s->items[i] == slice) {
            s->items[i] = s->items[--s->len];
            return;
        }
}

static void set_free(void *v) {
    struct slice_set *s = v;
    free(s->items);
    free(s);
}

static void slice_free(struct devices *d, struct device_slice *s) {
    for (size_t i = 0; i < s->devices_len; i++) device_id_put(d, s->devices[i].id);
    free(s->devices);
    free(s);
}

static void node_clear(struct node_devices *n) {
    arena_free(n->arena);
    n->arena = NULL;
    n->pools = (struct device_pool_list){0};
}

void devices_pools_free(struct devices *d) {
    const char *key;
    void *v;
    for (size_t pos = 0; map_next(d->slices, &pos, &key, &v);) slice_free(d, v);
    for (size_t pos = 0; map_next(d->nodes, &pos, &key, &v);) {
        struct node_devices *n = v;
        node_clear(n);
        free(n->slices.items);
        free(n);
    }
    map_free(d->slices);
    map_free_with(d->pools, set_free);
    map_free(d->nodes);
    set_free(d->shared);
    arena_free(d->programs_arena);
}

/* ---- news ---- */

static struct node_devices *node_of(struct devices *d, const char *name) {
    struct node_devices *n = map_get(d->nodes, name);
    if (n) return n;
    CHECK(n = calloc(1, sizeof(*n)));
    map_put(d->nodes, name, n);
    return n;
}

static struct slice_set *pool_of(struct devices *d, const struct resourcev1_ResourceSlice *s) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s", s->spec.driver, s->spec.pool.name);
    struct slice_set *set = map_get(d->pools, buf_cstr(&key));
    if (set) return set;
    CHECK(set = calloc(1, sizeof(*set)));
    map_put(d->pools, buf_cstr(&key), set);
    return set;
}

static bool of_one_node(const struct resourcev1_ResourceSlice *s) { return !str_empty(s->spec.nodeName) && !s->spec.sharedCounters.len; }

/* Whoever saw the pool looks again. */
static void pool_touched(struct devices *d, const struct slice_set *pool) {
    for (size_t i = 0; i < pool->len; i++) {
        if (!of_one_node(pool->items[i]->obj)) d->shared_epoch++;
        else node_clear(node_of(d, pool->items[i]->obj->spec.nodeName));
    }
}

static void slice_leave(struct devices *d, struct device_slice *s) {
    struct slice_set *pool = pool_of(d, s->obj);
    pool_touched(d, pool);
    set_remove(pool, s);
    set_remove(of_one_node(s->obj) ? &node_of(d, s->obj->spec.nodeName)->slices : d->shared, s);
    slice_free(d, s);
}

void devices_slice_changed(struct devices *d, const char *name, const struct resourcev1_ResourceSlice *now) {
    struct device_slice *old = map_del(d->slices, name);
    d->version++;
    if (old) slice_leave(d, old);
    if (!now) return;
    struct device_slice *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->obj = now;
    s->devices_len = now->spec.devices.len;
    CHECK(s->devices = calloc(s->devices_len + 1, sizeof(*s->devices)));
    for (size_t i = 0; i < s->devices_len; i++)
        s->devices[i] = (struct device){.spec = &now->spec.devices.items[i], .slice = s, .id = device_id_get(d, now->spec.driver, now->spec.pool.name, now->spec.devices.items[i].name)};
    map_put(d->slices, name, s);
    struct slice_set *pool = pool_of(d, now);
    set_add(pool, s);
    set_add(of_one_node(now) ? &node_of(d, now->spec.nodeName)->slices : d->shared, s);
    pool_touched(d, pool);
}

void devices_node_changed(struct devices *d, const char *name) {
    struct node_devices *n = map_get(d->nodes, name);
    if (n) node_clear(n);
}

/* ---- the pools of a node ---- */

static bool yes(struct opt_bool b) { return b.has && b.value; }

bool devices_node_matches(const struct corev1_Node *node, const char *name, const struct opt_bool *all, const struct corev1_NodeSelector *selector) {
    if (!str_empty(name)) return str_eq(name, node->metadata.name);
    return yes(*all) || (selector && node_match_selector(selector, node));
}

static bool slice_relevant(const struct resourcev1_ResourceSlice *s, const struct corev1_Node *node) {
    const struct resourcev1_ResourceSliceSpec *spec = &s->spec;
    if (spec->sharedCounters.len) return true;
    if (!str_empty(spec->nodeName) || yes(spec->allNodes) || spec->nodeSelector) return devices_node_matches(node, spec->nodeName, &spec->allNodes, spec->nodeSelector);
    if (!yes(spec->perDeviceNodeSelection)) return false;
    LIST_FOREACH(v, &spec->devices)
        if (devices_node_matches(node, v->nodeName, &v->allNodes, v->nodeSelector)) return true;
    return false;
}

/* Slices of the newest generation that is relevant, pool by pool. */
struct gathered { const char *driver, *pool; int64_t generation; struct device_slice_list slices; };
struct gathered_list { struct gathered *items; size_t len; };

static void gather_slice(struct arena *a, struct gathered_list *l, struct device_slice *s) {
    const struct resourcev1_ResourceSliceSpec *spec = &s->obj->spec;
    struct gathered *g = NULL;
    for (size_t i = 0; i < l->len && !g; i++)
        if (str_eq(l->items[i].pool, spec->pool.name) && str_eq(l->items[i].driver, spec->driver)) g = &l->items[i];
    if (!g) {
        g = LIST_PUSH(a, l);
        *g = (struct gathered){.driver = spec->driver, .pool = spec->pool.name, .generation = spec->pool.generation};
    }
    if (spec->pool.generation < g->generation) return;
    if (spec->pool.generation > g->generation) {
        g->generation = spec->pool.generation;
        g->slices = (struct device_slice_list){0};
    }
    *LIST_PUSH(a, &g->slices) = s;
}

static int by_name(const void *a, const void *b) {
    const struct device_slice *x = *(struct device_slice *const *)a, *y = *(struct device_slice *const *)b;
    return strcmp(x->obj->metadata.name, y->obj->metadata.name);
}

static const char *names_check(struct arena *a, const struct device_slice_list *slices) {
    struct map *seen = slices->len > 1 ? map_new() : NULL; /* validation keeps one slice's devices apart */
    const char *why = NULL;
    for (size_t s = 0; seen && s < slices->len && !why; s++)
        for (size_t i = 0; i < slices->items[s]->devices_len && !why; i++) {
            const char *name = slices->items[s]->devices[i].spec->name;
            if (map_has(seen, name)) why = arena_printf(a, "duplicate device name %s", name);
            else map_put(seen, name, seen);
        }
    map_free(seen);
    return why;
}

static const char *counters_read(struct arena *a, struct device_pool *p, const struct device_slice_list *slices) {
    for (size_t s = 0; s < slices->len; s++)
        LIST_FOREACH(set, &slices->items[s]->obj->spec.sharedCounters) {
            LIST_FOREACH(have, &p->counters)
                if (str_eq(have->set, set->name)) return arena_printf(a, "duplicate counter set name %s", set->name);
            size_t first = p->counters.len;
            LIST_FOREACH(c, &set->counters) {
                struct quantity q = quantity_of(c->value.value);
                *LIST_PUSH(a, &p->counters) = (struct device_counter){set->name, c->key, q.nanos, q.nanos};
            }
            if (p->counters.len == first) *LIST_PUSH(a, &p->counters) = (struct device_counter){set->name, "", 0, 0};
        }
    return NULL;
}

static struct device_counter *counter_find(const struct device_pool *p, const char *set, const char *name, bool *ret_set) {
    LIST_FOREACH(c, &p->counters) {
        if (!str_eq(c->set, set)) continue;
        if (ret_set) *ret_set = true;
        if (str_eq(c->name, name)) return c;
    }
    return NULL;
}

static const char *consumption_check(struct arena *a, const struct device_pool *p, const struct device_slice_list *slices) {
    for (size_t s = 0; s < slices->len; s++)
        LIST_FOREACH(v, &slices->items[s]->obj->spec.devices)
            LIST_FOREACH(use, &v->consumesCounters) {
                bool set = false;
                (void)counter_find(p, use->counterSet, "", &set);
                if (!set) return arena_printf(a, "counter set %s not found", use->counterSet);
                LIST_FOREACH(c, &use->counters)
                    if (!counter_find(p, use->counterSet, c->key, NULL)) return arena_printf(a, "counter %s not found in counter set %s", c->key, use->counterSet);
            }
    return NULL;
}

/* `all`: every slice of the pool's generation, where the node has not got them all; NULL: it has. */
static void pool_build(struct arena *a, struct device_pool *p, const struct gathered *g, const struct device_slice_list *all) {
    qsort(g->slices.items, g->slices.len, sizeof(*g->slices.items), by_name);
    for (size_t i = 0; i < g->slices.len; i++)
        if (!g->slices.items[i]->obj->spec.sharedCounters.len) *LIST_PUSH(a, &p->slices) = g->slices.items[i];
    for (size_t i = 0; all && i < all->len; i++) {
        bool ours = false;
        for (size_t k = 0; k < g->slices.len; k++) ours |= g->slices.items[k] == all->items[i];
        if (!ours) *LIST_PUSH(a, &p->others) = all->items[i];
    }
    p->invalid_reason = names_check(a, &p->slices);
    if (!p->invalid_reason) p->invalid_reason = counters_read(a, p, &g->slices);
    if (!p->invalid_reason) p->invalid_reason = consumption_check(a, p, &g->slices);
    if (!p->invalid_reason) p->invalid_reason = consumption_check(a, p, &p->others);
    p->invalid = p->invalid_reason != NULL;
    if (p->invalid) p->slices.len = p->others.len = 0;
    for (size_t s = 0; s < p->slices.len; s++)
        LIST_FOREACH(v, &p->slices.items[s]->obj->spec.devices) p->binding_conditions |= v->bindingConditions.len > 0;
}

/* Pools with binding conditions come last. */
static int pool_order(const void *a, const void *b) {
    const struct device_pool *x = a, *y = b;
    if (x->binding_conditions != y->binding_conditions) return x->binding_conditions ? 1 : -1;
    int c = strcmp(x->driver, y->driver);
    return c ? c : strcmp(x->name, y->name);
}

static void pool_add(struct devices *d, struct arena *a, struct node_devices *n, const struct gathered *g) {
    const struct device_slice_list *all = NULL;
    struct device_slice_list every = {0};
    size_t wanted = (size_t)g->slices.items[0]->obj->spec.pool.resourceSliceCount;
    bool incomplete = false;
    if (g->slices.len != wanted) {
        const struct slice_set *set = pool_of(d, g->slices.items[0]->obj);
        for (size_t i = 0; i < set->len; i++) {
            int64_t generation = set->items[i]->obj->spec.pool.generation;
            if (generation > g->generation) return; /* obsolete here: the node is no longer part of the pool */
            if (generation == g->generation) *LIST_PUSH(a, &every) = set->items[i];
        }
        incomplete = every.len != wanted;
        all = &every;
    }
    struct device_pool *p = LIST_PUSH(a, &n->pools);
    *p = (struct device_pool){.driver = g->driver, .name = g->pool, .incomplete = incomplete};
    if (!incomplete) pool_build(a, p, g, all);
}

const struct device_pool_list *devices_of_node(struct devices *d, const struct corev1_Node *node) {
    struct node_devices *n = node_of(d, node->metadata.name);
    if (n->arena && n->shared_epoch == d->shared_epoch) return &n->pools;
    node_clear(n);
    n->arena = arena_new_sized(1024);
    n->shared_epoch = d->shared_epoch;
    struct gathered_list found = {0};
    const struct slice_set *sets[] = {&n->slices, d->shared};
    for (size_t s = 0; s < ARRAY_LEN(sets); s++)
        for (size_t i = 0; i < sets[s]->len; i++)
            if (slice_relevant(sets[s]->items[i]->obj, node)) gather_slice(n->arena, &found, sets[s]->items[i]);
    LIST_FOREACH(g, &found) pool_add(d, n->arena, n, g);
    if (n->pools.len > 1) qsort(n->pools.items, n->pools.len, sizeof(*n->pools.items), pool_order);
    return &n->pools;
}

/* ---- counters ---- */

static void counters_take(struct device_pool *p, const struct device_slice_list *slices) {
    for (size_t s = 0; s < slices->len; s++)
        for (size_t i = 0; i < slices->items[s]->devices_len; i++) {
            const struct device *v = &slices->items[s]->devices[i];
            if (!v->id->dedicated && !v->id->shared) continue;
            LIST_FOREACH(use, &v->spec->consumesCounters)
                LIST_FOREACH(c, &use->counters) {
                    struct device_counter *counter = counter_find(p, use->counterSet, c->key, NULL);
                    struct quantity q = quantity_of(c->value.value);
                    if (counter) counter->available -= q.nanos;
                }
        }
}

const struct device_counter_list *devices_pool_counters(struct devices *d, struct device_pool *p) {
    if (p->counters_version == d->version) return &p->counters;
    p->counters_version = d->version;
    LIST_FOREACH(c, &p->counters) c->available = c->total;
    counters_take(p, &p->slices);
    counters_take(p, &p->others);
    return &p->counters;
}

/* ---- selectors ---- */

static struct device_program *program_of(struct devices *d, const char *text, size_t *ret_index) {
    for (*ret_index = 0; *ret_index < d->programs_len; ++*ret_index)
        if (strcmp(d->programs[*ret_index].text, text) == 0) return &d->programs[*ret_index];
    if (d->programs_len == DEVICE_PROGRAMS_MAX) { /* all are forgotten: they come back as they are asked for */
        d->programs_len = *ret_index = 0;
        d->programs_epoch++;
        arena_reset(d->programs_arena);
    }
    struct device_program *p = &d->programs[d->programs_len++];
    *p = (struct device_program){.text = arena_strdup(d->programs_arena, text)};
    p->program = cel_device_compile(d->programs_arena, p->text, &p->error);
    return p;
}

int devices_select(struct devices *d, struct arena *a, struct device *v, const char *expression, const char **ret_error, bool *ret_compile) {
    size_t index;
    const struct device_program *p = program_of(d, expression, &index);
    *ret_compile = !p->program;
    if (!p->program) {
        *ret_error = arena_strdup(a, p->error);
        return -1;
    }
    if (v->match_epoch != d->programs_epoch) {
        memset(v->match, 0, sizeof(v->match));
        v->match_epoch = d->programs_epoch;
    }
    if (v->match[index]) return v->match[index] - 1;
    int r = cel_device_matches(a, p->program, v->slice->obj->spec.driver, v->spec, ret_error);
    if (r >= 0) v->match[index] = (uint8_t)(r + 1);
    return r;
}
