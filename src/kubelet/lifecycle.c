/* postStart and preStop hooks. Upstream: pkg/kubelet/lifecycle/handlers.go. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/str.h"
#include "wire/http_client.h"

int container_port_find(const struct corev1_Container *c, const struct int_or_string *port, int *ret, struct status *reterr) {
    int64_t v = 0;
    if (port->kind == INTSTR_INT) v = port->i;
    else if (!str_to_i64(port->s, &v)) {
        LIST_FOREACH(p, &c->ports) if (str_eq(p->name, port->s)) v = p->containerPort;
        if (v == 0) return status_bad_request(reterr, "couldn't find port: \"%s\" in pod's container %s", str_or(port->s, ""), c->name);
    }
    if (v <= 0 || v > 65535) return status_bad_request(reterr, "invalid port number: %lld", (long long)v);
    *ret = (int)v;
    return 0;
}

static int run_http(struct kubelet *k, const struct corev1_Pod *p, const struct corev1_Container *c, const struct corev1_HTTPGetAction *h, int64_t timeout_s,
                    struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_PodStatus st = {0};
    const char *host = h->host;
    if (str_empty(host)) {
        /* The status manager may not know the address yet when a postStart hook runs: ask the runtime. */
        struct rt_status rt;
        if (p->spec.hostNetwork) host = k->o.node_ip;
        else if (runtime_pod_status(k, a, p->metadata.uid, &rt, reterr) != 0) return -1;
        else if (rt.sandboxes.len && rt.sandboxes.items[0].ips.len) host = rt.sandboxes.items[0].ips.items[0];
    }
    (void)st;
    int port;
    if (str_empty(host)) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "failed to find networking container");
    if (container_port_find(c, &h->port, &port, reterr) != 0) return -1;
    struct http_client_options o = {.host = host, .port = port, .tls = str_eq(h->scheme, "HTTPS"), .insecure = true, .no_keep_alive = true, .user_agent = "kube-lifecycle/1.36"};
    struct http_client *client = http_client_new(&o, reterr);
    if (!client) return -1;
    struct http_header *headers = arena_calloc(a, h->httpHeaders.len + 1, sizeof(*headers));
    for (size_t i = 0; i < h->httpHeaders.len; i++) headers[i] = (struct http_header){h->httpHeaders.items[i].name, str_or(h->httpHeaders.items[i].value, "")};
    const char *path = str_or(h->path, "/");
    struct http_call call = {.target = path[0] == '/' ? path : arena_printf(a, "/%s", path), .headers = headers, .headers_len = h->httpHeaders.len,
        .timeout_ms = (int)MIN(timeout_s * 1000, 60000), .body_bytes_max = 10240, .truncate = true};
    struct http_reply *reply = NULL;
    int result = http_client_call(client, &call, &reply, reterr);
    if (result == 0 && reply->code >= 400) result = status_set(reterr, 500, REASON_INTERNAL_ERROR, "HTTP probe failed with statuscode: %d", reply->code);
    http_reply_free(reply);
    http_client_free(client);
    return result;
}

int lifecycle_run(struct kubelet *k, const struct corev1_Pod *p, const struct corev1_Container *c, const char *id, const struct corev1_LifecycleHandler *h,
                  int64_t timeout_s, struct status *reterr) {
    if (h->exec) {
        _cleanup_arena_ struct arena *a = arena_new();
        Runtime__V1__ExecSyncResponse *out;
        if (cri_exec_sync(k->cri, a, id, &h->exec->command, (int)MIN(timeout_s, INT32_MAX), &out, reterr) != 0) return -1;
        if (out->exit_code != 0)
            return status_set(reterr, 500, REASON_INTERNAL_ERROR, "command exited with %d: %.*s%.*s", out->exit_code, (int)MIN(out->stdout.len, 1024), (const char *)out->stdout.data,
                                   (int)MIN(out->stderr.len, 1024), (const char *)out->stderr.data);
        return 0;
    }
    if (h->httpGet) return run_http(k, p, c, h->httpGet, timeout_s, reterr);
    if (h->sleep) {
        for (int64_t left = MIN(h->sleep->seconds, timeout_s); left > 0; left--)
            if (kubelet_sleep_ms(k, 1000)) break;
        return 0;
    }
    return status_bad_request(reterr, "invalid handler");
}
