/* Defaulting: fills in what upstream's SetDefaults functions fill in, after decoding and before admission. */
#ifndef CKUBE_API_DEFAULTS_H
#define CKUBE_API_DEFAULTS_H
#include "api/object.h"

/* Every default of the type, nested ones included. Idempotent. */
void object_set_defaults(struct arena *a, const struct type_desc *type, void *obj);
#endif
