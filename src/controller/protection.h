/* Finalizers that keep an object while something uses it; and which Pods use a claim. */
#ifndef CKUBE_CONTROLLER_PROTECTION_H
#define CKUBE_CONTROLLER_PROTECTION_H
#include "controller/controller.h"

/* Puts the finalizer on an object that lives, and takes it off one that is being deleted unless `used` says that it is still needed (asked in this case alone).
 * used: 1 yes, 0 no, -1 with a status. */
int protection_sync(struct controller *c, struct arena *a, const struct type_desc *type, const struct object *cached, const char *finalizer,
                    int (*used)(void *self, struct arena *a, const void *obj, struct status *reterr), void *self, struct status *reterr);

/* Adds (once) the index of Pods by the claims that they name or that are their own, as "namespace/name". Returns its number. Upstream: AddPodPVCIndexerIfNotPresent. */
int pods_index_by_claims(struct informer *pods);
/* The same of one Pod: appends the keys. */
void pod_claims(struct arena *a, const struct corev1_Pod *pod, struct string_list *ret);
/* A Pod with a Node that uses this very claim; that of an ephemeral volume only when it is the Pod's own. */
bool pod_mounts_claim(struct arena *a, const struct corev1_Pod *pod, const void *claim);
#endif
