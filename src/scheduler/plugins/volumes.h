/* What the volume plugins share. */
#ifndef CKUBE_SCHEDULER_VOLUMES_H
#define CKUBE_SCHEDULER_VOLUMES_H
#include "scheduler/plugins/plugins.h"

/* The claim's name that a volume of the Pod uses; NULL: none. */
const char *volume_claim_name(struct arena *a, const struct corev1_Pod *pod, const struct corev1_Volume *v);
/* As volume_claim_name is name, without making it. */
bool volume_claim_is(const struct corev1_Pod *pod, const struct corev1_Volume *v, const char *name);
bool pod_uses_claim(const struct corev1_Pod *pod, const struct corev1_PersistentVolumeClaim *pvc);
const struct corev1_PersistentVolumeClaim *claim_get(struct scheduler_cache *c, const char *namespace, const char *name);
const char *claim_class(const struct corev1_PersistentVolumeClaim *pvc); /* the annotation of old first; "" is no class */
const char *volume_class(const struct corev1_PersistentVolume *pv);
bool volume_node_matches(const struct corev1_PersistentVolume *pv, const struct corev1_Node *node);
/* The reason for a thing that is not there, in upstream's words: `persistentvolumeclaim "x" not found`. */
enum code reasons_not_found(struct cycle *cycle, struct reasons *why, const char *what, const char *name);
#endif
