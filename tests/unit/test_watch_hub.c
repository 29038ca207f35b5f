/* apiserver/watch_hub: every watcher is given every event of its prefix, in order, once; an event is encoded once for all; wide fan-outs rest and lose nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "api/object.h"
#include "apiserver/watch_hub.h"

enum { LOOPS = 2, WATCHERS = 200, EVENTS = 60, DEADLINE_MS = 60000 };

static char dir[64];
static struct store *store;
static struct watch_hub *hub;
static struct loop *loops[LOOPS];
static atomic_size_t made, freed;

struct seen {
    struct hub_watcher hub; /* first */
    atomic_size_t events, flushes;
    uint64_t last, added_at;
    bool disordered, stale;
};

static int set_up(void **state UNUSED) {
    snprintf(dir, sizeof(dir), "/tmp/ckube-hub-XXXXXX");
    if (!mkdtemp(dir) || store_open(&(struct store_options){.dir = dir, .no_sync = true}, &store, NULL) != 0) return -1;
    hub = watch_hub_new(store, NULL);
    for (int i = 0; i < LOOPS; i++) loop_start(loops[i] = loop_new());
    atomic_store(&made, 0);
    atomic_store(&freed, 0);
    return hub ? 0 : -1;
}

static int tear_down(void **state UNUSED) {
    for (int i = 0; i < LOOPS; i++) {
        loop_stop(loops[i]);
        loop_free(loops[i]);
    }
    watch_hub_free(hub);
    store_close(store);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct shared *make(void *arg UNUSED, struct hub_event *e) {
    atomic_fetch_add(&made, 1);
    return shared_new(e->store->key, strlen(e->store->key));
}

static bool on_event(struct hub_watcher *h, struct hub_event *e) {
    struct seen *w = (struct seen *)h;
    if (e->store->revision <= w->last) w->disordered = true;
    if (e->store->revision <= w->added_at) w->stale = true;
    w->last = e->store->revision;
    watch_hub_frame(hub, e, (struct hub_form){&corev1_Pod_desc, 0}, make, NULL);
    atomic_fetch_add(&w->events, 1);
    return true;
}

static void on_flush(struct hub_watcher *h) { atomic_fetch_add(&((struct seen *)h)->flushes, 1); }
static void on_free(struct hub_watcher *h UNUSED) { atomic_fetch_add(&freed, 1); }

static void add_here(void *arg) {
    struct seen *w = arg;
    w->added_at = watch_hub_add(hub, &w->hub);
}
static void remove_here(void *arg) { watch_hub_remove(hub, arg); }

static void add(struct seen *w, int loop, const char *prefix) {
    *w = (struct seen){.hub = {.loop = loops[loop], .prefix = prefix, .fn = on_event, .flush = on_flush, .free = on_free}};
    loop_call(loops[loop], add_here, w);
}

static void drop(struct seen *w) { loop_call(w->hub.loop, remove_here, w); }

static void put(const char *key) {
    struct store_op op = {.key = key, .value = "{}", .value_len = 2, .expect_mod_revision = STORE_ANY};
    struct store_result r;
    store_write_wait(store, &op, 1, &r);
    assert_int_equal(r.outcome, STORE_OK);
}

static void wait_for(atomic_size_t *count, size_t want) {
    for (int ms = 0; atomic_load(count) < want && ms < DEADLINE_MS; ms++) usleep(1000);
    assert_int_equal(atomic_load(count), want);
}

static void each_gets_the_events_of_its_prefix(void **state UNUSED) {
    struct seen all, one, other;
    add(&all, 0, "/registry/pods/");
    add(&one, 1, "/registry/pods/a/");
    add(&other, 1, "/registry/pods/b/");
    put("/registry/pods/a/x");
    put("/registry/podsets/a/x");
    put("/registry/pods/ab/x");
    put("/registry/pods/a/x");
    put("/registry/pods/b/x");
    wait_for(&all.events, 4);
    wait_for(&one.events, 2);
    wait_for(&other.events, 1);
    assert_int_equal(watch_hub_watchers(hub), 3);
    drop(&all);
    drop(&one);
    drop(&other);
    wait_for(&freed, 3);
    assert_int_equal(watch_hub_watchers(hub), 0);
}

/* So many that the loops rest between: nothing is lost, nothing comes twice, and each event was encoded once. */
static void many_get_all_in_order_of_one_encoding(void **state UNUSED) {
    static struct seen watchers[WATCHERS];
    for (int i = 0; i < WATCHERS; i++) add(&watchers[i], i % LOOPS, i % 3 ? "/registry/pods/" : "/registry/pods/a/");
    for (int i = 0; i < EVENTS; i++) put("/registry/pods/a/x");
    for (int i = 0; i < WATCHERS; i++) wait_for(&watchers[i].events, EVENTS);
    for (int i = 0; i < WATCHERS; i++) {
        assert_false(watchers[i].disordered);
        assert_in_range(atomic_load(&watchers[i].flushes), 1, EVENTS);
        drop(&watchers[i]);
    }
    assert_int_equal(atomic_load(&made), EVENTS);
    wait_for(&freed, WATCHERS);
}

/* Watchers come and go, the last of a loop too, while events are on their way: none gets what was before it, and it may be freed at once. */
static void watchers_come_and_go(void **state UNUSED) {
    static struct seen resident[WATCHERS];
    for (int i = 0; i < WATCHERS; i++) add(&resident[i], 0, "/registry/pods/");
    for (int i = 0; i < EVENTS; i++) {
        struct seen *w = calloc(1, sizeof(*w));
        put("/registry/pods/a/x");
        add(w, 1, "/registry/pods/");
        put("/registry/pods/a/x");
        if (i % 2) wait_for(&w->events, 1);
        drop(w);
        assert_false(w->stale || w->disordered);
        free(w);
    }
    for (int i = 0; i < WATCHERS; i++) drop(&resident[i]);
    wait_for(&freed, WATCHERS + EVENTS);
}

struct asked { struct seen *w; uint64_t progress; };
static void ask_progress(void *arg) {
    struct asked *a = arg;
    a->progress = watch_hub_progress(hub, &a->w->hub);
}

static void progress_never_runs_ahead_of_events(void **state UNUSED) {
    struct seen w;
    add(&w, 0, "/registry/pods/");
    for (int i = 0; i < EVENTS; i++) {
        struct asked a = {&w, 0};
        put("/registry/pods/a/x");
        put("/registry/nodes/x"); /* its revision counts too */
        loop_call(loops[0], ask_progress, &a);
        if (a.progress) assert_true(a.progress <= w.last + 1);
    }
    wait_for(&w.events, EVENTS);
    struct asked a = {&w, 0};
    for (int ms = 0; ms < DEADLINE_MS && a.progress != store_revision(store); ms++) {
        loop_call(loops[0], ask_progress, &a);
        usleep(1000);
    }
    assert_int_equal(a.progress, store_revision(store));
    drop(&w);
    wait_for(&freed, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_gets_the_events_of_its_prefix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_get_all_in_order_of_one_encoding, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watchers_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(progress_never_runs_ahead_of_events, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
