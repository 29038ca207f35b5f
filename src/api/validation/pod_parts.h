/* Parts of Pod validation that its files share. */
#ifndef CKUBE_API_VALIDATION_POD_PARTS_H
#define CKUBE_API_VALIDATION_POD_PARTS_H
#include "api/field_error.h"
#include "api/object.h"

void validate_pod_container(const struct corev1_Container *c, const struct corev1_PodSpec *spec, bool init, const struct field_path *at, struct field_errors *errs);
#endif
