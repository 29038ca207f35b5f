#include "base/env.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "base/macros.h"

static int64_t clock_ns(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t real_now(struct env *e UNUSED) { return clock_ns(CLOCK_REALTIME); }
static int64_t real_mono(struct env *e UNUSED) { return clock_ns(CLOCK_MONOTONIC); }

static void real_sleep(struct env *e UNUSED, int64_t ns) {
    if (ns <= 0) return;
    struct timespec ts = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&ts, &ts) != 0 && errno == EINTR) {}
}

/* Names, UIDs and shuffles ask for a few bytes at a time, each of which would cost a system call: every thread keeps some in hand. What was handed
 * out is wiped, so that nobody finds an earlier key here. */
static _Thread_local struct { unsigned char bytes[512]; size_t left; } in_hand;

static void from_kernel(void *out, size_t len) {
    char *p = out;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) continue;
        CHECK(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

/* A child must not go on with what its parent will hand out too. */
static void forget_in_child(void) {
    explicit_bzero(&in_hand, sizeof(in_hand));
}

static void mind_forks(void) {
    CHECK(pthread_atfork(NULL, NULL, forget_in_child) == 0);
}

static void real_random(struct env *e UNUSED, void *out, size_t len) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (len > sizeof(in_hand.bytes) / 4) {
        from_kernel(out, len);
        return;
    }
    if (len > in_hand.left) {
        pthread_once(&once, mind_forks);
        from_kernel(in_hand.bytes, sizeof(in_hand.bytes));
        in_hand.left = sizeof(in_hand.bytes);
    }
    in_hand.left -= len;
    memcpy(out, in_hand.bytes + in_hand.left, len);
    explicit_bzero(in_hand.bytes + in_hand.left, len);
}

static bool real_cond_wait(struct env *e UNUSED, pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline) {
    if (deadline < 0) {
        pthread_cond_wait(cond, mutex);
        return true;
    }
    struct timespec ts = {deadline / 1000000000, deadline % 1000000000};
    return pthread_cond_timedwait(cond, mutex, &ts) != ETIMEDOUT;
}

struct env *env_real(void) {
    static struct env env = {real_now, real_mono, real_sleep, real_random, real_cond_wait, NULL};
    return &env;
}

void env_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

uint64_t env_random_u64(struct env *e) {
    uint64_t v;
    env_random(e, &v, sizeof(v));
    return v;
}

uint64_t env_random_below(struct env *e, uint64_t n) {
    CHECK(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, v;
    do v = env_random_u64(e);
    while (v >= limit);
    return v % n;
}

void env_uuid(struct env *e, char out[37]) {
    unsigned char b[16];
    env_random(e, b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof(b); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
        *out++ = "0123456789abcdef"[b[i] >> 4];
        *out++ = "0123456789abcdef"[b[i] & 15];
    }
    *out = 0;
}

void env_name_suffix(struct env *e, char *out, size_t len) {
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789"; /* no vowels, so that no words appear */
    for (size_t i = 0; i < len; i++) out[i] = alphabet[env_random_below(e, sizeof(alphabet) - 1)];
    out[len] = 0;
}
