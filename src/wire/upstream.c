#include "wire/upstream.h"
#include <arpa/inet.h>
#include <errno.h>
#include <llhttp.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "base/fiber.h"
#include "wire/http_stream.h"
#include "wire/upstream_tls.h"

enum { BODY_BYTES_AHEAD = 256 << 10, HEAD_BYTES_MAX = 1 << 20 };

struct upstream {
    struct sock sock;
    struct http_stream stream;
    struct fiber *waiter;
    struct loop_timer *timer;
    char *host;
    int port;
    llhttp_t parser;
    struct arena *arena;         /* the request's; NULL while no answer is awaited */
    struct upstream_response response;
    struct { struct http_header *items; size_t len; } headers;
    struct buf name, value, reason, body, early;
    size_t head_bytes;
    const char *error;           /* static text, once the connection has failed */
    bool open, closed, timed_out, aborted, head_done, body_done, head_only, in_value, keep_alive, raw, free_when_closed, unsolicited;
};

static struct upstream *of_sock(struct sock *s) { return CONTAINER_OF(s, struct upstream, sock); }

/* ---- waiting ---- */

static void wake(struct upstream *u) {
    struct fiber *f = u->waiter;
    u->waiter = NULL;
    if (f) fiber_wake(f);
}

static void timed_out(void *arg) {
    struct upstream *u = arg;
    u->timed_out = true;
    wake(u);
}

static void timeout_begin(struct upstream *u, int ms) {
    u->timed_out = false;
    if (ms > 0) loop_timer_start(u->timer, (uint64_t)ms, 0);
}

static void timeout_end(struct upstream *u) { loop_timer_stop(u->timer); }

static void wait_here(struct upstream *u) {
    CHECK(fiber_current() && !u->waiter);
    u->waiter = fiber_current();
    fiber_suspend();
}

static bool broken(const struct upstream *u) { return u->closed || u->aborted || u->timed_out || u->error; }

/* Go's names for what the system reports. */
static const char *go_text(const char *text) {
    static const int codes[] = {ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EPIPE};
    static const char *const texts[] = {"connect: connection refused", "read: connection reset by peer", "connect: connection timed out",
        "connect: no route to host",
                                        "connect: network is unreachable", "write: broken pipe"};
    for (size_t i = 0; text && i < ARRAY_LEN(codes); i++)
        if (strcmp(text, strerrordesc_np(codes[i])) == 0) return texts[i];
    return text ? text : "EOF";
}

static int fail(struct upstream *u, const char *doing, struct status *reterr) {
    bool refused = u->error && strcmp(u->error, strerrordesc_np(ECONNREFUSED)) == 0;
    u->unsolicited = true; /* not to be used again */
    if (u->timed_out) return status_set(reterr, 504, REASON_TIMEOUT, "%s %s:%d: i/o timeout", doing, u->host, u->port);
    if (u->aborted) return status_set(reterr, 502, REASON_INTERNAL_ERROR, "context canceled");
    if (u->error && strncmp(u->error, "tls:", 4) == 0) return status_set(reterr, 502, REASON_INTERNAL_ERROR, "%s", u->error);
    return status_set(reterr, refused ? 503 : 502, refused ? REASON_SERVICE_UNAVAILABLE : REASON_INTERNAL_ERROR, "%s %s:%d: %s", doing, u->host,
        u->port, go_text(u->error));
}

/* ---- reading the answer ---- */

static int count_head(struct upstream *u, size_t len) {
    u->head_bytes += len;
    return u->head_bytes > HEAD_BYTES_MAX ? -1 : 0;
}

static void header_end(struct upstream *u) {
    if (u->name.len)
        *LIST_PUSH(u->arena, &u->headers) = (struct http_header){arena_strndup(u->arena, u->name.data, u->name.len),
                                                                       arena_strndup(u->arena, buf_cstr(&u->value), u->value.len)};
    buf_clear(&u->name);
    buf_clear(&u->value);
    u->in_value = false;
}

static int on_reason(llhttp_t *p, const char *at, size_t len) {
    struct upstream *u = p->data;
    buf_append(&u->reason, at, len);
    return count_head(u, len);
}

static int on_name(llhttp_t *p, const char *at, size_t len) {
    struct upstream *u = p->data;
    if (u->head_done) return 0; /* trailers are not kept */
    if (u->in_value) header_end(u);
    buf_append(&u->name, at, len);
    return count_head(u, len);
}

static int on_value(llhttp_t *p, const char *at, size_t len) {
    struct upstream *u = p->data;
    if (u->head_done) return 0;
    u->in_value = true;
    buf_append(&u->value, at, len);
    return count_head(u, len);
}

static int on_head(llhttp_t *p) {
    struct upstream *u = p->data;
    header_end(u);
    int code = llhttp_get_status_code(p);
    if (code >= 100 && code < 200 && code != 101) {
        u->headers.len = 0;
        u->headers.items = NULL;
        buf_clear(&u->reason);
        return 1;
    }
    u->response = (struct upstream_response){
        .code = code, .reason = arena_strdup(u->arena, buf_cstr(&u->reason)), .headers = u->headers.items, .headers_len = u->headers.len,
        .upgraded = code == 101, .has_length = (p->flags & F_CONTENT_LENGTH) != 0, .length = (long long)p->content_length};
    u->keep_alive = llhttp_should_keep_alive(p);
    u->head_done = true;
    return code == 101 ? 2 : u->head_only ? 1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len) {
    struct upstream *u = p->data;
    buf_append(&u->body, at, len);
    return 0;
}

static int on_message_end(llhttp_t *p) {
    struct upstream *u = p->data;
    if (!u->head_done) return 0; /* 1xx */
    u->body_done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_status = on_reason,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_message_end,
};

static void parse(struct upstream *u, const char *data, size_t len) {
    enum llhttp_errno e = llhttp_execute(&u->parser, data, len);
    if (e == HPE_PAUSED_UPGRADE || e == HPE_PAUSED) {
        const char *rest = llhttp_get_error_pos(&u->parser);
        size_t left = len - (size_t)(rest - data);
        if (u->response.upgraded) {
            u->body_done = true;
            buf_append(&u->early, rest, left);
            sock_pause(&u->sock, true);
        } else if (left) u->unsolicited = true;
    } else if (e != HPE_OK) u->error = u->head_done ? "malformed chunked encoding" : "malformed HTTP response";
    if (u->body.len > BODY_BYTES_AHEAD) sock_pause(&u->sock, true);
    wake(u);
}

static void on_open(struct sock *s) {
    struct upstream *u = of_sock(s);
    u->open = true;
    wake(u);
}

static void on_data(struct sock *s, const char *data, size_t len) {
    struct upstream *u = of_sock(s);
    if (u->raw) http_stream_data(&u->stream, data, len);
    else if (!u->arena || u->body_done || u->error) {
        if (u->response.upgraded && u->body_done) buf_append(&u->early, data, len);
        else u->unsolicited = true;
    } else parse(u, data, len);
}

static void on_eof(struct sock *s) {
    struct upstream *u = of_sock(s);
    if (u->raw) {
        http_stream_eof(&u->stream);
        return;
    }
    if (u->arena && !u->body_done && !u->error && (llhttp_finish(&u->parser) != HPE_OK || !u->body_done)) u->error = u->head_done ? "unexpected EOF" : "EOF";
    u->unsolicited = true;
    wake(u);
}

static void on_room(struct sock *s) {
    struct upstream *u = of_sock(s);
    if (u->raw) http_stream_room(&u->stream);
}

static void release(struct upstream *u) {
    buf_release(&u->name);
    buf_release(&u->value);
    buf_release(&u->reason);
    buf_release(&u->body);
    buf_release(&u->early);
    loop_timer_free(u->timer);
    free(u->host);
    free(u);
}

static void on_close(struct sock *s) {
    struct upstream *u = of_sock(s);
    u->closed = true;
    if (!u->error && !u->body_done) u->error = s->error ? s->error : "EOF";
    if (u->raw) http_stream_closed(&u->stream);
    if (u->raw || u->free_when_closed) release(u);
    else wake(u);
}

static const struct sock_handler handler = {on_open, on_data, on_eof, on_room, on_close};

/* ---- connecting ---- */

struct lookup {
    uv_getaddrinfo_t req;
    struct fiber *fiber;
    struct addrinfo *found;
    int status;
};

static void looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *found) {
    struct lookup *l = req->data;
    l->status = status;
    l->found = found;
    fiber_wake(l->fiber);
}

static int look_up(const char *host, int port, struct addrinfo **ret, struct status *reterr) {
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct in6_addr any;
    snprintf(service, sizeof(service), "%d", port);
    if (inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1) { /* needs no thread */
        hints.ai_flags |= AI_NUMERICHOST;
        if (getaddrinfo(host, service, &hints, ret) == 0) return 0;
    } else {
        struct lookup l = {.fiber = fiber_current(), .status = -1};
        l.req.data = &l;
        if (uv_getaddrinfo(loop_uv(loop_current()), &l.req, looked_up, host, service, &hints) == 0) fiber_suspend();
        if (l.status == 0) {
            *ret = l.found;
            return 0;
        }
    }
    return status_set(reterr, 502, REASON_INTERNAL_ERROR, "dial tcp: lookup %s: no such host", host);
}

/* One address: a socket that connects, and TLS on it when that has succeeded. */
static int try_address(struct upstream *u, const struct addrinfo *a, struct upstream_tls *tls) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    SSL *ssl = tls ? upstream_tls_session(tls, u->host) : NULL;
    u->error = NULL;
    u->closed = false;
    if ((connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS) || sock_init(&u->sock, fd, ssl, true, &handler) != 0) {
        u->error = strerrordesc_np(errno);
        u->closed = true;
        SSL_free(ssl);
        close(fd);
        return -1;
    }
    while (!u->open && !broken(u)) wait_here(u);
    if (u->open) return 0;
    sock_close(&u->sock);
    while (!u->closed) wait_here(u); /* its memory is used for the next address */
    return -1;
}

struct upstream *upstream_connect(const char *host, int port, struct upstream_tls *tls, int timeout_ms, struct status *reterr) {
    struct addrinfo *found = NULL;
    if (look_up(host, port, &found, reterr) != 0) return NULL;
    struct upstream *u = calloc(1, sizeof(*u));
    CHECK(u);
    u->host = strdup(host);
    u->port = port;
    u->timer = loop_timer_new(timed_out, u);
    timeout_begin(u, timeout_ms);
    bool connected = false;
    for (struct addrinfo *a = found; a && !connected && !u->timed_out; a = a->ai_next) connected = try_address(u, a, tls) == 0;
    uv_freeaddrinfo(found);
    timeout_end(u);
    if (connected) return u;
    fail(u, "dial tcp", reterr);
    release(u);
    return NULL;
}

void upstream_free(struct upstream *u) {
    if (!u) return;
    CHECK(!u->raw && !u->waiter);
    if (u->closed) {
        release(u);
        return;
    }
    u->free_when_closed = true;
    sock_close(&u->sock);
}

void upstream_abort(struct upstream *u) {
    u->aborted = true;
    sock_close(&u->sock);
    wake(u);
}

/* ---- requests ---- */

static void write_host(struct buf *b, const char *host, int port, bool tls) {
    bool v6 = strchr(host, ':') != NULL;
    buf_printf(b, v6 ? "Host: [%s]" : "Host: %s", host);
    if (port != (tls ? 443 : 80)) buf_printf(b, ":%d", port);
    buf_append_str(b, "\r\n");
}

static void write_request(struct upstream *u, const struct upstream_request *req) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_printf(&b, "%s %s HTTP/1.1\r\n", req->method, req->target);
    if (!http_headers_get(req->headers, req->headers_len, "Host")) write_host(&b, u->host, u->port, u->sock.ssl != NULL);
    for (size_t i = 0; i < req->headers_len; i++) {
        if (strcasecmp(req->headers[i].name, "Content-Length") == 0 || strcasecmp(req->headers[i].name, "Transfer-Encoding") == 0) continue;
        buf_append_str(&b, req->headers[i].name);
        buf_append_str(&b, ": ");
        buf_append_str(&b, req->headers[i].value);
        buf_append_str(&b, "\r\n");
    }
    bool wants_length = req->body_len || strcmp(req->method, "POST") == 0 || strcmp(req->method, "PUT") == 0 || strcmp(req->method, "PATCH") == 0;
    if (wants_length) buf_printf(&b, "Content-Length: %zu\r\n", req->body_len);
    buf_append_str(&b, "\r\n");
    sock_write(&u->sock, b.data, b.len);
    sock_write(&u->sock, req->body, req->body_len);
}

int upstream_request(struct upstream *u, const struct upstream_request *req, int timeout_ms, struct arena *arena, struct upstream_response *ret,
    struct status *reterr) {
    CHECK(!u->raw);
    u->arena = arena;
    u->response = (struct upstream_response){0};
    u->headers.items = NULL;
    u->headers.len = 0;
    u->head_bytes = 0;
    u->head_done = u->body_done = u->keep_alive = false;
    u->head_only = strcmp(req->method, "HEAD") == 0;
    buf_clear(&u->reason);
    buf_clear(&u->body);
    llhttp_init(&u->parser, HTTP_RESPONSE, &settings);
    u->parser.data = u;
    timeout_begin(u, timeout_ms);
    if (!broken(u)) write_request(u, req);
    while (!u->head_done && !broken(u)) wait_here(u);
    timeout_end(u);
    if (!u->head_done) return fail(u, "read tcp", reterr);
    *ret = u->response;
    return 0;
}

int upstream_read(struct upstream *u, struct buf *to, int timeout_ms, struct status *reterr) {
    timeout_begin(u, timeout_ms);
    while (!u->body.len && !u->body_done && !broken(u)) wait_here(u);
    timeout_end(u);
    if (u->body.len) {
        buf_append(to, u->body.data, u->body.len);
        buf_clear(&u->body);
        if (!u->closed && !u->response.upgraded) sock_pause(&u->sock, false);
        return 1;
    }
    return u->body_done ? 0 : fail(u, "read tcp", reterr);
}

int upstream_read_all(struct upstream *u, struct buf *to, size_t max, int timeout_ms, struct status *reterr) {
    size_t before = to->len;
    for (;;) {
        int r = upstream_read(u, to, timeout_ms, reterr);
        if (r <= 0) return r;
        if (to->len - before > max)
            return status_set(reterr, 502, REASON_INTERNAL_ERROR, "the answer of %s:%d is larger than %zu bytes", u->host, u->port, max);
    }
}

bool upstream_reusable(const struct upstream *u) {
    return u->open && u->body_done && u->keep_alive && !u->response.upgraded && !u->unsolicited && !u->closed && !u->error;
}

struct http_stream *upstream_upgrade(struct upstream *u) {
    CHECK(u->response.upgraded && !u->raw && !u->waiter);
    u->raw = true;
    http_stream_init(&u->stream, &u->sock, u->early.data, u->early.len);
    buf_release(&u->early);
    return &u->stream;
}
