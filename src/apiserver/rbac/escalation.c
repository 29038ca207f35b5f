/* Nobody grants by RBAC what they do not hold, unless the verbs escalate or bind, or group system:masters, let them.
 * Upstream: registry/rbac (policybased), registry/rbac/validation/rule.go and component-helpers' policy comparator. */
#include <stdlib.h>
#include <string.h>
#include "api/field_error.h"
#include "api/names.h"
#include "apiserver/apiserver.h"
#include "apiserver/rbac/rbac.h"
#include "apiserver/registry.h"
#include "base/str.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* ---- what covers what ---- */

static struct string_list one(struct arena *a, const char *s) {
    struct string_list l = {0};
    string_list_push(a, &l, s);
    return l;
}

/* A rule of one group, one resource, one verb, and at most one name. */
static void break_down(struct arena *a, const struct rbacv1_PolicyRule *rule, struct rbacv1_PolicyRule_list *ret) {
    for (size_t g = 0; g < rule->apiGroups.len; g++)
        for (size_t r = 0; r < rule->resources.len; r++)
            for (size_t v = 0; v < rule->verbs.len; v++)
                for (size_t n = 0; n < MAX(rule->resourceNames.len, (size_t)1); n++) {
                    struct rbacv1_PolicyRule *sub = LIST_PUSH(a, ret);
                    sub->apiGroups = one(a, rule->apiGroups.items[g]);
                    sub->resources = one(a, rule->resources.items[r]);
                    sub->verbs = one(a, rule->verbs.items[v]);
                    if (rule->resourceNames.len) sub->resourceNames = one(a, rule->resourceNames.items[n]);
                }
    for (size_t u = 0; u < rule->nonResourceURLs.len; u++)
        for (size_t v = 0; v < rule->verbs.len; v++) {
            struct rbacv1_PolicyRule *sub = LIST_PUSH(a, ret);
            sub->nonResourceURLs = one(a, rule->nonResourceURLs.items[u]);
            sub->verbs = one(a, rule->verbs.items[v]);
        }
}

static bool has_or_star(const struct string_list *owned, const struct string_list *wanted) {
    return string_list_has(owned, "*") || wanted->len == 0 || string_list_has(owned, wanted->items[0]);
}

static bool covers_resource(const struct string_list *owned, const struct string_list *wanted) {
    if (has_or_star(owned, wanted)) return true;
    const char *slash = strchr(wanted->items[0], '/');
    for (size_t i = 0; slash && i < owned->len; i++)
        if (owned->items[i][0] == '*' && strcmp(owned->items[i] + 1, slash) == 0) return true;
    return false;
}

static bool covers_url(const struct string_list *owned, const struct string_list *wanted) {
    if (wanted->len == 0) return true;
    for (size_t i = 0; i < owned->len; i++) {
        const char *o = owned->items[i];
        size_t len = strlen(o);
        if (strcmp(o, wanted->items[0]) == 0) return true;
        if (!len || o[len - 1] != '*') continue;
        while (len && o[len - 1] == '*') len--;
        if (strncmp(o, wanted->items[0], len) == 0) return true;
    }
    return false;
}

static bool covers(const struct rbacv1_PolicyRule *owned, const struct rbacv1_PolicyRule *wanted) {
    return has_or_star(&owned->verbs, &wanted->verbs) && has_or_star(&owned->apiGroups, &wanted->apiGroups) && covers_resource(&owned->resources, &wanted->resources) &&
           covers_url(&owned->nonResourceURLs, &wanted->nonResourceURLs) &&
           (owned->resourceNames.len == 0 || (wanted->resourceNames.len && string_list_has(&owned->resourceNames, wanted->resourceNames.items[0])));
}

struct rbacv1_PolicyRule_list rbac_uncovered(struct arena *a, const struct rbacv1_PolicyRule_list *owned, const struct rbacv1_PolicyRule_list *wanted) {
    struct rbacv1_PolicyRule_list single = {0}, missing = {0};
    for (size_t i = 0; i < wanted->len; i++) break_down(a, &wanted->items[i], &single);
    LIST_FOREACH(w, &single) {
        bool covered = false;
        for (size_t i = 0; i < owned->len && !covered; i++) covered = covers(&owned->items[i], w);
        if (!covered) *LIST_PUSH(a, &missing) = *w;
    }
    return missing;
}

/* ---- the words ---- */

static bool same_names(const struct string_list *x, const struct string_list *y) { return x->len == y->len && (!x->len || str_eq(x->items[0], y->items[0])); }

/* Rules of one group, one resource and at most one name that differ by verb become one; a verb that is there twice stays so. */
static struct rbacv1_PolicyRule_list compact(struct arena *a, const struct rbacv1_PolicyRule_list *rules) {
    struct rbacv1_PolicyRule_list out = {0};
    LIST_FOREACH(r, rules) {
        bool simple = r->nonResourceURLs.len == 0, merged = false;
        LIST_FOREACH(o, &out) {
            if (!simple || o->nonResourceURLs.len || !same_names(&o->resourceNames, &r->resourceNames) || strcmp(o->apiGroups.items[0], r->apiGroups.items[0]) != 0 || strcmp(o->resources.items[0], r->resources.items[0]) != 0) continue;
            string_list_push(a, &o->verbs, r->verbs.items[0]);
            merged = true;
            break;
        }
        if (!merged) *LIST_PUSH(a, &out) = *r;
    }
    return out;
}

static void print_list(struct arena *a, struct buf *out, const char *name, const struct string_list *l) {
    if (!l->len) return;
    buf_printf(out, "%s%s:[", out->len > 1 ? ", " : "", name);
    for (size_t i = 0; i < l->len; i++) buf_printf(out, "%s%s", i ? " " : "", go_quote(a, l->items[i]));
    buf_append_char(out, ']');
}

static const char *rule_text(struct arena *a, const struct rbacv1_PolicyRule *r) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_char(&out, '{');
    print_list(a, &out, "APIGroups", &r->apiGroups);
    print_list(a, &out, "Resources", &r->resources);
    print_list(a, &out, "NonResourceURLs", &r->nonResourceURLs);
    print_list(a, &out, "ResourceNames", &r->resourceNames);
    print_list(a, &out, "Verbs", &r->verbs);
    buf_append_char(&out, '}');
    return arena_strdup(a, out.data);
}

static int by_text(const void *x, const void *y) { return strcmp(*(const char *const *)x, *(const char *const *)y); }

static const char *escalation_text(struct api_request *r, const struct rbacv1_PolicyRule_list *missing, const struct string_list *errors) {
    struct arena *a = r->arena;
    _cleanup_buf_ struct buf out = BUF_INIT;
    struct rbacv1_PolicyRule_list rules = compact(a, missing);
    struct string_list texts = {0};
    LIST_FOREACH(rule, &rules) {
        const char *text = rule_text(a, rule);
        if (!string_list_has(&texts, text)) string_list_push(a, &texts, text);
    }
    qsort(texts.items, texts.len, sizeof(*texts.items), by_text);
    buf_printf(&out, "user %s (groups=[", go_quote(a, str_or(r->user.name, "")));
    for (size_t i = 0; i < r->user.groups.len; i++) buf_printf(&out, "%s%s", i ? " " : "", go_quote(a, r->user.groups.items[i]));
    buf_append_str(&out, "]) is attempting to grant RBAC permissions not currently held:\n");
    for (size_t i = 0; i < texts.len; i++) buf_printf(&out, "%s%s", i ? "\n" : "", texts.items[i]);
    struct string_list said = {0}; /* upstream looks roles up in the request's context: its resource is the one that is named */
    for (size_t i = 0; i < errors->len; i++) string_list_push(a, &said, arena_printf(a, "%s." RBAC_GROUP "%s", r->resource, str_or(strchr(errors->items[i], ' '), "")));
    if (said.len) buf_printf(&out, "; resolution errors: [%s]", aggregate_messages(a, &said));
    return arena_strdup(a, out.data);
}

/* ---- the checks ---- */

static struct rbac *rules_of(struct api_request *r) { return authorizer_rbac(apiserver_authorizer(r->server)); }

static const char *request_namespace(const struct api_request *r) { return r->rd && r->rd->namespaced ? r->namespace : NULL; }

/* NULL when the user holds all of it, else why not. */
static const char *not_held(struct api_request *r, const struct rbacv1_PolicyRule_list *wanted) {
    struct string_list errors = {0};
    struct rbacv1_PolicyRule_list owned = rbac_rules_for(rules_of(r), r->arena, &r->user, request_namespace(r), &errors);
    struct rbacv1_PolicyRule_list missing = rbac_uncovered(r->arena, &owned, wanted);
    return missing.len ? escalation_text(r, &missing, &errors) : NULL;
}

static bool is_master(const struct api_request *r) { return string_list_has(&r->user.groups, "system:masters"); }

static bool may(struct api_request *r, const char *verb, const char *resource, const char *name) {
    struct authz_attributes at = {.user = &r->user, .resource_request = true, .verb = verb, .namespace = request_namespace(r), .group = RBAC_GROUP, .version = "*", .resource = resource, .name = name};
    return authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, NULL) == AUTHZ_ALLOW;
}

static int forbidden(struct api_request *r, const void *obj, const char *why, struct status *reterr) {
    return status_forbidden(reterr, RBAC_GROUP, r->resource, ((const struct object *)obj)->metadata.name, why);
}

/* Owner references, finalizers and managed fields let the garbage collector do its work: they grant nothing. */
static bool only_gc_fields(struct arena *a, const struct type_desc *type, const void *obj, const void *old) {
    struct object *x = object_copy(a, type, obj);
    const struct object *o = old;
    x->metadata.ownerReferences = o->metadata.ownerReferences;
    x->metadata.finalizers = o->metadata.finalizers;
    x->metadata.managedFields = o->metadata.managedFields;
    return object_equal(type, x, old);
}

static int guard_rules(struct api_request *r, const void *obj, const struct rbacv1_PolicyRule_list *rules, struct status *reterr) {
    const char *why = not_held(r, rules);
    return why ? forbidden(r, obj, why, reterr) : 0;
}

/* Whoever writes a role must hold its rules even if these stay: a label can make others' roles gather them. */
int rbac_guard_role(struct api_request *r, const void *obj, const void *old, struct status *reterr) {
    const struct rbacv1_Role *role = obj;
    if (is_master(r) || (old && only_gc_fields(r->arena, r->strategy->type, obj, old)) || may(r, "escalate", "roles", r->name)) return 0;
    return guard_rules(r, obj, &role->rules, reterr);
}

/* An aggregation rule can gather anything: it takes all rights. */
static int guard_aggregation(struct api_request *r, const void *obj, struct status *reterr) {
    struct rbacv1_PolicyRule_list all = {0};
    struct rbacv1_PolicyRule *rule = LIST_PUSH(r->arena, &all);
    rule->verbs = rule->apiGroups = rule->resources = one(r->arena, "*");
    rule = LIST_PUSH(r->arena, &all);
    rule->verbs = rule->nonResourceURLs = one(r->arena, "*");
    return not_held(r, &all) ? forbidden(r, obj, "must have cluster-admin privileges to use the aggregationRule", reterr) : 0;
}

int rbac_guard_clusterrole(struct api_request *r, const void *obj, const void *old, struct status *reterr) {
    const struct rbacv1_ClusterRole *role = obj, *was = old;
    if (is_master(r) || (old && only_gc_fields(r->arena, r->strategy->type, obj, old)) || may(r, "escalate", "clusterroles", r->name)) return 0;
    if (guard_rules(r, obj, &role->rules, reterr) != 0) return -1;
    bool aggregates = role->aggregationRule && role->aggregationRule->clusterRoleSelectors.len, did = was && was->aggregationRule && was->aggregationRule->clusterRoleSelectors.len;
    return aggregates || did ? guard_aggregation(r, obj, reterr) : 0;
}

int rbac_guard_binding(struct api_request *r, const void *obj, const void *old, struct status *reterr) {
    const struct rbacv1_RoleBinding *b = obj;
    struct rbacv1_PolicyRule_list rules;
    const char *ns = request_namespace(r), *kind = str_or(b->roleRef.kind, ""), *name = b->roleRef.name;
    if (is_master(r) || (old && only_gc_fields(r->arena, r->strategy->type, obj, old))) return 0;
    bool cluster = strcmp(kind, "ClusterRole") == 0;
    if ((cluster || strcmp(kind, "Role") == 0) && may(r, "bind", cluster ? "clusterroles" : "roles", name)) return 0;
    if (!cluster && strcmp(kind, "Role") != 0) return status_set(reterr, 500, NULL, "unsupported role reference kind: %s", go_quote(r->arena, kind));
    struct string_list msgs = {0};
    if (str_empty(name)) return status_bad_request(reterr, "Name parameter required.");
    name_path_segment(r->arena, name, false, &msgs);
    if (msgs.len) return status_bad_request(reterr, "Name parameter invalid: %s: %s", go_quote(r->arena, name), msgs.items[0]);
    if (!rbac_role_rules(rules_of(r), r->arena, cluster ? NULL : str_or(ns, ""), name, &rules)) return status_not_found(reterr, RBAC_GROUP, r->resource, name);
    return guard_rules(r, obj, &rules, reterr);
}
