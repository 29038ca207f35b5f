/* The cache of webhooks' answers, and Go's durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "api/time.h"
#include "base/expiring_cache.h"
#include "base/file.h"

static bool has(struct expiring_cache *c, const char *key, int64_t now_ns, const char *want) {
    _cleanup_buf_ struct buf got = BUF_INIT;
    if (!expiring_cache_get(c, key, now_ns, &got)) return false;
    assert_string_equal(buf_cstr(&got), want);
    return true;
}

static void entries_are_good_until_they_expire(void **state UNUSED) {
    struct expiring_cache *c = expiring_cache_new(8);
    assert_false(has(c, "a", 0, ""));
    expiring_cache_put(c, "a", "one", 3, 100);
    assert_true(has(c, "a", 99, "one"));
    assert_false(has(c, "a", 100, ""));
    assert_false(has(c, "a", 0, "")); /* it is gone for good */
    expiring_cache_put(c, "a", "", 0, 100);
    expiring_cache_put(c, "a", "two", 3, 200);
    assert_true(has(c, "a", 150, "two"));
    expiring_cache_free(c);
}

static void the_oldest_makes_room(void **state UNUSED) {
    struct expiring_cache *c = expiring_cache_new(2);
    expiring_cache_put(c, "a", "1", 1, 100);
    expiring_cache_put(c, "b", "2", 1, 100);
    expiring_cache_put(c, "a", "3", 1, 100); /* now the newest */
    expiring_cache_put(c, "c", "4", 1, 100);
    assert_true(has(c, "a", 0, "3"));
    assert_false(has(c, "b", 0, ""));
    assert_true(has(c, "c", 0, "4"));
    expiring_cache_free(c);
}

static void durations(void **state UNUSED) {
    static const struct { const char *text; int64_t ns; const char *again; } cases[] = {
        {"0", 0, "0s"}, {"5m", 300000000000, "5m0s"}, {"1h15m", 4500000000000, "1h15m0s"}, {"300ms", 300000000, "300ms"}, {"1.5s", 1500000000, "1.5s"}, {"-2s", -2000000000, "-2s"}, {"90s", 90000000000, "1m30s"}};
    static const char *const wrong[] = {"", "5", "s", "5 m", "1d", "-", "1h-1m"};
    _cleanup_arena_ struct arena *a = arena_new();
    int64_t ns;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(duration_parse(cases[i].text, &ns));
        assert_int_equal(ns, cases[i].ns);
        assert_string_equal(duration_string(a, ns), cases[i].again);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (duration_parse(wrong[i], &ns)) fail_msg("\"%s\" was taken", wrong[i]);
}

static void files_are_read_whole_or_not_at_all(void **state UNUSED) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    assert_int_equal(file_read("/dev/null", 0, &text, NULL), 0);
    assert_int_equal(file_read("/proc/self/maps", 16, &text, NULL), -1);
    assert_int_equal(file_read("/nowhere", 16, &text, NULL), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(entries_are_good_until_they_expire), cmocka_unit_test(the_oldest_makes_room), cmocka_unit_test(durations),
        cmocka_unit_test(files_are_read_whole_or_not_at_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
