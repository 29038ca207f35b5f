/* Probes: a thread for each startup, liveness and readiness probe of each container that runs, and their settled results by container.
 * Upstream: pkg/kubelet/prober and pkg/probe. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/grpc.h"
#include "wire/http_client.h"

enum { STACK_BYTES = 512 << 10, PROBE_TRIES = 3, OUTPUT_MAX = 10240 };
static const char *const kind_names[] = {"Startup", "Liveness", "Readiness"};

struct probe_worker {
    struct prober *b;
    struct pod *pod;
    const struct corev1_Container *container; /* lives in pod */
    const struct corev1_Probe *spec;
    enum probe_kind kind;
    bool stop, woken;
    pthread_cond_t cond;
};

struct prober {
    struct kubelet *k;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    struct map *workers; /* "uid/container/kind" -> struct probe_worker * */
    struct map *results; /* "id/kind" -> enum probe_result as a pointer */
    bool stopping;
};

bool probe_counter_feed(struct probe_counter *c, enum probe_result r, int success_threshold, int failure_threshold) {
    c->run = c->last == r ? c->run + 1 : 1;
    c->last = r;
    if (c->run < (r == PROBE_FAILURE ? MAX(failure_threshold, 1) : MAX(success_threshold, 1))) return false;
    bool changed = c->settled != r;
    c->settled = r;
    return changed;
}

/* ---- one probe ---- */

/* The outcome with its words, for the event. */
struct outcome { enum probe_result result; bool warning; const char *text; };

static struct outcome probe_exec(struct kubelet *k, struct arena *a, const char *id, const struct corev1_Probe *p) {
    Runtime__V1__ExecSyncResponse *out;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cri_exec_sync(k->cri, a, id, &p->exec->command, MAX(p->timeoutSeconds, 1), &out, &err) != 0) {
        if (status_is(&err, 504)) return (struct outcome){PROBE_FAILURE, false, arena_printf(a, "command timed out: \"%s\" timed out after %ds", p->exec->command.len ? p->exec->command.items[0] : "", MAX(p->timeoutSeconds, 1))};
        return (struct outcome){PROBE_UNKNOWN, false, arena_strdup(a, status_message(&err))};
    }
    _cleanup_buf_ struct buf text = BUF_INIT;
    buf_append(&text, out->stdout.data, MIN(out->stdout.len, OUTPUT_MAX));
    buf_append(&text, out->stderr.data, MIN(out->stderr.len, OUTPUT_MAX - text.len));
    return (struct outcome){out->exit_code == 0 ? PROBE_SUCCESS : PROBE_FAILURE, false, arena_strdup(a, buf_cstr(&text))};
}

static struct outcome probe_http(struct kubelet *k UNUSED, struct arena *a, const struct corev1_Container *c, const char *ip, const struct corev1_Probe *p) {
    const struct corev1_HTTPGetAction *h = p->httpGet;
    _cleanup_status_ struct status err = STATUS_INIT;
    int port;
    if (container_port_find(c, &h->port, &port, &err) != 0) return (struct outcome){PROBE_UNKNOWN, false, arena_strdup(a, status_message(&err))};
    const char *host_header = NULL;
    struct http_header *headers = arena_calloc(a, h->httpHeaders.len + 1, sizeof(*headers));
    size_t n = 0;
    LIST_FOREACH(x, &h->httpHeaders) {
        if (str_eq_nocase(x->name, "host")) host_header = x->value;
        else headers[n++] = (struct http_header){x->name, str_or(x->value, "")};
    }
    struct http_client_options o = {.host = str_or(h->host, ip), .port = port, .tls = str_eq(h->scheme, "HTTPS"), .insecure = true, .no_keep_alive = true,
        .user_agent = "kube-probe/1.36", .host_header = host_header};
    struct http_client *client = http_client_new(&o, &err);
    if (!client) return (struct outcome){PROBE_UNKNOWN, false, arena_strdup(a, status_message(&err))};
    const char *path = str_or(h->path, "/");
    struct http_call call = {.target = path[0] == '/' ? path : arena_printf(a, "/%s", path), .headers = headers, .headers_len = n, .timeout_ms = MAX(p->timeoutSeconds, 1) * 1000,
        .body_bytes_max = OUTPUT_MAX, .truncate = true, .follow_same_host = true};
    struct http_reply *reply = NULL;
    struct outcome out;
    if (http_client_call(client, &call, &reply, &err) != 0) out = (struct outcome){PROBE_FAILURE, false, arena_strdup(a, status_message(&err))};
    else if (reply->code >= 200 && reply->code < 300) out = (struct outcome){PROBE_SUCCESS, false, ""};
    else if (reply->code >= 300 && reply->code < 400) out = (struct outcome){PROBE_SUCCESS, true, arena_printf(a, "Probe terminated redirects, Response body: %s", reply->body)};
    else out = (struct outcome){PROBE_FAILURE, false, arena_printf(a, "HTTP probe failed with statuscode: %d", reply->code)};
    http_reply_free(reply);
    http_client_free(client);
    return out;
}

static struct outcome probe_tcp(struct arena *a, const struct corev1_Container *c, const char *ip, const struct corev1_Probe *p) {
    _cleanup_status_ struct status err = STATUS_INIT;
    int port;
    if (container_port_find(c, &p->tcpSocket->port, &port, &err) != 0) return (struct outcome){PROBE_UNKNOWN, false, arena_strdup(a, status_message(&err))};
    const char *host = str_or(p->tcpSocket->host, ip), *service = arena_printf(a, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, service, &hints, &found) != 0) return (struct outcome){PROBE_FAILURE, false, arena_printf(a, "dial tcp: lookup %s: no such host", host)};
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), e = 0;
    if (fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)) e = errno;
    freeaddrinfo(found);
    if (!e) {
        struct pollfd pfd = {fd, POLLOUT, 0};
        socklen_t len = sizeof(e);
        if (poll(&pfd, 1, MAX(p->timeoutSeconds, 1) * 1000) <= 0) e = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0) e = errno;
    }
    if (fd >= 0) close(fd);
    if (!e) return (struct outcome){PROBE_SUCCESS, false, ""};
    char *why = arena_strdup(a, e == ETIMEDOUT ? "i/o timeout" : strerror(e));
    if (e == ETIMEDOUT) return (struct outcome){PROBE_FAILURE, false, arena_printf(a, "dial tcp %s:%d: i/o timeout", host, port)};
    why[0] = (char)(why[0] | 0x20); /* Go's texts begin in lower case */
    return (struct outcome){PROBE_FAILURE, false, arena_printf(a, "dial tcp %s:%d: connect: %s", host, port, why)};
}

struct tcp_target { const char *ip; int port; };
static ssize_t plain_send(struct grpc_transport *t, const void *data, size_t len) { return send(t->fd, data, len, MSG_NOSIGNAL); }
static ssize_t plain_recv(struct grpc_transport *t, void *data, size_t len) { return recv(t->fd, data, len, 0); }
static void plain_close(struct grpc_transport *t) {
    close(t->fd);
    free(t);
}

static struct grpc_transport *tcp_dial(void *ctx, struct status *reterr) {
    const struct tcp_target *to = ctx;
    char service[16];
    snprintf(service, sizeof(service), "%d", to->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found = NULL;
    int fd = getaddrinfo(to->ip, service, &hints, &found) == 0 ? socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool ok = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    if (found) freeaddrinfo(found);
    if (!ok) {
        if (fd >= 0) close(fd);
        status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "timeout: failed to connect service \"%s:%d\" within 1s: context deadline exceeded", to->ip, to->port);
        return NULL;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct grpc_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    *t = (struct grpc_transport){fd, plain_send, plain_recv, plain_close};
    return t;
}

/* grpc.health.v1.Health/Check: one string in, one enum out. */
static struct outcome probe_grpc(struct arena *a, const char *ip, const struct corev1_Probe *p) {
    struct tcp_target to = {ip, p->grpc->port};
    struct grpc_client *client = grpc_client_new_with(tcp_dial, &to, arena_printf(a, "%s:%d", ip, p->grpc->port));
    _cleanup_buf_ struct buf request = BUF_INIT, answer = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    size_t len = strlen(str_or(p->grpc->service, ""));
    if (len && len < 128) {
        buf_append_char(&request, 0x0a);
        buf_append_char(&request, (char)len);
        buf_append_str(&request, p->grpc->service);
    }
    int r = grpc_call(client, "/grpc.health.v1.Health/Check", request.data, request.len, MAX(p->timeoutSeconds, 1) * 1000, NULL, &answer, &err);
    grpc_client_free(client);
    if (r != 0) return (struct outcome){PROBE_FAILURE, false, arena_strdup(a, status_message(&err))};
    int serving = answer.len >= 2 && answer.data[0] == 0x08 ? answer.data[1] : 0;
    static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    if (serving == 1) return (struct outcome){PROBE_SUCCESS, false, ""};
    return (struct outcome){PROBE_FAILURE, false, arena_printf(a, "service unhealthy (responded with \"%s\")", names[serving & 3])};
}

static struct outcome probe_once(struct probe_worker *w, struct arena *a, const char *id, const char *ip) {
    const struct corev1_Probe *p = w->spec;
    if (p->exec) return probe_exec(w->b->k, a, id, p);
    if (p->httpGet) return probe_http(w->b->k, a, w->container, ip, p);
    if (p->tcpSocket) return probe_tcp(a, w->container, ip, p);
    if (p->grpc) return probe_grpc(a, ip, p);
    return (struct outcome){PROBE_SUCCESS, true, "no probe"};
}

/* ---- a probe's thread ---- */

static void result_key(char out[200], const char *id, enum probe_kind kind) { snprintf(out, 200, "%s/%d", id, kind); }

static void result_set(struct prober *b, enum probe_kind kind, const char *id, enum probe_result r) {
    char key[200];
    result_key(key, id, kind);
    pthread_mutex_lock(&b->mutex);
    map_put(b->results, key, (void *)(uintptr_t)r);
    pthread_mutex_unlock(&b->mutex);
}

enum probe_result prober_result(struct prober *b, enum probe_kind kind, const char *container_id) {
    char key[200];
    if (!b) return PROBE_UNKNOWN;
    result_key(key, container_id, kind);
    pthread_mutex_lock(&b->mutex);
    enum probe_result r = (enum probe_result)(uintptr_t)map_get(b->results, key);
    pthread_mutex_unlock(&b->mutex);
    return r;
}

/* The container as last reported; false when it does not run. */
static bool running_container(struct probe_worker *w, struct arena *a, const char **ret_id, const char **ret_ip, int64_t *ret_started_s) {
    struct corev1_PodStatus st;
    if (!status_manager_get(w->b->k->statuses, a, w->pod->obj->metadata.uid, &st)) return false;
    for (int pass = 0; pass < 2; pass++) {
        const struct corev1_ContainerStatus_list *l = pass ? &st.initContainerStatuses : &st.containerStatuses;
        LIST_FOREACH(c, l) {
            if (!str_eq(c->name, w->container->name) || !c->state.running || str_empty(c->containerID)) continue;
            *ret_id = c->containerID + strlen("containerd://");
            *ret_ip = str_or(st.podIP, w->b->k->o.node_ip);
            *ret_started_s = c->state.running->startedAt.sec;
            return true;
        }
    }
    return false;
}

static bool wait_ms(struct probe_worker *w, int64_t ms) {
    struct prober *b = w->b;
    int64_t deadline = env_mono_ns(b->k->env) + ms * 1000000;
    pthread_mutex_lock(&b->mutex);
    while (!w->stop && !b->stopping)
        if (!env_cond_wait(b->k->env, &w->cond, &b->mutex, deadline)) break;
    bool go_on = !w->stop && !b->stopping;
    pthread_mutex_unlock(&b->mutex);
    return go_on;
}

static void probe_step(struct probe_worker *w, struct probe_counter *counter, char last_id[128], bool *on_hold) {
    struct kubelet *k = w->b->k;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *id = NULL, *ip = NULL;
    int64_t started = 0;
    if (!running_container(w, a, &id, &ip, &started)) return;
    if (!str_eq(id, last_id)) { /* a new instance begins anew: alive, not ready, not started */
        snprintf(last_id, 128, "%s", id);
        *counter = (struct probe_counter){PROBE_UNKNOWN, w->kind == PROBE_LIVENESS ? PROBE_SUCCESS : w->kind == PROBE_READINESS ? PROBE_FAILURE : PROBE_UNKNOWN, 0};
        result_set(w->b, w->kind, id, counter->settled);
        *on_hold = false;
    }
    if (*on_hold) return;
    if (env_now_s(k->env) - started < w->spec->initialDelaySeconds) return;
    bool started_up = !w->container->startupProbe || prober_result(w->b, PROBE_STARTUP, id) == PROBE_SUCCESS;
    if (w->kind != PROBE_STARTUP && !started_up) return;
    if (w->kind == PROBE_STARTUP && started_up) return;
    struct outcome out = {PROBE_UNKNOWN, false, ""};
    for (int i = 0; i < PROBE_TRIES && out.result == PROBE_UNKNOWN; i++) out = probe_once(w, a, id, ip);
    if (out.result == PROBE_UNKNOWN) {
        event_pod(k, w->pod->obj, w->container->name, EVENT_WARNING, "Unhealthy", "%s probe errored and resulted in unknown state: %s", kind_names[w->kind], out.text);
        return;
    }
    if (out.result == PROBE_FAILURE) event_pod(k, w->pod->obj, w->container->name, EVENT_WARNING, "Unhealthy", "%s probe failed: %s", kind_names[w->kind], out.text);
    else if (out.warning) event_pod(k, w->pod->obj, w->container->name, EVENT_WARNING, "ProbeWarning", "%s probe warning: %s", kind_names[w->kind], out.text);
    if (!probe_counter_feed(counter, out.result, w->spec->successThreshold, w->spec->failureThreshold ? w->spec->failureThreshold : 3)) return;
    result_set(w->b, w->kind, id, counter->settled);
    *on_hold = counter->settled == PROBE_FAILURE && w->kind != PROBE_READINESS; /* it will be restarted: no more until then */
    pod_workers_wake(k->workers, w->pod->obj->metadata.uid);
}

static void worker_key(char out[500], const char *uid, const char *container, enum probe_kind kind) { snprintf(out, 500, "%s/%s/%d", uid, container, kind); }

static void *probe_thread(void *arg) {
    struct probe_worker *w = arg;
    struct prober *b = w->b;
    struct probe_counter counter = {0};
    char last_id[128] = "", key[500];
    bool on_hold = false;
    int64_t period_ms = MAX(w->spec->periodSeconds ? w->spec->periodSeconds : 10, 1) * 1000;
    /* Until its first outcome it is tried each second, so that the first probe is not late. */
    while (wait_ms(w, counter.last == PROBE_UNKNOWN ? 500 : period_ms)) probe_step(w, &counter, last_id, &on_hold);
    worker_key(key, w->pod->obj->metadata.uid, w->container->name, w->kind);
    pthread_mutex_lock(&b->mutex);
    map_del(b->workers, key);
    if (last_id[0]) {
        result_key(key, last_id, w->kind);
        map_del(b->results, key);
    }
    pthread_cond_broadcast(&b->ended);
    pthread_mutex_unlock(&b->mutex);
    pod_unref(w->pod);
    pthread_cond_destroy(&w->cond);
    free(w);
    return NULL;
}

/* ---- the set ---- */

static void worker_start(struct prober *b, struct pod *p, const struct corev1_Container *c, enum probe_kind kind, const struct corev1_Probe *spec) {
    char key[500];
    worker_key(key, p->obj->metadata.uid, c->name, kind);
    if (!spec || b->stopping || map_has(b->workers, key)) return;
    struct probe_worker *w = calloc(1, sizeof(*w));
    CHECK(w);
    *w = (struct probe_worker){.b = b, .pod = pod_ref(p), .container = c, .spec = spec, .kind = kind};
    env_cond_init(&w->cond);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    map_put(b->workers, key, w);
    CHECK(pthread_create(&thread, &attr, probe_thread, w) == 0);
    pthread_attr_destroy(&attr);
}

void prober_pod_set(struct prober *b, struct pod *p) {
    pthread_mutex_lock(&b->mutex);
    for (int pass = 0; pass < 2; pass++) {
        const struct corev1_Container_list *l = pass ? &p->obj->spec.initContainers : &p->obj->spec.containers;
        LIST_FOREACH(c, l) {
            if (pass && !pod_container_is_sidecar(c)) continue;
            worker_start(b, p, c, PROBE_STARTUP, c->startupProbe);
            worker_start(b, p, c, PROBE_LIVENESS, c->livenessProbe);
            worker_start(b, p, c, PROBE_READINESS, c->readinessProbe);
        }
    }
    pthread_mutex_unlock(&b->mutex);
}

static void stop_workers(struct prober *b, const char *uid, bool readiness_too) {
    void *value;
    pthread_mutex_lock(&b->mutex);
    for (size_t i = 0; map_next(b->workers, &i, NULL, &value);) {
        struct probe_worker *w = value;
        if (!str_eq(w->pod->obj->metadata.uid, uid) || (w->kind == PROBE_READINESS && !readiness_too)) continue;
        w->stop = true;
        pthread_cond_signal(&w->cond);
    }
    pthread_mutex_unlock(&b->mutex);
}

void prober_pod_stop_liveness(struct prober *b, const char *uid) { stop_workers(b, uid, false); }
void prober_pod_remove(struct prober *b, const char *uid) { stop_workers(b, uid, true); }

struct prober *prober_new(struct kubelet *k) {
    struct prober *b = calloc(1, sizeof(*b));
    CHECK(b);
    b->k = k;
    b->workers = map_new();
    b->results = map_new();
    pthread_mutex_init(&b->mutex, NULL);
    env_cond_init(&b->ended);
    return b;
}

void prober_free(struct prober *b) {
    void *value;
    pthread_mutex_lock(&b->mutex);
    b->stopping = true;
    for (size_t i = 0; map_next(b->workers, &i, NULL, &value);) pthread_cond_signal(&((struct probe_worker *)value)->cond);
    while (map_len(b->workers)) env_cond_wait(b->k->env, &b->ended, &b->mutex, -1);
    pthread_mutex_unlock(&b->mutex);
    map_free(b->workers);
    map_free(b->results);
    pthread_cond_destroy(&b->ended);
    pthread_mutex_destroy(&b->mutex);
    free(b);
}
