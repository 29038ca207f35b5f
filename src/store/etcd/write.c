/* Writes: one Txn each, guarded by mod revisions, many under way at once. See etcd.h.
 *
 * An answer that says what happened ends the write when the mirror has applied it. Without an answer it is not known whether it happened. A write whose every
 * op is guarded by a revision is then sent once more: no revision comes back, so that of the two at most one is applied, however late the first arrives.
 * A create is not: "must not exist" holds again once the object was deleted, and a first try that a frozen member still had would bring it back. It only
 * looks, and if it finds exactly its own bytes (they hold a UID of its own) at the first version it did happen. Anything else is reported as what it is, a
 * request that timed out. */
#include <protobuf-c/protobuf-c.h>
#include <string.h>
#include "base/str.h"
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "store/lmdb.h"
#include "wire/grpc_channel.h"

enum { TRIES_MAX = 2, NEVER = -1 /* no key has this revision */ };

struct etcd_write {
    struct etcd *etcd;
    struct arena *arena;
    struct store_op *ops;      /* a copy, one block */
    size_t ops_len;
    struct bytes_of_op { char *key; struct buf value; int64_t lease; } *stored; /* as etcd gets them */
    int tries;
    bool unknown;              /* an earlier try may have taken effect */
    struct store_result result;
    void (*done)(void *, struct store_result *);
    void *arg;
};

static void release(struct etcd_write *w) {
    for (size_t i = 0; i < w->ops_len; i++) buf_release(&w->stored[i].value);
    free(w->ops);
    arena_free(w->arena);
    free(w);
}

static void forget(struct etcd_write *w) {
    struct etcd *e = w->etcd;
    for (size_t i = 0; i < w->ops_len; i++)
        if (map_get(e->writes, w->ops[i].key) == w) map_del(e->writes, w->ops[i].key);
}

static void deliver(void *arg, bool reached UNUSED) { /* an acknowledged write stays one though the mirror is late */
    struct etcd_write *w = arg;
    w->done(w->arg, &w->result);
    release(w);
}

/* The outcome is known; it is told when the mirror shows it. */
static void end(struct etcd_write *w, uint64_t revision) {
    forget(w);
    etcd_await(w->etcd, revision, ETCD_TIMEOUT_MS, deliver, w);
}

static void fail(struct etcd_write *w, const struct etcd_answer *a) {
    w->result.outcome = STORE_FAILED;
    etcd_error(a, &w->result.error);
    end(w, 0);
}

static void send_write(struct etcd_write *w);

static bool any_expects(const struct etcd_write *w, int64_t revision) {
    for (size_t i = 0; i < w->ops_len; i++)
        if (w->ops[i].expect_mod_revision == revision) return true;
    return false;
}

/* What was to be created first is there as we wrote it: then all of the transaction has happened. */
static bool is_our_create(const struct etcd_write *w, const Etcdserverpb__KeyValue *kv) {
    return w->ops[0].expect_mod_revision == 0 && kv && kv->version == 1 && kv->value.len == w->stored[0].value.len && memcmp(kv->value.data, w->stored[0].value.data, kv->value.len) == 0;
}

/* The guards failed: what is there is in the answers, in the order of the guarded ops. */
static void refused(struct etcd_write *w, const Etcdserverpb__TxnResponse *r) {
    bool ours = false;
    for (size_t i = 0, at = 0; i < w->ops_len; i++) {
        if (w->ops[i].expect_mod_revision == STORE_ANY) continue;
        const Etcdserverpb__RangeResponse *range = at < r->n_responses && r->responses[at]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE ? r->responses[at]->response_range : NULL;
        at++;
        const Etcdserverpb__KeyValue *kv = range && range->n_kvs ? range->kvs[0] : NULL;
        int64_t there = kv ? kv->mod_revision : 0;
        if (there == w->ops[i].expect_mod_revision) continue;
        ours = w->unknown && i == 0 && is_our_create(w, kv);
        w->result = (struct store_result){.outcome = ours ? STORE_OK : STORE_CONFLICT, .revision = (uint64_t)there, .conflict_op = i, .conflict_revision = (uint64_t)there};
        break;
    }
    if (w->unknown && !ours) {
        w->result.outcome = STORE_FAILED;
        status_set(&w->result.error, 500, NULL, "etcdserver: request timed out");
    }
    end(w, (uint64_t)r->header->revision);
}

static void on_answer(void *arg, const struct etcd_answer *a) {
    struct etcd_write *w = arg;
    const Etcdserverpb__TxnResponse *r = a->message;
    if (a->code == GRPC_OK && r->header) {
        if (!r->succeeded) {
            refused(w, r);
            return;
        }
        w->result.outcome = STORE_OK;
        w->result.revision = (uint64_t)r->header->revision;
        end(w, w->result.revision);
        return;
    }
    if (!w->etcd->stopping && !etcd_had_no_effect(a) && !any_expects(w, STORE_ANY) && w->tries < TRIES_MAX) {
        w->unknown = true;
        send_write(w);
    } else fail(w, a);
}

/* ---- the transaction ---- */

static Etcdserverpb__Compare *guard(struct etcd_write *w, size_t i) {
    Etcdserverpb__Compare *c = ARENA_NEW(w->arena, Etcdserverpb__Compare);
    etcdserverpb__compare__init(c);
    c->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    c->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    c->key = (ProtobufCBinaryData){strlen(w->stored[i].key), (uint8_t *)w->stored[i].key};
    c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    c->mod_revision = w->unknown && w->ops[i].expect_mod_revision == 0 ? NEVER : w->ops[i].expect_mod_revision;
    return c;
}

static Etcdserverpb__RequestOp *change(struct etcd_write *w, size_t i) {
    Etcdserverpb__RequestOp *op = ARENA_NEW(w->arena, Etcdserverpb__RequestOp);
    ProtobufCBinaryData key = {strlen(w->stored[i].key), (uint8_t *)w->stored[i].key};
    etcdserverpb__request_op__init(op);
    if (w->ops[i].value) {
        Etcdserverpb__PutRequest *put = ARENA_NEW(w->arena, Etcdserverpb__PutRequest);
        etcdserverpb__put_request__init(put);
        put->key = key;
        put->value = (ProtobufCBinaryData){w->stored[i].value.len, (uint8_t *)w->stored[i].value.data};
        put->lease = w->stored[i].lease;
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = put;
    } else {
        Etcdserverpb__DeleteRangeRequest *del = ARENA_NEW(w->arena, Etcdserverpb__DeleteRangeRequest);
        etcdserverpb__delete_range_request__init(del);
        del->key = key;
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = del;
    }
    return op;
}

static Etcdserverpb__RequestOp *look(struct etcd_write *w, size_t i) {
    Etcdserverpb__RequestOp *op = ARENA_NEW(w->arena, Etcdserverpb__RequestOp);
    Etcdserverpb__RangeRequest *range = ARENA_NEW(w->arena, Etcdserverpb__RangeRequest);
    etcdserverpb__request_op__init(op);
    etcdserverpb__range_request__init(range);
    range->key = (ProtobufCBinaryData){strlen(w->stored[i].key), (uint8_t *)w->stored[i].key};
    range->keys_only = !w->unknown;
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
    return op;
}

static void send_write(struct etcd_write *w) {
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.compare = arena_calloc(w->arena, w->ops_len + 1, sizeof(*txn.compare));
    txn.success = arena_calloc(w->arena, w->ops_len + 1, sizeof(*txn.success));
    txn.failure = arena_calloc(w->arena, w->ops_len + 1, sizeof(*txn.failure));
    for (size_t i = 0; i < w->ops_len; i++) {
        if (!w->ops[i].guard) txn.success[txn.n_success++] = change(w, i);
        if (w->ops[i].expect_mod_revision == STORE_ANY) continue;
        txn.compare[txn.n_compare++] = guard(w, i);
        txn.failure[txn.n_failure++] = look(w, i);
    }
    w->tries++;
    etcd_call(w->etcd, "/etcdserverpb.KV/Txn", &txn.base, &etcdserverpb__txn_response__descriptor, false, ETCD_ATTEMPT_MS, on_answer, w);
}

/* Leases first, one after the other (rarely more than one), then the transaction. */
static void lease_or_send(struct etcd_write *w, size_t from) {
    for (size_t i = from; i < w->ops_len; i++)
        if (w->ops[i].value && w->ops[i].ttl_s > 0) {
            etcd_lease_for(w->etcd, w->ops[i].ttl_s, w, i);
            return;
        }
    send_write(w);
}

void etcd_write_leased(struct etcd_write *w, size_t op, int64_t lease, const struct etcd_answer *failure) {
    if (failure) {
        fail(w, failure);
        return;
    }
    w->stored[op].lease = lease;
    lease_or_send(w, op + 1);
}

static void begin(void *arg) {
    struct etcd_write *w = arg;
    if (w->etcd->went_back) {
        w->result.outcome = STORE_FAILED;
        status_set(&w->result.error, 500, NULL, ETCD_WENT_BACK);
        end(w, 0);
        return;
    }
    for (size_t i = 0; i < w->ops_len; i++)
        if (w->ops[i].value) map_put(w->etcd->writes, w->ops[i].key, w);
    lease_or_send(w, 0);
}

const struct store_op *etcd_write_match(struct etcd *e, const char *key, const void *data, size_t len) {
    struct etcd_write *w = map_get(e->writes, key);
    for (size_t i = 0; w && i < w->ops_len; i++)
        if (w->ops[i].value && strcmp(w->ops[i].key, key) == 0 && w->stored[i].value.len == len && memcmp(buf_cstr(&w->stored[i].value), data, len) == 0) return &w->ops[i];
    return NULL;
}

/* What etcd is given for each op; -1 with a status. */
static int encode(struct etcd_write *w, struct status *reterr) {
    struct etcd *e = w->etcd;
    if (w->ops_len > STORE_OPS_MAX) return status_set(reterr, 500, NULL, "etcdserver: too many operations in txn request");
    for (size_t i = 0; i < w->ops_len; i++) {
        const struct store_op *op = &w->ops[i];
        size_t key_len = strlen(op->key);
        w->stored[i].key = etcd_key(w->arena, e, op->key);
        if (!w->stored[i].key || key_len > STORE_KEY_MAX || op->rv_offset > op->value_len)
            return status_bad_request(reterr, "the key is empty, too long or not below /registry/, or the revision's place is outside of the value");
        if (!op->value) continue;
        if (!e->codec) buf_append(&w->stored[i].value, op->value, op->value_len);
        else if (e->codec->encode(e->codec->ctx, op->key, op->value, op->value_len, op->rv_offset, &w->stored[i].value, reterr) != 0) return -1;
    }
    return 0;
}

void etcd_write(struct etcd *e, const struct store_op *ops, size_t ops_len, void (*done)(void *, struct store_result *), void *arg) {
    struct etcd_write *w = calloc(1, sizeof(*w));
    size_t bytes;
    CHECK(w);
    w->etcd = e;
    w->arena = arena_new();
    w->ops = store_ops_copy(ops, ops_len, &bytes);
    w->ops_len = ops_len;
    w->stored = arena_calloc(w->arena, ops_len + 1, sizeof(*w->stored));
    w->done = done;
    w->arg = arg;
    if (encode(w, &w->result.error) == 0) loop_post(e->loop, begin, w);
    else {
        w->result.outcome = STORE_FAILED;
        deliver(w, true);
    }
}
