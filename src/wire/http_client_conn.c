/* http_client's connections: name look-up, connecting, TLS, and reads and writes with a deadline and a cancel. */
#include "wire/http_client_conn.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/env.h"
#include "base/str.h"

static int fail_timeout(struct status *reterr) { return status_set(reterr, 504, REASON_TIMEOUT, "context deadline exceeded"); }
static int fail_cancelled(struct status *reterr) { return status_set(reterr, 499, NULL, "context canceled"); }

/* "read tcp 10.0.0.1:5->10.0.0.2:80: read: connection reset by peer"; Go spells errors in lower case. */
static int fail_io(const struct client_conn *c, const char *op, int err, struct status *reterr) {
    char text[96];
    snprintf(text, sizeof(text), "%s", strerror(err));
    if (text[0] >= 'A' && text[0] <= 'Z') text[0] = (char)(text[0] + 32);
    return status_set(reterr, 502, NULL, "%s tcp %s->%s: %s: %s", op, c->local, c->remote, op, text);
}

void http_cancel_init(struct http_cancel *c) {
    pthread_mutex_init(&c->mutex, NULL);
    c->fd = -1;
    c->fired = c->sent = false;
}

void http_cancel_release(struct http_cancel *c) { pthread_mutex_destroy(&c->mutex); }

void http_cancel_fire(struct http_cancel *c) {
    pthread_mutex_lock(&c->mutex);
    c->fired = true;
    if (c->fd >= 0) shutdown(c->fd, SHUT_RDWR); /* wakes whoever polls it; closing it is its owner's */
    pthread_mutex_unlock(&c->mutex);
}

bool http_cancel_fired(struct http_cancel *c) {
    pthread_mutex_lock(&c->mutex);
    bool fired = c->fired;
    pthread_mutex_unlock(&c->mutex);
    return fired;
}

int client_conn_attach(struct client_conn *c, struct http_cancel *cancel, struct status *reterr) {
    if (c->cancel) {
        pthread_mutex_lock(&c->cancel->mutex);
        c->cancel->fd = -1;
        pthread_mutex_unlock(&c->cancel->mutex);
    }
    c->cancel = cancel;
    if (!cancel) return 0;
    pthread_mutex_lock(&cancel->mutex);
    bool fired = cancel->fired;
    cancel->fd = c->fd;
    pthread_mutex_unlock(&cancel->mutex);
    return fired ? fail_cancelled(reterr) : 0;
}

/* Waits until the socket is ready. 0, or -1 with a status. */
static int wait_ready(struct client_conn *c, short events, int64_t deadline_ns, struct status *reterr) {
    for (;;) {
        if (c->cancel && http_cancel_fired(c->cancel)) return fail_cancelled(reterr);
        int timeout = -1;
        if (deadline_ns >= 0) {
            int64_t left_ns = deadline_ns - env_mono_ns(env_real());
            if (left_ns <= 0) return fail_timeout(reterr);
            timeout = (int)MIN(left_ns / 1000000 + 1, 3600000);
        }
        struct pollfd p = {c->fd, events, 0};
        int n = poll(&p, 1, timeout);
        if (n > 0) return c->cancel && http_cancel_fired(c->cancel) ? fail_cancelled(reterr) : 0;
        if (n < 0 && errno != EINTR) return fail_io(c, "read", errno, reterr);
    }
}

/* ---- TLS ---- */

static int tls_fail(struct status *reterr, const char *what) {
    char text[256];
    unsigned long e = ERR_get_error();
    ERR_clear_error();
    ERR_error_string_n(e, text, sizeof(text));
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s: %s", what, text);
}

static int add_roots_pem(SSL_CTX *ctx, const char *pem, struct status *reterr) {
    BIO *bio = BIO_new_mem_buf(pem, -1);
    CHECK(bio);
    int added = 0;
    for (X509 *cert; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)); added++) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    return added ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "unable to load root certificates: unable to parse bytes as PEM block");
}

static int use_cert_pem(SSL_CTX *ctx, const char *cert_pem, const char *key_pem, struct status *reterr) {
    BIO *bio = BIO_new_mem_buf(cert_pem, -1), *key_bio = BIO_new_mem_buf(str_or(key_pem, cert_pem), -1);
    CHECK(bio && key_bio);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
    int failed = 0;
    if (!cert || !key || SSL_CTX_use_certificate(ctx, cert) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1) failed = tls_fail(reterr, "reading client certificate");
    for (X509 *more; !failed && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL));) SSL_CTX_add0_chain_cert(ctx, more);
    X509_free(cert);
    EVP_PKEY_free(key);
    BIO_free(bio);
    BIO_free(key_bio);
    ERR_clear_error();
    return failed;
}

static int configure_tls(SSL_CTX *ctx, const struct http_client_options *o, struct status *reterr) {
    if (o->insecure) SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    else {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (!str_empty(o->ca_pem)) {
            if (add_roots_pem(ctx, o->ca_pem, reterr) != 0) return -1;
        } else if (!str_empty(o->ca_file)) {
            if (SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL) != 1) return tls_fail(reterr, o->ca_file);
        } else {
            SSL_CTX_set_default_verify_paths(ctx);
        }
    }
    if (!str_empty(o->cert_pem)) return use_cert_pem(ctx, o->cert_pem, o->key_pem, reterr);
    if (str_empty(o->cert_file)) return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1) return tls_fail(reterr, o->cert_file);
    const char *key_file = str_or(o->key_file, o->cert_file);
    return SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) == 1 ? 0 : tls_fail(reterr, key_file);
}

SSL_CTX *client_tls_context(const struct http_client_options *o, struct status *reterr) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CHECK(ctx);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    /* Go's client takes an end without close_notify as an end; truncation is found by HTTP's own framing. */
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x08http/1.1", 9);
    if (configure_tls(ctx, o, reterr) == 0) return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* A socket BIO whose writes cannot raise SIGPIPE. */
static int bio_write(BIO *b, const char *data, int len) {
    BIO_clear_retry_flags(b);
    int n = (int)send((int)(intptr_t)BIO_get_data(b), data, (size_t)len, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(b);
    return n;
}

static int bio_read(BIO *b, char *to, int len) {
    BIO_clear_retry_flags(b);
    int n = (int)recv((int)(intptr_t)BIO_get_data(b), to, (size_t)len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(b);
    if (n == 0) BIO_set_flags(b, BIO_FLAGS_IN_EOF);
    return n;
}

static long bio_ctrl(BIO *b, int cmd, long num UNUSED, void *ptr UNUSED) {
    if (cmd == BIO_CTRL_EOF) return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
    return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_free_method(void) { BIO_meth_free(bio_method); }

static void bio_make_method(void) {
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ckube socket");
    CHECK(bio_method);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
    atexit(bio_free_method);
}

/* Why the server's certificate was refused, in the words of Go's crypto/x509 where there are such. */
static int fail_verify(SSL *ssl, const char *name, struct status *reterr) {
    long v = SSL_get_verify_result(ssl);
    const char *why = X509_verify_cert_error_string(v);
    if (v == X509_V_ERR_CERT_HAS_EXPIRED || v == X509_V_ERR_CERT_NOT_YET_VALID) why = "x509: certificate has expired or is not yet valid";
    else if (v == X509_V_ERR_HOSTNAME_MISMATCH || v == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return status_set(reterr, 502, NULL, "tls: failed to verify certificate: x509: certificate is not valid for %s", name);
    else why = "x509: certificate signed by unknown authority";
    return status_set(reterr, 502, NULL, "tls: failed to verify certificate: %s", why);
}

static int handshake(struct client_conn *c, const char *name, int64_t deadline_ns, struct status *reterr) {
    for (;;) {
        ERR_clear_error();
        int n = SSL_connect(c->ssl);
        if (n == 1) return 0;
        int e = SSL_get_error(c->ssl, n);
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
            if (wait_ready(c, e == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_ns, reterr) != 0) return -1;
            continue;
        }
        if (SSL_get_verify_result(c->ssl) != X509_V_OK && SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE) return fail_verify(c->ssl, name, reterr);
        unsigned long code = ERR_peek_error();
        if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) return status_set(reterr, 502, NULL, "tls: first record does not look like a TLS handshake");
        if (e == SSL_ERROR_SSL && code) return status_set(reterr, 502, NULL, "remote error: tls: %s", str_or(ERR_reason_error_string(code), "handshake failure"));
        return errno && e == SSL_ERROR_SYSCALL ? fail_io(c, "read", errno, reterr) : status_set(reterr, 502, NULL, "EOF");
    }
}

static int start_tls(struct client_conn *c, const struct http_client_options *o, SSL_CTX *tls, int64_t deadline_ns, struct status *reterr) {
    pthread_once(&bio_once, bio_make_method);
    const char *name = str_or(o->server_name, o->host);
    c->ssl = SSL_new(tls);
    BIO *bio = BIO_new(bio_method);
    CHECK(c->ssl && bio);
    BIO_set_data(bio, (void *)(intptr_t)c->fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    unsigned char address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), name);
    } else {
        SSL_set_tlsext_host_name(c->ssl, name);
        SSL_set1_host(c->ssl, name);
    }
    return handshake(c, name, deadline_ns, reterr);
}

/* ---- connecting ---- */

static void print_address(const struct sockaddr *sa, char *out, size_t size) {
    char ip[INET6_ADDRSTRLEN] = "";
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)sa;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
        snprintf(out, size, "%s:%d", ip, ntohs(in->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)sa;
        inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof(ip));
        snprintf(out, size, "[%s]:%d", ip, ntohs(in->sin6_port));
    } else {
        snprintf(out, size, "%.40s", ((const struct sockaddr_un *)(const void *)sa)->sun_path);
    }
}

static int fail_dial(const char *network, const char *address, int err, struct status *reterr) {
    char text[96];
    snprintf(text, sizeof(text), "%s", strerror(err));
    if (text[0] >= 'A' && text[0] <= 'Z') text[0] = (char)(text[0] + 32);
    return status_set(reterr, err == ECONNREFUSED ? 503 : 502, NULL, "dial %s %s: connect: %s", network, address, text);
}

/* One address. On failure the socket is closed and c->fd is -1. */
static int connect_address(struct client_conn *c, const struct sockaddr *sa, socklen_t len, struct http_cancel *cancel, int64_t deadline_ns, struct status *reterr) {
    const char *network = sa->sa_family == AF_UNIX ? "unix" : "tcp";
    print_address(sa, c->remote, sizeof(c->remote));
    c->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0) return status_set(reterr, 502, NULL, "dial %s %s: socket: %s", network, c->remote, strerror(errno));
    int on = 1, err = 0;
    if (sa->sa_family != AF_UNIX) {
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* a watch must notice a server that has vanished */
        int idle_s = 15, interval_s = 15, probes = 4;
        setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
        setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
        setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    }
    struct status waited = STATUS_INIT;
    int failed = client_conn_attach(c, cancel, &waited);
    if (!failed && connect(c->fd, sa, len) != 0) {
        err = errno;
        if (err == EINPROGRESS) {
            socklen_t err_len = sizeof(err);
            failed = wait_ready(c, POLLOUT, deadline_ns, &waited);
            if (!failed) getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &err_len);
        }
    }
    if (!failed && err == 0) {
        struct sockaddr_storage own = {0};
        socklen_t own_len = sizeof(own);
        if (getsockname(c->fd, (struct sockaddr *)&own, &own_len) == 0) print_address((struct sockaddr *)&own, c->local, sizeof(c->local));
        return 0;
    }
    if (!failed) fail_dial(network, c->remote, err, reterr);
    else if (waited.code == 499) status_copy(reterr, &waited);
    else status_set(reterr, 504, REASON_TIMEOUT, "dial %s %s: i/o timeout", network, c->remote);
    status_release(&waited);
    client_conn_attach(c, NULL, NULL);
    close(c->fd);
    c->fd = -1;
    return -1;
}

static int connect_unix(struct client_conn *c, const struct http_client_options *o, struct http_cancel *cancel, int64_t deadline_ns, struct status *reterr) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(o->unix_path) >= sizeof(sa.sun_path)) return status_set(reterr, 502, NULL, "dial unix %s: connect: invalid argument", o->unix_path);
    memcpy(sa.sun_path, o->unix_path, strlen(o->unix_path) + 1);
    return connect_address(c, (struct sockaddr *)&sa, sizeof(sa), cancel, deadline_ns, reterr);
}

static int connect_tcp(struct client_conn *c, const struct http_client_options *o, struct http_cancel *cancel, int64_t deadline_ns, struct status *reterr) {
    char port[16];
    snprintf(port, sizeof(port), "%d", o->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    int e = getaddrinfo(o->host, port, &hints, &list);
    if (e != 0) {
        const char *why = e == EAI_NONAME ? "no such host" : gai_strerror(e);
        return status_set(reterr, 502, NULL, "dial tcp: lookup %s: %s", o->host, why);
    }
    int failed = -1;
    for (struct addrinfo *ai = list; ai && failed; ai = ai->ai_next) {
        failed = connect_address(c, ai->ai_addr, ai->ai_addrlen, cancel, deadline_ns, reterr);
        if (failed && ((cancel && http_cancel_fired(cancel)) || (deadline_ns >= 0 && env_mono_ns(env_real()) >= deadline_ns))) break;
    }
    freeaddrinfo(list);
    return failed;
}

struct client_conn *client_conn_open(const struct http_client_options *o, SSL_CTX *tls, struct http_cancel *cancel, int64_t deadline_ns, struct status *reterr) {
    struct client_conn *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->fd = -1;
    int failed = o->unix_path ? connect_unix(c, o, cancel, deadline_ns, reterr) : connect_tcp(c, o, cancel, deadline_ns, reterr);
    if (!failed && tls) failed = start_tls(c, o, tls, deadline_ns, reterr);
    if (!failed) return c;
    client_conn_close(c);
    return NULL;
}

void client_conn_close(struct client_conn *c) {
    if (!c) return;
    client_conn_attach(c, NULL, NULL);
    if (c->ssl) {
        if (SSL_is_init_finished(c->ssl)) SSL_shutdown(c->ssl); /* says close_notify, if the socket takes it at once */
        ERR_clear_error();
        SSL_free(c->ssl);
    }
    if (c->fd >= 0) close(c->fd);
    free(c);
}

bool client_conn_is_alive(struct client_conn *c) {
    struct pollfd p = {c->fd, POLLIN, 0};
    return poll(&p, 1, 0) == 0; /* an answer nobody asked for is as bad as an end */
}

/* ---- bytes ---- */

/* What a failed SSL_read or SSL_write means: 1 try again, 0 end, -1 failed. */
static int tls_again(struct client_conn *c, int n, const char *op, int64_t deadline_ns, struct status *reterr) {
    int err = errno, e = SSL_get_error(c->ssl, n);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return wait_ready(c, e == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_ns, reterr) == 0 ? 1 : -1;
    if (c->cancel && http_cancel_fired(c->cancel)) return fail_cancelled(reterr);
    if (e == SSL_ERROR_ZERO_RETURN) return 0;
    if (e == SSL_ERROR_SYSCALL) return err ? fail_io(c, op, err, reterr) : 0;
    const char *why = ERR_reason_error_string(ERR_peek_error());
    return status_set(reterr, 502, NULL, "remote error: tls: %s", str_or(why, "unexpected message"));
}

ssize_t client_conn_read(struct client_conn *c, void *to, size_t len, int64_t deadline_ns, struct status *reterr) {
    for (;;) {
        if (c->ssl) {
            ERR_clear_error();
            errno = 0;
            int n = SSL_read(c->ssl, to, (int)MIN(len, 1 << 20));
            if (n > 0) return n;
            int again = tls_again(c, n, "read", deadline_ns, reterr);
            if (again <= 0) return again;
            continue;
        }
        ssize_t n = recv(c->fd, to, len, 0);
        if (n > 0) return n;
        int err = errno;
        if (c->cancel && http_cancel_fired(c->cancel)) return fail_cancelled(reterr);
        if (n == 0) return 0;
        if (err != EAGAIN && err != EINTR) return fail_io(c, "read", err, reterr);
        if (wait_ready(c, POLLIN, deadline_ns, reterr) != 0) return -1;
    }
}

int client_conn_write(struct client_conn *c, const void *data, size_t len, int64_t deadline_ns, size_t *ret_written, struct status *reterr) {
    size_t done = 0;
    int failed = 0;
    while (done < len && !failed) {
        const char *at = (const char *)data + done;
        if (c->ssl) {
            ERR_clear_error();
            errno = 0;
            int n = SSL_write(c->ssl, at, (int)MIN(len - done, 1 << 20));
            if (n > 0) done += (size_t)n;
            else {
                int again = tls_again(c, n, "write", deadline_ns, reterr);
                if (again == 0) status_set(reterr, 502, NULL, "EOF");
                failed = again <= 0;
            }
            continue;
        }
        ssize_t n = send(c->fd, at, len - done, MSG_NOSIGNAL);
        if (n >= 0) done += (size_t)n;
        else if (errno == EAGAIN || errno == EINTR) failed = wait_ready(c, POLLOUT, deadline_ns, reterr);
        else failed = c->cancel && http_cancel_fired(c->cancel) ? fail_cancelled(reterr) : fail_io(c, "write", errno, reterr);
    }
    if (done && c->cancel) c->cancel->sent = true;
    if (ret_written) *ret_written = done;
    return failed ? -1 : 0;
}
