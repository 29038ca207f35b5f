#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/env.h"

int file_read(const char *path, size_t max, struct buf *ret, struct status *reterr) {
    FILE *f = fopen(path, "re");
    char part[4096];
    size_t begin = ret->len;
    if (!f) return status_errno(reterr, path);
    for (size_t n; ret->len - begin <= max && (n = fread(part, 1, sizeof(part), f)) > 0;) buf_append(ret, part, n);
    bool failed = ferror(f);
    int r = failed ? status_errno(reterr, path) : 0;
    fclose(f);
    if (r == 0 && ret->len - begin > max) r = status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s: larger than %zu bytes", path, max);
    return r;
}

int file_write_secret(const char *path, const void *data, size_t len, struct status *reterr) {
    char tmp[4096];
    snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return status_errno(reterr, tmp);
    bool ok = write(fd, data, len) == (ssize_t)len && fsync(fd) == 0;
    return close(fd) == 0 && ok && rename(tmp, path) == 0 ? 0 : status_errno(reterr, path);
}

int make_dirs(const char *path, int mode, struct status *reterr) {
    char at[4096];
    if (snprintf(at, sizeof(at), "%s", path) >= (int)sizeof(at)) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "path too long: %s", path);
    for (char *p = at + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char was = *p;
        *p = 0;
        if (mkdir(at, (mode_t)mode) != 0 && errno != EEXIST) return status_errno(reterr, at);
        if (was == 0) return 0;
        *p = was;
    }
}

struct watched {
    char *path;
    struct stat seen;
    void (*fn)(void *arg);
    void *arg;
};

struct file_watch {
    struct watched *items;
    size_t len;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool started, stopping;
};

struct file_watch *file_watch_new(void) {
    struct file_watch *w = calloc(1, sizeof(*w));
    CHECK(w);
    pthread_mutex_init(&w->mutex, NULL);
    env_cond_init(&w->cond);
    return w;
}

void file_watch_add(struct file_watch *w, const char *path, void (*changed)(void *arg), void *arg) {
    if (!path) return;
    CHECK(!w->started);
    w->items = realloc(w->items, (w->len + 1) * sizeof(*w->items));
    CHECK(w->items);
    struct watched *i = &w->items[w->len++];
    *i = (struct watched){.path = strdup(path), .fn = changed, .arg = arg};
    CHECK(i->path);
    stat(path, &i->seen);
}

static bool has_changed(struct watched *i) {
    struct stat st;
    if (stat(i->path, &st) != 0) return false;
    bool same = st.st_mtim.tv_sec == i->seen.st_mtim.tv_sec && st.st_mtim.tv_nsec == i->seen.st_mtim.tv_nsec && st.st_size == i->seen.st_size && st.st_ino == i->seen.st_ino;
    i->seen = st;
    return !same;
}

static void *run(void *arg) {
    struct file_watch *w = arg;
    pthread_mutex_lock(&w->mutex);
    while (!w->stopping) {
        int64_t now = env_mono_ns(env_real());
        pthread_mutex_unlock(&w->mutex);
        for (size_t i = 0; i < w->len; i++)
            if (has_changed(&w->items[i])) w->items[i].fn(w->items[i].arg);
        pthread_mutex_lock(&w->mutex);
        if (!w->stopping) env_cond_wait(env_real(), &w->cond, &w->mutex, now + 1000000000);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

void file_watch_start(struct file_watch *w) {
    if (w->started || !w->len) return;
    w->started = true;
    CHECK(pthread_create(&w->thread, NULL, run, w) == 0);
}

void file_watch_free(struct file_watch *w) {
    if (!w) return;
    if (w->started) {
        pthread_mutex_lock(&w->mutex);
        w->stopping = true;
        pthread_cond_signal(&w->cond);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
    }
    for (size_t i = 0; i < w->len; i++) free(w->items[i].path);
    free(w->items);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}
