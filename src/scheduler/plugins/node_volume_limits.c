/* NodeVolumeLimits: how many volumes of a CSI driver a node can attach (CSINode). In-tree volumes count for the driver that has taken them over, where the
 * CSINode says so. Upstream: plugins/nodevolumelimits/csi.go. */
#include "base/str.h"
#include "scheduler/plugins/volumes.h"

/* One volume, so that it is counted once however many Pods use it. */
struct attach { const char *driver, *handle; };
struct attach_list { struct attach *items; size_t len; };

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

static struct attach in_tree(const struct storagev1_CSINode *node, const char *plugin, const char *handle) { return (struct attach){driver_of(node, plugin), handle}; }

static struct attach volume_attach(const struct storagev1_CSINode *node, const struct corev1_PersistentVolumeSource *s) {
    if (s->csi) return (struct attach){s->csi->driver, s->csi->volumeHandle};
    if (s->awsElasticBlockStore) return in_tree(node, "kubernetes.io/aws-ebs", s->awsElasticBlockStore->volumeID);
    if (s->gcePersistentDisk) return in_tree(node, "kubernetes.io/gce-pd", s->gcePersistentDisk->pdName);
    if (s->azureDisk) return in_tree(node, "kubernetes.io/azure-disk", s->azureDisk->diskURI);
    if (s->cinder) return in_tree(node, "kubernetes.io/cinder", s->cinder->volumeID);
    if (s->vsphereVolume) return in_tree(node, "kubernetes.io/vsphere-volume", s->vsphereVolume->volumePath);
    return (struct attach){0};
}

static struct attach inline_attach(const struct storagev1_CSINode *node, const struct corev1_Volume *v) {
    if (v->awsElasticBlockStore) return in_tree(node, "kubernetes.io/aws-ebs", v->awsElasticBlockStore->volumeID);
    if (v->gcePersistentDisk) return in_tree(node, "kubernetes.io/gce-pd", v->gcePersistentDisk->pdName);
    if (v->azureDisk) return in_tree(node, "kubernetes.io/azure-disk", v->azureDisk->diskURI);
    if (v->cinder) return in_tree(node, "kubernetes.io/cinder", v->cinder->volumeID);
    if (v->vsphereVolume) return in_tree(node, "kubernetes.io/vsphere-volume", v->vsphereVolume->volumePath);
    return (struct attach){0};
}

/* A claim without a volume will get one of its class's provisioner. */
static struct attach claim_attach(struct cycle *cycle, const struct storagev1_CSINode *node, const struct corev1_PersistentVolumeClaim *pvc) {
    if (!str_empty(pvc->spec.volumeName)) {
        const struct corev1_PersistentVolume *pv = cache_get(cycle->cache, &corev1_PersistentVolume_desc, NULL, pvc->spec.volumeName);
        if (pv) return volume_attach(node, &pv->spec.PersistentVolumeSource);
    }
    const char *name = claim_class(pvc);
    const struct storagev1_StorageClass *class = str_empty(name) ? NULL : cache_get(cycle->cache, &storagev1_StorageClass_desc, NULL, name);
    if (!class) return (struct attach){0};
    const char *driver = driver_of(node, class->provisioner);
    return (struct attach){driver ? driver : class->provisioner, pvc->metadata.uid ? pvc->metadata.uid : pvc->metadata.name};
}

static void attaches_add(struct arena *a, struct attach_list *list, struct attach one) {
    if (str_empty(one.driver)) return;
    LIST_FOREACH(have, list)
        if (str_eq(have->driver, one.driver) && str_eq(have->handle, one.handle)) return;
    *LIST_PUSH(a, list) = one;
}

static const char *attaches_of(struct cycle *cycle, const struct storagev1_CSINode *node, const struct pod_info *p, struct attach_list *list) {
    LIST_FOREACH(v, &p->pod->spec.volumes) {
        const char *name = volume_claim_name(cycle->arena, p->pod, v);
        if (!name) {
            attaches_add(cycle->arena, list, inline_attach(node, v));
            continue;
        }
        const struct corev1_PersistentVolumeClaim *pvc = claim_get(cycle->cache, p->pod->metadata.namespace, name);
        if (!pvc) return name;
        attaches_add(cycle->arena, list, claim_attach(cycle, node, pvc));
    }
    return NULL;
}

static bool attachable(const struct corev1_Volume *v) {
    return v->persistentVolumeClaim || v->ephemeral || v->awsElasticBlockStore || v->gcePersistentDisk || v->azureDisk || v->cinder || v->vsphereVolume;
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    LIST_FOREACH(v, &cycle->pod->pod->spec.volumes)
        if (attachable(v)) return CODE_SUCCESS;
    return CODE_SKIP;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct storagev1_CSINode *csi = cache_get(cycle->cache, &storagev1_CSINode_desc, NULL, node->name);
    bool limits = false;
    if (csi)
        LIST_FOREACH(d, &csi->spec.drivers) limits |= d->allocatable && d->allocatable->count.has;
    struct attach_list wanted = {0}, there = {0};
    const char *missing = attaches_of(cycle, csi, cycle->pod, &wanted);
    if (missing) return reasons_not_found(cycle, why, "persistentvolumeclaim", missing);
    if (!wanted.len || !limits) return CODE_SUCCESS;
    for (size_t i = 0; i < node->pods_len; i++)
        if (node->pods[i]->has_volumes) (void)attaches_of(cycle, csi, node->pods[i], &there);
    LIST_FOREACH(d, &csi->spec.drivers) {
        if (!d->allocatable || !d->allocatable->count.has) continue;
        int64_t used = 0, more = 0;
        LIST_FOREACH(t, &there) used += str_eq(t->driver, d->name);
        LIST_FOREACH(w, &wanted) {
            bool already = false;
            LIST_FOREACH(t, &there) already |= str_eq(t->driver, w->driver) && str_eq(t->handle, w->handle);
            more += !already && str_eq(w->driver, d->name);
        }
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
