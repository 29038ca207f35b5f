/* What kubelets may do: read what their own Pods refer to, and what every node needs. Upstream: plugin/pkg/auth/authorizer/node.
 *
 * Upstream keeps a graph from objects over Pods to nodes; here each Pod's references are counted under the node and the object at once, so that the
 * question is one lookup. What has changed is noted by the store's writer and read when a node next asks: without nodes it costs nothing. Any thread.
 * Tests: tests/unit/test_node_authorizer.c, tests/integration/test_auth_nodes.py. */
#ifndef CKUBE_APISERVER_NODE_AUTHORIZER_H
#define CKUBE_APISERVER_NODE_AUTHORIZER_H
#include "apiserver/authorization.h"

struct node_authorizer;
struct node_authorizer *node_authorizer_new(struct store *store, struct status *reterr);
void node_authorizer_free(struct node_authorizer *n);
enum authz_decision node_authorizer_decide(struct node_authorizer *n, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason);
/* Whether the user is a node (of group system:nodes, named system:node:NAME); *ret_name "" if it does not say which. */
bool node_identity(const struct user_info *user, const char **ret_name);
#endif
