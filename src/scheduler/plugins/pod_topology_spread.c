/* PodTopologySpread: how far the number of a Pod's like may differ between domains. Upstream: plugins/podtopologyspread.
 *
 * Where all nodes count (no node selector or affinity to honor, no taints to honor, every node has the other constraints' keys), counts are read from the
 * topology index. Else one walk over the nodes adds up what each eligible node has, which the index knows too. */
#include <math.h>
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

struct live {
    struct spread_constraint *c;
    const struct topology_key *key;
    struct counter *counter, *by_node;
    int32_t *counts;    /* of eligible nodes only, by domain; -1: no eligible node is in it; NULL: the counter's hold */
    int64_t min;        /* of all domains */
    uint64_t version;   /* of the counter, for which min holds; 0: not known */
    bool hostname;
    double weight;      /* of scores */
};
struct live_list { struct live *items; size_t len; bool require_all; };

/* ---- constraints ---- */

static struct counter *constraint_counter(struct topology_index *x, struct spread_constraint *c, bool by_node) {
    if (c->epoch != index_epoch(x)) {
        c->counter = c->node_counter = NULL;
        c->epoch = index_epoch(x);
    }
    struct counter **at = by_node ? &c->node_counter : &c->counter;
    if (!*at) *at = index_counter(x, &c->selection, 1, by_node ? NULL : c->topology_key, true);
    return *at;
}

static const struct metav1_OwnerReference *controller_of(const struct corev1_Pod *pod) {
    LIST_FOREACH(o, &pod->metadata.ownerReferences)
        if (o->controller.has && o->controller.value) return o;
    return NULL;
}

static void selector_add_map(struct arena *a, struct selection *s, const struct string_map *map) {
    for (size_t i = 0; i < map->len; i++) selection_add_requirement(a, s, map->items[i].key, SELECT_IN, map->items[i].value);
}

static void selector_add(struct arena *a, struct selection *s, const struct metav1_LabelSelector *ls) {
    struct selector more = {0};
    if (!ls || label_selector_from(a, ls, &more, NULL)) return;
    struct requirement *items = arena_calloc(a, s->selector.len + more.len, sizeof(*items));
    if (s->selector.len) memcpy(items, s->selector.items, s->selector.len * sizeof(*items));
    if (more.len) memcpy(items + s->selector.len, more.items, more.len * sizeof(*items));
    s->selector = (struct selector){.items = items, .len = s->selector.len + more.len};
}

/* What Services and the owner select. Upstream: helper.DefaultSelector. */
static struct selection default_selection(struct scheduler_cache *cache, struct arena *a, const struct pod_info *p) {
    const struct metav1_ObjectMeta *meta = &p->pod->metadata;
    struct selection s = {0};
    string_list_push(a, &s.namespaces, arena_strdup(a, str_or(meta->namespace, "")));
    const struct corev1_Service *svc;
    for (size_t pos = 0; (svc = cache_next(cache, &corev1_Service_desc, &pos));) {
        if (!svc->spec.selector.items || !str_eq(svc->metadata.namespace, meta->namespace)) continue;
        struct selector one = selector_from_map(a, &svc->spec.selector);
        if (selector_matches(&one, &meta->labels)) selector_add_map(a, &s, &svc->spec.selector);
    }
    const struct metav1_OwnerReference *o = controller_of(p->pod);
    if (o && str_eq(o->apiVersion, "v1") && str_eq(o->kind, "ReplicationController")) {
        const struct corev1_ReplicationController *rc = cache_get(cache, &corev1_ReplicationController_desc, meta->namespace, o->name);
        if (rc) selector_add_map(a, &s, &rc->spec.selector);
    } else if (o && str_eq(o->apiVersion, "apps/v1") && str_eq(o->kind, "ReplicaSet")) {
        const struct appsv1_ReplicaSet *rs = cache_get(cache, &appsv1_ReplicaSet_desc, meta->namespace, o->name);
        if (rs) selector_add(a, &s, rs->spec.selector);
    } else if (o && str_eq(o->apiVersion, "apps/v1") && str_eq(o->kind, "StatefulSet")) {
        const struct appsv1_StatefulSet *ss = cache_get(cache, &appsv1_StatefulSet_desc, meta->namespace, o->name);
        if (ss) selector_add(a, &s, ss->spec.selector);
    }
    struct selection copy = {.namespaces = s.namespaces, .selector = s.selector};
    selection_finish(a, &copy);
    return selection_copy(a, &copy); /* the listers' strings may go */
}

static uint64_t default_generation(struct scheduler_cache *c) {
    return cache_generation(c, &corev1_Service_desc) + cache_generation(c, &corev1_ReplicationController_desc) + cache_generation(c, &appsv1_ReplicaSet_desc) +
           cache_generation(c, &appsv1_StatefulSet_desc);
}

/* Kept with the Pod's class, since Pods of one class and owner share them. */
static struct spread_constraint_list *default_constraints(struct scheduler_cache *cache, const struct pod_topology_spread_args *args, struct pod_info *p) {
    struct pod_class *k = index_class(cache_index(cache), p);
    const struct metav1_OwnerReference *o = controller_of(p->pod);
    uint64_t generation = default_generation(cache);
    if (k->default_arena && k->default_generation == generation && k->default_args == args && str_eq(k->default_owner, o ? o->uid : NULL)) return &k->defaults;
    arena_free(k->default_arena);
    struct arena *a = k->default_arena = arena_new();
    k->default_owner = o ? arena_strdup(a, o->uid) : NULL;
    k->default_args = args;
    k->default_generation = generation;
    k->defaults = (struct spread_constraint_list){0};
    struct selection s = default_selection(cache, a, p);
    if (!s.selector.len) return &k->defaults;
    LIST_FOREACH(c, &args->defaults)
        *LIST_PUSH(a, &k->defaults) = (struct spread_constraint){.selection = s, .topology_key = c->topologyKey, .max_skew = c->maxSkew,
            .min_domains = c->minDomains.has ? c->minDomains.value : 1, .hard = str_eq(c->whenUnsatisfiable, "DoNotSchedule"),
            .honor_affinity = !str_eq(c->nodeAffinityPolicy, "Ignore"), .honor_taints = str_eq(c->nodeTaintsPolicy, "Honor"),
            .self = selector_matches(&s.selector, &p->pod->metadata.labels)};
    return &k->defaults;
}

static struct live_list *live_of(struct cycle *cycle, bool hard) {
    const struct pod_topology_spread_args *args = cycle->use->args;
    struct topology_index *x = cache_index(cycle->cache);
    bool own = cycle->pod->spread.len > 0;
    struct live_list *list = ARENA_NEW(cycle->arena, struct live_list);
    list->require_all = own || !args->system_defaulted;
    bool wanted = false; /* are there defaults of that kind at all? */
    LIST_FOREACH(d, &args->defaults) wanted |= str_eq(d->whenUnsatisfiable, "DoNotSchedule") == hard;
    if (!own && !wanted) return list;
    struct spread_constraint_list *constraints = own ? &cycle->pod->spread : default_constraints(cycle->cache, args, cycle->pod);
    LIST_FOREACH(c, constraints)
        if (c->hard == hard)
            *LIST_PUSH(cycle->arena, list) = (struct live){.c = c, .key = index_topology_key(x, c->topology_key), .counter = constraint_counter(x, c, false),
                                                           .hostname = str_eq(c->topology_key, "kubernetes.io/hostname")};
    return list;
}

/* ---- which nodes count ---- */

static bool restricts(const struct pod_info *p) {
    const struct corev1_Affinity *a = p->pod->spec.affinity;
    return p->pod->spec.nodeSelector.len || (a && a->nodeAffinity && a->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution);
}

static bool has_all_keys(const struct live_list *list, const struct node_info *n) {
    LIST_FOREACH(l, list)
        if (topology_value(l->key, n) < 0) return false;
    return true;
}

static bool eligible(const struct cycle *cycle, const struct live *l, const struct node_info *n) {
    if (l->c->honor_affinity && !node_match_affinity(&cycle->pod->pod->spec, n->node)) return false;
    return !l->c->honor_taints || !n->hard_taints || !node_untolerated_taint(n->node, &cycle->pod->pod->spec.tolerations);
}

/* The index's counts are those of the eligible nodes. */
static bool all_count(const struct cycle *cycle, const struct live_list *list, const struct live *l) {
    if ((l->c->honor_affinity && restricts(cycle->pod)) || l->c->honor_taints) return false;
    if (list->require_all)
        LIST_FOREACH(other, list)
            if (other->key != l->key && other->key->nodes_with < cycle->nodes_len) return false;
    return true;
}

/* Makes the counts of those constraints that need it. */
static void walk(struct cycle *cycle, struct live_list *list, const bool *slow) {
    for (size_t i = 0; i < list->len; i++) {
        struct live *l = &list->items[i];
        if (!slow[i]) continue;
        l->by_node = constraint_counter(cache_index(cycle->cache), l->c, true);
        l->counts = arena_calloc(cycle->arena, (size_t)l->key->len, sizeof(int32_t));
        for (int32_t v = 0; v < l->key->len; v++) l->counts[v] = -1;
    }
    for (size_t n = 0; n < cycle->nodes_len; n++) {
        const struct node_info *node = cycle->nodes[n];
        if (list->require_all && !has_all_keys(list, node)) continue;
        for (size_t i = 0; i < list->len; i++) {
            struct live *l = &list->items[i];
            int32_t v = topology_value(l->key, node);
            if (!slow[i] || v < 0 || !eligible(cycle, l, node)) continue;
            l->counts[v] = MAX(l->counts[v], 0) + counter_of(l->by_node, node->slot);
        }
    }
}

/* ---- Filter ---- */

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    struct live_list *list = live_of(cycle, true);
    if (!list->len) return CODE_SKIP;
    list->require_all = true;
    bool *slow = arena_calloc(cycle->arena, list->len, sizeof(bool)), any = false;
    for (size_t i = 0; i < list->len; i++) any |= slow[i] = !all_count(cycle, list, &list->items[i]);
    if (any) walk(cycle, list, slow);
    cycle->state[PLUGIN_POD_TOPOLOGY_SPREAD] = list;
    return CODE_SUCCESS;
}

static int32_t count_in(const struct live *l, int32_t v) { return l->counts ? MAX(l->counts[v], 0) : counter_of(l->counter, v); }

static void min_find(struct live *l) {
    int64_t min = INT32_MAX;
    int32_t domains = 0;
    for (int32_t v = 0; v < l->key->len; v++) {
        if (l->counts ? l->counts[v] < 0 : !l->key->nodes[v]) continue;
        domains++;
        min = MIN(min, (int64_t)count_in(l, v));
    }
    l->min = domains < l->c->min_domains ? 0 : min;
    l->version = l->counter->version + 1;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    struct live_list *list = cycle->state[PLUGIN_POD_TOPOLOGY_SPREAD];
    LIST_FOREACH(l, list) {
        int32_t v = topology_value(l->key, node);
        if (v < 0) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match pod topology spread constraints (missing required label)");
        if (l->version != l->counter->version + 1) min_find(l);
        if (count_in(l, v) + l->c->self - l->min > l->c->max_skew) return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) didn't match pod topology spread constraints");
    }
    return CODE_SUCCESS;
}

static void count_pod(struct cycle *cycle, struct node_info *node, struct pod_info *pod, int sign) {
    struct live_list *list = cycle->state[PLUGIN_POD_TOPOLOGY_SPREAD];
    if (pod->terminating || !str_eq(pod->pod->metadata.namespace, cycle->pod->pod->metadata.namespace) || !has_all_keys(list, node)) return;
    LIST_FOREACH(l, list) {
        if (!l->counts || !eligible(cycle, l, node) || !selector_matches(&l->c->selection.selector, &pod->pod->metadata.labels)) continue;
        l->counts[topology_value(l->key, node)] += sign;
        l->version = 0;
    }
}

/* ---- Score ---- */

static enum code pre_score(struct cycle *cycle, struct node_info *const *nodes, size_t len) {
    struct live_list *list = live_of(cycle, false);
    if (!list->len) return CODE_SKIP;
    bool *slow = arena_calloc(cycle->arena, list->len, sizeof(bool)), any = false;
    size_t ignored = 0;
    for (size_t i = 0; i < len; i++) ignored += list->require_all && !has_all_keys(list, nodes[i]);
    for (size_t k = 0; k < list->len; k++) {
        struct live *l = &list->items[k];
        size_t size = len - ignored;
        if (l->hostname) {
            l->by_node = constraint_counter(cache_index(cycle->cache), l->c, true);
        } else {
            bool *seen = arena_calloc(cycle->arena, (size_t)l->key->len + 1, sizeof(bool)); /* the last: nodes without the label, a domain of their own */
            size = 0;
            for (size_t i = 0; i < len; i++) {
                if (list->require_all && !has_all_keys(list, nodes[i])) continue;
                int32_t v = topology_value(l->key, nodes[i]);
                bool *at = &seen[v < 0 ? l->key->len : v];
                size += !*at;
                *at = true;
            }
            any |= slow[k] = !all_count(cycle, list, l);
        }
        l->weight = log((double)(size + 2));
    }
    if (any) walk(cycle, list, slow);
    cycle->score_state[PLUGIN_POD_TOPOLOGY_SPREAD] = list;
    return CODE_SUCCESS;
}

static bool ignores(const struct live_list *list, const struct node_info *node) { return list->require_all && !has_all_keys(list, node); }

static int64_t score(struct cycle *cycle, struct node_info *node) {
    const struct live_list *list = cycle->score_state[PLUGIN_POD_TOPOLOGY_SPREAD];
    if (ignores(list, node)) return 0;
    double sum = 0;
    LIST_FOREACH(l, list) {
        int32_t v = topology_value(l->key, node);
        if (v < 0) continue;
        int32_t n = l->hostname ? counter_of(l->by_node, node->slot) : count_in(l, v);
        sum += (double)n * l->weight + (double)(l->c->max_skew - 1);
    }
    return (int64_t)llround(sum);
}

static void normalize(struct cycle *cycle, struct node_info *const *nodes, int64_t *scores, size_t len) {
    const struct live_list *list = cycle->score_state[PLUGIN_POD_TOPOLOGY_SPREAD];
    int64_t min = INT64_MAX, max = 0;
    for (size_t i = 0; i < len; i++) {
        if (ignores(list, nodes[i])) {
            scores[i] = -1;
            continue;
        }
        min = MIN(min, scores[i]);
        max = MAX(max, scores[i]);
    }
    for (size_t i = 0; i < len; i++) {
        if (scores[i] < 0) scores[i] = 0;
        else scores[i] = max == 0 ? NODE_SCORE_MAX : NODE_SCORE_MAX * (max + min - scores[i]) / max;
    }
}

/* ---- hints ---- */

static bool selected(const struct spread_constraint *c, const struct pod_info *p) {
    return p && string_list_has(&c->selection.namespaces, p->pod->metadata.namespace) && selector_matches(&c->selection.selector, &p->pod->metadata.labels);
}

static bool has_keys(const struct pod_info *pod, const struct corev1_Node *n) {
    if (!n) return false;
    LIST_FOREACH(c, &pod->spread)
        if (c->hard && !string_map_has(&n->metadata.labels, c->topology_key)) return false;
    return true;
}

static bool node_helps(const struct pod_info *pod, const struct cluster_event *e) {
    bool was = has_keys(pod, e->old_node), is = has_keys(pod, e->new_node);
    if (!e->old_node || !e->new_node) return was || is;
    if (was != is) return true;
    if (!is) return false;
    LIST_FOREACH(c, &pod->spread)
        if (c->hard && !str_eq(string_map_get(&e->old_node->metadata.labels, c->topology_key), string_map_get(&e->new_node->metadata.labels, c->topology_key))) return true;
    return e->actions & ACTION_NODE_TAINT;
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    if (!pod->spread.len || e->resource == EVENT_TARGET_POD) return true;
    if (e->resource == EVENT_NODE) return node_helps(pod, e);
    LIST_FOREACH(c, &pod->spread)
        if (c->hard && selected(c, e->old_pod) != selected(c, e->new_pod)) return true;
    return false;
}

const struct plugin plugin_pod_topology_spread = {.name = "PodTopologySpread", .id = PLUGIN_POD_TOPOLOGY_SPREAD, .weight = 2, .pre_filter = pre_filter,
    .filter = filter, .count_pod = count_pod, .pre_score = pre_score, .score = score, .normalize = normalize, .hint = hint,
    .events = {[EVENT_ASSIGNED_POD] = ACTION_ADD | ACTION_DELETE | ACTION_POD_LABEL, [EVENT_TARGET_POD] = ACTION_POD_LABEL,
               [EVENT_NODE] = ACTION_ADD | ACTION_DELETE | ACTION_NODE_LABEL | ACTION_NODE_TAINT}};
