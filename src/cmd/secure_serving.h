/* The HTTPS server of a component that is a process of its own (kube-controller-manager, kube-scheduler), by upstream's flags: is it well, and what does it count.
 *
 *   /healthz, /livez, /readyz   ok; with ?verbose, what was looked at
 *   /metrics                    Prometheus text: metrics of the client and of whatever the process has added by metrics_source_add
 *
 * Who asks is authenticated and authorized by the API server (client/delegated_auth.h): client certificates of the authority that the ConfigMap kube-system/extension-apiserver-authentication
 * names, looked up by a thread once a minute, or of --client-ca-file; tokens; then a SubjectAccessReview of the path. The paths of --authorization-always-allow-paths are anybody's.
 * Upstream: apiserver/pkg/server/options (SecureServing, DelegatingAuthentication, DelegatingAuthorization), cmd/kube-controller-manager/app. Tests: tests/integration/test_metrics.py. */
#ifndef CKUBE_CMD_SECURE_SERVING_H
#define CKUBE_CMD_SECURE_SERVING_H
#include "base/status.h"
#include "cmd/flags.h"

enum { SECURE_SERVING_FLAGS = 10 };
struct secure_serving_flags {
    int port;                                         /* 0: nothing is served */
    const char *bind_address, *cert_dir, *cert_file, *key_file, *client_ca_file, *authentication_kubeconfig, *authorization_kubeconfig, *always_allow;
    bool skip_lookup;
};
/* port: upstream's of the component. */
void secure_serving_flags_init(struct secure_serving_flags *f, int port);
/* SECURE_SERVING_FLAGS rows into out. */
void secure_serving_flags_rows(struct secure_serving_flags *f, struct flag *out);

struct secure_serving;
/* component: "kube-scheduler"; outlives it, as f does. kubeconfig: the component's, for the reviews unless the flags name others; servers: further ones, or NULL. *ret is NULL with port 0. */
int secure_serving_start(const struct secure_serving_flags *f, const char *component, const char *kubeconfig, const char *servers, struct secure_serving **ret, struct status *reterr);
void secure_serving_stop(struct secure_serving *s); /* NULL is fine */
#endif
