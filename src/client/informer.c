/* Informers: see informer.h.
 *
 * Two locks: `delivery` is held while a change is applied and told, so that handlers see changes one at a time and in order; `lock` guards the store and is
 * held for the change itself only, so that handlers and workers may read. delivery is always taken first. */
#include "client/informer.h"
#include "base/map.h"
#include "base/str.h"

enum { INDEXES_MAX = 16, HANDLERS_MAX = 64 };

struct index {
    const char *name;
    index_function fn;
    struct map *buckets; /* value -> struct cached_list *, without references of its own */
};

struct informer {
    struct client *client;
    struct env *env;
    struct reflector_source source;
    struct arena *arena;            /* the source's strings */
    struct reflector *reflector;
    pthread_mutex_t delivery;
    struct informer_handler handlers[HANDLERS_MAX];
    size_t handlers_len;
    pthread_rwlock_t lock;
    struct map *objects;            /* key -> struct cached *, a reference each */
    struct index indexes[INDEXES_MAX];
    size_t indexes_len;
    struct map *replacing;          /* keys of the list that comes; the reflector's thread only */
    struct arena *scratch;          /* the reflector's thread only */
    pthread_mutex_t sync_mutex;
    pthread_cond_t sync_cond;
    bool synced, stopped;
    _Atomic uint64_t version;
};

/* ---- frozen objects ---- */

struct cached *cached_ref(struct cached *c) {
    if (c) atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void cached_unref(struct cached *c) {
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1) return;
    arena_free(c->arena); /* c lives in it */
}

void cached_list_release(struct cached_list *l) {
    for (size_t i = 0; i < l->len; i++) cached_unref(l->items[i]);
    free(l->items);
    *l = (struct cached_list){0};
}

static void list_push(struct cached_list *l, struct cached *c) {
    if (l->len == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 4;
        CHECK(l->items = realloc(l->items, l->cap * sizeof(*l->items)));
    }
    l->items[l->len++] = c;
}

/* A copy in an arena that fits: what is cached for long must not carry the slack of its decoding. */
static struct cached *freeze(struct informer *inf, const void *obj) {
    const struct type_desc *type = inf->source.type;
    arena_reset(inf->scratch);
    struct object *trimmed = arena_memdup(inf->scratch, obj, type->size);
    trimmed->metadata.managedFields.items = NULL;
    trimmed->metadata.managedFields.len = 0;
    trimmed->kind = trimmed->apiVersion = NULL;
    size_t before = arena_used_bytes(inf->scratch);
    object_copy(inf->scratch, type, trimmed);
    size_t need = arena_used_bytes(inf->scratch) - before + sizeof(struct cached) + 64;
    struct arena *a = arena_new_sized(need);
    struct cached *c = ARENA_NEW(a, struct cached);
    atomic_init(&c->refs, 1);
    c->arena = a;
    struct object *copy = object_copy(a, type, trimmed);
    if (type != &metav1_PartialObjectMetadata_desc) object_set_type_meta(a, type, copy);
    c->obj = copy;
    return c;
}

/* ---- keys ---- */

char *object_key(struct arena *a, const void *obj) {
    const struct object *o = obj;
    return str_empty(o->metadata.namespace) ? arena_strdup(a, str_or(o->metadata.name, "")) : arena_printf(a, "%s/%s", o->metadata.namespace, str_or(o->metadata.name, ""));
}

void object_key_split(struct arena *a, const char *key, const char **ret_ns, const char **ret_name) {
    const char *slash = strchr(key, '/');
    *ret_ns = slash ? arena_strndup(a, key, (size_t)(slash - key)) : NULL;
    *ret_name = slash ? slash + 1 : key;
}

static void put_key(struct buf *b, const char *ns, const char *name) {
    if (!str_empty(ns)) {
        buf_append_str(b, ns);
        buf_append_char(b, '/');
    }
    buf_append_str(b, name);
}

/* ---- indexes; with the write lock ---- */

static void by_namespace(struct arena *a, const void *obj, struct string_list *ret) {
    const char *ns = ((const struct object *)obj)->metadata.namespace;
    if (!str_empty(ns)) string_list_push(a, ret, ns);
}

static void bucket_free(void *p) {
    free(((struct cached_list *)p)->items);
    free(p);
}

static void index_put(struct index *x, const char *value, struct cached *c) {
    struct cached_list *l = map_get(x->buckets, value);
    if (!l) {
        CHECK(l = calloc(1, sizeof(*l)));
        map_put(x->buckets, value, l);
    }
    list_push(l, c);
}

static void index_drop(struct index *x, const char *value, struct cached *c) {
    struct cached_list *l = map_get(x->buckets, value);
    for (size_t i = 0; l && i < l->len; i++) {
        if (l->items[i] != c) continue;
        l->items[i] = l->items[--l->len];
        if (!l->len) bucket_free(map_del(x->buckets, value));
        return;
    }
}

static void index_object(struct index *x, struct cached *c, bool there) {
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    struct string_list values = {0};
    x->fn(a, c->obj, &values);
    LIST_FOREACH(v, &values) (there ? index_put : index_drop)(x, *v, c);
}

void index_by_controller_uid(struct arena *a, const void *obj, struct string_list *ret) {
    LIST_FOREACH(o, &((const struct object *)obj)->metadata.ownerReferences)
        if (o->controller.has && o->controller.value) string_list_push(a, ret, o->uid);
}

void index_by_node_name(struct arena *a, const void *pod, struct string_list *ret) {
    const char *node = ((const struct corev1_Pod *)pod)->spec.nodeName;
    if (!str_empty(node)) string_list_push(a, ret, node);
}

/* ---- changes; on the reflector's thread, with delivery ---- */

static void tell(struct informer *inf, struct cached *old, struct cached *now) {
    for (size_t i = 0; i < inf->handlers_len; i++) {
        const struct informer_handler *h = &inf->handlers[i];
        if (!old && h->add) h->add(h->data, now);
        else if (old && now && h->update) h->update(h->data, old, now);
        else if (old && !now && h->delete) h->delete(h->data, old);
    }
}

/* now NULL: deleted. Takes the reference of now. */
static void change(struct informer *inf, const char *key, struct cached *now) {
    pthread_rwlock_wrlock(&inf->lock);
    struct cached *old = now ? map_put(inf->objects, key, now) : map_del(inf->objects, key);
    for (size_t i = 0; i < inf->indexes_len; i++) {
        if (old) index_object(&inf->indexes[i], old, false);
        if (now) index_object(&inf->indexes[i], now, true);
    }
    cached_ref(now);
    pthread_rwlock_unlock(&inf->lock);
    if (old || now) tell(inf, old, now);
    cached_unref(now);
    cached_unref(old);
}

static void set_object(struct informer *inf, const void *obj) {
    const struct object *o = obj;
    _cleanup_buf_ struct buf key = BUF_INIT;
    put_key(&key, o->metadata.namespace, o->metadata.name);
    struct cached *known = map_get(inf->objects, buf_cstr(&key)); /* only this thread changes the map */
    if (inf->replacing) map_put(inf->replacing, buf_cstr(&key), inf);
    if (known && str_eq(known->obj->metadata.resourceVersion, o->metadata.resourceVersion) && str_eq(known->obj->metadata.uid, o->metadata.uid)) return;
    struct cached *now = freeze(inf, obj);
    pthread_mutex_lock(&inf->delivery);
    /* Deleted and made anew between two looks: those who follow by UID must hear of both. */
    if (known && !str_eq(known->obj->metadata.uid, o->metadata.uid)) change(inf, buf_cstr(&key), NULL);
    change(inf, buf_cstr(&key), now);
    pthread_mutex_unlock(&inf->delivery);
}

static void on_set(void *data, const void *obj) { set_object(data, obj); }

static void delete_key(struct informer *inf, const char *key) {
    pthread_mutex_lock(&inf->delivery);
    change(inf, key, NULL);
    pthread_mutex_unlock(&inf->delivery);
}

/* The last state comes with the deletion: handlers are told that one. */
static void on_delete(void *data, const void *obj) {
    struct informer *inf = data;
    const struct object *o = obj;
    _cleanup_buf_ struct buf key = BUF_INIT;
    put_key(&key, o->metadata.namespace, o->metadata.name);
    delete_key(inf, buf_cstr(&key));
}

static void on_reached(void *data, const char *version) { atomic_store(&((struct informer *)data)->version, strtoull(version, NULL, 10)); }

uint64_t informer_version(struct informer *inf) { return atomic_load(&inf->version); }

static void on_replace_begin(void *data) {
    struct informer *inf = data;
    map_free(inf->replacing);
    inf->replacing = map_new();
}

static void on_replace_end(void *data) {
    struct informer *inf = data;
    _cleanup_arena_ struct arena *a = arena_new();
    struct string_list gone = {0};
    const char *key;
    void *value;
    for (size_t pos = 0; map_next(inf->objects, &pos, &key, &value);)
        if (!map_has(inf->replacing, key)) string_list_push(a, &gone, arena_strdup(a, key));
    LIST_FOREACH(k, &gone) delete_key(inf, *k);
    map_free(inf->replacing);
    inf->replacing = NULL;
    pthread_mutex_lock(&inf->sync_mutex);
    inf->synced = true;
    pthread_cond_broadcast(&inf->sync_cond);
    pthread_mutex_unlock(&inf->sync_mutex);
}

/* ---- life ---- */

struct informer *informer_new(struct client *c, struct env *env, const struct reflector_source *source) {
    struct informer *inf = calloc(1, sizeof(*inf));
    CHECK(inf);
    inf->client = c;
    inf->env = env;
    inf->arena = arena_new_sized(256);
    inf->scratch = arena_new_sized(16384);
    inf->source = *source;
    inf->source.path = arena_strdup(inf->arena, source->path);
    inf->source.ns = arena_strdup(inf->arena, source->ns);
    inf->source.query = arena_strdup(inf->arena, source->query);
    inf->objects = map_new();
    pthread_mutex_init(&inf->delivery, NULL);
    pthread_rwlock_init(&inf->lock, NULL);
    pthread_mutex_init(&inf->sync_mutex, NULL);
    env_cond_init(&inf->sync_cond);
    informer_add_index(inf, "namespace", by_namespace);
    return inf;
}

void informer_start(struct informer *inf) {
    if (inf->reflector || inf->stopped) return;
    inf->reflector = reflector_start(inf->client, inf->env, &inf->source, &(struct reflector_sink){inf, on_replace_begin, on_set, on_replace_end, on_set, on_delete, on_reached});
}

static void informer_stop(struct informer *inf) {
    pthread_mutex_lock(&inf->sync_mutex);
    inf->stopped = true;
    pthread_cond_broadcast(&inf->sync_cond);
    pthread_mutex_unlock(&inf->sync_mutex);
    reflector_stop(inf->reflector);
    inf->reflector = NULL;
}

static void cached_free(void *p) { cached_unref(p); }

void informer_free(struct informer *inf) {
    if (!inf) return;
    informer_stop(inf);
    for (size_t i = 0; i < inf->indexes_len; i++) map_free_with(inf->indexes[i].buckets, bucket_free);
    map_free_with(inf->objects, cached_free);
    map_free(inf->replacing);
    pthread_mutex_destroy(&inf->delivery);
    pthread_rwlock_destroy(&inf->lock);
    pthread_mutex_destroy(&inf->sync_mutex);
    pthread_cond_destroy(&inf->sync_cond);
    arena_free(inf->scratch);
    arena_free(inf->arena);
    free(inf);
}

bool informer_synced(struct informer *inf) {
    pthread_mutex_lock(&inf->sync_mutex);
    bool s = inf->synced;
    pthread_mutex_unlock(&inf->sync_mutex);
    return s;
}

bool informer_wait_synced(struct informer *inf, int64_t timeout_ms) {
    int64_t until = env_mono_ns(inf->env) + timeout_ms * 1000000;
    pthread_mutex_lock(&inf->sync_mutex);
    while (!inf->synced && !inf->stopped && env_cond_wait(inf->env, &inf->sync_cond, &inf->sync_mutex, until)) {}
    bool s = inf->synced && !inf->stopped;
    pthread_mutex_unlock(&inf->sync_mutex);
    return s;
}

void informer_add_handler(struct informer *inf, const struct informer_handler *h) {
    pthread_mutex_lock(&inf->delivery);
    CHECK(inf->handlers_len < HANDLERS_MAX);
    inf->handlers[inf->handlers_len++] = *h;
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(inf, NULL, &all);
    for (size_t i = 0; i < all.len && h->add; i++) h->add(h->data, all.items[i]);
    pthread_mutex_unlock(&inf->delivery);
}

int informer_add_index(struct informer *inf, const char *name, index_function fn) {
    pthread_rwlock_wrlock(&inf->lock);
    size_t i = 0;
    while (i < inf->indexes_len && !str_eq(inf->indexes[i].name, name)) i++;
    if (i == inf->indexes_len) {
        CHECK(i < INDEXES_MAX);
        inf->indexes[i] = (struct index){name, fn, map_new()};
        inf->indexes_len++;
        const char *key;
        void *value;
        for (size_t pos = 0; map_next(inf->objects, &pos, &key, &value);) index_object(&inf->indexes[i], value, true);
    }
    pthread_rwlock_unlock(&inf->lock);
    return (int)i;
}

/* ---- the lister ---- */

struct cached *informer_get(struct informer *inf, const char *ns, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    put_key(&key, ns, name);
    pthread_rwlock_rdlock(&inf->lock);
    struct cached *c = cached_ref(map_get(inf->objects, buf_cstr(&key)));
    pthread_rwlock_unlock(&inf->lock);
    return c;
}

void informer_list(struct informer *inf, const char *ns, struct cached_list *ret) {
    if (ns) {
        informer_by_index(inf, 0, ns, ret);
        return;
    }
    const char *key;
    void *value;
    pthread_rwlock_rdlock(&inf->lock);
    for (size_t pos = 0; map_next(inf->objects, &pos, &key, &value);) list_push(ret, cached_ref(value));
    pthread_rwlock_unlock(&inf->lock);
}

void informer_by_index(struct informer *inf, int index, const char *value, struct cached_list *ret) {
    pthread_rwlock_rdlock(&inf->lock);
    const struct cached_list *l = map_get(inf->indexes[index].buckets, value);
    for (size_t i = 0; l && i < l->len; i++) list_push(ret, cached_ref(l->items[i]));
    pthread_rwlock_unlock(&inf->lock);
}

bool informer_index_has(struct informer *inf, int index, const char *value) {
    pthread_rwlock_rdlock(&inf->lock);
    bool has = map_has(inf->indexes[index].buckets, value);
    pthread_rwlock_unlock(&inf->lock);
    return has;
}

size_t informer_count(struct informer *inf) {
    pthread_rwlock_rdlock(&inf->lock);
    size_t n = map_len(inf->objects);
    pthread_rwlock_unlock(&inf->lock);
    return n;
}

/* ---- shared informers ---- */

struct informers {
    struct client *client;
    struct env *env;
    pthread_mutex_t mutex;
    struct { const void *what; struct informer *informer; } *items; /* what: the type's descriptor, or the resource's for metadata */
    size_t len, cap;
};

struct informers *informers_new(struct client *c, struct env *env) {
    struct informers *f = calloc(1, sizeof(*f));
    CHECK(f);
    f->client = c;
    f->env = env;
    pthread_mutex_init(&f->mutex, NULL);
    return f;
}

static struct informer *shared_get(struct informers *f, const void *what, const struct reflector_source *source) {
    pthread_mutex_lock(&f->mutex);
    struct informer *found = NULL;
    for (size_t i = 0; i < f->len && !found; i++)
        if (f->items[i].what == what) found = f->items[i].informer;
    if (!found) {
        if (f->len == f->cap) {
            f->cap = f->cap ? f->cap * 2 : 16;
            CHECK(f->items = realloc(f->items, f->cap * sizeof(*f->items)));
        }
        found = informer_new(f->client, f->env, source);
        f->items[f->len].what = what;
        f->items[f->len++].informer = found;
    }
    pthread_mutex_unlock(&f->mutex);
    return found;
}

struct informer *informers_get(struct informers *f, const struct type_desc *type) { return shared_get(f, type, &(struct reflector_source){.type = type}); }

struct informer *informers_get_metadata(struct informers *f, const struct resource_desc *resource) {
    return shared_get(f, resource, &(struct reflector_source){.type = &metav1_PartialObjectMetadata_desc, .resource = resource, .metadata_only = true});
}

void informers_start(struct informers *f) {
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->len; i++) informer_start(f->items[i].informer);
    pthread_mutex_unlock(&f->mutex);
}

bool informers_wait_synced(struct informers *f, int64_t timeout_ms) {
    int64_t until = env_mono_ns(f->env) + timeout_ms * 1000000;
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&f->mutex);
        struct informer *inf = i < f->len ? f->items[i].informer : NULL;
        pthread_mutex_unlock(&f->mutex);
        if (!inf) return true;
        int64_t left = (until - env_mono_ns(f->env)) / 1000000;
        if (!informer_wait_synced(inf, MAX(left, (int64_t)0))) return false;
    }
}

void informers_stop(struct informers *f) {
    for (size_t i = 0; i < f->len; i++) informer_stop(f->items[i].informer);
}

void informers_free(struct informers *f) {
    if (!f) return;
    for (size_t i = 0; i < f->len; i++) informer_free(f->items[i].informer);
    pthread_mutex_destroy(&f->mutex);
    free(f->items);
    free(f);
}
