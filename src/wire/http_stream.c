#include "wire/http_stream.h"

enum { CLOSE_MS = 10000, SPLICE_BYTES_MAX = 256 << 10 };

size_t http_slice_len(const struct http_slice *s) { return s->shared && !s->data ? shared_len(s->shared) : s->len; }

void http_slice_append(struct outq *q, const struct http_slice *s) {
    if (s->shared) outq_append_shared(q, s->shared, s->data ? s->data : shared_data(s->shared), http_slice_len(s));
    else outq_append(q, s->data, s->len);
}

static void begin(struct loop_deferred *d) {
    struct http_stream *s = CONTAINER_OF(d, struct http_stream, begin);
    struct buf early = s->early;
    s->early = (struct buf)BUF_INIT;
    if (early.len) s->handler.on_data(s->handler.arg, early.data, early.len);
    buf_release(&early);
    if (s->sock->eof && !s->eof_told) http_stream_eof(s);
}

void http_stream_init(struct http_stream *s, struct sock *sock, const char *early, size_t early_len) {
    *s = (struct http_stream){.sock = sock, .begin.fn = begin};
    if (early_len) buf_append(&s->early, early, early_len);
}

void http_stream_start(struct http_stream *s, const struct http_stream_handler *handler) {
    s->handler = *handler;
    s->started = true;
    if (s->sock->closing) return;
    loop_defer(&s->begin); /* before anything new is read */
    sock_pause(s->sock, false);
}

void http_stream_data(struct http_stream *s, const char *data, size_t len) {
    if (s->sock->closing) return;
    if (!s->started || s->begin.at) buf_append(&s->early, data, len);
    else s->handler.on_data(s->handler.arg, data, len);
}

void http_stream_eof(struct http_stream *s) {
    if (!s->started || s->begin.at || s->eof_told) return;
    s->eof_told = true;
    if (s->handler.on_eof) s->handler.on_eof(s->handler.arg);
    else http_stream_close(s);
}

static void wrote(struct http_stream *s) {
    if (sock_backlog_bytes(s->sock) > HTTP_STREAM_LOW_BYTES) s->above_low = true;
}

void http_stream_room(struct http_stream *s) {
    if (!s->above_low) return;
    s->above_low = false;
    if (s->started && s->handler.on_drain) s->handler.on_drain(s->handler.arg);
}

void http_stream_closed(struct http_stream *s) {
    loop_defer_cancel(&s->begin);
    buf_release(&s->early);
    if (s->started && s->handler.on_close) s->handler.on_close(s->handler.arg);
}

void http_stream_write(struct http_stream *s, const void *data, size_t len) {
    sock_write(s->sock, data, len);
    wrote(s);
}

void http_stream_write_shared(struct http_stream *s, struct shared *block) {
    sock_write_shared(s->sock, block, shared_data(block), shared_len(block));
    wrote(s);
}

size_t http_stream_backlog_bytes(const struct http_stream *s) { return sock_backlog_bytes(s->sock); }
void http_stream_pause(struct http_stream *s, bool paused) { sock_pause(s->sock, paused); }
void http_stream_shutdown(struct http_stream *s) { sock_shutdown(s->sock); }
void http_stream_close(struct http_stream *s) { sock_finish(s->sock, CLOSE_MS); }
void http_stream_abort(struct http_stream *s) { sock_close(s->sock); }

/* ---- splice ---- */

struct splice_end {
    struct splice *splice;
    struct http_stream *stream; /* NULL once closed */
    struct splice_end *other;
};

struct splice {
    struct splice_end ends[2];
    void (*done)(void *);
    void *arg;
};

static void splice_data(void *arg, const char *data, size_t len) {
    struct splice_end *e = arg;
    struct http_stream *to = e->other->stream;
    if (!to) return;
    http_stream_write(to, data, len);
    if (http_stream_backlog_bytes(to) > SPLICE_BYTES_MAX) http_stream_pause(e->stream, true);
}

static void splice_eof(void *arg) {
    struct splice_end *e = arg;
    if (e->other->stream) http_stream_shutdown(e->other->stream);
}

static void splice_drain(void *arg) {
    struct splice_end *e = arg;
    if (e->other->stream) http_stream_pause(e->other->stream, false);
}

static void splice_close(void *arg) {
    struct splice_end *e = arg;
    struct splice *p = e->splice;
    e->stream = NULL;
    if (e->other->stream) {
        http_stream_close(e->other->stream);
        return;
    }
    if (p->done) p->done(p->arg);
    free(p);
}

void http_stream_splice(struct http_stream *a, struct http_stream *b, void (*done)(void *), void *arg) {
    struct splice *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->done = done;
    p->arg = arg;
    p->ends[0] = (struct splice_end){p, a, &p->ends[1]};
    p->ends[1] = (struct splice_end){p, b, &p->ends[0]};
    for (int i = 0; i < 2; i++) {
        struct http_stream_handler h = {splice_data, splice_eof, splice_drain, splice_close, &p->ends[i]};
        http_stream_start(p->ends[i].stream, &h);
    }
}
