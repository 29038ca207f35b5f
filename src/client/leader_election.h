/* One of several candidates acts, by a Lease that it renews. Upstream: client-go tools/leaderelection.
 *
 * A thread of its own tries to acquire the Lease, then renews it each retry period. Whoever cannot renew within the renew deadline has lost: on_lost is
 * called and the candidate must stop acting before the lease's duration is over. Clocks of different machines are never compared: a candidate takes over only
 * when it has itself seen the Lease unchanged for its whole duration. Tests: tests/unit/test_leader_election.c. */
#ifndef CKUBE_CLIENT_LEADER_ELECTION_H
#define CKUBE_CLIENT_LEADER_ELECTION_H
#include <stdbool.h>
#include "base/env.h"
#include "client/client.h"

struct leader_election_config {
    const char *ns, *name;          /* of the Lease; ns NULL: kube-system */
    const char *identity;           /* of this candidate: "host_uuid" */
    int lease_duration_ms, renew_deadline_ms, retry_period_ms; /* 0: 15 s, 10 s, 2 s */
    /* From the election's thread. on_leading must return soon; on_lost returns when this process acts no more. */
    void (*on_leading)(void *arg);
    void (*on_lost)(void *arg);
    void *arg;
};

struct leader_election;
struct leader_election *leader_election_start(struct client *c, struct env *env, const struct leader_election_config *config);
/* Stops acting (on_lost, if it was leading), gives the Lease back so that another need not wait, and frees. NULL is fine. */
void leader_election_stop(struct leader_election *e);
bool leader_election_leading(struct leader_election *e);
#endif
