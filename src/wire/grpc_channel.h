/* gRPC over one HTTP/2 connection on a loop: any number of calls and streams at once, in clear text or TLS, without a thread of their own.
 *
 * The store's etcd client is built on it (grpc.h is the blocking sibling for unix sockets). A channel connects once; when it breaks, every call that was
 * under way ends with Unavailable, then the owner is told and opens another. Everything here, callbacks too, is on the loop's thread. Nothing is called
 * back from within a function of this header, except that grpc_channel_free ends the calls.
 * Tests: tests/unit/test_store_etcd.c and tests/integration/test_etcd.py, against a real etcd. Fuzz: tests/fuzz/fuzz_grpc.c (framing). */
#ifndef CKUBE_WIRE_GRPC_CHANNEL_H
#define CKUBE_WIRE_GRPC_CHANNEL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "wire/grpc_status.h"
#include "wire/upstream.h"

struct grpc_channel;
struct grpc_channel_handler {
    void (*open)(void *ctx);                    /* connected, TLS agreed on: calls may be begun */
    void (*closed)(void *ctx, const char *why); /* it broke, or never opened; all calls have ended. The owner is still to call grpc_channel_free */
};
/* Connects to host (a name or an address) and port; tls NULL: clear text. */
struct grpc_channel *grpc_channel_new(const char *host, int port, struct upstream_tls *tls, const struct grpc_channel_handler *handler, void *ctx);
/* Ends every call (with Unavailable), closes the connection; `closed` is not called. NULL is fine. */
void grpc_channel_free(struct grpc_channel *c);
/* Sends an HTTP/2 PING; how long ago the last answer of any kind came is grpc_channel_silent_ms. */
void grpc_channel_ping(struct grpc_channel *c);
int64_t grpc_channel_silent_ms(const struct grpc_channel *c);

struct grpc_stream;
struct grpc_stream_handler {
    void (*message)(void *arg, const void *data, size_t len);      /* each message of the server; valid during the call */
    /* The last call, after which the stream is gone. code: GRPC_OK or why it failed, and the server's words. sent: whether the server may have seen a
     * whole message of ours, so that it may have acted on it. */
    void (*end)(void *arg, int code, const char *desc, bool sent);
};
/* Begins a call of `method` ("/package.Service/Method"). NULL when the channel takes no more calls: end is then not called. timeout_ms 0: none; otherwise the server is
 * told of it; the caller's own clock is the caller's. */
struct grpc_stream *grpc_stream_new(struct grpc_channel *c, const char *method, int timeout_ms, const struct grpc_stream_handler *handler, void *arg);
void grpc_stream_send(struct grpc_stream *s, const void *message, size_t len, bool last);
void grpc_stream_cancel(struct grpc_stream *s);                    /* its handler is not called any more */

/* Takes whole messages off the front of `in` (5-byte head: compressed flag, big-endian length). -1: what is there is no message of gRPC's, or too large. */
int grpc_frames_read(struct buf *in, void (*fn)(void *arg, const void *data, size_t len), void *arg);
#endif
