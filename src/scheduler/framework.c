/* One scheduling cycle over the plugins of framework.h: filter, diagnose, score, choose. Upstream: schedule_one.go, framework/runtime/framework.go. */
#include "scheduler/framework.h"
#include <stdio.h>
#include "base/buf.h"
#include "base/str.h"
#include "scheduler/extender.h"
#include "scheduler/metrics.h"

#define FEASIBLE_MIN 100         /* upstream: minFeasibleNodesToFind */
#define FEASIBLE_PERCENT_MIN 5   /* upstream: minFeasibleNodesPercentageToFind */
#define BIT(id) (UINT32_C(1) << (id))

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

uint64_t framework_random(struct framework *f, uint64_t below) {
    if (!f->random) f->random = env_random_u64(f->handle.env) | 1;
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return (f->random >> 11) % below;
}

/* The time since begun is the point's; returns now. */
static int64_t point_end(const struct framework *f, const struct profile *p, enum point point, enum code code, int64_t begun) {
    int64_t now = env_mono_ns(f->handle.env);
    metrics_point(f->metrics, p, point, code, now - begun);
    return now;
}

/* ---- reasons ---- */

void reason_counts_add(struct arena *a, struct reason_counts *c, const char *reason, size_t n) {
    LIST_FOREACH(it, c)
        if (it->reason == reason || str_eq(it->reason, reason)) {
            it->n += n;
            return;
        }
    *LIST_PUSH(a, c) = (struct reason_count){reason, n};
}

static int text_cmp(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Upstream: FitError; the parts are sorted as texts. */
char *reason_counts_message(struct arena *a, size_t nodes, const struct reason_counts *c) {
    char **texts = arena_calloc(a, c->len + 1, sizeof(*texts));
    for (size_t i = 0; i < c->len; i++) texts[i] = arena_printf(a, "%zu %s", c->items[i].n, c->items[i].reason);
    if (c->len) qsort(texts, c->len, sizeof(*texts), text_cmp);
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_printf(&b, "0/%zu nodes are available:", nodes);
    for (size_t i = 0; i < c->len; i++) buf_printf(&b, "%s %s", i ? "," : "", texts[i]);
    if (c->len) buf_append_char(&b, '.');
    return arena_strdup(a, buf_cstr(&b));
}

static const char *reasons_join(struct arena *a, const struct reasons *r) {
    const char *text = r->len ? r->items[0] : "";
    for (size_t i = 1; i < r->len; i++) text = arena_printf(a, "%s, %s", text, r->items[i]);
    return text;
}

/* "[A B]" in the order of names. */
static const char *plugin_names(struct arena *a, uint32_t mask) {
    const char *names[PLUGINS_LEN];
    size_t n = 0;
    for (int i = 0; i < PLUGINS_LEN; i++)
        if (mask & BIT(i)) names[n++] = all_plugins[i]->name;
    qsort(names, n, sizeof(*names), text_cmp);
    const char *text = "";
    for (size_t i = 0; i < n; i++) text = arena_printf(a, "%s%s%s", text, i ? " " : "", names[i]);
    return arena_printf(a, "[%s]", text);
}

/* ---- PreFilter ---- */

/* "running PreFilter plugin "X": why"; before and after: around the plugin's name. */
static void result_error(struct cycle *cy, struct schedule_result *ret, const char *before, const char *after, const struct reasons *why) {
    ret->error = true;
    ret->message = arena_printf(cy->arena, "%s \"%s\"%s: %s", before, cy->use->plugin->name, after, reasons_join(cy->arena, why));
}

/* Whether nodes are left; otherwise *ret_message is why not (or ret->error). */
static bool pre_filter_run(struct cycle *cy, struct schedule_result *ret, const char **ret_message) {
    const struct plugin_uses *uses = &cy->profile->points[POINT_PRE_FILTER];
    for (int i = 0; i < uses->len; i++) {
        struct reasons why = {0};
        cy->use = &uses->items[i];
        uint32_t bit = BIT(cy->use->plugin->id);
        bool was = cy->restricted;
        cy->restricted = false;
        enum code code = cy->use->plugin->pre_filter(cy, &why);
        if (cy->restricted) cy->restrictors |= bit;
        else cy->restricted = was;
        if (code == CODE_SKIP) cy->skip_filter |= bit;
        else if (code == CODE_ERROR) return result_error(cy, ret, "running PreFilter plugin", "", &why), false;
        else if (code != CODE_SUCCESS) {
            cy->rejectors |= bit;
            *ret_message = reasons_join(cy->arena, &why);
            return false;
        }
        if (!cy->restricted || cy->only.len) continue;
        cy->rejectors |= cy->restrictors;
        *ret_message = arena_printf(cy->arena, "node(s) didn't satisfy plugin %s", cy->use->plugin->name);
        return false;
    }
    return true;
}

static void filters_select(struct cycle *cy) {
    const uint32_t local = BIT(PLUGIN_NODE_UNSCHEDULABLE) | BIT(PLUGIN_NODE_NAME) | BIT(PLUGIN_TAINT_TOLERATION) | BIT(PLUGIN_NODE_AFFINITY);
    const struct plugin_uses *uses = &cy->profile->points[POINT_FILTER];
    bool all_local = true;
    for (int i = 0; i < uses->len; i++) {
        enum plugin_id id = uses->items[i].plugin->id;
        if (cy->skip_filter & BIT(id)) continue;
        cy->filters[cy->filters_len++] = &uses->items[i];
        if (id == PLUGIN_NODE_RESOURCES_FIT) cy->fit_decides = all_local;
        all_local &= (local & BIT(id)) != 0;
    }
    cy->own = cache_node(cy->cache, cache_nominated_node(cy->cache, cy->pod->key));
}

/* ---- Filter ---- */

/* The first plugin that says no decides: later ones are not asked about this node. */
static inline enum code node_filter(struct cycle *cy, struct node_info *node, struct reasons *why) {
    for (int i = 0; i < cy->filters_len; i++) {
        cy->use = cy->filters[i];
        enum code code = cy->use->plugin->filter(cy, node, why);
        if (code != CODE_SUCCESS) return code;
    }
    return CODE_SUCCESS;
}

static void cycle_count_pod(struct cycle *cy, struct node_info *node, struct pod_info *pod, int sign) {
    const struct plugin_use *use = cy->use;
    for (int i = 0; i < cy->filters_len; i++) {
        cy->use = cy->filters[i];
        if (cy->use->plugin->count_pod) cy->use->plugin->count_pod(cy, node, pod, sign);
    }
    cy->use = use;
}

void cycle_node_add_pod(struct cycle *cy, struct node_info *node, struct pod_info *pod) {
    cache_node_add_pod(cy->cache, node, pod);
    cycle_count_pod(cy, node, pod, 1);
}

void cycle_node_remove_pod(struct cycle *cy, struct node_info *node, struct pod_info *pod) {
    cycle_count_pod(cy, node, pod, -1);
    cache_node_remove_pod(cy->cache, node, pod);
}

/* The Filters up to NodeResourcesFit, with the requests of the nominated Pods counted: most nodes that wait for others fail here, without a dry run. */
static enum code filter_until_fit(struct cycle *cy, struct node_info *node, struct reasons *why) {
    enum code code = CODE_SUCCESS;
    cy->extra = &node->nominated_sum;
    cy->extra_pods = node->nominated_len;
    for (int i = 0; i < cy->filters_len && code == CODE_SUCCESS; i++) {
        cy->use = cy->filters[i];
        code = cy->use->plugin->filter(cy, node, why);
        if (cy->use->plugin->id == PLUGIN_NODE_RESOURCES_FIT) break;
    }
    cy->extra = NULL;
    cy->extra_pods = 0;
    return code;
}

/* Both with the nominated Pods that come first and without them: either may decide against it (anti-affinity, affinity to them). */
enum code framework_filter_node(struct cycle *cy, struct node_info *node, struct reasons *why) {
    if (!node->nominated_len) return node_filter(cy, node, why);
    if (cy->fit_decides && node->nominated_priority_min >= cy->pod->priority && node != cy->own) {
        enum code code = filter_until_fit(cy, node, why);
        if (code != CODE_SUCCESS) return code;
    }
    struct pod_info *few[8], **added = node->nominated_len <= ARRAY_LEN(few) ? few : arena_calloc(cy->arena, node->nominated_len, sizeof(*added));
    size_t n = 0;
    for (size_t i = 0; i < node->nominated_len; i++) {
        struct pod_info *p = node->nominated[i];
        if (p->priority >= cy->pod->priority && !pod_info_same(p, cy->pod)) added[n++] = p;
    }
    if (!n) return node_filter(cy, node, why);
    for (size_t i = 0; i < n; i++) cycle_node_add_pod(cy, node, added[i]);
    enum code code = node_filter(cy, node, why);
    const struct plugin_use *by = cy->use;
    for (size_t i = n; i > 0; i--) cycle_node_remove_pod(cy, node, added[i - 1]);
    cy->use = by;
    return code == CODE_SUCCESS ? node_filter(cy, node, why) : code;
}

/* Large clusters are not searched to the end. Upstream: numFeasibleNodesToFind. */
static size_t feasible_wanted(const struct cycle *cy, size_t nodes) {
    if (nodes < FEASIBLE_MIN) return nodes;
    size_t percent = (size_t)cy->profile->percentage;
    if (!percent) percent = nodes / 125 >= 50 - FEASIBLE_PERCENT_MIN ? FEASIBLE_PERCENT_MIN : 50 - nodes / 125;
    return MAX(nodes * percent / 100, (size_t)FEASIBLE_MIN);
}

struct found {
    struct node_info **items;
    size_t len, explicit; /* explicit: nodes that were judged unfit */
    uint8_t *codes;       /* of all nodes, by list_position */
    struct reason_counts counts;
};

static void found_reject(struct cycle *cy, struct found *f, const struct reasons *why, uint32_t bit) {
    f->explicit++;
    cy->rejectors |= bit;
    for (size_t w = 0; w < why->len; w++) reason_counts_add(cy->arena, &f->counts, why->items[w], 1);
}

/* False: a plugin failed. */
static bool filter_run(struct framework *f, struct cycle *cy, struct node_info *const *nodes, size_t len, struct found *found, struct schedule_result *ret) {
    size_t wanted = feasible_wanted(cy, len), i = 0, at = len ? f->next_start % len : 0;
    struct reasons why;
    for (; i < len && found->len < wanted; i++) {
        why.len = 0;
        struct node_info *node = nodes[at];
        if (++at == len) at = 0;
        enum code code = framework_filter_node(cy, node, &why);
        if (code == CODE_SUCCESS) {
            found->items[found->len++] = node;
            continue;
        }
        if (code == CODE_ERROR) return result_error(cy, ret, "running", " filter plugin", &why), false;
        found->codes[node->list_position] = (uint8_t)code;
        found_reject(cy, found, &why, BIT(cy->use->plugin->id));
    }
    ret->evaluated += i;
    f->next_start = cy->nodes_len ? (f->next_start + i) % cy->nodes_len : 0;
    return true;
}

/* ---- extenders ---- */

static struct extender_node_list extender_nodes(struct cycle *cy, const struct found *found) {
    struct extender_node_list list = {arena_calloc(cy->arena, found->len, sizeof(*list.items)), found->len};
    for (size_t i = 0; i < found->len; i++)
        list.items[i] = (struct extender_node){.name = arena_strdup(cy->arena, found->items[i]->name),
                                               .node = object_copy(cy->arena, &corev1_Node_desc, found->items[i]->node)};
    return list;
}

/* Nodes may have come and gone while the lock was not held. */
static void nodes_again(struct cycle *cy, struct found *found, const struct extender_node_list *list) {
    cy->nodes = cache_nodes(cy->cache, &cy->nodes_len);
    uint8_t *codes = arena_alloc(cy->arena, cy->nodes_len + 1);
    memset(codes, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, cy->nodes_len + 1);
    found->codes = codes;
    found->len = 0;
    LIST_FOREACH(n, list) {
        struct node_info *node = cache_node(cy->cache, n->name);
        if (!node) continue;
        if (!n->failed) {
            found->items[found->len++] = node;
            continue;
        }
        struct reasons why = {{n->message}, 1};
        enum code code = n->unresolvable ? CODE_UNSCHEDULABLE_AND_UNRESOLVABLE : CODE_UNSCHEDULABLE;
        found->codes[node->list_position] = (uint8_t)code;
        found_reject(cy, found, &why, BIT(PLUGIN_EXTENDER));
    }
}

/* What the plugins of volumes and claims had looked up may have been replaced. */
static void volumes_again(struct cycle *cy, struct schedule_result *ret) {
    const uint32_t volumes = BIT(PLUGIN_VOLUME_RESTRICTIONS) | BIT(PLUGIN_NODE_VOLUME_LIMITS) | BIT(PLUGIN_VOLUME_BINDING) | BIT(PLUGIN_VOLUME_ZONE) |
        BIT(PLUGIN_DYNAMIC_RESOURCES);
    const struct plugin_uses *uses = &cy->profile->points[POINT_PRE_FILTER];
    bool any = cy->pod->has_volumes || cy->pod->pod->spec.resourceClaims.len;
    for (int i = 0; any && !ret->error && i < uses->len; i++) {
        struct reasons why = {0};
        cy->use = &uses->items[i];
        if (!(volumes & BIT(cy->use->plugin->id) & ~cy->skip_filter)) continue;
        enum code code = cy->use->plugin->pre_filter(cy, &why);
        if (code != CODE_SUCCESS && code != CODE_SKIP) result_error(cy, ret, "running PreFilter plugin", "", &why);
    }
}

static bool extenders_filter(struct framework *f, struct cycle *cy, struct found *found, struct schedule_result *ret) {
    if (!f->extenders || !f->extenders->len || !found->len) return true;
    struct extender_node_list list = extender_nodes(cy, found);
    _cleanup_status_ struct status st = STATUS_INIT;
    cache_unlock(cy->cache);
    LIST_FOREACH(e, f->extenders) {
        if (str_empty(e->filter_verb) || !extender_interested(e, cy->pod->pod) || !extender_filter(e, cy->arena, cy->pod->pod, &list, &st)) continue;
        if (e->ignorable) continue;
        ret->error = true;
        ret->message = arena_strdup(cy->arena, status_message(&st));
        break;
    }
    cache_lock(cy->cache);
    nodes_again(cy, found, &list);
    volumes_again(cy, ret);
    return !ret->error;
}

static void extenders_score(struct framework *f, struct cycle *cy, struct found *found, int64_t *totals, struct schedule_result *ret) {
    if (!f->extenders || !f->extenders->len) return;
    struct extender_node_list list = extender_nodes(cy, found);
    cache_unlock(cy->cache);
    LIST_FOREACH(e, f->extenders) {
        _cleanup_status_ struct status st = STATUS_INIT;
        if (!str_empty(e->prioritize_verb) && extender_interested(e, cy->pod->pod)) (void)extender_prioritize(e, cy->arena, cy->pod->pod, &list, &st); /* a failure counts nothing, as upstream */
    }
    cache_lock(cy->cache);
    size_t n = 0;
    for (size_t i = 0; i < list.len; i++) {
        struct node_info *node = cache_node(cy->cache, list.items[i].name);
        if (!node) continue;
        found->items[n] = node;
        totals[n++] = totals[i] + list.items[i].score;
    }
    found->len = n;
    volumes_again(cy, ret);
}

/* ---- PostFilter ---- */

static void post_filter_run(struct cycle *cy, const uint8_t *codes, const char *message, struct schedule_result *ret) {
    const struct plugin_uses *uses = &cy->profile->points[POINT_POST_FILTER];
    const char *texts = NULL;
    for (int i = 0; i < uses->len; i++) {
        const char *said = NULL;
        cy->use = &uses->items[i];
        enum code code = cy->use->plugin->post_filter(cy, codes, ret, &said);
        if (code == CODE_SUCCESS) {
            texts = NULL;
            break;
        }
        if (said) texts = texts ? arena_printf(cy->arena, "%s, %s", texts, said) : said;
        if (code == CODE_UNSCHEDULABLE_AND_UNRESOLVABLE) break;
    }
    ret->message = texts ? arena_printf(cy->arena, "%s %s", message, texts) : message;
}

static void found_none(struct cycle *cy, struct found *found, const char *pre_filter_message, struct schedule_result *ret) {
    const char *message;
    if (pre_filter_message) {
        message = arena_printf(cy->arena, "0/%zu nodes are available:%s%s%s", cy->nodes_len, *pre_filter_message ? " " : "", pre_filter_message, *pre_filter_message ? "." : "");
    } else {
        if (cy->restricted && found->explicit < cy->nodes_len) {
            const char *text = arena_printf(cy->arena, "node(s) didn't satisfy plugin(s) %s", plugin_names(cy->arena, cy->restrictors));
            reason_counts_add(cy->arena, &found->counts, text, cy->nodes_len - found->explicit);
            cy->rejectors |= cy->restrictors;
        }
        message = reason_counts_message(cy->arena, cy->nodes_len, &found->counts);
    }
    ret->rejectors = cy->rejectors;
    int64_t begun = env_mono_ns(cy->handle->env);
    post_filter_run(cy, found->codes, message, ret);
    point_end(cy->framework, cy->profile, POINT_POST_FILTER, ret->victims_len ? CODE_SUCCESS : CODE_UNSCHEDULABLE, begun);
}

/* ---- Score ---- */

static bool score_run(struct cycle *cy, struct node_info *const *nodes, size_t len, int64_t *totals, struct schedule_result *ret) {
    int64_t *scores = arena_calloc(cy->arena, len, sizeof(*scores)), begun = env_mono_ns(cy->handle->env);
    const struct plugin_uses *pre = &cy->profile->points[POINT_PRE_SCORE], *uses = &cy->profile->points[POINT_SCORE];
    for (int i = 0; i < pre->len; i++) {
        cy->use = &pre->items[i];
        enum code code = cy->use->plugin->pre_score(cy, nodes, len);
        if (code == CODE_SKIP) cy->skip_score |= BIT(cy->use->plugin->id);
        else if (code != CODE_SUCCESS) return result_error(cy, ret, "running PreScore plugin", "", &(struct reasons){{"failed"}, 1}), false;
    }
    begun = point_end(cy->framework, cy->profile, POINT_PRE_SCORE, CODE_SUCCESS, begun);
    for (int i = 0; i < uses->len; i++) {
        const struct plugin *p = uses->items[i].plugin;
        cy->use = &uses->items[i];
        if (cy->skip_score & BIT(p->id)) continue;
        for (size_t n = 0; n < len; n++) scores[n] = p->score(cy, nodes[n]);
        if (p->normalize) p->normalize(cy, nodes, scores, len);
        for (size_t n = 0; n < len; n++) totals[n] += scores[n] * cy->use->weight;
    }
    point_end(cy->framework, cy->profile, POINT_SCORE, CODE_SUCCESS, begun);
    return true;
}

/* One of the best, each with the same chance. */
static struct node_info *select_host(struct framework *f, struct node_info **nodes, const int64_t *totals, size_t len) {
    size_t best = 0, equals = 1;
    for (size_t i = 1; i < len; i++) {
        if (totals[i] > totals[best]) best = i, equals = 1;
        else if (totals[i] == totals[best] && framework_random(f, ++equals) == 0) best = i;
    }
    return len ? nodes[best] : NULL;
}

/* ---- the whole ---- */

/* Room was made there for this very Pod, so it is tried first. */
static bool nominated_fits(struct framework *f, struct cycle *cy, struct found *found, struct schedule_result *ret) {
    const char *name = cache_nominated_node(cy->cache, cy->pod->key);
    struct node_info *node = cache_node(cy->cache, str_or(name, cy->pod->pod->status.nominatedNodeName));
    if (!node) return false;
    struct reasons why = {0};
    uint32_t rejectors = cy->rejectors;
    if (framework_filter_node(cy, node, &why) != CODE_SUCCESS) {
        cy->rejectors = rejectors;
        return false;
    }
    found->items[found->len++] = node;
    bool ok = extenders_filter(f, cy, found, ret) && found->len;
    ret->error = false;
    return ok;
}

static void cycle_run(struct framework *f, struct cycle *cy, struct schedule_result *ret) {
    struct found found = {.items = arena_calloc(cy->arena, cy->nodes_len, sizeof(*found.items)), .codes = arena_alloc(cy->arena, cy->nodes_len + 1)};
    memset(found.codes, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, cy->nodes_len + 1);
    const char *message = NULL;
    int64_t begun = env_mono_ns(cy->handle->env);
    bool go_on = pre_filter_run(cy, ret, &message);
    begun = point_end(f, cy->profile, POINT_PRE_FILTER, go_on ? CODE_SUCCESS : ret->error ? CODE_ERROR : CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, begun);
    if (!go_on) {
        if (!ret->error) found_none(cy, &found, message, ret);
        return;
    }
    filters_select(cy);
    if (!nominated_fits(f, cy, &found, ret)) {
        struct node_info *const *nodes = cy->restricted ? cy->only.items : cy->nodes;
        go_on = filter_run(f, cy, nodes, cy->restricted ? cy->only.len : cy->nodes_len, &found, ret);
        point_end(f, cy->profile, POINT_FILTER, !go_on ? CODE_ERROR : found.len ? CODE_SUCCESS : CODE_UNSCHEDULABLE, begun);
        if (!go_on) return;
        if (!extenders_filter(f, cy, &found, ret)) return;
    }
    ret->feasible = found.len;
    if (!found.len) return found_none(cy, &found, NULL, ret);
    ret->node = found.items[0];
    if (found.len == 1) return;
    int64_t *totals = arena_calloc(cy->arena, found.len, sizeof(*totals));
    ret->node = NULL;
    if (!score_run(cy, found.items, found.len, totals, ret)) return;
    extenders_score(f, cy, &found, totals, ret);
    if (!ret->error) ret->node = select_host(f, found.items, totals, found.len);
}

void framework_schedule(struct framework *f, const struct profile *profile, struct arena *arena, struct pod_info *pod, struct schedule_result *ret, struct cycle **ret_cycle) {
    *ret = (struct schedule_result){0};
    struct cycle *cy = ARENA_NEW(arena, struct cycle);
    cy->arena = arena;
    cy->framework = f;
    cy->handle = &f->handle;
    cy->cache = f->handle.cache;
    cy->profile = profile;
    cy->pod = pod;
    index_maintain(cache_index(cy->cache));
    cy->nodes = cache_nodes(cy->cache, &cy->nodes_len);
    if (ret_cycle) *ret_cycle = cy;
    if (cy->nodes_len) cycle_run(f, cy, ret);
    else ret->message = "no nodes available to schedule pods";
    if (ret->error || !cy->nodes_len) ret->nominated = "";
    if (ret->node) ret->rejectors = 0;
}

bool framework_reserve(struct cycle *cy, struct node_info *node, struct binding *b, struct schedule_result *ret) {
    const struct plugin_uses *points[] = {&cy->profile->points[POINT_RESERVE], &cy->profile->points[POINT_PERMIT]};
    static const char *const failures[] = {"running Reserve plugin", "running Permit plugin"};
    static const enum point point_ids[] = {POINT_RESERVE, POINT_PERMIT};
    int64_t begun = env_mono_ns(cy->handle->env);
    for (int p = 0; p < 2; p++) {
        for (int i = 0; i < points[p]->len; i++) {
            struct reasons why = {0};
            cy->use = &points[p]->items[i];
            enum code code = p ? cy->use->plugin->permit(cy, node, &why) : cy->use->plugin->reserve(cy, node, b, &why);
            if (code == CODE_SUCCESS || code == CODE_SKIP) continue;
            point_end(cy->framework, cy->profile, point_ids[p], code, begun);
            ret->node = NULL;
            ret->nominated = "";
            ret->rejectors = BIT(cy->use->plugin->id);
            if (code == CODE_ERROR) return result_error(cy, ret, failures[p], "", &why), false;
            struct reason_counts counts = {0};
            for (size_t w = 0; w < why.len; w++) reason_counts_add(cy->arena, &counts, why.items[w], 1);
            ret->message = reason_counts_message(cy->arena, 1, &counts);
            return false;
        }
        begun = point_end(cy->framework, cy->profile, point_ids[p], CODE_SUCCESS, begun);
    }
    return true;
}

void framework_unreserve(struct handle *h, struct binding *b) {
    const struct plugin_uses *uses = &b->profile->points[POINT_RESERVE];
    for (int i = uses->len; i > 0; i--)
        if (uses->items[i - 1].plugin->unreserve) uses->items[i - 1].plugin->unreserve(h, b);
}

int framework_bind(struct framework *f, struct binding *b, struct status *reterr) {
    const struct plugin_uses *pre = &b->profile->points[POINT_PRE_BIND], *bind = &b->profile->points[POINT_BIND], *post = &b->profile->points[POINT_POST_BIND];
    int64_t begun = env_mono_ns(f->handle.env);
    for (int i = 0; i < pre->len; i++) {
        int r = pre->items[i].plugin->pre_bind(&f->handle, b, reterr);
        if (r) point_end(f, b->profile, POINT_PRE_BIND, r < 0 ? CODE_ERROR : CODE_WAIT, begun);
        if (r < 0) status_wrap(reterr, "running PreBind plugin \"%s\"", pre->items[i].plugin->name);
        if (r) return r;
    }
    bool bound = false;
    begun = point_end(f, b->profile, POINT_PRE_BIND, CODE_SUCCESS, begun);
    if (f->extenders)
        LIST_FOREACH(e, f->extenders) {
            if (bound || str_empty(e->bind_verb) || !extender_interested(e, b->pod->pod)) continue;
            if (extender_bind(e, b->pod->pod, b->node, reterr)) return -1;
            bound = true;
        }
    for (int i = 0; i < bind->len && !bound; i++) {
        if (bind->items[i].plugin->bind(&f->handle, b, reterr)) {
            point_end(f, b->profile, POINT_BIND, CODE_ERROR, begun);
            status_wrap(reterr, "running Bind plugin \"%s\"", bind->items[i].plugin->name);
            return -1;
        }
        bound = true;
    }
    begun = point_end(f, b->profile, POINT_BIND, CODE_SUCCESS, begun);
    for (int i = 0; i < post->len; i++) post->items[i].plugin->post_bind(&f->handle, b);
    if (post->len) point_end(f, b->profile, POINT_POST_BIND, CODE_SUCCESS, begun);
    return 0;
}
