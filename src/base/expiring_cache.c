#include "base/expiring_cache.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/map.h"

struct entry {
    struct entry *older, *newer;
    int64_t expires_ns;
    char *key;
    size_t len;
    char value[];
};

struct expiring_cache {
    pthread_mutex_t mutex;
    struct map *entries;
    struct entry *oldest, *newest; /* by when they were put */
    size_t entries_max;
};

struct expiring_cache *expiring_cache_new(size_t entries_max) {
    struct expiring_cache *c = calloc(1, sizeof(*c));
    CHECK(c);
    pthread_mutex_init(&c->mutex, NULL);
    c->entries = map_new();
    c->entries_max = entries_max;
    return c;
}

static void drop(struct expiring_cache *c, struct entry *e) {
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    map_del(c->entries, e->key);
    free(e->key);
    free(e);
}

void expiring_cache_free(struct expiring_cache *c) {
    if (!c) return;
    while (c->oldest) drop(c, c->oldest);
    map_free(c->entries);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

bool expiring_cache_get(struct expiring_cache *c, const char *key, int64_t now_ns, struct buf *ret) {
    pthread_mutex_lock(&c->mutex);
    struct entry *e = map_get(c->entries, key);
    bool good = e && now_ns < e->expires_ns;
    if (good) buf_append(ret, e->value, e->len);
    else if (e) drop(c, e);
    pthread_mutex_unlock(&c->mutex);
    return good;
}

void expiring_cache_put(struct expiring_cache *c, const char *key, const void *value, size_t len, int64_t expires_ns) {
    struct entry *e = malloc(sizeof(*e) + len);
    CHECK(e);
    *e = (struct entry){.expires_ns = expires_ns, .key = strdup(key), .len = len};
    CHECK(e->key);
    if (len) memcpy(e->value, value, len);
    pthread_mutex_lock(&c->mutex);
    struct entry *old = map_get(c->entries, key);
    if (old) drop(c, old);
    if (map_len(c->entries) >= c->entries_max && c->oldest) drop(c, c->oldest);
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
    map_put(c->entries, key, e);
    pthread_mutex_unlock(&c->mutex);
}
