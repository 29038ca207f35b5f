/* InterPodAffinity: a Pod's required and preferred terms, and those of the Pods that are there already. All counts come from the topology index, so that a
 * node is judged by a few reads, however many Pods there are. Upstream: plugins/interpodaffinity. */
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

struct affinity_state {
    struct counter **affinity, **anti; /* one for each of the Pod's terms */
    size_t affinity_len, anti_len;
    struct holding **existing;         /* anti-affinity of others that means this Pod */
    size_t existing_len;
    bool means_itself;                 /* all its affinity terms mean the Pod itself */
};

/* The counter of a term by itself, looked up once an epoch. */
static struct counter *term_counter(struct topology_index *x, struct pod_term *t) {
    if (t->epoch == index_epoch(x) && t->counter) return t->counter;
    if (t->epoch != index_epoch(x)) t->holding = NULL;
    t->epoch = index_epoch(x);
    return t->counter = index_counter(x, &t->selection, 1, t->topology_key, false);
}

/* Affinity terms count only Pods that all of them mean. */
static struct counter *affinity_counter(struct topology_index *x, struct pod_info *p, struct pod_term *t) {
    if (p->affinity.len == 1) return term_counter(x, t);
    return index_counter(x, p->affinity.items, p->affinity.len, t->topology_key, false);
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    struct topology_index *x = cache_index(cycle->cache);
    struct pod_info *p = cycle->pod;
    struct affinity_state *s = ARENA_NEW(cycle->arena, struct affinity_state);
    s->affinity = arena_calloc(cycle->arena, p->terms[TERM_AFFINITY].len, sizeof(*s->affinity));
    s->anti = arena_calloc(cycle->arena, p->terms[TERM_ANTI_AFFINITY].len, sizeof(*s->anti));
    LIST_FOREACH(t, &p->terms[TERM_AFFINITY]) s->affinity[s->affinity_len++] = affinity_counter(x, p, t);
    LIST_FOREACH(t, &p->terms[TERM_ANTI_AFFINITY]) s->anti[s->anti_len++] = term_counter(x, t);
    const struct pod_class *c = index_class(x, p);
    s->means_itself = true;
    LIST_FOREACH(a, &p->affinity) s->means_itself &= selection_means(x, a, c);
    size_t anti = 0;
    for (size_t i = 0; i < c->holdings_len; i++) anti += c->holdings[i]->kind == TERM_ANTI_AFFINITY;
    s->existing = arena_calloc(cycle->arena, anti, sizeof(*s->existing));
    for (size_t i = 0; i < c->holdings_len; i++)
        if (c->holdings[i]->kind == TERM_ANTI_AFFINITY) s->existing[s->existing_len++] = c->holdings[i];
    cycle->state[PLUGIN_INTER_POD_AFFINITY] = s;
    bool held = false; /* a dry run adds no holdings that were not there, but for nominated Pods: those bring their own */
    for (size_t i = 0; i < s->existing_len; i++) held |= s->existing[i]->total > 0;
    return s->affinity_len || s->anti_len || held ? CODE_SUCCESS : CODE_SKIP;
}

static bool affinity_satisfied(const struct affinity_state *s, const struct node_info *node) {
    bool all = true, none_anywhere = true;
    for (size_t i = 0; i < s->affinity_len; i++) {
        int32_t v = topology_value(s->affinity[i]->key, node);
        if (v < 0) return false; /* every key must be there */
        all &= counter_of(s->affinity[i], v) > 0;
        none_anywhere &= s->affinity[i]->total == 0;
    }
    /* The first of a group that has affinity to itself. */
    return all || (none_anywhere && s->means_itself);
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct affinity_state *s = cycle->state[PLUGIN_INTER_POD_AFFINITY];
    if (s->affinity_len && !affinity_satisfied(s, node)) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match pod affinity rules");
    for (size_t i = 0; i < s->anti_len; i++)
        if (counter_of(s->anti[i], topology_value(s->anti[i]->key, node)) > 0)
            return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) didn't match pod anti-affinity rules");
    for (size_t i = 0; i < s->existing_len; i++)
        if (holding_of(s->existing[i], topology_value(s->existing[i]->key, node)) > 0)
            return reasons_add(why, CODE_UNSCHEDULABLE, "node(s) didn't satisfy existing pods anti-affinity rules");
    return CODE_SUCCESS;
}

/* ---- scores ---- */

/* weight for each Pod counted in the node's domain */
struct part { const struct counter *counter; const struct holding *holding; int64_t weight; };
struct part_list { struct part *items; size_t len; };

static void parts_of_own(struct cycle *cycle, struct part_list *parts, enum term_kind kind, int sign) {
    LIST_FOREACH(t, &cycle->pod->terms[kind]) {
        struct counter *c = term_counter(cache_index(cycle->cache), t);
        if (c->total) *LIST_PUSH(cycle->arena, parts) = (struct part){.counter = c, .weight = sign * (int64_t)t->weight};
    }
}

static void parts_of_others(struct cycle *cycle, struct part_list *parts) {
    const struct inter_pod_affinity_args *args = cycle->use->args;
    const struct pod_class *c = index_class(cache_index(cycle->cache), cycle->pod);
    for (size_t i = 0; i < c->holdings_len; i++) {
        const struct holding *h = c->holdings[i];
        int64_t weight = h->kind == TERM_AFFINITY ? args->hard_pod_affinity_weight
                       : h->kind == TERM_PREFERRED_AFFINITY ? h->weight
                       : h->kind == TERM_PREFERRED_ANTI_AFFINITY ? -(int64_t)h->weight : 0;
        if (weight && h->total) *LIST_PUSH(cycle->arena, parts) = (struct part){.holding = h, .weight = weight};
    }
}

static enum code pre_score(struct cycle *cycle, struct node_info *const *nodes, size_t len) {
    (void)nodes, (void)len;
    const struct inter_pod_affinity_args *args = cycle->use->args;
    bool own = cycle->pod->terms[TERM_PREFERRED_AFFINITY].len || cycle->pod->terms[TERM_PREFERRED_ANTI_AFFINITY].len;
    if (args->ignore_preferred_terms_of_existing_pods && !own) return CODE_SKIP;
    struct part_list *parts = ARENA_NEW(cycle->arena, struct part_list);
    parts_of_own(cycle, parts, TERM_PREFERRED_AFFINITY, 1);
    parts_of_own(cycle, parts, TERM_PREFERRED_ANTI_AFFINITY, -1);
    parts_of_others(cycle, parts);
    cycle->score_state[PLUGIN_INTER_POD_AFFINITY] = parts;
    return parts->len ? CODE_SUCCESS : CODE_SKIP;
}

static int64_t score(struct cycle *cycle, struct node_info *node) {
    const struct part_list *parts = cycle->score_state[PLUGIN_INTER_POD_AFFINITY];
    int64_t sum = 0;
    LIST_FOREACH(p, parts)
        sum += p->weight * (p->counter ? counter_of(p->counter, topology_value(p->counter->key, node)) : holding_of(p->holding, topology_value(p->holding->key, node)));
    return sum;
}

static void normalize(struct cycle *cycle, struct node_info *const *nodes, int64_t *scores, size_t len) {
    (void)cycle, (void)nodes;
    int64_t min = INT64_MAX, max = INT64_MIN;
    for (size_t i = 0; i < len; i++) {
        min = MIN(min, scores[i]);
        max = MAX(max, scores[i]);
    }
    for (size_t i = 0; i < len; i++) scores[i] = max > min ? (int64_t)(NODE_SCORE_MAX * ((double)(scores[i] - min) / (double)(max - min))) : 0;
}

/* ---- hints ---- */

static bool term_means(struct scheduler_cache *cache, const struct pod_term *t, struct pod_info *p) {
    return p && selection_means(cache_index(cache), &t->selection, index_class(cache_index(cache), p));
}

static bool affinity_means(struct scheduler_cache *cache, const struct pod_info *of, struct pod_info *p) {
    if (!p || !of->affinity.len) return false;
    LIST_FOREACH(a, &of->affinity)
        if (!selection_means(cache_index(cache), a, index_class(cache_index(cache), p))) return false;
    return true;
}

static bool anti_affinity_means(struct scheduler_cache *cache, const struct pod_info *of, struct pod_info *p) {
    if (p)
        LIST_FOREACH(t, &of->terms[TERM_ANTI_AFFINITY])
            if (term_means(cache, t, p)) return true;
    return false;
}

static bool has_label(const struct corev1_Node *n, const char *key) { return n && string_map_has(&n->metadata.labels, key); }

/* A node helps if it brings a domain that the Pod asks for. */
static bool node_helps(const struct pod_info *pod, const struct cluster_event *e) {
    bool all = true;
    LIST_FOREACH(t, &pod->terms[TERM_AFFINITY]) all &= has_label(e->new_node, t->topology_key);
    if (!all) return false;
    if (!e->old_node) return true;
    LIST_FOREACH(t, &pod->terms[TERM_AFFINITY])
        if (!str_eq(string_map_get(&e->old_node->metadata.labels, t->topology_key), string_map_get(&e->new_node->metadata.labels, t->topology_key))) return true;
    LIST_FOREACH(t, &pod->terms[TERM_ANTI_AFFINITY])
        if (!str_eq(string_map_get(&e->old_node->metadata.labels, t->topology_key), string_map_get(&e->new_node->metadata.labels, t->topology_key))) return true;
    return !pod->terms[TERM_AFFINITY].len && !pod->terms[TERM_ANTI_AFFINITY].len; /* it is others' terms that keep it away */
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)args;
    if (e->resource == EVENT_TARGET_POD) return true;
    if (e->resource == EVENT_NODE) return node_helps(pod, e);
    if (affinity_means(cache, pod, e->new_pod) && !affinity_means(cache, pod, e->old_pod)) return true;
    if (anti_affinity_means(cache, pod, e->old_pod) && !anti_affinity_means(cache, pod, e->new_pod)) return true;
    return e->old_pod && !e->new_pod && anti_affinity_means(cache, e->old_pod, pod); /* one whose terms kept it away is gone */
}

const struct plugin plugin_inter_pod_affinity = {.name = "InterPodAffinity", .id = PLUGIN_INTER_POD_AFFINITY, .weight = 2, .pre_filter = pre_filter, .filter = filter,
    .pre_score = pre_score, .score = score, .normalize = normalize, .hint = hint,
    .events = {[EVENT_ASSIGNED_POD] = ACTION_ADD | ACTION_DELETE | ACTION_POD_LABEL, [EVENT_NODE] = ACTION_ADD | ACTION_NODE_LABEL, [EVENT_TARGET_POD] = ACTION_POD_LABEL}};
