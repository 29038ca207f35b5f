/* Managed fields at the edge of the apiserver: a request's field manager. */
#ifndef CKUBE_APISERVER_MANAGERS_H
#define CKUBE_APISERVER_MANAGERS_H
#include "api/managedfields.h"
#include "apiserver/registry.h"

/* NULL: the (sub)resource resets nothing. */
const struct reset_fields *reset_fields_of(const char *group, const char *version, const char *resource, const char *subresource);
const struct reset_fields *reset_fields_of_custom(bool has_status, const char *subresource);

/* Who this request writes as. */
struct field_manager request_field_manager(struct api_request *r, const struct write_options *o);
/* Records what the request made of old (NULL: creation) in obj's managed fields. */
void request_managed_update(struct api_request *r, const struct write_options *o, const struct type_desc *type, const void *old, void *obj);

/* A body of PATCH with application/apply-patch+yaml. */
struct apply {
    struct value config;
    const char *duplicate;   /* what is to be said of a duplicate key, or NULL */
    bool strict, warn;
    const struct write_options *options;
};
int apply_read(struct api_request *r, struct apply *ret, struct status *reterr);
/* What applying makes of current (NULL: creation): defaulted, managed fields set. */
void *apply_to(struct api_request *r, const struct apply *p, const struct type_desc *type, void *current, struct status *reterr);
#endif
