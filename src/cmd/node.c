/* A node: see node.h. */
#include "cmd/node.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include "base/arena.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "client/certificate_manager.h"
#include "client/kubeconfig.h"
#include "client/server_list.h"
#include "cmd/certificates.h"
#include "cmd/commands.h"
#include "cmd/runtime.h"
#include "wire/host_address.h"
#include "wire/x509.h"

enum { BOOTSTRAP_TRY_MS = 15 * 60 * 1000, RETRY_MS_MIN = 1000, RETRY_MS_MAX = 30000, STEP_MS = 100 };

struct node {
    struct arena *arena;
    const char *name, *cert_dir;
    struct runtime *runtime;
    struct kubelet *kubelet;
    struct client *client; /* if it is ours */
    struct server_list *servers;
    struct certificate_manager *client_certificate, *serving_certificate;
    struct certificates_renewer *renewer;
};

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

const char *node_default_name(struct arena *a) {
    struct utsname u;
    uname(&u);
    char *name = arena_strdup(a, u.nodename);
    for (char *c = name; *c; c++) *c = (char)tolower((unsigned char)*c);
    return name;
}

/* ---- the serving certificate ---- */

/* What the Node says of itself, once it is registered. Upstream: addressesToHostnamesAndIPs. */
static int serving_names(void *ctx, struct arena *a, struct certificate_names *ret, struct status *reterr) {
    struct node *n = ctx;
    struct corev1_Node node = {0};
    struct string_list names = {0}, ips = {0};
    if (client_get(n->client, a, &corev1_Node_desc, NULL, n->name, &node, reterr) != 0) return -1;
    LIST_FOREACH(x, &node.status.addresses) {
        unsigned char bytes[16];
        bool ip = inet_pton(AF_INET, x->address, bytes) == 1 || inet_pton(AF_INET6, x->address, bytes) == 1, ip_type = str_has_suffix(x->type, "IP");
        struct string_list *to = ip ? &ips : &names;
        if (!str_empty(x->address) && ip_type <= ip && !string_list_has(to, x->address)) string_list_push(a, to, x->address);
    }
    if (names.len + ips.len == 0) return status_internal(reterr, "node %s has no addresses yet", n->name);
    string_list_push(a, &names, NULL);
    string_list_push(a, &ips, NULL);
    *ret = (struct certificate_names){names.items, ips.items};
    return 0;
}

/* One that nobody can verify, until there is a better one; its name says so. */
static int self_signed(struct node *n, const char *data_dir, const char *pair, struct status *reterr) {
    struct arena *a = n->arena;
    const char *ca = arena_printf(a, "%s/agent/kubelet-ca.crt", data_dir), *ca_key = arena_printf(a, "%s/agent/kubelet-ca.key", data_dir), *cert = arena_printf(a, "%s/self-signed.crt", n->cert_dir),
        *key = arena_printf(a, "%s/self-signed.key", n->cert_dir);
    const char *const names[] = {n->name, NULL};
    struct x509_request req = {.common_name = arena_printf(a, "%s@self-signed", n->name), .dns_names = names, .server = true};
    _cleanup_buf_ struct buf pem = BUF_INIT;
    if (make_dirs(n->cert_dir, 0700, reterr) != 0 || x509_make_ca(ca, ca_key, "ckube-kubelet-ca", reterr) != 0 || x509_make_leaf(cert, key, ca, ca_key, &req, reterr) != 0) return -1;
    if (file_read(cert, FILE_OPTION_MAX, &pem, reterr) != 0 || file_read(key, FILE_OPTION_MAX, &pem, reterr) != 0) return -1;
    return file_write_secret(pair, pem.data, pem.len, reterr);
}

/* By CertificateSigningRequest; the kubelet serves what is at the link's end, whichever that is. */
static int serving_by_request(struct node *n, const struct node_options *options, struct kubelet_options *o, struct status *reterr) {
    const char *current = certificate_current_path(n->arena, n->cert_dir, "kubelet-server");
    if (!certificate_usable(current, n->name, env_now_s(env_real())) && self_signed(n, options->data_dir, current, reterr) != 0) return -1;
    o->tls_cert_file = o->tls_key_file = current;
    if (!options->no_rotate_server_certificates && n->client)
        n->serving_certificate = certificate_manager_start(&(struct certificate_manager_options){.client = n->client, .env = env_real(), .dir = n->cert_dir, .pair = "kubelet-server", .node_name = n->name,
            .serving = true, .names = serving_names, .ctx = n});
    return 0;
}

/* By the cluster's client authority, which the apiserver knows kubelets by, where its key is at hand; else by request. (Not by the servers' authority: a node must not pass for an apiserver.) */
static int serving_certificate(struct node *n, const struct node_options *options, struct kubelet_options *o, struct status *reterr) {
    struct arena *a = n->arena;
    const char *dir = options->data_dir, *ca = arena_printf(a, "%s/tls/client-ca.crt", dir), *ca_key = arena_printf(a, "%s/tls/client-ca.key", dir);
    if (!o->client_ca_file && exists(ca)) o->client_ca_file = ca;
    if (o->tls_cert_file) return 0;
    if (!exists(ca_key)) return serving_by_request(n, options, o, reterr);
    const char *names[] = {n->name, "localhost", NULL}, *ips[] = {"127.0.0.1", o->node_ip ? o->node_ip : host_default_address(a, false), NULL};
    struct x509_request req = {.common_name = arena_printf(a, "system:node:%s", n->name), .dns_names = names, .ips = ips, .server = true};
    o->tls_cert_file = arena_printf(a, "%s/agent/kubelet.crt", dir);
    o->tls_key_file = arena_printf(a, "%s/agent/kubelet.key", dir);
    return x509_make_leaf(o->tls_cert_file, o->tls_key_file, ca, ca_key, &req, reterr);
}

/* ---- who the node is to the API server ---- */

static bool stopping(void *ctx UNUSED) { return command_signal_pending(); }

/* One attempt. 1: it may be tried again. */
static int bootstrap_once(struct node *n, const char *bootstrap_kubeconfig, struct status *reterr) {
    struct transport *t = transport_from_kubeconfig(bootstrap_kubeconfig, reterr);
    struct client *c = t ? client_new(t) : NULL;
    if (!c) return -1;
    struct certificate_manager_options o = {.client = c, .env = env_real(), .dir = n->cert_dir, .pair = "kubelet-client", .node_name = n->name};
    int rc = certificate_request(&o, BOOTSTRAP_TRY_MS, stopping, NULL, reterr);
    client_free(c);
    if (rc != 0 && reterr->code == 401) status_wrap(reterr, "the cluster does not know the token");
    return rc == 0 ? 0 : reterr->code == 401 || reterr->code == 499 ? -1 : 1;
}

static int bootstrap_certificate(struct node *n, const char *bootstrap_kubeconfig, struct status *reterr) {
    for (int64_t pause = RETRY_MS_MIN;; pause = MIN(pause * 2, (int64_t)RETRY_MS_MAX)) {
        _cleanup_status_ struct status err = STATUS_INIT;
        int rc = bootstrap_once(n, bootstrap_kubeconfig, &err);
        if (rc == 0) return 0;
        log_warning("this node's certificate: %s%s", status_message(&err), rc > 0 ? "; tried again" : "");
        for (int64_t slept = 0; rc > 0 && slept < pause && !command_signal_pending(); slept += STEP_MS) env_sleep_ms(env_real(), STEP_MS);
        if (rc > 0 && !command_signal_pending()) continue;
        status_copy(reterr, &err);
        return -1;
    }
}

/* Upstream: --bootstrap-kubeconfig. The kubeconfig names the link to the newest certificate, so that it is written once. */
static int bootstrap(struct node *n, const struct node_options *options, const char *kubeconfig, struct status *reterr) {
    const char *current = certificate_current_path(n->arena, n->cert_dir, "kubelet-client");
    struct kubeconfig k;
    bool usable = certificate_usable(current, n->name, env_now_s(env_real()));
    if (!options->bootstrap_kubeconfig || (usable && exists(kubeconfig))) return 0;
    if (kubeconfig_read(n->arena, options->bootstrap_kubeconfig, &k, reterr) != 0 || make_dirs(n->cert_dir, 0700, reterr) != 0) return -1;
    if (!usable && bootstrap_certificate(n, options->bootstrap_kubeconfig, reterr) != 0) return -1;
    bool v6 = strchr(k.http.host, ':') != NULL;
    _cleanup_buf_ struct buf ca = BUF_INIT;
    if (k.http.ca_pem) buf_append_str(&ca, k.http.ca_pem);
    else if (k.http.ca_file && file_read(k.http.ca_file, FILE_OPTION_MAX, &ca, reterr) != 0) return -1;
    return kubeconfig_write(kubeconfig, arena_printf(n->arena, "https://%s%s%s:%d%s", v6 ? "[" : "", k.http.host, v6 ? "]" : "", k.http.port, k.path), buf_cstr(&ca), NULL, current, reterr);
}

int node_bootstrap(const struct node_options *options, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct node n = {.arena = a, .name = options->kubelet.node_name, .cert_dir = options->cert_dir ? options->cert_dir : arena_printf(a, "%s/agent/pki", options->data_dir)};
    return bootstrap(&n, options, options->kubeconfig, reterr);
}

/* What a kubeconfig says, or, where the cluster's client authority is at hand, a certificate of our own for this node. */
static struct client *client_start(struct node *n, const struct node_options *options, struct status *reterr) {
    struct arena *a = n->arena;
    const char *dir = options->data_dir, *ca = arena_printf(a, "%s/tls/client-ca.crt", dir), *ca_key = arena_printf(a, "%s/tls/client-ca.key", dir);
    const char *admin = arena_printf(a, "%s/admin.kubeconfig", dir), *own = arena_printf(a, "%s/agent/kubelet.kubeconfig", dir);
    const char *path = options->kubeconfig ? options->kubeconfig : options->bootstrap_kubeconfig || exists(own) ? own : admin;
    struct transport *t;
    if (bootstrap(n, options, path, reterr) != 0) return NULL;
    if (options->kubeconfig || options->bootstrap_kubeconfig || !exists(ca_key)) t = transport_from_kubeconfig(path, reterr);
    else {
        static const char *const groups[] = {"system:nodes", NULL};
        struct x509_request req = {.common_name = arena_printf(a, "system:node:%s", n->name), .organizations = groups, .client = true};
        const char *cert = arena_printf(a, "%s/agent/node-client.crt", dir), *key = arena_printf(a, "%s/agent/node-client.key", dir);
        t = x509_make_leaf(cert, key, ca, ca_key, &req, reterr) == 0 ? transport_from_kubeconfig_as(admin, cert, key, reterr) : NULL;
    }
    if (!t) return NULL;
    struct client *c = client_new(t);
    n->servers = server_list_start(c, env_real(), path, options->servers, t, reterr);
    if (!n->servers) {
        client_free(c);
        return NULL;
    }
    if (options->bootstrap_kubeconfig && !options->no_rotate_certificates)
        n->client_certificate = certificate_manager_start(&(struct certificate_manager_options){.client = c, .env = env_real(), .dir = n->cert_dir, .pair = "kubelet-client", .node_name = n->name});
    return c;
}

/* ---- start and stop ---- */

struct node *node_start(const struct node_options *options, struct status *reterr) {
    struct node *n = calloc(1, sizeof(*n));
    CHECK(n);
    struct arena *a = n->arena = arena_new();
    struct kubelet_options o = options->kubelet;
    struct runtime_options ro = {.data_dir = options->data_dir, .endpoint = options->runtime_endpoint};
    if (!o.node_name) o.node_name = node_default_name(a);
    n->name = arena_strdup(a, o.node_name);
    n->cert_dir = options->cert_dir ? arena_strdup(a, options->cert_dir) : arena_printf(a, "%s/agent/pki", options->data_dir);
    if (!o.static_pod_dir) {
        const char *dir = arena_printf(a, "%s/agent/pod-manifests", options->data_dir);
        if (exists(dir)) o.static_pod_dir = dir;
    }
    if (!o.client) o.client = n->client = client_start(n, options, reterr);
    if (o.client && (n->runtime = runtime_start(&ro, reterr)) && serving_certificate(n, options, &o, reterr) == 0) {
        o.runtime_endpoint = runtime_endpoint(n->runtime);
        /* A runtime that others run has a network that others configure. */
        if (!o.cni_conf_dir && !options->runtime_endpoint) o.cni_conf_dir = runtime_cni_conf_dir(n->runtime);
        n->kubelet = kubelet_start(&o, reterr);
    }
    if (n->kubelet) {
        n->renewer = certificates_renewer_start(options->data_dir, env_real());
        return n;
    }
    node_stop(n);
    return NULL;
}

void node_stop(struct node *n) {
    if (!n) return;
    certificates_renewer_stop(n->renewer);
    certificate_manager_stop(n->client_certificate);
    certificate_manager_stop(n->serving_certificate);
    kubelet_stop(n->kubelet);
    runtime_stop(n->runtime);
    server_list_stop(n->servers);
    client_free(n->client);
    arena_free(n->arena);
    free(n);
}

struct client *node_client(struct node *n) { return n->client; }
