/* Arenas: memory that is freed whole.
 *
 * The only way objects are allocated in ckube: a request, a decoded object, a reconcile each own one arena, and all that is built on the way
 * dies with it. Nothing allocated here is freed one by one. Allocation never returns NULL: running out of memory aborts the process, because no
 * component can promise anything after that. Not thread-safe: one arena has one owner at a time. Tests: tests/unit/test_base.c. */
#ifndef CKUBE_BASE_ARENA_H
#define CKUBE_BASE_ARENA_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "base/macros.h"

struct arena;

struct arena *arena_new(void);                 /* an empty arena; free with arena_free */
struct arena *arena_new_sized(size_t first_chunk_bytes); /* the same when the need is known: what is kept for long wastes nothing */
void arena_free(struct arena *a);              /* frees it and all that was allocated from it; NULL is fine */
/* fn(arg) is called when the arena is freed or reset: for what is kept beside it (a compiled pattern, a reference). The last one asked for goes first. */
void arena_on_free(struct arena *a, void (*fn)(void *arg), void *arg);
void arena_reset(struct arena *a);             /* as empty as new; keeps its first chunk, so that a loop can reuse it */
size_t arena_size_bytes(const struct arena *a); /* what it has taken from the system */
size_t arena_used_bytes(const struct arena *a); /* what has been handed out, alignment included: the size for arena_new_sized to hold the same again */

/* Zeroed, 16-byte aligned memory; size 0 gives a unique non-NULL pointer. */
void *arena_alloc(struct arena *a, size_t size);
/* `count * size` zeroed bytes; aborts on overflow. */
void *arena_calloc(struct arena *a, size_t count, size_t size);
/* Copies; the string forms add a NUL. NULL in gives NULL out. */
void *arena_memdup(struct arena *a, const void *data, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);
char *arena_vprintf(struct arena *a, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* What every request needs, without the cost of a format: ARENA_CONCAT(a, "x", y, "z"), of which NULL counts as "", and a number in decimal. */
#define ARENA_CONCAT(arena, ...) arena_concat((arena), (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
char *arena_concat(struct arena *a, const char *const *parts, size_t len);
char *arena_u64(struct arena *a, uint64_t v);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

/* Zeroed room for a list of len items, with the spare capacity that arena_list_push counts on. Every list that may be pushed to must be made by this or
 * by pushing. */
void *arena_list_alloc(struct arena *a, size_t len, size_t item_size);
/* Room for one more in a list `{ T *items; size_t len; }` whose items live in the arena: returns the new, zeroed last item.
 * Capacity is implied by len (it doubles at powers of two), so a list grown this way must only be grown this way. */
void *arena_list_push(struct arena *a, void *items_ptr, size_t *len, size_t item_size);
#define LIST_PUSH(arena, list) ((__typeof__((list)->items))arena_list_push((arena), &(list)->items, &(list)->len, sizeof(*(list)->items)))
#define LIST_FOREACH(it, list) \
    for (__typeof__(*(list)->items) *it = (list)->items, *it##_end = (list)->items ? (list)->items + (list)->len : (list)->items; it != it##_end; it++)

static inline void arena_freep(struct arena **a) { arena_free(*a); }
#define _cleanup_arena_ __attribute__((cleanup(arena_freep)))
#endif
