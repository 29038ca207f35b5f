/* componentstatuses: what the control plane's parts say of their health, asked at each request. Upstream: pkg/registry/core/componentstatus. */
#ifndef CKUBE_APISERVER_COMPONENT_STATUS_H
#define CKUBE_APISERVER_COMPONENT_STATUS_H
#include "apiserver/request.h"

/* Answers a get or list of componentstatuses; false when the request is for something else. */
bool handle_component_status(struct api_request *r);
#endif
