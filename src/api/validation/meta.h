/* Validation of what all objects share. Upstream: apimachinery api/validation and meta/v1/validation. */
#ifndef CKUBE_API_VALIDATION_META_H
#define CKUBE_API_VALIDATION_META_H
#include "api/field_error.h"
#include "api/object.h"

typedef void (*name_rule)(struct arena *a, const char *name, bool prefix, struct string_list *msgs);
void validate_object_meta(const struct metav1_ObjectMeta *m, bool namespaced, name_rule rule, const struct field_path *at, struct field_errors *errs);
void validate_object_meta_update(const struct metav1_ObjectMeta *m, const struct metav1_ObjectMeta *old, const struct field_path *at, struct field_errors *errs);
/* The same for custom objects, whose finalizers need no domain. */
/* Metadata of a template: labels and annotations, and nothing else. Upstream: ValidateTemplateObjectMeta. */
void validate_template_meta(const struct metav1_ObjectMeta *m, const struct field_path *at, struct field_errors *errs);
/* What upstream's core adds to any look at metadata: finalizers are standard names, or somebody's domain is in them. */
void validate_finalizer_domains(const struct string_list *finalizers, const struct field_path *at, struct field_errors *errs);
void validate_object_meta_generic(const struct metav1_ObjectMeta *m, bool namespaced, name_rule rule, const struct field_path *at, struct field_errors *errs);
void validate_labels(const struct string_map *labels, const struct field_path *at, struct field_errors *errs);
void validate_annotations(const struct string_map *annotations, const struct field_path *at, struct field_errors *errs);
/* any_operator: those that only newer clients know pass. */
void validate_label_requirement(const struct metav1_LabelSelectorRequirement *e, bool any_operator, const struct field_path *at, struct field_errors *errs);
void validate_label_selector(const struct metav1_LabelSelector *s, const struct field_path *at, struct field_errors *errs);
/* `field is immutable`, with the new value printed as JSON-like text where it is simple. */
void validate_immutable(bool equal, const char *value_raw, const struct field_path *at, struct field_errors *errs);
/* Each message as an Invalid value of the string. */
void field_invalid_each(struct field_errors *errs, const struct field_path *at, const char *value, const struct string_list *msgs);
void validate_non_negative(int64_t value, const struct field_path *at, struct field_errors *errs);
/* A value as upstream prints it in an error: strings quoted, structs as JSON. */
char *object_json_text(struct arena *a, const struct type_desc *type, const void *obj);
/* A map of strings as JSON: {"a":"b"}, or null. */
char *string_map_json_text(struct arena *a, const struct string_map *map);
char *string_list_json_text(struct arena *a, const struct string_list *list);
char *int32_list_json_text(struct arena *a, const struct int32_list *list);
/* A pointer to a struct, an optional number, an optional string that may not change. */
void validate_immutable_struct(const struct type_desc *type, const void *value, const void *old, const struct field_path *at, struct field_errors *errs);
void validate_immutable_int32(struct opt_int32 value, struct opt_int32 old, const struct field_path *at, struct field_errors *errs);
void validate_immutable_string(const char *value, const char *old, const struct field_path *at, struct field_errors *errs);
/* Wrong without a value to show: `Invalid value: DETAIL`. */
void field_invalid_omitted(struct field_errors *errs, const struct field_path *at, const char *detail);
/* A field that is not in the set: as field_not_supported, when `value` is set to something else. */
void validate_enum(const char *value, const char *const *supported, const struct field_path *at, struct field_errors *errs);
/* An IP address, without leading zeros and no IPv4 address in IPv6 form. */
void validate_ip(const char *value, const struct field_path *at, struct field_errors *errs);
/* "010.1.02.3" as "10.1.2.3". */
char *ip_without_zeros(struct arena *a, const char *ip);
void validate_cidr(const char *value, const struct field_path *at, struct field_errors *errs);
/* "acme.io/foo" */
void validate_domain_prefixed_path(const char *value, const struct field_path *at, struct field_errors *errs);
/* A time as JSON: "2026-01-02T03:04:05Z" in quotes, or null. */
char *api_time_json_text(struct arena *a, const struct api_time *t);
#endif
