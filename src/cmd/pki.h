/* The cluster's own certificates under DATA_DIR/tls, and the admin's kubeconfig. */
#ifndef CKUBE_CMD_PKI_H
#define CKUBE_CMD_PKI_H
#include "base/status.h"

/* Makes what is missing or about to expire: client and server CAs, the apiserver's serving certificate (for these addresses, NULL at their end, and its names), the
 * admin's client certificate, the signing key. more_names: further names and addresses, commas; NULL: none. */
int pki_ensure(const char *data_dir, const char *const *ips, const char *more_names, struct status *reterr);
/* DATA_DIR/admin.kubeconfig, with everything inline. */
int pki_write_admin_kubeconfig(const char *data_dir, const char *path, const char *host, int port, struct status *reterr);
#endif
