/* The kubelet's HTTPS server: health, Pods, logs, streams, stats. Who may ask for what: auth.h. Handlers run in fibers on the server's loops; new connections get the certificate that
 * its files hold by then. Upstream: server/server.go. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kubelet/internal.h"
#include "base/fiber.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "kubelet/auth.h"
#include "kubelet/logs.h"
#include "kubelet/streaming.h"
#include "wire/http_server.h"

enum { FOLLOW_MS = 100, BACKLOG_MAX = 1 << 20, STATUS_EVERY = 10 };

static void respond_text(struct http_request *req, int code, const char *text) {
    struct http_header h[] = {{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}};
    struct http_slice body = {text, strlen(text)};
    http_respond(req, code, h, 2, &body, 1);
}

/* ---- /pods ---- */

static void serve_pods(struct kubelet *k, struct http_request *req) {
    struct pod **pods = kubelet_pods(k);
    struct corev1_PodList list = {0};
    object_set_type_meta(req->arena, &corev1_PodList_desc, &list);
    for (size_t i = 0; pods[i]; i++) {
        struct corev1_Pod *p = LIST_PUSH(req->arena, &list.items);
        *p = *pods[i]->obj;
        status_manager_get(k->statuses, req->arena, p->metadata.uid, &p->status);
    }
    _cleanup_buf_ struct buf b = BUF_INIT;
    object_encode_json(&corev1_PodList_desc, &list, &b);
    kubelet_pods_free(pods);
    struct http_header h = {"Content-Type", "application/json"};
    struct http_slice body = {b.data, b.len};
    http_respond(req, 200, &h, 1, &body, 1);
}

/* ---- /containerLogs ---- */

struct log_source { struct kubelet *k; const char *uid, *container; char path[4096]; };

static const struct corev1_ContainerStatus *status_of(const struct corev1_PodStatus *st, const char *container) {
    const struct corev1_ContainerStatus_list *lists[] = {&st->containerStatuses, &st->initContainerStatuses, &st->ephemeralContainerStatuses};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        LIST_FOREACH(c, lists[i]) if (str_eq(c->name, container)) return c;
    return NULL;
}

static bool still_running(const struct log_source *s) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_PodStatus st;
    if (!status_manager_get(s->k->statuses, a, s->uid, &st)) return false;
    const struct corev1_ContainerStatus *c = status_of(&st, s->container);
    char name[32];
    if (!c || !c->state.running) return false;
    snprintf(name, sizeof(name), "/%d.log", c->restartCount);
    return str_has_suffix(s->path, name); /* a restart ends the old log */
}

/* Sends what a file has from its position on. False: the limit is reached or the client has gone. */
static bool send_lines(struct http_request *req, struct log_options *o, int fd, struct buf *pending) {
    char chunk[16384];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
        _cleanup_buf_ struct buf out = BUF_INIT;
        buf_append(pending, chunk, (size_t)n);
        size_t at = 0;
        for (char *end; at < pending->len && (end = memchr(pending->data + at, '\n', pending->len - at));) {
            log_line_append(o, pending->data + at, (size_t)(end - pending->data) - at, &out);
            at = (size_t)(end - pending->data) + 1;
        }
        buf_consume(pending, at);
        size_t len = out.len;
        if (o->limit_bytes >= 0 && (int64_t)len > o->limit_bytes) len = (size_t)o->limit_bytes;
        if (o->limit_bytes >= 0) o->limit_bytes -= (int64_t)len;
        if (http_request_closed(req)) return false;
        if (len) http_response_write(req, out.data, len);
        if (o->limit_bytes == 0) return false;
        while (http_response_backlog_bytes(req) > BACKLOG_MAX && !http_request_closed(req)) fiber_sleep_ms(20);
    }
    return !http_request_closed(req);
}

static void send_log(struct http_request *req, const struct log_source *s, struct log_options *o) {
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    struct http_header h = {"Content-Type", "text/plain"};
    if (fd < 0) {
        respond_text(req, 500, arena_printf(req->arena, "failed to try resolving symlinks in path \"%s\": lstat %s: no such file or directory", s->path, s->path));
        return;
    }
    http_response_begin(req, 200, &h, 1);
    if (o->tail_lines >= 0) lseek(fd, log_tail_offset(fd, o->tail_lines), SEEK_SET);
    struct buf pending = BUF_INIT;
    bool ending = false;
    for (int round = 1; send_lines(req, o, fd, &pending) && o->follow && !ending && !atomic_load(&s->k->stopping); round++) {
        struct stat now, here;
        fiber_sleep_ms(FOLLOW_MS);
        if (stat(s->path, &now) == 0 && fstat(fd, &here) == 0 && now.st_ino != here.st_ino) { /* rotated */
            if (!send_lines(req, o, fd, &pending)) break;
            int next = open(s->path, O_RDONLY | O_CLOEXEC);
            if (next < 0) continue;
            close(fd);
            fd = next;
            buf_clear(&pending);
        }
        if (round % STATUS_EVERY == 0) ending = !still_running(s); /* one more read after its end */
    }
    if (ending) send_lines(req, o, fd, &pending);
    close(fd);
    buf_release(&pending);
    if (!http_request_closed(req)) http_response_end(req);
}

static void serve_logs(struct kubelet *k, struct http_request *req, const char *ns, const char *name, const char *container) {
    struct arena *a = req->arena;
    struct log_options o;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (log_options_parse(req->query, env_now_ns(k->env), &o, &err) != 0) {
        respond_text(req, err.code, status_message(&err));
        return;
    }
    _cleanup_pod_ struct pod *p = kubelet_pod_find(k, ns, name);
    if (!p) {
        respond_text(req, 404, arena_printf(a, "pod \"%s\" does not exist\n", name));
        return;
    }
    if (!pod_container(p->obj, container)) {
        respond_text(req, 404, arena_printf(a, "container \"%s\" not found in pod \"%s\"\n", container, name));
        return;
    }
    struct corev1_PodStatus st;
    const struct corev1_ContainerStatus *c = status_manager_get(k->statuses, a, p->obj->metadata.uid, &st) ? status_of(&st, container) : NULL;
    if (!c) {
        respond_text(req, 400, arena_printf(a, "container \"%s\" in pod \"%s\" is not available", container, name));
        return;
    }
    int instance = c->restartCount;
    bool current = c->state.running || c->state.terminated || (c->state.waiting && c->lastState.terminated);
    if (o.previous) {
        /* While it waits to be restarted, the instance that ended is both the last and the newest. */
        bool waits = c->state.waiting && c->lastState.terminated;
        if (!c->lastState.terminated) {
            respond_text(req, 400, arena_printf(a, "previous terminated container \"%s\" in pod \"%s\" not found", container, name));
            return;
        }
        instance = waits ? c->restartCount : c->restartCount - 1;
    } else if (!current) {
        const char *reason = c->state.waiting ? str_or(c->state.waiting->reason, "") : "";
        bool image = str_eq(reason, "ErrImagePull") || str_eq(reason, "ImagePullBackOff");
        respond_text(req, 400, image ? arena_printf(a, "container \"%s\" in pod \"%s\" is waiting to start: %s", container, name,
                                                    str_eq(reason, "ErrImagePull") ? "image can't be pulled" : "trying and failing to pull image")
                                     : arena_printf(a, "container \"%s\" in pod \"%s\" is waiting to start: %s", container, name, reason));
        return;
    }
    struct log_source s = {.k = k, .uid = arena_strdup(a, p->obj->metadata.uid), .container = arena_strdup(a, container)};
    snprintf(s.path, sizeof(s.path), "%s/%s/%d.log", kubelet_pod_log_dir(k, a, p->obj), container, instance);
    send_log(req, &s, &o);
}

/* ---- streams ---- */

static int running_id(struct kubelet *k, struct arena *a, const struct kubelet_stream *s, const char **ret_id, struct status *reterr) {
    _cleanup_pod_ struct pod *p = kubelet_pod_find(k, s->namespace, s->pod);
    struct rt_status rt;
    if (!p) return status_set(reterr, 404, REASON_NOT_FOUND, "pod does not exist");
    if (runtime_pod_status(k, a, p->obj->metadata.uid, &rt, reterr) != 0) return -1;
    if (s->kind == KUBELET_STREAM_PORT_FORWARD) {
        if (!rt.sandboxes.len || !rt.sandboxes.items[0].ready) return status_set(reterr, 404, REASON_NOT_FOUND, "pod not found (\"%s\")", pod_full_name(a, p->obj));
        *ret_id = rt.sandboxes.items[0].id;
        return 0;
    }
    const struct rt_container *c = rt_container_find(&rt, s->container);
    if (!c || c->state != RT_RUNNING) return status_set(reterr, 404, REASON_NOT_FOUND, "container not found (\"%s\")", s->container);
    *ret_id = c->id;
    return 0;
}

static int stream_url(void *ctx, const struct kubelet_stream *s, struct arena *a, const char **ret_url, struct status *reterr) {
    struct kubelet *k = ctx;
    const char *id = NULL;
    if (running_id(k, a, s, &id, reterr) != 0) return -1;
    if (s->kind == KUBELET_STREAM_PORT_FORWARD) return cri_port_forward(k->cri, a, id, ret_url, reterr);
    /* The runtime refuses a terminal with a separate stderr. */
    if (s->kind == KUBELET_STREAM_ATTACH) return cri_attach(k->cri, a, id, s->tty, s->in, s->out, s->err && !s->tty, ret_url, reterr);
    return cri_exec(k->cri, a, id, &s->command, s->tty, s->in, s->out, s->err && !s->tty, ret_url, reterr);
}

static int stream_run(void *ctx, const struct kubelet_stream *s, struct buf *ret_output, struct status *reterr) {
    struct kubelet *k = ctx;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *id = NULL;
    Runtime__V1__ExecSyncResponse *out;
    if (running_id(k, a, s, &id, reterr) != 0 || cri_exec_sync(k->cri, a, id, &s->command, 0, &out, reterr) != 0) return -1;
    buf_append(ret_output, out->stdout.data, out->stdout.len);
    buf_append(ret_output, out->stderr.data, out->stderr.len);
    return 0;
}

/* ---- dispatch ---- */

/* The i-th part of a path, 0 being the first; NULL if there is none. */
static const char *part(struct arena *a, const char *path, int i) {
    for (; i >= 0 && path; i--) {
        path = *path == '/' ? path + 1 : path;
        if (i == 0) return *path ? arena_strndup(a, path, strcspn(path, "/")) : NULL;
        path = strchr(path, '/');
    }
    return NULL;
}

static void handle(struct http_request *req, void *ctx) {
    struct kubelet *k = ctx;
    if (k->auth && !kubelet_auth_allows(k->auth, req)) return;
    struct kubelet_streaming streaming = {stream_url, stream_run, k};
    if (kubelet_streaming_handle(&streaming, req)) return;
    const char *first = part(req->arena, req->path, 0);
    if (str_eq(first, "healthz")) respond_text(req, 200, "ok");
    else if (str_eq(first, "pods") || str_eq(first, "runningpods")) serve_pods(k, req);
    else if (str_eq(first, "containerLogs") && part(req->arena, req->path, 3))
        serve_logs(k, req, part(req->arena, req->path, 1), part(req->arena, req->path, 2), part(req->arena, req->path, 3));
    else if (str_eq(first, "metrics") || str_eq(first, "stats")) kubelet_stats_serve(k, req);
    else respond_text(req, 404, "404 page not found\n");
}

static void serving_files_changed(void *arg) {
    struct kubelet *k = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (http_server_reload_tls(k->server, k->o.tls_cert_file, k->o.tls_key_file, k->o.client_ca_file, &err) != 0) log_error("reloading the kubelet's certificates: %s", status_message(&err));
    else log_info("the kubelet serves new connections with the certificates that have changed");
}

static void watch_files(struct kubelet *k) {
    const char *const files[] = {k->o.tls_cert_file, k->o.tls_key_file, k->o.client_ca_file};
    k->serving_files = file_watch_new();
    for (size_t i = 0; i < ARRAY_LEN(files); i++) file_watch_add(k->serving_files, files[i], serving_files_changed, k);
    file_watch_start(k->serving_files);
}

int kubelet_server_start(struct kubelet *k, struct status *reterr) {
    struct http_server_options o = {.bind_address = k->o.bind_address, .port = k->o.port, .loops = 1, .cert_file = k->o.tls_cert_file, .key_file = k->o.tls_key_file,
        .client_ca_file = k->o.client_ca_file, .body_bytes_max = 1 << 20, .handler = handle, .ctx = k};
    const char *mode = str_or(k->o.authorization_mode, "Webhook");
    bool always = str_eq(mode, "AlwaysAllow");
    if (!always && !str_eq(mode, "Webhook")) return status_bad_request(reterr, "unknown authorization mode %s", mode);
    if (k->o.tls_cert_file) /* without: plain HTTP, in tests on loopback */
        k->auth = kubelet_auth_new(&(struct kubelet_auth_options){.client = k->o.client, .node_name = k->o.node_name, .anonymous = k->o.anonymous_auth, .no_token_webhook = k->o.no_token_webhook,
            .always_allow = always, .env = k->env});
    if (!(k->server = http_server_new(&o, reterr))) return -1;
    if (k->o.tls_cert_file) watch_files(k);
    return 0;
}

void kubelet_server_stop(struct kubelet *k) {
    file_watch_free(k->serving_files);
    kubelet_auth_drain(k->auth);
    http_server_free(k->server, 500);
    kubelet_auth_free(k->auth);
    k->server = NULL;
    k->auth = NULL;
}
