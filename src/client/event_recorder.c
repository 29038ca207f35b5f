/* Event recording: see event_recorder.h. */
#include "client/event_recorder.h"
#include "api/time.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

enum { QUEUE_MAX = 1000, CACHE_MAX = 4096, BURST = 25, REFILL_S = 300, STOP_WAIT_MS = 1000, SIMILAR_MAX = 10, SIMILAR_S = 600, MESSAGE_MAX = 1024 };

struct queued { struct queued *next; struct arena *arena; struct corev1_Event event; };
struct seen { char *name; int32_t count; };
struct bucket { double tokens; int64_t at_ns; };
struct similar { struct map *messages; int64_t last_ns; };

struct event_recorder {
    struct client *client;
    struct env *env;
    char *component, *host;
    pthread_t thread;
    pthread_mutex_t mutex; /* of the queue */
    pthread_cond_t cond;
    struct queued *head, **tail;
    int len;
    bool stopping, started;
    /* the thread's own */
    struct map *seen;      /* key of an event -> struct seen * */
    struct map *buckets;   /* key of its source and object -> struct bucket * */
    struct map *similar;   /* key without the message -> struct similar * */
};

/* ---- the correlator; on the thread ---- */

static void seen_free(void *p) {
    free(((struct seen *)p)->name);
    free(p);
}

static void similar_free(void *p) {
    map_free(((struct similar *)p)->messages);
    free(p);
}

/* Caches that have grown too large begin anew: at worst an event is written once more. */
static void cache_bound(struct map **m, void (*free_value)(void *)) {
    if (map_len(*m) < CACHE_MAX) return;
    map_free_with(*m, free_value);
    *m = map_new();
}

static const char *object_part(struct arena *a, const struct corev1_Event *ev) {
    const struct corev1_ObjectReference *o = &ev->involvedObject;
    return arena_printf(a, "%s/%s/%s/%s/%s/%s/%s", str_or(ev->source.component, ""), str_or(ev->source.host, ""), str_or(o->kind, ""), str_or(o->namespace, ""), str_or(o->name, ""),
                        str_or(o->uid, ""), str_or(o->apiVersion, ""));
}

static bool spam(struct event_recorder *r, const char *object) {
    int64_t now = env_mono_ns(r->env);
    cache_bound(&r->buckets, free);
    struct bucket *b = map_get(r->buckets, object);
    if (!b) {
        CHECK(b = calloc(1, sizeof(*b)));
        *b = (struct bucket){BURST, now};
        map_put(r->buckets, object, b);
    }
    b->tokens = MIN((double)BURST, b->tokens + (double)(now - b->at_ns) / 1e9 / REFILL_S);
    b->at_ns = now;
    if (b->tokens < 1) return true;
    b->tokens -= 1;
    return false;
}

/* Whether this message is one too many of its kind. */
static bool too_similar(struct event_recorder *r, const char *kind, const char *message) {
    int64_t now = env_mono_ns(r->env);
    cache_bound(&r->similar, similar_free);
    struct similar *s = map_get(r->similar, kind);
    if (!s) {
        CHECK(s = calloc(1, sizeof(*s)));
        s->messages = map_new();
        map_put(r->similar, kind, s);
    } else if (now - s->last_ns > (int64_t)SIMILAR_S * 1000000000) map_clear(s->messages);
    s->last_ns = now;
    if (map_has(s->messages, message)) return map_len(s->messages) >= SIMILAR_MAX;
    if (map_len(s->messages) >= SIMILAR_MAX) return true;
    map_put(s->messages, message, s);
    return map_len(s->messages) >= SIMILAR_MAX;
}

static int write_again(struct event_recorder *r, struct arena *a, const struct corev1_Event *ev, struct seen *s) {
    _cleanup_buf_ struct buf patch = BUF_INIT;
    buf_printf(&patch, "{\"count\":%d,\"lastTimestamp\":\"", s->count + 1);
    time_format(&ev->lastTimestamp, &patch);
    buf_append_str(&patch, "\",\"message\":");
    json_write_string(&patch, str_or(ev->message, ""));
    buf_append_char(&patch, '}');
    if (client_patch(r->client, a, &corev1_Event_desc, ev->metadata.namespace, s->name, NULL, PATCH_STRATEGIC, buf_cstr(&patch), NULL, NULL) != 0) return -1;
    s->count++;
    return 0;
}

static void write_event(struct event_recorder *r, struct queued *it) {
    struct corev1_Event *ev = &it->event;
    struct arena *a = it->arena;
    const char *object = object_part(a, ev), *kind = arena_printf(a, "%s/%s/%s", object, ev->type, ev->reason);
    const char *key = arena_printf(a, "%s/%s/%s", kind, str_or(ev->involvedObject.fieldPath, ""), ev->message);
    if (too_similar(r, kind, ev->message)) {
        ev->message = arena_printf(a, "(combined from similar events): %s", ev->message);
        key = kind;
    }
    struct seen *s = map_get(r->seen, key);
    if (spam(r, object) || (s && write_again(r, a, ev, s) == 0)) return;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (client_create(r->client, a, &corev1_Event_desc, ev, NULL, &err) != 0) {
        log_debug("event %s about %s: %s", ev->reason, object, status_message(&err));
        return;
    }
    cache_bound(&r->seen, seen_free);
    CHECK(s = calloc(1, sizeof(*s)));
    *s = (struct seen){strdup(ev->metadata.name), 1};
    struct seen *old = map_put(r->seen, key, s);
    if (old) seen_free(old);
}

static void queued_free(struct queued *it) {
    arena_free(it->arena); /* it lives in it */
}

static void *run(void *arg) {
    struct event_recorder *r = arg;
    int64_t stop_at = 0;
    pthread_mutex_lock(&r->mutex);
    for (;;) {
        while (!r->head && !r->stopping) env_cond_wait(r->env, &r->cond, &r->mutex, -1);
        if (r->stopping && !stop_at) stop_at = env_mono_ns(r->env) + (int64_t)STOP_WAIT_MS * 1000000;
        if (!r->head || (r->stopping && env_mono_ns(r->env) > stop_at)) break;
        struct queued *it = r->head;
        if (!(r->head = it->next)) r->tail = &r->head;
        r->len--;
        pthread_mutex_unlock(&r->mutex);
        write_event(r, it);
        queued_free(it);
        pthread_mutex_lock(&r->mutex);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

/* ---- recording ---- */

void event_record_ref(struct event_recorder *r, const struct corev1_ObjectReference *ref, const char *source_component, const char *event_type, const char *reason, const char *format,
                      va_list args) {
    if (!r) return;
    struct arena *a = arena_new();
    struct queued *it = ARENA_NEW(a, struct queued);
    struct corev1_Event *ev = &it->event;
    int64_t now = env_now_ns(r->env);
    it->arena = a;
    object_set_type_meta(a, &corev1_Event_desc, ev);
    ev->metadata.namespace = arena_strdup(a, str_empty(ref->namespace) ? "default" : ref->namespace);
    ev->metadata.name = arena_printf(a, "%s.%llx", ref->name, (unsigned long long)now);
    object_copy_into(a, &corev1_ObjectReference_desc, &ev->involvedObject, ref);
    ev->type = arena_strdup(a, event_type);
    ev->reason = arena_strdup(a, reason);
    char *message = arena_vprintf(a, format, args);
    if (strlen(message) > MESSAGE_MAX) memcpy(message + MESSAGE_MAX - 3, "...", 4);
    ev->message = message;
    ev->source = (struct corev1_EventSource){.component = arena_strdup(a, source_component ? source_component : r->component), .host = arena_strdup(a, r->host)};
    ev->reportingComponent = ev->source.component;
    ev->reportingInstance = ev->source.host;
    ev->firstTimestamp = ev->lastTimestamp = (struct api_time){.set = true, .sec = now / 1000000000};
    ev->count = 1;
    pthread_mutex_lock(&r->mutex);
    bool taken = r->len < QUEUE_MAX && !r->stopping;
    if (taken) {
        *r->tail = it;
        r->tail = &it->next;
        r->len++;
        pthread_cond_signal(&r->cond);
        if (!r->started) r->started = pthread_create(&r->thread, NULL, run, r) == 0; /* who never records needs no thread */
    }
    pthread_mutex_unlock(&r->mutex);
    if (!taken) queued_free(it);
}

void event_record(struct event_recorder *r, const struct type_desc *type, const void *obj, const char *event_type, const char *reason, const char *format, ...) {
    if (!r) return;
    _cleanup_arena_ struct arena *a = arena_new();
    const struct object *o = obj;
    struct corev1_ObjectReference ref = {.kind = type->kind, .apiVersion = type_api_version(a, type), .namespace = o->metadata.namespace, .name = o->metadata.name, .uid = o->metadata.uid,
        .resourceVersion = o->metadata.resourceVersion};
    va_list args;
    va_start(args, format);
    event_record_ref(r, &ref, NULL, event_type, reason, format, args);
    va_end(args);
}

/* ---- life ---- */

struct event_recorder *event_recorder_new(struct client *c, struct env *env, const char *component, const char *host) {
    struct event_recorder *r = calloc(1, sizeof(*r));
    CHECK(r && (r->component = strdup(component)));
    CHECK(!host || (r->host = strdup(host)));
    r->client = c;
    r->env = env;
    r->tail = &r->head;
    r->seen = map_new();
    r->buckets = map_new();
    r->similar = map_new();
    pthread_mutex_init(&r->mutex, NULL);
    env_cond_init(&r->cond);
    return r;
}

void event_recorder_free(struct event_recorder *r) {
    if (!r) return;
    pthread_mutex_lock(&r->mutex);
    r->stopping = true;
    pthread_cond_signal(&r->cond);
    bool started = r->started;
    pthread_mutex_unlock(&r->mutex);
    if (started) pthread_join(r->thread, NULL);
    for (struct queued *it = r->head, *next; it; it = next) {
        next = it->next;
        queued_free(it);
    }
    map_free_with(r->seen, seen_free);
    map_free_with(r->buckets, free);
    map_free_with(r->similar, similar_free);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->mutex);
    free(r->component);
    free(r->host);
    free(r);
}
