/* /openapi/v2 and /openapi/v3: documents written from the descriptors when they are asked for. Upstream: kube-openapi handler and handler3.
 *
 * The v2 document is one for the whole server, megabytes as text: it is made when it is first asked for and kept compressed, in the forms that were asked for,
 * until the set of resources changes. A v3 document, one a group and version, is made for each request. Tests: tests/integration/test_openapi.py. */
#ifndef CKUBE_APISERVER_OPENAPI_H
#define CKUBE_APISERVER_OPENAPI_H
#include "apiserver/request.h"

struct openapi;
struct openapi *openapi_new(void);
void openapi_free(struct openapi *o); /* NULL is fine */
/* Answers paths at and below /openapi/v2 and /openapi/v3; false for any other. */
bool handle_openapi(struct api_request *r);
#endif
