/* Running etcd: see etcd_process.h. */
#include "cmd/etcd_process.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/program.h"
#include "wire/json.h"

enum { BACKOFF_MIN_MS = 250, BACKOFF_MAX_MS = 10000, STABLE_MS = 10000, STOP_MS = 10000, LOG_BYTES_MAX = 16 << 20, TAIL_BYTES = 16 << 10, ARGS_MAX = 48, DEPTH_MAX = 32, EARLIER_POLL_MS = 20 };
static const char quota_bytes[] = "8589934592", request_bytes[] = "4194304"; /* upstream's advice; what our apiserver takes as a body, and more */

struct etcd_process {
    struct arena *arena;
    char **argv;
    const char *log_path, *pid_path;
    int uid, gid;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t cond;
    pid_t pid;             /* 0: it does not run */
    unsigned starts;
    bool stopping, ended;
};

/* ---- its user ---- */

static _Thread_local struct { uid_t uid; gid_t gid; bool failed; } giving;

static int give_one(const char *path, const struct stat *st, int type UNUSED, struct FTW *ftw UNUSED) {
    if ((st->st_uid != giving.uid || st->st_gid != giving.gid) && lchown(path, giving.uid, giving.gid) != 0) giving.failed = true;
    return giving.failed;
}

/* Whether somebody else can get to the folder: all above it may be passed by anybody. */
static bool reachable(const char *dir) {
    char path[4096];
    struct stat st;
    if (!realpath(dir, path)) return false;
    for (char *slash; (slash = strrchr(path, '/')) && slash != path;) {
        *slash = 0;
        if (stat(path, &st) != 0 || !(st.st_mode & S_IXOTH)) return false;
    }
    return true;
}

void etcd_process_give(const char *dir, int *ret_uid, int *ret_gid) {
    struct passwd pw, *found = NULL;
    char strings[4096];
    *ret_uid = *ret_gid = -1;
    if (geteuid() != 0 || getpwnam_r("etcd", &pw, strings, sizeof(strings), &found) != 0 || !found || found->pw_uid == 0 || !reachable(dir)) return;
    giving.uid = found->pw_uid;
    giving.gid = found->pw_gid;
    giving.failed = false;
    nftw(dir, give_one, DEPTH_MAX, FTW_PHYS);
    if (giving.failed) {
        log_warning("etcd runs as this user: %s cannot be given to the user etcd: %s", dir, strerror(errno));
        giving.uid = 0;
        giving.gid = 0;
        nftw(dir, give_one, DEPTH_MAX, FTW_PHYS);
        return;
    }
    *ret_uid = (int)found->pw_uid;
    *ret_gid = (int)found->pw_gid;
}

/* ---- how it is called ---- */

char *etcd_url(struct arena *a, const char *host, int port) { return arena_printf(a, strchr(host, ':') ? "https://[%s]:%d" : "https://%s:%d", host, port); }

static bool is_loopback(const char *address) { return str_has_prefix(address, "127.") || str_eq(address, "::1"); }

static char *listen_urls(struct arena *a, const char *address, int port, bool loopback_too) {
    const char *loopback = strchr(address, ':') ? "::1" : "127.0.0.1";
    char *url = etcd_url(a, address, port);
    if (!loopback_too || is_loopback(address) || str_eq(address, "0.0.0.0") || str_eq(address, "::")) return url;
    return arena_printf(a, "%s,%s", url, etcd_url(a, loopback, port));
}

static char **command_line(struct arena *a, const char *program, const struct etcd_process_options *o) {
    const char *tls = arena_printf(a, "%s/tls", o->dir);
    const char *const args[] = {program, "--name", o->name, "--data-dir", arena_printf(a, "%s/data", o->dir),
        "--listen-client-urls", listen_urls(a, o->listen, o->client_port, true), "--advertise-client-urls", etcd_url(a, o->address, o->client_port),
        "--listen-peer-urls", listen_urls(a, o->listen, o->peer_port, false), "--initial-advertise-peer-urls", etcd_url(a, o->address, o->peer_port),
        "--initial-cluster", o->initial_cluster, "--initial-cluster-state", o->existing ? "existing" : "new",
        "--client-cert-auth", "--trusted-ca-file", arena_printf(a, "%s/ca.crt", tls), "--cert-file", arena_printf(a, "%s/server.crt", tls), "--key-file", arena_printf(a, "%s/server.key", tls),
        "--peer-client-cert-auth", "--peer-trusted-ca-file", arena_printf(a, "%s/peer-ca.crt", tls), "--peer-cert-file", arena_printf(a, "%s/peer.crt", tls), "--peer-key-file",
        arena_printf(a, "%s/peer.key", tls), "--pre-vote", "--snapshot-count=10000", arena_printf(a, "--quota-backend-bytes=%s", quota_bytes),
        arena_printf(a, "--max-request-bytes=%s", request_bytes), "--logger=zap", "--log-outputs=stderr", o->force_new_cluster ? "--force-new-cluster" : NULL, NULL};
    static_assert(ARRAY_LEN(args) <= ARGS_MAX, "room for all");
    char **argv = arena_calloc(a, ARRAY_LEN(args), sizeof(*argv));
    for (size_t i = 0; args[i]; i++) argv[i] = arena_strdup(a, args[i]);
    return argv;
}

/* ---- one of an earlier life ---- */

/* Whether the process has our database among its arguments: process numbers are used again. */
static bool is_ours(const char *data, pid_t pid) {
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));
    if (fd >= 0) close(fd);
    return n > 0 && memmem(text, (size_t)n, data, strlen(data) + 1) != NULL;
}

static pid_t read_pid(const char *path) {
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) close(fd);
    return n > 0 ? (pid_t)atoi(text) : 0;
}

static void write_pid(const char *path, pid_t pid) {
    char text[32];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), len = snprintf(text, sizeof(text), "%d\n", (int)pid);
    if (fd < 0 || write(fd, text, (size_t)len) != len) log_warning("cannot write %s", path);
    if (fd >= 0) close(fd);
}

void etcd_process_end_earlier(const char *dir) {
    _cleanup_arena_ struct arena *a = arena_new();
    const char *data = arena_printf(a, "%s/data", dir);
    pid_t pid = read_pid(arena_printf(a, "%s/etcd.pid", dir));
    int64_t until = env_mono_ns(env_real()) + (int64_t)STOP_MS * 1000000;
    if (pid <= 0 || !is_ours(data, pid)) return;
    log_info("an earlier etcd of this server (process %d) is still there: it is ended first", (int)pid);
    kill(pid, SIGTERM);
    kill(pid, SIGCONT);
    while (is_ours(data, pid) && env_mono_ns(env_real()) < until) env_sleep_ms(env_real(), EARLIER_POLL_MS);
    if (is_ours(data, pid)) kill(pid, SIGKILL);
    while (is_ours(data, pid)) env_sleep_ms(env_real(), EARLIER_POLL_MS);
}

/* ---- the thread ---- */

static void become(struct etcd_process *p, int out) {
    setsid();
    if (p->uid > 0 && (setgroups(0, NULL) != 0 || setgid((gid_t)p->gid) != 0 || setuid((uid_t)p->uid) != 0)) _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* of the thread that waits for it; after setuid, which forgets it */
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    if (out >= 0) {
        dup2(out, 1);
        dup2(out, 2);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execv(p->argv[0], p->argv);
    _exit(127);
}

static pid_t spawn(struct etcd_process *p) {
    int out = open(p->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_t pid = fork();
    if (pid == 0) become(p, out);
    if (pid < 0) log_error("etcd cannot be started: fork: %s", strerror(errno));
    if (out >= 0) close(out);
    return pid;
}

int64_t etcd_process_backoff(int64_t *backoff_ms, int64_t ran_ms) {
    *backoff_ms = *backoff_ms == 0 || ran_ms >= STABLE_MS ? BACKOFF_MIN_MS : MIN(*backoff_ms * 2, (int64_t)BACKOFF_MAX_MS);
    return *backoff_ms;
}

static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

static void *supervise(void *arg) {
    struct etcd_process *p = arg;
    struct env *env = env_real();
    int64_t backoff_ms = 0;
    pthread_mutex_lock(&p->mutex);
    while (!p->stopping) {
        int64_t began_ms = env_mono_ns(env) / 1000000;
        pid_t pid = spawn(p);
        p->pid = pid > 0 ? pid : 0;
        p->starts++;
        if (pid > 0) write_pid(p->pid_path, pid);
        pthread_mutex_unlock(&p->mutex);
        int status = pid > 0 ? wait_for(pid) : 0;
        pthread_mutex_lock(&p->mutex);
        p->pid = 0;
        if (p->stopping) break;
        int64_t now_ms = env_mono_ns(env) / 1000000, pause_ms = etcd_process_backoff(&backoff_ms, now_ms - began_ms), until_ns = (now_ms + pause_ms) * 1000000;
        log_error("etcd ended (%s %d), see %s; it is started again in %lld ms", WIFSIGNALED(status) ? "signal" : "exit code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
                  p->log_path, (long long)pause_ms);
        while (!p->stopping && env_mono_ns(env) < until_ns) env_cond_wait(env, &p->cond, &p->mutex, until_ns);
    }
    p->ended = true;
    pthread_cond_broadcast(&p->cond);
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* ---- life ---- */

struct etcd_process *etcd_process_start(const struct etcd_process_options *o, struct status *reterr) {
    struct arena *a = arena_new();
    const char *program = o->program ? o->program : program_find(a, "etcd");
    struct etcd_process *p = program ? calloc(1, sizeof(*p)) : NULL;
    if (!program) {
        status_set(reterr, 500, REASON_INTERNAL_ERROR, "etcd is not installed (Debian: apt install etcd-server)");
        arena_free(a);
        return NULL;
    }
    CHECK(p);
    p->arena = a;
    p->argv = command_line(a, program, o);
    p->log_path = arena_printf(a, "%s/etcd.log", o->dir);
    p->pid_path = arena_printf(a, "%s/etcd.pid", o->dir);
    etcd_process_give(o->dir, &p->uid, &p->gid);
    pthread_mutex_init(&p->mutex, NULL);
    env_cond_init(&p->cond);
    CHECK(pthread_create(&p->thread, NULL, supervise, p) == 0);
    return p;
}

void etcd_process_stop(struct etcd_process *p) {
    if (!p) return;
    struct env *env = env_real();
    int64_t deadline = env_mono_ns(env) + (int64_t)STOP_MS * 1000000;
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    if (p->pid > 0) kill(p->pid, SIGTERM);
    pthread_cond_broadcast(&p->cond);
    while (!p->ended && env_mono_ns(env) < deadline) env_cond_wait(env, &p->cond, &p->mutex, deadline);
    if (!p->ended && p->pid > 0) {
        log_warning("etcd does not end and is killed");
        kill(p->pid, SIGKILL);
    }
    pthread_mutex_unlock(&p->mutex);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->cond);
    arena_free(p->arena);
    free(p);
}

bool etcd_process_running(struct etcd_process *p) {
    pthread_mutex_lock(&p->mutex);
    bool running = p->pid > 0;
    pthread_mutex_unlock(&p->mutex);
    return running;
}

unsigned etcd_process_starts(struct etcd_process *p) {
    pthread_mutex_lock(&p->mutex);
    unsigned n = p->starts;
    pthread_mutex_unlock(&p->mutex);
    return n;
}

void etcd_process_trim_log(struct etcd_process *p) {
    struct stat st;
    if (stat(p->log_path, &st) == 0 && st.st_size > LOG_BYTES_MAX && truncate(p->log_path, 0) != 0) log_warning("cannot cut %s", p->log_path);
}

static bool is_error(const char *line) { return strstr(line, "\"level\":\"fatal\"") || strstr(line, "\"level\":\"error\"") || strstr(line, "\"level\":\"panic\"") || *line != '{'; }

/* {"level":"fatal","msg":"...","error":"..."}, or plain words of the Go run time. */
static char *words_of(struct arena *a, const char *line) {
    yyjson_doc *doc = *line == '{' ? json_parse_in(a, line, strlen(line), 0, NULL) : NULL;
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *msg = yyjson_get_str(yyjson_obj_get(root, "msg")), *error = yyjson_get_str(yyjson_obj_get(root, "error"));
    if (!msg) return arena_strdup(a, line);
    return error ? arena_printf(a, "%s: %s", msg, error) : arena_strdup(a, msg);
}

char *etcd_process_last_words(struct etcd_process *p, struct arena *a) {
    char tail[TAIL_BYTES + 1], *found = NULL, *rest = tail;
    int fd = open(p->log_path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, TAIL_BYTES, MAX(size - TAIL_BYTES, (off_t)0));
    if (fd >= 0) close(fd);
    tail[MAX(n, (ssize_t)0)] = 0;
    if (size > TAIL_BYTES) strsep(&rest, "\n"); /* half a line */
    for (char *line; rest && (line = strsep(&rest, "\n"));)
        if (*line && is_error(line)) found = line;
    return found ? words_of(a, found) : arena_strdup(a, "");
}
