/* Leader election: see leader_election.h. */
#include "client/leader_election.h"
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"

struct leader_election {
    struct client *client;
    struct env *env;
    struct leader_election_config config;
    struct arena *arena;       /* the configuration's strings */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping, leading;    /* under the mutex */
    /* the thread's own */
    char *observed;            /* holder and renewal of the Lease as last seen ... */
    int64_t observed_ns;       /* ... and when it was first seen so */
    int64_t renewed_ns;        /* when we last held it for certain */
};

static bool stopping(struct leader_election *e) {
    pthread_mutex_lock(&e->mutex);
    bool s = e->stopping;
    pthread_mutex_unlock(&e->mutex);
    return s;
}

static void set_leading(struct leader_election *e, bool leading) {
    pthread_mutex_lock(&e->mutex);
    e->leading = leading;
    pthread_mutex_unlock(&e->mutex);
}

bool leader_election_leading(struct leader_election *e) {
    pthread_mutex_lock(&e->mutex);
    bool l = e->leading;
    pthread_mutex_unlock(&e->mutex);
    return l;
}

/* ---- the Lease ---- */

static void lease_fill(struct leader_election *e, struct coordinationv1_Lease *l, const char *holder, bool taken) {
    struct api_time now = micro_time_from_ns(env_now_ns(e->env));
    struct coordinationv1_LeaseSpec *s = &l->spec;
    s->leaseDurationSeconds = (struct opt_int32)OPT(holder[0] ? MAX(e->config.lease_duration_ms / 1000, 1) : 1);
    s->holderIdentity = holder;
    s->renewTime = now;
    if (taken) {
        s->acquireTime = now;
        s->leaseTransitions = (struct opt_int32)OPT(s->leaseTransitions.has ? s->leaseTransitions.value + 1 : 0);
    }
}

/* Notes what the Lease says; true while its holder must be believed to hold it. */
static bool held_by_another(struct leader_election *e, struct arena *a, const struct coordinationv1_Lease *l) {
    int64_t now = env_mono_ns(e->env);
    const char *state = arena_printf(a, "%s %lld.%d", str_or(l->spec.holderIdentity, ""), (long long)l->spec.renewTime.sec, l->spec.renewTime.nsec);
    if (!str_eq(state, e->observed)) {
        free(e->observed);
        CHECK(e->observed = strdup(state));
        e->observed_ns = now;
    }
    if (str_empty(l->spec.holderIdentity) || str_eq(l->spec.holderIdentity, e->config.identity)) return false;
    int64_t duration = l->spec.leaseDurationSeconds.has ? (int64_t)l->spec.leaseDurationSeconds.value * 1000000000 : (int64_t)e->config.lease_duration_ms * 1000000;
    return e->observed_ns + duration > now;
}

/* True: the Lease is ours as of the moment the request was sent. */
static bool acquire_or_renew(struct leader_election *e) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct coordinationv1_Lease l = {0};
    int64_t began = env_mono_ns(e->env);
    bool ok;
    if (client_get(e->client, a, &coordinationv1_Lease_desc, e->config.ns, e->config.name, &l, &err) != 0) {
        if (!status_is(&err, 404)) {
            log_debug("leader election of %s: %s", e->config.name, status_message(&err));
            return false;
        }
        l = (struct coordinationv1_Lease){.metadata = {.name = e->config.name, .namespace = e->config.ns}};
        lease_fill(e, &l, e->config.identity, true);
        ok = client_create(e->client, a, &coordinationv1_Lease_desc, &l, NULL, &err) == 0;
    } else {
        if (held_by_another(e, a, &l)) return false;
        lease_fill(e, &l, e->config.identity, !str_eq(l.spec.holderIdentity, e->config.identity));
        ok = client_update(e->client, a, &coordinationv1_Lease_desc, &l, NULL, &err) == 0;
    }
    if (ok) e->renewed_ns = began;
    else log_debug("leader election of %s: %s", e->config.name, status_message(&err));
    return ok;
}

static void release(struct leader_election *e) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct coordinationv1_Lease l = {0};
    if (client_get(e->client, a, &coordinationv1_Lease_desc, e->config.ns, e->config.name, &l, NULL) != 0 || !str_eq(l.spec.holderIdentity, e->config.identity)) return;
    lease_fill(e, &l, "", false);
    if (client_update(e->client, a, &coordinationv1_Lease_desc, &l, NULL, NULL) != 0) log_debug("the lease %s could not be given back", e->config.name);
}

/* ---- the candidate ---- */

static void wait_ms(struct leader_election *e, int64_t ms) {
    int64_t until = env_mono_ns(e->env) + ms * 1000000;
    pthread_mutex_lock(&e->mutex);
    while (!e->stopping && env_cond_wait(e->env, &e->cond, &e->mutex, until)) {}
    pthread_mutex_unlock(&e->mutex);
}

static void lead(struct leader_election *e) {
    log_info("%s became leader of %s", e->config.identity, e->config.name);
    set_leading(e, true);
    e->config.on_leading(e->config.arg);
    while (!stopping(e)) {
        wait_ms(e, e->config.retry_period_ms);
        if (stopping(e) || acquire_or_renew(e)) continue;
        if (env_mono_ns(e->env) - e->renewed_ns > (int64_t)e->config.renew_deadline_ms * 1000000) break;
    }
    if (!stopping(e)) log_error("leader election lost: %s", e->config.name);
    set_leading(e, false);
    e->config.on_lost(e->config.arg);
    if (stopping(e)) release(e);
}

static void *run(void *arg) {
    struct leader_election *e = arg;
    while (!stopping(e)) {
        if (acquire_or_renew(e)) lead(e);
        else wait_ms(e, e->config.retry_period_ms + (int64_t)env_random_below(e->env, (uint64_t)e->config.retry_period_ms / 5 + 1));
    }
    return NULL;
}

struct leader_election *leader_election_start(struct client *c, struct env *env, const struct leader_election_config *config) {
    struct leader_election *e = calloc(1, sizeof(*e));
    CHECK(e);
    e->client = c;
    e->env = env;
    e->config = *config;
    e->arena = arena_new();
    e->config.ns = arena_strdup(e->arena, config->ns ? config->ns : "kube-system");
    e->config.name = arena_strdup(e->arena, config->name);
    e->config.identity = arena_strdup(e->arena, config->identity);
    if (!e->config.lease_duration_ms) e->config.lease_duration_ms = 15000;
    if (!e->config.renew_deadline_ms) e->config.renew_deadline_ms = 10000;
    if (!e->config.retry_period_ms) e->config.retry_period_ms = 2000;
    pthread_mutex_init(&e->mutex, NULL);
    env_cond_init(&e->cond);
    CHECK(pthread_create(&e->thread, NULL, run, e) == 0);
    return e;
}

void leader_election_stop(struct leader_election *e) {
    if (!e) return;
    pthread_mutex_lock(&e->mutex);
    e->stopping = true;
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->mutex);
    pthread_join(e->thread, NULL);
    pthread_cond_destroy(&e->cond);
    pthread_mutex_destroy(&e->mutex);
    free(e->observed);
    arena_free(e->arena);
    free(e);
}
