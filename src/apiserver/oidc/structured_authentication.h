/* The JWT and anonymous authenticators as they are configured: by --authentication-config, a file that is read again when it changes, or by the --oidc-* flags.
 * Upstream: kubeapiserver/options authentication.go.
 *
 * A changed file takes effect once it is valid and all its issuers have been discovered; until then, and if that fails, what was there before stays in force. How anonymous
 * requests are treated cannot change while the server runs. Any thread. Tests: tests/integration/test_oidc.py. */
#ifndef CKUBE_APISERVER_OIDC_STRUCTURED_AUTHENTICATION_H
#define CKUBE_APISERVER_OIDC_STRUCTURED_AUTHENTICATION_H
#include "apiserver/apiserver.h"
#include "apiserver/service_account_tokens.h"

struct structured_authentication;
/* disallowed: issuers of ServiceAccounts' tokens; must live as long. NULL with upstream's words. */
struct structured_authentication *structured_authentication_new(const struct apiserver_options *o, const struct string_list *disallowed, struct status *reterr);
void structured_authentication_free(struct structured_authentication *s); /* NULL is fine */
enum token_outcome structured_authenticate(struct structured_authentication *s, int64_t now_s, struct arena *a, const char *token, struct token_verdict *ret); /* in a fiber; see jwt_authenticate */
bool structured_anonymous_allowed(const struct structured_authentication *s, const char *path);
#endif
