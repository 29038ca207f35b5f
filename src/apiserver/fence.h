/* Fenced writes: what an old leader still sends is refused. The client's half, and the header's form: client/lease_fence.h.
 *
 * A write with a fence is committed only together with the proof that the Lease it names still has that holder and that number of transitions: the Lease's mod
 * revision, as it was when we looked, is one more guard of the write's own transaction, in the embedded store and in etcd alike. A renewal in between moves
 * that revision; then we look again and try again.
 * So, on one store, however many apiservers there are: once a write that gives the Lease to another (or counts another term) is committed, no write under
 * the old term is committed after it. What is only looked at when the request comes in: what writes nothing here (TokenRequests, what is passed on to other
 * servers), and a quota's refund. A Lease that was deleted and made again counts its terms anew.
 * Who sends no header is not concerned: upstream's components. Tests: tests/unit/test_leader_election.c, tests/integration/test_leader_election.py. */
#ifndef CKUBE_APISERVER_FENCE_H
#define CKUBE_APISERVER_FENCE_H
#include "apiserver/request.h"
#include "store/store.h"

/* Reads the header of a request that writes into r->fence, and looks whether it holds at all. -1 with 400 or 412. */
int fence_begin(struct api_request *r, struct status *reterr);
/* One write of the request's, as store_write_wait, behind its fence: STORE_FAILED with 412 when that holds no more. At most STORE_OPS_MAX - 1 ops. */
void fenced_write(struct api_request *r, const struct store_op *ops, size_t ops_len, struct store_result *ret);
#endif
