/* autoscaling and policy. Upstream: pkg/apis/autoscaling/validation, pkg/apis/policy/validation. Autoscalers are validated in v2. */
#include <string.h>
#include "api/quantity.h"
#include "api/validation/groups.h"

enum { PERIOD_MAX = 1800, WINDOW_MAX = 3600 };

/* ---- HorizontalPodAutoscaler ---- */

static bool positive(const char *q) {
    struct quantity v = quantity_of(q);
    return v.nanos > 0;
}

/* What is asked of a reference's apiVersion. */
enum version_rule { ANY_VERSION, ANY_GROUP, NAMED_GROUP };

static const char *version_error(const struct autoscalingv2_CrossVersionObjectReference *r, enum version_rule rule, struct arena *a) {
    const char *version = str_or(r->apiVersion, ""), *slash = strchr(version, '/');
    if (rule == ANY_VERSION) return NULL;
    if (slash && strchr(slash + 1, '/')) return arena_printf(a, "unexpected GroupVersion string: %s", version);
    return rule == NAMED_GROUP && (!slash || slash == version) ? "apiVersion must specify API group" : NULL;
}

static void reference(const struct autoscalingv2_CrossVersionObjectReference *r, enum version_rule rule, const struct field_path *at, struct field_errors *errs) {
    const char *why = version_error(r, rule, errs->arena);
    require_path_segment(errs, FIELD(at, "kind"), r->kind);
    require_path_segment(errs, FIELD(at, "name"), r->name);
    if (why) field_invalid(errs, FIELD(at, "apiVersion"), r->apiVersion, "%s", why);
}

static void identifier(const struct autoscalingv2_MetricIdentifier *m, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(m->name)) field_required(errs, FIELD(at, "name"), "must specify a metric name");
    else check_path_segment(errs, FIELD(at, "name"), m->name);
}

static void target(const struct autoscalingv2_MetricTarget *t, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(t->type)) field_required(errs, FIELD(at, "type"), "must specify a metric target type");
    if (!str_eq(t->type, "Utilization") && !str_eq(t->type, "Value") && !str_eq(t->type, "AverageValue")) field_invalid(errs, FIELD(at, "type"), t->type, "must be either Utilization, Value, or AverageValue");
    if (t->value && !positive(t->value)) field_invalid(errs, FIELD(at, "value"), t->value, "must be positive");
    if (t->averageValue && !positive(t->averageValue)) field_invalid(errs, FIELD(at, "averageValue"), t->averageValue, "must be positive");
    if (t->averageUtilization.has && t->averageUtilization.value < 1) field_invalid_int(errs, FIELD(at, "averageUtilization"), t->averageUtilization.value, "must be greater than 0");
}

static void object_source(const struct autoscalingv2_ObjectMetricSource *s, enum version_rule rule, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *t = FIELD(at, "target");
    reference(&s->describedObject, rule, FIELD(at, "describedObject"), errs);
    identifier(&s->metric, FIELD(at, "metric"), errs);
    target(&s->target, t, errs);
    if (!s->target.value && !s->target.averageValue) field_required(errs, FIELD(t, "averageValue"), "must set either a target value or averageValue");
}

static void external_source(const struct autoscalingv2_ExternalMetricSource *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *t = FIELD(at, "target");
    identifier(&s->metric, FIELD(at, "metric"), errs);
    target(&s->target, t, errs);
    if (!s->target.value && !s->target.averageValue) field_required(errs, FIELD(t, "averageValue"), "must set either a target value for metric or a per-pod target");
    if (s->target.value && s->target.averageValue) field_forbidden(errs, FIELD(t, "value"), "may not set both a target value for metric and a per-pod target");
}

static void pods_source(const struct autoscalingv2_PodsMetricSource *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *t = FIELD(at, "target");
    identifier(&s->metric, FIELD(at, "metric"), errs);
    target(&s->target, t, errs);
    if (!s->target.averageValue) field_required(errs, FIELD(t, "averageValue"), "must specify a positive target averageValue");
}

static void resource_target(const char *name, const struct autoscalingv2_MetricTarget *m, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *t = FIELD(at, "target");
    if (str_empty(name)) field_required(errs, FIELD(at, "name"), "must specify a resource name");
    target(m, t, errs);
    if (!m->averageUtilization.has && !m->averageValue) field_required(errs, FIELD(t, "averageUtilization"), "must set either a target raw value or a target utilization");
    if (m->averageUtilization.has && m->averageValue) field_forbidden(errs, FIELD(t, "averageValue"), "may not set both a target raw value and a target utilization");
}

static void container_source(const struct autoscalingv2_ContainerResourceMetricSource *s, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(s->container)) field_required(errs, FIELD(at, "container"), "must specify a container");
    else CHECK_NAME(errs, FIELD(at, "container"), s->container, name_dns1123_label);
    resource_target(s->name, &s->target, at, errs);
}

static void metric_spec(const struct autoscalingv2_MetricSpec *m, enum version_rule rule, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"ContainerResource", "External", "Object", "Pods", "Resource", NULL};
    const struct { const char *type, *field; const void *source; } sources[] = {
        {"Object", "object", m->object}, {"External", "external", m->external}, {"Pods", "pods", m->pods}, {"Resource", "resource", m->resource}, {"ContainerResource", "containerResource", m->containerResource}};
    size_t present = 0;
    const char *expected = "";
    if (str_empty(m->type)) field_required(errs, FIELD(at, "type"), "must specify a metric source type");
    check_supported(errs, FIELD(at, "type"), m->type, types);
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (!sources[i].source || present++) continue;
        const struct field_path *p = FIELD(at, sources[i].field);
        if (i == 0) object_source(m->object, rule, p, errs);
        else if (i == 1) external_source(m->external, p, errs);
        else if (i == 2) pods_source(m->pods, p, errs);
        else if (i == 3) resource_target(m->resource->name, &m->resource->target, p, errs);
        else container_source(m->containerResource, p, errs);
    }
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (!str_eq(sources[i].type, m->type)) continue;
        expected = sources[i].field;
        if (!sources[i].source) field_required(errs, FIELD(at, expected), "must populate information for the given metric source");
    }
    if (!*expected) check_supported(errs, FIELD(at, "type"), m->type, types); /* told twice, as upstream does */
    for (size_t i = 0; present > 1 && i < ARRAY_LEN(sources); i++)
        if (sources[i].source && !str_eq(sources[i].field, expected)) field_forbidden(errs, FIELD(at, sources[i].field), "must populate the given metric source only");
}

static void scaling_rules(const struct autoscalingv2_HPAScalingRules *r, const struct field_path *at, struct field_errors *errs) {
    if (!r) return;
    const struct field_path *window = FIELD(at, "stabilizationWindowSeconds"), *policies = FIELD(at, "policies");
    if (r->stabilizationWindowSeconds.has && r->stabilizationWindowSeconds.value < 0) field_invalid_int(errs, window, r->stabilizationWindowSeconds.value, "must be greater than or equal to zero");
    if (r->stabilizationWindowSeconds.has && r->stabilizationWindowSeconds.value > WINDOW_MAX) field_invalid_int(errs, window, r->stabilizationWindowSeconds.value, "must be less than or equal to %d", WINDOW_MAX);
    if (r->selectPolicy) check_supported(errs, FIELD(at, "selectPolicy"), r->selectPolicy, ONE_OF("Disabled", "Max", "Min"));
    if (!r->policies.len) field_required(errs, policies, "must specify at least one Policy");
    for (size_t i = 0; i < r->policies.len; i++) {
        const struct autoscalingv2_HPAScalingPolicy *p = &r->policies.items[i];
        const struct field_path *x = FIELD_INDEX(policies, i);
        check_supported(errs, FIELD(x, "type"), p->type, ONE_OF("Percent", "Pods"));
        if (p->value <= 0) field_invalid_int(errs, FIELD(x, "value"), p->value, "must be greater than zero");
        if (p->periodSeconds <= 0) field_invalid_int(errs, FIELD(x, "periodSeconds"), p->periodSeconds, "must be greater than zero");
        if (p->periodSeconds > PERIOD_MAX) field_invalid_int(errs, FIELD(x, "periodSeconds"), p->periodSeconds, "must be less than or equal to %d", PERIOD_MAX);
    }
    if (r->tolerance && quantity_of(r->tolerance).nanos < 0) field_invalid(errs, FIELD(at, "tolerance"), r->tolerance, "must be greater than or equal to 0");
}

static void hpa_spec(const struct autoscalingv2_HorizontalPodAutoscalerSpec *s, int32_t least, enum version_rule target_rule, enum version_rule metric_rule, struct field_errors *errs) {
    const struct field_path *at = FIELD(NULL, "spec"), *metrics = FIELD(at, "metrics"), *behavior = FIELD(at, "behavior");
    bool scales_from_zero = false;
    if (s->minReplicas.has && s->minReplicas.value < least) field_invalid_int(errs, FIELD(at, "minReplicas"), s->minReplicas.value, "must be greater than or equal to %d", least);
    if (s->maxReplicas == 0) field_required(errs, FIELD(at, "maxReplicas"), "must be set and greater than 0");
    else if (s->maxReplicas < 0) field_invalid_int(errs, FIELD(at, "maxReplicas"), s->maxReplicas, "must be greater than or equal to 1");
    if (s->minReplicas.has && s->maxReplicas < s->minReplicas.value) field_invalid_int(errs, FIELD(at, "maxReplicas"), s->maxReplicas, "must be greater than or equal to `minReplicas`");
    reference(&s->scaleTargetRef, target_rule, FIELD(at, "scaleTargetRef"), errs);
    for (size_t i = 0; i < s->metrics.len; i++) {
        metric_spec(&s->metrics.items[i], metric_rule, FIELD_INDEX(metrics, i), errs);
        scales_from_zero |= str_eq(s->metrics.items[i].type, "Object") || str_eq(s->metrics.items[i].type, "External");
    }
    if (s->minReplicas.has && s->minReplicas.value == 0 && !scales_from_zero) field_forbidden(errs, metrics, "must specify at least one Object or External metric to support scaling to zero replicas");
    if (!s->behavior) return;
    scaling_rules(s->behavior->scaleUp, FIELD(behavior, "scaleUp"), errs);
    scaling_rules(s->behavior->scaleDown, FIELD(behavior, "scaleDown"), errs);
}

/* The one kind of the core group that is scaled. */
static enum version_rule rule_of_target(const struct autoscalingv2_HorizontalPodAutoscalerSpec *s) { return str_eq(s->scaleTargetRef.kind, "ReplicationController") ? ANY_GROUP : NAMED_GROUP; }

void validate_hpa(const void *obj, struct field_errors *errs) {
    const struct autoscalingv2_HorizontalPodAutoscalerSpec *s = &((const struct autoscalingv2_HorizontalPodAutoscaler *)obj)->spec;
    hpa_spec(s, 1, rule_of_target(s), ANY_GROUP, errs);
}

/* What was let in before the rules stays so. */
void validate_hpa_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct autoscalingv2_HorizontalPodAutoscalerSpec *s = &((const struct autoscalingv2_HorizontalPodAutoscaler *)obj)->spec, *old = &((const struct autoscalingv2_HorizontalPodAutoscaler *)old_obj)->spec;
    bool same_target = str_eq(str_or(s->scaleTargetRef.apiVersion, ""), str_or(old->scaleTargetRef.apiVersion, "")) && str_eq(str_or(s->scaleTargetRef.kind, ""), str_or(old->scaleTargetRef.kind, ""));
    enum version_rule metrics = ANY_GROUP;
    LIST_FOREACH(m, &old->metrics)
        if (str_eq(m->type, "Object") && m->object && version_error(&m->object->describedObject, ANY_GROUP, errs->arena)) metrics = ANY_VERSION;
    hpa_spec(s, old->minReplicas.has && old->minReplicas.value == 0 ? 0 : 1, same_target ? ANY_VERSION : rule_of_target(s), metrics, errs);
}

void validate_hpa_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct autoscalingv2_HorizontalPodAutoscalerStatus *s = &((const struct autoscalingv2_HorizontalPodAutoscaler *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    (void)old;
    validate_non_negative(s->currentReplicas, FIELD(at, "currentReplicas"), errs);
    validate_non_negative(s->desiredReplicas, FIELD(at, "desiredReplicas"), errs);
}

/* ---- PodDisruptionBudget ---- */

void validate_pdb(const void *obj, struct field_errors *errs) {
    const struct policyv1_PodDisruptionBudgetSpec *s = &((const struct policyv1_PodDisruptionBudget *)obj)->spec;
    const struct field_path *at = FIELD(NULL, "spec");
    if (s->minAvailable.kind && s->maxUnavailable.kind)
        field_invalid_raw(errs, at, text_of_go(errs->arena, &policyv1_PodDisruptionBudgetSpec_desc, s), "minAvailable and maxUnavailable cannot be both set");
    check_int_or_percent(errs, FIELD(at, "minAvailable"), &s->minAvailable);
    check_int_or_percent(errs, FIELD(at, "maxUnavailable"), &s->maxUnavailable);
    validate_label_selector(s->selector, FIELD(at, "selector"), errs);
    if (s->unhealthyPodEvictionPolicy) check_supported(errs, FIELD(at, "unhealthyPodEvictionPolicy"), s->unhealthyPodEvictionPolicy, ONE_OF("AlwaysAllow", "IfHealthyBudget"));
}

void validate_pdb_update(const void *obj, const void *old, struct field_errors *errs) {
    (void)old;
    validate_pdb(obj, errs);
}

void validate_pdb_status(const void *obj, const void *old, struct field_errors *errs) {
    const struct policyv1_PodDisruptionBudgetStatus *s = &((const struct policyv1_PodDisruptionBudget *)obj)->status;
    const struct field_path *at = FIELD(NULL, "status");
    (void)old;
    check_conditions(errs, FIELD(at, "conditions"), &s->conditions);
    validate_non_negative(s->disruptionsAllowed, FIELD(at, "disruptionsAllowed"), errs);
    validate_non_negative(s->currentHealthy, FIELD(at, "currentHealthy"), errs);
    validate_non_negative(s->desiredHealthy, FIELD(at, "desiredHealthy"), errs);
    validate_non_negative(s->expectedPods, FIELD(at, "expectedPods"), errs);
}
