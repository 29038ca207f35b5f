/* Helpers of the endpoints' controllers: see service_util.h. */
#include "controller/service_util.h"
#include <arpa/inet.h>
#include "api/time.h"
#include "base/map.h"
#include "base/str.h"

/* ---- who is woken by a Pod ---- */

static void enqueue_selecting(struct service_watch *w, const struct corev1_Pod *pod, const struct corev1_Pod *not_if_selecting) {
    _cleanup_cached_list_ struct cached_list services = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    informer_list(w->services, pod->metadata.namespace, &services);
    CACHED_FOREACH(svc, corev1_Service, &services) {
        if (!svc->spec.selector.len) continue;
        struct selector s = selector_from_map(a, &svc->spec.selector);
        if (!selector_matches(&s, &pod->metadata.labels)) continue;
        if (not_if_selecting && selector_matches(&s, &not_if_selecting->metadata.labels)) continue;
        controller_enqueue(w->c, svc);
    }
}

static bool same_addresses(const struct corev1_Pod *a, const struct corev1_Pod *b) {
    if (a->status.podIPs.len != b->status.podIPs.len || !str_eq(a->status.podIP, b->status.podIP)) return false;
    for (size_t i = 0; i < a->status.podIPs.len; i++)
        if (!str_eq(a->status.podIPs.items[i].ip, b->status.podIPs.items[i].ip)) return false;
    return true;
}

static void on_pod_add(void *data, struct cached *now) { enqueue_selecting(data, CACHED(now, corev1_Pod), NULL); }
static void on_pod_delete(void *data, struct cached *old) { enqueue_selecting(data, CACHED(old, corev1_Pod), NULL); }

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_Pod *was = CACHED(old, corev1_Pod), *is = CACHED(now, corev1_Pod);
    bool moved = !string_map_equal(&was->metadata.labels, &is->metadata.labels) || !str_eq(was->spec.hostname, is->spec.hostname) || !str_eq(was->spec.subdomain, is->spec.subdomain);
    bool changed = was->metadata.deletionTimestamp.set != is->metadata.deletionTimestamp.set || pod_is_ready(was) != pod_is_ready(is) || !same_addresses(was, is) ||
                   pod_is_terminal(was) != pod_is_terminal(is);
    if (!moved && !changed) return;
    enqueue_selecting(data, is, changed ? NULL : was);
    if (moved) enqueue_selecting(data, was, is);
}

void service_watch_start(struct service_watch *w, struct controller *c) {
    w->c = c;
    w->services = informers_get(c->context->informers, &corev1_Service_desc);
    w->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    informer_add_handler(w->services, &(struct informer_handler){c, controller_on_add, controller_on_update, controller_on_delete});
    informer_add_handler(w->pods, &(struct informer_handler){w, on_pod_add, on_pod_update, on_pod_delete});
}

/* ---- Pods and ports ---- */

static int by_name(const void *a, const void *b) {
    return str_cmp((*(struct cached *const *)a)->obj->metadata.name, (*(struct cached *const *)b)->obj->metadata.name);
}

void service_list_pods(const struct service_watch *w, struct arena *a, const struct corev1_Service *svc, struct cached_list *ret) {
    struct selector s = selector_from_map(a, &svc->spec.selector);
    informer_list(w->pods, svc->metadata.namespace, ret);
    size_t kept = 0;
    for (size_t i = 0; i < ret->len; i++) {
        if (selector_matches(&s, &ret->items[i]->obj->metadata.labels)) ret->items[kept++] = ret->items[i];
        else cached_unref(ret->items[i]);
    }
    ret->len = kept;
    if (kept) qsort(ret->items, kept, sizeof(*ret->items), by_name);
}

bool pod_belongs_in_endpoints(const struct corev1_Pod *p, bool include_terminating) {
    if (pod_is_terminal(p) || (str_empty(p->status.podIP) && p->status.podIPs.len == 0)) return false;
    return include_terminating || !p->metadata.deletionTimestamp.set;
}

bool pod_endpoint_has_hostname(const struct corev1_Pod *p, const struct corev1_Service *svc) {
    return !str_empty(p->spec.hostname) && str_eq(p->spec.subdomain, svc->metadata.name) && str_eq(p->metadata.namespace, svc->metadata.namespace);
}

static int32_t named_port(const struct corev1_Container_list *containers, bool sidecars_only, const char *name, const char *protocol) {
    LIST_FOREACH(c, containers) {
        if (sidecars_only && !str_eq(c->restartPolicy, "Always")) continue;
        LIST_FOREACH(p, &c->ports)
            if (str_eq(p->name, name) && str_eq(p->protocol, protocol)) return p->containerPort;
    }
    return -1;
}

int32_t pod_find_port(const struct corev1_Pod *p, const struct corev1_ServicePort *port) {
    if (port->targetPort.kind != INTSTR_STRING) return port->targetPort.i;
    int32_t n = named_port(&p->spec.containers, false, port->targetPort.s, port->protocol);
    return n >= 0 ? n : named_port(&p->spec.initContainers, true, port->targetPort.s, port->protocol);
}

bool service_has_cluster_ip(const struct corev1_Service *svc) { return !str_empty(svc->spec.clusterIP) && !str_eq(svc->spec.clusterIP, "None"); }

static const char *canonical(struct arena *a, const char *ip, bool ipv6) {
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN];
    if (str_empty(ip) || (strchr(ip, ':') != NULL) != ipv6 || inet_pton(ipv6 ? AF_INET6 : AF_INET, ip, bytes) != 1) return NULL;
    return arena_strdup(a, inet_ntop(ipv6 ? AF_INET6 : AF_INET, bytes, text, sizeof(text)));
}

const char *pod_address(struct arena *a, const struct corev1_Pod *p, bool ipv6) {
    LIST_FOREACH(ip, &p->status.podIPs) {
        const char *text = canonical(a, ip->ip, ipv6);
        if (text) return text;
    }
    return p->status.podIPs.len ? NULL : canonical(a, p->status.podIP, ipv6);
}

static void address_bytes(const char *text, unsigned char ret[16]) {
    memset(ret, 0, 16);
    if (text && strchr(text, ':')) {
        inet_pton(AF_INET6, text, ret);
        return;
    }
    ret[10] = ret[11] = 0xff;
    inet_pton(AF_INET, str_or(text, ""), ret + 12);
}

int address_compare(const char *a, const char *b) {
    unsigned char x[16], y[16];
    address_bytes(a, x);
    address_bytes(b, y);
    return memcmp(x, y, 16);
}

/* ---- trigger times ---- */

struct service_times { struct map *pods; int64_t created_s; }; /* pods: name -> when it became ready or not, as an integer */
struct trigger_times { pthread_mutex_t mutex; struct map *services; };

static void service_times_free(void *p) {
    map_free(((struct service_times *)p)->pods);
    free(p);
}

struct trigger_times *trigger_times_new(void) {
    struct trigger_times *t = calloc(1, sizeof(*t));
    CHECK(t);
    pthread_mutex_init(&t->mutex, NULL);
    t->services = map_new();
    return t;
}

void trigger_times_free(struct trigger_times *t) {
    if (!t) return;
    map_free_with(t->services, service_times_free);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

void trigger_times_delete(struct trigger_times *t, const char *key) {
    pthread_mutex_lock(&t->mutex);
    struct service_times *s = map_del(t->services, key);
    pthread_mutex_unlock(&t->mutex);
    if (s) service_times_free(s);
}

int64_t trigger_times_compute(struct trigger_times *t, const char *key, const struct corev1_Service *svc, const struct cached_list *pods) {
    struct service_times *now = calloc(1, sizeof(*now));
    CHECK(now);
    now->pods = map_new();
    now->created_s = svc->metadata.creationTimestamp.sec;
    pthread_mutex_lock(&t->mutex);
    struct service_times *was = map_put(t->services, key, now);
    int64_t min = 0;
    CACHED_FOREACH(p, corev1_Pod, pods) {
        const struct corev1_PodCondition *ready = pod_condition(p, "Ready");
        int64_t at = ready && ready->lastTransitionTime.set ? ready->lastTransitionTime.sec : 0;
        if (!at) continue;
        map_put(now->pods, p->metadata.name, (void *)(intptr_t)at);
        if (was && at > (intptr_t)map_get(was->pods, p->metadata.name) && (!min || at < min)) min = at;
    }
    if (!was) min = now->created_s;
    else if (now->created_s > was->created_s && (!min || now->created_s < min)) min = now->created_s;
    pthread_mutex_unlock(&t->mutex);
    if (was) service_times_free(was);
    return min;
}

void trigger_time_annotate(struct arena *a, struct string_map *annotations, int64_t time_s) {
    if (!time_s) {
        string_map_del(annotations, TRIGGER_TIME_ANNOTATION);
        return;
    }
    _cleanup_buf_ struct buf b = BUF_INIT;
    struct api_time at = time_from_s(time_s);
    time_format(&at, &b);
    string_map_set(a, annotations, TRIGGER_TIME_ANNOTATION, arena_strdup(a, buf_cstr(&b)));
}

/* ---- versions ---- */

enum { VERSION_DELETED = 1 /* no object ever has it */, STALE_MAX = 500 };
#define STALE_COUNT "" /* no UID: how often in a row the cache was behind */
struct version_tracker { pthread_mutex_t mutex; struct map *owners; }; /* owner -> map of UID -> version as an integer */

static void versions_free(void *p) { map_free(p); }

struct version_tracker *version_tracker_new(void) {
    struct version_tracker *t = calloc(1, sizeof(*t));
    CHECK(t);
    pthread_mutex_init(&t->mutex, NULL);
    t->owners = map_new();
    return t;
}

void version_tracker_free(struct version_tracker *t) {
    if (!t) return;
    map_free_with(t->owners, versions_free);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

static void track(struct version_tracker *t, const char *owner, const char *uid, uint64_t version) {
    pthread_mutex_lock(&t->mutex);
    struct map *m = map_get(t->owners, owner);
    if (!m) map_put(t->owners, owner, m = map_new());
    map_put(m, uid, (void *)(uintptr_t)version);
    pthread_mutex_unlock(&t->mutex);
}

static uint64_t version_of(const struct object *obj) {
    uint64_t v = 0;
    str_to_u64(str_or(obj->metadata.resourceVersion, "0"), &v);
    return v;
}

void version_tracker_wrote(struct version_tracker *t, const char *owner, const struct object *obj) {
    if (!str_empty(obj->metadata.uid) && version_of(obj)) track(t, owner, obj->metadata.uid, version_of(obj));
}
void version_tracker_deleted(struct version_tracker *t, const char *owner, const struct object *obj) { track(t, owner, str_or(obj->metadata.uid, ""), VERSION_DELETED); }

void version_tracker_gone(struct version_tracker *t, const char *owner, const struct object *obj) {
    pthread_mutex_lock(&t->mutex);
    struct map *m = map_get(t->owners, owner);
    if (m) map_del(m, str_or(obj->metadata.uid, ""));
    pthread_mutex_unlock(&t->mutex);
}

void version_tracker_forget(struct version_tracker *t, const char *owner) {
    pthread_mutex_lock(&t->mutex);
    struct map *m = map_del(t->owners, owner);
    pthread_mutex_unlock(&t->mutex);
    map_free(m);
}

bool version_tracker_stale(struct version_tracker *t, const char *owner, const struct cached_list *cached) {
    pthread_mutex_lock(&t->mutex);
    struct map *m = map_get(t->owners, owner);
    size_t seen = 0, expected = 0;
    bool stale = false;
    const char *uid;
    void *version;
    for (size_t i = 0; m && map_next(m, &i, &uid, &version);) expected += *uid && (uintptr_t)version != VERSION_DELETED;
    for (size_t i = 0; m && i < cached->len; i++) {
        const struct object *obj = cached->items[i]->obj;
        uintptr_t want = (uintptr_t)map_get(m, str_or(obj->metadata.uid, ""));
        if (!want) continue;
        stale |= want == VERSION_DELETED || version_of(obj) < want;
        seen += want != VERSION_DELETED;
    }
    stale |= seen < expected;
    /* One that came and went before it was tracked is never seen: the wait has an end. */
    uintptr_t count = m && stale ? (uintptr_t)map_get(m, STALE_COUNT) + 1 : 0;
    if (count > STALE_MAX) {
        map_free(map_del(t->owners, owner));
        stale = false;
    } else if (m) {
        map_put(m, STALE_COUNT, (void *)count);
    }
    pthread_mutex_unlock(&t->mutex);
    return stale;
}
