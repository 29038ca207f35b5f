/* A queue of bytes on their way out: small writes are copied into pooled blocks, counted blocks are referenced. One loop thread's.
 *
 * Under every connection (sock.c) and every HTTP/2 stream. An empty queue holds no memory but its ring of segments. */
#ifndef CKUBE_WIRE_OUTQ_H
#define CKUBE_WIRE_OUTQ_H
#include <stddef.h>
#include <sys/uio.h>
#include "base/buf.h"

struct outq_segment {
    const char *data;      /* what is still to be sent of it */
    size_t len;
    struct shared *shared; /* referenced by this segment, or NULL: */
    char *block;           /* owned, with room up to cap */
    size_t cap;
};
enum { OUTQ_INLINE = 2 };
struct outq {
    struct outq_segment *segments, first[OUTQ_INLINE]; /* a ring; NULL: it is in `first` */
    size_t head, count, cap;
    size_t bytes;
};
/* A zeroed struct outq is an empty one. */
void outq_release(struct outq *q);
void outq_append(struct outq *q, const void *data, size_t len);                                   /* copies */
void outq_append_shared(struct outq *q, struct shared *block, const char *data, size_t len);      /* references; data lies in the block */
char *outq_reserve(struct outq *q, size_t len);                                                   /* room for len bytes, which count at once: fill them */
size_t outq_peek(const struct outq *q, const char **ret);                                         /* the first contiguous bytes */
size_t outq_copy(const struct outq *q, char *to, size_t max);                                     /* the first bytes; they stay */
int outq_iovec(const struct outq *q, struct iovec *iov, int max);
void outq_consume(struct outq *q, size_t n);
void outq_move(struct outq *to, struct outq *from, size_t n);                                     /* n <= from->bytes */
#endif
