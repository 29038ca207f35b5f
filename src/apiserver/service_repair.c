#include "apiserver/service_repair.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "api/time.h"
#include "apiserver/allocators.h"
#include "apiserver/registry.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

enum { INTERVAL_S = 180, ORPHAN_GRACE_S = 60, LEAK_PASSES = 3, FIRST_TRIES = 20, EVENT_TTL_S = 3600 };

struct service_repair {
    struct apiserver *server;
    struct store_watch *watch;
    pthread_t thread;
    bool started, stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct map *queue;              /* names of IPAddresses to look at */
    /* The passes' own: */
    struct map *told;               /* "Service reason" of the Events that were made */
    unsigned char *leaks;           /* for each node port that no Service has: passes until it is free */
};

/* One look: what is read in its snapshot, and what is to be written for it afterwards. */
struct pass {
    struct service_repair *p;
    struct arena *a;
    struct store_txn *t;
    struct string_list ranges;      /* of every ServiceCIDR, usable or not */
    struct store_op_list ops;
    struct map *made;               /* addresses that get an IPAddress with this pass */
    struct node_ports ports;        /* as stored */
    bool *used;                     /* node ports that Services have */
};

static const struct strategy *services(void) { return strategy_find("", "services"); }
static const struct strategy *addresses(void) { return strategy_find("networking.k8s.io", "ipaddresses"); }

/* ---- Events ---- */

static void add_event(struct pass *w, const struct type_desc *type, const struct object *about, const char *reason, const char *action, const char *message) {
    struct env *env = apiserver_env(w->p->server);
    int64_t now_ns = env_now_ns(env);
    int ttl = apiserver_options(w->p->server)->event_ttl_s;
    const char *key = arena_printf(w->a, "%s/%s %s %s", str_or(about->metadata.namespace, ""), about->metadata.name, str_or(about->metadata.uid, ""), message);
    char uuid[37];
    log_warning("ipallocator-repair-controller: %s", message);
    if (map_get(w->p->told, key)) return;
    map_put(w->p->told, key, w->p);
    struct corev1_Event *e = object_new(w->a, &corev1_Event_desc);
    env_uuid(env, uuid);
    e->metadata.namespace = str_or(about->metadata.namespace, "default");
    e->metadata.name = arena_printf(w->a, "%s.%llx", about->metadata.name, (unsigned long long)now_ns);
    e->metadata.uid = arena_strdup(w->a, uuid);
    e->metadata.creationTimestamp = time_from_s(now_ns / 1000000000);
    e->involvedObject = (struct corev1_ObjectReference){.kind = type->kind, .apiVersion = str_empty(type->group) ? "v1" : arena_printf(w->a, "%s/%s", type->group, type->version),
        .namespace = about->metadata.namespace, .name = about->metadata.name, .uid = about->metadata.uid, .resourceVersion = about->metadata.resourceVersion};
    e->reason = reason;
    e->action = action;
    e->message = message;
    e->type = "Warning";
    e->eventTime = time_from_s(now_ns / 1000000000);
    e->reportingComponent = e->reportingInstance = "ipallocator-repair-controller";
    object_set_type_meta(w->a, &corev1_Event_desc, e);
    _cleanup_buf_ struct buf out = BUF_INIT;
    size_t rv_offset;
    object_encode_stored(&corev1_Event_desc, e, &out, &rv_offset);
    *LIST_PUSH(w->a, &w->ops) = (struct store_op){.key = storage_key(w->a, strategy_find("", "events"), e->metadata.namespace, e->metadata.name), .expect_mod_revision = STORE_ANY, .ttl_s = ttl ? ttl : EVENT_TTL_S,
        .value = arena_memdup(w->a, out.data, out.len), .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
}

static void service_event(struct pass *w, const struct corev1_Service *s, const char *reason, const char *action, const char *message) {
    add_event(w, &corev1_Service_desc, (const struct object *)(const void *)s, reason, action, message);
}

/* ---- Services ---- */

static struct corev1_Service *get_service(struct pass *w, const char *namespace, const char *name) {
    struct store_view v;
    if (str_empty(namespace) || str_empty(name) || !store_get(w->t, storage_key(w->a, services(), namespace, name), &v)) return NULL;
    return registry_decode(w->a, services(), &v);
}

static bool has_ip(const struct corev1_Service *s, const char *ip) { return s && string_list_has(&s->spec.clusterIPs, ip); }

static bool in_ranges(const struct pass *w, const char *ip) {
    for (size_t i = 0; i < w->ranges.len; i++)
        if (ip_range_contains(w->ranges.items[i], ip)) return true;
    return false;
}

static bool refers_to_service(const struct networkingv1_IPAddress *ip) {
    return ip->spec.parentRef && str_empty(ip->spec.parentRef->group) && str_eq(ip->spec.parentRef->resource, "services");
}

static void make_address(struct pass *w, const struct corev1_Service *s, const char *ip, uint64_t instead_of) {
    *LIST_PUSH(w->a, &w->ops) = ip_address_put(w->a, ip_address_new(w->a, apiserver_env(w->p->server), ip, s->metadata.namespace, s->metadata.name), instead_of);
    map_put(w->made, ip, w);
}

static void check_address_of(struct pass *w, const struct corev1_Service *s, const char *ip) {
    struct store_view v;
    const char *family = ip_family(ip), *ns = s->metadata.namespace, *name = s->metadata.name;
    const char *wrong = arena_printf(w->a, "the ClusterIP [%s]: %s for Service %s/%s has a wrong reference; repairing", family, ip, ns, name);
    const char *duplicate = arena_printf(w->a, "Cluster IP [%s]:%s was assigned to multiple services; please recreate service", family, ip);
    if (!in_ranges(w, ip)) {
        service_event(w, s, "ClusterIPOutOfRange", "ClusterIPAllocation", arena_printf(w->a, "Cluster IP [%s]: %s is not within any configured Service CIDR; please recreate service", family, ip));
        return;
    }
    if (map_get(w->made, ip)) {
        service_event(w, s, "ClusterIPAlreadyAllocated", "ClusterIPAllocation", duplicate);
        return;
    }
    const struct networkingv1_IPAddress *there = store_get(w->t, ip_address_key(w->a, ip), &v) ? registry_decode(w->a, addresses(), &v) : NULL;
    if (!there) {
        service_event(w, s, "ClusterIPNotAllocated", "ClusterIPAllocation", arena_printf(w->a, "Cluster IP [%s]: %s is not allocated; repairing", family, ip));
        make_address(w, s, ip, 0);
        return;
    }
    bool again = !refers_to_service(there);
    if (!again && (!str_eq(there->spec.parentRef->namespace, ns) || !str_eq(there->spec.parentRef->name, name))) {
        const struct corev1_Service *other = get_service(w, there->spec.parentRef->namespace, there->spec.parentRef->name);
        again = !other;
        if (has_ip(other, ip)) {
            service_event(w, s, "ClusterIPAlreadyAllocated", "ClusterIPAllocation", duplicate);
            return;
        }
    }
    if (again) service_event(w, s, "ClusterIPNotAllocated", "ClusterIPAllocation", wrong);
    again |= !str_eq(string_map_get(&there->metadata.labels, IP_ADDRESS_LABEL_MANAGED_BY), IP_ADDRESS_MANAGER) || !str_eq(string_map_get(&there->metadata.labels, IP_ADDRESS_LABEL_FAMILY), family);
    if (again) make_address(w, s, ip, v.mod_revision);
}

static void check_addresses(struct pass *w, const struct corev1_Service *s) {
    if (str_eq(s->spec.type, "ExternalName")) return;
    for (size_t i = 0; i < s->spec.clusterIPs.len; i++)
        if (!str_empty(s->spec.clusterIPs.items[i]) && !str_eq(s->spec.clusterIPs.items[i], "None")) check_address_of(w, s, s->spec.clusterIPs.items[i]);
}

static void use_port(struct pass *w, int32_t port) {
    if (port >= w->ports.min && port <= w->ports.max) w->used[port - w->ports.min] = true;
}

static bool check_service(void *arg, const struct store_view *v) {
    struct pass *w = arg;
    const struct corev1_Service *s = registry_decode(w->a, services(), v);
    if (!s) return true;
    check_addresses(w, s);
    LIST_FOREACH(p, &s->spec.ports)
        if (p->nodePort) use_port(w, p->nodePort);
    if (s->spec.healthCheckNodePort) use_port(w, s->spec.healthCheckNodePort);
    return true;
}

/* ---- IPAddresses ---- */

static bool orphaned(struct pass *w, const struct networkingv1_IPAddress *ip) {
    const char *name = ip->metadata.name;
    if (!str_eq(string_map_get(&ip->metadata.labels, IP_ADDRESS_LABEL_MANAGED_BY), IP_ADDRESS_MANAGER) || map_get(w->made, name)) return false;
    if (!refers_to_service(ip)) return true;
    if (has_ip(get_service(w, ip->spec.parentRef->namespace, ip->spec.parentRef->name), name)) return false;
    /* An upstream server on the same store makes the address first and the Service then. */
    return env_now_s(apiserver_env(w->p->server)) - ip->metadata.creationTimestamp.sec > ORPHAN_GRACE_S;
}

static bool check_address(void *arg, const struct store_view *v) {
    struct pass *w = arg;
    const struct networkingv1_IPAddress *ip = registry_decode(w->a, addresses(), v);
    if (!ip || ip->metadata.finalizers.len || !orphaned(w, ip)) return true;
    const char *ns = ip->spec.parentRef ? str_or(ip->spec.parentRef->namespace, "") : "", *name = ip->spec.parentRef ? str_or(ip->spec.parentRef->name, "") : "";
    add_event(w, &networkingv1_IPAddress_desc, (const struct object *)(const void *)ip, "IPAddressNotAllocated", "IPAddressAllocation",
              arena_printf(w->a, "IPAddress: %s for Service %s/%s appears to have leaked: cleaning up", ip->metadata.name, ns, name));
    *LIST_PUSH(w->a, &w->ops) = (struct store_op){.key = ip_address_key(w->a, ip->metadata.name), .expect_mod_revision = (int64_t)v->mod_revision};
    return true;
}

/* ---- node ports ---- */

/* What no Service has is free after some passes: an upstream server takes a port before it writes the Service. */
static void check_node_ports(struct pass *w) {
    struct node_ports *p = &w->ports;
    bool changed = p->mismatch || !p->revision;
    for (int i = 0; i <= p->max - p->min; i++) {
        unsigned char *leak = &w->p->leaks[i];
        bool keep = w->used[i];
        if (w->used[i]) *leak = 0;
        else if (p->taken[i]) {
            *leak = *leak ? (unsigned char)(*leak - 1) : LEAK_PASSES;
            keep = *leak > 0;
            if (!keep) log_warning("the node port %d appears to have leaked: cleaning up", p->min + i);
        }
        if (w->used[i] && !p->taken[i] && p->revision && !p->mismatch) log_warning("the node port %d is not allocated; repairing", p->min + i);
        changed |= keep != p->taken[i];
        p->taken[i] = keep;
    }
    if (changed) *LIST_PUSH(w->a, &w->ops) = node_ports_put(w->a, p);
}

/* ---- passes ---- */

static int begin_pass(struct pass *w, struct service_repair *p, struct arena *a, struct status *reterr) {
    *w = (struct pass){.p = p, .a = a};
    if (store_read_begin(apiserver_store(p->server), &w->t, reterr) != 0) return -1;
    w->made = map_new();
    return 0;
}

static bool take_ranges(void *arg, const struct store_view *v) {
    struct pass *w = arg;
    const struct networkingv1_ServiceCIDR *s = registry_decode(w->a, strategy_find("networking.k8s.io", "servicecidrs"), v);
    for (size_t i = 0; s && i < s->spec.cidrs.len; i++) string_list_push(w->a, &w->ranges, s->spec.cidrs.items[i]);
    return true;
}

static void read_ranges(struct pass *w) { store_range(w->t, storage_key(w->a, strategy_find("networking.k8s.io", "servicecidrs"), NULL, NULL), NULL, take_ranges, w); }

/* Ends the snapshot and writes, some at a time. 0; 1 when another writer was faster with some of it; -1. */
static int end_pass(struct pass *w, struct status *reterr) {
    int result = 0;
    store_read_end(w->t);
    map_free(w->made);
    for (size_t at = 0; at < w->ops.len && result >= 0; at += STORE_OPS_MAX) {
        struct store_result res = {0};
        store_write_wait(apiserver_store(w->p->server), w->ops.items + at, MIN(w->ops.len - at, (size_t)STORE_OPS_MAX), &res);
        if (res.outcome == STORE_CONFLICT) result = 1;
        if (res.outcome != STORE_FAILED) continue;
        status_copy(reterr, &res.error);
        status_release(&res.error);
        result = -1;
    }
    return result;
}

static int look_at_all(struct service_repair *p, struct status *reterr) {
    const struct apiserver_options *o = apiserver_options(p->server);
    _cleanup_arena_ struct arena *a = arena_new();
    struct pass w;
    if (begin_pass(&w, p, a, reterr) != 0) return -1;
    read_ranges(&w);
    node_ports_read(a, w.t, o->node_port_min, o->node_port_max, &w.ports);
    w.used = arena_calloc(a, (size_t)(o->node_port_max - o->node_port_min + 1), sizeof(bool));
    store_range(w.t, "/registry/services/specs/", NULL, check_service, &w);
    store_range(w.t, storage_key(a, addresses(), NULL, NULL), NULL, check_address, &w);
    check_node_ports(&w);
    return end_pass(&w, reterr);
}

/* Somebody changed or deleted an IPAddress: `was` says whose it was. */
static int look_at(struct service_repair *p, const char *ip, const char *was, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct pass w;
    struct store_view v;
    if (begin_pass(&w, p, a, reterr) != 0) return -1;
    read_ranges(&w);
    const char *slash = strchr(was, '/');
    const struct corev1_Service *s = slash ? get_service(&w, arena_strndup(a, was, (size_t)(slash - was)), slash + 1) : NULL;
    if (has_ip(s, ip)) check_address_of(&w, s, ip);
    if (store_get(w.t, ip_address_key(a, ip), &v)) check_address(&w, &v);
    return end_pass(&w, reterr);
}

/* ---- the thread ---- */

static void on_event(void *arg, struct store_event *e) {
    struct service_repair *p = arg;
    if (!e->prev) return; /* the writer of a new one knows what it does */
    _cleanup_arena_ struct arena *a = arena_new();
    struct networkingv1_IPAddress *was = object_new(a, &networkingv1_IPAddress_desc);
    if (object_decode_json(a, &networkingv1_IPAddress_desc, was, shared_data(e->prev), shared_len(e->prev), NULL, NULL) != 0) return;
    const struct networkingv1_ParentReference *of = was->spec.parentRef;
    char *whose = strdup(of ? arena_printf(a, "%s/%s", str_or(of->namespace, ""), str_or(of->name, "")) : "");
    CHECK(whose);
    pthread_mutex_lock(&p->mutex);
    free(map_get(p->queue, was->metadata.name));
    map_put(p->queue, was->metadata.name, whose);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

/* The next address to look at, and whose it was; *ret_ip NULL: it is time for a pass over everything. False: stop. */
static bool next(struct service_repair *p, const struct timespec *until, char **ret_ip, char **ret_was) {
    const char *key;
    void *value;
    size_t i = 0;
    int waited = 0;
    *ret_ip = *ret_was = NULL;
    pthread_mutex_lock(&p->mutex);
    while (!p->stop && map_len(p->queue) == 0 && waited != ETIMEDOUT) waited = pthread_cond_timedwait(&p->wake, &p->mutex, until);
    if (!p->stop && map_next(p->queue, &i, &key, &value)) {
        *ret_ip = strdup(key);
        *ret_was = value;
        map_del(p->queue, *ret_ip);
    }
    bool go_on = !p->stop;
    pthread_mutex_unlock(&p->mutex);
    return go_on;
}

static void *run(void *arg) {
    struct service_repair *p = arg;
    struct timespec until;
    char *ip, *was;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += INTERVAL_S;
    while (next(p, &until, &ip, &was)) {
        struct status err = STATUS_INIT;
        if (ip) {
            for (int tries = 0; tries < FIRST_TRIES && look_at(p, ip, was, &err) > 0; tries++) {}
        } else {
            look_at_all(p, &err);
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += INTERVAL_S;
        }
        if (err.code) log_error("ipallocator-repair-controller: %s", status_message(&err));
        status_release(&err);
        free(ip);
        free(was);
    }
    return NULL;
}

/* ---- life ---- */

struct service_repair *service_repair_new(struct apiserver *s, struct status *reterr) {
    const struct apiserver_options *o = apiserver_options(s);
    struct service_repair *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->server = s;
    p->queue = map_new();
    p->told = map_new();
    p->leaks = calloc((size_t)(o->node_port_max - o->node_port_min + 1), 1);
    CHECK(p->leaks);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    int result = 1;
    uint64_t revision = store_revision(apiserver_store(s));
    for (int tries = 0; tries < FIRST_TRIES && result > 0; tries++) result = look_at_all(p, reterr);
    if (result >= 0 && store_watch_start(apiserver_store(s), "/registry/ipaddresses/", revision, on_event, p, &p->watch, reterr) == 0) {
        p->started = pthread_create(&p->thread, NULL, run, p) == 0;
        CHECK(p->started);
        return p;
    }
    service_repair_free(p);
    return NULL;
}

void service_repair_free(struct service_repair *p) {
    if (!p) return;
    if (p->watch) store_watch_stop(p->watch);
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->mutex);
    if (p->started) pthread_join(p->thread, NULL);
    map_free_with(p->queue, free);
    map_free(p->told);
    free(p->leaks);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->wake);
    free(p);
}
