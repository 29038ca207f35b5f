/* The reviews of authorization.k8s.io and authentication.k8s.io: questions that are posted and answered, never stored. */
#ifndef CKUBE_APISERVER_ACCESS_REVIEW_H
#define CKUBE_APISERVER_ACCESS_REVIEW_H
#include "apiserver/request.h"

/* True when the request was for one of them: it has been answered. */
bool handle_access_review(struct api_request *r);
#endif
