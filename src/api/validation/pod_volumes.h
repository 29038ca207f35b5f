/* Validation of Pods' volumes, and of what reads fields of Pods. */
#ifndef CKUBE_API_VALIDATION_POD_VOLUMES_H
#define CKUBE_API_VALIDATION_POD_VOLUMES_H
#include "api/field_error.h"
#include "api/object.h"
#include "api/validation/volume_sources.h"

/* Volumes by name, those only that are right: mounts of the others are "not found" too, as upstream says. */
struct pod_volumes { const struct corev1_Volume **items; size_t len; };
void validate_volumes(const struct corev1_PodSpec *spec, const struct metav1_ObjectMeta *meta, bool is_template, const struct field_path *at, struct pod_volumes *ret, struct field_errors *errs);
const struct corev1_Volume *pod_volumes_find(const struct pod_volumes *v, const char *name);

/* `expressions` are the fields that may be read, sorted. */
void validate_object_field_selector(const struct corev1_ObjectFieldSelector *s, const char *const *expressions, const struct field_path *at, struct field_errors *errs);
void validate_resource_field_selector(const struct corev1_ResourceFieldSelector *s, bool volume, const struct field_path *at, struct field_errors *errs);
#endif
