/* The life of a cluster's server: see cluster.h. */
#include "cmd/cluster.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "wire/host_address.h"

enum { TELL_MS = 10000, POLL_MS = 100, ASK_MS = 2000 };

static int64_t now_ms(void) { return env_mono_ns(env_real()) / 1000000; }

bool cluster_pause(int ms) {
    for (int64_t until = now_ms() + ms; now_ms() < until; env_sleep_ms(env_real(), MIN(until - now_ms() + 1, (int64_t)POLL_MS)))
        if (command_signal_pending()) return false;
    return !command_signal_pending();
}

bool cluster_worth_waiting(const struct status *s) {
    static const char *const words[] = {"too many learner", "unhealthy cluster", "not enough started members", "no leader", "timed out", "leader changed"};
    bool may = s->code == 503 || s->code == 504;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) may |= strstr(status_message(s), words[i]) != NULL;
    return may;
}

/* ---- the member ---- */

static bool is_address(const char *s) {
    unsigned char bytes[16];
    return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1;
}

int cluster_name_member(struct cluster *c, struct status *reterr) {
    struct cluster_state *s = &c->state;
    struct arena *a = c->arena;
    char host[256] = "server", suffix[9];
    if (str_empty(s->name)) {
        gethostname(host, sizeof(host) - 1);
        for (char *p = host; *p; p++) *p = (char)(isalnum((unsigned char)*p) || *p == '-' || *p == '.' ? tolower((unsigned char)*p) : '-');
        snprintf(suffix, sizeof(suffix), "%08x", (unsigned)env_random_u64(env_real()));
        s->name = arena_printf(a, "%s-%s", host, suffix);
    }
    s->address = arena_strdup(a, c->config.address ? c->config.address : c->config.node_ip ? c->config.node_ip : str_or(host_default_address(a, false), "127.0.0.1"));
    s->listen = arena_strdup(a, c->config.node_ip ? c->config.node_ip : is_address(s->address) ? s->address : "0.0.0.0");
    s->client_port = c->config.client_port ? c->config.client_port : CLUSTER_CLIENT_PORT;
    s->peer_port = c->config.peer_port ? c->config.peer_port : CLUSTER_PEER_PORT;
    if (s->client_port < 1 || s->client_port > 65535 || s->peer_port < 1 || s->peer_port > 65535 || s->client_port == s->peer_port)
        return status_bad_request(reterr, "--etcd-client-port and --etcd-peer-port: %d and %d cannot be these ports", s->client_port, s->peer_port);
    return 0;
}

int cluster_enter(struct cluster *c, enum cluster_phase phase, struct status *reterr) {
    c->state.phase = phase;
    return cluster_state_write(c->data_dir, &c->state, reterr);
}

char *cluster_own_peer(struct arena *a, const struct cluster_state *s) { return arena_printf(a, "%s=%s", s->name, etcd_url(a, s->address, s->peer_port)); }

int cluster_run_etcd(struct cluster *c, const char *initial_cluster, bool existing, bool force_new, struct status *reterr) {
    const struct cluster_state *s = &c->state;
    if (cluster_pki_ensure(c->data_dir, s, reterr) != 0) return -1;
    if (geteuid() == 0) chmod(c->data_dir, 0711); /* so that etcd's user can pass; what is secret has a mode of its own */
    c->etcd = etcd_process_start(&(struct etcd_process_options){.dir = c->dir, .name = s->name, .address = s->address, .listen = s->listen, .client_port = s->client_port, .peer_port = s->peer_port,
        .initial_cluster = initial_cluster, .existing = existing, .force_new_cluster = force_new}, reterr);
    return c->etcd ? 0 : -1;
}

struct etcd_admin *cluster_admin(struct cluster *c, bool local, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct etcd_access e = cluster_access(a, c->data_dir, &c->state, local);
    return etcd_admin_new(e.servers, e.ca_file, e.cert_file, e.key_file, reterr);
}

static bool was_removed(struct cluster *c, struct arena *a) { return strstr(etcd_process_last_words(c->etcd, a), "permanently removed") != NULL; }

static int refuse_removed(struct status *reterr) {
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "this server's member was removed from the cluster: to join again, move its folders etcd and server away and use --server and --token");
}

int cluster_wait_quorum(struct cluster *c, int64_t timeout_ms, struct status *reterr) {
    struct etcd_admin *admin = cluster_admin(c, true, reterr);
    int64_t begun = now_ms(), told = begun;
    int rc = admin ? 1 : -1;
    while (rc > 0) {
        _cleanup_status_ struct status err = STATUS_INIT;
        _cleanup_arena_ struct arena *a = arena_new();
        if (etcd_admin_quorum(admin, ASK_MS, NULL, &err) == 0) rc = 0;
        else if (!cluster_pause(POLL_MS)) rc = status_set(reterr, 500, REASON_INTERNAL_ERROR, "stopped while waiting for etcd");
        else if (etcd_process_starts(c->etcd) > 1 && was_removed(c, a))
            rc = refuse_removed(reterr);
        else if (timeout_ms && now_ms() - begun > timeout_ms)
            rc = status_set(reterr, 500, REASON_INTERNAL_ERROR, "etcd does not serve: %s; it says: %s (see %s/etcd.log)", status_message(&err), etcd_process_last_words(c->etcd, a), c->dir);
        else if (now_ms() - told > TELL_MS) {
            told = now_ms();
            log_info("waiting for a majority of etcd's members: %s; etcd says: %s", status_message(&err), etcd_process_last_words(c->etcd, a));
        }
    }
    etcd_admin_free(admin);
    return rc;
}

const struct etcd_member *cluster_own_member(struct cluster *c, const struct etcd_members *members) {
    const char *own = etcd_url(c->arena, c->state.address, c->state.peer_port);
    for (size_t i = 0; i < members->len; i++)
        if (str_eq(members->items[i].peer_url, own)) return &members->items[i];
    return NULL;
}

/* The others may have removed it while it was away, which it cannot know by itself. */
static int check_membership(struct cluster *c, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct etcd_members members;
    struct etcd_admin *admin = cluster_admin(c, true, reterr);
    int rc = admin ? etcd_admin_members_now(admin, a, &members, reterr) : -1;
    etcd_admin_free(admin);
    return rc != 0 || cluster_own_member(c, &members) ? rc : refuse_removed(reterr);
}

bool cluster_has_database(struct cluster *c) { return access(arena_printf(c->arena, "%s/data/member/wal", c->dir), F_OK) == 0; }

/* etcd's database is gone, with its disk perhaps. To begin an empty one in the member's place would be a lie to the others: it joins anew. */
static int rejoin(struct cluster *c, struct status *reterr) {
    if (!c->config.server) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s/data, the database of this server's member, is gone: join the cluster anew with --server and --token", c->dir);
    log_warning("%s/data, the database of this server's member, is gone: it joins the cluster anew", c->dir);
    return cluster_join(c, reterr);
}

static int start_member(struct cluster *c, struct status *reterr) {
    const struct cluster_config *o = &c->config;
    if ((o->client_port && o->client_port != c->state.client_port) || (o->peer_port && o->peer_port != c->state.peer_port) || (o->address && !str_eq(o->address, c->state.address)))
        log_warning("this server's member keeps its address %s and its ports %d and %d: others know it by them", c->state.address, c->state.client_port, c->state.peer_port);
    if (!cluster_has_database(c)) return rejoin(c, reterr);
    if (cluster_run_etcd(c, cluster_own_peer(c->arena, &c->state), true, false, reterr) != 0) return -1;
    return cluster_wait_quorum(c, 0, reterr) != 0 ? -1 : check_membership(c, reterr);
}

/* ---- starting ---- */

static int refuse_left(struct status *reterr) {
    return status_bad_request(reterr, "this server has left its cluster: --server and --token to join one again, --cluster-init to begin a new one");
}

/* What the state and the flags call for. */
static int enter_cluster(struct cluster *c, struct status *reterr) {
    enum cluster_phase phase = c->state.phase;
    if (phase == CLUSTER_MEMBER) return start_member(c, reterr);
    if (phase == CLUSTER_BEGINNING) return cluster_begin(c, reterr);
    if (phase == CLUSTER_JOINING && !c->config.server) return status_bad_request(reterr, "this server was joining a cluster and has not finished: --server and --token are needed again");
    if (c->config.server) return cluster_join(c, reterr);
    return phase == CLUSTER_LEFT && !c->config.init ? refuse_left(reterr) : cluster_begin(c, reterr);
}

static struct cluster *cluster_new(const struct cluster_config *config, struct status *reterr) {
    struct cluster *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->arena = arena_new();
    c->config = *config;
    c->data_dir = config->apiserver->data_dir;
    c->dir = arena_printf(c->arena, "%s/etcd", c->data_dir);
    pthread_mutex_init(&c->mutex, NULL);
    env_cond_init(&c->cond);
    if (cluster_state_read(c->arena, c->data_dir, &c->state, reterr) == 0) return c;
    cluster_free(c);
    return NULL;
}

int cluster_start(const struct cluster_config *config, struct cluster **ret, struct status *reterr) {
    if (config->init && config->server) return status_bad_request(reterr, "--cluster-init begins a cluster, --server joins one: not both");
    struct cluster *c = cluster_new(config, reterr);
    if (!c) return -1;
    if (c->state.phase == CLUSTER_NONE && !config->init && !config->server) {
        cluster_free(c);
        return 0;
    }
    if (config->apiserver->etcd_servers) status_bad_request(reterr, "--etcd-servers names an etcd of your own: a server of a cluster runs its own member");
    else if ((etcd_process_end_earlier(c->dir), enter_cluster(c, reterr) == 0) && (c->token = cluster_token_ensure(c->arena, c->data_dir, NULL, reterr))) {
        c->servers = strdup(str_or(c->state.servers, ""));
        *ret = c;
        return 1;
    }
    cluster_free(c);
    return -1;
}

int cluster_reset(const struct cluster_config *config, struct status *reterr) {
    struct cluster *c = cluster_new(config, reterr);
    if (!c) return -1;
    int rc = -1;
    if (c->state.phase != CLUSTER_MEMBER && !config->restore) status_bad_request(reterr, "there is no member of a cluster in %s", c->data_dir);
    else {
        etcd_process_end_earlier(c->dir);
        rc = cluster_reset_member(c, reterr);
    }
    cluster_free(c);
    return rc;
}

void cluster_free(struct cluster *c) {
    if (!c) return;
    cluster_stop_serving(c);
    etcd_process_stop(c->etcd);
    pthread_mutex_destroy(&c->mutex);
    pthread_cond_destroy(&c->cond);
    free(c->servers);
    free(c->overview);
    arena_free(c->arena);
    free(c);
}

const char *cluster_address(struct cluster *c) { return c->state.address; }
const char *cluster_member_name(struct cluster *c) { return c->state.name; }
const char *cluster_token(struct cluster *c) { return c->token; }

struct etcd_access cluster_etcd(struct cluster *c, struct arena *a) {
    pthread_mutex_lock(&c->mutex);
    struct cluster_state s = c->state;
    s.servers = c->servers;
    struct etcd_access e = cluster_access(a, c->data_dir, &s, true);
    pthread_mutex_unlock(&c->mutex);
    return e;
}
