#include "wire/sock.h"
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 << 10,
    READS_MAX = 16,              /* of one connection in one turn */
    RECORD_BYTES = 16 << 10,     /* the largest TLS record */
    ENCRYPT_BYTES = 128 << 10,   /* encrypted before one send */
    SSL_WRITE_MAX = 64 << 10,
    IOVEC_MAX = 64,
};

/* Per loop thread: bytes read and delivered at once; small pieces gathered into a record; records gathered for one send. Empty between two sockets. */
static _Thread_local struct { char *read, *record; struct buf cipher; } scratch;

static void free_scratch(void) {
    free(scratch.read);
    free(scratch.record);
    scratch.read = scratch.record = NULL;
    buf_release(&scratch.cipher);
}

static void need_scratch(void) {
    if (scratch.read) return;
    scratch.read = malloc(READ_BYTES);
    scratch.record = malloc(RECORD_BYTES);
    CHECK(scratch.read && scratch.record);
    loop_at_exit(free_scratch);
}

int64_t sock_now_ms(const struct sock *s) { return (int64_t)uv_now(s->poll.loop); }

static void fail(struct sock *s, const char *why) {
    if (!s->error) s->error = why;
    s->failed = true;
    sock_close(s);
}

/* ---- OpenSSL's way to the socket: reads go to the kernel, writes to the thread's scratch ---- */

static int bio_read(BIO *bio, char *to, int len) {
    struct sock *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (s->drained || s->reads_left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    s->reads_left--;
    s->busy = true;
    ssize_t n = recv(s->fd, to, (size_t)len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n < 0) s->error = strerrordesc_np(errno);
    s->drained = n < len;
    s->raw_eof = n == 0;
    return (int)n;
}

static int bio_write(BIO *bio, const char *data, int len) {
    BIO_clear_retry_flags(bio);
    buf_append(&scratch.cipher, data, (size_t)len);
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number UNUSED, void *arg UNUSED) {
    struct sock *s = BIO_get_data(bio);
    if (command == BIO_CTRL_FLUSH) return 1;
    return command == BIO_CTRL_EOF && s->raw_eof;
}

static int bio_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void) {
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ckube sock");
    CHECK(bio_method);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
    BIO_meth_set_create(bio_method, bio_create);
}

static void attach_ssl(struct sock *s) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_bio_method);
    BIO *bio = BIO_new(bio_method);
    CHECK(bio);
    BIO_set_data(bio, s);
    SSL_set_bio(s->ssl, bio, bio);
    SSL_set_read_ahead(s->ssl, 1);
    SSL_set_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS); /* see sock_sweep */
    s->lean = true;
    SSL_set_options(s->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
}

/* ---- polling ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void update_poll(struct sock *s) {
    if (s->closing) return;
    int events = s->paused || s->eof || s->connecting ? 0 : UV_READABLE;
    if (s->blocked || s->connecting) events |= UV_WRITABLE;
    if (events == s->events) return;
    s->events = events;
    if (events) uv_poll_start(&s->poll, events, on_poll);
    else uv_poll_stop(&s->poll);
}

/* ---- output ---- */

static void note_progress(struct sock *s, bool blocked) {
    s->blocked = blocked;
    s->stalled_since_ms = blocked ? MAX(sock_now_ms(s), (int64_t)1) : 0;
}

/* How much the kernel took; -1 when the connection has failed and is being closed. */
static ssize_t push_bytes(struct sock *s, const char *data, size_t len) {
    ssize_t n = send(s->fd, data, len, MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) return 0;
    fail(s, strerrordesc_np(errno));
    return -1;
}

static void keep_cipher(struct sock *s, const char *data, size_t len) {
    if (s->cipher_len + len > s->cipher_cap - (s->cipher ? s->cipher_at : 0)) {
        char *grown = malloc(s->cipher_len + len);
        CHECK(grown);
        if (s->cipher_len) memcpy(grown, s->cipher + s->cipher_at, s->cipher_len);
        free(s->cipher);
        s->cipher = grown;
        s->cipher_cap = s->cipher_len + len;
        s->cipher_at = 0;
    }
    memcpy(s->cipher + s->cipher_at + s->cipher_len, data, len);
    s->cipher_len += len;
}

/* What OpenSSL has left in the scratch goes to the kernel, or waits with the socket. */
static void send_scratch(struct sock *s) {
    size_t len = scratch.cipher.len;
    if (!len) return;
    ssize_t n = s->cipher_len || s->blocked ? 0 : push_bytes(s, scratch.cipher.data, len);
    if (n >= 0 && (size_t)n < len) {
        if (n > 0 || !s->blocked) note_progress(s, true);
        keep_cipher(s, scratch.cipher.data + n, len - (size_t)n);
    }
    buf_clear(&scratch.cipher);
}

/* True when nothing encrypted waits any more. */
static bool send_cipher(struct sock *s) {
    if (!s->cipher_len) return true;
    ssize_t n = push_bytes(s, s->cipher + s->cipher_at, s->cipher_len);
    if (n < 0) return false;
    s->cipher_at += (size_t)n;
    s->cipher_len -= (size_t)n;
    if (n > 0 || !s->blocked) note_progress(s, s->cipher_len > 0);
    if (s->cipher_len) return false;
    free(s->cipher);
    s->cipher = NULL;
    s->cipher_at = s->cipher_cap = 0;
    return true;
}

static void encrypt_some(struct sock *s) {
    ERR_clear_error();
    s->busy = true;
    while (s->out.bytes && scratch.cipher.len < ENCRYPT_BYTES) {
        const char *data = NULL;
        size_t n = outq_peek(&s->out, &data), done;
        if (n < RECORD_BYTES && n < s->out.bytes) {
            n = outq_copy(&s->out, scratch.record, RECORD_BYTES);
            data = scratch.record;
        }
        n = MIN(n, (size_t)SSL_WRITE_MAX);
        if (s->cut) n = MIN(n, s->cut);
        if (SSL_write_ex(s->ssl, data, n, &done) != 1) {
            buf_clear(&scratch.cipher);
            fail(s, "tls: writing failed");
            return;
        }
        outq_consume(&s->out, done);
        s->cut -= MIN(s->cut, done);
    }
    send_scratch(s);
}

static void send_plain(struct sock *s) {
    struct iovec iov[IOVEC_MAX];
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)outq_iovec(&s->out, iov, IOVEC_MAX)};
    size_t asked = 0;
    for (size_t i = 0; i < m.msg_iovlen; i++) asked += iov[i].iov_len;
    ssize_t n = sendmsg(s->fd, &m, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
        fail(s, strerrordesc_np(errno));
        return;
    }
    if (n > 0) outq_consume(&s->out, (size_t)n);
    note_progress(s, n < (ssize_t)asked);
}

static void end_our_half(struct sock *s) {
    if (s->ssl && !s->notified) {
        s->notified = true;
        ERR_clear_error();
        SSL_shutdown(s->ssl);
        send_scratch(s);
    }
    if (s->closing || s->cipher_len) return; /* the close_notify waits too */
    s->shut_sent = true;
    shutdown(s->fd, SHUT_WR);
    if (s->eof) sock_close(s);
}

static void read_some(struct sock *s);

static void flush(struct loop_deferred *d) {
    struct sock *s = CONTAINER_OF(d, struct sock, flush);
    if (s->closing || s->connecting) return;
    need_scratch();
    if (s->resumed && s->ssl && !s->paused && !s->eof && SSL_has_pending(s->ssl)) read_some(s);
    s->resumed = false;
    while (!s->closing && s->open && !s->blocked) {
        if (!send_cipher(s)) break;
        if (!s->out.bytes && s->handler->on_room && !s->discard) s->handler->on_room(s);
        if (s->closing || !s->out.bytes) break;
        if (s->ssl) encrypt_some(s);
        else send_plain(s);
    }
    if (!s->closing && s->shut && !s->shut_sent && !s->out.bytes && !s->cipher_len && s->open) end_our_half(s);
    update_poll(s);
}

void sock_flush_later(struct sock *s) {
    if (!s->closing) loop_defer(&s->flush);
}

void sock_flush_now(struct sock *s) {
    if (!s->flush.at) return;
    loop_defer_cancel(&s->flush);
    flush(&s->flush);
}

void sock_cut_record(struct sock *s) { s->cut = s->out.bytes; }

void sock_write(struct sock *s, const void *data, size_t len) {
    if (s->closing || s->shut || !len) return;
    outq_append(&s->out, data, len);
    loop_defer(&s->flush);
}

void sock_write_shared(struct sock *s, struct shared *block, const char *data, size_t len) {
    if (s->closing || s->shut || !len) return;
    outq_append_shared(&s->out, block, data, len);
    loop_defer(&s->flush);
}

struct outq *sock_out(struct sock *s) { return &s->out; }
size_t sock_backlog_bytes(const struct sock *s) { return s->out.bytes + s->cipher_len; }

/* ---- input ---- */

static void got_eof(struct sock *s) {
    s->eof = true;
    update_poll(s);
    if (!s->discard) s->handler->on_eof(s);
    if (s->shut_sent && !s->closing) sock_close(s);
}

static void deliver(struct sock *s, const char *data, size_t len) {
    if (!s->discard) s->handler->on_data(s, data, len);
}

static void read_plain(struct sock *s) {
    ssize_t n = recv(s->fd, scratch.read, READ_BYTES, 0);
    if (n > 0) deliver(s, scratch.read, (size_t)n);
    else if (n == 0) got_eof(s);
    else if (errno != EAGAIN && errno != EINTR) fail(s, strerrordesc_np(errno));
}

/* The reason why TLS broke down, in static words. */
static const char *tls_reason(struct sock *s) {
    if (s->error) return s->error;
    switch (SSL_get_verify_result(s->ssl)) {
        case X509_V_OK: break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
        case X509_V_ERR_CERT_HAS_EXPIRED: return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid";
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH: return "tls: failed to verify certificate: x509: certificate is not valid for the name or address asked for";
        default: return "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    }
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : s->raw_eof ? "EOF" : "tls: handshake failed";
}

/* Someone speaks plain HTTP to a TLS port: he gets Go's words for it, unencrypted. */
static void explain_tls(struct sock *s) {
    static const char words[] = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    buf_clear(&scratch.cipher);
    if (send(s->fd, words, sizeof(words) - 1, MSG_NOSIGNAL) > 0) shutdown(s->fd, SHUT_WR);
}

static void handshake(struct sock *s) {
    int n = SSL_do_handshake(s->ssl);
    int e = n == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, n);
    const char *why = n == 1 || e == SSL_ERROR_WANT_READ ? NULL : tls_reason(s);
    if (why && SSL_is_server(s->ssl) && ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST) explain_tls(s);
    send_scratch(s);
    if (s->closing) return;
    if (why) {
        fail(s, why);
        return;
    }
    if (n != 1) return;
    s->open = true;
    if (s->out.bytes) loop_defer(&s->flush);
    s->handler->on_open(s);
}

static void read_tls(struct sock *s) {
    ERR_clear_error();
    if (!s->open) handshake(s);
    while (s->open && !s->closing && !s->paused && !s->eof) {
        size_t n;
        ERR_clear_error();
        if (SSL_read_ex(s->ssl, scratch.read, READ_BYTES, &n) == 1) {
            send_scratch(s); /* a key update's answer: the scratch may be another's while this is delivered */
            if (!s->closing) deliver(s, scratch.read, n);
            if (s->drained && !s->closing && !SSL_has_pending(s->ssl)) break; /* there is no more, and no need to be told so */
            continue;
        }
        int e = SSL_get_error(s->ssl, 0);
        if (e == SSL_ERROR_ZERO_RETURN) got_eof(s);
        else if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) {
            send_scratch(s); /* the alert */
            fail(s, tls_reason(s));
        }
        break;
    }
    if (!s->closing) send_scratch(s);
}

static void read_some(struct sock *s) {
    s->drained = false;
    s->reads_left = READS_MAX;
    if (s->ssl) read_tls(s);
    else read_plain(s);
}

static void connected(struct sock *s) {
    int e = 0;
    socklen_t len = sizeof(e);
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &len);
    if (e) {
        fail(s, strerrordesc_np(e));
        return;
    }
    s->connecting = false;
    update_poll(s);
    if (s->ssl) handshake(s);
    else {
        s->open = true;
        loop_defer(&s->flush);
        s->handler->on_open(s);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct sock *s = poll->data;
    if (s->closing) return;
    need_scratch();
    if (s->connecting) {
        connected(s);
        return;
    }
    if (status < 0) {
        int e = 0;
        socklen_t len = sizeof(e);
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &len);
        fail(s, strerrordesc_np(e ? e : ECONNRESET));
        return;
    }
    if (events & UV_WRITABLE) {
        s->blocked = false;
        if (s->open) loop_defer(&s->flush);
        else if (send_cipher(s)) update_poll(s); /* a handshake larger than the socket's buffer */
    }
    if (!s->closing && (events & UV_READABLE) && !s->paused && !s->eof) read_some(s);
    if (!s->closing && !s->flush.at) update_poll(s);
}

void sock_pause(struct sock *s, bool paused) {
    if (s->closing || s->paused == paused) return;
    s->paused = paused;
    s->resumed = !paused;
    loop_defer(&s->flush); /* polls anew, and reads what TLS holds already */
}

/* ---- life ---- */

void sock_sweep(struct sock *s) {
    if (!s->ssl || !s->open || s->closing) return;
    bool lean = !s->busy || !s->swept;
    if (!s->busy) SSL_free_buffers(s->ssl); /* refuses while they hold something */
    if (lean && !s->lean) SSL_set_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
    if (!lean && s->lean) SSL_clear_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
    s->lean = lean;
    s->swept = true;
    s->busy = false;
}

int sock_init(struct sock *s, int fd, SSL *ssl, bool connecting, const struct sock_handler *handler) {
    *s = (struct sock){.fd = fd, .ssl = ssl, .handler = handler, .connecting = connecting, .open = !connecting && !ssl};
    if (uv_poll_init(loop_uv(loop_current()), &s->poll, fd) != 0) return -1;
    s->poll.data = s;
    s->flush.fn = flush;
    if (ssl) attach_ssl(s);
    update_poll(s);
    return 0;
}

void sock_shutdown(struct sock *s) {
    s->shut = true;
    sock_flush_later(s);
}

static void close_fired(void *arg) { sock_close(arg); }

void sock_finish(struct sock *s, uint64_t ms) {
    if (s->closing || s->discard) return;
    s->discard = true;
    s->paused = false;
    if (!s->open) {
        sock_close(s);
        return;
    }
    sock_shutdown(s);
    s->timer = loop_timer_new(close_fired, s);
    loop_timer_start(s->timer, ms, 0);
}

static void closed(uv_handle_t *h) {
    struct sock *s = h->data;
    if (s->ssl) SSL_free(s->ssl);
    s->ssl = NULL;
    outq_release(&s->out);
    free(s->cipher);
    s->handler->on_close(s);
}

void sock_close(struct sock *s) {
    if (s->closing) return;
    need_scratch();
    if (s->ssl && s->open && !s->failed && !s->notified && !s->cipher_len) {
        ERR_clear_error();
        SSL_shutdown(s->ssl);
        if (scratch.cipher.len) send(s->fd, scratch.cipher.data, scratch.cipher.len, MSG_NOSIGNAL);
    }
    buf_clear(&scratch.cipher);
    s->closing = true;
    loop_defer_cancel(&s->flush);
    loop_timer_free(s->timer);
    uv_close((uv_handle_t *)&s->poll, closed);
    close(s->fd);
}
