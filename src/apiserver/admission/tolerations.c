#include "apiserver/admission/tolerations.h"
#include "base/str.h"

static bool equal(const struct corev1_Toleration *x, const struct corev1_Toleration *y) { return object_equal(&corev1_Toleration_desc, x, y); }

/* Whether ss tolerates all that t does. */
static bool is_superset(const struct corev1_Toleration *ss, const struct corev1_Toleration *t) {
    bool exists = str_eq(ss->operator, "Exists");
    if (equal(ss, t)) return true;
    if (!str_eq(t->key, ss->key) && (!str_empty(ss->key) || !exists)) return false;
    if (!str_eq(t->effect, ss->effect) && !str_empty(ss->effect)) return false;
    if (str_eq(ss->effect, "NoExecute") && ss->tolerationSeconds.has && (!t->tolerationSeconds.has || t->tolerationSeconds.value > ss->tolerationSeconds.value)) return false;
    if (exists) return true;
    return (str_empty(ss->operator) || str_eq(ss->operator, "Equal")) && str_eq(t->operator, "Equal") && str_eq(t->value, ss->value);
}

struct corev1_Toleration_list tolerations_merge(struct arena *a, const struct corev1_Toleration_list *first, const struct corev1_Toleration_list *second) {
    struct corev1_Toleration_list all = {0}, merged = {0};
    LIST_FOREACH(t, first) *LIST_PUSH(a, &all) = *t;
    LIST_FOREACH(t, second) *LIST_PUSH(a, &all) = *t;
    for (size_t i = 0; i < all.len; i++) {
        const struct corev1_Toleration *t = &all.items[i];
        bool redundant = false;
        LIST_FOREACH(m, &merged) redundant |= is_superset(m, t);
        for (size_t k = i + 1; k < all.len; k++) redundant |= !equal(t, &all.items[k]) && is_superset(&all.items[k], t); /* of equal ones the first stays */
        if (!redundant) *LIST_PUSH(a, &merged) = *t;
    }
    return merged;
}

bool tolerations_allowed(const struct corev1_Toleration_list *list, const struct corev1_Toleration_list *whitelist) {
    if (!whitelist->len) return true;
    LIST_FOREACH(t, list) {
        bool found = false;
        LIST_FOREACH(w, whitelist) found |= is_superset(w, t);
        if (!found) return false;
    }
    return true;
}

void tolerations_add_or_update(struct arena *a, struct corev1_Toleration_list *list, const struct corev1_Toleration *t) {
    struct corev1_Toleration_list changed = {0};
    bool updated = false;
    LIST_FOREACH(o, list) {
        bool same = str_eq(o->key, t->key) && str_eq(o->effect, t->effect) && str_eq(o->operator, t->operator) && str_eq(o->value, t->value);
        if (same && equal(o, t)) return;
        *LIST_PUSH(a, &changed) = same ? *t : *o;
        updated |= same;
    }
    if (!updated) *LIST_PUSH(a, &changed) = *t;
    *list = changed;
}
