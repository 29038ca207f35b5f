/* Plugins that change or refuse new Pods and claims by other objects: RuntimeClass, DefaultStorageClass, PersistentVolumeClaimResize. */
#include <string.h>
#include "api/quantity.h"
#include "apiserver/admission_pods.h"
#include "apiserver/admission_quota.h"
#include "apiserver/apiserver.h"
#include "base/str.h"

/* ---- RuntimeClass ---- */

static int forbid(const void *obj, const char *resource, const char *why, struct status *reterr) { return status_forbidden(reterr, "", resource, admission_name(obj), why); }

static bool same_amounts(const struct string_map *a, const struct string_map *b) {
    if (a->len != b->len) return false;
    LIST_FOREACH(e, a)
        if (!string_map_has(b, e->key) || quantity_text_cmp(e->value, string_map_get(b, e->key)) != 0) return false;
    return true;
}

static bool has_toleration(const struct corev1_Toleration_list *list, const struct corev1_Toleration *t) {
    LIST_FOREACH(o, list)
        if (object_equal(&corev1_Toleration_desc, o, t)) return true;
    return false;
}

static int scheduling(struct api_request *r, struct corev1_Pod *pod, const struct nodev1_Scheduling *s, struct status *reterr) {
    LIST_FOREACH(e, &s->nodeSelector) {
        const char *own = string_map_get(&pod->spec.nodeSelector, e->key);
        if (string_map_has(&pod->spec.nodeSelector, e->key) && !str_eq(own, e->value))
            return forbid(pod, "pods", arena_printf(r->arena, "conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", e->key, str_or(e->value, ""), e->key, str_or(own, "")), reterr);
        string_map_set(r->arena, &pod->spec.nodeSelector, e->key, e->value);
    }
    LIST_FOREACH(t, &s->tolerations)
        if (!has_toleration(&pod->spec.tolerations, t)) *LIST_PUSH(r->arena, &pod->spec.tolerations) = *t;
    return 0;
}

int runtime_class_mutate(struct api_request *r, struct corev1_Pod *pod, struct status *reterr) {
    const char *name = pod->spec.runtimeClassName;
    const struct nodev1_RuntimeClass *class = NULL;
    void *found;
    if (name) {
        if (registry_get(r, strategy_find("node.k8s.io", "runtimeclasses"), NULL, name, &found, NULL, NULL) != 0)
            return forbid(pod, "pods", arena_printf(r->arena, "pod rejected: RuntimeClass \"%s\" not found", name), reterr);
        class = found;
    }
    if (!class || !class->overhead) {
        if (pod->spec.overhead.len) return forbid(pod, "pods", "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead", reterr);
    } else {
        if (pod->spec.overhead.len && !same_amounts(&pod->spec.overhead, &class->overhead->podFixed))
            return forbid(pod, "pods", "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead", reterr);
        if (!pod->spec.overhead.len) pod->spec.overhead = string_map_copy(r->arena, &class->overhead->podFixed);
    }
    return class && class->scheduling ? scheduling(r, pod, class->scheduling, reterr) : 0;
}

/* ---- storage classes ---- */

struct default_class { struct api_request *r; const struct storagev1_StorageClass *best; };

static bool is_default(const struct storagev1_StorageClass *c) {
    return str_eq(string_map_get(&c->metadata.annotations, "storageclass.kubernetes.io/is-default-class"), "true") ||
           str_eq(string_map_get(&c->metadata.annotations, "storageclass.beta.kubernetes.io/is-default-class"), "true");
}

/* The newest default, and of equally old ones the first by name. */
static bool find_default(void *arg, const struct store_view *v) {
    struct default_class *d = arg;
    const struct storagev1_StorageClass *c = registry_decode(d->r->arena, strategy_find("storage.k8s.io", "storageclasses"), v);
    if (c && is_default(c) && (!d->best || c->metadata.creationTimestamp.sec > d->best->metadata.creationTimestamp.sec)) d->best = c;
    return true;
}

int default_storage_class(struct api_request *r, struct corev1_PersistentVolumeClaim *c, struct status *reterr) {
    struct default_class d = {r, NULL};
    struct store_txn *t;
    if (c->spec.storageClassName || string_map_has(&c->metadata.annotations, "volume.beta.kubernetes.io/storage-class")) return 0;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(r->arena, strategy_find("storage.k8s.io", "storageclasses"), NULL, NULL), NULL, find_default, &d);
    store_read_end(t);
    if (d.best) c->spec.storageClassName = d.best->metadata.name;
    return 0;
}

int claim_resize(struct api_request *r, const struct corev1_PersistentVolumeClaim *c, const struct corev1_PersistentVolumeClaim *old, struct status *reterr) {
    const char *now = string_map_get(&c->spec.resources.requests, "storage"), *before = string_map_get(&old->spec.resources.requests, "storage");
    const char *class = string_map_get(&c->metadata.annotations, "volume.beta.kubernetes.io/storage-class");
    void *found;
    if (!class) class = c->spec.storageClassName;
    if (quantity_text_cmp(now, before) <= 0) return 0;
    if (!str_eq(old->status.phase, "Bound")) return forbid(c, "persistentvolumeclaims", "Only bound persistent volume claims can be expanded", reterr);
    if (!str_empty(class) && registry_get(r, strategy_find("storage.k8s.io", "storageclasses"), NULL, class, &found, NULL, NULL) == 0) {
        const struct storagev1_StorageClass *s = found;
        if (s->allowVolumeExpansion.has && s->allowVolumeExpansion.value) return 0;
    }
    return forbid(c, "persistentvolumeclaims", "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize", reterr);
}
