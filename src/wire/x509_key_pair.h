/* A certificate and its private key, as Secrets for TLS hold them. Upstream: Go's tls.X509KeyPair, whose words these are. */
#ifndef CKUBE_WIRE_X509_KEY_PAIR_H
#define CKUBE_WIRE_X509_KEY_PAIR_H
#include <stddef.h>
#include "base/status.h"

/* Whether both can be read and belong together; -1 with the reason. */
int x509_key_pair_check(const void *cert, size_t cert_len, const void *key, size_t key_len, struct status *reterr);
#endif
