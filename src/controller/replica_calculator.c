/* How many replicas a metric asks for: see replica_calculator.h. */
#include "controller/replica_calculator.h"
#include <yyjson.h>
#include "api/quantity.h"
#include "api/time.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/url.h"

enum { CPU_INITIALIZATION_S = 300, INITIAL_READINESS_S = 30 };

struct sample { const char *pod; int64_t value, at_s, window_s; bool dropped; };
struct samples { struct sample *items; size_t len; };

/* ---- the metrics APIs ---- */

/* An API that is not there answers with no Status of its own; client-go has words for that. */
static int fetch(const struct replica_question *q, const char *path, const char *what, const char *api, yyjson_val **ret_items, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    int rc = client_raw(q->c->client, "GET", path, NULL, NULL, 0, &body, &err);
    yyjson_doc *doc = rc == 0 ? json_parse_in(q->a, buf_cstr(&body), body.len, 0, &err) : NULL;
    if (doc) {
        *ret_items = yyjson_obj_get(yyjson_doc_get_root(doc), "items");
        return 0;
    }
    bool missing = status_is(&err, 404) && !err.reason;
    if (missing) return status_set(reterr, 404, REASON_NOT_FOUND, "unable to fetch metrics from %s metrics API: the server could not find the requested resource (get %s)", api, what);
    return status_set(reterr, err.code, err.reason, "unable to fetch metrics from %s metrics API: %s", api, status_message(&err));
}

static int64_t milli_of(yyjson_val *v) {
    struct quantity n = quantity_of(yyjson_get_str(v));
    return quantity_milli_value(&n);
}

static int64_t time_of(yyjson_val *v) {
    struct api_time t = {0};
    const char *text = yyjson_get_str(v);
    return text && time_parse(text, &t, NULL) == 0 ? t.sec : 0;
}

/* "30s", "1m0s": metrics servers send whole seconds. */
static int64_t window_of(yyjson_val *v) {
    int64_t total = 0, n = 0;
    for (const char *p = str_or(yyjson_get_str(v), ""); *p; p++) {
        if (*p >= '0' && *p <= '9') n = n * 10 + (*p - '0');
        else if (*p == '.') break;
        else {
            total += n * (*p == 'h' ? 3600 : *p == 'm' && p[1] != 's' ? 60 : *p == 's' ? 1 : 0);
            n = 0;
        }
    }
    return total;
}

/* Of a Pod's containers, or of one of them. False: not all are known. */
static bool usage_of(yyjson_val *item, const char *resource, const char *container, int64_t *ret) {
    yyjson_val *c;
    size_t i, max;
    bool any = false;
    *ret = 0;
    yyjson_arr_foreach(yyjson_obj_get(item, "containers"), i, max, c) {
        if (container && !str_eq(yyjson_get_str(yyjson_obj_get(c, "name")), container)) continue;
        yyjson_val *v = yyjson_obj_get(yyjson_obj_get(c, "usage"), resource);
        if (!v) return false;
        *ret += milli_of(v);
        any = true;
    }
    return any;
}

static int resource_samples(const struct replica_question *q, const char *resource, const char *container, struct samples *ret, struct status *reterr) {
    const char *path = arena_printf(q->a, "/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods?labelSelector=%s", q->ns, url_escape_query(q->a, selector_string(q->a, &q->selector)));
    yyjson_val *items, *item;
    size_t i, max;
    int64_t value;
    if (fetch(q, path, "pods.metrics.k8s.io", "resource", &items, reterr) != 0) {
        status_wrap(reterr, "unable to get metrics for resource %s", resource);
        return -1;
    }
    if (yyjson_arr_size(items) == 0) return status_set(reterr, 0, NULL, "unable to get metrics for resource %s: no metrics returned from resource metrics API", resource);
    yyjson_arr_foreach(items, i, max, item)
        if (usage_of(item, resource, container, &value))
            *LIST_PUSH(q->a, ret) = (struct sample){.pod = yyjson_get_str(yyjson_obj_get(yyjson_obj_get(item, "metadata"), "name")), .value = value, .at_s = time_of(yyjson_obj_get(item, "timestamp")),
                .window_s = window_of(yyjson_obj_get(item, "window"))};
    return 0;
}

static const char *metric_selector(const struct replica_question *q, const struct autoscalingv2_MetricIdentifier *m) {
    struct selector s;
    if (!m->selector || label_selector_from(q->a, m->selector, &s, NULL) != 0) return "";
    return url_escape_query(q->a, selector_string(q->a, &s));
}

/* ---- Pods ---- */

static void find_pods(const struct replica_question *q, struct cached_list *ret) {
    _cleanup_cached_list_ struct cached_list all = {0};
    informer_list(q->pods, q->ns, &all);
    for (size_t i = 0; i < all.len; i++)
        if (selector_matches(&q->selector, &all.items[i]->obj->metadata.labels)) cached_list_push(ret, all.items[i]);
}

static struct sample *sample_of(struct samples *l, const char *pod) {
    LIST_FOREACH(s, l)
        if (!s->dropped && str_eq(s->pod, pod)) return s;
    return NULL;
}

/* A Pod that has just begun uses more CPU than it will: its numbers do not count yet. */
static bool cpu_is_unready(const struct corev1_Pod *p, const struct sample *s, int64_t now_s) {
    const struct corev1_PodCondition *ready = pod_condition(p, "Ready");
    if (!ready || !p->status.startTime.set) return true;
    bool no = str_eq(ready->status, "False");
    if (p->status.startTime.sec + CPU_INITIALIZATION_S > now_s) return no || s->at_s < ready->lastTransitionTime.sec + s->window_s;
    return no && p->status.startTime.sec + INITIAL_READINESS_S > ready->lastTransitionTime.sec;
}

struct groups { int ready; struct string_list unready, missing; };

/* Takes the numbers of Pods that do not count out of the samples. */
static struct groups group(const struct replica_question *q, const struct cached_list *pods, struct samples *samples, const char *resource) {
    struct groups g = {0};
    int64_t now_s = env_now_s(q->c->env);
    CACHED_FOREACH(p, corev1_Pod, pods) {
        struct sample *s = sample_of(samples, p->metadata.name);
        const char *name = arena_strdup(q->a, p->metadata.name);
        if (p->metadata.deletionTimestamp.set || str_eq(p->status.phase, "Failed")) {
            if (s) s->dropped = true;
        } else if (str_eq(p->status.phase, "Pending") || (s && str_eq(resource, "cpu") && cpu_is_unready(p, s, now_s))) {
            string_list_push(q->a, &g.unready, name);
            if (s) s->dropped = true;
        } else if (!s) string_list_push(q->a, &g.missing, name);
        else g.ready++;
    }
    return g;
}

static int requests_of(const struct replica_question *q, const struct corev1_Pod *p, const char *container, const char *resource, int64_t *ret, struct status *reterr) {
    *ret = 0;
    if (!container && p->spec.resources && p->spec.resources->requests.len) {
        const char *text = string_map_get(&p->spec.resources->requests, resource);
        if (!text) return status_set(reterr, 0, NULL, "missing pod-level request for %s in Pod %s", resource, p->metadata.name);
        struct quantity n = quantity_of(text);
        *ret = quantity_milli_value(&n);
        return 0;
    }
    struct { const struct corev1_Container **items; size_t len; } all = {0};
    LIST_FOREACH(c, &p->spec.containers) *LIST_PUSH(q->a, &all) = c;
    LIST_FOREACH(c, &p->spec.initContainers)
        if (str_eq(c->restartPolicy, "Always")) *LIST_PUSH(q->a, &all) = c;
    for (size_t i = 0; i < all.len; i++) {
        const struct corev1_Container *c = all.items[i];
        if (container && !str_eq(container, c->name)) continue;
        const char *text = string_map_get(&c->resources.requests, resource);
        if (!text) return status_set(reterr, 0, NULL, "missing request for %s in container %s of Pod %s", resource, c->name, p->metadata.name);
        struct quantity n = quantity_of(text);
        *ret += quantity_milli_value(&n);
        if (container) return 0;
    }
    return container ? status_set(reterr, 0, NULL, "container %s not found in Pod %s", container, p->metadata.name) : 0;
}

/* ---- arithmetic ---- */

static bool tolerated(const struct replica_question *q, double ratio) { return 1.0 - q->tolerance_down <= ratio && ratio <= 1.0 + q->tolerance_up; }

static int32_t round_up(double v) {
    if (v >= INT32_MAX) return INT32_MAX;
    int32_t n = (int32_t)v;
    return n < v ? n + 1 : n;
}

/* requests: of each Pod by name (as int64_t *), NULL: target is a plain number and not a percentage. */
static int ratio_of(const struct samples *l, const struct map *requests, int64_t target, double *ret, struct replica_answer *answer, struct status *reterr) {
    int64_t used = 0, asked = 0, n = 0;
    LIST_FOREACH(s, l) {
        const int64_t *request = requests ? map_get(requests, s->pod) : NULL;
        if (s->dropped || (requests && !request)) continue;
        used += s->value;
        asked += request ? *request : 0;
        n++;
    }
    if (requests && asked == 0) return status_set(reterr, 0, NULL, "no metrics returned matched known pods");
    int64_t value = requests ? used * 100 / asked : used / n;
    *ret = (double)value / (double)target;
    if (answer) *answer = (struct replica_answer){answer->replicas, requests ? (int32_t)value : 0, used / n};
    return 0;
}

static void assume(const struct replica_question *q, struct samples *l, const struct string_list *pods, int64_t value, const struct map *requests, int64_t percent) {
    LIST_FOREACH(pod, pods) {
        const int64_t *request = requests ? map_get(requests, *pod) : NULL;
        *LIST_PUSH(q->a, l) = (struct sample){.pod = *pod, .value = request && percent ? *request * percent / 100 : value};
    }
}

/* What is not known is assumed so that it dampens the change; if that turns its direction around, nothing changes. */
static int settle(const struct replica_question *q, struct samples *l, const struct groups *g, const struct map *requests, int64_t target, struct replica_answer *ret, struct status *reterr) {
    double ratio, damped;
    size_t known = 0;
    LIST_FOREACH(s, l) known += !s->dropped;
    if (known == 0) return status_set(reterr, 0, NULL, "did not receive metrics for targeted pods (pods might be unready)");
    ret->replicas = q->replicas;
    if (ratio_of(l, requests, target, &ratio, ret, reterr) != 0) return -1;
    bool with_unready = g->unready.len && ratio > 1.0;
    if (!with_unready && g->missing.len == 0) {
        if (!tolerated(q, ratio)) ret->replicas = round_up(ratio * g->ready);
        return 0;
    }
    if (ratio < 1.0) assume(q, l, &g->missing, target, requests, MAX(target, (int64_t)100));
    else if (ratio > 1.0) assume(q, l, &g->missing, 0, NULL, 0);
    if (with_unready) assume(q, l, &g->unready, 0, NULL, 0);
    if (ratio_of(l, requests, target, &damped, NULL, reterr) != 0) return -1;
    if (tolerated(q, damped) || (ratio < 1.0 && damped > 1.0) || (ratio > 1.0 && damped < 1.0)) return 0;
    known = 0;
    LIST_FOREACH(s, l) known += !s->dropped;
    int32_t n = round_up(damped * (double)known);
    if (!(damped < 1.0 && n > q->replicas) && !(damped > 1.0 && n < q->replicas)) ret->replicas = n;
    return 0;
}

static int from_samples(const struct replica_question *q, struct samples *l, const char *resource, const char *container, bool percent, int64_t target, struct replica_answer *ret, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    find_pods(q, &pods);
    if (pods.len == 0) return status_set(reterr, 0, NULL, "no pods returned by selector while calculating replica count");
    struct groups g = group(q, &pods, l, resource);
    struct map *requests = percent ? map_new() : NULL;
    size_t known = 0;
    LIST_FOREACH(s, l) known += !s->dropped;
    int rc = known ? 0 : status_set(reterr, 0, NULL, "did not receive metrics for targeted pods (pods might be unready)");
    if (percent)
        CACHED_FOREACH(p, corev1_Pod, &pods) {
            int64_t *n = ARENA_NEW(q->a, int64_t);
            if (rc == 0) rc = requests_of(q, p, container, resource, n, reterr);
            map_put(requests, p->metadata.name, n);
        }
    if (rc == 0) rc = settle(q, l, &g, requests, target, ret, reterr);
    map_free(requests);
    return rc;
}

/* ---- answers ---- */

int replicas_for_utilization(const struct replica_question *q, const char *resource, const char *container, int32_t target_percent, struct replica_answer *ret, struct status *reterr) {
    struct samples l = {0};
    return resource_samples(q, resource, container, &l, reterr) == 0 ? from_samples(q, &l, resource, container, true, target_percent, ret, reterr) : -1;
}

int replicas_for_usage(const struct replica_question *q, const char *resource, const char *container, int64_t target_milli, struct replica_answer *ret, struct status *reterr) {
    struct samples l = {0};
    return resource_samples(q, resource, container, &l, reterr) == 0 ? from_samples(q, &l, resource, container, false, target_milli, ret, reterr) : -1;
}

int replicas_for_pods_metric(const struct replica_question *q, const struct autoscalingv2_MetricIdentifier *metric, int64_t target_milli, struct replica_answer *ret, struct status *reterr) {
    struct samples l = {0};
    yyjson_val *items, *item;
    size_t i, max;
    const char *path = arena_printf(q->a, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/pods/*/%s?labelSelector=%s&metricLabelSelector=%s", q->ns, metric->name,
                                    url_escape_query(q->a, selector_string(q->a, &q->selector)), metric_selector(q, metric));
    if (fetch(q, path, "pods.custom.metrics.k8s.io", "custom", &items, reterr) != 0) {
        status_wrap(reterr, "unable to get metric %s", metric->name);
        return -1;
    }
    if (yyjson_arr_size(items) == 0) return status_set(reterr, 0, NULL, "unable to get metric %s: no metrics returned from custom metrics API", metric->name);
    yyjson_arr_foreach(items, i, max, item)
        *LIST_PUSH(q->a, &l) = (struct sample){.pod = yyjson_get_str(yyjson_obj_get(yyjson_obj_get(item, "describedObject"), "name")), .value = milli_of(yyjson_obj_get(item, "value")),
            .at_s = time_of(yyjson_obj_get(item, "timestamp"))};
    return from_samples(q, &l, NULL, NULL, false, target_milli, ret, reterr);
}

/* One number for all of the target. */
static int from_total(const struct replica_question *q, int64_t usage, int64_t target_milli, bool per_pod, struct replica_answer *ret, struct status *reterr) {
    if (per_pod) {
        int32_t have = q->status_replicas;
        double ratio = (double)usage / ((double)target_milli * have);
        *ret = (struct replica_answer){.replicas = tolerated(q, ratio) ? have : round_up((double)usage / (double)target_milli), .usage = have ? (usage + have - 1) / have : usage};
        return 0;
    }
    double ratio = (double)usage / (double)target_milli;
    *ret = (struct replica_answer){.replicas = q->replicas, .usage = usage};
    if (q->replicas == 0) ret->replicas = round_up(ratio);
    else if (!tolerated(q, ratio)) {
        _cleanup_cached_list_ struct cached_list pods = {0};
        int ready = 0;
        find_pods(q, &pods);
        if (pods.len == 0) return status_set(reterr, 0, NULL, "unable to calculate ready pods: no pods returned by selector while calculating replica count");
        CACHED_FOREACH(p, corev1_Pod, &pods) ready += str_eq(p->status.phase, "Running") && pod_is_ready(p);
        ret->replicas = round_up(ratio * ready);
    }
    return 0;
}

int replicas_for_object_metric(const struct replica_question *q, const struct autoscalingv2_CrossVersionObjectReference *object, const char *resource,
                               const struct autoscalingv2_MetricIdentifier *metric, int64_t target_milli, bool per_pod, struct replica_answer *ret, struct status *reterr) {
    yyjson_val *items;
    const char *path = arena_printf(q->a, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/%s/%s/%s?metricLabelSelector=%s", q->ns, resource, object->name, metric->name, metric_selector(q, metric));
    if (fetch(q, path, arena_printf(q->a, "%s.custom.metrics.k8s.io", resource), "custom", &items, reterr) != 0 || yyjson_arr_size(items) == 0) {
        if (!reterr->message) status_set(reterr, 0, NULL, "no metrics returned from custom metrics API");
        return status_set(reterr, 0, NULL, "unable to get metric %s: %s on %s %s/%s", metric->name, object->kind, q->ns, object->name, arena_strdup(q->a, status_message(reterr)));
    }
    return from_total(q, milli_of(yyjson_obj_get(yyjson_arr_get(items, 0), "value")), target_milli, per_pod, ret, reterr);
}

int replicas_for_external_metric(const struct replica_question *q, const struct autoscalingv2_MetricIdentifier *metric, int64_t target_milli, bool per_pod, struct replica_answer *ret,
                                 struct status *reterr) {
    yyjson_val *items, *item;
    size_t i, max;
    int64_t usage = 0;
    const char *path = arena_printf(q->a, "/apis/external.metrics.k8s.io/v1beta1/namespaces/%s/%s?labelSelector=%s", q->ns, metric->name, metric_selector(q, metric));
    if (fetch(q, path, arena_printf(q->a, "%s.external.metrics.k8s.io", metric->name), "external", &items, reterr) != 0) {
        status_wrap(reterr, "unable to get external metric %s/%s/%s", q->ns, metric->name, metric->selector ? "selector" : "nil");
        return -1;
    }
    if (yyjson_arr_size(items) == 0)
        return status_set(reterr, 0, NULL, "unable to get external metric %s/%s/%s: no metrics returned from external metrics API", q->ns, metric->name, metric->selector ? "selector" : "nil");
    yyjson_arr_foreach(items, i, max, item) {
        int64_t v = milli_of(yyjson_obj_get(item, "value"));
        usage = v > 0 && usage > INT64_MAX - v ? INT64_MAX : usage + v;
    }
    return from_total(q, usage, target_milli, per_pod, ret, reterr);
}
