/* A blocking gRPC client: calls over HTTP/2 in clear text or TLS, for any number of threads at once. The kubelet calls the container runtime with it, the commands
 * that care for an etcd cluster its members.
 *
 * Each call takes a connection from a small pool (or opens one), drives it on the calling thread until the answer is complete, and puts it back: no
 * thread of its own, no lock held while waiting. How bytes travel is behind struct grpc_transport: the unix socket here, TCP and TLS in grpc_tcp.c. Failures come as a status whose message reads as grpc-go prints it ("rpc error: code = NotFound desc = ...").
 * Tests: tests/unit/test_grpc.c. */
#ifndef CKUBE_WIRE_GRPC_H
#define CKUBE_WIRE_GRPC_H
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/status.h"

/* One open connection. All calls are non-blocking on fd; -1 with errno EAGAIN means wait for fd. */
struct grpc_transport {
    int fd;
    ssize_t (*send)(struct grpc_transport *t, const void *data, size_t len);
    ssize_t (*recv)(struct grpc_transport *t, void *data, size_t len); /* 0: closed by the peer */
    void (*close)(struct grpc_transport *t);                           /* frees t */
};
typedef struct grpc_transport *grpc_dial_fn(void *ctx, struct status *reterr);

struct grpc_client;
/* address: "unix:///path", "unix:path" or "/path". Does not connect yet. */
struct grpc_client *grpc_client_new(const char *address);
struct grpc_client *grpc_client_new_with(grpc_dial_fn *dial, void *ctx, const char *authority); /* ctx must outlive it */
/* TCP to a host (name or address) and port, with TLS (tls is referenced) or in clear text (NULL); each connection is made within connect_timeout_ms. */
struct upstream_tls;
struct grpc_client *grpc_client_new_tcp(const char *host, int port, struct upstream_tls *tls, int connect_timeout_ms);
struct grpc_client *grpc_client_new_owning(grpc_dial_fn *dial, void *ctx, void (*free_ctx)(void *ctx), const char *authority, const char *scheme); /* for grpc_tcp.c: ctx goes with it */
void grpc_client_free(struct grpc_client *c); /* no call may be running; NULL is fine */

/* Calls `method` ("/package.Service/Method") with one encoded message and appends the answer's message to *ret. timeout_ms <= 0: no deadline.
 * cancel (NULL: none) is looked at about five times a second while waiting. Status codes: grpc code NotFound 404, Unavailable 503, DeadlineExceeded 504,
 * Unimplemented 501, Canceled 499, InvalidArgument 400, AlreadyExists 409, ResourceExhausted 429, Unauthenticated 401, PermissionDenied 403, else 500. */
int grpc_call(struct grpc_client *c, const char *method, const void *request, size_t request_len, int timeout_ms, const atomic_bool *cancel, struct buf *ret,
              struct status *reterr) WARN_UNUSED;
/* The same for a method that answers with a stream: on_message is called for each message on the calling thread, the bytes valid during the call; what it returns other
 * than 0 ends the call with -1, the status being on_message's to fill. */
int grpc_call_stream(struct grpc_client *c, const char *method, const void *request, size_t request_len, int timeout_ms, int (*on_message)(void *arg, const void *data, size_t len),
                     void *arg, struct status *reterr) WARN_UNUSED;
/* The part of such a status's message after "desc = ", or all of it. Never NULL. */
const char *grpc_status_desc(const struct status *s);
#endif
