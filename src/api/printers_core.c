/* The printers of built-in kinds. Upstream: pkg/printers/internalversion. */
#include "api/printers.h"

const struct printer *printer_find(const struct type_desc *type UNUSED) { return NULL; }
