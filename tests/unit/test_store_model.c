/* store/: random writes from a seed, played against a model that knows beforehand what each must answer: its outcome, its revision, the conflict it meets.
 *
 * Submissions of one thread take effect in their order, so that the model can be exact although they are batched, and commit while more are submitted.
 * Watches begin and end all the while, from revisions old and new; afterwards each must have seen exactly the model's events. Between the phases keys
 * expire, the log is cut, and the store is closed and opened. CKUBE_SEED=n plays one seed, CKUBE_ROUNDS=n more of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "store/store.h"

enum { KEYS = 24, PHASES = 5, SUBMISSIONS = 250, OPS_MAX = 3, WATCHES = 6, VALUE_MAX = 9000, HISTORY_MAX = PHASES * (SUBMISSIONS * OPS_MAX + KEYS), LOG_MAX = 400 };

struct cell { bool there; uint32_t value_id, value_len, rv_offset; uint64_t create, mod; int64_t expires; };
struct change { uint64_t revision, create, prev_mod; int key; bool del; struct cell now, prev; };
struct answer { enum store_outcome outcome; uint64_t revision, conflict_revision; size_t conflict_op; struct model *model; };

struct seen { struct store_event **events; size_t len; struct store_watch *watch; uint64_t from; char prefix[16]; };

struct model {
    struct env clock; /* first */
    _Atomic int64_t now_s;
    unsigned seed;
    struct store *store;
    struct cell cells[KEYS];
    uint64_t revision;
    uint32_t next_value;
    struct change *history;
    size_t history_len;
    struct seen watches[WATCHES];
    _Atomic size_t pending;
    char dir[64];
};

static int64_t model_now(struct env *e) { return ((struct model *)(void *)e)->now_s * 1000000000; }
static unsigned pick(struct model *m, unsigned n) { return (unsigned)rand_r(&m->seed) % n; }
static void key_name(int key, char out[24]) { snprintf(out, 24, "/registry/%s/k%02d", key % 3 ? "pods" : "nodes", key); }

/* Values are made of their number, so that the model need not keep them. */
static void fill_value(uint32_t id, char *out, size_t len) {
    for (size_t i = 0; i < len; i++) out[i] = (char)(id * 31 + i * 7 + (i >> 8));
}

static void assert_value(const struct cell *c, const char *bytes, size_t len) {
    static _Thread_local char expected[VALUE_MAX];
    assert_int_equal(len, c->value_len);
    fill_value(c->value_id, expected, len);
    assert_memory_equal(bytes, expected, len);
}

static void open_model(struct model *m) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct store_options o = {.dir = m->dir, .no_sync = true, .env = &m->clock, .log_entries_max = LOG_MAX, .log_age_s = 1000000000};
    if (store_open(&o, &m->store, &err) != 0) fail_msg("%s", err.message);
    assert_int_equal(store_revision(m->store), m->revision);
}

static void on_done(void *arg, struct store_result *r) {
    struct answer *want = arg;
    assert_int_equal(r->outcome, want->outcome);
    assert_int_equal(r->revision, want->revision);
    assert_int_equal(r->conflict_op, want->conflict_op);
    assert_int_equal(r->conflict_revision, want->conflict_revision);
    want->model->pending--;
    free(want);
}

static void wait_all(struct model *m) {
    while (m->pending) usleep(200);
}

/* ---- writing ---- */

static int64_t some_expectation(struct model *m, const struct cell *c) {
    switch (pick(m, 8)) {
        case 0: return STORE_ANY;
        case 1: return 0;
        case 2: return (int64_t)(2 + pick(m, (unsigned)m->revision));
        default: return c->there ? (int64_t)c->mod : 0;
    }
}

static void apply(struct model *m, int key, const struct store_op *op, uint32_t value_id, uint64_t revision) {
    struct cell *c = &m->cells[key], before = *c;
    if (!op->value && !before.there) return;
    *c = (struct cell){0};
    if (op->value) *c = (struct cell){true, value_id, (uint32_t)op->value_len, op->rv_offset, before.there ? before.create : revision, revision, op->ttl_s ? m->now_s + op->ttl_s : 0};
    assert_true(m->history_len < HISTORY_MAX);
    m->history[m->history_len++] = (struct change){revision, before.there ? before.create : revision, before.there ? before.mod : 0, key, !op->value, *c, before};
}

static void submit_one(struct model *m) {
    static char values[OPS_MAX][VALUE_MAX], names[OPS_MAX][24];
    struct store_op ops[OPS_MAX] = {0};
    int keys[OPS_MAX];
    uint32_t ids[OPS_MAX];
    size_t n = 1 + (pick(m, 4) == 0 ? pick(m, OPS_MAX) : 0), first = pick(m, KEYS);
    struct answer *a = calloc(1, sizeof(*a));
    bool changes = false;
    a->model = m;
    for (size_t i = 0; i < n; i++) {
        keys[i] = (int)((first + i * 5) % KEYS);
        key_name(keys[i], names[i]);
        ops[i] = (struct store_op){.key = names[i], .expect_mod_revision = some_expectation(m, &m->cells[keys[i]])};
        changes |= m->cells[keys[i]].there;
        if (pick(m, 4) == 0) continue;
        ids[i] = m->next_value++;
        ops[i].value_len = pick(m, 6) ? pick(m, 1500) : pick(m, VALUE_MAX);
        ops[i].rv_offset = pick(m, 40);
        if (ops[i].rv_offset > ops[i].value_len) ops[i].rv_offset = 0;
        ops[i].ttl_s = pick(m, 5) ? 0 : 1 + pick(m, 50);
        fill_value(ids[i], values[i], ops[i].value_len);
        ops[i].value = values[i];
        changes = true;
    }
    for (size_t i = 0; i < n && a->outcome == STORE_OK; i++) {
        struct cell *c = &m->cells[keys[i]];
        uint64_t is = c->there ? c->mod : 0;
        if (ops[i].expect_mod_revision == STORE_ANY || (uint64_t)ops[i].expect_mod_revision == is) continue;
        *a = (struct answer){STORE_CONFLICT, 0, is, i, m};
    }
    if (a->outcome == STORE_OK) {
        if (changes) m->revision++;
        a->revision = m->revision;
        for (size_t i = 0; i < n; i++) apply(m, keys[i], &ops[i], ids[i], m->revision);
    }
    m->pending++;
    store_write(m->store, ops, n, on_done, a);
}

/* Keys go in the order of their time, then of their name, each under a revision of its own. */
static void expire(struct model *m, int64_t seconds) {
    wait_all(m);
    int64_t until = m->now_s + seconds;
    for (;;) {
        int next = -1;
        char a[24], b[24];
        for (int i = 0; i < KEYS; i++) {
            if (!m->cells[i].there || !m->cells[i].expires || m->cells[i].expires > until) continue;
            key_name(i, a);
            if (next >= 0) key_name(next, b);
            if (next < 0 || m->cells[i].expires < m->cells[next].expires || (m->cells[i].expires == m->cells[next].expires && strcmp(a, b) < 0)) next = i;
        }
        if (next < 0) break;
        apply(m, next, &(struct store_op){0}, 0, ++m->revision);
    }
    m->now_s = until;
    struct store_result r;
    for (int i = 0; i < 5000 && store_dispatched_revision(m->store) < m->revision; i++) {
        store_write_wait(m->store, &(struct store_op){.key = "/none", .expect_mod_revision = STORE_ANY}, 1, &r); /* changes nothing, wakes the writer */
        usleep(1000);
    }
    assert_int_equal(store_dispatched_revision(m->store), m->revision);
}

/* ---- watching ---- */

static void on_event(void *arg, struct store_event *e) {
    struct seen *s = arg;
    s->events = realloc(s->events, (s->len + 1) * sizeof(*s->events));
    s->events[s->len++] = store_event_ref(e);
}

static void assert_event(const struct store_event *e, const struct change *c) {
    char name[24];
    key_name(c->key, name);
    assert_int_equal(e->revision, c->revision);
    assert_string_equal(e->key, name);
    assert_int_equal(e->type, c->del ? STORE_DELETE : STORE_PUT);
    assert_int_equal(e->create_revision, c->create);
    assert_int_equal(e->prev_mod_revision, c->prev_mod);
    assert_int_equal(e->value != NULL, c->now.there);
    assert_int_equal(e->prev != NULL, c->prev.there);
    if (e->value) assert_value(&c->now, shared_data(e->value), shared_len(e->value));
    if (e->value) assert_int_equal(e->rv_offset, c->now.rv_offset);
    if (e->prev) assert_value(&c->prev, shared_data(e->prev), shared_len(e->prev));
    if (e->prev) assert_int_equal(e->prev_rv_offset, c->prev.rv_offset);
}

/* All of the watch's prefix after its beginning up to `last`, each once, in order. */
static void assert_seen(struct model *m, struct seen *s, uint64_t last) {
    size_t n = 0;
    char name[24];
    for (size_t i = 0; i < m->history_len; i++) {
        struct change *c = &m->history[i];
        key_name(c->key, name);
        if (c->revision <= s->from || c->revision > last || !str_has_prefix(name, s->prefix)) continue;
        if (n == s->len) fail_msg("the watch from %llu has not seen revision %llu", (unsigned long long)s->from, (unsigned long long)c->revision);
        assert_event(s->events[n++], c);
    }
    assert_int_equal(n, s->len);
    for (size_t i = 0; i < s->len; i++) store_event_unref(s->events[i]);
    free(s->events);
    *s = (struct seen){0};
}

static void begin_or_end_watch(struct model *m) {
    struct seen *s = &m->watches[pick(m, WATCHES)];
    _cleanup_status_ struct status err = STATUS_INIT;
    if (s->watch) {
        wait_all(m);
        store_watch_stop(s->watch);
        assert_seen(m, s, m->revision);
        return;
    }
    *s = (struct seen){.from = 1 + pick(m, (unsigned)store_revision(m->store))};
    snprintf(s->prefix, sizeof(s->prefix), "%s", pick(m, 2) ? "/registry/" : "/registry/pods/");
    if (store_watch_start(m->store, s->prefix, s->from, on_event, s, &s->watch, &err) == 0) return;
    assert_int_equal(err.code, 410);
    assert_string_equal(err.reason, "Expired");
    assert_true(s->from < store_compacted_revision(m->store));
    for (size_t i = 0; i < s->len; i++) store_event_unref(s->events[i]);
    free(s->events);
    *s = (struct seen){0};
}

static void end_watches(struct model *m) {
    wait_all(m);
    for (struct seen *s = m->watches; s < m->watches + WATCHES; s++) {
        if (!s->watch) continue;
        store_watch_stop(s->watch);
        assert_seen(m, s, m->revision);
    }
}

/* ---- reading ---- */

struct walk { struct model *m; char last[24]; size_t n; };

static bool compare_view(void *arg, const struct store_view *v) {
    struct walk *w = arg;
    char name[24];
    snprintf(name, sizeof(name), "%.*s", (int)v->key_len, v->key);
    assert_true(strcmp(name, w->last) > 0);
    snprintf(w->last, sizeof(w->last), "%s", name);
    struct cell *c = &w->m->cells[atoi(strrchr(name, 'k') + 1)];
    assert_true(c->there);
    assert_int_equal(v->mod_revision, c->mod);
    assert_int_equal(v->create_revision, c->create);
    assert_int_equal(v->rv_offset, c->rv_offset);
    assert_value(c, v->value, v->value_len);
    w->n++;
    return true;
}

static void assert_state(struct model *m) {
    struct store_txn *t;
    struct walk w = {.m = m};
    struct store_view v;
    char name[24];
    size_t there = 0, pods_from_12 = 0;
    wait_all(m);
    assert_int_equal(store_read_begin(m->store, &t, NULL), 0);
    assert_int_equal(store_txn_revision(t), m->revision);
    store_range(t, "/registry/", NULL, compare_view, &w);
    for (int i = 0; i < KEYS; i++) {
        key_name(i, name);
        assert_int_equal(store_get(t, name, &v), m->cells[i].there);
        there += m->cells[i].there;
        pods_from_12 += m->cells[i].there && i % 3 && i >= 12;
    }
    assert_int_equal(w.n, there);
    assert_int_equal(store_count(t, "/registry/", NULL), there);
    assert_int_equal(store_count(t, "/registry/pods/", "/registry/pods/k12"), pods_from_12);
    assert_int_equal(store_count(t, "", NULL), there);
    store_read_end(t);
}

/* ---- a seed ---- */

static void play(unsigned seed) {
    struct model *m = calloc(1, sizeof(*m));
    char command[96];
    m->clock = *env_real();
    m->clock.now_ns = model_now;
    m->now_s = 1000;
    m->seed = seed;
    m->revision = 1;
    m->history = calloc(HISTORY_MAX, sizeof(*m->history));
    snprintf(m->dir, sizeof(m->dir), "/tmp/ckube-store-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    printf("seed %u\n", seed);
    for (int phase = 0; phase < PHASES; phase++) {
        open_model(m);
        assert_state(m);
        for (int i = 0; i < SUBMISSIONS; i++) {
            submit_one(m);
            if (pick(m, 10) == 0) begin_or_end_watch(m);
            if (pick(m, 60) == 0) expire(m, pick(m, 20));
            if (pick(m, 40) == 0) assert_state(m);
        }
        expire(m, 30);
        assert_state(m);
        end_watches(m);
        store_close(m->store);
        struct store_report report;
        _cleanup_status_ struct status err = STATUS_INIT;
        if (store_check(m->dir, &report, &err) != 0) fail_msg("%s", err.message);
        assert_int_equal(report.revision, m->revision);
        if (phase == 2 && store_compact_file(m->dir, &err) != 0) fail_msg("%s", err.message);
    }
    snprintf(command, sizeof(command), "rm -rf %s", m->dir);
    assert_int_equal(system(command), 0);
    free(m->history);
    free(m);
}

static void random_writes_agree_with_the_model(void **state UNUSED) {
    const char *seed = getenv("CKUBE_SEED"), *rounds = getenv("CKUBE_ROUNDS");
    int n = rounds ? atoi(rounds) : 3;
    if (seed) play((unsigned)atoi(seed));
    else
        for (int i = 0; i < n; i++) play(i ? (unsigned)getpid() + (unsigned)i : 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_writes_agree_with_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
