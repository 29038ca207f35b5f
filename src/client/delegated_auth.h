/* Who asks a component, and whether they may, as the API server says: callers are known by their client certificate or by a token that the API server reviews (TokenReview), and what
 * they ask for is a SubjectAccessReview. The kubelet and the servers of kube-controller-manager and kube-scheduler use it.
 *
 * Answers of the API server are kept for a while. Reviews block, and run on threads of their own; what is cached is answered at once. Upstream: apiserver/pkg/authentication/authenticatorfactory
 * and authorization/authorizerfactory (delegating). Tests: tests/integration/test_kubelet.py, test_metrics.py. */
#ifndef CKUBE_CLIENT_DELEGATED_AUTH_H
#define CKUBE_CLIENT_DELEGATED_AUTH_H
#include "api/object.h"
#include "base/env.h"
#include "client/client.h"
#include "wire/http_server.h"

struct delegated_auth;
struct delegated_auth_options {
    const char *component;                            /* for logs */
    struct client *authentication, *authorization;    /* reviews are asked by them; they outlive this */
    bool anonymous;                                   /* who shows neither certificate nor token is system:anonymous */
    bool no_token_webhook;                            /* tokens are refused */
    int token_ttl_s, allowed_ttl_s, denied_ttl_s;     /* how long answers are kept */
    struct env *env;
};
struct delegated_auth *delegated_auth_new(const struct delegated_auth_options *options);
/* In a handler's fiber, which waits meanwhile, here and below: who asks, in the request's arena. False: what was shown is no good, or nothing was. */
bool delegated_auth_user(struct delegated_auth *auth, struct http_request *req, struct authenticationv1_UserInfo *ret);
/* Whether the user may do what `what` says (its resourceAttributes or nonResourceAttributes). 1: yes; 0: no; -1: it is not known. */
int delegated_auth_may(struct delegated_auth *auth, struct arena *a, const struct authenticationv1_UserInfo *user, const struct authorizationv1_SubjectAccessReviewSpec *what, struct status *reterr);
/* Waits until no review is under way: before the server, on whose loops they end, is freed. NULL is fine, here and below. */
void delegated_auth_drain(struct delegated_auth *auth);
void delegated_auth_free(struct delegated_auth *auth);
#endif
