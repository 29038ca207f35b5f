/* store/ copied: saved to one file while it is written to, checked, restored with revisions that go on far ahead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "store/store.h"

static char dir[64], db[96], saved[96], other[96];

static int fresh_dir(void **state UNUSED) {
    snprintf(dir, sizeof(dir), "/tmp/ckube-store-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(db, sizeof(db), "%s/db", dir);
    snprintf(saved, sizeof(saved), "%s/saved.mdb", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    return 0;
}

static int remove_dir(void **state UNUSED) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct store *open_store(const char *at) {
    struct store *s = NULL;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (store_open(&(struct store_options){.dir = at}, &s, &err) != 0) fail_msg("%s", err.message);
    return s;
}

static uint64_t put(struct store *s, const char *key, const char *value) {
    struct store_result r = {0};
    store_write_wait(s, &(struct store_op){.key = key, .expect_mod_revision = STORE_ANY, .value = value, .value_len = strlen(value)}, 1, &r);
    assert_int_equal(r.outcome, STORE_OK);
    return r.revision;
}

static bool has(struct store *s, const char *key, const char *value) {
    struct store_txn *t;
    struct store_view v;
    assert_int_equal(store_read_begin(s, &t, NULL), 0);
    bool found = store_get(t, key, &v) && v.value_len == strlen(value) && memcmp(v.value, value, v.value_len) == 0;
    store_read_end(t);
    return found;
}

static void nothing(void *arg UNUSED, struct store_event *e UNUSED) {}

static void test_a_saved_file_holds_the_moment_and_is_restored(void **state UNUSED) {
    struct store_report report;
    struct store_watch *w;
    struct status err = STATUS_INIT;
    struct store *s = open_store(db);
    put(s, "/a", "1");
    uint64_t revision = put(s, "/a", "2");
    store_close(s);
    assert_int_equal(store_save_file(db, saved, &report, &err), 0);
    assert_int_equal(report.revision, revision);
    assert_int_equal(report.keys, 1);
    s = open_store(db);
    put(s, "/a", "3");
    put(s, "/b", "later");
    assert_int_equal(store_restore_file(saved, other, &err), 0);
    store_close(s);
    s = open_store(other);
    assert_true(has(s, "/a", "2"));
    assert_false(has(s, "/b", "later"));
    assert_int_equal(store_revision(s), revision + STORE_RESTORE_BUMP);
    assert_int_equal(store_watch_start(s, "/", revision, nothing, NULL, &w, &err), -1);
    assert_int_equal(err.code, 410);
    assert_int_equal(store_watch_start(s, "/", store_revision(s), nothing, NULL, &w, &err), 0);
    assert_int_equal(put(s, "/b", "new"), revision + STORE_RESTORE_BUMP + 1);
    store_watch_stop(w);
    store_close(s);
    assert_int_equal(store_check(other, &report, &err), 0);
    status_release(&err);
}

static void test_what_was_there_is_kept_and_a_used_database_is_left_alone(void **state UNUSED) {
    char before[128];
    struct status err = STATUS_INIT;
    struct store *s = open_store(db);
    put(s, "/a", "1");
    store_close(s);
    assert_int_equal(store_save_file(db, saved, NULL, &err), 0);
    assert_int_equal(store_save_file(db, saved, NULL, &err), -1);
    assert_non_null(strstr(err.message, "exists already"));
    s = open_store(db);
    put(s, "/a", "2");
    assert_int_equal(store_restore_file(saved, db, &err), -1);
    assert_non_null(strstr(err.message, "is in use by another process"));
    assert_true(has(s, "/a", "2"));
    store_close(s);
    assert_int_equal(store_restore_file(saved, db, &err), 0);
    snprintf(before, sizeof(before), "%s/data.mdb.before-restore", db);
    assert_int_equal(store_check_file(before, NULL, &err), 0);
    s = open_store(db);
    assert_true(has(s, "/a", "1"));
    store_close(s);
    status_release(&err);
}

static void test_files_that_are_none_are_refused(void **state UNUSED) {
    struct status err = STATUS_INIT;
    FILE *f = fopen(saved, "w");
    for (int i = 0; i < 10000; i++) fputs("text ", f);
    fclose(f);
    assert_int_equal(store_check_file(saved, NULL, &err), -1);
    assert_non_null(strstr(err.message, "is not a database of ckube's"));
    assert_int_equal(store_restore_file(saved, db, &err), -1);
    assert_int_not_equal(access(db, F_OK), 0);
    status_release(&err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_saved_file_holds_the_moment_and_is_restored, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_what_was_there_is_kept_and_a_used_database_is_left_alone, fresh_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_files_that_are_none_are_refused, fresh_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
