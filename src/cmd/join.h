/* The server that one who joins names, server or node: its address, its authority, which the token's hash must be of, and what it answers. */
#ifndef CKUBE_CMD_JOIN_H
#define CKUBE_CMD_JOIN_H
#include "base/arena.h"
#include "base/status.h"

struct join_place { char host[300]; int port; };
/* "https://HOST[:PORT]"; the port is 6443 unless it says another. */
int join_parse_url(const char *url, struct join_place *ret, struct status *reterr);
/* A GET. ca_pem NULL: whoever answers. secret NULL: none is sent. The body, in the arena; *ret_code its code. Waits for a server that is not up yet; a
 * signal that waits for command_wait_signal ends that. NULL with a status. */
char *join_fetch(struct arena *a, const struct join_place *from, const char *target, const char *ca_pem, const char *secret, int *ret_code, struct status *reterr);
/* The authority of the server's cluster in PEM, once its hash is known to be this one ("": whoever answers is believed, with a warning). */
char *join_authority(struct arena *a, const char *url, const struct join_place *from, const char *hash, struct status *reterr);
int join_refuse(const char *url, int code, struct status *reterr); /* "it is no ckube server": -1 */
#endif
