/* KubeSchedulerConfiguration: what is refused and with which words, what comes out; scoring strategies and added affinity as configured; extenders. */
#include "scheduler_testing.h"
#include "scheduler/config.h"

#define HEAD "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"

static struct scheduler_configuration load(const char *yaml) {
    _cleanup_status_ struct status st = STATUS_INIT;
    struct scheduler_configuration c;
    if (scheduler_configuration_load(arena, yaml, strlen(yaml), &c, &st)) fail_msg("%s", status_message(&st));
    return c;
}

#define PROFILE(more) HEAD "profiles:\n- schedulerName: x\n" more
#define ARGS(name, args) PROFILE("  pluginConfig:\n  - name: " name "\n    args: " args "\n")

static void what_is_wrong_is_told_in_upstreams_words(void **state) {
    (void)state;
    static const struct { const char *yaml, *says; } cases[] = {
        {"kind: KubeSchedulerConfiguration\n", "Object 'apiVersion' is missing in '{\"kind\":\"KubeSchedulerConfiguration\"}'"},
        {"apiVersion: kubescheduler.config.k8s.io/v1beta3\nkind: KubeSchedulerConfiguration\n",
            "no kind \"KubeSchedulerConfiguration\" is registered for version \"kubescheduler.config.k8s.io/v1beta3\" in scheme \"pkg/scheduler/apis/config/scheme/scheme.go:30\""},
        {HEAD "foo: bar\n", "strict decoding error: unknown field \"foo\""},
        {PROFILE("  plugins:\n    filter:\n      extra: []\n"), "strict decoding error: unknown field \"profiles[0].plugins.filter.extra\""},
        {HEAD "parallelism: many\n", "json: cannot unmarshal string into Go struct field KubeSchedulerConfiguration.parallelism of type int32"},
        {HEAD "parallelism: 0\n", "parallelism: Invalid value: 0: should be an integer value greater than zero"},
        {HEAD "percentageOfNodesToScore: 101\n", "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"},
        {HEAD "podInitialBackoffSeconds: 0\npodMaxBackoffSeconds: -1\n", "[podInitialBackoffSeconds: Invalid value: 0: must be greater than 0, "
            "podMaxBackoffSeconds: Invalid value: -1: must be greater than or equal to PodInitialBackoffSeconds]"},
        {HEAD "leaderElection:\n  leaderElect: true\n  resourceLock: endpoints\n", "leaderElection.resourceLock: Invalid value: \"endpoints\": resourceLock value must be \"leases\""},
        {HEAD "leaderElection:\n  leaseDuration: 5s\n", "leaderElection.leaseDuration: Invalid value: 10s: LeaseDuration must be greater than RenewDeadline"},
        {HEAD "profiles:\n- schedulerName: a\n- schedulerName: a\n", "profiles[1].schedulerName: Duplicate value: profiles[0].schedulerName"},
        {HEAD "profiles:\n- schedulerName: a\n- percentageOfNodesToScore: -1\n", "[profiles[1].schedulerName: Required value, "
            "profiles[1].percentageOfNodesToScore: Invalid value: -1: not in valid range [0-100]]"},
        {PROFILE("  plugins:\n    filter:\n      enabled:\n      - name: Nope\n"), "initializing profiles: creating profile for scheduler name x: FilterPlugin \"Nope\" does not exist"},
        {PROFILE("  plugins:\n    score:\n      enabled:\n      - name: NodePorts\n"),
            "initializing profiles: creating profile for scheduler name x: plugin \"NodePorts\" does not extend ScorePlugin plugin"},
        {PROFILE("  plugins:\n    bind:\n      disabled:\n      - name: '*'\n"),
            "initializing profiles: creating profile for scheduler name x: at least one bind plugin is needed for profile with scheduler name \"x\""},
        {PROFILE("  plugins:\n    filter:\n      enabled:\n      - name: EBSLimits\n"),
            "profiles[0].plugins.filter.enabled[0]: Invalid value: \"EBSLimits\": was invalid in version \"v1\" (KubeSchedulerConfiguration is version \"kubescheduler.config.k8s.io/v1\")"},
        {PROFILE("  pluginConfig:\n  - name: NodeAffinity\n  - name: NodeAffinity\n"), "profiles[0].pluginConfig[1]: Duplicate value: \"NodeAffinity\""},
        {ARGS("NodeAffinity", "{kind: InterPodAffinityArgs}"), "decoding .profiles[0].pluginConfig[0]: args for plugin NodeAffinity were not of type "
            "NodeAffinityArgs.kubescheduler.config.k8s.io, got InterPodAffinityArgs.kubescheduler.config.k8s.io"},
        {ARGS("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}"),
            "[profiles[0].pluginConfig[0].args.minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time as minCandidateNodesAbsolute, "
            "profiles[0].pluginConfig[0].args.minCandidateNodesAbsolute: Invalid value: 0: cannot be zero at the same time as minCandidateNodesPercentage]"},
        {ARGS("InterPodAffinity", "{hardPodAffinityWeight: 101}"), "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]"},
        {ARGS("NodeResourcesBalancedAllocation", "{resources: [{name: cpu, weight: 2}]}"), "profiles[0].pluginConfig[0].args.resources[0].weight: Invalid value: 2: must be 1"},
        {ARGS("NodeResourcesFit", "{scoringStrategy: {type: Best}}"), "initializing profiles: creating profile for scheduler name x: initializing plugin \"NodeResourcesFit\": "
            "scoringStrategy.type: Unsupported value: \"Best\": supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\""},
        {ARGS("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: [{utilization: 50, score: 5}, {utilization: 50, score: 11}]}}}"),
            "initializing profiles: creating profile for scheduler name x: initializing plugin \"NodeResourcesFit\": "
            "[scoringStrategy.requestedToCapacityRatio.shape[1].utilization: Invalid value: 50: values must be sorted in increasing order, "
            "scoringStrategy.requestedToCapacityRatio.shape[1].score: Invalid value: 11: not in valid range [0, 10]]"},
        {ARGS("PodTopologySpread", "{defaultConstraints: [{maxSkew: 0, topologyKey: '', whenUnsatisfiable: Maybe}], defaultingType: List}"),
            "[profiles[0].pluginConfig[0].args.defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf), "
            "profiles[0].pluginConfig[0].args.defaultConstraints[0].topologyKey: Required value: can not be empty, "
            "profiles[0].pluginConfig[0].args.defaultConstraints[0].whenUnsatisfiable: Unsupported value: \"Maybe\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"]"},
        {ARGS("PodTopologySpread", "{defaultConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}]}"),
            "profiles[0].pluginConfig[0].args.defaultingType: Invalid value: \"System\": when .defaultConstraints are not empty"},
        {ARGS("VolumeBinding", "{bindTimeoutSeconds: -1}"),
            "profiles[0].pluginConfig[0].args.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value"},
        {HEAD "extenders:\n- urlPrefix: http://x\n  prioritizeVerb: p\n", "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it"},
        {HEAD "extenders:\n- urlPrefix: http://x\n  bindVerb: b\n- urlPrefix: http://y\n  bindVerb: b\n",
            "extenders: Invalid value: \"found 2 extenders implementing bind\": only one extender can implement bind"},
        {HEAD "extenders:\n- urlPrefix: http://x\n  managedResources:\n  - name: cpu\n", "extenders[0].managedResources[0].name: Invalid value: \"cpu\": is an invalid extended resource name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_status_ struct status st = STATUS_INIT;
        struct scheduler_configuration c;
        print_message("case %zu\n", i);
        assert_int_equal(scheduler_configuration_load(arena, cases[i].yaml, strlen(cases[i].yaml), &c, &st), -1);
        assert_string_equal(status_message(&st), cases[i].says);
    }
}

static char *names_at(const struct profile *p, enum point point) {
    char *text = arena_strdup(arena, "");
    for (int i = 0; i < p->points[point].len; i++) text = arena_printf(arena, "%s%s%s:%d", text, i ? " " : "", p->points[point].items[i].plugin->name, p->points[point].items[i].weight);
    return text;
}

static void profiles_are_made_of_defaults_and_what_is_said(void **state) {
    (void)state;
    struct scheduler_configuration c = load(HEAD);
    assert_int_equal(c.profiles_len, 1);
    assert_string_equal(c.profiles[0].name, "default-scheduler");
    assert_string_equal(names_at(&c.profiles[0], POINT_SCORE), "TaintToleration:3 NodeAffinity:2 NodeResourcesFit:1 PodTopologySpread:2 InterPodAffinity:2 DynamicResources:2 "
        "NodeResourcesBalancedAllocation:1 ImageLocality:1");
    c = load(HEAD "percentageOfNodesToScore: 30\npodMaxBackoffSeconds: 20\nprofiles:\n- schedulerName: a\n  plugins:\n    score:\n      enabled:\n      - name: ImageLocality\n        weight: 7\n"
        "      disabled:\n      - name: TaintToleration\n    filter:\n      disabled:\n      - name: '*'\n      enabled:\n      - name: NodeName\n"
        "- schedulerName: b\n  percentageOfNodesToScore: 5\n  plugins:\n    multiPoint:\n      disabled:\n      - name: InterPodAffinity\n      enabled:\n      - name: NodeAffinity\n        weight: 9\n");
    assert_int_equal(c.backoff_max_seconds, 20);
    assert_int_equal(c.profiles[0].percentage, 30);
    assert_int_equal(c.profiles[1].percentage, 5);
    assert_string_equal(names_at(&c.profiles[0], POINT_SCORE), "ImageLocality:7 NodeAffinity:2 NodeResourcesFit:1 PodTopologySpread:2 InterPodAffinity:2 DynamicResources:2 "
        "NodeResourcesBalancedAllocation:1");
    assert_string_equal(names_at(&c.profiles[0], POINT_FILTER), "NodeName:1");
    assert_string_equal(names_at(&c.profiles[1], POINT_SCORE), "TaintToleration:3 NodeAffinity:9 NodeResourcesFit:1 PodTopologySpread:2 DynamicResources:2 NodeResourcesBalancedAllocation:1 ImageLocality:1");
}

/* n1 half used, n2 empty; 2 cpu each. */
static struct scheduler_cache *two_nodes(void) {
    struct scheduler_cache *c = cache_new();
    cluster_node(c, node("n1", "\"zone\":\"a\"", ""));
    cluster_node(c, node("n2", "\"zone\":\"b\"", ""));
    cluster_pod(c, pod("old", "\"nodeName\":\"n1\"," CPU("1")));
    return c;
}

static void arguments_decide_where_pods_go(void **state) {
    (void)state;
    static const struct { const char *yaml, *fits, *says; } cases[] = {
        {PROFILE(""), "n2", NULL},
        {ARGS("NodeResourcesFit", "{scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 100}]}}"), "n1", NULL},
        {ARGS("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio, resources: [{name: cpu, weight: 100}], "
            "requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}}}"), "n1", NULL},
        {ARGS("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio, resources: [{name: cpu, weight: 100}], "
            "requestedToCapacityRatio: {shape: [{utilization: 0, score: 10}, {utilization: 100, score: 0}]}}}"), "n2", NULL},
        {ARGS("NodeAffinity", "{addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}}"), "n1", NULL},
        {ARGS("NodeAffinity", "{addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [c]}]}]}}}"), NULL,
            "0/2 nodes are available: 2 node(s) didn't match scheduler-enforced node affinity. no new claims to deallocate, "
            "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."},
        {ARGS("NodeAffinity", "{addedAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {matchExpressions: [{key: zone, operator: In, values: [a]}]}}]}}"), "n1", NULL},
    };
    struct scheduler_cache *c = two_nodes();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case %zu\n", i);
        struct scheduler_configuration config = load(cases[i].yaml);
        config.profiles[0].points[POINT_SCORE].len -= 2; /* without BalancedAllocation and ImageLocality, which have their own opinion */
        struct schedule_result r = cycle_of(c, &config.profiles[0], pod("new", CPU("100m")));
        assert_result(&r, cases[i].fits, cases[i].says);
    }
    cache_free(c);
}

/* ---- extenders ---- */

static char last_url[256], answer[512], last_body[8192];
static int fake_post(void *data, const struct extender *e, const char *url, const struct buf *body, struct buf *out, struct status *reterr) {
    (void)data, (void)e;
    snprintf(last_url, sizeof(last_url), "%s", url);
    snprintf(last_body, sizeof(last_body), "%s", buf_cstr(body));
    if (!*answer) return status_set(reterr, 500, NULL, "no answer");
    buf_append_str(out, answer);
    return 0;
}

static struct schedule_result extended(struct scheduler_cache *c, struct scheduler_configuration *config, const char *says) {
    snprintf(answer, sizeof(answer), "%s", says);
    LIST_FOREACH(e, &config->extenders) e->post = fake_post;
    struct framework f = {.handle = {&fake_env, c, NULL}, .extenders = &config->extenders};
    struct pod_info *info = pod_info_new(pod("new", CPU("100m")));
    struct schedule_result r;
    cache_lock(c);
    framework_schedule(&f, &config->profiles[0], arena, info, &r, NULL);
    cache_unlock(c);
    pod_info_unref(info);
    return r;
}

static void extenders_refuse_and_prefer_nodes(void **state) {
    (void)state;
    struct scheduler_cache *c = two_nodes();
    struct scheduler_configuration config = load(HEAD "extenders:\n- urlPrefix: http://127.0.0.1:1/x/\n  filterVerb: filter\n  nodeCacheCapable: true\n");
    struct schedule_result r = extended(c, &config, "{\"NodeNames\":[\"n1\"],\"FailedNodes\":{\"n2\":\"no licence\"}}");
    assert_result(&r, "n1", NULL);
    assert_string_equal(last_url, "http://127.0.0.1:1/x/filter");
    assert_non_null(strstr(last_body, "\"NodeNames\":["));
    r = extended(c, &config, "{\"nodenames\":[],\"failedNodes\":{\"n1\":\"no licence\"},\"failedAndUnresolvableNodes\":{\"n2\":\"no licence\"}}");
    assert_result(&r, NULL, "0/2 nodes are available: 2 no licence. no new claims to deallocate, preemption: 0/2 nodes are available: "
                            "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.");
    assert_true(r.rejectors >> PLUGIN_EXTENDER & 1);
    r = extended(c, &config, "");
    assert_null(r.node);
    assert_true(r.error);
    assert_string_equal(r.message, "no answer");
    config = load(HEAD "extenders:\n- urlPrefix: http://127.0.0.1:1\n  filterVerb: filter\n  ignorable: true\n");
    r = extended(c, &config, "");
    assert_result(&r, "n2", NULL);
    config = load(HEAD "extenders:\n- urlPrefix: http://127.0.0.1:1\n  prioritizeVerb: score\n  weight: 5\n");
    r = extended(c, &config, "[{\"Host\":\"n1\",\"Score\":10},{\"Host\":\"n2\",\"Score\":0}]");
    assert_result(&r, "n1", NULL);
    config = load(HEAD "extenders:\n- urlPrefix: http://127.0.0.1:1\n  filterVerb: filter\n  managedResources:\n  - name: example.com/x\n");
    r = extended(c, &config, ""); /* the Pod does not ask for it */
    assert_result(&r, "n2", NULL);
    cache_free(c);
}

static void two_profiles_serve_their_own_pods(void **state) {
    (void)state;
    seen_reset();
    struct scheduler_configuration config = load(HEAD "profiles:\n- schedulerName: a\n- schedulerName: b\n  pluginConfig:\n  - name: NodeResourcesFit\n"
        "    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 100}]}}\n  plugins: {score: {disabled: [{name: NodeResourcesBalancedAllocation}]}}\n");
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){.profiles = config.profiles, .profiles_len = config.profiles_len});
    scheduler_set_node(s, node("n1", "", ""));
    scheduler_set_node(s, node("n2", "", ""));
    scheduler_set_pod(s, pod("old", "\"nodeName\":\"n1\"," CPU("1")));
    scheduler_set_pod(s, pod("p", "\"schedulerName\":\"a\"," CPU("100m")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_node, "n2");
    scheduler_set_pod(s, pod("q", "\"schedulerName\":\"b\"," CPU("100m")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_string_equal(seen.last_node, "n1");
    scheduler_set_pod(s, pod("r", CPU("100m")));
    assert_false(scheduler_schedule_one(s, 0));
    scheduler_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_wrong_is_told_in_upstreams_words),
        TEST(profiles_are_made_of_defaults_and_what_is_said),
        TEST(arguments_decide_where_pods_go),
        TEST(extenders_refuse_and_prefer_nodes),
        TEST(two_profiles_serve_their_own_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
