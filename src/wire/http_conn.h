/* What the files of the HTTP server share: a connection, and a request's private half. Not for users of http_server.h. */
#ifndef CKUBE_WIRE_HTTP_CONN_H
#define CKUBE_WIRE_HTTP_CONN_H
#include <llhttp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <uv.h>
#include "wire/http_server.h"
#include "wire/http_stream.h"
#include "wire/sock.h"

enum {
    HTTP_STREAMS_MAX = 250,               /* concurrent requests on one HTTP/2 connection, as Go's */
    HTTP_RESETS_MAX = 1000,               /* streams a client may reset in one burst before it is cut (rapid reset) ... */
    HTTP_RESETS_PER_S = 100,              /* ... and in the long run */
    HTTP_HANDLERS_MAX = 1000,             /* handlers that run for one connection, reset streams included */
    HTTP_HEADERS_MAX = 1000,              /* header fields of a request */
    HTTP_OUT_BYTES_SOFT = 256 << 10,      /* HTTP/2 frames are made only while fewer bytes than this wait for the socket */
    HTTP_IN_BYTES_MAX = 256 << 10,        /* bytes read ahead while a request is being answered; then reading pauses */
    HTTP_BODIES_BYTES_MAX = 64 << 20,     /* of bodies still arriving on one HTTP/2 connection */
    HTTP_LINGER_MS = 1000,                /* how long a connection that we end is read on, so that its client sees the answer */
};

struct http_loop {
    struct loop *loop;
    struct http_server *server;
    struct loop_timer *sweep;
    struct conn *conns;
    struct request_ext *locals;  /* requests from within the process */
    atomic_size_t conns_len;
    bool stopping;
};

struct http_server {
    struct http_server_options options;
    pthread_mutex_t tls_mutex; /* guards tls: read for each new connection, replaced by a reload */
    SSL_CTX *tls;
    struct http_loop *loops;
    size_t loops_len;
    int port, listen_fd;
    uv_poll_t listener;        /* on the first loop, which hands connections to the one that has the fewest */
    bool listening;
    atomic_size_t conns;       /* open ones, over all loops */
    atomic_size_t handlers;    /* running ones */
};

enum conn_mode { CONN_HANDSHAKE, CONN_HTTP1, CONN_HTTP2, CONN_RAW };

struct request_ext; /* request with its private half */

struct conn {
    struct sock sock;            /* must be first */
    struct http_loop *hl;
    struct conn *next, *prev;
    enum conn_mode mode;
    bool finishing;              /* no further request is read */
    int64_t head_since_ms;       /* since when headers are awaited; 0: they are not */
    int64_t body_since_ms;
    int64_t idle_since_ms;
    char peer[64];
    X509 *peer_cert;
    bool peer_cert_invalid;
    STACK_OF(X509) *peer_chain;
    size_t requests;             /* being answered */
    size_t handlers;             /* running, also for requests that are over: each keeps this memory */
    bool gone;                   /* the socket has closed; freed with the last handler's return */
    struct http_stream stream;   /* after an upgrade */
    struct request_ext *upgraded; /* whose connection it was, held while on_end is to hear of its end; else NULL */
    /* HTTP/1.1 */
    llhttp_t parser;
    struct buf in;               /* read but not yet parsed */
    struct request_ext *current; /* being read, or being answered */
    struct buf name, value, url;
    size_t header_bytes;
    bool in_value, eof;
    char odd_method[33];         /* of the request being parsed, when llhttp does not know it; else "" */
    int refuse_code;             /* what is wrong with the request that is being parsed; 0: nothing */
    const char *refuse_text;
    /* HTTP/2 */
    nghttp2_session *h2;
    struct request_ext *streams; /* those that nghttp2 knows */
    size_t bodies_bytes;         /* of requests that are still arriving */
    int resets;
    int64_t resets_ms;
};

struct request_ext {
    struct http_request pub; /* must be first */
    struct conn *conn;       /* NULL once the connection has let go of it */
    struct conn *home;       /* the same, until the handler has returned */
    struct http_server *server; /* once it is dispatched */
    int refs;
    struct buf body;
    struct { struct http_header *items; size_t len; } headers;
    void (*on_close)(void *);
    void *on_close_arg;
    void (*on_drain)(void *);
    void *on_drain_arg;
    size_t drain_low;
    struct fiber *drain_waiter;
    bool drain_armed;        /* the backlog has been above drain_low */
    bool dispatched, responded, streaming, ended, closed, keep_alive, head_only;
    /* HTTP/1.1 */
    bool chunked, has_length;
    unsigned long long length_left;
    /* HTTP/2 */
    struct outq out;         /* body bytes not yet framed */
    int32_t stream_id;
    size_t header_bytes;
    bool headers_too_large, body_complete;
    int64_t since_ms;        /* when its headers came */
    struct request_ext *next_stream, **at_stream;
    /* From within the process: there is no connection then */
    struct http_local *local;
    struct http_loop *local_loop;
    struct request_ext *next_local, **at_local;
};

static inline struct request_ext *ext_of(const struct http_request *req) { return (struct request_ext *)(void *)(uintptr_t)req; }
static inline const struct http_server_options *conn_options(const struct conn *c) { return &c->hl->server->options; }
static inline int64_t conn_now_ms(const struct conn *c) { return sock_now_ms(&c->sock); }

/* http_server_conn.c */
extern const struct sock_handler conn_sock_handler;
void conn_accept(struct http_loop *hl, int fd, const struct sockaddr_storage *peer);
void conn_finish(struct conn *c);              /* sends what waits, then closes */
void conn_sweep(struct http_loop *hl);         /* once a second: closes what is idle, slow to ask or slow to take */

/* http_server_request.c */
struct request_ext *request_new(struct conn *c);
void request_dispatch(struct request_ext *r);  /* headers and body are there: run the handler */
void request_upgrade_ended(struct conn *c);    /* the raw connection has closed */
void request_finished(struct request_ext *r);  /* the answer is complete or the stream has gone: the connection lets go of it */
void request_add_header(struct request_ext *r, const char *name, size_t name_len, const char *value, size_t value_len);
int request_take_body(struct request_ext *r, const char *data, size_t len); /* counts against the limit; -1 once above */
bool request_length_allowed(struct request_ext *r, unsigned long long len); /* before the body: false, and body_too_large, when it will be too large */
void request_drained(struct request_ext *r);   /* bytes have gone: on_drain, if it is time */

void http1_init(struct conn *c);
void http1_release(struct conn *c);
void http1_input(struct conn *c, const char *data, size_t len);
void http1_eof(struct conn *c);
void http1_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream);
void http1_write(struct request_ext *r, const void *data, size_t len, struct shared *block);
void http1_end(struct request_ext *r);

int http2_init(struct conn *c);
void http2_release(struct conn *c);
void http2_input(struct conn *c, const char *data, size_t len);
void http2_fill(struct conn *c);               /* moves frames to the socket's queue while there is room */
void http2_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream);
void http2_write(struct request_ext *r, const void *data, size_t len, struct shared *block);
void http2_end(struct request_ext *r);
void http2_abort(struct request_ext *r);
void http2_goaway(struct conn *c);
void http2_sweep(struct conn *c, int64_t now_ms); /* resets streams whose bodies do not come */

/* http_local.c */
void local_answer(struct request_ext *r, int code, const struct http_slice *body, size_t body_len, bool stream);
void local_write(struct request_ext *r, const void *data, size_t len);
size_t local_backlog_bytes(struct request_ext *r);
void local_end(struct request_ext *r);
void local_gone(struct request_ext *r);        /* it is over, complete or not: lets go of the caller's half */
void local_close_all(struct http_loop *hl);

SSL_CTX *tls_server_context(const char *cert_file, const char *key_file, const char *client_ca_file, struct status *reterr);
#endif
