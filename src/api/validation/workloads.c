#include "api/validation/workloads.h"
#include <string.h>
#include "api/names.h"
#include "api/selector.h"
#include "api/validation/core.h"
#include "api/validation/meta.h"
#include "base/str.h"

static bool selector_is_empty(const struct metav1_LabelSelector *s) { return !s || (s->matchLabels.len == 0 && s->matchExpressions.len == 0); }

static void selector_and_template(const struct metav1_LabelSelector *s, const struct corev1_PodTemplateSpec *t, const struct field_path *at, const char *empty_text, struct field_errors *errs) {
    if (!s) field_required(errs, FIELD(at, "selector"), "%s", "");
    else {
        validate_label_selector(s, FIELD(at, "selector"), errs);
        if (selector_is_empty(s)) field_invalid_raw(errs, FIELD(at, "selector"), object_json_text(errs->arena, &metav1_LabelSelector_desc, s), "%s", empty_text);
    }
    struct selector sel;
    if (s && label_selector_from(errs->arena, s, &sel, NULL) == 0 && !selector_is_empty(s) && !selector_matches(&sel, &t->metadata.labels)) {
        struct buf labels = BUF_INIT;
        buf_append_char(&labels, '{');
        LIST_FOREACH(e, &t->metadata.labels) buf_printf(&labels, "%s%s:%s", e == t->metadata.labels.items ? "" : ",", go_quote(errs->arena, e->key), go_quote(errs->arena, e->value));
        buf_append_char(&labels, '}');
        field_invalid_raw(errs, FIELD(FIELD(FIELD(at, "template"), "metadata"), "labels"), t->metadata.labels.len ? arena_strdup(errs->arena, labels.data) : "null", "`selector` does not match template `labels`");
        buf_release(&labels);
    }
}

static void restart_always(const struct corev1_PodTemplateSpec *t, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *spec = FIELD(FIELD(at, "template"), "spec");
    if (!str_eq(t->spec.restartPolicy, "Always")) field_not_supported(errs, FIELD(spec, "restartPolicy"), t->spec.restartPolicy, (const char *const[]){"Always", NULL});
    if (t->spec.activeDeadlineSeconds.has) field_forbidden(errs, FIELD(spec, "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported");
}

static void int_or_percent(const struct int_or_string *v, const struct field_path *at, struct field_errors *errs) {
    if (v->kind == INTSTR_STRING) {
        struct string_list msgs = {0};
        name_percent(errs->arena, str_or(v->s, ""), &msgs);
        if (msgs.len) field_invalid_each(errs, at, v->s, &msgs);
        else if (strlen(v->s) > 4 || atoi(v->s) > 100) field_invalid(errs, at, v->s, "must not be greater than 100%%");
    } else if (v->i < 0) field_invalid_int(errs, at, v->i, "must be greater than or equal to 0");
}

static bool is_zero(const struct int_or_string *v) { return v->kind == INTSTR_STRING ? atoi(str_or(v->s, "0")) == 0 : v->i == 0; }

static void deployment_strategy(const struct appsv1_DeploymentStrategy *s, const struct field_path *at, struct field_errors *errs) {
    if (str_eq(s->type, "Recreate")) {
        if (s->rollingUpdate) field_forbidden(errs, FIELD(at, "rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
    } else if (str_eq(s->type, "RollingUpdate")) {
        const struct field_path *ru = FIELD(at, "rollingUpdate");
        if (!s->rollingUpdate) {
            field_required(errs, ru, "this should be defaulted and never be nil");
            return;
        }
        int_or_percent(&s->rollingUpdate->maxUnavailable, FIELD(ru, "maxUnavailable"), errs);
        int_or_percent(&s->rollingUpdate->maxSurge, FIELD(ru, "maxSurge"), errs);
        if (is_zero(&s->rollingUpdate->maxUnavailable) && is_zero(&s->rollingUpdate->maxSurge))
            field_invalid_raw(errs, FIELD(ru, "maxUnavailable"), s->rollingUpdate->maxUnavailable.kind == INTSTR_STRING ? go_quote(errs->arena, s->rollingUpdate->maxUnavailable.s) : "0", "may not be 0 when `maxSurge` is 0");
    } else field_not_supported(errs, FIELD(at, "type"), s->type, (const char *const[]){"Recreate", "RollingUpdate", NULL});
}

void validate_deployment(const void *obj, struct field_errors *errs) {
    const struct appsv1_DeploymentSpec *s = &((const struct appsv1_Deployment *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_non_negative(s->replicas.value, FIELD(at, "replicas"), errs);
    selector_and_template(s->selector, &s->template, at, "empty selector is invalid for deployment", errs);
    validate_pod_template(&s->template, FIELD(at, "template"), errs);
    restart_always(&s->template, at, errs);
    deployment_strategy(&s->strategy, FIELD(at, "strategy"), errs);
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    if (s->revisionHistoryLimit.has) validate_non_negative(s->revisionHistoryLimit.value, FIELD(at, "revisionHistoryLimit"), errs);
    if (s->progressDeadlineSeconds.has) {
        validate_non_negative(s->progressDeadlineSeconds.value, FIELD(at, "progressDeadlineSeconds"), errs);
        if (s->progressDeadlineSeconds.value <= s->minReadySeconds) field_invalid_int(errs, FIELD(at, "progressDeadlineSeconds"), s->progressDeadlineSeconds.value, "must be greater than minReadySeconds");
    }
}

static void selector_immutable(const struct metav1_LabelSelector *a, const struct metav1_LabelSelector *b, struct field_errors *errs) {
    bool equal = a && b ? object_equal(&metav1_LabelSelector_desc, a, b) : a == b;
    validate_immutable(equal, a ? object_json_text(errs->arena, &metav1_LabelSelector_desc, a) : "null", FIELD(FIELD(NULL, "spec"), "selector"), errs);
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
    selector_and_template(s->selector, &s->template, at, "empty selector is invalid for deployment", errs);
    validate_pod_template(&s->template, FIELD(at, "template"), errs);
    restart_always(&s->template, at, errs);
}

void validate_replicaset_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_replicaset(obj, errs);
    selector_immutable(((const struct appsv1_ReplicaSet *)obj)->spec.selector, ((const struct appsv1_ReplicaSet *)old)->spec.selector, errs);
}

void validate_statefulset(const void *obj, struct field_errors *errs) {
    const struct appsv1_StatefulSetSpec *s = &((const struct appsv1_StatefulSet *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *us = FIELD(at, "updateStrategy");
    static const char *const policies[] = {"OrderedReady", "Parallel", NULL};
    if (!str_in(s->podManagementPolicy, policies)) field_invalid(errs, FIELD(at, "podManagementPolicy"), s->podManagementPolicy, "must be '%s' or '%s'", "OrderedReady", "Parallel");
    if (str_empty(s->updateStrategy.type)) field_required(errs, us, "%s", "");
    else if (str_eq(s->updateStrategy.type, "OnDelete")) {
        if (s->updateStrategy.rollingUpdate) field_invalid_raw(errs, FIELD(us, "rollingUpdate"), object_json_text(errs->arena, &appsv1_RollingUpdateStatefulSetStrategy_desc, s->updateStrategy.rollingUpdate), "only allowed for updateStrategy 'RollingUpdate'");
    } else if (str_eq(s->updateStrategy.type, "RollingUpdate")) {
        if (s->updateStrategy.rollingUpdate) validate_non_negative(s->updateStrategy.rollingUpdate->partition.value, FIELD(FIELD(us, "rollingUpdate"), "partition"), errs);
    } else field_invalid_raw(errs, us, object_json_text(errs->arena, &appsv1_StatefulSetUpdateStrategy_desc, &s->updateStrategy), "must be 'RollingUpdate' or 'OnDelete'");
    validate_non_negative(s->replicas.value, FIELD(at, "replicas"), errs);
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    selector_and_template(s->selector, &s->template, at, "empty selector is invalid for statefulset", errs);
    validate_pod_template(&s->template, FIELD(at, "template"), errs);
    restart_always(&s->template, at, errs);
}

void validate_statefulset_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct appsv1_StatefulSet *s = obj, *old = old_obj;
    validate_statefulset(obj, errs);
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

void validate_daemonset(const void *obj, struct field_errors *errs) {
    const struct appsv1_DaemonSetSpec *s = &((const struct appsv1_DaemonSet *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec"), *us = FIELD(at, "updateStrategy");
    selector_and_template(s->selector, &s->template, at, "empty selector is invalid for daemonset", errs);
    validate_pod_template(&s->template, FIELD(at, "template"), errs);
    restart_always(&s->template, at, errs);
    validate_non_negative(s->minReadySeconds, FIELD(at, "minReadySeconds"), errs);
    if (str_eq(s->updateStrategy.type, "RollingUpdate")) {
        const struct appsv1_RollingUpdateDaemonSet *r = s->updateStrategy.rollingUpdate;
        if (!r) field_required(errs, FIELD(us, "rollingUpdate"), "%s", "");
        else {
            int_or_percent(&r->maxUnavailable, FIELD(FIELD(us, "rollingUpdate"), "maxUnavailable"), errs);
            int_or_percent(&r->maxSurge, FIELD(FIELD(us, "rollingUpdate"), "maxSurge"), errs);
            if (is_zero(&r->maxUnavailable) && is_zero(&r->maxSurge)) field_required(errs, FIELD(FIELD(us, "rollingUpdate"), "maxUnavailable"), "cannot be 0 when maxSurge is 0");
            else if (!is_zero(&r->maxUnavailable) && !is_zero(&r->maxSurge)) field_invalid_raw(errs, FIELD(FIELD(us, "rollingUpdate"), "maxSurge"), r->maxSurge.kind == INTSTR_STRING ? go_quote(errs->arena, r->maxSurge.s) : arena_printf(errs->arena, "%d", r->maxSurge.i), "may not be set when maxUnavailable is non-zero");
        }
    } else if (!str_eq(s->updateStrategy.type, "OnDelete")) field_not_supported(errs, FIELD(us, "type"), s->updateStrategy.type, (const char *const[]){"OnDelete", "RollingUpdate", NULL});
    if (s->revisionHistoryLimit.has) validate_non_negative(s->revisionHistoryLimit.value, FIELD(at, "revisionHistoryLimit"), errs);
}

void validate_daemonset_update(const void *obj, const void *old, struct field_errors *errs) {
    validate_daemonset(obj, errs);
    selector_immutable(((const struct appsv1_DaemonSet *)obj)->spec.selector, ((const struct appsv1_DaemonSet *)old)->spec.selector, errs);
}

void validate_job(const void *obj, struct field_errors *errs) {
    const struct batchv1_JobSpec *s = &((const struct batchv1_Job *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    static const char *const restart[] = {"OnFailure", "Never", NULL};
    if (s->parallelism.has) validate_non_negative(s->parallelism.value, FIELD(at, "parallelism"), errs);
    if (s->completions.has) validate_non_negative(s->completions.value, FIELD(at, "completions"), errs);
    if (s->activeDeadlineSeconds.has) validate_non_negative(s->activeDeadlineSeconds.value, FIELD(at, "activeDeadlineSeconds"), errs);
    if (s->backoffLimit.has) validate_non_negative(s->backoffLimit.value, FIELD(at, "backoffLimit"), errs);
    if (s->ttlSecondsAfterFinished.has) validate_non_negative(s->ttlSecondsAfterFinished.value, FIELD(at, "ttlSecondsAfterFinished"), errs);
    if (s->completionMode && !str_eq(s->completionMode, "NonIndexed") && !str_eq(s->completionMode, "Indexed"))
        field_not_supported(errs, FIELD(at, "completionMode"), s->completionMode, (const char *const[]){"Indexed", "NonIndexed", NULL});
    if (str_eq(s->completionMode, "Indexed") && !s->completions.has) field_required(errs, FIELD(at, "completions"), "when completion mode is Indexed");
    validate_pod_template(&s->template, FIELD(at, "template"), errs);
    if (!str_in(s->template.spec.restartPolicy, restart))
        field_not_supported(errs, FIELD(FIELD(FIELD(at, "template"), "spec"), "restartPolicy"), s->template.spec.restartPolicy, str_eq(s->template.spec.restartPolicy, "Always") ? (const char *const[]){"OnFailure", "Never", NULL} : restart);
}

void validate_job_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct batchv1_Job *j = obj, *old = old_obj;
    const struct field_path *at = FIELD(NULL, "spec");
    validate_job(obj, errs);
    if (!str_eq(j->spec.completionMode, "Indexed"))
        validate_immutable(j->spec.completions.has == old->spec.completions.has && j->spec.completions.value == old->spec.completions.value, arena_printf(errs->arena, "%d", j->spec.completions.value), FIELD(at, "completions"), errs);
    selector_immutable(j->spec.selector, old->spec.selector, errs);
    validate_immutable(object_equal(&corev1_PodTemplateSpec_desc, &j->spec.template, &old->spec.template), object_json_text(errs->arena, &corev1_PodTemplateSpec_desc, &j->spec.template), FIELD(at, "template"), errs);
    validate_immutable(str_eq(j->spec.completionMode, old->spec.completionMode), go_quote(errs->arena, j->spec.completionMode), FIELD(at, "completionMode"), errs);
}
