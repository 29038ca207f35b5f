/* What components ask of Pods: see pod_util.h. */
#include "api/pod_util.h"
#include "base/str.h"

const struct corev1_PodCondition *pod_condition(const struct corev1_Pod *p, const char *type) {
    LIST_FOREACH(c, &p->status.conditions)
        if (str_eq(c->type, type)) return c;
    return NULL;
}

bool pod_is_ready(const struct corev1_Pod *p) {
    const struct corev1_PodCondition *c = pod_condition(p, "Ready");
    return c && str_eq(c->status, "True");
}

bool pod_is_terminal(const struct corev1_Pod *p) { return str_eq(p->status.phase, "Succeeded") || str_eq(p->status.phase, "Failed"); }
bool pod_is_active(const struct corev1_Pod *p) { return !pod_is_terminal(p) && !p->metadata.deletionTimestamp.set; }

bool pod_is_available(const struct corev1_Pod *p, int32_t min_ready_seconds, int64_t now_ns, int64_t *ret_wait_ms) {
    if (ret_wait_ms) *ret_wait_ms = 0;
    if (!pod_is_ready(p)) return false;
    if (min_ready_seconds <= 0) return true;
    const struct corev1_PodCondition *c = pod_condition(p, "Ready");
    if (!c->lastTransitionTime.set) return false;
    int64_t until_ms = (c->lastTransitionTime.sec + min_ready_seconds) * 1000 - now_ns / 1000000;
    if (until_ms <= 0) return true;
    if (ret_wait_ms) *ret_wait_ms = until_ms;
    return false;
}

_Static_assert(offsetof(struct corev1_Container, tty) == offsetof(struct corev1_EphemeralContainerCommon, tty), "an ephemeral container begins as a container");

const struct corev1_Container *pod_container_at(const struct corev1_PodSpec *s, size_t n, const char **ret_list, size_t *ret_index) {
    const struct { const char *name; const struct corev1_Container *items; size_t len; } lists[] = {{"initContainers", s->initContainers.items, s->initContainers.len}, {"containers", s->containers.items, s->containers.len}};
    const char *list = "ephemeralContainers";
    const struct corev1_Container *found = NULL;
    for (size_t l = 0; l < ARRAY_LEN(lists) && !found; l++) {
        if (n < lists[l].len) {
            list = lists[l].name;
            found = &lists[l].items[n];
        } else n -= lists[l].len;
    }
    if (!found && n < s->ephemeralContainers.len) found = (const struct corev1_Container *)(const void *)&s->ephemeralContainers.items[n];
    if (ret_list) *ret_list = list;
    if (ret_index) *ret_index = n;
    return found;
}

struct quantity pod_aggregate(const struct corev1_PodSpec *s, const char *resource, bool limits, bool *ret_any) {
    struct quantity sum = {0}, sidecars = {0}, peak = {0};
    bool any = false;
    LIST_FOREACH(c, &s->containers) {
        const char *value = string_map_get(limits ? &c->resources.limits : &c->resources.requests, resource);
        struct quantity q = quantity_of(value);
        any |= value != NULL;
        quantity_add(&sum, &q);
    }
    LIST_FOREACH(c, &s->initContainers) {
        const char *value = string_map_get(limits ? &c->resources.limits : &c->resources.requests, resource);
        struct quantity q = quantity_of(value), now = sidecars;
        any |= value != NULL;
        quantity_add(&now, &q);
        if (str_eq(c->restartPolicy, "Always")) {
            quantity_add(&sum, &q);
            sidecars = now;
        }
        if (quantity_cmp(&now, &peak) > 0) peak = now;
    }
    if (ret_any) *ret_any = any;
    return quantity_cmp(&peak, &sum) > 0 ? peak : sum;
}
