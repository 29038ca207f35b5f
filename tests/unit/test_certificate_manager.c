/* When a node's certificate is asked for anew, and which one is good: client/certificate_manager.c. Asking itself: tests/integration/test_agent.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/file.h"
#include "client/certificate_manager.h"
#include "cmd/cluster_files.h"
#include "wire/x509.h"

/* Upstream's jitter: 70 % of the life and up to a fifth of it more. */
static void rotation_is_between_70_and_90_percent_of_the_life(void **state UNUSED) {
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 2000; i++) {
        int64_t at = certificate_rotation_s(env_real(), 1000, 11000);
        assert_true(at >= 8000 && at < 10000);
        least = MIN(least, at);
        most = MAX(most, at);
    }
    assert_true(least < 8200 && most > 9800);
    assert_true(certificate_rotation_s(env_real(), 100, 101) <= 101);
}

static void a_certificate_is_good_for_its_node_and_its_time_with_its_key(void **state UNUSED) {
    char dir[] = "/tmp/ckube-manager-XXXXXX";
    struct arena *a = arena_new();
    assert_non_null(mkdtemp(dir));
    const char *ca = arena_printf(a, "%s/ca.crt", dir), *ca_key = arena_printf(a, "%s/ca.key", dir), *cert = arena_printf(a, "%s/c.crt", dir), *key = arena_printf(a, "%s/c.key", dir), *pair = arena_printf(a, "%s/pair.pem", dir);
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct x509_request req = {.common_name = "system:node:n", .client = true, .days = 10};
    int64_t now = env_now_s(env_real());
    assert_int_equal(x509_make_ca(ca, ca_key, "ca", NULL), 0);
    assert_int_equal(x509_make_leaf(cert, key, ca, ca_key, &req, NULL), 0);
    assert_int_equal(file_read(cert, 1 << 20, &text, NULL), 0);
    assert_int_equal(file_write_secret(pair, text.data, text.len, NULL), 0);
    assert_false(certificate_usable(pair, "n", now)); /* without its key */
    assert_int_equal(file_read(key, 1 << 20, &text, NULL), 0);
    assert_int_equal(file_write_secret(pair, text.data, text.len, NULL), 0);
    assert_true(certificate_usable(pair, "n", now));
    assert_false(certificate_usable(pair, "m", now));
    assert_false(certificate_usable(pair, "n", now + 11 * 86400));
    assert_false(certificate_usable(arena_printf(a, "%s/none.pem", dir), "n", now));
    cluster_remove_tree(dir);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rotation_is_between_70_and_90_percent_of_the_life), cmocka_unit_test(a_certificate_is_good_for_its_node_and_its_time_with_its_key)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
