/* Printers of the groups outside core, apps and batch. */
#ifndef CKUBE_API_PRINTERS_GROUPS_H
#define CKUBE_API_PRINTERS_GROUPS_H
#include "api/printers.h"

const struct printer *printers_groups_find(const struct type_desc *type); /* NULL: none of these */
#endif
