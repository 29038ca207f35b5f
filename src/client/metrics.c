/* See metrics.h. */
#include "client/metrics.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/macros.h"
#include "client/work_queue.h"

enum { HOSTS_MAX = 64, HOST_LEN_MAX = 280, CODES_MAX = 32 };

/* ---- the families ---- */

#define SECONDS .005, .025, .1, .25, .5, 1, 2, 4, 8, 15, 30, 60
#define BYTES 64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216
static struct metric_family
    requests = METRIC_FAMILY("rest_client_requests_total", "counter", "[ALPHA] Requests sent to API servers, by the answer's code, the method and the host."),
    durations = METRIC_HISTOGRAM("rest_client_request_duration_seconds", "[ALPHA] How long calls to API servers took, by verb and host.", SECONDS),
    request_sizes = METRIC_HISTOGRAM("rest_client_request_size_bytes", "[ALPHA] Size of the bodies sent to API servers, by verb and host.", BYTES),
    response_sizes = METRIC_HISTOGRAM("rest_client_response_size_bytes", "[ALPHA] Size of API servers' answers, by verb and host.", BYTES),
    adds = METRIC_FAMILY("workqueue_adds_total", "counter", "[BETA] Keys that were added to the work queue."),
    depth = METRIC_FAMILY("workqueue_depth", "gauge", "[BETA] Keys in the work queue that are yet to be worked on."),
    queue_duration = METRIC_EXPONENTIAL("workqueue_queue_duration_seconds", "[BETA] How long keys stayed in the work queue before a worker took them.", 10e-9, 10, 10),
    work_duration = METRIC_EXPONENTIAL("workqueue_work_duration_seconds", "[BETA] How long workers took for a key of the work queue.", 10e-9, 10, 10),
    unfinished = METRIC_FAMILY("workqueue_unfinished_work_seconds", "gauge",
        "[BETA] How long the keys that are being worked on have been so, together: it grows by one each second for each worker that is stuck."),
    longest = METRIC_FAMILY("workqueue_longest_running_processor_seconds", "gauge", "[BETA] How long the worker has been busy that has been busy longest."),
    retries = METRIC_FAMILY("workqueue_retries_total", "counter", "[BETA] Keys that were added for a later time."),
    leading = METRIC_FAMILY("leader_election_master_status", "gauge", "[ALPHA] Whether this process holds the Lease of that name: 1, or 0 while it only stands by."),
    slow_path = METRIC_FAMILY("leader_election_slowpath_total", "counter", "[ALPHA] Renewals of a Lease that had to read it first.");

void client_metrics_put(struct buf *out) {
    struct metric_family *const all[] = {&leading, &slow_path, &durations, &request_sizes, &requests, &response_sizes, &adds, &depth, &longest, &queue_duration, &retries, &unfinished, &work_duration};
    work_queues_look(); /* what is under way is known when it is asked for */
    for (size_t i = 0; i < ARRAY_LEN(all); i++) metric_put(all[i], out);
}

/* ---- requests ---- */

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
/* A code that was counted before is found without a lock: its place is filled in once, the series first. */
struct code_series { atomic_int code; struct metric_series *series; };
struct rest_metrics {
    char host[HOST_LEN_MAX];
    struct metric_series *_Atomic durations[ARRAY_LEN(methods)]; /* filled in last */
    struct metric_series *request_sizes[ARRAY_LEN(methods)], *response_sizes[ARRAY_LEN(methods)];
    struct code_series codes[ARRAY_LEN(methods)][CODES_MAX];
};
static struct rest_metrics *hosts[HOSTS_MAX];
static size_t hosts_len;
static pthread_mutex_t hosts_mutex = PTHREAD_MUTEX_INITIALIZER; /* of both, and of filling in codes */

/* Series of a verb come to be when it is used, so that nothing is told of what never was. */
struct rest_metrics *rest_metrics_of(const char *host) {
    struct rest_metrics *m = NULL;
    pthread_mutex_lock(&hosts_mutex);
    for (size_t i = 0; i < hosts_len && !m; i++)
        if (strcmp(hosts[i]->host, host) == 0) m = hosts[i];
    if (!m && hosts_len < HOSTS_MAX && strlen(host) < HOST_LEN_MAX) {
        CHECK(m = calloc(1, sizeof(*m)));
        snprintf(m->host, sizeof(m->host), "%s", host);
        hosts[hosts_len++] = m;
    }
    pthread_mutex_unlock(&hosts_mutex);
    return m;
}

static int method_index(const char *method) {
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (strcmp(methods[i], method) == 0) return (int)i;
    return -1;
}

static struct metric_series *result_series(const char *host, const char *method, int code) {
    char labels[HOST_LEN_MAX + 64], number[16] = "<error>";
    if (code) snprintf(number, sizeof(number), "%d", code);
    snprintf(labels, sizeof(labels), "code=\"%s\",host=\"%s\",method=\"%s\"", number, host, method);
    return metric_series(&requests, labels);
}

static struct metric_series *code_fill(struct rest_metrics *m, int method, int code) {
    struct metric_series *found = NULL;
    pthread_mutex_lock(&hosts_mutex);
    for (struct code_series *c = m->codes[method]; c < m->codes[method] + CODES_MAX && !found; c++) {
        int has = atomic_load_explicit(&c->code, memory_order_relaxed);
        if (has && has != code) continue;
        if (!has) {
            c->series = result_series(m->host, methods[method], code < 0 ? 0 : code);
            atomic_store_explicit(&c->code, code, memory_order_release);
        }
        found = c->series;
    }
    pthread_mutex_unlock(&hosts_mutex);
    return found ? found : result_series(m->host, methods[method], code < 0 ? 0 : code);
}

void rest_metrics_result(struct rest_metrics *m, const char *method, int code) {
    int at = method_index(method), wanted = code ? code : -1; /* 0 is an empty place */
    if (!m || at < 0) return;
    for (size_t i = 0; i < CODES_MAX; i++) {
        int has = atomic_load_explicit(&m->codes[at][i].code, memory_order_acquire);
        if (!has) break;
        if (has == wanted) {
            metric_series_count(m->codes[at][i].series);
            return;
        }
    }
    metric_series_count(code_fill(m, at, wanted));
}

static struct metric_series *fill_method(struct rest_metrics *m, int method) {
    char labels[HOST_LEN_MAX + 64];
    snprintf(labels, sizeof(labels), "host=\"%s\",verb=\"%s\"", m->host, methods[method]);
    pthread_mutex_lock(&hosts_mutex);
    m->request_sizes[method] = metric_series(&request_sizes, labels);
    m->response_sizes[method] = metric_series(&response_sizes, labels);
    struct metric_series *duration = metric_series(&durations, labels);
    atomic_store_explicit(&m->durations[method], duration, memory_order_release);
    pthread_mutex_unlock(&hosts_mutex);
    return duration;
}

void rest_metrics_call(struct rest_metrics *m, const char *method, int64_t ns, size_t request_bytes, size_t response_bytes) {
    int at = method_index(method);
    if (!m || at < 0) return;
    struct metric_series *duration = atomic_load_explicit(&m->durations[at], memory_order_acquire);
    if (!duration) duration = fill_method(m, at);
    metric_series_observe(duration, (double)MAX(ns, (int64_t)0) / 1e9);
    metric_series_observe(m->request_sizes[at], (double)request_bytes);
    metric_series_observe(m->response_sizes[at], (double)response_bytes);
}

/* ---- work queues and elections ---- */

enum { NAME_LEN_MAX = 300 };

static const char *name_label(char buf[NAME_LEN_MAX], const char *name) {
    snprintf(buf, NAME_LEN_MAX, "name=\"%s\"", name);
    return buf;
}

void queue_metrics_of(const char *name, struct queue_metrics *ret) {
    char buf[NAME_LEN_MAX];
    const char *label = name_label(buf, name);
    *ret = (struct queue_metrics){metric_series(&adds, label), metric_series(&depth, label), metric_series(&queue_duration, label), metric_series(&work_duration, label),
                                  metric_series(&retries, label)};
}

void queue_metrics_set_unfinished(const char *name, double unfinished_s, double longest_s) {
    char buf[NAME_LEN_MAX];
    const char *label = name_label(buf, name);
    metric_set(&unfinished, label, unfinished_s);
    metric_set(&longest, label, longest_s);
}

void leader_metrics_set(const char *lease, bool is_leading) {
    char buf[NAME_LEN_MAX];
    metric_set(&leading, name_label(buf, lease), is_leading);
}

void leader_metrics_slow_path(const char *lease) {
    char buf[NAME_LEN_MAX];
    metric_add(&slow_path, name_label(buf, lease), 1);
}
