/* Services. Upstream: validateService and its parts in pkg/apis/core/validation. Tests: tests/unit/test_validation_service.c. */
#include <arpa/inet.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

enum { AFFINITY_SECONDS_MAX = 86400 };

static bool is_type(const struct corev1_Service *s, const char *type) { return str_eq(s->spec.type, type); }
static bool is_headless(const struct corev1_Service *s) { return s->spec.clusterIPs.len == 1 && str_eq(s->spec.clusterIPs.items[0], "None"); }
static bool externally_accessible(const struct corev1_Service *s) { return is_type(s, "LoadBalancer") || is_type(s, "NodePort") || (is_type(s, "ClusterIP") && s->spec.externalIPs.len); }
static bool needs_health_check(const struct corev1_Service *s) { return is_type(s, "LoadBalancer") && str_eq(s->spec.externalTrafficPolicy, "Local"); }

static void list_invalid(const struct string_list *list, const char *text, const struct field_path *at, struct field_errors *errs) {
    field_invalid_raw(errs, at, string_list_json_text(errs->arena, list), "%s", text);
}

/* ---- ports ---- */

static void target_port(const struct int_or_string *v, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (v->kind != INTSTR_STRING) {
        validate_port_number(v->i, at, errs);
        return;
    }
    name_port(errs->arena, str_or(v->s, ""), &msgs);
    field_invalid_each(errs, at, v->s, &msgs);
}

static void service_port(const struct corev1_ServicePort_list *ports, size_t i, const struct field_path *at, struct field_errors *errs) {
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const struct corev1_ServicePort *p = &ports->items[i];
    bool duplicate = false;
    for (size_t j = 0; j < i; j++) duplicate |= str_eq(ports->items[j].name, p->name);
    if (ports->len > 1 && str_empty(p->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    else if (!str_empty(p->name)) {
        validate_dns1123_label(p->name, FIELD(at, "name"), errs);
        if (duplicate) field_duplicate(errs, FIELD(at, "name"), p->name);
    }
    validate_port_number(p->port, FIELD(at, "port"), errs);
    if (str_empty(p->protocol)) field_required(errs, FIELD(at, "protocol"), "%s", "");
    else validate_enum(p->protocol, protocols, FIELD(at, "protocol"), errs);
    target_port(&p->targetPort, FIELD(at, "targetPort"), errs);
    if (!p->appProtocol) return;
    struct string_list msgs = {0};
    name_qualified(errs->arena, p->appProtocol, &msgs);
    field_invalid_each(errs, FIELD(at, "appProtocol"), p->appProtocol, &msgs);
}

static void ports_together(const struct corev1_Service *s, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_ServicePort_list *ports = &s->spec.ports;
    for (size_t i = 0; is_type(s, "ClusterIP") && i < ports->len; i++)
        if (ports->items[i].nodePort) field_forbidden(errs, FIELD(FIELD_INDEX(at, i), "nodePort"), "may not be used when `type` is 'ClusterIP'");
    for (size_t i = 0; i < ports->len; i++)
        for (size_t j = 0; ports->items[i].nodePort && j < i; j++)
            if (ports->items[j].nodePort == ports->items[i].nodePort && str_eq(ports->items[j].protocol, ports->items[i].protocol)) {
                field_duplicate_raw(errs, FIELD(FIELD_INDEX(at, i), "nodePort"), arena_printf(errs->arena, "%d", ports->items[i].nodePort));
                break;
            }
    for (size_t i = 0; i < ports->len; i++)
        for (size_t j = 0; j < i; j++)
            if (ports->items[j].port == ports->items[i].port && str_eq(ports->items[j].protocol, ports->items[i].protocol)) {
                /* upstream prints its internal struct */
                field_duplicate_raw(errs, FIELD_INDEX(at, i), arena_printf(errs->arena, "{\"Name\":\"\",\"Protocol\":%s,\"AppProtocol\":null,\"Port\":%d,\"TargetPort\":0,\"NodePort\":0}",
                                                                           go_quote(errs->arena, ports->items[i].protocol), ports->items[i].port));
                break;
            }
}

/* ---- addresses ---- */

/* An IPv4 address without the zeros that its numbers may begin with: decimal all the same. */
static const char *without_leading_zeros(struct arena *a, const char *ip) {
    char *out = arena_alloc(a, strlen(ip) + 1), *to = out;
    for (const char *p = ip; *p; p++)
        if (*p != '0' || (p > ip && p[-1] != '.' && to > out && to[-1] != '.') || !(p[1] >= '0' && p[1] <= '9')) *to++ = *p;
    *to = 0;
    return out;
}

void validate_endpoint_ip(const char *ip, const struct field_path *at, struct field_errors *errs) {
    struct in_addr four;
    struct in6_addr six;
    bool is4 = inet_pton(AF_INET, strchr(str_or(ip, ""), ':') ? "" : without_leading_zeros(errs->arena, str_or(ip, "")), &four) == 1, is6 = !is4 && inet_pton(AF_INET6, str_or(ip, ""), &six) == 1;
    uint32_t a = is4 ? ntohl(four.s_addr) : 0;
    if (!is4 && !is6) {
        field_invalid(errs, at, ip, "must be a valid IP address");
        return;
    }
    if (is4 ? a == 0 : IN6_IS_ADDR_UNSPECIFIED(&six)) field_invalid(errs, at, ip, "may not be unspecified (%s)", ip);
    if (is4 ? a >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&six)) field_invalid(errs, at, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    if (is4 ? a >> 16 == 0xa9fe : IN6_IS_ADDR_LINKLOCAL(&six)) field_invalid(errs, at, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    if (is4 ? a >> 8 == 0xe00000 : IN6_IS_ADDR_MC_LINKLOCAL(&six)) field_invalid(errs, at, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

static bool is_v6(const char *ip) { return strchr(ip, ':') != NULL; }

static void against_families(const struct corev1_Service *s, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; !is_headless(s) && i < s->spec.clusterIPs.len && i < s->spec.ipFamilies.len; i++) {
        const char *ip = s->spec.clusterIPs.items[i], *family = s->spec.ipFamilies.items[i];
        if (str_eq(family, "IPv4") && is_v6(ip)) field_invalid(errs, FIELD_INDEX(at, i), ip, "expected an IPv4 value as indicated by `ipFamilies[%zu]`", i);
        if (str_eq(family, "IPv6") && !is_v6(ip)) field_invalid(errs, FIELD_INDEX(at, i), ip, "expected an IPv6 value as indicated by `ipFamilies[%zu]`", i);
    }
}

static void families(const struct corev1_Service *s, const struct field_path *spec, struct field_errors *errs) {
    static const char *const known[] = {"IPv4", "IPv6", NULL}, *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack", NULL};
    const struct string_list *list = &s->spec.ipFamilies;
    for (size_t i = 0; i < list->len; i++) {
        bool duplicate = false;
        for (size_t j = 0; j < i; j++) duplicate |= str_eq(list->items[j], list->items[i]);
        validate_enum(list->items[i], known, FIELD_INDEX(FIELD(spec, "ipFamilies"), i), errs);
        if (duplicate) field_duplicate(errs, FIELD_INDEX(FIELD(spec, "ipFamilies"), i), list->items[i]);
    }
    validate_enum(s->spec.ipFamilyPolicy, policies, FIELD(spec, "ipFamilyPolicy"), errs);
}

void validate_service_cluster_ips(const struct corev1_Service *s, const struct corev1_Service *old, struct field_errors *errs) {
    const struct field_path *spec = FIELD(NULL, "spec"), *at = FIELD(spec, "clusterIPs");
    const struct string_list *ips = &s->spec.clusterIPs;
    bool invalid = false;
    if (is_type(s, "ExternalName")) return;
    if (!str_empty(s->spec.clusterIP)) {
        if (!ips->len) field_required(errs, at, "%s", "");
        else if (!str_eq(ips->items[0], s->spec.clusterIP)) list_invalid(ips, "first value must match `clusterIP`", at, errs);
    } else if (ips->len) list_invalid(ips, "must be empty when `clusterIP` is not specified", at, errs);
    families(s, spec, errs);
    for (size_t i = 0; i < ips->len; i++) {
        size_t before = errs->len;
        if (i == 0 && str_eq(ips->items[0], "None")) {
            if (ips->len == 1) continue;
            list_invalid(ips, "'None' must be the first and only value", at, errs);
        } else if (!old || !string_list_has(&old->spec.clusterIPs, ips->items[i])) validate_ip(ips->items[i], FIELD_INDEX(at, i), errs);
        invalid |= errs->len != before;
    }
    if (ips->len > 2) list_invalid(ips, "may only hold up to 2 values", at, errs);
    if (invalid) return;
    bool four = false, six = false;
    for (size_t i = 0; i < ips->len; i++) *(is_v6(ips->items[i]) ? &six : &four) = true;
    if (ips->len > 1 && !(four && six)) list_invalid(ips, "may specify no more than one IP for each IP family", at, errs);
    against_families(s, at, errs);
}

static void external_ips(const struct corev1_Service *s, const struct corev1_Service *old, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < s->spec.externalIPs.len; i++) {
        const char *ip = s->spec.externalIPs.items[i];
        size_t before = errs->len;
        if (!old || !string_list_has(&old->spec.externalIPs, ip)) validate_ip(ip, FIELD_INDEX(at, i), errs);
        if (errs->len == before) validate_endpoint_ip(ip, FIELD_INDEX(at, i), errs);
    }
}

static const char *trimmed(struct arena *a, const char *value) {
    static const char blank[] = " \t\r\n\v\f";
    value = str_or(value, "") + strspn(str_or(value, ""), blank);
    size_t len = strlen(value);
    while (len && strchr(blank, value[len - 1])) len--;
    return arena_strndup(a, value, len);
}

/* Ranges may stand between blanks; one that was there before may stay as it is. */
static void source_range(const char *value, const struct string_list *before, const struct field_path *at, struct field_errors *errs) {
    value = trimmed(errs->arena, value);
    for (size_t i = 0; before && i < before->len; i++)
        if (str_eq(trimmed(errs->arena, before->items[i]), value)) return;
    validate_cidr(value, at, errs);
}

static void source_ranges(const struct corev1_Service *s, const struct corev1_Service *old, struct field_errors *errs) {
    static const char key[] = "service.beta.kubernetes.io/load-balancer-source-ranges";
    const char *only = "may only be used when `type` is 'LoadBalancer'", *text = string_map_get(&s->metadata.annotations, key);
    const struct string_list *list = &s->spec.loadBalancerSourceRanges;
    if (list->len) {
        const struct field_path *at = FIELD(FIELD(NULL, "spec"), "LoadBalancerSourceRanges");
        if (!is_type(s, "LoadBalancer")) field_forbidden(errs, at, "%s", only);
        for (size_t i = 0; i < list->len; i++) source_range(list->items[i], old ? &old->spec.loadBalancerSourceRanges : NULL, FIELD_INDEX(at, i), errs);
    } else if (string_map_has(&s->metadata.annotations, key)) {
        const struct field_path *at = FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), key);
        if (!is_type(s, "LoadBalancer")) field_forbidden(errs, at, "%s", only);
        if (old && str_eq(string_map_get(&old->metadata.annotations, key), text)) return;
        if (!*trimmed(errs->arena, text)) return;
        for (const char *p = text; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) validate_cidr(trimmed(errs->arena, arena_strndup(errs->arena, p, strcspn(p, ","))), at, errs);
    }
}

/* ---- the rest of the spec ---- */

static void by_type(const struct corev1_Service *s, const struct field_path *at, struct field_errors *errs) {
    static const char no[] = "may not be set for ExternalName services";
    const char *name = str_or(s->spec.externalName, "");
    size_t len = strlen(name);
    if ((is_type(s, "LoadBalancer") || is_type(s, "NodePort")) && is_headless(s))
        field_invalid(errs, FIELD_INDEX(FIELD(at, "clusterIPs"), 0), "None", "may not be set to 'None' for %s services", s->spec.type);
    if (!is_type(s, "ExternalName")) return;
    if (s->spec.clusterIPs.len) field_forbidden(errs, FIELD(at, "clusterIPs"), "%s", no);
    if (s->spec.ipFamilies.len) field_forbidden(errs, FIELD(at, "ipFamilies"), "%s", no);
    if (s->spec.ipFamilyPolicy) field_forbidden(errs, FIELD(at, "ipFamilyPolicy"), "%s", no);
    if (len && name[len - 1] == '.') name = arena_strndup(errs->arena, name, --len);
    if (len) validate_dns1123_subdomain(name, FIELD(at, "externalName"), errs);
    else field_required(errs, FIELD(at, "externalName"), "%s", "");
}

static void session_affinity(const struct corev1_ServiceSpec *s, const struct field_path *spec, struct field_errors *errs) {
    static const char *const kinds[] = {"ClientIP", "None", NULL};
    static const char when[] = "when session affinity type is ClientIP";
    const struct corev1_SessionAffinityConfig *c = s->sessionAffinityConfig;
    const struct field_path *at = FIELD(spec, "sessionAffinityConfig"), *client = FIELD(at, "clientIP");
    if (str_empty(s->sessionAffinity)) field_required(errs, FIELD(spec, "sessionAffinity"), "%s", "");
    else validate_enum(s->sessionAffinity, kinds, FIELD(spec, "sessionAffinity"), errs);
    if (str_eq(s->sessionAffinity, "None") && c) field_forbidden(errs, at, "must not be set when session affinity is None");
    if (!str_eq(s->sessionAffinity, "ClientIP")) return;
    if (!c) field_required(errs, at, "%s", when);
    else if (!c->clientIP) field_required(errs, client, "%s", when);
    else if (!c->clientIP->timeoutSeconds.has) field_required(errs, FIELD(client, "timeoutSeconds"), "%s", when);
    else if (c->clientIP->timeoutSeconds.value <= 0 || c->clientIP->timeoutSeconds.value > AFFINITY_SECONDS_MAX)
        field_invalid_int(errs, FIELD(client, "timeoutSeconds"), c->clientIP->timeoutSeconds.value, "must be greater than 0 and less than %d", AFFINITY_SECONDS_MAX);
}

static void load_balancer_class(const struct corev1_Service *s, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (!s->spec.loadBalancerClass) return;
    if (!is_type(s, "LoadBalancer")) {
        field_forbidden(errs, at, "may only be used when `type` is 'LoadBalancer'");
        return;
    }
    name_qualified(errs->arena, s->spec.loadBalancerClass, &msgs);
    field_invalid_each(errs, at, s->spec.loadBalancerClass, &msgs);
}

static void traffic(const struct corev1_Service *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"Cluster", "Local", NULL}, *const near[] = {"PreferClose", "PreferSameZone", "PreferSameNode", NULL};
    const struct field_path *external = FIELD(at, "externalTrafficPolicy"), *health = FIELD(at, "healthCheckNodePort");
    if (!externally_accessible(s)) {
        if (!str_empty(s->spec.externalTrafficPolicy)) field_invalid(errs, external, s->spec.externalTrafficPolicy, "may only be set for externally-accessible services");
    } else if (str_empty(s->spec.externalTrafficPolicy)) field_required(errs, external, "%s", "");
    else validate_enum(s->spec.externalTrafficPolicy, policies, external, errs);
    if (!needs_health_check(s)) {
        if (s->spec.healthCheckNodePort) field_invalid_int(errs, health, s->spec.healthCheckNodePort, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    } else if (!s->spec.healthCheckNodePort) field_required(errs, health, "%s", "");
    else validate_port_number(s->spec.healthCheckNodePort, health, errs);
    if (!s->spec.internalTrafficPolicy && (is_type(s, "NodePort") || is_type(s, "LoadBalancer") || is_type(s, "ClusterIP"))) field_required(errs, FIELD(at, "internalTrafficPolicy"), "%s", "");
    validate_enum(s->spec.internalTrafficPolicy, policies, FIELD(at, "internalTrafficPolicy"), errs);
    validate_enum(s->spec.trafficDistribution, near, FIELD(at, "trafficDistribution"), errs);
}

static void topology_annotations(const struct string_map *annotations, struct field_errors *errs) {
    static const char hints[] = "service.kubernetes.io/topology-aware-hints", mode[] = "service.kubernetes.io/topology-mode";
    if (string_map_has(annotations, hints) && string_map_has(annotations, mode) && !str_eq(string_map_get(annotations, hints), string_map_get(annotations, mode)))
        field_invalid(errs, FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), mode), string_map_get(annotations, mode), "must match annotations[%s] when both are specified", hints);
}

static void whole_service(const struct corev1_Service *s, const struct corev1_Service *old, struct field_errors *errs) {
    static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
    const struct field_path *at = FIELD(NULL, "spec");
    topology_annotations(&s->metadata.annotations, errs);
    if (!s->spec.ports.len && !is_headless(s) && !is_type(s, "ExternalName")) field_required(errs, FIELD(at, "ports"), "%s", "");
    by_type(s, at, errs);
    for (size_t i = 0; i < s->spec.ports.len; i++) service_port(&s->spec.ports, i, FIELD_INDEX(FIELD(at, "ports"), i), errs);
    validate_labels(&s->spec.selector, FIELD(at, "selector"), errs);
    session_affinity(&s->spec, at, errs);
    validate_service_cluster_ips(s, old, errs);
    external_ips(s, old, FIELD(at, "externalIPs"), errs);
    if (str_empty(s->spec.type)) field_required(errs, FIELD(at, "type"), "%s", "");
    else validate_enum(s->spec.type, types, FIELD(at, "type"), errs);
    ports_together(s, FIELD(at, "ports"), errs);
    source_ranges(s, old, errs);
    const struct opt_bool *allocate = &s->spec.allocateLoadBalancerNodePorts;
    if (allocate->has && !is_type(s, "LoadBalancer")) field_forbidden(errs, FIELD(at, "allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'");
    if (!allocate->has && is_type(s, "LoadBalancer")) field_required(errs, FIELD(NULL, "allocateLoadBalancerNodePorts"), "%s", "");
    load_balancer_class(s, FIELD(at, "loadBalancerClass"), errs);
    traffic(s, at, errs);
}

void validate_service(const void *obj, struct field_errors *errs) { whole_service(obj, NULL, errs); }

/* ---- updates ---- */

static void cluster_ips_update(const struct corev1_Service *s, const struct corev1_Service *old, struct field_errors *errs) {
    const struct string_list *now = &s->spec.clusterIPs, *before = &old->spec.clusterIPs;
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "clusterIPs");
    static const char fixed[] = "may not change once set";
    if (is_type(s, "ExternalName") || is_type(old, "ExternalName") || (is_headless(s) && is_headless(old))) return;
    if (now->len == before->len) {
        for (size_t i = 0; i < now->len; i++)
            if (!str_eq(now->items[i], before->items[i])) list_invalid(now, fixed, FIELD_INDEX(at, i), errs);
        return;
    }
    if (before->len > now->len && !now->len) list_invalid(now, "primary clusterIP can not be unset", FIELD_INDEX(at, 0), errs);
    if (before->len && now->len && !str_eq(now->items[0], before->items[0])) list_invalid(now, fixed, FIELD_INDEX(at, 0), errs);
    if (before->len > now->len && now->len == 1 && !str_eq(s->spec.ipFamilyPolicy, "SingleStack"))
        field_invalid_raw(errs, FIELD(FIELD(NULL, "spec"), "ipFamilyPolicy"), s->spec.ipFamilyPolicy ? go_quote(errs->arena, s->spec.ipFamilyPolicy) : "null", "must be set to 'SingleStack' when releasing the secondary clusterIP");
}

static void ip_families_update(const struct corev1_Service *s, const struct corev1_Service *old, struct field_errors *errs) {
    const struct string_list *now = &s->spec.ipFamilies, *before = &old->spec.ipFamilies;
    const struct field_path *at = FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "ipFamilies"), 0);
    if (is_type(s, "ExternalName") || is_type(old, "ExternalName") || is_headless(s) || is_headless(old)) return;
    if (now->len == before->len) {
        for (size_t i = 0; i < now->len; i++)
            if (!str_eq(now->items[i], before->items[i])) list_invalid(now, "may not change once set", at, errs);
        return;
    }
    if (before->len > now->len && !s->spec.clusterIPs.len) list_invalid(now, "primary ipFamily can not be unset", at, errs);
    if (before->len && now->len && !str_eq(now->items[0], before->items[0])) list_invalid(&s->spec.clusterIPs, "may not change once set", at, errs);
    if (before->len > now->len && now->len == 1 && !str_eq(s->spec.ipFamilyPolicy, "SingleStack"))
        field_invalid_raw(errs, FIELD(FIELD(NULL, "spec"), "ipFamilyPolicy"), s->spec.ipFamilyPolicy ? go_quote(errs->arena, s->spec.ipFamilyPolicy) : "null", "must be set to 'SingleStack' when releasing the secondary ipFamily");
}

void validate_service_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Service *s = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "spec");
    cluster_ips_update(s, old, errs);
    ip_families_update(s, old, errs);
    if (is_type(s, "LoadBalancer") && is_type(old, "LoadBalancer") && (!s->spec.loadBalancerClass != !old->spec.loadBalancerClass || !str_eq(s->spec.loadBalancerClass, old->spec.loadBalancerClass)))
        field_invalid_raw(errs, FIELD(at, "loadBalancerClass"), s->spec.loadBalancerClass ? go_quote(errs->arena, s->spec.loadBalancerClass) : "null", "may not change once set");
    load_balancer_class(s, FIELD(at, "loadBalancerClass"), errs);
    if (needs_health_check(s) && needs_health_check(old) && s->spec.healthCheckNodePort != old->spec.healthCheckNodePort) field_forbidden(errs, FIELD(at, "healthCheckNodePort"), "field is immutable");
    whole_service(s, old, errs);
}

static void ingress(const struct corev1_LoadBalancerIngress *in, bool old_ip, const struct field_path *at, struct field_errors *errs) {
    static const char *const modes[] = {"Proxy", "VIP", NULL};
    struct string_list msgs = {0};
    if (!str_empty(in->ip) && !old_ip) validate_ip(in->ip, FIELD(at, "ip"), errs);
    if (!in->ipMode) {
        if (!str_empty(in->ip)) field_required(errs, FIELD(at, "ipMode"), "must be specified when `ip` is set");
    } else if (str_empty(in->ip)) field_forbidden(errs, FIELD(at, "ipMode"), "may not be specified when `ip` is not set");
    else validate_enum(in->ipMode, modes, FIELD(at, "ipMode"), errs);
    if (str_empty(in->hostname)) return;
    name_dns1123_subdomain(errs->arena, in->hostname, &msgs);
    field_invalid_each(errs, FIELD(at, "hostname"), in->hostname, &msgs);
    if (name_is_ip(in->hostname)) field_invalid(errs, FIELD(at, "hostname"), in->hostname, "must be a DNS name, not an IP address");
}

void validate_service_status_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Service *s = obj, *old = old_obj;
    const struct field_path *at = FIELD(FIELD(FIELD(NULL, "status"), "loadBalancer"), "ingress");
    const struct corev1_LoadBalancerIngress_list *list = &s->status.loadBalancer.ingress;
    if (!is_type(s, "LoadBalancer") && list->len) {
        field_forbidden(errs, at, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for (size_t i = 0; i < list->len; i++) {
        bool old_ip = false;
        LIST_FOREACH(o, &old->status.loadBalancer.ingress) old_ip |= str_eq(o->ip, list->items[i].ip);
        ingress(&list->items[i], old_ip, FIELD_INDEX(at, i), errs);
    }
}
