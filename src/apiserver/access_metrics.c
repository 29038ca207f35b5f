#include "apiserver/access_metrics.h"
#include <pthread.h>
#include <string.h>
#include "apiserver/legacy_tokens.h"
#include "apiserver/metrics.h"
#include "base/arena.h"
#include "base/map.h"
#include "base/str.h"

static const struct latency_bounds access_bounds = {15, {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384}};
static const struct latency_bounds admission_bounds = {6, {0.005, 0.025, 0.1, 0.5, 1, 2.5}}, webhook_bounds = {8, {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25}};
static const char *const operations[ADMISSION_OPERATIONS] = {"CREATE", "UPDATE", "DELETE", "CONNECT"};

/* ---- who asks, and whether they may ---- */

static struct latency authentications[AUTHENTICATION_RESULTS], authorizations[AUTHORIZATION_RESULTS];
static const char *const authentication_names[] = {"success", "failure", "error"}, *const authorization_names[] = {"allowed", "denied", "no-opinion", "error"};
static const char *const user_names[] = {"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default", "email_id", "other"};
static _Atomic uint64_t users[ARRAY_LEN(user_names)];

static size_t category(const char *user) {
    enum { NAMED = ARRAY_LEN(user_names) - 2 };
    for (size_t i = 0; i < NAMED; i++)
        if (strcmp(user_names[i], user) == 0) return i;
    return strchr(user, '@') ? NAMED : NAMED + 1;
}

void metrics_authentication(enum authentication_result result, const char *user, int64_t ns) {
    latency_observe(&authentications[result], &access_bounds, ns);
    if (result == AUTHENTICATION_SUCCESS) atomic_fetch_add_explicit(&users[category(str_or(user, ""))], 1, memory_order_relaxed);
}

void metrics_authorization(enum authorization_result result, int64_t ns) { latency_observe(&authorizations[result], &access_bounds, ns); }

static void put_results(struct buf *out, const char *counter, const char *counter_help, const char *histogram, const char *histogram_help, const struct latency *l, const char *const *names, size_t len) {
    char label[64];
    metrics_head(out, counter, "counter", counter_help);
    for (size_t i = 0; i < len; i++)
        if (l[i].count) buf_printf(out, "%s{result=\"%s\"} %llu\n", counter, names[i], (unsigned long long)l[i].count);
    metrics_head(out, histogram, "histogram", histogram_help);
    for (size_t i = 0; i < len; i++) {
        snprintf(label, sizeof(label), "result=\"%s\"", names[i]);
        latency_put(out, histogram, label, &l[i], &access_bounds);
    }
}

static void put_access(struct buf *out) {
    metrics_head(out, "authenticated_user_requests", "counter", "[ALPHA] Counter of authenticated requests broken out by username.");
    for (size_t i = 0; i < ARRAY_LEN(user_names); i++)
        if (users[i]) buf_printf(out, "authenticated_user_requests{username=\"%s\"} %llu\n", user_names[i], (unsigned long long)users[i]);
    put_results(out, "authentication_attempts", "[ALPHA] Counter of authenticated attempts.", "authentication_duration_seconds", "[ALPHA] Authentication duration in seconds broken out by result.", authentications,
                authentication_names, AUTHENTICATION_RESULTS);
    put_results(out, "authorization_attempts_total", "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.", "authorization_duration_seconds",
                "[ALPHA] Authorization duration in seconds broken out by result.", authorizations, authorization_names, AUTHORIZATION_RESULTS);
}

/* ---- admission ---- */

static struct admission_latencies steps;

void metrics_admission_plugin(struct admission_latencies *l, bool validating, int operation, bool rejected, int64_t ns) { latency_observe(&l->by[validating][operation][rejected], &admission_bounds, ns); }
void metrics_admission_step(bool validating, int operation, bool rejected, int64_t ns) { metrics_admission_plugin(&steps, validating, operation, rejected, ns); }

static void put_latencies(struct buf *out, const char *metric, const char *plugin, const struct admission_latencies *l) {
    char labels[256];
    for (int v = 0; v < 2; v++)
        for (int op = 0; op < ADMISSION_OPERATIONS; op++)
            for (int rejected = 0; rejected < 2; rejected++) {
                snprintf(labels, sizeof(labels), "%s%s%soperation=\"%s\",rejected=\"%s\",type=\"%s\"", plugin ? "name=\"" : "", plugin ? plugin : "", plugin ? "\"," : "", operations[op], rejected ? "true" : "false", v ? "validate" : "admit");
                latency_put(out, metric, labels, &l->by[v][op][rejected], &admission_bounds);
            }
}

void metrics_admission_plugin_put(struct buf *out, const char *name, const struct admission_latencies *l) {
    if (!name) metrics_head(out, "apiserver_admission_controller_admission_duration_seconds", "histogram",
                            "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).");
    else put_latencies(out, "apiserver_admission_controller_admission_duration_seconds", name, l);
}

/* ---- webhooks: their names are users', so that there is a map, and an end to it ---- */

enum { WEBHOOK_SERIES_MAX = 4096 };
enum { HOOK_DURATION, HOOK_REQUESTS, HOOK_REJECTIONS, HOOK_FAIL_OPEN, HOOK_METRICS };
static pthread_mutex_t hooks_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct map *hooks[HOOK_METRICS]; /* labels to struct latency; the mutex is held while one is looked for, not while it is counted */

static struct latency *hook_series(int metric, const char *labels) {
    pthread_mutex_lock(&hooks_mutex);
    if (!hooks[metric]) hooks[metric] = map_new();
    struct latency *l = map_get(hooks[metric], labels);
    if (!l && map_len(hooks[metric]) < WEBHOOK_SERIES_MAX) {
        l = calloc(1, sizeof(*l));
        CHECK(l);
        map_put(hooks[metric], labels, l);
    }
    pthread_mutex_unlock(&hooks_mutex);
    return l;
}

static void hook_count(int metric, const char *labels, int64_t ns) {
    struct latency *l = hook_series(metric, labels);
    if (l) latency_observe(l, &webhook_bounds, ns);
}

void metrics_webhook(const struct webhook_outcome *o, int64_t ns) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *type = o->validating ? "validating" : "admit", *rejected = o->rejected ? "true" : "false";
    int code = MIN(o->code, 600); /* as upstream, so that a webhook cannot make series without end */
    hook_count(HOOK_DURATION, arena_printf(a, "name=\"%s\",operation=\"%s\",rejected=\"%s\",type=\"%s\"", o->name, o->operation, rejected, type), ns);
    hook_count(HOOK_REQUESTS, arena_printf(a, "code=\"%d\",name=\"%s\",operation=\"%s\",rejected=\"%s\",type=\"%s\"", code, o->name, o->operation, rejected, type), 0);
    if (o->rejected) hook_count(HOOK_REJECTIONS, arena_printf(a, "error_type=\"%s\",name=\"%s\",operation=\"%s\",rejection_code=\"%d\",type=\"%s\"", o->error, o->name, o->operation, code, type), 0);
    if (o->failed_open) hook_count(HOOK_FAIL_OPEN, arena_printf(a, "name=\"%s\",type=\"%s\"", o->name, type), 0);
}

static void put_hooks(struct buf *out) {
    static const struct { const char *name, *help; } metrics[HOOK_METRICS] = {
        {"apiserver_admission_webhook_admission_duration_seconds", "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit)."},
        {"apiserver_admission_webhook_request_total", "[ALPHA] Admission webhook request total, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded."},
        {"apiserver_admission_webhook_rejection_count", "[ALPHA] Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded."},
        {"apiserver_admission_webhook_fail_open_count", "[ALPHA] Admission webhook fail open count, identified by name and broken out for each admission type (validating or admit)."}};
    const char *labels;
    void *value;
    pthread_mutex_lock(&hooks_mutex);
    for (int m = 0; m < HOOK_METRICS; m++) {
        if (!hooks[m] || !map_len(hooks[m])) continue;
        metrics_head(out, metrics[m].name, m == HOOK_DURATION ? "histogram" : "counter", metrics[m].help);
        for (size_t i = 0; map_next(hooks[m], &i, &labels, &value);) {
            const struct latency *l = value;
            if (m == HOOK_DURATION) latency_put(out, metrics[m].name, labels, l, &webhook_bounds);
            else buf_printf(out, "%s{%s} %llu\n", metrics[m].name, labels, (unsigned long long)l->count);
        }
    }
    pthread_mutex_unlock(&hooks_mutex);
}

void metrics_access_put(struct buf *out) {
    legacy_tokens_put(out);
    put_access(out);
    metrics_head(out, "apiserver_admission_step_admission_duration_seconds", "histogram",
                 "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).");
    put_latencies(out, "apiserver_admission_step_admission_duration_seconds", NULL, &steps);
    put_hooks(out);
}
