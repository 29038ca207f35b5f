/* Audit policies: which requests are logged, and how much of them. Upstream: apiserver/pkg/audit/policy. */
#include <string.h>
#include "apiserver/audit.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/yaml.h"

struct group_resources { const char *group; struct string_list resources, names; };
struct rule {
    enum audit_level level;
    struct string_list users, groups, verbs, namespaces, urls;
    struct { struct group_resources *items; size_t len; } resources;
    unsigned omit_stages;
    int omit_managed_fields; /* -1: as the policy says */
};
struct audit_policy {
    struct arena *arena;
    struct { struct rule *items; size_t len; } rules;
    unsigned omit_stages;
    bool omit_managed_fields;
};

static const char *const levels[] = {"None", "Metadata", "Request", "RequestResponse"}, *const stages[] = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"};

static int index_of(const char *s, const char *const *set, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (str_eq(s, set[i])) return (int)i;
    return -1;
}

static struct string_list strings(struct arena *a, yyjson_val *object, const char *name) {
    struct string_list l = {0};
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(yyjson_obj_get(object, name), i, max, item) if (yyjson_is_str(item)) string_list_push(a, &l, arena_strdup(a, yyjson_get_str(item)));
    return l;
}

static int read_stages(struct arena *a, yyjson_val *object, unsigned *ret, struct status *reterr) {
    struct string_list names = strings(a, object, "omitStages");
    for (size_t i = 0; i < names.len; i++) {
        int at = index_of(names.items[i], stages, ARRAY_LEN(stages));
        if (at < 0) return status_bad_request(reterr, "omitStages: Invalid value: \"%s\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic", names.items[i]);
        *ret |= 1u << at;
    }
    return 0;
}

static int read_rule(struct audit_policy *p, yyjson_val *v, struct status *reterr) {
    struct arena *a = p->arena;
    struct rule *rule = LIST_PUSH(a, &p->rules);
    const char *level = yyjson_get_str(yyjson_obj_get(v, "level"));
    int at = index_of(level, levels, ARRAY_LEN(levels));
    size_t i, max;
    yyjson_val *item, *omit = yyjson_obj_get(v, "omitManagedFields");
    if (at < 0) return status_bad_request(reterr, "rules[%zu].level: Unsupported value: \"%s\": supported values: \"Metadata\", \"None\", \"Request\", \"RequestResponse\"", p->rules.len - 1, str_or(level, ""));
    *rule = (struct rule){.level = (enum audit_level)at, .users = strings(a, v, "users"), .groups = strings(a, v, "userGroups"), .verbs = strings(a, v, "verbs"), .namespaces = strings(a, v, "namespaces"),
        .urls = strings(a, v, "nonResourceURLs"), .omit_stages = p->omit_stages, .omit_managed_fields = yyjson_is_bool(omit) ? yyjson_get_bool(omit) : -1};
    yyjson_arr_foreach(yyjson_obj_get(v, "resources"), i, max, item) {
        struct group_resources *gr = LIST_PUSH(a, &rule->resources);
        *gr = (struct group_resources){.group = arena_strdup(a, str_or(yyjson_get_str(yyjson_obj_get(item, "group")), "")), .resources = strings(a, item, "resources"), .names = strings(a, item, "resourceNames")};
    }
    if (rule->urls.len && (rule->resources.len || rule->namespaces.len)) return status_bad_request(reterr, "rules[%zu].nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs", p->rules.len - 1);
    return read_stages(a, v, &rule->omit_stages, reterr);
}

static int read_policy(struct audit_policy *p, yyjson_val *root, struct status *reterr) {
    const char *version = yyjson_get_str(yyjson_obj_get(root, "apiVersion")), *kind = yyjson_get_str(yyjson_obj_get(root, "kind"));
    size_t i, max;
    yyjson_val *item;
    if (!str_eq(version, "audit.k8s.io/v1") || !str_eq(kind, "Policy")) return status_bad_request(reterr, "no kind \"%s\" is registered for version \"%s\"", str_or(kind, ""), str_or(version, ""));
    p->omit_managed_fields = yyjson_get_bool(yyjson_obj_get(root, "omitManagedFields"));
    if (read_stages(p->arena, root, &p->omit_stages, reterr) != 0) return -1;
    yyjson_arr_foreach(yyjson_obj_get(root, "rules"), i, max, item) if (read_rule(p, item, reterr) != 0) return -1;
    return p->rules.len ? 0 : status_bad_request(reterr, "loaded illegal policy with 0 rules");
}

struct audit_policy *audit_policy_parse(const char *text, size_t len, struct status *reterr) {
    struct audit_policy *p = calloc(1, sizeof(*p));
    _cleanup_buf_ struct buf json = BUF_INIT;
    CHECK(p);
    p->arena = arena_new();
    yyjson_doc *doc = yaml_to_json(text, len, &json, NULL, reterr) == 0 ? json_parse_in(p->arena, json.data, json.len, 0, reterr) : NULL;
    if (doc && read_policy(p, yyjson_doc_get_root(doc), reterr) == 0) return p;
    audit_policy_free(p);
    return NULL;
}

void audit_policy_free(struct audit_policy *p) {
    if (!p) return;
    arena_free(p->arena);
    free(p);
}

/* ---- deciding ---- */

static bool has(const struct string_list *l, const char *s) { return string_list_has(l, str_or(s, "")); }

static bool resource_matches(const struct group_resources *gr, const struct authz_attributes *at) {
    const char *resource = str_or(at->resource, ""), *sub = str_or(at->subresource, "");
    size_t len = strlen(resource);
    if (!str_eq(gr->group, at->group)) return false;
    if (!gr->resources.len) return true;
    if (gr->names.len && !has(&gr->names, at->name)) return false;
    for (size_t i = 0; i < gr->resources.len; i++) {
        const char *want = gr->resources.items[i];
        if (strcmp(want, "*") == 0) return true;
        if (*sub && want[0] == '*' && want[1] == '/' && strcmp(want + 2, sub) == 0) return true;
        if (strncmp(want, resource, len) != 0) continue;
        if (strcmp(want + len, "/*") == 0 || (!*sub && !want[len]) || (*sub && want[len] == '/' && strcmp(want + len + 1, sub) == 0)) return true;
    }
    return false;
}

static bool url_matches(const struct string_list *urls, const char *path) {
    for (size_t i = 0; i < urls->len; i++) {
        const char *u = urls->items[i];
        size_t len = strlen(u);
        if (strcmp(u, "*") == 0 || strcmp(u, path) == 0 || (len && u[len - 1] == '*' && strncmp(u, path, len - 1) == 0)) return true;
    }
    return false;
}

static bool matches(const struct rule *rule, const struct authz_attributes *at) {
    bool in_group = !rule->groups.len;
    for (size_t i = 0; i < at->user->groups.len && !in_group; i++) in_group = has(&rule->groups, at->user->groups.items[i]);
    if (!in_group || (rule->users.len && !has(&rule->users, at->user->name)) || (rule->verbs.len && !has(&rule->verbs, at->verb))) return false;
    if (rule->namespaces.len || rule->resources.len) {
        if (!at->resource_request || (rule->namespaces.len && !has(&rule->namespaces, at->namespace))) return false;
        if (!rule->resources.len) return true;
        for (size_t i = 0; i < rule->resources.len; i++)
            if (resource_matches(&rule->resources.items[i], at)) return true;
        return false;
    }
    return !rule->urls.len || (!at->resource_request && url_matches(&rule->urls, str_or(at->path, "")));
}

struct audit_decision audit_policy_decide(const struct audit_policy *p, const struct authz_attributes *at) {
    for (size_t i = 0; i < p->rules.len; i++) {
        const struct rule *rule = &p->rules.items[i];
        if (matches(rule, at)) return (struct audit_decision){rule->level, rule->omit_stages, rule->omit_managed_fields < 0 ? p->omit_managed_fields : rule->omit_managed_fields > 0};
    }
    return (struct audit_decision){.level = AUDIT_NONE};
}
