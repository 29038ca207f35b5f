/* Quotas are counted again when something goes. */
#include "controller_test.h"

#define QUOTA "/api/v1/namespaces/default/resourcequotas/q"

static void usage_is_counted_and_given_back(void **state UNUSED) {
    struct cluster *k = cluster_start("resourcequota-controller");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i','resources':{'requests':{'cpu':'100m','memory':'64Mi'},'limits':{'cpu':'1'}}}]}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'r','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i','resources':{'requests':{'cpu':'150m'}}}]}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','namespace':'default'}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'Service','metadata':{'name':'s','namespace':'default'},'spec':{'type':'NodePort','ports':[{'port':80}]}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'ResourceQuota','metadata':{'name':'q','namespace':'default'},'spec':{'hard':{'pods':'5','requests.cpu':'1','requests.memory':'1Gi','limits.cpu':'2',"
        "'configmaps':'5','services.nodeports':'3','count/replicasets.apps':'2','requests.nvidia.com/gpu':'1','persistentvolumeclaims':'1'}}}");
    cluster_expect(k, QUOTA, "status.hard.pods", "5");
    cluster_expect(k, QUOTA, "status.used", "{\"configmaps\":\"1\",\"count/replicasets.apps\":\"0\",\"limits.cpu\":\"1\",\"persistentvolumeclaims\":\"0\",\"pods\":\"2\",\"requests.cpu\":\"250m\","
        "\"requests.memory\":\"64Mi\",\"requests.nvidia.com/gpu\":\"0\",\"services.nodeports\":\"1\"}");
    cluster_delete(k, PODS "/r", "{'gracePeriodSeconds':0}");
    cluster_expect(k, QUOTA, "status.used.requests|cpu", "100m");
    cluster_patch(k, PODS "/p/status", "{'status':{'phase':'Succeeded'}}");
    cluster_expect(k, QUOTA, "status.used.pods", "0");
    cluster_patch(k, QUOTA, "{'spec':{'hard':{'pods':'7'}}}");
    cluster_expect(k, QUOTA, "status.hard.pods", "7");
    cluster_stop(k);
}

static void scopes_choose_what_counts(void **state UNUSED) {
    struct cluster *k = cluster_start("resourcequota-controller");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i','resources':{'requests':{'cpu':'100m'}}}]}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'r','namespace':'default'},'spec':{'activeDeadlineSeconds':10,'containers':[{'name':'c','image':'i'}]}}");
    static const struct { const char *scope, *used; } cases[] = {{"BestEffort", "1"}, {"Terminating", "1"}};
    _cleanup_arena_ struct arena *a = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'ResourceQuota','metadata':{'name':'q','namespace':'default'},'spec':{'hard':{'pods':'5'},'scopes':['%s']}}", cases[i].scope));
        cluster_expect(k, QUOTA, "status.used.pods", cases[i].used);
        cluster_delete(k, QUOTA, NULL);
    }
    cluster_stop(k);
}

/* Of alternatives the worst for each class counts, of "All" the most that an allocation can hold. */
static void devices_count_by_their_class(void **state UNUSED) {
    struct cluster *k = cluster_start("resourcequota-controller");
    cluster_create(k, "{'apiVersion':'resource.k8s.io/v1','kind':'ResourceClaim','metadata':{'name':'c','namespace':'default'},'spec':{'devices':{'requests':["
        "{'name':'two','exactly':{'deviceClassName':'gpu','count':2}},{'name':'all','exactly':{'deviceClassName':'net','allocationMode':'All'}},"
        "{'name':'either','firstAvailable':[{'name':'a','deviceClassName':'gpu','count':3},{'name':'b','deviceClassName':'gpu','count':1},{'name':'d','deviceClassName':'net','count':4}]}]}}}");
    cluster_create(k, "{'apiVersion':'v1','kind':'ResourceQuota','metadata':{'name':'q','namespace':'default'},'spec':{'hard':{'gpu.deviceclass.resource.k8s.io/devices':'9',"
        "'net.deviceclass.resource.k8s.io/devices':'99','fpga.deviceclass.resource.k8s.io/devices':'1','count/resourceclaims.resource.k8s.io':'4'}}}");
    cluster_expect(k, QUOTA, "status.used", "{\"count/resourceclaims.resource.k8s.io\":\"1\",\"fpga.deviceclass.resource.k8s.io/devices\":\"0\",\"gpu.deviceclass.resource.k8s.io/devices\":\"5\","
        "\"net.deviceclass.resource.k8s.io/devices\":\"36\"}");
    cluster_delete(k, "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/c", NULL);
    cluster_expect(k, QUOTA, "status.used", "{\"count/resourceclaims.resource.k8s.io\":\"0\",\"fpga.deviceclass.resource.k8s.io/devices\":\"0\",\"gpu.deviceclass.resource.k8s.io/devices\":\"0\","
        "\"net.deviceclass.resource.k8s.io/devices\":\"0\"}");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_is_counted_and_given_back),
        cmocka_unit_test(scopes_choose_what_counts),
        cmocka_unit_test(devices_count_by_their_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
