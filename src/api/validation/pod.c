/* Pods: the spec, and what may change. Upstream: pkg/apis/core/validation/validation.go. Containers are in pod_containers.c, volumes in pod_volumes.c,
 * resources in pod_resources.c, where Pods go in pod_scheduling.c, what they may do in pod_security.c. Tests: tests/unit/test_validation_pods.c. */
#include <string.h>
#include "api/names.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "api/validation/pod_parts.h"
#include "api/validation/pod_scheduling.h"
#include "api/validation/pod_security.h"
#include "base/str.h"

enum { HOST_NAME_MAX_BYTES = 64 };

static void host_network_ports(const struct corev1_PodSpec *s, bool is_template, const struct field_path *at, struct field_errors *errs) {
    if (!s->hostNetwork) return;
    for (size_t i = 0; i < s->containers.len; i++)
        for (size_t k = 0; k < s->containers.items[i].ports.len; k++) {
            const struct corev1_ContainerPort *p = &s->containers.items[i].ports.items[k];
            if ((!is_template || p->hostPort) && p->hostPort != p->containerPort)
                field_invalid_int(errs, FIELD(FIELD_INDEX(FIELD(FIELD_INDEX(FIELD(at, "containers"), i), "ports"), k), "hostPort"), p->hostPort, "must match `containerPort` when `hostNetwork` is true");
        }
}

static void host_aliases(const struct corev1_HostAlias_list *list, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < list->len; i++) {
        validate_ip(list->items[i].ip, FIELD(FIELD_INDEX(at, i), "ip"), errs);
        for (size_t j = 0; j < list->items[i].hostnames.len; j++)
            validate_dns1123_subdomain(list->items[i].hostnames.items[j], FIELD_INDEX(FIELD(FIELD_INDEX(at, i), "hostnames"), j), errs);
    }
}

static void toleration_operator(const struct corev1_Toleration *t, const struct field_path *at, struct field_errors *errs) {
    static const char *const known[] = {"Equal", "Exists", NULL}, *const comparing[] = {"Equal", "Exists", "Lt", "Gt", NULL};
    struct string_list msgs = {0};
    const char *all = NULL;
    if (str_empty(t->operator) || str_eq(t->operator, "Equal")) {
        name_label_value(errs->arena, str_or(t->value, ""), &msgs);
        for (size_t i = 0; i < msgs.len; i++) all = all ? arena_printf(errs->arena, "%s;%s", all, msgs.items[i]) : msgs.items[i];
        if (all) field_invalid(errs, at, t->value, "%s", all);
    } else if (str_eq(t->operator, "Exists")) {
        if (!str_empty(t->value)) field_invalid(errs, at, t->value, "value must be empty when `operator` is 'Exists'");
    } else field_not_supported(errs, at, t->operator, str_in(t->operator, comparing) ? comparing : known); /* the gate of comparing is off by default */
}

void validate_tolerations(const struct corev1_Toleration_list *list, const struct field_path *at, struct field_errors *errs) {
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_Toleration *t = &list->items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        struct string_list msgs = {0};
        if (!str_empty(t->key)) {
            name_qualified(errs->arena, t->key, &msgs);
            field_invalid_each(errs, FIELD(p, "key"), t->key, &msgs);
        } else if (!str_eq(t->operator, "Exists")) field_invalid(errs, FIELD(p, "operator"), t->operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        if (t->tolerationSeconds.has && !str_eq(t->effect, "NoExecute")) field_invalid(errs, FIELD(p, "effect"), t->effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        toleration_operator(t, FIELD(p, "operator"), errs);
        if (!str_empty(t->effect)) validate_enum(t->effect, effects, FIELD(p, "effect"), errs);
    }
}

static void hostname_override(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!s->hostnameOverride) return;
    if (s->setHostnameAsFQDN.has && s->setHostnameAsFQDN.value) field_forbidden(errs, at, "may not be specified when setHostnameAsFQDN is true");
    if (s->hostNetwork) field_forbidden(errs, at, "may not be specified when hostNetwork is true");
    if (strlen(s->hostnameOverride) > HOST_NAME_MAX_BYTES) field_too_long(errs, at, HOST_NAME_MAX_BYTES);
    validate_dns1123_subdomain(s->hostnameOverride, at, errs);
}

/* Names of other objects, where they are given. */
static void other_names(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!str_empty(s->serviceAccountName)) validate_dns1123_subdomain(s->serviceAccountName, FIELD(at, "serviceAccountName"), errs);
    if (!str_empty(s->nodeName)) validate_dns1123_subdomain(s->nodeName, FIELD(at, "nodeName"), errs);
    if (s->activeDeadlineSeconds.has && (s->activeDeadlineSeconds.value < 1 || s->activeDeadlineSeconds.value > INT32_MAX))
        field_invalid_int(errs, FIELD(at, "activeDeadlineSeconds"), s->activeDeadlineSeconds.value, "must be between 1 and 2147483647, inclusive");
    if (!str_empty(s->hostname)) validate_dns1123_label(s->hostname, FIELD(at, "hostname"), errs);
    if (!str_empty(s->subdomain)) validate_dns1123_label(s->subdomain, FIELD(at, "subdomain"), errs);
    validate_tolerations(&s->tolerations, FIELD(at, "tolerations"), errs);
    host_aliases(&s->hostAliases, FIELD(at, "hostAliases"), errs);
    if (!str_empty(s->priorityClassName)) validate_dns1123_subdomain(s->priorityClassName, FIELD(at, "priorityClassName"), errs);
    if (s->runtimeClassName) validate_dns1123_subdomain(s->runtimeClassName, FIELD(at, "runtimeClassName"), errs);
}

static void policy(const char *value, const char *const *supported, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(value)) field_required(errs, at, "%s", "");
    else validate_enum(value, supported, at, errs);
}

void validate_pod_spec(const struct corev1_PodSpec *s, const struct metav1_ObjectMeta *meta, const struct field_path *at, bool is_template, struct field_errors *errs) {
    static const char *const restart[] = {"Always", "OnFailure", "Never", NULL}, *const dns[] = {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", NULL};
    static const char *const preemption[] = {"PreemptLowerPriority", "Never", NULL};
    struct pod_scope scope = {.spec = s, .is_template = is_template};
    if (!s->terminationGracePeriodSeconds.has) field_required(errs, FIELD(at, "terminationGracePeriodSeconds"), "%s", "");
    validate_volumes(s, meta, is_template, FIELD(at, "volumes"), &scope.volumes, errs);
    validate_resource_claims(s, is_template ? NULL : meta, FIELD(at, "resourceClaims"), errs);
    validate_pod_containers(&scope, FIELD(at, "containers"), errs);
    validate_pod_init_containers(&scope, FIELD(at, "initContainers"), errs);
    validate_pod_ephemeral_containers(&scope, FIELD(at, "ephemeralContainers"), errs);
    validate_pod_level_resources(s, FIELD(at, "resources"), errs);
    host_network_ports(s, is_template, at, errs);
    policy(s->restartPolicy, restart, FIELD(at, "restartPolicy"), errs);
    policy(s->dnsPolicy, dns, FIELD(at, "dnsPolicy"), errs);
    validate_labels(&s->nodeSelector, FIELD(at, "nodeSelector"), errs);
    validate_pod_security(s, at, errs);
    validate_affinity(s->affinity, FIELD(at, "affinity"), errs);
    validate_dns_config(s, FIELD(at, "dnsConfig"), errs);
    validate_gates(s, at, errs);
    validate_topology_spread(&s->topologySpreadConstraints, FIELD(at, "topologySpreadConstraints"), errs);
    validate_host_process(s, at, errs);
    validate_host_users(s, at, errs);
    hostname_override(s, FIELD(at, "hostnameOverride"), errs);
    other_names(s, at, errs);
    if (s->preemptionPolicy) policy(s->preemptionPolicy, preemption, FIELD(at, "preemptionPolicy"), errs);
    validate_overhead(&s->overhead, FIELD(at, "overhead"), errs);
    validate_os(s, at, errs);
    validate_file_key_volumes(s, at, errs);
}

void validate_pod_template(const struct corev1_PodTemplateSpec *t, const struct field_path *at, struct field_errors *errs) {
    validate_labels(&t->metadata.labels, FIELD(at, "labels"), errs);
    validate_annotations(&t->metadata.annotations, FIELD(at, "annotations"), errs);
    validate_pod_annotations(&t->metadata.annotations, &t->spec, FIELD(at, "annotations"), errs);
    validate_pod_spec(&t->spec, &t->metadata, FIELD(at, "spec"), true, errs);
    validate_pod_annotations_match(&t->metadata.annotations, &t->spec, FIELD(at, "spec"), errs);
    if (t->spec.ephemeralContainers.len) field_forbidden(errs, FIELD(FIELD(at, "spec"), "ephemeralContainers"), "ephemeral containers not allowed in pod template");
}

static void token_needs_account(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    if (!str_empty(s->serviceAccountName)) return;
    for (size_t i = 0; i < s->volumes.len; i++)
        for (size_t k = 0; s->volumes.items[i].projected && k < s->volumes.items[i].projected->sources.len; k++)
            if (s->volumes.items[i].projected->sources.items[k].serviceAccountToken)
                field_forbidden(errs, FIELD(FIELD_INDEX(FIELD(FIELD(FIELD_INDEX(FIELD(at, "volumes"), i), "projected"), "sources"), k), "serviceAccountToken"),
                                "must not be specified when serviceAccountName is not set");
}

void validate_whole_pod(const struct corev1_Pod *p, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec");
    validate_pod_annotations(&p->metadata.annotations, &p->spec, FIELD(FIELD(NULL, "metadata"), "annotations"), errs);
    validate_pod_spec(&p->spec, &p->metadata, at, false, errs);
    token_needs_account(&p->spec, at, errs);
    validate_images_not_padded(&p->spec, at, errs);
}

void validate_changed_pod(const struct corev1_Pod *p, struct field_errors *errs) {
    validate_object_meta(&p->metadata, true, object_name_dns_subdomain, FIELD(NULL, "metadata"), errs);
    validate_whole_pod(p, errs);
}

void validate_pod(const void *obj, struct field_errors *errs) {
    const struct corev1_Pod *p = obj;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_whole_pod(p, errs);
    if (p->spec.ephemeralContainers.len) field_forbidden(errs, FIELD(at, "ephemeralContainers"), "cannot be set on create");
    if (p->spec.schedulingGates.len && !str_empty(p->spec.nodeName)) field_forbidden(errs, FIELD(at, "nodeName"), "cannot be set until all schedulingGates have been cleared");
    validate_pod_annotations_match(&p->metadata.annotations, &p->spec, at, errs);
}

/* ---- updates: images, deadline, tolerations added, gates removed; nothing else ---- */

static bool tolerations_only_added(const struct corev1_Pod *pod, const struct corev1_Pod *old) {
    LIST_FOREACH(o, &old->spec.tolerations) {
        bool found = false;
        LIST_FOREACH(t, &pod->spec.tolerations) {
            struct corev1_Toleration a = *o, b = *t;
            a.tolerationSeconds = b.tolerationSeconds;
            found |= object_equal(&corev1_Toleration_desc, &a, &b);
        }
        if (!found) return false;
    }
    return true;
}

/* The count of containers may not change; their images may. False: nothing more can be compared. */
static bool containers_update(const struct corev1_Container_list *now, const struct corev1_Container_list *old, const struct field_path *at, struct field_errors *errs) {
    if (now->len != old->len) {
        field_forbidden(errs, at, "pod updates may not add or remove containers");
        return false;
    }
    for (size_t i = 0; i < now->len; i++) {
        validate_required(now->items[i].image, FIELD(FIELD_INDEX(at, i), "image"), errs);
        validate_image_not_padded(now->items[i].image, FIELD_INDEX(at, i), errs);
    }
    return true;
}

static bool deadline_update(const struct corev1_PodSpec *s, const struct corev1_PodSpec *old, const struct field_path *at, struct field_errors *errs) {
    const struct opt_int64 *now = &s->activeDeadlineSeconds, *before = &old->activeDeadlineSeconds;
    if (!now->has) {
        if (before->has) field_invalid_raw(errs, at, "null", "must not update from a positive integer to nil value");
        return true;
    }
    if (now->value < 0 || now->value > INT32_MAX) field_invalid_int(errs, at, now->value, "must be between 0 and 2147483647, inclusive");
    else if (before->has && now->value > before->value) field_invalid_int(errs, at, now->value, "must be less than or equal to previous value");
    else return true;
    return false;
}

static void anything_else(const struct corev1_Pod *pod, const struct corev1_Pod *old, const struct field_path *at, struct field_errors *errs) {
    struct corev1_PodSpec *a = object_copy(errs->arena, &corev1_PodSpec_desc, &pod->spec);
    for (size_t i = 0; i < a->containers.len; i++) a->containers.items[i].image = old->spec.containers.items[i].image;
    for (size_t i = 0; i < a->initContainers.len; i++) a->initContainers.items[i].image = old->spec.initContainers.items[i].image;
    a->activeDeadlineSeconds = old->spec.activeDeadlineSeconds;
    a->tolerations = old->spec.tolerations;
    validate_gated_update(pod, old, a, at, errs);
    if (old->spec.terminationGracePeriodSeconds.value < 0 && a->terminationGracePeriodSeconds.value == 1) a->terminationGracePeriodSeconds = old->spec.terminationGracePeriodSeconds;
    if (!object_equal(&corev1_PodSpec_desc, a, &old->spec))
        field_forbidden(errs, at, "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)");
}

void validate_pod_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct corev1_Pod *pod = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_changed_pod(pod, errs);
    validate_pod_annotations_update(pod, old, errs);
    if (!containers_update(&pod->spec.containers, &old->spec.containers, FIELD(at, "containers"), errs)) return;
    if (!containers_update(&pod->spec.initContainers, &old->spec.initContainers, FIELD(at, "initContainers"), errs)) return;
    if (!deadline_update(&pod->spec, &old->spec, FIELD(at, "activeDeadlineSeconds"), errs)) return;
    if (!tolerations_only_added(pod, old)) field_forbidden(errs, FIELD(at, "tolerations"), "existing toleration can not be modified except its tolerationSeconds");
    else validate_tolerations(&pod->spec.tolerations, FIELD(at, "tolerations"), errs);
    anything_else(pod, old, at, errs);
}
