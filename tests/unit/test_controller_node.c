/* Nodes: address ranges, health, taints, evictions. */
#include "controller_test.h"
#include "controller/cidr_set.h"
#include "controller/node_zone.h"

#define NODE(n) "/api/v1/nodes/" n

static void make_node(struct cluster *k, const char *name, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'%s'%s}}", name, more));
}

/* As its kubelet would: a fresh heartbeat. */
static void post_ready(struct cluster *k, const char *name, const char *status) {
    _cleanup_arena_ struct arena *a = arena_new();
    int64_t now = env_now_s(&k->env);
    struct corev1_NodeCondition c = {.type = "Ready", .status = status, .reason = "KubeletReady", .message = "m", .lastHeartbeatTime = {.set = true, .sec = now}, .lastTransitionTime = {.set = true, .sec = now}};
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"status\":{\"conditions\":[");
    object_encode_json(&corev1_NodeCondition_desc, &c, &b);
    buf_append_str(&b, "]}}");
    struct status err = STATUS_INIT;
    if (client_patch(k->admin, a, &corev1_Node_desc, NULL, name, "status", PATCH_STRATEGIC, buf_cstr(&b), NULL, &err) != 0) fail_msg("%s", status_message(&err));
}

/* ---- address ranges ---- */

static void parts_are_given_once_and_come_back(void **state UNUSED) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct status err = STATUS_INIT;
    struct cidr_set *s = cidr_set_new("10.42.0.0/22", 24, 64, &err);
    assert_string_equal(cidr_set_allocate(s, a), "10.42.0.0/24");
    assert_int_equal(cidr_set_occupy(s, "10.42.1.0/24", &err), 0);
    assert_string_equal(cidr_set_allocate(s, a), "10.42.2.0/24");
    assert_string_equal(cidr_set_allocate(s, a), "10.42.3.0/24");
    assert_null(cidr_set_allocate(s, a));
    assert_int_equal(cidr_set_release(s, "10.42.1.0/24", &err), 0);
    assert_string_equal(cidr_set_allocate(s, a), "10.42.1.0/24");
    assert_int_equal(cidr_set_occupy(s, "10.43.0.0/24", &err), -1);
    assert_int_equal(cidr_set_occupy(s, "fd00::/64", &err), -1);
    assert_int_equal(cidr_set_release(s, "10.42.2.0/23", &err), 0); /* two parts */
    assert_string_equal(cidr_set_allocate(s, a), "10.42.2.0/24");
    assert_string_equal(cidr_set_allocate(s, a), "10.42.3.0/24");
    assert_true(cidr_set_overlaps(s, "10.0.0.0/8") && cidr_set_overlaps(s, "10.42.3.128/25") && !cidr_set_overlaps(s, "10.96.0.0/16") && !cidr_set_overlaps(s, "x"));
    assert_int_equal(cidr_set_release(s, "10.0.0.0/8", &err), 0); /* all */
    cidr_set_free(s);
    s = cidr_set_new("fd00:10:0:fe00::/56", 24, 64, &err);
    assert_string_equal(cidr_set_allocate(s, a), "fd00:10:0:fe00::/64");
    assert_string_equal(cidr_set_allocate(s, a), "fd00:10:0:fe01::/64");
    cidr_set_free(s);
    static const char *const bad[] = {"10.0.0.0/25", "10.0.0.0", "10.0.0/8", "fd00::/32", "", "10.0.0.0/33", "1.2.3.4/-1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_null(cidr_set_new(bad[i], 24, 64, &err));
    status_release(&err);
}

static void every_node_gets_a_range_of_its_own(void **state UNUSED) {
    struct cluster *k = cluster_start(NULL);
    k->options.allocate_node_cidrs = true;
    k->options.cluster_cidr[0] = "10.42.0.0/22";
    k->options.cluster_cidr[1] = "fd00::/62";
    k->options.service_cluster_ip_range[0] = "10.42.3.0/24";
    k->controllers = arena_strdup(k->arena, "node-ipam-controller");
    make_node(k, "old", "},'spec':{'podCIDR':'10.42.0.0/24','podCIDRs':['10.42.0.0/24','fd00::/64']");
    cluster_start_controllers(k);
    make_node(k, "a", "");
    cluster_expect(k, NODE("a"), "spec.podCIDRs", "[\"10.42.1.0/24\",\"fd00:0:0:1::/64\"]");
    cluster_expect(k, NODE("a"), "spec.podCIDR", "10.42.1.0/24");
    make_node(k, "b", "");
    cluster_expect(k, NODE("b"), "spec.podCIDR", "10.42.2.0/24");
    make_node(k, "c", "");
    cluster_expect_event(k, "Node", "CIDRNotAvailable", "Node c status is now: CIDRNotAvailable");
    cluster_delete(k, NODE("b"), NULL);
    cluster_expect(k, NODE("c"), "spec.podCIDR", "10.42.2.0/24");
    cluster_restart_controllers(k);
    cluster_delete(k, NODE("a"), NULL);
    make_node(k, "d", "");
    cluster_expect(k, NODE("d"), "spec.podCIDR", "10.42.1.0/24");
    cluster_stop(k);
}

/* ---- health ---- */

static void conditions_become_taints_and_go_with_them(void **state UNUSED) {
    struct cluster *k = cluster_start("node-lifecycle-controller");
    make_node(k, "n1", ",'labels':{'kubernetes.io/os':'linux','kubernetes.io/arch':'amd64'}");
    cluster_expect(k, NODE("n1"), "spec.taints[key=node|kubernetes|io/not-ready].effect", ""); /* admission's own taint goes: no condition says so */
    cluster_expect(k, NODE("n1"), "metadata.labels.beta|kubernetes|io/os", "linux");
    cluster_expect(k, NODE("n1"), "metadata.labels.beta|kubernetes|io/arch", "amd64");
    cluster_expect_event(k, "Node", "RegisteredNode", "Node n1 event: Registered Node n1 in Controller");
    post_ready(k, "n1", "False");
    cluster_expect(k, NODE("n1"), "spec.taints[effect=NoSchedule].key", "node.kubernetes.io/not-ready");
    post_ready(k, "n1", "True");
    cluster_expect(k, NODE("n1"), "spec.taints", "");
    cluster_patch(k, NODE("n1"), "{'spec':{'unschedulable':true,'taints':[{'key':'mine','effect':'NoSchedule'}]}}");
    cluster_expect(k, NODE("n1"), "spec.taints[key=node.kubernetes.io/unschedulable].effect", "NoSchedule");
    cluster_patch(k, NODE("n1"), "{'spec':{'unschedulable':null}}");
    cluster_expect(k, NODE("n1"), "spec.taints[0].key", "mine");
    cluster_delete(k, NODE("n1"), NULL);
    cluster_advance(k, 6000);
    cluster_expect_event(k, "Node", "RemovingNode", "Node n1 event: Removing Node n1 from Controller");
    cluster_stop(k);
}

static void a_silent_node_is_unknown_then_tainted_and_its_pods_go(void **state UNUSED) {
    struct cluster *k = cluster_start("node-lifecycle-controller,taint-eviction-controller");
    make_node(k, "n1", "");
    make_node(k, "n2", "");
    post_ready(k, "n1", "True");
    post_ready(k, "n2", "True");
    cluster_expect(k, NODE("n1"), "spec.taints", "");
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i'}]}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'q','namespace':'default'},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i'}],"
        "'tolerations':[{'operator':'Exists'}]}}");
    cluster_expect(k, PODS "/p", "status.conditions[type=Ready].status", "True");
    cluster_expect(k, PODS "/q", "status.conditions[type=Ready].status", "True");
    cluster_advance(k, 6000); /* a pass sees both */
    env_sleep_ms(env_real(), 200);
    cluster_advance(k, 30000);
    cluster_expect_still(k, NODE("n1"), "status.conditions[type=Ready].status", "True");
    post_ready(k, "n2", "True");
    env_sleep_ms(env_real(), 100);
    cluster_advance(k, 25000);
    cluster_expect(k, NODE("n1"), "status.conditions[type=Ready].status", "Unknown");
    cluster_expect(k, NODE("n1"), "status.conditions[type=Ready].reason", "NodeStatusUnknown");
    cluster_expect(k, NODE("n1"), "status.conditions[type=Ready].message", "Kubelet stopped posting node status.");
    cluster_expect(k, NODE("n1"), "status.conditions[type=MemoryPressure].reason", "NodeStatusNeverUpdated");
    cluster_expect_event(k, "Node", "NodeNotReady", "Node n1 status is now: NodeNotReady");
    cluster_expect(k, PODS "/p", "status.conditions[type=Ready].status", "False");
    cluster_expect_event(k, "Pod", "NodeNotReady", "Node is not ready");
    post_ready(k, "n2", "True");
    cluster_advance(k, 6000);
    cluster_expect(k, NODE("n1"), "spec.taints[effect=NoExecute].key", "node.kubernetes.io/unreachable");
    cluster_expect(k, NODE("n1"), "spec.taints[effect=NoSchedule].key", "node.kubernetes.io/unreachable");
    cluster_expect_still(k, PODS "/p", "metadata.deletionTimestamp", ""); /* it tolerates that for five minutes, by default */
    for (int i = 0; i < 8; i++) {
        cluster_advance(k, 40000);
        post_ready(k, "n2", "True");
    }
    cluster_expect_event(k, "Pod", "TaintManagerEviction", "Marking for deletion Pod default/p");
    cluster_expect_gone(k, PODS "/p");
    cluster_expect_still(k, PODS "/q", "metadata.name", "q");
    post_ready(k, "n1", "True");
    cluster_advance(k, 6000);
    cluster_expect(k, NODE("n1"), "spec.taints", "");
    cluster_stop(k);
}

static void a_pod_leaves_when_its_toleration_ends_unless_the_taint_goes_first(void **state UNUSED) {
    struct cluster *k = cluster_start("taint-eviction-controller");
    make_node(k, "n1", "");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i'}],"
        "'tolerations':[{'key':'k','operator':'Exists','effect':'NoExecute','tolerationSeconds':60}]}}");
    cluster_kubelet(k, KUBELET_HOLDS);
    cluster_expect(k, PODS "/p", "status.phase", "Running");
    cluster_patch(k, NODE("n1"), "{'spec':{'taints':[{'key':'k','effect':'NoExecute'}]}}");
    cluster_expect_still(k, PODS "/p", "metadata.deletionTimestamp", "");
    cluster_patch(k, NODE("n1"), "{'spec':{'taints':null}}");
    cluster_expect_event(k, "Pod", "TaintManagerEviction", "Cancelling deletion of Pod default/p");
    cluster_advance(k, 61000);
    cluster_expect_still(k, PODS "/p", "metadata.deletionTimestamp", "");
    cluster_patch(k, NODE("n1"), "{'spec':{'taints':[{'key':'k','effect':'NoExecute'}]}}");
    cluster_expect_still(k, PODS "/p", "metadata.deletionTimestamp", "");
    cluster_advance(k, 61000);
    cluster_expect(k, PODS "/p", "status.conditions[type=DisruptionTarget].reason", "DeletionByTaintManager");
    cluster_expect(k, PODS "/p", "status.conditions[type=DisruptionTarget].message", "Taint manager: deleting due to NoExecute taint");
    cluster_stop(k);
}

/* ---- zones ---- */

static void zones_slow_down_and_stop(void **state UNUSED) {
    static const struct { int ready, not_ready; enum zone_state want; } cases[] = {
        {0, 0, ZONE_NORMAL}, {1, 0, ZONE_NORMAL}, {0, 1, ZONE_FULL_DISRUPTION}, {1, 2, ZONE_NORMAL}, {1, 3, ZONE_PARTIAL_DISRUPTION}, {9, 11, ZONE_PARTIAL_DISRUPTION}, {10, 10, ZONE_NORMAL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) assert_int_equal(zone_state_of(cases[i].ready, cases[i].not_ready, 0.55), cases[i].want);
    int64_t s = 1000000000;
    struct rate_limiter l = rate_limiter_new(0.1, 0);
    assert_true(rate_limiter_try(&l, 0));
    assert_false(rate_limiter_try(&l, 9 * s));
    assert_true(rate_limiter_try(&l, 10 * s));
    rate_limiter_swap(&l, 0, 10 * s);
    assert_false(rate_limiter_try(&l, 1000 * s));
    rate_limiter_swap(&l, 1, 1000 * s); /* who waited waits on */
    assert_false(rate_limiter_try(&l, 1000 * s));
    assert_true(rate_limiter_try(&l, 1001 * s));
}

static void nobody_is_evicted_when_all_nodes_are_silent(void **state UNUSED) {
    struct cluster *k = cluster_start("node-lifecycle-controller");
    make_node(k, "n1", "");
    make_node(k, "n2", "");
    post_ready(k, "n1", "True");
    post_ready(k, "n2", "True");
    cluster_expect(k, NODE("n2"), "spec.taints", "");
    cluster_expect_event(k, "Node", "RegisteredNode", "Registered Node n2");
    cluster_advance(k, 6000);
    env_sleep_ms(env_real(), 200);
    cluster_advance(k, 55000);
    cluster_expect(k, NODE("n1"), "status.conditions[type=Ready].status", "Unknown");
    cluster_expect(k, NODE("n2"), "status.conditions[type=Ready].status", "Unknown");
    for (int i = 0; i < 4; i++) {
        cluster_advance(k, 6000);
        cluster_expect_still(k, NODE("n1"), "spec.taints[effect=NoExecute].key", "");
    }
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_given_once_and_come_back),
        cmocka_unit_test(every_node_gets_a_range_of_its_own),
        cmocka_unit_test(conditions_become_taints_and_go_with_them),
        cmocka_unit_test(a_silent_node_is_unknown_then_tainted_and_its_pods_go),
        cmocka_unit_test(a_pod_leaves_when_its_toleration_ends_unless_the_taint_goes_first),
        cmocka_unit_test(zones_slow_down_and_stop),
        cmocka_unit_test(nobody_is_evicted_when_all_nodes_are_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
