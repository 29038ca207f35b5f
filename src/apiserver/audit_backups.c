#include "apiserver/audit_backups.h"
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "base/macros.h"

enum { PATH_LEN = 4096, STAMP_LEN = 23, DAY_S = 86400, NS_PER_MS = 1000000 };
static const int64_t NS_PER_S = 1000000000;
static const char gz[] = ".gz";

/* "/var/log/audit.log": where the folder, the stem and the extension end and begin. */
struct parts { int folder, stem; const char *name, *extension; };

static struct parts split(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    const char *extension = dot ? dot : path + strlen(path);
    return (struct parts){(int)(name - path), (int)(extension - name), name, extension};
}

void audit_backup_name(const char *path, int64_t now_ns, char *ret, size_t size) {
    struct parts p = split(path);
    struct tm tm;
    time_t s = (time_t)(now_ns / NS_PER_S);
    gmtime_r(&s, &tm);
    snprintf(ret, size, "%.*s%.*s-%04d-%02d-%02dT%02d-%02d-%02d.%03d%s", p.folder, path, p.stem, p.name, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
             (int)(now_ns % NS_PER_S / NS_PER_MS), p.extension);
}

struct backup { char stamp[STAMP_LEN + 1]; int64_t time_s; bool compressed; };

/* Whether a name is one of a backup, and of when. */
static bool read_name(const struct parts *p, const char *name, struct backup *ret) {
    struct tm tm = {0};
    size_t len = strlen(name), stem = (size_t)p->stem;
    int ms, used = 0;
    ret->compressed = len > sizeof(gz) - 1 && strcmp(name + len - (sizeof(gz) - 1), gz) == 0 && len != stem + 1 + STAMP_LEN + strlen(p->extension);
    if (ret->compressed) len -= sizeof(gz) - 1;
    if (len != stem + 1 + STAMP_LEN + strlen(p->extension) || strncmp(name, p->name, stem) != 0 || name[stem] != '-' || strncmp(name + stem + 1 + STAMP_LEN, p->extension, strlen(p->extension)) != 0) return false;
    memcpy(ret->stamp, name + stem + 1, STAMP_LEN);
    ret->stamp[STAMP_LEN] = '\0';
    if (sscanf(ret->stamp, "%4d-%2d-%2dT%2d-%2d-%2d.%3d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &used) != 7 || used != STAMP_LEN) return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    ret->time_s = timegm(&tm);
    return true;
}

static int newest_first(const void *x, const void *y) { return strcmp(((const struct backup *)y)->stamp, ((const struct backup *)x)->stamp); }

void audit_backups_prune(const char *path, int count_max, int age_days_max, int64_t now_ns) {
    struct parts p = split(path);
    char folder[PATH_LEN], victim[2 * PATH_LEN];
    struct backup *all = NULL, one;
    size_t n = 0, room = 0;
    if (!count_max && !age_days_max) return;
    snprintf(folder, sizeof(folder), "%.*s", p.folder, path);
    DIR *d = opendir(*folder ? folder : ".");
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        if (!read_name(&p, e->d_name, &one)) continue;
        if (n == room) CHECK(all = realloc(all, sizeof(*all) * (room = room ? 2 * room : 16)));
        all[n++] = one;
    }
    closedir(d);
    if (n) qsort(all, n, sizeof(*all), newest_first);
    for (size_t i = 0; i < n; i++) {
        bool old = age_days_max && all[i].time_s < now_ns / NS_PER_S - (int64_t)age_days_max * DAY_S;
        if (!old && (!count_max || i < (size_t)count_max)) continue;
        snprintf(victim, sizeof(victim), "%s%.*s-%s%s%s", folder, p.stem, p.name, all[i].stamp, p.extension, all[i].compressed ? gz : "");
        if (unlink(victim) != 0) log_error("audit: cannot remove %s", victim);
    }
    free(all);
}
