/* Structured authentication without a network: what of a configuration is refused and in which words, what claims make of a user, key sets, and the counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "apiserver/config_file.h"
#include "apiserver/oidc/claims.h"
#include "apiserver/oidc/jwt_authenticator.h"
#include "base/str.h"
#include "wire/jwks.h"
#include "wire/x509.h"

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
#define ISSUER "issuer: {url: 'https://a.example', audiences: [x]}"
#define NAME "claimMappings: {username: {claim: sub, prefix: ''}}"
#define JWT(issuer, rest) HEAD "jwt: [{" issuer ", " rest "}]"

/* The errors of a configuration in one line; "" when it is fine. */
static const char *errors_of(struct arena *a, const char *text) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct authentication_config *c = ARENA_NEW(a, struct authentication_config);
    struct field_errors errs = field_errors_in(a);
    struct string_list disallowed = {0};
    string_list_push(a, &disallowed, "https://kubernetes.default.svc");
    if (authentication_config_parse(a, text, strlen(text), c, &err) != 0) return arena_strdup(a, status_message(&err));
    authentication_config_validate(c, &disallowed, &errs);
    if (!errs.len) return "";
    config_file_refuse(&errs, "", &err);
    return arena_strdup(a, status_message(&err));
}

static void configurations_are_checked_in_upstreams_words(void **state UNUSED) {
    static const struct { const char *text, *words; } cases[] = {
        {HEAD, ""}, {JWT(ISSUER, NAME), ""}, {"", "empty config data"},
        {"kind: AuthenticationConfiguration", "Object 'apiVersion' is missing in '{\"kind\":\"AuthenticationConfiguration\"}'"},
        {"apiVersion: apiserver.config.k8s.io/v2\nkind: AuthenticationConfiguration", "no kind \"AuthenticationConfiguration\" is registered for version \"apiserver.config.k8s.io/v2\""},
        {"apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration", ""},
        {HEAD "jwt: [{issuer: {uri: x}}]", "strict decoding error: unknown field \"jwt[0].issuer.uri\""},
        {HEAD "jwt: []\njwt: []", "strict decoding error: yaml: unmarshal errors:\n  line 4: key \"jwt\" already set in map"},
        {JWT("issuer: {audiences: [x]}", NAME), "jwt[0].issuer.url: Required value"},
        {JWT("issuer: {url: 'http://u:p@h/?q#f', audiences: [x]}", NAME),
         "[jwt[0].issuer.url: Invalid value: \"http://u:p@h/?q#f\": URL scheme must be https, jwt[0].issuer.url: Invalid value: \"http://u:p@h/?q#f\": URL must not contain a username or password, "
         "jwt[0].issuer.url: Invalid value: \"http://u:p@h/?q#f\": URL must not contain a query, jwt[0].issuer.url: Invalid value: \"http://u:p@h/?q#f\": URL must not contain a fragment]"},
        {JWT("issuer: {url: 'https://kubernetes.default.svc', audiences: [x]}", NAME), "jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc\": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc]"},
        {JWT("issuer: {url: 'https://a', discoveryURL: 'https://a/', audiences: [x]}", NAME), "jwt[0].issuer.discoveryURL: Invalid value: \"https://a/\": discoveryURL must be different from URL"},
        {JWT("issuer: {url: 'https://a'}", NAME), "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"},
        {JWT("issuer: {url: 'https://a', audiences: [x, x, '']}", NAME),
         "[jwt[0].issuer.audiences[1]: Duplicate value: \"x\", jwt[0].issuer.audiences[2]: Required value, jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences]"},
        {JWT("issuer: {url: 'https://a', audiences: [x, z], audienceMatchPolicy: MatchAny}", NAME), ""},
        {JWT("issuer: {url: 'https://a', audiences: [x], audienceMatchPolicy: All}", NAME), "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"All\": audienceMatchPolicy must be empty or MatchAny for single audience"},
        {JWT("issuer: {url: 'https://a', audiences: [x], certificateAuthority: 'no'}", NAME), "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates"},
        {JWT("issuer: {url: 'https://a', audiences: [x], egressSelectorType: moon}", NAME), "jwt[0].issuer.egressSelectorType: Invalid value: \"moon\": egress selector must be either controlplane or cluster"},
        {HEAD "jwt: [{" ISSUER ", " NAME "}, {" ISSUER ", " NAME "}]", "jwt[1].issuer.url: Duplicate value: \"https://a.example\""},
        {JWT(ISSUER, "claimMappings: {}"), "jwt[0].claimMappings.username: Required value: claim or expression is required"},
        {JWT(ISSUER, "claimMappings: {username: {claim: sub}}"), "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing"},
        {JWT(ISSUER, "claimMappings: {username: {claim: sub, expression: claims.sub}}"), "jwt[0].claimMappings.username: Invalid value: \"\": claim and expression can't both be set"},
        {JWT(ISSUER, "claimMappings: {username: {prefix: p, expression: claims.sub}}"), "jwt[0].claimMappings.username.prefix: Invalid value: \"p\": may not be specified when expression is set"},
        {JWT(ISSUER, "claimMappings: {username: {expression: user.name}}"),
         "jwt[0].claimMappings.username.expression: Invalid value: \"user.name\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'user' (in container '')\n | user.name\n | ^"},
        {JWT(ISSUER, "claimMappings: {username: {expression: claims.email}}"),
         "jwt[0].claimMappings.username.expression: Invalid value: \"claims.email\": claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or "
         "claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"},
        {JWT(ISSUER, "claimMappings: {username: {expression: 'claims.?email.orValue(\"\")'}}"), "*claims.email_verified must be used"},
        {JWT(ISSUER, "claimMappings: {username: {expression: 'claims[\"email\"]'}}"), ""},
        {JWT(ISSUER, "claimMappings: {username: {expression: claims.email}, extra: [{key: a.b/c, valueExpression: 'string(claims.email_verified)'}]}"), ""},
        {JWT(ISSUER, "claimMappings: {username: {expression: claims.email}}, claimValidationRules: [{expression: 'claims.?email_verified.orValue(true) == true'}]"), ""},
        {JWT(ISSUER, "claimMappings: {username: {claim: a, prefix: ''}, uid: {claim: a, expression: claims.b}}"), "jwt[0].claimMappings.uid: Invalid value: \"\": claim and expression can't both be set"},
        {JWT(ISSUER, "claimMappings: {username: {claim: a, prefix: ''}, extra: [{key: x.k8s.io/A, valueExpression: claims.b}, {key: a.b/c}]}"),
         "[jwt[0].claimMappings.extra[0].key: Invalid value: \"x.k8s.io/A\": must be lowercase, jwt[0].claimMappings.extra[0].key: Invalid value: \"x.k8s.io/A\": k8s.io, kubernetes.io and their subdomains are reserved for "
         "Kubernetes use, jwt[0].claimMappings.extra[1].valueExpression: Required value]"},
        {JWT(ISSUER, NAME ", claimValidationRules: [{}, {claim: a, expression: 'true'}, {claim: b, message: m}, {claim: b}, {expression: 'true', requiredValue: v}, {expression: 'true'}, {expression: claims.x}]"),
         "[jwt[0].claimValidationRules[0]: Required value: claim or expression is required, jwt[0].claimValidationRules[1]: Invalid value: \"a\": claim and expression can't both be set, "
         "jwt[0].claimValidationRules[2].message: Invalid value: \"m\": may not be specified when claim is set, jwt[0].claimValidationRules[3].claim: Duplicate value: \"b\", "
         "jwt[0].claimValidationRules[4].requiredValue: Invalid value: \"v\": may not be specified when expression is set, jwt[0].claimValidationRules[5].expression: Duplicate value: \"true\", "
         "jwt[0].claimValidationRules[6].expression: Invalid value: \"claims.x\": must evaluate to bool]"},
        {JWT(ISSUER, NAME ", userValidationRules: [{}, {expression: user.username}, {expression: user.name == ''}, {expression: user.username == ''}, {expression: user.username == ''}]"),
         "[jwt[0].userValidationRules[0].expression: Required value, jwt[0].userValidationRules[1].expression: Invalid value: \"user.username\": must evaluate to bool, "
         "jwt[0].userValidationRules[2].expression: Invalid value: \"user.name == ''\": compilation failed: ERROR: <input>:1:5: undefined field 'name'\n | user.name == ''\n | ....^, "
         "jwt[0].userValidationRules[4].expression: Duplicate value: \"user.username == ''\"]"},
        {HEAD "anonymous: {enabled: false, conditions: [{path: /livez}]}", "anonymous.conditions: Invalid value: [{\"Path\":\"/livez\"}]: enabled should be set to true when conditions are defined"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *got = errors_of(a, cases[i].text), *want = cases[i].words;
        if (*want == '*' ? !strstr(got, want + 1) : strcmp(got, want) != 0) fail_msg("case %zu:\n got %s\nwant %s", i, got, want);
    }
}

static void too_many_issuers(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *text = HEAD "jwt:";
    for (int i = 0; i < 65; i++) text = arena_printf(a, "%s\n- {issuer: {url: 'https://i%d', audiences: [x]}, " NAME "}", text, i);
    assert_string_equal(errors_of(a, text), "jwt: Too many: 65: must have at most 64 items");
}

/* "name|uid|groups|extra" or the error. */
static const char *user_of(struct arena *a, const char *config, const char *claims_text) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct authentication_config *c = ARENA_NEW(a, struct authentication_config);
    struct field_errors errs = field_errors_in(a);
    struct user_info u;
    assert_int_equal(authentication_config_parse(a, config, strlen(config), c, NULL), 0);
    authentication_config_validate(c, NULL, &errs);
    if (errs.len) fail_msg("%s: %s", errs.items[0].field, errs.items[0].detail);
    yyjson_val *claims = claims_parse(a, claims_text, strlen(claims_text), &err);
    if (!claims || jwt_user(c->file.jwt.items, c->programs, 0, a, claims, &u, &err) != 0) return arena_strdup(a, status_message(&err));
    const char *text = arena_printf(a, "%s|%s|", u.name, str_or(u.uid, ""));
    for (size_t i = 0; i < u.groups.len; i++) text = arena_printf(a, "%s%s%s", text, i ? "," : "", u.groups.items[i]);
    text = arena_printf(a, "%s|", text);
    LIST_FOREACH(e, &u.extra)
        for (size_t i = 0; i < e->value.len; i++) text = arena_printf(a, "%s%s=%s;", text, e->key, e->value.items[i]);
    return text;
}

static void claims_become_users(void **state UNUSED) {
    static const struct { const char *rest, *claims, *want; } cases[] = {
        {"claimMappings: {username: {claim: sub, prefix: 'p:'}}", "{\"sub\":\"ann\",\"jti\":\"1\"}", "p:ann|||authentication.kubernetes.io/credential-id=JTI=1;"},
        {"claimMappings: {username: {claim: sub, prefix: ''}}", "{}", "oidc: parse username claims \"sub\": claim not present"},
        {"claimMappings: {username: {claim: sub, prefix: ''}}", "{\"sub\":7}", "oidc: parse username claims \"sub\": json: cannot unmarshal number into Go value of type string"},
        {"claimMappings: {username: {claim: sub, prefix: 'x'}}", "{\"sub\":\"\"}", "oidc: parse username claims \"sub\": claim is empty"},
        {"claimMappings: {username: {claim: sub, prefix: 'x'}}", "{\"sub\":\"a\",\"sub\":\"b\"}", "a claim is there twice"},
        {"claimMappings: {username: {claim: email, prefix: ''}}", "{\"email\":\"a@b\"}", "a@b|||"},
        {"claimMappings: {username: {claim: email, prefix: ''}}", "{\"email\":\"a@b\",\"email_verified\":false}", "oidc: email not verified"},
        {"claimMappings: {username: {claim: email, prefix: ''}}", "{\"email\":\"a@b\",\"email_verified\":\"true\"}", "oidc: parse 'email_verified' claim: json: cannot unmarshal string into Go value of type bool"},
        {"claimMappings: {username: {claim: sub, prefix: ''}, groups: {claim: g, prefix: 'o:'}}", "{\"sub\":\"a\",\"g\":[\"x\",\"y\"]}", "a||o:x,o:y|"},
        {"claimMappings: {username: {claim: sub, prefix: ''}, groups: {claim: g, prefix: 'o:'}}", "{\"sub\":\"a\",\"g\":\"x\"}", "a||o:x|"},
        {"claimMappings: {username: {claim: sub, prefix: ''}, groups: {claim: g, prefix: 'o:'}}", "{\"sub\":\"a\"}", "a|||"},
        {"claimMappings: {username: {claim: sub, prefix: ''}, groups: {claim: g, prefix: 'o:'}}", "{\"sub\":\"a\",\"g\":{}}", "oidc: parse groups claim \"g\": json: cannot unmarshal object into Go value of type string"},
        {"claimMappings: {username: {expression: claims.sub + '!'}}", "{\"sub\":\"a\"}", "a!|||"},
        {"claimMappings: {username: {expression: claims.sub}}", "{\"sub\":\"\"}", "oidc: empty username via CEL expression is not allowed"},
        {"claimMappings: {username: {expression: claims.sub}}", "{\"sub\":true}", "oidc: error evaluating username claim expression: username claim expression must return a string"},
        {"claimMappings: {username: {expression: claims.sub}}", "{}", "oidc: error evaluating username claim expression: expression 'claims.sub' resulted in error: no such key: sub"},
        {"claimMappings: {username: {claim: s, prefix: ''}, groups: {expression: 'claims.a + [\"z\", \"\"]'}}", "{\"s\":\"u\",\"a\":[\"x\"]}", "u||x,z|"},
        {"claimMappings: {username: {claim: s, prefix: ''}, groups: {expression: claims.a}}", "{\"s\":\"u\",\"a\":\"\"}", "u|||"},
        {"claimMappings: {username: {claim: s, prefix: ''}, groups: {expression: claims.a}}", "{\"s\":\"u\",\"a\":null}", "u|||"},
        {"claimMappings: {username: {claim: s, prefix: ''}, groups: {expression: claims.a}}", "{\"s\":\"u\",\"a\":[1]}", "oidc: error evaluating group claim expression: expression must return a string or a list of strings"},
        {"claimMappings: {username: {claim: s, prefix: ''}, groups: {expression: claims.a}}", "{\"s\":\"u\",\"a\":5}", "oidc: error evaluating group claim expression: expression must return a string or a list of strings"},
        {"claimMappings: {username: {claim: s, prefix: ''}, uid: {claim: i}, extra: [{key: b.c/d, valueExpression: claims.x__dot__y}, {key: a.b/c, valueExpression: 'claims.e.map(v, v + \"1\")'}]}",
         "{\"s\":\"u\",\"i\":\"7\",\"x.y\":\"dot\",\"e\":[\"p\",\"q\"]}", "u|7||a.b/c=p1;a.b/c=q1;b.c/d=dot;"},
        {NAME ", claimValidationRules: [{claim: hd, requiredValue: e}]", "{\"sub\":\"a\"}", "oidc: required claim hd not present in ID token"},
        {NAME ", claimValidationRules: [{claim: hd, requiredValue: e}]", "{\"sub\":\"a\",\"hd\":\"f\"}", "oidc: required claim hd value does not match. Got = f, want = e"},
        {NAME ", claimValidationRules: [{claim: hd, requiredValue: e}]", "{\"sub\":\"a\",\"hd\":[\"e\"]}", "oidc: parse claim hd: json: cannot unmarshal array into Go value of type string"},
        {NAME ", claimValidationRules: [{claim: hd}]", "{\"sub\":\"a\",\"hd\":\"\"}", "a|||"},
        {NAME ", claimValidationRules: [{expression: claims.n > 1, message: m}]", "{\"sub\":\"a\",\"n\":1}", "oidc: error evaluating claim validation expression: validation expression 'claims.n > 1' failed: m"},
        {NAME ", claimValidationRules: [{expression: claims.n > 1}]", "{\"sub\":\"a\",\"n\":2}", "a|||"},
        {NAME ", claimValidationRules: [{expression: claims.n > 1}]", "{\"sub\":\"a\"}", "oidc: error evaluating claim validation expression: expression 'claims.n > 1' resulted in error: no such key: n"},
        {NAME ", userValidationRules: [{expression: 'size(user.groups) == 0 && user.uid == \"\" && size(user.extra) == 0'}]", "{\"sub\":\"a\"}", "a|||"},
        {NAME ", userValidationRules: [{expression: '!user.username.startsWith(\"system:\")', message: reserved}]", "{\"sub\":\"system:admin\"}",
         "oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith(\"system:\")' failed: reserved"},
        {NAME, "[]", "json: cannot unmarshal array into Go value of type oidc.idToken"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *got = user_of(a, arena_printf(a, HEAD "jwt: [{" ISSUER ", %s}]", cases[i].rest), cases[i].claims);
        if (strcmp(got, cases[i].want) != 0) fail_msg("case %zu:\n got %s\nwant %s", i, got, cases[i].want);
    }
}

static void key_sets_verify_what_they_should(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    char file[] = "/tmp/ckube-jwks-XXXXXX";
    struct jwt_keys keys = {0};
    struct jwt t;
    _cleanup_buf_ struct buf jwk = BUF_INIT;
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    unlink(file);
    assert_int_equal(x509_make_key(file, NULL), 0);
    assert_int_equal(jwt_keys_load(file, &keys, NULL), 0);
    unlink(file);
    jwt_key_jwk(keys.items[0], &jwk);
    assert_int_equal(jwt_parse(a, jwt_sign(a, keys.items[0], "{}", 2, NULL), &t, NULL), 0);
    const char *good = buf_cstr(&jwk), *sets[][2] = {
        {arena_printf(a, "{\"keys\":[%s]}", good), "yes"}, {arena_printf(a, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"},{\"kty\":\"RSA\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"},7,%s]}", good), "yes"}, {"{\"keys\":[]}", ""},
        {arena_printf(a, "{\"keys\":[{\"kid\":\"other\",%s]}", strstr(good, "\"kty\"")), ""}};
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        struct jwks *s = jwks_parse(sets[i][0], strlen(sets[i][0]), NULL);
        assert_non_null(s);
        if (jwks_verify(s, &t) != (*sets[i][1] != 0)) fail_msg("set %zu: %s", i, sets[i][0]);
        jwks_unref(s);
    }
    /* a key that says its algorithm is for no other; nothing that a token names makes a public key a secret */
    struct jwks *s = jwks_parse(sets[0][0], strlen(sets[0][0]), NULL);
    for (size_t i = 0; i < 5; i++) {
        struct jwt wrong = t;
        wrong.alg = ((const char *const[]){"none", "HS256", "RS256", "ES384", "PS256"})[i];
        assert_false(jwks_verify(s, &wrong));
    }
    assert_int_equal(jwks_len(s), 1);
    jwks_unref(s);
    assert_false(jwks_verify(NULL, &t));
    static const char *const bad[] = {"", "[]", "{}", "{\"keys\":{}}", "{"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_null(jwks_parse(bad[i], strlen(bad[i]), NULL));
    jwt_keys_release(&keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations_are_checked_in_upstreams_words), cmocka_unit_test(too_many_issuers), cmocka_unit_test(claims_become_users),
        cmocka_unit_test(key_sets_verify_what_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
