/* Parts of Pod validation that its files share. */
#ifndef CKUBE_API_VALIDATION_POD_PARTS_H
#define CKUBE_API_VALIDATION_POD_PARTS_H
#include "api/field_error.h"
#include "api/object.h"
#include "api/validation/pod_volumes.h"

/* The spec that a container stands in. */
struct pod_scope {
    const struct corev1_PodSpec *spec;
    struct pod_volumes volumes; /* the right ones */
    bool is_template;
};

/* ---- annotations: pod_annotations.c ---- */

/* Those that have rules of their own, of Pods and of templates; then whether they say what the fields of the same meaning say. */
void validate_pod_annotations(const struct string_map *annotations, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_pod_annotations_match(const struct string_map *annotations, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
/* Of a Pod's update: those that stay as they are. */
void validate_pod_annotations_update(const struct corev1_Pod *pod, const struct corev1_Pod *old, struct field_errors *errs);
void validate_tolerations(const struct corev1_Toleration_list *list, const struct field_path *at, struct field_errors *errs);

/* Annotations and spec, as at creation and at each update; the second with the metadata, which upstream's updates look at once more. */
void validate_whole_pod(const struct corev1_Pod *p, struct field_errors *errs);
void validate_changed_pod(const struct corev1_Pod *p, struct field_errors *errs);
void validate_pod_containers(const struct pod_scope *s, const struct field_path *at, struct field_errors *errs);
void validate_pod_init_containers(const struct pod_scope *s, const struct field_path *at, struct field_errors *errs);
void validate_pod_ephemeral_containers(const struct pod_scope *s, const struct field_path *at, struct field_errors *errs);
void validate_container_environment(const struct corev1_Container *c, const struct field_path *at, struct field_errors *errs);
/* Images of Pods (not of templates) have no blanks around them. */
void validate_image_not_padded(const char *image, const struct field_path *at, struct field_errors *errs);
void validate_images_not_padded(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
/* Volumes that environment variables are read from. */
void validate_file_key_volumes(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_port_number(int64_t port, const struct field_path *at, struct field_errors *errs);

/* ---- resources: pod_resources.c ---- */

void validate_container_resources(const struct corev1_ResourceRequirements *r, const struct corev1_PodSpec *spec, const struct field_path *at, struct field_errors *errs);
void validate_pod_level_resources(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_resource_claims(const struct corev1_PodSpec *s, const struct metav1_ObjectMeta *meta, const struct field_path *at, struct field_errors *errs);
void validate_overhead(const struct string_map *overhead, const struct field_path *at, struct field_errors *errs);
/* Names of resources: any, those of containers, those of quotas. */
void validate_resource_name(const char *name, const struct field_path *at, struct field_errors *errs);
void validate_container_resource_name(const char *name, const struct field_path *at, struct field_errors *errs);
void validate_quota_resource_name(const char *name, const struct field_path *at, struct field_errors *errs);
void validate_resource_quantity(const char *name, const char *value, const struct field_path *at, struct field_errors *errs);
bool resource_is_native(const char *name);
bool resource_is_huge_page(const char *name);
bool resource_is_extended(const char *name);
bool resource_is_standard_for_quota(const char *name);
bool resource_overcommit_allowed(const char *name);
#endif
