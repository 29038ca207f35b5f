/* The volume plugins: tables over one small cluster, and delayed binding from the choice to the bound claim. */
#include "scheduler_testing.h"

#define ZONE "topology.kubernetes.io/zone"

static void claim(struct scheduler_cache *c, const char *name, const char *more, const char *spec) {
    cluster_object(c, &corev1_PersistentVolumeClaim_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"u-%s\"%s},\"spec\":{"
        "\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}%s},\"status\":{\"phase\":\"Bound\"}}", name, name, more, spec));
}
#define BOUND ",\"annotations\":{\"pv.kubernetes.io/bind-completed\":\"yes\"}"
#define AT(node) ",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"" node "\"]}]}]}}"

static void volume(struct scheduler_cache *c, const char *name, const char *labels, const char *spec) {
    cluster_object(c, &corev1_PersistentVolume_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}},\"spec\":{\"capacity\":{\"storage\":\"2Gi\"},"
        "\"accessModes\":[\"ReadWriteOnce\"]%s},\"status\":{\"phase\":\"Available\"}}", name, labels, spec));
}

static void class(struct scheduler_cache *c, const char *name, const char *provisioner, const char *more) {
    cluster_object(c, &storagev1_StorageClass_desc, arena_printf(arena, "{\"metadata\":{\"name\":\"%s\"},\"provisioner\":\"%s\"%s}", name, provisioner, more));
}

static struct scheduler_cache *cluster(void) {
    struct scheduler_cache *c = cache_new();
    cluster_node(c, node("n1", "\"" ZONE "\":\"a\"", ""));
    cluster_node(c, node("n2", "\"" ZONE "\":\"b\"", ""));
    class(c, "wait", "x.csi", ",\"volumeBindingMode\":\"WaitForFirstConsumer\"");
    class(c, "wait-in-b", "x.csi", ",\"volumeBindingMode\":\"WaitForFirstConsumer\",\"allowedTopologies\":[{\"matchLabelExpressions\":[{\"key\":\"" ZONE "\",\"values\":[\"b\"]}]}]");
    class(c, "local", "kubernetes.io/no-provisioner", ",\"volumeBindingMode\":\"WaitForFirstConsumer\"");
    class(c, "capacity", "c.csi", ",\"volumeBindingMode\":\"WaitForFirstConsumer\"");
    class(c, "now", "x.csi", ",\"volumeBindingMode\":\"Immediate\"");
    cluster_object(c, &storagev1_CSIDriver_desc, "{\"metadata\":{\"name\":\"c.csi\"},\"spec\":{\"storageCapacity\":true}}");
    cluster_object(c, &storagev1_CSIStorageCapacity_desc, "{\"metadata\":{\"name\":\"s1\",\"namespace\":\"default\"},\"storageClassName\":\"capacity\",\"capacity\":\"10Gi\","
        "\"nodeTopology\":{\"matchLabels\":{\"" ZONE "\":\"b\"}}}");
    cluster_object(c, &storagev1_CSINode_desc, "{\"metadata\":{\"name\":\"n1\"},\"spec\":{\"drivers\":[{\"name\":\"x.csi\",\"nodeID\":\"1\",\"allocatable\":{\"count\":1}}]}}");
    claim(c, "on-n2", BOUND, ",\"volumeName\":\"v-n2\"");
    volume(c, "v-n2", "", ",\"csi\":{\"driver\":\"y.csi\",\"volumeHandle\":\"1\"}" AT("n2"));
    claim(c, "zone-b", BOUND, ",\"volumeName\":\"v-b\"");
    volume(c, "v-b", "\"" ZONE "\":\"b__c\"", ",\"csi\":{\"driver\":\"y.csi\",\"volumeHandle\":\"2\"}");
    claim(c, "lost", BOUND, ",\"volumeName\":\"gone\"");
    claim(c, "immediate", "", ",\"storageClassName\":\"now\"");
    claim(c, "provisioned", "", ",\"storageClassName\":\"wait\"");
    claim(c, "in-b", "", ",\"storageClassName\":\"wait-in-b\"");
    claim(c, "space", "", ",\"storageClassName\":\"capacity\"");
    claim(c, "static", "", ",\"storageClassName\":\"local\"");
    volume(c, "v-local", "", ",\"storageClassName\":\"local\"" AT("n1"));
    claim(c, "static-none", "", ",\"storageClassName\":\"local\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}}");
    claim(c, "selected", ",\"annotations\":{\"volume.kubernetes.io/selected-node\":\"n2\"}", ",\"storageClassName\":\"wait\"");
    claim(c, "used", BOUND, ",\"volumeName\":\"v-used\"");
    volume(c, "v-used", "", ",\"csi\":{\"driver\":\"x.csi\",\"volumeHandle\":\"used\"}");
    claim(c, "more", BOUND, ",\"volumeName\":\"v-more\"");
    volume(c, "v-more", "", ",\"csi\":{\"driver\":\"x.csi\",\"volumeHandle\":\"more\"}");
    cluster_object(c, &corev1_PersistentVolumeClaim_desc, "{\"metadata\":{\"name\":\"once\",\"namespace\":\"default\"" BOUND "},\"spec\":{\"accessModes\":[\"ReadWriteOncePod\"],\"volumeName\":\"v-b\"}}");
    cluster_pod(c, pod("user", "\"nodeName\":\"n1\",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"used\"}},"
        "{\"name\":\"d\",\"gcePersistentDisk\":{\"pdName\":\"disk\"}}]"));
    cluster_pod(c, pod("owner", "\"nodeName\":\"n2\",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"once\"}}]"));
    return c;
}

#define CLAIM(name) "\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"" name "\"}}]"
#define NOT_HELPFUL " no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
#define ON(n) ",\"nodeSelector\":{\"" ZONE "\":\"" n "\"}"

static void volumes_by_the_table(void **state) {
    (void)state;
    static const struct { const char *spec, *fits, *says; } cases[] = {
        {CLAIM("on-n2"), "n2", NULL},
        {CLAIM("on-n2") ON("a"), NULL, "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) didn't match Pod's node affinity/selector." NOT_HELPFUL},
        {CLAIM("zone-b"), "n2", NULL},
        {CLAIM("zone-b") ON("a"), NULL, "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had no available volume zone." NOT_HELPFUL},
        {CLAIM("nothing"), NULL, "0/2 nodes are available: persistentvolumeclaim \"nothing\" not found." NOT_HELPFUL},
        {CLAIM("lost"), NULL, "0/2 nodes are available: persistentvolume \"gone\" not found." NOT_HELPFUL},
        {CLAIM("immediate"), NULL, "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims." NOT_HELPFUL},
        {CLAIM("provisioned"), "n2", NULL}, /* n1 has one volume of that driver, and may have one */
        {CLAIM("in-b"), "n2", NULL},
        {CLAIM("in-b") ON("a"), NULL, "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) exceed max volume count."
            " no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."},
        {CLAIM("space"), "n2", NULL},
        {CLAIM("space") ON("a"), NULL, "0/2 nodes are available: 1 node(s) did not have enough free storage, 1 node(s) didn't match Pod's node affinity/selector." NOT_HELPFUL},
        {CLAIM("static"), "n1", NULL},
        {CLAIM("static") ON("b"), NULL, "0/2 nodes are available: 1 node(s) didn't find available persistent volumes to bind, 1 node(s) didn't match Pod's node affinity/selector." NOT_HELPFUL},
        {CLAIM("static-none"), NULL, "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind." NOT_HELPFUL},
        {CLAIM("selected"), "n2", NULL},
        {CLAIM("used"), "n1|n2", NULL}, /* the same volume is not counted twice */
        {CLAIM("more") ON("a"), NULL, "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) exceed max volume count."
            " no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."},
        {CLAIM("once"), NULL, "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode."
            " no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."},
        {"\"volumes\":[{\"name\":\"d\",\"gcePersistentDisk\":{\"pdName\":\"disk\"}}]", "n2", NULL},
        {"\"volumes\":[{\"name\":\"d\",\"gcePersistentDisk\":{\"pdName\":\"disk\"}}]" ON("a"), NULL,
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had no available disk."
            " no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."},
        {"\"volumes\":[{\"name\":\"e\",\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{}}}}]", NULL,
            "0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim \"new-e\"." NOT_HELPFUL},
    };
    struct scheduler_cache *c = cluster();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case %zu\n", i);
        struct schedule_result r = cycle_of(c, NULL, pod("new", cases[i].spec));
        assert_result(&r, cases[i].fits, cases[i].says);
    }
    cache_free(c);
}

/* ---- delayed binding ---- */

static struct scheduler *scheduler_make(void) {
    seen_reset();
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){0});
    scheduler_set_node(s, node("n1", "", ""));
    scheduler_set_object(s, &storagev1_StorageClass_desc, decode(&storagev1_StorageClass_desc,
        "{\"metadata\":{\"name\":\"wait\"},\"provisioner\":\"x.csi\",\"volumeBindingMode\":\"WaitForFirstConsumer\"}"));
    return s;
}

static void claim_set(struct scheduler *s, const char *rv, const char *annotations, const char *spec) {
    scheduler_set_object(s, &corev1_PersistentVolumeClaim_desc, decode(&corev1_PersistentVolumeClaim_desc, arena_printf(arena,
        "{\"metadata\":{\"name\":\"c\",\"namespace\":\"default\",\"uid\":\"u-c\",\"resourceVersion\":\"%s\",\"annotations\":{%s}},\"spec\":{\"storageClassName\":\"wait\","
        "\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}%s}}", rv, annotations, spec)));
}

static void a_claim_is_provisioned_where_its_first_pod_goes(void **state) {
    (void)state;
    struct scheduler *s = scheduler_make();
    claim_set(s, "1", "", "");
    scheduler_set_pod(s, pod("a", CLAIM("c")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.claims_updated, 1);
    assert_string_equal(string_map_get(&seen.claim->metadata.annotations, "volume.kubernetes.io/selected-node"), "n1");
    assert_int_equal(scheduler_bind_waiting(s), 1);
    assert_int_equal(seen.bound, 0);
    claim_set(s, "2", "\"volume.kubernetes.io/selected-node\":\"n1\"", "");
    assert_int_equal(scheduler_bind_waiting(s), 1);
    claim_set(s, "3", "\"volume.kubernetes.io/selected-node\":\"n1\",\"pv.kubernetes.io/bind-completed\":\"yes\"", ",\"volumeName\":\"v\"");
    scheduler_set_object(s, &corev1_PersistentVolume_desc, decode(&corev1_PersistentVolume_desc, "{\"metadata\":{\"name\":\"v\"},\"spec\":{}}"));
    assert_int_equal(scheduler_bind_waiting(s), 0);
    assert_int_equal(seen.bound, 1);
    assert_int_equal(seen.claims_updated, 1);
    scheduler_free(s);
}

static void provisioning_that_fails_sends_the_pod_back(void **state) {
    (void)state;
    struct scheduler *s = scheduler_make();
    claim_set(s, "1", "", "");
    scheduler_set_pod(s, pod("a", CLAIM("c")));
    assert_true(scheduler_schedule_one(s, 0));
    claim_set(s, "2", "", ""); /* the provisioner took its annotation away */
    assert_int_equal(scheduler_bind_waiting(s), 0);
    assert_string_equal(seen.last_reason, "SchedulerError");
    assert_string_equal(seen.last_message, "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC \"c\"");
    assert_int_equal(scheduler_queue_lengths(s).backoff, 1);
    scheduler_free(s);
}

static void a_volume_is_given_to_one_pod_only(void **state) {
    (void)state;
    struct scheduler *s = scheduler_make();
    claim_set(s, "1", "", "");
    scheduler_set_object(s, &corev1_PersistentVolume_desc, decode(&corev1_PersistentVolume_desc, "{\"metadata\":{\"name\":\"v\",\"resourceVersion\":\"7\"},\"spec\":{\"storageClassName\":\"wait\","
        "\"capacity\":{\"storage\":\"2Gi\"},\"accessModes\":[\"ReadWriteOnce\"]},\"status\":{\"phase\":\"Available\"}}"));
    scheduler_set_pod(s, pod("a", CLAIM("c")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.volumes_updated, 1);
    assert_string_equal(seen.volume->spec.claimRef->uid, "u-c");
    assert_string_equal(string_map_get(&seen.volume->metadata.annotations, "pv.kubernetes.io/bound-by-controller"), "yes");
    /* Another claim of the class finds it taken though the watch has not shown it yet: it is provisioned for. */
    scheduler_set_object(s, &corev1_PersistentVolumeClaim_desc, decode(&corev1_PersistentVolumeClaim_desc,
        "{\"metadata\":{\"name\":\"d\",\"namespace\":\"default\",\"uid\":\"u-d\",\"resourceVersion\":\"1\"},\"spec\":{\"storageClassName\":\"wait\",\"accessModes\":[\"ReadWriteOnce\"],"
        "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}"));
    scheduler_set_pod(s, pod("b", CLAIM("d")));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.volumes_updated, 1);
    assert_int_equal(seen.claims_updated, 1);
    clock_ns += 601 * SECOND;
    assert_int_equal(scheduler_bind_waiting(s), 0);
    assert_string_equal(seen.last_message, "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded");
    scheduler_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(volumes_by_the_table),
        TEST(a_claim_is_provisioned_where_its_first_pod_goes),
        TEST(provisioning_that_fails_sends_the_pod_back),
        TEST(a_volume_is_given_to_one_pod_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
