/* Coordinated leader election where an apiserver runs in this process: the coordinator (client/lease_spread.h), and who this process is to it. */
#ifndef CKUBE_CMD_COORDINATION_H
#define CKUBE_CMD_COORDINATION_H
#include "apiserver/apiserver.h"
#include "client/leader_election.h"

/* "NODE_UUID"; the UUID is this data folder's, made at its first start: the next process on the folder, which only begins when the last has ended, is the same candidate. In the arena; NULL
 * with a status. */
const char *coordination_identity(struct arena *a, const char *data_dir, const char *node, struct status *reterr);
/* --runtime-config with LeaseCandidates switched on, unless the user's own text says otherwise. In the arena. */
const char *coordination_runtime_config(struct arena *a, const char *runtime_config);

struct coordination;
/* Starts a coordinator if LeaseCandidates are served; NULL otherwise. Also lets nodes, schedulers and controller managers read which apiservers there are (client/server_list.h). Only the
 * times of the configuration count. */
struct coordination *coordination_start(struct apiserver *s, const char *identity, const struct leader_election_config *times);
void coordination_stop(struct coordination *c); /* before the apiserver is freed; NULL is fine */
void coordination_free(struct coordination *c); /* after that */
#endif
