/* NodeVolumeLimits: how many volumes of a CSI driver a node can attach (CSINode). In-tree volumes count for the driver that has taken them over, where the
 * CSINode says so. Upstream: plugins/nodevolumelimits/csi.go. */
#include "base/str.h"
#include "scheduler/plugins/volumes.h"

static const struct { const char *plugin, *driver; } migrated[] = {{"kubernetes.io/aws-ebs", "ebs.csi.aws.com"}, {"kubernetes.io/gce-pd", "pd.csi.storage.gke.io"},
    {"kubernetes.io/azure-disk", "disk.csi.azure.com"}, {"kubernetes.io/cinder", "cinder.csi.openstack.org"}, {"kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"}};

/* The CSI driver that serves an in-tree plugin's volumes on the node; NULL: none. */
static const char *driver_of(const struct storagev1_CSINode *node, const char *plugin) {
    const char *list = node ? string_map_get(&node->metadata.annotations, "storage.alpha.kubernetes.io/migrated-plugins") : NULL;
    for (size_t i = 0; list && i < ARRAY_LEN(migrated); i++)
        if (str_eq(migrated[i].plugin, plugin)) {
            size_t len = strlen(plugin);
            for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
                if (strncmp(p, plugin, len) == 0 && (p[len] == ',' || !p[len])) return migrated[i].driver;
        }
    return NULL;
}

static const struct volume_attach none;

static struct volume_attach persistent_attach(const struct corev1_PersistentVolumeSource *s) {
    if (s->csi) return (struct volume_attach){NULL, s->csi->driver, s->csi->volumeHandle};
    if (s->awsElasticBlockStore) return (struct volume_attach){"kubernetes.io/aws-ebs", NULL, s->awsElasticBlockStore->volumeID};
    if (s->gcePersistentDisk) return (struct volume_attach){"kubernetes.io/gce-pd", NULL, s->gcePersistentDisk->pdName};
    if (s->azureDisk) return (struct volume_attach){"kubernetes.io/azure-disk", NULL, s->azureDisk->diskURI};
    if (s->cinder) return (struct volume_attach){"kubernetes.io/cinder", NULL, s->cinder->volumeID};
    if (s->vsphereVolume) return (struct volume_attach){"kubernetes.io/vsphere-volume", NULL, s->vsphereVolume->volumePath};
    return none;
}

static struct volume_attach inline_attach(const struct corev1_Volume *v) {
    if (v->awsElasticBlockStore) return (struct volume_attach){"kubernetes.io/aws-ebs", NULL, v->awsElasticBlockStore->volumeID};
    if (v->gcePersistentDisk) return (struct volume_attach){"kubernetes.io/gce-pd", NULL, v->gcePersistentDisk->pdName};
    if (v->azureDisk) return (struct volume_attach){"kubernetes.io/azure-disk", NULL, v->azureDisk->diskURI};
    if (v->cinder) return (struct volume_attach){"kubernetes.io/cinder", NULL, v->cinder->volumeID};
    if (v->vsphereVolume) return (struct volume_attach){"kubernetes.io/vsphere-volume", NULL, v->vsphereVolume->volumePath};
    return none;
}

/* A claim without a volume will get one of its class's provisioner: *final says that there is a volume. */
static struct volume_attach claim_attach(struct scheduler_cache *cache, const struct corev1_PersistentVolumeClaim *pvc, bool *final) {
    if (!str_empty(pvc->spec.volumeName)) {
        const struct corev1_PersistentVolume *pv = cache_get(cache, &corev1_PersistentVolume_desc, NULL, pvc->spec.volumeName);
        if (pv) return persistent_attach(&pv->spec.PersistentVolumeSource);
    }
    *final = false;
    const char *name = claim_class(pvc);
    const struct storagev1_StorageClass *class = str_empty(name) ? NULL : cache_get(cache, &storagev1_StorageClass_desc, NULL, name);
    if (!class) return none;
    return (struct volume_attach){class->provisioner, class->provisioner, str_or(pvc->metadata.uid, pvc->metadata.name)};
}

/* The driver that counts it on a node; NULL: none. */
static const char *attach_driver(const struct storagev1_CSINode *node, const struct volume_attach *v) {
    const char *taken_over = v->plugin ? driver_of(node, v->plugin) : NULL;
    return taken_over ? taken_over : v->driver;
}

static void attaches_add(struct arena *a, struct volume_attach_list *list, struct volume_attach one) {
    if (str_empty(one.handle)) return;
    LIST_FOREACH(have, list)
        if (str_eq(have->handle, one.handle) && str_eq(have->driver, one.driver) && str_eq(have->plugin, one.plugin)) return;
    *LIST_PUSH(a, list) = one;
}

/* What a Pod attaches; once all its volumes are there it is kept with the Pod. NULL, or the claim that does not exist. */
static const char *attaches_of(struct scheduler_cache *cache, struct arena *scratch, struct pod_info *p, struct volume_attach_list *ret) {
    *ret = p->attaches;
    if (p->attaches_known || !p->has_volumes) return NULL;
    bool final = true;
    const char *missing = NULL;
    LIST_FOREACH(v, &p->pod->spec.volumes) {
        const char *name = volume_claim_name(scratch, p->pod, v);
        const struct corev1_PersistentVolumeClaim *pvc = name ? claim_get(cache, p->pod->metadata.namespace, name) : NULL;
        if (name && !pvc) missing = name;
        else attaches_add(scratch, ret, pvc ? claim_attach(cache, pvc, &final) : inline_attach(v));
    }
    if (missing || !final) return missing;
    LIST_FOREACH(v, ret) /* the listers' strings may go */
        *LIST_PUSH(p->arena, &p->attaches) = (struct volume_attach){v->plugin, arena_strdup(p->arena, v->driver), arena_strdup(p->arena, v->handle)};
    p->attaches_known = true;
    return NULL;
}

static bool attachable(const struct corev1_Volume *v) {
    return v->persistentVolumeClaim || v->ephemeral || v->awsElasticBlockStore || v->gcePersistentDisk || v->azureDisk || v->cinder || v->vsphereVolume;
}

struct limits_state { struct volume_attach_list wanted; const char *missing; };

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    LIST_FOREACH(v, &cycle->pod->pod->spec.volumes) {
        if (!attachable(v)) continue;
        struct limits_state *s = cycle->state[PLUGIN_NODE_VOLUME_LIMITS] = ARENA_NEW(cycle->arena, struct limits_state);
        s->missing = attaches_of(cycle->cache, cycle->arena, cycle->pod, &s->wanted);
        return CODE_SUCCESS;
    }
    return CODE_SKIP;
}

static bool attached_by(struct volume_attach_list *there, const struct volume_attach *v) {
    LIST_FOREACH(t, there)
        if (str_eq(t->handle, v->handle) && str_eq(t->driver, v->driver) && str_eq(t->plugin, v->plugin)) return true;
    return false;
}

/* Distinct volumes of a driver on the node; those that are wanted are crossed off. */
static int64_t count_there(struct cycle *cycle, struct node_info *node, const struct storagev1_CSINode *csi, const char *driver, bool *crossed) {
    const struct limits_state *s = cycle->state[PLUGIN_NODE_VOLUME_LIMITS];
    struct volume_attach_list there = {0};
    for (size_t i = 0; i < node->pods_len; i++) {
        struct volume_attach_list more;
        if (!node->pods[i]->has_volumes) continue;
        (void)attaches_of(cycle->cache, cycle->arena, node->pods[i], &more);
        LIST_FOREACH(v, &more)
            if (str_eq(attach_driver(csi, v), driver)) attaches_add(cycle->arena, &there, *v);
    }
    for (size_t w = 0; w < s->wanted.len; w++) crossed[w] = attached_by(&there, &s->wanted.items[w]);
    return (int64_t)there.len;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct limits_state *s = cycle->state[PLUGIN_NODE_VOLUME_LIMITS];
    if (s->missing) return reasons_not_found(cycle, why, "persistentvolumeclaim", s->missing);
    const struct storagev1_CSINode *csi = s->wanted.len ? cache_get(cycle->cache, &storagev1_CSINode_desc, NULL, node->name) : NULL;
    if (!csi) return CODE_SUCCESS;
    bool *crossed = arena_calloc(cycle->arena, s->wanted.len, sizeof(bool));
    LIST_FOREACH(d, &csi->spec.drivers) {
        int64_t wanted = 0, more = 0;
        if (!d->allocatable || !d->allocatable->count.has) continue;
        LIST_FOREACH(w, &s->wanted) wanted += str_eq(attach_driver(csi, w), d->name);
        if (!wanted) continue;
        int64_t used = count_there(cycle, node, csi, d->name, crossed);
        for (size_t w = 0; w < s->wanted.len; w++) more += !crossed[w] && str_eq(attach_driver(csi, &s->wanted.items[w]), d->name);
        if (more && used + more > d->allocatable->count.value) return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) exceed max volume count");
    }
    return CODE_SUCCESS;
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    if (e->resource == EVENT_PERSISTENT_VOLUME_CLAIM) return pod_uses_claim(pod->pod, e->new_obj);
    if (e->resource != EVENT_ASSIGNED_POD) return true;
    LIST_FOREACH(v, &e->old_pod->pod->spec.volumes)
        if (attachable(v)) return true;
    return false;
}

const struct plugin plugin_node_volume_limits = {.name = "NodeVolumeLimits", .id = PLUGIN_NODE_VOLUME_LIMITS, .pre_filter = pre_filter, .filter = filter, .hint = hint,
    .events = {[EVENT_CSI_NODE] = ACTION_ADD | ACTION_UPDATE, [EVENT_ASSIGNED_POD] = ACTION_DELETE, [EVENT_PERSISTENT_VOLUME_CLAIM] = ACTION_ADD | ACTION_UPDATE,
               [EVENT_VOLUME_ATTACHMENT] = ACTION_DELETE}};
