/* Strategies of apps/v1, batch/v1 and the smaller groups. Upstream: pkg/registry/apps and siblings. */
#include <stdio.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "api/validation/workloads.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

#define SPLIT_STATUS(name, T)                                                                                                                                        \
    static void name##_create(struct api_request *r UNUSED, void *obj) { memset(&((struct T *)obj)->status, 0, sizeof(((struct T *)obj)->status)); }                  \
    static void name##_update(struct api_request *r UNUSED, void *obj, const void *old) { ((struct T *)obj)->status = ((const struct T *)old)->status; }              \
    static void name##_status(struct api_request *r UNUSED, void *obj, const void *old) {                                                                             \
        ((struct T *)obj)->spec = ((const struct T *)old)->spec;                                                                                                      \
        ((struct T *)obj)->metadata.labels = ((const struct T *)old)->metadata.labels;                                                                                \
    }
#define WORKLOAD(var, g, v, res, desc, fl, prefix)                                                                                                                    \
    const struct strategy var##_strategy = {.group = g, .version = v, .resource = res, .type = &desc, .flags = HAS_GENERATION | (fl), .prepare_create = prefix##_create, \
                                            .prepare_update = prefix##_update, .prepare_status_update = prefix##_status, .validate = validate_##prefix, .validate_update = validate_##prefix##_update}

SPLIT_STATUS(deployment, appsv1_Deployment)
WORKLOAD(deployment, "apps", "v1", "deployments", appsv1_Deployment_desc, 0, deployment);

SPLIT_STATUS(replicaset, appsv1_ReplicaSet)
static const char *replicaset_field(struct arena *a, const void *obj, const char *name) {
    return strcmp(name, "status.replicas") == 0 ? arena_printf(a, "%d", ((const struct appsv1_ReplicaSet *)obj)->status.replicas) : NULL;
}
static const char *const replicaset_fields[] = {"status.replicas", NULL};
const struct strategy replicaset_strategy = {.group = "apps", .version = "v1", .resource = "replicasets", .type = &appsv1_ReplicaSet_desc, .flags = HAS_GENERATION, .prepare_create = replicaset_create,
    .prepare_update = replicaset_update, .prepare_status_update = replicaset_status, .validate = validate_replicaset, .validate_update = validate_replicaset_update, .selectable_fields = replicaset_fields, .field = replicaset_field};

SPLIT_STATUS(statefulset, appsv1_StatefulSet)
static void statefulset_begin(struct api_request *r, void *obj) {
    statefulset_create(r, obj);
    LIST_FOREACH(c, &((struct appsv1_StatefulSet *)obj)->spec.volumeClaimTemplates) c->status.phase = "Pending";
}
const struct strategy statefulset_strategy = {.group = "apps", .version = "v1", .resource = "statefulsets", .type = &appsv1_StatefulSet_desc, .flags = HAS_GENERATION, .prepare_create = statefulset_begin,
    .prepare_update = statefulset_update, .prepare_status_update = statefulset_status, .validate = validate_statefulset, .validate_update = validate_statefulset_update};

SPLIT_STATUS(daemonset, appsv1_DaemonSet)
WORKLOAD(daemonset, "apps", "v1", "daemonsets", appsv1_DaemonSet_desc, 0, daemonset);

const struct strategy controllerrevision_strategy = {.group = "apps", .version = "v1", .resource = "controllerrevisions", .type = &appsv1_ControllerRevision_desc};

/* ---- Job: its selector and labels come from its uid unless it chooses them itself ---- */

SPLIT_STATUS(job, batchv1_Job)

static void job_begin(struct api_request *r, void *obj) {
    struct batchv1_Job *j = obj;
    job_create(r, obj);
    if (j->spec.manualSelector.has && j->spec.manualSelector.value) return;
    char uuid[37];
    env_uuid(apiserver_env(r->server), uuid);
    j->metadata.uid = arena_strdup(r->arena, uuid); /* system fields keep it */
    struct string_map *labels = &j->spec.template.metadata.labels;
    static const char *const uid_keys[] = {"batch.kubernetes.io/controller-uid", "controller-uid"}, *const name_keys[] = {"batch.kubernetes.io/job-name", "job-name"};
    *labels = string_map_copy(r->arena, labels);
    for (size_t i = 0; i < 2; i++) {
        if (!string_map_has(labels, name_keys[i])) string_map_set(r->arena, labels, name_keys[i], j->metadata.name);
        if (!string_map_has(labels, uid_keys[i])) string_map_set(r->arena, labels, uid_keys[i], j->metadata.uid);
    }
    if (!j->spec.selector) j->spec.selector = ARENA_NEW(r->arena, struct metav1_LabelSelector);
    if (!string_map_has(&j->spec.selector->matchLabels, uid_keys[0])) string_map_set(r->arena, &j->spec.selector->matchLabels, uid_keys[0], j->metadata.uid);
}

static const char *job_field(struct arena *a, const void *obj, const char *name) {
    return strcmp(name, "status.successful") == 0 ? arena_printf(a, "%d", ((const struct batchv1_Job *)obj)->status.succeeded) : NULL;
}
static const char *const job_fields[] = {"status.successful", NULL};
const struct strategy job_strategy = {.group = "batch", .version = "v1", .resource = "jobs", .type = &batchv1_Job_desc, .flags = HAS_GENERATION | ORPHAN_BY_DEFAULT, .prepare_create = job_begin, .prepare_update = job_update,
    .prepare_status_update = job_status, .validate = validate_job, .validate_update = validate_job_update, .selectable_fields = job_fields, .field = job_field};

SPLIT_STATUS(cronjob, batchv1_CronJob)
const struct strategy cronjob_strategy = {.group = "batch", .version = "v1", .resource = "cronjobs", .type = &batchv1_CronJob_desc, .flags = HAS_GENERATION, .prepare_create = cronjob_create, .prepare_update = cronjob_update,
    .prepare_status_update = cronjob_status};

const struct strategy *const special_strategies[] = {
    &configmap_strategy, &secret_strategy, &namespace_strategy, &node_strategy, &pod_strategy, &service_strategy, &endpoints_strategy, &event_strategy, &serviceaccount_strategy, &replicationcontroller_strategy,
    &podtemplate_strategy, &limitrange_strategy, &resourcequota_strategy, &persistentvolume_strategy, &persistentvolumeclaim_strategy, &deployment_strategy, &replicaset_strategy, &statefulset_strategy,
    &daemonset_strategy, &controllerrevision_strategy, &job_strategy, &cronjob_strategy, &role_strategy, &clusterrole_strategy,
    &rolebinding_strategy, &clusterrolebinding_strategy};
const size_t special_strategies_len = ARRAY_LEN(special_strategies);
