/* HTTP/2 on one connection through nghttp2: it frames and keeps the flow control, we keep requests and bodies. */
#include <stdio.h>
#include <string.h>
#include "wire/http_conn.h"

static struct request_ext *stream_request(nghttp2_session *session, int32_t id) { return nghttp2_session_get_stream_user_data(session, id); }

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct request_ext *r = request_new(user);
    r->stream_id = frame->hd.stream_id;
    r->keep_alive = true;
    nghttp2_session_set_stream_user_data(session, r->stream_id, r);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len,
                     uint8_t flags UNUSED, void *user UNUSED) {
    struct request_ext *r = stream_request(session, frame->hd.stream_id);
    if (!r || r->dispatched) return 0;
    struct arena *a = r->pub.arena;
    if (name_len && name[0] == ':') {
        if (name_len == 7 && memcmp(name, ":method", 7) == 0) r->pub.method = arena_strndup(a, (const char *)value, value_len);
        else if (name_len == 5 && memcmp(name, ":path", 5) == 0) r->pub.path = arena_strndup(a, (const char *)value, value_len);
        else if (name_len == 10 && memcmp(name, ":authority", 10) == 0) request_add_header(r, "host", 4, (const char *)value, value_len);
        return 0;
    }
    if (r->headers.len > 1000) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    request_add_header(r, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user UNUSED) {
    struct request_ext *r = stream_request(session, id);
    if (!r || r->dispatched) return 0;
    if (request_take_body(r, (const char *)data, len) != 0) request_dispatch(r); /* too large: answered at once */
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct conn *c = user;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        int64_t now = conn_now_s(c);
        if (now != c->resets_second) c->resets = 0;
        c->resets_second = now;
        if (++c->resets > HTTP_RESETS_MAX) return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    struct request_ext *r = stream_request(session, frame->hd.stream_id);
    if (!r || r->dispatched) return 0;
    r->head_only = strcmp(r->pub.method, "HEAD") == 0;
    request_dispatch(r);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code UNUSED, void *user UNUSED) {
    struct request_ext *r = stream_request(session, id);
    if (!r) return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    request_finished(r);
    return 0;
}

int http2_init(struct conn *c) {
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    int r = nghttp2_session_server_new(&c->h2, cb, c);
    nghttp2_session_callbacks_del(cb);
    if (r != 0) return -1;
    nghttp2_settings_entry s[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP_STREAMS_MAX}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 256 << 10},
                                  {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEADER_BYTES_MAX}};
    nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, s, ARRAY_LEN(s));
    nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, 1 << 20);
    return 0;
}

/* nghttp2 does not call on_stream_close for streams that die with their session, so each is found and finished here. */
void http2_release(struct conn *c) {
    int32_t last = nghttp2_session_get_last_proc_stream_id(c->h2);
    for (int32_t id = 1; id > 0 && id <= last && c->requests; id += 2) {
        struct request_ext *r = nghttp2_session_find_stream(c->h2, id) ? stream_request(c->h2, id) : NULL;
        if (!r) continue;
        nghttp2_session_set_stream_user_data(c->h2, id, NULL);
        request_finished(r);
    }
    nghttp2_session_del(c->h2);
    c->h2 = NULL;
}

void http2_input(struct conn *c, const char *data, size_t len) {
    ssize_t n = nghttp2_session_mem_recv(c->h2, (const uint8_t *)data, len);
    if (c->closing) return;
    if (n < 0) {
        http2_fill(c); /* the GOAWAY that says why */
        c->close_after_write = true;
    }
    conn_mark_dirty(c);
}

void http2_fill(struct conn *c) {
    while (c->out.len < HTTP_OUT_BYTES_SOFT) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(c->h2, &data);
        if (n <= 0) break;
        buf_append(&c->out, data, (size_t)n);
    }
    if (c->out.len == 0 && !nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2)) c->close_after_write = true;
}

static ssize_t read_body(nghttp2_session *session UNUSED, int32_t id UNUSED, uint8_t *to, size_t max, uint32_t *flags, nghttp2_data_source *source, void *user UNUSED) {
    struct request_ext *r = source->ptr;
    size_t n = MIN(r->out.len - r->out_pos, max);
    if (n) memcpy(to, r->out.data + r->out_pos, n);
    r->out_pos += n;
    if (r->out_pos == r->out.len) {
        buf_clear(&r->out);
        r->out_pos = 0;
        if (r->ended || !r->streaming) *flags |= NGHTTP2_DATA_FLAG_EOF;
        else if (n == 0) return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

void http2_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream) {
    char status[16], length[24];
    nghttp2_nv nv[40];
    size_t n = 0, len = 0;
    snprintf(status, sizeof(status), "%d", code);
    nv[n++] = (nghttp2_nv){(uint8_t *)":status", (uint8_t *)status, 7, 3, NGHTTP2_NV_FLAG_NO_COPY_NAME};
    CHECK(headers_len < ARRAY_LEN(nv) - 2);
    for (size_t i = 0; i < headers_len; i++) {
        char *name = arena_strdup(r->pub.arena, headers[i].name);
        for (char *p = name; *p; p++)
            if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
        nv[n++] = (nghttp2_nv){(uint8_t *)name, (uint8_t *)(uintptr_t)headers[i].value, strlen(name), strlen(headers[i].value), NGHTTP2_NV_FLAG_NONE};
    }
    for (size_t i = 0; i < body_len; i++) len += body[i].len;
    if (!stream && code != 204 && code != 304) {
        int m = snprintf(length, sizeof(length), "%zu", len);
        nv[n++] = (nghttp2_nv){(uint8_t *)"content-length", (uint8_t *)length, 14, (size_t)m, NGHTTP2_NV_FLAG_NO_COPY_NAME};
    }
    for (size_t i = 0; i < body_len && !r->head_only; i++) buf_append(&r->out, body[i].data, body[i].len);
    nghttp2_data_provider provider = {.source.ptr = r, .read_callback = read_body};
    bool has_body = !r->head_only && (stream || len);
    nghttp2_submit_response(r->conn->h2, r->stream_id, nv, n, has_body ? &provider : NULL);
    if (r->pub.body_too_large) nghttp2_submit_rst_stream(r->conn->h2, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_NO_ERROR);
}

void http2_write(struct request_ext *r, const void *data, size_t len) {
    if (r->out_pos > (64 << 10)) {
        buf_consume(&r->out, r->out_pos);
        r->out_pos = 0;
    }
    buf_append(&r->out, data, len);
    nghttp2_session_resume_data(r->conn->h2, r->stream_id);
}

void http2_end(struct request_ext *r) { nghttp2_session_resume_data(r->conn->h2, r->stream_id); }

void http2_abort(struct request_ext *r) {
    nghttp2_submit_rst_stream(r->conn->h2, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
    conn_mark_dirty(r->conn);
}

void http2_goaway(struct conn *c) {
    nghttp2_submit_goaway(c->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(c->h2), NGHTTP2_NO_ERROR, NULL, 0);
    conn_mark_dirty(c);
}
