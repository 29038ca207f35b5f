/* The coordinator of coordinated leader election: see lease_spread.h. What is decided by loads alone is in lease_spread_decide.c. */
#include "client/lease_spread.h"
#include <stdio.h>
#include <string.h>
#include "api/time.h"
#include "base/log.h"
#include "base/str.h"
#include "client/lease_candidate.h"

enum {
    TICK_MS = 1000,
    ANSWER_MS = 5000,       /* within which a candidate answers a ping, and a Lease without a holder is left to itself; upstream's electionDuration */
    MOVE_MS = 15000,        /* a holder that does not leave in this time does not know of preferred holders */
    SILENT_MS = 60000,      /* how long a candidate that did not answer is left out */
    CANDIDATE_AGE_S = 1800, /* a candidate that was not renewed for so long has gone; upstream's */
    ASSIGNED_S = 5,         /* duration of a Lease that is given to a candidate */
    SILENT_MAX = 16,
};
#define NS_PER_MS INT64_C(1000000)

struct watched { struct watched *next; char *key, *state; int64_t since_ns; }; /* a Lease, and since when it is as it is */
struct lease_spread {
    struct env *env;
    struct client *acting;
    struct lease_spread_config config;
    struct leader_election *election;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping;          /* under the mutex */
    /* the thread's own */
    struct watched *watched;
    char *picture;          /* who holds what and who could, as it was last; and since when */
    int64_t settled_ns, moving_ns;
    char *asked;            /* the candidate that was pinged, its renewTime then, and when */
    struct api_time asked_renewed;
    int64_t asked_ns;
    struct { char *name; struct api_time renewed; int64_t until_ns; } silent[SILENT_MAX]; /* until then, or until it is renewed */
};

struct candidate { const struct coordinationv1beta1_LeaseCandidate *object; const char *node, *member; bool silent; };
struct candidate_list { struct candidate *items; size_t len; };
/* A Lease and those who stand for it. */
struct group {
    const char *ns, *name, *strategy;
    struct candidate_list candidates;
    const struct coordinationv1_Lease *lease; /* NULL: there is none */
    const struct candidate *holder;           /* NULL: not held, or not by a candidate */
    int64_t since_ns;
    bool held, mixed;
};
struct group_list { struct group *items; size_t len; };
struct view {
    struct arena *arena;
    struct group_list groups;
    struct string_list namespaces;
    const char *database; /* the server of its leader */
};

static int64_t now_ns(struct lease_spread *s) { return env_mono_ns(s->env); }
static bool same_time(const struct api_time *a, const struct api_time *b) { return a->set == b->set && a->sec == b->sec && a->nsec == b->nsec; }

static void replace(char **text, const char *with) {
    free(*text);
    CHECK(!with || (*text = strdup(with)));
    if (!with) *text = NULL;
}

/* ---- what there is ---- */

/* "node_uuid" */
static const char *node_of(struct arena *a, const struct coordinationv1beta1_LeaseCandidate *c) {
    const char *node = string_map_get(&c->metadata.labels, LEASE_CANDIDATE_NODE), *end = strrchr(c->metadata.name, '_');
    return !str_empty(node) ? node : end ? arena_strndup(a, c->metadata.name, (size_t)(end - c->metadata.name)) : c->metadata.name;
}

static bool is_silent(struct lease_spread *s, const struct coordinationv1beta1_LeaseCandidate *c) {
    for (size_t i = 0; i < SILENT_MAX; i++)
        if (str_eq(s->silent[i].name, c->metadata.name) && s->silent[i].until_ns > now_ns(s) && same_time(&s->silent[i].renewed, &c->spec.renewTime)) return true;
    return false;
}

static struct group *group_of(struct view *v, const char *ns, const char *lease, const char *strategy) {
    for (size_t i = 0; i < v->groups.len; i++) {
        struct group *g = &v->groups.items[i];
        if (!str_eq(g->ns, ns) || !str_eq(g->name, lease)) continue;
        g->mixed |= !str_eq(g->strategy, strategy);
        return g;
    }
    struct group *g = LIST_PUSH(v->arena, &v->groups);
    *g = (struct group){.ns = ns, .name = lease, .strategy = strategy};
    if (!string_list_has(&v->namespaces, ns)) string_list_push(v->arena, &v->namespaces, ns);
    return g;
}

static int look_at_candidates(struct lease_spread *s, struct view *v, struct status *reterr) {
    struct coordinationv1beta1_LeaseCandidateList all = {0};
    if (client_list(s->acting, v->arena, &coordinationv1beta1_LeaseCandidate_desc, NULL, "resourceVersion=0", &all, reterr) != 0) return -1;
    int64_t old_s = env_now_s(s->env) - CANDIDATE_AGE_S;
    LIST_FOREACH(o, &all.items) {
        if (o->spec.renewTime.sec < old_s) {
            client_delete(s->acting, &coordinationv1beta1_LeaseCandidate_desc, o->metadata.namespace, o->metadata.name, client_delete_options(v->arena, o->metadata.uid, NULL), NULL);
            continue;
        }
        struct group *g = group_of(v, o->metadata.namespace, o->spec.leaseName, o->spec.strategy);
        *LIST_PUSH(v->arena, &g->candidates) = (struct candidate){o, node_of(v->arena, o), string_map_get(&o->metadata.labels, LEASE_CANDIDATE_MEMBER), is_silent(s, o)};
    }
    return 0;
}

/* Since when the Lease is as it is, by our own clock: clocks of other machines are not compared. */
static int64_t watched_since(struct lease_spread *s, struct arena *a, const struct group *g) {
    const char *key = arena_printf(a, "%s/%s", g->ns, g->name), *state = "";
    if (g->lease) state = arena_printf(a, "%s %lld.%d", str_or(g->lease->spec.holderIdentity, ""), (long long)g->lease->spec.renewTime.sec, g->lease->spec.renewTime.nsec);
    struct watched *w = s->watched;
    while (w && !str_eq(w->key, key)) w = w->next;
    if (!w) {
        CHECK(w = calloc(1, sizeof(*w)));
        replace(&w->key, key);
        w->next = s->watched;
        s->watched = w;
    }
    if (!str_eq(w->state, state)) {
        replace(&w->state, state);
        w->since_ns = now_ns(s);
    }
    return w->since_ns;
}

static void look_at_lease(struct lease_spread *s, struct arena *a, struct group *g) {
    g->since_ns = watched_since(s, a, g);
    if (!g->lease || str_empty(g->lease->spec.holderIdentity)) return;
    g->held = g->since_ns + (int64_t)g->lease->spec.leaseDurationSeconds.value * 1000 * NS_PER_MS > now_ns(s);
    if (!g->held) return;
    for (size_t i = 0; i < g->candidates.len; i++)
        if (str_eq(g->candidates.items[i].object->metadata.name, g->lease->spec.holderIdentity)) g->holder = &g->candidates.items[i];
}

static int look_at_leases(struct lease_spread *s, struct view *v, struct status *reterr) {
    LIST_FOREACH(ns, &v->namespaces) {
        struct coordinationv1_LeaseList all = {0};
        if (client_list(s->acting, v->arena, &coordinationv1_Lease_desc, *ns, "resourceVersion=0", &all, reterr) != 0) return -1;
        for (size_t i = 0; i < v->groups.len; i++) {
            struct group *g = &v->groups.items[i];
            if (!str_eq(g->ns, *ns)) continue;
            LIST_FOREACH(l, &all.items) if (str_eq(l->metadata.name, g->name)) g->lease = l;
            look_at_lease(s, v->arena, g);
        }
    }
    return 0;
}

/* The server of the database's leader: the one whose member it is, or that is named as it. */
static void look_at_database(struct lease_spread *s, struct view *v) {
    char name[256];
    if (!v->groups.len || !s->config.database_leader || !s->config.database_leader(s->config.ctx, name, sizeof(name))) return;
    v->database = arena_strdup(v->arena, name);
    for (size_t i = 0; i < v->groups.len; i++)
        for (size_t k = 0; k < v->groups.items[i].candidates.len; k++) {
            const struct candidate *c = &v->groups.items[i].candidates.items[k];
            if (str_eq(c->member, name)) v->database = c->node;
        }
}

/* When the holders, the candidates and the database's leader last changed. */
static void note_changes(struct lease_spread *s, struct view *v) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_printf(&b, "%s\n", str_or(v->database, ""));
    for (size_t i = 0; i < v->groups.len; i++) {
        const struct group *g = &v->groups.items[i];
        buf_printf(&b, "%s/%s %s:", g->ns, g->name, g->held ? g->lease->spec.holderIdentity : "");
        for (size_t k = 0; k < g->candidates.len; k++) buf_printf(&b, " %s", g->candidates.items[k].object->metadata.name);
        buf_append_char(&b, '\n');
    }
    if (str_eq(s->picture, buf_cstr(&b))) return;
    replace(&s->picture, buf_cstr(&b));
    s->settled_ns = now_ns(s);
}

/* ---- what to do ---- */

struct decision { struct group *group; const struct candidate *to; };

static bool is_spread(const struct group *g) { return !g->mixed && str_eq(g->strategy, LEASE_STRATEGY_SPREAD); }
static bool is_oldest(const struct group *g) { return !g->mixed && str_eq(g->strategy, "OldestEmulationVersion"); }

static int compare_versions(const char *a, const char *b) {
    int x[3] = {0}, y[3] = {0};
    sscanf(str_or(a, ""), "%d.%d.%d", &x[0], &x[1], &x[2]);
    sscanf(str_or(b, ""), "%d.%d.%d", &y[0], &y[1], &y[2]);
    for (int i = 0; i < 3; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Upstream's choice: the oldest emulated version, then the oldest binary, then who came first. */
static const struct candidate *oldest(const struct group *g) {
    const struct candidate *best = NULL;
    for (size_t i = 0; i < g->candidates.len; i++) {
        const struct candidate *c = &g->candidates.items[i];
        if (c->silent) continue;
        int order = best ? compare_versions(c->object->spec.emulationVersion, best->object->spec.emulationVersion) : -1;
        if (order == 0) order = compare_versions(c->object->spec.binaryVersion, best->object->spec.binaryVersion);
        if (order == 0) order = c->object->metadata.creationTimestamp.sec < best->object->metadata.creationTimestamp.sec ? -1 : 1;
        if (order < 0) best = c;
    }
    return best;
}

static bool is_core(const struct group *g) { return str_eq(g->ns, "kube-system") && (str_eq(g->name, "kube-controller-manager") || str_eq(g->name, "kube-scheduler")); }

/* The roles of the Leases, in the groups' order, and then the database's leader. */
static struct spread_role *roles_of(struct view *v) {
    struct spread_role *roles = arena_calloc(v->arena, v->groups.len + 1, sizeof(*roles));
    for (size_t i = 0; i < v->groups.len; i++) {
        struct group *g = &v->groups.items[i];
        roles[i] = (struct spread_role){.name = g->name, .weight = is_core(g) ? SPREAD_CORE_WEIGHT : 1, .node = g->holder ? g->holder->node : NULL, .movable = is_spread(g) && g->holder};
        roles[i].places = arena_calloc(v->arena, g->candidates.len + 1, sizeof(*roles[i].places));
        for (size_t k = 0; k < g->candidates.len; k++)
            if (!g->candidates.items[k].silent) roles[i].places[roles[i].places_len++] = (struct spread_place){g->candidates.items[k].node, g->candidates.items[k].object->metadata.name};
    }
    roles[v->groups.len] = (struct spread_role){.name = "database", .weight = SPREAD_CORE_WEIGHT, .node = v->database};
    return roles;
}

static const struct candidate *candidate_named(const struct group *g, const char *name) {
    for (size_t i = 0; i < g->candidates.len; i++)
        if (str_eq(g->candidates.items[i].object->metadata.name, name)) return &g->candidates.items[i];
    return NULL;
}

static struct decision decide(struct lease_spread *s, struct view *v) {
    struct spread_role *roles = roles_of(v);
    size_t role, place;
    for (size_t i = 0; i < v->groups.len; i++) {
        struct group *g = &v->groups.items[i];
        const struct candidate *to = is_oldest(g) ? oldest(g) : NULL;
        bool abandoned = !g->held && g->since_ns + (is_oldest(g) ? 0 : ANSWER_MS * NS_PER_MS) <= now_ns(s);
        if (is_oldest(g) && to && (abandoned || (g->holder && g->holder != to))) return (struct decision){g, to};
        if (is_spread(g) && abandoned && spread_best_place(roles, v->groups.len + 1, i, &place)) return (struct decision){g, candidate_named(g, roles[i].places[place].candidate)};
    }
    if (now_ns(s) - s->settled_ns < SPREAD_SETTLE_MS * NS_PER_MS || !spread_best_move(roles, v->groups.len + 1, &role, &place)) return (struct decision){0};
    return (struct decision){&v->groups.items[role], candidate_named(&v->groups.items[role], roles[role].places[place].candidate)};
}

/* ---- doing it ---- */

static void log_failure(const char *what, const char *name, const struct status *err) {
    if (!status_is(err, 409)) log_debug("leader election coordinator: %s %s: %s", what, name, status_message(err));
}

static void silence(struct lease_spread *s, const struct candidate *c) {
    const char *name = c->object->metadata.name;
    size_t at = 0;
    for (size_t i = 0; i < SILENT_MAX; i++) {
        if (str_eq(s->silent[i].name, name)) {
            at = i;
            break;
        }
        if (s->silent[i].until_ns < s->silent[at].until_ns) at = i;
    }
    replace(&s->silent[at].name, name);
    s->silent[at].renewed = c->object->spec.renewTime;
    s->silent[at].until_ns = now_ns(s) + SILENT_MS * NS_PER_MS;
}

/* True: the candidate has answered just now. Otherwise it is asked, or waited for. */
static bool has_answered(struct lease_spread *s, struct arena *a, const struct candidate *c) {
    const char *name = c->object->metadata.name;
    if (str_eq(s->asked, name)) {
        if (!same_time(&s->asked_renewed, &c->object->spec.renewTime)) return true;
        if (now_ns(s) - s->asked_ns < ANSWER_MS * NS_PER_MS) return false;
        log_info("leader election coordinator: candidate %s does not answer", name);
        silence(s, c);
        replace(&s->asked, NULL);
        return false;
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    struct coordinationv1beta1_LeaseCandidate o = *c->object;
    int64_t ns = env_now_ns(s->env), renewed_ns = o.spec.renewTime.sec * 1000000000 + o.spec.renewTime.nsec;
    o.spec.pingTime = micro_time_from_ns(MAX(ns, renewed_ns + NS_PER_MS)); /* beyond its renewal, whatever its clock says */
    if (client_update(s->acting, a, &coordinationv1beta1_LeaseCandidate_desc, &o, NULL, &err) != 0) {
        log_failure("asking", name, &err);
        return false;
    }
    replace(&s->asked, name);
    s->asked_renewed = o.spec.renewTime;
    s->asked_ns = now_ns(s);
    return false;
}

/* Nobody holds it and nobody took it: the candidate waits to be told. */
static int assign(struct lease_spread *s, struct arena *a, const struct decision *d, struct status *reterr) {
    struct coordinationv1_Lease l = {.metadata = {.name = d->group->name, .namespace = d->group->ns}};
    if (d->group->lease) l = *d->group->lease;
    bool exists = d->group->lease != NULL;
    l.spec.strategy = d->group->strategy;
    l.spec.preferredHolder = NULL;
    l.spec.holderIdentity = d->to->object->metadata.name;
    l.spec.renewTime = micro_time_from_ns(env_now_ns(s->env));
    l.spec.acquireTime.set = false;
    l.spec.leaseDurationSeconds = (struct opt_int32)OPT(ASSIGNED_S);
    l.spec.leaseTransitions = (struct opt_int32)OPT(exists ? l.spec.leaseTransitions.value + 1 : 0);
    return exists ? client_update(s->acting, a, &coordinationv1_Lease_desc, &l, NULL, reterr) : client_create(s->acting, a, &coordinationv1_Lease_desc, &l, NULL, reterr);
}

static int prefer(struct lease_spread *s, struct arena *a, const struct group *g, const char *holder, struct status *reterr) {
    struct coordinationv1_Lease l = *g->lease; /* a renewal meanwhile is a conflict, and the next tick's matter */
    if (client_get(s->acting, a, &coordinationv1_Lease_desc, g->ns, g->name, &l, reterr) != 0) return -1;
    if (!str_eq(l.spec.holderIdentity, g->lease->spec.holderIdentity)) return status_conflict(reterr, "coordination.k8s.io", "leases", g->name, "the holder has changed");
    l.spec.strategy = g->strategy;
    l.spec.preferredHolder = holder;
    return client_update(s->acting, a, &coordinationv1_Lease_desc, &l, NULL, reterr);
}

/* A move is under way until the holder has left. True: wait for that. */
static bool is_moving(struct lease_spread *s, struct view *v) {
    for (size_t i = 0; i < v->groups.len; i++) {
        struct group *g = &v->groups.items[i];
        if (!g->held || str_empty(g->lease->spec.preferredHolder) || str_eq(g->lease->spec.preferredHolder, g->lease->spec.holderIdentity)) continue;
        if (!s->moving_ns) s->moving_ns = now_ns(s);
        if (now_ns(s) - s->moving_ns < MOVE_MS * NS_PER_MS) return true;
        log_info("leader election coordinator: %s does not leave %s", g->lease->spec.holderIdentity, g->name);
        const struct candidate *to = candidate_named(g, g->lease->spec.preferredHolder);
        if (prefer(s, v->arena, g, NULL, NULL) == 0 && to) silence(s, to);
        break;
    }
    s->moving_ns = 0;
    return false;
}

static void act(struct lease_spread *s, struct arena *a, const struct decision *d) {
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *name = d->to->object->metadata.name;
    if (!has_answered(s, a, d->to)) return;
    replace(&s->asked, NULL);
    if ((d->group->held ? prefer(s, a, d->group, name, &err) : assign(s, a, d, &err)) != 0) log_failure("moving", d->group->name, &err);
    else log_info("leader election coordinator: %s %s %s", d->group->name, d->group->held ? "is better held by" : "is given to", name);
}

static void tick(struct lease_spread *s) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct view v = {.arena = a};
    if (look_at_candidates(s, &v, &err) != 0 || look_at_leases(s, &v, &err) != 0) {
        log_failure("looking", "around", &err);
        return;
    }
    look_at_database(s, &v);
    note_changes(s, &v);
    if (is_moving(s, &v)) return;
    struct decision d = decide(s, &v);
    if (d.to) act(s, a, &d);
    else replace(&s->asked, NULL);
}

/* ---- life ---- */

static void *run(void *arg) {
    struct lease_spread *s = arg;
    s->settled_ns = now_ns(s);
    pthread_mutex_lock(&s->mutex);
    while (!s->stopping) {
        pthread_mutex_unlock(&s->mutex);
        tick(s);
        int64_t until = now_ns(s) + TICK_MS * NS_PER_MS;
        pthread_mutex_lock(&s->mutex);
        while (!s->stopping && env_cond_wait(s->env, &s->cond, &s->mutex, until)) {}
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static void on_leading(void *arg) {
    struct lease_spread *s = arg;
    s->stopping = false;
    CHECK(pthread_create(&s->thread, NULL, run, s) == 0);
}

static void forget_all(struct lease_spread *s) {
    while (s->watched) {
        struct watched *w = s->watched;
        s->watched = w->next;
        free(w->key);
        free(w->state);
        free(w);
    }
    replace(&s->picture, NULL);
    replace(&s->asked, NULL);
    for (size_t i = 0; i < SILENT_MAX; i++) replace(&s->silent[i].name, NULL);
    s->moving_ns = 0;
}

static void on_lost(void *arg) {
    struct lease_spread *s = arg;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    forget_all(s);
}

struct lease_spread *lease_spread_start(struct client *elector, struct client *acting, struct lease_fence *fence, struct env *env, const struct lease_spread_config *config) {
    struct lease_spread *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->env = env;
    s->acting = acting;
    s->config = *config;
    pthread_mutex_init(&s->mutex, NULL);
    env_cond_init(&s->cond);
    struct leader_election_config e = {.name = "leader-election-controller", .identity = config->identity, .fence = fence, .lease_duration_ms = config->times.lease_duration_ms,
        .renew_deadline_ms = config->times.renew_deadline_ms, .retry_period_ms = config->times.retry_period_ms, .on_leading = on_leading, .on_lost = on_lost, .arg = s};
    s->election = leader_election_start(elector, env, &e);
    return s;
}

void lease_spread_stop(struct lease_spread *s) {
    if (!s) return;
    leader_election_stop(s->election);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}
