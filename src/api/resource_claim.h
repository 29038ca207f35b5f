/* What scheduler and controllers ask of a Pod's claims to devices. Upstream: k8s.io/dynamic-resource-allocation/resourceclaim. */
#ifndef CKUBE_API_RESOURCE_CLAIM_H
#define CKUBE_API_RESOURCE_CLAIM_H
#include "api/object.h"
#include "base/status.h"

#define RESOURCE_CLAIM_FINALIZER "resource.kubernetes.io/delete-protection"
#define RESOURCE_CLAIM_POD_CLAIM_ANNOTATION "resource.kubernetes.io/pod-claim-name"
#define RESOURCE_CLAIM_EXTENDED_ANNOTATION "resource.kubernetes.io/extended-resource-claim"
enum { RESOURCE_CLAIM_RESERVED_FOR_MAX = 256, RESOURCE_CLAIM_RESULTS_MAX = 32, RESOURCE_CLAIM_FIRST_AVAILABLE_MAX = 8 };

/* The name of the object behind an entry of the Pod's spec.resourceClaims. 0: *ret_name, NULL if none is needed; *ret_check_owner: it was made for the Pod, which must
 * own it. 1: it has not been made from its template yet. -1: the entry says neither. In the latter cases reterr says it in upstream's words. Upstream: Name. */
int pod_claim_name(const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *entry, const char **ret_name, bool *ret_check_owner, struct status *reterr);
/* Whether the Pod owns the claim; -1 with a status if not. Upstream: IsForPod. */
int claim_is_for_pod(const struct corev1_Pod *pod, const struct resourcev1_ResourceClaim *claim, struct status *reterr);
bool claim_is_reserved_for(const struct corev1_Pod *pod, const struct resourcev1_ResourceClaim *claim);
bool claim_can_be_reserved(const struct resourcev1_ResourceClaim *claim);
bool claim_has_finalizer(const struct resourcev1_ResourceClaim *claim);
/* Upstream: ToleratesTaint. */
bool device_toleration_tolerates(const struct resourcev1_DeviceToleration *toleration, const struct resourcev1_DeviceTaint *taint);
#endif
