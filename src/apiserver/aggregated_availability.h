/* The condition Available of APIServices with a Service: whether that is there, listens, has endpoints and answers on the discovery path of its group version. Upstream:
 * kube-aggregator pkg/controllers/status/remote. (Local APIServices are available from their creation on.)
 *
 * A loop of its own with a fiber for each check, so that a server that hangs holds up its own condition alone. One is checked when it, its Service or that one's EndpointSlices
 * change, every 30 s as long as it is well, and after growing pauses while it is not. Every apiserver checks for itself. The condition informs: requests are passed on whatever it
 * says, and a server that cannot be had answers for itself. Tests: tests/integration/test_aggregation.py. */
#ifndef CKUBE_APISERVER_AGGREGATED_AVAILABILITY_H
#define CKUBE_APISERVER_AGGREGATED_AVAILABILITY_H
#include "apiserver/apiserver.h"

struct availability;
struct availability *availability_start(struct apiserver *s, struct status *reterr);
void availability_stop(struct availability *v); /* waits for the checks under way, some seconds at worst; before the store is closed. NULL is fine */
#endif
