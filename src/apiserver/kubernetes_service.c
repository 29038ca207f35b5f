#include "apiserver/kubernetes_service.h"
#include <pthread.h>
#include <string.h>
#include "apiserver/allocators.h"
#include "apiserver/local_transport.h"
#include "apiserver/registry.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client.h"

#define NAME "kubernetes"
#define NAMESPACE "default"
#define LEASES "/registry/masterleases/"
#define SKIP_MIRROR_LABEL "endpointslice.kubernetes.io/skip-mirror"
#define SERVICE_NAME_LABEL "kubernetes.io/service-name"
enum { INTERVAL_MS = 10000, LEASE_S = 15, RETRY_MS = 1000, CONFLICT_RETRY_MS = 100, STORE_TIMEOUT_MS = 2000, SERVICE_PORT = 443, DEFAULT_PORT = 6443 };

struct kubernetes_service {
    struct apiserver *server;
    struct env *env;
    struct client *client;
    const char *address, *key; /* of our lease */
    struct store_watch *watch;
    struct arena *arena;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop, changed; /* changed: a lease came or went */
};

struct corev1_Service *kubernetes_service_object(struct arena *a, struct apiserver *s) {
    struct corev1_Service *svc = object_new(a, &corev1_Service_desc);
    int port = apiserver_options(s)->secure_port;
    svc->metadata.name = NAME;
    svc->metadata.namespace = NAMESPACE;
    string_map_set(a, &svc->metadata.labels, "component", "apiserver");
    string_map_set(a, &svc->metadata.labels, "provider", "kubernetes");
    svc->spec.clusterIP = ip_range_first(a, apiserver_service_range(s, 0));
    svc->spec.ipFamilyPolicy = "SingleStack";
    svc->spec.type = "ClusterIP";
    *LIST_PUSH(a, &svc->spec.ports) = (struct corev1_ServicePort){.name = "https", .protocol = "TCP", .port = SERVICE_PORT, .targetPort = {INTSTR_INT, port ? port : DEFAULT_PORT, NULL}};
    return svc;
}

/* ---- leases ---- */

static const struct strategy *lease_strategy(void) { return strategy_find("", "endpoints"); }

static int read_begin(struct kubernetes_service *k, struct store_txn **ret, struct status *reterr) { return store_read_begin(apiserver_store(k->server), ret, reterr); }

static int write_lease(struct kubernetes_service *k, const struct store_op *op, struct status *reterr) {
    struct store_result res;
    store_write_wait(apiserver_store(k->server), op, 1, &res);
    if (res.outcome != STORE_FAILED) return 0; /* without a guard there is no conflict */
    status_copy(reterr, &res.error);
    status_release(&res.error);
    return -1;
}

/* The object in which upstream keeps it: Endpoints without a name, with one address. */
static int renew_lease(struct kubernetes_service *k, struct arena *a, struct status *reterr) {
    struct corev1_Endpoints *lease = object_new(a, &corev1_Endpoints_desc), *before = NULL;
    _cleanup_buf_ struct buf out = BUF_INIT;
    struct store_txn *t;
    struct store_view v;
    size_t rv_offset;
    if (read_begin(k, &t, reterr) != 0) return -1;
    if (store_get(t, k->key, &v)) before = registry_decode(a, lease_strategy(), &v);
    store_read_end(t);
    lease->metadata.generation = (before ? before->metadata.generation : 0) + 1;
    struct corev1_EndpointSubset *subset = LIST_PUSH(a, &lease->subsets);
    *LIST_PUSH(a, &subset->addresses) = (struct corev1_EndpointAddress){.ip = k->address};
    object_encode_stored(&corev1_Endpoints_desc, lease, &out, &rv_offset);
    return write_lease(k, &(struct store_op){.key = k->key, .expect_mod_revision = STORE_ANY, .value = out.data, .value_len = out.len, .rv_offset = (uint32_t)rv_offset, .ttl_s = LEASE_S}, reterr);
}

static int remove_lease(struct kubernetes_service *k, struct status *reterr) {
    return write_lease(k, &(struct store_op){.key = k->key, .expect_mod_revision = STORE_ANY}, reterr);
}

struct addresses { struct arena *a; struct string_list list; };

static bool take_address(void *arg, const struct store_view *v) {
    struct addresses *to = arg;
    const struct corev1_Endpoints *lease = registry_decode(to->a, lease_strategy(), v);
    if (lease && lease->subsets.len && lease->subsets.items[0].addresses.len && !str_empty(lease->subsets.items[0].addresses.items[0].ip))
        string_list_push(to->a, &to->list, lease->subsets.items[0].addresses.items[0].ip);
    return true;
}

/* In the order of their keys, which is the one that Endpoints are kept in. */
static int list_leases(struct kubernetes_service *k, struct arena *a, struct string_list *ret, struct status *reterr) {
    struct addresses to = {.a = a};
    struct store_txn *t;
    if (read_begin(k, &t, reterr) != 0) return -1;
    store_range(t, LEASES, NULL, take_address, &to);
    store_read_end(t);
    *ret = to.list;
    return 0;
}

/* On the store's thread. */
static void on_lease(void *arg, struct store_event *e) {
    struct kubernetes_service *k = arg;
    if (e->type == STORE_PUT && (e->prev || str_eq(e->key, k->key))) return; /* renewed, or ours */
    pthread_mutex_lock(&k->mutex);
    k->changed = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
}

/* ---- Endpoints and EndpointSlice ---- */

static bool same_endpoints(const struct discoveryv1_EndpointSlice *x, const struct discoveryv1_EndpointSlice *y) {
    struct discoveryv1_EndpointSlice a = {.endpoints = x->endpoints, .ports = x->ports}, b = {.endpoints = y->endpoints, .ports = y->ports};
    return object_equal(&discoveryv1_EndpointSlice_desc, &a, &b) && string_map_equal(&x->metadata.labels, &y->metadata.labels);
}

static struct discoveryv1_EndpointSlice *slice_of(struct arena *a, const struct corev1_Endpoints *e) {
    struct discoveryv1_EndpointSlice *slice = object_new(a, &discoveryv1_EndpointSlice_desc);
    slice->metadata.name = NAME;
    slice->metadata.namespace = NAMESPACE;
    string_map_set(a, &slice->metadata.labels, SERVICE_NAME_LABEL, NAME);
    slice->addressType = "IPv4";
    slice->endpoints.items = arena_list_alloc(a, 0, sizeof(*slice->endpoints.items));
    if (!e->subsets.len) return slice;
    const struct corev1_EndpointSubset *subset = &e->subsets.items[0];
    bool ipv6 = subset->addresses.len > 0;
    LIST_FOREACH(address, &subset->addresses) ipv6 = ipv6 && strchr(address->ip, ':');
    if (ipv6) slice->addressType = "IPv6";
    LIST_FOREACH(p, &subset->ports)
        *LIST_PUSH(a, &slice->ports) = (struct discoveryv1_EndpointPort){.name = str_or(p->name, ""), .protocol = p->protocol, .port = OPT(p->port)};
    LIST_FOREACH(address, &subset->addresses) {
        if ((strchr(address->ip, ':') != NULL) != ipv6) continue;
        struct discoveryv1_Endpoint *ep = LIST_PUSH(a, &slice->endpoints);
        string_list_push(a, &ep->addresses, address->ip);
        ep->conditions.ready = (struct opt_bool)OPT(true);
    }
    return slice;
}

/* 0 also if another apiserver was faster. */
static int create(struct kubernetes_service *k, struct arena *a, const struct type_desc *type, const void *obj, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_create(k->client, a, type, obj, NULL, &err) == 0 || str_eq(err.reason, REASON_ALREADY_EXISTS)) return 0;
    status_copy(reterr, &err);
    return -1;
}

static int ensure_slice(struct kubernetes_service *k, struct arena *a, const struct corev1_Endpoints *e, struct status *reterr) {
    struct discoveryv1_EndpointSlice *want = slice_of(a, e), now;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_get(k->client, a, &discoveryv1_EndpointSlice_desc, NAMESPACE, NAME, &now, &err) != 0) {
        if (status_is(&err, 404)) return create(k, a, &discoveryv1_EndpointSlice_desc, want, reterr);
        status_copy(reterr, &err);
        return -1;
    }
    if (!str_eq(now.addressType, want->addressType)) { /* it cannot be changed */
        if (client_delete(k->client, &discoveryv1_EndpointSlice_desc, NAMESPACE, NAME, NULL, reterr) != 0) return -1;
        return create(k, a, &discoveryv1_EndpointSlice_desc, want, reterr);
    }
    if (same_endpoints(&now, want)) return 0;
    return client_update(k->client, a, &discoveryv1_EndpointSlice_desc, want, NULL, reterr);
}

static struct corev1_EndpointPort port_of(const struct kubernetes_service *k) {
    return (struct corev1_EndpointPort){.name = "https", .protocol = "TCP", .port = apiserver_port(k->server)};
}

static bool same_addresses(const struct corev1_EndpointSubset *subset, const struct string_list *want) {
    if (subset->addresses.len != want->len) return false;
    for (size_t i = 0; i < want->len; i++)
        if (!str_eq(subset->addresses.items[i].ip, want->items[i])) return false;
    return true;
}

static bool same_ports(const struct kubernetes_service *k, const struct corev1_EndpointSubset *subset) {
    const struct corev1_EndpointPort want = port_of(k), *p = subset->ports.items;
    return subset->ports.len == 1 && str_eq(p->name, want.name) && str_eq(p->protocol, want.protocol) && p->port == want.port && !p->appProtocol;
}

/* Makes e what it should be; false if it is that already. The ports of others' making are corrected only when asked for. */
static bool correct(struct kubernetes_service *k, struct arena *a, struct corev1_Endpoints *e, const struct string_list *addresses, bool ports_too) {
    bool labelled = str_eq(string_map_get(&e->metadata.labels, SKIP_MIRROR_LABEL), "true"), form = e->subsets.len == 1;
    bool ports_right = form && (!ports_too || same_ports(k, &e->subsets.items[0]));
    if (labelled && ports_right && same_addresses(&e->subsets.items[0], addresses)) return false;
    struct corev1_EndpointSubset subset = {0};
    if (ports_right) subset.ports = e->subsets.items[0].ports;
    else *LIST_PUSH(a, &subset.ports) = port_of(k);
    for (size_t i = 0; i < addresses->len; i++) *LIST_PUSH(a, &subset.addresses) = (struct corev1_EndpointAddress){.ip = addresses->items[i]};
    string_map_set(a, &e->metadata.labels, SKIP_MIRROR_LABEL, "true");
    e->subsets = (struct corev1_EndpointSubset_list){0};
    if (addresses->len) *LIST_PUSH(a, &e->subsets) = subset;
    return true;
}

static const char *joined(struct arena *a, const struct string_list *list) {
    const char *out = "none";
    for (size_t i = 0; i < list->len; i++) out = i ? arena_printf(a, "%s, %s", out, list->items[i]) : list->items[i];
    return out;
}

/* leaving: the last apiserver may leave nothing; otherwise an empty list is taken for a fault. */
static int reconcile(struct kubernetes_service *k, struct arena *a, bool ports_too, bool leaving, struct status *reterr) {
    struct corev1_Endpoints *e = object_new(a, &corev1_Endpoints_desc);
    struct string_list addresses;
    _cleanup_status_ struct status err = STATUS_INIT;
    bool is_new = client_get(k->client, a, &corev1_Endpoints_desc, NAMESPACE, NAME, e, &err) != 0;
    if (is_new && !status_is(&err, 404)) {
        status_copy(reterr, &err);
        return -1;
    }
    if (is_new && leaving) return 0;
    if (is_new) {
        e = object_new(a, &corev1_Endpoints_desc);
        e->metadata.name = NAME;
        e->metadata.namespace = NAMESPACE;
    }
    if (list_leases(k, a, &addresses, reterr) != 0) return -1;
    if (!addresses.len && !leaving) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "no API server IP addresses were listed in storage, refusing to erase all endpoints for the kubernetes Service");
    if (correct(k, a, e, &addresses, ports_too)) {
        log_info("the endpoints of the Service %s are now: %s", NAME, joined(a, &addresses));
        if ((is_new ? create(k, a, &corev1_Endpoints_desc, e, reterr) : client_update(k->client, a, &corev1_Endpoints_desc, e, NULL, reterr)) != 0) return -1;
    }
    return ensure_slice(k, a, e, reterr);
}

static int ensure_service(struct kubernetes_service *k, struct arena *a, struct status *reterr) {
    struct corev1_Service now;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_get(k->client, a, &corev1_Service_desc, NAMESPACE, NAME, &now, &err) == 0) return 0;
    if (status_is(&err, 404)) return create(k, a, &corev1_Service_desc, kubernetes_service_object(a, k->server), reterr);
    status_copy(reterr, &err);
    return -1;
}

/* ---- the loop ---- */

/* Our own lease first, whatever fails after it: the others will list us. */
static int sync_service(struct kubernetes_service *k, bool ports_too, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    if (renew_lease(k, a, reterr) != 0 || ensure_service(k, a, reterr) != 0) return -1;
    return reconcile(k, a, ports_too, false, reterr);
}

static void leave(struct kubernetes_service *k) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (store_check_health(apiserver_store(k->server), STORE_TIMEOUT_MS, &err) != 0 || remove_lease(k, &err) != 0) {
        log_error("unable to remove endpoints from kubernetes service: %s", status_message(&err));
        return;
    }
    for (int tries = 0; tries < 5; tries++) {
        _cleanup_arena_ struct arena *a = arena_new();
        if (reconcile(k, a, true, true, &err) == 0) return;
        if (!status_is(&err, 409)) break; /* another apiserver, which has seen our lease go, writes the same */
    }
    log_error("unable to remove endpoints from kubernetes service: %s", status_message(&err));
}

/* False: it is to end. */
static bool wait_for_work(struct kubernetes_service *k, int ms) {
    int64_t until = env_mono_ns(k->env) + ms * INT64_C(1000000);
    pthread_mutex_lock(&k->mutex);
    while (!k->stop && !k->changed && env_cond_wait(k->env, &k->wake, &k->mutex, until)) {}
    k->changed = false;
    bool go_on = !k->stop;
    pthread_mutex_unlock(&k->mutex);
    return go_on;
}

/* Upstream takes itself out at first, until it is ready to serve. We serve from the start; what may be missing is etcd, without which nothing can be taken out. */
static void *run(void *arg) {
    struct kubernetes_service *k = arg;
    bool first = true;
    int wait_ms;
    do {
        _cleanup_status_ struct status err = STATUS_INIT;
        wait_ms = INTERVAL_MS;
        if (store_check_health(apiserver_store(k->server), STORE_TIMEOUT_MS, NULL) != 0) wait_ms = RETRY_MS;
        else if (sync_service(k, first, &err) == 0) first = false;
        else if (status_is(&err, 409)) wait_ms = CONFLICT_RETRY_MS;
        else {
            log_error("unable to sync kubernetes service: %s", status_message(&err));
            wait_ms = RETRY_MS;
        }
    } while (wait_for_work(k, wait_ms));
    leave(k);
    return NULL;
}

/* ---- life ---- */

static void destroy(struct kubernetes_service *k) {
    if (k->watch) store_watch_stop(k->watch);
    client_free(k->client);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->mutex);
    arena_free(k->arena);
    free(k);
}

struct kubernetes_service *kubernetes_service_start(struct apiserver *s, struct status *reterr) {
    static const char *const groups[] = {"system:masters", NULL};
    struct kubernetes_service *k = calloc(1, sizeof(*k));
    CHECK(k);
    k->server = s;
    k->env = apiserver_env(s);
    k->arena = arena_new();
    k->address = arena_strdup(k->arena, apiserver_options(s)->advertise_address);
    k->key = arena_printf(k->arena, LEASES "%s", k->address);
    k->client = client_new(local_transport_new(s, "system:apiserver", groups, "kube-apiserver"));
    pthread_mutex_init(&k->mutex, NULL);
    env_cond_init(&k->wake);
    if (store_watch_start(apiserver_store(s), LEASES, store_dispatched_revision(apiserver_store(s)), on_lease, k, &k->watch, reterr) == 0) {
        CHECK(pthread_create(&k->thread, NULL, run, k) == 0);
        return k;
    }
    destroy(k);
    return NULL;
}

void kubernetes_service_stop(struct kubernetes_service *k) {
    if (!k) return;
    pthread_mutex_lock(&k->mutex);
    k->stop = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
    pthread_join(k->thread, NULL);
    destroy(k);
}
