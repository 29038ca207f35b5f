/* Validation of apps/v1 and batch/v1. Upstream: pkg/apis/apps/validation and pkg/apis/batch/validation. */
#ifndef CKUBE_API_VALIDATION_WORKLOADS_H
#define CKUBE_API_VALIDATION_WORKLOADS_H
#include "api/field_error.h"

void validate_deployment(const void *obj, struct field_errors *errs);
void validate_deployment_update(const void *obj, const void *old, struct field_errors *errs);
void validate_replicaset(const void *obj, struct field_errors *errs);
void validate_replicaset_update(const void *obj, const void *old, struct field_errors *errs);
void validate_statefulset(const void *obj, struct field_errors *errs);
void validate_statefulset_update(const void *obj, const void *old, struct field_errors *errs);
void validate_daemonset(const void *obj, struct field_errors *errs);
void validate_daemonset_update(const void *obj, const void *old, struct field_errors *errs);
void validate_job(const void *obj, struct field_errors *errs);
void validate_job_update(const void *obj, const void *old, struct field_errors *errs);
#endif
