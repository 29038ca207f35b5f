/* Feeds: see reflector.h. */
#include "base/map.h"
#include "base/str.h"
#include "client/reflector.h"

struct feed {
    struct feed_handler handler;
    struct map *known, *next;  /* "namespace/name" of all that was set and not deleted; next: while a list comes */
    struct reflector *reflector;
};

static const char *key_of(const struct object *o, struct buf *b) {
    buf_printf(b, "%s/%s", str_or(o->metadata.namespace, ""), str_or(o->metadata.name, ""));
    return buf_cstr(b);
}

static void on_set(void *data, const void *obj) {
    struct feed *f = data;
    _cleanup_buf_ struct buf key = BUF_INIT;
    map_put(f->known, key_of(obj, &key), f);
    f->handler.set(f->handler.data, obj);
}

static void on_delete(void *data, const void *obj) {
    struct feed *f = data;
    const struct object *o = obj;
    _cleanup_buf_ struct buf key = BUF_INIT;
    map_del(f->known, key_of(obj, &key));
    f->handler.delete(f->handler.data, str_or(o->metadata.namespace, ""), o->metadata.name);
}

static void on_replace_begin(void *data) {
    struct feed *f = data;
    map_free(f->next);
    f->next = map_new();
}

static void on_replace_object(void *data, const void *obj) {
    struct feed *f = data;
    _cleanup_buf_ struct buf key = BUF_INIT;
    map_put(f->next, key_of(obj, &key), f);
    map_put(f->known, buf_cstr(&key), f); /* also if this list is never finished */
    f->handler.set(f->handler.data, obj);
}

static void on_replace_end(void *data) {
    struct feed *f = data;
    const char *key;
    void *value;
    for (size_t pos = 0; map_next(f->known, &pos, &key, &value);) {
        if (map_has(f->next, key)) continue;
        const char *slash = strchr(key, '/');
        char *ns = strndup(key, (size_t)(slash - key));
        CHECK(ns);
        f->handler.delete(f->handler.data, ns, slash + 1);
        free(ns);
    }
    map_free(f->known);
    f->known = f->next;
    f->next = NULL;
    if (f->handler.synced) f->handler.synced(f->handler.data);
}

struct feed *feed_start(struct client *c, struct env *env, const struct reflector_source *source, const struct feed_handler *handler) {
    struct feed *f = calloc(1, sizeof(*f));
    CHECK(f);
    f->handler = *handler;
    f->known = map_new();
    f->reflector = reflector_start(c, env, source, &(struct reflector_sink){f, on_replace_begin, on_replace_object, on_replace_end, on_set, on_delete});
    return f;
}

void feed_stop(struct feed *f) {
    if (!f) return;
    reflector_stop(f->reflector);
    map_free(f->known);
    map_free(f->next);
    free(f);
}
