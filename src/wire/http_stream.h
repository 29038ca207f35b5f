/* The inside of raw streams, for those who own the connection below: http_server and upstream. Users see http_types.h. */
#ifndef CKUBE_WIRE_HTTP_STREAM_H
#define CKUBE_WIRE_HTTP_STREAM_H
#include "wire/http_types.h"
#include "wire/sock.h"

struct http_stream {
    struct sock *sock;
    struct http_stream_handler handler;
    struct buf early;         /* came right behind the upgrade, before the stream was started */
    struct loop_deferred begin;
    bool started, above_low, eof_told;
};
size_t http_slice_len(const struct http_slice *s);
void http_slice_append(struct outq *q, const struct http_slice *s);

/* The owner of the socket passes on what it is told; the socket must be paused until http_stream_start. */
void http_stream_init(struct http_stream *s, struct sock *sock, const char *early, size_t early_len);
void http_stream_data(struct http_stream *s, const char *data, size_t len);
void http_stream_eof(struct http_stream *s);
void http_stream_room(struct http_stream *s);
void http_stream_closed(struct http_stream *s); /* from the socket's on_close; calls the handler's */
#endif
