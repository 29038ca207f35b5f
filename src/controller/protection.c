/* PersistentVolumeClaims, PersistentVolumes and VolumeAttributesClasses are not deleted while they are used. Upstream: pkg/controller/volume/pvcprotection, pvprotection, vacprotection.
 *
 * Each has a finalizer from its creation on; when it is being deleted and nothing uses it any more, the finalizer goes. Tests: tests/unit/test_controller_volume.c. */
#include "controller/protection.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"

#define PVC_FINALIZER "kubernetes.io/pvc-protection"
#define PV_FINALIZER "kubernetes.io/pv-protection"
#define VAC_FINALIZER "kubernetes.io/vac-protection"

int protection_sync(struct controller *c, struct arena *a, const struct type_desc *type, const struct object *cached, const char *finalizer,
                    int (*used)(void *self, struct arena *a, const void *obj, struct status *reterr), void *self, struct status *reterr) {
    bool has = string_list_has(&cached->metadata.finalizers, finalizer), leaving = cached->metadata.deletionTimestamp.set;
    if (has != leaving) return 0;
    int use = leaving ? used(self, a, cached, reterr) : 0;
    if (use) return use > 0 ? 0 : -1;
    struct object *o = object_copy(a, type, cached);
    o->metadata.finalizers = (struct string_list){0};
    LIST_FOREACH(f, &cached->metadata.finalizers)
        if (!str_eq(*f, finalizer)) string_list_push(a, &o->metadata.finalizers, *f);
    if (!leaving) string_list_push(a, &o->metadata.finalizers, finalizer);
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_update(c->client, a, type, o, NULL, &err) == 0 || status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}

struct protection {
    struct controller *c;
    struct informer *objects, *users, *volumes; /* users: Pods of claims, claims of classes; volumes: of classes */
    int by_use;
};

static struct protection *protection_new(struct controller *c, const struct type_desc *type) {
    struct protection *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->c = c;
    p->objects = informers_get(c->context->informers, type);
    informer_add_handler(p->objects, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    return p;
}

/* ---- claims ---- */

static const char *claim_of_volume(struct arena *a, const struct corev1_Pod *pod, const struct corev1_Volume *v) {
    if (v->persistentVolumeClaim) return v->persistentVolumeClaim->claimName;
    return v->ephemeral ? arena_printf(a, "%s-%s", pod->metadata.name, v->name) : NULL;
}

void pod_claims(struct arena *a, const struct corev1_Pod *pod, struct string_list *ret) {
    LIST_FOREACH(v, &pod->spec.volumes) {
        const char *claim = claim_of_volume(a, pod, v);
        const char *key = claim ? arena_printf(a, "%s/%s", pod->metadata.namespace, claim) : NULL;
        if (key && !string_list_has(ret, key)) string_list_push(a, ret, key);
    }
}

static void index_by_claims(struct arena *a, const void *obj, struct string_list *ret) { pod_claims(a, obj, ret); }

int pods_index_by_claims(struct informer *pods) { return informer_add_index(pods, "claims", index_by_claims); }

/* A Pod without a Node does not count: no kubelet starts a Pod whose claim is being deleted. */
bool pod_mounts_claim(struct arena *a, const struct corev1_Pod *pod, const void *claim_object) {
    const struct object *claim = claim_object;
    if (str_empty(pod->spec.nodeName)) return false;
    LIST_FOREACH(v, &pod->spec.volumes)
        if (str_eq(claim_of_volume(a, pod, v), claim->metadata.name) && (!v->ephemeral || controlled_by(claim, pod))) return true;
    return false;
}

/* The cache first, since most claims that are used are found there; then the server, since the cache may lag. */
static int claim_used(void *self, struct arena *a, const void *obj, struct status *reterr) {
    struct protection *p = self;
    const struct object *claim = obj;
    _cleanup_cached_list_ struct cached_list pods = {0};
    struct corev1_PodList live;
    informer_by_index(p->users, p->by_use, object_key(a, claim), &pods);
    CACHED_FOREACH(pod, corev1_Pod, &pods)
        if (pod_mounts_claim(a, pod, claim)) return 1;
    if (client_list(p->c->client, a, &corev1_Pod_desc, claim->metadata.namespace, NULL, &live, reterr) != 0) return -1;
    LIST_FOREACH(pod, &live.items)
        if (pod_mounts_claim(a, pod, claim)) return 1;
    return 0;
}

static int sync_claim(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct protection *p = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *claim = informer_get(p->objects, ns, name);
    return claim ? protection_sync(p->c, a, &corev1_PersistentVolumeClaim_desc, claim->obj, PVC_FINALIZER, claim_used, p, reterr) : 0;
}

static void enqueue_claims(struct protection *p, const struct corev1_Pod *pod) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct string_list keys = {0};
    pod_claims(a, pod, &keys);
    LIST_FOREACH(key, &keys) work_queue_add(p->c->queue, *key);
}

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_Pod *was = CACHED(old, corev1_Pod), *is = CACHED(now, corev1_Pod);
    if (!str_eq(was->metadata.uid, is->metadata.uid)) enqueue_claims(data, was);
    if (pod_is_terminal(is) || str_empty(is->spec.nodeName)) enqueue_claims(data, is);
}
static void on_pod_delete(void *data, struct cached *old) { enqueue_claims(data, CACHED(old, corev1_Pod)); }

static void *new_pvc(struct controller *c, struct status *reterr UNUSED) {
    struct protection *p = protection_new(c, &corev1_PersistentVolumeClaim_desc);
    p->users = informers_get(c->context->informers, &corev1_Pod_desc);
    p->by_use = pods_index_by_claims(p->users);
    informer_add_handler(p->users, &(struct informer_handler){p, NULL, on_pod_update, on_pod_delete});
    return p;
}

const struct controller_desc controller_pvc_protection = {
    .name = "persistentvolumeclaim-protection-controller", .queue = "pvcprotection", .account = "pvc-protection-controller", .workers = 1, .new = new_pvc, .sync = sync_claim, .free = free};

/* ---- volumes ---- */

static int volume_used(void *self UNUSED, struct arena *a UNUSED, const void *obj, struct status *reterr UNUSED) {
    return str_eq(((const struct corev1_PersistentVolume *)obj)->status.phase, "Bound");
}

static int sync_volume(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct protection *p = self;
    _cleanup_cached_ struct cached *pv = informer_get(p->objects, NULL, key);
    return pv ? protection_sync(p->c, a, &corev1_PersistentVolume_desc, pv->obj, PV_FINALIZER, volume_used, p, reterr) : 0;
}

static void *new_pv(struct controller *c, struct status *reterr UNUSED) { return protection_new(c, &corev1_PersistentVolume_desc); }

const struct controller_desc controller_pv_protection = {
    .name = "persistentvolume-protection-controller", .queue = "pvprotection", .account = "pv-protection-controller", .workers = 1, .new = new_pv, .sync = sync_volume, .free = free};

/* ---- classes ---- */

static bool claim_names_class(const struct corev1_PersistentVolumeClaim *claim, const char *class) {
    return str_eq(claim->spec.volumeAttributesClassName, class) || str_eq(claim->status.currentVolumeAttributesClassName, class) ||
           (claim->status.modifyVolumeStatus && str_eq(claim->status.modifyVolumeStatus->targetVolumeAttributesClassName, class));
}

static int class_used(void *self, struct arena *a UNUSED, const void *obj, struct status *reterr UNUSED) {
    struct protection *p = self;
    const char *name = ((const struct object *)obj)->metadata.name;
    _cleanup_cached_list_ struct cached_list claims = {0}, volumes = {0};
    informer_list(p->users, NULL, &claims);
    informer_list(p->volumes, NULL, &volumes);
    CACHED_FOREACH(claim, corev1_PersistentVolumeClaim, &claims)
        if (claim_names_class(claim, name)) return 1;
    CACHED_FOREACH(pv, corev1_PersistentVolume, &volumes)
        if (str_eq(pv->spec.volumeAttributesClassName, name)) return 1;
    return 0;
}

static int sync_class(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct protection *p = self;
    _cleanup_cached_ struct cached *class = informer_get(p->objects, NULL, key);
    return class ? protection_sync(p->c, a, &storagev1_VolumeAttributesClass_desc, class->obj, VAC_FINALIZER, class_used, p, reterr) : 0;
}

/* Any class may have lost its last user: they are few. */
static void enqueue_classes(struct protection *p) {
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(p->objects, NULL, &all);
    for (size_t i = 0; i < all.len; i++)
        if (all.items[i]->obj->metadata.deletionTimestamp.set) controller_enqueue(p->c, all.items[i]->obj);
}
static void on_user_update(void *data, struct cached *old UNUSED, struct cached *now UNUSED) { enqueue_classes(data); }
static void on_user_delete(void *data, struct cached *old UNUSED) { enqueue_classes(data); }

static void *new_vac(struct controller *c, struct status *reterr UNUSED) {
    struct protection *p = protection_new(c, &storagev1_VolumeAttributesClass_desc);
    p->users = informers_get(c->context->informers, &corev1_PersistentVolumeClaim_desc);
    p->volumes = informers_get(c->context->informers, &corev1_PersistentVolume_desc);
    informer_add_handler(p->users, &(struct informer_handler){p, NULL, on_user_update, on_user_delete});
    informer_add_handler(p->volumes, &(struct informer_handler){p, NULL, on_user_update, on_user_delete});
    return p;
}

const struct controller_desc controller_vac_protection = {.name = "volumeattributesclass-protection-controller", .queue = "vacprotection", .workers = 1, .new = new_vac, .sync = sync_class, .free = free};
