/* Upstream's compactor: the apiservers of a cluster agree through the key compact_rev_key on who compacts. Each interval, whoever finds the key's version as it
 * was an interval ago writes it and compacts to the revision of that time; the others learn the version and wait. Upstream: storage/etcd3/compact.go. */
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "wire/grpc_channel.h"

static const char compact_key[] = "compact_rev_key";

static void on_compacted(void *arg UNUSED, const struct etcd_answer *a UNUSED) {} /* in the next interval again */

static void on_turn(void *arg, const struct etcd_answer *a) {
    struct etcd *e = arg;
    const Etcdserverpb__TxnResponse *r = a->message;
    int64_t target = e->compact_revision;
    if (a->code != GRPC_OK || !r->header) return;
    e->compact_revision = r->header->revision;
    if (!r->succeeded) {
        const Etcdserverpb__RangeResponse *range = r->n_responses && r->responses[0]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE ? r->responses[0]->response_range : NULL;
        e->compact_time = range && range->n_kvs ? range->kvs[0]->version : 0;
        return;
    }
    e->compact_time++;
    if (!target) return; /* the first time there is no revision of an interval ago */
    Etcdserverpb__CompactionRequest req = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    req.revision = target;
    etcd_call(e, "/etcdserverpb.KV/Compact", &req.base, &etcdserverpb__compaction_response__descriptor, true, ETCD_TIMEOUT_MS, on_compacted, e);
}

void compact_tick(struct etcd *e) {
    int64_t now = etcd_now_ms();
    if (e->compaction_interval_s <= 0 || now < e->compact_at_ms) return;
    e->compact_at_ms = now + e->compaction_interval_s * 1000;
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)e->compact_revision);
    ProtobufCBinaryData key = {strlen(compact_key), (uint8_t *)(uintptr_t)compact_key};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare guard = ETCDSERVERPB__COMPARE__INIT, *guards[] = {&guard};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT, otherwise = ETCDSERVERPB__REQUEST_OP__INIT, *thens[] = {&then}, *otherwises[] = {&otherwise};
    guard.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    guard.key = put.key = get.key = key;
    guard.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    guard.version = e->compact_time;
    put.value = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    then.request_put = &put;
    otherwise.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    otherwise.request_range = &get;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    txn.compare = guards;
    txn.success = thens;
    txn.failure = otherwises;
    etcd_call(e, "/etcdserverpb.KV/Txn", &txn.base, &etcdserverpb__txn_response__descriptor, false, ETCD_ATTEMPT_MS, on_turn, e);
}
