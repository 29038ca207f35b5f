/* API groups that other servers serve: APIServices with a Service. Upstream: kube-aggregator's proxyHandler. */
#ifndef CKUBE_APISERVER_AGGREGATION_H
#define CKUBE_APISERVER_AGGREGATION_H
#include "apiserver/request.h"

/* Passes a request below /apis/GROUP/VERSION on to the Service of its APIService; false when there is none: the path is ours, or nobody's. In a fiber. */
bool handle_aggregated(struct api_request *r);
struct apiregistrationv1_APIService;
/* Passes the request on as it is to the Service of this one. */
void aggregated_pass_on(struct api_request *r, const struct apiregistrationv1_APIService *service);
/* GETs a document of its own from it as system:kube-aggregator; its type is in the request's arena. -1: nothing came in time, or another code than 200. In a fiber. */
int aggregated_get(struct api_request *r, const struct apiregistrationv1_APIService *service, const char *target, const char *accept, struct buf *ret, const char **ret_type, struct status *reterr);
/* Whether it answers on the discovery path of its group version, which any such server must serve. -1 with why not, in upstream's words; code 504 when it took too long. In a fiber. */
int aggregated_probe(struct api_request *r, const struct apiregistrationv1_APIService *service, int timeout_ms, struct status *reterr);
#endif
