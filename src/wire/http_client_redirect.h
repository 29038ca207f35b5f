/* Redirects within a host, as the kubelet's prober follows them. The inside of http_client. */
#ifndef CKUBE_WIRE_HTTP_CLIENT_REDIRECT_H
#define CKUBE_WIRE_HTTP_CLIENT_REDIRECT_H
#include "base/arena.h"
#include "wire/http_client.h"

struct http_place { const char *scheme, *host, *target; int port; }; /* host without brackets; port 0: none was given */

/* Where a Location header leads from a request for `base_target` on `base`'s host: RFC 3986 section 5, http and https only. False: nowhere we can go. */
bool http_redirect_resolve(struct arena *a, const struct http_place *base, const char *location, struct http_place *ret);

typedef int http_send_fn(struct http_client *c, const struct http_call *call, struct http_reply **ret, struct status *reterr);
/* Runs the call by `send` and follows. A redirect to another host name is returned as it is (Go's ErrUseLastResponse). */
int http_redirect_follow(const struct http_client_options *o, struct http_client *c, const struct http_call *call, http_send_fn *send,
    struct http_reply **ret, struct status *reterr);
/* The client dies with the reply. */
void http_reply_own_client(struct http_reply *r, struct http_client *c);
#endif
