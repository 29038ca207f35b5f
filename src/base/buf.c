#include "base/buf.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

void buf_release(struct buf *b) {
    free(b->data);
    *b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b) {
    b->len = 0;
    if (b->data) b->data[0] = 0;
}

void buf_reserve(struct buf *b, size_t more) {
    size_t need;
    CHECK(!__builtin_add_overflow(b->len, more, &need) && !__builtin_add_overflow(need, (size_t)1, &need));
    if (need <= b->cap) return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) {
        CHECK(cap <= SIZE_MAX / 2);
        cap *= 2;
    }
    char *data = realloc(b->data, cap);
    CHECK(data);
    b->data = data;
    b->cap = cap;
    data[b->len] = 0; /* also when nothing is ever appended */
}

void buf_append(struct buf *b, const void *data, size_t len) {
    if (len >= b->cap - b->len) buf_reserve(b, len);
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}

void buf_append_str(struct buf *b, const char *s) {
    if (s) buf_append(b, s, strlen(s));
}

void buf_append_char(struct buf *b, char c) {
    if (b->cap - b->len < 2) buf_reserve(b, 1);
    b->data[b->len++] = c;
    b->data[b->len] = 0;
}

void buf_vprintf(struct buf *b, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    CHECK(len >= 0);
    buf_reserve(b, (size_t)len);
    vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
    b->len += (size_t)len;
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

void buf_append_u64(struct buf *b, uint64_t v) {
    char digits[STR_U64_MAX];
    buf_append(b, digits, str_from_u64(v, digits));
}

void buf_append_i64(struct buf *b, int64_t v) {
    if (v < 0) buf_append_char(b, '-');
    buf_append_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

void buf_consume(struct buf *b, size_t n) {
    CHECK(n <= b->len);
    if (!n) return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = 0;
}

const char *buf_cstr(const struct buf *b) { return b->data ? b->data : ""; }

char *buf_steal(struct buf *b) {
    buf_reserve(b, 0);
    char *data = b->data;
    data[b->len] = 0;
    *b = (struct buf)BUF_INIT;
    return data;
}

struct shared {
    atomic_size_t refs;
    size_t len;
    char *data;
};

static struct shared *shared_wrap(char *data, size_t len) {
    struct shared *s = malloc(sizeof(*s));
    CHECK(s);
    atomic_init(&s->refs, 1);
    s->len = len;
    s->data = data;
    return s;
}

struct shared *shared_new(const void *data, size_t len) {
    char *copy = malloc(len + 1);
    CHECK(copy);
    if (len) memcpy(copy, data, len);
    copy[len] = 0;
    return shared_wrap(copy, len);
}

struct shared *shared_from_buf(struct buf *b) {
    size_t len = b->len;
    return shared_wrap(buf_steal(b), len);
}

struct shared *shared_ref(struct shared *s) {
    if (s) atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void shared_unref(struct shared *s) {
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    free(s->data);
    free(s);
}

const char *shared_data(const struct shared *s) { return s->data; }
size_t shared_len(const struct shared *s) { return s->len; }
