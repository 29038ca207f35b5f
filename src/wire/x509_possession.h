/* Whether somebody has shown that a private key is theirs, as PodCertificateRequests do it. Tests: tests/unit/test_certificates.c. */
#ifndef CKUBE_WIRE_X509_POSSESSION_H
#define CKUBE_WIRE_X509_POSSESSION_H
#include <stddef.h>

enum possession {
    POSSESSION_SHOWN,
    POSSESSION_UNREADABLE, /* no key, or no request */
    POSSESSION_KEY_TYPE,   /* neither Ed25519 nor ECDSA nor RSA */
    POSSESSION_CURVE,      /* not P-256, P-384 or P-521 */
    POSSESSION_MODULUS,    /* not of 3072 or 4096 bits */
    POSSESSION_SIGNATURE,  /* the signature is not by the key */
};
struct possession_key { char curve[32]; int bits; }; /* for messages: "P-224", 2048 */
/* A PKCS#10 request in DER that its own key has signed. */
enum possession x509_possession_by_request(const void *der, size_t len, struct possession_key *ret);
/* A public key (PKIX, DER) and its signature of a text: plain Ed25519, ECDSA or RSA-PSS over the text's SHA-256. */
enum possession x509_possession_by_signature(const void *key, size_t key_len, const void *text, size_t text_len, const void *signature, size_t signature_len, struct possession_key *ret);
#endif
