/* A request's life, and the answering of it: what is the same in HTTP/1.1 and HTTP/2. */
#include <string.h>
#include "base/fiber.h"
#include "wire/http_conn.h"

enum { REQUEST_BYTES = 3072 }; /* what a watch needs, which may stay for long */

struct request_ext *request_new(struct conn *c) {
    struct arena *a = arena_new_sized(REQUEST_BYTES);
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
    if (c->peer_chain) r->pub.peer_chain = X509_chain_up_ref(c->peer_chain);
    r->pub.peer_cert_invalid = c->peer_cert_invalid;
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
    sk_X509_pop_free(r->pub.peer_chain, X509_free);
    buf_release(&r->body);
    outq_release(&r->out);
    arena_free(r->pub.arena);
}

bool http_request_closed(const struct http_request *req) {
    const struct request_ext *r = ext_of(req);
    return r->closed || (!r->local && r->conn->sock.closing);
}

void http_request_on_close(struct http_request *req, void (*fn)(void *), void *arg) {
    ext_of(req)->on_close = fn;
    ext_of(req)->on_close_arg = arg;
}

static void wake_drain_waiter(struct request_ext *r) {
    struct fiber *f = r->drain_waiter;
    r->drain_waiter = NULL;
    if (f) fiber_wake(f);
}

static void tell_end(struct request_ext *r) {
    if (r->server && r->server->options.on_end) r->server->options.on_end(&r->pub);
}

void request_upgrade_ended(struct conn *c) {
    if (!c->upgraded) return;
    tell_end(c->upgraded);
    http_request_unref(&c->upgraded->pub);
    c->upgraded = NULL;
}

void request_finished(struct request_ext *r) {
    if (r->closed) return;
    r->closed = true;
    if (r->streaming) tell_end(r);
    struct conn *c = r->conn;
    if (r->local) local_gone(r);
    else if (r->dispatched && --c->requests == 0) c->idle_since_ms = MAX(conn_now_ms(c), (int64_t)1);
    r->conn = NULL;
    bool complete = r->ended || (r->responded && !r->streaming);
    if (!complete && r->on_close) r->on_close(r->on_close_arg);
    wake_drain_waiter(r);
    http_request_unref(&r->pub);
}

void request_add_header(struct request_ext *r, const char *name, size_t name_len, const char *value, size_t value_len) {
    char *text = arena_alloc(r->pub.arena, name_len + value_len + 2);
    memcpy(text, name, name_len);
    memcpy(text + name_len + 1, value, value_len);
    *LIST_PUSH(r->pub.arena, &r->headers) = (struct http_header){text, text + name_len + 1};
}

bool request_length_allowed(struct request_ext *r, unsigned long long len) {
    size_t max = conn_options(r->conn)->body_bytes_max;
    if (max && len > max) r->pub.body_too_large = true;
    return !r->pub.body_too_large;
}

int request_take_body(struct request_ext *r, const char *data, size_t len) {
    if (r->pub.body_too_large) return -1;
    if (!request_length_allowed(r, (unsigned long long)r->body.len + len)) {
        buf_release(&r->body);
        return -1;
    }
    buf_append(&r->body, data, len);
    return 0;
}

static void run_handler(void *arg) {
    struct request_ext *r = arg;
    struct conn *c = r->home;
    struct http_server *s = r->local ? r->local_loop->server : c->hl->server;
    if (!r->closed) s->options.handler(&r->pub, s->options.ctx);
    if (!r->responded && !r->closed) http_respond(&r->pub, 500, NULL, 0, NULL, 0);
    http_request_unref(&r->pub);
    if (c && --c->handlers == 0 && c->gone) free(c);
    atomic_fetch_sub(&s->handlers, 1);
}

void request_dispatch(struct request_ext *r) {
    struct conn *c = r->conn;
    if (r->dispatched) return;
    r->dispatched = true;
    if (c) {
        c->requests++;
        c->handlers++;
        r->home = c;
    }
    r->pub.headers = r->headers.items;
    r->pub.headers_len = r->headers.len;
    r->pub.body = buf_cstr(&r->body);
    r->pub.body_len = r->body.len;
    char *query = strchr(r->pub.path, '?');
    if (query) {
        *query = 0;
        r->pub.query = query + 1;
    }
    r->server = (c ? c->hl : r->local_loop)->server;
    atomic_fetch_add(&r->server->handlers, 1);
    http_request_ref(&r->pub);
    fiber_spawn(run_handler, r);
}

const char *http_request_header(const struct http_request *req, const char *name) { return http_headers_get(req->headers, req->headers_len, name); }

/* ---- answers ---- */

static void answer(struct http_request *req, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body,
    size_t body_len, bool stream) {
    struct request_ext *r = ext_of(req);
    CHECK(!r->responded);
    r->responded = true;
    r->streaming = stream;
    if (r->server && r->server->options.on_answer) r->server->options.on_answer(req, code, headers, headers_len, body, body_len, stream);
    if (stream && r->closed) tell_end(r); /* before it began */
    if (http_request_closed(req)) return;
    if (r->local) local_answer(r, code, body, body_len, stream);
    else if (r->conn->mode == CONN_HTTP2) http2_respond(r, code, headers, headers_len, body, body_len, stream);
    else http1_respond(r, code, headers, headers_len, body, body_len, stream);
}

void http_respond(struct http_request *req, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len) {
    answer(req, code, headers, headers_len, body, body_len, false);
}

void http_response_begin(struct http_request *req, int code, const struct http_header *headers, size_t headers_len) {
    answer(req, code, headers, headers_len, NULL, 0, true);
}

/* What this request alone waits for: on HTTP/2 the bytes not yet framed, since the connection's queue is short and shared. */
static size_t waiting_bytes(const struct request_ext *r) {
    if (r->closed) return 0;
    if (r->local) return local_backlog_bytes((struct request_ext *)(uintptr_t)r);
    return r->conn->mode == CONN_HTTP2 ? r->out.bytes : sock_backlog_bytes(&r->conn->sock);
}

static void write_body(struct http_request *req, const void *data, size_t len, struct shared *block) {
    struct request_ext *r = ext_of(req);
    CHECK(r->streaming && !r->ended);
    if (http_request_closed(req) || len == 0 || r->head_only) return;
    if (r->local) local_write(r, block ? shared_data(block) : data, block ? shared_len(block) : len);
    else if (r->conn->mode == CONN_HTTP2) http2_write(r, data, len, block);
    else http1_write(r, data, len, block);
    if (r->on_drain && waiting_bytes(r) > r->drain_low) r->drain_armed = true;
}

void http_response_write(struct http_request *req, const void *data, size_t len) { write_body(req, data, len, NULL); }
void http_response_write_shared(struct http_request *req, struct shared *block) { write_body(req, shared_data(block), shared_len(block), block); }

void http_response_flush(struct http_request *req) {
    struct request_ext *r = ext_of(req);
    if (!http_request_closed(req) && !r->local) sock_flush_now(&r->conn->sock);
}

void http_response_end(struct http_request *req) {
    struct request_ext *r = ext_of(req);
    if (r->ended) return;
    r->ended = true;
    if (http_request_closed(req)) return;
    if (r->local) local_end(r);
    else if (r->conn->mode == CONN_HTTP2) http2_end(r);
    else http1_end(r);
}

size_t http_response_backlog_bytes(const struct http_request *req) {
    const struct request_ext *r = ext_of(req);
    if (http_request_closed(req)) return 0;
    return r->local ? waiting_bytes(r) : r->out.bytes + sock_backlog_bytes(&r->conn->sock);
}

void http_response_on_drain(struct http_request *req, size_t low_bytes, void (*fn)(void *), void *arg) {
    struct request_ext *r = ext_of(req);
    r->on_drain = fn;
    r->on_drain_arg = arg;
    r->drain_low = low_bytes;
    r->drain_armed = waiting_bytes(r) > low_bytes;
}

static void tell_drained(void *arg) {
    struct request_ext *r = arg;
    if (!r->closed && r->on_drain) r->on_drain(r->on_drain_arg);
    http_request_unref(&r->pub);
}

void request_drained(struct request_ext *r) {
    wake_drain_waiter(r); /* it looks for itself */
    if (!r->drain_armed || waiting_bytes(r) > r->drain_low) return;
    r->drain_armed = false;
    http_request_ref(&r->pub);
    loop_post(r->pub.loop, tell_drained, r); /* not from within the protocol's own callbacks */
}

int http_response_wait(struct http_request *req, size_t max_bytes) {
    struct request_ext *r = ext_of(req);
    CHECK(!r->drain_waiter);
    while (!http_request_closed(req) && waiting_bytes(r) > max_bytes) {
        r->drain_waiter = fiber_current();
        fiber_suspend();
    }
    return http_request_closed(req) ? -1 : 0;
}

void http_request_abort(struct http_request *req) {
    struct request_ext *r = ext_of(req);
    if (http_request_closed(req)) return;
    if (r->local) request_finished(r);
    else if (r->conn->mode == CONN_HTTP2) http2_abort(r);
    else sock_close(&r->conn->sock);
}

struct http_stream *http_upgrade(struct http_request *req, const struct http_header *headers, size_t headers_len, struct status *reterr) {
    struct request_ext *r = ext_of(req);
    if (http_request_closed(req)) {
        status_set(reterr, 500, REASON_INTERNAL_ERROR, "the client has gone");
        return NULL;
    }
    struct conn *c = r->conn;
    if (!c || !req->upgrade || c->mode != CONN_HTTP1) {
        status_bad_request(reterr, "the request cannot be upgraded");
        return NULL;
    }
    CHECK(!r->responded);
    r->responded = r->ended = true;
    if (r->server && r->server->options.on_answer) r->server->options.on_answer(req, 101, headers, headers_len, NULL, 0, true);
    if (r->server && r->server->options.on_end) {
        http_request_ref(req);
        c->upgraded = r;
    }
    http1_respond(r, 101, headers, headers_len, NULL, 0, true);
    c->mode = CONN_RAW;
    c->current = NULL;
    sock_pause(&c->sock, true);
    http_stream_init(&c->stream, &c->sock, c->in.data, c->in.len);
    buf_release(&c->in);
    c->requests++; /* the stream's own, so that a graceful stop waits for it */
    request_finished(r);
    return &c->stream;
}
