/* Snapshots of the database by a schedule, the oldest removed. One thread in the server. Upstream has none; k3s: --etcd-snapshot-schedule-cron. */
#ifndef CKUBE_CMD_SNAPSHOTS_H
#define CKUBE_CMD_SNAPSHOTS_H
#include "cmd/etcd_tools.h"

struct snapshots_config {
    const char *data_dir;       /* of the server; the embedded database is db in it */
    struct etcd_access etcd;    /* servers NULL: the embedded database */
    const char *dir;            /* where they go; NULL: DATA_DIR/snapshots */
    const char *schedule;       /* as a CronJob's, on UTC's clock unless it says TZ= */
    int retention;              /* how many of the scheduled ones are kept */
};

struct snapshots;
/* NULL with a status if the schedule is not one. Strings are copied. */
struct snapshots *snapshots_start(const struct snapshots_config *config, struct status *reterr);
void snapshots_stop(struct snapshots *s); /* waits for one that is under way; NULL is fine */

/* One snapshot, now: to `path`, or (NULL) under a name with the time, prefix and the kind of database. ret_path (in the arena) and ret_words, "revision 7,
 * 120 keys, 48 KiB", say what was saved. */
int snapshot_save(struct arena *a, const struct snapshots_config *config, const char *prefix, const char *path, const char **ret_path, const char **ret_words, struct status *reterr);
/* The names of the snapshots in dir, oldest first; returns how many, in the arena. */
size_t snapshots_list(struct arena *a, const char *dir, const char *prefix, char ***ret);
#define SNAPSHOT_EMBEDDED ".mdb"
#define SNAPSHOT_ETCD ".etcd"
#endif
