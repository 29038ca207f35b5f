/* What the store does by itself: deletes keys whose time has come, and cuts the log by age and count.
 *
 * On the writer thread, between batches: once a second, and again after every batch while it is behind, in steps small enough that no writer notices.
 * Expired keys are deleted through the same path as any write, with events, so that a watch cannot tell them from a client's deletes (as etcd's leases). */
#include <string.h>
#include "store/lmdb.h"

enum { EXPIRE_STEP = 256, COMPACT_STEP = 4000 };

void store_expiry_key(char out[8 + STORE_KEY_MAX], int64_t expires_s, const char *key, size_t key_len) {
    for (int i = 0; i < 8; i++) out[i] = (char)((uint64_t)expires_s >> (56 - 8 * i));
    memcpy(out + 8, key, key_len);
}

int64_t store_expiry_time(const MDB_val *k) {
    uint64_t at = 0;
    for (int i = 0; i < 8; i++) at = at << 8 | ((const unsigned char *)k->mv_data)[i];
    return (int64_t)at;
}

/* ---- expiry ---- */

static void count_expired(void *arg, struct store_result *r) {
    struct store *s = arg;
    pthread_mutex_lock(&s->metrics_mutex);
    s->metrics.expired += r->outcome == STORE_OK;
    pthread_mutex_unlock(&s->metrics_mutex);
    status_release(&r->error);
}

/* Nothing can write between this look and the delete, both being the writer's: the key is still the one that was to expire. */
static struct submission *delete_of(struct store *s, const MDB_val *expiry) {
    char key[STORE_KEY_MAX + 1];
    size_t len = MIN(expiry->mv_size - 8, (size_t)STORE_KEY_MAX);
    memcpy(key, (const char *)expiry->mv_data + 8, len);
    key[len] = 0;
    struct submission *sub = calloc(1, sizeof(*sub));
    CHECK(sub);
    sub->ops = store_ops_copy(&(struct store_op){.key = key, .expect_mod_revision = STORE_ANY}, 1, &sub->bytes);
    sub->ops_len = 1;
    sub->done = count_expired;
    sub->arg = s;
    return sub;
}

static struct submission *expired_keys(struct store *s, int64_t now_s, size_t *ret_n) {
    MDB_txn *txn;
    MDB_cursor *c;
    MDB_val k, v;
    struct submission *first = NULL, **last = &first;
    if (mdb_txn_begin(s->file.env, NULL, MDB_RDONLY, &txn)) return NULL;
    if (mdb_cursor_open(txn, s->file.expiry, &c) == 0) {
        for (int rc = mdb_cursor_get(c, &k, &v, MDB_FIRST); rc == 0 && *ret_n < EXPIRE_STEP; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
            if (k.mv_size <= 8 || store_expiry_time(&k) > now_s) break;
            *last = delete_of(s, &k);
            last = &(*last)->next;
            ++*ret_n;
        }
        mdb_cursor_close(c);
    }
    mdb_txn_abort(txn);
    return first;
}

/* ---- compaction ---- */

/* Cuts the log's old end, whole revisions only. How many entries went and up to which revision, or an LMDB error. */
static int cut_log(struct store *s, MDB_txn *txn, int64_t now_s, size_t *ret_removed, uint64_t *ret_compacted) {
    MDB_cursor *c;
    MDB_val k, v;
    MDB_stat stat;
    int rc = mdb_stat(txn, s->file.log, &stat);
    if (rc || (rc = mdb_cursor_open(txn, s->file.log, &c))) return rc;
    size_t entries = stat.ms_entries, n = 0;
    uint64_t cut = 0;
    for (rc = mdb_cursor_get(c, &k, &v, MDB_FIRST); rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        struct log_record r;
        if (!store_log_record_read(&v, &r)) rc = MDB_CORRUPTED;
        if (rc) break;
        uint64_t revision = store_log_key_revision(&k);
        bool due = r.time_s + s->log_age_s <= now_s || entries - n > s->log_entries_max;
        if (revision != cut && (!due || n >= COMPACT_STEP)) break;
        cut = revision;
        if ((rc = mdb_cursor_del(c, 0))) break;
        n++;
    }
    mdb_cursor_close(c);
    *ret_removed = n;
    *ret_compacted = cut;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static size_t compact(struct store *s, int64_t now_s) {
    MDB_txn *txn;
    size_t removed = 0;
    uint64_t compacted = 0;
    if (mdb_txn_begin(s->file.env, NULL, 0, &txn)) return 0;
    int rc = cut_log(s, txn, now_s, &removed, &compacted);
    if (!rc && removed) rc = store_meta_put(&s->file, txn, "compacted", compacted);
    if (rc || !removed) {
        mdb_txn_abort(txn);
        return 0;
    }
    if (mdb_txn_commit(txn)) return 0; /* a full disk: tried again in a second */
    CHECK(compacted > s->compacted);
    s->compacted = compacted;
    s->commits++;
    pthread_mutex_lock(&s->metrics_mutex);
    s->metrics.compacted += removed;
    pthread_mutex_unlock(&s->metrics_mutex);
    return removed;
}

void store_care(struct store *s, int64_t now_s) {
    size_t expired = 0;
    uint64_t before = s->next_revision;
    struct submission *batch = expired_keys(s, now_s, &expired);
    if (batch) store_batch_run(s, batch);
    bool progress = s->next_revision != before; /* a disk that refuses deletes is not asked again at once */
    size_t cut = compact(s, now_s);
    s->care_behind = (expired == EXPIRE_STEP && progress) || cut >= COMPACT_STEP;
}
