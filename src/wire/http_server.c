/* The server's life: its socket, its loops, and the spreading of connections over them. Connections: http_server_conn.c; requests: http_server_request.c;
 * the protocols: http1.c and http2.c. Each connection belongs to one loop's thread. */
#include "wire/http_server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/log.h"
#include "wire/http_conn.h"

enum { ACCEPTS_MAX = 64 /* in one turn */ };

static int open_socket(struct http_server *s, struct status *reterr) {
    struct sockaddr_storage ss = {0};
    const char *host = s->options.bind_address ? s->options.bind_address : "127.0.0.1";
    bool v6 = strchr(host, ':') != NULL;
    int bad = v6 ? uv_ip6_addr(host, s->options.port, (struct sockaddr_in6 *)&ss) : uv_ip4_addr(host, s->options.port, (struct sockaddr_in *)&ss);
    if (bad) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "bind address \"%s\" is no IP address", host);
    int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0;
    if (fd < 0) return status_errno(reterr, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* accepted sockets inherit it */
    if (v6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (bind(fd, (struct sockaddr *)&ss, len) != 0 || listen(fd, 4096) != 0) {
        char what[128];
        snprintf(what, sizeof(what), "listen on %s port %d", host, s->options.port);
        status_errno(reterr, what);
        close(fd);
        return -1;
    }
    len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
        s->port = ntohs(v6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
    return fd;
}

/* ---- accepting ---- */

struct handover {
    struct http_loop *hl;
    int fd;
    struct sockaddr_storage peer;
};

static void take_over(void *arg) {
    struct handover *h = arg;
    conn_accept(h->hl, h->fd, &h->peer);
    free(h);
}

static struct http_loop *least_loaded(struct http_server *s) {
    struct http_loop *best = &s->loops[0];
    for (size_t i = 1; i < s->loops_len; i++)
        if (atomic_load(&s->loops[i].conns_len) < atomic_load(&best->conns_len)) best = &s->loops[i];
    return best;
}

static void on_listener(uv_poll_t *poll, int status UNUSED, int events UNUSED) {
    struct http_server *s = poll->data;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(s->listen_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
        if (fd < 0) {
            if (errno != EAGAIN) uv_poll_stop(poll); /* no descriptors left: the sweep tries again */
            return;
        }
        if (s->options.conns_max && atomic_load(&s->conns) >= s->options.conns_max) {
            close(fd);
            continue;
        }
        struct http_loop *hl = least_loaded(s);
        atomic_fetch_add(&hl->conns_len, 1);
        atomic_fetch_add(&s->conns, 1);
        if (hl == &s->loops[0]) {
            conn_accept(hl, fd, &peer);
            continue;
        }
        struct handover *h = malloc(sizeof(*h));
        CHECK(h);
        *h = (struct handover){hl, fd, peer};
        loop_post(hl->loop, take_over, h);
    }
}

static void on_sweep(void *arg) {
    struct http_loop *hl = arg;
    struct http_server *s = hl->server;
    conn_sweep(hl);
    if (hl == &s->loops[0] && s->listening) uv_poll_start(&s->listener, UV_READABLE, on_listener);
}

static void begin_loop(void *arg) {
    struct http_loop *hl = arg;
    struct http_server *s = hl->server;
    hl->sweep = loop_timer_new(on_sweep, hl);
    loop_timer_start(hl->sweep, 1000, 1000);
    if (hl != &s->loops[0]) return;
    CHECK(uv_poll_init(loop_uv(hl->loop), &s->listener, s->listen_fd) == 0);
    s->listener.data = s;
    s->listening = true;
    uv_poll_start(&s->listener, UV_READABLE, on_listener);
}

/* ---- life ---- */

static void set_defaults(struct http_server_options *o) {
    if (!o->header_bytes_max) o->header_bytes_max = 1 << 20;
    if (!o->header_timeout_ms) o->header_timeout_ms = 32000;
    if (!o->body_timeout_ms) o->body_timeout_ms = 60000;
    if (!o->idle_timeout_ms) o->idle_timeout_ms = 90000;
    if (!o->stall_timeout_ms) o->stall_timeout_ms = 60000;
}

/* Go's clients show their certificate only to a server that names its authority. */
static void name_more_authorities(const struct http_server *s, SSL_CTX *tls) {
    if (tls && s->options.more_client_ca_names_file) SSL_add_file_cert_subjects_to_stack(SSL_CTX_get_client_CA_list(tls), s->options.more_client_ca_names_file);
}

struct http_server *http_server_new(const struct http_server_options *options, struct status *reterr) {
    struct http_server *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->options = *options;
    set_defaults(&s->options);
    if (options->cert_file) s->tls = tls_server_context(options->cert_file, options->key_file, options->client_ca_file, reterr);
    name_more_authorities(s, s->tls);
    s->listen_fd = options->cert_file && !s->tls ? -1 : open_socket(s, reterr);
    if (s->listen_fd < 0) {
        SSL_CTX_free(s->tls);
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->tls_mutex, NULL);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    s->loops_len = options->loops ? (size_t)options->loops : (size_t)MAX(cores, 1L);
    s->loops = calloc(s->loops_len, sizeof(*s->loops));
    CHECK(s->loops);
    for (size_t i = 0; i < s->loops_len; i++) {
        s->loops[i].server = s;
        s->loops[i].loop = loop_new();
        loop_post(s->loops[i].loop, begin_loop, &s->loops[i]);
    }
    for (size_t i = 0; i < s->loops_len; i++) loop_start(s->loops[i].loop);
    return s;
}

int http_server_port(const struct http_server *s) { return s->port; }
struct loop *http_server_loop(struct http_server *s, size_t i) { return s->loops[i % s->loops_len].loop; }

int http_server_reload_tls(struct http_server *s, const char *cert_file, const char *key_file, const char *client_ca_file, struct status *reterr) {
    SSL_CTX *fresh = tls_server_context(cert_file, key_file, client_ca_file, reterr);
    if (!fresh) return -1;
    name_more_authorities(s, fresh);
    pthread_mutex_lock(&s->tls_mutex);
    SSL_CTX *old = s->tls;
    s->tls = fresh;
    pthread_mutex_unlock(&s->tls_mutex);
    SSL_CTX_free(old); /* sessions that use it hold it */
    return 0;
}

static void stop_accepting(void *arg) {
    struct http_loop *hl = arg;
    struct http_server *s = hl->server;
    hl->stopping = true;
    if (hl == &s->loops[0]) {
        s->listening = false;
        uv_close((uv_handle_t *)&s->listener, NULL);
        close(s->listen_fd);
    }
    for (struct conn *c = hl->conns; c; c = c->next) {
        if (c->mode == CONN_HTTP2) http2_goaway(c);
        if (c->requests == 0) conn_finish(c);
    }
}

static void close_all(void *arg) {
    struct http_loop *hl = arg;
    for (struct conn *c = hl->conns; c; c = c->next) sock_close(&c->sock);
    local_close_all(hl);
    loop_timer_free(hl->sweep);
    hl->sweep = NULL;
}

void http_server_free(struct http_server *s, int grace_ms) {
    enum { STEP_MS = 2, HANDLERS_MS = 5000 };
    if (!s) return;
    for (size_t i = 0; i < s->loops_len; i++) loop_post(s->loops[i].loop, stop_accepting, &s->loops[i]);
    for (int waited = 0; waited < grace_ms && (atomic_load(&s->conns) || atomic_load(&s->handlers)); waited += STEP_MS) env_sleep_ms(env_real(), STEP_MS);
    for (size_t i = 0; i < s->loops_len; i++) loop_post(s->loops[i].loop, close_all, &s->loops[i]);
    for (int waited = 0; waited < HANDLERS_MS && (atomic_load(&s->conns) || atomic_load(&s->handlers)); waited += STEP_MS) env_sleep_ms(env_real(), STEP_MS);
    if (atomic_load(&s->handlers)) log_warning("HTTP server stopped with %zu requests still being handled", atomic_load(&s->handlers));
    for (size_t i = 0; i < s->loops_len; i++) {
        loop_stop(s->loops[i].loop);
        loop_free(s->loops[i].loop);
    }
    SSL_CTX_free(s->tls);
    pthread_mutex_destroy(&s->tls_mutex);
    free(s->loops);
    free(s);
}
