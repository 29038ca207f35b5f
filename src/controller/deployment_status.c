/* What a Deployment's status says of its ReplicaSets: see deployment.h. Upstream: pkg/controller/deployment progress.go, sync.go. */
#include "base/str.h"
#include "controller/deployment.h"

int rollout_write_status(struct rollout *ro, struct status *reterr) {
    struct appsv1_Deployment *fresh = arena_alloc(ro->a, sizeof(*fresh));
    if (client_update_status(ro->dc->c->client, ro->a, &appsv1_Deployment_desc, ro->d, fresh, reterr) != 0) return -1;
    ro->d->metadata.resourceVersion = fresh->metadata.resourceVersion;
    return 0;
}

int rollout_check_paused(struct rollout *ro, struct status *reterr) {
    struct appsv1_Deployment *d = ro->d;
    const struct appsv1_DeploymentCondition *was = deployment_condition(&d->status, "Progressing");
    if (!deployment_has_deadline(d) || (was && str_eq(was->reason, "ProgressDeadlineExceeded"))) return 0; /* a failure that was told stays told */
    bool told = was && str_eq(was->reason, "DeploymentPaused");
    if (d->spec.paused == told) return 0;
    struct appsv1_DeploymentCondition c = d->spec.paused ? deployment_new_condition(ro, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
                                                         : deployment_new_condition(ro, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
    deployment_set_condition(ro->a, &d->status, &c);
    return rollout_write_status(ro, reterr);
}

/* ---- counts ---- */

/* Unknown as long as one of the sets has been seen by a controller that does not count them. */
static struct opt_int32 terminating(const struct set_list *l) {
    int32_t n = 0;
    SETS_FOREACH(s, l) {
        if (s->status.terminatingReplicas.has) n += s->status.terminatingReplicas.value;
        else if (s->status.observedGeneration != 0) return (struct opt_int32){0};
    }
    return (struct opt_int32)OPT(n);
}

static struct appsv1_DeploymentStatus status_of(const struct rollout *ro) {
    const struct appsv1_Deployment *d = ro->d;
    struct appsv1_DeploymentStatus s = {.observedGeneration = d->metadata.generation, .collisionCount = d->status.collisionCount, .terminatingReplicas = terminating(&ro->all)};
    SETS_FOREACH(set, &ro->all) {
        s.replicas += set->status.replicas;
        s.readyReplicas += set->status.readyReplicas;
        s.availableReplicas += set->status.availableReplicas;
    }
    s.updatedReplicas = ro->new_set ? ro->new_set->status.replicas : 0;
    s.unavailableReplicas = MAX(sets_replicas(&ro->all) - s.availableReplicas, 0);
    LIST_FOREACH(c, &d->status.conditions) *LIST_PUSH(ro->a, &s.conditions) = *c;
    bool enough = s.availableReplicas >= d->spec.replicas.value - deployment_max_unavailable(d);
    struct appsv1_DeploymentCondition c = enough
        ? deployment_new_condition(ro, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        : deployment_new_condition(ro, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
    deployment_set_condition(ro->a, &s, &c);
    return s;
}

int rollout_sync_status(struct rollout *ro, struct status *reterr) {
    struct appsv1_DeploymentStatus s = status_of(ro);
    if (object_equal(&appsv1_DeploymentStatus_desc, &s, &ro->d->status)) return 0;
    ro->d->status = s;
    return rollout_write_status(ro, reterr);
}

/* ---- progress ---- */

bool deployment_complete(const struct appsv1_Deployment *d, const struct appsv1_DeploymentStatus *s) {
    int32_t want = d->spec.replicas.value;
    return s->updatedReplicas == want && s->replicas == want && s->availableReplicas == want && s->observedGeneration >= d->metadata.generation;
}

static bool progressing(const struct appsv1_DeploymentStatus *was, const struct appsv1_DeploymentStatus *is) {
    return is->updatedReplicas > was->updatedReplicas || is->replicas - is->updatedReplicas < was->replicas - was->updatedReplicas || is->readyReplicas > was->readyReplicas ||
           is->availableReplicas > was->availableReplicas;
}

static bool timed_out(const struct rollout *ro, const struct appsv1_DeploymentStatus *s) {
    const struct appsv1_DeploymentCondition *c = deployment_condition(s, "Progressing");
    if (!c || str_eq(c->reason, "NewReplicaSetAvailable")) return false; /* the last rollout ended well: nothing to measure from */
    if (str_eq(c->reason, "ProgressDeadlineExceeded")) return true;
    return (c->lastUpdateTime.sec + ro->d->spec.progressDeadlineSeconds.value) * 1000000000LL < env_now_ns(ro->dc->c->env);
}

static const char *about(const struct rollout *ro, const char *what) {
    return ro->new_set ? arena_printf(ro->a, "ReplicaSet \"%s\" %s", ro->new_set->metadata.name, what) : arena_printf(ro->a, "Deployment \"%s\" %s", ro->d->metadata.name, what);
}

static void set_progress(const struct rollout *ro, struct appsv1_DeploymentStatus *s) {
    struct appsv1_DeploymentCondition c;
    if (deployment_complete(ro->d, s)) {
        c = deployment_new_condition(ro, "Progressing", "True", "NewReplicaSetAvailable", about(ro, "has successfully progressed."));
    } else if (progressing(&ro->d->status, s)) {
        c = deployment_new_condition(ro, "Progressing", "True", "ReplicaSetUpdated", about(ro, "is progressing."));
        /* Each progress is noted, with its time, though status and reason are as before. */
        const struct appsv1_DeploymentCondition *was = deployment_condition(&ro->d->status, "Progressing");
        if (was && str_eq(was->status, "True")) c.lastTransitionTime = was->lastTransitionTime;
        if (was) deployment_remove_condition(s, "Progressing");
    } else if (timed_out(ro, s)) {
        c = deployment_new_condition(ro, "Progressing", "False", "ProgressDeadlineExceeded", about(ro, "has timed out progressing."));
    } else {
        return;
    }
    deployment_set_condition(ro->a, s, &c);
}

/* The new set's failure, or else the first of another. */
static const struct appsv1_ReplicaSetCondition *failure(const struct rollout *ro) {
    const struct appsv1_ReplicaSetCondition *found = NULL;
    SETS_FOREACH(s, &ro->all) {
        if (found && s != ro->new_set) continue;
        LIST_FOREACH(c, &s->status.conditions)
            if (str_eq(c->type, "ReplicaFailure")) found = c;
    }
    return found;
}

static void set_failure(const struct rollout *ro, struct appsv1_DeploymentStatus *s) {
    const struct appsv1_ReplicaSetCondition *f = failure(ro);
    if (!f) {
        deployment_remove_condition(s, "ReplicaFailure");
        return;
    }
    struct appsv1_DeploymentCondition c = {f->type, f->status, f->lastTransitionTime, f->lastTransitionTime, f->reason, f->message};
    deployment_set_condition(ro->a, s, &c);
}

/* The deadline passes without any event: look again then. */
static void look_again(struct rollout *ro, const struct appsv1_DeploymentStatus *s) {
    const struct appsv1_DeploymentCondition *c = deployment_condition(&ro->d->status, "Progressing");
    if (!deployment_has_deadline(ro->d) || !c || deployment_complete(ro->d, s) || str_eq(c->reason, "ProgressDeadlineExceeded")) return;
    int64_t left_ms = (c->lastUpdateTime.sec + ro->d->spec.progressDeadlineSeconds.value) * 1000LL - env_now_ns(ro->dc->c->env) / 1000000;
    if (left_ms < 1000) work_queue_add_rate_limited(ro->dc->c->queue, object_key(ro->a, ro->d));
    else controller_enqueue_after(ro->dc->c, ro->d, left_ms + 1000);
}

int rollout_sync_rollout_status(struct rollout *ro, struct status *reterr) {
    struct appsv1_DeploymentStatus s = status_of(ro);
    const struct appsv1_DeploymentCondition *was = deployment_condition(&ro->d->status, "Progressing");
    bool done_before = s.replicas == s.updatedReplicas && was && str_eq(was->reason, "NewReplicaSetAvailable");
    if (!deployment_has_deadline(ro->d)) deployment_remove_condition(&s, "Progressing");
    else if (!done_before) set_progress(ro, &s);
    set_failure(ro, &s);
    if (object_equal(&appsv1_DeploymentStatus_desc, &s, &ro->d->status)) {
        look_again(ro, &s);
        return 0;
    }
    ro->d->status = s;
    return rollout_write_status(ro, reterr);
}
