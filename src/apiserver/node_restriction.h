/* NodeRestriction: a kubelet changes its own Node, its own Pods' statuses and its own Lease, and nothing else. Upstream: plugin/pkg/admission/noderestriction.
 * Tests: tests/integration/test_auth_nodes.py. */
#ifndef CKUBE_APISERVER_NODE_RESTRICTION_H
#define CKUBE_APISERVER_NODE_RESTRICTION_H
#include "apiserver/admission.h"

/* Requests of others pass. obj NULL at deletion, old NULL at creation. */
int node_restriction(struct api_request *r, const struct strategy *st, enum admission_operation op, const void *obj, const void *old, const char *subresource, struct status *reterr);
int node_restriction_eviction(struct api_request *r, const struct corev1_Pod *pod, struct status *reterr);
int node_restriction_token(struct api_request *r, const struct authenticationv1_TokenRequest *req, struct status *reterr);
#endif
