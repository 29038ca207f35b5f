/* Which resources there are, by discovery: for the garbage collector, which follows all of them. Upstream: client-go discovery, restmapper. */
#ifndef CKUBE_CONTROLLER_GARBAGE_DISCOVERY_H
#define CKUBE_CONTROLLER_GARBAGE_DISCOVERY_H
#include "client/client.h"

struct gc_resource {
    const char *group, *api_version, *resource, *kind;
    const char *path;   /* "/apis/apps/v1", to which /namespaces/... or /RESOURCE is added */
    bool namespaced;
    bool followed;      /* can be deleted, listed and watched, in its group's preferred version, and is no Event */
};

struct gc_resources;
/* Asks the server. NULL with a status: nothing could be learned. Groups that could not be asked (stale) keep what `was` knew of them; was may be NULL. */
struct gc_resources *gc_resources_discover(struct client *c, const struct gc_resources *was, struct status *reterr);
void gc_resources_free(struct gc_resources *r); /* NULL is fine */
const struct gc_resource *gc_resources_find(const struct gc_resources *r, const char *api_version, const char *kind);
size_t gc_resources_len(const struct gc_resources *r);
const struct gc_resource *gc_resources_at(const struct gc_resources *r, size_t i);
#endif
