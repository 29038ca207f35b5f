/* The Service strategy and its allocations. Upstream: pkg/registry/core/service. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "apiserver/allocators.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

static bool needs_cluster_ip(const struct corev1_Service *s) { return !str_eq(s->spec.type, "ExternalName"); }
static bool headless(const struct corev1_Service *s) { return str_eq(s->spec.clusterIP, "None"); }
static bool needs_node_ports(const struct corev1_Service *s) {
    return str_eq(s->spec.type, "NodePort") || (str_eq(s->spec.type, "LoadBalancer") && (!s->spec.allocateLoadBalancerNodePorts.has || s->spec.allocateLoadBalancerNodePorts.value));
}
static bool needs_health_port(const struct corev1_Service *s) { return str_eq(s->spec.type, "LoadBalancer") && str_eq(s->spec.externalTrafficPolicy, "Local"); }

/* clusterIP and clusterIPs say the same; whichever was given fills the other. */
static void align_ips(struct api_request *r, struct corev1_Service *s) {
    if (str_empty(s->spec.clusterIP) && s->spec.clusterIPs.len) s->spec.clusterIP = s->spec.clusterIPs.items[0];
    else if (!str_empty(s->spec.clusterIP) && !s->spec.clusterIPs.len) string_list_push(r->arena, &s->spec.clusterIPs, s->spec.clusterIP);
}

static void default_families(struct api_request *r, struct corev1_Service *s) {
    if (!needs_cluster_ip(s)) return;
    if (!s->spec.ipFamilyPolicy) s->spec.ipFamilyPolicy = headless(s) && !s->spec.selector.len ? "RequireDualStack" : "SingleStack";
    if (!s->spec.ipFamilies.len) {
        string_list_push(r->arena, &s->spec.ipFamilies, "IPv4");
        if (headless(s) && !s->spec.selector.len) string_list_push(r->arena, &s->spec.ipFamilies, "IPv6");
    }
}

static void service_prepare_create(struct api_request *r, void *obj) {
    struct corev1_Service *s = obj;
    s->status = (struct corev1_ServiceStatus){0};
    align_ips(r, s);
    default_families(r, s);
}

/* What the new type has no use for goes, unless the client asked for it. */
static void drop_unused(struct corev1_Service *s, const struct corev1_Service *old) {
    bool had_ip = needs_cluster_ip(old), has_ip = needs_cluster_ip(s);
    if (had_ip && !has_ip && str_eq(s->spec.clusterIP, old->spec.clusterIP)) {
        s->spec.clusterIP = NULL;
        s->spec.clusterIPs = (struct string_list){0};
        s->spec.ipFamilies = (struct string_list){0};
        s->spec.ipFamilyPolicy = NULL;
        s->spec.internalTrafficPolicy = NULL;
    }
    if (needs_node_ports(old) && !needs_node_ports(s) && !str_eq(s->spec.type, "LoadBalancer"))
        for (size_t i = 0; i < s->spec.ports.len && i < old->spec.ports.len; i++)
            if (s->spec.ports.items[i].nodePort == old->spec.ports.items[i].nodePort) s->spec.ports.items[i].nodePort = 0;
    if (needs_health_port(old) && !needs_health_port(s) && s->spec.healthCheckNodePort == old->spec.healthCheckNodePort) s->spec.healthCheckNodePort = 0;
    if (str_eq(old->spec.type, "LoadBalancer") && !str_eq(s->spec.type, "LoadBalancer")) {
        s->spec.allocateLoadBalancerNodePorts.has = false;
        s->spec.loadBalancerClass = NULL;
    }
}

static void service_prepare_update(struct api_request *r, void *obj, const void *old_obj) {
    struct corev1_Service *s = obj;
    const struct corev1_Service *old = old_obj;
    s->status = old->status;
    /* A client that leaves out what was allocated keeps it. */
    if (needs_cluster_ip(s) && needs_cluster_ip(old)) {
        if (str_empty(s->spec.clusterIP) && !s->spec.clusterIPs.len) {
            s->spec.clusterIP = old->spec.clusterIP;
            s->spec.clusterIPs = old->spec.clusterIPs;
        }
        if (!s->spec.ipFamilies.len) s->spec.ipFamilies = old->spec.ipFamilies;
        if (!s->spec.ipFamilyPolicy) s->spec.ipFamilyPolicy = old->spec.ipFamilyPolicy;
    }
    if (needs_node_ports(s) && needs_node_ports(old))
        LIST_FOREACH(p, &s->spec.ports)
            LIST_FOREACH(o, &old->spec.ports)
                if (p->nodePort == 0 && p->port == o->port && str_eq(p->protocol, o->protocol)) p->nodePort = o->nodePort;
    if (needs_health_port(s) && needs_health_port(old) && !s->spec.healthCheckNodePort) s->spec.healthCheckNodePort = old->spec.healthCheckNodePort;
    align_ips(r, s);
    drop_unused(s, old);
    default_families(r, s);
}

static void service_prepare_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Service *)obj)->spec = ((const struct corev1_Service *)old)->spec; }

/* ---- allocation ---- */

static int invalid(struct api_request *r, const struct corev1_Service *s, const struct field_errors *errs, struct status *reterr) {
    (void)r;
    return field_errors_status(errs, "", "Service", s->metadata.name, reterr);
}

static int allocate_ip(struct api_request *r, struct corev1_Service *s, const struct corev1_Service *old, struct status *reterr) {
    struct ip_allocator *ips = apiserver_cluster_ips(r->server);
    struct field_errors errs = field_errors_in(r->arena);
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "clusterIPs");
    if (!needs_cluster_ip(s) || headless(s) || (old && str_eq(old->spec.clusterIP, s->spec.clusterIP))) return 0;
    if (str_empty(s->spec.clusterIP)) {
        s->spec.clusterIP = ip_allocator_next(ips, r->arena, apiserver_env(r->server));
        if (!s->spec.clusterIP) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "Internal error occurred: failed to allocate a serviceIP: range is full");
        s->spec.clusterIPs = (struct string_list){0};
        string_list_push(r->arena, &s->spec.clusterIPs, s->spec.clusterIP);
        return 0;
    }
    switch (ip_allocator_take(ips, s->spec.clusterIP)) {
        case IP_OK: return 0;
        case IP_TAKEN: field_invalid_raw(&errs, at, arena_printf(r->arena, "[\"%s\"]", s->spec.clusterIP), "failed to allocate IP %s: provided IP is already allocated", s->spec.clusterIP); break;
        case IP_OUTSIDE:
            field_invalid_raw(&errs, at, arena_printf(r->arena, "[\"%s\"]", s->spec.clusterIP), "failed to allocate IP %s: the provided network does not match the current range", s->spec.clusterIP);
            break;
    }
    return invalid(r, s, &errs, reterr);
}

/* Two ports of one Service may share a node port when their protocols differ, and keep it over an update. */
static bool own_port(const struct corev1_Service *s, const struct corev1_Service *old, size_t at) {
    const struct corev1_ServicePort *p = &s->spec.ports.items[at];
    for (size_t i = 0; i < at; i++)
        if (s->spec.ports.items[i].nodePort == p->nodePort && !str_eq(s->spec.ports.items[i].protocol, p->protocol)) return true;
    if (old)
        LIST_FOREACH(o, &old->spec.ports)
            if (o->nodePort == p->nodePort) return true;
    return false;
}

static int allocate_ports(struct api_request *r, struct corev1_Service *s, const struct corev1_Service *old, struct status *reterr) {
    struct port_allocator *ports = apiserver_node_ports(r->server);
    struct field_errors errs = field_errors_in(r->arena);
    int min, max;
    port_allocator_range(ports, &min, &max);
    for (size_t i = 0; i < s->spec.ports.len; i++) {
        struct corev1_ServicePort *p = &s->spec.ports.items[i];
        const struct field_path *at = FIELD(FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "ports"), i), "nodePort");
        if (!p->nodePort && needs_node_ports(s)) p->nodePort = port_allocator_next(ports, apiserver_env(r->server));
        else if (p->nodePort && !own_port(s, old, i)) {
            enum ip_taken t = port_allocator_take(ports, p->nodePort);
            if (t == IP_TAKEN) field_invalid_int(&errs, at, p->nodePort, "provided port is already allocated");
            else if (t == IP_OUTSIDE) field_invalid_int(&errs, at, p->nodePort, "provided port is not in the valid range. The range of valid ports is %d-%d", min, max);
        }
    }
    if (errs.len) return invalid(r, s, &errs, reterr);
    if (needs_health_port(s) && !s->spec.healthCheckNodePort) s->spec.healthCheckNodePort = port_allocator_next(ports, apiserver_env(r->server));
    else if (s->spec.healthCheckNodePort && !(old && old->spec.healthCheckNodePort == s->spec.healthCheckNodePort)) port_allocator_take(ports, s->spec.healthCheckNodePort);
    return 0;
}

/* What the old object held and the new one does not (all, when there is no new one). */
static void release_difference(struct api_request *r, const struct corev1_Service *old, const struct corev1_Service *now) {
    if (needs_cluster_ip(old) && !headless(old) && !(now && str_eq(now->spec.clusterIP, old->spec.clusterIP))) ip_allocator_release(apiserver_cluster_ips(r->server), str_or(old->spec.clusterIP, ""));
    LIST_FOREACH(o, &old->spec.ports) {
        bool kept = false;
        if (now)
            LIST_FOREACH(p, &now->spec.ports) kept |= p->nodePort == o->nodePort;
        if (!kept && o->nodePort) port_allocator_release(apiserver_node_ports(r->server), o->nodePort);
    }
    if (old->spec.healthCheckNodePort && !(now && now->spec.healthCheckNodePort == old->spec.healthCheckNodePort)) port_allocator_release(apiserver_node_ports(r->server), old->spec.healthCheckNodePort);
}

static int service_allocate(struct api_request *r, void *obj, const void *old_obj, struct status *reterr) {
    struct corev1_Service *s = obj;
    const struct corev1_Service *old = old_obj;
    if (allocate_ip(r, s, old, reterr) != 0) return -1;
    if (allocate_ports(r, s, old, reterr) != 0) {
        if (!old) release_difference(r, s, NULL);
        return -1;
    }
    if (old) release_difference(r, old, s);
    return 0;
}

static void service_release(struct api_request *r, const void *obj) { release_difference(r, obj, NULL); }

static const char *service_field(struct arena *a UNUSED, const void *obj, const char *name) {
    const struct corev1_Service *s = obj;
    return strcmp(name, "spec.clusterIP") == 0 ? s->spec.clusterIP : strcmp(name, "spec.type") == 0 ? s->spec.type : NULL;
}
static const char *const service_fields[] = {"spec.clusterIP", "spec.type", NULL};
const struct strategy service_strategy = {.group = "", .version = "v1", .resource = "services", .type = &corev1_Service_desc, .storage_prefix = "/registry/services/specs", .flags = RETURN_DELETED_OBJECT | CREATE_ON_UPDATE,
    .validate_name = object_name_dns_label, .prepare_create = service_prepare_create, .prepare_update = service_prepare_update, .prepare_status_update = service_prepare_status, .validate = validate_service,
    .validate_update = validate_service_update, .selectable_fields = service_fields, .field = service_field, .allocate = service_allocate, .release = service_release};
