/* DefaultPreemption: when a Pod fits nowhere, whose eviction would make it fit? Upstream: plugins/defaultpreemption and framework/preemption.
 *
 * On each node that might help, all Pods of lower priority are taken away (really: see cache.h), and if the Pod fits then, as many of them as possible come
 * back, those first whose eviction would violate a PodDisruptionBudget, the important before the others. Of the nodes tried the one is chosen that hurts
 * least. Who is to be evicted goes to the caller; everything here is put back. Tests: test_scheduler_preemption.c. */
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

struct victims { struct pod_info **items; size_t len; };
struct candidate {
    struct node_info *node;
    struct victims victims; /* the most important first */
    int violations;
};
struct candidate_list { struct candidate *items; size_t len; };

struct budget { const struct policyv1_PodDisruptionBudget *pdb; struct selector selector; int32_t allowed; };
struct budget_list { struct budget *items; size_t len; };

static bool lower(const struct pod_info *victim, const struct pod_info *preemptor) { return victim->priority < preemptor->priority; }

static bool terminating_by_preemption(const struct corev1_Pod *p) {
    if (!p->metadata.deletionTimestamp.set) return false;
    LIST_FOREACH(c, &p->status.conditions)
        if (str_eq(c->type, "DisruptionTarget")) return str_eq(c->status, "True") && str_eq(c->reason, "PreemptionByScheduler");
    return false;
}

/* NULL: it may preempt; else why not. */
static const char *ineligible(struct cycle *cy, const uint8_t *codes) {
    if (str_eq(cy->pod->pod->spec.preemptionPolicy, "Never")) return "not eligible due to preemptionPolicy=Never.";
    const struct node_info *n = cache_node(cy->cache, str_or(cache_nominated_node(cy->cache, cy->pod->key), cy->pod->pod->status.nominatedNodeName));
    if (!n || codes[n->list_position] == CODE_UNSCHEDULABLE_AND_UNRESOLVABLE) return NULL;
    for (size_t i = 0; i < n->pods_len; i++)
        if (lower(n->pods[i], cy->pod) && terminating_by_preemption(n->pods[i]->pod)) return "not eligible due to a terminating pod on the nominated node.";
    return NULL;
}

static struct budget_list budgets_of(struct cycle *cy) {
    struct budget_list list = {0};
    const struct policyv1_PodDisruptionBudget *pdb;
    for (size_t pos = 0; (pdb = cache_next(cy->cache, &policyv1_PodDisruptionBudget_desc, &pos));) {
        struct budget b = {.pdb = pdb};
        if (!pdb->spec.selector || label_selector_from(cy->arena, pdb->spec.selector, &b.selector, NULL) || !b.selector.len) continue; /* selects nothing */
        *LIST_PUSH(cy->arena, &list) = b;
    }
    return list;
}

/* Whether its eviction would go beyond a budget, those before it counted. */
static bool violates(struct budget_list *budgets, const struct pod_info *p) {
    bool violated = false;
    if (!p->pod->metadata.labels.len) return false;
    LIST_FOREACH(b, budgets) {
        if (!str_eq(b->pdb->metadata.namespace, p->pod->metadata.namespace) || !selector_matches(&b->selector, &p->pod->metadata.labels)) continue;
        bool disrupted = false; /* the apiserver has counted it already */
        LIST_FOREACH(d, &b->pdb->status.disruptedPods) disrupted |= str_eq(d->key, p->pod->metadata.name);
        if (!disrupted && --b->allowed < 0) violated = true;
    }
    return violated;
}

static int time_cmp(const struct api_time *a, const struct api_time *b) {
    if (a->sec != b->sec) return a->sec < b->sec ? -1 : 1;
    return a->nsec == b->nsec ? 0 : a->nsec < b->nsec ? -1 : 1;
}

/* Pods that have not started count as started now, later than all. */
static struct api_time started(const struct pod_info *p) {
    return p->pod->status.startTime.set ? p->pod->status.startTime : (struct api_time){.set = true, .sec = INT64_MAX};
}

/* Higher priority, then earlier start, first. */
static int importance_cmp(const void *x, const void *y) {
    const struct pod_info *a = *(struct pod_info *const *)x, *b = *(struct pod_info *const *)y;
    if (a->priority != b->priority) return a->priority > b->priority ? -1 : 1;
    struct api_time s = started(a), t = started(b);
    return time_cmp(&s, &t);
}

static void victims_sort(struct victims *v) {
    if (v->len > 1) qsort(v->items, v->len, sizeof(*v->items), importance_cmp);
}

static struct victims victims_room(struct arena *a, size_t len) { return (struct victims){arena_calloc(a, len, sizeof(struct pod_info *)), 0}; }

/* Puts each back if the Pod still fits beside it; those that must go are added to *gone. */
static int reprieve(struct cycle *cy, struct node_info *n, const struct victims *list, struct victims *gone) {
    int evicted = 0;
    for (size_t i = 0; i < list->len; i++) {
        struct reasons why = {0};
        cycle_node_add_pod(cy, n, list->items[i]);
        if (framework_filter_node(cy, n, &why) == CODE_SUCCESS) continue;
        cycle_node_remove_pod(cy, n, list->items[i]);
        gone->items[gone->len++] = list->items[i];
        evicted++;
    }
    return evicted;
}

/* CODE_SUCCESS: *ret says whom to evict. The node is afterwards as it was. */
static enum code victims_select(struct cycle *cy, struct node_info *n, struct budget_list *budgets, struct candidate *ret, struct reasons *why) {
    struct victims potential = victims_room(cy->arena, n->pods_len);
    for (size_t i = 0; i < n->pods_len; i++)
        if (lower(n->pods[i], cy->pod)) potential.items[potential.len++] = n->pods[i];
    if (!potential.len) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "No preemption victims found for incoming pod");
    for (size_t i = 0; i < potential.len; i++) {
        pod_info_ref(potential.items[i]);
        cycle_node_remove_pod(cy, n, potential.items[i]);
    }
    ret->victims = victims_room(cy->arena, potential.len);
    enum code code = framework_filter_node(cy, n, why);
    if (code == CODE_SUCCESS) {
        victims_sort(&potential);
        struct victims violating = victims_room(cy->arena, potential.len), others = victims_room(cy->arena, potential.len);
        LIST_FOREACH(b, budgets) b->allowed = b->pdb->status.disruptionsAllowed;
        for (size_t i = 0; i < potential.len; i++) {
            struct victims *to = violates(budgets, potential.items[i]) ? &violating : &others;
            to->items[to->len++] = potential.items[i];
        }
        ret->node = n;
        ret->violations = reprieve(cy, n, &violating, &ret->victims);
        reprieve(cy, n, &others, &ret->victims);
        for (size_t i = 0; i < ret->victims.len; i++) cycle_node_add_pod(cy, n, ret->victims.items[i]);
        if (violating.len && others.len) victims_sort(&ret->victims);
        if (!ret->victims.len) code = reasons_add(why, CODE_ERROR, arena_printf(cy->arena, "expected at least one victim pod on node \"%s\"", n->name));
    } else {
        for (size_t i = 0; i < potential.len; i++) cycle_node_add_pod(cy, n, potential.items[i]);
    }
    for (size_t i = 0; i < potential.len; i++) pod_info_unref(potential.items[i]);
    return code;
}

/* ---- the choice ---- */

static int64_t priorities_sum(const struct victims *v) {
    int64_t sum = 0;
    for (size_t i = 0; i < v->len; i++) sum += (int64_t)v->items[i]->priority + INT32_MAX + 1;
    return sum;
}

/* The earliest start among those of the highest priority. */
static struct api_time earliest_start(const struct victims *v) {
    struct api_time earliest = started(v->items[0]);
    for (size_t i = 1; i < v->len && v->items[i]->priority == v->items[0]->priority; i++) {
        struct api_time t = started(v->items[i]);
        if (time_cmp(&t, &earliest) < 0) earliest = t;
    }
    return earliest;
}

/* < 0: a hurts less. Upstream: pickOneNodeForPreemption. */
static int candidate_cmp(const struct candidate *a, const struct candidate *b) {
    if (a->violations != b->violations) return a->violations < b->violations ? -1 : 1;
    int32_t p = a->victims.items[0]->priority, q = b->victims.items[0]->priority;
    if (p != q) return p < q ? -1 : 1;
    int64_t s = priorities_sum(&a->victims), t = priorities_sum(&b->victims);
    if (s != t) return s < t ? -1 : 1;
    if (a->victims.len != b->victims.len) return a->victims.len < b->victims.len ? -1 : 1;
    struct api_time x = earliest_start(&a->victims), y = earliest_start(&b->victims);
    return -time_cmp(&x, &y); /* the latest start is best */
}

static size_t candidates_wanted(const struct default_preemption_args *args, size_t nodes) {
    size_t n = nodes * (size_t)args->min_candidate_nodes_percentage / 100;
    return MIN(MAX(n, (size_t)args->min_candidate_nodes_absolute), nodes);
}

/* Tries the nodes from a random one on until there are enough candidates, one of them without violations. */
static struct candidate_list candidates_find(struct cycle *cy, struct node_info **nodes, size_t len, struct reason_counts *counts, size_t *ret_refused) {
    const struct default_preemption_args *args = cy->use->args;
    const struct plugin_use *use = cy->use;
    struct candidate_list list = {0};
    struct budget_list budgets = budgets_of(cy);
    size_t offset = framework_random(cy->framework, len), wanted = candidates_wanted(args, len), clean = 0;
    for (size_t i = 0; i < len && !(clean && list.len >= wanted); i++) {
        struct candidate c = {0};
        struct reasons why = {0};
        if (victims_select(cy, nodes[(offset + i) % len], &budgets, &c, &why) == CODE_SUCCESS) {
            *LIST_PUSH(cy->arena, &list) = c;
            clean += !c.violations;
            continue;
        }
        ++*ret_refused;
        for (size_t w = 0; w < why.len; w++) reason_counts_add(cy->arena, counts, why.items[w], 1);
    }
    cy->use = use;
    return list;
}

static enum code post_filter(struct cycle *cy, const uint8_t *codes, struct schedule_result *ret, const char **ret_message) {
    const char *why_not = ineligible(cy, codes);
    if (why_not) {
        *ret_message = arena_printf(cy->arena, "preemption: %s", why_not);
        return CODE_UNSCHEDULABLE;
    }
    struct node_info **nodes = arena_calloc(cy->arena, cy->nodes_len, sizeof(*nodes));
    size_t len = 0, refused = 0;
    for (size_t i = 0; i < cy->nodes_len; i++)
        if (codes[cy->nodes[i]->list_position] == CODE_UNSCHEDULABLE) nodes[len++] = cy->nodes[i];
    struct reason_counts counts = {0};
    struct candidate_list list = {0};
    if (len) list = candidates_find(cy, nodes, len, &counts, &refused);
    if (!list.len) {
        if (refused < cy->nodes_len) reason_counts_add(cy->arena, &counts, "Preemption is not helpful for scheduling", cy->nodes_len - refused);
        *ret_message = arena_printf(cy->arena, "preemption: %s", reason_counts_message(cy->arena, cy->nodes_len, &counts));
        ret->nominated = "";
        return CODE_UNSCHEDULABLE;
    }
    const struct candidate *best = &list.items[0];
    LIST_FOREACH(c, &list)
        if (candidate_cmp(c, best) < 0) best = c;
    ret->nominated = best->node->name;
    ret->victims = best->victims.items;
    ret->victims_len = best->victims.len;
    return CODE_SUCCESS;
}

/* Its Pods wait for their victims' end, which other plugins' hints notice. */
static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    return (void)cache, (void)args, (void)e, (void)pod, false;
}

const struct plugin plugin_default_preemption = {.name = "DefaultPreemption", .id = PLUGIN_DEFAULT_PREEMPTION, .post_filter = post_filter, .hint = hint,
    .events = {[EVENT_ASSIGNED_POD] = ACTION_DELETE}};
