/* Listeners, connections, and the life of a request; http1.c and http2.c speak the protocols. Every connection belongs to one loop's thread. */
#include "wire/http_server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "base/env.h"
#include "base/fiber.h"
#include "base/log.h"
#include "wire/http_conn.h"

struct http_server {
    struct http_server_options options;
    SSL_CTX *tls;
    struct http_loop *loops;
    size_t loops_len;
    int port;
    atomic_size_t conns; /* open ones, over all loops */
};

int64_t conn_now_s(struct conn *c) { return (int64_t)(uv_now(loop_uv(c->hl->loop)) / 1000); }

/* ---- output ---- */

struct write {
    uv_write_t req;
    struct conn *conn;
    size_t len;
    char *data;
};

static void flush(struct conn *c);

static void write_done(uv_write_t *req, int status) {
    struct write *w = (void *)req;
    struct conn *c = w->conn;
    c->writing -= w->len;
    free(w->data);
    free(w);
    if (status != 0) conn_close(c);
    if (c->closing) return;
    c->write_stalled_s = c->writing ? conn_now_s(c) : 0;
    flush(c);
}

/* Hands bytes to the kernel: at once if it takes them, the rest through libuv. */
static void send_bytes(struct conn *c, char *data, size_t len) {
    size_t sent = 0;
    if (c->writing == 0) {
        uv_buf_t b = uv_buf_init(data, (unsigned)MIN(len, (size_t)1 << 30));
        int n = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
        if (n > 0) sent = (size_t)n;
        else if (n != UV_EAGAIN) {
            free(data);
            conn_close(c);
            return;
        }
    }
    if (sent == len) {
        free(data);
        return;
    }
    struct write *w = malloc(sizeof(*w));
    CHECK(w);
    *w = (struct write){.conn = c, .len = len - sent, .data = data};
    uv_buf_t b = uv_buf_init(data + sent, (unsigned)(len - sent));
    if (c->writing == 0) c->write_stalled_s = conn_now_s(c);
    c->writing += w->len;
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &b, 1, write_done) != 0) {
        c->writing -= w->len;
        free(data);
        free(w);
        conn_close(c);
    }
}

static void send_encrypted(struct conn *c) {
    BIO *out = SSL_get_wbio(c->ssl);
    size_t pending = BIO_ctrl_pending(out);
    if (!pending || c->closing) return;
    char *data = malloc(pending);
    CHECK(data);
    int n = BIO_read(out, data, (int)MIN(pending, (size_t)INT_MAX));
    if (n > 0) send_bytes(c, data, (size_t)n);
    else free(data);
}

static void encrypt(struct conn *c) {
    size_t at = 0;
    while (at < c->out.len) {
        size_t n;
        if (SSL_write_ex(c->ssl, c->out.data + at, MIN(c->out.len - at, (size_t)1 << 30), &n) != 1) {
            conn_close(c);
            return;
        }
        at += n;
    }
    buf_clear(&c->out);
    if (c->out.cap > (64 << 10)) buf_release(&c->out);
    send_encrypted(c);
}

static void flush(struct conn *c) {
    for (;;) {
        if (c->closing || c->mode == CONN_HANDSHAKE) return;
        if (c->mode == CONN_HTTP2 && c->writing < HTTP_OUT_BYTES_SOFT) http2_fill(c);
        if (c->out.len == 0) break;
        if (c->ssl) encrypt(c);
        else {
            size_t len = c->out.len;
            send_bytes(c, buf_steal(&c->out), len);
        }
        if (c->mode != CONN_HTTP2) break;
    }
    if (c->close_after_write && !c->closing && c->writing == 0 && c->out.len == 0) conn_close(c);
}

void conn_mark_dirty(struct conn *c) {
    if (c->dirty || c->closing) return;
    c->dirty = true;
    c->next_dirty = c->hl->dirty;
    c->hl->dirty = c;
}

static void flush_dirty(struct http_loop *hl) {
    while (hl->dirty) {
        struct conn *c = hl->dirty;
        hl->dirty = c->next_dirty;
        c->dirty = false;
        flush(c);
    }
}

static void on_prepare(uv_prepare_t *h) { flush_dirty(h->data); }
static void on_check(uv_check_t *h) { flush_dirty(h->data); }

/* ---- closing ---- */

static void conn_closed(uv_handle_t *h) {
    struct conn *c = h->data;
    struct http_loop *hl = c->hl;
    if (c->dirty) {
        for (struct conn **p = &hl->dirty; *p; p = &(*p)->next_dirty)
            if (*p == c) {
                *p = c->next_dirty;
                break;
            }
    }
    if (c->prev) c->prev->next = c->next;
    else hl->conns = c->next;
    if (c->next) c->next->prev = c->prev;
    hl->conns_len--;
    atomic_fetch_sub(&hl->server->conns, 1);
    if (c->ssl) SSL_free(c->ssl);
    X509_free(c->peer_cert);
    buf_release(&c->out);
    free(c);
}

void conn_close(struct conn *c) {
    if (c->closing) return;
    c->closing = true;
    if (c->mode == CONN_HTTP2) http2_release(c);
    else http1_release(c);
    uv_close((uv_handle_t *)&c->tcp, conn_closed);
}

/* ---- requests ---- */

struct request_ext *request_new(struct conn *c) {
    struct arena *a = arena_new();
    struct request_ext *r = ARENA_NEW(a, struct request_ext);
    r->conn = c;
    r->refs = 1; /* the connection's */
    r->pub.arena = a;
    r->pub.loop = c->hl->loop;
    r->pub.http_major = c->mode == CONN_HTTP2 ? 2 : 1;
    r->pub.query = "";
    r->pub.path = "";
    r->pub.method = "";
    r->pub.body = "";
    memcpy(r->pub.peer, c->peer, sizeof(c->peer));
    if (c->peer_cert) {
        X509_up_ref(c->peer_cert);
        r->pub.peer_cert = c->peer_cert;
    }
    r->pub.peer_cert_invalid = c->peer_cert_invalid;
    c->requests++;
    return r;
}

struct http_request *http_request_ref(struct http_request *req) {
    ext_of(req)->refs++;
    return req;
}

void http_request_unref(struct http_request *req) {
    struct request_ext *r = ext_of(req);
    if (--r->refs > 0) return;
    X509_free(r->pub.peer_cert);
    buf_release(&r->body);
    buf_release(&r->out);
    arena_free(r->pub.arena);
}

bool http_request_closed(const struct http_request *req) { return ext_of(req)->closed; }

void http_request_on_close(struct http_request *req, void (*fn)(void *), void *arg) {
    ext_of(req)->on_close = fn;
    ext_of(req)->on_close_arg = arg;
}

void request_finished(struct request_ext *r) {
    if (r->closed) return;
    r->closed = true;
    if (r->conn) {
        r->conn->requests--;
        r->conn->idle_since_s = conn_now_s(r->conn);
    }
    r->conn = NULL;
    bool complete = r->ended || (r->responded && !r->streaming);
    if (r->stream.on_close) r->stream.on_close(r->stream.arg);
    else if (!complete && r->on_close) r->on_close(r->on_close_arg);
    http_request_unref(&r->pub);
}

void request_add_header(struct request_ext *r, const char *name, size_t name_len, const char *value, size_t value_len) {
    *LIST_PUSH(r->pub.arena, &r->headers) = (struct http_header){arena_strndup(r->pub.arena, name, name_len), arena_strndup(r->pub.arena, value, value_len)};
}

int request_take_body(struct request_ext *r, const char *data, size_t len) {
    size_t max = r->conn->hl->server->options.body_bytes_max;
    if (r->pub.body_too_large) return -1;
    if (max && r->body.len + len > max) {
        r->pub.body_too_large = true;
        buf_release(&r->body);
        return -1;
    }
    buf_append(&r->body, data, len);
    return 0;
}

static void run_handler(void *arg) {
    struct request_ext *r = arg;
    struct http_server_options *o = &r->conn->hl->server->options;
    o->handler(&r->pub, o->ctx);
    if (!r->responded && !r->closed) http_respond(&r->pub, 500, NULL, 0, NULL, 0);
    http_request_unref(&r->pub);
}

void request_dispatch(struct request_ext *r) {
    if (r->dispatched) return;
    r->dispatched = true;
    r->pub.headers = r->headers.items;
    r->pub.headers_len = r->headers.len;
    r->pub.body = buf_cstr(&r->body);
    r->pub.body_len = r->body.len;
    char *query = strchr(r->pub.path, '?');
    if (query) {
        *query = 0;
        r->pub.query = query + 1;
    }
    http_request_ref(&r->pub);
    fiber_spawn(run_handler, r);
}

const char *http_request_header(const struct http_request *req, const char *name) {
    for (size_t i = 0; i < req->headers_len; i++)
        if (strcasecmp(req->headers[i].name, name) == 0) return req->headers[i].value;
    return NULL;
}

static void answer(struct http_request *req, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream) {
    struct request_ext *r = ext_of(req);
    CHECK(!r->responded);
    r->responded = true;
    r->streaming = stream;
    if (r->closed) return;
    struct conn *c = r->conn;
    if (c->mode == CONN_HTTP2) http2_respond(r, code, headers, headers_len, body, body_len, stream);
    else http1_respond(r, code, headers, headers_len, body, body_len, stream);
    conn_mark_dirty(c);
}

void http_respond(struct http_request *req, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len) {
    answer(req, code, headers, headers_len, body, body_len, false);
}

void http_response_begin(struct http_request *req, int code, const struct http_header *headers, size_t headers_len) {
    answer(req, code, headers, headers_len, NULL, 0, true);
}

void http_response_write(struct http_request *req, const void *data, size_t len) {
    struct request_ext *r = ext_of(req);
    CHECK(r->streaming && !r->ended);
    if (r->closed || len == 0 || r->head_only) return;
    if (r->conn->mode == CONN_HTTP2) http2_write(r, data, len);
    else http1_write(r, data, len);
    conn_mark_dirty(r->conn);
}

void http_response_end(struct http_request *req) {
    struct request_ext *r = ext_of(req);
    if (r->ended) return;
    r->ended = true;
    if (r->closed) return;
    conn_mark_dirty(r->conn);
    if (r->conn->mode == CONN_HTTP2) http2_end(r);
    else http1_end(r);
}

size_t http_response_backlog_bytes(const struct http_request *req) {
    const struct request_ext *r = ext_of(req);
    return r->closed ? 0 : r->out.len - r->out_pos + r->conn->out.len + r->conn->writing;
}

void http_request_abort(struct http_request *req) {
    struct request_ext *r = ext_of(req);
    if (r->closed) return;
    if (r->conn->mode == CONN_HTTP2) http2_abort(r);
    else conn_close(r->conn);
}

int http_upgrade(struct http_request *req, const struct http_header *headers, size_t headers_len, const struct http_stream_handler *handler, struct status *reterr) {
    struct request_ext *r = ext_of(req);
    if (r->closed) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the client has gone");
    if (!req->upgrade || r->conn->mode != CONN_HTTP1) return status_bad_request(reterr, "the request cannot be upgraded");
    struct conn *c = r->conn;
    r->responded = r->streaming = true;
    r->stream = *handler;
    http1_respond(r, 101, headers, headers_len, NULL, 0, true);
    c->mode = CONN_RAW;
    conn_mark_dirty(c);
    if (c->in.len) { /* bytes that came right behind the request */
        struct buf early = c->in;
        c->in = (struct buf)BUF_INIT;
        r->stream.on_data(r->stream.arg, early.data, early.len);
        buf_release(&early);
    }
    return 0;
}

void http_stream_write(struct http_request *req, const void *data, size_t len) {
    struct request_ext *r = ext_of(req);
    if (r->closed) return;
    buf_append(&r->conn->out, data, len);
    conn_mark_dirty(r->conn);
}

void http_stream_close(struct http_request *req) {
    struct request_ext *r = ext_of(req);
    r->ended = true;
    if (r->closed) return;
    r->conn->close_after_write = true;
    conn_mark_dirty(r->conn);
}

/* ---- input ---- */

static void alloc(uv_handle_t *h UNUSED, size_t hint UNUSED, uv_buf_t *b) {
    static _Thread_local char bytes[64 << 10]; /* read, then consumed before anything else is read on this thread */
    *b = uv_buf_init(bytes, sizeof(bytes));
}

static void plain_input(struct conn *c, const char *data, size_t len) {
    c->last_active_s = conn_now_s(c);
    switch (c->mode) {
        case CONN_HTTP1: http1_input(c, data, len); break;
        case CONN_HTTP2: http2_input(c, data, len); break;
        case CONN_RAW: c->current->stream.on_data(c->current->stream.arg, data, len); break;
        case CONN_HANDSHAKE: break;
    }
}

static int begin_protocol(struct conn *c, bool h2) {
    c->mode = h2 ? CONN_HTTP2 : CONN_HTTP1;
    if (h2) return http2_init(c);
    http1_init(c);
    return 0;
}

static void handshake_done(struct conn *c) {
    const unsigned char *proto = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(c->ssl, &proto, &len);
    X509 *cert = SSL_get1_peer_certificate(c->ssl);
    if (cert && SSL_get_verify_result(c->ssl) == X509_V_OK) c->peer_cert = cert;
    else if (cert) {
        c->peer_cert_invalid = true;
        X509_free(cert);
    }
    if (begin_protocol(c, len == 2 && memcmp(proto, "h2", 2) == 0) != 0) conn_close(c);
    else conn_mark_dirty(c);
}

static void tls_input(struct conn *c, const char *data, size_t len) {
    BIO_write(SSL_get_rbio(c->ssl), data, (int)len);
    if (c->mode == CONN_HANDSHAKE) {
        int n = SSL_do_handshake(c->ssl);
        int e = n == 1 ? 0 : SSL_get_error(c->ssl, n);
        send_encrypted(c);
        if (c->closing) return;
        if (n != 1) {
            if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) conn_close(c);
            return;
        }
        handshake_done(c);
    }
    char plain[16 << 10];
    size_t n;
    while (!c->closing && SSL_read_ex(c->ssl, plain, sizeof(plain), &n) == 1) plain_input(c, plain, n);
    if (c->closing) return;
    int shut = SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN;
    if (shut) conn_close(c);
    else conn_mark_dirty(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b) {
    struct conn *c = stream->data;
    if (n == 0 || c->closing) return;
    if (n < 0) {
        conn_close(c);
        return;
    }
    if (c->ssl) tls_input(c, b->base, (size_t)n);
    else plain_input(c, b->base, (size_t)n);
}

void http_stream_pause(struct http_request *req, bool paused) {
    struct request_ext *r = ext_of(req);
    if (r->closed) return;
    if (paused) uv_read_stop((uv_stream_t *)&r->conn->tcp);
    else uv_read_start((uv_stream_t *)&r->conn->tcp, alloc, on_read);
}

static void name_peer(struct conn *c) {
    struct sockaddr_storage ss;
    int len = sizeof(ss);
    char ip[INET6_ADDRSTRLEN] = "";
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&ss, &len) != 0) return;
    if (ss.ss_family == AF_INET) {
        uv_ip4_name((struct sockaddr_in *)&ss, ip, sizeof(ip));
        snprintf(c->peer, sizeof(c->peer), "%s:%d", ip, ntohs(((struct sockaddr_in *)&ss)->sin_port));
    } else {
        uv_ip6_name((struct sockaddr_in6 *)&ss, ip, sizeof(ip));
        snprintf(c->peer, sizeof(c->peer), "[%s]:%d", ip, ntohs(((struct sockaddr_in6 *)&ss)->sin6_port));
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    struct http_loop *hl = listener->data;
    if (status != 0) return;
    struct conn *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->hl = hl;
    uv_tcp_init(loop_uv(hl->loop), &c->tcp);
    c->tcp.data = c;
    c->next = hl->conns;
    if (hl->conns) hl->conns->prev = c;
    hl->conns = c;
    hl->conns_len++;
    atomic_fetch_add(&hl->server->conns, 1);
    c->last_active_s = c->idle_since_s = conn_now_s(c);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || hl->stopping) {
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    name_peer(c);
    if (hl->server->tls) {
        c->ssl = SSL_new(hl->server->tls);
        CHECK(c->ssl);
        SSL_set_bio(c->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        SSL_set_accept_state(c->ssl);
    } else begin_protocol(c, false);
    uv_read_start((uv_stream_t *)&c->tcp, alloc, on_read);
}

/* Once a second: what is idle, slow to ask or slow to take is closed. */
static void on_sweep(uv_timer_t *t) {
    struct http_loop *hl = t->data;
    for (struct conn *c = hl->conns, *next; c; c = next) {
        next = c->next;
        int64_t now = conn_now_s(c);
        if (c->closing) continue;
        bool idle = c->requests == 0 && now - MAX(c->idle_since_s, c->last_active_s) > HTTP_IDLE_TIMEOUT_S;
        bool slow_to_ask = c->requests == 0 && (c->mode == CONN_HANDSHAKE || c->header_bytes) && now - c->idle_since_s > HTTP_HEADER_TIMEOUT_S;
        bool body_stalled = c->mode == CONN_HTTP1 && c->current && !c->current->dispatched && now - c->last_active_s > HTTP_HEADER_TIMEOUT_S;
        bool stalled = c->write_stalled_s && now - c->write_stalled_s > HTTP_WRITE_STALL_S;
        if (idle || slow_to_ask || stalled || body_stalled || (hl->stopping && c->requests == 0)) conn_close(c);
    }
}

/* ---- the server ---- */

static int open_socket(struct http_server *s, struct status *reterr) {
    struct sockaddr_storage ss = {0};
    const char *host = s->options.bind_address ? s->options.bind_address : "127.0.0.1";
    bool v6 = strchr(host, ':') != NULL;
    int bad = v6 ? uv_ip6_addr(host, s->port, (struct sockaddr_in6 *)&ss) : uv_ip4_addr(host, s->port, (struct sockaddr_in *)&ss);
    if (bad) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "bind address \"%s\" is no IP address", host);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0) return status_errno(reterr, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (s->loops_len > 1) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (bind(fd, (struct sockaddr *)&ss, len) != 0) {
        char what[128];
        snprintf(what, sizeof(what), "listen on %s port %d", host, s->port);
        status_errno(reterr, what);
        close(fd);
        return -1;
    }
    len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) s->port = ntohs(v6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
    return fd;
}

static int start_loop(struct http_server *s, struct http_loop *hl, struct status *reterr) {
    hl->server = s;
    int fd = open_socket(s, reterr);
    if (fd < 0) return -1;
    hl->loop = loop_new();
    uv_loop_t *uv = loop_uv(hl->loop);
    uv_tcp_init(uv, &hl->listener);
    uv_prepare_init(uv, &hl->prepare);
    uv_check_init(uv, &hl->check);
    uv_timer_init(uv, &hl->sweep);
    hl->listener.data = hl->prepare.data = hl->check.data = hl->sweep.data = hl;
    CHECK(uv_tcp_open(&hl->listener, fd) == 0);
    uv_prepare_start(&hl->prepare, on_prepare);
    uv_check_start(&hl->check, on_check);
    uv_timer_start(&hl->sweep, on_sweep, 1000, 1000);
    int r = uv_listen((uv_stream_t *)&hl->listener, 1024, on_connection);
    if (r != 0) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "listen on port %d: %s", s->port, uv_strerror(r));
    return 0;
}

struct http_server *http_server_new(const struct http_server_options *options, struct status *reterr) {
    struct http_server *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->options = *options;
    s->port = options->port;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    s->loops_len = options->loops ? (size_t)options->loops : (size_t)MAX(cores, 1L);
    s->loops = calloc(s->loops_len, sizeof(*s->loops));
    CHECK(s->loops);
    if (options->cert_file) {
        s->tls = tls_server_context(options->cert_file, options->key_file, options->client_ca_file, reterr);
        if (!s->tls) goto fail;
    }
    for (size_t i = 0; i < s->loops_len; i++)
        if (start_loop(s, &s->loops[i], reterr) != 0) goto fail;
    for (size_t i = 0; i < s->loops_len; i++) loop_start(s->loops[i].loop);
    return s;
fail: /* nothing runs yet; the process is about to end, so the half-made loops are left to it */
    SSL_CTX_free(s->tls);
    free(s->loops);
    free(s);
    return NULL;
}

int http_server_port(const struct http_server *s) { return s->port; }
struct loop *http_server_loop(struct http_server *s, size_t i) { return s->loops[i % s->loops_len].loop; }

static void stop_accepting(void *arg) {
    struct http_loop *hl = arg;
    hl->stopping = true;
    uv_close((uv_handle_t *)&hl->listener, NULL);
    for (struct conn *c = hl->conns, *next; c; c = next) {
        next = c->next;
        if (c->requests == 0) conn_close(c);
        else if (c->mode == CONN_HTTP2) http2_goaway(c);
    }
}

static void close_all(void *arg) {
    struct http_loop *hl = arg;
    for (struct conn *c = hl->conns, *next; c; c = next) {
        next = c->next;
        conn_close(c);
    }
    uv_close((uv_handle_t *)&hl->prepare, NULL);
    uv_close((uv_handle_t *)&hl->check, NULL);
    uv_close((uv_handle_t *)&hl->sweep, NULL);
}

void http_server_free(struct http_server *s, int grace_ms) {
    if (!s) return;
    for (size_t i = 0; i < s->loops_len; i++) loop_post(s->loops[i].loop, stop_accepting, &s->loops[i]);
    for (int waited = 0; waited < grace_ms && atomic_load(&s->conns) > 0; waited += 10) env_sleep_ms(env_real(), 10);
    for (size_t i = 0; i < s->loops_len; i++) loop_post(s->loops[i].loop, close_all, &s->loops[i]);
    for (size_t i = 0; i < s->loops_len; i++) {
        loop_stop(s->loops[i].loop);
        loop_free(s->loops[i].loop);
    }
    SSL_CTX_free(s->tls);
    free(s->loops);
    free(s);
}

const char *http_code_text(int code) {
    static const struct { int code; const char *text; } texts[] = {
        {101, "Switching Protocols"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"}, {301, "Moved Permanently"}, {302, "Found"}, {304, "Not Modified"},
        {307, "Temporary Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"}, {406, "Not Acceptable"},
        {409, "Conflict"}, {410, "Gone"}, {413, "Request Entity Too Large"}, {415, "Unsupported Media Type"}, {422, "Unprocessable Entity"}, {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"}, {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].code == code) return texts[i].text;
    return "";
}
