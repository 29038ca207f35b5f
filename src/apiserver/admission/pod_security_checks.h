/* The Pod Security Standards: what a Pod must not ask for at a level, in each version of the standards. Upstream: k8s.io/pod-security-admission/{api,policy}.
 *
 * A check belongs to level baseline or restricted and has revisions, each from one version on. At restricted the baseline's checks count too, but those that a restricted check
 * replaces. The newest check is of 1.35; later versions, and "latest", are as that. Tests: tests/unit/test_pod_security.c. */
#ifndef CKUBE_APISERVER_ADMISSION_POD_SECURITY_CHECKS_H
#define CKUBE_APISERVER_ADMISSION_POD_SECURITY_CHECKS_H
#include "api/field_error.h"
#include "api/object.h"

enum pod_security_level { POD_SECURITY_PRIVILEGED, POD_SECURITY_BASELINE, POD_SECURITY_RESTRICTED }; /* the stricter the higher */
#define POD_SECURITY_LATEST INT64_MAX
/* Upstream's LevelVersion; the version is v1.MINOR, or POD_SECURITY_LATEST. */
struct pod_security_standard { enum pod_security_level level; int64_t minor; };
struct pod_security_policy { struct pod_security_standard enforce, audit, warn; };

/* NULL, or what is wrong with the text; *ret is restricted (latest) then. */
const char *pod_security_parse_level(const char *text, enum pod_security_level *ret);
const char *pod_security_parse_version(const char *text, int64_t *ret);
char *pod_security_standard_string(struct arena *a, const struct pod_security_standard *s); /* "baseline:v1.30" */
bool pod_security_standard_equal(const struct pod_security_standard *x, const struct pod_security_standard *y);
/* A namespace's policy by its labels, the defaults where it has none. Labels that cannot be read are told in errs, and count as upstream counts them. */
struct pod_security_policy pod_security_policy_of(const struct string_map *labels, const struct pod_security_policy *defaults, struct field_errors *errs);

/* What a Pod violates: reasons, and for each its details ("" if there are none). */
struct pod_security_result { struct string_list reasons, details; };
struct pod_security_result pod_security_evaluate(struct arena *a, const struct pod_security_standard *s, const struct metav1_ObjectMeta *meta, const struct corev1_PodSpec *spec);
char *pod_security_reason(struct arena *a, const struct pod_security_result *r); /* `host namespaces, privileged` */
char *pod_security_detail(struct arena *a, const struct pod_security_result *r); /* `host namespaces (hostPID=true), privileged (container "c" must not ...)` */
#endif
