/* The harness of converge.h, and the command:
 *
 *     converge [--seeds N] [--from S] [--seed S] [--jobs J] [--patience SECONDS] [SCENARIO...]
 *
 * plays N seeds (default 3) from S (default 1) of the scenarios that are named (default: all), J of them at once, and prints a table and each failure with its seed.
 * --seed S plays that one again. Each scenario runs in a child process, so that a crash or a hang is one seed's failure.
 * With CONVERGE_LOG in the environment they log to stderr. Exits 1 if anything failed. */
#include "converge.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { LOOK_MS = 2, REST_MS = 30, REFERENCE_REST_MS = 400, SILENCE_MS = 150000, JOBS_MAX = 16, STATE_ITEMS_MAX = 4096 };

static const struct scenario *const scenarios[] = {
#define SCENARIO(id) &scenario_##id,
    SCENARIOS
#undef SCENARIO
};

static int64_t patience_s = 60; /* for what must come about */

/* ---- helpers of scenarios ---- */

const char *world_remember(struct world *w, const char *key, const char *value) {
    pthread_mutex_lock(&w->mutex);
    const char *was = map_put(w->memory, key, arena_strdup(w->arena, value));
    pthread_mutex_unlock(&w->mutex);
    return was;
}

bool world_same(struct world *w, const char *key, const char *value) {
    pthread_mutex_lock(&w->mutex);
    const char *was = map_get(w->memory, key);
    if (!was) map_put(w->memory, key, arena_strdup(w->arena, value));
    bool same = !was || str_eq(was, value);
    pthread_mutex_unlock(&w->mutex);
    return same;
}

int world_draw(struct world *w, int below) { return fate_draw(&w->chance, below); }

void world_list(struct world *w, struct arena *a, const struct type_desc *type, const char *ns, void *ret) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_list(w->k->admin, a, type, ns, NULL, ret, &err) == 0) return;
    fprintf(stderr, "list: %s\n", status_message(&err));
    abort();
}

const char *world_want(struct world *w, struct arena *a, const char *target, const char *path, const char *want) {
    char *got = cluster_get(w->k, a, target, path);
    return str_eq(got, want) ? NULL : arena_printf(a, "%s of %s is \"%s\", not \"%s\"", path, target, got, want);
}

const char *world_want_all(struct world *w, struct arena *a, const char *const (*wants)[3]) {
    for (; (*wants)[0]; wants++) {
        const char *missing = world_want(w, a, (*wants)[0], (*wants)[1], (*wants)[2]);
        if (missing) return missing;
    }
    return NULL;
}

void world_delete(struct world *w, const char *target, const char *options) { cluster_request(w->k, "DELETE", target, NULL, options, NULL, NULL); }

/* ---- the state as text, without what is different each time ---- */

struct names { const char *items[STATE_ITEMS_MAX]; size_t len; };

static int compare_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool shaped(const char *s, const char *shape) {
    for (; *shape; s++, shape++) {
        bool hex = (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f');
        if (*shape == 'x' ? !hex : *s != *shape) return false;
    }
    return true;
}

static const char *plain_text(const struct names *made_up, const char *s) {
    if (shaped(s, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")) return "(uid)";
    if (shaped(s, "xxxx-xx-xxTxx:xx:xx")) return "(time)";
    for (size_t i = 0; i < made_up->len; i++)
        if (str_eq(made_up->items[i], s)) return "(name)";
    return s;
}

static bool varies(const char *key) {
    static const char *const keys[] = {"uid", "resourceVersion", "managedFields", "generation", "observedGeneration", "endpoints.kubernetes.io/last-change-trigger-time", "ca.crt", "certificate", "request", "expiration"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_eq(keys[i], key)) return true;
    return false;
}

/* Keys and items in the order of their text. */
static char *state_of(struct arena *a, const struct names *made_up, yyjson_val *v) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    const char *parts[STATE_ITEMS_MAX];
    size_t n = 0, i, max;
    yyjson_val *key, *item;
    if (yyjson_is_str(v)) return arena_printf(a, "\"%s\"", plain_text(made_up, yyjson_get_str(v)));
    if (yyjson_is_obj(v)) {
        yyjson_obj_foreach(v, i, max, key, item) {
            char *text = n < STATE_ITEMS_MAX && !varies(yyjson_get_str(key)) ? state_of(a, made_up, item) : NULL;
            if (text && !str_eq(text, "{}")) parts[n++] = arena_printf(a, "%s:%s", yyjson_get_str(key), text);
        }
    } else if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, max, item) if (n < STATE_ITEMS_MAX) parts[n++] = state_of(a, made_up, item);
    } else {
        char *text = yyjson_val_write(v, 0, NULL), *copy = arena_strdup(a, text);
        free(text);
        return copy;
    }
    qsort(parts, n, sizeof(*parts), compare_text);
    for (i = 0; i < n; i++) buf_printf(&b, "%s%s", i ? "," : "", parts[i]);
    return arena_printf(a, yyjson_is_obj(v) ? "{%s}" : "[%s]", buf_cstr(&b));
}

static void names_made_up(struct arena *a, yyjson_val *items, struct names *ret) {
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(items, i, max, item) {
        yyjson_val *meta = yyjson_obj_get(item, "metadata");
        if (yyjson_obj_get(meta, "generateName") && ret->len < STATE_ITEMS_MAX) ret->items[ret->len++] = arena_strdup(a, yyjson_get_str(yyjson_obj_get(meta, "name")));
    }
}

/* A line for each object. */
static char *world_state(struct world *w, struct arena *a) {
    struct names *made_up = ARENA_NEW(a, struct names), *lines = ARENA_NEW(a, struct names);
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (int pass = 0; pass < 2; pass++) {
        for (const char *const *path = w->scenario->state; *path; path++) {
            _cleanup_buf_ struct buf b = BUF_INIT;
            _cleanup_status_ struct status err = STATUS_INIT;
            if (cluster_request(w->k, "GET", *path, NULL, NULL, &b, &err) != 0) return arena_printf(a, "%s: %s\n", *path, status_message(&err));
            yyjson_doc *doc = yyjson_read(b.data, b.len, 0);
            yyjson_val *items = yyjson_obj_get(yyjson_doc_get_root(doc), "items"), *item;
            size_t i, max;
            if (pass == 0) names_made_up(a, items, made_up);
            else yyjson_arr_foreach(items, i, max, item) if (lines->len < STATE_ITEMS_MAX) lines->items[lines->len++] = arena_printf(a, "%s %s", *path, state_of(a, made_up, item));
            yyjson_doc_free(doc);
        }
    }
    qsort(lines->items, lines->len, sizeof(*lines->items), compare_text);
    for (size_t i = 0; i < lines->len; i++) buf_printf(&out, "%s\n", lines->items[i]);
    return arena_strdup(a, buf_cstr(&out));
}

/* Lines of one that the other does not have. */
static void append_missing(struct buf *b, char sign, const char *these, const char *those) {
    for (const char *line = these; *line;) {
        size_t n = strcspn(line, "\n");
        const char *found = NULL;
        for (const char *p = those; *p && !found; p += strcspn(p, "\n") + 1)
            if (strcspn(p, "\n") == n && !memcmp(p, line, n)) found = p;
        if (!found && b->len < 12000) buf_printf(b, "    %c %.*s\n", sign, (int)MIN(n, (size_t)2500), line);
        line += n + 1;
    }
}

/* ---- one run ---- */

static void fail_world(struct world *w, const char *text) {
    pthread_mutex_lock(&w->mutex);
    if (!w->failure) w->failure = arena_strdup(w->arena, text);
    pthread_mutex_unlock(&w->mutex);
}

static bool failed(struct world *w) {
    pthread_mutex_lock(&w->mutex);
    bool f = w->failure != NULL;
    pthread_mutex_unlock(&w->mutex);
    return f;
}

/* On the thread that wrote. */
static void ask_whether_it_holds(void *data) {
    struct world *w = data;
    _cleanup_arena_ struct arena *a = arena_new();
    const char *wrong = w->begun && w->scenario->holds ? w->scenario->holds(w, a) : NULL;
    if (wrong) fail_world(w, wrong);
}

static void look(struct world *w) {
    if (w->scenario->look) w->scenario->look(w);
    ask_whether_it_holds(w);
    if (w->scenario->pace_ms) cluster_advance(w->k, w->scenario->pace_ms);
    env_sleep_ms(env_real(), LOOK_MS);
}

static void set_faults(struct world *w, bool on) {
    struct faults *f = &w->k->faults;
    int on_or_off = on ? 1 : 0;
    f->refused = on_or_off * (world_draw(w, 4) ? world_draw(w, 150) : 0);
    f->lost = on_or_off * (world_draw(w, 4) ? world_draw(w, 150) : 0);
    f->conflict = on_or_off * (world_draw(w, 4) ? world_draw(w, 150) : 0);
    f->delay_ms = on_or_off * (world_draw(w, 3) ? world_draw(w, 4) : 0);
    f->unread = on_or_off * (world_draw(w, 3) ? 0 : world_draw(w, 100));
    f->watch_cut = on_or_off * world_draw(w, 60);
    f->watch_gone = on_or_off * (world_draw(w, 3) ? 0 : world_draw(w, 60));
    f->watch_twice = on_or_off * world_draw(w, 200);
    f->watch_delay_ms = on_or_off * (world_draw(w, 3) ? world_draw(w, 12) : 0);
    f->writes_left = -1;
}

/* A life ends after so many writes, or when its time is over. Returns whether it ended by a write. */
static void live_and_die(struct world *w) {
    w->k->faults.writes_left = world_draw(w, 9);
    for (int looks = 1 + world_draw(w, 8); looks && w->k->faults.writes_left > 0 && !failed(w); looks--) look(w);
    cluster_stop_controllers(w->k);
    w->k->faults.writes_left = -1;
    if (world_draw(w, 4) == 0) look(w); /* for a while nobody acts */
    cluster_start_controllers(w->k);
}

static int play(struct world *w) {
    int kills = 0;
    for (; w->step < w->scenario->steps && !failed(w); w->step++) {
        w->scenario->act(w, w->step);
        if (!w->seed) {
            for (int i = 0; i < 10; i++) look(w);
            continue;
        }
        for (int lives = world_draw(w, 4); lives && !failed(w); lives--, kills++) live_and_die(w);
        for (int looks = world_draw(w, 8); looks && !failed(w); looks--) look(w);
    }
    return kills;
}

/* Waits until `missing` says nothing; a text of what is missing when the time is over. */
static char *wait_for(struct world *w, struct arena *keep, const char *(*missing)(struct world *, struct arena *)) {
    for (int64_t until = env_mono_ns(env_real()) + patience_s * 1000000000LL;;) {
        _cleanup_arena_ struct arena *a = arena_new();
        const char *what = missing ? missing(w, a) : NULL;
        if (!what || failed(w)) return NULL;
        if (env_mono_ns(env_real()) > until) return arena_printf(keep, "does not converge: %s", what);
        look(w);
    }
}

static char *wait_for_state(struct world *w, struct arena *keep, const char *reference) {
    for (int64_t until = env_mono_ns(env_real()) + patience_s * 1000000000LL;;) {
        _cleanup_arena_ struct arena *a = arena_new();
        char *state = world_state(w, a);
        if (str_eq(state, reference) || failed(w)) return NULL;
        if (env_mono_ns(env_real()) > until) {
            _cleanup_buf_ struct buf b = BUF_INIT;
            append_missing(&b, '-', reference, state);
            append_missing(&b, '+', state, reference);
            return arena_printf(keep, "comes to another state (-: as without faults, +: now):\n%s", buf_cstr(&b));
        }
        look(w);
    }
}

/* Waits until nothing was written for so long. */
static char *wait_for_rest(struct world *w, struct arena *keep, int64_t rest_ms) {
    int64_t begun = env_mono_ns(env_real()), since = begun;
    for (uint64_t writes = w->k->faults.writes; !failed(w); look(w)) {
        int64_t now = env_mono_ns(env_real());
        if (w->k->faults.writes != writes) since = now;
        writes = w->k->faults.writes;
        if (now - since > rest_ms * 1000000) return NULL;
        if (now - begun > patience_s * 1000000000LL) return arena_strdup(keep, "does not come to rest: it writes on and on");
    }
    return NULL;
}

struct result { uint64_t writes, hits; int kills; };

static void world_start(struct world *w, const struct scenario *scenario, uint64_t seed) {
    *w = (struct world){.scenario = scenario, .seed = seed, .chance = {faults_mix(seed * 0x9e3779b97f4a7c15u)}, .arena = arena_new(), .memory = map_new()};
    pthread_mutex_init(&w->mutex, NULL);
    w->k = cluster_start(NULL);
    w->k->controllers = arena_strdup(w->k->arena, scenario->controllers);
    if (!strstr(scenario->controllers, "serviceaccount-controller")) cluster_create(w->k, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'default','namespace':'default'},'automountServiceAccountToken':false}");
    cluster_kubelet(w->k, scenario->kubelet);
    if (scenario->begin) scenario->begin(w);
    w->k->faults.wrote = ask_whether_it_holds;
    w->k->faults.wrote_data = w;
    cluster_start_controllers(w->k);
}

static void world_stop(struct world *w) {
    cluster_stop(w->k);
    map_free(w->memory);
    arena_free(w->arena);
    pthread_mutex_destroy(&w->mutex);
}

/* Plays a seed. reference NULL: without faults, and *ret_state is where it ended. A text of what went wrong, or NULL; in the arena. */
static char *run_seed(const struct scenario *scenario, uint64_t seed, struct arena *keep, const char *reference, char **ret_state, struct result *ret) {
    struct world w;
    world_start(&w, scenario, seed);
    char *wrong = wait_for(&w, keep, scenario->ready);
    w.begun = true;
    if (seed && !wrong) {
        w.k->faults.seed = seed;
        set_faults(&w, true);
    }
    if (!wrong) ret->kills = play(&w);
    set_faults(&w, false);
    if (!wrong) wrong = wait_for(&w, keep, scenario->done);
    if (!wrong && reference) wrong = wait_for_state(&w, keep, reference);
    if (!wrong) wrong = wait_for_rest(&w, keep, reference ? REST_MS : REFERENCE_REST_MS);
    if (!wrong && reference) wrong = wait_for_state(&w, keep, reference);
    if (!reference) *ret_state = world_state(&w, keep);
    if (w.failure) wrong = arena_printf(keep, "after step %d: %s", w.step, w.failure);
    ret->writes = w.k->faults.writes;
    ret->hits = w.k->faults.hits;
    world_stop(&w);
    return wrong;
}

/* ---- a child ---- */

/* Its messages: "b SEED\n"; "o SEED WRITES HITS KILLS\n"; "f SEED LENGTH\n" and the text. */
static void child(const struct scenario *scenario, uint64_t from, uint64_t to, int out) {
    _cleanup_arena_ struct arena *keep = arena_new();
    char *reference = NULL;
    for (uint64_t seed = 0; seed <= to; seed = seed ? seed + 1 : from) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct result r = {0};
        dprintf(out, "b %llu\n", (unsigned long long)seed);
        CHECK(ftruncate(STDERR_FILENO, 0) == 0 || errno == EINVAL);
        char *wrong = run_seed(scenario, seed, seed ? a : keep, reference, &reference, &r);
        if (wrong) dprintf(out, "f %llu %zu\n%s", (unsigned long long)seed, strlen(wrong), wrong);
        else dprintf(out, "o %llu %llu %llu %d\n", (unsigned long long)seed, (unsigned long long)r.writes, (unsigned long long)r.hits, r.kills);
        if (wrong && !seed) break; /* nothing to compare with */
    }
}

/* ---- the parent ---- */

struct task {
    const struct scenario *scenario;
    uint64_t from, to, at;      /* at: the seed that is being played */
    pid_t pid;
    int in, log;                /* log: what the child says on stderr about its seed */
    struct buf got;
    int64_t heard_ns, begun_ns, took_ns;
    uint64_t passed, failed, writes, hits, kills;
    bool done;
};

static void report_failure(struct task *t, const char *text, size_t len) {
    t->failed++;
    printf("FAILED  %s, seed %llu: %.*s\n", t->scenario->name, (unsigned long long)t->at, (int)len, text);
    fflush(stdout);
}

static void task_start(struct task *t) {
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    fflush(stdout);
    if (!t->log) CHECK((t->log = memfd_create("converge", MFD_CLOEXEC)) >= 0 && fcntl(t->log, F_SETFL, O_APPEND) == 0);
    t->heard_ns = env_mono_ns(env_real());
    if (!t->begun_ns) t->begun_ns = t->heard_ns;
    t->at = 0;
    t->pid = fork();
    CHECK(t->pid >= 0);
    if (t->pid == 0) {
        close(pipes[0]);
        if (!getenv("CONVERGE_LOG")) dup2(t->log, STDERR_FILENO);
        child(t->scenario, t->from, t->to, pipes[1]);
        _exit(0); /* threads of its own may still be there */
    }
    close(pipes[1]);
    t->in = pipes[0];
}

/* One message; 0: it is not whole yet. */
static size_t task_message(struct task *t) {
    unsigned long long seed = 0, x = 0, y = 0, z = 0;
    char *end = memchr(t->got.data, '\n', t->got.len);
    if (!end) return 0;
    size_t n = (size_t)(end - t->got.data) + 1;
    char kind = t->got.data[0];
    sscanf(t->got.data + 1, "%llu %llu %llu %llu", &seed, &x, &y, &z);
    if (kind == 'f' && t->got.len < n + x) return 0;
    t->at = seed;
    if (kind == 'b') return n;
    if (seed) t->from = seed + 1;
    if (kind == 'f') {
        report_failure(t, t->got.data + n, x);
        if (!seed) t->from = t->to + 1;
        return n + x;
    }
    t->passed += seed != 0;
    t->writes += seed ? x : 0;
    t->hits += y;
    t->kills += z;
    return n;
}

/* It has ended: well, or in the middle of a seed. */
static void task_end(struct task *t) {
    int status = 0;
    close(t->in);
    waitpid(t->pid, &status, 0);
    t->pid = 0;
    buf_clear(&t->got);
    if (t->from <= t->to) {
        char text[3000], said[2500] = "";
        off_t end = lseek(t->log, 0, SEEK_END), tail = (off_t)sizeof(said) - 1;
        if (pread(t->log, said, sizeof(said) - 1, end > tail ? end - tail : 0) < 0) said[0] = 0;
        int n = snprintf(text, sizeof(text), WIFSIGNALED(status) ? "ended by signal %d\n%s" : "ended with exit status %d\n%s", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), said);
        report_failure(t, text, (size_t)n);
        t->from = t->at ? t->at + 1 : t->to + 1;
    }
    t->took_ns = env_mono_ns(env_real()) - t->begun_ns;
    t->done = t->from > t->to;
}

static void task_read(struct task *t) {
    char chunk[8192];
    ssize_t n = read(t->in, chunk, sizeof(chunk));
    if (n <= 0) {
        task_end(t);
        return;
    }
    t->heard_ns = env_mono_ns(env_real());
    buf_append(&t->got, chunk, (size_t)n);
    for (size_t used; t->got.len && (used = task_message(t));) buf_consume(&t->got, used);
}

static void run_tasks(struct task *tasks, size_t len, size_t jobs) {
    for (;;) {
        struct pollfd fds[JOBS_MAX];
        struct task *of[JOBS_MAX];
        size_t running = 0;
        for (size_t i = 0; i < len && running < jobs; i++) {
            if (tasks[i].done) continue;
            if (!tasks[i].pid) task_start(&tasks[i]);
            fds[running] = (struct pollfd){.fd = tasks[i].in, .events = POLLIN};
            of[running++] = &tasks[i];
        }
        if (!running) return;
        poll(fds, running, 1000);
        for (size_t i = 0; i < running; i++) {
            if (fds[i].revents) task_read(of[i]);
            else if (env_mono_ns(env_real()) - of[i]->heard_ns > SILENCE_MS * 1000000LL) kill(of[i]->pid, SIGKILL); /* it hangs; the end of its pipe is read next */
        }
    }
}

static int print_table(const struct task *tasks, size_t len) {
    uint64_t bad = 0;
    printf("%-38s %7s %7s %9s %9s %7s %8s\n", "scenario", "passed", "failed", "writes", "faults", "kills", "seconds");
    for (size_t i = 0; i < len; i++) {
        const struct task *t = &tasks[i];
        printf("%-38s %7llu %7llu %9llu %9llu %7llu %8.1f\n", t->scenario->name, (unsigned long long)t->passed, (unsigned long long)t->failed, (unsigned long long)t->writes, (unsigned long long)t->hits,
            (unsigned long long)t->kills, (double)t->took_ns / 1e9);
        bad += t->failed;
    }
    return bad ? 1 : 0;
}

static bool named(const char *name, char **names, int len) {
    for (int i = 0; i < len; i++)
        if (str_eq(names[i], name)) return true;
    return len == 0;
}

int main(int argc, char **argv) {
    uint64_t from = 1, count = 3;
    size_t jobs = 2, len = 0;
    int i = 1;
    for (; i + 1 < argc && str_has_prefix(argv[i], "--"); i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 10);
        if (str_eq(argv[i], "--seeds")) count = n;
        else if (str_eq(argv[i], "--from")) from = MAX(n, (uint64_t)1);
        else if (str_eq(argv[i], "--jobs")) jobs = MIN(MAX(n, (uint64_t)1), (uint64_t)JOBS_MAX);
        else if (str_eq(argv[i], "--patience")) patience_s = (int64_t)n;
        else if (str_eq(argv[i], "--seed")) from = MAX(n, (uint64_t)1), count = 1;
        else break;
    }
    if (i < argc && str_has_prefix(argv[i], "--")) {
        fprintf(stderr, "usage: converge [--seeds N] [--from S] [--seed S] [--jobs J] [--patience SECONDS] [SCENARIO...]\n");
        return 2;
    }
    static struct task tasks[ARRAY_LEN(scenarios)];
    for (size_t s = 0; s < ARRAY_LEN(scenarios); s++)
        if (named(scenarios[s]->name, argv + i, argc - i)) tasks[len++] = (struct task){.scenario = scenarios[s], .from = from, .to = from + count - 1, .got = BUF_INIT};
    if (!len) {
        fprintf(stderr, "no such scenario; there are:\n");
        for (size_t s = 0; s < ARRAY_LEN(scenarios); s++) fprintf(stderr, "  %s\n", scenarios[s]->name);
        return 2;
    }
    if (access("/dev/shm", W_OK) == 0) cluster_folder = "/dev/shm"; /* syncs are not what is tried here */
    run_tasks(tasks, len, jobs);
    return print_table(tasks, len);
}
