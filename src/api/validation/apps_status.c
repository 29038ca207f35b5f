/* Statuses of the kinds in apps.c: counts that are not negative and fit each other. */
#include "api/validation/apps.h"
#include "api/object.h"
#include "api/validation/meta.h"

struct count { const char *name; int64_t value; };

static void non_negative(const struct count *counts, size_t len, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < len; i++) validate_non_negative(counts[i].value, FIELD(at, counts[i].name), errs);
}

static void optional_count(const struct opt_int32 *v, const char *name, const struct field_path *at, struct field_errors *errs) {
    if (v->has) validate_non_negative(v->value, FIELD(at, name), errs);
}

static void at_most_replicas(const struct count *counts, size_t len, int32_t replicas, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < len; i++)
        if (counts[i].value > replicas) field_invalid_int(errs, FIELD(at, counts[i].name), counts[i].value, "cannot be greater than status.replicas");
}

static void available_at_most_ready(int32_t available, int32_t ready, const char *text, const struct field_path *at, struct field_errors *errs) {
    if (available > ready) field_invalid_int(errs, FIELD(at, "availableReplicas"), available, "%s", text);
}

static void collisions(struct opt_int32 now, struct opt_int32 old, const struct field_path *at, struct field_errors *errs) {
    if (old.has && (!now.has || now.value < old.value)) field_invalid_int(errs, FIELD(at, "collisionCount"), now.has ? now.value : 0, "cannot be decremented");
}

void validate_deployment_status_update(const void *obj, const void *old, struct field_errors *errs) {
    const struct appsv1_DeploymentStatus *s = &((const struct appsv1_Deployment *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    const struct count all[] = {{"observedGeneration", s->observedGeneration}, {"replicas", s->replicas}, {"updatedReplicas", s->updatedReplicas}, {"readyReplicas", s->readyReplicas},
                                {"availableReplicas", s->availableReplicas}, {"unavailableReplicas", s->unavailableReplicas}};
    non_negative(all, ARRAY_LEN(all), at, errs);
    optional_count(&s->terminatingReplicas, "terminatingReplicas", at, errs);
    optional_count(&s->collisionCount, "collisionCount", at, errs);
    at_most_replicas(all + 2, 3, s->replicas, at, errs);
    available_at_most_ready(s->availableReplicas, s->readyReplicas, "cannot be greater than readyReplicas", at, errs);
    collisions(s->collisionCount, ((const struct appsv1_Deployment *)old)->status.collisionCount, at, errs);
}

void validate_replicaset_status_update(const void *obj, const void *old UNUSED, struct field_errors *errs) {
    const struct appsv1_ReplicaSetStatus *s = &((const struct appsv1_ReplicaSet *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    const struct count all[] = {{"replicas", s->replicas}, {"fullyLabeledReplicas", s->fullyLabeledReplicas}, {"readyReplicas", s->readyReplicas}, {"availableReplicas", s->availableReplicas},
                                {"observedGeneration", s->observedGeneration}};
    non_negative(all, ARRAY_LEN(all), at, errs);
    optional_count(&s->terminatingReplicas, "terminatingReplicas", at, errs);
    at_most_replicas(all + 1, 3, s->replicas, at, errs);
    available_at_most_ready(s->availableReplicas, s->readyReplicas, "cannot be greater than readyReplicas", at, errs);
}

void validate_replicationcontroller_status_update(const void *obj, const void *old UNUSED, struct field_errors *errs) {
    const struct corev1_ReplicationControllerStatus *s = &((const struct corev1_ReplicationController *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    const struct count all[] = {{"replicas", s->replicas}, {"fullyLabeledReplicas", s->fullyLabeledReplicas}, {"readyReplicas", s->readyReplicas}, {"availableReplicas", s->availableReplicas},
                                {"observedGeneration", s->observedGeneration}};
    non_negative(all, ARRAY_LEN(all), at, errs);
    at_most_replicas(all + 1, 3, s->replicas, at, errs);
    available_at_most_ready(s->availableReplicas, s->readyReplicas, "cannot be greater than readyReplicas", at, errs);
}

void validate_statefulset_status_update(const void *obj, const void *old, struct field_errors *errs) {
    const struct appsv1_StatefulSetStatus *s = &((const struct appsv1_StatefulSet *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    const struct count all[] = {{"replicas", s->replicas}, {"readyReplicas", s->readyReplicas}, {"currentReplicas", s->currentReplicas}, {"updatedReplicas", s->updatedReplicas},
                                {"availableReplicas", s->availableReplicas}, {"observedGeneration", s->observedGeneration}};
    non_negative(all, ARRAY_LEN(all), at, errs);
    optional_count(&s->collisionCount, "collisionCount", at, errs);
    at_most_replicas(all + 1, 4, s->replicas, at, errs);
    available_at_most_ready(s->availableReplicas, s->readyReplicas, "cannot be greater than status.readyReplicas", at, errs);
    collisions(s->collisionCount, ((const struct appsv1_StatefulSet *)old)->status.collisionCount, at, errs);
}

void validate_daemonset_status_update(const void *obj, const void *old, struct field_errors *errs) {
    const struct appsv1_DaemonSetStatus *s = &((const struct appsv1_DaemonSet *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    const struct count all[] = {{"currentNumberScheduled", s->currentNumberScheduled}, {"numberMisscheduled", s->numberMisscheduled}, {"desiredNumberScheduled", s->desiredNumberScheduled},
                                {"numberReady", s->numberReady}, {"observedGeneration", s->observedGeneration}, {"updatedNumberScheduled", s->updatedNumberScheduled},
                                {"numberAvailable", s->numberAvailable}, {"numberUnavailable", s->numberUnavailable}};
    non_negative(all, ARRAY_LEN(all), at, errs);
    optional_count(&s->collisionCount, "collisionCount", at, errs);
    collisions(s->collisionCount, ((const struct appsv1_DaemonSet *)old)->status.collisionCount, at, errs);
}
