/* Attributes and assertions used everywhere. */
#ifndef CKUBE_BASE_MACROS_H
#define CKUBE_BASE_MACROS_H
#include <stdlib.h>
#include <sys/param.h> /* MIN and MAX */

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define WARN_UNUSED __attribute__((warn_unused_result))
#define UNUSED __attribute__((unused))
#define _cleanup_(f) __attribute__((cleanup(f)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* CHECK stays on in release builds and aborts with a message: for invariants of our own, never for data from outside. */
_Noreturn void check_failed(const char *expr, const char *file, int line);
#define CHECK(expr) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__))
/* DCHECK costs more and is on in debug and sanitizer builds only. */
#ifdef CKUBE_DEBUG
#define DCHECK(expr) CHECK(expr)
#else
#define DCHECK(expr) ((void)sizeof(expr))
#endif

static inline void freep(void *p) { free(*(void **)p); }
#define _cleanup_free_ __attribute__((cleanup(freep)))
#endif
