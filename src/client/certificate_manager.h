/* A node's certificate by CertificateSigningRequest: asked for, kept, and asked for anew before it ends. Upstream: client-go util/certificate, pkg/kubelet/certificate.
 *
 * Files are upstream's: DIR/PAIR-2006-01-02-15-04-05.pem holds certificate and key (mode 0600), the link DIR/PAIR-current.pem names the one in use. Whoever uses the link reads it again when it changes
 * (wire/tls_files.h, file_watch). A new one is asked for after 70 to 90 % of the old one's life, at random so that nodes do not all come at once; at once when there is none, when it has
 * ended, or when it does not name what it should. A request that nobody approves within 15 minutes is made again. Tests: tests/unit/test_certificate_manager.c, tests/integration/test_agent.py. */
#ifndef CKUBE_CLIENT_CERTIFICATE_MANAGER_H
#define CKUBE_CLIENT_CERTIFICATE_MANAGER_H
#include "base/env.h"
#include "client/client.h"

#define SIGNER_KUBELET_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define SIGNER_KUBELET_SERVING "kubernetes.io/kubelet-serving"

/* What the certificate is to name; lists end with NULL. */
struct certificate_names { const char *const *dns_names, *const *ips; };

struct certificate_manager_options {
    struct client *client;
    struct env *env;
    const char *dir, *pair;            /* "/var/lib/kubelet/pki", "kubelet-client" */
    const char *node_name;
    bool serving;                      /* a serving certificate; else a client's */
    /* Serving: the names of the moment, in the arena. -1: they are not known yet. */
    int (*names)(void *ctx, struct arena *a, struct certificate_names *ret, struct status *reterr);
    void (*changed)(void *ctx);        /* after the link has changed, on the manager's thread; may be NULL */
    void *ctx;
};
struct certificate_manager;
/* The options' strings are copied. Starts a thread. */
struct certificate_manager *certificate_manager_start(const struct certificate_manager_options *options);
void certificate_manager_stop(struct certificate_manager *m); /* NULL is fine */

/* One certificate, at once: asks and waits until it is there (timeout_ms at most), and stores it. -1: denied, failed, or not in time. `stop` NULL, or asked each moment whether to give up. */
int certificate_request(const struct certificate_manager_options *options, int64_t timeout_ms, bool (*stop)(void *ctx), void *stop_ctx, struct status *reterr);
char *certificate_current_path(struct arena *a, const char *dir, const char *pair); /* DIR/PAIR-current.pem */
/* Whether the file holds a certificate of that node that is good now. */
bool certificate_usable(const char *path, const char *node_name, int64_t now_s);
/* When to ask for the next one: between 70 and 90 % of its life, as chance says. */
int64_t certificate_rotation_s(struct env *env, int64_t not_before_s, int64_t not_after_s);
#endif
