/* --runtime-config: what counts before what, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "apiserver/runtime_config.h"

static bool on(const char *group, const char *version, const char *resource) {
    const struct resource_desc *d = api_resource_find(group, version, resource, NULL);
    assert_non_null(d);
    return resource_served(d);
}

static void set(const char *text) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (runtime_config_set(text, &err) != 0) fail_msg("%s: %s", text, status_message(&err));
}

static void upstreams_defaults_hold_without_it(void **state) {
    (void)state;
    set(NULL);
    assert_true(on("batch", "v1", "jobs"));
    assert_false(on("resource.k8s.io", "v1beta1", "resourceclaims"));
}

static void versions_are_switched_on_and_off(void **state) {
    (void)state;
    set("resource.k8s.io/v1beta1,batch/v1=false");
    assert_false(on("batch", "v1", "jobs"));
    assert_true(on("resource.k8s.io", "v1beta1", "resourceclaims"));
    assert_false(on("resource.k8s.io", "v1beta2", "resourceclaims"));
    set("");
    assert_true(on("batch", "v1", "jobs"));
}

static void the_narrower_key_wins_whatever_the_order(void **state) {
    (void)state;
    set("batch/v1/jobs=true,batch/v1=false,v1/secrets=false,api/beta=true,api/all=false,v1=true");
    assert_true(on("batch", "v1", "jobs"));
    assert_false(on("batch", "v1", "cronjobs"));
    assert_true(on("", "v1", "pods"));
    assert_false(on("", "v1", "secrets"));
    assert_true(on("resource.k8s.io", "v1beta2", "resourceclaims"));
    assert_false(on("apps", "v1", "deployments"));
    set("api/ga=false");
    assert_false(on("apps", "v1", "deployments"));
    set(NULL);
}

static void nonsense_is_refused_in_upstreams_words(void **state) {
    static const struct { const char *text, *message; } cases[] = {
        {"nothing.example.org/v1", "unknown api groups nothing.example.org"}, {"batch/v9", "group version batch/v9 that has not been registered"},
        {"batch/v1=perhaps", "invalid value of batch/v1: perhaps, err: strconv.ParseBool: parsing \"perhaps\": invalid syntax"}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        assert_int_equal(runtime_config_set(cases[i].text, &err), -1);
        assert_string_equal(status_message(&err), cases[i].message);
    }
    set(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(upstreams_defaults_hold_without_it), cmocka_unit_test(versions_are_switched_on_and_off),
                                       cmocka_unit_test(the_narrower_key_wins_whatever_the_order), cmocka_unit_test(nonsense_is_refused_in_upstreams_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
