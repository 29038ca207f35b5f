/* Validation of CustomResourceDefinitions. Upstream: apiextensions-apiserver pkg/apis/apiextensions/validation, pkg/apiserver/schema and its defaulting. */
#ifndef CKUBE_API_VALIDATION_CRD_H
#define CKUBE_API_VALIDATION_CRD_H
#include "api/structural.h"

void validate_custom_resource_definition(const void *obj, struct field_errors *errs);
void validate_custom_resource_definition_update(const void *obj, const void *old, struct field_errors *errs);
void validate_custom_resource_definition_status_update(const void *obj, const void *old, struct field_errors *errs);

/* crd_schema.c: one version's schema, at ...openAPIV3Schema. `unchanged`: it was accepted before, and what its rules could cost is no reason any more. */
void validate_crd_schema(const struct apiextensionsv1_JSONSchemaProps *props, bool has_status, bool unchanged, const struct field_path *at, struct field_errors *errs);
/* crd_structural.c: that it is structural; its defaults fit. Errors are sorted. */
void validate_structural(const struct structural *s, const struct field_path *at, struct field_errors *errs);
void validate_structural_defaults(const struct structural *s, const struct field_path *at, struct field_errors *errs);
/* ".spec.a" as a field of the schema: its schema, or NULL with what is wrong. Upstream: cel.ValidFieldPath. */
const struct structural *structural_field_path(struct arena *a, const struct structural *s, const char *path, bool array_notation, const char **ret_error);

/* Calls fn for the schema and all below it. */
void structural_walk(const struct structural *s, void (*fn)(void *arg, const struct structural *s), void *arg);
#endif
