/* News from the API: into cache and queue, and to those whom they may help. Upstream: eventhandlers.go.
 * Each function holds the cache's lock over all it does, so that events are judged by the state that they lead to. */
#include "base/buf.h"
#include "base/str.h"
#include "scheduler/scheduler_internal.h"

const struct type_desc *const scheduler_wanted[] = {
    &corev1_Pod_desc, &corev1_Node_desc, &corev1_Namespace_desc, &corev1_PersistentVolume_desc, &corev1_PersistentVolumeClaim_desc, &storagev1_StorageClass_desc,
    &storagev1_CSINode_desc, &storagev1_CSIDriver_desc, &storagev1_CSIStorageCapacity_desc, &storagev1_VolumeAttachment_desc, &policyv1_PodDisruptionBudget_desc,
    &corev1_Service_desc, &corev1_ReplicationController_desc, &appsv1_ReplicaSet_desc, &appsv1_StatefulSet_desc, &resourcev1_ResourceClaim_desc,
    &resourcev1_ResourceSlice_desc, &resourcev1_DeviceClass_desc, NULL};

static bool pod_finished(const struct corev1_Pod *p) { return str_eq(p->status.phase, "Succeeded") || str_eq(p->status.phase, "Failed"); }

static bool profile_serves(const struct scheduler *s, const struct corev1_Pod *p) {
    for (size_t i = 0; i < s->profiles_len; i++)
        if (str_eq(s->profiles[i].name, str_or(p->spec.schedulerName, "default-scheduler"))) return true;
    return false;
}

/* With the lock held. */
static void assigned_pod_gone(struct scheduler *s, const char *key) {
    struct node_info *node = cache_pod_node(s->cache, key);
    char *name = node ? strdup(node->name) : NULL;
    struct pod_info *old = cache_delete_pod(s->cache, key);
    if (old) {
        struct cluster_event e = {.resource = EVENT_ASSIGNED_POD, .actions = ACTION_DELETE, .old_pod = old, .node = cache_node(s->cache, name)};
        queue_event(s->queue, s->cache, &e, NULL);
    }
    pod_info_unref(old);
    free(name);
}

static void assigned_pod_set(struct scheduler *s, struct pod_info *p) {
    queue_delete(s->queue, p->key, NULL);
    cache_nominate_none(s->cache, p->key);
    bool was_assumed = cache_pod_assumed(s->cache, p->key);
    struct pod_info *old = cache_set_pod(s->cache, p);
    struct cluster_event e = {.resource = EVENT_ASSIGNED_POD, .old_pod = was_assumed ? NULL : old, .new_pod = p, .node = cache_node(s->cache, p->pod->spec.nodeName)};
    e.actions = e.old_pod ? pod_change_actions(e.old_pod, p) : ACTION_ADD;
    if (e.actions) queue_event(s->queue, s->cache, &e, NULL);
    pod_info_unref(old);
}

static void unassigned_pod_set(struct scheduler *s, struct pod_info *p) {
    if (cache_pod_assumed(s->cache, p->key)) return; /* its binding is on its way */
    queue_set(s->queue, s->cache, p);
    const char *said = p->pod->status.nominatedNodeName, *nominated = cache_nominated_node(s->cache, p->key);
    const struct pod_info *was = cache_nominated_pod(s->cache, p->key);
    bool withdrawn = was && !str_empty(was->pod->status.nominatedNodeName) && str_empty(said); /* not just that our own patch is not seen yet */
    if (nominated || !str_empty(said)) {
        _cleanup_free_ char *to = withdrawn ? NULL : strdup(str_or(said, nominated));
        cache_nominate(s->cache, p, to);
    }
}

void scheduler_set_pod(struct scheduler *s, const struct corev1_Pod *pod) {
    if (pod_finished(pod)) { /* holds nothing any more */
        scheduler_delete_pod(s, pod->metadata.namespace, pod->metadata.name);
        return;
    }
    struct pod_info *p = pod_info_new(pod);
    cache_lock(s->cache);
    if (!str_empty(pod->spec.nodeName)) {
        assigned_pod_set(s, p);
    } else if (p->terminating) {
        queue_delete(s->queue, p->key, NULL);
        cache_nominate_none(s->cache, p->key);
    } else if (profile_serves(s, pod)) {
        unassigned_pod_set(s, p);
    }
    cache_unlock(s->cache);
    pod_info_unref(p);
}

void scheduler_delete_pod(struct scheduler *s, const char *namespace, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s", str_or(namespace, ""), str_or(name, ""));
    cache_lock(s->cache);
    queue_delete(s->queue, buf_cstr(&key), NULL);
    cache_nominate_none(s->cache, buf_cstr(&key));
    assigned_pod_gone(s, buf_cstr(&key));
    cache_unlock(s->cache);
}

/* Heartbeats change a node all the time; only what a plugin reads wakes waiting Pods. */
void scheduler_set_node(struct scheduler *s, const struct corev1_Node *node) {
    cache_lock(s->cache);
    struct old_node old = cache_set_node(s->cache, node);
    struct node_info *now = cache_node(s->cache, node->metadata.name);
    struct cluster_event e = {.resource = EVENT_NODE, .old_node = old.node, .new_node = now->node, .node = now};
    e.actions = old.node ? node_change_actions(old.node, now->node) : ACTION_ADD;
    if (e.actions) queue_event(s->queue, s->cache, &e, NULL);
    old_node_release(&old);
    cache_unlock(s->cache);
}

void scheduler_delete_node(struct scheduler *s, const char *name) {
    cache_lock(s->cache);
    struct old_node old = cache_delete_node(s->cache, name);
    if (old.node) queue_event(s->queue, s->cache, &(struct cluster_event){.resource = EVENT_NODE, .actions = ACTION_DELETE, .old_node = old.node}, NULL);
    old_node_release(&old);
    cache_unlock(s->cache);
}

/* EVENT_RESOURCES: nobody waits for it. */
static enum event_resource resource_of(const struct type_desc *type) {
    if (type == &corev1_PersistentVolume_desc) return EVENT_PERSISTENT_VOLUME;
    if (type == &corev1_PersistentVolumeClaim_desc) return EVENT_PERSISTENT_VOLUME_CLAIM;
    if (type == &storagev1_StorageClass_desc) return EVENT_STORAGE_CLASS;
    if (type == &storagev1_CSINode_desc) return EVENT_CSI_NODE;
    if (type == &storagev1_CSIDriver_desc) return EVENT_CSI_DRIVER;
    if (type == &storagev1_CSIStorageCapacity_desc) return EVENT_CSI_STORAGE_CAPACITY;
    if (type == &storagev1_VolumeAttachment_desc) return EVENT_VOLUME_ATTACHMENT;
    if (type == &resourcev1_ResourceClaim_desc) return EVENT_RESOURCE_CLAIM;
    if (type == &resourcev1_ResourceSlice_desc) return EVENT_RESOURCE_SLICE;
    if (type == &resourcev1_DeviceClass_desc) return EVENT_DEVICE_CLASS;
    return EVENT_RESOURCES;
}

static bool wanted(const struct type_desc *type) {
    for (size_t i = 0; scheduler_wanted[i]; i++)
        if (scheduler_wanted[i] == type) return true;
    return false;
}

void scheduler_set_object(struct scheduler *s, const struct type_desc *type, const void *obj) {
    if (type == &corev1_Pod_desc) return scheduler_set_pod(s, obj);
    if (type == &corev1_Node_desc) return scheduler_set_node(s, obj);
    CHECK(wanted(type));
    const struct metav1_ObjectMeta *meta = &((const struct object *)obj)->metadata;
    cache_lock(s->cache);
    const void *old;
    struct arena *old_arena = cache_set(s->cache, type, obj, &old);
    struct cluster_event e = {.resource = resource_of(type), .actions = old ? ACTION_UPDATE : ACTION_ADD, .old_obj = old,
                              .new_obj = cache_get_api(s->cache, type, meta->namespace, meta->name)};
    if (e.resource != EVENT_RESOURCES) queue_event(s->queue, s->cache, &e, NULL);
    arena_free(old_arena);
    cache_unlock(s->cache);
}

void scheduler_delete_object(struct scheduler *s, const struct type_desc *type, const char *namespace, const char *name) {
    if (type == &corev1_Pod_desc) return scheduler_delete_pod(s, namespace, name);
    if (type == &corev1_Node_desc) return scheduler_delete_node(s, name);
    CHECK(wanted(type));
    cache_lock(s->cache);
    const void *old;
    struct arena *old_arena = cache_delete(s->cache, type, namespace, name, &old);
    struct cluster_event e = {.resource = resource_of(type), .actions = ACTION_DELETE, .old_obj = old};
    if (old && e.resource != EVENT_RESOURCES) queue_event(s->queue, s->cache, &e, NULL);
    arena_free(old_arena);
    cache_unlock(s->cache);
}
