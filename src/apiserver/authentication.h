/* Who asks. Upstream: authentication/request. */
#ifndef CKUBE_APISERVER_AUTHENTICATION_H
#define CKUBE_APISERVER_AUTHENTICATION_H
#include "apiserver/apiserver.h"
#include "apiserver/request.h"

struct authenticator;
struct authenticator *authenticator_new(const struct apiserver_options *options, struct status *reterr);
void authenticator_free(struct authenticator *a);
/* Fills r->user; -1 with 401 Unauthorized. Certificates (CN, O), static tokens, otherwise anonymous. */
int authenticate(struct authenticator *a, struct api_request *r, struct status *reterr);
#endif
