/* What components ask of a Pod's status: see pod_util.h. */
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
