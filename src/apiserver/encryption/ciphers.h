/* The ciphers of values at rest, in the form in which upstream writes them. Upstream: apiserver/pkg/storage/value/encrypt/{aes,secretbox}.
 *
 * Pure: bytes in, bytes out. Sealing draws its nonce from OpenSSL's generator. Opening checks what it is given: anything may lie in a store.
 *
 *   aesgcm     nonce (12), ciphertext, tag (16); the value's place (its key in the store) is authenticated with it
 *   aescbc     IV (16), ciphertext with PKCS#7 padding; nothing is authenticated
 *   secretbox  nonce (24), Poly1305 tag (16), XSalsa20 ciphertext; the place is not authenticated
 *   seeded     info (32), then as aesgcm under HKDF-Expand(SHA-256, seed, info): what KMS v2 writes
 *
 * Tests: tests/unit/test_encryption.c (vectors). Fuzz: tests/fuzz/fuzz_encryption.c. */
#ifndef CKUBE_APISERVER_ENCRYPTION_CIPHERS_H
#define CKUBE_APISERVER_ENCRYPTION_CIPHERS_H
#include <stddef.h>
#include "base/buf.h"
#include "base/status.h"

enum cipher { CIPHER_AESGCM, CIPHER_AESCBC, CIPHER_SECRETBOX, CIPHER_SEEDED };
enum { CIPHER_KEY_MAX = 64, CIPHER_SEED_LEN = 32, SECRETBOX_NONCE_LEN = 24, SECRETBOX_TAG_LEN = 16, SECRETBOX_KEY_LEN = 32 };

struct cipher_key { enum cipher cipher; size_t len; unsigned char bytes[CIPHER_KEY_MAX]; };
/* Whether a key of such a length fits: 16, 24 or 32 bytes for AES, 32 for secretbox, 32 or more for seeds. */
bool cipher_key_fits(enum cipher cipher, size_t len);

/* Appends the result to *ret; -1 with words and *ret as it was. place: what is authenticated with the value. */
int cipher_seal(const struct cipher_key *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, struct status *reterr);
int cipher_open(const struct cipher_key *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, struct status *reterr);

/* secretbox.c, NaCl's crypto_secretbox: tag and ciphertext into `out`, len + SECRETBOX_TAG_LEN bytes; and back, len - SECRETBOX_TAG_LEN bytes, false when it is not
 * authentic (or shorter than a tag). */
void secretbox_seal(const unsigned char *key, const unsigned char *nonce, const unsigned char *data, size_t len, unsigned char *out);
bool secretbox_open(const unsigned char *key, const unsigned char *nonce, const unsigned char *data, size_t len, unsigned char *out);
#endif
