/* The garbage collector against a real apiserver. The graph alone: test_garbage_graph.c. */
#include "controller_test.h"

#define MAPS "/api/v1/namespaces/default/configmaps"
#define GC "garbage-collector-controller"

static void make_map(struct cluster *k, const char *name, const char *owners) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'%s','namespace':'default','ownerReferences':[%s]}}", name, owners));
}

static char *at(struct arena *a, const char *name) { return arena_printf(a, MAPS "/%s", name); }

static char *ref(struct cluster *k, struct arena *a, const char *name, const char *more) {
    return arena_printf(a, "{'apiVersion':'v1','kind':'ConfigMap','name':'%s','uid':'%s'%s}", name, cluster_get(k, a, at(a, name), "metadata.uid"), more);
}

static void chains_fall_in_the_background(void **state UNUSED) {
    struct cluster *k = cluster_start(GC);
    _cleanup_arena_ struct arena *a = arena_new();
    make_map(k, "top", "");
    make_map(k, "middle", ref(k, a, "top", ""));
    make_map(k, "bottom", ref(k, a, "middle", ""));
    make_map(k, "apart", "");
    make_map(k, "two", arena_printf(a, "%s,%s", ref(k, a, "top", ""), ref(k, a, "apart", "")));
    cluster_delete(k, at(a, "top"), NULL);
    cluster_expect_gone(k, at(a, "middle"));
    cluster_expect_gone(k, at(a, "bottom"));
    cluster_expect(k, at(a, "two"), "#metadata.ownerReferences", "1"); /* lives on by its other owner */
    cluster_expect(k, at(a, "two"), "metadata.ownerReferences[0].name", "apart");
    cluster_stop(k);
}

static void the_foreground_waits_for_what_blocks(void **state UNUSED) {
    struct cluster *k = cluster_start(GC);
    _cleanup_arena_ struct arena *a = arena_new();
    make_map(k, "top", "");
    make_map(k, "blocks", ref(k, a, "top", ",'blockOwnerDeletion':true"));
    make_map(k, "held", ref(k, a, "blocks", ",'blockOwnerDeletion':true"));
    cluster_patch(k, at(a, "held"), "{'metadata':{'finalizers':['example.com/hold']}}");
    cluster_delete(k, at(a, "top"), "{'propagationPolicy':'Foreground'}");
    cluster_expect(k, at(a, "blocks"), "metadata.finalizers[0]", "foregroundDeletion");
    cluster_expect(k, at(a, "held"), "metadata.deletionGracePeriodSeconds", "0");
    cluster_expect_still(k, at(a, "top"), "metadata.finalizers[0]", "foregroundDeletion");
    cluster_patch(k, at(a, "held"), "{'metadata':{'finalizers':null}}");
    cluster_expect_gone(k, at(a, "top"));
    cluster_expect_gone(k, at(a, "blocks"));
    cluster_stop(k);
}

static void orphans_stay(void **state UNUSED) {
    struct cluster *k = cluster_start(GC);
    _cleanup_arena_ struct arena *a = arena_new();
    make_map(k, "top", "");
    make_map(k, "one", ref(k, a, "top", ""));
    make_map(k, "two", ref(k, a, "top", ",'controller':true,'blockOwnerDeletion':true"));
    cluster_delete(k, at(a, "top"), "{'propagationPolicy':'Orphan'}");
    cluster_expect_gone(k, at(a, "top"));
    cluster_expect(k, at(a, "one"), "#metadata.ownerReferences", "0");
    cluster_expect(k, at(a, "two"), "#metadata.ownerReferences", "0");
    cluster_expect_still(k, MAPS, "#items", "2");
    cluster_stop(k);
}

static void wrong_owners_are_no_owners(void **state UNUSED) {
    struct cluster *k = cluster_start(GC);
    _cleanup_arena_ struct arena *a = arena_new();
    make_map(k, "never", "{'apiVersion':'v1','kind':'ConfigMap','name':'nobody','uid':'0e0b8d40-1111-2222-3333-444444444444'}");
    cluster_expect_gone(k, at(a, "never"));
    make_map(k, "unknown-kind", "{'apiVersion':'example.com/v1','kind':'Widget','name':'nobody','uid':'0e0b8d40-1111-2222-3333-555555555555'}");
    make_map(k, "top", "");
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'elsewhere','namespace':'kube-public','ownerReferences':[%s]}}", ref(k, a, "top", "")));
    cluster_expect_gone(k, "/api/v1/namespaces/kube-public/configmaps/elsewhere");
    cluster_expect_event(k, "ConfigMap", "OwnerRefInvalidNamespace", arena_printf(a, "ownerRef [v1/ConfigMap, namespace: kube-public, name: top, uid: %s] does not exist in namespace \"kube-public\"",
        cluster_get(k, a, at(a, "top"), "metadata.uid")));
    /* A name that was used again is another object. */
    make_map(k, "child", ref(k, a, "top", ""));
    cluster_stop_controllers(k);
    cluster_delete(k, at(a, "top"), NULL);
    make_map(k, "top", "");
    cluster_start_controllers(k);
    cluster_expect_gone(k, at(a, "child"));
    cluster_expect(k, at(a, "top"), "metadata.name", "top");
    cluster_expect_still(k, at(a, "unknown-kind"), "metadata.name", "unknown-kind"); /* nobody can say that such an owner does not exist */
    cluster_stop(k);
}

static void two_that_wait_for_each_other_go(void **state UNUSED) {
    struct cluster *k = cluster_start(GC);
    _cleanup_arena_ struct arena *a = arena_new();
    make_map(k, "one", "");
    make_map(k, "two", ref(k, a, "one", ",'blockOwnerDeletion':true"));
    cluster_patch(k, at(a, "one"), arena_printf(a, "{'metadata':{'ownerReferences':[%s]}}", ref(k, a, "two", ",'blockOwnerDeletion':true")));
    cluster_delete(k, at(a, "one"), "{'propagationPolicy':'Foreground'}");
    cluster_expect_gone(k, at(a, "one"));
    cluster_expect_gone(k, at(a, "two"));
    cluster_stop(k);
}

static void faults_do_not_matter(void **state UNUSED) {
    struct cluster *k = cluster_start(GC);
    k->faults.refused = k->faults.lost = 150;
    const char *const policies[] = {"Background", "Foreground", "Orphan"};
    for (int round = 0; round < 6; round++) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *policy = policies[round % 3];
        k->faults.seed = (uint64_t)round * 7919;
        k->faults.writes_left = round + 1;
        make_map(k, "top", "");
        for (int i = 0; i < 5; i++) make_map(k, arena_printf(a, "m%d", i), ref(k, a, "top", i % 2 ? ",'blockOwnerDeletion':true" : ""));
        for (int i = 0; i < 5; i++) make_map(k, arena_printf(a, "b%d", i), ref(k, a, arena_printf(a, "m%d", i), ""));
        cluster_delete(k, at(a, "top"), arena_printf(a, "{'propagationPolicy':'%s'}", policy));
        for (int lives = 0; lives < 5; lives++) {
            env_sleep_ms(env_real(), 30);
            cluster_restart_controllers(k);
            k->faults.writes_left = 3;
        }
        k->faults.writes_left = -1;
        cluster_expect_gone(k, at(a, "top"));
        cluster_expect_count(k, MAPS, str_eq(policy, "Orphan") ? 10 : 0);
        cluster_delete(k, MAPS, NULL);
        cluster_expect_count(k, MAPS, 0);
    }
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_fall_in_the_background), cmocka_unit_test(the_foreground_waits_for_what_blocks), cmocka_unit_test(orphans_stay), cmocka_unit_test(wrong_owners_are_no_owners),
        cmocka_unit_test(two_that_wait_for_each_other_go), cmocka_unit_test(faults_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
