/* Files of etcd snapshots: written, verified, and their last revision raised. See admin.h and admin_file.h. Tests: tests/unit/test_cluster.c. */
#include "store/etcd/admin_file.h"
#include <fcntl.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/etcd/admin.h"
#include "store/lmdb.h"

enum { SUM_BYTES = 32, PAGE = 512, REVISION_BYTES = 18 };

struct snapshot_writer { char path[STORE_PATH_LEN], tmp[STORE_PATH_LEN + 8]; int fd; };

struct snapshot_writer *snapshot_writer_new(const char *path, struct status *reterr) {
    struct snapshot_writer *w = calloc(1, sizeof(*w));
    CHECK(w);
    snprintf(w->path, sizeof(w->path), "%s", path);
    snprintf(w->tmp, sizeof(w->tmp), "%s.tmp", path);
    w->fd = access(path, F_OK) == 0 ? -2 : open(w->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* Secrets are in it */
    if (w->fd >= 0) return w;
    if (w->fd == -2) status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s exists already", path);
    else status_errno(reterr, w->tmp);
    free(w);
    return NULL;
}

int snapshot_writer_add(struct snapshot_writer *w, const void *data, size_t len, struct status *reterr) {
    for (const char *p = data; len;) {
        ssize_t n = write(w->fd, p, len);
        if (n < 0) return status_errno(reterr, w->tmp);
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int snapshot_writer_end(struct snapshot_writer *w, bool good, struct status *reterr) {
    char folder[STORE_PATH_LEN];
    int rc = good ? 0 : -1;
    if (rc == 0 && fsync(w->fd) != 0) rc = status_errno(reterr, w->tmp);
    close(w->fd);
    if (rc == 0) rc = etcd_snapshot_verify(w->tmp, reterr);
    if (rc == 0 && rename(w->tmp, w->path) != 0) rc = status_errno(reterr, w->path);
    if (rc != 0) unlink(w->tmp);
    snprintf(folder, sizeof(folder), "%s", w->path);
    if (rc == 0) rc = store_sync_path(dirname(folder), O_RDONLY | O_DIRECTORY, reterr);
    free(w);
    return rc;
}

/* ---- whole files ---- */

struct mapped { unsigned char *data; size_t len; int fd; };

static int map_file(const char *path, bool writable, struct mapped *ret, struct status *reterr) {
    struct stat st;
    *ret = (struct mapped){0};
    ret->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (ret->fd < 0 || fstat(ret->fd, &st) != 0) {
        if (ret->fd >= 0) close(ret->fd);
        return status_errno(reterr, path);
    }
    ret->len = (size_t)st.st_size;
    ret->data = ret->len > SUM_BYTES ? mmap(NULL, ret->len, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, ret->fd, 0) : MAP_FAILED;
    if (ret->data != MAP_FAILED) return 0;
    close(ret->fd);
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s is no snapshot of etcd", path);
}

static void unmap_file(struct mapped *m) {
    munmap(m->data, m->len);
    close(m->fd);
}

static void sum_of(const struct mapped *m, unsigned char out[SUM_BYTES]) { CHECK(EVP_Digest(m->data, m->len - SUM_BYTES, out, NULL, EVP_sha256(), NULL) == 1); }

int etcd_snapshot_verify(const char *path, struct status *reterr) {
    struct mapped m = {0};
    unsigned char sum[SUM_BYTES];
    if (map_file(path, false, &m, reterr) != 0) return -1;
    bool ok = m.len % PAGE == SUM_BYTES;
    if (ok) {
        sum_of(&m, sum);
        ok = memcmp(sum, m.data + m.len - SUM_BYTES, SUM_BYTES) == 0;
    }
    unmap_file(&m);
    return ok ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s is no snapshot of etcd, or is damaged: its sum does not fit", path);
}

/* etcd's key of a deletion: the revision, big-endian, '_', the number within the transaction, 't'. */
static void revision_key(unsigned char out[REVISION_BYTES], int64_t revision) {
    memset(out, 0, REVISION_BYTES);
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)((uint64_t)revision >> (56 - 8 * i));
    out[8] = '_';
    out[REVISION_BYTES - 1] = 't';
}

/* A snapshot cannot be told at which revision to go on, not by the tools of etcd 3.4. But etcd takes it from the greatest key of its table, and when that is a deletion nothing
 * else in the file repeats the number: a greater one in its place keeps the table's order. (The key may be there twice: in its page, and in the page above.) */
int etcd_snapshot_raise_revision(const char *path, int64_t from, int64_t to, struct status *reterr) {
    struct mapped m = {0};
    unsigned char old[REVISION_BYTES], new[REVISION_BYTES];
    size_t found = 0;
    revision_key(old, from);
    revision_key(new, to);
    if (from >= to || etcd_snapshot_verify(path, reterr) != 0 || map_file(path, true, &m, reterr) != 0) return -1;
    for (unsigned char *p = m.data, *end = m.data + m.len - SUM_BYTES; (p = memmem(p, (size_t)(end - p), old, REVISION_BYTES)); p += REVISION_BYTES, found++) memcpy(p, new, REVISION_BYTES);
    sum_of(&m, m.data + m.len - SUM_BYTES);
    int rc = fsync(m.fd) == 0 ? 0 : status_errno(reterr, path);
    unmap_file(&m);
    return found ? rc : status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s does not end with a deletion at revision %lld", path, (long long)from);
}
