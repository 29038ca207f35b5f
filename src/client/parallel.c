/* Shared threads for batches of calls: see parallel.h. They are started when first needed, and end with the process. */
#include "client/parallel.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "base/macros.h"

struct batch {
    struct batch *next;
    void (*fn)(void *, size_t);
    void *arg;
    size_t n, begun, done; /* begun, done: under the mutex */
    pthread_cond_t cond;   /* done == n */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static struct batch *batches; /* that have something left to begin */
static int threads, idle;

/* With the mutex: takes one of the batch, runs it without, and counts it. */
static void run_one(struct batch *b) {
    size_t i = b->begun++;
    if (b->begun == b->n) { /* nothing left for others */
        struct batch **p = &batches;
        while (*p && *p != b) p = &(*p)->next;
        if (*p) *p = b->next;
    }
    pthread_mutex_unlock(&mutex);
    b->fn(b->arg, i);
    pthread_mutex_lock(&mutex);
    if (++b->done == b->n) pthread_cond_signal(&b->cond);
}

static void *helper(void *arg UNUSED) {
    pthread_mutex_lock(&mutex);
    for (;;) {
        idle++;
        while (!batches) pthread_cond_wait(&work, &mutex);
        idle--;
        run_one(batches);
    }
    return NULL;
}

static void summon(size_t wanted) {
    for (int i = 0; i < idle && (size_t)i < wanted; i++) pthread_cond_signal(&work);
    for (size_t i = (size_t)idle; i < wanted && threads < PARALLEL_THREADS_MAX; i++) {
        pthread_t t;
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        if (pthread_create(&t, &attr, helper, NULL) == 0) threads++;
        pthread_attr_destroy(&attr);
    }
}

void parallel_run(size_t n, void (*fn)(void *, size_t), void *arg) {
    if (n == 0) return;
    if (n == 1) {
        fn(arg, 0);
        return;
    }
    struct batch b = {.fn = fn, .arg = arg, .n = n};
    pthread_cond_init(&b.cond, NULL);
    pthread_mutex_lock(&mutex);
    b.next = batches;
    batches = &b;
    summon(n - 1);
    while (b.begun < b.n) run_one(&b);
    while (b.done < b.n) pthread_cond_wait(&b.cond, &mutex);
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&b.cond);
}

struct slow_start { int (*fn)(void *, size_t); void *arg; size_t offset; atomic_size_t succeeded; };

static void slow_start_one(void *arg, size_t i) {
    struct slow_start *s = arg;
    if (s->fn(s->arg, s->offset + i) == 0) atomic_fetch_add(&s->succeeded, 1);
}

size_t parallel_slow_start(size_t n, int (*fn)(void *, size_t), void *arg) {
    struct slow_start s = {fn, arg, 0, 0};
    for (size_t batch = 1; s.offset < n; batch *= 2) {
        size_t len = MIN(batch, n - s.offset);
        parallel_run(len, slow_start_one, &s);
        s.offset += len;
        if (atomic_load(&s.succeeded) < s.offset) break;
    }
    return atomic_load(&s.succeeded);
}
