/* Attaching and detaching, step by step. Upstream: the attach-detach controller's reconciler, volume/util/operationexecutor, volume/csi/csi_attacher.go.
 *
 * Nothing here waits: what upstream's operation waits for is looked for again when the VolumeAttachment changes, or in time. */
#include <openssl/evp.h>
#include "base/log.h"
#include "base/str.h"
#include "controller/attach_detach.h"
#include "controller/controller_utils.h"
#include "controller/node_util.h"
#include "wire/json.h"

enum { OPERATION_TIMEOUT_MS = 120000, UNMOUNT_WAIT_MS_MAX = 360000, BACKOFF_MS_MIN = 500, BACKOFF_MS_MAX = 122000, LOOK_AGAIN_MS = 200 };
#define OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

typedef struct storagev1_VolumeAttachment volume_attachment;

/* ---- life ---- */

/* "csi-" and a hash of the three names. Upstream: getAttachmentName. */
static char *attachment_name(const struct attached_volume *v, const char *node) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    buf_printf(&text, "%s%s%s", v->handle, v->driver, node);
    CHECK(EVP_Digest(text.data, text.len, sum, &len, EVP_sha256(), NULL) == 1);
    char *name = malloc(5 + 2 * len);
    CHECK(name);
    strcpy(name, "csi-");
    for (unsigned i = 0; i < len; i++) snprintf(name + 4 + 2 * i, 3, "%02x", sum[i]);
    return name;
}

struct attachment *attachment_new(struct attach_detach *ad, struct attached_volume *v, const char *node, const char *pv) {
    struct attachment *at = calloc(1, sizeof(*at));
    CHECK(at && (at->node = strdup(node)));
    CHECK(!pv || (at->pv = strdup(pv)));
    at->volume = v;
    at->name = attachment_name(v, node);
    at->pods = map_new();
    at->next = v->attachments;
    v->attachments = at;
    map_put(ad->by_attachment, at->name, at);
    return at;
}

void attachment_free(struct attach_detach *ad, struct attachment *at) {
    map_del(ad->by_attachment, at->name);
    map_free_with(at->pods, free);
    free(at->node);
    free(at->name);
    free(at->pv);
    free(at);
}

/* ---- what is so ---- */

static int64_t now_ns(const struct attach_detach *ad) { return env_mono_ns(ad->c->env); }
static bool wanted(const struct attachment *at) { return map_len(at->pods) > 0; }
static bool pending(const struct attachment *at) { return at->state == ATTACHMENT_ATTACHING || at->state == ATTACHMENT_DETACHING; }

/* Something is under way for the volume elsewhere, and it may be on one node alone. */
static bool held_up(const struct attachment *at) {
    for (const struct attachment *o = at->volume->attachments; o && at->volume->exclusive; o = o->next)
        if (o != at && pending(o)) return true;
    return false;
}

static bool backing_off(struct attach_detach *ad, const struct attachment *at) {
    int64_t left = at->retry_at_ns - now_ns(ad);
    if (!at->retry_at_ns || left <= 0) return false;
    attach_detach_again(ad, at->volume, left / 1000000 + 1);
    return true;
}

static bool timed_out(struct attach_detach *ad, const struct attachment *at) {
    int64_t left = at->began_ns + OPERATION_TIMEOUT_MS * 1000000LL - now_ns(ad);
    if (left > 0) attach_detach_again(ad, at->volume, left / 1000000 + 1);
    return left <= 0;
}

/* ---- what becomes of it ---- */

static void event(struct attach_detach *ad, const struct attachment *at, const char *type, const char *reason, const char *message) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(at->pods, &i, &key, &value);) {
        _cleanup_arena_ struct arena *a = arena_new_sized(512);
        const char *ns, *name;
        object_key_split(a, value, &ns, &name);
        _cleanup_cached_ struct cached *pod = informer_get(ad->pods, ns, name);
        if (pod) event_record(ad->c->events, &corev1_Pod_desc, pod->obj, type, reason, "%s", message);
    }
}

/* Whether it is attached is not known from now on; tried again after a pause. */
static void failed(struct attach_detach *ad, struct attachment *at) {
    at->state = ATTACHMENT_UNCERTAIN;
    at->backoff_ms = at->backoff_ms ? MIN(2 * at->backoff_ms, BACKOFF_MS_MAX) : BACKOFF_MS_MIN;
    at->retry_at_ns = now_ns(ad) + at->backoff_ms * 1000000;
    attach_detach_again(ad, at->volume, at->backoff_ms + 1);
}

static void attach_failed(struct attach_detach *ad, struct arena *a, struct attachment *at, const char *why) {
    failed(ad, at);
    event(ad, at, EVENT_WARNING, "FailedAttachVolume", arena_printf(a, "AttachVolume.Attach failed for volume \"%s\" : %s", str_or(at->pv, ""), why));
}

static void detach_failed(struct attach_detach *ad, struct attachment *at, const char *why) {
    failed(ad, at);
    log_info("detaching volume %s from node %s failed: %s", at->volume->name, at->node, why);
}

static void attached(struct attach_detach *ad, struct arena *a, struct attachment *at) {
    at->state = ATTACHMENT_ATTACHED;
    at->reported = true;
    at->retry_at_ns = at->backoff_ms = 0;
    attach_detach_report(ad, at->node);
    event(ad, at, EVENT_NORMAL, "SuccessfulAttachVolume", arena_printf(a, "AttachVolume.Attach succeeded for volume \"%s\" ", str_or(at->pv, "")));
}

static void detached(struct attach_detach *ad, struct attachment *at) {
    if (at->reported) attach_detach_report(ad, at->node);
    at->state = ATTACHMENT_NONE;
    at->reported = false;
    at->detach_requested_ns = at->retry_at_ns = at->backoff_ms = 0;
}

/* ---- what is under way ---- */

static void look_attaching(struct attach_detach *ad, struct arena *a, struct attachment *at) {
    _cleanup_cached_ struct cached *cached = informer_get(ad->attachments, NULL, at->name);
    const volume_attachment *va = cached ? CACHED(cached, storagev1_VolumeAttachment) : NULL;
    if (va && va->metadata.deletionTimestamp.set) attach_failed(ad, a, at, "volume attachment is being deleted");
    else if (va && va->status.attached) attached(ad, a, at);
    else if (va && va->status.attachError) attach_failed(ad, a, at, str_or(va->status.attachError->message, ""));
    else if (timed_out(ad, at))
        attach_failed(ad, a, at, arena_printf(a, "timed out waiting for external-attacher of %s CSI driver to attach volume %s", at->volume->driver, at->volume->handle));
}

/* Is there no such VolumeAttachment? The cache may be behind: the server is asked. 0: there is one; -1: it did not say. */
static int surely_gone(struct attach_detach *ad, struct arena *a, const struct attachment *at, volume_attachment *ret) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_get(ad->c->client, a, &storagev1_VolumeAttachment_desc, NULL, at->name, ret, &err) == 0) return 0;
    return status_is(&err, 404) ? 1 : -1;
}

static void look_detaching(struct attach_detach *ad, struct arena *a, struct attachment *at) {
    volume_attachment live;
    _cleanup_cached_ struct cached *cached = informer_get(ad->attachments, NULL, at->name);
    const volume_attachment *va = cached ? CACHED(cached, storagev1_VolumeAttachment) : NULL;
    if (!va && surely_gone(ad, a, at, &live) == 1) detached(ad, at);
    else if (va && va->status.detachError) detach_failed(ad, at, str_or(va->status.detachError->message, ""));
    else if (timed_out(ad, at)) detach_failed(ad, at, "timed out waiting for the external attacher to detach it");
    else if (!va) attach_detach_again(ad, at->volume, LOOK_AGAIN_MS);
}

/* What was attached may have been taken away by others. Upstream: VerifyVolumesAreAttached. */
static void verify(struct attach_detach *ad, struct arena *a, struct attachment *at) {
    volume_attachment live;
    _cleanup_cached_ struct cached *cached = informer_get(ad->attachments, NULL, at->name);
    if (at->state != ATTACHMENT_ATTACHED || (cached && CACHED(cached, storagev1_VolumeAttachment)->status.attached)) return;
    int gone = surely_gone(ad, a, at, &live);
    if (gone < 0 || (!gone && live.status.attached)) return;
    log_info("volume %s is no longer attached to node %s", at->volume->name, at->node);
    detached(ad, at);
    if (!gone) at->state = ATTACHMENT_UNCERTAIN; /* what is left of it must not be forgotten */
}

/* ---- detaching ---- */

static bool in_use(const struct corev1_Node *node, const char *volume) { return string_list_has(&node->status.volumesInUse, volume); }

/* As its Node says; for one that is gone: as it said last, and if nobody heard that, yes. */
static bool mounted(struct attach_detach *ad, const struct attachment *at, const struct corev1_Node *node) {
    if (node) return in_use(node, at->volume->name);
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    pthread_mutex_lock(&ad->mutex);
    const char *last = map_get(ad->last_in_use, at->node);
    bool yes = !last || strstr(last, arena_printf(a, "\n%s\n", at->volume->name));
    pthread_mutex_unlock(&ad->mutex);
    return yes;
}

static bool is_healthy(const struct corev1_Node *node) {
    const struct corev1_NodeCondition *ready = node ? node_condition(node, "Ready") : NULL;
    return ready && str_eq(ready->status, "True");
}

bool node_is_out_of_service(const struct corev1_Node *node) {
    if (node) LIST_FOREACH(t, &node->spec.taints)
        if (str_eq(t->key, OUT_OF_SERVICE)) return true;
    return false;
}

/* NULL, or why not: asked of the server, after it was told that the volume is no longer safe to mount. */
static const char *unsafe(struct attach_detach *ad, struct arena *a, const struct attachment *at) {
    struct corev1_Node node;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_get(ad->c->client, a, &corev1_Node_desc, NULL, at->node, &node, &err) != 0)
        return status_is(&err, 404) ? NULL : arena_printf(a, "failed fetching node from API server: %s", status_message(&err));
    return in_use(&node, at->volume->name) ? "volume is still in use by node, according to Node status" : NULL;
}

static void delete_attachment(struct attach_detach *ad, struct attachment *at) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_delete(ad->c->client, &storagev1_VolumeAttachment_desc, NULL, at->name, NULL, &err) == 0) {
        at->state = ATTACHMENT_DETACHING;
        at->began_ns = now_ns(ad);
    } else if (status_is(&err, 404)) {
        detached(ad, at);
    } else {
        detach_failed(ad, at, status_message(&err));
    }
}

/* First the Node is told, so that no kubelet mounts it any more; then the server is asked whether one has; then it goes. */
static int detach(struct attach_detach *ad, struct arena *a, struct attachment *at, struct status *reterr) {
    if (at->state == ATTACHMENT_NONE || pending(at) || held_up(at) || backing_off(ad, at)) return 0;
    _cleanup_cached_ struct cached *cached = informer_get(ad->nodes, NULL, at->node);
    const struct corev1_Node *node = cached ? CACHED(cached, corev1_Node) : NULL;
    if (!at->detach_requested_ns) at->detach_requested_ns = now_ns(ad);
    int64_t left_ms = UNMOUNT_WAIT_MS_MAX - (now_ns(ad) - at->detach_requested_ns) / 1000000;
    bool expired = left_ms < 0 && !ad->c->context->options->disable_force_detach_on_timeout, taken_out = node_is_out_of_service(node);
    if (mounted(ad, at, node) && !(expired && !is_healthy(node)) && !taken_out) {
        if (left_ms >= 0) attach_detach_again(ad, at->volume, left_ms + 1);
        return 0;
    }
    bool was_reported = at->reported;
    at->reported = false;
    if (attach_detach_write_node(ad, a, at->node, reterr) != 0) {
        at->reported = was_reported;
        attach_detach_report(ad, at->node);
        return -1;
    }
    if (expired || taken_out) log_info("detaching volume %s from node %s by force: %s", at->volume->name, at->node, expired ? "it was not unmounted in time" : "the node is out of service");
    const char *why = expired || taken_out ? NULL : unsafe(ad, a, at);
    if (why) detach_failed(ad, at, why);
    else delete_attachment(ad, at);
    return 0;
}

/* ---- attaching ---- */

static int by_name(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

/* Those that have it elsewhere, the Pods of ns by name; others' names are not for everyone to see. Upstream: reportMultiAttachError. */
static const char *multi_attach_message(struct arena *a, const struct attachment *at, const char *ns) {
    struct string_list names = {0};
    int others = 0;
    const char *uid;
    void *value;
    for (const struct attachment *o = at->volume->attachments; o; o = o->next) {
        if (o == at || o->state != ATTACHMENT_ATTACHED) continue;
        for (size_t i = 0; map_next(o->pods, &i, &uid, &value);) {
            const char *its_ns, *name;
            object_key_split(a, value, &its_ns, &name);
            if (str_eq(its_ns, ns)) string_list_push(a, &names, name);
            else others++;
        }
    }
    if (!names.len && !others) return "Volume is already exclusively attached to one node and can't be attached to another";
    if (!names.len) return arena_printf(a, "Volume is already used by %d pod(s) in different namespaces", others);
    qsort(names.items, names.len, sizeof(*names.items), by_name);
    _cleanup_buf_ struct buf text = BUF_INIT;
    for (size_t i = 0; i < names.len; i++) buf_printf(&text, "%s%s", i ? ", " : "Volume is already used by pod(s) ", names.items[i]);
    if (others) buf_printf(&text, " and %d pod(s) in different namespaces", others);
    return arena_strdup(a, buf_cstr(&text));
}

static void report_multi_attach(struct attach_detach *ad, struct arena *a, struct attachment *at) {
    const char *uid;
    void *value;
    if (at->multi_attach_reported) return;
    at->multi_attach_reported = true;
    for (size_t i = 0; map_next(at->pods, &i, &uid, &value);) {
        const char *ns, *name;
        object_key_split(a, value, &ns, &name);
        _cleanup_cached_ struct cached *pod = informer_get(ad->pods, ns, name);
        if (pod) event_record(ad->c->events, &corev1_Pod_desc, pod->obj, EVENT_WARNING, "FailedAttachVolume", "Multi-Attach error for volume \"%s\" %s", str_or(at->pv, ""), multi_attach_message(a, at, ns));
    }
}

static bool is_elsewhere(const struct attachment *at, enum attachment_state state) {
    for (const struct attachment *o = at->volume->attachments; o && at->volume->exclusive; o = o->next)
        if (o != at && o->state == state) return true;
    return false;
}

static int make_attachment(struct attach_detach *ad, struct arena *a, const struct attachment *at, struct status *reterr) {
    _cleanup_cached_ struct cached *have = informer_get(ad->attachments, NULL, at->name);
    if (have) return 0;
    volume_attachment *va = object_new(a, &storagev1_VolumeAttachment_desc);
    va->metadata.name = at->name;
    va->spec.attacher = at->volume->driver;
    va->spec.nodeName = at->node;
    va->spec.source.persistentVolumeName = at->pv;
    return client_create(ad->c->client, a, &storagev1_VolumeAttachment_desc, va, NULL, reterr) == 0 || status_is(reterr, 409) ? 0 : -1;
}

static void attach(struct attach_detach *ad, struct arena *a, struct attachment *at) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (at->state == ATTACHMENT_ATTACHED) at->detach_requested_ns = 0;
    if (at->state == ATTACHMENT_ATTACHED || pending(at) || held_up(at)) return;
    if (is_elsewhere(at, ATTACHMENT_ATTACHED)) {
        report_multi_attach(ad, a, at);
        return;
    }
    /* Where it is uncertain it may be attached: nothing new is begun until that is settled. Upstream does not wait for it. */
    if (at->state == ATTACHMENT_NONE && is_elsewhere(at, ATTACHMENT_UNCERTAIN)) return;
    if (backing_off(ad, at)) return;
    at->began_ns = now_ns(ad);
    if (make_attachment(ad, a, at, &err) != 0) {
        attach_failed(ad, a, at, arena_printf(a, "kubernetes.io/csi: attacher.Attach failed: %s", status_message(&err)));
        return;
    }
    at->state = ATTACHMENT_ATTACHING;
    look_attaching(ad, a, at);
}

int attached_volume_step(struct attach_detach *ad, struct arena *a, struct attached_volume *v, struct status *reterr) {
    int rc = 0;
    for (struct attachment *at = v->attachments; at; at = at->next) {
        if (at->state == ATTACHMENT_ATTACHING) look_attaching(ad, a, at);
        else if (at->state == ATTACHMENT_DETACHING) look_detaching(ad, a, at);
        if (v->verify) verify(ad, a, at);
    }
    v->verify = false;
    for (struct attachment *at = v->attachments; at; at = at->next)
        if (!wanted(at) && detach(ad, a, at, reterr) != 0) rc = -1;
    for (struct attachment *at = v->attachments; at; at = at->next)
        if (wanted(at)) attach(ad, a, at);
    return rc;
}

/* ---- what nodes are told ---- */

static void push_attached(struct arena *a, struct string_list *entries, const char *name, const char *device) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"name\":");
    json_write_string(&b, name);
    buf_append_str(&b, ",\"devicePath\":");
    json_write_string(&b, str_or(device, ""));
    buf_append_char(&b, '}');
    string_list_push(a, entries, arena_strdup(a, buf_cstr(&b)));
}

static const char *list_text(struct arena *a, struct string_list *entries) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    if (!entries->len) return "null";
    qsort(entries->items, entries->len, sizeof(*entries->items), by_name);
    for (size_t i = 0; i < entries->len; i++) buf_printf(&b, "%c%s", i ? ',' : '[', entries->items[i]);
    buf_append_char(&b, ']');
    return arena_strdup(a, buf_cstr(&b));
}

static const char *device_of(const struct corev1_Node *node, const char *volume) {
    LIST_FOREACH(v, &node->status.volumesAttached)
        if (str_eq(v->name, volume)) return v->devicePath;
    return NULL;
}

/* What it should say: ours, and those of others than CSI, which are not ours to judge. */
static const char *should_say(struct attach_detach *ad, struct arena *a, const struct corev1_Node *node) {
    struct string_list entries = {0};
    const char *name;
    void *value;
    LIST_FOREACH(v, &node->status.volumesAttached)
        if (!str_has_prefix(v->name, CSI_VOLUME_PREFIX)) push_attached(a, &entries, v->name, v->devicePath);
    for (size_t i = 0; map_next(ad->known, &i, &name, &value);) {
        const struct attached_volume *v = value;
        for (const struct attachment *at = v->attachments; at; at = at->next)
            if (at->reported && str_eq(at->node, node->metadata.name)) push_attached(a, &entries, v->name, device_of(node, v->name));
    }
    return list_text(a, &entries);
}

static const char *says(struct arena *a, const struct corev1_Node *node) {
    struct string_list entries = {0};
    LIST_FOREACH(v, &node->status.volumesAttached) push_attached(a, &entries, v->name, v->devicePath);
    return list_text(a, &entries);
}

static void remember_written(struct attach_detach *ad, const char *node, const char *text) {
    char *copy = text ? strdup(text) : NULL;
    CHECK(copy || !text);
    free(copy ? map_put(ad->written, node, copy) : map_del(ad->written, node));
}

/* What was written last counts besides what the cache shows, which may be from before. */
int attach_detach_write_node(struct attach_detach *ad, struct arena *a, const char *name, struct status *reterr) {
    _cleanup_cached_ struct cached *cached = informer_get(ad->nodes, NULL, name);
    if (!cached) {
        remember_written(ad, name, NULL);
        return 0;
    }
    const struct corev1_Node *node = CACHED(cached, corev1_Node);
    const char *text = should_say(ad, a, node), *before = map_get(ad->written, name);
    if (str_eq(text, says(a, node)) && (!before || str_eq(before, text))) return 0;
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *patch = arena_printf(a, "{\"status\":{\"volumesAttached\":%s}}", text);
    bool done = client_patch(ad->c->client, a, &corev1_Node_desc, NULL, name, "status", PATCH_STRATEGIC, patch, NULL, &err) == 0, gone = !done && status_is(&err, 404);
    remember_written(ad, name, done ? text : gone ? NULL : "");
    if (done || gone) return 0;
    status_copy(reterr, &err);
    return -1;
}
