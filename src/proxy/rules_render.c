/* One Service port as nftables text: see rules.h for the table's layout. Pure: text in, text out; used by rules.c alone. */
#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include "base/map.h"
#include "base/str.h"
#include "proxy/rules_internal.h"


bool rules_address_valid(int af, const char *text, bool with_prefix) {
    char host[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (str_empty(text)) return false;
    const char *slash = with_prefix ? strchr(text, '/') : NULL;
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof(host)) return false;
    memcpy(host, text, len);
    host[len] = 0;
    if (inet_pton(af, host, bytes) != 1) return false;
    uint64_t bits;
    return !slash || (str_to_u64(slash + 1, &bits) && bits <= (af == AF_INET ? 32u : 128u));
}

/* Names end up in the rules' text: only what the API's validation lets through may. */
static bool name_valid(const char *s, size_t max, bool empty_allowed) {
    if (str_empty(s)) return empty_allowed;
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if (!islower((unsigned char)s[i]) && !isdigit((unsigned char)s[i]) && s[i] != '-' && s[i] != '.') return false;
    return len <= max;
}

struct render {
    struct rendered *out;
    const struct rules_family *family;
    const struct service_port *port;
    const char *protocol; /* tcp, udp, sctp */
    const char *suffix;   /* HASH-ns/name/proto/port */
};

static void item_add(struct render *r, enum item_kind kind, const char *name, const char *key, const char *value) {
    struct arena *a = r->out->arena;
    struct item *it = arena_list_push(a, &r->out->items, &r->out->len, sizeof(*it));
    *it = (struct item){.kind = kind, .where = arena_printf(a, "%s ckube %s", r->family->name, name), .key = key, .value = value};
}

static char *chain_name(struct render *r, const char *kind) { return arena_printf(r->out->arena, "%s-%s", kind, r->suffix); }

static bool endpoint_in_family(const struct render *r, const struct proxy_endpoint *e) { return rules_address_valid(r->family->af, e->ip, false); }

/* The endpoints that take traffic: the ready ones or, if there are none, those that are on their way out but still serve. Upstream: CategorizeEndpoints. */
static size_t endpoints_pick(const struct render *r, bool local_only, const struct proxy_endpoint **ret) {
    for (int terminating = 0; terminating < 2; terminating++) {
        size_t n = 0;
        for (size_t i = 0; i < r->port->endpoints_len && n < PROXY_ENDPOINTS_MAX; i++) {
            const struct proxy_endpoint *e = &r->port->endpoints[i];
            bool usable = terminating ? e->serving && e->terminating : e->ready;
            if (usable && (e->local || !local_only) && endpoint_in_family(r, e)) ret[n++] = e;
        }
        if (n) return n;
    }
    return 0;
}

static void append_target(struct buf *b, const struct rules_family *f, const struct proxy_endpoint *e, bool in_map) {
    if (in_map) buf_printf(b, "%s . %u", e->ip, e->port);
    else buf_printf(b, f->af == AF_INET ? "%s:%u" : "[%s]:%u", e->ip, e->port);
}

/* The name carries the timeout: another timeout is another set. */
static char *endpoint_name(struct render *r, const char *kind, const struct proxy_endpoint *e) {
    char *name = arena_printf(r->out->arena, "%s-%s__%s/%u/%" PRId32, kind, r->suffix, e->ip, e->port, r->port->affinity_seconds);
    for (char *c = name; *c; c++)
        if (*c == ':') *c = '.'; /* no colons in nft's names */
    return name;
}

/* Each client stays with the endpoint that has it in its set; new ones are spread. */
static void append_affinity(struct render *r, struct buf *b, const struct proxy_endpoint **eps, size_t n) {
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s saddr @%s goto %s\n", r->family->name, endpoint_name(r, "affinity", eps[i]), endpoint_name(r, "endpoint", eps[i]));
    buf_printf(b, "numgen random mod %zu vmap { ", n);
    for (size_t i = 0; i < n; i++) buf_printf(b, "%s%zu : goto %s", i ? ", " : "", i, endpoint_name(r, "endpoint", eps[i]));
    buf_append_str(b, " }\n");
}

static void append_spread(struct render *r, struct buf *b, const struct proxy_endpoint **eps, size_t n) {
    buf_printf(b, "meta l4proto %s dnat %s to ", r->protocol, r->family->name);
    if (n == 1) {
        append_target(b, r->family, eps[0], false);
    } else {
        buf_printf(b, "numgen random mod %zu map { ", n);
        for (size_t i = 0; i < n; i++) {
            buf_printf(b, "%s%zu : ", i ? ", " : "", i);
            append_target(b, r->family, eps[i], true);
        }
        buf_append_str(b, " }");
    }
    buf_append_char(b, '\n');
}

static void render_spread_chain(struct render *r, const char *name, const struct proxy_endpoint **eps, size_t n) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    if (r->port->affinity_seconds > 0) append_affinity(r, &b, eps, n);
    else append_spread(r, &b, eps, n);
    item_add(r, ITEM_CHAIN, name, NULL, arena_strdup(r->out->arena, buf_cstr(&b)));
}

/* With affinity, each endpoint used has a set of its clients and a chain that keeps the set fresh. */
static void render_affinity_endpoints(struct render *r, const struct proxy_endpoint **eps, size_t n, struct map *seen) {
    struct arena *a = r->out->arena;
    for (size_t i = 0; i < n; i++) {
        char *set = endpoint_name(r, "affinity", eps[i]);
        if (map_has(seen, set)) continue;
        map_put(seen, set, r);
        item_add(r, ITEM_SET, set, NULL,
                 arena_printf(a, "{ type %s; flags dynamic,timeout; timeout %" PRId32 "s; }", r->family->addr, r->port->affinity_seconds));
        _cleanup_buf_ struct buf b = BUF_INIT;
        buf_printf(&b, "update @%s { %s saddr }\nmeta l4proto %s dnat %s to ", set, r->family->name, r->protocol, r->family->name);
        append_target(&b, r->family, eps[i], false);
        buf_append_char(&b, '\n');
        item_add(r, ITEM_CHAIN, endpoint_name(r, "endpoint", eps[i]), NULL, arena_strdup(a, buf_cstr(&b)));
    }
}

/* What comes from outside: node ports, external and load balancer addresses. */
static void render_external_chain(struct render *r, const char *name, const char *service, const char *local) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    const char *fam = r->family->name;
    if (!r->port->external_local) {
        buf_printf(&b, "jump mark-for-masquerade\ngoto %s\n", service);
    } else {
        /* Pods and the node itself reach every endpoint; only those beyond see the policy, and keep their address. */
        if (r->family->cluster_cidr) buf_printf(&b, "%s saddr %s goto %s\n", fam, r->family->cluster_cidr, service);
        buf_printf(&b, "fib saddr type local jump mark-for-masquerade\nfib saddr type local goto %s\n", service);
        if (local) buf_printf(&b, "goto %s\n", local);
    }
    item_add(r, ITEM_CHAIN, name, NULL, arena_strdup(r->out->arena, buf_cstr(&b)));
}

static void render_address(struct render *r, const char *map, const char *ip, const char *verdict) {
    if (!rules_address_valid(r->family->af, ip, false)) return;
    item_add(r, ITEM_ELEMENT, map, arena_printf(r->out->arena, "%s . %s . %u", ip, r->protocol, r->port->port), verdict);
}

static void render_addresses(struct render *r, const char *map, const char *const *ips, const char *verdict) {
    for (; ips && *ips; ips++) render_address(r, map, *ips, verdict);
}

static void render_node_port(struct render *r, const char *map, const char *verdict) {
    if (r->port->node_port) item_add(r, ITEM_ELEMENT, map, arena_printf(r->out->arena, "%s . %u", r->protocol, r->port->node_port), verdict);
}

/* An address whose policy leaves it no endpoint: refused if the Service has none at all, dropped if they are only elsewhere (upstream's choice). */
static const char *refusal(size_t cluster_len) { return cluster_len ? "drop" : "goto reject-chain"; }

static bool has_external(const struct service_port *p) { return p->node_port || (p->external_ips && *p->external_ips) || (p->load_balancer_ips && *p->load_balancer_ips); }

static void render_hairpin(struct render *r, const struct proxy_endpoint **eps, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (eps[i]->local) item_add(r, ITEM_ELEMENT, "hairpin", arena_printf(r->out->arena, "%s . %s", eps[i]->ip, eps[i]->ip), NULL);
}

static void render_external(struct render *r, size_t cluster_len, size_t local_len, const char *service, const char *local) {
    const struct service_port *p = r->port;
    if (!has_external(p)) return;
    if (cluster_len) {
        char *external = chain_name(r, "external"), *verdict = arena_printf(r->out->arena, "goto %s", external);
        render_external_chain(r, external, service, local_len ? local : NULL);
        render_addresses(r, "service-ips", p->external_ips, verdict);
        render_addresses(r, "service-ips", p->load_balancer_ips, verdict);
        render_node_port(r, "service-nodeports", verdict);
    }
    if (p->external_local ? !local_len : !cluster_len) {
        render_addresses(r, "no-endpoint-services", p->external_ips, refusal(cluster_len));
        render_addresses(r, "no-endpoint-services", p->load_balancer_ips, refusal(cluster_len));
        render_node_port(r, "no-endpoint-nodeports", refusal(cluster_len));
    }
}

static void render_internal(struct render *r, size_t cluster_len, size_t local_len, const char *service, const char *local) {
    const struct service_port *p = r->port;
    bool usable = p->internal_local ? local_len : cluster_len;
    const char *verdict = usable ? arena_printf(r->out->arena, "goto %s", p->internal_local ? local : service) : refusal(cluster_len);
    for (const char *const *ip = p->cluster_ips; ip && *ip; ip++) {
        if (!rules_address_valid(r->family->af, *ip, false)) continue;
        render_address(r, usable ? "service-ips" : "no-endpoint-services", *ip, verdict);
        item_add(r, ITEM_ELEMENT, "cluster-ips", *ip ? arena_strdup(r->out->arena, *ip) : NULL, NULL);
    }
}

static void render_family(struct render *r) {
    size_t room = r->port->endpoints_len + 1;
    const struct proxy_endpoint **cluster = arena_calloc(r->out->arena, room, sizeof(*cluster));
    const struct proxy_endpoint **local = arena_calloc(r->out->arena, room, sizeof(*local));
    bool wants_local = r->port->internal_local || (r->port->external_local && has_external(r->port));
    size_t cluster_len = endpoints_pick(r, false, cluster);
    size_t local_len = wants_local ? endpoints_pick(r, true, local) : 0;
    char *service_chain = chain_name(r, "service"), *local_chain = chain_name(r, "local");
    if (r->port->affinity_seconds > 0) {
        struct map *seen = map_new();
        render_affinity_endpoints(r, cluster, cluster_len, seen);
        render_affinity_endpoints(r, local, local_len, seen);
        map_free(seen);
    }
    bool cluster_used = cluster_len && (!r->port->internal_local || has_external(r->port));
    if (cluster_used) render_spread_chain(r, service_chain, cluster, cluster_len);
    if (local_len) render_spread_chain(r, local_chain, local, local_len);
    render_hairpin(r, cluster, cluster_len);
    render_hairpin(r, local, local_len);
    render_internal(r, cluster_len, local_len, service_chain, local_chain);
    render_external(r, cluster_len, local_len, service_chain, local_chain);
}

void rendered_free(struct rendered *r) {
    if (r) arena_free(r->arena); /* which holds r itself */
}

struct rendered *rendered_new(const struct rules_family families[2], const struct service_port *port, struct status *reterr) {
    const char *protocol = str_eq(port->protocol, "TCP") ? "tcp" : str_eq(port->protocol, "UDP") ? "udp" : str_eq(port->protocol, "SCTP") ? "sctp" : NULL;
    if (!protocol || !port->port || !name_valid(port->namespace, 63, false) || !name_valid(port->name, 63, false) || !name_valid(port->port_name, 63, true)) {
        status_bad_request(reterr, "service port \"%s/%s:%s\" has an invalid name, port or protocol", str_or(port->namespace, ""), str_or(port->name, ""),
                           str_or(port->port_name, ""));
        return NULL;
    }
    struct arena *a = arena_new();
    struct rendered *out = ARENA_NEW(a, struct rendered);
    out->arena = a;
    char *full = arena_printf(a, "%s/%s/%s/%s", port->namespace, port->name, protocol, str_or(port->port_name, ""));
    char *suffix = arena_printf(a, "%08" PRIX32 "-%s", (uint32_t)hash_bytes(full, strlen(full)), full);
    for (int f = 0; f < 2; f++) {
        struct render r = {.out = out, .family = &families[f], .port = port, .protocol = protocol, .suffix = suffix};
        if (families[f].enabled) render_family(&r);
    }
    return out;
}

static void append_node_port_match(struct buf *b, const struct rules_family *f, bool addresses) {
    if (addresses) buf_printf(b, "  %s daddr @nodeport-ips", f->name);
    else buf_printf(b, "  fib daddr type local %s daddr != %s", f->name, f->af == AF_INET ? "127.0.0.0/8" : "::1");
}

static void append_masquerade(struct buf *b, const struct rules_config *config, const struct rules_family *f) {
    buf_printf(b, " chain nat-postrouting {\n  type nat hook postrouting priority srcnat;\n");
    buf_printf(b, "  ct status dnat %s saddr . %s daddr @hairpin masquerade fully-random\n", f->name, f->name);
    buf_printf(b, "  meta mark & 0x%x != 0 meta mark set meta mark xor 0x%x masquerade fully-random\n", PROXY_MASQUERADE_MARK, PROXY_MASQUERADE_MARK);
    if (config->masquerade_pods && f->cluster_cidr)
        buf_printf(b, "  %s saddr %s %s daddr != { %s, %s } masquerade fully-random\n", f->name, f->cluster_cidr, f->name, f->cluster_cidr,
                   f->af == AF_INET ? "224.0.0.0/4" : "ff00::/8");
    buf_append_str(b, " }\n");
}

static bool append_node_port_set(struct buf *b, const struct rules_config *config, const struct rules_family *f) {
    if (!config->nodeport_addresses) return false;
    buf_printf(b, " set nodeport-ips {\n  type %s\n  flags interval\n  auto-merge\n", f->addr);
    size_t n = 0;
    for (const char *const *c = config->nodeport_addresses; *c; c++)
        if (rules_address_valid(f->af, *c, true)) buf_printf(b, "%s%s", n++ ? ", " : "  elements = { ", *c);
    buf_append_str(b, n ? " }\n }\n" : " }\n");
    return true;
}

void rules_render_base(struct buf *b, const struct rules_config *config, const struct rules_family *f) {
    const char *fam = f->name;
    buf_printf(b, "table %s ckube {\n set cluster-ips { type %s; }\n set hairpin { type %s . %s; }\n", fam, f->addr, f->addr, f->addr);
    buf_printf(b, " map service-ips { type %s . inet_proto . inet_service : verdict; }\n", f->addr);
    buf_printf(b, " map no-endpoint-services { type %s . inet_proto . inet_service : verdict; }\n", f->addr);
    buf_append_str(b, " map service-nodeports { type inet_proto . inet_service : verdict; }\n");
    buf_append_str(b, " map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }\n");
    bool addresses = append_node_port_set(b, config, f);
    buf_printf(b, " chain mark-for-masquerade { meta mark set meta mark or 0x%x; }\n", PROXY_MASQUERADE_MARK);
    buf_append_str(b, " chain reject-chain {\n  meta l4proto tcp reject with tcp reset\n  reject\n }\n chain services {\n");
    if (config->masquerade_all) buf_printf(b, "  %s daddr @cluster-ips jump mark-for-masquerade\n", fam);
    else if (f->cluster_cidr) buf_printf(b, "  %s daddr @cluster-ips %s saddr != %s jump mark-for-masquerade\n", fam, fam, f->cluster_cidr);
    buf_printf(b, "  %s daddr . meta l4proto . th dport vmap @service-ips\n", fam);
    append_node_port_match(b, f, addresses);
    buf_append_str(b, " meta l4proto . th dport vmap @service-nodeports\n }\n chain endpoints-check {\n");
    buf_printf(b, "  %s daddr . meta l4proto . th dport vmap @no-endpoint-services\n  %s daddr @cluster-ips goto reject-chain\n", fam, fam);
    append_node_port_match(b, f, addresses);
    buf_append_str(b, " meta l4proto . th dport vmap @no-endpoint-nodeports\n }\n");
    buf_append_str(b, " chain nat-prerouting {\n  type nat hook prerouting priority dstnat;\n  jump services\n }\n");
    buf_append_str(b, " chain nat-output {\n  type nat hook output priority -100;\n  jump services\n }\n");
    append_masquerade(b, config, f);
    static const char *const hooks[] = {"input", "forward", "output"};
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++)
        buf_printf(b, " chain filter-%s {\n  type filter hook %s priority filter;\n  ct state new jump endpoints-check\n }\n", hooks[i], hooks[i]);
    buf_append_str(b, "}\n");
}
