/* List and watch: see reflector.h. */
#include "client/reflector.h"
#include <stdatomic.h>
#include "base/log.h"
#include "base/str.h"
#include "wire/json.h"

enum { HEAD_TIMEOUT_MS = 30000, WATCH_IDLE_MS = 150000 /* more than two bookmarks */, BACKOFF_MS_MIN = 100, BACKOFF_MS_MAX = 30000, SCRATCH_BYTES = 32768 };
#define METADATA_ACCEPT "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#define METADATA_LIST_ACCEPT "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

struct reflector {
    struct client *client;
    struct env *env;
    struct arena *arena;          /* strings */
    const struct type_desc *type, *list_type;
    const char *path, *query;
    bool metadata_only, no_streaming_list;
    struct reflector_sink sink;
    char *version;                /* where to watch from; NULL: list first */
    struct arena *scratch;        /* of one event */
    pthread_t thread;
    pthread_mutex_t mutex;        /* of what follows */
    pthread_cond_t cond;
    bool stopping;
    struct transport_stream *stream; /* the one that is read, to be cancelled */
};

static void version_set(struct reflector *r, const char *version) {
    free(r->version);
    r->version = version ? strdup(version) : NULL;
    if (version && r->sink.reached) r->sink.reached(r->sink.data, version);
}

static bool stopping(struct reflector *r) {
    pthread_mutex_lock(&r->mutex);
    bool s = r->stopping;
    pthread_mutex_unlock(&r->mutex);
    return s;
}

/* ---- events ---- */

enum place { PLACE_KEPT, PLACE_LOST };

/* One line of a watch. *initial: these are the initial events of a streaming list, up to the bookmark that ends them. */
static enum place on_line(struct reflector *r, const char *line, size_t len, bool *initial) {
    arena_reset(r->scratch);
    yyjson_doc *doc = json_parse_in(r->scratch, line, len, JSON_NUMBERS_RAW, NULL);
    yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *type = yyjson_get_str(yyjson_obj_get(root, "type"));
    struct object *obj = arena_alloc(r->scratch, r->type->size);
    if (!type || str_eq(type, "ERROR")) return PLACE_LOST;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (object_decode_value(r->scratch, r->type, obj, yyjson_obj_get(root, "object"), NULL, &err) != 0) {
        log_warning("%s: an object that cannot be decoded is left out: %s", r->path, status_message(&err));
        return PLACE_KEPT;
    }
    if (str_eq(type, "BOOKMARK")) {
        if (*initial && string_map_has(&obj->metadata.annotations, "k8s.io/initial-events-end")) {
            *initial = false;
            r->sink.replace_end(r->sink.data);
        }
    } else if (*initial) r->sink.replace_object(r->sink.data, obj);
    else if (str_eq(type, "DELETED")) r->sink.delete(r->sink.data, obj);
    else r->sink.set(r->sink.data, obj);
    if (!*initial && !str_empty(obj->metadata.resourceVersion)) version_set(r, obj->metadata.resourceVersion);
    return PLACE_KEPT;
}

/* Reads lines until the stream ends. */
static void watch_read(struct reflector *r, struct transport_stream *s, bool initial) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    char chunk[16384];
    for (;;) {
        ssize_t n = s->read(s, chunk, sizeof(chunk), WATCH_IDLE_MS, NULL);
        if (n <= 0) return;
        buf_append(&b, chunk, (size_t)n);
        size_t used = 0;
        for (char *end; used < b.len && (end = memchr(b.data + used, '\n', b.len - used)); used = (size_t)(end - b.data) + 1) {
            size_t len = (size_t)(end - b.data) - used;
            if (!len || on_line(r, b.data + used, len, &initial) == PLACE_KEPT) continue;
            version_set(r, NULL);
            return;
        }
        buf_consume(&b, used);
        if (!b.len) buf_release(&b); /* what waits for events holds no memory */
    }
}

/* ---- requests ---- */

static char *target(struct reflector *r, const char *more) {
    bool query = !str_empty(r->query);
    return arena_printf(r->scratch, "%s%s%s%s%s", r->path, query || *more ? "?" : "", query ? r->query : "", query && *more ? "&" : "", more);
}

/* Opens a stream that reflector_stop can cancel. NULL: stopping. */
static struct transport_stream *stream_begin(struct reflector *r) {
    struct transport *t = client_transport(r->client);
    struct transport_stream *s = t->stream_new(t);
    pthread_mutex_lock(&r->mutex);
    bool stop = r->stopping;
    if (!stop) r->stream = s;
    pthread_mutex_unlock(&r->mutex);
    if (!stop) return s;
    s->free(s);
    return NULL;
}

static void stream_finish(struct reflector *r, struct transport_stream *s) {
    pthread_mutex_lock(&r->mutex);
    r->stream = NULL;
    pthread_mutex_unlock(&r->mutex);
    s->free(s);
}

/* A watch from r->version, or a streaming list where that is NULL. Returns the answer's code, -1 if there was none. */
static int watch(struct reflector *r) {
    bool initial = !r->version;
    const char *more = initial ? "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                               : arena_printf(r->scratch, "watch=true&allowWatchBookmarks=true&resourceVersion=%s", r->version);
    struct transport_stream *s = stream_begin(r);
    if (!s) return -1;
    struct transport_call call = {.method = "GET", .target = target(r, more), .accept = r->metadata_only ? METADATA_ACCEPT : NULL, .timeout_ms = HEAD_TIMEOUT_MS};
    int code = -1;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (s->open(s, &call, &code, &err) != 0) {
        code = -1;
        log_debug("%s: %s", r->path, status_message(&err));
    } else if (code == 200) {
        if (initial) r->sink.replace_begin(r->sink.data);
        watch_read(r, s, initial);
    } else if (code == 410) version_set(r, NULL);
    stream_finish(r, s);
    return code;
}

static int list(struct reflector *r, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf body = BUF_INIT;
    struct transport *t = client_transport(r->client);
    struct transport_call call = {.method = "GET", .target = target(r, ""), .accept = r->metadata_only ? METADATA_LIST_ACCEPT : NULL, .timeout_ms = HEAD_TIMEOUT_MS};
    int code;
    if (t->call(t, &call, &code, &body, reterr) != 0) return -1;
    if (code != 200) return client_status(code, buf_cstr(&body), body.len, reterr);
    struct object_list *l = arena_alloc(a, r->list_type->size);
    if (object_decode_json(a, r->list_type, l, buf_cstr(&body), body.len, NULL, reterr) != 0) return -1;
    r->sink.replace_begin(r->sink.data);
    for (size_t i = 0; i < l->items.len; i++) r->sink.replace_object(r->sink.data, (const char *)l->items.items + i * r->type->size);
    r->sink.replace_end(r->sink.data);
    version_set(r, str_or(l->metadata.resourceVersion, "0"));
    return 0;
}

/* false: wait before the next try. */
static bool step(struct reflector *r) {
    arena_reset(r->scratch);
    if (!r->version && r->no_streaming_list) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (list(r, &err) == 0) return true;
        log_debug("%s: %s", r->path, status_message(&err));
        return false;
    }
    int code = watch(r);
    if (!r->version && (code == 400 || code == 422)) {
        r->no_streaming_list = true; /* an older server */
        return true;
    }
    return code == 200;
}

static void wait_ms(struct reflector *r, int64_t ms) {
    int64_t until = env_mono_ns(r->env) + ms * 1000000;
    pthread_mutex_lock(&r->mutex);
    while (!r->stopping && env_cond_wait(r->env, &r->cond, &r->mutex, until)) {}
    pthread_mutex_unlock(&r->mutex);
}

static void *run(void *arg) {
    struct reflector *r = arg;
    int64_t backoff = BACKOFF_MS_MIN;
    while (!stopping(r)) {
        int64_t began = env_mono_ns(r->env);
        bool ok = step(r);
        if (ok) backoff = BACKOFF_MS_MIN;
        /* A watch that ends at once, again and again, is no success either. */
        if (ok && (env_mono_ns(r->env) - began) / 1000000 >= BACKOFF_MS_MIN) continue;
        wait_ms(r, ok ? BACKOFF_MS_MIN / 10 : backoff + (int64_t)env_random_below(r->env, (uint64_t)backoff));
        if (!ok) backoff = MIN(backoff * 2, (int64_t)BACKOFF_MS_MAX);
    }
    return NULL;
}

/* ---- life ---- */

struct reflector *reflector_start(struct client *c, struct env *env, const struct reflector_source *source, const struct reflector_sink *sink) {
    struct reflector *r = calloc(1, sizeof(*r));
    CHECK(r);
    const struct resource_desc *rd = source->resource ? source->resource : source->path ? NULL : api_resource_of_type(source->type);
    r->client = c;
    r->env = env;
    r->arena = arena_new_sized(512);
    r->scratch = arena_new_sized(SCRATCH_BYTES);
    r->type = source->type;
    r->list_type = source->metadata_only ? &metav1_PartialObjectMetadataList_desc : rd ? rd->list_type : NULL;
    r->metadata_only = source->metadata_only;
    r->path = source->path ? arena_strdup(r->arena, source->path) : client_path(r->arena, rd, source->ns, NULL, NULL);
    r->query = arena_strdup(r->arena, source->query);
    r->sink = *sink;
    pthread_mutex_init(&r->mutex, NULL);
    env_cond_init(&r->cond);
    CHECK(r->list_type && pthread_create(&r->thread, NULL, run, r) == 0);
    return r;
}

void reflector_stop(struct reflector *r) {
    if (!r) return;
    pthread_mutex_lock(&r->mutex);
    r->stopping = true;
    if (r->stream) r->stream->cancel(r->stream);
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->mutex);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->mutex);
    free(r->version);
    arena_free(r->scratch);
    arena_free(r->arena);
    free(r);
}
