/* What `ckube server` does so that further nodes can join by `ckube agent`: a token for them, the rights that it gives, and what they ask for.
 *
 * The token is a bootstrap token (the Secret kube-system/bootstrap-token-ID, without an end) in DATA_DIR/server/node-token; whoever has it may ask for the certificate of any node, as with kubeadm, and no more. To take it
 * back, delete the Secret and the file and start the server anew. Rights are ClusterRoles and ClusterRoleBindings named ckube:..., made when they are not there; an administrator may change them.
 * Tests: tests/integration/test_agent.py. */
#ifndef CKUBE_CMD_NODE_JOIN_H
#define CKUBE_CMD_NODE_JOIN_H
#include "apiserver/apiserver.h"
#include "client/client.h"

struct node_join_settings { const char *data_dir, *cluster_cidr, *cluster_dns; }; /* cluster_dns may be NULL */
/* A thread makes what is missing, by a client that may do everything and outlives it, and tries until all is there. NULL with a status: the token's file cannot be written. */
struct node_join;
struct node_join *node_join_start(struct client *masters, const struct node_join_settings *settings, struct status *reterr);
void node_join_stop(struct node_join *j); /* NULL is fine */
/* /ckube/cacerts, before anybody is asked who they are. */
bool node_join_handle(const struct node_join_settings *settings, struct http_request *req);
/* /ckube/agent, for nodes: {"clusterCIDR": "...", "clusterDNS": "...", "clientCA": "PEM"}. */
bool node_join_handle_settings(const struct node_join_settings *settings, struct http_request *req);
#endif
