/* Admission that users configure: policies in CEL and webhooks. Upstream: apiserver pkg/admission/plugin/{policy,webhook}.
 *
 * Policies and configurations are read from the store with each write that they could concern, so that what was stored counts at once; a server without any pays for some
 * empty range reads. Tests: tests/integration/test_dynamic_admission.py. */
#ifndef CKUBE_APISERVER_DYNAMIC_ADMISSION_H
#define CKUBE_APISERVER_DYNAMIC_ADMISSION_H
#include "api/cel/policy.h"
#include "apiserver/admission.h"

/* After the built-in mutating plugins: MutatingAdmissionPolicies, then mutating webhooks. obj may be changed. */
int dynamic_admission_mutate(struct api_request *r, const struct strategy *st, enum admission_operation op, void *obj, const void *old, const struct write_options *o, struct status *reterr);
/* After the object's own validation: ValidatingAdmissionPolicies, then validating webhooks. */
int dynamic_admission_validate(struct api_request *r, const struct strategy *st, enum admission_operation op, const void *obj, const void *old, const struct write_options *o, struct status *reterr);

/* ---- shared by its parts ---- */

/* One write, as policies and webhooks see it. Documents are made when they are first asked for. */
struct admission_attributes {
    struct api_request *r;
    const struct strategy *st;
    enum admission_operation op;
    void *obj;                        /* NULL for a DELETE */
    const void *old;                  /* NULL for a CREATE */
    const struct write_options *o;
    const char *name, *namespace, *operation;
    yyjson_val *object, *old_object;
    const struct corev1_Namespace *ns; /* NULL: none, or cluster-scoped */
    bool ns_known;
};
void admission_attributes_init(struct admission_attributes *a, struct api_request *r, const struct strategy *st, enum admission_operation op, void *obj, const void *old, const struct write_options *o);
yyjson_val *admission_object(struct admission_attributes *a);      /* NULL if there is none */
yyjson_val *admission_old_object(struct admission_attributes *a);
void admission_object_changed(struct admission_attributes *a);
const struct corev1_Namespace *admission_namespace(struct admission_attributes *a);
/* An object of these resources is never looked at: it could lock everybody out. */
bool admission_is_exempt(const struct admission_attributes *a);

struct admission_rule { const struct string_list *names, *operations, *groups, *versions, *resources; const char *scope; };
bool admission_rule_matches(const struct admission_attributes *a, const struct admission_rule *rule, bool equivalent);
/* -1: a selector that cannot be read. */
int admission_selectors_match(struct admission_attributes *a, const struct metav1_LabelSelector *namespaces, const struct metav1_LabelSelector *objects, bool *ret, struct status *reterr);

/* object, oldObject, request, namespaceObject, params and variables as expressions have them; ends with a NULL name. params and variables NULL: null. */
enum { ADMISSION_BINDINGS = 7 };
void admission_bindings(struct admission_attributes *a, const struct cel_value *params, const struct cel_value *variables, struct cel_binding bindings[ADMISSION_BINDINGS]);
/* Whether all conditions hold. 1 yes, 0 no, -1: one could not be told (its words in *ret_error) and none says no. */
int admission_conditions_hold(struct admission_attributes *a, const struct admissionregistrationv1_MatchCondition_list *conditions, const struct cel_value *params, const char **ret_error);
/* The object as changed by a document: decoded, with defaults. */
int admission_replace_object(struct admission_attributes *a, yyjson_mut_doc *doc, struct status *reterr);
/* 'configmaps "a" is forbidden: ...' with any code and reason. */
int admission_refuse(const struct admission_attributes *a, int code, const char *reason, const char *message, struct status *reterr);
/* All objects below a prefix, decoded, by name. */
struct admission_objects { void **items; size_t len; };
struct admission_objects admission_read_all(struct api_request *r, const char *group, const char *resource);

/* admission_policy.c, admission_webhook.c */
int mutating_policies(struct admission_attributes *a, struct status *reterr);
int validating_policies(struct admission_attributes *a, struct status *reterr);
int mutating_webhooks(struct admission_attributes *a, struct status *reterr);
int validating_webhooks(struct admission_attributes *a, struct status *reterr);
#endif
