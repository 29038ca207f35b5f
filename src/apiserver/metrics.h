/* What /metrics tells. Upstream: apiserver/pkg/endpoints/metrics, apiserver/pkg/storage/etcd3/metrics. */
#ifndef CKUBE_APISERVER_METRICS_H
#define CKUBE_APISERVER_METRICS_H
#include "apiserver/request.h"
#include "base/metric_family.h"

/* Around a request: what is in flight, and once it has answered (a watch: begun) how many there were and how long they took. Any thread. */
void metrics_request_begin(struct api_request *r);
void metrics_request_end(struct api_request *r, double seconds);
void respond_metrics(struct api_request *r);
#endif
