/* A cache of byte strings that are good for a while: the answers of webhooks. Bounded: the oldest entry goes first. Any thread. Upstream: apimachinery util/cache LRUExpireCache.
 * Tests: tests/unit/test_webhook_parts.c. */
#ifndef CKUBE_BASE_EXPIRING_CACHE_H
#define CKUBE_BASE_EXPIRING_CACHE_H
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"

struct expiring_cache;
struct expiring_cache *expiring_cache_new(size_t entries_max);
void expiring_cache_free(struct expiring_cache *c); /* NULL is fine */
/* Appends the value of a key to *ret: true. False: it is not there, or no longer good. */
bool expiring_cache_get(struct expiring_cache *c, const char *key, int64_t now_ns, struct buf *ret);
void expiring_cache_put(struct expiring_cache *c, const char *key, const void *value, size_t len, int64_t expires_ns);
#endif
