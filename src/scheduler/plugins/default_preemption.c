/* DefaultPreemption: when a Pod fits nowhere, whose eviction would make it fit? Upstream: plugins/defaultpreemption and framework/preemption.
 *
 * On each node that might help, all Pods of lower priority are taken away (really: see cache.h), and if the Pod fits then, as many of them as possible come
 * back, those first whose eviction would violate a PodDisruptionBudget, the important before the others. Of the nodes tried the one is chosen that hurts
 * least. Who is to be evicted goes to the caller; everything here is put back. Tests: test_scheduler_preemption.c. */
#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

struct victims { struct pod_info **items; size_t len; };
struct candidate {
    struct node_info *node;
    struct victims victims; /* the most important first */
    int violations;
};

/* What is compared of a candidate. */
struct harm { int violations; int32_t highest; int64_t sum; size_t victims; struct api_time start; };
/* What came out for a node the last time, good while node and preemptor are alike and only the node itself decides. */
struct preemption_memo {
    uint64_t version, budgets, signature[2];
    enum code code;
    const char *reason; /* of failure; lives forever, or NULL: not kept */
    struct harm harm;
};

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

/* Higher priority, then earlier start, first. */
static int importance_cmp(const void *x, const void *y) {
    const struct pod_info *a = *(struct pod_info *const *)x, *b = *(struct pod_info *const *)y;
    if (a->priority != b->priority) return a->priority > b->priority ? -1 : 1;
    return time_cmp(&a->started, &b->started); /* not started is later than all */
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

static struct harm harm_of(const struct candidate *c) {
    const struct victims *v = &c->victims;
    struct harm h = {.violations = c->violations, .highest = v->items[0]->priority, .victims = v->len, .start = v->items[0]->started};
    for (size_t i = 0; i < v->len; i++) {
        h.sum += (int64_t)v->items[i]->priority + INT32_MAX + 1;
        if (v->items[i]->priority == h.highest && time_cmp(&v->items[i]->started, &h.start) < 0) h.start = v->items[i]->started; /* the earliest among those of the highest priority */
    }
    return h;
}

/* < 0: a hurts less. Upstream: pickOneNodeForPreemption. */
static int harm_cmp(const struct harm *a, const struct harm *b) {
    if (a->violations != b->violations) return a->violations < b->violations ? -1 : 1;
    if (a->highest != b->highest) return a->highest < b->highest ? -1 : 1;
    if (a->sum != b->sum) return a->sum < b->sum ? -1 : 1;
    if (a->victims != b->victims) return a->victims < b->victims ? -1 : 1;
    return -time_cmp(&a->start, &b->start); /* the latest start is best */
}

static size_t candidates_wanted(const struct default_preemption_args *args, size_t nodes) {
    size_t n = nodes * (size_t)args->min_candidate_nodes_percentage / 100;
    return MIN(MAX(n, (size_t)args->min_candidate_nodes_absolute), nodes);
}

/* ---- what need not be tried again ---- */

/* Only a Pod whose Filters look at nothing but the node may use what was found for its like. */
static bool memo_usable(const struct cycle *cy) {
    const uint32_t local = 1u << PLUGIN_NODE_UNSCHEDULABLE | 1u << PLUGIN_NODE_NAME | 1u << PLUGIN_TAINT_TOLERATION | 1u << PLUGIN_NODE_AFFINITY | 1u << PLUGIN_NODE_PORTS |
                           1u << PLUGIN_NODE_RESOURCES_FIT | 1u << PLUGIN_NODE_DECLARED_FEATURES;
    for (int i = 0; i < cy->filters_len; i++)
        if (!(local >> cy->filters[i]->plugin->id & 1)) return false;
    return true;
}

/* 128 bits of all that such Filters read of the Pod, and of the profile. */
static const uint64_t *signature_of(struct cycle *cy) {
    struct pod_info *p = cy->pod;
    if (p->signature[0]) return p->signature;
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_printf(&b, ".%s", cy->profile->name);
    object_encode_json(&corev1_PodSpec_desc, &p->pod->spec, &b);
    p->signature[0] = hash_bytes(b.data, b.len) | 1;
    p->signature[1] = hash_bytes(b.data + 1, b.len - 1);
    return p->signature;
}

static bool memo_holds(const struct preemption_memo *m, const struct node_info *n, const uint64_t *signature, uint64_t budgets) {
    return m && m->version == n->version && m->budgets == budgets && m->signature[0] == signature[0] && m->signature[1] == signature[1] &&
           (m->code == CODE_SUCCESS || m->reason);
}

static void memo_keep(struct node_info *n, const uint64_t *signature, uint64_t budgets, enum code code, const struct reasons *why, const struct harm *harm) {
    if (!n->memo) CHECK(n->memo = calloc(1, sizeof(*n->memo)));
    *n->memo = (struct preemption_memo){.version = n->version, .budgets = budgets, .signature = {signature[0], signature[1]}, .code = code, .harm = *harm};
    if ((code == CODE_UNSCHEDULABLE || code == CODE_UNSCHEDULABLE_AND_UNRESOLVABLE) && why->len == 1) n->memo->reason = why->items[0]; /* these plugins' reasons live forever */
}

/* ---- the search ---- */

struct search {
    struct cycle *cy;
    struct budget_list budgets;
    const uint64_t *signature; /* NULL: nothing is kept */
    const char *own_node;  /* where it is nominated: for its like that is another matter */
    uint64_t budgets_generation;
    struct reason_counts *counts;
    size_t refused;
};

static enum code node_try(struct search *s, struct node_info *n, struct harm *harm) {
    bool kept = s->signature && !str_eq(s->own_node, n->name);
    if (kept && memo_holds(n->memo, n, s->signature, s->budgets_generation)) {
        *harm = n->memo->harm;
        if (n->memo->code != CODE_SUCCESS) reason_counts_add(s->cy->arena, s->counts, n->memo->reason, 1);
        return n->memo->code;
    }
    struct candidate c = {0};
    struct reasons why = {0};
    enum code code = victims_select(s->cy, n, &s->budgets, &c, &why);
    if (code == CODE_SUCCESS) *harm = harm_of(&c);
    else for (size_t w = 0; w < why.len; w++) reason_counts_add(s->cy->arena, s->counts, why.items[w], 1);
    if (kept) memo_keep(n, s->signature, s->budgets_generation, code, &why, harm);
    return code;
}

/* Tries the nodes from a random one on until there are enough candidates, one of them without violations: the best of them, or NULL. */
static struct node_info *node_find(struct search *s, struct node_info **nodes, size_t len) {
    const struct default_preemption_args *args = s->cy->use->args;
    const struct plugin_use *use = s->cy->use;
    struct node_info *best = NULL;
    struct harm least = {0};
    size_t offset = framework_random(s->cy->framework, len), wanted = candidates_wanted(args, len), found = 0, clean = 0;
    for (size_t i = 0; i < len && !(clean && found >= wanted); i++) {
        struct node_info *n = nodes[(offset + i) % len];
        struct harm harm = {0};
        if (node_try(s, n, &harm) != CODE_SUCCESS) {
            s->refused++;
            continue;
        }
        found++;
        clean += !harm.violations;
        if (!best || harm_cmp(&harm, &least) < 0) best = n, least = harm;
    }
    s->cy->use = use;
    return best;
}

static enum code post_filter(struct cycle *cy, const uint8_t *codes, struct schedule_result *ret, const char **ret_message) {
    const char *why_not = ineligible(cy, codes);
    if (why_not) {
        *ret_message = arena_printf(cy->arena, "preemption: %s", why_not);
        return CODE_UNSCHEDULABLE;
    }
    struct node_info **nodes = arena_calloc(cy->arena, cy->nodes_len, sizeof(*nodes));
    size_t len = 0;
    for (size_t i = 0; i < cy->nodes_len; i++)
        if (codes[cy->nodes[i]->list_position] == CODE_UNSCHEDULABLE) nodes[len++] = cy->nodes[i];
    struct reason_counts counts = {0};
    struct search search = {.cy = cy, .counts = &counts};
    struct node_info *best = NULL;
    if (len) {
        search.budgets = budgets_of(cy);
        search.budgets_generation = cache_generation(cy->cache, &policyv1_PodDisruptionBudget_desc);
        if (memo_usable(cy)) search.signature = signature_of(cy);
        search.own_node = cache_nominated_node(cy->cache, cy->pod->key);
        best = node_find(&search, nodes, len);
    }
    struct candidate chosen = {0};
    struct reasons why = {0};
    if (best) {
        const struct plugin_use *use = cy->use;
        CHECK(victims_select(cy, best, &search.budgets, &chosen, &why) == CODE_SUCCESS); /* as it was a moment ago */
        cy->use = use;
        ret->nominated = best->name;
        ret->victims = chosen.victims.items;
        ret->victims_len = chosen.victims.len;
        return CODE_SUCCESS;
    }
    if (search.refused < cy->nodes_len) reason_counts_add(cy->arena, &counts, "Preemption is not helpful for scheduling", cy->nodes_len - search.refused);
    *ret_message = arena_printf(cy->arena, "preemption: %s", reason_counts_message(cy->arena, cy->nodes_len, &counts));
    ret->nominated = "";
    return CODE_UNSCHEDULABLE;
}

/* Its Pods wait for their victims' end, which other plugins' hints notice. */
static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    return (void)cache, (void)args, (void)e, (void)pod, false;
}

const struct plugin plugin_default_preemption = {.name = "DefaultPreemption", .id = PLUGIN_DEFAULT_PREEMPTION, .post_filter = post_filter, .hint = hint,
    .events = {[EVENT_ASSIGNED_POD] = ACTION_DELETE}};
