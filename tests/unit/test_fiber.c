/* base/loop and base/fiber: what is posted runs, what sleeps wakes, and a wake is never lost. Run under ASan and TSan too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "base/env.h"
#include "base/fiber.h"
#include "base/loop.h"
#include "base/macros.h"

static struct loop *loop;

static int start(void **state UNUSED) {
    loop = loop_new();
    loop_start(loop);
    return 0;
}

static int stop(void **state UNUSED) {
    loop_stop(loop);
    loop_free(loop);
    return 0;
}

static void add_one(void *arg) { ++*(int *)arg; }

static void a_call_has_run_when_it_returns(void **state UNUSED) {
    int n = 0;
    for (int i = 0; i < 100; i++) loop_call(loop, add_one, &n);
    assert_int_equal(n, 100);
}

struct sequence { int items[1000]; size_t len; };
struct entry { struct sequence *to; int value; };

static void note(void *arg) {
    struct entry *e = arg;
    e->to->items[e->to->len++] = e->value;
}

static void nothing(void *arg UNUSED) {}

static void posts_of_one_thread_run_in_order(void **state UNUSED) {
    struct sequence s = {.len = 0};
    struct entry entries[1000];
    for (int i = 0; i < 1000; i++) {
        entries[i] = (struct entry){&s, i};
        loop_post(loop, note, &entries[i]);
    }
    loop_call(loop, nothing, NULL);
    assert_int_equal(s.len, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(s.items[i], i);
}

static void sleep_a_little(void *arg) {
    int64_t before = env_mono_ns(env_real());
    fiber_sleep_ms(20);
    *(int64_t *)arg = env_mono_ns(env_real()) - before;
}

static void a_sleep_lasts(void **state UNUSED) {
    int64_t slept = 0;
    loop_call(loop, sleep_a_little, &slept);
    assert_true(slept >= 19000000);
}

/* A worker thread that wakes fibers, like the store's writer. */
struct handover {
    struct fiber *fiber;
    pthread_t thread;
    int answer;
    bool early; /* the wake comes while the fiber still sleeps */
};

static void *worker(void *arg) {
    struct handover *h = arg;
    if (!h->early) env_sleep_ms(env_real(), 2);
    h->answer = 42;
    fiber_wake(h->fiber);
    return NULL;
}

static void wait_for_worker(void *arg) {
    struct handover *h = arg;
    h->fiber = fiber_current();
    assert_int_equal(pthread_create(&h->thread, NULL, worker, h), 0);
    if (h->early) fiber_sleep_ms(20);
    fiber_suspend();
    assert_int_equal(h->answer, 42);
}

static void a_wake_from_another_thread_ends_the_wait(void **state UNUSED) {
    struct handover h = {.early = false};
    loop_call(loop, wait_for_worker, &h);
    pthread_join(h.thread, NULL);
}

static void a_wake_that_comes_first_is_kept(void **state UNUSED) {
    struct handover h = {.early = true};
    loop_call(loop, wait_for_worker, &h);
    pthread_join(h.thread, NULL);
}

static atomic_int finished;

static void use_the_stack(void *arg UNUSED) {
    char bytes[100000];
    memset(bytes, 7, sizeof(bytes));
    fiber_sleep_ms(1);
    for (size_t i = 0; i < sizeof(bytes); i += 1000) CHECK(bytes[i] == 7);
    atomic_fetch_add(&finished, 1);
}

static void spawn_many(void *arg UNUSED) {
    for (int i = 0; i < 300; i++) fiber_spawn(use_the_stack, NULL);
}

static void many_fibers_keep_their_stacks_apart(void **state UNUSED) {
    loop_post(loop, spawn_many, NULL);
    for (int i = 0; i < 3000 && atomic_load(&finished) < 300; i++) env_sleep_ms(env_real(), 10);
    assert_int_equal(atomic_load(&finished), 300);
}

static atomic_int ticks;
static struct loop_timer *timer;

static void tick(void *arg UNUSED) {
    if (atomic_fetch_add(&ticks, 1) + 1 < 3) return;
    loop_timer_free(timer);
}

static void start_timer(void *arg UNUSED) {
    timer = loop_timer_new(tick, NULL);
    loop_timer_start(timer, 1, 1);
}

static void a_timer_repeats_until_it_is_freed(void **state UNUSED) {
    loop_call(loop, start_timer, NULL);
    for (int i = 0; i < 6000 && atomic_load(&ticks) < 3; i++) env_sleep_ms(env_real(), 5);
    env_sleep_ms(env_real(), 10);
    assert_int_equal(atomic_load(&ticks), 3);
}

struct deferral { struct loop_deferred deferred; int runs; };

static void run_deferred(struct loop_deferred *d) { ((struct deferral *)(void *)d)->runs++; }

static void defer_some(void *arg) {
    struct deferral *d = arg;
    for (int i = 0; i < 3; i++) {
        d[i].deferred.fn = run_deferred;
        loop_defer(&d[i].deferred);
        loop_defer(&d[i].deferred);
    }
    loop_defer_cancel(&d[2].deferred);
    loop_defer_cancel(&d[2].deferred);
}

static void deferred_work_runs_once_a_turn(void **state UNUSED) {
    struct deferral d[3] = {0};
    loop_call(loop, defer_some, d);
    loop_call(loop, nothing, NULL);
    loop_call(loop, nothing, NULL);
    assert_int_equal(d[0].runs, 1);
    assert_int_equal(d[1].runs, 1);
    assert_int_equal(d[2].runs, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_has_run_when_it_returns),
        cmocka_unit_test(posts_of_one_thread_run_in_order),
        cmocka_unit_test(a_sleep_lasts),
        cmocka_unit_test(a_wake_from_another_thread_ends_the_wait),
        cmocka_unit_test(a_wake_that_comes_first_is_kept),
        cmocka_unit_test(many_fibers_keep_their_stacks_apart),
        cmocka_unit_test(a_timer_repeats_until_it_is_freed),
        cmocka_unit_test(deferred_work_runs_once_a_turn),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
