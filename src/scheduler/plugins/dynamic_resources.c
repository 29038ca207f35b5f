/* DynamicResources: a Pod goes where its ResourceClaims can be used, or devices be found for them. Upstream: plugins/dynamicresources.
 *
 * The search for devices is device_allocator.c, the books on who has what are devices.c. A claim that has no devices yet gets them on each node tried, in the cycle's
 * arena only; Reserve turns the chosen node's solution into allocations that are pending, PreBind writes them (dynamic_resources_bind.c). */
#include "api/node_match.h"
#include "api/resource_claim.h"
#include "base/str.h"
#include "scheduler/args.h"
#include "scheduler/devices.h"
#include "scheduler/plugins/dynamic_resources.h"

/* ---- claims ---- */

int dra_claim(struct scheduler_cache *cache, const struct corev1_Pod *pod, const struct corev1_PodResourceClaim *entry, const struct resourcev1_ResourceClaim **ret, struct status *reterr) {
    const char *name;
    bool check_owner;
    *ret = NULL;
    if (pod_claim_name(pod, entry, &name, &check_owner, reterr)) return -1;
    if (!name) return 0;
    const struct resourcev1_ResourceClaim *claim = cache_get(cache, &resourcev1_ResourceClaim_desc, pod->metadata.namespace, name);
    if (!claim) return status_set(reterr, 404, REASON_NOT_FOUND, "could not find ResourceClaim \"%s/%s\"", pod->metadata.namespace, name);
    if (claim->metadata.deletionTimestamp.set) return status_set(reterr, 409, REASON_CONFLICT, "resourceclaim \"%s\" is being deleted", name);
    if (check_owner && claim_is_for_pod(pod, claim, reterr)) return -1;
    *ret = claim;
    return 0;
}

static int claims_usable(struct scheduler_cache *cache, const struct corev1_Pod *pod, struct status *reterr) {
    const struct resourcev1_ResourceClaim *claim;
    LIST_FOREACH(e, &pod->spec.resourceClaims)
        if (dra_claim(cache, pod, e, &claim, reterr)) return -1;
    return 0;
}

static enum code pre_enqueue(struct scheduler_cache *cache, const struct pod_info *pod, struct reasons *why) {
    _cleanup_status_ struct status st = STATUS_INIT;
    if (!cache || claims_usable(cache, pod->pod, &st) == 0) return CODE_SUCCESS;
    return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "waiting for resource claims");
}

/* ---- binding conditions ---- */

static const struct resourcev1_AllocatedDeviceStatus *status_of(const struct resourcev1_ResourceClaim *claim, const struct resourcev1_DeviceRequestAllocationResult *r) {
    LIST_FOREACH(d, &claim->status.devices)
        if (str_eq(d->device, r->device) && str_eq(d->driver, r->driver) && str_eq(d->pool, r->pool)) return d;
    return NULL;
}

static const struct metav1_Condition *condition_true(const struct resourcev1_AllocatedDeviceStatus *d, const char *type) {
    LIST_FOREACH(c, &d->conditions)
        if (str_eq(c->type, type)) return str_eq(c->status, "True") ? c : NULL;
    return NULL;
}

int dra_claim_ready(const struct resourcev1_ResourceClaim *claim, struct status *reterr) {
    if (!claim->status.allocation) return 0;
    LIST_FOREACH(r, &claim->status.allocation->devices.results) {
        if (!r->bindingConditions.len) continue;
        const struct resourcev1_AllocatedDeviceStatus *d = status_of(claim, r);
        if (!d) return 0;
        LIST_FOREACH(type, &r->bindingFailureConditions) {
            const struct metav1_Condition *c = condition_true(d, *type);
            if (c)
                return status_set(reterr, 500, REASON_INTERNAL_ERROR, "device binding failed: claim=%s, reason=%s, message=\"%s\"", claim->metadata.name, str_or(c->reason, ""),
                                  str_or(c->message, ""));
        }
        LIST_FOREACH(type, &r->bindingConditions)
            if (!condition_true(d, *type)) return 0;
    }
    return 1;
}

bool dra_claim_timed_out(const struct resourcev1_ResourceClaim *claim, struct env *env, int64_t timeout_ms) {
    const struct resourcev1_AllocationResult *a = claim->status.allocation;
    if (!a || !a->allocationTimestamp.set) return false;
    bool waits = false;
    LIST_FOREACH(r, &a->devices.results) waits |= r->bindingConditions.len > 0;
    return waits && a->allocationTimestamp.sec * 1000 + timeout_ms < env_now_ns(env) / 1000000;
}

/* ---- PreFilter ---- */

static enum code refuse(struct cycle *cycle, struct reasons *why, const char *text) { return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, arena_strdup(cycle->arena, text)); }

static enum code class_check(struct cycle *cycle, const char *class, const char *request, struct reasons *why) {
    if (str_empty(class)) return reasons_add(why, CODE_ERROR, arena_printf(cycle->arena, "request %s: unsupported request type", request));
    if (cache_get(cycle->cache, &resourcev1_DeviceClass_desc, NULL, class)) return CODE_SUCCESS;
    return refuse(cycle, why, arena_printf(cycle->arena, "request %s: device class %s does not exist", request, class));
}

static enum code requests_check(struct cycle *cycle, const struct resourcev1_ResourceClaim *claim, struct reasons *why) {
    LIST_FOREACH(r, &claim->spec.devices.requests) {
        enum code code = CODE_SUCCESS;
        if (r->exactly) code = class_check(cycle, r->exactly->deviceClassName, r->name, why);
        else if (!r->firstAvailable.len)
            return refuse(cycle, why, arena_printf(cycle->arena, "resource claim %s/%s, request %s: unknown request type", claim->metadata.namespace, claim->metadata.name, r->name));
        for (size_t i = 0; !r->exactly && i < r->firstAvailable.len && code == CODE_SUCCESS; i++)
            code = class_check(cycle, r->firstAvailable.items[i].deviceClassName, arena_printf(cycle->arena, "%s/%s", r->name, r->firstAvailable.items[i].name), why);
        if (code != CODE_SUCCESS) return code;
    }
    return CODE_SUCCESS;
}

static enum code claim_take(struct cycle *cycle, struct dra_state *s, const struct resourcev1_ResourceClaim *claim, struct reasons *why) {
    if (claim->status.allocation) {
        if (!claim_can_be_reserved(claim) && !claim_is_reserved_for(cycle->pod->pod, claim)) return refuse(cycle, why, "resourceclaim in use");
    } else {
        if (devices_pending(cache_devices(cycle->cache), claim))
            return refuse(cycle, why, arena_printf(cycle->arena, "resource claim %s/%s is in the process of being allocated", claim->metadata.namespace, claim->metadata.name));
        enum code code = requests_check(cycle, claim, why);
        if (code != CODE_SUCCESS) return code;
        *LIST_PUSH(cycle->arena, &s->open) = claim;
    }
    *LIST_PUSH(cycle->arena, &s->claims) = claim;
    return CODE_SUCCESS;
}

static enum code pre_filter(struct cycle *cycle, struct reasons *why) {
    const struct corev1_Pod *pod = cycle->pod->pod;
    cycle->state[PLUGIN_DYNAMIC_RESOURCES] = NULL;
    if (!pod->spec.resourceClaims.len) return CODE_SKIP;
    _cleanup_status_ struct status st = STATUS_INIT;
    if (claims_usable(cycle->cache, pod, &st)) return refuse(cycle, why, status_message(&st));
    struct dra_state *s = ARENA_NEW(cycle->arena, struct dra_state);
    LIST_FOREACH(e, &pod->spec.resourceClaims) {
        const struct resourcev1_ResourceClaim *claim;
        if (dra_claim(cycle->cache, pod, e, &claim, &st)) return refuse(cycle, why, status_message(&st));
        enum code code = claim ? claim_take(cycle, s, claim, why) : CODE_SUCCESS;
        if (code != CODE_SUCCESS) return code;
    }
    if (!s->claims.len) return CODE_SKIP;
    if (s->open.len) {
        s->allocator = device_allocator_new(cycle->arena, cycle->cache, &s->open);
        s->nodes_len = cycle->nodes_len;
        s->solutions = arena_calloc(cycle->arena, s->nodes_len + 1, sizeof(struct device_solution *));
    }
    cycle->state[PLUGIN_DYNAMIC_RESOURCES] = s;
    return CODE_SUCCESS;
}

/* ---- Filter ---- */

static bool claim_available(struct cycle *cycle, const struct resourcev1_ResourceClaim *claim, const struct corev1_Node *node) {
    const struct dynamic_resources_args *args = cycle->profile->args[PLUGIN_DYNAMIC_RESOURCES];
    _cleanup_status_ struct status st = STATUS_INIT;
    if (claim->status.allocation->nodeSelector && !node_match_selector(claim->status.allocation->nodeSelector, node)) return false;
    int ready = dra_claim_ready(claim, &st);
    return ready > 0 || (ready == 0 && !dra_claim_timed_out(claim, cycle->handle->env, args->binding_timeout_ms));
}

enum code dra_allocate(struct cycle *cycle, struct dra_state *s, struct node_info *node, struct reasons *why) {
    const struct dynamic_resources_args *args = cycle->profile->args[PLUGIN_DYNAMIC_RESOURCES];
    int64_t deadline = args->filter_timeout_ms ? env_mono_ns(cycle->handle->env) + args->filter_timeout_ms * 1000000 : 0;
    struct device_solution *found;
    const char *error = NULL;
    switch (device_allocate(s->allocator, cycle->handle->env, deadline, node->node, &found, &error)) {
    case DEVICES_FOUND:
        if (node->list_position < s->nodes_len) s->solutions[node->list_position] = found;
        return CODE_SUCCESS;
    case DEVICES_NONE: return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "cannot allocate all claims");
    case DEVICES_INVALID: return reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, error);
    case DEVICES_TIMEOUT: return reasons_add(why, CODE_ERROR, arena_printf(cycle->arena, "node %s: timed out trying to allocate devices", node->name));
    default: return reasons_add(why, CODE_ERROR, error);
    }
}

static enum code filter(struct cycle *cycle, struct node_info *node, struct reasons *why) {
    struct dra_state *s = cycle->state[PLUGIN_DYNAMIC_RESOURCES];
    bool available = true;
    LIST_FOREACH(c, &s->claims) {
        const struct resourcev1_ResourceClaim *claim = *c;
        if (!claim->status.allocation || claim_available(cycle, claim, node->node)) continue;
        available = false;
        const struct resourcev1_ResourceClaimConsumerReference_list *users = &claim->status.reservedFor;
        if (!s->unavailable && (!users->len || (users->len == 1 && str_eq(users->items[0].uid, cycle->pod->pod->metadata.uid)))) s->unavailable = claim;
    }
    if (s->allocator) {
        enum code code = dra_allocate(cycle, s, node, why);
        if (code != CODE_SUCCESS) return code;
    }
    return available ? CODE_SUCCESS : reasons_add(why, CODE_UNSCHEDULABLE_AND_UNRESOLVABLE, "resourceclaim not available on the node");
}

/* A claim that has devices somewhere else and that nobody uses gives them back: then others are found where the Pod fits. */
static enum code post_filter(struct cycle *cycle, const uint8_t *codes, struct schedule_result *ret, const char **ret_message) {
    const struct dra_state *s = cycle->state[PLUGIN_DYNAMIC_RESOURCES];
    (void)codes;
    *ret_message = s ? "still not schedulable" : "no new claims to deallocate";
    if (!s || !s->unavailable) return CODE_UNSCHEDULABLE;
    struct resourcev1_ResourceClaim *claim = object_copy(cycle->arena, &resourcev1_ResourceClaim_desc, s->unavailable);
    claim->status = (struct resourcev1_ResourceClaimStatus){0};
    ret->deallocate = claim;
    *ret_message = "deallocation of ResourceClaim completed";
    return CODE_UNSCHEDULABLE;
}

/* ---- Score ---- */

static enum code pre_score(struct cycle *cycle, struct node_info *const *nodes, size_t len) {
    const struct dra_state *s = cycle->state[PLUGIN_DYNAMIC_RESOURCES];
    (void)nodes, (void)len;
    return s && s->allocator && device_allocator_has_alternatives(s->allocator) ? CODE_SUCCESS : CODE_SKIP;
}

/* Of claims that are allocated: the same for all nodes, but it counts when the scores are scaled. */
static int64_t allocated_score(const struct resourcev1_ResourceClaim *claim) {
    int64_t score = 0;
    LIST_FOREACH(r, &claim->spec.devices.requests)
        for (size_t i = 0; i < r->firstAvailable.len; i++) {
            bool used = false;
            size_t len = strlen(r->name);
            LIST_FOREACH(x, &claim->status.allocation->devices.results)
                used |= str_has_prefix(x->request, r->name) && x->request[len] == '/' && str_eq(x->request + len + 1, r->firstAvailable.items[i].name);
            if (used) score += RESOURCE_CLAIM_FIRST_AVAILABLE_MAX - (int64_t)i;
        }
    return score;
}

static int64_t score(struct cycle *cycle, struct node_info *node) {
    const struct dra_state *s = cycle->state[PLUGIN_DYNAMIC_RESOURCES];
    if (node->list_position >= s->nodes_len || !s->solutions[node->list_position]) return 0;
    int64_t sum = device_solution_score(s->allocator, s->solutions[node->list_position]);
    LIST_FOREACH(c, &s->claims)
        if ((*c)->status.allocation) sum += allocated_score(*c);
    return sum;
}

static void normalize(struct cycle *cycle, struct node_info *const *nodes, int64_t *scores, size_t len) {
    (void)cycle, (void)nodes;
    scores_normalize(scores, len, false);
}

/* ---- hints ---- */

static bool claim_hint(struct scheduler_cache *cache, const struct cluster_event *e, const struct corev1_Pod *pod) {
    const struct resourcev1_ResourceClaim *was = e->old_obj, *is = e->new_obj, *claim;
    bool uses = false;
    LIST_FOREACH(entry, &pod->spec.resourceClaims) {
        _cleanup_status_ struct status st = STATUS_INIT;
        if (dra_claim(cache, pod, entry, &claim, &st)) return false; /* a claim is missing, so this one cannot help */
        uses |= claim && str_eq(claim->metadata.uid, is->metadata.uid);
    }
    if (was && was->status.allocation && !is->status.allocation) return true; /* devices are free again */
    return uses && (!was || !object_equal(&resourcev1_ResourceClaimStatus_desc, &was->status, &is->status));
}

static bool hint(struct scheduler_cache *cache, const void *args, const struct cluster_event *e, struct pod_info *pod) {
    _cleanup_status_ struct status st = STATUS_INIT;
    (void)args;
    if (e->resource == EVENT_RESOURCE_CLAIM) return claim_hint(cache, e, pod->pod);
    if (e->resource == EVENT_TARGET_POD) return claims_usable(cache, pod->pod, &st) == 0;
    return true;
}

const struct plugin plugin_dynamic_resources = {.name = "DynamicResources", .id = PLUGIN_DYNAMIC_RESOURCES, .weight = 2, .pre_enqueue = pre_enqueue, .pre_filter = pre_filter,
    .filter = filter, .post_filter = post_filter, .pre_score = pre_score, .score = score, .normalize = normalize, .reserve = dra_reserve, .unreserve = dra_unreserve,
    .pre_bind = dra_pre_bind, .hint = hint,
    .events = {[EVENT_NODE] = ACTION_ADD | ACTION_NODE_LABEL | ACTION_NODE_ALLOCATABLE, [EVENT_RESOURCE_CLAIM] = ACTION_ADD | ACTION_UPDATE, [EVENT_TARGET_POD] = ACTION_POD_CLAIM,
               [EVENT_DEVICE_CLASS] = ACTION_ADD | ACTION_UPDATE, [EVENT_RESOURCE_SLICE] = ACTION_ADD | ACTION_UPDATE}};
