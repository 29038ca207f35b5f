/* DaemonSets: one Pod on each node that suits. Upstream: pkg/controller/daemon.
 *
 * A Pod is made for a node by a required affinity to its name, and the scheduler binds it. Tests: tests/unit/test_controller_daemon_set.c. */
#include "controller/daemon_set.h"
#include <stdio.h>
#include "api/intstr.h"
#include "api/node_match.h"
#include "base/str.h"
#include "client/parallel.h"
#include "controller/controllers.h"

enum { BURST_REPLICAS = 250, BACKOFF_MS_MIN = 1000, BACKOFF_MS_MAX = 15 * 60 * 1000, DOUBT_PERIOD_MS = 20 };
#define ANNOTATION_TEMPLATE_GENERATION "deprecated.daemonset.template.generation"
#define LABEL_TEMPLATE_GENERATION "pod-template-generation"

/* ---- events ---- */

static struct cached *resolve(struct daemon_set_controller *dc, const char *ns, const struct metav1_OwnerReference *ref) {
    if (!ref || !str_eq(ref->kind, "DaemonSet")) return NULL;
    struct cached *set = informer_get(dc->sets, ns, ref->name);
    if (set && str_eq(set->obj->metadata.uid, ref->uid)) return set;
    cached_unref(set);
    return NULL;
}

static void enqueue_owner(struct daemon_set_controller *dc, const struct object *obj, const struct metav1_OwnerReference *ref) {
    _cleanup_cached_ struct cached *set = resolve(dc, obj->metadata.namespace, ref);
    if (set) controller_enqueue(dc->c, set->obj);
}

static void enqueue_adopters(struct daemon_set_controller *dc, const struct object *obj) {
    _cleanup_cached_list_ struct cached_list sets = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    if (obj->metadata.labels.len == 0) return;
    informer_list(dc->sets, obj->metadata.namespace, &sets);
    CACHED_FOREACH(set, appsv1_DaemonSet, &sets) {
        struct selector s;
        if (label_selector_from(a, set->spec.selector, &s, NULL) == 0 && s.len && selector_matches(&s, &obj->metadata.labels)) controller_enqueue(dc->c, set);
    }
}

static void on_pod_gone(struct daemon_set_controller *dc, const struct object *pod) {
    _cleanup_cached_ struct cached *set = resolve(dc, pod->metadata.namespace, controller_of(pod));
    if (!set) return;
    _cleanup_arena_ struct arena *a = arena_new();
    expectations_deletion_observed(dc->expectations, set->obj->metadata.uid, object_key(a, pod));
    controller_enqueue(dc->c, set->obj);
}

static void on_pod_add(void *data, struct cached *now) {
    struct daemon_set_controller *dc = data;
    if (now->obj->metadata.deletionTimestamp.set) {
        on_pod_gone(dc, now->obj);
        return;
    }
    const struct metav1_OwnerReference *ref = controller_of(now->obj);
    if (!ref) {
        enqueue_adopters(dc, now->obj);
        return;
    }
    _cleanup_cached_ struct cached *set = resolve(dc, now->obj->metadata.namespace, ref);
    if (!set) return;
    expectations_creation_observed(dc->expectations, set->obj->metadata.uid);
    controller_enqueue(dc->c, set->obj);
}

static void on_pod_update(void *data, struct cached *old, struct cached *now) {
    struct daemon_set_controller *dc = data;
    if (now->obj->metadata.deletionTimestamp.set) {
        on_pod_gone(dc, now->obj);
        return;
    }
    const struct metav1_OwnerReference *was = controller_of(old->obj), *is = controller_of(now->obj);
    bool moved = !str_eq(was ? was->uid : NULL, is ? is->uid : NULL);
    if (moved && was) enqueue_owner(dc, old->obj, was);
    if (!is) {
        if (moved || !string_map_equal(&old->obj->metadata.labels, &now->obj->metadata.labels)) enqueue_adopters(dc, now->obj);
        return;
    }
    _cleanup_cached_ struct cached *set = resolve(dc, now->obj->metadata.namespace, is);
    if (!set) return;
    controller_enqueue(dc->c, set->obj);
    int32_t min_ready = CACHED(set, appsv1_DaemonSet)->spec.minReadySeconds;
    if (min_ready > 0 && !pod_is_ready(CACHED(old, corev1_Pod)) && pod_is_ready(CACHED(now, corev1_Pod))) controller_enqueue_after(dc->c, set->obj, (min_ready + 1) * 1000LL);
}

static void on_pod_delete(void *data, struct cached *old) { on_pod_gone(data, old->obj); }

static void on_set_delete(void *data, struct cached *old) {
    struct daemon_set_controller *dc = data;
    expectations_delete(dc->expectations, old->obj->metadata.uid);
    controller_enqueue(dc->c, old->obj);
}

static void on_set_update(void *data, struct cached *old, struct cached *now) {
    if (!str_eq(old->obj->metadata.uid, now->obj->metadata.uid)) on_set_delete(data, old);
    controller_enqueue(((struct daemon_set_controller *)data)->c, now->obj);
}

static void on_set_add(void *data, struct cached *now) { controller_enqueue(((struct daemon_set_controller *)data)->c, now->obj); }

static void on_revision_delete(void *data, struct cached *old) { enqueue_owner(data, old->obj, controller_of(old->obj)); }

static void on_revision_add(void *data, struct cached *now) {
    if (!controller_of(now->obj) && !now->obj->metadata.deletionTimestamp.set) enqueue_adopters(data, now->obj);
}

static void on_revision_update(void *data, struct cached *old, struct cached *now) {
    const struct metav1_OwnerReference *was = controller_of(old->obj), *is = controller_of(now->obj);
    if (was && (!is || !str_eq(was->uid, is->uid))) enqueue_owner(data, old->obj, was);
    if (is) enqueue_owner(data, now->obj, is);
    else if (was || !string_map_equal(&old->obj->metadata.labels, &now->obj->metadata.labels)) enqueue_adopters(data, now->obj);
}

/* ---- which nodes ---- */

/* What a DaemonSet's Pods tolerate beyond their template: a node's troubles are often what they are there for. */
static void add_toleration(struct arena *a, struct corev1_Toleration_list *l, const char *key, const char *effect) {
    struct corev1_Toleration t = {.key = key, .operator = "Exists", .effect = effect};
    LIST_FOREACH(o, l)
        if (str_eq(o->key, key) && str_eq(o->effect, effect) && str_eq(o->operator, "Exists") && str_empty(o->value)) {
            *o = t;
            return;
        }
    *LIST_PUSH(a, l) = t;
}

static struct corev1_Toleration_list tolerations_of(struct arena *a, const struct corev1_PodSpec *spec) {
    struct corev1_Toleration_list l = {0};
    LIST_FOREACH(t, &spec->tolerations) *LIST_PUSH(a, &l) = *t;
    add_toleration(a, &l, "node.kubernetes.io/not-ready", "NoExecute");
    add_toleration(a, &l, "node.kubernetes.io/unreachable", "NoExecute");
    add_toleration(a, &l, "node.kubernetes.io/disk-pressure", "NoSchedule");
    add_toleration(a, &l, "node.kubernetes.io/memory-pressure", "NoSchedule");
    add_toleration(a, &l, "node.kubernetes.io/pid-pressure", "NoSchedule");
    add_toleration(a, &l, "node.kubernetes.io/unschedulable", "NoSchedule");
    if (spec->hostNetwork) add_toleration(a, &l, "node.kubernetes.io/network-unavailable", "NoSchedule");
    return l;
}

static void should_run(const struct appsv1_DaemonSet *set, const struct corev1_Toleration_list *tolerations, const struct corev1_Node *node, bool *ret_run, bool *ret_stay) {
    const struct corev1_PodSpec *spec = &set->spec.template.spec;
    *ret_run = *ret_stay = false;
    if (!str_empty(spec->nodeName) && !str_eq(spec->nodeName, node->metadata.name)) return;
    if (!node_match_affinity(spec, node)) return;
    *ret_stay = !node_match_untolerated(node, tolerations, "NoExecute");
    *ret_run = *ret_stay && !node_match_untolerated(node, tolerations, "NoSchedule");
}

void daemon_should_run(const struct daemon_sync *s, const struct corev1_Node *node, bool *ret_run, bool *ret_stay) { should_run(s->set, &s->tolerations, node, ret_run, ret_stay); }

/* Wakes the sets that have something to do about a node. */
static void on_node(struct daemon_set_controller *dc, const struct corev1_Node *node) {
    _cleanup_cached_list_ struct cached_list sets = {0}, pods = {0};
    _cleanup_arena_ struct arena *a = arena_new();
    informer_list(dc->sets, NULL, &sets);
    informer_by_index(dc->pods, dc->pods_by_node, node->metadata.name, &pods);
    CACHED_FOREACH(set, appsv1_DaemonSet, &sets) {
        struct corev1_Toleration_list tolerations = tolerations_of(a, &set->spec.template.spec);
        bool run, stay, has = false;
        should_run(set, &tolerations, node, &run, &stay);
        CACHED_FOREACH(p, corev1_Pod, &pods) has |= controlled_by(p, set);
        if (has ? !stay || set->status.numberMisscheduled > 0 : run) controller_enqueue(dc->c, set);
    }
}

static void on_node_add(void *data, struct cached *now) { on_node(data, CACHED(now, corev1_Node)); }

static void on_node_update(void *data, struct cached *old, struct cached *now) {
    const struct corev1_Node *was = CACHED(old, corev1_Node), *is = CACHED(now, corev1_Node);
    bool same = string_map_equal(&was->metadata.labels, &is->metadata.labels) && was->spec.taints.len == is->spec.taints.len;
    for (size_t i = 0; same && i < is->spec.taints.len; i++) same = object_equal(&corev1_Taint_desc, &was->spec.taints.items[i], &is->spec.taints.items[i]);
    if (!same) on_node(data, is);
}

/* ---- Pods by node ---- */

struct node_pods *daemon_node(struct arena *a, struct node_pods_list *l, const char *node, bool make) {
    for (size_t i = 0; i < l->len; i++)
        if (str_eq(l->items[i].node, node)) return &l->items[i];
    if (!make) return NULL;
    struct node_pods *n = LIST_PUSH(a, l);
    n->node = node;
    return n;
}

/* Where it is, or where it is meant to be. */
static const char *target_node(daemon_pod *p) {
    if (!str_empty(p->spec.nodeName)) return p->spec.nodeName;
    const struct corev1_NodeAffinity *na = p->spec.affinity ? p->spec.affinity->nodeAffinity : NULL;
    if (!na || !na->requiredDuringSchedulingIgnoredDuringExecution) return NULL;
    LIST_FOREACH(t, &na->requiredDuringSchedulingIgnoredDuringExecution->nodeSelectorTerms)
        LIST_FOREACH(f, &t->matchFields)
            if (str_eq(f->key, "metadata.name") && str_eq(f->operator, "In")) return f->values.len == 1 ? f->values.items[0] : NULL;
    return NULL;
}

/* Scheduled ones first, then the oldest. */
static int by_age(const void *x, const void *y) {
    daemon_pod *p = *(daemon_pod *const *)x, *q = *(daemon_pod *const *)y;
    bool sp = !str_empty(p->spec.nodeName), sq = !str_empty(q->spec.nodeName);
    if (sp != sq) return sp ? -1 : 1;
    int64_t cp = p->metadata.creationTimestamp.sec, cq = q->metadata.creationTimestamp.sec;
    return cp != cq ? (cp < cq ? -1 : 1) : str_cmp(p->metadata.name, q->metadata.name);
}

int daemon_pods(struct daemon_sync *s, bool all, struct node_pods_list *ret, struct status *reterr) {
    _cleanup_cached_list_ struct cached_list candidates = {0};
    struct cached_list claimed = {0};
    pods_owned_or_orphaned(s->dc->pods, s->dc->pods_by_controller, s->set, &candidates);
    int failed = controller_claim(s->dc->c, s->a, &appsv1_DaemonSet_desc, s->set, &s->selector, &corev1_Pod_desc, &candidates, &claimed, reterr);
    struct map *by_node = map_new();
    *ret = (struct node_pods_list){0};
    CACHED_FOREACH(p, corev1_Pod, &claimed) {
        const char *node = target_node(p);
        if (!node || (!all && pod_is_terminal(p) && p->metadata.deletionTimestamp.set)) continue;
        size_t at = (size_t)(uintptr_t)map_get(by_node, node);
        if (!at) {
            LIST_PUSH(s->a, ret)->node = node;
            map_put(by_node, node, (void *)(uintptr_t)(at = ret->len));
        }
        *LIST_PUSH(s->a, &ret->items[at - 1].pods) = p;
    }
    map_free(by_node);
    for (size_t i = 0; i < ret->len; i++) qsort(ret->items[i].pods.items, ret->items[i].pods.len, sizeof(*ret->items[i].pods.items), by_age);
    cached_list_take(&s->hold, &claimed);
    return failed;
}

static bool template_generation(const struct appsv1_DaemonSet *set, int64_t *ret) {
    const char *text = string_map_get(&set->metadata.annotations, ANNOTATION_TEMPLATE_GENERATION);
    return text && str_to_i64(text, ret);
}

bool daemon_pod_is_updated(const struct daemon_sync *s, daemon_pod *p) {
    int64_t generation;
    const char *text = string_map_get(&p->metadata.labels, LABEL_TEMPLATE_GENERATION);
    char want[24] = "";
    if (template_generation(s->set, &generation)) snprintf(want, sizeof(want), "%lld", (long long)generation);
    return (!str_empty(s->hash) && str_eq(string_map_get(&p->metadata.labels, LABEL_CONTROLLER_REVISION_HASH), s->hash)) || (*want && text && str_eq(text, want));
}

bool daemon_pod_is_available(const struct daemon_sync *s, daemon_pod *p) { return pod_is_available(p, s->set->spec.minReadySeconds, s->now_ns, NULL); }

int32_t daemon_max_surge(const struct appsv1_DaemonSet *set, int total) {
    const struct appsv1_RollingUpdateDaemonSet *r = str_eq(set->spec.updateStrategy.type, "RollingUpdate") ? set->spec.updateStrategy.rollingUpdate : NULL;
    return r ? intstr_scaled_or(&r->maxSurge, total, true, 0) : 0;
}

int32_t daemon_max_unavailable(const struct appsv1_DaemonSet *set, int total) {
    const struct appsv1_RollingUpdateDaemonSet *r = str_eq(set->spec.updateStrategy.type, "RollingUpdate") ? set->spec.updateStrategy.rollingUpdate : NULL;
    return r ? intstr_scaled_or(&r->maxUnavailable, total, true, 0) : 0;
}

/* ---- making and deleting ---- */

struct batch {
    struct daemon_sync *s;
    const struct corev1_PodTemplateSpec *template;
    const struct string_list *nodes;
    daemon_pod *const *pods;
    pthread_mutex_t mutex;
    struct status err;
    bool failed;
};

static void batch_fail(struct batch *b, const struct status *err) {
    pthread_mutex_lock(&b->mutex);
    if (write_is_in_doubt(err)) expectations_doubt(b->s->dc->expectations, b->s->set->metadata.uid);
    if (!b->failed) status_copy(&b->err, err);
    b->failed = true;
    pthread_mutex_unlock(&b->mutex);
}

/* The node's name takes the place of all other terms: that they hold has been seen to. */
static void pin_to_node(struct arena *a, struct corev1_PodSpec *spec, const char *node) {
    if (!spec->affinity) spec->affinity = ARENA_NEW(a, struct corev1_Affinity);
    if (!spec->affinity->nodeAffinity) spec->affinity->nodeAffinity = ARENA_NEW(a, struct corev1_NodeAffinity);
    struct corev1_NodeAffinity *na = spec->affinity->nodeAffinity;
    if (!na->requiredDuringSchedulingIgnoredDuringExecution) na->requiredDuringSchedulingIgnoredDuringExecution = ARENA_NEW(a, struct corev1_NodeSelector);
    struct corev1_NodeSelector *ns = na->requiredDuringSchedulingIgnoredDuringExecution;
    *ns = (struct corev1_NodeSelector){0};
    struct corev1_NodeSelectorTerm *term = LIST_PUSH(a, &ns->nodeSelectorTerms);
    struct corev1_NodeSelectorRequirement *r = LIST_PUSH(a, &term->matchFields);
    r->key = "metadata.name";
    r->operator = "In";
    string_list_push(a, &r->values, node);
}

static int create_one(void *arg, size_t i) {
    struct batch *b = arg;
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status err = STATUS_INIT;
    struct corev1_Pod *p = pod_from_template(a, &appsv1_DaemonSet_desc, b->s->set, b->template);
    pin_to_node(a, &p->spec, b->nodes->items[i]);
    if (pod_control_create_pod(b->s->dc->c, &appsv1_DaemonSet_desc, b->s->set, p, &err) == 0 || status_has_cause(&err, "NamespaceTerminating")) return 0;
    batch_fail(b, &err);
    return -1;
}

static void delete_one(void *arg, size_t i) {
    struct batch *b = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (pod_control_delete(b->s->dc->c, &appsv1_DaemonSet_desc, b->s->set, b->pods[i], &err) == 0) return;
    _cleanup_arena_ struct arena *a = arena_new();
    expectations_deletion_observed(b->s->dc->expectations, b->s->set->metadata.uid, object_key(a, b->pods[i]));
    if (!status_is(&err, 404)) batch_fail(b, &err);
}

static const struct corev1_PodTemplateSpec *template_of(struct daemon_sync *s) {
    struct corev1_PodTemplateSpec *t = object_copy(s->a, &corev1_PodTemplateSpec_desc, &s->set->spec.template);
    int64_t generation;
    t->spec.tolerations = s->tolerations;
    if (template_generation(s->set, &generation)) string_map_set(s->a, &t->metadata.labels, LABEL_TEMPLATE_GENERATION, arena_printf(s->a, "%lld", (long long)generation));
    if (!str_empty(s->hash)) string_map_set(s->a, &t->metadata.labels, LABEL_CONTROLLER_REVISION_HASH, s->hash);
    return t;
}

int daemon_sync_nodes(struct daemon_sync *s, daemon_pod *const *delete, size_t delete_len, const struct string_list *nodes, struct status *reterr) {
    struct batch b = {.s = s, .template = template_of(s), .nodes = nodes, .pods = delete};
    size_t creates = MIN(nodes ? nodes->len : 0, (size_t)BURST_REPLICAS);
    delete_len = MIN(delete_len, (size_t)BURST_REPLICAS);
    struct string_list keys = {0};
    for (size_t i = 0; i < delete_len; i++) string_list_push(s->a, &keys, object_key(s->a, delete[i]));
    expectations_expect(s->dc->expectations, s->set->metadata.uid, (int)creates, &keys);
    pthread_mutex_init(&b.mutex, NULL);
    size_t made = parallel_slow_start(creates, create_one, &b);
    for (size_t i = made; i < creates; i++) expectations_creation_observed(s->dc->expectations, s->set->metadata.uid);
    parallel_run(delete_len, delete_one, &b);
    pthread_mutex_destroy(&b.mutex);
    if (b.failed && reterr) status_copy(reterr, &b.err);
    status_release(&b.err);
    return b.failed ? -1 : 0;
}

/* ---- failed Pods ---- */

struct backoff { int64_t ms, at_ms; };

/* False: wait *ret_wait_ms; true: go on, and the next time will take longer. */
static bool may_replace_failed(struct daemon_sync *s, const char *node, int64_t *ret_wait_ms) {
    struct daemon_set_controller *dc = s->dc;
    const char *key = arena_printf(s->a, "%s/%lld/%s", s->set->metadata.uid, (long long)s->set->status.observedGeneration, node);
    int64_t now = s->now_ns / 1000000;
    pthread_mutex_lock(&dc->mutex);
    struct backoff *b = map_get(dc->backoffs, key);
    bool ok = !b || now - b->at_ms >= b->ms;
    if (!ok) *ret_wait_ms = b->ms;
    else {
        bool fresh = !b || now - b->at_ms > 2 * BACKOFF_MS_MAX;
        if (!b) {
            CHECK(b = calloc(1, sizeof(*b)));
            map_put(dc->backoffs, key, b);
        }
        b->ms = fresh ? BACKOFF_MS_MIN : MIN(b->ms * 2, (int64_t)BACKOFF_MS_MAX);
        b->at_ms = now;
    }
    pthread_mutex_unlock(&dc->mutex);
    return ok;
}

/* Upstream's Backoff.GC, each time somebody looks. */
static void forget_backoffs(struct daemon_set_controller *dc, int64_t now_ms) {
    const char *key;
    void *p;
    pthread_mutex_lock(&dc->mutex);
    for (size_t i = 0; map_next(dc->backoffs, &i, &key, &p);)
        if (now_ms - ((struct backoff *)p)->at_ms > 2 * BACKOFF_MS_MAX) free(map_del(dc->backoffs, key));
    pthread_mutex_unlock(&dc->mutex);
}

/* ---- manage ---- */

struct plan { struct { daemon_pod **items; size_t len; } delete; struct string_list nodes; };

/* With surge two may be there: an old one that works until the new one does. */
static void prune_surge(struct daemon_sync *s, daemon_pod *const *running, size_t len, struct plan *plan) {
    daemon_pod *fresh = NULL, *old = NULL;
    for (size_t i = 0; i < len; i++) {
        bool current = str_eq(string_map_get(&running[i]->metadata.labels, LABEL_CONTROLLER_REVISION_HASH), s->hash);
        if (current && !fresh) fresh = running[i];
        else if (!current && !old) old = running[i];
        else *LIST_PUSH(s->a, &plan->delete) = running[i];
    }
    if (fresh && old && (!pod_is_ready(old) || daemon_pod_is_available(s, fresh))) *LIST_PUSH(s->a, &plan->delete) = old;
}

/* What failed or ended is deleted; the others are returned. */
static size_t running_of(struct daemon_sync *s, const struct node_pods *n, daemon_pod **running, struct plan *plan) {
    size_t len = 0;
    struct event_recorder *events = s->dc->c->events;
    for (size_t i = 0; i < n->pods.len; i++) {
        daemon_pod *p = n->pods.items[i];
        int64_t wait_ms;
        if (p->metadata.deletionTimestamp.set) continue;
        if (str_eq(p->status.phase, "Failed")) {
            if (!may_replace_failed(s, n->node, &wait_ms)) {
                work_queue_add_after(s->dc->c->queue, s->key, wait_ms);
                continue;
            }
            event_record(events, &appsv1_DaemonSet_desc, s->set, EVENT_WARNING, "FailedDaemonPod", "Found failed daemon pod %s/%s on node %s, will try to kill it", p->metadata.namespace,
                         p->metadata.name, n->node);
            *LIST_PUSH(s->a, &plan->delete) = p;
        } else if (str_eq(p->status.phase, "Succeeded")) {
            event_record(events, &appsv1_DaemonSet_desc, s->set, EVENT_NORMAL, "SucceededDaemonPod", "Found succeeded daemon pod %s/%s on node %s, will try to delete it", p->metadata.namespace,
                         p->metadata.name, n->node);
            *LIST_PUSH(s->a, &plan->delete) = p;
        } else running[len++] = p;
    }
    return len;
}

static void plan_node(struct daemon_sync *s, const struct corev1_Node *node, const struct node_pods *n, struct plan *plan) {
    bool run, stay;
    daemon_should_run(s, node, &run, &stay);
    if (run && !n) {
        string_list_push(s->a, &plan->nodes, node->metadata.name);
        return;
    }
    if (!n) return;
    if (!stay) {
        for (size_t i = 0; i < n->pods.len; i++)
            if (!n->pods.items[i]->metadata.deletionTimestamp.set) *LIST_PUSH(s->a, &plan->delete) = n->pods.items[i];
        return;
    }
    daemon_pod **running = arena_calloc(s->a, n->pods.len + 1, sizeof(*running));
    size_t len = running_of(s, n, running, plan);
    bool surges = daemon_max_surge(s->set, 1) > 0;
    if (surges && len == 0 && run) string_list_push(s->a, &plan->nodes, node->metadata.name);
    else if (surges && len > 1) prune_surge(s, running, len, plan);
    else for (size_t i = 1; i < len; i++) *LIST_PUSH(s->a, &plan->delete) = running[i];
}

static int manage(struct daemon_sync *s, struct status *reterr) {
    struct node_pods_list pods;
    struct plan plan = {0};
    if (daemon_pods(s, false, &pods, reterr) != 0) return -1;
    struct map *known = map_new(), *by_node = map_new();
    for (size_t i = 0; i < pods.len; i++) map_put(by_node, pods.items[i].node, &pods.items[i]);
    CACHED_FOREACH(node, corev1_Node, &s->nodes) {
        map_put(known, node->metadata.name, s);
        plan_node(s, node, map_get(by_node, node->metadata.name), &plan);
    }
    /* Unbound Pods for nodes that are gone will never be bound, and nobody else takes them away. */
    for (size_t i = 0; i < pods.len; i++)
        for (size_t j = 0; j < pods.items[i].pods.len && !map_has(known, pods.items[i].node); j++)
            if (str_empty(pods.items[i].pods.items[j]->spec.nodeName)) *LIST_PUSH(s->a, &plan.delete) = pods.items[i].pods.items[j];
    map_free(known);
    map_free(by_node);
    return daemon_sync_nodes(s, plan.delete.items, plan.delete.len, &plan.nodes, reterr);
}

/* ---- status ---- */

static int count(struct daemon_sync *s, struct appsv1_DaemonSetStatus *st, struct status *reterr) {
    struct node_pods_list pods;
    if (daemon_pods(s, false, &pods, reterr) != 0) return -1;
    struct map *by_node = map_new();
    for (size_t i = 0; i < pods.len; i++) map_put(by_node, pods.items[i].node, &pods.items[i]);
    st->desiredNumberScheduled = st->currentNumberScheduled = st->numberMisscheduled = st->numberReady = st->updatedNumberScheduled = st->numberAvailable = 0;
    CACHED_FOREACH(node, corev1_Node, &s->nodes) {
        bool run, stay;
        const struct node_pods *n = map_get(by_node, node->metadata.name);
        daemon_should_run(s, node, &run, &stay);
        st->desiredNumberScheduled += run;
        if (!run) st->numberMisscheduled += n != NULL;
        if (!run || !n) continue;
        daemon_pod *p = n->pods.items[0];
        st->currentNumberScheduled++;
        st->numberReady += pod_is_ready(p);
        st->numberAvailable += pod_is_ready(p) && daemon_pod_is_available(s, p);
        st->updatedNumberScheduled += daemon_pod_is_updated(s, p);
    }
    map_free(by_node);
    st->numberUnavailable = st->desiredNumberScheduled - st->numberAvailable;
    return 0;
}

static int update_status(struct daemon_sync *s, bool observed, struct status *reterr) {
    struct appsv1_DaemonSet *o = arena_memdup(s->a, s->set, sizeof(*o));
    if (count(s, &o->status, reterr) != 0) return -1;
    int rc = 0;
    if (!object_equal(&appsv1_DaemonSetStatus_desc, &o->status, &s->set->status) || o->status.observedGeneration < s->set->metadata.generation) {
        _cleanup_status_ struct status err = STATUS_INIT;
        if (observed) o->status.observedGeneration = s->set->metadata.generation;
        rc = client_update_status(s->dc->c->client, s->a, &appsv1_DaemonSet_desc, o, NULL, &err);
        if (rc != 0 && status_is(&err, 404)) rc = 0;
        if (rc != 0 && reterr) status_copy(reterr, &err);
    }
    if (rc == 0 && s->set->spec.minReadySeconds > 0 && o->status.numberReady != o->status.numberAvailable)
        work_queue_add_after(s->dc->c->queue, s->key, s->set->spec.minReadySeconds * 1000LL);
    return rc;
}

/* ---- sync ---- */

static int update(struct daemon_sync *s, struct status *reterr) {
    if (manage(s, reterr) != 0) return -1;
    if (expectations_satisfied(s->dc->expectations, s->set->metadata.uid) && str_eq(s->set->spec.updateStrategy.type, "RollingUpdate") && daemon_rolling_update(s, reterr) != 0) return -1;
    return daemon_clean_up_history(s, reterr);
}

static int sync_one(struct daemon_sync *s, struct status *reterr) {
    struct daemon_set_controller *dc = s->dc;
    if (daemon_construct_history(s, reterr) != 0) return -1;
    bool settled = expectations_settle(dc->expectations, s->set->metadata.uid, dc->c, s->a, dc->pods, dc->pods_by_controller, s->set, &s->selector);
    if (!settled) work_queue_add_after(dc->c->queue, s->key, DOUBT_PERIOD_MS);
    if (!settled || !expectations_satisfied(dc->expectations, s->set->metadata.uid)) return update_status(s, false, reterr);
    _cleanup_status_ struct status err = STATUS_INIT, status_err = STATUS_INIT;
    int failed = update(s, &err), status_failed = update_status(s, true, &status_err);
    if (reterr && (failed || status_failed)) status_copy(reterr, failed ? &err : &status_err);
    return failed || status_failed ? -1 : 0;
}

static int by_name(const void *x, const void *y) { return str_cmp((*(struct cached *const *)x)->obj->metadata.name, (*(struct cached *const *)y)->obj->metadata.name); }

static int sync_set(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct daemon_set_controller *dc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(dc->sets, ns, name);
    if (!cached) return 0;
    struct daemon_sync s = {.dc = dc, .a = a, .key = key, .set = CACHED(cached, appsv1_DaemonSet), .now_ns = env_now_ns(dc->c->env)};
    const struct metav1_LabelSelector *ls = s.set->spec.selector;
    if (ls && !ls->matchLabels.len && !ls->matchExpressions.len) {
        event_record(dc->c->events, &appsv1_DaemonSet_desc, s.set, EVENT_WARNING, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.");
        return 0;
    }
    /* While it is being deleted its revisions may be gone already: nothing can be said of its Pods then. */
    if (s.set->metadata.deletionTimestamp.set) return 0;
    if (label_selector_from(a, ls, &s.selector, reterr) != 0) return -1;
    s.tolerations = tolerations_of(a, &s.set->spec.template.spec);
    informer_list(dc->nodes, NULL, &s.nodes);
    if (s.nodes.len) qsort(s.nodes.items, s.nodes.len, sizeof(*s.nodes.items), by_name);
    forget_backoffs(dc, s.now_ns / 1000000);
    int rc = sync_one(&s, reterr);
    cached_list_release(&s.nodes);
    cached_list_release(&s.hold);
    return rc;
}

/* ---- life ---- */

static void *new(struct controller *c, struct status *reterr UNUSED) {
    struct daemon_set_controller *dc = calloc(1, sizeof(*dc));
    CHECK(dc);
    struct informers *f = c->context->informers;
    dc->c = c;
    dc->expectations = expectations_new(c->env);
    dc->backoffs = map_new();
    pthread_mutex_init(&dc->mutex, NULL);
    dc->sets = informers_get(f, &appsv1_DaemonSet_desc);
    dc->pods = informers_get(f, &corev1_Pod_desc);
    dc->nodes = informers_get(f, &corev1_Node_desc);
    dc->revisions = informers_get(f, &appsv1_ControllerRevision_desc);
    dc->pods_by_controller = pods_index_by_controller(dc->pods);
    dc->pods_by_node = informer_add_index(dc->pods, "node", index_by_node_name);
    dc->revisions_by_controller = pods_index_by_controller(dc->revisions);
    informer_add_handler(dc->sets, &(struct informer_handler){dc, on_set_add, on_set_update, on_set_delete});
    informer_add_handler(dc->pods, &(struct informer_handler){dc, on_pod_add, on_pod_update, on_pod_delete});
    informer_add_handler(dc->nodes, &(struct informer_handler){dc, on_node_add, on_node_update, NULL});
    informer_add_handler(dc->revisions, &(struct informer_handler){dc, on_revision_add, on_revision_update, on_revision_delete});
    return dc;
}

static void free_self(void *self) {
    struct daemon_set_controller *dc = self;
    expectations_free(dc->expectations);
    map_free_with(dc->backoffs, free);
    pthread_mutex_destroy(&dc->mutex);
    free(dc);
}

const struct controller_desc controller_daemon_set = {.name = "daemonset-controller", .queue = "daemonset", .account = "daemon-set-controller", .workers = 2, .new = new, .sync = sync_set, .free = free_self};
