/* See metrics.h. */
#include "scheduler/metrics.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include "base/str.h"

#define BOUNDS_MAX 20
#define EVENTS_MAX 64
#define ATTEMPTS_MAX 15 /* more are one label: "16+" */

/* Exponential bounds: the first, the factor, how many. */
struct shape_of { double first, factor; int n; };
static const struct shape_of attempt_shape = {0.001, 2, 15}, point_shape = {0.0001, 2, 12}, sli_shape = {0.01, 2, 20}, attempts_shape = {1, 2, 5}, victims_shape = {1, 2, 7};

struct histogram { atomic_uint_least64_t buckets[BOUNDS_MAX + 1], sum; /* each bucket alone; sum: in billionths */ };
struct profile_metrics { struct histogram attempts[ATTEMPT_RESULTS], points[POINTS_LEN][CODE_SKIP + 1]; };
struct scheduler_metrics {
    const struct profile *profiles;
    size_t profiles_len;
    struct profile_metrics *of;
    struct histogram algorithm, sli[ATTEMPTS_MAX + 1], attempts, victims;
    pthread_mutex_t mutex; /* of what follows */
    struct { char event[48]; uint64_t n[METRICS_QUEUES]; } incoming[EVENTS_MAX];
    size_t incoming_len;
};

struct scheduler_metrics *scheduler_metrics_new(const struct profile *profiles, size_t profiles_len) {
    struct scheduler_metrics *m = calloc(1, sizeof(*m));
    CHECK(m && (m->of = calloc(profiles_len, sizeof(*m->of))));
    m->profiles = profiles;
    m->profiles_len = profiles_len;
    pthread_mutex_init(&m->mutex, NULL);
    return m;
}

void scheduler_metrics_free(struct scheduler_metrics *m) {
    if (!m) return;
    pthread_mutex_destroy(&m->mutex);
    free(m->of);
    free(m);
}

/* ---- counting ---- */

static void observe(struct histogram *h, const struct shape_of *s, double value) {
    int i = 0;
    for (double bound = s->first; i < s->n && value > bound; i++) bound *= s->factor;
    atomic_fetch_add_explicit(&h->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, (uint64_t)(value * 1e9), memory_order_relaxed);
}

static double seconds(int64_t ns) { return (double)MAX(ns, (int64_t)0) / 1e9; }
static struct profile_metrics *of(struct scheduler_metrics *m, const struct profile *p) { return &m->of[p - m->profiles]; }

void metrics_point(struct scheduler_metrics *m, const struct profile *p, enum point point, enum code code, int64_t ns) {
    if (m) observe(&of(m, p)->points[point][code], &point_shape, seconds(ns));
}

void metrics_algorithm(struct scheduler_metrics *m, int64_t ns) {
    if (m) observe(&m->algorithm, &attempt_shape, seconds(ns));
}

void metrics_attempt(struct scheduler_metrics *m, const struct profile *p, enum attempt_result result, int64_t ns) {
    if (m) observe(&of(m, p)->attempts[result], &attempt_shape, seconds(ns));
}

void metrics_scheduled(struct scheduler_metrics *m, int attempts, int64_t since_first_ns) {
    if (!m || attempts < 1) return;
    observe(&m->sli[MIN(attempts, ATTEMPTS_MAX + 1) - 1], &sli_shape, seconds(since_first_ns));
    observe(&m->attempts, &attempts_shape, attempts);
}

void metrics_preemption(struct scheduler_metrics *m, size_t victims) {
    if (m) observe(&m->victims, &victims_shape, (double)victims);
}

void metrics_incoming(struct scheduler_metrics *m, enum metrics_queue queue, const char *event) {
    if (!m) return;
    pthread_mutex_lock(&m->mutex);
    size_t i = 0;
    while (i < m->incoming_len && !str_eq(m->incoming[i].event, event)) i++;
    if (i == m->incoming_len && i < EVENTS_MAX) snprintf(m->incoming[m->incoming_len++].event, sizeof(m->incoming->event), "%s", event);
    if (i < EVENTS_MAX) m->incoming[i].n[queue]++;
    pthread_mutex_unlock(&m->mutex);
}

/* ---- telling ---- */

static const char *const queue_names[] = {"active", "backoff", "unschedulable", "gated"}, *const result_names[] = {"scheduled", "unschedulable", "error"},
    *const code_names[] = {"Success", "Error", "Unschedulable", "UnschedulableAndUnresolvable", "Wait", "Skip"},
    *const point_names[POINTS_LEN] = {"PreEnqueue", "QueueSort", "PreFilter", "Filter", "PostFilter", "PreScore", "Score", "Reserve", "Permit", "PreBind", "Bind", "PostBind"};

static void head(struct buf *out, const char *name, const char *kind, const char *help) { buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind); }

static uint64_t total(struct histogram *h) {
    uint64_t n = 0;
    for (int i = 0; i <= BOUNDS_MAX; i++) n += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    return n;
}

/* labels: "a=\"b\"" or "". Nothing while nothing was counted. */
static void put(struct buf *out, const char *name, const char *labels, struct histogram *h, const struct shape_of *s) {
    uint64_t n = 0;
    if (!total(h)) return;
    double bound = s->first;
    const char *comma = *labels ? "," : "";
    for (int i = 0; i <= s->n; i++, bound *= s->factor) {
        n += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        if (i < s->n) buf_printf(out, "%s_bucket{%s%sle=\"%.12g\"} %" PRIu64 "\n", name, labels, comma, bound, n);
        else buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, n);
    }
    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    buf_printf(out, "%s_sum%s%s%s %.9g\n%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, (double)atomic_load(&h->sum) / 1e9, name, open, labels, close, n);
}

static void put_attempts(struct scheduler_metrics *m, struct buf *out) {
    char labels[400];
    head(out, "scheduler_schedule_attempts_total", "counter",
         "[STABLE] Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.");
    for (size_t p = 0; p < m->profiles_len; p++)
        for (int r = 0; r < ATTEMPT_RESULTS; r++) {
            uint64_t n = total(&m->of[p].attempts[r]);
            if (n) buf_printf(out, "scheduler_schedule_attempts_total{profile=\"%s\",result=\"%s\"} %" PRIu64 "\n", m->profiles[p].name, result_names[r], n);
        }
    head(out, "scheduler_scheduling_attempt_duration_seconds", "histogram", "[STABLE] Scheduling attempt latency in seconds (scheduling algorithm + binding)");
    for (size_t p = 0; p < m->profiles_len; p++)
        for (int r = 0; r < ATTEMPT_RESULTS; r++) {
            snprintf(labels, sizeof(labels), "profile=\"%s\",result=\"%s\"", m->profiles[p].name, result_names[r]);
            put(out, "scheduler_scheduling_attempt_duration_seconds", labels, &m->of[p].attempts[r], &attempt_shape);
        }
    head(out, "scheduler_framework_extension_point_duration_seconds", "histogram", "[STABLE] Latency for running all plugins of a specific extension point.");
    for (size_t p = 0; p < m->profiles_len; p++)
        for (int i = 0; i < POINTS_LEN; i++)
            for (int c = 0; c <= CODE_SKIP; c++) {
                snprintf(labels, sizeof(labels), "extension_point=\"%s\",profile=\"%s\",status=\"%s\"", point_names[i], m->profiles[p].name, code_names[c]);
                put(out, "scheduler_framework_extension_point_duration_seconds", labels, &m->of[p].points[i][c], &point_shape);
            }
}

static void put_pods(struct scheduler_metrics *m, struct buf *out) {
    char label[40];
    head(out, "scheduler_scheduling_algorithm_duration_seconds", "histogram", "[ALPHA] Scheduling algorithm latency in seconds");
    put(out, "scheduler_scheduling_algorithm_duration_seconds", "", &m->algorithm, &attempt_shape);
    head(out, "scheduler_pod_scheduling_sli_duration_seconds", "histogram",
         "[BETA] E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.");
    for (int i = 0; i <= ATTEMPTS_MAX; i++) {
        snprintf(label, sizeof(label), "attempts=\"%d%s\"", i + 1, i == ATTEMPTS_MAX ? "+" : "");
        put(out, "scheduler_pod_scheduling_sli_duration_seconds", label, &m->sli[i], &sli_shape);
    }
    head(out, "scheduler_pod_scheduling_attempts", "histogram", "[STABLE] Number of attempts to successfully schedule a pod.");
    put(out, "scheduler_pod_scheduling_attempts", "", &m->attempts, &attempts_shape);
    head(out, "scheduler_preemption_attempts_total", "counter", "[STABLE] Total preemption attempts in the cluster till now");
    buf_printf(out, "scheduler_preemption_attempts_total %" PRIu64 "\n", total(&m->victims));
    head(out, "scheduler_preemption_victims", "histogram", "[STABLE] Number of selected preemption victims");
    put(out, "scheduler_preemption_victims", "", &m->victims, &victims_shape);
}

static void put_state(struct scheduler_metrics *m, const struct metrics_state *s, struct buf *out) {
    head(out, "scheduler_pending_pods", "gauge",
         "[STABLE] Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in "
         "unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never attempted to schedule because they are gated.");
    for (int q = 0; q < METRICS_QUEUES; q++) buf_printf(out, "scheduler_pending_pods{queue=\"%s\"} %zu\n", queue_names[q], s->queues[q]);
    head(out, "scheduler_cache_size", "gauge", "[ALPHA] Number of nodes, pods, and assumed (bound) pods in the scheduler cache.");
    buf_printf(out, "scheduler_cache_size{type=\"assumed_pods\"} %zu\nscheduler_cache_size{type=\"nodes\"} %zu\nscheduler_cache_size{type=\"pods\"} %zu\n", s->assumed, s->nodes, s->pods);
    head(out, "scheduler_unschedulable_pods", "gauge",
         "[ALPHA] The number of unschedulable pods broken down by plugin name. A pod will increment the gauge for all plugins that caused it to not schedule and so this metric have meaning only when "
         "broken down by plugin.");
    for (size_t p = 0; p < m->profiles_len; p++)
        for (int i = 0; i < PLUGINS_LEN; i++)
            if (s->unschedulable[p][i])
                buf_printf(out, "scheduler_unschedulable_pods{plugin=\"%s\",profile=\"%s\"} %zu\n", all_plugins[i]->name, m->profiles[p].name, s->unschedulable[p][i]);
    head(out, "scheduler_queue_incoming_pods_total", "counter", "[STABLE] Number of pods added to scheduling queues by event and queue type.");
    pthread_mutex_lock(&m->mutex);
    for (size_t i = 0; i < m->incoming_len; i++)
        for (int q = 0; q < METRICS_QUEUES; q++)
            if (m->incoming[i].n[q])
                buf_printf(out, "scheduler_queue_incoming_pods_total{event=\"%s\",queue=\"%s\"} %" PRIu64 "\n", m->incoming[i].event, queue_names[q], m->incoming[i].n[q]);
    pthread_mutex_unlock(&m->mutex);
}

void scheduler_metrics_put(struct scheduler_metrics *m, const struct metrics_state *state, struct buf *out) {
    put_attempts(m, out);
    put_pods(m, out);
    put_state(m, state, out);
}
