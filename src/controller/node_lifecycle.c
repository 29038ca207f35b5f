/* Nodes' health: conditions turn Unknown when a kubelet falls silent, conditions become taints, the Pods of a Node that is not ready are not ready either.
 * Upstream: pkg/controller/nodelifecycle.
 *
 * Two parts. `sync` (by Node's name) keeps NoSchedule taints and the old os and arch labels in step with the Node, at once; by Pod's key it marks a Pod that
 * arrives on a Node already known to be down. `run` looks at all Nodes each --node-monitor-period: a Node whose Ready condition and Lease both stood still for the grace
 * period gets conditions Unknown; those that are not Ready queue, zone by zone and slowly, for a NoExecute taint, which taint_eviction.c acts upon. When all zones are down, it is more
 * likely that this process is cut off: then nobody is tainted. Silence is measured on the monotonic clock of this process, never by comparing clocks of machines.
 * Tests: tests/unit/test_controller_node.c. */
#include "base/log.h"
#include "base/str.h"
#include "client/parallel.h"
#include "controller/controller_utils.h"
#include "controller/controllers.h"
#include "controller/metrics.h"
#include "controller/node_util.h"
#include "controller/node_zone.h"

enum { TAINTING_PERIOD_MS = 100, HEALTH_TRIES = 5, HEALTH_RETRY_MS = 20 };
static const char not_ready_key[] = "node.kubernetes.io/not-ready", unreachable_key[] = "node.kubernetes.io/unreachable";

/* What was last seen of a Node, and when by our clock. */
struct health {
    char *uid, zone_region[300];
    bool has_ready, ready;                 /* the Ready condition, as it was last seen or written */
    struct api_time heartbeat, transition; /* of that condition */
    struct api_time lease;                 /* renewTime */
    int64_t probe_ns;
    bool known;                            /* has been registered with an event */
    bool retry_pods;                       /* marking its Pods failed */
    bool listed;                           /* in the pass under way */
};

struct node_lifecycle {
    struct controller *c;
    struct informer *nodes, *pods, *leases;
    int pods_by_node;
    pthread_mutex_t mutex;                 /* of what follows */
    struct map *health;                    /* Node's name -> struct health * */
    struct map *zones;                     /* zone_key -> struct zone *; of the run thread alone */
};

static const struct corev1_Taint_list *taint_list(struct corev1_Taint *one, struct corev1_Taint_list *list) {
    *list = (struct corev1_Taint_list){one, 1};
    return list;
}

/* ---- NoSchedule taints and labels, by Node ---- */

static const struct { const char *condition, *status, *taint; } condition_taints[] = {
    {"Ready", "False", "node.kubernetes.io/not-ready"},
    {"Ready", "Unknown", "node.kubernetes.io/unreachable"},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
};
#define UNSCHEDULABLE "node.kubernetes.io/unschedulable"

static bool taint_is_ours(const struct corev1_Taint *t) {
    if (!str_eq(t->effect, "NoSchedule")) return false;
    for (size_t i = 0; i < ARRAY_LEN(condition_taints); i++)
        if (str_eq(t->key, condition_taints[i].taint)) return true;
    return str_eq(t->key, UNSCHEDULABLE);
}

static int sync_no_schedule(struct node_lifecycle *nl, struct arena *a, const struct corev1_Node *node, struct status *reterr) {
    struct corev1_Taint_list want = {0}, add = {0}, remove = {0};
    LIST_FOREACH(c, &node->status.conditions)
        for (size_t i = 0; i < ARRAY_LEN(condition_taints); i++)
            if (str_eq(c->type, condition_taints[i].condition) && str_eq(c->status, condition_taints[i].status))
                *LIST_PUSH(a, &want) = (struct corev1_Taint){.key = condition_taints[i].taint, .effect = "NoSchedule"};
    if (node->spec.unschedulable) *LIST_PUSH(a, &want) = (struct corev1_Taint){.key = UNSCHEDULABLE, .effect = "NoSchedule"};
    LIST_FOREACH(t, &want)
        if (!taint_exists(&node->spec.taints, t)) *LIST_PUSH(a, &add) = *t;
    LIST_FOREACH(t, &node->spec.taints)
        if (taint_is_ours(t) && !taint_exists(&want, t)) *LIST_PUSH(a, &remove) = *t;
    return add.len || remove.len ? node_swap_taints(nl->c, node, &add, &remove, reterr) : 0;
}

/* The beta labels follow the stable ones. */
static int sync_labels(struct node_lifecycle *nl, struct arena *a, const struct corev1_Node *node, struct status *reterr) {
    static const char *const pairs[][2] = {{"kubernetes.io/os", "beta.kubernetes.io/os"}, {"kubernetes.io/arch", "beta.kubernetes.io/arch"}};
    _cleanup_buf_ struct buf p = BUF_INIT;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        const char *value = string_map_get(&node->metadata.labels, pairs[i][0]), *beta = string_map_get(&node->metadata.labels, pairs[i][1]);
        if (value && (!beta || !str_eq(beta, value))) buf_printf(&p, "%s\"%s\":\"%s\"", p.len ? "," : "", pairs[i][1], value);
    }
    if (!p.len) return 0;
    return client_patch(nl->c->client, a, &corev1_Node_desc, NULL, node->metadata.name, NULL, PATCH_STRATEGIC, arena_printf(a, "{\"metadata\":{\"labels\":{%s}}}", buf_cstr(&p)), NULL, reterr);
}

/* ---- Pods of Nodes that are down ---- */

struct marking { struct node_lifecycle *nl; const struct cached_list *pods; atomic_int failed; };

static void mark_pod(void *arg, size_t i) {
    struct marking *m = arg;
    const struct corev1_Pod *pod = CACHED(m->pods->items[i], corev1_Pod);
    if (!pod_is_ready(pod)) return;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod *p = object_copy(a, &corev1_Pod_desc, pod);
    LIST_FOREACH(c, &p->status.conditions) {
        if (!str_eq(c->type, "Ready")) continue;
        c->status = "False";
        c->lastTransitionTime = (struct api_time){.set = true, .sec = env_now_s(m->nl->c->env)};
    }
    if (client_update_status(m->nl->c->client, a, &corev1_Pod_desc, p, NULL, &err) != 0) {
        if (status_is(&err, 404)) return;
        m->failed = 1;
    }
    event_record(m->nl->c->events, &corev1_Pod_desc, pod, EVENT_WARNING, "NodeNotReady", "Node is not ready");
}

static bool mark_pods(struct node_lifecycle *nl, const char *node) {
    _cleanup_cached_list_ struct cached_list pods = {0};
    informer_by_index(nl->pods, nl->pods_by_node, node, &pods);
    struct marking m = {.nl = nl, .pods = &pods};
    parallel_run(pods.len, mark_pod, &m);
    return !m.failed;
}

/* ---- sync ---- */

static int sync_pod(struct node_lifecycle *nl, const char *ns, const char *name) {
    _cleanup_cached_ struct cached *pod = informer_get(nl->pods, ns, name);
    if (!pod) return 0;
    pthread_mutex_lock(&nl->mutex);
    const struct health *h = map_get(nl->health, str_or(CACHED(pod, corev1_Pod)->spec.nodeName, ""));
    bool down = h && h->has_ready && !h->ready;
    pthread_mutex_unlock(&nl->mutex);
    if (!down) return 0;
    struct cached *one[] = {pod};
    struct marking m = {.nl = nl, .pods = &(struct cached_list){one, 1, 1}};
    mark_pod(&m, 0);
    return m.failed ? -1 : 0;
}

static int sync_key(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct node_lifecycle *nl = self;
    if (strchr(key, '/')) {
        const char *ns, *name;
        object_key_split(a, key, &ns, &name);
        return sync_pod(nl, ns, name);
    }
    _cleanup_cached_ struct cached *cached = informer_get(nl->nodes, NULL, key);
    if (!cached) return 0;
    int rc = sync_no_schedule(nl, a, CACHED(cached, corev1_Node), reterr);
    return sync_labels(nl, a, CACHED(cached, corev1_Node), reterr) == 0 ? rc : -1;
}

/* ---- health of one Node ---- */

static void health_free(void *p) {
    free(((struct health *)p)->uid);
    free(p);
}

static bool same_time(struct api_time a, struct api_time b) { return a.set == b.set && a.sec == b.sec && a.nsec == b.nsec; }
static bool earlier(struct api_time a, struct api_time b) { return a.sec != b.sec ? a.sec < b.sec : a.nsec < b.nsec; }

static void remember_ready(struct health *h, const struct corev1_NodeCondition *ready) {
    h->has_ready = ready != NULL;
    h->ready = ready && str_eq(ready->status, "True");
    h->heartbeat = ready ? ready->lastHeartbeatTime : (struct api_time){0};
    h->transition = ready ? ready->lastTransitionTime : (struct api_time){0};
}

/* Notes signs of life. */
static void probe(struct node_lifecycle *nl, struct health *h, const struct corev1_Node *node, const struct corev1_NodeCondition *ready, int64_t now_ns) {
    if ((ready != NULL) != h->has_ready || (ready && !same_time(ready->lastHeartbeatTime, h->heartbeat))) h->probe_ns = now_ns;
    remember_ready(h, ready);
    _cleanup_cached_ struct cached *lease = informer_get(nl->leases, "kube-node-lease", node->metadata.name);
    if (!lease) return;
    struct api_time renewed = CACHED(lease, coordinationv1_Lease)->spec.renewTime;
    if (renewed.set && (!h->lease.set || earlier(h->lease, renewed))) {
        h->lease = renewed;
        h->probe_ns = now_ns;
    }
}

static void make_unknown(struct node_lifecycle *nl, struct arena *a, struct corev1_Node *node) {
    static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    struct api_time now = {.set = true, .sec = env_now_s(nl->c->env)};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct corev1_NodeCondition *c = node_condition(node, types[i]);
        if (!c) {
            *LIST_PUSH(a, &node->status.conditions) = (struct corev1_NodeCondition){.type = types[i], .status = "Unknown", .reason = "NodeStatusNeverUpdated",
                .message = "Kubelet never posted node status.", .lastHeartbeatTime = node->metadata.creationTimestamp, .lastTransitionTime = now};
        } else if (!str_eq(c->status, "Unknown")) {
            c->status = "Unknown";
            c->reason = "NodeStatusUnknown";
            c->message = "Kubelet stopped posting node status.";
            c->lastTransitionTime = now;
        }
    }
}

/* What its Ready condition was and, after it was perhaps set to Unknown, is: "" without one. */
struct observed { const char *before, *now; };

static int update_health(struct node_lifecycle *nl, struct arena *a, struct health *h, struct corev1_Node *node, struct observed *ret, struct status *reterr) {
    const struct controller_options *o = nl->c->context->options;
    struct corev1_NodeCondition *ready = node_condition(node, "Ready");
    int64_t now_ns = env_mono_ns(nl->c->env), grace_ms = ready ? o->node_monitor_grace_period_ms : o->node_startup_grace_period_ms;
    pthread_mutex_lock(&nl->mutex);
    probe(nl, h, node, ready, now_ns);
    pthread_mutex_unlock(&nl->mutex);
    *ret = (struct observed){ready ? ready->status : "Unknown", ready ? ready->status : NULL};
    if (now_ns - h->probe_ns <= grace_ms * 1000000) return 0;
    bool changes = !ready || !str_eq(ready->status, "Unknown");
    make_unknown(nl, a, node);
    ready = node_condition(node, "Ready");
    ret->now = ready->status;
    if (!changes) return 0;
    struct corev1_Node *written = ARENA_NEW(a, struct corev1_Node);
    if (client_update_status(nl->c->client, a, &corev1_Node_desc, node, written, reterr) != 0) return -1;
    pthread_mutex_lock(&nl->mutex);
    remember_ready(h, node_condition(written, "Ready"));
    pthread_mutex_unlock(&nl->mutex);
    return 0;
}

/* ---- zones ---- */

static struct zone *zone_of(struct node_lifecycle *nl, struct arena *a, const struct corev1_Node *node) {
    const char *key = zone_key(a, node);
    struct zone *z = map_get(nl->zones, key);
    if (z) return z;
    z = calloc(1, sizeof(*z));
    CHECK(z && (z->key = strdup(key)));
    z->limiter = rate_limiter_new(nl->c->context->options->node_eviction_rate, env_mono_ns(nl->c->env));
    map_put(nl->zones, key, z);
    controller_metric_add(&metrics_node_evictions, 0, "zone=\"%s\"", key);
    return z;
}

static void mark_reachable(struct node_lifecycle *nl, struct zone *z, const struct corev1_Node *node) {
    struct corev1_Taint taints[] = {{.key = unreachable_key, .effect = "NoExecute"}, {.key = not_ready_key, .effect = "NoExecute"}};
    _cleanup_status_ struct status err = STATUS_INIT;
    if (node_swap_taints(nl->c, node, NULL, &(struct corev1_Taint_list){taints, 2}, &err) != 0) {
        log_warning("node-lifecycle-controller: taints of %s stay for now: %s", node->metadata.name, status_message(&err));
        return;
    }
    zone_queue_remove(z, node->metadata.name);
}

static bool swap_no_execute(struct node_lifecycle *nl, const struct corev1_Node *node, const char *add_key, const char *remove_key) {
    struct corev1_Taint add = {.key = add_key, .effect = "NoExecute"}, remove = {.key = remove_key, .effect = "NoExecute"};
    struct corev1_Taint_list al, rl;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (node_swap_taints(nl->c, node, taint_list(&add, &al), taint_list(&remove, &rl), &err) == 0) return true;
    log_warning("node-lifecycle-controller: %s is not tainted yet: %s", node->metadata.name, status_message(&err));
    return false;
}

static void tell_zone(const char *key, int ready, int not_ready) {
    int all = ready + not_ready;
    controller_metric_set(&metrics_zone_size, all, "zone=\"%s\"", key);
    controller_metric_set(&metrics_zone_health, all ? 100.0 * ready / all : 100, "zone=\"%s\"", key);
    controller_metric_set(&metrics_zone_unhealthy, not_ready, "zone=\"%s\"", key);
}

/* By the condition before this pass. */
static void process_taints(struct node_lifecycle *nl, struct zone *z, const struct corev1_Node *node, const char *ready) {
    if (str_eq(ready, "True")) {
        mark_reachable(nl, z, node);
        return;
    }
    const char *add = str_eq(ready, "False") ? not_ready_key : unreachable_key, *opposite = str_eq(ready, "False") ? unreachable_key : not_ready_key;
    struct corev1_Taint is = {.key = add, .effect = "NoExecute"}, other = {.key = opposite, .effect = "NoExecute"};
    if (taint_exists(&node->spec.taints, &other)) swap_no_execute(nl, node, add, opposite);
    else if (!taint_exists(&node->spec.taints, &is)) zone_queue_add(z, node->metadata.name);
}

static void set_limiter(struct node_lifecycle *nl, struct zone *z, enum zone_state state) {
    const struct controller_options *o = nl->c->context->options;
    double qps = o->node_eviction_rate;
    if (state == ZONE_PARTIAL_DISRUPTION) qps = z->ready + z->not_ready > o->large_cluster_size_threshold ? o->secondary_node_eviction_rate : 0;
    rate_limiter_swap(&z->limiter, qps, env_mono_ns(nl->c->env));
    z->state = state;
}

/* Zones that no Node is in any more are forgotten. */
static void drop_empty_zones(struct node_lifecycle *nl) {
    const char *key;
    void *z;
    for (size_t i = 0; map_next(nl->zones, &i, &key, &z);) {
        if (((struct zone *)z)->seen) continue;
        tell_zone(key, 0, 0);
        map_del(nl->zones, key);
        zone_free(z);
    }
}

static void probe_all_anew(struct node_lifecycle *nl) {
    const char *key;
    void *h;
    for (size_t i = 0; map_next(nl->health, &i, &key, &h);) ((struct health *)h)->probe_ns = env_mono_ns(nl->c->env);
}

static void handle_disruption(struct node_lifecycle *nl, struct arena *a, const struct cached_list *nodes) {
    double threshold = nl->c->context->options->unhealthy_zone_threshold;
    bool all_are = true, all_were = true;
    const char *key;
    void *p;
    drop_empty_zones(nl);
    for (size_t i = 0; map_next(nl->zones, &i, &key, &p);) {
        struct zone *z = p;
        tell_zone(key, z->ready, z->not_ready);
        all_are &= zone_state_of(z->ready, z->not_ready, threshold) == ZONE_FULL_DISRUPTION;
        all_were &= z->state == ZONE_FULL_DISRUPTION;
    }
    if (all_are && all_were) return;
    if (all_are) {
        log_info("node-lifecycle-controller: no node is ready: evictions stop");
        CACHED_FOREACH(node, corev1_Node, nodes) mark_reachable(nl, zone_of(nl, a, node), node);
    } else if (all_were) {
        log_info("node-lifecycle-controller: some nodes are ready again");
        probe_all_anew(nl);
    }
    for (size_t i = 0; map_next(nl->zones, &i, &key, &p);) {
        struct zone *z = p;
        enum zone_state state = zone_state_of(z->ready, z->not_ready, threshold);
        if (all_are) {
            rate_limiter_swap(&z->limiter, 0, env_mono_ns(nl->c->env));
            z->state = ZONE_FULL_DISRUPTION;
        } else if (all_were || state != z->state) {
            set_limiter(nl, z, state);
        }
    }
}

/* ---- a pass over all Nodes ---- */

static struct health *health_of(struct node_lifecycle *nl, const struct corev1_Node *node) {
    struct health *h = map_get(nl->health, node->metadata.name);
    if (h && str_eq(h->uid, node->metadata.uid)) return h;
    if (h) {
        map_del(nl->health, node->metadata.name);
        health_free(h);
    }
    h = calloc(1, sizeof(*h));
    CHECK(h && (h->uid = strdup(str_or(node->metadata.uid, ""))));
    /* Without any word from its kubelet it counts from its creation. */
    int64_t age_ns = MAX(0, env_now_s(nl->c->env) - node->metadata.creationTimestamp.sec) * 1000000000;
    bool heard = node_condition(node, "Ready") != NULL;
    h->probe_ns = env_mono_ns(nl->c->env) - (heard ? 0 : age_ns);
    if (heard) remember_ready(h, node_condition(node, "Ready"));
    map_put(nl->health, node->metadata.name, h);
    return h;
}

static void node_event(struct node_lifecycle *nl, const char *name, const char *uid, const char *reason, const char *text) {
    struct corev1_Node node = {.metadata = {.name = name, .uid = uid}};
    event_record(nl->c->events, &corev1_Node_desc, &node, EVENT_NORMAL, reason, "Node %s event: %s", name, text);
}

/* 0 even after retries when the Node's health is known. */
static int look(struct node_lifecycle *nl, struct arena *a, struct health *h, struct corev1_Node *node, struct observed *ret) {
    for (int tries = 0; tries < HEALTH_TRIES; tries++) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (update_health(nl, a, h, node, ret, &err) == 0) return 0;
        if (!controller_sleep_ms(nl->c, HEALTH_RETRY_MS) || client_get(nl->c->client, a, &corev1_Node_desc, NULL, node->metadata.name, node, &err) != 0) return -1;
    }
    return -1;
}

static void visit(struct node_lifecycle *nl, const struct corev1_Node *cached) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct corev1_Node *node = object_copy(a, &corev1_Node_desc, cached);
    struct zone *z = zone_of(nl, a, node);
    struct observed o;
    pthread_mutex_lock(&nl->mutex);
    struct health *h = health_of(nl, node);
    h->listed = true;
    pthread_mutex_unlock(&nl->mutex);
    if (!h->known) {
        h->known = true;
        node_event(nl, node->metadata.name, node->metadata.uid, "RegisteredNode", arena_printf(a, "Registered Node %s in Controller", node->metadata.name));
        mark_reachable(nl, z, node);
    }
    z->seen = true;
    if (look(nl, a, h, node, &o) != 0) return;
    if (!string_map_has(&node->metadata.labels, "node.kubernetes.io/exclude-disruption")) {
        if (str_eq(o.now, "True")) z->ready++;
        else z->not_ready++;
    }
    if (!o.now) return;
    process_taints(nl, z, node, o.before);
    bool fell = !str_eq(o.now, "True") && str_eq(o.before, "True");
    if (fell) node_record_status(nl->c, node, "NodeNotReady");
    if (fell || (h->retry_pods && !str_eq(o.before, "True"))) h->retry_pods = !mark_pods(nl, node->metadata.name);
    else h->retry_pods = false;
}

static void forget_deleted(struct node_lifecycle *nl) {
    const char *name;
    void *p;
    pthread_mutex_lock(&nl->mutex);
    for (size_t i = 0; map_next(nl->health, &i, &name, &p);) {
        struct health *h = p;
        if (h->listed) {
            h->listed = false;
            continue;
        }
        _cleanup_arena_ struct arena *a = arena_new_sized(512);
        node_event(nl, name, h->uid, "RemovingNode", arena_printf(a, "Removing Node %s from Controller", name));
        map_del(nl->health, name);
        health_free(h);
    }
    pthread_mutex_unlock(&nl->mutex);
}

static void monitor(struct node_lifecycle *nl) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_cached_list_ struct cached_list nodes = {0};
    const char *key;
    void *p;
    int64_t began_ns = env_mono_ns(nl->c->env);
    informer_list(nl->nodes, NULL, &nodes);
    for (size_t i = 0; map_next(nl->zones, &i, &key, &p);) ((struct zone *)p)->seen = false, ((struct zone *)p)->ready = ((struct zone *)p)->not_ready = 0;
    CACHED_FOREACH(node, corev1_Node, &nodes) {
        if (controller_stopping(nl->c)) return;
        int64_t looked_ns = env_mono_ns(nl->c->env);
        visit(nl, node);
        metric_observe(&metrics_node_health, "", (double)(env_mono_ns(nl->c->env) - looked_ns) / 1e9);
    }
    forget_deleted(nl);
    handle_disruption(nl, a, &nodes);
    metric_observe(&metrics_nodes_health, "", (double)(env_mono_ns(nl->c->env) - began_ns) / 1e9);
}

/* ---- NoExecute taints, slowly ---- */

static void taint_next(struct node_lifecycle *nl, struct zone *z) {
    while (z->queue_len && rate_limiter_try(&z->limiter, env_mono_ns(nl->c->env))) {
        _cleanup_cached_ struct cached *cached = informer_get(nl->nodes, NULL, z->queue[0]);
        const struct corev1_NodeCondition *ready = cached ? node_condition(CACHED(cached, corev1_Node), "Ready") : NULL;
        bool tainted = false;
        if (ready && str_eq(ready->status, "False")) tainted = swap_no_execute(nl, CACHED(cached, corev1_Node), not_ready_key, unreachable_key);
        else if (ready && str_eq(ready->status, "Unknown")) tainted = swap_no_execute(nl, CACHED(cached, corev1_Node), unreachable_key, not_ready_key);
        if (tainted) controller_metric_add(&metrics_node_evictions, 1, "zone=\"%s\"", z->key);
        zone_queue_remove(z, z->queue[0]); /* one that failed comes back with the next pass */
    }
}

static bool taint_all(struct node_lifecycle *nl) {
    bool waiting = false;
    const char *key;
    void *z;
    for (size_t i = 0; map_next(nl->zones, &i, &key, &z);) {
        taint_next(nl, z);
        waiting |= ((struct zone *)z)->queue_len && ((struct zone *)z)->limiter.qps > 0;
    }
    return waiting;
}

static void run(void *self) {
    struct node_lifecycle *nl = self;
    int64_t period_ns = nl->c->context->options->node_monitor_period_ms * 1000000LL;
    for (int64_t next = env_mono_ns(nl->c->env);;) {
        int64_t now = env_mono_ns(nl->c->env);
        if (now >= next) {
            monitor(nl);
            next = now + period_ns;
        }
        int64_t wait_ms = MAX(1, (next - env_mono_ns(nl->c->env)) / 1000000);
        if (taint_all(nl)) wait_ms = MIN(wait_ms, TAINTING_PERIOD_MS);
        if (!controller_sleep_ms(nl->c, wait_ms)) return;
    }
}

/* ---- events and life ---- */

static void on_pod(struct node_lifecycle *nl, const struct corev1_Pod *was, const struct corev1_Pod *is) {
    if (!str_empty(is->spec.nodeName) && (!was || !str_eq(was->spec.nodeName, is->spec.nodeName))) controller_enqueue(nl->c, is);
}
static void on_pod_add(void *data, struct cached *now) { on_pod(data, NULL, CACHED(now, corev1_Pod)); }
static void on_pod_update(void *data, struct cached *old, struct cached *now) { on_pod(data, CACHED(old, corev1_Pod), CACHED(now, corev1_Pod)); }

static void free_self(void *self) {
    struct node_lifecycle *nl = self;
    map_free_with(nl->health, health_free);
    map_free_with(nl->zones, zone_free);
    pthread_mutex_destroy(&nl->mutex);
    free(nl);
}

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct node_lifecycle *nl = calloc(1, sizeof(*nl));
    CHECK(nl);
    nl->c = c;
    nl->health = map_new();
    nl->zones = map_new();
    pthread_mutex_init(&nl->mutex, NULL);
    nl->nodes = informers_get(c->context->informers, &corev1_Node_desc);
    nl->pods = informers_get(c->context->informers, &corev1_Pod_desc);
    nl->leases = informers_get(c->context->informers, &coordinationv1_Lease_desc);
    nl->pods_by_node = informer_add_index(nl->pods, "spec.nodeName", index_by_node_name);
    informer_add_handler(nl->nodes, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    informer_add_handler(nl->pods, &(struct informer_handler){nl, on_pod_add, on_pod_update, NULL});
    return nl;
}

const struct controller_desc controller_node_lifecycle = {
    .name = "node-lifecycle-controller", .queue = "node_lifecycle_controller", .account = "node-controller", .component = "node-controller", .workers = 8, .new = new, .sync = sync_key, .run = run, .free = free_self};
