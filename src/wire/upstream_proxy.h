/* A reverse proxy in one call: one request of our server is passed to another server and its answer passed back, upgrades included.
 *
 * Under pods/log, exec, attach, portforward and the proxy subresources, apiserver to kubelet and to services. Upstream: apimachinery util/proxy
 * (UpgradeAwareHandler). Runs in the handler's fiber and returns when the answer has ended; after an upgrade it returns at once and the two streams
 * live on. Tests: tests/unit/test_upstream.c. */
#ifndef CKUBE_WIRE_UPSTREAM_PROXY_H
#define CKUBE_WIRE_UPSTREAM_PROXY_H
#include "wire/http_server.h"
#include "wire/upstream.h"

struct proxy_target {
    const char *host;                  /* name or address */
    int port;
    struct upstream_tls *tls;          /* NULL: plain */
    const char *target;                /* path and query to ask for, percent-encoded */
    const char *method;                /* NULL: the request's */
    const char *host_header;           /* NULL: host:port */
    const struct http_header *headers; /* set over the client's of the same name; a NULL value drops the client's */
    size_t headers_len;
    int connect_timeout_ms;            /* 0: 30 s */
    int head_timeout_ms;               /* until the answer's head; 0: none */
};
/* Hop-by-hop headers and Authorization are not passed on; X-Forwarded-For is appended to. -1 only while nothing has been answered yet: the caller then
 * serves *reterr. 0: answered, or the client has gone. */
int proxy_request(struct http_request *req, const struct proxy_target *target, struct status *reterr);
#endif
