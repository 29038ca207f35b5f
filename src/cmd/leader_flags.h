/* Upstream's flags of leader election, for the components that stand for a Lease. */
#ifndef CKUBE_CMD_LEADER_FLAGS_H
#define CKUBE_CMD_LEADER_FLAGS_H
#include "client/leader_election.h"
#include "cmd/flags.h"

enum { LEADER_TIME_FLAGS = 3, LEADER_FLAGS = 7 };
struct leader_flags {
    bool elect;
    const char *lease_duration, *renew_deadline, *retry_period; /* "15s"; NULL: the default */
    const char *name, *ns;                                      /* of the Lease */
    const char *node;                                           /* whose holders of other Leases are to be avoided; NULL: the host's name */
};
void leader_flags_init(struct leader_flags *f, const char *name);
/* LEADER_FLAGS rows into out, the LEADER_TIME_FLAGS first. */
void leader_flags_rows(struct leader_flags *f, struct flag *out);
/* Fills in the Lease and the times; 2 after saying on stderr what is wrong with them, in upstream's words. The default times are 4 s, 3.5 s and 1 s, shorter than
 * upstream's, so that a crashed leader is replaced within 5 s; lone: nobody else can stand for the Lease, and upstream's 15 s, 10 s and 2 s do. */
int leader_flags_take(const struct leader_flags *f, const char *command, bool lone, struct leader_election_config *ret);
#endif
