/* NodeRestriction: a kubelet changes its own Node, its own Pods' statuses and its own Lease, and nothing else. Upstream: plugin/pkg/admission/noderestriction.
 * Tests: tests/integration/test_auth_nodes.py. */
#ifndef CKUBE_APISERVER_NODE_RESTRICTION_H
#define CKUBE_APISERVER_NODE_RESTRICTION_H
#include "apiserver/admission.h"

/* Requests of others pass. */
int node_restriction(struct admission_attributes *a, void *state, struct status *reterr);
#endif
