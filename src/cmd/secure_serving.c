/* See secure_serving.h. */
#include "cmd/secure_serving.h"
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/env.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metric_family.h"
#include "base/str.h"
#include "client/delegated_auth.h"
#include "client/metrics.h"
#include "wire/url.h"
#include "wire/x509.h"

enum { ANSWERS_TTL_S = 10, LOOKUP_MS = 60000, LOOKUP_FAILED_MS = 1000, REVIEW_TIMEOUT_MS = 10000, LOOKUP_TIMEOUT_MS = 2000 /* a stop waits for it */, GRACE_MS = 500, CERTIFICATE_DAYS = 365 };

/* A file of this process's memory, for what is read by its path. */
struct memory_file { int fd; char path[40]; };

struct secure_serving {
    const struct secure_serving_flags *flags;
    const char *component;
    struct arena *arena;
    const char *cert_file, *key_file, *ca_file;
    struct memory_file cert, key, ca;
    char *ca_pem;                      /* as looked up last */
    struct client *authentication, *authorization, *reader;
    struct delegated_auth *auth;
    struct http_server *http;
    struct file_watch *files;
    pthread_t lookup;
    pthread_mutex_t mutex;             /* of what follows, of reloading, and of stopping */
    pthread_cond_t cond;
    bool stopping, looking_up;
};

/* ---- flags ---- */

void secure_serving_flags_init(struct secure_serving_flags *f, int port) {
    *f = (struct secure_serving_flags){.port = port, .bind_address = "0.0.0.0", .always_allow = "/healthz,/readyz,/livez"};
}

void secure_serving_flags_rows(struct secure_serving_flags *f, struct flag *out) {
    const struct flag rows[SECURE_SERVING_FLAGS] = {
        {.name = "secure-port", .number = &f->port, .help = "port to serve /healthz, /livez, /readyz and /metrics on, over HTTPS; 0: nothing is served (default: 10257 and 10259, as upstream)"},
        {.name = "bind-address", .text = &f->bind_address, .help = "address to serve on (default: 0.0.0.0)"},
        {.name = "cert-dir", .text = &f->cert_dir, .help = "where the serving certificate is, and is made if it is not there (default: one is made in memory)"},
        {.name = "tls-cert-file", .text = &f->cert_file, .help = "serving certificate; read again when it changes"},
        {.name = "tls-private-key-file", .text = &f->key_file, .help = "its key"},
        {.name = "client-ca-file", .text = &f->client_ca_file, .help = "authority of the client certificates of those who ask (default: the cluster's, looked up)"},
        {.name = "authentication-kubeconfig", .text = &f->authentication_kubeconfig, .help = "by which tokens are reviewed and the client authority is looked up (default: --kubeconfig)"},
        {.name = "authorization-kubeconfig", .text = &f->authorization_kubeconfig, .help = "by which the API server is asked whether callers may (default: --kubeconfig)"},
        {.name = "authentication-skip-lookup", .on = &f->skip_lookup, .help = "the cluster's client authority is not looked up"},
        {.name = "authorization-always-allow-paths", .text = &f->always_allow, .help = "paths that anybody may ask for, by comma (default: /healthz,/readyz,/livez)"},
    };
    memcpy(out, rows, sizeof(rows));
}

/* ---- answers ---- */

static void answer(struct http_request *req, int code, const char *type, const char *text) {
    const struct http_header h[] = {{"Content-Type", type}, {"X-Content-Type-Options", "nosniff"}};
    http_respond(req, code, h, ARRAY_LEN(h), &(struct http_slice){.data = text, .len = strlen(text)}, 1);
}

static void answer_text(struct http_request *req, int code, const char *text) { answer(req, code, "text/plain; charset=utf-8", text); }

static void answer_status(struct http_request *req, int code, const char *reason, const char *message) {
    struct metav1_Status *s = object_new(req->arena, &metav1_Status_desc);
    _cleanup_buf_ struct buf out = BUF_INIT;
    s->status = "Failure";
    s->message = message;
    s->reason = reason;
    s->code = code;
    object_encode_json(&metav1_Status_desc, s, &out);
    answer(req, code, "application/json", buf_cstr(&out));
}

static void answer_health(struct http_request *req, const char *path) {
    struct url_query q = url_parse_query(req->arena, req->query);
    bool verbose = url_query_has(&q, "verbose");
    answer_text(req, 200, verbose ? arena_printf(req->arena, "[+]ping ok\n%s check passed\n", path + 1) : "ok");
}

static void answer_metrics(struct http_request *req) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    client_metrics_put(&out);
    metrics_sources_put(&out);
    answer(req, 200, "text/plain; version=0.0.4; charset=utf-8", buf_cstr(&out));
}

/* ---- who may ---- */

/* The list has whole paths, and prefixes with a star at their end. */
static bool path_listed(const char *list, const char *path) {
    for (size_t n; *list; list += n + (list[n] == ',')) {
        n = strcspn(list, ",");
        bool star = n && list[n - 1] == '*';
        const char *entry = *list == '/' ? list + 1 : list;
        size_t len = n - (size_t)(entry - list) - star;
        if (n && strncmp(path + 1, entry, len) == 0 && (star || !path[1 + len])) return true;
    }
    return false;
}

static bool allows(struct secure_serving *s, struct http_request *req) {
    struct authenticationv1_UserInfo user = {0};
    struct arena *a = req->arena;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!delegated_auth_user(s->auth, req, &user)) {
        answer_status(req, 401, "Unauthorized", "Unauthorized");
        return false;
    }
    if (path_listed(s->flags->always_allow, req->path) || string_list_has(&user.groups, "system:masters")) return true;
    char *verb = arena_strdup(a, req->method);
    for (char *p = verb; *p; p++) *p = (char)tolower((unsigned char)*p);
    struct authorizationv1_NonResourceAttributes what = {.path = req->path, .verb = verb};
    int may = delegated_auth_may(s->auth, a, &user, &(struct authorizationv1_SubjectAccessReviewSpec){.nonResourceAttributes = &what}, &err);
    if (may > 0) return true;
    if (may < 0) {
        log_warning("%s: whether %s may %s %s is not known: %s", s->component, user.username, verb, req->path, status_message(&err));
        answer_text(req, 500, arena_printf(a, "Internal Server Error: \"%s\": %s\n", req->path, status_message(&err)));
    } else answer_status(req, 403, "Forbidden", arena_printf(a, "forbidden: User \"%s\" cannot %s path \"%s\"", user.username, verb, req->path));
    return false;
}

static void handle(struct http_request *req, void *ctx) {
    static const char *const health[] = {"/healthz", "/livez", "/readyz", NULL};
    if (!allows(ctx, req)) return;
    if (str_in(req->path, health)) answer_health(req, req->path);
    else if (str_eq(req->path, "/metrics")) answer_metrics(req);
    else answer_text(req, 404, "404 page not found\n");
}

/* ---- certificates ---- */

static int memory_file_make(struct memory_file *f, const char *name, const void *data, size_t len, struct status *reterr) {
    f->fd = memfd_create(name, MFD_CLOEXEC);
    if (f->fd < 0 || write(f->fd, data, len) != (ssize_t)len) return status_internal(reterr, "%s: %s", name, strerror(errno));
    snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
    return 0;
}

static void memory_file_free(struct memory_file *f) {
    if (f->fd > 0) close(f->fd);
    f->fd = 0;
}

static int make_certificate(struct secure_serving *s, const char *dir, const char *cert, const char *key, struct status *reterr) {
    static const char *const ips[] = {"127.0.0.1", "::1", NULL};
    struct arena *a = s->arena;
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    const char *const names[] = {host, "localhost", NULL}, *ca = arena_printf(a, "%s/%s-ca.crt", dir, s->component), *ca_key = arena_printf(a, "%s/%s-ca.key", dir, s->component);
    struct x509_request req = {.common_name = arena_printf(a, "%s@self-signed", host), .dns_names = names, .ips = ips, .server = true, .days = CERTIFICATE_DAYS};
    return x509_make_ca(ca, ca_key, arena_printf(a, "%s-ca", host), reterr) != 0 || x509_make_leaf(cert, key, ca, ca_key, &req, reterr) != 0 ? -1 : 0;
}

/* Made in a folder that is gone at once; what is read on is in memory. */
static int certificate_in_memory(struct secure_serving *s, struct status *reterr) {
    char dir[] = "/tmp/ckube-serving-XXXXXX";
    _cleanup_buf_ struct buf cert = BUF_INIT, key = BUF_INIT;
    struct arena *a = s->arena;
    if (!mkdtemp(dir)) return status_internal(reterr, "%s: %s", dir, strerror(errno));
    const char *cert_file = arena_printf(a, "%s/tls.crt", dir), *key_file = arena_printf(a, "%s/tls.key", dir);
    const char *const files[] = {cert_file, key_file, arena_printf(a, "%s/%s-ca.crt", dir, s->component), arena_printf(a, "%s/%s-ca.key", dir, s->component)};
    int rc = make_certificate(s, dir, cert_file, key_file, reterr) != 0 || file_read(cert_file, FILE_OPTION_MAX, &cert, reterr) != 0 || file_read(key_file, FILE_OPTION_MAX, &key, reterr) != 0 ? -1 : 0;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) unlink(files[i]);
    rmdir(dir);
    if (rc != 0 || memory_file_make(&s->cert, "tls.crt", cert.data, cert.len, reterr) != 0 || memory_file_make(&s->key, "tls.key", key.data, key.len, reterr) != 0) return -1;
    s->cert_file = s->cert.path;
    s->key_file = s->key.path;
    return 0;
}

static int serving_certificate(struct secure_serving *s, struct status *reterr) {
    const struct secure_serving_flags *f = s->flags;
    if (f->cert_file || f->key_file) {
        if (!f->cert_file || !f->key_file) return status_bad_request(reterr, "--tls-cert-file and --tls-private-key-file go together");
        s->cert_file = f->cert_file;
        s->key_file = f->key_file;
        return 0;
    }
    if (str_empty(f->cert_dir)) return certificate_in_memory(s, reterr);
    s->cert_file = arena_printf(s->arena, "%s/%s.crt", f->cert_dir, s->component);
    s->key_file = arena_printf(s->arena, "%s/%s.key", f->cert_dir, s->component);
    if (access(s->cert_file, R_OK) == 0 && access(s->key_file, R_OK) == 0) return 0; /* as upstream, what is there is used */
    return make_dirs(f->cert_dir, 0700, reterr) != 0 ? -1 : make_certificate(s, f->cert_dir, s->cert_file, s->key_file, reterr);
}

/* With the mutex. */
static void reload(struct secure_serving *s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (http_server_reload_tls(s->http, s->cert_file, s->key_file, s->ca_file, &err) != 0) log_error("%s: reloading certificates: %s", s->component, status_message(&err));
}

static void files_changed(void *arg) {
    struct secure_serving *s = arg;
    pthread_mutex_lock(&s->mutex);
    reload(s);
    pthread_mutex_unlock(&s->mutex);
}

/* ---- the cluster's client authority ---- */

static void use_authority(struct secure_serving *s, const char *pem) {
    struct memory_file fresh = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (memory_file_make(&fresh, "client-ca.crt", pem, strlen(pem), &err) != 0) {
        log_error("%s: %s", s->component, status_message(&err));
        memory_file_free(&fresh);
        return;
    }
    pthread_mutex_lock(&s->mutex);
    struct memory_file old = s->ca;
    s->ca = fresh;
    s->ca_file = s->ca.path;
    free(s->ca_pem);
    CHECK(s->ca_pem = strdup(pem));
    reload(s);
    pthread_mutex_unlock(&s->mutex);
    memory_file_free(&old);
}

static bool look_up(struct secure_serving *s) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_ConfigMap cm = {0};
    if (client_get(s->reader, a, &corev1_ConfigMap_desc, "kube-system", "extension-apiserver-authentication", &cm, &err) != 0) {
        log_debug("%s: the client authority is not known yet: %s", s->component, status_message(&err));
        return false;
    }
    const char *pem = string_map_get(&cm.data, "client-ca-file");
    if (!str_empty(pem) && !str_eq(pem, s->ca_pem)) use_authority(s, pem);
    return true;
}

static void *look_up_all_the_time(void *arg) {
    struct secure_serving *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (!s->stopping) {
        pthread_mutex_unlock(&s->mutex);
        int64_t until = env_mono_ns(env_real()) + (look_up(s) ? LOOKUP_MS : LOOKUP_FAILED_MS) * INT64_C(1000000);
        pthread_mutex_lock(&s->mutex);
        while (!s->stopping && env_cond_wait(env_real(), &s->cond, &s->mutex, until)) {}
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- life ---- */

static struct client *client_of(const char *kubeconfig, const char *servers, int timeout_ms, struct status *reterr) {
    struct transport *t = transport_from_kubeconfig(kubeconfig, reterr);
    if (!t) return NULL;
    if (servers && transport_https_servers(t, servers, reterr) != 0) {
        transport_free(t);
        return NULL;
    }
    struct client *c = client_new(t);
    client_set_timeout(c, timeout_ms);
    return c;
}

static int start(struct secure_serving *s, const char *kubeconfig, const char *servers, struct status *reterr) {
    const struct secure_serving_flags *f = s->flags;
    s->ca_file = f->client_ca_file;
    const char *authentication = str_or(f->authentication_kubeconfig, kubeconfig);
    if (serving_certificate(s, reterr) != 0 || !(s->authentication = client_of(authentication, servers, REVIEW_TIMEOUT_MS, reterr)) ||
        !(s->reader = client_of(authentication, servers, LOOKUP_TIMEOUT_MS, reterr)) ||
        !(s->authorization = client_of(str_or(f->authorization_kubeconfig, kubeconfig), servers, REVIEW_TIMEOUT_MS, reterr))) return -1;
    s->auth = delegated_auth_new(&(struct delegated_auth_options){.component = s->component, .authentication = s->authentication, .authorization = s->authorization, .anonymous = true,
        .token_ttl_s = ANSWERS_TTL_S, .allowed_ttl_s = ANSWERS_TTL_S, .denied_ttl_s = ANSWERS_TTL_S, .env = env_real()});
    struct http_server_options o = {.bind_address = f->bind_address, .port = f->port, .loops = 1, .cert_file = s->cert_file, .key_file = s->key_file, .client_ca_file = s->ca_file,
        .body_bytes_max = 1 << 20, .handler = handle, .ctx = s};
    if (!(s->http = http_server_new(&o, reterr))) return -1;
    s->files = file_watch_new();
    if (!s->cert.fd) {
        file_watch_add(s->files, s->cert_file, files_changed, s);
        file_watch_add(s->files, s->key_file, files_changed, s);
    }
    file_watch_add(s->files, f->client_ca_file, files_changed, s);
    file_watch_start(s->files);
    s->looking_up = !f->client_ca_file && !f->skip_lookup && pthread_create(&s->lookup, NULL, look_up_all_the_time, s) == 0;
    log_info("%s serves on %s:%d", s->component, f->bind_address, http_server_port(s->http));
    return 0;
}

int secure_serving_start(const struct secure_serving_flags *f, const char *component, const char *kubeconfig, const char *servers, struct secure_serving **ret, struct status *reterr) {
    *ret = NULL;
    if (f->port == 0) return 0;
    struct secure_serving *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->flags = f;
    s->component = component;
    s->arena = arena_new();
    pthread_mutex_init(&s->mutex, NULL);
    env_cond_init(&s->cond);
    if (start(s, kubeconfig, servers, reterr) == 0) {
        *ret = s;
        return 0;
    }
    secure_serving_stop(s);
    return -1;
}

void secure_serving_stop(struct secure_serving *s) {
    if (!s) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    if (s->looking_up) pthread_join(s->lookup, NULL);
    file_watch_free(s->files);
    delegated_auth_drain(s->auth);
    if (s->http) http_server_free(s->http, GRACE_MS);
    delegated_auth_free(s->auth);
    client_free(s->authentication);
    client_free(s->authorization);
    client_free(s->reader);
    memory_file_free(&s->cert);
    memory_file_free(&s->key);
    memory_file_free(&s->ca);
    free(s->ca_pem);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    arena_free(s->arena);
    free(s);
}
