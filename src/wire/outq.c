#include "wire/outq.h"
#include <string.h>
#include "base/loop.h"

enum {
    BLOCK_BYTES = 16 << 10,
    SPARE_MAX = 32,         /* blocks kept by a thread */
    COPY_BYTES_MAX = 512,   /* shorter pieces of counted blocks are copied: cheaper than a segment of their own */
};

static _Thread_local struct { char *blocks[SPARE_MAX]; size_t len; } spare;

static void free_spare(void) {
    while (spare.len) free(spare.blocks[--spare.len]);
}

static char *block_take(size_t cap) {
    if (cap == BLOCK_BYTES && spare.len) return spare.blocks[--spare.len];
    char *b = malloc(cap);
    CHECK(b);
    return b;
}

static void block_give(char *b, size_t cap) {
    if (cap != BLOCK_BYTES || spare.len == SPARE_MAX || !loop_current()) {
        free(b);
        return;
    }
    if (!spare.len) loop_at_exit(free_spare);
    spare.blocks[spare.len++] = b;
}

static struct outq_segment *ring(const struct outq *q) { return q->segments ? q->segments : (struct outq_segment *)(uintptr_t)q->first; }
static struct outq_segment *at(const struct outq *q, size_t i) { return &ring(q)[(q->head + i) & (q->cap - 1)]; }

static struct outq_segment *push(struct outq *q) {
    if (q->cap == 0) q->cap = OUTQ_INLINE;
    if (q->count == q->cap) {
        struct outq_segment *grown = malloc(q->cap * 2 * sizeof(*grown));
        CHECK(grown);
        for (size_t i = 0; i < q->count; i++) grown[i] = *at(q, i);
        free(q->segments);
        q->segments = grown;
        q->head = 0;
        q->cap *= 2;
    }
    struct outq_segment *s = at(q, q->count++);
    *s = (struct outq_segment){0};
    return s;
}

static void drop_first(struct outq *q) {
    struct outq_segment *s = at(q, 0);
    if (s->shared) shared_unref(s->shared);
    else block_give(s->block, s->cap);
    q->head = (q->head + 1) & (q->cap - 1);
    q->count--;
}

void outq_release(struct outq *q) {
    while (q->count) drop_first(q);
    free(q->segments);
    *q = (struct outq){0};
}

/* The last segment, if it is a block of our own with room for one byte more at least. */
static struct outq_segment *tail_with_room(struct outq *q, size_t *ret_room) {
    if (!q->count) return NULL;
    struct outq_segment *s = at(q, q->count - 1);
    if (!s->block) return NULL;
    *ret_room = s->cap - (size_t)(s->data - s->block) - s->len;
    return *ret_room ? s : NULL;
}

char *outq_reserve(struct outq *q, size_t len) {
    size_t room = 0;
    struct outq_segment *s = tail_with_room(q, &room);
    if (!s || room < len) {
        s = push(q);
        s->cap = MAX(len, (size_t)BLOCK_BYTES);
        s->block = block_take(s->cap);
        s->data = s->block;
    }
    char *to = (char *)(uintptr_t)s->data + s->len;
    s->len += len;
    q->bytes += len;
    return to;
}

void outq_append(struct outq *q, const void *data, size_t len) {
    const char *from = data;
    size_t room = 0;
    struct outq_segment *s = tail_with_room(q, &room);
    if (s && room < len) { /* fills the last block up, so that its memory is not wasted */
        memcpy(outq_reserve(q, room), from, room);
        from += room;
        len -= room;
    }
    if (len) memcpy(outq_reserve(q, len), from, len);
}

void outq_append_shared(struct outq *q, struct shared *block, const char *data, size_t len) {
    if (len <= COPY_BYTES_MAX) {
        outq_append(q, data, len);
        return;
    }
    struct outq_segment *s = push(q);
    s->data = data;
    s->len = len;
    s->shared = shared_ref(block);
    q->bytes += len;
}

size_t outq_peek(const struct outq *q, const char **ret) {
    if (!q->count) return 0;
    *ret = at(q, 0)->data;
    return at(q, 0)->len;
}

size_t outq_copy(const struct outq *q, char *to, size_t max) {
    size_t done = 0;
    for (size_t i = 0; i < q->count && done < max; i++) {
        size_t n = MIN(at(q, i)->len, max - done);
        memcpy(to + done, at(q, i)->data, n);
        done += n;
    }
    return done;
}

int outq_iovec(const struct outq *q, struct iovec *iov, int max) {
    int n = 0;
    for (size_t i = 0; i < q->count && n < max; i++) iov[n++] = (struct iovec){(void *)(uintptr_t)at(q, i)->data, at(q, i)->len};
    return n;
}

void outq_consume(struct outq *q, size_t n) {
    CHECK(n <= q->bytes);
    q->bytes -= n;
    while (n) {
        struct outq_segment *s = at(q, 0);
        size_t m = MIN(n, s->len);
        s->data += m;
        s->len -= m;
        n -= m;
        if (s->len == 0) drop_first(q);
    }
}

void outq_move(struct outq *to, struct outq *from, size_t n) {
    CHECK(n <= from->bytes);
    while (n) {
        struct outq_segment *s = at(from, 0);
        size_t m = MIN(n, s->len);
        bool whole = m == s->len && m > COPY_BYTES_MAX;
        if (whole) { /* the segment changes hands */
            *push(to) = *s;
            to->bytes += m;
            from->bytes -= m;
            from->head = (from->head + 1) & (from->cap - 1);
            from->count--;
        } else {
            if (s->shared) outq_append_shared(to, s->shared, s->data, m);
            else outq_append(to, s->data, m);
            outq_consume(from, m);
        }
        n -= m;
    }
}
