/* metadata.managedFields: who set which field last. Upstream: apimachinery util/managedfields and structured-merge-diff. */
#ifndef CKUBE_API_MANAGEDFIELDS_H
#define CKUBE_API_MANAGEDFIELDS_H
#include "api/object.h"

/* What a client sends at creation is not believed. */
void managed_fields_reset(struct object *obj);
/* Records an update: fields of obj that differ from old (NULL: creation) now belong to the manager, removed ones to nobody. */
void managed_fields_update(struct arena *a, const struct type_desc *type, const void *old, void *obj, const char *manager, const char *subresource, int64_t now_s);
#endif
