#include "api/validation/pod_scheduling.h"
#include <string.h>
#include "api/names.h"
#include "api/validation/meta.h"
#include "base/str.h"

static void label_name(const char *key, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    name_qualified(errs->arena, str_or(key, ""), &msgs);
    field_invalid_each(errs, at, key, &msgs);
}

static void expression(const struct corev1_NodeSelectorRequirement *r, const struct field_path *at, bool strict, struct field_errors *errs) {
    const char *op = str_or(r->operator, "");
    if (str_eq(op, "In") || str_eq(op, "NotIn")) {
        if (!r->values.len) field_required(errs, FIELD(at, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_eq(op, "Exists") || str_eq(op, "DoesNotExist")) {
        if (r->values.len) field_forbidden(errs, FIELD(at, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (str_eq(op, "Gt") || str_eq(op, "Lt")) {
        if (r->values.len != 1) field_required(errs, FIELD(at, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else field_invalid(errs, FIELD(at, "operator"), op, "not a valid selector operator");
    label_name(r->key, FIELD(at, "key"), errs);
    for (size_t i = 0; strict && i < r->values.len; i++) {
        struct string_list msgs = {0};
        name_label_value(errs->arena, r->values.items[i], &msgs);
        field_invalid_each(errs, FIELD_INDEX(FIELD(at, "values"), i), r->values.items[i], &msgs);
    }
}

static void field_expression(const struct corev1_NodeSelectorRequirement *r, const struct field_path *at, struct field_errors *errs) {
    if (str_eq(r->operator, "In") || str_eq(r->operator, "NotIn")) {
        if (r->values.len != 1) field_required(errs, FIELD(at, "values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
    } else field_invalid(errs, FIELD(at, "operator"), r->operator, "not a valid selector operator");
    if (!str_eq(r->key, "metadata.name")) {
        field_invalid(errs, FIELD(at, "key"), r->key, "not a valid field selector key");
        return;
    }
    for (size_t i = 0; i < r->values.len; i++) {
        struct string_list msgs = {0};
        name_dns1123_subdomain(errs->arena, r->values.items[i], &msgs);
        field_invalid_each(errs, FIELD_INDEX(FIELD(at, "values"), i), r->values.items[i], &msgs);
    }
}

/* Values that are no labels are let be where they are only preferred. */
static void term(const struct corev1_NodeSelectorTerm *t, bool strict, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < t->matchExpressions.len; i++) expression(&t->matchExpressions.items[i], FIELD_INDEX(FIELD(at, "matchExpressions"), i), strict, errs);
    for (size_t i = 0; i < t->matchFields.len; i++) field_expression(&t->matchFields.items[i], FIELD_INDEX(FIELD(at, "matchFields"), i), errs);
}

void validate_node_selector(const struct corev1_NodeSelector *s, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *terms = FIELD(at, "nodeSelectorTerms");
    if (!s->nodeSelectorTerms.len) field_required(errs, terms, "must have at least one node selector term");
    for (size_t i = 0; i < s->nodeSelectorTerms.len; i++) term(&s->nodeSelectorTerms.items[i], true, FIELD_INDEX(terms, i), errs);
}

static void weight(int32_t w, const struct field_path *at, struct field_errors *errs) {
    if (w < 1 || w > 100) field_invalid_int(errs, FIELD(at, "weight"), w, "must be in the range 1-100");
}

/* Upstream merges the keys into the selector when it makes the Pod: one that the selector already had is now there twice. */
static void label_keys_in_selector(const struct string_list *match, const struct metav1_LabelSelector *ls, const struct field_path *at, struct field_errors *errs) {
    for (size_t e = 0; e < ls->matchExpressions.len; e++) {
        const char *key = str_or(ls->matchExpressions.items[e].key, "");
        bool before = string_map_has(&ls->matchLabels, key);
        size_t found = match->len;
        for (size_t k = 0; k < e; k++) before |= str_eq(ls->matchExpressions.items[k].key, key);
        for (size_t i = 0; i < match->len; i++)
            if (str_eq(match->items[i], key)) found = i;
        if (before && found < match->len) field_invalid(errs, FIELD_INDEX(at, found), key, "exists in both matchLabelKeys and labelSelector");
    }
}

static void label_keys(const struct string_list *match, const struct string_list *mismatch, const struct metav1_LabelSelector *ls, const struct field_path *at, struct field_errors *errs) {
    const struct string_list *const lists[] = {match, mismatch};
    static const char *const names[] = {"matchLabelKeys", "mismatchLabelKeys"};
    for (size_t k = 0; k < 2; k++) {
        if (!lists[k] || !lists[k]->len) continue;
        if (!ls) field_forbidden(errs, FIELD(at, names[k]), "must not be specified when labelSelector is not set");
        for (size_t i = 0; ls && i < lists[k]->len; i++) label_name(lists[k]->items[i], FIELD_INDEX(FIELD(at, names[k]), i), errs);
    }
    if (match && ls) label_keys_in_selector(match, ls, at, errs);
    for (size_t i = 0; match && mismatch && i < match->len; i++)
        if (string_list_has(mismatch, match->items[i])) field_invalid(errs, FIELD_INDEX(FIELD(at, "matchLabelKeys"), i), match->items[i], "exists in both matchLabelKeys and mismatchLabelKeys");
}

static void pod_term(const struct corev1_PodAffinityTerm *t, const struct field_path *at, struct field_errors *errs) {
    validate_label_selector(t->labelSelector, FIELD(at, "labelSelector"), errs);
    validate_label_selector(t->namespaceSelector, FIELD(at, "namespaceSelector"), errs);
    for (size_t i = 0; i < t->namespaces.len; i++) {
        struct string_list msgs = {0};
        name_dns1123_label(errs->arena, t->namespaces.items[i], &msgs);
        field_invalid_each(errs, FIELD(at, "namespace"), t->namespaces.items[i], &msgs);
    }
    label_keys(&t->matchLabelKeys, &t->mismatchLabelKeys, t->labelSelector, at, errs);
    if (str_empty(t->topologyKey)) field_required(errs, FIELD(at, "topologyKey"), "can not be empty");
    label_name(t->topologyKey, FIELD(at, "topologyKey"), errs);
}

static void pod_terms(const struct corev1_PodAffinityTerm_list *required, const struct corev1_WeightedPodAffinityTerm_list *preferred, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < required->len; i++) pod_term(&required->items[i], FIELD_INDEX(FIELD(at, "requiredDuringSchedulingIgnoredDuringExecution"), i), errs);
    for (size_t i = 0; i < preferred->len; i++) {
        const struct field_path *p = FIELD_INDEX(FIELD(at, "preferredDuringSchedulingIgnoredDuringExecution"), i);
        weight(preferred->items[i].weight, p, errs);
        pod_term(&preferred->items[i].podAffinityTerm, FIELD(p, "podAffinityTerm"), errs);
    }
}

void validate_affinity(const struct corev1_Affinity *a, const struct field_path *at, struct field_errors *errs) {
    if (!a) return;
    if (a->nodeAffinity) {
        const struct field_path *p = FIELD(at, "nodeAffinity");
        if (a->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution)
            validate_node_selector(a->nodeAffinity->requiredDuringSchedulingIgnoredDuringExecution, FIELD(p, "requiredDuringSchedulingIgnoredDuringExecution"), errs);
        for (size_t i = 0; i < a->nodeAffinity->preferredDuringSchedulingIgnoredDuringExecution.len; i++) {
            const struct corev1_PreferredSchedulingTerm *t = &a->nodeAffinity->preferredDuringSchedulingIgnoredDuringExecution.items[i];
            const struct field_path *q = FIELD_INDEX(FIELD(p, "preferredDuringSchedulingIgnoredDuringExecution"), i);
            weight(t->weight, q, errs);
            term(&t->preference, false, FIELD(q, "preference"), errs);
        }
    }
    if (a->podAffinity) pod_terms(&a->podAffinity->requiredDuringSchedulingIgnoredDuringExecution, &a->podAffinity->preferredDuringSchedulingIgnoredDuringExecution, FIELD(at, "podAffinity"), errs);
    if (a->podAntiAffinity) pod_terms(&a->podAntiAffinity->requiredDuringSchedulingIgnoredDuringExecution, &a->podAntiAffinity->preferredDuringSchedulingIgnoredDuringExecution, FIELD(at, "podAntiAffinity"), errs);
}

void validate_topology_spread(const struct corev1_TopologySpreadConstraint_list *list, const struct field_path *at, struct field_errors *errs) {
    static const char *const when[] = {"DoNotSchedule", "ScheduleAnyway", NULL}, *const inclusion[] = {"Honor", "Ignore", NULL};
    for (size_t i = 0; i < list->len; i++) {
        const struct corev1_TopologySpreadConstraint *c = &list->items[i];
        const struct field_path *p = FIELD_INDEX(at, i);
        if (c->maxSkew <= 0) field_invalid_int(errs, FIELD(p, "maxSkew"), c->maxSkew, "must be greater than zero");
        if (str_empty(c->topologyKey)) field_required(errs, FIELD(p, "topologyKey"), "can not be empty");
        if (!str_in(c->whenUnsatisfiable, when)) field_not_supported(errs, FIELD(p, "whenUnsatisfiable"), c->whenUnsatisfiable, when);
        for (size_t j = i + 1; j < list->len; j++)
            if (str_eq(list->items[j].topologyKey, c->topologyKey) && str_eq(list->items[j].whenUnsatisfiable, c->whenUnsatisfiable)) {
                field_duplicate(errs, FIELD(p, "{topologyKey, whenUnsatisfiable}"), arena_printf(errs->arena, "{%s, %s}", str_or(c->topologyKey, ""), str_or(c->whenUnsatisfiable, "")));
                break;
            }
        if (c->minDomains.has) {
            if (c->minDomains.value <= 0) field_invalid_int(errs, FIELD(p, "minDomains"), c->minDomains.value, "must be greater than zero");
            if (!str_eq(c->whenUnsatisfiable, "DoNotSchedule"))
                field_invalid_int(errs, FIELD(p, "minDomains"), c->minDomains.value, "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %s", str_or(c->whenUnsatisfiable, ""));
        }
        if (c->nodeAffinityPolicy && !str_in(c->nodeAffinityPolicy, inclusion)) field_not_supported(errs, FIELD(p, "nodeAffinityPolicy"), c->nodeAffinityPolicy, inclusion);
        if (c->nodeTaintsPolicy && !str_in(c->nodeTaintsPolicy, inclusion)) field_not_supported(errs, FIELD(p, "nodeTaintsPolicy"), c->nodeTaintsPolicy, inclusion);
        label_keys(&c->matchLabelKeys, NULL, c->labelSelector, p, errs);
        validate_label_selector(c->labelSelector, FIELD(p, "labelSelector"), errs);
    }
}

void validate_gates(const struct corev1_PodSpec *s, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < s->readinessGates.len; i++) label_name(s->readinessGates.items[i].conditionType, FIELD(FIELD_INDEX(FIELD(at, "readinessGates"), i), "conditionType"), errs);
    for (size_t i = 0; i < s->schedulingGates.len; i++) {
        const char *name = str_or(s->schedulingGates.items[i].name, "");
        bool duplicate = false;
        for (size_t j = 0; j < i; j++) duplicate |= str_eq(s->schedulingGates.items[j].name, name);
        label_name(name, FIELD_INDEX(FIELD(at, "schedulingGates"), i), errs);
        if (duplicate) field_duplicate(errs, FIELD_INDEX(FIELD(at, "schedulingGates"), i), name);
    }
}

static bool has_gate(const struct corev1_PodSpec *s, const char *name) {
    LIST_FOREACH(g, &s->schedulingGates)
        if (str_eq(g->name, name)) return true;
    return false;
}

static bool grew(const struct corev1_NodeSelectorRequirement_list *now, const struct corev1_NodeSelectorRequirement_list *old) {
    if (now->len < old->len) return false;
    for (size_t i = 0; i < old->len; i++)
        if (!object_equal(&corev1_NodeSelectorRequirement_desc, &now->items[i], &old->items[i])) return false;
    return true;
}

static bool only_additions(const struct corev1_NodeSelectorTerm *now, const struct corev1_NodeSelectorTerm *old) {
    if (!old->matchExpressions.len && !old->matchFields.len && (now->matchExpressions.len || now->matchFields.len)) return false;
    return grew(&now->matchExpressions, &old->matchExpressions) && grew(&now->matchFields, &old->matchFields);
}

static const char *terms_text(struct arena *a, const struct corev1_NodeSelectorTerm_list *list) {
    const char *text = "[";
    if (!list->items) return "null";
    for (size_t i = 0; i < list->len; i++) text = arena_printf(a, "%s%s%s", text, i ? "," : "", object_json_text(a, &corev1_NodeSelectorTerm_desc, &list->items[i]));
    return arena_printf(a, "%s]", text);
}

static void node_affinity_mutation(const struct corev1_NodeAffinity *now, const struct corev1_NodeAffinity *old, const struct field_path *at, struct field_errors *errs) {
    const struct field_path *terms = FIELD(FIELD(at, "requiredDuringSchedulingIgnoredDuringExecution"), "nodeSelectorTerms");
    struct corev1_NodeSelector empty = {0}, *before = old ? old->requiredDuringSchedulingIgnoredDuringExecution : NULL, *after = now ? now->requiredDuringSchedulingIgnoredDuringExecution : NULL;
    if (!before || !before->nodeSelectorTerms.len) return;
    if (!after) after = &empty;
    if (after->nodeSelectorTerms.len != before->nodeSelectorTerms.len) {
        field_invalid_raw(errs, terms, terms_text(errs->arena, &after->nodeSelectorTerms), "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        return;
    }
    for (size_t i = 0; i < before->nodeSelectorTerms.len; i++)
        if (!only_additions(&after->nodeSelectorTerms.items[i], &before->nodeSelectorTerms.items[i]))
            field_invalid_raw(errs, FIELD_INDEX(terms, i), object_json_text(errs->arena, &corev1_NodeSelectorTerm_desc, &after->nodeSelectorTerms.items[i]), "only additions are allowed (no mutations or deletions)");
}

/* Node affinity as it was before, in what is otherwise the new affinity. */
static void restore_node_affinity(struct corev1_PodSpec *a, const struct corev1_PodSpec *old, struct arena *arena) {
    struct corev1_NodeAffinity *before = old->affinity ? old->affinity->nodeAffinity : NULL;
    struct corev1_NodeAffinity *now = a->affinity ? a->affinity->nodeAffinity : NULL;
    if ((!now && !before) || (now && before && object_equal(&corev1_NodeAffinity_desc, now, before))) return;
    if (!a->affinity) a->affinity = ARENA_NEW(arena, struct corev1_Affinity);
    a->affinity->nodeAffinity = before;
    if (!old->affinity && !a->affinity->podAffinity && !a->affinity->podAntiAffinity) a->affinity = NULL;
}

void validate_gated_update(const struct corev1_Pod *pod, const struct corev1_Pod *old, struct corev1_PodSpec *a, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < pod->spec.schedulingGates.len; i++)
        if (!has_gate(&old->spec, pod->spec.schedulingGates.items[i].name))
            field_forbidden(errs, FIELD(FIELD_INDEX(FIELD(at, "schedulingGates"), i), "name"), "only deletion is allowed, but found new scheduling gate '%s'", pod->spec.schedulingGates.items[i].name);
    a->schedulingGates = old->spec.schedulingGates;
    if (!old->spec.schedulingGates.len) return;
    LIST_FOREACH(e, &old->spec.nodeSelector)
        if (!string_map_has(&pod->spec.nodeSelector, e->key) || !str_eq(string_map_get(&pod->spec.nodeSelector, e->key), e->value)) {
            field_invalid_raw(errs, FIELD(at, "nodeSelector"), string_map_json_text(errs->arena, &pod->spec.nodeSelector), "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
            break;
        }
    a->nodeSelector = old->spec.nodeSelector;
    node_affinity_mutation(pod->spec.affinity ? pod->spec.affinity->nodeAffinity : NULL, old->spec.affinity ? old->spec.affinity->nodeAffinity : NULL, FIELD(FIELD(at, "affinity"), "nodeAffinity"), errs);
    restore_node_affinity(a, &old->spec, errs->arena);
}
