/* Preemption: whom it evicts, by tables of small clusters; budgets, nominated Pods, events, and that the cluster is afterwards as it was. */
#include "scheduler_testing.h"

/* victims: "name:priority:cpu[:started]" on node n1 (cpu 4), n2 (cpu 4), ...; one string a node, Pods separated by spaces. */
static void nodes_fill(struct scheduler *s, const char *const *nodes) {
    for (int i = 0; nodes[i]; i++) {
        const char *name = arena_printf(arena, "n%d", i + 1);
        scheduler_set_node(s, decode(&corev1_Node_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"zone\":\"z%d\"}},\"status\":{\"allocatable\":"
            "{\"cpu\":\"4\",\"memory\":\"8Gi\",\"pods\":\"10\"}}}", name, i % 2)));
        char *list = arena_strdup(arena, nodes[i]), *save = NULL;
        for (char *p = strtok_r(list, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
            char pod_name[32], cpu[16];
            int priority, started = 0;
            assert_true(sscanf(p, "%31[^:]:%d:%15[^:]:%d", pod_name, &priority, cpu, &started) >= 3);
            struct corev1_Pod *v = pod_in("default", pod_name, arena_printf(arena, "\"app\":\"%.1s\"", pod_name),
                arena_printf(arena, "\"nodeName\":\"%s\",\"priority\":%d,\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"%s\"}}}]", name, priority, cpu), "");
            v->status.startTime = (struct api_time){.set = true, .sec = 1000 + started};
            scheduler_set_pod(s, v);
        }
    }
}

static struct scheduler *scheduler_make(const char *const *nodes) {
    seen_reset();
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){0});
    nodes_fill(s, nodes);
    return s;
}

static void the_least_harm_is_done(void **state) {
    (void)state;
    static const struct { const char *nodes[4]; const char *cpu, *budget, *evicted, *nominated; } cases[] = {
        {{"low:1:4"}, "2", NULL, "low", "n1"},
        {{"a:5:2:0 b:1:2:0"}, "2", NULL, "b", "n1"},               /* the lower priority goes */
        {{"a:1:2:0 b:1:2:9"}, "2", NULL, "b", "n1"},               /* then the younger */
        {{"a:9:4", "b:2:4"}, "1", NULL, "b", "n2"},                /* the lowest highest priority */
        {{"a:2:2 c:2:2", "b:2:4"}, "4", NULL, "b", "n2"},          /* the smaller sum, the fewer */
        {{"a:2:4:1", "b:2:4:7"}, "4", NULL, "b", "n2"},            /* the latest start */
        {{"a:1:4", "b:2:4"}, "4", "a", "b", "n2"},                 /* a budget outweighs priority */
        {{"a:1:2:0 b:3:2:0"}, "2", "a", "b", "n1"},                /* and within a node: a stays though it is lower */
        {{"a:1:4"}, "4", "a", "a", "n1"},                          /* but a budget does not forbid */
        {{"big:200:4", "a:1:1 x:200:1 y:200:2"}, "1", NULL, "a", "n2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case %zu\n", i);
        struct scheduler *s = scheduler_make(cases[i].nodes);
        if (cases[i].budget)
            scheduler_set_object(s, &policyv1_PodDisruptionBudget_desc, decode(&policyv1_PodDisruptionBudget_desc, arena_printf(arena,
                "{\"metadata\":{\"name\":\"pdb\",\"namespace\":\"default\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"%s\"}}},\"status\":{\"disruptionsAllowed\":0}}", cases[i].budget)));
        scheduler_set_pod(s, pod("vip", arena_printf(arena, "\"priority\":100,\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"%s\"}}}]", cases[i].cpu)));
        assert_true(scheduler_schedule_one(s, 0));
        assert_string_equal(seen.evicted, arena_printf(arena, "%s[default-scheduler: preempting to accommodate a higher priority pod] ", cases[i].evicted));
        assert_string_equal(seen.last_nominated, cases[i].nominated);
        assert_int_equal(scheduler_stats(s).preemptions, 1);
        scheduler_free(s);
    }
}

static void it_says_what_happened_and_waits_for_the_victims_end(void **state) {
    (void)state;
    struct scheduler *s = scheduler_make((const char *const[]){"low:1:3", NULL});
    struct corev1_Pod *vip = pod("vip", "\"priority\":100," CPU("2"));
    scheduler_set_pod(s, vip);
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_event, "Warning FailedScheduling 0/1 nodes are available: 1 Insufficient cpu.");
    assert_string_equal(seen.last_reason, "Unschedulable");
    assert_string_equal(seen.related, "low<-vip Normal Preempted Preempting: Preempted by pod u-vip on node n1; ");
    vip->status.nominatedNodeName = "n1";
    scheduler_set_pod(s, vip);
    /* The victim goes gracefully: nothing is to be done meanwhile, and nobody else takes the room. */
    struct corev1_Pod *low = pod_in("default", "low", "\"app\":\"l\"", "\"nodeName\":\"n1\",\"priority\":1," CPU("3"),
                                    "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"PreemptionByScheduler\"}]");
    low->metadata.deletionTimestamp = (struct api_time){.set = true, .sec = 1};
    scheduler_set_pod(s, low);
    assert_false(scheduler_schedule_one(s, 0));
    scheduler_set_pod(s, pod("small", "\"priority\":0," CPU("1")));
    assert_true(scheduler_schedule_one(s, 0)); /* 1 cpu is free, and it is not vip's: that one needs 2, of the 3 that are going */
    assert_int_equal(seen.bound, 0);           /* ... but both together would not fit now, and vip comes first */
    scheduler_delete_pod(s, "default", "low");
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_event, "Normal Scheduled Successfully assigned default/vip to n1");
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_event, "Normal Scheduled Successfully assigned default/small to n1");
    assert_int_equal(seen.bound, 2);
    scheduler_free(s);
}

static void a_pod_waiting_for_its_victims_does_not_preempt_again(void **state) {
    (void)state;
    struct scheduler *s = scheduler_make((const char *const[]){"low:1:4", "high:200:4", NULL});
    struct corev1_Pod *vip = pod("vip", "\"priority\":100," CPU("2"));
    scheduler_set_pod(s, vip);
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_nominated, "n1");
    seen.evicted[0] = '\0';
    struct corev1_Pod *low = pod_in("default", "low", "", "\"nodeName\":\"n1\",\"priority\":1," CPU("4"),
                                    "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"PreemptionByScheduler\"}]");
    low->metadata.deletionTimestamp = (struct api_time){.set = true, .sec = 1};
    scheduler_set_pod(s, low);
    vip->status.nominatedNodeName = "n1";
    scheduler_set_pod(s, vip);
    clock_ns += 400 * SECOND; /* the five minutes' retry */
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.evicted, "");
    assert_string_equal(seen.last_message, "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to a terminating pod on the nominated node.");
    scheduler_free(s);
}

static void never_and_nobody_to_evict_are_told(void **state) {
    (void)state;
    struct scheduler *s = scheduler_make((const char *const[]){"low:1:4", "high:200:4", NULL});
    scheduler_set_pod(s, pod("meek", "\"priority\":100,\"preemptionPolicy\":\"Never\"," CPU("2")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_message, "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never.");
    scheduler_set_pod(s, pod("huge", "\"priority\":100," CPU("5")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_message, "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: "
                                           "2 Preemption is not helpful for scheduling.");
    scheduler_set_pod(s, pod("picky", "\"priority\":100,\"nodeSelector\":{\"zone\":\"z1\"}," CPU("2")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_message, "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, "
                                           "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.");
    assert_string_equal(seen.evicted, "");
    scheduler_free(s);
}

static void anti_affinity_and_spread_are_resolved_by_eviction_too(void **state) {
    (void)state;
    struct scheduler *s = scheduler_make((const char *const[]){"w1:1:1", "w2:1:1", NULL});
    scheduler_set_pod(s, pod_in("default", "vip", "\"app\":\"v\"", "\"priority\":100,\"nodeSelector\":{\"zone\":\"z0\"}," CPU("1") ",\"affinity\":{\"podAntiAffinity\":"
        "{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"zone\",\"labelSelector\":{\"matchLabels\":{\"app\":\"w\"}}}]}}", ""));
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.evicted, "w1[default-scheduler: preempting to accommodate a higher priority pod] ");
    seen.evicted[0] = '\0';
    scheduler_delete_pod(s, "default", "w1");
    assert_true(scheduler_schedule_one(s, 0)); /* vip */
    assert_int_equal(seen.bound, 1);
    scheduler_set_pod(s, pod_in("default", "even", "\"app\":\"w\"", "\"priority\":100,\"nodeSelector\":{\"zone\":\"z1\"}," CPU("1") ",\"topologySpreadConstraints\":["
        "{\"topologyKey\":\"zone\",\"maxSkew\":1,\"whenUnsatisfiable\":\"DoNotSchedule\",\"nodeAffinityPolicy\":\"Ignore\",\"labelSelector\":{\"matchLabels\":{\"app\":\"w\"}}}]", ""));
    assert_true(scheduler_schedule_one(s, 0)); /* w: none in z0, one in z1 */
    assert_string_equal(seen.evicted, "w2[default-scheduler: preempting to accommodate a higher priority pod] ");
    scheduler_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_least_harm_is_done),
        TEST(it_says_what_happened_and_waits_for_the_victims_end),
        TEST(a_pod_waiting_for_its_victims_does_not_preempt_again),
        TEST(never_and_nobody_to_evict_are_told),
        TEST(anti_affinity_and_spread_are_resolved_by_eviction_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
