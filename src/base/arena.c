#include "base/arena.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define REDZONE 16 /* bytes left poisoned between allocations, so that ASan sees overruns inside an arena */
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#define REDZONE 0
#endif

enum { ALIGNMENT = 16, CHUNK_BYTES_FIRST = 2048, CHUNK_BYTES_MAX = 256 * 1024 };

struct chunk {
    struct chunk *next; /* older */
    size_t cap, used;   /* invariant: used <= cap; bytes from used on are zero unless the arena was reset */
    _Alignas(ALIGNMENT) char data[];
};

struct cleanup { struct cleanup *next; void (*fn)(void *arg); void *arg; };

struct arena {
    struct chunk *head; /* the one being filled */
    struct cleanup *cleanups;
    size_t total;
    size_t first_bytes; /* of the first chunk; 0: CHUNK_BYTES_FIRST */
};

static struct chunk *chunk_new(struct arena *a, size_t cap) {
    struct chunk *c = calloc(1, sizeof(*c) + cap);
    if (!c) {
        fprintf(stderr, "out of memory: arena chunk of %zu bytes\n", cap);
        abort();
    }
    c->cap = cap;
    POISON(c->data, cap);
    a->total += sizeof(*c) + cap;
    return c;
}

struct arena *arena_new(void) {
    struct arena *a = calloc(1, sizeof(*a));
    CHECK(a);
    return a;
}

struct arena *arena_new_sized(size_t first_chunk_bytes) {
    struct arena *a = arena_new();
    a->first_bytes = MAX(first_chunk_bytes, (size_t)ALIGNMENT);
    return a;
}

static void free_chunks(struct chunk *c) {
    while (c) {
        struct chunk *next = c->next;
        UNPOISON(c->data, c->cap);
        free(c);
        c = next;
    }
}

static void run_cleanups(struct arena *a) {
    for (struct cleanup *c = a->cleanups; c; c = c->next) c->fn(c->arg);
    a->cleanups = NULL;
}

void arena_on_free(struct arena *a, void (*fn)(void *arg), void *arg) {
    struct cleanup *c = ARENA_NEW(a, struct cleanup);
    *c = (struct cleanup){a->cleanups, fn, arg};
    a->cleanups = c;
}

void arena_free(struct arena *a) {
    if (!a) return;
    run_cleanups(a);
    free_chunks(a->head);
    free(a);
}

void arena_reset(struct arena *a) {
    struct chunk *first = a->head;
    if (!first) return;
    run_cleanups(a);
    while (first->next) {
        struct chunk *c = first;
        first = first->next;
        UNPOISON(c->data, c->cap);
        free(c);
    }
    UNPOISON(first->data, first->used);
    memset(first->data, 0, first->used);
    POISON(first->data, first->cap);
    first->used = 0;
    a->head = first;
    a->total = sizeof(*first) + first->cap;
}

size_t arena_size_bytes(const struct arena *a) { return a->total + sizeof(*a); }

size_t arena_used_bytes(const struct arena *a) {
    size_t used = 0;
    for (const struct chunk *c = a->head; c; c = c->next) used += c->used;
    return used;
}

void *arena_alloc(struct arena *a, size_t size) {
    CHECK(size < SIZE_MAX / 2);
    size_t need = (size + REDZONE + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (need == 0) need = ALIGNMENT;
    struct chunk *c = a->head;
    if (!c || c->cap - c->used < need) {
        size_t cap = c ? MIN(c->cap * 2, (size_t)CHUNK_BYTES_MAX) : a->first_bytes ? a->first_bytes : CHUNK_BYTES_FIRST;
        if (need > cap / 4 && c && need > c->cap / 2) {
            /* A large block gets a chunk of its own behind the head, so that the head's room is not lost. */
            struct chunk *own = chunk_new(a, need);
            own->next = c->next;
            c->next = own;
            own->used = need;
            UNPOISON(own->data, size);
            return own->data;
        }
        struct chunk *fresh = chunk_new(a, MAX(cap, need));
        fresh->next = c;
        a->head = c = fresh;
    }
    void *p = c->data + c->used;
    c->used += need;
    UNPOISON(p, size);
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size) {
    size_t total;
    CHECK(!__builtin_mul_overflow(count, size, &total));
    return arena_alloc(a, total);
}

void *arena_memdup(struct arena *a, const void *data, size_t len) {
    if (!data) return NULL;
    void *p = arena_alloc(a, len);
    if (len) memcpy(p, data, len);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len) {
    if (!s) return NULL;
    char *p = arena_alloc(a, len + 1);
    memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s) { return s ? arena_strndup(a, s, strlen(s)) : NULL; }

char *arena_vprintf(struct arena *a, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    CHECK(len >= 0);
    char *p = arena_alloc(a, (size_t)len + 1);
    vsnprintf(p, (size_t)len + 1, format, args);
    return p;
}

char *arena_concat(struct arena *a, const char *const *parts, size_t len) {
    size_t total = 0;
    for (size_t i = 0; i < len; i++) total += parts[i] ? strlen(parts[i]) : 0;
    char *all = arena_alloc(a, total + 1), *to = all;
    for (size_t i = 0; i < len; i++)
        if (parts[i]) to = stpcpy(to, parts[i]);
    return all;
}

char *arena_u64(struct arena *a, uint64_t v) {
    char digits[STR_U64_MAX];
    size_t n = str_from_u64(v, digits);
    return arena_strndup(a, digits, n);
}

char *arena_printf(struct arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *p = arena_vprintf(a, format, args);
    va_end(args);
    return p;
}

void *arena_list_alloc(struct arena *a, size_t len, size_t item_size) {
    size_t cap = 1;
    while (cap < len) cap *= 2;
    return arena_calloc(a, cap, item_size);
}

void *arena_list_push(struct arena *a, void *items_ptr, size_t *len, size_t item_size) {
    char *items;
    memcpy(&items, items_ptr, sizeof(items));
    size_t n = *len;
    if (n == 0 || !items || (n & (n - 1)) == 0) {
        char *grown = arena_calloc(a, n ? n * 2 : 1, item_size);
        if (n) memcpy(grown, items, n * item_size);
        items = grown;
        memcpy(items_ptr, &items, sizeof(items));
    }
    *len = n + 1;
    char *slot = items + n * item_size;
    memset(slot, 0, item_size);
    return slot;
}
