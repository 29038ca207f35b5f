#include "base/log.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_int verbosity;

void log_set_verbosity(int v) { atomic_store(&verbosity, v); }
int log_verbosity(void) { return atomic_load_explicit(&verbosity, memory_order_relaxed); }

void log_write(enum log_level level, const char *file, int line, const char *format, ...) {
    /* One write per line, so that lines of several threads do not mix. */
    char out[2048];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    const char *base = strrchr(file, '/');
    int n = snprintf(out, sizeof(out), "%c%02d%02d %02d:%02d:%02d.%06ld %7ld %s:%d] ", "EWII"[level], tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                     tm.tm_sec, ts.tv_nsec / 1000, (long)syscall(SYS_gettid), base ? base + 1 : file, line);
    va_list args;
    va_start(args, format);
    int m = vsnprintf(out + n, sizeof(out) - (size_t)n - 1, format, args);
    va_end(args);
    size_t len = MIN((size_t)n + (size_t)(m > 0 ? m : 0), sizeof(out) - 2);
    out[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, out, len);
    (void)written;
}
