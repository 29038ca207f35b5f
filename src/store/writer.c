/* The writer thread: takes what has queued up, applies it in one LMDB transaction, commits and gives it to the finisher.
 *
 * Fed by store_write from any thread. A submission whose expectations fail is left out and told so; one
 * that the disk refuses fails the whole batch, since LMDB cannot undo a part of it. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include "base/fiber.h"
#include "base/loop.h"
#include "store/etcd/etcd.h"
#include "store/lmdb.h"

enum { BATCH_MAX = 512, BATCH_BYTES_MAX = 8 << 20, CARE_MS = 1000 };

void store_submission_free(struct submission *sub) {
    for (size_t i = 0; i < sub->events_len; i++) store_event_unref(sub->events[i]);
    free(sub->events);
    for (size_t i = 0; sub->sealed && i < sub->ops_len; i++) buf_release(&sub->sealed[i]);
    free(sub->sealed);
    free(sub->ops);
    free(sub);
}

struct store_op *store_ops_copy(const struct store_op *ops, size_t n, size_t *ret_bytes) {
    size_t bytes = n * sizeof(*ops);
    for (size_t i = 0; i < n; i++) bytes += strlen(ops[i].key) + 1 + ops[i].value_len;
    struct store_op *copy = malloc(bytes ? bytes : 1);
    CHECK(copy);
    *ret_bytes = bytes;
    char *p = (char *)(copy + n);
    if (n) memcpy(copy, ops, n * sizeof(*ops)); /* NULL when a submission writes nothing */
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(ops[i].key) + 1;
        copy[i].key = memcpy(p, ops[i].key, len);
        p += len;
        if (!ops[i].value) continue;
        if (ops[i].value_len) memcpy(p, ops[i].value, ops[i].value_len);
        copy[i].value = p;
        p += ops[i].value_len;
    }
    return copy;
}

/* On the submitter's thread, so that the writer's has no work with it. */
static void seal(struct store *s, struct submission *sub) {
    const struct store_cipher *c = s->cipher;
    if (!c || !sub->ops_len) return;
    sub->sealed = calloc(sub->ops_len, sizeof(*sub->sealed));
    CHECK(sub->sealed);
    for (size_t i = 0; i < sub->ops_len && !sub->refused; i++) {
        const struct store_op *op = &sub->ops[i];
        int rc = op->value ? c->seal(c->ctx, op->key, op->value, op->value_len, &sub->sealed[i], &sub->result.error) : 1;
        if (rc) buf_release(&sub->sealed[i]);
        if (rc >= 0) continue;
        sub->refused = true;
        sub->result.outcome = STORE_FAILED;
    }
}

/* What the file is to hold. */
static MDB_val stored_value(const struct submission *sub, size_t i) {
    const struct store_op *op = &sub->ops[i];
    if (!sub->sealed || !sub->sealed[i].len) return (MDB_val){op->value ? op->value_len : 0, (void *)(uintptr_t)op->value};
    return (MDB_val){sub->sealed[i].len, sub->sealed[i].data};
}

void store_enqueue(struct store *s, struct submission *sub) {
    seal(s, sub);
    pthread_mutex_lock(&s->mutex);
    CHECK(!s->stopping);
    *s->last = sub;
    s->last = &sub->next;
    s->queued++;
    if (s->queued == 1 || s->queued == s->batch_len) pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

void store_write(struct store *s, const struct store_op *ops, size_t ops_len, void (*done)(void *, struct store_result *), void *arg) {
    if (s->etcd) {
        etcd_write(s->etcd, ops, ops_len, done, arg);
        return;
    }
    struct submission *sub = calloc(1, sizeof(*sub));
    CHECK(sub);
    sub->ops = store_ops_copy(ops, ops_len, &sub->bytes);
    sub->ops_len = ops_len;
    sub->done = done;
    sub->arg = arg;
    store_enqueue(s, sub);
}

void store_waiter_init(struct store_waiter *w) {
    *w = (struct store_waiter){.fiber = fiber_current(), .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    CHECK(w->fiber || !loop_current()); /* a loop must not block */
}

void store_waiter_wake(struct store_waiter *w) {
    if (w->fiber) {
        fiber_wake(w->fiber);
        return;
    }
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

void store_waiter_wait(struct store_waiter *w) {
    if (w->fiber) {
        fiber_suspend();
        return;
    }
    pthread_mutex_lock(&w->mutex);
    while (!w->done) pthread_cond_wait(&w->cond, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

struct write_waiter { struct store_waiter waiter; struct store_result *ret; };

static void wake_writer(void *arg, struct store_result *result) {
    struct write_waiter *w = arg;
    *w->ret = *result;
    store_waiter_wake(&w->waiter);
}

void store_write_wait(struct store *s, const struct store_op *ops, size_t ops_len, struct store_result *ret) {
    struct write_waiter w = {.ret = ret};
    store_waiter_init(&w.waiter);
    store_write(s, ops, ops_len, wake_writer, &w);
    store_waiter_wait(&w.waiter);
}

/* ---- applying ---- */

static int find(struct store *s, MDB_txn *txn, const char *key, struct record *ret, MDB_val *ret_value) {
    MDB_val k = {strlen(key), (void *)(uintptr_t)key}, v;
    int rc = mdb_get(txn, s->file.kv, &k, &v);
    if (rc) return rc;
    if (v.mv_size < sizeof(*ret)) return MDB_CORRUPTED;
    memcpy(ret, v.mv_data, sizeof(*ret));
    *ret_value = (MDB_val){v.mv_size - sizeof(*ret), (char *)v.mv_data + sizeof(*ret)};
    return 0;
}

/* 0: all expectations hold; 1: a conflict, noted in the result; otherwise an LMDB error. */
static int check(struct store *s, MDB_txn *txn, struct submission *sub) {
    for (size_t i = 0; i < sub->ops_len; i++) {
        struct store_op *op = &sub->ops[i];
        struct record r;
        MDB_val v;
        size_t key_len = strlen(op->key);
        if (key_len == 0 || key_len > STORE_KEY_MAX || op->rv_offset > op->value_len) return MDB_BAD_VALSIZE;
        if (op->expect_mod_revision == STORE_ANY) continue;
        int rc = find(s, txn, op->key, &r, &v);
        if (rc && rc != MDB_NOTFOUND) return rc;
        uint64_t now = rc ? 0 : r.mod_revision;
        if (now == (uint64_t)op->expect_mod_revision) continue;
        sub->result.outcome = STORE_CONFLICT;
        sub->result.conflict_op = i;
        sub->result.conflict_revision = now;
        return 1;
    }
    return 0;
}

static int expiry_entry(struct store *s, MDB_txn *txn, const char *key, int64_t expires_s, bool add) {
    char bytes[8 + STORE_KEY_MAX];
    size_t len = strlen(key);
    store_expiry_key(bytes, expires_s, key, len);
    MDB_val k = {8 + len, bytes}, v = {0, NULL};
    int rc = add ? mdb_put(txn, s->file.expiry, &k, &v, 0) : mdb_del(txn, s->file.expiry, &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static struct store_event *new_event(const struct store_op *op, uint64_t revision) {
    struct store_event *e = store_event_new();
    e->revision = revision;
    e->type = op->value ? STORE_PUT : STORE_DELETE;
    e->key = strdup(op->key);
    CHECK(e->key);
    return e;
}

static int put(struct store *s, MDB_txn *txn, const struct store_op *op, const MDB_val *stored, struct store_event *e, int64_t now_s) {
    struct record r = {e->create_revision, e->revision, op->ttl_s ? now_s + op->ttl_s : 0, op->rv_offset, 0};
    MDB_val k = {strlen(op->key), (void *)(uintptr_t)op->key}, v = {sizeof(r) + stored->mv_size, NULL};
    int rc = mdb_put(txn, s->file.kv, &k, &v, MDB_RESERVE);
    if (rc) return rc;
    memcpy(v.mv_data, &r, sizeof(r));
    if (stored->mv_size) memcpy((char *)v.mv_data + sizeof(r), stored->mv_data, stored->mv_size);
    return r.expires_s ? expiry_entry(s, txn, op->key, r.expires_s, true) : 0;
}

static int apply_op(struct store *s, MDB_txn *txn, struct submission *sub, size_t i, uint64_t revision, int64_t now_s) {
    struct store_op *op = &sub->ops[i];
    if (op->guard) return 0;
    struct record old;
    MDB_val old_value, stored = stored_value(sub, i);
    struct shared *prev = NULL; /* as the file holds it */
    int rc = find(s, txn, op->key, &old, &old_value);
    bool there = rc == 0;
    if (rc && rc != MDB_NOTFOUND) return rc;
    if (!there && !op->value) return 0; /* deleting nothing */
    struct store_event *e = new_event(op, revision);
    sub->events[sub->events_len++] = e;
    e->create_revision = there ? old.create_revision : revision;
    if (there) {
        prev = shared_new(old_value.mv_data, old_value.mv_size);
        e->prev_rv_offset = old.rv_offset;
        e->prev = store_open_bytes(s, op->key, strlen(op->key), prev, &e->prev_rv_offset);
        e->prev_mod_revision = old.mod_revision;
        if (old.expires_s) rc = expiry_entry(s, txn, op->key, old.expires_s, false);
        else rc = 0;
    } else rc = 0;
    if (rc) {
        shared_unref(prev);
        return rc;
    }
    if (op->value) {
        e->value = shared_new(op->value, op->value_len);
        e->rv_offset = op->rv_offset;
        rc = put(s, txn, op, &stored, e, now_s);
    } else {
        MDB_val k = {strlen(op->key), (void *)(uintptr_t)op->key};
        rc = mdb_del(txn, s->file.kv, &k, NULL);
    }
    if (!rc && revision > s->compacted) rc = store_log_append(s, txn, e, &stored, prev, i, now_s);
    shared_unref(prev);
    return rc;
}

/* The log knows nothing up to there any more. (If the transaction fails, it is said too early: who asks lists anew.) */
static int begin_gap(struct store *s, MDB_txn *txn, uint64_t until) {
    int rc = mdb_drop(txn, s->file.log, 0);
    if (!rc) rc = store_meta_put(&s->file, txn, "compacted", until);
    if (!rc) s->compacted = until;
    return rc;
}

static int apply(struct store *s, MDB_txn *txn, struct submission *sub, int64_t now_s) {
    if (sub->refused) return 0;
    int rc = check(s, txn, sub);
    if (rc == 1) return 0;
    if (rc == MDB_BAD_VALSIZE) {
        sub->result.outcome = STORE_FAILED;
        status_bad_request(&sub->result.error, "the key is empty or too long, or the revision's place is outside of the value");
        return 0;
    }
    if (rc) return rc;
    uint64_t revision = sub->revision ? sub->revision : s->next_revision + 1;
    CHECK(revision > s->next_revision);
    sub->events = calloc(sub->ops_len ? sub->ops_len : 1, sizeof(*sub->events));
    CHECK(sub->events);
    if (sub->gap_until && (rc = begin_gap(s, txn, sub->gap_until))) return rc;
    for (size_t i = 0; i < sub->ops_len; i++)
        if ((rc = apply_op(s, txn, sub, i, revision, now_s))) return rc;
    if (sub->events_len || sub->revision) s->next_revision = revision; /* as etcd: what changes nothing has no revision of its own */
    sub->result.outcome = STORE_OK;
    sub->result.revision = s->next_revision;
    return 0;
}

/* One transaction for the whole batch, and one sync before its meta page is written. */
static int commit_batch(struct store *s, struct submission *batch, int64_t now_s) {
    MDB_txn *txn;
    uint64_t before = s->next_revision;
    int rc = mdb_txn_begin(s->file.env, NULL, 0, &txn);
    if (rc) return rc;
    for (struct submission *sub = batch; sub && !rc; sub = sub->next) rc = apply(s, txn, sub, now_s);
    if (!rc && s->next_revision != before) rc = store_meta_put(&s->file, txn, "revision", s->next_revision);
    if (!rc && s->next_revision == before) {
        mdb_txn_abort(txn); /* nothing but conflicts */
        return 0;
    }
    if (rc) mdb_txn_abort(txn);
    else rc = mdb_txn_commit(txn);
    if (rc) s->next_revision = before;
    return rc;
}

/* LMDB calls a write that a full disk cut short an I/O error. */
static int true_error(struct store *s, int rc) {
    struct statvfs fs;
    return rc == EIO && statvfs(s->file.dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < 2 * BATCH_BYTES_MAX ? ENOSPC : rc;
}

void store_batch_run(struct store *s, struct submission *batch) {
    struct committed *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->batch = batch;
    c->begun_ns = env_mono_ns(s->clock);
    uint64_t before = s->next_revision;
    c->rc = s->broken ? s->broken : commit_batch(s, batch, env_now_s(s->clock));
    if (c->rc) c->rc = true_error(s, c->rc);
    if (c->rc == EIO && !s->no_sync) s->broken = c->rc; /* perhaps the sync's; it may have been told of what the finisher still waits for */
    c->to_sync = s->next_revision != before;
    s->revision = s->next_revision;
    s->commits++;
    store_finish(s, c);
}

/* ---- the thread ---- */

/* A commit costs much however little is in it: while the finisher waits for the disk, fewer than the last time wait for those who are about to come. So a disk that is slower than the processors has its next
 * batch at once, and one that is faster gets large ones. */
static bool is_time(const struct store *s) { return s->stopping || (s->first && (!s->unfinished || s->queued >= s->batch_len || s->queued >= BATCH_MAX)); }

static struct submission *take_batch(struct store *s, bool *ret_stop) {
    pthread_mutex_lock(&s->mutex);
    int64_t deadline = env_mono_ns(s->clock) + (s->care_behind ? 0 : (int64_t)CARE_MS * 1000000);
    while (!is_time(s))
        if (!env_cond_wait(s->clock, &s->cond, &s->mutex, deadline)) break;
    struct submission *batch = s->first, **end = &s->first;
    size_t bytes = 0, n = 0; /* many large values would make a transaction that LMDB has to spill, and all would wait for it */
    for (; *end && n < BATCH_MAX && bytes < BATCH_BYTES_MAX; n++) {
        bytes += (*end)->bytes;
        end = &(*end)->next;
    }
    s->queued -= n;
    if (n) s->batch_len = n;
    s->first = *end;
    *end = NULL;
    if (!s->first) s->last = &s->first;
    *ret_stop = s->stopping && !batch;
    pthread_mutex_unlock(&s->mutex);
    return batch;
}

/* Many writes in one second must not make the log longer than it may be by more than a little. */
static bool log_overflows(struct store *s) {
    return s->next_revision > s->compacted && s->next_revision - s->compacted > s->log_entries_max + MAX(s->log_entries_max / 64, (size_t)1000);
}

static void *writer_main(void *arg) {
    struct store *s = arg;
    for (bool stop = false; !stop;) {
        struct submission *batch = take_batch(s, &stop);
        if (batch) store_batch_run(s, batch);
        int64_t now_s = env_now_s(s->clock);
        if ((now_s >= s->next_care_s || s->care_behind || (batch && log_overflows(s))) && !stop) {
            s->next_care_s = now_s + 1;
            store_care(s, now_s);
        }
    }
    return NULL;
}

void store_writer_start(struct store *s) { CHECK(pthread_create(&s->writer, NULL, writer_main, s) == 0); }

void store_writer_stop(struct store *s) {
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->writer, NULL);
}
