/* Whether a Pod may be on a Node: see node_match.h. */
#include "api/node_match.h"
#include "base/str.h"

bool node_match_toleration(const struct corev1_Toleration *t, const struct corev1_Taint *taint) {
    if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect)) return false;
    if (!str_empty(t->key) && !str_eq(t->key, taint->key)) return false;
    if (str_eq(t->operator, "Exists")) return true;
    int64_t have, want;
    bool numbers = str_to_i64(str_or(taint->value, ""), &have) && str_to_i64(str_or(t->value, ""), &want);
    if (str_eq(t->operator, "Lt")) return numbers && have < want;
    if (str_eq(t->operator, "Gt")) return numbers && have > want;
    return (str_empty(t->operator) || str_eq(t->operator, "Equal")) && str_eq(t->value, taint->value);
}

bool node_match_tolerates(const struct corev1_Toleration_list *tolerations, const struct corev1_Taint *taint) {
    LIST_FOREACH(t, tolerations)
        if (node_match_toleration(t, taint)) return true;
    return false;
}

const struct corev1_Taint *node_match_untolerated(const struct corev1_Node *node, const struct corev1_Toleration_list *tolerations, const char *effect) {
    LIST_FOREACH(t, &node->spec.taints)
        if (str_eq(t->effect, effect) && !node_match_tolerates(tolerations, t)) return t;
    return NULL;
}

static bool requirement_matches(const struct corev1_NodeSelectorRequirement *r, bool has, const char *value) {
    if (str_eq(r->operator, "In")) return has && string_list_has(&r->values, str_or(value, ""));
    if (str_eq(r->operator, "NotIn")) return !has || !string_list_has(&r->values, str_or(value, ""));
    if (str_eq(r->operator, "Exists")) return has;
    if (str_eq(r->operator, "DoesNotExist")) return !has;
    int64_t have, want;
    if (!has || r->values.len != 1 || !str_to_i64(value, &have) || !str_to_i64(r->values.items[0], &want)) return false;
    return str_eq(r->operator, "Gt") ? have > want : str_eq(r->operator, "Lt") && have < want;
}

bool node_match_term(const struct corev1_NodeSelectorTerm *t, const struct corev1_Node *node) {
    if (!t->matchExpressions.len && !t->matchFields.len) return false;
    LIST_FOREACH(r, &t->matchExpressions)
        if (!requirement_matches(r, string_map_has(&node->metadata.labels, r->key), string_map_get(&node->metadata.labels, r->key))) return false;
    LIST_FOREACH(r, &t->matchFields)
        if (!str_eq(r->key, "metadata.name") || !requirement_matches(r, true, node->metadata.name)) return false;
    return true;
}

bool node_match_selector(const struct corev1_NodeSelector *s, const struct corev1_Node *node) {
    LIST_FOREACH(t, &s->nodeSelectorTerms)
        if (node_match_term(t, node)) return true;
    return false;
}

bool node_match_affinity(const struct corev1_PodSpec *spec, const struct corev1_Node *node) {
    LIST_FOREACH(e, &spec->nodeSelector)
        if (!string_map_has(&node->metadata.labels, e->key) || !str_eq(string_map_get(&node->metadata.labels, e->key), e->value)) return false;
    const struct corev1_NodeAffinity *a = spec->affinity ? spec->affinity->nodeAffinity : NULL;
    return !a || !a->requiredDuringSchedulingIgnoredDuringExecution || node_match_selector(a->requiredDuringSchedulingIgnoredDuringExecution, node);
}
