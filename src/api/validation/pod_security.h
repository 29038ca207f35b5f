/* Security contexts, DNS and operating system of a Pod. */
#ifndef CKUBE_API_VALIDATION_POD_SECURITY_H
#define CKUBE_API_VALIDATION_POD_SECURITY_H
#include "api/field_error.h"
#include "api/object.h"

void validate_pod_security(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_container_security(const struct corev1_SecurityContext *c, const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_app_armor_profile(const struct corev1_AppArmorProfile *p, const struct field_path *at, struct field_errors *errs);
void validate_dns_config(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_os(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_host_users(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
void validate_host_process(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs);
#endif
