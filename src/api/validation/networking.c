/* networking.k8s.io and discovery.k8s.io. Upstream: pkg/apis/networking/validation, pkg/apis/discovery/validation. */
#include <arpa/inet.h>
#include <string.h>
#include "api/validation/groups.h"

enum { CONTROLLER_BYTES_MAX = 250, ADDRESSES_MAX = 100, PORTS_MAX = 20000, ENDPOINTS_MAX = 1000, TOPOLOGY_MAX = 16, HINTS_MAX = 8 };

/* ---- NetworkPolicy ---- */

static void policy_port(const struct networkingv1_NetworkPolicyPort *p, const struct field_path *at, struct field_errors *errs) {
    if (p->protocol && !str_in(p->protocol, ONE_OF("TCP", "UDP", "SCTP"))) field_not_supported(errs, FIELD(at, "protocol"), p->protocol, ONE_OF("TCP", "UDP", "SCTP"));
    if (p->port.kind == INTSTR_INT) {
        struct string_list msgs = {0};
        name_port_number(errs->arena, p->port.i, &msgs);
        for (size_t i = 0; i < msgs.len; i++) field_invalid_int(errs, FIELD(at, "port"), p->port.i, "%s", msgs.items[i]);
        if (!p->endPort.has) return;
        if (p->endPort.value < p->port.i) field_invalid_int(errs, FIELD(at, "endPort"), p->port.i, "must be greater than or equal to `port`");
        msgs = (struct string_list){0};
        name_port_number(errs->arena, p->endPort.value, &msgs);
        for (size_t i = 0; i < msgs.len; i++) field_invalid_int(errs, FIELD(at, "endPort"), p->endPort.value, "%s", msgs.items[i]);
    } else if (p->port.kind == INTSTR_STRING) {
        if (p->endPort.has) field_invalid_int(errs, FIELD(at, "endPort"), p->endPort.value, "may not be specified when `port` is non-numeric");
        CHECK_NAME(errs, FIELD(at, "port"), p->port.s, name_port);
    } else if (p->endPort.has) field_invalid_int(errs, FIELD(at, "endPort"), p->endPort.value, "may not be specified when `port` is not specified");
}

struct cidr { int family; unsigned char bytes[16]; unsigned prefix; };

/* Zeros may lead the numbers of an IPv4 address (ParseCIDRSloppy). */
static bool cidr_parse(struct arena *a, const char *text, struct cidr *ret) {
    const char *slash = strchr(str_or(text, ""), '/');
    uint64_t prefix;
    if (!slash) return false;
    char *ip = arena_strndup(a, text, (size_t)(slash - text));
    if (!strchr(ip, ':')) ip = ip_without_zeros(a, ip);
    if (!name_is_cidr(arena_printf(a, "%s%s", ip, slash)) || !str_to_u64(slash + 1, &prefix)) return false;
    *ret = (struct cidr){.family = strchr(ip, ':') ? AF_INET6 : AF_INET, .prefix = (unsigned)prefix};
    return inet_pton(ret->family, ip, ret->bytes) == 1;
}

static bool cidr_contains(const struct cidr *outer, const struct cidr *inner) {
    if (outer->family != inner->family || outer->prefix >= inner->prefix) return false;
    for (unsigned bit = 0; bit < outer->prefix; bit++)
        if ((outer->bytes[bit / 8] ^ inner->bytes[bit / 8]) & (0x80 >> bit % 8)) return false;
    return true;
}

/* False: what it is cannot be read. `old`: those of the policy before, which may stay as they are. Upstream: IsValidCIDRForLegacyField. */
static bool check_cidr(const char *text, const struct string_list *old, const struct field_path *at, struct cidr *ret, struct field_errors *errs) {
    if (!string_list_has(old, text)) validate_cidr(text, at, errs);
    return cidr_parse(errs->arena, text, ret);
}

static void ip_block(const struct networkingv1_IPBlock *b, const struct string_list *old, const struct field_path *at, struct field_errors *errs) {
    struct cidr outer, inner;
    if (str_empty(b->cidr)) {
        field_required(errs, FIELD(at, "cidr"), "%s", "");
        return;
    }
    if (!check_cidr(b->cidr, old, FIELD(at, "cidr"), &outer, errs)) return;
    for (size_t i = 0; i < b->except.len; i++) {
        const struct field_path *p = FIELD_INDEX(FIELD(at, "except"), i);
        if (check_cidr(b->except.items[i], old, p, &inner, errs) && !cidr_contains(&outer, &inner)) field_invalid(errs, p, b->except.items[i], "must be a strict subset of `cidr`");
    }
}

static void policy_peer(const struct networkingv1_NetworkPolicyPeer *p, const struct string_list *old, const struct field_path *at, struct field_errors *errs) {
    validate_label_selector(p->podSelector, FIELD(at, "podSelector"), errs);
    validate_label_selector(p->namespaceSelector, FIELD(at, "namespaceSelector"), errs);
    if (p->ipBlock) ip_block(p->ipBlock, old, FIELD(at, "ipBlock"), errs);
    int peers = !!p->podSelector + !!p->namespaceSelector + !!p->ipBlock;
    if (peers == 0) field_required(errs, at, "must specify a peer");
    else if (peers > 1 && p->ipBlock) field_forbidden(errs, at, "may not specify both ipBlock and another peer");
}

static void policy_rule(const struct networkingv1_NetworkPolicyPort_list *ports, const struct networkingv1_NetworkPolicyPeer_list *peers, const char *side, const struct string_list *old,
                        const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < ports->len; i++) policy_port(&ports->items[i], FIELD_INDEX(FIELD(at, "ports"), i), errs);
    for (size_t i = 0; i < peers->len; i++) policy_peer(&peers->items[i], old, FIELD_INDEX(FIELD(at, side), i), errs);
}

static void policy_spec(const struct networkingv1_NetworkPolicySpec *s, const struct string_list *old, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    validate_label_selector(&s->podSelector, FIELD(at, "podSelector"), errs);
    for (size_t i = 0; i < s->ingress.len; i++) policy_rule(&s->ingress.items[i].ports, &s->ingress.items[i].from, "from", old, FIELD_INDEX(FIELD(at, "ingress"), i), errs);
    for (size_t i = 0; i < s->egress.len; i++) policy_rule(&s->egress.items[i].ports, &s->egress.items[i].to, "to", old, FIELD_INDEX(FIELD(at, "egress"), i), errs);
    if (s->policyTypes.len > 2) {
        field_invalid_raw(errs, FIELD(at, "policyTypes"), text_of_list(errs->arena, &s->policyTypes), "may not specify more than two policyTypes");
        return;
    }
    for (size_t i = 0; i < s->policyTypes.len; i++) check_supported(errs, FIELD_INDEX(FIELD(at, "policyTypes"), i), s->policyTypes.items[i], ONE_OF("Ingress", "Egress"));
}

void validate_networkpolicy(const void *obj, struct field_errors *errs) { policy_spec(&((const struct networkingv1_NetworkPolicy *)obj)->spec, &(struct string_list){0}, errs); }

static void add_cidrs(struct arena *a, const struct networkingv1_NetworkPolicyPeer_list *peers, struct string_list *ret) {
    LIST_FOREACH(p, peers) {
        if (!p->ipBlock) continue;
        string_list_push(a, ret, p->ipBlock->cidr);
        LIST_FOREACH(except, &p->ipBlock->except) string_list_push(a, ret, *except);
    }
}

void validate_networkpolicy_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct networkingv1_NetworkPolicySpec *old_spec = &((const struct networkingv1_NetworkPolicy *)old_obj)->spec;
    struct string_list old = {0};
    LIST_FOREACH(rule, &old_spec->ingress) add_cidrs(errs->arena, &rule->from, &old);
    LIST_FOREACH(rule, &old_spec->egress) add_cidrs(errs->arena, &rule->to, &old);
    policy_spec(&((const struct networkingv1_NetworkPolicy *)obj)->spec, &old, errs);
}

/* ---- Ingress ---- */

static void object_reference(const char *group, const char *kind, const char *name, const struct field_path *at, struct field_errors *errs) {
    if (group) CHECK_NAME(errs, FIELD(at, "apiGroup"), group, name_dns1123_subdomain);
    require_path_segment(errs, FIELD(at, "kind"), kind);
    require_path_segment(errs, FIELD(at, "name"), name);
}

static void ingress_backend(const struct networkingv1_IngressBackend *b, const struct field_path *at, struct field_errors *errs) {
    if (b->resource && b->service) {
        field_invalid(errs, at, "", "cannot set both resource and service backends");
        return;
    }
    if (b->resource) {
        object_reference(b->resource->apiGroup, b->resource->kind, b->resource->name, FIELD(at, "resource"), errs);
        return;
    }
    if (!b->service) {
        field_invalid(errs, at, "", "resource or service backend is required");
        return;
    }
    const struct field_path *service = FIELD(at, "service"), *port = FIELD(service, "port");
    if (str_empty(b->service->name)) field_required(errs, FIELD(service, "name"), "%s", "");
    else CHECK_NAME(errs, FIELD(service, "name"), b->service->name, name_dns1123_label);
    bool named = !str_empty(b->service->port.name), numbered = b->service->port.number != 0;
    if (named && numbered) field_invalid(errs, at, "", "cannot set both port name & port number");
    else if (named) CHECK_NAME(errs, FIELD(port, "name"), b->service->port.name, name_port);
    else if (numbered) {
        if (b->service->port.number < 1 || b->service->port.number > 65535) field_invalid_int(errs, FIELD(port, "number"), b->service->port.number, "must be between 1 and 65535, inclusive");
    } else field_required(errs, at, "port name or number is required");
}

static void ingress_path(const struct networkingv1_HTTPIngressPath *p, const struct field_path *at, struct field_errors *errs) {
    static const char *const sequences[] = {"//", "/./", "/../", "%2f", "%2F"}, *const suffixes[] = {"/..", "/."};
    const char *path = str_or(p->path, "");
    if (!p->pathType) {
        field_required(errs, FIELD(at, "pathType"), "pathType must be specified");
        return;
    }
    bool strict = str_eq(p->pathType, "Exact") || str_eq(p->pathType, "Prefix");
    if (strict || str_eq(p->pathType, "ImplementationSpecific")) {
        if (path[0] != '/' && (strict || *path)) field_invalid(errs, FIELD(at, "path"), path, "must be an absolute path");
        for (size_t i = 0; strict && i < ARRAY_LEN(sequences); i++)
            if (strstr(path, sequences[i])) field_invalid(errs, FIELD(at, "path"), path, "must not contain '%s'", sequences[i]);
        for (size_t i = 0; strict && i < ARRAY_LEN(suffixes); i++)
            if (str_has_suffix(path, suffixes[i])) field_invalid(errs, FIELD(at, "path"), path, "cannot end with '%s'", suffixes[i]);
    } else field_not_supported(errs, FIELD(at, "pathType"), p->pathType, ONE_OF("Exact", "ImplementationSpecific", "Prefix"));
    ingress_backend(&p->backend, FIELD(at, "backend"), errs);
}

static void host_name(const char *host, const struct field_path *at, struct field_errors *errs) {
    if (strchr(host, '*')) CHECK_NAME(errs, at, host, name_wildcard_dns1123_subdomain);
    else CHECK_NAME(errs, at, host, name_dns1123_subdomain);
}

static void ingress_rules(const struct networkingv1_IngressSpec *s, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < s->rules.len; i++) {
        const struct networkingv1_IngressRule *r = &s->rules.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "rules"), i), *http = FIELD(p, "http");
        if (!str_empty(r->host)) {
            if (name_is_ip(r->host)) field_invalid(errs, FIELD(p, "host"), r->host, "must be a DNS name, not an IP address");
            host_name(r->host, FIELD(p, "host"), errs);
        }
        if (!r->http) continue;
        if (!r->http->paths.len) field_required(errs, FIELD(http, "paths"), "%s", "");
        for (size_t j = 0; j < r->http->paths.len; j++) ingress_path(&r->http->paths.items[j], FIELD_INDEX(FIELD(http, "paths"), j), errs);
    }
}

static void ingress_spec(const struct networkingv1_IngressSpec *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    if (!s->rules.len && !s->defaultBackend) field_invalid_raw(errs, at, s->rules.items ? "[]" : "null", "either `defaultBackend` or `rules` must be specified");
    if (s->defaultBackend) ingress_backend(s->defaultBackend, FIELD(at, "defaultBackend"), errs);
    ingress_rules(s, at, errs);
    for (size_t i = 0; i < s->tls.len; i++) {
        const struct field_path *t = FIELD_INDEX(FIELD(at, "tls"), i);
        for (size_t j = 0; j < s->tls.items[i].hosts.len; j++) host_name(str_or(s->tls.items[i].hosts.items[j], ""), FIELD_INDEX(FIELD(t, "hosts"), j), errs);
        if (!str_empty(s->tls.items[i].secretName)) CHECK_NAME(errs, FIELD(t, "secretName"), s->tls.items[i].secretName, name_dns1123_subdomain);
    }
    if (s->ingressClassName) CHECK_NAME(errs, FIELD(at, "ingressClassName"), s->ingressClassName, name_dns1123_subdomain);
}

void validate_ingress(const void *obj, struct field_errors *errs) {
    const struct networkingv1_Ingress *i = obj;
    const char *annotation = string_map_get(&i->metadata.annotations, "kubernetes.io/ingress.class");
    ingress_spec(&i->spec, errs);
    if (annotation && i->spec.ingressClassName && !str_eq(annotation, i->spec.ingressClassName))
        field_invalid(errs, FIELD(FIELD(NULL, "annotations"), "kubernetes.io/ingress.class"), annotation, "must match `ingressClassName` when both are specified");
}

void validate_ingress_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    ingress_spec(&((const struct networkingv1_Ingress *)obj)->spec, errs);
}

void validate_ingress_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct networkingv1_IngressLoadBalancerIngress_list *list = &((const struct networkingv1_Ingress *)obj)->status.loadBalancer.ingress;
    struct string_list before = {0}; /* may stay as they are. Upstream: IsValidIPForLegacyField */
    LIST_FOREACH(i, &((const struct networkingv1_Ingress *)old)->status.loadBalancer.ingress) string_list_push(errs->arena, &before, i->ip);
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(FIELD(FIELD(FIELD(NULL, "status"), "loadBalancer"), "ingress"), i);
        const char *ip = list->items[i].ip, *host = list->items[i].hostname;
        if (!str_empty(ip) && !string_list_has(&before, ip)) validate_ip(ip, FIELD(at, "ip"), errs);
        if (str_empty(host)) continue;
        CHECK_NAME(errs, FIELD(at, "hostname"), host, name_dns1123_subdomain);
        if (name_is_ip(host)) field_invalid(errs, FIELD(at, "hostname"), host, "must be a DNS name, not an IP address");
    }
}

/* ---- IngressClass ---- */

static void ingressclass_spec(const struct networkingv1_IngressClassSpec *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec"), *controller = FIELD(at, "controller"), *p = FIELD(at, "parameters");
    if (strlen(str_or(s->controller, "")) > CONTROLLER_BYTES_MAX) field_too_long(errs, controller, CONTROLLER_BYTES_MAX);
    validate_domain_prefixed_path(s->controller, controller, errs);
    if (!s->parameters) return;
    object_reference(s->parameters->apiGroup, s->parameters->kind, s->parameters->name, p, errs);
    const char *scope = s->parameters->scope, *ns = s->parameters->namespace;
    if (!scope) field_required(errs, FIELD(p, "scope"), "%s", "");
    else if (str_eq(scope, "Namespace")) {
        if (!ns) field_required(errs, FIELD(p, "namespace"), "`parameters.scope` is set to 'Namespace'");
        else CHECK_NAME(errs, FIELD(p, "namespace"), ns, name_dns1123_label);
    } else if (!str_eq(scope, "Cluster")) field_not_supported(errs, FIELD(p, "scope"), scope, ONE_OF("Cluster", "Namespace"));
    else if (ns) field_forbidden(errs, FIELD(p, "namespace"), "`parameters.scope` is set to 'Cluster'");
}

void validate_ingressclass(const void *obj, struct field_errors *errs) { ingressclass_spec(&((const struct networkingv1_IngressClass *)obj)->spec, errs); }

void validate_ingressclass_update(const void *obj, const void *old, struct field_errors *errs) {
    check_immutable_string(errs, FIELD(FIELD(NULL, "spec"), "controller"), ((const struct networkingv1_IngressClass *)obj)->spec.controller, ((const struct networkingv1_IngressClass *)old)->spec.controller);
    validate_ingressclass(obj, errs);
}

/* ---- IPAddress, ServiceCIDR ---- */

void validate_ipaddress(const void *obj, struct field_errors *errs) {
    const struct networkingv1_ParentReference *r = ((const struct networkingv1_IPAddress *)obj)->spec.parentRef;
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "parentRef");
    if (!r) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (!str_empty(r->group)) CHECK_NAME(errs, FIELD(at, "group"), r->group, name_dns1123_subdomain);
    require_path_segment(errs, FIELD(at, "resource"), r->resource);
    require_path_segment(errs, FIELD(at, "name"), r->name);
    if (!str_empty(r->namespace)) check_path_segment(errs, FIELD(at, "namespace"), r->namespace);
}

void validate_ipaddress_update(const void *obj, const void *old, struct field_errors *errs) {
    const struct networkingv1_ParentReference *r = ((const struct networkingv1_IPAddress *)obj)->spec.parentRef, *o = ((const struct networkingv1_IPAddress *)old)->spec.parentRef;
    validate_ipaddress(obj, errs);
    bool equal = r && o ? object_equal(&networkingv1_ParentReference_desc, r, o) : r == o;
    validate_immutable(equal, r ? text_of_go(errs->arena, &networkingv1_ParentReference_desc, r) : "null", FIELD(FIELD(NULL, "spec"), "parentRef"), errs);
}

static void servicecidr_spec(const struct networkingv1_ServiceCIDRSpec *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "cidrs");
    struct cidr a, b;
    if (!s->cidrs.len) field_required(errs, at, "at least one CIDR required");
    else if (s->cidrs.len > 2) field_invalid_raw(errs, at, text_of_go(errs->arena, &networkingv1_ServiceCIDRSpec_desc, s), "may only hold up to 2 values");
    else {
        for (size_t i = 0; i < s->cidrs.len; i++) check_cidr_strict(errs, FIELD_INDEX(at, i), s->cidrs.items[i]);
        if (s->cidrs.len == 2 && cidr_parse(errs->arena, s->cidrs.items[0], &a) && cidr_parse(errs->arena, s->cidrs.items[1], &b) && a.family == b.family)
            field_invalid_raw(errs, at, text_of_list(errs->arena, &s->cidrs), "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    }
}

void validate_servicecidr(const void *obj, struct field_errors *errs) { servicecidr_spec(&((const struct networkingv1_ServiceCIDR *)obj)->spec, errs); }

void validate_servicecidr_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct networkingv1_ServiceCIDRSpec *s = &((const struct networkingv1_ServiceCIDR *)obj)->spec, *old = &((const struct networkingv1_ServiceCIDR *)old_obj)->spec;
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "cidrs");
    if (s->cidrs.len == old->cidrs.len) {
        for (size_t i = 0; i < s->cidrs.len; i++)
            if (!str_eq(s->cidrs.items[i], old->cidrs.items[i])) field_invalid(errs, FIELD_INDEX(at, i), s->cidrs.items[i], "field is immutable");
    } else if (old->cidrs.len == 1 && s->cidrs.len == 2) {
        if (!str_eq(s->cidrs.items[0], old->cidrs.items[0])) field_invalid(errs, FIELD_INDEX(at, 0), s->cidrs.items[0], "field is immutable");
        servicecidr_spec(s, errs);
    } else field_invalid_raw(errs, at, text_of_list(errs->arena, &s->cidrs), "field is immutable");
}

/* ---- EndpointSlice ---- */

/* core's ValidateEndpointIP: addresses that no endpoint can have. */
static void special_address(const char *ip, const struct field_path *at, struct field_errors *errs) {
    unsigned char b[16] = {0};
    bool six = strchr(ip, ':') != NULL;
    if (inet_pton(six ? AF_INET6 : AF_INET, ip, b) != 1) return;
    static const unsigned char zero[16], one[16] = {[15] = 1};
    if (memcmp(b, zero, six ? 16 : 4) == 0) field_invalid(errs, at, ip, "may not be unspecified (%s)", ip);
    if (six ? memcmp(b, one, 16) == 0 : b[0] == 127) field_invalid(errs, at, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    if (six ? b[0] == 0xfe && (b[1] & 0xc0) == 0x80 : b[0] == 169 && b[1] == 254) field_invalid(errs, at, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    if (six ? b[0] == 0xff && (b[1] & 0x0f) == 2 : b[0] == 224 && b[1] == 0 && b[2] == 0) field_invalid(errs, at, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

/* IsFullyQualifiedDomainName */
static void fqdn(const char *v, const struct field_path *at, struct field_errors *errs) {
    size_t len = strlen(v);
    if (!len) {
        field_required(errs, at, "%s", "");
        return;
    }
    if (v[len - 1] == '.') v = arena_strndup(errs->arena, v, len - 1);
    size_t before = errs->len;
    CHECK_NAME(errs, at, v, name_dns1123_subdomain);
    if (errs->len == before && !strchr(v, '.')) field_invalid(errs, at, v, "should be a domain with at least two segments separated by dots");
}

static void endpoint_address(const char *type, const char *ip, const struct field_path *all, size_t index, struct field_errors *errs) {
    const struct field_path *at = FIELD_INDEX(all, index);
    if (str_eq(type, "FQDN")) fqdn(ip, at, errs);
    else if (str_eq(type, "IPv4") || str_eq(type, "IPv6")) {
        bool six = str_eq(type, "IPv6");
        size_t before = errs->len;
        if (six) check_ip_strict(errs, at, ip);
        else validate_ip(ip, at, errs);
        if (errs->len > before) return;
        if (name_is_ipv4(ip) == six) field_invalid(errs, all, ip, six ? "must be an IPv6 address" : "must be an IPv4 address");
        special_address(ip, at, errs);
    }
}

static void endpoint_hints(const struct discoveryv1_EndpointHints *h, const struct field_path *at, struct field_errors *errs) {
    struct string_list zones = {0}, nodes = {0};
    const struct field_path *z = FIELD(at, "forZones"), *n = FIELD(at, "forNodes");
    if (h->forZones.len > HINTS_MAX) {
        field_too_many(errs, z, (int64_t)h->forZones.len, HINTS_MAX);
        return;
    }
    for (size_t i = 0; i < h->forZones.len; i++) {
        check_duplicate(errs, FIELD(FIELD_INDEX(z, i), "name"), &zones, h->forZones.items[i].name);
        CHECK_NAME(errs, FIELD(FIELD_INDEX(z, i), "name"), h->forZones.items[i].name, name_label_value);
    }
    if (h->forNodes.len > HINTS_MAX) field_too_many(errs, n, (int64_t)h->forNodes.len, HINTS_MAX);
    else
        for (size_t i = 0; i < h->forNodes.len; i++) {
            check_duplicate(errs, FIELD(FIELD_INDEX(n, i), "name"), &nodes, h->forNodes.items[i].name);
            CHECK_NAME(errs, FIELD(FIELD_INDEX(n, i), "name"), h->forNodes.items[i].name, name_dns1123_subdomain);
        }
}

static void slice_endpoints(const struct discoveryv1_EndpointSlice *s, struct field_errors *errs) {
    const struct field_path *all = FIELD(NULL, "endpoints");
    if (s->endpoints.len > ENDPOINTS_MAX) {
        field_too_many(errs, all, (int64_t)s->endpoints.len, ENDPOINTS_MAX);
        return;
    }
    for (size_t i = 0; i < s->endpoints.len; i++) {
        const struct discoveryv1_Endpoint *e = &s->endpoints.items[i];
        const struct field_path *at = FIELD_INDEX(all, i), *addresses = FIELD(at, "addresses");
        if (!e->addresses.len) field_required(errs, addresses, "must contain at least 1 address");
        else if (e->addresses.len > ADDRESSES_MAX) field_too_many(errs, addresses, (int64_t)e->addresses.len, ADDRESSES_MAX);
        for (size_t j = 0; j < e->addresses.len; j++) endpoint_address(s->addressType, str_or(e->addresses.items[j], ""), addresses, j, errs);
        if (e->nodeName) CHECK_NAME(errs, FIELD(at, "nodeName"), e->nodeName, name_dns1123_subdomain);
        if (e->deprecatedTopology.len > TOPOLOGY_MAX) field_too_many(errs, FIELD(at, "deprecatedTopology"), (int64_t)e->deprecatedTopology.len, TOPOLOGY_MAX);
        validate_labels(&e->deprecatedTopology, FIELD(at, "deprecatedTopology"), errs);
        if (string_map_has(&e->deprecatedTopology, "topology.kubernetes.io/zone")) field_invalid(errs, FIELD_KEY(FIELD(at, "deprecatedTopology"), "topology.kubernetes.io/zone"), string_map_get(&e->deprecatedTopology, "topology.kubernetes.io/zone"), "cannot be set in v1, use zone field instead");
        if (string_map_has(&e->deprecatedTopology, "kubernetes.io/hostname")) field_invalid(errs, FIELD_KEY(FIELD(at, "deprecatedTopology"), "kubernetes.io/hostname"), string_map_get(&e->deprecatedTopology, "kubernetes.io/hostname"), "cannot be set in v1, use nodeName field instead");
        if (e->hostname) CHECK_NAME(errs, FIELD(at, "hostname"), e->hostname, name_dns1123_label);
        if (e->hints) endpoint_hints(e->hints, FIELD(at, "hints"), errs);
    }
}

static void slice_ports(const struct discoveryv1_EndpointSlice *s, struct field_errors *errs) {
    const struct field_path *all = FIELD(NULL, "ports");
    struct string_list names = {0};
    if (s->ports.len > PORTS_MAX) {
        field_too_many(errs, all, (int64_t)s->ports.len, PORTS_MAX);
        return;
    }
    for (size_t i = 0; i < s->ports.len; i++) {
        const struct discoveryv1_EndpointPort *p = &s->ports.items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        if (!str_empty(p->name)) CHECK_NAME(errs, FIELD(at, "name"), p->name, name_dns1123_label);
        check_duplicate(errs, FIELD(at, "name"), &names, p->name);
        if (!p->protocol) field_required(errs, FIELD(at, "protocol"), "%s", "");
        else check_supported(errs, FIELD(at, "protocol"), p->protocol, ONE_OF("SCTP", "TCP", "UDP"));
        if (p->appProtocol) CHECK_NAME(errs, FIELD(at, "appProtocol"), p->appProtocol, name_qualified);
    }
}

/* What was wrong with the endpoints before an update and stays as it is, is let be. */
static void whole_slice(const struct discoveryv1_EndpointSlice *s, const struct discoveryv1_EndpointSlice *old, struct field_errors *errs) {
    if (str_empty(s->addressType)) field_required(errs, FIELD(NULL, "addressType"), "%s", "");
    else check_supported(errs, FIELD(NULL, "addressType"), s->addressType, ONE_OF("FQDN", "IPv4", "IPv6"));
    slice_ports(s, errs);
    struct discoveryv1_EndpointSlice now = {.endpoints = s->endpoints}, before = {.endpoints = old ? old->endpoints : (struct discoveryv1_Endpoint_list){0}};
    if (!old || !object_equal(&discoveryv1_EndpointSlice_desc, &now, &before)) slice_endpoints(s, errs);
}

void validate_endpointslice(const void *obj, struct field_errors *errs) { whole_slice(obj, NULL, errs); }

void validate_endpointslice_update(const void *obj, const void *old, struct field_errors *errs) {
    whole_slice(obj, old, errs);
    check_immutable_string(errs, FIELD(NULL, "addressType"), ((const struct discoveryv1_EndpointSlice *)obj)->addressType, ((const struct discoveryv1_EndpointSlice *)old)->addressType);
}
