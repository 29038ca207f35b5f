/* ResourceClaims of Pods: made from templates, kept reserved while their Pods may run, and given back or deleted afterwards. Upstream: pkg/controller/resourceclaim.
 *
 * Keys are "pod:NAMESPACE/NAME" and "claim:NAMESPACE/NAME". A claim that was just made may not be in the cache yet: it is remembered (made), so that a second one is not
 * made for the same entry of the same Pod. Tests: tests/unit/test_controller_resource_claim.c. */
#include "api/resource_claim.h"
#include "base/map.h"
#include "base/str.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"
#include "wire/json.h"

#define NAME_BASE_MAX 57 /* leaves room for a hyphen and five random characters in 63 */

struct resource_claims {
    struct controller *c;
    struct informer *pods, *claims, *templates;
    int pods_by_claim, pods_by_template, claims_by_owner;
    pthread_mutex_t mutex;
    struct map *made; /* Pod's UID/entry -> name of a claim that the cache may not show yet; "": one may have been made, but no answer came */
};

static void add_key(struct resource_claims *rc, const char *prefix, const char *ns, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s:%s/%s", prefix, ns, name);
    work_queue_add(rc->c->queue, buf_cstr(&key));
}

/* ---- indexes ---- */

static void index_by_claim(struct arena *a, const void *obj, struct string_list *ret) {
    const struct corev1_Pod *pod = obj;
    LIST_FOREACH(e, &pod->spec.resourceClaims) {
        const char *name;
        bool check;
        _cleanup_status_ struct status st = STATUS_INIT;
        if (pod_claim_name(pod, e, &name, &check, &st) == 0 && name) string_list_push(a, ret, arena_printf(a, "%s/%s", pod->metadata.namespace, name));
    }
}

static void index_by_template(struct arena *a, const void *obj, struct string_list *ret) {
    const struct corev1_Pod *pod = obj;
    LIST_FOREACH(e, &pod->spec.resourceClaims)
        if (e->resourceClaimTemplateName) string_list_push(a, ret, arena_printf(a, "%s/%s", pod->metadata.namespace, e->resourceClaimTemplateName));
}

/* ---- what there is to do ---- */

static bool pod_done(const struct corev1_Pod *pod) { return pod_is_terminal(pod) || (pod->metadata.deletionTimestamp.set && str_empty(pod->spec.nodeName)); }

/* Whether sync_pod has something to do for the entry. Upstream: podNeedsWork. */
static bool entry_needs_work(struct resource_claims *rc, const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *e) {
    const char *name;
    bool check;
    _cleanup_status_ struct status st = STATUS_INIT;
    if (pod_claim_name(pod, e, &name, &check, &st)) return true;
    if (!name) return false;
    _cleanup_cached_ struct cached *cached = informer_get(rc->claims, pod->metadata.namespace, name);
    if (!cached) return e->resourceClaimTemplateName != NULL;
    const struct resourcev1_ResourceClaim *claim = CACHED(cached, resourcev1_ResourceClaim);
    if (check && claim_is_for_pod(pod, claim, &st)) return false;
    return !str_empty(pod->spec.nodeName) && claim->status.allocation && !claim_is_reserved_for(pod, claim) && claim_can_be_reserved(claim);
}

static void enqueue_pod(struct resource_claims *rc, const struct corev1_Pod *pod, bool deleted) {
    const struct corev1_PodExtendedResourceClaimStatus *extended = pod->status.extendedResourceClaimStatus;
    if (!pod->spec.resourceClaims.len && !extended) return;
    bool needs = !deleted && !pod_done(pod), work = false;
    _cleanup_status_ struct status st = STATUS_INIT;
    LIST_FOREACH(e, &pod->spec.resourceClaims) {
        const char *name;
        bool check;
        if (!needs && pod_claim_name(pod, e, &name, &check, &st) == 0 && name) add_key(rc, "claim", pod->metadata.namespace, name);
        work |= !pod->metadata.deletionTimestamp.set && !deleted && entry_needs_work(rc, pod, e);
    }
    if (!needs && extended) add_key(rc, "claim", pod->metadata.namespace, extended->resourceClaimName);
    if (work) add_key(rc, "pod", pod->metadata.namespace, pod->metadata.name);
}

/* ---- claims from templates ---- */

static char *made_key(struct arena *a, const struct corev1_Pod *pod, const char *entry) { return arena_printf(a, "%s/%s", pod->metadata.uid, entry); }

/* A claim of this Pod for this entry, in the cache or made by us. NULL: none. */
static const char *find_claim(struct resource_claims *rc, struct arena *a, const struct corev1_Pod *pod, const char *entry) {
    _cleanup_cached_list_ struct cached_list list = {0};
    informer_by_index(rc->claims, rc->claims_by_owner, pod->metadata.uid, &list);
    CACHED_FOREACH(c, resourcev1_ResourceClaim, &list)
        if (str_eq(string_map_get(&c->metadata.annotations, RESOURCE_CLAIM_POD_CLAIM_ANNOTATION), entry)) return arena_strdup(a, c->metadata.name);
    pthread_mutex_lock(&rc->mutex);
    const char *name = map_get(rc->made, made_key(a, pod, entry));
    name = name ? arena_strdup(a, name) : NULL;
    pthread_mutex_unlock(&rc->mutex);
    return name;
}

static void made_set(struct resource_claims *rc, struct arena *a, const struct corev1_Pod *pod, const char *entry, const char *name) {
    char *copy = name ? strdup(name) : NULL;
    pthread_mutex_lock(&rc->mutex);
    free(copy ? map_put(rc->made, made_key(a, pod, entry), copy) : map_del(rc->made, made_key(a, pod, entry)));
    pthread_mutex_unlock(&rc->mutex);
}

/* After a create without an answer: only the server knows. Upstream has not got this and may make two. */
static int settle(struct resource_claims *rc, struct arena *a, const struct corev1_Pod *pod, const char *entry, const char **ret_name, struct status *reterr) {
    struct resourcev1_ResourceClaimList *list = object_new(a, &resourcev1_ResourceClaimList_desc);
    if (client_list(rc->c->client, a, &resourcev1_ResourceClaim_desc, pod->metadata.namespace, NULL, list, reterr)) return -1;
    *ret_name = NULL;
    LIST_FOREACH(c, &list->items)
        if (controlled_by(c, pod) && str_eq(string_map_get(&c->metadata.annotations, RESOURCE_CLAIM_POD_CLAIM_ANNOTATION), entry)) *ret_name = c->metadata.name;
    made_set(rc, a, pod, entry, *ret_name);
    return 0;
}

static const char *generate_name(struct arena *a, const char *pod, const char *entry) {
    size_t p = strlen(pod), e = strlen(entry), len = p + e + 2;
    if (len <= NAME_BASE_MAX) return arena_printf(a, "%s-%s-", pod, entry);
    return arena_printf(a, "%.*s-%.*s", (int)(p * NAME_BASE_MAX / len), pod, (int)(e * NAME_BASE_MAX / len), entry);
}

static bool asks_for_admin_access(const struct resourcev1_ResourceClaim *claim) {
    LIST_FOREACH(r, &claim->spec.devices.requests)
        if (r->exactly && r->exactly->adminAccess.has && r->exactly->adminAccess.value) return true;
    return false;
}

static int make_claim(struct resource_claims *rc, struct arena *a, const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *e, const char **ret_name, struct status *reterr) {
    _cleanup_cached_ struct cached *cached = informer_get(rc->templates, pod->metadata.namespace, e->resourceClaimTemplateName);
    if (!cached)
        return status_set(reterr, 404, REASON_NOT_FOUND, "resource claim template \"%s\": resourceclaimtemplate.resource.k8s.io \"%s\" not found", e->resourceClaimTemplateName,
                          e->resourceClaimTemplateName);
    const struct resourcev1_ResourceClaimTemplate *t = CACHED(cached, resourcev1_ResourceClaimTemplate);
    struct resourcev1_ResourceClaim *claim = object_new(a, &resourcev1_ResourceClaim_desc), *now = object_new(a, &resourcev1_ResourceClaim_desc);
    claim->metadata.namespace = pod->metadata.namespace;
    claim->metadata.generateName = generate_name(a, pod->metadata.name, e->name);
    *LIST_PUSH(a, &claim->metadata.ownerReferences) = (struct metav1_OwnerReference){.apiVersion = "v1", .kind = "Pod", .name = pod->metadata.name, .uid = pod->metadata.uid,
        .controller = {true, true}};
    claim->metadata.labels = string_map_copy(a, &t->spec.metadata.labels);
    claim->metadata.annotations = string_map_copy(a, &t->spec.metadata.annotations);
    string_map_set(a, &claim->metadata.annotations, RESOURCE_CLAIM_POD_CLAIM_ANNOTATION, e->name);
    claim->spec = t->spec.spec;
    int failed = client_create(rc->c->client, a, &resourcev1_ResourceClaim_desc, claim, now, reterr);
    controller_metric_add(&metrics_claim_creates, 1, "admin_access=\"%s\",status=\"%s\"", asks_for_admin_access(claim) ? "true" : "false", failed ? "failure" : "success");
    if (failed) {
        if (write_is_in_doubt(reterr)) made_set(rc, a, pod, e->name, "");
        status_wrap(reterr, "create ResourceClaim %s", "");
        return -1;
    }
    made_set(rc, a, pod, e->name, now->metadata.name);
    *ret_name = now->metadata.name;
    return 0;
}

/* *ret_name NULL: nothing is to be said in the Pod's status. Upstream: handleClaim. */
static int entry_sync(struct resource_claims *rc, struct arena *a, const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *e, const char **ret_name, struct status *reterr) {
    const char *name;
    bool check;
    *ret_name = NULL;
    _cleanup_status_ struct status st = STATUS_INIT;
    int r = pod_claim_name(pod, e, &name, &check, &st);
    if (r < 0) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "checking for claim before creating it: %s", status_message(&st));
    if (r == 0 && !name) return 0;
    if (r == 0) {
        _cleanup_cached_ struct cached *cached = informer_get(rc->claims, pod->metadata.namespace, name);
        if (cached && (!check || claim_is_for_pod(pod, CACHED(cached, resourcev1_ResourceClaim), &st) == 0)) return 0;
        if (!cached && e->resourceClaimTemplateName) { /* deleted since, or the cache is behind */
            struct resourcev1_ResourceClaim *now = object_new(a, &resourcev1_ResourceClaim_desc);
            if (client_get(rc->c->client, a, &resourcev1_ResourceClaim_desc, pod->metadata.namespace, name, now, reterr) == 0) return 0;
            if (!status_is(reterr, 404)) return -1;
            status_release(reterr);
            made_set(rc, a, pod, e->name, NULL);
        }
    }
    if (!e->resourceClaimTemplateName) return 0;
    *ret_name = find_claim(rc, a, pod, e->name);
    if (*ret_name && !**ret_name && settle(rc, a, pod, e->name, ret_name, reterr)) return -1;
    return *ret_name ? 0 : make_claim(rc, a, pod, e, ret_name, reterr);
}

static void status_item(struct buf *b, const char *entry, const char *name) {
    buf_append_str(b, b->len && b->data[b->len - 1] == '}' ? ",{\"name\":" : "{\"name\":");
    json_write_string(b, entry);
    buf_append_str(b, ",\"resourceClaimName\":");
    json_write_string(b, name);
    buf_append_char(b, '}');
}

/* Server-side apply, as upstream: other fields of the status are the kubelet's. What was said of other entries is said again, or it would be taken back. */
static int pod_status_write(struct resource_claims *rc, struct arena *a, const struct corev1_Pod *pod, const struct string_map *names, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":");
    json_write_string(&b, pod->metadata.name);
    buf_append_str(&b, ",\"uid\":");
    json_write_string(&b, pod->metadata.uid);
    buf_append_str(&b, "},\"status\":{\"resourceClaimStatuses\":[");
    LIST_FOREACH(n, names) status_item(&b, n->key, n->value);
    LIST_FOREACH(s, &pod->status.resourceClaimStatuses)
        if (!string_map_has(names, s->name) && s->resourceClaimName) status_item(&b, s->name, s->resourceClaimName);
    buf_append_str(&b, "]}}");
    const char *target = arena_printf(a, "/api/v1/namespaces/%s/pods/%s/status?fieldManager=ResourceClaimController&force=true", pod->metadata.namespace, pod->metadata.name);
    _cleanup_buf_ struct buf answer = BUF_INIT;
    if (client_raw(rc->c->client, "PATCH", target, PATCH_APPLY, b.data, b.len, &answer, reterr) == 0 || status_is(reterr, 404)) return 0;
    status_wrap(reterr, "update pod %s/%s ResourceClaimStatuses", pod->metadata.namespace, pod->metadata.name);
    return -1;
}

/* Pods that were bound without the scheduler, or before their claim was allocated. */
static int pod_reserve(struct resource_claims *rc, struct arena *a, const struct corev1_Pod *pod, struct status *reterr) {
    LIST_FOREACH(e, &pod->spec.resourceClaims) {
        const char *name;
        bool check;
        int r = pod_claim_name(pod, e, &name, &check, reterr);
        if (r) return r < 0 ? -1 : 0; /* not in our copy of the Pod yet: its update brings us back */
        _cleanup_cached_ struct cached *cached = name ? informer_get(rc->claims, pod->metadata.namespace, name) : NULL;
        if (!cached) continue;
        const struct resourcev1_ResourceClaim *claim = CACHED(cached, resourcev1_ResourceClaim);
        if (check && claim_is_for_pod(pod, claim, reterr)) return -1;
        if (!claim->status.allocation || claim_is_reserved_for(pod, claim) || !claim_can_be_reserved(claim)) continue;
        struct resourcev1_ResourceClaim *now = object_copy(a, &resourcev1_ResourceClaim_desc, claim);
        *LIST_PUSH(a, &now->status.reservedFor) = (struct resourcev1_ResourceClaimConsumerReference){.resource = "pods", .name = pod->metadata.name, .uid = pod->metadata.uid};
        if (client_update_status(rc->c->client, a, &resourcev1_ResourceClaim_desc, now, NULL, reterr) == 0) continue;
        status_wrap(reterr, "reserve claim %s/%s", claim->metadata.namespace, claim->metadata.name);
        return -1;
    }
    return 0;
}

static int sync_pod(struct resource_claims *rc, struct arena *a, const char *ns, const char *name, struct status *reterr) {
    _cleanup_cached_ struct cached *cached = informer_get(rc->pods, ns, name);
    if (!cached || cached->obj->metadata.deletionTimestamp.set) return 0;
    const struct corev1_Pod *pod = CACHED(cached, corev1_Pod);
    struct string_map names = {0};
    LIST_FOREACH(e, &pod->spec.resourceClaims) {
        _cleanup_status_ struct status err = STATUS_INIT;
        const char *claim;
        if (entry_sync(rc, a, pod, e, &claim, &err)) {
            event_record(rc->c->events, &corev1_Pod_desc, pod, EVENT_WARNING, "FailedResourceClaimCreation", "PodResourceClaim %s: %s", e->name, status_message(&err));
            return status_set(reterr, err.code, err.reason, "pod %s/%s, PodResourceClaim %s: %s", ns, name, e->name, status_message(&err));
        }
        if (claim) string_map_set(a, &names, e->name, claim);
    }
    if (names.len && pod_status_write(rc, a, pod, &names, reterr)) return -1;
    return str_empty(pod->spec.nodeName) ? 0 : pod_reserve(rc, a, pod, reterr);
}

/* ---- claims ---- */

/* 1: whom it is reserved for may still run; 0: not; -1: not known. */
static int user_lives(struct resource_claims *rc, struct arena *a, const char *ns, const struct resourcev1_ResourceClaimConsumerReference *r, struct status *reterr) {
    if (!str_empty(r->apiGroup) || !str_eq(r->resource, "pods")) return 1; /* not ours to judge */
    _cleanup_cached_ struct cached *cached = informer_get(rc->pods, ns, r->name);
    if (cached) return str_eq(cached->obj->metadata.uid, r->uid) && !pod_done(CACHED(cached, corev1_Pod));
    struct corev1_Pod *pod = object_new(a, &corev1_Pod_desc); /* the cache may be behind */
    if (client_get(rc->c->client, a, &corev1_Pod_desc, ns, r->name, pod, reterr) == 0) return str_eq(pod->metadata.uid, r->uid);
    return status_is(reterr, 404) ? 0 : -1;
}

static int finalizer_drop(struct resource_claims *rc, struct arena *a, struct resourcev1_ResourceClaim *claim, struct status *reterr) {
    struct string_list left = {0};
    LIST_FOREACH(f, &claim->metadata.finalizers)
        if (!str_eq(*f, RESOURCE_CLAIM_FINALIZER)) string_list_push(a, &left, *f);
    claim->metadata.finalizers = left;
    return client_update(rc->c->client, a, &resourcev1_ResourceClaim_desc, claim, NULL, reterr);
}

/* Reservations that have ended go; with the last one the allocation, and the finalizer that kept it from being deleted. */
static int claim_release(struct resource_claims *rc, struct arena *a, const struct resourcev1_ResourceClaim *claim, const struct resourcev1_ResourceClaimConsumerReference_list *left,
                         struct status *reterr) {
    struct resourcev1_ResourceClaim *now = object_copy(a, &resourcev1_ResourceClaim_desc, claim), *written = object_new(a, &resourcev1_ResourceClaim_desc);
    bool fewer = left->len < claim->status.reservedFor.len, ours = claim_has_finalizer(claim);
    if (!fewer && !(ours && claim->metadata.deletionTimestamp.set && !left->len)) return 0;
    now->status.reservedFor = *left;
    if (!left->len && ours) {
        now->status.allocation = NULL;
        now->status.devices = (struct resourcev1_AllocatedDeviceStatus_list){0};
    }
    if (fewer || claim->status.allocation) {
        if (client_update_status(rc->c->client, a, &resourcev1_ResourceClaim_desc, now, written, reterr)) return -1;
        now = written;
    }
    return claim_has_finalizer(now) && !now->status.allocation ? finalizer_drop(rc, a, now, reterr) : 0;
}

/* One that was made for a Pod goes with it, before the garbage collector would see to it. */
static int claim_delete_unused(struct resource_claims *rc, const struct resourcev1_ResourceClaim *claim, struct status *reterr) {
    const struct metav1_OwnerReference *owner = controller_of(claim);
    if (!owner || !str_eq(owner->kind, "Pod") || !str_eq(owner->apiVersion, "v1") || claim->metadata.deletionTimestamp.set) return 0;
    _cleanup_cached_ struct cached *cached = informer_get(rc->pods, claim->metadata.namespace, owner->name);
    if (!cached || (str_eq(cached->obj->metadata.uid, owner->uid) && !pod_done(CACHED(cached, corev1_Pod)))) return 0;
    if (client_delete(rc->c->client, &resourcev1_ResourceClaim_desc, claim->metadata.namespace, claim->metadata.name, NULL, reterr) == 0 || status_is(reterr, 404)) return 0;
    status_wrap(reterr, "delete unused generated claim %s/%s", claim->metadata.namespace, claim->metadata.name);
    return -1;
}

static int sync_claim(struct resource_claims *rc, struct arena *a, const char *ns, const char *name, struct status *reterr) {
    _cleanup_cached_ struct cached *cached = informer_get(rc->claims, ns, name);
    if (!cached) return 0;
    const struct resourcev1_ResourceClaim *claim = CACHED(cached, resourcev1_ResourceClaim);
    struct resourcev1_ResourceClaimConsumerReference_list left = {0};
    LIST_FOREACH(r, &claim->status.reservedFor) {
        int lives = user_lives(rc, a, ns, r, reterr);
        if (lives < 0) return -1;
        if (lives) *LIST_PUSH(a, &left) = *r;
    }
    if (claim_release(rc, a, claim, &left, reterr) && !status_is(reterr, 404)) return -1;
    return left.len ? 0 : claim_delete_unused(rc, claim, reterr);
}

static int sync_key(void *self, struct arena *a, const char *key, struct status *reterr) {
    const char *ns, *name, *colon = strchr(key, ':');
    object_key_split(a, colon + 1, &ns, &name);
    return str_has_prefix(key, "pod:") ? sync_pod(self, a, ns, name, reterr) : sync_claim(self, a, ns, name, reterr);
}

/* ---- handlers ---- */

static void on_pod(void *data, struct cached *now) { enqueue_pod(data, CACHED(now, corev1_Pod), false); }
static void on_pod_update(void *data, struct cached *old UNUSED, struct cached *now) { on_pod(data, now); }

static void on_pod_delete(void *data, struct cached *old) {
    struct resource_claims *rc = data;
    const struct corev1_Pod *pod = CACHED(old, corev1_Pod);
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    LIST_FOREACH(e, &pod->spec.resourceClaims) made_set(rc, a, pod, e->name, NULL);
    enqueue_pod(rc, pod, true);
}

static void enqueue_pods(struct resource_claims *rc, int index, const struct metav1_ObjectMeta *m) {
    _cleanup_cached_list_ struct cached_list list = {0};
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    informer_by_index(rc->pods, index, arena_printf(a, "%s/%s", m->namespace, m->name), &list);
    CACHED_FOREACH(pod, corev1_Pod, &list) enqueue_pod(rc, pod, false);
}

static void on_claim(void *data, struct cached *now) {
    struct resource_claims *rc = data;
    add_key(rc, "claim", now->obj->metadata.namespace, now->obj->metadata.name);
    enqueue_pods(rc, rc->pods_by_claim, &now->obj->metadata);
}
static void on_claim_update(void *data, struct cached *old UNUSED, struct cached *now) { on_claim(data, now); }
static void on_claim_delete(void *data, struct cached *old) { enqueue_pods(data, ((struct resource_claims *)data)->pods_by_claim, &old->obj->metadata); }
static void on_template(void *data, struct cached *now) { enqueue_pods(data, ((struct resource_claims *)data)->pods_by_template, &now->obj->metadata); }
static void on_template_update(void *data, struct cached *old UNUSED, struct cached *now) { on_template(data, now); }

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct resource_claims *rc = calloc(1, sizeof(*rc));
    CHECK(rc);
    rc->c = c;
    rc->made = map_new();
    pthread_mutex_init(&rc->mutex, NULL);
    rc->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    rc->claims = informers_get(c->context->informers, &resourcev1_ResourceClaim_desc);
    rc->templates = informers_get(c->context->informers, &resourcev1_ResourceClaimTemplate_desc);
    rc->pods_by_claim = informer_add_index(rc->pods, "resourceClaim", index_by_claim);
    rc->pods_by_template = informer_add_index(rc->pods, "resourceClaimTemplate", index_by_template);
    rc->claims_by_owner = informer_add_index(rc->claims, "controllerUID", index_by_controller_uid);
    informer_add_handler(rc->pods, &(struct informer_handler){rc, on_pod, on_pod_update, on_pod_delete});
    informer_add_handler(rc->claims, &(struct informer_handler){rc, on_claim, on_claim_update, on_claim_delete});
    informer_add_handler(rc->templates, &(struct informer_handler){rc, on_template, on_template_update, NULL});
    return rc;
}

static void free_all(void *self) {
    struct resource_claims *rc = self;
    map_free_with(rc->made, free);
    pthread_mutex_destroy(&rc->mutex);
    free(rc);
}

const struct controller_desc controller_resource_claim = {.name = "resourceclaim-controller", .queue = "resource_claim", .account = "resource-claim-controller", .component = "resource_claim", .workers = 10, .new = new,
    .sync = sync_key, .free = free_all};
