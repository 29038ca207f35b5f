#include "apiserver/webhook_client.h"
#include <string.h>
#include "api/field_error.h"
#include "api/time.h"
#include "base/env.h"
#include "base/fiber.h"
#include "base/file.h"
#include "base/str.h"
#include "client/kubeconfig.h"
#include "wire/upstream.h"

enum { TRIES = 5, BACKOFF_MS = 500, BODY_MAX = 16 << 20, TOKEN_MAX = 64 << 10, PAUSE_SLICE_MS = 100 };
static const int64_t NS_PER_MS = 1000000;

struct webhook_client {
    struct arena *arena;
    struct kubeconfig at;
    struct upstream_tls *tls; /* NULL: plain */
    int timeout_ms;
    const char *url, *target;
};

struct webhook_client *webhook_client_new(const char *kubeconfig_file, int timeout_ms, struct status *reterr) {
    struct webhook_client *w = calloc(1, sizeof(*w));
    CHECK(w);
    struct arena *a = w->arena = arena_new();
    w->timeout_ms = timeout_ms;
    if (kubeconfig_read(a, kubeconfig_file, &w->at, reterr) == 0) {
        const struct http_client_options *h = &w->at.http;
        struct upstream_tls_options o = {.ca_pem = h->ca_pem, .ca_file = h->ca_file, .cert_pem = h->cert_pem, .key_pem = h->key_pem, .cert_file = h->cert_file, .key_file = h->key_file,
            .server_name = h->server_name, .insecure = h->insecure};
        const char *path = str_or(w->at.path, "/");
        w->target = arena_printf(a, "%s%stimeout=%s", path, strchr(path, '?') ? "&" : "?", duration_string(a, (int64_t)timeout_ms * 1000000));
        w->url = arena_printf(a, "%s://%s:%d%s", h->tls ? "https" : "http", h->host, h->port, w->target);
        if (!h->tls || (w->tls = upstream_tls_new(&o, reterr))) return w;
    }
    webhook_client_free(w);
    return NULL;
}

void webhook_client_free(struct webhook_client *w) {
    if (!w) return;
    upstream_tls_unref(w->tls);
    arena_free(w->arena);
    free(w);
}

static const char *token(struct webhook_client *w, struct arena *a) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (!w->at.token_file || file_read(w->at.token_file, TOKEN_MAX, &text, NULL) != 0) return w->at.token;
    while (text.len && strchr(" \r\n\t", text.data[text.len - 1])) text.len--;
    return arena_strdup(a, buf_cstr(&text));
}

/* *retry: the failure may pass. */
static int try(struct webhook_client *w, struct arena *a, const struct buf *body, int timeout_ms, struct buf *ret, bool *retry, struct status *reterr) {
    const char *bearer = token(w, a);
    const struct http_header headers[] = {{"Content-Type", "application/json"}, {"Accept", "application/json, */*"}, {"User-Agent", "kube-apiserver"}, {"Host", str_or(w->at.http.server_name, w->at.http.host)},
        {"Authorization", bearer ? arena_printf(a, "Bearer %s", bearer) : NULL}};
    const struct upstream_request request = {.method = "POST", .target = w->target, .headers = headers, .headers_len = ARRAY_LEN(headers) - !bearer, .body = body->data, .body_len = body->len};
    struct upstream_response response = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    struct upstream *u = upstream_connect(w->at.http.host, w->at.http.port, w->tls, timeout_ms, &err);
    bool asked = u != NULL, failed = !u || upstream_request(u, &request, timeout_ms, a, &response, &err) != 0 || upstream_read_all(u, ret, BODY_MAX, timeout_ms, &err) != 0;
    upstream_free(u);
    if (failed) {
        *retry = asked && err.code != 504; /* the connection broke: it is worth another try; a refusal or a timeout is not */
        return status_set(reterr, err.code, err.reason, "Post %s: %s", go_quote(a, w->url), status_message(&err));
    }
    if (response.code >= 200 && response.code < 300) return 0;
    *retry = response.code == 500 || response.code == 504 || response.code == 429 || http_headers_get(response.headers, response.headers_len, "Retry-After");
    return status_set(reterr, response.code, REASON_INTERNAL_ERROR, "an error on the server (%s) has prevented the request from succeeding", go_quote(a, buf_cstr(ret)));
}

static bool is_stopped(const struct webhook_retry *how) { return how->stop && atomic_load(how->stop); }

/* False: there is no use in waiting so long. */
static bool pause_before_next(const struct webhook_retry *how, int64_t ms, int64_t deadline_ns) {
    int64_t until_ns = env_mono_ns(env_real()) + ms * NS_PER_MS;
    if (deadline_ns && until_ns >= deadline_ns) return false;
    for (int64_t left; !is_stopped(how) && (left = (until_ns - env_mono_ns(env_real())) / NS_PER_MS) > 0;) fiber_sleep_ms((uint64_t)MIN(left, (int64_t)PAUSE_SLICE_MS));
    return !is_stopped(how);
}

int webhook_client_post_retrying(struct webhook_client *w, struct arena *a, const struct buf *body, struct buf *ret, const struct webhook_retry *how, struct status *reterr) {
    int64_t pause_ms = how->backoff_ms, deadline_ns = how->deadline_ms ? env_mono_ns(env_real()) + how->deadline_ms * NS_PER_MS : 0;
    for (int i = 1;; i++) {
        bool retry = false;
        int64_t left_ms = deadline_ns ? (deadline_ns - env_mono_ns(env_real())) / NS_PER_MS : w->timeout_ms;
        buf_clear(ret);
        if (try(w, a, body, (int)MAX(MIN(left_ms, (int64_t)w->timeout_ms), 1), ret, &retry, reterr) == 0) return 0;
        if ((!retry && !how->any_failure) || i == TRIES || !pause_before_next(how, pause_ms + (int64_t)env_random_below(env_real(), (uint64_t)pause_ms / 5 + 1), deadline_ns)) return -1;
        pause_ms += pause_ms / 2;
    }
}

int webhook_client_post(struct webhook_client *w, struct arena *a, const struct buf *body, struct buf *ret, struct status *reterr) {
    return webhook_client_post_retrying(w, a, body, ret, &(const struct webhook_retry){.backoff_ms = BACKOFF_MS}, reterr);
}
