#include "wire/jwks.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdatomic.h>
#include <string.h>
#include "base/str.h"
#include "wire/json.h"

enum { NUMBER_BYTES_MAX = 2048 };

struct key { EVP_PKEY *pkey; char *kid, *alg; /* NULL: it says none */ };
struct jwks {
    atomic_int refs;
    struct key *items;
    size_t len;
};

static BIGNUM *number_of(struct arena *a, yyjson_val *jwk, const char *name) {
    const char *text = yyjson_get_str(yyjson_obj_get(jwk, name));
    unsigned char *bytes;
    size_t len;
    if (!text || base64url_decode(a, text, strlen(text), &bytes, &len, NULL) != 0 || len == 0 || len > NUMBER_BYTES_MAX) return NULL;
    return BN_bin2bn(bytes, (int)len, NULL);
}

static EVP_PKEY *key_of_params(const char *type, OSSL_PARAM_BLD *build) {
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;
    CHECK(ctx);
    if (!params || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *rsa_key(struct arena *a, yyjson_val *jwk) {
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = number_of(a, jwk, "n"), *e = number_of(a, jwk, "e");
    CHECK(build);
    EVP_PKEY *key = n && e && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1 ? key_of_params("RSA", build) : NULL;
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return key;
}

/* The point is checked to be on its curve. */
static EVP_PKEY *ec_key(struct arena *a, yyjson_val *jwk) {
    static const struct { const char *name, *group; int size; } curves[] = {{"P-256", "prime256v1", 32}, {"P-384", "secp384r1", 48}, {"P-521", "secp521r1", 66}};
    const char *crv = yyjson_get_str(yyjson_obj_get(jwk, "crv"));
    unsigned char point[1 + 2 * 66] = {4}; /* uncompressed */
    size_t i = 0;
    while (i < ARRAY_LEN(curves) && !str_eq(curves[i].name, crv)) i++;
    if (i == ARRAY_LEN(curves)) return NULL;
    int size = curves[i].size;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *x = number_of(a, jwk, "x"), *y = number_of(a, jwk, "y");
    CHECK(build);
    bool ok = x && y && BN_bn2binpad(x, point + 1, size) == size && BN_bn2binpad(y, point + 1 + size, size) == size &&
              OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group, 0) == 1 && OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * (size_t)size) == 1;
    EVP_PKEY *key = ok ? key_of_params("EC", build) : NULL;
    OSSL_PARAM_BLD_free(build);
    BN_free(x);
    BN_free(y);
    return key;
}

static char *copy_of(yyjson_val *jwk, const char *name) {
    const char *s = yyjson_get_str(yyjson_obj_get(jwk, name));
    return str_empty(s) ? NULL : strdup(s);
}

static void add(struct jwks *s, struct arena *a, yyjson_val *jwk) {
    const char *kty = yyjson_get_str(yyjson_obj_get(jwk, "kty")), *use = yyjson_get_str(yyjson_obj_get(jwk, "use"));
    if (!str_empty(use) && !str_eq(use, "sig")) return;
    EVP_PKEY *key = str_eq(kty, "RSA") ? rsa_key(a, jwk) : str_eq(kty, "EC") ? ec_key(a, jwk) : NULL;
    if (key) s->items[s->len++] = (struct key){key, copy_of(jwk, "kid"), copy_of(jwk, "alg")};
}

struct jwks *jwks_parse(const char *text, size_t len, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    yyjson_doc *doc = json_parse_in(a, text, len, 0, reterr);
    yyjson_val *keys = doc ? yyjson_obj_get(yyjson_doc_get_root(doc), "keys") : NULL, *item;
    size_t i, max;
    if (!doc) return NULL;
    if (!yyjson_is_arr(keys)) {
        status_bad_request(reterr, "the key set has no list of keys");
        return NULL;
    }
    struct jwks *s = calloc(1, sizeof(*s));
    CHECK(s && (s->items = calloc(JWKS_KEYS_MAX, sizeof(*s->items))));
    s->refs = 1;
    yyjson_arr_foreach(keys, i, max, item) if (s->len < JWKS_KEYS_MAX) add(s, a, item);
    return s;
}

struct jwks *jwks_ref(struct jwks *s) {
    if (s) atomic_fetch_add(&s->refs, 1);
    return s;
}

void jwks_unref(struct jwks *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
    for (size_t i = 0; i < s->len; i++) {
        EVP_PKEY_free(s->items[i].pkey);
        free(s->items[i].kid);
        free(s->items[i].alg);
    }
    free(s->items);
    free(s);
}

size_t jwks_len(const struct jwks *s) { return s ? s->len : 0; }

bool jwks_verify(const struct jwks *s, const struct jwt *t) {
    for (size_t i = 0; s && i < s->len; i++) {
        const struct key *k = &s->items[i];
        if (!str_empty(t->kid) && !str_eq(t->kid, k->kid)) continue;
        if (k->alg && strcmp(k->alg, t->alg) != 0) continue;
        if (jwt_verify_with(t, k->pkey)) return true;
    }
    return false;
}
