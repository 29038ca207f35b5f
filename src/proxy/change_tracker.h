/* From API objects to the rules engine's structs. Upstream: pkg/proxy ServiceChangeTracker, EndpointSliceCache. Pure; used by proxier.c and tests. */
#ifndef CKUBE_PROXY_CHANGE_TRACKER_H
#define CKUBE_PROXY_CHANGE_TRACKER_H
#include "api/object.h"
#include "proxy/rules.h"

struct service_port_list { struct service_port *items; size_t len; };

/* False: kube-proxy has nothing to do with it (ExternalName, headless, or another proxy's by label). */
bool service_is_proxied(const struct corev1_Service *svc);
/* The Service a slice belongs to, by its label; NULL: none. */
const char *endpoint_slice_service(const struct discoveryv1_EndpointSlice *slice);
/* The Service's ports with the endpoints that its slices give. Lists live in the arena; strings are the objects'. */
struct service_port_list service_ports_build(struct arena *a, const struct corev1_Service *svc, const struct discoveryv1_EndpointSlice *const *slices,
                                             size_t slices_len, const char *node_name);
#endif
