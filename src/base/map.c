/* Open addressing with linear probing; deletion leaves a tombstone, growth drops them.
 * Invariant: live + tombstones <= 3/4 of cap, cap is a power of two. */
#include "base/map.h"
#include <stdlib.h>
#include <string.h>
#include "base/macros.h"

struct slot {
    char *key; /* NULL: never used; &tombstone: deleted */
    uint64_t hash;
    void *value;
};

struct map {
    struct slot *slots;
    size_t cap, live, used; /* used counts live slots and tombstones */
};

static char tombstone;

uint64_t hash_bytes(const void *data, size_t len) {
    const unsigned char *p = data;
    uint64_t h = 1469598103934665603ull;
    for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * 1099511628211ull;
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15ull;
    return h ^ (h >> 29);
}

struct map *map_new(void) {
    struct map *m = calloc(1, sizeof(*m));
    CHECK(m);
    return m;
}

void map_clear(struct map *m) {
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key && m->slots[i].key != &tombstone) free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}

void map_free(struct map *m) {
    if (!m) return;
    map_clear(m);
    free(m);
}

void map_free_with(struct map *m, void (*free_value)(void *)) {
    if (!m) return;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(m, &i, &key, &value);) free_value(value);
    map_free(m);
}

size_t map_len(const struct map *m) { return m->live; }

static struct slot *find(const struct map *m, const char *key, uint64_t hash) {
    if (!m->cap) return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct slot *s = &m->slots[i];
        if (!s->key) return NULL;
        if (s->key != &tombstone && s->hash == hash && strcmp(s->key, key) == 0) return s;
    }
}

static void grow(struct map *m) {
    size_t cap = 16;
    while (cap < m->live * 2 + 2) cap *= 2;
    struct slot *slots = calloc(cap, sizeof(*slots));
    CHECK(slots);
    for (size_t i = 0; i < m->cap; i++) {
        struct slot *s = &m->slots[i];
        if (!s->key || s->key == &tombstone) continue;
        size_t j = s->hash & (cap - 1);
        while (slots[j].key) j = (j + 1) & (cap - 1);
        slots[j] = *s;
    }
    free(m->slots);
    m->slots = slots;
    m->cap = cap;
    m->used = m->live;
}

void *map_get(const struct map *m, const char *key) {
    struct slot *s = find(m, key, hash_bytes(key, strlen(key)));
    return s ? s->value : NULL;
}

bool map_has(const struct map *m, const char *key) { return find(m, key, hash_bytes(key, strlen(key))) != NULL; }

void *map_put(struct map *m, const char *key, void *value) {
    uint64_t hash = hash_bytes(key, strlen(key));
    struct slot *s = find(m, key, hash);
    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if ((m->used + 1) * 4 > m->cap * 3) grow(m);
    size_t i = hash & (m->cap - 1);
    while (m->slots[i].key && m->slots[i].key != &tombstone) i = (i + 1) & (m->cap - 1);
    if (!m->slots[i].key) m->used++;
    char *copy = strdup(key);
    CHECK(copy);
    m->slots[i] = (struct slot){copy, hash, value};
    m->live++;
    return NULL;
}

void *map_del(struct map *m, const char *key) {
    struct slot *s = find(m, key, hash_bytes(key, strlen(key)));
    if (!s) return NULL;
    void *value = s->value;
    free(s->key);
    s->key = &tombstone;
    s->value = NULL;
    m->live--;
    return value;
}

bool map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value) {
    for (; *pos < m->cap; (*pos)++) {
        struct slot *s = &m->slots[*pos];
        if (!s->key || s->key == &tombstone) continue;
        (*pos)++;
        if (ret_key) *ret_key = s->key;
        if (ret_value) *ret_value = s->value;
        return true;
    }
    return false;
}
