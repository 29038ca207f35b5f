/* base/: arenas, buffers, strings, maps, statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/env.h"
#include "base/map.h"
#include "base/status.h"
#include "base/str.h"

static void arena_memory_is_zeroed_and_aligned(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t size = 0; size < 5000; size += 37) {
        unsigned char *p = arena_alloc(a, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    arena_reset(a);
    unsigned char *p = arena_alloc(a, 100);
    for (size_t i = 0; i < 100; i++) assert_int_equal(p[i], 0);
}

static void texts_are_joined_and_numbers_written(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    assert_string_equal(ARENA_CONCAT(a, "/registry/", NULL, "pods", "", "/x"), "/registry/pods/x");
    assert_string_equal(ARENA_CONCAT(a, NULL), "");
    assert_string_equal(arena_u64(a, 0), "0");
    assert_string_equal(arena_u64(a, 90210), "90210");
    assert_string_equal(arena_u64(a, UINT64_MAX), "18446744073709551615");
}

static void a_list_grows_and_keeps_its_items(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct { int *items; size_t len; } list = {0};
    for (int i = 0; i < 1000; i++) *LIST_PUSH(a, &list) = i;
    assert_int_equal(list.len, 1000);
    int want = 0;
    LIST_FOREACH(it, &list) assert_int_equal(*it, want++);
}

static void buffers_append_print_and_consume(void **state UNUSED) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    assert_string_equal(buf_cstr(&b), "");
    buf_append_str(&b, "a");
    buf_printf(&b, "%d", 12);
    buf_append_i64(&b, INT64_MIN);
    assert_string_equal(b.data, "a12-9223372036854775808");
    buf_consume(&b, 3);
    assert_string_equal(b.data, "-9223372036854775808");
    struct shared *s = shared_from_buf(&b);
    assert_null(b.data);
    shared_unref(shared_ref(s));
    assert_int_equal(shared_len(s), 20);
    shared_unref(s);
}

static void maps_find_what_was_put_and_not_deleted(void **state UNUSED) {
    struct map *m = map_new();
    char key[32];
    for (intptr_t i = 1; i <= 2000; i++) {
        snprintf(key, sizeof(key), "key-%ld", (long)i);
        assert_null(map_put(m, key, (void *)i));
    }
    for (intptr_t i = 1; i <= 2000; i += 2) {
        snprintf(key, sizeof(key), "key-%ld", (long)i);
        assert_ptr_equal(map_del(m, key), (void *)i);
    }
    assert_int_equal(map_len(m), 1000);
    size_t seen = 0;
    const char *k;
    void *v;
    for (size_t pos = 0; map_next(m, &pos, &k, &v); seen++) assert_int_equal((intptr_t)v % 2, 0);
    assert_int_equal(seen, 1000);
    assert_ptr_equal(map_get(m, "key-2"), (void *)2);
    assert_null(map_get(m, "key-1"));
    map_free(m);
}

static void numbers_are_whole_or_refused(void **state UNUSED) {
    int64_t v = 7;
    static const char *bad[] = {"", "x", "1x", "9223372036854775808", "-9223372036854775809", " 1", "--1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(str_to_i64(bad[i], &v));
    assert_int_equal(v, 7);
    assert_true(str_to_i64("-9223372036854775808", &v) && v == INT64_MIN);
}

static void a_status_carries_upstreams_words(void **state UNUSED) {
    _cleanup_status_ struct status s = STATUS_INIT;
    assert_int_equal(status_not_found(&s, "apps", "deployments", "web"), -1);
    assert_string_equal(s.message, "deployments.apps \"web\" not found");
    assert_int_equal(s.code, 404);
    status_wrap(&s, "while reading %s", "it");
    assert_string_equal(s.message, "while reading it: deployments.apps \"web\" not found");
    status_set(&s, 400, REASON_BAD_REQUEST, "was: %s", s.message);
    assert_string_equal(s.message, "was: while reading it: deployments.apps \"web\" not found");
}

static void random_names_use_the_alphabet(void **state UNUSED) {
    char name[6], uuid[37];
    env_name_suffix(env_real(), name, 5);
    assert_int_equal(strspn(name, "bcdfghjklmnpqrstvwxz2456789"), 5);
    env_uuid(env_real(), uuid);
    assert_int_equal(uuid[14], '4');
    assert_int_equal(strspn(uuid, "0123456789abcdef-"), 36);
    for (int i = 0; i < 36; i++) assert_int_equal(uuid[i] == '-', i == 8 || i == 13 || i == 18 || i == 23);
}

/* What a thread keeps in hand is used once, in every thread and in children. */
static void no_random_number_is_given_twice(void **state UNUSED) {
    enum { N = 1000 };
    uint64_t *got = mmap(NULL, 2 * N * sizeof(*got), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(got, MAP_FAILED);
    got[0] = env_random_u64(env_real());
    pid_t child = fork();
    for (int i = 0; i < N; i++) got[(child ? 0 : N) + i] = env_random_u64(env_real());
    if (child == 0) _exit(0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    struct map *seen = map_new();
    for (int i = 0; i < 2 * N; i++) {
        char key[24];
        snprintf(key, sizeof(key), "%" PRIx64, got[i]);
        if (map_get(seen, key)) fail_msg("%s came twice", key);
        map_put(seen, key, got);
    }
    map_free(seen);
    munmap(got, 2 * N * sizeof(*got));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_memory_is_zeroed_and_aligned), cmocka_unit_test(texts_are_joined_and_numbers_written), cmocka_unit_test(a_list_grows_and_keeps_its_items),
        cmocka_unit_test(buffers_append_print_and_consume),   cmocka_unit_test(maps_find_what_was_put_and_not_deleted),
        cmocka_unit_test(numbers_are_whole_or_refused),       cmocka_unit_test(a_status_carries_upstreams_words),
        cmocka_unit_test(random_names_use_the_alphabet),      cmocka_unit_test(no_random_number_is_given_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
