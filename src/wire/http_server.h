/* The asynchronous HTTP server under the apiserver and the kubelet: HTTP/1.1 and HTTP/2, with or without TLS, on libuv loops.
 *
 * Each request is handled in a fiber on the loop of its connection. The handler answers with http_respond, or begins a stream with http_response_begin
 * and goes on writing after it has returned (a watch), or takes the connection over with http_upgrade. Everything here is called on the request's
 * own loop; another thread posts there first. A request is counted: the handler has it until it returns, longer with http_request_ref. Once the
 * client has gone (http_request_closed) writes do nothing. Limits: http_server_options. Tests: tests/unit/test_http_server.c. */
#ifndef CKUBE_WIRE_HTTP_SERVER_H
#define CKUBE_WIRE_HTTP_SERVER_H
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/loop.h"
#include "base/status.h"
#include "wire/http_types.h"

struct http_server;
struct http_request;

struct http_server_options {
    const char *bind_address;      /* "127.0.0.1", "0.0.0.0", "::" */
    int port;                      /* 0: any free one; see http_server_port */
    int loops;                     /* threads; 0: one a core */
    const char *cert_file, *key_file; /* PEM; NULL: plain HTTP */
    const char *client_ca_file;    /* PEM; NULL: client certificates are not asked for */
    const char *more_client_ca_names_file; /* PEM or NULL: authorities that are named to clients too, whose certificates the handler verifies by itself */
    size_t body_bytes_max;         /* larger bodies are not read: the request arrives with body_too_large; 0: no limit */
    size_t header_bytes_max;       /* 431 above; 0: 1 MiB, as Go's */
    size_t conns_max;              /* further connections are closed at once; 0: no limit */
    int header_timeout_ms;         /* from the connection's or the request's first byte to its last header; 0: 32 s */
    int body_timeout_ms;           /* from there to the body's last byte; 0: 60 s */
    int idle_timeout_ms;           /* between requests; 0: 90 s */
    int stall_timeout_ms;          /* a client that takes nothing of what waits for it is cut; 0: 60 s */
    void (*handler)(struct http_request *req, void *ctx);
    /* NULL, or called on the loop before each answer goes out, also when the client has gone meanwhile; `stream`: the body comes later and is not shown. */
    void (*on_answer)(struct http_request *req, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len, bool stream);
    /* NULL, or called once on the loop when what on_answer was told of as a stream has ended: a body that came bit by bit, or (code 101) an upgraded connection. */
    void (*on_end)(struct http_request *req);
    void *ctx;
};

/* Listens and starts the loops. NULL with a status on failure. */
struct http_server *http_server_new(const struct http_server_options *options, struct status *reterr);
int http_server_port(const struct http_server *s);
struct loop *http_server_loop(struct http_server *s, size_t i); /* i taken modulo their number: for in-process calls */
/* New connections use these certificates from now on. -1: they cannot be read, nothing has changed. From any thread. */
int http_server_reload_tls(struct http_server *s, const char *cert_file, const char *key_file, const char *client_ca_file, struct status *reterr);
/* Stops accepting, closes idle connections, waits for running requests up to `grace_ms`, then closes all and frees the server. */
void http_server_free(struct http_server *s, int grace_ms);

struct http_request {
    const char *method, *path, *query; /* path as sent, still percent-encoded; query "" if none */
    const struct http_header *headers; /* names in lower case for HTTP/2, as sent for 1.1 */
    size_t headers_len;
    const char *body;
    size_t body_len;
    bool body_too_large;
    bool upgrade;                      /* HTTP/1.1 with Connection: upgrade */
    int http_major;
    char peer[64];                     /* "address:port" */
    X509 *peer_cert;                   /* verified client certificate, or NULL; lives as long as the request */
    bool peer_cert_invalid;            /* one was given but it did not verify against client_ca_file */
    STACK_OF(X509) *peer_chain;        /* all certificates that the client sent, its own first, verified or not; NULL if none */
    const void *local_identity;        /* who asks, when the request comes from within this process (http_local.h); NULL for all others */
    struct arena *arena;               /* dies with the request */
    struct loop *loop;
    void *user;                        /* the handler's */
};

const char *http_request_header(const struct http_request *req, const char *name); /* the first of that name in any case, or NULL */
struct http_request *http_request_ref(struct http_request *req);
void http_request_unref(struct http_request *req);
bool http_request_closed(const struct http_request *req);
/* Called once on the loop when the client goes away before the answer is complete. */
void http_request_on_close(struct http_request *req, void (*fn)(void *arg), void *arg);

/* The whole answer. Bytes are copied and counted blocks referenced before it returns (see http_types.h). Content-Length is added unless given. */
void http_respond(struct http_request *req, int code, const struct http_header *headers, size_t headers_len, const struct http_slice *body, size_t body_len);
/* A streamed answer; what is written in one turn of the loop goes out together. With a Content-Length among the headers just so many bytes must follow. */
void http_response_begin(struct http_request *req, int code, const struct http_header *headers, size_t headers_len);
void http_response_write(struct http_request *req, const void *data, size_t len);
void http_response_write_shared(struct http_request *req, struct shared *block); /* references the block: for what many clients get */
/* What has been written goes to the socket now, not at the turn's end: for one who writes to very many. Not from within a socket's or request's callback. */
void http_response_flush(struct http_request *req);
void http_response_end(struct http_request *req);
size_t http_response_backlog_bytes(const struct http_request *req); /* written but not yet taken by the client's socket */
/* Called on the loop each time the backlog has fallen to `low_bytes` or less after a write had left it above. */
void http_response_on_drain(struct http_request *req, size_t low_bytes, void (*fn)(void *arg), void *arg);
/* In a fiber: waits until the backlog is at most `max_bytes`. -1: the client has gone. */
int http_response_wait(struct http_request *req, size_t max_bytes);
void http_request_abort(struct http_request *req); /* resets the stream (HTTP/2) or closes the connection */

/* HTTP/1.1: answers 101 and turns the connection into a stream of bytes (http_types.h), paused until http_stream_start. The request is over with that:
 * it lives on only while it is referenced. NULL with a status: no upgrade was asked for, or the client has gone. */
struct http_stream *http_upgrade(struct http_request *req, const struct http_header *headers, size_t headers_len, struct status *reterr);
#endif
