/* Fair queuing: see queue_set.h. */
#include "apiserver/flowcontrol/queue_set.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/macros.h"

/* How long a request is taken to run before it has; corrected when it is over. */
static const int64_t ESTIMATED_NS = 3000000;
/* R is moved back by so much when it comes near its end, after years under full load. */
static const int64_t R_DECREMENT = INT64_MAX / 2, R_HIGH = INT64_MAX / 4 * 3;

struct flow_list { struct flow_request *first, *last; int len; };

struct flow_queue {
    struct flow_list waiting;
    int64_t next_dispatch_r;    /* R at which the next request begins in the virtual world */
    int executing, seats_in_use, index;
    int initial_seats, max_seats; /* sums over the waiting */
    int64_t total_work;
};

struct queue_set {
    pthread_mutex_t mutex;
    struct queuing config;
    int limit;
    struct flow_queue **queues;
    int queues_len;             /* more than config.queues while the excess drains */
    int active;                 /* queues with requests */
    int seats_of_queues;        /* taken or waited for, of requests that have a queue */
    int64_t current_r, last_ns;
    int robin;                  /* the queue that was served last */
    struct flow_list executing;
    int waiting, seats_in_use, seats_waiting;
    unsigned enqueues;
    struct integrator demand;
    struct flow_stats *stats;
    unsigned long long dispatched, rejected, timed_out, cancelled;
    int64_t dispatch_r, latest_s;
};

int64_t seat_seconds(double seats, int64_t ns) { return llround(seats * (double)ns / (1e9 / (double)SEAT_SECOND)); }
int work_max_seats(const struct work_estimate *w) { return MAX(w->initial_seats, w->final_seats); }

/* ---- lists ---- */

static void list_append(struct flow_list *l, struct flow_request *r) {
    r->next = NULL;
    r->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = r;
    l->last = r;
    l->len++;
}

static void list_remove(struct flow_list *l, struct flow_request *r) {
    *(r->prev ? &r->prev->next : &l->first) = r->next;
    *(r->next ? &r->next->prev : &l->last) = r->prev;
    l->len--;
}

/* ---- virtual time ---- */

static bool is_active(const struct flow_queue *q) { return q->waiting.len > 0 || q->executing > 0; }

static void move_epoch(struct queue_set *s) {
    s->current_r -= R_DECREMENT;
    for (int i = 0; i < s->queues_len; i++) {
        struct flow_queue *q = s->queues[i];
        q->next_dispatch_r = is_active(q) ? q->next_dispatch_r - R_DECREMENT : 0;
        for (struct flow_request *r = q->waiting.first; r; r = r->next) r->arrival_r -= R_DECREMENT;
    }
}

/* Every busy queue gets an equal part of the seats that are asked for, up to the limit. */
static void sync_time(struct queue_set *s, int64_t now_ns) {
    int64_t dt = MAX(now_ns - s->last_ns, 0);
    s->last_ns += dt;
    if (!s->active) return;
    s->current_r += seat_seconds((double)MIN(s->seats_of_queues, s->limit) / s->active, dt);
    if (s->current_r >= R_HIGH) move_epoch(s);
}

static void lock(struct queue_set *s, int64_t now_ns) {
    pthread_mutex_lock(&s->mutex);
    sync_time(s, now_ns);
}

static void unlock(struct queue_set *s) { pthread_mutex_unlock(&s->mutex); }

/* Nothing begins in the virtual world before it has arrived: a queue that does not use its share cannot save it up. */
static void bound_next_dispatch(struct flow_queue *q) {
    if (q->waiting.first) q->next_dispatch_r = MAX(q->next_dispatch_r, q->waiting.first->arrival_r);
}

static void note_demand(struct queue_set *s, int64_t now_ns) { integrator_set(&s->demand, s->seats_in_use + s->seats_waiting, now_ns); }

/* ---- choosing a queue ---- */

void flow_deal(uint64_t hash, int deck_size, int hand_size, int *hand) {
    int left[FLOW_HAND_MAX];
    for (int i = 0; i < hand_size; i++) {
        left[i] = (int)(hash % (uint64_t)(deck_size - i));
        hash /= (uint64_t)(deck_size - i);
    }
    for (int i = 0; i < hand_size; i++) { /* the so-manieth of the cards that are left, back to its number in the whole deck */
        hand[i] = left[i];
        for (int k = i; k > 0; k--) hand[i] += hand[i] >= left[k - 1];
    }
}

static struct flow_queue *choose_queue(struct queue_set *s, uint64_t hash) {
    int hand[FLOW_HAND_MAX], size = MIN(s->config.hand_size, FLOW_HAND_MAX), offset;
    struct flow_queue *best = NULL;
    flow_deal(hash, s->config.queues, size, hand);
    offset = (int)(s->enqueues++ % (unsigned)size);
    for (int i = 0; i < size; i++) {
        struct flow_queue *q = s->queues[hand[(offset + i) % size]];
        if (!best || q->total_work < best->total_work) best = q;
    }
    return best;
}

/* ---- into and out of queues ---- */

static void enqueue(struct queue_set *s, struct flow_queue *q, struct flow_request *r, int64_t now_ns) {
    int seats = work_max_seats(&r->work);
    if (!is_active(q)) {
        q->next_dispatch_r = s->current_r; /* it begins to compete only now */
        s->active++;
    }
    r->queue = q;
    list_append(&q->waiting, r);
    q->initial_seats += r->work.initial_seats;
    q->max_seats += seats;
    q->total_work += r->total_work;
    s->waiting++;
    s->seats_waiting += seats;
    s->seats_of_queues += seats;
    r->stats->queued_requests++;
    r->stats->queued_seats += seats;
    flow_observe(&r->stats->queue_length, &flow_buckets_length, q->waiting.len);
    note_demand(s, now_ns);
    bound_next_dispatch(q);
}

static void dequeue(struct queue_set *s, struct flow_request *r) {
    struct flow_queue *q = r->queue;
    int seats = work_max_seats(&r->work);
    list_remove(&q->waiting, r);
    q->initial_seats -= r->work.initial_seats;
    q->max_seats -= seats;
    q->total_work -= r->total_work;
    s->waiting--;
    s->seats_waiting -= seats;
    s->seats_of_queues -= seats;
    r->stats->queued_requests--;
    r->stats->queued_seats -= seats;
}

static void execute(struct queue_set *s, struct flow_request *r, int64_t now_ns) {
    int seats = work_max_seats(&r->work);
    r->state = FLOW_EXECUTING;
    r->start_ns = now_ns;
    list_append(&s->executing, r);
    s->seats_in_use += seats;
    s->dispatched++;
    r->stats->dispatched++;
    r->stats->executing_requests++;
    r->stats->executing_seats += seats;
    if (r->queue) {
        r->queue->executing++;
        r->queue->seats_in_use += seats;
        s->seats_of_queues += seats;
    }
    note_demand(s, now_ns);
}

/* A request wider than the level runs when nothing else does. */
static bool has_room(const struct queue_set *s, int seats) {
    if (s->config.queues < 0) return true;
    if (seats > s->limit) return s->executing.len == 0;
    return s->seats_in_use + seats <= s->limit;
}

/* The queue whose head would be done first; among equals the next one round. */
static struct flow_queue *next_queue(struct queue_set *s) {
    struct flow_queue *best = NULL;
    int64_t best_finish = INT64_MAX;
    for (int i = 1; i <= s->queues_len; i++) {
        struct flow_queue *q = s->queues[(s->robin + i) % s->queues_len];
        if (!q->waiting.first || q->next_dispatch_r + q->waiting.first->total_work >= best_finish) continue;
        best_finish = q->next_dispatch_r + q->waiting.first->total_work;
        best = q;
    }
    return best;
}

/* Runs the head of q, if there is room for it. `woken`: it waits in its fiber. */
static bool dispatch_from(struct queue_set *s, struct flow_queue *q, bool woken, int64_t now_ns) {
    struct flow_request *r = q->waiting.first;
    if (!has_room(s, work_max_seats(&r->work))) {
        r->stats->no_accommodation++;
        return false;
    }
    dequeue(s, r);
    if (r->work.final_seats > s->limit && s->limit > 0) { /* as much work, narrower and longer */
        r->work.additional_ns = r->work.additional_ns * r->work.final_seats / s->limit;
        r->work.final_seats = s->limit;
    }
    s->robin = q->index;
    s->dispatch_r = s->current_r;
    s->latest_s = q->next_dispatch_r;
    execute(s, r, now_ns);
    q->next_dispatch_r += r->total_work;
    bound_next_dispatch(q);
    if (woken) flow_observe(&r->stats->waited[1], &flow_buckets_seconds, (double)(now_ns - r->arrival_ns) / 1e9);
    if (woken && r->wake) r->wake(r);
    return true;
}

static void dispatch_all(struct queue_set *s, int64_t now_ns) {
    while (s->waiting && s->seats_in_use < s->limit && dispatch_from(s, next_queue(s), true, now_ns)) continue;
}

/* ---- one request's life ---- */

static enum flow_outcome reject(struct queue_set *s, struct flow_request *r, enum flow_reject why) {
    s->rejected++;
    r->stats->rejected[why]++;
    return FLOW_REJECT;
}

static enum flow_outcome start_queued(struct queue_set *s, struct flow_request *r, int64_t now_ns) {
    struct flow_queue *q = choose_queue(s, r->hash);
    if (s->seats_in_use >= s->limit && q->waiting.len >= s->config.queue_length_limit) return reject(s, r, FLOW_REJECT_QUEUE_FULL);
    bool alone = s->waiting == 0;
    enqueue(s, q, r, now_ns);
    if (!alone) dispatch_all(s, now_ns);
    else if (s->seats_in_use < s->limit) dispatch_from(s, q, false, now_ns); /* nobody to compare with */
    if (r->state != FLOW_EXECUTING) r->waited = true;
    else if (alone) flow_observe(&r->stats->waited[1], &flow_buckets_seconds, 0);
    return r->state == FLOW_EXECUTING && alone ? FLOW_RUN : FLOW_WAIT;
}

enum flow_outcome queue_set_start(struct queue_set *s, struct flow_request *r, int64_t now_ns) {
    enum flow_outcome out = FLOW_RUN;
    lock(s, now_ns);
    r->state = FLOW_WAITING;
    r->queue = NULL;
    r->arrival_ns = now_ns;
    r->arrival_r = s->current_r;
    r->total_work = seat_seconds(r->work.initial_seats, ESTIMATED_NS) + (r->work.final_seats ? seat_seconds(r->work.final_seats, r->work.additional_ns) : 0);
    if (r->watches >= 0) flow_observe(&r->stats->watch_count, &flow_buckets_watches, r->watches);
    flow_observe(&r->stats->seats, &flow_buckets_seats, work_max_seats(&r->work));
    if (s->config.queues > 0) out = start_queued(s, r, now_ns);
    else if (has_room(s, work_max_seats(&r->work))) execute(s, r, now_ns);
    else out = reject(s, r, FLOW_REJECT_CONCURRENCY_LIMIT);
    unlock(s);
    return out;
}

/* Excess queues go when they are empty. */
static void drop_queue_if_spare(struct queue_set *s, struct flow_queue *q) {
    if (s->queues_len <= s->config.queues || s->config.queues < 1 || is_active(q) || q->seats_in_use) return;
    memmove(&s->queues[q->index], &s->queues[q->index + 1], sizeof(struct flow_queue *) * (size_t)(s->queues_len - q->index - 1));
    s->queues_len--;
    for (int i = q->index; i < s->queues_len; i++) s->queues[i]->index = i;
    if (s->robin >= q->index) s->robin--; /* -1 stands before the first */
    free(q);
}

bool queue_set_cancel(struct queue_set *s, struct flow_request *r, int64_t now_ns) {
    lock(s, now_ns);
    bool waits = r->state == FLOW_WAITING;
    if (waits) {
        struct flow_queue *q = r->queue;
        r->state = FLOW_CANCELLED;
        dequeue(s, r);
        if (!is_active(q)) s->active--;
        bound_next_dispatch(q);
        reject(s, r, FLOW_REJECT_TIME_OUT);
        s->cancelled++;
        flow_observe(&r->stats->waited[0], &flow_buckets_seconds, (double)(now_ns - r->arrival_ns) / 1e9);
        note_demand(s, now_ns);
        drop_queue_if_spare(s, q);
        dispatch_all(s, now_ns); /* it may have been a wide one that nobody could pass */
    }
    unlock(s);
    return waits;
}

static void release(struct queue_set *s, struct flow_request *r, int64_t now_ns) {
    int seats = work_max_seats(&r->work);
    r->state = FLOW_OVER;
    s->seats_in_use -= seats;
    r->stats->executing_seats -= seats;
    if (r->queue) {
        r->queue->seats_in_use -= seats;
        s->seats_of_queues -= seats;
        drop_queue_if_spare(s, r->queue);
    }
    note_demand(s, now_ns);
}

int64_t queue_set_finish(struct queue_set *s, struct flow_request *r, int64_t now_ns) {
    lock(s, now_ns);
    int64_t lingers = r->work.final_seats ? r->work.additional_ns : 0;
    struct flow_queue *q = r->queue;
    list_remove(&s->executing, r);
    r->stats->executing_requests--;
    flow_observe(&r->stats->executed[r->is_watch], &flow_buckets_seconds, (double)(now_ns - r->start_ns) / 1e9);
    if (q) {
        q->executing--;
        if (!is_active(q)) s->active--;
        q->next_dispatch_r -= seat_seconds(r->work.initial_seats, ESTIMATED_NS - (now_ns - r->start_ns));
        bound_next_dispatch(q);
    }
    if (lingers <= 0) release(s, r, now_ns);
    dispatch_all(s, now_ns);
    unlock(s);
    return MAX(lingers, 0);
}

void queue_set_release(struct queue_set *s, struct flow_request *r, int64_t now_ns) {
    lock(s, now_ns);
    release(s, r, now_ns);
    dispatch_all(s, now_ns);
    unlock(s);
}

/* ---- the set ---- */

struct queue_set *queue_set_new(int64_t now_ns) {
    struct queue_set *s = calloc(1, sizeof(*s));
    CHECK(s);
    pthread_mutex_init(&s->mutex, NULL);
    s->last_ns = s->demand.last_ns = now_ns;
    s->robin = -1;
    return s;
}

void queue_set_free(struct queue_set *s) {
    if (!s) return;
    while (s->stats) {
        struct flow_stats *next = s->stats->next;
        free(s->stats->flow_schema);
        free(s->stats);
        s->stats = next;
    }
    for (int i = 0; i < s->queues_len; i++) free(s->queues[i]);
    free(s->queues);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

void queue_set_configure(struct queue_set *s, const struct queuing *q, int limit, int64_t now_ns) {
    lock(s, now_ns);
    if (q->queues > s->queues_len) {
        s->queues = realloc(s->queues, sizeof(struct flow_queue *) * (size_t)q->queues);
        CHECK(s->queues);
        for (; s->queues_len < q->queues; s->queues_len++) {
            CHECK(s->queues[s->queues_len] = calloc(1, sizeof(struct flow_queue)));
            s->queues[s->queues_len]->index = s->queues_len;
        }
    }
    s->config = *q;
    s->limit = limit;
    dispatch_all(s, now_ns);
    unlock(s);
}

bool queue_set_is_idle(struct queue_set *s) {
    pthread_mutex_lock(&s->mutex);
    bool idle = s->waiting == 0 && s->executing.len == 0 && s->seats_in_use == 0;
    unlock(s);
    return idle;
}

struct integral queue_set_take_demand(struct queue_set *s, int64_t now_ns) {
    lock(s, now_ns);
    struct integral i = integrator_reset(&s->demand, now_ns);
    unlock(s);
    return i;
}

struct flow_stats *queue_set_stats(struct queue_set *s, const char *flow_schema) {
    pthread_mutex_lock(&s->mutex);
    struct flow_stats **at = &s->stats;
    while (*at && strcmp((*at)->flow_schema, flow_schema) != 0) at = &(*at)->next;
    if (!*at) {
        CHECK(*at = calloc(1, sizeof(**at)));
        CHECK((*at)->flow_schema = strdup(flow_schema));
    }
    struct flow_stats *found = *at;
    unlock(s);
    return found;
}

/* ---- looking in ---- */

void queue_set_visit_stats(struct queue_set *s, void (*fn)(void *arg, const struct flow_stats *stats), void *arg) {
    pthread_mutex_lock(&s->mutex);
    for (const struct flow_stats *x = s->stats; x; x = x->next) fn(arg, x);
    unlock(s);
}

void queue_set_dump(struct queue_set *s, struct queue_set_dump *ret) {
    pthread_mutex_lock(&s->mutex);
    *ret = (struct queue_set_dump){.queues = s->queues_len, .waiting = s->waiting, .executing = s->executing.len, .seats_in_use = s->seats_in_use, .seats_waiting = s->seats_waiting,
        .dispatched = s->dispatched, .rejected = s->rejected, .timed_out = s->timed_out, .cancelled = s->cancelled, .current_r = (double)s->current_r / (double)SEAT_SECOND,
        .dispatch_r = (double)s->dispatch_r / (double)SEAT_SECOND, .latest_s = (double)s->latest_s / (double)SEAT_SECOND};
    for (int i = 0; i < s->queues_len; i++) ret->active_queues += s->queues[i]->waiting.len > 0;
    unlock(s);
}

void queue_set_visit_queues(struct queue_set *s, void (*fn)(void *arg, const struct queue_dump *q), void *arg) {
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < s->queues_len; i++) {
        const struct flow_queue *q = s->queues[i];
        fn(arg, &(struct queue_dump){i, q->waiting.len, q->executing, q->seats_in_use, q->initial_seats, q->max_seats, q->next_dispatch_r, q->total_work});
    }
    unlock(s);
}

void queue_set_visit_requests(struct queue_set *s, void (*fn)(void *arg, int queue, int place, const struct flow_request *r), void *arg) {
    pthread_mutex_lock(&s->mutex);
    for (int i = 0; i < s->queues_len; i++) {
        int place = 0;
        for (const struct flow_request *r = s->queues[i]->waiting.first; r; r = r->next) fn(arg, i, place++, r);
    }
    for (const struct flow_request *r = s->executing.first; r; r = r->next) fn(arg, r->queue ? r->queue->index : -1, -1, r);
    unlock(s);
}
