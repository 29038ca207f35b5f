/* Looking into PEM that clients send: certificate requests and certificates. Texts are upstream's where they are its own. */
#ifndef CKUBE_WIRE_X509_PEM_H
#define CKUBE_WIRE_X509_PEM_H
#include <stddef.h>
#include "base/status.h"

/* A PKCS#10 request in PEM whose signature is right. */
int x509_request_check(const void *pem, size_t len, struct status *reterr);
/* One or more certificates in PEM and nothing else. */
int x509_certificates_check(const void *pem, size_t len, struct status *reterr);
/* A bundle in PEM with one certificate at least; other blocks do no harm. */
int x509_ca_bundle_check(const void *pem, size_t len, struct status *reterr);
#endif
