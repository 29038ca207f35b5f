#include "apiserver/authorization.h"
#include <string.h>
#include "api/field_error.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "apiserver/authorization_webhook.h"
#include "apiserver/node_authorizer.h"
#include "apiserver/rbac/rbac.h"
#include "base/str.h"

enum mode { MODE_NODE, MODE_RBAC, MODE_ALWAYS_ALLOW, MODE_ALWAYS_DENY, MODE_WEBHOOK, MODES };
static const char *const mode_names[MODES] = {"Node", "RBAC", "AlwaysAllow", "AlwaysDeny", "Webhook"};

struct authorizer {
    enum mode modes[MODES];
    size_t modes_len;
    struct rbac *rbac;
    struct node_authorizer *nodes; /* NULL without mode Node */
    struct authorization_webhook *webhook; /* NULL without mode Webhook */
};

static int add_mode(struct authorizer *z, const char *name, size_t len, struct status *reterr) {
    for (int m = 0; m < MODES; m++) {
        if (strlen(mode_names[m]) != len || strncmp(mode_names[m], name, len) != 0) continue;
        for (size_t i = 0; i < z->modes_len; i++)
            if ((int)z->modes[i] == m) return status_set(reterr, 400, REASON_BAD_REQUEST, "authorization-mode \"%.*s\" is specified more than once", (int)len, name);
        z->modes[z->modes_len++] = (enum mode)m;
        return 0;
    }
    return status_set(reterr, 400, REASON_BAD_REQUEST, "authorization-mode \"%.*s\" is not a valid mode", (int)len, name);
}

static bool has_mode(const struct authorizer *z, enum mode m) {
    for (size_t i = 0; i < z->modes_len; i++)
        if (z->modes[i] == m) return true;
    return false;
}

static int open_webhook(struct authorizer *z, const struct authorization_webhook_options *o, struct status *reterr) {
    bool configured = o && o->config_file;
    if (!has_mode(z, MODE_WEBHOOK)) return configured ? status_bad_request(reterr, "cannot specify --authorization-webhook-config-file without mode Webhook") : 0;
    if (!configured) return status_bad_request(reterr, "authorization-mode Webhook's authorization config file not passed");
    return (z->webhook = authorization_webhook_new(o, reterr)) ? 0 : -1;
}

struct authorizer *authorizer_new(const char *modes, const struct authorization_webhook_options *webhook, struct store *store, struct status *reterr) {
    struct authorizer *z = calloc(1, sizeof(*z));
    int failed = 0;
    CHECK(z);
    for (const char *p = str_or(modes, "Node,RBAC"); *p && !failed;) {
        size_t len = strcspn(p, ",");
        failed = add_mode(z, p, len, reterr);
        p += len + (p[len] == ',');
    }
    failed |= !failed && !(z->rbac = rbac_new(store, reterr));
    failed |= !failed && open_webhook(z, webhook, reterr) != 0;
    if (has_mode(z, MODE_NODE) && !failed) failed = !(z->nodes = node_authorizer_new(store, reterr));
    if (!failed) return z;
    authorizer_free(z);
    return NULL;
}

void authorizer_free(struct authorizer *z) {
    if (!z) return;
    rbac_free(z->rbac);
    node_authorizer_free(z->nodes);
    authorization_webhook_free(z->webhook);
    free(z);
}

struct rbac *authorizer_rbac(struct authorizer *z) { return z->rbac; }

bool authorizer_has_rbac_mode(const struct authorizer *z) { return has_mode(z, MODE_RBAC); }

static enum authz_decision ask(struct authorizer *z, enum mode m, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason, const char **ret_error) {
    switch (m) {
        case MODE_NODE: return node_authorizer_decide(z->nodes, a, attrs, ret_reason);
        case MODE_RBAC: return rbac_decide(z->rbac, a, attrs, ret_reason);
        case MODE_ALWAYS_ALLOW: return AUTHZ_ALLOW;
        case MODE_ALWAYS_DENY:
            if (ret_reason) *ret_reason = "Everything is forbidden.";
            return AUTHZ_NO_OPINION;
        case MODE_WEBHOOK: return authorization_webhook_decide(z->webhook, a, attrs, ret_reason, ret_error);
        default: return AUTHZ_NO_OPINION;
    }
}

enum authz_decision authorizer_decide(struct authorizer *z, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason) {
    const char *error;
    return authorizer_decide_error(z, a, attrs, ret_reason, &error);
}

enum authz_decision authorizer_decide_error(struct authorizer *z, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason, const char **ret_error) {
    struct string_list reasons = {0};
    if (ret_reason) *ret_reason = "";
    *ret_error = NULL;
    if (string_list_has(&attrs->user->groups, "system:masters")) return AUTHZ_ALLOW;
    for (size_t i = 0; i < z->modes_len; i++) {
        const char *reason = "";
        enum authz_decision d = ask(z, z->modes[i], a, attrs, ret_reason ? &reason : NULL, ret_error);
        if (d != AUTHZ_NO_OPINION) {
            if (ret_reason) *ret_reason = reason;
            return d;
        }
        if (!str_empty(reason)) string_list_push(a, &reasons, reason);
    }
    for (size_t i = 0; ret_reason && i < reasons.len; i++) *ret_reason = i ? arena_printf(a, "%s\n%s", *ret_reason, reasons.items[i]) : reasons.items[i];
    return AUTHZ_NO_OPINION;
}

void authorizer_rules(struct authorizer *z, struct arena *a, const struct user_info *user, const char *namespace, struct authorizationv1_SubjectRulesReviewStatus *status,
                      void (*add)(struct arena *, const struct rbacv1_PolicyRule *, struct authorizationv1_SubjectRulesReviewStatus *)) {
    struct string_list errors = {0};
    const char *node;
    for (size_t i = 0; i < z->modes_len; i++) {
        struct rbacv1_PolicyRule_list rules = {0};
        if (z->modes[i] == MODE_RBAC) rules = rbac_rules_for(z->rbac, a, user, namespace, &errors);
        else if (z->modes[i] == MODE_ALWAYS_ALLOW) {
            struct rbacv1_PolicyRule *all = LIST_PUSH(a, &rules);
            string_list_push(a, &all->verbs, "*");
            all->apiGroups = all->resources = all->nonResourceURLs = all->verbs;
        } else if (z->modes[i] == MODE_NODE && node_identity(user, &node)) {
            status->incomplete = true;
            string_list_push(a, &errors, "node authorizer does not support user rule resolution");
        } else if (z->modes[i] == MODE_WEBHOOK) {
            status->incomplete = true;
            string_list_push(a, &errors, "webhook authorizer does not support user rule resolution");
        }
        LIST_FOREACH(rule, &rules) add(a, rule, status);
    }
    if (errors.len) status->evaluationError = aggregate_messages(a, &errors);
}

static bool is_collection_verb(const char *verb) { return strcmp(verb, "list") == 0 || strcmp(verb, "watch") == 0 || strcmp(verb, "deletecollection") == 0; }

/* A list of the one object that a field selector names counts as a request for it. */
static void read_selector(struct api_request *r, struct authz_attributes *at) {
    struct field_selector *fs = ARENA_NEW(r->arena, struct field_selector);
    const char *text = url_query_get(&r->query, "fieldSelector");
    if (str_empty(text) || field_selector_parse(r->arena, text, fs, NULL) != 0) return;
    at->fields = fs;
    for (size_t i = 0; i < fs->len; i++) {
        const struct field_requirement *f = &fs->items[i];
        if (!f->negated && strcmp(f->field, "metadata.name") == 0 && str_empty(at->name) && !str_empty(f->value) && !strpbrk(f->value, "/%") && strcmp(f->value, ".") != 0 && strcmp(f->value, "..") != 0)
            at->name = f->value;
    }
}

struct authz_attributes request_attributes(struct api_request *r) {
    struct authz_attributes at = {.user = &r->user, .resource_request = r->is_resource, .verb = r->verb, .namespace = r->namespace, .group = r->group, .version = r->version, .resource = r->resource,
        .subresource = r->subresource, .name = r->name, .path = r->path};
    if (r->is_resource) {
        if (is_collection_verb(r->verb)) read_selector(r, &at);
        return at;
    }
    char *method = arena_strdup(r->arena, r->method);
    for (char *p = method; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p | 0x20);
    at.verb = method;
    return at;
}

int authz_forbidden(struct arena *a, const struct authz_attributes *at, const char *reason, struct status *reterr) {
    const char *user = go_quote(a, str_or(at->user->name, "")), *after = str_empty(reason) ? "" : arena_printf(a, ": %s", reason);
    if (!at->resource_request) {
        status_set(reterr, 403, REASON_FORBIDDEN, "forbidden: User %s cannot %s path %s%s", user, at->verb, go_quote(a, str_or(at->path, "")), after);
        reterr->has_details = true;
        return -1;
    }
    const char *resource = str_empty(at->subresource) ? str_or(at->resource, "") : arena_printf(a, "%s/%s", str_or(at->resource, ""), at->subresource);
    const char *scope = str_empty(at->namespace) ? "at the cluster scope" : arena_printf(a, "in the namespace %s", go_quote(a, at->namespace));
    return status_forbidden(reterr, at->group, at->resource, at->name,
                            arena_printf(a, "User %s cannot %s resource %s in API group %s %s%s", user, str_or(at->verb, ""), go_quote(a, resource), go_quote(a, str_or(at->group, "")), scope, after));
}

int authorize(struct api_request *r, struct status *reterr) {
    struct authorizer *z = apiserver_authorizer(r->server);
    struct authz_attributes at = request_attributes(r);
    const char *reason = "", *error = NULL;
    enum authz_decision d = authorizer_decide_error(z, r->arena, &at, r->audit || z->webhook ? &reason : NULL, &error); /* the common case builds no words */
    if (d != AUTHZ_ALLOW && !z->webhook) authorizer_decide(z, r->arena, &at, &reason);
    if (r->audit && (d == AUTHZ_ALLOW || !error)) audit_decided(r, d == AUTHZ_ALLOW, reason);
    if (d == AUTHZ_ALLOW) return 0;
    if (!error) return authz_forbidden(r->arena, &at, reason, reterr);
    audit_annotate(r, "authorization.k8s.io/reason", "internal error");
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "Internal Server Error: %s: %s", go_quote(r->arena, *r->http->query ? arena_printf(r->arena, "%s?%s", r->path, r->http->query) : r->path), error);
}

int authorize_create(struct api_request *r, struct status *reterr) {
    struct authz_attributes at = request_attributes(r);
    const char *reason;
    at.verb = "create";
    if (authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, &reason) == AUTHZ_ALLOW) return 0;
    return authz_forbidden(r->arena, &at, reason, reterr);
}
