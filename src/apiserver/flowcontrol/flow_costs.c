/* What requests cost: lists by the bytes they read, writes by the watches they wake. Upstream: flowcontrol/request, flowcontrol/watch_tracker.go.
 * How many objects there are and how large is counted now and then (flow_costs_refresh), of those resources alone that have been listed. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "apiserver/flowcontrol/flow_internal.h"
#include "apiserver/registry.h"
#include "base/str.h"

enum { LIST_SEATS_MAX = 100, MUTATING_SEATS_MAX = 10, BYTES_PER_SEAT = 100000, CACHE_BYTES_MAX = 1000000, WATCHES_PER_SEAT = 10, EVENT_NS = 5000000, OBJECTS_MAX = 1024, KEY_MAX = 1024 };

void flow_costs_init(struct flow_control *f) {
    pthread_mutex_init(&f->costs_mutex, NULL);
    f->watchers = map_new();
    f->objects = map_new();
}

void flow_costs_free(struct flow_control *f) {
    map_free(f->watchers);
    map_free_with(f->objects, free);
    pthread_mutex_destroy(&f->costs_mutex);
}

/* ---- watches ---- */

/* Watches of one node's Pods do not see the others' writes, most of which are those they are compared with. */
static bool is_of_one_node(const struct api_request *r) {
    const char *fields = str_eq(r->resource, "pods") ? url_query_get(&r->query, "fieldSelector") : NULL;
    for (const char *p = fields; p && *p; p += strcspn(p, ","), p += *p == ',') {
        if (!str_has_prefix(p, "spec.nodeName=")) continue;
        p += sizeof("spec.nodeName=") - 1;
        p += *p == '=';
        if (*p && *p != ',') return true;
    }
    return false;
}

static bool watch_key(char key[KEY_MAX], const char *group, const char *resource, const char *ns, const char *name) {
    return snprintf(key, KEY_MAX, "%s/%s/%s/%s", group, resource, ns, name) < KEY_MAX;
}

char *flow_watch_register(struct flow_control *f, const struct api_request *r) {
    char key[KEY_MAX];
    if (!f || is_of_one_node(r) || !watch_key(key, str_or(r->group, ""), str_or(r->resource, ""), str_or(r->namespace, ""), str_or(r->name, ""))) return NULL;
    pthread_mutex_lock(&f->costs_mutex);
    map_put(f->watchers, key, (void *)((uintptr_t)map_get(f->watchers, key) + 1));
    pthread_mutex_unlock(&f->costs_mutex);
    return strdup(key);
}

void flow_watch_forget(struct flow_control *f, char *key) {
    if (!key) return;
    pthread_mutex_lock(&f->costs_mutex);
    uintptr_t left = (uintptr_t)map_get(f->watchers, key) - 1;
    if (left) map_put(f->watchers, key, (void *)left);
    else map_del(f->watchers, key);
    pthread_mutex_unlock(&f->costs_mutex);
    free(key);
}

/* Of the whole resource, of the namespace, of this very object. */
static int interested(struct flow_control *f, const struct api_request *r) {
    char key[KEY_MAX];
    const char *group = str_or(r->group, ""), *ns = str_or(r->namespace, "");
    uintptr_t n = 0;
    pthread_mutex_lock(&f->costs_mutex);
    if (watch_key(key, group, r->resource, "", "")) n += (uintptr_t)map_get(f->watchers, key);
    if (*ns && watch_key(key, group, r->resource, ns, "")) n += (uintptr_t)map_get(f->watchers, key);
    if (!str_empty(r->name) && watch_key(key, group, r->resource, ns, r->name)) n += (uintptr_t)map_get(f->watchers, key);
    pthread_mutex_unlock(&f->costs_mutex);
    return (int)n;
}

static int seats_max(int of_level, int limit) { return of_level == 0 || of_level > limit ? limit : of_level; }

static struct work_estimate estimate_write(struct flow_control *f, const struct api_request *r, int max_seats, int *ret_watches) {
    struct work_estimate w = {.initial_seats = 1};
    if (str_eq(r->resource, "serviceaccounts") && str_eq(r->subresource, "token")) return w;
    if (!r->is_resource) return w;
    *ret_watches = interested(f, r);
    if (*ret_watches < WATCHES_PER_SEAT) return w;
    int seats = (*ret_watches + WATCHES_PER_SEAT - 1) / WATCHES_PER_SEAT;
    w.final_seats = MIN(seats, seats_max(max_seats, MUTATING_SEATS_MAX));
    w.additional_ns = (int64_t)seats * EVENT_NS / w.final_seats;
    return w;
}

/* ---- lists ---- */

static struct object_cost *cost_of(struct flow_control *f, const struct api_request *r) {
    char key[KEY_MAX];
    struct object_cost *c = NULL;
    if (snprintf(key, KEY_MAX, "%s/%s", str_or(r->group, ""), str_or(r->resource, "")) >= KEY_MAX) return NULL;
    pthread_mutex_lock(&f->costs_mutex);
    if (!(c = map_get(f->objects, key)) && map_len(f->objects) < OBJECTS_MAX) {
        CHECK(c = calloc(1, sizeof(*c)));
        c->objects = -1;
        map_put(f->objects, key, c);
    }
    if (c) c->wanted = true;
    pthread_mutex_unlock(&f->costs_mutex);
    return c;
}

/* Upstream's cache answers what asks for no exact revision; it streams, holding little at once. */
static bool is_from_cache(const struct api_request *r, int64_t limit) {
    const char *rv = url_query_get(&r->query, "resourceVersion"), *match = url_query_get(&r->query, "resourceVersionMatch");
    if (str_eq(match, "Exact")) return false;
    if (!str_empty(match)) return str_eq(match, "NotOlderThan");
    if (!str_empty(url_query_get(&r->query, "continue"))) return false;
    return limit <= 0 || str_empty(rv) || str_eq(rv, "0");
}

static struct work_estimate estimate_list(struct flow_control *f, const struct api_request *r, int max_seats) {
    struct work_estimate w = {.initial_seats = 1};
    const char *rv = url_query_get(&r->query, "resourceVersion"), *send = url_query_get(&r->query, "sendInitialEvents"), *text = url_query_get(&r->query, "limit");
    bool watch = str_eq(r->verb, "watch");
    int64_t limit = 0;
    if (watch && !str_eq(send, "true") && !str_eq(send, "1") && !str_empty(rv) && !str_eq(rv, "0")) return w; /* it only goes on */
    if (!str_empty(text) && !str_to_i64(text, &limit)) {
        w.initial_seats = seats_max(max_seats, LIST_SEATS_MAX); /* it is bound to be refused */
        return w;
    }
    struct object_cost *c = cost_of(f, r);
    int64_t objects = c ? c->objects : -1, loaded;
    if (objects < 0) return w;
    bool cached = watch || is_from_cache(r, limit), selects = !str_empty(url_query_get(&r->query, "fieldSelector")) || !str_empty(url_query_get(&r->query, "labelSelector"));
    loaded = limit > 0 ? MIN(limit, objects) : objects;
    if (!str_empty(r->name)) loaded = 1;
    else if (!cached && selects) loaded = MAX(loaded, objects / 2);
    int64_t bytes = loaded * c->average_bytes;
    if (cached) bytes = MIN(bytes, CACHE_BYTES_MAX);
    int64_t seats = (bytes + BYTES_PER_SEAT - 1) / BYTES_PER_SEAT;
    w.initial_seats = (int)MIN(MAX(seats, 1), seats_max(max_seats, LIST_SEATS_MAX));
    return w;
}

struct work_estimate flow_estimate(struct flow_control *f, const struct api_request *r, int max_seats, int *ret_watches) {
    *ret_watches = -1;
    if (!r->is_resource) return (struct work_estimate){.initial_seats = 1};
    if (str_in(r->verb, (const char *const[]){"list", "watch", NULL})) return estimate_list(f, r, max_seats);
    if (str_in(r->verb, (const char *const[]){"create", "update", "patch", "delete", NULL})) return estimate_write(f, r, max_seats, ret_watches);
    return (struct work_estimate){.initial_seats = 1};
}

/* ---- counting ---- */

struct count { long long objects, bytes; };

static bool count_one(void *arg, const struct store_view *v) {
    struct count *c = arg;
    c->objects++;
    c->bytes += (long long)v->value_len;
    return true;
}

static void refresh_one(struct flow_control *f, struct arena *a, const char *key, struct object_cost *c) {
    const char *slash = strchr(key, '/'), *group = arena_strndup(a, key, (size_t)(slash - key)), *resource = slash + 1;
    const struct strategy *st = strategy_find(group, resource);
    struct count n = {0};
    struct store_txn *t;
    if (store_read_begin(apiserver_store(f->server), &t, NULL) != 0) return;
    store_range(t, st ? storage_key(a, st, NULL, NULL) : arena_printf(a, "/registry/%s/%s/", group, resource), NULL, count_one, &n);
    store_read_end(t);
    c->average_bytes = n.objects ? n.bytes / n.objects : 0;
    c->objects = st || n.objects ? n.objects : -1; /* nothing known of it */
}

void flow_costs_refresh(struct flow_control *f) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct { struct wanted { const char *key; struct object_cost *cost; } *items; size_t len; } wanted = {0};
    const char *key;
    void *value;
    pthread_mutex_lock(&f->costs_mutex);
    for (size_t i = 0; map_next(f->objects, &i, &key, &value);)
        if (atomic_exchange(&((struct object_cost *)value)->wanted, false)) *LIST_PUSH(a, &wanted) = (struct wanted){arena_strdup(a, key), value};
    pthread_mutex_unlock(&f->costs_mutex);
    for (size_t i = 0; i < wanted.len; i++) refresh_one(f, a, wanted.items[i].key, wanted.items[i].cost); /* costs are never freed before the end */
}
