/* Where time and chance come from.
 *
 * Every component takes a struct env and asks it for the clock, for sleep and for random numbers, so that a test can move the clock by hand and a
 * simulator can draw one order of events from a seed. env_real() is the world. */
#ifndef CKUBE_BASE_ENV_H
#define CKUBE_BASE_ENV_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct env {
    int64_t (*now_ns)(struct env *env);   /* wall clock, nanoseconds since 1970 */
    int64_t (*mono_ns)(struct env *env);  /* monotonic clock */
    void (*sleep_ns)(struct env *env, int64_t ns);
    void (*random)(struct env *env, void *out, size_t len);
    /* Waits on cond (mutex held) until signalled or until mono_ns reaches the deadline; deadline < 0: no deadline. False: timed out. */
    bool (*cond_wait)(struct env *env, pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_mono_ns);
    void *data;
};

struct env *env_real(void);

static inline int64_t env_now_ns(struct env *e) { return e->now_ns(e); }
static inline int64_t env_mono_ns(struct env *e) { return e->mono_ns(e); }
static inline int64_t env_now_s(struct env *e) { return e->now_ns(e) / 1000000000; }
static inline void env_sleep_ms(struct env *e, int64_t ms) { e->sleep_ns(e, ms * 1000000); }
static inline void env_random(struct env *e, void *out, size_t len) { e->random(e, out, len); }
uint64_t env_random_u64(struct env *e);
uint64_t env_random_below(struct env *e, uint64_t n);  /* uniform in [0, n); n > 0 */
static inline bool env_cond_wait(struct env *e, pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline_mono_ns) { return e->cond_wait(e, c, m, deadline_mono_ns); }
void env_cond_init(pthread_cond_t *cond); /* a condition variable on the monotonic clock; use for every cond given to env_cond_wait */

/* A random version 4 UUID in text (36 characters and NUL). */
void env_uuid(struct env *e, char out[37]);
/* `len` characters from upstream's name alphabet bcdfghjklmnpqrstvwxz2456789 (util/rand), and NUL. */
void env_name_suffix(struct env *e, char *out, size_t len);
#endif
