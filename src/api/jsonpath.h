/* JSONPath as CustomResourceDefinitions use it: .a.b, ['a'], [0], [-1], [1:3], [*], .*, ..a and [?(@.a=="b")]. Upstream: client-go util/jsonpath. */
#ifndef CKUBE_API_JSONPATH_H
#define CKUBE_API_JSONPATH_H
#include <stdbool.h>
#include <yyjson.h>
#include "base/arena.h"

struct jsonpath;
/* NULL when it is no such path. Lives in the arena. */
struct jsonpath *jsonpath_parse(struct arena *a, const char *text);
struct jsonpath_found { yyjson_val **items; size_t len; };
/* All values at the path, in order; missing keys are no error. */
void jsonpath_find(struct arena *a, const struct jsonpath *p, yyjson_val *root, struct jsonpath_found *ret);
#endif
