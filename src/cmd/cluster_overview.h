/* A cluster's etcd and apiservers at a glance, as JSON: what `ckube status` prints and what a server serves at /ckube/status to who may see it.
 *
 * {"members": [{"name", "url", "role": leader|follower|learner|member, "health", "version", "revision", "bytes", "bytesInUse"}], "majority": bool, "apiservers": [{"name", "url"}]} */
#ifndef CKUBE_CMD_CLUSTER_OVERVIEW_H
#define CKUBE_CMD_CLUSTER_OVERVIEW_H
#include "store/etcd/admin.h"

enum { OVERVIEW_HEALTH_MS = 2000 };
/* Asks each member. In the arena; NULL with a status when none answers. */
char *cluster_overview(struct etcd_admin *admin, struct arena *a, struct status *reterr);
#endif
