/* ServiceCIDRs: Ready when they may be used, and not gone before their last address is. Upstream: pkg/controller/servicecidrs.
 *
 * A deleted one stays while an IPAddress lies in it and in no other, and ten seconds at least, since an allocator may not know yet. Tests: tests/unit/test_controller_cluster.c. */
#include "base/str.h"
#include "controller/cidr_set.h"
#include "controller/controllers.h"
#include "controller/protection.h"

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"
enum { GRACE_MS = 10000 };

struct service_cidr { struct controller *c; struct informer *cidrs, *addresses; };

static bool contains(const struct networkingv1_ServiceCIDR *s, const char *address) {
    LIST_FOREACH(cidr, &s->spec.cidrs)
        if (cidr_contains(*cidr, address)) return true;
    return false;
}

static bool in_another(struct service_cidr *sc, const struct networkingv1_ServiceCIDR *s, const char *address) {
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(sc->cidrs, NULL, &all);
    CACHED_FOREACH(other, networkingv1_ServiceCIDR, &all)
        if (!str_eq(other->metadata.name, s->metadata.name) && !other->metadata.deletionTimestamp.set && contains(other, address)) return true;
    return false;
}

static int in_use(void *self, struct arena *a UNUSED, const void *obj, struct status *reterr UNUSED) {
    struct service_cidr *sc = self;
    const struct networkingv1_ServiceCIDR *s = obj;
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(sc->addresses, NULL, &all);
    for (size_t i = 0; i < all.len; i++) {
        const char *address = all.items[i]->obj->metadata.name;
        if (contains(s, address) && !in_another(sc, s, address)) return 1;
    }
    return 0;
}

static int set_ready(struct service_cidr *sc, struct arena *a, const struct networkingv1_ServiceCIDR *now, const char *status, const char *reason, const char *message, struct status *reterr) {
    struct networkingv1_ServiceCIDR *s = object_copy(a, &networkingv1_ServiceCIDR_desc, now);
    struct metav1_Condition *c = NULL;
    LIST_FOREACH(x, &s->status.conditions)
        if (str_eq(x->type, "Ready")) c = x;
    if (c && str_eq(c->status, status) && str_eq(c->reason, reason) && str_eq(c->message, message)) return 0;
    if (!c) c = LIST_PUSH(a, &s->status.conditions);
    *c = (struct metav1_Condition){.type = "Ready", .status = status, .reason = reason, .message = message, .lastTransitionTime = {.set = true, .sec = env_now_s(sc->c->env)}};
    return client_update_status(sc->c->client, a, &networkingv1_ServiceCIDR_desc, s, NULL, reterr);
}

static int sync_cidr(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct service_cidr *sc = self;
    _cleanup_cached_ struct cached *cached = informer_get(sc->cidrs, NULL, key);
    if (!cached) return 0;
    const struct networkingv1_ServiceCIDR *s = CACHED(cached, networkingv1_ServiceCIDR);
    if (!s->metadata.deletionTimestamp.set) {
        if (!string_list_has(&s->metadata.finalizers, FINALIZER)) return protection_sync(sc->c, a, &networkingv1_ServiceCIDR_desc, cached->obj, FINALIZER, in_use, sc, reterr);
        return set_ready(sc, a, s, "True", "", "Kubernetes Service CIDR is ready", reterr);
    }
    if (!string_list_has(&s->metadata.finalizers, FINALIZER)) return 0;
    if (in_use(sc, a, s, reterr)) return set_ready(sc, a, s, "False", "Terminating", "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR", reterr);
    int64_t left_ms = s->metadata.deletionTimestamp.sec * 1000 + GRACE_MS - env_now_ns(sc->c->env) / 1000000;
    if (left_ms <= 0) return protection_sync(sc->c, a, &networkingv1_ServiceCIDR_desc, cached->obj, FINALIZER, in_use, sc, reterr);
    work_queue_add_after(sc->c->queue, key, left_ms);
    return 0;
}

/* What happens to one may free another. */
static void enqueue_all(struct service_cidr *sc) {
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(sc->cidrs, NULL, &all);
    for (size_t i = 0; i < all.len; i++) controller_enqueue(sc->c, all.items[i]->obj);
}
static void on_change(void *data, struct cached *any UNUSED) { enqueue_all(data); }
static void on_update(void *data, struct cached *old UNUSED, struct cached *now UNUSED) { enqueue_all(data); }

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct service_cidr *sc = calloc(1, sizeof(*sc));
    CHECK(sc);
    sc->c = c;
    sc->cidrs = informers_get(c->context->informers, &networkingv1_ServiceCIDR_desc);
    sc->addresses = informers_get(c->context->informers, &networkingv1_IPAddress_desc);
    informer_add_handler(sc->cidrs, &(struct informer_handler){sc, on_change, on_update, on_change});
    informer_add_handler(sc->addresses, &(struct informer_handler){sc, NULL, NULL, on_change});
    return sc;
}

const struct controller_desc controller_service_cidr = {.name = "service-cidr-controller", .queue = "ipaddresses", .account = "service-cidrs-controller", .workers = 5, .new = new, .sync = sync_cidr, .free = free};
