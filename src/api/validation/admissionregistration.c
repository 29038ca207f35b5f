/* admissionregistration.k8s.io. Upstream: pkg/apis/admissionregistration/validation.
 * Policies that mutate are validated in the version they are stored in, v1beta1; its types mirror v1's. */
#include <string.h>
#include "api/cel/policy.h"
#include "api/convert.h"
#include "api/validation/groups.h"

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

static void match_conditions(const struct admissionregistrationv1_MatchCondition_list *list, const struct cel_policy_scope *scope, const struct field_path *all, struct field_errors *errs) {
    struct string_list names = {0};
    if (list->len > CONDITIONS_MAX) field_too_many(errs, all, (int64_t)list->len, CONDITIONS_MAX);
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(all, i);
        if (blank(list->items[i].expression)) field_required(errs, FIELD(at, "expression"), "%s", "");
        else cel_check_condition(list->items[i].expression, scope, FIELD(at, "expression"), errs);
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

static void client_config(const struct admissionregistrationv1_WebhookClientConfig *c, const struct field_path *at, struct field_errors *errs) {
    if (!c->url == !c->service) field_required(errs, at, "exactly one of url or service is required");
    else if (c->url) check_webhook_url(errs, FIELD(at, "url"), c->url);
    else check_webhook_service(errs, FIELD(at, "service"), c->service->namespace, c->service->name, c->service->path, c->service->port.value);
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

static bool same_conditions(const struct admissionregistrationv1_MatchCondition_list *x, const struct admissionregistrationv1_MatchCondition_list *y) {
    bool same = x->len == y->len;
    for (size_t i = 0; i < x->len && same; i++) same = object_equal(&admissionregistrationv1_MatchCondition_desc, &x->items[i], &y->items[i]);
    return same;
}

/* What rules an update is held to: a fault that was there before stays allowed. */
struct leniency { bool side_effects, versions, names, conditions; };

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
    if (!lenient->conditions) match_conditions(&h->matchConditions, &(const struct cel_policy_scope){0}, FIELD(at, "matchConditions"), errs);
}

static struct leniency leniency_of(struct arena *a, const struct admissionregistrationv1_MutatingWebhook_list *list, const struct admissionregistrationv1_MutatingWebhook_list *old) {
    struct leniency l = {.conditions = list->len == old->len};
    struct string_list names = {0};
    LIST_FOREACH(h, old) {
        l.side_effects |= !str_eq(h->sideEffects, "None") && !str_eq(h->sideEffects, "NoneOnDryRun");
        l.versions |= h->admissionReviewVersions.len && !string_list_has(&h->admissionReviewVersions, "v1") && !string_list_has(&h->admissionReviewVersions, "v1beta1");
        l.conditions = l.conditions && same_conditions(&list->items[h - old->items].matchConditions, &h->matchConditions);
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
    const struct admissionregistrationv1_MutatingWebhook_list *list = &((const struct admissionregistrationv1_MutatingWebhookConfiguration *)obj)->webhooks;
    struct leniency l = leniency_of(errs->arena, list, &((const struct admissionregistrationv1_MutatingWebhookConfiguration *)old)->webhooks);
    webhooks(list, true, &l, errs);
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
    struct leniency l = leniency_of(errs->arena, &list, &before);
    webhooks(&list, false, &l, errs);
}

/* ---- policies ---- */

/* All that is wrong with a name in one error. */
static void check_joined(struct field_errors *errs, const struct field_path *at, const char *value, const char *prefix, const struct string_list *msgs) {
    const char *text = prefix;
    for (size_t i = 0; i < msgs->len; i++) text = arena_printf(errs->arena, "%s%s%s", text, i ? "," : "", msgs->items[i]);
    if (msgs->len) field_invalid(errs, at, value, "%s", text);
}

static void param_kind(const struct admissionregistrationv1_ParamKind *k, const struct field_path *at, struct field_errors *errs) {
    const char *version = str_or(k->apiVersion, ""), *slash = strchr(version, '/');
    if (!*version) field_required(errs, FIELD(at, "apiVersion"), "%s", "");
    else if (slash && strchr(slash + 1, '/')) field_invalid(errs, FIELD(at, "apiVersion"), version, "unexpected GroupVersion string: %s", version);
    else {
        const char *group = slash ? arena_strndup(errs->arena, version, (size_t)(slash - version)) : "";
        struct string_list msgs = {0};
        if (*group) name_dns1123_subdomain(errs->arena, group, &msgs);
        check_joined(errs, FIELD(at, "apiVersion"), group, "", &msgs);
        const char *v = slash ? slash + 1 : version;
        if (!*v) field_invalid(errs, FIELD(at, "apiVersion"), version, "version must be specified");
        else {
            msgs = (struct string_list){0};
            name_dns1035_label(errs->arena, v, &msgs);
            check_joined(errs, FIELD(at, "apiVersion"), v, "", &msgs);
        }
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
    check_joined(errs, FIELD(at, "kind"), k->kind, "may have mixed case, but should otherwise match: ", &msgs);
}

static bool cel_identifier(const char *s) {
    static const char *const reserved[] = {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while", NULL};
    struct string_list msgs = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    name_c_identifier(a, s, &msgs);
    return msgs.len == 0 && !str_in(s, reserved);
}

static void variables(const struct admissionregistrationv1_Variable_list *list, struct cel_policy_scope *scope, const struct field_path *all, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(all, i);
        if (blank(list->items[i].name)) field_required(errs, FIELD(at, "name"), "name is not specified");
        else if (!cel_identifier(list->items[i].name)) field_invalid(errs, FIELD(at, "name"), list->items[i].name, "must be a valid CEL identifier");
        if (blank(list->items[i].expression)) field_required(errs, FIELD(at, "expression"), "expression is not specified");
        else cel_check_variable(str_or(list->items[i].name, ""), list->items[i].expression, scope, FIELD(at, "expression"), errs);
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

static void validations(const struct admissionregistrationv1_Validation_list *list, const struct cel_policy_scope *scope, const struct field_path *all, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        const struct admissionregistrationv1_Validation *v = &list->items[i];
        const struct field_path *at = FIELD_INDEX(all, i);
        size_t start = strspn(str_or(v->message, ""), " \t\r\n"), end = strlen(str_or(v->message, ""));
        while (end > start && strchr(" \t\r\n", v->message[end - 1])) end--;
        if (blank(v->expression)) field_required(errs, FIELD(at, "expression"), "expression is not specified");
        else cel_check_validation(v->expression, scope, FIELD(at, "expression"), errs);
        if (!str_empty(v->messageExpression) && blank(v->messageExpression)) field_invalid(errs, FIELD(at, "messageExpression"), v->messageExpression, "must be non-empty if specified");
        else if (!str_empty(v->messageExpression)) cel_check_message_expression(v->messageExpression, scope, FIELD(at, "messageExpression"), errs);
        if (!str_empty(v->message) && blank(v->message)) field_invalid(errs, FIELD(at, "message"), v->message, "must be non-empty if specified");
        else if (end > start && (memchr(v->message + start, '\n', end - start) || memchr(v->message + start, '\r', end - start))) field_invalid(errs, FIELD(at, "message"), v->message, "must not contain line breaks");
        if (v->reason) check_supported(errs, FIELD(at, "reason"), v->reason, ONE_OF("Forbidden", "Invalid", "RequestEntityTooLarge"));
    }
}

static const char *text_of_annotations(struct arena *a, const struct admissionregistrationv1_AuditAnnotation_list *list) {
    const char *text = "";
    LIST_FOREACH(i, list) text = arena_printf(a, "%s%s%s", text, *text ? "," : "", text_of_go(a, &admissionregistrationv1_AuditAnnotation_desc, i));
    return arena_printf(a, "[%s]", text);
}

static void audit_annotations(const struct admissionregistrationv1_AuditAnnotation_list *list, const char *policy, const struct cel_policy_scope *scope, const struct field_path *all, struct field_errors *errs) {
    struct string_list keys = {0};
    if (list->len > AUDIT_ANNOTATIONS_MAX) field_invalid_raw(errs, all, text_of_annotations(errs->arena, list), "must not have more than %d auditAnnotations", AUDIT_ANNOTATIONS_MAX);
    for (size_t i = 0; i < list->len; i++) {
        const struct field_path *at = FIELD_INDEX(all, i);
        const char *key = str_or(list->items[i].key, "");
        if (str_empty(policy)) field_invalid(errs, FIELD(at, "key"), key, "requires metadata.name be non-empty");
        else CHECK_NAME(errs, FIELD(at, "key"), arena_printf(errs->arena, "%s/%s", policy, key), name_qualified);
        if (blank(list->items[i].valueExpression)) field_required(errs, FIELD(at, "valueExpression"), "valueExpression is not specified");
        else if (strlen(list->items[i].valueExpression) > AUDIT_EXPRESSION_MAX) field_required(errs, FIELD(at, "valueExpression"), "must not exceed %d bytes in length", AUDIT_EXPRESSION_MAX);
        else cel_check_annotation(list->items[i].valueExpression, scope, FIELD(at, "valueExpression"), errs);
        check_duplicate(errs, FIELD(at, "key"), &keys, key);
    }
}

/* `conditions_known`: the match conditions were accepted before and are as they were. */
static void check_vap(const struct admissionregistrationv1_ValidatingAdmissionPolicy *p, bool conditions_known, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    struct cel_policy_scope scope = {.params = p->spec.paramKind != NULL, .composed = p->spec.variables.len > 0};
    failure_policy(p->spec.failurePolicy, FIELD(at, "failurePolicy"), errs);
    if (p->spec.paramKind) param_kind(p->spec.paramKind, FIELD(at, "paramKind"), errs);
    match_constraints(p->spec.matchConstraints, FIELD(at, "matchConstraints"), errs);
    if (!conditions_known) match_conditions(&p->spec.matchConditions, &scope, FIELD(at, "matchConditions"), errs);
    variables(&p->spec.variables, &scope, FIELD(at, "variables"), errs);
    if (!p->spec.validations.len && !p->spec.auditAnnotations.len) {
        field_required(errs, FIELD(at, "validations"), "validations or auditAnnotations must contain at least one item");
        field_required(errs, FIELD(at, "auditAnnotations"), "validations or auditAnnotations must contain at least one item");
        return;
    }
    validations(&p->spec.validations, &scope, FIELD(at, "validations"), errs);
    audit_annotations(&p->spec.auditAnnotations, p->metadata.name, &scope, FIELD(at, "auditAnnotations"), errs);
}

void validate_vap(const void *obj, struct field_errors *errs) { check_vap(obj, false, errs); }

static bool same_param_kind(const struct admissionregistrationv1_ParamKind *x, const struct admissionregistrationv1_ParamKind *y) {
    return x && y ? object_equal(&admissionregistrationv1_ParamKind_desc, x, y) : x == y;
}

void validate_vap_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicy *p = obj, *old = old_obj;
    check_vap(p, same_param_kind(p->spec.paramKind, old->spec.paramKind) && same_conditions(&p->spec.matchConditions, &old->spec.matchConditions), errs);
}

void validate_vap_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct admissionregistrationv1_ValidatingAdmissionPolicyStatus *s = &((const struct admissionregistrationv1_ValidatingAdmissionPolicy *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status"), *warnings = FIELD(FIELD(at, "typeChecking"), "expressionWarnings");
    (void)old;
    if (s->typeChecking)
        for (size_t i = 0; i < s->typeChecking->expressionWarnings.len; i++) {
            if (blank(s->typeChecking->expressionWarnings.items[i].fieldRef)) field_required(errs, FIELD(FIELD_INDEX(warnings, i), "fieldRef"), "%s", "");
            if (str_empty(s->typeChecking->expressionWarnings.items[i].warning)) field_required(errs, FIELD(FIELD_INDEX(warnings, i), "warning"), "%s", "");
        }
    check_conditions(errs, FIELD(at, "conditions"), &s->conditions);
}

/* ---- bindings ---- */

static void param_ref(const struct admissionregistrationv1_ParamRef *r, const struct field_path *at, struct field_errors *errs) {
    if (!r) return;
    bool named = !str_empty(r->name);
    if (named) check_path_segment(errs, FIELD(at, "name"), r->name);
    if (named && r->selector) field_forbidden(errs, FIELD(at, "name"), "name and selector are mutually exclusive");
    validate_label_selector(r->selector, FIELD(at, "selector"), errs);
    if (named && r->selector) field_forbidden(errs, FIELD(at, "selector"), "name and selector are mutually exclusive");
    if (!named && !r->selector) field_required(errs, at, "one of name or selector must be specified");
    if (str_empty(r->parameterNotFoundAction)) field_required(errs, FIELD(at, "parameterNotFoundAction"), "%s", "");
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

static void patch_expression(const char *text, bool json_patch, const struct cel_policy_scope *scope, const struct field_path *at, struct field_errors *errs) {
    if (blank(text)) field_required(errs, FIELD(at, "expression"), "%s", "");
    else cel_check_mutation(text, json_patch, scope, FIELD(at, "expression"), errs);
}

static void mutations(const struct admissionregistrationv1_Mutation_list *list, const struct cel_policy_scope *scope, const struct field_path *all, struct field_errors *errs) {
    if (!list->len) field_required(errs, all, "mutations must contain at least one item");
    for (size_t i = 0; i < list->len; i++) {
        const struct admissionregistrationv1_Mutation *m = &list->items[i];
        const struct field_path *at = FIELD_INDEX(all, i), *apply = FIELD(at, "applyConfiguration"), *json = FIELD(at, "jsonPatch");
        if (str_empty(m->patchType)) field_required(errs, FIELD(at, "patchType"), "%s", "");
        else if (str_eq(m->patchType, "ApplyConfiguration")) {
            if (!m->applyConfiguration) field_required(errs, apply, "must be specified when patchType is ApplyConfiguration");
            else patch_expression(m->applyConfiguration->expression, false, scope, apply, errs);
            if (m->jsonPatch) field_invalid(errs, json, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration");
        } else if (str_eq(m->patchType, "JSONPatch")) {
            if (!m->jsonPatch) field_required(errs, json, "must be specified when patchType is JSONPatch");
            else patch_expression(m->jsonPatch->expression, true, scope, json, errs);
            if (m->applyConfiguration) field_invalid(errs, apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch");
        } else field_not_supported(errs, FIELD(at, "patchType"), m->patchType, ONE_OF("ApplyConfiguration", "JSONPatch"));
    }
}

/* Nothing is left to change in what is deleted. */
static void mutating_operations(const struct admissionregistrationv1_MatchResources *m, const struct field_path *at, struct field_errors *errs) {
    if (!m) return;
    LIST_FOREACH(r, &m->resourceRules)
        for (size_t i = 0; i < r->RuleWithOperations.operations.len; i++)
            check_supported(errs, FIELD(FIELD(at, "resourceRules"), "operations"), r->RuleWithOperations.operations.items[i], ONE_OF("*", "CONNECT", "CREATE", "UPDATE"));
}

static void check_map(const void *obj, const void *old, struct field_errors *errs) {
    const struct admissionregistrationv1_MutatingAdmissionPolicy *p = object_convert(errs->arena, &admissionregistrationv1beta1_MutatingAdmissionPolicy_desc, obj, &admissionregistrationv1_MutatingAdmissionPolicy_desc), *before = NULL;
    if (old) before = object_convert(errs->arena, &admissionregistrationv1beta1_MutatingAdmissionPolicy_desc, old, &admissionregistrationv1_MutatingAdmissionPolicy_desc);
    const struct field_path *at = FIELD(NULL, "spec");
    struct cel_policy_scope scope = {.params = p->spec.paramKind != NULL, .composed = true};
    failure_policy(p->spec.failurePolicy, FIELD(at, "failurePolicy"), errs);
    if (p->spec.paramKind) param_kind(p->spec.paramKind, FIELD(at, "paramKind"), errs);
    match_constraints(p->spec.matchConstraints, FIELD(at, "matchConstraints"), errs);
    mutating_operations(p->spec.matchConstraints, FIELD(at, "matchConstraints"), errs);
    bool known = before && same_param_kind(p->spec.paramKind, before->spec.paramKind) && same_conditions(&p->spec.matchConditions, &before->spec.matchConditions);
    if (!known) match_conditions(&p->spec.matchConditions, &scope, FIELD(at, "matchConditions"), errs);
    variables(&p->spec.variables, &scope, FIELD(at, "variables"), errs);
    mutations(&p->spec.mutations, &scope, FIELD(at, "mutations"), errs);
    if (str_empty(p->spec.reinvocationPolicy)) field_required(errs, FIELD(at, "reinvocationPolicy"), "%s", "");
    else check_supported(errs, FIELD(at, "reinvocationPolicy"), p->spec.reinvocationPolicy, ONE_OF("IfNeeded", "Never"));
}

void validate_map(const void *obj, struct field_errors *errs) { check_map(obj, NULL, errs); }
void validate_map_update(const void *obj, const void *old, struct field_errors *errs) { check_map(obj, old, errs); }

void validate_mapbinding(const void *obj, struct field_errors *errs) {
    const struct admissionregistrationv1_MutatingAdmissionPolicyBinding *b = object_convert(errs->arena, &admissionregistrationv1beta1_MutatingAdmissionPolicyBinding_desc, obj, &admissionregistrationv1_MutatingAdmissionPolicyBinding_desc);
    const struct field_path *at = FIELD(NULL, "spec");
    policy_name(b->spec.policyName, FIELD(at, "policyName"), errs);
    param_ref(b->spec.paramRef, FIELD(at, "paramRef"), errs);
    match_resources(b->spec.matchResources, FIELD(at, "matchResources"), errs);
    mutating_operations(b->spec.matchResources, FIELD(at, "matchResources"), errs);
}

void validate_mapbinding_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_mapbinding(obj, errs);
}
