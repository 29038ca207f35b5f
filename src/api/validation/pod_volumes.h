/* Validation of Pods' volumes. */
#ifndef CKUBE_API_VALIDATION_POD_VOLUMES_H
#define CKUBE_API_VALIDATION_POD_VOLUMES_H
#include "api/field_error.h"
#include "api/object.h"

void validate_volumes(const struct corev1_PodSpec *spec, const struct field_path *at, struct field_errors *errs);
/* Relative, and never upwards. */
void validate_local_descending_path(const char *path, const struct field_path *at, struct field_errors *errs);
#endif
