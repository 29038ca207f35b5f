/* kube-proxy's loop: see proxier.h. One mutex over the objects; the rules engine is the sync thread's alone. */
#include "proxy/proxier.h"
#include <stdio.h>
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

#define MIN_SYNC_MS_DEFAULT 100
#define SYNC_MS_DEFAULT (60 * 60 * 1000)
#define RETRY_MS_MAX 30000
#define HEALTHY_MS (2 * 60 * 1000)

struct slice {
    struct arena *arena;
    struct discoveryv1_EndpointSlice *obj;
    char *service; /* namespace/name */
};

struct port_ref { char *port_name, *protocol; };

/* All we know of one namespace/name: the Service, its slices, and what of it is in the engine. */
struct service {
    char *key, *namespace, *name;
    struct arena *arena;         /* of obj */
    struct corev1_Service *obj;  /* NULL: slices only */
    struct slice **slices;
    size_t slices_len;
    struct port_ref *ports;      /* in the engine; the sync thread's */
    size_t ports_len;
    bool dirty;
};

struct proxier {
    struct env *env;
    struct proxier_config config;
    struct arena *arena;
    struct rules *rules;
    pthread_t thread;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t cond;
    struct map *services, *slices; /* by namespace/name */
    struct service **dirty;
    size_t dirty_len, dirty_cap;
    int64_t dirty_since_ns; /* the oldest change not yet in the kernel; 0: none */
    bool synced, stopping, started;
    struct proxier_stats stats;
};

struct proxier *proxier_new(struct env *env, const struct proxier_config *config, struct status *reterr) {
    struct rules *rules = rules_new(&config->rules, reterr);
    if (!rules) return NULL;
    struct proxier *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->env = env;
    p->rules = rules;
    p->arena = arena_new();
    p->config = *config;
    p->config.node_name = arena_strdup(p->arena, config->node_name);
    if (!p->config.min_sync_ms) p->config.min_sync_ms = MIN_SYNC_MS_DEFAULT;
    if (!p->config.sync_ms) p->config.sync_ms = SYNC_MS_DEFAULT;
    p->services = map_new();
    p->slices = map_new();
    pthread_mutex_init(&p->mutex, NULL);
    env_cond_init(&p->cond);
    return p;
}

static void ports_release(struct service *s) {
    for (size_t i = 0; i < s->ports_len; i++) {
        free(s->ports[i].port_name);
        free(s->ports[i].protocol);
    }
    free(s->ports);
    s->ports = NULL;
    s->ports_len = 0;
}

static void service_free(void *v) {
    struct service *s = v;
    ports_release(s);
    arena_free(s->arena);
    free(s->slices);
    free(s->key);
    free(s->namespace);
    free(s->name);
    free(s);
}

static void slice_free(void *v) {
    struct slice *s = v;
    arena_free(s->arena);
    free(s->service);
    free(s);
}

void proxier_free(struct proxier *p) {
    if (!p) return;
    CHECK(!p->started);
    rules_free(p->rules);
    map_free_with(p->services, service_free);
    map_free_with(p->slices, slice_free);
    free(p->dirty);
    arena_free(p->arena);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

static void key_make(struct buf *b, const char *namespace, const char *name) { buf_printf(b, "%s/%s", str_or(namespace, ""), str_or(name, "")); }

static struct service *service_get(struct proxier *p, const char *namespace, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    key_make(&key, namespace, name);
    struct service *s = map_get(p->services, buf_cstr(&key));
    if (s) return s;
    CHECK(s = calloc(1, sizeof(*s)));
    CHECK((s->key = strdup(buf_cstr(&key))) && (s->namespace = strdup(str_or(namespace, ""))) && (s->name = strdup(str_or(name, ""))));
    map_put(p->services, s->key, s);
    return s;
}

static void service_mark(struct proxier *p, struct service *s) {
    if (!p->dirty_since_ns) p->dirty_since_ns = env_mono_ns(p->env);
    p->stats.pending++;
    pthread_cond_signal(&p->cond);
    if (s->dirty) return;
    s->dirty = true;
    if (p->dirty_len == p->dirty_cap) {
        p->dirty_cap = p->dirty_cap ? p->dirty_cap * 2 : 16;
        CHECK(p->dirty = realloc(p->dirty, p->dirty_cap * sizeof(struct service *)));
    }
    p->dirty[p->dirty_len++] = s;
}

void proxier_set_service(struct proxier *p, const struct corev1_Service *svc) {
    pthread_mutex_lock(&p->mutex);
    struct service *s = service_get(p, svc->metadata.namespace, svc->metadata.name);
    arena_free(s->arena);
    s->arena = arena_new();
    s->obj = object_copy(s->arena, &corev1_Service_desc, svc);
    service_mark(p, s);
    pthread_mutex_unlock(&p->mutex);
}

void proxier_delete_service(struct proxier *p, const char *namespace, const char *name) {
    pthread_mutex_lock(&p->mutex);
    struct service *s = service_get(p, namespace, name);
    arena_free(s->arena);
    s->arena = NULL;
    s->obj = NULL;
    service_mark(p, s);
    pthread_mutex_unlock(&p->mutex);
}

/* Takes the slice out of its Service's list and frees it. */
static void slice_drop(struct proxier *p, const char *key) {
    struct slice *old = map_del(p->slices, key);
    if (!old) return;
    struct service *s = map_get(p->services, old->service);
    CHECK(s);
    for (size_t i = 0; i < s->slices_len; i++)
        if (s->slices[i] == old) s->slices[i--] = s->slices[--s->slices_len];
    service_mark(p, s);
    slice_free(old);
}

void proxier_set_endpoint_slice(struct proxier *p, const struct discoveryv1_EndpointSlice *slice) {
    const char *service = endpoint_slice_service(slice);
    _cleanup_buf_ struct buf key = BUF_INIT;
    key_make(&key, slice->metadata.namespace, slice->metadata.name);
    pthread_mutex_lock(&p->mutex);
    slice_drop(p, buf_cstr(&key));
    if (service && !str_eq(slice->addressType, "FQDN")) {
        struct service *s = service_get(p, slice->metadata.namespace, service);
        struct slice *new = calloc(1, sizeof(*new));
        CHECK(new && (new->service = strdup(s->key)));
        new->arena = arena_new();
        new->obj = object_copy(new->arena, &discoveryv1_EndpointSlice_desc, slice);
        CHECK(s->slices = realloc(s->slices, (s->slices_len + 1) * sizeof(struct slice *)));
        s->slices[s->slices_len++] = new;
        map_put(p->slices, buf_cstr(&key), new);
        service_mark(p, s);
    }
    pthread_mutex_unlock(&p->mutex);
}

void proxier_delete_endpoint_slice(struct proxier *p, const char *namespace, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    key_make(&key, namespace, name);
    pthread_mutex_lock(&p->mutex);
    slice_drop(p, buf_cstr(&key));
    pthread_mutex_unlock(&p->mutex);
}

void proxier_synced(struct proxier *p) {
    pthread_mutex_lock(&p->mutex);
    p->synced = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->mutex);
}

static bool port_listed(const struct service_port_list *list, const struct port_ref *ref) {
    LIST_FOREACH(sp, list)
        if (str_eq(sp->port_name, ref->port_name) && str_eq(sp->protocol, ref->protocol)) return true;
    return false;
}

/* Brings the engine's picture of one Service up to date; the kernel follows with the commit. */
static void service_apply(struct proxier *p, struct service *s) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status st = STATUS_INIT;
    struct service_port_list list = {0};
    const struct discoveryv1_EndpointSlice **slices = arena_calloc(a, s->slices_len + 1, sizeof(*slices));
    for (size_t i = 0; i < s->slices_len; i++) slices[i] = s->slices[i]->obj;
    if (s->obj) list = service_ports_build(a, s->obj, slices, s->slices_len, p->config.node_name);
    for (size_t i = 0; i < s->ports_len; i++)
        if (!port_listed(&list, &s->ports[i])) rules_delete(p->rules, s->namespace, s->name, s->ports[i].port_name, s->ports[i].protocol);
    ports_release(s);
    CHECK(s->ports = calloc(list.len + 1, sizeof(*s->ports)));
    LIST_FOREACH(sp, &list) {
        if (rules_set(p->rules, sp, &st)) {
            log_warning("proxy: %s", status_message(&st));
            continue;
        }
        struct port_ref *ref = &s->ports[s->ports_len++];
        CHECK((ref->port_name = strdup(str_or(sp->port_name, ""))) && (ref->protocol = strdup(sp->protocol)));
    }
    s->dirty = false;
    if (s->obj || s->slices_len) return;
    map_del(p->services, s->key);
    service_free(s);
}

/* With the lock held; gives it up during the commit. */
static bool proxier_sync(struct proxier *p, bool whole) {
    _cleanup_status_ struct status st = STATUS_INIT;
    for (size_t i = 0; i < p->dirty_len; i++) service_apply(p, p->dirty[i]);
    p->dirty_len = 0;
    int64_t since = p->dirty_since_ns;
    p->dirty_since_ns = 0;
    uint64_t taken = p->stats.pending;
    pthread_mutex_unlock(&p->mutex);
    if (whole) rules_mark_resync(p->rules);
    int rc = rules_commit(p->rules, &st);
    if (rc) log_error("proxy: %s", status_message(&st));
    pthread_mutex_lock(&p->mutex);
    p->stats.rules = *rules_stats(p->rules);
    p->stats.service_ports = rules_len(p->rules);
    snprintf(p->stats.last_error, sizeof(p->stats.last_error), "%s", rc ? status_message(&st) : "");
    if (rc) {
        p->dirty_since_ns = since ? since : env_mono_ns(p->env);
        return false;
    }
    p->stats.pending -= taken;
    p->stats.last_sync_mono_ns = env_mono_ns(p->env);
    return true;
}

static void *proxier_thread(void *arg) {
    struct proxier *p = arg;
    int64_t not_before = 0, whole_at = 0, retry_ms = 0;
    pthread_mutex_lock(&p->mutex);
    while (!p->stopping) {
        int64_t now = env_mono_ns(p->env);
        bool whole = now >= whole_at, due = p->synced && (whole || p->dirty_len || retry_ms);
        if (!due || now < not_before) {
            env_cond_wait(p->env, &p->cond, &p->mutex, !p->synced ? -1 : due ? not_before : whole_at);
            continue;
        }
        bool ok = proxier_sync(p, whole);
        now = env_mono_ns(p->env);
        if (ok && whole) whole_at = now + p->config.sync_ms * 1000000;
        retry_ms = ok ? 0 : MIN(retry_ms ? retry_ms * 2 : 1000, (int64_t)RETRY_MS_MAX);
        not_before = now + (ok ? p->config.min_sync_ms : retry_ms) * 1000000;
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

void proxier_start(struct proxier *p) {
    CHECK(!p->started);
    p->started = true;
    CHECK(pthread_create(&p->thread, NULL, proxier_thread, p) == 0);
}

void proxier_stop(struct proxier *p) {
    if (!p->started) return;
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->mutex);
    pthread_join(p->thread, NULL);
    p->started = false;
}

void proxier_stats(struct proxier *p, struct proxier_stats *ret) {
    pthread_mutex_lock(&p->mutex);
    p->stats.services = map_len(p->services);
    *ret = p->stats;
    pthread_mutex_unlock(&p->mutex);
}

bool proxier_healthy(struct proxier *p) {
    pthread_mutex_lock(&p->mutex);
    bool waits_long = p->dirty_since_ns && env_mono_ns(p->env) - p->dirty_since_ns > HEALTHY_MS * INT64_C(1000000);
    bool healthy = p->stats.last_sync_mono_ns && !waits_long;
    pthread_mutex_unlock(&p->mutex);
    return healthy;
}
