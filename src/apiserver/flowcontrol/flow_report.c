/* What flow control tells of itself: metrics in upstream's names, and the tables below /debug/api_priority_and_fairness/.
 * Upstream: flowcontrol/metrics, flowcontrol/apf_controller_debug.go. Not among the metrics: the utilization histograms, which observe every nanosecond. */
#include <stdlib.h>
#include <string.h>
#include "api/time.h"
#include "apiserver/flowcontrol/flow_internal.h"
#include "apiserver/metrics.h"
#include "base/str.h"

#define PREFIX "apiserver_flowcontrol_"

/* ---- a copy of everything, taken under the locks ---- */

struct level_copy {
    const char *name;
    int nominal, min, max, current;
    __typeof__(((struct level *)NULL)->demand) demand;
    bool idle, quiescing;
    struct queue_set_dump dump;
    struct level *level; /* only under the configuration's lock */
};
struct stats_copy { const char *level; struct flow_stats stats; };
struct copy {
    struct arena *arena;
    struct { struct level_copy *items; size_t len; } levels;
    struct { struct stats_copy *items; size_t len; } stats;
    double fair_fraction;
};

static int by_name(const void *x, const void *y) { return strcmp(((const struct level_copy *)x)->name, ((const struct level_copy *)y)->name); }

struct stats_visit { struct copy *copy; const char *level; };

static void take_stats(void *arg, const struct flow_stats *s) {
    struct stats_visit *v = arg;
    if (!s->seats.count) return; /* no request has come by yet */
    struct stats_copy *to = LIST_PUSH(v->copy->arena, &v->copy->stats);
    *to = (struct stats_copy){v->level, *s};
    to->stats.flow_schema = arena_strdup(v->copy->arena, s->flow_schema);
}

/* With the lock held: the levels are those of the configuration. */
static void take_copy(struct flow_control *f, struct copy *c) {
    const char *name;
    void *value;
    c->fair_fraction = f->fair_fraction;
    for (size_t i = 0; map_next(f->levels, &i, &name, &value);) {
        struct level *l = value;
        struct level_copy *to = LIST_PUSH(c->arena, &c->levels);
        *to = (struct level_copy){.name = arena_strdup(c->arena, l->name), .nominal = l->nominal, .min = l->min, .max = l->max, .current = l->current, .demand = l->demand, .quiescing = l->quiescing,
            .idle = queue_set_is_idle(l->queues), .level = l};
        queue_set_dump(l->queues, &to->dump);
    }
    if (c->levels.len) qsort(c->levels.items, c->levels.len, sizeof(*c->levels.items), by_name);
    for (size_t i = 0; i < c->levels.len; i++) queue_set_visit_stats(c->levels.items[i].level->queues, take_stats, &(struct stats_visit){c, c->levels.items[i].name});
}

/* ---- metrics ---- */

static void put_labels(struct buf *out, const char *name, const char *suffix, const struct stats_copy *s) {
    buf_printf(out, PREFIX "%s%s{flow_schema=\"%s\",priority_level=\"%s\"", name, suffix, s->stats.flow_schema, s->level);
}

static void put_histogram(struct buf *out, const char *name, const struct stats_copy *s, const char *more, const struct flow_histogram *h, const struct flow_buckets *b) {
    unsigned long long sum = 0;
    if (!h->count) return;
    for (int i = 0; i < b->len; i++) {
        sum += h->buckets[i];
        put_labels(out, name, "_bucket", s);
        buf_printf(out, "%s,le=\"%g\"} %llu\n", more, b->bounds[i], sum);
    }
    put_labels(out, name, "_bucket", s);
    buf_printf(out, "%s,le=\"+Inf\"} %llu\n", more, h->count);
    put_labels(out, name, "_sum", s);
    buf_printf(out, "%s} %.9g\n", more, h->sum);
    put_labels(out, name, "_count", s);
    buf_printf(out, "%s} %llu\n", more, h->count);
}

enum form { COUNTER_REJECTED, COUNTER, GAUGE, HISTOGRAM, HISTOGRAM_EXECUTE, HISTOGRAM_TYPE };
#define STATS(field) offsetof(struct flow_stats, field)
static const struct stats_metric { const char *name, *help; enum form form; size_t at; const struct flow_buckets *buckets; } stats_metrics[] = {
    {"rejected_requests_total", "[BETA] Number of requests rejected by API Priority and Fairness subsystem", COUNTER_REJECTED, STATS(rejected), NULL},
    {"dispatched_requests_total", "[BETA] Number of requests executed by API Priority and Fairness subsystem", COUNTER, STATS(dispatched), NULL},
    {"request_dispatch_no_accommodation_total", "[ALPHA] Number of times a dispatch attempt resulted in a non accommodation due to lack of available seats", COUNTER, STATS(no_accommodation), NULL},
    {"current_inqueue_requests", "[BETA] Number of requests currently pending in queues of the API Priority and Fairness subsystem", GAUGE, STATS(queued_requests), NULL},
    {"current_inqueue_seats", "[ALPHA] Number of seats currently pending in queues of the API Priority and Fairness subsystem", GAUGE, STATS(queued_seats), NULL},
    {"current_executing_requests", "[BETA] Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", GAUGE, STATS(executing_requests), NULL},
    {"current_executing_seats", "[BETA] Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem", GAUGE,
     STATS(executing_seats), NULL},
    {"request_queue_length_after_enqueue", "[ALPHA] Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued", HISTOGRAM, STATS(queue_length), &flow_buckets_length},
    {"request_wait_duration_seconds", "[BETA] Length of time a request spent waiting in its queue", HISTOGRAM_EXECUTE, STATS(waited), &flow_buckets_seconds},
    {"request_execution_seconds", "[ALPHA] Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem", HISTOGRAM_TYPE, STATS(executed),
     &flow_buckets_seconds},
    {"watch_count_samples", "[ALPHA] count of watchers for mutating requests in API Priority and Fairness", HISTOGRAM, STATS(watch_count), &flow_buckets_watches},
    {"work_estimated_seats", "[ALPHA] Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness", HISTOGRAM, STATS(seats), &flow_buckets_seats},
};

static void put_one(struct buf *out, const struct stats_metric *m, const struct stats_copy *s) {
    static const char *const reasons[FLOW_REJECTS] = {"queue-full", "concurrency-limit", "time-out"};
    static const char *const executes[] = {",execute=\"false\"", ",execute=\"true\""}, *const types[] = {",type=\"regular\"", ",type=\"watch\""};
    const void *at = (const char *)&s->stats + m->at;
    for (int i = 0; m->form == COUNTER_REJECTED && i < FLOW_REJECTS; i++) {
        if (!s->stats.rejected[i]) continue;
        put_labels(out, m->name, "", s);
        buf_printf(out, ",reason=\"%s\"} %llu\n", reasons[i], s->stats.rejected[i]);
    }
    if (m->form == COUNTER || m->form == GAUGE) {
        put_labels(out, m->name, "", s);
        if (m->form == COUNTER) buf_printf(out, "} %llu\n", *(const unsigned long long *)at);
        else buf_printf(out, "} %d\n", *(const int *)at);
    }
    if (m->form == HISTOGRAM) put_histogram(out, m->name, s, "", at, m->buckets);
    for (int i = 0; (m->form == HISTOGRAM_EXECUTE || m->form == HISTOGRAM_TYPE) && i < 2; i++)
        put_histogram(out, m->name, s, m->form == HISTOGRAM_TYPE ? types[i] : executes[i], (const struct flow_histogram *)at + i, m->buckets);
}

#define LEVEL(field) offsetof(struct level_copy, field)
static const struct level_metric { const char *name, *help; size_t at; bool is_double; } level_metrics[] = {
    {"nominal_limit_seats", "[BETA] Nominal number of execution seats configured for each priority level", LEVEL(nominal), false},
    {"lower_limit_seats", "[ALPHA] Configured lower bound on number of execution seats available to each priority level", LEVEL(min), false},
    {"upper_limit_seats", "[ALPHA] Configured upper bound on number of execution seats available to each priority level", LEVEL(max), false},
    {"current_limit_seats", "[ALPHA] current derived number of execution seats available to each priority level", LEVEL(current), false},
    {"demand_seats_high_watermark", "[ALPHA] High watermark, over last adjustment period, of demand_seats", LEVEL(demand.high), false},
    {"demand_seats_average", "[ALPHA] Time-weighted average, over last adjustment period, of demand_seats", LEVEL(demand.average), true},
    {"demand_seats_stdev", "[ALPHA] Time-weighted standard deviation, over last adjustment period, of demand_seats", LEVEL(demand.deviation), true},
    {"demand_seats_smoothed", "[ALPHA] Smoothed seat demands", LEVEL(demand.smoothed), true},
    {"target_seats", "[ALPHA] Seat allocation targets", LEVEL(demand.target), true},
    {"current_r", "[ALPHA] R(time of last change)", LEVEL(dump.current_r), true},
    {"dispatch_r", "[ALPHA] R(time of last dispatch)", LEVEL(dump.dispatch_r), true},
    {"latest_s", "[ALPHA] S(most recently dispatched request)", LEVEL(dump.latest_s), true},
};

static void put_levels(struct buf *out, const struct copy *c) {
    for (size_t k = 0; k < ARRAY_LEN(level_metrics); k++) {
        const struct level_metric *m = &level_metrics[k];
        metrics_head(out, arena_printf(c->arena, PREFIX "%s", m->name), "gauge", m->help);
        for (size_t i = 0; i < c->levels.len; i++) {
            const char *at = (const char *)&c->levels.items[i] + m->at;
            buf_printf(out, PREFIX "%s{priority_level=\"%s\"} %.9g\n", m->name, c->levels.items[i].name, m->is_double ? *(const double *)(const void *)at : *(const int *)(const void *)at);
        }
    }
    metrics_head(out, PREFIX "seat_fair_frac", "gauge", "[ALPHA] Fair fraction of server's concurrency to allocate to each priority level that can use it");
    buf_printf(out, PREFIX "seat_fair_frac %.9g\n", c->fair_fraction);
}

void flow_put_metrics(struct flow_control *f, struct buf *out) {
    static const char *const types[] = {[COUNTER_REJECTED] = "counter", [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram", [HISTOGRAM_EXECUTE] = "histogram", [HISTOGRAM_TYPE] = "histogram"};
    _cleanup_arena_ struct arena *a = arena_new();
    struct copy c = {.arena = a};
    if (!f->fair) return;
    pthread_rwlock_rdlock(&f->lock);
    take_copy(f, &c);
    pthread_rwlock_unlock(&f->lock);
    for (size_t k = 0; k < ARRAY_LEN(stats_metrics) && c.stats.len; k++) {
        metrics_head(out, arena_printf(a, PREFIX "%s", stats_metrics[k].name), types[stats_metrics[k].form], stats_metrics[k].help);
        for (size_t i = 0; i < c.stats.len; i++) put_one(out, &stats_metrics[k], &c.stats.items[i]);
    }
    put_levels(out, &c);
}

/* ---- tables ---- */

struct row { const char **items; size_t len; };
struct table { struct arena *arena; struct row *items; size_t len; };

static void put_cell(struct table *t, const char *text) { *LIST_PUSH(t->arena, &t->items[t->len - 1]) = text; }
static void put_number(struct table *t, long long n) { put_cell(t, arena_printf(t->arena, "%lld", n)); }
static void put_bool(struct table *t, bool b) { put_cell(t, b ? "true" : "false"); }

static void begin_row(struct table *t, const char *first) {
    *LIST_PUSH(t->arena, t) = (struct row){0};
    put_cell(t, first);
}

static void put_seat_seconds(struct table *t, int64_t s) {
    put_cell(t, arena_printf(t->arena, "%s%lld.%08lldss", s < 0 ? "-" : "", (long long)(llabs(s) / SEAT_SECOND), (long long)(llabs(s) % SEAT_SECOND)));
}

/* Columns as Go's tabwriter sets them: eight wide at least, a blank between. */
static void write_table(const struct table *t, struct buf *out) {
    for (size_t i = 0; i < t->len; i++) {
        const struct row *r = &t->items[i];
        for (size_t k = 0; k < r->len; k++) {
            size_t width = 8;
            for (size_t j = 0; j < t->len; j++)
                if (k + 1 < t->items[j].len) width = MAX(width, strlen(t->items[j].items[k]) + 2);
            if (k + 1 < r->len) buf_printf(out, "%s,%*s", r->items[k], (int)(width - strlen(r->items[k]) - 1), "");
            else buf_append_str(out, r->items[k]);
        }
        buf_append_char(out, '\n');
    }
}

static void put_heads(struct table *t, const char *const *heads) {
    begin_row(t, *heads);
    while (*++heads) put_cell(t, *heads);
}

struct dump { struct table *table; const char *level; bool details; int64_t wall_minus_mono_ns; };

static void dump_levels(const struct copy *c, struct dump *d) {
    struct table *t = d->table;
    put_heads(t, (const char *const[]){"PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests", "DispatchedRequests", "RejectedRequests", "TimedoutRequests",
        "CancelledRequests", NULL});
    for (size_t i = 0; i < c->levels.len; i++) {
        const struct level_copy *l = &c->levels.items[i];
        begin_row(t, l->name);
        put_number(t, l->dump.active_queues);
        put_bool(t, l->idle);
        put_bool(t, l->quiescing);
        put_number(t, l->dump.waiting);
        put_number(t, l->dump.executing);
        put_number(t, (long long)l->dump.dispatched);
        put_number(t, (long long)l->dump.rejected);
        put_number(t, (long long)l->dump.timed_out);
        put_number(t, (long long)l->dump.cancelled);
    }
}

static void dump_queue(void *arg, const struct queue_dump *q) {
    struct dump *d = arg;
    begin_row(d->table, d->level);
    put_number(d->table, q->index);
    put_number(d->table, q->waiting);
    put_number(d->table, q->executing);
    put_number(d->table, q->seats_in_use);
    put_seat_seconds(d->table, q->next_dispatch_r);
    put_number(d->table, q->initial_seats);
    put_number(d->table, q->max_seats);
    put_seat_seconds(d->table, q->total_work);
}

static void dump_queues(const struct copy *c, struct dump *d) {
    put_heads(d->table, (const char *const[]){"PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum", NULL});
    for (size_t i = 0; i < c->levels.len; i++) {
        d->level = c->levels.items[i].name;
        queue_set_visit_queues(c->levels.items[i].level->queues, dump_queue, d);
    }
}

/* RFC 3339 with as many digits as it takes; mono_ns 0: not yet, Go's zero time. */
static void put_time(struct dump *d, int64_t mono_ns) {
    int64_t ns = mono_ns + d->wall_minus_mono_ns, fraction = ns % 1000000000;
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (!mono_ns) {
        put_cell(d->table, "0001-01-01T00:00:00Z");
        return;
    }
    time_format(&(struct api_time){true, 0, ns / 1000000000}, &text);
    if (fraction) {
        text.len--; /* the Z */
        buf_printf(&text, ".%09lld", (long long)fraction);
        while (text.data[text.len - 1] == '0') text.len--;
        buf_append_char(&text, 'Z');
    }
    put_cell(d->table, arena_strndup(d->table->arena, text.data, text.len));
}

static void put_details(struct table *t, const struct api_request *r) {
    struct arena *a = t->arena; /* the request may be over before the table is written */
    put_cell(t, arena_strdup(a, str_or(r->user.name, "")));
    put_cell(t, arena_strdup(a, str_or(r->verb, "")));
    put_cell(t, arena_strdup(a, str_or(r->http->path, "")));
    put_cell(t, arena_strdup(a, str_or(r->namespace, "")));
    put_cell(t, arena_strdup(a, str_or(r->name, "")));
    put_cell(t, arena_printf(a, "%s%s%s", str_or(r->group, ""), str_empty(r->group) ? "" : "/", str_or(r->version, "")));
    put_cell(t, arena_strdup(a, str_or(r->resource, "")));
    put_cell(t, arena_strdup(a, str_or(r->subresource, "")));
}

static void dump_request(void *arg, int queue, int place, const struct flow_request *q) {
    struct dump *d = arg;
    struct table *t = d->table;
    begin_row(t, d->level);
    put_cell(t, arena_strdup(t->arena, q->stats->flow_schema));
    put_number(t, queue);
    put_number(t, place);
    put_cell(t, arena_strdup(t->arena, str_or(q->distinguisher, "")));
    put_time(d, q->arrival_ns);
    put_number(t, q->work.initial_seats);
    put_number(t, q->work.final_seats);
    put_cell(t, duration_string(t->arena, q->work.additional_ns));
    put_time(d, q->start_ns);
    if (d->details) put_details(t, flow_request_of(q));
}

static void dump_requests(const struct copy *c, struct dump *d) {
    static const char *const heads[] = {"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime", "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime", NULL},
                      *const more[] = {"UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource", NULL};
    put_heads(d->table, heads);
    for (size_t i = 0; d->details && more[i]; i++) put_cell(d->table, more[i]);
    for (size_t i = 0; i < c->levels.len; i++) {
        d->level = c->levels.items[i].name;
        queue_set_visit_requests(c->levels.items[i].level->queues, dump_request, d);
    }
}

bool flow_handle_debug(struct flow_control *f, struct api_request *r) {
    static const char prefix[] = "/debug/api_priority_and_fairness/";
    static const struct { const char *name; void (*dump)(const struct copy *c, struct dump *d); } tables[] = {{"dump_priority_levels", dump_levels}, {"dump_queues", dump_queues}, {"dump_requests", dump_requests}};
    struct table t = {.arena = r->arena};
    struct copy c = {.arena = r->arena};
    struct dump d = {.table = &t, .details = !str_empty(url_query_get(&r->query, "includeRequestDetails")), .wall_minus_mono_ns = env_now_ns(env_real()) - env_mono_ns(env_real())};
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (!f->fair || !str_has_prefix(r->path, prefix)) return false;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        if (strcmp(r->path + sizeof(prefix) - 1, tables[i].name) != 0) continue;
        pthread_rwlock_rdlock(&f->lock);
        take_copy(f, &c);
        tables[i].dump(&c, &d);
        pthread_rwlock_unlock(&f->lock);
        write_table(&t, &out);
        respond_text(r, 200, "text/plain; charset=utf-8", buf_cstr(&out));
        return true;
    }
    return false;
}
