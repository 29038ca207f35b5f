/* The resources that CustomResourceDefinitions brought: which are served, as what, and the loop that establishes and removes them.
 *
 * A definition that is established is a struct custom_resource: types, strategies and discovery rows for each of its versions, immutable, counted. A request that asks for
 * one holds it until its arena dies; a change of the definition makes another one. One thread reads definitions as they change, gives them their conditions (naming,
 * establishing and finalizing controllers of apiextensions-apiserver) and replaces what is served. Upstream: apiextensions-apiserver pkg/apiserver/customresource_handler.go.
 * Tests: tests/integration/test_custom_resources.py. */
#ifndef CKUBE_APISERVER_CUSTOM_RESOURCES_H
#define CKUBE_APISERVER_CUSTOM_RESOURCES_H
#include <stdatomic.h>
#include "api/custom_object.h"
#include "apiserver/registry.h"

struct custom_version {
    const char *name, *warning;     /* warning: of a deprecated version, or NULL */
    bool served, storage;
    struct custom_type type;
    struct resource_desc resource, status, scale;
    struct strategy strategy, status_strategy;
    struct conversion_cache *converted; /* what watches of this version had converted; NULL: no webhook converts. See custom_conversion.h */
};
struct custom_resource {
    atomic_int refs;
    struct arena *arena;
    const struct apiextensionsv1_CustomResourceDefinition *crd;
    uint64_t revision;              /* of the definition */
    bool terminating;
    atomic_bool replaced;           /* by another specification, or by none: watches end */
    const struct custom_type **types; /* of all versions, NULL-terminated */
    struct { struct custom_version *items; size_t len; } versions; /* those served, in order of preference, then the others */
};

struct custom_resources;
struct custom_resources *custom_resources_new(struct apiserver *s, struct status *reterr); /* reads what is stored and starts the thread */
void custom_resources_free(struct custom_resources *c);                                    /* NULL is fine */

/* What the request asks for, if it is a custom resource: sets rd, strategy and custom, and holds it. False: no such resource. */
bool custom_resources_find(struct api_request *r);
/* All that is served now, by group and name. They live as long as the arena. */
struct custom_resource_list { struct custom_resource **items; size_t len; };
struct custom_resource_list custom_resources_served(struct custom_resources *c, struct arena *a);
uint64_t custom_resources_generation(struct custom_resources *c);                          /* changes whenever what is served does */
bool custom_resources_has_group(struct custom_resources *c, const char *group);
/* v1 is preferred to v1beta1 and that to v1alpha1; greater numbers to smaller ones; all else by name. Like strcmp, the preferred first. */
int kube_version_compare(const char *a, const char *b);

/* For the registry of definitions: a definition as it would be served, or -1. */
struct custom_resource *custom_resource_new(const struct apiextensionsv1_CustomResourceDefinition *crd, uint64_t revision, struct status *reterr);
void custom_resource_unref(struct custom_resource *r);

/* registry/customresource.c */
void custom_strategy_init(struct custom_version *v, const struct apiextensionsv1_CustomResourceDefinition *crd, struct arena *a);
/* custom_handlers.c: the scale subresource; verbs on a definition that is being deleted. */
void handle_custom_scale(struct api_request *r);
#endif
