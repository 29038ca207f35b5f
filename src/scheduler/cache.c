/* The scheduler's cache: see cache.h. Invariant: every Pod in `pods` is in exactly one node_info's list. */
#include "scheduler/cache.h"
#include <pthread.h>
#include "base/map.h"
#include "base/str.h"

struct placement { char *node; bool assumed; };

struct scheduler_cache {
    pthread_mutex_t mutex;
    struct map *nodes; /* name -> node_info */
    struct map *pods;  /* key -> placement */
    struct node_info **list; /* those with a node object; rebuilt when list_stale */
    size_t list_len;
    bool list_stale;
};

struct scheduler_cache *cache_new(void) {
    struct scheduler_cache *c = calloc(1, sizeof(*c));
    CHECK(c);
    pthread_mutex_init(&c->mutex, NULL);
    c->nodes = map_new();
    c->pods = map_new();
    return c;
}

static void placement_free(void *p) {
    free(((struct placement *)p)->node);
    free(p);
}

static void node_free(void *p) { node_info_free(p); }

void cache_free(struct scheduler_cache *c) {
    if (!c) return;
    map_free_with(c->nodes, node_free);
    map_free_with(c->pods, placement_free);
    free(c->list);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

void cache_lock(struct scheduler_cache *c) { pthread_mutex_lock(&c->mutex); }
void cache_unlock(struct scheduler_cache *c) { pthread_mutex_unlock(&c->mutex); }

static struct node_info *node_get(struct scheduler_cache *c, const char *name) {
    struct node_info *n = map_get(c->nodes, name);
    if (!n) {
        n = node_info_new(name);
        map_put(c->nodes, name, n);
    }
    return n;
}

static void node_drop_if_empty(struct scheduler_cache *c, struct node_info *n) {
    if (n->node || n->pods_len) return;
    map_del(c->nodes, n->name);
    node_info_free(n);
}

void cache_set_node(struct scheduler_cache *c, const struct corev1_Node *node) {
    cache_lock(c);
    struct node_info *n = node_get(c, node->metadata.name);
    if (!n->node) c->list_stale = true;
    node_info_set_node(n, node);
    cache_unlock(c);
}

void cache_delete_node(struct scheduler_cache *c, const char *name) {
    cache_lock(c);
    struct node_info *n = map_get(c->nodes, name);
    if (n) {
        node_info_set_node(n, NULL);
        c->list_stale = true;
        node_drop_if_empty(c, n);
    }
    cache_unlock(c);
}

static void pod_remove(struct scheduler_cache *c, const char *key) {
    struct placement *p = map_del(c->pods, key);
    if (!p) return;
    struct node_info *n = map_get(c->nodes, p->node);
    CHECK(n && node_info_remove_pod(n, key));
    node_drop_if_empty(c, n);
    placement_free(p);
}

static void pod_place(struct scheduler_cache *c, struct pod_info *pod, const char *node, bool assumed) {
    struct placement *p = calloc(1, sizeof(*p));
    CHECK(p && (p->node = strdup(node)));
    p->assumed = assumed;
    map_put(c->pods, pod->key, p);
    node_info_add_pod(node_get(c, node), pod);
}

void cache_set_pod(struct scheduler_cache *c, struct pod_info *pod) {
    cache_lock(c);
    pod_remove(c, pod->key);
    pod_place(c, pod, pod->pod->spec.nodeName, false);
    cache_unlock(c);
}

void cache_delete_pod(struct scheduler_cache *c, const char *key) {
    cache_lock(c);
    pod_remove(c, key);
    cache_unlock(c);
}

bool cache_has_pod(struct scheduler_cache *c, const char *key) {
    cache_lock(c);
    bool has = map_has(c->pods, key);
    cache_unlock(c);
    return has;
}

bool cache_pod_assumed(struct scheduler_cache *c, const char *key) {
    cache_lock(c);
    const struct placement *p = map_get(c->pods, key);
    bool assumed = p && p->assumed;
    cache_unlock(c);
    return assumed;
}

bool cache_assume_locked(struct scheduler_cache *c, struct pod_info *pod, const char *node) {
    if (map_has(c->pods, pod->key)) return false;
    pod_place(c, pod, node, true);
    return true;
}

struct node_info *const *cache_nodes(struct scheduler_cache *c, size_t *ret_len) {
    if (c->list_stale) {
        CHECK(c->list = realloc(c->list, (map_len(c->nodes) + 1) * sizeof(struct node_info *)));
        c->list_len = 0;
        const char *key;
        void *value;
        for (size_t pos = 0; map_next(c->nodes, &pos, &key, &value);)
            if (((struct node_info *)value)->node) c->list[c->list_len++] = value;
        c->list_stale = false;
    }
    *ret_len = c->list_len;
    return c->list;
}
