/* The fence around what an elected component writes: nothing is written under a Lease that is no longer held.
 *
 * Two walls. Here, by our own monotonic clock: a write is not even sent once the Lease, counted from before its last renewal was sent, may have ended. And at
 * the apiserver: each write carries the header Ckube-Lease-Fence, "NAMESPACE/NAME TRANSITIONS HOLDER", and is committed only together with the proof that the
 * Lease still says so (apiserver/fence.h); that also stops what was on its way while the process, its machine or the network stood still.
 * An apiserver that does not know the header ignores it. Reads are never held up. Thread-safe. Tests: tests/unit/test_leader_election.c. */
#ifndef CKUBE_CLIENT_LEASE_FENCE_H
#define CKUBE_CLIENT_LEASE_FENCE_H
#include "base/env.h"
#include "client/transport.h"

struct lease_fence;
/* Closed at first. */
struct lease_fence *lease_fence_new(struct env *env);
void lease_fence_free(struct lease_fence *f); /* after the transports over it; NULL is fine */
/* The same transport, which it takes over, behind the fence: writes fail with 412 while that is closed. */
struct transport *lease_fence_transport(struct lease_fence *f, struct transport *inner);
/* The same over a transport that stays its owner's, who frees it later. */
struct transport *lease_fence_transport_over(struct lease_fence *f, struct transport *inner);

/* The election's: the Lease is held until then (monotonic clock), and under which transition. */
void lease_fence_open(struct lease_fence *f, const char *ns, const char *name, const char *holder, int transitions, int64_t until_ns);
void lease_fence_close(struct lease_fence *f);
#endif
