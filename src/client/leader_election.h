/* One of several candidates acts, by a Lease that it renews. Upstream: client-go tools/leaderelection, whose Leases these are: an upstream component and
 * ours can stand for the same one.
 *
 * A thread of its own tries to acquire the Lease, then renews it each retry period. Whoever could not renew for the renew deadline, counted from before the
 * last renewal was sent, or sees that another holds the Lease, has lost: on_lost is called. Clocks of different machines are never compared: a candidate takes
 * over only when it has itself seen the Lease unchanged for its whole duration by its monotonic clock. The holder counts from the moment before a renewal was
 * sent and the others from after they saw it, so the holder's time always ends first; lease_fence.h makes sure that nothing is written beyond it.
 * A watch on the Lease tells at once that it was given back or renewed; while that works a waiting candidate asks nothing. The candidate's first acquisition
 * counts as a transition even when its identity held the Lease already (a crashed process on the same data folder, which must be known to be dead): each
 * term of each process has a number of its own.
 *
 * Coordinated leader election: a holder that finds another named in spec.preferredHolder stops and gives the Lease back; a free Lease is left to the
 * preferred one for a moment (PREFERRED_GRACE_MS) and then to anybody. Who names it: lease_spread.h, or upstream's controller.
 * Tests: tests/unit/test_leader_election.c. */
#ifndef CKUBE_CLIENT_LEADER_ELECTION_H
#define CKUBE_CLIENT_LEADER_ELECTION_H
#include <stdbool.h>
#include "base/env.h"
#include "client/client.h"
#include "client/lease_fence.h"

struct leader_election_config {
    const char *ns, *name;          /* of the Lease; ns NULL: kube-system */
    const char *identity;           /* of this candidate: "host_uuid" */
    int lease_duration_ms, renew_deadline_ms, retry_period_ms; /* 0: 15 s, 10 s, 2 s. The duration counts in whole seconds */
    struct lease_fence *fence;      /* opened while the Lease is held; NULL: none */
    /* From the election's thread. on_leading must return soon; on_lost returns when this process acts no more. */
    void (*on_leading)(void *arg);
    void (*on_lost)(void *arg);
    void *arg;
};

struct leader_election;
/* The client's timeout is set to the election's needs, and it is not fenced. */
struct leader_election *leader_election_start(struct client *c, struct env *env, const struct leader_election_config *config);
/* Stops acting (on_lost, if it was leading), gives the Lease back so that another need not wait, and frees. NULL is fine. */
void leader_election_stop(struct leader_election *e);
bool leader_election_leading(struct leader_election *e);
#endif
