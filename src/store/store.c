/* Opening, closing and reading the LMDB store. The file is file.c's, writing is writer.c's, the log and watches are watch.c's.
 *
 * Reading takes no lock: a read that ends leaves its LMDB transaction, reset, in one of the spare places, and the next one renews it. */
#include "store/store.h"
#include <stdatomic.h>
#include <string.h>
#include "store/etcd/etcd.h"
#include "store/lmdb.h"

static void destroy(struct store *s) {
    store_file_close(&s->file);
    free(s);
}

static int load_revisions(struct store *s, struct status *reterr) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->file.env, NULL, MDB_RDONLY, &txn);
    if (rc) return store_lmdb_error(reterr, rc, "read");
    s->next_revision = store_meta_get(&s->file, txn, "revision", 1); /* as etcd: the first write is revision 2 */
    s->revision = s->dispatched = s->next_revision;
    s->compacted = store_meta_get(&s->file, txn, "compacted", 0);
    mdb_txn_abort(txn);
    return 0;
}

int store_open(const struct store_options *o, struct store **ret, struct status *reterr) {
    struct store *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->file.lock_fd = -1;
    s->clock = o->env ? o->env : env_real();
    s->cipher = o->cipher;
    s->no_sync = o->no_sync || o->etcd.servers;
    s->log_age_s = o->log_age_s ? o->log_age_s : 300;
    s->log_entries_max = o->log_entries_max ? o->log_entries_max : 1000000;
    if (store_file_open(&s->file, o, reterr) != 0 || load_revisions(s, reterr) != 0) {
        destroy(s);
        return -1;
    }
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_init(&s->watch_mutex, NULL);
    pthread_mutex_init(&s->metrics_mutex, NULL);
    env_cond_init(&s->cond);
    s->last = &s->first;
    store_finisher_start(s);
    store_writer_start(s);
    if (o->etcd.servers && etcd_new(s, &o->etcd, reterr) != 0) {
        store_close(s);
        return -1;
    }
    *ret = s;
    return 0;
}

int store_wait_current(struct store *s, struct status *reterr) { return s->etcd ? etcd_wait_current(s->etcd, ETCD_TIMEOUT_MS, reterr) : 0; }

void store_wait_revision(struct store *s, uint64_t revision) {
    if (s->etcd && s->revision < revision) etcd_wait_revision(s->etcd, revision, 3000);
}

void store_set_etcd_servers(struct store *s, const char *servers, bool prefer) {
    if (s->etcd) etcd_set_servers(s->etcd, servers, prefer);
}

void store_hurry(struct store *s) {
    if (s->etcd) etcd_hurry(s->etcd);
}

int store_check_health(struct store *s, int timeout_ms, struct status *reterr) {
    if (s->broken) return store_lmdb_error(reterr, s->broken, "a sync of the database failed, and nothing is written until it is opened anew");
    return s->etcd ? etcd_wait_current(s->etcd, timeout_ms, reterr) : 0;
}

size_t store_servers(const struct store *s) { return s->etcd ? s->etcd->endpoints_len : 1; }
int store_check_server(struct store *s, size_t server, int timeout_ms, struct status *reterr) { return s->etcd ? etcd_probe(s->etcd, server, timeout_ms, reterr) : 0; }

/* ---- reading ---- */

struct store_txn {
    struct store *store;
    MDB_txn *txn;
    uint64_t revision;      /* 0: not asked for yet */
    uint64_t commits;       /* of the store when it began */
    struct arena *opened;   /* values that were sealed; NULL: none */
    pthread_t thread;
    int64_t begun_ns;       /* debug builds only */
};

enum { READ_S_MAX = 30 };

static void free_txn(struct store_txn *t) {
    mdb_txn_abort(t->txn);
    free(t);
}

/* Threads prefer different places, so that they do not pull one cache line to and fro. */
static unsigned preferred_spare(void) {
    static _Atomic unsigned threads;
    static _Thread_local unsigned mine;
    if (!mine) mine = ++threads;
    return mine % SPARE_READS;
}

void store_close(struct store *s) {
    if (!s) return;
    etcd_stop(s->etcd);
    store_writer_stop(s);
    store_finisher_stop(s);
    etcd_free(s->etcd);
    CHECK(s->watches == NULL);
    DCHECK(s->open_reads == 0);
    for (size_t i = 0; i < SPARE_READS; i++)
        if (s->spare[i]) free_txn(s->spare[i]);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->watch_mutex);
    pthread_mutex_destroy(&s->metrics_mutex);
    pthread_cond_destroy(&s->cond);
    destroy(s);
}

static int begin(struct store *s, struct store_txn **ret) {
    struct store_txn *t = atomic_exchange_explicit(&s->spare[preferred_spare()], NULL, memory_order_acquire);
    int rc;
    if (t && mdb_txn_renew(t->txn) == 0) {
        *ret = t;
        return 0;
    }
    if (t) free_txn(t);
    t = calloc(1, sizeof(*t));
    CHECK(t);
    t->store = s;
    rc = mdb_txn_begin(s->file.env, NULL, MDB_RDONLY, &t->txn);
    if (rc) free(t);
    else *ret = t;
    return rc;
}

int store_read_begin(struct store *s, struct store_txn **ret, struct status *reterr) {
    struct store_txn *t = NULL;
    int rc = begin(s, &t);
    if (rc) return store_lmdb_error(reterr, rc, "read");
    t->revision = 0;
    t->opened = NULL;
    t->commits = s->commits;
#ifdef CKUBE_DEBUG
    t->thread = pthread_self();
    t->begun_ns = env_mono_ns(env_real());
    s->open_reads++;
#endif
    *ret = t;
    return 0;
}

/* A read that is held while many commits pass keeps their old pages from being used again: how far the worst one fell behind is a metric. */
static void note_lag(struct store *s, const struct store_txn *t) {
    uint64_t lag = s->commits - t->commits, max = s->read_lag_max;
    while (lag > max && !atomic_compare_exchange_weak(&s->read_lag_max, &max, lag)) continue;
}

void store_read_end(struct store_txn *t) {
    if (!t) return;
    struct store *s = t->store;
    struct store_txn *none = NULL;
#ifdef CKUBE_DEBUG
    CHECK(pthread_equal(t->thread, pthread_self()));
    CHECK(env_mono_ns(env_real()) - t->begun_ns < READ_S_MAX * 1000000000ll); /* held across a turn of the loop? */
    s->open_reads--;
#endif
    note_lag(s, t);
    arena_free(t->opened);
    mdb_txn_reset(t->txn);
    if (!atomic_compare_exchange_strong_explicit(&s->spare[preferred_spare()], &none, t, memory_order_release, memory_order_relaxed)) free_txn(t);
}

uint64_t store_txn_revision(const struct store_txn *t) {
    struct store_txn *known = (struct store_txn *)(uintptr_t)t;
    if (!known->revision) known->revision = store_meta_get(&t->store->file, t->txn, "revision", 1);
    return known->revision;
}

/* What the disk holds is not ours to assert on: a record that cannot be one is counted, and not there for the reader. */
static bool make_view(struct store *s, const MDB_val *k, const MDB_val *v, struct store_view *view) {
    struct record r;
    if (v->mv_size >= sizeof(r)) memcpy(&r, v->mv_data, sizeof(r));
    if (v->mv_size < sizeof(r) || r.rv_offset > v->mv_size - sizeof(r)) {
        s->damaged++;
        return false;
    }
    *view = (struct store_view){k->mv_data, (const char *)v->mv_data + sizeof(r), k->mv_size, v->mv_size - sizeof(r), r.rv_offset, r.create_revision, r.mod_revision, r.expires_s};
    return true;
}

/* The value in clear: in `scratch`, or, without one, for as long as the snapshot is held. */
static void open_view(struct store_txn *t, struct store_view *view, struct buf *scratch) {
    const struct store_cipher *c = t->store->cipher;
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_buf_ struct buf own = BUF_INIT;
    struct buf *out = scratch ? scratch : &own;
    buf_clear(out);
    int rc = c->open(c->ctx, view->key, view->key_len, view->value, view->value_len, out, &view->stale, &err);
    if (rc == 1) return;
    if (!t->opened && (rc < 0 || !scratch)) t->opened = arena_new();
    if (rc == 0 && view->rv_offset > out->len) rc = status_internal(&err, "the revision's place is outside of the value");
    if (rc < 0) {
        view->trouble = arena_strdup(t->opened, status_message(&err));
        view->value = "";
        view->value_len = view->rv_offset = 0;
        return;
    }
    view->value = scratch ? buf_cstr(out) : arena_memdup(t->opened, buf_cstr(out), out->len + 1);
    view->value_len = out->len;
}

struct shared *store_open_bytes(struct store *s, const char *key, size_t key_len, struct shared *bytes, uint32_t *rv_offset) {
    static const char nothing[] = "{\"metadata\":{\"resourceVersion\":\"\"}}";
    const struct store_cipher *c = s->cipher;
    struct buf out = BUF_INIT;
    int rc = c ? c->open(c->ctx, key, key_len, shared_data(bytes), shared_len(bytes), &out, NULL, NULL) : 1;
    if (rc == 1) {
        buf_release(&out);
        return shared_ref(bytes);
    }
    if (rc == 0 && *rv_offset <= out.len) return shared_from_buf(&out);
    buf_release(&out);
    s->damaged++;
    *rv_offset = (uint32_t)(sizeof(nothing) - sizeof("\"}}"));
    return shared_new(nothing, sizeof(nothing) - 1);
}

int store_get(struct store_txn *t, const char *key, struct store_view *ret) {
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v;
    if (k.mv_size == 0 || k.mv_size > STORE_KEY_MAX) return 0;
    int rc = mdb_get(t->txn, t->store->file.kv, &k, &v);
    if (rc && rc != MDB_NOTFOUND) t->store->damaged++;
    if (rc || !make_view(t->store, &k, &v, ret)) return 0;
    if (t->store->cipher) open_view(t, ret, NULL);
    return 1;
}

/* Stands on the first key of the prefix at or after start. */
static int seek(struct store_txn *t, const char *prefix, const char *start, MDB_cursor **ret, MDB_val *k, MDB_val *v) {
    const char *from = start && strcmp(start, prefix) > 0 ? start : prefix;
    *k = (MDB_val){strlen(from), (void *)(uintptr_t)from};
    int rc = mdb_cursor_open(t->txn, t->store->file.kv, ret);
    if (rc) *ret = NULL;
    if (!rc) rc = mdb_cursor_get(*ret, k, v, k->mv_size ? MDB_SET_RANGE : MDB_FIRST);
    return rc;
}

static bool within(const MDB_val *k, const char *prefix, size_t prefix_len) {
    return k->mv_size >= prefix_len && memcmp(k->mv_data, prefix, prefix_len) == 0;
}

void store_range(struct store_txn *t, const char *prefix, const char *start, bool (*fn)(void *, const struct store_view *), void *arg) {
    MDB_cursor *c;
    MDB_val k, v;
    struct store_view view;
    _cleanup_buf_ struct buf scratch = BUF_INIT;
    size_t prefix_len = strlen(prefix);
    int rc = seek(t, prefix, start, &c, &k, &v);
    for (; rc == 0 && within(&k, prefix, prefix_len); rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        if (!make_view(t->store, &k, &v, &view)) continue;
        if (t->store->cipher) open_view(t, &view, &scratch);
        if (!fn(arg, &view)) break;
    }
    if (rc && rc != MDB_NOTFOUND) t->store->damaged++;
    if (c) mdb_cursor_close(c);
}

size_t store_count(struct store_txn *t, const char *prefix, const char *start) {
    MDB_cursor *c;
    MDB_val k, v;
    size_t n = 0, prefix_len = strlen(prefix);
    int rc = seek(t, prefix, start, &c, &k, &v); /* keys alone: values, which lie on pages of their own, are not touched */
    for (; rc == 0 && within(&k, prefix, prefix_len); rc = mdb_cursor_get(c, &k, NULL, MDB_NEXT)) n++;
    if (c) mdb_cursor_close(c);
    return n;
}

uint64_t store_revision(struct store *s) { return s->revision; }
uint64_t store_dispatched_revision(struct store *s) { return s->dispatched; }
uint64_t store_compacted_revision(struct store *s) { return s->compacted; }

/* ---- metrics ---- */

void store_metrics(struct store *s, struct store_metrics *ret) {
    MDB_envinfo info;
    MDB_stat stat;
    pthread_mutex_lock(&s->metrics_mutex);
    *ret = s->metrics;
    pthread_mutex_unlock(&s->metrics_mutex);
    ret->revision = s->revision;
    ret->compacted_revision = s->compacted;
    ret->commits = s->commits;
    ret->read_lag_commits_max = s->read_lag_max;
    ret->damaged = s->damaged;
    mdb_env_info(s->file.env, &info);
    mdb_env_stat(s->file.env, &stat);
    ret->db_bytes = (info.me_last_pgno + 1) * stat.ms_psize;
}
