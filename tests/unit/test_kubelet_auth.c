/* Which of a Node's subresources the kubelet's paths are, as upstream maps them; what is allowed then is the API server's to say (tests/integration/test_kubelet.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include "base/macros.h"
#include "kubelet/auth.h"

static void paths_are_subresources(void **state UNUSED) {
    static const char *const cases[][3] = {
        {"/pods", "pods", "proxy"}, {"/pods/", "pods", "proxy"}, {"/podsx", "proxy"}, {"/runningpods/", "pods", "proxy"}, {"/healthz", "healthz", "proxy"}, {"/healthz/syncloop", "healthz", "proxy"},
        {"/configz", "configz", "proxy"}, {"/flagz", "configz"}, {"/statusz", "statusz"}, {"/stats/summary", "stats"}, {"/stats", "stats"}, {"/statsx", "proxy"}, {"/metrics", "metrics"},
        {"/metrics/cadvisor", "metrics"}, {"/metrics-of-mine", "proxy"}, {"/logs/", "log"}, {"/logs/syslog", "log"}, {"/checkpoint/ns/p/c", "checkpoint"}, {"/exec/ns/p/c", "proxy"},
        {"/containerLogs/ns/p/c", "proxy"}, {"/portForward/ns/p", "proxy"}, {"/run/ns/p/c", "proxy"}, {"/", "proxy"}, {"", "proxy"}, {"/metrics%2f..%2fexec", "proxy"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got[KUBELET_SUBRESOURCES_MAX] = {0};
        assert_int_equal(kubelet_subresources(cases[i][0], got), cases[i][2] ? 2 : 1);
        assert_string_equal(got[0], cases[i][1]);
        if (cases[i][2]) assert_string_equal(got[1], cases[i][2]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(paths_are_subresources)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
