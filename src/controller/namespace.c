/* Namespaces that are going away: everything in them is deleted, then the finalizer `kubernetes` is taken off. Upstream: pkg/controller/namespace.
 *
 * What there is to delete is learned from discovery, so custom and aggregated resources go too. Pods go first (OrderedNamespaceDeletion): while any remain nothing
 * else is touched. How far it has come is told in five conditions. Three ways lead to another try: objects that end gracefully or have finalizers of their own are waited for
 * (half the estimate), the last Pod's deletion wakes the namespace at once (upstream waits), errors back off. Upstream leaves a new deletion alone for five seconds, since its
 * apiservers may still let a create through; ours check the namespace in the store itself, so that a moment is enough for those that are on their way.
 * Tests: tests/unit/test_controller_namespace.c, tests/integration/test_controllers.py. */
#include "base/map.h"
#include "base/str.h"
#include "client/parallel.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"

#define FINALIZER "kubernetes"
#define AGGREGATED "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#define METADATA_LIST "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadataList"
enum { GRACE_MS = 250, PODS_GONE_MS = 50, FINALIZER_ESTIMATE_S = 15, FEW = 8, CALL_TIMEOUT_MS = 60000, CONDITIONS = 5 };

struct namespace_controller {
    struct controller *c;
    struct informer *namespaces, *pods;
    int pods_by_namespace;
};

/* A resource whose objects can be deleted. */
struct target { const char *group, *version, *resource; bool list, delete_collection; };
struct target_list { struct target *items; size_t len; };

/* One run over a namespace: what was found, for its conditions. */
struct run {
    struct namespace_controller *nc;
    struct arena *a;
    struct corev1_Namespace *ns;
    struct string_list discovery_errors, content_errors, remaining; /* remaining: "pods. has 1 resource instances" */
    struct map *finalizers;                                        /* name -> number of objects */
    int64_t estimate_s;
};

/* ---- what there is ---- */

static int discover_at(struct run *r, const char *path, struct target_list *ret, struct status *reterr) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    struct transport *t = client_transport(r->nc->c->client);
    int code;
    struct transport_call call = {.method = "GET", .target = path, .accept = AGGREGATED, .timeout_ms = CALL_TIMEOUT_MS};
    if (t->call(t, &call, &code, &answer, reterr) != 0) return -1;
    if (code != 200) return client_status(code, buf_cstr(&answer), answer.len, reterr);
    struct apidiscoveryv2_APIGroupDiscoveryList list = {0};
    if (object_decode_json(r->a, &apidiscoveryv2_APIGroupDiscoveryList_desc, &list, buf_cstr(&answer), answer.len, NULL, reterr) != 0) return -1;
    LIST_FOREACH(group, &list.items) {
        struct map *seen = map_new(); /* the first version that has a resource is the preferred one */
        LIST_FOREACH(version, &group->versions) {
            if (str_eq(version->freshness, "Stale")) {
                string_list_push(r->a, &r->discovery_errors, arena_printf(r->a, "%s/%s: stale GroupVersion discovery: %s/%s", group->metadata.name, version->version, group->metadata.name, version->version));
                continue;
            }
            LIST_FOREACH(res, &version->resources) {
                if (!str_eq(res->scope, "Namespaced") || !string_list_has(&res->verbs, "delete") || map_put(seen, res->resource, r)) continue;
                *LIST_PUSH(r->a, ret) = (struct target){str_or(group->metadata.name, ""), version->version, res->resource, string_list_has(&res->verbs, "list"), string_list_has(&res->verbs, "deletecollection")};
            }
        }
        map_free(seen);
    }
    return 0;
}

static int discover(struct run *r, struct target_list *ret, struct status *reterr) { return discover_at(r, "/api", ret, reterr) == 0 && discover_at(r, "/apis", ret, reterr) == 0 ? 0 : -1; }

/* ---- deleting ---- */

static const char *target_path(struct run *r, const struct target *t) {
    return arena_printf(r->a, "%s%s/%s/namespaces/%s/%s", str_empty(t->group) ? "/api" : "/apis/", t->group, t->version, r->ns->metadata.name, t->resource);
}

/* The metadata of all its objects. 1: it cannot be listed. */
static int list_metadata(struct run *r, const struct target *t, struct metav1_PartialObjectMetadataList *ret, struct status *reterr) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    struct transport *tr = client_transport(r->nc->c->client);
    int code;
    struct transport_call call = {.method = "GET", .target = target_path(r, t), .accept = METADATA_LIST, .timeout_ms = CALL_TIMEOUT_MS};
    memset(ret, 0, sizeof(*ret));
    if (!t->list) return 1;
    if (tr->call(tr, &call, &code, &answer, reterr) != 0) return -1;
    if (code == 404 || code == 405 || code == 501) return 1; /* it is discoverable, but cannot be listed: then nothing of it can be kept here */
    if (code != 200) return client_status(code, buf_cstr(&answer), answer.len, reterr);
    return object_decode_json(r->a, &metav1_PartialObjectMetadataList_desc, ret, buf_cstr(&answer), answer.len, NULL, reterr);
}

/* Dependents are in the namespace too and go by themselves: nothing is orphaned, nobody waits in the foreground. */
#define BACKGROUND "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"propagationPolicy\":\"Background\"}"

static int delete_path(struct run *r, const char *path, struct status *reterr) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    struct transport *tr = client_transport(r->nc->c->client);
    int code;
    struct transport_call call = {.method = "DELETE", .target = path, .content_type = "application/json", .body = BACKGROUND, .body_len = strlen(BACKGROUND), .timeout_ms = CALL_TIMEOUT_MS};
    if (tr->call(tr, &call, &code, &answer, reterr) != 0) return -1;
    return (code >= 200 && code < 300) || code == 404 || code == 405 || code == 501 ? 0 : client_status(code, buf_cstr(&answer), answer.len, reterr);
}

/* One by one, many at a time: commits are shared, where a collection's deletion waits for each. */
struct batch { struct run *r; const char *base; const struct metav1_PartialObjectMetadataList *list; pthread_mutex_t mutex; struct status *err; bool failed; };

static void delete_item(void *arg, size_t i) {
    struct batch *b = arg;
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    _cleanup_status_ struct status err = STATUS_INIT;
    if (delete_path(b->r, arena_printf(a, "%s/%s", b->base, b->list->items.items[i].metadata.name), &err) == 0) return;
    pthread_mutex_lock(&b->mutex);
    if (!b->failed) status_copy(b->err, &err);
    b->failed = true;
    pthread_mutex_unlock(&b->mutex);
}

static int delete_each(struct run *r, const struct target *t, const struct metav1_PartialObjectMetadataList *list, struct status *reterr) {
    struct batch b = {.r = r, .base = target_path(r, t), .list = list, .err = reterr};
    pthread_mutex_init(&b.mutex, NULL);
    parallel_run(list->items.len, delete_item, &b);
    pthread_mutex_destroy(&b.mutex);
    return b.failed ? -1 : 0;
}

/* How long the longest of the namespace's Pods may still take, counted from the namespace's deletion. */
static int64_t pods_estimate_s(struct run *r) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    int64_t estimate = 0;
    informer_list(r->nc->pods, r->ns->metadata.name, &pods);
    CACHED_FOREACH(p, corev1_Pod, &pods)
        if (!pod_is_terminal(p) && p->spec.terminationGracePeriodSeconds.has) estimate = MAX(estimate, p->spec.terminationGracePeriodSeconds.value);
    return env_now_s(r->nc->c->env) - r->ns->metadata.deletionTimestamp.sec >= estimate ? 0 : estimate;
}

static void note_remaining(struct run *r, const struct target *t, const struct metav1_PartialObjectMetadataList *left) {
    string_list_push(r->a, &r->remaining, arena_printf(r->a, "%s.%s has %zu resource instances", t->resource, t->group, left->items.len));
    LIST_FOREACH(o, &left->items)
        LIST_FOREACH(f, &o->metadata.finalizers) map_put(r->finalizers, *f, (void *)((intptr_t)map_get(r->finalizers, *f) + 1));
}

/* Returns how many objects remain, or -1. */
static int delete_target(struct run *r, const struct target *t, struct status *reterr) {
    struct metav1_PartialObjectMetadataList list;
    bool pods = str_empty(t->group) && str_eq(t->resource, "pods");
    int64_t estimate = pods ? pods_estimate_s(r) : 0;
    int rc = list_metadata(r, t, &list, reterr);
    if (rc < 0) return -1;
    if (rc == 0 && list.items.len == 0) return 0;
    bool whole = t->delete_collection && (rc != 0 || list.items.len <= FEW);
    if ((whole ? delete_path(r, target_path(r, t), reterr) : delete_each(r, t, &list, reterr)) != 0) return -1;
    rc = list_metadata(r, t, &list, reterr);
    if (rc != 0) return rc < 0 ? -1 : 0;
    if (list.items.len == 0) return 0;
    note_remaining(r, t, &list);
    size_t with_finalizers = 0;
    LIST_FOREACH(o, &list.items) with_finalizers += o->metadata.finalizers.len > 0;
    if (!estimate && !with_finalizers)
        return status_internal(reterr, "unexpected items still remain in namespace: %s for gvr: %s/%s, Resource=%s", r->ns->metadata.name, t->group, t->version, t->resource);
    r->estimate_s = MAX(r->estimate_s, estimate ? estimate : FINALIZER_ESTIMATE_S);
    return (int)list.items.len;
}

/* ---- conditions ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static const char *joined(struct arena *a, struct string_list *list) {
    qsort(list->items, list->len, sizeof(*list->items), by_text);
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(s, list) buf_printf(&b, "%s%s", b.len ? ", " : "", *s);
    return arena_strdup(a, buf_cstr(&b));
}

static const char *finalizers_text(struct run *r) {
    struct string_list texts = {0};
    const char *name;
    void *count;
    for (size_t i = 0; map_next(r->finalizers, &i, &name, &count);) string_list_push(r->a, &texts, arena_printf(r->a, "%s in %d resource instances", name, (int)(intptr_t)count));
    return texts.len ? arena_printf(r->a, "Some finalizers are remaining: %s", joined(r->a, &texts)) : NULL;
}

/* bad: the message when it holds, NULL: the condition is False. True if something changed. */
static bool set_condition(struct run *r, const char *type, const char *bad, const char *bad_reason, const char *ok_reason, const char *ok) {
    struct corev1_NamespaceStatus *st = &r->ns->status;
    struct corev1_NamespaceCondition *c = NULL;
    const char *status = bad ? "True" : "False", *reason = bad ? bad_reason : ok_reason, *message = bad ? bad : ok;
    LIST_FOREACH(x, &st->conditions)
        if (str_eq(x->type, type)) c = x;
    if (c && str_eq(c->status, status) && str_eq(c->reason, reason) && str_eq(c->message, message)) return false;
    bool moved = !c || !str_eq(c->status, status);
    if (!c) c = LIST_PUSH(r->a, &st->conditions);
    if (moved) c->lastTransitionTime = (struct api_time){.set = true, .sec = env_now_s(r->nc->c->env)};
    c->type = type;
    c->status = status;
    c->reason = reason;
    c->message = message;
    return true;
}

static int write_conditions(struct run *r, struct status *reterr) {
    struct arena *a = r->a;
    size_t failing = r->discovery_errors.len, failed = r->content_errors.len;
    const char *discovery = failing ? arena_printf(a, "Discovery failed for some groups, %zu failing: unable to retrieve the complete list of server APIs: %s", failing, joined(a, &r->discovery_errors)) : NULL;
    const char *content = failed ? arena_printf(a, "Failed to delete all resource types, %zu remaining: %s", failed, joined(a, &r->content_errors)) : NULL;
    const char *remaining = r->remaining.len ? arena_printf(a, "Some resources are remaining: %s", joined(a, &r->remaining)) : NULL;
    bool changed = set_condition(r, "NamespaceDeletionDiscoveryFailure", discovery, "DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered");
    changed |= set_condition(r, "NamespaceDeletionGroupVersionParsingFailure", NULL, NULL, "ParsedGroupVersions", "All legacy kube types successfully parsed");
    changed |= set_condition(r, "NamespaceDeletionContentFailure", content, "ContentDeletionFailed", "ContentDeleted", "All content successfully deleted, may be waiting on finalization");
    changed |= set_condition(r, "NamespaceContentRemaining", remaining, "SomeResourcesRemain", "ContentRemoved", "All content successfully removed");
    changed |= set_condition(r, "NamespaceFinalizersRemaining", finalizers_text(r), "SomeFinalizersRemain", "ContentRemoved", "All content successfully removed");
    return changed ? client_update_status(r->nc->c->client, a, &corev1_Namespace_desc, r->ns, r->ns, reterr) : 0;
}

/* ---- sync ---- */

static void delete_all(struct run *r, const struct target_list *targets, struct status *reterr) {
    for (int pods_only = 1; pods_only >= 0; pods_only--) {
        LIST_FOREACH(t, targets) {
            _cleanup_status_ struct status err = STATUS_INIT;
            bool pods = str_empty(t->group) && str_eq(t->resource, "pods");
            if (pods != pods_only || delete_target(r, t, &err) >= 0) continue;
            string_list_push(r->a, &r->content_errors, arena_strdup(r->a, status_message(&err)));
            status_copy(reterr, &err);
        }
        if (pods_only && r->remaining.len) return; /* what the Pods need on their way out stays until they are gone */
    }
}

static int delete_content(struct run *r, struct status *reterr) {
    struct target_list targets = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (discover(r, &targets, &err) != 0) string_list_push(r->a, &r->discovery_errors, arena_strdup(r->a, status_message(&err)));
    delete_all(r, &targets, &err);
    if (write_conditions(r, reterr) != 0) return -1;
    if (!r->content_errors.len && !r->discovery_errors.len) return 0;
    if (err.code) status_copy(reterr, &err);
    else status_internal(reterr, "discovery of resources failed");
    return -1;
}

static int finalize(struct run *r, struct status *reterr) {
    struct string_list kept = {0};
    LIST_FOREACH(f, &r->ns->spec.finalizers)
        if (!str_eq(*f, FINALIZER)) string_list_push(r->a, &kept, *f);
    r->ns->spec.finalizers = kept;
    return client_update_subresource(r->nc->c->client, r->a, &corev1_Namespace_desc, r->ns, "finalize", NULL, reterr);
}

static int sync_run(struct run *r, const char *name, struct status *reterr) {
    struct client *client = r->nc->c->client;
    if (client_get(client, r->a, &corev1_Namespace_desc, NULL, name, r->ns, reterr) != 0) return -1;
    if (!r->ns->metadata.deletionTimestamp.set) return 0;
    if (!str_eq(r->ns->status.phase, "Terminating")) {
        r->ns->status.phase = "Terminating";
        if (client_update_status(client, r->a, &corev1_Namespace_desc, r->ns, r->ns, reterr) != 0) return -1;
    }
    if (!string_list_has((const struct string_list *)&r->ns->spec.finalizers, FINALIZER)) return 0; /* ours is done; others hold it */
    if (delete_content(r, reterr) != 0) return -1;
    if (r->estimate_s > 0) {
        work_queue_add_after(r->nc->c->queue, name, (r->estimate_s / 2 + 1) * 1000);
        return 0;
    }
    return finalize(r, reterr);
}

static int sync_namespace(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct namespace_controller *nc = self;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct run r = {.nc = nc, .a = a, .ns = object_new(a, &corev1_Namespace_desc), .finalizers = map_new()};
    int rc = sync_run(&r, key, &err);
    map_free(r.finalizers);
    if (rc == 0 || status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}

/* ---- events ---- */

static void on_namespace(struct namespace_controller *nc, const struct cached *ns) {
    if (ns->obj->metadata.deletionTimestamp.set) controller_enqueue_after(nc->c, ns->obj, GRACE_MS);
}
static void on_namespace_add(void *data, struct cached *now) { on_namespace(data, now); }

/* Its own writes of conditions are no news. */
static void on_namespace_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_Namespace *was = CACHED(old, corev1_Namespace), *is = CACHED(now, corev1_Namespace);
    if (!was->metadata.deletionTimestamp.set || was->spec.finalizers.len != is->spec.finalizers.len) on_namespace(data, now);
}

static void index_by_namespace(struct arena *a, const void *obj, struct string_list *ret) { string_list_push(a, ret, ((const struct object *)obj)->metadata.namespace); }

/* The last Pod of a namespace wakes it. */
static void on_pod_delete(void *data, struct cached *old) {
    struct namespace_controller *nc = data;
    if (informer_index_has(nc->pods, nc->pods_by_namespace, old->obj->metadata.namespace)) return;
    _cleanup_cached_ struct cached *ns = informer_get(nc->namespaces, NULL, old->obj->metadata.namespace);
    if (ns && ns->obj->metadata.deletionTimestamp.set) controller_enqueue_after(nc->c, ns->obj, PODS_GONE_MS);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct namespace_controller *nc = calloc(1, sizeof(*nc));
    CHECK(nc);
    nc->c = c;
    nc->namespaces = informers_get(c->context->informers, &corev1_Namespace_desc);
    nc->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    nc->pods_by_namespace = informer_add_index(nc->pods, "namespace", index_by_namespace);
    informer_add_handler(nc->namespaces, &(struct informer_handler){nc, on_namespace_add, on_namespace_update, NULL});
    informer_add_handler(nc->pods, &(struct informer_handler){nc, NULL, NULL, on_pod_delete});
    return nc;
}

const struct controller_desc controller_namespace = {.name = "namespace-controller", .queue = "namespace", .workers = 10, .new = new, .sync = sync_namespace, .free = free};
