/* One scheduling cycle over the plugins of framework.h: filter, diagnose, score, choose. Pure but for the random choice among equals. */
#include "scheduler/framework.h"
#include <stdio.h>
#include "base/buf.h"
#include "base/str.h"

#define FEASIBLE_MIN 100         /* upstream: minFeasibleNodesToFind */
#define FEASIBLE_PERCENT_MIN 5   /* upstream: minFeasibleNodesPercentageToFind */

const struct plugin *const default_plugins[] = {&plugin_scheduling_gates, &plugin_node_unschedulable, &plugin_node_name, &plugin_taint_toleration,
    &plugin_node_affinity, &plugin_node_ports, &plugin_node_resources_fit, &plugin_default_preemption, &plugin_node_resources_balanced_allocation,
    &plugin_image_locality, NULL};

enum code reasons_add(struct reasons *r, enum code code, const char *reason) {
    if (r->len < REASONS_MAX) r->items[r->len++] = reason;
    return code;
}

void scores_normalize(int64_t *scores, size_t len, bool reverse) {
    int64_t max = 0;
    for (size_t i = 0; i < len; i++) max = MAX(max, scores[i]);
    for (size_t i = 0; i < len; i++) {
        if (max == 0) {
            if (reverse) scores[i] = NODE_SCORE_MAX;
            continue;
        }
        scores[i] = NODE_SCORE_MAX * scores[i] / max;
        if (reverse) scores[i] = NODE_SCORE_MAX - scores[i];
    }
}

/* How many nodes each reason was given for. */
struct count { const char *reason; size_t n; };
struct counts { struct count *items; size_t len; };

static void counts_add(struct arena *a, struct counts *c, const char *reason) {
    LIST_FOREACH(it, c)
        if (it->reason == reason || str_eq(it->reason, reason)) {
            it->n++;
            return;
        }
    *LIST_PUSH(a, c) = (struct count){reason, 1};
}

static int text_cmp(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." Upstream: FitError; the parts are sorted as texts. */
static char *counts_message(struct arena *a, size_t nodes, const struct counts *c) {
    char **texts = arena_calloc(a, c->len + 1, sizeof(*texts));
    for (size_t i = 0; i < c->len; i++) texts[i] = arena_printf(a, "%zu %s", c->items[i].n, c->items[i].reason);
    if (c->len) qsort(texts, c->len, sizeof(*texts), text_cmp);
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_printf(&b, "0/%zu nodes are available:", nodes);
    for (size_t i = 0; i < c->len; i++) buf_printf(&b, "%s %s", i ? "," : "", texts[i]);
    if (c->len) buf_append_char(&b, '.');
    return arena_strdup(a, buf_cstr(&b));
}

/* Large clusters are not searched to the end. Upstream: numFeasibleNodesToFind. */
static size_t feasible_wanted(size_t nodes) {
    if (nodes < FEASIBLE_MIN) return nodes;
    size_t percent = nodes / 125 >= 50 - FEASIBLE_PERCENT_MIN ? FEASIBLE_PERCENT_MIN : 50 - nodes / 125;
    return MAX(nodes * percent / 100, (size_t)FEASIBLE_MIN);
}

static bool pre_filter_run(struct framework *f, struct cycle *cy, struct schedule_result *ret) {
    for (int i = 0; f->plugins[i]; i++) {
        if (!f->plugins[i]->pre_filter) continue;
        struct reasons why = {0};
        cy->plugin = i;
        enum code code = f->plugins[i]->pre_filter(cy, &why);
        if (code == CODE_SKIP) cy->skip_filter[i] = true;
        if (code == CODE_SUCCESS || code == CODE_SKIP) continue;
        ret->error = code == CODE_ERROR;
        ret->message = arena_printf(cy->arena, "0/%zu nodes are available: %s.", cy->nodes_len, why.len ? why.items[0] : f->plugins[i]->name);
        return false;
    }
    return true;
}

/* The first plugin that says no decides: later ones are not asked about this node. */
static enum code node_filter(struct framework *f, struct cycle *cy, const struct node_info *node, struct reasons *why) {
    for (int i = 0; f->plugins[i]; i++) {
        if (!f->plugins[i]->filter || cy->skip_filter[i]) continue;
        cy->plugin = i;
        enum code code = f->plugins[i]->filter(cy, node, why);
        if (code != CODE_SUCCESS) return code;
    }
    return CODE_SUCCESS;
}

static void post_filter_run(struct framework *f, struct cycle *cy, const enum code *codes, const char *message, struct schedule_result *ret) {
    /* Upstream's DynamicResources is asked before preemption and has nothing to give back. */
    ret->message = arena_printf(cy->arena, "%s no new claims to deallocate", message);
    for (int i = 0; f->plugins[i]; i++) {
        if (!f->plugins[i]->post_filter) continue;
        const char *said = NULL, *nominated = NULL;
        cy->plugin = i;
        f->plugins[i]->post_filter(cy, codes, &said, &nominated);
        if (said) ret->message = arena_printf(cy->arena, "%s, %s", ret->message, said);
    }
}

static size_t filter_run(struct framework *f, struct cycle *cy, const struct node_info **feasible, struct schedule_result *ret) {
    enum code *codes = arena_calloc(cy->arena, cy->nodes_len, sizeof(*codes));
    struct counts counts = {0};
    size_t wanted = feasible_wanted(cy->nodes_len), n = 0, i = 0;
    for (; i < cy->nodes_len && n < wanted; i++) {
        size_t at = (f->next_start + i) % cy->nodes_len;
        struct reasons why;
        why.len = 0;
        codes[at] = node_filter(f, cy, cy->nodes[at], &why);
        if (codes[at] == CODE_SUCCESS) feasible[n++] = cy->nodes[at];
        for (size_t w = 0; w < why.len; w++) counts_add(cy->arena, &counts, why.items[w]);
    }
    f->next_start = (f->next_start + i) % cy->nodes_len;
    ret->evaluated = i;
    ret->feasible = n;
    if (!n) post_filter_run(f, cy, codes, counts_message(cy->arena, cy->nodes_len, &counts), ret);
    return n;
}

static void score_run(struct framework *f, struct cycle *cy, const struct node_info **nodes, size_t len, int64_t *totals) {
    int64_t *scores = arena_calloc(cy->arena, len, sizeof(*scores));
    for (int i = 0; f->plugins[i]; i++) {
        const struct plugin *p = f->plugins[i];
        cy->plugin = i;
        if (!p->score || (p->pre_score && p->pre_score(cy, nodes, len) == CODE_SKIP)) continue;
        for (size_t n = 0; n < len; n++) scores[n] = p->score(cy, nodes[n]);
        if (p->normalize) p->normalize(cy, scores, len);
        for (size_t n = 0; n < len; n++) totals[n] += scores[n] * MAX(p->weight, 1);
    }
}

/* One of the best, each with the same chance. */
static const struct node_info *select_host(struct env *env, const struct node_info **nodes, const int64_t *totals, size_t len) {
    size_t best = 0, equals = 1;
    for (size_t i = 1; i < len; i++) {
        if (totals[i] > totals[best]) best = i, equals = 1;
        else if (totals[i] == totals[best] && env_random_below(env, ++equals) == 0) best = i;
    }
    return nodes[best];
}

void framework_schedule(struct framework *f, struct arena *arena, const struct pod_info *pod, struct node_info *const *nodes, size_t len, struct schedule_result *ret) {
    *ret = (struct schedule_result){0};
    if (!len) {
        ret->message = "no nodes available to schedule pods";
        return;
    }
    struct cycle *cy = ARENA_NEW(arena, struct cycle);
    *cy = (struct cycle){.arena = arena, .pod = pod, .nodes = nodes, .nodes_len = len};
    if (!pre_filter_run(f, cy, ret)) return;
    const struct node_info **feasible = arena_calloc(arena, len, sizeof(*feasible));
    size_t n = filter_run(f, cy, feasible, ret);
    if (!n) return;
    const struct node_info *chosen = feasible[0];
    if (n > 1) {
        int64_t *totals = arena_calloc(arena, n, sizeof(*totals));
        score_run(f, cy, feasible, n, totals);
        chosen = select_host(f->env, feasible, totals, n);
    }
    for (size_t i = 0; i < len && !ret->node; i++)
        if (nodes[i] == chosen) ret->node = nodes[i];
}
