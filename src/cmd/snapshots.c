/* Scheduled snapshots: see snapshots.h. */
#include "cmd/snapshots.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "api/cron_schedule.h"
#include "api/time_zone.h"
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "store/store.h"

static const char scheduled[] = "scheduled-";
enum { RETRY_S = 60 };

struct snapshots {
    struct snapshots_config config;
    struct arena *arena;
    struct cron_schedule schedule;
    struct time_zone *zone;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping;
};

/* ---- one ---- */

static const char *folder(struct arena *a, const struct snapshots_config *c) { return c->dir ? c->dir : arena_printf(a, "%s/snapshots", c->data_dir); }

static const char *name_now(struct arena *a, const char *prefix, const char *suffix) {
    int64_t now = env_now_ns(env_real());
    struct civil_time t = civil_time_of(time_zone_load(a, "UTC"), now / 1000000000);
    return arena_printf(a, "%s%04d%02d%02dT%02d%02d%02d.%03dZ%s", prefix, t.year, t.month, t.day, t.hour, t.minute, t.second, (int)(now / 1000000 % 1000), suffix);
}

static const char *size_words(struct arena *a, uint64_t bytes) {
    return bytes < 10 << 20 ? arena_printf(a, "%llu KiB", (unsigned long long)(bytes + 1023) >> 10) : arena_printf(a, "%llu MiB", (unsigned long long)bytes >> 20);
}

int snapshot_save(struct arena *a, const struct snapshots_config *c, const char *prefix, const char *path, const char **ret_path, const char **ret_words, struct status *reterr) {
    bool etcd = c->etcd.servers != NULL;
    struct store_report report = {0};
    struct etcd_report members = {0};
    const char *db = arena_printf(a, "%s/db", c->data_dir), *data = arena_printf(a, "%s/data.mdb", db);
    if (!etcd && access(data, R_OK) != 0) return status_errno(reterr, data);
    if (!path) {
        const char *dir = folder(a, c);
        if (mkdir(dir, 0700) != 0 && errno != EEXIST) return status_errno(reterr, dir);
        path = arena_printf(a, "%s/%s", dir, name_now(a, prefix, etcd ? SNAPSHOT_ETCD : SNAPSHOT_EMBEDDED));
    }
    if ((etcd ? etcd_snapshot_save(&c->etcd, path, &members, reterr) : store_save_file(db, path, &report, reterr)) != 0) return -1;
    *ret_path = path;
    if (etcd && !members.revision) *ret_words = size_words(a, members.bytes);
    else *ret_words = arena_printf(a, "revision %llu, %llu keys, %s", (unsigned long long)(etcd ? members.revision : report.revision), (unsigned long long)(etcd ? members.keys : report.keys),
                              size_words(a, etcd ? members.bytes : report.file_bytes));
    return 0;
}

/* ---- many ---- */

static int by_time(const void *a, const void *b) { return strcmp(strrchr(*(char *const *)a, '-'), strrchr(*(char *const *)b, '-')); }

size_t snapshots_list(struct arena *a, const char *dir, const char *prefix, char ***ret) {
    DIR *d = opendir(dir);
    struct { char **items; size_t len; } list = {0};
    for (struct dirent *e; d && (e = readdir(d));)
        if (str_has_prefix(e->d_name, prefix) && strchr(e->d_name, '-') && (str_has_suffix(e->d_name, SNAPSHOT_EMBEDDED) || str_has_suffix(e->d_name, SNAPSHOT_ETCD)))
            *LIST_PUSH(a, &list) = arena_strdup(a, e->d_name);
    if (d) closedir(d);
    if (list.len) qsort(list.items, list.len, sizeof(*list.items), by_time);
    *ret = list.items;
    return list.len;
}

/* Removes all but the newest `keep` files in dir whose names begin with the prefix and end like a snapshot's. */
static void prune(const char *dir, const char *prefix, int keep) {
    _cleanup_arena_ struct arena *a = arena_new();
    char **names;
    size_t n = snapshots_list(a, dir, prefix, &names);
    for (size_t i = 0; i + (size_t)keep < n; i++)
        if (unlink(arena_printf(a, "%s/%s", dir, names[i])) != 0) log_warning("cannot remove the snapshot %s/%s: %s", dir, names[i], strerror(errno));
}

/* ---- by a schedule ---- */

/* False: it failed, and is tried again before the next time. */
static bool save_and_prune(struct snapshots *s) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    const char *path, *words;
    if (snapshot_save(a, &s->config, scheduled, NULL, &path, &words, &err) != 0) {
        log_error("the scheduled snapshot was not taken: %s", status_message(&err));
        return false;
    }
    log_info("saved %s (%s)", path, words);
    prune(folder(a, &s->config), scheduled, s->config.retention);
    return true;
}

/* False: the server stops. */
static bool wait_until(struct snapshots *s, int64_t at_s) {
    pthread_mutex_lock(&s->mutex);
    while (!s->stopping && env_now_s(env_real()) < at_s) {
        int64_t left_s = MIN(at_s - env_now_s(env_real()), RETRY_S); /* the wall's clock may be set in between */
        env_cond_wait(env_real(), &s->cond, &s->mutex, env_mono_ns(env_real()) + left_s * 1000000000);
    }
    bool on = !s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return on;
}

static void *run(void *arg) {
    struct snapshots *s = arg;
    for (int64_t now = env_now_s(env_real()), next; (next = cron_schedule_next(&s->schedule, s->zone, now)) >= 0 && wait_until(s, next); now = MAX(next, env_now_s(env_real())))
        while (!save_and_prune(s) && wait_until(s, env_now_s(env_real()) + RETRY_S)) {}
    return NULL;
}

struct snapshots *snapshots_start(const struct snapshots_config *config, struct status *reterr) {
    struct snapshots *s = calloc(1, sizeof(*s));
    CHECK(s);
    struct arena *a = s->arena = arena_new();
    const char *wrong = NULL;
    s->config = (struct snapshots_config){arena_strdup(a, config->data_dir), {arena_strdup(a, config->etcd.servers), arena_strdup(a, config->etcd.ca_file), arena_strdup(a, config->etcd.cert_file),
        arena_strdup(a, config->etcd.key_file)}, arena_strdup(a, config->dir), arena_strdup(a, config->schedule), config->retention};
    if (cron_schedule_parse(a, s->config.schedule, &s->schedule, &wrong) == 0) s->zone = time_zone_load(a, str_or(s->schedule.time_zone, "UTC"));
    if (!s->zone) {
        status_bad_request(reterr, "--snapshot-schedule-cron: \"%s\": %s", config->schedule, wrong ? wrong : "unknown time zone");
        arena_free(a);
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->mutex, NULL);
    env_cond_init(&s->cond);
    CHECK(pthread_create(&s->thread, NULL, run, s) == 0);
    return s;
}

void snapshots_stop(struct snapshots *s) {
    if (!s) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    arena_free(s->arena);
    free(s);
}
