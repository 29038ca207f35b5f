/* The kubelet's rules, without a runtime: back-off, probe thresholds, expansion, cgroup conversions, phases, atomic files, log lines, images' names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "kubelet/internal.h"
#include "kubelet/cni.h"
#include "kubelet/logs.h"

#define S 1000000000LL

static void back_off_doubles_from_ten_seconds_to_five_minutes(void **state) {
    (void)state;
    struct backoff b = {0};
    static const int want[] = {10, 20, 40, 80, 160, 300, 300};
    int64_t now = 1000 * S;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        backoff_next(&b, now);
        assert_int_equal(b.delay_ns / S, want[i]);
        now += b.delay_ns;
    }
    backoff_next(&b, now + 601 * S); /* ten quiet minutes and it begins anew */
    assert_int_equal(b.delay_ns / S, 10);
}

static void a_container_waits_from_its_end_not_from_its_start(void **state) {
    (void)state;
    struct backoff b = {0};
    assert_false(backoff_active_since(&b, 100 * S, 100 * S)); /* the first time it starts at once */
    backoff_next(&b, 100 * S);
    assert_true(backoff_active_since(&b, 150 * S, 159 * S));
    assert_false(backoff_active_since(&b, 150 * S, 161 * S));
}

static void a_probe_settles_after_its_threshold(void **state) {
    (void)state;
    struct probe_counter c = {PROBE_UNKNOWN, PROBE_SUCCESS, 0};
    assert_false(probe_counter_feed(&c, PROBE_FAILURE, 1, 3));
    assert_false(probe_counter_feed(&c, PROBE_FAILURE, 1, 3));
    assert_false(probe_counter_feed(&c, PROBE_SUCCESS, 1, 3)); /* a success between counts from the start again */
    assert_false(probe_counter_feed(&c, PROBE_FAILURE, 1, 3));
    assert_false(probe_counter_feed(&c, PROBE_FAILURE, 1, 3));
    assert_true(probe_counter_feed(&c, PROBE_FAILURE, 1, 3));
    assert_int_equal(c.settled, PROBE_FAILURE);
    assert_false(probe_counter_feed(&c, PROBE_SUCCESS, 2, 3));
    assert_true(probe_counter_feed(&c, PROBE_SUCCESS, 2, 3));
}

static void references_expand_once_and_unknown_ones_stay(void **state) {
    (void)state;
    struct arena *a = arena_new();
    struct env_var vars[] = {{"A", "1"}, {"B", "$(A)"}, {"EMPTY", ""}};
    struct env_list l = {vars, ARRAY_LEN(vars)};
    static const char *const cases[][2] = {
        {"plain", "plain"}, {"$(A)", "1"}, {"x$(A)y", "x1y"}, {"$(B)", "$(A)"}, {"$$(A)", "$(A)"}, {"$$$(A)", "$1"}, {"$(NOPE)", "$(NOPE)"},
        {"$(EMPTY)", ""}, {"$", "$"}, {"$A", "$A"}, {"$(A", "$(A"}, {"$()", "$()"}, {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) assert_string_equal(env_expand(a, cases[i][0], &l), cases[i][1]);
    arena_free(a);
}

static void cpu_becomes_shares_quota_and_weight(void **state) {
    (void)state;
    static const struct { int64_t milli, shares, quota; } cases[] = {{0, 2, 0}, {1, 2, 1000}, {10, 10, 1000}, {100, 102, 10000}, {500, 512, 50000}, {1000, 1024, 100000}, {2000, 2048, 200000}, {300000000, 262144, 30000000000}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(milli_cpu_to_shares(cases[i].milli), cases[i].shares);
        assert_int_equal(milli_cpu_to_quota(cases[i].milli), cases[i].quota);
    }
    assert_int_equal(cpu_shares_to_weight(2), 1);
    assert_int_equal(cpu_shares_to_weight(1024), 39);
    assert_int_equal(cpu_shares_to_weight(262144), 10000);
}

static struct corev1_Pod *pod_of(struct arena *a, const char *json) {
    struct corev1_Pod *p = ARENA_NEW(a, struct corev1_Pod);
    struct status err = STATUS_INIT;
    if (object_decode_json(a, &corev1_Pod_desc, p, json, strlen(json), NULL, &err) != 0) fail_msg("%s: %s", json, status_message(&err));
    status_release(&err);
    return p;
}

static void quality_of_service_follows_requests_and_limits(void **state) {
    (void)state;
    struct arena *a = arena_new();
    static const char *const cases[][2] = {
        {"{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}", "BestEffort"},
        {"{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}", "Burstable"},
        {"{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}}", "Guaranteed"},
        {"{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"500m\"},\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}}", "Burstable"},
        {"{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}},{\"name\":\"d\"}]}}", "Burstable"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) assert_string_equal(pod_qos_class(pod_of(a, cases[i][0])), cases[i][1]);
    const struct corev1_Pod *p = pod_of(a, cases[1][0]);
    assert_int_equal(container_oom_score_adj(p, &p->spec.containers.items[0], 16LL << 30), 999);
    p = pod_of(a, cases[0][0]);
    assert_int_equal(container_oom_score_adj(p, &p->spec.containers.items[0], 16LL << 30), 1000);
    arena_free(a);
}

static void a_pod_asks_for_its_largest_moment(void **state) {
    (void)state;
    struct arena *a = arena_new();
    const struct corev1_Pod *p = pod_of(a, "{\"spec\":{\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"100m\"}}},"
        "{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}],\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}],\"overhead\":{\"cpu\":\"50m\"}}}");
    assert_int_equal(pod_request_milli(p, "cpu"), 2150);
    arena_free(a);
}

static void phases_follow_the_containers(void **state) {
    (void)state;
    struct arena *a = arena_new();
#define RUNS "{\"name\":\"c\",\"state\":{\"running\":{}}}"
#define ENDED(code) "{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":" code "}}}"
#define WAITS "{\"name\":\"c\",\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}}}"
#define CRASHED "{\"name\":\"c\",\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":{\"terminated\":{\"exitCode\":1}}}"
    static const struct { const char *policy, *status, *want; bool terminal; } cases[] = {
        {"Always", WAITS, "Pending", false}, {"Always", RUNS, "Running", false}, {"Always", ENDED("0"), "Running", false}, {"Always", CRASHED, "Running", false},
        {"OnFailure", ENDED("0"), "Succeeded", false}, {"OnFailure", ENDED("1"), "Running", false}, {"Never", ENDED("0"), "Succeeded", false},
        {"Never", ENDED("1"), "Failed", false}, {"Always", ENDED("0"), "Succeeded", true}, {"Always", ENDED("137"), "Failed", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct corev1_Pod *p = pod_of(a, arena_printf(a, "{\"spec\":{\"restartPolicy\":\"%s\",\"containers\":[{\"name\":\"c\"}]},\"status\":{\"containerStatuses\":[%s]}}", cases[i].policy, cases[i].status));
        assert_string_equal(status_phase(p, &p->status, cases[i].terminal), cases[i].want);
    }
    static const struct { const char *policy, *init, *want; } inits[] = {
        {"Always", "{\"name\":\"i\",\"state\":{\"running\":{}}}", "Pending"}, {"Always", "{\"name\":\"i\",\"state\":{\"terminated\":{\"exitCode\":1}}}", "Pending"},
        {"Never", "{\"name\":\"i\",\"state\":{\"terminated\":{\"exitCode\":1}}}", "Failed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(inits); i++) {
        const struct corev1_Pod *p = pod_of(a, arena_printf(a, "{\"spec\":{\"restartPolicy\":\"%s\",\"initContainers\":[{\"name\":\"i\"}],\"containers\":[{\"name\":\"c\"}]},"
            "\"status\":{\"initContainerStatuses\":[%s],\"containerStatuses\":[" WAITS "]}}", inits[i].policy, inits[i].init));
        assert_string_equal(status_phase(p, &p->status, false), inits[i].want);
    }
    arena_free(a);
}

static void files_of_a_volume_change_all_at_once(void **state) {
    (void)state;
    struct arena *a = arena_new();
    char dir[] = "/tmp/kubelet-files-XXXXXX", *text, link[256];
    struct status err = STATUS_INIT;
    bool changed;
    assert_non_null(mkdtemp(dir));
    struct payload_file one[] = {{"a", "1", 1, 0644, -1}, {"sub/b", "22", 2, 0400, -1}};
    struct payload first = {one, 2};
    assert_int_equal(atomic_write(dir, &first, -1, &changed, &err), 0);
    assert_true(changed);
    assert_int_equal(read_file(a, arena_printf(a, "%s/sub/b", dir), 100, &text, NULL), 0);
    assert_string_equal(text, "22");
    assert_int_equal(atomic_write(dir, &first, -1, &changed, &err), 0);
    assert_false(changed); /* the same again writes nothing */
    assert_true(readlink(arena_printf(a, "%s/a", dir), link, sizeof(link)) > 0);
    assert_memory_equal(link, "..data/a", 8);
    struct payload_file two[] = {{"c", "3", 1, 0644, -1}};
    struct payload second = {two, 1};
    assert_int_equal(atomic_write(dir, &second, -1, &changed, &err), 0);
    assert_true(changed);
    assert_int_not_equal(access(arena_printf(a, "%s/a", dir), F_OK), 0); /* what is no longer wanted is gone */
    assert_int_equal(access(arena_printf(a, "%s/c", dir), F_OK), 0);
    static const char *const bad[] = {"../x", "/x", "..x", "a/../../x", ""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct payload_file f = {bad[i], "x", 1, 0644, -1};
        struct payload p = {&f, 1};
        assert_int_equal(atomic_write(dir, &p, -1, &changed, &err), -1);
    }
    remove_tree(dir);
    assert_int_not_equal(access(dir, F_OK), 0);
    status_release(&err);
    arena_free(a);
}

static void log_lines_are_filtered_and_partial_ones_joined(void **state) {
    (void)state;
    struct buf out = BUF_INIT;
    struct log_options all = {.tail_lines = -1, .limit_bytes = -1, .since_ns = INT64_MIN}, o;
    struct status err = STATUS_INIT;
#define LINE(o, text) assert_true(log_line_append(o, text, strlen(text), &out))
    LINE(&all, "2026-01-01T00:00:00.000000001Z stdout P hal");
    LINE(&all, "2026-01-01T00:00:00.000000002Z stdout F lo");
    LINE(&all, "2026-01-01T00:00:00.000000003Z stderr F ");
    assert_string_equal(out.data, "hallo\n\n");
    assert_false(log_line_append(&all, "garbage", 7, &out));
    buf_clear(&out);
    o = all;
    o.timestamps = o.only_stderr = true;
    LINE(&o, "2026-01-01T00:00:00.000000001Z stdout F no");
    LINE(&o, "2026-01-01T00:00:00.000000002Z stderr F yes");
    assert_string_equal(out.data, "2026-01-01T00:00:00.000000002Z yes\n");
    buf_clear(&out);
    assert_int_equal(log_options_parse("sinceTime=2026-01-01T00%3A00%3A01Z&follow=true&tailLines=0&limitBytes=5", 0, &o, &err), 0);
    assert_true(o.follow);
    assert_int_equal(o.tail_lines, 0);
    assert_int_equal(o.limit_bytes, 5);
    LINE(&o, "2026-01-01T00:00:00.999999999Z stdout F early");
    LINE(&o, "2026-01-01T00:00:01.000000000Z stdout F late");
    assert_string_equal(out.data, "late\n");
    assert_int_equal(log_options_parse("tailLines=x", 0, &o, &err), -1);
    assert_int_equal(err.code, 400);
    assert_int_equal(log_options_parse("tailLines=-1", 0, &o, &err), -1);
    assert_int_equal(err.code, 422);
    status_release(&err);
    buf_release(&out);
}

static void a_tail_begins_at_its_line(void **state) {
    (void)state;
    char path[] = "/tmp/kubelet-tail-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "a\nbb\nccc\n", 9) == 9);
    assert_int_equal(log_tail_offset(fd, 1), 5);
    assert_int_equal(log_tail_offset(fd, 2), 2);
    assert_int_equal(log_tail_offset(fd, 3), 0);
    assert_int_equal(log_tail_offset(fd, 9), 0);
    assert_int_equal(log_tail_offset(fd, 0), 9);
    close(fd);
    unlink(path);
}

static void images_get_a_tag(void **state) {
    (void)state;
    struct arena *a = arena_new();
    static const char *const cases[][2] = {{"busybox", "busybox:latest"}, {"busybox:1", "busybox:1"}, {"h:5000/x", "h:5000/x:latest"}, {"h:5000/x:2", "h:5000/x:2"}, {"x@sha256:00", "x@sha256:00"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) assert_string_equal(image_with_tag(a, cases[i][0]), cases[i][1]);
    arena_free(a);
}

static void the_network_configuration_is_written_once(void **state) {
    (void)state;
    struct arena *a = arena_new();
    char dir[] = "/tmp/kubelet-cni-XXXXXX", *text;
    struct stat before, after;
    assert_non_null(mkdtemp(dir));
    const char *cidrs[] = {"10.42.0.0/24"};
    const char *path = arena_printf(a, "%s/10-ckube.conflist", dir);
    struct cni_options o = {.conf_dir = dir, .ipam_dir = arena_printf(a, "%s/ipam", dir), .bridge = "br-test", .pod_cidrs = cidrs, .pod_cidrs_len = 1};
    assert_int_equal(cni_config_write(&o, NULL), 0);
    assert_int_equal(read_file(a, path, 10000, &text, NULL), 0);
    assert_non_null(strstr(text, "\"subnet\":\"10.42.0.0/24\""));
    assert_non_null(strstr(text, "\"ipMasq\":false"));
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(cni_config_write(&o, NULL), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    remove_tree(dir);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(back_off_doubles_from_ten_seconds_to_five_minutes), cmocka_unit_test(a_container_waits_from_its_end_not_from_its_start),
        cmocka_unit_test(a_probe_settles_after_its_threshold), cmocka_unit_test(references_expand_once_and_unknown_ones_stay),
        cmocka_unit_test(cpu_becomes_shares_quota_and_weight), cmocka_unit_test(quality_of_service_follows_requests_and_limits),
        cmocka_unit_test(a_pod_asks_for_its_largest_moment), cmocka_unit_test(phases_follow_the_containers),
        cmocka_unit_test(files_of_a_volume_change_all_at_once), cmocka_unit_test(log_lines_are_filtered_and_partial_ones_joined),
        cmocka_unit_test(a_tail_begins_at_its_line), cmocka_unit_test(images_get_a_tag), cmocka_unit_test(the_network_configuration_is_written_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
