/* Where Leases are best held: the leaders should not sit on the same server, so that one server's failure does not take them all.
 *
 * A coordinator on top of upstream's coordinated leader election (pkg/controlplane/controller/leaderelection): it looks at the LeaseCandidates, at the holders of the Leases
 * that they stand for and at the server of the database's leader, and where a Lease would be better held elsewhere names the candidate in its spec.preferredHolder; the holder
 * then gives it back. One of the coordinators of a cluster acts, by the Lease kube-system/leader-election-controller.
 *
 * Candidates with the strategy "ckube.local/spread" (lease_candidate.h) are spread over their servers, any component's; those with upstream's OldestEmulationVersion are chosen as
 * upstream chooses. A candidate that does not acquire by itself (client-go's coordinated mode) is made the holder of a Lease that nobody holds.
 *
 * Gentle: one move at a time, only when it makes the fullest server less full (so that moves end), only after nothing has changed for SPREAD_SETTLE_MS, and only to a
 * candidate that has just answered a ping. The database's leader is never moved. While all is well nothing is written.
 * Runs on a thread of its own. Tests: tests/unit/test_lease_spread.c, tests/integration/test_lease_spread.py. */
#ifndef CKUBE_CLIENT_LEASE_SPREAD_H
#define CKUBE_CLIENT_LEASE_SPREAD_H
#include "client/leader_election.h"

enum { SPREAD_SETTLE_MS = 3000, SPREAD_CORE_WEIGHT = 16 };

struct lease_spread_config {
    const char *identity;          /* of this coordinator */
    struct leader_election_config times; /* only its times count */
    /* The name of the database's member that leads; false: there are no members, or nobody knows. May block for a moment. NULL: there are none. */
    bool (*database_leader)(void *ctx, char *ret, size_t size);
    void *ctx;
};
struct lease_spread;
/* Both clients are the coordinator's alone; acting is fenced by `fence`. */
struct lease_spread *lease_spread_start(struct client *elector, struct client *acting, struct lease_fence *fence, struct env *env, const struct lease_spread_config *config);
void lease_spread_stop(struct lease_spread *s); /* NULL is fine */

/* ---- the decision, apart from all else ---- */

/* Something that one server holds. */
struct spread_role {
    const char *name;
    int weight;                /* the three that every cluster has count SPREAD_CORE_WEIGHT, others 1: they never stand in the way of those */
    const char *node;          /* the holder's server; NULL: not known */
    bool movable;
    struct spread_place { const char *node, *candidate; } *places; /* where it can go */
    size_t places_len;
};
/* The move that helps most; false: none does. */
bool spread_best_move(const struct spread_role *roles, size_t roles_len, size_t *ret_role, size_t *ret_place);
/* The place of the emptiest server for a role that nobody holds. */
bool spread_best_place(const struct spread_role *roles, size_t roles_len, size_t role, size_t *ret_place);
#endif
