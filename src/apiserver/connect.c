/* log, exec, attach, portforward and proxy: finding where a request leads and passing it on. See connect.h. */
#include "apiserver/admission.h"
#include "apiserver/connect.h"
#include <arpa/inet.h>
#include <string.h>
#include "api/field_error.h"
#include "api/time.h"
#include "apiserver/apiserver.h"
#include "apiserver/authorization.h"
#include "apiserver/registry.h"
#include "apiserver/stream_translate.h"
#include "base/env.h"
#include "base/str.h"
#include "wire/upstream_proxy.h"

enum { KUBELET_PORT = 10250, ERROR_BYTES_MAX = 50000, BACKLOG_BYTES_MAX = 256 << 10, CONNECT_MS = 30000 };

/* ---- options of the query ---- */

static const char *option(const struct api_request *r, const char *key) { return str_or(url_query_get(&r->query, key), ""); }

/* As upstream converts a parameter to a bool: there, and neither 0 nor false. */
static bool option_bool(const struct api_request *r, const char *key) {
    const char *v = url_query_get(&r->query, key);
    return v && !str_eq(v, "0") && !str_eq_nocase(v, "false");
}

static void add_param(struct api_request *r, struct buf *query, const char *key, const char *value) {
    buf_printf(query, "%s%s=%s", query->len ? "&" : "", key, url_escape_query(r->arena, value));
}

/* ---- Pods and their nodes ---- */

static struct corev1_Pod *get_pod(struct api_request *r, const char *name, struct status *reterr) {
    void *pod;
    return registry_get(r, strategy_find("", "pods"), r->namespace, name, &pod, NULL, reterr) == 0 ? pod : NULL;
}

static struct string_list container_names(struct api_request *r, const struct corev1_Pod *pod) {
    struct string_list names = {0};
    LIST_FOREACH(c, &pod->spec.initContainers) string_list_push(r->arena, &names, c->name);
    LIST_FOREACH(c, &pod->spec.containers) string_list_push(r->arena, &names, c->name);
    LIST_FOREACH(c, &pod->spec.ephemeralContainers) string_list_push(r->arena, &names, c->name);
    return names;
}

/* The container asked for, or the only one. */
static const char *pick_container(struct api_request *r, const struct corev1_Pod *pod, struct status *reterr) {
    const char *asked = option(r, "container");
    struct string_list names = container_names(r, pod);
    if (*asked) {
        if (string_list_has(&names, asked)) return asked;
        status_bad_request(reterr, "container %s is not valid for pod %s", asked, pod->metadata.name);
        return NULL;
    }
    if (pod->spec.containers.len == 1) return pod->spec.containers.items[0].name;
    _cleanup_buf_ struct buf list = BUF_INIT;
    LIST_FOREACH(n, &names) buf_printf(&list, "%s%s", list.len ? " " : "", *n);
    if (pod->spec.containers.len == 0) status_bad_request(reterr, "a container name must be specified for pod %s", pod->metadata.name);
    else status_bad_request(reterr, "a container name must be specified for pod %s, choose one of: [%s]", pod->metadata.name, buf_cstr(&list));
    return NULL;
}

/* The node's kubelet: the address other components reach it at first, then its name. */
static int locate_kubelet(struct api_request *r, const char *node_name, struct proxy_target *ret, struct status *reterr) {
    static const char *const preferred[] = {"InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname", NULL};
    void *obj;
    if (registry_get(r, strategy_find("", "nodes"), NULL, node_name, &obj, NULL, reterr) != 0) return -1;
    const struct corev1_Node *node = obj;
    const char *host = NULL;
    for (size_t i = 0; preferred[i] && !host; i++)
        LIST_FOREACH(a, &node->status.addresses)
            if (!host && str_eq(a->type, preferred[i])) host = a->address;
    if (!host) return status_internal(reterr, "no preferred addresses found; known addresses: []");
    int port = node->status.daemonEndpoints.kubeletEndpoint.Port;
    *ret = (struct proxy_target){.host = host, .port = port ? port : KUBELET_PORT, .tls = apiserver_kubelet_tls(r->server)};
    return 0;
}

/* ---- log ---- */

/* What the query's parameters cannot be read as. */
static int check_parameters(struct api_request *r, struct status *reterr) {
    static const char *const numbers[] = {"sinceSeconds", "tailLines", "limitBytes", NULL};
    const char *since = url_query_get(&r->query, "sinceTime");
    struct api_time t;
    int64_t n;
    if (!str_empty(since) && !str_eq(since, "null") && time_parse(since, &t, NULL) != 0) return status_bad_request(reterr, "parsing time \"%s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"%s\" as \"2006\"", since, since);
    for (size_t i = 0; numbers[i]; i++) {
        const char *text = url_query_get(&r->query, numbers[i]);
        if (text && !str_to_i64(text, &n)) return status_bad_request(reterr, "strconv.ParseInt: parsing \"%s\": invalid syntax", text);
    }
    return 0;
}

static void number_option(struct api_request *r, const char *name, int64_t least, struct field_errors *errs) {
    const char *text = url_query_get(&r->query, name);
    int64_t n;
    if (!text || !str_to_i64(text, &n) || n >= least) return;
    field_invalid_int(errs, FIELD(NULL, name), n, least ? "must be greater than 0" : "must be greater than or equal to 0");
}

static int log_options(struct api_request *r, struct status *reterr) {
    struct field_errors errs = field_errors_in(r->arena);
    if (check_parameters(r, reterr) != 0) return -1;
    number_option(r, "tailLines", 0, &errs);
    number_option(r, "limitBytes", 1, &errs);
    if (url_query_has(&r->query, "sinceSeconds") && url_query_has(&r->query, "sinceTime")) field_forbidden(&errs, FIELD(NULL, "[]"), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    else number_option(r, "sinceSeconds", 1, &errs);
    if (url_query_has(&r->query, "stream")) field_forbidden(&errs, FIELD(NULL, "stream"), "may not be specified"); /* the gate of choosing one is off by default */
    return errs.len ? field_errors_status(&errs, "", "PodLogOptions", r->name, reterr) : 0;
}

static const char *log_query(struct api_request *r) {
    static const char *const bools[] = {"follow", "previous", "timestamps", NULL}, *const values[] = {"sinceSeconds", "sinceTime", "tailLines", "limitBytes", NULL};
    struct buf q = BUF_INIT;
    for (size_t i = 0; bools[i]; i++)
        if (option_bool(r, bools[i])) add_param(r, &q, bools[i], "true");
    for (size_t i = 0; values[i]; i++)
        if (*option(r, values[i])) add_param(r, &q, values[i], option(r, values[i]));
    const char *text = arena_strdup(r->arena, buf_cstr(&q));
    buf_release(&q);
    return text;
}

/* The kubelet's complaint as upstream's GenericHttpResponseChecker words it. */
static int log_refused(struct api_request *r, int code, const char *text, struct status *reterr) {
    if (code == 400) return status_bad_request(reterr, "%s", text);
    if (code == 500) return status_internal(reterr, "%s", text);
    if (code == 404) status_set(reterr, 404, REASON_NOT_FOUND, "the server could not find the requested resource ( pods/log %s)", r->name);
    else status_set(reterr, code, code == 403 ? REASON_FORBIDDEN : code == 401 ? REASON_UNAUTHORIZED : REASON_INTERNAL_ERROR, "an error on the server (\"%s\") has prevented the request from succeeding ( pods/log %s)", text, r->name);
    status_details(reterr, "", "pods/log", r->name);
    status_add_cause(reterr, "UnexpectedServerResponse", NULL, "%s", text);
    return -1;
}

static void client_gone(void *arg) { upstream_abort(arg); }

/* Passes the answer on piece by piece: a log that is followed must come as it is written. */
static void log_stream(struct api_request *r, struct upstream *u, const struct upstream_response *answer) {
    _cleanup_buf_ struct buf piece = BUF_INIT;
    size_t headers_len;
    struct http_header *headers = response_headers(r, str_or(http_headers_get(answer->headers, answer->headers_len, "Content-Type"), "text/plain"), &headers_len);
    http_response_begin(r->http, 200, headers, headers_len);
    int more;
    while (http_response_wait(r->http, BACKLOG_BYTES_MAX) == 0 && (more = upstream_read(u, &piece, 0, NULL)) != 0) {
        if (more < 0) break; /* upstream ends the answer here, too: what there was of the log has been shown */
        http_response_write(r->http, piece.data, piece.len);
        buf_clear(&piece);
    }
    if (!http_request_closed(r->http)) http_response_end(r->http);
}

static int log_ask(struct api_request *r, const struct proxy_target *t, struct status *reterr) {
    struct upstream *u = upstream_connect(t->host, t->port, t->tls, CONNECT_MS, reterr);
    if (!u) {
        _cleanup_free_ char *why = strdup(status_message(reterr));
        return status_internal(reterr, "Get \"https://%s:%d%s\": %s", t->host, t->port, t->target, why);
    }
    struct upstream_response answer;
    struct upstream_request ask = {.method = "GET", .target = t->target};
    if (http_request_closed(r->http)) upstream_abort(u);
    else http_request_on_close(r->http, client_gone, u);
    int failed = upstream_request(u, &ask, 0, r->arena, &answer, reterr);
    if (!failed && answer.code >= 200 && answer.code <= 206) log_stream(r, u, &answer);
    else if (!failed) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        upstream_read_all(u, &text, ERROR_BYTES_MAX, 0, NULL);
        failed = log_refused(r, answer.code, buf_cstr(&text), reterr);
    }
    http_request_on_close(r->http, NULL, NULL);
    upstream_free(u);
    return failed;
}

static int handle_log(struct api_request *r, struct status *reterr) {
    if (log_options(r, reterr) != 0) return -1;
    const struct corev1_Pod *pod = get_pod(r, r->name, reterr);
    const char *container = pod ? pick_container(r, pod, reterr) : NULL;
    struct proxy_target t;
    if (!container) return -1;
    if (str_empty(pod->spec.nodeName)) { /* nothing can have been logged */
        http_respond(r->http, 204, NULL, 0, NULL, 0);
        return 0;
    }
    if (locate_kubelet(r, pod->spec.nodeName, &t, reterr) != 0) return -1;
    const char *query = log_query(r);
    t.target = arena_printf(r->arena, "/containerLogs/%s/%s/%s%s%s", r->namespace, r->name, container, *query ? "?" : "", query);
    return log_ask(r, &t, reterr);
}

/* ---- exec, attach, portforward ---- */

static const char *stream_query(struct api_request *r, const struct stream_options *o) {
    struct buf q = BUF_INIT;
    if (str_eq(r->subresource, "exec"))
        for (size_t i = 0; i < r->query.len; i++)
            if (str_eq(r->query.items[i].key, "command")) add_param(r, &q, "command", r->query.items[i].value);
    if (o->err) add_param(r, &q, "error", "1");
    if (o->in) add_param(r, &q, "input", "1");
    if (o->out) add_param(r, &q, "output", "1");
    if (o->tty) add_param(r, &q, "tty", "1");
    const char *text = arena_strdup(r->arena, buf_cstr(&q));
    buf_release(&q);
    return text;
}

static int handle_stream(struct api_request *r, struct status *reterr) {
    bool forward = str_eq(r->subresource, "portforward");
    const struct corev1_Pod *pod = get_pod(r, r->name, reterr);
    if (!pod) return -1;
    const char *container = forward ? "" : pick_container(r, pod, reterr);
    if (!container) return -1;
    if (str_empty(pod->spec.nodeName)) return status_bad_request(reterr, "pod %s does not have a host assigned", r->name);
    struct stream_options o = {.in = option_bool(r, "stdin"), .out = option_bool(r, "stdout"), .err = option_bool(r, "stderr"), .tty = option_bool(r, "tty")};
    if (forward) o = (struct stream_options){0};
    struct proxy_target t;
    if (locate_kubelet(r, pod->spec.nodeName, &t, reterr) != 0) return -1;
    const char *query = stream_query(r, &o);
    t.target = arena_printf(r->arena, "/%s/%s/%s%s%s%s%s", forward ? "portForward" : r->subresource, r->namespace, r->name, forward ? "" : "/", container, *query ? "?" : "", query);
    t.method = "POST";
    if (http_request_header(r->http, "Upgrade") && str_eq_nocase(http_request_header(r->http, "Upgrade"), "websocket")) t.method = "GET"; /* its handshake must be one */
    return stream_proxy(r->http, forward ? STREAM_PORT_FORWARD : STREAM_REMOTE_COMMAND, &o, &t, reterr);
}

/* ---- proxy ---- */

bool connect_split_id(struct arena *a, const char *id, const char **ret_scheme, const char **ret_name, const char **ret_port) {
    const char *first = strchr(id, ':'), *second = first ? strchr(first + 1, ':') : NULL;
    const char *scheme = "", *name = id, *port = "";
    if (second && strchr(second + 1, ':')) return false;
    if (second) {
        scheme = arena_strndup(a, id, (size_t)(first - id));
        name = arena_strndup(a, first + 1, (size_t)(second - first - 1));
        port = second + 1;
        if (!str_eq(scheme, "http") && !str_eq(scheme, "https") && *scheme) return false;
    } else if (first) {
        name = arena_strndup(a, id, (size_t)(first - id));
        port = first + 1;
    }
    if (str_empty(name)) return false;
    *ret_scheme = scheme;
    *ret_name = name;
    *ret_port = port;
    return true;
}

static bool port_number(const char *text, int *ret) {
    int64_t n;
    if (!str_to_i64(text, &n) || n < 1 || n > 65535) return false;
    *ret = (int)n;
    return true;
}

static void set_place(struct api_request *r, struct proxy_target *t, const char *scheme, const char *host, int port) {
    bool tls = str_eq(scheme, "https");
    *t = (struct proxy_target){.host = host, .port = port ? port : tls ? 443 : 80, .tls = tls ? apiserver_insecure_tls(r->server) : NULL};
}

static int locate_pod(struct api_request *r, struct proxy_target *t, struct status *reterr) {
    const char *scheme, *name, *port_text;
    int port = 0;
    if (!connect_split_id(r->arena, r->name, &scheme, &name, &port_text)) return status_bad_request(reterr, "invalid pod request \"%s\"", r->name);
    const struct corev1_Pod *pod = get_pod(r, name, reterr);
    if (!pod) return -1;
    LIST_FOREACH(c, &pod->spec.containers)
        if (!*port_text && !port && c->ports.len) port = c->ports.items[0].containerPort;
    const char *ip = pod->status.podIPs.len ? pod->status.podIPs.items[0].ip : NULL;
    struct in_addr v4;
    struct in6_addr v6;
    bool good = !str_empty(ip) && ((inet_pton(AF_INET, ip, &v4) == 1 && (ntohl(v4.s_addr) >> 24) != 127 && v4.s_addr) || inet_pton(AF_INET6, ip, &v6) == 1);
    if (!good || str_eq(ip, "::1") || str_has_prefix(ip, "169.254.") || str_has_prefix(ip, "fe80:")) return status_bad_request(reterr, "address not allowed");
    if (*port_text && !port_number(port_text, &port)) return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "error trying to reach service: dial tcp: lookup tcp/%s: unknown port", port_text);
    set_place(r, t, scheme, ip, port);
    return 0;
}

static int no_endpoints(const char *name, struct status *reterr) { return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "no endpoints available for service \"%s\"", name); }

static int locate_service(struct api_request *r, struct proxy_target *t, struct status *reterr) {
    const char *scheme, *name, *port_text;
    void *obj;
    if (!connect_split_id(r->arena, r->name, &scheme, &name, &port_text)) return status_bad_request(reterr, "invalid service request \"%s\"", r->name);
    if (registry_get(r, strategy_find("", "services"), r->namespace, name, &obj, NULL, reterr) != 0) return -1;
    const struct corev1_Service *service = obj;
    int number;
    if (port_number(port_text, &number)) { /* a number means the Service's port; endpoints are found by its name */
        const struct corev1_ServicePort *found = NULL;
        LIST_FOREACH(p, &service->spec.ports)
            if (!found && p->port == number) found = p;
        if (!found) return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "no service port %d found for service \"%s\"", number, name);
        port_text = str_or(found->name, "");
    }
    if (registry_get(r, strategy_find("", "endpoints"), r->namespace, name, &obj, NULL, NULL) != 0) return status_not_found(reterr, "", "services", name); /* upstream's words, whichever is missing */
    const struct corev1_Endpoints *endpoints = obj;
    size_t n = endpoints->subsets.len, from = n ? (size_t)env_random_below(env_real(), n) : 0;
    for (size_t i = 0; i < n; i++) {
        const struct corev1_EndpointSubset *s = &endpoints->subsets.items[(from + i) % n];
        LIST_FOREACH(p, &s->ports) {
            if (!str_eq(p->name, port_text) || !s->addresses.len) continue;
            set_place(r, t, scheme, s->addresses.items[env_random_below(env_real(), s->addresses.len)].ip, p->port);
            return 0;
        }
    }
    return no_endpoints(name, reterr);
}

static int locate_node(struct api_request *r, struct proxy_target *t, struct status *reterr) {
    const char *scheme, *name, *port_text;
    int port = 0;
    if (!connect_split_id(r->arena, r->name, &scheme, &name, &port_text)) return status_bad_request(reterr, "invalid node request \"%s\"", r->name);
    if (locate_kubelet(r, name, t, reterr) != 0) return -1;
    if (*port_text && !port_number(port_text, &port)) return status_bad_request(reterr, "invalid node request \"%s\"", r->name);
    if (port && port != t->port) set_place(r, t, scheme, t->host, port); /* another server on the node: our credentials are not for it */
    return 0;
}

/* What follows .../proxy in the path as it was sent. */
static const char *path_behind_proxy(const struct api_request *r) {
    size_t total = 0, skip;
    for (const char *p = r->path; *p;) {
        while (*p == '/') p++;
        if (*p) total++;
        p += strcspn(p, "/");
    }
    skip = total - r->rest.len;
    const char *p = r->path;
    for (; skip; skip--) {
        while (*p == '/') p++;
        p += strcspn(p, "/");
    }
    return p;
}

static int handle_proxy(struct api_request *r, struct status *reterr) {
    const char *path = path_behind_proxy(r);
    const char *query = str_empty(r->http->query) ? "" : arena_printf(r->arena, "?%s", r->http->query);
    struct proxy_target t;
    int failed = str_eq(r->resource, "pods") ? locate_pod(r, &t, reterr) : str_eq(r->resource, "services") ? locate_service(r, &t, reterr) : locate_node(r, &t, reterr);
    if (failed) return -1;
    if (!*path && (str_eq(r->method, "GET") || str_eq(r->method, "HEAD")) && !r->http->upgrade) { /* so that relative links on the page work */
        const struct http_header location[] = {{"Location", arena_printf(r->arena, "%s/%s", r->path, query)}};
        http_respond(r->http, 301, location, 1, NULL, 0);
        return 0;
    }
    t.target = arena_printf(r->arena, "%s%s", *path ? path : "/", query);
    if (proxy_request(r->http, &t, reterr) == 0) return 0;
    _cleanup_free_ char *why = strdup(status_message(reterr));
    return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "error trying to reach service: %s", why);
}

/* ---- admission ---- */

/* The options that the query gives, as an object of the subresource's type. */
static void *connect_options(struct api_request *r) {
    const struct type_desc *type = r->rd->type;
    char *obj = object_new(r->arena, type);
    for (size_t i = 0; i < type->fields_len; i++) {
        const struct field_desc *f = &type->fields[i];
        const char *value = url_query_get(&r->query, f->name);
        if (strcmp(f->name, "path") == 0 && f->kind == FK_STRING) {
            const char *path = "";
            for (size_t k = 0; k < r->rest.len; k++) path = arena_printf(r->arena, "%s/%s", path, r->rest.items[k]);
            *(const char **)(void *)(obj + f->offset) = path;
        } else if (!value || strcmp(f->name, "kind") == 0 || strcmp(f->name, "apiVersion") == 0) continue;
        else if (f->kind == FK_STRING && f->shape == SHAPE_LIST) {
            for (size_t k = 0; k < r->query.len; k++)
                if (str_eq(r->query.items[k].key, f->name)) string_list_push(r->arena, (struct string_list *)(void *)(obj + f->offset), r->query.items[k].value);
        } else if (f->kind == FK_STRING) *(const char **)(void *)(obj + f->offset) = value;
        else if (f->kind == FK_BOOL && f->shape == SHAPE_PLAIN) *(bool *)(void *)(obj + f->offset) = !str_eq(value, "false") && !str_eq(value, "0");
    }
    return obj;
}

static int admit_connect(struct api_request *r, struct status *reterr) {
    if (!r->rd->type) return 0;
    return admission_run(r, r->rd->type, ADMIT_CONNECT, connect_options(r), NULL, &(struct write_options){.subresource = r->subresource}, reterr);
}

bool handle_connect(struct api_request *r) {
    static const char *const proxied[] = {"pods", "services", "nodes", NULL}, *const streams[] = {"exec", "attach", "portforward", NULL};
    const char *sub = str_or(r->subresource, "");
    _cleanup_status_ struct status err = STATUS_INIT;
    int failed;
    if (!str_empty(r->group)) return false;
    if (str_eq(sub, "proxy") && str_in(r->resource, proxied)) failed = admit_connect(r, &err) != 0 || handle_proxy(r, &err) != 0;
    else if (r->rest.len || !str_eq(r->resource, "pods")) return false;
    else if (str_eq(sub, "log") && str_eq(r->method, "GET")) failed = handle_log(r, &err);
    else if (str_in(sub, streams) && (str_eq(r->method, "GET") || str_eq(r->method, "POST"))) /* who may only get may not run commands by a WebSocket's GET */
        failed = (str_eq(r->method, "GET") && authorize_create(r, &err) != 0) || admit_connect(r, &err) != 0 || handle_stream(r, &err) != 0;
    else return false;
    if (failed) respond_status(r, &err);
    return true;
}
