/* HTTP/2 on one connection through nghttp2: it frames and keeps the flow control, we keep requests and bodies. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "wire/http_conn.h"

enum { NV_INLINE = 32 };

static struct request_ext *stream_request(nghttp2_session *session, int32_t id) { return nghttp2_session_get_stream_user_data(session, id); }

/* ---- requests ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct conn *c = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    if (c->handlers > HTTP_HANDLERS_MAX) return NGHTTP2_ERR_CALLBACK_FAILURE;
    struct request_ext *r = request_new(c);
    r->stream_id = frame->hd.stream_id;
    r->keep_alive = true;
    r->since_ms = conn_now_ms(c);
    r->next_stream = c->streams;
    if (c->streams) c->streams->at_stream = &r->next_stream;
    c->streams = r;
    r->at_stream = &c->streams;
    nghttp2_session_set_stream_user_data(session, r->stream_id, r);
    return 0;
}

static char *copy(struct request_ext *r, const uint8_t *data, size_t len) { return arena_strndup(r->pub.arena, (const char *)data, len); }

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len,
                     uint8_t flags UNUSED, void *user) {
    struct request_ext *r = stream_request(session, frame->hd.stream_id);
    if (!r || r->dispatched || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0; /* trailers are not kept */
    r->header_bytes += name_len + value_len + 32;
    if (r->header_bytes > conn_options(user)->header_bytes_max || r->headers.len >= HTTP_HEADERS_MAX) r->headers_too_large = true;
    if (r->headers_too_large) return 0;
    if (name_len && name[0] == ':') {
        if (name_len == 7 && memcmp(name, ":method", 7) == 0) r->pub.method = copy(r, value, value_len);
        else if (name_len == 5 && memcmp(name, ":path", 5) == 0) r->pub.path = copy(r, value, value_len);
        else if (name_len == 10 && memcmp(name, ":authority", 10) == 0) request_add_header(r, "host", 4, (const char *)value, value_len);
        return 0;
    }
    if (name_len == 14 && memcmp(name, "content-length", 14) == 0) request_length_allowed(r, strtoull((const char *)value, NULL, 10));
    request_add_header(r, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static void forget_body(struct request_ext *r) {
    if (!r->dispatched) r->conn->bodies_bytes -= r->body.len;
}

static void dispatch(struct request_ext *r) {
    forget_body(r);
    r->head_only = strcmp(r->pub.method, "HEAD") == 0;
    request_dispatch(r);
}

static int on_data(nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user) {
    struct conn *c = user;
    struct request_ext *r = stream_request(session, id);
    if (!r || r->dispatched) return 0;
    size_t before = r->body.len;
    int too_large = request_take_body(r, (const char *)data, len);
    c->bodies_bytes += r->body.len - before; /* falls when the body was too large and has been dropped */
    if (too_large) dispatch(r);
    else if (c->bodies_bytes > HTTP_BODIES_BYTES_MAX) nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
}

/* A bucket that leaks: short bursts are fine, a lasting flood is not. */
static int count_reset(struct conn *c) {
    int64_t now = conn_now_ms(c), forgiven = (now - c->resets_ms) * HTTP_RESETS_PER_S / 1000;
    if (forgiven > 0) {
        c->resets = (int)MAX((int64_t)c->resets - forgiven, (int64_t)0);
        c->resets_ms = now;
    }
    return ++c->resets > HTTP_RESETS_MAX ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void refuse_headers(struct request_ext *r) {
    static const struct http_header plain[] = {{"Content-Type", "text/plain; charset=utf-8"}};
    static const char words[] = "431 Request Header Fields Too Large";
    const struct http_slice text = {words, sizeof(words) - 1, NULL};
    forget_body(r);
    r->dispatched = true;
    r->conn->requests++;
    http_respond(&r->pub, 431, plain, 1, &text, 1);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    if (frame->hd.type == NGHTTP2_RST_STREAM) return count_reset(user);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    struct request_ext *r = stream_request(session, frame->hd.stream_id);
    if (!r) return 0;
    bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    r->body_complete |= last;
    if (r->dispatched) return 0;
    if (r->headers_too_large) refuse_headers(r);
    else if (last || r->pub.body_too_large) dispatch(r);
    return 0;
}

static void unlink_stream(struct request_ext *r) {
    *r->at_stream = r->next_stream;
    if (r->next_stream) r->next_stream->at_stream = r->at_stream;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code UNUSED, void *user UNUSED) {
    struct request_ext *r = stream_request(session, id);
    if (!r) return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    forget_body(r);
    unlink_stream(r);
    request_finished(r);
    return 0;
}

/* ---- answers ---- */

/* How much of the body goes into the next DATA frame; on_send_data puts it there. */
static ssize_t read_body(nghttp2_session *session UNUSED, int32_t id UNUSED, uint8_t *to UNUSED, size_t max, uint32_t *flags,
    nghttp2_data_source *source, void *user UNUSED) {
    struct request_ext *r = source->ptr;
    size_t n = MIN(r->out.bytes, max);
    if (n == r->out.bytes && (r->ended || !r->streaming)) *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)n;
}

static int on_send_data(nghttp2_session *session UNUSED, nghttp2_frame *frame UNUSED, const uint8_t *head, size_t len, nghttp2_data_source *source,
    void *user) {
    struct conn *c = user;
    struct request_ext *r = source->ptr;
    if (sock_out(&c->sock)->bytes >= HTTP_OUT_BYTES_SOFT) return NGHTTP2_ERR_WOULDBLOCK;
    outq_append(sock_out(&c->sock), head, 9);
    outq_move(sock_out(&c->sock), &r->out, len);
    request_drained(r);
    return 0;
}

/* A request that was answered before its body had come (413): the client is told to stop sending, behind the whole answer. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user UNUSED) {
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)) return 0;
    struct request_ext *r = stream_request(session, frame->hd.stream_id);
    if (r && !r->body_complete) nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

/* Connection headers, which HTTP/2 forbids. */
static bool only_http1(const char *name) {
    static const char *const names[] = {"Connection", "Transfer-Encoding", "Keep-Alive", "Upgrade", "Proxy-Connection"};
    if (!strchr("cCtTkKuUpP", name[0])) return false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(name, names[i]) == 0) return true;
    return false;
}

static nghttp2_nv pair(const char *name, size_t name_len, const char *value, size_t value_len) {
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, name_len, value_len, NGHTTP2_NV_FLAG_NONE};
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c; }

static size_t make_pairs(struct request_ext *r, nghttp2_nv *nv, const struct http_header *headers, size_t headers_len) {
    size_t n = 0;
    for (size_t i = 0; i < headers_len; i++) {
        if (only_http1(headers[i].name)) continue;
        size_t len = strlen(headers[i].name);
        char *name = arena_alloc(r->pub.arena, len + 1);
        for (size_t j = 0; j < len; j++) name[j] = lower(headers[i].name[j]);
        nv[n++] = pair(name, len, headers[i].value, strlen(headers[i].value));
    }
    return n;
}

void http2_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body,
    size_t body_len, bool stream) {
    char status[16], length[24];
    nghttp2_nv few[NV_INLINE], *nv = headers_len + 2 <= NV_INLINE ? few : arena_calloc(r->pub.arena, headers_len + 2, sizeof(*nv));
    size_t n = 0, len = 0;
    nv[n++] = pair(":status", 7, status, (size_t)snprintf(status, sizeof(status), "%d", code));
    n += make_pairs(r, nv + n, headers, headers_len);
    for (size_t i = 0; i < body_len; i++) len += http_slice_len(&body[i]);
    if (!stream && code != 204 && code != 304 && !http_headers_get(headers, headers_len, "Content-Length"))
        nv[n++] = pair("content-length", 14, length, (size_t)snprintf(length, sizeof(length), "%zu", len));
    for (size_t i = 0; i < body_len && !r->head_only; i++) http_slice_append(&r->out, &body[i]);
    nghttp2_data_provider provider = {.source.ptr = r, .read_callback = read_body};
    bool has_body = !r->head_only && (stream || len);
    nghttp2_submit_response(r->conn->h2, r->stream_id, nv, n, has_body ? &provider : NULL);
    sock_flush_later(&r->conn->sock);
}

void http2_write(struct request_ext *r, const void *data, size_t len, struct shared *block) {
    bool was_empty = r->out.bytes == 0;
    if (block) outq_append_shared(&r->out, block, data, len);
    else outq_append(&r->out, data, len);
    if (was_empty) nghttp2_session_resume_data(r->conn->h2, r->stream_id);
    sock_flush_later(&r->conn->sock);
}

void http2_end(struct request_ext *r) {
    nghttp2_session_resume_data(r->conn->h2, r->stream_id);
    sock_flush_later(&r->conn->sock);
}

void http2_abort(struct request_ext *r) {
    nghttp2_submit_rst_stream(r->conn->h2, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
    sock_flush_later(&r->conn->sock);
}

/* ---- the session ---- */

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *option;

static void make_callbacks(void) {
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_closed_streams(option, 1);
}

int http2_init(struct conn *c) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_callbacks);
    if (nghttp2_session_server_new2(&c->h2, callbacks, c, option) != 0) return -1;
    nghttp2_settings_entry s[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP_STREAMS_MAX},
                                  {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 256 << 10},
                                  {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
                                  {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)conn_options(c)->header_bytes_max}};
    nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, s, ARRAY_LEN(s));
    nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, 1 << 20);
    sock_flush_later(&c->sock);
    return 0;
}

void http2_release(struct conn *c) {
    while (c->streams) {
        struct request_ext *r = c->streams;
        unlink_stream(r);
        request_finished(r);
    }
    if (c->h2) nghttp2_session_del(c->h2);
    c->h2 = NULL;
    http1_release(c);
}

void http2_input(struct conn *c, const char *data, size_t len) {
    if (c->finishing) return;
    ssize_t n = nghttp2_session_mem_recv(c->h2, (const uint8_t *)data, len);
    if (c->sock.closing) return;
    if (n < 0) { /* the GOAWAY that says why goes out first */
        http2_fill(c);
        conn_finish(c);
        return;
    }
    sock_flush_later(&c->sock);
}

void http2_fill(struct conn *c) {
    struct outq *q = sock_out(&c->sock);
    if (!c->h2) return;
    while (q->bytes < HTTP_OUT_BYTES_SOFT) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(c->h2, &data);
        if (n < 0) {
            sock_close(&c->sock);
            return;
        }
        if (n == 0) break;
        outq_append(q, data, (size_t)n);
    }
    bool over = !nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2);
    if (!c->finishing && (over || (c->hl->stopping && c->requests == 0 && !c->streams && !nghttp2_session_want_write(c->h2)))) conn_finish(c);
}

void http2_goaway(struct conn *c) {
    if (!c->h2) return;
    nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->h2), NGHTTP2_NO_ERROR, NULL, 0);
    http2_fill(c); /* at once: a connection that finishes frames nothing more */
    sock_flush_later(&c->sock);
}

void http2_sweep(struct conn *c, int64_t now_ms) {
    for (struct request_ext *r = c->streams; r; r = r->next_stream) {
        if (r->dispatched || now_ms - r->since_ms <= conn_options(c)->body_timeout_ms) continue;
        nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_CANCEL);
        sock_flush_later(&c->sock);
    }
}
