/* Requests and limits as cgroup settings, and the cgroups of Pods: kubepods[/burstable|/besteffort]/podUID below the root given, in either layout.
 * Upstream: pkg/kubelet/cm (helpers_linux.go, pod_container_manager_linux.go), pkg/kubelet/qos. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "kubelet/internal.h"
#include "base/str.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"
enum { CGROUP2_MAGIC = 0x63677270 };

int64_t milli_cpu_to_shares(int64_t milli) {
    if (milli == 0) return CPU_SHARES_MIN;
    return MAX(CPU_SHARES_MIN, MIN(CPU_SHARES_MAX, milli * 1024 / 1000));
}

int64_t milli_cpu_to_quota(int64_t milli) { return milli == 0 ? 0 : MAX(CPU_QUOTA_MIN_US, milli * CPU_PERIOD_US / 1000); }
int64_t cpu_shares_to_weight(int64_t shares) { return 1 + (MAX(CPU_SHARES_MIN, shares) - 2) * 9999 / 262142; }

static int64_t milli_of(const struct string_map *m, const char *name) {
    struct quantity q = quantity_of(string_map_get(m, name));
    return quantity_milli_value(&q);
}

static int64_t value_of(const struct string_map *m, const char *name) {
    struct quantity q = quantity_of(string_map_get(m, name));
    return quantity_value(&q);
}

/* A container's request, its limit where it has none. */
static int64_t request_milli(const struct corev1_Container *c, const char *name) {
    return string_map_has(&c->resources.requests, name) ? milli_of(&c->resources.requests, name) : milli_of(&c->resources.limits, name);
}

int container_oom_score_adj(const struct corev1_Pod *p, const struct corev1_Container *c, int64_t memory_capacity) {
    if (p->spec.priority.has && p->spec.priority.value >= 2000000000) return -997; /* node critical */
    const char *qos = pod_qos_class(p);
    if (str_eq(qos, "Guaranteed")) return -997;
    if (str_eq(qos, "BestEffort")) return 1000;
    int64_t request = request_milli(c, "memory") / 1000;
    int64_t adj = memory_capacity > 0 ? 1000 - (int64_t)((double)request * 1000 / (double)memory_capacity) : 1000;
    return (int)MAX(3, MIN(999, adj)); /* between guaranteed and best effort */
}

int64_t pod_request_milli(const struct corev1_Pod *p, const char *resource) {
    int64_t sum = 0, sidecars = 0, init_max = 0;
    LIST_FOREACH(c, &p->spec.containers) sum += request_milli(c, resource);
    LIST_FOREACH(c, &p->spec.initContainers) {
        if (pod_container_is_sidecar(c)) sidecars += request_milli(c, resource);
        init_max = MAX(init_max, sidecars + (pod_container_is_sidecar(c) ? 0 : request_milli(c, resource)));
    }
    return MAX(sum + sidecars, init_max) + milli_of(&p->spec.overhead, resource);
}

struct pod_resources pod_resources_of(const struct corev1_Pod *p) {
    struct pod_resources r = {0};
    int64_t cpu_limit = 0, memory_limit = 0, cpu_init = 0, memory_init = 0;
    bool cpu_limited = true, memory_limited = true;
    LIST_FOREACH(c, &p->spec.containers) {
        int64_t cpu = milli_of(&c->resources.limits, "cpu"), memory = value_of(&c->resources.limits, "memory");
        cpu_limited = cpu_limited && cpu;
        memory_limited = memory_limited && memory;
        cpu_limit += cpu;
        memory_limit += memory;
    }
    LIST_FOREACH(c, &p->spec.initContainers) {
        int64_t cpu = milli_of(&c->resources.limits, "cpu"), memory = value_of(&c->resources.limits, "memory");
        cpu_limited = cpu_limited && cpu;
        memory_limited = memory_limited && memory;
        if (pod_container_is_sidecar(c)) {
            cpu_limit += cpu;
            memory_limit += memory;
        } else {
            cpu_init = MAX(cpu_init, cpu);
            memory_init = MAX(memory_init, memory);
        }
    }
    r.shares = milli_cpu_to_shares(pod_request_milli(p, "cpu"));
    if (cpu_limited) r.quota = milli_cpu_to_quota(MAX(cpu_limit, cpu_init));
    if (memory_limited) r.memory = MAX(memory_limit, memory_init);
    if (str_eq(pod_qos_class(p), "BestEffort")) r = (struct pod_resources){.shares = CPU_SHARES_MIN};
    return r;
}

/* ---- the file system ---- */

void cgroups_init(struct cgroups *g, struct arena *a, const char *root) {
    struct statfs st;
    g->root = arena_strdup(a, str_eq(root, "/") ? "" : str_or(root, ""));
    g->v2 = statfs(CGROUP_MOUNT, &st) == 0 && st.f_type == CGROUP2_MAGIC;
    g->pids_max = 0;
}

/* v1 controllers the kubelet sets itself; the runtime makes the rest as needed. */
static const char *const controllers[] = {"cpu", "memory", "pids"};

static int set(const char *dir, const char *file, const char *value, struct status *reterr) {
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return status_errno(reterr, path);
    ssize_t n = write(fd, value, strlen(value));
    int e = errno;
    close(fd);
    errno = e;
    return n < 0 ? status_errno(reterr, path) : 0;
}

/* In v2 a group hands its controllers down only where told to. */
static void v2_enable_controllers(const char *dir) {
    static const char *const all[] = {"+cpu", "+memory", "+pids", "+cpuset", "+io"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) set(dir, "cgroup.subtree_control", all[i], NULL);
}

static int make(const struct cgroups *g, const char *path, struct status *reterr) {
    char dir[1024];
    if (!g->v2) {
        for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
            snprintf(dir, sizeof(dir), CGROUP_MOUNT "/%s", controllers[i]);
            if (access(dir, F_OK) != 0) continue; /* not mounted here */
            snprintf(dir, sizeof(dir), CGROUP_MOUNT "/%s%s", controllers[i], path);
            if (make_dirs(dir, 0755, reterr) != 0) return -1;
        }
        return 0;
    }
    v2_enable_controllers(CGROUP_MOUNT);
    snprintf(dir, sizeof(dir), CGROUP_MOUNT "%s", path);
    for (char *p = dir + strlen(CGROUP_MOUNT) + 1;; p++) {
        if (*p != '/' && *p != 0) continue;
        char was = *p;
        *p = 0;
        if (mkdir(dir, 0755) != 0 && errno != EEXIST) return status_errno(reterr, dir);
        v2_enable_controllers(dir);
        *p = was;
        if (was == 0) return 0;
    }
}

static void apply(const struct cgroups *g, const char *path, const struct pod_resources *r) {
    char dir[1024], value[64];
#define SET(controller, file, ...)                                                        \
    do {                                                                                  \
        snprintf(value, sizeof(value), __VA_ARGS__);                                      \
        if (g->v2) snprintf(dir, sizeof(dir), CGROUP_MOUNT "%s", path);                   \
        else snprintf(dir, sizeof(dir), CGROUP_MOUNT "/" controller "%s", path);          \
        set(dir, file, value, NULL);                                                      \
    } while (0)
    if (g->v2) {
        SET("", "cpu.weight", "%lld", (long long)cpu_shares_to_weight(r->shares));
        if (r->quota) SET("", "cpu.max", "%lld %d", (long long)r->quota, CPU_PERIOD_US);
        if (r->memory) SET("", "memory.max", "%lld", (long long)r->memory);
    } else {
        SET("cpu", "cpu.shares", "%lld", (long long)r->shares);
        SET("cpu", "cpu.cfs_period_us", "%d", CPU_PERIOD_US);
        if (r->quota) SET("cpu", "cpu.cfs_quota_us", "%lld", (long long)r->quota);
        if (r->memory) SET("memory", "memory.limit_in_bytes", "%lld", (long long)r->memory);
    }
    if (r->pids) SET("pids", "pids.max", "%lld", (long long)r->pids);
#undef SET
}

int cgroups_make_base(const struct cgroups *g, struct status *reterr) {
    static const char *const groups[] = {"", "/burstable", "/besteffort"};
    char path[512];
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        snprintf(path, sizeof(path), "%s/kubepods%s", g->root, groups[i]);
        if (make(g, path, reterr) != 0) return -1;
        struct pod_resources r = {.shares = CPU_SHARES_MIN};
        if (i == 2) apply(g, path, &r); /* best effort gets what is left over */
    }
    return 0;
}

static const char *group_of(const char *qos) { return str_eq(qos, "Guaranteed") ? "" : str_eq(qos, "BestEffort") ? "/besteffort" : "/burstable"; }

const char *cgroups_pod_path(const struct cgroups *g, struct arena *a, const struct corev1_Pod *p) {
    return arena_printf(a, "%s/kubepods%s/pod%s", g->root, group_of(pod_qos_class(p)), p->metadata.uid);
}

int cgroups_pod_make(const struct cgroups *g, const struct corev1_Pod *p, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *path = cgroups_pod_path(g, a, p);
    if (make(g, path, reterr) != 0) return -1;
    struct pod_resources r = pod_resources_of(p);
    r.pids = g->pids_max;
    apply(g, path, &r);
    return 0;
}

bool cgroups_pod_exists(const struct cgroups *g, const struct corev1_Pod *p) {
    _cleanup_arena_ struct arena *a = arena_new();
    return access(arena_printf(a, CGROUP_MOUNT "%s%s", g->v2 ? "" : "/memory", cgroups_pod_path(g, a, p)), F_OK) == 0;
}

/* Groups are removed from the leaves up; one with a process in it stays for the next try. */
static void remove_group(const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.') continue;
        char child[1200];
        if (snprintf(child, sizeof(child), "%s/%s", dir, e->d_name) < (int)sizeof(child)) remove_group(child);
    }
    closedir(d);
    rmdir(dir);
}

void cgroups_pod_remove(const struct cgroups *g, const char *uid) {
    static const char *const groups[] = {"", "/burstable", "/besteffort"};
    char dir[1024];
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        if (g->v2) {
            snprintf(dir, sizeof(dir), CGROUP_MOUNT "%s/kubepods%s/pod%s", g->root, groups[i], uid);
            remove_group(dir);
            continue;
        }
        DIR *d = opendir(CGROUP_MOUNT);
        for (struct dirent *e; d && (e = readdir(d));) {
            if (e->d_name[0] == '.' || e->d_type != DT_DIR) continue; /* links name a controller twice */
            snprintf(dir, sizeof(dir), CGROUP_MOUNT "/%s%s/kubepods%s/pod%s", e->d_name, g->root, groups[i], uid);
            remove_group(dir);
        }
        if (d) closedir(d);
    }
}
