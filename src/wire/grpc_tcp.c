/* TCP, with TLS or without, under the blocking gRPC client: see grpc.h. One connection belongs to one thread at a time; what the TLS library has buffered is handed out at
 * once, so that waiting for the socket is enough. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/env.h"
#include "wire/grpc.h"
#include "wire/upstream_tls.h"

struct target { char *host; int port, timeout_ms; struct upstream_tls *tls; };
struct tls_transport { struct grpc_transport base; SSL *ssl; }; /* ssl NULL: clear text */

static ssize_t again_or_broken(SSL *ssl, int rc) {
    int why = SSL_get_error(ssl, rc);
    if (why == SSL_ERROR_ZERO_RETURN) return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    ERR_clear_error();
    return -1;
}

static ssize_t tls_send(struct grpc_transport *t, const void *data, size_t len) {
    SSL *ssl = ((struct tls_transport *)t)->ssl;
    if (!ssl) return send(t->fd, data, len, MSG_NOSIGNAL);
    int n = SSL_write(ssl, data, (int)MIN(len, (size_t)1 << 20));
    return n > 0 ? n : again_or_broken(ssl, n);
}

/* As much as there is: the caller takes less than it asked for as "nothing more for now". */
static ssize_t tls_recv(struct grpc_transport *t, void *data, size_t len) {
    SSL *ssl = ((struct tls_transport *)t)->ssl;
    size_t got = 0;
    if (!ssl) return recv(t->fd, data, len, 0);
    while (got < len) {
        int n = SSL_read(ssl, (char *)data + got, (int)(len - got));
        if (n <= 0) return got ? (ssize_t)got : again_or_broken(ssl, n);
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static void tls_close(struct grpc_transport *t) {
    struct tls_transport *tls = (struct tls_transport *)t;
    if (tls->ssl) SSL_shutdown(tls->ssl);
    SSL_free(tls->ssl);
    close(t->fd);
    free(tls);
}

static bool wait_for(int fd, short events, int64_t until_ms) {
    int64_t left = until_ms - env_mono_ns(env_real()) / 1000000;
    struct pollfd p = {fd, events, 0};
    return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* A connected socket, or -1 with errno. */
static int connect_to(const struct addrinfo *a, int64_t until_ms) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, error = 0;
    socklen_t len = sizeof(error);
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return fd;
    error = errno;
    if (error == EINPROGRESS) {
        error = ETIMEDOUT;
        if (wait_for(fd, POLLOUT, until_ms)) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    }
    if (!error) return fd;
    close(fd);
    errno = error;
    return -1;
}

static const char *handshake(SSL *ssl, int fd, int64_t until_ms) {
    for (;;) {
        int rc = SSL_connect(ssl);
        if (rc == 1) return NULL;
        int why = SSL_get_error(ssl, rc);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) break;
        if (!wait_for(fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until_ms)) return "TLS handshake timeout";
    }
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return text ? text : "the TLS handshake was cut";
}

/* NULL, or what is wrong. */
static const char *begin_tls(const struct target *to, int fd, int64_t until_ms, SSL **ret) {
    SSL *ssl = *ret = upstream_tls_session(to->tls, to->host);
    SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h2", 3);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_fd(ssl, fd);
    return handshake(ssl, fd, until_ms);
}

static struct grpc_transport *fail(const struct target *to, const char *why, struct status *reterr) {
    status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial tcp %s:%d: %s\"", to->host, to->port, why);
    return NULL;
}

static struct grpc_transport *dial(void *ctx, struct status *reterr) {
    struct target *to = ctx;
    int64_t until_ms = env_mono_ns(env_real()) / 1000000 + to->timeout_ms;
    char port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int fd = -1;
    snprintf(port, sizeof(port), "%d", to->port);
    if (getaddrinfo(to->host, port, &hints, &found) != 0) return fail(to, "lookup: no such host", reterr);
    for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) fd = connect_to(a, until_ms);
    int error = errno;
    freeaddrinfo(found);
    if (fd < 0) return fail(to, strerror(error), reterr);
    SSL *ssl = NULL;
    const char *wrong = to->tls ? begin_tls(to, fd, until_ms, &ssl) : NULL;
    if (wrong) {
        SSL_free(ssl);
        close(fd);
        return fail(to, wrong, reterr);
    }
    struct tls_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    *t = (struct tls_transport){{fd, tls_send, tls_recv, tls_close}, ssl};
    return &t->base;
}

static void target_free(void *ctx) {
    struct target *t = ctx;
    upstream_tls_unref(t->tls);
    free(t->host);
    free(t);
}

struct grpc_client *grpc_client_new_tcp(const char *host, int port, struct upstream_tls *tls, int connect_timeout_ms) {
    struct target *t = calloc(1, sizeof(*t));
    char authority[300];
    CHECK(t);
    *t = (struct target){strdup(host), port, connect_timeout_ms, upstream_tls_ref(tls)};
    CHECK(t->host);
    snprintf(authority, sizeof(authority), strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
    return grpc_client_new_owning(dial, t, target_free, authority, tls ? "https" : "http");
}
