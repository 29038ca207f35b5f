/* Events that wait for their batch: a ring of bounded size and a thread that empties it. Upstream: plugin/pkg/audit/buffered. */
#include <pthread.h>
#include <string.h>
#include "apiserver/audit_backend.h"
#include "base/env.h"

struct audit_buffer {
    struct audit_backend_options options;
    void (*send)(void *arg, struct audit_record *const *records, size_t n);
    void *arg;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under it */
    struct audit_record **ring;        /* of buffer_size */
    size_t first, len;
    bool stop;
    /* of the thread */
    struct audit_record **batch;
    double tokens;
    int64_t filled_ns;
};

void audit_buffer_put(struct audit_buffer *b, struct audit_record *r) {
    size_t room = (size_t)b->options.buffer_size;
    pthread_mutex_lock(&b->mutex);
    bool full = b->len == room || b->stop;
    if (!full) b->ring[(b->first + b->len++) % room] = audit_record_ref(r);
    if (b->len == 1 || b->len >= (size_t)b->options.batch_size_max) pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    if (full) audit_count_error("buffered", 1, "audit buffer queue blocked");
}

/* A batch that is full, or what there is when the time is over or the end has come. Under the mutex. */
static size_t gather(struct audit_buffer *b) {
    size_t max = (size_t)b->options.batch_size_max, n = 0;
    int64_t until_ns = env_mono_ns(env_real()) + b->options.batch_wait_ns;
    while (!b->stop && b->len < max) {
        if (!env_cond_wait(env_real(), &b->changed, &b->mutex, max > 1 ? until_ns : -1)) break;
    }
    for (; n < max && b->len; n++) {
        b->batch[n] = b->ring[b->first];
        b->first = (b->first + 1) % (size_t)b->options.buffer_size;
        b->len--;
    }
    return n;
}

/* A token bucket; at the end nothing waits. Under the mutex. */
static void throttle(struct audit_buffer *b) {
    while (b->options.throttle && !b->stop) {
        int64_t now = env_mono_ns(env_real());
        b->tokens = MIN(b->tokens + (double)(now - b->filled_ns) / 1e9 * b->options.throttle_qps, (double)b->options.throttle_burst);
        b->filled_ns = now;
        if (b->tokens >= 1) {
            b->tokens -= 1;
            return;
        }
        env_cond_wait(env_real(), &b->changed, &b->mutex, now + (int64_t)((1 - b->tokens) / b->options.throttle_qps * 1e9) + 1000000);
    }
}

static void *run(void *arg) {
    struct audit_buffer *b = arg;
    pthread_mutex_lock(&b->mutex);
    for (;;) {
        size_t n = gather(b);
        if (!n && b->stop) break;
        if (!n) continue;
        throttle(b);
        pthread_mutex_unlock(&b->mutex);
        b->send(b->arg, b->batch, n);
        for (size_t i = 0; i < n; i++) audit_record_unref(b->batch[i]);
        pthread_mutex_lock(&b->mutex);
    }
    pthread_mutex_unlock(&b->mutex);
    return NULL;
}

struct audit_buffer *audit_buffer_new(const struct audit_backend_options *o, void (*send)(void *arg, struct audit_record *const *records, size_t n), void *arg) {
    struct audit_buffer *b = calloc(1, sizeof(*b));
    CHECK(b);
    *b = (struct audit_buffer){.options = *o, .send = send, .arg = arg, .tokens = o->throttle_burst, .filled_ns = env_mono_ns(env_real())};
    b->ring = calloc((size_t)o->buffer_size, sizeof(struct audit_record *));
    b->batch = calloc((size_t)o->batch_size_max, sizeof(struct audit_record *));
    CHECK(b->ring && b->batch);
    pthread_mutex_init(&b->mutex, NULL);
    env_cond_init(&b->changed);
    CHECK(pthread_create(&b->thread, NULL, run, b) == 0);
    return b;
}

void audit_buffer_free(struct audit_buffer *b) {
    if (!b) return;
    pthread_mutex_lock(&b->mutex);
    b->stop = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->mutex);
    pthread_join(b->thread, NULL);
    pthread_mutex_destroy(&b->mutex);
    pthread_cond_destroy(&b->changed);
    free((void *)b->ring);
    free((void *)b->batch);
    free(b);
}
