/* Resources: their names and amounts, of containers, of whole Pods, of quotas. Upstream: the second half of core/validation and core/helper. */
#include <stdlib.h>
#include <string.h>
#include "api/names.h"
#include "api/pod_util.h"
#include "api/quantity.h"
#include "api/validation/groups.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "base/str.h"

/* ---- names ---- */

bool resource_is_native(const char *name) { return !strchr(name, '/') || strstr(name, "kubernetes.io/") != NULL; }
bool resource_is_huge_page(const char *name) { return str_has_prefix(name, "hugepages-"); }
bool resource_overcommit_allowed(const char *name) { return resource_is_native(name) && !resource_is_huge_page(name); }
static bool is_quota_huge_page(const char *name) { return resource_is_huge_page(name) || str_has_prefix(name, "requests.hugepages-"); }

bool resource_is_extended(const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct string_list msgs = {0};
    if (resource_is_native(name) || str_has_prefix(name, "requests.")) return false;
    name_qualified(a, arena_printf(a, "requests.%s", name), &msgs);
    return msgs.len == 0;
}

static bool standard_for_containers(const char *name) {
    static const char *const known[] = {"cpu", "memory", "ephemeral-storage", NULL};
    return str_in(name, known) || resource_is_huge_page(name);
}

static const char *const counted[] = {"pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", NULL};

bool resource_is_standard_for_quota(const char *name) {
    static const char *const known[] = {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
                                        "limits.ephemeral-storage", NULL};
    return str_in(name, known) || str_in(name, counted) || is_quota_huge_page(name);
}

static bool standard(const char *name) { return resource_is_standard_for_quota(name) || str_eq(name, "storage"); }

void validate_resource_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_qualified(errs->arena, name, &msgs);
    field_invalid_each(errs, at, name, &msgs);
    if (!msgs.len && !strchr(name, '/') && !standard(name)) field_invalid(errs, at, name, "must be a standard resource type or fully qualified");
}

void validate_container_resource_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    validate_resource_name(name, at, errs);
    if (!strchr(name, '/')) {
        if (!standard_for_containers(name)) field_invalid(errs, at, name, "must be a standard resource for containers");
    } else if (!resource_is_native(name) && !resource_is_extended(name)) field_invalid(errs, at, name, "doesn't follow extended resource name standard");
}

void validate_quota_resource_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    validate_resource_name(name, at, errs);
    if (!strchr(name, '/') && !resource_is_standard_for_quota(name)) field_invalid(errs, at, name, "must be a standard resource for quota");
}

static void pod_resource_name(const char *name, const struct field_path *at, struct field_errors *errs) {
    static const char *const supported[] = {"cpu", "hugepages-", "memory", NULL};
    size_t before = errs->len;
    validate_resource_name(name, at, errs);
    if (errs->len == before && !str_eq(name, "cpu") && !str_eq(name, "memory") && !resource_is_huge_page(name)) field_not_supported(errs, at, name, supported);
}

/* ---- amounts ---- */

void validate_resource_quantity(const char *name, const char *value, const struct field_path *at, struct field_errors *errs) {
    struct quantity q = quantity_of(value);
    if (q.nanos < 0) field_invalid(errs, at, value, "must be greater than or equal to 0");
    if ((str_in(name, counted) || resource_is_extended(name)) && !quantity_is_integer(&q)) field_invalid(errs, at, value, "must be an integer");
}

static void huge_page_amount(const char *name, const char *value, const struct field_path *at, struct field_errors *errs) {
    struct quantity q = quantity_of(value), page;
    bool known = quantity_parse(name + strlen("hugepages-"), &page, NULL) == 0;
    int64_t size = known ? quantity_value(&page) : 0, amount = quantity_value(&q);
    if (size <= 0 || !quantity_is_integer(&page) || amount % size != 0) field_invalid(errs, at, value, "%s is not positive integer multiple of %s", value, name);
}

static int compare_names(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void claim_known(const char *name, const struct corev1_PodSpec *spec, const struct field_path *at, struct field_errors *errs) {
    const char *names = "";
    struct string_list all = {0};
    LIST_FOREACH(k, &spec->resourceClaims) {
        if (str_eq(k->name, name)) return;
        if (!str_empty(k->name) && !string_list_has(&all, k->name)) string_list_push(errs->arena, &all, k->name);
    }
    if (all.len) qsort(all.items, all.len, sizeof(*all.items), compare_names);
    for (size_t i = 0; i < all.len; i++) names = arena_printf(errs->arena, "%s%s%s", names, i ? ", " : "", all.items[i]);
    field_error_add(errs, "FieldValueNotFound", at, "Not found: %s: must be one of the names in pod.spec.resourceClaims%s%s", go_quote(errs->arena, name), *names ? ": " : " which is empty", names);
}

/* A claim may be named whole or by its requests, each once. */
static void claim_names(const struct corev1_ResourceRequirements *r, const struct corev1_PodSpec *spec, const struct field_path *at, struct field_errors *errs) {
    struct string_list seen = {0};
    for (size_t i = 0; i < r->claims.len; i++) {
        const struct corev1_ResourceClaim *c = &r->claims.items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        if (str_empty(c->name)) {
            field_required(errs, p, "%s", "");
            continue;
        }
        if (string_list_has(&seen, c->name)) field_duplicate(errs, p, c->name);
        else {
            const char *key = str_empty(c->request) ? c->name : arena_printf(errs->arena, "%s/%s", c->name, c->request), *part = arena_printf(errs->arena, "%s/", c->name);
            if (!str_empty(c->request)) validate_dns1123_label(c->request, FIELD(p, "request"), errs);
            if (string_list_has(&seen, key)) field_duplicate(errs, p, key);
            for (size_t k = 0; str_empty(c->request) && k < seen.len; k++)
                if (str_has_prefix(seen.items[k], part)) field_duplicate(errs, p, c->name);
            if (!string_list_has(&seen, key)) string_list_push(errs->arena, &seen, key);
        }
        claim_known(c->name, spec, p, errs);
    }
}

struct huge_use { bool cpu_or_memory, huge; };

static void amount(const char *name, const char *value, bool whole_pod, const struct field_path *at, struct huge_use *use, struct field_errors *errs) {
    if (whole_pod) pod_resource_name(name, at, errs);
    else validate_container_resource_name(name, at, errs);
    validate_resource_quantity(name, value, at, errs);
    use->cpu_or_memory |= str_eq(name, "cpu") || str_eq(name, "memory");
}

static void requirements(const struct corev1_ResourceRequirements *r, const struct corev1_PodSpec *spec, bool whole_pod, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *limits = FIELD(at, "limits"), *requests = FIELD(at, "requests");
    struct huge_use use = {0};
    LIST_FOREACH(e, &r->limits) {
        amount(e->key, e->value, whole_pod, FIELD_KEY(limits, e->key), &use, errs);
        if (!resource_is_huge_page(e->key)) continue;
        use.huge = true;
        huge_page_amount(e->key, e->value, FIELD_KEY(limits, e->key), errs);
    }
    LIST_FOREACH(e, &r->requests) {
        const char *limit = string_map_get(&r->limits, e->key);
        amount(e->key, e->value, whole_pod, FIELD_KEY(requests, e->key), &use, errs);
        int order = limit ? quantity_text_cmp(e->value, limit) : 0;
        if (limit && order != 0 && !resource_overcommit_allowed(e->key)) field_invalid(errs, requests, e->value, "must be equal to %s limit of %s", e->key, limit);
        else if (limit && order > 0) field_invalid(errs, requests, e->value, "must be less than or equal to %s limit of %s", e->key, limit);
        else if (!limit && !resource_overcommit_allowed(e->key)) field_required(errs, limits, "Limit must be set for non overcommitable resources");
        if (!resource_is_huge_page(e->key)) continue;
        use.huge = true;
        huge_page_amount(e->key, e->value, FIELD_KEY(requests, e->key), errs);
    }
    if (use.huge && !use.cpu_or_memory) field_forbidden(errs, at, "HugePages require cpu or memory");
    if (spec) claim_names(r, spec, FIELD(at, "claims"), errs);
}

void validate_container_resources(const struct corev1_ResourceRequirements *r, const struct corev1_PodSpec *spec, const struct field_path *at, struct field_errors *errs) {
    requirements(r, spec, false, at, errs);
}

void validate_overhead(const struct string_map *overhead, const struct field_path *at, struct field_errors *errs) {
    struct corev1_ResourceRequirements r = {.limits = *overhead};
    requirements(&r, NULL, false, at, errs);
}

/* ---- the whole Pod ---- */

static void consistency(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    bool any;
    LIST_FOREACH(e, &s->resources->requests) {
        struct quantity sum = pod_aggregate(s, e->key, false, &any), whole = quantity_of(e->value);
        if (any && quantity_cmp(&sum, &whole) > 0)
            field_invalid(errs, FIELD_KEY(FIELD(at, "requests"), e->key), e->value, "must be greater than or equal to aggregate container requests of %s", quantity_format(errs->arena, &sum));
    }
    LIST_FOREACH(e, &s->resources->limits) {
        if (!resource_is_huge_page(e->key)) continue;
        struct quantity sum = pod_aggregate(s, e->key, true, &any), whole = quantity_of(e->value);
        if (any && quantity_cmp(&sum, &whole) > 0)
            field_invalid(errs, FIELD_KEY(FIELD(at, "limits"), e->key), e->value, "must be greater than or equal to aggregate container limits of %s", quantity_format(errs->arena, &sum));
    }
    for (size_t i = 0; i < s->containers.len; i++)
        LIST_FOREACH(e, &s->containers.items[i].resources.limits) {
            const char *whole = string_map_get(&s->resources->limits, e->key);
            if (whole && quantity_text_cmp(e->value, whole) > 0)
                field_invalid(errs, FIELD(FIELD_KEY(FIELD_INDEX(FIELD(at, "containers"), i), e->key), "limits"), e->value, "must be less than or equal to pod limits of %s", whole);
        }
}

void validate_pod_level_resources(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->resources) return;
    if (s->os && str_eq(s->os->name, "windows")) {
        field_forbidden(errs, at, "may not be set for a windows pod");
        return;
    }
    if (s->resources->claims.items) field_forbidden(errs, FIELD(at, "claims"), "claims may not be set for Resources at pod-level");
    requirements(s->resources, s, true, at, errs);
    consistency(s, at, errs);
}

static void resource_claim(const struct corev1_PodSpec *s, size_t i, const struct field_path *at, struct field_errors *errs) {
    const struct corev1_PodResourceClaim *c = &s->resourceClaims.items[i];
    bool duplicate = false;
    for (size_t j = 0; j < i; j++) duplicate |= str_eq(s->resourceClaims.items[j].name, c->name);
    if (str_empty(c->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    else if (duplicate) field_duplicate(errs, FIELD(at, "name"), c->name);
    else validate_dns1123_label(c->name, FIELD(at, "name"), errs);
    const char *text = text_of_go(errs->arena, &corev1_PodResourceClaim_desc, c);
    if (c->resourceClaimName && c->resourceClaimTemplateName) field_invalid_raw(errs, at, text, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
    if (!c->resourceClaimName && !c->resourceClaimTemplateName) field_invalid_raw(errs, at, text, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
    if (c->resourceClaimName) validate_dns1123_subdomain(c->resourceClaimName, FIELD(at, "resourceClaimName"), errs);
    if (c->resourceClaimTemplateName) validate_dns1123_subdomain(c->resourceClaimTemplateName, FIELD(at, "resourceClaimTemplateName"), errs);
}

void validate_resource_claims(const struct corev1_PodSpec *s, const struct metav1_ObjectMeta *meta, const struct field_path *at, struct field_errors *errs) {
    bool mirror = meta && string_map_has(&meta->annotations, "kubernetes.io/config.mirror");
    for (size_t i = 0; i < s->resourceClaims.len; i++) {
        if (mirror) field_forbidden(errs, FIELD(NULL, "[]"), "static pods do not support resource claims");
        else resource_claim(s, i, FIELD_INDEX(at, i), errs);
    }
}
