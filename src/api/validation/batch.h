/* Validation of batch/v1. Upstream: pkg/apis/batch/validation, and which rules hold when: pkg/registry/batch. */
#ifndef CKUBE_API_VALIDATION_BATCH_H
#define CKUBE_API_VALIDATION_BATCH_H
#include "api/field_error.h"
#include "api/object.h"

void validate_job(const void *obj, struct field_errors *errs);
void validate_job_update(const void *obj, const void *old, struct field_errors *errs);
void validate_job_status_update(const void *obj, const void *old, struct field_errors *errs);
void validate_cronjob(const void *obj, struct field_errors *errs);
void validate_cronjob_update(const void *obj, const void *old, struct field_errors *errs);
/* "1,3-5": increasing intervals below completions. The number of indexes, or -1 with what is wrong. */
int32_t job_indexes_count(struct arena *a, const char *indexes, int32_t completions, const char **ret_error);
bool job_condition_is(const struct batchv1_Job *job, const char *type, const char *status);
#endif
