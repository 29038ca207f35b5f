/* EndpointSlices and Endpoints follow Services and Pods. */
#include "controller_test.h"

#define SERVICES "/api/v1/namespaces/default/services"
#define ENDPOINTS "/api/v1/namespaces/default/endpoints"
#define SLICES "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
#define OF(svc) SLICES "?labelSelector=kubernetes.io/service-name=" svc
#define ALL "endpointslice-controller,endpoints-controller,endpointslice-mirroring-controller"

static struct cluster *start(void) {
    struct cluster *k = cluster_start(ALL);
    cluster_create(k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n1','labels':{'topology.kubernetes.io/zone':'a'}}}");
    return k;
}

static void make_pod(struct cluster *k, const char *name, const char *ports) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default','labels':{'app':'web'}},"
        "'spec':{'nodeName':'n1','containers':[{'name':'c','image':'i','ports':[%s]}]}}", name, ports));
}

static void run_pod(struct cluster *k, const char *name, const char *ip, bool ready) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_patch(k, arena_printf(a, PODS "/%s/status", name), arena_printf(a, "{'status':{'phase':'Running','podIP':'%s','podIPs':[{'ip':'%s'}],"
        "'conditions':[{'type':'Ready','status':'%s','lastTransitionTime':'2026-01-02T03:04:05Z'}]}}", ip, ip, ready ? "True" : "False"));
}

static void make_service(struct cluster *k, const char *name, const char *spec) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Service','metadata':{'name':'%s','namespace':'default','labels':{'l':'1'}},'spec':{%s}}", name, spec));
}

static void a_service_has_an_empty_slice_until_pods_come(void **state UNUSED) {
    struct cluster *k = start();
    make_service(k, "web", "'selector':{'app':'web'},'ports':[{'name':'http','port':80,'targetPort':8080,'appProtocol':'http'}]");
    cluster_expect_count(k, OF("web"), 1);
    cluster_expect(k, OF("web"), "items[0].metadata.labels", "{\"endpointslice.kubernetes.io/managed-by\":\"endpointslice-controller.k8s.io\",\"kubernetes.io/service-name\":\"web\",\"l\":\"1\"}");
    cluster_expect(k, OF("web"), "items[0].metadata.generateName", "web-");
    cluster_expect(k, OF("web"), "items[0].addressType", "IPv4");
    cluster_expect(k, OF("web"), "items[0].metadata.ownerReferences[0].kind", "Service");
    cluster_expect(k, OF("web"), "items[0].endpoints", "");
    make_pod(k, "p", "");
    run_pod(k, "p", "10.0.0.1", true);
    cluster_expect(k, OF("web"), "items[0].endpoints[0].addresses", "[\"10.0.0.1\"]");
    cluster_expect(k, OF("web"), "items[0].endpoints[0].conditions", "{\"ready\":true,\"serving\":true,\"terminating\":false}");
    cluster_expect(k, OF("web"), "items[0].endpoints[0].nodeName", "n1");
    cluster_expect(k, OF("web"), "items[0].endpoints[0].zone", "a");
    cluster_expect(k, OF("web"), "items[0].endpoints[0].targetRef.name", "p");
    cluster_expect(k, OF("web"), "items[0].ports[0]", "{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080,\"appProtocol\":\"http\"}");
    cluster_expect(k, OF("web"), "items[0].metadata.annotations.endpoints|kubernetes|io/last-change-trigger-time", "2026-01-02T03:04:05Z");
    cluster_expect_count(k, OF("web"), 1);
    run_pod(k, "p", "10.0.0.1", false);
    cluster_expect(k, OF("web"), "items[0].endpoints[0].conditions", "{\"ready\":false,\"serving\":false,\"terminating\":false}");
    cluster_patch(k, PODS "/p", "{'metadata':{'labels':{'app':'other'}}}");
    cluster_expect(k, OF("web"), "items[0].endpoints", "");
    cluster_patch(k, SERVICES "/web", "{'metadata':{'labels':{'l':'2'}}}");
    cluster_expect(k, OF("web"), "items[0].metadata.labels.l", "2");
    cluster_stop(k);
}

static void pods_of_different_named_ports_have_slices_of_their_own(void **state UNUSED) {
    struct cluster *k = start();
    make_service(k, "web", "'clusterIP':'None','publishNotReadyAddresses':true,'selector':{'app':'web'},'ports':[{'port':80,'targetPort':'http'}]");
    make_pod(k, "p", "{'name':'http','containerPort':8080}");
    make_pod(k, "q", "{'name':'http','containerPort':9090}");
    run_pod(k, "p", "10.0.0.1", false);
    run_pod(k, "q", "10.0.0.2", true);
    cluster_expect_count(k, OF("web"), 2);
    cluster_expect(k, OF("web"), "items[0].metadata.labels.service|kubernetes|io/headless", "");
    cluster_expect(k, OF("web"), "items[0].endpoints[0].conditions.ready", "true");
    cluster_expect(k, ENDPOINTS "/web", "subsets[0].ports[0].port", "8080");
    cluster_expect(k, ENDPOINTS "/web", "subsets[1].ports[0].port", "9090");
    cluster_expect(k, ENDPOINTS "/web", "subsets[0].addresses[0].ip", "10.0.0.1");
    cluster_delete(k, PODS "/q", "{'gracePeriodSeconds':0}");
    cluster_expect_count(k, OF("web"), 1);
    cluster_stop(k);
}

static void endpoints_tell_ready_from_not_ready_and_go_with_the_service(void **state UNUSED) {
    struct cluster *k = start();
    make_service(k, "web", "'selector':{'app':'web'},'ports':[{'port':80}]");
    cluster_expect(k, ENDPOINTS "/web", "metadata.labels", "{\"endpoints.kubernetes.io/managed-by\":\"endpoint-controller\",\"l\":\"1\"}");
    make_pod(k, "p", "");
    make_pod(k, "q", "");
    run_pod(k, "p", "10.0.0.9", true);
    run_pod(k, "q", "10.0.0.10", true);
    cluster_expect(k, ENDPOINTS "/web", "subsets[0].addresses[0].ip", "10.0.0.9");
    cluster_expect(k, ENDPOINTS "/web", "subsets[0].addresses[1].ip", "10.0.0.10");
    run_pod(k, "p", "10.0.0.9", false);
    cluster_expect(k, ENDPOINTS "/web", "subsets[0].notReadyAddresses[0].ip", "10.0.0.9");
    cluster_expect(k, ENDPOINTS "/web", "subsets[0].addresses[0].targetRef.name", "q");
    cluster_delete(k, SERVICES "/web", NULL);
    cluster_expect_gone(k, ENDPOINTS "/web");
    cluster_stop(k);
}

static void endpoints_kept_by_hand_are_mirrored(void **state UNUSED) {
    struct cluster *k = start();
    make_service(k, "ext", "'ports':[{'port':80}]");
    cluster_create(k, "{'apiVersion':'v1','kind':'Endpoints','metadata':{'name':'ext','namespace':'default','labels':{'x':'y'}},"
        "'subsets':[{'addresses':[{'ip':'192.0.2.1'},{'ip':'fd00::1'}],'notReadyAddresses':[{'ip':'192.0.2.2'}],'ports':[{'port':80,'protocol':'TCP'}]}]}");
    cluster_expect_count(k, OF("ext"), 2);
    cluster_expect(k, OF("ext"), "items[addressType=IPv4].endpoints", "[{\"addresses\":[\"192.0.2.1\"],\"conditions\":{\"ready\":true}},{\"addresses\":[\"192.0.2.2\"],\"conditions\":{\"ready\":false}}]");
    cluster_expect(k, OF("ext"), "items[addressType=IPv6].metadata.labels",
        "{\"endpointslice.kubernetes.io/managed-by\":\"endpointslicemirroring-controller.k8s.io\",\"kubernetes.io/service-name\":\"ext\",\"x\":\"y\"}");
    cluster_expect(k, OF("ext"), "items[addressType=IPv6].metadata.ownerReferences[0].kind", "Endpoints");
    cluster_patch(k, ENDPOINTS "/ext", "{'metadata':{'labels':{'endpointslice.kubernetes.io/skip-mirror':'true'}}}");
    cluster_expect_count(k, OF("ext"), 0);
    cluster_stop(k);
}

static void slices_hold_a_hundred_and_traffic_distribution_gives_hints(void **state UNUSED) {
    struct cluster *k = start();
    _cleanup_arena_ struct arena *a = arena_new();
    for (int i = 0; i < 103; i++) {
        make_pod(k, arena_printf(a, "p%d", i), "");
        run_pod(k, arena_printf(a, "p%d", i), arena_printf(a, "10.0.1.%d", i + 1), true);
    }
    make_service(k, "web", "'selector':{'app':'web'},'ports':[{'port':80}],'trafficDistribution':'PreferSameNode'");
    cluster_expect_count(k, OF("web"), 2);
    cluster_expect(k, OF("web"), "items[0].endpoints[0].hints", "{\"forZones\":[{\"name\":\"a\"}],\"forNodes\":[{\"name\":\"n1\"}]}");
    cluster_patch(k, SERVICES "/web", "{'spec':{'trafficDistribution':'PreferClose'}}");
    cluster_expect(k, OF("web"), "items[1].endpoints[0].hints", "{\"forZones\":[{\"name\":\"a\"}]}");
    cluster_patch(k, SERVICES "/web", "{'spec':{'trafficDistribution':null}}");
    cluster_expect(k, OF("web"), "items[1].endpoints[0].hints", "");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_has_an_empty_slice_until_pods_come),
        cmocka_unit_test(pods_of_different_named_ports_have_slices_of_their_own),
        cmocka_unit_test(endpoints_tell_ready_from_not_ready_and_go_with_the_service),
        cmocka_unit_test(endpoints_kept_by_hand_are_mirrored),
        cmocka_unit_test(slices_hold_a_hundred_and_traffic_distribution_gives_hints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
