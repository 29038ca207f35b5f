/* HorizontalPodAutoscalers against a real apiserver and pretended metrics. */
#include "controller_test.h"

#define HPA "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h"
#define DEPLOYMENT "/apis/apps/v1/namespaces/default/deployments/web"
#define MINE "horizontal-pod-autoscaler-controller,deployment-controller,replicaset-controller"

static struct cluster *begin(int replicas) {
    struct cluster *k = cluster_start(MINE);
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_kubelet(k, KUBELET_RUNS);
    cluster_create(k, arena_printf(a, "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'web','namespace':'default'},'spec':{'replicas':%d,'selector':{'matchLabels':{'app':'web'}},"
        "'template':{'metadata':{'labels':{'app':'web'}},'spec':{'terminationGracePeriodSeconds':1,'containers':[{'name':'c','image':'a','resources':{'requests':{'cpu':'100m'}}}]}}}}", replicas));
    cluster_expect(k, DEPLOYMENT, "status.readyReplicas", arena_printf(a, "%d", replicas));
    cluster_advance(k, 600 * 1000); /* their CPU counts now */
    return k;
}

static void make(struct cluster *k, const char *more) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{'name':'h','namespace':'default'},'spec':{'scaleTargetRef':{'apiVersion':'apps/v1',"
        "'kind':'Deployment','name':'web'},%s}}", more));
}

#define CPU_50 "'metrics':[{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':50}}}]"

/* Every Pod uses that much. */
static void use(struct cluster *k, struct arena *a, const char *cpu) {
    struct corev1_PodList l;
    _cleanup_buf_ struct buf b = BUF_INIT;
    assert_int_equal(client_list(k->admin, a, &corev1_Pod_desc, "default", NULL, &l, NULL), 0);
    buf_append_str(&b, "{'items':[");
    LIST_FOREACH(p, &l.items)
        buf_printf(&b, "%s{'metadata':{'name':'%s'},'timestamp':'2030-01-01T00:00:00Z','window':'30s','containers':[{'name':'c','usage':{'cpu':'%s','memory':'1Mi'}}]}", p == l.items.items ? "" : ",",
                   p->metadata.name, cpu);
    buf_append_str(&b, "]}");
    k->faults.metrics = arena_strdup(k->arena, b.data);
}

static void without_metrics_it_says_so(void **state UNUSED) {
    struct cluster *k = begin(2);
    make(k, "'minReplicas':1,'maxReplicas':5," CPU_50);
    cluster_expect(k, HPA, "status.conditions[type=ScalingActive].reason", "FailedGetResourceMetric");
    cluster_expect(k, HPA, "status.conditions[type=ScalingActive].message",
                   "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: "
                   "the server could not find the requested resource (get pods.metrics.k8s.io)");
    cluster_expect(k, HPA, "status.conditions[type=AbleToScale].reason", "SucceededGetScale");
    cluster_expect(k, HPA, "status.currentReplicas", "2");
    cluster_expect_event(k, "HorizontalPodAutoscaler", "FailedComputeMetricsReplicas", "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: ");
    cluster_expect_event(k, "HorizontalPodAutoscaler", "FailedGetResourceMetric", "failed to get cpu utilization");
    cluster_patch(k, HPA, "{'spec':{'scaleTargetRef':{'name':'nobody'}}}");
    cluster_expect(k, HPA, "status.conditions[type=AbleToScale].reason", "FailedGetScale");
    cluster_expect(k, HPA, "status.conditions[type=AbleToScale].message", "the HPA controller was unable to get the target's current scale: deployments.apps \"nobody\" not found");
    cluster_stop(k);
}

static void two_on_the_same_pods_scale_neither(void **state UNUSED) {
    struct cluster *k = begin(2);
    _cleanup_arena_ struct arena *a = arena_new();
    use(k, a, "75m");
    make(k, "'minReplicas':2,'maxReplicas':2," CPU_50);
    cluster_expect(k, HPA, "status.conditions[type=ScalingActive].reason", "ValidMetricFound");
    cluster_create(k, "{'apiVersion':'autoscaling/v2','kind':'HorizontalPodAutoscaler','metadata':{'name':'g','namespace':'default'},'spec':{'scaleTargetRef':{'apiVersion':'apps/v1',"
        "'kind':'Deployment','name':'web'},'minReplicas':1,'maxReplicas':5," CPU_50 "}}");
    static const char *const both[] = {HPA, "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/g"};
    cluster_expect(k, both[1], "status.conditions[type=ScalingActive].reason", "AmbiguousSelector");
    cluster_advance(k, 20 * 1000);
    for (size_t i = 0; i < ARRAY_LEN(both); i++)
        cluster_expect(k, both[i], "status.conditions[type=ScalingActive].message", "pods by selector app=web are controlled by multiple HPAs: [{g default} {h default}]");
    cluster_expect_event(k, "HorizontalPodAutoscaler", "AmbiguousSelector", "pods by selector app=web are controlled by multiple HPAs");
    cluster_delete(k, both[1], NULL);
    cluster_advance(k, 20 * 1000);
    cluster_expect(k, HPA, "status.conditions[type=ScalingActive].reason", "ValidMetricFound");
    cluster_stop(k);
}

static void it_scales_by_use(void **state UNUSED) {
    struct cluster *k = begin(2);
    _cleanup_arena_ struct arena *a = arena_new();
    use(k, a, "75m");
    make(k, "'minReplicas':1,'maxReplicas':5," CPU_50);
    cluster_expect(k, DEPLOYMENT, "spec.replicas", "3"); /* 75 % of 2 for 50 % */
    cluster_expect(k, HPA, "status.desiredReplicas", "3");
    cluster_expect(k, HPA, "status.currentMetrics[0].resource.current.averageUtilization", "75");
    cluster_expect(k, HPA, "status.currentMetrics[0].resource.current.averageValue", "75m");
    cluster_expect(k, HPA, "status.conditions[type=ScalingActive].message", "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)");
    cluster_expect_event(k, "HorizontalPodAutoscaler", "SuccessfulRescale", "New size: 3; reason: cpu resource utilization (percentage of request) above target");
    cluster_expect(k, DEPLOYMENT, "status.readyReplicas", "3");
    use(k, a, "10m");
    cluster_advance(k, 301 * 1000);
    cluster_expect(k, HPA, "status.currentMetrics[0].resource.current.averageUtilization", "10");
    cluster_advance(k, 301 * 1000); /* down only when nothing higher was recommended for five minutes */
    cluster_expect(k, DEPLOYMENT, "spec.replicas", "1");
    cluster_expect_event(k, "HorizontalPodAutoscaler", "SuccessfulRescale", "New size: 1; reason: All metrics below target");
    cluster_patch(k, HPA, "{'spec':{'minReplicas':4}}");
    cluster_expect(k, DEPLOYMENT, "spec.replicas", "4");
    cluster_expect_event(k, "HorizontalPodAutoscaler", "SuccessfulRescale", "New size: 4; reason: Current number of replicas below Spec.MinReplicas");
    cluster_patch(k, HPA, "{'spec':{'minReplicas':1,'maxReplicas':2}}");
    cluster_expect(k, DEPLOYMENT, "spec.replicas", "2");
    cluster_stop(k);
}

static void behaviour_limits_its_pace(void **state UNUSED) {
    struct cluster *k = begin(2);
    _cleanup_arena_ struct arena *a = arena_new();
    use(k, a, "500m");
    make(k, "'minReplicas':1,'maxReplicas':50,'behavior':{'scaleUp':{'policies':[{'type':'Pods','value':1,'periodSeconds':60}]},'scaleDown':{'selectPolicy':'Disabled'}}," CPU_50);
    cluster_expect(k, DEPLOYMENT, "spec.replicas", "3");
    cluster_expect(k, HPA, "status.conditions[type=ScalingLimited].reason", "ScaleUpLimit");
    cluster_expect(k, HPA, "status.conditions[type=ScalingLimited].status", "True");
    cluster_advance(k, 20 * 1000);
    cluster_expect_still(k, DEPLOYMENT, "spec.replicas", "3");
    cluster_expect(k, DEPLOYMENT, "status.readyReplicas", "3");
    use(k, a, "1m");
    cluster_advance(k, 700 * 1000);
    cluster_expect(k, HPA, "status.conditions[type=ScalingLimited].reason", "ScaleDownLimit");
    cluster_expect_still(k, DEPLOYMENT, "spec.replicas", "3");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_metrics_it_says_so), cmocka_unit_test(two_on_the_same_pods_scale_neither), cmocka_unit_test(it_scales_by_use), cmocka_unit_test(behaviour_limits_its_pace)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
