/* PersistentVolumeClaims and PersistentVolumes find each other. Upstream: pkg/controller/volume/persistentvolume.
 *
 * A claim that names no volume gets the smallest available one that suits: access modes, size, mode, selector, class. Both sides say so: the volume's claimRef first (it
 * is what makes a volume taken; a lost race is a conflict), then the claim's volumeName. A claim of a class that waits for its first consumer is the scheduler's until a
 * node is chosen. Provisioning and deleting of volumes is done by external provisioners: the claim is told which one it waits for. One worker, as binding is a matter of
 * the whole; keys are "v:NAME" and "c:NAMESPACE/NAME". Recycling is not done: see docs/status.md. Tests: tests/unit/test_controller_volume.c. */
#include "api/quantity.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"

#define BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define SELECTED_NODE "volume.kubernetes.io/selected-node"
#define BETA_CLASS "volume.beta.kubernetes.io/storage-class"
#define PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define BETA_PROVISIONER "volume.beta.kubernetes.io/storage-provisioner"
#define DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"
#define BETA_DEFAULT_CLASS "storageclass.beta.kubernetes.io/is-default-class"

typedef struct corev1_PersistentVolume volume;
typedef struct corev1_PersistentVolumeClaim claim;

struct binder { struct controller *c; struct informer *volumes, *claims, *classes, *pods; };

/* ---- what they say ---- */

static const char *claim_class(const claim *c) {
    const char *beta = string_map_get(&c->metadata.annotations, BETA_CLASS);
    return str_or(beta ? beta : c->spec.storageClassName, "");
}

static const char *volume_class(const volume *v) {
    const char *beta = string_map_get(&v->metadata.annotations, BETA_CLASS);
    return str_or(beta ? beta : v->spec.storageClassName, "");
}

static bool refers_to(const volume *v, const claim *c) {
    const struct corev1_ObjectReference *r = v->spec.claimRef;
    return r && str_eq(r->namespace, c->metadata.namespace) && str_eq(r->name, c->metadata.name) && (str_empty(r->uid) || str_eq(r->uid, c->metadata.uid));
}

static bool modes_differ(const claim *c, const volume *v) { return !str_eq(str_or(c->spec.volumeMode, "Filesystem"), str_or(v->spec.volumeMode, "Filesystem")); }

static bool has_modes(const volume *v, const claim *c) {
    LIST_FOREACH(mode, &c->spec.accessModes)
        if (!string_list_has(&v->spec.accessModes, *mode)) return false;
    return true;
}

static int size_cmp(const volume *v, const claim *c) { return quantity_text_cmp(string_map_get(&v->spec.capacity, "storage"), string_map_get(&c->spec.resources.requests, "storage")); }

static struct cached *class_of(struct binder *b, const claim *c) { return str_empty(claim_class(c)) ? NULL : informer_get(b->classes, NULL, claim_class(c)); }

/* Its class leaves it to the scheduler, which has not chosen a node yet. */
static bool waits_for_consumer(struct binder *b, const claim *c) {
    if (string_map_has(&c->metadata.annotations, SELECTED_NODE)) return false;
    _cleanup_cached_ struct cached *class = class_of(b, c);
    return class && str_eq(CACHED(class, storagev1_StorageClass)->volumeBindingMode, "WaitForFirstConsumer");
}

static void event(struct binder *b, const claim *c, const char *type, const char *reason, const char *message) { event_record(b->c->events, &corev1_PersistentVolumeClaim_desc, c, type, reason, "%s", message); }

/* ---- writing ---- */

static int set_volume_phase(struct binder *b, struct arena *a, volume *v, const char *phase, const char *message, struct status *reterr) {
    if (str_eq(v->status.phase, phase) && str_eq(v->status.message, message)) return 0;
    if (!str_eq(v->status.phase, phase)) v->status.lastPhaseTransitionTime = (struct api_time){.set = true, .sec = env_now_s(b->c->env)};
    v->status.phase = phase;
    v->status.message = message;
    return client_update_status(b->c->client, a, &corev1_PersistentVolume_desc, v, v, reterr);
}

static int set_claim_phase(struct binder *b, struct arena *a, claim *c, const char *phase, const volume *v, struct status *reterr) {
    struct corev1_PersistentVolumeClaimStatus next = c->status;
    next.phase = phase;
    if (!v) {
        next.accessModes = (struct string_list){0};
        next.capacity = (struct string_map){0};
    } else {
        next.accessModes = v->spec.accessModes;
        const char *size = string_map_get(&v->spec.capacity, "storage");
        /* Later a resize is reported by whoever does it. */
        if (size && (!str_eq(c->status.phase, phase) || !string_map_has(&c->status.capacity, "storage"))) {
            next.capacity = string_map_copy(a, &c->status.capacity);
            string_map_set(a, &next.capacity, "storage", size);
        }
        if (!str_eq(c->status.phase, phase) && v->spec.volumeAttributesClassName) next.currentVolumeAttributesClassName = v->spec.volumeAttributesClassName;
    }
    if (object_equal(&corev1_PersistentVolumeClaimStatus_desc, &next, &c->status)) return 0;
    c->status = next;
    return client_update_status(b->c->client, a, &corev1_PersistentVolumeClaim_desc, c, c, reterr);
}

static int lose(struct binder *b, struct arena *a, claim *c, const char *reason, const char *message, struct status *reterr) {
    bool news = !str_eq(c->status.phase, "Lost");
    if (set_claim_phase(b, a, c, "Lost", NULL, reterr) != 0) return -1;
    if (news) event(b, c, EVENT_WARNING, reason, message);
    return 0;
}

static int take_volume(struct binder *b, struct arena *a, volume *v, const claim *c, struct status *reterr) {
    if (refers_to(v, c) && str_eq(v->spec.claimRef->uid, c->metadata.uid)) return 0;
    if (!refers_to(v, c)) string_map_set(a, &v->metadata.annotations, BOUND_BY_CONTROLLER, "yes"); /* nobody had chosen it before */
    v->spec.claimRef = ARENA_NEW(a, struct corev1_ObjectReference);
    *v->spec.claimRef = (struct corev1_ObjectReference){.kind = "PersistentVolumeClaim", .apiVersion = "v1", .namespace = c->metadata.namespace, .name = c->metadata.name, .uid = c->metadata.uid,
        .resourceVersion = c->metadata.resourceVersion};
    return client_update(b->c->client, a, &corev1_PersistentVolume_desc, v, v, reterr);
}

static int name_volume(struct binder *b, struct arena *a, claim *c, const volume *v, struct status *reterr) {
    bool named = str_eq(c->spec.volumeName, v->metadata.name), completed = string_map_has(&c->metadata.annotations, BIND_COMPLETED);
    if (named && completed) return 0;
    if (!named) {
        c->spec.volumeName = v->metadata.name;
        string_map_set(a, &c->metadata.annotations, BOUND_BY_CONTROLLER, "yes");
    }
    string_map_set(a, &c->metadata.annotations, BIND_COMPLETED, "yes");
    return client_update(b->c->client, a, &corev1_PersistentVolumeClaim_desc, c, c, reterr);
}

/* Each step can be the last of this try: the next one goes on from what is there. */
static int bind(struct binder *b, struct arena *a, const volume *cached, claim *c, struct status *reterr) {
    volume *v = object_copy(a, &corev1_PersistentVolume_desc, cached);
    if (take_volume(b, a, v, c, reterr) != 0 || set_volume_phase(b, a, v, "Bound", NULL, reterr) != 0) return -1;
    return name_volume(b, a, c, v, reterr) == 0 ? set_claim_phase(b, a, c, "Bound", v, reterr) : -1;
}

/* ---- finding a volume ---- */

static bool suits(const volume *v, const claim *c, const struct selector *selector) {
    if (!str_eq(v->status.phase, "Available") || (selector && !selector_matches(selector, &v->metadata.labels))) return false;
    return str_eq(volume_class(v), claim_class(c)) && str_eq(v->spec.volumeAttributesClassName, c->spec.volumeAttributesClassName);
}

/* A reference, or NULL. */
static int find_volume(struct binder *b, struct arena *a, const claim *c, bool delayed, struct cached **ret, struct status *reterr) {
    struct selector selector;
    _cleanup_cached_list_ struct cached_list all = {0};
    struct cached *best = NULL;
    if (c->spec.selector && label_selector_from(a, c->spec.selector, &selector, reterr) != 0) return -1;
    informer_list(b->volumes, NULL, &all);
    for (size_t i = 0; i < all.len; i++) {
        const volume *v = CACHED(all.items[i], corev1_PersistentVolume);
        if ((v->spec.claimRef && !refers_to(v, c)) || v->metadata.deletionTimestamp.set || !has_modes(v, c) || size_cmp(v, c) < 0 || modes_differ(c, v)) continue;
        if (refers_to(v, c)) { /* chosen for it, by its owner or an earlier try */
            best = all.items[i];
            break;
        }
        if (delayed || !suits(v, c, c->spec.selector ? &selector : NULL)) continue;
        int less = best ? quantity_text_cmp(string_map_get(&v->spec.capacity, "storage"), string_map_get(&CACHED(best, corev1_PersistentVolume)->spec.capacity, "storage")) : -1;
        if (less < 0 || (less == 0 && str_cmp(v->metadata.name, best->obj->metadata.name) < 0)) best = all.items[i];
    }
    *ret = best ? cached_ref(best) : NULL;
    return 0;
}

/* ---- without a volume ---- */

/* A claim that leaves its class open gets the default one, even if it was made later. 1: it has been changed and comes again. */
static int assign_default_class(struct binder *b, struct arena *a, claim *c, struct status *reterr) {
    if (c->spec.storageClassName || string_map_has(&c->metadata.annotations, BETA_CLASS)) return 0;
    _cleanup_cached_list_ struct cached_list classes = {0};
    const struct storagev1_StorageClass *newest = NULL;
    informer_list(b->classes, NULL, &classes);
    CACHED_FOREACH(class, storagev1_StorageClass, &classes) {
        const struct string_map *notes = &class->metadata.annotations;
        if (!str_eq(string_map_get(notes, DEFAULT_CLASS), "true") && !str_eq(string_map_get(notes, BETA_DEFAULT_CLASS), "true")) continue;
        if (!newest || class->metadata.creationTimestamp.sec > newest->metadata.creationTimestamp.sec ||
            (class->metadata.creationTimestamp.sec == newest->metadata.creationTimestamp.sec && str_cmp(class->metadata.name, newest->metadata.name) < 0))
            newest = class;
    }
    if (!newest) return 0;
    c->spec.storageClassName = newest->metadata.name;
    return client_update(b->c->client, a, &corev1_PersistentVolumeClaim_desc, c, NULL, reterr) == 0 ? 1 : -1;
}

static int ask_provisioner(struct binder *b, struct arena *a, claim *c, struct status *reterr) {
    _cleanup_cached_ struct cached *class = class_of(b, c);
    if (!class) {
        event(b, c, EVENT_WARNING, "ProvisioningFailed", arena_printf(a, "storageclass.storage.k8s.io \"%s\" not found", claim_class(c)));
        return 0;
    }
    const char *provisioner = CACHED(class, storagev1_StorageClass)->provisioner;
    if (str_eq(provisioner, "kubernetes.io/no-provisioner")) return 0;
    if (!str_eq(string_map_get(&c->metadata.annotations, PROVISIONER), provisioner)) {
        string_map_set(a, &c->metadata.annotations, BETA_PROVISIONER, arena_strdup(a, provisioner));
        string_map_set(a, &c->metadata.annotations, PROVISIONER, arena_strdup(a, provisioner));
        if (client_update(b->c->client, a, &corev1_PersistentVolumeClaim_desc, c, c, reterr) != 0) return -1;
    }
    event(b, c, EVENT_NORMAL, "ExternalProvisioning", arena_printf(a, "Waiting for a volume to be created either by the external provisioner '%s' or manually by the system administrator. "
        "If volume creation is delayed, please verify that the provisioner is running and correctly registered.", provisioner));
    return 0;
}

/* Why a claim of a class that waits is still waiting: nobody uses it, or the Pod has no node yet. */
static void tell_waiting(struct binder *b, struct arena *a, const claim *c) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    informer_list(b->pods, c->metadata.namespace, &pods);
    CACHED_FOREACH(pod, corev1_Pod, &pods) {
        if (pod_is_terminal(pod) || !str_empty(pod->spec.nodeName)) continue;
        LIST_FOREACH(v, &pod->spec.volumes) {
            const char *name = v->persistentVolumeClaim ? v->persistentVolumeClaim->claimName : v->ephemeral ? arena_printf(a, "%s-%s", pod->metadata.name, v->name) : NULL;
            if (!str_eq(name, c->metadata.name)) continue;
            event(b, c, EVENT_NORMAL, "WaitForPodScheduled", arena_printf(a, "waiting for pod %s to be scheduled", pod->metadata.name));
            return;
        }
    }
    event(b, c, EVENT_NORMAL, "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
}

static int await_volume(struct binder *b, struct arena *a, claim *c, bool delayed, struct status *reterr) {
    if (delayed) {
        tell_waiting(b, a, c);
    } else {
        int rc = assign_default_class(b, a, c, reterr);
        if (rc) return rc > 0 ? 0 : -1;
        if (!str_empty(claim_class(c))) rc = ask_provisioner(b, a, c, reterr);
        else event(b, c, EVENT_NORMAL, "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
        if (rc != 0) return -1;
    }
    return set_claim_phase(b, a, c, "Pending", NULL, reterr);
}

/* ---- claims ---- */

static const char *mismatch(const volume *v, const claim *c) {
    if (size_cmp(v, c) < 0) return "requested PV is too small";
    if (!str_eq(volume_class(v), claim_class(c))) return "storageClassName does not match";
    if (modes_differ(c, v)) return "incompatible volumeMode";
    return has_modes(v, c) ? NULL : "incompatible accessMode";
}

static int sync_named_claim(struct binder *b, struct arena *a, claim *c, struct status *reterr) {
    _cleanup_cached_ struct cached *cached = informer_get(b->volumes, NULL, c->spec.volumeName);
    if (!cached) return set_claim_phase(b, a, c, "Pending", NULL, reterr);
    const volume *v = CACHED(cached, corev1_PersistentVolume);
    if (v->spec.claimRef) {
        if (refers_to(v, c)) return bind(b, a, v, c, reterr);
        event(b, c, EVENT_WARNING, "FailedBinding", arena_printf(a, "volume \"%s\" already bound to a different claim.", v->metadata.name));
        return set_claim_phase(b, a, c, "Pending", NULL, reterr);
    }
    const char *why = mismatch(v, c);
    if (!why) return bind(b, a, v, c, reterr);
    event(b, c, EVENT_WARNING, "VolumeMismatch", arena_printf(a, "Cannot bind to requested volume \"%s\": %s", v->metadata.name, why));
    return set_claim_phase(b, a, c, "Pending", NULL, reterr);
}

static int sync_bound_claim(struct binder *b, struct arena *a, claim *c, struct status *reterr) {
    if (str_empty(c->spec.volumeName)) return lose(b, a, c, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!", reterr);
    _cleanup_cached_ struct cached *cached = informer_get(b->volumes, NULL, c->spec.volumeName);
    if (!cached) return lose(b, a, c, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!", reterr);
    const volume *v = CACHED(cached, corev1_PersistentVolume);
    if (!v->spec.claimRef || str_eq(v->spec.claimRef->uid, c->metadata.uid)) return bind(b, a, v, c, reterr);
    return lose(b, a, c, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly", reterr);
}

static int sync_claim(struct binder *b, struct arena *a, const char *key, struct status *reterr) {
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(b->claims, ns, name), *found = NULL;
    if (!cached) return 0;
    claim *c = object_copy(a, &corev1_PersistentVolumeClaim_desc, cached->obj);
    if (string_map_has(&c->metadata.annotations, BIND_COMPLETED)) return sync_bound_claim(b, a, c, reterr);
    if (!str_empty(c->spec.volumeName)) return sync_named_claim(b, a, c, reterr);
    bool delayed = waits_for_consumer(b, c);
    if (find_volume(b, a, c, delayed, &found, reterr) != 0) return -1;
    return found ? bind(b, a, CACHED(found, corev1_PersistentVolume), c, reterr) : await_volume(b, a, c, delayed, reterr);
}

/* ---- volumes ---- */

static int reclaim(struct binder *b, struct arena *a, volume *v, struct status *reterr) {
    const char *policy = str_or(v->spec.persistentVolumeReclaimPolicy, "Retain");
    if (str_eq(policy, "Retain")) return 0;
    if (str_eq(policy, "Delete") && (string_map_has(&v->metadata.annotations, PROVISIONED_BY) || v->spec.csi)) return 0; /* its provisioner deletes it */
    bool recycle = str_eq(policy, "Recycle"), news = !str_eq(v->status.phase, "Failed");
    const char *why = recycle ? "No recycler plugin found for the volume!" : arena_printf(a, "error getting deleter volume plugin for volume \"%s\": no deletable volume plugin matched", v->metadata.name);
    if (set_volume_phase(b, a, v, "Failed", why, reterr) != 0) return -1;
    if (news) event_record(b->c->events, &corev1_PersistentVolume_desc, v, EVENT_WARNING, recycle ? "VolumeFailedRecycle" : "VolumeFailedDelete", "%s", why);
    return 0;
}

static int release(struct binder *b, struct arena *a, volume *v, struct status *reterr) {
    if (!str_eq(v->status.phase, "Released") && !str_eq(v->status.phase, "Failed") && set_volume_phase(b, a, v, "Released", NULL, reterr) != 0) return -1;
    return reclaim(b, a, v, reterr);
}

/* The claim took another volume: this one is free again, unless it was somebody's wish that they belong together. */
static int unbind(struct binder *b, struct arena *a, volume *v, struct status *reterr) {
    if (string_map_has(&v->metadata.annotations, BOUND_BY_CONTROLLER)) {
        v->spec.claimRef = NULL;
        string_map_del(&v->metadata.annotations, BOUND_BY_CONTROLLER);
    } else {
        v->spec.claimRef->uid = NULL;
        v->spec.claimRef->resourceVersion = NULL;
    }
    if (client_update(b->c->client, a, &corev1_PersistentVolume_desc, v, v, reterr) != 0) return -1;
    return set_volume_phase(b, a, v, "Available", NULL, reterr);
}

/* What its claimRef names, if it is the same by UID; *ret zeroed: it is gone. The server has the last word, since a cache that lags must not release a volume. */
static int claim_of(struct binder *b, struct arena *a, const volume *v, claim **ret, struct status *reterr) {
    const struct corev1_ObjectReference *r = v->spec.claimRef;
    _cleanup_cached_ struct cached *cached = informer_get(b->claims, r->namespace, r->name);
    claim *fresh = ARENA_NEW(a, claim);
    _cleanup_status_ struct status err = STATUS_INIT;
    *ret = NULL;
    if (cached && str_eq(cached->obj->metadata.uid, r->uid)) {
        *ret = object_copy(a, &corev1_PersistentVolumeClaim_desc, cached->obj);
        return 0;
    }
    if (client_get(b->c->client, a, &corev1_PersistentVolumeClaim_desc, r->namespace, r->name, fresh, &err) == 0) {
        if (str_eq(fresh->metadata.uid, r->uid)) *ret = fresh;
        return 0;
    }
    if (status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}

static int sync_volume(struct binder *b, struct arena *a, const char *name, struct status *reterr) {
    _cleanup_cached_ struct cached *cached = informer_get(b->volumes, NULL, name);
    claim *c;
    if (!cached) return 0;
    volume *v = object_copy(a, &corev1_PersistentVolume_desc, cached->obj);
    if (!v->spec.claimRef || str_empty(v->spec.claimRef->uid)) return set_volume_phase(b, a, v, "Available", NULL, reterr);
    if (claim_of(b, a, v, &c, reterr) != 0) return -1;
    if (!c) return release(b, a, v, reterr);
    if (str_eq(c->spec.volumeName, v->metadata.name)) return set_volume_phase(b, a, v, "Bound", NULL, reterr);
    if (str_empty(c->spec.volumeName)) {
        if (modes_differ(c, v)) event_record(b->c->events, &corev1_PersistentVolume_desc, v, EVENT_WARNING, "VolumeMismatch", "Cannot bind PersistentVolume to requested PersistentVolumeClaim \"%s\" due to incompatible volumeMode.", c->metadata.name);
        else work_queue_add(b->c->queue, arena_printf(a, "c:%s/%s", c->metadata.namespace, c->metadata.name));
        return 0;
    }
    if (string_map_has(&v->metadata.annotations, PROVISIONED_BY) && str_eq(v->spec.persistentVolumeReclaimPolicy, "Delete")) return release(b, a, v, reterr);
    return unbind(b, a, v, reterr);
}

/* ---- events and life ---- */

static int sync_key(void *self, struct arena *a, const char *key, struct status *reterr) { return (*key == 'v' ? sync_volume : sync_claim)(self, a, key + 2, reterr); }

static void enqueue(struct binder *b, char kind, const struct object *o) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    work_queue_add(b->c->queue, arena_printf(a, "%c:%s", kind, object_key(a, o)));
}

static void enqueue_unbound_claims(struct binder *b) {
    _cleanup_cached_list_ struct cached_list claims = {0};
    informer_list(b->claims, NULL, &claims);
    CACHED_FOREACH(c, corev1_PersistentVolumeClaim, &claims)
        if (!string_map_has(&c->metadata.annotations, BIND_COMPLETED)) enqueue(b, 'c', (const struct object *)(const void *)c);
}

static void on_volume_add(void *data, struct cached *now) {
    enqueue(data, 'v', now->obj);
    const struct corev1_ObjectReference *r = CACHED(now, corev1_PersistentVolume)->spec.claimRef;
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    if (r) work_queue_add(((struct binder *)data)->c->queue, arena_printf(a, "c:%s/%s", r->namespace, r->name));
    else if (str_eq(CACHED(now, corev1_PersistentVolume)->status.phase, "Available")) enqueue_unbound_claims(data);
}
static void on_volume_update(void *data, struct cached *old UNUSED, struct cached *now) { on_volume_add(data, now); }

static void on_volume_delete(void *data, struct cached *old) {
    const struct corev1_ObjectReference *r = CACHED(old, corev1_PersistentVolume)->spec.claimRef;
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    if (r) work_queue_add(((struct binder *)data)->c->queue, arena_printf(a, "c:%s/%s", r->namespace, r->name));
}

static void on_claim_add(void *data, struct cached *now) { enqueue(data, 'c', now->obj); }
static void on_claim_update(void *data, struct cached *old UNUSED, struct cached *now) { enqueue(data, 'c', now->obj); }

static void on_claim_delete(void *data, struct cached *old) {
    const claim *c = CACHED(old, corev1_PersistentVolumeClaim);
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    if (!str_empty(c->spec.volumeName)) work_queue_add(((struct binder *)data)->c->queue, arena_printf(a, "v:%s", c->spec.volumeName));
}

/* All, bound ones too: two volumes may have been taken for a claim by a view that was behind, and the one that it did not get must become free again. */
static void run(void *self) {
    struct binder *b = self;
    while (controller_sleep_ms(b->c, b->c->context->options->pvclaimbinder_sync_period_ms)) {
        _cleanup_cached_list_ struct cached_list volumes = {0}, claims = {0};
        informer_list(b->volumes, NULL, &volumes);
        informer_list(b->claims, NULL, &claims);
        for (size_t i = 0; i < claims.len; i++) enqueue(b, 'c', claims.items[i]->obj);
        for (size_t i = 0; i < volumes.len; i++) enqueue(b, 'v', volumes.items[i]->obj);
    }
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct binder *b = calloc(1, sizeof(*b));
    CHECK(b);
    b->c = c;
    b->volumes = informers_get(c->context->informers, &corev1_PersistentVolume_desc);
    b->claims = informers_get(c->context->informers, &corev1_PersistentVolumeClaim_desc);
    b->classes = informers_get(c->context->informers, &storagev1_StorageClass_desc);
    b->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    informer_add_handler(b->volumes, &(struct informer_handler){b, on_volume_add, on_volume_update, on_volume_delete});
    informer_add_handler(b->claims, &(struct informer_handler){b, on_claim_add, on_claim_update, on_claim_delete});
    return b;
}

const struct controller_desc controller_persistent_volume_binder = {.name = "persistentvolume-binder-controller", .queue = "claims", .account = "persistent-volume-binder", .component = "persistentvolume-controller",
    .workers = 1, .new = new, .sync = sync_key, .run = run, .free = free};
