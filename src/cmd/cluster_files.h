/* What a server of a cluster keeps in its data folder, and what it hands to one that joins.
 *
 *   DATA_DIR/server/token        the token that lets others join                    DATA_DIR/tls/          the cluster's authorities and this server's certificates
 *   DATA_DIR/server/member.json  this server's member of etcd, and how far it is     DATA_DIR/etcd/         etcd's database, its certificates, its log
 */
#ifndef CKUBE_CMD_CLUSTER_FILES_H
#define CKUBE_CMD_CLUSTER_FILES_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/status.h"
#include "cmd/etcd_tools.h"

enum cluster_phase {
    CLUSTER_NONE,      /* no member: the embedded database, or nothing yet */
    CLUSTER_BEGINNING, /* the first member is being made (and filled from the embedded database): begun anew at the next start */
    CLUSTER_JOINING,   /* added, or about to be; not promoted yet */
    CLUSTER_MEMBER,
    CLUSTER_LEFT,
};
struct cluster_state {
    enum cluster_phase phase;
    const char *name;             /* of the member: host-1a2b3c4d */
    const char *address, *listen; /* which others know; which is listened on */
    int client_port, peer_port;
    const char *servers;          /* client URLs of the other members, as last seen */
};

/* CLUSTER_NONE when there is no file. -1: it cannot be read. */
int cluster_state_read(struct arena *a, const char *data_dir, struct cluster_state *ret, struct status *reterr);
int cluster_state_write(const char *data_dir, const struct cluster_state *s, struct status *reterr); /* durable when it returns */

int cluster_file_write(const char *path, const char *text, struct status *reterr); /* mode 0600, whole or not at all, durable */
char *cluster_file_read(struct arena *a, const char *path, struct status *reterr);  /* text, without the last line's end; NULL */

/* etcd's authorities, its client certificate for the apiserver, and this member's own certificates; those of the cluster itself must be there. */
int cluster_pki_ensure(const char *data_dir, const struct cluster_state *s, struct status *reterr);
/* The token: made with this secret (NULL: a random one) unless there is one. In the arena. */
char *cluster_token_ensure(struct arena *a, const char *data_dir, const char *secret, struct status *reterr);
/* How to reach etcd: the local member first unless it is not to be asked, then the others. In the arena. */
struct etcd_access cluster_access(struct arena *a, const char *data_dir, const struct cluster_state *s, bool local);

/* The cluster's keys as JSON, {"files": {"tls/server-ca.crt": "...", ...}, "settings": {...}}: settings is JSON text of the caller's. */
char *cluster_bundle(struct arena *a, const char *data_dir, const char *settings, struct status *reterr);
/* Writes them. ret_settings: the settings, an object's text. */
int cluster_bundle_take(struct arena *a, const char *data_dir, const char *text, const char **ret_settings, struct status *reterr);

int cluster_remove_tree(const char *path); /* nothing there is fine; -1 with errno */
#endif
