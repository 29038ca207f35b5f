/* The container runtime of a node: a containerd of our own, configured, started and watched by us, or one that is already there.
 *
 * Ours keeps its images and containers under DATA_DIR/agent/containerd and its socket and state under /run/ckube/ID (ID from the data directory), so
 * that several nodes and a distribution's own containerd do not meet. It is started again when it dies, and stopped with us; the shims, and so the
 * Pods, live on and are found again at the next start. The pause image is built into the binary; DATA_DIR/agent/images/ *.tar are imported too. */
#ifndef CKUBE_CMD_RUNTIME_H
#define CKUBE_CMD_RUNTIME_H
#include "base/status.h"

#define PAUSE_IMAGE "registry.ckube.local/pause:1"

struct runtime;
struct runtime_options {
    const char *data_dir;
    const char *endpoint;     /* of a runtime that runs already ("unix:///run/containerd/containerd.sock"); NULL: start our own */
    const char *cni_bin_dir;  /* NULL: /usr/lib/cni or /opt/cni/bin, whichever has the bridge plugin */
    const char *cni_conf_dir; /* NULL: DATA_DIR/agent/etc/cni/net.d */
    const char *registries_dir; /* containerd's certs.d; NULL: DATA_DIR/agent/etc/containerd/certs.d, if it is there */
};
/* Starts and waits until the runtime answers (at most 30 s), then imports images. NULL with a status (what is missing, and how to install it). */
struct runtime *runtime_start(const struct runtime_options *options, struct status *reterr);
const char *runtime_endpoint(const struct runtime *r);     /* "unix://..." */
const char *runtime_cni_conf_dir(const struct runtime *r);
const char *runtime_cni_bin_dir(const struct runtime *r);
/* Imports one image tar (OCI layout or docker archive). */
int runtime_import(struct runtime *r, const char *tar_path, struct status *reterr);
/* Ends our containerd (not the Pods) and frees r; NULL is fine. */
void runtime_stop(struct runtime *r);
#endif
