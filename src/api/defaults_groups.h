#ifndef CKUBE_API_DEFAULTS_GROUPS_H
#define CKUBE_API_DEFAULTS_GROUPS_H
#include "api/object.h"
/* Defaults of the groups outside core, apps and batch; false when the type has none here. */
bool default_group_object(struct arena *a, const struct type_desc *type, void *obj);
#endif
