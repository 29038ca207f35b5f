/* The controller of ReplicaSets serves ReplicationControllers too: each kind is seen as a ReplicaSet. Upstream: pkg/controller/replication conversion.go. */
#ifndef CKUBE_CONTROLLER_REPLICA_SET_H
#define CKUBE_CONTROLLER_REPLICA_SET_H
#include "controller/controller_utils.h"

struct replica_set_kind {
    const struct type_desc *type;
    bool counts_terminating; /* has status.terminatingReplicas */
    const struct appsv1_ReplicaSet *(*view)(struct arena *a, const void *obj); /* shares its memory */
    void *(*with_status)(struct arena *a, const void *obj, const struct appsv1_ReplicaSetStatus *s); /* a copy of the object with this status */
};
void *replica_set_new(struct controller *c, const struct replica_set_kind *kind);
int replica_set_sync(void *self, struct arena *a, const char *key, struct status *reterr);
void replica_set_free(void *self);
#endif
