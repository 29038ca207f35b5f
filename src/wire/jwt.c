#include "wire/jwt.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "wire/json.h"

enum { RSA_BITS_MIN = 2048, COORDINATE_BYTES_MAX = 66, PEM_BYTES_MAX = 1 << 20 };

/* alg and digest go with the kind of key; size is of an EC coordinate in bytes, 0 for RSA. */
struct algorithm { const char *alg, *curve, *group; int bits; size_t size; };
static const struct algorithm algorithms[] = {{"RS256", NULL, NULL, 0, 0}, {"ES256", "P-256", "prime256v1", 256, 32}, {"ES384", "P-384", "secp384r1", 384, 48}, {"ES512", "P-521", "secp521r1", 521, 66}};

struct jwt_key {
    EVP_PKEY *pkey;
    const struct algorithm *algorithm;
    bool is_private;
    char id[48];
};

static const EVP_MD *digest_of(const struct algorithm *a) { return a->bits == 384 ? EVP_sha384() : a->bits == 521 ? EVP_sha512() : EVP_sha256(); }

/* ---- keys ---- */

static const struct algorithm *algorithm_of(EVP_PKEY *pkey) {
    char group[64] = "";
    if (EVP_PKEY_is_a(pkey, "RSA")) return EVP_PKEY_get_bits(pkey) >= RSA_BITS_MIN ? &algorithms[0] : NULL;
    if (!EVP_PKEY_is_a(pkey, "EC") || EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1) return NULL;
    for (size_t i = 1; i < ARRAY_LEN(algorithms); i++)
        if (strcmp(algorithms[i].group, group) == 0) return &algorithms[i];
    return NULL;
}

static void set_id(struct jwt_key *key) {
    unsigned char *der = NULL, sum[SHA256_DIGEST_LENGTH];
    _cleanup_buf_ struct buf out = BUF_INIT;
    int len = i2d_PUBKEY(key->pkey, &der);
    CHECK(len > 0);
    SHA256(der, (size_t)len, sum);
    OPENSSL_free(der);
    base64url_encode(&out, sum, sizeof(sum));
    snprintf(key->id, sizeof(key->id), "%s", out.data);
}

static bool add_key(struct jwt_keys *keys, EVP_PKEY *pkey, bool is_private) {
    const struct algorithm *alg = pkey ? algorithm_of(pkey) : NULL;
    if (!alg) {
        EVP_PKEY_free(pkey);
        return false;
    }
    struct jwt_key *key = calloc(1, sizeof(*key));
    CHECK(key);
    *key = (struct jwt_key){.pkey = pkey, .algorithm = alg, .is_private = is_private};
    set_id(key);
    keys->items = realloc(keys->items, (keys->len + 1) * sizeof(*keys->items));
    CHECK(keys->items);
    keys->items[keys->len++] = key;
    return true;
}

static EVP_PKEY *key_of_certificate(const unsigned char *der, long len) {
    X509 *cert = d2i_X509(NULL, &der, len);
    EVP_PKEY *pkey = cert ? X509_get_pubkey(cert) : NULL;
    X509_free(cert);
    return pkey;
}

static bool add_block(struct jwt_keys *keys, const char *name, const unsigned char *der, long len) {
    if (str_has_suffix(name, "PRIVATE KEY")) return add_key(keys, d2i_AutoPrivateKey(NULL, &der, len), true);
    if (strcmp(name, "PUBLIC KEY") == 0) return add_key(keys, d2i_PUBKEY(NULL, &der, len), false);
    if (strcmp(name, "RSA PUBLIC KEY") == 0) return add_key(keys, d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, len), false);
    return strcmp(name, "CERTIFICATE") == 0 && add_key(keys, key_of_certificate(der, len), false);
}

int jwt_keys_parse(const char *pem, size_t len, struct jwt_keys *keys, struct status *reterr) {
    BIO *bio = BIO_new_mem_buf(pem, (int)MIN(len, (size_t)PEM_BYTES_MAX));
    char *name, *header;
    unsigned char *data;
    long data_len;
    size_t before = keys->len;
    CHECK(bio);
    while (PEM_read_bio(bio, &name, &header, &data, &data_len) == 1) {
        add_block(keys, name, data, data_len);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)data_len);
    }
    BIO_free(bio);
    return keys->len > before ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "data does not contain any valid RSA or ECDSA public keys");
}

int jwt_keys_load(const char *file, struct jwt_keys *keys, struct status *reterr) {
    FILE *f = fopen(file, "re");
    _cleanup_buf_ struct buf text = BUF_INIT;
    char part[4096];
    size_t n;
    if (!f) return status_errno(reterr, file);
    while (text.len < PEM_BYTES_MAX && (n = fread(part, 1, sizeof(part), f)) > 0) buf_append(&text, part, n);
    fclose(f);
    int failed = jwt_keys_parse(buf_cstr(&text), text.len, keys, reterr);
    if (text.data) OPENSSL_cleanse(text.data, text.len);
    if (failed) status_wrap(reterr, "%s", file);
    return failed;
}

void jwt_keys_release(struct jwt_keys *keys) {
    for (size_t i = 0; i < keys->len; i++) {
        EVP_PKEY_free(keys->items[i]->pkey);
        free(keys->items[i]);
    }
    free(keys->items);
    *keys = (struct jwt_keys){0};
}

bool jwt_key_is_private(const struct jwt_key *key) { return key->is_private; }
const char *jwt_key_alg(const struct jwt_key *key) { return key->algorithm->alg; }
const char *jwt_key_id(const struct jwt_key *key) { return key->id; }

/* A number of the key as base64url of `size` bytes (0: as many as it needs). */
static void write_number(struct buf *out, const struct jwt_key *key, const char *json_name, const char *param, size_t size) {
    BIGNUM *n = NULL;
    unsigned char bytes[1024];
    if (EVP_PKEY_get_bn_param(key->pkey, param, &n) != 1) return;
    int len = size ? (int)size : BN_num_bytes(n);
    if (len <= (int)sizeof(bytes) && BN_bn2binpad(n, bytes, len) == len) {
        buf_printf(out, ",\"%s\":\"", json_name);
        base64url_encode(out, bytes, (size_t)len);
        buf_append_char(out, '"');
    }
    BN_free(n);
}

void jwt_key_jwk(const struct jwt_key *key, struct buf *out) {
    const struct algorithm *a = key->algorithm;
    buf_printf(out, "{\"use\":\"sig\",\"kty\":\"%s\",\"kid\":\"%s\"", a->size ? "EC" : "RSA", key->id);
    if (a->size) buf_printf(out, ",\"crv\":\"%s\"", a->curve);
    buf_printf(out, ",\"alg\":\"%s\"", a->alg);
    if (a->size) {
        write_number(out, key, "x", OSSL_PKEY_PARAM_EC_PUB_X, a->size);
        write_number(out, key, "y", OSSL_PKEY_PARAM_EC_PUB_Y, a->size);
    } else {
        write_number(out, key, "n", OSSL_PKEY_PARAM_RSA_N, 0);
        write_number(out, key, "e", OSSL_PKEY_PARAM_RSA_E, 0);
    }
    buf_append_char(out, '}');
}

/* ---- reading ---- */

static const char *string_member(yyjson_val *object, const char *name) {
    const char *s = yyjson_get_str(yyjson_obj_get(object, name));
    return s && strlen(s) == yyjson_get_len(yyjson_obj_get(object, name)) ? s : NULL;
}

static int read_header(struct arena *a, const char *text, size_t len, struct jwt *ret) {
    unsigned char *bytes;
    size_t bytes_len;
    if (base64url_decode(a, text, len, &bytes, &bytes_len, NULL) != 0) return -1;
    yyjson_doc *doc = json_parse_in(a, (char *)bytes, bytes_len, 0, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    if (!yyjson_is_obj(root) || yyjson_obj_get(root, "crit") || yyjson_obj_get(root, "b64")) return -1;
    ret->alg = string_member(root, "alg");
    ret->kid = string_member(root, "kid");
    return ret->alg ? 0 : -1;
}

int jwt_parse(struct arena *a, const char *text, struct jwt *ret, struct status *reterr) {
    struct jwt t = {.signed_text = text};
    unsigned char *payload, *signature;
    const char *first = strnlen(text, JWT_BYTES_MAX) < JWT_BYTES_MAX ? strchr(text, '.') : NULL, *second = first ? strchr(first + 1, '.') : NULL;
    if (!second || strchr(second + 1, '.') || strpbrk(text, "\r\n")) return status_bad_request(reterr, "a token has three parts");
    t.signed_len = (size_t)(second - text);
    if (read_header(a, text, (size_t)(first - text), &t) != 0 || base64url_decode(a, first + 1, (size_t)(second - first - 1), &payload, &t.payload_len, NULL) != 0 ||
        base64url_decode(a, second + 1, strlen(second + 1), &signature, &t.signature_len, NULL) != 0)
        return status_bad_request(reterr, "the token cannot be decoded");
    t.payload = (char *)payload;
    t.signature = signature;
    *ret = t;
    return 0;
}

/* ---- signatures: ECDSA ones are two numbers of fixed size in a token, and DER for OpenSSL ---- */

static int to_der(const struct jwt *t, size_t size, unsigned char **ret) {
    if (t->signature_len != 2 * size) return -1;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(t->signature, (int)size, NULL), *s = BN_bin2bn(t->signature + size, (int)size, NULL);
    CHECK(sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1);
    *ret = NULL;
    int len = i2d_ECDSA_SIG(sig, ret);
    ECDSA_SIG_free(sig);
    return len;
}

/* What a token may be signed with. curve NULL: an RSA key. */
static const struct { const char *alg, *curve; size_t size; const EVP_MD *(*digest)(void); bool pss; } signatures[] = {
    {"RS256", NULL, 0, EVP_sha256, false}, {"RS384", NULL, 0, EVP_sha384, false}, {"RS512", NULL, 0, EVP_sha512, false}, {"PS256", NULL, 0, EVP_sha256, true}, {"PS384", NULL, 0, EVP_sha384, true},
    {"PS512", NULL, 0, EVP_sha512, true}, {"ES256", "prime256v1", 32, EVP_sha256, false}, {"ES384", "secp384r1", 48, EVP_sha384, false}, {"ES512", "secp521r1", 66, EVP_sha512, false}};

static bool is_for(EVP_PKEY *key, const char *curve) {
    char group[64] = "";
    if (!curve) return EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 && strcmp(group, curve) == 0;
}

bool jwt_verify_with(const struct jwt *t, EVP_PKEY *key) {
    unsigned char *der = NULL;
    const unsigned char *sig = t->signature;
    int len = (int)t->signature_len;
    size_t i = 0;
    while (i < ARRAY_LEN(signatures) && strcmp(signatures[i].alg, t->alg) != 0) i++;
    if (i == ARRAY_LEN(signatures) || len == 0 || !is_for(key, signatures[i].curve)) return false;
    if (signatures[i].size) {
        if ((len = to_der(t, signatures[i].size, &der)) <= 0) return false;
        sig = der;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how;
    CHECK(ctx);
    bool ok = EVP_DigestVerifyInit(ctx, &how, signatures[i].digest(), NULL, key) == 1 &&
              (!signatures[i].pss || (EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_AUTO) == 1)) &&
              EVP_DigestVerify(ctx, sig, (size_t)len, (const unsigned char *)t->signed_text, t->signed_len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    return ok;
}

bool jwt_verify(const struct jwt *t, const struct jwt_key *key) { return strcmp(t->alg, key->algorithm->alg) == 0 && jwt_verify_with(t, key->pkey); }

static bool from_der(struct buf *out, const unsigned char *der, size_t len, size_t size) {
    unsigned char fixed[2 * COORDINATE_BYTES_MAX];
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), fixed, (int)size) == (int)size && BN_bn2binpad(ECDSA_SIG_get0_s(sig), fixed + size, (int)size) == (int)size;
    ECDSA_SIG_free(sig);
    if (ok) base64url_encode(out, fixed, 2 * size);
    return ok;
}

static bool sign(const struct jwt_key *key, struct buf *out) {
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(ctx);
    bool ok = EVP_DigestSignInit(ctx, NULL, digest_of(key->algorithm), NULL, key->pkey) == 1 && EVP_DigestSign(ctx, sig, &len, (unsigned char *)out->data, out->len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) return false;
    buf_append_char(out, '.');
    if (key->algorithm->size) return from_der(out, sig, len, key->algorithm->size);
    base64url_encode(out, sig, len);
    return true;
}

char *jwt_sign(struct arena *a, const struct jwt_key *key, const char *payload, size_t len, struct status *reterr) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    const char *header = arena_printf(a, "{\"alg\":\"%s\",\"kid\":\"%s\"}", key->algorithm->alg, key->id);
    base64url_encode(&out, (const unsigned char *)header, strlen(header));
    buf_append_char(&out, '.');
    base64url_encode(&out, (const unsigned char *)payload, len);
    if (key->is_private && sign(key, &out)) return arena_strdup(a, out.data);
    status_internal(reterr, "failed to generate token");
    return NULL;
}
