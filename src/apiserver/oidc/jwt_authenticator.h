/* Users by tokens of OpenID Connect issuers: a configuration in force, its issuers, and what a token of one of them makes of its bearer.
 * Upstream: plugin/pkg/authenticator/token/oidc, kubeapiserver/authenticator newJWTAuthenticator.
 *
 * A token is looked at by the issuer that it names, and by no other. Its signature, audience and times come first; then the user from its claims, then required claims and
 * rules. Groups that are a distributed claim are fetched from where the token says, and believed only when they are signed by the issuer that they name.
 * Counted; any thread, in fibers. Tests: tests/unit/test_structured_auth.c, tests/integration/test_oidc.py. */
#ifndef CKUBE_APISERVER_OIDC_JWT_AUTHENTICATOR_H
#define CKUBE_APISERVER_OIDC_JWT_AUTHENTICATOR_H
#include "apiserver/oidc/authentication_config.h"
#include "apiserver/service_account_tokens.h"

struct jwt_authenticators;
/* Takes the arena that a validated configuration lives in (also on failure), and starts fetching. algorithms: those that tokens may be signed with. */
struct jwt_authenticators *jwt_authenticators_new(struct arena *arena, const struct authentication_config *c, const struct string_list *algorithms, struct status *reterr);
struct jwt_authenticators *jwt_authenticators_ref(struct jwt_authenticators *s);
void jwt_authenticators_unref(struct jwt_authenticators *s);
bool jwt_authenticators_in_use(struct jwt_authenticators *s); /* somebody else holds it */
void jwt_authenticators_free(struct jwt_authenticators *s);   /* nobody else holds it; NULL is fine */
bool jwt_authenticators_have_issuer(const struct jwt_authenticators *s, const char *issuer);
const char *jwt_authenticators_issuer(const struct jwt_authenticators *s, size_t i); /* NULL past the last */
/* Whether all issuers have been discovered; why not. */
bool jwt_authenticators_are_healthy(struct jwt_authenticators *s, struct status *reterr);
/* ret->user and ret->error; audiences are the caller's. */
enum token_outcome jwt_authenticate(struct jwt_authenticators *s, int64_t now_s, struct arena *a, const char *token, struct token_verdict *ret);
void jwt_authenticators_put_metrics(struct buf *out);

/* ---- jwt_user.c ---- */
/* The user of verified claims by the configuration's mappings and rules. Pure. */
int jwt_user(const struct apiserverconfigv1_JWTAuthenticator *j, const struct jwt_programs *p, int64_t now_s, struct arena *a, yyjson_val *claims, struct user_info *ret, struct status *reterr);
#endif
