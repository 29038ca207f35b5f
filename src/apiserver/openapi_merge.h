/* Other servers' OpenAPI documents beside ours: their part of a merged v2 document, and a v3 document made of their v2 when they have none. Upstream: kube-openapi pkg/aggregator and
 * pkg/openapiconv. Tests: tests/unit/test_openapi_merge.c. */
#ifndef CKUBE_APISERVER_OPENAPI_MERGE_H
#define CKUBE_APISERVER_OPENAPI_MERGE_H
#include "wire/json.h"

/* Adds the paths of their v2 document that begin with `prefix` and that ours does not have, and the definitions and parameters that those need. One that is ours under the same name
 * and is another thing gets a new name (NAME_v2); one that differs in its x-kubernetes-group-version-kind alone is ours, with both. */
void openapi_v2_merge(struct arena *a, yyjson_mut_doc *ours, yyjson_val *theirs, const char *prefix);
/* Their whole v2 document as v3. */
void openapi_v2_to_v3(struct arena *a, yyjson_val *v2, struct buf *out);
#endif
