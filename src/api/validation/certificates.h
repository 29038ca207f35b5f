/* Validation of certificates.k8s.io/v1. Upstream: pkg/apis/certificates/validation. Each appends what is wrong, in upstream's words. */
#ifndef CKUBE_API_VALIDATION_CERTIFICATES_H
#define CKUBE_API_VALIDATION_CERTIFICATES_H
#include "api/field_error.h"
#include "api/object.h"

void validate_csr(const void *obj, struct field_errors *errs);
void validate_csr_update(const void *obj, const void *old, struct field_errors *errs);
void validate_csr_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_csr_approval_update(const void *obj, const void *old, struct field_errors *errs);
/* "example.com/name" */
void validate_signer_name(const char *name, const struct field_path *at, struct field_errors *errs);
/* Whether the request (PEM) has this organization in its subject. */
bool csr_has_organization(const struct bytes *pem, const char *organization);
#endif
