/* How fast the store is: `store_bench [DIR]`, DIR on the disk to be measured (default: a folder of its own in /tmp). Prints one figure a line.
 *
 * Values are of 1.4 KB, as the ConfigMaps of issue 2's figures. What bounds a write is the disk: compare with `fdatasync alone`. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "store/store.h"

enum { VALUE = 1400, SINGLES = 500, WRITERS = 64, BATCHED_S = 3, READS = 400000, RANGE = 10000 };

static struct store *s;
static char value[VALUE];
static _Atomic bool stop;
static _Atomic uint64_t written;

static int64_t now_ns(void) { return env_mono_ns(env_real()); }

static void put(const char *key) {
    struct store_op op = {.key = key, .value = value, .value_len = VALUE, .expect_mod_revision = STORE_ANY, .rv_offset = 20};
    struct store_result r;
    store_write_wait(s, &op, 1, &r);
    if (r.outcome == STORE_OK) return;
    fprintf(stderr, "%s\n", status_message(&r.error));
    exit(1);
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_latency(const char *what, int64_t *ns, size_t n) {
    qsort(ns, n, sizeof(*ns), compare);
    printf("%-34s p50 %.3f ms, p99 %.3f ms\n", what, (double)ns[n / 2] / 1e6, (double)ns[n * 99 / 100] / 1e6);
}

static void bench_disk(const char *dir) {
    static int64_t ns[SINGLES];
    char path[4096];
    snprintf(path, sizeof(path), "%s/probe", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    for (int i = 0; i < SINGLES; i++) {
        int64_t start = now_ns();
        if (pwrite(fd, value, VALUE, 4096 * i) < 0 || fdatasync(fd) < 0) perror(path);
        ns[i] = now_ns() - start;
    }
    close(fd);
    unlink(path);
    print_latency("fdatasync alone", ns, SINGLES);
}

static void bench_single(void) {
    static int64_t ns[SINGLES];
    char key[64];
    for (int i = 0; i < SINGLES; i++) {
        snprintf(key, sizeof(key), "/registry/single/%06d", i);
        int64_t start = now_ns();
        put(key);
        ns[i] = now_ns() - start;
    }
    print_latency("one write at a time", ns, SINGLES);
}

static void *write_batched(void *arg) {
    char key[64];
    for (unsigned i = 0; !stop; i++) {
        snprintf(key, sizeof(key), "/registry/batched/%02u/%06u", (unsigned)(uintptr_t)arg, i);
        put(key);
        written++;
    }
    return NULL;
}

static void bench_batched(void) {
    pthread_t threads[WRITERS];
    struct store_metrics before, after;
    store_metrics(s, &before);
    int64_t start = now_ns();
    for (uintptr_t i = 0; i < WRITERS; i++) pthread_create(&threads[i], NULL, write_batched, (void *)i);
    sleep(BATCHED_S);
    stop = true;
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    double seconds = (double)(now_ns() - start) / 1e9;
    store_metrics(s, &after);
    printf("%-34s %.0f/s, %.1f a commit\n", "64 threads, each one at a time", (double)written / seconds, (double)(after.writes - before.writes) / (double)(after.commits - before.commits));
}

static _Atomic int in_flight;
static void landed(void *arg, struct store_result *r) {
    (void)arg;
    if (r->outcome != STORE_OK) abort();
    in_flight--;
    written++;
}

/* As the apiserver's fibers do it: no thread of its own waits for a write. */
static void bench_async(void) {
    char key[64];
    written = 0;
    int64_t start = now_ns(), end = start + BATCHED_S * 1000000000ll;
    for (unsigned i = 0; now_ns() < end; i++) {
        while (in_flight >= WRITERS) usleep(20);
        snprintf(key, sizeof(key), "/registry/async/%08u", i);
        in_flight++;
        store_write(s, &(struct store_op){.key = key, .value = value, .value_len = VALUE, .expect_mod_revision = 0}, 1, landed, NULL);
    }
    while (in_flight) usleep(100);
    printf("%-34s %.0f/s\n", "64 writes in flight, one thread", (double)written * 1e9 / (double)(now_ns() - start));
}

static void bench_reads(void) {
    char key[64];
    struct store_txn *t;
    struct store_view v;
    uint64_t sum = 0;
    for (int i = 0; i < RANGE; i++) {
        snprintf(key, sizeof(key), "/registry/range/%06d", i);
        in_flight++;
        store_write(s, &(struct store_op){.key = key, .value = value, .value_len = VALUE, .expect_mod_revision = STORE_ANY}, 1, landed, NULL);
    }
    while (in_flight) usleep(100);
    int64_t start = now_ns();
    for (int i = 0; i < READS; i++) {
        snprintf(key, sizeof(key), "/registry/range/%06d", (int)((unsigned)i * 7919u % RANGE));
        if (store_read_begin(s, &t, NULL) != 0 || !store_get(t, key, &v)) abort();
        sum += (uint64_t)v.value[0] + v.mod_revision;
        store_read_end(t);
    }
    printf("%-34s %.3f us\n", "get, in a snapshot of its own", (double)(now_ns() - start) / 1e3 / READS);
    (void)sum;
}

static bool touch(void *arg, const struct store_view *v) {
    *(uint64_t *)arg += (uint64_t)v->value[v->value_len / 2];
    return true;
}

static void bench_range(void) {
    struct store_txn *t;
    uint64_t sum = 0;
    int64_t start = now_ns();
    for (int i = 0; i < 20; i++) {
        if (store_read_begin(s, &t, NULL) != 0) abort();
        store_range(t, "/registry/range/", NULL, touch, &sum);
        store_read_end(t);
    }
    printf("%-34s %.3f ms\n", "range of 10,000", (double)(now_ns() - start) / 1e6 / 20);
    start = now_ns();
    if (store_read_begin(s, &t, NULL) != 0 || store_count(t, "/registry/range/", NULL) != RANGE) abort();
    store_read_end(t);
    printf("%-34s %.3f ms\n", "count of 10,000", (double)(now_ns() - start) / 1e6);
}

static void count_event(void *arg, struct store_event *e) {
    (void)e;
    ++*(uint64_t *)arg;
}

static void bench_log(void) {
    uint64_t n = 0;
    int64_t start = now_ns();
    if (store_log_read(s, "/registry/range/", store_compacted_revision(s), store_revision(s), count_event, &n, NULL) != 0) abort();
    printf("%-34s %.3f ms for %llu events\n", "resume of a watch from the log", (double)(now_ns() - start) / 1e6, (unsigned long long)n);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    char own[] = "/tmp/ckube-bench-XXXXXX", command[4200];
    const char *dir = argc > 1 ? argv[1] : mkdtemp(own);
    _cleanup_status_ struct status err = STATUS_INIT;
    struct store_metrics m;
    memset(value, 'v', sizeof(value));
    if (store_open(&(struct store_options){.dir = dir}, &s, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    bench_disk(dir);
    bench_single();
    bench_batched();
    bench_async();
    bench_reads();
    bench_range();
    bench_log();
    store_metrics(s, &m);
    printf("%-34s %.1f MB for %llu writes\n", "file", (double)m.db_bytes / 1e6, (unsigned long long)m.writes);
    store_close(s);
    if (argc > 1) return 0;
    snprintf(command, sizeof(command), "rm -rf %s", own);
    return system(command) != 0;
}
