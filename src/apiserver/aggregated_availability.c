#include "apiserver/aggregated_availability.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "api/time.h"
#include "apiserver/aggregation.h"
#include "apiserver/registry.h"
#include "apiserver/service_client.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/str.h"

enum { RECHECK_MS = 30000, RETRY_MS = 250, RETRY_MAX_MS = 30000, ATTEMPTS = 5, TIMEOUT_MS = 5000, MS = 1000000, STOP_POLL_MS = 5 };
enum { WATCH_API_SERVICES, WATCH_SERVICES, WATCH_SLICES, WATCHES };

/* One that is to be kept. */
struct item {
    struct availability *of;
    char *name, *namespace, *service; /* of the Service it refers to */
    bool busy, again;
    unsigned failures;
    int64_t due_ms;
};
struct availability {
    struct apiserver *server;
    struct loop *loop;
    struct store_watch *watches[WATCHES];
    struct watching { struct availability *of; int what; } watching[WATCHES];
    /* The loop's: */
    struct loop_timer *timer;
    size_t busy;
    bool stopping;
    pthread_mutex_t mutex;            /* of items' names: the store's writer looks whom an event is of interest to */
    struct map *items;                /* by name */
};

static const struct strategy *api_services(void) { return strategy_find("apiregistration.k8s.io", "apiservices"); }
static int64_t now_ms(void) { return env_mono_ns(env_real()) / MS; }

/* ---- the condition ---- */

struct verdict { const char *status, *reason, *message; };

static bool set_condition(struct arena *a, struct apiregistrationv1_APIService *s, const struct verdict *v, int64_t now_s) {
    struct apiregistrationv1_APIServiceCondition *c = NULL;
    LIST_FOREACH(i, &s->status.conditions)
        if (str_eq(i->type, "Available")) c = i;
    if (c && str_eq(c->status, v->status) && str_eq(c->reason, v->reason) && str_eq(c->message, v->message)) return false;
    if (!c) c = LIST_PUSH(a, &s->status.conditions);
    if (!str_eq(c->status, v->status)) c->lastTransitionTime = time_from_s(now_s);
    c->type = "Available";
    c->status = v->status;
    c->reason = v->reason;
    c->message = v->message;
    return true;
}

/* Of the APIService as it is now; what changed meanwhile is checked anew anyway. */
static void write_condition(struct api_request *r, const char *name, const struct verdict *v) {
    void *obj;
    uint64_t revision;
    size_t rv_offset;
    _cleanup_buf_ struct buf out = BUF_INIT;
    struct store_result res;
    if (registry_get(r, api_services(), NULL, name, &obj, &revision, NULL) != 0 || !set_condition(r->arena, obj, v, env_now_s(apiserver_env(r->server)))) return;
    object_set_type_meta(r->arena, api_services()->type, obj);
    object_encode_stored(api_services()->type, obj, &out, &rv_offset);
    const struct store_op op = {.key = storage_key(r->arena, api_services(), NULL, name), .expect_mod_revision = (int64_t)revision, .value = out.data, .value_len = out.len, .rv_offset = (uint32_t)rv_offset};
    store_write_wait(apiserver_store(r->server), &op, 1, &res);
    if (res.outcome == STORE_OK) log_info("APIService %s: Available is %s now (%s: %s)", name, v->status, v->reason, v->message);
    if (res.outcome == STORE_FAILED) status_release(&res.error);
}

/* ---- the checks ---- */

struct slices { struct api_request *r; const char *service, *port; size_t len; bool available; };

static bool take_slice(void *arg, const struct store_view *view) {
    struct slices *all = arg;
    const struct discoveryv1_EndpointSlice *s = registry_decode(all->r->arena, strategy_find("discovery.k8s.io", "endpointslices"), view);
    bool ready = false, port = false;
    if (!s || !str_eq(string_map_get(&s->metadata.labels, "kubernetes.io/service-name"), all->service)) return true;
    LIST_FOREACH(e, &s->endpoints) ready |= !e->conditions.ready.has || e->conditions.ready.value;
    LIST_FOREACH(p, &s->ports) port |= p->name && str_eq(p->name, all->port) && p->port.has;
    all->len++;
    all->available |= ready && port;
    return true;
}

#define UNAVAILABLE(reason, ...) ((struct verdict){"False", reason, arena_printf(r->arena, __VA_ARGS__)})
#define UNKNOWN(reason, ...) ((struct verdict){"Unknown", reason, arena_printf(r->arena, __VA_ARGS__)})

/* Of a Service with a cluster IP; true when there is nothing to say against it. */
static bool check_service(struct api_request *r, const struct corev1_Service *service, int port, struct verdict *ret) {
    const char *name = service->metadata.name, *namespace = service->metadata.namespace;
    struct slices slices = {.r = r, .service = name};
    _cleanup_status_ struct status err = STATUS_INIT;
    struct store_txn *t;
    LIST_FOREACH(p, &service->spec.ports)
        if (p->port == port && !slices.port) slices.port = str_or(p->name, "");
    if (!slices.port) *ret = UNAVAILABLE("ServicePortError", "service/%s in \"%s\" is not listening on port %d", name, namespace, port);
    else if (store_read_begin(apiserver_store(r->server), &t, &err) != 0) *ret = UNKNOWN("EndpointsAccessError", "service/%s in \"%s\" cannot be checked due to: %s", name, namespace, status_message(&err));
    else {
        store_range(t, storage_key(r->arena, strategy_find("discovery.k8s.io", "endpointslices"), namespace, NULL), NULL, take_slice, &slices);
        store_read_end(t);
        if (!slices.len) *ret = UNAVAILABLE("EndpointsNotFound", "cannot find endpointslices for service/%s in \"%s\"", name, namespace);
        else if (!slices.available) *ret = UNAVAILABLE("MissingEndpoints", "endpointslices for service/%s in \"%s\" have no addresses with port name \"%s\"", name, namespace, slices.port);
        else return true;
    }
    return false;
}

static struct verdict check(struct api_request *r, const struct apiregistrationv1_APIService *s) {
    const struct apiregistrationv1_ServiceReference *ref = s->spec.service;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct verdict v;
    void *service;
    int found = registry_find(r, strategy_find("", "services"), ref->namespace, ref->name, &service, &err);
    if (found == 0) return UNAVAILABLE("ServiceNotFound", "service/%s in \"%s\" is not present", ref->name, ref->namespace);
    if (found < 0) return UNKNOWN("ServiceAccessError", "service/%s in \"%s\" cannot be checked due to: %s", ref->name, ref->namespace, status_message(&err));
    if (str_eq(((const struct corev1_Service *)service)->spec.type, "ClusterIP") && !check_service(r, service, ref->port.has ? ref->port.value : 443, &v)) return v;
    for (int i = 0; i < ATTEMPTS; i++) {
        status_release(&err);
        err = (struct status)STATUS_INIT;
        if (aggregated_probe(r, s, TIMEOUT_MS, &err) == 0) return (struct verdict){"True", "Passed", "all checks passed"};
        if (err.code == 504) break; /* it hangs, and so would the next */
    }
    return UNAVAILABLE("FailedDiscoveryCheck", "%s", status_message(&err));
}

/* ---- one of them, when it is due ---- */

static void replace(char **to, const char *with) {
    free(*to);
    *to = with ? strdup(with) : NULL;
}

static void item_free(void *arg) {
    struct item *i = arg;
    free(i->name);
    free(i->namespace);
    free(i->service);
    free(i);
}

static void remember(struct item *i, const struct apiregistrationv1_ServiceReference *ref) {
    pthread_mutex_lock(&i->of->mutex);
    replace(&i->namespace, ref->namespace);
    replace(&i->service, ref->name);
    pthread_mutex_unlock(&i->of->mutex);
}

static int64_t pause_ms(struct item *i, const struct verdict *v) {
    if (strcmp(v->status, "True") == 0) i->failures = 0;
    else i->failures++;
    return i->failures ? MIN((int64_t)RETRY_MS << MIN(i->failures - 1, 10u), (int64_t)RETRY_MAX_MS) : RECHECK_MS;
}

/* Wakes the loop when the next is due, and not at all while there is none. */
static void schedule(struct availability *v) {
    int64_t next = INT64_MAX;
    const char *name;
    void *item;
    for (size_t i = 0; map_next(v->items, &i, &name, &item);)
        if (!((struct item *)item)->busy) next = MIN(next, ((struct item *)item)->due_ms);
    if (!v->timer) return;
    if (next == INT64_MAX) loop_timer_stop(v->timer);
    else loop_timer_start(v->timer, (uint64_t)MAX(next - now_ms(), (int64_t)1), 0);
}

/* False: there is nothing to keep any more. */
static bool look(struct item *i) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct api_request r = {.server = i->of->server, .arena = a};
    void *obj;
    int found = registry_find(&r, api_services(), NULL, i->name, &obj, NULL);
    const struct apiregistrationv1_APIService *s = obj;
    if (found == 0 || (found > 0 && !s->spec.service)) return false;
    i->due_ms = now_ms() + RETRY_MAX_MS;
    if (found < 0) return true;
    remember(i, s->spec.service);
    struct verdict v = check(&r, s);
    i->due_ms = now_ms() + pause_ms(i, &v);
    if (!i->again && !i->of->stopping) write_condition(&r, i->name, &v);
    return true;
}

static void work(void *arg) {
    struct item *i = arg;
    struct availability *v = i->of;
    bool keep;
    do {
        i->again = false;
        keep = look(i);
    } while (i->again && !v->stopping);
    i->busy = false;
    v->busy--;
    if (!keep) {
        pthread_mutex_lock(&v->mutex);
        map_del(v->items, i->name);
        pthread_mutex_unlock(&v->mutex);
        item_free(i);
    }
    schedule(v);
}

static void begin(struct item *i) {
    i->again = i->busy;
    if (i->busy || i->of->stopping) return;
    i->busy = true;
    i->of->busy++;
    fiber_spawn(work, i);
}

static void tick(void *arg) {
    struct availability *v = arg;
    struct item *due[64];
    size_t n = 0;
    const char *name;
    void *item;
    for (size_t i = 0; n < ARRAY_LEN(due) && map_next(v->items, &i, &name, &item);)
        if (!((struct item *)item)->busy && ((struct item *)item)->due_ms <= now_ms()) due[n++] = item;
    for (size_t i = 0; i < n; i++) begin(due[i]);
    schedule(v);
}

/* ---- what changes ---- */

struct change { struct availability *of; char *name; };

static void changed(void *arg) {
    struct change *c = arg;
    struct availability *v = c->of;
    struct item *i = map_get(v->items, c->name);
    if (!i) {
        i = calloc(1, sizeof(*i));
        CHECK(i);
        i->of = v;
        i->name = strdup(c->name);
        pthread_mutex_lock(&v->mutex);
        map_put(v->items, i->name, i);
        pthread_mutex_unlock(&v->mutex);
    }
    i->failures = 0;
    begin(i);
    free(c->name);
    free(c);
}

static void post(struct availability *v, const char *name) {
    struct change *c = malloc(sizeof(*c));
    CHECK(c);
    *c = (struct change){v, strdup(name)};
    loop_post(v->loop, changed, c);
}

/* Whether the key is that of the item's Service, or of an EndpointSlice that may be its: they are named after it. */
static bool concerns(const struct item *i, const char *key, bool slice) {
    const char *name = strrchr(key, '/'), *namespace = name;
    if (!i->namespace || !i->service || !name) return false;
    while (namespace > key && namespace[-1] != '/') namespace--;
    size_t len = strlen(i->namespace), service = strlen(i->service);
    if ((size_t)(name - namespace) != len || strncmp(namespace, i->namespace, len) != 0) return false;
    return strncmp(name + 1, i->service, service) == 0 && (slice || !name[1 + service]);
}

/* On the store's writer thread. */
static void on_event(void *arg, struct store_event *e) {
    struct watching *w = arg;
    struct availability *v = w->of;
    const char *name;
    void *item;
    if (w->what == WATCH_API_SERVICES) {
        post(v, strrchr(e->key, '/') + 1);
        return;
    }
    pthread_mutex_lock(&v->mutex);
    for (size_t i = 0; map_next(v->items, &i, &name, &item);)
        if (concerns(item, e->key, w->what == WATCH_SLICES)) post(v, name);
    pthread_mutex_unlock(&v->mutex);
}

static bool take_name(void *arg, const struct store_view *view) {
    _cleanup_arena_ struct arena *a = arena_new();
    const struct apiregistrationv1_APIService *s = registry_decode(a, api_services(), view);
    if (s && s->spec.service) post(arg, s->metadata.name);
    return true;
}

/* ---- life ---- */

static void begin_timer(void *arg) {
    struct availability *v = arg;
    v->timer = loop_timer_new(tick, v);
}

static void end_timer(void *arg) {
    struct availability *v = arg;
    v->stopping = true;
    loop_timer_free(v->timer);
    v->timer = NULL;
    while (v->busy) fiber_sleep_ms(STOP_POLL_MS);
}

static int watch(struct availability *v, struct status *reterr) {
    const struct strategy *of[WATCHES] = {api_services(), strategy_find("", "services"), strategy_find("discovery.k8s.io", "endpointslices")};
    struct store_txn *t;
    _cleanup_arena_ struct arena *a = arena_new();
    if (store_read_begin(apiserver_store(v->server), &t, reterr) != 0) return -1;
    uint64_t revision = store_txn_revision(t);
    store_range(t, storage_key(a, api_services(), NULL, NULL), NULL, take_name, v);
    store_read_end(t);
    for (int i = 0; i < WATCHES; i++) {
        v->watching[i] = (struct watching){v, i};
        if (store_watch_start(apiserver_store(v->server), storage_key(a, of[i], NULL, NULL), revision, on_event, &v->watching[i], &v->watches[i], reterr) != 0) return -1;
    }
    return 0;
}

struct availability *availability_start(struct apiserver *s, struct status *reterr) {
    struct availability *v = calloc(1, sizeof(*v));
    CHECK(v);
    v->server = s;
    v->items = map_new();
    pthread_mutex_init(&v->mutex, NULL);
    v->loop = loop_new();
    loop_start(v->loop);
    loop_call(v->loop, begin_timer, v);
    if (watch(v, reterr) == 0) return v;
    availability_stop(v);
    return NULL;
}

void availability_stop(struct availability *v) {
    if (!v) return;
    for (int i = 0; i < WATCHES; i++)
        if (v->watches[i]) store_watch_stop(v->watches[i]);
    loop_call(v->loop, end_timer, v);
    loop_stop(v->loop);
    loop_free(v->loop);
    map_free_with(v->items, item_free);
    pthread_mutex_destroy(&v->mutex);
    free(v);
}
