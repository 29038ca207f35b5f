/* Which ServiceAccounts' tokens in Secrets are still used. Upstream: pkg/serviceaccount/legacy.go, pkg/controlplane/controller/legacytokentracking.
 *
 * A Secret whose token is used gets the label kubernetes.io/legacy-token-last-used with the day; the ConfigMap kube-apiserver-legacy-service-account-token-tracking in kube-system says since
 * when that is so. A controller (legacy-serviceaccount-token-cleaner) goes by both. Unlike upstream no request waits for its label: a thread writes it soon after.
 * Tests: tests/unit/test_legacy_tokens.c. */
#ifndef CKUBE_APISERVER_LEGACY_TOKENS_H
#define CKUBE_APISERVER_LEGACY_TOKENS_H
#include "apiserver/apiserver.h"
#include "apiserver/request.h"
#include "base/buf.h"

#define LEGACY_TOKEN_TRACKING "kube-apiserver-legacy-service-account-token-tracking" /* the ConfigMap; its key is "since" */

/* A good token from a Secret. Memory of the request's arena. */
struct legacy_token_use {
    enum { LEGACY_TOKEN_NOT, LEGACY_TOKEN_MANUAL, LEGACY_TOKEN_AUTO /* its ServiceAccount lists the Secret */, LEGACY_TOKEN_INVALIDATED } kind;
    const char *namespace, *secret, *uid;
    const char *last_used;      /* the label as it is; NULL: none */
};
/* Warns, annotates and counts, and has the label written if it is not of today. In a request that is not known yet (authentication) or asks about the token (TokenReview). */
void legacy_token_used(struct api_request *r, const struct legacy_token_use *use);
void legacy_tokens_put(struct buf *out); /* the metrics */

struct legacy_tokens;
/* From when requests are served: the thread that writes labels, and the ConfigMap when it is deleted or says no day. */
struct legacy_tokens *legacy_tokens_start(struct apiserver *s, struct status *reterr);
void legacy_tokens_end(struct legacy_tokens *t);  /* its thread, while requests are still served */
void legacy_tokens_free(struct legacy_tokens *t); /* when no request is under way. NULL is fine for both */
#endif
