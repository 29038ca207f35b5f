/* NodeDeclaredFeatures: what a Pod needs of the kubelet must be among the node's status.declaredFeatures. Upstream: plugins/nodedeclaredfeatures and
 * component-helpers/nodedeclaredfeatures: of its features, those that a Pod's spec can call for at scheduling. */
#include "base/str.h"
#include "scheduler/plugins/plugins.h"

static bool restarts_all(const struct corev1_Container_list *containers) {
    LIST_FOREACH(c, containers)
        LIST_FOREACH(r, &c->restartPolicyRules)
            if (str_eq(r->action, "RestartAllContainers")) return true;
    return false;
}

struct required { const char *names[2]; int len; };

static struct required required_of(const struct pod_info *pod) {
    const struct corev1_PodSpec *s = &pod->pod->spec;
    struct required r = {0};
    if (restarts_all(&s->containers) || restarts_all(&s->initContainers)) r.names[r.len++] = "RestartAllContainersOnContainerExits";
    if (s->hostNetwork && s->hostUsers.has && !s->hostUsers.value) r.names[r.len++] = "UserNamespacesHostNetworkSupport";
    return r;
}

static bool has_all(const struct corev1_Node *node, const struct required *r) {
    for (int i = 0; i < r->len; i++)
        if (!string_list_has(&node->status.declaredFeatures, r->names[i])) return false;
    return true;
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    (void)why;
    struct required r = required_of(cycle->pod);
    if (!r.len) return CODE_SKIP;
    struct required *kept = cycle->state[PLUGIN_NODE_DECLARED_FEATURES] = ARENA_NEW(cycle->arena, struct required);
    *kept = r;
    return CODE_SUCCESS;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    if (has_all(node->node, cycle->state[PLUGIN_NODE_DECLARED_FEATURES])) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) didn't match Pod's required features");
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    struct required r = required_of(pod);
    return has_all(e->new_node, &r) && (!e->old_node || !has_all(e->old_node, &r));
}

const struct plugin plugin_node_declared_features = {.name = "NodeDeclaredFeatures", .id = PLUGIN_NODE_DECLARED_FEATURES, .pre_filter = pre_filter, .filter = filter,
    .hint = hint, .events = {[EVENT_NODE] = ACTION_ADD | ACTION_NODE_FEATURES}};
