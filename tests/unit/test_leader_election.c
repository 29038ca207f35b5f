/* Leader election, its fence, and what an apiserver does with fenced writes: candidates on one apiserver and one clock that the test moves. */
#include "controller_test.h"
#include "client/leader_election.h"

#define LEASE "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/the-lease"

/* ---- a candidate ---- */

struct candidate {
    struct cluster *k;
    const char *name;
    struct client *elector, *acting;
    struct lease_fence *fence;
    struct leader_election *election;
    struct faults faults;       /* of the elector's transport: a cluster of its own for them */
    struct cluster cut;
    atomic_int led, lost;
};

static atomic_int acting;       /* how many candidates believe that they lead */

static void on_leading(void *arg) {
    struct candidate *c = arg;
    atomic_fetch_add(&acting, 1);
    c->led++;
}

static void on_lost(void *arg) {
    struct candidate *c = arg;
    atomic_fetch_sub(&acting, 1);
    c->lost++;
}

static struct candidate *candidate_start(struct cluster *k, const char *name) {
    static const char *const masters[] = {"system:masters", NULL};
    struct candidate *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->k = k;
    c->name = name;
    c->cut.faults.writes_left = -1;
    c->elector = client_new(faulty_new(&c->cut.faults, local_transport_new(k->apiserver, "admin", masters, "test")));
    c->fence = lease_fence_new(&k->env);
    c->acting = client_new(lease_fence_transport(c->fence, local_transport_new(k->apiserver, "admin", masters, "test")));
    struct leader_election_config config = {.name = "the-lease", .identity = name, .fence = c->fence, .lease_duration_ms = 4000, .renew_deadline_ms = 3500, .retry_period_ms = 1000,
        .on_leading = on_leading, .on_lost = on_lost, .arg = c};
    c->election = leader_election_start(c->elector, &k->env, &config);
    return c;
}

/* Transports are named in requests until the server has gone. */
static struct { struct client *clients[32]; struct lease_fence *fences[16]; struct candidate *candidates[16]; size_t clients_len, fences_len, candidates_len; } kept;

static void keep(struct client *c) { kept.clients[kept.clients_len++] = c; }
static void keep_fence(struct lease_fence *f) { kept.fences[kept.fences_len++] = f; }

static void finish(struct cluster *k) {
    cluster_stop(k);
    for (size_t i = 0; i < kept.clients_len; i++) client_free(kept.clients[i]);
    for (size_t i = 0; i < kept.fences_len; i++) lease_fence_free(kept.fences[i]);
    for (size_t i = 0; i < kept.candidates_len; i++) free(kept.candidates[i]);
    kept.clients_len = kept.fences_len = kept.candidates_len = 0;
}

static void candidate_stop(struct candidate *c) {
    leader_election_stop(c->election);
    keep(c->acting);
    keep(c->elector);
    keep_fence(c->fence);
    kept.candidates[kept.candidates_len++] = c;
}

/* Waits in real time; the cluster's clock is moved by `step_ms` each 10 ms. Returns how far. */
static int wait_leading(struct candidate *c, bool leading, int step_ms) {
    int moved = 0;
    for (int i = 0; i < 3000; i++) {
        if (leader_election_leading(c->election) == leading && (leading ? c->led > c->lost : c->lost == c->led)) return moved;
        cluster_advance(c->k, step_ms);
        moved += step_ms;
        env_sleep_ms(env_real(), 10);
    }
    fail_msg("%s does not %s", c->name, leading ? "lead" : "stop");
    return 0;
}

static int create_config_map(struct client *c, const char *name, struct status *err) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_ConfigMap m = {.metadata = {.name = name, .namespace = "default"}};
    return client_create(c, a, &corev1_ConfigMap_desc, &m, NULL, err);
}

/* Moves the clock until the Lease is renewed, but never so far that a holder whose thread is late would lose it. */
static void wait_renewed(struct cluster *k) {
    _cleanup_arena_ struct arena *a = arena_new();
    char *before = cluster_get(k, a, LEASE, "spec.renewTime");
    for (int i = 0, moved = 0; str_eq(cluster_get(k, a, LEASE, "spec.renewTime"), before); i++) {
        if (i == 1000) fail_msg("the lease is not renewed");
        if (moved < 2000) {
            cluster_advance(k, 100);
            moved += 100;
        }
        env_sleep_ms(env_real(), 10);
    }
}

/* ---- tests ---- */

static void a_lease_is_acquired_and_given_back_as_upstream_does(void **state UNUSED) {
    struct cluster *k = cluster_start(NULL);
    struct candidate *a = candidate_start(k, "a_1");
    wait_leading(a, true, 0);
    cluster_expect(k, LEASE, "spec.holderIdentity", "a_1");
    cluster_expect(k, LEASE, "spec.leaseDurationSeconds", "4");
    cluster_expect(k, LEASE, "spec.leaseTransitions", "0");
    _cleanup_arena_ struct arena *arena = arena_new();
    char *first = cluster_get(k, arena, LEASE, "spec.renewTime"), *acquired = cluster_get(k, arena, LEASE, "spec.acquireTime");
    assert_string_not_equal(acquired, ""); /* renewTime may be later already: the watch that shows us our own acquisition makes us look again */
    struct candidate *b = candidate_start(k, "b_1");
    for (int i = 0; i < 8; i++) wait_renewed(k); /* nobody else takes it, however long that goes on */
    assert_true(leader_election_leading(a->election) && !leader_election_leading(b->election));
    assert_string_not_equal(cluster_get(k, arena, LEASE, "spec.renewTime"), first);
    assert_string_equal(cluster_get(k, arena, LEASE, "spec.acquireTime"), acquired);
    candidate_stop(a); /* given back: the other has it without the clock moving */
    wait_leading(b, true, 0);
    cluster_expect(k, LEASE, "spec.holderIdentity", "b_1");
    cluster_expect(k, LEASE, "spec.leaseTransitions", "1");
    candidate_stop(b);
    cluster_expect(k, LEASE, "spec.holderIdentity", "");
    cluster_expect(k, LEASE, "spec.leaseDurationSeconds", "1");
    finish(k);
}

static void a_holder_that_cannot_renew_stops_before_another_begins(void **state UNUSED) {
    struct cluster *k = cluster_start(NULL);
    struct candidate *a = candidate_start(k, "a_1");
    wait_leading(a, true, 0);
    struct candidate *b = candidate_start(k, "b_1");
    a->cut.faults.writes_left = 0;
    int moved = 0;
    while (!leader_election_leading(b->election)) {
        cluster_advance(k, 50);
        moved += 50;
        env_sleep_ms(env_real(), 10);
        assert_true(moved < 60000);
    }
    /* Its thread may be late to notice, its writes never are. */
    _cleanup_status_ struct status err = STATUS_INIT;
    assert_int_equal(create_config_map(a->acting, "late", &err), -1);
    assert_true(status_is(&err, 412));
    wait_leading(a, false, 0);
    assert_int_equal(a->lost, 1);
    cluster_expect(k, LEASE, "spec.holderIdentity", "b_1");
    assert_true(!leader_election_leading(a->election));
    candidate_stop(a);
    candidate_stop(b);
    finish(k);
}

static void what_an_old_holder_still_sends_is_refused(void **state UNUSED) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct cluster *k = cluster_start(NULL);
    struct candidate *a = candidate_start(k, "a_1");
    wait_leading(a, true, 0);
    assert_int_equal(create_config_map(a->acting, "one", &err), 0);
    /* Another takes the Lease; the holder does not know yet. */
    struct candidate frozen = {.k = k};
    frozen.fence = lease_fence_new(&k->env);
    static const char *const masters[] = {"system:masters", NULL};
    frozen.acting = client_new(lease_fence_transport(frozen.fence, local_transport_new(k->apiserver, "admin", masters, "test")));
    assert_int_equal(create_config_map(frozen.acting, "closed", &err), -1);
    assert_true(status_is(&err, 412));
    lease_fence_open(frozen.fence, "kube-system", "the-lease", "a_1", 0, INT64_MAX);
    assert_int_equal(create_config_map(frozen.acting, "two", &err), 0);
    candidate_stop(a);
    status_release(&err);
    assert_int_equal(create_config_map(frozen.acting, "three", &err), -1);
    assert_true(status_is(&err, 412));
    assert_non_null(strstr(status_message(&err), "the lease kube-system/the-lease is not held by \"a_1\" any more"));
    struct candidate *again = candidate_start(k, "a_1"); /* the same name, another term */
    wait_leading(again, true, 0);
    assert_int_equal(create_config_map(frozen.acting, "four", NULL), -1);
    assert_int_equal(client_delete(frozen.acting, &corev1_ConfigMap_desc, "default", "one", NULL, NULL), -1);
    assert_int_equal(create_config_map(again->acting, "five", NULL), 0);
    assert_int_equal(client_delete(again->acting, &corev1_ConfigMap_desc, "default", "one", NULL, NULL), 0);
    lease_fence_open(frozen.fence, "kube-system", "the-lease", "a_1", 1, env_mono_ns(&k->env) - 1); /* its own clock says that it is over */
    assert_int_equal(create_config_map(frozen.acting, "six", NULL), -1);
    cluster_expect_gone(k, "/api/v1/namespaces/default/configmaps/three");
    cluster_expect_gone(k, "/api/v1/namespaces/default/configmaps/four");
    candidate_stop(again);
    keep(frozen.acting);
    keep_fence(frozen.fence);
    finish(k);
}

struct writer { struct client *client; int worked; atomic_bool stop; pthread_t thread; };

static void *write_on(void *arg) {
    struct writer *w = arg;
    for (int i = 0; !w->stop; i++) {
        char name[32];
        snprintf(name, sizeof(name), "w-%d", i);
        _cleanup_status_ struct status err = STATUS_INIT;
        if (create_config_map(w->client, name, &err) == 0) w->worked++;
        else if (!status_is(&err, 412)) w->worked = -1000000;
    }
    return NULL;
}

/* Renewals move the Lease's revision all the time: writes go through all the same; when it changes hands they end at once and for good. */
static void renewals_do_not_disturb_writes_and_a_change_of_hands_ends_them(void **state UNUSED) {
    struct cluster *k = cluster_start(NULL);
    cluster_create(k, "{'apiVersion':'coordination.k8s.io/v1','kind':'Lease','metadata':{'name':'the-lease','namespace':'kube-system'},'spec':{'holderIdentity':'a_1','leaseDurationSeconds':4,'leaseTransitions':3}}");
    static const char *const masters[] = {"system:masters", NULL};
    struct lease_fence *fence = lease_fence_new(&k->env);
    lease_fence_open(fence, "kube-system", "the-lease", "a_1", 3, INT64_MAX);
    struct writer w = {.client = client_new(lease_fence_transport(fence, local_transport_new(k->apiserver, "admin", masters, "test")))};
    assert_int_equal(pthread_create(&w.thread, NULL, write_on, &w), 0);
    for (int i = 0; i < 200; i++) {
        char body[128];
        snprintf(body, sizeof(body), "{'spec':{'renewTime':'2026-01-01T00:00:00.%06dZ'}}", i);
        cluster_patch(k, LEASE, body);
    }
    assert_true(w.worked > 20);
    cluster_patch(k, LEASE, "{'spec':{'holderIdentity':'b_1','leaseTransitions':4}}");
    _cleanup_arena_ struct arena *a = arena_new();
    long handed_over = atol(cluster_get(k, a, LEASE, "metadata.resourceVersion"));
    env_sleep_ms(env_real(), 50);
    w.stop = true;
    pthread_join(w.thread, NULL);
    struct corev1_ConfigMapList all = {0};
    assert_int_equal(client_list(k->admin, a, &corev1_ConfigMap_desc, "default", NULL, &all, NULL), 0);
    int there = 0;
    LIST_FOREACH(m, &all.items) {
        if (!str_has_prefix(m->metadata.name, "w-")) continue;
        there++;
        assert_true(atol(m->metadata.resourceVersion) < handed_over);
    }
    assert_int_equal(there, w.worked);
    keep(w.client);
    keep_fence(fence);
    finish(k);
}

static void a_free_lease_is_left_to_the_preferred_holder_for_a_moment(void **state UNUSED) {
    cluster_runtime_config = "coordination.k8s.io/v1beta1=true";
    struct cluster *k = cluster_start(NULL);
    struct candidate *a = candidate_start(k, "a_1");
    wait_leading(a, true, 0);
    struct candidate *b = candidate_start(k, "b_1");
    cluster_patch(k, LEASE, "{'spec':{'strategy':'example.com/s','preferredHolder':'b_1'}}");
    wait_leading(b, true, 0); /* handed over without the clock moving */
    assert_false(leader_election_leading(a->election));
    cluster_expect(k, LEASE, "spec.holderIdentity", "b_1");
    cluster_expect(k, LEASE, "spec.preferredHolder", "");
    cluster_expect(k, LEASE, "spec.leaseTransitions", "1");
    cluster_patch(k, LEASE, "{'spec':{'preferredHolder':'gone_1'}}"); /* who is not there does not keep it from being held */
    wait_leading(b, false, 0);
    cluster_expect(k, LEASE, "spec.holderIdentity", "");
    for (int i = 0; i < 500 && !atomic_load(&acting); i++) {
        cluster_advance(k, 100);
        env_sleep_ms(env_real(), 10);
    }
    assert_int_equal(atomic_load(&acting), 1);
    candidate_stop(a);
    candidate_stop(b);
    finish(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_is_acquired_and_given_back_as_upstream_does),
        cmocka_unit_test(a_holder_that_cannot_renew_stops_before_another_begins),
        cmocka_unit_test(what_an_old_holder_still_sends_is_refused),
        cmocka_unit_test(renewals_do_not_disturb_writes_and_a_change_of_hands_ends_them),
        cmocka_unit_test(a_free_lease_is_left_to_the_preferred_holder_for_a_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
