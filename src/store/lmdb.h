/* What the files of the LMDB store share. Not for users of store.h.
 *
 * Three tables. kv: key -> struct record and the value. log: revision and index, big-endian -> struct log_record, key, value, previous value. expiry:
 * expiry second, big-endian, and key -> nothing. meta: "revision", "compacted" -> 8 bytes, "format" -> text.
 * Invariants: every kv mod_revision <= revision; log keys ascend and lie in (compacted, revision]; a kv record with expires_s has its expiry entry. */
#ifndef CKUBE_STORE_LMDB_H
#define CKUBE_STORE_LMDB_H
#include <lmdb.h>
#include <pthread.h>
#include "store/store.h"

struct record { uint64_t create_revision, mod_revision; int64_t expires_s; uint32_t rv_offset, unused; };

struct log_record {
    int64_t time_s;
    uint64_t create_revision, prev_mod_revision;
    uint32_t type, key_len, value_len, prev_len, rv_offset, prev_rv_offset;
};

struct submission {
    struct submission *next;
    struct store_op *ops; /* with its bytes in the same block */
    size_t ops_len;
    void (*done)(void *, struct store_result *);
    void *arg;
    struct store_result result;
    struct store_event **events; /* one an op, filled while applying */
    size_t events_len;
};

struct store_watch {
    struct store *store;
    struct store_watch *next;
    char *prefix;
    void (*fn)(void *, struct store_event *);
    void *arg;
    uint64_t from; /* live events up to this one were delivered from the log */
};

struct store {
    MDB_env *env;
    MDB_dbi kv, log, expiry, meta;
    struct env *clock;
    int64_t log_age_s;
    size_t log_entries_max;
    int lock_fd;
    char *dir;

    pthread_t writer;
    pthread_mutex_t mutex; /* guards the queue and stopping */
    pthread_cond_t cond;
    struct submission *first, **last;
    bool stopping;

    _Atomic uint64_t revision, compacted;
    uint64_t next_revision; /* the writer's: the last given out */
    int64_t next_care_s;

    pthread_mutex_t watch_mutex; /* guards the list, and is held while events are delivered */
    struct store_watch *watches;
    uint64_t dispatched; /* events up to here have been delivered; under watch_mutex */

    pthread_mutex_t metrics_mutex;
    struct store_metrics metrics;
};

struct store_event *store_event_new(void); /* zeroed, count 1 */
int store_lmdb_error(struct status *reterr, int rc, const char *what);
void store_writer_start(struct store *s);
void store_writer_stop(struct store *s);
void store_watch_dispatch(struct store *s, struct submission *batch); /* after a commit, in order */
int store_log_append(struct store *s, MDB_txn *txn, const struct store_event *e, size_t index, int64_t now_s);
/* Old log entries and expired keys; returns how many it removed, or an LMDB error. Expired keys' events are handed to `expired`. */
int store_compact_step(struct store *s, MDB_txn *txn, int64_t now_s, size_t *ret_removed, uint64_t *ret_compacted);
#endif
