/* A hash map from strings (or byte strings) to pointers; copies its keys, does not own its values. Not thread-safe. */
#ifndef CKUBE_BASE_MAP_H
#define CKUBE_BASE_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;
struct map *map_new(void);
void map_free(struct map *m);                                    /* NULL is fine; values are the caller's */
void map_free_with(struct map *m, void (*free_value)(void *));
size_t map_len(const struct map *m);
void *map_get(const struct map *m, const char *key);             /* NULL if absent */
bool map_has(const struct map *m, const char *key);
void *map_put(struct map *m, const char *key, void *value);      /* returns the value it replaced, or NULL */
void *map_del(struct map *m, const char *key);                   /* returns the value it removed, or NULL */
void map_clear(struct map *m);
/* Iteration in no order; deleting the current key while iterating is allowed, adding is not.
 *   for (size_t i = 0; map_next(m, &i, &key, &value);) ... */
bool map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value);
uint64_t hash_bytes(const void *data, size_t len);               /* FNV-1a with a final mix; stable across runs */
#endif
