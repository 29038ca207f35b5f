/* NodeAffinity: nodeSelector and node affinity; preferred terms score by their weight. Upstream: plugins/nodeaffinity and component-helpers. */
#include "base/str.h"
#include "scheduler/framework.h"

static bool requirement_matches(const struct corev1_NodeSelectorRequirement *r, bool has, const char *value) {
    if (str_eq(r->operator, "In")) return has && string_list_has(&r->values, str_or(value, ""));
    if (str_eq(r->operator, "NotIn")) return !has || !string_list_has(&r->values, str_or(value, ""));
    if (str_eq(r->operator, "Exists")) return has;
    if (str_eq(r->operator, "DoesNotExist")) return !has;
    int64_t have, want;
    if (!has || r->values.len != 1 || !str_to_i64(value, &have) || !str_to_i64(r->values.items[0], &want)) return false;
    return str_eq(r->operator, "Gt") ? have > want : str_eq(r->operator, "Lt") && have < want;
}

/* All of a term must hold; an empty term matches nothing. */
static bool term_matches(const struct corev1_NodeSelectorTerm *t, const struct corev1_Node *node) {
    if (!t->matchExpressions.len && !t->matchFields.len) return false;
    LIST_FOREACH(r, &t->matchExpressions)
        if (!requirement_matches(r, string_map_has(&node->metadata.labels, r->key), string_map_get(&node->metadata.labels, r->key))) return false;
    LIST_FOREACH(r, &t->matchFields)
        if (!str_eq(r->key, "metadata.name") || !requirement_matches(r, true, node->metadata.name)) return false;
    return true;
}

bool node_affinity_required_matches(const struct corev1_PodSpec *spec, const struct corev1_Node *node) {
    for (size_t i = 0; i < spec->nodeSelector.len; i++) {
        const char *key = spec->nodeSelector.items[i].key;
        if (!string_map_has(&node->metadata.labels, key) || !str_eq(string_map_get(&node->metadata.labels, key), spec->nodeSelector.items[i].value)) return false;
    }
    if (!spec->affinity || !spec->affinity->nodeAffinity || !spec->affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution) return true;
    LIST_FOREACH(t, &spec->affinity->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution->nodeSelectorTerms)
        if (term_matches(t, node)) return true;
    return false;
}

static const struct corev1_NodeAffinity *affinity_of(const struct cycle *cycle) {
    const struct corev1_Affinity *a = cycle->pod->pod->spec.affinity;
    return a ? a->nodeAffinity : NULL;
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    const struct corev1_NodeAffinity *a = affinity_of(cycle);
    bool asks = cycle->pod->pod->spec.nodeSelector.len || (a && a->requiredDuringSchedulingIgnoredDuringExecution);
    return asks ? CODE_SUCCESS : CODE_SKIP;
}

static enum code filter(struct cycle *cycle, const struct node_info *node, struct reasons *why) {
    if (node_affinity_required_matches(&cycle->pod->pod->spec, node->node)) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match Pod's node affinity/selector");
}

static enum code pre_score(struct cycle *cycle, const struct node_info *const *nodes, size_t len) {
    (void)nodes, (void)len;
    const struct corev1_NodeAffinity *a = affinity_of(cycle);
    return a && a->preferredDuringSchedulingIgnoredDuringExecution.len ? CODE_SUCCESS : CODE_SKIP;
}

static int64_t score(struct cycle *cycle, const struct node_info *node) {
    int64_t sum = 0;
    LIST_FOREACH(p, &affinity_of(cycle)->preferredDuringSchedulingIgnoredDuringExecution) {
        bool empty = !p->preference.matchExpressions.len && !p->preference.matchFields.len;
        if (p->weight && !empty && term_matches(&p->preference, node->node)) sum += p->weight;
    }
    return sum;
}

static void normalize(struct cycle *cycle, int64_t *scores, size_t len) {
    (void)cycle;
    scores_normalize(scores, len, false);
}

const struct plugin plugin_node_affinity = {.name = "NodeAffinity", .weight = 2, .pre_filter = pre_filter, .filter = filter, .pre_score = pre_score,
    .score = score, .normalize = normalize};
