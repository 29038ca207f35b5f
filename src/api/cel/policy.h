/* Expressions of admission policies and of webhooks' match conditions: what they may use, and whether they compile. Upstream: apiserver pkg/admission/plugin/cel. */
#ifndef CKUBE_API_CEL_POLICY_H
#define CKUBE_API_CEL_POLICY_H
#include "api/cel/cel.h"

/* For running them: object, oldObject, request, namespaceObject, params, variables, authorizer, of any type; Object and JSONPatch may be made. */
extern const struct cel_env cel_policy_env;
extern const struct cel_env cel_message_env; /* of messageExpressions: without authorizer */

/* What the expressions of one policy may use besides what all may; zeroed for a webhook. */
struct cel_policy_variables { struct cel_variable *items; size_t len; };
struct cel_policy_scope {
    bool params;                           /* params: there is a paramKind */
    bool composed;                         /* variables: the policy has some, or is one that mutates */
    struct cel_policy_variables variables; /* those declared so far */
};

/* Each appends what is wrong with an expression, which is checked against the types that are known. Conditions see no variables, messages no authorizer. */
void cel_check_condition(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs);
void cel_check_validation(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs);
void cel_check_message_expression(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs);
void cel_check_annotation(const char *text, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs);
/* Those after it may use it by its name, with its type. */
void cel_check_variable(const char *name, const char *text, struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs);
/* An Object, or a list of JSONPatches. */
void cel_check_mutation(const char *text, bool json_patch, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs);
#endif
