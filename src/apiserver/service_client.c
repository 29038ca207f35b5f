#include "apiserver/service_client.h"
#include <string.h>
#include "api/field_error.h"
#include "apiserver/registry.h"
#include "base/env.h"
#include "base/str.h"

enum { BODY_MAX = 16 << 20 };

int service_resolve(struct api_request *r, const char *namespace, const char *name, int port, struct service_target *ret, struct status *reterr) {
    void *obj;
    if (registry_get(r, strategy_find("", "services"), namespace, name, &obj, NULL, reterr) != 0) return -1;
    const struct corev1_Service *service = obj;
    const struct corev1_ServicePort *found = NULL;
    LIST_FOREACH(p, &service->spec.ports)
        if (!found && p->port == port) found = p;
    if (!found) return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "no service port %d found for service \"%s\"", port, name);
    *ret = (struct service_target){.server_name = arena_printf(r->arena, "%s.%s.svc", name, namespace), .path = "/"};
    if (str_eq(service->spec.type, "ExternalName")) {
        ret->host = service->spec.externalName;
        ret->port = port;
        return 0;
    }
    if (registry_get(r, strategy_find("", "endpoints"), namespace, name, &obj, NULL, NULL) != 0) return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "no endpoints available for service \"%s\"", name);
    const struct corev1_Endpoints *endpoints = obj;
    size_t n = endpoints->subsets.len, from = n ? (size_t)env_random_below(env_real(), n) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct corev1_EndpointSubset *s = &endpoints->subsets.items[(from + i) % n];
        LIST_FOREACH(p, &s->ports) {
            if (!str_eq(p->name, found->name) || !s->addresses.len) continue;
            ret->host = s->addresses.items[env_random_below(env_real(), s->addresses.len)].ip;
            ret->port = p->port;
            return 0;
        }
    }
    return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "no endpoints available for service \"%s\"", name);
}

int service_of_url(struct api_request *r, const char *url, struct service_target *ret, struct status *reterr) {
    const char *host = url + strlen("https://");
    if (!str_has_prefix(url, "https://")) return status_bad_request(reterr, "unsupported URL %s", url);
    size_t len = strcspn(host, "/?");
    const char *authority = arena_strndup(r->arena, host, len), *colon = strrchr(authority, ':'), *bracket = strchr(authority, ']');
    uint64_t port = 443;
    if (colon && bracket && colon < bracket) colon = NULL;
    if (colon && (!str_to_u64(colon + 1, &port) || port == 0 || port > 65535)) return status_bad_request(reterr, "invalid port in URL %s", url);
    const char *name = colon ? arena_strndup(r->arena, authority, (size_t)(colon - authority)) : authority;
    if (*name == '[') name = arena_strndup(r->arena, name + 1, strcspn(name + 1, "]"));
    *ret = (struct service_target){name, name, host[len] ? host + len : "/", (int)port};
    return 0;
}

static int ask(struct api_request *r, struct upstream *u, const struct service_target *t, const char *query, const struct buf *body, int timeout_ms, struct buf *ret, struct status *reterr) {
    const struct http_header headers[] = {{"Content-Type", "application/json"}, {"Accept", "application/json"}, {"User-Agent", "kube-apiserver-admission"}, {"Host", t->server_name}};
    const struct upstream_request request = {.method = "POST", .target = arena_printf(r->arena, "%s%s%s", t->path, strchr(t->path, '?') ? "&" : "?", query), .headers = headers, .headers_len = ARRAY_LEN(headers), .body = body->data, .body_len = body->len};
    struct upstream_response response;
    if (upstream_request(u, &request, timeout_ms, r->arena, &response, reterr) != 0 || upstream_read_all(u, ret, BODY_MAX, timeout_ms, reterr) != 0) return -1;
    if (response.code == 200) return 0;
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "an error on the server (%s) has prevented the request from succeeding", go_quote(r->arena, buf_cstr(ret)));
}

int service_post(struct api_request *r, const struct service_target *t, const struct bytes *ca_bundle, const char *query, const struct buf *body, int timeout_ms, struct buf *ret, struct status *reterr) {
    const struct upstream_tls_options options = {.ca_pem = ca_bundle->len ? arena_strndup(r->arena, (const char *)ca_bundle->data, ca_bundle->len) : NULL, .server_name = t->server_name};
    struct upstream_tls *tls = upstream_tls_new(&options, reterr);
    struct upstream *u = tls ? upstream_connect(t->host, t->port, tls, timeout_ms, reterr) : NULL;
    int failed = !u || ask(r, u, t, query, body, timeout_ms, ret, reterr) != 0;
    upstream_free(u);
    upstream_tls_unref(tls);
    return failed ? -1 : 0;
}
