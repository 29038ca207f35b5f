/* Metrics: families and their text, and what work queues, clients and elections count; time stands still but when the test moves it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/env.h"
#include "base/metric_family.h"
#include "client/metrics.h"
#include "client/work_queue.h"

/* ---- families ---- */

static void put_is(struct metric_family *f, const char *want) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    metric_put(f, &out);
    assert_string_equal(buf_cstr(&out), want);
}

static void families_are_told(void **state UNUSED) {
    static struct metric_family n = METRIC_FAMILY("n_total", "counter", "N."), h = METRIC_HISTOGRAM("h", "H.", 0.1, 1), l = METRIC_HISTOGRAM("l", "L.", 2);
    put_is(&n, "");
    metric_add(&n, "a=\"1\"", 2);
    metric_series_count(metric_series(&n, "a=\"1\""));
    metric_add(&n, "a=\"2\"", 1);
    metric_drop(&n, "\"2\"");
    put_is(&n, "# HELP n_total N.\n# TYPE n_total counter\nn_total{a=\"1\"} 3\n");
    metric_drop(&n, "");
    put_is(&n, "");
    metric_add(&n, "a=\"2\"", 5); /* anew */
    put_is(&n, "# HELP n_total N.\n# TYPE n_total counter\nn_total{a=\"2\"} 5\n");
    metric_observe(&h, "", 0.5);
    metric_observe(&h, "", 0.1);
    metric_observe(&h, "", 7);
    put_is(&h, "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 7.6\nh_count 3\n");
    metric_series_observe(metric_series(&l, "a=\"1\""), 1);
    put_is(&l, "# HELP l L.\n# TYPE l histogram\nl_bucket{a=\"1\",le=\"2\"} 1\nl_bucket{a=\"1\",le=\"+Inf\"} 1\nl_sum{a=\"1\"} 1\nl_count{a=\"1\"} 1\n");
}

/* As Go prints them. */
static void bounds_are_written_as_upstream_writes_them(void **state UNUSED) {
    static struct metric_family e = METRIC_EXPONENTIAL("e", "E.", 10e-9, 10, 10), b = METRIC_HISTOGRAM("b", "B.", .005, .25, 1, 30, 64, 262144, 1048576, 16777216);
    static const struct { struct metric_family *f; const char *bounds[11]; } cases[] = {
        {&e, {"1e-08", "1e-07", "1e-06", "9.999999999999999e-06", "9.999999999999999e-05", "0.001", "0.01", "0.1", "1", "10"}},
        {&b, {"0.005", "0.25", "1", "30", "64", "262144", "1.048576e+06", "1.6777216e+07"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT;
        metric_observe(cases[i].f, "", 1);
        metric_put(cases[i].f, &out);
        const char *at = buf_cstr(&out);
        for (const char *const *bound = cases[i].bounds; *bound; bound++) {
            char want[64];
            snprintf(want, sizeof(want), "{le=\"%s\"}", *bound);
            if (!strstr(at, want)) fail_msg("no %s in %s", want, at);
            at = strstr(at, want);
        }
    }
}

static void series_have_a_limit(void **state UNUSED) {
    static struct metric_family f = {.name = "f", .kind = "gauge", .help = "F.", .series_max = 2, .mutex = PTHREAD_MUTEX_INITIALIZER};
    metric_set(&f, "a=\"1\"", 1);
    metric_set(&f, "a=\"2\"", 2);
    metric_set(&f, "a=\"3\"", 3);
    assert_null(metric_series(&f, "a=\"4\""));
    metric_series_count(NULL);
    metric_series_observe(NULL, 1);
    put_is(&f, "# HELP f F.\n# TYPE f gauge\nf{a=\"1\"} 1\nf{a=\"2\"} 2\n");
    metric_drop(&f, "\"1\"");
    metric_set(&f, "a=\"3\"", 3);
    put_is(&f, "# HELP f F.\n# TYPE f gauge\nf{a=\"2\"} 2\nf{a=\"3\"} 3\n");
}

/* ---- what the process tells ---- */

/* The value of the line that begins so, or -1. */
static double told(const char *line) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    client_metrics_put(&out);
    size_t len = strlen(line);
    for (const char *at = buf_cstr(&out); at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, line, len) == 0 && at[len] == ' ') return strtod(at + len, NULL);
    return -1;
}

static int64_t clock_ns;
static int64_t clock_now(struct env *e UNUSED) { return clock_ns; }
static struct env still(void) {
    struct env e = *env_real();
    e.mono_ns = clock_now;
    return e;
}
static void pass_ms(int64_t ms) { clock_ns += ms * 1000000; }

static double of_queue(const char *metric, const char *name) {
    char line[128];
    snprintf(line, sizeof(line), "workqueue_%s{name=\"%s\"}", metric, name);
    return told(line);
}

/* Each step, and what is told after it. */
static void queues_count_as_upstreams(void **state UNUSED) {
    enum { ADD, ADD_AFTER, LIMITED, GET, DONE, PASS, FORGET };
    static const struct { int op; const char *key; int ms; double adds, depth, retries, got, worked, unfinished, longest; } steps[] = {
        {ADD, "a", 0, 1, 1, 0, 0, 0, 0, 0},
        {ADD, "a", 0, 1, 1, 0, 0, 0, 0, 0},          /* it waits already */
        {ADD, "b", 0, 2, 2, 0, 0, 0, 0, 0},
        {PASS, "", 1000, 2, 2, 0, 0, 0, 0, 0},
        {GET, "a", 0, 2, 1, 0, 1, 0, 0, 0},
        {PASS, "", 1000, 2, 1, 0, 1, 0, 1, 1},
        {GET, "b", 0, 2, 0, 0, 2, 0, 1, 1},
        {PASS, "", 1000, 2, 0, 0, 2, 0, 3, 2},
        {ADD, "a", 0, 3, 1, 0, 2, 0, 3, 2},          /* to be worked on once more */
        {ADD, "a", 0, 3, 1, 0, 2, 0, 3, 2},
        {DONE, "a", 0, 3, 1, 0, 2, 1, 1, 1},
        {GET, "a", 0, 3, 0, 0, 3, 1, 1, 1},
        {LIMITED, "a", 0, 3, 0, 1, 3, 1, 1, 1},      /* not to be worked on yet */
        {DONE, "a", 0, 3, 0, 1, 3, 2, 1, 1},
        {PASS, "", 5, 3, 0, 1, 3, 2, 1.005, 1.005},
        {GET, "a", 0, 4, 0, 1, 4, 2, 1.005, 1.005},
        {DONE, "a", 0, 4, 0, 1, 4, 3, 1.005, 1.005},
        {LIMITED, "a", 0, 4, 0, 2, 4, 3, 1.005, 1.005},
        {PASS, "", 10, 4, 0, 2, 4, 3, 1.015, 1.015},
        {GET, "a", 0, 5, 0, 2, 5, 3, 1.015, 1.015},
        {FORGET, "a", 0, 5, 0, 2, 5, 3, 1.015, 1.015},
        {DONE, "a", 0, 5, 0, 2, 5, 4, 1.015, 1.015},
        {DONE, "b", 0, 5, 0, 2, 5, 5, 0, 0},
        {ADD_AFTER, "c", 50, 5, 0, 3, 5, 5, 0, 0},
        {ADD_AFTER, "d", 0, 6, 1, 4, 5, 5, 0, 0},
    };
    struct env env = still();
    struct work_queue *q = work_queue_new(&env, "steps");
    char *held[2] = {0}; /* a and b */
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const char *key = steps[i].key;
        int op = steps[i].op;
        if (op == ADD) work_queue_add(q, key);
        else if (op == ADD_AFTER) work_queue_add_after(q, key, steps[i].ms);
        else if (op == LIMITED) work_queue_add_rate_limited(q, key);
        else if (op == FORGET) work_queue_forget(q, key);
        else if (op == PASS) pass_ms(steps[i].ms);
        else if (op == GET) {
            assert_string_equal(held[*key - 'a'] = work_queue_get(q), key);
        } else work_queue_done(q, held[*key - 'a']);
        const struct { const char *metric; double want; } all[] = {{"adds_total", steps[i].adds}, {"depth", steps[i].depth}, {"retries_total", steps[i].retries},
            {"unfinished_work_seconds", steps[i].unfinished}, {"longest_running_processor_seconds", steps[i].longest}};
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            double is = of_queue(all[k].metric, "steps");
            if (is < all[k].want - 1e-6 || is > all[k].want + 1e-6) fail_msg("step %zu: %s is %g, not %g", i, all[k].metric, is, all[k].want);
        }
        double got = of_queue("queue_duration_seconds_count", "steps"), worked = of_queue("work_duration_seconds_count", "steps");
        if ((int)got != (got < 0 ? -1 : (int)steps[i].got) || (int)worked != (worked < 0 ? -1 : (int)steps[i].worked)) fail_msg("step %zu: %g and %g were timed", i, got, worked);
    }
    assert_float_equal(of_queue("queue_duration_seconds_sum", "steps"), 1 + 2 + 0 + 0 + 0, 1e-6);
    assert_float_equal(of_queue("work_duration_seconds_sum", "steps"), 2 + 0 + 0 + 0 + 1.015 + 0, 1e-6);
    work_queue_shut_down(q);
    work_queue_add(q, "e");
    work_queue_add_after(q, "e", 5);
    work_queue_add_rate_limited(q, "e");
    assert_float_equal(of_queue("adds_total", "steps"), 6, 0);
    assert_float_equal(of_queue("retries_total", "steps"), 4, 0);
    work_queue_free(q);
    assert_float_equal(of_queue("depth", "steps"), 0, 0); /* nothing waits in a queue that is no more */
}

static void queues_of_one_name_are_one(void **state UNUSED) {
    struct env env = still();
    struct work_queue *x = work_queue_new(&env, "twins"), *y = work_queue_new(&env, "twins"), *nameless = work_queue_new(&env, NULL);
    work_queue_add(x, "a");
    work_queue_add(y, "a");
    work_queue_add(nameless, "a");
    char *a = work_queue_get(x);
    pass_ms(2000);
    char *b = work_queue_get(y);
    pass_ms(1000);
    assert_float_equal(of_queue("adds_total", "twins"), 2, 0);
    assert_float_equal(of_queue("unfinished_work_seconds", "twins"), 4, 1e-6);
    assert_float_equal(of_queue("longest_running_processor_seconds", "twins"), 3, 1e-6);
    work_queue_done(x, a);
    work_queue_done(y, b);
    work_queue_free(x);
    work_queue_free(nameless);
    assert_float_equal(of_queue("unfinished_work_seconds", "twins"), 0, 0);
    work_queue_free(y);
}

static void requests_are_counted_by_code_and_timed(void **state UNUSED) {
    struct rest_metrics *m = rest_metrics_of("h:1");
    assert_ptr_equal(m, rest_metrics_of("h:1"));
    assert_ptr_not_equal(m, rest_metrics_of("h:2"));
    for (int i = 0; i < 3; i++) rest_metrics_result(m, "GET", 200);
    rest_metrics_result(m, "GET", 404);
    rest_metrics_result(m, "PUT", 200);
    rest_metrics_result(m, "GET", 0);
    for (int code = 500; code < 599; code++) rest_metrics_result(m, "PATCH", code); /* more than have a place of their own */
    rest_metrics_result(m, "PATCH", 590);
    rest_metrics_result(m, "STRANGE", 200);
    rest_metrics_result(NULL, "GET", 200);
    rest_metrics_call(m, "POST", 20 * 1000000, 300, 70000);
    rest_metrics_call(m, "POST", 2000 * 1000000LL, 64, 10);
    static const struct { const char *line; double want; } all[] = {
        {"rest_client_requests_total{code=\"200\",host=\"h:1\",method=\"GET\"}", 3},
        {"rest_client_requests_total{code=\"404\",host=\"h:1\",method=\"GET\"}", 1},
        {"rest_client_requests_total{code=\"200\",host=\"h:1\",method=\"PUT\"}", 1},
        {"rest_client_requests_total{code=\"<error>\",host=\"h:1\",method=\"GET\"}", 1},
        {"rest_client_requests_total{code=\"590\",host=\"h:1\",method=\"PATCH\"}", 2},
        {"rest_client_requests_total{code=\"200\",host=\"h:1\",method=\"STRANGE\"}", -1},
        {"rest_client_requests_total{code=\"200\",host=\"h:2\",method=\"GET\"}", -1},
        {"rest_client_request_duration_seconds_bucket{host=\"h:1\",verb=\"POST\",le=\"0.005\"}", 0},
        {"rest_client_request_duration_seconds_bucket{host=\"h:1\",verb=\"POST\",le=\"0.025\"}", 1},
        {"rest_client_request_duration_seconds_bucket{host=\"h:1\",verb=\"POST\",le=\"2\"}", 2},
        {"rest_client_request_duration_seconds_count{host=\"h:1\",verb=\"POST\"}", 2},
        {"rest_client_request_size_bytes_bucket{host=\"h:1\",verb=\"POST\",le=\"64\"}", 1},
        {"rest_client_request_size_bytes_bucket{host=\"h:1\",verb=\"POST\",le=\"512\"}", 2},
        {"rest_client_response_size_bytes_bucket{host=\"h:1\",verb=\"POST\",le=\"65536\"}", 1},
        {"rest_client_response_size_bytes_sum{host=\"h:1\",verb=\"POST\"}", 70010},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (told(all[i].line) != all[i].want) fail_msg("%s is %g, not %g", all[i].line, told(all[i].line), all[i].want);
}

static void elections_are_told(void **state UNUSED) {
    leader_metrics_set("x", false);
    assert_float_equal(told("leader_election_master_status{name=\"x\"}"), 0, 0);
    leader_metrics_set("x", true);
    assert_float_equal(told("leader_election_master_status{name=\"x\"}"), 1, 0);
    leader_metrics_slow_path("x");
    assert_float_equal(told("leader_election_slowpath_total{name=\"x\"}"), 1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_are_told), cmocka_unit_test(bounds_are_written_as_upstream_writes_them), cmocka_unit_test(series_have_a_limit),
        cmocka_unit_test(queues_count_as_upstreams), cmocka_unit_test(queues_of_one_name_are_one), cmocka_unit_test(requests_are_counted_by_code_and_timed),
        cmocka_unit_test(elections_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
