#include "wire/grpc_channel.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "wire/sock.h"
#include "wire/upstream_tls.h"

enum { MESSAGE_BYTES_MAX = 512 << 20, WINDOW_BYTES = 16 << 20, SEND_AHEAD_BYTES = 1 << 20 };

struct grpc_channel {
    struct sock sock;
    nghttp2_session *session;
    const struct grpc_channel_handler *handler;
    void *ctx;
    char *host, *authority;
    int port;
    struct upstream_tls *tls;
    struct addrinfo *addresses, *next_address;
    uv_getaddrinfo_t lookup;
    struct loop_deferred flush;
    struct grpc_stream *streams;
    int64_t heard_ms;
    const char *error;
    bool looking_up, has_sock, open, over, freed;
};

struct grpc_stream {
    struct grpc_channel *channel;
    struct grpc_stream *next, **at; /* in the channel's list */
    const struct grpc_stream_handler *handler;
    void *arg;
    int32_t id;
    struct buf in, message;         /* what came and is no whole message yet; grpc-message */
    struct outq out;
    bool last, deferred, sent, bad, in_callback;
    int http_code, code;            /* code -1: not seen */
};

static struct grpc_channel *of_sock(struct sock *s) { return CONTAINER_OF(s, struct grpc_channel, sock); }

/* ---- streams ---- */

static void stream_unlink(struct grpc_stream *s) {
    if (!s->at) return;
    *s->at = s->next;
    if (s->next) s->next->at = s->at;
    s->at = NULL;
}

static void stream_free(struct grpc_stream *s) {
    stream_unlink(s);
    buf_release(&s->in);
    buf_release(&s->message);
    outq_release(&s->out);
    free(s);
}

static void stream_end(struct grpc_stream *s, int code, const char *desc) {
    const struct grpc_stream_handler *h = s->handler;
    char text[512];
    void *arg = s->arg;
    bool sent = s->sent;
    snprintf(text, sizeof(text), "%s", desc); /* the words may be the stream's own */
    if (s->id > 0 && s->channel->session) nghttp2_session_set_stream_user_data(s->channel->session, s->id, NULL);
    s->handler = NULL;
    if (s->in_callback) stream_unlink(s); /* on_data, which called its owner, frees it */
    else stream_free(s);
    if (h) h->end(arg, code, text, sent);
}

static void flush_later(struct grpc_channel *c) {
    if (!c->over && c->open) loop_defer(&c->flush);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t max, uint32_t *flags, nghttp2_data_source *source UNUSED, void *user UNUSED) {
    struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = outq_copy(&s->out, (char *)out, max);
    outq_consume(&s->out, n);
    if (!s->out.bytes) s->sent = true;
    if (s->last && !s->out.bytes) *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

struct grpc_stream *grpc_stream_new(struct grpc_channel *c, const char *method, int timeout_ms, const struct grpc_stream_handler *handler, void *arg) {
    if (!c->open || c->over || !nghttp2_session_check_request_allowed(c->session)) return NULL;
    struct grpc_stream *s = calloc(1, sizeof(*s));
    CHECK(s);
    char timeout[32];
    snprintf(timeout, sizeof(timeout), "%dm", timeout_ms);
#define HEADER(n, v) {(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE}
    /* hasleader: a member that has lost its leader says so at once instead of waiting. */
    nghttp2_nv headers[] = {HEADER(":method", "POST"), HEADER(":scheme", c->tls ? "https" : "http"), HEADER(":path", method), HEADER(":authority", c->authority),
        HEADER("content-type", "application/grpc"), HEADER("user-agent", "ckube/" CKUBE_VERSION), HEADER("te", "trailers"), HEADER("hasleader", "true"), HEADER("grpc-timeout", timeout)};
#undef HEADER
    nghttp2_data_provider provider = {{.ptr = NULL}, read_body};
    *s = (struct grpc_stream){.channel = c, .handler = handler, .arg = arg, .code = -1};
    s->id = nghttp2_submit_request(c->session, NULL, headers, ARRAY_LEN(headers) - (timeout_ms <= 0), &provider, s);
    if (s->id < 0) {
        free(s);
        return NULL;
    }
    s->next = c->streams;
    s->at = &c->streams;
    if (s->next) s->next->at = &s->next;
    c->streams = s;
    flush_later(c);
    return s;
}

void grpc_stream_send(struct grpc_stream *s, const void *message, size_t len, bool last) {
    unsigned char head[5] = {0, (unsigned char)(len >> 24), (unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len};
    outq_append(&s->out, head, sizeof(head));
    outq_append(&s->out, message, len);
    s->last = last;
    if (s->deferred) {
        s->deferred = false;
        nghttp2_session_resume_data(s->channel->session, s->id);
    }
    flush_later(s->channel);
}

void grpc_stream_cancel(struct grpc_stream *s) {
    struct grpc_channel *c = s->channel;
    s->handler = NULL;
    if (s->in_callback) return; /* on_data comes back to it */
    if (!c->over) {
        nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
        nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
    }
    flush_later(c);
    stream_free(s);
}

int grpc_frames_read(struct buf *in, void (*fn)(void *arg, const void *data, size_t len), void *arg) {
    size_t at = 0;
    int result = 0;
    while (in->len - at >= 5) {
        const unsigned char *b = (const unsigned char *)in->data + at;
        size_t len = (size_t)b[1] << 24 | (size_t)b[2] << 16 | (size_t)b[3] << 8 | b[4];
        if (b[0] != 0 || len > MESSAGE_BYTES_MAX) {
            result = -1;
            break;
        }
        if (in->len - at - 5 < len) break;
        fn(arg, b + 5, len);
        at += 5 + len;
    }
    buf_consume(in, at);
    return result;
}

/* ---- nghttp2's callbacks ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags UNUSED,
                     void *user UNUSED) {
    struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s) return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) s->http_code = atoi((const char *)value);
    else if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) s->code = atoi((const char *)value);
    else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0) grpc_message_decode(&s->message, value, value_len);
    return 0;
}

static void one_message(void *arg, const void *data, size_t len) {
    struct grpc_stream *s = arg;
    if (s->handler) s->handler->message(s->arg, data, len);
}

static int on_data(nghttp2_session *session, uint8_t flags UNUSED, int32_t id, const uint8_t *data, size_t len, void *user UNUSED) {
    struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s || s->bad) return 0;
    buf_append(&s->in, data, len);
    s->in_callback = true; /* what its owner does in the callback must not take the stream away from here */
    if (grpc_frames_read(&s->in, one_message, s) != 0) s->bad = true;
    s->in_callback = false;
    if (!s->at) stream_free(s);
    else if (!s->handler) grpc_stream_cancel(s);
    else if (s->bad) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
        stream_end(s, GRPC_INTERNAL, "malformed gRPC message from server");
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user UNUSED) {
    struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, id);
    char text[128];
    if (!s) return 0;
    if (error == NGHTTP2_REFUSED_STREAM) s->sent = false; /* the server promises not to have looked at it */
    if (s->code >= 0) stream_end(s, s->code, buf_cstr(&s->message));
    else {
        if (error) snprintf(text, sizeof(text), "stream terminated by RST_STREAM with error code: %s", nghttp2_http2_strerror(error));
        else snprintf(text, sizeof(text), "unexpected HTTP status code received from server: %d", s->http_code);
        stream_end(s, GRPC_UNAVAILABLE, text);
    }
    return 0;
}

/* ---- the connection ---- */

static void release(struct grpc_channel *c) {
    loop_defer_cancel(&c->flush);
    if (c->session) nghttp2_session_del(c->session);
    if (c->addresses) uv_freeaddrinfo(c->addresses);
    upstream_tls_unref(c->tls);
    free(c->host);
    free(c->authority);
    free(c);
}

/* All calls end, then the owner hears of it, once. */
static void fail_channel(struct grpc_channel *c, const char *why) {
    char text[300];
    if (c->over) return;
    c->over = true;
    snprintf(text, sizeof(text), "connection error: desc = \"transport: %s\"", why);
    while (c->streams) stream_end(c->streams, GRPC_UNAVAILABLE, text);
    if (!c->freed) c->handler->closed(c->ctx, why);
}

static void flush(struct loop_deferred *d) {
    struct grpc_channel *c = CONTAINER_OF(d, struct grpc_channel, flush);
    const uint8_t *data;
    ssize_t n = 0;
    if (c->over || c->sock.closing) return;
    while (sock_backlog_bytes(&c->sock) < SEND_AHEAD_BYTES && (n = nghttp2_session_mem_send(c->session, &data)) > 0) sock_write(&c->sock, data, (size_t)n);
    if (n < 0) sock_close(&c->sock);
}

static void begin_http2(struct grpc_channel *c) {
    nghttp2_session_callbacks *callbacks;
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    CHECK(nghttp2_session_client_new(&c->session, callbacks, c) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
}

static void on_open(struct sock *s) {
    struct grpc_channel *c = of_sock(s);
    c->open = true;
    c->heard_ms = sock_now_ms(s);
    begin_http2(c);
    loop_defer(&c->flush);
    c->handler->open(c->ctx);
}

static void on_bytes(struct sock *s, const char *data, size_t len) {
    struct grpc_channel *c = of_sock(s);
    c->heard_ms = sock_now_ms(s);
    if (c->over) return;
    if (nghttp2_session_mem_recv(c->session, (const uint8_t *)data, len) < 0) sock_close(s);
    else flush_later(c);
}

static void on_eof(struct sock *s) { sock_close(s); }
static void on_room(struct sock *s) { flush_later(of_sock(s)); }

static void try_next(struct grpc_channel *c);

static void on_close(struct sock *s) {
    struct grpc_channel *c = of_sock(s);
    c->has_sock = false;
    if (s->error) c->error = s->error;
    if (c->freed) release(c);
    else if (!c->open) try_next(c);
    else fail_channel(c, str_or(c->error, "error reading from server: EOF"));
}

static const struct sock_handler sock_handler = {on_open, on_bytes, on_eof, on_room, on_close};

static SSL *new_session(struct grpc_channel *c) {
    SSL *ssl = upstream_tls_session(c->tls, c->host);
    SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h2", 3);
    return ssl;
}

/* The next address of the host; when there is none left, the channel has failed. */
static void try_next(struct grpc_channel *c) {
    for (; c->next_address; c->next_address = c->next_address->ai_next) {
        const struct addrinfo *a = c->next_address;
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        SSL *ssl = c->tls ? new_session(c) : NULL;
        memset(&c->sock, 0, sizeof(c->sock));
        if ((connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) && sock_init(&c->sock, fd, ssl, true, &sock_handler) == 0) {
            c->has_sock = true;
            c->next_address = a->ai_next;
            return;
        }
        c->error = strerrordesc_np(errno);
        SSL_free(ssl);
        close(fd);
    }
    fail_channel(c, str_or(c->error, "no address"));
}

static void looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *found) {
    struct grpc_channel *c = req->data;
    c->looking_up = false;
    c->addresses = c->next_address = status == 0 ? found : NULL;
    if (c->freed) {
        release(c);
        return;
    }
    if (status != 0) c->error = "lookup: no such host";
    try_next(c);
}

struct grpc_channel *grpc_channel_new(const char *host, int port, struct upstream_tls *tls, const struct grpc_channel_handler *handler, void *ctx) {
    struct grpc_channel *c = calloc(1, sizeof(*c));
    CHECK(c);
    char service[16], authority[300];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    snprintf(service, sizeof(service), "%d", port);
    snprintf(authority, sizeof(authority), strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
    *c = (struct grpc_channel){.handler = handler, .ctx = ctx, .host = strdup(host), .authority = strdup(authority), .port = port, .tls = upstream_tls_ref(tls)};
    CHECK(c->host && c->authority);
    c->flush.fn = flush;
    c->lookup.data = c;
    c->looking_up = true;
    if (uv_getaddrinfo(loop_uv(loop_current()), &c->lookup, looked_up, host, service, &hints) == 0) return c;
    c->looking_up = false;
    free(c->host);
    free(c->authority);
    upstream_tls_unref(c->tls);
    free(c);
    return NULL;
}

void grpc_channel_free(struct grpc_channel *c) {
    if (!c) return;
    c->freed = true;
    fail_channel(c, "the client connection is closing");
    loop_defer_cancel(&c->flush);
    if (c->has_sock) sock_close(&c->sock);
    else if (!c->looking_up) release(c);
}

void grpc_channel_ping(struct grpc_channel *c) {
    if (!c->open || c->over) return;
    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
    flush_later(c);
}

int64_t grpc_channel_silent_ms(const struct grpc_channel *c) { return c->open ? sock_now_ms(&c->sock) - c->heard_ms : 0; }
