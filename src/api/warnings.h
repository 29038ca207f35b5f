/* What is accepted but questionable: the Warning headers of answers. Upstream: pkg/api/pod/warnings.go and its siblings. Each appends its texts to *ret. */
#ifndef CKUBE_API_WARNINGS_H
#define CKUBE_API_WARNINGS_H
#include "api/field_error.h"
#include "api/object.h"

/* `at` is NULL for a Pod, the template's path else. */
void pod_warnings(struct arena *a, const struct corev1_PodSpec *s, const struct metav1_ObjectMeta *meta, const struct field_path *at, struct string_list *ret);
void claim_spec_warnings(struct arena *a, const struct corev1_PersistentVolumeClaimSpec *s, const struct field_path *at, struct string_list *ret);
void persistent_volume_claim_warnings(struct arena *a, const struct corev1_PersistentVolumeClaim *c, struct string_list *ret);
void persistent_volume_warnings(struct arena *a, const struct corev1_PersistentVolume *pv, struct string_list *ret);
/* What is to be said of a label that nodes used to bear; NULL for others. Upstream: GetNodeLabelDeprecatedMessage. */
const char *node_label_deprecation(const char *key);
/* A CIDR value that is not written in the usual way, or has bits beyond its prefix. Upstream: GetWarningsForCIDR. */
void cidr_warnings(struct arena *a, const char *cidr, const struct field_path *at, struct string_list *ret);
/* An IP address that is not written in the usual way. */
void ip_warnings(struct arena *a, const char *ip, const struct field_path *at, struct string_list *ret);
/* A name that Pods will bear but that is no DNS label; "Pod's hostname" for Pods themselves. */
void pod_name_warnings(struct arena *a, const char *name, bool is_pod, struct string_list *ret);
void service_warnings(struct arena *a, const struct corev1_Service *s, struct string_list *ret);
#endif
