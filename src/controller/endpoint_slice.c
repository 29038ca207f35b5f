/* EndpointSlices of Services with selectors: which Pods stand behind each, in slices of at most a hundred. Upstream: pkg/controller/endpointslice, k8s.io/endpointslice.
 *
 * One sync compares the Pods that a Service selects with its slices, for each address family apart, and for each set of ports apart, as named ports may mean different numbers.
 * Slices change as little as possible: what is still wanted stays where it is; a slice that changes anyway is filled first; then one that has room for all that is left;
 * then new ones. Which versions were written is remembered, so that a cache that lags is not acted upon.
 * trafficDistribution becomes hints; hints by CPU proportion (service.kubernetes.io/topology-mode: Auto) are not made: see docs/status.md. Tests: tests/unit/test_controller_endpoints.c. */
#include "api/names.h"
#include "base/map.h"
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/metrics.h"
#include "controller/service_util.h"

#define SERVICE_NAME_LABEL "kubernetes.io/service-name"
#define MANAGED_BY_LABEL "endpointslice.kubernetes.io/managed-by"
#define HEADLESS_LABEL "service.kubernetes.io/headless"
#define MANAGED_BY "endpointslice-controller.k8s.io"
enum { ENDPOINTS_MAX = 100, STALE_RETRY_MS = 10 };

struct endpoint_slice_controller {
    struct controller *c;
    struct service_watch watch; /* first things: services and Pods */
    struct informer *slices, *nodes;
    int slices_by_service;
    struct trigger_times *times;
    struct version_tracker *versions;
};

/* A slice of this Service as it is, or is to be. */
enum fate { SLICE_UNCHANGED, SLICE_UPDATE, SLICE_DELETE, SLICE_CREATE };
struct work { struct discoveryv1_EndpointSlice *slice; enum fate fate; const char *ports_key; };
struct work_list { struct work *items; size_t len; };

/* What is wanted behind one set of ports. */
struct group {
    const char *ports_key;
    struct discoveryv1_EndpointPort_list ports;
    struct discoveryv1_Endpoint *endpoints;
    size_t len;
    bool *placed;
};
struct group_list { struct group *items; size_t len; };

struct sync {
    struct endpoint_slice_controller *ec;
    struct arena *a;
    const char *key;
    const struct corev1_Service *svc;
    const char *address_type;
    struct work_list work;
    struct group_list groups;
    bool node_missing;
};

/* ---- what is wanted ---- */

static void endpoint_ports(struct sync *s, const struct corev1_Pod *pod, struct discoveryv1_EndpointPort_list *ret) {
    *ret = (struct discoveryv1_EndpointPort_list){0};
    LIST_FOREACH(p, &s->svc->spec.ports) {
        int32_t number = pod_find_port(pod, p);
        if (number < 0) continue;
        *LIST_PUSH(s->a, ret) = (struct discoveryv1_EndpointPort){.name = str_or(p->name, ""), .protocol = p->protocol, .port = OPT(number), .appProtocol = p->appProtocol};
    }
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* The same for the same ports in any order. */
static const char *ports_key(struct arena *a, const struct discoveryv1_EndpointPort_list *ports) {
    struct string_list texts = {0};
    LIST_FOREACH(p, ports) string_list_push(a, &texts, arena_printf(a, "%s/%s/%d/%s;", str_or(p->name, ""), str_or(p->protocol, ""), p->port.has ? p->port.value : -1, str_or(p->appProtocol, "")));
    if (texts.len) qsort(texts.items, texts.len, sizeof(*texts.items), by_text);
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(t, &texts) buf_append_str(&b, *t);
    return arena_strdup(a, buf_cstr(&b));
}

static struct group *group_of(struct sync *s, const struct discoveryv1_EndpointPort_list *ports, size_t pods) {
    const char *key = ports_key(s->a, ports);
    LIST_FOREACH(g, &s->groups)
        if (str_eq(g->ports_key, key)) return g;
    struct group *g = LIST_PUSH(s->a, &s->groups);
    *g = (struct group){.ports_key = key, .ports = *ports, .endpoints = arena_calloc(s->a, pods, sizeof(*g->endpoints)), .placed = arena_alloc(s->a, pods)};
    return g;
}

static void fill_endpoint(struct sync *s, struct discoveryv1_Endpoint *ep, const struct corev1_Pod *pod, const struct corev1_Node *node, const char *address) {
    bool serving = pod_is_ready(pod), terminating = pod->metadata.deletionTimestamp.set, ready = s->svc->spec.publishNotReadyAddresses || (serving && !terminating);
    string_list_push(s->a, &ep->addresses, address);
    ep->conditions = (struct discoveryv1_EndpointConditions){.ready = OPT(ready), .serving = OPT(serving), .terminating = OPT(terminating)};
    ep->targetRef = ARENA_NEW(s->a, struct corev1_ObjectReference);
    *ep->targetRef = (struct corev1_ObjectReference){.kind = "Pod", .namespace = pod->metadata.namespace, .name = pod->metadata.name, .uid = pod->metadata.uid};
    if (!str_empty(pod->spec.nodeName)) ep->nodeName = pod->spec.nodeName;
    const char *zone = node ? string_map_get(&node->metadata.labels, "topology.kubernetes.io/zone") : NULL;
    if (!str_empty(zone)) ep->zone = arena_strdup(s->a, zone);
    if (pod_endpoint_has_hostname(pod, s->svc)) ep->hostname = pod->spec.hostname;
}

static void collect_wanted(struct sync *s, const struct cached_list *pods) {
    bool ipv6 = str_eq(s->address_type, "IPv6");
    CACHED_FOREACH(pod, corev1_Pod, pods) {
        if (!pod_belongs_in_endpoints(pod, true)) continue;
        struct discoveryv1_EndpointPort_list ports;
        endpoint_ports(s, pod, &ports);
        struct group *g = group_of(s, &ports, pods->len);
        _cleanup_cached_ struct cached *node = informer_get(s->ec->nodes, NULL, str_or(pod->spec.nodeName, ""));
        if (!node && !s->svc->spec.publishNotReadyAddresses) {
            s->node_missing = true; /* the Pod collector will see to it, or the Node is about to appear */
            continue;
        }
        const char *address = pod_address(s->a, pod, ipv6);
        if (address) fill_endpoint(s, &g->endpoints[g->len++], pod, node ? CACHED(node, corev1_Node) : NULL, address);
    }
}

/* ---- slices ---- */

/* The Service's labels, and ours. True if the Service's own differ from what the slice has. */
static bool slice_labels(struct sync *s, const struct string_map *now, struct string_map *ret) {
    static const char *const reserved[] = {SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL, NULL};
    struct string_map kept = {0}, want = {0};
    for (size_t i = 0; i < now->len; i++)
        if (!str_in(now->items[i].key, reserved)) string_map_set(s->a, &kept, now->items[i].key, now->items[i].value);
    for (size_t i = 0; i < s->svc->metadata.labels.len; i++)
        if (!str_in(s->svc->metadata.labels.items[i].key, reserved)) string_map_set(s->a, &want, s->svc->metadata.labels.items[i].key, s->svc->metadata.labels.items[i].value);
    bool changed = !string_map_equal(&kept, &want);
    if (!service_has_cluster_ip(s->svc)) string_map_set(s->a, &want, HEADLESS_LABEL, "");
    string_map_set(s->a, &want, SERVICE_NAME_LABEL, s->svc->metadata.name);
    string_map_set(s->a, &want, MANAGED_BY_LABEL, MANAGED_BY);
    *ret = want;
    return changed;
}

static struct work *new_slice(struct sync *s, const struct discoveryv1_EndpointPort_list *ports, const char *key) {
    struct discoveryv1_EndpointSlice *slice = object_new(s->a, &discoveryv1_EndpointSlice_desc);
    struct string_list msgs = {0};
    const char *prefix = arena_printf(s->a, "%s-", s->svc->metadata.name);
    object_name_dns_subdomain(s->a, prefix, true, &msgs);
    slice->metadata.namespace = s->svc->metadata.namespace;
    slice->metadata.generateName = msgs.len ? s->svc->metadata.name : prefix;
    *LIST_PUSH(s->a, &slice->metadata.ownerReferences) = controller_ref(s->a, &corev1_Service_desc, s->svc);
    slice_labels(s, &slice->metadata.labels, &slice->metadata.labels);
    slice->addressType = s->address_type;
    slice->ports = *ports;
    struct work *w = LIST_PUSH(s->a, &s->work);
    *w = (struct work){slice, SLICE_CREATE, key};
    return w;
}

static bool owned_by(const struct discoveryv1_EndpointSlice *slice, const struct corev1_Service *svc) {
    LIST_FOREACH(o, &slice->metadata.ownerReferences)
        if (str_eq(o->uid, svc->metadata.uid) && str_eq(o->kind, "Service") && str_eq(o->apiVersion, "v1")) return true;
    return false;
}

/* What makes two endpoints the same one, whatever their state. */
static const char *endpoint_key(struct arena *a, const struct discoveryv1_Endpoint *ep) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    LIST_FOREACH(address, &ep->addresses) buf_printf(&b, "%s,", *address);
    buf_printf(&b, "|%s|%s|%s", str_or(ep->hostname, ""), ep->targetRef ? str_or(ep->targetRef->namespace, "") : "", ep->targetRef ? str_or(ep->targetRef->name, "") : "");
    return arena_strdup(a, buf_cstr(&b));
}

static bool same_opt(struct opt_bool a, struct opt_bool b) { return a.has == b.has && a.value == b.value; }

static bool same_endpoint(const struct discoveryv1_Endpoint *a, const struct discoveryv1_Endpoint *b) {
    return str_eq(a->nodeName, b->nodeName) && str_eq(a->zone, b->zone) && same_opt(a->conditions.ready, b->conditions.ready) && same_opt(a->conditions.serving, b->conditions.serving) &&
           same_opt(a->conditions.terminating, b->conditions.terminating) && (a->targetRef != NULL) == (b->targetRef != NULL) &&
           (!a->targetRef || (str_eq(a->targetRef->uid, b->targetRef->uid) && str_eq(a->targetRef->name, b->targetRef->name) && str_eq(a->targetRef->kind, b->targetRef->kind)));
}

/* 1. What is no longer wanted leaves its slice; what has changed changes there. */
static void keep_wanted(struct sync *s, struct group *g, struct work *w, struct map *wanted) {
    struct discoveryv1_Endpoint_list kept = {0};
    bool changed = false;
    LIST_FOREACH(ep, &w->slice->endpoints) {
        struct discoveryv1_Endpoint *want = map_del(wanted, endpoint_key(s->a, ep));
        if (!want) continue;
        g->placed[want - g->endpoints] = true;
        changed |= !same_endpoint(ep, want);
        struct discoveryv1_Endpoint *at = LIST_PUSH(s->a, &kept);
        *at = *want;
        at->hints = ep->hints;
    }
    struct string_map labels;
    bool relabelled = slice_labels(s, &w->slice->metadata.labels, &labels);
    changed |= kept.len != w->slice->endpoints.len;
    if (changed && kept.len == 0) {
        w->fate = SLICE_DELETE;
        return;
    }
    if (!changed && !relabelled) return;
    w->fate = SLICE_UPDATE;
    w->slice->endpoints = kept;
    w->slice->metadata.labels = labels;
}

static void fill(struct sync *s, struct group *g, struct work *w, size_t *left) {
    for (size_t i = 0; i < g->len && *left && w->slice->endpoints.len < ENDPOINTS_MAX; i++) {
        if (g->placed[i]) continue;
        *LIST_PUSH(s->a, &w->slice->endpoints) = g->endpoints[i];
        g->placed[i] = true;
        --*left;
    }
}

/* The slice of that fate that is fullest but has room. room 0: for any at all. */
static struct work *fullest(struct sync *s, const struct group *g, enum fate fate, size_t room) {
    struct work *best = NULL;
    LIST_FOREACH(w, &s->work) {
        if (w->fate != fate || !str_eq(w->ports_key, g->ports_key) || w->slice->endpoints.len + MAX(room, (size_t)1) > ENDPOINTS_MAX) continue;
        if (!best || w->slice->endpoints.len > best->slice->endpoints.len) best = w;
    }
    return best;
}

/* 2. Slices that change anyway take what is left; 3. then one that has room for all of it, or new ones. */
static void place_rest(struct sync *s, struct group *g, size_t left) {
    struct work *w;
    while (left && (w = fullest(s, g, SLICE_UPDATE, 0))) fill(s, g, w, &left);
    while (left) {
        w = left < ENDPOINTS_MAX ? fullest(s, g, SLICE_UNCHANGED, left) : NULL;
        if (w) w->fate = SLICE_UPDATE;
        else w = new_slice(s, &g->ports, g->ports_key);
        fill(s, g, w, &left);
    }
}

static void reconcile_group(struct sync *s, struct group *g) {
    struct map *wanted = map_new();
    for (size_t i = 0; i < g->len; i++)
        if (map_put(wanted, endpoint_key(s->a, &g->endpoints[i]), &g->endpoints[i])) g->placed[i] = false;
    for (size_t i = 0; i < s->work.len; i++)
        if (s->work.items[i].fate == SLICE_UNCHANGED && str_eq(s->work.items[i].ports_key, g->ports_key)) keep_wanted(s, g, &s->work.items[i], wanted);
    size_t left = map_len(wanted);
    for (size_t i = 0; i < g->len; i++)
        if (!g->placed[i] && map_get(wanted, endpoint_key(s->a, &g->endpoints[i])) != &g->endpoints[i]) g->placed[i] = true; /* the same one twice */
    map_free(wanted);
    place_rest(s, g, left);
}

/* Slices of ports that nothing has any more go; without any endpoint one empty slice stands for the Service. */
static void drop_and_hold_place(struct sync *s) {
    size_t alive = 0;
    for (size_t i = 0; i < s->work.len; i++) {
        struct work *w = &s->work.items[i];
        bool wanted = w->fate == SLICE_CREATE;
        LIST_FOREACH(g, &s->groups) wanted |= str_eq(g->ports_key, w->ports_key);
        if (!wanted) w->fate = SLICE_DELETE;
        alive += w->fate != SLICE_DELETE;
    }
    if (alive) return;
    struct work *only = s->work.len == 1 ? &s->work.items[0] : NULL;
    struct string_map labels;
    if (only && only->slice->endpoints.len == 0 && only->slice->ports.len == 0 && owned_by(only->slice, s->svc) && !slice_labels(s, &only->slice->metadata.labels, &labels) &&
        string_map_equal(&labels, &only->slice->metadata.labels)) {
        only->fate = SLICE_UNCHANGED;
        return;
    }
    new_slice(s, &(struct discoveryv1_EndpointPort_list){0}, "");
}

/* ---- hints ---- */

static bool hints_equal(const struct discoveryv1_EndpointHints *a, const struct discoveryv1_EndpointHints *b) {
    static const struct discoveryv1_EndpointHints none;
    return object_equal(&discoveryv1_EndpointHints_desc, a ? a : &none, b ? b : &none);
}

static struct discoveryv1_EndpointHints *wanted_hints(struct sync *s, const struct discoveryv1_Endpoint *ep) {
    static const char *const close[] = {"PreferClose", "PreferSameZone", "PreferSameNode", NULL};
    const char *mode = string_map_get(&s->svc->metadata.annotations, "service.kubernetes.io/topology-aware-hints");
    if (!mode) mode = string_map_get(&s->svc->metadata.annotations, "service.kubernetes.io/topology-mode");
    if (str_eq_nocase(mode, "auto") || !s->svc->spec.trafficDistribution || !str_in(s->svc->spec.trafficDistribution, close)) return NULL;
    bool by_node = str_eq(s->svc->spec.trafficDistribution, "PreferSameNode") && ep->nodeName;
    if (!ep->zone && !by_node) return NULL;
    struct discoveryv1_EndpointHints *h = ARENA_NEW(s->a, struct discoveryv1_EndpointHints);
    if (ep->zone) *LIST_PUSH(s->a, &h->forZones) = (struct discoveryv1_ForZone){.name = ep->zone};
    if (by_node) *LIST_PUSH(s->a, &h->forNodes) = (struct discoveryv1_ForNode){.name = ep->nodeName};
    return h;
}

static void set_hints(struct sync *s) {
    LIST_FOREACH(w, &s->work) {
        if (w->fate == SLICE_DELETE) continue;
        LIST_FOREACH(ep, &w->slice->endpoints) {
            bool ready = ep->conditions.ready.has && ep->conditions.ready.value;
            struct discoveryv1_EndpointHints *want = wanted_hints(s, ep);
            if (want && !ready) continue;
            if (hints_equal(ep->hints, want)) continue;
            ep->hints = want;
            if (w->fate == SLICE_UNCHANGED) w->fate = SLICE_UPDATE;
        }
    }
}

/* ---- writing ---- */

/* Where one would go and another come, one changes instead. */
static void reuse_deleted(struct sync *s) {
    LIST_FOREACH(gone, &s->work) {
        if (gone->fate != SLICE_DELETE || !owned_by(gone->slice, s->svc)) continue;
        struct work *come = NULL;
        LIST_FOREACH(w, &s->work)
            if (w->fate == SLICE_CREATE) come = w;
        if (!come) return;
        come->fate = SLICE_UPDATE;
        come->slice->metadata.name = gone->slice->metadata.name;
        come->slice->metadata.generateName = gone->slice->metadata.generateName;
        come->slice->metadata.uid = gone->slice->metadata.uid;
        come->slice->metadata.resourceVersion = gone->slice->metadata.resourceVersion;
        gone->fate = SLICE_UNCHANGED;
    }
}

static int write_one(struct sync *s, struct work *w, int64_t trigger_s, struct status *reterr) {
    struct client *client = s->ec->c->client;
    struct discoveryv1_EndpointSlice written;
    if (w->fate == SLICE_UNCHANGED || (w->fate == SLICE_CREATE && s->svc->metadata.deletionTimestamp.set)) return 0;
    if (w->fate == SLICE_DELETE) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (client_delete(client, &discoveryv1_EndpointSlice_desc, w->slice->metadata.namespace, w->slice->metadata.name, NULL, &err) != 0 && !status_is(&err, 404)) {
            status_copy(reterr, &err);
            return -1;
        }
        version_tracker_deleted(s->ec->versions, s->key, (const struct object *)(const void *)w->slice);
        metric_add(&metrics_slice_changes, "operation=\"delete\"", 1);
        return 0;
    }
    trigger_time_annotate(s->a, &w->slice->metadata.annotations, trigger_s);
    int rc = w->fate == SLICE_CREATE ? client_create(client, s->a, &discoveryv1_EndpointSlice_desc, w->slice, &written, reterr)
                                     : client_update(client, s->a, &discoveryv1_EndpointSlice_desc, w->slice, &written, reterr);
    if (rc != 0) return rc;
    version_tracker_wrote(s->ec->versions, s->key, (const struct object *)(const void *)&written);
    metric_add(&metrics_slice_changes, w->fate == SLICE_CREATE ? "operation=\"create\"" : "operation=\"update\"", 1);
    return rc;
}

static int write_all(struct sync *s, int64_t trigger_s, struct status *reterr) {
    static const enum fate order[] = {SLICE_CREATE, SLICE_UPDATE, SLICE_DELETE};
    reuse_deleted(s);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        LIST_FOREACH(w, &s->work) {
            _cleanup_status_ struct status err = STATUS_INIT;
            if (w->fate != order[i] || write_one(s, w, trigger_s, &err) == 0) continue;
            if (w->fate == SLICE_CREATE && status_has_cause(&err, "NamespaceTerminating")) return 0;
            status_copy(reterr, &err);
            status_wrap(reterr, "failed to %s EndpointSlice for Service %s", w->fate == SLICE_CREATE ? "create" : w->fate == SLICE_UPDATE ? "update" : "delete", s->key);
            return -1;
        }
    }
    size_t changed = 0;
    LIST_FOREACH(w, &s->work) changed += w->fate != SLICE_UNCHANGED;
    controller_metric_observe(&metrics_slices_changed, (double)changed, "topology=\"Disabled\",traffic_distribution=\"%s\"", str_or(s->svc->spec.trafficDistribution, ""));
    return 0;
}

/* ---- sync ---- */

static int reconcile_type(struct sync *s, const struct cached_list *pods, const struct cached_list *slices, int64_t trigger_s, struct status *reterr) {
    CACHED_FOREACH(slice, discoveryv1_EndpointSlice, slices) {
        if (!str_eq(slice->addressType, s->address_type)) continue;
        struct work *w = LIST_PUSH(s->a, &s->work);
        *w = (struct work){object_copy(s->a, &discoveryv1_EndpointSlice_desc, slice), owned_by(slice, s->svc) ? SLICE_UNCHANGED : SLICE_DELETE, ports_key(s->a, &slice->ports)};
    }
    collect_wanted(s, pods);
    LIST_FOREACH(g, &s->groups) reconcile_group(s, g);
    drop_and_hold_place(s);
    set_hints(s);
    return write_all(s, trigger_s, reterr);
}

static bool type_wanted(const struct corev1_Service *svc, const char *type) {
    if (svc->spec.ipFamilies.len) return string_list_has(&svc->spec.ipFamilies, type);
    if (service_has_cluster_ip(svc)) return str_eq(type, strchr(svc->spec.clusterIP, ':') ? "IPv6" : "IPv4");
    return true;
}

/* Slices that are being deleted are not there any more. */
static void list_slices(struct endpoint_slice_controller *ec, const char *key, struct cached_list *ret) {
    informer_by_index(ec->slices, ec->slices_by_service, key, ret);
    size_t kept = 0;
    for (size_t i = 0; i < ret->len; i++) {
        if (ret->items[i]->obj->metadata.deletionTimestamp.set) cached_unref(ret->items[i]);
        else ret->items[kept++] = ret->items[i];
    }
    ret->len = kept;
}

static int delete_other_types(struct endpoint_slice_controller *ec, const struct corev1_Service *svc, const struct cached_list *slices, struct status *reterr) {
    int rc = 0;
    CACHED_FOREACH(slice, discoveryv1_EndpointSlice, slices) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (type_wanted(svc, slice->addressType)) continue;
        if (client_delete(ec->c->client, &discoveryv1_EndpointSlice_desc, slice->metadata.namespace, slice->metadata.name, NULL, &err) == 0 || status_is(&err, 404)) continue;
        status_copy(reterr, &err);
        rc = -1;
    }
    return rc;
}

static int sync_found(struct endpoint_slice_controller *ec, struct arena *a, const char *key, const struct corev1_Service *svc, struct status *reterr) {
    static const char *const types[] = {"IPv4", "IPv6"};
    _cleanup_cached_list_ struct cached_list pods = {0}, slices = {0};
    list_slices(ec, key, &slices);
    if (version_tracker_stale(ec->versions, key, &slices)) {
        work_queue_add_after(ec->c->queue, key, STALE_RETRY_MS);
        metric_add(&metrics_slice_syncs, "result=\"stale\"", 1);
        return 0;
    }
    service_list_pods(&ec->watch, a, svc, &pods);
    int64_t trigger_s = trigger_times_compute(ec->times, key, svc, &pods);
    bool node_missing = false;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct sync s = {.ec = ec, .a = a, .key = key, .svc = svc, .address_type = types[i]};
        if (!type_wanted(svc, types[i])) continue;
        if (reconcile_type(&s, &pods, &slices, trigger_s, reterr) != 0) rc = -1;
        node_missing |= s.node_missing;
    }
    if (delete_other_types(ec, svc, &slices, reterr) != 0) rc = -1;
    if (rc == 0 && node_missing) rc = status_internal(reterr, "a Pod of Service %s is on a Node that is not known", key);
    metric_add(&metrics_slice_syncs, rc == 0 ? "result=\"success\"" : "result=\"error\"", 1);
    return rc;
}

static int sync_service(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct endpoint_slice_controller *ec = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(ec->watch.services, ns, name);
    if (!cached) {
        trigger_times_delete(ec->times, key);
        version_tracker_forget(ec->versions, key);
        return 0;
    }
    const struct corev1_Service *svc = CACHED(cached, corev1_Service);
    if (str_eq(svc->spec.type, "ExternalName") || !svc->spec.selector.items) return 0; /* these get no endpoints from us */
    _cleanup_status_ struct status err = STATUS_INIT;
    if (sync_found(ec, a, key, svc, &err) == 0) return 0;
    if (!status_is(&err, 409)) event_record(ec->c->events, &corev1_Service_desc, svc, EVENT_WARNING, "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service %s/%s: %s", ns, name, status_message(&err));
    status_copy(reterr, &err);
    return -1;
}

/* ---- events and life ---- */

static void index_by_service(struct arena *a, const void *obj, struct string_list *ret) {
    const struct object *o = obj;
    const char *svc = string_map_get(&o->metadata.labels, SERVICE_NAME_LABEL);
    if (!str_empty(svc) && str_eq(string_map_get(&o->metadata.labels, MANAGED_BY_LABEL), MANAGED_BY)) string_list_push(a, ret, arena_printf(a, "%s/%s", o->metadata.namespace, svc));
}

static void on_slice(struct endpoint_slice_controller *ec, const struct object *slice, bool gone) {
    _cleanup_arena_ struct arena *a = arena_new_sized(512);
    struct string_list keys = {0};
    index_by_service(a, slice, &keys);
    LIST_FOREACH(key, &keys) {
        if (gone) version_tracker_gone(ec->versions, *key, slice);
        work_queue_add(ec->c->queue, *key);
    }
}
static void on_slice_add(void *data, struct cached *now) { on_slice(data, now->obj, false); }
static void on_slice_delete(void *data, struct cached *old) { on_slice(data, old->obj, true); }

static void on_slice_update(void *data, struct cached *old, struct cached *now) {
    on_slice(data, now->obj, false);
    if (!string_map_equal(&old->obj->metadata.labels, &now->obj->metadata.labels)) on_slice(data, old->obj, true);
}

static void free_self(void *self) {
    struct endpoint_slice_controller *ec = self;
    trigger_times_free(ec->times);
    version_tracker_free(ec->versions);
    free(ec);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct endpoint_slice_controller *ec = calloc(1, sizeof(*ec));
    CHECK(ec);
    ec->c = c;
    ec->times = trigger_times_new();
    ec->versions = version_tracker_new();
    ec->slices = informers_get(c->context->informers, &discoveryv1_EndpointSlice_desc);
    ec->nodes = informers_get(c->context->informers, &corev1_Node_desc);
    ec->slices_by_service = informer_add_index(ec->slices, "managed-service", index_by_service);
    service_watch_start(&ec->watch, c);
    informer_add_handler(ec->slices, &(struct informer_handler){ec, on_slice_add, on_slice_update, on_slice_delete});
    return ec;
}

const struct controller_desc controller_endpoint_slice = {
    .name = "endpointslice-controller", .queue = "endpoint_slice", .workers = 5, .retries_max = 15, .new = new, .sync = sync_service, .free = free_self};
