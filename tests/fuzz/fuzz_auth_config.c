/* Configurations of authentication and authorization, audit policies, and what verified tokens say: refused or taken, never a crash. The first byte chooses. */
#include <stdint.h>
#include "apiserver/audit.h"
#include "apiserver/authorization_config.h"
#include "apiserver/oidc/claims.h"
#include "apiserver/oidc/jwt_authenticator.h"

static const char mapping[] = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [{issuer: {url: 'https://a', audiences: [x]}, claimMappings: {username: {claim: sub, prefix: ''}, "
                              "groups: {expression: claims.groups}, extra: [{key: a.b/c, valueExpression: 'claims.deep.a__dot__b'}]}}]";

static struct authentication_config *read_authentication(struct arena *a, const char *text, size_t len) {
    struct authentication_config *c = ARENA_NEW(a, struct authentication_config);
    struct field_errors errs = field_errors_in(a);
    if (authentication_config_parse(a, text, len, c, NULL) != 0) return NULL;
    authentication_config_validate(c, NULL, &errs);
    return errs.len ? NULL : c;
}

static void read_claims(struct arena *a, const char *text, size_t len) {
    struct authentication_config *c = read_authentication(a, mapping, sizeof(mapping) - 1);
    struct user_info u;
    CHECK(c);
    yyjson_val *claims = claims_parse(a, text, len, NULL);
    if (claims && jwt_user(c->file.jwt.items, c->programs, 0, a, claims, &u, NULL) == 0) CHECK(u.name && *u.name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct authorization_config z;
    if (!size) return 0;
    const char *text = arena_strndup(a, (const char *)data + 1, size - 1);
    if (data[0] == 'n') read_authentication(a, text, size - 1);
    if (data[0] == 'z' && authorization_config_parse(a, text, size - 1, NULL, &z, NULL) == 0) CHECK(z.len);
    if (data[0] == 'a') audit_policy_free(audit_policy_parse(text, size - 1, NULL));
    if (data[0] == 'c') read_claims(a, text, size - 1);
    return 0;
}
