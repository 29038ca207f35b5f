/* API groups that other servers serve: APIServices with a Service. Upstream: kube-aggregator's proxyHandler. */
#ifndef CKUBE_APISERVER_AGGREGATION_H
#define CKUBE_APISERVER_AGGREGATION_H
#include "apiserver/request.h"

/* Passes a request below /apis/GROUP/VERSION on to the Service of its APIService; false when there is none: the path is ours, or nobody's. In a fiber. */
bool handle_aggregated(struct api_request *r);
#endif
