/* The ConfigMap kube-system/extension-apiserver-authentication: by it other API servers know whose client certificates and front proxies to believe.
 * Upstream: pkg/controlplane/controller/clusterauthenticationtrust. */
#ifndef CKUBE_APISERVER_AUTH_CONFIG_H
#define CKUBE_APISERVER_AUTH_CONFIG_H
#include "apiserver/apiserver.h"

/* Written at start, when it is not there or says something else. */
int auth_config_publish(struct apiserver *s, struct status *reterr);
#endif
