/* HTTP/1.1 client on a loop, for fibers: how the apiserver talks to kubelets, webhooks and proxied services.
 *
 * One struct upstream is one connection. Calls wait by suspending the calling fiber, so the loop goes on; they may be used only in a fiber, all on the loop
 * that connected, one at a time. upstream_abort may be called meanwhile (from the on_close of the client's request): the waiting call then fails.
 * Failures have no HTTP meaning of their own: code 502 (503 if the connection was refused, 504 on a timeout), message in Go's words.
 * Tests: tests/unit/test_upstream.c. */
#ifndef CKUBE_WIRE_UPSTREAM_H
#define CKUBE_WIRE_UPSTREAM_H
#include <openssl/x509.h>
#include "base/arena.h"
#include "base/status.h"
#include "wire/http_types.h"

/* How to speak TLS to servers of one kind; counted, made once and shared by any thread. Files that change are read again for new connections. */
struct upstream_tls;
struct upstream_tls_options {
    const char *ca_pem, *ca_file;      /* trusted roots: PEM text, or a file; neither: the system's */
    const char *cert_pem, *key_pem;    /* our certificate and key in PEM, or ... */
    const char *cert_file, *key_file;  /* ... their files; none: no client certificate */
    const char *server_name;           /* to verify and to send as SNI; NULL: the host that is connected to */
    bool insecure;                     /* the server's certificate is not verified */
};
struct upstream_tls *upstream_tls_new(const struct upstream_tls_options *options, struct status *reterr);
struct upstream_tls *upstream_tls_ref(struct upstream_tls *t); /* NULL is fine */
void upstream_tls_unref(struct upstream_tls *t);               /* NULL is fine */

struct upstream;
/* Connects to host (a name or an address) and port; tls NULL: plain. timeout_ms covers name, TCP and TLS together. */
struct upstream *upstream_connect(const char *host, int port, struct upstream_tls *tls, int timeout_ms, struct status *reterr);
void upstream_free(struct upstream *u);  /* closes the connection, if it was not upgraded; NULL is fine */
void upstream_abort(struct upstream *u); /* breaks it; upstream_free is still to be called */

struct upstream_request {
    const char *method, *target;       /* target: path and query, percent-encoded */
    const struct http_header *headers; /* Host is added if absent; Content-Length by us when body_len > 0 or the method calls for it */
    size_t headers_len;
    const void *body;
    size_t body_len;
};
struct upstream_response {
    int code;
    const char *reason;                /* as sent */
    const struct http_header *headers; /* names as sent; all in the arena given */
    size_t headers_len;
    bool upgraded;                     /* 101: use upstream_upgrade */
    bool has_length;
    long long length;                  /* of the body, if has_length */
};
/* Sends the request and waits for the response's head. 1xx answers other than 101 are skipped. timeout_ms 0: none. */
int upstream_request(struct upstream *u, const struct upstream_request *req, int timeout_ms, struct arena *arena, struct upstream_response *ret,
    struct status *reterr);
/* The next piece of the body, appended to `to`: 1; 0 at its end; -1 on failure. timeout_ms 0: none. */
int upstream_read(struct upstream *u, struct buf *to, int timeout_ms, struct status *reterr);
/* The rest of the body, at most `max` bytes, appended to `to`. */
int upstream_read_all(struct upstream *u, struct buf *to, size_t max, int timeout_ms, struct status *reterr);
/* Whether the connection can carry another request (body read to its end, keep-alive). */
bool upstream_reusable(const struct upstream *u);
/* After 101: the connection as a stream of bytes, paused. Takes u over: do not free it. */
struct http_stream *upstream_upgrade(struct upstream *u);
#endif
