/* Snapshots of etcd. Saving is ours (store/etcd/admin.h); looking into one and restoring it is what etcd's own tools do for us: etcdctl, and from etcd 3.6 on etcdutl, of the
 * distribution. */
#ifndef CKUBE_CMD_ETCD_TOOLS_H
#define CKUBE_CMD_ETCD_TOOLS_H
#include <stdint.h>
#include "base/arena.h"
#include "base/status.h"

/* How to reach a cluster. The three files NULL: without TLS. Upstream: the apiserver's flags --etcd-servers, --etcd-cafile, ... */
struct etcd_access { const char *servers, *ca_file, *cert_file, *key_file; };
struct etcd_report { uint64_t revision, keys, bytes; }; /* revision 0: neither it nor the number of keys is known */

/* Saves a snapshot of the first member that gives one, to a file that does not exist yet; the file is whole or not there. */
int etcd_snapshot_save(const struct etcd_access *etcd, const char *path, struct etcd_report *ret, struct status *reterr);
/* What is in a saved file, as far as etcd's tools are there to tell; an error if it is damaged. */
int etcd_snapshot_check(const char *path, struct etcd_report *ret, struct status *reterr);
/* Makes a saved file the database of a cluster of one: a new folder, with this name and this peer URL for its member. */
int etcd_snapshot_restore(const char *path, const char *dir, const char *name, const char *peer_url, struct status *reterr);
#endif
