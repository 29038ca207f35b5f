/* Between two versions of a kind. Upstream: the conversion functions of pkg/apis/GROUP/VERSION, without the internal version in between.
 *
 * Fields of the same name are carried over, whatever the types are called; a value and a pointer to one fit each other (zero is nil). What upstream
 * does by hand (renamed or moved fields, annotations that hold what an old version cannot say) is in a table of small functions here. */
#ifndef CKUBE_API_CONVERT_H
#define CKUBE_API_CONVERT_H
#include "api/object.h"

/* obj in the other type, kind and apiVersion set; obj itself when the types are the same. The result shares memory with obj. */
void *object_convert(struct arena *a, const struct type_desc *from, const void *obj, const struct type_desc *to);
/* The same for ...List kinds: items and metadata. */
void *object_list_convert(struct arena *a, const struct type_desc *from, const void *list, const struct type_desc *to);
#endif
