/* Validation of apps/v1, and of ReplicationControllers, which are of the same kind. Upstream: pkg/apis/apps/validation. */
#ifndef CKUBE_API_VALIDATION_APPS_H
#define CKUBE_API_VALIDATION_APPS_H
#include "api/field_error.h"

void validate_deployment(const void *obj, struct field_errors *errs);
void validate_deployment_update(const void *obj, const void *old, struct field_errors *errs);
void validate_deployment_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_replicaset(const void *obj, struct field_errors *errs);
void validate_replicaset_update(const void *obj, const void *old, struct field_errors *errs);
void validate_replicaset_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_statefulset(const void *obj, struct field_errors *errs);
void validate_statefulset_update(const void *obj, const void *old, struct field_errors *errs);
void validate_statefulset_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_daemonset(const void *obj, struct field_errors *errs);
void validate_daemonset_update(const void *obj, const void *old, struct field_errors *errs);
void validate_daemonset_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_controllerrevision(const void *obj, struct field_errors *errs);
void validate_controllerrevision_update(const void *obj, const void *old, struct field_errors *errs);
void validate_replicationcontroller(const void *obj, struct field_errors *errs);
void validate_replicationcontroller_update(const void *obj, const void *old, struct field_errors *errs);
void validate_replicationcontroller_status_update(const void *obj, const void *old, struct field_errors *errs);
#endif
