/* exec, attach, portForward and run of the kubelet's API. See streaming.h. */
#include "kubelet/streaming.h"
#include <string.h>
#include "base/fiber.h"
#include "base/str.h"
#include "wire/http_client_redirect.h"
#include "wire/upstream_proxy.h"
#include "wire/url.h"

/* ---- reading the request ---- */

static const struct { const char *prefix; enum kubelet_stream_kind kind; } kinds[] = {
    {"/exec/", KUBELET_STREAM_EXEC}, {"/attach/", KUBELET_STREAM_ATTACH}, {"/portForward/", KUBELET_STREAM_PORT_FORWARD}, {"/run/", KUBELET_STREAM_RUN},
};

/* The segments of a path, decoded; their number, or -1 if there are more than max, or one is empty or makes no sense. */
static int split_path(struct arena *a, const char *path, const char **ret, int max) {
    int n = 0;
    for (;;) {
        size_t len = strcspn(path, "/");
        if (n == max) return -1;
        ret[n] = url_unescape(a, path, len, false);
        if (str_empty(ret[n++])) return -1;
        if (!path[len]) return n;
        path += len + 1;
    }
}

static bool flag(const struct url_query *q, const char *key) { return str_eq(url_query_get(q, key), "1"); }

static int read_options(struct http_request *req, struct kubelet_stream *s, struct status *reterr) {
    struct url_query q = url_parse_query(req->arena, req->query);
    if (s->kind == KUBELET_STREAM_RUN) {
        /* For legacy reasons the command is one parameter here, cut at its blanks. */
        char *rest = arena_strdup(req->arena, str_or(url_query_get(&q, "cmd"), ""));
        for (char *word; (word = strsep(&rest, " "));) *LIST_PUSH(req->arena, &s->command) = word;
        return 0;
    }
    for (size_t i = 0; s->kind == KUBELET_STREAM_EXEC && i < q.len; i++)
        if (str_eq(q.items[i].key, "command")) *LIST_PUSH(req->arena, &s->command) = q.items[i].value;
    s->tty = flag(&q, "tty");
    s->in = flag(&q, "input");
    s->out = flag(&q, "output");
    s->err = flag(&q, "error") && !s->tty; /* a terminal has no second output */
    if (!s->in && !s->out && !s->err) return status_bad_request(reterr, "you must specify at least 1 of stdin, stdout, stderr");
    return 0;
}

int kubelet_streaming_parse(struct http_request *req, struct kubelet_stream *ret, struct status *reterr) {
    size_t i = 0;
    while (i < ARRAY_LEN(kinds) && !str_has_prefix(req->path, kinds[i].prefix)) i++;
    if (i == ARRAY_LEN(kinds)) return 0;
    struct kubelet_stream s = {.kind = kinds[i].kind};
    bool forward = s.kind == KUBELET_STREAM_PORT_FORWARD;
    const char *parts[4] = {0};
    int n = split_path(req->arena, req->path + strlen(kinds[i].prefix), parts, 4), least = forward ? 2 : 3;
    if (n < least || n > least + 1) return 0;
    s.namespace = parts[0];
    s.pod = parts[1];
    if (n > least) s.uid = parts[2];
    if (!forward) s.container = parts[n - 1];
    if (!str_eq(req->method, "POST") && !(str_eq(req->method, "GET") && s.kind != KUBELET_STREAM_RUN))
        return status_set(reterr, 405, REASON_METHOD_NOT_ALLOWED, "405: Method Not Allowed");
    if (!forward && read_options(req, &s, reterr) != 0) return -1;
    *ret = s;
    return 1;
}

/* ---- calls that block, away from the loop ---- */

struct job {
    const struct kubelet_streaming *k;
    const struct kubelet_stream *stream;
    struct arena *arena;
    const char *url;
    struct buf output;
    struct status err;
    int failed;
};

static void job_do(void *arg) {
    struct job *j = arg;
    if (j->stream->kind == KUBELET_STREAM_RUN) j->failed = j->k->run(j->k->ctx, j->stream, &j->output, &j->err);
    else j->failed = j->k->url(j->k->ctx, j->stream, j->arena, &j->url, &j->err);
}

static void job_run(struct job *j) {
    if (!fiber_run_blocking(job_do, j)) j->failed = status_internal(&j->err, "cannot start a thread");
}

/* ---- answering ---- */

static void answer_text(struct http_request *req, int code, const void *data, size_t len) {
    const struct http_header headers[] = {{"Content-Type", "text/plain; charset=utf-8"}};
    http_respond(req, code, headers, 1, &(struct http_slice){.data = data, .len = len}, 1);
}

static void answer_error(struct http_request *req, const struct status *err) {
    const char *text = status_message(err);
    answer_text(req, err->code >= 400 ? err->code : 500, text, strlen(text));
}

static int splice_to(struct http_request *req, const char *url, struct status *reterr) {
    struct http_place place, nowhere = {.scheme = "http", .host = "127.0.0.1", .target = "/"};
    if (!http_redirect_resolve(req->arena, &nowhere, url, &place) || str_eq(place.scheme, "https")) /* its certificate could not be verified */
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "cannot use the runtime's streaming URL %s", url);
    struct proxy_target target = {.host = place.host, .port = place.port ? place.port : 80, .target = place.target};
    return proxy_request(req, &target, reterr);
}

bool kubelet_streaming_handle(const struct kubelet_streaming *k, struct http_request *req) {
    struct kubelet_stream stream;
    _cleanup_status_ struct status err = STATUS_INIT;
    int ours = kubelet_streaming_parse(req, &stream, &err);
    if (ours == 0) return false;
    if (ours < 0) {
        answer_error(req, &err);
        return true;
    }
    struct job j = {.k = k, .stream = &stream, .arena = req->arena, .err = STATUS_INIT};
    if (stream.kind != KUBELET_STREAM_RUN && !req->upgrade) j.failed = status_bad_request(&j.err, "Upgrade request required");
    else job_run(&j);
    if (!j.failed && stream.kind == KUBELET_STREAM_RUN) answer_text(req, 200, buf_cstr(&j.output), j.output.len);
    else if (!j.failed) j.failed = splice_to(req, j.url, &j.err);
    if (j.failed) answer_error(req, &j.err);
    buf_release(&j.output);
    status_release(&j.err);
    return true;
}
