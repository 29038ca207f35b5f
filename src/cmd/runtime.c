/* A containerd of our own: see runtime.h. One thread starts it, waits for its end and starts it again. */
#include "cmd/runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/env.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "cmd/program.h"
#include "kubelet/cri.h"

extern const unsigned char pause_image[];
extern const size_t pause_image_len;

enum { READY_TIMEOUT_MS = 30000, BACKOFF_MIN_MS = 1000, BACKOFF_MAX_MS = 30000, STABLE_MS = 60000, STOP_TIMEOUT_MS = 8000 };

struct runtime {
    struct arena *arena;
    const char *endpoint, *socket, *cni_conf_dir, *cni_bin_dir, *containerd, *config_path, *log_path, *dir;
    bool ours;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping, ended;
    pid_t pid; /* 0: not running */
};

/* ---- small file helpers ---- */

static int write_file(const char *path, const void *data, size_t len, struct status *reterr) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
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
    close(fd);
    return 0;
}

static bool has_capability(cap_value_t which) {
    cap_t caps = cap_get_proc();
    cap_flag_value_t value = CAP_CLEAR;
    if (caps) {
        cap_get_flag(caps, which, CAP_EFFECTIVE, &value);
        cap_free(caps);
    }
    return value == CAP_SET;
}

/* ---- configuration ---- */

static int config_write(struct runtime *r, const struct runtime_options *o, const char *state, const char *oci, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "# Written by ckube at each start.\nversion = 2\n");
    buf_printf(&b, "root = \"%s/root\"\nstate = \"%s\"\noom_score = 0\n", r->dir, state);
    buf_append_str(&b, "disabled_plugins = [\"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\", \"io.containerd.snapshotter.v1.aufs\","
                       " \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.blockfile\", \"io.containerd.internal.v1.tracing\","
                       " \"io.containerd.tracing.processor.v1.otlp\"]\n");
    buf_printf(&b, "[grpc]\n  address = \"%s\"\n[ttrpc]\n  address = \"%s.ttrpc\"\n", r->socket, r->socket);
    buf_append_str(&b, "[plugins.\"io.containerd.grpc.v1.cri\"]\n");
    buf_printf(&b, "  sandbox_image = \"%s\"\n  stream_server_address = \"127.0.0.1\"\n  stream_server_port = \"0\"\n", PAUSE_IMAGE);
    buf_printf(&b, "  netns_mounts_under_state_dir = true\n  restrict_oom_score_adj = %s\n", has_capability(CAP_SYS_RESOURCE) ? "false" : "true");
    buf_append_str(&b, "  enable_unprivileged_ports = true\n  enable_unprivileged_icmp = true\n");
    buf_printf(&b, "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"%s\"\n    conf_dir = \"%s\"\n", r->cni_bin_dir, r->cni_conf_dir);
    buf_append_str(&b, "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n    default_runtime_name = \"runc\"\n"
                       "    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n      runtime_type = \"io.containerd.runc.v2\"\n");
    buf_printf(&b, "      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n        BinaryName = \"%s\"\n        SystemdCgroup = false\n", oci);
    const char *registries = o->registries_dir ? o->registries_dir : arena_printf(r->arena, "%s/agent/etc/containerd/certs.d", o->data_dir);
    if (access(registries, F_OK) == 0) buf_printf(&b, "  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    config_path = \"%s\"\n", registries);
    return write_file(r->config_path, b.data, b.len, reterr);
}

/* ---- the supervisor thread ---- */

static pid_t spawn_containerd(struct runtime *r) {
    int out = open(r->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    pid_t pid = fork();
    if (pid == 0) {
        /* It ends when this thread does, so that a killed ckube leaves none behind; its shims are in their own groups. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        setsid();
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        if (out >= 0) {
            dup2(out, 1);
            dup2(out, 2);
        }
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1); /* runc, iptables for the port map plugin */
        execl(r->containerd, "containerd", "--config", r->config_path, (char *)NULL);
        _exit(127);
    }
    if (out >= 0) close(out);
    return pid;
}

static void *supervise(void *arg) {
    struct runtime *r = arg;
    struct env *env = env_real();
    int64_t backoff_ms = BACKOFF_MIN_MS;
    pthread_mutex_lock(&r->mutex);
    while (!r->stopping) {
        struct stat st;
        if (stat(r->log_path, &st) == 0 && st.st_size > 16 << 20)
            if (truncate(r->log_path, 0) != 0) log_warning("cannot cut %s", r->log_path);
        r->pid = spawn_containerd(r);
        int64_t began = env_mono_ns(env);
        pid_t pid = r->pid;
        pthread_mutex_unlock(&r->mutex);
        int status = 0;
        if (pid > 0) while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
        pthread_mutex_lock(&r->mutex);
        r->pid = 0;
        if (r->stopping) break;
        log_error("containerd ended (wait status %d), see %s; it is started again in %lld ms", status, r->log_path, (long long)backoff_ms);
        if (env_mono_ns(env) - began > (int64_t)STABLE_MS * 1000000) backoff_ms = BACKOFF_MIN_MS;
        int64_t until = env_mono_ns(env) + backoff_ms * 1000000;
        while (!r->stopping && env_mono_ns(env) < until) env_cond_wait(env, &r->cond, &r->mutex, until);
        backoff_ms = MIN(backoff_ms * 2, BACKOFF_MAX_MS);
    }
    r->ended = true;
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

static int wait_ready(struct runtime *r, struct status *reterr) {
    struct env *env = env_real();
    int64_t deadline = env_mono_ns(env) + (int64_t)READY_TIMEOUT_MS * 1000000;
    struct cri *cri = cri_new(r->endpoint);
    _cleanup_status_ struct status last = STATUS_INIT;
    int result = -1;
    while (result != 0 && env_mono_ns(env) < deadline) {
        _cleanup_arena_ struct arena *a = arena_new();
        Runtime__V1__VersionResponse *version;
        result = cri_version(cri, a, &version, &last);
        if (result == 0) log_info("container runtime: %s %s at %s", version->runtime_name, version->runtime_version, r->endpoint);
        else env_sleep_ms(env, 20);
    }
    cri_free(cri);
    if (result != 0)
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the container runtime at %s does not answer: %s%s%s", r->endpoint, status_message(&last), r->ours ? "; see " : "",
                               r->ours ? r->log_path : "");
    return 0;
}

/* ---- images ---- */

int runtime_import(struct runtime *r, const char *tar_path, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *ctr = program_find(a, "ctr");
    if (!ctr) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "ctr is not installed (Debian: apt install containerd)");
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) return status_errno(reterr, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(fds[1], 2);
        execl(ctr, "ctr", "-a", r->socket, "-n", "k8s.io", "images", "import", tar_path, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    char text[600];
    size_t len = 0;
    for (ssize_t n; (n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0 && len + (size_t)n < sizeof(text) - 1;) len += (size_t)n;
    text[len] = 0;
    close(fds[0]);
    int status = -1;
    if (pid > 0) while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (status != 0) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "importing %s failed: %s", tar_path, text);
    return 0;
}

static int import_pause(struct runtime *r, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct cri *cri = cri_new(r->endpoint);
    Runtime__V1__Image *image = NULL;
    int found = cri_image_status(cri, a, PAUSE_IMAGE, &image, NULL);
    cri_free(cri);
    if (found == 0 && image) return 0;
    const char *tar = arena_printf(a, "%s/pause.tar", r->dir);
    if (write_file(tar, pause_image, pause_image_len, reterr) != 0) return -1;
    return runtime_import(r, tar, reterr);
}

static void import_folder(struct runtime *r, const char *data_dir) {
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/agent/images/*.tar", data_dir);
    if (glob(pattern, 0, NULL, &found) != 0) return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (runtime_import(r, found.gl_pathv[i], &err) != 0) log_error("%s", status_message(&err));
        else log_info("imported %s", found.gl_pathv[i]);
    }
    globfree(&found);
}

/* ---- start and stop ---- */

static const char *find_cni_bin_dir(void) {
    static const char *const dirs[] = {"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        char path[100];
        snprintf(path, sizeof(path), "%s/bridge", dirs[i]);
        if (access(path, X_OK) == 0) return dirs[i];
    }
    return NULL;
}

static int start_ours(struct runtime *r, const struct runtime_options *o, struct status *reterr) {
    r->containerd = program_find(r->arena, "containerd");
    const char *oci = program_find(r->arena, "runc");
    if (!oci) oci = program_find(r->arena, "crun");
    if (!r->containerd) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "containerd is not installed (Debian: apt install containerd runc)");
    if (!oci) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "neither runc nor crun is installed (Debian: apt install runc)");
    if (!r->cni_bin_dir) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the CNI plugins are not installed (Debian: apt install containernetworking-plugins)");
    char absolute[4096];
    if (!realpath(o->data_dir, absolute)) return status_errno(reterr, o->data_dir);
    const char *run = arena_printf(r->arena, "/run/ckube/%08x", (unsigned)hash_bytes(absolute, strlen(absolute)));
    r->socket = arena_printf(r->arena, "%s/containerd.sock", run);
    r->endpoint = arena_printf(r->arena, "unix://%s", r->socket);
    r->config_path = arena_printf(r->arena, "%s/config.toml", r->dir);
    r->log_path = arena_printf(r->arena, "%s/containerd.log", r->dir);
    if (make_dirs(run, 0755, reterr) != 0 || config_write(r, o, arena_printf(r->arena, "%s/state", run), oci, reterr) != 0) return -1;
    unlink(r->socket);
    r->ours = true;
    if (pthread_create(&r->thread, NULL, supervise, r) != 0) {
        r->ours = false;
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "cannot start a thread");
    }
    return 0;
}

struct runtime *runtime_start(const struct runtime_options *o, struct status *reterr) {
    struct runtime *r = calloc(1, sizeof(*r));
    CHECK(r);
    r->arena = arena_new();
    pthread_mutex_init(&r->mutex, NULL);
    env_cond_init(&r->cond);
    r->dir = arena_printf(r->arena, "%s/agent/containerd", o->data_dir);
    r->cni_conf_dir = o->cni_conf_dir ? arena_strdup(r->arena, o->cni_conf_dir) : arena_printf(r->arena, "%s/agent/etc/cni/net.d", o->data_dir);
    r->cni_bin_dir = o->cni_bin_dir ? arena_strdup(r->arena, o->cni_bin_dir) : find_cni_bin_dir();
    if (make_dirs(r->dir, 0755, reterr) != 0 || make_dirs(r->cni_conf_dir, 0755, reterr) != 0) goto failed;
    if (o->endpoint) {
        r->endpoint = str_has_prefix(o->endpoint, "unix:") ? arena_strdup(r->arena, o->endpoint) : arena_printf(r->arena, "unix://%s", o->endpoint);
        r->socket = r->endpoint + (str_has_prefix(r->endpoint, "unix://") ? 7 : 5);
    } else if (start_ours(r, o, reterr) != 0) {
        goto failed;
    }
    if (wait_ready(r, reterr) != 0 || import_pause(r, reterr) != 0) goto failed;
    import_folder(r, o->data_dir);
    return r;
failed:
    runtime_stop(r);
    return NULL;
}

const char *runtime_endpoint(const struct runtime *r) { return r->endpoint; }
const char *runtime_cni_conf_dir(const struct runtime *r) { return r->cni_conf_dir; }
const char *runtime_cni_bin_dir(const struct runtime *r) { return r->cni_bin_dir; }

void runtime_stop(struct runtime *r) {
    if (!r) return;
    if (r->ours) {
        struct env *env = env_real();
        int64_t deadline = env_mono_ns(env) + (int64_t)STOP_TIMEOUT_MS * 1000000;
        pthread_mutex_lock(&r->mutex);
        r->stopping = true;
        if (r->pid > 0) kill(r->pid, SIGTERM);
        pthread_cond_broadcast(&r->cond);
        while (!r->ended && env_mono_ns(env) < deadline) env_cond_wait(env, &r->cond, &r->mutex, deadline);
        if (!r->ended && r->pid > 0) kill(r->pid, SIGKILL);
        pthread_mutex_unlock(&r->mutex);
        pthread_join(r->thread, NULL);
    }
    pthread_mutex_destroy(&r->mutex);
    pthread_cond_destroy(&r->cond);
    arena_free(r->arena);
    free(r);
}
