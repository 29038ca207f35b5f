/* Slow chores: what the runtime has of Pods that nobody knows any more, old instances of containers, logs that have grown.
 * Upstream: HandlePodCleanups, kuberuntime_gc.go, logs/container_log_manager.go. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"

enum { PERIOD_MS = 2000, ROTATE_EVERY = 5, LOG_BYTES_MAX = 10 << 20, LOG_FILES_MAX = 5 };

/* A sandbox whose Pod is neither desired nor being ended: stopped and removed by a worker of its own. */
static void end_orphans(struct kubelet *k, struct arena *a) {
    Runtime__V1__ListPodSandboxResponse *boxes;
    if (cri_list_pod_sandboxes(k->cri, a, NULL, &boxes, NULL) != 0) return;
    for (size_t i = 0; i < boxes->n_items; i++) {
        const Runtime__V1__PodSandbox *b = boxes->items[i];
        const char *uid = CRI_MAP_GET(b->n_labels, b->labels, "io.kubernetes.pod.uid"), *name = CRI_MAP_GET(b->n_labels, b->labels, "io.kubernetes.pod.name");
        const char *ns = CRI_MAP_GET(b->n_labels, b->labels, "io.kubernetes.pod.namespace");
        if (!uid || !name || !ns || pod_workers_known(k->workers, uid)) continue;
        struct pod *p = kubelet_pod_get(k, uid);
        if (!p) {
            log_info("stopping the orphaned Pod %s/%s", ns, name);
            pod_workers_orphan(k->workers, uid, ns, name);
        }
        pod_unref(p);
    }
}

static void remove_orphan_dirs(struct kubelet *k, struct arena *a) {
    DIR *d = opendir(arena_printf(a, "%s/pods", k->o.root_dir));
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || pod_workers_known(k->workers, e->d_name)) continue;
        struct pod *p = kubelet_pod_get(k, e->d_name);
        if (!p) {
            volumes_unmount(k, e->d_name);
            cgroups_pod_remove(&k->cgroups, e->d_name);
        }
        pod_unref(p);
    }
    if (d) closedir(d);
}

/* Of each container the newest ended instance stays, for its status and `logs --previous`. */
static void remove_dead(struct kubelet *k, struct arena *a) {
    struct pod **pods = kubelet_pods(k);
    Runtime__V1__ListContainersResponse *all;
    if (cri_list_containers(k->cri, a, NULL, &all, NULL) == 0) {
        for (size_t i = 0; i < all->n_containers; i++) {
            const Runtime__V1__Container *c = all->containers[i];
            const char *uid = CRI_MAP_GET(c->n_labels, c->labels, "io.kubernetes.pod.uid");
            if (c->state != RUNTIME__V1__CONTAINER_STATE__CONTAINER_EXITED || !uid) continue;
            int newer = 0;
            for (size_t j = 0; j < all->n_containers; j++) {
                const Runtime__V1__Container *o = all->containers[j];
                newer += o->created_at > c->created_at && str_eq(o->metadata->name, c->metadata->name)
                    && str_eq(CRI_MAP_GET(o->n_labels, o->labels, "io.kubernetes.pod.uid"), uid);
            }
            if (newer < 2) continue;
            cri_remove_container(k->cri, c->id, NULL);
        }
    }
    kubelet_pods_free(pods);
}

/* ---- log rotation ---- */

static void rotate(struct kubelet *k, struct arena *a, const char *id, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return;
    const char *dir = arena_strndup(a, path, (size_t)(slash - path)), *base = slash + 1;
    struct string_list old = {0};
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (str_has_prefix(e->d_name, base) && e->d_name[strlen(base)] == '.') string_list_push(a, &old, arena_strdup(a, e->d_name));
    if (d) closedir(d);
    while (old.len >= LOG_FILES_MAX - 1) { /* dated names: the smallest is the oldest */
        size_t least = 0;
        for (size_t i = 1; i < old.len; i++)
            if (strcmp(old.items[i], old.items[least]) < 0) least = i;
        unlink(arena_printf(a, "%s/%s", dir, old.items[least]));
        old.items[least] = old.items[--old.len];
    }
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    const char *to = arena_printf(a, "%s.%04d%02d%02d-%02d%02d%02d", path, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (rename(path, to) != 0) return;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cri_reopen_container_log(k->cri, id, &err) == 0) return;
    log_warning("reopening %s: %s", path, status_message(&err));
    if (rename(to, path) != 0) log_warning("%s is lost", path);
}

static void rotate_logs(struct kubelet *k, struct arena *a) {
    Runtime__V1__ListContainersResponse *all;
    if (cri_list_containers(k->cri, a, NULL, &all, NULL) != 0) return;
    for (size_t i = 0; i < all->n_containers; i++) {
        const Runtime__V1__Container *c = all->containers[i];
        if (c->state != RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING) continue;
        const char *uid = CRI_MAP_GET(c->n_labels, c->labels, "io.kubernetes.pod.uid");
        struct pod *p = uid ? kubelet_pod_get(k, uid) : NULL;
        if (!p) continue;
        const char *path = arena_printf(a, "%s/%s/%u.log", kubelet_pod_log_dir(k, a, p->obj), c->metadata->name, c->metadata->attempt);
        struct stat st;
        if (stat(path, &st) == 0 && st.st_size > LOG_BYTES_MAX) rotate(k, a, c->id, path);
        pod_unref(p);
    }
}

void *housekeeping_thread(void *arg) {
    struct kubelet *k = arg;
    for (int round = 1; !kubelet_sleep_ms(k, PERIOD_MS); round++) {
        _cleanup_arena_ struct arena *a = arena_new();
        pthread_mutex_lock(&k->mutex);
        bool synced = k->pods_synced && (k->static_synced || !k->o.static_pod_dir), up = k->pleg_ok;
        pthread_mutex_unlock(&k->mutex);
        if (!synced || !up) continue; /* until the Pods are known everything looks orphaned */
        end_orphans(k, a);
        remove_dead(k, a);
        if (round % ROTATE_EVERY == 0) rotate_logs(k, a);
        if (round % 15 == 0) remove_orphan_dirs(k, a);
    }
    return NULL;
}
