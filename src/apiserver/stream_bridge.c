/* Two streams and a WebSocket between them. See stream_bridge.h. */
#include "apiserver/stream_bridge.h"
#include <string.h>
#include <strings.h>
#include "base/str.h"

enum { BACKLOG_BYTES_MAX = 256 << 10, MESSAGE_BYTES_MAX = 32 << 20, HEAD_TIMEOUT_MS = 0 };

void bridge_init(struct bridge *b) {
    *b = (struct bridge){.holds = 1};
    websocket_init(&b->ws, false, MESSAGE_BYTES_MAX);
}

void bridge_release(struct bridge *b) {
    if (--b->holds > 0) return;
    websocket_release(&b->ws);
    buf_release(&b->out);
    b->on_free(b);
}

static void flush_client(struct bridge *b) {
    if (b->client) {
        http_stream_write(b->client, b->out.data, b->out.len);
        if (b->up && http_stream_backlog_bytes(b->client) > BACKLOG_BYTES_MAX) http_stream_pause(b->up, true);
    }
    buf_clear(&b->out);
}

void bridge_send_client(struct bridge *b, const void *a, size_t a_len, const void *data, size_t len) {
    if (b->closing || !b->client) return;
    websocket_write2(&b->ws, &b->out, WEBSOCKET_BINARY, a, a_len, data, len);
    flush_client(b);
}

void bridge_send_up(struct bridge *b, const void *data, size_t len) {
    if (b->closing || !b->up) return;
    http_stream_write(b->up, data, len);
    if (b->client && http_stream_backlog_bytes(b->up) > BACKLOG_BYTES_MAX) http_stream_pause(b->client, true);
}

void bridge_close(struct bridge *b, int code, const char *reason) {
    if (b->closing) return;
    if (b->client) {
        websocket_write_close(&b->ws, &b->out, code, reason);
        flush_client(b);
    }
    b->closing = true;
    if (b->client) http_stream_close(b->client);
    if (b->up) http_stream_close(b->up);
}

/* ---- the client's side ---- */

static void on_event(void *arg, const struct websocket_event *e) {
    struct bridge *b = arg;
    if (b->closing) return;
    if (e->opcode == WEBSOCKET_TEXT || e->opcode == WEBSOCKET_BINARY) b->on_message(b, e->data, e->len);
    else if (e->opcode == WEBSOCKET_CLOSE) bridge_close(b, e->close_code == WEBSOCKET_CLOSE_NO_STATUS ? WEBSOCKET_CLOSE_NORMAL : e->close_code, NULL);
    else if (e->opcode == WEBSOCKET_PING) {
        websocket_write(&b->ws, &b->out, WEBSOCKET_PONG, e->data, e->len);
        flush_client(b);
    }
}

static void client_data(void *arg, const char *data, size_t len) {
    struct bridge *b = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!b->closing && websocket_feed(&b->ws, data, len, on_event, b, &err) != 0) bridge_close(b, err.code, NULL);
}

static void client_drain(void *arg) {
    struct bridge *b = arg;
    if (b->up) http_stream_pause(b->up, false);
}

static void client_close(void *arg) {
    struct bridge *b = arg;
    b->client = NULL;
    if (b->on_client_close) b->on_client_close(b);
    bridge_close(b, WEBSOCKET_CLOSE_NORMAL, NULL);
    bridge_release(b);
}

void bridge_start_client(struct bridge *b, struct http_stream *client) {
    b->client = client;
    b->holds++;
    http_stream_start(client, &(struct http_stream_handler){.on_data = client_data, .on_drain = client_drain, .on_close = client_close, .arg = b});
}

/* ---- the kubelet's side ---- */

static void up_data(void *arg, const char *data, size_t len) {
    struct bridge *b = arg;
    if (!b->closing) b->on_up_data(b, data, len);
}

static void up_end(struct bridge *b) {
    if (b->closing) return;
    if (b->on_up_end) b->on_up_end(b);
    bridge_close(b, WEBSOCKET_CLOSE_NORMAL, NULL);
}

static void up_eof(void *arg) { up_end(arg); }

static void up_drain(void *arg) {
    struct bridge *b = arg;
    if (b->client) http_stream_pause(b->client, false);
}

static void up_close(void *arg) {
    struct bridge *b = arg;
    b->up = NULL;
    up_end(b);
    bridge_release(b);
}

void bridge_start_up(struct bridge *b, struct http_stream *up) {
    b->up = up;
    b->holds++;
    http_stream_start(up, &(struct http_stream_handler){.on_data = up_data, .on_eof = up_eof, .on_drain = up_drain, .on_close = up_close, .arg = b});
}

/* ---- asking the kubelet ---- */

struct header_list { struct http_header *items; size_t len; };

int bridge_request_spdy(struct http_request *req, struct upstream *u, const struct proxy_target *t, const char *protocol, struct upstream_response *ret, struct status *reterr) {
    struct header_list h = {0};
    if (t->host_header) *LIST_PUSH(req->arena, &h) = (struct http_header){"Host", t->host_header};
    *LIST_PUSH(req->arena, &h) = (struct http_header){"Connection", "Upgrade"};
    *LIST_PUSH(req->arena, &h) = (struct http_header){"Upgrade", "SPDY/3.1"};
    *LIST_PUSH(req->arena, &h) = (struct http_header){"X-Stream-Protocol-Version", protocol};
    for (size_t i = 0; i < t->headers_len; i++)
        if (t->headers[i].value) *LIST_PUSH(req->arena, &h) = t->headers[i];
    struct upstream_request ask = {.method = "POST", .target = t->target, .headers = h.items, .headers_len = h.len};
    return upstream_request(u, &ask, t->head_timeout_ms, req->arena, ret, reterr);
}

const char *bridge_spdy_protocol(const struct upstream_response *answer) {
    if (!answer->upgraded || !http_headers_has_token(answer->headers, answer->headers_len, "Connection", "upgrade")) return NULL;
    if (!str_eq_nocase(http_headers_get(answer->headers, answer->headers_len, "Upgrade"), "SPDY/3.1")) return NULL;
    return str_or(http_headers_get(answer->headers, answer->headers_len, "X-Stream-Protocol-Version"), "");
}

const char *bridge_target_url(struct http_request *req, const struct proxy_target *t) {
    bool v6 = strchr(t->host, ':') != NULL;
    return arena_printf(req->arena, "%s://%s%s%s:%d%s", t->tls ? "https" : "http", v6 ? "[" : "", t->host, v6 ? "]" : "", t->port, t->target);
}
