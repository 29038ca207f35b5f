/* Small plugins for other objects than Pods: AlwaysDeny, TaintNodesByCondition, StorageObjectInUseProtection, DefaultStorageClass, PersistentVolumeClaimResize, DefaultIngressClass,
 * DenyServiceExternalIPs. Upstream: plugin/pkg/admission/{deny,nodetaint,storage,network}. */
#include "api/quantity.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "base/str.h"

int always_deny(struct admission_attributes *a, void *state UNUSED, struct status *reterr) { return admission_forbid(a, "admission control is denying all modifications", reterr); }

/* ---- TaintNodesByCondition ---- */

/* A new Node is not ready until the node controller has seen that it is. */
int taint_nodes_by_condition(struct admission_attributes *a, void *state UNUSED, struct status *reterr UNUSED) {
    struct corev1_Node *node = a->obj;
    if (a->o->subresource) return 0;
    LIST_FOREACH(t, &node->spec.taints)
        if (str_eq(t->key, "node.kubernetes.io/not-ready") && str_eq(t->effect, "NoSchedule")) return 0;
    *LIST_PUSH(a->r->arena, &node->spec.taints) = (struct corev1_Taint){.key = "node.kubernetes.io/not-ready", .effect = "NoSchedule"};
    return 0;
}

/* ---- StorageObjectInUseProtection ---- */

int storage_object_in_use_protection(struct admission_attributes *a, void *state UNUSED, struct status *reterr UNUSED) {
    struct object *obj = a->obj;
    const char *finalizer = a->st->type == &corev1_PersistentVolumeClaim_desc ? "kubernetes.io/pvc-protection" : a->st->type == &corev1_PersistentVolume_desc ? "kubernetes.io/pv-protection" : "kubernetes.io/vac-protection";
    if (!a->o->subresource && !string_list_has(&obj->metadata.finalizers, finalizer)) string_list_push(a->r->arena, &obj->metadata.finalizers, finalizer);
    return 0;
}

/* ---- default classes ---- */

/* The newest of the objects that an annotation marks as default; of equally old ones the first by name. */
struct default_class { struct api_request *r; const struct strategy *st; const char *annotation, *old_annotation; const struct object *best; };

static bool find_default(void *arg, const struct store_view *v) {
    struct default_class *d = arg;
    const struct object *c = registry_decode(d->r->arena, d->st, v);
    if (!c || !(str_eq(string_map_get(&c->metadata.annotations, d->annotation), "true") || (d->old_annotation && str_eq(string_map_get(&c->metadata.annotations, d->old_annotation), "true")))) return true;
    if (!d->best || c->metadata.creationTimestamp.sec > d->best->metadata.creationTimestamp.sec) d->best = c;
    return true;
}

static int default_name(struct default_class *d, const char **ret, struct status *reterr) {
    struct store_txn *t;
    if (store_read_begin(apiserver_store(d->r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(d->r->arena, d->st, NULL, NULL), NULL, find_default, d);
    store_read_end(t);
    if (d->best) *ret = d->best->metadata.name;
    return 0;
}

int default_storage_class(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct corev1_PersistentVolumeClaim *c = a->obj;
    struct default_class d = {a->r, strategy_find("storage.k8s.io", "storageclasses"), "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class", NULL};
    if (a->o->subresource || c->spec.storageClassName || string_map_has(&c->metadata.annotations, "volume.beta.kubernetes.io/storage-class")) return 0;
    return default_name(&d, &c->spec.storageClassName, reterr);
}

int default_ingress_class(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct networkingv1_Ingress *i = a->obj;
    struct default_class d = {a->r, strategy_find("networking.k8s.io", "ingressclasses"), "ingressclass.kubernetes.io/is-default-class", NULL, NULL};
    if (a->o->subresource || i->spec.ingressClassName || string_map_has(&i->metadata.annotations, "kubernetes.io/ingress.class")) return 0;
    return default_name(&d, &i->spec.ingressClassName, reterr);
}

/* ---- PersistentVolumeClaimResize ---- */

static const char *class_of(const struct corev1_PersistentVolumeClaim *c) {
    const char *class = string_map_get(&c->metadata.annotations, "volume.beta.kubernetes.io/storage-class");
    return class ? class : c->spec.storageClassName;
}

int claim_resize(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct corev1_PersistentVolumeClaim *c = a->obj, *old = a->old;
    const char *class = class_of(c);
    void *found;
    if (a->o->subresource || quantity_text_cmp(string_map_get(&c->spec.resources.requests, "storage"), string_map_get(&old->spec.resources.requests, "storage")) <= 0) return 0;
    if (!str_eq(old->status.phase, "Bound")) return admission_forbid(a, "Only bound persistent volume claims can be expanded", reterr);
    if (!str_empty(class) && str_eq(class, class_of(old)) && registry_get(a->r, strategy_find("storage.k8s.io", "storageclasses"), NULL, class, &found, NULL, NULL) == 0) {
        const struct storagev1_StorageClass *s = found;
        if (s->allowVolumeExpansion.has && s->allowVolumeExpansion.value) return 0;
    }
    return admission_forbid(a, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize", reterr);
}

/* ---- DenyServiceExternalIPs ---- */

/* Those that were there may stay. */
int deny_service_external_ips(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct corev1_Service *now = a->obj, *old = a->old;
    if (a->o->subresource) return 0;
    for (size_t i = 0; i < now->spec.externalIPs.len; i++)
        if (!old || !string_list_has(&old->spec.externalIPs, now->spec.externalIPs.items[i])) return admission_forbid(a, "Use of external IPs is denied by admission control", reterr);
    return 0;
}
