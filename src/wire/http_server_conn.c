/* One connection of the server: from accept through TLS to its protocol, its time limits, and its end. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "wire/http_conn.h"

static struct conn *of_sock(struct sock *s) { return (struct conn *)(void *)s; }

static void begin_protocol(struct conn *c, bool h2) {
    c->mode = h2 ? CONN_HTTP2 : CONN_HTTP1;
    if (!h2) http1_init(c);
    else if (http2_init(c) != 0) sock_close(&c->sock);
    if (h2) c->head_since_ms = 0;
}

/* On the server's side OpenSSL's chain lacks the peer's own certificate, the only one whose key the peer has shown to hold: it comes first here. */
static STACK_OF(X509) *whole_chain(X509 *own, STACK_OF(X509) *others) {
    STACK_OF(X509) *chain = sk_X509_new_null();
    CHECK(chain);
    X509_up_ref(own);
    sk_X509_push(chain, own);
    for (int i = 0; others && i < sk_X509_num(others); i++) {
        X509 *cert = sk_X509_value(others, i);
        if (X509_cmp(cert, own) == 0) continue;
        X509_up_ref(cert);
        sk_X509_push(chain, cert);
    }
    return chain;
}

static void on_open(struct sock *s) {
    struct conn *c = of_sock(s);
    const unsigned char *proto = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(s->ssl, &proto, &len);
    X509 *cert = SSL_get1_peer_certificate(s->ssl);
    if (cert) {
        c->peer_chain = whole_chain(cert, SSL_get_peer_cert_chain(s->ssl));
        c->peer_cert_invalid = SSL_get_verify_result(s->ssl) != X509_V_OK;
        if (c->peer_cert_invalid) X509_free(cert);
        else c->peer_cert = cert;
    }
    begin_protocol(c, len == 2 && memcmp(proto, "h2", 2) == 0);
}

/* HTTP/2 without TLS announces itself by its preface, of which no other request is a prefix. */
static bool is_preface(const char *data, size_t len) { return len >= 14 && memcmp(data, "PRI * HTTP/2.0", 14) == 0; }

static void on_data(struct sock *s, const char *data, size_t len) {
    struct conn *c = of_sock(s);
    if (c->mode == CONN_HANDSHAKE) begin_protocol(c, is_preface(data, len));
    switch (c->mode) {
        case CONN_HTTP1: http1_input(c, data, len); break;
        case CONN_HTTP2: http2_input(c, data, len); break;
        case CONN_RAW: http_stream_data(&c->stream, data, len); break;
        case CONN_HANDSHAKE: break;
    }
}

static void on_eof(struct sock *s) {
    struct conn *c = of_sock(s);
    if (c->mode == CONN_HTTP1) http1_eof(c);
    else if (c->mode == CONN_RAW) http_stream_eof(&c->stream);
    else sock_close(s);
}

static void on_room(struct sock *s) {
    struct conn *c = of_sock(s);
    if (c->mode == CONN_HTTP2) http2_fill(c);
    else if (c->mode == CONN_RAW) http_stream_room(&c->stream);
    else if (c->current) request_drained(c->current);
}

static void on_close(struct sock *s) {
    struct conn *c = of_sock(s);
    struct http_loop *hl = c->hl;
    if (c->mode == CONN_HTTP2) http2_release(c);
    else http1_release(c);
    if (c->mode == CONN_RAW) http_stream_closed(&c->stream);
    request_upgrade_ended(c);
    if (c->prev) c->prev->next = c->next;
    else hl->conns = c->next;
    if (c->next) c->next->prev = c->prev;
    X509_free(c->peer_cert);
    sk_X509_pop_free(c->peer_chain, X509_free);
    c->gone = true;
    if (c->handlers == 0) free(c);
    atomic_fetch_sub(&hl->conns_len, 1);
    atomic_fetch_sub(&hl->server->conns, 1);
}

const struct sock_handler conn_sock_handler = {on_open, on_data, on_eof, on_room, on_close};

static void name_peer(struct conn *c, const struct sockaddr_storage *peer) {
    char ip[INET6_ADDRSTRLEN] = "";
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *a = (const void *)peer;
        uv_ip4_name(a, ip, sizeof(ip));
        snprintf(c->peer, sizeof(c->peer), "%s:%d", ip, ntohs(a->sin_port));
        return;
    }
    const struct sockaddr_in6 *a = (const void *)peer;
    if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr)) {
        inet_ntop(AF_INET, &a->sin6_addr.s6_addr[12], ip, sizeof(ip));
        snprintf(c->peer, sizeof(c->peer), "%s:%d", ip, ntohs(a->sin6_port));
    } else {
        uv_ip6_name(a, ip, sizeof(ip));
        snprintf(c->peer, sizeof(c->peer), "[%s]:%d", ip, ntohs(a->sin6_port));
    }
}

static SSL *new_session(struct http_server *s) {
    pthread_mutex_lock(&s->tls_mutex);
    SSL *ssl = s->tls ? SSL_new(s->tls) : NULL;
    CHECK(ssl || !s->tls);
    pthread_mutex_unlock(&s->tls_mutex);
    if (ssl) SSL_set_accept_state(ssl);
    return ssl;
}

void conn_accept(struct http_loop *hl, int fd, const struct sockaddr_storage *peer) {
    struct conn *c = calloc(1, sizeof(*c));
    CHECK(c);
    SSL *ssl = hl->stopping ? NULL : new_session(hl->server);
    if (hl->stopping || sock_init(&c->sock, fd, ssl, false, &conn_sock_handler) != 0) {
        SSL_free(ssl);
        close(fd);
        free(c);
        atomic_fetch_sub(&hl->conns_len, 1);
        atomic_fetch_sub(&hl->server->conns, 1);
        return;
    }
    c->hl = hl;
    c->next = hl->conns;
    if (hl->conns) hl->conns->prev = c;
    hl->conns = c;
    c->head_since_ms = c->idle_since_ms = MAX(conn_now_ms(c), (int64_t)1);
    name_peer(c, peer);
}

void conn_finish(struct conn *c) {
    c->finishing = true;
    sock_finish(&c->sock, HTTP_LINGER_MS);
}

static bool passed(int64_t since_ms, int64_t now_ms, int timeout_ms) { return since_ms && now_ms - since_ms > timeout_ms; }

void conn_sweep(struct http_loop *hl) {
    const struct http_server_options *o = &hl->server->options;
    for (struct conn *c = hl->conns; c; c = c->next) {
        int64_t now = conn_now_ms(c);
        sock_sweep(&c->sock);
        if (c->sock.closing || c->mode == CONN_RAW) continue;
        bool slow = passed(c->head_since_ms, now, o->header_timeout_ms) || passed(c->body_since_ms, now, o->body_timeout_ms);
        bool stalled = passed(c->sock.stalled_since_ms, now, o->stall_timeout_ms);
        bool idle = c->requests == 0 && !c->head_since_ms && !c->body_since_ms && (passed(c->idle_since_ms, now, o->idle_timeout_ms) || hl->stopping);
        if (slow || stalled) sock_close(&c->sock);
        else if (c->mode == CONN_HTTP2) http2_sweep(c, now);
        if (!idle || c->sock.closing || c->finishing) continue;
        if (c->mode == CONN_HTTP2) http2_goaway(c);
        conn_finish(c);
    }
}
