/* NodeAffinity: nodeSelector, node affinity and the profile's addedAffinity; preferred terms score by their weight. A Pod that names its nodes
 * (matchFields metadata.name) is tried on these alone. Upstream: plugins/nodeaffinity. */
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

static const struct corev1_NodeAffinity *affinity_of(const struct pod_info *pod) {
    const struct corev1_Affinity *a = pod->pod->spec.affinity;
    return a ? a->nodeAffinity : NULL;
}

static const struct corev1_NodeSelector *added_required(const void *args) {
    const struct node_affinity_args *a = args;
    return a->added ? a->added->requiredDuringSchedulingIgnoredDuringExecution : NULL;
}

/* The nodes that a term names; NULL: it does not name any. */
static const struct string_list *term_names(const struct corev1_NodeSelectorTerm *t) {
    LIST_FOREACH(r, &t->matchFields)
        if (str_eq(r->key, "metadata.name") && str_eq(r->operator, "In")) return &r->values;
    return NULL;
}

/* If every term names nodes, only these need be tried. */
static void restrict_to_names(struct cycle *cycle, const struct corev1_NodeSelector *required) {
    LIST_FOREACH(t, &required->nodeSelectorTerms)
        if (!term_names(t)) return;
    if (!required->nodeSelectorTerms.len) return;
    cycle->restricted = true;
    cycle->only.len = 0;
    LIST_FOREACH(t, &required->nodeSelectorTerms)
        LIST_FOREACH(name, term_names(t)) {
            struct node_info *n = cache_node(cycle->cache, *name);
            bool known = !n;
            for (size_t i = 0; i < cycle->only.len; i++) known |= cycle->only.items[i] == n;
            if (!known) *LIST_PUSH(cycle->arena, &cycle->only) = n;
        }
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    const struct corev1_NodeAffinity *a = affinity_of(cycle->pod);
    bool required = a && a->requiredDuringSchedulingIgnoredDuringExecution;
    if (!added_required(cycle->use->args) && !required && !cycle->pod->pod->spec.nodeSelector.len) return CODE_SKIP;
    if (required) restrict_to_names(cycle, a->requiredDuringSchedulingIgnoredDuringExecution);
    return CODE_SUCCESS;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct corev1_NodeSelector *added = added_required(cycle->use->args);
    if (added && !node_match_selector(added, node->node))
        return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match scheduler-enforced node affinity");
    if (node_match_affinity(&cycle->pod->pod->spec, node->node)) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match Pod's node affinity/selector");
}

static const struct corev1_PreferredSchedulingTerm_list *preferred_of(const struct corev1_NodeAffinity *a) {
    static const struct corev1_PreferredSchedulingTerm_list none = {0};
    return a ? &a->preferredDuringSchedulingIgnoredDuringExecution : &none;
}

static enum code pre_score(struct cycle *cycle, struct node_info *const *nodes, size_t len) {
    (void)nodes, (void)len;
    const struct node_affinity_args *args = cycle->use->args;
    return preferred_of(affinity_of(cycle->pod))->len || preferred_of(args->added)->len ? CODE_SUCCESS : CODE_SKIP;
}

static int64_t preferred_score(const struct corev1_PreferredSchedulingTerm_list *terms, const struct corev1_Node *node) {
    int64_t sum = 0;
    LIST_FOREACH(p, terms)
        if (p->weight && node_match_term(&p->preference, node)) sum += p->weight;
    return sum;
}

static int64_t score(struct cycle *cycle, struct node_info *node) {
    const struct node_affinity_args *args = cycle->use->args;
    return preferred_score(preferred_of(affinity_of(cycle->pod)), node->node) + preferred_score(preferred_of(args->added), node->node);
}

static void normalize(struct cycle *cycle, struct node_info *const *nodes, int64_t *scores, size_t len) {
    (void)cycle, (void)nodes;
    scores_normalize(scores, len, false);
}

static bool takes(const void *args, const struct pod_info *pod, const struct corev1_Node *node) {
    const struct corev1_NodeSelector *added = added_required(args);
    return (!added || node_match_selector(added, node)) && node_match_affinity(&pod->pod->spec, node);
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache;
    return takes(args, pod, e->new_node) && (!e->old_node || !takes(args, pod, e->old_node));
}

const struct plugin plugin_node_affinity = {.name = "NodeAffinity", .id = PLUGIN_NODE_AFFINITY, .weight = 2, .pre_filter = pre_filter, .filter = filter,
    .pre_score = pre_score, .score = score, .normalize = normalize, .hint = hint, .events = {[EVENT_NODE] = ACTION_ADD | ACTION_NODE_LABEL}};
