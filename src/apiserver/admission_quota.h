/* ResourceQuota and LimitRanger. Upstream: apiserver/pkg/admission/plugin/resourcequota, pkg/quota/v1/evaluator, plugin/pkg/admission/limitranger. */
#ifndef CKUBE_APISERVER_ADMISSION_QUOTA_H
#define CKUBE_APISERVER_ADMISSION_QUOTA_H
#include "apiserver/admission.h"

/* Whether the quotas of the namespace have room; what is taken is recorded in their status, each by compare-and-swap, so that no number of writers at once
 * goes over. 0, or -1 with a 403. */
int quota_admit(struct admission_attributes *a, void *state, struct status *reterr);
/* Defaults of LimitRanges for new Pods, and their bounds for Pods and claims. */
int limit_range_mutate(struct admission_attributes *a, void *state, struct status *reterr);
int limit_range_validate(struct admission_attributes *a, void *state, struct status *reterr);
#endif
