/* See aggregation.h. The other server learns from X-Remote-* headers who asks, and believes them by our front proxy certificate.
 *
 * An Available condition of False (aggregated_availability.h) does not keep requests away: a Service that cannot be had answers for itself. Discovery: aggregated_discovery.h. Tests: tests/integration/test_aggregation.py. */
#include "apiserver/aggregation.h"
#include <string.h>
#include <strings.h>
#include "apiserver/apiserver.h"
#include "apiserver/flowcontrol/flow_control.h"
#include "apiserver/registry.h"
#include "apiserver/service_client.h"
#include "base/str.h"
#include "wire/upstream_proxy.h"

enum { HTTPS_PORT = 443, GET_TIMEOUT_MS = 2000, DOCUMENT_BYTES_MAX = 16 << 20 };
struct headers { struct http_header *items; size_t len; };

/* A key as it may stand in a header's name. */
static const char *escape_key(struct arena *a, const char *key) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (const char *p = key; *p; p++) {
        if (((*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || strchr("!#$&'*+-.^_`|~", *p))) buf_printf(&out, "%c", *p);
        else buf_printf(&out, "%%%02X", (unsigned char)*p);
    }
    return arena_strndup(a, buf_cstr(&out), out.len);
}

static void add(struct api_request *r, struct headers *to, const char *name, const char *value) { *LIST_PUSH(r->arena, to) = (struct http_header){name, value}; }

static struct headers identity(struct api_request *r) {
    struct headers list = {0};
    for (size_t i = 0; i < r->http->headers_len; i++) /* what the client says of itself is not passed on */
        if (strncasecmp(r->http->headers[i].name, "X-Remote-", strlen("X-Remote-")) == 0) add(r, &list, r->http->headers[i].name, NULL);
    add(r, &list, "X-Remote-User", r->user.name);
    if (!str_empty(r->user.uid)) add(r, &list, "X-Remote-Uid", r->user.uid);
    for (size_t i = 0; i < r->user.groups.len; i++) add(r, &list, "X-Remote-Group", r->user.groups.items[i]);
    LIST_FOREACH(e, &r->user.extra)
        for (size_t i = 0; i < e->value.len; i++) add(r, &list, arena_printf(r->arena, "X-Remote-Extra-%s", escape_key(r->arena, e->key)), e->value.items[i]);
    return list;
}

static const struct apiregistrationv1_APIService *service_of_path(struct api_request *r) {
    static const char prefix[] = "/apis/";
    if (!str_has_prefix(r->http->path, prefix)) return NULL;
    const char *group = r->http->path + strlen(prefix);
    size_t group_len = strcspn(group, "/"), version_len = group[group_len] ? strcspn(group + group_len + 1, "/") : 0;
    void *obj;
    if (!group_len || !version_len) return NULL;
    const char *name = arena_printf(r->arena, "%.*s.%.*s", (int)version_len, group + group_len + 1, (int)group_len, group);
    if (registry_get(r, strategy_find("apiregistration.k8s.io", "apiservices"), NULL, name, &obj, NULL, NULL) != 0) return NULL;
    const struct apiregistrationv1_APIService *service = obj;
    return service->spec.service ? service : NULL;
}

static struct upstream_tls *tls_to(struct api_request *r, const struct apiregistrationv1_APIServiceSpec *spec, const struct service_target *to, struct status *reterr) {
    const struct apiserver_options *o = apiserver_options(r->server);
    const struct bytes *ca = &spec->caBundle;
    const struct upstream_tls_options options = {.ca_pem = ca->len ? arena_strndup(r->arena, (const char *)ca->data, ca->len) : NULL, .server_name = to->server_name,
                                                 .insecure = spec->insecureSkipTLSVerify, .cert_file = o->proxy_client_cert_file, .key_file = o->proxy_client_key_file};
    return upstream_tls_new(&options, reterr);
}

static int pass_on(struct api_request *r, const struct apiregistrationv1_APIServiceSpec *spec, const struct service_target *to, struct status *reterr) {
    struct upstream_tls *tls = tls_to(r, spec, to, reterr);
    if (!tls) return -1;
    const struct headers headers = identity(r);
    const struct proxy_target target = {.host = to->host, .port = to->port, .tls = tls, .host_header = to->server_name, .headers = headers.items, .headers_len = headers.len,
                                        .target = str_empty(r->http->query) ? r->http->path : arena_printf(r->arena, "%s?%s", r->http->path, r->http->query)};
    int failed = proxy_request(r->http, &target, reterr);
    upstream_tls_unref(tls);
    return failed;
}

static int resolve(struct api_request *r, const struct apiregistrationv1_APIService *service, struct service_target *ret, struct status *reterr) {
    const struct apiregistrationv1_ServiceReference *ref = service->spec.service;
    return service_resolve(r, ref->namespace, ref->name, ref->port.has ? ref->port.value : HTTPS_PORT, ret, reterr);
}

void aggregated_pass_on(struct api_request *r, const struct apiregistrationv1_APIService *service) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct service_target to;
    if (resolve(r, service, &to, &err) != 0) respond_text(r, 503, "text/plain; charset=utf-8", "service unavailable\n");
    else if (pass_on(r, &service->spec, &to, &err) != 0) respond_text(r, 503, "text/plain; charset=utf-8", arena_printf(r->arena, "error trying to reach service: %s\n", status_message(&err)));
}

bool handle_aggregated(struct api_request *r) {
    const struct apiregistrationv1_APIService *service = service_of_path(r);
    if (!service) return false;
    if (str_eq(r->verb, "watch")) flow_end(r); /* when it has begun only the other server knows */
    aggregated_pass_on(r, service);
    return true;
}

/* A GET in our own name, accept NULL: of any type; the answer whatever its code. */
static int get(struct api_request *r, const struct apiregistrationv1_APIService *service, const struct service_target *at, const char *target, const char *accept, int timeout_ms, struct upstream_response *ret,
               struct buf *body, struct status *reterr) {
    struct service_target to = *at;
    const struct http_header headers[] = {{"Host", to.server_name}, {"User-Agent", "kube-apiserver"}, {"X-Remote-User", "system:kube-aggregator"}, {"X-Remote-Group", "system:masters"}, {"Accept", accept}};
    const struct upstream_request request = {.method = "GET", .target = target, .headers = headers, .headers_len = ARRAY_LEN(headers) - !accept};
    struct upstream_tls *tls = tls_to(r, &service->spec, &to, reterr);
    struct upstream *u = tls ? upstream_connect(to.host, to.port, tls, timeout_ms, reterr) : NULL;
    int failed = !u || upstream_request(u, &request, timeout_ms, r->arena, ret, reterr) != 0 || upstream_read_all(u, body, DOCUMENT_BYTES_MAX, timeout_ms, reterr) != 0;
    upstream_free(u);
    upstream_tls_unref(tls);
    return failed ? -1 : 0;
}

int aggregated_get(struct api_request *r, const struct apiregistrationv1_APIService *service, const char *target, const char *accept, struct buf *ret, const char **ret_type, struct status *reterr) {
    struct service_target to;
    struct upstream_response response = {0};
    if (resolve(r, service, &to, reterr) != 0 || get(r, service, &to, target, accept, GET_TIMEOUT_MS, &response, ret, reterr) != 0) return -1;
    *ret_type = http_headers_get(response.headers, response.headers_len, "Content-Type");
    return response.code == 200 ? 0 : status_set(reterr, response.code, REASON_INTERNAL_ERROR, "%s answered with %d", to.server_name, response.code);
}

int aggregated_probe(struct api_request *r, const struct apiregistrationv1_APIService *service, int timeout_ms, struct status *reterr) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct service_target to;
    struct upstream_response response = {0};
    const struct apiregistrationv1_APIServiceSpec *spec = &service->spec;
    if (resolve(r, service, &to, reterr) != 0) return -1;
    const char *path = str_empty(spec->group) ? arena_printf(r->arena, "/api/%s", spec->version) : arena_printf(r->arena, "/apis/%s/%s", spec->group, spec->version);
    const char *url = arena_printf(r->arena, strchr(to.host, ':') ? "https://[%s]:%d%s" : "https://%s:%d%s", to.host, to.port, path);
    if (get(r, service, &to, path, NULL, timeout_ms, &response, &body, &err) != 0)
        return status_set(reterr, err.code, err.reason, "failing or missing response from %s: Get \"%s\": %s", url, url, status_message(&err));
    if (response.code >= 200 && response.code < 300) return 0;
    return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "failing or missing response from %s: bad status from %s: %d", url, url, response.code);
}
