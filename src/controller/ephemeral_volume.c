/* A claim for every ephemeral volume of a Pod, which owns it. Upstream: pkg/controller/volume/ephemeral. Tests: tests/unit/test_controller_volume.c. */
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"

struct ephemeral { struct controller *c; struct informer *pods, *claims; };

static int make_claim(struct ephemeral *e, struct arena *a, const struct corev1_Pod *pod, const struct corev1_Volume *v, struct status *reterr) {
    const char *name = arena_printf(a, "%s-%s", pod->metadata.name, v->name);
    _cleanup_cached_ struct cached *have = informer_get(e->claims, pod->metadata.namespace, name);
    if (have) return controlled_by(have->obj, pod) ? 0 : status_internal(reterr, "PVC %s/%s was not created for pod %s/%s (pod is not owner)", pod->metadata.namespace, name, pod->metadata.namespace, pod->metadata.name);
    const struct corev1_PersistentVolumeClaimTemplate *t = v->ephemeral->volumeClaimTemplate;
    struct corev1_PersistentVolumeClaim *c = object_new(a, &corev1_PersistentVolumeClaim_desc);
    c->metadata.namespace = pod->metadata.namespace;
    c->metadata.name = name;
    *LIST_PUSH(a, &c->metadata.ownerReferences) = controller_ref(a, &corev1_Pod_desc, pod);
    c->metadata.labels = string_map_copy(a, &t->metadata.labels);
    c->metadata.annotations = string_map_copy(a, &t->metadata.annotations);
    c->spec = t->spec;
    _cleanup_status_ struct status err = STATUS_INIT;
    metric_add(&metrics_ephemeral_creates, "", 1);
    if (client_create(e->c->client, a, &corev1_PersistentVolumeClaim_desc, c, NULL, &err) == 0) return 0;
    metric_add(&metrics_ephemeral_failures, "", 1);
    status_set(reterr, err.code, err.reason, "create PVC %s: %s", name, status_message(&err));
    return -1;
}

static int sync_pod(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct ephemeral *e = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(e->pods, ns, name);
    if (!cached || cached->obj->metadata.deletionTimestamp.set) return 0;
    const struct corev1_Pod *pod = CACHED(cached, corev1_Pod);
    LIST_FOREACH(v, &pod->spec.volumes) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (!v->ephemeral || !v->ephemeral->volumeClaimTemplate || make_claim(e, a, pod, v, &err) == 0) continue;
        event_record(e->c->events, &corev1_Pod_desc, pod, EVENT_WARNING, "FailedBinding", "ephemeral volume %s: %s", v->name, status_message(&err));
        status_copy(reterr, &err);
        return -1;
    }
    return 0;
}

static void on_pod_add(void *data, struct cached *now) {
    const struct corev1_Pod *pod = CACHED(now, corev1_Pod);
    if (pod->metadata.deletionTimestamp.set) return;
    LIST_FOREACH(v, &pod->spec.volumes)
        if (v->ephemeral) controller_enqueue(data, pod);
}

/* A claim that is gone is made again as long as the Pod lives. */
static void on_claim_delete(void *data, struct cached *old) {
    const struct metav1_OwnerReference *owner = controller_of(old->obj);
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    if (owner && str_eq(owner->kind, "Pod")) work_queue_add(((struct controller *)data)->queue, arena_printf(a, "%s/%s", old->obj->metadata.namespace, owner->name));
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct ephemeral *e = calloc(1, sizeof(*e));
    CHECK(e);
    e->c = c;
    e->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    e->claims = informers_get(c->context->informers, &corev1_PersistentVolumeClaim_desc);
    informer_add_handler(e->pods, &(struct informer_handler){c, on_pod_add, NULL, NULL});
    informer_add_handler(e->claims, &(struct informer_handler){c, NULL, NULL, on_claim_delete});
    return e;
}

const struct controller_desc controller_ephemeral_volume = {.name = "ephemeral-volume-controller", .queue = "ephemeral_volume", .component = "ephemeral_volume", .workers = 5, .new = new, .sync = sync_pod, .free = free};
