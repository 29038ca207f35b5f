/* The scheduler: plugins as tables of (Pod, nodes, what is said), the queue and the whole loop on a clock moved by hand, and a load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/str.h"
#include "scheduler/scheduler.h"

static int64_t clock_ns;
static int64_t fake_now(struct env *e) { return (void)e, clock_ns; }
static void fake_random(struct env *e, void *out, size_t len) { (void)e, memset(out, 7, len); }
static bool fake_wait(struct env *e, pthread_cond_t *c, pthread_mutex_t *m, int64_t deadline) { return (void)e, (void)c, (void)m, clock_ns = MAX(clock_ns, deadline), false; }
static struct env fake_env = {.now_ns = fake_now, .mono_ns = fake_now, .random = fake_random, .cond_wait = fake_wait};

static struct arena *arena;
static int setup(void **state) { return (void)state, clock_ns = 1, arena = arena_new(), 0; }
static int teardown(void **state) { return (void)state, arena_free(arena), 0; }

static void *decode(const struct type_desc *type, const char *json) {
    _cleanup_status_ struct status st = STATUS_INIT;
    void *obj = object_new(arena, type);
    if (object_decode_json(arena, type, obj, json, strlen(json), NULL, &st)) fail_msg("%s: %s", json, status_message(&st));
    return obj;
}

/* spec: the inside of the Pod's spec; requests in containers come with it. */
static struct corev1_Pod *pod(const char *name, const char *spec) {
    return decode(&corev1_Pod_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"u-%s\"},\"spec\":{%s}}", name, name, spec));
}
#define CPU(n) "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" n "\"}}}]"

static struct corev1_Node *node(const char *name, const char *labels, const char *spec) {
    return decode(&corev1_Node_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}},\"spec\":{%s},\"status\":{\"allocatable\":"
        "{\"cpu\":\"2\",\"memory\":\"4Gi\",\"pods\":\"3\",\"example.com/gpu\":\"1\"},\"images\":[{\"names\":[\"big:%s\"],\"sizeBytes\":900000000}]}}", name, labels, spec, name));
}

/* The nodes of every plugin test: a plain one, a cordoned one, a tainted one; "busy" runs a Pod of 1500m with host port 80. */
static struct node_info *world[4];
static void world_make(void) {
    static const char *const names[] = {"plain", "cordoned", "tainted", "busy"};
    static const char *const labels[] = {"\"zone\":\"a\",\"n\":\"5\"", "\"zone\":\"a\"", "\"zone\":\"b\"", "\"zone\":\"b\""};
    static const char *const specs[] = {"", "\"unschedulable\":true", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", ""};
    for (int i = 0; i < 4; i++) {
        world[i] = node_info_new(names[i]);
        node_info_set_node(world[i], node(names[i], labels[i], specs[i]));
    }
    struct pod_info *p = pod_info_new(pod("old", "\"containers\":[{\"name\":\"c\",\"ports\":[{\"hostPort\":80,\"containerPort\":80}],\"resources\":{\"requests\":{\"cpu\":\"1500m\"}}}]"));
    node_info_add_pod(world[3], p);
    pod_info_unref(p);
}
static void world_free(void) { for (int i = 0; i < 4; i++) node_info_free(world[i]); }

static void every_plugin_says_in_upstreams_words_why_a_pod_does_not_fit(void **state) {
    (void)state;
    static const struct { const char *spec, *fits, *says; } cases[] = {
        {CPU("1"), "plain", NULL},
        {CPU("2100m"), NULL, "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 2 Insufficient cpu. no new claims to deallocate, "
            "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."},
        {CPU("1") ",\"nodeName\":\"busy\"", NULL, "0/4 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable, 2 node(s) didn't match the requested node name. "
            "no new claims to deallocate, preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling."},
        {CPU("1") ",\"nodeSelector\":{\"zone\":\"b\"},\"tolerations\":[{\"key\":\"k\",\"operator\":\"Equal\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", "tainted", NULL},
        {CPU("1") ",\"nodeSelector\":{\"zone\":\"c\"},\"tolerations\":[{\"operator\":\"Exists\"}]", NULL,
            "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, "
            "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."},
        {CPU("1") ",\"nodeSelector\":{\"zone\":\"a\"},\"tolerations\":[{\"key\":\"node.kubernetes.io/unschedulable\",\"operator\":\"Exists\"}],\"affinity\":{\"nodeAffinity\":"
            "{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"cordoned\"]}]}]}}}",
            "cordoned", NULL},
        {CPU("1") ",\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchExpressions\":["
            "{\"key\":\"n\",\"operator\":\"Gt\",\"values\":[\"4\"]},{\"key\":\"zone\",\"operator\":\"NotIn\",\"values\":[\"b\"]}]}]}}}", "plain", NULL},
        {CPU("100m") ",\"affinity\":{\"nodeAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":100,\"preference\":{\"matchExpressions\":["
            "{\"key\":\"zone\",\"operator\":\"In\",\"values\":[\"b\"]}]}}]}}", "busy", NULL},
        {"\"nodeSelector\":{\"zone\":\"b\"},\"containers\":[{\"name\":\"c\",\"ports\":[{\"hostPort\":80,\"containerPort\":1}]}]", NULL,
            "0/4 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) didn't match Pod's node affinity/selector, "
            "1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/4 nodes are available: "
            "1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling."},
        {"\"nodeName\":\"plain\",\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"example.com/gpu\":\"2\",\"memory\":\"5Gi\"}}}]", NULL,
            "0/4 nodes are available: 1 Insufficient example.com/gpu, 1 Insufficient memory, 1 node(s) were unschedulable, 2 node(s) didn't match the requested node name. "
            "no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."},
        {"\"containers\":[{\"name\":\"c\",\"image\":\"big:busy\"}],\"preemptionPolicy\":\"Never\"", "plain", NULL},
    };
    world_make();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct framework f = {.plugins = default_plugins, .env = &fake_env};
        struct pod_info *p = pod_info_new(pod("new", cases[i].spec));
        struct schedule_result r;
        framework_schedule(&f, arena, p, world, 4, &r);
        print_message("case %zu: %s\n", i, r.node ? r.node->name : r.message);
        if (cases[i].fits) {
            assert_non_null(r.node);
            assert_string_equal(r.node->name, cases[i].fits);
        } else {
            assert_null(r.node);
            assert_string_equal(r.message, cases[i].says);
        }
        pod_info_unref(p);
    }
    world_free();
}

static void init_containers_sidecars_overhead_and_pod_level_resources_add_up(void **state) {
    (void)state;
#define C(cpu, more) "{\"name\":\"x\"," more "\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"}}}"
    static const struct { const char *spec; int64_t cpu; } cases[] = {
        {"\"containers\":[" C("1", "") "," C("500m", "") "]", 1500},
        {"\"initContainers\":[" C("2", "") "],\"containers\":[" C("1", "") "]", 2000},
        {"\"initContainers\":[" C("200m", "\"restartPolicy\":\"Always\",") "],\"containers\":[" C("1", "") "]", 1200},
        {"\"initContainers\":[" C("200m", "\"restartPolicy\":\"Always\",") "," C("1500m", "") "],\"containers\":[" C("1", "") "]", 1700},
        {"\"overhead\":{\"cpu\":\"50m\"},\"containers\":[" C("1", "") "]", 1050},
        {"\"resources\":{\"requests\":{\"cpu\":\"3\"}},\"containers\":[" C("1", "") "]", 3000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resources r;
        assert_true(pod_requests(pod("p", cases[i].spec), &r));
        assert_int_equal(r.v[RESOURCE_CPU], cases[i].cpu);
    }
}

static void queue_put(struct scheduling_queue *q, const char *name, const char *spec) {
    struct pod_info *p = pod_info_new(pod(name, spec));
    queue_set(q, p);
    pod_info_unref(p);
}
static void assert_pops(struct scheduling_queue *q, const char *name) {
    struct pod_info *p = queue_pop(q, 0);
    if (!name) {
        assert_null(p);
        return;
    }
    assert_non_null(p);
    assert_string_equal(p->pod->metadata.name, name);
    pod_info_unref(p);
}
#define SECOND INT64_C(1000000000)

static void the_queue_gives_higher_priority_first_and_older_before_newer(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_new(&fake_env, default_plugins);
    queue_put(q, "a", "\"priority\":1");
    queue_put(q, "b", "");
    queue_put(q, "c", "\"priority\":5");
    queue_put(q, "d", "\"priority\":1");
    static const char *const order[] = {"c", "a", "d", "b", NULL};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) assert_pops(q, order[i]);
    queue_free(q);
}

static void a_pod_that_fits_nowhere_waits_for_a_change_and_its_back_off_doubles_to_ten_seconds(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_new(&fake_env, default_plugins);
    queue_put(q, "a", "");
    static const int seconds[] = {1, 2, 4, 8, 10, 10};
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        assert_pops(q, "a");
        queue_put_back(q, "default/a", false);
        assert_int_equal(queue_lengths(q).unschedulable, 1);
        queue_move_all(q);
        assert_int_equal(queue_lengths(q).backoff, 1);
        clock_ns += seconds[i] * SECOND - 1;
        assert_pops(q, NULL);
        clock_ns += 1;
    }
    assert_pops(q, "a");
    queue_put_back(q, "default/a", false);
    clock_ns += 200 * SECOND;
    assert_pops(q, NULL); /* nothing changed */
    queue_put(q, "a", ""); /* the same Pod, its status aside */
    assert_pops(q, NULL);
    clock_ns += 131 * SECOND;
    assert_pops(q, "a"); /* five minutes are over */
    queue_free(q);
}

static void what_changes_while_a_pod_is_tried_is_not_lost(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_new(&fake_env, default_plugins);
    queue_put(q, "a", "");
    assert_pops(q, "a");
    queue_move_all(q);
    queue_put_back(q, "default/a", false);
    assert_int_equal(queue_lengths(q).backoff, 1);
    queue_delete(q, "default/a", "another uid");
    assert_int_equal(queue_lengths(q).backoff, 1);
    queue_delete(q, "default/a", NULL);
    assert_int_equal(queue_lengths(q).backoff, 0);
    queue_free(q);
}

static void a_gated_pod_waits_until_its_gates_are_gone(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_new(&fake_env, default_plugins);
    queue_put(q, "a", "\"schedulingGates\":[{\"name\":\"x\"}]");
    queue_move_all(q);
    assert_int_equal(queue_lengths(q).gated, 1);
    assert_pops(q, NULL);
    queue_put(q, "a", "");
    assert_pops(q, "a");
    queue_free(q);
}

/* A client that writes down what it was asked. */
static struct { int bound, fail_code; char last_node[64], last_event[512], last_reason[64]; pthread_mutex_t mutex; } seen = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static int seen_bind(void *data, const struct corev1_Pod *p, const char *node, struct status *reterr) {
    (void)data, (void)p;
    pthread_mutex_lock(&seen.mutex);
    int code = seen.fail_code;
    seen.bound += !code;
    snprintf(seen.last_node, sizeof(seen.last_node), "%s", node);
    pthread_mutex_unlock(&seen.mutex);
    return code ? status_set(reterr, code, REASON_INTERNAL_ERROR, "no luck") : 0;
}
static int seen_condition(void *data, const struct corev1_Pod *p, const char *reason, const char *message, struct status *reterr) {
    (void)data, (void)p, (void)message, (void)reterr;
    snprintf(seen.last_reason, sizeof(seen.last_reason), "%s", reason);
    return 0;
}
static void seen_event(void *data, const struct corev1_Pod *p, const char *type, const char *reason, const char *action, const char *note) {
    (void)data, (void)p, (void)action;
    pthread_mutex_lock(&seen.mutex);
    snprintf(seen.last_event, sizeof(seen.last_event), "%s %s %s", type, reason, note);
    pthread_mutex_unlock(&seen.mutex);
}
static const struct scheduler_client seen_client = {NULL, seen_bind, seen_condition, seen_event};

static void a_pod_is_bound_when_room_appears_and_its_room_is_counted_at_once(void **state) {
    (void)state;
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){0});
    memset(&seen, 0, offsetof(__typeof__(seen), mutex));
    scheduler_set_pod(s, pod("a", CPU("1500m")));
    scheduler_set_pod(s, pod("elsewhere", "\"schedulerName\":\"other\""));
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_event, "Warning FailedScheduling no nodes available to schedule pods");
    assert_string_equal(seen.last_reason, "Unschedulable");
    assert_false(scheduler_schedule_one(s, 0));
    scheduler_set_node(s, node("n1", "", ""));
    clock_ns += 2 * SECOND;
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_event, "Normal Scheduled Successfully assigned default/a to n1");
    scheduler_set_pod(s, pod("b", CPU("1")));
    assert_true(scheduler_schedule_one(s, 0)); /* the watch has not shown a's binding yet */
    assert_string_equal(seen.last_event, "Warning FailedScheduling 0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
                                         "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.");
    scheduler_set_pod(s, pod("a", CPU("1500m") ",\"nodeName\":\"n1\""));
    scheduler_set_node(s, node("n1", "", "")); /* a heartbeat */
    clock_ns += 5 * SECOND;
    assert_false(scheduler_schedule_one(s, 0));
    scheduler_delete_pod(s, "default", "a");
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 2);
    scheduler_free(s);
}

static void a_binding_that_fails_gives_the_room_back_and_is_tried_again(void **state) {
    (void)state;
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){0});
    memset(&seen, 0, offsetof(__typeof__(seen), mutex));
    scheduler_set_node(s, node("n1", "", ""));
    scheduler_set_pod(s, pod("a", CPU("2")));
    seen.fail_code = 500;
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_reason, "SchedulerError");
    seen.fail_code = 0;
    clock_ns += SECOND;
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 1);
    scheduler_free(s);
}

/* Threads, the real clock, and the figure that the project aims at: 1,000 Pods on 20 nodes within half a second. */
static void load(size_t pods, size_t nodes) {
    struct scheduler *s = scheduler_new(env_real(), &seen_client, &(struct scheduler_config){0});
    memset(&seen, 0, offsetof(__typeof__(seen), mutex));
    for (size_t i = 0; i < nodes; i++) {
        char *name = arena_printf(arena, "node-%zu", i);
        scheduler_set_node(s, decode(&corev1_Node_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\"},\"status\":{\"allocatable\":{\"cpu\":\"64\",\"memory\":\"256Gi\",\"pods\":\"110\"}}}", name)));
    }
    struct corev1_Pod *p = pod("p", CPU("100m"));
    for (size_t i = 0; i < pods; i++) {
        p->metadata.name = arena_printf(arena, "p-%zu", i);
        scheduler_set_pod(s, p);
    }
    int64_t begun = env_mono_ns(env_real());
    scheduler_start(s);
    while (scheduler_stats(s).scheduled < pods && env_mono_ns(env_real()) - begun < 20 * SECOND) usleep(1000);
    int64_t took = env_mono_ns(env_real()) - begun;
    scheduler_stop(s);
    print_message("%zu pods on %zu nodes: %.1f ms, %.0f pods/s\n", pods, nodes, (double)took / 1e6, (double)pods * 1e9 / (double)took);
    assert_int_equal(seen.bound, pods);
    assert_int_equal(scheduler_stats(s).unschedulable, 0);
    scheduler_free(s);
}

static void a_thousand_pods_are_spread_over_twenty_nodes_by_threads(void **state) { (void)state, load(1000, 20); }

int main(int argc, char **argv) {
    if (argc == 4 && str_eq(argv[1], "bench")) {
        setup(NULL);
        load((size_t)atoi(argv[2]), (size_t)atoi(argv[3]));
        return teardown(NULL);
    }
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_plugin_says_in_upstreams_words_why_a_pod_does_not_fit),
        TEST(init_containers_sidecars_overhead_and_pod_level_resources_add_up),
        TEST(the_queue_gives_higher_priority_first_and_older_before_newer),
        TEST(a_pod_that_fits_nowhere_waits_for_a_change_and_its_back_off_doubles_to_ten_seconds),
        TEST(what_changes_while_a_pod_is_tried_is_not_lost),
        TEST(a_gated_pod_waits_until_its_gates_are_gone),
        TEST(a_pod_is_bound_when_room_appears_and_its_room_is_counted_at_once),
        TEST(a_binding_that_fails_gives_the_room_back_and_is_tried_again),
        TEST(a_thousand_pods_are_spread_over_twenty_nodes_by_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
