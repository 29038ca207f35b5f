/* Running programs: see program.h. */
#include "cmd/program.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/env.h"
#include "base/str.h"

enum { ERROR_BYTES_MAX = 2000 };

const char *program_find(struct arena *a, const char *name) {
    const char *path = arena_printf(a, "%s:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", str_or(getenv("PATH"), "/usr/bin"));
    for (const char *p = path, *end; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, ':');
        const char *file = arena_printf(a, "%.*s/%s", (int)(end - p), p, name);
        if (access(file, X_OK) == 0) return file;
    }
    return NULL;
}

static void become(const char *const *argv, const char *const *env, int out, int err) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(out, 1);
    dup2(err, 2);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (; env && *env; env++) putenv((char *)(uintptr_t)*env);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* Reads both pipes to their ends; false when the time is over. */
static bool drain(int fds[2], struct buf *to[2], int64_t until_ns) {
    int open_fds = 2;
    while (open_fds) {
        struct pollfd p[2] = {{fds[0], POLLIN, 0}, {fds[1], POLLIN, 0}};
        int64_t left = (until_ns - env_mono_ns(env_real())) / 1000000;
        if (left <= 0) return false;
        if (poll(p, 2, (int)left) < 0 && errno != EINTR) return false;
        for (int i = 0; i < 2; i++) {
            char bytes[4096];
            if (fds[i] < 0 || !p[i].revents) continue;
            ssize_t n = read(fds[i], bytes, sizeof(bytes));
            if (n > 0) buf_append(to[i], bytes, (size_t)n);
            else {
                close(fds[i]);
                fds[i] = -1;
                open_fds--;
            }
        }
    }
    return true;
}

static int explain(const char *program, int status, bool in_time, struct buf *said, struct status *reterr) {
    while (said->len && strchr(" \n", said->data[said->len - 1])) said->len--;
    const char *text = buf_cstr(said);
    if (said->len > ERROR_BYTES_MAX) text += said->len - ERROR_BYTES_MAX;
    if (!in_time) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s did not end in time%s%s", program, *text ? ": " : "", text);
    if (*text) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s: %s", program, text);
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s failed (wait status %d)", program, status);
}

int program_run(const char *const *argv, const char *const *env, int timeout_ms, struct buf *ret_out, struct status *reterr) {
    int out[2], err[2], status = 0;
    _cleanup_buf_ struct buf dropped = BUF_INIT, said = BUF_INIT;
    int64_t until_ns = env_mono_ns(env_real()) + (int64_t)timeout_ms * 1000000;
    if (pipe2(out, O_CLOEXEC) != 0) return status_errno(reterr, "pipe");
    if (pipe2(err, O_CLOEXEC) != 0) {
        close(out[0]);
        close(out[1]);
        return status_errno(reterr, "pipe");
    }
    pid_t pid = fork();
    if (pid == 0) become(argv, env, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    int fds[2] = {out[0], err[0]};
    struct buf *to[2] = {ret_out ? ret_out : &dropped, &said};
    bool in_time = pid > 0 && drain(fds, to, until_ns);
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0) close(fds[i]);
    if (pid < 0) return status_errno(reterr, "fork");
    if (!in_time) kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return in_time && status == 0 ? 0 : explain(argv[0], status, in_time, &said, reterr);
}
