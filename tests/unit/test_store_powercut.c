/* store/: what a power cut leaves. Every write to the database file is recorded, with every sync and every acknowledgement; then files are built as a cut
 * after any of them could leave them, opened, and compared with the history.
 *
 * A disk keeps what was synced before the cut, and of what was written since then anything: all, nothing, some sectors in any order. For each image: the
 * store opens, it stands at a revision no older than the last acknowledged one, and it holds exactly what the history says for that revision.
 * The recording works by defining the system's write calls in this program; LMDB, a shared library, then calls these. CKUBE_CUTS=n: more cuts than 250;
 * CKUBE_SEED=n: the same choices again. */
#undef _FILE_OFFSET_BITS /* it would rename the functions below, which LMDB then would not call */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "store/store.h"

enum { SECTOR = 512, WRITERS = 6, WRITES_EACH = 60, KEYS = 40, RECORDS_MAX = 20000, HISTORY_MAX = WRITERS * WRITES_EACH + 8, VALUE_MAX = 7000 };

/* ---- recording ---- */

enum kind { WRITE, SYNC, ACK };
struct record { enum kind kind; bool durable; off_t offset; size_t len; char *data; uint64_t revision; size_t covers; };

static struct record *records;
static size_t records_len;
static pthread_mutex_t records_mutex = PTHREAD_MUTEX_INITIALIZER;
static char recorded_path[128]; /* "": not recording */
static dev_t recorded_dev;
static ino_t recorded_ino;
static _Atomic bool failing_syncs;

static void add_record(struct record r, const void *data) {
    if (!records) return; /* another test's, who only makes syncs fail */
    pthread_mutex_lock(&records_mutex);
    if (records_len == RECORDS_MAX) abort();
    if (r.len) {
        r.data = malloc(r.len);
        memcpy(r.data, data, r.len);
    }
    records[records_len++] = r;
    pthread_mutex_unlock(&records_mutex);
}

static bool is_recorded(int fd) {
    struct stat st;
    if (!recorded_path[0]) return false;
    if (!recorded_ino) {
        if (stat(recorded_path, &st) != 0) return false;
        recorded_dev = st.st_dev;
        recorded_ino = st.st_ino;
    }
    return fstat(fd, &st) == 0 && st.st_dev == recorded_dev && st.st_ino == recorded_ino;
}

static void note_write(int fd, const void *data, ssize_t len, off_t offset) {
    if (len <= 0 || !is_recorded(fd)) return;
    bool durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    add_record((struct record){.kind = WRITE, .durable = durable, .offset = offset, .len = (size_t)len}, data);
}

static ssize_t note_writev(int fd, const struct iovec *iov, int n, ssize_t written, off_t offset) {
    ssize_t left = written;
    for (int i = 0; i < n && left > 0; i++) {
        ssize_t len = MIN((ssize_t)iov[i].iov_len, left);
        note_write(fd, iov[i].iov_base, len, offset);
        offset += len;
        left -= len;
    }
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) {
    ssize_t n = syscall(SYS_pwrite64, fd, data, len, offset);
    note_write(fd, data, n, offset);
    return n;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) { return pwrite(fd, data, len, offset); }

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset) {
    return note_writev(fd, iov, n, syscall(SYS_pwritev, fd, iov, n, (long)offset, 0l), offset);
}

ssize_t writev(int fd, const struct iovec *iov, int n) {
    off_t offset = is_recorded(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    return note_writev(fd, iov, n, syscall(SYS_writev, fd, iov, n), offset);
}

ssize_t write(int fd, const void *data, size_t len) {
    off_t offset = is_recorded(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = syscall(SYS_write, fd, data, len);
    note_write(fd, data, n, offset);
    return n;
}

/* A sync says nothing of what another thread writes while it runs. */
static int note_sync(int fd, long which) {
    pthread_mutex_lock(&records_mutex);
    size_t before = records_len;
    pthread_mutex_unlock(&records_mutex);
    long rc = failing_syncs && is_recorded(fd) ? -1 : syscall(which, fd);
    if (rc != 0) errno = EIO;
    if (rc == 0 && is_recorded(fd)) add_record((struct record){.kind = SYNC, .covers = before}, NULL);
    return (int)rc;
}

int fdatasync(int fd) { return note_sync(fd, SYS_fdatasync); }
int fsync(int fd) { return note_sync(fd, SYS_fsync); }

/* ---- the load ---- */

struct change { uint64_t revision; int key; size_t len; unsigned value; bool del; };
static struct change history[HISTORY_MAX]; /* by revision - 2 */
static struct store *loaded;

static void fill_value(unsigned id, char *out, size_t len) {
    for (size_t i = 0; i < len; i++) out[i] = (char)(id * 13 + i * 5 + (i >> 8));
}

static void key_name(int key, char out[32]) { snprintf(out, 32, "/registry/k/%03d", key); }

static void on_done(void *arg, struct store_result *r) {
    struct change *c = arg;
    if (r->outcome != STORE_OK || r->revision > HISTORY_MAX) abort();
    c->revision = r->revision;
    bool nothing = c->del && (r->revision == 1 || history[r->revision - 2].revision); /* the delete of a missing key has no revision of its own */
    if (!nothing) history[r->revision - 2] = *c;
    add_record((struct record){.kind = ACK, .revision = r->revision}, NULL);
    free(c);
}

static void *write_some(void *arg) {
    unsigned seed = (unsigned)(uintptr_t)arg;
    char key[32], value[VALUE_MAX];
    for (int i = 0; i < WRITES_EACH; i++) {
        struct change *c = calloc(1, sizeof(*c));
        c->key = rand_r(&seed) % KEYS;
        c->del = rand_r(&seed) % 5 == 0;
        c->value = (unsigned)rand_r(&seed);
        c->len = (size_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 1500 : VALUE_MAX);
        fill_value(c->value, value, c->len);
        key_name(c->key, key);
        store_write(loaded, &(struct store_op){.key = key, .expect_mod_revision = STORE_ANY, .value = c->del ? NULL : value, .value_len = c->del ? 0 : c->len}, 1, on_done, c);
        if (rand_r(&seed) % 3 == 0) usleep((useconds_t)(rand_r(&seed) % 3000));
    }
    return NULL;
}

static _Atomic int64_t clock_s = 1000;
static int64_t clock_now(struct env *e UNUSED) { return clock_s * 1000000000; }

struct image { char *data; size_t len, cap; };

static void read_file(const char *path, struct image *ret) {
    FILE *f = fopen(path, "r");
    struct stat st;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *ret = (struct image){malloc((size_t)st.st_size), (size_t)st.st_size, (size_t)st.st_size};
    assert_int_equal(fread(ret->data, 1, ret->len, f), ret->len);
    fclose(f);
}

/* The file as it was made is durable (a file is made beside and renamed); the recording begins behind that. */
static void record_load(const char *dir, unsigned seed, struct image *ret) {
    char path[128];
    struct env env = *env_real();
    struct status err = STATUS_INIT;
    pthread_t threads[WRITERS];
    env.now_ns = clock_now;
    if (store_open(&(struct store_options){.dir = dir, .env = &env, .log_entries_max = 60, .log_age_s = 1 << 30}, &loaded, &err) != 0) fail_msg("%s", err.message);
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    read_file(path, ret);
    memcpy(recorded_path, path, sizeof(path));
    for (uintptr_t i = 0; i < WRITERS; i++) pthread_create(&threads[i], NULL, write_some, (void *)(i + seed * WRITERS));
    for (int i = 0; i < 20; i++) { /* time flies, so that the log is cut and its pages are used again under the load */
        usleep(5000);
        clock_s++;
    }
    for (int i = 0; i < WRITERS; i++) pthread_join(threads[i], NULL);
    store_close(loaded);
    recorded_path[0] = 0;
    status_release(&err);
}

/* ---- the cut ---- */

static void image_write(struct image *im, off_t offset, const char *data, size_t len) {
    size_t end = (size_t)offset + len;
    if (end > im->cap) {
        im->data = realloc(im->data, end * 2);
        memset(im->data + im->cap, 0, end * 2 - im->cap);
        im->cap = end * 2;
    }
    memcpy(im->data + offset, data, len);
    im->len = MAX(im->len, end);
}

enum fate { ALL, NONE, SOME };

/* What was not synced when the power went: of each write, each sector for itself. The header is written durably: there before the call returns. */
static void lose(struct image *im, const struct record *r, enum fate fate, unsigned *seed) {
    for (size_t at = 0; at < r->len; at += SECTOR)
        if (fate == ALL || (fate == SOME && rand_r(seed) % 2)) image_write(im, r->offset + (off_t)at, r->data + at, MIN(r->len - at, (size_t)SECTOR));
}

struct walk { struct store *s; const struct change *state; int n; };

static bool compare(void *arg, const struct store_view *v) {
    struct walk *w = arg;
    char value[VALUE_MAX];
    char name[32];
    snprintf(name, sizeof(name), "%.*s", (int)v->key_len, v->key);
    const struct change *c = &w->state[atoi(name + strlen("/registry/k/"))];
    assert_int_equal(v->mod_revision, c->revision);
    assert_false(c->del);
    assert_int_equal(v->value_len, c->len);
    fill_value(c->value, value, c->len);
    assert_memory_equal(v->value, value, c->len);
    w->n++;
    return true;
}

static void verify(const char *dir, const struct image *im, uint64_t acked) {
    char path[128];
    struct store *s;
    struct status err = STATUS_INIT;
    struct change state[KEYS] = {0};
    struct store_txn *t;
    int there = 0;
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_int_equal(write(fd, im->data, im->len), im->len);
    close(fd);
    if (store_check(dir, NULL, &err) != 0) fail_msg("%s", err.message);
    if (store_open(&(struct store_options){.dir = dir, .no_sync = true}, &s, &err) != 0) fail_msg("%s", err.message);
    uint64_t revision = store_revision(s);
    if (revision < acked) fail_msg("revision %llu was acknowledged; the disk is at %llu", (unsigned long long)acked, (unsigned long long)revision);
    for (uint64_t i = 2; i <= revision; i++) {
        assert_int_equal(history[i - 2].revision, i);
        state[history[i - 2].key] = history[i - 2];
    }
    for (int i = 0; i < KEYS; i++) there += state[i].revision && !state[i].del;
    struct walk w = {s, state, 0};
    assert_int_equal(store_read_begin(s, &t, NULL), 0);
    store_range(t, "/registry/", NULL, compare, &w);
    store_read_end(t);
    assert_int_equal(w.n, there);
    store_close(s);
    status_release(&err);
}

static void cut_after(const char *dir, const struct image *durable, size_t from, size_t cut, uint64_t acked, enum fate fate, unsigned *seed) {
    struct image im = {malloc(durable->len + 1), durable->len, durable->len};
    if (durable->len) memcpy(im.data, durable->data, durable->len);
    for (size_t i = from; i <= cut; i++)
        if (records[i].kind == WRITE && (!records[i].durable || i == cut)) lose(&im, &records[i], fate, seed);
    verify(dir, &im, acked);
    free(im.data);
}

static void every_acknowledged_write_survives_a_power_cut_at_any_moment(void **state UNUSED) {
    char dir[] = "/tmp/ckube-store-XXXXXX", after[] = "/dev/shm/ckube-store-XXXXXX", command[256];
    const char *seed_text = getenv("CKUBE_SEED"), *cuts_text = getenv("CKUBE_CUTS");
    unsigned seed = seed_text ? (unsigned)atoi(seed_text) : (unsigned)getpid();
    size_t cuts = cuts_text ? (size_t)atoi(cuts_text) : 250, from = 0, syncs = 0, done = 0;
    struct image durable = {0};
    uint64_t acked = 0;
    assert_non_null(mkdtemp(dir));
    assert_non_null(mkdtemp(after));
    records = calloc(RECORDS_MAX, sizeof(*records));
    printf("seed %u\n", seed);
    record_load(dir, seed, &durable);
    for (size_t i = 0; i < records_len; i++) {
        struct record *r = &records[i];
        if (r->kind == ACK) acked = MAX(acked, r->revision);
        if ((size_t)rand_r(&seed) % records_len < cuts) {
            cut_after(after, &durable, from, i, acked, (enum fate)(rand_r(&seed) % 3), &seed);
            done++;
        }
        if (r->kind == WRITE && r->durable) image_write(&durable, r->offset, r->data, r->len);
        if (r->kind != SYNC) continue;
        for (; from < r->covers; from++)
            if (records[from].kind == WRITE) image_write(&durable, records[from].offset, records[from].data, records[from].len);
        syncs++;
    }
    assert_true(syncs > 0); /* the recording sees LMDB's writes and syncs */
    assert_true(acked > WRITERS * WRITES_EACH / 2);
    assert_true(done > cuts / 2);
    printf("%zu records, %zu syncs, %zu cuts, revision %llu\n", records_len, syncs, done, (unsigned long long)acked);
    for (size_t i = 0; i < records_len; i++) free(records[i].data);
    free(records);
    records = NULL;
    free(durable.data);
    snprintf(command, sizeof(command), "rm -rf %s %s", dir, after);
    assert_int_equal(system(command), 0);
}

static void write_one(struct store *s, const char *value, struct store_result *ret) {
    store_write_wait(s, &(struct store_op){.key = "/registry/a", .expect_mod_revision = STORE_ANY, .value = value, .value_len = strlen(value)}, 1, ret);
}

/* The kernel tells of a failed sync once and then knows nothing of it: a later sync that succeeds proves nothing. */
static void after_a_sync_that_fails_nothing_is_written_until_the_store_is_opened_anew(void **state UNUSED) {
    char dir[] = "/tmp/ckube-store-XXXXXX", command[256];
    struct store *s;
    struct store_result r = {0};
    struct status err = STATUS_INIT;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(store_open(&(struct store_options){.dir = dir}, &s, NULL), 0);
    snprintf(recorded_path, sizeof(recorded_path), "%s/data.mdb", dir);
    recorded_ino = 0;
    write_one(s, "one", &r);
    assert_int_equal(r.outcome, STORE_OK);
    assert_int_equal(store_check_health(s, 0, NULL), 0);
    failing_syncs = true;
    for (int i = 0; i < 3; i++) { /* the last when syncs work again */
        if (i == 2) failing_syncs = false;
        r = (struct store_result){0};
        write_one(s, "two", &r);
        assert_int_equal(r.outcome, STORE_FAILED);
        assert_non_null(strstr(status_message(&r.error), "Input/output error"));
        status_release(&r.error);
    }
    assert_int_equal(store_check_health(s, 0, &err), -1);
    assert_non_null(strstr(status_message(&err), "until it is opened anew"));
    status_release(&err);
    store_close(s);
    recorded_path[0] = 0;
    assert_int_equal(store_open(&(struct store_options){.dir = dir}, &s, NULL), 0);
    write_one(s, "three", &r);
    assert_int_equal(r.outcome, STORE_OK);
    store_close(s);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_acknowledged_write_survives_a_power_cut_at_any_moment),
        cmocka_unit_test(after_a_sync_that_fails_nothing_is_written_until_the_store_is_opened_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
