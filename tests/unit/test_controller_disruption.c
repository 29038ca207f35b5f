/* PodDisruptionBudgets against a real apiserver. */
#include "controller_test.h"

#define BUDGET "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b"
#define MINE "disruption-controller,deployment-controller,replicaset-controller"

static void budgets_count(void **state UNUSED) {
    static const struct { const char *spec, *expected, *desired, *allowed, *reason; } cases[] = {
        {"'maxUnavailable':1", "4", "3", "1", "SufficientPods"}, {"'maxUnavailable':'50%'", "4", "2", "2", "SufficientPods"}, {"'minAvailable':4", "4", "4", "0", "InsufficientPods"},
        {"'minAvailable':'30%'", "4", "2", "2", "SufficientPods"}, {"'maxUnavailable':0", "4", "4", "0", "InsufficientPods"},
    };
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_create(k, "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'default'},'spec':{'replicas':4,'selector':{'matchLabels':{'app':'web'}},"
                      "'template':{'metadata':{'labels':{'app':'web'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a'}]}}}}");
    cluster_expect(k, "/apis/apps/v1/namespaces/default/deployments/web", "status.readyReplicas", "4");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_arena_ struct arena *a = arena_new();
        cluster_create(k, arena_printf(a, "{'apiVersion':'policy/v1','kind':'PodDisruptionBudget','metadata':{'name':'b','namespace':'default'},'spec':{'selector':{'matchLabels':{'app':'web'}},%s}}",
                                       cases[i].spec));
        cluster_expect(k, BUDGET, "status.conditions[type=DisruptionAllowed].reason", cases[i].reason);
        cluster_expect(k, BUDGET, "status.expectedPods", cases[i].expected);
        cluster_expect(k, BUDGET, "status.desiredHealthy", cases[i].desired);
        cluster_expect(k, BUDGET, "status.currentHealthy", "4");
        cluster_expect(k, BUDGET, "status.disruptionsAllowed", cases[i].allowed);
        cluster_expect(k, BUDGET, "status.observedGeneration", "1");
        cluster_delete(k, BUDGET, NULL);
        cluster_expect_gone(k, BUDGET);
    }
    cluster_stop(k);
}

static void unknown_owners_forbid_all(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default','labels':{'app':'web'},'ownerReferences':[{'apiVersion':'apps/v1','kind':'ReplicaSet','name':'gone','uid':'1',"
                      "'controller':true}]},'spec':{'containers':[{'name':'c','image':'a'}]}}");
    cluster_create(k, "{'apiVersion':'policy/v1','kind':'PodDisruptionBudget','metadata':{'name':'b','namespace':'default'},'spec':{'selector':{'matchLabels':{'app':'web'}},'maxUnavailable':1}}");
    cluster_expect(k, BUDGET, "status.conditions[type=DisruptionAllowed].reason", "SyncFailed");
    cluster_expect(k, BUDGET, "status.conditions[type=DisruptionAllowed].message", "found no controllers for pod \"p\"");
    cluster_patch(k, PODS "/p", "{'metadata':{'ownerReferences':null}}");
    cluster_expect_event(k, "PodDisruptionBudget", "UnmanagedPods", "(selector: &LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]LabelSelectorRequirement{},})");
    cluster_patch(k, BUDGET, "{'spec':{'selector':{'matchLabels':{'app':'none'}}}}");
    cluster_expect_event(k, "PodDisruptionBudget", "NoPods", "No matching pods found");
    cluster_stop(k);
}

static void disrupted_ones_are_waited_for(void **state UNUSED) {
    struct cluster *k = cluster_start(MINE);
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default','labels':{'app':'web'}},'spec':{'containers':[{'name':'c','image':'a'}]}}");
    cluster_create(k, "{'apiVersion':'policy/v1','kind':'PodDisruptionBudget','metadata':{'name':'b','namespace':'default'},'spec':{'selector':{'matchLabels':{'app':'web'}},'minAvailable':0}}");
    cluster_expect(k, BUDGET, "status.disruptionsAllowed", "1");
    const char *now = cluster_get(k, a, PODS "/p", "status.startTime");
    cluster_patch(k, BUDGET "/status", arena_printf(a, "{'status':{'disruptedPods':{'p':'%s'}}}", now)); /* as an eviction does */
    cluster_expect(k, BUDGET, "status.currentHealthy", "0");
    cluster_advance(k, 125 * 1000);
    cluster_expect(k, BUDGET, "status.currentHealthy", "1");
    cluster_expect(k, BUDGET, "#status.disruptedPods", "0");
    cluster_patch(k, PODS "/p/status", arena_printf(a, "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'DisruptionTarget','status':'True','reason':'EvictionByEvictionAPI',"
        "'lastTransitionTime':'%s'}]}}", now));
    cluster_expect(k, PODS "/p", "status.conditions[type=DisruptionTarget].status", "False");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(budgets_count), cmocka_unit_test(unknown_owners_forbid_all), cmocka_unit_test(disrupted_ones_are_waited_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
