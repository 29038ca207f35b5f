/* node.k8s.io, scheduling.k8s.io, coordination.k8s.io, events.k8s.io, apiregistration.k8s.io, storagemigration.k8s.io and internal.apiserver.k8s.io.
 * Upstream: pkg/apis/GROUP/validation, kube-aggregator/pkg/apis/apiregistration/validation. */
#include <string.h>
#include "api/quantity.h"
#include "api/validation/groups.h"
#include "api/validation/pod_parts.h"

/* ---- RuntimeClass ---- */

/* By the list's keys. */
static bool same_toleration(const struct corev1_Toleration *a, const struct corev1_Toleration *b) {
    return str_eq(str_or(a->key, ""), str_or(b->key, "")) && str_eq(str_or(a->operator, ""), str_or(b->operator, "")) && str_eq(str_or(a->value, ""), str_or(b->value, "")) &&
           str_eq(str_or(a->effect, ""), str_or(b->effect, ""));
}

void validate_runtimeclass(const void *obj, struct field_errors *errs) {
    const struct nodev1_RuntimeClass *c = obj;
    const struct field_path *scheduling = FIELD(NULL, "scheduling");
    if (str_empty(c->handler)) field_required(errs, FIELD(NULL, "handler"), "%s", "");
    else CHECK_NAME(errs, FIELD(NULL, "handler"), c->handler, name_dns1123_label);
    if (c->overhead) validate_overhead(&c->overhead->podFixed, FIELD(NULL, "overhead"), errs);
    if (!c->scheduling) return;
    validate_labels(&c->scheduling->nodeSelector, FIELD(scheduling, "nodeSelector"), errs);
    const struct corev1_Toleration_list *t = &c->scheduling->tolerations;
    check_tolerations(errs, FIELD(scheduling, "tolerations"), t);
    for (size_t i = 0; i < t->len; i++)
        for (size_t j = 0; j < i; j++)
            if (same_toleration(&t->items[j], &t->items[i])) {
                field_duplicate_raw(errs, FIELD_INDEX(FIELD(scheduling, "tolerations"), i), text_of_go(errs->arena, &corev1_Toleration_desc, &t->items[i]));
                break;
            }
}

void validate_runtimeclass_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_runtimeclass(obj, errs);
    check_immutable_string(errs, FIELD(NULL, "handler"), ((const struct nodev1_RuntimeClass *)obj)->handler, ((const struct nodev1_RuntimeClass *)old)->handler);
}

/* ---- PriorityClass ---- */

static const struct { const char *name; int32_t value; } system_classes[] = {{"system-node-critical", 2000001000}, {"system-cluster-critical", 2000000000}};
enum { USER_PRIORITY_MAX = 1000000000 };

void validate_priorityclass(const void *obj, struct field_errors *errs) {
    const struct schedulingv1_PriorityClass *c = obj;
    if (str_has_prefix(str_or(c->metadata.name, ""), "system-")) {
        const char *why = arena_printf(errs->arena, "%s is not a known system priority class", c->metadata.name);
        for (size_t i = 0; i < ARRAY_LEN(system_classes); i++) {
            if (!str_eq(system_classes[i].name, c->metadata.name)) continue;
            why = c->value != system_classes[i].value ? arena_printf(errs->arena, "value of %s PriorityClass must be %d", system_classes[i].name, system_classes[i].value)
                  : c->globalDefault                 ? arena_printf(errs->arena, "globalDefault of %s PriorityClass must be false", system_classes[i].name)
                                                     : NULL;
        }
        if (why) field_forbidden(errs, FIELD(FIELD(NULL, "metadata"), "name"), "priority class names with 'system-' prefix are reserved for system use only. error: %s", why);
    } else if (c->value > USER_PRIORITY_MAX) field_forbidden(errs, FIELD(NULL, "value"), "maximum allowed value of a user defined priority is %d", USER_PRIORITY_MAX);
    if (c->preemptionPolicy && !*c->preemptionPolicy) field_required(errs, FIELD(NULL, "preemptionPolicy"), "%s", "");
    else if (c->preemptionPolicy) check_supported(errs, FIELD(NULL, "preemptionPolicy"), c->preemptionPolicy, ONE_OF("PreemptLowerPriority", "Never"));
}

void validate_priorityclass_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct schedulingv1_PriorityClass *c = obj, *old = old_obj;
    if (c->value != old->value) field_forbidden(errs, FIELD(NULL, "value"), "may not be changed in an update.");
    check_immutable_string(errs, FIELD(NULL, "preemptionPolicy"), c->preemptionPolicy, old->preemptionPolicy);
}

/* ---- Lease, LeaseCandidate ---- */

static bool coordinated_strategy(const char *s, const struct field_path *at, struct field_errors *errs) {
    at = FIELD(at, "strategy"); /* sic: spec.strategy.strategy */
    if (str_eq(s, "OldestEmulationVersion")) return true;
    if (!strchr(s, '/')) field_not_supported(errs, at, s, ONE_OF("OldestEmulationVersion"));
    else CHECK_NAME(errs, at, s, name_qualified);
    return false;
}

void validate_lease(const void *obj, struct field_errors *errs) {
    const struct coordinationv1_LeaseSpec *s = &((const struct coordinationv1_Lease *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    if (s->leaseDurationSeconds.has && s->leaseDurationSeconds.value <= 0) field_invalid_int(errs, FIELD(at, "leaseDurationSeconds"), s->leaseDurationSeconds.value, "must be greater than 0");
    if (s->leaseTransitions.has && s->leaseTransitions.value < 0) field_invalid_int(errs, FIELD(at, "leaseTransitions"), s->leaseTransitions.value, "must be greater than or equal to 0");
    if (s->strategy) coordinated_strategy(s->strategy, FIELD(at, "strategy"), errs);
    if (!str_empty(s->preferredHolder) && str_empty(s->strategy)) field_forbidden(errs, FIELD(at, "preferredHolder"), "may only be specified if `strategy` is defined");
}

void validate_lease_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_lease(obj, errs);
}

/* MAJOR.MINOR.PATCH without leading zeros */
static bool is_semver(const char *v) {
    for (int i = 0; i < 3; i++) {
        size_t n = strspn(v, "0123456789");
        if (n == 0 || (n > 1 && *v == '0')) return false;
        v += n;
        if (i < 2 && *v++ != '.') return false;
    }
    return *v == 0 || *v == '-' || *v == '+';
}

void validate_leasecandidate(const void *obj, struct field_errors *errs) {
    const struct coordinationv1beta1_LeaseCandidateSpec *s = &((const struct coordinationv1beta1_LeaseCandidate *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    if (str_empty(s->leaseName)) field_required(errs, FIELD(at, "leaseName"), "%s", "");
    if (str_empty(s->binaryVersion)) field_required(errs, FIELD(at, "binaryVersion"), "%s", "");
    else if (!is_semver(s->binaryVersion)) field_invalid(errs, FIELD(at, "binaryVersion"), s->binaryVersion, "must be a valid semantic version");
    if (str_eq(s->strategy, "OldestEmulationVersion") && str_empty(s->emulationVersion)) field_required(errs, FIELD(at, "emulationVersion"), "must be specified when `strategy` is 'OldestEmulationVersion'");
    else if (!str_empty(s->emulationVersion) && !is_semver(s->emulationVersion)) field_invalid(errs, FIELD(at, "emulationVersion"), s->emulationVersion, "must be a valid semantic version");
    if (str_empty(s->strategy)) field_required(errs, FIELD(at, "strategy"), "%s", "");
    else coordinated_strategy(s->strategy, FIELD(at, "strategy"), errs);
}

void validate_leasecandidate_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_leasecandidate(obj, errs);
    check_immutable_string(errs, FIELD(FIELD(NULL, "spec"), "leaseName"), ((const struct coordinationv1beta1_LeaseCandidate *)obj)->spec.leaseName, ((const struct coordinationv1beta1_LeaseCandidate *)old)->spec.leaseName);
}

/* ---- APIService ---- */

void object_name_any(struct arena *a, const char *name, bool prefix, struct string_list *msgs) {
    (void)a;
    (void)name;
    (void)prefix;
    (void)msgs;
}

void validate_apiservice(const void *obj, struct field_errors *errs) {
    const struct apiregistrationv1_APIService *s = obj;
    const struct field_path *at = FIELD(NULL, "spec");
    const char *group = str_or(s->spec.group, ""), *version = str_or(s->spec.version, "");
    const char *name = arena_printf(errs->arena, "%s.%s", version, group);
    if (!str_empty(s->metadata.name) && !str_eq(s->metadata.name, name)) field_invalid(errs, FIELD(FIELD(NULL, "metadata"), "name"), s->metadata.name, "must be `spec.version+\".\"+spec.group`: %s", go_quote(errs->arena, name));
    if (*group) {
        struct string_list msgs = {0};
        name_dns1123_subdomain(errs->arena, group, &msgs);
        if (msgs.len) field_invalid(errs, FIELD(at, "group"), group, "%s", msgs.items[0]);
    } else if (strcmp(version, "v1") != 0) field_required(errs, FIELD(at, "group"), "only v1 may have an empty group and it better be legacy kube");
    struct string_list msgs = {0};
    name_dns1035_label(errs->arena, version, &msgs);
    if (msgs.len) field_invalid(errs, FIELD(at, "version"), version, "%s", msgs.items[0]);
    if (s->spec.groupPriorityMinimum <= 0 || s->spec.groupPriorityMinimum > 20000) field_invalid_int(errs, FIELD(at, "groupPriorityMinimum"), s->spec.groupPriorityMinimum, "must be positive and less than 20000");
    if (s->spec.versionPriority <= 0 || s->spec.versionPriority > 1000) field_invalid_int(errs, FIELD(at, "versionPriority"), s->spec.versionPriority, "must be positive and less than 1000");
    if (!s->spec.service) {
        if (s->spec.caBundle.len) field_invalid_raw(errs, FIELD(at, "caBundle"), arena_printf(errs->arena, "%zu bytes", s->spec.caBundle.len), "local APIServices may not have a caBundle");
        if (s->spec.insecureSkipTLSVerify) field_invalid_bool(errs, FIELD(at, "insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify");
        return;
    }
    const struct field_path *service = FIELD(at, "service");
    if (str_empty(s->spec.service->namespace)) field_required(errs, FIELD(service, "namespace"), "%s", "");
    if (str_empty(s->spec.service->name)) field_required(errs, FIELD(service, "name"), "%s", "");
    int32_t port = s->spec.service->port.has ? s->spec.service->port.value : 443;
    if (port < 1 || port > 65535) field_invalid_int(errs, FIELD(service, "port"), port, "port is not valid: must be between 1 and 65535, inclusive");
    if (s->spec.insecureSkipTLSVerify && s->spec.caBundle.len) field_invalid_bool(errs, FIELD(at, "insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
}

void validate_apiservice_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_apiservice(obj, errs);
}

void validate_apiservice_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct apiregistrationv1_APIServiceStatus *s = &((const struct apiregistrationv1_APIService *)obj)->status;
    (void)old;
    for (size_t i = 0; i < s->conditions.len; i++)
        check_supported(errs, FIELD(FIELD_INDEX(FIELD(FIELD(NULL, "status"), "conditions"), i), "status"), s->conditions.items[i].status, ONE_OF("False", "True", "Unknown"));
}

/* ---- StorageVersionMigration, StorageVersion ---- */

void validate_svm(const void *obj, struct field_errors *errs) {
    const struct metav1_GroupResource *r = &((const struct storagemigrationv1beta1_StorageVersionMigration *)obj)->spec.resource;
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "resource");
    if (str_empty(r->resource)) field_required(errs, FIELD(at, "resource"), "resource is required");
    else CHECK_NAME(errs, FIELD(at, "resource"), r->resource, name_dns1035_label);
    if (!str_empty(r->group)) CHECK_NAME(errs, FIELD(at, "group"), r->group, name_dns1123_subdomain);
}

void validate_svm_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagemigrationv1beta1_StorageVersionMigration *m = obj, *old = old_obj;
    validate_svm(obj, errs);
    validate_immutable(object_equal(&metav1_GroupResource_desc, &m->spec.resource, &old->spec.resource), object_json_text(errs->arena, &metav1_GroupResource_desc, &m->spec.resource), FIELD(FIELD(NULL, "spec"), "resource"), errs);
}

void validate_svm_status(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct storagemigrationv1beta1_StorageVersionMigration *m = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "status");
    check_conditions(errs, FIELD(at, "conditions"), &m->status.conditions);
    if (!str_empty(old->status.resourceVersion)) check_immutable_string(errs, FIELD(at, "resourceVersion"), m->status.resourceVersion, old->status.resourceVersion);
}

void validate_storageversion(const void *obj, struct field_errors *errs) {
    const struct apiserverinternalv1alpha1_StorageVersion *s = obj;
    if (!strchr(str_or(s->metadata.name, ""), '.')) field_invalid(errs, FIELD(FIELD(NULL, "metadata"), "name"), s->metadata.name, "name must be in the form of <group>.<resource>");
}

void validate_storageversion_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)obj;
    (void)old;
    (void)errs;
}

void validate_storageversion_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct apiserverinternalv1alpha1_StorageVersionStatus *s = &((const struct apiserverinternalv1alpha1_StorageVersion *)obj)->status;
    const struct field_path *at = FIELD(FIELD(NULL, "status"), "storageVersions");
    struct string_list ids = {0};
    (void)old;
    for (size_t i = 0; i < s->storageVersions.len; i++) {
        const struct apiserverinternalv1alpha1_ServerStorageVersion *v = &s->storageVersions.items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        check_duplicate(errs, FIELD(p, "apiServerID"), &ids, v->apiServerID);
        CHECK_NAME(errs, FIELD(p, "apiServerID"), v->apiServerID, name_dns1123_subdomain);
        if (!string_list_has(&v->decodableVersions, v->encodingVersion)) field_invalid_raw(errs, FIELD(p, "decodableVersions"), text_of_list(errs->arena, &v->decodableVersions), "decodableVersions must include encodingVersion %s", str_or(v->encodingVersion, ""));
    }
}

/* ---- Workload, PodGroup ---- */

static void scheduling_policy(const struct schedulingv1alpha2_PodGroupSchedulingPolicy *p, const struct field_path *at, struct field_errors *errs) {
    if (!p->basic && !p->gang) field_required(errs, at, "must specify one of: `basic`, `gang`");
    else if (p->basic && p->gang) field_invalid_raw(errs, at, "{`basic`, `gang`}", "must specify exactly one of: `basic`, `gang`");
    if (p->gang && p->gang->minCount < 1) field_invalid_int(errs, FIELD(FIELD(at, "gang"), "minCount"), p->gang->minCount, "must be greater than or equal to 1");
}

void validate_workload(const void *obj, struct field_errors *errs) {
    const struct schedulingv1alpha2_WorkloadSpec *s = &((const struct schedulingv1alpha2_Workload *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *templates = FIELD(at, "podGroupTemplates");
    struct string_list names = {0};
    if (s->controllerRef) {
        if (!str_empty(s->controllerRef->apiGroup)) CHECK_NAME(errs, FIELD(FIELD(at, "controllerRef"), "apiGroup"), s->controllerRef->apiGroup, name_dns1123_subdomain);
        require_path_segment(errs, FIELD(FIELD(at, "controllerRef"), "kind"), s->controllerRef->kind);
        require_path_segment(errs, FIELD(FIELD(at, "controllerRef"), "name"), s->controllerRef->name);
    }
    if (!s->podGroupTemplates.len) field_required(errs, templates, "must have at least one item");
    if (s->podGroupTemplates.len > 8) field_too_many(errs, templates, (int64_t)s->podGroupTemplates.len, 8);
    for (size_t i = 0; i < s->podGroupTemplates.len; i++) {
        const struct field_path *p = FIELD_INDEX(templates, i);
        CHECK_NAME(errs, FIELD(p, "name"), s->podGroupTemplates.items[i].name, name_dns1123_label);
        check_duplicate(errs, p, &names, s->podGroupTemplates.items[i].name);
        scheduling_policy(&s->podGroupTemplates.items[i].schedulingPolicy, FIELD(p, "schedulingPolicy"), errs);
    }
}

void validate_workload_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct schedulingv1alpha2_Workload *w = obj, *old = old_obj;
    validate_immutable(object_equal(&schedulingv1alpha2_WorkloadSpec_desc, &w->spec, &old->spec), text_of_go(errs->arena, &schedulingv1alpha2_WorkloadSpec_desc, &w->spec), FIELD(NULL, "spec"), errs);
}

void validate_podgroup(const void *obj, struct field_errors *errs) { scheduling_policy(&((const struct schedulingv1alpha2_PodGroup *)obj)->spec.schedulingPolicy, FIELD(FIELD(NULL, "spec"), "schedulingPolicy"), errs); }

void validate_podgroup_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct schedulingv1alpha2_PodGroup *g = obj, *old = old_obj;
    validate_immutable(object_equal(&schedulingv1alpha2_PodGroupSpec_desc, &g->spec, &old->spec), text_of_go(errs->arena, &schedulingv1alpha2_PodGroupSpec_desc, &g->spec), FIELD(NULL, "spec"), errs);
}
