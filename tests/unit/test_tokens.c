/* ServiceAccounts' tokens against a store: each claim that is wrong, and each thing that has gone, makes a token worthless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "apiserver/authentication.h"
#include "apiserver/service_account_tokens.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/x509.h"

enum { NOW = 1800000000 };
#define ISSUER "https://issuer.example"

struct world { char dir[64], key[96]; struct store *store; struct service_account_tokens *tokens; struct jwt_keys keys; struct arena *a; };

static void put(struct world *w, const char *key, const char *json) {
    struct store_op op = {.key = key, .expect_mod_revision = STORE_ANY, .value = json, .value_len = strlen(json)};
    struct store_result res;
    store_write_wait(w->store, &op, 1, &res);
    assert_int_equal(res.outcome, STORE_OK);
}

static void del(struct world *w, const char *key) {
    struct store_op op = {.key = key, .expect_mod_revision = STORE_ANY};
    struct store_result res;
    store_write_wait(w->store, &op, 1, &res);
    assert_int_equal(res.outcome, STORE_OK);
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "/tmp/ckube-tokens-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->key, sizeof(w->key), "%s/sa.key", w->dir);
    struct store_options so = {.dir = w->dir, .no_sync = true};
    assert_int_equal(store_open(&so, &w->store, NULL), 0);
    assert_int_equal(x509_make_key(w->key, NULL), 0);
    struct service_account_tokens_options o = {.signing_key_file = w->key, .issuers = ISSUER ",https://old.example", .audiences = "api,second"};
    w->tokens = service_account_tokens_new(&o, NULL);
    assert_non_null(w->tokens);
    assert_int_equal(jwt_keys_load(w->key, &w->keys, NULL), 0);
    w->a = arena_new();
    put(w, "/registry/serviceaccounts/ns/bot", "{\"metadata\":{\"name\":\"bot\",\"namespace\":\"ns\",\"uid\":\"sa-1\"}}");
    put(w, "/registry/pods/ns/p", "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"pod-1\"}}");
    put(w, "/registry/pods/ns/old", "{\"metadata\":{\"name\":\"old\",\"namespace\":\"ns\",\"uid\":\"pod-2\",\"deletionTimestamp\":\"2001-01-01T00:00:00Z\"}}");
    put(w, "/registry/secrets/ns/s", "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"uid\":\"secret-1\"}}");
    put(w, "/registry/minions/n", "{\"metadata\":{\"name\":\"n\",\"uid\":\"node-1\"}}");
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    store_close(w->store);
    service_account_tokens_free(w->tokens);
    jwt_keys_release(&w->keys);
    char *rm = arena_printf(w->a, "rm -rf %s", w->dir);
    assert_int_equal(system(rm), 0);
    arena_free(w->a);
    free(w);
    return 0;
}

static char *sign(struct world *w, const char *claims) { return jwt_sign(w->a, w->keys.items[0], claims, strlen(claims), NULL); }

/* Claims of a good token, with what a case has in place of its own. */
static char *claims(struct world *w, const char *kube, const char *rest) {
    return arena_printf(w->a, "{\"kubernetes.io\":{\"namespace\":\"ns\"%s},\"sub\":\"system:serviceaccount:ns:bot\"%s}", kube, rest);
}

#define SA ",\"serviceaccount\":{\"name\":\"bot\",\"uid\":\"sa-1\"}"
#define GOOD ",\"iss\":\"" ISSUER "\",\"aud\":[\"api\"],\"exp\":1800003600,\"nbf\":1800000000,\"iat\":1800000000,\"jti\":\"j-1\""

static void claims_are_checked(void **state) {
    static const struct { const char *kube, *rest; enum token_outcome outcome; const char *error; } cases[] = {
        {SA, GOOD, TOKEN_GOOD, NULL},
        {SA ",\"pod\":{\"name\":\"p\",\"uid\":\"pod-1\"},\"node\":{\"name\":\"gone\",\"uid\":\"x\"}", GOOD, TOKEN_GOOD, NULL},
        {SA ",\"secret\":{\"name\":\"s\",\"uid\":\"secret-1\"}", GOOD, TOKEN_GOOD, NULL},
        {SA ",\"node\":{\"name\":\"n\",\"uid\":\"node-1\"}", GOOD, TOKEN_GOOD, NULL},
        {SA, ",\"iss\":\"https://old.example\",\"aud\":\"second\",\"exp\":1800003600", TOKEN_GOOD, NULL},
        {SA, ",\"iss\":\"" ISSUER "\",\"exp\":1800003600", TOKEN_GOOD, NULL}, /* without audiences it is for the apiserver's */
        {SA, ",\"iss\":\"https://other.example\",\"aud\":[\"api\"],\"exp\":1800003600", TOKEN_NOT_OURS, NULL},
        {SA, ",\"aud\":[\"api\"],\"exp\":1800003600", TOKEN_NOT_OURS, NULL},
        {SA, ",\"iss\":\"" ISSUER "\",\"aud\":[\"vault\"],\"exp\":1800003600", TOKEN_REFUSED, "token audiences [\"vault\"] is invalid for the target audiences [\"api\" \"second\"]"},
        {SA, ",\"iss\":\"" ISSUER "\",\"aud\":[\"api\"],\"exp\":1799999939", TOKEN_REFUSED, "service account token has expired"},
        {SA, ",\"iss\":\"" ISSUER "\",\"aud\":[\"api\"],\"exp\":1799999941", TOKEN_GOOD, NULL}, /* a minute of leeway */
        {SA, ",\"iss\":\"" ISSUER "\",\"aud\":[\"api\"],\"exp\":1800003600,\"nbf\":1800000061", TOKEN_REFUSED, "service account token is not valid yet"},
        {SA, ",\"iss\":\"" ISSUER "\",\"aud\":[\"api\"],\"exp\":\"never\"", TOKEN_REFUSED, "service account token claims could not be validated due to unexpected validation error"},
        {SA, ",\"iss\":\"" ISSUER "\",\"aud\":[\"api\"],\"exp\":1800003600,\"iat\":1800000061", TOKEN_REFUSED, "service account token claims could not be validated due to unexpected validation error"},
        {"", GOOD, TOKEN_REFUSED, "serviceaccounts \"\" not found"},
        {",\"serviceaccount\":{\"name\":\"none\",\"uid\":\"sa-1\"}", GOOD, TOKEN_REFUSED, "serviceaccounts \"none\" not found"},
        {",\"serviceaccount\":{\"name\":\"../ns/bot\",\"uid\":\"sa-1\"}", GOOD, TOKEN_REFUSED, "serviceaccounts \"../ns/bot\" not found"},
        {",\"serviceaccount\":{\"name\":\"bot\",\"uid\":\"sa-0\"}", GOOD, TOKEN_REFUSED, "service account UID (sa-1) does not match claim (sa-0)"},
        {",\"serviceaccount\":{\"name\":\"bot\"}", GOOD, TOKEN_REFUSED, "service account UID (sa-1) does not match claim ()"},
        {SA ",\"pod\":{\"name\":\"p\",\"uid\":\"pod-0\"}", GOOD, TOKEN_REFUSED, "pod UID (pod-1) does not match service account pod ref claim (pod-0)"},
        {SA ",\"pod\":{\"name\":\"p\"}", GOOD, TOKEN_REFUSED, "pod UID (pod-1) does not match service account pod ref claim ()"},
        {SA ",\"pod\":{\"name\":\"gone\",\"uid\":\"pod-1\"}", GOOD, TOKEN_REFUSED, "service account token has been invalidated"},
        {SA ",\"pod\":{\"name\":\"old\",\"uid\":\"pod-2\"}", GOOD, TOKEN_REFUSED, "service account token has been invalidated"},
        {SA ",\"secret\":{\"name\":\"gone\",\"uid\":\"secret-1\"}", GOOD, TOKEN_REFUSED, "service account token has been invalidated"},
        {SA ",\"node\":{\"name\":\"gone\",\"uid\":\"node-1\"}", GOOD, TOKEN_REFUSED, "service account token has been invalidated"},
        {SA ",\"node\":{\"name\":\"n\",\"uid\":\"node-0\"}", GOOD, TOKEN_REFUSED, "node UID (node-1) does not match service account node ref claim (node-0)"},
    };
    struct world *w = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token_verdict v;
        enum token_outcome o = service_account_authenticate(w->tokens, w->store, NOW, w->a, sign(w, claims(w, cases[i].kube, cases[i].rest)), NULL, &v);
        if (o != cases[i].outcome || (cases[i].error && !str_eq(v.error, cases[i].error))) fail_msg("case %zu: %d, %s", i, (int)o, str_or(v.error, ""));
        if (o == TOKEN_GOOD) assert_string_equal(v.user.name, "system:serviceaccount:ns:bot");
    }
}

static void whose_it_is_and_for_whom(void **state) {
    struct world *w = *state;
    struct token_verdict v;
    struct string_list wanted = {0};
    const char *token = sign(w, claims(w, SA ",\"pod\":{\"name\":\"p\",\"uid\":\"pod-1\"},\"node\":{\"name\":\"n\",\"uid\":\"node-1\"}", ",\"iss\":\"" ISSUER "\",\"aud\":[\"vault\",\"ci\"],\"exp\":1800003600,\"jti\":\"j-1\""));
    string_list_push(w->a, &wanted, "ci");
    string_list_push(w->a, &wanted, "other");
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, token, &wanted, &v), TOKEN_GOOD);
    assert_int_equal(v.audiences.len, 1);
    assert_string_equal(v.audiences.items[0], "ci");
    assert_string_equal(v.user.uid, "sa-1");
    assert_int_equal(v.user.groups.len, 2);
    assert_string_equal(v.user.groups.items[1], "system:serviceaccounts:ns");
    static const char *const extra[][2] = {{"credential-id", "JTI=j-1"}, {"node-name", "n"}, {"node-uid", "node-1"}, {"pod-name", "p"}, {"pod-uid", "pod-1"}};
    assert_int_equal(v.user.extra.len, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(v.user.extra.items[i].key, arena_printf(w->a, "authentication.kubernetes.io/%s", extra[i][0]));
        assert_string_equal(v.user.extra.items[i].value.items[0], extra[i][1]);
    }
    /* remembered signatures do not outlive what the token is bound to */
    del(w, "/registry/pods/ns/p");
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, token, &wanted, &v), TOKEN_REFUSED);
    put(w, "/registry/pods/ns/p", "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"pod-1\"}}");
}

static void forged_tokens_are_refused(void **state) {
    struct world *w = *state;
    struct token_verdict v;
    char file[128];
    snprintf(file, sizeof(file), "%s/forger.key", w->dir);
    struct jwt_keys forger = {0};
    assert_int_equal(x509_make_key(file, NULL), 0);
    assert_int_equal(jwt_keys_load(file, &forger, NULL), 0);
    const char *good = claims(w, SA, GOOD), *theirs = jwt_sign(w->a, forger.items[0], good, strlen(good), NULL), *ours = sign(w, good);
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, theirs, NULL, &v), TOKEN_REFUSED);
    assert_string_equal(v.error, "invalid signature, no keys found");
    /* our header and their signature; our signature under other claims */
    const char *mixed = arena_printf(w->a, "%.*s%s", (int)(strchr(ours, '.') - ours), ours, strchr(theirs, '.'));
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, mixed, NULL, &v), TOKEN_REFUSED);
    _cleanup_buf_ struct buf other = BUF_INIT;
    const char *admin = claims(w, SA, GOOD ",\"x\":1");
    base64url_encode(&other, (const unsigned char *)admin, strlen(admin));
    const char *swapped = arena_printf(w->a, "%.*s.%s%s", (int)(strchr(ours, '.') - ours), ours, other.data, strrchr(ours, '.'));
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, swapped, NULL, &v), TOKEN_REFUSED);
    static const char *const junk[] = {"", ".", "..", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", "\xff.\xff.\xff", "{\"payload\":\"\"}"};
    for (size_t i = 0; i < ARRAY_LEN(junk); i++) assert_int_not_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, junk[i], NULL, &v), TOKEN_GOOD);
    jwt_keys_release(&forger);
}

static char *base64(struct world *w, const char *text) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    base64_encode(&out, (const unsigned char *)text, strlen(text));
    return arena_strdup(w->a, out.data);
}

static void tokens_in_secrets(void **state) {
    struct world *w = *state;
    struct token_verdict v;
#define LEGACY "\"iss\":\"kubernetes/serviceaccount\",\"kubernetes.io/serviceaccount/namespace\":\"ns\",\"kubernetes.io/serviceaccount/secret.name\":\"bot-token\",\"kubernetes.io/serviceaccount/service-account.name\":\"bot\""
    const char *good = sign(w, "{" LEGACY ",\"kubernetes.io/serviceaccount/service-account.uid\":\"sa-1\",\"sub\":\"system:serviceaccount:ns:bot\"}");
    const char *wrong_sub = sign(w, "{" LEGACY ",\"kubernetes.io/serviceaccount/service-account.uid\":\"sa-1\",\"sub\":\"system:serviceaccount:kube-system:admin\"}");
    const char *no_uid = sign(w, "{" LEGACY ",\"sub\":\"system:serviceaccount:ns:bot\"}");
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, good, NULL, &v), TOKEN_REFUSED);
    assert_string_equal(v.error, "Token has been invalidated");
    put(w, "/registry/secrets/ns/bot-token", arena_printf(w->a, "{\"metadata\":{\"name\":\"bot-token\",\"namespace\":\"ns\",\"uid\":\"x\"},\"data\":{\"token\":\"%s\"}}", base64(w, good)));
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, good, NULL, &v), TOKEN_GOOD);
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, wrong_sub, NULL, &v), TOKEN_REFUSED);
    assert_string_equal(v.error, "sub claim is invalid");
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, no_uid, NULL, &v), TOKEN_REFUSED);
    put(w, "/registry/secrets/ns/bot-token", "{\"metadata\":{\"name\":\"bot-token\",\"namespace\":\"ns\",\"uid\":\"x\"},\"data\":{\"token\":\"eHh4\"}}");
    assert_int_equal(service_account_authenticate(w->tokens, w->store, NOW, w->a, good, NULL, &v), TOKEN_REFUSED);
    assert_string_equal(v.error, "Token does not match server's copy");
}

static void bootstrap_tokens(void **state) {
    struct world *w = *state;
    static const struct { const char *type, *id, *secret, *usage, *expiration, *groups, *token; enum token_outcome outcome; } cases[] = {
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", NULL, NULL, "abcdef.0123456789abcdef", TOKEN_GOOD},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", "2100-01-01T00:00:00Z", "system:bootstrappers:a-b", "abcdef.0123456789abcdef", TOKEN_GOOD},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", "2001-01-01T00:00:00Z", NULL, "abcdef.0123456789abcdef", TOKEN_NOT_OURS},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", "soon", NULL, "abcdef.0123456789abcdef", TOKEN_NOT_OURS},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", NULL, "system:masters", "abcdef.0123456789abcdef", TOKEN_NOT_OURS},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "false", NULL, NULL, "abcdef.0123456789abcdef", TOKEN_NOT_OURS},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", NULL, NULL, "abcdef.0123456789abcdee", TOKEN_NOT_OURS},
        {"bootstrap.kubernetes.io/token", "abcdex", "0123456789abcdef", "true", NULL, NULL, "abcdef.0123456789abcdef", TOKEN_NOT_OURS},
        {"Opaque", "abcdef", "0123456789abcdef", "true", NULL, NULL, "abcdef.0123456789abcdef", TOKEN_NOT_OURS},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", NULL, NULL, "ABCDEF.0123456789abcdef", TOKEN_NOT_OURS},
        {"bootstrap.kubernetes.io/token", "abcdef", "0123456789abcdef", "true", NULL, NULL, "abcdef.", TOKEN_NOT_OURS},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct user_info u;
        char *json = arena_printf(w->a, "{\"metadata\":{\"name\":\"bootstrap-token-abcdef\",\"namespace\":\"kube-system\"},\"type\":\"%s\",\"data\":{\"token-id\":\"%s\",\"token-secret\":\"%s\",\"usage-bootstrap-authentication\":\"%s\"", cases[i].type,
                                  base64(w, cases[i].id), base64(w, cases[i].secret), base64(w, cases[i].usage));
        if (cases[i].expiration) json = arena_printf(w->a, "%s,\"expiration\":\"%s\"", json, base64(w, cases[i].expiration));
        if (cases[i].groups) json = arena_printf(w->a, "%s,\"auth-extra-groups\":\"%s\"", json, base64(w, cases[i].groups));
        put(w, "/registry/secrets/kube-system/bootstrap-token-abcdef", arena_printf(w->a, "%s}}", json));
        enum token_outcome o = bootstrap_token_authenticate(w->store, NOW, w->a, cases[i].token, &u);
        if (o != cases[i].outcome) fail_msg("case %zu: %d", i, (int)o);
        if (o == TOKEN_GOOD) assert_string_equal(u.name, "system:bootstrap:abcdef");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(claims_are_checked), cmocka_unit_test(whose_it_is_and_for_whom), cmocka_unit_test(forged_tokens_are_refused), cmocka_unit_test(tokens_in_secrets),
                                       cmocka_unit_test(bootstrap_tokens)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
