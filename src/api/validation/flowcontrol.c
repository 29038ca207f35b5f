/* flowcontrol.apiserver.k8s.io. Upstream: pkg/apis/flowcontrol/validation. */
#include <math.h>
#include <string.h>
#include "api/flowcontrol_bootstrap.h"
#include "api/validation/groups.h"

enum { PRECEDENCE_MAX = 10000, QUEUES_MAX = 10000000, HASH_BITS_MAX = 60 };

static bool wildcard(const struct string_list *list) { return string_list_has(list, "*"); }

static void verbs(const struct string_list *list, const struct field_path *at, struct field_errors *errs) {
    static const char *const supported[] = {"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch", NULL};
    bool known = true;
    for (size_t i = 0; i < list->len; i++) known &= str_in(list->items[i], supported);
    if (!list->len) field_required(errs, at, "verbs must contain at least one value");
    else if (wildcard(list)) {
        if (list->len > 1) field_invalid_raw(errs, at, text_of_list(errs->arena, list), "if '*' is present, must not specify other verbs");
    } else if (!known) {
        _cleanup_buf_ struct buf all = BUF_INIT;
        for (size_t i = 0; supported[i]; i++) buf_printf(&all, "%s\"%s\"", i ? ", " : "", supported[i]);
        field_error_add(errs, "FieldValueNotSupported", at, "Unsupported value: %s: supported values: %s", text_of_list(errs->arena, list), all.data);
    }
}

static void url_path(const char *p, const struct field_path *at, struct field_errors *errs) {
    const char *star = strchr(p, '*');
    size_t len = strlen(p);
    if (!*p) field_invalid(errs, at, p, "must not be empty");
    else if (str_eq(p, "/")) return;
    else if (*p != '/') field_invalid(errs, at, p, "must start with slash");
    else if (strchr(p, ' ')) field_invalid(errs, at, p, "must not contain white-space");
    else if (strstr(p, "//")) field_invalid(errs, at, p, "must not contain double slash");
    else if (star && (strchr(star + 1, '*') || strcmp(p + len - 2, "/*") != 0)) field_invalid(errs, at, p, "wildcard can only do suffix matching");
}

static void non_resource_rule(const struct flowcontrolv1_NonResourcePolicyRule *r, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *urls = FIELD(at, "nonResourceURLs");
    verbs(&r->verbs, FIELD(at, "verbs"), errs);
    if (!r->nonResourceURLs.len) field_required(errs, urls, "nonResourceURLs must contain at least one value");
    else if (wildcard(&r->nonResourceURLs)) {
        if (r->nonResourceURLs.len > 1) field_invalid_raw(errs, urls, text_of_list(errs->arena, &r->nonResourceURLs), "if '*' is present, must not specify other non-resource URLs");
    } else
        for (size_t i = 0; i < r->nonResourceURLs.len; i++) url_path(str_or(r->nonResourceURLs.items[i], ""), FIELD_INDEX(urls, i), errs);
}

static void resource_rule(const struct flowcontrolv1_ResourcePolicyRule *r, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *namespaces = FIELD(at, "namespaces");
    verbs(&r->verbs, FIELD(at, "verbs"), errs);
    if (!r->apiGroups.len) field_required(errs, FIELD(at, "apiGroups"), "resource rules must supply at least one api group");
    else if (r->apiGroups.len > 1 && wildcard(&r->apiGroups)) field_invalid_raw(errs, FIELD(at, "apiGroups"), text_of_list(errs->arena, &r->apiGroups), "if '*' is present, must not specify other api groups");
    if (!r->resources.len) field_required(errs, FIELD(at, "resources"), "resource rules must supply at least one resource");
    else if (r->resources.len > 1 && wildcard(&r->resources)) field_invalid_raw(errs, FIELD(at, "resources"), text_of_list(errs->arena, &r->resources), "if '*' is present, must not specify other resources");
    if (!r->namespaces.len && !r->clusterScope) field_required(errs, namespaces, "resource rules that are not cluster scoped must supply at least one namespace");
    else if (wildcard(&r->namespaces)) {
        if (r->namespaces.len > 1) field_invalid_raw(errs, namespaces, text_of_list(errs->arena, &r->namespaces), "if '*' is present, must not specify other namespaces");
    } else
        for (size_t i = 0; i < r->namespaces.len; i++) {
            struct string_list msgs = {0};
            name_dns1123_label(errs->arena, str_or(r->namespaces.items[i], ""), &msgs);
            for (size_t j = 0; j < msgs.len; j++) field_invalid(errs, FIELD_INDEX(namespaces, i), r->namespaces.items[i], "each member of this list must be '*' or a DNS-1123 label; %s", msgs.items[j]);
        }
}

static void need_name(bool there, const char *name, const char *what, const char *kind, const struct field_path *at, struct field_errors *errs) {
    if (!there) field_required(errs, at, "%s is required when subject kind is '%s'", what, kind);
    else if (str_empty(name)) field_required(errs, FIELD(at, "name"), "%s", "");
}

static void subject(const struct flowcontrolv1_Subject *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *account = FIELD(at, "serviceAccount"), *user = FIELD(at, "user"), *group = FIELD(at, "group");
    bool is_account = str_eq(s->kind, "ServiceAccount"), is_user = str_eq(s->kind, "User"), is_group = str_eq(s->kind, "Group");
    if (!is_account && !is_user && !is_group) {
        field_not_supported(errs, FIELD(at, "kind"), s->kind, ONE_OF("Group", "ServiceAccount", "User"));
        return;
    }
    if (is_user) need_name(s->user != NULL, s->user ? s->user->name : NULL, "user", "User", user, errs);
    if (is_group) need_name(s->group != NULL, s->group ? s->group->name : NULL, "group", "Group", group, errs);
    if (is_account) {
        need_name(s->serviceAccount != NULL, s->serviceAccount ? s->serviceAccount->name : NULL, "serviceAccount", "ServiceAccount", account, errs);
        if (s->serviceAccount) {
            const char *name = str_or(s->serviceAccount->name, ""), *ns = s->serviceAccount->namespace;
            if (*name && !str_eq(name, "*")) CHECK_NAME(errs, FIELD(account, "name"), name, name_dns1123_subdomain);
            if (str_empty(ns)) field_required(errs, FIELD(account, "namespace"), "must specify namespace for service account");
            else CHECK_NAME(errs, FIELD(account, "namespace"), ns, name_dns1123_label);
        }
    } else if (s->serviceAccount) field_forbidden(errs, account, "serviceAccount is forbidden when subject kind is not 'ServiceAccount'");
    if (!is_user && s->user) field_forbidden(errs, user, "user is forbidden when subject kind is not 'User'");
    if (!is_group && s->group) field_forbidden(errs, group, "group is forbidden when subject kind is not 'Group'");
}

static void rules_with_subjects(const struct flowcontrolv1_PolicyRulesWithSubjects *r, const struct field_path *at, struct field_errors *errs) {
    if (!r->subjects.len) field_required(errs, FIELD(at, "subjects"), "subjects must contain at least one value");
    for (size_t i = 0; i < r->subjects.len; i++) subject(&r->subjects.items[i], FIELD_INDEX(FIELD(at, "subjects"), i), errs);
    if (!r->resourceRules.len && !r->nonResourceRules.len) field_required(errs, at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    for (size_t i = 0; i < r->resourceRules.len; i++) resource_rule(&r->resourceRules.items[i], FIELD_INDEX(FIELD(at, "resourceRules"), i), errs);
    for (size_t i = 0; i < r->nonResourceRules.len; i++) non_resource_rule(&r->nonResourceRules.items[i], FIELD_INDEX(FIELD(at, "nonResourceRules"), i), errs);
}

/* Both kinds' conditions look alike. */
static void conditions(const struct flowcontrolv1_FlowSchemaCondition_list *list, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "status"), "conditions");
    struct string_list types = {0};
    for (size_t i = 0; i < list->len; i++) {
        check_duplicate(errs, FIELD(FIELD_INDEX(at, i), "type"), &types, list->items[i].type);
        if (str_empty(list->items[i].type)) field_required(errs, FIELD(FIELD_INDEX(at, i), "type"), "must not be empty");
    }
}
_Static_assert(sizeof(struct flowcontrolv1_FlowSchemaCondition) == sizeof(struct flowcontrolv1_PriorityLevelConfigurationCondition), "one function checks both");

void validate_flowschema(const void *obj, struct field_errors *errs) {
    const struct flowcontrolv1_FlowSchema *f = obj;
    const struct flowcontrolv1_FlowSchemaSpec *s = &f->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *precedence = FIELD(at, "matchingPrecedence"), *level = FIELD(FIELD(at, "priorityLevelConfiguration"), "name");
    if (s->matchingPrecedence <= 0) field_invalid_int(errs, precedence, s->matchingPrecedence, "must be a positive value");
    if (s->matchingPrecedence > PRECEDENCE_MAX) field_invalid_int(errs, precedence, s->matchingPrecedence, "must not be greater than %d", PRECEDENCE_MAX);
    if (s->matchingPrecedence == 1 && !str_eq(f->metadata.name, "exempt")) field_invalid_int(errs, precedence, 1, "only the schema named 'exempt' may have matchingPrecedence 1");
    const struct flowcontrolv1_FlowDistinguisherMethod *d = s->distinguisherMethod;
    if (d && !str_eq(d->type, "ByNamespace") && !str_eq(d->type, "ByUser"))
        field_error_add(errs, "FieldValueNotSupported", FIELD(FIELD(at, "distinguisherMethod"), "type"), "Unsupported value: %s: supported values: \"ByNamespace\", \"ByUser\"", text_of_go(errs->arena, &flowcontrolv1_FlowDistinguisherMethod_desc, d));
    if (str_empty(s->priorityLevelConfiguration.name)) field_required(errs, level, "must reference a priority level");
    else CHECK_NAME(errs, level, s->priorityLevelConfiguration.name, name_dns1123_subdomain);
    for (size_t i = 0; i < s->rules.len; i++) rules_with_subjects(&s->rules.items[i], FIELD_INDEX(FIELD(at, "rules"), i), errs);
    const struct flowcontrolv1_FlowSchema *fixed = mandatory_flow_schema(errs->arena, f->metadata.name);
    if (fixed && !object_equal(&flowcontrolv1_FlowSchemaSpec_desc, s, &fixed->spec))
        field_invalid_raw(errs, at, text_of_go(errs->arena, &flowcontrolv1_FlowSchemaSpec_desc, s), "spec of '%s' must equal the fixed value", f->metadata.name);
    conditions(&f->status.conditions, errs);
}

void validate_flowschema_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_flowschema(obj, errs);
}

void validate_flowschema_status(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    conditions(&((const struct flowcontrolv1_FlowSchema *)obj)->status.conditions, errs);
}

/* ---- PriorityLevelConfiguration ---- */

/* shufflesharding.RequiredEntropyBits */
static int entropy_bits(int deck, int hand) {
    double bits = 0;
    for (int i = 0; i < hand; i++) bits += log2((double)(deck - i));
    return (int)ceil(bits);
}

static void queuing(const struct flowcontrolv1_QueuingConfiguration *q, const struct field_path *at, struct field_errors *errs) {
    if (q->queueLengthLimit <= 0) field_invalid_int(errs, FIELD(at, "queueLengthLimit"), q->queueLengthLimit, "must be positive");
    if (q->queues <= 0) field_invalid_int(errs, FIELD(at, "queues"), q->queues, "must be positive");
    else if (q->queues > QUEUES_MAX) field_invalid_int(errs, FIELD(at, "queues"), q->queues, "must not be greater than %d", QUEUES_MAX);
    if (q->handSize <= 0) field_invalid_int(errs, FIELD(at, "handSize"), q->handSize, "must be positive");
    else if (q->handSize > q->queues) field_invalid_int(errs, FIELD(at, "handSize"), q->handSize, "should not be greater than queues (%d)", q->queues);
    else if (entropy_bits(q->queues, q->handSize) > HASH_BITS_MAX)
        field_invalid_int(errs, FIELD(at, "handSize"), q->handSize, "required entropy bits of deckSize %d and handSize %d should not be greater than %d", q->queues, q->handSize, HASH_BITS_MAX);
}

static void nominal_shares(struct opt_int32 v, const struct field_path *at, struct field_errors *errs) {
    if (v.has && v.value < 0) field_invalid_int(errs, FIELD(at, "nominalConcurrencyShares"), v.value, "must be a non-negative integer");
}

static void lendable_percent(struct opt_int32 v, const struct field_path *at, struct field_errors *errs) {
    if (v.has && (v.value < 0 || v.value > 100)) field_invalid_int(errs, FIELD(at, "lendablePercent"), v.value, "must be between 0 and 100, inclusive");
}

static void limited(const struct flowcontrolv1_LimitedPriorityLevelConfiguration *l, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *response = FIELD(at, "limitResponse"), *q = FIELD(response, "queuing");
    nominal_shares(l->nominalConcurrencyShares, at, errs);
    if (str_eq(l->limitResponse.type, "Reject")) {
        if (l->limitResponse.queuing) field_forbidden(errs, q, "must be nil if limited.limitResponse.type is not Limited");
    } else if (str_eq(l->limitResponse.type, "Queue")) {
        if (!l->limitResponse.queuing) field_required(errs, q, "must not be empty if limited.limitResponse.type is Limited");
        else queuing(l->limitResponse.queuing, q, errs);
    } else field_not_supported(errs, FIELD(response, "type"), l->limitResponse.type, ONE_OF("Queue", "Reject"));
    lendable_percent(l->lendablePercent, at, errs);
    if (l->borrowingLimitPercent.has && l->borrowingLimitPercent.value < 0) field_invalid_int(errs, FIELD(at, "borrowingLimitPercent"), l->borrowingLimitPercent.value, "if specified, must be a non-negative integer");
}

static void level_spec(const struct flowcontrolv1_PriorityLevelConfigurationSpec *s, const char *name, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    bool exempt = str_eq(s->type, "Exempt");
    if (str_eq(name, "exempt") != exempt) field_invalid(errs, FIELD(at, "type"), s->type, "must be 'Exempt' if and only if `name` is 'exempt'");
    if (exempt) {
        if (s->limited) field_forbidden(errs, FIELD(at, "limited"), "must be nil if the type is not Limited");
        if (s->exempt) {
            nominal_shares(s->exempt->nominalConcurrencyShares, FIELD(at, "exempt"), errs);
            lendable_percent(s->exempt->lendablePercent, FIELD(at, "exempt"), errs);
        }
    } else if (str_eq(s->type, "Limited")) {
        if (s->exempt) field_forbidden(errs, FIELD(at, "exempt"), "must be nil if the type is Limited");
        if (!s->limited) field_required(errs, FIELD(at, "limited"), "must not be empty when type is Limited");
        else limited(s->limited, FIELD(at, "limited"), errs);
    } else field_not_supported(errs, FIELD(at, "type"), s->type, ONE_OF("Exempt", "Limited"));
}

void validate_prioritylevel(const void *obj, struct field_errors *errs) {
    const struct flowcontrolv1_PriorityLevelConfiguration *p = obj;
    const struct flowcontrolv1_PriorityLevelConfiguration *fixed = mandatory_priority_level(errs->arena, p->metadata.name);
    level_spec(&p->spec, p->metadata.name, errs);
    if (fixed) { /* the exempt level's shares may be chosen */
        struct flowcontrolv1_PriorityLevelConfigurationSpec want = fixed->spec;
        if (want.exempt) want.exempt = p->spec.exempt;
        if (!object_equal(&flowcontrolv1_PriorityLevelConfigurationSpec_desc, &p->spec, &want))
            field_invalid_raw(errs, FIELD(NULL, "spec"), text_of_go(errs->arena, &flowcontrolv1_PriorityLevelConfigurationSpec_desc, &p->spec), "spec of '%s' %s", p->metadata.name, want.exempt ? "except the 'spec.exempt' field must equal the fixed value" : "must equal the fixed value");
    }
    conditions((const void *)&p->status.conditions, errs);
}

void validate_prioritylevel_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_prioritylevel(obj, errs);
}

void validate_prioritylevel_status(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    conditions((const void *)&((const struct flowcontrolv1_PriorityLevelConfiguration *)obj)->status.conditions, errs);
}
