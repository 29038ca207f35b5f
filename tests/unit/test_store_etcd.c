/* The store on etcd, against a real one that the test starts on loopback: what store.h promises of writes, reads, watches and TTLs holds on a cluster too, and two
 * stores on one etcd agree. Skipped where etcd is not installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "store/store.h"

static struct { pid_t pid; char dir[64], client[64], peer[64]; int client_port; bool missing; } etcd;

static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    close(fd);
    return ntohs(a.sin_port);
}

static void start_etcd(void) {
    char data[80], cluster[100];
    snprintf(cluster, sizeof(cluster), "default=%s", etcd.peer);
    snprintf(data, sizeof(data), "%s/etcd", etcd.dir);
    etcd.pid = fork();
    if (etcd.pid == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(126);
        execlp("etcd", "etcd", "--data-dir", data, "--listen-client-urls", etcd.client, "--advertise-client-urls", etcd.client, "--listen-peer-urls", etcd.peer,
               "--initial-advertise-peer-urls", etcd.peer, "--initial-cluster", cluster, (char *)NULL);
        _exit(127);
    }
}

static void stop_etcd(void) {
    kill(etcd.pid, SIGKILL);
    waitpid(etcd.pid, NULL, 0);
}

static int group_setup(void **state) {
    (void)state;
    etcd.missing = system("etcd --version >/dev/null 2>&1") != 0;
    if (etcd.missing) return 0;
    strcpy(etcd.dir, "/tmp/ckube-test-etcd-XXXXXX");
    assert_non_null(mkdtemp(etcd.dir));
    etcd.client_port = free_port();
    snprintf(etcd.client, sizeof(etcd.client), "http://127.0.0.1:%d", etcd.client_port);
    snprintf(etcd.peer, sizeof(etcd.peer), "http://127.0.0.1:%d", free_port());
    start_etcd();
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    char command[100];
    if (etcd.missing) return 0;
    stop_etcd();
    snprintf(command, sizeof(command), "rm -rf %s", etcd.dir);
    return system(command);
}

static struct store *open_store(const char *name) {
    static char dir[100];
    struct status err = STATUS_INIT;
    struct store *s = NULL;
    snprintf(dir, sizeof(dir), "%s/%s", etcd.dir, name);
    struct store_options o = {.dir = dir, .etcd = {.servers = etcd.client}};
    if (store_open(&o, &s, &err) != 0) fail_msg("%s", status_message(&err));
    return s;
}

static struct store_result write_one(struct store *s, const char *key, const char *value, int64_t expect, int64_t ttl_s) {
    struct store_result r;
    struct store_op op = {.key = key, .value = value, .value_len = value ? strlen(value) : 0, .expect_mod_revision = expect, .ttl_s = ttl_s};
    store_write_wait(s, &op, 1, &r);
    return r;
}

/* The value of a key, "" when there is none; good until the next call. */
static const char *value_of(struct store *s, const char *key) {
    static char text[100];
    struct store_txn *t;
    struct store_view v;
    *text = 0;
    assert_int_equal(store_read_begin(s, &t, NULL), 0);
    if (store_get(t, key, &v)) snprintf(text, sizeof(text), "%.*s", (int)v.value_len, v.value);
    store_read_end(t);
    return text;
}

#define NEEDS_ETCD if (etcd.missing) { print_message("etcd is not installed\n"); skip(); }

static void a_write_is_seen_by_a_read_that_follows(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *s = open_store("a");
    struct store_result r = write_one(s, "/registry/pods/a/one", "1", 0, 0);
    assert_int_equal(r.outcome, STORE_OK);
    assert_string_equal(value_of(s, "/registry/pods/a/one"), "1");
    assert_true(store_revision(s) >= r.revision);
    store_close(s);
    s = open_store("a"); /* and by the next server, from a mirror made anew */
    assert_string_equal(value_of(s, "/registry/pods/a/one"), "1");
    store_close(s);
}

static void nothing(void *arg, struct store_event *e) {
    (void)arg;
    (void)e;
}

/* A watch from before is refused from the first moment on: a store that said it was at an older revision would leave a gap. */
static void an_opened_store_is_where_the_cluster_is(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *s = open_store("opened");
    for (int i = 0; i < 10; i++) {
        struct store_watch *w;
        uint64_t revision = write_one(s, "/registry/pods/opened/one", "1", STORE_ANY, 0).revision;
        store_close(s);
        s = open_store("opened");
        assert_true(store_revision(s) >= revision);
        assert_int_equal(store_watch_start(s, "/registry/", revision - 1, nothing, NULL, &w, NULL), -1);
    }
    store_close(s);
}

static void guards_refuse_what_has_changed(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *s = open_store("a");
    struct store_result first = write_one(s, "/registry/pods/b/one", "1", 0, 0), again = write_one(s, "/registry/pods/b/one", "2", 0, 0);
    assert_int_equal(again.outcome, STORE_CONFLICT);
    assert_int_equal(again.conflict_revision, first.revision);
    struct store_result second = write_one(s, "/registry/pods/b/one", "2", (int64_t)first.revision, 0);
    assert_int_equal(second.outcome, STORE_OK);
    assert_int_equal(write_one(s, "/registry/pods/b/one", NULL, (int64_t)first.revision, 0).outcome, STORE_CONFLICT);
    assert_string_equal(value_of(s, "/registry/pods/b/one"), "2");
    assert_int_equal(write_one(s, "/registry/pods/b/one", NULL, (int64_t)second.revision, 0).outcome, STORE_OK);
    assert_string_equal(value_of(s, "/registry/pods/b/one"), "");
    assert_int_equal(write_one(s, "/registry/pods/b/none", NULL, STORE_ANY, 0).outcome, STORE_OK);
    store_close(s);
}

static void note_event(void *arg, struct store_event *e) {
    struct buf *log = arg;
    buf_printf(log, "%s%s ", e->type == STORE_PUT ? "+" : "-", strrchr(e->key, '/') + 1);
}

static void two_stores_on_one_etcd_agree(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *a = open_store("a"), *b = open_store("b");
    struct buf log = BUF_INIT;
    struct store_watch *w;
    assert_int_equal(store_watch_start(b, "/registry/pods/c/", store_revision(b), note_event, &log, &w, NULL), 0);
    for (int i = 0; i < 20; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(write_one(a, "/registry/pods/c/x", value, STORE_ANY, 0).outcome, STORE_OK);
        assert_int_equal(store_wait_current(b, NULL), 0);
        assert_string_equal(value_of(b, "/registry/pods/c/x"), value);
    }
    assert_int_equal(write_one(a, "/registry/pods/c/x", NULL, STORE_ANY, 0).outcome, STORE_OK);
    assert_int_equal(store_wait_current(b, NULL), 0);
    store_watch_stop(w);
    assert_string_equal(log.data, "+x +x +x +x +x +x +x +x +x +x +x +x +x +x +x +x +x +x +x +x -x ");
    buf_release(&log);
    store_close(a);
    store_close(b);
}

static void keys_with_a_ttl_go_by_themselves(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *s = open_store("a");
    assert_int_equal(write_one(s, "/registry/events/d/x", "1", 0, 2).outcome, STORE_OK);
    assert_string_equal(value_of(s, "/registry/events/d/x"), "1");
    for (int i = 0; i < 300 && *value_of(s, "/registry/events/d/x"); i++) usleep(100000);
    assert_string_equal(value_of(s, "/registry/events/d/x"), "");
    store_close(s);
}

/* Compacted away while a store could not listen: it compares, and its watches hear of each difference once. */
struct gap_seen { const struct buf *log; int times; size_t after_bytes; };

static void note_gap(void *arg) {
    struct gap_seen *g = arg;
    g->times++;
    g->after_bytes = g->log->len;
}

static void a_watch_survives_a_compaction_it_slept_through(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *a = open_store("a"), *b;
    struct buf log = BUF_INIT;
    struct store_watch *w;
    char command[300];
    assert_int_equal(write_one(a, "/registry/pods/e/changed", "1", 0, 0).outcome, STORE_OK);
    assert_int_equal(write_one(a, "/registry/pods/e/gone", "1", 0, 0).outcome, STORE_OK);
    assert_int_equal(write_one(a, "/registry/pods/e/renewed", "1", 0, 0).outcome, STORE_OK);
    assert_int_equal(write_one(a, "/registry/pods/e/still", "1", 0, 0).outcome, STORE_OK);
    assert_int_equal(store_watch_start(a, "/registry/pods/e/", store_revision(a), note_event, &log, &w, NULL), 0);
    struct gap_seen gap = {.log = &log};
    store_on_gap(a, note_gap, &gap);
    stop_etcd(); /* the store cannot reach the address the cluster moves to */
    char before[64];
    strcpy(before, etcd.client);
    int other = free_port();
    snprintf(etcd.client, sizeof(etcd.client), "http://127.0.0.1:%d", other);
    start_etcd();
    b = open_store("b");
    assert_int_equal(write_one(b, "/registry/pods/e/changed", "2", STORE_ANY, 0).outcome, STORE_OK);
    assert_int_equal(write_one(b, "/registry/pods/e/gone", NULL, STORE_ANY, 0).outcome, STORE_OK);
    assert_int_equal(write_one(b, "/registry/pods/e/renewed", NULL, STORE_ANY, 0).outcome, STORE_OK);
    assert_int_equal(write_one(b, "/registry/pods/e/new", "1", 0, 0).outcome, STORE_OK);
    struct store_result last = write_one(b, "/registry/pods/e/renewed", "2", 0, 0);
    assert_int_equal(last.outcome, STORE_OK);
    snprintf(command, sizeof(command), "ETCDCTL_API=3 etcdctl --endpoints %s compact %llu >/dev/null", etcd.client, (unsigned long long)last.revision);
    if (system(command) != 0) fail_msg("etcdctl is needed beside etcd");
    store_close(b);
    stop_etcd();
    assert_string_equal(value_of(a, "/registry/pods/e/changed"), "1"); /* meanwhile the mirror serves what it has */
    strcpy(etcd.client, before);
    start_etcd();
    assert_int_equal(store_wait_current(a, NULL), 0);
    store_watch_stop(w);
    assert_string_equal(log.data, "+changed +new -renewed -gone +renewed ");
    /* what keeps a state has the right one; what relates history is told that there is a gap, before the first event of it, and cannot go on from before */
    assert_int_equal(gap.times, 1);
    assert_int_equal(gap.after_bytes, 0);
    assert_int_equal(store_compacted_revision(a), store_revision(a));
    struct status err = STATUS_INIT;
    assert_int_equal(store_watch_start(a, "/registry/pods/e/", last.revision - 1, note_event, &log, &w, &err), -1);
    assert_int_equal(err.code, 410);
    status_release(&err);
    assert_int_equal(write_one(a, "/registry/pods/e/later", "1", 0, 0).outcome, STORE_OK);
    assert_int_equal(store_watch_start(a, "/registry/pods/e/", last.revision, note_event, &log, &w, NULL), 0);
    store_watch_stop(w);
    assert_string_equal(log.data, "+changed +new -renewed -gone +renewed +later ");
    store_on_gap(a, NULL, NULL);
    assert_string_equal(value_of(a, "/registry/pods/e/renewed"), "2");
    assert_string_equal(value_of(a, "/registry/pods/e/still"), "1");
    buf_release(&log);
    store_close(a);
}

/* The answer comes after the attempt was given up. Whether the create happened is then looked up, never tried again. */
static void a_create_whose_answer_is_late_happens_once(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *s = open_store("late");
    kill(etcd.pid, SIGSTOP);
    if (fork() == 0) {
        sleep(6); /* longer than an attempt */
        kill(etcd.pid, SIGCONT);
        _exit(0);
    }
    struct store_result r = write_one(s, "/registry/pods/late/one", "1", 0, 0);
    wait(NULL);
    assert_int_equal(store_wait_current(s, NULL), 0);
    assert_int_not_equal(r.outcome, STORE_CONFLICT); /* nobody else wrote it */
    if (r.outcome == STORE_OK) assert_string_equal(value_of(s, "/registry/pods/late/one"), "1");
    else status_release(&r.error);
    store_close(s);
}

static void without_etcd_writes_fail_clearly_and_go_on_after(void **state) {
    (void)state;
    NEEDS_ETCD
    struct store *s = open_store("a");
    assert_int_equal(write_one(s, "/registry/pods/f/x", "1", 0, 0).outcome, STORE_OK);
    stop_etcd();
    struct store_result r = write_one(s, "/registry/pods/f/y", "1", 0, 0);
    assert_int_equal(r.outcome, STORE_FAILED);
    assert_int_equal(r.error.code, 500);
    status_release(&r.error);
    assert_string_equal(value_of(s, "/registry/pods/f/x"), "1");
    start_etcd();
    assert_int_equal(store_wait_current(s, NULL), 0);
    assert_int_equal(write_one(s, "/registry/pods/f/y", "1", 0, 0).outcome, STORE_OK);
    store_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_seen_by_a_read_that_follows),   cmocka_unit_test(guards_refuse_what_has_changed),
        cmocka_unit_test(an_opened_store_is_where_the_cluster_is),
        cmocka_unit_test(two_stores_on_one_etcd_agree),             cmocka_unit_test(keys_with_a_ttl_go_by_themselves),
        cmocka_unit_test(a_create_whose_answer_is_late_happens_once),
        cmocka_unit_test(a_watch_survives_a_compaction_it_slept_through), cmocka_unit_test(without_etcd_writes_fail_clearly_and_go_on_after),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
