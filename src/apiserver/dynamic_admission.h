/* Admission that users configure: policies in CEL and webhooks. Upstream: apiserver pkg/admission/plugin/{policy,webhook}.
 *
 * Policies and configurations come from a cache (admission/registrations.h). Tests: tests/integration/test_dynamic_admission.py. */
#ifndef CKUBE_APISERVER_DYNAMIC_ADMISSION_H
#define CKUBE_APISERVER_DYNAMIC_ADMISSION_H
#include "api/cel/policy.h"
#include "apiserver/admission.h"
#include "apiserver/admission/registrations.h"

/* What the four plugins share. An object of the group itself is never looked at: it could lock everybody out. */
bool admission_is_exempt(const struct admission_attributes *a);

struct admission_rule { const struct string_list *names, *operations, *groups, *versions, *resources; const char *scope; };
bool admission_rule_matches(const struct admission_attributes *a, const struct admission_rule *rule, bool equivalent);
/* -1: a selector that cannot be read. */
int admission_selectors_match(struct admission_attributes *a, const struct metav1_LabelSelector *namespaces, const struct metav1_LabelSelector *objects, bool *ret, struct status *reterr);

/* object, oldObject, request, namespaceObject, params, variables and authorizer as expressions have them; ends with a NULL name. params and variables NULL: null. */
enum { ADMISSION_BINDINGS = 8 };
void admission_bindings(struct admission_attributes *a, const struct cel_value *params, const struct cel_value *variables, struct cel_binding bindings[ADMISSION_BINDINGS]);
/* Whether all conditions hold. 1 yes, 0 no, -1: one could not be told (its words in *ret_error) and none says no. */
int admission_conditions_hold(struct admission_attributes *a, const struct admissionregistrationv1_MatchCondition_list *conditions, const struct cel_value *params, const char **ret_error);
/* Before a mutating plugin of users' runs: what built-in plugins have changed since it was last done is a reason to run it again. */
void admission_reinvocation_begin(struct admission_attributes *a, struct admission_reinvocation *x);
bool admission_reinvocation_skips(const struct admission_attributes *a, const struct admission_reinvocation *x, const char *name);
/* After one of its parts: whether it changed the object, and whether it asks to be run again. */
void admission_reinvocation_done(struct admission_attributes *a, struct admission_reinvocation *x, const char *name, bool changed, bool again);
/* The object as changed by a document: decoded, with defaults. */
int admission_replace_object(struct admission_attributes *a, yyjson_mut_doc *doc, struct status *reterr);
/* 'configmaps "a" is forbidden: ...' with any code and reason. */
int admission_refuse(const struct admission_attributes *a, int code, const char *reason, const char *message, struct status *reterr);
#endif
