/* A node: see node.h. */
#include "cmd/node.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include "base/arena.h"
#include "base/str.h"
#include "client/server_list.h"
#include "cmd/runtime.h"
#include "wire/x509.h"

struct node {
    struct arena *arena;
    struct runtime *runtime;
    struct kubelet *kubelet;
    struct client *client; /* if it is ours */
    struct server_list *servers;
};

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static const char *host_name(struct arena *a) {
    struct utsname u;
    uname(&u);
    char *name = arena_strdup(a, u.nodename);
    for (char *c = name; *c; c++) *c = (char)tolower((unsigned char)*c);
    return name;
}

/* A serving certificate from the cluster's server CA where its key is at hand, else from an authority of our own. */
static int serving_certificate(struct arena *a, const char *data_dir, struct kubelet_options *o, struct status *reterr) {
    const char *ca = arena_printf(a, "%s/tls/server-ca.crt", data_dir), *ca_key = arena_printf(a, "%s/tls/server-ca.key", data_dir);
    const char *client_ca = arena_printf(a, "%s/tls/client-ca.crt", data_dir);
    if (!o->client_ca_file && exists(client_ca)) o->client_ca_file = client_ca;
    if (o->tls_cert_file) return 0;
    if (!exists(ca_key)) {
        ca = arena_printf(a, "%s/agent/kubelet-ca.crt", data_dir);
        ca_key = arena_printf(a, "%s/agent/kubelet-ca.key", data_dir);
        if (x509_make_ca(ca, ca_key, "ckube-kubelet-ca", reterr) != 0) return -1;
    }
    const char *names[] = {o->node_name, "localhost", NULL}, *ips[] = {"127.0.0.1", o->node_ip, NULL};
    struct x509_request req = {.common_name = arena_printf(a, "system:node:%s", o->node_name), .dns_names = names, .ips = ips, .server = true};
    o->tls_cert_file = arena_printf(a, "%s/agent/kubelet.crt", data_dir);
    o->tls_key_file = arena_printf(a, "%s/agent/kubelet.key", data_dir);
    return x509_make_leaf(o->tls_cert_file, o->tls_key_file, ca, ca_key, &req, reterr);
}

/* Who the kubelet is to the API server: what a kubeconfig says, or, where the cluster's client authority is at hand, a certificate of our own for this node. */
static struct client *node_client(struct node *n, const struct node_options *options, const struct kubelet_options *o, struct status *reterr) {
    struct arena *a = n->arena;
    const char *dir = options->data_dir, *ca = arena_printf(a, "%s/tls/client-ca.crt", dir), *ca_key = arena_printf(a, "%s/tls/client-ca.key", dir);
    const char *admin = arena_printf(a, "%s/admin.kubeconfig", dir), *own = arena_printf(a, "%s/agent/kubelet.kubeconfig", dir);
    const char *path = options->kubeconfig ? options->kubeconfig : exists(own) ? own : admin;
    struct transport *t;
    if (options->kubeconfig || !exists(ca_key)) t = transport_from_kubeconfig(path, reterr);
    else {
        static const char *const groups[] = {"system:nodes", NULL};
        struct x509_request req = {.common_name = arena_printf(a, "system:node:%s", o->node_name), .organizations = groups, .client = true};
        const char *cert = arena_printf(a, "%s/agent/node-client.crt", dir), *key = arena_printf(a, "%s/agent/node-client.key", dir);
        if (x509_make_leaf(cert, key, ca, ca_key, &req, reterr) != 0) return NULL;
        t = transport_from_kubeconfig_as(admin, cert, key, reterr);
    }
    if (!t) return NULL;
    struct client *c = client_new(t);
    n->servers = server_list_start(c, env_real(), path, options->servers, t, reterr);
    if (n->servers) return c;
    client_free(c);
    return NULL;
}

struct node *node_start(const struct node_options *options, struct status *reterr) {
    struct node *n = calloc(1, sizeof(*n));
    CHECK(n);
    struct arena *a = n->arena = arena_new();
    struct kubelet_options o = options->kubelet;
    struct runtime_options ro = {.data_dir = options->data_dir, .endpoint = options->runtime_endpoint};
    if (!o.node_name) o.node_name = host_name(a);
    if (!o.static_pod_dir) {
        const char *dir = arena_printf(a, "%s/agent/pod-manifests", options->data_dir);
        if (exists(dir)) o.static_pod_dir = dir;
    }
    if (!o.client) o.client = n->client = node_client(n, options, &o, reterr);
    if (o.client && (n->runtime = runtime_start(&ro, reterr)) && serving_certificate(a, options->data_dir, &o, reterr) == 0) {
        o.runtime_endpoint = runtime_endpoint(n->runtime);
        /* A runtime that others run has a network that others configure. */
        if (!o.cni_conf_dir && !options->runtime_endpoint) o.cni_conf_dir = runtime_cni_conf_dir(n->runtime);
        n->kubelet = kubelet_start(&o, reterr);
    }
    if (n->kubelet) return n;
    node_stop(n);
    return NULL;
}

void node_stop(struct node *n) {
    if (!n) return;
    kubelet_stop(n->kubelet);
    runtime_stop(n->runtime);
    server_list_stop(n->servers);
    client_free(n->client);
    arena_free(n->arena);
    free(n);
}
