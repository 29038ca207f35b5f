/* A WebSocket client on one side, a raw stream to the kubelet on the other: lifetimes, backpressure, pings and closing, for stream_translate and stream_tunnel.
 *
 * A bridge lives on its request's loop until both streams have closed; then on_free is called. Embed it first in the user's struct. */
#ifndef CKUBE_APISERVER_STREAM_BRIDGE_H
#define CKUBE_APISERVER_STREAM_BRIDGE_H
#include "wire/http_server.h"
#include "wire/upstream.h"
#include "wire/upstream_proxy.h"
#include "wire/websocket.h"

struct bridge {
    struct http_stream *client, *up; /* NULL once closed, or not there yet */
    struct websocket ws;
    struct buf out;                  /* a frame being made */
    bool closing;                    /* both sides have been told to close; nothing is passed on any more */
    int holds;                       /* as long as somebody holds it, it is not freed */
    void (*on_message)(struct bridge *b, const char *data, size_t len); /* a message of the client's */
    void (*on_up_data)(struct bridge *b, const char *data, size_t len);
    void (*on_up_end)(struct bridge *b);                                /* the kubelet has ended its half or gone; may be NULL: the bridge closes */
    void (*on_client_close)(struct bridge *b);                          /* may be NULL */
    void (*on_free)(struct bridge *b);
};
void bridge_init(struct bridge *b); /* holds it once; callbacks are to be set next */
/* Lets go; the bridge may be gone when it returns. */
void bridge_release(struct bridge *b);
void bridge_start_client(struct bridge *b, struct http_stream *client);
void bridge_start_up(struct bridge *b, struct http_stream *up);
/* A binary message of two pieces to the client. */
void bridge_send_client(struct bridge *b, const void *a, size_t a_len, const void *data, size_t len);
void bridge_send_up(struct bridge *b, const void *data, size_t len);
/* Says goodbye to the client with a close frame and ends both sides. */
void bridge_close(struct bridge *b, int code, const char *reason);

/* What both kinds of upgrade ask of the kubelet: POST, Upgrade: SPDY/3.1, the protocol, and the target's headers. */
int bridge_request_spdy(struct http_request *req, struct upstream *u, const struct proxy_target *t, const char *protocol, struct upstream_response *ret, struct status *reterr);
/* The stream protocol that the kubelet picked, NULL if the answer is no upgrade to SPDY. */
const char *bridge_spdy_protocol(const struct upstream_response *answer);
const char *bridge_target_url(struct http_request *req, const struct proxy_target *t); /* for messages */

/* Port-forward over a tunnel (stream_tunnel.c) and exec or attach by translation (stream_remote_command.c); as stream_proxy. */
struct stream_options;
int stream_tunnel(struct http_request *req, const struct proxy_target *t, struct status *reterr);
int stream_remote_command(struct http_request *req, const struct stream_options *options, const struct proxy_target *t, struct status *reterr);
#endif
