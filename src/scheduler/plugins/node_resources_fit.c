/* NodeResourcesFit: requests within what is left of the node. Scores by one of three strategies: emptier nodes (LeastAllocated), fuller nodes
 * (MostAllocated), or a function of how full a node would be (RequestedToCapacityRatio).
 * Upstream: plugins/noderesources/fit.go, least_allocated.go, most_allocated.go, requested_to_capacity_ratio.go. */
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/plugins/plugins.h"

/* "group/name" outside of kubernetes.io, or hugepages and the like. Upstream: v1helper.IsExtendedResourceName. */
static bool extended(const char *name) {
    const char *slash = strchr(name, '/');
    return slash && !str_has_prefix(name, "requests.") && !str_has_prefix(name, "kubernetes.io/") && !strstr(name, ".kubernetes.io/");
}

static bool ignored(const struct node_resources_fit_args *args, int index) {
    const char *name = resource_name(index), *slash = strchr(name, '/');
    if (!extended(name)) return false;
    if (string_list_has(&args->ignored_resources, name)) return true;
    LIST_FOREACH(g, &args->ignored_resource_groups)
        if (strlen(*g) == (size_t)(slash - name) && strncmp(*g, name, strlen(*g)) == 0) return true;
    return false;
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    const struct node_resources_fit_args *args = cycle->use->args;
    const struct pod_info *p = cycle->pod;
    if (p->unknown_resources) return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "Insufficient resources of a kind that the scheduler has no room to count");
    struct amounts *wanted = ARENA_NEW(cycle->arena, struct amounts);
    wanted->items = arena_calloc(cycle->arena, p->amounts.len, sizeof(struct amount));
    LIST_FOREACH(r, &p->amounts) {
        if (r->index >= RESOURCE_FIRST_SCALAR && (args->ignored_resources.len || args->ignored_resource_groups.len) && ignored(args, r->index)) continue;
        wanted->items[wanted->len++] = *r;
    }
    cycle->state[PLUGIN_NODE_RESOURCES_FIT] = wanted;
    return CODE_SUCCESS;
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    const struct amounts *wanted = cycle->state[PLUGIN_NODE_RESOURCES_FIT];
    enum code code = CODE_SUCCESS;
    if ((int64_t)(node->pods_len + cycle->extra_pods) + 1 > node->pods_max) code = reasons_add(why, CODE_UNSCHEDULABLE, "Too many pods");
    bool never = false;
    LIST_FOREACH(r, wanted) {
        int64_t used = node->requested.v[r->index] + (cycle->extra ? cycle->extra->v[r->index] : 0);
        if (r->value <= 0 || r->value <= node->allocatable.v[r->index] - used) continue;
        code = reasons_add(why, CODE_UNSCHEDULABLE, resource_insufficient_reason(r->index));
        never |= r->value > node->allocatable.v[r->index]; /* not even on an empty node: preemption would not help */
    }
    return never ? CODE_UNSCHEDULABLE_AND_UNRESOLVABLE : code;
}

/* ---- scores ---- */

static void amounts(const struct cycle *cycle, const struct node_info *node, int i, int64_t *ret_requested, int64_t *ret_allocatable) {
    *ret_allocatable = node->allocatable.v[i];
    if (i == RESOURCE_CPU) *ret_requested = node->nonzero_cpu + cycle->pod->nonzero_cpu;
    else if (i == RESOURCE_MEMORY) *ret_requested = node->nonzero_memory + cycle->pod->nonzero_memory;
    else *ret_requested = node->requested.v[i] + cycle->pod->requests.v[i];
}

static int64_t least(int64_t requested, int64_t capacity) {
    return capacity <= 0 || requested > capacity ? 0 : (int64_t)((__int128)(capacity - requested) * NODE_SCORE_MAX / capacity);
}

static int64_t most(int64_t requested, int64_t capacity) {
    return capacity <= 0 ? 0 : (int64_t)((__int128)MIN(requested, capacity) * NODE_SCORE_MAX / capacity);
}

/* The shape's points, linear between them; configured scores go to 10. */
static int64_t shaped(const struct shape *shape, int64_t requested, int64_t capacity) {
    int64_t p = capacity <= 0 || requested > capacity ? 100 : (int64_t)((__int128)requested * 100 / capacity);
    for (size_t i = 0; i < shape->len; i++) {
        int64_t x = shape->items[i].utilization, y = shape->items[i].score * (NODE_SCORE_MAX / 10);
        if (p > x) continue;
        if (!i) return y;
        int64_t x0 = shape->items[i - 1].utilization, y0 = shape->items[i - 1].score * (NODE_SCORE_MAX / 10);
        return y0 + (y - y0) * (p - x0) / (x - x0);
    }
    return shape->len ? shape->items[shape->len - 1].score * (NODE_SCORE_MAX / 10) : 0;
}

static int64_t score(struct cycle *cycle, struct node_info *node) {
    const struct node_resources_fit_args *args = cycle->use->args;
    int64_t sum = 0, weights = 0;
    LIST_FOREACH(r, &args->resources) {
        int64_t requested, allocatable;
        amounts(cycle, node, r->index, &requested, &allocatable);
        if (!allocatable || (r->index >= RESOURCE_FIRST_SCALAR && !cycle->pod->requests.v[r->index])) continue; /* extended resources that are not asked for */
        int64_t s = args->strategy == LEAST_ALLOCATED ? least(requested, allocatable)
                  : args->strategy == MOST_ALLOCATED  ? most(requested, allocatable)
                                                      : shaped(&args->shape, requested, allocatable);
        if (args->strategy == REQUESTED_TO_CAPACITY_RATIO && s <= 0) continue;
        sum += s * r->weight;
        weights += r->weight;
    }
    if (!weights) return 0;
    return args->strategy == REQUESTED_TO_CAPACITY_RATIO ? (sum + weights / 2) / weights : sum / weights;
}

/* ---- hints ---- */

static bool empty_node_fits(const struct pod_info *pod, const struct corev1_Node *node) {
    struct resources allocatable = {0};
    resources_add_list(&allocatable, &node->status.allocatable);
    LIST_FOREACH(r, &pod->amounts)
        if (r->value > allocatable.v[r->index]) return false;
    return true;
}

/* As the node is now: what happens on a node helps only if the Pod fits there after it. */
static bool node_fits(const struct pod_info *pod, const struct node_info *node) {
    if (!node || !node->node || (int64_t)node->pods_len + 1 > node->pods_max) return false;
    LIST_FOREACH(r, &pod->amounts)
        if (r->value > node->allocatable.v[r->index] - node->requested.v[r->index]) return false;
    return true;
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    (void)cache;
    const struct node_resources_fit_args *a = args;
    if (e->resource == EVENT_TARGET_POD || a->ignored_resources.len || a->ignored_resource_groups.len) return true;
    if (e->resource == EVENT_NODE && !e->old_node) return empty_node_fits(pod, e->new_node);
    return node_fits(pod, e->node);
}

const struct plugin plugin_node_resources_fit = {.name = "NodeResourcesFit", .id = PLUGIN_NODE_RESOURCES_FIT, .weight = 1, .pre_filter = pre_filter, .filter = filter,
    .score = score, .hint = hint,
    .events = {[EVENT_ASSIGNED_POD] = ACTION_DELETE | ACTION_POD_SCALE_DOWN, [EVENT_TARGET_POD] = ACTION_POD_SCALE_DOWN, [EVENT_NODE] = ACTION_ADD | ACTION_NODE_ALLOCATABLE}};
