/* Admission: what is changed and what is refused between decoding and storing. Upstream: apiserver/pkg/admission and plugin/pkg/admission. */
#ifndef CKUBE_APISERVER_ADMISSION_H
#define CKUBE_APISERVER_ADMISSION_H
#include "apiserver/registry.h"

enum admission_operation { ADMIT_CREATE, ADMIT_UPDATE, ADMIT_DELETE };
/* The mutating plugins in upstream's order; obj may be changed. */
int admission_mutate(struct api_request *r, const struct strategy *st, enum admission_operation op, void *obj, const void *old, const struct write_options *o, struct status *reterr);
/* The validating ones, after the strategy's own validation. */
int admission_validate(struct api_request *r, const struct strategy *st, enum admission_operation op, const void *obj, const void *old, const struct write_options *o, struct status *reterr);
#endif
