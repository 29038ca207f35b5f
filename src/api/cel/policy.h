/* Expressions of admission policies and of webhooks' match conditions: what they may use, and whether they compile. Upstream: apiserver pkg/admission/plugin/cel. */
#ifndef CKUBE_API_CEL_POLICY_H
#define CKUBE_API_CEL_POLICY_H
#include "api/cel/cel.h"

/* object, oldObject, request, namespaceObject, params, variables, authorizer; Object and JSONPatch may be made. */
extern const struct cel_env cel_policy_env;
extern const struct cel_env cel_message_env; /* of messageExpressions: without authorizer */
/* Appends what is wrong with an expression that should give a value of a kind (CEL_DYN: any). */
void cel_check_expression(const char *text, enum cel_kind want, const struct field_path *at, struct field_errors *errs);
void cel_check_message_expression(const char *text, const struct field_path *at, struct field_errors *errs);
#endif
