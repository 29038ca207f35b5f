/* x-kubernetes-validations: rules of schemas. Upstream: apiextensions-apiserver pkg/apiserver/schema/cel. */
#ifndef CKUBE_API_CEL_RULES_H
#define CKUBE_API_CEL_RULES_H
#include "api/structural.h"

/* Compiles one rule of a schema and appends what is wrong with it. `uncorrelatable`: oldSelf cannot be used here, because of the schema at that path; NULL: it can. */
void cel_check_rule(const struct structural *s, bool root, const struct apiextensionsv1_ValidationRule *rule, const struct field_path *uncorrelatable, const struct field_path *at, struct field_errors *errs);
/* Compiles all rules of a schema, once, before others use it. Those that do not compile say so whenever they should be run. */
void cel_rules_compile(struct arena *a, struct structural *s, bool root);
#endif
