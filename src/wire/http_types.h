/* What the HTTP server and the upstream client have in common: headers, pieces of a body, code texts, and raw streams of bytes.
 *
 * A raw stream (struct http_stream) is what a connection becomes after 101 Switching Protocols: http_upgrade gives the server's side, upstream_upgrade
 * the client's. It lives on one loop and is used on that loop's thread only. Writes are queued without limit: look at the backlog, or wait for on_drain.
 * A stream starts paused, so that nothing is lost before its handler is set. Tests: tests/unit/test_http_server.c, test_upstream.c. */
#ifndef CKUBE_WIRE_HTTP_TYPES_H
#define CKUBE_WIRE_HTTP_TYPES_H
#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"

struct http_header { const char *name, *value; };
/* A piece of a body: bytes that are copied before the call returns, or (shared set) `len` bytes at `data` inside a counted block, which is referenced and
 * not copied; data NULL means the whole block. */
struct http_slice { const void *data; size_t len; struct shared *shared; };

const char *http_code_text(int code); /* "OK"; "" if unknown */
const char *http_headers_get(const struct http_header *headers, size_t headers_len, const char *name); /* first of that name in any case, or NULL */
/* Whether one of the comma-separated tokens of one of the headers of that name is `token`, in any case. */
bool http_headers_has_token(const struct http_header *headers, size_t headers_len, const char *name, const char *token);
/* Hop-by-hop headers (RFC 9110 7.6.1), which a proxy does not pass on; those that Connection names are the caller's to look up. */
bool http_header_is_hop(const char *name);

struct http_stream;
enum { HTTP_STREAM_LOW_BYTES = 64 << 10 };
struct http_stream_handler {
    void (*on_data)(void *arg, const char *data, size_t len);
    void (*on_eof)(void *arg);   /* the peer has ended its half; NULL: the stream is closed then */
    void (*on_drain)(void *arg); /* the backlog has fallen to HTTP_STREAM_LOW_BYTES or less after having been above; may be NULL */
    void (*on_close)(void *arg); /* the last call, exactly one, never from within a call of yours; the stream is gone when it returns */
    void *arg;
};
void http_stream_start(struct http_stream *s, const struct http_stream_handler *handler); /* (re)places the handler and begins to read */
void http_stream_write(struct http_stream *s, const void *data, size_t len);              /* copies */
void http_stream_write_shared(struct http_stream *s, struct shared *block);               /* references */
size_t http_stream_backlog_bytes(const struct http_stream *s);
void http_stream_pause(struct http_stream *s, bool paused); /* stops or resumes on_data; what TCP has in flight stays with the peer */
void http_stream_shutdown(struct http_stream *s);           /* ends our half once all has been sent; with the peer's half ended too the stream closes */
void http_stream_close(struct http_stream *s);              /* once all has been sent, 10 s at most */
void http_stream_abort(struct http_stream *s);              /* now */
/* Pipes both ways, with backpressure and half-closes, until both have closed; then done(arg), unless done is NULL. Replaces both handlers. */
void http_stream_splice(struct http_stream *a, struct http_stream *b, void (*done)(void *arg), void *arg);
#endif
