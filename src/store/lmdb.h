/* What the files of the LMDB store share. Not for users of store.h.
 *
 * Tables: kv: key -> struct record and the value. log: revision and index, big-endian -> struct log_record, key, value, previous value. expiry:
 * expiry second, big-endian, and key -> nothing. meta: "revision", "compacted" -> 8 bytes, "format" -> text.
 * Invariants (store_check proves them): every kv mod_revision <= revision; log keys ascend and lie in (compacted, revision]; a kv record with expires_s
 * has its expiry entry, and each expiry entry its record.
 *
 * Below etcd/ the same tables mirror an etcd cluster: submissions then come from its watch and bring their revision with them.
 *
 * A write goes through two threads. The writer applies a batch and commits it: LMDB then has synced its pages and written its meta page, which the next sync makes durable. The finisher syncs once
 * more, tells the watches and acknowledges, while the writer is already at the next batch. Reads see a batch from its commit on, watches and submitters when it is durable.
 * LMDB's pages of the last durable state are safe meanwhile: a commit writes its meta page only after a sync of its own, so that of two meta pages one is always durable, and a transaction
 * reuses no page that the one before the last could reach (its MDB_NOMETASYNC; tests/unit/test_store_powercut.c cuts in every such moment).
 *
 * Files: file.c opens and checks the file; snapshot.c copies and restores it; store.c reads; writer.c commits; finisher.c makes durable and acknowledges; care.c expires and compacts; watch.c is the log and its watches. */
#ifndef CKUBE_STORE_LMDB_H
#define CKUBE_STORE_LMDB_H
#include <lmdb.h>
#include <pthread.h>
#include "store/store.h"

enum { STORE_PATH_LEN = 4096 };
/* Address space, not memory: the file grows as it is used. Never grown at run time, since that would put a lock into the way of every read. */
#define STORE_MAP_BYTES ((size_t)(sizeof(void *) > 4 ? 64ull << 30 : 1ull << 30))
enum { STORE_KEY_MAX = 480, SPARE_READS = 32 }; /* LMDB's keys end at 511 bytes, and the expiry table puts 8 before ours */

struct record { uint64_t create_revision, mod_revision; int64_t expires_s; uint32_t rv_offset, unused; };

struct log_record {
    int64_t time_s;
    uint64_t create_revision, prev_mod_revision;
    uint32_t type, key_len, value_len, prev_len, rv_offset, prev_rv_offset;
};

struct submission {
    struct submission *next;
    struct store_op *ops; /* with its bytes in the same block */
    size_t ops_len, bytes;
    uint64_t revision; /* etcd's, of a change that happened there; 0: the next one of our own */
    uint64_t gap_until; /* what follows, up to this revision, is not all that happened: the log begins behind it, and whoever relates it is told so first. 0: no gap */
    void (*done)(void *, struct store_result *);
    void *arg;
    struct store_result result;
    struct buf *sealed;  /* of each op: what the file is to hold; empty: the value itself. NULL: all of them so */
    bool refused;        /* it could not be sealed: the result says why */
    struct store_event **events; /* one an op that changed something, filled while applying */
    size_t events_len;
};

/* A batch on its way from the writer to the finisher. */
struct committed {
    struct committed *next;
    struct submission *batch;
    int rc;            /* of the commit; not 0: nothing was written */
    bool to_sync;      /* it changed the file */
    int64_t begun_ns;
};

struct store_watch {
    struct store *store;
    struct store_watch *next;
    char *prefix;
    void (*fn)(void *, struct store_event *);
    void *arg;
    uint64_t from; /* live events up to this one were delivered from the log */
};

/* The file and its tables: all that reading and checking need. */
struct store_file {
    MDB_env *env;
    MDB_dbi kv, log, expiry, meta;
    char *dir;
    bool lone; /* a snapshot: dir is the file itself */
    int lock_fd;
};

struct etcd;

struct store {
    struct store_file file;
    struct etcd *etcd; /* NULL: embedded */
    const struct store_cipher *cipher; /* NULL: none */
    struct env *clock;
    int64_t log_age_s;
    size_t log_entries_max;

    pthread_t writer;
    pthread_mutex_t mutex; /* guards the queue, unfinished and stopping */
    pthread_cond_t cond;
    struct submission *first, **last;
    size_t queued, batch_len; /* how many wait; how many the last batch had */
    size_t unfinished; /* batches that the finisher has not made durable yet */
    bool stopping;

    pthread_t finisher;
    pthread_mutex_t finish_mutex; /* guards the next three */
    pthread_cond_t finish_cond;
    struct committed *committed, **committed_last; /* in the order of their commits */
    bool finish_stopping;
    bool no_sync; /* nothing is made durable: tests, and mirrors of etcd */
    _Atomic int broken; /* errno of a sync that failed: what the file holds is not known, and nothing is written any more. 0: none */

    _Atomic uint64_t revision, compacted; /* revision: what reads see */
    _Atomic uint64_t dispatched; /* watches have been called for all up to here; written under watch_mutex */
    uint64_t next_revision; /* the writer's: the last given out */
    int64_t next_care_s;
    bool care_behind; /* the writer's: expiry or compaction left work for another step */

    pthread_mutex_t watch_mutex; /* guards the list, and is held while events are delivered */
    struct store_watch *watches;
    void (*on_gap)(void *arg); /* see store_on_gap */
    void *on_gap_arg;

    _Atomic(struct store_txn *) spare[SPARE_READS]; /* reads that ended, kept for the next: beginning one then takes no lock */
    _Atomic uint64_t commits, read_lag_max, damaged;
    _Atomic int open_reads;

    pthread_mutex_t metrics_mutex;
    struct store_metrics metrics;
};

int store_lmdb_error(struct status *reterr, int rc, const char *what);

/* file.c */
int store_file_open(struct store_file *f, const struct store_options *o, struct status *reterr);
void store_file_close(struct store_file *f);
uint64_t store_meta_get(const struct store_file *f, MDB_txn *txn, const char *name, uint64_t fallback);
int store_meta_put(const struct store_file *f, MDB_txn *txn, const char *name, uint64_t value);
int store_sync_path(const char *path, int flags, struct status *reterr); /* flags: of open */
int store_make_dir(const char *dir, struct status *reterr);
int store_dir_lock(struct store_file *f, struct status *reterr); /* 0: ours alone; 1: another process has it; -1: it cannot be locked */
int store_env_open(struct store_file *f, size_t map_bytes, unsigned flags, struct status *reterr); /* flags: of LMDB */
int store_tables_open(struct store_file *f, bool readonly, struct status *reterr);
/* Reads all that is in the tables; file_bytes: what the file really holds. */
int store_file_check(const struct store_file *f, size_t file_bytes, struct store_report *ret, struct status *reterr);

/* writer.c */
void store_writer_start(struct store *s);
void store_writer_stop(struct store *s);
void store_enqueue(struct store *s, struct submission *sub); /* takes it over */
struct store_op *store_ops_copy(const struct store_op *ops, size_t n, size_t *ret_bytes); /* one block holds the ops, their keys and their values */
void store_batch_run(struct store *s, struct submission *batch); /* on the writer thread: commits it and gives it to the finisher */

/* finisher.c */
void store_finisher_start(struct store *s);
void store_finisher_stop(struct store *s); /* after the writer's end: all that was committed is finished first */
void store_finish(struct store *s, struct committed *c); /* takes it over */
void store_submission_free(struct submission *sub);

/* Waiting for a callback of another thread: store_waiter_wait suspends the fiber it is called on, or blocks the thread. */
struct store_waiter {
    struct fiber *fiber;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
};
void store_waiter_init(struct store_waiter *w);
void store_waiter_wake(struct store_waiter *w); /* the waiter may be gone when it returns */
void store_waiter_wait(struct store_waiter *w);

/* care.c, on the writer thread */
void store_care(struct store *s, int64_t now_s); /* one bounded step of expiry and one of compaction; sets care_behind */
void store_expiry_key(char out[8 + STORE_KEY_MAX], int64_t expires_s, const char *key, size_t key_len);
int64_t store_expiry_time(const MDB_val *k);

/* watch.c */
struct store_event *store_event_new(void); /* zeroed, count 1 */
void store_watch_dispatch(struct store *s, struct submission *batch); /* after a commit, in order */
/* value and prev: the event's as the file holds them. */
int store_log_append(struct store *s, MDB_txn *txn, const struct store_event *e, const MDB_val *value, const struct shared *prev, size_t index, int64_t now_s);
/* What bytes of the file stand for. What cannot be opened becomes an object without a word in it, and *rv_offset fits that. The caller has both references. */
struct shared *store_open_bytes(struct store *s, const char *key, size_t key_len, struct shared *bytes, uint32_t *rv_offset);
uint64_t store_log_key_revision(const MDB_val *k);
bool store_log_record_read(const MDB_val *v, struct log_record *ret); /* false: not a whole record */
#endif
