/* The scheduler's threads and what happens on news: see scheduler.h. Upstream: scheduler.go, eventhandlers.go, schedule_one.go. */
#include "scheduler/scheduler.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"

#define BINDERS_DEFAULT 4
#define BINDERS_MAX 64

struct binding {
    struct binding *next;
    struct pod_info *pod;
    char *node;
};

struct scheduler {
    struct env *env;
    struct scheduler_client client;
    char *name;
    struct framework framework;
    struct scheduling_queue *queue;
    struct scheduler_cache *cache;
    struct arena *arena; /* of the cycle; the scheduling thread's */
    pthread_t thread, binder_threads[BINDERS_MAX];
    int binders;
    bool started;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t cond;
    struct binding *first, **last;
    bool stopping, draining; /* the scheduling thread ends; then the binders, when all is bound */
    atomic_uint_least64_t scheduled, unschedulable, errors;
};

struct scheduler *scheduler_new(struct env *env, const struct scheduler_client *client, const struct scheduler_config *config) {
    struct scheduler *s = calloc(1, sizeof(*s));
    CHECK(s && (s->name = strdup(str_or(config->name, "default-scheduler"))));
    s->env = env;
    s->client = *client;
    s->framework = (struct framework){.plugins = config->plugins ? config->plugins : default_plugins, .env = env};
    s->queue = queue_new(env, s->framework.plugins);
    s->cache = cache_new();
    s->arena = arena_new();
    s->binders = MIN(config->binders > 0 ? config->binders : BINDERS_DEFAULT, BINDERS_MAX);
    s->last = &s->first;
    pthread_mutex_init(&s->mutex, NULL);
    env_cond_init(&s->cond);
    return s;
}

void scheduler_free(struct scheduler *s) {
    if (!s) return;
    CHECK(!s->started && !s->first);
    queue_free(s->queue);
    cache_free(s->cache);
    arena_free(s->arena);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    free(s->name);
    free(s);
}

static bool pod_finished(const struct corev1_Pod *p) { return str_eq(p->status.phase, "Succeeded") || str_eq(p->status.phase, "Failed"); }

void scheduler_set_pod(struct scheduler *s, const struct corev1_Pod *pod) {
    if (pod_finished(pod)) { /* holds nothing any more */
        scheduler_delete_pod(s, pod->metadata.namespace, pod->metadata.name);
        return;
    }
    struct pod_info *p = pod_info_new(pod);
    if (!str_empty(pod->spec.nodeName)) {
        queue_delete(s->queue, p->key, NULL);
        cache_set_pod(s->cache, p);
    } else if (pod->metadata.deletionTimestamp.set) {
        queue_delete(s->queue, p->key, NULL);
    } else if (str_eq(str_or(pod->spec.schedulerName, "default-scheduler"), s->name) && !cache_pod_assumed(s->cache, p->key)) {
        queue_set(s->queue, p);
    }
    pod_info_unref(p);
}

void scheduler_delete_pod(struct scheduler *s, const char *namespace, const char *name) {
    _cleanup_buf_ struct buf key = BUF_INIT;
    buf_printf(&key, "%s/%s", str_or(namespace, ""), str_or(name, ""));
    queue_delete(s->queue, buf_cstr(&key), NULL);
    bool held = cache_has_pod(s->cache, buf_cstr(&key));
    cache_delete_pod(s->cache, buf_cstr(&key));
    if (held) queue_move_all(s->queue); /* its room is free */
}

/* Heartbeats change a node all the time; only what a plugin reads wakes waiting Pods. */
static bool node_change_matters(struct scheduler *s, const struct corev1_Node *node) {
    cache_lock(s->cache);
    size_t len;
    struct node_info *const *nodes = cache_nodes(s->cache, &len);
    const struct corev1_Node *was = NULL;
    for (size_t i = 0; i < len && !was; i++)
        if (str_eq(nodes[i]->name, node->metadata.name)) was = nodes[i]->node;
    bool matters = !was || was->spec.unschedulable != node->spec.unschedulable || !object_equal(&corev1_NodeSpec_desc, &was->spec, &node->spec) ||
                   !string_map_equal(&was->metadata.labels, &node->metadata.labels) || !string_map_equal(&was->status.allocatable, &node->status.allocatable);
    cache_unlock(s->cache);
    return matters;
}

void scheduler_set_node(struct scheduler *s, const struct corev1_Node *node) {
    bool matters = node_change_matters(s, node);
    cache_set_node(s->cache, node);
    if (matters) queue_move_all(s->queue);
}

void scheduler_delete_node(struct scheduler *s, const char *name) { cache_delete_node(s->cache, name); }

static void pod_failed(struct scheduler *s, const struct pod_info *pod, bool error, const char *message) {
    _cleanup_status_ struct status st = STATUS_INIT;
    atomic_fetch_add(error ? &s->errors : &s->unschedulable, 1);
    s->client.record(s->client.data, pod->pod, "Warning", "FailedScheduling", "Scheduling", message);
    if (s->client.set_unscheduled(s->client.data, pod->pod, error ? "SchedulerError" : "Unschedulable", message, &st) && !status_is(&st, 404))
        log_warning("scheduler: condition of Pod %s: %s", pod->key, status_message(&st));
    queue_put_back(s->queue, pod->key, error);
}

static void pod_bind(struct scheduler *s, struct pod_info *pod, const char *node) {
    _cleanup_status_ struct status st = STATUS_INIT;
    _cleanup_buf_ struct buf text = BUF_INIT;
    if (s->client.bind(s->client.data, pod->pod, node, &st)) {
        cache_delete_pod(s->cache, pod->key);
        queue_move_all(s->queue);
        if (status_is(&st, 404)) { /* it was deleted meanwhile; its delete event clears the queue */
            queue_delete(s->queue, pod->key, pod->pod->metadata.uid);
            return;
        }
        buf_printf(&text, "running Bind plugin \"DefaultBinder\": %s", status_message(&st));
        pod_failed(s, pod, true, buf_cstr(&text));
        return;
    }
    queue_delete(s->queue, pod->key, pod->pod->metadata.uid);
    atomic_fetch_add(&s->scheduled, 1);
    buf_printf(&text, "Successfully assigned %s to %s", pod->key, node);
    s->client.record(s->client.data, pod->pod, "Normal", "Scheduled", "Binding", buf_cstr(&text));
}

/* Chooses a node and assumes the Pod to be there. NULL: none, and why in *ret; otherwise the node's name, the caller's to free. */
static char *pod_choose(struct scheduler *s, struct pod_info *pod, struct schedule_result *ret) {
    cache_lock(s->cache);
    size_t len;
    struct node_info *const *nodes = cache_nodes(s->cache, &len);
    framework_schedule(&s->framework, s->arena, pod, nodes, len, ret);
    char *node = ret->node ? strdup(ret->node->name) : NULL;
    if (node && !cache_assume_locked(s->cache, pod, node)) {
        free(node);
        node = NULL;
        ret->error = true;
        ret->message = "the Pod is already on a node";
    }
    cache_unlock(s->cache);
    return node;
}

static void binding_add(struct scheduler *s, struct pod_info *pod, char *node) {
    struct binding *b = calloc(1, sizeof(*b));
    CHECK(b);
    b->pod = pod;
    b->node = node;
    pthread_mutex_lock(&s->mutex);
    *s->last = b;
    s->last = &b->next;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

bool scheduler_schedule_one(struct scheduler *s, int64_t timeout_ms) {
    struct pod_info *pod = queue_pop(s->queue, timeout_ms);
    if (!pod) return false;
    arena_reset(s->arena);
    struct schedule_result result;
    char *node = pod_choose(s, pod, &result);
    if (node && s->started) {
        binding_add(s, pod, node);
        return true;
    }
    if (node) pod_bind(s, pod, node);
    else pod_failed(s, pod, result.error, result.message);
    free(node);
    pod_info_unref(pod);
    return true;
}

static bool scheduler_stopping(struct scheduler *s) {
    pthread_mutex_lock(&s->mutex);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return stopping;
}

static void *scheduling_thread(void *arg) {
    struct scheduler *s = arg;
    while (!scheduler_stopping(s)) scheduler_schedule_one(s, -1);
    return NULL;
}

static void *binding_thread(void *arg) {
    struct scheduler *s = arg;
    for (;;) {
        pthread_mutex_lock(&s->mutex);
        while (!s->first && !s->draining) env_cond_wait(s->env, &s->cond, &s->mutex, -1);
        struct binding *b = s->first;
        if (b && !(s->first = b->next)) s->last = &s->first;
        pthread_mutex_unlock(&s->mutex);
        if (!b) return NULL;
        pod_bind(s, b->pod, b->node);
        pod_info_unref(b->pod);
        free(b->node);
        free(b);
    }
}

void scheduler_start(struct scheduler *s) {
    CHECK(!s->started);
    s->started = true;
    for (int i = 0; i < s->binders; i++) CHECK(pthread_create(&s->binder_threads[i], NULL, binding_thread, s) == 0);
    CHECK(pthread_create(&s->thread, NULL, scheduling_thread, s) == 0);
}

void scheduler_stop(struct scheduler *s) {
    if (!s->started) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_mutex_unlock(&s->mutex);
    queue_close(s->queue);
    pthread_join(s->thread, NULL); /* before the binders, so that nothing is left for them */
    pthread_mutex_lock(&s->mutex);
    s->draining = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    for (int i = 0; i < s->binders; i++) pthread_join(s->binder_threads[i], NULL);
    s->started = false;
}

struct queue_lengths scheduler_queue_lengths(struct scheduler *s) { return queue_lengths(s->queue); }
struct scheduler_stats scheduler_stats(struct scheduler *s) {
    return (struct scheduler_stats){atomic_load(&s->scheduled), atomic_load(&s->unschedulable), atomic_load(&s->errors)};
}
