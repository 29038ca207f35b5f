/* ServiceAccounts' tokens: issuing them (TokenRequest) and telling whose they are. Upstream: pkg/serviceaccount.
 *
 * A token is bound to its ServiceAccount, and perhaps to a Pod, Secret or Node, by uid: it is worth nothing once one of them has gone. Signatures that
 * were found good are remembered by the token's hash; everything else is looked up in the store each time. Any thread.
 * Tests: tests/unit/test_tokens.c, tests/integration/test_auth.py. */
#ifndef CKUBE_APISERVER_SERVICE_ACCOUNT_TOKENS_H
#define CKUBE_APISERVER_SERVICE_ACCOUNT_TOKENS_H
#include "apiserver/legacy_tokens.h"
#include "apiserver/request.h"
#include "store/store.h"
#include "wire/jwt.h"

enum { TOKEN_SECONDS_WARN_ONLY = 3607, TOKEN_SECONDS_EXTENDED = 365 * 24 * 3600 };

struct service_account_tokens;
struct service_account_tokens_options {
    const char *signing_key_file;      /* NULL: nothing can be issued */
    const char *key_files;             /* commas; NULL: the signing key's public half alone */
    const char *issuers;               /* commas; the first issues */
    const char *audiences;             /* commas; NULL: the first issuer */
    bool no_extended_expiration;
    int64_t max_expiration_s;          /* 0: none */
};
struct service_account_tokens *service_account_tokens_new(const struct service_account_tokens_options *o, struct status *reterr);
void service_account_tokens_free(struct service_account_tokens *s);
const struct string_list *service_account_audiences(const struct service_account_tokens *s); /* of this apiserver */
const struct string_list *service_account_issuers(const struct service_account_tokens *s);
const char *service_account_issuer(const struct service_account_tokens *s);
const struct jwt_key *service_account_signing_key(const struct service_account_tokens *s); /* NULL: none */
int64_t service_account_max_expiration(const struct service_account_tokens *s);
bool service_account_extends(const struct service_account_tokens *s);                      /* Pods' usual tokens live a year */
const struct jwt_keys *service_account_public_keys(const struct service_account_tokens *s);

enum token_outcome { TOKEN_NOT_OURS, TOKEN_REFUSED, TOKEN_GOOD };
struct token_verdict {
    struct user_info user;
    struct string_list audiences;      /* those asked for that the token is for */
    const char *error;                 /* TOKEN_REFUSED: upstream's words */
    struct legacy_token_use legacy;    /* it came from a Secret; also when it was refused for being marked as invalid */
};
/* wanted NULL: this apiserver's own audiences. Memory from the arena. */
enum token_outcome service_account_authenticate(struct service_account_tokens *s, struct store *store, int64_t now_s, struct arena *a, const char *token, const struct string_list *wanted,
                                                struct token_verdict *ret);

/* POST serviceaccounts/NAME/token. */
void handle_token_request(struct api_request *r);
/* /openid/v1/jwks and /.well-known/openid-configuration; false for other paths. */
bool handle_openid(struct api_request *r);
#endif
