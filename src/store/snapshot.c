/* Copies of the file: of a running store, into one file for keeping, back into a folder, and without its free pages. See store.h.
 *
 * Every copy is read in one snapshot and is durable, whole or not there at all: made beside under another name, synced, renamed. LMDB lets other processes
 * read while a server writes, so that saving needs no way into the server. Tests: tests/unit/test_store_snapshot.c. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/lmdb.h"

static int copy_env(MDB_env *env, const char *dir, struct status *reterr) {
    char path[STORE_PATH_LEN];
    if (store_make_dir(dir, reterr) != 0) return -1;
    int rc = mdb_env_copy2(env, dir, MDB_CP_COMPACT);
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    if (rc == EEXIST) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s exists already", path);
    if (rc) {
        unlink(path); /* half a copy must not look like one */
        return store_lmdb_error(reterr, rc, dir);
    }
    return store_sync_path(path, O_RDONLY, reterr) != 0 ? -1 : store_sync_path(dir, O_RDONLY | O_DIRECTORY, reterr);
}

int store_snapshot(struct store *s, const char *dir, struct status *reterr) { return copy_env(s->file.env, dir, reterr); }

/* What LMDB keeps for processes that share a file is of the old one: a reader that still has it must not mix with who opens the new one. */
static void forget_readers(const char *dir) {
    char path[STORE_PATH_LEN];
    snprintf(path, sizeof(path), "%s/lock.mdb", dir);
    unlink(path);
}

int store_compact_file(const char *dir, struct status *reterr) {
    struct store_file f;
    char aside[STORE_PATH_LEN], made[STORE_PATH_LEN + 16], path[STORE_PATH_LEN];
    snprintf(aside, sizeof(aside), "%s/compact.tmp", dir);
    snprintf(made, sizeof(made), "%s/data.mdb", aside);
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    if (access(path, F_OK) != 0) return status_errno(reterr, path); /* nothing is made where nothing was */
    if (store_file_open(&f, &(struct store_options){.dir = dir}, reterr) != 0) return -1;
    unlink(made); /* of an attempt that was cut */
    int failed = copy_env(f.env, aside, reterr);
    mdb_env_close(f.env); /* but the lock is kept until the new file has its name */
    f.env = NULL;
    if (!failed && rename(made, path) != 0) failed = status_errno(reterr, path);
    forget_readers(dir);
    if (!failed) failed = store_sync_path(dir, O_RDONLY | O_DIRECTORY, reterr);
    rmdir(aside);
    store_file_close(&f);
    return failed;
}

/* ---- one file for keeping ---- */

/* The name `path` for what was written to `path`.tmp, durably; on failure the temporary file goes. */
static int take_name(const char *path, const char *tmp, int failed, struct status *reterr) {
    char folder[STORE_PATH_LEN];
    if (!failed) failed = store_sync_path(tmp, O_RDONLY, reterr);
    if (!failed && rename(tmp, path) != 0) failed = status_errno(reterr, path);
    snprintf(folder, sizeof(folder), "%s", path);
    if (!failed) return store_sync_path(dirname(folder), O_RDONLY | O_DIRECTORY, reterr);
    unlink(tmp);
    return -1;
}

int store_save_file(const char *dir, const char *path, struct store_report *ret, struct status *reterr) {
    char tmp[STORE_PATH_LEN], data[STORE_PATH_LEN];
    snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    snprintf(data, sizeof(data), "%s/data.mdb", dir);
    if (access(data, F_OK) != 0) return status_errno(reterr, data);
    if (access(path, F_OK) == 0) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s exists already", path);
    /* A damaged file must not be kept as a good one; and one that was cut short is made safe to read. */
    if (store_check(dir, NULL, reterr) != 0) return -1;
    struct store_file f = {.lock_fd = -1, .dir = strdup(dir)};
    CHECK(f.dir);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), failed = fd < 0 ? status_errno(reterr, tmp) : 0, rc = 0;
    if (!failed) failed = store_env_open(&f, STORE_MAP_BYTES, MDB_RDONLY, reterr);
    if (!failed && (rc = mdb_env_copyfd2(f.env, fd, MDB_CP_COMPACT))) failed = store_lmdb_error(reterr, rc, tmp);
    if (fd >= 0) close(fd);
    store_file_close(&f);
    if (!failed) failed = store_check_file(tmp, ret, reterr);
    return fd < 0 ? -1 : take_name(path, tmp, failed, reterr);
}

static int open_lone(struct store_file *f, const char *path, bool readonly, struct status *reterr) {
    *f = (struct store_file){.lock_fd = -1, .dir = strdup(path), .lone = true};
    CHECK(f->dir);
    if (access(path, R_OK) != 0) return status_errno(reterr, path);
    if (store_env_open(f, STORE_MAP_BYTES, MDB_NOSUBDIR | MDB_NOLOCK | (readonly ? MDB_RDONLY : 0), reterr) != 0) return -1;
    return 0;
}

int store_check_file(const char *path, struct store_report *ret, struct status *reterr) {
    struct store_file f;
    struct stat st;
    MDB_envinfo info;
    MDB_stat pages;
    int failed = open_lone(&f, path, true, reterr);
    if (!failed && stat(path, &st) != 0) failed = status_errno(reterr, path);
    if (!failed) {
        mdb_env_info(f.env, &info);
        mdb_env_stat(f.env, &pages);
        /* A compact copy has no page that is not there, so that a short one was cut. */
        if ((size_t)st.st_size < (info.me_last_pgno + 1) * pages.ms_psize)
            failed = status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database %s is damaged: it ends before its contents do", path);
    }
    if (!failed) failed = store_tables_open(&f, true, reterr) != 0 || store_file_check(&f, (size_t)st.st_size, ret, reterr) != 0;
    store_file_close(&f);
    return failed ? -1 : 0;
}

static int copy_file(const char *from, const char *to, struct status *reterr) {
    char bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int failed = in < 0 ? status_errno(reterr, from) : out < 0 ? status_errno(reterr, to) : 0;
    for (ssize_t n; !failed && (n = read(in, bytes, sizeof(bytes))) != 0;)
        if (n < 0) failed = status_errno(reterr, from);
        else if (write(out, bytes, (size_t)n) != n) failed = status_errno(reterr, to);
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    return failed;
}

/* A client that saw the revisions after the snapshot must not take those that follow for them: the count jumps far ahead, and no watch resumes below it. */
static int begin_anew(struct store_file *f, struct status *reterr) {
    MDB_txn *txn;
    int rc = mdb_txn_begin(f->env, NULL, 0, &txn);
    if (rc) return store_lmdb_error(reterr, rc, f->dir);
    uint64_t revision = store_meta_get(f, txn, "revision", 1) + STORE_RESTORE_BUMP;
    if (!(rc = mdb_drop(txn, f->log, 0)) && !(rc = store_meta_put(f, txn, "revision", revision))) rc = store_meta_put(f, txn, "compacted", revision);
    if (rc) mdb_txn_abort(txn);
    else rc = mdb_txn_commit(txn);
    return rc ? store_lmdb_error(reterr, rc, f->dir) : 0;
}

int store_restore_file(const char *path, const char *dir, struct status *reterr) {
    char tmp[STORE_PATH_LEN], data[STORE_PATH_LEN], old[STORE_PATH_LEN];
    struct store_file lock = {.lock_fd = -1, .dir = strdup(dir)}, f;
    CHECK(lock.dir);
    snprintf(data, sizeof(data), "%s/data.mdb", dir);
    snprintf(tmp, sizeof(tmp), "%s/restore.tmp", dir);
    snprintf(old, sizeof(old), "%s/data.mdb.before-restore", dir);
    int failed = store_check_file(path, NULL, reterr) != 0 || store_make_dir(dir, reterr) != 0 || store_dir_lock(&lock, reterr) != 0;
    if (!failed) failed = copy_file(path, tmp, reterr);
    if (!failed) {
        failed = open_lone(&f, tmp, false, reterr) != 0 || store_tables_open(&f, false, reterr) != 0 || begin_anew(&f, reterr) != 0;
        store_file_close(&f);
    }
    if (!failed && rename(data, old) != 0 && errno != ENOENT) failed = status_errno(reterr, old);
    if (!failed) {
        forget_readers(dir);
        failed = take_name(data, tmp, 0, reterr);
    }
    store_file_close(&lock);
    return failed ? -1 : 0;
}
