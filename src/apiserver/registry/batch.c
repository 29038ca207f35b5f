/* Strategies of batch/v1. Upstream: pkg/registry/batch. */
#include <string.h>
#include "api/validation/batch.h"
#include "api/warnings.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

enum { MANY_COMPLETIONS = 100000, MANY_AT_ONCE = 10000 };

static void job_spec_warnings(struct api_request *r, const struct batchv1_JobSpec *s, const struct field_path *at) {
    if (str_eq(s->completionMode, "Indexed") && s->completions.value > MANY_COMPLETIONS && s->parallelism.value > MANY_AT_ONCE)
        request_warn(r, "%s: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
                     field_path_string(r->arena, at));
    pod_warnings(r->arena, &s->template.spec, &s->template.metadata, FIELD(at, "template"), &r->warnings);
}

/* ---- Job: its selector and labels come from its uid unless it chooses them itself ---- */

static void generate_selector(struct api_request *r, struct batchv1_Job *j) {
    struct string_map *labels = &j->spec.template.metadata.labels;
    static const char *const uid_keys[] = {"batch.kubernetes.io/controller-uid", "controller-uid"}, *const name_keys[] = {"batch.kubernetes.io/job-name", "job-name"};
    bool shared = labels->len && labels->items == j->metadata.labels.items; /* as the defaults leave it */
    *labels = string_map_copy(r->arena, labels);
    for (size_t i = 0; i < 2; i++) {
        if (!string_map_has(labels, name_keys[i])) string_map_set(r->arena, labels, name_keys[i], str_or(j->metadata.name, ""));
        if (!string_map_has(labels, uid_keys[i])) string_map_set(r->arena, labels, uid_keys[i], j->metadata.uid);
    }
    if (shared) j->metadata.labels = string_map_copy(r->arena, labels);
    if (!j->spec.selector) j->spec.selector = ARENA_NEW(r->arena, struct metav1_LabelSelector);
    if (!string_map_has(&j->spec.selector->matchLabels, uid_keys[0])) string_map_set(r->arena, &j->spec.selector->matchLabels, uid_keys[0], j->metadata.uid);
}

static void job_create(struct api_request *r, void *obj) {
    struct batchv1_Job *j = obj;
    j->status = (struct batchv1_JobStatus){0};
    pod_spec_drop_disabled(&j->spec.template.spec, NULL);
    if (!j->spec.manualSelector.has || !j->spec.manualSelector.value) generate_selector(r, j);
}

static void job_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct batchv1_Job *j = obj;
    const struct batchv1_Job *old = old_obj;
    j->status = old->status;
    pod_spec_drop_disabled(&j->spec.template.spec, &old->spec.template.spec);
}

static void job_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct batchv1_Job *)obj)->spec = ((const struct batchv1_Job *)old)->spec; }

static void job_warnings(struct api_request *r, const void *obj, const void *old) {
    const struct batchv1_Job *j = obj;
    if (!old) pod_name_warnings(r->arena, j->metadata.name, false, &r->warnings);
    if (!old || j->metadata.generation != ((const struct batchv1_Job *)old)->metadata.generation) job_spec_warnings(r, &j->spec, FIELD(NULL, "spec"));
}

static const char *job_field(struct arena *a, const void *obj, const char *name) {
    return strcmp(name, "status.successful") == 0 ? arena_printf(a, "%d", ((const struct batchv1_Job *)obj)->status.succeeded) : NULL;
}
static const char *const job_fields[] = {"status.successful", NULL};
const struct strategy job_strategy = {.group = "batch", .version = "v1", .resource = "jobs", .type = &batchv1_Job_desc, .flags = HAS_GENERATION | ORPHAN_BY_DEFAULT | META_ONLY, .prepare_create = job_create,
    .prepare_update = job_update, .prepare_status_update = job_status, .validate = validate_job, .validate_update = validate_job_update, .validate_status_update = validate_job_status_update,
    .warnings = job_warnings, .selectable_fields = job_fields, .field = job_field};

/* ---- CronJob ---- */

static void cronjob_create(struct api_request *r UNUSED, void *obj) {
    struct batchv1_CronJob *c = obj;
    c->status = (struct batchv1_CronJobStatus){0};
    pod_spec_drop_disabled(&c->spec.jobTemplate.spec.template.spec, NULL);
}

static void cronjob_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    struct batchv1_CronJob *c = obj;
    const struct batchv1_CronJob *old = old_obj;
    c->status = old->status;
    pod_spec_drop_disabled(&c->spec.jobTemplate.spec.template.spec, &old->spec.jobTemplate.spec.template.spec);
}

static void cronjob_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct batchv1_CronJob *)obj)->spec = ((const struct batchv1_CronJob *)old)->spec; }

static void cronjob_warnings(struct api_request *r, const void *obj, const void *old) {
    const struct batchv1_CronJob *c = obj;
    if (!old) pod_name_warnings(r->arena, c->metadata.name, false, &r->warnings);
    if (!old || c->metadata.generation != ((const struct batchv1_CronJob *)old)->metadata.generation)
        job_spec_warnings(r, &c->spec.jobTemplate.spec, FIELD(FIELD(FIELD(NULL, "spec"), "jobTemplate"), "spec"));
    if (old && strstr(str_or(c->spec.schedule, ""), "TZ"))
        request_warn(r, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
}

const struct strategy cronjob_strategy = {.group = "batch", .version = "v1", .resource = "cronjobs", .type = &batchv1_CronJob_desc, .flags = HAS_GENERATION, .prepare_create = cronjob_create,
    .prepare_update = cronjob_update, .prepare_status_update = cronjob_status, .validate = validate_cronjob, .validate_update = validate_cronjob_update, .warnings = cronjob_warnings};
