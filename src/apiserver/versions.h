/* The version of a kind that a request speaks, and the one that is stored. Upstream: the scope's Kind and its convertor, and the storage factory.
 *
 * Handlers decode, patch and keep managedFields in the request's version; registry, admission, validation and store see the stored one. */
#ifndef CKUBE_APISERVER_VERSIONS_H
#define CKUBE_APISERVER_VERSIONS_H
#include "apiserver/registry.h"

/* The type of the request's resource in the request's version: where it is the stored one, the strategy's own type. */
const struct type_desc *request_type(const struct api_request *r);
/* An object of the strategy's type as the request's version has it, and back. obj itself where the versions are the same; NULL stays NULL. */
void *request_version(const struct api_request *r, void *stored);
void *storage_version(const struct api_request *r, void *obj);
/* The ...List type of the strategy's type. */
const struct type_desc *stored_list_type(const struct api_request *r);
/* What `type` (the stored type or its list) is in the request's version; `type` itself where nothing is to be done. */
const struct type_desc *response_type(const struct api_request *r, const struct type_desc *type);
void *response_object(const struct api_request *r, const struct type_desc *type, void *obj); /* of the type, in response_type */

/* The version a resource is stored in: upstream's overrides, else the most stable one it is served in. */
const char *storage_version_of(const struct resource_desc *d);
/* Greater is more stable: v2, v1, v1beta2, v1beta1, v1alpha3... */
int version_rank(const char *version);
#endif
