#include "wire/x509_possession.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include "base/macros.h"
#include "base/str.h"

static enum possession check_curve(EVP_PKEY *key, struct possession_key *ret) {
    static const char *const names[][2] = {{"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}};
    char name[32] = "";
    size_t len = 0;
    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof(name), &len);
    snprintf(ret->curve, sizeof(ret->curve), "%s", str_eq(name, "secp224r1") ? "P-224" : name);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(names[i][0], name)) return POSSESSION_SHOWN;
    return POSSESSION_CURVE;
}

static enum possession check_key(EVP_PKEY *key, struct possession_key *ret) {
    if (!key) return POSSESSION_KEY_TYPE;
    if (EVP_PKEY_is_a(key, "ED25519")) return POSSESSION_SHOWN;
    if (EVP_PKEY_is_a(key, "EC")) return check_curve(key, ret);
    if (!EVP_PKEY_is_a(key, "RSA")) return POSSESSION_KEY_TYPE;
    ret->bits = (EVP_PKEY_get_bits(key) + 7) / 8 * 8;
    return ret->bits == 3072 || ret->bits == 4096 ? POSSESSION_SHOWN : POSSESSION_MODULUS;
}

enum possession x509_possession_by_request(const void *der, size_t len, struct possession_key *ret) {
    const unsigned char *p = der;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)len);
    *ret = (struct possession_key){0};
    enum possession is = !req || p != (const unsigned char *)der + len ? POSSESSION_UNREADABLE : check_key(X509_REQ_get0_pubkey(req), ret);
    if (is == POSSESSION_SHOWN && X509_REQ_verify(req, X509_REQ_get0_pubkey(req)) != 1) is = POSSESSION_SIGNATURE;
    X509_REQ_free(req);
    ERR_clear_error();
    return is;
}

static bool verify(EVP_PKEY *key, const void *text, size_t text_len, const void *signature, size_t signature_len) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how = NULL;
    CHECK(ctx);
    bool ok = EVP_DigestVerifyInit(ctx, &how, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256(), NULL, key) == 1;
    if (ok && EVP_PKEY_is_a(key, "RSA")) ok = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_AUTO) == 1;
    ok = ok && EVP_DigestVerify(ctx, signature, signature_len, text, text_len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

enum possession x509_possession_by_signature(const void *key_der, size_t key_len, const void *text, size_t text_len, const void *signature, size_t signature_len, struct possession_key *ret) {
    const unsigned char *p = key_der;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)key_len);
    *ret = (struct possession_key){0};
    enum possession is = !key || p != (const unsigned char *)key_der + key_len ? POSSESSION_UNREADABLE : check_key(key, ret);
    if (is == POSSESSION_SHOWN && !verify(key, text, text_len, signature, signature_len)) is = POSSESSION_SIGNATURE;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return is;
}
