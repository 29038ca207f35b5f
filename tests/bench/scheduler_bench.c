/* How fast the scheduler is: `scheduler_bench [WORKLOAD]` runs upstream's scheduler_perf workloads in this process and prints pods/s beside the threshold
 * below which upstream calls it a regression, and the factor between the two.
 *
 * There is no apiserver: a binding is told to the scheduler at once, as the watch would, and an evicted Pod is gone at once. What is measured is all that
 * the scheduler does, from the first measured Pod being told until the last is bound. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/str.h"
#include "scheduler/scheduler.h"

#define ZONE "topology.kubernetes.io/zone"
#define HOST "kubernetes.io/hostname"
enum { TIMEOUT_S = 120 };

static struct scheduler *s;
static struct arena *arena;
static size_t serial;

static void *decode(const struct type_desc *type, const char *json) {
    struct status st = STATUS_INIT;
    void *obj = object_new(arena, type);
    if (!object_decode_json(arena, type, obj, json, strlen(json), NULL, &st)) return obj;
    fprintf(stderr, "%s: %s\n", json, status_message(&st));
    exit(1);
}

/* ---- the client ---- */

static int bind(void *data, const struct corev1_Pod *pod, const char *node, struct status *reterr) {
    (void)data, (void)reterr;
    struct corev1_Pod bound = *pod;
    bound.spec.nodeName = node;
    scheduler_set_pod(s, &bound);
    return 0;
}
static int condition(void *data, const struct corev1_Pod *pod, const char *reason, const char *message, struct status *reterr) {
    return (void)data, (void)pod, (void)reason, (void)message, (void)reterr, 0;
}
static void record(void *data, const struct corev1_Pod *pod, const char *type, const char *reason, const char *action, const char *note) {
    (void)data, (void)pod, (void)type, (void)reason, (void)action, (void)note;
}
static int evict(void *data, const struct corev1_Pod *victim, const char *message, struct status *reterr) {
    (void)data, (void)message, (void)reterr;
    scheduler_delete_pod(s, victim->metadata.namespace, victim->metadata.name);
    return 0;
}
/* The watch shows at once what was written. */
static int put_resource_claim(void *data, struct arena *a, const struct resourcev1_ResourceClaim *claim, bool status, struct resourcev1_ResourceClaim *ret, struct status *reterr) {
    static atomic_uint_least64_t version = 10;
    (void)data, (void)status, (void)reterr;
    struct resourcev1_ResourceClaim now = *claim;
    now.metadata.resourceVersion = arena_printf(a, "%lu", (unsigned long)atomic_fetch_add(&version, 1));
    if (ret) *ret = *(struct resourcev1_ResourceClaim *)object_copy(a, &resourcev1_ResourceClaim_desc, &now);
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, &now);
    return 0;
}
static int get_resource_claim(void *data, struct arena *a, const char *ns, const char *name, struct resourcev1_ResourceClaim *ret, struct status *reterr) {
    return (void)data, (void)a, (void)ns, (void)ret, status_not_found(reterr, "resource.k8s.io", "resourceclaims", name);
}
static const struct scheduler_client client = {.bind = bind, .set_unscheduled = condition, .record = record, .evict = evict, .get_resource_claim = get_resource_claim,
    .put_resource_claim = put_resource_claim};

/* ---- what a workload is made of ---- */

#define POD(labels, spec) "{\"metadata\":{\"labels\":{" labels "}},\"spec\":{\"containers\":[{\"name\":\"pause\",\"image\":\"registry.example/pause:3.10\",\"resources\":{\"requests\":" \
    "{\"cpu\":\"100m\",\"memory\":\"500Mi\"}}}]" spec "}}"
#define SIZED(cpu, more) "{\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"pause\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\",\"memory\":\"500Mi\"}}}]" more "}}"
#define REQUIRED(kind, color, key, where) ",\"affinity\":{\"" kind "\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"labelSelector\":{\"matchLabels\":{\"color\":\"" color "\"}}," \
    "\"topologyKey\":\"" key "\"," where "}]}}"
#define PREFERRED(kind, color, key, where) ",\"affinity\":{\"" kind "\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":1,\"podAffinityTerm\":{\"labelSelector\":" \
    "{\"matchLabels\":{\"color\":\"" color "\"}},\"topologyKey\":\"" key "\"," where "}}]}}"
#define BOTH "\"namespaces\":[\"sched-0\",\"sched-1\"]"
#define TEAM "\"namespaceSelector\":{\"matchLabels\":{\"team\":\"devops\"}}"
#define COLOR(c) "\"color\":\"" c "\""
#define SPREAD(skew, key, when, more) ",\"topologySpreadConstraints\":[{\"maxSkew\":" skew ",\"topologyKey\":\"" key "\",\"whenUnsatisfiable\":\"" when "\"," \
    "\"labelSelector\":{\"matchLabels\":{\"color\":\"blue\"}}" more "}]"

static const char plain[] = POD("", ""), anti[] = POD(COLOR("green"), REQUIRED("podAntiAffinity", "green", HOST, BOTH)), green[] = POD(COLOR("green"), ""),
    affinity[] = POD(COLOR("blue"), REQUIRED("podAffinity", "blue", ZONE, BOTH)), likes[] = POD(COLOR("red"), PREFERRED("podAffinity", "red", HOST, BOTH)),
    dislikes[] = POD(COLOR("yellow"), PREFERRED("podAntiAffinity", "yellow", HOST, BOTH)), anti_ns[] = POD(COLOR("green"), REQUIRED("podAntiAffinity", "green", HOST, TEAM)),
    affinity_ns[] = POD(COLOR("blue"), REQUIRED("podAffinity", "blue", ZONE, TEAM)), likes_ns[] = POD(COLOR("red"), PREFERRED("podAffinity", "red", HOST, TEAM)),
    dislikes_ns[] = POD(COLOR("yellow"), PREFERRED("podAntiAffinity", "yellow", HOST, TEAM)), gated[] = POD("", ",\"schedulingGates\":[{\"name\":\"g\"}]"),
    gated_affinity[] = POD(COLOR("blue"), ",\"schedulingGates\":[{\"name\":\"g\"}]" REQUIRED("podAffinity", "blue", ZONE, BOTH)),
    node_affinity[] = POD("", ",\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"" ZONE "\","
        "\"operator\":\"In\",\"values\":[\"zone1\",\"zone2\"]}]}]}}}"),
    daemon_set[] = POD("", ",\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\","
        "\"operator\":\"In\",\"values\":[\"node-0\"]}]}]}}}"),
    low[] = SIZED("900m", ""), high[] = SIZED("3", ",\"priority\":10"), huge[] = SIZED("9", ""), huge_high[] = SIZED("9", ",\"priority\":10"),
    spread[] = POD(COLOR("blue"), SPREAD("5", ZONE, "DoNotSchedule", "")), spread_soft[] = POD(COLOR("blue"), SPREAD("5", ZONE, "ScheduleAnyway", "")),
    spread_honest[] = POD(COLOR("blue"), SPREAD("1", HOST, "DoNotSchedule", ",\"nodeTaintsPolicy\":\"Honor\"")),
    secret[] = POD("", ",\"volumes\":[{\"name\":\"s\",\"secret\":{\"secretName\":\"secret\"}}]"),
    devices[] = POD("", ",\"resourceClaims\":[{\"name\":\"resource\",\"resourceClaimName\":\"\"}]"),
    claims[] = POD("", ",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"\"}}]");

enum volumes { NO_VOLUMES, IN_TREE, MIGRATED, CSI, DEVICES };

/* maxClaimsPerNode of them. */
static void devices_of(const char *node) {
    struct resourcev1_ResourceSlice *slice = decode(&resourcev1_ResourceSlice_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"driver\":\"test-driver.cdi.k8s.io\","
        "\"nodeName\":\"%s\",\"pool\":{\"name\":\"%s\",\"generation\":1,\"resourceSliceCount\":1}}}", node, node, node));
    for (int i = 0; i < 10; i++) *LIST_PUSH(arena, &slice->spec.devices) = (struct resourcev1_Device){.name = arena_printf(arena, "instance-%d", i)};
    scheduler_set_object(s, &resourcev1_ResourceSlice_desc, slice);
}

/* As the controller makes it of a template. */
static void claim_of(struct corev1_Pod *p) {
    p->spec.resourceClaims.items[0].resourceClaimName = p->metadata.name;
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, decode(&resourcev1_ResourceClaim_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\","
        "\"resourceVersion\":\"1\"},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"req-0\",\"exactly\":{\"deviceClassName\":\"test-class\",\"allocationMode\":\"ExactCount\",\"count\":1}}]}}}",
        p->metadata.name, p->metadata.namespace, p->metadata.uid)));
}

static void nodes(size_t n, const char *const *zones, const char *taint, int pods, enum volumes volumes) {
    struct corev1_Node *node = decode(&corev1_Node_desc, arena_printf(arena, "{\"metadata\":{},\"spec\":{%s},\"status\":{\"allocatable\":{\"cpu\":\"%d\",\"memory\":\"%dGi\","
        "\"pods\":\"%d\"}}}", taint ? taint : "", pods > 110 ? 99999 : 4, pods > 110 ? 999999 : 32, pods));
    size_t zones_len = 0;
    while (zones && zones[zones_len]) zones_len++;
    for (size_t i = 0; i < n; i++) {
        node->metadata.name = arena_printf(arena, "node-%zu", serial);
        node->metadata.labels = (struct string_map){0};
        string_map_set(arena, &node->metadata.labels, HOST, node->metadata.name);
        if (zones_len) string_map_set(arena, &node->metadata.labels, ZONE, zones[serial % zones_len]);
        serial++;
        scheduler_set_node(s, node);
        if (volumes == DEVICES) devices_of(node->metadata.name);
        if (volumes == CSI || volumes == MIGRATED)
            scheduler_set_object(s, &storagev1_CSINode_desc, decode(&storagev1_CSINode_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"annotations\":{%s}},\"spec\":{\"drivers\":["
                "{\"name\":\"ebs.csi.aws.com\",\"nodeID\":\"x\",\"allocatable\":{\"count\":39}}]}}", node->metadata.name,
                volumes == MIGRATED ? "\"storage.alpha.kubernetes.io/migrated-plugins\":\"kubernetes.io/aws-ebs\"" : "")));
    }
}

static void namespaces(size_t n, const char *labels) {
    for (size_t i = 0; i < n; i++)
        scheduler_set_object(s, &corev1_Namespace_desc, decode(&corev1_Namespace_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"sched-%zu\",\"labels\":{%s}}}", i, labels)));
}

static void volume_of(struct corev1_Pod *p, enum volumes volumes) {
    const char *name = p->metadata.name;
    p->spec.volumes.items[0].persistentVolumeClaim->claimName = name;
    scheduler_set_object(s, &corev1_PersistentVolumeClaim_desc, decode(&corev1_PersistentVolumeClaim_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\","
        "\"annotations\":{\"pv.kubernetes.io/bind-completed\":\"true\"}},\"spec\":{\"accessModes\":[\"ReadOnlyMany\"],\"volumeName\":\"pv-%s\",\"resources\":{\"requests\":"
        "{\"storage\":\"1Gi\"}}},\"status\":{\"phase\":\"Bound\"}}", name, p->metadata.namespace, name)));
    scheduler_set_object(s, &corev1_PersistentVolume_desc, decode(&corev1_PersistentVolume_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"pv-%s\"},\"spec\":{\"capacity\":"
        "{\"storage\":\"1Gi\"},\"accessModes\":[\"ReadOnlyMany\"],\"%s\":{%s\"%s\":\"%s\"}}}", name, volumes == CSI ? "csi" : "awsElasticBlockStore",
        volumes == CSI ? "\"driver\":\"ebs.csi.aws.com\"," : "", volumes == CSI ? "volumeHandle" : "volumeID", name)));
}

static void pods(size_t n, const char *json, const char *ns, enum volumes volumes) {
    struct corev1_Pod *p = decode(&corev1_Pod_desc, json);
    p->metadata.namespace = ns;
    for (size_t i = 0; i < n; i++) {
        char name[32], uid[32];
        snprintf(name, sizeof(name), "pod-%zu", serial);
        snprintf(uid, sizeof(uid), "uid-%zu", serial++);
        p->metadata.name = name;
        p->metadata.uid = uid;
        if (volumes == DEVICES) claim_of(p);
        else if (volumes) volume_of(p, volumes);
        scheduler_set_pod(s, p);
    }
}

static void wait_scheduled(uint64_t n) {
    int64_t begun = env_mono_ns(env_real());
    while (scheduler_stats(s).scheduled < n && env_mono_ns(env_real()) - begun < TIMEOUT_S * INT64_C(1000000000)) usleep(200);
}

/* Until all that can be has been tried. */
static void wait_tried(size_t unschedulable) {
    int64_t begun = env_mono_ns(env_real());
    while (scheduler_queue_lengths(s).unschedulable < unschedulable && env_mono_ns(env_real()) - begun < TIMEOUT_S * INT64_C(1000000000)) usleep(200);
}

/* ---- the workloads ---- */

static const char *const zone1[] = {"zone1", NULL}, *const moons[] = {"moon-1", "moon-2", "moon-3", NULL};

struct workload {
    const char *name;
    double threshold;
    size_t nodes, init, measured;
    const char *init_pod, *pod;
    const char *const *zones;
    void (*prepare)(const struct workload *w); /* instead of init */
    void (*meanwhile)(size_t round);           /* each second while measuring */
    enum volumes volumes;
    int node_pods;
    bool team, steady; /* steady: ten Pods at a time, which go with their claims when they have been bound */
};

static void prepare_mixed(const struct workload *w) {
    static const char *const all[] = {plain, affinity, anti, likes, dislikes};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) pods(w->init, all[i], "sched-0", NO_VOLUMES);
    wait_scheduled(w->init * ARRAY_LEN(all));
}

static void prepare_team(const struct workload *w) {
    for (size_t i = 0; i < 100; i++) pods(w->init, w->init_pod, arena_printf(arena, "sched-%zu", i), NO_VOLUMES);
    wait_scheduled(w->init * 100);
}

static void prepare_gated(const struct workload *w) { pods(w->init, w->init_pod, "sched-0", NO_VOLUMES); }
static void prepare_unschedulable(const struct workload *w) {
    pods(w->init, w->init_pod, "sched-0", NO_VOLUMES);
    wait_tried(w->init);
}
static void prepare_tainted(const struct workload *w) {
    (void)w;
    nodes(1000, NULL, "\"taints\":[{\"key\":\"foo\",\"effect\":\"NoSchedule\"}]", 110, NO_VOLUMES);
}
static void prepare_deleting(const struct workload *w) {
    prepare_gated(w);
    pods(20000, plain, "sched-1", NO_VOLUMES);
    wait_scheduled(20000);
}

static void churn(size_t round) {
    nodes(1, NULL, NULL, 110, NO_VOLUMES);
    scheduler_delete_node(s, arena_printf(arena, "node-%zu", serial - 1));
    struct corev1_Pod *p = decode(&corev1_Pod_desc, huge_high);
    p->metadata.namespace = "churn";
    p->metadata.name = "churn";
    p->metadata.uid = arena_printf(arena, "churn-%zu", round);
    scheduler_set_pod(s, p);
    scheduler_set_object(s, &corev1_Service_desc, decode(&corev1_Service_desc, "{\"metadata\":{\"name\":\"churn\",\"namespace\":\"sched-0\"},\"spec\":{\"selector\":{\"app\":\"foo\"}}}"));
}
static void deletions(size_t round) {
    for (size_t i = 0; i < 50; i++) scheduler_delete_pod(s, "sched-1", arena_printf(arena, "pod-%zu", 10001 + round * 50 + i));
}

static const struct workload workloads[] = {
    {"SchedulingPodAntiAffinity", 60, 5000, 1000, 2000, anti, anti},
    {"SchedulingPodMatchingAntiAffinity", 600, 5000, 1000, 5000, anti, green, .zones = zone1},
    {"SchedulingPodAffinity", 35, 5000, 5000, 5000, affinity, affinity, zone1},
    {"SchedulingPreferredPodAffinity", 90, 5000, 5000, 5000, likes, likes},
    {"SchedulingPreferredPodAntiAffinity", 90, 5000, 5000, 5000, dislikes, dislikes},
    {"SchedulingNodeAffinity", 220, 5000, 5000, 10000, node_affinity, node_affinity, zone1},
    {"MixedSchedulingBasePod", 140, 5000, 2000, 5000, NULL, plain, zone1, prepare_mixed},
    {"SchedulingRequiredPodAntiAffinityWithNSSelector", 24, 6000, 40, 2000, anti_ns, anti_ns, NULL, prepare_team, .team = true},
    {"SchedulingPreferredAntiAffinityWithNSSelector", 55, 5000, 40, 2000, dislikes_ns, dislikes_ns, NULL, prepare_team, .team = true},
    {"SchedulingRequiredPodAffinityWithNSSelector", 35, 5000, 50, 2000, affinity_ns, affinity_ns, zone1, prepare_team, .team = true},
    {"SchedulingPreferredAffinityWithNSSelector", 90, 5000, 50, 5000, likes_ns, likes_ns, NULL, prepare_team, .team = true},
    {"SchedulingGatedPodsWithPodAffinityImpactForThroughput", 110, 1, 10000, 20000, gated_affinity, plain, zone1, prepare_gated, .node_pods = 90000},
    {"SchedulingBasic", 270, 5000, 1000, 10000, plain, plain},
    {"SchedulingDaemonset", 390, 15000, 0, 30000, NULL, daemon_set, .node_pods = 90000},
    {"PreemptionAsync", 160, 5000, 20000, 5000, low, high},
    {"Unschedulable", 140, 5000, 100, 10000, huge, plain, NULL, prepare_unschedulable},
    {"SchedulingWithMixedChurn", 265, 5000, 0, 10000, NULL, plain, NULL, NULL, churn},
    {"SchedulingWhileGated", 130, 1, 10000, 20000, gated, plain, zone1, prepare_deleting, deletions, .node_pods = 90000},
    {"TopologySpreading", 85, 5000, 5000, 5000, plain, spread, moons},
    {"PreferredTopologySpreading", 125, 5000, 5000, 5000, plain, spread_soft, moons},
    {"SchedulingWithNodeInclusionPolicy", 68, 4000, 0, 4000, NULL, spread_honest, NULL, prepare_tainted},
    {"SchedulingSecrets", 260, 5000, 1000, 10000, secret, secret},
    {"SchedulingInTreePVs", 90, 5000, 1000, 2000, claims, claims, .volumes = IN_TREE},
    {"SchedulingMigratedInTreePVs", 35, 5000, 5000, 5000, claims, claims, .volumes = MIGRATED},
    {"SchedulingCSIPVs", 48, 5000, 5000, 5000, claims, claims, .volumes = CSI},
    {"SchedulingWithResourceClaimTemplate", 40, 500, 2500, 2500, devices, devices, .volumes = DEVICES},
    {"SteadyStateClusterResourceClaimTemplate/empty", 64, 500, 0, 5000, devices, devices, .volumes = DEVICES, .steady = true},
    {"SteadyStateClusterResourceClaimTemplate/half", 70, 500, 2500, 5000, devices, devices, .volumes = DEVICES, .steady = true},
    {"SteadyStateClusterResourceClaimTemplate/full", 60, 500, 4990, 5000, devices, devices, .volumes = DEVICES, .steady = true},
};

static double cpu_s(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void steady(const struct workload *w) {
    uint64_t before = scheduler_stats(s).scheduled;
    for (size_t n = 10; n <= w->measured; n += 10) {
        size_t first = serial;
        pods(10, w->pod, "sched-0", w->volumes);
        wait_scheduled(before + n);
        for (size_t i = first; i < serial; i++) {
            const char *name = arena_printf(arena, "pod-%zu", i);
            scheduler_delete_pod(s, "sched-0", name);
            scheduler_delete_object(s, &resourcev1_ResourceClaim_desc, "sched-0", name);
        }
    }
}

static void run(const struct workload *w) {
    arena = arena_new();
    serial = 0;
    s = scheduler_new(env_real(), &client, &(struct scheduler_config){.binders = 2});
    namespaces(w->team ? 100 : 2, w->team ? "\"team\":\"devops\"" : "");
    if (w->volumes == DEVICES) scheduler_set_object(s, &resourcev1_DeviceClass_desc, decode(&resourcev1_DeviceClass_desc, "{\"metadata\":{\"name\":\"test-class\"},\"spec\":{\"selectors\":"
        "[{\"cel\":{\"expression\":\"device.driver == 'test-driver.cdi.k8s.io'\"}}]}}"));
    nodes(w->nodes, w->zones, NULL, w->node_pods ? w->node_pods : 110, w->volumes);
    scheduler_start(s);
    if (w->prepare) {
        w->prepare(w);
    } else if (w->init) {
        pods(w->init, w->init_pod, "sched-1", w->volumes);
        wait_scheduled(w->init);
    }
    uint64_t before = scheduler_stats(s).scheduled, target = before + w->measured;
    double cpu = cpu_s();
    int64_t begun = env_mono_ns(env_real()), last = begun - 1000000000, now = begun;
    size_t round = 0;
    if (w->meanwhile) w->meanwhile(round++);
    last = begun;
    if (w->steady) steady(w);
    else pods(w->measured, w->pod, "sched-0", w->volumes);
    while (scheduler_stats(s).scheduled < target && now - begun < TIMEOUT_S * INT64_C(1000000000)) {
        usleep(100);
        now = env_mono_ns(env_real());
        if (!w->meanwhile || now - last < 1000000000) continue;
        w->meanwhile(round++);
        last = now;
    }
    double took = (double)(env_mono_ns(env_real()) - begun) / 1e9, rate = (double)(scheduler_stats(s).scheduled - before) / took;
    printf("%-54s %9.0f pods/s   upstream %4.0f   %5.0f times   cpu %.1f us/pod%s\n", w->name, rate, w->threshold, rate / w->threshold, (cpu_s() - cpu) * 1e6 / (double)w->measured,
           scheduler_stats(s).scheduled < target ? "   NOT ALL SCHEDULED" : "");
    if (getenv("STATS")) printf("  unschedulable %lu errors %lu preemptions %lu\n", (unsigned long)scheduler_stats(s).unschedulable, (unsigned long)scheduler_stats(s).errors, (unsigned long)scheduler_stats(s).preemptions);
    fflush(stdout);
    scheduler_stop(s);
    scheduler_free(s);
    arena_free(arena);
}

int main(int argc, char **argv) {
    for (size_t i = 0; i < ARRAY_LEN(workloads); i++)
        if (argc < 2 || strstr(workloads[i].name, argv[1])) run(&workloads[i]);
    return 0;
}
