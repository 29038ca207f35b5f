/* RuntimeClass: what a class adds to its Pods. Upstream: plugin/pkg/admission/runtimeclass. */
#include "api/names.h"
#include "api/quantity.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/tolerations.h"
#include "base/str.h"

static bool same_amounts(const struct string_map *a, const struct string_map *b) {
    if (a->len != b->len) return false;
    LIST_FOREACH(e, a)
        if (!string_map_has(b, e->key) || quantity_text_cmp(e->value, string_map_get(b, e->key)) != 0) return false;
    return true;
}

static int set_scheduling(struct admission_attributes *a, struct corev1_Pod *pod, const struct nodev1_Scheduling *s, struct status *reterr) {
    LIST_FOREACH(e, &s->nodeSelector) {
        const char *own = string_map_get(&pod->spec.nodeSelector, e->key);
        if (string_map_has(&pod->spec.nodeSelector, e->key) && !str_eq(own, e->value))
            return ADMISSION_FORBID(a, reterr, "conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", e->key, str_or(e->value, ""), e->key, str_or(own, ""));
        string_map_set(a->r->arena, &pod->spec.nodeSelector, e->key, e->value);
    }
    pod->spec.tolerations = tolerations_merge(a->r->arena, &pod->spec.tolerations, &s->tolerations);
    return 0;
}

/* *ret NULL: the Pod names none. */
static int get_class(struct admission_attributes *a, const struct corev1_Pod *pod, const struct nodev1_RuntimeClass **ret, struct status *reterr) {
    const char *name = pod->spec.runtimeClassName;
    void *found;
    *ret = NULL;
    struct string_list msgs = {0};
    if (!name) return 0;
    if (!*name) return status_set(reterr, 500, NULL, "resource name may not be empty"); /* upstream's client would not ask for it */
    object_name_path_segment(a->r->arena, name, false, &msgs);
    if (msgs.len) return status_set(reterr, 500, NULL, "invalid resource name \"%s\": [%s]", name, msgs.items[0]);
    int there = registry_find(a->r, strategy_find("node.k8s.io", "runtimeclasses"), NULL, name, &found, reterr);
    if (there < 0) return -1;
    if (!there) return ADMISSION_FORBID(a, reterr, "pod rejected: RuntimeClass \"%s\" not found", name);
    *ret = found;
    return 0;
}

#define OVERHEAD_DIFFERS "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"

int runtime_class_mutate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    struct corev1_Pod *pod = a->obj;
    const struct nodev1_RuntimeClass *class;
    if (a->o->subresource) return 0;
    if (get_class(a, pod, &class, reterr) != 0) return -1;
    if (class && class->overhead) {
        if (pod->spec.overhead.len && !same_amounts(&pod->spec.overhead, &class->overhead->podFixed)) return admission_forbid(a, OVERHEAD_DIFFERS, reterr);
        pod->spec.overhead = string_map_copy(a->r->arena, &class->overhead->podFixed);
    }
    return class && class->scheduling ? set_scheduling(a, pod, class->scheduling, reterr) : 0;
}

int runtime_class_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct corev1_Pod *pod = a->obj;
    const struct nodev1_RuntimeClass *class;
    if (a->o->subresource) return 0;
    if (get_class(a, pod, &class, reterr) != 0) return -1;
    if (class && class->overhead) return same_amounts(&pod->spec.overhead, &class->overhead->podFixed) ? 0 : admission_forbid(a, OVERHEAD_DIFFERS, reterr);
    return pod->spec.overhead.items ? admission_forbid(a, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead", reterr) : 0;
}
