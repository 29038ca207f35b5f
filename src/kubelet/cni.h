/* The Pod network of a node: the CNI configuration over the bridge, host-local and portmap plugins, and the kernel settings they need.
 *
 * Traffic that leaves the cluster is masqueraded by the proxy, not by the bridge: with the bridge's own masquerading a Pod on another node would see
 * the node's address. Upstream has this in network plugins (kubenet of old). */
#ifndef CKUBE_KUBELET_CNI_H
#define CKUBE_KUBELET_CNI_H
#include "base/status.h"

struct cni_options {
    const char *conf_dir;       /* where the runtime looks */
    const char *ipam_dir;       /* where host-local keeps its leases */
    const char *bridge;         /* "cni0" */
    const char *const *pod_cidrs; /* one or two, of different families */
    int pod_cidrs_len;
    int mtu;                    /* 0: the kernel's choice */
};
/* Writes the configuration in one rename, if it differs from what is there. */
int cni_config_write(const struct cni_options *o, struct status *reterr);
/* Forwarding, and netfilter on bridged packets. What cannot be set is an error only if it is not already so. */
int cni_sysctls_apply(struct status *reterr);
#endif
