/* Conditions that controllers write into a Pod's status. Upstream: pkg/api/v1/pod UpdatePodCondition, pkg/util/pod PatchPodStatus. */
#ifndef CKUBE_CONTROLLER_POD_CONDITION_H
#define CKUBE_CONTROLLER_POD_CONDITION_H
#include "client/client.h"

/* Sets it in *pod; its transition time moves with its status alone. False: it was so already. */
bool pod_condition_set(struct arena *a, struct corev1_Pod *pod, const char *type, const char *status, const char *reason, const char *message, int64_t now_s);
/* Writes the condition of that type, and the phase unless NULL, to the server: a patch of this very Pod (by UID). */
int pod_condition_patch(struct client *c, struct arena *a, const struct corev1_Pod *pod, const char *type, const char *phase, struct status *reterr);
#endif
