/* Events: queued by any thread, written by one; the same event again raises the count of the first. A Pod may have 25 at once and then one every five
 * minutes. Upstream: client-go tools/record (correlator, spam filter, aggregation left out). */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"

enum { QUEUE_MAX = 1000, CACHE_MAX = 4096, BURST = 25, REFILL_S = 300, STOP_WAIT_MS = 1000 };

struct item { struct item *next; struct arena *arena; struct corev1_Event event; };
struct seen { char *name; int32_t count; struct api_time first; };
struct bucket { double tokens; int64_t at_ns; };

struct events {
    struct kubelet *k;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct item *head, **tail;
    int len;
    bool stopping;
    struct map *seen;    /* key of an event -> struct seen * */
    struct map *buckets; /* uid of its object -> struct bucket * */
    pthread_t thread;
};

static void seen_free(void *p) {
    free(((struct seen *)p)->name);
    free(p);
}

static bool spam(struct events *e, const struct corev1_Event *ev) {
    int64_t now = env_mono_ns(e->k->env);
    if (map_len(e->buckets) > CACHE_MAX) {
        map_free_with(e->buckets, free);
        e->buckets = map_new();
    }
    struct bucket *b = map_get(e->buckets, ev->involvedObject.uid);
    if (!b) {
        b = calloc(1, sizeof(*b));
        CHECK(b);
        *b = (struct bucket){BURST, now};
        map_put(e->buckets, ev->involvedObject.uid, b);
    }
    b->tokens = MIN(BURST, b->tokens + (double)(now - b->at_ns) / 1e9 / REFILL_S);
    b->at_ns = now;
    if (b->tokens < 1) return true;
    b->tokens -= 1;
    return false;
}

static int send_again(struct events *e, struct arena *a, const struct corev1_Event *ev, struct seen *s) {
    struct corev1_Event old = {0};
    if (api_get(e->k, a, &corev1_Event_desc, ev->metadata.namespace, s->name, &old, NULL) != 0) return -1;
    old.count = ++s->count;
    old.lastTimestamp = ev->lastTimestamp;
    return api_update(e->k, a, &corev1_Event_desc, &old, NULL, NULL);
}

static void send(struct events *e, struct item *it) {
    struct corev1_Event *ev = &it->event;
    const char *key = arena_printf(it->arena, "%s/%s/%s/%s/%s", ev->involvedObject.uid, str_or(ev->involvedObject.fieldPath, ""), ev->type, ev->reason, ev->message);
    struct seen *s = map_get(e->seen, key);
    if (spam(e, ev)) return;
    if (s && send_again(e, it->arena, ev, s) == 0) return;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (api_create(e->k, it->arena, &corev1_Event_desc, ev->metadata.namespace, ev, NULL, &err) != 0) {
        log_debug("event %s: %s", ev->reason, status_message(&err));
        return;
    }
    if (map_len(e->seen) > CACHE_MAX) {
        map_free_with(e->seen, seen_free);
        e->seen = map_new();
    }
    s = calloc(1, sizeof(*s));
    CHECK(s);
    *s = (struct seen){strdup(ev->metadata.name), 1, ev->firstTimestamp};
    struct seen *old = map_put(e->seen, key, s);
    if (old) seen_free(old);
}

static void *events_thread(void *arg) {
    struct events *e = arg;
    int64_t stop_at = 0;
    pthread_mutex_lock(&e->mutex);
    for (;;) {
        while (!e->head && !e->stopping) env_cond_wait(e->k->env, &e->cond, &e->mutex, -1);
        if (e->stopping && !stop_at) stop_at = env_mono_ns(e->k->env) + (int64_t)STOP_WAIT_MS * 1000000;
        if (!e->head || (e->stopping && env_mono_ns(e->k->env) > stop_at)) break;
        struct item *it = e->head;
        if (!(e->head = it->next)) e->tail = &e->head;
        e->len--;
        pthread_mutex_unlock(&e->mutex);
        send(e, it);
        arena_free(it->arena);
        free(it);
        pthread_mutex_lock(&e->mutex);
    }
    pthread_mutex_unlock(&e->mutex);
    return NULL;
}

struct events *events_new(struct kubelet *k) {
    struct events *e = calloc(1, sizeof(*e));
    CHECK(e);
    e->k = k;
    e->tail = &e->head;
    e->seen = map_new();
    e->buckets = map_new();
    pthread_mutex_init(&e->mutex, NULL);
    env_cond_init(&e->cond);
    CHECK(pthread_create(&e->thread, NULL, events_thread, e) == 0);
    return e;
}

void events_free(struct events *e) {
    pthread_mutex_lock(&e->mutex);
    e->stopping = true;
    pthread_cond_signal(&e->cond);
    pthread_mutex_unlock(&e->mutex);
    pthread_join(e->thread, NULL);
    for (struct item *it = e->head, *next; it; it = next) {
        next = it->next;
        arena_free(it->arena);
        free(it);
    }
    map_free_with(e->seen, seen_free);
    map_free_with(e->buckets, free);
    pthread_cond_destroy(&e->cond);
    pthread_mutex_destroy(&e->mutex);
    free(e);
}

static PRINTF_LIKE(6, 0) void queue(struct kubelet *k, const struct corev1_ObjectReference *ref, const char *ns, const char *type, const char *reason, const char *format, va_list args) {
    struct events *e = k->events;
    struct item *it = calloc(1, sizeof(*it));
    CHECK(it);
    struct arena *a = it->arena = arena_new();
    struct corev1_Event *ev = &it->event;
    int64_t now = env_now_ns(k->env);
    object_set_type_meta(a, &corev1_Event_desc, ev);
    ev->metadata.namespace = arena_strdup(a, ns);
    ev->metadata.name = arena_printf(a, "%s.%llx", ref->name, (unsigned long long)now);
    object_copy_into(a, &corev1_ObjectReference_desc, &ev->involvedObject, ref);
    ev->type = arena_strdup(a, type);
    ev->reason = arena_strdup(a, reason);
    char *message = arena_vprintf(a, format, args);
    if (strlen(message) > 1024) memcpy(message + 1021, "...", 4);
    ev->message = message;
    ev->source = (struct corev1_EventSource){.component = "kubelet", .host = arena_strdup(a, k->o.node_name)};
    ev->reportingComponent = "kubelet";
    ev->reportingInstance = ev->source.host;
    ev->firstTimestamp = ev->lastTimestamp = time_from_s(now / 1000000000);
    ev->count = 1;
    pthread_mutex_lock(&e->mutex);
    if (e->len < QUEUE_MAX && !e->stopping) {
        *e->tail = it;
        e->tail = &it->next;
        e->len++;
        pthread_cond_signal(&e->cond);
        it = NULL;
    }
    pthread_mutex_unlock(&e->mutex);
    if (it) {
        arena_free(it->arena);
        free(it);
    }
}

void event_pod(struct kubelet *k, const struct corev1_Pod *p, const char *container, const char *type, const char *reason, const char *format, ...) {
    char field[300] = "";
    if (container) {
        const char *list = "containers";
        LIST_FOREACH(c, &p->spec.initContainers) if (str_eq(c->name, container)) list = "initContainers";
        LIST_FOREACH(c, &p->spec.ephemeralContainers) if (str_eq(c->name, container)) list = "ephemeralContainers";
        snprintf(field, sizeof(field), "spec.%s{%s}", list, container);
    }
    struct corev1_ObjectReference ref = {.kind = "Pod", .apiVersion = "v1", .namespace = p->metadata.namespace, .name = p->metadata.name, .uid = p->metadata.uid,
        .resourceVersion = p->metadata.resourceVersion, .fieldPath = field};
    va_list args;
    va_start(args, format);
    queue(k, &ref, p->metadata.namespace, type, reason, format, args);
    va_end(args);
}

void event_node(struct kubelet *k, const char *type, const char *reason, const char *format, ...) {
    struct corev1_ObjectReference ref = {.kind = "Node", .name = k->o.node_name, .uid = k->o.node_name}; /* upstream gives the name as UID too */
    va_list args;
    va_start(args, format);
    queue(k, &ref, "default", type, reason, format, args);
    va_end(args);
}
