/* The configuration of flow control: objects become levels with seats and schemas in order. Upstream: flowcontrol/apf_controller.go. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "api/flowcontrol_bootstrap.h"
#include "apiserver/flowcontrol/concurrency.h"
#include "apiserver/flowcontrol/flow_internal.h"
#include "apiserver/flowcontrol/matching.h"
#include "base/str.h"

static const double SMOOTHING = 0.977; /* of seat demand: half is forgotten in five minutes */
static const double MAX_SEATS_PART = 0.15;

/* ---- levels ---- */

static struct level *level_new(const char *name, int64_t now_ns) {
    struct level *l = calloc(1, sizeof(*l));
    CHECK(l);
    l->refs = 1;
    l->name = strdup(name);
    l->queues = queue_set_new(now_ns);
    l->dropped.retry_after = 1;
    pthread_mutex_init(&l->dropped_mutex, NULL);
    return l;
}

void level_unref(struct level *l) {
    if (!l || atomic_fetch_sub(&l->refs, 1) != 1) return;
    queue_set_free(l->queues);
    pthread_mutex_destroy(&l->dropped_mutex);
    free(l->name);
    free(l);
}

/* False: the object contradicts itself and is not used. */
static bool read_level(struct level *l, const struct flowcontrolv1_PriorityLevelConfiguration *p) {
    const struct flowcontrolv1_LimitedPriorityLevelConfiguration *limited = p->spec.limited;
    const struct flowcontrolv1_ExemptPriorityLevelConfiguration *exempt = p->spec.exempt;
    bool is_exempt = str_eq(p->spec.type, "Exempt");
    if (is_exempt != (exempt != NULL) || is_exempt == (limited != NULL) || is_exempt != str_eq(p->metadata.name, "exempt")) return false;
    if (limited && str_eq(limited->limitResponse.type, "Reject") != (limited->limitResponse.queuing == NULL)) return false;
    struct opt_int32 shares = limited ? limited->nominalConcurrencyShares : exempt->nominalConcurrencyShares, lendable = limited ? limited->lendablePercent : exempt->lendablePercent;
    const struct flowcontrolv1_QueuingConfiguration *q = limited ? limited->limitResponse.queuing : NULL;
    if (q && (q->queues < 1 || q->handSize < 1 || q->handSize > MIN(q->queues, FLOW_HAND_MAX))) return false;
    l->exempt = is_exempt;
    l->shares = shares.has ? shares.value : 0;
    l->lendable_percent = lendable.has ? lendable.value : 0;
    l->borrowing_percent = limited && limited->borrowingLimitPercent.has ? limited->borrowingLimitPercent.value : -1;
    l->queuing = q ? (struct queuing){q->queues, q->queueLengthLimit, q->handSize} : (struct queuing){.queues = is_exempt ? -1 : 0};
    snprintf(l->uid, sizeof(l->uid), "%s", str_or(p->metadata.uid, ""));
    return true;
}

static bool take_level(struct flow_control *f, struct map *into, const struct flowcontrolv1_PriorityLevelConfiguration *p, int64_t now_ns) {
    struct level *l = map_get(f->levels, p->metadata.name), *fresh = l ? NULL : level_new(p->metadata.name, now_ns);
    if (!read_level(l ? l : fresh, p)) {
        level_unref(fresh);
        return false;
    }
    if (!l) l = fresh;
    else map_del(f->levels, p->metadata.name);
    l->quiescing = false;
    map_put(into, l->name, l);
    return true;
}

/* What is left of the old levels: those still in use stay until they are not. */
static void retire_levels(struct flow_control *f, struct map *into) {
    const char *name;
    void *value;
    for (size_t i = 0; map_next(f->levels, &i, &name, &value);) {
        struct level *l = value;
        if (queue_set_is_idle(l->queues)) level_unref(l);
        else {
            l->quiescing = true;
            map_put(into, l->name, l);
        }
    }
    map_free(f->levels);
}

static void set_seats(struct flow_control *f, struct level *l, double share_sum) {
    int total = f->limit_reading + f->limit_mutating, before = l->nominal, lendable, nominal;
    nominal = share_sum > 0 ? (int)ceil((double)total * l->shares / share_sum) : 0;
    lendable = (int)lround(nominal * (double)l->lendable_percent / 100);
    l->nominal = nominal;
    l->min = nominal - lendable;
    l->max = nominal + (l->borrowing_percent < 0 ? total : (int)lround(nominal * (double)l->borrowing_percent / 100));
    if (l->queuing.queues > 0) l->max_seats = (int)fmax(1, fmin(ceil(nominal * MAX_SEATS_PART), nominal / l->queuing.hand_size));
    if (!before) l->current = nominal - lendable / 2;
}

/* ---- schemas ---- */

static int by_order(const void *x, const void *y) { return flow_schema_order(*(struct flowcontrolv1_FlowSchema *const *)x, *(struct flowcontrolv1_FlowSchema *const *)y); }

static void add_schema(struct flow_control *f, const struct flowcontrolv1_FlowSchema *fs) {
    struct level *l = map_get(f->levels, fs->spec.priorityLevelConfiguration.name);
    if (!l) return; /* it leads nowhere */
    struct schema *s = LIST_PUSH(f->arena, &f->schemas);
    *s = (struct schema){fs, l, queue_set_stats(l->queues, fs->metadata.name), ""};
    snprintf(s->uid, sizeof(s->uid), "%s", str_or(fs->metadata.uid, ""));
}

static bool has_schema(const struct flow_schema_list *list, const char *name) {
    for (size_t i = 0; i < list->len; i++)
        if (str_eq(list->items[i]->metadata.name, name)) return true;
    return false;
}

/* The mandatory two are there even when their objects are not. */
static void take_schemas(struct flow_control *f, const struct flow_schema_list *schemas) {
    struct flow_schema_list sorted = {0};
    f->schemas.items = NULL;
    f->schemas.len = 0;
    for (size_t i = 0; i < schemas->len; i++) {
        struct level *l = map_get(f->levels, schemas->items[i]->spec.priorityLevelConfiguration.name);
        if (l && !l->quiescing) *LIST_PUSH(f->arena, &sorted) = schemas->items[i];
    }
    if (sorted.len) qsort(sorted.items, sorted.len, sizeof(*sorted.items), by_order);
    if (!has_schema(schemas, "exempt")) add_schema(f, mandatory_flow_schema(f->arena, "exempt"));
    for (size_t i = 0; i < sorted.len; i++) add_schema(f, sorted.items[i]);
    if (!has_schema(schemas, "catch-all")) add_schema(f, mandatory_flow_schema(f->arena, "catch-all"));
}

const struct schema *flow_match(const struct flow_control *f, const struct api_request *r) {
    const struct schema *catch_all = &f->schemas.items[f->schemas.len - 1];
    for (size_t i = 0; i < f->schemas.len; i++) {
        const struct schema *s = &f->schemas.items[i];
        if (flow_schema_matches(s->fs, r)) return s;
        if (str_eq(s->fs->metadata.name, "catch-all")) catch_all = s;
    }
    return catch_all;
}

bool flow_has_dangling_level(const struct flow_control *f, const struct flowcontrolv1_FlowSchema *fs) {
    const struct level *l = map_get(f->levels, fs->spec.priorityLevelConfiguration.name);
    return !l || l->quiescing;
}

bool flow_has_quiescing(struct flow_control *f) {
    const char *name;
    void *value;
    bool any = false;
    pthread_rwlock_rdlock(&f->lock);
    for (size_t i = 0; map_next(f->levels, &i, &name, &value);) any |= ((struct level *)value)->quiescing;
    pthread_rwlock_unlock(&f->lock);
    return any;
}

/* ---- seats ---- */

static void note_demand(struct level *l, int64_t now_ns) {
    struct integral i = queue_set_take_demand(l->queues, now_ns);
    l->demand.high = (int)lround(i.max);
    if (i.seconds <= 0) return;
    double envelope = i.average + i.deviation;
    l->demand.average = i.average;
    l->demand.deviation = i.deviation;
    l->demand.smoothed = fmax(envelope, SMOOTHING * l->demand.smoothed + (1 - SMOOTHING) * envelope);
}

static int least_seats(const struct level *l) { return l->exempt ? MAX(l->min, l->demand.high) : MAX(l->min, MIN(l->nominal, l->demand.high)); }

struct sums { int remaining, min, least; };

static void apply_seats(struct level *l, int64_t now_ns) { queue_set_configure(l->queues, &l->queuing, l->current, now_ns); }

/* Exempt levels take what they need; what is left goes to the others by their demand, within their bounds. */
static void adjust(struct flow_control *f, int64_t now_ns) {
    size_t n = map_len(f->levels), len = 0;
    struct level **limited = calloc(n, sizeof(*limited));
    struct concurrency_class *classes = calloc(n, sizeof(*classes));
    struct sums sums = {.remaining = f->nominal_sum};
    const char *name;
    void *value;
    CHECK(limited && classes);
    for (size_t i = 0; map_next(f->levels, &i, &name, &value);) {
        struct level *l = value;
        note_demand(l, now_ns);
        int least = least_seats(l);
        l->demand.target = fmax(least, l->demand.smoothed);
        if (l->exempt) {
            l->current = least;
            sums.remaining -= least;
            apply_seats(l, now_ns);
            continue;
        }
        classes[len] = (struct concurrency_class){.target = l->demand.target, .lower = least, .upper = l->max};
        limited[len++] = l;
        sums.min += l->min;
        sums.least += least;
    }
    bool none = sums.remaining <= sums.min, part = !none && sums.remaining <= sums.least, shared = false;
    f->fair_fraction = 0;
    if (!none && !part) shared = concurrency_allot(f->nominal_sum, classes, len, &f->fair_fraction);
    for (size_t i = 0; i < len; i++) {
        struct level *l = limited[i];
        if (none) l->current = l->min;
        else if (part) l->current = l->min + (int)lround((least_seats(l) - l->min) * (double)(sums.remaining - sums.min) / (sums.least - sums.min));
        else if (shared) l->current = (int)lround(classes[i].allotted);
        apply_seats(l, now_ns);
    }
    free(limited);
    free(classes);
}

void flow_adjust(struct flow_control *f, int64_t now_ns) {
    pthread_rwlock_wrlock(&f->lock);
    adjust(f, now_ns);
    pthread_rwlock_unlock(&f->lock);
}

static void take_levels(struct flow_control *f, struct arena *arena, const struct priority_level_list *levels, int64_t now_ns) {
    static const char *const mandatory[] = {"exempt", "catch-all"};
    struct map *into = map_new();
    double shares = 0;
    const char *name;
    void *value;
    for (size_t i = 0; i < levels->len; i++) take_level(f, into, levels->items[i], now_ns);
    for (size_t i = 0; i < ARRAY_LEN(mandatory); i++)
        if (!map_has(into, mandatory[i])) CHECK(take_level(f, into, mandatory_priority_level(arena, mandatory[i]), now_ns));
    retire_levels(f, into);
    f->levels = into;
    f->nominal_sum = 0;
    for (size_t i = 0; map_next(into, &i, &name, &value);) shares += ((struct level *)value)->shares;
    for (size_t i = 0; map_next(into, &i, &name, &value);) {
        set_seats(f, value, shares);
        f->nominal_sum += ((struct level *)value)->nominal;
    }
}

void flow_digest(struct flow_control *f, struct arena *arena, const struct flow_schema_list *schemas, const struct priority_level_list *levels, int64_t now_ns) {
    pthread_rwlock_wrlock(&f->lock);
    struct arena *old = f->arena;
    f->arena = arena;
    take_levels(f, arena, levels, now_ns);
    take_schemas(f, schemas);
    adjust(f, now_ns);
    pthread_rwlock_unlock(&f->lock);
    arena_free(old);
}

void flow_config_init(struct flow_control *f, int64_t now_ns) {
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP); /* requests read it without a pause */
    pthread_rwlock_init(&f->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    f->levels = map_new();
    flow_digest(f, arena_new(), &(struct flow_schema_list){0}, &(struct priority_level_list){0}, now_ns);
}

static void forget_level(void *l) { level_unref(l); }

void flow_config_free(struct flow_control *f) {
    map_free_with(f->levels, forget_level);
    arena_free(f->arena);
    pthread_rwlock_destroy(&f->lock);
}

/* ---- who is refused ---- */

int64_t dropped_note(struct dropped *d, int64_t second) {
    if (d->second == second) {
        d->count++;
        return d->retry_after;
    }
    int64_t keep = MIN(2 * d->retry_after, RETRY_AFTER_MAX_S), sum = 0;
    size_t from = 0;
    d->history[d->history_len].second = d->second;
    d->history[d->history_len++].count = d->count;
    while (from < d->history_len && d->second - d->history[from].second > keep) from++;
    if (from == 0 && d->history_len == ARRAY_LEN(d->history)) from = 1;
    memmove(d->history, d->history + from, (d->history_len - from) * sizeof(*d->history));
    d->history_len -= from;
    d->second = second;
    d->count = 1;
    for (size_t i = d->history_len; i-- && second - d->history[i].second <= d->retry_after;) sum += d->history[i].count;
    if (second - d->updated >= d->retry_after && sum >= 3 * d->retry_after) {
        d->retry_after = MIN(2 * d->retry_after, RETRY_AFTER_MAX_S);
        d->updated = second;
    } else if (sum < d->retry_after && d->retry_after > 1) d->retry_after--;
    return d->retry_after;
}
