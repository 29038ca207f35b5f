/* The blocking HTTP/1.1 client of component threads: controllers, scheduler, kubelet and proxy when they are apart from the apiserver; probes; registries.
 *
 * A struct http_client speaks to one place (host and port, or a unix socket), over TLS or not, and keeps idle connections for reuse; any number of threads
 * may use it at once. Never call it on a loop's thread: there is wire/upstream.h for that. A struct http_reply is one answer and belongs to one thread; only
 * http_cancel_fire may be called from another. Nothing is followed, decompressed or retried behind the caller's back, except what struct http_call says, and
 * one case as in Go: when a kept connection turns out dead before any byte of the answer, the request is sent once more on a new one if it is a GET, HEAD
 * or OPTIONS, or if nothing of it had been sent.
 *
 * Failures: code 503 connection refused, 504 deadline, 499 cancelled, 502 all else; messages in the words of Go's net/http, e.g.
 *   Get "http://10.0.0.7:80/healthz": dial tcp 10.0.0.7:80: connect: connection refused
 * Limits: 1 MiB of response headers; 16 idle connections, 60 s each. Tests: tests/unit/test_http_client.c. */
#ifndef CKUBE_WIRE_HTTP_CLIENT_H
#define CKUBE_WIRE_HTTP_CLIENT_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/status.h"
#include "wire/http_types.h"

struct http_client;
struct http_client_options {
    const char *host;                  /* name or address, IPv6 without brackets; unused with unix_path except for Host */
    int port;                          /* 0: 443 or 80 */
    const char *unix_path;             /* NULL: TCP */
    bool tls;
    bool insecure;                     /* the server's certificate is not verified */
    const char *ca_pem, *ca_file;      /* trusted roots: PEM text or file; neither: the system's */
    const char *cert_pem, *key_pem;    /* our certificate and key as PEM text, or ... */
    const char *cert_file, *key_file;  /* ... as files */
    const char *server_name;           /* to verify and send as SNI; NULL: host */
    const char *host_header;           /* NULL: host, with the port unless it is the scheme's own */
    const char *user_agent;            /* NULL: "ckube/VERSION" */
    int connect_timeout_ms;            /* name, TCP and TLS together; 0: 30 s */
    bool no_keep_alive;                /* one connection a request, with Connection: close (probes) */
    /* Appends the bearer token of the moment to *ret (nothing: no Authorization header); called for each request, on its thread. May be NULL. */
    int (*bearer_token)(void *ctx, struct buf *ret, struct status *reterr);
    void *bearer_token_ctx;
};
/* Reads certificates at once; NULL with a status if one is bad. All strings are copied. Files that change are read again, for new connections. */
struct http_client *http_client_new(const struct http_client_options *options, struct status *reterr);
void http_client_free(struct http_client *c);       /* no call may be under way and every reply must have been freed; NULL is fine */
void http_client_close_idle(struct http_client *c); /* e.g. after the server's address or our credentials have changed */

/* A switch by which another thread ends a call or the reading of its reply: it then fails with code 499, "context canceled". It may be given to one call
 * after another, but serves one at a time; it stays fired. The waking thread never waits. */
struct http_cancel {
    pthread_mutex_t mutex;
    int fd;       /* the socket in use, or -1 */
    bool fired;
    bool sent;    /* for its owner: something was written to a server, which may have acted on it; never unset here */
};
void http_cancel_init(struct http_cancel *c);
void http_cancel_release(struct http_cancel *c);
void http_cancel_fire(struct http_cancel *c);
bool http_cancel_fired(struct http_cancel *c);

enum { HTTP_REDIRECTS_MAX = 10 };
struct http_call {
    const char *method;                /* NULL: GET */
    const char *target;                /* path and query, percent-encoded; begins with / */
    const struct http_header *headers; /* a Host, User-Agent, Accept-Encoding or Authorization given here replaces ours; an empty value drops it */
    size_t headers_len;
    const void *body;
    size_t body_len;                   /* Content-Length is added when there is a body, or the method is POST, PUT or PATCH */
    int timeout_ms;                    /* http_client_call: until the body has been read; http_client_open: until the head has; 0: none */
    size_t body_bytes_max;             /* http_client_call: a longer body fails; 0: 64 MiB */
    bool truncate;                     /* ... is cut there instead (probes read 10 KiB) */
    bool follow_same_host;             /* GET and HEAD: follow redirects within the host name, as the kubelet's prober does; a redirect elsewhere is the reply */
    struct http_cancel *cancel;        /* may be NULL; must outlive the reply */
};

struct http_reply {
    int code;
    const char *reason;                /* as sent, may be "" */
    const struct http_header *headers; /* names as sent */
    size_t headers_len;
    const char *body;                  /* http_client_call: whole, NUL-terminated (after body_len bytes) */
    size_t body_len;
};
const char *http_reply_header(const struct http_reply *r, const char *name); /* the first of that name in any case, or NULL */

/* Sends a request and reads the whole answer, whatever its code. */
int http_client_call(struct http_client *c, const struct http_call *call, struct http_reply **ret, struct status *reterr);
/* Sends a request and reads the head of the answer only; the body follows by http_reply_read. */
int http_client_open(struct http_client *c, const struct http_call *call, struct http_reply **ret, struct status *reterr);
/* Waits for the next bytes of the body: their number, 0 at its end, -1 on failure. timeout_ms 0: none. After a code 101: bytes of the upgraded connection. */
ssize_t http_reply_read(struct http_reply *r, void *to, size_t len, int timeout_ms, struct status *reterr);
/* After a code 101 only. */
int http_reply_write(struct http_reply *r, const void *data, size_t len, int timeout_ms, struct status *reterr);
/* Ends the reply; its connection is kept if the body had been read to its end, else closed. NULL is fine. */
void http_reply_free(struct http_reply *r);
#endif
