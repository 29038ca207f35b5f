/* Deletes what has lost all its owners, and makes deletions wait for dependents or leave them alone, as asked. Upstream: pkg/controller/garbagecollector.
 *
 * One watch a resource that discovery lists, metadata only, feeds the graph (garbage_graph.h); discovery is asked again every 30 s, so that custom resources
 * come and go. Keys of the queue are "d/UID" (should it be deleted?) and "o/UID" (orphan its dependents). Whether an owner is gone is never taken from the
 * graph: the server is asked, and every write carries the UID that it is about. Tests: tests/unit/test_garbage_graph.c, test_controller_garbage.c. */
#include "base/log.h"
#include "base/str.h"
#include "client/parallel.h"
#include "client/reflector.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/garbage_discovery.h"
#include "controller/garbage_graph.h"
#include "controller/metrics.h"
#include "wire/json.h"

#define METADATA_ACCEPT "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
enum { DISCOVERY_PERIOD_MS = 30000, INITIAL_SYNC_MS = 30000, PROBE_AFTER_MS = 200, PROBE_PERIOD_MS = 1000, CALL_TIMEOUT_MS = 34000, FINALIZER_TRIES = 5, WORKERS = 20 };

struct monitor {
    struct garbage_collector *gc;
    char *path, *api_version, *kind;
    struct reflector *reflector;
    atomic_bool synced;
    bool wanted, refused;           /* the run thread alone */
};

struct garbage_collector {
    struct controller *c;
    struct gc_graph *graph;
    pthread_rwlock_t lock;           /* of resources */
    struct gc_resources *resources;
    struct { struct monitor **items; size_t len, cap; } monitors; /* the run thread alone */
    atomic_bool ready;               /* the graph has been built once, or that took too long */
    atomic_bool whole;               /* it has been built: who depends on whom is known */
};

/* ---- the graph's wishes ---- */

static void enqueue(struct garbage_collector *gc, char what, const char *uid, bool later) {
    char key[128];
    snprintf(key, sizeof(key), "%c/%s", what, uid);
    if (later) work_queue_add_rate_limited(gc->c->queue, key);
    else work_queue_add(gc->c->queue, key);
}

static void enqueue_delete(void *data, const char *uid) { enqueue(data, 'd', uid, false); }
static void enqueue_delete_later(void *data, const char *uid) { enqueue(data, 'd', uid, true); }
static void enqueue_orphan(void *data, const char *uid) { enqueue(data, 'o', uid, false); }

PRINTF_LIKE(3, 4) static void warn(struct garbage_collector *gc, const struct corev1_ObjectReference *ref, const char *format, ...) {
    va_list args;
    va_start(args, format);
    event_record_ref(gc->c->events, ref, NULL, EVENT_WARNING, "OwnerRefInvalidNamespace", format, args);
    va_end(args);
}

static void invalid_namespace(void *data, const struct gc_identity *d, const struct gc_identity *o) {
    struct corev1_ObjectReference ref = {.kind = d->kind, .apiVersion = d->api_version, .namespace = d->ns, .name = d->name, .uid = d->uid};
    const char *ns = str_or(d->ns, "");
    warn(data, &ref, "ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in namespace \"%s\"", o->api_version, o->kind, ns, o->name, o->uid, ns);
}

/* ---- monitors ---- */

static void on_set(void *data, const void *obj) {
    struct monitor *m = data;
    gc_graph_set(m->gc->graph, m, m->api_version, m->kind, obj);
}

static void on_delete(void *data, const void *obj) {
    struct monitor *m = data;
    const struct object *o = obj;
    gc_graph_delete(m->gc->graph, &(struct gc_identity){m->api_version, m->kind, str_empty(o->metadata.namespace) ? NULL : o->metadata.namespace, o->metadata.name, o->metadata.uid});
}

static void on_replace_begin(void *data) { gc_graph_replace_begin(((struct monitor *)data)->gc->graph, data); }

static void on_replace_end(void *data) {
    struct monitor *m = data;
    gc_graph_replace_end(m->gc->graph, m);
    m->synced = true;
}

static struct monitor *monitor_new(struct garbage_collector *gc, const struct gc_resource *r, const char *path) {
    struct monitor *m = calloc(1, sizeof(*m));
    CHECK(m && (m->path = strdup(path)) && (m->api_version = strdup(r->api_version)) && (m->kind = strdup(r->kind)));
    m->gc = gc;
    m->reflector = reflector_start(gc->c->client, gc->c->env, &(struct reflector_source){.type = &metav1_PartialObjectMetadata_desc, .path = path, .metadata_only = true},
        &(struct reflector_sink){m, on_replace_begin, on_set, on_replace_end, on_set, on_delete});
    return m;
}

static void monitor_free(struct monitor *m) {
    reflector_stop(m->reflector);
    gc_graph_forget_source(m->gc->graph, m);
    free(m->path);
    free(m->api_version);
    free(m->kind);
    free(m);
}

static struct monitor *monitor_find(struct garbage_collector *gc, const char *path) {
    for (size_t i = 0; i < gc->monitors.len; i++)
        if (str_eq(gc->monitors.items[i]->path, path)) return gc->monitors.items[i];
    return NULL;
}

static void monitor_push(struct garbage_collector *gc, struct monitor *m) {
    if (gc->monitors.len == gc->monitors.cap) {
        gc->monitors.cap = gc->monitors.cap ? gc->monitors.cap * 2 : 64;
        CHECK(gc->monitors.items = realloc(gc->monitors.items, gc->monitors.cap * sizeof(*gc->monitors.items)));
    }
    gc->monitors.items[gc->monitors.len++] = m;
}

static void drop_unwanted(struct garbage_collector *gc) {
    size_t kept = 0;
    for (size_t i = 0; i < gc->monitors.len; i++) {
        if (gc->monitors.items[i]->wanted) gc->monitors.items[kept++] = gc->monitors.items[i];
        else monitor_free(gc->monitors.items[i]);
    }
    gc->monitors.len = kept;
}

/* Asks discovery and follows what it lists. */
static void sync_monitors(struct garbage_collector *gc) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct gc_resources *now = gc_resources_discover(gc->c->client, gc->resources, &err), *was = gc->resources;
    if (!now) {
        metric_add(&metrics_garbage_sync_errors, "", 1);
        log_info("garbage collector: discovery failed: %s", status_message(&err));
        return;
    }
    pthread_rwlock_wrlock(&gc->lock);
    gc->resources = now;
    pthread_rwlock_unlock(&gc->lock);
    gc_resources_free(was);
    for (size_t i = 0; i < gc->monitors.len; i++) gc->monitors.items[i]->wanted = false;
    for (size_t i = 0; i < gc_resources_len(now) && !controller_stopping(gc->c); i++) {
        const struct gc_resource *r = gc_resources_at(now, i);
        char path[512];
        if (!r->followed || snprintf(path, sizeof(path), "%s/%s", r->path, r->resource) >= (int)sizeof(path)) continue;
        struct monitor *m = monitor_find(gc, path);
        if (!m) monitor_push(gc, m = monitor_new(gc, r, path));
        m->wanted = true;
    }
    if (!controller_stopping(gc->c)) drop_unwanted(gc);
}

/* ---- calls ---- */

/* The object's path. -1 without a status code: its kind is not known (yet). */
static int path_of(struct garbage_collector *gc, struct arena *a, const struct gc_identity *id, char **ret, bool *ret_namespaced, struct status *reterr) {
    pthread_rwlock_rdlock(&gc->lock);
    const struct gc_resource *r = gc_resources_find(gc->resources, id->api_version, id->kind);
    bool namespaced = r && r->namespaced;
    *ret = !r ? NULL : namespaced ? arena_printf(a, "%s/namespaces/%s/%s/%s", r->path, str_or(id->ns, ""), r->resource, id->name) : arena_printf(a, "%s/%s/%s", r->path, r->resource, id->name);
    pthread_rwlock_unlock(&gc->lock);
    if (ret_namespaced) *ret_namespaced = namespaced;
    if (*ret) return 0;
    return status_set(reterr, 0, NULL, "unable to get REST mapping for %s/%s.", str_or(id->api_version, ""), str_or(id->kind, ""));
}

static int request(struct garbage_collector *gc, const char *method, const char *path, const char *content_type, const struct buf *body, struct buf *ret, struct status *reterr) {
    struct transport *t = client_transport(gc->c->client);
    struct transport_call call = {.method = method, .target = path, .accept = METADATA_ACCEPT, .content_type = content_type, .timeout_ms = CALL_TIMEOUT_MS};
    if (body) {
        call.body = buf_cstr(body);
        call.body_len = body->len;
    }
    int code;
    if (t->call(t, &call, &code, ret, reterr) != 0) return -1;
    return code >= 200 && code <= 299 ? 0 : client_status(code, buf_cstr(ret), ret->len, reterr);
}

static int get(struct garbage_collector *gc, struct arena *a, const char *path, struct metav1_PartialObjectMetadata *ret, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    if (request(gc, "GET", path, NULL, NULL, &body, reterr) != 0) return -1;
    memset(ret, 0, sizeof(*ret));
    return object_decode_json(a, &metav1_PartialObjectMetadata_desc, ret, buf_cstr(&body), body.len, NULL, reterr);
}

static int patch(struct garbage_collector *gc, const char *path, const char *type, const struct buf *body, struct status *reterr) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    return request(gc, "PATCH", path, type, body, &answer, reterr);
}

static void put_refs(struct buf *b, const struct metav1_OwnerReference_list *refs) {
    buf_append_char(b, '[');
    LIST_FOREACH(r, refs) {
        if (r != refs->items) buf_append_char(b, ',');
        object_encode_json(&metav1_OwnerReference_desc, r, b);
    }
    buf_append_char(b, ']');
}

static bool same_refs(const struct metav1_OwnerReference_list *x, const struct metav1_OwnerReference_list *y) {
    if (x->len != y->len) return false;
    for (size_t i = 0; i < x->len; i++)
        if (!object_equal(&metav1_OwnerReference_desc, &x->items[i], &y->items[i])) return false;
    return true;
}

static int delete_once(struct garbage_collector *gc, const char *path, const struct gc_identity *id, const char *version, const char *policy, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT, answer = BUF_INIT;
    buf_printf(&b, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"uid\":\"%s\"", id->uid);
    if (version) buf_printf(&b, ",\"resourceVersion\":\"%s\"", version);
    buf_printf(&b, "},\"propagationPolicy\":\"%s\"}", policy);
    return request(gc, "DELETE", path, NULL, &b, &answer, reterr);
}

/* Deletes what was just looked at. When it changed meanwhile, but not its owners, it is deleted all the same: an object that changes often must not escape. */
static int delete_object(struct garbage_collector *gc, struct arena *a, const char *path, const struct gc_identity *id, const struct metav1_PartialObjectMetadata *seen, const char *policy,
                         struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT, live_err = STATUS_INIT;
    struct metav1_PartialObjectMetadata live;
    if (delete_once(gc, path, id, seen->metadata.resourceVersion, policy, &err) == 0) return 0;
    if (status_is(&err, 409)) {
        if (get(gc, a, path, &live, &live_err) != 0) {
            if (status_is(&live_err, 404)) status_copy(&err, &live_err);
        } else if (str_eq(live.metadata.uid, id->uid) && !str_eq(live.metadata.resourceVersion, seen->metadata.resourceVersion) &&
                   same_refs(&live.metadata.ownerReferences, &seen->metadata.ownerReferences)) {
            return delete_once(gc, path, id, NULL, policy, reterr);
        }
    }
    if (reterr) status_copy(reterr, &err);
    return -1;
}

static int remove_finalizer(struct garbage_collector *gc, struct arena *a, const struct gc_identity *id, const char *finalizer, struct status *reterr) {
    char *path;
    if (path_of(gc, a, id, &path, NULL, reterr) != 0) return -1;
    for (int tries = 0;; tries++) {
        struct metav1_PartialObjectMetadata obj;
        _cleanup_status_ struct status err = STATUS_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (get(gc, a, path, &obj, &err) != 0) {
            if (status_is(&err, 404)) return 0;
            if (reterr) status_copy(reterr, &err);
            return -1;
        }
        if (!string_list_has(&obj.metadata.finalizers, finalizer)) return 0;
        buf_printf(&b, "{\"metadata\":{\"resourceVersion\":\"%s\",\"finalizers\":[", obj.metadata.resourceVersion);
        const char *comma = "";
        LIST_FOREACH(f, &obj.metadata.finalizers) {
            if (str_eq(*f, finalizer)) continue;
            buf_append_str(&b, comma);
            json_write_string(&b, *f);
            comma = ",";
        }
        buf_append_str(&b, "]}}");
        if (patch(gc, path, PATCH_MERGE, &b, &err) == 0 || status_is(&err, 404)) return 0;
        if (status_is(&err, 409) && tries < FINALIZER_TRIES) continue;
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
}

/* ---- changing owner references ---- */

/* Sets an object's references by a merge patch, where a strategic one is not understood (custom resources). */
static int merge_refs(struct garbage_collector *gc, const char *path, const char *version, const struct metav1_OwnerReference_list *refs, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_printf(&b, "{\"metadata\":{\"resourceVersion\":\"%s\",\"ownerReferences\":", version);
    put_refs(&b, refs);
    buf_append_str(&b, "}}");
    return patch(gc, path, PATCH_MERGE, &b, reterr);
}

/* Takes owners, by UID, out of an object's references. */
static int drop_owners(struct garbage_collector *gc, struct arena *a, const char *path, const struct gc_identity *id, const struct string_list *uids, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    buf_append_str(&b, "{\"metadata\":{\"ownerReferences\":[");
    LIST_FOREACH(uid, uids) buf_printf(&b, "%s{\"$patch\":\"delete\",\"uid\":\"%s\"}", uid == uids->items ? "" : ",", *uid);
    buf_printf(&b, "],\"uid\":\"%s\"}}", id->uid);
    if (patch(gc, path, PATCH_STRATEGIC, &b, &err) == 0) return 0;
    if (!status_is(&err, 415)) {
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
    struct metav1_PartialObjectMetadata obj;
    struct metav1_OwnerReference_list kept = {0};
    if (get(gc, a, path, &obj, reterr) != 0) return -1;
    LIST_FOREACH(r, &obj.metadata.ownerReferences)
        if (!string_list_has(uids, r->uid)) *LIST_PUSH(a, &kept) = *r;
    return merge_refs(gc, path, obj.metadata.resourceVersion, &kept, reterr);
}

/* Its owners need not wait for it any more: so that two which wait for each other do not wait forever. */
static int unblock_owners(struct garbage_collector *gc, struct arena *a, const char *path, const struct gc_identity *id, struct status *reterr) {
    struct metav1_OwnerReference_list all = gc_graph_owners(gc->graph, a, id->uid), blocking = {0};
    LIST_FOREACH(r, &all) {
        bool blocks = r->blockOwnerDeletion.has && r->blockOwnerDeletion.value;
        r->blockOwnerDeletion = (struct opt_bool)OPT(false);
        if (blocks) *LIST_PUSH(a, &blocking) = *r;
    }
    _cleanup_buf_ struct buf b = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    buf_append_str(&b, "{\"metadata\":{\"ownerReferences\":");
    put_refs(&b, &blocking);
    buf_printf(&b, ",\"uid\":\"%s\"}}", id->uid);
    if (patch(gc, path, PATCH_STRATEGIC, &b, &err) == 0) return 0;
    struct metav1_PartialObjectMetadata obj;
    if (status_is(&err, 415)) return get(gc, a, path, &obj, reterr) == 0 ? merge_refs(gc, path, obj.metadata.resourceVersion, &all, reterr) : -1;
    if (reterr) status_copy(reterr, &err);
    return -1;
}

/* ---- should it be deleted? ---- */

enum owner_state { OWNER_SOLID, OWNER_DANGLING, OWNER_WAITS /* for its dependents' deletion */, OWNER_INVALID /* will never be right */, OWNER_UNKNOWN /* with a status */ };

static enum owner_state owner_state(struct garbage_collector *gc, struct arena *a, const struct metav1_OwnerReference *ref, const char *ns, struct status *reterr) {
    struct gc_identity id = {ref->apiVersion, ref->kind, NULL, ref->name, ref->uid};
    if (gc_graph_absent_has(gc->graph, &id)) return OWNER_DANGLING;
    id.ns = ns;
    if (gc_graph_absent_has(gc->graph, &id)) return OWNER_DANGLING;
    char *path;
    bool namespaced;
    if (path_of(gc, a, &id, &path, &namespaced, reterr) != 0) return OWNER_UNKNOWN;
    if (!namespaced) id.ns = NULL;
    if (namespaced && !ns) return OWNER_INVALID;
    struct metav1_PartialObjectMetadata owner;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (get(gc, a, path, &owner, &err) != 0 && !status_is(&err, 404)) {
        if (reterr) status_copy(reterr, &err);
        return OWNER_UNKNOWN;
    }
    if (status_is(&err, 404) || !str_eq(owner.metadata.uid, ref->uid)) {
        gc_graph_absent_add(gc->graph, &id);
        return OWNER_DANGLING;
    }
    return owner.metadata.deletionTimestamp.set && string_list_has(&owner.metadata.finalizers, FINALIZER_FOREGROUND) ? OWNER_WAITS : OWNER_SOLID;
}

enum done { DONE, DONE_GONE /* and the graph knows */, DONE_FAILED };

static enum done gone(struct garbage_collector *gc, const struct gc_identity *id) {
    gc_graph_virtual_delete(gc->graph, id);
    return DONE_GONE;
}

static enum done delete_with(struct garbage_collector *gc, struct arena *a, const char *path, const struct gc_identity *id, const struct metav1_PartialObjectMetadata *latest, const char *policy,
                             struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    log_debug("garbage collector: deleting %s %s/%s, %s", id->kind, str_or(id->ns, ""), id->name, policy);
    if (delete_object(gc, a, path, id, latest, policy, &err) == 0) return DONE;
    if (status_is(&err, 404)) return gone(gc, id);
    if (reterr) status_copy(reterr, &err);
    return DONE_FAILED;
}

static enum done judge(struct garbage_collector *gc, struct arena *a, const char *path, const struct gc_identity *id, const struct metav1_PartialObjectMetadata *latest, struct status *reterr) {
    size_t solid = 0, waiting = 0;
    struct string_list useless = {0}; /* UIDs of owners that are gone, or wait for this one to go */
    LIST_FOREACH(ref, &latest->metadata.ownerReferences) {
        enum owner_state s = owner_state(gc, a, ref, id->ns, reterr);
        if (s == OWNER_INVALID) return DONE;
        if (s == OWNER_UNKNOWN) return DONE_FAILED;
        solid += s == OWNER_SOLID;
        waiting += s == OWNER_WAITS;
        if (s != OWNER_SOLID) string_list_push(a, &useless, ref->uid);
    }
    if (solid) return useless.len == 0 || drop_owners(gc, a, path, id, &useless, reterr) == 0 ? DONE : DONE_FAILED;
    if (waiting && gc_graph_dependents(gc->graph, NULL, id->uid, NULL) > 0) {
        if (gc_graph_dependent_deletes_dependents(gc->graph, id->uid) && unblock_owners(gc, a, path, id, reterr) != 0) return DONE_FAILED;
        return delete_with(gc, a, path, id, latest, "Foreground", reterr);
    }
    const struct string_list *f = &latest->metadata.finalizers;
    return delete_with(gc, a, path, id, latest, string_list_has(f, FINALIZER_ORPHAN) ? "Orphan" : string_list_has(f, FINALIZER_FOREGROUND) ? "Foreground" : "Background", reterr);
}

static enum done attempt_to_delete(struct garbage_collector *gc, struct arena *a, const struct gc_node_view *v, struct status *reterr) {
    const struct gc_identity *id = &v->id;
    if (v->being_deleted && !v->deleting_dependents) return DONE; /* its end will come, and its dependents then */
    char *path;
    bool namespaced;
    struct metav1_PartialObjectMetadata latest;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (path_of(gc, a, id, &path, &namespaced, reterr) != 0) return DONE_FAILED;
    if (namespaced && !id->ns) return DONE_GONE; /* a cluster-scoped object named a namespaced owner: that is never resolved */
    if (get(gc, a, path, &latest, &err) != 0 && !status_is(&err, 404)) {
        if (reterr) status_copy(reterr, &err);
        return DONE_FAILED;
    }
    if (status_is(&err, 404) || !str_eq(latest.metadata.uid, id->uid)) return gone(gc, id);
    if (v->deleting_dependents) {
        if (gc_graph_push_blocking(gc->graph, id->uid) > 0) return DONE;
        return remove_finalizer(gc, a, id, FINALIZER_FOREGROUND, reterr) == 0 ? DONE : DONE_FAILED;
    }
    return latest.metadata.ownerReferences.len ? judge(gc, a, path, id, &latest, reterr) : DONE;
}

/* ---- orphaning ---- */

struct orphaning { struct garbage_collector *gc; const struct gc_identity *dependents; const char *owner_uid; atomic_int failed; };

static void orphan_one(void *arg, size_t i) {
    struct orphaning *o = arg;
    const struct gc_identity *id = &o->dependents[i];
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct string_list uids = {&o->owner_uid, 1};
    char *path;
    if (path_of(o->gc, a, id, &path, NULL, &err) == 0 && drop_owners(o->gc, a, path, id, &uids, &err) == 0) return;
    if (status_is(&err, 404)) return;
    log_info("garbage collector: orphaning %s %s/%s failed: %s", id->kind, str_or(id->ns, ""), id->name, status_message(&err));
    o->failed++;
}

static int attempt_to_orphan(struct garbage_collector *gc, struct arena *a, const struct gc_node_view *v, struct status *reterr) {
    struct orphaning o = {.gc = gc, .owner_uid = v->id.uid};
    struct gc_identity *dependents;
    size_t n = gc_graph_dependents(gc->graph, a, v->id.uid, &dependents);
    o.dependents = dependents;
    parallel_run(n, orphan_one, &o);
    if (o.failed) return status_internal(reterr, "failed to orphan %d dependents of %s %s", o.failed, v->id.kind, v->id.name);
    return remove_finalizer(gc, a, &v->id, FINALIZER_ORPHAN, reterr);
}

/* ---- sync ---- */

static int sync_node(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct garbage_collector *gc = self;
    struct gc_node_view v;
    while (!gc->ready)
        if (!controller_sleep_ms(gc->c, 10)) return 0;
    if (!gc_graph_view(gc->graph, a, key + 2, &v)) return 0;
    /* Upstream goes by what it has after half a minute, and so may orphan none of the dependents, which are then deleted. */
    if (!gc->whole && (*key == 'o' || v.deleting_dependents)) return status_internal(reterr, "not all resources are known yet");
    if (*key == 'o') return attempt_to_orphan(gc, a, &v, reterr);
    switch (attempt_to_delete(gc, a, &v, reterr)) {
        case DONE_GONE: return 0;
        case DONE_FAILED: return -1;
        case DONE: break;
    }
    /* An owner that exists but was not seen yet is asked for again: it might go without being seen. */
    return v.observed ? 0 : -1;
}

/* ---- the run thread ---- */

/* Watches that do not come: the server may refuse to list that resource at all, and then nothing waits for it. */
static void probe_unsynced(struct garbage_collector *gc) {
    for (size_t i = 0; i < gc->monitors.len; i++) {
        struct monitor *m = gc->monitors.items[i];
        _cleanup_status_ struct status err = STATUS_INIT;
        _cleanup_buf_ struct buf answer = BUF_INIT;
        char target[600];
        if (m->synced || m->refused) continue;
        snprintf(target, sizeof(target), "%s?limit=1", m->path);
        /* Refused for good, not for now: what is in trouble or busy is waited for. */
        m->refused = request(gc, "GET", target, NULL, NULL, &answer, &err) != 0 && !write_is_in_doubt(&err) && !status_is(&err, 429);
        if (m->refused) log_info("garbage collector: %s cannot be listed, going on without it: %s", m->path, status_message(&err));
    }
}

static bool all_synced(struct garbage_collector *gc) {
    for (size_t i = 0; i < gc->monitors.len; i++)
        if (!gc->monitors.items[i]->synced && !gc->monitors.items[i]->refused) return false;
    return gc->monitors.len > 0;
}

/* The graph is built once before anything is done by it; upstream too goes on after half a minute without what is missing. */
static void wait_ready(struct garbage_collector *gc) {
    int64_t began = env_mono_ns(gc->c->env), waited_ms, probe_at_ms = PROBE_AFTER_MS;
    while (!all_synced(gc) && (waited_ms = (env_mono_ns(gc->c->env) - began) / 1000000) < INITIAL_SYNC_MS) {
        if (waited_ms >= probe_at_ms) {
            if (gc->monitors.len == 0) sync_monitors(gc);
            probe_unsynced(gc);
            probe_at_ms = waited_ms + PROBE_PERIOD_MS;
        }
        if (!controller_sleep_ms(gc->c, 5)) return;
    }
    gc->whole = all_synced(gc);
    gc->ready = true;
}

static void run(void *self) {
    struct garbage_collector *gc = self;
    sync_monitors(gc);
    wait_ready(gc);
    for (int64_t slept_ms = 0, ms; controller_sleep_ms(gc->c, ms = gc->whole ? DISCOVERY_PERIOD_MS : PROBE_PERIOD_MS);) {
        if (!gc->whole) probe_unsynced(gc);
        slept_ms += ms;
        if (slept_ms >= DISCOVERY_PERIOD_MS) {
            gc->whole = false; /* what is watched only now may show an owner before its dependents */
            sync_monitors(gc);
            slept_ms = 0;
        }
        gc->whole = all_synced(gc);
    }
    for (size_t i = 0; i < gc->monitors.len; i++) monitor_free(gc->monitors.items[i]);
    gc->monitors.len = 0;
}

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct garbage_collector *gc = calloc(1, sizeof(*gc));
    CHECK(gc);
    gc->c = c;
    gc->graph = gc_graph_new(&(struct gc_graph_callbacks){gc, enqueue_delete, enqueue_delete_later, enqueue_orphan, invalid_namespace});
    pthread_rwlock_init(&gc->lock, NULL);
    return gc;
}

static void free_self(void *self) {
    struct garbage_collector *gc = self;
    gc_graph_free(gc->graph);
    gc_resources_free(gc->resources);
    pthread_rwlock_destroy(&gc->lock);
    free(gc->monitors.items);
    free(gc);
}

const struct controller_desc controller_garbage_collector = {
    .name = "garbage-collector-controller", .queue = "garbage_collector_attempt_to_delete", .account = "generic-garbage-collector", .workers = WORKERS, .new = new, .sync = sync_node, .run = run, .free = free_self};
