/* Defaults of Pods and of Pod specs in templates, which get fewer. */
#ifndef CKUBE_API_DEFAULTS_POD_H
#define CKUBE_API_DEFAULTS_POD_H
#include "api/object.h"

void default_pod(struct arena *a, struct corev1_Pod *pod);
/* Amounts finer than thousandths are rounded up to them. Upstream: SetDefaults_ResourceList. */
void default_resource_list(struct arena *a, struct string_map *list);
void default_pod_template(struct arena *a, struct corev1_PodTemplateSpec *t);
#endif
