/* Which groups, versions and resources are served: upstream's defaults and --runtime-config. One setting a process, made before a server starts.
   Upstream: apiserver/pkg/server/resourceconfig. */
#ifndef CKUBE_APISERVER_RUNTIME_CONFIG_H
#define CKUBE_APISERVER_RUNTIME_CONFIG_H
#include "api/schema.h"
#include "base/status.h"

/* "api/all=true,storage.k8s.io/v1beta1,batch/v1/jobs=false"; a key without value is on. api/all, api/ga, api/beta and api/alpha count first, then versions,
   then resources, whatever their order in the text. NULL or "": the defaults. */
int runtime_config_set(const char *text, struct status *reterr) WARN_UNUSED;
/* Whether the resource (or the resource of a subresource) is served. */
bool resource_served(const struct resource_desc *d);
#endif
