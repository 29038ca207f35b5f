/* A TCP connection on a loop, plain or TLS: the bottom half of the HTTP server's connections, the upstream client and raw streams.
 *
 * What is written in one turn of the loop is queued and goes out at the turn's end in full TLS records and as few system calls as the socket allows;
 * only as much is encrypted as the socket takes, so a slow peer costs the queue and at most 256 KiB more. Reading is level-triggered and can be paused.
 * Embedded in its owner (first sock_init, then exactly one on_close after sock_close); touched on its loop's thread only. Nothing is called back from
 * within sock_write, sock_close or sock_shutdown. Tests: tests/unit/test_http_server.c, test_upstream.c. */
#ifndef CKUBE_WIRE_SOCK_H
#define CKUBE_WIRE_SOCK_H
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <uv.h>
#include "base/loop.h"
#include "wire/outq.h"

struct sock;
struct sock_handler {
    void (*on_open)(struct sock *s);                                  /* connected, TLS agreed on; not called for a plain socket that came connected */
    void (*on_data)(struct sock *s, const char *data, size_t len);
    void (*on_eof)(struct sock *s);                                   /* the peer ended its half */
    void (*on_room)(struct sock *s);                                  /* all that was queued has been given to the kernel; may be NULL */
    void (*on_close)(struct sock *s);                                 /* the last call; its owner may free the memory. s->error says why */
};

struct sock {
    uv_poll_t poll;
    int fd;
    SSL *ssl;                  /* NULL: plain */
    const struct sock_handler *handler;
    struct outq out;           /* plain bytes, not yet encrypted */
    char *cipher;              /* encrypted, the socket was full */
    size_t cipher_len, cipher_at, cipher_cap;
    size_t cut;                /* bytes of out after which a TLS record ends; 0: anywhere */
    struct loop_deferred flush;
    struct loop_timer *timer;  /* runs while it closes */
    const char *error;         /* static text; NULL: an orderly end */
    int64_t stalled_since_ms;  /* loop time since when the peer has taken nothing of what waits; 0: nothing waits */
    int events;                /* what is polled for */
    bool lean, swept;          /* TLS keeps no buffers between two records; sock_sweep has been here */
    bool connecting, open, paused, discard, eof, raw_eof, blocked, resumed, shut, notified, shut_sent, closing, drained, failed, busy;
    int reads_left;            /* of this event, so that one peer does not hold the loop */
};

/* Takes over a connected (or, with `connecting`, a connecting) non-blocking socket and the SSL, whose side has been set. Begins to read.
 * -1: the descriptor cannot be polled; both are then still the caller's. */
int sock_init(struct sock *s, int fd, SSL *ssl, bool connecting, const struct sock_handler *handler);
void sock_write(struct sock *s, const void *data, size_t len);
void sock_write_shared(struct sock *s, struct shared *block, const char *data, size_t len);
struct outq *sock_out(struct sock *s);          /* for writing without a copy; sock_flush_later after */
void sock_flush_later(struct sock *s);
void sock_flush_now(struct sock *s);            /* if it is due; from the loop itself (something posted, a timer), not from within a callback of any socket */
void sock_cut_record(struct sock *s);           /* what is written by now ends a TLS record */
size_t sock_backlog_bytes(const struct sock *s);
void sock_pause(struct sock *s, bool paused);
void sock_shutdown(struct sock *s);             /* ends our half after what is queued */
/* Sends what is queued, ends our half, drops what the peer still sends, and closes when it has ended its half too or after `ms`. So that the last answer
 * is not lost to the reset that unread input would cause. */
void sock_finish(struct sock *s, uint64_t ms);
void sock_close(struct sock *s);                /* now */
/* To be called every second or so. TLS keeps 34 KB for a connection only while something comes or goes in every such second; one that has just begun, or on which
 * nothing happened since the last time, has its buffers for a record at a time. */
void sock_sweep(struct sock *s);
int64_t sock_now_ms(const struct sock *s);
#endif
