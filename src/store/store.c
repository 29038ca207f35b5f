/* Opening, closing, reading and copying the LMDB store. The writer is in writer.c, the log and watches in watch.c. */
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/lmdb.h"

static const char format_text[] = "ckube store 1";
#define MAP_SIZE ((size_t)64 << 30) /* address space, not memory: the file grows as it is used */

int store_lmdb_error(struct status *reterr, int rc, const char *what) {
    if (rc == ENOSPC || rc == MDB_MAP_FULL) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database is out of space: %s", mdb_strerror(rc));
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "database: %s: %s", what, mdb_strerror(rc));
}

static int lock_dir(struct store *s, struct status *reterr) {
    char path[4096];
    if (mkdir(s->dir, 0700) != 0 && errno != EEXIST) return status_errno(reterr, s->dir);
    snprintf(path, sizeof(path), "%s/LOCK", s->dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) return status_errno(reterr, path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database in %s is in use by another process", s->dir);
    return 0;
}

static uint64_t meta_get(struct store *s, MDB_txn *txn, const char *name, uint64_t fallback) {
    MDB_val k = {strlen(name), (void *)(uintptr_t)name}, v;
    uint64_t n;
    if (mdb_get(txn, s->meta, &k, &v) != 0 || v.mv_size != sizeof(n)) return fallback;
    memcpy(&n, v.mv_data, sizeof(n));
    return n;
}

static int open_tables(struct store *s, struct status *reterr) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (rc) return store_lmdb_error(reterr, rc, "begin");
    MDB_val name = {6, (void *)(uintptr_t)"format"}, text;
    if ((rc = mdb_dbi_open(txn, "kv", MDB_CREATE, &s->kv)) || (rc = mdb_dbi_open(txn, "log", MDB_CREATE, &s->log)) ||
        (rc = mdb_dbi_open(txn, "expiry", MDB_CREATE, &s->expiry)) || (rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &s->meta))) {
        mdb_txn_abort(txn);
        return store_lmdb_error(reterr, rc, "open");
    }
    rc = mdb_get(txn, s->meta, &name, &text);
    if (rc == 0 && (text.mv_size != sizeof(format_text) || memcmp(text.mv_data, format_text, sizeof(format_text)) != 0)) {
        mdb_txn_abort(txn);
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database in %s is of another format", s->dir);
    }
    if (rc == MDB_NOTFOUND) {
        MDB_val v = {sizeof(format_text), (void *)(uintptr_t)format_text};
        mdb_put(txn, s->meta, &name, &v, 0);
    }
    s->next_revision = meta_get(s, txn, "revision", 1); /* as etcd: the first write is revision 2 */
    s->revision = s->dispatched = s->next_revision;
    s->compacted = meta_get(s, txn, "compacted", 0);
    rc = mdb_txn_commit(txn);
    return rc ? store_lmdb_error(reterr, rc, "commit") : 0;
}

static void destroy(struct store *s) {
    if (s->env) mdb_env_close(s->env);
    if (s->lock_fd >= 0) close(s->lock_fd);
    free(s->dir);
    free(s);
}

int store_open(const struct store_options *o, struct store **ret, struct status *reterr) {
    struct store *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->lock_fd = -1;
    s->dir = strdup(o->dir);
    s->clock = o->env ? o->env : env_real();
    s->log_age_s = o->log_age_s ? o->log_age_s : 300;
    s->log_entries_max = o->log_entries_max ? o->log_entries_max : 1000000;
    int rc = 0;
    if (lock_dir(s, reterr) != 0) goto fail;
    if ((rc = mdb_env_create(&s->env)) || (rc = mdb_env_set_mapsize(s->env, MAP_SIZE)) || (rc = mdb_env_set_maxdbs(s->env, 8)) || (rc = mdb_env_set_maxreaders(s->env, 510)) ||
        (rc = mdb_env_open(s->env, s->dir, MDB_NOTLS | MDB_NORDAHEAD | (o->no_sync ? MDB_NOSYNC : 0), 0600))) {
        store_lmdb_error(reterr, rc, s->dir);
        goto fail;
    }
    if (open_tables(s, reterr) != 0) goto fail;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_init(&s->watch_mutex, NULL);
    pthread_mutex_init(&s->metrics_mutex, NULL);
    env_cond_init(&s->cond);
    s->last = &s->first;
    store_writer_start(s);
    *ret = s;
    return 0;
fail:
    destroy(s);
    return -1;
}

void store_close(struct store *s) {
    if (!s) return;
    store_writer_stop(s);
    CHECK(s->watches == NULL);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->watch_mutex);
    pthread_mutex_destroy(&s->metrics_mutex);
    pthread_cond_destroy(&s->cond);
    destroy(s);
}

/* ---- reading ---- */

struct store_txn {
    struct store *store;
    MDB_txn *txn;
    uint64_t revision;
};

int store_read_begin(struct store *s, struct store_txn **ret, struct status *reterr) {
    struct store_txn *t = calloc(1, sizeof(*t));
    CHECK(t);
    t->store = s;
    int rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t->txn);
    if (rc) {
        free(t);
        return store_lmdb_error(reterr, rc, "read");
    }
    t->revision = meta_get(s, t->txn, "revision", 1);
    *ret = t;
    return 0;
}

void store_read_end(struct store_txn *t) {
    if (!t) return;
    mdb_txn_abort(t->txn);
    free(t);
}

uint64_t store_txn_revision(const struct store_txn *t) { return t->revision; }

static void make_view(const MDB_val *k, const MDB_val *v, struct store_view *view) {
    struct record r;
    CHECK(v->mv_size >= sizeof(r));
    memcpy(&r, v->mv_data, sizeof(r));
    *view = (struct store_view){k->mv_data, (const char *)v->mv_data + sizeof(r), k->mv_size, v->mv_size - sizeof(r), r.rv_offset, r.create_revision, r.mod_revision};
}

int store_get(struct store_txn *t, const char *key, struct store_view *ret) {
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v;
    if (k.mv_size == 0 || k.mv_size > 511 || mdb_get(t->txn, t->store->kv, &k, &v) != 0) return 0;
    make_view(&k, &v, ret);
    return 1;
}

void store_range(struct store_txn *t, const char *prefix, const char *start, bool (*fn)(void *, const struct store_view *), void *arg) {
    MDB_cursor *c;
    size_t prefix_len = strlen(prefix);
    const char *from = start && strcmp(start, prefix) > 0 ? start : prefix;
    MDB_val k = {strlen(from), (void *)(uintptr_t)from}, v;
    struct store_view view;
    if (mdb_cursor_open(t->txn, t->store->kv, &c) != 0) return;
    for (int rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if (k.mv_size < prefix_len || memcmp(k.mv_data, prefix, prefix_len) != 0) break;
        make_view(&k, &v, &view);
        if (!fn(arg, &view)) break;
    }
    mdb_cursor_close(c);
}

static bool count_one(void *arg, const struct store_view *view UNUSED) {
    ++*(size_t *)arg;
    return true;
}

size_t store_count(struct store_txn *t, const char *prefix, const char *start) {
    size_t n = 0;
    store_range(t, prefix, start, count_one, &n);
    return n;
}

uint64_t store_revision(struct store *s) { return s->revision; }
uint64_t store_compacted_revision(struct store *s) { return s->compacted; }

void store_metrics(struct store *s, struct store_metrics *ret) {
    MDB_envinfo info;
    MDB_stat stat;
    pthread_mutex_lock(&s->metrics_mutex);
    *ret = s->metrics;
    pthread_mutex_unlock(&s->metrics_mutex);
    ret->revision = s->revision;
    ret->compacted_revision = s->compacted;
    if (mdb_env_info(s->env, &info) == 0 && mdb_env_stat(s->env, &stat) == 0) ret->db_bytes = (info.me_last_pgno + 1) * stat.ms_psize;
}

int store_snapshot(struct store *s, const char *dir, struct status *reterr) {
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) return status_errno(reterr, dir);
    int rc = mdb_env_copy2(s->env, dir, MDB_CP_COMPACT);
    return rc ? store_lmdb_error(reterr, rc, "snapshot") : 0;
}
