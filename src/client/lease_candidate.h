/* This component as a candidate for a Lease, for those who decide where that is best held: a LeaseCandidate of its identity's name. Upstream: client-go
 * tools/leaderelection LeaseCandidate.
 *
 * A thread makes the object, renews it each 5 minutes and whenever its pingTime asks whether this candidate is alive. Where LeaseCandidates are not served (the
 * default) it tries again each minute. Beyond upstream a label tells which server the candidate is on. Tests: tests/unit/test_lease_spread.c. */
#ifndef CKUBE_CLIENT_LEASE_CANDIDATE_H
#define CKUBE_CLIENT_LEASE_CANDIDATE_H
#include "base/env.h"
#include "client/client.h"

#define LEASE_CANDIDATE_NODE "kubernetes.io/hostname"           /* labels of a candidate: its server's name, ... */
#define LEASE_CANDIDATE_MEMBER "ckube.local/database-member"    /* ... and its server's member of the database, where that is named otherwise */
#define LEASE_STRATEGY_SPREAD "ckube.local/spread"              /* lease_spread.h's */

struct lease_candidate_config {
    const char *ns, *lease;   /* the Lease; ns NULL: kube-system */
    const char *identity;     /* as in the Lease */
    const char *node, *member; /* labels; NULL: none */
};
struct lease_candidate;
struct lease_candidate *lease_candidate_start(struct client *c, struct env *env, const struct lease_candidate_config *config);
void lease_candidate_stop(struct lease_candidate *c); /* the object stays: it ages; NULL is fine */
#endif
