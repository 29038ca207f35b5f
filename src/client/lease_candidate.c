/* A candidate for a Lease: see lease_candidate.h. */
#include "client/lease_candidate.h"
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"
#include "client/reflector.h"

enum { RENEW_MS = 300000, NOT_SERVED_MS = 60000, RETRY_MS = 1000 };
#define CANDIDATE_VERSION "1.36.2" /* of Kubernetes, which we are and which we emulate */

struct lease_candidate {
    struct client *client;
    struct env *env;
    struct arena *arena;
    struct lease_candidate_config config;
    struct reflector *watch;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping, asked; /* under the mutex */
};

static int64_t ns_of(const struct api_time *t) { return t->set ? t->sec * 1000000000 + t->nsec : 0; }

/* ---- the watch, on its own thread ---- */

static void watch_set(void *data, const void *obj) {
    struct lease_candidate *c = data;
    const struct coordinationv1beta1_LeaseCandidate *o = obj;
    if (!str_eq(o->metadata.name, c->config.identity) || ns_of(&o->spec.pingTime) <= ns_of(&o->spec.renewTime)) return;
    pthread_mutex_lock(&c->mutex);
    c->asked = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mutex);
}

static void watch_nothing(void *data UNUSED) {}
static void watch_deleted(void *data UNUSED, const void *obj UNUSED) {}

static void watch_start(struct lease_candidate *c) {
    struct reflector_source source = {.type = &coordinationv1beta1_LeaseCandidate_desc, .ns = c->config.ns, .query = arena_printf(c->arena, "fieldSelector=metadata.name%%3D%s", c->config.identity)};
    struct reflector_sink sink = {.data = c, .replace_begin = watch_nothing, .replace_object = watch_set, .replace_end = watch_nothing, .set = watch_set, .delete = watch_deleted};
    c->watch = reflector_start(c->client, c->env, &source, &sink);
}

/* ---- the object ---- */

static void fill(struct lease_candidate *c, struct arena *a, struct coordinationv1beta1_LeaseCandidate *o) {
    if (c->config.node) string_map_set(a, &o->metadata.labels, LEASE_CANDIDATE_NODE, c->config.node);
    if (c->config.member) string_map_set(a, &o->metadata.labels, LEASE_CANDIDATE_MEMBER, c->config.member);
    o->spec.leaseName = c->config.lease;
    o->spec.binaryVersion = o->spec.emulationVersion = CANDIDATE_VERSION;
    o->spec.strategy = LEASE_STRATEGY_SPREAD;
    o->spec.renewTime = micro_time_from_ns(MAX(env_now_ns(c->env), ns_of(&o->spec.pingTime))); /* an answer to who asks by a clock that is ahead, too */
}

/* Made or renewed; -1 with a status. */
static int ensure(struct lease_candidate *c, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct coordinationv1beta1_LeaseCandidate o = {0};
    bool there = client_get(c->client, a, &coordinationv1beta1_LeaseCandidate_desc, c->config.ns, c->config.identity, &o, &err) == 0;
    if (!there && !status_is(&err, 404)) {
        status_copy(reterr, &err);
        return -1;
    }
    if (!there) o = (struct coordinationv1beta1_LeaseCandidate){.metadata = {.name = c->config.identity, .namespace = c->config.ns}};
    fill(c, a, &o);
    return there ? client_update(c->client, a, &coordinationv1beta1_LeaseCandidate_desc, &o, NULL, reterr) : client_create(c->client, a, &coordinationv1beta1_LeaseCandidate_desc, &o, NULL, reterr);
}

static void *run(void *arg) {
    struct lease_candidate *c = arg;
    pthread_mutex_lock(&c->mutex);
    while (!c->stopping) {
        c->asked = false;
        pthread_mutex_unlock(&c->mutex);
        _cleanup_status_ struct status err = STATUS_INIT;
        int64_t wait_ms = RENEW_MS;
        if (ensure(c, &err) != 0) {
            log_debug("candidate %s for %s: %s", c->config.identity, c->config.lease, status_message(&err));
            wait_ms = status_is(&err, 404) ? NOT_SERVED_MS : RETRY_MS;
        } else if (!c->watch) watch_start(c);
        int64_t until = env_mono_ns(c->env) + wait_ms * 1000000;
        pthread_mutex_lock(&c->mutex);
        while (!c->stopping && !c->asked && env_cond_wait(c->env, &c->cond, &c->mutex, until)) {}
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

struct lease_candidate *lease_candidate_start(struct client *client, struct env *env, const struct lease_candidate_config *config) {
    struct lease_candidate *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->client = client;
    c->env = env;
    c->arena = arena_new_sized(1024);
    c->config = (struct lease_candidate_config){.ns = arena_strdup(c->arena, config->ns ? config->ns : "kube-system"), .lease = arena_strdup(c->arena, config->lease),
        .identity = arena_strdup(c->arena, config->identity), .node = arena_strdup(c->arena, config->node), .member = arena_strdup(c->arena, config->member)};
    pthread_mutex_init(&c->mutex, NULL);
    env_cond_init(&c->cond);
    CHECK(pthread_create(&c->thread, NULL, run, c) == 0);
    return c;
}

void lease_candidate_stop(struct lease_candidate *c) {
    if (!c) return;
    pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->thread, NULL);
    reflector_stop(c->watch);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mutex);
    arena_free(c->arena);
    free(c);
}
