/* EndpointSlices of Endpoints that somebody keeps by hand for a Service without a selector. Upstream: pkg/controller/endpointslicemirroring.
 *
 * At most a thousand addresses a subset are mirrored. Slices are matched to what is wanted by address family and ports. Tests: tests/unit/test_controller_endpoints.c. */
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/service_util.h"

#define SERVICE_NAME_LABEL "kubernetes.io/service-name"
#define MANAGED_BY_LABEL "endpointslice.kubernetes.io/managed-by"
#define MANAGED_BY "endpointslicemirroring-controller.k8s.io"
#define SKIP_LABEL "endpointslice.kubernetes.io/skip-mirror"
#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
enum { PER_SUBSET_MAX = 1000, STALE_RETRY_MS = 10 };

struct mirroring {
    struct controller *c;
    struct informer *services, *endpoints, *slices;
    int slices_by_service;
    struct version_tracker *versions;
};

/* ---- what is wanted ---- */

static void add_addresses(struct arena *a, struct discoveryv1_EndpointSlice *slice, const struct corev1_EndpointAddress_list *from, bool ready, bool ipv6, size_t *left, size_t *ret_skipped) {
    LIST_FOREACH(at, from) {
        if ((strchr(at->ip, ':') != NULL) != ipv6) continue;
        if (!*left) {
            ++*ret_skipped;
            continue;
        }
        struct discoveryv1_Endpoint *ep = LIST_PUSH(a, &slice->endpoints);
        string_list_push(a, &ep->addresses, at->ip);
        ep->conditions.ready = (struct opt_bool)OPT(ready);
        if (!str_empty(at->hostname)) ep->hostname = at->hostname;
        if (at->nodeName) ep->nodeName = at->nodeName;
        ep->targetRef = at->targetRef;
        --*left;
    }
}

static struct discoveryv1_EndpointSlice *new_slice(struct arena *a, const struct corev1_Endpoints *eps, const struct corev1_EndpointSubset *subset, bool ipv6) {
    struct discoveryv1_EndpointSlice *slice = object_new(a, &discoveryv1_EndpointSlice_desc);
    slice->metadata.namespace = eps->metadata.namespace;
    slice->metadata.generateName = arena_printf(a, "%s-", eps->metadata.name);
    slice->metadata.labels = string_map_copy(a, &eps->metadata.labels);
    string_map_set(a, &slice->metadata.labels, SERVICE_NAME_LABEL, eps->metadata.name);
    string_map_set(a, &slice->metadata.labels, MANAGED_BY_LABEL, MANAGED_BY);
    slice->metadata.annotations = string_map_copy(a, &eps->metadata.annotations);
    string_map_del(&slice->metadata.annotations, TRIGGER_TIME_ANNOTATION);
    string_map_del(&slice->metadata.annotations, LAST_APPLIED);
    *LIST_PUSH(a, &slice->metadata.ownerReferences) = controller_ref(a, &corev1_Endpoints_desc, eps);
    slice->addressType = ipv6 ? "IPv6" : "IPv4";
    LIST_FOREACH(p, &subset->ports)
        *LIST_PUSH(a, &slice->ports) = (struct discoveryv1_EndpointPort){.name = str_or(p->name, ""), .protocol = p->protocol, .port = OPT(p->port), .appProtocol = p->appProtocol};
    return slice;
}

struct slices { struct discoveryv1_EndpointSlice **items; size_t len; };

static size_t wanted_slices(struct arena *a, const struct corev1_Endpoints *eps, struct slices *ret) {
    size_t skipped = 0;
    LIST_FOREACH(subset, &eps->subsets) {
        size_t left = PER_SUBSET_MAX;
        for (int ipv6 = 0; ipv6 < 2; ipv6++) {
            struct discoveryv1_EndpointSlice *slice = new_slice(a, eps, subset, ipv6);
            add_addresses(a, slice, &subset->addresses, true, ipv6, &left, &skipped);
            add_addresses(a, slice, &subset->notReadyAddresses, false, ipv6, &left, &skipped);
            if (slice->endpoints.len) *LIST_PUSH(a, ret) = slice;
        }
    }
    return skipped;
}

/* ---- writing ---- */

static bool same_content(const struct discoveryv1_EndpointSlice *x, const struct discoveryv1_EndpointSlice *y) {
    struct discoveryv1_EndpointSlice a = {.endpoints = x->endpoints, .ports = x->ports, .addressType = x->addressType}, b = {.endpoints = y->endpoints, .ports = y->ports, .addressType = y->addressType};
    return object_equal(&discoveryv1_EndpointSlice_desc, &a, &b) && string_map_equal(&x->metadata.labels, &y->metadata.labels);
}

static bool same_place(const struct discoveryv1_EndpointSlice *x, const struct discoveryv1_EndpointSlice *y) {
    struct discoveryv1_EndpointSlice a = {.ports = x->ports, .addressType = x->addressType}, b = {.ports = y->ports, .addressType = y->addressType};
    return object_equal(&discoveryv1_EndpointSlice_desc, &a, &b);
}

static int write_slice(struct mirroring *m, struct arena *a, const char *key, struct discoveryv1_EndpointSlice *want, const struct corev1_Endpoints *eps, const struct discoveryv1_EndpointSlice *now, struct status *reterr) {
    struct discoveryv1_EndpointSlice written;
    const char *trigger = string_map_get(&eps->metadata.annotations, TRIGGER_TIME_ANNOTATION);
    if (trigger) string_map_set(a, &want->metadata.annotations, TRIGGER_TIME_ANNOTATION, trigger);
    if (now) {
        want->metadata.name = now->metadata.name;
        want->metadata.uid = now->metadata.uid;
        want->metadata.resourceVersion = now->metadata.resourceVersion;
        want->metadata.generateName = now->metadata.generateName;
    }
    int rc = now ? client_update(m->c->client, a, &discoveryv1_EndpointSlice_desc, want, &written, reterr) : client_create(m->c->client, a, &discoveryv1_EndpointSlice_desc, want, &written, reterr);
    if (rc == 0) version_tracker_wrote(m->versions, key, (const struct object *)(const void *)&written);
    return rc;
}

static int delete_slice(struct mirroring *m, const char *key, const struct discoveryv1_EndpointSlice *slice, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_delete(m->c->client, &discoveryv1_EndpointSlice_desc, slice->metadata.namespace, slice->metadata.name, NULL, &err) != 0 && !status_is(&err, 404)) {
        status_copy(reterr, &err);
        return -1;
    }
    version_tracker_deleted(m->versions, key, (const struct object *)(const void *)slice);
    return 0;
}

static int reconcile(struct mirroring *m, struct arena *a, const char *key, const struct corev1_Endpoints *eps, const struct cached_list *slices, struct status *reterr) {
    struct slices want = {0};
    size_t skipped = eps ? wanted_slices(a, eps, &want) : 0;
    bool *used = arena_alloc(a, slices->len + 1);
    if (skipped)
        event_record(m->c->events, &corev1_Endpoints_desc, eps, EVENT_WARNING, "TooManyAddressesToMirror", "A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %zu addresses were skipped",
                     PER_SUBSET_MAX, skipped);
    for (size_t i = 0; i < want.len; i++) {
        const struct discoveryv1_EndpointSlice *at = NULL;
        for (size_t k = 0; k < slices->len && !at; k++) {
            const struct discoveryv1_EndpointSlice *now = CACHED(slices->items[k], discoveryv1_EndpointSlice);
            if (used[k] || !same_place(now, want.items[i]) || !controlled_by(now, eps)) continue;
            used[k] = true;
            at = now;
        }
        if (at && same_content(at, want.items[i])) continue;
        if (write_slice(m, a, key, want.items[i], eps, at, reterr) != 0) return -1;
    }
    int rc = 0;
    for (size_t k = 0; k < slices->len; k++)
        if (!used[k] && delete_slice(m, key, CACHED(slices->items[k], discoveryv1_EndpointSlice), reterr) != 0) rc = -1;
    return rc;
}

/* ---- sync ---- */

static bool mirrored(const struct object *eps) {
    return !str_eq(string_map_get(&eps->metadata.labels, SKIP_LABEL), "true") && !string_map_has(&eps->metadata.annotations, "control-plane.alpha.kubernetes.io/leader");
}

static int sync_endpoints(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct mirroring *m = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *eps = informer_get(m->endpoints, ns, name), *svc = informer_get(m->services, ns, name);
    _cleanup_cached_list_ struct cached_list slices = {0};
    informer_by_index(m->slices, m->slices_by_service, key, &slices);
    if (version_tracker_stale(m->versions, key, &slices)) {
        work_queue_add_after(m->c->queue, key, STALE_RETRY_MS);
        return 0;
    }
    bool wanted = eps && mirrored(eps->obj) && svc && !CACHED(svc, corev1_Service)->spec.selector.items;
    if (!wanted && !slices.len) return 0;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (reconcile(m, a, key, wanted ? CACHED(eps, corev1_Endpoints) : NULL, &slices, &err) == 0 || status_has_cause(&err, "NamespaceTerminating")) return 0;
    status_copy(reterr, &err);
    return -1;
}

/* ---- events and life ---- */

static void index_by_service(struct arena *a, const void *obj, struct string_list *ret) {
    const struct object *o = obj;
    const char *svc = string_map_get(&o->metadata.labels, SERVICE_NAME_LABEL);
    if (!str_empty(svc) && str_eq(string_map_get(&o->metadata.labels, MANAGED_BY_LABEL), MANAGED_BY)) string_list_push(a, ret, arena_printf(a, "%s/%s", o->metadata.namespace, svc));
}

static void on_slice(struct mirroring *m, const struct object *slice, bool gone) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    struct string_list keys = {0};
    index_by_service(a, slice, &keys);
    LIST_FOREACH(key, &keys) {
        if (gone) version_tracker_gone(m->versions, *key, slice);
        work_queue_add(m->c->queue, *key);
    }
}
static void on_slice_add(void *data, struct cached *now) { on_slice(data, now->obj, false); }
static void on_slice_update(void *data, struct cached *old, struct cached *now) {
    on_slice(data, now->obj, false);
    if (!string_map_equal(&old->obj->metadata.labels, &now->obj->metadata.labels)) on_slice(data, old->obj, true);
}
static void on_slice_delete(void *data, struct cached *old) { on_slice(data, old->obj, true); }

/* Endpoints that the endpoints controller keeps have a Service with a selector: that is seen in sync; here only locks and those told to be skipped are let pass quickly. */
static void on_endpoints_add(void *data, struct cached *now) {
    if (mirrored(now->obj)) controller_enqueue(((struct mirroring *)data)->c, now->obj);
}
static void on_endpoints_update(void *data, struct cached *old, struct cached *now) {
    if (mirrored(old->obj) || mirrored(now->obj)) controller_enqueue(((struct mirroring *)data)->c, now->obj);
}

static void free_self(void *self) {
    struct mirroring *m = self;
    version_tracker_free(m->versions);
    free(m);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct mirroring *m = calloc(1, sizeof(*m));
    CHECK(m);
    m->c = c;
    m->versions = version_tracker_new();
    m->services = informers_get(c->context->informers, &corev1_Service_desc);
    m->endpoints = informers_get(c->context->informers, &corev1_Endpoints_desc);
    m->slices = informers_get(c->context->informers, &discoveryv1_EndpointSlice_desc);
    m->slices_by_service = informer_add_index(m->slices, "mirrored-service", index_by_service);
    informer_add_handler(m->services, &(struct informer_handler){c, controller_on_add, controller_on_update, controller_on_delete});
    informer_add_handler(m->endpoints, &(struct informer_handler){m, on_endpoints_add, on_endpoints_update, on_endpoints_add});
    informer_add_handler(m->slices, &(struct informer_handler){m, on_slice_add, on_slice_update, on_slice_delete});
    return m;
}

const struct controller_desc controller_endpoint_slice_mirroring = {.name = "endpointslice-mirroring-controller", .queue = "endpoint_slice_mirroring", .account = "endpointslicemirroring-controller", .component = "endpoint-slice-mirroring-controller",
    .workers = 5, .new = new, .sync = sync_endpoints, .free = free_self};
