/* ResourceClaims of Pods: from templates, reserved, given back, deleted; Pods on tainted devices. */
#include "controller_test.h"

#define CLAIMS "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
#define SLICE "/apis/resource.k8s.io/v1/resourceslices/s"
#define SPEC "'spec':{'devices':{'requests':[{'name':'r','exactly':{'deviceClassName':'any'}}]}}"

static void template_make(struct cluster *k) {
    cluster_create(k, "{'apiVersion':'resource.k8s.io/v1','kind':'ResourceClaimTemplate','metadata':{'name':'t','namespace':'default'},'spec':{'metadata':{'labels':{'a':'b'},'annotations':{'x':'y'}},"
                      SPEC "}}");
}
static void pod_make(struct cluster *k, const char *name, const char *claim) {
    char text[600];
    snprintf(text, sizeof(text), "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'%s','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i'}],'resourceClaims':[{'name':'gpu',%s}]}}",
             name, claim);
    cluster_create(k, text);
}
/* With the finalizer and a device (its name, and more of the result), as the scheduler leaves it, reserved for these. */
static void claim_make_on(struct cluster *k, const char *name, const char *device, const char *more, const char *reserved) {
    char text[1200], target[200];
    snprintf(text, sizeof(text), "{'apiVersion':'resource.k8s.io/v1','kind':'ResourceClaim','metadata':{'name':'%s','namespace':'default','finalizers':['resource.kubernetes.io/delete-protection']}," SPEC "}",
             name);
    cluster_create(k, text);
    snprintf(target, sizeof(target), CLAIMS "/%s/status", name);
    snprintf(text, sizeof(text), "{'status':{'allocation':{'devices':{'results':[{'request':'r','driver':'dra.io','pool':'p','device':'%s'%s}]}},'reservedFor':[%s]}}", device, more, reserved);
    cluster_patch(k, target, text);
}
static void claim_make(struct cluster *k, const char *name, const char *reserved) { claim_make_on(k, name, name, "", reserved); }
static const char *value(struct cluster *k, const char *target, const char *path) { return cluster_get(k, k->arena, target, path); }

static void a_claim_is_made_from_its_template(void **state UNUSED) {
    struct cluster *k = cluster_start("resourceclaim-controller");
    pod_make(k, "p", "'resourceClaimTemplateName':'t'");
    cluster_expect_event(k, "Pod", "FailedResourceClaimCreation", "PodResourceClaim gpu: resource claim template \"t\": resourceclaimtemplate.resource.k8s.io \"t\" not found");
    template_make(k);
    cluster_expect_count(k, CLAIMS, 1);
    cluster_expect(k, PODS "/p", "status.resourceClaimStatuses[0].name", "gpu");
    const char *name = value(k, PODS "/p", "status.resourceClaimStatuses[0].resourceClaimName");
    assert_int_equal(strncmp(name, "p-gpu-", 6), 0);
    assert_int_equal(strlen(name), 11);
    const char *claim = arena_printf(k->arena, CLAIMS "/%s", name);
    cluster_expect(k, claim, "metadata.labels.a", "b");
    cluster_expect(k, claim, "metadata.annotations.x", "y");
    cluster_expect(k, claim, "metadata.ownerReferences[0].name", "p");
    cluster_expect(k, claim, "metadata.ownerReferences[0].controller", "true");
    cluster_expect(k, claim, "spec.devices.requests[0].exactly.deviceClassName", "any");
    cluster_restart_controllers(k); /* without any memory: still one */
    pod_make(k, "a-name-of-a-pod-that-is-so-long-that-no-room-is-left-for-it", "'resourceClaimTemplateName':'t'");
    cluster_expect(k, PODS "/a-name-of-a-pod-that-is-so-long-that-no-room-is-left-for-it", "status.resourceClaimStatuses[0].name", "gpu");
    cluster_expect_count(k, CLAIMS, 2);
    /* One that was deleted by hand is made again. */
    cluster_delete(k, claim, NULL);
    for (int i = 0; i < CLUSTER_WAIT_MS / 20 && str_eq(value(k, PODS "/p", "status.resourceClaimStatuses[0].resourceClaimName"), name); i++) env_sleep_ms(env_real(), 20);
    assert_string_not_equal(value(k, PODS "/p", "status.resourceClaimStatuses[0].resourceClaimName"), name);
    cluster_expect_count(k, CLAIMS, 2);
    cluster_stop(k);
}

static void reservations_end_with_their_pods(void **state UNUSED) {
    struct cluster *k = cluster_start("ttl-controller"); /* any other */
    pod_make(k, "lives", "'resourceClaimName':'kept'");
    const char *uid = value(k, PODS "/lives", "metadata.uid");
    claim_make(k, "kept", arena_printf(k->arena, "{'resource':'pods','name':'lives','uid':'%s'},{'resource':'pods','name':'gone','uid':'x'},{'apiGroup':'other.io','resource':'jobs','name':'j','uid':'j'}", uid));
    claim_make(k, "freed", "{'resource':'pods','name':'gone','uid':'x'}");
    claim_make(k, "another", "{'resource':'pods','name':'lives','uid':'of-an-earlier-pod'}");
    cluster_stop_controllers(k);
    k->controllers = arena_strdup(k->arena, "resourceclaim-controller");
    cluster_start_controllers(k);
    cluster_expect(k, CLAIMS "/freed", "status.allocation", "");
    cluster_expect(k, CLAIMS "/freed", "metadata.finalizers", "");
    cluster_expect(k, CLAIMS "/another", "status.allocation", "");
    cluster_expect(k, CLAIMS "/kept", "status.reservedFor[1].name", "j");
    cluster_expect(k, CLAIMS "/kept", "status.reservedFor[0].name", "lives");
    cluster_expect(k, CLAIMS "/kept", "status.allocation.devices.results[0].device", "kept");
    /* Of a claim that is being deleted the finalizer goes when nobody uses it any more. */
    cluster_patch(k, CLAIMS "/kept/status", arena_printf(k->arena, "{'status':{'reservedFor':[{'resource':'pods','name':'lives','uid':'%s'}]}}", uid));
    cluster_delete(k, CLAIMS "/kept", NULL);
    cluster_expect(k, CLAIMS "/kept", "status.allocation.devices.results[0].device", "kept");
    cluster_delete(k, PODS "/lives", "{'gracePeriodSeconds':0}");
    cluster_expect_count(k, CLAIMS, 2);
    cluster_stop(k);
}

static void a_claim_of_a_pod_goes_when_it_has_finished(void **state UNUSED) {
    struct cluster *k = cluster_start("resourceclaim-controller");
    template_make(k);
    pod_make(k, "p", "'resourceClaimTemplateName':'t'");
    cluster_expect(k, PODS "/p", "status.resourceClaimStatuses[0].name", "gpu");
    cluster_patch(k, PODS "/p/status", "{'status':{'phase':'Succeeded'}}");
    cluster_expect_count(k, CLAIMS, 0);
    cluster_stop(k);
}

static void a_pod_that_was_bound_by_others_is_reserved_for(void **state UNUSED) {
    struct cluster *k = cluster_start("resourceclaim-controller");
    claim_make(k, "c", "");
    pod_make(k, "p", "'resourceClaimName':'c'");
    cluster_create(k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n1'}}");
    cluster_must(k, "POST", PODS "/p/binding", "application/json", "{'apiVersion':'v1','kind':'Binding','metadata':{'name':'p'},'target':{'kind':'Node','name':'n1'}}");
    cluster_expect(k, CLAIMS "/c", "status.reservedFor[0].name", "p");
    cluster_stop(k);
}

/* Refused, lost and conflicting writes: in the end one claim a Pod, and its name in the Pod's status. */
static void faults_do_not_make_two(void **state UNUSED) {
    struct cluster *k = cluster_start("resourceclaim-controller");
    template_make(k);
    k->faults.refused = k->faults.lost = k->faults.conflict = 250;
    for (int i = 0; i < 8; i++) pod_make(k, arena_printf(k->arena, "p%d", i), "'resourceClaimTemplateName':'t'");
    for (int i = 0; i < 8; i++) cluster_expect(k, arena_printf(k->arena, PODS "/p%d", i), "status.resourceClaimStatuses[0].name", "gpu");
    k->faults.refused = k->faults.lost = k->faults.conflict = 0;
    cluster_expect_count(k, CLAIMS, 8);
    cluster_stop(k);
}

/* On device d of pool p, which gets taints; tolerations: of the allocation. */
static void pod_on_device(struct cluster *k, const char *name, const char *tolerations) {
    char claim[64];
    snprintf(claim, sizeof(claim), "'resourceClaimName':'%s'", name);
    pod_make(k, name, claim);
    claim_make_on(k, name, "d", tolerations, arena_printf(k->arena, "{'resource':'pods','name':'%s','uid':'%s'}", name, value(k, arena_printf(k->arena, PODS "/%s", name), "metadata.uid")));
    cluster_must(k, "POST", arena_printf(k->arena, PODS "/%s/binding", name), "application/json",
                 arena_printf(k->arena, "{'apiVersion':'v1','kind':'Binding','metadata':{'name':'%s'},'target':{'kind':'Node','name':'n1'}}", name));
}

static void pods_leave_devices_with_taints(void **state UNUSED) {
    struct cluster *k = cluster_start("device-taint-eviction-controller");
    cluster_create(k, "{'apiVersion':'v1','kind':'Node','metadata':{'name':'n1'}}");
    cluster_create(k, "{'apiVersion':'resource.k8s.io/v1','kind':'ResourceSlice','metadata':{'name':'s'},'spec':{'driver':'dra.io','nodeName':'n1','pool':{'name':'p','generation':1,'resourceSliceCount':1},"
                      "'devices':[{'name':'d'},{'name':'e','taints':[{'key':'k','effect':'NoExecute'}]}]}}");
    pod_on_device(k, "now", "");
    pod_on_device(k, "other-effect", ",'tolerations':[{'operator':'Exists','effect':'NoSchedule'}]");
    pod_on_device(k, "forever", ",'tolerations':[{'key':'k','operator':'Exists','effect':'NoExecute'}]");
    pod_on_device(k, "later", ",'tolerations':[{'key':'k','operator':'Exists','effect':'NoExecute','tolerationSeconds':600},{'operator':'Exists','effect':'NoExecute','tolerationSeconds':3000}]");
    cluster_expect_still(k, PODS, "#items", "4"); /* e's taint is nobody's */
    cluster_patch(k, SLICE, "{'spec':{'devices':[{'name':'d','taints':[{'key':'k','value':'v','effect':'NoExecute'}]}]}}");
    cluster_expect(k, PODS "/now", "status.conditions[type=DisruptionTarget].message", "Device Taint manager: deleting due to NoExecute taint");
    cluster_expect(k, PODS "/now", "status.conditions[type=DisruptionTarget].reason", "DeletionByDeviceTaintManager");
    cluster_expect_event(k, "Pod", "DeviceTaintManagerEviction", "Marking for deletion");
    for (int i = 0; i < CLUSTER_WAIT_MS / 20 && !*value(k, PODS "/other-effect", "metadata.deletionTimestamp"); i++) env_sleep_ms(env_real(), 20);
    assert_true(*value(k, PODS "/now", "metadata.deletionTimestamp") && *value(k, PODS "/other-effect", "metadata.deletionTimestamp"));
    assert_string_equal(value(k, PODS "/later", "metadata.deletionTimestamp"), "");
    /* The taint goes in time. Nothing shows that a Pod waits, so the taint comes and goes until it was seen. */
    for (int i = 0; i < 200 && !*value(k, "/api/v1/namespaces/default/events", "items[message=Cancelling deletion].reason"); i++) {
        cluster_patch(k, SLICE, "{'spec':{'devices':[{'name':'d'}]}}");
        env_sleep_ms(env_real(), 10 + 2 * i);
        cluster_patch(k, SLICE, "{'spec':{'devices':[{'name':'d','taints':[{'key':'k','effect':'NoExecute'}]}]}}");
        env_sleep_ms(env_real(), 10 + 2 * i);
    }
    assert_string_equal(value(k, "/api/v1/namespaces/default/events", "items[message=Cancelling deletion].involvedObject.name"), "later");
    cluster_expect_still(k, PODS "/later", "metadata.deletionTimestamp", "");
    cluster_advance(k, 601 * 1000);
    for (int i = 0; i < CLUSTER_WAIT_MS / 20 && !*value(k, PODS "/later", "metadata.deletionTimestamp"); i++) env_sleep_ms(env_real(), 20);
    assert_true(*value(k, PODS "/later", "metadata.deletionTimestamp"));
    assert_string_equal(value(k, PODS "/forever", "metadata.deletionTimestamp"), "");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_is_made_from_its_template), cmocka_unit_test(reservations_end_with_their_pods), cmocka_unit_test(a_claim_of_a_pod_goes_when_it_has_finished),
        cmocka_unit_test(a_pod_that_was_bound_by_others_is_reserved_for), cmocka_unit_test(faults_do_not_make_two),
        cmocka_unit_test(pods_leave_devices_with_taints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
