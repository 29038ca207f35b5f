/* What /metrics tells. Upstream: apiserver/pkg/endpoints/metrics, apiserver/pkg/storage/etcd3/metrics. */
#ifndef CKUBE_APISERVER_METRICS_H
#define CKUBE_APISERVER_METRICS_H
#include "apiserver/request.h"

/* Around a request: what is in flight, and once it has answered (a watch: begun) how many there were and how long they took. Any thread. */
void metrics_request_begin(struct api_request *r);
void metrics_request_end(struct api_request *r, double seconds);
/* The two comment lines before a metric. kind: "counter", "gauge", "histogram". */
void metrics_head(struct buf *out, const char *name, const char *kind, const char *help);
/* Components of the same process tell theirs at the same place: put is called for each request, not any more once metrics_source_remove has returned. */
void metrics_source_add(void (*put)(void *data, struct buf *out), void *data);
void metrics_source_remove(void *data);
void respond_metrics(struct api_request *r);
#endif
