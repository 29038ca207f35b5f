/* Subresources that lead out of the apiserver: to a Pod's kubelet (log, exec, attach, portforward), to a Pod, a Service's endpoint or a node (proxy).
 * Upstream: registry/core/pod/rest, and ResourceLocation of pods, services and nodes. Tests: tests/unit/test_connect.c. */
#ifndef CKUBE_APISERVER_CONNECT_H
#define CKUBE_APISERVER_CONNECT_H
#include "apiserver/request.h"

/* True when the request was for one of them; it has then been answered, or its streams live on. */
bool handle_connect(struct api_request *r);

/* "name", "name:port", "scheme:name:port". False: neither. *ret_scheme "" if none. Upstream: utilnet.SplitSchemeNamePort. */
bool connect_split_id(struct arena *a, const char *id, const char **ret_scheme, const char **ret_name, const char **ret_port);
#endif
