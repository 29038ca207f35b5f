/* A request's way through flow control: classified, perhaps waiting, perhaps refused. Upstream: server/filters/priority-and-fairness.go, maxinflight.go. */
#include <stdlib.h>
#include <string.h>
#include "api/time.h"
#include "apiserver/flowcontrol/flow_internal.h"
#include "apiserver/flowcontrol/matching.h"
#include "base/fiber.h"
#include "base/str.h"

enum { WAIT_LIMIT_MS = 60000, NS_PER_MS = 1000000 };

struct flow_ticket {
    struct flow_control *control;
    struct api_request *r;
    struct flow_request request;
    struct level *level;
    int kind;                           /* without fairness: reading (0) or mutating (1); else -1 */
    bool over;
    char level_uid[FLOW_UID_LEN], schema_uid[FLOW_UID_LEN];
    /* while it waits */
    struct fiber *fiber;
    bool client_gone;
};

static int64_t now_ns(void) { return env_mono_ns(env_real()); }

void flow_classification(const struct api_request *r, const char **ret_schema_uid, const char **ret_level_uid) {
    *ret_schema_uid = r->flow && r->flow->level ? r->flow->schema_uid : NULL;
    *ret_level_uid = r->flow && r->flow->level ? r->flow->level_uid : NULL;
}

static bool is_watch(const struct api_request *r) { return str_eq(r->verb, "watch"); }

static bool is_long_running(const struct api_request *r) {
    if (r->is_resource) return r->subresource && str_in(r->subresource, (const char *const[]){"attach", "exec", "proxy", "log", "portforward", NULL});
    return str_has_prefix(r->path, "/debug/pprof/");
}

/* ---- refusing ---- */

static void too_many_requests(struct api_request *r, int64_t retry_after_s) {
    static const char text[] = "Too many requests, please try again later.\n";
    size_t n;
    r->retry_after_s = (int)retry_after_s;
    struct http_header *h = response_headers(r, "text/plain; charset=utf-8", &n), *more = arena_calloc(r->arena, n + 1, sizeof(*more));
    memcpy(more, h, n * sizeof(*more));
    more[n] = (struct http_header){"X-Content-Type-Options", "nosniff"};
    r->code = 429;
    http_respond(r->http, 429, more, n + 1, &(struct http_slice){text, sizeof(text) - 1, NULL}, 1);
}

static void refuse(struct api_request *r) {
    struct level *l = r->flow->level;
    pthread_mutex_lock(&l->dropped_mutex);
    int64_t seconds = dropped_note(&l->dropped, env_now_s(env_real()));
    pthread_mutex_unlock(&l->dropped_mutex);
    too_many_requests(r, seconds);
}

/* ---- plain limits ---- */

static bool begin_unfair(struct flow_control *f, struct api_request *r) {
    int kind = !str_in(r->verb, (const char *const[]){"get", "list", "watch", NULL}), limit = kind ? f->limit_mutating : f->limit_reading;
    if (limit == 0 || is_watch(r)) return true;
    if (atomic_fetch_add(&f->running[kind], 1) >= limit) {
        atomic_fetch_sub(&f->running[kind], 1);
        if (string_list_has(&r->user.groups, "system:masters")) return true; /* always gets an answer */
        too_many_requests(r, 1);
        return false;
    }
    r->flow = ARENA_NEW(r->arena, struct flow_ticket);
    *r->flow = (struct flow_ticket){.control = f, .r = r, .kind = kind};
    return true;
}

/* ---- waiting ---- */

static void wake(struct flow_request *q) { fiber_wake(((struct flow_ticket *)q->data)->fiber); }

static void give_up(void *arg) {
    struct flow_ticket *t = arg;
    if (queue_set_cancel(t->level->queues, &t->request, now_ns())) fiber_wake(t->fiber);
}

static void client_gone(void *arg) {
    ((struct flow_ticket *)arg)->client_gone = true;
    give_up(arg);
}

/* A quarter of the time that the request has; a timeout that is no duration counts as not given. */
static uint64_t wait_limit_ms(const struct flow_control *f, const struct api_request *r) {
    const char *timeout = is_watch(r) ? NULL : url_query_get(&r->query, "timeout");
    int64_t ns, ms = timeout && duration_parse(timeout, &ns) ? ns / NS_PER_MS : 0;
    if (ms <= 0 || ms > f->request_timeout_ms) ms = f->request_timeout_ms;
    return (uint64_t)MIN(MAX(ms / 4, 1), WAIT_LIMIT_MS);
}

/* True: it may run. */
static bool wait_for_seat(struct api_request *r) {
    struct flow_ticket *t = r->flow;
    struct loop_timer *timer = loop_timer_new(give_up, t);
    loop_timer_start(timer, wait_limit_ms(t->control, r), 0);
    if (http_request_closed(r->http)) client_gone(t);
    else http_request_on_close(r->http, client_gone, t);
    fiber_suspend();
    loop_timer_free(timer);
    if (!t->client_gone) http_request_on_close(r->http, NULL, NULL);
    return t->request.state == FLOW_EXECUTING;
}

/* ---- beginning ---- */

/* Under the configuration's lock. */
static enum flow_outcome classify(struct flow_control *f, struct api_request *r) {
    struct flow_ticket *t = r->flow;
    const struct schema *s = flow_match(f, r);
    struct level *l = s->level;
    const char *distinguisher = "";
    t->level = l;
    atomic_fetch_add(&l->refs, 1);
    memcpy(t->level_uid, l->uid, sizeof(t->level_uid));
    memcpy(t->schema_uid, s->uid, sizeof(t->schema_uid));
    struct flow_request *q = &t->request;
    *q = (struct flow_request){.stats = s->stats, .wake = wake, .data = t, .is_watch = is_watch(r)};
    if (l->queuing.queues > 1) {
        distinguisher = flow_distinguisher(s->fs, r);
        q->hash = flow_hash(s->fs->metadata.name, distinguisher);
    }
    q->distinguisher = distinguisher;
    q->work = flow_estimate(f, r, l->max_seats, &q->watches);
    return queue_set_start(l->queues, q, now_ns());
}

bool flow_begin(struct flow_control *f, struct api_request *r) {
    if (is_long_running(r)) return true;
    if (!f->fair) return begin_unfair(f, r);
    struct flow_ticket *t = r->flow = ARENA_NEW(r->arena, struct flow_ticket);
    *t = (struct flow_ticket){.control = f, .r = r, .kind = -1, .fiber = fiber_current()};
    pthread_rwlock_rdlock(&f->lock);
    enum flow_outcome outcome = classify(f, r);
    pthread_rwlock_unlock(&f->lock);
    if (outcome == FLOW_RUN || (outcome == FLOW_WAIT && wait_for_seat(r))) return true;
    t->over = true;
    refuse(r);
    level_unref(t->level);
    return false;
}

/* ---- the end ---- */

/* What is left of a request whose seats stay taken when it is gone. */
struct lingering { struct flow_control *control; struct flow_request request; struct level *level; struct loop_timer *timer; };

static void linger_over(void *arg) {
    struct lingering *l = arg;
    struct flow_control *f = l->control;
    queue_set_release(l->level->queues, &l->request, now_ns());
    level_unref(l->level);
    loop_timer_free(l->timer);
    free(l);
    atomic_fetch_sub(&f->lingering, 1);
}

static void linger(struct flow_ticket *t, int64_t ns) {
    atomic_fetch_add(&t->control->lingering, 1);
    struct lingering *l = malloc(sizeof(*l));
    CHECK(l);
    *l = (struct lingering){.control = t->control, .request = t->request, .level = t->level};
    if (atomic_load(&t->control->stopping)) {
        linger_over(l);
        return;
    }
    l->timer = loop_timer_new(linger_over, l);
    loop_timer_start(l->timer, (uint64_t)(ns + NS_PER_MS - 1) / NS_PER_MS, 0);
}

void flow_lingering_end(struct flow_control *f) {
    enum { STEP_MS = 2 };
    atomic_store(&f->stopping, true);
    while (atomic_load(&f->lingering)) env_sleep_ms(env_real(), STEP_MS);
}

const struct api_request *flow_request_of(const struct flow_request *q) { return ((const struct flow_ticket *)q->data)->r; }

void flow_end(struct api_request *r) {
    struct flow_ticket *t = r->flow;
    if (!t || t->over) return;
    t->over = true;
    if (t->kind >= 0) {
        atomic_fetch_sub(&t->control->running[t->kind], 1);
        return;
    }
    int64_t lingers = queue_set_finish(t->level->queues, &t->request, now_ns());
    if (lingers) linger(t, lingers);
    else level_unref(t->level);
}
