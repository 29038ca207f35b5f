/* store/ on bad days: files that are torn or not ours, disks that are full or cannot be written, processes that are killed under load.
 *
 * The power cut has a program of its own, test_store_powercut.c. CKUBE_KILL_ROUNDS=n: more kills than 20. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <lmdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "store/store.h"

static char dir[64], file[96];

/* ThreadSanitizer: children of the tests start threads. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "die_after_fork=0"; }

static int fresh_dir(void **state UNUSED) {
    snprintf(dir, sizeof(dir), "/tmp/ckube-store-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(file, sizeof(file), "%s/data.mdb", dir);
    return 0;
}

static int remove_dir(void **state UNUSED) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct store *open_store(struct store_options o) {
    struct store *s = NULL;
    _cleanup_status_ struct status err = STATUS_INIT;
    o.dir = dir;
    if (store_open(&o, &s, &err) != 0) fail_msg("%s", err.message);
    return s;
}

/* The words a caller gets to see; "" when it succeeds. */
static const char *open_error(void) {
    static char message[512];
    struct store *s;
    struct status err = STATUS_INIT;
    message[0] = 0;
    if (store_open(&(struct store_options){.dir = dir}, &s, &err) == 0) store_close(s);
    else snprintf(message, sizeof(message), "%s", err.message);
    status_release(&err);
    return message;
}

static struct store_result put(struct store *s, const char *key, const char *value, size_t len, int64_t expect) {
    struct store_op op = {.key = key, .value = value, .value_len = len, .expect_mod_revision = expect};
    struct store_result r;
    store_write_wait(s, &op, 1, &r);
    return r;
}

static bool has(struct store *s, const char *key) {
    struct store_txn *t;
    struct store_view v;
    assert_int_equal(store_read_begin(s, &t, NULL), 0);
    bool there = store_get(t, key, &v);
    store_read_end(t);
    return there;
}

static void fill(struct store *s, int n, size_t len) {
    char key[32], value[8192];
    memset(value, 'v', sizeof(value));
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof(key), "/registry/k/%06d", i);
        assert_int_equal(put(s, key, value, len, STORE_ANY).outcome, STORE_OK);
    }
}

/* ---- files ---- */

static void a_file_of_another_program_is_refused_and_left_alone(void **state UNUSED) {
    char before[4096] = "this is a text, not a database\n", after[4096];
    FILE *f = fopen(file, "w");
    fwrite(before, 1, sizeof(before), f);
    fwrite(before, 1, sizeof(before), f);
    fclose(f);
    assert_non_null(strstr(open_error(), "is not a database of ckube's"));
    f = fopen(file, "r");
    assert_int_equal(fread(after, 1, sizeof(after), f), sizeof(after));
    fclose(f);
    assert_memory_equal(before, after, sizeof(before));
}

static void an_lmdb_file_of_another_program_is_refused(void **state UNUSED) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    char key[] = "k";
    MDB_val k = {1, key}, v = {1, key};
    mdb_env_create(&env);
    assert_int_equal(mdb_env_open(env, dir, 0, 0600), 0);
    mdb_txn_begin(env, NULL, 0, &txn);
    mdb_dbi_open(txn, NULL, 0, &dbi);
    mdb_put(txn, dbi, &k, &v, 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_non_null(strstr(open_error(), "another format"));
    assert_int_equal(store_check(dir, NULL, NULL), -1);
}

/* Cut at every length that is a page's, and some that are not: either an error in words, or every value is there. Never a crash. */
static void a_file_cut_short_is_refused_wherever_it_was_cut(void **state UNUSED) {
    struct store *s = open_store((struct store_options){.no_sync = true});
    fill(s, 40, 6000);
    store_close(s);
    struct stat st;
    struct status err = STATUS_INIT;
    struct store_report report;
    assert_int_equal(stat(file, &st), 0);
    int refused = 0;
    for (off_t size = st.st_size; size > 0; size -= size % 4096 ? size % 4096 : 4096 * (1 + size / 65536)) {
        assert_int_equal(truncate(file, size), 0);
        int rc = store_check(dir, &report, &err);
        const char *why = open_error();
        assert_int_equal(rc != 0, why[0] != 0);
        if (!rc) assert_int_equal(report.keys, 40);
        else assert_true(strstr(why, "damaged") || strstr(why, "not a database"));
        refused += rc != 0;
        struct stat after;
        stat(file, &after);
        if (rc) assert_int_equal(after.st_size, size); /* left as found */
    }
    assert_true(refused > 5);
    status_release(&err);
}

static void a_folder_that_cannot_be_made_is_an_error(void **state UNUSED) {
    struct store *s;
    struct status err = STATUS_INIT;
    assert_int_equal(store_open(&(struct store_options){.dir = "/proc/none/store"}, &s, &err), -1);
    assert_non_null(strstr(err.message, "/proc/none/store"));
    status_release(&err);
}

/* ---- copies ---- */

static void a_snapshot_of_a_running_store_opens_as_a_store(void **state UNUSED) {
    struct store *s = open_store((struct store_options){.no_sync = true}), *copy;
    struct status err = STATUS_INIT;
    struct store_report report;
    char to[96];
    fill(s, 100, 500);
    snprintf(to, sizeof(to), "%s/snapshot", dir);
    assert_int_equal(store_snapshot(s, to, &err), 0);
    assert_int_equal(put(s, "/later", "x", 1, 0).outcome, STORE_OK);
    assert_int_equal(store_snapshot(s, to, &err), -1);
    assert_non_null(strstr(err.message, "exists already"));
    if (store_check(to, &report, &err) != 0) fail_msg("%s", err.message);
    assert_int_equal(report.keys, 100);
    assert_int_equal(report.events, 100);
    assert_int_equal(report.revision, 101);
    assert_int_equal(store_open(&(struct store_options){.dir = to}, &copy, &err), 0);
    assert_true(has(copy, "/registry/k/000099"));
    assert_false(has(copy, "/later"));
    store_close(copy);
    store_close(s);
    status_release(&err);
}

static void compacting_a_file_returns_its_free_pages(void **state UNUSED) {
    struct store *s = open_store((struct store_options){.no_sync = true});
    struct stat before, after;
    struct status err = STATUS_INIT;
    fill(s, 300, 4000);
    for (int i = 1; i < 300; i++) {
        char key[32];
        snprintf(key, sizeof(key), "/registry/k/%06d", i);
        put(s, key, NULL, 0, STORE_ANY);
    }
    assert_int_equal(store_compact_file(dir, &err), -1);
    assert_non_null(strstr(err.message, "in use"));
    store_close(s);
    s = open_store((struct store_options){.no_sync = true, .log_entries_max = 10});
    for (int i = 0; i < 3000 && store_compacted_revision(s) < 580; i++) usleep(10000);
    store_close(s);
    stat(file, &before);
    if (store_compact_file(dir, &err) != 0) fail_msg("%s", err.message);
    stat(file, &after);
    assert_true(after.st_size * 4 < before.st_size);
    s = open_store((struct store_options){.no_sync = true});
    assert_true(has(s, "/registry/k/000000"));
    assert_int_equal(store_revision(s), 600);
    store_close(s);
    status_release(&err);
}

/* A day of it, faster: the file must level off, since free pages are used again. */
static void churn_does_not_grow_the_file(void **state UNUSED) {
    struct store *s = open_store((struct store_options){.no_sync = true, .log_entries_max = 500});
    struct store_metrics m;
    uint64_t after_first = 0;
    for (int round = 0; round < 12; round++) {
        fill(s, 1000, 1400);
        store_metrics(s, &m);
        if (round == 3) after_first = m.db_bytes;
    }
    assert_true(m.db_bytes <= after_first + after_first / 10);
    assert_true(store_revision(s) - store_compacted_revision(s) < 2000);
    store_close(s);
}

/* ---- full ---- */

/* Fills the store until it refuses; what was acknowledged stays readable; when something has gone it takes writes again. */
static void fill_up_and_recover(struct store *s, void (*make_room)(struct store *s, void *arg), void *arg) {
    char key[32], value[4000];
    struct store_result r = {0};
    memset(value, 'x', sizeof(value));
    int n = 0;
    for (; n < 100000; n++) {
        snprintf(key, sizeof(key), "/registry/k/%06d", n);
        r = put(s, key, value, sizeof(value), 0);
        if (r.outcome != STORE_OK) break;
    }
    assert_int_equal(r.outcome, STORE_FAILED);
    assert_int_equal(r.error.code, 500);
    assert_non_null(strstr(r.error.message, "the database is out of space"));
    status_release(&r.error);
    assert_true(n > 50);
    assert_false(has(s, key));
    uint64_t revision = store_revision(s);
    assert_int_equal(revision, n + 1);
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof(key), "/registry/k/%06d", i);
        assert_true(has(s, key));
    }
    make_room(s, arg);
    for (int i = 0; i < 300; i++) {
        r = put(s, "/registry/after", "y", 1, STORE_ANY);
        if (r.outcome == STORE_OK) break;
        status_release(&r.error);
        usleep(20000);
    }
    assert_int_equal(r.outcome, STORE_OK);
    assert_true(r.revision > revision);
}

static _Atomic int64_t clock_s;
static int64_t clock_now(struct env *e UNUSED) { return clock_s * 1000000000; }
static void time_passes(struct store *s UNUSED, void *arg UNUSED) { clock_s += 1000; } /* and the log is cut */

static void a_full_map_refuses_writes_and_recovers_when_the_log_is_cut(void **state UNUSED) {
    struct env env = *env_real();
    env.now_ns = clock_now;
    clock_s = 1000;
    struct store *s = open_store((struct store_options){.no_sync = true, .map_bytes = 4 << 20, .env = &env});
    fill_up_and_recover(s, time_passes, NULL);
    store_close(s);
    struct store_report report;
    assert_int_equal(store_check(dir, &report, NULL), 0);
}

static void grow_tmpfs(struct store *s UNUSED, void *arg UNUSED) { assert_int_equal(mount(NULL, dir, NULL, MS_REMOUNT, "size=16m"), 0); }

/* The child has a mount namespace of its own, so that nothing is left of the mount. 77: not permitted here. */
static void run_with_mount(const char *options, CMUnitTestFunction body) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("none", dir, "tmpfs", 0, options) != 0) _exit(77);
        const struct CMUnitTest tests[] = {{"with a disk of its own", body, NULL, NULL, NULL}};
        _exit(cmocka_run_group_tests(tests, NULL, NULL) != 0);
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("skipped: this user may not mount a tmpfs\n");
        skip();
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void on_small_disk(void **state UNUSED) {
    struct store *s = open_store((struct store_options){0});
    fill_up_and_recover(s, grow_tmpfs, NULL);
    store_close(s);
    struct store_report report;
    assert_int_equal(store_check(dir, &report, NULL), 0);
}

static void a_full_disk_refuses_writes_and_recovers_when_there_is_room(void **state UNUSED) { run_with_mount("size=3m", on_small_disk); }

static void on_readonly_disk(void **state UNUSED) {
    assert_int_equal(open_error()[0], 0);
    assert_int_equal(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_non_null(strstr(open_error(), "Read-only file system"));
}

static void a_readonly_disk_is_an_error_at_opening(void **state UNUSED) { run_with_mount("size=3m", on_readonly_disk); }

/* ---- kills ---- */

enum { WRITERS = 4 };
struct ack { uint32_t writer, n; uint64_t revision; };
static int ack_fd;
static struct store *victim;
static uint32_t start_at[WRITERS];

static void *write_until_killed(void *arg) {
    uint32_t w = (uint32_t)(uintptr_t)arg;
    char key[32], value[3000];
    for (uint32_t n = start_at[w];; n++) {
        snprintf(key, sizeof(key), "/n/%u/%u", w, n);
        memset(value, (int)('a' + n % 26), sizeof(value));
        struct store_result r = put(victim, key, value, 100 + n * 37 % 2900, 0);
        if (n >= 30) {
            char old[32]; /* deletes too: a writer's last 30 keys are there */
            snprintf(old, sizeof(old), "/n/%u/%u", w, n - 30);
            if (r.outcome == STORE_OK) put(victim, old, NULL, 0, STORE_ANY);
        }
        struct ack a = {w, n, r.revision};
        if (r.outcome != STORE_OK || write(ack_fd, &a, sizeof(a)) != sizeof(a)) _exit(1);
    }
    return NULL;
}

static void run_victim(int fd) {
    pthread_t threads[WRITERS];
    ack_fd = fd;
    victim = open_store((struct store_options){.log_entries_max = 300});
    for (uintptr_t w = 0; w < WRITERS; w++) pthread_create(&threads[w], NULL, write_until_killed, (void *)w);
    pause();
}

static void count_gapless(void *arg, struct store_event *e) {
    uint64_t *last = arg;
    assert_int_equal(e->revision, *last + 1);
    *last = e->revision;
}

static void verify_after_kill(const uint32_t acked[WRITERS], uint64_t revision) {
    struct store_report report;
    struct status err = STATUS_INIT;
    char key[32];
    if (store_check(dir, &report, &err) != 0) fail_msg("%s", err.message);
    struct store *s = open_store((struct store_options){.log_entries_max = 300});
    assert_true(store_revision(s) >= revision);
    for (uint32_t w = 0; w < WRITERS; w++) {
        for (uint32_t n = acked[w] > 29 ? acked[w] - 29 : 0; n < acked[w]; n++) {
            snprintf(key, sizeof(key), "/n/%u/%u", w, n);
            if (!has(s, key)) fail_msg("%s was acknowledged and is lost", key);
        }
        snprintf(key, sizeof(key), "/n/%u/%u", w, acked[w]); /* may be there without its acknowledgement */
        start_at[w] = acked[w] + has(s, key);
    }
    uint64_t last = MAX(store_compacted_revision(s), 1); /* revision 1 is the empty store */
    for (int tries = 0; store_log_read(s, "", last, UINT64_MAX, count_gapless, &last, &err) != 0; tries++) { /* cut meanwhile: from there on */
        assert_int_equal(err.code, 410);
        assert_true(tries < 10);
        last = store_compacted_revision(s);
    }
    assert_int_equal(last, store_revision(s));
    store_close(s);
    status_release(&err);
}

static void no_acknowledged_write_is_lost_to_sigkill_under_load(void **state UNUSED) {
    const char *more = getenv("CKUBE_KILL_ROUNDS");
    unsigned seed = (unsigned)getpid();
    uint64_t total = 0;
    memset(start_at, 0, sizeof(start_at));
    for (int round = 0, rounds = more ? atoi(more) : 20; round < rounds; round++) {
        int fds[2];
        uint32_t acked[WRITERS];
        uint64_t revision = 0;
        struct ack a;
        memcpy(acked, start_at, sizeof(acked));
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        if (child == 0) run_victim(fds[1]);
        close(fds[1]);
        struct pollfd begun = {fds[0], POLLIN, 0};
        if (round == 0) assert_int_equal(poll(&begun, 1, 20000), 1); /* there is a database to be killed in */
        usleep(5000 + (useconds_t)(rand_r(&seed) % 60000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(fds[0], &a, sizeof(a)) == sizeof(a)) {
            acked[a.writer] = MAX(acked[a.writer], a.n + 1);
            revision = MAX(revision, a.revision);
            total++;
        }
        close(fds[0]);
        verify_after_kill(acked, revision);
    }
    assert_true(total > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_of_another_program_is_refused_and_left_alone, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(an_lmdb_file_of_another_program_is_refused, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_file_cut_short_is_refused_wherever_it_was_cut, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_folder_that_cannot_be_made_is_an_error, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_snapshot_of_a_running_store_opens_as_a_store, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(compacting_a_file_returns_its_free_pages, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(churn_does_not_grow_the_file, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_full_map_refuses_writes_and_recovers_when_the_log_is_cut, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_writes_and_recovers_when_there_is_room, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_readonly_disk_is_an_error_at_opening, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(no_acknowledged_write_is_lost_to_sigkill_under_load, fresh_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
