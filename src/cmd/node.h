/* A node on this machine: container runtime, certificates and kubelet together, as `ckube server`, `ckube agent` and `ckube kubelet` run it. */
#ifndef CKUBE_CMD_NODE_H
#define CKUBE_CMD_NODE_H
#include "base/status.h"
#include "kubelet/kubelet.h"

struct node;
struct node_options {
    const char *data_dir;
    const char *runtime_endpoint; /* of a runtime that runs already; NULL: our own containerd */
    const char *kubeconfig;       /* unless kubelet.client is given: server and credentials. NULL: DATA_DIR/agent/kubelet.kubeconfig or, all on one machine,
                                   * the server of DATA_DIR/admin.kubeconfig with a certificate that is made here */
    const char *servers;          /* further API servers, "https://HOST:PORT" by comma, unless kubelet.client is given; may be NULL */
    /* The rest. What is NULL is filled in: volumes and logs in their usual places, a serving certificate, the client; static Pods from DATA_DIR/agent/pod-manifests if that is there. */
    struct kubelet_options kubelet;
};
/* NULL with a status on failure. Starts at once, also before the API server answers. */
struct node *node_start(const struct node_options *options, struct status *reterr);
/* The Pods run on. NULL is fine. */
void node_stop(struct node *n);
#endif
