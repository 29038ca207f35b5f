/* HorizontalPodAutoscaler v1 and v2: what v1 has no fields for travels in annotations. Upstream: pkg/apis/autoscaling/v1/conversion.go.
 * Annotations that are no JSON of the right form are dropped (upstream fails the whole request). */
#include <string.h>
#include <yyjson.h>
#include "api/convert_functions.h"
#include "base/str.h"
#include "wire/json.h"

#define METRICS "autoscaling.alpha.kubernetes.io/metrics"
#define CURRENT_METRICS "autoscaling.alpha.kubernetes.io/current-metrics"
#define CONDITIONS "autoscaling.alpha.kubernetes.io/conditions"
#define BEHAVIOR "autoscaling.alpha.kubernetes.io/behavior"

typedef struct autoscalingv2_MetricTarget target_t;
typedef struct autoscalingv2_MetricIdentifier identifier_t;

/* v1 holds quantities plainly where v2 points to them. */
static const char *quantity_or_zero(const char *q) { return str_or(q, "0"); }

static struct autoscalingv1_CrossVersionObjectReference reference_to_v1(const struct autoscalingv2_CrossVersionObjectReference *r) {
    return (struct autoscalingv1_CrossVersionObjectReference){.kind = r->kind, .name = r->name, .apiVersion = r->apiVersion};
}
static struct autoscalingv2_CrossVersionObjectReference reference_to_v2(const struct autoscalingv1_CrossVersionObjectReference *r) {
    return (struct autoscalingv2_CrossVersionObjectReference){.kind = r->kind, .name = r->name, .apiVersion = r->apiVersion};
}

/* ---- MetricSpec ---- */

static struct autoscalingv1_MetricSpec spec_to_v1(struct arena *a, const struct autoscalingv2_MetricSpec *m) {
    struct autoscalingv1_MetricSpec o = {.type = m->type};
    if (m->object) {
        o.object = ARENA_NEW(a, struct autoscalingv1_ObjectMetricSource);
        *o.object = (struct autoscalingv1_ObjectMetricSource){reference_to_v1(&m->object->describedObject), m->object->metric.name, m->object->target.value, m->object->metric.selector, m->object->target.averageValue};
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct autoscalingv1_PodsMetricSource);
        *o.pods = (struct autoscalingv1_PodsMetricSource){m->pods->metric.name, m->pods->target.averageValue, m->pods->metric.selector};
    }
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct autoscalingv1_ResourceMetricSource);
        *o.resource = (struct autoscalingv1_ResourceMetricSource){m->resource->name, m->resource->target.averageUtilization, m->resource->target.averageValue};
    }
    if (m->containerResource) {
        o.containerResource = ARENA_NEW(a, struct autoscalingv1_ContainerResourceMetricSource);
        *o.containerResource = (struct autoscalingv1_ContainerResourceMetricSource){m->containerResource->name, m->containerResource->target.averageUtilization, m->containerResource->target.averageValue, m->containerResource->container};
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct autoscalingv1_ExternalMetricSource);
        *o.external = (struct autoscalingv1_ExternalMetricSource){m->external->metric.name, m->external->metric.selector, m->external->target.value, m->external->target.averageValue};
    }
    return o;
}

static target_t utilization_target(struct opt_int32 utilization, const char *average) {
    return (target_t){.type = utilization.has ? "Utilization" : "AverageValue", .averageValue = average, .averageUtilization = utilization};
}

static struct autoscalingv2_MetricSpec spec_to_v2(struct arena *a, const struct autoscalingv1_MetricSpec *m) {
    struct autoscalingv2_MetricSpec o = {.type = m->type};
    if (m->object) {
        o.object = ARENA_NEW(a, struct autoscalingv2_ObjectMetricSource);
        *o.object = (struct autoscalingv2_ObjectMetricSource){reference_to_v2(&m->object->target),
            (target_t){.type = m->object->averageValue ? "AverageValue" : "Value", .value = quantity_or_zero(m->object->targetValue), .averageValue = m->object->averageValue}, (identifier_t){m->object->metricName, m->object->selector}};
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct autoscalingv2_PodsMetricSource);
        *o.pods = (struct autoscalingv2_PodsMetricSource){(identifier_t){m->pods->metricName, m->pods->selector}, (target_t){.type = "AverageValue", .averageValue = quantity_or_zero(m->pods->targetAverageValue)}};
    }
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct autoscalingv2_ResourceMetricSource);
        *o.resource = (struct autoscalingv2_ResourceMetricSource){m->resource->name, utilization_target(m->resource->targetAverageUtilization, m->resource->targetAverageValue)};
    }
    if (m->containerResource) {
        o.containerResource = ARENA_NEW(a, struct autoscalingv2_ContainerResourceMetricSource);
        *o.containerResource = (struct autoscalingv2_ContainerResourceMetricSource){m->containerResource->name, utilization_target(m->containerResource->targetAverageUtilization, m->containerResource->targetAverageValue), m->containerResource->container};
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct autoscalingv2_ExternalMetricSource);
        *o.external = (struct autoscalingv2_ExternalMetricSource){(identifier_t){m->external->metricName, m->external->metricSelector},
            (target_t){.type = m->external->targetValue ? "Value" : "AverageValue", .value = m->external->targetValue, .averageValue = m->external->targetAverageValue}};
    }
    return o;
}

/* ---- MetricStatus ---- */

static struct autoscalingv1_MetricStatus status_to_v1(struct arena *a, const struct autoscalingv2_MetricStatus *m) {
    struct autoscalingv1_MetricStatus o = {.type = m->type};
    if (m->object) {
        o.object = ARENA_NEW(a, struct autoscalingv1_ObjectMetricStatus);
        *o.object = (struct autoscalingv1_ObjectMetricStatus){reference_to_v1(&m->object->describedObject), m->object->metric.name, m->object->current.value, m->object->metric.selector, m->object->current.averageValue};
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct autoscalingv1_PodsMetricStatus);
        *o.pods = (struct autoscalingv1_PodsMetricStatus){m->pods->metric.name, m->pods->current.averageValue, m->pods->metric.selector};
    }
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct autoscalingv1_ResourceMetricStatus);
        *o.resource = (struct autoscalingv1_ResourceMetricStatus){m->resource->name, m->resource->current.averageUtilization, m->resource->current.averageValue};
    }
    if (m->containerResource) {
        o.containerResource = ARENA_NEW(a, struct autoscalingv1_ContainerResourceMetricStatus);
        *o.containerResource = (struct autoscalingv1_ContainerResourceMetricStatus){m->containerResource->name, m->containerResource->current.averageUtilization, m->containerResource->current.averageValue, m->containerResource->container};
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct autoscalingv1_ExternalMetricStatus);
        *o.external = (struct autoscalingv1_ExternalMetricStatus){m->external->metric.name, m->external->metric.selector, m->external->current.value, m->external->current.averageValue};
    }
    return o;
}

typedef struct autoscalingv2_MetricValueStatus value_t;

static struct autoscalingv2_MetricStatus status_to_v2(struct arena *a, const struct autoscalingv1_MetricStatus *m) {
    struct autoscalingv2_MetricStatus o = {.type = m->type};
    if (m->object) {
        o.object = ARENA_NEW(a, struct autoscalingv2_ObjectMetricStatus);
        *o.object = (struct autoscalingv2_ObjectMetricStatus){(identifier_t){m->object->metricName, m->object->selector}, (value_t){quantity_or_zero(m->object->currentValue), m->object->averageValue, {0}}, reference_to_v2(&m->object->target)};
    }
    if (m->pods) {
        o.pods = ARENA_NEW(a, struct autoscalingv2_PodsMetricStatus);
        *o.pods = (struct autoscalingv2_PodsMetricStatus){(identifier_t){m->pods->metricName, m->pods->selector}, (value_t){NULL, quantity_or_zero(m->pods->currentAverageValue), {0}}};
    }
    if (m->resource) {
        o.resource = ARENA_NEW(a, struct autoscalingv2_ResourceMetricStatus);
        *o.resource = (struct autoscalingv2_ResourceMetricStatus){m->resource->name, (value_t){NULL, quantity_or_zero(m->resource->currentAverageValue), m->resource->currentAverageUtilization}};
    }
    if (m->containerResource) {
        o.containerResource = ARENA_NEW(a, struct autoscalingv2_ContainerResourceMetricStatus);
        *o.containerResource = (struct autoscalingv2_ContainerResourceMetricStatus){m->containerResource->name, (value_t){NULL, quantity_or_zero(m->containerResource->currentAverageValue), m->containerResource->currentAverageUtilization}, m->containerResource->container};
    }
    if (m->external) {
        o.external = ARENA_NEW(a, struct autoscalingv2_ExternalMetricStatus);
        *o.external = (struct autoscalingv2_ExternalMetricStatus){(identifier_t){m->external->metricName, m->external->metricSelector}, (value_t){quantity_or_zero(m->external->currentValue), m->external->currentAverageValue, {0}}};
    }
    return o;
}

/* ---- the annotations: JSON arrays of v1's types, and behavior in the spelling of Go's field names ---- */

static const char *list_json(struct arena *a, const struct type_desc *type, const struct any_list *list) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_char(&out, '[');
    for (size_t i = 0; i < list->len; i++) {
        if (i) buf_append_char(&out, ',');
        object_encode_json(type, (const char *)list->items + i * type->size, &out);
    }
    buf_append_char(&out, ']');
    return arena_strdup(a, out.data);
}

/* False when the annotation is not there or cannot be read. */
static bool list_of(struct arena *a, const struct string_map *annotations, const char *key, const struct type_desc *type, struct any_list *ret) {
    const char *text = string_map_get(annotations, key);
    yyjson_doc *doc = text ? json_parse_in(a, text, strlen(text), 0, NULL) : NULL;
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL, *item;
    if (!yyjson_is_arr(root)) return false;
    yyjson_arr_iter it;
    *ret = (struct any_list){arena_list_alloc(a, yyjson_arr_size(root), type->size), 0};
    yyjson_arr_iter_init(root, &it);
    while ((item = yyjson_arr_iter_next(&it)))
        if (object_decode_value(a, type, (char *)ret->items + type->size * ret->len++, item, NULL, NULL) != 0) return false;
    return true;
}

/* Go's decoder takes keys in any case; the annotation is written with Go's names. */
static yyjson_val *member(yyjson_val *object, const char *go, const char *json) {
    yyjson_val *v = yyjson_obj_get(object, go);
    return v ? v : yyjson_obj_get(object, json);
}

static struct autoscalingv2_HPAScalingRules *rules_of(struct arena *a, yyjson_val *v) {
    if (!yyjson_is_obj(v)) return NULL;
    struct autoscalingv2_HPAScalingRules *r = ARENA_NEW(a, struct autoscalingv2_HPAScalingRules);
    yyjson_val *window = member(v, "StabilizationWindowSeconds", "stabilizationWindowSeconds"), *select = member(v, "SelectPolicy", "selectPolicy"), *policies = member(v, "Policies", "policies"), *tolerance = member(v, "Tolerance", "tolerance"), *p;
    if (yyjson_is_int(window)) r->stabilizationWindowSeconds = (struct opt_int32)OPT((int32_t)yyjson_get_sint(window));
    if (yyjson_is_str(select)) r->selectPolicy = arena_strdup(a, yyjson_get_str(select));
    if (yyjson_is_str(tolerance)) r->tolerance = arena_strdup(a, yyjson_get_str(tolerance));
    if (yyjson_is_arr(policies)) r->policies.items = arena_list_alloc(a, 0, sizeof(*r->policies.items));
    yyjson_arr_iter it;
    if (!yyjson_arr_iter_init(policies, &it)) return r;
    while ((p = yyjson_arr_iter_next(&it))) {
        const char *type = yyjson_get_str(member(p, "Type", "type"));
        *LIST_PUSH(a, &r->policies) = (struct autoscalingv2_HPAScalingPolicy){arena_strdup(a, type), (int32_t)yyjson_get_sint(member(p, "Value", "value")), (int32_t)yyjson_get_sint(member(p, "PeriodSeconds", "periodSeconds"))};
    }
    return r;
}

static struct autoscalingv2_HorizontalPodAutoscalerBehavior *behavior_of(struct arena *a, const struct string_map *annotations) {
    const char *text = string_map_get(annotations, BEHAVIOR);
    yyjson_doc *doc = text ? json_parse_in(a, text, strlen(text), 0, NULL) : NULL;
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    if (!yyjson_is_obj(root)) return NULL;
    struct autoscalingv2_HorizontalPodAutoscalerBehavior *b = ARENA_NEW(a, struct autoscalingv2_HorizontalPodAutoscalerBehavior);
    b->scaleUp = rules_of(a, member(root, "ScaleUp", "scaleUp"));
    b->scaleDown = rules_of(a, member(root, "ScaleDown", "scaleDown"));
    return b;
}

/* ---- the objects ---- */

static bool is_cpu_utilization(const struct autoscalingv2_MetricSpec *m) {
    return str_eq(m->type, "Resource") && m->resource && str_eq(m->resource->name, "cpu") && m->resource->target.averageUtilization.has;
}

static struct autoscalingv2_MetricSpec cpu_metric(struct arena *a, int32_t percent) {
    struct autoscalingv2_ResourceMetricSource *r = ARENA_NEW(a, struct autoscalingv2_ResourceMetricSource);
    *r = (struct autoscalingv2_ResourceMetricSource){"cpu", {.type = "Utilization", .averageUtilization = OPT(percent)}};
    return (struct autoscalingv2_MetricSpec){.type = "Resource", .resource = r};
}

static void drop_annotations(struct arena *a, struct string_map *annotations) {
    static const char *const keys[] = {METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS};
    bool any = false;
    for (size_t i = 0; i < 4; i++) any |= string_map_has(annotations, keys[i]);
    if (!any) return;
    *annotations = string_map_copy(a, annotations);
    for (size_t i = 0; i < 4; i++) string_map_del(annotations, keys[i]);
}

void hpa_v1_to_v2(struct arena *a, const void *in, void *out) {
    const struct autoscalingv1_HorizontalPodAutoscaler *x = in;
    struct autoscalingv2_HorizontalPodAutoscaler *y = out;
    const struct string_map *annotations = &x->metadata.annotations;
    struct any_list list;
    if (list_of(a, annotations, METRICS, &autoscalingv1_MetricSpec_desc, &list)) {
        struct autoscalingv1_MetricSpec_list metrics = {list.items, list.len};
        LIST_FOREACH(m, &metrics) *LIST_PUSH(a, &y->spec.metrics) = spec_to_v2(a, m);
    }
    if (x->spec.targetCPUUtilizationPercentage.has) *LIST_PUSH(a, &y->spec.metrics) = cpu_metric(a, x->spec.targetCPUUtilizationPercentage.value);
    if (!y->spec.metrics.len) *LIST_PUSH(a, &y->spec.metrics) = cpu_metric(a, 80);
    y->spec.behavior = behavior_of(a, annotations);
    if (list_of(a, annotations, CURRENT_METRICS, &autoscalingv1_MetricStatus_desc, &list)) {
        struct autoscalingv1_MetricStatus_list metrics = {list.items, list.len};
        LIST_FOREACH(m, &metrics) *LIST_PUSH(a, &y->status.currentMetrics) = status_to_v2(a, m);
    } else if (x->status.currentCPUUtilizationPercentage.has) {
        struct autoscalingv2_ResourceMetricStatus *r = ARENA_NEW(a, struct autoscalingv2_ResourceMetricStatus);
        *r = (struct autoscalingv2_ResourceMetricStatus){"cpu", {.averageUtilization = x->status.currentCPUUtilizationPercentage}};
        *LIST_PUSH(a, &y->status.currentMetrics) = (struct autoscalingv2_MetricStatus){.type = "Resource", .resource = r};
    }
    if (list_of(a, annotations, CONDITIONS, &autoscalingv1_HorizontalPodAutoscalerCondition_desc, &list)) {
        struct autoscalingv1_HorizontalPodAutoscalerCondition_list conditions = {list.items, list.len};
        LIST_FOREACH(c, &conditions)
            *LIST_PUSH(a, &y->status.conditions) = (struct autoscalingv2_HorizontalPodAutoscalerCondition){c->type, c->status, c->lastTransitionTime, c->reason, c->message};
    }
    drop_annotations(a, &y->metadata.annotations);
}

static void annotate(struct arena *a, struct autoscalingv1_HorizontalPodAutoscaler *y, const char *key, const char *json) {
    string_map_set(a, &y->metadata.annotations, key, json);
}

void hpa_v2_to_v1(struct arena *a, const void *in, void *out) {
    const struct autoscalingv2_HorizontalPodAutoscaler *x = in;
    struct autoscalingv1_HorizontalPodAutoscaler *y = out;
    struct autoscalingv1_MetricSpec_list others = {0};
    struct autoscalingv1_MetricStatus_list current = {0};
    struct autoscalingv1_HorizontalPodAutoscalerCondition_list conditions = {0};
    LIST_FOREACH(m, &x->spec.metrics)
        if (!is_cpu_utilization(m)) *LIST_PUSH(a, &others) = spec_to_v1(a, m);
        else if (!y->spec.targetCPUUtilizationPercentage.has) y->spec.targetCPUUtilizationPercentage = m->resource->target.averageUtilization;
    LIST_FOREACH(m, &x->status.currentMetrics) {
        *LIST_PUSH(a, &current) = status_to_v1(a, m);
        if (m->resource && str_eq(m->resource->name, "cpu") && m->resource->current.averageUtilization.has) y->status.currentCPUUtilizationPercentage = m->resource->current.averageUtilization;
    }
    LIST_FOREACH(c, &x->status.conditions)
        *LIST_PUSH(a, &conditions) = (struct autoscalingv1_HorizontalPodAutoscalerCondition){c->type, c->status, c->lastTransitionTime, c->reason, c->message};
    if (!others.len && !current.len && !conditions.len && !x->spec.behavior) return;
    y->metadata.annotations = string_map_copy(a, &y->metadata.annotations);
    if (others.len) annotate(a, y, METRICS, list_json(a, &autoscalingv1_MetricSpec_desc, &(struct any_list){others.items, others.len}));
    if (current.len) annotate(a, y, CURRENT_METRICS, list_json(a, &autoscalingv1_MetricStatus_desc, &(struct any_list){current.items, current.len}));
    if (conditions.len) annotate(a, y, CONDITIONS, list_json(a, &autoscalingv1_HorizontalPodAutoscalerCondition_desc, &(struct any_list){conditions.items, conditions.len}));
    if (x->spec.behavior) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        object_encode_go(&autoscalingv2_HorizontalPodAutoscalerBehavior_desc, x->spec.behavior, &text);
        annotate(a, y, BEHAVIOR, arena_strdup(a, text.data));
    }
}
