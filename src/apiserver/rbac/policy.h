/* The roles and bindings that every cluster has. Upstream: plugin/pkg/auth/authorizer/rbac/bootstrappolicy and the hook rbac/bootstrap-roles. */
#ifndef CKUBE_APISERVER_RBAC_POLICY_H
#define CKUBE_APISERVER_RBAC_POLICY_H
#include <stddef.h>
#include "api/object.h"
#include "base/status.h"

/* rules: a line each, "VERBS|GROUPS|RESOURCES" or "VERBS|GROUPS|RESOURCES|NAMES" or "VERBS|URLS", items parted by commas (an empty group is core). */
struct policy_role {
    const char *namespace;  /* NULL: a ClusterRole */
    const char *name;
    const char *to;         /* label: its rules aggregate to "admin", "edit" or "view" */
    const char *from;       /* aggregation rule: its rules are those of roles labelled for this */
    const char *rules;
};
/* subjects: parted by spaces, "U:user", "G:group", "S:namespace/serviceaccount". */
struct policy_binding {
    const char *namespace;
    const char *name, *kind, *role; /* role NULL: of the binding's own name */
    const char *subjects;
};
extern const struct policy_role policy_roles[];
extern const size_t policy_roles_len;
extern const struct policy_binding policy_bindings[];
extern const size_t policy_bindings_len;

/* A role's rules as objects. */
struct rbacv1_PolicyRule_list policy_rules(struct arena *a, const char *rules);

struct apiserver;
/* Writes what is missing and adds what a default role or binding has lost; leaves alone those whose autoupdate annotation is "false". Once, at start. */
int policy_reconcile(struct apiserver *s, struct status *reterr);
#endif
