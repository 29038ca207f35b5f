/* Lists of tolerations put together and compared. Upstream: pkg/util/tolerations. */
#ifndef CKUBE_APISERVER_ADMISSION_TOLERATIONS_H
#define CKUBE_APISERVER_ADMISSION_TOLERATIONS_H
#include "api/object.h"

/* All of both; what another one tolerates anyway is left out. */
struct corev1_Toleration_list tolerations_merge(struct arena *a, const struct corev1_Toleration_list *first, const struct corev1_Toleration_list *second);
/* Whether each is tolerated by one of the white list; an empty list allows all. */
bool tolerations_allowed(const struct corev1_Toleration_list *list, const struct corev1_Toleration_list *whitelist);
/* Takes the place of those for the same taint (key, effect, operator and value alike), or is added. Upstream: AddOrUpdateTolerationInPod. */
void tolerations_add_or_update(struct arena *a, struct corev1_Toleration_list *list, const struct corev1_Toleration *t);
#endif
