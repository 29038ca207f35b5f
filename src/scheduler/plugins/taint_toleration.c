/* TaintToleration: NoSchedule and NoExecute taints must be tolerated; fewer untolerated PreferNoSchedule taints score higher.
 * Upstream: plugins/tainttoleration. */
#include "base/str.h"
#include "scheduler/plugins/plugins.h"

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    if (!node->hard_taints || !node_untolerated_taint(node->node, &cycle->pod->pod->spec.tolerations)) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) had untolerated taint(s)");
}

/* Where no node has such a taint all score alike, and nothing need be added. */
static enum code pre_score(struct cycle *cycle, struct node_info *const *nodes, size_t len) {
    (void)cycle;
    for (size_t i = 0; i < len; i++)
        if (nodes[i]->soft_taints) return CODE_SUCCESS;
    return CODE_SKIP;
}

/* Only tolerations of that effect, or of any, count. */
static int64_t score(struct cycle *cycle, struct node_info *node) {
    int64_t n = 0;
    LIST_FOREACH(t, &node->node->spec.taints)
        if (str_eq(t->effect, "PreferNoSchedule") && !node_match_tolerates(&cycle->pod->pod->spec.tolerations, t)) n++;
    return n;
}

static void normalize(struct cycle *cycle, struct node_info *const *nodes, int64_t *scores, size_t len) {
    (void)cycle, (void)nodes;
    scores_normalize(scores, len, true);
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache, (void)args;
    if (e->resource == EVENT_TARGET_POD) return true;
    bool was = e->old_node && !node_untolerated_taint(e->old_node, &pod->pod->spec.tolerations);
    return !was && !node_untolerated_taint(e->new_node, &pod->pod->spec.tolerations);
}

const struct plugin plugin_taint_toleration = {.name = "TaintToleration", .id = PLUGIN_TAINT_TOLERATION, .weight = 3, .filter = filter, .pre_score = pre_score,
    .score = score, .normalize = normalize, .hint = hint,
    .events = {[EVENT_NODE] = ACTION_ADD | ACTION_NODE_TAINT, [EVENT_TARGET_POD] = ACTION_POD_TOLERATION}};
