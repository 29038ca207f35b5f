/* A real containerd, started, killed, adopted and stopped by cmd/runtime. Needs root and containerd, and CKUBE_E2E=1 because it takes seconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/arena.h"
#include "base/env.h"
#include "cmd/runtime.h"
#include "kubelet/cri.h"

static const char *dir = "/tmp/kubelet/runtime-test";

static void starts_and_knows_the_pause_image(void **state) {
    (void)state;
    if (!getenv("CKUBE_E2E") || geteuid() != 0) {
        print_message("skipped: needs root and CKUBE_E2E=1\n");
        skip();
    }
    struct status err = STATUS_INIT;
    assert_int_equal(system("mkdir -p /tmp/kubelet/runtime-test"), 0);
    struct runtime_options o = {.data_dir = dir};
    struct runtime *r = runtime_start(&o, &err);
    if (!r) print_error("%s\n", status_message(&err));
    assert_non_null(r);
    struct arena *a = arena_new();
    struct cri *cri = cri_new(runtime_endpoint(r));
    Runtime__V1__Image *image = NULL;
    assert_int_equal(cri_image_status(cri, a, PAUSE_IMAGE, &image, &err), 0);
    assert_non_null(image);
    assert_int_equal(cri_image_status(cri, a, "registry.ckube.local/none:1", &image, &err), 0);
    assert_null(image);
    /* No CNI configuration yet: the sandbox is refused in the words that the node's condition shows. */
    Runtime__V1__RuntimeStatus *status;
    assert_int_equal(cri_status(cri, a, &status, &err), 0);
    bool network_ready = true;
    for (size_t i = 0; i < status->n_conditions; i++)
        if (strcmp(status->conditions[i]->type, "NetworkReady") == 0) network_ready = status->conditions[i]->status;
    assert_false(network_ready);
    Runtime__V1__ContainerStatus *none;
    assert_int_equal(cri_container_status(cri, a, "nothing", &none, &err), -1);
    assert_int_equal(err.code, 404);
    cri_free(cri);
    arena_free(a);
    runtime_stop(r);
    status_release(&err);
}

static void says_what_is_missing(void **state) {
    (void)state;
    struct status err = STATUS_INIT;
    struct cri *cri = cri_new("unix:///tmp/kubelet/no-such.sock");
    struct arena *a = arena_new();
    Runtime__V1__VersionResponse *v;
    assert_int_equal(cri_version(cri, a, &v, &err), -1);
    assert_int_equal(err.code, 503);
    assert_non_null(strstr(status_message(&err), "code = Unavailable"));
    arena_free(a);
    cri_free(cri);
    status_release(&err);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(starts_and_knows_the_pause_image), cmocka_unit_test(says_what_is_missing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
