/* Users by tokens that a server of the administrator's knows: TokenReviews are posted to it. Upstream: plugin/pkg/authenticator/token/webhook behind token/cache.
 *
 * Answers are kept for a while, both the good ones and those that do not know the token, by a keyed hash of the token: the token itself is not kept. Called in fibers; any loop.
 * Tests: tests/integration/test_token_webhook.py. */
#ifndef CKUBE_APISERVER_TOKEN_WEBHOOK_H
#define CKUBE_APISERVER_TOKEN_WEBHOOK_H
#include "apiserver/service_account_tokens.h"

struct token_webhook;
/* version: of TokenReview, v1 or v1beta1; NULL: v1beta1. ttl 0: nothing is kept. */
struct token_webhook *token_webhook_new(const char *kubeconfig_file, const char *version, int64_t ttl_ns, struct status *reterr);
void token_webhook_free(struct token_webhook *w); /* NULL is fine */
/* wanted: audiences that the token must be for; own: this server's, which an answer that names none is taken to be for. ret->error when it could not be asked. */
enum token_outcome token_webhook_authenticate(struct token_webhook *w, struct arena *a, const char *token, const struct string_list *wanted, const struct string_list *own, struct token_verdict *ret);
#endif
