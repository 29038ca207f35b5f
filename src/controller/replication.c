/* ReplicationControllers, the ReplicaSets of old, through the same code: see replica_set.h. Upstream: pkg/controller/replication. */
#include "controller/controllers.h"
#include "controller/replica_set.h"

static const struct appsv1_ReplicaSet *view(struct arena *a, const void *obj) {
    const struct corev1_ReplicationController *o = obj;
    struct appsv1_ReplicaSet *s = ARENA_NEW(a, struct appsv1_ReplicaSet);
    s->kind = o->kind;
    s->apiVersion = o->apiVersion;
    s->metadata = o->metadata;
    s->spec.replicas = o->spec.replicas;
    s->spec.minReadySeconds = o->spec.minReadySeconds;
    if (o->spec.template) s->spec.template = *o->spec.template;
    s->spec.selector = ARENA_NEW(a, struct metav1_LabelSelector);
    s->spec.selector->matchLabels = o->spec.selector;
    s->status = (struct appsv1_ReplicaSetStatus){.replicas = o->status.replicas, .fullyLabeledReplicas = o->status.fullyLabeledReplicas, .readyReplicas = o->status.readyReplicas,
        .availableReplicas = o->status.availableReplicas, .observedGeneration = o->status.observedGeneration};
    LIST_FOREACH(c, &o->status.conditions)
        *LIST_PUSH(a, &s->status.conditions) = (struct appsv1_ReplicaSetCondition){.type = c->type, .status = c->status, .lastTransitionTime = c->lastTransitionTime, .reason = c->reason, .message = c->message};
    return s;
}

static void *with_status(struct arena *a, const void *obj, const struct appsv1_ReplicaSetStatus *s) {
    struct corev1_ReplicationController *o = arena_memdup(a, obj, sizeof(*o));
    o->status = (struct corev1_ReplicationControllerStatus){.replicas = s->replicas, .fullyLabeledReplicas = s->fullyLabeledReplicas, .readyReplicas = s->readyReplicas,
        .availableReplicas = s->availableReplicas, .observedGeneration = s->observedGeneration};
    LIST_FOREACH(c, &s->conditions)
        *LIST_PUSH(a, &o->status.conditions) = (struct corev1_ReplicationControllerCondition){.type = c->type, .status = c->status, .lastTransitionTime = c->lastTransitionTime, .reason = c->reason, .message = c->message};
    return o;
}

static const struct replica_set_kind kind = {&corev1_ReplicationController_desc, false, view, with_status};
static void *new(struct controller *c, struct status *reterr UNUSED) { return replica_set_new(c, &kind); }

const struct controller_desc controller_replication = {.name = "replicationcontroller-controller", .queue = "replicationmanager", .account = "replication-controller", .component = "replication-controller", .workers = 5,
    .new = new, .sync = replica_set_sync, .free = replica_set_free};
