/* Which member of the cluster leads: see store_leader. Asked of the member that we are connected to, which need not be sure; no more is needed. */
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "store/lmdb.h"
#include "wire/grpc_channel.h"

enum { LEADER_TIMEOUT_MS = 2000 };

struct leader_asker {
    struct store_waiter waiter;
    struct etcd *etcd;
    uint64_t leader;
    char *name;
    size_t size;
    bool found;
};

static void on_members(void *arg, const struct etcd_answer *a) {
    struct leader_asker *asker = arg;
    const Etcdserverpb__MemberListResponse *r = a->message;
    for (size_t i = 0; a->code == GRPC_OK && i < r->n_members; i++) {
        if (r->members[i]->id != asker->leader) continue;
        asker->found = snprintf(asker->name, asker->size, "%s", r->members[i]->name) < (int)asker->size;
    }
    store_waiter_wake(&asker->waiter);
}

static void on_status(void *arg, const struct etcd_answer *a) {
    struct leader_asker *asker = arg;
    const Etcdserverpb__StatusResponse *r = a->message;
    asker->leader = a->code == GRPC_OK ? r->leader : 0;
    if (!asker->leader) {
        store_waiter_wake(&asker->waiter);
        return;
    }
    Etcdserverpb__MemberListRequest req = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    etcd_call(asker->etcd, "/etcdserverpb.Cluster/MemberList", &req.base, &etcdserverpb__member_list_response__descriptor, true, LEADER_TIMEOUT_MS, on_members, asker);
}

static void ask(void *arg) {
    struct leader_asker *asker = arg;
    Etcdserverpb__StatusRequest req = ETCDSERVERPB__STATUS_REQUEST__INIT;
    etcd_call(asker->etcd, "/etcdserverpb.Maintenance/Status", &req.base, &etcdserverpb__status_response__descriptor, true, LEADER_TIMEOUT_MS, on_status, asker);
}

bool store_leader(struct store *s, char *ret, size_t size) {
    if (!s->etcd) return false;
    struct leader_asker asker = {.etcd = s->etcd, .name = ret, .size = size};
    store_waiter_init(&asker.waiter);
    loop_post(s->etcd->loop, ask, &asker);
    store_waiter_wait(&asker.waiter);
    return asker.found;
}
