/* Validation of rbac.authorization.k8s.io/v1. Upstream: pkg/apis/rbac/validation. Each appends what is wrong, in upstream's words. */
#ifndef CKUBE_API_VALIDATION_RBAC_H
#define CKUBE_API_VALIDATION_RBAC_H
#include "api/field_error.h"
#include "api/object.h"

void validate_role(const void *obj, struct field_errors *errs);
void validate_role_update(const void *obj, const void *old, struct field_errors *errs);
void validate_clusterrole(const void *obj, struct field_errors *errs);
void validate_clusterrole_update(const void *obj, const void *old, struct field_errors *errs);
void validate_rolebinding(const void *obj, struct field_errors *errs);
void validate_rolebinding_update(const void *obj, const void *old, struct field_errors *errs);
void validate_clusterrolebinding(const void *obj, struct field_errors *errs);
void validate_clusterrolebinding_update(const void *obj, const void *old, struct field_errors *errs);
#endif
