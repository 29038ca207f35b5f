/* Care for an etcd cluster: its members, its leader, its snapshots. Blocking, for commands and for threads that may wait; the store itself (etcd.h) does not use it.
 *
 * A call goes to the members one after the other until one answers; what a member itself says ("etcdserver: ...") is the answer. Any number of threads.
 * Upstream: what etcdctl does (member, endpoint status, move-leader, snapshot save). Tests: tests/integration/test_ha.py. */
#ifndef CKUBE_STORE_ETCD_ADMIN_H
#define CKUBE_STORE_ETCD_ADMIN_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/status.h"

struct etcd_admin;
/* servers: "https://10.0.0.1:2379,http://...,..."; the files as PEM, for https. NULL with a status. */
struct etcd_admin *etcd_admin_new(const char *servers, const char *ca_file, const char *cert_file, const char *key_file, struct status *reterr);
void etcd_admin_free(struct etcd_admin *a); /* no call may be under way; NULL is fine */

/* Once *cancel is true, calls end with 499, also those under way (but a snapshot). It must outlive the calls. */
void etcd_admin_set_cancel(struct etcd_admin *a, const atomic_bool *cancel);

struct etcd_member { uint64_t id; const char *name, *peer_url, *client_url; bool learner; }; /* name "": it has not been started yet; of several URLs the first */
struct etcd_members { struct etcd_member *items; size_t len; };
/* As the first member that answers knows it: also without a majority, and maybe late. */
int etcd_admin_members(struct etcd_admin *a, struct arena *arena, struct etcd_members *ret, struct status *reterr);
/* As it is: from a member that has just caught up with the majority. */
int etcd_admin_members_now(struct etcd_admin *a, struct arena *arena, struct etcd_members *ret, struct status *reterr);
/* A learner gets everything, counts for nothing, and serves nobody until it is promoted. ret: all members, the new one too. */
int etcd_admin_add_learner(struct etcd_admin *a, const char *peer_url, uint64_t *ret_id, struct arena *arena, struct etcd_members *ret, struct status *reterr);
int etcd_admin_promote(struct etcd_admin *a, uint64_t id, struct status *reterr); /* fails while it is not in sync */
int etcd_admin_remove(struct etcd_admin *a, uint64_t id, struct status *reterr);

struct etcd_member_status { uint64_t id, leader; bool learner; char version[32]; int64_t db_bytes, db_bytes_in_use, revision; uint64_t raft_index, raft_applied; char error[200]; };
/* Of the member at this URL alone. leader 0: it knows of none. */
int etcd_admin_status(struct etcd_admin *a, const char *client_url, struct etcd_member_status *ret, struct status *reterr);
/* Asks the leader, whose URL this is, to make another member the leader. */
int etcd_admin_move_leader(struct etcd_admin *a, const char *leader_url, uint64_t to, struct status *reterr);
/* 0 when a majority answers: a linearizable read is served, by whichever member, within timeout_ms. ret_revision may be NULL. */
int etcd_admin_quorum(struct etcd_admin *a, int timeout_ms, int64_t *ret_revision, struct status *reterr);

int etcd_admin_put(struct etcd_admin *a, const char *key, const char *value, int64_t *ret_revision, struct status *reterr);
int etcd_admin_delete(struct etcd_admin *a, const char *key, int64_t *ret_revision, struct status *reterr);
int etcd_admin_compact(struct etcd_admin *a, int64_t revision, struct status *reterr);

struct etcd_pair { const char *key, *value; };
struct etcd_pairs { struct etcd_pair *items; size_t len; };
int etcd_admin_list(struct etcd_admin *a, const char *prefix, struct arena *arena, struct etcd_pairs *ret, struct status *reterr); /* values as text; a handful */

/* Saves a snapshot of the first member that gives one into a new file (0600), checks its sum and syncs it: what `etcdctl snapshot save` writes. */
int etcd_admin_snapshot(struct etcd_admin *a, const char *path, struct status *reterr);
/* Whether the file ends with the right sum of what is before: what was saved by us or by etcd's tools, whole. */
int etcd_snapshot_verify(const char *path, struct status *reterr);
/* The last revision in a snapshot must be the deletion of a key, at main revision `from`: gives it the revision `to`, so that what is restored from the file goes on behind
 * that. The file's sum is made anew. */
int etcd_snapshot_raise_revision(const char *path, int64_t from, int64_t to, struct status *reterr);
#endif
