/* etcd's revision raised, and a cluster of one made of a snapshot or of what one member has. See cluster.h.
 *
 * Clients keep resourceVersions, which are etcd's revisions. After a move from the embedded database, or back to an older state, etcd must go on behind all that any of them can have
 * seen, or an old version would be taken for a new one. etcd has no way to be told so (its tools have, from 3.6 on): a snapshot is saved, its last revision raised, and restored. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"
#include "base/str.h"
#include "cmd/cluster.h"
#include "cmd/pki.h"

static const char mark[] = "/ckube/revision";

/* The newest thing in the database becomes a deletion. */
static int mark_revision(struct cluster *c, const char *snapshot, int64_t *ret_revision, struct status *reterr) {
    struct etcd_admin *admin = cluster_admin(c, true, reterr);
    if (!admin) return -1;
    int rc = etcd_admin_put(admin, mark, "", NULL, reterr) != 0 ? -1 : etcd_admin_delete(admin, mark, ret_revision, reterr);
    if (rc == 0) rc = etcd_admin_snapshot(admin, snapshot, reterr);
    etcd_admin_free(admin);
    return rc;
}

/* What is restored to `made` becomes the database; what was there stays until it has. */
static int take_database(const char *made, const char *data, const char *old, struct status *reterr) {
    if (rename(data, old) != 0 && errno != ENOENT) return status_errno(reterr, old);
    if (rename(made, data) != 0) return status_errno(reterr, data);
    return cluster_remove_tree(old) != 0 ? status_errno(reterr, old) : 0;
}

static int restore(struct cluster *c, const char *snapshot, struct status *reterr) {
    struct arena *a = c->arena;
    const char *made = arena_printf(a, "%s/data.new", c->dir), *old = arena_printf(a, "%s/data.old", c->dir), *data = arena_printf(a, "%s/data", c->dir);
    if (cluster_remove_tree(made) != 0 || cluster_remove_tree(old) != 0) return status_errno(reterr, c->dir);
    if (etcd_snapshot_restore(snapshot, made, c->state.name, etcd_url(a, c->state.address, c->state.peer_port), reterr) != 0) return -1;
    return take_database(made, data, old, reterr);
}

static int run_alone(struct cluster *c, bool force_new, struct status *reterr) {
    if (cluster_run_etcd(c, cluster_own_peer(c->arena, &c->state), false, force_new, reterr) != 0) return -1;
    return cluster_wait_quorum(c, CLUSTER_BEGIN_MS, reterr);
}

/* No watch may go on from before. */
static int check_and_compact(struct cluster *c, int64_t to, struct status *reterr) {
    struct etcd_admin *admin = cluster_admin(c, true, reterr);
    int64_t now = 0;
    if (!admin) return -1;
    int rc = etcd_admin_quorum(admin, 5000, &now, reterr);
    if (rc == 0 && now < to) rc = status_set(reterr, 500, REASON_INTERNAL_ERROR, "etcd stands at revision %lld after it was to be raised to %lld", (long long)now, (long long)to);
    if (rc == 0) rc = etcd_admin_compact(admin, now, reterr);
    etcd_admin_free(admin);
    return rc;
}

int cluster_raise_revision(struct cluster *c, int64_t to, struct status *reterr) {
    const char *snapshot = arena_printf(c->arena, "%s/server/raise.etcd", c->data_dir);
    int64_t from = 0;
    unlink(snapshot);
    int rc = mark_revision(c, snapshot, &from, reterr);
    if (rc == 0 && from < to) {
        etcd_process_stop(c->etcd);
        c->etcd = NULL;
        rc = etcd_snapshot_raise_revision(snapshot, from, to, reterr);
        if (rc == 0) rc = restore(c, snapshot, reterr);
        if (rc == 0) rc = run_alone(c, false, reterr);
    }
    if (rc == 0) rc = check_and_compact(c, to, reterr);
    unlink(snapshot);
    return rc;
}

static int current_revision(struct cluster *c, int64_t *ret, struct status *reterr) {
    struct etcd_admin *admin = cluster_admin(c, true, reterr);
    int rc = admin ? etcd_admin_quorum(admin, 5000, ret, reterr) : -1;
    etcd_admin_free(admin);
    return rc;
}

int cluster_reset_member(struct cluster *c, struct status *reterr) {
    int64_t revision = 0;
    if (c->config.restore && etcd_snapshot_verify(c->config.restore, reterr) != 0) return -1;
    if (c->state.phase == CLUSTER_NONE || c->state.phase == CLUSTER_LEFT) {
        if (cluster_name_member(c, reterr) != 0 || pki_ensure(c->data_dir, (const char *const[]){"127.0.0.1", c->state.address, NULL}, NULL, reterr) != 0) return -1;
    }
    c->state.servers = "";
    if (cluster_pki_ensure(c->data_dir, &c->state, reterr) != 0 || !cluster_token_ensure(c->arena, c->data_dir, c->config.token, reterr)) return -1;
    if (c->config.restore && restore(c, c->config.restore, reterr) != 0) return -1;
    if (run_alone(c, !c->config.restore, reterr) != 0 || current_revision(c, &revision, reterr) != 0) return -1;
    if (cluster_raise_revision(c, revision + (int64_t)STORE_RESTORE_BUMP, reterr) != 0 || cluster_enter(c, CLUSTER_MEMBER, reterr) != 0) return -1;
    log_info("this server's etcd is a cluster of one now, at revision %lld: start the server without --cluster-reset, and let the others join anew", (long long)(revision + (int64_t)STORE_RESTORE_BUMP));
    return 0;
}
