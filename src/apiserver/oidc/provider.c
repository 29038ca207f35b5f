#include "apiserver/oidc/provider.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "api/field_error.h"
#include "apiserver/config_file.h"
#include "base/metric_family.h"
#include "base/env.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/str.h"
#include "client/kubeconfig.h"
#include "wire/json.h"
#include "wire/jwks.h"
#include "wire/upstream.h"

#define NS_PER_S 1000000000ll
static const int64_t DISCOVERY_PAUSE_S = 10, FETCH_PAUSE_NS = 200000000, EXPIRY_DELTA_S = 30, MAX_AGE_S = 24 * 3600;
enum { TIMEOUT_MS = 30000, BODY_MAX = 1 << 20, ERROR_MAX = 512 };
static const char well_known[] = "/.well-known/openid-configuration";

/* One who waits for the keys, on its own stack. */
struct waiter {
    struct waiter *next;
    struct fiber *fiber;      /* NULL: a thread, woken by the condition */
    bool done;
    char error[ERROR_MAX];    /* "" when they came */
};

struct oidc_provider {
    char *issuer, *discovery_url, *ca_pem;
    struct upstream_tls *tls; /* for distributed claims */
    pthread_t thread;
    struct http_cancel cancel;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under it */
    bool stop;
    char *jwks_uri;           /* NULL: not discovered yet */
    struct status trouble;    /* then: why not */
    struct jwks *keys;        /* NULL: never fetched */
    int64_t fresh_until_ns;   /* until when a fetch would bring the same */
    struct waiter *waiters;
};

const char *oidc_provider_issuer(const struct oidc_provider *p) { return p->issuer; }

static int64_t now_ns(void) { return env_mono_ns(env_real()); }

/* ---- metrics ---- */

static struct metric_family fetched = METRIC_FAMILY("apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds", "gauge",
                                                    "[ALPHA] Timestamp of the last successful or failed JWKS fetch split by result, api server identity and jwt issuer for the JWT authenticator."),
                            key_set = METRIC_FAMILY("apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info", "gauge",
                                                    "[ALPHA] Information about the last JWKS fetched by the JWT authenticator with hash as label, split by api server identity and jwt issuer.");

static void issuer_label(const char *issuer, char ret[128]) {
    char hash[72];
    config_hash(issuer, strlen(issuer), hash);
    snprintf(ret, 128, "jwt_issuer_hash=\"%s\"", hash);
}

static void record_fetch(const struct oidc_provider *p, const struct buf *keys) {
    char issuer[128], labels[320], hash[72];
    issuer_label(p->issuer, issuer);
    snprintf(labels, sizeof(labels), "apiserver_id_hash=\"%s\",%s,result=\"%s\"", apiserver_id_hash(), issuer, keys ? "success" : "failure");
    metric_set(&fetched, labels, (double)env_now_ns(env_real()) / 1e9);
    if (!keys) return;
    config_hash(buf_cstr(keys), keys->len, hash);
    metric_drop(&key_set, issuer);
    snprintf(labels, sizeof(labels), "apiserver_id_hash=\"%s\",hash=\"%s\",%s", apiserver_id_hash(), hash, issuer);
    metric_set(&key_set, labels, 1);
}

void oidc_provider_forget_metrics(const char *issuer) {
    char label[128];
    issuer_label(issuer, label);
    metric_drop(&fetched, label);
    metric_drop(&key_set, label);
}

void oidc_provider_put_metrics(struct buf *out) {
    metric_put(&fetched, out);
    metric_put(&key_set, out);
}

/* ---- fetching, on the thread ---- */

static int check_https(const char *url, struct status *reterr) { return str_has_prefix(url, "https://") && url[8] ? 0 : status_bad_request(reterr, "%s is no https URL", url); }

/* Cache-Control's max-age in seconds; 0: what was got may be old at once. */
static int64_t max_age_s(const char *cache_control) {
    const char *p = cache_control ? strcasestr(cache_control, "max-age=") : NULL;
    int64_t n = 0;
    if (!p || strcasestr(cache_control, "no-store") || strcasestr(cache_control, "no-cache")) return 0;
    for (p += 8; *p >= '0' && *p <= '9' && n < MAX_AGE_S; p++) n = n * 10 + (*p - '0');
    return MIN(n, MAX_AGE_S);
}

static int get(struct oidc_provider *p, const char *url, struct buf *ret, int64_t *ret_fresh_s, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct http_client_options o = {.ca_pem = str_empty(p->ca_pem) ? NULL : p->ca_pem, .no_keep_alive = true};
    struct http_reply *reply = NULL;
    if (check_https(url, reterr) != 0) return -1;
    struct http_call call = {.target = str_or(kubeconfig_server(a, url, &o), "/"), .timeout_ms = TIMEOUT_MS, .body_bytes_max = BODY_MAX, .follow_same_host = true, .cancel = &p->cancel};
    struct http_client *client = http_client_new(&o, reterr);
    int failed = !client || http_client_call(client, &call, &reply, reterr) != 0;
    if (!failed && reply->code != 200) failed = status_set(reterr, 502, REASON_INTERNAL_ERROR, "%d %s: %.200s", reply->code, reply->reason, reply->body);
    if (!failed) {
        buf_append(ret, reply->body, reply->body_len);
        if (ret_fresh_s) *ret_fresh_s = max_age_s(http_reply_header(reply, "Cache-Control"));
    }
    http_reply_free(reply);
    http_client_free(client);
    return failed ? -1 : 0;
}

static int read_discovery(struct oidc_provider *p, const struct buf *text, char **ret_jwks_uri, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    yyjson_doc *doc = json_parse_in(a, buf_cstr(text), text->len, 0, reterr);
    if (!doc) {
        status_wrap(reterr, "oidc: failed to decode provider discovery object");
        return -1;
    }
    const char *issuer = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "issuer")), *uri = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "jwks_uri"));
    if (!str_eq(issuer, p->issuer))
        return status_bad_request(reterr, "oidc: issuer did not match the issuer returned by provider, expected %s got %s", go_quote(a, p->issuer), go_quote(a, str_or(issuer, "")));
    if (str_empty(uri)) return status_bad_request(reterr, "provider did not return JWKS URL");
    if (check_https(uri, reterr) != 0) return -1;
    *ret_jwks_uri = strdup(uri);
    return 0;
}

static int discover(struct oidc_provider *p) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    char *uri = NULL;
    int failed = get(p, p->discovery_url, &text, NULL, &err) != 0 || read_discovery(p, &text, &uri, &err) != 0;
    pthread_mutex_lock(&p->mutex);
    if (failed) status_copy(&p->trouble, &err);
    else p->jwks_uri = uri;
    pthread_cond_broadcast(&p->changed);
    bool stop = p->stop;
    pthread_mutex_unlock(&p->mutex);
    if (failed && !stop) log_error("oidc authenticator: initializing plugin: %s", status_message(&err));
    return failed ? -1 : 0;
}

/* Sets the keys, or says why it cannot. */
static int fetch_keys(struct oidc_provider *p, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    int64_t fresh_s = 0;
    struct jwks *keys = NULL;
    if (get(p, p->jwks_uri, &text, &fresh_s, reterr) != 0) status_wrap(reterr, "oidc: get keys failed");
    else if (!(keys = jwks_parse(buf_cstr(&text), text.len, reterr))) status_wrap(reterr, "oidc: failed to decode keys");
    record_fetch(p, keys ? &text : NULL);
    if (!keys) return -1;
    pthread_mutex_lock(&p->mutex);
    struct jwks *old = p->keys;
    p->keys = keys;
    p->fresh_until_ns = now_ns() + fresh_s * NS_PER_S;
    pthread_mutex_unlock(&p->mutex);
    jwks_unref(old);
    return 0;
}

/* The mutex is held. error NULL: the keys are there. */
static void wake_all(struct oidc_provider *p, struct waiter *w, const char *error) {
    for (struct waiter *next; w; w = next) {
        next = w->next; /* it may be gone once it knows */
        struct fiber *fiber = w->fiber;
        snprintf(w->error, sizeof(w->error), "%s", str_or(error, ""));
        w->done = true;
        if (fiber) fiber_wake(fiber);
    }
    pthread_cond_broadcast(&p->changed);
}

/* Until somebody waits for keys, or the time; false: it is to end. The mutex is held. */
static bool wait_until(struct oidc_provider *p, int64_t deadline_ns, bool for_waiters) {
    while (!p->stop && !(for_waiters && p->waiters) && env_cond_wait(env_real(), &p->changed, &p->mutex, deadline_ns)) {}
    return !p->stop;
}

static void serve_waiters(struct oidc_provider *p) {
    int64_t fetched_ns = now_ns();
    pthread_mutex_lock(&p->mutex);
    while (wait_until(p, -1, true) && wait_until(p, fetched_ns + FETCH_PAUSE_NS, false)) {
        _cleanup_status_ struct status err = STATUS_INIT;
        pthread_mutex_unlock(&p->mutex);
        bool failed = fetch_keys(p, &err) != 0;
        fetched_ns = now_ns();
        pthread_mutex_lock(&p->mutex);
        struct waiter *w = p->waiters;
        p->waiters = NULL;
        wake_all(p, w, failed ? status_message(&err) : NULL);
    }
    wake_all(p, p->waiters, "context canceled");
    p->waiters = NULL;
    pthread_mutex_unlock(&p->mutex);
}

static void *run(void *arg) {
    struct oidc_provider *p = arg;
    bool goes_on = true;
    while (goes_on && discover(p) != 0) {
        pthread_mutex_lock(&p->mutex);
        goes_on = wait_until(p, now_ns() + DISCOVERY_PAUSE_S * NS_PER_S, false);
        pthread_mutex_unlock(&p->mutex);
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    if (goes_on && fetch_keys(p, &err) != 0) log_error("oidc authenticator: issuer %s: %s", p->issuer, status_message(&err));
    serve_waiters(p);
    return NULL;
}

/* ---- life ---- */

struct oidc_provider *oidc_provider_new(const char *issuer, const char *discovery_url, const char *ca_pem, struct status *reterr) {
    struct oidc_provider *p = calloc(1, sizeof(*p));
    size_t len = strlen(issuer);
    CHECK(p);
    struct upstream_tls_options tls = {.ca_pem = str_empty(ca_pem) ? NULL : ca_pem};
    if (!(p->tls = upstream_tls_new(&tls, reterr))) {
        free(p);
        return NULL;
    }
    p->issuer = strdup(issuer);
    p->ca_pem = strdup(str_or(ca_pem, ""));
    if (len && issuer[len - 1] == '/') len--;
    if (!str_empty(discovery_url)) p->discovery_url = strdup(discovery_url);
    else CHECK(asprintf(&p->discovery_url, "%.*s%s", (int)len, issuer, well_known) > 0);
    status_set(&p->trouble, 503, REASON_SERVICE_UNAVAILABLE, "oidc: authenticator for issuer \"%s\" is not initialized", issuer);
    http_cancel_init(&p->cancel);
    pthread_mutex_init(&p->mutex, NULL);
    env_cond_init(&p->changed);
    CHECK(pthread_create(&p->thread, NULL, run, p) == 0);
    return p;
}

void oidc_provider_free(struct oidc_provider *p) {
    if (!p) return;
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    http_cancel_fire(&p->cancel);
    pthread_join(p->thread, NULL);
    http_cancel_release(&p->cancel);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->changed);
    status_release(&p->trouble);
    jwks_unref(p->keys);
    upstream_tls_unref(p->tls);
    free(p->jwks_uri);
    free(p->discovery_url);
    free(p->issuer);
    free(p->ca_pem);
    free(p);
}

bool oidc_provider_is_ready(struct oidc_provider *p, struct status *reterr) {
    pthread_mutex_lock(&p->mutex);
    bool ready = p->jwks_uri != NULL;
    if (!ready && reterr) status_copy(reterr, &p->trouble);
    pthread_mutex_unlock(&p->mutex);
    return ready;
}

/* ---- for requests ---- */

static int wait_for_keys(struct oidc_provider *p, struct status *reterr) {
    struct waiter w = {.fiber = fiber_current()};
    pthread_mutex_lock(&p->mutex);
    bool stopped = p->stop;
    if (!stopped) {
        w.next = p->waiters;
        p->waiters = &w;
        pthread_cond_broadcast(&p->changed);
        while (!w.fiber && !w.done) env_cond_wait(env_real(), &p->changed, &p->mutex, -1);
    }
    pthread_mutex_unlock(&p->mutex);
    if (stopped) return status_set(reterr, 401, REASON_UNAUTHORIZED, "fetching keys context canceled");
    if (w.fiber) fiber_suspend();
    return *w.error ? status_set(reterr, 401, REASON_UNAUTHORIZED, "fetching keys %s", w.error) : 0;
}

static struct jwks *keys_of(struct oidc_provider *p, bool *ret_fresh) {
    pthread_mutex_lock(&p->mutex);
    struct jwks *keys = jwks_ref(p->keys);
    *ret_fresh = keys && now_ns() + EXPIRY_DELTA_S * NS_PER_S <= p->fresh_until_ns;
    pthread_mutex_unlock(&p->mutex);
    return keys;
}

int oidc_provider_verify(struct oidc_provider *p, const struct jwt *t, struct status *reterr) {
    for (int i = 0; i < 2; i++) {
        bool fresh;
        struct jwks *keys = keys_of(p, &fresh);
        bool good = jwks_verify(keys, t);
        jwks_unref(keys);
        if (good) return 0;
        if (i == 0 && !fresh && wait_for_keys(p, reterr) != 0) return -1;
    }
    return status_set(reterr, 401, REASON_UNAUTHORIZED, "failed to verify id token signature");
}

int oidc_provider_get(struct oidc_provider *p, struct arena *a, const char *url, const char *bearer, struct buf *ret, struct status *reterr) {
    struct http_client_options at = {0};
    struct upstream_response response = {0};
    if (check_https(url, reterr) != 0) return -1;
    const char *path = str_or(kubeconfig_server(a, url, &at), "/");
    const struct http_header headers[] = {{"User-Agent", "kube-apiserver"}, {"Authorization", str_empty(bearer) ? NULL : arena_printf(a, "Bearer %s", bearer)}};
    const struct upstream_request request = {.method = "GET", .target = path, .headers = headers, .headers_len = ARRAY_LEN(headers) - str_empty(bearer)};
    struct upstream *u = upstream_connect(at.host, at.port, p->tls, TIMEOUT_MS, reterr);
    int failed = !u || upstream_request(u, &request, TIMEOUT_MS, a, &response, reterr) != 0 || upstream_read_all(u, ret, BODY_MAX, TIMEOUT_MS, reterr) != 0;
    upstream_free(u);
    if (failed || (response.code >= 200 && response.code < 300)) return failed ? -1 : 0;
    return status_set(reterr, 502, REASON_INTERNAL_ERROR, "error while getting distributed claim JWT: %d %s", response.code, str_or(response.reason, ""));
}
