/* AuthenticationConfiguration: the file of --authentication-config, or what the --oidc-* flags come to; with its expressions compiled. Pure.
 * Upstream: apiserver/pkg/apis/apiserver AuthenticationConfiguration with its validation, apiserver/pkg/authentication/cel.
 * Tests: tests/unit/test_structured_auth.c. */
#ifndef CKUBE_APISERVER_OIDC_AUTHENTICATION_CONFIG_H
#define CKUBE_APISERVER_OIDC_AUTHENTICATION_CONFIG_H
#include "api/cel/cel.h"
#include "api/field_error.h"

enum { JWT_AUTHENTICATORS_MAX = 64 };

/* The expressions of one JWTAuthenticator; NULL where there is none. Rules are in the order of the file, with NULL for those that name a claim. */
struct jwt_programs {
    const struct cel_program *username, *groups, *uid, **extra, **claim_rules, **user_rules;
};
struct authentication_config {
    struct apiserverconfigv1_AuthenticationConfiguration file;
    struct jwt_programs programs[JWT_AUTHENTICATORS_MAX]; /* beside file.jwt */
};
/* Decodes. All of it lives in the arena. -1 with upstream's words. */
int authentication_config_parse(struct arena *a, const char *text, size_t len, struct authentication_config *ret, struct status *reterr);
/* Compiles and checks; errs->arena must be the configuration's. disallowed: issuers of ServiceAccounts' tokens, which are not for others to name. */
void authentication_config_validate(struct authentication_config *c, const struct string_list *disallowed, struct field_errors *errs);
#endif
