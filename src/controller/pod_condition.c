/* Conditions of Pods: see pod_condition.h. Tests: tests/unit/test_controller_node.c. */
#include "controller/pod_condition.h"
#include "api/pod_util.h"
#include "base/str.h"

bool pod_condition_set(struct arena *a, struct corev1_Pod *pod, const char *type, const char *status, const char *reason, const char *message, int64_t now_s) {
    struct corev1_PodCondition *c = (struct corev1_PodCondition *)(uintptr_t)pod_condition(pod, type);
    struct api_time now = {.set = true, .sec = now_s};
    if (c && str_eq(c->status, status) && str_eq(c->reason, reason) && str_eq(c->message, message)) return false;
    if (!c) c = LIST_PUSH(a, &pod->status.conditions);
    if (!str_eq(c->status, status)) c->lastTransitionTime = now;
    c->type = type;
    c->status = status;
    c->reason = reason;
    c->message = message;
    c->observedGeneration = pod->metadata.generation;
    return true;
}

int pod_condition_patch(struct client *c, struct arena *a, const struct corev1_Pod *pod, const char *type, const char *phase, struct status *reterr) {
    const struct corev1_PodCondition *condition = pod_condition(pod, type);
    _cleanup_buf_ struct buf p = BUF_INIT;
    buf_printf(&p, "{\"metadata\":{\"uid\":\"%s\"},\"status\":{", pod->metadata.uid);
    if (phase) buf_printf(&p, "\"phase\":\"%s\"", phase);
    if (condition) {
        buf_append_str(&p, phase ? ",\"conditions\":[" : "\"conditions\":[");
        object_encode_json(&corev1_PodCondition_desc, condition, &p);
        buf_append_char(&p, ']');
    }
    buf_append_str(&p, "}}");
    return client_patch(c, a, &corev1_Pod_desc, pod->metadata.namespace, pod->metadata.name, "status", PATCH_STRATEGIC, buf_cstr(&p), NULL, reterr);
}
