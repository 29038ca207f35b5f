/* Tokens: what verifies and, more so, what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "base/str.h"
#include "wire/json.h"
#include "wire/jwt.h"

static char *pem_of(struct arena *a, EVP_PKEY *key, bool public) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    if (public) PEM_write_bio_PUBKEY(bio, key);
    else PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long len = BIO_get_mem_data(bio, &data);
    char *copy = arena_strndup(a, data, (size_t)len);
    BIO_free(bio);
    return copy;
}

/* keys->items[0] private, [1] its public half alone. */
static void make(struct arena *a, const char *kind, struct jwt_keys *keys) {
    EVP_PKEY *key = strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen(kind);
    char *private = pem_of(a, key, false), *public = pem_of(a, key, true);
    EVP_PKEY_free(key);
    assert_int_equal(jwt_keys_parse(private, strlen(private), keys, NULL), 0);
    assert_int_equal(jwt_keys_parse(public, strlen(public), keys, NULL), 0);
    assert_int_equal(keys->len, 2);
}

static bool verifies(struct arena *a, const char *token, const struct jwt_key *key) {
    struct jwt t;
    return jwt_parse(a, token, &t, NULL) == 0 && jwt_verify(&t, key);
}

static char *part(struct arena *a, const char *text) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    base64url_encode(&out, (const unsigned char *)text, strlen(text));
    return arena_strdup(a, buf_cstr(&out));
}

static void every_algorithm_signs_and_verifies(void **state UNUSED) {
    static const struct { const char *kind, *alg; } cases[] = {{"RSA", "RS256"}, {"P-256", "ES256"}, {"P-384", "ES384"}, {"P-521", "ES512"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct jwt_keys keys = {0};
        struct jwt t;
        make(a, cases[i].kind, &keys);
        const char *claims = "{\"iss\":\"x\"}";
        char *token = jwt_sign(a, keys.items[0], claims, strlen(claims), NULL);
        assert_non_null(token);
        assert_int_equal(jwt_parse(a, token, &t, NULL), 0);
        assert_string_equal(t.alg, cases[i].alg);
        assert_string_equal(t.kid, jwt_key_id(keys.items[1]));
        assert_memory_equal(t.payload, claims, strlen(claims));
        assert_true(jwt_verify(&t, keys.items[0]));
        assert_true(jwt_verify(&t, keys.items[1]));
        assert_null(jwt_sign(a, keys.items[1], claims, strlen(claims), NULL)); /* a public key does not sign */
        _cleanup_buf_ struct buf jwk = BUF_INIT;
        jwt_key_jwk(keys.items[1], &jwk);
        assert_non_null(strstr(jwk.data, cases[i].alg));
        jwt_keys_release(&keys);
    }
}

static void changed_tokens_do_not_verify(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct jwt_keys keys = {0}, other = {0};
    make(a, "P-256", &keys);
    make(a, "P-256", &other);
    char *token = jwt_sign(a, keys.items[0], "{\"sub\":\"a\"}", 11, NULL);
    assert_true(verifies(a, token, keys.items[1]));
    assert_false(verifies(a, token, other.items[1]));
    for (size_t i = 0; token[i] && token[i + 1]; i++) { /* the very last character holds bits that are no part of the signature */
        char *changed = arena_strdup(a, token);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        if (strcmp(changed, token) != 0 && verifies(a, changed, keys.items[1])) fail_msg("changed at %zu and still good", i);
    }
    for (size_t len = 0; len < strlen(token) - 1; len++) assert_false(verifies(a, arena_strndup(a, token, len), keys.items[1]));
    assert_false(verifies(a, arena_printf(a, "%sA", token), keys.items[1]));
    assert_false(verifies(a, arena_printf(a, "%s.%s", token, "A"), keys.items[1]));
    jwt_keys_release(&keys);
    jwt_keys_release(&other);
}

/* none, and HMAC with the public key's own text as the secret: the classic confusions. */
static void a_token_does_not_choose_its_algorithm(void **state UNUSED) {
    static const char *const kinds[] = {"RSA", "P-256"};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct jwt_keys keys = {0};
        make(a, kinds[k], &keys);
        static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}", "{\"alg\":\"\"}", "{\"alg\":null}", "{}", "{\"alg\":\"HS256\"}", "{\"alg\":\"RS384\"}", "{\"alg\":\"PS256\"}", "{\"alg\":\"ES256\\u0000\"}",
                                              "{\"alg\":\"RS256\",\"crit\":[\"x\"]}", "{\"alg\":\"RS256\",\"b64\":false}", "[]", "null", "\"RS256\"", "{\"alg\":[\"RS256\"]}"};
        for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
            char *text = arena_printf(a, "%s.%s", part(a, headers[i]), part(a, "{\"sub\":\"admin\"}"));
            assert_false(verifies(a, arena_printf(a, "%s.", text), keys.items[1]));
            assert_false(verifies(a, arena_printf(a, "%s.AAAA", text), keys.items[1]));
        }
        EVP_PKEY *any = EVP_EC_gen("P-256");
        char *pem = pem_of(a, any, true); /* whatever public text: the secret is the attacker's to choose */
        unsigned char mac[32];
        unsigned len;
        char *text = arena_printf(a, "%s.%s", part(a, "{\"alg\":\"HS256\"}"), part(a, "{\"sub\":\"admin\"}"));
        HMAC(EVP_sha256(), pem, (int)strlen(pem), (unsigned char *)text, strlen(text), mac, &len);
        _cleanup_buf_ struct buf sig = BUF_INIT;
        base64url_encode(&sig, mac, len);
        assert_false(verifies(a, arena_printf(a, "%s.%s", text, sig.data), keys.items[1]));
        EVP_PKEY_free(any);
        jwt_keys_release(&keys);
    }
}

static void keys_of_other_kinds_and_sizes(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct jwt_keys rsa = {0}, ec = {0}, wide = {0}, bad = {0};
    make(a, "RSA", &rsa);
    make(a, "P-256", &ec);
    make(a, "P-384", &wide);
    char *token = jwt_sign(a, rsa.items[0], "{}", 2, NULL);
    assert_false(verifies(a, token, ec.items[1]));
    assert_false(verifies(a, jwt_sign(a, ec.items[0], "{}", 2, NULL), rsa.items[1]));
    assert_false(verifies(a, jwt_sign(a, ec.items[0], "{}", 2, NULL), wide.items[1]));
    EVP_PKEY *small = EVP_RSA_gen(1024), *curve = EVP_EC_gen("secp256k1"), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_PKEY *const refused[] = {small, curve, ed};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char *pem = pem_of(a, refused[i], true);
        assert_int_equal(jwt_keys_parse(pem, strlen(pem), &bad, NULL), -1);
        EVP_PKEY_free(refused[i]);
    }
    assert_int_equal(jwt_keys_parse("", 0, &bad, NULL), -1);
    assert_int_equal(jwt_keys_parse("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 56, &bad, NULL), -1);
    jwt_keys_release(&rsa);
    jwt_keys_release(&ec);
    jwt_keys_release(&wide);
    jwt_keys_release(&bad);
}

/* A zero ECDSA signature once verified for everything in a well-known library. */
static void zero_signatures_do_not_verify(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct jwt_keys keys = {0};
    make(a, "P-256", &keys);
    unsigned char zero[64] = {0};
    _cleanup_buf_ struct buf sig = BUF_INIT;
    base64url_encode(&sig, zero, sizeof(zero));
    assert_false(verifies(a, arena_printf(a, "%s.%s.%s", part(a, "{\"alg\":\"ES256\"}"), part(a, "{}"), sig.data), keys.items[1]));
    jwt_keys_release(&keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_algorithm_signs_and_verifies), cmocka_unit_test(changed_tokens_do_not_verify), cmocka_unit_test(a_token_does_not_choose_its_algorithm),
                                       cmocka_unit_test(keys_of_other_kinds_and_sizes), cmocka_unit_test(zero_signatures_do_not_verify)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
