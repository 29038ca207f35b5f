/* Plugins of admission.c that look at other objects. Upstream: plugin/pkg/admission/{runtimeclass,storage}. */
#ifndef CKUBE_APISERVER_ADMISSION_PODS_H
#define CKUBE_APISERVER_ADMISSION_PODS_H
#include "apiserver/admission.h"

int runtime_class_mutate(struct api_request *r, struct corev1_Pod *pod, struct status *reterr);
int default_storage_class(struct api_request *r, struct corev1_PersistentVolumeClaim *c, struct status *reterr);
int claim_resize(struct api_request *r, const struct corev1_PersistentVolumeClaim *c, const struct corev1_PersistentVolumeClaim *old, struct status *reterr);
#endif
