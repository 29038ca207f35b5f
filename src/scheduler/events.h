/* What happens in the cluster, as far as it may make a waiting Pod schedulable. Upstream: framework.ClusterEvent. */
#ifndef CKUBE_SCHEDULER_EVENTS_H
#define CKUBE_SCHEDULER_EVENTS_H
#include "scheduler/cache.h"

enum event_resource {
    EVENT_ASSIGNED_POD, /* a Pod that is on a node */
    EVENT_TARGET_POD,   /* the waiting Pod itself */
    EVENT_NODE, EVENT_PERSISTENT_VOLUME, EVENT_PERSISTENT_VOLUME_CLAIM, EVENT_STORAGE_CLASS, EVENT_CSI_NODE, EVENT_CSI_DRIVER, EVENT_CSI_STORAGE_CAPACITY,
    EVENT_VOLUME_ATTACHMENT, EVENT_RESOURCE_CLAIM, EVENT_RESOURCE_SLICE, EVENT_DEVICE_CLASS, EVENT_RESOURCES
};
enum event_action {
    ACTION_ADD = 1, ACTION_DELETE = 2, ACTION_UPDATE = 4, /* of things other than Pods and nodes, whatever changed */
    ACTION_NODE_ALLOCATABLE = 8, ACTION_NODE_LABEL = 16, ACTION_NODE_TAINT = 32, ACTION_NODE_CONDITION = 64, ACTION_NODE_FEATURES = 128,
    ACTION_POD_LABEL = 256, ACTION_POD_SCALE_DOWN = 512, ACTION_POD_TOLERATION = 1024, ACTION_POD_GATES_ELIMINATED = 2048, ACTION_POD_CLAIM = 4096,
};

struct cluster_event {
    enum event_resource resource;
    unsigned actions;
    struct pod_info *old_pod, *new_pod;             /* of EVENT_ASSIGNED_POD and EVENT_TARGET_POD */
    const struct corev1_Node *old_node, *new_node;  /* of EVENT_NODE */
    struct node_info *node;                         /* where the Pod is or was; the node as it is now; may be NULL */
    const void *old_obj, *new_obj;                  /* of the others */
};

/* What differs between two states of a Pod. Upstream: framework.PodSchedulingPropertiesChange. */
/* "NodeAdd", "AssignedPodDelete": upstream's label of an event, in room. */
const char *event_label(const struct cluster_event *e, char *room, size_t size);
unsigned pod_change_actions(const struct pod_info *old, const struct pod_info *new);
unsigned node_change_actions(const struct corev1_Node *old, const struct corev1_Node *new);
#endif
