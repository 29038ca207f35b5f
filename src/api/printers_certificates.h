/* The table of CertificateSigningRequests; see printers.h. */
#ifndef CKUBE_API_PRINTERS_CERTIFICATES_H
#define CKUBE_API_PRINTERS_CERTIFICATES_H
#include "api/printers.h"

void printers_certificate_signing_request(struct row *row, const void *obj);
#endif
