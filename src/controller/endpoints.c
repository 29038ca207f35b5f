/* Endpoints of Services with selectors, the older form of EndpointSlices: one object a Service, at most a thousand addresses. Upstream: pkg/controller/endpoint.
 *
 * Pods with the same ports share a subset. Tests: tests/unit/test_controller_endpoints.c. */
#include <math.h>
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/service_util.h"

#define HEADLESS_LABEL "service.kubernetes.io/headless"
#define MANAGED_BY_LABEL "endpoints.kubernetes.io/managed-by"
#define MANAGED_BY "endpoint-controller"
#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"
enum { CAPACITY = 1000, STALE_RETRY_MS = 10 };

struct endpoints_controller {
    struct controller *c;
    struct service_watch watch;
    struct informer *endpoints;
    struct trigger_times *times;
    struct version_tracker *versions;
};

/* ---- subsets ---- */

static void ports_of(struct arena *a, const struct corev1_Service *svc, const struct corev1_Pod *pod, struct corev1_EndpointPort_list *ret) {
    LIST_FOREACH(p, &svc->spec.ports) {
        int32_t number = pod_find_port(pod, p);
        if (number >= 0) *LIST_PUSH(a, ret) = (struct corev1_EndpointPort){.name = p->name, .port = number, .protocol = p->protocol, .appProtocol = p->appProtocol};
    }
}

static bool same_ports(const struct corev1_EndpointPort_list *a, const struct corev1_EndpointPort_list *b) {
    struct corev1_EndpointSubset x = {.ports = *a}, y = {.ports = *b};
    return object_equal(&corev1_EndpointSubset_desc, &x, &y);
}

static struct corev1_EndpointSubset *subset_of(struct arena *a, struct corev1_EndpointSubset_list *subsets, const struct corev1_EndpointPort_list *ports) {
    LIST_FOREACH(s, subsets)
        if (same_ports(&s->ports, ports)) return s;
    struct corev1_EndpointSubset *s = LIST_PUSH(a, subsets);
    s->ports = *ports;
    return s;
}

static bool wants_ipv6(const struct corev1_Service *svc, const struct corev1_Pod *pod) {
    if (svc->spec.ipFamilies.len) return str_eq(svc->spec.ipFamilies.items[0], "IPv6");
    const char *by = service_has_cluster_ip(svc) ? svc->spec.clusterIP : pod->status.podIP;
    return by && strchr(by, ':');
}

static void add_pod(struct arena *a, const struct corev1_Service *svc, const struct corev1_Pod *pod, struct corev1_EndpointSubset_list *subsets) {
    struct corev1_EndpointPort_list ports = {0};
    const char *ip = pod_address(a, pod, wants_ipv6(svc, pod));
    if (!ip) return; /* of one family alone, and not of the Service's */
    ports_of(a, svc, pod, &ports);
    if (!ports.len && (svc->spec.ports.len || !str_eq(svc->spec.clusterIP, "None"))) return;
    struct corev1_EndpointSubset *s = subset_of(a, subsets, &ports);
    bool ready = svc->spec.publishNotReadyAddresses || pod_is_ready(pod);
    struct corev1_EndpointAddress *at = ready ? LIST_PUSH(a, &s->addresses) : LIST_PUSH(a, &s->notReadyAddresses);
    at->ip = ip;
    if (!str_empty(pod->spec.nodeName)) at->nodeName = pod->spec.nodeName;
    if (pod_endpoint_has_hostname(pod, svc)) at->hostname = pod->spec.hostname;
    at->targetRef = ARENA_NEW(a, struct corev1_ObjectReference);
    *at->targetRef = (struct corev1_ObjectReference){.kind = "Pod", .namespace = pod->metadata.namespace, .name = pod->metadata.name, .uid = pod->metadata.uid};
}

static int by_address(const void *x, const void *y) {
    const struct corev1_EndpointAddress *a = x, *b = y;
    int order = address_compare(a->ip, b->ip);
    return order ? order : str_cmp(a->targetRef ? a->targetRef->uid : NULL, b->targetRef ? b->targetRef->uid : NULL);
}

static int by_first_port(const void *x, const void *y) {
    const struct corev1_EndpointSubset *a = x, *b = y;
    int32_t pa = a->ports.len ? a->ports.items[0].port : 0, pb = b->ports.len ? b->ports.items[0].port : 0;
    return pa < pb ? -1 : pa > pb;
}

static void sort_subsets(struct corev1_EndpointSubset_list *subsets) {
    LIST_FOREACH(s, subsets) {
        if (s->addresses.len) qsort(s->addresses.items, s->addresses.len, sizeof(*s->addresses.items), by_address);
        if (s->notReadyAddresses.len) qsort(s->notReadyAddresses.items, s->notReadyAddresses.len, sizeof(*s->notReadyAddresses.items), by_address);
    }
    if (subsets->len) qsort(subsets->items, subsets->len, sizeof(*subsets->items), by_first_port);
}

/* At most CAPACITY addresses, ready ones before others, subsets in proportion. True if some had to go. */
static bool truncate_subsets(struct corev1_EndpointSubset_list *subsets) {
    size_t ready = 0, not_ready = 0;
    LIST_FOREACH(s, subsets) ready += s->addresses.len, not_ready += s->notReadyAddresses.len;
    if (ready + not_ready <= CAPACITY) return false;
    bool cut_ready = ready > CAPACITY;
    size_t room = cut_ready ? CAPACITY : CAPACITY - ready, total = cut_ready ? ready : not_ready, left = room;
    LIST_FOREACH(s, subsets) {
        struct corev1_EndpointAddress_list *l = cut_ready ? &s->addresses : &s->notReadyAddresses;
        size_t share = MIN((size_t)ceil((double)l->len / (double)total * (double)room), left);
        l->len = MIN(l->len, share);
        left -= l->len;
        if (cut_ready) s->notReadyAddresses.len = 0;
    }
    return true;
}

/* ---- writing ---- */

static bool labels_current(struct arena *a, const struct corev1_Service *svc, const struct corev1_Endpoints *ep, struct string_map *want) {
    *want = string_map_copy(a, &svc->metadata.labels);
    if (service_has_cluster_ip(svc)) string_map_del(want, HEADLESS_LABEL);
    else string_map_set(a, want, HEADLESS_LABEL, "");
    string_map_set(a, want, MANAGED_BY_LABEL, MANAGED_BY);
    return ep && string_map_equal(want, &ep->metadata.labels);
}

static int write_endpoints(struct endpoints_controller *ec, struct arena *a, const char *key, struct corev1_Endpoints *ep, bool create, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Endpoints written;
    struct client *client = ec->c->client;
    int rc = create ? client_create(client, a, &corev1_Endpoints_desc, ep, &written, &err) : client_update(client, a, &corev1_Endpoints_desc, ep, &written, &err);
    if (rc == 0) {
        version_tracker_wrote(ec->versions, key, (const struct object *)(const void *)&written);
        return 0;
    }
    if (create && status_has_cause(&err, "NamespaceTerminating")) return 0;
    if (create) event_record(ec->c->events, &corev1_Endpoints_desc, ep, EVENT_WARNING, "FailedToCreateEndpoint", "Failed to create endpoint for service %s: %s", key, status_message(&err));
    else if (!status_is(&err, 409)) event_record(ec->c->events, &corev1_Endpoints_desc, ep, EVENT_WARNING, "FailedToUpdateEndpoint", "Failed to update endpoint %s: %s", key, status_message(&err));
    status_copy(reterr, &err);
    return -1;
}

static int sync_found(struct endpoints_controller *ec, struct arena *a, const char *key, const struct corev1_Service *svc, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    _cleanup_cached_ struct cached *cached = informer_get(ec->endpoints, svc->metadata.namespace, svc->metadata.name);
    struct cached *one[] = {cached};
    if (version_tracker_stale(ec->versions, key, &(struct cached_list){one, cached != NULL, 1})) {
        work_queue_add_after(ec->c->queue, key, STALE_RETRY_MS);
        return 0;
    }
    service_list_pods(&ec->watch, a, svc, &pods);
    int64_t trigger_s = trigger_times_compute(ec->times, key, svc, &pods);
    struct corev1_EndpointSubset_list subsets = {0};
    CACHED_FOREACH(pod, corev1_Pod, &pods)
        if (pod_belongs_in_endpoints(pod, svc->spec.publishNotReadyAddresses)) add_pod(a, svc, pod, &subsets);
    sort_subsets(&subsets);
    bool truncated = truncate_subsets(&subsets);
    struct corev1_Endpoints *ep = cached ? object_copy(a, &corev1_Endpoints_desc, cached->obj) : object_new(a, &corev1_Endpoints_desc);
    struct corev1_Endpoints old = {.subsets = ep->subsets}, new_ = {.subsets = subsets};
    struct string_map labels;
    bool labelled = labels_current(a, svc, cached ? ep : NULL, &labels), marked = str_eq(string_map_get(&ep->metadata.annotations, OVER_CAPACITY), "truncated");
    if (cached && labelled && marked == truncated && object_equal(&corev1_Endpoints_desc, &old, &new_)) return 0;
    ep->metadata.namespace = svc->metadata.namespace;
    ep->metadata.name = svc->metadata.name;
    ep->metadata.labels = labels;
    ep->subsets = subsets;
    trigger_time_annotate(a, &ep->metadata.annotations, trigger_s);
    if (truncated) string_map_set(a, &ep->metadata.annotations, OVER_CAPACITY, "truncated");
    else string_map_del(&ep->metadata.annotations, OVER_CAPACITY);
    return write_endpoints(ec, a, key, ep, !cached, reterr);
}

/* ---- sync ---- */

static int delete_endpoints(struct endpoints_controller *ec, const char *key, const char *ns, const char *name, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    trigger_times_delete(ec->times, key);
    version_tracker_forget(ec->versions, key);
    if (client_delete(ec->c->client, &corev1_Endpoints_desc, ns, name, NULL, &err) == 0 || status_is(&err, 404)) return 0;
    status_copy(reterr, &err);
    return -1;
}

static int sync_service(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct endpoints_controller *ec = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(ec->watch.services, ns, name);
    if (!cached) return delete_endpoints(ec, key, ns, name, reterr);
    const struct corev1_Service *svc = CACHED(cached, corev1_Service);
    if (str_eq(svc->spec.type, "ExternalName") || !svc->spec.selector.items) return 0;
    return sync_found(ec, a, key, svc, reterr);
}

/* ---- events and life ---- */

static bool is_leader_lock(const struct object *ep) { return string_map_has(&ep->metadata.annotations, "control-plane.alpha.kubernetes.io/leader"); }

static void on_endpoints(void *data, struct cached *now) { controller_enqueue(((struct endpoints_controller *)data)->c, now->obj); }

/* Those that are there at the start may have lost their Service meanwhile. Others may keep Endpoints without a Service of their own: these stay. */
static void on_add(void *data, struct cached *now) {
    struct endpoints_controller *ec = data;
    bool ours = str_eq(string_map_get(&now->obj->metadata.labels, MANAGED_BY_LABEL), MANAGED_BY);
    if (ours && !is_leader_lock(now->obj)) on_endpoints(ec, now);
}
static void on_update(void *data, struct cached *old UNUSED, struct cached *now) { on_add(data, now); }

static void on_delete(void *data, struct cached *old) {
    struct endpoints_controller *ec = data;
    _cleanup_arena_ struct arena *a = arena_new_sized(256);
    version_tracker_gone(ec->versions, object_key(a, old->obj), old->obj);
    on_endpoints(ec, old);
}

static void free_self(void *self) {
    struct endpoints_controller *ec = self;
    trigger_times_free(ec->times);
    version_tracker_free(ec->versions);
    free(ec);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct endpoints_controller *ec = calloc(1, sizeof(*ec));
    CHECK(ec);
    ec->c = c;
    ec->times = trigger_times_new();
    ec->versions = version_tracker_new();
    ec->endpoints = informers_get(c->context->informers, &corev1_Endpoints_desc);
    service_watch_start(&ec->watch, c);
    informer_add_handler(ec->endpoints, &(struct informer_handler){ec, on_add, on_update, on_delete});
    return ec;
}

const struct controller_desc controller_endpoints = {
    .name = "endpoints-controller", .queue = "endpoint", .account = "endpoint-controller", .component = "endpoint-controller", .workers = 5, .retries_max = 15, .new = new, .sync = sync_service, .free = free_self};
