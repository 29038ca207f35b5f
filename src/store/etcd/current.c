/* Waiting for the mirror: until it has reached a revision, and until it is as new as the cluster (etcd.h). One linearizable Range of nothing serves all
 * who asked before it was sent; who comes later waits for the next. A question that a lost leader took with it is not waited for: after ASK_AGAIN_MS the
 * next is sent beside it, and its answer serves those of all older ones too; or the member says at once that it has no leader, and is left.
 *
 * The answer also shows a cluster that has gone back, as one that was restored from a snapshot: what the mirror holds is then not what there is, and nothing of it is called current. */
#include <protobuf-c/protobuf-c.h>
#include <string.h>
#include "base/log.h"
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "store/lmdb.h"
#include "wire/grpc_channel.h"

enum { ASK_AGAIN_MS = 500 };

struct revision_waiter {
    struct revision_waiter *next;
    uint64_t revision;
    int64_t deadline_ms;
    void (*done)(void *arg, bool reached);
    void *arg;
};

/* ---- a revision ---- */

void etcd_await(struct etcd *e, uint64_t revision, int timeout_ms, void (*done)(void *, bool), void *arg) {
    struct revision_waiter *w = NULL;
    pthread_mutex_lock(&e->mutex);
    bool reached = store_dispatched_revision(e->store) >= revision;
    if (!reached) {
        w = malloc(sizeof(*w));
        CHECK(w);
        *w = (struct revision_waiter){e->waiters, revision, etcd_now_ms() + timeout_ms, done, arg};
        e->waiters = w;
    }
    pthread_mutex_unlock(&e->mutex);
    if (reached) done(arg, true);
}

/* Takes those out that have waited long enough, one way or the other, and tells them without the lock. */
static void release_waiters(struct etcd *e, uint64_t revision, int64_t now_ms) {
    struct revision_waiter *out = NULL;
    pthread_mutex_lock(&e->mutex);
    for (struct revision_waiter **p = &e->waiters; *p;) {
        struct revision_waiter *w = *p;
        if (w->revision > revision && w->deadline_ms > now_ms) {
            p = &w->next;
            continue;
        }
        *p = w->next;
        w->next = out;
        out = w;
    }
    pthread_mutex_unlock(&e->mutex);
    while (out) {
        struct revision_waiter *w = out;
        out = w->next;
        w->done(w->arg, w->revision <= revision);
        free(w);
    }
}

void etcd_applied(struct etcd *e) { release_waiters(e, store_dispatched_revision(e->store), INT64_MIN); }

/* ---- most recent ---- */

struct current_asker {
    struct current_asker *next;
    struct etcd *etcd;
    int64_t deadline_ms;
    struct store_waiter waiter;
    struct status error;
};
struct question { struct etcd *etcd; struct question *older; struct current_asker *askers; uint64_t known; /* the mirror's revision when it was sent */ };

static void ask(struct etcd *e, bool even_for_nobody);

static void caught_up(void *arg, bool reached) {
    struct current_asker *a = arg;
    if (!reached) status_set(&a->error, 500, NULL, "etcdserver: request timed out");
    store_waiter_wake(&a->waiter);
}

static void answer_askers(struct question *q, const struct etcd_answer *answer, uint64_t revision) {
    struct etcd *e = q->etcd;
    for (struct current_asker *a = q->askers, *next; a; a = next) {
        next = a->next;
        if (answer->code == GRPC_OK && e->went_back) {
            status_set(&a->error, 500, NULL, ETCD_WENT_BACK);
            store_waiter_wake(&a->waiter);
        } else if (answer->code == GRPC_OK) etcd_await(e, revision, (int)MAX(a->deadline_ms - etcd_now_ms(), (int64_t)1), caught_up, a);
        else {
            etcd_error(answer, &a->error);
            store_waiter_wake(&a->waiter);
        }
    }
    q->askers = NULL;
}

static void on_revision(void *arg, const struct etcd_answer *answer) {
    struct question *q = arg;
    struct etcd *e = q->etcd;
    const Etcdserverpb__RangeResponse *r = answer->message;
    uint64_t revision = r && r->header ? (uint64_t)r->header->revision : 0;
    struct question *left = q->older;
    if (revision && revision < q->known && !e->went_back) {
        log_error("etcd has gone back from revision %llu to %llu: %s", (unsigned long long)q->known, (unsigned long long)revision, ETCD_WENT_BACK);
        e->went_back = true;
    }
    answer_askers(q, answer, revision);
    while (left && answer->code == GRPC_OK) { /* they have nobody to tell any more: forgotten here, freed when they end */
        struct question *o = left;
        answer_askers(o, answer, revision);
        left = o->older;
        o->older = NULL;
    }
    for (struct question **p = &e->questions; *p; p = &(*p)->older)
        if (*p == q) {
            *p = left;
            break;
        }
    free(q);
    ask(e, false);
}

/* On the loop: one question for all who wait. */
static void ask(struct etcd *e, bool even_for_nobody) {
    int64_t latest = even_for_nobody ? etcd_now_ms() + ETCD_ATTEMPT_MS : 0;
    pthread_mutex_lock(&e->mutex);
    struct current_asker *askers = e->askers;
    e->askers = NULL;
    e->asking = askers || e->questions || even_for_nobody;
    pthread_mutex_unlock(&e->mutex);
    if (!askers && !even_for_nobody) return;
    struct question *q = malloc(sizeof(*q));
    CHECK(q);
    *q = (struct question){e, e->questions, askers, store_revision(e->store)};
    e->questions = q;
    e->asked_ms = etcd_now_ms();
    for (struct current_asker *a = askers; a; a = a->next) latest = MAX(latest, a->deadline_ms);
    Etcdserverpb__RangeRequest req = ETCDSERVERPB__RANGE_REQUEST__INIT;
    req.key = (ProtobufCBinaryData){6, (uint8_t *)(uintptr_t) "health"};
    req.count_only = true;
    etcd_call(e, "/etcdserverpb.KV/Range", &req.base, &etcdserverpb__range_response__descriptor, true, (int)MAX(latest - etcd_now_ms(), (int64_t)1), on_revision, q);
}

static void begin_to_ask(void *arg) { ask(arg, false); }

int etcd_wait_current(struct etcd *e, int timeout_ms, struct status *reterr) {
    struct current_asker a = {.etcd = e, .deadline_ms = etcd_now_ms() + timeout_ms};
    store_waiter_init(&a.waiter);
    pthread_mutex_lock(&e->mutex);
    a.next = e->askers;
    e->askers = &a;
    bool first = !e->asking;
    e->asking = true;
    pthread_mutex_unlock(&e->mutex);
    if (first) loop_post(e->loop, begin_to_ask, e);
    store_waiter_wait(&a.waiter);
    if (!a.error.code) return 0;
    status_copy(reterr, &a.error);
    status_release(&a.error);
    return -1;
}

struct revision_asker { struct store_waiter waiter; bool reached; };

static void wake_asker(void *arg, bool reached) {
    struct revision_asker *a = arg;
    a->reached = reached;
    store_waiter_wake(&a->waiter);
}

bool etcd_wait_revision(struct etcd *e, uint64_t revision, int timeout_ms) {
    struct revision_asker a = {0};
    store_waiter_init(&a.waiter);
    etcd_await(e, revision, timeout_ms, wake_asker, &a);
    store_waiter_wait(&a.waiter);
    return a.reached;
}

void current_tick(struct etcd *e) {
    release_waiters(e, store_dispatched_revision(e->store), etcd_now_ms());
    if (e->questions && etcd_now_ms() - e->asked_ms > ASK_AGAIN_MS) ask(e, true);
}

void current_stop(struct etcd *e) { release_waiters(e, store_dispatched_revision(e->store), INT64_MAX); }
