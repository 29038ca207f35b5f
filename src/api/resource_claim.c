/* See resource_claim.h. */
#include "api/resource_claim.h"
#include "base/str.h"

int pod_claim_name(const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *entry, const char **ret_name, bool *ret_check_owner, struct status *reterr) {
    *ret_name = entry->resourceClaimName;
    *ret_check_owner = false;
    if (entry->resourceClaimName) return 0;
    if (!entry->resourceClaimTemplateName)
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "pod \"%s/%s\", spec.resourceClaim \"%s\": none of the supported fields are set", pod->metadata.namespace,
                          pod->metadata.name, entry->name);
    LIST_FOREACH(s, &pod->status.resourceClaimStatuses) {
        if (!str_eq(s->name, entry->name)) continue;
        *ret_name = s->resourceClaimName;
        *ret_check_owner = true;
        return 0;
    }
    status_set(reterr, 404, REASON_NOT_FOUND, "pod \"%s/%s\": ResourceClaim not created yet", pod->metadata.namespace, pod->metadata.name);
    return 1;
}

int claim_is_for_pod(const struct corev1_Pod *pod, const struct resourcev1_ResourceClaim *claim, struct status *reterr) {
    LIST_FOREACH(o, &claim->metadata.ownerReferences)
        if (o->controller.has && o->controller.value && str_eq(o->uid, pod->metadata.uid)) return 0;
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "ResourceClaim %s/%s was not created for Pod %s/%s (Pod is not owner)", claim->metadata.namespace, claim->metadata.name,
                      pod->metadata.namespace, pod->metadata.name);
}

bool claim_is_reserved_for(const struct corev1_Pod *pod, const struct resourcev1_ResourceClaim *claim) {
    LIST_FOREACH(r, &claim->status.reservedFor)
        if (str_eq(r->uid, pod->metadata.uid)) return true;
    return false;
}

bool claim_can_be_reserved(const struct resourcev1_ResourceClaim *claim) { return claim->status.reservedFor.len < RESOURCE_CLAIM_RESERVED_FOR_MAX; }
bool claim_has_finalizer(const struct resourcev1_ResourceClaim *claim) { return string_list_has(&claim->metadata.finalizers, RESOURCE_CLAIM_FINALIZER); }

bool device_toleration_tolerates(const struct resourcev1_DeviceToleration *toleration, const struct resourcev1_DeviceTaint *taint) {
    if (!str_empty(toleration->effect) && !str_eq(toleration->effect, taint->effect)) return false;
    if (!str_empty(toleration->key) && !str_eq(toleration->key, taint->key)) return false;
    if (str_empty(toleration->operator) || str_eq(toleration->operator, "Equal")) return str_eq(str_or(toleration->value, ""), str_or(taint->value, ""));
    return str_eq(toleration->operator, "Exists");
}
