/* Affinity and topology spread of a Pod. */
#ifndef CKUBE_API_VALIDATION_POD_SCHEDULING_H
#define CKUBE_API_VALIDATION_POD_SCHEDULING_H
#include "api/field_error.h"
#include "api/object.h"

void validate_scheduling(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
/* Of volumes too. */
void validate_node_selector(const struct corev1_NodeSelector *s, const struct field_path *at, struct field_errors *errs);
#endif
