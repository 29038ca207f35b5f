/* The Service strategy and its allocations. Upstream: pkg/registry/core/service.
 *
 * Addresses and ports are chosen before anything is validated, as upstream does it, and noted in a token. They are taken, and those of the old object that
 * the new one does not need are given back, in the transaction that writes the Service (allocators.h). */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/groups.h"
#include "api/validation/meta.h"
#include "api/warnings.h"
#include "apiserver/allocators.h"
#include "apiserver/apiserver.h"
#include "apiserver/registry/strategies.h"
#include "base/str.h"

static bool is_type(const struct corev1_Service *s, const char *type) { return str_eq(s->spec.type, type); }
static bool needs_cluster_ip(const struct corev1_Service *s) { return !is_type(s, "ExternalName"); }
static bool needs_node_port(const struct corev1_Service *s) { return is_type(s, "NodePort") || is_type(s, "LoadBalancer"); }
static bool needs_health_port(const struct corev1_Service *s) { return is_type(s, "LoadBalancer") && str_eq(s->spec.externalTrafficPolicy, "Local"); }
static bool allocates_node_ports(const struct corev1_Service *s) {
    return is_type(s, "NodePort") || (is_type(s, "LoadBalancer") && (!s->spec.allocateLoadBalancerNodePorts.has || s->spec.allocateLoadBalancerNodePorts.value));
}
static bool externally_accessible(const struct corev1_Service *s) { return needs_node_port(s) || (is_type(s, "ClusterIP") && s->spec.externalIPs.len); }
static bool headless(const struct corev1_Service *s) { return s->spec.clusterIPs.len > 0 && str_eq(s->spec.clusterIPs.items[0], "None"); }

static bool same_list(const struct string_list *a, const struct string_list *b) {
    if (a->len != b->len) return false;
    for (size_t i = 0; i < a->len; i++)
        if (!str_eq(a->items[i], b->items[i])) return false;
    return true;
}

/* ---- transactions ---- */

struct service_txn {
    struct string_list taken_ips, old_ips; /* old: to be given back */
    struct int32_list taken_ports, old_ports;
    bool dry_run;
    /* While values are chosen: */
    struct store_txn *snapshot;
    struct string_list ranges;
    struct node_ports ports;
};

static void push_port(struct arena *a, struct int32_list *list, int32_t port) { *LIST_PUSH(a, list) = port; }
static bool has_port(const struct int32_list *list, int32_t port) {
    for (size_t i = 0; i < list->len; i++)
        if (list->items[i] == port) return true;
    return false;
}

static void read_node_ports(struct api_request *r, struct store_txn *snapshot, struct node_ports *ret) {
    const struct apiserver_options *o = apiserver_options(r->server);
    node_ports_read(r->arena, snapshot, o->node_port_min, o->node_port_max, ret);
}

static bool in_port_range(const struct node_ports *p, int32_t port) { return port >= p->min && port <= p->max; }

static int transact_ips(struct api_request *r, struct service_txn *t, const struct corev1_Service *s, struct store_txn *snapshot, struct store_op_list *ops) {
    struct env *env = apiserver_env(r->server);
    struct store_view v;
    struct store_op op;
    for (size_t i = 0; i < t->taken_ips.len; i++) {
        struct networkingv1_IPAddress *ip = ip_address_new(r->arena, env, t->taken_ips.items[i], s->metadata.namespace, s->metadata.name);
        op = ip_address_put(r->arena, ip, 0);
        if (store_get(snapshot, op.key, &v)) return TRANSACT_LOST;
        *LIST_PUSH(r->arena, ops) = op;
    }
    for (size_t i = 0; i < t->old_ips.len; i++)
        if (ip_address_remove(r->arena, env, snapshot, t->old_ips.items[i], s->metadata.namespace, s->metadata.name, &op)) *LIST_PUSH(r->arena, ops) = op;
    return 0;
}

static int transact_ports(struct api_request *r, struct service_txn *t, struct store_txn *snapshot, struct store_op_list *ops, struct status *reterr) {
    struct node_ports ports;
    if (!t->taken_ports.len && !t->old_ports.len) return 0;
    read_node_ports(r, snapshot, &ports);
    if (ports.mismatch) return status_internal(reterr, "the provided port range does not match the current port range");
    for (size_t i = 0; i < t->taken_ports.len; i++) {
        bool *taken = &ports.taken[t->taken_ports.items[i] - ports.min];
        if (*taken) return TRANSACT_LOST;
        *taken = true;
    }
    for (size_t i = 0; i < t->old_ports.len; i++)
        if (in_port_range(&ports, t->old_ports.items[i])) ports.taken[t->old_ports.items[i] - ports.min] = false;
    *LIST_PUSH(r->arena, ops) = node_ports_put(r->arena, &ports);
    return 0;
}

static int service_transact(struct api_request *r, void *token, const void *obj, struct store_op_list *ops, struct status *reterr) {
    struct service_txn *t = token;
    struct store_txn *snapshot;
    if (!t->taken_ips.len && !t->old_ips.len && !t->taken_ports.len && !t->old_ports.len) return 0;
    if (store_read_begin(apiserver_store(r->server), &snapshot, reterr) != 0) return -1;
    int result = transact_ips(r, t, obj, snapshot, ops);
    if (result == 0) result = transact_ports(r, t, snapshot, ops, reterr);
    store_read_end(snapshot);
    return result;
}

/* Node ports are one object, which a write at a time can change; addresses are one each. */
static struct fiber_mutex *service_transact_lock(struct api_request *r, void *token) {
    const struct service_txn *t = token;
    return t->taken_ports.len || t->old_ports.len ? apiserver_node_ports_lock(r->server) : NULL;
}

static int invalid(const struct corev1_Service *s, const struct field_errors *errs, struct status *reterr) { return field_errors_status(errs, "", "Service", s->metadata.name, reterr); }

/* ---- values that a client left out ---- */

/* clusterIP and clusterIPs say the same; whichever the client changed is the one that counts. */
static void normalize_cluster_ips(struct arena *a, struct corev1_Service *s, const struct corev1_Service *old) {
    struct corev1_ServiceSpec *p = &s->spec;
    if (!old) {
        if (!str_empty(p->clusterIP) && !p->clusterIPs.len) string_list_push(a, &p->clusterIPs, p->clusterIP);
        return;
    }
    bool same_ip = str_eq(p->clusterIP, old->spec.clusterIP);
    if (old->spec.clusterIPs.len && !p->clusterIPs.len && same_ip) p->clusterIPs = old->spec.clusterIPs;
    if (same_ip || !same_list(&p->clusterIPs, &old->spec.clusterIPs)) return;
    p->clusterIPs = (struct string_list){0};
    if (!str_empty(p->clusterIP)) string_list_push(a, &p->clusterIPs, p->clusterIP);
}

static void patch_node_ports(struct corev1_Service *s, const struct corev1_Service *old, struct arena *a) {
    struct int32_list used = {0};
    LIST_FOREACH(o, &old->spec.ports)
        LIST_FOREACH(p, &s->spec.ports)
            if (o->nodePort && o->nodePort == p->nodePort) push_port(a, &used, o->nodePort);
    LIST_FOREACH(p, &s->spec.ports) {
        int32_t before = 0;
        if (p->nodePort) continue;
        LIST_FOREACH(o, &old->spec.ports)
            if (str_eq(o->name, p->name)) before = o->nodePort;
        if (!has_port(&used, before)) p->nodePort = before;
    }
}

static void patch_allocated(struct arena *a, struct corev1_Service *s, const struct corev1_Service *old) {
    if (needs_cluster_ip(old) && needs_cluster_ip(s)) {
        if (str_empty(s->spec.clusterIP)) s->spec.clusterIP = old->spec.clusterIP;
        if (!s->spec.clusterIPs.len && old->spec.clusterIPs.len) s->spec.clusterIPs = old->spec.clusterIPs;
    }
    if (allocates_node_ports(old) && allocates_node_ports(s)) patch_node_ports(s, old, a);
    if (needs_health_port(old) && needs_health_port(s) && !s->spec.healthCheckNodePort) s->spec.healthCheckNodePort = old->spec.healthCheckNodePort;
}

/* ---- IP families ---- */

/* PreferDualStack as it was before stays as it was, whatever the cluster has become. */
static bool same_prefer_dual_stack(const struct corev1_Service *s, const struct corev1_Service *old) {
    return old && str_eq(s->spec.type, old->spec.type) && str_eq(s->spec.ipFamilyPolicy, "PreferDualStack") && (!old->spec.ipFamilyPolicy || str_eq(old->spec.ipFamilyPolicy, "PreferDualStack")) &&
           same_list(&s->spec.clusterIPs, &old->spec.clusterIPs) && same_list(&s->spec.ipFamilies, &old->spec.ipFamilies);
}

static void fewer_than_before(struct corev1_Service *s, const struct corev1_Service *old, struct field_errors *errs) {
    const struct field_path *policy = FIELD(FIELD(NULL, "spec"), "ipFamilyPolicy");
    struct string_list *ips = &s->spec.clusterIPs, *families = &s->spec.ipFamilies;
    if (str_eq(s->spec.ipFamilyPolicy, "SingleStack")) {
        if (same_list(ips, &old->spec.clusterIPs) && ips->len > 1) ips->len = 1;
        if (same_list(families, &old->spec.ipFamilies) && families->len > 1) families->len = 1;
        return;
    }
    if (ips->len && ips->len < old->spec.clusterIPs.len) field_invalid(errs, policy, s->spec.ipFamilyPolicy, "must be 'SingleStack' to release the secondary cluster IP");
    if (families->len && families->len < old->spec.ipFamilies.len) field_invalid(errs, policy, s->spec.ipFamilyPolicy, "must be 'SingleStack' to release the secondary IP family");
}

static const char *other_family(const char *family) { return str_eq(family, "IPv4") ? "IPv6" : "IPv4"; }

static void families_of_ips(struct api_request *r, struct corev1_Service *s, struct field_errors *errs) {
    for (size_t i = s->spec.ipFamilies.len; i < s->spec.clusterIPs.len && !headless(s); i++) {
        const char *family = ip_family(s->spec.clusterIPs.items[i]);
        if (apiserver_has_family(r->server, family)) string_list_push(r->arena, &s->spec.ipFamilies, family);
        else field_invalid_raw(errs, FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "clusterIPs"), i), string_list_json_text(r->arena, &s->spec.clusterIPs), "%s is not configured on this cluster", family);
    }
}

static void default_families(struct api_request *r, struct corev1_Service *s, struct field_errors *errs) {
    struct string_list *families = &s->spec.ipFamilies;
    const struct field_path *at = FIELD(NULL, "spec");
    bool without_selector = str_eq(s->spec.clusterIP, "None") && !s->spec.selector.len, dual = apiserver_has_family(r->server, "IPv4") && apiserver_has_family(r->server, "IPv6");
    if (!without_selector) {
        if (str_eq(s->spec.ipFamilyPolicy, "RequireDualStack") && !dual) field_invalid(errs, FIELD(at, "ipFamilyPolicy"), s->spec.ipFamilyPolicy, "this cluster is not configured for dual-stack services");
        for (size_t i = 0; i < families->len; i++)
            if (!apiserver_has_family(r->server, families->items[i])) field_invalid(errs, FIELD_INDEX(FIELD(at, "ipFamilies"), i), families->items[i], "not configured on this cluster");
        if (errs->len) return;
    }
    if (!families->len) string_list_push(r->arena, families, ip_family(apiserver_service_range(r->server, 0)));
    if ((without_selector || dual) && families->len < 2 && !str_eq(s->spec.ipFamilyPolicy, "SingleStack")) string_list_push(r->arena, families, other_family(families->items[0]));
}

static int init_families(struct api_request *r, struct corev1_Service *s, const struct corev1_Service *old, struct status *reterr) {
    struct field_errors errs = field_errors_in(r->arena);
    const struct field_path *policy = FIELD(FIELD(NULL, "spec"), "ipFamilyPolicy");
    if (!needs_cluster_ip(s) || same_prefer_dual_stack(s, old)) return 0;
    if (!s->spec.ipFamilyPolicy) {
        if (old && old->spec.ipFamilyPolicy) s->spec.ipFamilyPolicy = old->spec.ipFamilyPolicy;
        else s->spec.ipFamilyPolicy = str_eq(s->spec.clusterIP, "None") && !s->spec.selector.len ? "RequireDualStack" : "SingleStack";
    }
    validate_service_cluster_ips(s, old, &errs);
    if (errs.len) return invalid(s, &errs, reterr);
    if (old) fewer_than_before(s, old, &errs);
    if (str_eq(s->spec.ipFamilyPolicy, "SingleStack")) {
        if (s->spec.clusterIPs.len == 2) field_invalid(&errs, policy, "SingleStack", "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
        if (s->spec.ipFamilies.len == 2) field_invalid(&errs, policy, "SingleStack", "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
    }
    families_of_ips(r, s, &errs);
    if (!errs.len) default_families(r, s, &errs);
    return errs.len ? invalid(s, &errs, reterr) : 0;
}

/* ---- cluster IPs ---- */

/* What upstream's address object, which names the Service as its parent, would be refused for: a Service without a name, or with one that cannot be in a path. NULL: nothing. */
static const char *address_refused(struct api_request *r, const struct corev1_Service *s, const char *ip) {
    struct field_errors errs = field_errors_in(r->arena);
    _cleanup_status_ struct status why = STATUS_INIT;
    validate_ipaddress(ip_address_new(r->arena, apiserver_env(r->server), ip, s->metadata.namespace, s->metadata.name), &errs);
    if (!errs.len) return NULL;
    field_errors_status(&errs, "networking.k8s.io", "IPAddress", ip, &why);
    return arena_strdup(r->arena, status_message(&why));
}

static int refuse_ip(struct api_request *r, const struct corev1_Service *s, const char *ip, const char *why, struct status *reterr) {
    struct field_errors errs = field_errors_in(r->arena);
    field_invalid_raw(&errs, FIELD(FIELD(NULL, "spec"), "clusterIPs"), string_list_json_text(r->arena, &s->spec.clusterIPs), "failed to allocate IP%s%s: %s", *ip ? " " : "", ip, why);
    return invalid(s, &errs, reterr);
}

/* The ith address: the one asked for, or a free one of its family. */
static int take_ip(struct api_request *r, struct corev1_Service *s, size_t i, struct service_txn *t, struct status *reterr) {
    const char *ip = s->spec.clusterIPs.items[i], *family = s->spec.ipFamilies.items[i], *why = NULL;
    if (str_empty(ip)) {
        if (t->dry_run) ip = ip_range_base(r->arena, apiserver_service_range(r->server, str_eq(ip_family(apiserver_service_range(r->server, 0)), family) ? 0 : 1));
        else ip = cluster_ip_next(r->arena, apiserver_env(r->server), t->snapshot, &t->ranges, family);
        if (!ip) return status_internal(reterr, "failed to allocate a serviceIP for Service \"%s\": range is full", str_or(s->metadata.name, ""));
        if (!t->dry_run) why = address_refused(r, s, ip);
        if (why) return refuse_ip(r, s, "", why, reterr);
        s->spec.clusterIPs.items[i] = ip;
        if (i == 0) s->spec.clusterIP = ip;
    } else {
        why = cluster_ip_refused(r->arena, t->snapshot, &t->ranges, ip, false);
        if (!why && !t->dry_run) why = address_refused(r, s, ip);
        if (!why) why = cluster_ip_refused(r->arena, t->snapshot, &t->ranges, ip, !t->dry_run);
        if (why) return refuse_ip(r, s, ip, why, reterr);
    }
    string_list_push(r->arena, &t->taken_ips, ip);
    return 0;
}

/* Addresses for the families from the ith on. */
static int take_ips(struct api_request *r, struct corev1_Service *s, size_t from, struct service_txn *t, struct status *reterr) {
    struct string_list ips = {0};
    if (headless(s)) return 0;
    for (size_t i = 0; i < s->spec.ipFamilies.len; i++) string_list_push(r->arena, &ips, i < s->spec.clusterIPs.len ? s->spec.clusterIPs.items[i] : "");
    s->spec.clusterIPs = ips;
    for (size_t i = from; i < ips.len; i++)
        if (take_ip(r, s, i, t, reterr) != 0) return -1;
    return 0;
}

static void old_ips(struct api_request *r, const struct corev1_Service *old, size_t from, struct service_txn *t) {
    if (!needs_cluster_ip(old) || headless(old)) return;
    for (size_t i = from; i < old->spec.clusterIPs.len; i++) string_list_push(r->arena, &t->old_ips, old->spec.clusterIPs.items[i]);
}

static int update_ips(struct api_request *r, struct corev1_Service *s, const struct corev1_Service *old, struct service_txn *t, struct status *reterr) {
    if (same_prefer_dual_stack(s, old)) return 0;
    if (!needs_cluster_ip(old)) return needs_cluster_ip(s) ? take_ips(r, s, 0, t, reterr) : 0;
    if (headless(old)) return 0;
    if (!needs_cluster_ip(s)) old_ips(r, old, 0, t);
    else if (old->spec.ipFamilies.len == 1 && s->spec.ipFamilies.len == 2) return take_ips(r, s, 1, t, reterr);
    else if (old->spec.ipFamilies.len == 2 && s->spec.ipFamilies.len == 1) old_ips(r, old, 1, t);
    return 0;
}

/* ---- node ports ---- */

static int take_port(struct api_request *r, const struct corev1_Service *s, int32_t port, const struct field_path *at, struct service_txn *t, struct status *reterr) {
    const struct node_ports *p = &t->ports;
    struct field_errors errs = field_errors_in(r->arena);
    if (p->mismatch) field_invalid_int(&errs, at, port, "the provided port range does not match the current port range");
    else if (!in_port_range(p, port)) field_invalid_int(&errs, at, port, "provided port is not in the valid range. The range of valid ports is %d-%d", p->min, p->max);
    else if (p->taken[port - p->min]) field_invalid_int(&errs, at, port, "provided port is already allocated");
    else {
        p->taken[port - p->min] = true;
        push_port(r->arena, &t->taken_ports, port);
        return 0;
    }
    return invalid(s, &errs, reterr);
}

static int next_port(struct api_request *r, struct service_txn *t, int32_t *ret, struct status *reterr) {
    int port = node_ports_next(&t->ports, apiserver_env(r->server));
    if (!port) return status_internal(reterr, "failed to allocate a nodePort: range is full");
    t->ports.taken[port - t->ports.min] = true;
    push_port(r->arena, &t->taken_ports, port);
    *ret = port;
    return 0;
}

/* Ports of one number share a node port, whatever their protocols. */
static int init_node_ports(struct api_request *r, struct corev1_Service *s, struct service_txn *t, struct status *reterr) {
    for (size_t i = 0; i < s->spec.ports.len; i++) {
        struct corev1_ServicePort *p = &s->spec.ports.items[i];
        const struct field_path *at = FIELD(FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "ports"), i), "nodePort");
        int32_t shared = 0, requested = p->nodePort;
        if (!p->nodePort && !allocates_node_ports(s)) continue;
        for (size_t j = 0; j < i && !shared; j++)
            if (s->spec.ports.items[j].port == p->port && s->spec.ports.items[j].nodePort) shared = s->spec.ports.items[j].nodePort;
        for (size_t j = i; j < s->spec.ports.len && !shared && !requested; j++)
            if (s->spec.ports.items[j].port == p->port) requested = s->spec.ports.items[j].nodePort;
        if (shared && (!p->nodePort || p->nodePort == shared)) p->nodePort = shared;
        else if (requested) {
            if (take_port(r, s, requested, at, t, reterr) != 0) return -1;
            p->nodePort = requested;
        } else if (next_port(r, t, &p->nodePort, reterr) != 0) return -1;
    }
    return 0;
}

static bool had_port(const struct corev1_Service *s, int32_t port) {
    LIST_FOREACH(p, &s->spec.ports)
        if (p->nodePort == port) return true;
    return false;
}

static int update_node_ports(struct api_request *r, struct corev1_Service *s, const struct corev1_Service *old, struct service_txn *t, struct status *reterr) {
    for (size_t i = 0; needs_node_port(s) && i < s->spec.ports.len; i++) {
        struct corev1_ServicePort *p = &s->spec.ports.items[i];
        if (!p->nodePort && !allocates_node_ports(s)) continue;
        if (!p->nodePort) {
            if (next_port(r, t, &p->nodePort, reterr) != 0) return -1;
        } else if (!had_port(old, p->nodePort) && !has_port(&t->taken_ports, p->nodePort) &&
                   take_port(r, s, p->nodePort, FIELD(FIELD_INDEX(FIELD(FIELD(NULL, "spec"), "ports"), i), "nodePort"), t, reterr) != 0) return -1;
        for (size_t j = 0; j < i; j++)
            if (s->spec.ports.items[j].nodePort == p->nodePort && str_eq(s->spec.ports.items[j].protocol, p->protocol))
                return status_set(reterr, 500, NULL, "duplicate nodePort: {%s %d}", p->protocol, p->nodePort);
    }
    bool stay = needs_node_port(s);
    LIST_FOREACH(o, &old->spec.ports)
        if (o->nodePort && !(stay && had_port(s, o->nodePort)) && !has_port(&t->old_ports, o->nodePort)) push_port(r->arena, &t->old_ports, o->nodePort);
    return 0;
}

static int take_health_port(struct api_request *r, struct corev1_Service *s, struct service_txn *t, struct status *reterr) {
    int32_t *port = &s->spec.healthCheckNodePort;
    if (!*port) return next_port(r, t, port, reterr);
    struct status why = STATUS_INIT;
    if (take_port(r, s, *port, FIELD(FIELD(NULL, "spec"), "healthCheckNodePort"), t, &why) == 0) return 0;
    const char *text = strstr(status_message(&why), "provided port");
    status_internal(reterr, "failed to allocate requested HealthCheck NodePort %d: %s", *port, text ? text : "");
    status_release(&why);
    return -1;
}

/* ---- the hooks ---- */

static int allocate_new(struct api_request *r, struct corev1_Service *s, struct service_txn *t, struct status *reterr) {
    if (init_families(r, s, NULL, reterr) != 0) return -1;
    if (needs_cluster_ip(s) && take_ips(r, s, 0, t, reterr) != 0) return -1;
    if (needs_node_port(s) && init_node_ports(r, s, t, reterr) != 0) return -1;
    return needs_health_port(s) ? take_health_port(r, s, t, reterr) : 0;
}

static int allocate_update(struct api_request *r, struct corev1_Service *s, const struct corev1_Service *old, struct service_txn *t, struct status *reterr) {
    if (init_families(r, s, old, reterr) != 0 || update_ips(r, s, old, t, reterr) != 0 || update_node_ports(r, s, old, t, reterr) != 0) return -1;
    if (!needs_health_port(old) && needs_health_port(s)) return take_health_port(r, s, t, reterr);
    if (needs_health_port(old) && !needs_health_port(s) && old->spec.healthCheckNodePort) push_port(r->arena, &t->old_ports, old->spec.healthCheckNodePort);
    return 0;
}

static void *service_begin(struct api_request *r, void *obj, const void *old_obj, const struct write_options *o, struct status *reterr) {
    struct corev1_Service *s = obj;
    const struct corev1_Service *old = old_obj;
    struct service_txn *t = ARENA_NEW(r->arena, struct service_txn);
    t->dry_run = o->dry_run;
    if (old) patch_allocated(r->arena, s, old);
    normalize_cluster_ips(r->arena, s, old);
    /* What another server has just given back can be had. */
    if (store_wait_current(apiserver_store(r->server), reterr) != 0 || store_read_begin(apiserver_store(r->server), &t->snapshot, reterr) != 0) return NULL;
    if (needs_cluster_ip(s)) service_ranges_read(r->arena, t->snapshot, &t->ranges);
    if (needs_node_port(s)) read_node_ports(r, t->snapshot, &t->ports);
    int result = old ? allocate_update(r, s, old, t, reterr) : allocate_new(r, s, t, reterr);
    store_read_end(t->snapshot);
    return result == 0 ? t : NULL;
}

static void *service_release(struct api_request *r, const void *obj) {
    const struct corev1_Service *s = obj;
    struct service_txn *t = ARENA_NEW(r->arena, struct service_txn);
    old_ips(r, s, 0, t);
    LIST_FOREACH(p, &s->spec.ports)
        if (p->nodePort && !has_port(&t->old_ports, p->nodePort)) push_port(r->arena, &t->old_ports, p->nodePort);
    if (s->spec.healthCheckNodePort) push_port(r->arena, &t->old_ports, s->spec.healthCheckNodePort);
    return t;
}

static void service_prepare_create(struct api_request *r UNUSED, void *obj) { ((struct corev1_Service *)obj)->status = (struct corev1_ServiceStatus){0}; }

/* What the new type has no use for goes, unless the client asked for it. */
static void drop_unused(struct corev1_Service *s, const struct corev1_Service *old) {
    struct corev1_ServiceSpec *p = &s->spec;
    const struct corev1_ServiceSpec *o = &old->spec;
    if (needs_cluster_ip(old) && !needs_cluster_ip(s)) {
        if (str_eq(p->clusterIP, o->clusterIP) && same_list(&p->clusterIPs, &o->clusterIPs)) {
            p->clusterIP = NULL;
            p->clusterIPs = (struct string_list){0};
        }
        if (same_list(&p->ipFamilies, &o->ipFamilies)) p->ipFamilies = (struct string_list){0};
        if (str_eq(p->ipFamilyPolicy, o->ipFamilyPolicy)) p->ipFamilyPolicy = NULL;
    }
    if (needs_node_port(old) && !needs_node_port(s)) {
        bool same = true;
        LIST_FOREACH(port, &p->ports) same &= !port->nodePort || had_port(old, port->nodePort);
        if (same) LIST_FOREACH(port, &p->ports) port->nodePort = 0;
    }
    if (needs_health_port(old) && !needs_health_port(s) && p->healthCheckNodePort == o->healthCheckNodePort) p->healthCheckNodePort = 0;
    if (is_type(old, "LoadBalancer") && !is_type(s, "LoadBalancer")) {
        const struct opt_bool *a = &p->allocateLoadBalancerNodePorts, *b = &o->allocateLoadBalancerNodePorts;
        if (a->has && b->has && a->value == b->value) p->allocateLoadBalancerNodePorts.has = false;
        if (!p->loadBalancerClass == !o->loadBalancerClass && str_eq(p->loadBalancerClass, o->loadBalancerClass)) p->loadBalancerClass = NULL;
    }
    if (externally_accessible(old) && !externally_accessible(s) && str_eq(p->externalTrafficPolicy, o->externalTrafficPolicy)) p->externalTrafficPolicy = NULL;
    if (!is_type(s, "LoadBalancer")) s->status.loadBalancer = (struct corev1_LoadBalancerStatus){0};
}

static void service_prepare_update(struct api_request *r UNUSED, void *obj, const void *old_obj) {
    ((struct corev1_Service *)obj)->status = ((const struct corev1_Service *)old_obj)->status;
    drop_unused(obj, old_obj);
}

static void service_prepare_status(struct api_request *r UNUSED, void *obj, const void *old) { ((struct corev1_Service *)obj)->spec = ((const struct corev1_Service *)old)->spec; }
/* Upstream keeps it and leaves it out of all it answers. */
static void service_canonicalize(void *obj) {
    struct corev1_Service *s = obj;
    if (is_type(s, "ExternalName")) s->spec.internalTrafficPolicy = NULL;
}
static void service_warn(struct api_request *r, const void *obj, const void *old UNUSED) { service_warnings(r->arena, obj, &r->warnings); }

static void service_status_warn(struct api_request *r, const void *obj, const void *old UNUSED) {
    const struct corev1_LoadBalancerIngress_list *list = &((const struct corev1_Service *)obj)->status.loadBalancer.ingress;
    for (size_t i = 0; i < list->len; i++) ip_warnings(r->arena, list->items[i].ip, FIELD_INDEX(FIELD(FIELD(FIELD(NULL, "status"), "loadBalancer"), "ingress"), i), &r->warnings);
}

static const char *service_field(struct arena *a UNUSED, const void *obj, const char *name) {
    const struct corev1_Service *s = obj;
    return strcmp(name, "spec.clusterIP") == 0 ? s->spec.clusterIP : strcmp(name, "spec.type") == 0 ? s->spec.type : NULL;
}
static const char *const service_fields[] = {"spec.clusterIP", "spec.type", NULL};
const struct strategy service_strategy = {.group = "", .version = "v1", .resource = "services", .type = &corev1_Service_desc, .storage_prefix = "/registry/services/specs", .flags = RETURN_DELETED_OBJECT | CREATE_ON_UPDATE,
    .validate_name = object_name_dns_label, .prepare_create = service_prepare_create, .prepare_update = service_prepare_update, .prepare_status_update = service_prepare_status, .canonicalize = service_canonicalize, .validate = validate_service,
    .validate_update = validate_service_update, .validate_status_update = validate_service_status_update, .warnings = service_warn, .status_warnings = service_status_warn, .selectable_fields = service_fields, .field = service_field,
    .begin = service_begin, .release = service_release, .transact = service_transact, .transact_lock = service_transact_lock};
