/* Tokens from anybody: they are parsed, never verify, and never crash. Keys and key sets from issuers likewise. */
#include <stdint.h>
#include <stdlib.h>
#include "wire/jwks.h"
#include "wire/jwt.h"

static const char *const pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct jwt_keys keys;
    if (!keys.len && jwt_keys_parse(pem, __builtin_strlen(pem), &keys, NULL) != 0) abort();
    _cleanup_arena_ struct arena *a = arena_new();
    struct jwt t;
    if (jwt_parse(a, arena_strndup(a, (const char *)data, size), &t, NULL) == 0 && jwt_verify(&t, keys.items[0])) abort();
    struct jwt_keys more = {0};
    int r = jwt_keys_parse((const char *)data, size, &more, NULL);
    (void)r;
    jwt_keys_release(&more);
    struct jwks *set = jwks_parse((const char *)data, size, NULL);
    const struct jwt forged = {.alg = "ES256", .signed_text = "a.b", .signed_len = 3, .signature = (const unsigned char *)pem, .signature_len = 64};
    if (jwks_verify(set, &forged)) abort();
    jwks_unref(set);
    return 0;
}
