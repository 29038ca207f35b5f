/* What objects use of a ResourceQuota: see quota.h. */
#include "api/quota.h"
#include <inttypes.h>
#include "api/quantity.h"
#include "api/validation/pod_parts.h"
#include "base/macros.h"
#include "base/str.h"

#define DEVICES_SUFFIX ".deviceclass.resource.k8s.io/devices"

/* ---- sums ---- */

void quota_add_amount(struct arena *a, struct string_map *sum, const char *name, const char *value) {
    struct quantity total = quantity_of(string_map_get(sum, name)), more = quantity_of(value);
    if (string_map_has(sum, name)) quantity_add(&total, &more);
    else total = more;
    string_map_set(a, sum, name, quantity_format(a, &total));
}

static void add_all(struct arena *a, struct string_map *sum, const struct string_map *more) { LIST_FOREACH(e, more) quota_add_amount(a, sum, e->key, e->value); }

static void max_all(struct arena *a, struct string_map *into, const struct string_map *other) {
    LIST_FOREACH(e, other)
        if (!string_map_has(into, e->key) || quantity_text_cmp(e->value, string_map_get(into, e->key)) > 0) string_map_set(a, into, e->key, e->value);
}

struct string_map quota_pod_resources(struct arena *a, const struct corev1_PodSpec *spec, bool limits, bool overhead) {
    struct string_map sum = {0}, sidecars = {0}, peak = {0};
    LIST_FOREACH(c, &spec->containers) add_all(a, &sum, limits ? &c->resources.limits : &c->resources.requests);
    LIST_FOREACH(c, &spec->initContainers) {
        const struct string_map *own = limits ? &c->resources.limits : &c->resources.requests;
        struct string_map now = string_map_copy(a, &sidecars);
        add_all(a, &now, own);
        max_all(a, &peak, &now);
        if (!str_eq(c->restartPolicy, "Always")) continue;
        add_all(a, &sum, own);
        sidecars = now;
    }
    max_all(a, &sum, &peak);
    if (spec->resources)
        LIST_FOREACH(e, limits ? &spec->resources->limits : &spec->resources->requests)
            if (str_eq(e->key, "cpu") || str_eq(e->key, "memory") || resource_is_huge_page(e->key)) string_map_set(a, &sum, e->key, e->value);
    if (overhead)
        LIST_FOREACH(e, &spec->overhead)
            if (!limits || quantity_of(string_map_get(&sum, e->key)).nanos > 0) quota_add_amount(a, &sum, e->key, e->value);
    return sum;
}

/* ---- usage ---- */

static const char *count_name(struct arena *a, const struct quota_kind *k) { return arena_printf(a, str_empty(k->group) ? "count/%s%s" : "count/%s.%s", k->resource, str_or(k->group, "")); }

/* Resources that are counted under a short name too. */
static bool has_short_name(const struct quota_kind *k) {
    static const char *const named[] = {"services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims", NULL};
    return str_empty(k->group) && str_in(k->resource, named);
}

void quota_compute_usage(struct arena *a, const struct string_map *requests, const struct string_map *limits, struct string_map *ret) {
    static const char *const names[] = {"cpu", "memory", "ephemeral-storage"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *request = string_map_get(requests, names[i]), *limit = string_map_get(limits, names[i]);
        if (request) string_map_set(a, ret, names[i], request);
        if (request) string_map_set(a, ret, arena_printf(a, "requests.%s", names[i]), request);
        if (limit) string_map_set(a, ret, arena_printf(a, "limits.%s", names[i]), limit);
    }
    LIST_FOREACH(e, requests) {
        if (resource_is_huge_page(e->key)) string_map_set(a, ret, e->key, e->value);
        if (resource_is_huge_page(e->key) || resource_is_extended(e->key)) string_map_set(a, ret, arena_printf(a, "requests.%s", e->key), e->value);
    }
}

static void pod_usage(struct arena *a, const struct corev1_Pod *p, struct string_map *ret) {
    if (str_eq(p->status.phase, "Failed") || str_eq(p->status.phase, "Succeeded")) return;
    struct string_map requests = quota_pod_resources(a, &p->spec, false, true), limits = quota_pod_resources(a, &p->spec, true, true);
    string_map_set(a, ret, "pods", "1");
    quota_compute_usage(a, &requests, &limits, ret);
}

static void service_usage(struct arena *a, const struct corev1_Service *s, struct string_map *ret) {
    size_t ports = 0;
    bool balancer = str_eq(s->spec.type, "LoadBalancer"), all = str_eq(s->spec.type, "NodePort") || (balancer && (!s->spec.allocateLoadBalancerNodePorts.has || s->spec.allocateLoadBalancerNodePorts.value));
    LIST_FOREACH(p, &s->spec.ports) ports += all || (balancer && p->nodePort);
    string_map_set(a, ret, "services.nodeports", arena_printf(a, "%zu", ports));
    string_map_set(a, ret, "services.loadbalancers", balancer ? "1" : "0");
}

static void claim_usage(struct arena *a, const struct corev1_PersistentVolumeClaim *c, struct string_map *ret) {
    const char *beta = string_map_get(&c->metadata.annotations, "volume.beta.kubernetes.io/storage-class"), *class = beta ? beta : c->spec.storageClassName;
    const char *size = string_map_get(&c->spec.resources.requests, "storage"), *allocated = string_map_get(&c->status.allocatedResources, "storage");
    if (allocated && quantity_text_cmp(allocated, size) > 0) size = allocated;
    if (!str_empty(class)) string_map_set(a, ret, arena_printf(a, "%s.storageclass.storage.k8s.io/persistentvolumeclaims", class), "1");
    if (!size) return;
    string_map_set(a, ret, "requests.storage", size);
    if (!str_empty(class)) string_map_set(a, ret, arena_printf(a, "%s.storageclass.storage.k8s.io/requests.storage", class), size);
}

/* "All" counts as the most that an allocation can hold: resourceapi.AllocationResultsMaxSize. */
static int64_t devices_of(const char *mode, int64_t count) { return str_eq(mode, "ExactCount") ? count : str_eq(mode, "All") ? 32 : 0; }

static const char *devices_name(struct arena *a, const char *class) { return arena_printf(a, "%s" DEVICES_SUFFIX, str_or(class, "")); }

/* Of alternatives the worst for each class counts. */
static void resource_claim_usage(struct arena *a, const struct resourcev1_ResourceClaim *c, struct string_map *ret) {
    LIST_FOREACH(r, &c->spec.devices.requests) {
        struct string_map worst = {0};
        LIST_FOREACH(s, &r->firstAvailable) {
            const char *name = devices_name(a, s->deviceClassName), *n = arena_printf(a, "%" PRId64, devices_of(s->allocationMode, s->count));
            if (!string_map_has(&worst, name) || quantity_text_cmp(n, string_map_get(&worst, name)) > 0) string_map_set(a, &worst, name, n);
        }
        add_all(a, ret, &worst);
        if (!r->firstAvailable.len && r->exactly)
            quota_add_amount(a, ret, devices_name(a, r->exactly->deviceClassName), arena_printf(a, "%" PRId64, devices_of(r->exactly->allocationMode, r->exactly->count)));
    }
}

struct string_map quota_usage_of(struct arena *a, const struct quota_kind *k, const void *obj) {
    struct string_map ret = {0};
    string_map_set(a, &ret, count_name(a, k), "1");
    if (has_short_name(k)) string_map_set(a, &ret, k->resource, "1");
    if (k->type == &corev1_Pod_desc) pod_usage(a, obj, &ret);
    else if (k->type == &corev1_Service_desc) service_usage(a, obj, &ret);
    else if (k->type == &corev1_PersistentVolumeClaim_desc) claim_usage(a, obj, &ret);
    else if (k->type == &resourcev1_ResourceClaim_desc) resource_claim_usage(a, obj, &ret);
    return ret;
}

bool quota_concerns(struct arena *a, const struct quota_kind *k, const char *name) {
    static const char *const pod[] = {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", NULL};
    if (str_eq(name, count_name(a, k)) || (has_short_name(k) && str_eq(name, k->resource))) return true;
    if (k->type == &corev1_Pod_desc)
        return str_in(name, pod) || resource_is_huge_page(name) || str_has_prefix(name, "requests.hugepages-") || (!resource_is_native(name) && str_has_prefix(name, "requests."));
    if (k->type == &resourcev1_ResourceClaim_desc) return str_has_suffix(name, DEVICES_SUFFIX);
    if (k->type == &corev1_Service_desc) return str_eq(name, "services.nodeports") || str_eq(name, "services.loadbalancers");
    if (k->type == &corev1_PersistentVolumeClaim_desc)
        return str_eq(name, "requests.storage") || str_has_suffix(name, ".storageclass.storage.k8s.io/requests.storage") || str_has_suffix(name, ".storageclass.storage.k8s.io/persistentvolumeclaims");
    return false;
}

/* ---- scopes ---- */

static bool asks_for_compute(const struct corev1_ResourceRequirements *r) {
    static const char *const names[] = {"cpu", "memory"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (quantity_of(string_map_get(&r->requests, names[i])).nanos > 0 || quantity_of(string_map_get(&r->limits, names[i])).nanos > 0) return true;
    return false;
}

static bool best_effort(const struct corev1_PodSpec *s) {
    if (s->resources && asks_for_compute(s->resources)) return false;
    LIST_FOREACH(c, &s->containers)
        if (asks_for_compute(&c->resources)) return false;
    LIST_FOREACH(c, &s->initContainers)
        if (asks_for_compute(&c->resources)) return false;
    return true;
}

static bool names_namespaces(const struct corev1_PodAffinityTerm_list *required, const struct corev1_WeightedPodAffinityTerm_list *preferred) {
    LIST_FOREACH(t, required)
        if (t->namespaces.len || t->namespaceSelector) return true;
    LIST_FOREACH(t, preferred)
        if (t->podAffinityTerm.namespaces.len || t->podAffinityTerm.namespaceSelector) return true;
    return false;
}

static bool cross_namespace(const struct corev1_Affinity *f) {
    if (!f) return false;
    return (f->podAffinity && names_namespaces(&f->podAffinity->requiredDuringSchedulingIgnoredDuringExecution, &f->podAffinity->preferredDuringSchedulingIgnoredDuringExecution)) ||
           (f->podAntiAffinity && names_namespaces(&f->podAntiAffinity->requiredDuringSchedulingIgnoredDuringExecution, &f->podAntiAffinity->preferredDuringSchedulingIgnoredDuringExecution));
}

static bool value_matches(const char *value, const char *op, const struct string_list *values) {
    bool present = !str_empty(value);
    if (str_eq(op, "Exists")) return present;
    if (str_eq(op, "DoesNotExist")) return !present;
    bool in = present && string_list_has(values, value);
    return str_eq(op, "In") ? in : str_eq(op, "NotIn") && !in;
}

bool quota_pod_terminating(const struct corev1_Pod *p) { return p->spec.activeDeadlineSeconds.has && p->spec.activeDeadlineSeconds.value >= 0; }

static bool scope_matches(const struct quota_kind *k, const void *obj, const char *scope, const char *op, const struct string_list *values) {
    if (k->type == &corev1_PersistentVolumeClaim_desc && str_eq(scope, "VolumeAttributesClass")) return value_matches(((const struct corev1_PersistentVolumeClaim *)obj)->spec.volumeAttributesClassName, op, values);
    if (k->type != &corev1_Pod_desc) return false;
    const struct corev1_Pod *p = obj;
    if (str_eq(scope, "Terminating")) return quota_pod_terminating(p);
    if (str_eq(scope, "NotTerminating")) return !quota_pod_terminating(p);
    if (str_eq(scope, "BestEffort")) return best_effort(&p->spec);
    if (str_eq(scope, "NotBestEffort")) return !best_effort(&p->spec);
    if (str_eq(scope, "PriorityClass")) return value_matches(p->spec.priorityClassName, op, values);
    return str_eq(scope, "CrossNamespacePodAffinity") && cross_namespace(p->spec.affinity);
}

bool quota_scopes_match(const struct corev1_ResourceQuotaSpec *spec, const struct quota_kind *k, const void *obj) {
    LIST_FOREACH(scope, &spec->scopes)
        if (!scope_matches(k, obj, *scope, "Exists", NULL)) return false;
    if (spec->scopeSelector)
        LIST_FOREACH(e, &spec->scopeSelector->matchExpressions)
            if (!scope_matches(k, obj, e->scopeName, e->operator, &e->values)) return false;
    return true;
}
