/* Priority: a Pod's number and preemption policy by its PriorityClass; one default class at most. Upstream: plugin/pkg/admission/priority. */
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "base/str.h"

struct default_class { struct api_request *r; const struct strategy *st; const struct schedulingv1_PriorityClass *best; };

static bool find_default(void *arg, const struct store_view *v) {
    struct default_class *d = arg;
    const struct schedulingv1_PriorityClass *pc = registry_decode(d->r->arena, d->st, v);
    if (pc && pc->globalDefault && (!d->best || pc->value < d->best->value)) d->best = pc;
    return true;
}

static int default_class(struct api_request *r, const struct schedulingv1_PriorityClass **ret, struct status *reterr) {
    struct default_class d = {r, strategy_find("scheduling.k8s.io", "priorityclasses"), NULL};
    struct store_txn *t;
    if (store_read_begin(apiserver_store(r->server), &t, reterr) != 0) return -1;
    store_range(t, storage_key(r->arena, d.st, NULL, NULL), NULL, find_default, &d);
    store_read_end(t);
    *ret = d.best;
    return 0;
}

static void keep_priority(struct corev1_Pod *pod, const struct corev1_Pod *old) {
    if (!pod->spec.priority.has) pod->spec.priority = old->spec.priority;
    if (!pod->spec.preemptionPolicy) pod->spec.preemptionPolicy = old->spec.preemptionPolicy;
}

static int set_priority(struct admission_attributes *a, struct corev1_Pod *pod, struct status *reterr) {
    const struct schedulingv1_PriorityClass *pc = NULL;
    void *found;
    if (!str_empty(pod->spec.priorityClassName)) {
        int there = registry_find(a->r, strategy_find("scheduling.k8s.io", "priorityclasses"), NULL, pod->spec.priorityClassName, &found, reterr);
        if (there < 0) return -1;
        if (!there)
            return ADMISSION_FORBID(a, reterr, "no PriorityClass with name %s was found", pod->spec.priorityClassName);
        pc = found;
    } else {
        if (default_class(a->r, &pc, reterr) != 0) return -1;
        if (pc) pod->spec.priorityClassName = pc->metadata.name;
    }
    int32_t value = pc ? pc->value : 0;
    const char *policy = pc && pc->preemptionPolicy ? pc->preemptionPolicy : "PreemptLowerPriority";
    if (pod->spec.priority.has && pod->spec.priority.value != value)
        return ADMISSION_FORBID(a, reterr, "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", pod->spec.priority.value, value);
    pod->spec.priority = (struct opt_int32)OPT(value);
    if (pod->spec.preemptionPolicy && !str_eq(pod->spec.preemptionPolicy, policy))
        return ADMISSION_FORBID(a, reterr, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", pod->spec.preemptionPolicy,
                                policy);
    pod->spec.preemptionPolicy = policy;
    return 0;
}

int priority_mutate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    if (a->st->type != &corev1_Pod_desc || a->o->subresource || a->op == ADMIT_DELETE) return 0;
    if (a->op == ADMIT_CREATE) return set_priority(a, a->obj, reterr);
    keep_priority(a->obj, a->old);
    return 0;
}

int priority_validate(struct admission_attributes *a, void *state UNUSED, struct status *reterr) {
    const struct schedulingv1_PriorityClass *pc = a->obj, *other;
    if (a->st->type != &schedulingv1_PriorityClass_desc || a->o->subresource || a->op == ADMIT_DELETE || !pc->globalDefault) return 0;
    if (default_class(a->r, &other, reterr) != 0) return -1;
    if (!other || (a->op == ADMIT_UPDATE && str_eq(other->metadata.name, pc->metadata.name))) return 0;
    return ADMISSION_FORBID(a, reterr, "PriorityClass %s is already marked as default. Only one default can exist", other->metadata.name);
}
