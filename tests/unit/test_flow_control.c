/* Priority and fairness: queues, hands, virtual time, seats and who gets which, in a world whose clock the tests move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "api/flowcontrol_bootstrap.h"
#include "apiserver/flowcontrol/concurrency.h"
#include "apiserver/flowcontrol/flow_internal.h"
#include "apiserver/flowcontrol/matching.h"
#include "base/str.h"

#define MS INT64_C(1000000)

/* ---- one level: flows that ask without end, requests that take a while ---- */

enum { REQUESTS_MAX = 4096 };
struct world {
    struct queue_set *set;
    struct flow_stats *stats;
    int64_t now;
    struct flow_request *all[REQUESTS_MAX];
    size_t len;
    int woken;
};
static struct world world;

static void wake(struct flow_request *r) {
    (void)r;
    world.woken++;
}

static void begin_world(struct queuing q, int limit) {
    world = (struct world){.now = MS};
    world.set = queue_set_new(world.now);
    queue_set_configure(world.set, &q, limit, world.now);
    world.stats = queue_set_stats(world.set, "fs");
}

static void end_world(void) {
    for (size_t i = 0; i < world.len; i++) {
        struct flow_request *r = world.all[i];
        if (r->state == FLOW_WAITING) assert_true(queue_set_cancel(world.set, r, world.now));
    }
    for (size_t i = 0; i < world.len; i++) {
        struct flow_request *r = world.all[i];
        if (r->state == FLOW_EXECUTING && queue_set_finish(world.set, r, world.now)) queue_set_release(world.set, r, world.now);
        free(r);
    }
    assert_true(queue_set_is_idle(world.set));
    queue_set_free(world.set);
}

static struct flow_request *ask_wide(uint64_t hash, int seats, enum flow_outcome *ret) {
    struct flow_request *r = calloc(1, sizeof(*r));
    assert_true(world.len < REQUESTS_MAX);
    *r = (struct flow_request){.work.initial_seats = seats, .hash = hash, .stats = world.stats, .wake = wake, .watches = -1};
    *ret = queue_set_start(world.set, r, world.now);
    world.all[world.len++] = r;
    if (*ret == FLOW_REJECT) r->state = FLOW_OVER;
    return r;
}

static struct flow_request *ask(uint64_t hash) {
    enum flow_outcome out;
    return ask_wide(hash, 1, &out);
}

static void finish(struct flow_request *r) { assert_int_equal(queue_set_finish(world.set, r, world.now), 0); }

/* Runs for so many rounds: each finishes what runs and has gone on for `duration` of its flow; every flow keeps `backlog` requests in hand. Returns the time
 * that each flow had of the seats. */
struct flow { uint64_t hash; int backlog; int64_t duration_ns, served_ns; int served; };

static void play(struct flow *flows, size_t flows_len, int steps) {
    for (int step = 0; step < steps; step++) {
        for (size_t k = 0; k < flows_len; k++) {
            int pending = 0;
            for (size_t i = 0; i < world.len; i++) pending += world.all[i]->hash == flows[k].hash && world.all[i]->state <= FLOW_EXECUTING;
            for (; pending < flows[k].backlog; pending++) ask(flows[k].hash);
        }
        world.now += MS;
        for (size_t i = 0; i < world.len; i++) {
            struct flow_request *r = world.all[i];
            if (r->state != FLOW_EXECUTING) continue;
            for (size_t k = 0; k < flows_len; k++) {
                if (r->hash != flows[k].hash || world.now - r->start_ns < flows[k].duration_ns) continue;
                flows[k].served_ns += world.now - r->start_ns;
                flows[k].served++;
                finish(r);
                break;
            }
        }
    }
}

static void a_flow_with_more_requests_gets_no_more(void **state UNUSED) {
    struct flow flows[] = {{.hash = 1, .backlog = 40, .duration_ns = MS}, {.hash = 2, .backlog = 4, .duration_ns = MS}};
    begin_world((struct queuing){64, 50, 1}, 4);
    play(flows, 2, 300);
    assert_in_range(flows[1].served, flows[0].served * 8 / 10, flows[0].served * 12 / 10 + 1);
    end_world();
}

static void seats_are_shared_by_time_not_by_requests(void **state UNUSED) {
    struct flow flows[] = {{.hash = 1, .backlog = 8, .duration_ns = 8 * MS}, {.hash = 2, .backlog = 8, .duration_ns = 2 * MS}};
    begin_world((struct queuing){64, 50, 1}, 4);
    play(flows, 2, 500);
    assert_in_range(flows[1].served_ns, flows[0].served_ns * 7 / 10, flows[0].served_ns * 13 / 10);
    assert_true(flows[1].served > 2 * flows[0].served);
    end_world();
}

/* A flow of one request at a time is served at once, whatever the flood: the wait is that of one request that runs. */
static void a_flood_does_not_starve_a_quiet_flow(void **state UNUSED) {
    begin_world((struct queuing){64, 50, 1}, 2);
    for (int i = 0; i < 50; i++) ask(1);
    struct flow_request *r = ask(2);
    assert_int_equal(r->state, FLOW_WAITING);
    world.now += 5 * MS;
    finish(world.all[0]);
    assert_int_equal(r->state, FLOW_EXECUTING);
    assert_true(world.woken > 0);
    end_world();
}

static void full_queues_refuse_and_others_do_not(void **state UNUSED) {
    enum flow_outcome out;
    begin_world((struct queuing){8, 3, 1}, 1);
    assert_int_equal(ask(1)->state, FLOW_EXECUTING);
    for (int i = 0; i < 3; i++) ask(1);
    ask_wide(1, 1, &out);
    assert_int_equal(out, FLOW_REJECT);
    assert_int_equal(world.stats->rejected[FLOW_REJECT_QUEUE_FULL], 1);
    ask_wide(2, 1, &out);
    assert_int_equal(out, FLOW_WAIT);
    end_world();
}

static void without_queues_what_finds_no_seat_is_refused(void **state UNUSED) {
    enum flow_outcome out;
    begin_world((struct queuing){0, 0, 0}, 2);
    ask(1);
    struct flow_request *second = ask(1);
    ask_wide(1, 1, &out);
    assert_int_equal(out, FLOW_REJECT);
    assert_int_equal(world.stats->rejected[FLOW_REJECT_CONCURRENCY_LIMIT], 1);
    finish(second);
    ask_wide(1, 1, &out);
    assert_int_equal(out, FLOW_RUN);
    end_world();
}

static void exempt_requests_never_wait(void **state UNUSED) {
    enum flow_outcome out;
    begin_world((struct queuing){-1, 0, 0}, 0);
    for (int i = 0; i < 100; i++) {
        ask_wide(1, 1, &out);
        assert_int_equal(out, FLOW_RUN);
    }
    end_world();
}

static void wide_requests_take_their_seats(void **state UNUSED) {
    enum flow_outcome out;
    begin_world((struct queuing){8, 10, 1}, 4);
    struct flow_request *wide = ask_wide(1, 3, &out), *narrow = ask_wide(2, 1, &out), *more = ask_wide(3, 2, &out);
    assert_int_equal(wide->state, FLOW_EXECUTING);
    assert_int_equal(narrow->state, FLOW_EXECUTING);
    assert_int_equal(more->state, FLOW_WAITING);
    finish(narrow);
    assert_int_equal(more->state, FLOW_WAITING); /* two seats, one is free */
    finish(wide);
    assert_int_equal(more->state, FLOW_EXECUTING);
    struct flow_request *widest = ask_wide(4, 9, &out); /* wider than the level: when nothing else runs */
    assert_int_equal(widest->state, FLOW_WAITING);
    finish(more);
    assert_int_equal(widest->state, FLOW_EXECUTING);
    end_world();
}

static void seats_linger_for_the_work_of_watchers(void **state UNUSED) {
    begin_world((struct queuing){8, 10, 1}, 2);
    struct flow_request *r = calloc(1, sizeof(*r));
    *r = (struct flow_request){.work = {.initial_seats = 1, .final_seats = 2, .additional_ns = 5 * MS}, .hash = 1, .stats = world.stats, .wake = wake, .watches = 20};
    assert_int_equal(queue_set_start(world.set, r, world.now), FLOW_RUN);
    world.all[world.len++] = r;
    struct flow_request *next = ask(2);
    assert_int_equal(next->state, FLOW_WAITING);
    assert_int_equal(queue_set_finish(world.set, r, world.now), 5 * MS);
    assert_int_equal(next->state, FLOW_WAITING);
    world.now += 5 * MS;
    queue_set_release(world.set, r, world.now);
    assert_int_equal(next->state, FLOW_EXECUTING);
    end_world();
}

static void who_gives_up_leaves_no_trace(void **state UNUSED) {
    begin_world((struct queuing){8, 10, 1}, 1);
    struct flow_request *first = ask(1), *second = ask(2), *third = ask(3);
    assert_false(queue_set_cancel(world.set, first, world.now)); /* it runs */
    assert_true(queue_set_cancel(world.set, second, world.now));
    assert_int_equal(world.stats->rejected[FLOW_REJECT_TIME_OUT], 1);
    finish(first);
    assert_int_equal(third->state, FLOW_EXECUTING);
    end_world();
}

static void fewer_queues_drain_and_more_seats_serve(void **state UNUSED) {
    struct queue_set_dump d;
    begin_world((struct queuing){16, 50, 1}, 1);
    for (uint64_t i = 0; i < 16; i++) ask(i);
    queue_set_configure(world.set, &(struct queuing){4, 50, 1}, 1, world.now);
    queue_set_dump(world.set, &d);
    assert_int_equal(d.queues, 16);
    queue_set_configure(world.set, &(struct queuing){4, 50, 1}, 100, world.now);
    for (size_t i = 0; i < world.len; i++) assert_int_equal(world.all[i]->state, FLOW_EXECUTING);
    for (size_t i = 0; i < world.len; i++) finish(world.all[i]);
    queue_set_dump(world.set, &d);
    assert_int_equal(d.queues, 4);
    assert_int_equal(d.dispatched, 16);
    end_world();
}

/* ---- shuffle sharding ---- */

static void hands_are_fair_and_whole(void **state UNUSED) {
    int counts[16] = {0};
    uint64_t x = 88172645463325252u;
    for (int n = 0; n < 4000; n++) {
        int hand[FLOW_HAND_MAX];
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        flow_deal(x, 16, 4, hand);
        for (int i = 0; i < 4; i++) {
            assert_in_range(hand[i], 0, 15);
            counts[hand[i]]++;
            for (int k = 0; k < i; k++) assert_int_not_equal(hand[i], hand[k]);
        }
    }
    for (int i = 0; i < 16; i++) assert_in_range(counts[i], 800, 1200); /* a thousand each */
}

/* With hands of six from 128 queues, 40 floods leave a quiet flow a queue of its own. */
static void a_hand_has_a_queue_that_no_flood_has(void **state UNUSED) {
    begin_world((struct queuing){128, 50, 6}, 1);
    for (int round = 0; round < 20; round++)
        for (uint64_t i = 0; i < 4; i++) ask(flow_hash("fs", (const char *const[]){"a", "b", "c", "d"}[i]));
    struct flow_request *r = ask(flow_hash("fs", "quiet"));
    assert_ptr_equal(r->prev, NULL); /* the first in its queue */
    end_world();
}

static void flows_hash_as_upstream(void **state UNUSED) {
    assert_int_equal(flow_hash("fs", ""), flow_hash("fs", ""));
    assert_int_not_equal(flow_hash("fs", "a"), flow_hash("fs", "b"));
    assert_int_not_equal(flow_hash("fs", "ab"), flow_hash("fsa", "b")); /* there is a byte between them */
    char big[400];
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    assert_int_not_equal(flow_hash("fs", big), flow_hash("fs", big + 1));
}

/* ---- seats among levels ---- */

static void seats_follow_demand_within_bounds(void **state UNUSED) {
    struct concurrency_class c[] = {{.target = 10, .lower = 0, .upper = 100}, {.target = 30, .lower = 0, .upper = 100}, {.target = 10, .lower = 10, .upper = 10}};
    double fair;
    assert_true(concurrency_allot(90, c, 3, &fair));
    assert_float_equal(c[0].allotted + c[1].allotted + c[2].allotted, 90, 1e-6);
    assert_float_equal(c[1].allotted, 3 * c[0].allotted, 1e-6);
    assert_float_equal(c[2].allotted, 10, 1e-6);
    assert_false(concurrency_allot(5, c, 3, &fair)); /* less than the lower bounds */
    assert_false(concurrency_allot(500, c, 3, &fair));
}

/* ---- the configuration ---- */

static struct flow_control *control_new(struct arena **ret_arena, struct flow_schema_list *schemas, struct priority_level_list *levels) {
    struct flow_control *f = calloc(1, sizeof(*f));
    struct arena *a = arena_new();
    struct flowcontrolv1_FlowSchema *fs;
    struct flowcontrolv1_PriorityLevelConfiguration *p;
    f->fair = true;
    f->limit_reading = FLOW_LIMIT_READING;
    f->limit_mutating = FLOW_LIMIT_MUTATING;
    for (size_t i = 0; (fs = bootstrap_flow_schema(a, i)); i++) *LIST_PUSH(a, schemas) = fs;
    for (size_t i = 0; (p = bootstrap_priority_level(a, i)); i++) *LIST_PUSH(a, levels) = p;
    flow_config_init(f, 0);
    *ret_arena = a;
    return f;
}

static void control_free(struct flow_control *f) {
    flow_config_free(f);
    free(f);
}

static struct level *level_of(struct flow_control *f, const char *name) {
    struct level *l = map_get(f->levels, name);
    assert_non_null(l);
    return l;
}

static void default_levels_get_upstreams_seats(void **state UNUSED) {
    static const struct { const char *name; int nominal, min; } cases[] = {{"exempt", 0, 0}, {"catch-all", 13, 13}, {"system", 74, 50}, {"node-high", 98, 73}, {"leader-election", 25, 25}, {"workload-high", 98, 49},
        {"workload-low", 245, 24}, {"global-default", 49, 24}};
    struct flow_schema_list schemas = {0};
    struct priority_level_list levels = {0};
    struct arena *a;
    struct flow_control *f = control_new(&a, &schemas, &levels);
    flow_digest(f, a, &schemas, &levels, MS);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(level_of(f, cases[i].name)->nominal, cases[i].nominal);
        assert_int_equal(level_of(f, cases[i].name)->min, cases[i].min);
    }
    control_free(f);
}

/* A level with work takes seats from those without, and gives them back when they want them. */
static void levels_lend_and_take_back(void **state UNUSED) {
    struct flow_schema_list schemas = {0};
    struct priority_level_list levels = {0};
    struct arena *a;
    struct flow_control *f = control_new(&a, &schemas, &levels);
    int64_t now = MS;
    flow_digest(f, a, &schemas, &levels, now);
    struct level *low = level_of(f, "workload-low"), *high = level_of(f, "workload-high");
    enum { MANY = 400 };
    struct flow_request *busy = calloc(MANY, sizeof(*busy)), *late = calloc(MANY, sizeof(*late));
    for (int i = 0; i < MANY; i++) {
        busy[i] = (struct flow_request){.work.initial_seats = 1, .hash = (uint64_t)i * 7919, .stats = queue_set_stats(low->queues, "x"), .watches = -1};
        assert_int_not_equal(queue_set_start(low->queues, &busy[i], now), FLOW_REJECT);
    }
    int before = low->current;
    for (int i = 0; i < 60; i++) flow_adjust(f, now += 10000 * MS);
    assert_true(low->current > before);
    assert_true(low->current > low->nominal); /* borrowed */
    assert_true(high->current >= high->min);
    int borrowed = low->current;
    for (int i = 0; i < MANY; i++) {
        late[i] = (struct flow_request){.work.initial_seats = 1, .hash = (uint64_t)i * 104729, .stats = queue_set_stats(high->queues, "y"), .watches = -1};
        assert_int_not_equal(queue_set_start(high->queues, &late[i], now), FLOW_REJECT);
    }
    flow_adjust(f, now += 10000 * MS);
    assert_true(high->current >= high->nominal); /* its own at the next turn */
    assert_true(low->current < borrowed);
    for (int i = 0; i < MANY; i++) {
        if (!queue_set_cancel(low->queues, &busy[i], now)) queue_set_finish(low->queues, &busy[i], now);
        if (!queue_set_cancel(high->queues, &late[i], now)) queue_set_finish(high->queues, &late[i], now);
    }
    free(busy);
    free(late);
    control_free(f);
}

static void a_level_goes_when_its_requests_have(void **state UNUSED) {
    struct flow_schema_list schemas = {0}, none = {0};
    struct priority_level_list levels = {0}, nothing = {0};
    struct arena *a;
    struct flow_control *f = control_new(&a, &schemas, &levels);
    flow_digest(f, a, &schemas, &levels, MS);
    struct level *low = level_of(f, "workload-low");
    struct flow_request r = {.work.initial_seats = 1, .stats = queue_set_stats(low->queues, "x"), .watches = -1};
    assert_int_equal(queue_set_start(low->queues, &r, MS), FLOW_RUN);
    flow_digest(f, arena_new(), &none, &nothing, 2 * MS);
    assert_true(level_of(f, "workload-low")->quiescing);
    assert_true(flow_has_quiescing(f));
    assert_int_equal(map_len(f->levels), 3); /* and the mandatory ones */
    queue_set_finish(low->queues, &r, 3 * MS);
    flow_digest(f, arena_new(), &none, &nothing, 4 * MS);
    assert_int_equal(map_len(f->levels), 2);
    assert_int_equal(f->schemas.len, 2);
    control_free(f);
}

/* ---- matching ---- */

static void requests_find_their_schema(void **state UNUSED) {
    static const struct { const char *user, *group, *verb, *api_group, *resource, *ns, *path, *schema; } cases[] = {
        {"admin", "system:masters", "list", "", "pods", NULL, NULL, "exempt"},
        {"system:anonymous", "system:unauthenticated", "get", NULL, NULL, NULL, "/healthz", "probes"},
        {"system:anonymous", "system:unauthenticated", "get", NULL, NULL, NULL, "/metrics", "global-default"},
        {"system:kube-scheduler", NULL, "update", "coordination.k8s.io", "leases", "kube-system", NULL, "system-leader-election"},
        {"system:kube-scheduler", NULL, "list", "", "pods", NULL, NULL, "kube-scheduler"},
        {"system:kube-controller-manager", NULL, "update", "", "endpoints", "a", NULL, "endpoint-controller"},
        {"system:kube-controller-manager", NULL, "list", "", "endpoints", "a", NULL, "kube-controller-manager"},
        {"system:node:n", "system:nodes", "update", "coordination.k8s.io", "leases", "kube-node-lease", NULL, "system-node-high"},
        {"system:node:n", "system:nodes", "get", "", "pods", "a", NULL, "system-nodes"},
        {"system:serviceaccount:kube-system:x", "system:serviceaccounts", "get", "", "pods", "a", NULL, "kube-system-service-accounts"},
        {"system:serviceaccount:a:x", "system:serviceaccounts", "get", "", "pods", "a", NULL, "service-accounts"},
        {"alice", NULL, "get", "", "pods", "a", NULL, "global-default"},
    };
    struct flow_schema_list schemas = {0};
    struct priority_level_list levels = {0};
    struct arena *a;
    struct flow_control *f = control_new(&a, &schemas, &levels);
    flow_digest(f, a, &schemas, &levels, MS);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_request r = {.verb = cases[i].verb, .is_resource = cases[i].resource != NULL, .group = cases[i].api_group, .resource = cases[i].resource, .namespace = cases[i].ns, .path = cases[i].path,
            .user.name = cases[i].user};
        if (cases[i].group) string_list_push(a, &r.user.groups, cases[i].group);
        if (!str_eq(cases[i].group, "system:unauthenticated")) string_list_push(a, &r.user.groups, "system:authenticated");
        assert_string_equal(flow_match(f, &r)->fs->metadata.name, cases[i].schema);
    }
    control_free(f);
}

/* ---- Retry-After ---- */

static void many_refusals_lengthen_the_pause(void **state UNUSED) {
    struct dropped d = {.retry_after = 1};
    int64_t most = 0;
    for (int64_t second = 1000; second < 1200; second++)
        for (int i = 0; i < 200; i++) most = dropped_note(&d, second);
    assert_int_equal(most, RETRY_AFTER_MAX_S);
    for (int64_t second = 2000; second < 20000; second += 100) most = dropped_note(&d, second);
    assert_int_equal(most, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_with_more_requests_gets_no_more), cmocka_unit_test(seats_are_shared_by_time_not_by_requests), cmocka_unit_test(a_flood_does_not_starve_a_quiet_flow),
        cmocka_unit_test(full_queues_refuse_and_others_do_not), cmocka_unit_test(without_queues_what_finds_no_seat_is_refused), cmocka_unit_test(exempt_requests_never_wait),
        cmocka_unit_test(wide_requests_take_their_seats), cmocka_unit_test(seats_linger_for_the_work_of_watchers), cmocka_unit_test(who_gives_up_leaves_no_trace),
        cmocka_unit_test(fewer_queues_drain_and_more_seats_serve), cmocka_unit_test(hands_are_fair_and_whole), cmocka_unit_test(a_hand_has_a_queue_that_no_flood_has), cmocka_unit_test(flows_hash_as_upstream),
        cmocka_unit_test(seats_follow_demand_within_bounds), cmocka_unit_test(default_levels_get_upstreams_seats), cmocka_unit_test(levels_lend_and_take_back), cmocka_unit_test(a_level_goes_when_its_requests_have),
        cmocka_unit_test(requests_find_their_schema), cmocka_unit_test(many_refusals_lengthen_the_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
