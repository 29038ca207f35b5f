/* The file below the store: opening it for one process alone, telling what is not ours or is torn, checking it.
 *
 * Used by store.c and snapshot.c, and by tools through store_check. LMDB itself survives a kill or a power cut at any moment
 * (tests/fault/store_powercut.c replays every prefix of its writes); what is dealt with here is what it leaves to its user: a file cut short, which
 * would be a SIGBUS in the map, files of other programs, and names that a power cut takes away because their folder was never synced. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/lmdb.h"

static const char format_text[] = "ckube store 1";

int store_lmdb_error(struct status *reterr, int rc, const char *what) {
    if (rc == ENOSPC || rc == EDQUOT || rc == MDB_MAP_FULL) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database is out of space: %s", mdb_strerror(rc));
    if (rc == MDB_PANIC) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database stopped after a failed write to its header: restart to go on from what is on disk");
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "database: %s: %s", what, mdb_strerror(rc));
}

static int damaged(const struct store_file *f, struct status *reterr, const char *what) {
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database %s%s is damaged: %s", f->dir, f->lone ? "" : "/data.mdb", what);
}

/* A new name is durable only when its folder is. Some filesystems cannot sync folders and say EINVAL: they need not. */
int store_sync_path(const char *path, int flags, struct status *reterr) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return status_errno(reterr, path);
    int rc = fsync(fd), err = errno;
    close(fd);
    errno = err;
    return rc == 0 || err == EINVAL ? 0 : status_errno(reterr, path);
}

int store_make_dir(const char *dir, struct status *reterr) {
    if (mkdir(dir, 0700) != 0) return errno == EEXIST ? 0 : status_errno(reterr, dir);
    char *copy = strdup(dir);
    CHECK(copy);
    int failed = store_sync_path(dirname(copy), O_RDONLY | O_DIRECTORY, reterr);
    free(copy);
    return failed;
}

/* 0: ours alone; 1: another process has it; -1: it cannot be locked. */
int store_dir_lock(struct store_file *f, struct status *reterr) {
    char path[STORE_PATH_LEN];
    snprintf(path, sizeof(path), "%s/LOCK", f->dir);
    f->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->lock_fd < 0) return status_errno(reterr, path);
    if (flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EWOULDBLOCK) return status_errno(reterr, path);
    status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database in %s is in use by another process", f->dir);
    return 1;
}

uint64_t store_meta_get(const struct store_file *f, MDB_txn *txn, const char *name, uint64_t fallback) {
    MDB_val k = {strlen(name), (void *)(uintptr_t)name}, v;
    uint64_t n;
    if (mdb_get(txn, f->meta, &k, &v) != 0 || v.mv_size != sizeof(n)) return fallback;
    memcpy(&n, v.mv_data, sizeof(n));
    return n;
}

int store_meta_put(const struct store_file *f, MDB_txn *txn, const char *name, uint64_t value) {
    MDB_val k = {strlen(name), (void *)(uintptr_t)name}, v = {sizeof(value), &value};
    return mdb_put(txn, f->meta, &k, &v, 0);
}

/* ---- a file cut short ---- */

/* How long the file is, and how long its header says that it may be. */
static int measure(const struct store_file *f, size_t *ret_has, size_t *ret_says, struct status *reterr) {
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    mdb_filehandle_t fd;
    mdb_env_info(f->env, &info);
    mdb_env_stat(f->env, &stat);
    mdb_env_get_fd(f->env, &fd);
    if (fstat(fd, &st) != 0) return status_errno(reterr, f->dir);
    *ret_has = (size_t)st.st_size;
    *ret_says = (info.me_last_pgno + 1) * stat.ms_psize;
    return 0;
}

/* LMDB does not write pages that a transaction took and gave back, so that a sound file can end before the last page that was ever in use. Filling it up
 * with a hole makes reading safe in any case; whether something was lost is then for check_tables to find. */
static int set_length(const struct store_file *f, size_t bytes, struct status *reterr) {
    char path[STORE_PATH_LEN];
    snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
    return truncate(path, (off_t)bytes) == 0 ? 0 : status_errno(reterr, path);
}

/* ---- checking ---- */

struct check {
    const struct store_file *f;
    MDB_txn *txn;
    const char *base;       /* where the file is mapped; NULL: not known, and then not checked */
    size_t file_bytes;      /* what the file really holds */
    struct store_report report;
    const char *wrong;
};

/* Each of LMDB's pages begins with its number, so that any small value tells where page 0 is mapped. */
static const char *find_base(const struct store_file *f, MDB_txn *txn) {
    MDB_val k = {6, (void *)(uintptr_t) "format"}, v;
    MDB_stat stat;
    MDB_envinfo info;
    size_t number;
    if (mdb_get(txn, f->meta, &k, &v) != 0) return NULL;
    mdb_env_stat(f->env, &stat);
    mdb_env_info(f->env, &info);
    const char *page = (const char *)((uintptr_t)v.mv_data & ~((uintptr_t)stat.ms_psize - 1));
    memcpy(&number, page, sizeof(number));
    return number <= info.me_last_pgno ? page - number * stat.ms_psize : NULL;
}

static bool in_file(const struct check *c, const MDB_val *v) {
    return !c->base || (const char *)v->mv_data + v->mv_size <= c->base + c->file_bytes;
}

static const char *check_kv(struct check *c, const MDB_val *k, const MDB_val *v) {
    struct record r;
    char bytes[8 + STORE_KEY_MAX];
    if (v->mv_size < sizeof(r) || k->mv_size > STORE_KEY_MAX) return "a key's record is cut short";
    memcpy(&r, v->mv_data, sizeof(r));
    if (r.create_revision < 2 || r.create_revision > r.mod_revision || r.mod_revision > c->report.revision) return "a key's revision is impossible";
    if (r.rv_offset > v->mv_size - sizeof(r)) return "a key's revision lies outside of its value";
    c->report.keys++;
    if (!r.expires_s) return NULL;
    store_expiry_key(bytes, r.expires_s, k->mv_data, k->mv_size);
    MDB_val ek = {8 + k->mv_size, bytes}, ev;
    return mdb_get(c->txn, c->f->expiry, &ek, &ev) == 0 ? NULL : "a key that expires is not in the table of those";
}

static const char *check_log(struct check *c, const MDB_val *k, const MDB_val *v) {
    struct log_record r;
    if (k->mv_size != 10 || !store_log_record_read(v, &r)) return "an event is cut short";
    uint64_t revision = store_log_key_revision(k);
    if (revision <= c->report.compacted_revision || revision > c->report.revision) return "an event's revision is impossible";
    c->report.events++;
    return NULL;
}

static const char *check_expiry(struct check *c, const MDB_val *k, const MDB_val *v UNUSED) {
    struct record r;
    if (k->mv_size <= 8) return "an expiry is cut short";
    MDB_val key = {k->mv_size - 8, (char *)k->mv_data + 8}, value;
    if (mdb_get(c->txn, c->f->kv, &key, &value) != 0 || value.mv_size < sizeof(r)) return "a key that is to expire does not exist";
    memcpy(&r, value.mv_data, sizeof(r));
    return r.expires_s == store_expiry_time(k) ? NULL : "a key is to expire at two times";
}

static int check_table(struct check *c, MDB_dbi dbi, const char *(*check_one)(struct check *, const MDB_val *, const MDB_val *)) {
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc = mdb_cursor_open(c->txn, dbi, &cursor);
    if (rc) return rc;
    while (!c->wrong && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
        c->wrong = in_file(c, &k) && in_file(c, &v) ? check_one(c, &k, &v) : "it ends before its contents do";
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int store_file_check(const struct store_file *f, size_t file_bytes, struct store_report *ret, struct status *reterr) {
    struct check c = {.f = f, .file_bytes = file_bytes};
    int rc = mdb_txn_begin(f->env, NULL, MDB_RDONLY, &c.txn);
    if (rc) return store_lmdb_error(reterr, rc, f->dir);
    c.base = find_base(f, c.txn);
    c.report = (struct store_report){.revision = store_meta_get(f, c.txn, "revision", 1), .compacted_revision = store_meta_get(f, c.txn, "compacted", 0), .file_bytes = file_bytes};
    if (c.report.compacted_revision > c.report.revision) c.wrong = "its compacted revision is impossible";
    if (!c.wrong) rc = check_table(&c, f->kv, check_kv);
    if (!c.wrong && !rc) rc = check_table(&c, f->log, check_log);
    if (!c.wrong && !rc) rc = check_table(&c, f->expiry, check_expiry);
    mdb_txn_abort(c.txn);
    if (c.wrong || rc) return damaged(f, reterr, c.wrong ? c.wrong : mdb_strerror(rc));
    if (ret) *ret = c.report;
    return 0;
}

/* ---- opening ---- */

/* A file that is no database of ours is left exactly as it is. */
static int check_format(const struct store_file *f, MDB_txn *txn, bool *ret_fresh, struct status *reterr) {
    MDB_dbi main_dbi, meta;
    MDB_stat stat;
    MDB_val name = {6, (void *)(uintptr_t) "format"}, text;
    int rc;
    if ((rc = mdb_dbi_open(txn, NULL, 0, &main_dbi)) || (rc = mdb_stat(txn, main_dbi, &stat))) return damaged(f, reterr, mdb_strerror(rc));
    *ret_fresh = stat.ms_entries == 0;
    if (*ret_fresh) return 0;
    rc = mdb_dbi_open(txn, "meta", 0, &meta);
    if (rc == 0) rc = mdb_get(txn, meta, &name, &text);
    if (rc && rc != MDB_NOTFOUND && rc != MDB_INCOMPATIBLE) return damaged(f, reterr, mdb_strerror(rc));
    if (rc == 0 && text.mv_size == sizeof(format_text) && memcmp(text.mv_data, format_text, sizeof(format_text)) == 0) return 0;
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the database in %s is of another format", f->dir);
}

int store_tables_open(struct store_file *f, bool readonly, struct status *reterr) {
    MDB_txn *txn;
    bool fresh = false;
    unsigned create = readonly ? 0 : MDB_CREATE;
    int rc = mdb_txn_begin(f->env, NULL, readonly ? MDB_RDONLY : 0, &txn);
    if (rc) return store_lmdb_error(reterr, rc, f->dir);
    if (check_format(f, txn, &fresh, reterr) != 0) {
        mdb_txn_abort(txn);
        return -1;
    }
    if (!(rc = mdb_dbi_open(txn, "kv", create, &f->kv)) && !(rc = mdb_dbi_open(txn, "log", create, &f->log)) &&
        !(rc = mdb_dbi_open(txn, "expiry", create, &f->expiry)))
        rc = mdb_dbi_open(txn, "meta", create, &f->meta);
    if (!rc && fresh) {
        MDB_val name = {6, (void *)(uintptr_t) "format"}, text = {sizeof(format_text), (void *)(uintptr_t)format_text};
        rc = mdb_put(txn, f->meta, &name, &text, 0);
    }
    if (rc) mdb_txn_abort(txn);
    else rc = mdb_txn_commit(txn);
    return rc ? store_lmdb_error(reterr, rc, f->dir) : 0;
}

/* A snapshot is the file itself (MDB_NOSUBDIR), a database a folder with it. */
static const char *env_path(char path[STORE_PATH_LEN], const char *dir, unsigned flags) {
    snprintf(path, STORE_PATH_LEN, flags & MDB_NOSUBDIR ? "%s" : "%s/data.mdb", dir);
    return path;
}

int store_env_open(struct store_file *f, size_t map_bytes, unsigned flags, struct status *reterr) {
    char path[STORE_PATH_LEN];
    int rc = mdb_env_create(&f->env);
    if (!rc) rc = mdb_env_set_mapsize(f->env, map_bytes);
    if (!rc) rc = mdb_env_set_maxdbs(f->env, 8);
    if (!rc) rc = mdb_env_set_maxreaders(f->env, 510);
    if (!rc) rc = mdb_env_open(f->env, f->dir, MDB_NOTLS | MDB_NORDAHEAD | flags, 0600);
    if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s is not a database of ckube's", env_path(path, f->dir, flags));
    return rc ? store_lmdb_error(reterr, rc, f->dir) : 0;
}

/* With the file to ourselves: made safe to read, opened, and checked whole if it ends early. */
static int open_safely(struct store_file *f, bool readonly, struct status *reterr) {
    size_t has = 0, says = 0;
    if (measure(f, &has, &says, reterr) != 0) return -1;
    bool ends_early = has < says;
    if (ends_early && set_length(f, says, reterr) != 0) return -1;
    if (store_tables_open(f, readonly, reterr) == 0 && (!ends_early || store_file_check(f, has, NULL, reterr) == 0)) return 0;
    if (ends_early) set_length(f, has, NULL); /* left as found, for whoever looks into it */
    return -1;
}

/* A new file is made beside and gets its name when it is whole: a power cut in the first moment leaves no half of one. */
static int make_file(const struct store_file *f, struct status *reterr) {
    char aside[STORE_PATH_LEN], made[STORE_PATH_LEN + 16], path[STORE_PATH_LEN], lock[STORE_PATH_LEN + 16];
    snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
    if (access(path, F_OK) == 0) return 0;
    snprintf(aside, sizeof(aside), "%s/create.tmp", f->dir);
    snprintf(made, sizeof(made), "%s/data.mdb", aside);
    snprintf(lock, sizeof(lock), "%s/lock.mdb", aside);
    if (store_make_dir(aside, reterr) != 0) return -1;
    unlink(made); /* of an attempt that was cut */
    struct store_file fresh = {.lock_fd = -1, .dir = aside};
    int failed = store_env_open(&fresh, 1 << 20, 0, reterr) != 0 || store_tables_open(&fresh, false, reterr) != 0;
    mdb_env_close(fresh.env);
    if (!failed) failed = store_sync_path(made, O_RDONLY, reterr);
    if (!failed && rename(made, path) != 0) failed = status_errno(reterr, path);
    unlink(made);
    unlink(lock);
    rmdir(aside);
    return failed ? -1 : store_sync_path(f->dir, O_RDONLY | O_DIRECTORY, reterr);
}

/* A mirror of etcd is made anew each time: nothing in it is worth a repair. */
static int drop_mirror(const struct store_file *f, struct status *reterr) {
    char path[STORE_PATH_LEN];
    snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
    return unlink(path) == 0 || errno == ENOENT ? 0 : status_errno(reterr, path);
}

int store_file_open(struct store_file *f, const struct store_options *o, struct status *reterr) {
    *f = (struct store_file){.lock_fd = -1, .dir = strdup(o->dir)};
    CHECK(f->dir);
    if (store_make_dir(o->dir, reterr) == 0 && store_dir_lock(f, reterr) == 0 && (!o->etcd.servers || drop_mirror(f, reterr) == 0) && make_file(f, reterr) == 0 &&
        store_env_open(f, o->map_bytes ? o->map_bytes : STORE_MAP_BYTES, o->no_sync || o->etcd.servers ? MDB_NOSYNC : MDB_NOMETASYNC, reterr) == 0 &&
        open_safely(f, false, reterr) == 0)
        return 0;
    store_file_close(f);
    return -1;
}

void store_file_close(struct store_file *f) {
    if (f->env) mdb_env_close(f->env);
    if (f->lock_fd >= 0) close(f->lock_fd);
    free(f->dir);
    *f = (struct store_file){.lock_fd = -1};
}

/* ---- for tools ---- */

/* A running server's file may be checked too: it is then not made longer, the server did that. */
int store_check(const char *dir, struct store_report *ret, struct status *reterr) {
    struct store_file f = {.lock_fd = -1, .dir = strdup(dir)};
    size_t has = 0, says = 0;
    CHECK(f.dir);
    int locked = store_dir_lock(&f, reterr), failed = locked < 0 || store_env_open(&f, STORE_MAP_BYTES, MDB_RDONLY, reterr) != 0;
    if (!failed && locked == 0) failed = measure(&f, &has, &says, reterr) != 0 || open_safely(&f, true, reterr) != 0;
    else if (!failed) failed = store_tables_open(&f, true, reterr);
    if (!failed && locked != 0) failed = measure(&f, &has, &says, reterr);
    if (!failed) failed = store_file_check(&f, locked == 0 ? has : MAX(has, says), ret, reterr);
    store_file_close(&f);
    if (!failed && reterr) status_release(reterr); /* "in use" was no failure */
    return failed ? -1 : 0;
}
