/* The direct way from a component of this process into the request pipeline: no socket, no TLS, the same authorization and admission.
 *
 * The user is vouched for by the process itself ("system:kube-scheduler" with its groups), so that only authentication is left out. */
#ifndef CKUBE_APISERVER_LOCAL_TRANSPORT_H
#define CKUBE_APISERVER_LOCAL_TRANSPORT_H
#include "apiserver/apiserver.h"
#include "client/transport.h"

/* groups ends with NULL and may be NULL; system:authenticated is added. user_agent: "kube-scheduler" and the like, becomes the field manager. All of the transport's
 * calls and streams must have ended before the server is freed. */
struct transport *local_transport_new(struct apiserver *s, const char *user, const char *const *groups, const char *user_agent);
#endif
