#include "api/validation/rbac.h"
#include "api/names.h"
#include "api/selector.h"
#include "api/validation/meta.h"
#include "base/str.h"
#include "wire/json.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* ---- roles ---- */

static const char *list_text(struct arena *a, const struct string_list *l) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < l->len; i++) {
        buf_append_char(&out, i ? ',' : '[');
        json_write_string(&out, l->items[i]);
    }
    buf_append_char(&out, ']');
    return arena_strdup(a, out.data);
}

static void validate_rule(const struct rbacv1_PolicyRule *r, bool namespaced, const struct field_path *at, struct field_errors *errs) {
    if (!r->verbs.len) field_required(errs, FIELD(at, "verbs"), "verbs must contain at least one value");
    if (r->nonResourceURLs.len) {
        const char *urls = list_text(errs->arena, &r->nonResourceURLs);
        if (namespaced) field_invalid_raw(errs, FIELD(at, "nonResourceURLs"), urls, "namespaced rules cannot apply to non-resource URLs");
        if (r->apiGroups.len || r->resources.len || r->resourceNames.len)
            field_invalid_raw(errs, FIELD(at, "nonResourceURLs"), urls, "rules cannot apply to both regular resources and non-resource URLs");
        return;
    }
    if (!r->apiGroups.len) field_required(errs, FIELD(at, "apiGroups"), "resource rules must supply at least one api group");
    if (!r->resources.len) field_required(errs, FIELD(at, "resources"), "resource rules must supply at least one resource");
}

static void validate_rules(const struct rbacv1_PolicyRule_list *rules, bool namespaced, struct field_errors *errs) {
    for (size_t i = 0; i < rules->len; i++) validate_rule(&rules->items[i], namespaced, FIELD_INDEX(FIELD(NULL, "rules"), i), errs);
}

void validate_role(const void *obj, struct field_errors *errs) { validate_rules(&((const struct rbacv1_Role *)obj)->rules, true, errs); }
void validate_role_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { validate_role(obj, errs); }

void validate_clusterrole(const void *obj, struct field_errors *errs) {
    const struct rbacv1_ClusterRole *role = obj;
    const struct field_path *at = FIELD(FIELD(NULL, "aggregationRule"), "clusterRoleSelectors");
    validate_rules(&role->rules, false, errs);
    if (!role->aggregationRule) return;
    const struct metav1_LabelSelector_list *l = &role->aggregationRule->clusterRoleSelectors;
    if (!l->len) field_required(errs, at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    for (size_t i = 0; i < l->len; i++) {
        struct selector s;
        size_t before = errs->len;
        validate_label_selector(&l->items[i], FIELD_INDEX(at, i), errs);
        if (errs->len > before || label_selector_from(errs->arena, &l->items[i], &s, NULL) != 0) field_invalid_raw(errs, FIELD_INDEX(at, i), "null", "invalid label selector.");
    }
}
void validate_clusterrole_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { validate_clusterrole(obj, errs); }

/* ---- bindings ---- */

static void validate_subject(const struct rbacv1_Subject *s, bool namespaced, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(s->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    if (str_eq(s->kind, "ServiceAccount")) {
        struct string_list msgs = {0};
        if (!str_empty(s->name)) object_name_dns_subdomain(errs->arena, s->name, false, &msgs);
        field_invalid_each(errs, FIELD(at, "name"), s->name, &msgs);
        if (!str_empty(s->apiGroup)) field_not_supported(errs, FIELD(at, "apiGroup"), s->apiGroup, (const char *const[]){"", NULL});
        if (!namespaced && str_empty(s->namespace)) field_required(errs, FIELD(at, "namespace"), "%s", "");
    } else if (str_eq(s->kind, "User") || str_eq(s->kind, "Group")) {
        if (!str_eq(s->apiGroup, RBAC_GROUP)) field_not_supported(errs, FIELD(at, "apiGroup"), str_or(s->apiGroup, ""), (const char *const[]){RBAC_GROUP, NULL});
    } else field_not_supported(errs, FIELD(at, "kind"), str_or(s->kind, ""), (const char *const[]){"ServiceAccount", "User", "Group", NULL});
}

/* Both kinds have the same form; `kinds` are the roles that may be bound. */
static void validate_binding(const struct rbacv1_RoleBinding *b, bool namespaced, const char *const *kinds, struct field_errors *errs) {
    const struct field_path *ref = FIELD(NULL, "roleRef");
    if (!str_eq(b->roleRef.apiGroup, RBAC_GROUP)) field_not_supported(errs, FIELD(ref, "apiGroup"), str_or(b->roleRef.apiGroup, ""), (const char *const[]){RBAC_GROUP, NULL});
    if (!str_in(str_or(b->roleRef.kind, ""), kinds)) field_not_supported(errs, FIELD(ref, "kind"), str_or(b->roleRef.kind, ""), kinds);
    if (str_empty(b->roleRef.name)) field_required(errs, FIELD(ref, "name"), "%s", "");
    else {
        struct string_list msgs = {0};
        object_name_path_segment(errs->arena, b->roleRef.name, false, &msgs);
        field_invalid_each(errs, FIELD(ref, "name"), b->roleRef.name, &msgs);
    }
    for (size_t i = 0; i < b->subjects.len; i++) validate_subject(&b->subjects.items[i], namespaced, FIELD_INDEX(FIELD(NULL, "subjects"), i), errs);
}

static void validate_same_role(const struct rbacv1_RoleRef *ref, const struct rbacv1_RoleRef *old, struct field_errors *errs) {
    if (object_equal(&rbacv1_RoleRef_desc, ref, old)) return;
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_str(&out, "{\"APIGroup\":");
    json_write_string(&out, ref->apiGroup);
    buf_append_str(&out, ",\"Kind\":");
    json_write_string(&out, ref->kind);
    buf_append_str(&out, ",\"Name\":");
    json_write_string(&out, ref->name);
    buf_append_char(&out, '}');
    field_invalid_raw(errs, FIELD(NULL, "roleRef"), arena_strdup(errs->arena, out.data), "cannot change roleRef");
}

void validate_rolebinding(const void *obj, struct field_errors *errs) { validate_binding(obj, true, (const char *const[]){"Role", "ClusterRole", NULL}, errs); }
void validate_rolebinding_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_rolebinding(obj, errs);
    validate_same_role(&((const struct rbacv1_RoleBinding *)obj)->roleRef, &((const struct rbacv1_RoleBinding *)old)->roleRef, errs);
}

void validate_clusterrolebinding(const void *obj, struct field_errors *errs) { validate_binding(obj, false, (const char *const[]){"ClusterRole", NULL}, errs); }
void validate_clusterrolebinding_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_clusterrolebinding(obj, errs);
    validate_same_role(&((const struct rbacv1_ClusterRoleBinding *)obj)->roleRef, &((const struct rbacv1_ClusterRoleBinding *)old)->roleRef, errs);
}
