/* The sandbox's first process: holds the Pod's namespaces, reaps what is orphaned to it, ends on SIGTERM or SIGINT. No C library, so that the image
 * is a few kB. */
#include <asm/unistd.h>

enum { SIGNAL_INT = 2, SIGNAL_TERM = 15, SIGNAL_CHLD = 17, BLOCK = 0, WAIT_NOHANG = 1 };

static long call(long n, long a, long b, long c, long d) {
#if defined(__x86_64__)
    long r;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return r;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#elif defined(__riscv) && __riscv_xlen == 64
    register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c, a3 __asm__("a3") = d;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3) : "memory");
    return a0;
#else
#error "pause: add this machine's system call"
#endif
}

void _start(void);
void _start(void) {
    unsigned long set = 1UL << (SIGNAL_INT - 1) | 1UL << (SIGNAL_TERM - 1) | 1UL << (SIGNAL_CHLD - 1);
    call(__NR_rt_sigprocmask, BLOCK, (long)&set, 0, sizeof(set));
    for (;;) {
        while (call(__NR_wait4, -1, 0, WAIT_NOHANG, 0) > 0) {}
        long s = call(__NR_rt_sigtimedwait, (long)&set, 0, 0, sizeof(set));
        if (s == SIGNAL_INT || s == SIGNAL_TERM) call(__NR_exit_group, 0, 0, 0, 0);
    }
}
