/* The first member of a cluster, and what the embedded database hands over to it. See cluster.h.
 *
 * Until all is there the phase is "beginning": a server that is killed meanwhile begins anew, from the embedded database, which is only read. Then that is renamed, so that nobody
 * takes it for the truth. Objects keep everything, their UIDs and managed fields too; their resourceVersions go on behind all that the embedded database ever gave out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "apiserver/storage_codec.h"
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cluster.h"
#include "cmd/cluster_token.h"
#include "cmd/pki.h"

/* MARGIN: revisions between the last embedded one and the first of etcd's. TTL_STEP: so that few leases serve all Events. */
enum { PAGE_KEYS = STORE_OPS_MAX, PAGE_BYTES = 1 << 20, MARGIN = 1000, TTL_STEP_S = 600 };

struct page {
    struct arena *arena;
    struct { struct store_op *items; size_t len; } ops;
    size_t bytes;
    int64_t now_s;
};

static bool take_key(void *arg, const struct store_view *v) {
    struct page *p = arg;
    if (p->ops.len && (p->ops.len == PAGE_KEYS || p->bytes + v->value_len > PAGE_BYTES)) return false;
    struct store_op op = {.key = arena_strndup(p->arena, v->key, v->key_len), .expect_mod_revision = 0, .value = arena_memdup(p->arena, v->value, v->value_len), .value_len = v->value_len,
        .rv_offset = v->rv_offset};
    if (v->expires_s) op.ttl_s = (MAX(v->expires_s - p->now_s, (int64_t)1) + TTL_STEP_S - 1) / TTL_STEP_S * TTL_STEP_S;
    *LIST_PUSH(p->arena, &p->ops) = op;
    p->bytes += v->value_len;
    return true;
}

static int copy_page(struct store *to, const struct page *p, struct status *reterr) {
    struct store_result r = {0};
    store_write_wait(to, p->ops.items, p->ops.len, &r);
    if (r.outcome == STORE_OK) return 0;
    if (r.outcome == STORE_CONFLICT) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s is in etcd already", p->ops.items[r.conflict_op].key);
    status_copy(reterr, &r.error);
    status_release(&r.error);
    return -1;
}

static int copy_all(struct store *from, struct store *to, size_t *ret_keys, struct status *reterr) {
    char *next = NULL;
    int rc = 0;
    for (size_t n = 1; n && rc == 0;) {
        struct page p = {.arena = arena_new(), .now_s = env_now_s(env_real())};
        struct store_txn *t;
        if ((rc = store_read_begin(from, &t, reterr)) == 0) {
            store_range(t, "/registry/", next, take_key, &p);
            store_read_end(t);
            n = p.ops.len;
            free(next);
            next = n ? strdup(arena_printf(p.arena, "%s\x01", p.ops.items[n - 1].key)) : NULL; /* behind it: keys hold no byte below 2 */
            if (n) rc = copy_page(to, &p, reterr);
            *ret_keys += n;
        }
        arena_free(p.arena);
    }
    free(next);
    return rc;
}

static size_t count(struct store *s) {
    struct store_txn *t;
    if (store_read_begin(s, &t, NULL) != 0) return 0;
    size_t n = store_count(t, "/registry/", NULL);
    store_read_end(t);
    return n;
}

static int open_etcd(struct cluster *c, struct store **ret, struct status *reterr) {
    const struct apiserver_options *o = c->config.apiserver;
    struct etcd_access e = cluster_access(c->arena, c->data_dir, &c->state, true);
    struct store_options so = {.dir = arena_printf(c->arena, "%s/mirror", c->data_dir), .etcd = {.servers = e.servers, .ca_file = e.ca_file, .cert_file = e.cert_file, .key_file = e.key_file,
        .prefix = o->etcd_prefix, .codec = storage_codec(o->storage_media_type)}};
    return store_open(&so, ret, reterr);
}

static int import(struct cluster *c, struct store *from, struct status *reterr) {
    struct store *to = NULL;
    uint64_t revision = store_revision(from);
    size_t keys = 0, there = 0;
    if (cluster_raise_revision(c, (int64_t)revision + MARGIN, reterr) != 0 || open_etcd(c, &to, reterr) != 0) return -1;
    int rc = copy_all(from, to, &keys, reterr);
    if (rc == 0 && (there = count(to)) != keys) rc = status_set(reterr, 500, REASON_INTERNAL_ERROR, "%zu of %zu keys are in etcd", there, keys);
    store_close(to);
    if (rc == 0) log_info("etcd has taken over %zu keys of the embedded database, which stood at revision %llu", keys, (unsigned long long)revision);
    return rc;
}

static int import_embedded(struct cluster *c, const char *db, struct status *reterr) {
    struct store *from = NULL;
    if (store_open(&(struct store_options){.dir = db}, &from, reterr) != 0) return -1;
    int rc = import(c, from, reterr);
    store_close(from);
    if (rc != 0) status_wrap(reterr, "moving the embedded database to etcd");
    return rc;
}

static const char *secret_of(struct cluster *c, struct status *reterr) {
    struct cluster_token t;
    const char *text = c->config.token;
    if (c->config.token_file && !(text = cluster_file_read(c->arena, c->config.token_file, reterr))) return NULL;
    if (!text) return cluster_token_new_secret(c->arena);
    if (cluster_token_parse(c->arena, text, &t, reterr) != 0) return NULL;
    if (!cluster_secret_is_good(t.secret))
        log_warning("the token's secret has only %zu characters: whoever guesses it gets the cluster's keys. Take %d or more at random, or none, and one is made", strlen(t.secret), CLUSTER_SECRET_GOOD);
    return t.secret;
}

int cluster_begin(struct cluster *c, struct status *reterr) {
    struct arena *a = c->arena;
    const char *db = arena_printf(a, "%s/db", c->data_dir), *aside = arena_printf(a, "%s/db.before-cluster", c->data_dir);
    const char *secret = secret_of(c, reterr);
    if (!secret || cluster_name_member(c, reterr) != 0) return -1;
    c->state.servers = "";
    if (cluster_enter(c, CLUSTER_BEGINNING, reterr) != 0) return -1;
    if (cluster_remove_tree(arena_printf(a, "%s/data", c->dir)) != 0) return status_errno(reterr, c->dir);
    if (pki_ensure(c->data_dir, (const char *const[]){"127.0.0.1", c->state.address, NULL}, NULL, reterr) != 0 || !(c->token = cluster_token_ensure(a, c->data_dir, secret, reterr))) return -1;
    if (cluster_run_etcd(c, cluster_own_peer(a, &c->state), false, false, reterr) != 0 || cluster_wait_quorum(c, CLUSTER_BEGIN_MS, reterr) != 0) return -1;
    bool embedded = access(arena_printf(a, "%s/data.mdb", db), F_OK) == 0;
    if (embedded && import_embedded(c, db, reterr) != 0) return -1;
    if (cluster_enter(c, CLUSTER_MEMBER, reterr) != 0) return -1;
    if (embedded && rename(db, aside) != 0) log_warning("the embedded database in %s is of no use any more but cannot be renamed: %s", db, strerror(errno));
    log_info("a cluster has begun with the member %s; other servers join with --server https://%s:%d and the token in %s/server/token", c->state.name, c->state.address,
             c->config.apiserver->secure_port, c->data_dir);
    return 0;
}
