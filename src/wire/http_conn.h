/* What the files of the HTTP server share: a connection, and a request's private half. Not for users of http_server.h. */
#ifndef CKUBE_WIRE_HTTP_CONN_H
#define CKUBE_WIRE_HTTP_CONN_H
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <uv.h>
#include <llhttp.h>
#include "wire/http_server.h"

enum {
    HTTP_HEADER_BYTES_MAX = 1 << 20,   /* as Go's server: 431 above */
    HTTP_STREAMS_MAX = 250,            /* concurrent requests on one HTTP/2 connection, as Go's */
    HTTP_RESETS_MAX = 1000,            /* streams a client may reset in one second before it is cut (rapid reset) */
    HTTP_HEADER_TIMEOUT_S = 32,        /* from accept or the last answer's start of a request to its last header byte */
    HTTP_IDLE_TIMEOUT_S = 90,
    HTTP_WRITE_STALL_S = 60,           /* a client that takes nothing for so long is cut */
    HTTP_OUT_BYTES_SOFT = 256 << 10,   /* HTTP/2 frames are made only while fewer bytes than this wait for the socket */
    HTTP_IN_BYTES_MAX = 256 << 10,     /* bytes read ahead while a request is being answered */
};

struct http_loop {
    struct loop *loop;
    struct http_server *server;
    uv_tcp_t listener;
    uv_prepare_t prepare; /* both flush what the turn has written */
    uv_check_t check;
    uv_timer_t sweep;
    struct conn *conns, *dirty;
    size_t conns_len;
    bool stopping;
};

enum conn_mode { CONN_HANDSHAKE, CONN_HTTP1, CONN_HTTP2, CONN_RAW };

struct request_ext; /* request with its private half */

struct conn {
    uv_tcp_t tcp;
    struct http_loop *hl;
    struct conn *next, *prev, *next_dirty;
    enum conn_mode mode;
    SSL *ssl;              /* NULL: plain */
    struct buf out;        /* plain bytes to be sent, not yet encrypted */
    size_t writing;        /* bytes handed to libuv and not yet taken by the kernel */
    bool dirty, closing, close_after_write, reading, eof;
    int64_t last_active_s, write_stalled_s, idle_since_s;
    char peer[64];
    X509 *peer_cert;
    bool peer_cert_invalid;
    size_t requests;       /* being answered */
    /* HTTP/1.1 */
    llhttp_t parser;
    struct buf in;         /* read but not yet parsed */
    struct request_ext *current;
    struct buf header_name, header_value, url;
    size_t header_bytes;
    bool in_value;
    /* HTTP/2 */
    nghttp2_session *h2;
    int resets;
    int64_t resets_second;
};

struct request_ext {
    struct http_request pub; /* must be first */
    struct conn *conn;       /* NULL once the connection has gone */
    int refs;
    struct buf body;
    struct { struct http_header *items; size_t len; } headers;
    void (*on_close)(void *);
    void *on_close_arg;
    struct http_stream_handler stream;
    struct buf out;          /* HTTP/2: body bytes not yet framed */
    size_t out_pos;
    int32_t stream_id;
    bool dispatched, responded, streaming, ended, closed, keep_alive, chunked, head_only;
};

static inline struct request_ext *ext_of(const struct http_request *req) { return (struct request_ext *)(void *)(uintptr_t)req; }

int64_t conn_now_s(struct conn *c);
void conn_mark_dirty(struct conn *c);          /* flush it at the end of this turn */
void conn_close(struct conn *c);               /* now; its requests are told */
struct request_ext *request_new(struct conn *c);
void request_dispatch(struct request_ext *r);  /* headers and body are there: run the handler */
void request_finished(struct request_ext *r);  /* the answer is complete or the stream has gone: the connection lets go of it */
void request_add_header(struct request_ext *r, const char *name, size_t name_len, const char *value, size_t value_len);
int request_take_body(struct request_ext *r, const char *data, size_t len); /* counts against the limit */

void http1_init(struct conn *c);
void http1_release(struct conn *c);
void http1_input(struct conn *c, const char *data, size_t len);
void http1_continue(struct conn *c);           /* the current answer is done: parse what has been read ahead */
void http1_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream);
void http1_write(struct request_ext *r, const void *data, size_t len);
void http1_end(struct request_ext *r);

int http2_init(struct conn *c);
void http2_release(struct conn *c);
void http2_input(struct conn *c, const char *data, size_t len);
void http2_fill(struct conn *c);               /* moves frames into c->out while there is room */
void http2_respond(struct request_ext *r, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream);
void http2_write(struct request_ext *r, const void *data, size_t len);
void http2_end(struct request_ext *r);
void http2_abort(struct request_ext *r);
void http2_goaway(struct conn *c);

SSL_CTX *tls_server_context(const char *cert_file, const char *key_file, const char *client_ca_file, struct status *reterr);
#endif
