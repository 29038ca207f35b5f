/* Who may ask the kubelet, and for what: callers are known by their client certificate or by a token that the API server reviews, and what they ask for is a SubjectAccessReview
 * on this Node's subresources.
 *
 *   /pods, /runningpods   pods, else proxy       /stats   stats        /checkpoint   checkpoint
 *   /healthz              healthz, else proxy    /metrics metrics      /statusz      statusz
 *   /configz              configz, else proxy    /logs    log          /flagz        configz          all others   proxy
 *
 * client/delegated_auth.h asks the API server. Answers are kept as long as upstream keeps them: tokens 2 minutes, yes 5 minutes, no 30 seconds. Upstream: pkg/kubelet/server/auth.go, cmd/kubelet/app/auth.go.
 * Tests: tests/unit/test_kubelet_auth.c, tests/integration/test_kubelet.py. */
#ifndef CKUBE_KUBELET_AUTH_H
#define CKUBE_KUBELET_AUTH_H
#include <stdbool.h>
#include "base/env.h"
#include "wire/http_server.h"

struct client;
struct kubelet_auth;
struct kubelet_auth_options {
    struct client *client;   /* reviews are asked by it; outlives this */
    const char *node_name;
    bool anonymous;          /* who shows neither certificate nor token is system:anonymous */
    bool no_token_webhook;   /* tokens are refused */
    bool always_allow;       /* whoever is known may do everything */
    struct env *env;
};
struct kubelet_auth *kubelet_auth_new(const struct kubelet_auth_options *options);
/* In a handler's fiber, which waits meanwhile: whether the request may go on. False: it has been answered, with 401, 403 or 500. */
bool kubelet_auth_allows(struct kubelet_auth *auth, struct http_request *req);
/* Waits until no review is under way: before the server, on whose loops they end, is freed. NULL is fine, here and below. */
void kubelet_auth_drain(struct kubelet_auth *auth);
void kubelet_auth_free(struct kubelet_auth *auth);

enum { KUBELET_SUBRESOURCES_MAX = 2 };
/* Which of the Node's subresources a path is, the finer ones first; any of them will do. Their number. */
size_t kubelet_subresources(const char *path, const char *ret[KUBELET_SUBRESOURCES_MAX]);
#endif
