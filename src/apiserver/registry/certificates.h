/* Admission of CertificateSigningRequests: who may approve and sign for a signer, and what may not be asked for. */
#ifndef CKUBE_APISERVER_REGISTRY_CERTIFICATES_H
#define CKUBE_APISERVER_REGISTRY_CERTIFICATES_H
#include "apiserver/admission.h"

int certificates_admission(struct api_request *r, enum admission_operation op, const void *obj, const void *old, const char *subresource, struct status *reterr);
#endif
