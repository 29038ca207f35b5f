/* JSON Web Tokens in their compact form, signed: RS256, ES256, ES384 and ES512, as upstream signs service-account tokens; and the further algorithms that other
 * issuers sign with (jwks.h).
 *
 * The algorithm belongs to the key, never to the token: a token that names another one (none, HS256 with a public key as its secret, ...) does not
 * verify. Parsing believes nothing: claims count only after jwt_verify. Tests: tests/unit/test_jwt.c, tests/fuzz/fuzz_jwt.c. */
#ifndef CKUBE_WIRE_JWT_H
#define CKUBE_WIRE_JWT_H
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

enum { JWT_BYTES_MAX = 64 << 10 };

struct jwt_key;
struct jwt_keys { struct jwt_key **items; size_t len; };
/* Every key of a PEM file: private and public ones, RSA (2048 bits or more) and EC, and those of certificates. Appends to *keys; -1 when there is none. */
int jwt_keys_load(const char *file, struct jwt_keys *keys, struct status *reterr);
int jwt_keys_parse(const char *pem, size_t len, struct jwt_keys *keys, struct status *reterr);
void jwt_keys_release(struct jwt_keys *keys);
bool jwt_key_is_private(const struct jwt_key *key);
const char *jwt_key_alg(const struct jwt_key *key);  /* "RS256", "ES256", ... */
const char *jwt_key_id(const struct jwt_key *key);   /* as upstream: the SHA-256 of the public key, base64url */
/* The public half as a JSON Web Key object. */
void jwt_key_jwk(const struct jwt_key *key, struct buf *out);

struct jwt {
    const char *alg, *kid;          /* of the header; kid NULL if there is none */
    const char *payload;            /* the claims' JSON text */
    size_t payload_len;
    const char *signed_text;        /* what the signature is over: into the text that was parsed */
    size_t signed_len;
    const unsigned char *signature;
    size_t signature_len;
};
/* 0 for three parts of base64url with a JSON header that names an algorithm and asks for nothing critical. */
int jwt_parse(struct arena *a, const char *text, struct jwt *ret, struct status *reterr) WARN_UNUSED;
bool jwt_verify(const struct jwt *t, const struct jwt_key *key) WARN_UNUSED;
/* The same with a bare public key and the algorithm that the token names, if it is one for such a key: RS, PS and ES with 256, 384 and 512, ES on its own curve alone. */
bool jwt_verify_with(const struct jwt *t, EVP_PKEY *key) WARN_UNUSED;
/* The token of these claims; NULL with a 500 if the key is not a private one. */
char *jwt_sign(struct arena *a, const struct jwt_key *key, const char *payload, size_t len, struct status *reterr);
#endif
