/* SPDY/3.1 framing without I/O: bytes in, events out; frames in, bytes out. Both roles.
 *
 * What exec, attach and port-forward travel on between client, apiserver, kubelet and runtime. It behaves as github.com/moby/spdystream, which all of these use:
 * no flow control (WINDOW_UPDATE and SETTINGS are reported and need no answer), header blocks compressed with the dictionary of SPDY/3, names in lower case.
 * Which streams exist is the user's to know. Owned by whoever owns the connection; not thread-safe. Memory: one control frame of at most SPDY_CONTROL_BYTES_MAX
 * and its headers of at most SPDY_HEADER_BYTES_MAX; data is passed on as it arrives. Tests: tests/unit/test_spdy.c, tests/fuzz/fuzz_spdy.c. */
#ifndef CKUBE_WIRE_SPDY_H
#define CKUBE_WIRE_SPDY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "wire/http_types.h"

enum { SPDY_CONTROL_BYTES_MAX = 64 << 10, SPDY_HEADER_BYTES_MAX = 256 << 10 };
enum spdy_type { SPDY_DATA = 0, SPDY_SYN_STREAM = 1, SPDY_SYN_REPLY = 2, SPDY_RST_STREAM = 3, SPDY_SETTINGS = 4, SPDY_PING = 6, SPDY_GOAWAY = 7, SPDY_HEADERS = 8, SPDY_WINDOW_UPDATE = 9 };
enum { SPDY_FLAG_FIN = 1, SPDY_FLAG_UNIDIRECTIONAL = 2 };
enum spdy_rst { SPDY_RST_PROTOCOL_ERROR = 1, SPDY_RST_INVALID_STREAM = 2, SPDY_RST_REFUSED_STREAM = 3, SPDY_RST_CANCEL = 5, SPDY_RST_INTERNAL_ERROR = 6 };

struct spdy_event {
    enum spdy_type type;
    uint32_t stream_id;                /* PING: its id; GOAWAY: the last good stream */
    uint32_t associated_id;            /* SYN_STREAM */
    bool fin, unidirectional;          /* DATA: fin on the last piece of a frame that has the flag */
    uint32_t status;                   /* RST_STREAM, GOAWAY: reason; WINDOW_UPDATE: delta */
    const struct http_header *headers; /* SYN_STREAM, SYN_REPLY, HEADERS; one each value */
    size_t headers_len;
    const char *data;                  /* DATA: any piece of a frame */
    size_t len;
};

struct spdy {
    bool client;
    uint32_t next_stream_id, next_ping_id;
    struct buf control;     /* a frame head or a control frame of which not all has arrived */
    uint32_t data_stream;   /* the data frame being passed on */
    size_t data_left;
    bool in_data, data_fin, broken;
    z_stream inflate, deflate;
};
void spdy_init(struct spdy *s, bool client);
void spdy_release(struct spdy *s);
/* Takes bytes from the peer and calls on_event for what they hold, in order. -1: the peer broke the protocol; drop the connection. */
int spdy_feed(struct spdy *s, const char *data, size_t len, void (*on_event)(void *arg, const struct spdy_event *event), void *arg, struct status *reterr);

/* Each appends one frame to `out`. */
uint32_t spdy_write_syn_stream(struct spdy *s, struct buf *out, const struct http_header *headers, size_t headers_len, bool fin); /* the new stream's id */
void spdy_write_syn_reply(struct spdy *s, struct buf *out, uint32_t stream_id, const struct http_header *headers, size_t headers_len, bool fin);
void spdy_write_rst_stream(struct buf *out, uint32_t stream_id, enum spdy_rst status);
void spdy_write_data(struct buf *out, uint32_t stream_id, const void *data, size_t len, bool fin); /* cut into frames where it must be */
uint32_t spdy_write_ping(struct spdy *s, struct buf *out); /* a ping of ours: its id */
/* Answers a PING of the peer's; nothing if it is the answer to one of ours. */
void spdy_answer_ping(struct spdy *s, struct buf *out, uint32_t id);
void spdy_write_goaway(struct buf *out, uint32_t last_good_stream, uint32_t status);
#endif
