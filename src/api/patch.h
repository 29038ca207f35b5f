/* PATCH bodies applied to documents: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge. Upstream: evanphx/json-patch as the apiserver
 * calls it, and apimachinery util/strategicpatch.
 *
 * Each takes the document to change (its root is replaced) and the patch as parsed JSON; -1 with the code that upstream answers (400, 413, 422, 500). */
#ifndef CKUBE_API_PATCH_H
#define CKUBE_API_PATCH_H
#include <yyjson.h>
#include "api/schema.h"
#include "base/arena.h"
#include "base/status.h"

int json_patch_apply(struct arena *a, yyjson_mut_doc *doc, yyjson_val *patch, struct status *reterr);
int merge_patch_apply(struct arena *a, yyjson_mut_doc *doc, yyjson_val *patch, struct status *reterr);
int strategic_patch_apply(struct arena *a, const struct type_desc *type, yyjson_mut_doc *doc, yyjson_val *patch, struct status *reterr);
#endif
