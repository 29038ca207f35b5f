/* The scheduler: plugins as tables of (Pod, nodes, what is said), the queue and the whole loop on a clock moved by hand, and a load. */
#include "scheduler_testing.h"
#include "base/buf.h"

/* The nodes of every plugin test: a plain one, a cordoned one, a tainted one; "busy" runs a Pod of 1500m with host port 80. */
static struct scheduler_cache *world_make(void) {
    struct scheduler_cache *c = cache_new();
    cluster_node(c, node("plain", "\"zone\":\"a\",\"n\":\"5\"", ""));
    cluster_node(c, node("cordoned", "\"zone\":\"a\"", "\"unschedulable\":true"));
    cluster_node(c, node("tainted", "\"zone\":\"b\"", "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]"));
    cluster_node(c, node("busy", "\"zone\":\"b\"", ""));
    cluster_pod(c, pod("old", "\"nodeName\":\"busy\",\"containers\":[{\"name\":\"c\",\"ports\":[{\"hostPort\":80,\"containerPort\":80}],\"resources\":{\"requests\":{\"cpu\":\"1500m\"}}}]"));
    return c;
}

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
        {CPU("3") ",\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchFields\":["
            "{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"plain\"]}]}]}}}", NULL,
            "0/4 nodes are available: 1 Insufficient cpu, 3 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, "
            "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."},
        {CPU("1") ",\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchFields\":["
            "{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"gone\"]}]}]}}}", NULL,
            "0/4 nodes are available: node(s) didn't satisfy plugin NodeAffinity. no new claims to deallocate, "
            "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."},
        {CPU("1") ",\"resourceClaims\":[{\"name\":\"x\",\"resourceClaimName\":\"y\"}]", NULL,
            "0/4 nodes are available: could not find ResourceClaim \"default/y\". no new claims to deallocate, "
            "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."},
        {CPU("1") ",\"hostNetwork\":true,\"hostUsers\":false,\"nodeName\":\"plain\"", NULL,
            "0/4 nodes are available: 1 node(s) didn't match Pod's required features, 1 node(s) were unschedulable, 2 node(s) didn't match the requested node name. "
            "no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."},
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
    struct scheduler_cache *c = world_make();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct schedule_result r = cycle_of(c, NULL, pod("new", cases[i].spec));
        print_message("case %zu: %s\n", i, r.node ? r.node->name : r.message);
        assert_result(&r, cases[i].fits, cases[i].says);
    }
    cache_free(c);
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

static void a_resize_under_way_holds_the_most_of_what_is_asked_and_what_is_there(void **state) {
    (void)state;
    static const struct { const char *status; int64_t cpu; } cases[] = {
        {"\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{\"cpu\":\"3\"},\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]", 3000},
        {"\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{\"cpu\":\"500m\"},\"resources\":{\"requests\":{\"cpu\":\"500m\"}}}]", 1000},
        {"\"conditions\":[{\"type\":\"PodResizePending\",\"status\":\"True\",\"reason\":\"Infeasible\"}],"
         "\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{\"cpu\":\"500m\"},\"resources\":{\"requests\":{\"cpu\":\"400m\"}}}]", 500},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resources r;
        assert_true(pod_requests(pod_in("default", "p", "", CPU("1"), cases[i].status), &r));
        assert_int_equal(r.v[RESOURCE_CPU], cases[i].cpu);
    }
}

/* ---- the queue ---- */

static struct scheduler_cache *cache;
static struct profile profile;
static struct scheduling_queue *queue_make(void) {
    cache = cache_new();
    profile_init_default(&profile, "default-scheduler");
    return queue_new(&fake_env, &(struct queue_options){.profiles = &profile, .profiles_len = 1});
}
static void queue_end(struct scheduling_queue *q) {
    queue_free(q);
    cache_free(cache);
}
static void queue_put(struct scheduling_queue *q, const char *name, const char *spec) {
    struct pod_info *p = pod_info_new(pod(name, spec));
    queue_set(q, cache, p);
    pod_info_unref(p);
}
static void assert_pops(struct scheduling_queue *q, const char *name) {
    struct pod_info *p = queue_pop(q, 0, NULL);
    if (!name) {
        assert_null(p);
        return;
    }
    assert_non_null(p);
    assert_string_equal(p->pod->metadata.name, name);
    pod_info_unref(p);
}
#define FIT (1u << PLUGIN_NODE_RESOURCES_FIT)
#define TAINT (1u << PLUGIN_TAINT_TOLERATION)

/* A node that is new and, by its allocatable cpu, has room or not. */
static void node_event(struct scheduling_queue *q, unsigned actions, const char *cpu) {
    struct corev1_Node *n = decode(&corev1_Node_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"n\"},\"status\":{\"allocatable\":{\"cpu\":\"%s\"}}}", cpu));
    queue_event(q, cache, &(struct cluster_event){.resource = EVENT_NODE, .actions = actions, .new_node = n}, NULL);
}

static void the_queue_gives_higher_priority_first_and_older_before_newer(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_make();
    queue_put(q, "a", "\"priority\":1");
    queue_put(q, "b", "");
    queue_put(q, "c", "\"priority\":5");
    queue_put(q, "d", "\"priority\":1");
    static const char *const order[] = {"c", "a", "d", "b", NULL};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) assert_pops(q, order[i]);
    queue_end(q);
}

static void a_pod_that_failed_with_an_error_backs_off_from_one_second_to_ten(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_make();
    queue_put(q, "a", "");
    static const int seconds[] = {1, 2, 4, 8, 10, 10};
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        assert_pops(q, "a");
        queue_put_back(q, "default/a", 0, false);
        assert_int_equal(queue_lengths(q).backoff, 1);
        clock_ns += seconds[i] * SECOND - 1;
        assert_pops(q, NULL);
        clock_ns += 1;
    }
    queue_end(q);
}

static void a_pod_that_fits_nowhere_waits_for_what_may_help_it_or_five_minutes(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_make();
    queue_put(q, "a", CPU("1"));
    assert_pops(q, "a");
    queue_put_back(q, "default/a", FIT, false);
    assert_int_equal(queue_lengths(q).unschedulable, 1);
    node_event(q, ACTION_NODE_CONDITION, "4"); /* not what it waits for */
    node_event(q, ACTION_ADD, "500m");         /* too small */
    clock_ns += 200 * SECOND;
    assert_pops(q, NULL);
    node_event(q, ACTION_ADD, "1");
    assert_pops(q, "a");
    queue_put_back(q, "default/a", FIT, false);
    queue_put(q, "a", CPU("1")); /* the same Pod, its status aside */
    assert_pops(q, NULL);
    queue_put(q, "a", CPU("500m")); /* asks for less now */
    assert_pops(q, "a");
    queue_put_back(q, "default/a", TAINT, false);
    node_event(q, ACTION_NODE_ALLOCATABLE, "1"); /* it was not for want of room */
    clock_ns += 299 * SECOND;
    assert_pops(q, NULL);
    clock_ns += 31 * SECOND;
    assert_pops(q, "a");
    queue_end(q);
}

static void back_off_is_waited_for_only_while_others_are_active(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_make();
    queue_put(q, "a", CPU("1"));
    assert_pops(q, "a");
    queue_put_back(q, "default/a", FIT, false);
    node_event(q, ACTION_ADD, "1");
    assert_int_equal(queue_lengths(q).backoff, 1);
    queue_put(q, "b", "\"priority\":-5");
    assert_pops(q, "b");
    assert_pops(q, "a");
    queue_end(q);
}

static void what_changes_while_a_pod_is_tried_is_not_lost(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_make();
    queue_put(q, "a", CPU("1"));
    assert_pops(q, "a");
    node_event(q, ACTION_ADD, "1");
    queue_put_back(q, "default/a", TAINT | FIT, false);
    assert_int_equal(queue_lengths(q).backoff, 1);
    queue_delete(q, "default/a", "another uid");
    assert_int_equal(queue_lengths(q).backoff, 1);
    queue_delete(q, "default/a", NULL);
    assert_int_equal(queue_lengths(q).backoff, 0);
    queue_end(q);
}

static void a_gated_pod_waits_until_its_gates_are_gone(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_make();
    queue_put(q, "a", "\"schedulingGates\":[{\"name\":\"x\"}]");
    node_event(q, ACTION_ADD, "1");
    assert_int_equal(queue_lengths(q).gated, 1);
    assert_pops(q, NULL);
    queue_put(q, "a", "");
    assert_pops(q, "a");
    queue_end(q);
}

static void a_preemptor_waits_until_its_evictions_are_asked_for(void **state) {
    (void)state;
    struct scheduling_queue *q = queue_make();
    queue_put(q, "a", CPU("1"));
    assert_pops(q, "a");
    queue_put_back(q, "default/a", FIT, true);
    node_event(q, ACTION_ADD, "1");
    assert_pops(q, NULL);
    queue_preempted(q, "default/a", false);
    assert_pops(q, "a");
    queue_put_back(q, "default/a", FIT, true);
    queue_preempted(q, "default/a", false);
    assert_pops(q, NULL); /* now for the victims' end */
    queue_end(q);
}

static void a_pod_is_bound_when_room_appears_and_its_room_is_counted_at_once(void **state) {
    (void)state;
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){0});
    seen_reset();
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
    seen_reset();
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
    seen_reset();
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

static void says(const char *text, const char *line) {
    if (!strstr(text, line)) fail_msg("\"%s\" is not in\n%s", line, text);
}

static void attempts_queues_and_times_are_counted(void **state) {
    (void)state;
    seen_reset();
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){0});
    scheduler_set_node(s, node("n1", "", ""));
    scheduler_set_pod(s, pod("fits", CPU("1")));
    scheduler_set_pod(s, pod("big", CPU("9")));
    scheduler_set_pod(s, pod("gated", CPU("1") ",\"schedulingGates\":[{\"name\":\"g\"}]"));
    while (scheduler_schedule_one(s, 0)) continue;
    scheduler_set_node(s, node("n2", "", ""));
    _cleanup_buf_ struct buf out = BUF_INIT;
    scheduler_put_metrics(s, &out);
    const char *text = buf_cstr(&out);
    says(text, "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1\n");
    says(text, "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} 1\n");
    says(text, "scheduler_scheduling_attempt_duration_seconds_bucket{profile=\"default-scheduler\",result=\"scheduled\",le=\"0.001\"} 1\n");
    says(text, "scheduler_scheduling_algorithm_duration_seconds_count 2\n");
    says(text, "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"1\"} 1\n");
    says(text, "scheduler_pod_scheduling_attempts_sum 1\n");
    says(text, "scheduler_preemption_attempts_total 0\n");
    says(text, "scheduler_pending_pods{queue=\"gated\"} 1\n");
    says(text, "scheduler_unschedulable_pods{plugin=\"NodeResourcesFit\",profile=\"default-scheduler\"} 1\n");
    says(text, "scheduler_cache_size{type=\"nodes\"} 2\n");
    says(text, "scheduler_cache_size{type=\"assumed_pods\"} 1\n");
    says(text, "scheduler_queue_incoming_pods_total{event=\"PodAdd\",queue=\"active\"} 2\n");
    says(text, "scheduler_queue_incoming_pods_total{event=\"PodAdd\",queue=\"gated\"} 1\n");
    says(text, "scheduler_queue_incoming_pods_total{event=\"ScheduleAttemptFailure\",queue=\"unschedulable\"} 1\n");
    says(text, "scheduler_framework_extension_point_duration_seconds_count{extension_point=\"Filter\",profile=\"default-scheduler\",status=\"Unschedulable\"} 1\n");
    says(text, "scheduler_framework_extension_point_duration_seconds_count{extension_point=\"Bind\",profile=\"default-scheduler\",status=\"Success\"} 1\n");
    scheduler_free(s);
}

int main(int argc, char **argv) {
    if (argc == 4 && str_eq(argv[1], "bench")) {
        setup(NULL);
        load((size_t)atoi(argv[2]), (size_t)atoi(argv[3]));
        return teardown(NULL);
    }
    const struct CMUnitTest tests[] = {
        TEST(every_plugin_says_in_upstreams_words_why_a_pod_does_not_fit),
        TEST(init_containers_sidecars_overhead_and_pod_level_resources_add_up),
        TEST(the_queue_gives_higher_priority_first_and_older_before_newer),
        TEST(a_resize_under_way_holds_the_most_of_what_is_asked_and_what_is_there),
        TEST(a_pod_that_failed_with_an_error_backs_off_from_one_second_to_ten),
        TEST(a_pod_that_fits_nowhere_waits_for_what_may_help_it_or_five_minutes),
        TEST(back_off_is_waited_for_only_while_others_are_active),
        TEST(a_preemptor_waits_until_its_evictions_are_asked_for),
        TEST(what_changes_while_a_pod_is_tried_is_not_lost),
        TEST(a_gated_pod_waits_until_its_gates_are_gone),
        TEST(a_pod_is_bound_when_room_appears_and_its_room_is_counted_at_once),
        TEST(a_binding_that_fails_gives_the_room_back_and_is_tried_again),
        TEST(attempts_queues_and_times_are_counted), TEST(a_thousand_pods_are_spread_over_twenty_nodes_by_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
