/* Helpers of the Nodes' controllers: see node_util.h. Tests: tests/unit/test_controller_node.c. */
#include "controller/node_util.h"
#include "base/str.h"
#include "controller/controller_utils.h"

enum { TRIES = 5 };

struct corev1_NodeCondition *node_condition(const struct corev1_Node *node, const char *type) {
    LIST_FOREACH(c, &node->status.conditions)
        if (str_eq(c->type, type)) return c;
    return NULL;
}

static bool same_taint(const struct corev1_Taint *a, const struct corev1_Taint *b) { return str_eq(a->key, b->key) && str_eq(a->effect, b->effect); }

bool taint_exists(const struct corev1_Taint_list *taints, const struct corev1_Taint *t) {
    LIST_FOREACH(x, taints)
        if (same_taint(x, t)) return true;
    return false;
}

bool taint_tolerated(const struct corev1_Toleration *t, const struct corev1_Taint *taint) {
    if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect)) return false;
    if (!str_empty(t->key) && !str_eq(t->key, taint->key)) return false;
    if (str_eq(t->operator, "Exists")) return true;
    if (!str_empty(t->operator) && !str_eq(t->operator, "Equal")) return false;
    return str_eq(t->value, taint->value);
}

/* True if it differs from what it was. */
static bool taints_change(struct arena *a, const struct corev1_Taint_list *now, const struct corev1_Taint_list *add, const struct corev1_Taint_list *remove, int64_t now_s, struct corev1_Taint_list *ret) {
    bool changed = false;
    LIST_FOREACH(t, now) {
        if (taint_exists(remove, t) && !taint_exists(add, t)) changed = true;
        else *LIST_PUSH(a, ret) = *t;
    }
    LIST_FOREACH(t, add) {
        struct corev1_Taint *at = NULL;
        LIST_FOREACH(x, ret)
            if (same_taint(x, t)) at = x;
        if (at && str_eq(at->value, t->value)) continue;
        if (!at) at = LIST_PUSH(a, ret);
        *at = *t;
        at->timeAdded = (struct api_time){.set = true, .sec = now_s};
        changed = true;
    }
    return changed;
}

static int patch_taints(struct controller *c, struct arena *a, const struct corev1_Node *node, const struct corev1_Taint_list *taints, struct status *reterr) {
    _cleanup_buf_ struct buf p = BUF_INIT;
    buf_printf(&p, "{\"metadata\":{\"resourceVersion\":\"%s\"},\"spec\":{\"taints\":", str_or(node->metadata.resourceVersion, ""));
    if (taints->len == 0) buf_append_str(&p, "null}}");
    for (size_t i = 0; i < taints->len; i++) {
        buf_append_char(&p, i ? ',' : '[');
        object_encode_json(&corev1_Taint_desc, &taints->items[i], &p);
    }
    if (taints->len) buf_append_str(&p, "]}}");
    return client_patch(c->client, a, &corev1_Node_desc, NULL, node->metadata.name, NULL, PATCH_MERGE, buf_cstr(&p), NULL, reterr);
}

int node_swap_taints(struct controller *c, const struct corev1_Node *node, const struct corev1_Taint_list *add, const struct corev1_Taint_list *remove, struct status *reterr) {
    static const struct corev1_Taint_list none = {0};
    if (!add) add = &none;
    if (!remove) remove = &none;
    for (int tries = 0;; tries++) {
        _cleanup_arena_ struct arena *a = arena_new();
        _cleanup_status_ struct status err = STATUS_INIT;
        struct corev1_Taint_list taints = {0};
        struct corev1_Node fresh;
        if (tries == 0 && !taints_change(a, &node->spec.taints, add, remove, 0, &taints)) return 0;
        taints = (struct corev1_Taint_list){0};
        int rc = client_get(c->client, a, &corev1_Node_desc, NULL, node->metadata.name, &fresh, &err);
        if (rc == 0 && !taints_change(a, &fresh.spec.taints, add, remove, env_now_s(c->env), &taints)) return 0;
        if (rc == 0 && patch_taints(c, a, &fresh, &taints, &err) == 0) return 0;
        if (status_is(&err, 404)) return 0;
        if (status_is(&err, 409) && tries < TRIES) continue;
        status_copy(reterr, &err);
        return -1;
    }
}

void node_record_status(struct controller *c, const struct corev1_Node *node, const char *new_status) {
    event_record(c->events, &corev1_Node_desc, node, EVENT_NORMAL, new_status, "Node %s status is now: %s", node->metadata.name, new_status);
}
