/* ResourceQuotas and LimitRanges. Tests: tests/unit/test_validation_quota.c. */
#include <string.h>
#include "api/names.h"
#include "api/quantity.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

/* ---- ResourceQuota ---- */

static void amounts(const struct string_map *list, const struct field_path *at, struct field_errors *errs) {
    LIST_FOREACH(e, list) {
        validate_quota_resource_name(e->key, FIELD_KEY(at, e->key), errs);
        validate_resource_quantity(e->key, e->value, FIELD_KEY(at, e->key), errs);
    }
}

static bool known_scope(const char *scope) {
    static const char *const scopes[] = {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass", NULL};
    return str_in(scope, scopes);
}

static bool scope_fits(const char *scope, const char *resource) {
    static const char *const compute[] = {"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory", NULL};
    if (!known_scope(scope)) return true;
    if (str_eq(scope, "BestEffort")) return str_eq(resource, "pods");
    if (str_eq(scope, "VolumeAttributesClass")) return str_eq(resource, "persistentvolumeclaims") || str_eq(resource, "requests.storage");
    return str_in(resource, compute);
}

static size_t unfit(const char *scope, const struct string_map *hard) {
    size_t n = 0;
    LIST_FOREACH(e, hard) n += resource_is_standard_for_quota(e->key) && !scope_fits(scope, e->key);
    return n;
}

static bool conflicting(const struct string_list *scopes, const char *a, const char *b) { return string_list_has(scopes, a) && string_list_has(scopes, b); }

static void conflicts(const struct string_list *seen, const char *shown, const struct field_path *at, struct field_errors *errs) {
    if (conflicting(seen, "BestEffort", "NotBestEffort")) field_invalid_raw(errs, at, shown, "conflicting scopes");
    if (conflicting(seen, "Terminating", "NotTerminating")) field_invalid_raw(errs, at, shown, "conflicting scopes");
}

static void scopes(const struct corev1_ResourceQuotaSpec *s, const struct field_path *at, struct field_errors *errs) {
    const char *shown = string_list_json_text(errs->arena, &s->scopes);
    for (size_t i = 0; i < s->scopes.len; i++) {
        if (!known_scope(s->scopes.items[i])) field_invalid_raw(errs, at, shown, "unsupported scope");
        for (size_t n = unfit(s->scopes.items[i], &s->hard); n; n--) field_invalid_raw(errs, at, shown, "unsupported scope applied to resource");
    }
    if (s->scopes.len) conflicts(&s->scopes, shown, at, errs);
}

static void scope_expression(const struct corev1_ScopedResourceSelectorRequirement *e, const struct corev1_ResourceQuotaSpec *s, const struct field_path *at, struct field_errors *errs) {
    static const char *const exists_only[] = {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity", NULL};
    const char *op = str_or(e->operator, "");
    if (!known_scope(e->scopeName)) field_invalid(errs, FIELD(at, "scopeName"), e->scopeName, "unsupported scope");
    for (size_t n = unfit(e->scopeName, &s->hard); n; n--)
        field_invalid_raw(errs, at, object_json_text(errs->arena, &corev1_ScopeSelector_desc, s->scopeSelector), "unsupported scope applied to resource");
    if (str_in(e->scopeName, exists_only) && !str_eq(op, "Exists"))
        field_invalid(errs, FIELD(at, "operator"), op, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                                                       "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
    if (str_eq(op, "In") || str_eq(op, "NotIn")) {
        if (!e->values.len) field_required(errs, FIELD(at, "values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
    } else if (str_eq(op, "Exists") || str_eq(op, "DoesNotExist")) {
        if (e->values.len) field_invalid_raw(errs, FIELD(at, "values"), string_list_json_text(errs->arena, &e->values), "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
    } else field_invalid(errs, FIELD(at, "operator"), op, "not a valid selector operator");
}

static void quota_spec(const struct corev1_ResourceQuotaSpec *s, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec"), *expressions = FIELD(FIELD(at, "scopeSelector"), "matchExpressions");
    struct string_list seen = {0};
    amounts(&s->hard, FIELD(at, "hard"), errs);
    scopes(s, FIELD(at, "scopes"), errs);
    if (!s->scopeSelector) return;
    LIST_FOREACH(e, &s->scopeSelector->matchExpressions) {
        scope_expression(e, s, expressions, errs);
        string_list_push(errs->arena, &seen, str_or(e->scopeName, ""));
    }
    conflicts(&seen, string_list_json_text(errs->arena, &s->scopes), expressions, errs);
}

static void quota_status(const struct corev1_ResourceQuotaStatus *s, struct field_errors *errs) {
    amounts(&s->hard, FIELD(FIELD(NULL, "status"), "hard"), errs);
    amounts(&s->used, FIELD(FIELD(NULL, "status"), "used"), errs);
}

void validate_resource_quota(const void *obj, struct field_errors *errs) {
    const struct corev1_ResourceQuota *q = obj;
    quota_spec(&q->spec, errs);
    quota_status(&q->status, errs);
}

void validate_resource_quota_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_ResourceQuota *q = obj, *old = old_obj;
    bool same = true;
    quota_spec(&q->spec, errs);
    for (size_t i = 0; i < q->spec.scopes.len; i++) same &= string_list_has(&old->spec.scopes, q->spec.scopes.items[i]);
    for (size_t i = 0; i < old->spec.scopes.len; i++) same &= string_list_has(&q->spec.scopes, old->spec.scopes.items[i]);
    if (!same) field_invalid_raw(errs, FIELD(FIELD(NULL, "spec"), "scopes"), string_list_json_text(errs->arena, &q->spec.scopes), "field is immutable");
}

void validate_resource_quota_status_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { quota_status(&((const struct corev1_ResourceQuota *)obj)->status, errs); }

/* ---- LimitRange ---- */

static void limit_type(const char *type, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"Pod", "Container", "PersistentVolumeClaim", NULL};
    struct string_list msgs = {0};
    name_qualified(errs->arena, str_or(type, ""), &msgs);
    field_invalid_each(errs, at, type, &msgs);
    if (!msgs.len && !strchr(type, '/') && !str_in(type, types)) field_invalid(errs, at, type, "must be a standard limit type or fully qualified");
}

static void limit_names(const struct string_map *list, const char *type, const struct field_path *at, struct field_errors *errs) {
    LIST_FOREACH(e, list) {
        if (str_eq(type, "Pod") || str_eq(type, "Container")) validate_container_resource_name(e->key, FIELD_KEY(at, e->key), errs);
        else validate_resource_name(e->key, FIELD_KEY(at, e->key), errs);
    }
}

static void ratio_against_bounds(const char *ratio, const char *min, const char *max, const struct field_path *at, struct field_errors *errs) {
    static const int64_t milli_max = INT64_MAX / 1000; /* what is more is compared in whole units */
    struct quantity r = quantity_of(ratio), lo = quantity_of(min), hi = quantity_of(max);
    bool fine = quantity_value(&r) < milli_max && quantity_value(&lo) < milli_max && quantity_value(&hi) < milli_max;
    double most = fine ? (double)quantity_milli_value(&hi) : (double)quantity_value(&hi), least = fine ? (double)quantity_milli_value(&lo) : (double)quantity_value(&lo), limit = most / least;
    if ((fine ? (double)quantity_milli_value(&r) / 1000 : (double)quantity_value(&r)) > limit) field_invalid(errs, at, ratio, "ratio %s is greater than max/min = %f", ratio, limit);
}

/* What a resource's bounds and defaults say of each other. */
static void limit_values(const struct corev1_LimitRangeItem *l, const char *k, const struct field_path *at, struct field_errors *errs) {
    bool pod = str_eq(l->type, "Pod");
    const char *min = string_map_get(&l->min, k), *max = string_map_get(&l->max, k), *ratio = string_map_get(&l->maxLimitRequestRatio, k);
    const char *def = pod ? NULL : string_map_get(&l->default_, k), *request = pod ? NULL : string_map_get(&l->defaultRequest, k);
    const struct field_path *def_at = FIELD_KEY(FIELD(at, "default"), k), *request_at = FIELD_KEY(FIELD(at, "defaultRequest"), k), *ratio_at = FIELD_KEY(FIELD(at, "maxLimitRequestRatio"), k);
    if (min && max && quantity_text_cmp(min, max) > 0) field_invalid(errs, FIELD_KEY(FIELD(at, "min"), k), min, "min value %s is greater than max value %s", min, max);
    if (request && min && quantity_text_cmp(min, request) > 0) field_invalid(errs, request_at, request, "min value %s is greater than default request value %s", min, request);
    if (request && max && quantity_text_cmp(request, max) > 0) field_invalid(errs, request_at, request, "default request value %s is greater than max value %s", request, max);
    if (request && def && quantity_text_cmp(request, def) > 0) field_invalid(errs, request_at, request, "default request value %s is greater than default limit value %s", request, def);
    if (def && min && quantity_text_cmp(min, def) > 0) field_invalid(errs, def_at, min, "min value %s is greater than default value %s", min, def);
    if (def && max && quantity_text_cmp(def, max) > 0) field_invalid(errs, def_at, max, "default value %s is greater than max value %s", def, max);
    if (ratio && quantity_text_cmp(ratio, "1") < 0) field_invalid(errs, ratio_at, ratio, "ratio %s is less than 1", ratio);
    if (ratio && min && max) ratio_against_bounds(ratio, min, max, ratio_at, errs);
    if (!resource_overcommit_allowed(k) && def && request && quantity_text_cmp(def, request) != 0)
        field_invalid(errs, request_at, request, "default value %s must equal to defaultRequest value %s in %s", def, request, k);
}

static void limit_item(const struct corev1_LimitRangeItem *l, const struct field_path *at, struct field_errors *errs) {
    bool pod = str_eq(l->type, "Pod");
    struct string_map keys = {0};
    limit_names(&l->max, l->type, FIELD(at, "max"), errs);
    limit_names(&l->min, l->type, FIELD(at, "min"), errs);
    if (pod) {
        if (l->default_.len) field_forbidden(errs, FIELD(at, "default"), "may not be specified when `type` is 'Pod'");
        if (l->defaultRequest.len) field_forbidden(errs, FIELD(at, "defaultRequest"), "may not be specified when `type` is 'Pod'");
    } else {
        limit_names(&l->default_, l->type, FIELD(at, "default"), errs);
        limit_names(&l->defaultRequest, l->type, FIELD(at, "defaultRequest"), errs);
    }
    if (str_eq(l->type, "PersistentVolumeClaim") && !string_map_has(&l->min, "storage") && !string_map_has(&l->max, "storage"))
        field_required(errs, FIELD(at, "limits"), "either minimum or maximum storage value is required, but neither was provided");
    limit_names(&l->maxLimitRequestRatio, l->type, FIELD(at, "maxLimitRequestRatio"), errs);
    const struct string_map *const lists[] = {&l->max, &l->min, &l->maxLimitRequestRatio, pod ? NULL : &l->default_, pod ? NULL : &l->defaultRequest};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (lists[i]) LIST_FOREACH(e, lists[i]) string_map_set(errs->arena, &keys, e->key, "");
    LIST_FOREACH(k, &keys) limit_values(l, k->key, at, errs);
}

void validate_limit_range(const void *obj, struct field_errors *errs) {
    const struct corev1_LimitRangeItem_list *limits = &((const struct corev1_LimitRange *)obj)->spec.limits;
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "limits");
    for (size_t i = 0; i < limits->len; i++) {
        const struct field_path *p = FIELD_INDEX(at, i);
        bool duplicate = false;
        for (size_t j = 0; j < i; j++) duplicate |= str_eq(limits->items[j].type, limits->items[i].type);
        limit_type(limits->items[i].type, FIELD(p, "type"), errs);
        if (duplicate) field_duplicate(errs, FIELD(p, "type"), limits->items[i].type);
        limit_item(&limits->items[i], p, errs);
    }
}

void validate_limit_range_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { validate_limit_range(obj, errs); }
