/* `ckube datastore`: snapshots of the database (saved while the server runs, restored, listed), checking it, and giving its free pages back.
 *
 * The embedded database is read where it lies, under DATA_DIR/db; an etcd cluster is named by --etcd-servers. Tests: tests/integration/test_datastore.py. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "cmd/cluster_files.h"
#include "cmd/commands.h"
#include "cmd/flags.h"
#include "cmd/snapshots.h"
#include "store/store.h"

struct datastore {
    struct arena *arena;
    struct snapshots_config config;
    const char *file; /* NULL: none was named */
};

static int fail(const struct status *err) {
    fprintf(stderr, "ckube datastore: %s\n", status_message(err));
    return 1;
}

static const char *db_dir(struct datastore *d) { return arena_printf(d->arena, "%s/db", d->config.data_dir); }

static int save(struct datastore *d) {
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *path, *words;
    if (snapshot_save(d->arena, &d->config, "snapshot-", d->file, &path, &words, &err) != 0) return fail(&err);
    printf("saved %s (%s)\n", path, words);
    return 0;
}

static int restore(struct datastore *d) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!d->file) status_bad_request(&err, "restore: name the snapshot: ckube datastore restore FILE");
    else if (d->config.etcd.servers || str_has_suffix(d->file, SNAPSHOT_ETCD)) status_bad_request(&err, "restore: a snapshot of etcd is restored by a cluster's server: ckube server --cluster-reset --cluster-reset-restore-path FILE; that of another etcd by its own tools: etcdctl snapshot restore FILE, on each member");
    else if (store_restore_file(d->file, db_dir(d), &err) == 0) {
        printf("restored %s to %s; what was there before is %s/data.mdb.before-restore\n", d->file, db_dir(d), db_dir(d));
        return 0;
    }
    return fail(&err);
}

static int check_etcd(struct datastore *d) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct etcd_report r;
    if (etcd_snapshot_check(d->file, &r, &err) != 0) return fail(&err);
    if (!r.revision) printf("%s is sound: %llu bytes; what is in it etcd's tools could tell (Debian: apt install etcd-client)\n", d->file, (unsigned long long)r.bytes);
    else printf("%s is sound: revision %llu, %llu keys, %llu bytes\n", d->file, (unsigned long long)r.revision, (unsigned long long)r.keys, (unsigned long long)r.bytes);
    return 0;
}

static int check(struct datastore *d) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct store_report r;
    const char *what = d->file ? d->file : arena_printf(d->arena, "%s/data.mdb", db_dir(d));
    if (d->file && str_has_suffix(d->file, SNAPSHOT_ETCD)) return check_etcd(d);
    if (access(what, R_OK) != 0) {
        status_errno(&err, what);
        return fail(&err);
    }
    if ((d->file ? store_check_file(d->file, &r, &err) : store_check(db_dir(d), &r, &err)) != 0) return fail(&err);
    printf("%s is sound: revision %llu (compacted below %llu), %llu keys, %llu events in the log, %llu bytes\n", what, (unsigned long long)r.revision, (unsigned long long)r.compacted_revision,
           (unsigned long long)r.keys, (unsigned long long)r.events, (unsigned long long)r.file_bytes);
    return 0;
}

static int compact(struct datastore *d) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct store_report before = {0}, after = {0};
    if (store_check(db_dir(d), &before, &err) != 0 || store_compact_file(db_dir(d), &err) != 0 || store_check(db_dir(d), &after, &err) != 0) return fail(&err);
    printf("%s/data.mdb: %llu bytes, before %llu\n", db_dir(d), (unsigned long long)after.file_bytes, (unsigned long long)before.file_bytes);
    return 0;
}

static int list(struct datastore *d) {
    const char *dir = d->config.dir ? d->config.dir : arena_printf(d->arena, "%s/snapshots", d->config.data_dir);
    char **names;
    size_t n = snapshots_list(d->arena, dir, "", &names);
    for (size_t i = 0; i < n; i++) printf("%s/%s\n", dir, names[i]);
    return 0;
}

/* A server of a cluster has an etcd member for its database. */
static void use_members(struct datastore *d) {
    struct cluster_state state;
    if (!d->config.etcd.servers && cluster_state_read(d->arena, d->config.data_dir, &state, NULL) == 0 && state.phase == CLUSTER_MEMBER)
        d->config.etcd = cluster_access(d->arena, d->config.data_dir, &state, true);
}

static const struct { const char *name; int (*run)(struct datastore *); const char *help; } verbs[] = {
    {"save", save, "[FILE]  a snapshot of the database, which may be in use (default: DATA_DIR/snapshots/snapshot-TIME)"},
    {"restore", restore, "FILE  make a snapshot the database of a server that does not run; the old one is kept beside"},
    {"check", check, "[FILE]  read all of the database or of a snapshot and say what is in it, or what is wrong"},
    {"compact", compact, "give the database's free pages back, of a server that does not run"},
    {"list", list, "the snapshots there are"},
};

static int usage(FILE *to) {
    fprintf(to, "usage: ckube datastore VERB [FILE] [flags]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
    return to == stdout ? 0 : 2;
}

int cmd_datastore(int argc, char **argv) {
    struct datastore d = {.config = {.data_dir = "/var/lib/ckube"}};
    const struct flag flags[] = {
        {.name = "data-dir", .text = &d.config.data_dir, .help = "the server's (default: /var/lib/ckube)"},
        {.name = "snapshot-dir", .text = &d.config.dir, .help = "where snapshots are (default: DATA_DIR/snapshots)"},
        {.name = "etcd-servers", .text = &d.config.etcd.servers, .help = "save a snapshot of this etcd cluster instead, URLs by comma"},
        {.name = "etcd-cafile", .text = &d.config.etcd.ca_file, .help = "authority of etcd's certificates"},
        {.name = "etcd-certfile", .text = &d.config.etcd.cert_file, .help = "client certificate for etcd"},
        {.name = "etcd-keyfile", .text = &d.config.etcd.key_file, .help = "its key"},
        {0},
    };
    if (argc < 2) return usage(stderr);
    size_t v = 0;
    while (v < ARRAY_LEN(verbs) && !str_eq(argv[1], verbs[v].name)) v++;
    if (v == ARRAY_LEN(verbs)) return usage(str_eq(argv[1], "--help") || str_eq(argv[1], "-h") || str_eq(argv[1], "help") ? stdout : stderr);
    int skip = argc > 2 && argv[2][0] != '-' ? 2 : 1;
    if (skip == 2) d.file = argv[2];
    int parsed = flags_parse("datastore", flags, argc - skip, argv + skip);
    if (parsed) return parsed < 0 ? 2 : 0;
    d.arena = arena_new();
    use_members(&d);
    int rc = verbs[v].run(&d);
    arena_free(d.arena);
    return rc;
}
