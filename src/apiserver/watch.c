/* watch: initial state if asked for, the log, then live events. Upstream: endpoints/handlers/watch.go and the cacher's semantics.
 *
 * A watcher lives on its request's loop. While events come from the log, the live ones wait in the loop's queue, so order needs no care. */
#include <stdio.h>
#include <string.h>
#include "api/convert.h"
#include "api/printers.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_conversion.h"
#include "apiserver/flowcontrol/flow_control.h"
#include "apiserver/handlers.h"
#include "apiserver/versions.h"
#include "apiserver/watch_convert.h"
#include "apiserver/watch_hub.h"
#include "base/fiber.h"
#include "base/str.h"

enum { BACKLOG_BYTES_MAX = 16 << 20, BOOKMARK_MS = 60000, BOOKMARK_RETRY_MS = 20, TIMEOUT_S_DEFAULT = 1800 };

struct watcher {
    struct hub_watcher hub;     /* first */
    struct watch_hub *to;
    struct http_request *http;
    struct arena *arena;        /* the request's: filters and names live there */
    struct object_filter filter;
    struct api_request *r;
    const struct type_desc *type;
    uv_timer_t bookmark, timeout;
    bool bookmarks, over, plain; /* plain: JSON as it is stored */
    int timers;
    uint64_t last;              /* revision of the last event written or skipped */
    bool table_sent;
    char *registered;           /* with flow control */
    struct convert_queue *converting; /* of custom objects that a webhook converts; else NULL */
};

static void watcher_free(struct hub_watcher *h) {
    struct watcher *w = (struct watcher *)h;
    http_request_unref(w->http); /* and with it the arena that holds w */
}

static void timer_closed(uv_handle_t *h) {
    struct watcher *w = h->data;
    if (--w->timers == 0) watch_hub_remove(w->to, &w->hub);
}

static void stop(struct watcher *w) {
    if (w->over) return;
    w->over = true;
    convert_queue_stop(w->converting);
    flow_watch_forget(apiserver_flow_control(w->r->server), w->registered);
    uv_close((uv_handle_t *)&w->bookmark, timer_closed);
    uv_close((uv_handle_t *)&w->timeout, timer_closed);
}

static void client_gone(void *arg) { stop(arg); }

static void end(struct watcher *w) {
    if (w->over) return;
    http_response_end(w->http);
    stop(w);
}

/* A slow reader is cut; it resumes from its last resourceVersion. */
static bool can_write(struct watcher *w) {
    if (w->over) return false;
    if (http_response_backlog_bytes(w->http) <= BACKLOG_BYTES_MAX) return true;
    http_request_abort(w->http);
    return false;
}

static void write_frame(struct watcher *w, const char *data, size_t len) {
    if (can_write(w)) http_response_write(w->http, data, len);
}

/* ---- frames ---- */

enum event_type { EVENT_ADDED, EVENT_MODIFIED, EVENT_DELETED, EVENT_BOOKMARK };
static const char *const event_names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};

static void put_stored(struct buf *out, enum event_type type, const char *bytes, size_t len, uint32_t rv_offset, uint64_t revision) {
    buf_printf(out, "{\"type\":\"%s\",\"object\":", event_names[type]);
    buf_append(out, bytes, rv_offset);
    buf_append_u64(out, revision);
    buf_append(out, bytes + rv_offset, len - rv_offset);
    buf_append_str(out, "}\n");
}

static void encode_object(struct watcher *w, struct arena *a, struct object *obj, struct buf *out) {
    const struct type_desc *type = w->type, *as = request_type(w->r);
    void *form = obj;
    object_set_type_meta(a, type, obj);
    if (w->r->out.as == AS_TABLE) {
        struct metav1_Table *t = printers_table_as(a, type, obj, url_query_get(&w->r->query, "includeObject"), env_now_s(env_real()), as);
        if (w->table_sent) t->columnDefinitions = (struct metav1_TableColumnDefinition_list){0};
        form = t;
        type = &metav1_Table_desc;
    } else if (w->r->out.as != AS_OBJECT) form = printers_partial_metadata(a, type, obj, &type);
    else if (as != type) {
        form = object_convert(a, type, obj, as);
        type = as;
    }
    if (w->r->out.as != AS_OBJECT) response_set_form_version(w->r, type, form);
    if (w->r->out.media == MEDIA_PROTOBUF) object_encode_proto_envelope(type, form, out);
    else object_encode_json(type, form, out);
}

/* Protobuf frames: a big-endian length, then a WatchEvent {type=1, object=2 {raw=1}} without an envelope's magic of its own. */
static void put_event(struct watcher *w, struct arena *a, enum event_type type, struct object *obj, struct buf *out) {
    _cleanup_buf_ struct buf body = BUF_INIT;
    encode_object(w, a, obj, &body);
    if (w->r->out.media != MEDIA_PROTOBUF) {
        buf_printf(out, "{\"type\":\"%s\",\"object\":", event_names[type]);
        buf_append(out, body.data, body.len);
        buf_append_str(out, "}\n");
    } else {
        struct metav1_WatchEvent e = {.type = event_names[type], .object = {body.data, body.len}};
        _cleanup_buf_ struct buf message = BUF_INIT;
        object_encode_proto_envelope(&metav1_WatchEvent_desc, &e, &message);
        unsigned char len[4] = {(unsigned char)(message.len >> 24), (unsigned char)(message.len >> 16), (unsigned char)(message.len >> 8), (unsigned char)message.len};
        buf_append(out, len, 4);
        buf_append(out, message.data, message.len);
    }
}

static void write_event(struct watcher *w, struct arena *a, enum event_type type, struct object *obj) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    put_event(w, a, type, obj, &out);
    w->table_sent = true;
    write_frame(w, out.data, out.len);
}

struct making { struct watcher *w; enum event_type type; };

/* NULL: the object cannot be decoded. */
static struct shared *make_frame(void *arg, struct hub_event *e) {
    struct making *m = arg;
    struct store_event *s = e->store;
    const struct shared *bytes = m->type == EVENT_DELETED ? s->prev : s->value;
    struct buf out = BUF_INIT;
    if (m->w->plain) {
        put_stored(&out, m->type, shared_data(bytes), shared_len(bytes), m->type == EVENT_DELETED ? s->prev_rv_offset : s->rv_offset, s->revision);
        return shared_from_buf(&out);
    }
    _cleanup_arena_ struct arena *a = arena_new();
    struct object *obj = arena_alloc(a, m->w->type->size);
    if (object_decode_json(a, m->w->type, obj, shared_data(bytes), shared_len(bytes), NULL, NULL) != 0) return NULL;
    obj->metadata.resourceVersion = arena_printf(a, "%llu", (unsigned long long)s->revision);
    put_event(m->w, a, m->type, obj, &out);
    return shared_from_buf(&out);
}

/* Whether the object of a table's row comes whole, as metadata or not at all. */
static unsigned included(struct watcher *w) {
    const char *include = url_query_get(&w->r->query, "includeObject");
    return str_eq(include, "Object") ? 2 : str_eq(include, "None") ? 1 : 0;
}

static struct hub_form form_of(struct watcher *w, enum event_type type) {
    const struct negotiated *out = &w->r->out;
    unsigned table = out->as == AS_TABLE ? included(w) * 2 + w->table_sent : 0;
    return (struct hub_form){request_type(w->r), (unsigned)type | (unsigned)out->media << 2 | (unsigned)out->as << 4 | (unsigned)out->beta << 6 | table << 8};
}

/* What the event is to this watcher: an update that moves an object into or out of its filter is an ADDED or a DELETED. False: nothing. */
static bool event_type_for(struct watcher *w, struct hub_event *e, enum event_type *ret) {
    struct store_event *s = e->store;
    bool matches = s->value != NULL, matched = s->prev != NULL;
    if (!w->filter.any) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct object *now, *before;
        watch_hub_decode(w->to, e, w->type, a, &now, &before);
        matches = now && filter_matches(a, &w->filter, now);
        matched = before && filter_matches(a, &w->filter, before);
    }
    *ret = !matches ? EVENT_DELETED : matched ? EVENT_MODIFIED : EVENT_ADDED;
    return matches || matched;
}

/* Another definition, or none: the client comes back and is served by what there is then. Upstream does away with the storage. */
static bool is_outdated(struct watcher *w) { return w->r->custom && atomic_load(&w->r->custom->replaced); }

static bool on_event(struct hub_watcher *h, struct hub_event *e) {
    struct watcher *w = (struct watcher *)h;
    enum event_type type;
    if (w->over || (e && e->store->revision <= w->last)) return false;
    if (!e || is_outdated(w)) { /* after a gap, as upstream's cacher: whoever resumes is told that the revision is too old */
        end(w);
        return false;
    }
    if (w->converting) {
        convert_queue_add(w->converting, e->store);
        return false;
    }
    if (!event_type_for(w, e, &type)) return false;
    struct shared *frame = watch_hub_frame(w->to, e, form_of(w, type), make_frame, &(struct making){w, type});
    if (!frame || !can_write(w)) return false;
    http_response_write_shared(w->http, frame);
    w->table_sent = true;
    return true;
}

static void flush(struct hub_watcher *h) { http_response_flush(((struct watcher *)h)->http); }

static void on_log_event(void *arg, struct store_event *e) {
    struct hub_event he = {.store = e};
    on_event(arg, &he);
    watch_hub_event_release(&he);
}

static void write_bookmark(struct watcher *w, uint64_t revision, bool initial_end) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct object *obj = object_new(a, w->type);
    obj->metadata.resourceVersion = arena_printf(a, "%llu", (unsigned long long)revision);
    if (initial_end) string_map_set(a, &obj->metadata.annotations, "k8s.io/initial-events-end", "true");
    write_event(w, a, EVENT_BOOKMARK, obj);
}

/* A client resumes behind a bookmark, so that one which ran ahead of an event on its way would lose it. */
static void bookmark_due(uv_timer_t *t) {
    struct watcher *w = t->data;
    if (w->over) return;
    if (is_outdated(w)) {
        end(w);
        return;
    }
    if (!w->bookmarks) return;
    uint64_t revision = w->converting && !convert_queue_idle(w->converting) ? 0 : watch_hub_progress(w->to, &w->hub);
    if (revision) write_bookmark(w, revision, false);
    else uv_timer_start(t, bookmark_due, BOOKMARK_RETRY_MS, BOOKMARK_MS);
}

static void timeout_due(uv_timer_t *t) { end(t->data); }

/* ---- beginning ---- */

/* Of a watch whose objects are converted: those that there are, to be converted when the snapshot has been let go of. */
struct initial { struct watcher *w; struct arena *a; struct conversion_item *items; size_t len; };

static bool initial_object(void *arg, const struct store_view *v) {
    struct initial *all = arg;
    struct watcher *w = all->w;
    if (v->trouble) return true;
    if (w->converting) {
        struct object *obj = registry_decode(all->a, w->filter.strategy, v);
        if (obj) *LIST_PUSH(all->a, all) = (struct conversion_item){arena_strndup(all->a, v->key, v->key_len), v->mod_revision, obj};
        return true;
    }
    if (w->plain && w->filter.any) {
        _cleanup_buf_ struct buf out = BUF_INIT;
        put_stored(&out, EVENT_ADDED, v->value, v->value_len, v->rv_offset, v->mod_revision);
        write_frame(w, out.data, out.len);
        return true;
    }
    _cleanup_arena_ struct arena *a = arena_new();
    struct object *obj = registry_decode(a, w->filter.strategy, v);
    if (obj && filter_matches(a, &w->filter, obj)) write_event(w, a, EVENT_ADDED, obj);
    return true;
}

struct start { uint64_t from; bool initial, initial_end; };

static int parse_start(struct api_request *r, struct start *s, struct status *reterr) {
    const char *rv = url_query_get(&r->query, "resourceVersion"), *send = url_query_get(&r->query, "sendInitialEvents");
    const char *timeout = url_query_get(&r->query, "timeoutSeconds");
    uint64_t n = 0;
    int64_t seconds;
    *s = (struct start){0};
    if (!str_empty(timeout) && !str_to_i64(timeout, &seconds)) return status_bad_request(reterr, "strconv.ParseInt: parsing \"%s\": invalid syntax", timeout);
    if (!str_empty(rv) && !str_to_u64(rv, &n)) return status_set(reterr, 500, NULL, "invalid resource version \"%s\"", rv);
    bool want = request_flag(r, "sendInitialEvents");
    const char *match = url_query_get(&r->query, "resourceVersionMatch");
    struct field_errors errs = field_errors_in(r->arena);
    if (send && !str_eq(match, "NotOlderThan")) field_forbidden(&errs, FIELD(NULL, "resourceVersionMatch"), "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (!send && !str_empty(match)) field_forbidden(&errs, FIELD(NULL, "resourceVersionMatch"), "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    if (!str_empty(match) && !str_eq(match, "NotOlderThan")) field_not_supported(&errs, FIELD(NULL, "resourceVersionMatch"), match, (const char *const[]){"NotOlderThan", NULL});
    bool implied = !send && n == 0; /* a watch from anywhere is one with its initial events, and not older than that */
    if (!str_empty(url_query_get(&r->query, "continue")) && (implied || !str_empty(match))) field_forbidden(&errs, FIELD(NULL, "resourceVersionMatch"), "resourceVersionMatch is forbidden when continue is provided");
    if (errs.len) return field_errors_status(&errs, "meta.k8s.io", "ListOptions", "", reterr);
    s->from = n;
    s->initial = send ? want : n == 0;
    s->initial_end = want;
    return 0;
}

static uint64_t timeout_ms(struct api_request *r) {
    const char *t = url_query_get(&r->query, "timeoutSeconds");
    int64_t s;
    if (!str_empty(t) && str_to_i64(t, &s) && s > 0) return (uint64_t)s * 1000;
    return (TIMEOUT_S_DEFAULT + env_random_below(env_real(), TIMEOUT_S_DEFAULT)) * 1000; /* spread, so that not all come back at once */
}

static void start_timers(struct watcher *w) {
    uv_timer_init(loop_uv(w->hub.loop), &w->bookmark);
    uv_timer_init(loop_uv(w->hub.loop), &w->timeout);
    w->bookmark.data = w->timeout.data = w;
    w->timers = 2;
    uv_timer_start(&w->bookmark, bookmark_due, BOOKMARK_MS, BOOKMARK_MS);
    uv_timer_start(&w->timeout, timeout_due, timeout_ms(w->r), 0);
}

/* False: the client has gone already. */
static bool begin(struct watcher *w) {
    size_t n;
    const char *type = w->r->out.media == MEDIA_PROTOBUF ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/json";
    struct http_header *h = response_headers(w->r, type, &n);
    w->r->code = 200;
    http_response_begin(w->http, 200, h, n);
    fiber_sleep_ms(0); /* the head goes out by itself, as upstream flushes it: clients may wait for it alone */
    if (http_request_closed(w->http)) return false;
    http_request_on_close(w->http, client_gone, w);
    start_timers(w);
    w->registered = flow_watch_register(apiserver_flow_control(w->r->server), w->r);
    return true;
}

/* The error of a watch that has begun is an event; upstream ends the stream after it. */
static void write_error(struct watcher *w, struct status *err) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    struct metav1_Status s = {.kind = "Status", .apiVersion = "v1", .status = "Failure", .message = err->message, .reason = err->reason, .code = err->code};
    buf_append_str(&out, "{\"type\":\"ERROR\",\"object\":");
    object_encode_json(&metav1_Status_desc, &s, &out);
    buf_append_str(&out, "}\n");
    write_frame(w, out.data, out.len);
    end(w);
}

/* ---- objects that a webhook converts ---- */

static void deliver_converted(void *arg, struct arena *a, struct store_event *e, struct object *now, struct object *before) {
    struct watcher *w = arg;
    bool matches = now && filter_matches(a, &w->filter, now), matched = before && filter_matches(a, &w->filter, before);
    struct object *obj = matches ? now : before;
    if (!matches && !matched) return;
    obj->metadata.resourceVersion = arena_printf(a, "%llu", (unsigned long long)e->revision);
    write_event(w, a, !matches ? EVENT_DELETED : matched ? EVENT_MODIFIED : EVENT_ADDED, obj);
}

static void conversion_failed(void *arg, struct status *err) { write_error(arg, err); }

static const struct convert_queue_events converted_events = {deliver_converted, conversion_failed};

/* Converts what there is and writes it, then its bookmark, and lets the events that have queued up follow. */
static void begin_converted(struct watcher *w, struct initial *initial, uint64_t bookmark) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct api_request scratch = *w->r;
    scratch.arena = initial->a;
    int failed = custom_convert_shared(&scratch, w->r->strategy, initial->items, initial->len, &err);
    if (w->over) return;
    if (failed) {
        write_error(w, &err);
        return;
    }
    for (size_t i = 0; i < initial->len && !w->over; i++)
        if (filter_matches(initial->a, &w->filter, initial->items[i].obj)) write_event(w, initial->a, EVENT_ADDED, initial->items[i].obj);
    if (bookmark) write_bookmark(w, bookmark, true);
    convert_queue_start(w->converting);
}

/* From the hub's addition on nothing waits until all that comes before the live events is in its place. */
static void follow(struct watcher *w, struct start s) {
    _cleanup_status_ struct status err = STATUS_INIT;
    _cleanup_arena_ struct arena *a = w->converting ? arena_new() : NULL;
    struct store *store = apiserver_store(w->r->server);
    struct initial initial = {.w = w, .a = a};
    uint64_t live_from = watch_hub_add(w->to, &w->hub), bookmark = 0;
    if (s.initial) {
        struct store_txn *t;
        if (store_read_begin(store, &t, &err) != 0) {
            write_error(w, &err);
            return;
        }
        uint64_t at = store_txn_revision(t);
        store_range(t, w->hub.prefix, NULL, initial_object, &initial);
        store_read_end(t);
        if (s.initial_end && w->bookmarks) bookmark = at;
        if (bookmark && !w->converting) write_bookmark(w, at, true);
        s.from = at;
    } else if (!s.from) s.from = live_from; /* without what there is, from anywhere: what comes from now on */
    if (s.from < live_from && store_log_read(store, w->hub.prefix, s.from, live_from, on_log_event, w, &err) != 0) {
        write_error(w, &err);
        return;
    }
    w->last = MAX(s.from, live_from);
    if (w->converting) begin_converted(w, &initial, bookmark);
}

void handle_watch(struct api_request *r) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct start s;
    struct watcher *w = ARENA_NEW(r->arena, struct watcher);
    if (negotiate(r, true, true, &err) != 0 || filter_from_request(r, &w->filter, &err) != 0 || parse_start(r, &s, &err) != 0 || response_check_form(r, r->strategy->type, &err) != 0) {
        respond_status(r, &err);
        return;
    }
    w->r = r;
    w->type = r->strategy->type;
    w->to = apiserver_watch_hub(r->server);
    w->http = http_request_ref(r->http);
    w->plain = !r->custom && r->out.as == AS_OBJECT && r->out.media == MEDIA_JSON && request_type(r) == w->type;
    if (custom_converts(r->strategy)) w->converting = convert_queue_new(r, &converted_events, w);
    w->bookmarks = request_flag(r, "allowWatchBookmarks");
    w->hub = (struct hub_watcher){.loop = r->http->loop, .fn = on_event, .flush = flush, .free = watcher_free, .prefix = storage_key(r->arena, r->strategy, r->rd->namespaced ? r->namespace : NULL, NULL)};
    if (read_wait(r, str_empty(url_query_get(&r->query, "resourceVersion")), s.from, &err) != 0) {
        respond_status(r, &err);
        http_request_unref(w->http);
        return;
    }
    if (!begin(w)) {
        http_request_unref(w->http);
        return;
    }
    http_request_ref(w->http); /* a client that goes while its objects are converted takes the watcher with it */
    follow(w, s);
    http_request_unref(w->http);
}
