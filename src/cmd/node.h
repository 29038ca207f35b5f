/* A node on this machine: container runtime, certificates and kubelet together, as `ckube server`, `ckube agent` and `ckube kubelet` run it. */
#ifndef CKUBE_CMD_NODE_H
#define CKUBE_CMD_NODE_H
#include "base/arena.h"
#include "base/status.h"
#include "kubelet/kubelet.h"

struct node;
struct node_options {
    const char *data_dir;
    const char *runtime_endpoint; /* of a runtime that runs already; NULL: our own containerd */
    const char *kubeconfig;       /* unless kubelet.client is given: server and credentials. NULL: DATA_DIR/agent/kubelet.kubeconfig or, all on one machine,
                                   * the server of DATA_DIR/admin.kubeconfig with a certificate that is made here */
    const char *bootstrap_kubeconfig; /* with a bootstrap token, by which the kubeconfig is made when it is not there or its certificate is no good any more; NULL: none */
    const char *cert_dir;         /* of certificates that come by CertificateSigningRequest; NULL: DATA_DIR/agent/pki */
    bool no_rotate_certificates;  /* the client certificate that came so is not renewed */
    bool no_rotate_server_certificates; /* the serving certificate is made here, and nobody can verify it */
    const char *servers;          /* further API servers, "https://HOST:PORT" by comma, unless kubelet.client is given; may be NULL */
    /* The rest. What is NULL is filled in: volumes and logs in their usual places, a serving certificate, the client; static Pods from DATA_DIR/agent/pod-manifests if that is there. */
    struct kubelet_options kubelet;
};
/* NULL with a status on failure. Starts at once, also before the API server answers. */
struct node *node_start(const struct node_options *options, struct status *reterr);
/* The Pods run on. NULL is fine. */
void node_stop(struct node *n);
const char *node_default_name(struct arena *a); /* the host's, in lower case */
/* Makes options->kubeconfig by options->bootstrap_kubeconfig unless it is good, as node_start does too: waits until the certificate is there, a signal comes, or the token turns out to be no good. */
int node_bootstrap(const struct node_options *options, struct status *reterr);
struct client *node_client(struct node *n); /* the kubelet's, if it is the node's own: for kube-proxy. NULL if it was given */
#endif
