/* Subresources that only Pods have. */
#ifndef CKUBE_APISERVER_POD_SUBRESOURCES_H
#define CKUBE_APISERVER_POD_SUBRESOURCES_H
#include "apiserver/request.h"

/* Answers eviction of a Pod; false for any other subresource. */
bool handle_pod_subresource(struct api_request *r);
#endif
