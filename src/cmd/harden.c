/* Giving up privileges: see harden.h. */
#include "cmd/harden.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/log.h"
#include "base/macros.h"

#if defined(__SANITIZE_ADDRESS__)
#define TRACED_BY_ITSELF true
#else
#define TRACED_BY_ITSELF false
#endif

void harden_secrets(void) {
    if (!TRACED_BY_ITSELF && prctl(PR_SET_DUMPABLE, 0) != 0) log_warning("core dumps cannot be switched off: %s", strerror(errno));
}

/* ---- capabilities ---- */

static bool keeps(const struct harden_options *o, int cap) {
    static const int for_others[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID, CAP_SETUID};
    if (cap == CAP_NET_BIND_SERVICE) return o->low_port;
    for (size_t i = 0; o->runs_as_others && i < ARRAY_LEN(for_others); i++)
        if (for_others[i] == cap) return true;
    return false;
}

static void drop_capabilities(const struct harden_options *o) {
    cap_t had = cap_get_proc(), now = cap_init();
    CHECK(now);
    for (cap_value_t cap = 0; had && cap_get_bound(cap) >= 0; cap++) {
        cap_flag_value_t is = CAP_CLEAR;
        if (!keeps(o, cap)) cap_drop_bound(cap); /* fails without CAP_SETPCAP: then there is nothing to drop */
        else if (cap_get_flag(had, cap, CAP_PERMITTED, &is) == 0 && is == CAP_SET) {
            cap_set_flag(now, CAP_PERMITTED, 1, &cap, CAP_SET);
            cap_set_flag(now, CAP_EFFECTIVE, 1, &cap, CAP_SET);
        }
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (cap_set_proc(now) != 0) log_warning("capabilities cannot be dropped: %s", strerror(errno));
    cap_free(had);
    cap_free(now);
}

/* ---- system calls ---- */

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif
#define X32_BIT 0x40000000u

/* Those that a kernel's headers do not know are left out. */
static const int refused[] = {
    /* mounts and other views of the file system */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_quotactl, SYS_open_by_handle_at, SYS_fanotify_init,
#ifdef SYS_fsopen
    SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_move_mount, SYS_open_tree,
#endif
#ifdef SYS_mount_setattr
    SYS_mount_setattr,
#endif
    /* namespaces; clone is looked at below */
    SYS_unshare, SYS_setns,
    /* other processes */
    SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_perf_event_open, SYS_userfaultfd,
    /* the kernel and the machine */
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_bpf, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_syslog, SYS_sethostname, SYS_setdomainname, SYS_vhangup, SYS_personality,
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
    SYS_iopl, SYS_ioperm,
#endif
    /* keys of the kernel's */
    SYS_add_key, SYS_request_key, SYS_keyctl,
};
/* Libraries have other ways when these are not there. clone3's flags cannot be looked at. */
static const int absent[] = {
#ifdef SYS_clone3
    SYS_clone3,
#endif
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
#endif
};

#ifdef OWN_ARCH
enum { FILTER_MAX = 3 * (ARRAY_LEN(refused) + ARRAY_LEN(absent)) + 32 };
#define NEW_NAMESPACES ((uint32_t)(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP))

struct filter { struct sock_filter code[FILTER_MAX]; unsigned short len; };

static void add(struct filter *f, struct sock_filter one) {
    CHECK(f->len < FILTER_MAX);
    f->code[f->len++] = one;
}

static void load(struct filter *f, size_t offset) { add(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset)); }
static void answer(struct filter *f, uint32_t what) { add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what)); }

static void fails_with(struct filter *f, int call, int error) {
    add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1));
    answer(f, SECCOMP_RET_ERRNO | (uint32_t)error);
}

/* The architecture first, as numbers mean different calls on others; then one comparison a call. */
static void build(struct filter *f) {
    load(f, offsetof(struct seccomp_data, arch));
    add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0));
    answer(f, SECCOMP_RET_ERRNO | ENOSYS);
    load(f, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1));
    answer(f, SECCOMP_RET_ERRNO | ENOSYS);
#endif
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) fails_with(f, refused[i], EPERM);
    for (size_t i = 0; i < ARRAY_LEN(absent); i++) fails_with(f, absent[i], ENOSYS);
    if (!TRACED_BY_ITSELF) fails_with(f, SYS_ptrace, EPERM);
    /* clone: threads and children, but no new namespaces. Its flags are the first argument; their low half holds all of these. */
    add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)SYS_clone, 0, 3));
    load(f, offsetof(struct seccomp_data, args[0]) + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0));
    add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1));
    answer(f, SECCOMP_RET_ERRNO | EPERM);
    answer(f, SECCOMP_RET_ALLOW);
}

static void filter_calls(void) {
    struct filter *f = calloc(1, sizeof(*f));
    CHECK(f);
    build(f);
    struct sock_fprog program = {f->len, f->code};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) log_warning("system calls cannot be filtered: %s", strerror(errno));
    free(f);
}
#else
static void filter_calls(void) { log_warning("system calls are not filtered on this architecture"); }
#endif

void harden_control_plane(const struct harden_options *o) {
    struct rlimit none = {0, 0};
    harden_secrets();
    if (setrlimit(RLIMIT_CORE, &none) != 0) log_warning("core dumps cannot be limited: %s", strerror(errno));
    drop_capabilities(o);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) log_warning("new privileges cannot be ruled out: %s", strerror(errno));
    filter_calls();
}
