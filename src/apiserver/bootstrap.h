/* What a fresh cluster has before anybody asks: the system namespaces, the kubernetes Service, and what bootstrap_groups.h names. */
#ifndef CKUBE_APISERVER_BOOTSTRAP_H
#define CKUBE_APISERVER_BOOTSTRAP_H
#include "apiserver/apiserver.h"

int bootstrap(struct apiserver *s, struct status *reterr);
#endif
