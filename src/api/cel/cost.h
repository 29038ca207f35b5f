/* What an expression could cost at most, by its text, its types and the bounds that a schema sets (maxLength, maxItems, maxProperties). Upstream: cel-go checker/cost.go with
 * apiserver pkg/cel/library/cost.go, and the size estimators of apiextensions-apiserver and dynamic-resource-allocation. The figures are part of the API: they decide which rules a
 * definition may have, so that they are upstream's, quirks included. Tests: tests/unit/test_cel_cost.c. */
#ifndef CKUBE_API_CEL_COST_H
#define CKUBE_API_CEL_COST_H
#include "api/cel/cel.h"

#define CEL_COST_UNBOUNDED UINT64_MAX
#define CEL_REQUEST_BYTES_MAX (3 * 1024 * 1024) /* upstream's MaxRequestSizeBytes */

/* What is known of the size of a place that expressions reach. Upstream: DeclType. */
struct cel_bounds;
struct cel_bounds_field { const char *name; const struct cel_bounds *bounds; };
struct cel_bounds {
    uint64_t max;                           /* elements of a list or map, length of a string; 0 for what has no size */
    int64_t min_bytes;                      /* the least that it takes in JSON */
    const struct cel_bounds *elem, *key;    /* of lists and maps */
    const struct cel_bounds_field *fields;  /* of objects, ends with a NULL name; NULL: none */
    bool elem_by_name;                      /* a map whose members may also be selected like fields */
};
/* NULL: not reachable for expressions. */
const struct cel_bounds *cel_bounds_of_schema(struct arena *a, const struct structural *s, bool resource);
/* How often data of at least so many bytes can be in one request. */
uint64_t cel_max_cardinality(const struct cel_bounds *b);

/* The most that the program costs. `root` is what its variables are (self and oldSelf: the same schema); `variable`: the only one that root is for, all others are not bounded.
 * NULL: any. To be called before others use the program: notes are made in its nodes. */
uint64_t cel_max_cost(struct arena *a, const struct cel_program *p, const struct cel_bounds *root, const char *variable);
#endif
