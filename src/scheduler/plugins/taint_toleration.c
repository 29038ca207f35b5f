/* TaintToleration: NoSchedule and NoExecute taints must be tolerated; fewer untolerated PreferNoSchedule taints score higher.
 * Upstream: plugins/tainttoleration. */
#include "base/str.h"
#include "scheduler/framework.h"

static enum code filter(struct cycle *cycle, const struct node_info *node, struct reasons *why) {
    LIST_FOREACH(t, &node->node->spec.taints) {
        if (!str_eq(t->effect, "NoSchedule") && !str_eq(t->effect, "NoExecute")) continue;
        if (!tolerations_tolerate(&cycle->pod->pod->spec.tolerations, t))
            return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "node(s) had untolerated taint(s)");
    }
    return CODE_SUCCESS;
}

static int64_t score(struct cycle *cycle, const struct node_info *node) {
    int64_t n = 0;
    LIST_FOREACH(t, &node->node->spec.taints)
        if (str_eq(t->effect, "PreferNoSchedule") && !tolerations_tolerate(&cycle->pod->pod->spec.tolerations, t)) n++;
    return n;
}

static void normalize(struct cycle *cycle, int64_t *scores, size_t len) {
    (void)cycle;
    scores_normalize(scores, len, true);
}

const struct plugin plugin_taint_toleration = {.name = "TaintToleration", .weight = 3, .filter = filter, .score = score, .normalize = normalize};
