/* Growable byte buffers, and immutable shared byte blocks.
 *
 * struct buf is the builder that encoders write into: heap memory, one owner, always NUL-terminated after the last byte.
 * struct shared is what outlives a request: bytes that never change again, counted atomically, so that a thousand watchers can send one encoding. */
#ifndef CKUBE_BASE_BUF_H
#define CKUBE_BASE_BUF_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "base/macros.h"

struct buf {
    char *data; /* NULL while empty; otherwise data[len] == 0 */
    size_t len, cap;
};
#define BUF_INIT {0}

void buf_release(struct buf *b);                       /* frees the bytes; b is empty and usable again */
void buf_clear(struct buf *b);                         /* len = 0, keeps the memory */
void buf_reserve(struct buf *b, size_t more);          /* room for `more` bytes beyond len, and the NUL */
void buf_append(struct buf *b, const void *data, size_t len);
void buf_append_str(struct buf *b, const char *s);     /* NULL appends nothing */
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *format, va_list args) PRINTF_LIKE(2, 0);
void buf_append_u64(struct buf *b, uint64_t v);        /* in decimal */
void buf_append_i64(struct buf *b, int64_t v);
void buf_consume(struct buf *b, size_t n);             /* drops the first n bytes */
const char *buf_cstr(const struct buf *b);             /* "" when empty */
char *buf_steal(struct buf *b);                        /* the bytes, NUL-terminated, now the caller's to free; b is empty */
#define _cleanup_buf_ __attribute__((cleanup(buf_release)))

struct shared; /* immutable, counted */
struct shared *shared_new(const void *data, size_t len);   /* copies; count 1 */
struct shared *shared_from_buf(struct buf *b);             /* takes b's memory without copying; b is empty after */
struct shared *shared_ref(struct shared *s);               /* NULL is fine */
void shared_unref(struct shared *s);                       /* NULL is fine */
const char *shared_data(const struct shared *s);
size_t shared_len(const struct shared *s);
#endif
