/* The audit log: a file that is set aside when it is full. Upstream: plugin/pkg/audit/log with lumberjack. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "apiserver/audit_backend.h"
#include "apiserver/audit_backups.h"
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"

enum { PATH_LEN = 4200 };

struct audit_log {
    char *path;
    int64_t max_bytes, bytes;
    int backups_max, age_days_max; /* 0: no limit */
    bool legacy, compress;
    int fd;
    pthread_mutex_t mutex;         /* fd and bytes */
    pthread_t mill;                /* compresses what was set aside last; under the mutex */
    bool milling;
};

static int open_log(struct audit_log *l) {
    struct stat st;
    l->fd = strcmp(l->path, "-") == 0 ? dup(STDOUT_FILENO) : open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (l->fd < 0) return -1;
    l->bytes = fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : 0;
    return 0;
}

struct audit_log *audit_log_new(const struct audit_log_options *o, struct status *reterr) {
    struct audit_log *l = calloc(1, sizeof(*l));
    CHECK(l && (l->path = strdup(str_or(o->path, "-"))));
    l->max_bytes = (int64_t)o->max_size_mb << 20;
    l->backups_max = o->backups_max;
    l->age_days_max = o->age_days_max;
    l->legacy = o->legacy;
    l->compress = o->compress;
    pthread_mutex_init(&l->mutex, NULL);
    if (open_log(l) == 0) return l;
    status_errno(reterr, l->path);
    audit_log_free(l);
    return NULL;
}

void audit_log_free(struct audit_log *l) {
    if (l->milling) pthread_join(l->mill, NULL);
    if (l->fd >= 0) close(l->fd);
    pthread_mutex_destroy(&l->mutex);
    free(l->path);
    free(l);
}

/* ---- setting aside ---- */

static bool copy_compressed(const char *from, const char *to) {
    char part[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    gzFile z = out < 0 ? NULL : gzdopen(out, "wb");
    ssize_t n = -1;
    bool ok = z != NULL;
    while (ok && (n = read(in, part, sizeof(part))) > 0) ok = gzwrite(z, part, (unsigned)n) == (int)n;
    if (z) ok = gzclose(z) == Z_OK && ok;
    else if (out >= 0) close(out);
    if (in >= 0) close(in);
    return ok && n == 0;
}

static void *mill(void *arg) {
    char *from = arg, to[PATH_LEN + 4];
    snprintf(to, sizeof(to), "%s.gz", from);
    bool ok = copy_compressed(from, to);
    if (unlink(ok ? from : to) != 0 || !ok) log_error("audit: cannot compress %s", from);
    free(from);
    return NULL;
}

static void compress_aside(struct audit_log *l, const char *aside) {
    char *name = strdup(aside);
    CHECK(name);
    if (l->milling) pthread_join(l->mill, NULL);
    l->milling = pthread_create(&l->mill, NULL, mill, name) == 0;
    if (!l->milling) free(name);
}

/* The full file steps aside under the time's name, and the oldest of those go. The mutex is held. */
static void rotate(struct audit_log *l) {
    char aside[PATH_LEN];
    int64_t now = env_now_ns(env_real());
    audit_backup_name(l->path, now, aside, sizeof(aside));
    if (rename(l->path, aside) != 0) return;
    close(l->fd);
    if (open_log(l) != 0) log_error("audit: cannot open %s: %s", l->path, strerror(errno));
    audit_backups_prune(l->path, l->backups_max, l->age_days_max, now);
    if (l->compress) compress_aside(l, aside);
}

/* ---- writing ---- */

static bool write_all(struct audit_log *l, const char *data, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = l->fd < 0 ? -1 : write(l->fd, data + done, len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        done += (size_t)n;
    }
    l->bytes += (int64_t)len;
    return true;
}

bool audit_log_write(struct audit_log *l, const struct audit_record *r) {
    const struct buf *text = l->legacy ? &r->line : &r->json;
    _cleanup_buf_ struct buf line = BUF_INIT;
    buf_append(&line, text->data, text->len);
    buf_append_char(&line, '\n');
    pthread_mutex_lock(&l->mutex);
    if (l->max_bytes && l->bytes && l->bytes + (int64_t)line.len > l->max_bytes && strcmp(l->path, "-") != 0) rotate(l);
    bool ok = write_all(l, line.data, line.len);
    int e = errno;
    pthread_mutex_unlock(&l->mutex);
    if (!ok) audit_count_error("log", 1, strerror(e));
    return ok;
}
