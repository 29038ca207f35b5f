/* Leader election: see leader_election.h. */
#include "client/leader_election.h"
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"
#include "client/metrics.h"
#include "client/reflector.h"

enum { PREFERRED_GRACE_MS = 2000, NS_PER_MS = 1000000 };

/* A Lease as it was seen last, and since when it has been so. */
struct seen {
    char *state;               /* all of the record; NULL: there is none, or it has not been looked for yet */
    int64_t since_ns, duration_ns;
    bool free, ours, preferred_other; /* no holder; we are the holder; another is to hold it */
};

struct leader_election {
    struct client *client;
    struct env *env;
    struct leader_election_config config;
    struct arena *arena;       /* the configuration's strings */
    struct reflector *watch;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping, leading;    /* under the mutex, as is what follows; written by the thread and the watch */
    bool poked;                /* the watch saw what must not wait for the next look */
    struct seen seen;
    /* the thread's own */
    struct arena *lease_arena; /* of the Lease as we wrote it last, for the next renewal; NULL: it must be read again */
    struct coordinationv1_Lease lease;
    bool counted;              /* our term has its number */
    int transitions;
    int64_t renewed_ns;        /* when we last held it for certain */
};

enum outcome { OURS, FAILED /* we do not know */, OTHERS /* another's, or left to another */, END_OF_TERM };

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
    leader_metrics_set(e->config.name, leading);
}

bool leader_election_leading(struct leader_election *e) {
    pthread_mutex_lock(&e->mutex);
    bool l = e->leading;
    pthread_mutex_unlock(&e->mutex);
    return l;
}

/* ---- what the Lease says ---- */

static int duration_s(const struct leader_election *e) { return MAX(e->config.lease_duration_ms / 1000, 1); }

/* Notes a state; the copy returned is of this state, with the time since when it is known. */
static struct seen note(struct leader_election *e, const struct coordinationv1_Lease *l) {
    const struct coordinationv1_LeaseSpec *s = &l->spec;
    const char *holder = str_or(s->holderIdentity, ""), *preferred = str_or(s->preferredHolder, "");
    _cleanup_arena_ struct arena *a = arena_new_sized(1024);
    const char *state = arena_printf(a, "%s %s %lld.%d %d %d", holder, preferred, (long long)s->renewTime.sec, s->renewTime.nsec, s->leaseTransitions.value, s->leaseDurationSeconds.value);
    pthread_mutex_lock(&e->mutex);
    if (!str_eq(state, e->seen.state)) {
        free(e->seen.state);
        e->seen = (struct seen){.state = strdup(state), .since_ns = env_mono_ns(e->env), .duration_ns = (int64_t)(s->leaseDurationSeconds.has ? s->leaseDurationSeconds.value : duration_s(e)) * 1000 * NS_PER_MS,
            .free = str_empty(holder), .ours = str_eq(holder, e->config.identity), .preferred_other = !str_empty(preferred) && !str_eq(preferred, e->config.identity)};
        CHECK(e->seen.state);
    }
    struct seen seen = e->seen;
    pthread_mutex_unlock(&e->mutex);
    return seen;
}

/* When a candidate may take the Lease, other things being equal. */
static int64_t free_at_ns(const struct seen *s) {
    int64_t at = s->free || s->ours ? s->since_ns : s->since_ns + s->duration_ns;
    return s->preferred_other ? at + (int64_t)PREFERRED_GRACE_MS * NS_PER_MS : at;
}

/* ---- the watch, on its own thread ---- */

static void watch_set(void *data, const void *obj) {
    struct leader_election *e = data;
    const struct coordinationv1_Lease *l = obj;
    if (!str_eq(l->metadata.name, e->config.name)) return;
    struct seen seen = note(e, l);
    pthread_mutex_lock(&e->mutex);
    bool poke = e->leading ? !seen.ours || seen.preferred_other : seen.free || seen.ours;
    if (poke) e->poked = true;
    pthread_cond_broadcast(&e->cond); /* also when it was only renewed: then a waiting candidate waits anew */
    pthread_mutex_unlock(&e->mutex);
}

static void watch_deleted(void *data, const void *obj UNUSED) {
    struct leader_election *e = data;
    pthread_mutex_lock(&e->mutex);
    e->poked = true;
    pthread_cond_broadcast(&e->cond);
    pthread_mutex_unlock(&e->mutex);
}

static void watch_nothing(void *data UNUSED) {}

static void watch_start(struct leader_election *e) {
    struct reflector_source source = {.type = &coordinationv1_Lease_desc, .ns = e->config.ns, .query = arena_printf(e->arena, "fieldSelector=metadata.name%%3D%s", e->config.name)};
    struct reflector_sink sink = {.data = e, .replace_begin = watch_nothing, .replace_object = watch_set, .replace_end = watch_nothing, .set = watch_set, .delete = watch_deleted};
    e->watch = reflector_start(e->client, e->env, &source, &sink);
}

/* ---- acquiring and renewing ---- */

static void forget(struct leader_election *e) {
    arena_free(e->lease_arena);
    e->lease_arena = NULL;
}

static void fill(struct leader_election *e, struct coordinationv1_LeaseSpec *s) {
    struct api_time now = micro_time_from_ns(env_now_ns(e->env));
    bool exists = s->leaseTransitions.has, new_term = !e->counted || !str_eq(s->holderIdentity, e->config.identity);
    s->leaseDurationSeconds = (struct opt_int32)OPT(duration_s(e));
    s->holderIdentity = e->config.identity;
    s->renewTime = now;
    if (!new_term) return;
    s->acquireTime = now;
    s->leaseTransitions = (struct opt_int32)OPT(exists ? s->leaseTransitions.value + 1 : e->counted ? e->transitions : 0);
    s->preferredHolder = NULL;
}

/* Writes the Lease in l, which lives in a, as ours. What the server made of it is kept for the next time. */
static int put(struct leader_election *e, struct arena *a, struct coordinationv1_Lease *l, bool create, struct status *reterr) {
    struct coordinationv1_Lease answer = {0};
    fill(e, &l->spec);
    int rc = create ? client_create(e->client, a, &coordinationv1_Lease_desc, l, &answer, reterr) : client_update(e->client, a, &coordinationv1_Lease_desc, l, &answer, reterr);
    if (rc != 0) return -1;
    struct arena *kept = arena_new_sized(2048);
    e->lease = *(struct coordinationv1_Lease *)object_copy(kept, &coordinationv1_Lease_desc, &answer);
    forget(e);
    e->lease_arena = kept;
    e->transitions = answer.spec.leaseTransitions.value;
    e->counted = true;
    note(e, &e->lease);
    return 0;
}

/* The Lease from the server, then ours if it may be. */
static enum outcome read_and_put(struct leader_election *e, struct arena *a, struct status *reterr) {
    struct coordinationv1_Lease l = {0};
    bool leading = leader_election_leading(e);
    if (client_get(e->client, a, &coordinationv1_Lease_desc, e->config.ns, e->config.name, &l, reterr) != 0) {
        if (!status_is(reterr, 404)) return FAILED;
        l = (struct coordinationv1_Lease){.metadata = {.name = e->config.name, .namespace = e->config.ns}};
        return put(e, a, &l, true, reterr) == 0 ? OURS : FAILED;
    }
    struct seen seen = note(e, &l);
    if (leading) {
        if (!seen.ours || l.spec.leaseTransitions.value != e->transitions) return OTHERS;
        if (seen.preferred_other) return END_OF_TERM;
        leader_metrics_slow_path(e->config.name);
    } else if (free_at_ns(&seen) > env_mono_ns(e->env)) return OTHERS;
    return put(e, a, &l, false, reterr) == 0 ? OURS : FAILED;
}

/* OURS: the Lease is ours as of the moment the request was sent. */
static enum outcome acquire_or_renew(struct leader_election *e) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    int64_t began = env_mono_ns(e->env);
    enum outcome o = FAILED;
    pthread_mutex_lock(&e->mutex);
    e->poked = false;
    pthread_mutex_unlock(&e->mutex);
    if (e->lease_arena && leader_election_leading(e)) { /* nothing has changed since, in all likelihood */
        struct coordinationv1_Lease l = e->lease;
        if (put(e, a, &l, false, &err) == 0) o = OURS;
        else if (status_is(&err, 409)) status_release(&err);
    }
    if (o == FAILED && !err.code) {
        began = env_mono_ns(e->env);
        o = read_and_put(e, a, &err);
    }
    if (o == FAILED) log_debug("leader election of %s: %s", e->config.name, status_message(&err));
    if (o != OURS) {
        forget(e);
        return o;
    }
    e->renewed_ns = began;
    /* A clock may run 1/50 too slow. */
    int64_t until_ns = began + (int64_t)duration_s(e) * 980 * NS_PER_MS;
    if (e->config.fence) lease_fence_open(e->config.fence, e->config.ns, e->config.name, e->config.identity, e->transitions, until_ns);
    return o;
}

static void release(struct leader_election *e) {
    for (int tries = 0; tries < 3; tries++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        struct coordinationv1_Lease l = {0};
        if (client_get(e->client, a, &coordinationv1_Lease_desc, e->config.ns, e->config.name, &l, &err) == 0) {
            if (!str_eq(l.spec.holderIdentity, e->config.identity)) return;
            l.spec.leaseDurationSeconds = (struct opt_int32)OPT(1);
            l.spec.holderIdentity = "";
            l.spec.renewTime = l.spec.acquireTime = micro_time_from_ns(env_now_ns(e->env));
            if (client_update(e->client, a, &coordinationv1_Lease_desc, &l, NULL, &err) == 0) return;
        }
        log_debug("the lease %s could not be given back: %s", e->config.name, status_message(&err));
        if (!status_is(&err, 409)) return;
    }
}

/* ---- the candidate ---- */

/* Until then, or until the watch has seen something. */
static void wait_until(struct leader_election *e, int64_t until_ns) {
    pthread_mutex_lock(&e->mutex);
    while (!e->stopping && !e->poked && env_cond_wait(e->env, &e->cond, &e->mutex, until_ns)) {}
    pthread_mutex_unlock(&e->mutex);
}

/* A candidate that waits looks again when the Lease ends, by what was seen of it last; each retry period if nothing is known of it. */
static void wait_for_turn(struct leader_election *e, enum outcome last) {
    int64_t now = env_mono_ns(e->env), retry_ns = (int64_t)e->config.retry_period_ms * NS_PER_MS, later = now + retry_ns + (int64_t)env_random_below(e->env, (uint64_t)retry_ns / 5 + 1);
    pthread_mutex_lock(&e->mutex);
    while (!e->stopping && !e->poked) {
        int64_t until = last == OTHERS && e->seen.state ? free_at_ns(&e->seen) + NS_PER_MS : later; /* it moves as the Lease is renewed */
        if (!env_cond_wait(e->env, &e->cond, &e->mutex, until) && env_mono_ns(e->env) >= until) break;
    }
    pthread_mutex_unlock(&e->mutex);
}

static enum outcome hold(struct leader_election *e) {
    int64_t retry_ns = (int64_t)e->config.retry_period_ms * NS_PER_MS, deadline_ns = (int64_t)e->config.renew_deadline_ms * NS_PER_MS;
    enum outcome o = OURS;
    while (!stopping(e)) {
        int64_t next = env_mono_ns(e->env) + (o == OURS ? retry_ns : retry_ns / 4);
        wait_until(e, MIN(next, e->renewed_ns + deadline_ns));
        if (stopping(e)) break;
        o = acquire_or_renew(e);
        if (o == OTHERS || o == END_OF_TERM || env_mono_ns(e->env) - e->renewed_ns > deadline_ns) break;
    }
    return o;
}

static void lead(struct leader_election *e) {
    log_info("%s became leader of %s", e->config.identity, e->config.name);
    set_leading(e, true);
    e->config.on_leading(e->config.arg);
    enum outcome o = hold(e);
    bool stop = stopping(e);
    if (!stop && o == END_OF_TERM) log_info("%s leaves %s to its preferred holder", e->config.identity, e->config.name);
    else if (!stop) log_error("leader election lost: %s", e->config.name);
    if (!stop && o != END_OF_TERM && e->config.fence) lease_fence_close(e->config.fence);
    set_leading(e, false);
    e->config.on_lost(e->config.arg);
    if (e->config.fence) lease_fence_close(e->config.fence);
    forget(e);
    if (stop || o == END_OF_TERM) release(e);
}

static void *run(void *arg) {
    struct leader_election *e = arg;
    while (!stopping(e)) {
        enum outcome o = acquire_or_renew(e);
        if (o == OURS) lead(e);
        else wait_for_turn(e, o);
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
    client_set_timeout(c, MAX(e->config.renew_deadline_ms / 2, 100)); /* so that there is a second try */
    pthread_mutex_init(&e->mutex, NULL);
    env_cond_init(&e->cond);
    leader_metrics_set(e->config.name, false);
    watch_start(e);
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
    reflector_stop(e->watch);
    pthread_cond_destroy(&e->cond);
    pthread_mutex_destroy(&e->mutex);
    free(e->seen.state);
    arena_free(e->arena);
    free(e);
}
