/* The in-process transport: see local_transport.h. */
#include "apiserver/local_transport.h"
#include "apiserver/request.h"
#include "base/env.h"
#include "base/str.h"
#include "client/metrics.h"
#include "wire/http_local.h"

struct local_transport {
    struct transport base; /* first */
    struct http_server *http;
    struct arena *arena;
    struct user_info user;
    const char *user_agent;
    struct rest_metrics *metrics;
};
struct local_stream {
    struct transport_stream base; /* first */
    struct local_transport *transport;
    struct http_local *local;
};

static void start(struct local_transport *t, struct http_local *l, const struct transport_call *c) {
    struct http_header headers[4] = {{"Accept", str_or(c->accept, "application/json")}, {"User-Agent", t->user_agent}};
    size_t n = 2;
    if (c->body) headers[n++] = (struct http_header){"Content-Type", str_or(c->content_type, "application/json")};
    if (c->fence) headers[n++] = (struct http_header){"Ckube-Lease-Fence", c->fence};
    http_local_start(l, t->http, &(struct http_local_options){.method = c->method, .target = c->target, .headers = headers, .headers_len = n, .body = c->body,
        .body_len = c->body_len, .identity = &t->user});
}

static int local_call(struct transport *base, const struct transport_call *c, int *ret_code, struct buf *ret_body, struct status *reterr) {
    struct local_transport *t = (struct local_transport *)base;
    struct http_local *l = http_local_new();
    int64_t began_ns = env_mono_ns(env_real());
    size_t before = ret_body->len;
    start(t, l, c);
    int code = http_local_head(l, c->timeout_ms, reterr), rc = code < 0 ? -1 : http_local_read_all(l, ret_body, c->timeout_ms, reterr);
    http_local_free(l);
    rest_metrics_result(t->metrics, c->method, code < 0 ? 0 : code);
    rest_metrics_call(t->metrics, c->method, env_mono_ns(env_real()) - began_ns, c->body_len, ret_body->len - before);
    if (rc == 0) *ret_code = code;
    return rc;
}

static int stream_open(struct transport_stream *base, const struct transport_call *c, int *ret_code, struct status *reterr) {
    struct local_stream *s = (struct local_stream *)base;
    start(s->transport, s->local, c);
    int code = http_local_head(s->local, c->timeout_ms, reterr);
    rest_metrics_result(s->transport->metrics, c->method, code < 0 ? 0 : code);
    if (code < 0) return -1;
    *ret_code = code;
    return 0;
}

static ssize_t stream_read(struct transport_stream *base, void *to, size_t len, int timeout_ms, struct status *reterr) {
    return http_local_read(((struct local_stream *)base)->local, to, len, timeout_ms, reterr);
}

static void stream_cancel(struct transport_stream *base) { http_local_cancel(((struct local_stream *)base)->local); }

static void stream_free(struct transport_stream *base) {
    http_local_free(((struct local_stream *)base)->local);
    free(base);
}

static struct transport_stream *stream_new(struct transport *base) {
    struct local_stream *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->base = (struct transport_stream){stream_open, stream_read, stream_cancel, stream_free};
    s->transport = (struct local_transport *)base;
    s->local = http_local_new();
    return &s->base;
}

static void local_free(struct transport *base) {
    struct local_transport *t = (struct local_transport *)base;
    arena_free(t->arena);
    free(t);
}

struct transport *local_transport_new(struct apiserver *s, const char *user, const char *const *groups, const char *user_agent) {
    struct local_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    t->base = (struct transport){local_call, stream_new, local_free};
    t->http = apiserver_http(s);
    t->metrics = rest_metrics_of(REST_HOST_LOCAL);
    t->arena = arena_new();
    t->user.name = arena_strdup(t->arena, user);
    for (; groups && *groups; groups++) string_list_push(t->arena, &t->user.groups, arena_strdup(t->arena, *groups));
    string_list_push(t->arena, &t->user.groups, "system:authenticated");
    t->user_agent = arena_strdup(t->arena, user_agent);
    return &t->base;
}
