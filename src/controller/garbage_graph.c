/* The garbage collector's graph: see garbage_graph.h. */
#include "controller/garbage_graph.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "base/map.h"
#include "base/str.h"

enum { ABSENT_MAX = 500 };

struct edge {
    struct node *from, *owner;       /* owner NULL: it has been removed */
    struct edge *prev, *next;        /* among the owner's dependents */
    const char *api_version, *kind;  /* interned */
    const char *name, *uid;
    bool block, has_block, controller, has_controller;
};

struct node {
    struct gc_identity id;           /* api_version, kind, ns are interned; name and uid are in text */
    char *text;
    struct edge *edges;              /* one block, with the strings behind */
    size_t edges_len;
    struct edge *dependents;
    const void *source;
    unsigned epoch;
    bool virtual, being_deleted, deleting_dependents;
    bool was_orphaning, was_foreground; /* as it was last seen */
};

struct gc_graph {
    struct gc_graph_callbacks cb;
    pthread_mutex_t mutex;
    struct map *nodes;               /* by UID */
    struct map *interned;
    struct map *epochs;              /* of sources that are being listed again: by address, as text */
    unsigned epoch;
    struct map *absent;
    char *absent_ring[ABSENT_MAX];
    size_t absent_at;
};

/* ---- strings ---- */

static const char *intern(struct gc_graph *g, const char *s) {
    if (str_empty(s)) return NULL;
    char *there = map_get(g->interned, s);
    if (there) return there;
    CHECK(there = strdup(s));
    map_put(g->interned, there, there);
    return there;
}

static bool same_identity(const struct gc_identity *x, const struct gc_identity *y) {
    return str_eq(x->uid, y->uid) && str_eq(x->name, y->name) && str_eq(x->kind, y->kind) && str_eq(x->api_version, y->api_version) && str_eq(x->ns, y->ns);
}

static bool edge_names(const struct edge *e, const struct gc_identity *id) {
    return str_eq(e->uid, id->uid) && str_eq(e->name, id->name) && str_eq(e->kind, id->kind) && str_eq(e->api_version, id->api_version);
}

static void identity_set(struct gc_graph *g, struct node *n, const struct gc_identity *id) {
    size_t name_len = strlen(str_or(id->name, "")) + 1, uid_len = strlen(str_or(id->uid, "")) + 1;
    char *text = malloc(name_len + uid_len);
    CHECK(text);
    memcpy(text, str_or(id->name, ""), name_len);
    memcpy(text + name_len, str_or(id->uid, ""), uid_len);
    n->id = (struct gc_identity){intern(g, id->api_version), intern(g, id->kind), intern(g, id->ns), text, text + name_len};
    free(n->text);
    n->text = text;
}

/* ---- nodes and edges; locked ---- */

static void link_edge(struct edge *e, struct node *owner) {
    e->owner = owner;
    e->prev = NULL;
    e->next = owner->dependents;
    if (e->next) e->next->prev = e;
    owner->dependents = e;
}

static void unlink_edge(struct edge *e) {
    if (!e->owner) return;
    if (e->prev) e->prev->next = e->next;
    else e->owner->dependents = e->next;
    if (e->next) e->next->prev = e->prev;
    e->owner = NULL;
}

static void edges_release(struct node *n) {
    for (size_t i = 0; i < n->edges_len; i++) unlink_edge(&n->edges[i]);
    free(n->edges);
    n->edges = NULL;
    n->edges_len = 0;
}

static void edges_set(struct gc_graph *g, struct node *n, const struct metav1_OwnerReference_list *refs) {
    size_t size = refs->len * sizeof(struct edge);
    LIST_FOREACH(r, refs) size += strlen(str_or(r->name, "")) + strlen(str_or(r->uid, "")) + 2;
    n->edges = NULL;
    n->edges_len = refs->len;
    if (!refs->len) return;
    CHECK(n->edges = calloc(1, size));
    char *text = (char *)(n->edges + refs->len);
    for (size_t i = 0; i < refs->len; i++) {
        const struct metav1_OwnerReference *r = &refs->items[i];
        struct edge *e = &n->edges[i];
        *e = (struct edge){.from = n, .api_version = intern(g, r->apiVersion), .kind = intern(g, r->kind), .block = r->blockOwnerDeletion.value, .has_block = r->blockOwnerDeletion.has,
                           .controller = r->controller.value, .has_controller = r->controller.has};
        e->name = strcpy(text, str_or(r->name, ""));
        text += strlen(text) + 1;
        e->uid = strcpy(text, str_or(r->uid, ""));
        text += strlen(text) + 1;
    }
}

static struct node *node_new(struct gc_graph *g, const struct gc_identity *id) {
    struct node *n = calloc(1, sizeof(*n));
    CHECK(n);
    identity_set(g, n, id);
    map_put(g->nodes, n->id.uid, n);
    return n;
}

static void node_free(void *p) {
    struct node *n = p;
    free(n->edges);
    free(n->text);
    free(n);
}

static void delete_later(struct gc_graph *g, const struct node *n) { g->cb.enqueue_delete(g->cb.data, n->id.uid); }

static void enqueue_dependents(struct gc_graph *g, const struct node *n) {
    for (const struct edge *e = n->dependents; e; e = e->next) delete_later(g, e->from);
}

static void report_namespace(struct gc_graph *g, const struct edge *e) {
    struct gc_identity owner = {e->api_version, e->kind, e->from->id.ns, e->name, e->uid};
    g->cb.invalid_namespace(g->cb.data, &e->from->id, &owner);
}

/* Ties a new edge to its owner. True: the reference may be wrong, so its node should be verified. */
static bool attach(struct gc_graph *g, struct edge *e) {
    struct node *n = e->from, *owner = map_get(g->nodes, e->uid);
    if (!owner) {
        owner = node_new(g, &(struct gc_identity){e->api_version, e->kind, n->id.ns, e->name, e->uid});
        owner->virtual = true;
        link_edge(e, owner);
        delete_later(g, owner); /* does it exist? */
        return false;
    }
    link_edge(e, owner);
    bool namespaced = owner->id.ns != NULL, elsewhere = !str_eq(owner->id.ns, n->id.ns);
    if (namespaced && elsewhere) {
        if (!owner->virtual) report_namespace(g, e);
        return true;
    }
    if (!edge_names(e, &owner->id)) return true;
    return !namespaced && elsewhere && owner->virtual; /* perhaps a namespaced owner of a cluster-scoped object */
}

static bool same_edge(const struct edge *x, const struct edge *y) {
    return str_eq(x->uid, y->uid) && str_eq(x->name, y->name) && str_eq(x->kind, y->kind) && str_eq(x->api_version, y->api_version) && x->block == y->block && x->has_block == y->has_block &&
           x->controller == y->controller && x->has_controller == y->has_controller;
}

static const struct edge *edge_to(const struct edge *edges, size_t len, const char *uid) {
    for (size_t i = 0; i < len; i++)
        if (str_eq(edges[i].uid, uid)) return &edges[i];
    return NULL;
}

/* A reference that blocked its owner's deletion and does no more: the owner may go on. */
static void enqueue_unblocked(struct gc_graph *g, const struct node *n, const struct edge *was, size_t was_len) {
    for (size_t i = 0; i < was_len; i++) {
        const struct edge *is = edge_to(n->edges, n->edges_len, was[i].uid);
        const struct node *owner = was[i].block && (!is || !is->block) ? map_get(g->nodes, was[i].uid) : NULL;
        if (owner) delete_later(g, owner);
    }
}

static void set_owners(struct gc_graph *g, struct node *n, const struct metav1_OwnerReference_list *refs) {
    struct node was = {.edges = n->edges, .edges_len = n->edges_len};
    edges_set(g, n, refs);
    bool same = was.edges_len == n->edges_len;
    for (size_t i = 0; same && i < n->edges_len; i++) same = same_edge(&was.edges[i], &n->edges[i]);
    if (same) {
        free(n->edges);
        n->edges = was.edges;
        return;
    }
    enqueue_unblocked(g, n, was.edges, was.edges_len);
    bool doubtful = false;
    for (size_t i = 0; i < n->edges_len; i++) {
        bool known = edge_to(was.edges, was.edges_len, n->edges[i].uid) != NULL;
        struct node *owner = known ? map_get(g->nodes, n->edges[i].uid) : NULL;
        if (owner) link_edge(&n->edges[i], owner);
        else if (!known && attach(g, &n->edges[i])) doubtful = true;
    }
    edges_release(&was);
    if (doubtful) delete_later(g, n);
}

/* ---- changes; locked ---- */

/* The owner that was only known by what others said of it has been seen. Those who said something else are verified. */
static void observed(struct gc_graph *g, struct node *n, const struct gc_identity *id) {
    if (!same_identity(&n->id, id)) {
        for (struct edge *e = n->dependents; e; e = e->next) {
            bool elsewhere = id->ns && !str_eq(id->ns, e->from->id.ns);
            if (!elsewhere && edge_names(e, id)) continue;
            if (elsewhere) report_namespace(g, e);
            delete_later(g, e->from);
        }
        map_del(g->nodes, n->id.uid);
        identity_set(g, n, id);
        map_put(g->nodes, n->id.uid, n);
    }
    n->virtual = false;
}

static void transitions(struct gc_graph *g, struct node *n, bool orphaning, bool foreground) {
    if (orphaning && !n->was_orphaning) g->cb.enqueue_orphan(g->cb.data, n->id.uid);
    else if (foreground && !n->was_foreground) {
        n->deleting_dependents = true;
        enqueue_dependents(g, n);
        delete_later(g, n);
    }
    n->was_orphaning = orphaning;
    n->was_foreground = foreground;
}

static void source_key(const void *source, char out[32]) { snprintf(out, 32, "%p", source); }

void gc_graph_set(struct gc_graph *g, const void *source, const char *api_version, const char *kind, const struct object *obj) {
    const struct metav1_ObjectMeta *m = &obj->metadata;
    struct gc_identity id = {api_version, kind, str_empty(m->namespace) ? NULL : m->namespace, m->name, m->uid};
    bool deleted = m->deletionTimestamp.set;
    bool orphaning = deleted && string_list_has(&m->finalizers, FINALIZER_ORPHAN), foreground = deleted && string_list_has(&m->finalizers, FINALIZER_FOREGROUND);
    pthread_mutex_lock(&g->mutex);
    struct node *n = map_get(g->nodes, m->uid);
    if (n && n->virtual) observed(g, n, &id);
    if (!n) {
        n = node_new(g, &id);
        n->deleting_dependents = foreground;
    }
    char key[32];
    source_key(source, key);
    n->source = source;
    n->epoch = (unsigned)(uintptr_t)map_get(g->epochs, key);
    set_owners(g, n, &m->ownerReferences);
    if (deleted) n->being_deleted = true;
    transitions(g, n, orphaning, foreground);
    pthread_mutex_unlock(&g->mutex);
}

static void absent_key(const struct gc_identity *id, struct buf *b) {
    buf_printf(b, "%s|%s|%s|%s|%s", str_or(id->api_version, ""), str_or(id->kind, ""), str_or(id->ns, ""), str_or(id->name, ""), str_or(id->uid, ""));
}

/* The oldest of many is forgotten. */
static void absent_add(struct gc_graph *g, const struct gc_identity *id) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    absent_key(id, &b);
    if (map_has(g->absent, buf_cstr(&b))) return;
    char **slot = &g->absent_ring[g->absent_at++ % ABSENT_MAX];
    if (*slot) map_del(g->absent, *slot);
    free(*slot);
    *slot = buf_steal(&b);
    map_put(g->absent, *slot, g);
}

/* The node goes; its dependents are looked at, and so are owners that waited for it. */
static void remove_node(struct gc_graph *g, struct node *n) {
    map_del(g->nodes, n->id.uid);
    if (n->dependents) absent_add(g, &n->id);
    enqueue_dependents(g, n);
    while (n->dependents) unlink_edge(n->dependents);
    for (size_t i = 0; i < n->edges_len; i++) {
        const struct node *owner = map_get(g->nodes, n->edges[i].uid);
        if (owner && owner->deleting_dependents) delete_later(g, owner);
    }
    edges_release(n);
    node_free(n);
}

void gc_graph_delete(struct gc_graph *g, const struct gc_identity *id) {
    pthread_mutex_lock(&g->mutex);
    struct node *n = map_get(g->nodes, id->uid);
    if (n) {
        if (n->virtual) observed(g, n, id);
        remove_node(g, n);
    }
    pthread_mutex_unlock(&g->mutex);
}

/* ---- lists ---- */

void gc_graph_replace_begin(struct gc_graph *g, const void *source) {
    char key[32];
    source_key(source, key);
    pthread_mutex_lock(&g->mutex);
    map_put(g->epochs, key, (void *)(uintptr_t)++g->epoch);
    pthread_mutex_unlock(&g->mutex);
}

void gc_graph_replace_end(struct gc_graph *g, const void *source) {
    char key[32];
    source_key(source, key);
    struct { struct node **items; size_t len; } gone = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    pthread_mutex_lock(&g->mutex);
    unsigned epoch = (unsigned)(uintptr_t)map_get(g->epochs, key);
    const char *uid;
    void *p;
    for (size_t i = 0; map_next(g->nodes, &i, &uid, &p);) {
        struct node *n = p;
        if (!n->virtual && n->source == source && n->epoch != epoch) *LIST_PUSH(a, &gone) = n;
    }
    for (size_t i = 0; i < gone.len; i++) remove_node(g, gone.items[i]);
    pthread_mutex_unlock(&g->mutex);
}

void gc_graph_forget_source(struct gc_graph *g, const void *source) {
    char key[32];
    source_key(source, key);
    pthread_mutex_lock(&g->mutex);
    map_del(g->epochs, key);
    const char *uid;
    void *p;
    for (size_t i = 0; map_next(g->nodes, &i, &uid, &p);)
        if (((struct node *)p)->source == source) ((struct node *)p)->source = NULL;
    pthread_mutex_unlock(&g->mutex);
}

/* ---- virtual nodes that do not exist ---- */

static bool edge_agrees(const struct edge *e, const struct gc_identity *id) { return !(id->ns && !str_eq(id->ns, e->from->id.ns)) && edge_names(e, id); }

static int identity_cmp(const struct gc_identity *x, const struct gc_identity *y) {
    int c = str_cmp(x->kind, y->kind);
    if (!c) c = str_cmp(x->api_version, y->api_version);
    if (!c) c = str_cmp(x->ns, y->ns);
    if (!c) c = str_cmp(x->name, y->name);
    return c ? c : str_cmp(x->uid, y->uid);
}

/* What else dependents call this owner: the next in order after the one that is absent, or else the first. */
static bool alternate(const struct node *n, const struct gc_identity *absent, struct gc_identity *ret) {
    struct gc_identity first = {0}, next = {0};
    for (const struct edge *e = n->dependents; e; e = e->next) {
        if (edge_names(e, absent) && (!absent->ns || str_eq(absent->ns, e->from->id.ns))) continue;
        struct gc_identity id = {e->api_version, e->kind, e->from->id.ns, e->name, e->uid};
        if (!absent->ns && str_eq(id.api_version, absent->api_version) && str_eq(id.kind, absent->kind)) id.ns = NULL; /* known to be cluster-scoped */
        if (same_identity(&id, absent)) continue;
        if (!first.uid || identity_cmp(&id, &first) < 0) first = id;
        if (identity_cmp(absent, &id) < 0 && (!next.uid || identity_cmp(&id, &next) < 0)) next = id;
    }
    *ret = next.uid ? next : first;
    return ret->uid != NULL;
}

static void matching_are_orphans(struct gc_graph *g, struct node *n, const struct gc_identity *id) {
    bool any = false;
    for (const struct edge *e = n->dependents; e; e = e->next) any |= edge_agrees(e, id);
    if (any) absent_add(g, id);
    for (const struct edge *e = n->dependents; e; e = e->next)
        if (edge_agrees(e, id)) delete_later(g, e->from);
}

static void virtual_delete(struct gc_graph *g, struct node *n, const struct gc_identity *id) {
    bool disputed = false;
    for (const struct edge *e = n->dependents; n->virtual && e; e = e->next) disputed |= !edge_agrees(e, id);
    if (!n->virtual && !same_identity(&n->id, id)) { /* one that was seen is not what they meant */
        matching_are_orphans(g, n, id);
        return;
    }
    if (!disputed) {
        remove_node(g, n);
        return;
    }
    matching_are_orphans(g, n, id);
    struct gc_identity other;
    if (!same_identity(&n->id, id) || !alternate(n, id, &other)) return;
    map_del(g->nodes, n->id.uid);
    identity_set(g, n, &other);
    map_put(g->nodes, n->id.uid, n);
    g->cb.enqueue_delete_later(g->cb.data, n->id.uid);
}

void gc_graph_virtual_delete(struct gc_graph *g, const struct gc_identity *id) {
    pthread_mutex_lock(&g->mutex);
    struct node *n = map_get(g->nodes, id->uid);
    if (n) virtual_delete(g, n, id);
    pthread_mutex_unlock(&g->mutex);
}

void gc_graph_absent_add(struct gc_graph *g, const struct gc_identity *id) {
    pthread_mutex_lock(&g->mutex);
    absent_add(g, id);
    pthread_mutex_unlock(&g->mutex);
}

bool gc_graph_absent_has(struct gc_graph *g, const struct gc_identity *id) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    absent_key(id, &b);
    pthread_mutex_lock(&g->mutex);
    bool has = map_has(g->absent, buf_cstr(&b));
    pthread_mutex_unlock(&g->mutex);
    return has;
}

/* ---- questions ---- */

static struct gc_identity identity_copy(struct arena *a, const struct gc_identity *id) {
    return (struct gc_identity){arena_strdup(a, id->api_version), arena_strdup(a, id->kind), arena_strdup(a, id->ns), arena_strdup(a, id->name), arena_strdup(a, id->uid)};
}

bool gc_graph_view(struct gc_graph *g, struct arena *a, const char *uid, struct gc_node_view *ret) {
    pthread_mutex_lock(&g->mutex);
    const struct node *n = map_get(g->nodes, uid);
    if (n) *ret = (struct gc_node_view){identity_copy(a, &n->id), !n->virtual, n->being_deleted, n->deleting_dependents};
    pthread_mutex_unlock(&g->mutex);
    return n;
}

size_t gc_graph_dependents(struct gc_graph *g, struct arena *a, const char *uid, struct gc_identity **ret) {
    struct { struct gc_identity *items; size_t len; } list = {0};
    size_t len = 0;
    pthread_mutex_lock(&g->mutex);
    const struct node *n = map_get(g->nodes, uid);
    for (const struct edge *e = n ? n->dependents : NULL; e; e = e->next, len++)
        if (ret) *LIST_PUSH(a, &list) = identity_copy(a, &e->from->id);
    pthread_mutex_unlock(&g->mutex);
    if (ret) *ret = list.items;
    return len;
}

bool gc_graph_dependent_deletes_dependents(struct gc_graph *g, const char *uid) {
    bool any = false;
    pthread_mutex_lock(&g->mutex);
    const struct node *n = map_get(g->nodes, uid);
    for (const struct edge *e = n ? n->dependents : NULL; e; e = e->next) any |= e->from->deleting_dependents;
    pthread_mutex_unlock(&g->mutex);
    return any;
}

size_t gc_graph_push_blocking(struct gc_graph *g, const char *uid) {
    size_t blocking = 0;
    pthread_mutex_lock(&g->mutex);
    const struct node *n = map_get(g->nodes, uid);
    for (const struct edge *e = n ? n->dependents : NULL; e; e = e->next) {
        if (!e->block) continue;
        blocking++;
        if (!e->from->deleting_dependents) delete_later(g, e->from);
    }
    pthread_mutex_unlock(&g->mutex);
    return blocking;
}

struct metav1_OwnerReference_list gc_graph_owners(struct gc_graph *g, struct arena *a, const char *uid) {
    struct metav1_OwnerReference_list list = {0};
    pthread_mutex_lock(&g->mutex);
    const struct node *n = map_get(g->nodes, uid);
    for (size_t i = 0; n && i < n->edges_len; i++) {
        const struct edge *e = &n->edges[i];
        *LIST_PUSH(a, &list) = (struct metav1_OwnerReference){.apiVersion = arena_strdup(a, e->api_version), .kind = arena_strdup(a, e->kind), .name = arena_strdup(a, e->name),
            .uid = arena_strdup(a, e->uid), .controller = {e->has_controller, e->controller}, .blockOwnerDeletion = {e->has_block, e->block}};
    }
    pthread_mutex_unlock(&g->mutex);
    return list;
}

size_t gc_graph_len(struct gc_graph *g) {
    pthread_mutex_lock(&g->mutex);
    size_t n = map_len(g->nodes);
    pthread_mutex_unlock(&g->mutex);
    return n;
}

/* ---- life ---- */

struct gc_graph *gc_graph_new(const struct gc_graph_callbacks *cb) {
    struct gc_graph *g = calloc(1, sizeof(*g));
    CHECK(g);
    g->cb = *cb;
    g->nodes = map_new();
    g->interned = map_new();
    g->epochs = map_new();
    g->absent = map_new();
    pthread_mutex_init(&g->mutex, NULL);
    return g;
}

void gc_graph_free(struct gc_graph *g) {
    if (!g) return;
    map_free_with(g->nodes, node_free);
    map_free_with(g->interned, free);
    map_free(g->epochs);
    map_free(g->absent);
    for (size_t i = 0; i < ABSENT_MAX; i++) free(g->absent_ring[i]);
    pthread_mutex_destroy(&g->mutex);
    free(g);
}
