/* The server: from an HTTP request to its handler. Upstream's order: authentication, audit, priority and fairness, authorization,
 * then the resource's verbs. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include "api/field_error.h"
#include "apiserver/access_metrics.h"
#include "apiserver/admission.h"
#include "apiserver/aggregated_availability.h"
#include "apiserver/aggregated_discovery.h"
#include "apiserver/aggregation.h"
#include "apiserver/allocators.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "apiserver/auth_config.h"
#include "apiserver/authentication.h"
#include "apiserver/authorization.h"
#include "apiserver/authorization_webhook.h"
#include "apiserver/bootstrap.h"
#include "apiserver/fence.h"
#include "apiserver/metrics.h"
#include "apiserver/runtime_config.h"
#include "apiserver/connect.h"
#include "apiserver/custom_resources.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/flowcontrol/flow_control.h"
#include "apiserver/handlers.h"
#include "apiserver/kubernetes_service.h"
#include "apiserver/openapi.h"
#include "apiserver/impersonation.h"
#include "apiserver/rbac/policy.h"
#include "apiserver/legacy_tokens.h"
#include "apiserver/service_repair.h"
#include "apiserver/storage_codec.h"
#include "apiserver/watch_hub.h"
#include "base/fiber.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/upstream.h"

enum { BODY_BYTES_MAX = 3 << 20 };

struct apiserver {
    struct apiserver_options options;
    struct store *store;
    struct watch_hub *hub;
    struct http_server *http;
    char *service_ranges[2];
    struct fiber_mutex node_ports_lock;
    struct service_repair *service_repair;
    struct authenticator *authenticator;
    struct openapi *openapi;
    struct custom_resources *custom;
    struct aggregated_cache *aggregated;
    struct authorizer *authorizer;
    struct admission *admission;
    struct audit *audit; /* NULL: none */
    struct availability *availability;
    struct kubernetes_service *kubernetes_service; /* NULL: its endpoints are others' work */
    struct legacy_tokens *legacy_tokens;
    struct flow_control *flow;
    struct encryption *encryption; /* NULL: none */
    struct file_watch *files;
    struct upstream_tls *kubelet_tls, *insecure_tls;
};

struct store *apiserver_store(struct apiserver *s) { return s->store; }
void apiserver_set_etcd_servers(struct apiserver *s, const char *servers, bool prefer) { store_set_etcd_servers(s->store, servers, prefer); }
void apiserver_hurry(struct apiserver *s) { store_hurry(s->store); }
struct env *apiserver_env(struct apiserver *s) { return s->options.env ? s->options.env : env_real(); }
const struct apiserver_options *apiserver_options(struct apiserver *s) { return &s->options; }
struct watch_hub *apiserver_watch_hub(struct apiserver *s) { return s->hub; }
struct fiber_mutex *apiserver_node_ports_lock(struct apiserver *s) { return &s->node_ports_lock; }
const char *apiserver_service_range(struct apiserver *s, size_t i) { return i < ARRAY_LEN(s->service_ranges) ? s->service_ranges[i] : NULL; }

bool apiserver_has_family(struct apiserver *s, const char *family) {
    for (size_t i = 0; i < ARRAY_LEN(s->service_ranges); i++)
        if (s->service_ranges[i] && str_eq(ip_family(s->service_ranges[i]), family)) return true;
    return false;
}
struct upstream_tls *apiserver_kubelet_tls(struct apiserver *s) { return s->kubelet_tls; }
struct upstream_tls *apiserver_insecure_tls(struct apiserver *s) { return s->insecure_tls; }
struct custom_resources *apiserver_custom_resources(struct apiserver *s) { return s->custom; }
struct aggregated_cache *apiserver_aggregated_cache(struct apiserver *s) { return s->aggregated; }
struct openapi *apiserver_openapi(struct apiserver *s) { return s->openapi; }
struct authenticator *apiserver_authenticator(struct apiserver *s) { return s->authenticator; }
struct authorizer *apiserver_authorizer(struct apiserver *s) { return s->authorizer; }
struct flow_control *apiserver_flow_control(struct apiserver *s) { return s->flow; }
struct admission *apiserver_admission(struct apiserver *s) { return s->admission; }
struct legacy_tokens *apiserver_legacy_tokens(struct apiserver *s) { return s->legacy_tokens; }
struct encryption *apiserver_encryption(struct apiserver *s) { return s->encryption; }
struct http_server *apiserver_http(struct apiserver *s) { return s->http; }
int apiserver_port(const struct apiserver *s) { return http_server_port(s->http); }

/* ---- dispatch ---- */

static void no_such_resource(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    status_set(&err, 404, REASON_NOT_FOUND, "the server could not find the requested resource");
    err.has_details = true;
    respond_status(r, &err);
}

static void no_such_method(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    status_set(&err, 405, REASON_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
    err.has_details = true;
    respond_status(r, &err);
}

static unsigned verb_bit(const char *verb) {
    static const struct { const char *verb; unsigned bit; } bits[] = {{"create", VERB_CREATE}, {"delete", VERB_DELETE}, {"deletecollection", VERB_DELETECOLLECTION}, {"get", VERB_GET}, {"list", VERB_LIST}, {"patch", VERB_PATCH}, {"update", VERB_UPDATE}, {"watch", VERB_WATCH}};
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        if (strcmp(bits[i].verb, verb) == 0) return bits[i].bit;
    return 0;
}

/* Whether the path's shape fits the resource's scope. A namespaced resource may be listed, watched and reviewed over all namespaces. */
static bool scope_fits(const struct api_request *r) {
    if (strcmp(r->resource, "namespaces") == 0) return !r->namespace || str_eq(r->namespace, r->name);
    if (!r->rd->namespaced) return r->namespace == NULL;
    return r->namespace != NULL || r->name == NULL;
}

static void run_verb(struct api_request *r) {
    static const struct { const char *verb; void (*handler)(struct api_request *); } handlers[] = {
        {"get", handle_get}, {"list", handle_list}, {"watch", handle_watch}, {"create", handle_create}, {"update", handle_update}, {"patch", handle_patch}, {"delete", handle_delete}, {"deletecollection", handle_delete_collection}};
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (strcmp(handlers[i].verb, r->verb) == 0) {
            handlers[i].handler(r);
            return;
        }
}

/* Over all namespaces one lists and watches; nothing is created or deleted there. */
static bool changes_without_namespace(const struct api_request *r) {
    return str_in(r->verb, (const char *const[]){"create", "deletecollection", NULL}) && r->rd->namespaced && !r->namespace && r->strategy;
}

/* Reviews and the like are only created: no path leads to one by its name. */
static bool is_only_created(const struct resource_desc *rd) { return !(rd->verbs & (VERB_GET | VERB_UPDATE | VERB_PATCH | VERB_DELETE)); }

/* Upstream's handler of custom resources answers itself; what it does not know it leaves to others, who do not know it either. */
static void custom_request(struct api_request *r) {
    bool whole = !r->name && (str_eq(r->verb, "update") || str_eq(r->verb, "patch")), named = r->name && !r->subresource && str_eq(r->verb, "create");
    if (!scope_fits(r) || r->rest.len) respond_text(r, 404, "text/plain; charset=utf-8", "404 page not found\n");
    else if (strcmp(r->method, "HEAD") == 0 || whole || named || !(r->rd->verbs & verb_bit(r->verb)) || changes_without_namespace(r)) no_such_method(r);
    else if (r->custom->terminating && str_eq(r->verb, "create")) {
        _cleanup_status_ struct status err = STATUS_INIT;
        status_set(&err, 405, REASON_METHOD_NOT_ALLOWED, "create not allowed while custom resource definition is terminating");
        status_details(&err, r->group, r->resource, NULL);
        respond_status(r, &err);
    } else if (str_eq(r->subresource, "scale")) handle_custom_scale(r);
    else run_verb(r);
}

/* Kinds whose use upstream warns of, whatever is done with them. */
static void warn_of_deprecation(struct api_request *r) {
    if (!str_empty(r->group)) return;
    if (str_eq(r->resource, "endpoints")) request_warn(r, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    if (str_eq(r->resource, "componentstatuses")) request_warn(r, "v1 ComponentStatus is deprecated in v1.19+");
}

static void resource_request(struct api_request *r) {
    r->rd = api_resource_find(r->group, r->version, r->resource, r->subresource);
    if (r->rd && resource_served(r->rd) && scope_fits(r) && handle_connect(r)) return;
    if (!r->rd || !resource_served(r->rd) || r->rest.len || !scope_fits(r) || (is_only_created(r->rd) && !r->subresource && (r->name || (r->rd->namespaced && !r->namespace)))) {
        no_such_resource(r);
        return;
    }
    r->strategy = strategy_find(r->group, r->resource);
    bool whole = !r->name && (str_eq(r->verb, "update") || str_eq(r->verb, "patch")), named = r->name && !r->subresource && str_eq(r->verb, "create");
    if (strcmp(r->method, "HEAD") == 0 || whole || named || !(r->rd->verbs & verb_bit(r->verb)) || changes_without_namespace(r)) {
        no_such_method(r);
        return;
    }
    _cleanup_status_ struct status err = STATUS_INIT;
    if (check_route_media(r, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    warn_of_deprecation(r);
    if (r->subresource || !r->strategy) {
        const struct strategy *own = strategy_of_subresource(r->group, r->resource, r->subresource);
        if (own) r->strategy = own;
        else {
            if (handle_subresource(r)) return;
            status_set(&err, 501, "NotImplemented", "%s%s%s is not implemented by this server yet", r->resource, r->subresource ? "/" : "", str_or(r->subresource, ""));
            respond_status(r, &err);
            return;
        }
    }
    run_verb(r);
}

static bool known_group(const struct api_request *r) {
    if (str_empty(r->group)) return true;
    for (size_t i = 0; i < api_resources_len; i++)
        if (strcmp(api_resources[i].group, r->group) == 0 && resource_served(&api_resources[i])) return true;
    return false;
}

static bool handle_more(struct api_request *r) {
    const struct apiserver_options *o = &r->server->options;
    return o->more_paths && o->more_paths(r->http, o->own_paths_ctx);
}

/* Who asks, counted. */
static bool identify(struct api_request *r, struct status *reterr) {
    int64_t begun = env_mono_ns(env_real());
    bool known = authenticate(r->server->authenticator, r, reterr) == 0, tried = r->http->peer_cert_invalid || http_request_header(r->http, "Authorization");
    metrics_authentication(known ? AUTHENTICATION_SUCCESS : tried ? AUTHENTICATION_ERROR : AUTHENTICATION_FAILURE, r->user.name, env_mono_ns(env_real()) - begun);
    return known;
}

static void serve(struct api_request *r) {
    struct http_request *http = r->http;
    _cleanup_status_ struct status err = STATUS_INIT;
    bool resource = request_info(r), known = true;
    if (resource && str_eq(r->verb, "watch") && strcmp(r->path, "") == 0) resource = false;
    if (http->local_identity) r->user = *(const struct user_info *)http->local_identity;
    else known = identify(r, &err);
    if (r->server->audit && audit_begin(r->server->audit, r) != 0) {
        const char *uri = go_quote(r->arena, *http->query ? arena_printf(r->arena, "%s?%s", http->path, http->query) : http->path);
        respond_text(r, 500, "text/plain; charset=utf-8", arena_printf(r->arena, "Internal Server Error: %s: failed to store audit event\n", uri));
        return;
    }
    if (!known || (!http->local_identity && impersonate(r, &err) != 0)) {
        respond_status(r, &err);
        return;
    }
    if (!flow_begin(r->server->flow, r)) return;
    if (authorize(r, &err) != 0 || fence_begin(r, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    if (resource && strstr(r->path, "//") && !str_has_prefix(r->path, "/apis//") && !str_has_prefix(r->path, "//")) no_such_resource(r); /* no route has an empty segment */
    else if (resource && strstr(r->path, "//")) respond_text(r, 404, "text/plain; charset=utf-8", "404 page not found\n");
    else if (resource && custom_resources_find(r)) custom_request(r);
    else if (resource && known_group(r)) resource_request(r);
    else if (handle_aggregated(r)) return;
    else if (resource || !(handle_openid(r) || handle_nonresource(r) || flow_handle_debug(r->server->flow, r) || handle_more(r))) respond_text(r, 404, "text/plain; charset=utf-8", "404 page not found\n");
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void handle(struct http_request *http, void *ctx) {
    const struct apiserver_options *o = &((struct apiserver *)ctx)->options;
    if (o->own_paths && !http->local_identity && o->own_paths(http, o->own_paths_ctx)) return;
    struct api_request *r = ARENA_NEW(http->arena, struct api_request);
    double begun = seconds_now();
    *r = (struct api_request){.server = ctx, .arena = http->arena, .http = http, .method = http->method, .path = http->path, .query = url_parse_query(http->arena, http->query)};
    http->user = r;
    metrics_request_begin(r);
    serve(r);
    flow_end(r);
    metrics_request_end(r, seconds_now() - begun);
    audit_settle(r);
}

/* ---- life ---- */

static void serving_files_changed(void *arg) {
    struct apiserver *s = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (http_server_reload_tls(s->http, s->options.cert_file, s->options.key_file, s->options.client_ca_file, &err) != 0) log_error("reloading certificates: %s", status_message(&err));
    else log_info("new connections are served with the certificates that have changed");
}

/* A certificate and its key are replaced one after the other: until both fit, the old pair serves on. */
static void watch_files(struct apiserver *s) {
    s->files = file_watch_new();
    file_watch_add(s->files, s->options.cert_file, serving_files_changed, s);
    file_watch_add(s->files, s->options.key_file, serving_files_changed, s);
    file_watch_add(s->files, s->options.client_ca_file, serving_files_changed, s);
    file_watch_start(s->files);
}

static void destroy(struct apiserver *s) {
    file_watch_free(s->files);
    kubernetes_service_stop(s->kubernetes_service);
    availability_stop(s->availability);
    flow_control_stop(s->flow);
    legacy_tokens_end(s->legacy_tokens);
    if (s->http) http_server_free(s->http, 500);
    legacy_tokens_free(s->legacy_tokens);
    flow_control_free(s->flow);
    custom_resources_free(s->custom);
    service_repair_free(s->service_repair);
    aggregated_cache_free(s->aggregated);
    watch_hub_free(s->hub);
    admission_free(s->admission);
    authorizer_free(s->authorizer);
    audit_free(s->audit);
    store_close(s->store);
    encryption_free(s->encryption);
    for (size_t i = 0; i < ARRAY_LEN(s->service_ranges); i++) free(s->service_ranges[i]);
    fiber_mutex_destroy(&s->node_ports_lock);
    authenticator_free(s->authenticator);
    openapi_free(s->openapi);
    upstream_tls_unref(s->kubelet_tls);
    upstream_tls_unref(s->insecure_tls);
    free(s);
}

/* Values are sealed and opened by it from the store's first read on. */
static int begin_encryption(struct apiserver *s, struct store_options *so, struct status *reterr) {
    const struct apiserver_options *o = &s->options;
    if (str_empty(o->encryption_provider_config)) return 0;
    const struct encryption_options eo = {.file = o->encryption_provider_config, .reload = o->encryption_provider_config_reload, .etcd_prefix = o->etcd_servers ? str_or(o->etcd_prefix, "/registry") : NULL,
        .codec = so->etcd.codec};
    if (!(s->encryption = encryption_new(&eo, reterr))) return -1;
    so->cipher = encryption_cipher(s->encryption);
    if (o->etcd_servers) so->etcd.codec = encryption_codec(s->encryption);
    return 0;
}

/* One range, or one of each family. */
static int split_service_ranges(struct apiserver *s, const char *text, struct status *reterr) {
    const char *comma = strchr(text, ',');
    s->service_ranges[0] = comma ? strndup(text, (size_t)(comma - text)) : strdup(text);
    if (comma) s->service_ranges[1] = strdup(comma + 1);
    for (size_t i = 0; i < ARRAY_LEN(s->service_ranges) && s->service_ranges[i]; i++)
        if (!ip_range_valid(s->service_ranges[i])) return status_bad_request(reterr, "--service-cluster-ip-range: \"%s\" is no range of addresses for Services", s->service_ranges[i]);
    if (comma && ip_is_v6(s->service_ranges[0]) == ip_is_v6(s->service_ranges[1])) return status_bad_request(reterr, "--service-cluster-ip-range and --secondary-service-cluster-ip-range must be of different IP family");
    return 0;
}

struct apiserver *apiserver_new(const struct apiserver_options *options, struct status *reterr) {
    struct apiserver *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->options = *options;
    fiber_mutex_init(&s->node_ports_lock);
    char dir[4096];
    snprintf(dir, sizeof(dir), options->etcd_servers ? "%s/mirror" : "%s/db", options->data_dir);
    struct store_options so = {.dir = dir, .env = options->env,
        .etcd = {.servers = options->etcd_servers, .ca_file = options->etcd_ca_file, .cert_file = options->etcd_cert_file, .key_file = options->etcd_key_file, .prefix = options->etcd_prefix,
                 .codec = storage_codec(options->storage_media_type), .compaction_interval_s = options->etcd_compaction_interval_s}};
    const struct authorization_webhook_options webhook = {.config_file = options->authorization_webhook_config_file, .version = options->authorization_webhook_version,
        .authorized_ttl_ns = options->authorization_webhook_authorized_ttl_ns, .unauthorized_ttl_ns = options->authorization_webhook_unauthorized_ttl_ns};
    const struct admission_options admission = {options->enable_admission_plugins, options->disable_admission_plugins, options->admission_control_config_file, options->default_not_ready_toleration_s,
        options->default_unreachable_toleration_s};
    s->authenticator = authenticator_new(options, reterr);
    s->openapi = openapi_new();
    s->aggregated = aggregated_cache_new();
    /* As upstream: without an authority for them, kubelets' certificates are not verified. */
    struct upstream_tls_options kubelets = {.ca_file = options->kubelet_ca_file, .cert_file = options->kubelet_client_cert_file, .key_file = options->kubelet_client_key_file, .insecure = !options->kubelet_ca_file};
    s->kubelet_tls = upstream_tls_new(&kubelets, reterr);
    s->insecure_tls = upstream_tls_new(&(struct upstream_tls_options){.insecure = true}, reterr);
    if (runtime_config_set(options->runtime_config, reterr) != 0 || !s->kubelet_tls || !s->insecure_tls || split_service_ranges(s, options->service_cluster_ip_range, reterr) != 0 || !s->authenticator || begin_encryption(s, &so, reterr) != 0 || store_open(&so, &s->store, reterr) != 0 || !(s->hub = watch_hub_new(s->store, reterr)) || bootstrap(s, reterr) != 0 ||
        policy_reconcile(s, reterr) != 0 || auth_config_publish(s, reterr) != 0 || (options->audit.policy_file && !(s->audit = audit_new(&options->audit, reterr))) ||
        !(s->authorizer = options->authorization_config ? authorizer_new_from_file(options->authorization_config, s->store, reterr) : authorizer_new(options->authorization_mode, &webhook, s->store, reterr)) || !(s->admission = admission_new(&admission, s->store, reterr)) || !(s->custom = custom_resources_new(s, reterr)) || !(s->service_repair = service_repair_new(s, reterr)) || !(s->flow = flow_control_new(s, reterr))) {
        destroy(s);
        return NULL;
    }
    struct http_server_options ho = {.bind_address = options->bind_address, .port = options->secure_port, .cert_file = options->cert_file, .key_file = options->key_file,
                                     .client_ca_file = options->client_ca_file, .more_client_ca_names_file = options->requestheader_client_ca_file, .body_bytes_max = BODY_BYTES_MAX, .handler = handle, .on_answer = s->audit ? audit_answered : NULL, .on_end = s->audit ? audit_ended : NULL, .ctx = s};
    s->http = http_server_new(&ho, reterr);
    if (s->http && (s->availability = availability_start(s, reterr)) && (s->legacy_tokens = legacy_tokens_start(s, reterr)) && (!options->reconcile_endpoints || (s->kubernetes_service = kubernetes_service_start(s, reterr)))) {
        watch_files(s);
        flow_control_start(s->flow);
        return s;
    }
    destroy(s);
    return NULL;
}

void apiserver_free(struct apiserver *s) {
    if (s) destroy(s);
}
