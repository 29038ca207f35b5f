/* Port-forward of a WebSocket client: its messages hold the bytes of a SPDY connection, which go to the kubelet as they are. Upstream: streamtunnel.go.
 *
 * The kubelet is asked first; only when it has switched to SPDY is the client's WebSocket opened. Any other answer of the kubelet's is passed on. */
#include <string.h>
#include "apiserver/stream_bridge.h"
#include "base/str.h"

#define TUNNEL_PREFIX "SPDY/3.1+"
static const char tunnel_protocol[] = TUNNEL_PREFIX "portforward.k8s.io";
enum { CONNECT_MS = 30000, ERROR_BYTES_MAX = 64 << 10 };

static void on_message(struct bridge *b, const char *data, size_t len) { bridge_send_up(b, data, len); }
static void on_up_data(struct bridge *b, const char *data, size_t len) { bridge_send_client(b, "", 0, data, len); }
static void on_free(struct bridge *b) { free(b); }

static int begin(struct http_request *req, struct upstream *u, struct status *reterr) {
    struct http_header headers[4];
    size_t headers_len;
    if (websocket_accept(req->arena, req->headers, req->headers_len, tunnel_protocol, headers, &headers_len, reterr) != 0) return -1;
    struct http_stream *client = http_upgrade(req, headers, headers_len, reterr);
    if (!client) return -1;
    struct bridge *b = calloc(1, sizeof(*b));
    CHECK(b);
    bridge_init(b);
    b->on_message = on_message;
    b->on_up_data = on_up_data;
    b->on_free = on_free;
    bridge_start_client(b, client);
    bridge_start_up(b, upstream_upgrade(u));
    bridge_release(b);
    return 0;
}

/* The kubelet's own words and code. */
static int pass_refusal(struct http_request *req, struct upstream *u, const struct upstream_response *answer, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    if (answer->upgraded) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "unable to upgrade: missing upgrade headers in response");
    if (upstream_read_all(u, &body, ERROR_BYTES_MAX, 0, reterr) != 0) return -1;
    const char *type = http_headers_get(answer->headers, answer->headers_len, "Content-Type");
    const struct http_header headers[] = {{"Content-Type", str_or(type, "text/plain; charset=utf-8")}};
    http_respond(req, answer->code, headers, 1, &(struct http_slice){.data = buf_cstr(&body), .len = body.len}, 1);
    return 0;
}

int stream_tunnel(struct http_request *req, const struct proxy_target *t, struct status *reterr) {
    struct upstream *u = upstream_connect(t->host, t->port, t->tls, t->connect_timeout_ms ? t->connect_timeout_ms : CONNECT_MS, reterr);
    if (!u) return -1;
    struct upstream_response answer;
    int failed = bridge_request_spdy(req, u, t, tunnel_protocol + strlen(TUNNEL_PREFIX), &answer, reterr);
    bool upgraded = !failed && bridge_spdy_protocol(&answer);
    if (upgraded) failed = begin(req, u, reterr);
    else if (!failed) failed = pass_refusal(req, u, &answer, reterr);
    if (failed || !upgraded) upstream_free(u);
    return failed;
}
