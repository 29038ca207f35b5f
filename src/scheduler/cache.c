/* The scheduler's cache: see cache.h. Invariants: every Pod in `pods` is in exactly one node_info's list; a node is in `all` and in the index while it
 * has a node object. */
#include "scheduler/cache.h"
#include <pthread.h>
#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"
#include "scheduler/devices.h"

#define LISTERS_MAX 24

struct placement { struct node_info *node; struct pod_info *pod; bool assumed; };
struct object_entry { struct arena *arena, *assumed_arena; const void *obj, *assumed; };
struct lister { const struct type_desc *type; struct map *objects; uint64_t generation; };

struct scheduler_cache {
    pthread_mutex_t mutex;
    struct topology_index *index;
    struct devices *devices;
    struct map *nodes;      /* name -> node_info */
    struct map *pods;       /* key -> placement */
    struct map *nominated;  /* key -> node_info */
    struct map *images;     /* name -> image_state */
    struct map *zones;      /* name -> number + 1 */
    struct node_info **all; /* those with a node object, as they came */
    size_t all_len, all_cap;
    struct node_info **list; /* the same in turn of zones; made anew when stale */
    bool list_stale;
    struct lister listers[LISTERS_MAX];
    size_t listers_len;
};

static const struct string_map *namespace_labels(void *data, const char *name) {
    const struct corev1_Namespace *ns = cache_get(data, &corev1_Namespace_desc, NULL, name);
    return ns ? &ns->metadata.labels : NULL;
}

struct scheduler_cache *cache_new(void) {
    struct scheduler_cache *c = calloc(1, sizeof(*c));
    CHECK(c);
    pthread_mutex_init(&c->mutex, NULL);
    c->index = index_new(namespace_labels, c);
    c->devices = devices_new();
    c->nodes = map_new();
    c->pods = map_new();
    c->nominated = map_new();
    c->images = map_new();
    c->zones = map_new();
    return c;
}

static void placement_free(void *v) {
    struct placement *p = v;
    pod_info_unref(p->pod);
    free(p);
}

static void node_free(void *p) { node_info_free(p); }

static void image_free(void *v) {
    struct image_state *i = v;
    free(i->name);
    free(i);
}

static void object_free(void *v) {
    struct object_entry *o = v;
    arena_free(o->arena);
    arena_free(o->assumed_arena);
    free(o);
}

void cache_free(struct scheduler_cache *c) {
    if (!c) return;
    index_free(c->index);
    devices_free(c->devices);
    map_free_with(c->pods, placement_free);
    map_free(c->nominated);
    map_free_with(c->nodes, node_free);
    map_free_with(c->images, image_free);
    map_free(c->zones);
    for (size_t i = 0; i < c->listers_len; i++) map_free_with(c->listers[i].objects, object_free);
    free(c->all);
    free(c->list);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

void cache_lock(struct scheduler_cache *c) { pthread_mutex_lock(&c->mutex); }
void cache_unlock(struct scheduler_cache *c) { pthread_mutex_unlock(&c->mutex); }
struct topology_index *cache_index(struct scheduler_cache *c) { return c->index; }
struct devices *cache_devices(struct scheduler_cache *c) { return c->devices; }

/* ---- nodes ---- */

static struct node_info *node_get(struct scheduler_cache *c, const char *name) {
    struct node_info *n = map_get(c->nodes, name);
    if (!n) {
        n = node_info_new(name);
        map_put(c->nodes, name, n);
    }
    return n;
}

static void node_drop_if_empty(struct scheduler_cache *c, struct node_info *n) {
    if (n->node || n->pods_len || n->nominated_len) return;
    map_del(c->nodes, n->name);
    node_info_free(n);
}

struct node_info *cache_node(struct scheduler_cache *c, const char *name) {
    struct node_info *n = str_empty(name) ? NULL : map_get(c->nodes, name);
    return n && n->node ? n : NULL;
}

static int zone_number(struct scheduler_cache *c, const struct corev1_Node *node) {
    const struct string_map *l = &node->metadata.labels;
    const char *region = string_map_get(l, "topology.kubernetes.io/region"), *zone = string_map_get(l, "topology.kubernetes.io/zone");
    if (!region) region = string_map_get(l, "failure-domain.beta.kubernetes.io/region");
    if (!zone) zone = string_map_get(l, "failure-domain.beta.kubernetes.io/zone");
    _cleanup_buf_ struct buf name = BUF_INIT;
    buf_printf(&name, "%s:%s", str_or(region, ""), str_or(zone, ""));
    uintptr_t number = (uintptr_t)map_get(c->zones, buf_cstr(&name));
    if (!number) map_put(c->zones, buf_cstr(&name), (void *)(number = map_len(c->zones) + 1));
    return (int)number - 1;
}

static void node_images_drop(struct scheduler_cache *c, struct node_info *n) {
    LIST_FOREACH(i, &n->images) {
        if (--i->image->nodes) continue;
        map_del(c->images, i->image->name);
        image_free(i->image);
    }
    n->images.len = 0;
}

static void node_images_take(struct scheduler_cache *c, struct node_info *n) {
    size_t cap = 0;
    LIST_FOREACH(i, &n->node->status.images) cap += i->names.len;
    CHECK(n->images.items = realloc(n->images.items, MAX(cap, (size_t)1) * sizeof(struct node_image)));
    LIST_FOREACH(i, &n->node->status.images)
        LIST_FOREACH(name, &i->names) {
            struct image_state *s = map_get(c->images, *name);
            bool twice = false;
            LIST_FOREACH(have, &n->images) twice |= have->image == s;
            if (s && twice) continue;
            if (!s) {
                CHECK((s = calloc(1, sizeof(*s))) && (s->name = strdup(*name)));
                map_put(c->images, *name, s);
            }
            s->nodes++;
            n->images.items[n->images.len++] = (struct node_image){s, i->sizeBytes};
        }
}

const struct image_state *cache_image(struct scheduler_cache *c, const char *name) { return map_get(c->images, name); }

static void all_add(struct scheduler_cache *c, struct node_info *n) {
    if (c->all_len == c->all_cap) {
        c->all_cap = c->all_cap ? c->all_cap * 2 : 64;
        CHECK((c->all = realloc(c->all, c->all_cap * sizeof(*c->all))) && (c->list = realloc(c->list, c->all_cap * sizeof(*c->list))));
    }
    n->list_position = c->all_len;
    c->all[c->all_len++] = n;
    c->list_stale = true;
}

static void all_remove(struct scheduler_cache *c, struct node_info *n) {
    c->all[n->list_position] = c->all[--c->all_len];
    c->all[n->list_position]->list_position = n->list_position;
    c->list_stale = true;
}

static bool images_equal(const struct corev1_Node *a, const struct corev1_Node *b) {
    if (a->status.images.len != b->status.images.len) return false;
    for (size_t i = 0; i < a->status.images.len; i++)
        if (!object_equal(&corev1_ContainerImage_desc, &a->status.images.items[i], &b->status.images.items[i])) return false;
    return true;
}

struct old_node cache_set_node(struct scheduler_cache *c, const struct corev1_Node *node) {
    struct node_info *n = node_get(c, node->metadata.name);
    struct old_node old = {n->arena, n->node};
    bool fresh = !old.node, relabelled = fresh || !string_map_equal(&old.node->metadata.labels, &node->metadata.labels);
    bool images = fresh || !images_equal(old.node, node);
    if (relabelled) {
        index_remove_node(c->index, n);
        devices_node_changed(c->devices, n->name);
    }
    if (images) node_images_drop(c, n);
    n->arena = NULL;
    n->version++;
    node_info_set_node(n, node);
    if (images) node_images_take(c, n);
    if (fresh) all_add(c, n);
    if (!relabelled) return old;
    int zone = zone_number(c, node);
    if (n->zone != zone) c->list_stale = true;
    n->zone = zone;
    index_add_node(c->index, n);
    return old;
}

struct old_node cache_delete_node(struct scheduler_cache *c, const char *name) {
    struct node_info *n = cache_node(c, name);
    if (!n) return (struct old_node){0};
    struct old_node old = {n->arena, n->node};
    index_remove_node(c->index, n);
    devices_node_changed(c->devices, n->name);
    node_images_drop(c, n);
    all_remove(c, n);
    n->arena = NULL;
    node_info_set_node(n, NULL);
    node_drop_if_empty(c, n);
    return old;
}

void old_node_release(struct old_node *o) {
    arena_free(o->arena);
    *o = (struct old_node){0};
}

/* One of each zone in turn, as long as zones have some left. */
static void list_make(struct scheduler_cache *c) {
    size_t zones = map_len(c->zones);
    size_t *starts = calloc(zones + 1, sizeof(*starts)), *taken = calloc(zones, sizeof(*taken));
    struct node_info **sorted = calloc(c->all_len + 1, sizeof(*sorted));
    CHECK(starts && (taken || !zones) && sorted);
    for (size_t i = 0; i < c->all_len; i++) starts[c->all[i]->zone + 1]++;
    for (size_t z = 0; z < zones; z++) starts[z + 1] += starts[z];
    for (size_t i = 0; i < c->all_len; i++) sorted[starts[c->all[i]->zone] + taken[c->all[i]->zone]++] = c->all[i];
    size_t n = 0;
    for (size_t round = 0; n < c->all_len; round++)
        for (size_t z = 0; z < zones; z++)
            if (round < taken[z]) c->list[n++] = sorted[starts[z] + round];
    free(starts);
    free(taken);
    free(sorted);
    c->list_stale = false;
}

struct node_info *const *cache_nodes(struct scheduler_cache *c, size_t *ret_len) {
    if (c->list_stale) list_make(c);
    *ret_len = c->all_len;
    return c->list;
}

/* ---- Pods ---- */

void cache_node_add_pod(struct scheduler_cache *c, struct node_info *n, struct pod_info *p) {
    node_info_add_pod(n, p);
    if (n->slot >= 0) index_count_pod(c->index, n, p, 1);
}

void cache_node_remove_pod(struct scheduler_cache *c, struct node_info *n, struct pod_info *p) {
    if (n->slot >= 0) index_count_pod(c->index, n, p, -1);
    node_info_remove_pod(n, p);
}

static struct pod_info *pod_remove(struct scheduler_cache *c, const char *key) {
    struct placement *p = map_del(c->pods, key);
    if (!p) return NULL;
    struct pod_info *pod = p->pod;
    cache_node_remove_pod(c, p->node, pod);
    p->node->version++;
    node_drop_if_empty(c, p->node);
    free(p);
    return pod;
}

static void pod_place(struct scheduler_cache *c, struct pod_info *pod, const char *node, bool assumed) {
    struct placement *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->node = node_get(c, node);
    p->pod = pod_info_ref(pod);
    p->assumed = assumed;
    map_put(c->pods, pod->key, p);
    cache_node_add_pod(c, p->node, pod);
    p->node->version++;
}

struct pod_info *cache_set_pod(struct scheduler_cache *c, struct pod_info *pod) {
    struct pod_info *old = pod_remove(c, pod->key);
    pod_place(c, pod, pod->pod->spec.nodeName, false);
    return old;
}

struct pod_info *cache_delete_pod(struct scheduler_cache *c, const char *key) { return pod_remove(c, key); }

const struct pod_info *cache_pod(struct scheduler_cache *c, const char *key) {
    const struct placement *p = map_get(c->pods, key);
    return p ? p->pod : NULL;
}

struct node_info *cache_pod_node(struct scheduler_cache *c, const char *key) {
    const struct placement *p = map_get(c->pods, key);
    return p ? p->node : NULL;
}

bool cache_pod_assumed(struct scheduler_cache *c, const char *key) {
    const struct placement *p = map_get(c->pods, key);
    return p && p->assumed;
}

size_t cache_pods_len(struct scheduler_cache *c, size_t *ret_assumed) {
    const char *key;
    void *v;
    *ret_assumed = 0;
    for (size_t pos = 0; map_next(c->pods, &pos, &key, &v);) *ret_assumed += ((const struct placement *)v)->assumed;
    return map_len(c->pods);
}

bool cache_assume(struct scheduler_cache *c, struct pod_info *pod, const char *node) {
    if (map_has(c->pods, pod->key)) return false;
    pod_place(c, pod, node, true);
    return true;
}

/* ---- nominated Pods ---- */

static void nominated_count(struct node_info *n) {
    n->nominated_sum = (struct resources){0};
    n->nominated_priority_min = INT32_MAX;
    for (size_t i = 0; i < n->nominated_len; i++) {
        n->nominated_priority_min = MIN(n->nominated_priority_min, n->nominated[i]->priority);
        LIST_FOREACH(r, &n->nominated[i]->amounts) n->nominated_sum.v[r->index] += r->value;
    }
    n->version++;
}

void cache_nominate_none(struct scheduler_cache *c, const char *key) {
    struct node_info *n = map_del(c->nominated, key);
    if (!n) return;
    for (size_t i = 0; i < n->nominated_len; i++) {
        if (!str_eq(n->nominated[i]->key, key)) continue;
        pod_info_unref(n->nominated[i]);
        n->nominated[i] = n->nominated[--n->nominated_len];
        break;
    }
    nominated_count(n);
    node_drop_if_empty(c, n);
}

void cache_nominate(struct scheduler_cache *c, struct pod_info *pod, const char *node) {
    cache_nominate_none(c, pod->key);
    if (str_empty(node)) return;
    struct node_info *n = node_get(c, node);
    if (n->nominated_len == n->nominated_cap) {
        n->nominated_cap = n->nominated_cap ? n->nominated_cap * 2 : 4;
        CHECK(n->nominated = realloc(n->nominated, n->nominated_cap * sizeof(*n->nominated)));
    }
    n->nominated[n->nominated_len++] = pod_info_ref(pod);
    nominated_count(n);
    map_put(c->nominated, pod->key, n);
}

const char *cache_nominated_node(struct scheduler_cache *c, const char *key) {
    const struct node_info *n = map_get(c->nominated, key);
    return n ? n->name : NULL;
}

const struct pod_info *cache_nominated_pod(struct scheduler_cache *c, const char *key) {
    const struct node_info *n = map_get(c->nominated, key);
    for (size_t i = 0; n && i < n->nominated_len; i++)
        if (str_eq(n->nominated[i]->key, key)) return n->nominated[i];
    return NULL;
}

/* ---- other objects ---- */

static struct lister *lister_of(struct scheduler_cache *c, const struct type_desc *type) {
    for (size_t i = 0; i < c->listers_len; i++)
        if (c->listers[i].type == type) return &c->listers[i];
    CHECK(c->listers_len < LISTERS_MAX);
    c->listers[c->listers_len] = (struct lister){type, map_new(), 1};
    return &c->listers[c->listers_len++];
}

static struct object_entry *object_find(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name) {
    char key[600]; /* names have at most 253 characters */
    size_t n = namespace ? strlen(namespace) : 0, m = name ? strlen(name) : 0;
    if (n + m + 2 > sizeof(key)) return NULL;
    if (n) memcpy(key, namespace, n);
    key[n] = '/';
    if (m) memcpy(key + n + 1, name, m);
    key[n + 1 + m] = '\0';
    return map_get(lister_of(c, type)->objects, key);
}

const void *cache_get(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name) {
    const struct object_entry *o = object_find(c, type, namespace, name);
    return !o ? NULL : o->assumed ? o->assumed : o->obj;
}

const void *cache_get_api(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name) {
    const struct object_entry *o = object_find(c, type, namespace, name);
    return o ? o->obj : NULL;
}

const void *cache_next(struct scheduler_cache *c, const struct type_desc *type, size_t *pos) {
    const char *key;
    void *value;
    if (!map_next(lister_of(c, type)->objects, pos, &key, &value)) return NULL;
    const struct object_entry *o = value;
    return o->assumed ? o->assumed : o->obj;
}

size_t cache_count(struct scheduler_cache *c, const struct type_desc *type) { return map_len(lister_of(c, type)->objects); }
uint64_t cache_generation(struct scheduler_cache *c, const struct type_desc *type) { return lister_of(c, type)->generation; }

struct arena *cache_set(struct scheduler_cache *c, const struct type_desc *type, const void *obj, const void **ret_old) {
    const struct metav1_ObjectMeta *meta = &((const struct object *)obj)->metadata;
    struct lister *l = lister_of(c, type);
    struct object_entry *o = object_find(c, type, meta->namespace, meta->name);
    if (!o) {
        _cleanup_buf_ struct buf key = BUF_INIT;
        buf_printf(&key, "%s/%s", str_or(meta->namespace, ""), str_or(meta->name, ""));
        CHECK(o = calloc(1, sizeof(*o)));
        map_put(l->objects, buf_cstr(&key), o);
    }
    struct arena *old = o->arena;
    *ret_old = o->obj;
    bool news = !o->obj || !str_eq(((const struct object *)o->obj)->metadata.resourceVersion, meta->resourceVersion);
    o->arena = arena_new();
    o->obj = object_copy(o->arena, type, obj);
    l->generation++;
    if (news) cache_restore_object(c, type, meta->namespace, meta->name);
    if (type == &resourcev1_ResourceSlice_desc) devices_slice_changed(c->devices, meta->name, o->obj);
    if (type == &resourcev1_ResourceClaim_desc) devices_claim_changed(c->devices, meta->namespace, meta->name, o->obj);
    if (type == &corev1_Namespace_desc) {
        const struct corev1_Namespace *was = *ret_old, *is = o->obj;
        if (!was || !string_map_equal(&was->metadata.labels, &is->metadata.labels)) index_namespaces_changed(c->index);
    }
    return old;
}

struct arena *cache_delete(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name, const void **ret_old) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s", str_or(namespace, ""), str_or(name, ""));
    struct lister *l = lister_of(c, type);
    struct object_entry *o = map_del(l->objects, buf_cstr(&key));
    *ret_old = o ? o->obj : NULL;
    if (!o) return NULL;
    struct arena *old = o->arena;
    arena_free(o->assumed_arena);
    free(o);
    l->generation++;
    if (type == &resourcev1_ResourceSlice_desc) devices_slice_changed(c->devices, name, NULL);
    if (type == &resourcev1_ResourceClaim_desc) devices_claim_changed(c->devices, namespace, name, NULL);
    return old;
}

void cache_restore_object(struct scheduler_cache *c, const struct type_desc *type, const char *namespace, const char *name) {
    struct object_entry *o = object_find(c, type, namespace, name);
    if (!o) return;
    arena_free(o->assumed_arena);
    o->assumed_arena = NULL;
    o->assumed = NULL;
}

void cache_assume_object(struct scheduler_cache *c, const struct type_desc *type, const void *obj) {
    const struct metav1_ObjectMeta *meta = &((const struct object *)obj)->metadata;
    struct object_entry *o = object_find(c, type, meta->namespace, meta->name);
    if (!o) return;
    struct arena *a = arena_new();
    const void *copy = object_copy(a, type, obj);
    arena_free(o->assumed_arena);
    o->assumed_arena = a;
    o->assumed = copy;
}
