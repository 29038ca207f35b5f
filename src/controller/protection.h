/* Finalizers that keep an object while something uses it. */
#ifndef CKUBE_CONTROLLER_PROTECTION_H
#define CKUBE_CONTROLLER_PROTECTION_H
#include "controller/controller.h"

/* Puts the finalizer on an object that lives, and takes it off one that is being deleted unless `used` says that it is still needed (asked in this case alone).
 * used: 1 yes, 0 no, -1 with a status. */
int protection_sync(struct controller *c, struct arena *a, const struct type_desc *type, const struct object *cached, const char *finalizer,
                    int (*used)(void *self, struct arena *a, const void *obj, struct status *reterr), void *self, struct status *reterr);
#endif
