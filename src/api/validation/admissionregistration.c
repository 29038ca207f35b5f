/* admissionregistration.k8s.io. Upstream: pkg/apis/admissionregistration/validation.
 * Policies that mutate are validated in the version they are stored in, v1beta1; its types mirror v1's. */
#include <string.h>
#include "api/cel/policy.h"
#include "api/convert.h"
#include "api/validation/groups.h"
#include "wire/url.h"

enum { CONDITIONS_MAX = 64, AUDIT_ANNOTATIONS_MAX = 20, AUDIT_EXPRESSION_MAX = 5 << 10 };

static bool wildcard(const struct string_list *list) { return string_list_has(list, "*"); }

static bool blank(const char *s) { return !s || s[strspn(s, " \t\r\n\v\f")] == 0; }

/* ---- rules ---- */

static void rule_resources(const struct string_list *list, const struct field_path *at, struct field_errors *errs) {
    struct string_list whole_subs = {0}, whole_resources = {0};
    bool two_stars = false, star = false, plain = false;
    if (!list->len) field_required(errs, at, "%s", "");
    for (size_t i = 0; i < list->len; i++) {
        const char *text = str_or(list->items[i], ""), *slash = strchr(text, '/');
        if (!*text) {
            field_required(errs, FIELD_INDEX(at, i), "%s", "");
            continue;
        }
        two_stars |= str_eq(text, "*/*");
        star |= str_eq(text, "*");
        if (!slash) {
            plain = !str_eq(text, "*");
            continue;
        }
        const char *resource = arena_strndup(errs->arena, text, (size_t)(slash - text)), *sub = slash + 1;
        if (string_list_has(&whole_subs, resource)) field_invalid(errs, FIELD_INDEX(at, i), text, "if '%s/*' is present, must not specify %s", resource, text);
        if (string_list_has(&whole_resources, sub)) field_invalid(errs, FIELD_INDEX(at, i), text, "if '*/%s' is present, must not specify %s", sub, text);
        if (str_eq(sub, "*")) string_list_push(errs->arena, &whole_subs, resource);
        if (str_eq(resource, "*")) string_list_push(errs->arena, &whole_resources, sub);
    }
    if (list->len > 1 && two_stars) field_invalid_raw(errs, at, text_of_list(errs->arena, list), "if '*/*' is present, must not specify other resources");
    if (star && plain) field_invalid_raw(errs, at, text_of_list(errs->arena, list), "if '*' is present, must not specify other resources without subresources");
}

static void rule(const struct admissionregistrationv1_RuleWithOperations *r, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *operations = FIELD(at, "operations"), *groups = FIELD(at, "apiGroups"), *versions = FIELD(at, "apiVersions");
    if (!r->operations.len) field_required(errs, operations, "%s", "");
    if (r->operations.len > 1 && wildcard(&r->operations)) field_invalid_raw(errs, operations, text_of_list(errs->arena, &r->operations), "if '*' is present, must not specify other operations");
    for (size_t i = 0; i < r->operations.len; i++) check_supported(errs, FIELD_INDEX(operations, i), r->operations.items[i], ONE_OF("*", "CONNECT", "CREATE", "DELETE", "UPDATE"));
    if (!r->apiGroups.len) field_required(errs, groups, "%s", "");
    if (r->apiGroups.len > 1 && wildcard(&r->apiGroups)) field_invalid_raw(errs, groups, text_of_list(errs->arena, &r->apiGroups), "if '*' is present, must not specify other API groups");
    if (!r->apiVersions.len) field_required(errs, versions, "%s", "");
    if (r->apiVersions.len > 1 && wildcard(&r->apiVersions)) field_invalid_raw(errs, versions, text_of_list(errs->arena, &r->apiVersions), "if '*' is present, must not specify other API versions");
    for (size_t i = 0; i < r->apiVersions.len; i++)
        if (str_empty(r->apiVersions.items[i])) field_required(errs, FIELD_INDEX(versions, i), "%s", "");
    rule_resources(&r->resources, FIELD(at, "resources"), errs);
    if (r->scope) check_supported(errs, FIELD(at, "scope"), r->scope, ONE_OF("*", "Cluster", "Namespaced"));
}

static void named_rules(const struct admissionregistrationv1_NamedRuleWithOperations_list *rules, const struct field_path *all, struct field_errors *errs) {
    for (size_t i = 0; i < rules->len; i++) {
        const struct admissionregistrationv1_NamedRuleWithOperations *r = &rules->items[i];
        const struct field_path *at = FIELD_INDEX(all, i), *names = FIELD(at, "resourceNames");
        struct string_list seen = {0};
        for (size_t j = 0; j < r->resourceNames.len; j++) {
            check_path_segment(errs, FIELD_INDEX(names, j), r->resourceNames.items[j]);
            check_duplicate(errs, FIELD_INDEX(names, j), &seen, r->resourceNames.items[j]);
        }
        rule(&r->RuleWithOperations, at, errs);
    }
}

static void selector(const struct metav1_LabelSelector *s, const struct field_path *at, struct field_errors *errs) {
    if (!s) field_required(errs, at, "%s", "");
    else validate_label_selector(s, at, errs);
}

static void match_resources(const struct admissionregistrationv1_MatchResources *m, const struct field_path *at, struct field_errors *errs) {
    if (!m) return;
    if (!m->matchPolicy) field_required(errs, FIELD(at, "matchPolicy"), "%s", "");
    else check_supported(errs, FIELD(at, "matchPolicy"), m->matchPolicy, ONE_OF("Equivalent", "Exact"));
    selector(m->namespaceSelector, FIELD(at, "namespaceSelector"), errs);
    selector(m->objectSelector, FIELD(at, "objectSelector"), errs);
    named_rules(&m->resourceRules, FIELD(at, "resourceRules"), errs);
    named_rules(&m->excludeResourceRules, FIELD(at, "excludeResourceRules"), errs);
}

static void match_conditions(const struct admissionregistrationv1_MatchCondition_list *list, const struct field_path *all, struct field_errors *errs) {
    struct string_list names = {0};
    if (list->len > CONDITIONS_MAX) field_too_many(errs, all, (int64_t)list->len, CONDITIONS_MAX);
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(all, i);
        if (blank(list->items[i].expression)) field_required(errs, FIELD(at, "expression"), "%s", "");
        else cel_check_expression(list->items[i].expression, CEL_BOOL, FIELD(at, "expression"), errs);
        if (str_empty(list->items[i].name)) field_required(errs, FIELD(at, "name"), "%s", "");
        else {
            CHECK_NAME(errs, FIELD(at, "name"), list->items[i].name, name_qualified);
            check_duplicate(errs, FIELD(at, "name"), &names, list->items[i].name);
        }
    }
}

/* ---- webhooks ---- */

/* IsFullyQualifiedName */
static void fully_qualified(const char *name, const struct field_path *at, struct field_errors *errs) {
    size_t dots = 0;
    if (str_empty(name)) {
        field_required(errs, at, "%s", "");
        return;
    }
    struct string_list msgs = {0};
    name_dns1123_subdomain(errs->arena, name, &msgs);
    field_invalid_each(errs, at, name, &msgs);
    for (const char *p = name; *p; p++) dots += *p == '.';
    if (!msgs.len && dots < 2) field_invalid(errs, at, name, "should be a domain with at least three segments separated by dots");
}

static void webhook_url(const char *text, const struct field_path *at, struct field_errors *errs) {
    static const char form[] = "desired format: https://host[/path]";
    const char *colon = strstr(text, "://");
    if (!colon) {
        field_required(errs, at, "url must be a valid URL: invalid; %s", form);
        return;
    }
    const char *scheme = arena_strndup(errs->arena, text, (size_t)(colon - text)), *rest = colon + 3;
    if (!str_eq(scheme, "https")) field_invalid(errs, at, scheme, "'https' is the only allowed URL scheme; %s", form);
    size_t authority = strcspn(rest, "/?#");
    const char *user = memchr(rest, '@', authority), *host = user ? user + 1 : rest;
    if (host == rest + authority) field_invalid(errs, at, "", "host must be specified; %s", form);
    if (user) field_invalid(errs, at, arena_strndup(errs->arena, rest, (size_t)(user - rest)), "user information is not permitted in the URL");
    const char *fragment = strchr(rest, '#'), *query = strchr(rest, '?');
    if (fragment && fragment[1]) field_invalid(errs, at, fragment + 1, "fragments are not permitted in the URL");
    if (query && (!fragment || query < fragment) && query[1]) field_invalid(errs, at, arena_strndup(errs->arena, query + 1, fragment ? (size_t)(fragment - query - 1) : strlen(query + 1)), "query parameters are not permitted in the URL");
}

static void webhook_path(const char *path, const struct field_path *at, struct field_errors *errs) {
    if (!*path || str_eq(path, "/")) return;
    if (path[0] != '/') field_invalid(errs, at, path, "must start with a '/'");
    const char *rest = path + 1; /* the first character is not part of a segment, whatever it is */
    size_t len = strlen(rest), n = 0;
    if (len && rest[len - 1] == '/') rest = arena_strndup(errs->arena, rest, len - 1);
    for (;; n++) {
        size_t size = strcspn(rest, "/");
        const char *segment = arena_strndup(errs->arena, rest, size);
        if (!size) field_invalid(errs, at, path, "segment[%zu] may not be empty", n);
        else {
            struct string_list msgs = {0};
            name_dns1123_subdomain(errs->arena, segment, &msgs);
            for (size_t i = 0; i < msgs.len; i++) field_invalid(errs, at, path, "segment[%zu]: %s", n, msgs.items[i]);
        }
        if (!rest[size]) break;
        rest += size + 1;
    }
}

static void client_config(const struct admissionregistrationv1_WebhookClientConfig *c, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *service = FIELD(at, "service");
    if (!c->url == !c->service) field_required(errs, at, "exactly one of url or service is required");
    else if (c->url) webhook_url(c->url, FIELD(at, "url"), errs);
    else {
        if (str_empty(c->service->name)) field_required(errs, FIELD(service, "name"), "service name is required");
        if (str_empty(c->service->namespace)) field_required(errs, FIELD(service, "namespace"), "service namespace is required");
        if (c->service->port.has && (c->service->port.value < 1 || c->service->port.value > 65535)) field_invalid_int(errs, FIELD(service, "port"), c->service->port.value, "port is not valid: must be between 1 and 65535, inclusive");
        if (c->service->path) webhook_path(c->service->path, FIELD(service, "path"), errs);
    }
}

static void review_versions(const struct string_list *versions, bool recognized_required, const struct field_path *at, struct field_errors *errs) {
    struct string_list seen = {0};
    bool recognized = false;
    if (!versions->len) {
        field_required(errs, at, "must specify one of v1, v1beta1");
        return;
    }
    for (size_t i = 0; i < versions->len; i++) {
        const char *v = str_or(versions->items[i], "");
        if (string_list_has(&seen, v)) {
            field_invalid(errs, FIELD_INDEX(at, i), v, "duplicate version");
            continue;
        }
        string_list_push(errs->arena, &seen, v);
        CHECK_NAME(errs, FIELD_INDEX(at, i), v, name_dns1035_label);
        recognized |= str_eq(v, "v1") || str_eq(v, "v1beta1");
    }
    if (recognized_required && !recognized) field_invalid_raw(errs, at, text_of_list(errs->arena, versions), "must include at least one of v1, v1beta1");
}

/* What rules an update is held to: a fault that was there before stays allowed. */
struct leniency { bool side_effects, versions, names, label_values; };

static void webhook(const struct admissionregistrationv1_MutatingWebhook *h, bool mutating, const struct leniency *lenient, const struct field_path *at, struct field_errors *errs) {
    fully_qualified(h->name, FIELD(at, "name"), errs);
    for (size_t i = 0; i < h->rules.len; i++) rule(&h->rules.items[i], FIELD_INDEX(FIELD(at, "rules"), i), errs);
    if (h->failurePolicy) check_supported(errs, FIELD(at, "failurePolicy"), h->failurePolicy, ONE_OF("Fail", "Ignore"));
    if (h->matchPolicy) check_supported(errs, FIELD(at, "matchPolicy"), h->matchPolicy, ONE_OF("Equivalent", "Exact"));
    const char *const *classes = lenient->side_effects ? ONE_OF("None", "NoneOnDryRun", "Some", "Unknown") : ONE_OF("None", "NoneOnDryRun");
    if (!h->sideEffects) field_required(errs, FIELD(at, "sideEffects"), "must specify one of %s", lenient->side_effects ? "None, NoneOnDryRun, Some, Unknown" : "None, NoneOnDryRun");
    else check_supported(errs, FIELD(at, "sideEffects"), h->sideEffects, classes);
    if (h->timeoutSeconds.has && (h->timeoutSeconds.value > 30 || h->timeoutSeconds.value < 1)) field_invalid_int(errs, FIELD(at, "timeoutSeconds"), h->timeoutSeconds.value, "the timeout value must be between 1 and 30 seconds");
    validate_label_selector(h->namespaceSelector, FIELD(at, "namespaceSelector"), errs);
    validate_label_selector(h->objectSelector, FIELD(at, "objectSelector"), errs);
    if (mutating && h->reinvocationPolicy) check_supported(errs, FIELD(at, "reinvocationPolicy"), h->reinvocationPolicy, ONE_OF("IfNeeded", "Never"));
    client_config(&h->clientConfig, FIELD(at, "clientConfig"), errs);
    match_conditions(&h->matchConditions, FIELD(at, "matchConditions"), errs);
}

static struct leniency leniency_of(struct arena *a, const struct admissionregistrationv1_MutatingWebhook_list *old) {
    struct leniency l = {0};
    struct string_list names = {0};
    LIST_FOREACH(h, old) {
        l.side_effects |= !str_eq(h->sideEffects, "None") && !str_eq(h->sideEffects, "NoneOnDryRun");
        l.versions |= h->admissionReviewVersions.len && !string_list_has(&h->admissionReviewVersions, "v1") && !string_list_has(&h->admissionReviewVersions, "v1beta1");
        l.names |= string_list_has(&names, h->name);
        string_list_push(a, &names, h->name);
    }
    return l;
}

static void webhooks(const struct admissionregistrationv1_MutatingWebhook_list *list, bool mutating, const struct leniency *lenient, struct field_errors *errs) {
    struct string_list names = {0};
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(FIELD(NULL, "webhooks"), i);
        webhook(&list->items[i], mutating, lenient, at, errs);
        review_versions(&list->items[i].admissionReviewVersions, !lenient->versions, FIELD(at, "admissionReviewVersions"), errs);
        if (!lenient->names && !str_empty(list->items[i].name)) check_duplicate(errs, FIELD(at, "name"), &names, list->items[i].name);
    }
}

void validate_mwebhooks(const void *obj, struct field_errors *errs) { webhooks(&((const struct admissionregistrationv1_MutatingWebhookConfiguration *)obj)->webhooks, true, &(struct leniency){0}, errs); }

void validate_mwebhooks_update(const void *obj, const void *old, struct field_errors *errs) {
    struct leniency l = leniency_of(errs->arena, &((const struct admissionregistrationv1_MutatingWebhookConfiguration *)old)->webhooks);
    webhooks(&((const struct admissionregistrationv1_MutatingWebhookConfiguration *)obj)->webhooks, true, &l, errs);
}

/* A validating webhook is a mutating one without reinvocation. */
static struct admissionregistrationv1_MutatingWebhook_list as_mutating(struct arena *a, const void *obj) {
    const struct admissionregistrationv1_MutatingWebhookConfiguration *c = object_convert(a, &admissionregistrationv1_ValidatingWebhookConfiguration_desc, obj, &admissionregistrationv1_MutatingWebhookConfiguration_desc);
    return c->webhooks;
}

void validate_vwebhooks(const void *obj, struct field_errors *errs) {
    struct admissionregistrationv1_MutatingWebhook_list list = as_mutating(errs->arena, obj);
    webhooks(&list, false, &(struct leniency){0}, errs);
}

void validate_vwebhooks_update(const void *obj, const void *old, struct field_errors *errs) {
    struct admissionregistrationv1_MutatingWebhook_list list = as_mutating(errs->arena, obj), before = as_mutating(errs->arena, old);
    struct leniency l = leniency_of(errs->arena, &before);
    webhooks(&list, false, &l, errs);
}

/* ---- policies ---- */

static void param_kind(const struct admissionregistrationv1_ParamKind *k, const struct field_path *at, struct field_errors *errs) {
    const char *version = str_or(k->apiVersion, ""), *slash = strchr(version, '/');
    if (!*version) field_required(errs, FIELD(at, "apiVersion"), "%s", "");
    else if (slash && strchr(slash + 1, '/')) field_invalid(errs, FIELD(at, "apiVersion"), version, "unexpected GroupVersion string: %s", version);
    else {
        const char *group = slash ? arena_strndup(errs->arena, version, (size_t)(slash - version)) : "";
        struct string_list msgs = {0};
        if (*group) name_dns1123_subdomain(errs->arena, group, &msgs);
        for (size_t i = 0; i < msgs.len; i++) field_invalid(errs, FIELD(at, "apiVersion"), group, "%s", msgs.items[i]);
        const char *v = slash ? slash + 1 : version;
        if (!*v) field_invalid(errs, FIELD(at, "apiVersion"), version, "version must be specified");
        else CHECK_NAME(errs, FIELD(at, "apiVersion"), v, name_dns1035_label);
    }
    if (str_empty(k->kind)) {
        field_required(errs, FIELD(at, "kind"), "%s", "");
        return;
    }
    char *low = arena_strdup(errs->arena, k->kind);
    for (char *p = low; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
    struct string_list msgs = {0};
    name_dns1035_label(errs->arena, low, &msgs);
    if (msgs.len) field_invalid(errs, FIELD(at, "kind"), k->kind, "may have mixed case, but should otherwise match: %s", msgs.items[0]);
}

static bool cel_identifier(const char *s) {
    static const char *const reserved[] = {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", NULL};
    struct string_list msgs = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    name_c_identifier(a, s, &msgs);
    return msgs.len == 0 && !str_in(s, reserved);
}

static void variables(const struct admissionregistrationv1_Variable_list *list, const struct field_path *all, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(all, i);
        if (blank(list->items[i].name)) field_required(errs, FIELD(at, "name"), "name is not specified");
        else if (!cel_identifier(list->items[i].name)) field_invalid(errs, FIELD(at, "name"), list->items[i].name, "must be a valid CEL identifier");
        if (blank(list->items[i].expression)) field_required(errs, FIELD(at, "expression"), "expression is not specified");
        else cel_check_expression(list->items[i].expression, CEL_DYN, FIELD(at, "expression"), errs);
    }
}

static void match_constraints(const struct admissionregistrationv1_MatchResources *m, const struct field_path *at, struct field_errors *errs) {
    if (!m) {
        field_required(errs, at, "%s", "");
        return;
    }
    match_resources(m, at, errs);
    if (!m->resourceRules.len) field_required(errs, FIELD(at, "resourceRules"), "%s", "");
}

static void failure_policy(const char *p, const struct field_path *at, struct field_errors *errs) {
    if (!p) field_required(errs, at, "%s", "");
    else check_supported(errs, at, p, ONE_OF("Fail", "Ignore"));
}

static void validations(const struct admissionregistrationv1_Validation_list *list, const struct field_path *all, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct admissionregistrationv1_Validation *v = &list->items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        size_t start = strspn(str_or(v->message, ""), " \t\r\n"), end = strlen(str_or(v->message, ""));
        while (end > start && strchr(" \t\r\n", v->message[end - 1])) end--;
        if (blank(v->expression)) field_required(errs, FIELD(at, "expression"), "expression is not specified");
        else cel_check_expression(v->expression, CEL_BOOL, FIELD(at, "expression"), errs);
        if (!str_empty(v->messageExpression) && blank(v->messageExpression)) field_invalid(errs, FIELD(at, "messageExpression"), v->messageExpression, "must be non-empty if specified");
        else if (!str_empty(v->messageExpression)) cel_check_message_expression(v->messageExpression, FIELD(at, "messageExpression"), errs);
        if (!str_empty(v->message) && blank(v->message)) field_invalid(errs, FIELD(at, "message"), v->message, "must be non-empty if specified");
        else if (end > start && memchr(v->message + start, '\n', end - start)) field_invalid(errs, FIELD(at, "message"), v->message, "must not contain line breaks");
        if (v->reason) check_supported(errs, FIELD(at, "reason"), v->reason, ONE_OF("Forbidden", "Invalid", "RequestEntityTooLarge"));
    }
}

static void audit_annotations(const struct admissionregistrationv1_AuditAnnotation_list *list, const char *policy, const struct field_path *all, struct field_errors *errs) {
    struct string_list keys = {0};
    if (list->len > AUDIT_ANNOTATIONS_MAX) field_too_many(errs, all, (int64_t)list->len, AUDIT_ANNOTATIONS_MAX);
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(all, i);
        const char *key = str_or(list->items[i].key, "");
        const char *qualified = str_empty(policy) ? key : arena_printf(errs->arena, "%s/%s", policy, key);
        CHECK_NAME(errs, FIELD(at, "key"), qualified, name_qualified);
        if (blank(list->items[i].valueExpression)) field_required(errs, FIELD(at, "valueExpression"), "valueExpression is not specified");
        else if (strlen(list->items[i].valueExpression) > AUDIT_EXPRESSION_MAX) field_required(errs, FIELD(at, "valueExpression"), "must not exceed %d bytes in length", AUDIT_EXPRESSION_MAX);
        else cel_check_expression(list->items[i].valueExpression, CEL_DYN, FIELD(at, "valueExpression"), errs);
        check_duplicate(errs, FIELD(at, "key"), &keys, key);
    }
}

void validate_vap(const void *obj, struct field_errors *errs) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicy *p = obj;
    const struct field_path *at = FIELD(NULL, "spec");
    failure_policy(p->spec.failurePolicy, FIELD(at, "failurePolicy"), errs);
    if (p->spec.paramKind) param_kind(p->spec.paramKind, FIELD(at, "paramKind"), errs);
    match_constraints(p->spec.matchConstraints, FIELD(at, "matchConstraints"), errs);
    match_conditions(&p->spec.matchConditions, FIELD(at, "matchConditions"), errs);
    variables(&p->spec.variables, FIELD(at, "variables"), errs);
    if (!p->spec.validations.len && !p->spec.auditAnnotations.len) {
        field_required(errs, FIELD(at, "validations"), "validations or auditAnnotations must contain at least one item");
        field_required(errs, FIELD(at, "auditAnnotations"), "validations or auditAnnotations must contain at least one item");
        return;
    }
    validations(&p->spec.validations, FIELD(at, "validations"), errs);
    audit_annotations(&p->spec.auditAnnotations, p->metadata.name, FIELD(at, "auditAnnotations"), errs);
}

void validate_vap_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_vap(obj, errs);
}

void validate_vap_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicyStatus *s = &((const struct admissionregistrationv1_ValidatingAdmissionPolicy *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status"), *warnings = FIELD(FIELD(at, "typeChecking"), "expressionWarnings");
    (void)old;
    if (s->typeChecking)
        for (size_t i = 0; i < s->typeChecking->expressionWarnings.len; i++) {
            if (str_empty(s->typeChecking->expressionWarnings.items[i].fieldRef)) field_required(errs, FIELD(FIELD_INDEX(warnings, i), "fieldRef"), "%s", "");
            if (str_empty(s->typeChecking->expressionWarnings.items[i].warning)) field_required(errs, FIELD(FIELD_INDEX(warnings, i), "warning"), "%s", "");
        }
    check_conditions(errs, FIELD(at, "conditions"), &s->conditions);
}

/* ---- bindings ---- */

static void param_ref(const struct admissionregistrationv1_ParamRef *r, const struct field_path *at, struct field_errors *errs) {
    if (!r) return;
    bool named = !str_empty(r->name);
    if (named && r->selector) {
        field_forbidden(errs, FIELD(at, "name"), "name and selector are mutually exclusive");
        field_forbidden(errs, FIELD(at, "selector"), "name and selector are mutually exclusive");
    } else if (named) check_path_segment(errs, FIELD(at, "name"), r->name);
    else if (r->selector) validate_label_selector(r->selector, FIELD(at, "selector"), errs);
    else field_required(errs, at, "one of name or selector must be specified");
    if (!r->parameterNotFoundAction) field_required(errs, FIELD(at, "parameterNotFoundAction"), "%s", "");
    else if (!str_eq(r->parameterNotFoundAction, "Deny") && !str_eq(r->parameterNotFoundAction, "Allow"))
        field_not_supported(errs, FIELD(at, "parameterNotFoundAction"), r->parameterNotFoundAction, ONE_OF("Deny", "Allow"));
}

static void policy_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(name)) field_required(errs, at, "%s", "");
    else CHECK_NAME(errs, at, name, name_dns1123_subdomain);
}

void validate_vapbinding(const void *obj, struct field_errors *errs) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicyBindingSpec *s = &((const struct admissionregistrationv1_ValidatingAdmissionPolicyBinding *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *actions = FIELD(at, "validationActions");
    struct string_list seen = {0};
    policy_name(s->policyName, FIELD(at, "policyName"), errs);
    param_ref(s->paramRef, FIELD(at, "paramRef"), errs);
    match_resources(s->matchResources, FIELD(at, "matchResources"), errs);
    for (size_t i = 0; i < s->validationActions.len; i++) {
        check_supported(errs, FIELD_INDEX(actions, i), s->validationActions.items[i], ONE_OF("Audit", "Deny", "Warn"));
        check_duplicate(errs, FIELD_INDEX(actions, i), &seen, s->validationActions.items[i]);
    }
    if (string_list_has(&seen, "Deny") && string_list_has(&seen, "Warn"))
        field_invalid_raw(errs, actions, text_of_list(errs->arena, &s->validationActions), "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
    if (!seen.len) field_required(errs, actions, "at least one validation action is required");
}

void validate_vapbinding_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_vapbinding(obj, errs);
}

/* ---- MutatingAdmissionPolicy ---- */

static void mutations(const struct admissionregistrationv1_Mutation_list *list, const struct field_path *all, struct field_errors *errs) {
    if (!list->len) field_required(errs, all, "mutations must contain at least one item");
    for (size_t i = 0; i < list->len; i++) {
        const struct admissionregistrationv1_Mutation *m = &list->items[i];
        const struct field_path *at = FIELD_INDEX(all, i), *apply = FIELD(at, "applyConfiguration"), *json = FIELD(at, "jsonPatch");
        if (str_empty(m->patchType)) field_required(errs, FIELD(at, "patchType"), "%s", "");
        else if (str_eq(m->patchType, "ApplyConfiguration")) {
            if (!m->applyConfiguration) field_required(errs, apply, "must be specified when patchType is ApplyConfiguration");
            else if (blank(m->applyConfiguration->expression)) field_required(errs, FIELD(apply, "expression"), "expression is not specified");
            else cel_check_expression(m->applyConfiguration->expression, CEL_DYN, FIELD(apply, "expression"), errs);
            if (m->jsonPatch) field_invalid_raw(errs, json, text_of_go(errs->arena, &admissionregistrationv1_JSONPatch_desc, m->jsonPatch), "must not be specified when patchType is ApplyConfiguration");
        } else if (str_eq(m->patchType, "JSONPatch")) {
            if (!m->jsonPatch) field_required(errs, json, "must be specified when patchType is JSONPatch");
            else if (blank(m->jsonPatch->expression)) field_required(errs, FIELD(json, "expression"), "expression is not specified");
            else cel_check_expression(m->jsonPatch->expression, CEL_LIST, FIELD(json, "expression"), errs);
            if (m->applyConfiguration) field_invalid_raw(errs, apply, text_of_go(errs->arena, &admissionregistrationv1_ApplyConfiguration_desc, m->applyConfiguration), "must not be specified when patchType is JSONPatch");
        } else field_not_supported(errs, FIELD(at, "patchType"), m->patchType, ONE_OF("ApplyConfiguration", "JSONPatch"));
    }
}

void validate_map(const void *obj, struct field_errors *errs) {
    const struct admissionregistrationv1_MutatingAdmissionPolicy *p = object_convert(errs->arena, &admissionregistrationv1beta1_MutatingAdmissionPolicy_desc, obj, &admissionregistrationv1_MutatingAdmissionPolicy_desc);
    const struct field_path *at = FIELD(NULL, "spec");
    failure_policy(p->spec.failurePolicy, FIELD(at, "failurePolicy"), errs);
    if (p->spec.paramKind) param_kind(p->spec.paramKind, FIELD(at, "paramKind"), errs);
    match_constraints(p->spec.matchConstraints, FIELD(at, "matchConstraints"), errs);
    match_conditions(&p->spec.matchConditions, FIELD(at, "matchConditions"), errs);
    variables(&p->spec.variables, FIELD(at, "variables"), errs);
    mutations(&p->spec.mutations, FIELD(at, "mutations"), errs);
    if (str_empty(p->spec.reinvocationPolicy)) field_required(errs, FIELD(at, "reinvocationPolicy"), "%s", "");
    else check_supported(errs, FIELD(at, "reinvocationPolicy"), p->spec.reinvocationPolicy, ONE_OF("IfNeeded", "Never"));
}

void validate_map_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_map(obj, errs);
}

void validate_mapbinding(const void *obj, struct field_errors *errs) {
    const struct admissionregistrationv1_MutatingAdmissionPolicyBinding *b = object_convert(errs->arena, &admissionregistrationv1beta1_MutatingAdmissionPolicyBinding_desc, obj, &admissionregistrationv1_MutatingAdmissionPolicyBinding_desc);
    const struct field_path *at = FIELD(NULL, "spec");
    policy_name(b->spec.policyName, FIELD(at, "policyName"), errs);
    param_ref(b->spec.paramRef, FIELD(at, "paramRef"), errs);
    match_resources(b->spec.matchResources, FIELD(at, "matchResources"), errs);
}

void validate_mapbinding_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_mapbinding(obj, errs);
}
