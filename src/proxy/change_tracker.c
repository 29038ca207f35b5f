/* Services and EndpointSlices as service ports: see change_tracker.h. */
#include "proxy/change_tracker.h"
#include "base/map.h"
#include "base/str.h"

#define AFFINITY_SECONDS_DEFAULT 10800

bool service_is_proxied(const struct corev1_Service *svc) {
    return !str_eq(svc->spec.type, "ExternalName") && !str_empty(svc->spec.clusterIP) && !str_eq(svc->spec.clusterIP, "None") &&
           !string_map_has(&svc->metadata.labels, "service.kubernetes.io/service-proxy-name");
}

const char *endpoint_slice_service(const struct discoveryv1_EndpointSlice *slice) {
    const char *name = string_map_get(&slice->metadata.labels, "kubernetes.io/service-name");
    return str_empty(name) ? NULL : name;
}

struct endpoint_list { struct proxy_endpoint *items; size_t len; };

static void endpoint_add(struct arena *a, struct endpoint_list *out, struct map *seen, const struct discoveryv1_Endpoint *e, uint16_t port, const char *node_name) {
    if (!e->addresses.len) return; /* upstream too takes the first address only */
    bool ready = !e->conditions.ready.has || e->conditions.ready.value;
    struct proxy_endpoint one = {
        .ip = e->addresses.items[0],
        .port = port,
        .ready = ready,
        .serving = e->conditions.serving.has ? e->conditions.serving.value : ready,
        .terminating = e->conditions.terminating.has && e->conditions.terminating.value,
        .local = !str_empty(node_name) && str_eq(e->nodeName, node_name),
    };
    const char *key = arena_printf(a, "%s %u", one.ip, port);
    /* While an endpoint moves between slices it may be in both: the better word counts. */
    uintptr_t at = (uintptr_t)map_get(seen, key);
    if (at) {
        if (one.ready && !out->items[at - 1].ready) out->items[at - 1] = one;
        return;
    }
    *LIST_PUSH(a, out) = one;
    map_put(seen, key, (void *)(uintptr_t)out->len); /* NOLINT: an index, one based */
}

static struct endpoint_list endpoints_build(struct arena *a, const struct corev1_ServicePort *port, const struct discoveryv1_EndpointSlice *const *slices, size_t len,
                                            const char *node_name) {
    struct endpoint_list out = {0};
    struct map *seen = map_new();
    for (size_t i = 0; i < len; i++)
        LIST_FOREACH(p, &slices[i]->ports) {
            if (!str_eq(p->name, port->name) || !str_eq(str_or(p->protocol, "TCP"), str_or(port->protocol, "TCP"))) continue;
            if (!p->port.has || p->port.value < 1 || p->port.value > 65535) continue;
            LIST_FOREACH(e, &slices[i]->endpoints) endpoint_add(a, &out, seen, e, (uint16_t)p->port.value, node_name);
        }
    map_free(seen);
    return out;
}

static const char *const *strings(struct arena *a, const struct string_list *list) {
    const char **out = arena_calloc(a, list->len + 1, sizeof(*out));
    for (size_t i = 0; i < list->len; i++) out[i] = list->items[i];
    return out;
}

static const char *const *cluster_ips(struct arena *a, const struct corev1_ServiceSpec *spec) {
    struct string_list one = {.items = (__typeof__(one.items))&spec->clusterIP, .len = 1};
    return strings(a, spec->clusterIPs.len ? &spec->clusterIPs : &one);
}

static const char *const *load_balancer_ips(struct arena *a, const struct corev1_Service *svc) {
    struct string_list list = {0};
    if (str_eq(svc->spec.type, "LoadBalancer"))
        LIST_FOREACH(in, &svc->status.loadBalancer.ingress)
            if (!str_empty(in->ip) && !str_eq(in->ipMode, "Proxy")) string_list_push(a, &list, in->ip);
    return strings(a, &list);
}

struct service_port_list service_ports_build(struct arena *a, const struct corev1_Service *svc, const struct discoveryv1_EndpointSlice *const *slices,
                                             size_t slices_len, const char *node_name) {
    struct service_port_list out = {0};
    if (!service_is_proxied(svc)) return out;
    int32_t affinity = 0;
    if (str_eq(svc->spec.sessionAffinity, "ClientIP")) {
        const struct corev1_SessionAffinityConfig *c = svc->spec.sessionAffinityConfig;
        affinity = c && c->clientIP && c->clientIP->timeoutSeconds.has ? c->clientIP->timeoutSeconds.value : AFFINITY_SECONDS_DEFAULT;
    }
    LIST_FOREACH(p, &svc->spec.ports) {
        struct endpoint_list eps = endpoints_build(a, p, slices, slices_len, node_name);
        *LIST_PUSH(a, &out) = (struct service_port){
            .namespace = svc->metadata.namespace,
            .name = svc->metadata.name,
            .port_name = p->name,
            .protocol = str_or(p->protocol, "TCP"),
            .port = (uint16_t)p->port,
            .node_port = (uint16_t)p->nodePort,
            .cluster_ips = cluster_ips(a, &svc->spec),
            .external_ips = strings(a, &svc->spec.externalIPs),
            .load_balancer_ips = load_balancer_ips(a, svc),
            .affinity_seconds = affinity,
            .internal_local = str_eq(svc->spec.internalTrafficPolicy, "Local"),
            .external_local = str_eq(svc->spec.externalTrafficPolicy, "Local"),
            .endpoints = eps.items,
            .endpoints_len = eps.len,
        };
    }
    return out;
}
