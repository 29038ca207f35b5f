/* JSON Web Key Sets, as issuers of tokens publish them: public RSA and EC keys.
 *
 * Counted and immutable; any thread. Secrets (kty oct), keys for encryption and keys that are too weak or malformed are left out: no token can be signed with them.
 * Tests: tests/unit/test_jwt.c; fuzz: tests/fuzz/fuzz_jwt.c. */
#ifndef CKUBE_WIRE_JWKS_H
#define CKUBE_WIRE_JWKS_H
#include "wire/jwt.h"

enum { JWKS_KEYS_MAX = 256 };
struct jwks;
/* NULL with Go's words when the text is no JSON object with a list `keys`. */
struct jwks *jwks_parse(const char *text, size_t len, struct status *reterr);
struct jwks *jwks_ref(struct jwks *s);
void jwks_unref(struct jwks *s); /* NULL is fine */
size_t jwks_len(const struct jwks *s);
/* Whether one of the keys made the signature: those of the token's key id if it names one, and not against what a key says of its algorithm. s NULL: no. */
bool jwks_verify(const struct jwks *s, const struct jwt *t);
#endif
