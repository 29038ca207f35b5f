/* WebSocket (RFC 6455) without I/O: bytes in, events out; messages in, bytes out. Both roles.
 *
 * Used by the apiserver to speak with kubectl (v5.channel.k8s.io, port-forward tunnels) and by tests as a client. Owned by whoever owns the connection; not
 * thread-safe. Protocol errors are found as the RFC demands (masking, reserved bits, control frames, fragmentation, close codes); text is not checked for
 * UTF-8, as Go's server does not. Memory: one message of at most message_bytes_max, plus one frame head. Tests: tests/unit/test_websocket.c,
 * tests/fuzz/fuzz_websocket.c. */
#ifndef CKUBE_WIRE_WEBSOCKET_H
#define CKUBE_WIRE_WEBSOCKET_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "wire/http_types.h"

enum websocket_opcode { WEBSOCKET_CONTINUATION = 0, WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2, WEBSOCKET_CLOSE = 8, WEBSOCKET_PING = 9, WEBSOCKET_PONG = 10 };
enum { WEBSOCKET_CLOSE_NORMAL = 1000, WEBSOCKET_CLOSE_PROTOCOL_ERROR = 1002, WEBSOCKET_CLOSE_NO_STATUS = 1005, WEBSOCKET_CLOSE_TOO_BIG = 1009, WEBSOCKET_CLOSE_INTERNAL = 1011 };

struct websocket_event {
    enum websocket_opcode opcode; /* TEXT or BINARY: a whole message; CLOSE, PING, PONG */
    const char *data;             /* of a CLOSE: the reason */
    size_t len;
    int close_code;               /* of a CLOSE; WEBSOCKET_CLOSE_NO_STATUS if none was sent */
};

struct websocket {
    bool client;                  /* our role: a client masks what it sends, a server what it receives must be masked */
    size_t message_bytes_max;
    struct buf frame;             /* a frame of which not all has arrived, head included */
    struct buf message;           /* fragments so far */
    int message_opcode;           /* of the fragmented message, or 0 */
    bool closed;                  /* a CLOSE was received or the protocol broken: whatever follows is dropped */
};
void websocket_init(struct websocket *w, bool client, size_t message_bytes_max);
void websocket_release(struct websocket *w);
/* Takes bytes from the peer and calls on_event for each whole message or control frame, in order. -1: the peer broke the protocol; send a CLOSE with code
 * reterr->code (1002, 1009) and drop the connection. on_event must not release the websocket. */
int websocket_feed(struct websocket *w, const char *data, size_t len, void (*on_event)(void *arg, const struct websocket_event *event), void *arg, struct status *reterr);
/* Appends one unfragmented frame to `out`. Control frames carry at most 125 bytes. */
void websocket_write(struct websocket *w, struct buf *out, enum websocket_opcode opcode, const void *data, size_t len);
/* The same for a payload of two pieces (a channel byte and the bytes). */
void websocket_write2(struct websocket *w, struct buf *out, enum websocket_opcode opcode, const void *a, size_t a_len, const void *b, size_t b_len);
void websocket_write_close(struct websocket *w, struct buf *out, int code, const char *reason);

/* ---- the handshake ---- */

bool websocket_is_request(const struct http_header *headers, size_t headers_len); /* Connection: upgrade and Upgrade: websocket */
/* The first of `supported` (ends with NULL) that the client offers in Sec-WebSocket-Protocol, in the client's order; NULL: none. */
const char *websocket_pick_protocol(const struct http_header *headers, size_t headers_len, const char *const *supported);
/* The value of Sec-WebSocket-Accept for a client's key. */
void websocket_accept_key(const char *key, char out[29]);
void websocket_new_key(char out[25]); /* a client's Sec-WebSocket-Key */
/* The headers of a 101 for this request, protocol NULL: none; -1 with a 400: not a handshake of version 13. At most 4 headers. */
int websocket_accept(struct arena *a, const struct http_header *headers, size_t headers_len, const char *protocol, struct http_header ret[4], size_t *ret_len, struct status *reterr);
#endif
