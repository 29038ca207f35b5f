/* CSI volumes are attached to the nodes whose Pods use them, and detached when none does. Upstream: pkg/controller/volume/attachdetach.
 *
 * Attaching is asked for by making a VolumeAttachment, which the driver's external attacher acts on and answers in its status; detaching by deleting it. The Node's
 * status.volumesAttached says what its kubelet may mount; its status.volumesInUse what it has mounted. Nodes are looked after that have the annotation
 * volumes.kubernetes.io/controller-managed-attach-detach. A volume that may be on one node alone is attached only when it is on no other.
 *
 * One worker: a Node's list, and an exclusive volume's turn, are matters of the whole. Keys: "v:UNIQUE-NAME" a volume, "n:NODE" everything on it, "r:NODE" its status alone, "p:NS/POD",
 * "c:NS/CLAIM", "a:VOLUMEATTACHMENT", "d:DRIVER", "verify" and "resync" all there is. Volumes written in Pods, and of types that are no longer in the tree (which upstream
 * translates to CSI), are left alone: docs/status.md. Tests: tests/unit/test_controller_attach.c, tests/converge/attach.c. */
#include "controller/attach_detach.h"
#include "base/log.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/protection.h"

#define MANAGED "volumes.kubernetes.io/controller-managed-attach-detach"
enum { RESYNC_MS = 180000, REPORT_PAUSE_MS = 20 };

/* ---- names ---- */

/* NULL: not of CSI. Upstream: GetUniqueVolumeNameFromSpec. */
static char *unique_name(struct arena *a, const struct corev1_PersistentVolume *pv) {
    return pv->spec.csi ? arena_printf(a, CSI_VOLUME_PREFIX "%s^%s", pv->spec.csi->driver, pv->spec.csi->volumeHandle) : NULL;
}

static void index_by_unique_name(struct arena *a, const void *obj, struct string_list *ret) {
    const char *name = unique_name(a, obj);
    if (name) string_list_push(a, ret, name);
}

/* NULL: no name of a CSI volume. */
static struct attached_volume *volume_get(struct attach_detach *ad, const char *name) {
    struct attached_volume *v = map_get(ad->known, name);
    const char *caret = str_has_prefix(name, CSI_VOLUME_PREFIX) ? strchr(name, '^') : NULL;
    if (v || !caret) return v;
    CHECK((v = calloc(1, sizeof(*v))));
    const char *driver = name + strlen(CSI_VOLUME_PREFIX);
    CHECK((v->name = strdup(name)) && (v->driver = strndup(driver, (size_t)(caret - driver))) && (v->handle = strdup(caret + 1)));
    map_put(ad->known, name, v);
    return v;
}

static void volume_free(struct attach_detach *ad, struct attached_volume *v) {
    for (struct attachment *at = v->attachments, *next; at; at = next) {
        next = at->next;
        attachment_free(ad, at);
    }
    free(v->name);
    free(v->driver);
    free(v->handle);
    free(v);
}

static struct attachment *attachment_get(struct attach_detach *ad, struct attached_volume *v, const char *node, const char *pv) {
    for (struct attachment *at = v->attachments; at; at = at->next)
        if (str_eq(at->node, node)) {
            if (!at->pv && pv) CHECK((at->pv = strdup(pv)));
            return at;
        }
    return attachment_new(ad, v, node, pv);
}

static void add(struct controller *c, const char *prefix, const char *key) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    work_queue_add(c->queue, arena_printf(a, "%s%s", prefix, key));
}

static void add_object(struct controller *c, const char *prefix, const void *obj) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    add(c, prefix, object_key(a, obj));
}

void attach_detach_again(struct attach_detach *ad, const struct attached_volume *v, int64_t ms) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    work_queue_add_after(ad->c->queue, arena_printf(a, "v:%s", v->name), ms);
}

/* After a pause, so that what happens to several volumes at once is one write. */
void attach_detach_report(struct attach_detach *ad, const char *node) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    work_queue_add_after(ad->c->queue, arena_printf(a, "r:%s", node), REPORT_PAUSE_MS);
}

/* ---- who wants what ---- */

static bool none_runs(const struct corev1_ContainerStatus_list *statuses) {
    LIST_FOREACH(s, statuses)
        if (!s->state.terminated && !s->state.waiting) return false;
    return true;
}

/* Its volumes are no longer needed. Upstream: volume/util.IsPodTerminated. */
static bool pod_is_over(const struct corev1_Pod *p) {
    return pod_is_terminal(p) || (p->metadata.deletionTimestamp.set && none_runs(&p->status.initContainerStatuses) && none_runs(&p->status.containerStatuses) && none_runs(&p->status.ephemeralContainerStatuses));
}

static bool is_managed(struct attach_detach *ad, const char *node) {
    _cleanup_cached_ struct cached *n = informer_get(ad->nodes, NULL, node);
    return n && string_map_has(&n->obj->metadata.annotations, MANAGED);
}

static bool is_attachable(struct attach_detach *ad, const char *driver) {
    _cleanup_cached_ struct cached *d = informer_get(ad->drivers, NULL, driver);
    const struct storagev1_CSIDriver *its = d ? CACHED(d, storagev1_CSIDriver) : NULL;
    return !its || !its->spec.attachRequired.has || its->spec.attachRequired.value;
}

static bool is_exclusive(const struct corev1_PersistentVolume *pv) {
    return pv->spec.accessModes.len && !string_list_has(&pv->spec.accessModes, "ReadWriteMany") && !string_list_has(&pv->spec.accessModes, "ReadOnlyMany");
}

static void want(struct attach_detach *ad, struct attached_volume *v, const struct corev1_PersistentVolume *pv, const struct corev1_Pod *pod) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    struct attachment *at = attachment_get(ad, v, pod->spec.nodeName, pv->metadata.name);
    if (map_has(at->pods, pod->metadata.uid)) return;
    char *key = strdup(object_key(a, pod));
    CHECK(key);
    map_put(at->pods, pod->metadata.uid, key);
}

/* The claim that a PersistentVolume is bound to, both ways; a reference, or NULL. */
static struct cached *claim_of(struct attach_detach *ad, const struct corev1_PersistentVolume *pv) {
    const struct corev1_ObjectReference *ref = pv->spec.claimRef;
    struct cached *cached = ref ? informer_get(ad->claims, ref->namespace, ref->name) : NULL;
    if (!cached) return NULL;
    const struct corev1_PersistentVolumeClaim *claim = CACHED(cached, corev1_PersistentVolumeClaim);
    if (str_eq(claim->status.phase, "Bound") && str_eq(claim->spec.volumeName, pv->metadata.name) && str_eq(claim->metadata.uid, ref->uid)) return cached;
    cached_unref(cached);
    return NULL;
}

static void gather_of(struct attach_detach *ad, struct arena *a, struct attached_volume *v, const struct corev1_PersistentVolume *pv) {
    _cleanup_cached_ struct cached *claim = claim_of(ad, pv);
    _cleanup_cached_list_ struct cached_list pods = {0};
    if (!claim) return;
    informer_by_index(ad->pods, ad->pods_by_claim, object_key(a, claim->obj), &pods);
    CACHED_FOREACH(pod, corev1_Pod, &pods)
        if (!pod_is_over(pod) && pod_mounts_claim(a, pod, claim->obj) && is_managed(ad, pod->spec.nodeName)) want(ad, v, pv, pod);
}

/* A Pod that once wanted it does so until it is over or another Pod, whatever becomes of its claim. */
static void forget_pods(struct attach_detach *ad, struct arena *a, struct attachment *at, bool all) {
    const char *uid;
    void *value;
    for (size_t i = 0; map_next(at->pods, &i, &uid, &value);) {
        const char *ns, *name;
        object_key_split(a, value, &ns, &name);
        _cleanup_cached_ struct cached *pod = informer_get(ad->pods, ns, name);
        if (!all && pod && str_eq(pod->obj->metadata.uid, uid) && !pod_is_over(CACHED(pod, corev1_Pod))) continue;
        free(map_del(at->pods, uid));
    }
}

static void gather(struct attach_detach *ad, struct arena *a, struct attached_volume *v) {
    _cleanup_cached_list_ struct cached_list pvs = {0};
    bool attachable = is_attachable(ad, v->driver);
    informer_by_index(ad->volumes, ad->volumes_by_name, v->name, &pvs);
    for (struct attachment *at = v->attachments; at; at = at->next) forget_pods(ad, a, at, !attachable);
    CACHED_FOREACH(pv, corev1_PersistentVolume, &pvs) {
        v->exclusive = is_exclusive(pv);
        if (attachable) gather_of(ad, a, v, pv);
    }
}

static int sync_volume(struct attach_detach *ad, struct arena *a, const char *name, struct status *reterr) {
    struct attached_volume *v = volume_get(ad, name);
    if (!v) return 0;
    gather(ad, a, v);
    int rc = attached_volume_step(ad, a, v, reterr);
    for (struct attachment **at = &v->attachments; *at;) {
        struct attachment *it = *at;
        if (it->state == ATTACHMENT_NONE && !map_len(it->pods)) {
            *at = it->next;
            attachment_free(ad, it);
        } else at = &it->next;
    }
    if (v->attachments) return rc;
    map_del(ad->known, name);
    volume_free(ad, v);
    return rc;
}

/* ---- what was, before this controller began ---- */

static void populate_node(struct attach_detach *ad, const struct corev1_Node *node) {
    LIST_FOREACH(entry, &node->status.volumesAttached) {
        struct attached_volume *v = volume_get(ad, entry->name);
        if (!v) continue;
        struct attachment *at = attachment_get(ad, v, node->metadata.name, NULL);
        at->state = ATTACHMENT_ATTACHED;
        at->reported = true;
    }
}

static void populate_attachment(struct attach_detach *ad, struct arena *a, const struct storagev1_VolumeAttachment *va) {
    _cleanup_cached_ struct cached *cached = str_empty(va->spec.source.persistentVolumeName) ? NULL : informer_get(ad->volumes, NULL, va->spec.source.persistentVolumeName);
    const char *name = cached ? unique_name(a, CACHED(cached, corev1_PersistentVolume)) : NULL;
    struct attached_volume *v = name ? volume_get(ad, name) : NULL;
    if (!v) {
        log_info("VolumeAttachment %s is of no volume that is known", va->metadata.name);
        return;
    }
    v->exclusive = is_exclusive(CACHED(cached, corev1_PersistentVolume));
    struct attachment *at = attachment_get(ad, v, va->spec.nodeName, cached->obj->metadata.name);
    if (at->state == ATTACHMENT_NONE) at->state = ATTACHMENT_UNCERTAIN;
}

/* Upstream: populateActualStateOfWorld. Once, with the informers in sync. */
static void populate(struct attach_detach *ad, struct arena *a) {
    _cleanup_cached_list_ struct cached_list nodes = {0}, attachments = {0};
    const char *name;
    void *value;
    ad->populated = true;
    informer_list(ad->nodes, NULL, &nodes);
    informer_list(ad->attachments, NULL, &attachments);
    CACHED_FOREACH(node, corev1_Node, &nodes) populate_node(ad, node);
    CACHED_FOREACH(va, storagev1_VolumeAttachment, &attachments) populate_attachment(ad, a, va);
    for (size_t i = 0; map_next(ad->known, &i, &name, &value);) {
        gather(ad, a, value); /* all of them, before any is detached or attached */
        add(ad->c, "v:", name);
    }
}

/* ---- keys ---- */

static void add_volume_of_claim(struct attach_detach *ad, struct arena *a, const char *claim_key) {
    const char *ns, *name;
    object_key_split(a, claim_key, &ns, &name);
    _cleanup_cached_ struct cached *claim = informer_get(ad->claims, ns, name);
    const char *pv_name = claim ? CACHED(claim, corev1_PersistentVolumeClaim)->spec.volumeName : NULL;
    _cleanup_cached_ struct cached *pv = str_empty(pv_name) ? NULL : informer_get(ad->volumes, NULL, pv_name);
    const char *volume = pv ? unique_name(a, CACHED(pv, corev1_PersistentVolume)) : NULL;
    if (volume) add(ad->c, "v:", volume);
}

static void add_volumes_of_pod(struct attach_detach *ad, struct arena *a, const struct corev1_Pod *pod) {
    struct string_list claims = {0};
    pod_claims(a, pod, &claims);
    LIST_FOREACH(key, &claims) add_volume_of_claim(ad, a, *key);
}

static void sync_pod(struct attach_detach *ad, struct arena *a, const char *key) {
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *pod = informer_get(ad->pods, ns, name);
    if (pod) add_volumes_of_pod(ad, a, CACHED(pod, corev1_Pod));
}

static void add_known(struct attach_detach *ad, const char *node, const char *driver, bool verify) {
    const char *name;
    void *value;
    for (size_t i = 0; map_next(ad->known, &i, &name, &value);) {
        struct attached_volume *v = value;
        const struct attachment *at = v->attachments;
        while (at && node && !str_eq(at->node, node)) at = at->next;
        if (!at || (driver && !str_eq(v->driver, driver))) continue;
        v->verify |= verify;
        add(ad->c, "v:", name);
    }
}

static int sync_node(struct attach_detach *ad, struct arena *a, const char *node, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    informer_by_index(ad->pods, ad->pods_by_node, node, &pods);
    CACHED_FOREACH(pod, corev1_Pod, &pods) add_volumes_of_pod(ad, a, pod);
    add_known(ad, node, NULL, false);
    return attach_detach_write_node(ad, a, node, reterr);
}

/* Everything of a driver (NULL: of all), known or not. */
static void resync(struct attach_detach *ad, struct arena *a, const char *driver) {
    _cleanup_cached_list_ struct cached_list pvs = {0};
    add_known(ad, NULL, driver, false);
    informer_list(ad->volumes, NULL, &pvs);
    CACHED_FOREACH(pv, corev1_PersistentVolume, &pvs)
        if (pv->spec.csi && pv->spec.claimRef && (!driver || str_eq(pv->spec.csi->driver, driver))) add(ad->c, "v:", unique_name(a, pv));
}

static void sync_attachment(struct attach_detach *ad, const char *name) {
    const struct attachment *at = map_get(ad->by_attachment, name);
    if (at) add(ad->c, "v:", at->volume->name);
}

static int sync_key(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct attach_detach *ad = self;
    const char *rest = key + 2;
    if (!ad->populated) populate(ad, a);
    if (str_eq(key, "verify")) {
        add_known(ad, NULL, NULL, true);
        work_queue_add_after(ad->c->queue, key, ad->c->context->options->attach_detach_reconcile_sync_period_ms);
    } else if (str_eq(key, "resync")) {
        resync(ad, a, NULL);
        work_queue_add_after(ad->c->queue, key, RESYNC_MS);
    } else switch (*key) {
        case 'v': return sync_volume(ad, a, rest, reterr);
        case 'n': return sync_node(ad, a, rest, reterr);
        case 'r': return attach_detach_write_node(ad, a, rest, reterr);
        case 'p': sync_pod(ad, a, rest); break;
        case 'c': add_volume_of_claim(ad, a, rest); break;
        case 'a': sync_attachment(ad, rest); break;
        case 'd': resync(ad, a, rest); break;
        }
    return 0;
}

/* ---- handlers: the controller ---- */

static void on_pod(void *data, struct cached *now) {
    const struct corev1_Pod *pod = CACHED(now, corev1_Pod);
    if (!str_empty(pod->spec.nodeName) && pod->spec.volumes.len) add_object(data, "p:", pod);
}
static void on_pod_delete(void *data, struct cached *old) {
    const struct corev1_Pod *pod = CACHED(old, corev1_Pod);
    if (!str_empty(pod->spec.nodeName) && pod->spec.volumes.len) add(data, "n:", pod->spec.nodeName);
}
static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_Pod *was = CACHED(old, corev1_Pod), *is = CACHED(now, corev1_Pod);
    if (!str_eq(was->metadata.uid, is->metadata.uid) || pod_is_over(is) != pod_is_over(was)) on_pod_delete(data, old);
    if (!str_eq(was->metadata.uid, is->metadata.uid) || !str_eq(was->spec.nodeName, is->spec.nodeName)) on_pod(data, now);
}

static void on_claim(void *data, struct cached *now) {
    if (str_eq(CACHED(now, corev1_PersistentVolumeClaim)->status.phase, "Bound")) add_object(data, "c:", now->obj);
}
static void on_claim_update(void *data, struct cached *old UNUSED, struct cached *now) { on_claim(data, now); }

static void on_volume(void *data, struct cached *now) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    const struct corev1_PersistentVolume *pv = CACHED(now, corev1_PersistentVolume);
    if (pv->spec.csi && pv->spec.claimRef) add(data, "v:", unique_name(a, pv));
}
static void on_volume_update(void *data, struct cached *old UNUSED, struct cached *now) { on_volume(data, now); }

static void on_attachment(void *data, struct cached *any) { add_object(data, "a:", any->obj); }
static void on_attachment_update(void *data, struct cached *old UNUSED, struct cached *now) { on_attachment(data, now); }

static void on_driver(void *data, struct cached *any) { add_object(data, "d:", any->obj); }
static void on_driver_update(void *data, struct cached *old UNUSED, struct cached *now) { on_driver(data, now); }

/* ---- handlers of nodes: struct attach_detach ---- */

static void on_node(void *data, struct cached *now) {
    struct attach_detach *ad = data;
    pthread_mutex_lock(&ad->mutex);
    free(map_del(ad->last_in_use, now->obj->metadata.name));
    pthread_mutex_unlock(&ad->mutex);
    add_object(ad->c, "n:", now->obj);
}

static const char *ready_of(const struct corev1_Node *n) {
    LIST_FOREACH(c, &n->status.conditions)
        if (str_eq(c->type, "Ready")) return c->status;
    return NULL;
}

static void on_node_update(void *data, struct cached *old, struct cached *now) {
    struct attach_detach *ad = data;
    const struct corev1_Node *was = CACHED(old, corev1_Node), *is = CACHED(now, corev1_Node);
    bool same_use = was->status.volumesInUse.len == is->status.volumesInUse.len, same_attached = was->status.volumesAttached.len == is->status.volumesAttached.len;
    for (size_t i = 0; same_use && i < is->status.volumesInUse.len; i++) same_use = str_eq(was->status.volumesInUse.items[i], is->status.volumesInUse.items[i]);
    for (size_t i = 0; same_attached && i < is->status.volumesAttached.len; i++) same_attached = str_eq(was->status.volumesAttached.items[i].name, is->status.volumesAttached.items[i].name);
    if (!str_eq(was->metadata.uid, is->metadata.uid) || !same_use || !str_eq(ready_of(was), ready_of(is)) || node_is_out_of_service(was) != node_is_out_of_service(is) ||
        string_map_has(&was->metadata.annotations, MANAGED) != string_map_has(&is->metadata.annotations, MANAGED))
        add_object(ad->c, "n:", is);
    else if (!same_attached) add_object(ad->c, "r:", is);
}

static void on_node_delete(void *data, struct cached *old) {
    struct attach_detach *ad = data;
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_append_char(&text, '\n');
    LIST_FOREACH(v, &CACHED(old, corev1_Node)->status.volumesInUse) buf_printf(&text, "%s\n", *v);
    char *copy = strdup(buf_cstr(&text));
    CHECK(copy);
    pthread_mutex_lock(&ad->mutex);
    free(map_put(ad->last_in_use, old->obj->metadata.name, copy));
    pthread_mutex_unlock(&ad->mutex);
    add_object(ad->c, "n:", old->obj);
}

/* ---- life ---- */

/* What comes by time alone; each adds itself again. */
static void begin(void *self) {
    struct attach_detach *ad = self;
    if (!ad->c->context->options->disable_attach_detach_reconcile_sync) work_queue_add_after(ad->c->queue, "verify", ad->c->context->options->attach_detach_reconcile_sync_period_ms);
    work_queue_add(ad->c->queue, "resync");
}

static void free_self(void *self) {
    struct attach_detach *ad = self;
    const char *name;
    void *value;
    for (size_t i = 0; map_next(ad->known, &i, &name, &value);) volume_free(ad, value);
    map_free(ad->known);
    map_free(ad->by_attachment);
    map_free_with(ad->written, free);
    map_free_with(ad->last_in_use, free);
    pthread_mutex_destroy(&ad->mutex);
    free(ad);
}

static void *new(struct controller *c, struct status *reterr) {
    struct informers *f = c->context->informers;
    if (c->context->options->attach_detach_reconcile_sync_period_ms < 1000) {
        status_set(reterr, 400, REASON_BAD_REQUEST, "duration time must be greater than one second as set via command line option reconcile-sync-loop-period");
        return NULL;
    }
    struct attach_detach *ad = calloc(1, sizeof(*ad));
    CHECK(ad);
    *ad = (struct attach_detach){.c = c, .pods = informers_get(f, &corev1_Pod_desc), .claims = informers_get(f, &corev1_PersistentVolumeClaim_desc), .volumes = informers_get(f, &corev1_PersistentVolume_desc),
        .nodes = informers_get(f, &corev1_Node_desc), .drivers = informers_get(f, &storagev1_CSIDriver_desc), .attachments = informers_get(f, &storagev1_VolumeAttachment_desc),
        .known = map_new(), .by_attachment = map_new(), .written = map_new(), .last_in_use = map_new()};
    pthread_mutex_init(&ad->mutex, NULL);
    ad->pods_by_claim = pods_index_by_claims(ad->pods);
    ad->pods_by_node = informer_add_index(ad->pods, "node", index_by_node_name);
    ad->volumes_by_name = informer_add_index(ad->volumes, "csi", index_by_unique_name);
    informer_add_handler(ad->pods, &(struct informer_handler){c, on_pod, on_pod_update, on_pod_delete});
    informer_add_handler(ad->claims, &(struct informer_handler){c, on_claim, on_claim_update, NULL});
    informer_add_handler(ad->volumes, &(struct informer_handler){c, on_volume, on_volume_update, NULL});
    informer_add_handler(ad->attachments, &(struct informer_handler){c, on_attachment, on_attachment_update, on_attachment});
    informer_add_handler(ad->drivers, &(struct informer_handler){c, on_driver, on_driver_update, on_driver});
    informer_add_handler(ad->nodes, &(struct informer_handler){ad, on_node, on_node_update, on_node_delete});
    return ad;
}

const struct controller_desc controller_attach_detach = {.name = "persistentvolume-attach-detach-controller", .account = "attachdetach-controller", .component = "attachdetach-controller", .workers = 1, .new = new,
    .sync = sync_key, .run = begin, .free = free_self};
