/* x-kubernetes-validations: rules of schemas. Upstream: apiextensions-apiserver pkg/apiserver/schema/cel. */
#ifndef CKUBE_API_CEL_RULES_H
#define CKUBE_API_CEL_RULES_H
#include "api/structural.h"

#define CEL_RULE_COST_LIMIT 10000000ull    /* upstream's StaticEstimatedCostLimit, of one expression over a whole object */
#define CEL_SCHEMA_COST_LIMIT 100000000ull /* StaticEstimatedCRDCostLimit, of all of a version */

/* What the rules of one version could cost, all in all, and the most expensive of them. */
enum { CEL_EXPENSIVE_MAX = 4 };
struct cel_total_cost { uint64_t total; struct { const char *path; uint64_t cost; } expensive[CEL_EXPENSIVE_MAX]; size_t len; };

/* Where in a version's schema a rule stands. */
struct cel_rule_place {
    bool root;
    const struct field_path *uncorrelatable; /* oldSelf cannot be used here, because of the schema at that path; NULL: it can */
    bool bounded;                            /* all maps and lists above have a maximum: */
    uint64_t cardinality;                    /* then so often can there be data of this schema in one object */
    bool costs_accepted;                     /* the schema is as it was before: no single rule is refused for its cost */
    struct cel_total_cost *total;            /* is added to */
};
/* Compiles one rule of a schema and appends what is wrong with it, too great a cost among that. */
void cel_check_rule(const struct structural *s, const struct cel_rule_place *place, const struct apiextensionsv1_ValidationRule *rule, const struct field_path *at, struct field_errors *errs);
/* Appends that all rules together, those of a schema at `at`, cost too much. */
void cel_check_total_cost(const struct cel_total_cost *t, const struct field_path *at, struct field_errors *errs);
/* Compiles all rules of a schema, once, before others use it. Those that do not compile say so whenever they should be run. */
void cel_rules_compile(struct arena *a, struct structural *s, bool root);
#endif
