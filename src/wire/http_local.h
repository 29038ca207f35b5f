/* Requests to an HTTP server from within its own process: no socket, no TLS, no parsing; the same handler, on one of the server's loops, in a fiber.
 *
 * It is how the components of an all-in-one `ckube server` reach its apiserver. One thread (never a loop's) owns a struct http_local and reads from it;
 * http_local_cancel may be called from any. The handler sees an ordinary request whose `local_identity` is set: who asks, vouched for by this process.
 * Limit: what a stream (a watch) has written and nobody has read counts as its backlog, so that a slow reader is cut as any other.
 * Tests: tests/unit/test_http_local.c. */
#ifndef CKUBE_WIRE_HTTP_LOCAL_H
#define CKUBE_WIRE_HTTP_LOCAL_H
#include <sys/types.h>
#include "wire/http_server.h"

struct http_local_options {
    const char *method, *target;       /* target: path and query */
    const struct http_header *headers;
    size_t headers_len;
    const void *body;
    size_t body_len;
    const void *identity;              /* becomes http_request.local_identity; must outlive the request */
};

struct http_local;
struct http_local *http_local_new(void);
/* Starts the request. All is copied but the identity. Once for each http_local. */
void http_local_start(struct http_local *l, struct http_server *s, const struct http_local_options *options);
/* Waits for the answer's head: its code, or -1 (504 when time is up; 499 cancelled; 502 the server cut it). timeout_ms 0: none. */
int http_local_head(struct http_local *l, int timeout_ms, struct status *reterr);
/* Waits for the next bytes of the body: their number, 0 at its end, -1 as above. */
ssize_t http_local_read(struct http_local *l, void *to, size_t len, int timeout_ms, struct status *reterr);
/* Waits for the whole body, which becomes the caller's. */
int http_local_read_all(struct http_local *l, struct buf *ret, int timeout_ms, struct status *reterr);
void http_local_cancel(struct http_local *l); /* from any thread, also before the start: the owner's calls fail with 499 */
void http_local_free(struct http_local *l);   /* ends the request if it goes on; NULL is fine */
#endif
