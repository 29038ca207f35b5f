#include "apiserver/allocators.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "api/time.h"
#include "apiserver/bootstrap_groups.h"
#include "apiserver/registry.h"
#include "base/str.h"

/* ---- ranges ---- */

/* An address as its network half and a number; IPv4 has the number alone. */
struct address { bool six; unsigned char high[8]; uint64_t low; };
/* The addresses first to last may be given to Services; what is below `dynamic` only when nothing else is left. */
struct range { struct address base; uint64_t first, dynamic, last, size; };

bool ip_is_v6(const char *text) { return strchr(text, ':') != NULL; }
const char *ip_family(const char *text) { return ip_is_v6(text) ? "IPv6" : "IPv4"; }

static uint64_t big_endian(const unsigned char *p, size_t len) {
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) n = n << 8 | p[i];
    return n;
}

static bool parse_address(const char *text, struct address *ret) {
    unsigned char bytes[16];
    *ret = (struct address){.six = ip_is_v6(text)};
    if (inet_pton(ret->six ? AF_INET6 : AF_INET, text, bytes) != 1) return false;
    if (ret->six) memcpy(ret->high, bytes, sizeof(ret->high));
    ret->low = ret->six ? big_endian(bytes + 8, 8) : big_endian(bytes, 4);
    return true;
}

static char *print_address(struct arena *a, const struct address *of, uint64_t low) {
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN];
    size_t len = of->six ? 16 : 4;
    memcpy(bytes, of->high, 8);
    for (size_t i = len; i > (of->six ? 8u : 0u); low >>= 8) bytes[--i] = (unsigned char)(low & 0xff);
    CHECK(inet_ntop(of->six ? AF_INET6 : AF_INET, bytes, text, sizeof(text)));
    return arena_strdup(a, text);
}

/* How many addresses at the beginning are kept for those who ask for one. */
static uint64_t static_part(int host_bits) {
    uint64_t size = host_bits >= 63 ? INT64_MAX : (uint64_t)1 << host_bits;
    return size <= 16 ? 0 : MIN(MAX(size / 16, (uint64_t)16), (uint64_t)256);
}

static bool parse_range(const char *cidr, struct range *ret) {
    char ip[64];
    uint64_t bits;
    const char *slash = strchr(cidr, '/');
    if (!slash || (size_t)(slash - cidr) >= sizeof(ip) || !str_to_u64(slash + 1, &bits)) return false;
    snprintf(ip, sizeof(ip), "%.*s", (int)(slash - cidr), cidr);
    if (!parse_address(ip, &ret->base) || bits > (ret->base.six ? 128 : 32) || (ret->base.six && bits < 64)) return false;
    int host_bits = (int)((ret->base.six ? 128 : 32) - bits);
    uint64_t mask = host_bits == 64 ? UINT64_MAX : ((uint64_t)1 << host_bits) - 1;
    ret->base.low &= ~mask;
    ret->first = ret->base.low + 1;
    ret->last = ret->base.low + mask - (ret->base.six || !mask ? 0 : 1); /* not IPv4's broadcast address */
    ret->size = mask - (ret->base.six || !mask ? 0 : 1);
    ret->dynamic = ret->first + static_part(host_bits);
    return true;
}

static bool range_has(const struct range *r, const struct address *ip, uint64_t first, uint64_t last) {
    return ip->six == r->base.six && memcmp(ip->high, r->base.high, sizeof(ip->high)) == 0 && ip->low >= first && ip->low <= last;
}

bool ip_range_valid(const char *cidr) {
    struct range r;
    return parse_range(cidr, &r) && r.size > 0;
}

char *ip_range_first(struct arena *a, const char *cidr) {
    struct range r;
    return parse_range(cidr, &r) ? print_address(a, &r.base, r.first) : NULL;
}

char *ip_range_base(struct arena *a, const char *cidr) {
    struct range r;
    return parse_range(cidr, &r) ? print_address(a, &r.base, r.base.low) : NULL;
}

bool ip_range_contains(const char *cidr, const char *ip) {
    struct range r;
    struct address x;
    return parse_range(cidr, &r) && parse_address(ip, &x) && range_has(&r, &x, r.first, r.last);
}

/* ---- cluster IPs ---- */

static bool is_ready(const struct networkingv1_ServiceCIDR *s) {
    if (s->metadata.deletionTimestamp.set) return false;
    LIST_FOREACH(c, &s->status.conditions)
        if (str_eq(c->type, "Ready")) return str_eq(c->status, "True");
    return true; /* the controller that says so may not have come to it */
}

struct ranges_read { struct arena *a; const struct strategy *st; struct string_list *into; };

static bool take_ranges(void *arg, const struct store_view *v) {
    struct ranges_read *read = arg;
    const struct networkingv1_ServiceCIDR *s = registry_decode(read->a, read->st, v);
    if (!s || !is_ready(s)) return true;
    for (size_t i = 0; i < s->spec.cidrs.len; i++)
        if (!string_list_has(read->into, s->spec.cidrs.items[i])) string_list_push(read->a, read->into, s->spec.cidrs.items[i]);
    return true;
}

void service_ranges_read(struct arena *a, struct store_txn *t, struct string_list *ret) {
    struct ranges_read read = {a, strategy_find("networking.k8s.io", "servicecidrs"), ret};
    store_range(t, storage_key(a, read.st, NULL, NULL), NULL, take_ranges, &read);
}

char *ip_address_key(struct arena *a, const char *ip) { return storage_key(a, strategy_find("networking.k8s.io", "ipaddresses"), NULL, ip); }

static bool is_taken(struct store_txn *t, const char *ip) {
    struct store_view v;
    _cleanup_arena_ struct arena *a = arena_new();
    return store_get(t, ip_address_key(a, ip), &v) != 0;
}

/* The first free address from a random one on, round and round. */
static char *next_between(struct arena *a, struct env *env, struct store_txn *t, const struct range *r, uint64_t first, uint64_t last) {
    if (first > last) return NULL;
    uint64_t span = last - first, start = first + (span == UINT64_MAX ? env_random_below(env, INT64_MAX) : env_random_below(env, span + 1)), at = start;
    _cleanup_arena_ struct arena *scratch = arena_new();
    do {
        const char *ip = print_address(scratch, &r->base, at);
        if (!is_taken(t, ip)) return arena_strdup(a, ip);
        arena_reset(scratch);
        at = at == last ? first : at + 1;
    } while (at != start);
    return NULL;
}

char *cluster_ip_next(struct arena *a, struct env *env, struct store_txn *t, const struct string_list *ranges, const char *family) {
    char *ip = NULL;
    for (size_t i = 0; i < ranges->len && !ip; i++) {
        struct range r;
        if (!str_eq(ip_family(ranges->items[i]), family) || !parse_range(ranges->items[i], &r) || r.size == 0) continue;
        ip = next_between(a, env, t, &r, r.dynamic, r.last);
        if (!ip && r.dynamic > r.first) ip = next_between(a, env, t, &r, r.first, MIN(r.dynamic - 1, r.last));
    }
    return ip;
}

const char *cluster_ip_refused(struct arena *a, struct store_txn *t, const struct string_list *ranges, const char *ip, bool taken_too) {
    struct address x;
    if (!parse_address(ip, &x)) return arena_printf(a, "failed to parse service IP \"%s\"", ip);
    for (size_t i = 0; i < ranges->len; i++) {
        if (!ip_range_contains(ranges->items[i], ip)) continue;
        return taken_too && is_taken(t, print_address(a, &x, x.low)) ? "provided IP is already allocated" : NULL;
    }
    return "the provided network does not match the current range";
}

struct networkingv1_IPAddress *ip_address_new(struct arena *a, struct env *env, const char *ip, const char *service_namespace, const char *service_name) {
    struct networkingv1_IPAddress *obj = object_new(a, &networkingv1_IPAddress_desc);
    struct address x;
    char uuid[37];
    env_uuid(env, uuid);
    obj->metadata.name = parse_address(ip, &x) ? print_address(a, &x, x.low) : ip;
    obj->metadata.uid = arena_strdup(a, uuid);
    obj->metadata.creationTimestamp = time_from_s(env_now_s(env));
    string_map_set(a, &obj->metadata.labels, IP_ADDRESS_LABEL_FAMILY, ip_family(ip));
    string_map_set(a, &obj->metadata.labels, IP_ADDRESS_LABEL_MANAGED_BY, IP_ADDRESS_MANAGER);
    obj->spec.parentRef = ARENA_NEW(a, struct networkingv1_ParentReference);
    *obj->spec.parentRef = (struct networkingv1_ParentReference){.resource = "services", .namespace = service_namespace, .name = service_name};
    bootstrap_own(a, &networkingv1_IPAddress_desc, obj, "kube-apiserver", env_now_s(env));
    return obj;
}

/* The operation that stores an object. */
static struct store_op put(struct arena *a, const struct type_desc *type, void *obj, const char *key, uint64_t expect) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    size_t rv_offset;
    object_set_type_meta(a, type, obj);
    object_encode_stored(type, obj, &out, &rv_offset);
    return (struct store_op){.key = key, .expect_mod_revision = (int64_t)expect, .value = arena_memdup(a, out.data, out.len), .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
}

struct store_op ip_address_put(struct arena *a, struct networkingv1_IPAddress *ip, uint64_t expect) {
    return put(a, &networkingv1_IPAddress_desc, ip, ip_address_key(a, ip->metadata.name), expect);
}

bool ip_address_remove(struct arena *a, struct env *env, struct store_txn *t, const char *ip, const char *service_namespace, const char *service_name, struct store_op *ret) {
    struct store_view v;
    struct address x;
    const char *key = ip_address_key(a, parse_address(ip, &x) ? print_address(a, &x, x.low) : ip);
    struct networkingv1_IPAddress *obj = store_get(t, key, &v) ? registry_decode(a, strategy_find("networking.k8s.io", "ipaddresses"), &v) : NULL;
    if (!obj) return false;
    const struct networkingv1_ParentReference *p = obj->spec.parentRef;
    if (!p || !str_empty(p->group) || !str_eq(p->resource, "services") || !str_eq(p->namespace, service_namespace) || !str_eq(p->name, service_name)) return false;
    if (!obj->metadata.finalizers.len) *ret = (struct store_op){.key = key, .expect_mod_revision = (int64_t)v.mod_revision};
    else if (obj->metadata.deletionTimestamp.set) return false;
    else {
        obj->metadata.deletionTimestamp = time_from_s(env_now_s(env));
        obj->metadata.deletionGracePeriodSeconds = (struct opt_int64)OPT(0);
        *ret = ip_address_put(a, obj, v.mod_revision);
    }
    return true;
}

/* ---- node ports ---- */

#define NODE_PORTS_KEY "/registry/ranges/servicenodeports"

/* Upstream keeps a big number, its bytes from the highest on; bit n is the nth port. */
static bool bit_of(const struct corev1_RangeAllocation *stored, size_t n) {
    size_t from_end = n / 8 + 1;
    return from_end <= stored->data.len && (stored->data.data[stored->data.len - from_end] >> n % 8 & 1);
}

void node_ports_read(struct arena *a, struct store_txn *t, int min, int max, struct node_ports *ret) {
    struct store_view v;
    struct corev1_RangeAllocation *stored = ARENA_NEW(a, struct corev1_RangeAllocation);
    size_t len = (size_t)(max - min + 1);
    *ret = (struct node_ports){.min = min, .max = max, .taken = arena_alloc(a, len * sizeof(bool))};
    memset(ret->taken, 0, len * sizeof(bool));
    if (!store_get(t, NODE_PORTS_KEY, &v)) return;
    ret->revision = v.mod_revision;
    if (object_decode_json(a, &corev1_RangeAllocation_desc, stored, v.value, v.value_len, NULL, NULL) != 0) {
        ret->mismatch = true;
        return;
    }
    ret->stored = stored;
    ret->mismatch = !str_eq(stored->range, arena_printf(a, "%d-%d", min, max));
    for (size_t i = 0; i < len && !ret->mismatch; i++) ret->taken[i] = bit_of(stored, i);
}

int node_ports_next(const struct node_ports *p, struct env *env) {
    size_t len = (size_t)(p->max - p->min + 1), lower = len <= 16 ? 0 : MIN(MAX(len / 32, (size_t)16), (size_t)128);
    for (size_t part = 0; part < 2; part++) {
        size_t from = part ? 0 : lower, span = part ? lower : len - lower, start = span ? (size_t)env_random_below(env, span) : 0;
        for (size_t n = 0; n < span; n++) {
            size_t i = from + (start + n) % span;
            if (!p->taken[i]) return p->min + (int)i;
        }
    }
    return 0;
}

struct store_op node_ports_put(struct arena *a, const struct node_ports *p) {
    struct corev1_RangeAllocation *obj = p->stored ? object_copy(a, &corev1_RangeAllocation_desc, p->stored) : object_new(a, &corev1_RangeAllocation_desc);
    size_t len = 0, bits = (size_t)(p->max - p->min + 1);
    for (size_t i = 0; i < bits; i++)
        if (p->taken[i]) len = i / 8 + 1;
    unsigned char *bytes = arena_alloc(a, len ? len : 1);
    memset(bytes, 0, len ? len : 1);
    for (size_t i = 0; i < bits; i++)
        if (p->taken[i]) bytes[len - 1 - i / 8] |= (unsigned char)(1 << i % 8);
    obj->range = arena_printf(a, "%d-%d", p->min, p->max);
    obj->data.data = bytes;
    obj->data.len = len;
    return put(a, &corev1_RangeAllocation_desc, obj, NODE_PORTS_KEY, p->revision);
}
