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
#include "wire/http_client.h"
#include "wire/json.h"

enum { FETCH_MS = 15000, CONNECT_MS = 3000, RETRY_MS = 500, ADD_MS = 180000, PROMOTE_MS = 600000, TELL_MS = 10000 };

/* ---- the server that is named ---- */

struct place { char host[300]; int port; };

static int parse_url(const char *url, struct place *ret, struct status *reterr) {
    const char *p = str_has_prefix(url, "https://") ? url + 8 : NULL, *end = p ? p + strcspn(p, "/") : NULL, *colon = end;
    if (!p || (*end && end[1])) return status_bad_request(reterr, "--server: \"%s\" is not of the form https://HOST:PORT", url);
    while (colon > p && *colon != ':' && *colon != ']') colon--;
    bool has_port = colon > p && *colon == ':', bracketed = *p == '[';
    const char *stop = has_port ? colon : end;
    ret->port = has_port ? atoi(colon + 1) : 6443;
    int len = (int)(stop - p) - 2 * bracketed;
    if (len <= 0 || len >= (int)sizeof(ret->host) || ret->port <= 0 || ret->port > 65535) return status_bad_request(reterr, "--server: \"%s\" is not of the form https://HOST:PORT", url);
    snprintf(ret->host, sizeof(ret->host), "%.*s", len, p + bracketed);
    return 0;
}

static int give_token(void *ctx, struct buf *ret, struct status *reterr UNUSED) {
    buf_append_str(ret, ctx);
    return 0;
}

/* Whether the server may only not be up yet: it cannot be reached, hangs up, or says so itself. Who speaks, but not as a server of a cluster does, will not later either. */
static bool not_up_yet(const struct http_reply *r, const struct status *err) {
    if (r) return r->code == 503;
    return err->code >= 502 && !strstr(status_message(err), "tls: ") && !strstr(status_message(err), "malformed");
}

/* Calls until somebody answers. NULL when what came is no answer, or this process is to end. */
static struct http_reply *call_when_up(struct http_client *c, const struct place *from, const char *target, struct status *reterr) {
    for (int64_t told = INT64_MIN / 2;;) {
        _cleanup_status_ struct status err = STATUS_INIT;
        struct http_reply *r = NULL;
        int rc = http_client_call(c, &(struct http_call){.target = target, .timeout_ms = FETCH_MS, .body_bytes_max = 1 << 20}, &r, &err);
        if (!not_up_yet(rc == 0 ? r : NULL, &err)) {
            if (rc == 0) return r;
            status_copy(reterr, &err);
            return NULL;
        }
        int64_t now = env_mono_ns(env_real()) / 1000000;
        if (now - told > TELL_MS) {
            told = now;
            log_info("waiting for the server at %s:%d, to join its cluster: %s", from->host, from->port, rc ? status_message(&err) : "it is not ready");
        }
        http_reply_free(rc == 0 ? r : NULL);
        if (!cluster_pause(RETRY_MS)) {
            status_set(reterr, 500, REASON_INTERNAL_ERROR, "stopped while waiting for the server at %s:%d", from->host, from->port);
            return NULL;
        }
    }
}

/* ca_pem NULL: whoever answers. secret NULL: none is sent. The body, in the arena; *ret_code its code. Waits for a server that is not up yet. */
static char *fetch(struct arena *a, const struct place *from, const char *target, const char *ca_pem, const char *secret, int *ret_code, struct status *reterr) {
    struct http_client_options o = {.host = from->host, .port = from->port, .tls = true, .insecure = !ca_pem, .ca_pem = ca_pem, .no_keep_alive = true, .connect_timeout_ms = CONNECT_MS,
        .bearer_token = secret ? give_token : NULL, .bearer_token_ctx = (void *)(uintptr_t)secret};
    struct http_client *c = http_client_new(&o, reterr);
    struct http_reply *r = c ? call_when_up(c, from, target, reterr) : NULL;
    char *body = NULL;
    if (r) {
        *ret_code = r->code;
        body = arena_strndup(a, r->body, r->body_len);
    }
    http_reply_free(r);
    http_client_free(c);
    return body;
}

static int not_a_cluster(const char *url, int code, struct status *reterr) {
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s answers with %d: it is no ckube server of a cluster (was it started with --cluster-init?)", url, code);
}

/* The cluster's authority, once it is known to be the token's. */
static char *fetch_authority(struct cluster *c, const struct place *from, const struct cluster_token *token, struct status *reterr) {
    int code = 0;
    char hash[CLUSTER_HASH_LEN + 1], *pem = fetch(c->arena, from, "/ckube/cacerts", NULL, NULL, &code, reterr);
    if (!pem) return NULL;
    if (code != 200) {
        not_a_cluster(c->config.server, code, reterr);
        return NULL;
    }
    if (cluster_ca_hash(pem, hash, reterr) != 0) return NULL;
    if (!*token->hash) log_warning("the token does not say whom to trust: whoever answers at %s is taken for the cluster. A token of the form CK1<hash>::server:<secret> is safer", c->config.server);
    else if (!cluster_secrets_equal(hash, token->hash)) {
        status_set(reterr, 500, REASON_INTERNAL_ERROR, "the server at %s is not the token's cluster: its authority's hash is %s", c->config.server, hash);
        return NULL;
    }
    return pem;
}

static char *fetch_bundle(struct cluster *c, const struct place *from, const struct cluster_token *token, const char *pem, struct status *reterr) {
    int code = 0;
    char *text = fetch(c->arena, from, "/ckube/join", pem, token->secret, &code, reterr);
    if (!text || code == 200) return text;
    if (code == 401) status_set(reterr, 401, REASON_UNAUTHORIZED, "the cluster at %s refuses the token", c->config.server);
    else not_a_cluster(c->config.server, code, reterr);
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
    struct place from;
    const char *text = c->config.token, *settings, *pem, *bundle, *members = NULL;
    if (c->config.token_file && !(text = cluster_file_read(c->arena, c->config.token_file, reterr))) return -1;
    if (!text) return status_bad_request(reterr, "--server needs --token or --token-file: see DATA_DIR/server/token on a server of the cluster");
    if (cluster_token_parse(c->arena, text, &token, reterr) != 0 || parse_url(c->config.server, &from, reterr) != 0) return -1;
    if (!(pem = fetch_authority(c, &from, &token, reterr)) || !(bundle = fetch_bundle(c, &from, &token, pem, reterr))) return -1;
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
