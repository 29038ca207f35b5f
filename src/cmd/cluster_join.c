/* Joining a cluster. See cluster.h.
 *
 *   1. the authority of the server that is named, whose hash must be the token's                     nothing is kept until the cluster's keys are there; is that
 *                                                                                                    server not up yet, it is waited for
 *   2. the cluster's keys, for the token's secret                                                    -> DATA_DIR/tls, DATA_DIR/server/token
 *   3. a member is added to etcd as a learner: it gets everything and counts for nothing             phase "joining"
 *   4. our etcd runs as that member, and is promoted when it is in sync                              phase "member"
 * Cut at any point, it goes on at the next start: with 4 if etcd has begun to keep things, else with 1; a member that was added and never ran is removed first. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cluster.h"
#include "cmd/cluster_token.h"
#include "cmd/join.h"
#include "wire/json.h"

enum { RETRY_MS = 500, ADD_MS = 180000, PROMOTE_MS = 600000, TELL_MS = 10000 };

/* ---- the server that is named ---- */

static char *fetch_bundle(struct cluster *c, const struct join_place *from, const struct cluster_token *token, const char *pem, struct status *reterr) {
    int code = 0;
    char *text = join_fetch(c->arena, from, "/ckube/join", pem, token->secret, &code, reterr);
    if (!text || code == 200) return text;
    if (code == 401) status_set(reterr, 401, REASON_UNAUTHORIZED, "the cluster at %s refuses the token", c->config.server);
    else join_refuse(c->config.server, code, reterr);
    return NULL;
}

/* ---- what must be the same everywhere ---- */

static int check_settings(struct cluster *c, const char *text, const char **ret_members, struct status *reterr) {
    const struct apiserver_options *o = c->config.apiserver;
    const struct { const char *name, *own; } all[] = {{"service-cluster-ip-range", o->service_cluster_ip_range}, {"service-node-port-range", c->config.node_ports}, {"cluster-cidr", c->config.cluster_cidr},
        {"etcd-prefix", o->etcd_prefix}};
    yyjson_doc *doc = json_parse_in(c->arena, text, strlen(text), 0, reterr);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    if (!doc) return -1;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *theirs = yyjson_get_str(yyjson_obj_get(root, all[i].name));
        if (!str_eq(theirs, all[i].own))
            return status_bad_request(reterr, "--%s must be the same on all servers: here it is \"%s\", in the cluster \"%s\"", all[i].name, str_or(all[i].own, ""), str_or(theirs, ""));
    }
    *ret_members = arena_strdup(c->arena, str_or(yyjson_get_str(yyjson_obj_get(root, "members")), ""));
    return str_empty(*ret_members) ? status_bad_request(reterr, "the cluster names no member of its etcd") : 0;
}

static int take_keys(struct cluster *c, struct status *reterr) {
    struct cluster_token token;
    struct join_place from;
    const char *text = c->config.token, *settings, *pem, *bundle, *members = NULL;
    if (c->config.token_file && !(text = cluster_file_read(c->arena, c->config.token_file, reterr))) return -1;
    if (!text) return status_bad_request(reterr, "--server needs --token or --token-file: see DATA_DIR/server/token on a server of the cluster");
    if (cluster_token_parse(c->arena, text, &token, reterr) != 0 || join_parse_url(c->config.server, &from, reterr) != 0) return -1;
    if (!(pem = join_authority(c->arena, c->config.server, &from, token.hash, reterr)) || !(bundle = fetch_bundle(c, &from, &token, pem, reterr))) return -1;
    if (cluster_bundle_take(c->arena, c->data_dir, bundle, &settings, reterr) != 0 || check_settings(c, settings, &members, reterr) != 0) return -1;
    unlink(arena_printf(c->arena, "%s/server/token", c->data_dir)); /* of a cluster that this server was in before */
    c->token = cluster_token_ensure(c->arena, c->data_dir, token.secret, reterr);
    c->state.servers = members;
    return c->token ? cluster_pki_ensure(c->data_dir, &c->state, reterr) : -1;
}

/* ---- the member ---- */

static bool serves(struct etcd_admin *admin, const struct etcd_member *m) {
    struct etcd_member_status s;
    return !str_empty(m->client_url) && etcd_admin_status(admin, m->client_url, &s, NULL) == 0;
}

/* One that was added at our address before: it never ran, or what it knew is gone with the data folder that it had. */
static int remove_stale(struct cluster *c, struct etcd_admin *admin, const struct etcd_members *members, struct status *reterr) {
    const char *own = etcd_url(c->arena, c->state.address, c->state.peer_port);
    for (size_t i = 0; i < members->len; i++) {
        const struct etcd_member *m = &members->items[i];
        if (!str_eq(m->peer_url, own)) continue;
        if (!str_empty(m->name) && serves(admin, m)) return status_set(reterr, 409, REASON_CONFLICT, "the member %s of the cluster has the address %s already, and answers", m->name, own);
        log_info("the member %s at %s was of this server and is removed before it joins anew", str_or(m->name, "(never started)"), own);
        _cleanup_status_ struct status err = STATUS_INIT;
        if (etcd_admin_remove(admin, m->id, &err) == 0 || strstr(status_message(&err), "member not found")) continue; /* or an earlier attempt of ours did it */
        status_copy(reterr, &err);
        return -1;
    }
    return 0;
}

static char *initial_cluster(struct cluster *c, const struct etcd_members *members, uint64_t own_id) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < members->len; i++)
        buf_printf(&out, "%s%s=%s", out.len ? "," : "", members->items[i].id == own_id ? c->state.name : members->items[i].name, members->items[i].peer_url);
    return arena_strndup(c->arena, out.data, out.len);
}

static int add_once(struct cluster *c, struct etcd_admin *admin, char **ret_initial, struct status *reterr) {
    struct etcd_members members;
    uint64_t id = 0;
    if (etcd_admin_members_now(admin, c->arena, &members, reterr) != 0 || remove_stale(c, admin, &members, reterr) != 0) return -1;
    if (etcd_admin_add_learner(admin, etcd_url(c->arena, c->state.address, c->state.peer_port), &id, c->arena, &members, reterr) != 0) return -1;
    *ret_initial = initial_cluster(c, &members, id);
    return 0;
}

/* Calls until it is done, it fails for good, or the time is over. */
static int add_member(struct cluster *c, char **ret_initial, struct status *reterr) {
    struct etcd_admin *admin = cluster_admin(c, false, reterr);
    int64_t now = env_mono_ns(env_real()) / 1000000, until = now + ADD_MS, told = 0;
    int rc = admin ? 1 : -1;
    while (rc > 0) {
        _cleanup_status_ struct status err = STATUS_INIT;
        now = env_mono_ns(env_real()) / 1000000;
        if (add_once(c, admin, ret_initial, &err) == 0) rc = 0;
        else if (!cluster_worth_waiting(&err) || now > until || !cluster_pause(RETRY_MS)) {
            status_copy(reterr, &err);
            status_wrap(reterr, "adding this server's member to etcd");
            rc = -1;
        } else if (now - told > TELL_MS) {
            told = now;
            log_info("waiting to be added to etcd: %s", status_message(&err));
        }
    }
    etcd_admin_free(admin);
    return rc;
}

/* 0: promoted; 1: not yet, with the reason. */
static int promote_once(struct cluster *c, struct etcd_admin *admin, struct status *reterr) {
    struct etcd_members members;
    if (etcd_admin_members_now(admin, c->arena, &members, reterr) != 0) return 1;
    const struct etcd_member *own = cluster_own_member(c, &members);
    if (!own) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "this server's member is not in the cluster any more: remove %s and start again", c->dir);
    if (!own->learner) return 0;
    return etcd_admin_promote(admin, own->id, reterr) == 0 ? 0 : 1;
}

static int promote(struct cluster *c, struct status *reterr) {
    struct etcd_admin *admin = cluster_admin(c, false, reterr);
    int64_t now = env_mono_ns(env_real()) / 1000000, until = now + PROMOTE_MS, told = now;
    int rc = admin ? 1 : -1;
    while (rc > 0) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        rc = promote_once(c, admin, &err);
        now = env_mono_ns(env_real()) / 1000000;
        if (rc > 0 && (now > until || !cluster_pause(RETRY_MS / 2))) rc = -1;
        if (rc < 0) {
            status_copy(reterr, &err);
            status_wrap(reterr, "making this server's member one that counts (etcd says: %s)", etcd_process_last_words(c->etcd, a));
        } else if (rc > 0 && now - told > TELL_MS) {
            told = now;
            log_info("this server's member is being filled: %s; etcd says: %s", status_message(&err), etcd_process_last_words(c->etcd, a));
        }
    }
    etcd_admin_free(admin);
    return rc;
}

/* ---- all of it ---- */

static int begin_joining(struct cluster *c, char **ret_initial, struct status *reterr) {
    struct arena *a = c->arena;
    if (access(arena_printf(a, "%s/db/data.mdb", c->data_dir), F_OK) == 0)
        return status_bad_request(reterr, "%s holds a database of its own, which the cluster's would not take over: join with an empty data folder", c->data_dir);
    if (cluster_name_member(c, reterr) != 0 || take_keys(c, reterr) != 0) return -1;
    if (cluster_remove_tree(arena_printf(a, "%s/data", c->dir)) != 0 || cluster_remove_tree(arena_printf(a, "%s/mirror", c->data_dir)) != 0) return status_errno(reterr, c->dir);
    if (cluster_enter(c, CLUSTER_JOINING, reterr) != 0) return -1;
    return add_member(c, ret_initial, reterr);
}

int cluster_join(struct cluster *c, struct status *reterr) {
    bool resumed = c->state.phase == CLUSTER_JOINING && cluster_has_database(c);
    char *initial = resumed ? cluster_own_peer(c->arena, &c->state) : NULL; /* of no meaning then: etcd has it in its database */
    if (!resumed && begin_joining(c, &initial, reterr) != 0) return -1;
    if (cluster_run_etcd(c, initial, true, false, reterr) != 0 || promote(c, reterr) != 0) return -1;
    if (cluster_enter(c, CLUSTER_MEMBER, reterr) != 0 || cluster_wait_quorum(c, CLUSTER_BEGIN_MS, reterr) != 0) return -1;
    log_info("this server has joined the cluster as the member %s", c->state.name);
    return 0;
}
