/* The store on an etcd cluster: what its files share. Users see store.h alone.
 *
 * The cluster holds the truth. The LMDB tables of lmdb.h are a mirror of it, loaded at start by a paged Range at one revision and then fed by one Watch, so
 * that reading is the embedded store's code at the embedded store's speed. Revisions are etcd's own.
 *
 *   a write:  store_write -> codec -> Txn guarded by mod revisions -> etcd answers -> the watch brings the event -> the mirror applies it -> done
 *   a read at "most recent":  store_wait_current: one linearizable Range of nothing tells the cluster's revision (askers share one) -> the mirror reaches it
 *
 * The watch covers all of etcd's keys, not the prefix alone: then every revision is an event, and the mirror knows when it has reached one. (A watch on the
 * prefix would need progress requests, which etcd before 3.4.25 and 3.5.8 answers too early.) Keys of others only move the revision.
 *
 * Threads: one loop (struct loop) owns the connection and everything here but what `mutex` guards; the store's writer thread applies. One connection to one
 * member at a time, the next member when it breaks or does not answer, and back to the preferred one when that serves again. (Upstream's client spreads its calls over
 * all members; ours is one with the watch, so that what a write gets back is where the next read looks.) Files: client.c members, connection, calls; mirror.c load, watch, resync; write.c
 * transactions; current.c waiting; lease.c leases for TTLs; compact.c upstream's compactor; leader.c which member leads;
 * probe.c one member's health; preferred.c which member is best, and going back to it.
 *
 * Invariants, in mirror.c: submissions are queued in ascending revision, each revision once; received >= the store's revision.
 * Tests: tests/unit/test_store_etcd.c (against a real etcd), tests/integration/test_etcd.py. */
#ifndef CKUBE_STORE_ETCD_ETCD_H
#define CKUBE_STORE_ETCD_ETCD_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/loop.h"
#include "base/map.h"
#include "store/store.h"

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct Etcdserverpb__ResponseHeader;
enum { ETCD_TIMEOUT_MS = 10000, ETCD_ATTEMPT_MS = 5000, ETCD_TICK_MS = 50, ETCD_ENDPOINTS_MAX = 16, ETCD_LEASES_MAX = 8 };

/* Why nothing is read or written any more. */
#define ETCD_WENT_BACK "etcd is another one than this server has mirrored, perhaps restored from a snapshot: restart this server"

struct etcd;
/* Sets s->etcd and returns when the mirror is loaded; after -1 too, etcd_stop and etcd_free are to be called. */
int etcd_new(struct store *s, const struct store_etcd_options *options, struct status *reterr);
void etcd_stop(struct etcd *e);       /* ends the connection and every write; the writer thread may still apply. NULL is fine */
void etcd_free(struct etcd *e);       /* after etcd_stop and when the writer thread has ended; NULL is fine */
void etcd_set_servers(struct etcd *e, const char *servers, bool prefer);                              /* any thread; see store_set_etcd_servers */
void etcd_hurry(struct etcd *e);                                                                      /* any thread; see store_hurry */
void etcd_write(struct etcd *e, const struct store_op *ops, size_t ops_len, void (*done)(void *, struct store_result *), void *arg); /* any thread */
int etcd_wait_current(struct etcd *e, int timeout_ms, struct status *reterr);                         /* any thread or fiber */
bool etcd_wait_revision(struct etcd *e, uint64_t revision, int timeout_ms);                           /* the same; false: not reached in time */
int etcd_probe(struct etcd *e, size_t endpoint, int timeout_ms, struct status *reterr);               /* the same: probe.c */

/* ---- inside ---- */

/* What came of a call. code GRPC_OK: message holds the answer, valid during the callback. sent: the cluster may have acted on the request. */
struct etcd_answer { int code; const char *desc; bool sent; void *message; };
struct etcd_call;
struct etcd_write;

struct etcd_lease { int64_t ttl_s, id, expires_ms; int attached; };

struct etcd {
    struct store *store;
    struct loop *loop;
    const struct store_codec *codec;
    char *prefix;                    /* without a slash at its end */
    struct upstream_tls *tls;
    struct endpoint { char *host; int port; bool tls; } endpoints[ETCD_ENDPOINTS_MAX];
    size_t endpoints_len;
    int64_t compaction_interval_s;

    /* client.c */
    size_t endpoint, move_to;        /* the one in use; where to go when it is left on purpose (moving, suspected) ... */
    bool moving;                     /* ... which waits for the writes under way, and those that come wait for it */
    int64_t moving_ms;               /* since when */
    struct grpc_channel *channel;
    bool open, stopping, suspected;
    bool given_up;                   /* after etcd_hurry: the cluster does not answer, nobody waits for it any more */
    int64_t hurried_ms;              /* since when etcd_hurry; 0: not yet */
    int64_t opened_ms, connect_at_ms, pinged_ms;
    uint64_t raft_term;              /* the highest that an answer has told ... */
    int64_t leader_changed_ms;       /* ... and when it last rose; 0: never */
    int failures;                    /* connections that failed in a row */
    struct etcd_call *calls;         /* all, under way or waiting for a connection */
    struct loop_timer *tick;
    char last_error[300];

    /* preferred.c */
    size_t preferred;                /* among the endpoints */
    struct probe *preferred_probe;   /* under way, or NULL */
    int64_t preferred_at_ms, preferred_pause_ms; /* the next; 0: none is planned, there was none */

    /* mirror.c */
    struct mirror *mirror;

    /* write.c */
    struct map *writes;              /* mirrored key -> the write that is under way */

    /* current.c */
    pthread_mutex_t mutex;           /* guards these three */
    struct revision_waiter *waiters;
    struct current_asker *askers;
    bool asking;
    bool went_back;                  /* the loop's own: the cluster is at a revision before one that it has told us of */
    struct question *questions;      /* the loop's own: those without an answer, the newest first ... */
    int64_t asked_ms;                /* ... and when that was sent */

    struct etcd_lease leases[ETCD_LEASES_MAX];

    /* compact.c */
    int64_t compact_at_ms, compact_time, compact_revision;
};

/* client.c, on the loop. */
int64_t etcd_now_ms(void);
void etcd_client_start(struct etcd *e);
void etcd_client_stop(struct etcd *e);                /* every call ends with Canceled */
/* Calls `method`; the answer is unpacked by `type`. idempotent: may be sent again when it is not known whether it was seen. The request is packed at once. */
void etcd_call(struct etcd *e, const char *method, const struct ProtobufCMessage *request, const struct ProtobufCMessageDescriptor *type, bool idempotent, int timeout_ms,
               void (*done)(void *arg, const struct etcd_answer *a), void *arg);
void etcd_suspect(struct etcd *e, const char *why);   /* the member does not do its work: try the next, unless this one is new */
void etcd_note_header(struct etcd *e, const struct Etcdserverpb__ResponseHeader *h); /* of an answer, or of what a watch brings: tells of new leaders */
/* Whether the answer says that the request had no effect. */
bool etcd_had_no_effect(const struct etcd_answer *a);
int etcd_error(const struct etcd_answer *a, struct status *reterr); /* as upstream's client words it; -1 */
char *etcd_key(struct arena *a, const struct etcd *e, const char *key); /* ours to theirs */

/* Goes to another member when the writes under way have their answers, so that none is left without; not now if that takes long. */
void etcd_move(struct etcd *e, size_t endpoint, const char *why);

/* probe.c: asks a member on a connection of its own; done (error NULL: it serves) is called on the loop unless it is cancelled. */
struct probe *probe_begin(struct etcd *e, const struct endpoint *endpoint, int timeout_ms, void (*done)(void *arg, const struct status *error), void *arg);
void probe_cancel(struct probe *p); /* NULL is fine */

/* preferred.c */
size_t preferred_choose(const struct endpoint *endpoints, size_t len);
void preferred_tick(struct etcd *e, int64_t now_ms);
void preferred_stop(struct etcd *e);

/* mirror.c */
void mirror_new(struct etcd *e, int64_t load_timeout_ms);
void mirror_free(struct mirror *m);
int mirror_wait(struct etcd *e, struct status *reterr); /* any thread but the loop: until the mirror is loaded, or could not be in time */
void mirror_opened(struct etcd *e);                   /* a connection is there: watch on it */
void mirror_tick(struct etcd *e);

/* write.c */
void etcd_write_leased(struct etcd_write *w, size_t op, int64_t lease, const struct etcd_answer *failure); /* lease.c has found one, or not */
const struct store_op *etcd_write_match(struct etcd *e, const char *key, const void *data, size_t len); /* our own write comes back */

/* current.c */
/* Calls done(arg, true) when the mirror has applied `revision`, at once if it has; false after timeout_ms. Any thread. */
void etcd_await(struct etcd *e, uint64_t revision, int timeout_ms, void (*done)(void *arg, bool reached), void *arg);
void etcd_applied(struct etcd *e);                    /* the writer thread's: the store's revision has moved */
void current_tick(struct etcd *e);
void current_stop(struct etcd *e);

/* lease.c, compact.c */
void etcd_lease_for(struct etcd *e, int64_t ttl_s, struct etcd_write *w, size_t op);
void compact_tick(struct etcd *e);
#endif
