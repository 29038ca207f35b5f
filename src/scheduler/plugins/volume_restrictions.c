/* VolumeRestrictions: disks that only one Pod of a node may mount, and claims that only one Pod at all may use (ReadWriteOncePod).
 * Upstream: plugins/volumerestrictions. */
#include "base/str.h"
#include "scheduler/plugins/volumes.h"

struct restrictions { struct string_list claims; int64_t conflicts; bool disks; }; /* claims: ReadWriteOncePod; conflicts: Pods that use one */

static bool is_disk(const struct corev1_Volume *v) { return v->gcePersistentDisk || v->awsElasticBlockStore || v->rbd || v->iscsi; }

static bool overlap(const struct string_list *a, const struct string_list *b) {
    LIST_FOREACH(s, a)
        if (string_list_has(b, *s)) return true;
    return false;
}

static bool disks_conflict(const struct corev1_Volume *v, const struct corev1_Volume *w) {
    if (v->gcePersistentDisk && w->gcePersistentDisk)
        return str_eq(v->gcePersistentDisk->pdName, w->gcePersistentDisk->pdName) && !(v->gcePersistentDisk->readOnly && w->gcePersistentDisk->readOnly);
    if (v->awsElasticBlockStore && w->awsElasticBlockStore) return str_eq(v->awsElasticBlockStore->volumeID, w->awsElasticBlockStore->volumeID);
    if (v->iscsi && w->iscsi) return str_eq(v->iscsi->iqn, w->iscsi->iqn) && !(v->iscsi->readOnly && w->iscsi->readOnly);
    return v->rbd && w->rbd && overlap(&v->rbd->monitors, &w->rbd->monitors) && str_eq(v->rbd->pool, w->rbd->pool) && str_eq(v->rbd->image, w->rbd->image) &&
           !(v->rbd->readOnly && w->rbd->readOnly);
}

static bool pods_conflict(const struct corev1_Pod *p, const struct corev1_Pod *q) {
    LIST_FOREACH(v, &p->spec.volumes)
        if (is_disk(v))
            LIST_FOREACH(w, &q->spec.volumes)
                if (disks_conflict(v, w)) return true;
    return false;
}

static int64_t uses(const struct restrictions *r, const struct corev1_Pod *of, const struct corev1_Pod *p) {
    int64_t n = 0;
    if (str_eq(of->metadata.namespace, p->metadata.namespace))
        LIST_FOREACH(v, &p->spec.volumes) n += v->persistentVolumeClaim && string_list_has(&r->claims, v->persistentVolumeClaim->claimName);
    return n;
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    const struct corev1_Pod *pod = cycle->pod->pod;
    if (!cycle->pod->has_volumes) return CODE_SKIP;
    struct restrictions *r = ARENA_NEW(cycle->arena, struct restrictions);
    LIST_FOREACH(v, &pod->spec.volumes) {
        r->disks |= is_disk(v);
        if (!v->persistentVolumeClaim) continue;
        const struct corev1_PersistentVolumeClaim *pvc = claim_get(cycle->cache, pod->metadata.namespace, v->persistentVolumeClaim->claimName);
        if (!pvc) return reasons_not_found(cycle, why, "persistentvolumeclaim", v->persistentVolumeClaim->claimName);
        if (string_list_has(&pvc->spec.accessModes, "ReadWriteOncePod")) string_list_push(cycle->arena, &r->claims, v->persistentVolumeClaim->claimName);
    }
    for (size_t n = 0; r->claims.len && n < cycle->nodes_len; n++)
        for (size_t i = 0; i < cycle->nodes[n]->pods_len; i++) r->conflicts += uses(r, pod, cycle->nodes[n]->pods[i]->pod);
    cycle->state[PLUGIN_VOLUME_RESTRICTIONS] = r;
    return r->disks || r->conflicts ? CODE_SUCCESS : CODE_SKIP;
}

static void count_pod(struct cycle *cycle, struct node_info *node, struct pod_info *pod, int sign) {
    (void)node;
    struct restrictions *r = cycle->state[PLUGIN_VOLUME_RESTRICTIONS];
    if (r->claims.len) r->conflicts += sign * uses(r, cycle->pod->pod, pod->pod);
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct restrictions *r = cycle->state[PLUGIN_VOLUME_RESTRICTIONS];
    for (size_t i = 0; r->disks && i < node->pods_len; i++)
        if (pods_conflict(cycle->pod->pod, node->pods[i]->pod)) return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) had no available disk");
    if (!r->conflicts) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE, "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode");
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    if (e->resource == EVENT_PERSISTENT_VOLUME_CLAIM) return pod_uses_claim(pod->pod, e->new_obj);
    if (e->resource != EVENT_ASSIGNED_POD) return true;
    if (pods_conflict(pod->pod, e->old_pod->pod)) return true;
    if (str_eq(pod->pod->metadata.namespace, e->old_pod->pod->metadata.namespace))
        LIST_FOREACH(v, &e->old_pod->pod->spec.volumes)
            LIST_FOREACH(w, &pod->pod->spec.volumes)
                if (v->persistentVolumeClaim && w->persistentVolumeClaim && str_eq(v->persistentVolumeClaim->claimName, w->persistentVolumeClaim->claimName)) return true;
    return false;
}

const struct plugin plugin_volume_restrictions = {.name = "VolumeRestrictions", .id = PLUGIN_VOLUME_RESTRICTIONS, .pre_filter = pre_filter, .count_pod = count_pod,
    .filter = filter, .hint = hint,
    .events = {[EVENT_ASSIGNED_POD] = ACTION_DELETE, [EVENT_NODE] = ACTION_ADD, [EVENT_PERSISTENT_VOLUME_CLAIM] = ACTION_ADD | ACTION_UPDATE}};
