/* XSalsa20 and Poly1305 as NaCl puts them together. OpenSSL has Poly1305 but not Salsa20. After "Extending the Salsa20 nonce" (Bernstein, 2011). */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>
#include "apiserver/encryption/ciphers.h"

enum { BLOCK = 64, POLY_KEY = 32 };

static uint32_t load(const unsigned char *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

static void store(unsigned char *p, uint32_t x) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(x >> 8 * i);
}

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void quarter(uint32_t *x, int a, int b, int c, int d) {
    x[b] ^= rotate(x[a] + x[d], 7);
    x[c] ^= rotate(x[b] + x[a], 9);
    x[d] ^= rotate(x[c] + x[b], 13);
    x[a] ^= rotate(x[d] + x[c], 18);
}

static void twenty_rounds(uint32_t *x) {
    for (int i = 0; i < 10; i++) {
        quarter(x, 0, 4, 8, 12);
        quarter(x, 5, 9, 13, 1);
        quarter(x, 10, 14, 2, 6);
        quarter(x, 15, 3, 7, 11);
        quarter(x, 0, 1, 2, 3);
        quarter(x, 5, 6, 7, 4);
        quarter(x, 10, 11, 8, 9);
        quarter(x, 15, 12, 13, 14);
    }
}

static void fill(uint32_t *x, const unsigned char *key, const unsigned char *input) {
    static const unsigned char sigma[] = "expand 32-byte k";
    for (int i = 0; i < 4; i++) {
        x[5 * i] = load(sigma + 4 * i);
        x[1 + i] = load(key + 4 * i);
        x[6 + i] = load(input + 4 * i);
        x[11 + i] = load(key + 16 + 4 * i);
    }
}

/* A key of its own for the first 16 bytes of the nonce. */
static void hsalsa20(const unsigned char *key, const unsigned char *input, unsigned char *out) {
    static const int words[] = {0, 5, 10, 15, 6, 7, 8, 9};
    uint32_t x[16];
    fill(x, key, input);
    twenty_rounds(x);
    for (int i = 0; i < 8; i++) store(out + 4 * i, x[words[i]]);
    OPENSSL_cleanse(x, sizeof(x));
}

static void salsa20_block(const unsigned char *key, const unsigned char *nonce, uint64_t counter, unsigned char *out) {
    uint32_t x[16], y[16];
    unsigned char input[16];
    memcpy(input, nonce, 8);
    store(input + 8, (uint32_t)counter);
    store(input + 12, (uint32_t)(counter >> 32));
    fill(x, key, input);
    memcpy(y, x, sizeof(x));
    twenty_rounds(y);
    for (int i = 0; i < 16; i++) store(out + 4 * i, x[i] + y[i]);
    OPENSSL_cleanse(x, sizeof(x));
    OPENSSL_cleanse(y, sizeof(y));
}

/* The stream's first 32 bytes are the authenticator's key, the rest is for the data. Returns that key. */
static void stream(const unsigned char *key, const unsigned char *nonce, const unsigned char *data, size_t len, unsigned char *out, unsigned char *ret_poly_key) {
    unsigned char sub[32], block[BLOCK];
    hsalsa20(key, nonce, sub);
    for (size_t at = 0, n = 0; n == 0 || at < len; n++) {
        salsa20_block(sub, nonce + 16, n, block);
        size_t from = n ? 0 : POLY_KEY;
        if (!n) memcpy(ret_poly_key, block, POLY_KEY);
        for (size_t i = from; i < BLOCK && at < len && out; i++, at++) out[at] = data[at] ^ block[i];
        if (!out) break;
    }
    OPENSSL_cleanse(sub, sizeof(sub));
    OPENSSL_cleanse(block, sizeof(block));
}

static void poly1305(const unsigned char *key, const unsigned char *data, size_t len, unsigned char *tag) {
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    size_t n = 0;
    CHECK(ctx && EVP_MAC_init(ctx, key, POLY_KEY, NULL) == 1 && EVP_MAC_update(ctx, data, len) == 1 && EVP_MAC_final(ctx, tag, &n, SECRETBOX_TAG_LEN) == 1 && n == SECRETBOX_TAG_LEN);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
}

void secretbox_seal(const unsigned char *key, const unsigned char *nonce, const unsigned char *data, size_t len, unsigned char *out) {
    unsigned char poly_key[POLY_KEY];
    stream(key, nonce, data, len, out + SECRETBOX_TAG_LEN, poly_key);
    poly1305(poly_key, out + SECRETBOX_TAG_LEN, len, out);
    OPENSSL_cleanse(poly_key, sizeof(poly_key));
}

bool secretbox_open(const unsigned char *key, const unsigned char *nonce, const unsigned char *data, size_t len, unsigned char *out) {
    unsigned char poly_key[POLY_KEY], tag[SECRETBOX_TAG_LEN];
    if (len < SECRETBOX_TAG_LEN) return false;
    stream(key, nonce, NULL, 0, NULL, poly_key);
    poly1305(poly_key, data + SECRETBOX_TAG_LEN, len - SECRETBOX_TAG_LEN, tag);
    bool authentic = CRYPTO_memcmp(tag, data, SECRETBOX_TAG_LEN) == 0;
    if (authentic) stream(key, nonce, data + SECRETBOX_TAG_LEN, len - SECRETBOX_TAG_LEN, out, poly_key);
    OPENSSL_cleanse(poly_key, sizeof(poly_key));
    return authentic;
}
