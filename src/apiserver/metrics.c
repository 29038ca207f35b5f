/* Prometheus text of what this server counts, in upstream's names where upstream has the same thing. Counters of requests live in one table of the process
 * behind a lock that is held for a few instructions; a server that sees more different requests than fit (which only strange verbs could bring about) counts
 * the rest as "other". Tests: tests/integration/test_health.py. */
#include "apiserver/metrics.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "apiserver/access_metrics.h"
#include "apiserver/admission.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "apiserver/authorization.h"
#include "apiserver/config_file.h"
#include "apiserver/flowcontrol/flow_control.h"
#include "apiserver/oidc/jwt_authenticator.h"
#include "apiserver/registry.h"
#include "base/str.h"
#include "client/metrics.h"

enum { SERIES_MAX = 4096, BUCKETS = 22 };
static const double bounds[BUCKETS] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45};

struct series {
    const struct resource_desc *rd; /* NULL: no resource */
    const char *verb, *scope;
    bool dry_run;
    int code;
    unsigned long long count, buckets[BUCKETS];
    double seconds;
};
static struct series series[SERIES_MAX];
static size_t series_len;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_int in_flight[2]; /* reading, mutating */

static const char *verb_name(const struct api_request *r) {
    static const struct { const char *verb, *name; } names[] = {{"get", "GET"}, {"list", "LIST"}, {"watch", "WATCH"}, {"create", "POST"}, {"update", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"},
        {"deletecollection", "DELETECOLLECTION"}, {"post", "POST"}, {"put", "PUT"}, {"head", "HEAD"}, {"options", "OPTIONS"}};
    const char *type = http_request_header(r->http, "Content-Type");
    if (str_eq(r->verb, "patch") && type && strncmp(type, "application/apply-patch", 23) == 0) return "APPLY";
    if (str_eq(r->subresource, "exec") || str_eq(r->subresource, "attach") || str_eq(r->subresource, "portforward") || str_eq(r->subresource, "proxy")) return "CONNECT";
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(names[i].verb, r->verb)) return names[i].name;
    return "other";
}

static const char *scope_name(const struct api_request *r) {
    if (!r->is_resource) return "";
    if (!str_empty(r->name) || str_eq(r->verb, "create")) return "resource";
    return str_empty(r->namespace) ? "cluster" : "namespace";
}

static bool is_mutating(const struct api_request *r) { return !str_in(r->method, (const char *const[]){"GET", "HEAD", "OPTIONS", NULL}); }

void metrics_request_begin(struct api_request *r) { atomic_fetch_add(&in_flight[is_mutating(r)], 1); }

void metrics_request_end(struct api_request *r, double seconds) {
    const char *verb = verb_name(r), *scope = scope_name(r);
    bool dry_run = url_query_has(&r->query, "dryRun");
    struct series *found = NULL;
    atomic_fetch_sub(&in_flight[is_mutating(r)], 1);
    if (!r->code) return; /* the connection was taken over or is gone */
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < series_len && !found; i++) {
        struct series *s = &series[i];
        if (s->rd == r->rd && s->code == r->code && s->dry_run == dry_run && strcmp(s->verb, verb) == 0 && strcmp(s->scope, scope) == 0) found = s;
    }
    if (!found) {
        found = &series[series_len < SERIES_MAX ? series_len++ : SERIES_MAX - 1];
        if (!found->verb) *found = (struct series){.rd = r->rd, .verb = verb, .scope = scope, .dry_run = dry_run, .code = r->code};
    }
    found->count++;
    found->seconds += seconds;
    for (size_t i = 0; i < BUCKETS; i++) found->buckets[i] += seconds <= bounds[i];
    pthread_mutex_unlock(&mutex);
}

static void labels(struct buf *out, const struct series *s, bool code) {
    const struct resource_desc *d = s->rd;
    if (code) buf_printf(out, "code=\"%d\",", s->code);
    buf_printf(out, "component=\"apiserver\",dry_run=\"%s\",group=\"%s\",resource=\"%s\",scope=\"%s\",subresource=\"%s\",verb=\"%s\",version=\"%s\"", s->dry_run ? "All" : "", d ? d->group : "", d ? d->resource : "",
               s->scope, d && d->subresource ? d->subresource : "", s->verb, d ? d->version : "");
}

static bool same_but_code(const struct series *x, const struct series *y) { return x->rd == y->rd && x->dry_run == y->dry_run && strcmp(x->verb, y->verb) == 0 && strcmp(x->scope, y->scope) == 0; }

/* The series of all codes together, unless an earlier one has told them already. */
static bool summed(size_t i, struct series *ret) {
    for (size_t k = 0; k < i; k++)
        if (same_but_code(&series[k], &series[i])) return false;
    *ret = series[i];
    for (size_t k = i + 1; k < series_len; k++) {
        if (!same_but_code(&series[k], &series[i])) continue;
        ret->count += series[k].count;
        ret->seconds += series[k].seconds;
        for (size_t b = 0; b < BUCKETS; b++) ret->buckets[b] += series[k].buckets[b];
    }
    return true;
}

static void put_requests(struct buf *out) {
    pthread_mutex_lock(&mutex);
    metrics_head(out, "apiserver_request_total", "counter", "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.");
    for (size_t i = 0; i < series_len; i++) {
        buf_append_str(out, "apiserver_request_total{");
        labels(out, &series[i], true);
        buf_printf(out, "} %llu\n", series[i].count);
    }
    metrics_head(out, "apiserver_request_duration_seconds", "histogram", "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.");
    for (size_t i = 0; i < series_len; i++) {
        struct series s;
        if (strcmp(series[i].verb, "WATCH") == 0 || strcmp(series[i].verb, "CONNECT") == 0 || !summed(i, &s)) continue;
        for (size_t b = 0; b <= BUCKETS; b++) {
            buf_append_str(out, "apiserver_request_duration_seconds_bucket{");
            labels(out, &s, false);
            if (b < BUCKETS) buf_printf(out, ",le=\"%g\"} %llu\n", bounds[b], s.buckets[b]);
            else buf_printf(out, ",le=\"+Inf\"} %llu\n", s.count);
        }
        buf_append_str(out, "apiserver_request_duration_seconds_sum{");
        labels(out, &s, false);
        buf_printf(out, "} %.9g\napiserver_request_duration_seconds_count{", s.seconds);
        labels(out, &s, false);
        buf_printf(out, "} %llu\n", s.count);
    }
    pthread_mutex_unlock(&mutex);
    metrics_head(out, "apiserver_current_inflight_requests", "gauge", "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.");
    buf_printf(out, "apiserver_current_inflight_requests{request_kind=\"mutating\"} %d\napiserver_current_inflight_requests{request_kind=\"readOnly\"} %d\n", atomic_load(&in_flight[1]), atomic_load(&in_flight[0]));
}

static void put_object_counts(struct api_request *r, struct buf *out) {
    struct store_txn *t;
    const struct strategy *st;
    if (store_read_begin(apiserver_store(r->server), &t, NULL) != 0) return;
    metrics_head(out, "apiserver_storage_objects", "gauge", "[STABLE] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.");
    for (size_t i = 0; (st = strategy_at(i)); i++)
        buf_printf(out, "apiserver_storage_objects{resource=\"%s%s%s\"} %zu\n", st->resource, *st->group ? "." : "", st->group, store_count(t, storage_key(r->arena, st, NULL, NULL), NULL));
    store_read_end(t);
}

void respond_metrics(struct api_request *r) {
    struct store_metrics m;
    _cleanup_buf_ struct buf out = BUF_INIT;
    store_metrics(apiserver_store(r->server), &m);
    put_requests(&out);
    put_object_counts(r, &out);
    metrics_head(&out, "apiserver_storage_size_bytes", "gauge", "[STABLE] Size of the storage database file physically allocated in bytes.");
    buf_printf(&out, "apiserver_storage_size_bytes{storage_cluster_id=\"ckube-0\"} %llu\n", (unsigned long long)m.db_bytes);
    metrics_head(&out, "ckube_store_revision", "gauge", "Revision of the last durable write.");
    buf_printf(&out, "ckube_store_revision %llu\n", (unsigned long long)m.revision);
    metrics_head(&out, "ckube_store_commits_total", "counter", "Commits, each with one sync.");
    buf_printf(&out, "ckube_store_commits_total %llu\n", (unsigned long long)m.commits);
    metrics_head(&out, "ckube_store_writes_total", "counter", "Writes that took effect.");
    buf_printf(&out, "ckube_store_writes_total %llu\n", (unsigned long long)m.writes);
    metrics_head(&out, "ckube_store_commit_seconds_total", "counter", "Time spent in commits.");
    buf_printf(&out, "ckube_store_commit_seconds_total %.6f\n", (double)m.commit_ns_total / 1e9);
    config_file_put_metrics(&out);
    audit_put_metrics(&out);
    authorizer_put_metrics(&out);
    jwt_authenticators_put_metrics(&out);
    metrics_access_put(&out);
    admission_put_metrics(apiserver_admission(r->server), &out);
    flow_put_metrics(apiserver_flow_control(r->server), &out);
    client_metrics_put(&out);
    metrics_sources_put(&out);
    respond_text(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_cstr(&out));
}
