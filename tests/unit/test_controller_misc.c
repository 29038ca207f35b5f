/* Controllers that are a page each: pod collector, TTLs, aggregated roles. */
#include "controller_test.h"
#include "api/time.h"

static void pods_nobody_ends_are_collected(void **state UNUSED) {
    struct cluster *k = cluster_start("pod-garbage-collector-controller");
    k->options.terminated_pod_gc_threshold = 2;
    cluster_create(k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n1'}}");
    static const char *const phases[] = {"Running", "Succeeded", "Failed", "Succeeded"};
    _cleanup_arena_ struct arena *a = arena_new();
    for (int i = 0; i < 4; i++) {
        cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p%d','namespace':'default'},'spec':{'nodeName':'%s','containers':[{'name':'c','image':'i'}]}}", i, i ? "n1" : "gone"));
        cluster_patch(k, arena_printf(a, PODS "/p%d/status", i), arena_printf(a, "{'status':{'phase':'%s'}}", phases[i]));
    }
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'out','namespace':'default','finalizers':['example.com/f']},'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i'}]}}");
    cluster_advance(k, 21000);
    cluster_expect_gone(k, PODS "/p1"); /* the oldest, or the first by name */
    cluster_expect(k, PODS "/p2", "metadata.name", "p2");
    cluster_expect_still(k, PODS "/p0", "status.phase", "Running");
    cluster_patch(k, "/api/v1/nodes/n1", "{'spec':{'taints':[{'key':'node.kubernetes.io/out-of-service','effect':'NoExecute'}]}}");
    cluster_delete(k, PODS "/out", NULL);
    for (int i = 0; i < 4; i++) {
        env_sleep_ms(env_real(), 100);
        cluster_advance(k, 21000);
    }
    cluster_expect_gone(k, PODS "/p0");
    cluster_expect(k, PODS "/out", "status.phase", "Failed");
    cluster_expect(k, PODS "/out", "metadata.deletionGracePeriodSeconds", "0");
    cluster_stop(k);
}

static void a_finished_job_goes_when_its_time_is_over(void **state UNUSED) {
    struct cluster *k = cluster_start("ttl-after-finished-controller");
#define JOB "/apis/batch/v1/namespaces/default/jobs/j"
    cluster_create(k, "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'j','namespace':'default'},'spec':{'ttlSecondsAfterFinished':100,"
        "'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'i'}]}}}}");
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf now = BUF_INIT;
    struct api_time t = {.set = true, .sec = env_now_s(&k->env)};
    time_format(&t, &now);
    cluster_patch(k, JOB "/status", arena_printf(a, "{'status':{'startTime':'%s','completionTime':'%s','conditions':[{'type':'SuccessCriteriaMet','status':'True','lastTransitionTime':'%s'},"
        "{'type':'Complete','status':'True','lastTransitionTime':'%s'}],'succeeded':1,'uncountedTerminatedPods':{}}}", buf_cstr(&now), buf_cstr(&now), buf_cstr(&now), buf_cstr(&now)));
    cluster_advance(k, 90000);
    cluster_expect_still(k, JOB, "metadata.deletionTimestamp", "");
    cluster_advance(k, 12000);
    cluster_expect(k, JOB, "metadata.finalizers", "[\"foregroundDeletion\"]"); /* the garbage collector does the rest */
    cluster_stop(k);
}

static void aggregated_roles_follow_their_parts(void **state UNUSED) {
    struct cluster *k = cluster_start("clusterrole-aggregation-controller");
#define ROLE(n) "/apis/rbac.authorization.k8s.io/v1/clusterroles/" n
    cluster_create(k, "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'ClusterRole','metadata':{'name':'all'},'aggregationRule':{'clusterRoleSelectors':[{'matchLabels':{'to':'all'}}]},'rules':[]}");
    cluster_create(k, "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'ClusterRole','metadata':{'name':'b','labels':{'to':'all'}},'rules':[{'apiGroups':[''],'resources':['pods'],'verbs':['get']}]}");
    cluster_expect(k, ROLE("all"), "rules[0].resources", "[\"pods\"]");
    cluster_create(k, "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'ClusterRole','metadata':{'name':'a','labels':{'to':'all'}},'rules':[{'apiGroups':[''],'resources':['nodes'],'verbs':['get']},"
        "{'apiGroups':[''],'resources':['pods'],'verbs':['get']}]}");
    cluster_expect(k, ROLE("all"), "rules[0].resources", "[\"nodes\"]");
    cluster_expect(k, ROLE("all"), "rules[1].resources", "[\"pods\"]");
    cluster_expect(k, ROLE("all"), "rules[2].resources", "");
    cluster_delete(k, ROLE("a"), NULL);
    cluster_expect(k, ROLE("all"), "rules[1].resources", "");
    cluster_expect(k, ROLE("view"), "aggregationRule.clusterRoleSelectors[0].matchLabels.rbac|authorization|k8s|io/aggregate-to-view", "true");
    cluster_expect(k, ROLE("view"), "rules[0].verbs[0]", "get");
    cluster_stop(k);
}

static void nodes_are_told_how_long_to_cache(void **state UNUSED) {
    struct cluster *k = cluster_start("ttl-controller");
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n'}}");
    cluster_expect(k, "/api/v1/nodes/n", "metadata.annotations.node|alpha|kubernetes|io/ttl", "0");
    for (int i = 0; i < 101; i++) cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n%d'}}", i));
    cluster_expect(k, "/api/v1/nodes/n100", "metadata.annotations.node|alpha|kubernetes|io/ttl", "15");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pods_nobody_ends_are_collected),
        cmocka_unit_test(a_finished_job_goes_when_its_time_is_over),
        cmocka_unit_test(aggregated_roles_follow_their_parts),
        cmocka_unit_test(nodes_are_told_how_long_to_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
