#include "apiserver/allocators.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

/* Numbers [0, size) that are free or taken. */
struct pool {
    pthread_mutex_t mutex;
    unsigned char *taken; /* a byte each: at most 64 Ki of them */
    size_t size;
};

static void pool_init(struct pool *p, size_t size) {
    pthread_mutex_init(&p->mutex, NULL);
    p->size = size;
    p->taken = calloc(size ? size : 1, 1);
    CHECK(p->taken);
}

static bool pool_take(struct pool *p, size_t i) {
    pthread_mutex_lock(&p->mutex);
    bool ok = !p->taken[i];
    p->taken[i] = 1;
    pthread_mutex_unlock(&p->mutex);
    return ok;
}

/* A random free number at or above `from` (wrapping to it), or SIZE_MAX. */
static size_t pool_next(struct pool *p, size_t from, struct env *env) {
    size_t found = SIZE_MAX;
    pthread_mutex_lock(&p->mutex);
    size_t span = p->size > from ? p->size - from : 0, start = span ? (size_t)env_random_below(env, span) : 0;
    for (size_t n = 0; n < span && found == SIZE_MAX; n++) {
        size_t i = from + (start + n) % span;
        if (!p->taken[i]) found = i;
    }
    if (found != SIZE_MAX) p->taken[found] = 1;
    pthread_mutex_unlock(&p->mutex);
    return found;
}

static void pool_release(struct pool *p, size_t i) {
    pthread_mutex_lock(&p->mutex);
    p->taken[i] = 0;
    pthread_mutex_unlock(&p->mutex);
}

static void pool_destroy(struct pool *p) {
    pthread_mutex_destroy(&p->mutex);
    free(p->taken);
}

struct ip_allocator {
    struct pool pool; /* number i is address base + 1 + i: neither the network's address nor the broadcast */
    uint32_t base;
    char *cidr;
};

enum { ADDRESSES_MAX = 65534 };

struct ip_allocator *ip_allocator_new(const char *cidr, struct status *reterr) {
    char ip[32];
    uint64_t bits;
    struct in_addr addr;
    const char *slash = strchr(cidr, '/');
    if (!slash || (size_t)(slash - cidr) >= sizeof(ip) || !str_to_u64(slash + 1, &bits) || bits > 30) goto bad;
    snprintf(ip, sizeof(ip), "%.*s", (int)(slash - cidr), cidr);
    if (inet_pton(AF_INET, ip, &addr) != 1) goto bad;
    struct ip_allocator *a = calloc(1, sizeof(*a));
    CHECK(a);
    uint64_t size = ((uint64_t)1 << (32 - bits)) - 2;
    a->base = ntohl(addr.s_addr) & (uint32_t)(0xffffffffu << (32 - bits));
    a->cidr = strdup(cidr);
    pool_init(&a->pool, (size_t)MIN(size, (uint64_t)ADDRESSES_MAX));
    return a;
bad:
    status_bad_request(reterr, "--service-cluster-ip-range: \"%s\" is no IPv4 range", cidr);
    return NULL;
}

void ip_allocator_free(struct ip_allocator *a) {
    if (!a) return;
    pool_destroy(&a->pool);
    free(a->cidr);
    free(a);
}

const char *ip_allocator_cidr(const struct ip_allocator *a) { return a->cidr; }

static char *print_ip(struct arena *arena, uint32_t ip) { return arena_printf(arena, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255); }
char *ip_allocator_first(struct ip_allocator *a, struct arena *arena) { return print_ip(arena, a->base + 1); }

char *ip_allocator_next(struct ip_allocator *a, struct arena *arena, struct env *env) {
    /* Upstream keeps the lower part of the range for addresses that are asked for. */
    size_t lower = MIN(MAX((size_t)16, a->pool.size / 16), (size_t)256), i = pool_next(&a->pool, MIN(lower, a->pool.size), env);
    if (i == SIZE_MAX) i = pool_next(&a->pool, 0, env);
    return i == SIZE_MAX ? NULL : print_ip(arena, a->base + 1 + (uint32_t)i);
}

static bool ip_index(const struct ip_allocator *a, const char *ip, size_t *ret) {
    struct in_addr addr;
    if (inet_pton(AF_INET, ip, &addr) != 1) return false;
    uint32_t n = ntohl(addr.s_addr);
    if (n <= a->base || n - a->base - 1 >= a->pool.size) return false;
    *ret = n - a->base - 1;
    return true;
}

enum ip_taken ip_allocator_take(struct ip_allocator *a, const char *ip) {
    size_t i;
    if (!ip_index(a, ip, &i)) return IP_OUTSIDE;
    return pool_take(&a->pool, i) ? IP_OK : IP_TAKEN;
}

void ip_allocator_release(struct ip_allocator *a, const char *ip) {
    size_t i;
    if (ip_index(a, ip, &i)) pool_release(&a->pool, i);
}

struct port_allocator { struct pool pool; int min, max; };

struct port_allocator *port_allocator_new(int min, int max) {
    struct port_allocator *a = calloc(1, sizeof(*a));
    CHECK(a && min > 0 && max >= min && max < 65536);
    a->min = min;
    a->max = max;
    pool_init(&a->pool, (size_t)(max - min + 1));
    return a;
}

void port_allocator_free(struct port_allocator *a) {
    if (!a) return;
    pool_destroy(&a->pool);
    free(a);
}

int port_allocator_next(struct port_allocator *a, struct env *env) {
    size_t i = pool_next(&a->pool, 0, env);
    return i == SIZE_MAX ? 0 : a->min + (int)i;
}

enum ip_taken port_allocator_take(struct port_allocator *a, int port) {
    if (port < a->min || port > a->max) return IP_OUTSIDE;
    return pool_take(&a->pool, (size_t)(port - a->min)) ? IP_OK : IP_TAKEN;
}

void port_allocator_release(struct port_allocator *a, int port) {
    if (port >= a->min && port <= a->max) pool_release(&a->pool, (size_t)(port - a->min));
}

void port_allocator_range(const struct port_allocator *a, int *min, int *max) {
    *min = a->min;
    *max = a->max;
}
