/* Files of a volume that change all at once, and small file helpers.
 *
 * The files live in a dated folder; the symlink ..data points at it and each visible name is a link through ..data, so that one rename switches them all.
 * Upstream: pkg/volume/util/atomic_writer.go. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kubelet/internal.h"
#include "base/str.h"

void remove_tree(const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0) return;
    if (S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            char child[4096];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
            if (snprintf(child, sizeof(child), "%s/%s", path, e->d_name) < (int)sizeof(child)) remove_tree(child);
        }
        if (d) closedir(d);
        rmdir(path);
    } else {
        unlink(path);
    }
}

int read_file(struct arena *a, const char *path, size_t max, char **ret, size_t *ret_len) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    _cleanup_buf_ struct buf b = BUF_INIT;
    char chunk[4096];
    ssize_t n;
    while (b.len < max && (n = read(fd, chunk, MIN(sizeof(chunk), max - b.len))) > 0) buf_append(&b, chunk, (size_t)n);
    close(fd);
    *ret = arena_strndup(a, buf_cstr(&b), b.len);
    if (ret_len) *ret_len = b.len;
    return 0;
}

int write_file(const char *path, const void *data, size_t len, int mode, struct status *reterr) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) return status_errno(reterr, path);
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status_errno(reterr, path);
            close(fd);
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    fchmod(fd, (mode_t)mode);
    close(fd);
    return 0;
}

static bool bad_path(const char *path) {
    if (str_empty(path) || path[0] == '/' || strlen(path) > 2048) return true;
    for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == 0 || p == path)) return true;
    return false;
}

static bool same_files(struct arena *a, const char *dir, const struct payload *files) {
    LIST_FOREACH(f, files) {
        char *data;
        size_t len;
        if (read_file(a, arena_printf(a, "%s/..data/%s", dir, f->path), f->len + 1, &data, &len) != 0 || len != f->len || memcmp(data, f->data, len) != 0) return false;
    }
    return true;
}

/* A file that is there but no longer wanted. */
static bool has_others(struct arena *a, const char *folder, const char *prefix, const struct payload *files) {
    DIR *d = opendir(folder);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        const char *name = arena_printf(a, "%s%s", prefix, e->d_name), *path = arena_printf(a, "%s/%s", folder, e->d_name);
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            found = has_others(a, path, arena_printf(a, "%s/", name), files);
            continue;
        }
        bool wanted = false;
        LIST_FOREACH(f, files) wanted = wanted || str_eq(f->path, name);
        found = !wanted;
    }
    if (d) closedir(d);
    return found;
}

static int write_payload(struct arena *a, const char *folder, const struct payload *files, int64_t gid, struct status *reterr) {
    LIST_FOREACH(f, files) {
        const char *path = arena_printf(a, "%s/%s", folder, f->path), *slash = strrchr(path, '/');
        if (make_dirs(arena_strndup(a, path, (size_t)(slash - path)), 0755, reterr) != 0) return -1;
        if (write_file(path, f->data, f->len, f->mode, reterr) != 0) return -1;
        if ((gid >= 0 || f->uid >= 0) && chown(path, f->uid >= 0 ? (uid_t)f->uid : (uid_t)-1, gid >= 0 ? (gid_t)gid : (gid_t)-1) != 0)
            return status_errno(reterr, path);
        if (chmod(path, (mode_t)f->mode) != 0) return status_errno(reterr, path); /* chown drops bits */
    }
    return 0;
}

/* The visible names: links through ..data, one for each first path component; what is no longer wanted goes. */
static int link_names(struct arena *a, const char *dir, const struct payload *files, struct status *reterr) {
    LIST_FOREACH(f, files) {
        const char *top = arena_strndup(a, f->path, strcspn(f->path, "/")), *link = arena_printf(a, "%s/%s", dir, top);
        struct stat st;
        if (lstat(link, &st) == 0) continue;
        if (symlink(arena_printf(a, "..data/%s", top), link) != 0) return status_errno(reterr, link);
    }
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, "..", 2) == 0 || strcmp(e->d_name, ".") == 0) continue;
        bool wanted = false;
        LIST_FOREACH(f, files) wanted = wanted || (strncmp(f->path, e->d_name, strlen(e->d_name)) == 0 && strchr("/", f->path[strlen(e->d_name)]));
        if (!wanted) remove_tree(arena_printf(a, "%s/%s", dir, e->d_name));
    }
    if (d) closedir(d);
    return 0;
}

int atomic_write(const char *dir, const struct payload *files, int64_t gid, bool *ret_changed, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    LIST_FOREACH(f, files) if (bad_path(f->path)) return status_bad_request(reterr, "invalid path: %s", str_or(f->path, ""));
    char *data_link = arena_printf(a, "%s/..data", dir), old[512] = "";
    ssize_t n = readlink(data_link, old, sizeof(old) - 1);
    if (n >= 0) old[n] = 0;
    *ret_changed = false;
    if (n > 0 && same_files(a, dir, files) && !has_others(a, arena_printf(a, "%s/%s", dir, old), "", files)) return link_names(a, dir, files, reterr);
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    const char *name = arena_printf(a, "..%04d_%02d_%02d_%02d_%02d_%02d.%09ld", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec);
    const char *folder = arena_printf(a, "%s/%s", dir, name), *temp = arena_printf(a, "%s/..data_tmp", dir);
    if (mkdir(folder, 0755) != 0) return status_errno(reterr, folder);
    if (gid >= 0 && (chown(folder, (uid_t)-1, (gid_t)gid) != 0 || chmod(folder, 02775) != 0)) return status_errno(reterr, folder);
    if (write_payload(a, folder, files, gid, reterr) != 0) {
        remove_tree(folder);
        return -1;
    }
    unlink(temp);
    if (symlink(name, temp) != 0 || rename(temp, data_link) != 0) return status_errno(reterr, data_link);
    if (old[0]) remove_tree(arena_printf(a, "%s/%s", dir, old));
    *ret_changed = true;
    return link_names(a, dir, files, reterr);
}
