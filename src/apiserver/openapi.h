/* /openapi/v3: the list of documents and one document a group and version, written from the descriptors. Upstream: kube-openapi handler3. */
#ifndef CKUBE_APISERVER_OPENAPI_H
#define CKUBE_APISERVER_OPENAPI_H
#include "apiserver/request.h"

/* Answers paths at and below /openapi/v3; false for any other. */
bool handle_openapi(struct api_request *r);
#endif
