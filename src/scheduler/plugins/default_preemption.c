/* DefaultPreemption, as far as it goes: it says in upstream's words whether making room could help, and evicts nobody yet (that is a later issue's).
 * Upstream: plugins/defaultpreemption. */
#include "base/str.h"
#include "scheduler/framework.h"

static bool has_victims(const struct node_info *node, int32_t priority) {
    for (size_t i = 0; i < node->pods_len; i++)
        if (node->pods[i]->priority < priority) return true;
    return false;
}

static enum code post_filter(struct cycle *cycle, const enum code *codes, const char **ret_message, const char **ret_nominated_node) {
    (void)ret_nominated_node;
    struct arena *a = cycle->arena;
    if (str_eq(cycle->pod->pod->spec.preemptionPolicy, "Never")) {
        *ret_message = "preemption: not eligible due to preemptionPolicy=Never.";
        return CODE_UNSCHEDULABLE;
    }
    size_t helpless = 0, without = 0, unsupported = 0;
    for (size_t i = 0; i < cycle->nodes_len; i++) {
        if (codes[i] != CODE_UNSCHEDULABLE) helpless++;
        else if (has_victims(cycle->nodes[i], cycle->pod->priority)) unsupported++;
        else without++;
    }
    /* Sorted as texts, as the counts before them are. */
    struct { size_t n; const char *reason; } parts[] = {{without, "No preemption victims found for incoming pod"}, {helpless, "Preemption is not helpful for scheduling"},
        {unsupported, "Preemption is not implemented yet"}};
    char *texts[3];
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!parts[i].n) continue;
        char *text = arena_printf(a, "%zu %s", parts[i].n, parts[i].reason);
        size_t at = len++;
        for (; at > 0 && strcmp(texts[at - 1], text) > 0; at--) texts[at] = texts[at - 1];
        texts[at] = text;
    }
    char *all = arena_printf(a, "preemption: 0/%zu nodes are available:", cycle->nodes_len);
    for (size_t i = 0; i < len; i++) all = arena_printf(a, "%s%s %s", all, i ? "," : "", texts[i]);
    *ret_message = arena_printf(a, "%s.", all);
    return CODE_UNSCHEDULABLE;
}

const struct plugin plugin_default_preemption = {.name = "DefaultPreemption", .post_filter = post_filter};
