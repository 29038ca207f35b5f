/* kube-proxy over the API: Services and EndpointSlices in, rules out. Upstream: cmd/kube-proxy/app. */
#ifndef CKUBE_PROXY_SERVER_H
#define CKUBE_PROXY_SERVER_H
#include "client/client.h"
#include "proxy/proxier.h"

struct proxy_server;
/* NULL with a status when nftables cannot be used here. The client must outlive it. */
struct proxy_server *proxy_server_start(struct client *c, struct env *env, const struct proxier_config *config, struct status *reterr);
void proxy_server_stop(struct proxy_server *s); /* the rules stay, so that traffic goes on; NULL is fine */
#endif
