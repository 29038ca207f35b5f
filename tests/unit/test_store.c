/* store/: what store.h guarantees, on the LMDB store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/str.h"
#include "store/store.h"

static char dir[64];

static struct store *open_store(struct env *env, bool sync) {
    struct store *s = NULL;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct store_options o = {.dir = dir, .no_sync = !sync, .env = env};
    if (store_open(&o, &s, &err) != 0) fail_msg("%s", err.message);
    return s;
}

static int fresh_dir(void **state UNUSED) {
    snprintf(dir, sizeof(dir), "/tmp/ckube-store-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state UNUSED) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct store_result put(struct store *s, const char *key, const char *value, int64_t expect) {
    struct store_op op = {.key = key, .value = value, .value_len = value ? strlen(value) : 0, .expect_mod_revision = expect};
    struct store_result r;
    store_write_wait(s, &op, 1, &r);
    return r;
}

static char *get(struct store *s, const char *key, uint64_t *ret_revision) {
    struct store_txn *t;
    struct store_view v;
    assert_int_equal(store_read_begin(s, &t, NULL), 0);
    char *copy = store_get(t, key, &v) ? strndup(v.value, v.value_len) : NULL;
    if (copy && ret_revision) *ret_revision = v.mod_revision;
    store_read_end(t);
    return copy;
}

static void writes_are_conditional_and_numbered(void **state UNUSED) {
    struct store *s = open_store(NULL, false);
    struct store_result r = put(s, "/a", "1", 0);
    assert_int_equal(r.outcome, STORE_OK);
    assert_int_equal(r.revision, 2);
    r = put(s, "/a", "2", 0);
    assert_int_equal(r.outcome, STORE_CONFLICT);
    assert_int_equal(r.conflict_revision, 2);
    assert_int_equal(put(s, "/a", "2", 2).revision, 3);
    assert_int_equal(put(s, "/b", NULL, STORE_ANY).outcome, STORE_OK);
    uint64_t rev = 0;
    char *v = get(s, "/a", &rev);
    assert_string_equal(v, "2");
    assert_int_equal(rev, 3);
    free(v);
    store_close(s);
    s = open_store(NULL, false);
    v = get(s, "/a", NULL);
    assert_string_equal(v, "2");
    free(v);
    store_close(s);
}

static void several_ops_take_effect_together_or_not_at_all(void **state UNUSED) {
    struct store *s = open_store(NULL, false);
    put(s, "/x", "0", 0);
    struct store_op ops[] = {{.key = "/y", .value = "1", .value_len = 1}, {.key = "/x", .value = "1", .value_len = 1, .expect_mod_revision = 99}};
    struct store_result r;
    store_write_wait(s, ops, 2, &r);
    assert_int_equal(r.outcome, STORE_CONFLICT);
    assert_int_equal(r.conflict_op, 1);
    assert_null(get(s, "/y", NULL));
    store_close(s);
}

/* A watcher that checks the order of what it sees and rebuilds the state from it. */
struct follower { uint64_t last; size_t events; char state[16][32]; };

static void follow(void *arg, struct store_event *e) {
    struct follower *f = arg;
    assert_true(e->revision > f->last);
    f->last = e->revision;
    f->events++;
    int i = atoi(e->key + 3);
    if (e->prev) assert_string_equal(shared_data(e->prev), f->state[i]);
    else assert_string_equal(f->state[i], "");
    snprintf(f->state[i], sizeof(f->state[i]), "%s", e->type == STORE_PUT ? shared_data(e->value) : "");
}

static void watches_follow_a_model_from_any_revision(void **state UNUSED) {
    struct store *s = open_store(NULL, false);
    struct follower live = {0}, late = {0};
    struct store_watch *w, *w2;
    char model[16][32] = {{0}}, key[16], value[32];
    uint64_t middle = 0;
    struct follower at_middle = {0};
    unsigned seed = 7;
    assert_int_equal(store_watch_start(s, "/k/", 1, follow, &live, &w, NULL), 0);
    for (int n = 0; n < 3000; n++) {
        int i = rand_r(&seed) % 16;
        snprintf(key, sizeof(key), "/k/%d", i);
        snprintf(value, sizeof(value), "v%d", n);
        bool del = rand_r(&seed) % 4 == 0;
        struct store_result r = put(s, key, del ? NULL : value, STORE_ANY);
        assert_int_equal(r.outcome, STORE_OK);
        snprintf(model[i], sizeof(model[i]), "%s", del ? "" : value);
        put(s, "/other", "x", STORE_ANY);
        if (n == 1500) {
            middle = store_revision(s);
            at_middle = live;
        }
    }
    late = at_middle;
    assert_int_equal(store_watch_start(s, "/k/", middle, follow, &late, &w2, NULL), 0);
    store_watch_stop(w);
    store_watch_stop(w2);
    assert_memory_equal(live.state, model, sizeof(model));
    assert_memory_equal(late.state, model, sizeof(model));
    assert_int_equal(live.events, late.events);
    store_close(s);
}

struct moving_clock { struct env env; _Atomic int64_t now; };
static int64_t moving_now(struct env *e) { return ((struct moving_clock *)(void *)e)->now; }

static void keys_expire_and_the_log_is_cut_by_age(void **state UNUSED) {
    struct moving_clock clock = {*env_real(), 1000ll * 1000000000};
    clock.env.now_ns = moving_now;
    struct store *s = open_store(&clock.env, false);
    struct store_op op = {.key = "/e", .value = "x", .value_len = 1, .ttl_s = 60};
    struct store_result r;
    store_write_wait(s, &op, 1, &r);
    put(s, "/keep", "x", 0);
    clock.now += 59ll * 1000000000;
    put(s, "/tick", "1", STORE_ANY);
    char *v = get(s, "/e", NULL);
    assert_non_null(v);
    free(v);
    clock.now += 400ll * 1000000000;
    for (int i = 0; i < 200; i++) {
        v = get(s, "/e", NULL);
        free(v);
        if (!v && store_compacted_revision(s) >= 3) break;
        env_sleep_ms(env_real(), 20);
    }
    assert_null(get(s, "/e", NULL));
    v = get(s, "/keep", NULL);
    assert_non_null(v);
    free(v);
    struct follower f = {0};
    struct store_watch *w;
    _cleanup_status_ struct status err = STATUS_INIT;
    assert_int_equal(store_watch_start(s, "/", 1, follow, &f, &w, &err), -1);
    assert_int_equal(err.code, 410);
    store_close(s);
}

/* Several threads resume from behind while the log is being cut before their eyes: each gets all after its revision, or 410, never a part. */
struct resumer { struct store *store; _Atomic bool *stop; size_t whole, expired; };

static void next_revision(void *arg, struct store_event *e) {
    uint64_t *last = arg;
    CHECK(e->revision == *last + 1);
    *last = e->revision;
}

static void *resume_often(void *arg) {
    struct resumer *r = arg;
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!*r->stop) {
        _cleanup_status_ struct status err = STATUS_INIT;
        uint64_t now = store_revision(r->store), from = store_compacted_revision(r->store) + (uint64_t)(rand_r(&seed) % 60);
        from = MIN(MAX(from, 1), now);
        uint64_t last = from;
        struct store_watch *w;
        if (store_watch_start(r->store, "", last, next_revision, &last, &w, &err) == 0) {
            store_watch_stop(w);
            r->whole++;
            continue;
        }
        CHECK(err.code == 410 && from < store_compacted_revision(r->store));
        r->expired++;
    }
    return NULL;
}

static void a_resume_never_skips_what_is_cut_meanwhile(void **state UNUSED) {
    struct store *s = NULL;
    struct store_options o = {.dir = dir, .no_sync = true, .log_entries_max = 100};
    _Atomic bool stop = false;
    pthread_t threads[3];
    struct resumer resumers[3];
    assert_int_equal(store_open(&o, &s, NULL), 0);
    for (int i = 0; i < 3; i++) {
        resumers[i] = (struct resumer){.store = s, .stop = &stop};
        pthread_create(&threads[i], NULL, resume_often, &resumers[i]);
    }
    size_t expired = 0;
    for (int i = 0; i < 12000; i++) put(s, "/k", "v", STORE_ANY);
    stop = true;
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_true(resumers[i].whole > 0);
        expired += resumers[i].expired;
    }
    assert_true(store_compacted_revision(s) > 9000);
    printf("%zu resumes came too late\n", expired);
    store_close(s);
}

static void two_processes_cannot_open_one_store(void **state UNUSED) {
    struct store *s = open_store(NULL, false), *again;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct store_options o = {.dir = dir};
    assert_int_equal(store_open(&o, &again, &err), -1);
    assert_non_null(strstr(err.message, "in use"));
    store_close(s);
}

/* The child writes /n/0, /n/1, ... and says on the pipe what was acknowledged; the parent kills it at a random moment and opens what is left. */
static void write_until_killed(int fd, uint64_t from) {
    struct store *s = open_store(NULL, true);
    for (uint64_t n = from;; n++) {
        char key[32];
        snprintf(key, sizeof(key), "/n/%llu", (unsigned long long)n);
        if (put(s, key, key, 0).outcome != STORE_OK || write(fd, &n, sizeof(n)) != sizeof(n)) _exit(1);
    }
}

static void no_acknowledged_write_is_lost_to_sigkill(void **state UNUSED) {
    uint64_t next = 0;
    unsigned seed = (unsigned)getpid();
    for (int round = 0; round < 10; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        if (child == 0) write_until_killed(fds[1], next);
        close(fds[1]);
        usleep(10000 + (useconds_t)(rand_r(&seed) % 60000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        uint64_t n, acked = next;
        while (read(fds[0], &n, sizeof(n)) == sizeof(n)) acked = n + 1;
        close(fds[0]);
        struct store *s = open_store(NULL, true);
        for (n = next; n < acked; n++) {
            char key[32];
            snprintf(key, sizeof(key), "/n/%llu", (unsigned long long)n);
            char *v = get(s, key, NULL);
            if (!v) fail_msg("%s was acknowledged and is lost", key);
            free(v);
        }
        char key[32]; /* one more may be there that was not acknowledged in time */
        snprintf(key, sizeof(key), "/n/%llu", (unsigned long long)acked);
        char *v = get(s, key, NULL);
        next = acked + (v != NULL);
        free(v);
        store_close(s);
    }
    assert_true(next > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_are_conditional_and_numbered, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(several_ops_take_effect_together_or_not_at_all, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(watches_follow_a_model_from_any_revision, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(keys_expire_and_the_log_is_cut_by_age, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_resume_never_skips_what_is_cut_meanwhile, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(two_processes_cannot_open_one_store, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(no_acknowledged_write_is_lost_to_sigkill, fresh_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
