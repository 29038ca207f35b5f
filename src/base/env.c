#include "base/env.h"
#include <errno.h>
#include <stdio.h>
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

static void real_random(struct env *e UNUSED, void *out, size_t len) {
    char *p = out;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR) continue;
        CHECK(n > 0);
        p += n;
        len -= (size_t)n;
    }
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
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9],
             b[10], b[11], b[12], b[13], b[14], b[15]);
}

void env_name_suffix(struct env *e, char *out, size_t len) {
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789"; /* no vowels, so that no words appear */
    for (size_t i = 0; i < len; i++) out[i] = alphabet[env_random_below(e, sizeof(alphabet) - 1)];
    out[len] = 0;
}
