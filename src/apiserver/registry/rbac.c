/* Strategies of rbac.authorization.k8s.io/v1. Upstream: pkg/registry/rbac. */
#include "api/names.h"
#include "api/validation/rbac.h"
#include "apiserver/rbac/rbac.h"
#include "apiserver/registry/strategies.h"

/* Upstream's storage makes an empty list of rules nil. */
static void rules_nil(struct rbacv1_PolicyRule_list *rules) {
    if (rules->len == 0) rules->items = NULL;
}
static void role_create(struct api_request *r UNUSED, void *obj) { rules_nil(&((struct rbacv1_Role *)obj)->rules); }
static void role_update(struct api_request *r UNUSED, void *obj, const void *old UNUSED) { rules_nil(&((struct rbacv1_Role *)obj)->rules); }
static void clusterrole_create(struct api_request *r UNUSED, void *obj) { rules_nil(&((struct rbacv1_ClusterRole *)obj)->rules); }
static void clusterrole_update(struct api_request *r UNUSED, void *obj, const void *old UNUSED) { rules_nil(&((struct rbacv1_ClusterRole *)obj)->rules); }

#define RBAC_STRATEGY(res, desc, more) .flags = META_TWICE | (more), .group = "rbac.authorization.k8s.io", .version = "v1", .resource = res, .type = &desc, .validate_name = object_name_path_segment

const struct strategy role_strategy = {RBAC_STRATEGY("roles", rbacv1_Role_desc, 0), .guard = rbac_guard_role, .prepare_create = role_create, .prepare_update = role_update, .validate = validate_role,
    .validate_update = validate_role_update};
const struct strategy clusterrole_strategy = {RBAC_STRATEGY("clusterroles", rbacv1_ClusterRole_desc, 0), .guard = rbac_guard_clusterrole, .prepare_create = clusterrole_create, .prepare_update = clusterrole_update,
    .validate = validate_clusterrole, .validate_update = validate_clusterrole_update};
const struct strategy rolebinding_strategy = {RBAC_STRATEGY("rolebindings", rbacv1_RoleBinding_desc, CREATE_ON_UPDATE), .guard = rbac_guard_binding, .validate = validate_rolebinding,
    .validate_update = validate_rolebinding_update};
const struct strategy clusterrolebinding_strategy = {RBAC_STRATEGY("clusterrolebindings", rbacv1_ClusterRoleBinding_desc, CREATE_ON_UPDATE), .guard = rbac_guard_binding,
    .validate = validate_clusterrolebinding, .validate_update = validate_clusterrolebinding_update};
