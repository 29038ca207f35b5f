/* Affinity and topology spread of a Pod. */
#ifndef CKUBE_API_VALIDATION_POD_SCHEDULING_H
#define CKUBE_API_VALIDATION_POD_SCHEDULING_H
#include "api/field_error.h"
#include "api/object.h"

void validate_affinity(const struct corev1_Affinity *a, const struct field_path *at, struct field_errors *errs);
void validate_topology_spread(const struct corev1_TopologySpreadConstraint_list *list, const struct field_path *at, struct field_errors *errs);
/* Readiness gates and scheduling gates. */
void validate_gates(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
/* A Pod behind gates may have its node selection narrowed; gates may only be taken away. What was rightly changed is put back in `a`, the new spec as
 * the caller goes on to compare it with the old. */
void validate_gated_update(const struct corev1_Pod *pod, const struct corev1_Pod *old, struct corev1_PodSpec *a, const struct field_path *at, struct field_errors *errs);
/* Of volumes too. */
void validate_node_selector(const struct corev1_NodeSelector *s, const struct field_path *at, struct field_errors *errs);
#endif
