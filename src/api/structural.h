/* Schemas that arrive at run time: a CustomResourceDefinition's openAPIV3Schema as a tree that can be walked beside a document. Upstream: apiextensions-apiserver
 * pkg/apiserver/schema and kube-openapi's validation.
 *
 * A schema lives in its arena, never changes once it is made and may be used by any thread. Documents are yyjson values with plain numbers. */
#ifndef CKUBE_API_STRUCTURAL_H
#define CKUBE_API_STRUCTURAL_H
#include <yyjson.h>
#include "api/field_error.h"
#include "api/object.h"

struct structural;
struct regex;
struct cel_rules;
struct structural_list { struct structural **items; size_t len; };
struct structural {
    const struct apiextensionsv1_JSONSchemaProps *props;   /* as declared: numbers, strings and marks are read from here */
    struct structural *items, *additional, *not_;          /* additional: additionalProperties given as a schema */
    struct structural_list items_list;                     /* items given as an array: never structural */
    struct structural_list all_of, any_of, one_of;
    struct { const char **names; struct structural **items; size_t len; } properties; /* sorted by name */
    bool has_items, has_additional, additional_allowed;    /* has_additional: a bool or a schema was given */
    bool preserve, embedded, int_or_string, nullable;
    enum list_type list_type;
    bool map_atomic;
    yyjson_val *default_;                                  /* NULL: none (null counts as none) */
    struct { yyjson_val **items; size_t len; } enums;
    struct regex *pattern;                                 /* NULL: none, or it does not compile */
    const char *format;                                    /* NULL: none that is known for the type */
    struct cel_rules *rules;                               /* x-kubernetes-validations, compiled; NULL: none */
    bool has_rules;                                        /* here or anywhere below */
};

/* -1: items, additionalProperties and the like have neither of the forms they may have. */
int structural_new(struct arena *a, const struct apiextensionsv1_JSONSchemaProps *props, struct structural **ret, struct status *reterr);
/* What of the schema cannot be said structurally at all, as upstream's NewStructural words it; NULL: nothing. */
const char *structural_unsupported(const struct structural *s);
const struct structural *structural_property(const struct structural *s, const char *name); /* s NULL or no such property: NULL */
/* The schema of a member: its property's, or that of additionalProperties; NULL if neither. */
const struct structural *structural_member(const struct structural *s, const char *name);

/* ---- documents ---- */

/* Removes what the schema does not name; the paths removed go to *unknown (NULL: not wanted), sorted. `root`: kind, apiVersion and metadata stay. */
void structural_prune(struct arena *a, const struct structural *s, yyjson_mut_val *x, bool root, struct string_list *unknown);
void structural_prune_nulls(const struct structural *s, yyjson_mut_val *x);  /* nulls of fields that are not nullable and have no default */
void structural_default(yyjson_mut_doc *doc, const struct structural *s, yyjson_mut_val *x);
/* Embedded resources: their metadata loses what is no metadata (into *unknown), -1 when it is none. */
int structural_coerce(struct arena *a, yyjson_mut_doc *doc, const struct structural *s, yyjson_mut_val *x, bool root, struct string_list *unknown, struct status *reterr);

/* Values against the schema. `at` NULL: errors without a field are at <nil>. `old` (NULL: none) lets pass what was wrong before and has not changed. */
void structural_validate(const struct structural *s, yyjson_val *x, yyjson_val *old, const struct field_path *at, struct field_errors *errs);
/* A default against the schema as it is declared: what is known of formats and of numbers that may be strings does not count there. Upstream: ToKubeOpenAPI. */
void structural_validate_default(const struct structural *s, yyjson_val *x, const struct field_path *at, struct field_errors *errs);
/* x-kubernetes-validations, over a whole object: api/cel/rules.c. old NULL: there is none. What is not met and was not before, where nothing changed, goes to `passed` (NULL: not wanted). */
void structural_validate_rules(const struct structural *s, yyjson_val *x, yyjson_val *old, const struct field_path *at, struct field_errors *errs, struct field_errors *passed);
void structural_validate_embedded(const struct structural *s, yyjson_val *x, bool root, const struct field_path *at, struct field_errors *errs);
void structural_validate_lists(const struct structural *s, yyjson_val *x, const struct field_path *at, struct field_errors *errs); /* sets and maps have no duplicates */

bool json_equal(yyjson_val *a, yyjson_val *b);                     /* numbers by value, objects in any order */
void json_write_sorted(struct buf *out, yyjson_mut_val *v);        /* keys sorted, of equal ones the last: one text a value */
const char *json_text(struct arena *a, yyjson_val *v);             /* as Go prints it in an error */

/* Go's regular expressions, or near enough. */
struct regex *regex_compile(struct arena *a, const char *pattern, const char **ret_error); /* freed with the arena */
/* Go's error for a pattern that is none: "missing closing ): `(a`". NULL: it is well-formed as far as that goes. */
const char *regex_syntax_error(struct arena *a, const char *pattern);
bool regex_matches(const struct regex *r, const char *s, size_t len);
/* Whether a string has the format; unknown formats are met by all. Upstream: go-openapi strfmt. */
bool format_known(const char *format);
bool format_matches(const char *format, const char *s);
#endif
