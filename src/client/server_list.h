/* The apiservers of the cluster, as the Service `kubernetes` names them: so that a component that knows one of them at first knows all of them later.
 *
 * A reflector follows the EndpointSlice default/kubernetes through the component's own transport, tells that what it says, and keeps it in a file beside the kubeconfig,
 * KUBECONFIG.servers, for the next start, when the server that the kubeconfig names may be away. Who may not read it (403) goes on with what it has.
 * A thread asks the server in use each PROBE_MS whether it lives, so that one that stands still is noticed, and left, though nobody else is asking.
 * Tests: tests/integration/test_failover.py, test_agents.py. */
#ifndef CKUBE_CLIENT_SERVER_LIST_H
#define CKUBE_CLIENT_SERVER_LIST_H
#include "base/env.h"
#include "client/client.h"

struct server_list;
/* t is the client's transport, over HTTPS. Adds `more` ("https://a:6443,...", may be NULL) and what the file holds at once. NULL with a status: `more` is wrong. */
struct server_list *server_list_start(struct client *c, struct env *env, const char *kubeconfig, const char *more, struct transport *t, struct status *reterr);
void server_list_stop(struct server_list *l); /* before the client is freed; NULL is fine */
#endif
