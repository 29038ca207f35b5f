/* Services. Upstream: ValidateService in pkg/apis/core/validation. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

static void validate_port(const struct corev1_ServicePort *p, bool named, bool is_headless, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (named && str_empty(p->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    else if (!str_empty(p->name)) {
        name_dns1123_label(errs->arena, p->name, &msgs);
        field_invalid_each(errs, FIELD(at, "name"), p->name, &msgs);
    }
    if (p->port < 1 || p->port > 65535) field_invalid_int(errs, FIELD(at, "port"), p->port, "must be between 1 and 65535, inclusive");
    if (str_empty(p->protocol)) field_required(errs, FIELD(at, "protocol"), "%s", "");
    else if (!str_in(p->protocol, protocols)) field_not_supported(errs, FIELD(at, "protocol"), p->protocol, protocols);
    msgs = (struct string_list){0};
    if (p->targetPort.kind == INTSTR_STRING) {
        name_port(errs->arena, str_or(p->targetPort.s, ""), &msgs);
        field_invalid_each(errs, FIELD(at, "targetPort"), p->targetPort.s, &msgs);
    } else if (p->targetPort.i < 1 || p->targetPort.i > 65535) field_invalid_int(errs, FIELD(at, "targetPort"), p->targetPort.i, "must be between 1 and 65535, inclusive");
    (void)is_headless;
    if (p->appProtocol) {
        msgs = (struct string_list){0};
        name_qualified(errs->arena, p->appProtocol, &msgs);
        field_invalid_each(errs, FIELD(at, "appProtocol"), p->appProtocol, &msgs);
    }
}

static void validate_ports(const struct corev1_ServiceSpec *s, const struct field_path *at, struct field_errors *errs) {
    bool headless = str_eq(s->clusterIP, "None");
    if (!s->ports.len && !headless && !str_eq(s->type, "ExternalName")) field_required(errs, FIELD(at, "ports"), "%s", "");
    if (str_eq(s->type, "LoadBalancer"))
        for (size_t i = 0; i < s->ports.len; i++)
            if (s->ports.items[i].port == 10250) field_invalid_int(errs, FIELD_INDEX(FIELD(at, "ports"), i), 10250, "may not expose port 10250 externally since it is used by kubelet");
    for (size_t i = 0; i < s->ports.len; i++) {
        const struct corev1_ServicePort *p = &s->ports.items[i];
        const struct field_path *pp = FIELD_INDEX(FIELD(at, "ports"), i);
        validate_port(p, s->ports.len > 1, headless, pp, errs);
        for (size_t j = 0; j < i; j++)
            if (!str_empty(p->name) && str_eq(s->ports.items[j].name, p->name)) {
                field_duplicate(errs, FIELD(pp, "name"), p->name);
                break;
            }
        for (size_t j = 0; j < i; j++)
            if (s->ports.items[j].port == p->port && str_eq(s->ports.items[j].protocol, p->protocol)) {
                struct corev1_ServicePort key = {.protocol = p->protocol, .port = p->port};
                field_duplicate_raw(errs, pp, object_json_text(errs->arena, &corev1_ServicePort_desc, &key));
                break;
            }
        bool external = str_eq(s->type, "NodePort") || str_eq(s->type, "LoadBalancer");
        if (p->nodePort && !external) field_forbidden(errs, FIELD(pp, "nodePort"), "may not be used when `type` is '%s'", s->type);
    }
}

static void validate_affinity(const struct corev1_ServiceSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const kinds[] = {"ClientIP", "None", NULL};
    if (str_empty(s->sessionAffinity)) field_required(errs, FIELD(at, "sessionAffinity"), "%s", "");
    else if (!str_in(s->sessionAffinity, kinds)) field_not_supported(errs, FIELD(at, "sessionAffinity"), s->sessionAffinity, kinds);
    if (!str_eq(s->sessionAffinity, "ClientIP") || !s->sessionAffinityConfig || !s->sessionAffinityConfig->clientIP) return;
    int32_t t = s->sessionAffinityConfig->clientIP->timeoutSeconds.value;
    if (t <= 0 || t > 86400) field_invalid_int(errs, FIELD(FIELD(FIELD(at, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds"), t, "must be greater than 0 and less than 86400");
}

static void validate_cluster_ips(const struct corev1_ServiceSpec *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *ips = FIELD(at, "clusterIPs");
    if (str_eq(s->type, "ExternalName")) {
        if (s->clusterIPs.len) field_forbidden(errs, ips, "may not be set for ExternalName services");
        return;
    }
    if (s->clusterIPs.len && !str_eq(s->clusterIPs.items[0], s->clusterIP)) {
        struct buf all = BUF_INIT;
        for (size_t i = 0; i < s->clusterIPs.len; i++) buf_printf(&all, "%s\"%s\"", i ? "," : "[", s->clusterIPs.items[i]);
        buf_append_char(&all, ']');
        field_invalid_raw(errs, ips, arena_strdup(errs->arena, all.data), "first value must match `clusterIP`");
        buf_release(&all);
        return;
    }
    for (size_t i = 0; i < s->clusterIPs.len; i++) {
        struct string_list msgs = {0};
        if (i == 0 && str_eq(s->clusterIPs.items[i], "None")) continue;
        name_ip(errs->arena, s->clusterIPs.items[i], &msgs);
        field_invalid_each(errs, FIELD_INDEX(ips, i), s->clusterIPs.items[i], &msgs);
    }
}

static void validate_external(const struct corev1_ServiceSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"Cluster", "Local", NULL};
    bool external = str_eq(s->type, "NodePort") || str_eq(s->type, "LoadBalancer") || (str_eq(s->type, "ClusterIP") && s->externalIPs.len);
    if (!external && !str_empty(s->externalTrafficPolicy))
        field_invalid(errs, FIELD(at, "externalTrafficPolicy"), s->externalTrafficPolicy, "may only be set for externally-accessible services");
    else if (external && str_empty(s->externalTrafficPolicy)) field_required(errs, FIELD(at, "externalTrafficPolicy"), "%s", "");
    else if (external && !str_in(s->externalTrafficPolicy, policies)) field_not_supported(errs, FIELD(at, "externalTrafficPolicy"), s->externalTrafficPolicy, policies);
    if (s->internalTrafficPolicy && !str_in(s->internalTrafficPolicy, policies)) field_not_supported(errs, FIELD(at, "internalTrafficPolicy"), s->internalTrafficPolicy, policies);
    bool local = str_eq(s->type, "LoadBalancer") && str_eq(s->externalTrafficPolicy, "Local");
    if (s->healthCheckNodePort && !local)
        field_invalid_int(errs, FIELD(at, "healthCheckNodePort"), s->healthCheckNodePort, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    for (size_t i = 0; i < s->externalIPs.len; i++) {
        struct string_list msgs = {0};
        name_ip(errs->arena, s->externalIPs.items[i], &msgs);
        field_invalid_each(errs, FIELD_INDEX(FIELD(at, "externalIPs"), i), s->externalIPs.items[i], &msgs);
    }
    if (s->loadBalancerSourceRanges.len) {
        if (!str_eq(s->type, "LoadBalancer")) field_forbidden(errs, FIELD(at, "LoadBalancerSourceRanges"), "may only be used when `type` is 'LoadBalancer'");
        for (size_t i = 0; i < s->loadBalancerSourceRanges.len; i++)
            if (!name_is_cidr(s->loadBalancerSourceRanges.items[i]))
                field_invalid(errs, FIELD_INDEX(FIELD(at, "LoadBalancerSourceRanges"), i), s->loadBalancerSourceRanges.items[i], "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    }
    if (s->allocateLoadBalancerNodePorts.has && !str_eq(s->type, "LoadBalancer")) field_forbidden(errs, FIELD(at, "allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'");
    if (s->loadBalancerClass && !str_eq(s->type, "LoadBalancer")) field_forbidden(errs, FIELD(at, "loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'");
}

void validate_service(const void *obj, struct field_errors *errs) {
    static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
    const struct corev1_ServiceSpec *s = &((const struct corev1_Service *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    if (str_eq(s->type, "LoadBalancer") && str_eq(s->clusterIP, "None"))
        field_invalid_raw(errs, FIELD_INDEX(FIELD(at, "clusterIPs"), 0), "\"None\"", "may not be set to 'None' for LoadBalancer services");
    if (str_eq(s->type, "NodePort") && str_eq(s->clusterIP, "None"))
        field_invalid_raw(errs, FIELD_INDEX(FIELD(at, "clusterIPs"), 0), "\"None\"", "may not be set to 'None' for NodePort services");
    if (str_eq(s->type, "ExternalName")) {
        struct string_list msgs = {0};
        const char *name = str_or(s->externalName, "");
        size_t len = strlen(name);
        if (!*name) field_required(errs, FIELD(at, "externalName"), "%s", "");
        else {
            name_dns1123_subdomain(errs->arena, name[len - 1] == '.' ? arena_strndup(errs->arena, name, len - 1) : name, &msgs);
            field_invalid_each(errs, FIELD(at, "externalName"), name, &msgs);
        }
    }
    validate_ports(s, at, errs);
    validate_labels(&s->selector, FIELD(at, "selector"), errs);
    validate_affinity(s, at, errs);
    if (str_empty(s->type)) field_required(errs, FIELD(at, "type"), "%s", "");
    else if (!str_in(s->type, types)) field_not_supported(errs, FIELD(at, "type"), s->type, types);
    validate_cluster_ips(s, at, errs);
    validate_external(s, at, errs);
}

void validate_service_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Service *s = obj, *old = old_obj;
    bool had = !str_eq(old->spec.type, "ExternalName"), has = !str_eq(s->spec.type, "ExternalName");
    if (had && has && !str_empty(old->spec.clusterIP) && !str_eq(s->spec.clusterIP, old->spec.clusterIP)) {
        struct buf all = BUF_INIT;
        for (size_t i = 0; i < s->spec.clusterIPs.len; i++) buf_printf(&all, "%s\"%s\"", i ? "," : "[", s->spec.clusterIPs.items[i]);
        buf_append_str(&all, s->spec.clusterIPs.len ? "]" : "null");
        field_invalid_raw(errs, FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "clusterIPs"), 0), arena_strdup(errs->arena, all.data), "may not change once set");
        buf_release(&all);
    }
    validate_service(obj, errs);
}
