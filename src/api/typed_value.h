/* Values with their types: what apply does with documents. Upstream: structured-merge-diff's typed.
 *
 * All allocate from the arena and change nothing they are given. Errors are appended to `errs` as "PATH: text", in upstream's words; typed_error_text
 * joins them as upstream prints them. */
#ifndef CKUBE_API_TYPED_VALUE_H
#define CKUBE_API_TYPED_VALUE_H
#include "api/field_set.h"
#include "api/merge_schema.h"

struct comparison { struct field_set removed, modified, added; };

/* Whether the value fits the type: unknown fields, wrong scalars, items without keys; duplicate items unless allowed. */
void typed_validate(struct arena *a, struct schema_ref type, const struct value *v, bool allow_duplicates, struct string_list *errs);
const char *typed_error_text(struct arena *a, const struct string_list *errs);

/* Every leaf and item that the value mentions. */
struct field_set typed_field_set(struct arena *a, struct schema_ref type, const struct value *v);
/* What differs between two values of one type. */
void typed_compare(struct arena *a, struct schema_ref type, const struct value *old, const struct value *now, struct comparison *ret, struct string_list *errs);
/* `live` with everything that `config` says; nothing is removed. Lists keep config's order where config changes them. */
struct value typed_merge(struct arena *a, struct schema_ref type, const struct value *live, const struct value *config, struct string_list *errs);
/* The value without the items of the set. */
struct value typed_remove(struct arena *a, struct schema_ref type, const struct value *v, const struct field_set *items);
/* The set with its named fields as members too: a set of "spec.replicas" then has "spec". */
struct field_set typed_set_with_named(struct arena *a, struct schema_ref type, const struct field_set *s);
/* The set as today's type has it: fields below what has become atomic become the whole. */
struct field_set typed_set_reconcile(struct arena *a, struct schema_ref type, const struct field_set *s);
#endif
