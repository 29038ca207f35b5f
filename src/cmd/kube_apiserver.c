/* `ckube kube-apiserver`: the apiserver alone on its embedded store. Stops on SIGTERM and SIGINT. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "apiserver/apiserver.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/pki.h"

static int wait_for_signal(sigset_t *set) {
    int sig = 0;
    sigwait(set, &sig);
    return sig;
}

static int make_dir(const char *dir) {
    char path[4096];
    snprintf(path, sizeof(path), "%s", dir);
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/') continue;
        char c = *p;
        *p = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST) return -1;
        *p = c;
        if (!c) return 0;
    }
}

/* "30000-32767" */
static bool parse_range(const char *text, int *min, int *max) {
    return sscanf(text, "%d-%d", min, max) == 2 && *min > 0 && *max >= *min && *max < 65536;
}

int cmd_kube_apiserver(int argc, char **argv) {
    const char *data_dir = "/var/lib/ckube", *bind = "0.0.0.0", *advertise = NULL, *range = "10.43.0.0/16", *ports = "30000-32767", *tokens = NULL, *cert = NULL, *key = NULL, *client_ca = NULL, *kubeconfig = NULL, *kubelet_ca = NULL, *kubelet_cert = NULL, *kubelet_key = NULL;
    const char *modes = NULL;
    int port = 6443, verbosity = 0;
    const struct flag flags[] = {
        {.name = "data-dir", .text = &data_dir, .help = "where everything is kept"},
        {.name = "bind-address", .text = &bind, .help = "address to listen on"},
        {.name = "secure-port", .number = &port, .help = "port to serve HTTPS on; 0 takes any free one"},
        {.name = "advertise-address", .text = &advertise, .help = "address that others reach this server at"},
        {.name = "service-cluster-ip-range", .text = &range, .help = "range of Services' cluster IPs"},
        {.name = "service-node-port-range", .text = &ports, .help = "range of node ports"},
        {.name = "tls-cert-file", .text = &cert, .help = "serving certificate (default: our own)"},
        {.name = "tls-private-key-file", .text = &key, .help = "its key"},
        {.name = "client-ca-file", .text = &client_ca, .help = "authority of client certificates (default: our own)"},
        {.name = "kubelet-certificate-authority", .text = &kubelet_ca, .help = "authority of kubelets' certificates (default: they are not verified)"},
        {.name = "kubelet-client-certificate", .text = &kubelet_cert, .help = "client certificate for kubelets (default: our own)"},
        {.name = "kubelet-client-key", .text = &kubelet_key, .help = "its key"},
        {.name = "token-auth-file", .text = &tokens, .help = "static tokens: token,user,uid,\"group1,group2\""},
        {.name = "write-kubeconfig", .text = &kubeconfig, .help = "where else to write the admin's kubeconfig"},
        {.name = "authorization-mode", .text = &modes, .help = "authorizers in their order, of Node, RBAC, AlwaysAllow, AlwaysDeny (default: Node,RBAC)"},
        {.name = "v", .number = &verbosity, .help = "log verbosity"},
        {0},
    };
    int parsed = flags_parse("kube-apiserver", flags, argc, argv);
    if (parsed != 0) return parsed < 0 ? 2 : 0;
    log_set_verbosity(verbosity);
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct apiserver_options o = {.data_dir = data_dir, .bind_address = bind, .secure_port = port, .service_cluster_ip_range = range, .token_file = tokens, .authorization_mode = modes, .cert_file = cert, .key_file = key, .client_ca_file = client_ca,
        .kubelet_ca_file = kubelet_ca, .kubelet_client_cert_file = kubelet_cert, .kubelet_client_key_file = kubelet_key};
    if (!parse_range(ports, &o.node_port_min, &o.node_port_max)) {
        fprintf(stderr, "ckube kube-apiserver: --service-node-port-range: \"%s\" is no range\n", ports);
        return 2;
    }
    if (make_dir(data_dir) != 0) {
        log_error("cannot make %s: %s", data_dir, strerror(errno));
        return 1;
    }
    if (pki_ensure(data_dir, advertise ? advertise : bind, NULL, &err) != 0) {
        log_error("%s", err.message);
        return 1;
    }
    if (!o.cert_file) {
        o.cert_file = arena_printf(a, "%s/tls/apiserver.crt", data_dir);
        o.key_file = arena_printf(a, "%s/tls/apiserver.key", data_dir);
    }
    if (!o.kubelet_client_cert_file) {
        o.kubelet_client_cert_file = arena_printf(a, "%s/tls/apiserver-kubelet-client.crt", data_dir);
        o.kubelet_client_key_file = arena_printf(a, "%s/tls/apiserver-kubelet-client.key", data_dir);
    }
    if (!o.client_ca_file) o.client_ca_file = arena_printf(a, "%s/tls/client-ca.crt", data_dir);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct apiserver *s = apiserver_new(&o, &err);
    if (!s) {
        log_error("%s", err.message);
        return 1;
    }
    const char *host = str_eq(bind, "0.0.0.0") || str_eq(bind, "::") ? "127.0.0.1" : bind;
    if (pki_write_admin_kubeconfig(data_dir, arena_printf(a, "%s/admin.kubeconfig", data_dir), host, apiserver_port(s), &err) != 0 ||
        (kubeconfig && pki_write_admin_kubeconfig(data_dir, kubeconfig, host, apiserver_port(s), &err) != 0))
        log_error("%s", err.message);
    log_info("serving on https://%s:%d", bind, apiserver_port(s));
    log_info("stopping on signal %d", wait_for_signal(&signals));
    apiserver_free(s);
    return 0;
}
