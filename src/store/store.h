/* The database: a revisioned, ordered key-value store with watches. Upstream: the subset of etcd that the apiserver uses.
 *
 * Two kinds behind one interface: embedded (LMDB, one file, the truth itself) and etcd (the truth is a cluster's, the LMDB file a mirror of it that is
 * thrown away at every start: see store/etcd/etcd.h). Reading is the same code for both; what etcd adds is store_wait_current.
 *
 * Keys are upstream's (`/registry/pods/default/web-0`), values are opaque bytes. One 64-bit revision counts the writes of the whole store; an object's
 * resourceVersion is the revision of its last write (mod_revision) and is not inside its bytes: `rv_offset` says where its digits belong, so that
 * a reader can send the bytes from the map with the digits between. Reads see one snapshot and never block; writes go through one writer thread that
 * commits whatever has queued up while the last commit was syncing. Nobody is told "done" before the disk has it.
 *
 * Guarantees, tested in tests/unit/test_store.c: events of a watch come in revision order, each once, without a gap, from any revision the log still
 * holds; a write's callback comes after its commit is durable and after a read would see it. */
#ifndef CKUBE_STORE_STORE_H
#define CKUBE_STORE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/env.h"
#include "base/status.h"

struct store;
struct store_txn;

/* Between our records (JSON with a place for the revision) and what is kept in etcd. The store layer knows no API types: the apiserver gives this. Called on
 * several threads at once. */
struct store_codec {
    /* The record of what was found at key: 0; 1: not an object, kept as it is; -1: it cannot be read, and is treated as not there. */
    int (*decode)(void *ctx, const char *key, const void *data, size_t len, struct buf *ret, uint32_t *ret_rv_offset);
    int (*encode)(void *ctx, const char *key, const void *value, size_t len, uint32_t rv_offset, struct buf *ret, struct status *reterr);
    void *ctx;
};

/* What stands between values and the file: encryption at rest. Called on several threads at once, loops among them. Events and views hold what was opened. */
#define STORE_SEALED "k8s:enc:" /* what sealed values begin with: upstream's */
struct store_cipher {
    /* 0: *ret has what to keep; 1: the value is kept as it is; -1 with a status: it must not be kept, and the write fails. */
    int (*seal)(void *ctx, const char *key, const void *value, size_t len, struct buf *ret, struct status *reterr);
    /* 0: *ret has the value; 1: it is the value already; -1 with a status: it cannot be read. ret_stale (NULL: not wanted): it would be sealed in another way now. */
    int (*open)(void *ctx, const char *key, size_t key_len, const void *data, size_t len, struct buf *ret, bool *ret_stale, struct status *reterr);
    void *ctx;
};

struct store_etcd_options {
    const char *servers;            /* "https://10.0.0.1:2379,https://..." tried in their order; NULL: the store is embedded */
    const char *ca_file, *cert_file, *key_file; /* for https; each may be NULL */
    const char *prefix;             /* what stands for "/registry" in etcd's keys; NULL: that */
    const struct store_codec *codec; /* must outlive the store; NULL: bytes are kept as they are, rv_offset is lost (tests) */
    int64_t compaction_interval_s;  /* upstream's compactor; 0: never */
    int64_t load_timeout_ms;        /* how long store_open waits for the cluster; 0: 30,000 */
};

struct store_options {
    const char *dir;                /* made if missing, mode 0700 */
    struct store_etcd_options etcd;
    const struct store_cipher *cipher; /* NULL: none; must outlive the store */
    struct env *env;                /* NULL: env_real() */
    int64_t log_age_s;              /* events are kept for so long; 0: 300, upstream's compaction interval */
    size_t log_entries_max;         /* and so many at most; 0: 1,000,000 */
    size_t map_bytes;               /* what the file can grow to; 0: 64 GiB (1 GiB of 32-bit address space). Address space, not memory */
    bool no_sync;                   /* tests only: acknowledged is then not durable */
};

/* Fails in words when another process has the file, when it is not ours or damaged, and on a disk that is full or read-only. */
int store_open(const struct store_options *options, struct store **ret, struct status *reterr);
void store_close(struct store *s);  /* waits for the writes that were submitted; NULL is fine */

/* ---- being current ---- */

/* Returns when reads see every write that was acknowledged, by whichever server, before the call: a linearizable read begins with it. Nothing to do for the
 * embedded store. On a fiber it suspends, on another thread it blocks. -1 with 500 when etcd does not answer in time; the mirror can be read even then. */
int store_wait_current(struct store *s, struct status *reterr);
/* Returns when reads see `revision`, or after 3 s: what is there then is for the caller to look at. At once for the embedded store. */
void store_wait_revision(struct store *s, uint64_t revision);
/* The etcd members as they are now, the first being preferred: `prefer` says that it serves, so that a connection to another one goes back to it. Nothing for the embedded
 * store, nor if the text names no server. Any thread. */
void store_set_etcd_servers(struct store *s, const char *servers, bool prefer);
/* The process is about to end: a cluster that does not answer is waited for one second more in all, then whatever needs it fails at once. Any thread; nothing for the embedded store. */
void store_hurry(struct store *s);
/* Whether the truth answers and can be written: for the embedded store, unless one of its syncs failed. */
int store_check_health(struct store *s, int timeout_ms, struct status *reterr);
/* The servers that hold the truth: etcd's as they were named in the options; one, ourselves, for the embedded store. */
size_t store_servers(const struct store *s);
/* Whether that one answers, whichever this store uses at the moment. On a fiber it suspends, on another thread it blocks. */
int store_check_server(struct store *s, size_t server, int timeout_ms, struct status *reterr);

/* The name of the etcd member that leads, as the one that we are connected to knows: false when it is not known, or the store is embedded. Blocks for some seconds at most. */
bool store_leader(struct store *s, char *ret, size_t size);

/* ---- reading ---- */

struct store_view {
    const char *key, *value;        /* key is NUL-terminated only in copies: use key_len */
    size_t key_len, value_len;
    uint32_t rv_offset;             /* 0: the value holds no revision */
    uint64_t create_revision, mod_revision;
    int64_t expires_s;              /* seconds since 1970; 0: never, or not known (etcd deletes it) */
    const char *trouble;            /* why the value cannot be read, which is empty then; NULL: it can */
    bool stale;                     /* it is to be written anew though nothing in it has changed */
};

/* A snapshot for the calling thread; takes no lock. Must be ended, on the same thread, before that returns to its loop or a fiber suspends: while it is
 * held no page that was freed since can be used again, and the file grows. Debug builds check thread and age. */
int store_read_begin(struct store *s, struct store_txn **ret, struct status *reterr);
void store_read_end(struct store_txn *t);
uint64_t store_txn_revision(const struct store_txn *t);
/* 1 and a view (valid until store_read_end), or 0 when there is none. */
int store_get(struct store_txn *t, const char *key, struct store_view *ret);
/* Calls fn for each key with the prefix, in byte order, beginning at `start` (NULL: the first) until it returns false. The view is valid during the call. */
void store_range(struct store_txn *t, const char *prefix, const char *start, bool (*fn)(void *arg, const struct store_view *view), void *arg);
size_t store_count(struct store_txn *t, const char *prefix, const char *start);
uint64_t store_revision(struct store *s);            /* of the last durable write; any thread, no snapshot */
/* All watches have been called for every event up to here. This, not store_revision, is what a bookmark may promise: it never runs ahead of events. */
uint64_t store_dispatched_revision(struct store *s);
uint64_t store_compacted_revision(struct store *s);  /* watches can begin at this revision or later */

/* ---- writing ---- */

#define STORE_ANY (-1)
enum { STORE_OPS_MAX = 100 }; /* etcd takes 128 in a transaction */
struct store_op {
    const char *key;                /* 1 to 480 bytes; otherwise STORE_FAILED with 400 */
    int64_t expect_mod_revision;    /* 0: must not exist; STORE_ANY; otherwise must match */
    const void *value;              /* NULL: delete (a missing key is no error with STORE_ANY) */
    size_t value_len;
    uint32_t rv_offset;
    int64_t ttl_s;                  /* 0: forever; otherwise the store deletes the key after so long */
    bool guard;                     /* the op changes nothing: it only expects. Not STORE_ANY, not the first op */
};

enum store_outcome { STORE_OK, STORE_CONFLICT, STORE_FAILED };
struct store_result {
    enum store_outcome outcome;
    uint64_t revision;              /* STORE_OK: of the write; if nothing changed (only missing keys were deleted), the revision before it */
    size_t conflict_op;             /* STORE_CONFLICT: which op; its key's revision now (0: absent) */
    uint64_t conflict_revision;
    struct status error;            /* STORE_FAILED: full disk, no answer from etcd, and the like; the receiver releases it. The write may have happened if
                                       etcd did not say */
};

/* Submits ops that take effect together under one revision, or not at all. They see what was submitted before them, committed or not. The bytes are
 * copied. `done` is called once, on a thread of the store's, after the watches, and must be short: it posts or wakes. With etcd, at most
 * STORE_OPS_MAX ops, and no key twice. */
void store_write(struct store *s, const struct store_op *ops, size_t ops_len, void (*done)(void *arg, struct store_result *result), void *arg);
/* The same, waiting: on a fiber it suspends the fiber, on another thread it blocks. */
void store_write_wait(struct store *s, const struct store_op *ops, size_t ops_len, struct store_result *ret);

/* ---- watching ---- */

enum store_event_type { STORE_PUT, STORE_DELETE };
/* One change; immutable and counted. For a delete, value is NULL and prev is what was there. */
struct store_event {
    uint64_t revision;
    enum store_event_type type;
    char *key;
    struct shared *value, *prev;
    uint32_t rv_offset, prev_rv_offset;
    uint64_t create_revision, prev_mod_revision;
};
struct store_event *store_event_ref(struct store_event *e);
void store_event_unref(struct store_event *e);

struct store_watch;
/* Calls fn for each event of the prefix after `from_revision`, in order: first those of the log on the calling thread, then live ones on the writer
 * thread. -1 with 410 Expired when the log no longer reaches back so far. fn must be short and must not write to the store and wait. */
int store_watch_start(struct store *s, const char *prefix, uint64_t from_revision, void (*fn)(void *arg, struct store_event *e), void *arg, struct store_watch **ret,
                      struct status *reterr);
void store_watch_stop(struct store_watch *w); /* no call of fn is under way or comes after it returns */
/* With etcd, when it compacts what a store has not seen (etcd/mirror.c): watches go on with what differs, so that whoever keeps a state by them keeps the right one, but changes between are
 * missing and a deletion has a later revision than at others. Who relates history, as clients' watches do, is told by fn, between two events, on the writer's thread, and must
 * begin anew: the log goes no further back. fn NULL: nobody wants to know any more. */
void store_on_gap(struct store *s, void (*fn)(void *arg), void *arg);
/* The log's events of the prefix in (from, to], oldest first; -1 with 410 as above. */
int store_log_read(struct store *s, const char *prefix, uint64_t from, uint64_t to, void (*fn)(void *arg, struct store_event *e), void *arg, struct status *reterr);

/* ---- care ---- */

enum { STORE_COMMIT_BUCKETS = 12 };
struct store_metrics {
    uint64_t commits, writes, conflicts, failures, commit_ns_total, batch_max;
    uint64_t commit_bucket[STORE_COMMIT_BUCKETS]; /* commits, sync included, that took up to 0.125 ms, 0.25 ms, ... 128 ms, and longer: not cumulative */
    uint64_t revision, compacted_revision, db_bytes;
    uint64_t expired, compacted; /* keys; log entries */
    uint64_t read_lag_commits_max; /* the most commits that passed while one snapshot was held */
    uint64_t damaged;            /* records that could not be read: above 0, save what can be saved and restore */
};
void store_metrics(struct store *s, struct store_metrics *ret);
/* Writes a consistent, compact and durable copy of the running store into an empty folder, which store_open can open. */
int store_snapshot(struct store *s, const char *dir, struct status *reterr);

struct store_report { uint64_t revision, compacted_revision, keys, events, file_bytes; };
/* Reads all of the file and says what is in it, or what is wrong with it. Also while another process (never this one) has it open. */
int store_check(const char *dir, struct store_report *ret, struct status *reterr);
/* Writes a snapshot of the database in a folder to one file for keeping; another process may have it open and go on writing. ret: what was saved. */
int store_save_file(const char *dir, const char *path, struct store_report *ret, struct status *reterr);
int store_check_file(const char *path, struct store_report *ret, struct status *reterr); /* the same as store_check, of a saved file */
/* Makes a saved file the database of a folder that nobody has open; what was there is kept as data.mdb.before-restore. Revisions go on far ahead of the
 * saved one, and watches from before are told to list again. */
#define STORE_RESTORE_BUMP UINT64_C(1000000000)
int store_restore_file(const char *path, const char *dir, struct status *reterr);
/* Rewrites a file that nobody has open without its free pages; a crash leaves the old one. */
int store_compact_file(const char *dir, struct status *reterr);
#endif
