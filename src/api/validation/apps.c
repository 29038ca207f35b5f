/* Specs of the kinds that keep Pods running. Their statuses are in apps_status.c. Tests: tests/unit/test_validation_apps.c. */
#include "api/validation/apps.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "api/names.h"
#include "api/selector.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

static void selector_required(const struct metav1_LabelSelector *s, const char *empty_text, const struct field_path *at, struct field_errors *errs) {
    if (!s) {
        field_required(errs, at, "%s", "");
        return;
    }
    validate_label_selector(s, at, errs);
    if (!s->matchLabels.len && !s->matchExpressions.len) field_invalid_raw(errs, at, object_json_text(errs->arena, &metav1_LabelSelector_desc, s), "%s", empty_text);
}

static void not_matching(const struct string_map *labels, const struct field_path *template, struct field_errors *errs) {
    field_invalid_raw(errs, FIELD(FIELD(template, "metadata"), "labels"), string_map_json_text(errs->arena, labels), "`selector` does not match template `labels`");
}

/* Whether the selector can be parsed; the template's labels are checked against it. An empty one matches all, none nothing. */
static bool selector_matches_template(const struct metav1_LabelSelector *s, const struct string_map *labels, const struct field_path *template, struct field_errors *errs) {
    struct selector sel;
    if (!s) {
        not_matching(labels, template, errs);
        return true;
    }
    if (label_selector_from(errs->arena, s, &sel, NULL) != 0) return false;
    bool empty = !s->matchLabels.len && !s->matchExpressions.len;
    if (!empty && !selector_matches(&sel, labels)) not_matching(labels, template, errs);
    return true;
}

static void always_restarted(const struct corev1_PodTemplateSpec *t, const char *kind, const struct field_path *template, struct field_errors *errs) {
    static const char *const always[] = {"Always", NULL};
    const struct field_path *spec = FIELD(template, "spec");
    if (!str_eq(t->spec.restartPolicy, "Always")) field_not_supported(errs, FIELD(spec, "restartPolicy"), t->spec.restartPolicy, always);
    if (t->spec.activeDeadlineSeconds.has) field_forbidden(errs, FIELD(spec, "activeDeadlineSeconds"), "activeDeadlineSeconds in %s is not Supported", kind);
}

/* ---- numbers or percentages ---- */

static bool percent_value(const struct int_or_string *v, struct arena *a, int *ret) {
    struct string_list msgs = {0};
    if (v->kind != INTSTR_STRING) return false;
    name_percent(a, str_or(v->s, ""), &msgs);
    if (msgs.len) return false;
    *ret = (int)strtol(v->s, NULL, 10);
    return true;
}

static int int_or_percent_value(const struct int_or_string *v, struct arena *a) {
    int value;
    int64_t number;
    if (percent_value(v, a, &value)) return value;
    if (v->kind == INTSTR_STRING) return str_to_i64(str_or(v->s, ""), &number) ? (int)number : 0;
    return v->i;
}

static char *int_or_string_text(struct arena *a, const struct int_or_string *v) { return v->kind == INTSTR_STRING ? go_quote(a, v->s) : arena_printf(a, "%d", v->i); }

static void positive_int_or_percent(const struct int_or_string *v, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (v->kind != INTSTR_STRING) {
        validate_non_negative(v->i, at, errs);
        return;
    }
    name_percent(errs->arena, str_or(v->s, ""), &msgs);
    field_invalid_each(errs, at, v->s, &msgs);
}

static void at_most_100_percent(const struct int_or_string *v, const struct field_path *at, struct field_errors *errs) {
    int value;
    if (percent_value(v, errs->arena, &value) && value > 100) field_invalid(errs, at, v->s, "must not be greater than 100%%");
}

/* ---- Deployment, ReplicaSet, ReplicationController ---- */

static void replica_template(const struct metav1_LabelSelector *s, const struct corev1_PodTemplateSpec *t, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *template = FIELD(at, "template");
    if (!selector_matches_template(s, &t->metadata.labels, template, errs)) {
        field_invalid_raw(errs, FIELD(at, "selector"), object_json_text(errs->arena, &metav1_LabelSelector_desc, s), "invalid label selector");
        return;
    }
    validate_pod_template(t, template, errs);
    always_restarted(t, "ReplicaSet", template, errs);
}

static void rolling_update_deployment(const struct appsv1_RollingUpdateDeployment *r, const struct field_path *at, struct field_errors *errs) {
    positive_int_or_percent(&r->maxUnavailable, FIELD(at, "maxUnavailable"), errs);
    positive_int_or_percent(&r->maxSurge, FIELD(at, "maxSurge"), errs);
    if (int_or_percent_value(&r->maxUnavailable, errs->arena) == 0 && int_or_percent_value(&r->maxSurge, errs->arena) == 0)
        field_invalid_raw(errs, FIELD(at, "maxUnavailable"), int_or_string_text(errs->arena, &r->maxUnavailable), "may not be 0 when `maxSurge` is 0");
    at_most_100_percent(&r->maxUnavailable, FIELD(at, "maxUnavailable"), errs);
}

/* Upstream prints its internal struct here. */
static void strategy_not_supported(const char *type, const struct int_or_string *unavailable, const struct int_or_string *surge, const char *supported, const struct field_path *at, struct field_errors *errs) {
    struct arena *a = errs->arena;
    const char *rolling = unavailable ? arena_printf(a, "{\"MaxUnavailable\":%s,\"MaxSurge\":%s}", int_or_string_text(a, unavailable), int_or_string_text(a, surge)) : "null";
    field_error_add(errs, "FieldValueNotSupported", at, "Unsupported value: {\"Type\":%s,\"RollingUpdate\":%s}: supported values: %s", go_quote(a, type), rolling, supported);
}

static void deployment_strategy(const struct appsv1_DeploymentStrategy *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *rolling = FIELD(at, "rollingUpdate");
    if (str_eq(s->type, "Recreate")) {
        if (s->rollingUpdate) field_forbidden(errs, rolling, "may not be specified when strategy `type` is 'Recreate'");
    } else if (str_eq(s->type, "RollingUpdate")) {
        if (s->rollingUpdate) rolling_update_deployment(s->rollingUpdate, rolling, errs);
        else field_required(errs, rolling, "this should be defaulted and never be nil");
    } else strategy_not_supported(s->type, s->rollingUpdate ? &s->rollingUpdate->maxUnavailable : NULL, s->rollingUpdate ? &s->rollingUpdate->maxSurge : NULL, "\"Recreate\", \"RollingUpdate\"", at, errs);
}

void validate_deployment(const void *obj, struct field_errors *errs) {
    const struct appsv1_DeploymentSpec *s = &((const struct appsv1_Deployment *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_non_negative(s->replicas.value, FIELD(at, "replicas"), errs);
    selector_required(s->selector, "empty selector is invalid for deployment", FIELD(at, "selector"), errs);
    replica_template(s->selector, &s->template, at, errs);
    deployment_strategy(&s->strategy, FIELD(at, "strategy"), errs);
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    if (s->revisionHistoryLimit.has) validate_non_negative(s->revisionHistoryLimit.value, FIELD(at, "revisionHistoryLimit"), errs);
    if (!s->progressDeadlineSeconds.has) return;
    validate_non_negative(s->progressDeadlineSeconds.value, FIELD(at, "progressDeadlineSeconds"), errs);
    if (s->progressDeadlineSeconds.value <= s->minReadySeconds)
        field_invalid_int(errs, FIELD(at, "progressDeadlineSeconds"), s->progressDeadlineSeconds.value, "must be greater than minReadySeconds");
}

static void selector_immutable(const struct metav1_LabelSelector *s, const struct metav1_LabelSelector *old, struct field_errors *errs) {
    validate_immutable_struct(&metav1_LabelSelector_desc, s, old, FIELD(FIELD(NULL, "spec"), "selector"), errs);
}

void validate_deployment_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_deployment(obj, errs);
    selector_immutable(((const struct appsv1_Deployment *)obj)->spec.selector, ((const struct appsv1_Deployment *)old)->spec.selector, errs);
}

void validate_replicaset(const void *obj, struct field_errors *errs) {
    const struct appsv1_ReplicaSetSpec *s = &((const struct appsv1_ReplicaSet *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_non_negative(s->replicas.value, FIELD(at, "replicas"), errs);
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    selector_required(s->selector, "empty selector is invalid for deployment", FIELD(at, "selector"), errs);
    replica_template(s->selector, &s->template, at, errs);
}

void validate_replicaset_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_replicaset(obj, errs);
    selector_immutable(((const struct appsv1_ReplicaSet *)obj)->spec.selector, ((const struct appsv1_ReplicaSet *)old)->spec.selector, errs);
}

void validate_replicationcontroller(const void *obj, struct field_errors *errs) {
    const struct corev1_ReplicationControllerSpec *s = &((const struct corev1_ReplicationController *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *template = FIELD(at, "template");
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    if (!s->selector.len) field_required(errs, FIELD(at, "selector"), "%s", "");
    if (!s->replicas.has) field_required(errs, FIELD(at, "replicas"), "%s", "");
    else validate_non_negative(s->replicas.value, FIELD(at, "replicas"), errs);
    if (!s->template) {
        field_required(errs, template, "%s", "");
        return;
    }
    bool matches = true;
    LIST_FOREACH(e, &s->selector) matches &= string_map_has(&s->template->metadata.labels, e->key) && str_eq(string_map_get(&s->template->metadata.labels, e->key), e->value);
    if (!matches) not_matching(&s->template->metadata.labels, template, errs);
    validate_pod_template(s->template, template, errs);
    always_restarted(s->template, "ReplicationController", template, errs);
}

void validate_replicationcontroller_update(const void *obj, const void *old UNUSED, struct field_errors *errs) { validate_replicationcontroller(obj, errs); }

/* ---- StatefulSet ---- */

static void retention_policy(const struct appsv1_StatefulSetPersistentVolumeClaimRetentionPolicy *p, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"Retain", "Delete", NULL};
    if (!p) return;
    validate_enum(str_or(p->whenDeleted, ""), policies, FIELD(at, "whenDeleted"), errs);
    validate_enum(str_or(p->whenScaled, ""), policies, FIELD(at, "whenScaled"), errs);
}

static void statefulset_update_strategy(const struct appsv1_StatefulSetUpdateStrategy *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *rolling = FIELD(at, "rollingUpdate");
    if (str_empty(s->type)) field_required(errs, at, "%s", "");
    else if (str_eq(s->type, "OnDelete")) {
        if (s->rollingUpdate)
            field_invalid_raw(errs, rolling, object_json_text(errs->arena, &appsv1_RollingUpdateStatefulSetStrategy_desc, s->rollingUpdate), "only allowed for updateStrategy 'RollingUpdate'");
    } else if (str_eq(s->type, "RollingUpdate")) {
        if (!s->rollingUpdate) return;
        validate_non_negative(s->rollingUpdate->partition.value, FIELD(rolling, "partition"), errs);
        const struct int_or_string *max = &s->rollingUpdate->maxUnavailable;
        if (!max->kind) return;
        positive_int_or_percent(max, FIELD(rolling, "maxUnavailable"), errs);
        if (int_or_percent_value(max, errs->arena) == 0) field_invalid_raw(errs, FIELD(rolling, "maxUnavailable"), int_or_string_text(errs->arena, max), "cannot be 0");
        at_most_100_percent(max, FIELD(rolling, "maxUnavailable"), errs);
    } else field_invalid_raw(errs, at, object_json_text(errs->arena, &appsv1_StatefulSetUpdateStrategy_desc, s), "must be 'RollingUpdate' or 'OnDelete'");
}

/* The template as its Pods will be: claims are volumes of theirs. */
static const struct corev1_PodTemplateSpec *template_with_claims(const struct appsv1_StatefulSetSpec *s, struct arena *a) {
    struct corev1_PodTemplateSpec *t = arena_memdup(a, &s->template, sizeof(*t));
    t->spec.subdomain = t->spec.hostname = NULL;
    t->spec.volumes = (struct corev1_Volume_list){0};
    LIST_FOREACH(c, &s->volumeClaimTemplates) {
        bool again = false;
        LIST_FOREACH(v, &t->spec.volumes) again |= str_eq(v->name, c->metadata.name);
        if (again) continue;
        struct corev1_Volume *v = LIST_PUSH(a, &t->spec.volumes);
        v->name = c->metadata.name;
        v->persistentVolumeClaim = ARENA_NEW(a, struct corev1_PersistentVolumeClaimVolumeSource);
        v->persistentVolumeClaim->claimName = c->metadata.name;
    }
    LIST_FOREACH(v, &s->template.spec.volumes) {
        bool claimed = false;
        LIST_FOREACH(c, &s->volumeClaimTemplates) claimed |= str_eq(c->metadata.name, v->name);
        if (!claimed) *LIST_PUSH(a, &t->spec.volumes) = *v;
    }
    return t;
}

static void statefulset_template(const struct appsv1_StatefulSetSpec *s, bool skip_spec, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *template = FIELD(at, "template");
    const struct corev1_PodTemplateSpec *t = template_with_claims(s, errs->arena);
    if (!selector_matches_template(s->selector, &t->metadata.labels, template, errs)) {
        field_invalid_raw(errs, FIELD(at, "selector"), object_json_text(errs->arena, &metav1_LabelSelector_desc, s->selector), "%s", "");
        return;
    }
    if (!skip_spec) validate_pod_template(t, template, errs);
    validate_labels(&t->metadata.labels, FIELD(template, "labels"), errs);
    validate_annotations(&t->metadata.annotations, FIELD(template, "annotations"), errs);
}

static void statefulset_spec(const struct appsv1_StatefulSetSpec *s, bool update, bool skip_template, const struct field_path *at, struct field_errors *errs) {
    static const char *const policies[] = {"OrderedReady", "Parallel", NULL};
    struct string_list msgs = {0};
    if (str_empty(s->podManagementPolicy)) field_required(errs, FIELD(at, "podManagementPolicy"), "%s", "");
    else if (!str_in(s->podManagementPolicy, policies)) field_invalid(errs, FIELD(at, "podManagementPolicy"), s->podManagementPolicy, "must be 'OrderedReady' or 'Parallel'");
    statefulset_update_strategy(&s->updateStrategy, FIELD(at, "updateStrategy"), errs);
    retention_policy(s->persistentVolumeClaimRetentionPolicy, FIELD(at, "persistentVolumeClaimRetentionPolicy"), errs);
    if (!update)
        for (size_t i = 0; i < s->volumeClaimTemplates.len; i++)
            validate_claim_spec(&s->volumeClaimTemplates.items[i].spec, FIELD(FIELD_INDEX(FIELD(at, "volumeClaimTemplates"), i), "spec"), errs);
    validate_non_negative(s->replicas.value, FIELD(at, "replicas"), errs);
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    if (s->ordinals) validate_non_negative(s->ordinals->start, FIELD(at, "ordinals.start"), errs);
    if (!update && !str_empty(s->serviceName)) {
        name_dns1123_label(errs->arena, s->serviceName, &msgs);
        field_invalid_each(errs, FIELD(at, "serviceName"), s->serviceName, &msgs);
    }
    selector_required(s->selector, "empty selector is invalid for statefulset", FIELD(at, "selector"), errs);
    statefulset_template(s, skip_template, at, errs);
    always_restarted(&s->template, "StatefulSet", FIELD(at, "template"), errs);
}

void validate_statefulset(const void *obj, struct field_errors *errs) { statefulset_spec(&((const struct appsv1_StatefulSet *)obj)->spec, false, false, FIELD(NULL, "spec"), errs); }

void validate_statefulset_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct appsv1_StatefulSet *s = obj, *old = old_obj;
    struct field_errors before = field_errors_in(errs->arena);
    statefulset_spec(&old->spec, true, false, NULL, &before); /* what was wrong already does not hold up other changes */
    statefulset_spec(&s->spec, true, before.len > 0, FIELD(NULL, "spec"), errs);
    struct appsv1_StatefulSetSpec a = s->spec;
    a.replicas = old->spec.replicas;
    a.template = old->spec.template;
    a.updateStrategy = old->spec.updateStrategy;
    a.minReadySeconds = old->spec.minReadySeconds;
    a.ordinals = old->spec.ordinals;
    a.revisionHistoryLimit = old->spec.revisionHistoryLimit;
    a.persistentVolumeClaimRetentionPolicy = old->spec.persistentVolumeClaimRetentionPolicy;
    if (!object_equal(&appsv1_StatefulSetSpec_desc, &a, &old->spec))
        field_forbidden(errs, FIELD(NULL, "spec"), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}

/* ---- DaemonSet ---- */

static void rolling_update_daemonset(const struct appsv1_RollingUpdateDaemonSet *r, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *unavailable = FIELD(at, "maxUnavailable"), *surge = FIELD(at, "maxSurge");
    positive_int_or_percent(&r->maxUnavailable, unavailable, errs);
    positive_int_or_percent(&r->maxSurge, surge, errs);
    at_most_100_percent(&r->maxUnavailable, unavailable, errs);
    at_most_100_percent(&r->maxSurge, surge, errs);
    bool has_unavailable = int_or_percent_value(&r->maxUnavailable, errs->arena) != 0, has_surge = int_or_percent_value(&r->maxSurge, errs->arena) != 0;
    if (has_unavailable && has_surge) field_invalid_raw(errs, surge, int_or_string_text(errs->arena, &r->maxSurge), "may not be set when maxUnavailable is non-zero");
    else if (!has_unavailable && !has_surge) field_required(errs, unavailable, "cannot be 0 when maxSurge is 0");
}

static void daemonset_update_strategy(const struct appsv1_DaemonSetUpdateStrategy *s, const struct field_path *at, struct field_errors *errs) {
    if (str_eq(s->type, "OnDelete")) return;
    if (!str_eq(s->type, "RollingUpdate")) strategy_not_supported(s->type, s->rollingUpdate ? &s->rollingUpdate->maxUnavailable : NULL, s->rollingUpdate ? &s->rollingUpdate->maxSurge : NULL, "\"RollingUpdate\", \"OnDelete\"", at, errs);
    else if (!s->rollingUpdate) field_required(errs, FIELD(at, "rollingUpdate"), "%s", "");
    else rolling_update_daemonset(s->rollingUpdate, FIELD(at, "rollingUpdate"), errs);
}

void validate_daemonset(const void *obj, struct field_errors *errs) {
    const struct appsv1_DaemonSetSpec *s = &((const struct appsv1_DaemonSet *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *template = FIELD(at, "template");
    validate_label_selector(s->selector, FIELD(at, "selector"), errs);
    selector_matches_template(s->selector, &s->template.metadata.labels, template, errs);
    if (s->selector && !s->selector->matchLabels.len && !s->selector->matchExpressions.len)
        field_invalid_raw(errs, FIELD(at, "selector"), object_json_text(errs->arena, &metav1_LabelSelector_desc, s->selector), "empty selector is invalid for daemonset");
    validate_pod_template(&s->template, template, errs);
    always_restarted(&s->template, "DaemonSet", template, errs);
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    daemonset_update_strategy(&s->updateStrategy, FIELD(at, "updateStrategy"), errs);
    if (s->revisionHistoryLimit.has) validate_non_negative(s->revisionHistoryLimit.value, FIELD(at, "revisionHistoryLimit"), errs);
}

void validate_daemonset_update(const void *obj, const void *old, struct field_errors *errs) {
    selector_immutable(((const struct appsv1_DaemonSet *)obj)->spec.selector, ((const struct appsv1_DaemonSet *)old)->spec.selector, errs);
    validate_daemonset(obj, errs);
}

/* ---- ControllerRevision ---- */

void validate_controllerrevision(const void *obj, struct field_errors *errs) {
    const struct appsv1_ControllerRevision *r = obj;
    const struct field_path *at = FIELD(NULL, "data");
    validate_non_negative(r->revision, FIELD(NULL, "revision"), errs);
    if (!r->data.data || str_eq(r->data.data, "null")) field_required(errs, at, "data is mandatory");
    else if (r->data.data[0] != '{') field_required(errs, at, "data must be a valid JSON object");
}

void validate_controllerrevision_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct appsv1_ControllerRevision *r = obj, *old = old_obj;
    validate_non_negative(r->revision, FIELD(NULL, "revision"), errs);
    if (!str_eq(r->data.data, old->data.data)) field_invalid_raw(errs, FIELD(NULL, "data"), str_or(r->data.data, "null"), "field is immutable");
}
