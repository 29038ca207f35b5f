/* Which way a streaming request goes. See stream_translate.h. */
#include "apiserver/stream_translate.h"
#include "apiserver/stream_bridge.h"

static bool offers(const struct http_request *req, const char *protocol) {
    const char *const only[] = {protocol, NULL};
    return websocket_is_request(req->headers, req->headers_len) && websocket_pick_protocol(req->headers, req->headers_len, only);
}

int stream_proxy(struct http_request *req, enum stream_kind kind, const struct stream_options *options, const struct proxy_target *target, struct status *reterr) {
    if (!req->upgrade) return status_bad_request(reterr, "Upgrade request required");
    if (kind == STREAM_REMOTE_COMMAND && offers(req, "v5.channel.k8s.io")) return stream_remote_command(req, options, target, reterr);
    if (kind == STREAM_PORT_FORWARD && offers(req, "SPDY/3.1+portforward.k8s.io")) return stream_tunnel(req, target, reterr);
    return proxy_request(req, target, reterr);
}
