/* The RBAC authorizer: roles and bindings in memory, indexed by subject, so that a decision costs a few hash lookups however many bindings there are.
 *
 * Fed by the store on its writer thread, before the write's own caller is told: a binding counts for the next request. Readers on every loop share a
 * lock that prefers the writer and is held for one decision. Upstream: plugin/pkg/auth/authorizer/rbac and registry/rbac/validation.
 * Tests: tests/unit/test_rbac.c, tests/integration/test_auth.py. */
#ifndef CKUBE_APISERVER_RBAC_RBAC_H
#define CKUBE_APISERVER_RBAC_RBAC_H
#include "apiserver/authorization.h"
#include "store/store.h"

struct rbac;
struct rbac *rbac_new(struct store *store, struct status *reterr); /* store NULL: empty, for tests, which use rbac_put and rbac_del */
void rbac_free(struct rbac *c);
/* One object as stored under the key, or its deletion. What cannot be decoded counts as gone. */
void rbac_put(struct rbac *c, const char *key, const char *json, size_t len);
void rbac_del(struct rbac *c, const char *key);

enum authz_decision rbac_decide(struct rbac *c, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason); /* ret_reason may be NULL */
/* All rules of the user in the namespace (NULL: cluster-wide ones only), copied; messages of what could not be resolved go to *errors. */
struct rbacv1_PolicyRule_list rbac_rules_for(struct rbac *c, struct arena *a, const struct user_info *user, const char *namespace, struct string_list *errors);
/* The rules of a role, copied; false if there is no such role. namespace NULL: a ClusterRole. */
bool rbac_role_rules(struct rbac *c, struct arena *a, const char *namespace, const char *name, struct rbacv1_PolicyRule_list *ret);

bool rbac_rule_allows(const struct rbacv1_PolicyRule *rule, const struct authz_attributes *attrs);
/* Several messages as upstream's aggregate prints them: one alone, or [a, b]; each once. */
char *aggregate_messages(struct arena *a, const struct string_list *messages);

/* ---- escalation.c: what may be granted ---- */

/* The single permissions of `wanted` that `owned` does not cover. */
struct rbacv1_PolicyRule_list rbac_uncovered(struct arena *a, const struct rbacv1_PolicyRule_list *owned, const struct rbacv1_PolicyRule_list *wanted);
/* Strategy hooks: -1 with a 403 when the writer would grant what it does not hold. old NULL at creation. */
int rbac_guard_role(struct api_request *r, const void *obj, const void *old, struct status *reterr);
int rbac_guard_clusterrole(struct api_request *r, const void *obj, const void *old, struct status *reterr);
int rbac_guard_binding(struct api_request *r, const void *obj, const void *old, struct status *reterr); /* of both kinds */
#endif
