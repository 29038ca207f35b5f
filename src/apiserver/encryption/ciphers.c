#include "apiserver/encryption/ciphers.h"
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

enum { GCM_NONCE = 12, GCM_TAG = 16, CBC_BLOCK = 16, INFO_LEN = 32 };
static const char too_short[] = "the stored data was shorter than the required size";

bool cipher_key_fits(enum cipher cipher, size_t len) {
    if (cipher == CIPHER_SEEDED) return len >= CIPHER_SEED_LEN && len <= CIPHER_KEY_MAX;
    if (cipher == CIPHER_SECRETBOX) return len == SECRETBOX_KEY_LEN;
    return len == 16 || len == 24 || len == 32;
}

static void draw(unsigned char *to, int len) { CHECK(RAND_bytes(to, len) == 1); }

/* Room for so many bytes at the end of *ret. */
static unsigned char *grow(struct buf *ret, size_t len) {
    buf_reserve(ret, len + 1);
    unsigned char *at = (unsigned char *)ret->data + ret->len;
    ret->len += len;
    ret->data[ret->len] = '\0';
    return at;
}

static int refuse(struct buf *ret, size_t len_before, struct status *reterr, const char *why) {
    if (ret->len > len_before) OPENSSL_cleanse(ret->data + len_before, ret->len - len_before);
    ret->len = len_before;
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s", why);
}

/* ---- AES-GCM ---- */

static const EVP_CIPHER *gcm_of(size_t len) { return len == 16 ? EVP_aes_128_gcm() : len == 24 ? EVP_aes_192_gcm() : EVP_aes_256_gcm(); }
static const EVP_CIPHER *cbc_of(size_t len) { return len == 16 ? EVP_aes_128_cbc() : len == 24 ? EVP_aes_192_cbc() : EVP_aes_256_cbc(); }

static void gcm_seal(const unsigned char *key, size_t key_len, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret) {
    unsigned char *nonce = grow(ret, GCM_NONCE + len + GCM_TAG), *out = nonce + GCM_NONCE;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;
    draw(nonce, GCM_NONCE);
    CHECK(c && EVP_EncryptInit_ex(c, gcm_of(key_len), NULL, key, nonce) == 1);
    if (place_len) CHECK(EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)place, (int)place_len) == 1);
    if (len) CHECK(EVP_EncryptUpdate(c, out, &n, data, (int)len) == 1);
    CHECK(EVP_EncryptFinal_ex(c, out + len, &n) == 1 && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, GCM_TAG, out + len) == 1);
    EVP_CIPHER_CTX_free(c);
}

static bool gcm_open(const unsigned char *key, size_t key_len, const char *place, size_t place_len, const unsigned char *data, size_t len, unsigned char *out) {
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    size_t body = len - GCM_NONCE - GCM_TAG;
    int n;
    bool ok = c && EVP_DecryptInit_ex(c, gcm_of(key_len), NULL, key, data) == 1 && (!place_len || EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)place, (int)place_len) == 1) &&
              (!body || EVP_DecryptUpdate(c, out, &n, data + GCM_NONCE, (int)body) == 1) &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, GCM_TAG, (void *)(uintptr_t)(data + len - GCM_TAG)) == 1 && EVP_DecryptFinal_ex(c, out + body, &n) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok;
}

static int open_gcm(const unsigned char *key, size_t key_len, const char *place, size_t place_len, const unsigned char *data, size_t len, struct buf *ret, struct status *reterr) {
    size_t before = ret->len;
    if (len < GCM_NONCE) return refuse(ret, before, reterr, too_short);
    if (len < GCM_NONCE + GCM_TAG) return refuse(ret, before, reterr, "cipher: message authentication failed");
    unsigned char *out = grow(ret, len - GCM_NONCE - GCM_TAG);
    return gcm_open(key, key_len, place, place_len, data, len, out) ? 0 : refuse(ret, before, reterr, "cipher: message authentication failed");
}

/* ---- AES-CBC ---- */

static void cbc_seal(const struct cipher_key *k, const void *data, size_t len, struct buf *ret) {
    size_t padded = (len / CBC_BLOCK + 1) * CBC_BLOCK;
    unsigned char *iv = grow(ret, CBC_BLOCK + padded), *out = iv + CBC_BLOCK;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    draw(iv, CBC_BLOCK);
    CHECK(c && EVP_EncryptInit_ex(c, cbc_of(k->len), NULL, k->bytes, iv) == 1 && EVP_EncryptUpdate(c, out, &n, data, (int)len) == 1 && EVP_EncryptFinal_ex(c, out + n, &last) == 1);
    CHECK((size_t)(n + last) == padded);
    EVP_CIPHER_CTX_free(c);
}

static const char *check_padding(const unsigned char *out, size_t len) {
    unsigned pad = out[len - 1];
    if (pad == 0 || pad > len) return "invalid PKCS7 data (empty or not padded)";
    for (size_t i = len - pad; i < len; i++)
        if (out[i] != pad) return "invalid padding on input";
    return NULL;
}

static int cbc_open(const struct cipher_key *k, const unsigned char *data, size_t len, struct buf *ret, struct status *reterr) {
    size_t before = ret->len, body = len - CBC_BLOCK;
    int n = 0, last = 0;
    if (len < CBC_BLOCK) return refuse(ret, before, reterr, too_short);
    if (body % CBC_BLOCK != 0) return refuse(ret, before, reterr, "the stored data is not a multiple of the block size");
    if (!body) return refuse(ret, before, reterr, "invalid PKCS7 data (empty or not padded)");
    unsigned char *out = grow(ret, body);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    CHECK(c && EVP_DecryptInit_ex(c, cbc_of(k->len), NULL, k->bytes, data) == 1 && EVP_CIPHER_CTX_set_padding(c, 0) == 1);
    CHECK(EVP_DecryptUpdate(c, out, &n, data + CBC_BLOCK, (int)body) == 1 && EVP_DecryptFinal_ex(c, out + n, &last) == 1);
    EVP_CIPHER_CTX_free(c);
    const char *wrong = check_padding(out, body);
    if (wrong) return refuse(ret, before, reterr, wrong);
    ret->len -= out[body - 1];
    ret->data[ret->len] = '\0';
    return 0;
}

/* ---- secretbox ---- */

static void box_seal(const struct cipher_key *k, const void *data, size_t len, struct buf *ret) {
    unsigned char *nonce = grow(ret, SECRETBOX_NONCE_LEN + SECRETBOX_TAG_LEN + len);
    draw(nonce, SECRETBOX_NONCE_LEN);
    secretbox_seal(k->bytes, nonce, data, len, nonce + SECRETBOX_NONCE_LEN);
}

static int box_open(const struct cipher_key *k, const unsigned char *data, size_t len, struct buf *ret, struct status *reterr) {
    size_t before = ret->len;
    if (len < SECRETBOX_NONCE_LEN + SECRETBOX_TAG_LEN) return refuse(ret, before, reterr, too_short);
    unsigned char *out = grow(ret, len - SECRETBOX_NONCE_LEN - SECRETBOX_TAG_LEN);
    bool ok = secretbox_open(k->bytes, data, data + SECRETBOX_NONCE_LEN, len - SECRETBOX_NONCE_LEN, out);
    return ok ? 0 : refuse(ret, before, reterr, "output array was not large enough for encryption"); /* upstream's words for it */
}

/* ---- seeded ---- */

/* The first 32 bytes of HKDF-Expand: one round of HMAC. */
static void derive(const struct cipher_key *seed, const unsigned char *info, unsigned char *key) {
    unsigned char input[INFO_LEN + 1];
    unsigned n = 0;
    memcpy(input, info, INFO_LEN);
    input[INFO_LEN] = 1;
    CHECK(HMAC(EVP_sha256(), seed->bytes, (int)seed->len, input, sizeof(input), key, &n) && n == 32);
}

/* ---- all ---- */

int cipher_seal(const struct cipher_key *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, struct status *reterr) {
    unsigned char key[32];
    if (len > INT_MAX / 2) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the value is too long to be encrypted");
    switch (k->cipher) {
    case CIPHER_AESGCM: gcm_seal(k->bytes, k->len, place, place_len, data, len, ret); break;
    case CIPHER_AESCBC: cbc_seal(k, data, len, ret); break;
    case CIPHER_SECRETBOX: box_seal(k, data, len, ret); break;
    case CIPHER_SEEDED: {
        unsigned char info[INFO_LEN];
        draw(info, INFO_LEN);
        buf_append(ret, info, INFO_LEN);
        derive(k, info, key);
        gcm_seal(key, sizeof(key), place, place_len, data, len, ret);
        OPENSSL_cleanse(key, sizeof(key));
    }
    }
    return 0;
}

int cipher_open(const struct cipher_key *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, struct status *reterr) {
    unsigned char key[32];
    if (len > INT_MAX / 2) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the stored value is too long");
    if (k->cipher == CIPHER_AESGCM) return open_gcm(k->bytes, k->len, place, place_len, data, len, ret, reterr);
    if (k->cipher == CIPHER_AESCBC) return cbc_open(k, data, len, ret, reterr);
    if (k->cipher == CIPHER_SECRETBOX) return box_open(k, data, len, ret, reterr);
    if (len < INFO_LEN) return refuse(ret, ret->len, reterr, too_short);
    derive(k, data, key);
    int failed = open_gcm(key, sizeof(key), place, place_len, (const unsigned char *)data + INFO_LEN, len - INFO_LEN, ret, reterr);
    OPENSSL_cleanse(key, sizeof(key));
    return failed;
}
