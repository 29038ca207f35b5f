/* HorizontalPodAutoscalers: as many replicas as the metrics ask for, within limits of number, speed and wavering. Upstream: pkg/controller/podautoscaler horizontal.go.
 *
 * Every 15 s each autoscaler is looked at. Former recommendations and scalings are remembered in this process alone, as upstream does.
 * Tests: tests/unit/test_controller_horizontal.c. */
#include <math.h>
#include "api/quantity.h"
#include "api/time.h"
#include "base/map.h"
#include "base/str.h"
#include "controller/controllers.h"
#include "controller/garbage_discovery.h"
#include "controller/metrics.h"
#include "controller/replica_calculator.h"

enum { DOWNSCALE_WINDOW_S = 300, RESCALE_TRIES = 5, HISTORY_MAX = 512, DISCOVERY_AGE_MS = 30000 };
#define TOLERANCE 0.1

struct memory { int32_t value; int64_t at_ns; };
struct history { struct memory items[HISTORY_MAX]; size_t len; };
struct autoscaler_memory { struct history recommendations, ups, downs; };

struct horizontal_controller {
    struct controller *c;
    struct informer *autoscalers, *pods;
    pthread_mutex_t mutex;              /* of what follows */
    struct map *memories;               /* key -> struct autoscaler_memory * */
    struct map *selectors;              /* key -> the selector of its target's Pods as it was when last looked at, as text */
    struct gc_resources *resources;
    int64_t resources_at_ns;
};

typedef struct autoscalingv2_HorizontalPodAutoscaler autoscaler;
struct hpa_sync {
    struct horizontal_controller *hc;
    struct arena *a;
    const char *key;
    autoscaler *h;                      /* a copy */
    const struct autoscalingv2_HorizontalPodAutoscalerStatus *was;
    struct autoscaler_memory *memory;   /* this key's worker alone touches it */
    struct autoscalingv1_Scale scale;
    char *scale_path;
    int64_t now_ns;
    int32_t min;
    struct autoscalingv2_MetricStatus_list metrics;
    const char *action;                 /* for the metrics: scale_up, scale_down or none */
};

#define RECORD(s, type, reason, ...) event_record((s)->hc->c->events, &autoscalingv2_HorizontalPodAutoscaler_desc, (s)->h, type, reason, __VA_ARGS__)

/* ---- conditions and status ---- */

static void set_condition(struct hpa_sync *s, const char *type, const char *status, const char *reason, const char *message) {
    struct autoscalingv2_HorizontalPodAutoscalerCondition *c = NULL;
    LIST_FOREACH(o, &s->h->status.conditions)
        if (str_eq(o->type, type)) c = o;
    if (!c) {
        c = LIST_PUSH(s->a, &s->h->status.conditions);
        c->type = type;
    }
    if (!str_eq(c->status, status)) c->lastTransitionTime = time_from_s(s->now_ns / 1000000000);
    c->status = status;
    c->reason = reason;
    c->message = message;
}

static int write_status(struct hpa_sync *s, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (object_equal(&autoscalingv2_HorizontalPodAutoscalerStatus_desc, s->was, &s->h->status)) return 0;
    if (client_update_status(s->hc->c->client, s->a, &autoscalingv2_HorizontalPodAutoscaler_desc, s->h, NULL, &err) == 0 || status_is(&err, 404)) return 0;
    RECORD(s, EVENT_WARNING, "FailedUpdateStatus", "%s", status_message(&err));
    if (reterr) {
        status_copy(reterr, &err);
        status_wrap(reterr, "failed to update status for %s", s->h->metadata.name);
    }
    return -1;
}

static void set_status(struct hpa_sync *s, int32_t desired, bool rescaled) {
    s->h->status.currentReplicas = s->scale.spec.replicas;
    s->h->status.desiredReplicas = desired;
    controller_metric_set(&metrics_hpa_desired, desired, "hpa_name=\"%s\",namespace=\"%s\"", s->h->metadata.name, s->h->metadata.namespace);
    s->h->status.currentMetrics = s->metrics;
    if (rescaled) s->h->status.lastScaleTime = time_from_s(s->now_ns / 1000000000);
}

/* ---- the target's scale ---- */

/* Any version of the kind in that group. */
static char *scale_path(struct hpa_sync *s, struct status *reterr) {
    struct horizontal_controller *hc = s->hc;
    const struct autoscalingv2_CrossVersionObjectReference *ref = &s->h->spec.scaleTargetRef;
    char *path = NULL;
    pthread_mutex_lock(&hc->mutex);
    if (!hc->resources || s->now_ns - hc->resources_at_ns > (int64_t)DISCOVERY_AGE_MS * 1000000) {
        struct gc_resources *fresh = gc_resources_discover(hc->c->client, hc->resources, reterr);
        if (fresh) {
            gc_resources_free(hc->resources);
            hc->resources = fresh;
            hc->resources_at_ns = s->now_ns;
        }
    }
    const struct gc_resource *r = gc_resources_find(hc->resources, ref->apiVersion, ref->kind);
    if (r) path = arena_printf(s->a, "%s/namespaces/%s/%s/%s/scale", r->path, s->h->metadata.namespace, r->resource, ref->name);
    pthread_mutex_unlock(&hc->mutex);
    if (path) return path;
    const char *slash = strchr(str_or(ref->apiVersion, ""), '/');
    const char *group = slash ? arena_strndup(s->a, ref->apiVersion, (size_t)(slash - ref->apiVersion)) : "";
    status_set(reterr, 0, NULL, "no matches for kind \"%s\" in group \"%s\"", ref->kind, group);
    return NULL;
}

static int get_scale(struct hpa_sync *s, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    if (!s->scale_path && !(s->scale_path = scale_path(s, reterr))) return -1;
    if (client_raw(s->hc->c->client, "GET", s->scale_path, NULL, NULL, 0, &body, reterr) != 0) return -1;
    memset(&s->scale, 0, sizeof(s->scale));
    return object_decode_json(s->a, &autoscalingv1_Scale_desc, &s->scale, buf_cstr(&body), body.len, NULL, reterr);
}

static int put_scale(struct hpa_sync *s, int32_t replicas, struct status *reterr) {
    for (int tries = 0;; tries++) {
        _cleanup_buf_ struct buf body = BUF_INIT, answer = BUF_INIT;
        _cleanup_status_ struct status err = STATUS_INIT;
        struct autoscalingv1_Scale scale = s->scale;
        scale.spec.replicas = replicas;
        object_encode_json(&autoscalingv1_Scale_desc, &scale, &body);
        if (client_raw(s->hc->c->client, "PUT", s->scale_path, NULL, buf_cstr(&body), body.len, &answer, &err) == 0) return 0;
        int32_t current = s->scale.spec.replicas;
        if (status_is(&err, 409) && tries < RESCALE_TRIES && get_scale(s, NULL) == 0) {
            s->scale.spec.replicas = current; /* what the decision rests on is what is reported */
            continue;
        }
        if (reterr) status_copy(reterr, &err);
        return -1;
    }
}

/* ---- what was recommended and done before ---- */

/* Takes the place of one that is older than `keep_s`, or of the oldest. */
static void remember(struct history *h, int32_t value, int64_t now_ns, int64_t keep_s) {
    size_t place = h->len, oldest = 0;
    for (size_t i = 0; i < h->len; i++) {
        if (h->items[i].at_ns < now_ns - keep_s * 1000000000) place = i;
        if (h->items[i].at_ns < h->items[oldest].at_ns) oldest = i;
    }
    if (place == HISTORY_MAX) place = oldest;
    if (place == h->len) h->len++;
    h->items[place] = (struct memory){value, now_ns};
}

static int32_t changed_within(const struct history *h, int32_t seconds, int64_t now_ns) {
    int32_t n = 0;
    for (size_t i = 0; i < h->len; i++)
        if (h->items[i].at_ns > now_ns - seconds * 1000000000LL) n += h->items[i].value;
    return n;
}

static int32_t longest_period(const struct autoscalingv2_HPAScalingRules *r) {
    int32_t max = 0;
    if (r) LIST_FOREACH(p, &r->policies) max = MAX(max, p->periodSeconds);
    return max;
}

static void remember_scaling(struct hpa_sync *s, int32_t from, int32_t to) {
    const struct autoscalingv2_HorizontalPodAutoscalerBehavior *b = s->h->spec.behavior;
    if (!b) return;
    if (to > from) remember(&s->memory->ups, to - from, s->now_ns, longest_period(b->scaleUp));
    else remember(&s->memory->downs, from - to, s->now_ns, longest_period(b->scaleDown));
}

/* ---- limits ---- */

struct limited { int32_t replicas; const char *reason, *message; };
#define WITHIN(n) ((struct limited){n, "DesiredWithinRange", "the desired count is within the acceptable range"})

static void tell_limit(struct hpa_sync *s, const struct limited *l, int32_t wanted) { set_condition(s, "ScalingLimited", l->replicas == wanted ? "False" : "True", l->reason, l->message); }

/* Without behavior: at most twice as many (or four) at once; down only to the highest recommendation of the last five minutes. */
static int32_t normalize(struct hpa_sync *s, int32_t desired) {
    int32_t stable = desired, current = s->scale.spec.replicas, max = s->h->spec.maxReplicas, up = MAX(2 * current, 4);
    struct history *h = &s->memory->recommendations;
    for (size_t i = 0; i < h->len; i++)
        if (h->items[i].at_ns >= s->now_ns - DOWNSCALE_WINDOW_S * 1000000000LL) stable = MAX(stable, h->items[i].value);
    remember(h, desired, s->now_ns, DOWNSCALE_WINDOW_S);
    if (stable != desired) set_condition(s, "AbleToScale", "True", "ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation");
    else set_condition(s, "AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size");
    struct limited l = WITHIN(stable);
    if (stable < s->min) l = (struct limited){s->min, "TooFewReplicas", "the desired replica count is less than the minimum replica count"};
    else if (max > up && stable > up) l = (struct limited){up, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"};
    else if (max <= up && stable > max) l = (struct limited){max, "TooManyReplicas", "the desired replica count is more than the maximum replica count"};
    tell_limit(s, &l, stable);
    return l.replicas;
}

/* How far the policies let it go in one direction. */
static int32_t rate_limit(const struct hpa_sync *s, const struct autoscalingv2_HPAScalingRules *r, bool up) {
    int32_t current = s->scale.spec.replicas;
    if (str_eq(r->selectPolicy, "Disabled")) return current;
    bool least = str_eq(r->selectPolicy, "Min"), highest = up != least;
    int32_t result = highest ? INT32_MIN : INT32_MAX;
    LIST_FOREACH(p, &r->policies) {
        int32_t began = current - changed_within(&s->memory->ups, p->periodSeconds, s->now_ns) + changed_within(&s->memory->downs, p->periodSeconds, s->now_ns);
        double share = (double)p->value / 100;
        int32_t proposed = str_eq(p->type, "Pods") ? (up ? began + p->value : began - p->value) : up ? (int32_t)ceil(began * (1 + share)) : (int32_t)(began * (1 - share));
        result = highest ? MAX(result, proposed) : MIN(result, proposed);
    }
    return result;
}

static int32_t window_of(const struct autoscalingv2_HPAScalingRules *r, int32_t fallback) { return r && r->stabilizationWindowSeconds.has ? r->stabilizationWindowSeconds.value : fallback; }

static int32_t stabilize(struct hpa_sync *s, int32_t desired) {
    const struct autoscalingv2_HorizontalPodAutoscalerBehavior *b = s->h->spec.behavior;
    int32_t up_s = window_of(b->scaleUp, 0), down_s = window_of(b->scaleDown, DOWNSCALE_WINDOW_S), up = desired, down = desired, current = s->scale.spec.replicas;
    struct history *h = &s->memory->recommendations;
    for (size_t i = 0; i < h->len; i++) {
        if (h->items[i].at_ns > s->now_ns - up_s * 1000000000LL) up = MIN(up, h->items[i].value);
        if (h->items[i].at_ns > s->now_ns - down_s * 1000000000LL) down = MAX(down, h->items[i].value);
    }
    remember(h, desired, s->now_ns, MAX(up_s, down_s));
    return MIN(MAX(current, up), down);
}

static int32_t normalize_with_behavior(struct hpa_sync *s, int32_t desired) {
    const struct autoscalingv2_HorizontalPodAutoscalerBehavior *b = s->h->spec.behavior;
    int32_t current = s->scale.spec.replicas, stable = stabilize(s, desired), max = s->h->spec.maxReplicas;
    if (stable == desired) set_condition(s, "AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size");
    else if (desired >= current) set_condition(s, "AbleToScale", "True", "ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation");
    else set_condition(s, "AbleToScale", "True", "ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation");
    struct limited l = WITHIN(stable);
    if (stable > current && b->scaleUp) {
        int32_t limit = MAX(rate_limit(s, b->scaleUp, true), current);
        if (max > limit && stable > limit) l = (struct limited){limit, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"};
        else if (max <= limit && stable > max) l = (struct limited){max, "TooManyReplicas", "the desired replica count is more than the maximum replica count"};
    } else if (stable < current && b->scaleDown) {
        int32_t limit = MIN(rate_limit(s, b->scaleDown, false), current);
        if (s->min < limit && stable < limit) l = (struct limited){limit, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"};
        else if (s->min >= limit && stable < s->min) l = (struct limited){s->min, "TooFewReplicas", "the desired replica count is less than the minimum replica count"};
    }
    tell_limit(s, &l, stable);
    return l.replicas;
}

/* ---- metrics ---- */

static int64_t target_milli(const char *text) {
    struct quantity n = quantity_of(text);
    return quantity_milli_value(&n);
}

static const char *milli_text(struct arena *a, int64_t milli, bool binary) {
    struct quantity n = quantity_from_milli(milli, binary ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI);
    return quantity_format(a, &n);
}

/* One metric's answer, with its status and its name in messages. */
struct proposal { struct replica_answer answer; const char *name, *reason; };

static int ask_resource(struct hpa_sync *s, const struct replica_question *q, const char *resource, const char *container, const struct autoscalingv2_MetricTarget *t,
                        struct autoscalingv2_MetricValueStatus *st, struct proposal *p, struct status *reterr) {
    bool raw = t->averageValue != NULL;
    if (!raw && !t->averageUtilization.has)
        return status_set(reterr, 0, NULL, "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set");
    int rc = raw ? replicas_for_usage(q, resource, container, target_milli(t->averageValue), &p->answer, reterr)
                 : replicas_for_utilization(q, resource, container, t->averageUtilization.value, &p->answer, reterr);
    if (rc != 0) {
        status_wrap(reterr, "failed to get %s %s", resource, raw ? "usage" : "utilization");
        return -1;
    }
    p->name = raw ? arena_printf(s->a, "%s resource", resource) : arena_printf(s->a, "%s %sresource utilization (percentage of request)", resource, container ? "container " : "");
    st->averageValue = milli_text(s->a, p->answer.usage, str_eq(resource, "memory"));
    if (!raw) st->averageUtilization = (struct opt_int32)OPT(p->answer.utilization);
    return 0;
}

static int ask_object(struct hpa_sync *s, const struct replica_question *q, const struct autoscalingv2_ObjectMetricSource *m, struct autoscalingv2_MetricStatus *st, struct proposal *p,
                      struct status *reterr) {
    bool per_pod = str_eq(m->target.type, "AverageValue") && m->target.averageValue, whole = str_eq(m->target.type, "Value") && m->target.value;
    if (!per_pod && !whole) return status_set(reterr, 0, NULL, "invalid object metric source: neither a value target nor an average value target was set");
    pthread_mutex_lock(&s->hc->mutex);
    const struct gc_resource *r = gc_resources_find(s->hc->resources, m->describedObject.apiVersion, m->describedObject.kind);
    const char *resource = r ? arena_printf(s->a, "%s%s%s", r->resource, *r->group ? "." : "", r->group) : NULL;
    pthread_mutex_unlock(&s->hc->mutex);
    if (!resource) return status_set(reterr, 0, NULL, "unable to get metric %s: no matches for kind \"%s\"", m->metric.name, m->describedObject.kind);
    if (replicas_for_object_metric(q, &m->describedObject, resource, &m->metric, target_milli(per_pod ? m->target.averageValue : m->target.value), per_pod, &p->answer, reterr) != 0) return -1;
    st->object = ARENA_NEW(s->a, struct autoscalingv2_ObjectMetricStatus);
    st->object->describedObject = m->describedObject;
    st->object->metric = m->metric;
    *(per_pod ? &st->object->current.averageValue : &st->object->current.value) = milli_text(s->a, p->answer.usage, false);
    p->name = per_pod ? arena_printf(s->a, "external metric %s(%s)", m->metric.name, m->metric.selector ? "selector" : "nil") : arena_printf(s->a, "%s metric %s", m->describedObject.kind, m->metric.name);
    return 0;
}

static int ask_external(struct hpa_sync *s, const struct replica_question *q, const struct autoscalingv2_ExternalMetricSource *m, struct autoscalingv2_MetricStatus *st, struct proposal *p,
                        struct status *reterr) {
    bool per_pod = m->target.averageValue != NULL;
    if (!per_pod && !m->target.value) return status_set(reterr, 0, NULL, "invalid external metric source: neither a value target nor an average value target was set");
    if (replicas_for_external_metric(q, &m->metric, target_milli(per_pod ? m->target.averageValue : m->target.value), per_pod, &p->answer, reterr) != 0) {
        status_wrap(reterr, per_pod ? "failed to get %s external metric" : "failed to get external metric %s", m->metric.name);
        return -1;
    }
    st->external = ARENA_NEW(s->a, struct autoscalingv2_ExternalMetricStatus);
    st->external->metric = m->metric;
    *(per_pod ? &st->external->current.averageValue : &st->external->current.value) = milli_text(s->a, p->answer.usage, false);
    p->name = arena_printf(s->a, "external metric %s(%s)", m->metric.name, m->metric.selector ? "selector" : "nil");
    return 0;
}

static int ask_pods(struct hpa_sync *s, const struct replica_question *q, const struct autoscalingv2_PodsMetricSource *m, struct autoscalingv2_MetricStatus *st, struct proposal *p, struct status *reterr) {
    if (replicas_for_pods_metric(q, &m->metric, target_milli(m->target.averageValue), &p->answer, reterr) != 0) return -1;
    st->pods = ARENA_NEW(s->a, struct autoscalingv2_PodsMetricStatus);
    st->pods->metric = m->metric;
    st->pods->current.averageValue = milli_text(s->a, p->answer.usage, false);
    p->name = arena_printf(s->a, "pods metric %s", m->metric.name);
    return 0;
}

/* *ret_context: upstream's words around a failure. */
static int ask(struct hpa_sync *s, const struct replica_question *q, const struct autoscalingv2_MetricSpec *m, struct autoscalingv2_MetricStatus *st, struct proposal *p, const char **ret_context,
               struct status *reterr) {
    st->type = m->type;
    if (str_eq(m->type, "Resource") && m->resource) {
        *ret_context = arena_printf(s->a, "failed to get %s resource metric value", m->resource->name);
        p->reason = "FailedGetResourceMetric";
        st->resource = ARENA_NEW(s->a, struct autoscalingv2_ResourceMetricStatus);
        st->resource->name = m->resource->name;
        return ask_resource(s, q, m->resource->name, NULL, &m->resource->target, &st->resource->current, p, reterr);
    }
    if (str_eq(m->type, "ContainerResource") && m->containerResource) {
        *ret_context = arena_printf(s->a, "failed to get %s container metric value", m->containerResource->container);
        p->reason = "FailedGetContainerResourceMetric";
        st->containerResource = ARENA_NEW(s->a, struct autoscalingv2_ContainerResourceMetricStatus);
        st->containerResource->name = m->containerResource->name;
        st->containerResource->container = m->containerResource->container;
        return ask_resource(s, q, m->containerResource->name, m->containerResource->container, &m->containerResource->target, &st->containerResource->current, p, reterr);
    }
    if (str_eq(m->type, "Pods") && m->pods) {
        *ret_context = "failed to get pods metric value";
        p->reason = "FailedGetPodsMetric";
        return ask_pods(s, q, m->pods, st, p, reterr);
    }
    if (str_eq(m->type, "Object") && m->object) {
        *ret_context = "failed to get object metric value";
        p->reason = "FailedGetObjectMetric";
        return ask_object(s, q, m->object, st, p, reterr);
    }
    if (str_eq(m->type, "External") && m->external) {
        *ret_context = arena_printf(s->a, "failed to get %s external metric value", m->external->metric.name);
        p->reason = "FailedGetExternalMetric";
        return ask_external(s, q, m->external, st, p, reterr);
    }
    p->reason = "InvalidMetricSourceType";
    return status_set(reterr, 0, NULL, "unknown metric source type \"%s\"", str_or(m->type, ""));
}

struct rival { const char *name; struct selector selector; bool found; };
struct rival_list { struct rival *items; size_t len; };

/* Notes our selector, and tells those of the other autoscalers of the namespace. */
static struct rival_list rivals_of(struct hpa_sync *s, const char *selector) {
    struct horizontal_controller *hc = s->hc;
    struct rival_list ret = {0};
    const char *key, *ns, *name;
    void *text, *mine = strdup(selector);
    CHECK(mine);
    pthread_mutex_lock(&hc->mutex);
    free(map_put(hc->selectors, s->key, mine));
    for (size_t i = 0; map_next(hc->selectors, &i, &key, &text);) {
        struct rival r = {0};
        object_key_split(s->a, key, &ns, &name);
        if (str_eq(key, s->key) || !str_eq(ns, s->h->metadata.namespace) || label_selector_parse(s->a, text, &r.selector, NULL) != 0) continue;
        r.name = name;
        *LIST_PUSH(s->a, &ret) = r;
    }
    pthread_mutex_unlock(&hc->mutex);
    return ret;
}

static int by_rival_name(const void *x, const void *y) { return strcmp(((const struct rival *)x)->name, ((const struct rival *)y)->name); }

/* A Pod that two autoscalers scale would be scaled by neither rightly. Upstream: hpasControllingPodsUnderSelector. */
static int only_ours(struct hpa_sync *s, const struct selector *selector, struct status *reterr) {
    struct rival_list rivals = rivals_of(s, s->scale.status.selector);
    if (!rivals.len) return 0;
    _cleanup_cached_list_ struct cached_list pods = {0};
    bool any = false;
    informer_list(s->hc->pods, s->h->metadata.namespace, &pods);
    for (size_t i = 0; i < pods.len; i++) {
        const struct string_map *labels = &pods.items[i]->obj->metadata.labels;
        if (!selector_matches(selector, labels)) continue;
        LIST_FOREACH(r, &rivals) any |= r->found |= selector_matches(&r->selector, labels);
    }
    if (!any) return 0;
    *LIST_PUSH(s->a, &rivals) = (struct rival){.name = s->h->metadata.name, .found = true};
    qsort(rivals.items, rivals.len, sizeof(*rivals.items), by_rival_name);
    const char *names = "";
    LIST_FOREACH(r, &rivals)
        if (r->found) names = arena_printf(s->a, "%s%s{%s %s}", names, *names ? " " : "", r->name, s->h->metadata.namespace);
    status_set(reterr, 0, NULL, "pods by selector %s are controlled by multiple HPAs: [%s]", s->scale.status.selector, names);
    RECORD(s, EVENT_WARNING, "AmbiguousSelector", "%s", status_message(reterr));
    set_condition(s, "ScalingActive", "False", "AmbiguousSelector", arena_strdup(s->a, status_message(reterr)));
    return -1;
}

static int question_for(struct hpa_sync *s, struct replica_question *q, struct status *reterr) {
    const struct autoscalingv2_HorizontalPodAutoscalerBehavior *b = s->h->spec.behavior;
    *q = (struct replica_question){.c = s->hc->c, .a = s->a, .pods = s->hc->pods, .ns = s->h->metadata.namespace, .replicas = s->scale.spec.replicas, .status_replicas = s->scale.status.replicas,
                                   .tolerance_up = TOLERANCE, .tolerance_down = TOLERANCE};
    if (b && b->scaleUp && b->scaleUp->tolerance) q->tolerance_up = (double)target_milli(b->scaleUp->tolerance) / 1000;
    if (b && b->scaleDown && b->scaleDown->tolerance) q->tolerance_down = (double)target_milli(b->scaleDown->tolerance) / 1000;
    if (str_empty(s->scale.status.selector)) {
        RECORD(s, EVENT_WARNING, "SelectorRequired", "selector is required");
        set_condition(s, "ScalingActive", "False", "InvalidSelector", "the HPA target's scale is missing a selector");
        return status_set(reterr, 0, NULL, "selector is required");
    }
    if (label_selector_parse(s->a, s->scale.status.selector, &q->selector, reterr) == 0) return only_ours(s, &q->selector, reterr);
    status_wrap(reterr, "couldn't convert selector into a corresponding internal selector object");
    RECORD(s, EVENT_WARNING, "InvalidSelector", "%s", status_message(reterr));
    set_condition(s, "ScalingActive", "False", "InvalidSelector", arena_strdup(s->a, status_message(reterr)));
    return -1;
}

static const char *action_of(int32_t from, int32_t to) { return to > from ? "scale_up" : to < from ? "scale_down" : "none"; }

static void tell_computation(const struct hpa_sync *s, const char *type, const char *action, bool failed, int64_t began_ns) {
    const char *labels = arena_printf(s->a, "action=\"%s\",error=\"%s\",metric_type=\"%s\"", action, failed ? "internal" : "none", str_or(type, ""));
    metric_add(&metrics_hpa_computations, labels, 1);
    metric_observe(&metrics_hpa_computation_duration, labels, (double)(env_mono_ns(s->hc->c->env) - began_ns) / 1e9);
}

/* The largest of all metrics' proposals. While some are not known there is no scaling down. -1: nothing can be said. */
static int32_t compute(struct hpa_sync *s, const char **ret_name, struct status *reterr) {
    struct replica_question q;
    struct autoscalingv2_HorizontalPodAutoscalerCondition invalid = {0};
    int32_t replicas = 0, bad = 0, all = (int32_t)s->h->spec.metrics.len;
    const char *first = NULL;
    if (question_for(s, &q, reterr) != 0) return -1;
    LIST_FOREACH(m, &s->h->spec.metrics) {
        struct autoscalingv2_MetricStatus *st = LIST_PUSH(s->a, &s->metrics);
        struct proposal p = {0};
        const char *context = NULL;
        _cleanup_status_ struct status err = STATUS_INIT;
        int64_t began_ns = env_mono_ns(s->hc->c->env);
        int unknown = ask(s, &q, m, st, &p, &context, &err);
        tell_computation(s, m->type, unknown ? "none" : action_of(q.replicas, p.answer.replicas), unknown, began_ns);
        if (!unknown) {
            if (replicas == 0 || p.answer.replicas > replicas) {
                replicas = p.answer.replicas;
                *ret_name = p.name;
            }
            continue;
        }
        *st = (struct autoscalingv2_MetricStatus){.type = ""};
        RECORD(s, EVENT_WARNING, p.reason, "%s", status_message(&err));
        if (bad++ == 0) {
            invalid.reason = p.reason;
            invalid.message = arena_printf(s->a, "the HPA was unable to compute the replica count: %s", status_message(&err));
            first = context ? arena_printf(s->a, "%s: %s", context, status_message(&err)) : arena_strdup(s->a, status_message(&err));
        }
    }
    if (bad) status_set(reterr, 0, NULL, "invalid metrics (%d invalid out of %d), first error is: %s", bad, all, first);
    if (bad >= all || (bad && replicas < q.replicas)) {
        set_condition(s, "ScalingActive", "False", invalid.reason, invalid.message);
        return -1;
    }
    set_condition(s, "ScalingActive", "True", "ValidMetricFound", arena_printf(s->a, "the HPA was able to successfully calculate a replica count from %s", *ret_name));
    return replicas;
}

/* ---- one autoscaler ---- */

static int no_scale(struct hpa_sync *s, struct status *reterr) {
    RECORD(s, EVENT_WARNING, "FailedGetScale", "%s", status_message(reterr));
    set_condition(s, "AbleToScale", "False", "FailedGetScale", arena_printf(s->a, "the HPA controller was unable to get the target's current scale: %s", status_message(reterr)));
    write_status(s, NULL);
    return -1;
}

static int rescale(struct hpa_sync *s, int32_t from, int32_t to, const char *reason, struct status *reterr) {
    if (put_scale(s, to, reterr) != 0) {
        RECORD(s, EVENT_WARNING, "FailedRescale", "New size: %d; reason: %s; error: %s", to, reason, status_message(reterr));
        set_condition(s, "AbleToScale", "False", "FailedUpdateScale", arena_printf(s->a, "the HPA controller was unable to update the target scale: %s", status_message(reterr)));
        set_status(s, s->h->status.desiredReplicas, false);
        write_status(s, NULL);
        return -1;
    }
    set_condition(s, "AbleToScale", "True", "SucceededRescale", arena_printf(s->a, "the HPA controller was able to update the target scale to %d", to));
    RECORD(s, EVENT_NORMAL, "SuccessfulRescale", "New size: %d; reason: %s", to, reason);
    remember_scaling(s, from, to);
    return 0;
}

static int scale_by_metrics(struct hpa_sync *s, int32_t *ret_desired, const char **ret_reason, struct status *reterr) {
    int32_t current = s->scale.spec.replicas;
    const char *name = "";
    int32_t desired = compute(s, &name, reterr);
    if (desired < 0) {
        set_status(s, s->h->status.desiredReplicas, false);
        write_status(s, NULL);
        RECORD(s, EVENT_WARNING, "FailedComputeMetricsReplicas", "%s", status_message(reterr));
        return -1;
    }
    if (desired > current) *ret_reason = arena_printf(s->a, "%s above target", name);
    if (desired < current) *ret_reason = "All metrics below target";
    *ret_desired = s->h->spec.behavior ? normalize_with_behavior(s, desired) : normalize(s, desired);
    return 0;
}

static int reconcile(struct hpa_sync *s, struct status *reterr) {
    const struct autoscalingv2_HorizontalPodAutoscalerSpec *spec = &s->h->spec;
    if (get_scale(s, reterr) != 0) return no_scale(s, reterr);
    set_condition(s, "AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale");
    int32_t current = s->scale.spec.replicas, desired = current;
    const char *reason = "";
    if (s->memory->recommendations.len == 0) remember(&s->memory->recommendations, current, s->now_ns, DOWNSCALE_WINDOW_S);
    s->min = spec->minReplicas.has ? spec->minReplicas.value : 1;
    if (current == 0) {
        set_condition(s, "ScalingActive", "False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
    } else if (current > spec->maxReplicas) {
        reason = "Current number of replicas above Spec.MaxReplicas";
        desired = spec->maxReplicas;
    } else if (current < s->min) {
        reason = "Current number of replicas below Spec.MinReplicas";
        desired = s->min;
    } else if (scale_by_metrics(s, &desired, &reason, reterr) != 0) {
        return -1;
    }
    if (desired != current && rescale(s, current, desired, reason, reterr) != 0) return -1;
    s->action = action_of(current, desired);
    s->scale.spec.replicas = current;
    set_status(s, desired, desired != current);
    return write_status(s, reterr);
}

/* ---- the controller ---- */

static struct autoscaler_memory *memory_of(struct horizontal_controller *hc, const char *key) {
    pthread_mutex_lock(&hc->mutex);
    struct autoscaler_memory *m = map_get(hc->memories, key);
    if (!m) {
        CHECK(m = calloc(1, sizeof(*m)));
        map_put(hc->memories, key, m);
    }
    pthread_mutex_unlock(&hc->mutex);
    return m;
}

/* Whatever came of it, it is looked at again after the period. */
static int sync_autoscaler(void *self, struct arena *a, const char *key, struct status *reterr UNUSED) {
    struct horizontal_controller *hc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(hc->autoscalers, ns, name);
    if (!cached) {
        pthread_mutex_lock(&hc->mutex);
        free(map_del(hc->memories, key));
        free(map_del(hc->selectors, key));
        pthread_mutex_unlock(&hc->mutex);
        controller_metric_drop(&metrics_hpa_desired, "hpa_name=\"%s\",namespace=\"%s\"", name, ns);
        return 0;
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    struct hpa_sync s = {.hc = hc, .a = a, .key = key, .h = object_copy(a, &autoscalingv2_HorizontalPodAutoscaler_desc, cached->obj), .memory = memory_of(hc, key), .now_ns = env_now_ns(hc->c->env),
        .was = &CACHED(cached, autoscalingv2_HorizontalPodAutoscaler)->status};
    int64_t began_ns = env_mono_ns(hc->c->env);
    int rc = reconcile(&s, &err);
    const char *labels = arena_printf(a, "action=\"%s\",error=\"%s\"", str_or(s.action, "none"), rc ? "internal" : "none");
    metric_add(&metrics_hpa_syncs, labels, 1);
    metric_observe(&metrics_hpa_sync_duration, labels, (double)(env_mono_ns(hc->c->env) - began_ns) / 1e9);
    work_queue_add_after(hc->c->queue, key, hc->c->context->options->horizontal_pod_autoscaler_sync_period_ms);
    return 0;
}

/* Changes of the status are our own: only the period brings it back. */
static void on_update(void *data, struct cached *old, struct cached *now) {
    struct horizontal_controller *hc = data;
    if (old->obj->metadata.generation != now->obj->metadata.generation ||
        !object_equal(&autoscalingv2_HorizontalPodAutoscalerSpec_desc, &CACHED(old, autoscalingv2_HorizontalPodAutoscaler)->spec, &CACHED(now, autoscalingv2_HorizontalPodAutoscaler)->spec))
        controller_enqueue(hc->c, now->obj);
}

static void on_add(void *data, struct cached *now) {
    metric_add(&metrics_hpa_number, "", 1);
    controller_enqueue(((struct horizontal_controller *)data)->c, now->obj);
}

static void on_delete(void *data, struct cached *old) {
    metric_add(&metrics_hpa_number, "", -1);
    controller_enqueue(((struct horizontal_controller *)data)->c, old->obj);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct horizontal_controller *hc = calloc(1, sizeof(*hc));
    CHECK(hc);
    hc->c = c;
    hc->memories = map_new();
    hc->selectors = map_new();
    pthread_mutex_init(&hc->mutex, NULL);
    hc->autoscalers = informers_get(c->context->informers, &autoscalingv2_HorizontalPodAutoscaler_desc);
    hc->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    informer_add_handler(hc->autoscalers, &(struct informer_handler){hc, on_add, on_update, on_delete});
    return hc;
}

static void free_self(void *self) {
    struct horizontal_controller *hc = self;
    metric_drop(&metrics_hpa_number, "");
    metric_drop(&metrics_hpa_desired, "");
    map_free_with(hc->memories, free);
    map_free_with(hc->selectors, free);
    gc_resources_free(hc->resources);
    pthread_mutex_destroy(&hc->mutex);
    free(hc);
}

const struct controller_desc controller_horizontal = {.name = "horizontal-pod-autoscaler-controller", .queue = "horizontalpodautoscaler", .account = "horizontal-pod-autoscaler", .component = "horizontal-pod-autoscaler", .workers = 5,
    .new = new, .sync = sync_autoscaler, .free = free_self};
