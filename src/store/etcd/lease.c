/* Leases for keys with a TTL, shared by many keys as upstream's lease manager does: a lease lives a little longer than asked (5%, a minute at most), and for that
 * long, and up to 1000 keys, the next key with the same TTL takes it too. */
#include <protobuf-c/protobuf-c.h>
#include "rpc.pb-c.h"
#include "store/etcd/etcd.h"
#include "wire/grpc_channel.h"

enum { LEASE_KEYS_MAX = 1000, REUSE_S_MAX = 60 };

struct grant { struct etcd *etcd; struct etcd_write *write; size_t op; int64_t ttl_s; };

static int64_t reuse_s(int64_t ttl_s) { return MIN(ttl_s / 20, (int64_t)REUSE_S_MAX); }

static void on_grant(void *arg, const struct etcd_answer *a) {
    struct grant *g = arg;
    struct etcd *e = g->etcd;
    const Etcdserverpb__LeaseGrantResponse *r = a->message;
    struct etcd_lease *slot = &e->leases[0];
    if (a->code == GRPC_OK) {
        for (size_t i = 0; i < ETCD_LEASES_MAX; i++) {
            if (e->leases[i].ttl_s == g->ttl_s) {
                slot = &e->leases[i];
                break;
            }
            if (e->leases[i].expires_ms < slot->expires_ms) slot = &e->leases[i];
        }
        *slot = (struct etcd_lease){g->ttl_s, r->id, etcd_now_ms() + (g->ttl_s + reuse_s(g->ttl_s)) * 1000, 1};
    }
    etcd_write_leased(g->write, g->op, a->code == GRPC_OK ? r->id : 0, a->code == GRPC_OK ? NULL : a);
    free(g);
}

void etcd_lease_for(struct etcd *e, int64_t ttl_s, struct etcd_write *w, size_t op) {
    int64_t needed = etcd_now_ms() + ttl_s * 1000;
    for (size_t i = 0; i < ETCD_LEASES_MAX; i++) {
        struct etcd_lease *l = &e->leases[i];
        if (l->ttl_s != ttl_s || l->attached >= LEASE_KEYS_MAX || l->expires_ms < needed) continue;
        l->attached++;
        etcd_write_leased(w, op, l->id, NULL);
        return;
    }
    struct grant *g = malloc(sizeof(*g));
    CHECK(g);
    *g = (struct grant){e, w, op, ttl_s};
    Etcdserverpb__LeaseGrantRequest req = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    req.ttl = ttl_s + reuse_s(ttl_s);
    /* A lease that is granted twice expires without a key: sending it again does no harm. */
    etcd_call(e, "/etcdserverpb.Lease/LeaseGrant", &req.base, &etcdserverpb__lease_grant_response__descriptor, true, ETCD_ATTEMPT_MS, on_grant, g);
}
