/* Calls of the apiserver to servers that users name by URL or by Service: webhooks, aggregated apiservers. Upstream: util/webhook and util/proxy. */
#ifndef CKUBE_APISERVER_SERVICE_CLIENT_H
#define CKUBE_APISERVER_SERVICE_CLIENT_H
#include "apiserver/request.h"
#include "wire/upstream.h"

struct service_target { const char *host, *server_name, *path; int port; };
/* An address behind the Service's port; server_name is NAME.NAMESPACE.svc. 503 when it has none. */
int service_resolve(struct api_request *r, const char *namespace, const char *name, int port, struct service_target *ret, struct status *reterr);
/* https://host[:port]/path */
int service_of_url(struct api_request *r, const char *url, struct service_target *ret, struct status *reterr);
/* POSTs JSON and gives the answer's body, at most BODY_MAX bytes. In a fiber. -1: it could not be reached, took too long or answered with another code than 200. */
int service_post(struct api_request *r, const struct service_target *t, const struct bytes *ca_bundle, const char *query, const struct buf *body, int timeout_ms, struct buf *ret, struct status *reterr);
#endif
