#include "cmd/pki.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/str.h"
#include "wire/json.h"
#include "wire/x509.h"

enum { PKI_NAMES_MAX = 30 };

static char *path_in(struct arena *a, const char *dir, const char *name) { return arena_printf(a, "%s/tls/%s", dir, name); }

struct san { const char *names[PKI_NAMES_MAX + 1], *ips[PKI_NAMES_MAX + 1]; size_t names_len, ips_len; };

/* A name or an address that the apiserver is reached by; nothing for none, and for "any address". */
static void add_san(struct san *s, const char *text) {
    unsigned char bytes[16];
    if (str_empty(text) || str_eq(text, "0.0.0.0") || str_eq(text, "::")) return;
    bool address = inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
    if (address && s->ips_len < PKI_NAMES_MAX) s->ips[s->ips_len++] = text;
    if (!address && s->names_len < PKI_NAMES_MAX) s->names[s->names_len++] = text;
}

static void add_sans(struct san *s, struct arena *a, const char *list) {
    char *rest = arena_strdup(a, str_or(list, ""));
    for (char *one; (one = strsep(&rest, ","));) add_san(s, one);
}

int pki_ensure(const char *dir, const char *const *ips, const char *more_names, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct san san = {0};
    char host[256] = "localhost";
    gethostname(host, sizeof(host) - 1);
    mkdir(arena_printf(a, "%s/tls", dir), 0700);
    const char *server_ca = path_in(a, dir, "server-ca.crt"), *server_ca_key = path_in(a, dir, "server-ca.key"), *client_ca = path_in(a, dir, "client-ca.crt"), *client_ca_key = path_in(a, dir, "client-ca.key");
    add_sans(&san, a, "kubernetes,kubernetes.default,kubernetes.default.svc,kubernetes.default.svc.cluster.local,localhost");
    add_san(&san, host);
    for (; *ips; ips++) add_san(&san, *ips);
    add_sans(&san, a, more_names);
    const char *const masters[] = {"system:masters", NULL};
    struct x509_request serving = {.common_name = "kube-apiserver", .dns_names = san.names, .ips = san.ips, .server = true}, admin = {.common_name = "kubernetes-admin", .organizations = masters, .client = true};
    if (x509_make_ca(server_ca, server_ca_key, "ckube-server-ca", reterr) != 0 || x509_make_ca(client_ca, client_ca_key, "ckube-client-ca", reterr) != 0) return -1;
    if (x509_make_leaf(path_in(a, dir, "apiserver.crt"), path_in(a, dir, "apiserver.key"), server_ca, server_ca_key, &serving, reterr) != 0) return -1;
    if (x509_make_leaf(path_in(a, dir, "admin.crt"), path_in(a, dir, "admin.key"), client_ca, client_ca_key, &admin, reterr) != 0) return -1;
    struct x509_request kubelets = {.common_name = "kube-apiserver-kubelet-client", .organizations = masters, .client = true};
    if (x509_make_leaf(path_in(a, dir, "apiserver-kubelet-client.crt"), path_in(a, dir, "apiserver-kubelet-client.key"), client_ca, client_ca_key, &kubelets, reterr) != 0) return -1;
    const char *proxy_ca = path_in(a, dir, "request-header-ca.crt"), *proxy_ca_key = path_in(a, dir, "request-header-ca.key");
    struct x509_request proxy = {.common_name = "front-proxy-client", .client = true};
    if (x509_make_ca(proxy_ca, proxy_ca_key, "ckube-request-header-ca", reterr) != 0 || x509_make_leaf(path_in(a, dir, "front-proxy-client.crt"), path_in(a, dir, "front-proxy-client.key"), proxy_ca, proxy_ca_key, &proxy, reterr) != 0) return -1;
    return x509_make_key(path_in(a, dir, "service-account.key"), reterr);
}

static int append_base64_file(struct buf *out, const char *path, struct status *reterr) {
    FILE *f = fopen(path, "re");
    char bytes[16384];
    if (!f) return status_errno(reterr, path);
    size_t n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    base64_encode(out, (unsigned char *)bytes, n);
    return 0;
}

int pki_write_admin_kubeconfig(const char *dir, const char *path, const char *host, int port, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_str(&out, "apiVersion: v1\nkind: Config\ncurrent-context: default\nclusters:\n- name: default\n  cluster:\n    certificate-authority-data: ");
    if (append_base64_file(&out, path_in(a, dir, "server-ca.crt"), reterr) != 0) return -1;
    buf_printf(&out, "\n    server: https://%s:%d\ncontexts:\n- name: default\n  context:\n    cluster: default\n    user: default\nusers:\n- name: default\n  user:\n    client-certificate-data: ", host, port);
    if (append_base64_file(&out, path_in(a, dir, "admin.crt"), reterr) != 0) return -1;
    buf_append_str(&out, "\n    client-key-data: ");
    if (append_base64_file(&out, path_in(a, dir, "admin.key"), reterr) != 0) return -1;
    buf_append_char(&out, '\n');
    return file_write_secret(path, out.data, out.len, reterr);
}
