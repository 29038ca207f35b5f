/* What a hardened process can do and what it cannot: each case in a child of its own, as there is no way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/macros.h"
#include "cmd/harden.h"
#include "cmd/program.h"

/* The line of the first expectation that does not hold, as the child's exit code (0: all do). */
#define EXPECT(x) do { if (!(x)) _exit(__LINE__ % 250 + 1); } while (0)

static void in_a_child(void (*fn)(void)) {
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static bool has(cap_value_t cap, cap_flag_t where) {
    cap_flag_value_t value = CAP_CLEAR;
    cap_t caps = cap_get_proc();
    if (caps) cap_get_flag(caps, cap, where, &value);
    cap_free(caps);
    return value == CAP_SET;
}

static void *nothing(void *arg) { return arg; }

static void privileges_are_gone(void) {
    bool root = geteuid() == 0;
    harden_control_plane(&(struct harden_options){0});
    for (cap_value_t c = 0; cap_get_bound(c) >= 0; c++) {
        EXPECT(!has(c, CAP_EFFECTIVE) && !has(c, CAP_PERMITTED));
        if (root) EXPECT(cap_get_bound(c) == 0);
    }
    EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    EXPECT(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2);
    struct rlimit core;
    EXPECT(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
#if !defined(__SANITIZE_ADDRESS__)
    EXPECT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    EXPECT(syscall(SYS_ptrace, 0, 0, 0, 0) == -1 && errno == EPERM);
#endif
    EXPECT(setuid(12345) == -1 || !root);
}

static void calls_are_refused(void) {
    harden_control_plane(&(struct harden_options){.runs_as_others = true});
    EXPECT(unshare(CLONE_NEWUSER) == -1 && errno == EPERM);
    EXPECT(mount("none", "/tmp", "tmpfs", 0, NULL) == -1 && errno == EPERM);
    EXPECT(setns(0, 0) == -1 && errno == EPERM);
    EXPECT(syscall(SYS_bpf, 0, 0, 0) == -1 && errno == EPERM);
    EXPECT(syscall(SYS_keyctl, 0, 0, 0, 0, 0) == -1 && errno == EPERM);
    EXPECT(syscall(SYS_init_module, 0, 0, 0) == -1 && errno == EPERM);
    EXPECT(syscall(SYS_personality, 0xffffffff) == -1 && errno == EPERM);
    EXPECT(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) == -1 && errno == EPERM);
    EXPECT(syscall(SYS_clone3, 0, 0) == -1 && errno == ENOSYS);
    EXPECT(syscall(SYS_io_uring_setup, 1, 0) == -1 && errno == ENOSYS);
}

static void what_is_needed_works(void) {
    harden_control_plane(&(struct harden_options){0});
    pthread_t t;
    EXPECT(pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(fd >= 0 && listen(fd, 1) == 0 && close(fd) == 0);
    const char *argv[] = {"/bin/sh", "-c", "echo it runs", NULL};
    _cleanup_buf_ struct buf out = BUF_INIT;
    EXPECT(program_run(argv, NULL, 20000, &out, NULL) == 0 && out.len == strlen("it runs\n"));
}

static void what_is_kept_is_kept(void) {
    if (geteuid() != 0) return;
    static const cap_value_t others[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID, CAP_SETUID};
    bool had_bind = has(CAP_NET_BIND_SERVICE, CAP_PERMITTED), had_setuid = has(CAP_SETUID, CAP_PERMITTED);
    harden_control_plane(&(struct harden_options){.low_port = true, .runs_as_others = true});
    EXPECT(has(CAP_NET_BIND_SERVICE, CAP_EFFECTIVE) == had_bind);
    for (size_t i = 0; had_setuid && i < ARRAY_LEN(others); i++) EXPECT(has(others[i], CAP_EFFECTIVE));
    EXPECT(!has(CAP_SYS_ADMIN, CAP_PERMITTED) && !has(CAP_NET_ADMIN, CAP_PERMITTED));
    if (had_setuid) EXPECT(setuid(12345) == 0);
}

static void test_privileges_are_gone(void **state UNUSED) { in_a_child(privileges_are_gone); }
static void test_calls_are_refused(void **state UNUSED) { in_a_child(calls_are_refused); }
static void test_what_is_needed_works(void **state UNUSED) { in_a_child(what_is_needed_works); }
static void test_what_is_kept_is_kept(void **state UNUSED) { in_a_child(what_is_kept_is_kept); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_privileges_are_gone), cmocka_unit_test(test_calls_are_refused), cmocka_unit_test(test_what_is_needed_works), cmocka_unit_test(test_what_is_kept_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
