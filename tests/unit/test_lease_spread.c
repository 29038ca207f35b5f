/* Where Leases are best held: the decision in tables, and the coordinator with its candidates on one apiserver whose clock the test moves. */
#include "controller_test.h"
#include "client/lease_candidate.h"
#include "client/lease_spread.h"

/* ---- the decision ---- */

static struct spread_place everywhere[] = {{"a", "a_1"}, {"b", "b_1"}, {"c", "c_1"}};

static struct spread_role role(const char *name, int weight, const char *node, bool movable) {
    return (struct spread_role){.name = name, .weight = weight, .node = node, .movable = movable, .places = everywhere, .places_len = ARRAY_LEN(everywhere)};
}

/* Moves until none helps; how many that were. */
static int settle(struct spread_role *roles, size_t len) {
    size_t r, p;
    int moves = 0;
    for (; spread_best_move(roles, len, &r, &p); moves++) {
        assert_true(moves < 100);
        roles[r].node = roles[r].places[p].node;
    }
    return moves;
}

static void all_on_one_server_are_spread_in_two_moves(void **state UNUSED) {
    static const char *const nodes[] = {"a", "b", "c"};
    for (int i = 0; i < 27; i++) { /* whoever holds what at first */
        struct spread_role roles[] = {role("controllers", 16, nodes[i % 3], true), role("scheduler", 16, nodes[i / 3 % 3], true), role("database", 16, nodes[i / 9], false)};
        const char *database = roles[2].node;
        int distinct = 0;
        for (int n = 0; n < 3; n++) distinct += str_eq(roles[0].node, nodes[n]) || str_eq(roles[1].node, nodes[n]) || str_eq(roles[2].node, nodes[n]);
        assert_int_equal(settle(roles, 3), 3 - distinct);
        assert_false(str_eq(roles[0].node, roles[1].node) || str_eq(roles[1].node, roles[2].node) || str_eq(roles[0].node, roles[2].node));
        assert_ptr_equal(roles[2].node, database);
    }
}

static void two_servers_and_one_do_not_flap(void **state UNUSED) {
    struct spread_role roles[] = {role("controllers", 16, "a", true), role("scheduler", 16, "b", true), role("database", 16, "a", false)};
    roles[0].places_len = roles[1].places_len = 2; /* c is not there */
    assert_int_equal(settle(roles, 3), 0);
    roles[1].node = "a";
    assert_int_equal(settle(roles, 3), 1);
    roles[0].places_len = roles[1].places_len = 1;
    roles[0].node = roles[1].node = "a";
    assert_int_equal(settle(roles, 3), 0);
}

static void other_components_do_not_stand_in_the_way_of_the_three(void **state UNUSED) {
    struct spread_role roles[] = {role("controllers", 16, "a", true), role("scheduler", 16, "b", true), role("x", 1, "c", true), role("y", 1, "c", true), role("z", 1, "c", true), role("database", 16, "a", false)};
    settle(roles, 6);
    assert_string_equal(roles[0].node, "c");
    assert_false(str_eq(roles[2].node, roles[3].node) || str_eq(roles[3].node, roles[4].node) || str_eq(roles[2].node, roles[4].node));
    size_t p;
    roles[2].node = NULL; /* nobody holds it: it goes where there is least */
    assert_true(spread_best_place(roles, 6, 2, &p));
    assert_false(str_eq(everywhere[p].node, roles[3].node) || str_eq(everywhere[p].node, roles[4].node));
}

/* ---- the coordinator ---- */

#define LEASES "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/"
#define CANDIDATES "/apis/coordination.k8s.io/v1beta1/namespaces/kube-system/leasecandidates/"

static bool database_on_a(void *ctx UNUSED, char *ret, size_t size) {
    snprintf(ret, size, "member-a");
    return true;
}

/* Waits, the clock going on, until a value is as wanted. */
static void wait_value(struct cluster *k, const char *target, const char *path, const char *want) {
    for (int i = 0; i < 2000; i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        if (str_eq(cluster_get(k, a, target, path), want)) return;
        cluster_advance(k, 50);
        env_sleep_ms(env_real(), 10);
    }
    cluster_show(k, target);
    fail_msg("%s of %s does not become %s", path, target, want);
}

static void the_coordinator_names_who_should_hold_a_lease(void **state UNUSED) {
    static const char *const masters[] = {"system:masters", NULL};
    cluster_runtime_config = "coordination.k8s.io/v1beta1=true";
    struct cluster *k = cluster_start(NULL);
    struct client *clients[4];
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) clients[i] = client_new(local_transport_new(k->apiserver, "admin", masters, "test"));
    struct lease_fence *fence = lease_fence_new(&k->env);
    struct client *acting = client_new(lease_fence_transport_over(fence, client_transport(clients[0])));
    struct lease_candidate *a = lease_candidate_start(clients[1], &k->env, &(struct lease_candidate_config){.lease = "kube-scheduler", .identity = "a_1", .node = "a", .member = "member-a"});
    cluster_expect(k, CANDIDATES "a_1", "spec.leaseName", "kube-scheduler");
    cluster_create(k, "{'apiVersion':'coordination.k8s.io/v1','kind':'Lease','metadata':{'name':'kube-scheduler','namespace':'kube-system'},'spec':{'holderIdentity':'a_1','leaseDurationSeconds':3600,'leaseTransitions':0}}");
    struct lease_spread *s = lease_spread_start(clients[0], acting, fence, &k->env, &(struct lease_spread_config){.identity = "coordinator_1", .database_leader = database_on_a});
    /* Another server comes, and one that is only a name: the Lease is to leave the database's leader, for the one that answers. */
    cluster_create(k, "{'apiVersion':'coordination.k8s.io/v1beta1','kind':'LeaseCandidate','metadata':{'name':'B_silent','namespace':'kube-system'},'spec':{'leaseName':'kube-scheduler','binaryVersion':'1.36.2',"
                      "'emulationVersion':'1.36.2','strategy':'ckube.local/spread','renewTime':'2099-01-01T00:00:00.000000Z'}}");
    struct lease_candidate *c = lease_candidate_start(clients[2], &k->env, &(struct lease_candidate_config){.lease = "kube-scheduler", .identity = "c_1", .node = "c"});
    wait_value(k, LEASES "kube-scheduler", "spec.preferredHolder", "c_1");
    cluster_expect(k, LEASES "kube-scheduler", "spec.holderIdentity", "a_1");
    /* A holder that does not leave is left alone in the end. */
    wait_value(k, LEASES "kube-scheduler", "spec.preferredHolder", "");
    /* Upstream's strategy: of candidates that wait to be told, the oldest emulated version. */
    cluster_create(k, "{'apiVersion':'coordination.k8s.io/v1beta1','kind':'LeaseCandidate','metadata':{'name':'new','namespace':'kube-system'},'spec':{'leaseName':'theirs','binaryVersion':'1.36.0','emulationVersion':'1.36.0',"
                      "'strategy':'OldestEmulationVersion','renewTime':'2099-01-01T00:00:00.000000Z'}}");
    cluster_create(k, "{'apiVersion':'coordination.k8s.io/v1beta1','kind':'LeaseCandidate','metadata':{'name':'old','namespace':'kube-system'},'spec':{'leaseName':'theirs','binaryVersion':'1.36.0','emulationVersion':'1.35.0',"
                      "'strategy':'OldestEmulationVersion','renewTime':'2099-01-01T00:00:00.000000Z'}}");
    _cleanup_arena_ struct arena *arena = arena_new();
    while (str_empty(cluster_get(k, arena, CANDIDATES "old", "spec.pingTime"))) {
        cluster_advance(k, 50);
        env_sleep_ms(env_real(), 10);
    }
    cluster_patch(k, CANDIDATES "old", "{'spec':{'renewTime':'2099-01-02T00:00:00.000000Z'}}"); /* it answers */
    wait_value(k, LEASES "theirs", "spec.holderIdentity", "old");
    cluster_expect(k, LEASES "theirs", "spec.strategy", "OldestEmulationVersion");
    cluster_expect(k, LEASES "theirs", "spec.leaseDurationSeconds", "5");
    lease_candidate_stop(a);
    lease_candidate_stop(c);
    lease_spread_stop(s);
    cluster_stop(k);
    client_free(acting);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) client_free(clients[i]);
    lease_fence_free(fence);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_on_one_server_are_spread_in_two_moves),
        cmocka_unit_test(two_servers_and_one_do_not_flap),
        cmocka_unit_test(other_components_do_not_stand_in_the_way_of_the_three),
        cmocka_unit_test(the_coordinator_names_who_should_hold_a_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
