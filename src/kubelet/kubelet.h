/* The kubelet: registers this machine as a Node, keeps its heartbeat, and makes the Pods bound to it run.
 *
 * Upstream: pkg/kubelet, one file here for each of its parts and named alike. Threads: one each for the Pod watch, static Pods, the runtime's event
 * list (PLEG), the status writer, the Node's status, its Lease, housekeeping; one per Pod (pod_workers.c) and one per probe (prober.c). */
#ifndef CKUBE_KUBELET_KUBELET_H
#define CKUBE_KUBELET_KUBELET_H
#include <stdbool.h>
#include <stddef.h>
#include "base/status.h"

struct client;
struct kubelet;

struct kubelet_options {
    struct client *client;          /* to the API server, as system:node:NAME of system:nodes; outlives the kubelet */
    const char *node_name;          /* NULL: the host's name in lower case */
    const char *node_ip;            /* NULL: the address of the default route's interface */
    const char *root_dir;           /* NULL: /var/lib/kubelet; Pod volumes live below it */
    const char *pod_logs_dir;       /* NULL: /var/log/pods */
    const char *runtime_endpoint;   /* "unix:///..." */
    const char *cni_conf_dir;       /* where to write the Pod network's configuration; NULL: somebody else does */
    const char *cni_bridge;         /* NULL: cni0 */
    const char *cgroup_root;        /* NULL: /; kubepods is made below it */
    const char *cluster_dns;        /* address of the cluster's DNS service; NULL: none */
    const char *cluster_domain;     /* NULL: cluster.local */
    const char *static_pod_dir;     /* manifests; NULL: none */
    const char *node_labels;        /* "k=v,..." or NULL */
    const char *register_taints;    /* "key=value:Effect,..." or NULL */
    const char *bind_address;       /* NULL: 0.0.0.0 */
    int port;                       /* 0: 10250; -1: no server */
    const char *tls_cert_file, *tls_key_file, *client_ca_file; /* of the server; cert NULL: plain HTTP (tests) */
    /* Who may ask the server, by upstream's flags; see auth.h. Safe unless it is said otherwise: upstream's defaults of a KubeletConfiguration. */
    bool anonymous_auth, no_token_webhook;
    const char *authorization_mode; /* NULL: Webhook; or AlwaysAllow */
    int max_pods;                   /* 0: 110 */
    bool no_node_ipam;              /* take the Pod CIDR from pod_cidr and not from the Node */
    const char *pod_cidr;
};

/* Starts all threads and returns; the API server and the runtime need not be up yet. The options are copied. */
struct kubelet *kubelet_start(const struct kubelet_options *options, struct status *reterr);
/* Stops the threads; containers go on running. NULL is fine. */
void kubelet_stop(struct kubelet *k);
#endif
